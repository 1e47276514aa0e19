/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters: range, what counts as a number, freezing, and what all other calls make of them. */
#include "kit.h"

TestSuite(number, .init = kit_open, .fini = kit_close);

static int64_t incr(const char *key, int64_t delta)
{
	int64_t sum = -1;
	is(larder_incr(cache, 0, key, strlen(key), delta, &sum), LARDER_OK);
	return sum;
}
static enum larder_status try_incr(const char *key, int64_t delta) { return larder_incr(cache, 0, key, strlen(key), delta, NULL); }

static struct word *cell_of(const char *key)
{
	struct entry e;
	cr_assert(entry_open(&e, &cache->region, slot_place(kit_slot(key))) && entry_is_counter(&e));
	return entry_cell(&e);
}

Test(number, a_counter_begins_at_its_initial_value_and_adds_up)
{
	int64_t sum;
	cr_assert_eq(incr("n", 5), 5);
	cr_assert_eq(incr("n", -7), -2);
	cr_assert_eq(incr("n", 0), -2);
	reads("n", "-2");
	ok(larder_incr_with(cache, 0, "m", 1, 1, true, 100, LARDER_TTL_DEFAULT, &sum));
	cr_assert_eq(sum, 101);
	ok(larder_incr_with(cache, 0, "m", 1, 1, true, 100, LARDER_TTL_DEFAULT, &sum));
	cr_assert_eq(sum, 102);
	is(larder_incr_with(cache, 0, "none", 4, 1, false, 0, LARDER_TTL_DEFAULT, &sum), LARDER_MISS);
	is(has_text("none"), LARDER_MISS);
}

Test(number, increments_write_no_new_entry)
{
	(void)incr("n", 1);
	uint64_t slot = kit_slot("n"), sets = stat_now().sets;
	for (int i = 0; i < 1000; i++)
		(void)incr("n", 1);
	cr_assert_eq(kit_slot("n"), slot);
	cr_assert(stat_now().sets == sets && stat_now().increments == 1000);
}

Test(number, a_sum_out_of_range_changes_nothing)
{
	cr_assert_eq(incr("n", LARDER_COUNTER_MAX), LARDER_COUNTER_MAX);
	is(try_incr("n", 1), LARDER_RANGE);
	is(try_incr("n", INT64_MAX), LARDER_RANGE);
	cr_assert_eq(incr("n", 0), LARDER_COUNTER_MAX);
	cr_assert_eq(incr("m", LARDER_COUNTER_MIN), LARDER_COUNTER_MIN);
	is(try_incr("m", -1), LARDER_RANGE);
	is(try_incr("m", INT64_MIN), LARDER_RANGE);
	reads("m", "-4611686018427387904");
	is(try_incr("fresh", INT64_MAX), LARDER_RANGE);
	is(larder_incr_with(cache, 0, "fresh", 5, 1, true, INT64_MAX, 0, NULL), LARDER_RANGE);
	is(has_text("fresh"), LARDER_MISS);
}

Test(number, decimal_digits_become_a_counter_and_keep_flags_and_time_to_live)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.user_flags = 7;
	o.ttl_ms = 60 * MINUTE;
	ok(larder_set_with(cache, 0, "n", 1, "41", 2, &o, NULL));
	cr_assert_eq(incr("n", 1), 42);
	struct larder_meta m = meta_of("n");
	cr_assert(m.counter && m.user_flags == 7 && m.ttl_left_ms > 50 * MINUTE);
	ok(put_text("least", "-4611686018427387904"));
	cr_assert_eq(incr("least", 1), LARDER_COUNTER_MIN + 1);
	ok(put_text("minus", "-0"));
	cr_assert_eq(incr("minus", 1), 1);
}

Test(number, what_is_no_decimal_integer_is_refused_and_stays)
{
	const char *const wrong[] = { "", " 5", "\t5", "\n5", "\v5", "\f5", "\r5", "+5", "5 ", "5x", "x", "0x10", "1e3", "1.5", "-", "--5", "- 5",
		"4611686018427387904", "-4611686018427387905", "99999999999999999999", "000000000000000000005", "5\n" };
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		ok(put_text("n", wrong[i]));
		is(try_incr("n", 1), LARDER_NOT_NUMBER);
		reads("n", wrong[i]);
	}
	ok(larder_set(cache, 0, "n", 1, "5\0", 2, 0));
	is(try_incr("n", 1), LARDER_NOT_NUMBER);
}

Test(number, a_counter_expires_and_begins_anew)
{
	int64_t sum;
	ok(larder_incr_with(cache, 0, "n", 1, 5, true, 0, MINUTE, &sum));
	ok(larder_incr_with(cache, 0, "n", 1, 1, true, 0, 60 * MINUTE, &sum));
	cr_assert_eq(sum, 6);
	cr_assert_leq(meta_of("n").ttl_left_ms, MINUTE, "the time to live is that of the counter's birth");
	(void)kit_pass(MINUTE);
	cr_assert_eq(incr("n", 1), 1);
	is(larder_incr_with(cache, 0, "n", 1, 1, true, 0, -5, &sum), LARDER_INVALID);
}

