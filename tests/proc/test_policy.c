/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policies between real processes: a stampede of 64 that computes once, holders that are killed or stopped in the middle,
 * invalidations that come in between, and a quota that holds while those who set under it are killed.
 */
#include "scene.h"

#include <sys/mman.h>
#include <sys/prctl.h>

#include "larder/policy.h"

#define CROWD 64u

/* In memory that all of a test's processes see. */
struct board {
	unsigned loads, done, computed, stale, timed_out, at_work;
	unsigned wrong;       /* number of the first thing that was */
	uint64_t sets, slowest_ms;
	volatile bool stop;
};

static struct board *board;
static const char *path;
static struct larder *cache;

static void begin_with(uint64_t bytes, uint32_t participants)
{
	struct larder_options o = LARDER_OPTIONS_INIT;
	o.bytes = bytes;
	o.participants = participants;
	board = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(board, MAP_FAILED);
	path = scene_path("policy");
	assert_ok(larder_open_with(path, &o, &cache));
}
static void begin(void) { begin_with(UINT64_C(4) << 20, 128); }
static void finish(void)
{
	uint64_t faults = 0;
	assert_ok(larder_check(cache, NULL, NULL, &faults));
	cr_assert_eq(faults, 0);
	larder_close(&cache);
	(void)larder_destroy(path);
}

TestSuite(policy, .init = begin, .fini = finish, .timeout = 120);

static unsigned add(unsigned *to, unsigned n) { return __atomic_add_fetch(to, n, __ATOMIC_SEQ_CST); }
static unsigned get(unsigned *from) { return __atomic_load_n(from, __ATOMIC_SEQ_CST); }
static bool comes_to(unsigned *what, unsigned wanted)
{
	for (int64_t end = scene_now_ms() + SCENE_WAIT_MS; scene_now_ms() < end; sleep_us(200))
		if (get(what) >= wanted)
			return true;
	return false;
}

/* A process of its own, with a handle of its own, that dies with the test. */
static pid_t spawn(void (*play)(struct larder *own))
{
	pid_t child = fork();
	struct larder_options o = { .size = sizeof o, .flags = LARDER_ATTACH_ONLY };
	struct larder *own;
	cr_assert_geq(child, 0);
	if (child != 0)
		return child;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (larder_open_with(path, &o, &own) != LARDER_OK)
		_exit(200);
	play(own);
	larder_close(&own);
	_exit(0);
}
static void end(pid_t child)
{
	cr_assert_gt(child, 0);
	(void)kill(child, SIGKILL);
	cr_assert_eq(child_result(child), -SIGKILL);
}

static long load_ms;
static unsigned load_until_stale; /* and until so many had the stale value */
static enum larder_status load(void *arg, struct larder_loaded *loaded)
{
	(void)arg;
	add(&board->loads, 1);
	sleep_us(load_ms * 1000);
	if (!comes_to(&board->stale, load_until_stale))
		_exit(106);
	loaded->value = "computed";
	loaded->value_bytes = 8;
	return LARDER_OK;
}

