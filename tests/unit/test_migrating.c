/* SPDX-License-Identifier: BSD-2-Clause */
/* The store kind migrating: what is asked and written in each mode, on the way and back, and with a side that fails. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <larder/migrate.h>
#include <larder/store.h>

static char names[2][64];
static struct larder_store *side[2], *store;
static struct larder *cache; /* of the new side: where the mode lives */
enum { OLD, NEW };

/* A store over another one, which fails on demand and cannot tell times to live, like an older cache. */
static bool broken;
static bool can_tell;
static void (*in_the_middle)(void); /* of the next set */
static void (*before_next_get)(void);
static void (*in_the_middle_of_get)(void); /* of a get, after so many others, and after it has read */
static unsigned gets_before;
static struct larder_store *beneath;

static enum larder_status frail_open(const struct larder_setting_value *values, void **self)
{
	(void)values;
	*self = beneath;
	return LARDER_OK;
}

static void frail_close(void *self)
{
	(void)self;
}

static enum larder_status frail_health(void *self, struct larder_health *health)
{
	return larder_store_health(self, health);
}

static enum larder_status frail_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	void (*first)(void) = before_next_get;

	before_next_get = NULL;
	if (first)
		first();
	enum larder_status status = broken ? LARDER_SYSTEM : larder_store_get(self, key, flags, value, meta);

	if (meta && !can_tell)
		*meta = (struct larder_meta){ .value_bytes = value->length };
	if (in_the_middle_of_get && !gets_before--) {
		void (*happens)(void) = in_the_middle_of_get;
		in_the_middle_of_get = NULL;
		happens();
	}
	return status;
}

static enum larder_status frail_set(void *self, const struct larder_store_key *key, const void *value, size_t bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	void (*happens)(void) = in_the_middle;

	in_the_middle = NULL;
	if (happens)
		happens();
	return broken ? LARDER_SYSTEM : larder_store_set(self, key, value, bytes, options, result);
}

static enum larder_status frail_remove(void *self, const struct larder_store_key *key)
{
	return broken ? LARDER_SYSTEM : larder_store_delete(self, key);
}

static enum larder_status frail_clear(void *self, const struct larder_name *ns, bool soft)
{
	return broken ? LARDER_SYSTEM : larder_store_clear(self, ns, soft);
}

static const struct larder_store_kind frail = { .size = sizeof frail, .name = "frail", .open = frail_open, .close = frail_close,
	.health = frail_health, .get = frail_get, .set = frail_set, .remove = frail_remove, .clear = frail_clear };

static struct larder_store *find(const char *name, void *arg)
{
	(void)arg;
	return !strcmp(name, "old") ? side[OLD] : !strcmp(name, "new") ? side[NEW] : NULL;
}

static void open_stores(bool with_frail)
{
	const struct larder_setting settings[] = { { "old", "old" }, { "new", "new" } };

	for (int i = 0; i < 2; i++) {
		snprintf(names[i], sizeof names[i], "test-migrating-%s-%d", i ? "new" : "old", (int)getpid());
		const struct larder_setting shm[] = { { "name", names[i] }, { "bytes", "4m" } };
		cr_assert_eq(larder_store_open("shm", shm, 2, NULL, NULL, &side[i]), LARDER_OK, "%s", larder_message());
	}
	if (with_frail) {
		beneath = side[OLD];
		(void)larder_kind_register(&frail);
		cr_assert_eq(larder_store_open("frail", NULL, 0, NULL, NULL, &side[OLD]), LARDER_OK);
	}
	cr_assert_eq(larder_store_open("migrating", settings, 2, find, NULL, &store), LARDER_OK, "%s", larder_message());
	cache = larder_store_cache(side[NEW]);
}

static void setup(void) { open_stores(false); }

static void teardown(void)
{
	larder_store_release(&store);
	larder_store_release(&side[OLD]);
	larder_store_release(&side[NEW]);
	larder_store_release(&beneath);
	larder_destroy(names[0]);
	larder_destroy(names[1]);
}
TestSuite(migrating, .init = setup, .fini = teardown);

