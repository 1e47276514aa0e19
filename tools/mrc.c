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

#define PARTS 8u           /* of the keys, for the error */
#define SURE 64u            /* accesses of a thinner sample that are believed: one batch may be another process's old one */
#define FULL_PERCENT 95u
#define TURNOVERS_ENOUGH 2.0
#define MISSES_FEW 0.03    /* of gets: so many may be told wrong */
#define UNKNOWN_FEW 0.01

struct tally {
	uint64_t gets, hits, sim_hits[MRC_SIZES], unknown[MRC_SIZES];
};

struct object {
	uint64_t key;
	uint64_t expires_ms; /* 0: never */
};

struct mrc {
	struct sim sims[MRC_SIZES];
	struct object *objects;
	uint32_t room; /* of each array of objects */
	/* Keys to dense numbers: open addressing, number + 1. */
	uint32_t *numbers;
	uint32_t slots, count;
	uint64_t one_in, thinner, thinner_seen;
	double turnovers[MRC_SIZES]; /* of each size before the mark */
	bool whole;
	struct tally all, part[PARTS], of[MRC_NAMESPACES];
};

static bool new_sim(struct mrc *mrc, unsigned size, uint64_t bytes)
{
	return sim_new(&mrc->sims[size], &sim_larder, (uint64_t)((double)bytes / (double)mrc->one_in), mrc->room) == 0;
}

struct mrc *mrc_new(uint64_t capacity_bytes, uint64_t present_bytes, uint64_t one_in)
{
	struct mrc *mrc = calloc(1, sizeof *mrc);

	if (!mrc)
		return NULL;
	mrc->one_in = one_in;
	mrc->room = mrc->slots = 4096;
	mrc->objects = calloc(mrc->room, sizeof *mrc->objects);
	mrc->numbers = calloc(mrc->slots, sizeof *mrc->numbers);
	bool good = mrc->objects && mrc->numbers;
	for (unsigned i = 0; i < MRC_SIZES; i++)
		good &= new_sim(mrc, i, i == MRC_PRESENT ? present_bytes : (uint64_t)((double)capacity_bytes * mrc_scale[i]));
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
		free(mrc->objects);
		free(mrc->numbers);
	}
	free(mrc);
}

/* ---- Numbers of keys --------------------------------------------------------------------------------------------- */

static uint64_t mixed(uint64_t key) { return key * UINT64_C(0x9e3779b97f4a7c15); }

static uint32_t slot_of(const struct mrc *mrc, uint64_t key)
{
	uint32_t at = (uint32_t)(mixed(key) >> 32) & (mrc->slots - 1);

	while (mrc->numbers[at] && mrc->objects[mrc->numbers[at] - 1].key != key)
		at = (at + 1) & (mrc->slots - 1);
	return at;
}

static bool grow_numbers(struct mrc *mrc)
{
	uint32_t *numbers = calloc(2 * (size_t)mrc->slots, sizeof *numbers);

	if (!numbers)
		return false;
	free(mrc->numbers);
	mrc->numbers = numbers;
	mrc->slots *= 2;
	for (uint32_t i = 0; i < mrc->count; i++)
		mrc->numbers[slot_of(mrc, mrc->objects[i].key)] = i + 1;
	return true;
}

