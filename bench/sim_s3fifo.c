/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * S3-FIFO (Yang et al., SOSP 2023), by object: a small queue of a tenth of the bytes, a main queue of the rest, and
 * ghosts of what left small, as many bytes of objects as main may have. Two uses in small earn a place in main, a
 * ghost earns it at once; main gives one more round for each use. What is larger than all of small is not taken in
 * unless a ghost asks for it. A set of a present object replaces it in place and is no use. (As in libCacheSim,
 * threshold 2.)
 *
 * And larder's variant of it: uses in small count from when the object is ripe, after RIPE_PERCENT of the capacity were put in and
 * moved since it was, and then one is enough; whatever fits is taken in.  Its ghosts are queues of GHOSTS_PER_WORD in as many words
 * as hold GHOST_PERCENT of main's objects (lib/cache/ghost.c): a ghost lives until so many more have come into its word, which is
 * so many waits of exponential length, drawn when it becomes one; and a fingerprint may be that of another.
 */
#include "simulate.h"

#include <math.h>

enum { SMALL = 1, MAIN = 2, GHOST = 3 };
enum { GHOSTS_PER_WORD = 7, GHOST_PRINTS = 511, GHOST_PERCENT = 120, GHOST_LIVES_MAX = 3 };
enum { PROMOTE_USES = 2, PROMOTE_USES_RIPE = 1, USES_MAX = 3, RIPE_PERCENT = 3 };

static bool ripens(const struct sim *sim) { return sim->policy == &sim_larder; }
static bool is_young(const struct sim *sim, const struct sim_object *object)
{
	return ripens(sim) && object->queue == SMALL && (sim->clock - object->born) * 100 < sim->capacity * RIPE_PERCENT;
}

static uint64_t main_bytes(const struct sim *sim)
{
	return sim->capacity - sim->capacity / 10;
}

static bool s3fifo_get(struct sim *sim, uint32_t object)
{
	struct sim_object *found = &sim->objects[object];

	if (found->queue != SMALL && found->queue != MAIN)
		return false;
	if (found->uses < USES_MAX && !is_young(sim, found))
		found->uses++;
	return true;
}

/* ---- Ghosts --------------------------------------------------------------------------------------------------------- */

/* Of larder: by number, for objects of the usual size. */
static double ghosts_wanted(const struct sim *sim)
{
	double usual = sim->sets ? (double)sim->set_bytes / (double)sim->sets : 1;

	return (double)main_bytes(sim) / usual * GHOST_PERCENT / 100;
}

static void ghost_trim(struct sim *sim)
{
	if (ripens(sim)) {
		while ((double)sim->queues[GHOST].count > ghosts_wanted(sim) * GHOST_LIVES_MAX)
			sim_take(sim, sim->queues[GHOST].oldest);
		return;
	}
	while (sim->queues[GHOST].bytes > main_bytes(sim))
		sim_take(sim, sim->queues[GHOST].oldest);
}

/* Between 0 and 1. */
static double draw(struct sim *sim)
{
	sim->random = sim->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return ((double)(sim->random >> 33) + 0.5) / (double)(UINT64_C(1) << 31);
}

/* When it is forgotten, by the number of ghosts so far. */
static uint64_t ghost_end(struct sim *sim)
{
	double product = 1;

	for (unsigned i = 0; i < GHOSTS_PER_WORD; i++)
		product *= draw(sim);
	return ++sim->ghosts + (uint64_t)(-log(product) * ghosts_wanted(sim) / GHOSTS_PER_WORD);
}

/* Of an object that is put in. */
static bool ghost_found(struct sim *sim, const struct sim_object *object)
{
	bool ghost = object->queue == GHOST;

	if (!ripens(sim))
		return ghost;
	bool by_accident = (double)sim->ghosts > ghosts_wanted(sim) && draw(sim) * GHOST_PRINTS < GHOSTS_PER_WORD;
	return by_accident || (ghost && sim->ghosts < object->born);
}

/* ---- The queues ----------------------------------------------------------------------------------------------------- */

static void evict_small(struct sim *sim)
{
	uint32_t object = sim->queues[SMALL].oldest;

	if (sim->objects[object].uses >= (ripens(sim) ? PROMOTE_USES_RIPE : PROMOTE_USES)) {
		sim->objects[object].uses = 0;
		sim->clock += sim->objects[object].size;
		sim_move(sim, MAIN, object);
		return;
	}
	sim_move(sim, GHOST, object);
	sim->objects[object].born = ghost_end(sim);
	ghost_trim(sim);
}

static void evict_main(struct sim *sim)
{
	uint32_t object = sim->queues[MAIN].oldest;

	if (sim->objects[object].uses == 0) {
		sim_take(sim, object);
		return;
	}
	sim->objects[object].uses--;
	sim->clock += sim->objects[object].size;
	sim_move(sim, MAIN, object);
}

static void make_room(struct sim *sim, uint64_t bytes)
{
	while (sim->queues[SMALL].bytes + sim->queues[MAIN].bytes + bytes > sim->capacity) {
		if (sim->queues[SMALL].count && sim->queues[MAIN].bytes <= main_bytes(sim))
			evict_small(sim);
		else
			evict_main(sim);
	}
}

static void s3fifo_set(struct sim *sim, uint32_t object, uint32_t size)
{
	struct sim_object *one = &sim->objects[object];

	if (size > sim->capacity) {
		sim_take(sim, object);
		return;
	}
	if (one->queue == SMALL || one->queue == MAIN) {
		sim_resize(sim, object, size);
		make_room(sim, 0);
		if (one->queue == SMALL || one->queue == MAIN)
			return;
	}
	bool ghost = ghost_found(sim, one);
	sim_take(sim, object);
	if (!ghost && !ripens(sim) && size >= sim->capacity - main_bytes(sim))
		return;
	make_room(sim, size);
	sim->sets++;
	sim->set_bytes += size;
	one->size = size;
	one->uses = 0;
	one->born = sim->clock;
	sim->clock += size;
	sim_push(sim, ghost ? MAIN : SMALL, object);
}

const struct sim_policy sim_s3fifo = { "S3-FIFO", s3fifo_get, s3fifo_set, sim_take };
const struct sim_policy sim_larder = { "larder's, by object", s3fifo_get, s3fifo_set, sim_take };
