/* SPDX-License-Identifier: BSD-2-Clause */
/* One server, see node.h. */
#include "redis/node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/message.h"
#include "redis/reply.h"

/* ---- Making ---------------------------------------------------------------------------------------------------------- */

struct redis_node *node_make(const struct redis_address *address, const struct redis_options *options, struct tally *tally)
{
	struct redis_node *node = aligned_alloc(64, (sizeof *node + 63) / 64 * 64);

	if (!node)
		return NULL;
	memset(node, 0, sizeof *node);
	if (!pool_make(&node->pool, options->pool)) {
		free(node);
		return NULL;
	}
	node->address = *address;
	node->options = options;
	node->tally = tally;
	url_show(address, node->text, sizeof node->text);
	breaker_make(&node->breaker, &options->breaker);
	(void)node_resolve(node, true);
	return node;
}

/* A name that is too long ends in its hash: two paths that begin alike are two rows. */
enum larder_status node_row(const struct region *board, const char *what, const char *text, struct word **words)
{
	char name[BOARD_NAME_BYTES + 1];

	if ((size_t)snprintf(name, sizeof name, "%s:%s", what, text) >= sizeof name)
		snprintf(name, sizeof name, "%s:%.60s...%016" PRIx64, what, text, hash_bytes(text, strlen(text), 0));
	return board_find(board, name, words);
}

enum larder_status node_share(struct redis_node *node, const struct region *board)
{
	struct word *words;
	enum larder_status status = node_row(board, "breaker", node->text, &words);

	if (!status)
		breaker_share(&node->breaker, words);
	return status;
}

void node_free(struct redis_node *node)
{
	if (!node)
		return;
	for (struct node_place *place = pointer_load_acquire(&node->place), *before; place; place = before) {
		before = place->before;
		free(place);
	}
	pool_free(&node->pool);
	free(node);
}

bool node_resolve(struct redis_node *node, bool only_numeric)
{
	struct node_place *place, *there = pointer_load_acquire(&node->place);
	struct wire_address address;

	if (!wire_resolve(node->address.host, node->address.port, only_numeric, &address))
		return false;
	if (there && there->address.bytes == address.bytes && !memcmp(&there->address.socket, &address.socket, address.bytes))
		return true;
	place = malloc(sizeof *place);
	if (!place)
		return false;
	*place = (struct node_place){ address, there };
	if (!pointer_cas_acq_rel(&node->place, there, place)) /* NAMED (release): the address is whole before it is found */
		free(place);
	return true;
}

/* ---- Faults ---------------------------------------------------------------------------------------------------------- */

enum larder_status node_fault(struct redis_node *node, enum wire_fault fault)
{
	static const enum redis_counter counters[WIRE_FAULTS] = { [WIRE_LATE] = REDIS_COUNT_timeouts,
		[WIRE_REFUSED] = REDIS_COUNT_connects_failed, [WIRE_ENDED] = REDIS_COUNT_disconnects,
		[WIRE_GARBAGE] = REDIS_COUNT_garbage, [WIRE_UNTRUSTED] = REDIS_COUNT_connects_failed,
		[WIRE_ABSENT] = REDIS_COUNT_connects_failed, [WIRE_DENIED] = REDIS_COUNT_connects_failed,
		[WIRE_NO_WAY] = REDIS_COUNT_connects_failed, [WIRE_UNNAMED] = REDIS_COUNT_connects_failed };

	if (!fault)
		return LARDER_OK;
	if (fault == WIRE_LATE)
		message_set("redis at %s: %s (%" PRId64 " ms to connect, %" PRId64 " ms in all)", node->text, wire_fault_text(fault),
				node->options->connect_ns / 1000000, node->options->timeout_ns / 1000000);
	else
		message_set("redis at %s: %s", node->text, wire_fault_text(fault));
	if (fault == WIRE_MEMORY)
		return LARDER_NO_MEMORY;
	redis_count(node->tally, counters[fault]);
	return LARDER_UNREACHABLE;
}

static enum larder_status breaker_is_open(struct redis_node *node)
{
	int64_t next_ms;

	redis_count(node->tally, REDIS_COUNT_failed_fast);
	(void)breaker_now(&node->breaker, &next_ms);
	message_set("redis at %s: its breaker is open (last failure: %s), next try in %" PRId64 " ms", node->text,
			wire_fault_text((enum wire_fault)(breaker_count(&node->breaker, BREAKER_LAST) % WIRE_FAULTS)), next_ms);
	return LARDER_UNREACHABLE;
}

/* ---- Greeting -------------------------------------------------------------------------------------------------------- */

static enum wire_fault say(struct wire *wire, int argc, const char *first, const char *second, const char *third)
{
	const char *argv[] = { first, second, third };
	const size_t lengths[] = { strlen(first), argc > 1 ? strlen(second) : 0, argc > 2 ? strlen(third) : 0 };

	return wire_append(wire, argc, argv, lengths);
}

/* All of the greeting in one go; the number of replies that will come. */
static enum wire_fault greeting(struct wire *wire, const struct redis_options *options, unsigned *replies)
{
	const struct redis_url *url = &options->url;
	enum wire_fault fault = WIRE_FINE;
	char database[16];

