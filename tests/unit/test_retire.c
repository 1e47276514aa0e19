/* SPDX-License-Identifier: BSD-2-Clause */
/* Retired places: none is handed out while anybody names it, each is handed out once, newest first, of the size asked for or larger. */
#include "kit.h"

TestSuite(retire, .init = kit_open, .fini = kit_close);

/* Places that no segment of this life has: nobody writes there. */
static struct retired place_of(uint64_t place, uint32_t units)
{
	return (struct retired){ .place = place, .inc = 1, .units = units, .kind = retire_kind(POOL_SMALL, 0) };
}

static unsigned retire_many(struct actor *a, uint64_t first, unsigned n, uint32_t units)
{
	for (unsigned i = 0; i < n; i++) {
		struct retired p = place_of(first + i, units);
		retire_place(a, &p);
	}
	return n;
}

static bool take(struct actor *a, uint32_t units, struct retired *p)
{
	return retire_take(a, units, retire_kind(POOL_SMALL, 0), &p->place, &p->inc);
}

/* As in a large cache, where a batch is full by number and not by bytes. */
static struct actor *patient_actor(void)
{
	struct actor *a = kit_actor();
	a->retire.batch_units = RETIRED_UNITS;
	return a;
}

Test(retire, a_batch_is_no_more_than_a_small_part_of_a_small_cache)
{
	struct actor *a = kit_actor();
	struct retired p;
	unsigned part = (unsigned)(cache->region.places / RETIRED_PART / 4);
	cr_assert_lt(part, RETIRED_BATCH);
	retire_many(a, 100, part, 4);
	cr_assert_not(take(a, 4, &p));
	retire_many(a, 5000, 1, 4);
	for (unsigned i = 0; i <= part; i++)
		cr_assert(take(a, 4, &p));
	kit_release(a);
}

Test(retire, nothing_is_ready_before_a_whole_batch_was_retired)
{
	struct actor *a = patient_actor();
	struct retired p;
	retire_many(a, 100, RETIRED_BATCH - 1, 4);
	cr_assert_not(take(a, 4, &p));
	retire_many(a, 5000, 1, 4);
	cr_assert(take(a, 4, &p));
	kit_release(a);
}

Test(retire, large_places_are_ready_sooner_than_a_batch)
{
	struct actor *a = kit_actor();
	struct retired p;
	retire_many(a, 100, 2, RETIRED_UNITS / 2 + 1);
	cr_assert(take(a, RETIRED_UNITS / 2 + 1, &p));
	kit_release(a);
}

Test(retire, each_place_is_handed_out_once)
{
	static bool taken[RETIRED_BATCH];
	struct actor *a = patient_actor();
	struct retired p;
	unsigned n = 0;
	retire_many(a, 0, RETIRED_BATCH, 4);
	for (; take(a, 4, &p); n++) {
		cr_assert(p.place < RETIRED_BATCH && !taken[p.place]);
		taken[p.place] = true;
	}
	cr_assert_eq(n, RETIRED_BATCH);
	kit_release(a);
}

Test(retire, only_the_size_and_kind_asked_for_is_handed_out)
{
	struct actor *a = kit_actor();
	struct retired p, other = place_of(9000, 4);
	other.kind = retire_kind(POOL_MAIN, 2);
	retire_unused(a, &other);
	cr_assert_not(take(a, 4, &p));
	cr_assert_not(retire_take(a, 5, other.kind, &p.place, &p.inc));
	cr_assert(retire_take(a, 4, other.kind, &p.place, &p.inc));
	cr_assert_eq(p.place, 9000);
	kit_release(a);
}

Test(retire, the_newest_place_comes_first)
{
	struct actor *a = kit_actor();
	struct retired p;
	for (uint64_t i = 1; i <= 3; i++) {
		struct retired unused = place_of(i, 4);
		retire_unused(a, &unused);
	}
	for (uint64_t i = 3; i >= 1; i--) {
		cr_assert(take(a, 4, &p));
		cr_assert_eq(p.place, i);
	}
	kit_release(a);
}

