/* SPDX-License-Identifier: BSD-2-Clause */
/* Quotas: a namespace stays within its bytes by dropping what is its own. */
#include "kit.h"

#include "cache/quota.h"
#include "larder/policy.h"

static uint32_t ns;

static void open_with_namespace(void)
{
	kit_open();
	is(larder_namespace(cache, "limited", &ns), LARDER_OK);
}

TestSuite(quota, .init = open_with_namespace, .fini = kit_close);

static int64_t bytes_of(uint32_t of)
{
	struct larder_namespace_info info;
	is(larder_namespace_info(cache, of, &info), LARDER_OK);
	return info.bytes;
}

static void set_many(uint32_t to, const char *prefix, unsigned from, unsigned count, size_t bytes)
{
	unsigned char value[4096];
	char key[32];
	for (unsigned i = from; i < from + count; i++) {
		int n = snprintf(key, sizeof key, "%s%u", prefix, i);
		pattern(value, bytes, i);
		is(larder_set(cache, to, key, (size_t)n, value, bytes, LARDER_TTL_NONE), LARDER_OK);
	}
}
static unsigned count_many(uint32_t of, const char *prefix, unsigned count)
{
	unsigned there = 0;
	char key[32];
	for (unsigned i = 0; i < count; i++) {
		int n = snprintf(key, sizeof key, "%s%u", prefix, i);
		there += larder_exists(cache, of, key, (size_t)n) == LARDER_OK;
	}
	return there;
}

Test(quota, a_namespace_stays_within_it_whatever_is_set)
{
	is(larder_namespace_quota(cache, ns, 50000), LARDER_OK);
	struct larder_namespace_info info;
	is(larder_namespace_info(cache, ns, &info), LARDER_OK);
	cr_assert_eq(info.quota_bytes, 50000);
	for (unsigned i = 0; i < 5000; i++) {
		set_many(ns, "k", i, 1, 20 + i * 7919 % 900);
		cr_assert_leq(bytes_of(ns), 50000);
	}
	cr_assert_gt(bytes_of(ns), 48000);
	cr_assert_gt(stat_now().evictions_quota, 4000);
	cr_assert_eq(count_many(ns, "k", 5000) > 30, true);
}

static void open_with_roomy_index(void)
{
	struct larder_options o = kit_options(UINT64_C(1) << 20, 0);
	o.entry_bytes = 40;
	kit_open_with(&o);
	is(larder_namespace(cache, "limited", &ns), LARDER_OK);
}

Test(quota, others_lose_nothing_to_a_namespace_that_sets_many_times_its_quota, .init = open_with_roomy_index)
{
	/* The cache is all but full of another namespace's entries; nothing of these may go. */
	unsigned keys = 0, set = 0;
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	char key[32];
	unsigned char value[100];
	is(larder_namespace_quota(cache, ns, 40000), LARDER_OK);
	set_many(ns, "k", 0, 2500, 100); /* takes its quota, and has places of its own to use again */
	pattern(value, sizeof value, 1);
	o.flags = LARDER_NO_EVICT;
	for (;; keys++) {
		int n = snprintf(key, sizeof key, "o%u", keys);
		if (larder_set_with(cache, 0, key, (size_t)n, value, sizeof value, &o, NULL) != LARDER_OK)
			break;
	}
	cr_assert_gt(keys, 2000);
	struct larder_stat before = stat_now();
	for (set = 0; set < 20000; set++) {
		set_many(ns, "l", set, 1, 100);
		cr_assert_leq(bytes_of(ns), 40000);
	}
	struct larder_stat after = stat_now();
	cr_assert_eq(after.evictions_index, before.evictions_index);
	cr_assert_eq(count_many(0, "o", keys), keys, "%u of %u are left", count_many(0, "o", keys), keys);
	cr_assert_gt(after.evictions_quota - before.evictions_quota, 19000);
}

Test(quota, what_is_used_stays_longer_than_what_is_not)
{
	char value[4096];
	is(larder_namespace_quota(cache, ns, 50000), LARDER_OK);
	set_many(ns, "hot", 0, 50, 200);
	for (unsigned i = 0; i < 1000; i++) {
		set_many(ns, "cold", i, 1, 200);
		for (unsigned k = 0; k < 50; k++) {
			char key[32];
			int n = snprintf(key, sizeof key, "hot%u", k);
			(void)larder_get(cache, ns, key, (size_t)n, value, sizeof value, NULL);
		}
	}
	unsigned hot = count_many(ns, "hot", 50);
	cr_assert_gt(hot, 45, "%u of 50", hot);
}

Test(quota, a_lowered_one_is_kept_from_the_next_set_on)
{
	set_many(ns, "k", 0, 800, 100);
	int64_t before = bytes_of(ns);
	cr_assert_gt(before, 90000);
	is(larder_namespace_quota(cache, ns, 20000), LARDER_OK);
	set_many(ns, "k", 800, 1, 100);
	cr_assert_leq(bytes_of(ns), 20000);
	is(larder_namespace_quota(cache, ns, 0), LARDER_OK);
	set_many(ns, "m", 0, 800, 100);
	cr_assert_gt(bytes_of(ns), 90000);
}

