/* SPDX-License-Identifier: BSD-2-Clause */
/* set and its kin, append, touch, get-and-set, delete, mset: each status and its cause. */
#include "kit.h"

TestSuite(write, .init = kit_open, .fini = kit_close);

static struct larder_set_options options(enum larder_set_mode mode)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.mode = mode;
	return o;
}

static enum larder_status set_by(const struct larder_set_options *o, const char *value, struct larder_result *result)
{
	return larder_set_with(cache, 0, "key", 3, value, strlen(value), o, result);
}

static int64_t ttl_left(const char *key) { return meta_of(key).ttl_left_ms; }

Test(write, add_sets_only_what_is_absent)
{
	ok(larder_add(cache, 0, "key", 3, "first", 5, 0));
	is(larder_add(cache, 0, "key", 3, "second", 6, 0), LARDER_EXISTS);
	reads("key", "first");
	ok(del_text("key"));
	ok(larder_add(cache, 0, "key", 3, "third", 5, 0));
	reads("key", "third");
}

Test(write, replace_sets_only_what_is_there)
{
	is(larder_replace(cache, 0, "key", 3, "x", 1, 0), LARDER_MISS);
	reads("key", NULL);
	ok(put_text("key", "first"));
	ok(larder_replace(cache, 0, "key", 3, "second", 6, 0));
	reads("key", "second");
}

Test(write, cas_sets_only_the_version_it_was_given)
{
	is(larder_cas(cache, 0, "key", 3, "x", 1, 0, 1), LARDER_MISS);
	ok(put_text("key", "first"));
	uint64_t version = meta_of("key").version;
	is(larder_cas(cache, 0, "key", 3, "x", 1, 0, version + 1), LARDER_CHANGED);
	ok(larder_cas(cache, 0, "key", 3, "second", 6, 0, version));
	is(larder_cas(cache, 0, "key", 3, "third", 5, 0, version), LARDER_CHANGED);
	reads("key", "second");
	ok(put_text("key", "second"));
	is(larder_cas(cache, 0, "key", 3, "third", 5, 0, version), LARDER_CHANGED);
}

Test(write, no_two_versions_are_the_same)
{
	static uint64_t seen[3000];
	struct larder *second = kit_another(0);
	struct larder_result result;
	for (unsigned i = 0; i < 3000; i++) {
		ok(larder_set_with(i % 2 ? second : cache, 0, "key", 3, "v", 1, NULL, &result));
		cr_assert_eq(result.version, meta_of("key").version);
		for (unsigned j = i > 50 ? i - 50 : 0; j < i; j++)
			cr_assert_neq(seen[j], result.version);
		seen[i] = result.version;
	}
	larder_close(&second);
}

Test(write, cas_needs_a_cache_with_stamps, .init = kit_open_plain)
{
	struct larder_set_options o = options(LARDER_CAS);
	ok(put_text("key", "value"));
	is(larder_cas(cache, 0, "key", 3, "x", 1, 0, 0), LARDER_UNSUPPORTED);
	is(set_by(&o, "x", NULL), LARDER_UNSUPPORTED);
	reads("key", "value");
}

Test(write, the_four_modes_of_set_with_are_the_four_calls)
{
	struct larder_set_options o = options(LARDER_ADD);
	struct larder_result result;
	ok(set_by(&o, "1", &result));
	is(set_by(&o, "2", NULL), LARDER_EXISTS);
	o.mode = LARDER_CAS;
	o.version = result.version;
	ok(set_by(&o, "3", &result));
	is(set_by(&o, "4", NULL), LARDER_CHANGED);
	o.mode = LARDER_REPLACE;
	ok(set_by(&o, "5", NULL));
	o.mode = LARDER_SET;
	ok(set_by(&o, "6", NULL));
	reads("key", "6");
	ok(larder_set_with(cache, 0, "key", 3, "7", 1, NULL, NULL));
	reads("key", "7");
}

Test(write, a_refused_set_reports_no_version)
{
	struct larder_set_options o = options(LARDER_ADD);
	struct larder_result result = { .version = 7, .evicted = 7 };
	ok(put_text("key", "value"));
	is(set_by(&o, "x", &result), LARDER_EXISTS);
	cr_assert(result.version == 0 && result.evicted == 0);
}

