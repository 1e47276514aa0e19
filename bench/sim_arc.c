/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ARC (Megiddo and Modha, FAST 2003), counted in bytes: a side for objects seen once, one for those seen again,
 * ghosts of either, and a target between the two that each ghost hit moves. With objects of one size it is the
 * published one.
 */
#include "simulate.h"

#include <math.h>

enum { ONCE = 1, OFTEN = 2, GHOST_ONCE = 3, GHOST_OFTEN = 4 };

static bool arc_get(struct sim *sim, uint32_t object)
{
	if (sim->objects[object].queue != ONCE && sim->objects[object].queue != OFTEN)
		return false;
	sim_move(sim, OFTEN, object);
	return true;
}

/* Makes one object a ghost: from the side that has more than its target. */
static void arc_replace(struct sim *sim, bool from_ghost_often)
{
	double once = (double)sim->queues[ONCE].bytes;
	bool over = once > sim->target || (from_ghost_often && once >= sim->target);

	if (sim->queues[ONCE].count && (over || sim->queues[OFTEN].count == 0))
		sim_move(sim, GHOST_ONCE, sim->queues[ONCE].oldest);
	else
		sim_move(sim, GHOST_OFTEN, sim->queues[OFTEN].oldest);
}

static void arc_fit(struct sim *sim, uint64_t bytes, bool from_ghost_often)
{
	while (sim->queues[ONCE].bytes + sim->queues[OFTEN].bytes + bytes > sim->capacity)
		arc_replace(sim, from_ghost_often);
}

static void arc_learn(struct sim *sim, unsigned ghosts, uint32_t size)
{
	double mine = (double)sim->queues[ghosts].bytes;
	double other = (double)sim->queues[ghosts == GHOST_ONCE ? GHOST_OFTEN : GHOST_ONCE].bytes;
	double step = (double)size * fmax(1, mine > 0 ? other / mine : 1);

	if (ghosts == GHOST_ONCE)
		sim->target = fmin((double)sim->capacity, sim->target + step);
	else
		sim->target = fmax(0, sim->target - step);
}

/* A new object: neither once with its ghosts may exceed the capacity, nor everything twice of it. */
static void arc_forget(struct sim *sim, uint64_t bytes)
{
	struct sim_queue *queues = sim->queues;

	while (queues[GHOST_ONCE].count && queues[ONCE].bytes + queues[GHOST_ONCE].bytes + bytes > sim->capacity)
		sim_take(sim, queues[GHOST_ONCE].oldest);
	while (queues[ONCE].count && queues[ONCE].bytes + bytes > sim->capacity)
		sim_take(sim, queues[ONCE].oldest);
	while (queues[GHOST_OFTEN].count && queues[ONCE].bytes + queues[OFTEN].bytes + queues[GHOST_ONCE].bytes
			+ queues[GHOST_OFTEN].bytes + bytes > 2 * sim->capacity)
		sim_take(sim, queues[GHOST_OFTEN].oldest);
}

static void arc_set(struct sim *sim, uint32_t object, uint32_t size)
{
	unsigned queue = sim->objects[object].queue;

	if (size > sim->capacity) {
		sim_take(sim, object);
		return;
	}
	if (queue == GHOST_ONCE || queue == GHOST_OFTEN)
		arc_learn(sim, queue, size);
	sim_take(sim, object);
	if (queue == 0)
		arc_forget(sim, size);
	arc_fit(sim, size, queue == GHOST_OFTEN);
	sim->objects[object].size = size;
	sim_push(sim, queue == 0 ? ONCE : OFTEN, object);
}

const struct sim_policy sim_arc = { "ARC", arc_get, arc_set, sim_take };
