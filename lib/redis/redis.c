/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store kind redis: the store interface over a Redis server or cluster.
 *
 * Values are plain strings under plain names (redis.h), so that other clients can read and write them; with the setting `envelope`
 * they are records (larder/entry.h), which keep user flags and the time of creation.  The version of a value is the XXH3 of the
 * string as it lies in Redis: a value set back to what it was has its version of then.
 * Every call has one deadline for all it does.  No thread is started, no signal raised, nothing printed.
 */
#include "redis/redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <larder/entry.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/message.h"
#include "cache/call.h"
#include "shm/board.h"
#include "store/kinds.h"
#include "redis/batch.h"
#include "redis/key.h"
#include "redis/reply.h"

#define MGET_KEYS 256u      /* of one MGET: a server answers nobody else meanwhile */
#define VALUE_BYTES_MAX (512u << 20)

struct redis {
	struct redis_options options;
	struct slots slots;
	struct generations generations;
	struct tally tally;
	struct pointer near; /* struct larder_store */
};

/* ---- Settings -------------------------------------------------------------------------------------------------------- */

enum redis_setting { REDIS_URL, REDIS_PREFIX, REDIS_TIMEOUT, REDIS_CONNECT_TIMEOUT, REDIS_CLIENT_NAME, REDIS_POOL, REDIS_ENVELOPE,
	REDIS_TTL, REDIS_GENERATION_AGE, REDIS_REPLICA_READS, REDIS_NEAR, REDIS_BREAKER_FAILURES, REDIS_BREAKER_WINDOW,
	REDIS_BREAKER_LEAST, REDIS_BREAKER_MOST, REDIS_TLS_CA, REDIS_TLS_CERT, REDIS_TLS_KEY, REDIS_TLS_NAME, REDIS_TLS_VERIFY,
	REDIS_SETTINGS };

static const struct larder_setting_rule rules[REDIS_SETTINGS] = {
	[REDIS_URL] = { .key = "url", .usual = "redis://127.0.0.1:6379",
		.text = "redis://[user:password@]host[:port][/db], rediss://, unix:///path[?db=n], redis+cluster://host[:port],..." },
	[REDIS_PREFIX] = { .key = "prefix", .usual = "", .text = "what every key in Redis begins with; 127 bytes at most" },
	[REDIS_TIMEOUT] = { .key = "timeout", .type = LARDER_SETTING_DURATION, .least = 1, .most = 3600000, .usual = "50ms",
		.text = "for a whole call, whatever it takes: a free connection, connecting, all answers" },
	[REDIS_CONNECT_TIMEOUT] = { .key = "connect-timeout", .type = LARDER_SETTING_DURATION, .least = 1, .most = 3600000,
		.usual = "50ms", .text = "for connecting and AUTH within a call" },
	[REDIS_CLIENT_NAME] = { .key = "client-name", .usual = "larder", .text = "CLIENT SETNAME; empty: none" },
	[REDIS_POOL] = { .key = "pool", .type = LARDER_SETTING_COUNT, .least = 1, .most = 1024, .usual = "16",
		.text = "connections to each server at most; a thread keeps to one" },
	[REDIS_ENVELOPE] = { .key = "envelope", .type = LARDER_SETTING_BOOL, .usual = "no",
		.text = "keep user flags and creation time with the value: other clients then see larder's records" },
	[REDIS_TTL] = { .key = "ttl", .type = LARDER_SETTING_DURATION, .least = 1, .most = LARDER_TTL_MAX, .usual = "",
		.text = "time to live of what is set without one" },
	[REDIS_GENERATION_AGE] = { .key = "generation-age", .type = LARDER_SETTING_DURATION, .least = 0, .most = 86400000,
		.usual = "0ms", .text = "how long a namespace cleared by another host may go on to be seen; 0: not at all" },
	[REDIS_REPLICA_READS] = { .key = "replica-reads", .type = LARDER_SETTING_BOOL, .usual = "no",
		.text = "cluster: gets may be answered by replicas, which lag behind" },
	[REDIS_NEAR] = { .key = "near", .type = LARDER_SETTING_STORE, .usual = "",
		.text = "a store whose segment holds breaker and counters for all processes of the host" },
	[REDIS_BREAKER_FAILURES] = { .key = "breaker-failures", .type = LARDER_SETTING_COUNT, .least = 0, .most = 4000, .usual = "5",
		.text = "failures within the window that open the breaker, if they are half of the calls; 0: it never opens" },
	[REDIS_BREAKER_WINDOW] = { .key = "breaker-window", .type = LARDER_SETTING_DURATION, .least = 10, .most = 3600000,
		.usual = "1s", .text = "the window" },
	[REDIS_BREAKER_LEAST] = { .key = "breaker-retry", .type = LARDER_SETTING_DURATION, .least = 1, .most = 60000,
		.usual = "100ms", .text = "the first probe comes after this; the time doubles with each that fails" },
	[REDIS_BREAKER_MOST] = { .key = "breaker-retry-most", .type = LARDER_SETTING_DURATION, .least = 1, .most = 3600000,
		.usual = "1s", .text = "probes are no further apart than this" },
	[REDIS_TLS_CA] = { .key = "tls-ca", .usual = "", .text = "rediss://: file of certificates to trust; empty: the system's" },
	[REDIS_TLS_CERT] = { .key = "tls-cert", .usual = "", .text = "rediss://: file of our own certificate, where the server asks" },
	[REDIS_TLS_KEY] = { .key = "tls-key", .usual = "", .text = "rediss://: file of its key" },
	[REDIS_TLS_NAME] = { .key = "tls-name", .usual = "", .text = "rediss://: whose certificate it has to be; empty: the host's" },
	[REDIS_TLS_VERIFY] = { .key = "tls-verify", .type = LARDER_SETTING_BOOL, .usual = "yes",
		.text = "rediss://: no: trust whoever answers" },
};