static struct larder_store_key key_of(const char *text)
{
	struct larder_store_key key = { .bytes = text, .count = strlen(text) };

	cr_assert_eq(larder_name("users", &key.ns), LARDER_OK);
	return key;
}

static void set(struct larder_store *to, const char *key_text, const char *value)
{
	struct larder_store_key key = key_of(key_text);

	cr_assert_eq(larder_store_set(to, &key, value, strlen(value), NULL, NULL), LARDER_OK);
}

/* The value that a store has, "" if none. */
static const char *get(struct larder_store *from, const char *key_text)
{
	static char data[2][64];
	static unsigned turn;
	struct larder_store_key key = key_of(key_text);
	char *mine = data[turn++ % 2];
	struct larder_buffer value = { .data = mine, .capacity = 63 };
	enum larder_status status = larder_store_get(from, &key, 0, &value, NULL);

	cr_assert(status == LARDER_OK || status == LARDER_MISS, "%d", status);
	mine[status == LARDER_OK ? value.length : 0] = '\0';
	return mine;
}

static void switch_to(enum larder_migration_mode mode)
{
	cr_assert_eq(larder_migration_switch(cache, "default", mode, false), LARDER_OK, "%s", larder_message());
}

static struct larder_migration_info info(void)
{
	struct larder_migration_info now;

	cr_assert_eq(larder_migration_info(cache, "default", &now), LARDER_OK);
	return now;
}

Test(migrating, in_mode_old_the_new_store_is_not_touched)
{
	set(store, "k", "one");
	cr_assert_str_eq(get(side[OLD], "k"), "one");
	cr_assert_str_eq(get(side[NEW], "k"), "");
	cr_assert_str_eq(get(store, "k"), "one");
	cr_assert_eq(info().mode, LARDER_MIGRATION_OLD);
}

Test(migrating, in_shadow_both_are_written_old_answers_and_mismatches_are_counted)
{
	struct larder_migration_info now;

	set(store, "before", "one");
	switch_to(LARDER_MIGRATION_SHADOW);
	set(store, "k", "two");
	cr_assert_str_eq(get(side[OLD], "k"), "two");
	cr_assert_str_eq(get(side[NEW], "k"), "two");
	cr_assert_str_eq(get(store, "k"), "two");
	now = info();
	cr_assert_eq(now.compared, 1);
	cr_assert_eq(now.mismatched, 0);
	set(side[NEW], "k", "wrong");
	cr_assert_str_eq(get(store, "k"), "two");
	cr_assert_str_eq(get(store, "before"), "one");
	now = info();
	cr_assert_eq(now.compared, 3);
	cr_assert_eq(now.mismatched, 2);
	cr_assert_eq(now.only_old, 1);
}

static bool keep_sample(const char *text, void *arg)
{
	strcat(strcat(arg, text), "\n");
	return true;
}

Test(migrating, mismatches_leave_samples_newest_first)
{
	char text[2048] = "";

	switch_to(LARDER_MIGRATION_SHADOW);
	set(side[OLD], "a", "12345");
	set(side[NEW], "b", "1");
	get(store, "a");
	get(store, "b");
	cr_assert_eq(larder_migration_samples(cache, "default", keep_sample, text), LARDER_OK);
	cr_assert_str_eq(text, "users:b old none, new 1 bytes\nusers:a old 5 bytes, new none\n");
}

Test(migrating, in_dual_new_answers_and_old_is_the_fallback)
{
	set(store, "early", "one");
	switch_to(LARDER_MIGRATION_SHADOW);
	switch_to(LARDER_MIGRATION_DUAL);
	cr_assert_str_eq(get(store, "early"), "one");
	cr_assert_eq(info().fallbacks, 1);
	cr_assert_eq(info().fills, 1);
	cr_assert_str_eq(get(side[NEW], "early"), "one");
	cr_assert_str_eq(get(store, "early"), "one");
	cr_assert_eq(info().fallbacks, 1);
	set(store, "k", "two");
	cr_assert_str_eq(get(side[OLD], "k"), "two");
	cr_assert_str_eq(get(side[NEW], "k"), "two");
	set(side[NEW], "k", "newer");
	cr_assert_str_eq(get(store, "k"), "newer");
}

