/* SPDX-License-Identifier: BSD-2-Clause */
/* Namespaces: one number for one name, in whatever process; a full table says so; generations hide what was set before. */
#include "kit.h"
#include "cache/write.h"

#include <math.h>
#include <pthread.h>

TestSuite(namespace, .init = kit_open, .fini = kit_close);

static uint32_t number(const char *name)
{
	uint32_t ns = 99;
	is(larder_namespace(cache, name, &ns), LARDER_OK);
	return ns;
}

static struct larder_namespace_info about(uint32_t ns)
{
	struct larder_namespace_info info;
	is(larder_namespace_info(cache, ns, &info), LARDER_OK);
	return info;
}

static void set_in(uint32_t ns, const char *key, const char *value)
{
	ok(larder_set(cache, ns, key, strlen(key), value, strlen(value), LARDER_TTL_DEFAULT));
}

Test(namespace, a_name_has_one_number_and_different_names_have_different_ones)
{
	uint32_t users = number("users"), pages = number("pages");
	cr_assert_neq(users, pages);
	cr_assert(users != 0 && pages != 0 && users < 16 && pages < 16);
	cr_assert_eq(number("users"), users);
	cr_assert_eq(number(""), 0);
	struct larder *second = kit_another(0);
	uint32_t ns;
	ok(larder_namespace(second, "pages", &ns));
	cr_assert_eq(ns, pages);
	larder_close(&second);
	cr_assert_str_eq(about(users).name, "users");
	cr_assert_str_eq(about(0).name, "");
}

Test(namespace, names_of_every_length_up_to_64_bytes_are_told_apart)
{
	char name[66];
	uint32_t seen[16] = { 0 };
	const size_t lengths[] = { 1, 7, 8, 9, 15, 16, 17, 63, 64 };
	memset(name, 'n', sizeof name);
	for (unsigned i = 0; i < 9; i++) {
		char copy[66];
		memcpy(copy, name, sizeof copy);
		copy[lengths[i]] = 0;
		uint32_t ns = number(copy);
		cr_assert_eq(seen[ns], 0);
		seen[ns] = 1;
		cr_assert_eq(number(copy), ns);
		cr_assert_str_eq(about(ns).name, copy);
	}
	name[65] = 0;
	uint32_t ns;
	is(larder_namespace(cache, name, &ns), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "64") != NULL, "%s", larder_message());
}

Test(namespace, a_full_table_has_its_own_status_and_keeps_those_it_has)
{
	char name[16];
	uint32_t ns, first = number("n0");
	for (unsigned i = 1; i < 15; i++) {
		(void)snprintf(name, sizeof name, "n%u", i);
		(void)number(name);
	}
	is(larder_namespace(cache, "one more", &ns), LARDER_NAMESPACES);
	cr_assert(strstr(larder_message(), "namespaces") != NULL);
	cr_assert_eq(number("n0"), first);
	cr_assert_eq(number("n14") != 0, 1);
}

Test(namespace, an_inspector_finds_names_and_registers_none)
{
	uint32_t ns, users = number("users");
	struct larder *inspector = kit_another(LARDER_INSPECT);
	ok(larder_namespace(inspector, "users", &ns));
	cr_assert_eq(ns, users);
	is(larder_namespace(inspector, "pages", &ns), LARDER_MISS);
	larder_close(&inspector);
	struct larder_namespace_info info;
	unsigned named = 0;
	for (uint32_t i = 1; i < 16; i++)
		named += larder_namespace_info(cache, i, &info) == LARDER_OK;
	cr_assert_eq(named, 1);
}