static enum larder_status take_text(const struct larder_setting_value *values, enum redis_setting which, char *text, size_t room)
{
	if (strlen(values[which].text) < room) {
		memcpy(text, values[which].text, strlen(values[which].text) + 1);
		return LARDER_OK;
	}
	message_set("store kind redis: %s = %s is too long: %zu bytes at most", rules[which].key, values[which].text, room - 1);
	return LARDER_INVALID;
}

static enum larder_status check_options(const struct redis_options *options)
{
	if (strpbrk(options->client_name, " \t\r\n")) {
		message_set("store kind redis: client-name = '%s' has a space or line end in it, which Redis does not take",
				options->client_name);
		return LARDER_INVALID;
	}
	if (options->breaker.least_ms > options->breaker.most_ms) {
		message_set("store kind redis: breaker-retry is %" PRId64 " ms and breaker-retry-most %" PRId64 " ms; the first has to be "
				"the smaller", options->breaker.least_ms, options->breaker.most_ms);
		return LARDER_INVALID;
	}
	if (options->replica_reads && !options->url.cluster) {
		message_set("store kind redis: replica-reads = yes needs a cluster; write the url as redis+cluster://host:port");
		return LARDER_INVALID;
	}
	return LARDER_OK;
}

static enum larder_status take_tls(const struct larder_setting_value *values, struct redis_options *options)
{
	struct tls_options tls = { .verify = values[REDIS_TLS_VERIFY].number };
	enum larder_status status = take_text(values, REDIS_TLS_CA, tls.ca, sizeof tls.ca);

	if (!status)
		status = take_text(values, REDIS_TLS_CERT, tls.cert, sizeof tls.cert);
	if (!status)
		status = take_text(values, REDIS_TLS_KEY, tls.key, sizeof tls.key);
	if (!status)
		status = take_text(values, REDIS_TLS_NAME, tls.name, sizeof tls.name);
	for (enum redis_setting i = REDIS_TLS_CA; !status && !options->url.tls && i <= REDIS_TLS_VERIFY; i++) {
		if (!values[i].given)
			continue;
		message_set("store kind redis: %s is for TLS, and the url is not; write it as rediss://...", rules[i].key);
		status = LARDER_INVALID;
	}
	return status || !options->url.tls ? status : tls_context_make(&tls, &options->tls);
}

static enum larder_status take_options(const struct larder_setting_value *values, struct redis_options *options)
{
	enum larder_status status = url_parse(values[REDIS_URL].text, &options->url);

	if (!status)
		status = take_text(values, REDIS_PREFIX, options->prefix, sizeof options->prefix);
	if (!status)
		status = take_text(values, REDIS_CLIENT_NAME, options->client_name, sizeof options->client_name);
	options->timeout_ns = values[REDIS_TIMEOUT].number * 1000000;
	options->connect_ns = values[REDIS_CONNECT_TIMEOUT].number * 1000000;
	options->generation_ns = values[REDIS_GENERATION_AGE].number * 1000000;
	options->ttl_ms = values[REDIS_TTL].number;
	options->pool = (unsigned)values[REDIS_POOL].number;
	options->envelope = values[REDIS_ENVELOPE].number;
	options->replica_reads = values[REDIS_REPLICA_READS].number;
	options->breaker = (struct breaker_options){ .failures = (uint32_t)values[REDIS_BREAKER_FAILURES].number,
		.window_ms = values[REDIS_BREAKER_WINDOW].number, .least_ms = values[REDIS_BREAKER_LEAST].number,
		.most_ms = values[REDIS_BREAKER_MOST].number, .probe_ms = values[REDIS_TIMEOUT].number + 20,
		.clock_offset_ms = clock_offset_ms() };
	if (!status)
		status = check_options(options);
	return status ? status : take_tls(values, options);
}

/* ---- Life ------------------------------------------------------------------------------------------------------------ */

static void redis_close(void *self)
{
	struct redis *redis = self;

	slots_free(&redis->slots);
	tls_context_free(redis->options.tls);
	struct larder_store *near = pointer_load_acquire(&redis->near);
	larder_store_release(&near);
	free(redis);
}

static enum larder_status redis_open(const struct larder_setting_value *values, void **self)
{
	struct redis *redis = calloc(1, sizeof *redis);

	if (!redis)
		return LARDER_NO_MEMORY;
	(void)pointer_cas_acq_rel(&redis->tally.words, NULL, redis->tally.own);
	enum larder_status status = take_options(values, &redis->options);
	if (!status)
		status = slots_make(&redis->slots, &redis->options, &redis->tally);
	if (status) {
		tls_context_free(redis->options.tls);
		free(redis);
		return status;
	}
	if (values[REDIS_NEAR].store)
		status = redis_share(redis, values[REDIS_NEAR].store);
	if (status)
		redis_close(redis);
	else
		*self = redis;
	return status;
}

