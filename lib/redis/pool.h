/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connections to one server: a bounded number of seats, each taken by one thread at a time.
 *
 * A thread comes back to the seat it had, so that few threads have a connection each; more threads than seats take turns.
 * A seat's word is (life of the process, taken).  A forked child is another life, known by a page that the kernel empties
 * (MADV_WIPEONFORK): it takes over each seat that it finds in a life before its own and abandons what is in it: the socket is
 * closed in the child without a word to the server, so the parent's connection goes on.
 * Edge: SEATED.
 */
#ifndef LARDER_REDIS_POOL_H
#define LARDER_REDIS_POOL_H

#include "base/sync.h"
#include "redis/wire.h"

struct seat {
	_Alignas(64) struct word owner;
	struct wire wire;
	bool greeted; /* AUTH and what follows are done */
};

struct seat_pool {
	struct seat *seats;
	unsigned count;
	struct word *life;  /* in a page of its own; 0 in a child that has not asked yet */
	struct word lives;  /* the last one given out; inherited */
};

bool pool_make(struct seat_pool *pool, unsigned count);
/* No thread may be in a seat. */
void pool_free(struct seat_pool *pool);

/* A seat of the caller's, until pool_leave(); NULL if none came free before the deadline. */
struct seat *pool_take(struct seat_pool *pool, int64_t deadline_ns);
/* keep: the wire is as good as new; else it is closed. */
void pool_leave(struct seat_pool *pool, struct seat *seat, bool keep);

#endif
