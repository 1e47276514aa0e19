/* SPDX-License-Identifier: BSD-2-Clause */
/* Private lists of places: retired, then ready.  See retire.h; whether a segment may still be written to is place_hold()'s to say, what is
 * looked at here only spares it places that are lost. */
#include "shm/place.h"

#include <string.h>

#define NAMED_MAX 512u

/* Takes the node that *link leads to out of its chain. */
static void ready_unlink(struct retire *l, uint16_t *link)
{
	uint16_t number = *link;
	struct retired *node = &l->ready[number - 1];
	*link = node->next;
	node->next = (uint16_t)l->free_node;
	l->free_node = number;
}

/* Its segment's life is over, or will be once it is walked. */
static bool ready_stale(const struct region *r, const struct retired *place)
{
	uint64_t w = load_acquire(region_segword(r, region_segment_of(r, place->place)));
	return segword_inc(w) != place->inc || !segword_stays(w);
}

/* The lists are full: what is stale goes, and what nothing has fitted into since the last time they were. */
static cold void ready_sweep(struct actor *a)
{
	struct retire *l = &a->retire;
	for (unsigned chain = 0; chain < READY_CHAINS; chain++)
		for (uint16_t *link = &l->chain[chain]; *link != 0;) {
			uint32_t node = *link - 1u;
			uint64_t bit = UINT64_C(1) << node % 64;
			if (l->swept[node / 64] & bit || ready_stale(a->region, &l->ready[node])) {
				ready_unlink(l, link);
				continue;
			}
			l->swept[node / 64] |= bit;
			link = &l->ready[node].next;
		}
}

static void ready_push(struct actor *a, const struct retired *place)
{
	struct retire *l = &a->retire;
	uint32_t node;
	if (unlikely(l->free_node == 0 && l->ready_count == READY_MAX))
		ready_sweep(a);
	if (l->free_node != 0) {
		node = l->free_node - 1;
		l->free_node = l->ready[node].next;
	} else if (l->ready_count < READY_MAX) {
		node = l->ready_count++;
	} else {
		return; /* forgotten: it comes back with its segment */
	}
	l->swept[node / 64] &= ~(UINT64_C(1) << node % 64);
	uint32_t chain = retire_chain(place->units, place->kind);
	l->filled[chain / 64] |= UINT64_C(1) << chain % 64;
	l->ready[node] = *place;
	l->ready[node].next = l->chain[chain];
	l->chain[chain] = (uint16_t)(node + 1);
}

static bool is_named(const uint64_t *names, uint32_t n, uint64_t place)
{
	uint32_t low = 0, high = n;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (names[middle] < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n && names[low] == place;
}

/* The batch is full: what nobody names is ready, what is named waits for the next scan, and when the lists overflow it
 * is forgotten.  Its own name counts: a place that a pin of this very thread holds must not be reused either. */
void retire_scan(struct actor *a)
{
	struct retire *l = &a->retire;
	if (unlikely(l->batch_units == 0)) {
		uint64_t part = a->region->places / RETIRED_PART;
		l->batch_units = part < RETIRED_UNITS ? (uint32_t)part : RETIRED_UNITS;
		if (l->retired_units <= l->batch_units)
			return;
	}
	uint64_t names[NAMED_MAX];
	uint32_t named = hazard_collect(a, names, NAMED_MAX), kept = 0;
	for (uint32_t i = 0; i < l->retired_count; i++) {
		if (named > NAMED_MAX)
			continue; /* more pins than this scan can hold: forget the batch */
		if (!is_named(names, named, l->retired[i].place))
			ready_push(a, &l->retired[i]);
		else if (kept < RETIRED_BATCH / 2)
			l->retired[kept++] = l->retired[i];
	}
	l->retired_count = kept;
	l->retired_units = 0;
}

void retire_unused(struct actor *a, const struct retired *place) { ready_push(a, place); }

/* ---- Places that are larger than what they are wanted for ------------------------------------------------------------------ */

/* Of 32 chains, for what is not small up to sixteen times its size, eight places each are looked at. */
#define FIT_LOOKS 8u

static bool place_fits(const struct region *r, const struct retired *place, uint32_t units, uint16_t kind, uint32_t age_max)
{
	uint32_t segment = region_segment_of(r, place->place);
	return place->units >= units && place->kind == kind && segword_is_open(load_acquire(region_segword(r, segment)))
			&& segment_age(r, segment) <= age_max;
}

static bool chain_fit(struct actor *a, uint32_t chain, uint32_t units, uint16_t kind, uint32_t age_max, struct retired *place)
{
	struct retire *l = &a->retire;
	uint16_t *link = &l->chain[chain];
	if (*link == 0)
		l->filled[chain / 64] &= ~(UINT64_C(1) << chain % 64);
	for (unsigned looks = 0; *link != 0 && looks < FIT_LOOKS; looks++) {
		struct retired *node = &l->ready[*link - 1];
		if (ready_stale(a->region, node)) {
			ready_unlink(l, link);
		} else if (place_fits(a->region, node, units, kind, age_max)) {
			*place = *node;
			ready_unlink(l, link);
			return true;
		} else {
			link = &node->next;
		}
	}
	return false;
}

/* Bits of the 32 chains from this one on. */
static uint32_t chains_filled(const struct retire *l, uint32_t chain)
{
	uint64_t low = l->filled[chain / 64], high = l->filled[(chain / 64 + 1) % (READY_CHAINS / 64)];
	return (uint32_t)(low >> chain % 64 | high << 1 << (63 - chain % 64));
}

bool retire_fit(struct actor *a, uint32_t units, uint16_t kind, uint32_t age_max, struct retired *place)
{
	const struct retire *l = &a->retire;
	uint16_t fresh = (uint16_t)(kind | RETIRE_FRESH);
	uint32_t first = retire_chain(units, kind), first_fresh = retire_chain(units, fresh);
	uint32_t filled = chains_filled(l, first), filled_fresh = chains_filled(l, first_fresh);
	for (uint32_t either = filled | filled_fresh; either != 0; either &= either - 1) {
		uint32_t i = (uint32_t)__builtin_ctz(either);
		if ((filled >> i & 1 && chain_fit(a, (first + i) % READY_CHAINS, units, kind, age_max, place))
				|| (filled_fresh >> i & 1 && chain_fit(a, (first_fresh + i) % READY_CHAINS, units, fresh, age_max, place)))
			return true;
	}
	return false;
}
