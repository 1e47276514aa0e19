/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands to their nodes and answers back, see run.h.
 *
 * A round sends every command that has no answer yet to its node, a LEG for each node, and waits for all legs together.  What was
 * redirected goes into the next round.  Legs are taken in the order of nodes: threads that need several cannot block each other.
 */
#include "redis/run.h"

#include <poll.h>
#include <string.h>

#include "base/message.h"
#include "redis/reply.h"

#define ROUNDS_MAX 6u
_Static_assert(NODES_MAX <= WIRES_MAX, "all legs can be waited for at once");

struct leg {
	struct redis_node *node;
	struct node_lease lease;
	size_t next; /* the request that the next answer is of */
	bool over;
};

struct round {
	struct redis_request *requests;
	size_t count;
	struct leg legs[NODES_MAX];
	unsigned leg_count;
	int64_t deadline_ns;
};

static bool waits(const struct redis_request *request, const struct redis_node *node)
{
	return request->node == node && !request->reply && !request->status;
}

/* The first request from `next` on that has no answer and belongs to node; count if there is none. */
static size_t next_of(const struct round *round, size_t next, const struct redis_node *node)
{
	while (next < round->count && !waits(&round->requests[next], node))
		next++;
	return next;
}

static void leg_fails(struct round *round, struct leg *leg, enum larder_status status)
{
	for (size_t i = next_of(round, 0, leg->node); i < round->count; i = next_of(round, i + 1, leg->node))
		round->requests[i].status = status;
	leg->over = true;
}

/* ---- Sending --------------------------------------------------------------------------------------------------------- */

static enum wire_fault append(struct wire *wire, struct redis_request *request)
{
	static const char *asking[] = { "ASKING" };
	static const size_t asking_bytes[] = { 6 };
	enum wire_fault fault = request->asking ? wire_append(wire, 1, asking, asking_bytes) : WIRE_FINE;

	if (fault)
		return fault;
	return wire_append(wire, request->count, request->words ? request->words : request->own,
			request->words ? request->lengths : request->own_lengths);
}

static void leg_begin(struct round *round, struct leg *leg)
{
	enum larder_status status = node_take(leg->node, false, round->deadline_ns, &leg->lease);
	enum wire_fault fault = WIRE_FINE;

	if (status) {
		leg_fails(round, leg, status);
		return;
	}
	leg->next = next_of(round, 0, leg->node);
	for (size_t i = leg->next; i < round->count && !fault; i = next_of(round, i + 1, leg->node)) {
		fault = append(&leg->lease.seat->wire, &round->requests[i]);
		redis_count(leg->node->tally, REDIS_COUNT_commands);
	}
	if (!fault)
		fault = wire_move(&leg->lease.seat->wire, POLLOUT);
	if (!fault)
		return;
	leg_fails(round, leg, node_fault(leg->node, fault));
	node_leave(&leg->lease, fault);
}

/* A leg for each node that has something to do, in the order of nodes. */
static void send_all(struct round *round, const struct slots *slots)
{
	struct redis_node *node;

	round->leg_count = 0;
	for (unsigned i = 0; (node = slots_node(slots, i)); i++) {
		if (next_of(round, 0, node) == round->count)
			continue;
		struct leg *leg = &round->legs[round->leg_count++];
		*leg = (struct leg){ .node = node };
		leg_begin(round, leg);
	}
}

/* ---- Receiving ------------------------------------------------------------------------------------------------------- */

/* Hands out the answers that have come; over when all have. */
static enum wire_fault leg_take(struct round *round, struct leg *leg)
{
	redisReply *reply;

	while (leg->next < round->count) {
		struct redis_request *request = &round->requests[leg->next];
		enum wire_fault fault = wire_take(&leg->lease.seat->wire, &reply);
		if (fault || !reply)
			return fault;
		if (request->asking) { /* the answer to ASKING comes before the command's own */
			request->asking = false;
			freeReplyObject(reply);
			continue;
		}
		request->reply = reply;
		leg->next = next_of(round, leg->next + 1, leg->node);
	}
	leg->over = true;
	node_leave(&leg->lease, WIRE_FINE);
	return WIRE_FINE;
}

static void leg_ends(struct round *round, struct leg *leg, enum wire_fault fault)
{
	leg_fails(round, leg, node_fault(leg->node, fault));
	node_leave(&leg->lease, fault);
}

