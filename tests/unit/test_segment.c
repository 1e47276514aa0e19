/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments: rooms do not overlap, a place is used again only in the life it is remembered of, ages and expiries tell. */
#include "kit.h"

TestSuite(segment, .init = kit_open, .fini = kit_close);

static bool append(struct actor *a, uint32_t units, struct room *room)
{
	return room_append(a, units, POOL_SMALL, 0, NEED_NORMAL, room);
}

Test(segment, classes_of_time_to_live_go_up_and_stay_within_the_cache)
{
	const uint64_t ttls[] = { 0, 1, 10000, 10001, 120000, 120001, 1800000, 1800001, 21600000, 21600001, UINT64_C(1) << 38 };
	const unsigned wanted[] = { 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5 };
	cr_assert_eq(geo_ttl_classes(&cache->region.geo), 6);
	cr_assert_eq(geo_limited_class(&cache->region.geo), 6); /* of namespaces with a quota: no time to live leads there */
	for (unsigned i = 0; i < sizeof ttls / sizeof *ttls; i++)
		cr_assert_eq(class_of_ttl(&cache->region, ttls[i]), wanted[i], "ttl %lu", (unsigned long)ttls[i]);
	struct region few = { .geo = { .classes = 2 } };
	for (unsigned i = 0; i < sizeof ttls / sizeof *ttls; i++)
		cr_assert_eq(class_of_ttl(&few, ttls[i]), wanted[i] == 0 ? 0 : 1);
}

Test(segment, rooms_follow_each_other_and_do_not_overlap)
{
	struct actor *a = kit_actor();
	struct room room, last = { 0 };
	uint64_t units = geo_units(&cache->region.geo);
	for (unsigned i = 0; i < 300; i++) {
		cr_assert(append(a, 7, &room));
		cr_assert_leq((room.place.place & (units - 1)) + 7, units);
		cr_assert(i == 0 || room.segment != last.segment || room.place.place == last.place.place + 7);
		last = room;
		room_abandon(a, &room);
	}
	kit_release(a);
}

Test(segment, a_full_segment_is_sealed_and_another_is_taken)
{
	struct actor *a = kit_actor();
	struct room first, second;
	uint32_t most = (uint32_t)geo_units(&cache->region.geo);
	cr_assert(append(a, most, &first));
	cr_assert_eq(segword_state(kit_segword(first.segment)), SEGMENT_ACTIVE);
	cr_assert(append(a, most, &second));
	cr_assert_neq(first.segment, second.segment);
	cr_assert_eq(segword_state(kit_segword(first.segment)), SEGMENT_SEALED);
	cr_assert_eq(segment_age(&cache->region, first.segment) > segment_age(&cache->region, second.segment), 1);
	kit_release(a);
}

Test(segment, pools_and_classes_do_not_share_a_segment)
{
	struct actor *a = kit_actor();
	struct room room;
	uint32_t seen[12], n = 0;
	for (unsigned pool = 0; pool < POOLS; pool++)
		for (unsigned class = 0; class < 6; class++) {
			cr_assert(room_append(a, 4, pool, class, NEED_NORMAL, &room));
			uint64_t w = kit_segword(room.segment);
			cr_assert(segword_pool(w) == pool && segword_class(w) == class && segword_state(w) == SEGMENT_ACTIVE);
			for (unsigned i = 0; i < n; i++)
				cr_assert_neq(seen[i], room.segment);
			seen[n++] = room.segment;
		}
	kit_release(a);
}

Test(segment, the_last_free_segments_are_for_survivors)
{
	struct actor *a = kit_actor();
	struct room room;
	uint32_t most = (uint32_t)geo_units(&cache->region.geo), got = 0;
	while (append(a, most, &room))
		got++;
	cr_assert_eq(got, cache->region.geo.segments - SURVIVORS_RESERVE);
	cr_assert_eq(segments_free(a), SURVIVORS_RESERVE);
	cr_assert_eq(load_hint(&region_super(&cache->region)->pressure), 1);
	for (unsigned i = 0; i < SURVIVORS_RESERVE; i++)
		cr_assert(room_append(a, most, POOL_MAIN, 0, NEED_SURVIVOR, &room));
	cr_assert_not(room_append(a, most, POOL_MAIN, 0, NEED_SURVIVOR, &room));
	cr_assert_eq(load_hint(&a->self->hazard[HAZARD_SEGMENT]), 0, "a failed append names nothing");
	kit_release(a);
}

