/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scans of all hazards.  Within a participant, working hazards are read before pins: a reader stores the pin before it
 * clears the working hazard, so the other order could miss a hand-over (tests/model/pml, pinmove).
 */
#include "shm/hazard.h"

#include <stdlib.h>

/* HAZARD (acquire): pairs with hazard_name(); RETIRE (acquire): pairs with hazard_clear(). */
static inline uint64_t named(const struct word *hazard) { return load_seq_cst(hazard); }

static bool names_segment(const struct region *r, const struct word *words, uint32_t n, uint32_t segment)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t name = named(&words[i]);
		if (name != 0 && region_segment_of(r, name - 1) == segment)
			return true;
	}
	return false;
}

static bool participant_in_segment(const struct region *r, const struct shm_participant *p, uint32_t segment)
{
	return names_segment(r, p->hazard, HAZARD_SEGMENT, segment) || named(&p->hazard[HAZARD_SEGMENT]) == segment + UINT64_C(1)
			|| names_segment(r, p->batch, BATCH_HAZARDS, segment) || names_segment(r, p->pin, PIN_HAZARDS, segment);
}

/* A blocker counts while it lives; one that does not is cleaned on the spot. */
static bool stands(struct actor *a, uint32_t slot, bool ask)
{
	if (slot == a->slot || !ask)
		return true;
	if (participant_alive(a->region, slot))
		return true;
	if (participant_bury(a->region, slot))
		count(a, recoveries, 1);
	return false;
}

bool hazard_in_segment(struct actor *a, uint32_t segment, bool ask, uint32_t *blocker)
{
	uint32_t used = region_participants_used(a->region);
	for (uint32_t i = 0; i < used; i++)
		if (unlikely(participant_in_segment(a->region, region_participant(a->region, i), segment)) && stands(a, i, ask)) {
			*blocker = i;
			return true;
		}
	return false;
}

bool hazard_writer(struct actor *a, uint32_t segment, bool ask, uint32_t *blocker)
{
	uint32_t used = region_participants_used(a->region);
	for (uint32_t i = 0; i < used; i++)
		if (named(&region_participant(a->region, i)->hazard[HAZARD_SEGMENT]) == segment + UINT64_C(1) && stands(a, i, ask)) {
			*blocker = i;
			return true;
		}
	return false;
}

static uint32_t collect(const struct word *words, uint32_t n, uint64_t *out, uint32_t count_so_far, uint32_t max)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t name = named(&words[i]);
		if (name == 0)
			continue;
		if (count_so_far < max)
			out[count_so_far] = name - 1;
		count_so_far++;
	}
	return count_so_far;
}

static int by_value(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
	return a < b ? -1 : a > b;
}

uint32_t hazard_collect(struct actor *a, uint64_t *out, uint32_t max)
{
	uint32_t used = region_participants_used(a->region), n = 0;
	for (uint32_t i = 0; i < used; i++) {
		const struct shm_participant *p = region_participant(a->region, i);
		n = collect(p->hazard, HAZARD_SEGMENT, out, n, max);
		n = collect(p->batch, BATCH_HAZARDS, out, n, max);
		n = collect(p->pin, PIN_HAZARDS, out, n, max);
	}
	if (n <= max)
		qsort(out, n, sizeof *out, by_value);
	return n;
}
