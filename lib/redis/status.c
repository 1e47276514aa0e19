/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is particular to redis stores, see larder/redis.h: the state of their servers, and what cleared namespaces left behind.
 */
#include <larder/redis.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/message.h"
#include "cache/call.h"
#include "redis/redis.h"
#include "redis/key.h"
#include "redis/reply.h"

#define SWEEP_STEP_KEYS 500 /* of one SCAN and one UNLINK: a server answers nobody else meanwhile */

static enum larder_status another_kind(const struct larder_store *store)
{
	message_set("a store of kind %s is no redis", store ? larder_store_kind_of(store)->name : "(none)");
	return LARDER_INVALID;
}

static void counters_read(struct larder_redis_status *status, const struct word *words)
{
#define LARDER_REDIS_COUNTER(name, text) status->name = load_hint(&words[REDIS_COUNT_##name]);
#include <larder/redis.def>
#undef LARDER_REDIS_COUNTER
}

static void node_describe(struct larder_redis_node *node, const struct word *words, const char *address)
{
	struct breaker_report report;
	uint64_t last = load_hint(&words[BREAKER_LAST]);

	breaker_report(words, clock_precise_ms() + clock_offset_ms(), &report);
	*node = (struct larder_redis_node){ .size = sizeof *node, .breaker = (enum larder_redis_breaker)report.state,
		.failures = load_hint(&words[BREAKER_FAILURES]), .opened = load_hint(&words[BREAKER_OPENED]),
		.closed = load_hint(&words[BREAKER_CLOSED]), .probes = load_hint(&words[BREAKER_PROBES]),
		.refused = load_hint(&words[BREAKER_REFUSED]), .retry_ms = report.retry_ms, .open_for_ms = report.open_for_ms,
		.window_failures = report.window_failures, .window_successes = report.window_successes, .window_ms = report.window_ms,
		.last = last && last < WIRE_FAULTS ? wire_fault_text((enum wire_fault)last) : "" };
	snprintf(node->address, sizeof node->address, "%s", address);
}

enum larder_status larder_redis_status(const struct larder_store *store, struct larder_redis_status *status)
{
	struct redis *redis = store ? redis_of(store) : NULL;

	if (!redis)
		return another_kind(store);
	if (!status || status->size != sizeof *status)
		return LARDER_INVALID;
	status->nodes = redis_node_count(redis);
	status->shared = redis_is_shared(redis);
	counters_read(status, tally_words(redis_tally(redis)));
	return LARDER_OK;
}

enum larder_status larder_redis_node(const struct larder_store *store, unsigned number, struct larder_redis_node *node)
{
	struct redis *redis = store ? redis_of(store) : NULL;

	if (!redis)
		return another_kind(store);
	if (!node || node->size != sizeof *node)
		return LARDER_INVALID;
	const struct redis_node *of = slots_node(redis_slots(redis), number);
	if (!of)
		return LARDER_MISS;
	node_describe(node, breaker_words(&of->breaker), of->text);
	node->slots = slots_count(redis_slots(redis), number);
	return LARDER_OK;
}

/* ---- From outside ---------------------------------------------------------------------------------------------------- */

struct looker {
	const char *prefix;
	bool (*visit)(const struct looker *looker, const char *address, const struct word *words);
	bool (*node)(const struct larder_redis_node *node, void *arg);
	bool (*counters)(const char *address, const struct larder_redis_status *status, void *arg);
	void *arg;
};

static bool visit_breaker(const struct looker *looker, const char *address, const struct word *words)
{
	struct larder_redis_node node;

	node_describe(&node, words, address);
	return looker->node(&node, looker->arg);
}

static bool visit_counters(const struct looker *looker, const char *address, const struct word *words)
{
	struct larder_redis_status status = { .size = sizeof status, .shared = true };

	counters_read(&status, words);
	return looker->counters(address, &status, looker->arg);
}

static enum larder_status look_at(struct larder *cache, const struct looker *looker)
{
	size_t prefix = strlen(looker->prefix);
	char name[BOARD_NAME_BYTES + 1];
	const struct word *words;

	if (!cache)
		return LARDER_INVALID;
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	for (uint32_t row = 0; board_row(&cache->region, row, name, &words); row++) {
		if (strncmp(name, looker->prefix, prefix))
			continue;
		board_name_printable(name);
		if (!looker->visit(looker, name + prefix, words))
			return LARDER_END;
	}
	return LARDER_OK;
}

enum larder_status larder_redis_breakers(struct larder *cache, bool (*visit)(const struct larder_redis_node *node, void *arg), void *arg)
{
	const struct looker looker = { .prefix = "breaker:", .visit = visit_breaker, .node = visit, .arg = arg };

	return visit ? look_at(cache, &looker) : LARDER_INVALID;
}

enum larder_status larder_redis_counters(struct larder *cache,
		bool (*visit)(const char *address, const struct larder_redis_status *status, void *arg), void *arg)
{
	const struct looker looker = { .prefix = "redis:", .visit = visit_counters, .counters = visit, .arg = arg };

	return visit ? look_at(cache, &looker) : LARDER_INVALID;
}

/* ---- Sweeping -------------------------------------------------------------------------------------------------------- */

struct sweep {
	struct redis *redis;
	const struct larder_name *ns;
	bool all;
	uint64_t generation; /* the one that is in force */
	uint64_t left;       /* keys that may still be removed */
	uint64_t removed;
	int64_t end_ns;
};

