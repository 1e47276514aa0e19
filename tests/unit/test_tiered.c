/* SPDX-License-Identifier: BSD-2-Clause */
/* Tiers over a far store of the test's own: modes, fills and the changes that cross them, failures, and what is made up for later. */
#include "far.h"

#include <pthread.h>

TestSuite(tiered, .init = far_setup, .fini = far_teardown, .timeout = 60);

static uint64_t gets(void) { return load_acquire(&far_link->gets); }

static struct larder_tiered_info info(void)
{
	struct larder_tiered_info i;

	ok(larder_tiered_info(tier, &i));
	return i;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------------- */

Test(tiered, a_miss_is_fetched_once_and_then_answered_near)
{
	TIER("mode=write-through");
	ok(put(far_beneath, "k", "far"));
	holds(tier, "k", "far");
	holds(tier, "k", "far");
	cr_assert_eq(gets(), 1);
	holds(near_store, "k", "far");
}

Test(tiered, what_is_fetched_lives_no_longer_near_than_far)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta;

	TIER("near-ttl=1h");
	o.ttl_ms = 500000;
	o.user_flags = 7;
	ok(larder_store_set(far_beneath, K("short"), "v", 1, &o, NULL));
	ok(larder_store_set(far_beneath, K("long"), "v", 1, NULL, NULL));
	ok(larder_store_get(tier, K("short"), 0, &value, &meta));
	ok(larder_store_get(near_store, K("short"), 0, &value, &meta));
	cr_assert(meta.ttl_left_ms > 400000 && meta.ttl_left_ms <= 500000, "%lld", (long long)meta.ttl_left_ms);
	cr_assert_eq(meta.user_flags & ~NEAR_MARKS, 7);
	ok(larder_store_get(tier, K("long"), 0, &value, &meta));
	ok(larder_store_get(near_store, K("long"), 0, &value, &meta));
	cr_assert(meta.ttl_left_ms > 3500000 && meta.ttl_left_ms <= 3600000);
	free(value.data);
}

static bool other_is_seen(void) { return !strcmp(look(tier, "other"), "x"); }

Test(tiered, what_is_not_there_is_remembered_for_the_negative_ttl)
{
	TIER("negative-ttl=10m");
	holds(tier, "none", "(1)");
	holds(tier, "none", "(1)");
	cr_assert_eq(gets(), 1);
	ok(put(tier, "none", "now"));
	holds(tier, "none", "now");
	larder_store_release(&tier);
	TIER("negative-ttl=50ms");
	holds(tier, "other", "(1)");
	ok(put(far_beneath, "other", "x"));
	cr_assert(within_ms(1000, other_is_seen));
}

Test(tiered, an_empty_value_is_a_value)
{
	struct larder_buffer value = { .grow = true };

	TIER("negative-ttl=1m");
	ok(put(tier, "empty", ""));
	holds(tier, "empty", "");
	ok(put(far_beneath, "empty2", ""));
	holds(tier, "empty2", "");
	holds(tier, "empty2", "");
	cr_assert_eq(gets(), 1);
	free(value.data);
}

static void *reader(void *seen)
{
	snprintf(seen, 64, "%s", look(tier, "k"));
	return NULL;
}

static bool one_waits(void) { return load_acquire(&far_link->waiting) == 1; }

/* A fetch that is stopped between its answer and its fill, while `meanwhile` happens. */
static void fetch_around(void (*meanwhile)(void))
{
	static char seen[64];
	pthread_t thread;

	store_release(&far_link->gate, 1);
	cr_assert_eq(pthread_create(&thread, NULL, reader, seen), 0);
	cr_assert(within_ms(5000, one_waits));
	meanwhile();
	store_release(&far_link->gate, 0);
	(void)pthread_join(thread, NULL);
	cr_assert_str_eq(seen, "old"); /* what was there when it asked */
}

static void set_new(void) { ok(put(tier, "k", "new")); }
static void delete_it(void) { ok(larder_store_delete(tier, K("k"))); }
static void clear_all(void)
{
	const struct larder_name *ns;

	ok(larder_name("n", &ns));
	ok(larder_store_clear(tier, ns, false));
}
static void clear_softly(void)
{
	const struct larder_name *ns;

	ok(larder_name("n", &ns));
	ok(larder_store_clear(far_beneath, ns, false));
	ok(larder_store_clear(near_store, ns, true));
}
static void invalidate(void)
{
	struct tier_hearing hearing = { .tier = larder_store_self(tier) };

	ok(put(far_beneath, "k", "other"));
	tier_heard_key(&hearing, "n", "k", 1);
}

