/* SPDX-License-Identifier: BSD-2-Clause */
/* Invalidation by tag and by prefix, and what else a set may carry: jitter, absence. */
#include "kit.h"

#include "larder/policy.h"

static void choose_names(void);
static void open_with_names(void)
{
	kit_open();
	choose_names();
}

TestSuite(invalidate, .init = open_with_names, .fini = kit_close);

static enum larder_status set_tagged(const char *key, const char *const *tags, uint32_t count)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.tags = tags;
	o.tag_count = count;
	return larder_set_with(cache, 0, key, strlen(key), key, strlen(key), &o, NULL);
}

/* Names that do not fall on one word of the small table of a small cache. */
static char names[4][16];
static const char *const all[] = { names[0], names[1], names[2], names[3] };
static const char *const red[] = { names[0] }, *const blue[] = { names[1] };

static void choose_names(void)
{
	unsigned n = 0;
	for (unsigned chosen = 0; chosen < 4; n++) {
		bool fresh = true;
		(void)snprintf(names[chosen], sizeof names[chosen], "tag%u", n);
		for (unsigned i = 0; i < chosen; i++)
			fresh &= tag_number(&cache->region, names[i]) != tag_number(&cache->region, names[chosen]);
		chosen += fresh;
	}
}

Test(invalidate, a_tag_takes_all_its_entries_and_no_others)
{
	uint32_t ns;
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	is(set_tagged("r", red, 1), LARDER_OK);
	is(set_tagged("b", blue, 1), LARDER_OK);
	is(set_tagged("rbgw", all, 4), LARDER_OK);
	is(put_text("none", "none"), LARDER_OK);
	is(larder_namespace(cache, "n", &ns), LARDER_OK);
	o.tags = red;
	o.tag_count = 1;
	is(larder_set_with(cache, ns, "r", 1, "other", 5, &o, NULL), LARDER_OK);
	cr_assert(meta_of("rbgw").tags == 4 && meta_of("none").tags == 0);
	is(larder_tag_invalidate(cache, names[0]), LARDER_OK);
	reads("r", NULL);
	reads("rbgw", NULL);
	reads("b", "b");
	reads("none", "none");
	reads_in(cache, ns, "r", NULL);
	cr_assert_eq(stat_now().tag_invalidations, 1);
	is(set_tagged("r", red, 1), LARDER_OK);
	reads("r", "r"); /* what is set afterwards is good */
	is(larder_tag_invalidate(cache, names[3]), LARDER_OK);
	reads("r", "r");
}

Test(invalidate, an_invalidated_value_is_gone_for_everybody)
{
	struct larder *eye = kit_another(LARDER_INSPECT);
	struct larder_pin pin;
	char buffer[8];
	is(set_tagged("k", red, 1), LARDER_OK);
	reads_in(eye, 0, "k", "k");
	is(larder_tag_invalidate(cache, names[0]), LARDER_OK);
	reads_in(eye, 0, "k", NULL);
	is(larder_get_with(cache, 0, "k", 1, buffer, sizeof buffer, NULL, LARDER_ALLOW_STALE, NULL), LARDER_MISS);
	is(larder_pin(cache, 0, "k", 1, 0, &pin), LARDER_MISS);
	is(larder_replace(cache, 0, "k", 1, "x", 1, 0), LARDER_MISS);
	is(set_tagged("k", red, 1), LARDER_OK);
	is(larder_tag_invalidate(cache, names[0]), LARDER_OK);
	is(larder_delete(cache, 0, "k", 1), LARDER_MISS);
	is(set_tagged("k", red, 1), LARDER_OK);
	is(larder_tag_invalidate(cache, names[0]), LARDER_OK);
	is(larder_add(cache, 0, "k", 1, "x", 1, 0), LARDER_OK);
	larder_close(&eye);
}

Test(invalidate, what_rewrites_an_entry_keeps_its_tags)
{
	int64_t sum;
	is(set_tagged("1", red, 1), LARDER_OK);
	is(set_tagged("t", red, 1), LARDER_OK);
	is(set_tagged("a", red, 1), LARDER_OK);
	is(larder_incr(cache, 0, "1", 1, 1, &sum), LARDER_OK);
	is(larder_touch(cache, 0, "t", 1, 50000), LARDER_OK);
	is(larder_append(cache, 0, "a", 1, "b", 1), LARDER_OK);
	reads("1", "2");
	reads("a", "ab");
	is(larder_tag_invalidate(cache, names[0]), LARDER_OK);
	reads("1", NULL);
	reads("t", NULL);
	reads("a", NULL);
}

