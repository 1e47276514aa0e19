/* SPDX-License-Identifier: BSD-2-Clause */
/* Flights, see flight.h. */
#include "tier/flight.h"

#include <time.h>

#include "base/clock.h"

#define NAP_LEAST_US 20
#define NAP_MOST_US 1000
#define FLIGHTS_AT_ONCE 64u

/* This thread's word, with its registration; NULL: the cache is not to be used any more. */
static struct word *own_word(struct near *near, uint64_t *registration)
{
	struct actor *a;

	if (call_begin(near->cache, &a))
		return NULL;
	struct word *word = &a->self->flight;
	*registration = actor_worker(a)->registration;
	call_end(a);
	return word;
}

void flight_begin(struct near *near)
{
	uint64_t registration;
	struct word *word = own_word(near, &registration);

	/* FLIGHT (seq_cst): before the look near, and after whatever was put there before */
	if (word)
		store_seq_cst(word, registration << 32 | (load_hint(word) & 0xfffffffe) | 1);
}

void flight_end(struct near *near)
{
	uint64_t registration;
	struct word *word = own_word(near, &registration);
	uint64_t seen = word ? load_hint(word) : 0;

	if (seen & 1)
		store_release(word, (seen & ~UINT64_C(0xffffffff)) | (uint32_t)(seen + 1)); /* FLIGHT (release): its writes are far */
}

static bool owner_lives(struct near *near, uint32_t slot, uint64_t flight)
{
	struct larder_participant_info info;

	return larder_participant(near->cache, slot, &info) == LARDER_OK && info.alive && (uint32_t)info.registration == flight >> 32;
}

/* True: that flight is over. */
static bool await_one(struct near *near, uint32_t slot, uint64_t flight, int64_t deadline_ms)
{
	const struct word *word = &region_participant(&near->cache->region, slot)->flight;
	struct word *stuck = &near->stuck[slot % NEAR_STUCK];
	uint64_t name = flight ^ (uint64_t)slot << 54;
	int64_t nap_us = NAP_LEAST_US;

	while (load_acquire(word) == flight && owner_lives(near, slot, flight)) { /* FLIGHT (acquire) */
		bool patient = load_hint(stuck) != name;
		if (!patient || clock_precise_ms() >= deadline_ms) {
			store_hint(stuck, name);
			return false;
		}
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = nap_us * 1000 }, NULL);
		nap_us = nap_us < NAP_MOST_US ? nap_us * 2 : nap_us;
	}
	return true;
}

/* Flights in progress, as they were when they were looked at. */
struct flights {
	uint32_t count;
	uint32_t slot[FLIGHTS_AT_ONCE];
	uint64_t word[FLIGHTS_AT_ONCE];
};

/* Those of others in slots *from .. end, as many as there is room for. */
static void flights_look(const struct region *r, const struct word *own, uint32_t *from, uint32_t end, struct flights *seen)
{
	for (seen->count = 0; *from < end && seen->count < FLIGHTS_AT_ONCE; (*from)++) {
		const struct word *word = &region_participant(r, *from)->flight;
		uint64_t flight = load_seq_cst(word); /* FLIGHT (acquire) */
		if (!(flight & 1) || word == own)
			continue;
		seen->slot[seen->count] = *from;
		seen->word[seen->count++] = flight;
	}
}

bool flights_await(struct near *near, int64_t patience_ms)
{
	const struct region *r = &near->cache->region;
	uint32_t end = region_participants_used(r);
	uint64_t registration;
	const struct word *own = own_word(near, &registration);
	int64_t deadline_ms = 0;
	struct flights seen;
	bool over = true;

	for (uint32_t slot = 0; own && slot < end;) {
		flights_look(r, own, &slot, end, &seen);
		if (seen.count && !deadline_ms)
			deadline_ms = clock_precise_ms() + patience_ms;
		for (uint32_t i = 0; i < seen.count; i++)
			over &= await_one(near, seen.slot[i], seen.word[i], deadline_ms);
	}
	return over;
}