Test(tiered, a_fill_does_not_cover_a_newer_set)
{
	TIER("mode=write-through");
	ok(put(far_beneath, "k", "old"));
	fetch_around(set_new);
	holds(tier, "k", "new");
}

Test(tiered, a_fill_does_not_cover_a_newer_set_behind)
{
	TIER("mode=write-behind", "delay=1s");
	ok(put(far_beneath, "k", "old"));
	fetch_around(set_new);
	holds(tier, "k", "new");
}

Test(tiered, a_fill_does_not_survive_a_delete)
{
	TIER("mode=write-through");
	ok(put(far_beneath, "k", "old"));
	fetch_around(delete_it);
	holds(tier, "k", "(1)");
}

Test(tiered, a_fill_does_not_survive_a_clear)
{
	TIER("mode=write-through");
	ok(put(far_beneath, "k", "old"));
	fetch_around(clear_all);
	holds(tier, "k", "(1)");
	ok(put(far_beneath, "k", "old"));
	fetch_around(clear_softly);
	holds(tier, "k", "(1)");
}

Test(tiered, a_fill_does_not_survive_an_invalidation)
{
	TIER("mode=write-through");
	ok(put(far_beneath, "k", "old"));
	fetch_around(invalidate);
	holds(tier, "k", "other");
}

enum { PROCESSES = 16 };

Test(tiered, one_process_fetches_for_all_of_the_host)
{
	pid_t children[PROCESSES];

	TIER("fetch-wait=60s");
	ok(put(far_beneath, "k", "v"));
	store_release(&far_link->delay_us, 100000);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (!children[i])
			_exit(strcmp(look(tier, "k"), "v") != 0);
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		waitpid(children[i], &status, 0);
		cr_assert_eq(status, 0);
	}
	cr_assert_eq(gets(), 1);
}

/* The far store has "k", and a child that asks for it waits there for its gate. */
static pid_t child_fetching(void)
{
	ok(put(far_beneath, "k", "v"));
	store_release(&far_link->gate, 1);
	pid_t child = fork();
	if (!child) {
		(void)look(tier, "k");
		_exit(0);
	}
	cr_assert(within_ms(5000, one_waits));
	return child;
}

Test(tiered, a_fetch_of_a_killed_process_is_taken_over_at_once)
{
	TIER("fetch-wait=60s");
	pid_t child = child_fetching();
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	store_release(&far_link->gate, 0);
	int64_t before = far_now_ms();
	holds(tier, "k", "v");
	cr_assert_lt(far_now_ms() - before, 30000);
	holds(near_store, "k", "v");
}