static struct larder_compute_options how_to;
static void compute_once(struct larder *own)
{
	struct larder_computed how;
	char value[16];
	size_t n = 0;
	int64_t begun = scene_now_ms();
	enum larder_status status = larder_get_or_compute(own, 0, "page", 4, load, NULL, &how_to, value, sizeof value, &n, &how);
	if (status != LARDER_OK && status != LARDER_STALE)
		_exit(101);
	if (n != 8 || memcmp(value, status == LARDER_OK ? "computed" : "oldvalue", 8) != 0)
		_exit(102);
	add(&board->computed, how.computed);
	add(&board->timed_out, how.timed_out);
	add(&board->stale, status == LARDER_STALE);
	uint64_t took = (uint64_t)(scene_now_ms() - begun), slowest = board->slowest_ms;
	while (took > slowest && !__atomic_compare_exchange_n(&board->slowest_ms, &slowest, took, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

/* All of them at the same moment. */
static void compute_in_crowd(struct larder *own)
{
	(void)larder_exists(own, 0, "page", 4); /* a slot is taken before */
	add(&board->at_work, 1);
	while (get(&board->at_work) < CROWD)
		sleep_us(200);
	compute_once(own);
}

static void crowd(void (*play)(struct larder *))
{
	pid_t child[CROWD];
	for (unsigned i = 0; i < CROWD; i++)
		child[i] = spawn(play);
	for (unsigned i = 0; i < CROWD; i++)
		cr_assert_eq(child_result(child[i]), 0);
}

Test(policy, of_64_processes_that_miss_at_once_one_computes)
{
	how_to = (struct larder_compute_options)LARDER_COMPUTE_OPTIONS_INIT;
	how_to.wait_ms = 15000;
	load_ms = 100;
	crowd(compute_in_crowd);
	cr_assert(board->loads == 1 && board->computed == 1 && board->timed_out == 0, "%u loads", board->loads);
}

Test(policy, of_64_processes_one_refreshes_and_the_others_go_on_with_the_stale_value)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	how_to = (struct larder_compute_options)LARDER_COMPUTE_OPTIONS_INIT;
	how_to.flags = LARDER_COMPUTE_STALE;
	how_to.set.grace_ms = 60000;
	load_ms = 0;
	load_until_stale = CROWD - 1;
	o.ttl_ms = 1;
	o.grace_ms = 60000;
	assert_ok(larder_set_with(cache, 0, "page", 4, "oldvalue", 8, &o, NULL));
	sleep_us(50000);
	crowd(compute_in_crowd);
	cr_assert(board->loads == 1 && board->stale == CROWD - 1, "%u loads, %u stale", board->loads, board->stale);
}

/* ---- Holders that end in the middle ------------------------------------------------------------------------------------- */

static void hold_for_ever(struct larder *own)
{
	struct larder_lease lease;
	char value[16];
	struct larder_lease_options o = { .size = sizeof o, .flags = LARDER_ALLOW_STALE };
	(void)larder_lease(own, 0, "page", 4, &o, value, sizeof value, NULL, &lease);
	if (!lease.held)
		_exit(103);
	add(&board->at_work, 1);
	for (;;)
		(void)pause();
}

Test(policy, a_lease_of_a_killed_process_is_taken_over_at_once)
{
	how_to = (struct larder_compute_options)LARDER_COMPUTE_OPTIONS_INIT;
	how_to.wait_ms = 15000;
	how_to.hold_ms = 60000;
	load_ms = 0;
	for (unsigned round = 0; round < 10; round++) {
		pid_t holder = spawn(hold_for_ever);
		cr_assert(comes_to(&board->at_work, round + 1));
		pid_t waiter = spawn(compute_once);
		sleep_us(30000);
		cr_assert_eq(get(&board->computed), round, "it waits");
		int64_t killed = scene_now_ms();
		end(holder);
		cr_assert_eq(child_result(waiter), 0);
		cr_assert_lt(scene_now_ms() - killed, how_to.wait_ms, "by liveness, not by time");
		cr_assert_eq(get(&board->computed), round + 1);
		cr_assert_eq(larder_delete(cache, 0, "page", 4), LARDER_OK);
	}
	struct larder_stat stat;
	assert_ok(larder_stat(cache, &stat));
	cr_assert_eq(stat.leases_taken_over, 10);
	cr_assert_eq(board->timed_out, 0);
}

Test(policy, a_stopped_holder_delays_nobody_beyond_the_wait_and_cannot_set_after_its_time)
{
	how_to = (struct larder_compute_options)LARDER_COMPUTE_OPTIONS_INIT;
	how_to.wait_ms = 200;
	load_ms = 0;
	pid_t holder = spawn(hold_for_ever);
	cr_assert(comes_to(&board->at_work, 1));
	cr_assert_eq(kill(holder, SIGSTOP), 0);
	pid_t waiter[8];
	for (unsigned i = 0; i < 8; i++)
		waiter[i] = spawn(compute_once);
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(child_result(waiter[i]), 0);
	cr_assert(board->computed == 8 && board->timed_out == 8, "each for itself: %u", board->computed);
	cr_assert(board->slowest_ms >= 195 && board->slowest_ms < SCENE_WAIT_MS, "%lu ms", (unsigned long)board->slowest_ms);
	end(holder);
	pid_t next = spawn(compute_once);
	cr_assert_eq(child_result(next), 0);
	cr_assert_eq(board->timed_out, 8);
}

Test(policy, a_stale_value_comes_at_the_end_of_the_wait_where_the_holder_is_stopped)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	how_to = (struct larder_compute_options)LARDER_COMPUTE_OPTIONS_INIT;
	how_to.wait_ms = 100;
	o.ttl_ms = 1;
	o.grace_ms = 60000;
	assert_ok(larder_set_with(cache, 0, "page", 4, "oldvalue", 8, &o, NULL));
	sleep_us(50000);
	pid_t holder = spawn(hold_for_ever);
	cr_assert(comes_to(&board->at_work, 1));
	cr_assert_eq(kill(holder, SIGSTOP), 0);
	compute_once(cache);
	cr_assert(board->stale == 1 && board->timed_out == 1 && board->loads == 0);
	end(holder);
}

Test(policy, a_token_that_is_set_late_by_another_process_fails_after_an_invalidation)
{
	struct larder_lease lease;
	assert_ok(larder_lease(cache, 0, "page", 4, NULL, NULL, 0, NULL, &lease) == LARDER_MISS ? LARDER_OK : LARDER_INVALID);
	cr_assert(lease.held);
	pid_t child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) /* another process of this lease: the token is good in any hand */
		_exit(larder_delete(cache, 0, "page", 4) == LARDER_MISS
				&& larder_lease_set(cache, 0, "page", 4, "late", 4, NULL, lease.token, NULL) == LARDER_CHANGED ? 0 : 104);
	cr_assert_eq(child_result(child), 0);
	cr_assert_eq(larder_lease_set(cache, 0, "page", 4, "late", 4, NULL, lease.token, NULL), LARDER_CHANGED);
}