/* A pattern of SCAN that takes the namespace's keys, whatever bytes are in its name. */
static size_t pattern_of(const char *prefix, const struct larder_name *ns, char *pattern)
{
	const char *const parts[] = { prefix, ns->escaped };
	size_t at = 0;

	for (size_t i = 0; i < 2; i++)
		for (const char *c = parts[i]; *c; c++) {
			if (strchr("*?[]\\^-", *c))
				pattern[at++] = '\\';
			pattern[at++] = *c;
		}
	pattern[at++] = '*';
	return at;
}

/* A key of this namespace whose time is over, or any but the generation itself. */
static bool is_over(const struct sweep *sweep, const redisReply *key)
{
	struct redis_place place;

	if (!reply_is_text(key) || !redis_key_parse(sweep->redis, key->str, key->len, &place))
		return false;
	if (strcmp(place.ns, sweep->ns->text) || !place.key_bytes)
		return false;
	return sweep->all || place.generation < sweep->generation;
}

/* UNLINK of those keys that are over, one by one: in a cluster they lie in many slots.  Returns how many were asked for. */
static enum wire_fault append_unlinks(struct sweep *sweep, struct wire *wire, const redisReply *keys, size_t *asked)
{
	enum wire_fault fault = WIRE_FINE;

	for (size_t i = 0; i < keys->elements && sweep->left && !fault; i++) {
		const redisReply *key = keys->element[i];
		if (!is_over(sweep, key))
			continue;
		const char *argv[] = { "UNLINK", key->str };
		const size_t lengths[] = { 6, key->len };
		fault = wire_append(wire, 2, argv, lengths);
		sweep->left--;
		++*asked;
	}
	return fault;
}

static enum wire_fault unlink_over(struct sweep *sweep, struct wire *wire, const redisReply *keys, int64_t deadline_ns)
{
	size_t asked = 0;
	enum wire_fault fault = append_unlinks(sweep, wire, keys, &asked);

	for (size_t i = 0; i < asked && !fault; i++) {
		redisReply *reply;
		fault = wire_reply(wire, deadline_ns, &reply);
		if (fault)
			break;
		sweep->removed += reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
		freeReplyObject(reply);
	}
	return fault;
}

static enum wire_fault scan(const struct sweep *sweep, struct wire *wire, const char *cursor, int64_t deadline_ns, redisReply **reply)
{
	char pattern[2 * (128 + 192) + 1], keys[16];
	const char *argv[] = { "SCAN", cursor, "MATCH", pattern, "COUNT", keys };
	const size_t lengths[] = { 4, strlen(cursor), 5, pattern_of(redis_prefix(sweep->redis), sweep->ns, pattern), 5,
		(size_t)snprintf(keys, sizeof keys, "%d", SWEEP_STEP_KEYS) };
	enum wire_fault fault = wire_append(wire, 6, argv, lengths);

	return fault ? fault : wire_reply(wire, deadline_ns, reply);
}

/* [cursor, [key, ...]] */
static enum larder_status check_scan(const struct redis_node *node, const redisReply *reply)
{
	enum larder_status status = reply_status(reply, node->text);

	if (status)
		return status;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || !reply_is_text(reply->element[0])
			|| reply->element[1]->type != REDIS_REPLY_ARRAY || reply->element[0]->len > 20)
		return reply_unexpected(reply, "SCAN");
	return LARDER_OK;
}

/* One step, from cursor to the next, which is "0" at the end. */
static enum larder_status sweep_step(struct sweep *sweep, struct redis_node *node, char cursor[24])
{
	int64_t deadline_ns = redis_deadline_ns(sweep->redis);
	struct node_lease lease;
	redisReply *reply = NULL;
	enum larder_status status = node_take(node, false, deadline_ns, &lease);

	if (status)
		return status;
	enum wire_fault fault = scan(sweep, &lease.seat->wire, cursor, deadline_ns, &reply);
	status = fault ? node_fault(node, fault) : check_scan(node, reply);
	if (!status && reply) {
		fault = unlink_over(sweep, &lease.seat->wire, reply->element[1], deadline_ns);
		status = node_fault(node, fault);
		memcpy(cursor, reply->element[0]->str, reply->element[0]->len + 1);
	}
	node_leave(&lease, fault);
	freeReplyObject(reply);
	return status;
}

static enum larder_status sweep_node(struct sweep *sweep, struct redis_node *node)
{
	char cursor[24] = "0";
	enum larder_status status;

	do {
		status = sweep_step(sweep, node, cursor);
		if (!status && (!sweep->left || wire_now_ns() > sweep->end_ns))
			status = LARDER_END;
	} while (!status && strcmp(cursor, "0"));
	return status;
}

enum larder_status larder_redis_sweep(struct larder_store *store, const char *ns, bool all, uint64_t limit, int64_t timeout_ms,
		uint64_t *removed)
{
	struct redis *redis = store ? redis_of(store) : NULL;
	struct sweep sweep = { .redis = redis, .all = all, .left = limit };
	struct redis_node *node;

	if (!redis)
		return another_kind(store);
	enum larder_status status = timeout_ms <= 0 || !limit ? LARDER_INVALID : larder_name(ns, &sweep.ns);
	sweep.end_ns = wire_now_ns() + (timeout_ms > INT64_MAX / 2000000 ? INT64_MAX / 2 : timeout_ms * 1000000);
	if (!status)
		status = redis_generation(redis, sweep.ns, &sweep.generation);
	for (unsigned i = 0; !status && (node = slots_node(redis_slots(redis), i)); i++)
		if (!redis_options_of(redis)->url.cluster || slots_count(redis_slots(redis), i))
			status = sweep_node(&sweep, node);
	if (removed)
		*removed = sweep.removed;
	return status;
}