Test(tiered, a_fetch_of_a_stopped_process_delays_for_the_fetch_wait_alone)
{
	TIER("fetch-wait=200ms");
	pid_t child = child_fetching();
	kill(child, SIGSTOP);
	store_release(&far_link->gate, 0);
	int64_t before = far_now_ms();
	holds(tier, "k", "v");
	int64_t took = far_now_ms() - before;
	cr_assert(took >= 150 && took < 30000, "%lld ms", (long long)took);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

Test(tiered, many_keys_are_fetched_in_one_go_and_filled)
{
	struct larder_store_item items[4] = { { .key = key_in("n", "a") }, { .key = key_in("n", "b") }, { .key = key_in("n", "c") },
		{ .key = key_in("n", "a") } };

	TIER("mode=write-through");
	ok(put(far_beneath, "a", "1"));
	ok(put(far_beneath, "c", "3"));
	for (int i = 0; i < 4; i++)
		items[i].value.grow = true;
	ok(larder_store_mget(tier, 0, items, 4));
	is(items[0].status, LARDER_OK);
	is(items[1].status, LARDER_MISS);
	is(items[2].status, LARDER_OK);
	is(items[3].status, LARDER_OK);
	cr_assert_arr_eq(items[2].value.data, "3", 1);
	cr_assert_arr_eq(items[3].value.data, "1", 1);
	holds(near_store, "a", "1");
	holds(near_store, "c", "3");
	for (int i = 0; i < 4; i++)
		free(items[i].value.data);
}

/* ---- Writing ------------------------------------------------------------------------------------------------------------- */

Test(tiered, a_write_through_is_far_when_it_returns)
{
	TIER("mode=write-through");
	ok(put(tier, "k", "v"));
	holds(far_beneath, "k", "v");
	holds(near_store, "k", "v");
	ok(larder_store_delete(tier, K("k")));
	holds(far_beneath, "k", "(1)");
	holds(near_store, "k", "(1)");
	is(larder_store_delete(tier, K("k")), LARDER_MISS);
}

Test(tiered, a_write_around_leaves_nothing_near)
{
	TIER("namespaces=n:write-around, m:write-behind");
	ok(put(near_store, "k", "old"));
	ok(put(tier, "k", "v"));
	holds(far_beneath, "k", "v");
	holds(near_store, "k", "(1)");
	holds(tier, "k", "v");
}

Test(tiered, two_writers_at_once_never_leave_near_what_is_not_far)
{
	enum { ROUNDS = 300 };
	TIER("mode=write-through");
	store_release(&far_link->delay_us, 20);
	for (int writer = 0; writer < 4; writer++)
		if (!fork()) {
			char value[32];
			for (int i = 0; i < ROUNDS; i++) {
				snprintf(value, sizeof value, "%d-%d", writer, i);
				(void)put(tier, i % 2 ? "a" : "b", value);
				if (i % 7 == writer)
					(void)look(tier, "a");
			}
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < 2; i++) {
		const char *near = look(near_store, i ? "a" : "b"), *far = look(far_beneath, i ? "a" : "b");
		cr_assert(!strcmp(near, "(1)") || !strcmp(near, far), "near %s, far %s", near, far);
	}
}

Test(tiered, what_depends_on_what_is_there_is_decided_far)
{
	struct larder_set_options add = LARDER_SET_OPTIONS_INIT, cas = LARDER_SET_OPTIONS_INIT;
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta;
	int64_t sum;

	TIER("negative-ttl=1m");
	add.mode = LARDER_ADD;
	holds(tier, "k", "(1)");
	ok(put(far_beneath, "k", "theirs")); /* near it is known to be absent */
	is(larder_store_set(tier, K("k"), "mine", 4, &add, NULL), LARDER_EXISTS);
	holds(tier, "k", "theirs");
	ok(larder_store_get(tier, K("k"), 0, &value, &meta));
	cas.mode = LARDER_CAS;
	cas.version = meta.version;
	ok(larder_store_set(tier, K("k"), "cas", 3, &cas, NULL));
	holds(far_beneath, "k", "cas");
	is(larder_store_set(tier, K("k"), "again", 5, &cas, NULL), LARDER_CHANGED);
	ok(larder_store_get(tier, K("k"), 0, &value, &meta));
	ok(put(far_beneath, "k", "by another")); /* unheard: near still says "cas" */
	cas.version = meta.version;
	is(larder_store_set(tier, K("k"), "lost update", 11, &cas, NULL), LARDER_CHANGED);
	holds(tier, "k", "by another");
	ok(put(tier, "n", "41"));
	ok(larder_store_incr(tier, K("n"), 1, false, 0, LARDER_TTL_NONE, &sum));
	cr_assert_eq(sum, 42);
	holds(far_beneath, "n", "42");
	holds(tier, "n", "42");
	free(value.data);
}

/* It is shorter than ours: what lies behind it is somebody else's. */
Test(tiered, an_older_callers_options_are_those_it_gave_in_every_mode)
{
	static const char *const modes[] = { "mode=write-through", "mode=write-around", "mode=write-behind" };
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta;

	o.ttl_ms = 500000;
	o.user_flags = 7;
	o.size = offsetof(struct larder_set_options, jitter_percent);
	memset((char *)&o + o.size, 0xff, sizeof o - o.size);
	for (int i = 0; i < 3; i++) {
		TIER(modes[i]);
		ok(larder_store_set(tier, K("k"), "v", 1, &o, NULL));
		ok(larder_store_drain(tier, 5000));
		ok(larder_store_get(far_beneath, K("k"), 0, &value, &meta));
		cr_assert(meta.user_flags == 7 && meta.ttl_left_ms > 400000 && meta.ttl_left_ms <= 500000);
		cr_assert_eq(load_acquire(&far_link->told_ms) >> 63, 0, "what lies behind the options was taken for a time");
		ok(larder_store_delete(far_beneath, K("k")));
		larder_store_release(&tier);
	}
	free(value.data);
}

Test(tiered, the_flags_that_a_tier_keeps_to_itself_are_refused)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;

	TIER("mode=write-through");
	o.user_flags = UINT32_C(1) << 29;
	is(larder_store_set(tier, K("k"), "v", 1, &o, NULL), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "user_flags"));
	o.user_flags--;
	ok(larder_store_set(tier, K("k"), "v", 1, &o, NULL));
}

/* ---- The far store fails ---------------------------------------------------------------------------------------------------- */