Test(invalidate, large_values_go_with_their_tags)
{
	static unsigned char value[50000], back[50000];
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.tags = all;
	o.tag_count = 4;
	pattern(value, sizeof value, 1);
	is(larder_set_with(cache, 0, "big", 3, value, sizeof value, &o, NULL), LARDER_OK);
	is(larder_get(cache, 0, "big", 3, back, sizeof back, NULL), LARDER_OK);
	cr_assert_eq(memcmp(value, back, sizeof value), 0);
	is(larder_tag_invalidate(cache, names[2]), LARDER_OK);
	is(larder_get(cache, 0, "big", 3, back, sizeof back, NULL), LARDER_MISS);
}

Test(invalidate, tags_survive_eviction_to_main)
{
	char key[16], value[16];
	for (int i = 0; i < 20; i++) {
		(void)snprintf(key, sizeof key, "t%d", i);
		is(set_tagged(key, all, 4), LARDER_OK);
	}
	for (int round = 0; round < 100; round++) { /* in use all the time */
		char filler[32];
		(void)snprintf(filler, sizeof filler, "filler%d.", round);
		(void)fill_percent(filler, 1, LARDER_TTL_NONE);
		for (int i = 0; i < 20; i++) {
			(void)snprintf(key, sizeof key, "t%d", i);
			(void)larder_get(cache, 0, key, strlen(key), value, sizeof value, NULL);
		}
	}
	unsigned there = 0;
	for (int i = 0; i < 20; i++) {
		(void)snprintf(key, sizeof key, "t%d", i);
		there += has_text(key) == LARDER_OK;
	}
	cr_assert_gt(there, 10, "%u", there);
	cr_assert_gt(stat_now().copied_bytes, 0);
	is(larder_tag_invalidate(cache, names[3]), LARDER_OK);
	for (int i = 0; i < 20; i++) {
		(void)snprintf(key, sizeof key, "t%d", i);
		reads(key, NULL);
	}
}

Test(invalidate, tags_out_of_range_are_refused)
{
	char too_long[300];
	const char *const empty[] = { "" }, *const five[] = { "1", "2", "3", "4", "5" }, *const longest[] = { too_long }, *const null[] = { NULL };
	memset(too_long, 'x', sizeof too_long);
	too_long[256] = 0;
	is(set_tagged("k", empty, 1), LARDER_INVALID);
	is(set_tagged("k", five, 5), LARDER_INVALID);
	is(set_tagged("k", longest, 1), LARDER_INVALID);
	is(set_tagged("k", null, 1), LARDER_INVALID);
	is(set_tagged("k", NULL, 1), LARDER_INVALID);
	is(larder_tag_invalidate(cache, ""), LARDER_INVALID);
	is(larder_tag_invalidate(cache, too_long), LARDER_INVALID);
	is(larder_tag_invalidate(cache, NULL), LARDER_INVALID);
	is(larder_tag_invalidate(NULL, "x"), LARDER_INVALID);
	too_long[255] = 0;
	is(set_tagged("k", longest, 1), LARDER_OK);
	reads("k", "k");
	is(larder_tag_invalidate(cache, too_long), LARDER_OK);
	reads("k", NULL);
	struct larder *eye = kit_another(LARDER_INSPECT);
	is(larder_tag_invalidate(eye, "red"), LARDER_READ_ONLY);
	larder_close(&eye);
}

/* ---- By prefix ------------------------------------------------------------------------------------------------------------- */

static struct larder_sweep sweep_all(uint32_t ns, const char *prefix)
{
	struct larder_sweep s = { 0 };
	is(larder_delete_prefix(cache, ns, prefix, strlen(prefix), 0, &s), LARDER_OK);
	cr_assert(s.finished);
	return s;
}

