/* SPDX-License-Identifier: BSD-2-Clause */
/* Tags and their clock: what an invalidation that ends in the middle leaves, and what damage does. */
#include "kit.h"

#include "larder/policy.h"

TestSuite(tag, .init = kit_open, .fini = kit_close);

static const char *const red[] = { "red" };

static enum larder_status set_red(const char *key)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.tags = red;
	o.tag_count = 1;
	return larder_set_with(cache, 0, key, strlen(key), key, strlen(key), &o, NULL);
}

static struct word *red_word(void) { return &region_tags(&cache->region)[tag_number(&cache->region, "red")]; }

Test(tag, a_number_lies_within_the_table_and_follows_from_the_name)
{
	char name[16];
	bool differs = false;
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof name, "tag%d", i);
		uint16_t n = tag_number(&cache->region, name);
		cr_assert_lt(n, cache->region.geo.tag_words);
		cr_assert_eq(n, tag_number(&cache->region, name));
		differs |= n != tag_number(&cache->region, "red");
	}
	cr_assert(differs);
}

Test(tag, an_invalidation_that_ended_in_the_middle_has_invalidated_and_harms_no_later_set)
{
	is(set_red("old"), LARDER_OK);
	uint64_t clock = tag_clock(&cache->region);
	store_release(red_word(), clock); /* raised, and then its process died */
	reads("old", NULL);
	is(set_red("new"), LARDER_OK);
	reads("new", "new");
	cr_assert_eq(tag_clock(&cache->region), clock + 1, "the set moved the clock");
	reads("old", NULL);
}

Test(tag, a_lease_in_the_middle_of_a_dead_invalidation_fails_once)
{
	struct larder_lease l;
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.tags = red;
	o.tag_count = 1;
	store_release(red_word(), tag_clock(&cache->region));
	is(larder_lease(cache, 0, "k", 1, NULL, NULL, 0, NULL, &l), LARDER_MISS);
	is(larder_lease_set(cache, 0, "k", 1, "v", 1, &o, l.token, NULL), LARDER_CHANGED); /* as far as anybody can tell, since */
	is(larder_lease_release(cache, 0, "k", 1, l.token), LARDER_OK);
	is(larder_lease(cache, 0, "k", 1, NULL, NULL, 0, NULL, &l), LARDER_MISS);
	is(larder_lease_set(cache, 0, "k", 1, "v", 1, &o, l.token, NULL), LARDER_OK);
	reads("k", "v");
}

Test(tag, a_word_above_the_clock_is_damage_and_mended)
{
	kit_damaged = true;
	store_release(red_word(), UINT64_MAX);
	is(set_red("k"), LARDER_OK);
	reads("k", "k");
	cr_assert_eq(stat_now().damage, 1);
	store_release(red_word(), UINT64_MAX);
	is(larder_tag_invalidate(cache, "red"), LARDER_OK);
	reads("k", NULL);
	is(set_red("k"), LARDER_OK);
	reads("k", "k");
}

Test(tag, a_number_past_the_table_is_kept_within_it)
{
	uint16_t past = UINT16_MAX;
	cr_assert(tags_below(&cache->region, &past, 1, 1));
	struct actor *a = kit_actor();
	tag_invalidate(a, past);
	kit_release(a);
	cr_assert_not(tags_below(&cache->region, &past, 1, 1));
}

Test(tag, invalidations_move_the_clock_once_each)
{
	uint64_t clock = tag_clock(&cache->region);
	for (int i = 0; i < 100; i++)
		is(larder_tag_invalidate(cache, i % 2 ? "red" : "blue"), LARDER_OK);
	cr_assert_eq(tag_clock(&cache->region), clock + 100);
}