Test(namespace, a_registration_half_done_by_a_dead_process_is_finished_or_passed_over)
{
	/* It died after the hash, and after the length. */
	uint64_t hash = hash_bytes("half", 4, cache->region.geo.hash_seed) | 1;
	uint32_t at = (uint32_t)hash & 15;
	struct shm_namespace *place = region_namespace(&cache->region, at == 0 ? 1 : at);
	store_release(&place->hash, hash);
	struct larder_namespace_info info;
	is(larder_namespace_info(cache, at == 0 ? 1 : at, &info), LARDER_MISS);
	cr_assert_eq(number("half"), at == 0 ? 1 : at);
	cr_assert_str_eq(about(at == 0 ? 1 : at).name, "half");
}

Test(namespace, another_name_of_the_same_hash_gets_the_next_place)
{
	uint64_t hash = hash_bytes("mine", 4, cache->region.geo.hash_seed) | 1;
	uint32_t at = (uint32_t)hash & 15;
	struct shm_namespace *place = region_namespace(&cache->region, at == 0 ? 1 : at);
	store_release(&place->hash, hash);
	store_release(&place->name_bytes, 4);
	uint64_t theirs = 0;
	memcpy(&theirs, "his.", 4);
	store_release(&place->name[0], theirs);
	uint32_t mine = number("mine");
	cr_assert_neq(mine, at == 0 ? 1 : at);
	cr_assert_eq(number("mine"), mine);
	store_release(&place->name_bytes, 5); /* of another length: the same */
	cr_assert_eq(number("mine"), mine);
}

static void *register_all(void *numbers)
{
	char name[16];
	for (unsigned i = 0; i < 12; i++) {
		(void)snprintf(name, sizeof name, "race%u", i);
		if (larder_namespace(cache, name, (uint32_t *)numbers + i) != LARDER_OK)
			return NULL;
	}
	return numbers;
}

Test(namespace, racing_registrations_of_one_name_agree)
{
	pthread_t threads[4];
	static uint32_t numbers[4][12];
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, register_all, numbers[i]), 0);
	for (unsigned i = 0; i < 4; i++) {
		void *done;
		cr_assert_eq(pthread_join(threads[i], &done), 0);
		cr_assert_not_null(done);
		cr_assert_eq(memcmp(numbers[i], numbers[0], sizeof numbers[0]), 0);
	}
}

Test(namespace, the_same_key_in_two_namespaces_is_two_keys)
{
	uint32_t a = number("a"), b = number("b");
	set_in(a, "key", "of a");
	set_in(b, "key", "of b");
	set_in(0, "key", "of none");
	reads_in(cache, a, "key", "of a");
	reads_in(cache, b, "key", "of b");
	reads_in(cache, 0, "key", "of none");
	ok(larder_delete(cache, a, "key", 3));
	reads_in(cache, a, "key", NULL);
	reads_in(cache, b, "key", "of b");
	reads_in(cache, 0, "key", "of none");
}

Test(namespace, a_hard_flush_hides_what_was_set_before_in_it_and_nothing_else)
{
	uint32_t a = number("a"), b = number("b");
	char buffer[16];
	set_in(a, "key", "old");
	set_in(b, "key", "other");
	ok(larder_flush(cache, a));
	reads_in(cache, a, "key", NULL);
	is(larder_get_with(cache, a, "key", 3, buffer, sizeof buffer, NULL, LARDER_ALLOW_STALE, NULL), LARDER_MISS);
	reads_in(cache, b, "key", "other");
	set_in(a, "key", "new");
	reads_in(cache, a, "key", "new");
	cr_assert_eq(about(a).generation, 1);
	cr_assert_eq(about(b).generation, 0);
}

Test(namespace, a_soft_flush_leaves_values_readable_as_stale_until_a_hard_one)
{
	uint32_t a = number("a");
	char buffer[16];
	size_t n;
	struct larder_meta meta;
	set_in(a, "key", "old");
	ok(larder_flush_soft(cache, a));
	reads_in(cache, a, "key", NULL);
	is(larder_get_with(cache, a, "key", 3, buffer, sizeof buffer, &n, LARDER_ALLOW_STALE, &meta), LARDER_STALE);
	cr_assert(n == 3 && memcmp(buffer, "old", 3) == 0 && meta.stale);
	ok(larder_flush_soft(cache, a));
	is(larder_get_with(cache, a, "key", 3, buffer, sizeof buffer, &n, LARDER_ALLOW_STALE, NULL), LARDER_STALE);
	ok(larder_flush(cache, a));
	is(larder_get_with(cache, a, "key", 3, buffer, sizeof buffer, &n, LARDER_ALLOW_STALE, NULL), LARDER_MISS);
}