Test(number, whoever_meets_a_frozen_cell_finishes_the_move)
{
	(void)incr("n", 5);
	(void)cell_freeze(cell_of("n"));
	uint64_t slot = kit_slot("n");
	reads("n", "5");
	cr_assert_eq(incr("n", 2), 7);
	cr_assert_neq(kit_slot("n"), slot, "the frozen cell is left behind");
	cr_assert_not(load_hint(cell_of("n")) & CELL_FROZEN);
	reads("n", "7");
}

Test(number, an_increment_out_of_range_leaves_a_frozen_counter_readable)
{
	(void)incr("n", LARDER_COUNTER_MAX);
	(void)cell_freeze(cell_of("n"));
	is(try_incr("n", 1), LARDER_RANGE);
	reads("n", "4611686018427387903");
	cr_assert_eq(incr("n", -1), LARDER_COUNTER_MAX - 1);
}

Test(number, the_version_of_a_counter_changes_with_each_increment)
{
	(void)incr("n", 1);
	uint64_t first = meta_of("n").version;
	(void)incr("n", 1);
	uint64_t second = meta_of("n").version;
	cr_assert_neq(first, second);
	is(larder_cas(cache, 0, "n", 1, "x", 1, 0, first), LARDER_CHANGED);
	cr_assert_eq(incr("n", 1), 3, "a refused cas freezes nothing");
	ok(larder_cas(cache, 0, "n", 1, "text", 4, 0, meta_of("n").version));
	reads("n", "text");
}

Test(number, cas_of_a_frozen_counter_in_its_version_succeeds)
{
	(void)incr("n", 9);
	uint64_t version = meta_of("n").version;
	(void)cell_freeze(cell_of("n"));
	cr_assert_eq(meta_of("n").version, version);
	ok(larder_cas(cache, 0, "n", 1, "text", 4, 0, version));
	reads("n", "text");
}

Test(number, touch_moves_a_counter_with_its_value)
{
	(void)incr("n", 9);
	ok(larder_touch(cache, 0, "n", 1, MINUTE));
	cr_assert_eq(incr("n", 1), 10);
	cr_assert(meta_of("n").counter && meta_of("n").ttl_left_ms <= MINUTE);
	(void)kit_pass(MINUTE);
	reads("n", NULL);
}

Test(number, append_and_get_and_set_take_a_counter_by_its_digits)
{
	char old[24];
	size_t n;
	(void)incr("n", 12);
	ok(larder_append(cache, 0, "n", 1, "34", 2));
	reads("n", "1234");
	cr_assert_eq(incr("n", 1), 1235);
	ok(larder_get_and_set(cache, 0, "n", 1, "0", 1, 0, old, sizeof old, &n));
	cr_assert(n == 4 && memcmp(old, "1235", 4) == 0);
	(void)incr("n", 77);
	is(larder_get_and_set(cache, 0, "n", 1, "0", 1, 0, old, 1, &n), LARDER_SHORT);
	cr_assert_eq(n, 2);
	cr_assert_eq(incr("n", 1), 78, "refused for want of a buffer, it still counts");
}

Test(number, a_touched_counter_is_not_lost_in_a_full_cache)
{
	unsigned lost = 0;
	for (unsigned round = 0; round < 200; round++) {
		char key[16];
		(void)fill("f", 300, 64 << 10, 0);
		(void)snprintf(key, sizeof key, "n%u", round);
		(void)incr(key, 5);
		for (unsigned i = 0; i < 20; i++)
			lost += larder_touch(cache, 0, key, strlen(key), 60000 + (int64_t)i) != LARDER_OK;
	}
	cr_assert_eq(lost, 0, "%u of 4000", lost);
}

Test(number, a_counter_survives_eviction_with_all_its_increments)
{
	int64_t sum = 0;
	unsigned moved = 0;
	uint64_t slot = 0;
	for (int64_t i = 1; i <= 20000; i++) {
		char key[16];
		sum = incr("hot", 1);
		cr_assert_eq(sum, i, "increment %ld made it %ld", (long)i, (long)sum);
		moved += slot != kit_slot("hot");
		slot = kit_slot("hot");
		int n = snprintf(key, sizeof key, "f%ld", (long)(i % 30000));
		ok(larder_set(cache, 0, key, (size_t)n, "some value that takes room from the others", 42, 0));
	}
	cr_assert_gt(moved, 1, "it was never moved: this test tests nothing");
}

Test(number, arguments_out_of_range_are_refused)
{
	is(larder_incr(cache, 0, "", 0, 1, NULL), LARDER_KEY_SIZE);
	is(larder_incr(NULL, 0, "k", 1, 1, NULL), LARDER_INVALID);
	is(larder_incr(cache, 99, "k", 1, 1, NULL), LARDER_INVALID);
}
