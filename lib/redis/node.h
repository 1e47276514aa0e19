/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One server: its address, the connections to it, and its breaker.
 *
 * A connection is handed out greeted: AUTH, SELECT, CLIENT SETNAME and READONLY have been answered.  Connecting, greeting and
 * what the caller then does share one deadline.
 */
#ifndef LARDER_REDIS_NODE_H
#define LARDER_REDIS_NODE_H

#include "shm/board.h"
#include "redis/breaker.h"
#include "redis/pool.h"
#include "redis/url.h"

enum redis_counter {
#define LARDER_REDIS_COUNTER(name, text) REDIS_COUNT_##name,
#include <larder/redis.def>
#undef LARDER_REDIS_COUNTER
	REDIS_COUNTER_COUNT
};
_Static_assert(REDIS_COUNTER_COUNT <= BOARD_WORDS, "the counters of a store are one row of the board");

/* Counters of one store: its own words, or a row that it shares with other processes. */
struct tally {
	struct pointer words; /* struct word[REDIS_COUNTER_COUNT] */
	struct word own[REDIS_COUNTER_COUNT];
};

static inline struct word *tally_words(const struct tally *tally)
{
	return pointer_load_acquire(&((struct tally *)(uintptr_t)tally)->words); /* NAMED (acquire) */
}

static inline void redis_count(const struct tally *tally, enum redis_counter counter)
{
	(void)add_hint(&tally_words(tally)[counter], 1);
}

struct redis_options {
	struct redis_url url;
	char client_name[64], prefix[128];
	int64_t connect_ns, timeout_ns, generation_ns, ttl_ms;
	unsigned pool;
	bool replica_reads, envelope;
	struct tls_context *tls; /* NULL in the clear */
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
	struct tally *tally;
};

/* A node's connection in the hands of one call. */
struct node_lease {
	struct redis_node *node;
	struct seat *seat;
	struct breaker_pass pass;
};

/* The row of the board that is called "what:text". */
enum larder_status node_row(const struct region *board, const char *what, const char *text, struct word **words);
/* Its breaker is from now on a row of that board.  LARDER_OK; LARDER_NO_ROOM. */
enum larder_status node_share(struct redis_node *node, const struct region *board);
struct redis_node *node_make(const struct redis_address *address, const struct redis_options *options, struct tally *tally);
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

#endif