Test(namespace, no_change_acts_on_a_value_that_a_soft_flush_has_hidden)
{
	uint32_t a = number("a");
	int64_t sum;
	set_in(a, "key", "5");
	ok(larder_flush_soft(cache, a));
	is(larder_replace(cache, a, "key", 3, "x", 1, LARDER_TTL_DEFAULT), LARDER_MISS);
	is(larder_append(cache, a, "key", 3, "x", 1), LARDER_MISS);
	is(larder_touch(cache, a, "key", 3, 1000), LARDER_MISS);
	is(larder_incr_with(cache, a, "key", 3, 1, false, 0, LARDER_TTL_DEFAULT, &sum), LARDER_MISS);
	is(larder_exists(cache, a, "key", 3), LARDER_MISS);
	ok(larder_incr(cache, a, "key", 3, 1, &sum));
	cr_assert_eq(sum, 1, "a new counter, not 5 + 1");
}

Test(namespace, add_succeeds_over_what_was_flushed_hard_or_soft)
{
	uint32_t a = number("a");
	set_in(a, "key", "old");
	is(larder_add(cache, a, "key", 3, "x", 1, LARDER_TTL_DEFAULT), LARDER_EXISTS);
	ok(larder_flush(cache, a));
	ok(larder_add(cache, a, "key", 3, "new", 3, LARDER_TTL_DEFAULT));
	ok(larder_flush_soft(cache, a));
	ok(larder_add(cache, a, "key", 3, "newer", 5, LARDER_TTL_DEFAULT));
	reads_in(cache, a, "key", "newer");
}

Test(namespace, flush_all_flushes_every_namespace_and_the_default_one)
{
	uint32_t a = number("a"), b = number("b");
	set_in(a, "key", "1");
	set_in(b, "key", "2");
	set_in(0, "key", "3");
	ok(larder_flush_all(cache));
	reads_in(cache, a, "key", NULL);
	reads_in(cache, b, "key", NULL);
	reads_in(cache, 0, "key", NULL);
	set_in(0, "key", "4");
	reads_in(cache, 0, "key", "4");
	cr_assert_eq(stat_now().flushes, 3);
}

Test(namespace, a_default_time_to_live_counts_for_what_is_set_from_then_on)
{
	uint32_t a = number("a");
	struct larder_meta meta;
	set_in(a, "before", "v");
	ok(larder_namespace_ttl(cache, a, MINUTE));
	cr_assert_eq(about(a).ttl_ms, MINUTE);
	set_in(a, "after", "v");
	ok(larder_set(cache, a, "never", 5, "v", 1, LARDER_TTL_NONE));
	(void)kit_pass(MINUTE);
	reads_in(cache, a, "before", "v");
	reads_in(cache, a, "after", NULL);
	reads_in(cache, a, "never", "v");
	ok(larder_namespace_ttl(cache, a, LARDER_TTL_NONE));
	cr_assert_eq(about(a).ttl_ms, LARDER_TTL_NONE);
	set_in(a, "after", "v");
	char buffer[8];
	ok(larder_get_with(cache, a, "after", 5, buffer, sizeof buffer, NULL, 0, &meta));
	cr_assert_eq(meta.ttl_left_ms, LARDER_TTL_NONE);
}