Test(write, options_out_of_range_are_refused)
{
	struct larder_set_options o = options(LARDER_SET);
	o.size = 3;
	is(set_by(&o, "x", NULL), LARDER_INVALID);
	o = options((enum larder_set_mode)9);
	is(set_by(&o, "x", NULL), LARDER_INVALID);
	o = options(LARDER_SET);
	o.flags = 1u << 9;
	is(set_by(&o, "x", NULL), LARDER_INVALID);
	o = options(LARDER_SET);
	o.expires_at_ms = -1;
	is(set_by(&o, "x", NULL), LARDER_INVALID);
	o = options(LARDER_SET);
	o.ttl_ms = -3;
	is(set_by(&o, "x", NULL), LARDER_INVALID);
	is(has_text("key"), LARDER_MISS);
}

Test(write, arguments_out_of_range_are_refused_by_every_call)
{
	char big[LARDER_KEY_MAX + 1] = "k";
	struct larder_item item = { .key = "k", .key_bytes = 1, .value = big, .value_bytes = 1 };
	uint64_t too_much = info_now().value_max_bytes + 1;
	is(larder_set(cache, 0, big, sizeof big, "v", 1, 0), LARDER_KEY_SIZE);
	is(larder_set(cache, 0, "", 0, "v", 1, 0), LARDER_KEY_SIZE);
	is(larder_set(cache, 0, "k", 1, NULL, 1, 0), LARDER_INVALID);
	is(larder_set(cache, 0, NULL, 1, "v", 1, 0), LARDER_INVALID);
	is(larder_set(NULL, 0, "k", 1, "v", 1, 0), LARDER_INVALID);
	is(larder_set(cache, 0, "k", 1, "v", 1, -3), LARDER_INVALID);
	is(larder_set(cache, 0, "k", 1, big, too_much, 0), LARDER_TOO_LARGE);
	is(larder_set(cache, 0, "k", 1, big, SIZE_MAX, 0), LARDER_TOO_LARGE);
	is(larder_append(cache, 0, "k", 1, NULL, 1), LARDER_INVALID);
	is(larder_append(cache, 0, "k", 1, big, too_much), LARDER_TOO_LARGE);
	is(larder_append(cache, 0, "", 0, "v", 1), LARDER_KEY_SIZE);
	is(larder_touch(cache, 0, "", 0, 5), LARDER_KEY_SIZE);
	is(larder_touch(cache, 0, "k", 1, -9), LARDER_INVALID);
	is(larder_delete(cache, 0, "", 0), LARDER_KEY_SIZE);
	is(larder_delete(NULL, 0, "k", 1), LARDER_INVALID);
	is(larder_get_and_set(cache, 0, "k", 1, NULL, 1, 0, NULL, 0, NULL), LARDER_INVALID);
	is(larder_get_and_set(cache, 0, "k", 1, "v", 1, 0, NULL, 1, NULL), LARDER_INVALID);
	is(larder_get_and_set(cache, 0, "k", 1, big, too_much, 0, NULL, 0, NULL), LARDER_TOO_LARGE);
	is(larder_get_and_set(cache, 0, "", 0, "v", 1, 0, NULL, 0, NULL), LARDER_KEY_SIZE);
	is(larder_mset(NULL, 0, &item, 1, 0), LARDER_INVALID);
	is(larder_mset(cache, 0, NULL, 1, 0), LARDER_INVALID);
	is(larder_mset(cache, 0, &item, 1, -3), LARDER_INVALID);
	is(larder_mset(cache, 99, &item, 1, 0), LARDER_INVALID);
	is(has_text("k"), LARDER_MISS);
}

/* ---- Time to live ------------------------------------------------------------------------------------------------------ */