Test(migrating, what_is_written_in_new_is_found_after_the_way_back)
{
	set(store, "k", "one");
	switch_to(LARDER_MIGRATION_SHADOW);
	set(store, "both", "one");
	switch_to(LARDER_MIGRATION_DUAL);
	switch_to(LARDER_MIGRATION_NEW);
	set(store, "k", "two");
	set(store, "fresh", "three");
	struct larder_store_key gone = key_of("both");
	cr_assert_eq(larder_store_delete(store, &gone), LARDER_OK);
	cr_assert_str_eq(get(side[OLD], "k"), "");
	switch_to(LARDER_MIGRATION_OLD);
	cr_assert_str_eq(get(store, "k"), "two");
	cr_assert_str_eq(get(store, "fresh"), "three");
	cr_assert_str_eq(get(store, "both"), "");
	set(store, "k", "four");
	cr_assert_str_eq(get(store, "k"), "four");
	cr_assert_str_eq(get(side[NEW], "k"), "");
	switch_to(LARDER_MIGRATION_SHADOW);
	switch_to(LARDER_MIGRATION_DUAL);
	cr_assert_str_eq(get(store, "k"), "four");
}

Test(migrating, a_delete_answers_for_both_stores)
{
	struct larder_store_key key = key_of("k");

	set(store, "k", "one");
	switch_to(LARDER_MIGRATION_SHADOW);
	switch_to(LARDER_MIGRATION_DUAL);
	cr_assert_eq(larder_store_delete(store, &key), LARDER_OK);
	cr_assert_eq(larder_store_delete(store, &key), LARDER_MISS);
	cr_assert_str_eq(get(side[OLD], "k"), "");
}

Test(migrating, conditions_and_counters_know_what_the_other_store_has)
{
	struct larder_store_key key = key_of("n");
	struct larder_set_options add = LARDER_SET_OPTIONS_INIT;
	int64_t sum;

	add.mode = LARDER_ADD;
	set(store, "n", "41");
	switch_to(LARDER_MIGRATION_SHADOW);
	switch_to(LARDER_MIGRATION_DUAL);
	cr_assert_eq(larder_store_set(store, &key, "0", 1, &add, NULL), LARDER_EXISTS);
	cr_assert_eq(larder_store_incr(store, &key, 1, true, 0, LARDER_TTL_NONE, &sum), LARDER_OK);
	cr_assert_eq(sum, 42);
	cr_assert_str_eq(get(side[OLD], "n"), "42");
}

Test(migrating, times_to_live_and_flags_reach_the_mirror)
{
	struct larder_store_key key = key_of("k");
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta;

	switch_to(LARDER_MIGRATION_SHADOW);
	options.ttl_ms = 60000;
	options.user_flags = 7;
	cr_assert_eq(larder_store_set(store, &key, "v", 1, &options, NULL), LARDER_OK);
	cr_assert_eq(larder_store_get(side[NEW], &key, 0, &value, &meta), LARDER_OK);
	cr_assert(meta.ttl_left_ms > 50000 && meta.ttl_left_ms <= 60000);
	cr_assert_eq(meta.user_flags, 7);
	free(value.data);
}

static int64_t ttl_left_ms(struct larder_store *from, const char *key_text)
{
	struct larder_store_key key = key_of(key_text);
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta = { .ttl_left_ms = 0 };

	cr_assert_eq(larder_store_get(from, &key, 0, &value, &meta), LARDER_OK);
	free(value.data);
	return meta.ttl_left_ms;
}

static bool about_a_minute(int64_t ms) { return ms > 30000 && ms <= 60000; }