/* Computes and refreshes until it is killed, wherever it is then. */
static void compute_on(struct larder *own)
{
	static unsigned counter;
	how_to.set.ttl_ms = 1;
	how_to.set.grace_ms = 5;
	how_to.wait_ms = 1000;
	load_ms = 0;
	add(&board->at_work, 1);
	for (;;) {
		char value[16];
		enum larder_status status = larder_get_or_compute(own, 0, "page", 4, load, NULL, &how_to, value, sizeof value, NULL, NULL);
		if (status != LARDER_OK && status != LARDER_STALE)
			board->wrong = 105;
		if (++counter % 16 == 0)
			(void)larder_delete(own, 0, "page", 4);
	}
}

Test(policy, processes_that_are_killed_in_the_middle_of_leases_leave_nothing_that_blocks)
{
	how_to = (struct larder_compute_options)LARDER_COMPUTE_OPTIONS_INIT;
	for (unsigned round = 0; round < 30; round++) {
		pid_t child[4];
		for (unsigned i = 0; i < 4; i++)
			child[i] = spawn(compute_on);
		cr_assert(comes_to(&board->at_work, 4 * (round + 1)));
		sleep_us(3000 + round * 700);
		for (unsigned i = 0; i < 4; i++)
			end(child[i]);
		int64_t begun = scene_now_ms();
		how_to.wait_ms = 15000;
		char value[16];
		enum larder_status status = larder_get_or_compute(cache, 0, "page", 4, load, NULL, &how_to, value, sizeof value, NULL, NULL);
		cr_assert_eq(status, LARDER_OK);
		cr_assert_lt(scene_now_ms() - begun, how_to.wait_ms);
	}
	cr_assert_eq(board->wrong, 0);
}

/* ---- Quota ------------------------------------------------------------------------------------------------------------------ */

#define QUOTA UINT64_C(200000)
#define LARGEST 1200u

static uint32_t limited, others;