Test(write, a_time_to_live_is_given_kept_or_taken_away)
{
	ok(larder_set(cache, 0, "key", 3, "v", 1, 5000000));
	cr_assert(ttl_left("key") > 4900000 && ttl_left("key") <= 5000000);
	(void)kit_pass(1000000);
	ok(larder_set(cache, 0, "key", 3, "w", 1, LARDER_TTL_KEEP));
	cr_assert(ttl_left("key") > 3900000 && ttl_left("key") < 4000000);
	ok(larder_set(cache, 0, "key", 3, "x", 1, LARDER_TTL_NONE));
	cr_assert_eq(ttl_left("key"), LARDER_TTL_NONE);
	ok(larder_set(cache, 0, "fresh", 5, "x", 1, LARDER_TTL_KEEP));
	cr_assert_eq(ttl_left("fresh"), LARDER_TTL_NONE);
	ok(larder_set(cache, 0, "key", 3, "x", 1, LARDER_TTL_MAX));
	cr_assert_eq(ttl_left("key"), LARDER_TTL_NONE);
	ok(larder_set(cache, 0, "key", 3, "x", 1, INT64_MAX));
	cr_assert_eq(ttl_left("key"), LARDER_TTL_NONE);
	ok(larder_set(cache, 0, "key", 3, "x", 1, LARDER_TTL_MAX - 1));
	cr_assert_gt(ttl_left("key"), LARDER_TTL_MAX - 500000);
}

Test(write, an_expiry_by_the_wall_clock_is_taken_at_its_word)
{
	struct larder_set_options o = options(LARDER_SET);
	o.ttl_ms = 7;
	o.expires_at_ms = clock_wall_ms() + 9000000;
	ok(set_by(&o, "v", NULL));
	cr_assert(ttl_left("key") > 8900000 && ttl_left("key") <= 9000000);
	cr_assert(llabs(meta_of("key").expires_at_ms - o.expires_at_ms) <= 5);
	o.expires_at_ms = clock_wall_ms() - 1000;
	ok(set_by(&o, "v", NULL));
	reads("key", NULL);
	o.expires_at_ms = 1;
	ok(set_by(&o, "v", NULL));
	reads("key", NULL);
	o.expires_at_ms = INT64_MAX;
	ok(set_by(&o, "v", NULL));
	cr_assert_eq(ttl_left("key"), LARDER_TTL_NONE);
}

Test(write, every_kind_of_change_sees_an_expired_entry_as_absent)
{
	char old[8];
	ok(larder_set(cache, 0, "key", 3, "v", 1, MINUTE));
	(void)kit_pass(MINUTE);
	is(larder_replace(cache, 0, "key", 3, "x", 1, 0), LARDER_MISS);
	cr_assert_eq(stat_now().expirations, 1);
	ok(larder_set(cache, 0, "key", 3, "v", 1, MINUTE));
	uint64_t version = meta_of("key").version;
	(void)kit_pass(MINUTE);
	is(larder_cas(cache, 0, "key", 3, "x", 1, 0, version), LARDER_MISS);
	ok(larder_set(cache, 0, "key", 3, "v", 1, MINUTE));
	(void)kit_pass(MINUTE);
	is(larder_append(cache, 0, "key", 3, "x", 1), LARDER_MISS);
	ok(larder_set(cache, 0, "key", 3, "v", 1, MINUTE));
	(void)kit_pass(MINUTE);
	is(larder_touch(cache, 0, "key", 3, MINUTE), LARDER_MISS);
	ok(larder_set(cache, 0, "key", 3, "v", 1, MINUTE));
	(void)kit_pass(MINUTE);
	is(del_text("key"), LARDER_MISS);
	ok(larder_set(cache, 0, "key", 3, "v", 1, MINUTE));
	(void)kit_pass(MINUTE);
	is(larder_get_and_set(cache, 0, "key", 3, "new", 3, 0, old, sizeof old, NULL), LARDER_MISS);
	reads("key", "new");
	ok(larder_set(cache, 0, "key", 3, "v", 1, MINUTE));
	(void)kit_pass(MINUTE);
	ok(larder_add(cache, 0, "key", 3, "added", 5, LARDER_TTL_KEEP));
	cr_assert_eq(ttl_left("key"), LARDER_TTL_NONE, "the time to live of a dead one is not kept");
	cr_assert_eq(stat_now().entries, 1);
}

