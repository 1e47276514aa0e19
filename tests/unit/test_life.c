/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening, closing, destroying; inspectors that change nothing; work ahead of need. */
#include "kit.h"

#include <pthread.h>

TestSuite(life, .init = kit_open, .fini = kit_close);

Test(life, a_second_handle_sees_what_the_first_one_set)
{
	struct larder *second;
	ok(put_text("key", "value"));
	ok(larder_open(kit_name, 0, &second));
	reads_in(second, 0, "key", "value");
	ok(larder_set(second, 0, "key", 3, "changed", 7, 0));
	reads("key", "changed");
	larder_close(&second);
	cr_assert_null(second);
	larder_close(&second);
	larder_close(NULL);
	reads("key", "changed");
}

Test(life, a_cache_outlives_its_handles)
{
	ok(put_text("key", "value"));
	larder_close(&cache);
	ok(larder_open(kit_name, 0, &cache));
	reads("key", "value");
}

Test(life, many_handles_can_be_used_in_turns_by_one_thread)
{
	struct larder *many[12];
	for (unsigned i = 0; i < 12; i++)
		ok(larder_open(kit_name, 0, &many[i]));
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < 12; i++) {
			char key[8];
			(void)snprintf(key, sizeof key, "%u", i);
			ok(larder_set(many[i], 0, key, strlen(key), key, strlen(key), 0));
			reads_in(many[(i + 1) % 12], 0, key, key);
		}
	for (unsigned i = 0; i < 12; i++)
		larder_close(&many[i]);
}

Test(life, a_handle_closed_and_opened_again_is_not_mistaken_for_the_old_one)
{
	for (unsigned i = 0; i < 50; i++) {
		ok(put_text("key", "value"));
		larder_close(&cache);
		ok(larder_open(kit_name, 0, &cache));
		reads("key", "value");
	}
}

Test(life, arguments_out_of_range_are_refused_with_a_message)
{
	struct larder *c = (struct larder *)&c;
	struct larder_options o = LARDER_OPTIONS_INIT;
	is(larder_open(NULL, 0, &c), LARDER_INVALID);
	is(larder_open_with(kit_name, NULL, &c), LARDER_INVALID);
	is(larder_open(kit_name, 0, NULL), LARDER_INVALID);
	is(larder_destroy(NULL), LARDER_INVALID);
	o.bytes = 1000;
	is(larder_open_with("test-too-small", &o, &c), LARDER_INVALID);
	cr_assert_null(c);
	cr_assert(strstr(larder_message(), "bytes") != NULL, "%s", larder_message());
	is(larder_destroy("test-that-never-was"), LARDER_NO_CACHE);
}

/* Every call that an inspector may not make, in a thread that made no call before. */
static void *inspector_calls(void *inspector)
{
	struct larder *c = inspector;
	struct larder_pin p;
	char buffer[8];
	uint64_t done = 1;
	struct larder_item item = { .key = "key", .key_bytes = 3, .value = buffer, .value_bytes = 8 };
	bool refused = larder_set(c, 0, "key", 3, "x", 1, 0) == LARDER_READ_ONLY && larder_delete(c, 0, "key", 3) == LARDER_READ_ONLY
			&& larder_add(c, 0, "new", 3, "x", 1, 0) == LARDER_READ_ONLY && larder_replace(c, 0, "key", 3, "x", 1, 0) == LARDER_READ_ONLY
			&& larder_cas(c, 0, "key", 3, "x", 1, 0, 1) == LARDER_READ_ONLY && larder_append(c, 0, "key", 3, "x", 1) == LARDER_READ_ONLY
			&& larder_touch(c, 0, "key", 3, 5) == LARDER_READ_ONLY && larder_incr(c, 0, "n", 1, 1, NULL) == LARDER_READ_ONLY
			&& larder_get_and_set(c, 0, "key", 3, "x", 1, 0, buffer, 8, NULL) == LARDER_READ_ONLY
			&& larder_mset(c, 0, &item, 1, 0) == LARDER_READ_ONLY && larder_pin(c, 0, "key", 3, 0, &p) == LARDER_READ_ONLY
			&& larder_flush(c, 0) == LARDER_READ_ONLY && larder_maintain(c, 1000, &done) == LARDER_READ_ONLY && done == 0;
	larder_unpin(c, &p);
	return refused ? inspector : NULL;
}

