/* SPDX-License-Identifier: BSD-2-Clause */
/* Simulating caches of other sizes, see mrc.h.  The policy is that of the benchmarks (bench/simulate.h). */
#include "mrc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simulate.h"

#define OBJECTS_MAX (1u << 26)
#define SIZE_MAX_BYTES (UINT64_C(1) << 30) /* of an object, as the simulation takes it */

const double mrc_scale[MRC_SIZES] = { 0.125, 0.1768, 0.25, 0.3536, 0.5, 0.7071, 1, 1.4142, 2, 2.8284, 4 };

struct tally {
	uint64_t gets, hits, sim_hits[MRC_SIZES];
};

struct mrc {
	struct sim sims[MRC_SIZES];
	uint32_t room; /* of each array of objects */
	/* Keys to dense numbers: open addressing, number + 1. */
	uint64_t *keys;
	uint32_t *numbers;
	uint32_t slots, objects;
	struct tally all, of[MRC_NAMESPACES];
};

struct mrc *mrc_new(uint64_t capacity_bytes, uint64_t one_in)
{
	struct mrc *mrc = calloc(1, sizeof *mrc);

	if (!mrc)
		return NULL;
	mrc->room = mrc->slots = 4096;
	mrc->keys = calloc(mrc->slots, sizeof *mrc->keys);
	mrc->numbers = calloc(mrc->slots, sizeof *mrc->numbers);
	bool good = mrc->keys && mrc->numbers;
	for (unsigned i = 0; i < MRC_SIZES; i++)
		good &= sim_new(&mrc->sims[i], &sim_larder, (uint64_t)((double)capacity_bytes * mrc_scale[i] / (double)one_in), mrc->room) == 0;
	if (good)
		return mrc;
	mrc_free(mrc);
	return NULL;
}

void mrc_free(struct mrc *mrc)
{
	for (unsigned i = 0; mrc && i < MRC_SIZES; i++)
		sim_free(&mrc->sims[i]);
	if (mrc) {
		free(mrc->keys);
		free(mrc->numbers);
	}
	free(mrc);
}

/* ---- Numbers of keys --------------------------------------------------------------------------------------------- */

static uint32_t slot_of(const struct mrc *mrc, uint64_t key)
{
	uint32_t at = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (mrc->slots - 1);

	while (mrc->numbers[at] && mrc->keys[at] != key)
		at = (at + 1) & (mrc->slots - 1);
	return at;
}

static bool grow_keys(struct mrc *mrc)
{
	struct mrc old = { .keys = mrc->keys, .numbers = mrc->numbers, .slots = mrc->slots };
	uint64_t *keys = calloc(2 * (size_t)old.slots, sizeof *keys);
	uint32_t *numbers = calloc(2 * (size_t)old.slots, sizeof *numbers);

	if (!keys || !numbers) {
		free(keys);
		free(numbers);
		return false;
	}
	mrc->keys = keys;
	mrc->numbers = numbers;
	mrc->slots = 2 * old.slots;
	for (uint32_t i = 0; i < old.slots; i++) {
		uint32_t at = slot_of(mrc, old.keys[i]);
		if (old.numbers[i]) {
			mrc->keys[at] = old.keys[i];
			mrc->numbers[at] = old.numbers[i];
		}
	}
	free(old.keys);
	free(old.numbers);
	return true;
}

static bool grow_objects(struct mrc *mrc)
{
	for (unsigned i = 0; i < MRC_SIZES; i++) {
		struct sim_object *more = realloc(mrc->sims[i].objects, 2 * (size_t)mrc->room * sizeof *more);
		if (!more)
			return false;
		memset(more + mrc->room, 0, mrc->room * sizeof *more);
		mrc->sims[i].objects = more;
	}
	mrc->room *= 2;
	return true;
}

static bool number_of(struct mrc *mrc, uint64_t key, uint32_t *number, bool *first)
{
	uint32_t at = slot_of(mrc, key);

	*first = !mrc->numbers[at];
	if (!mrc->numbers[at]) {
		if (mrc->objects == OBJECTS_MAX || (mrc->objects == mrc->room && !grow_objects(mrc)))
			return false;
		if (mrc->objects > mrc->slots / 2 && !grow_keys(mrc))
			return false;
		at = slot_of(mrc, key);
		mrc->keys[at] = key;
		mrc->numbers[at] = ++mrc->objects;
	}
	*number = mrc->numbers[at] - 1;
	return true;
}

/* ---- Accesses ---------------------------------------------------------------------------------------------------- */

static bool holds(const struct sim *sim, uint32_t object)
{
	uint8_t queue = sim->objects[object].queue;

	return queue == 1 || queue == 2; /* small, main; not the ghosts */
}