struct redis *redis_of(const struct larder_store *store)
{
	return larder_store_kind_of(store) == &store_redis ? larder_store_self(store) : NULL;
}

const struct redis_options *redis_options_of(const struct redis *redis)
{
	return &redis->options;
}

struct tally *redis_tally(struct redis *redis)
{
	return &redis->tally;
}

struct slots *redis_slots(struct redis *redis)
{
	return &redis->slots;
}

bool redis_is_shared(const struct redis *redis)
{
	return tally_words(&redis->tally) != redis->tally.own;
}

const char *redis_prefix(const struct redis *redis)
{
	return redis->options.prefix;
}

int64_t redis_deadline_ns(const struct redis *redis)
{
	return wire_now_ns() + redis->options.timeout_ns;
}

unsigned redis_node_count(const struct redis *redis)
{
	return slots_node_count(&redis->slots);
}

enum larder_status redis_dial(struct redis *redis, unsigned number, struct wire *wire, int64_t deadline_ns)
{
	struct redis_node *node = slots_node(&redis->slots, number);

	return node ? node_dial(node, wire, deadline_ns) : LARDER_INVALID;
}

/* Text that was escaped, read back. */
static bool unescape(const char *text, size_t bytes, char *plain, size_t room)
{
	size_t length = 0;

	for (size_t i = 0; i < bytes; i++) {
		char c = text[i];
		if (c == '%') {
			if (bytes - i < 3 || (memcmp(text + i, "%3A", 3) && memcmp(text + i, "%25", 3)))
				return false;
			c = text[i + 1] == '3' ? ':' : '%';
			i += 2;
		}
		if (!c || length + 1 >= room)
			return false;
		plain[length++] = c;
	}
	plain[length] = '\0';
	return true;
}

bool redis_key_parse(const struct redis *redis, const char *text, size_t bytes, struct redis_place *place)
{
	struct key_parts parts;

	if (!key_parts(redis->options.prefix, text, bytes, &parts)
			|| !unescape(parts.ns, parts.ns_bytes, place->ns, sizeof place->ns))
		return false;
	place->key = parts.key;
	place->key_bytes = parts.key_bytes;
	place->generation = parts.generation;
	return true;
}

static void build_generation(struct batch *batch, void *arg)
{
	size_t length;

	(void)batch_key(batch, arg, &length);
}

enum larder_status redis_generation(struct redis *redis, const struct larder_name *ns, uint64_t *generation)
{
	struct larder_store_key key = { .ns = ns, .bytes = "", .count = 0 };
	struct batch_small small;

	redis_generation_forget(redis, ns);
	batch_begin_small(&small, &redis->slots, &redis->generations, redis_deadline_ns(redis));
	enum larder_status status = batch_run(&small.batch, build_generation, &key);
	batch_free(&small.batch);
	*generation = load_hint(&redis->generations.number[ns->index]);
	return status;
}

void redis_generation_forget(struct redis *redis, const struct larder_name *ns)
{
	store_hint(&redis->generations.asked_at_ns[ns->index], 0);
}

enum larder_status redis_share(struct redis *redis, struct larder_store *near)
{
	struct larder *cache = larder_store_cache(near);
	struct word *words;

	if (!cache) {
		message_set("store kind redis: near = a store of kind %s, which has no segment; name one of kind shm",
				larder_store_kind_of(near)->name);
		return LARDER_INVALID;
	}
	struct larder_store *held = larder_store_hold(near);
	if (!pointer_cas_acq_rel(&redis->near, NULL, held)) {
		larder_store_release(&held);
		return LARDER_OK;
	}
	enum larder_status status = node_row(&cache->region, "redis", slots_node(&redis->slots, 0)->text, &words);
	if (!status)
		(void)pointer_cas_acq_rel(&redis->tally.words, redis->tally.own, words); /* NAMED (release) */
	return status ? status : slots_share(&redis->slots, &cache->region);
}

/* ---- Values ---------------------------------------------------------------------------------------------------------- */

static uint64_t version_of(const void *bytes, size_t count)
{
	uint64_t version = hash_bytes(bytes, count, 0);

	return version ? version : 1;
}

/* The value that a string of Redis is, with or without its envelope. */
static enum larder_status value_of(const struct redis_options *options, const redisReply *reply, struct larder_record *record)
{
	*record = (struct larder_record){ .value = reply->str, .value_bytes = reply->len };
	if (!options->envelope || !larder_record_is(reply->str, reply->len))
		return LARDER_OK;
	return larder_record_unpack(reply->str, reply->len, record, NULL);
}

static void fill_meta(const redisReply *reply, const struct larder_record *record, int64_t left_ms, struct larder_meta *meta)
{
	*meta = (struct larder_meta){ .version = version_of(reply->str, reply->len), .created_at_ms = record->created_at_ms,
		.ttl_left_ms = left_ms < 0 ? LARDER_TTL_NONE : left_ms, .value_bytes = record->value_bytes,
		.user_flags = record->user_flags };
	meta->expires_at_ms = left_ms < 0 ? 0 : clock_wall_ms() + left_ms;
}