Test(tiered, a_write_that_fails_takes_the_local_value_with_it)
{
	TIER("on-failure=fail");
	ok(put(tier, "k", "v"));
	ok(put(tier, "other", "v"));
	store_release(&far_link->down, 1);
	is(put(tier, "k", "w"), LARDER_UNREACHABLE);
	holds(near_store, "k", "(1)");
	holds(tier, "k", "(-22)");
	holds(tier, "other", "v"); /* a hit needs nobody */
	store_release(&far_link->down, 0);
	holds(tier, "k", "v");
}

Test(tiered, what_is_kept_through_an_outage_is_made_up_for)
{
	struct larder_tiered_repair done;
	struct larder_set_options add = LARDER_SET_OPTIONS_INIT;

	TIER("on-failure=keep");
	ok(put(tier, "deleted", "v"));
	ok(put(tier, "changed", "v"));
	store_release(&far_link->down, 1);
	ok(put(tier, "changed", "w"));
	ok(put(tier, "fresh", "f"));
	ok(put(tier, "twice", "1"));
	ok(put(tier, "twice", "2"));
	ok(larder_store_delete(tier, K("deleted")));
	holds(tier, "changed", "w");
	holds(tier, "fresh", "f");
	holds(tier, "deleted", "(1)");
	holds(tier, "unknown", "(1)");
	add.mode = LARDER_ADD;
	is(larder_store_set(tier, K("added"), "a", 1, &add, NULL), LARDER_UNREACHABLE);
	is(larder_tiered_repair(tier, 1000, &done), LARDER_UNREACHABLE);
	store_release(&far_link->down, 0);
	holds(tier, "deleted", "(1)"); /* not what the far store still has */
	ok(larder_tiered_repair(tier, 5000, &done));
	cr_assert_eq(done.dirty, 4);
	cr_assert_eq(done.written, 3);
	cr_assert_eq(done.deleted, 1);
	holds(far_beneath, "changed", "w");
	holds(far_beneath, "fresh", "f");
	holds(far_beneath, "twice", "2");
	holds(far_beneath, "deleted", "(1)");
	ok(larder_tiered_repair(tier, 5000, &done));
	cr_assert_eq(done.dirty, 0);
	holds(tier, "fresh", "f");
}

Test(tiered, what_was_made_far_after_the_outage_wins)
{
	struct larder_tiered_repair done;

	TIER("on-failure=keep");
	store_release(&far_link->down, 1);
	ok(put(tier, "k", "mine"));
	store_release(&far_link->down, 0);
	ok(put(far_beneath, "k", "theirs"));
	store_release(&far_link->born_ms, (uint64_t)clock_wall_ms() + 5000);
	ok(larder_tiered_repair(tier, 5000, &done));
	cr_assert_eq(done.outdated, 1);
	holds(far_beneath, "k", "theirs");
	holds(tier, "k", "theirs");
}

/* Whoever writes to Redis can put any time there; it must not win for ever. */
Test(tiered, a_value_far_that_claims_to_be_of_days_to_come_is_not_newer)
{
	const uint64_t claims[] = { INT64_MAX, (uint64_t)clock_wall_ms() + 3 * UINT64_C(86400000) };
	struct larder_tiered_repair done;

	TIER("on-failure=keep");
	for (int i = 0; i < 2; i++) {
		store_release(&far_link->down, 1);
		ok(put(tier, "k", i ? "second" : "first"));
		store_release(&far_link->down, 0);
		ok(put(far_beneath, "k", "theirs"));
		store_release(&far_link->born_ms, claims[i]);
		ok(larder_tiered_repair(tier, 5000, &done));
		cr_assert(done.written == 1 && !done.outdated);
		holds(far_beneath, "k", i ? "second" : "first");
	}
}

/* "k" is kept in a tier whose far store is down, and hidden there. */
static void keep_and_hide(void)
{
	const struct larder_name *ns;

	TIER("on-failure=keep");
	ok(larder_name("n", &ns));
	store_release(&far_link->down, 1);
	ok(put(tier, "k", "kept"));
	ok(larder_store_clear(near_store, ns, true));
}

Test(tiered, dirty_entries_hidden_by_a_soft_flush_are_made_up_for)
{
	struct larder_tiered_repair done;

	keep_and_hide();
	is(larder_tiered_repair(tier, 1000, &done), LARDER_UNREACHABLE);
	store_release(&far_link->down, 0);
	ok(larder_tiered_repair(tier, 5000, &done));
	holds(far_beneath, "k", "kept");
	holds(tier, "k", "kept");
}

