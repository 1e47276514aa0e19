/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An actor is one thread at work in one cache: its participant slot, its private lists, and what it remembers between
 * calls.  All of it lies in the tail of its struct worker, wiped by fork; every call of the layers above takes one.
 */
#ifndef LARDER_SHM_ACTOR_H
#define LARDER_SHM_ACTOR_H

#include "shm/participant.h"
#include "shm/retire.h"
#include "shm/trace.h"

enum counter {
#define LARDER_COUNTER(name, text) COUNTER_##name,
#include "larder/counters.def"
#undef LARDER_COUNTER
	COUNTERS
};
_Static_assert(COUNTERS <= COUNTERS_MAX, "a participant has room for all counters");

struct actor {
	struct region *region;
	struct shm_participant *self;
	uint32_t slot;
	uint32_t tries;    /* of this call so far */
	uint32_t evicted;  /* live entries displaced by this call */
	uint32_t asked;    /* blocked steps since liveness was last asked */
	uint64_t work;     /* of eviction, done by this call */
	struct octet idle; /* frequency_use_or() */
	bool pressed;      /* this call has walked much and freed nothing: the next victim is emptied whole */
	uint64_t random;
	struct { uint64_t moment, ticks, span; } clock; /* moment_quick() */
	struct { int64_t ms; unsigned class; } ttl; /* the time to live of the last plain set that had one */
	struct {
		uint32_t left;       /* accesses until the next sample for the hot keys */
		uint64_t trace_mask; /* which keys are traced */
		struct trace_batch batch;
	} watch; /* cache/watch.h */
	struct retire retire;
};

#ifdef LARDER_ABLATE_COUNTERS
#define count_by(participant, name, n) ((void)(participant), (void)(n))
#else
#define count_by(participant, name, n) bump_own(&(participant)->counter[COUNTER_##name], (n))
#endif
#define count(a, name, n) count_by((a)->self, name, n)

/* Of all participants that ever were, in no one moment. */
static inline uint64_t counter_sum(const struct region *r, enum counter which)
{
	uint64_t sum = 0;
	uint32_t used = region_participants_used(r);
	for (uint32_t i = 0; i < used; i++)
		sum += load_hint(&region_participant(r, i)->counter[which]);
	return sum;
}

/* A call gives up after this many tries: each of them means that another one's change went through meanwhile. */
#define TRIES_MAX (1u << 16)
static inline bool actor_retries(struct actor *a) { return likely(++a->tries < TRIES_MAX); }

static inline uint32_t actor_random(struct actor *a)
{
	a->random = a->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(a->random >> 33);
}

#endif
