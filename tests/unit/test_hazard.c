/* SPDX-License-Identifier: BSD-2-Clause */
/* Hazards: what is named is found, by whichever word; the dead are cleaned up, the living are not. */
#include "kit.h"

#include <sys/mman.h>
#include <sys/wait.h>

TestSuite(hazard, .init = kit_open, .fini = kit_close);

static uint64_t unit_of(uint32_t segment, uint64_t unit) { return geo_place(&cache->region.geo, segment, unit); }

static bool in_segment(struct actor *a, uint32_t segment)
{
	uint32_t blocker;
	return hazard_in_segment(a, segment, true, &blocker);
}

Test(hazard, every_working_hazard_is_found_in_its_segment_and_in_no_other)
{
	struct actor *a = kit_actor();
	for (unsigned which = 0; which < HAZARDS; which++) {
		cr_assert_not(in_segment(a, 3), "hazard %u", which);
		hazard_name(a, (enum hazard)which, which == HAZARD_SEGMENT ? 3 : unit_of(3, 17));
		cr_assert(in_segment(a, 3), "hazard %u", which);
		cr_assert_not(in_segment(a, 2), "hazard %u", which);
		cr_assert_not(in_segment(a, 4), "hazard %u", which);
		hazard_clear(a, (enum hazard)which);
	}
	cr_assert_not(in_segment(a, 3));
	kit_release(a);
}

Test(hazard, batch_names_and_pins_hold_a_segment_too)
{
	struct actor *a = kit_actor();
	struct word *words[] = { &a->self->batch[0], &a->self->batch[BATCH_HAZARDS - 1], &a->self->pin[0], &a->self->pin[PIN_HAZARDS - 1] };
	for (unsigned i = 0; i < 4; i++) {
		store_release(words[i], unit_of(5, 0) + 1);
		cr_assert(in_segment(a, 5), "word %u", i);
		store_release(words[i], 0);
		cr_assert_not(in_segment(a, 5), "word %u", i);
	}
	kit_release(a);
}

Test(hazard, only_the_writer_hazard_counts_as_a_writer)
{
	struct actor *a = kit_actor();
	uint32_t blocker = 99;
	hazard_name(a, HAZARD_READ, unit_of(3, 17));
	cr_assert_not(hazard_writer(a, 3, true, &blocker));
	hazard_name(a, HAZARD_SEGMENT, 3);
	cr_assert(hazard_writer(a, 3, true, &blocker));
	cr_assert_eq(blocker, a->slot);
	kit_release(a);
}

Test(hazard, the_first_and_the_last_unit_of_a_segment_belong_to_it)
{
	struct actor *a = kit_actor();
	hazard_name(a, HAZARD_READ, unit_of(3, 0));
	cr_assert(in_segment(a, 3) && !in_segment(a, 2));
	hazard_name(a, HAZARD_READ, unit_of(4, 0) - 1);
	cr_assert(in_segment(a, 3) && !in_segment(a, 4));
	hazard_name(a, HAZARD_READ, 0);
	cr_assert(in_segment(a, 0));
	kit_release(a);
}

Test(hazard, all_names_are_collected_in_order)
{
	struct actor *a = kit_actor();
	uint64_t names[64];
	cr_assert_eq(hazard_collect(a, names, 64), 0);
	hazard_name(a, HAZARD_READ, 30);
	hazard_name(a, HAZARD_WALK, 10);
	store_release(&a->self->batch[2], 20 + 1);
	store_release(&a->self->pin[7], 5 + 1);
	hazard_name(a, HAZARD_SEGMENT, 1); /* a segment, not a place */
	cr_assert_eq(hazard_collect(a, names, 64), 4);
	const uint64_t wanted[] = { 5, 10, 20, 30 };
	cr_assert_eq(memcmp(names, wanted, sizeof wanted), 0);
	cr_assert_eq(hazard_collect(a, names, 2), 4, "too little room is told");
	store_release(&a->self->pin[7], 0);
	store_release(&a->self->batch[2], 0);
	kit_release(a);
}

/* The child names a place of segment 6 and tells its slot; then it waits, or dies. */
static pid_t child_that_names(struct word *shared, bool dies)
{
	pid_t child = fork();
	if (child != 0)
		return child;
	struct actor *a;
	if (call_begin(cache, &a) != LARDER_OK)
		_exit(1);
	hazard_name(a, HAZARD_READ, unit_of(6, 3));
	hazard_name(a, HAZARD_SEGMENT, 6);
	store_release(shared, a->slot + UINT64_C(1));
	while (!dies)
		pause();
	_exit(0);
}

static struct word *shared_word(void)
{
	return mmap(NULL, sizeof(struct word), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

Test(hazard, a_dead_participant_holds_nothing_and_is_cleaned_up_by_who_meets_it)
{
	struct word *slot = shared_word();
	struct actor *a = kit_actor();
	uint64_t before = load_hint(&a->self->counter[COUNTER_recoveries]);
	uint32_t blocker;
	cr_assert_eq(waitpid(child_that_names(slot, true), NULL, 0) > 0, 1);
	struct shm_participant *dead = region_participant(&cache->region, (uint32_t)load_acquire(slot) - 1);
	cr_assert_neq(load_acquire(&dead->hazard[HAZARD_READ]), 0);
	cr_assert(hazard_in_segment(a, 6, false, &blocker), "unasked, it counts");
	cr_assert_not(hazard_in_segment(a, 6, true, &blocker));
	cr_assert_eq(load_acquire(&dead->hazard[HAZARD_READ]), 0);
	cr_assert_eq(load_acquire(&dead->hazard[HAZARD_SEGMENT]), 0);
	cr_assert_eq(load_hint(&a->self->counter[COUNTER_recoveries]), before + 1);
	kit_release(a);
}

Test(hazard, a_stopped_participant_holds_what_it_names_and_is_named_as_the_blocker)
{
	struct word *slot = shared_word();
	struct actor *a = kit_actor();
	uint32_t blocker = 99;
	pid_t child = child_that_names(slot, false);
	while (load_acquire(slot) == 0)
		sleep_ms(1);
	cr_assert_eq(kill(child, SIGSTOP), 0);
	cr_assert(hazard_in_segment(a, 6, true, &blocker));
	cr_assert_eq(blocker, load_acquire(slot) - 1);
	cr_assert(hazard_writer(a, 6, true, &blocker));
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	cr_assert_not(hazard_writer(a, 6, true, &blocker));
	cr_assert_not(hazard_in_segment(a, 6, true, &blocker));
	kit_release(a);
}

Test(hazard, a_damaged_number_of_participants_leads_nowhere)
{
	struct actor *a = kit_actor();
	store_release(&region_super(&cache->region)->participants_used, UINT64_MAX);
	cr_assert_not(in_segment(a, 3));
	store_release(&region_super(&cache->region)->participants_used, cache->region.geo.participants);
	kit_release(a);
}