Test(segment, the_latest_expiry_of_a_segment_is_kept_and_never_goes_back)
{
	struct actor *a = kit_actor();
	struct room room;
	cr_assert(append(a, 4, &room));
	uint64_t inc = segword_inc(kit_segword(room.segment));
	cr_assert_eq(segment_expiry(&cache->region, room.segment, inc), TIME_MASK, "nothing is known yet");
	const uint64_t noted[] = { 100, 50, 200, 150 }, wanted[] = { 100, 100, 200, 200 };
	for (unsigned i = 0; i < 4; i++) {
		cr_assert(append(a, 4, &room));
		room_seal_entry(a, &room, head_make(0, ENTRY_ABORTED, 0, 1, 1), noted[i]);
		cr_assert_eq(segment_expiry(&cache->region, room.segment, inc), wanted[i]);
	}
	cr_assert_eq(segment_expiry(&cache->region, room.segment, inc + 1), TIME_MASK, "another life knows nothing of it");
	room_seal_entry(a, &room, head_make(0, ENTRY_ABORTED, 0, 1, 1), 0);
	cr_assert_eq(segment_expiry(&cache->region, room.segment, inc), TIME_MASK, "one that never expires");
	kit_release(a);
}

Test(segment, a_place_is_used_again_while_its_segment_lives_and_not_in_another_life)
{
	struct actor *a = kit_actor();
	struct room room, again;
	cr_assert(append(a, 4, &room));
	(void)room_open(&room);
	room_seal_entry(a, &room, head_make(0, ENTRY_ABORTED, 0, 1, 1), 0);
	room_abandon(a, &room);
	cr_assert_not(room_reuse(a, 5, POOL_SMALL, 0, &again), "another size");
	cr_assert_not(room_reuse(a, 4, POOL_MAIN, 0, &again), "another pool");
	cr_assert(room_reuse(a, 4, POOL_SMALL, 0, &again));
	cr_assert(again.reused && again.place.place == room.place.place);
	cr_assert_eq(room_open(&again) % 2, 0, "even when it is done");
	cr_assert_eq(head_reuse(load_hint(&again.shm->head)) % 2, 1, "odd while it is written");
	room_abandon(a, &again);
	/* The segment begins to be emptied: no more writing there. */
	struct word *word = region_segword(&cache->region, room.segment);
	uint64_t w = load_hint(word);
	store_release(word, segword_with_state(w, SEGMENT_DRAINING));
	cr_assert_not(room_reuse(a, 4, POOL_SMALL, 0, &again));
	retire_unused(a, &room.place);
	store_release(word, w + (UINT64_C(1) << SEGWORD_INC_SHIFT));
	cr_assert_not(room_reuse(a, 4, POOL_SMALL, 0, &again), "its next life");
	store_release(word, w);
	kit_release(a);
}

/* An entry of so many units that was in a slot and is in none. */
static struct room retired_entry(struct actor *a, uint32_t units)
{
	struct room room;
	cr_assert(append(a, units, &room));
	(void)room_open(&room);
	room_seal_entry(a, &room, head_make(0, ENTRY_ABORTED, 0, 1, units * UNIT_BYTES - 9), 0);
	room_abandon(a, &room);
	return room;
}

static bool fit(struct actor *a, uint32_t units, uint32_t age_max, struct room *room)
{
	return room_fit(a, units, POOL_SMALL, 0, age_max, room);
}

Test(segment, what_is_left_of_a_place_that_was_too_large_is_used_next)
{
	struct actor *a = kit_actor();
	struct room old = retired_entry(a, 40), room;
	uint64_t inc = segword_inc(kit_segword(old.segment));
	cr_assert_not(fit(a, 41, AGE_ANY, &room));
	cr_assert_not(room_fit(a, 10, POOL_MAIN, 0, AGE_ANY, &room), "another pool");
	cr_assert(fit(a, 10, AGE_ANY, &room));
	cr_assert(room.place.place == old.place.place && room.reused && room.place.units == 10);
	cr_assert_eq(head_reuse(load_hint(&room.shm->head)) % 2, 1, "whoever reads the old entry is told before its end is used");
	cr_assert(fit(a, 12, AGE_ANY, &room));
	cr_assert(room.place.place == old.place.place + 10 && !room.reused && room.place.units == 12);
	uint64_t line = region_unit_of(&cache->region, room.place.place) / LINE_UNITS;
	struct word *starts = &region_starts(&cache->region, room.segment)[line / STARTS_PER_WORD];
	uint64_t bit = UINT64_C(1) << line % STARTS_PER_WORD;
	cr_assert_eq(load_hint(starts) & bit, 0, "nothing has begun in this line");
	(void)room_open(&room);
	room_seal_entry(a, &room, head_make(0, ENTRY_ABORTED, 0, 1, 80), 0);
	cr_assert(load_hint(starts) & bit && load_hint(starts) >> STARTS_TAG_SHIFT == (inc & 0xffff));
	room_leave(a);
	cr_assert_not(fit(a, 19, AGE_ANY, &room));
	cr_assert(fit(a, 18, AGE_ANY, &room));
	cr_assert_eq(room.place.place, old.place.place + 22);
	cr_assert_not(fit(a, 1, AGE_ANY, &room), "all of it is in use");
	kit_release(a);
}