Test(write, a_change_never_gives_a_dying_value_a_new_life)
{
	/* Whatever comes of the race between the expiry and the change, what was there at t is gone at t + ttl. */
	for (unsigned round = 0; round < 300; round++) {
		char key[16];
		int n = snprintf(key, sizeof key, "key%u", round);
		ok(larder_set(cache, 0, key, (size_t)n, "v", 1, 2));
		while (larder_append(cache, 0, key, (size_t)n, "x", 1) == LARDER_OK)
			;
		reads(key, NULL);
	}
}

Test(write, touch_gives_another_time_to_live_and_keeps_the_rest)
{
	struct larder_set_options o = options(LARDER_SET);
	o.user_flags = 11;
	o.flags = LARDER_ALIGN;
	is(larder_touch(cache, 0, "key", 3, 1000), LARDER_MISS);
	ok(set_by(&o, "value", NULL));
	ok(larder_touch(cache, 0, "key", 3, MINUTE));
	cr_assert(ttl_left("key") <= MINUTE && meta_of("key").user_flags == 11);
	ok(larder_touch(cache, 0, "key", 3, LARDER_TTL_KEEP));
	cr_assert(ttl_left("key") <= MINUTE);
	ok(larder_touch(cache, 0, "key", 3, LARDER_TTL_NONE));
	cr_assert_eq(ttl_left("key"), LARDER_TTL_NONE);
	reads("key", "value");
	ok(larder_touch(cache, 0, "key", 3, MINUTE));
	reads("key", "value");
	(void)kit_pass(MINUTE);
	reads("key", NULL);
}

/* ---- append, get-and-set, delete, mset ------------------------------------------------------------------------------------ */

Test(write, append_adds_to_the_end_and_keeps_time_to_live_and_flags)
{
	struct larder_set_options o = options(LARDER_SET);
	o.user_flags = 5;
	o.ttl_ms = 60 * MINUTE;
	is(larder_append(cache, 0, "key", 3, "x", 1), LARDER_MISS);
	reads("key", NULL);
	ok(set_by(&o, "one", NULL));
	ok(larder_append(cache, 0, "key", 3, " two", 4));
	ok(larder_append(cache, 0, "key", 3, NULL, 0));
	reads("key", "one two");
	cr_assert(meta_of("key").user_flags == 5 && ttl_left("key") > 50 * MINUTE);
	ok(put_text("empty", ""));
	ok(larder_append(cache, 0, "empty", 5, "x", 1));
	reads("empty", "x");
}

Test(write, appended_values_grow_from_one_entry_to_many_pieces_until_they_are_too_large)
{
	unsigned char piece[1000], *whole = malloc(info_now().value_max_bytes), *back = malloc(info_now().value_max_bytes);
	size_t bytes = 0, n = 0;
	ok(put_text("key", ""));
	enum larder_status status = LARDER_OK;
	for (unsigned i = 0; status == LARDER_OK; i++) {
		pattern(piece, sizeof piece, i);
		status = larder_append(cache, 0, "key", 3, piece, sizeof piece);
		if (status != LARDER_OK)
			break;
		memcpy(whole + bytes, piece, sizeof piece);
		bytes += sizeof piece;
		ok(larder_get(cache, 0, "key", 3, back, info_now().value_max_bytes, &n));
		cr_assert(n == bytes && memcmp(whole, back, n) == 0, "after %u pieces", i + 1);
	}
	is(status, LARDER_TOO_LARGE);
	cr_assert_gt(bytes + sizeof piece, info_now().value_max_bytes);
	ok(larder_get(cache, 0, "key", 3, back, info_now().value_max_bytes, &n));
	cr_assert(n == bytes && memcmp(whole, back, n) == 0, "a refused append changed it");
	free(whole);
	free(back);
}