Test(retire, a_place_that_is_named_waits_until_it_is_not)
{
	struct larder *second = kit_another(0);
	struct actor *a = patient_actor(), *b = kit_actor_of(second);
	struct retired p;
	cr_assert_neq(a->slot, b->slot);
	hazard_name(b, HAZARD_READ, 10);
	store_release(&b->self->pin[3], 20 + 1);
	store_release(&a->self->pin[0], 30 + 1); /* its own pin counts as well */
	retire_many(a, 0, RETIRED_BATCH, 4);
	while (take(a, 4, &p))
		cr_assert(p.place != 10 && p.place != 20 && p.place != 30, "place %lu is in use", (unsigned long)p.place);
	hazard_clear(b, HAZARD_READ);
	store_release(&b->self->pin[3], 0);
	store_release(&a->self->pin[0], 0);
	retire_many(a, 5000, RETIRED_BATCH, 4);
	unsigned back = 0;
	while (take(a, 4, &p))
		back += p.place == 10 || p.place == 20 || p.place == 30;
	cr_assert_eq(back, 3);
	kit_release(a);
	kit_release(b);
	larder_close(&second);
}

/* So that place_of() is of a life that goes on. */
static void open_segments(uint64_t places)
{
	kit_damaged = true;
	for (uint32_t segment = 0; segment <= region_segment_of(&cache->region, places); segment++)
		store_release(region_segword(&cache->region, segment), segword_with_state(segword_active(1, 0, POOL_SMALL, 0), SEGMENT_SEALED));
}

Test(retire, full_lists_forget_what_nobody_wanted_since_they_were_full_last)
{
	static unsigned seen[8 * RETIRED_BATCH];
	struct actor *a = patient_actor();
	struct retired p;
	unsigned n = 0;
	open_segments(8 * RETIRED_BATCH);
	retire_many(a, 0, 8 * RETIRED_BATCH, 4);
	for (; take(a, 4, &p); n++) {
		cr_assert_eq(seen[p.place]++, 0);
		cr_assert_gt(p.place, 8 * RETIRED_BATCH - READY_MAX - 8, "the newest are there");
	}
	cr_assert_gt(n, READY_MAX - 8);
	retire_many(a, 0, RETIRED_BATCH, 4); /* its nodes are used again */
	for (n = 0; take(a, 4, &p); n++)
		;
	cr_assert_eq(n, RETIRED_BATCH);
	kit_release(a);
}

Test(retire, full_lists_forget_what_segments_have_taken_back)
{
	struct actor *a = patient_actor();
	struct retired p;
	retire_many(a, 0, READY_MAX, 4); /* of a life that no segment has */
	open_segments(8 * RETIRED_BATCH);
	for (uint32_t segment = 0; segment <= region_segment_of(&cache->region, READY_MAX); segment++)
		store_release(region_segword(&cache->region, segment), segword_free(2));
	retire_many(a, 2 * READY_MAX, RETIRED_BATCH, 4);
	for (unsigned i = 0; i < RETIRED_BATCH; i++)
		cr_assert(take(a, 4, &p) && p.place >= 2 * READY_MAX, "place %u", i);
	kit_release(a);
}

Test(retire, with_more_names_than_a_scan_can_hold_the_batch_is_forgotten)
{
	struct actor *a = patient_actor();
	struct retired p;
	for (uint32_t slot = 0; slot < cache->region.geo.participants; slot++)
		for (unsigned i = 0; i < HAZARD_SEGMENT + BATCH_HAZARDS + PIN_HAZARDS; i++) {
			struct shm_participant *other = region_participant(&cache->region, slot);
			if (other == a->self)
				continue;
			store_release(i < HAZARD_SEGMENT ? &other->hazard[i] : i < HAZARD_SEGMENT + BATCH_HAZARDS ? &other->batch[i - HAZARD_SEGMENT]
				: &other->pin[i - HAZARD_SEGMENT - BATCH_HAZARDS], 100000 + slot * 100 + i);
		}
	store_release(&region_super(&cache->region)->participants_used, cache->region.geo.participants);
	retire_many(a, 0, RETIRED_BATCH, 4);
	cr_assert_not(take(a, 4, &p));
	kit_release(a);
}