static bool grow_objects(struct mrc *mrc)
{
	struct object *objects = realloc(mrc->objects, 2 * (size_t)mrc->room * sizeof *objects);

	if (!objects)
		return false;
	mrc->objects = objects;
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
	if (*first) {
		if (mrc->count == OBJECTS_MAX || (mrc->count == mrc->room && !grow_objects(mrc)))
			return false;
		if (mrc->count > mrc->slots / 2 && !grow_numbers(mrc))
			return false;
		at = slot_of(mrc, key);
		mrc->objects[mrc->count] = (struct object){ .key = key };
		mrc->numbers[at] = ++mrc->count;
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

static bool is_full(const struct sim *sim)
{
	return (sim->queues[1].bytes + sim->queues[2].bytes) * 100 >= sim->capacity * FULL_PERCENT;
}

static void remove_all(struct mrc *mrc, uint32_t object)
{
	for (unsigned i = 0; i < MRC_SIZES; i++)
		mrc->sims[i].policy->remove(&mrc->sims[i], object);
}

static void set_in(struct sim *sim, const struct larder_access *access, uint32_t object)
{
	sim->policy->set(sim, object, (uint32_t)(access->bytes < SIZE_MAX_BYTES ? access->bytes : SIZE_MAX_BYTES));
}

static void set(struct mrc *mrc, const struct larder_access *access, uint32_t object)
{
	mrc->objects[object].expires_ms = access->ttl_ms ? access->at_ms + access->ttl_ms : 0;
	for (unsigned i = 0; i < MRC_SIZES; i++)
		set_in(&mrc->sims[i], access, object);
}

static void count_get(struct tally *t, bool hit, uint32_t found, uint32_t unknown)
{
	t->gets++;
	t->hits += hit;
	for (unsigned i = 0; i < MRC_SIZES; i++) {
		t->sim_hits[i] += found >> i & 1;
		t->unknown[i] += unknown >> i & 1;
	}
}

/* first: nothing was known of the key.  If it hit, it was in the cache before the trace began, and is in every larger one. */
static void get(struct mrc *mrc, const struct larder_access *access, uint32_t object, bool first)
{
	bool hit = access->kind == LARDER_ACCESS_HIT;
	uint64_t expires_ms = mrc->objects[object].expires_ms;
	uint32_t found = 0, unknown = 0;

	if (!hit && (holds(&mrc->sims[MRC_HALF], object) || (expires_ms && access->at_ms >= expires_ms)))
		remove_all(mrc, object);
	for (unsigned i = 0; i < MRC_SIZES; i++) {
		struct sim *sim = &mrc->sims[i];
		bool in_truth = first && hit && i >= MRC_PRESENT, in_sim = sim->policy->get(sim, object);
		found |= (uint32_t)(in_sim || in_truth) << i;
		unknown |= (uint32_t)(first && !hit && i > MRC_PRESENT && !is_full(sim)) << i;
		if (hit && !in_sim)
			set_in(sim, access, object);
	}
	count_get(&mrc->all, hit, found, unknown);
	count_get(&mrc->part[mixed(access->key) >> 61], hit, found, unknown);
	count_get(&mrc->of[access->ns % MRC_NAMESPACES], hit, found, unknown);
}

static void halve(struct tally *t)
{
	t->gets /= 2;
	t->hits /= 2;
	for (unsigned i = 0; i < MRC_SIZES; i++) {
		t->sim_hits[i] /= 2;
		t->unknown[i] /= 2;
	}
}

static void thin_sim(struct sim *sim)
{
	sim->capacity /= 2;
	sim->sets /= 2;
	sim->set_bytes /= 2;
	sim->ghosts /= 2;
}

/* Half of the keys leave, and what was counted of all counts for as much less. */
static void thin_out(struct mrc *mrc)
{
	mrc->one_in *= 2;
	for (unsigned i = 0; i < MRC_SIZES; i++)
		thin_sim(&mrc->sims[i]);
	for (uint32_t object = 0; object < mrc->count; object++)
		if (mrc->objects[object].key & (mrc->one_in - 1))
			remove_all(mrc, object);
	halve(&mrc->all);
	for (unsigned i = 0; i < PARTS; i++)
		halve(&mrc->part[i]);
	for (unsigned i = 0; i < MRC_NAMESPACES; i++)
		halve(&mrc->of[i]);
}

static void follow_thinning(struct mrc *mrc, const struct larder_access *access)
{
	if (access->one_in <= mrc->one_in)
		return;
	if (access->one_in != mrc->thinner)
		mrc->thinner_seen = 0;
	mrc->thinner = access->one_in;
	if (++mrc->thinner_seen < SURE)
		return;
	while (mrc->one_in < access->one_in)
		thin_out(mrc);
}

bool mrc_feed(struct mrc *mrc, const struct larder_access *accesses, size_t count)
{
	for (size_t n = 0; n < count; n++) {
		const struct larder_access *access = &accesses[n];
		uint32_t object;
		bool first;

		follow_thinning(mrc, access);
		if (access->key & (mrc->one_in - 1))
			continue;
		if (!number_of(mrc, access->key, &object, &first))
			return false;
		if (access->kind == LARDER_ACCESS_HIT || access->kind == LARDER_ACCESS_MISS || access->kind == LARDER_ACCESS_FILL)
			get(mrc, access, object, first);
		if (access->kind == LARDER_ACCESS_SET || access->kind == LARDER_ACCESS_FILL)
			set(mrc, access, object);
		else if (access->kind == LARDER_ACCESS_DELETE)
			remove_all(mrc, object);
	}
	return true;
}

void mrc_mark_creation(struct mrc *mrc) { mrc->whole = true; }

void mrc_mark(struct mrc *mrc)
{
	for (unsigned i = 0; i < MRC_SIZES; i++)
		mrc->turnovers[i] = (double)mrc->sims[i].set_bytes / fmax((double)mrc->sims[i].capacity, 1);
	mrc->all = (struct tally){ 0 };
	memset(mrc->part, 0, sizeof mrc->part);
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
		curve->unknown[i] = gets > 0 ? (double)t->unknown[i] / gets : 0;
	}
}

static unsigned known_sizes(const struct mrc *mrc, const struct mrc_curve *curve)
{
	double misses = 1 - curve->hit_rate[MRC_PRESENT];
	unsigned i = MRC_PRESENT + 1;

	if (mrc->whole)
		return MRC_SIZES;
	while (i < MRC_SIZES && misses * (1 - mrc->turnovers[i] / TURNOVERS_ENOUGH) < MISSES_FEW && curve->unknown[i] < UNKNOWN_FEW)
		i++;
	return i;
}

/* By what each eighth of the keys adds to the distance. */
static double error_of(const struct mrc *mrc, unsigned size, double gets)
{
	double sum = 0, squares = 0;

	for (unsigned i = 0; i < PARTS; i++) {
		const struct tally *t = &mrc->part[i];
		double part = (double)t->sim_hits[size] - (double)t->sim_hits[MRC_PRESENT];
		sum += part;
		squares += part * part;
	}
	double variance = (squares - sum * sum / PARTS) * PARTS / (PARTS - 1);
	return gets > 0 ? 2 * sqrt(fmax(variance, 0)) / gets : 0;
}

void mrc_read(const struct mrc *mrc, double measured, struct mrc_curve *curve)
{
	double sampled = mrc->all.gets ? (double)mrc->all.hits / (double)mrc->all.gets : 0;

	*curve = (struct mrc_curve){ .keys = mrc->count, .one_in = mrc->one_in };
	read_tally(&mrc->all, measured >= 0 ? measured : sampled, curve);
	for (unsigned i = 0; i < MRC_SIZES; i++)
		curve->error[i] = error_of(mrc, i, (double)mrc->all.gets);
	curve->known = known_sizes(mrc, curve);
}

/* Of the part of gets that hit, where that is known of the sample alone: of a ratio, by what each eighth of the keys is off it. */
static double level_error(const struct mrc *mrc, double gets)
{
	double rate = (double)mrc->all.hits / (double)mrc->all.gets, squares = 0;

	for (unsigned i = 0; i < PARTS; i++) {
		double off = (double)mrc->part[i].hits - rate * (double)mrc->part[i].gets;
		squares += off * off;
	}
	return 2 * sqrt(squares * PARTS / (PARTS - 1)) / gets;
}

bool mrc_read_namespace(const struct mrc *mrc, uint32_t ns, double measured, struct mrc_level own, struct mrc_curve *curve)
{
	const struct tally *t = &mrc->of[ns % MRC_NAMESPACES];

	*curve = (struct mrc_curve){ .one_in = mrc->one_in };
	if (t->gets == 0)
		return false;
	if (t->gets == mrc->all.gets && measured >= 0)
		own = (struct mrc_level){ measured, 0 };
	double gets = sqrt((double)mrc->all.gets * (double)t->gets); /* as of as many gets of all */
	if (own.rate < 0)
		own = (struct mrc_level){ (double)t->hits / (double)t->gets, mrc->one_in == 1 ? 0 : level_error(mrc, gets) };
	read_tally(t, own.rate, curve);
	for (unsigned i = 0; i < MRC_SIZES; i++)
		curve->error[i] = hypot(error_of(mrc, i, gets), own.error);
	curve->known = known_sizes(mrc, curve);
	return true;
}

double mrc_scale_for(const struct mrc_curve *curve, double hit_rate)
{
	for (unsigned i = 0; i < curve->known; i++) {
		if (curve->hit_rate[i] < hit_rate)
			continue;
		if (i == 0)
			return mrc_scale[0];
		double part = (hit_rate - curve->hit_rate[i - 1]) / (curve->hit_rate[i] - curve->hit_rate[i - 1]);
		return mrc_scale[i - 1] * pow(mrc_scale[i] / mrc_scale[i - 1], part);
	}
	return 0;
}
