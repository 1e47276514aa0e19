/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Metrics under real deaths: sums are what the workers noted, but for one count of each that was killed between counting and noting.
 */
#include <sys/mman.h>

#include "scene.h"

#include "cache/call.h"
#include "cache/monitor.h"
#include "shm/hot.h"

#define WORKERS 4u
#define KILLS 300u

/* What the workers know, in memory of their own: written after each count. */
struct notes {
	struct word hits[WORKERS], recorded[WORKERS], timed_ns[WORKERS], sets[WORKERS];
};

struct sums {
	uint64_t hits, recorded, timed, sum_ns;
};

static struct larder *cache;
static struct notes *notes;
static const char *path;

static void open_all(void)
{
	struct larder_options o = small_cache();

	path = scene_path("metrics");
	o.bytes = 4 << 20;
	o.instrument_bytes = 128 << 10;
	o.participants = 64;
	cr_assert_eq(larder_open_with(path, &o, &cache), LARDER_OK, "%s", larder_message());
	notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(notes, MAP_FAILED);
}

static void close_all(void)
{
	uint64_t faults;

	cr_assert_eq(larder_check(cache, NULL, NULL, &faults), LARDER_OK);
	cr_assert_eq(faults, 0);
	larder_close(&cache);
	cr_assert_eq(larder_destroy(path), LARDER_OK);
}

TestSuite(metrics, .init = open_all, .fini = close_all);

/* Counts and notes for ever, each time one of each kind. */
static _Noreturn void work(unsigned who)
{
	const struct series_labels labels = { "shm", "users", "get", NULL, 0 };
	struct series_table t;
	struct series s;

	series_of_region(&cache->region, &t);
	if (series_find(&t, &labels, true, &s) != LARDER_OK)
		_exit(1);
	for (uint64_t n = 0;; n++) {
		series_count(&s, SERIES_HITS, 1);
		bump_own(&notes->hits[who], 1);
		if (larder_monitor_record(cache, "render", "disk", "", true, 1000 + n % 1000, NULL, 0) != LARDER_OK)
			_exit(2);
		bump_own(&notes->recorded[who], 1);
		bump_own(&notes->timed_ns[who], 1000 + n % 1000);
		if (larder_set(cache, 0, &n, sizeof n, "value", 5, 0) != LARDER_OK)
			_exit(3);
		bump_own(&notes->sets[who], 1);
	}
}

static bool add_up(const struct larder_metric *m, void *arg)
{
	struct sums *sums = arg;

	sums->hits += m->hits;
	sums->recorded += m->recorded;
	sums->timed += m->timed;
	sums->sum_ns += m->sum_ns;
	return true;
}

static struct sums sums_now(struct larder *of)
{
	struct sums sums = { 0 };

	cr_assert_eq(larder_metrics(of, add_up, &sums), LARDER_OK);
	return sums;
}

static uint64_t noted(const struct word words[WORKERS])
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < WORKERS; i++)
		sum += load_hint(&words[i]);
	return sum;
}

static pid_t begin(unsigned who)
{
	pid_t child = fork();

	if (child == 0)
		work(who);
	cr_assert_gt(child, 0);
	return child;
}

static void end(pid_t child)
{
	int status;

	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "a worker ended by itself: %d", WEXITSTATUS(status));
}