Test(namespace, tallies_say_what_the_index_holds)
{
	uint32_t a = number("a");
	cr_assert(about(a).entries == 0 && about(a).bytes == 0);
	set_in(a, "key", "short");
	set_in(a, "other", "short");
	int64_t bytes = about(a).bytes;
	cr_assert_eq(about(a).entries, 2);
	set_in(a, "key", "a much longer value than the one before");
	cr_assert_eq(about(a).entries, 2);
	cr_assert_gt(about(a).bytes, bytes);
	ok(larder_delete(cache, a, "key", 3));
	ok(larder_delete(cache, a, "other", 5));
	cr_assert(about(a).entries == 0 && about(a).bytes == 0, "%ld entries, %ld bytes", (long)about(a).entries, (long)about(a).bytes);
}

Test(namespace, arguments_out_of_range_are_refused)
{
	uint32_t ns, unregistered = number("a") == 15 ? 14 : 15;
	struct larder_namespace_info info;
	is(larder_namespace(NULL, "a", &ns), LARDER_INVALID);
	is(larder_namespace(cache, NULL, &ns), LARDER_INVALID);
	is(larder_namespace(cache, "a", NULL), LARDER_INVALID);
	is(larder_flush(cache, 16), LARDER_INVALID);
	is(larder_flush(cache, unregistered), LARDER_INVALID);
	is(larder_flush(NULL, 0), LARDER_INVALID);
	is(larder_namespace_ttl(cache, 0, 0), LARDER_INVALID);
	is(larder_namespace_ttl(cache, 0, -2), LARDER_INVALID);
	is(larder_namespace_ttl(cache, unregistered, 5), LARDER_INVALID);
	is(larder_namespace_info(cache, 16, &info), LARDER_INVALID);
	is(larder_namespace_info(cache, unregistered, &info), LARDER_MISS);
	is(larder_set(cache, unregistered, "k", 1, "v", 1, 0), LARDER_INVALID);
	is(larder_get(cache, 16, "k", 1, NULL, 0, NULL), LARDER_INVALID);
	struct larder *inspector = kit_another(LARDER_INSPECT);
	is(larder_flush(inspector, 0), LARDER_READ_ONLY);
	is(larder_flush_soft(inspector, 0), LARDER_READ_ONLY);
	is(larder_flush_all(inspector), LARDER_READ_ONLY);
	is(larder_namespace_ttl(inspector, 0, 5), LARDER_READ_ONLY);
	larder_close(&inspector);
}

Test(namespace, generations_are_compared_as_they_wrap)
{
	uint64_t before = UINT64_C(0xffffffff) << 32 | 0xffffffff;
	cr_assert_eq(generation_sees(before, 0xffffffff), VISIBLE);
	cr_assert_eq(generation_sees(before, 0xfffffffe), INVISIBLE);
	uint64_t soft = UINT64_C(0) << 32 | 0xffffffff; /* present 0 after a soft flush of 2^32 - 1 */
	cr_assert_eq(generation_sees(soft, 0), VISIBLE);
	cr_assert_eq(generation_sees(soft, 0xffffffff), VISIBLE_STALE);
	cr_assert_eq(generation_sees(soft, 0xfffffffe), INVISIBLE);
}

static const char *read_in(uint32_t ns, const char *key)
{
	static char text[16];
	size_t length;
	enum larder_status status = larder_get(cache, ns, key, strlen(key), text, sizeof text - 1, &length);
	text[status == LARDER_OK ? length : 0] = 0;
	return status == LARDER_OK ? text : status == LARDER_MISS ? "missed" : "failed";
}

static void keep_in(uint32_t ns, const char *key, const char *value, uint64_t version)
{
	struct put put;
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.mode = version ? LARDER_CAS : LARDER_SET;
	o.version = version;
	ok(put_options(cache, &o, &put));
	put.same_age = version != 0;
	put.draft.extras |= version ? 0 : EXTRA_KEPT;
	ok(set_call(cache, ns, key, strlen(key), value, strlen(value), &put));
}