Test(invalidate, a_prefix_takes_the_keys_that_begin_with_it)
{
	uint32_t ns;
	is(larder_namespace(cache, "n", &ns), LARDER_OK);
	is(put_text("user:1", "a"), LARDER_OK);
	is(put_text("user:2", "b"), LARDER_OK);
	is(put_text("user", "c"), LARDER_OK);
	is(put_text("users", "d"), LARDER_OK);
	is(larder_set(cache, ns, "user:1", 6, "e", 1, 0), LARDER_OK);
	cr_assert_eq(sweep_all(0, "user:").removed, 2);
	reads("user:1", NULL);
	reads("user:2", NULL);
	reads("user", "c");
	reads("users", "d");
	reads_in(cache, ns, "user:1", "e");
	cr_assert_eq(sweep_all(0, "user:").removed, 0);
	cr_assert_eq(sweep_all(0, "u").removed, 2);
	cr_assert_eq(stat_now().deletes, 4);
}

Test(invalidate, a_sweep_in_steps_looks_at_every_key_once)
{
	unsigned keys = fill("a", 40, 40 * 1000, 0), steps = 0;
	struct larder_sweep s = { 0 };
	(void)fill("b", 40, 40 * 1000, 0);
	while (!s.finished) {
		is(larder_delete_prefix(cache, 0, "a", 1, 100, &s), LARDER_OK);
		cr_assert_lt(++steps, 1000);
	}
	cr_assert(s.removed == keys && steps > 5, "%lu of %u in %u steps", (unsigned long)s.removed, keys, steps);
	cr_assert_eq(count_filled("a", 40, keys), 0);
	cr_assert_eq(count_filled("b", 40, keys), keys);
	is(larder_delete_prefix(cache, 0, "b", 1, 100, &s), LARDER_OK); /* one that has finished stays so */
	cr_assert(s.finished && s.removed == keys);
}

Test(invalidate, a_sweep_takes_pieces_with_their_value_and_counts_it_once)
{
	static unsigned char value[50000];
	struct larder_namespace_info info;
	is(larder_set(cache, 0, "big", 3, value, sizeof value, 0), LARDER_OK);
	cr_assert_eq(sweep_all(0, "b").removed, 1);
	is(larder_namespace_info(cache, 0, &info), LARDER_OK);
	cr_assert(info.entries == 0 && info.bytes == 0);
}

Test(invalidate, a_sweep_without_prefix_or_namespace_is_refused)
{
	struct larder_sweep s = { 0 };
	is(larder_delete_prefix(cache, 0, "a", 0, 0, &s), LARDER_INVALID);
	is(larder_delete_prefix(cache, 9, "a", 1, 0, &s), LARDER_INVALID);
	is(larder_delete_prefix(cache, 0, "a", 1, 0, NULL), LARDER_INVALID);
	struct larder *eye = kit_another(LARDER_INSPECT);
	is(larder_delete_prefix(eye, 0, "a", 1, 0, &s), LARDER_READ_ONLY);
	larder_close(&eye);
}

/* ---- Jitter, absence, options of older programs ---------------------------------------------------------------------------------- */

Test(invalidate, jitter_spreads_expiry_over_the_part_it_is_given_and_never_prolongs_it)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	int64_t least = INT64_MAX, most = 0, sum = 0;
	o.ttl_ms = 1000000000;
	o.jitter_percent = 20;
	for (int i = 0; i < 1000; i++) {
		is(larder_set_with(cache, 0, "k", 1, "v", 1, &o, NULL), LARDER_OK);
		int64_t left = meta_of("k").ttl_left_ms;
		least = left < least ? left : least;
		most = left > most ? left : most;
		sum += left;
	}
	cr_assert(least >= 799000000 && most <= 1000000000, "%ld .. %ld", (long)least, (long)most);
	cr_assert(least < 805000000 && most > 995000000 && llabs(sum / 1000 - 900000000) < 10000000, "mean %ld", (long)(sum / 1000));
	is(larder_namespace_ttl(cache, 0, 1000000000), LARDER_OK);
	o.ttl_ms = LARDER_TTL_DEFAULT;
	o.jitter_percent = 100;
	is(larder_set_with(cache, 0, "k", 1, "v", 1, &o, NULL), LARDER_OK);
	cr_assert_lt(meta_of("k").ttl_left_ms, 1000000001);
	o.ttl_ms = LARDER_TTL_NONE;
	is(larder_set_with(cache, 0, "k", 1, "v", 1, &o, NULL), LARDER_OK);
	cr_assert_eq(meta_of("k").ttl_left_ms, LARDER_TTL_NONE);
}