/* What GET and PTTL (or NULL) answered.  meta may be NULL. */
static enum larder_status deliver(const struct redis_options *options, const char *server, const redisReply *get,
		const redisReply *pttl, struct larder_buffer *value, struct larder_meta *meta)
{
	struct larder_record record;
	int64_t left_ms = -1;

	if (!value)
		return LARDER_INVALID;
	enum larder_status status = reply_status(get, server);

	if (!status && pttl)
		status = reply_status(pttl, server);
	if (status || get->type == REDIS_REPLY_NIL)
		return status ? status : LARDER_MISS;
	if (get->type != REDIS_REPLY_STRING || (pttl && !reply_number(pttl, &left_ms)))
		return reply_unexpected(get, "GET");
	if (left_ms == -2) /* gone between the two */
		return LARDER_MISS;
	status = value_of(options, get, &record);
	if (!status && meta)
		fill_meta(get, &record, left_ms, meta);
	if (!status)
		status = larder_buffer_take(value, record.value_bytes);
	if (!status && record.value_bytes)
		memcpy(value->data, record.value, record.value_bytes);
	return status;
}

/* ---- Get ------------------------------------------------------------------------------------------------------------- */

struct get {
	const struct larder_store_key *key;
	bool meta;
	size_t at;
};

static void build_get(struct batch *batch, void *arg)
{
	struct get *get = arg;

	get->at = batch_command(batch, "GET", get->key, true);
	if (get->meta)
		(void)batch_command(batch, "PTTL", get->key, true);
}

static void begin(struct redis *redis, struct batch_small *small)
{
	batch_begin_small(small, &redis->slots, &redis->generations, redis_deadline_ns(redis));
}

static enum larder_status redis_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	struct redis *redis = self;
	struct get get = { .key = key, .meta = meta };
	struct batch_small small;

	(void)flags;
	begin(redis, &small);
	enum larder_status status = batch_run(&small.batch, build_get, &get);
	if (!status) {
		const struct redis_request *request = &small.requests[get.at];
		status = deliver(&redis->options, request->node->text, request->reply, meta ? request[1].reply : NULL, value, meta);
	}
	batch_free(&small.batch);
	return status;
}

/* ---- Set and delete -------------------------------------------------------------------------------------------------- */

static const struct larder_set_options usual_options = LARDER_SET_OPTIONS_INIT;

/* Milliseconds to live; LARDER_TTL_NONE; LARDER_TTL_KEEP. */
static int64_t life_ms(const struct redis_options *options, int64_t ttl_ms)
{
	if (ttl_ms == LARDER_TTL_DEFAULT)
		ttl_ms = options->ttl_ms ? options->ttl_ms : LARDER_TTL_NONE;
	return ttl_ms > LARDER_TTL_MAX ? LARDER_TTL_NONE : ttl_ms;
}

static int64_t life_of_set(const struct redis_options *options, const struct larder_set_options *set)
{
	if (!set->expires_at_ms)
		return life_ms(options, set->ttl_ms);
	int64_t left_ms = set->expires_at_ms - clock_wall_ms();
	return left_ms < 1 ? 1 : left_ms > LARDER_TTL_MAX ? LARDER_TTL_NONE : left_ms;
}

/* The string that a value becomes. */
struct stored {
	const void *bytes;
	size_t count;
};

static struct stored stored_of(struct batch *batch, const void *value, size_t value_bytes, const struct larder_set_options *set)
{
	if (!batch->options->envelope)
		return (struct stored){ value, value_bytes };
	int64_t now_ms = clock_wall_ms(), left_ms = life_of_set(batch->options, set);
	struct larder_record record = { .value = value, .value_bytes = value_bytes, .created_at_ms = set->created_at_ms ? set->created_at_ms : now_ms,
		.expires_at_ms = left_ms > 0 ? now_ms + left_ms : 0, .user_flags = set->user_flags };
	struct larder_buffer packed = { .capacity = LARDER_RECORD_HEADER + value_bytes };
	packed.data = batch_bytes(batch, packed.capacity);
	(void)larder_record_pack(&record, &packed);
	return (struct stored){ packed.data, packed.length };
}

static void add_life(struct batch *batch, struct redis_request *request, int64_t left_ms)
{
	size_t length;

	if (left_ms == LARDER_TTL_KEEP) {
		REQUEST_TEXT(request, "KEEPTTL");
	} else if (left_ms != LARDER_TTL_NONE) {
		const char *text = batch_number(batch, left_ms, &length);
		REQUEST_TEXT(request, "PX");
		request_word(request, text, length);
	}
}

static size_t command_set(struct batch *batch, const struct larder_store_key *key, const struct stored *stored,
		const struct larder_set_options *set)
{
	size_t at = batch_command(batch, "SET", key, false);
	struct redis_request *request = &batch->requests[at];

	request_word(request, stored->bytes, stored->count);
	add_life(batch, request, life_of_set(batch->options, set));
	if (set->mode == LARDER_ADD)
		REQUEST_TEXT(request, "NX");
	if (set->mode == LARDER_REPLACE)
		REQUEST_TEXT(request, "XX");
	return at;
}

static enum larder_status answer_of_set(const struct redis_request *request, enum larder_set_mode mode)
{
	enum larder_status status = reply_status(request->reply, request->node->text);

