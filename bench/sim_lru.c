/* SPDX-License-Identifier: BSD-2-Clause */
/* Least recently used goes first.  A set counts as a use. */
#include "simulate.h"

enum { RECENCY = 1 };

static bool lru_get(struct sim *sim, uint32_t object)
{
	if (sim->objects[object].queue != RECENCY)
		return false;
	sim_move(sim, RECENCY, object);
	return true;
}

static void lru_set(struct sim *sim, uint32_t object, uint32_t size)
{
	sim_take(sim, object);
	if (size > sim->capacity)
		return;
	while (sim->queues[RECENCY].bytes + size > sim->capacity)
		sim_take(sim, sim->queues[RECENCY].oldest);
	sim->objects[object].size = size;
	sim_push(sim, RECENCY, object);
}

const struct sim_policy sim_lru = { "LRU", lru_get, lru_set, sim_take };