Test(metrics, sums_are_exact_over_workers_that_were_killed_but_for_one_count_each)
{
	pid_t child[WORKERS];
	unsigned seed = (unsigned)time(NULL);

	cr_log_info("seed %u", seed);
	for (unsigned i = 0; i < WORKERS; i++)
		child[i] = begin(i);
	for (unsigned kills = 0; kills < KILLS; kills++) {
		unsigned who = (unsigned)rand_r(&seed) % WORKERS;
		sleep_us(rand_r(&seed) % 5000);
		end(child[who]);
		child[who] = begin(who);
	}
	sleep_us(20000);
	for (unsigned i = 0; i < WORKERS; i++)
		end(child[i]);
	struct sums sums = sums_now(cache);
	struct larder_stat stat;
	cr_assert_eq(larder_stat(cache, &stat), LARDER_OK);
	uint64_t deaths = KILLS + WORKERS;
	uint64_t hits = noted(notes->hits), recorded = noted(notes->recorded), sets = noted(notes->sets);
	cr_log_info("%lu hits, %lu recorded, %lu sets, over by %lu, %lu, %lu", hits, recorded, sets, sums.hits - hits, sums.recorded - recorded,
			stat.sets - sets);
	cr_assert_gt(hits, 10 * deaths);
	cr_assert(sums.hits >= hits && sums.hits <= hits + deaths, "%lu of %lu", sums.hits, hits);
	cr_assert(sums.recorded >= recorded && sums.recorded <= recorded + deaths, "%lu of %lu", sums.recorded, recorded);
	cr_assert(sums.timed >= recorded && sums.timed <= sums.recorded, "%lu of %lu", sums.timed, recorded);
	cr_assert(stat.sets >= sets && stat.sets <= sets + deaths, "%lu of %lu", stat.sets, sets);
	uint64_t ns = noted(notes->timed_ns);
	cr_assert(sums.sum_ns + deaths * 2000 >= ns && sums.sum_ns <= ns + deaths * 2000, "%lu of %lu", sums.sum_ns, ns);
	cr_assert_eq(stat.participants_alive, 0);
}

/* Of a cache whose workers are all gone, and while they come and go: every sample is one that could be true. */
Test(metrics, an_inspector_sees_sums_grow_while_workers_die)
{
	struct larder_options o = { .size = sizeof o, .flags = LARDER_INSPECT };
	struct larder *inspector;
	pid_t child[WORKERS];
	struct sums before = { 0 };

	cr_assert_eq(larder_open_with(path, &o, &inspector), LARDER_OK, "%s", larder_message());
	for (unsigned i = 0; i < WORKERS; i++)
		child[i] = begin(i);
	for (unsigned i = 0; i < 200; i++) {
		struct sums now = sums_now(inspector);
		cr_assert(now.hits >= before.hits && now.recorded >= before.recorded && now.timed >= before.timed && now.sum_ns >= before.sum_ns);
		before = now;
		end(child[i % WORKERS]);
		child[i % WORKERS] = begin(i % WORKERS);
		sleep_us(1000);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		end(child[i]);
	cr_assert_eq(sums_now(inspector).hits, sums_now(cache).hits);
	larder_close(&inspector);
}

/* Stopped in the middle of whatever they do, they hold back nobody's counting. */
Test(metrics, stopped_workers_delay_no_count)
{
	pid_t child[WORKERS];
	struct sums before, after;
	int64_t slowest_ms = 0;

	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < WORKERS; i++)
			child[i] = begin(i);
		sleep_us(3000);
		for (unsigned i = 0; i < WORKERS; i++)
			cr_assert_eq(kill(child[i], SIGSTOP), 0);
		before = sums_now(cache);
		for (unsigned i = 0; i < 1000; i++) {
			int64_t began = scene_now_ms();
			cr_assert_eq(larder_monitor_record(cache, "render", "disk", "", true, 1, NULL, 0), LARDER_OK);
			hot_see(&cache->region, 1, i % 7 * UINT64_C(0x9e3779b97f4a7c15), 0, &i, 1);
			int64_t took = scene_now_ms() - began;
			slowest_ms = took > slowest_ms ? took : slowest_ms;
		}
		after = sums_now(cache);
		cr_assert(after.recorded == before.recorded + 1000 && after.hits == before.hits);
		for (unsigned i = 0; i < WORKERS; i++)
			end(child[i]);
	}
	cr_assert_lt(slowest_ms, 10000); /* the stopped ones stay stopped for as long as it takes */
}