Test(migrating, a_touch_reaches_both_stores_and_brings_over_what_only_the_old_one_has)
{
	struct larder_store_key key = key_of("k"), early = key_of("early");

	set(store, "early", "v");
	cr_assert_eq(larder_store_touch(store, &key, 60000), LARDER_MISS);
	switch_to(LARDER_MIGRATION_SHADOW);
	set(store, "k", "v");
	cr_assert_eq(larder_store_touch(store, &key, 60000), LARDER_OK);
	cr_assert(about_a_minute(ttl_left_ms(side[OLD], "k")) && about_a_minute(ttl_left_ms(side[NEW], "k")));
	switch_to(LARDER_MIGRATION_DUAL);
	cr_assert_str_eq(get(side[NEW], "early"), "");
	cr_assert_eq(larder_store_touch(store, &early, 60000), LARDER_OK);
	cr_assert(about_a_minute(ttl_left_ms(side[NEW], "early")) && about_a_minute(ttl_left_ms(side[OLD], "early")));
}

Test(migrating, its_health_is_the_leaders_and_says_the_mode)
{
	struct larder_health health;

	switch_to(LARDER_MIGRATION_SHADOW);
	cr_assert_eq(larder_store_health(store, &health), LARDER_OK);
	cr_assert(health.usable && strstr(health.text, "shadow") && strstr(health.text, names[OLD]), "%s", health.text);
	switch_to(LARDER_MIGRATION_DUAL);
	cr_assert_eq(larder_store_health(store, &health), LARDER_OK);
	cr_assert(strstr(health.text, "dual") && strstr(health.text, names[NEW]), "%s", health.text);
	cr_assert_eq(larder_store_cache(store), cache);
	cr_assert_eq(larder_store_drain(store, 1000), LARDER_OK);
}

Test(migrating, a_namespace_is_cleared_in_both)
{
	struct larder_store_key key = key_of("k");

	switch_to(LARDER_MIGRATION_SHADOW);
	set(store, "k", "v");
	cr_assert_eq(larder_store_clear(store, key.ns, false), LARDER_OK);
	cr_assert_str_eq(get(side[OLD], "k"), "");
	cr_assert_str_eq(get(side[NEW], "k"), "");
}

Test(migrating, leaving_out_a_step_is_refused_unless_forced)
{
	cr_assert_eq(larder_migration_switch(cache, "default", LARDER_MIGRATION_DUAL, false), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "shadow"), "%s", larder_message());
	cr_assert_eq(larder_migration_switch(cache, "default", LARDER_MIGRATION_DUAL, true), LARDER_OK);
	cr_assert_eq(larder_migration_switch(cache, "none", LARDER_MIGRATION_OLD, false), LARDER_MISS);
	cr_assert_eq(larder_migration_switch(cache, "", LARDER_MIGRATION_OLD, false), LARDER_INVALID);
}

Test(migrating, many_keys_are_answered_in_every_mode)
{
	struct larder_store_item items[2] = { { .key = key_of("a"), .value.grow = true }, { .key = key_of("b"), .value.grow = true } };

	set(store, "a", "1");
	for (int mode = LARDER_MIGRATION_OLD; mode <= LARDER_MIGRATION_DUAL; mode++) {
		switch_to((enum larder_migration_mode)mode);
		cr_assert_eq(larder_store_mget(store, 0, items, 2), LARDER_OK);
		cr_assert_eq(items[0].status, LARDER_OK);
		cr_assert_eq(items[1].status, LARDER_MISS);
	}
	free(items[0].value.data);
}

TestSuite(migrating_frail, .fini = teardown);

Test(migrating_frail, an_old_store_that_fails_costs_no_answer_and_bars_the_way_back)
{
	open_stores(true);
	set(store, "k", "one");
	switch_to(LARDER_MIGRATION_SHADOW);
	switch_to(LARDER_MIGRATION_DUAL);
	broken = true;
	set(store, "k", "two");
	cr_assert_str_eq(get(store, "k"), "two");
	cr_assert_str_eq(get(store, "none"), "");
	cr_assert_eq(info().mirror_errors, 1);
	cr_assert_eq(info().old_gaps, 1);
	broken = false;
	cr_assert_eq(larder_migration_switch(cache, "default", LARDER_MIGRATION_SHADOW, false), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "stale"), "%s", larder_message());
	cr_assert_eq(larder_migration_switch(cache, "default", LARDER_MIGRATION_SHADOW, true), LARDER_OK);
	cr_assert_eq(info().old_gaps, 0);
}