	if (*url->password && ++*replies)
		fault = *url->user ? say(wire, 3, "AUTH", url->user, url->password) : say(wire, 2, "AUTH", url->password, NULL);
	snprintf(database, sizeof database, "%d", url->database);
	if (!fault && url->database && ++*replies)
		fault = say(wire, 2, "SELECT", database, NULL);
	if (!fault && *options->client_name && ++*replies)
		fault = say(wire, 3, "CLIENT", "SETNAME", options->client_name);
	if (!fault && options->replica_reads && ++*replies)
		fault = say(wire, 1, "READONLY", NULL, NULL);
	return fault;
}

/* An error counts unless it is the name's: a user who may not set one can do without. */
static enum larder_status greet(struct redis_node *node, struct wire *wire, int64_t deadline_ns, enum wire_fault *fault)
{
	enum larder_status status = LARDER_OK;
	unsigned replies = 0;

	*fault = greeting(wire, node->options, &replies);
	for (unsigned i = 0; i < replies && !*fault; i++) {
		redisReply *reply;
		*fault = wire_reply(wire, deadline_ns, &reply);
		if (!*fault && !status && !reply_is_error(reply, "NOPERM ") && !reply_is_error(reply, "ERR unknown"))
			status = reply_status(reply, node->text);
		freeReplyObject(*fault ? NULL : reply);
	}
	return *fault ? node_fault(node, *fault) : status;
}

/* A server that is not trusted lives, and is refused by us: no fault for the breaker. */
static enum larder_status secure(struct redis_node *node, struct wire *wire, int64_t deadline_ns, enum wire_fault *fault)
{
	char why[WIRE_WHY_BYTES];

	if (!node->options->tls)
		return LARDER_OK;
	*fault = wire_secure(wire, node->options->tls, node->address.host, deadline_ns, why);
	if (*fault != WIRE_UNTRUSTED)
		return node_fault(node, *fault);
	message_set("redis at %s: TLS failed: %s (settings tls-ca, tls-name, tls-verify)", node->text, why);
	redis_count(node->tally, REDIS_COUNT_connects_failed);
	*fault = WIRE_FINE;
	return LARDER_REFUSED;
}

/* Opens and greets; on failure the wire is closed and *fault says what to hold against the server. */
static enum larder_status dial(struct redis_node *node, struct wire *wire, int64_t deadline_ns, enum wire_fault *fault)
{
	const struct node_place *place = pointer_load_acquire(&node->place); /* NAMED (acquire) */
	int64_t connect_by = wire_now_ns() + node->options->connect_ns;

	if (!place) {
		message_set("redis at %s: the name was not found; larder_store_health() asks the resolver again", node->text);
		redis_count(node->tally, REDIS_COUNT_connects_failed);
		*fault = WIRE_UNNAMED;
		return LARDER_UNREACHABLE;
	}
	if (connect_by > deadline_ns)
		connect_by = deadline_ns;
	*fault = wire_open(wire, &place->address, connect_by);
	enum larder_status status = *fault ? node_fault(node, *fault) : secure(node, wire, connect_by, fault);
	if (!status)
		status = greet(node, wire, connect_by, fault);
	if (status)
		wire_close(wire);
	else
		redis_count(node->tally, REDIS_COUNT_connects);
	return status;
}

enum larder_status node_dial(struct redis_node *node, struct wire *wire, int64_t deadline_ns)
{
	enum wire_fault fault;

	wire_clear(wire);
	return dial(node, wire, deadline_ns, &fault);
}

/* ---- Taking and leaving ---------------------------------------------------------------------------------------------- */

static enum larder_status seat_ready(struct redis_node *node, struct seat *seat, int64_t deadline_ns, enum wire_fault *fault)
{
	if (seat->greeted && wire_is_quiet(&seat->wire))
		return LARDER_OK;
	wire_close(&seat->wire);
	enum larder_status status = dial(node, &seat->wire, deadline_ns, fault);
	seat->greeted = !status;
	return status;
}

/* A server that refuses a greeting lives: that is no fault for the breaker.  Nor is what this process lacks. */
static void leave(struct node_lease *lease, bool keep, enum wire_fault fault)
{
	struct redis_node *node = lease->node;

	pool_leave(&node->pool, lease->seat, keep);
	if (fault == WIRE_MEMORY)
		breaker_forget(&node->breaker, &lease->pass);
	else
		breaker_leave(&node->breaker, &lease->pass, !fault, (int)fault);
}

enum larder_status node_take(struct redis_node *node, bool past_breaker, int64_t deadline_ns, struct node_lease *lease)
{
	enum wire_fault fault = WIRE_FINE;

	*lease = (struct node_lease){ .node = node };
	if (!breaker_enter(&node->breaker, &lease->pass) && !past_breaker)
		return breaker_is_open(node);
	lease->seat = pool_take(&node->pool, deadline_ns);
	if (!lease->seat) {
		breaker_forget(&node->breaker, &lease->pass);
		redis_count(node->tally, REDIS_COUNT_no_seat);
		message_set("redis at %s: all %u connections were in use until the time-out; raise 'pool'", node->text,
				node->pool.count);
		return LARDER_UNREACHABLE;
	}
	enum larder_status status = seat_ready(node, lease->seat, deadline_ns, &fault);
	if (status)
		leave(lease, false, fault);
	return status;
}

void node_leave(struct node_lease *lease, enum wire_fault fault)
{
	leave(lease, !fault, fault);
}