Test(invalidate, pieces_of_a_large_value_outlive_it_whatever_jitter_and_grace)
{
	static unsigned char value[50000], back[50000];
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.ttl_ms = MINUTE;
	o.grace_ms = 60 * MINUTE;
	o.jitter_percent = 50;
	is(larder_set_with(cache, 0, "big", 3, value, sizeof value, &o, NULL), LARDER_OK);
	(void)kit_pass(MINUTE);
	is(larder_get_with(cache, 0, "big", 3, back, sizeof back, NULL, LARDER_ALLOW_STALE, NULL), LARDER_STALE);
}

Test(invalidate, a_key_known_to_be_absent_says_so_to_gets_and_is_absent_to_all_else)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_meta m;
	struct larder_pin pin;
	char buffer[8];
	size_t n = 7;
	struct larder_item item = { .key = "k", .key_bytes = 1, .value = buffer, .value_bytes = sizeof buffer };
	struct larder *eye = kit_another(LARDER_INSPECT);
	o.flags = LARDER_SET_ABSENT;
	o.ttl_ms = 60 * MINUTE;
	is(larder_set_with(cache, 0, "k", 1, "v", 1, &o, NULL), LARDER_INVALID); /* it has no value */
	is(larder_set_with(cache, 0, "k", 1, NULL, 0, &o, NULL), LARDER_OK);
	is(larder_get_with(cache, 0, "k", 1, buffer, sizeof buffer, &n, 0, &m), LARDER_ABSENT);
	cr_assert(n == 0 && m.ttl_left_ms > 50 * MINUTE);
	is(larder_get(cache, 0, "k", 1, buffer, sizeof buffer, &n), LARDER_ABSENT);
	is(larder_exists(cache, 0, "k", 1), LARDER_ABSENT);
	is(larder_pin(cache, 0, "k", 1, 0, &pin), LARDER_ABSENT);
	is(larder_mget(cache, 0, &item, 1), LARDER_OK);
	is(item.status, LARDER_ABSENT);
	is(larder_get(eye, 0, "k", 1, buffer, sizeof buffer, &n), LARDER_ABSENT);
	is(larder_replace(cache, 0, "k", 1, "v", 1, 0), LARDER_MISS);
	is(larder_append(cache, 0, "k", 1, "v", 1), LARDER_MISS);
	is(larder_touch(cache, 0, "k", 1, 1000), LARDER_MISS);
	is(larder_get(cache, 0, "k", 1, buffer, sizeof buffer, &n), LARDER_ABSENT);
	is(larder_add(cache, 0, "k", 1, "v", 1, 0), LARDER_OK);
	reads("k", "v");
	is(larder_set_with(cache, 0, "k", 1, NULL, 0, &o, NULL), LARDER_OK);
	is(del_text("k"), LARDER_MISS);
	reads("k", NULL);
	is(larder_set_with(cache, 0, "k", 1, NULL, 0, &o, NULL), LARDER_OK);
	is(larder_flush_soft(cache, 0), LARDER_OK);
	is(larder_get_with(cache, 0, "k", 1, buffer, sizeof buffer, &n, LARDER_ALLOW_STALE, NULL), LARDER_MISS);
	larder_close(&eye);
}

Test(invalidate, options_of_an_older_program_are_taken_and_of_a_newer_one_only_if_unused)
{
	struct { struct larder_set_options o; uint64_t more; } newer = { .o = LARDER_SET_OPTIONS_INIT };
	struct larder_set_options old = LARDER_SET_OPTIONS_INIT;
	old.size = offsetof(struct larder_set_options, jitter_percent);
	old.jitter_percent = 1000; /* past its end */
	old.user_flags = 5;
	is(larder_set_with(cache, 0, "k", 1, "v", 1, &old, NULL), LARDER_OK);
	cr_assert_eq(meta_of("k").user_flags, 5);
	newer.o.size = sizeof newer;
	is(larder_set_with(cache, 0, "k", 1, "v", 1, &newer.o, NULL), LARDER_OK);
	newer.more = 1;
	is(larder_set_with(cache, 0, "k", 1, "v", 1, &newer.o, NULL), LARDER_INVALID);
	newer.o.size = 2000;
	is(larder_set_with(cache, 0, "k", 1, "v", 1, &newer.o, NULL), LARDER_INVALID);
	newer.o.size = 8;
	is(larder_set_with(cache, 0, "k", 1, "v", 1, &newer.o, NULL), LARDER_INVALID);
}
