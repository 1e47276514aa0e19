/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store kind redis, as the stores above it see it: beside the store interface, commands of their own, connections of their
 * own (subscriptions), the names that keys have on the server, and shared words.
 *
 * In Redis a key is PREFIX NAMESPACE ':' KEY, namespace and key escaped as in canonical key text: "users:42:3".  A namespace
 * that was cleared has a generation, kept at PREFIX NAMESPACE ":%generation", and its keys are PREFIX NAMESPACE "%g"
 * GENERATION ':' KEY from then on.  In canonical text only 3A and 25 follow a '%', so none of these can be taken for another.
 */
#ifndef LARDER_REDIS_REDIS_H
#define LARDER_REDIS_REDIS_H

#include <larder/store.h>

#include "redis/run.h"

struct redis;

/* The redis behind a store of that kind; NULL if it is of another. */
struct redis *redis_of(const struct larder_store *store);
const struct redis_options *redis_options_of(const struct redis *redis);

struct tally *redis_tally(struct redis *redis);
struct slots *redis_slots(struct redis *redis);
bool redis_is_shared(const struct redis *redis);

/* ---- Commands -------------------------------------------------------------------------------------------------------- */

/* The moment by which a call that begins now has to be over. */
int64_t redis_deadline_ns(const struct redis *redis);

/* A connection of the caller's own to node `number` (0 .. redis_node_count() - 1), greeted, outside of pool and breaker, for
 * subscriptions; used by wire_append(), wire_reply(), and ended by wire_close().  In a forked child: wire_abandon(). */
enum larder_status redis_dial(struct redis *redis, unsigned number, struct wire *wire, int64_t deadline_ns);
unsigned redis_node_count(const struct redis *redis);

/* ---- Keys ------------------------------------------------------------------------------------------------------------ */

/* What a key of the server is to larder. */
struct redis_place {
	char ns[65];         /* the namespace's name, not escaped */
	const char *key;     /* within the text given: what larder_store_key.bytes is */
	size_t key_bytes;    /* 0: this is the namespace's generation, a change of which clears it */
	uint64_t generation;
};
/* False: no key of this store. */
bool redis_key_parse(const struct redis *redis, const char *text, size_t bytes, struct redis_place *place);
/* What all keys of this store begin with; "" for all keys there are. */
const char *redis_prefix(const struct redis *redis);
/* The generation of a namespace, asked of the server if need be; 0: it was never cleared. */
enum larder_status redis_generation(struct redis *redis, const struct larder_name *ns, uint64_t *generation);
/* The generation of a namespace was seen to change, or may have: the next call asks the server. */
void redis_generation_forget(struct redis *redis, const struct larder_name *ns);

/* ---- Sharing --------------------------------------------------------------------------------------------------------- */

/* Breakers and counters of this store live in the segment of `near` from now on, for all processes that share it: rows
 * "breaker:HOST:PORT" and "redis:HOST:PORT" of its board.  Holds `near` until it is closed.  A second time does nothing.
 * LARDER_OK; LARDER_NO_ROOM; LARDER_INVALID (a store without a segment). */
enum larder_status redis_share(struct redis *redis, struct larder_store *near);

#endif