Test(namespace, what_is_kept_is_hidden_by_order_only)
{
	uint32_t ns = number("kept");
	for (int hard = 0; hard < 2; hard++) {
		set_in(ns, "usual", "u");
		keep_in(ns, "kept", "k", 0);
		namespace_hide(&cache->region, ns, hard);
		cr_assert_str_eq(read_in(ns, "usual"), "missed");
		cr_assert_str_eq(read_in(ns, "kept"), "k");
		ok(hard ? larder_flush(cache, ns) : larder_flush_soft(cache, ns));
		cr_assert_str_eq(read_in(ns, "kept"), "missed");
		keep_in(ns, "kept", "again", 0);
		cr_assert_str_eq(read_in(ns, "kept"), "again");
	}
}

Test(namespace, what_replaces_a_kept_version_is_as_old_as_that)
{
	uint32_t ns = number("kept");
	struct larder_meta meta;
	size_t length;
	char text[8];
	keep_in(ns, "k", "dirty", 0);
	ok(larder_get_with(cache, ns, "k", 1, text, sizeof text, &length, 0, &meta));
	namespace_hide(&cache->region, ns, false);
	keep_in(ns, "k", "clean", meta.version);
	cr_assert_str_eq(read_in(ns, "k"), "missed");
	keep_in(ns, "k", "dirty", 0);
	ok(larder_get_with(cache, ns, "k", 1, text, sizeof text, &length, 0, &meta));
	keep_in(ns, "k", "clean", meta.version);
	cr_assert_str_eq(read_in(ns, "k"), "clean");
	namespace_hide(&cache->region, ns, false);
	cr_assert_str_eq(read_in(ns, "k"), "missed");
}

/* A flush is namespace_hide(), and then the floor of what is kept. */
Test(namespace, a_flush_cut_off_in_the_middle_leaves_what_is_kept_to_the_next)
{
	uint32_t ns = number("kept");
	keep_in(ns, "k", "v", 0);
	namespace_hide(&cache->region, ns, true);
	cr_assert_str_eq(read_in(ns, "k"), "v");
	keep_in(ns, "later", "v", 0);
	ok(larder_flush(cache, ns));
	cr_assert_str_eq(read_in(ns, "k"), "missed");
	cr_assert_str_eq(read_in(ns, "later"), "missed");
}

/* ---- A sample of its gets ------------------------------------------------------------------------------------------------------ */

Test(namespace, a_sample_of_its_gets_tells_its_hit_rate)
{
	enum { GETS = 400000 };
	uint32_t ns = number("usual"), other = number("other");
	struct larder_namespace_info info;
	set_in(ns, "there", "v");
	for (unsigned i = 0; i < GETS; i++) {
		(void)read_in(ns, i % 5 < 2 ? "there" : "missing");
		if (i % 2)
			(void)read_in(other, "missing");
	}
	ok(larder_namespace_info(cache, ns, &info));
	double gets = (double)info.sampled_gets, rate = (double)info.sampled_hits / gets;
	cr_assert_float_eq(gets, GETS / 128.0, 6 * sqrt(GETS / 128.0), "%.0f sampled", gets);
	cr_assert_float_eq(rate, 0.4, 6 * sqrt(0.24 / gets), "rate %.3f", rate);
	ok(larder_namespace_info(cache, other, &info));
	cr_assert(info.sampled_gets > 0 && info.sampled_hits == 0);
}

Test(namespace, a_sample_forgets_half_of_itself_and_damage_is_no_rate_above_one)
{
	uint64_t gets, hits;
	struct word *w = &region_namespace(&cache->region, 0)->sample;
	store_hint(w, ((UINT64_C(1) << 20) - 1) << 32 | 1000);
	namespace_sample(&cache->region, 0, true);
	namespace_sampled(&cache->region, 0, &gets, &hits);
	cr_assert(gets == 1 << 19 && hits == 500);
	store_hint(w, UINT64_C(3) << 32 | UINT32_MAX);
	namespace_sampled(&cache->region, 0, &gets, &hits);
	cr_assert(gets == 3 && hits == 3);
}