Test(life, an_inspector_may_change_nothing_even_in_a_thread_that_never_took_part)
{
	pthread_t thread;
	void *refused;
	ok(put_text("key", "value"));
	struct larder *inspector = kit_another(LARDER_INSPECT);
	cr_assert_eq(pthread_create(&thread, NULL, inspector_calls, inspector), 0);
	cr_assert_eq(pthread_join(thread, &refused), 0);
	cr_assert_not_null(refused);
	cr_assert_not_null(inspector_calls(inspector));
	reads("key", "value");
	reads_in(inspector, 0, "key", "value");
	larder_close(&inspector);
	cr_assert_eq(stat_now().participants_alive, 1);
}

Test(life, an_inspector_comes_to_a_cache_without_free_slots)
{
	struct larder_options o = kit_options(UINT64_C(1) << 20, 0);
	struct larder *many[4], *fifth, *inspector;
	char name[80];
	(void)snprintf(name, sizeof name, "%s-four", kit_name);
	o.participants = 4;
	for (unsigned i = 0; i < 4; i++) {
		ok(larder_open_with(name, &o, &many[i]));
		ok(larder_set(many[i], 0, "key", 3, "value", 5, 0));
	}
	ok(larder_open(name, 0, &fifth));
	is(larder_set(fifth, 0, "key", 3, "value", 5, 0), LARDER_NO_SLOT);
	is(larder_get(fifth, 0, "key", 3, NULL, 0, NULL), LARDER_NO_SLOT);
	o.flags = LARDER_INSPECT;
	ok(larder_open_with(name, &o, &inspector));
	reads_in(inspector, 0, "key", "value");
	larder_close(&many[2]);
	ok(larder_set(fifth, 0, "key", 3, "other", 5, 0));
	for (unsigned i = 0; i < 4; i++)
		larder_close(&many[i]);
	larder_close(&fifth);
	larder_close(&inspector);
	ok(larder_destroy(name));
}

static uint32_t free_segments(void) { return (uint32_t)stat_now().segments_free; }

Test(life, maintenance_empties_segments_ahead_of_need)
{
	uint64_t done = 99;
	ok(larder_maintain(cache, 1 << 20, &done));
	cr_assert_eq(done, 0, "there is nothing to do in an empty cache");
	(void)fill("f", 400, 2 << 20, 0);
	uint32_t before = free_segments();
	for (unsigned i = 0; i < 100; i++)
		ok(larder_maintain(cache, 1 << 20, &done));
	cr_assert_gt(free_segments(), before);
	cr_assert_geq(free_segments(), 2 * cache->region.geo.reserve);
	ok(larder_maintain(cache, 0, NULL));
	is(larder_maintain(NULL, 0, NULL), LARDER_INVALID);
}

Test(life, maintenance_gives_back_what_has_expired_and_leaves_the_rest)
{
	unsigned lasting = fill("l", 400, 100 << 10, 0), dying = fill("d", 400, 300 << 10, MINUTE);
	uint32_t before = free_segments();
	(void)kit_pass(2 * MINUTE);
	for (unsigned i = 0; i < 200; i++)
		ok(larder_maintain(cache, 1 << 20, NULL));
	cr_assert_gt(free_segments(), before + 50);
	cr_assert_eq(count_filled("l", 400, lasting), lasting);
	cr_assert_eq(count_filled("d", 400, dying), 0);
	cr_assert_gt(stat_now().segments_expired, 50);
}
