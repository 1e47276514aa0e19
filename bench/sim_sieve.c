/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIEVE (Zhang et al., NSDI 2024): one queue in order of insertion and a hand that goes from old to new, forgiving each
 * object that was used since it last came by, and taking the first that was not.
 */
#include "simulate.h"

enum { QUEUE = 1 };

static bool sieve_get(struct sim *sim, uint32_t object)
{
	if (sim->objects[object].queue != QUEUE)
		return false;
	sim->objects[object].uses = 1;
	return true;
}

static void sieve_evict(struct sim *sim)
{
	uint32_t at = sim->hand == SIM_NONE ? sim->queues[QUEUE].oldest : sim->hand;

	while (sim->objects[at].uses) {
		sim->objects[at].uses = 0;
		at = sim->objects[at].newer == SIM_NONE ? sim->queues[QUEUE].oldest : sim->objects[at].newer;
	}
	sim->hand = at;
	sim_take(sim, at); /* moves the hand on */
}

static void sieve_set(struct sim *sim, uint32_t object, uint32_t size)
{
	bool present = sim->objects[object].queue == QUEUE;

	if (size > sim->capacity) {
		sim_take(sim, object);
		return;
	}
	if (present)
		sim_resize(sim, object, size);
	while (sim->queues[QUEUE].bytes + (present ? 0 : size) > sim->capacity) {
		sieve_evict(sim);
		present = present && sim->objects[object].queue == QUEUE;
	}
	if (present)
		return;
	sim->objects[object].size = size;
	sim->objects[object].uses = 0;
	sim_push(sim, QUEUE, object);
}

const struct sim_policy sim_sieve = { "SIEVE", sieve_get, sieve_set, sim_take };