	if (status)
		return status;
	if (request->reply->type == REDIS_REPLY_NIL)
		return mode == LARDER_ADD ? LARDER_EXISTS : LARDER_MISS;
	return request->reply->type == REDIS_REPLY_STATUS ? LARDER_OK : reply_unexpected(request->reply, "SET");
}

static enum larder_status check_set(const struct larder_set_options *set, size_t value_bytes)
{
	if (set->size != sizeof *set || set->mode > LARDER_CAS || set->ttl_ms < LARDER_TTL_KEEP || set->expires_at_ms < 0 || set->created_at_ms < 0)
		return LARDER_INVALID;
	if (set->mode == LARDER_CAS && !set->version)
		return LARDER_INVALID;
	return value_bytes > VALUE_BYTES_MAX - LARDER_RECORD_HEADER ? LARDER_TOO_LARGE : LARDER_OK;
}

struct set {
	const struct larder_store_key *key;
	const void *value;
	size_t value_bytes;
	const struct larder_set_options *options;
	const redisReply *old; /* cas: what the value has to be still */
	struct stored stored;
	size_t at;
};

static void build_set(struct batch *batch, void *arg)
{
	struct set *set = arg;

	set->stored = stored_of(batch, set->value, set->value_bytes, set->options);
	set->at = command_set(batch, set->key, &set->stored, set->options);
}

/* -1: no such key; 0: it has changed; 1: set. */
static const char cas_script[] =
	"local v=redis.call('GET',KEYS[1]) if not v then return -1 end if v~=ARGV[1] then return 0 end "
	"if ARGV[3]=='' then redis.call('SET',KEYS[1],ARGV[2]) elseif ARGV[3]=='KEEP' then redis.call('SET',KEYS[1],ARGV[2],'KEEPTTL') "
	"else redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end return 1";

/* EVAL script 1 key: the key is the fourth word, and batch_command() has made it the second. */
static struct redis_request *command_script(struct batch *batch, const char *script, const struct larder_store_key *key, size_t *at)
{
	*at = batch_command(batch, "EVAL", key, false);
	struct redis_request *request = &batch->requests[*at];
	const char *text = request->own[1];
	size_t length = request->own_lengths[1];

	request->count = 1;
	request_word(request, script, strlen(script));
	REQUEST_TEXT(request, "1");
	request_word(request, text, length);
	return request;
}

static void build_cas(struct batch *batch, void *arg)
{
	struct set *set = arg;
	int64_t left_ms = life_of_set(batch->options, set->options);
	size_t length = 0;

	set->stored = stored_of(batch, set->value, set->value_bytes, set->options);
	struct redis_request *request = command_script(batch, cas_script, set->key, &set->at);
	request_word(request, set->old->str, set->old->len);
	request_word(request, set->stored.bytes, set->stored.count);
	const char *life = left_ms == LARDER_TTL_KEEP ? "KEEP" : left_ms == LARDER_TTL_NONE ? "" : batch_number(batch, left_ms, &length);
	request_word(request, life, strlen(life));
}

static enum larder_status answer_of_cas(const struct redis_request *request)
{
	static const enum larder_status answers[] = { LARDER_MISS, LARDER_CHANGED, LARDER_OK };
	enum larder_status status = reply_status(request->reply, request->node->text);
	int64_t number;

	if (status)
		return status;
	if (!reply_number(request->reply, &number) || number < -1 || number > 1)
		return reply_unexpected(request->reply, "EVAL");
	return answers[number + 1];
}

/* The value is read, held against the version, and then set if it is still that value, byte for byte. */
static enum larder_status run_cas(struct redis *redis, struct set *set, struct batch *batch)
{
	struct get get = { .key = set->key };
	struct batch_small reading;

	begin(redis, &reading);
	reading.batch.deadline_ns = batch->deadline_ns;
	enum larder_status status = batch_run(&reading.batch, build_get, &get);
	const struct redis_request *read = &reading.requests[get.at];
	if (!status)
		status = reply_status(read->reply, read->node->text);
	if (!status && read->reply->type != REDIS_REPLY_STRING)
		status = LARDER_MISS;
	if (!status && version_of(read->reply->str, read->reply->len) != set->options->version)
		status = LARDER_CHANGED;
	if (!status) {
		set->old = read->reply;
		status = batch_run(batch, build_cas, set);
		if (!status)
			status = answer_of_cas(&batch->requests[set->at]);
	}
	batch_free(&reading.batch);
	return status;
}

static enum larder_status run_set(struct set *set, struct batch *batch)
{
	enum larder_status status = batch_run(batch, build_set, set);

	return status ? status : answer_of_set(&batch->requests[set->at], set->options->mode);
}

static enum larder_status redis_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	struct redis *redis = self;
	struct set set = { .key = key, .value = value, .value_bytes = value_bytes, .options = options ? options : &usual_options };
	enum larder_status status = check_set(set.options, value_bytes);
	struct batch batch;

	if (status)
		return status;
	size_t arena = BATCH_KEY_BYTES(key->count) + (redis->options.envelope ? LARDER_RECORD_HEADER + value_bytes + 8 : 0);
	if (!batch_begin(&batch, &redis->slots, &redis->generations, 1, 1, arena, redis_deadline_ns(redis)))
		return LARDER_NO_MEMORY;
	status = set.options->mode == LARDER_CAS ? run_cas(redis, &set, &batch) : run_set(&set, &batch);
	if (!status && result)
		*result = (struct larder_result){ .version = version_of(set.stored.bytes, set.stored.count) };
	batch_end(&batch);
	return status;
}

