/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The breaker: opens at its limit for all processes at once, lets one try at a time whatever becomes of it, and closes within two
 * seconds of recovery.
 */
#include "server.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <larder/redis.h>

#include "redis/breaker.h"

static struct server server;
static struct larder_store *near, *store;
static char cache_name[64];

static struct larder_store *find_near(const char *name, void *arg)
{
	(void)arg;
	return strcmp(name, "near") ? NULL : near;
}

static struct larder_store *open_shared(void)
{
	const struct larder_setting settings[] = { { "url", server.url }, { "near", "near" }, { "breaker-failures", "3" },
		{ "timeout", "300ms" }, { "connect-timeout", "300ms" } };
	struct larder_store *opened;

	assert_status(larder_store_open("redis", settings, 5, find_near, NULL, &opened), LARDER_OK);
	return opened;
}

static void setup(void)
{
	server_start(&server, false);
	snprintf(cache_name, sizeof cache_name, "test-redis-breaker-%d", (int)getpid());
	const struct larder_setting settings[] = { { "name", cache_name }, { "bytes", "2m" } };
	assert_status(larder_store_open("shm", settings, 2, NULL, NULL, &near), LARDER_OK);
	store = open_shared();
}

static void teardown(void)
{
	larder_store_release(&store);
	larder_store_release(&near);
	larder_destroy(cache_name);
	server_end(&server);
}
TestSuite(breaker, .init = setup, .fini = teardown);

static enum larder_status get(struct larder_store *from)
{
	struct larder_store_key key = key_of("b", "k");
	char text[64];
	struct larder_buffer value = { .data = text, .capacity = sizeof text };

	return larder_store_get(from, &key, 0, &value, NULL);
}

static struct larder_redis_node node(void)
{
	struct larder_redis_node found = { .size = sizeof found };

	assert_status(larder_redis_node(store, 0, &found), LARDER_OK);
	return found;
}

static void open_it(void)
{
	for (int i = 0; i < 3; i++)
		assert_status(get(store), LARDER_UNREACHABLE);
	cr_assert_neq(node().breaker, LARDER_REDIS_CLOSED);
}

static struct larder_redis_node seen_node;
static struct larder_redis_status seen_status;
static unsigned seen_count;

static bool see_node(const struct larder_redis_node *found, void *arg)
{
	seen_node = *found;
	seen_count++;
	return !arg;
}

static bool see_counters(const char *address, const struct larder_redis_status *status, void *arg)
{
	cr_assert_str_eq(address, node().address);
	seen_status = *status;
	return !arg;
}

Test(breaker, who_only_inspects_the_cache_sees_the_breaker_and_the_counters)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct larder *inspector = NULL;

	options.flags = LARDER_INSPECT;
	assert_status(larder_open_with(cache_name, &options, &inspector), LARDER_OK);
	assert_status(get(store), LARDER_MISS);
	assert_status(larder_redis_breakers(inspector, see_node, NULL), LARDER_OK);
	cr_assert_eq(seen_count, 1);
	cr_assert_str_eq(seen_node.address, node().address);
	cr_assert(seen_node.breaker == LARDER_REDIS_CLOSED && !seen_node.open_for_ms && !seen_node.retry_ms && !*seen_node.last);
	server_kill(&server);
	for (int i = 0; i < 2; i++)
		assert_status(get(store), LARDER_UNREACHABLE);
	usleep(30000);
	assert_status(larder_redis_breakers(inspector, see_node, NULL), LARDER_OK);
	cr_assert(seen_node.breaker == LARDER_REDIS_CLOSED && seen_node.window_failures == 2 && seen_node.window_ms >= 30);
	assert_status(get(store), LARDER_UNREACHABLE);
	usleep(30000);
	assert_status(larder_redis_breakers(inspector, see_node, inspector), LARDER_END);
	cr_assert(seen_node.breaker == LARDER_REDIS_OPEN && seen_node.opened == 1 && seen_node.failures == 3);
	cr_assert(seen_node.open_for_ms >= 30 && seen_node.open_for_ms < 60000, "%lu", (unsigned long)seen_node.open_for_ms);
	cr_assert(*seen_node.last);
	assert_status(larder_redis_counters(inspector, see_counters, NULL), LARDER_OK);
	cr_assert_geq(seen_status.connects_failed, 2);
	cr_assert(seen_status.shared);
	assert_status(larder_redis_breakers(NULL, see_node, NULL), LARDER_INVALID);
	larder_close(&inspector);
}

Test(breaker, opens_at_its_limit_and_then_fails_at_once)
{
	assert_status(get(store), LARDER_MISS);
	server_freeze(&server);
	open_it();
	unsigned slow = 0;
	for (int i = 0; i < 20; i++) {
		int64_t began = now_ms();
		assert_status(get(store), LARDER_UNREACHABLE);
		slow += now_ms() - began > 20;
	}
	cr_assert_leq(slow, 10, "%u of 20 calls waited", slow); /* now and then one tries, and a busy machine has its own */
	struct larder_redis_node now = node();
	cr_assert(now.refused >= 10 && now.opened >= 1, "%ju refused", (uintmax_t)now.refused);
	cr_assert(!strcmp(now.last, "timed out"), "%s", now.last);
}