Test(segment, a_rest_that_is_too_small_to_keep_is_not_kept)
{
	struct actor *a = kit_actor();
	struct room room;
	(void)retired_entry(a, 40 + REST_UNITS_MIN - 1);
	cr_assert(fit(a, 40, AGE_ANY, &room));
	cr_assert_eq(room.place.units, 40, "it counts as what is in it");
	cr_assert_not(fit(a, 1, AGE_ANY, &room));
	kit_release(a);
}

Test(segment, the_end_of_a_segment_takes_what_is_small_while_it_is_young)
{
	struct actor *a = kit_actor();
	struct room first, second, room;
	uint32_t units = (uint32_t)geo_units(&cache->region.geo);
	cr_assert(append(a, units - 20, &first));
	cr_assert_not(fit(a, 1, AGE_ANY, &room), "its cell has it still");
	cr_assert(append(a, 21, &second));
	cr_assert_neq(second.segment, first.segment);
	cr_assert_eq(segword_state(kit_segword(first.segment)), SEGMENT_SEALED);
	for (unsigned i = 0; i < 5; i++)
		segment_stamp_age(a, second.segment, second.place.inc);
	cr_assert_not(fit(a, 9, 4, &room), "five others were sealed since");
	cr_assert(fit(a, 9, 6, &room));
	cr_assert(room.segment == first.segment && !room.reused);
	cr_assert_eq(region_unit_of(&cache->region, room.place.place), units - 20);
	cr_assert(fit(a, 11, AGE_ANY, &room));
	cr_assert_eq(region_unit_of(&cache->region, room.place.place), units - 11);
	kit_release(a);
}

Test(segment, the_reuse_count_of_a_place_wraps_to_zero_and_stays_even)
{
	ok(put_text("k", "v"));
	struct shm_entry *e = kit_entry("k");
	struct room room = { .shm = e, .reused = true };
	store_release(&e->head, (load_hint(&e->head) & ((UINT64_C(1) << HEAD_REUSE_SHIFT) - 1)) | UINT64_C(0xfffe) << HEAD_REUSE_SHIFT);
	cr_assert_eq(room_open(&room), 0);
	cr_assert_eq(head_reuse(load_hint(&e->head)), 0xffff);
	kit_damaged = true;
}

Test(segment, a_cell_that_names_nonsense_is_replaced)
{
	struct actor *a = kit_actor();
	struct room room;
	struct word *cell = &region_super(&cache->region)->cell[0];
	const uint64_t nonsense[] = { UINT64_MAX, life_word(1, 5000), life_word(99, 1), life_word(0, 1) };
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned c = 0; c < CELLS_MAX; c++)
			store_release(cell + c, nonsense[i]);
		cr_assert(append(a, 4, &room), "nonsense %u", i);
		room_abandon(a, &room);
	}
	kit_damaged = true;
	kit_release(a);
}

Test(segment, a_cursor_of_another_life_is_not_written_at)
{
	struct actor *a = kit_actor();
	struct room room;
	cr_assert(append(a, 4, &room));
	uint32_t before = room.segment;
	store_release(&region_segment(&cache->region, before)->cursor, life_word(77, 0));
	cr_assert(append(a, 4, &room));
	cr_assert_neq(room.segment, before);
	store_release(&region_segment(&cache->region, room.segment)->cursor, life_word(1, (1u << LIFE_VALUE_BITS) - 1));
	before = room.segment;
	cr_assert(append(a, 4, &room));
	cr_assert_neq(room.segment, before);
	kit_damaged = true;
	kit_release(a);
}

Test(segment, the_census_counts_every_segment_once)
{
	struct segment_census c;
	uint32_t n = cache->region.geo.segments;
	segment_census(&cache->region, &c);
	cr_assert(c.free == n && c.small == 0 && c.main == 0 && c.recycling == 0);
	struct actor *a = kit_actor();
	struct room room;
	cr_assert(append(a, 4, &room));
	cr_assert(room_append(a, 4, POOL_MAIN, 0, NEED_NORMAL, &room));
	segment_census(&cache->region, &c);
	cr_assert(c.free == n - 2 && c.small == 1 && c.main == 1 && c.recycling == 0);
	struct word *word = region_segword(&cache->region, room.segment);
	store_release(word, segword_with_state(load_hint(word), SEGMENT_WALKING));
	segment_census(&cache->region, &c);
	cr_assert(c.free == n - 2 && c.small == 1 && c.main == 0 && c.recycling == 1);
	kit_release(a);
}

Test(segment, a_segment_is_sealed_once)
{
	struct actor *a = kit_actor();
	struct room room;
	cr_assert(append(a, 4, &room));
	uint64_t w = kit_segword(room.segment);
	cr_assert(segment_seal(a, room.segment, w, true));
	cr_assert_not(segment_seal(a, room.segment, w, true));
	kit_release(a);
}