/* first: nothing was known of the key.  If it hit, it was in the cache before the trace began, and is in every larger one. */
static void get(struct mrc *mrc, const struct larder_access *access, uint32_t object, bool first)
{
	struct tally *ns = &mrc->of[access->ns % MRC_NAMESPACES];
	bool hit = access->kind == LARDER_ACCESS_HIT;
	bool gone = !hit && holds(&mrc->sims[MRC_HALF], object);

	ns->gets++, mrc->all.gets++;
	ns->hits += hit, mrc->all.hits += hit;
	for (unsigned i = 0; i < MRC_SIZES; i++) {
		struct sim *sim = &mrc->sims[i];
		if (gone && holds(sim, object))
			sim->policy->remove(sim, object);
		bool in_truth = first && hit && i >= MRC_PRESENT, found = sim->policy->get(sim, object) || in_truth;
		ns->sim_hits[i] += found, mrc->all.sim_hits[i] += found;
		if (hit && (!found || in_truth))
			sim->policy->set(sim, object, (uint32_t)(access->bytes < SIZE_MAX_BYTES ? access->bytes : SIZE_MAX_BYTES));
	}
}

bool mrc_feed(struct mrc *mrc, const struct larder_access *accesses, size_t count)
{
	for (size_t n = 0; n < count; n++) {
		const struct larder_access *access = &accesses[n];
		uint32_t object;
		bool first;

		if (!number_of(mrc, access->key, &object, &first))
			return false;
		if (access->kind == LARDER_ACCESS_HIT || access->kind == LARDER_ACCESS_MISS) {
			get(mrc, access, object, first);
			continue;
		}
		for (unsigned i = 0; i < MRC_SIZES; i++) {
			struct sim *sim = &mrc->sims[i];
			if (access->kind == LARDER_ACCESS_SET)
				sim->policy->set(sim, object, (uint32_t)(access->bytes < SIZE_MAX_BYTES ? access->bytes : SIZE_MAX_BYTES));
			else
				sim->policy->remove(sim, object);
		}
	}
	return true;
}

void mrc_mark(struct mrc *mrc)
{
	mrc->all = (struct tally){ 0 };
	memset(mrc->of, 0, sizeof mrc->of);
}

/* ---- The curve --------------------------------------------------------------------------------------------------- */

/* So many gets that always hit make the rate at the present size what was measured.  (Below zero: gets that are in the
 * sample too often.) */
static double always_hit(const struct tally *t, double measured)
{
	double gets = (double)t->gets, hits = (double)t->sim_hits[MRC_PRESENT], most = 1 - 1e-6;

	measured = measured < most ? measured : most;
	double more = (measured * gets - hits) / (1 - measured);
	double least = -(double)t->sim_hits[0]; /* no size can have fewer than none */
	return more > least ? more : least;
}

static void read_tally(const struct tally *t, double measured, struct mrc_curve *curve)
{
	double more = always_hit(t, measured), last = 0;

	curve->gets = t->gets;
	curve->hits = t->hits;
	for (unsigned i = 0; i < MRC_SIZES; i++) {
		double gets = (double)t->gets + more, rate = gets > 0 ? ((double)t->sim_hits[i] + more) / gets : 0;
		rate = fmin(fmax(rate, last), 1); /* larger is never worse, but for the noise of the sample */
		curve->hit_rate[i] = last = rate;
	}
}

void mrc_read(const struct mrc *mrc, double measured, struct mrc_curve *curve)
{
	double sampled = mrc->all.gets ? (double)mrc->all.hits / (double)mrc->all.gets : 0;

	*curve = (struct mrc_curve){ .keys = mrc->objects };
	read_tally(&mrc->all, measured >= 0 ? measured : sampled, curve);
}

bool mrc_read_namespace(const struct mrc *mrc, uint32_t ns, struct mrc_curve *curve)
{
	const struct tally *t = &mrc->of[ns % MRC_NAMESPACES];

	*curve = (struct mrc_curve){ .keys = 0 };
	if (t->gets == 0)
		return false;
	read_tally(t, (double)t->hits / (double)t->gets, curve);
	return true;
}

double mrc_scale_for(const struct mrc_curve *curve, double hit_rate)
{
	for (unsigned i = 0; i < MRC_SIZES; i++) {
		if (curve->hit_rate[i] < hit_rate)
			continue;
		if (i == 0)
			return mrc_scale[0];
		double part = (hit_rate - curve->hit_rate[i - 1]) / (curve->hit_rate[i] - curve->hit_rate[i - 1]);
		return mrc_scale[i - 1] * pow(mrc_scale[i] / mrc_scale[i - 1], part);
	}
	return 0;
}