static void set_on(struct larder *own)
{
	unsigned char value[LARGEST];
	char key[32];
	unsigned seed = (unsigned)getpid();
	memset(value, 'q', sizeof value);
	add(&board->at_work, 1);
	while (!board->stop) {
		int n = snprintf(key, sizeof key, "k%u", (unsigned)rand_r(&seed) % 4000);
		size_t bytes = 50 + (unsigned)rand_r(&seed) % 1000;
		enum larder_status status = larder_set(own, limited, key, (size_t)n, value, bytes, LARDER_TTL_NONE);
		if (status != LARDER_OK)
			board->wrong = 106;
		__atomic_add_fetch(&board->sets, 1, __ATOMIC_RELAXED);
	}
}

static bool sum_bytes(const struct larder_entry *entry, void *arg)
{
	*(uint64_t *)arg += entry->stored_bytes;
	return true;
}
static void signal_all(const pid_t *child, unsigned count, int number)
{
	int status;
	for (unsigned i = 0; i < count; i++)
		cr_assert_eq(kill(child[i], number), 0);
	for (unsigned i = 0; i < count && number == SIGSTOP; i++)
		cr_assert(waitpid(child[i], &status, WUNTRACED) == child[i] && WIFSTOPPED(status));
}
static uint64_t stored_in(uint32_t ns)
{
	uint64_t bytes = 0;
	(void)larder_iterate(cache, ns, NULL, 0, 0, sum_bytes, &bytes);
	return bytes;
}

Test(policy, a_quota_holds_while_those_who_set_are_killed_and_others_lose_nothing)
{
	enum { SETTERS = 4, ROUNDS = 25 };
	pid_t child[SETTERS];
	char key[32], value[200] = "other";
	unsigned kept = 0, deaths = 0;
	uint64_t most = 0;
	assert_ok(larder_namespace(cache, "limited", &limited));
	assert_ok(larder_namespace(cache, "others", &others));
	assert_ok(larder_namespace_quota(cache, limited, QUOTA));
	for (unsigned i = 0; i < 5000; i++) { /* a quarter of the cache, which is not full: nothing of it has to go */
		int n = snprintf(key, sizeof key, "o%u", i);
		assert_ok(larder_set(cache, others, key, (size_t)n, value, sizeof value, LARDER_TTL_NONE));
		(void)larder_exists(cache, others, key, (size_t)n);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < SETTERS; i++)
			child[i] = spawn(set_on);
		cr_assert(comes_to(&board->at_work, SETTERS * (round + 1)));
		for (unsigned look = 0; look < 4; look++) {
			sleep_us(5000);
			signal_all(child, SETTERS, SIGSTOP); /* else the sum is of no one moment */
			uint64_t now = stored_in(limited);
			signal_all(child, SETTERS, SIGCONT);
			most = now > most ? now : most;
			cr_assert_leq(now, QUOTA + SETTERS * (uint64_t)LARGEST, "%lu bytes after %u deaths", (unsigned long)now, deaths);
		}
		for (unsigned i = 0; i < SETTERS; i++)
			end(child[i]);
		deaths += SETTERS;
	}
	board->stop = false;
	cr_assert_eq(board->wrong, 0);
	cr_assert_gt(board->sets, 10000);
	cr_assert_gt(stored_in(limited), QUOTA * 8 / 10 - deaths * LARGEST);
	for (unsigned i = 0; i < 5000; i++) {
		int n = snprintf(key, sizeof key, "o%u", i);
		kept += larder_exists(cache, others, key, (size_t)n) == LARDER_OK;
	}
	struct larder_stat stat;
	assert_ok(larder_stat(cache, &stat));
	cr_log_info("%lu sets, %lu drops, at most %lu bytes of %lu, %u of 5000 others kept", (unsigned long)board->sets,
			(unsigned long)stat.evictions_quota, (unsigned long)most, (unsigned long)QUOTA, kept);
	assert_ok(larder_namespace_quota(cache, limited, QUOTA)); /* counts anew */
	for (unsigned i = 0; i < 500; i++) {
		int n = snprintf(key, sizeof key, "z%u", i);
		assert_ok(larder_set(cache, limited, key, (size_t)n, value, sizeof value, LARDER_TTL_NONE));
	}
	cr_assert_leq(stored_in(limited), QUOTA, "after a recount the deaths are forgotten");
	cr_assert_eq(kept, 5000, "%u of 5000", kept);
}
