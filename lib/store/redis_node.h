/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One server: its address, the connections to it, and its breaker.
 *
 * A connection is handed out greeted: AUTH, SELECT, CLIENT SETNAME and READONLY have been answered.  Connecting, greeting and
 * what the caller then does share one deadline.
 */
#ifndef LARDER_STORE_REDIS_NODE_H
#define LARDER_STORE_REDIS_NODE_H

#include "store/redis_breaker.h"
#include "store/redis_pool.h"
#include "store/redis_url.h"

/* One counter each: COUNT(name, text). */
#define REDIS_COUNTERS(COUNT) \
	COUNT(commands, "commands sent") \
	COUNT(connects, "connections made") \
	COUNT(connects_failed, "connections that could not be made") \
	COUNT(timeouts, "calls that got no answer in time") \
	COUNT(disconnects, "connections that the server ended under a call") \
	COUNT(garbage, "answers that were not Redis protocol, or of a wrong kind") \
	COUNT(errors, "answers that were errors") \
	COUNT(failed_fast, "calls that an open breaker refused") \
	COUNT(no_seat, "calls that found no free connection in time") \
	COUNT(moved, "redirections by MOVED") \
	COUNT(asked, "redirections by ASK") \
	COUNT(slots_learned, "times the slots of the cluster were learned") \
	COUNT(generations_restored, "namespace generations that the server had lost")

enum redis_counter {
#define COUNT(name, text) REDIS_COUNT_##name,
	REDIS_COUNTERS(COUNT)
#undef COUNT
	REDIS_COUNTER_COUNT
};

struct redis_options {
	struct redis_url url;
	char client_name[64], prefix[128];
	int64_t connect_ns, timeout_ns, generation_ns, ttl_ms;
	unsigned pool;
	bool replica_reads, envelope;
	struct breaker_options breaker;
};

/* What was resolved; the one before it stays until the node goes, for threads that still look at it. */
struct node_place {
	struct wire_address address;
	struct node_place *before;
};

struct redis_node {
	struct redis_address address;
	char text[300]; /* for people */
	struct pointer place; /* struct node_place */
	struct seat_pool pool;
	struct breaker breaker;
	const struct redis_options *options;
	struct word *counters;
};

/* A node's connection in the hands of one call. */
struct node_lease {
	struct redis_node *node;
	struct seat *seat;
	struct breaker_pass pass;
};

struct redis_node *node_make(const struct redis_address *address, const struct redis_options *options, struct word *counters);
/* No thread may be in a call. */
void node_free(struct redis_node *node);

/* Asks the resolver for the node's name, which may take as long as that does; numeric addresses take no time. */
bool node_resolve(struct redis_node *node, bool only_numeric);

/* LARDER_OK: node_leave() has to follow.  LARDER_UNREACHABLE, LARDER_REFUSED (greeting), LARDER_NO_MEMORY, with a message.
 * past_breaker: try even if the breaker is open (health checks). */
enum larder_status node_take(struct redis_node *node, bool past_breaker, int64_t deadline_ns, struct node_lease *lease);
/* WIRE_FINE: the connection goes back, every reply having been taken from it. */
void node_leave(struct node_lease *lease, enum wire_fault fault);
/* The status of a fault, counted, and its message. */
enum larder_status node_fault(struct redis_node *node, enum wire_fault fault);

/* A connection of the caller's own, greeted, outside of pool and breaker; ended by wire_close(). */
enum larder_status node_dial(struct redis_node *node, struct wire *wire, int64_t deadline_ns);

static inline void redis_count(struct word *counters, enum redis_counter counter) { (void)add_hint(&counters[counter], 1); }

#endif