static enum larder_status answer_of_count(const struct redis_request *request, const char *command)
{
	enum larder_status status = reply_status(request->reply, request->node->text);

	if (status)
		return status;
	if (request->reply->type != REDIS_REPLY_INTEGER)
		return reply_unexpected(request->reply, command);
	return request->reply->integer ? LARDER_OK : LARDER_MISS;
}

static void build_remove(struct batch *batch, void *arg)
{
	struct get *get = arg;

	get->at = batch_command(batch, "UNLINK", get->key, false);
}

static enum larder_status redis_remove(void *self, const struct larder_store_key *key)
{
	struct get get = { .key = key };
	struct batch_small small;

	begin(self, &small);
	enum larder_status status = batch_run(&small.batch, build_remove, &get);
	if (!status)
		status = answer_of_count(&small.requests[get.at], "UNLINK");
	batch_free(&small.batch);
	return status;
}

static enum larder_status redis_clear(void *self, const struct larder_name *ns, bool soft)
{
	struct batch_small small;

	(void)soft; /* what Redis has under an old generation nobody can ask for */
	begin(self, &small);
	enum larder_status status = batch_raise(&small.batch, ns, clock_wall_ms(), true);
	batch_free(&small.batch);
	return status;
}

/* ---- Touch and incr -------------------------------------------------------------------------------------------------- */

struct touch {
	const struct larder_store_key *key;
	int64_t left_ms;
	size_t at, persist;
};

static void build_touch(struct batch *batch, void *arg)
{
	struct touch *touch = arg;
	size_t length;

	if (touch->left_ms == LARDER_TTL_NONE)
		touch->persist = batch_command(batch, "PERSIST", touch->key, false);
	if (touch->left_ms < 0) {
		touch->at = batch_command(batch, "EXISTS", touch->key, false);
		return;
	}
	touch->at = batch_command(batch, "PEXPIRE", touch->key, false);
	const char *text = batch_number(batch, touch->left_ms, &length);
	request_word(&batch->requests[touch->at], text, length);
}

static enum larder_status redis_touch(void *self, const struct larder_store_key *key, int64_t ttl_ms)
{
	struct redis *redis = self;
	struct touch touch = { .key = key, .left_ms = life_ms(&redis->options, ttl_ms) };
	struct batch_small small;

	if (ttl_ms < LARDER_TTL_KEEP)
		return LARDER_INVALID;
	begin(redis, &small);
	enum larder_status status = batch_run(&small.batch, build_touch, &touch);
	if (!status && touch.left_ms == LARDER_TTL_NONE)
		status = reply_status(small.requests[touch.persist].reply, small.requests[touch.persist].node->text);
	if (!status)
		status = answer_of_count(&small.requests[touch.at], "PEXPIRE");
	batch_free(&small.batch);
	return status;
}

/* The sum as text: numbers of Lua are good for 53 bits only.  nil: no such key. */
static const char incr_script[] =
	"local k=KEYS[1] local v=redis.call('GET',k) "
	"if not v then if ARGV[2]=='0' then return false end "
	"if ARGV[4]=='' then redis.call('SET',k,ARGV[3]) else redis.call('SET',k,ARGV[3],'PX',ARGV[4]) end end "
	"local r=redis.pcall('INCRBY',k,ARGV[1]) local s "
	"if type(r)~='table' then s=redis.call('GET',k) local d=string.gsub(s,'-','') "
	"local most=string.sub(s,1,1)=='-' and '4611686018427387904' or '4611686018427387903' "
	"if #d>19 or (#d==19 and d>most) then r={err='ERR increment or decrement would overflow'} end end "
	"if type(r)=='table' then if v then redis.call('SET',k,v,'KEEPTTL') else redis.call('DEL',k) end return r end return s";

struct incr {
	const struct larder_store_key *key;
	int64_t delta, initial, left_ms;
	bool create;
	size_t at;
};

static void build_incr(struct batch *batch, void *arg)
{
	struct incr *incr = arg;
	size_t lengths[3] = { 0 };
	struct redis_request *request = command_script(batch, incr_script, incr->key, &incr->at);
	const char *delta = batch_number(batch, incr->delta, &lengths[0]), *initial = batch_number(batch, incr->initial, &lengths[1]);
	const char *life = incr->left_ms > 0 ? batch_number(batch, incr->left_ms, &lengths[2]) : "";

	request_word(request, delta, lengths[0]);
	request_word(request, incr->create ? "1" : "0", 1);
	request_word(request, initial, lengths[1]);
	request_word(request, life, lengths[2]);
}

static enum larder_status answer_of_incr(const struct redis_request *request, int64_t *sum)
{
	enum larder_status status = reply_status(request->reply, request->node->text);
	int64_t number;

	if (status)
		return status;
	if (request->reply->type == REDIS_REPLY_NIL)
		return LARDER_MISS;
	if (!reply_number(request->reply, &number))
		return reply_unexpected(request->reply, "EVAL");
	if (sum)
		*sum = number;
	return LARDER_OK;
}