static unsigned legs_open(struct round *round, struct leg *open[], struct wire *wires[])
{
	unsigned count = 0;

	for (unsigned i = 0; i < round->leg_count; i++) {
		if (round->legs[i].over)
			continue;
		open[count] = &round->legs[i];
		wires[count++] = &round->legs[i].lease.seat->wire;
	}
	return count;
}

static void receive_all(struct round *round)
{
	struct leg *open[NODES_MAX];
	struct wire *wires[NODES_MAX];
	enum wire_fault faults[NODES_MAX];
	bool last = false; /* one look after the deadline, see wire_reply() */

	for (unsigned count; (count = legs_open(round, open, wires)); ) {
		bool late = last;
		last = wire_now_ns() >= round->deadline_ns;
		enum wire_fault all = late ? WIRE_LATE : wire_wait(wires, count, faults, round->deadline_ns);
		for (unsigned i = 0; i < count; i++) {
			enum wire_fault fault = all ? all : faults[i] ? faults[i] : leg_take(round, open[i]);
			if (fault)
				leg_ends(round, open[i], fault);
		}
	}
}

/* ---- Rounds ---------------------------------------------------------------------------------------------------------- */

static void choose_nodes(struct slots *slots, struct redis_request *requests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		requests[i].reply = NULL;
		requests[i].status = LARDER_OK;
		requests[i].asking = requests[i].tried = false;
		requests[i].node = slots_find(slots, requests[i].slot, requests[i].reads && slots->options->replica_reads, 0);
	}
}

/* A master that does not answer may have been replaced, and a replica's master can be read.  Nothing is tried twice that may
 * have been done, but reads. */
static bool try_elsewhere(struct slots *slots, struct redis_request *request)
{
	struct redis_node *master;

	if (request->status != LARDER_UNREACHABLE)
		return false;
	slots_doubt(slots);
	master = slots_find(slots, request->slot, false, 1);
	if (!request->reads || request->tried || request->slot == SLOT_ANY || master == request->node)
		return false;
	request->tried = true;
	request->node = master;
	request->status = LARDER_OK;
	return true;
}

/* True: the request goes into another round. */
static bool redirected(struct slots *slots, struct redis_request *request)
{
	if (request->status || !request->reply)
		return try_elsewhere(slots, request);
	bool asked = reply_is_error(request->reply, "ASK "), moved = reply_is_error(request->reply, "MOVED ");
	if (!asked && !moved)
		return false;
	struct redis_node *node = slots_redirect(slots, request->node, request->reply->str);
	redis_count(slots->tally, asked ? REDIS_COUNT_asked : REDIS_COUNT_moved);
	if (!node || !slots->options->url.cluster)
		return false;
	freeReplyObject(request->reply);
	request->reply = NULL;
	request->node = node;
	request->asking = asked;
	return true;
}

static bool go_again(struct slots *slots, struct redis_request *requests, size_t count)
{
	bool again = false;

	for (size_t i = 0; i < count; i++)
		again |= redirected(slots, &requests[i]);
	return again;
}

/* The first failure.  Who was redirected to the end has one, too. */
static enum larder_status conclude(struct redis_request *requests, size_t count)
{
	enum larder_status first = LARDER_OK;

	for (size_t i = 0; i < count; i++) {
		if (requests[i].reply && requests[i].reply->type == REDIS_REPLY_ERROR)
			redis_count(requests[i].node->tally, REDIS_COUNT_errors);
		if (!requests[i].status && !requests[i].reply) {
			message_set("redis at %s: redirected more than %u times", requests[i].node->text, ROUNDS_MAX);
			requests[i].status = LARDER_UNREACHABLE;
		}
		if (!first)
			first = requests[i].status;
	}
	return first;
}

enum larder_status redis_run(struct slots *slots, struct redis_request *requests, size_t count, int64_t deadline_ns)
{
	struct round round;
	bool cluster = slots->options->url.cluster;

	round.requests = requests;
	round.count = count;
	round.deadline_ns = deadline_ns;

	if (cluster)
		slots_learn(slots, deadline_ns);
	choose_nodes(slots, requests, count);
	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		send_all(&round, slots);
		receive_all(&round);
		if (!cluster || !go_again(slots, requests, count))
			break;
	}
	return conclude(requests, count);
}

void redis_run_free(struct redis_request *requests, size_t count)
{
	for (size_t i = 0; i < count; i++)
		freeReplyObject(requests[i].reply);
}