Test(breaker, says_why_and_for_how_long)
{
	server_kill(&server);
	open_it();
	for (int i = 0; i < 100; i++) { /* but for one that tries */
		assert_status(get(store), LARDER_UNREACHABLE);
		if (strstr(larder_message(), "breaker is open"))
			break;
	}
	cr_assert(strstr(larder_message(), "breaker is open") && strstr(larder_message(), "refused"), "%s", larder_message());
}

/* How long it takes to close after an outage in which it has come to its longest back-off. */
static int64_t recovery_ms(void)
{
	server_kill(&server);
	open_it();
	for (int64_t end = now_ms() + 2500; now_ms() < end; usleep(1000))
		cr_assert_eq(get(store), LARDER_UNREACHABLE);
	server_restart(&server);
	int64_t began = now_ms();
	await(get(store) == LARDER_MISS, 5000);
	return now_ms() - began;
}

Test(breaker, closes_within_two_seconds_of_recovery)
{
	int64_t took = recovery_ms();

	for (int tries = 0; tries < 4 && took >= 2000; tries++) /* the machine may be busy with others */
		took = recovery_ms();
	cr_assert_lt(took, 2000);
	cr_assert_eq(node().breaker, LARDER_REDIS_CLOSED);
	assert_status(get(store), LARDER_MISS);
}

Test(breaker, opens_for_every_process_of_the_host)
{
	struct larder_redis_status status = { .size = sizeof status };

	assert_status(get(store), LARDER_MISS);
	server_kill(&server);
	pid_t child = fork();
	if (!child) {
		struct larder_store *own = open_shared();
		for (int i = 0; i < 3; i++)
			if (get(own) != LARDER_UNREACHABLE)
				_exit(1);
		_exit(0);
	}
	int ended;
	waitpid(child, &ended, 0);
	cr_assert_eq(ended, 0);
	cr_assert_eq(node().breaker, LARDER_REDIS_OPEN);
	assert_status(larder_redis_status(store, &status), LARDER_OK);
	cr_assert(status.shared && status.connects_failed + status.disconnects >= 3);
	larder_store_release(&store);
	store = open_shared();
	cr_assert_eq(node().failures, 3, "a store that is opened later finds it open, too");
}