static enum larder_status redis_incr(void *self, const struct larder_store_key *key, int64_t delta, bool create, int64_t initial,
		int64_t ttl_ms, int64_t *sum)
{
	struct redis *redis = self;
	struct incr incr = { .key = key, .delta = delta, .initial = initial, .create = create,
		.left_ms = life_ms(&redis->options, ttl_ms) };
	struct batch_small small;

	if (delta < LARDER_COUNTER_MIN || delta > LARDER_COUNTER_MAX || initial < LARDER_COUNTER_MIN || initial > LARDER_COUNTER_MAX)
		return LARDER_RANGE;
	begin(redis, &small);
	enum larder_status status = batch_run(&small.batch, build_incr, &incr);
	if (!status)
		status = answer_of_incr(&small.requests[incr.at], sum);
	batch_free(&small.batch);
	return status;
}

/* ---- Many at once ---------------------------------------------------------------------------------------------------- */

struct mget {
	struct larder_store_item *items;
	size_t count;
	bool whole;          /* MGET: one server has all keys */
	size_t *gets, *lefts; /* numbers of the requests that answer for each item */
};

/* MGET of items[from .. to), whose words lie in the arena. */
static void command_mget(struct batch *batch, const struct mget *mget, size_t from, size_t to)
{
	size_t words = to - from + 1;
	const char **argv = batch_bytes(batch, words * sizeof *argv);
	size_t *lengths = batch_bytes(batch, words * sizeof *lengths);

	argv[0] = "MGET";
	lengths[0] = strlen(argv[0]);
	for (size_t i = from; i < to; i++)
		argv[i - from + 1] = batch_key(batch, &mget->items[i].key, &lengths[i - from + 1]);
	size_t at = batch_words(batch, argv, lengths, (int)words);
	for (size_t i = from; i < to; i++)
		mget->gets[i] = at;
}

static void build_mget(struct batch *batch, void *arg)
{
	const struct mget *mget = arg;

	for (size_t i = 0; i < mget->count; i++) {
		size_t to = i + MGET_KEYS < mget->count ? i + MGET_KEYS : mget->count;
		if (!mget->whole)
			mget->gets[i] = batch_command(batch, "GET", &mget->items[i].key, true);
		else if (i % MGET_KEYS == 0)
			command_mget(batch, mget, i, to);
		mget->lefts[i] = batch_command(batch, "PTTL", &mget->items[i].key, true);
	}
}

/* The answer for item i among those of its MGET, or its GET's; NULL if there is no such. */
static const redisReply *answer_for(const struct mget *mget, const struct batch *batch, size_t i)
{
	const redisReply *reply = batch->requests[mget->gets[i]].reply;

	if (!mget->whole || reply->type == REDIS_REPLY_ERROR)
		return reply;
	size_t first = i / MGET_KEYS * MGET_KEYS, count = mget->count - first < MGET_KEYS ? mget->count - first : MGET_KEYS;
	return reply->type == REDIS_REPLY_ARRAY && reply->elements == count ? reply->element[i - first] : NULL;
}

static enum larder_status deliver_item(const struct redis_options *options, const struct mget *mget, const struct batch *batch,
		size_t i)
{
	const struct redis_request *get = &batch->requests[mget->gets[i]], *left = &batch->requests[mget->lefts[i]];
	struct larder_store_item *item = &mget->items[i];

	if (get->status || left->status)
		return get->status ? get->status : left->status;
	const redisReply *reply = answer_for(mget, batch, i);
	if (!reply)
		return reply_unexpected(get->reply, "MGET");
	return deliver(options, get->node->text, reply, left->reply, &item->value, &item->meta);
}

/* A status that one key has, and the next may not have. */
static enum larder_status of_whole(enum larder_status status)
{
	return status == LARDER_UNREACHABLE || status == LARDER_REFUSED ? LARDER_OK : status;
}

static enum larder_status run_mget(struct redis *redis, struct mget *mget, struct batch *batch)
{
	enum larder_status status = batch_run(batch, build_mget, mget);

	for (size_t i = 0; i < mget->count; i++)
		mget->items[i].status = status && !batch->requests[mget->gets[i]].status && !batch->requests[mget->gets[i]].reply
				? status : deliver_item(&redis->options, mget, batch, i);
	return redis->options.url.cluster ? of_whole(status) : status;
}

static enum larder_status redis_mget(void *self, uint32_t flags, struct larder_store_item *items, size_t count)
{
	struct redis *redis = self;
	struct mget mget = { .items = items, .count = count, .whole = !redis->options.url.cluster };
	size_t arena = 0;
	struct batch batch;

	(void)flags;
	if (!count)
		return LARDER_OK;
	for (size_t i = 0; i < count; i++)
		arena += 2 * BATCH_KEY_BYTES(items[i].key.count) + 4 * sizeof(size_t);
	mget.gets = calloc(count, 2 * sizeof *mget.gets);
	if (!mget.gets || !batch_begin(&batch, &redis->slots, &redis->generations, 2 * count, count, arena, redis_deadline_ns(redis))) {
		free(mget.gets);
		return LARDER_NO_MEMORY;
	}
	mget.lefts = mget.gets + count;
	enum larder_status status = run_mget(redis, &mget, &batch);
	batch_end(&batch);
	free(mget.gets);
	return status;
}

struct changes {
	struct larder_store_write *writes;
	size_t count;
	size_t *at;
};