static void delete_it(void)
{
	struct larder_store_key key = key_of("k");

	cr_assert_eq(larder_store_delete(store, &key), LARDER_OK);
}

Test(migrating_frail, a_delete_during_a_fill_is_not_undone_by_it)
{
	open_stores(true);
	set(store, "k", "one");
	switch_to(LARDER_MIGRATION_SHADOW);
	switch_to(LARDER_MIGRATION_DUAL);
	can_tell = true;
	in_the_middle_of_get = delete_it;
	gets_before = 1; /* the fallback's, then the fill's */
	cr_assert_str_eq(get(store, "k"), "one");
	cr_assert_null(in_the_middle_of_get);
	cr_assert_eq(info().fills, 0);
	cr_assert_str_eq(get(store, "k"), "");
}

Test(migrating_frail, the_mirror_gets_the_time_to_live_that_old_cannot_tell)
{
	struct larder_store_key key;
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta;

	open_stores(true);
	key = key_of("k");
	options.ttl_ms = 60000;
	switch_to(LARDER_MIGRATION_SHADOW);
	cr_assert_eq(larder_store_set(store, &key, "v", 1, &options, NULL), LARDER_OK);
	cr_assert_eq(larder_store_get(side[NEW], &key, 0, &value, &meta), LARDER_OK);
	cr_assert(meta.ttl_left_ms > 50000 && meta.ttl_left_ms <= 60000);
	free(value.data);
}

static void set_by_another(void) { set(beneath, "k", "by another"); }

Test(migrating_frail, the_mirror_follows_what_the_leader_has_in_the_end)
{
	open_stores(true);
	switch_to(LARDER_MIGRATION_SHADOW);
	can_tell = true;
	before_next_get = set_by_another; /* between the copy and the look whether it is still right */
	set(store, "k", "one");
	cr_assert_null(before_next_get);
	cr_assert_str_eq(get(side[OLD], "k"), "by another");
	cr_assert_str_eq(get(side[NEW], "k"), "by another");
}

Test(migrating_frail, a_touch_that_the_mirror_cannot_do_takes_the_key_out_of_it)
{
	struct larder_store_key key;

	open_stores(true);
	key = key_of("k");
	switch_to(LARDER_MIGRATION_SHADOW);
	switch_to(LARDER_MIGRATION_DUAL);
	set(store, "k", "v");
	cr_assert_str_eq(get(side[OLD], "k"), "v");
	cr_assert_eq(larder_store_touch(store, &key, 60000), LARDER_OK);
	cr_assert_str_eq(get(side[OLD], "k"), "");
	cr_assert_str_eq(get(store, "k"), "v");
}

static void to_shadow(void)
{
	switch_to(LARDER_MIGRATION_SHADOW);
}

static void to_shadow_and_dual(void)
{
	switch_to(LARDER_MIGRATION_SHADOW);
	switch_to(LARDER_MIGRATION_DUAL);
	set(store, "k", "by another");
}

Test(migrating_frail, a_set_that_meets_a_switch_is_done_in_the_new_mode)
{
	open_stores(true);
	in_the_middle = to_shadow;
	set(store, "k", "one");
	cr_assert_str_eq(get(side[NEW], "k"), "one");
	cr_assert_eq(info().redone, 1);
}

Test(migrating_frail, both_stores_agree_on_who_was_last_across_a_switch)
{
	open_stores(true);
	in_the_middle = to_shadow_and_dual;
	set(store, "k", "one");
	cr_assert_str_eq(get(side[NEW], "k"), "by another"); /* which others may have read: ours was before it */
	cr_assert_str_eq(get(side[OLD], "k"), "by another");
}

Test(migrating, two_sides_without_a_segment_or_the_same_one_are_refused)
{
	const struct larder_setting same[] = { { "old", "new" }, { "new", "new" } };
	struct larder_store *none;

	cr_assert_eq(larder_store_open("migrating", same, 2, find, NULL, &none), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "same"), "%s", larder_message());
	const struct larder_setting unknown[] = { { "old", "older" }, { "new", "new" } };
	cr_assert_eq(larder_store_open("migrating", unknown, 2, find, NULL, &none), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "older"), "%s", larder_message());
}
