/* SPDX-License-Identifier: BSD-2-Clause */
/* The queues that all simulated policies are made of. */
#include "simulate.h"

#include <stdlib.h>

const struct sim_policy *const sim_policies[] = { &sim_lru, &sim_arc, &sim_sieve, &sim_s3fifo, NULL };

int sim_new(struct sim *sim, const struct sim_policy *policy, uint64_t capacity, uint32_t objects)
{
	*sim = (struct sim){ .policy = policy, .capacity = capacity, .hand = SIM_NONE };
	sim->objects = calloc(objects, sizeof *sim->objects);
	for (unsigned q = 0; q < SIM_QUEUES; q++)
		sim->queues[q].oldest = sim->queues[q].newest = SIM_NONE;
	return sim->objects ? 0 : -1;
}

void sim_free(struct sim *sim)
{
	free(sim->objects);
	sim->objects = NULL;
}

void sim_push(struct sim *sim, unsigned number, uint32_t object)
{
	struct sim_queue *queue = &sim->queues[number];
	struct sim_object *pushed = &sim->objects[object];

	pushed->queue = (uint8_t)number;
	pushed->newer = SIM_NONE;
	pushed->older = queue->newest;
	if (queue->newest != SIM_NONE)
		sim->objects[queue->newest].newer = object;
	else
		queue->oldest = object;
	queue->newest = object;
	queue->bytes += pushed->size;
	queue->count++;
}

void sim_take(struct sim *sim, uint32_t object)
{
	struct sim_object *taken = &sim->objects[object];
	struct sim_queue *queue = &sim->queues[taken->queue];

	if (taken->queue == 0)
		return;
	if (sim->hand == object)
		sim->hand = taken->newer;
	if (taken->older != SIM_NONE)
		sim->objects[taken->older].newer = taken->newer;
	else
		queue->oldest = taken->newer;
	if (taken->newer != SIM_NONE)
		sim->objects[taken->newer].older = taken->older;
	else
		queue->newest = taken->older;
	queue->bytes -= taken->size;
	queue->count--;
	taken->queue = 0;
}

void sim_move(struct sim *sim, unsigned queue, uint32_t object)
{
	sim_take(sim, object);
	sim_push(sim, queue, object);
}

void sim_resize(struct sim *sim, uint32_t object, uint32_t size)
{
	struct sim_object *resized = &sim->objects[object];

	if (resized->queue != 0)
		sim->queues[resized->queue].bytes += (uint64_t)size - resized->size;
	resized->size = size;
}