/* Workers that call without a pause; their number of calls that got through to the server. */
static void hammer(pid_t children[], int count)
{
	for (int i = 0; i < count; i++) {
		children[i] = fork();
		cr_assert_geq(children[i], 0);
		if (children[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;; usleep(500))
			(void)get(store);
	}
}

static void end_all(pid_t children[], int count)
{
	for (int i = 0; i < count; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
}

Test(breaker, lets_one_process_try_at_a_time)
{
	pid_t children[4];

	server_freeze(&server);
	open_it();
	hammer(children, 4);
	usleep(300000);
	struct larder_redis_node before = node();
	int64_t began = now_ms();
	usleep(1500000);
	struct larder_redis_node after = node();
	int64_t took = now_ms() - began;
	end_all(children, 4);
	/* A probe lasts 50 ms, and at least 50 ms of back-off precede it; that of the fourth is 400 ms or more. */
	cr_assert_leq((int64_t)(after.probes - before.probes), took / 300 + 1, "%ju probes in %jd ms", (uintmax_t)(after.probes - before.probes),
			(intmax_t)took);
	cr_assert_geq(after.probes - before.probes, 1);
	cr_assert_gt(after.refused - before.refused, 50);
}

/* Ends or stops a prober in the middle of its probe; the next one has to get through all the same. */
static void lose_a_prober(int signal)
{
	server_freeze(&server);
	open_it();
	pid_t child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;; usleep(500))
			(void)get(store);
	}
	bool probing = false;
	await(probing || (probing = node().breaker == LARDER_REDIS_PROBING), 3000);
	cr_assert(probing);
	kill(child, signal);
	server_thaw(&server);
	int64_t began = now_ms();
	await(get(store) == LARDER_MISS, 5000);
	cr_assert_lt(now_ms() - began, 20000);
	cr_assert_eq(node().breaker, LARDER_REDIS_CLOSED);
	kill(child, SIGCONT);
	usleep(100000); /* the stopped one goes on with a probe that is nobody's any more */
	cr_assert_eq(node().breaker, LARDER_REDIS_CLOSED);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

Test(breaker, a_prober_that_is_killed_is_replaced)
{
	lose_a_prober(SIGKILL);
}

Test(breaker, a_prober_that_is_stopped_is_replaced_and_changes_nothing_later)
{
	lose_a_prober(SIGSTOP);
}

Test(breaker, a_health_check_closes_it_at_once)
{
	struct larder_health health;

	server_kill(&server);
	open_it();
	assert_status(larder_store_health(store, &health), LARDER_OK);
	cr_assert(!health.usable && health.last == LARDER_UNREACHABLE);
	server_restart(&server);
	assert_status(larder_store_health(store, &health), LARDER_OK);
	cr_assert(health.usable, "%s", health.text);
	assert_status(get(store), LARDER_MISS);
}

/* ---- The words themselves -------------------------------------------------------------------------------------------- */

static const struct breaker_options few = { .failures = 4, .window_ms = 60000, .least_ms = 40, .most_ms = 100, .probe_ms = 50 };

static bool call(struct breaker *breaker, bool good)
{
	struct breaker_pass pass;

	if (!breaker_enter(breaker, &pass))
		return false;
	breaker_leave(breaker, &pass, good, 1);
	return true;
}

Test(breaker_words, failures_among_many_successes_do_not_open_it)
{
	struct breaker breaker;

	breaker_make(&breaker, &few);
	for (int i = 0; i < 1000; i++)
		cr_assert(call(&breaker, i % 3 != 0), "call %d", i);
	cr_assert_eq(breaker_now(&breaker, NULL), BREAKER_IS_CLOSED);
}

Test(breaker_words, a_failure_that_was_never_counted_takes_one_more)
{
	struct breaker breaker;
	struct breaker_pass lost; /* of a process that dies in its call */

	breaker_make(&breaker, &few);
	cr_assert(breaker_enter(&breaker, &lost));
	for (int i = 0; i < 3; i++)
		cr_assert(call(&breaker, false));
	cr_assert_eq(breaker_now(&breaker, NULL), BREAKER_IS_CLOSED);
	cr_assert(call(&breaker, false));
	cr_assert_eq(breaker_now(&breaker, NULL), BREAKER_IS_OPEN);
}

Test(breaker_words, a_full_window_is_opened_by_the_next_failure)
{
	struct word words[BREAKER_WORDS] = { 0 };
	struct breaker breaker;

	breaker_make(&breaker, &few);
	breaker_share(&breaker, words);
	for (int i = 0; i < 3; i++)
		cr_assert(call(&breaker, false));
	store_hint(&words[BREAKER_WINDOW], load_hint(&words[BREAKER_WINDOW]) + (1u << 12)); /* the fourth, of one who died then */
	cr_assert_eq(breaker_now(&breaker, NULL), BREAKER_IS_CLOSED);
	cr_assert(call(&breaker, false));
	cr_assert_eq(breaker_now(&breaker, NULL), BREAKER_IS_OPEN);
}

Test(breaker_words, failures_of_another_window_do_not_count)
{
	struct breaker_options options = few;
	struct breaker breaker;

	options.window_ms = 10;
	breaker_make(&breaker, &options);
	for (int i = 0; i < 6; i++, usleep(8000))
		cr_assert(call(&breaker, false), "call %d", i);
}

Test(breaker_words, one_that_was_entered_before_it_opened_cannot_close_it)
{
	struct breaker_options options = few;
	struct breaker breaker;
	struct breaker_pass early;

	options.least_ms = options.most_ms = 600000; /* nobody tries meanwhile */
	breaker_make(&breaker, &options);
	cr_assert(breaker_enter(&breaker, &early));
	for (int i = 0; i < 4; i++)
		cr_assert(call(&breaker, false));
	cr_assert_not(call(&breaker, true));
	breaker_leave(&breaker, &early, true, 0);
	cr_assert_eq(breaker_now(&breaker, NULL), BREAKER_IS_OPEN);
}

Test(breaker_words, back_off_doubles_to_its_limit)
{
	struct breaker breaker;
	struct breaker_pass pass;
	int64_t next, last = 0;

	breaker_make(&breaker, &few);
	for (int i = 0; i < 4; i++)
		cr_assert(call(&breaker, false));
	for (int i = 0; i < 6; i++) {
		breaker_now(&breaker, &next);
		cr_assert(next <= few.most_ms && next <= (few.least_ms << (i ? i : 0)), "%d: %jd", i, (intmax_t)next);
		last = next;
		await(breaker_enter(&breaker, &pass), 1000);
		breaker_leave(&breaker, &pass, false, 1);
	}
	breaker_now(&breaker, &last);
	for (int i = 0; i < 50 && last < few.most_ms / 2 - 2; i++) { /* the machine may have let some of it pass */
		await(breaker_enter(&breaker, &pass), 1000);
		breaker_leave(&breaker, &pass, false, 1);
		breaker_now(&breaker, &last);
	}
	cr_assert_geq(last, few.most_ms / 2 - 2);
}

Test(breaker_words, a_moment_that_nobody_of_ours_wrote_does_not_keep_it_open)
{
	struct word words[BREAKER_WORDS] = { 0 };
	struct breaker breaker;

	breaker_make(&breaker, &few);
	breaker_share(&breaker, words);
	for (uint64_t state = 1; state < 4; state++) {
		store_hint(&words[BREAKER_STATE], state << 62 | UINT64_C(0xfffffffff0));
		cr_assert(call(&breaker, true), "state %ju", (uintmax_t)state);
		cr_assert_eq(breaker_now(&breaker, NULL), BREAKER_IS_CLOSED);
	}
}