Test(write, get_and_set_hands_out_what_it_replaced)
{
	char old[16] = "";
	size_t n = 99;
	is(larder_get_and_set(cache, 0, "key", 3, "first", 5, 0, old, sizeof old, &n), LARDER_MISS);
	reads("key", "first");
	ok(larder_get_and_set(cache, 0, "key", 3, "second", 6, 60 * MINUTE, old, sizeof old, &n));
	cr_assert(n == 5 && memcmp(old, "first", 5) == 0);
	cr_assert_gt(ttl_left("key"), 50 * MINUTE);
	is(larder_get_and_set(cache, 0, "key", 3, "third", 5, 0, old, 3, &n), LARDER_SHORT);
	cr_assert_eq(n, 6);
	reads("key", "second");
	ok(larder_get_and_set(cache, 0, "key", 3, "", 0, LARDER_TTL_KEEP, old, sizeof old, NULL));
	reads("key", "");
	cr_assert_gt(ttl_left("key"), 50 * MINUTE);
}

Test(write, delete_tells_whether_there_was_something)
{
	is(del_text("key"), LARDER_MISS);
	ok(put_text("key", "value"));
	ok(del_text("key"));
	reads("key", NULL);
	is(del_text("key"), LARDER_MISS);
	ok(put_text("key", "value"));
	ok(larder_flush(cache, 0));
	is(del_text("key"), LARDER_MISS);
	ok(put_text("key", "value"));
	ok(larder_flush_soft(cache, 0));
	ok(del_text("key")); /* it could still be read as stale */
	cr_assert_eq(stat_now().entries, 0);
}

Test(write, mset_sets_each_and_tells_of_each)
{
	enum { N = 40 };
	struct larder_item items[N];
	char key[N][16];
	for (unsigned i = 0; i < N; i++) {
		(void)snprintf(key[i], sizeof key[i], "key%u", i);
		items[i] = (struct larder_item){ .key = key[i], .key_bytes = strlen(key[i]), .value = key[i], .value_bytes = strlen(key[i]) };
	}
	items[5].key_bytes = 0;
	items[6].value_bytes = info_now().value_max_bytes + 1;
	ok(larder_mset(cache, 0, items, N, 50 * MINUTE));
	for (unsigned i = 0; i < N; i++) {
		is(items[i].status, i == 5 ? LARDER_KEY_SIZE : i == 6 ? LARDER_TOO_LARGE : LARDER_OK);
		reads(key[i], i == 5 || i == 6 ? NULL : key[i]);
	}
	cr_assert_gt(ttl_left("key7"), 40 * MINUTE);
	ok(larder_mset(cache, 0, NULL, 0, 0));
}

Test(write, a_value_asked_to_be_aligned_is)
{
	struct larder_set_options o = options(LARDER_SET);
	o.flags = LARDER_ALIGN;
	for (unsigned n = 1; n < 20; n++) {
		struct larder_pin p;
		char key[32];
		memset(key, 'k', sizeof key);
		o.user_flags = n % 2;
		ok(larder_set_with(cache, 0, key, n, "value", 5, &o, NULL));
		ok(larder_pin(cache, 0, key, n, 0, &p));
		cr_assert_eq((uintptr_t)p.data % 8, 0);
		cr_assert_eq(memcmp(p.data, "value", 5), 0);
		larder_unpin(cache, &p);
	}
}

/* ---- Long keys ---------------------------------------------------------------------------------------------------------------- */

Test(write, a_key_that_fits_no_segment_is_refused_and_costs_nobody_else_anything)
{
	char key[LARDER_KEY_MAX];
	memset(key, 'k', sizeof key);
	cr_assert_lt(info_now().contiguous_max_bytes, LARDER_KEY_MAX, "segments are too large for this test");
	unsigned n = fill("f", 400, 100 << 10, 0);
	is(larder_set(cache, 0, key, sizeof key, "value", 5, 0), LARDER_TOO_LARGE);
	is(larder_set(cache, 0, key, sizeof key, NULL, 0, 0), LARDER_TOO_LARGE);
	is(larder_incr(cache, 0, key, sizeof key, 1, NULL), LARDER_TOO_LARGE);
	is(larder_get_and_set(cache, 0, key, sizeof key, "v", 1, 0, NULL, 0, NULL), LARDER_TOO_LARGE);
	is(larder_get(cache, 0, key, sizeof key, NULL, 0, NULL), LARDER_MISS);
	cr_assert_eq(count_filled("f", 400, n), n);
}

