/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Simulated caches: exact policies over whole objects, whose every byte is an object's; no index, no headers, no
 * ghosts' memory. What a real cache is held against.
 *
 * Objects have dense numbers.  All policies keep their objects in doubly linked queues over one array, so that a queue
 * operation is a few stores and an object is in exactly one queue at a time (ghost queues included).
 */
#ifndef BENCH_SIMULATE_H
#define BENCH_SIMULATE_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_QUEUES 5u /* queue 0 is "nowhere" */
#define SIM_NONE UINT32_MAX

struct sim_object {
	uint64_t born; /* sim_larder: of the clock; of a ghost, when it is forgotten */
	uint32_t older, newer; /* neighbours in the queue */
	uint32_t size;
	uint8_t queue;
	uint8_t uses;
};

struct sim_queue {
	uint32_t oldest, newest;
	uint64_t bytes, count;
};

struct sim {
	const struct sim_policy *policy;
	uint64_t capacity;
	struct sim_object *objects;
	struct sim_queue queues[SIM_QUEUES];
	double target; /* ARC: bytes that the recent side should have */
	uint32_t hand; /* SIEVE */
	/* sim_larder: */
	uint64_t clock;           /* bytes put in and moved so far */
	uint64_t sets, set_bytes; /* objects put in so far */
	uint64_t ghosts;          /* that there ever were */
	uint64_t random;
};

struct sim_policy {
	const char *name;
	bool (*get)(struct sim *sim, uint32_t object);                /* true: a hit */
	void (*set)(struct sim *sim, uint32_t object, uint32_t size); /* inserts, or replaces in place */
	void (*remove)(struct sim *sim, uint32_t object);             /* deleted or expired: no ghost is left */
};

extern const struct sim_policy sim_lru, sim_arc, sim_sieve, sim_s3fifo;
extern const struct sim_policy sim_larder; /* larder's own, by object: what its segments change is not in it */
extern const struct sim_policy *const sim_policies[]; /* NULL-terminated */

int sim_new(struct sim *sim, const struct sim_policy *policy, uint64_t capacity, uint32_t objects);
void sim_free(struct sim *sim);

/* Queue operations; an object is taken out of its queue before it is put into another. */
void sim_push(struct sim *sim, unsigned queue, uint32_t object);
void sim_take(struct sim *sim, uint32_t object);
void sim_move(struct sim *sim, unsigned queue, uint32_t object);
/* Changes the size of an object wherever it is. */
void sim_resize(struct sim *sim, uint32_t object, uint32_t size);

#endif