Test(tiered, a_process_killed_while_it_makes_up_for_hidden_dirty_entries_loses_none)
{
	struct larder_tiered_repair done;

	keep_and_hide();
	store_release(&far_link->down, 0);
	store_release(&far_link->gate, 1);
	pid_t child = fork();
	if (!child) {
		(void)larder_tiered_repair(tier, 5000, NULL);
		_exit(0);
	}
	cr_assert(within_ms(5000, one_waits)); /* it asks whether something newer is far */
	ok(kill(child, SIGKILL));
	(void)waitpid(child, NULL, 0);
	store_release(&far_link->gate, 0);
	ok(larder_tiered_repair(tier, 5000, &done));
	cr_assert_eq(done.written, 1);
	holds(far_beneath, "k", "kept");
	holds(tier, "k", "kept");
}

Test(tiered, what_was_cleared_softly_does_not_rise_however_dirty)
{
	const struct larder_name *ns;

	TIER("on-failure=keep");
	ok(larder_name("n", &ns));
	ok(put(tier, "k", "v1"));
	ok(larder_store_clear(tier, ns, true));
	struct larder_buffer value = { .grow = true };
	is(larder_store_get(near_store, K("k"), LARDER_ALLOW_STALE, &value, NULL), LARDER_STALE); /* where nothing can be dirty it is soft */
	store_release(&far_link->refuses, 1);
	ok(put(tier, "k", "v2"));
	store_release(&far_link->refuses, 0);
	ok(larder_store_clear(tier, ns, true));
	ok(larder_tiered_repair(tier, 5000, NULL));
	holds(far_beneath, "k", "(1)");
	holds(tier, "k", "(1)");
	free(value.data);
}

/* ---- Settings ---------------------------------------------------------------------------------------------------------------- */

static void refused(const char *key, const char *value, const char *says)
{
	const struct larder_setting settings[] = { { "near", "near" }, { "far", "far" }, { key, value } };
	struct larder_store *store;

	is(larder_store_open("tiered", settings, 3, far_find, NULL, &store), LARDER_INVALID);
	cr_assert(strstr(larder_message(), says), "%s", larder_message());
}

Test(tiered, impossible_settings_are_refused_with_the_remedy)
{
	const struct larder_setting swapped[] = { { "near", "far" }, { "far", "near" } }, same[] = { { "near", "near" }, { "far", "near" } };
	struct larder_store *store;

	refused("mode", "write-sideways", "write-through|write-behind|write-around");
	refused("namespaces", "users=write-behind", "namespace:mode");
	refused("namespaces", "users:behind", "namespace:mode");
	refused("on-gap", "bound:soon", "bound:TIME");
	refused("on-gap", "forget", "bound:TIME");
	refused("keepalive", "1h", "10ms .. 10s");
	refused("lisener", "thread", "did you mean 'listener'");
	is(larder_store_open("tiered", swapped, 2, far_find, NULL, &store), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "kind shm or memory"), "%s", larder_message());
	is(larder_store_open("tiered", same, 2, far_find, NULL, &store), LARDER_INVALID);
	tier_line_of_test = NULL;
	refused("listener", "thread", "near-ttl");
}

Test(tiered, it_says_how_near_and_far_are)
{
	struct larder_health health;

	TIER("mode=write-through");
	ok(larder_store_health(tier, &health));
	cr_assert(health.usable);
	store_release(&far_link->down, 1);
	ok(larder_store_health(tier, &health));
	cr_assert_not(health.usable);
	cr_assert(strstr(health.text, "near alone"), "%s", health.text);
	is(put(tier, "k", "v"), LARDER_UNREACHABLE);
	cr_assert_eq(info().failures, 1);
}

Test(tiered, hits_alone_notice_that_nobody_listens_whether_they_are_timed_or_not)
{
	struct larder_tiered_heard heard = { 0 };

	TIER("listener=call", "keepalive=20ms", "on-gap=revalidate");
	struct larder_store *reader = far_tier((const char *const[]){ "listener=others", "keepalive=20ms", "on-gap=revalidate", NULL });
	timing_set(&((struct tier *)larder_store_self(reader))->metrics, TIMING_NEVER);
	for (int64_t end = far_now_ms() + 5000; !heard.live && far_now_ms() < end;)
		(void)larder_tiered_listen(tier, 20, &heard);
	cr_assert(heard.live);
	ok(put(far_beneath, "k", "old"));
	holds(reader, "k", "old");
	ok(put(far_beneath, "k", "new")); /* unheard: from here on nobody listens */
	unsigned hits = 0;
	for (int64_t end = far_now_ms() + 3000; !strcmp(look(reader, "k"), "old") && far_now_ms() < end; hits++)
		far_sleep_us(500);
	cr_assert_lt(hits, 1000);
	holds(reader, "k", "new");
	larder_store_release(&reader);
}