Test(write, the_longest_key_a_segment_takes_works_with_every_call)
{
	char key[LARDER_KEY_MAX], buffer[64];
	size_t n, bytes = info_now().contiguous_max_bytes - 32;
	int64_t sum;
	memset(key, 'k', sizeof key);
	ok(larder_set(cache, 0, key, bytes, "20", 2, 0));
	ok(larder_incr(cache, 0, key, bytes, 1, &sum));
	ok(larder_append(cache, 0, key, bytes, "5", 1));
	ok(larder_touch(cache, 0, key, bytes, 60000));
	ok(larder_get(cache, 0, key, bytes, buffer, sizeof buffer, &n));
	cr_assert(n == 3 && memcmp(buffer, "215", 3) == 0);
	ok(larder_set(cache, 0, key, bytes, key, 2000, 0)); /* a manifest and pieces */
	ok(larder_delete(cache, 0, key, bytes));
}

/* ---- Sets that must not evict --------------------------------------------------------------------------------------------------- */

Test(write, a_set_that_must_not_evict_displaces_nothing_and_says_when_it_is_full)
{
	struct larder_set_options o = options(LARDER_SET);
	struct larder_result result;
	unsigned char value[400] = { 1 };
	unsigned n = 0;
	o.flags = LARDER_NO_EVICT;
	enum larder_status status;
	do {
		char key[16];
		int length = snprintf(key, sizeof key, "f%u", n);
		pattern(value, sizeof value, n);
		status = larder_set_with(cache, 0, key, (size_t)length, value, sizeof value, &o, &result);
		n += status == LARDER_OK;
		cr_assert_eq(result.evicted, 0);
	} while (status == LARDER_OK);
	is(status, LARDER_WOULD_EVICT);
	cr_assert_eq(count_filled("f", sizeof value, n), n);
	struct larder_stat s = stat_now();
	cr_assert_eq(s.evictions_small + s.evictions_main + s.evictions_index + s.evictions_need, 0);
}

Test(write, a_set_that_must_not_evict_does_not_finish_the_eviction_that_another_began)
{
	struct larder_set_options o = options(LARDER_SET);
	struct larder_result result;
	unsigned char value[400] = { 1 };
	o.flags = LARDER_NO_EVICT;
	for (unsigned round = 0; round < 30; round++) {
		(void)fill("f", 400, (1u << 20) + round * 400, 0);
		struct larder_stat before = stat_now();
		for (unsigned i = 0; i < 30; i++) {
			char key[16];
			int length = snprintf(key, sizeof key, "g%u.%u", round, i);
			(void)larder_set_with(cache, 0, key, (size_t)length, value, sizeof value, &o, &result);
			cr_assert_eq(result.evicted, 0, "round %u: set %u displaced %lu", round, i, (unsigned long)result.evicted);
		}
		struct larder_stat after = stat_now();
		cr_assert_eq(before.evictions_small + before.evictions_main + before.evictions_need,
				after.evictions_small + after.evictions_main + after.evictions_need);
	}
}

Test(write, a_set_that_must_not_evict_takes_the_room_of_what_has_expired)
{
	struct larder_set_options o = options(LARDER_SET);
	unsigned char value[400] = { 1 };
	(void)fill("d", 400, 2 << 20, MINUTE);
	(void)kit_pass(2 * MINUTE);
	o.flags = LARDER_NO_EVICT;
	for (unsigned i = 0; i < 500; i++) {
		char key[16];
		int length = snprintf(key, sizeof key, "g%u", i);
		ok(larder_set_with(cache, 0, key, (size_t)length, value, sizeof value, &o, NULL));
	}
}

Test(write, what_a_set_displaced_is_told)
{
	struct larder_result result;
	unsigned char value[400] = { 1 };
	uint64_t told = 0;
	for (unsigned i = 0; i < 5000; i++) {
		char key[16];
		int length = snprintf(key, sizeof key, "g%u", i);
		ok(larder_set_with(cache, 0, key, (size_t)length, value, sizeof value, NULL, &result));
		told += result.evicted;
	}
	struct larder_stat s = stat_now();
	cr_assert_eq(told, s.evictions_small + s.evictions_main + s.evictions_index + s.evictions_need);
	cr_assert_eq(s.inserts - told, s.entries);
}