Test(quota, a_value_above_it_is_too_large_and_changes_nothing)
{
	static unsigned char value[30000];
	is(larder_namespace_quota(cache, ns, 5000), LARDER_OK);
	set_many(ns, "k", 0, 10, 100);
	is(larder_set(cache, ns, "big", 3, value, 5000, 0), LARDER_TOO_LARGE);
	is(larder_set(cache, ns, "huge", 4, value, 30000, 0), LARDER_TOO_LARGE);
	cr_assert_eq(count_many(ns, "k", 10), 10);
	is(larder_set(cache, 0, "huge", 4, value, 30000, 0), LARDER_OK);
}

Test(quota, a_large_value_within_it_is_set_whole)
{
	static unsigned char value[30000], back[30000];
	is(larder_namespace_quota(cache, ns, 40000), LARDER_OK);
	for (unsigned i = 0; i < 20; i++) {
		char key[16];
		int n = snprintf(key, sizeof key, "big%u", i);
		set_many(ns, "k", 100 * i, 100, 100);
		pattern(value, sizeof value, i);
		is(larder_set(cache, ns, key, (size_t)n, value, sizeof value, 0), LARDER_OK);
		is(larder_get(cache, ns, key, (size_t)n, back, sizeof back, NULL), LARDER_OK);
		cr_assert_eq(memcmp(value, back, sizeof value), 0);
		cr_assert_leq(bytes_of(ns), 40000);
	}
}

Test(quota, an_overwrite_that_grows_makes_room_but_not_by_its_own_key)
{
	static char value[3000];
	is(larder_namespace_quota(cache, ns, 4000), LARDER_OK);
	set_many(ns, "k", 0, 20, 100);
	is(larder_set(cache, ns, "k0", 2, value, 2500, 0), LARDER_OK);
	is(larder_exists(cache, ns, "k0", 2), LARDER_OK);
	cr_assert_leq(bytes_of(ns), 4000);
}

Test(quota, no_evict_refuses_what_would_take_an_eviction)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.flags = LARDER_NO_EVICT;
	is(larder_namespace_quota(cache, ns, 10000), LARDER_OK);
	set_many(ns, "k", 0, 200, 100);
	is(larder_set_with(cache, ns, "new", 3, "some value of a hundred bytes or so, that does not fit any more, for the quota is full", 85, &o, NULL),
			LARDER_WOULD_EVICT);
	is(larder_set_with(cache, ns, "k199", 4, "v", 1, &o, NULL), LARDER_OK);
}

Test(quota, walkers_of_segments_drop_what_is_above_it_first)
{
	char value[300];
	set_many(ns, "k", 0, 400, 300);
	for (unsigned use = 0; use < 3; use++)
		for (unsigned i = 0; i < 400; i++) {
			char key[32];
			int n = snprintf(key, sizeof key, "k%u", i);
			(void)larder_get(cache, ns, key, (size_t)n, value, sizeof value, NULL);
		}
	is(larder_namespace_quota(cache, ns, 10000), LARDER_OK); /* hot, and far above it */
	(void)fill_percent("filler", 120, LARDER_TTL_NONE);
	cr_assert_gt(stat_now().evictions_quota, 300);
	cr_assert_leq(bytes_of(ns), 10000 + 1000);
}

Test(quota, a_tally_that_deaths_have_put_wrong_is_counted_anew)
{
	struct actor *a;
	is(larder_namespace_quota(cache, ns, 10000), LARDER_OK);
	a = kit_actor();
	namespace_tally(a, ns, 0, 5000); /* 40000 bytes that are not there */
	kit_release(a);
	for (unsigned i = 0; i < 300; i++) {
		set_many(ns, "k", i, 1, 100);
		cr_assert_leq(bytes_of(ns), 10000);
	}
	cr_assert_gt(bytes_of(ns), 9000);
	cr_assert_gt(count_many(ns, "k", 300), 50);
	cr_assert_gt(stat_now().tallies_mended, 0);
	a = kit_actor();
	namespace_tally(a, ns, 0, -1000); /* 8000 too few */
	kit_release(a);
	is(larder_namespace_quota(cache, ns, 10000), LARDER_OK); /* setting it counts */
	set_many(ns, "k", 300, 300, 100);
	cr_assert_leq(count_many(ns, "k", 600), 90);
}

Test(quota, arguments_out_of_range_are_refused)
{
	is(larder_namespace_quota(cache, ns == 15 ? 14 : 15, 1000), LARDER_INVALID);
	is(larder_namespace_quota(cache, 16, 1000), LARDER_INVALID);
	is(larder_namespace_quota(cache, ns, UINT64_C(1) << 40), LARDER_INVALID);
	is(larder_namespace_quota(NULL, ns, 1000), LARDER_INVALID);
	struct larder *eye = kit_another(LARDER_INSPECT);
	is(larder_namespace_quota(eye, ns, 1000), LARDER_READ_ONLY);
	larder_close(&eye);
}