static const struct larder_set_options *options_of(const struct larder_store_write *write)
{
	return write->options ? write->options : &usual_options;
}

static void build_changes(struct batch *batch, void *arg)
{
	const struct changes *changes = arg;

	for (size_t i = 0; i < changes->count; i++) {
		const struct larder_store_write *write = &changes->writes[i];
		struct stored stored;
		if (write->status)
			continue;
		if (write->remove) {
			changes->at[i] = batch_command(batch, "UNLINK", &write->key, false);
			continue;
		}
		stored = stored_of(batch, write->value, write->value_bytes, options_of(write));
		changes->at[i] = command_set(batch, &write->key, &stored, options_of(write));
	}
}

static enum larder_status answer_of_change(const struct redis_request *request, const struct larder_store_write *write)
{
	if (request->status)
		return request->status;
	return write->remove ? answer_of_count(request, "UNLINK") : answer_of_set(request, options_of(write)->mode);
}

/* What cannot be pipelined has its answer beforehand: cas, for it has to read first, and what is no valid set. */
static size_t prepare_changes(const struct redis *redis, const struct changes *changes)
{
	size_t arena = 0;

	for (size_t i = 0; i < changes->count; i++) {
		struct larder_store_write *write = &changes->writes[i];
		const struct larder_set_options *options = options_of(write);
		write->status = write->remove ? LARDER_OK : check_set(options, write->value_bytes);
		if (!write->remove && !write->status && options->mode == LARDER_CAS)
			write->status = LARDER_UNSUPPORTED;
		arena += BATCH_KEY_BYTES(write->key.count);
		arena += redis->options.envelope ? LARDER_RECORD_HEADER + write->value_bytes + 8 : 0;
	}
	return arena;
}

static enum larder_status run_changes(struct redis *redis, struct changes *changes, struct batch *batch)
{
	enum larder_status status = batch_run(batch, build_changes, changes);

	for (size_t i = 0; i < changes->count; i++) {
		const struct redis_request *request = &batch->requests[changes->at[i]];
		struct larder_store_write *write = &changes->writes[i];
		if (!write->status)
			write->status = status && !request->status && !request->reply ? status : answer_of_change(request, write);
	}
	return redis->options.url.cluster ? of_whole(status) : status;
}

static enum larder_status redis_write_many(void *self, struct larder_store_write *writes, size_t count)
{
	struct redis *redis = self;
	struct changes changes = { .writes = writes, .count = count };
	struct batch batch;

	if (!count)
		return LARDER_OK;
	size_t arena = prepare_changes(redis, &changes);
	changes.at = calloc(count, sizeof *changes.at);
	if (!changes.at || !batch_begin(&batch, &redis->slots, &redis->generations, count, count, arena, redis_deadline_ns(redis))) {
		free(changes.at);
		return LARDER_NO_MEMORY;
	}
	enum larder_status status = run_changes(redis, &changes, &batch);
	batch_end(&batch);
	free(changes.at);
	return status;
}

/* ---- Health ---------------------------------------------------------------------------------------------------------- */

static enum larder_status ping(struct redis_node *node, int64_t deadline_ns)
{
	static const char *argv[] = { "PING" };
	static const size_t lengths[] = { 4 };
	struct node_lease lease;
	redisReply *reply = NULL;
	enum larder_status status = node_take(node, true, deadline_ns, &lease);

	if (status)
		return status;
	enum wire_fault fault = wire_append(&lease.seat->wire, 1, argv, lengths);
	if (!fault)
		fault = wire_reply(&lease.seat->wire, deadline_ns, &reply);
	status = fault ? node_fault(node, fault) : reply_status(reply, node->text);
	node_leave(&lease, fault);
	freeReplyObject(reply);
	return status;
}

/* One node that answers is enough for a cluster to be usable; a single server has to. */
static enum larder_status redis_health(void *self, struct larder_health *health)
{
	struct redis *redis = self;
	int64_t began_ns = wire_now_ns();
	enum larder_status status = LARDER_UNREACHABLE;
	struct redis_node *node = NULL;

	for (unsigned i = 0; status && (node = slots_node(&redis->slots, i)); i++) {
		(void)node_resolve(node, false);
		began_ns = wire_now_ns();
		status = ping(node, began_ns + redis->options.timeout_ns);
		health->last = status;
		snprintf(health->text, sizeof health->text, status ? "%.150s" : "redis at %.120s answers",
				status ? larder_message() : node->text);
	}
	health->usable = !status;
	health->round_trip_ns = (uint64_t)(wire_now_ns() - began_ns);
	return LARDER_OK;
}

static struct larder *redis_cache(void *self)
{
	return larder_store_cache(pointer_load_acquire(&((struct redis *)self)->near));
}

const struct larder_store_kind store_redis = {
	.size = sizeof(struct larder_store_kind),
	.name = "redis",
	.rules = rules,
	.rule_count = REDIS_SETTINGS,
	.open = redis_open,
	.close = redis_close,
	.health = redis_health,
	.get = redis_get,
	.set = redis_set,
	.remove = redis_remove,
	.clear = redis_clear,
	.mget = redis_mget,
	.write_many = redis_write_many,
	.touch = redis_touch,
	.incr = redis_incr,
	.cache = redis_cache,
};
