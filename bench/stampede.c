/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is a stampede like?  Many processes want a missing value at the same moment: how often is it computed, and when has
 * the last of them got it, if computing it takes 10 ms?  And: what does a value that is there cost by this way, against a get?
 */
#include <larder/policy.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define LOADER_MS 10
#define STAMPEDE_MAX 64u
#define HITS 200000u

/* Shared by those who want it. */
struct square {
	unsigned ready, round, done, loads, failures;
	uint64_t begin_ns, last_ns;
};

static struct square *square;

static unsigned up(unsigned *n) { return __atomic_add_fetch(n, 1, __ATOMIC_SEQ_CST); }
static unsigned now_at(unsigned *n) { return __atomic_load_n(n, __ATOMIC_SEQ_CST); }

static void doze(long us)
{
	struct timespec time = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&time, NULL);
}

static enum larder_status compute(void *arg, struct larder_loaded *loaded)
{
	(void)arg;
	up(&square->loads);
	doze(LOADER_MS * 1000);
	loaded->value = "computed";
	loaded->value_bytes = 8;
	return LARDER_OK;
}

static void want(struct larder *cache, unsigned rounds)
{
	char key[32], value[16];
	size_t length;

	(void)larder_exists(cache, 0, "x", 1);
	for (unsigned round = 1; round <= rounds; round++) {
		int bytes = snprintf(key, sizeof key, "page %u", round);

		up(&square->ready);
		while (now_at(&square->round) < round)
			doze(20);
		if (larder_get_or_compute(cache, 0, key, (size_t)bytes, compute, NULL, NULL, value, sizeof value, &length, NULL) != LARDER_OK)
			up(&square->failures);
		uint64_t now = bench_now_ns(), last = __atomic_load_n(&square->last_ns, __ATOMIC_SEQ_CST);
		while (now > last && !__atomic_compare_exchange_n(&square->last_ns, &last, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		up(&square->done);
	}
	_exit(0);
}

/* One stampede; false if they do not all come through it. */
static bool stampede(unsigned processes, unsigned round, double *ms)
{
	for (unsigned waited = 0; now_at(&square->ready) < processes * round; waited++, doze(1000))
		if (waited > 20000 || bench_interrupted())
			return false;
	doze(5000); /* until they are asleep */
	square->begin_ns = bench_now_ns();
	up(&square->round);
	for (unsigned waited = 0; now_at(&square->done) < processes * round; waited++, doze(1000))
		if (waited > 20000 || bench_interrupted())
			return false;
	*ms = (double)(square->last_ns - square->begin_ns) / 1e6;
	return true;
}

static int run_many(struct larder *cache, unsigned processes, unsigned rounds, struct report *report)
{
	pid_t child[STAMPEDE_MAX];
	double ms[64];
	unsigned round = 0, begun = 0;

	*square = (struct square){ .ready = 0 };
	for (; begun < processes; begun++) {
		child[begun] = fork();
		if (child[begun] < 0)
			break;
		if (child[begun] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			want(cache, rounds);
		}
	}
	while (begun == processes && round < rounds && stampede(processes, round + 1, &ms[round]))
		round++;
	for (unsigned i = 0; i < begun; i++) {
		if (round < rounds)
			kill(child[i], SIGKILL);
		waitpid(child[i], NULL, 0);
	}
	if (round < rounds || square->failures != 0) {
		bench_complain("stampede: %u of %u processes, %u of %u rounds, %u failures", begun, processes, round, rounds, square->failures);
		return -1;
	}
	report_row(report);
	report_number(report, "processes", processes, 0);
	report_number(report, "computations each time", (double)square->loads / rounds, 2);
	report_number(report, "ms until all have it", bench_median(ms, rounds), 1);
	(void)larder_flush(cache, 0);
	return 0;
}

static double hit_ns(struct larder *cache, bool by_get)
{
	char value[16];
	size_t length;
	uint64_t begin = bench_now_ns();

	for (unsigned i = 0; i < HITS; i++) {
		if (by_get)
			(void)larder_get(cache, 0, "page", 4, value, sizeof value, &length);
		else
			(void)larder_get_or_compute(cache, 0, "page", 4, compute, NULL, NULL, value, sizeof value, &length, NULL);
	}
	return (double)(bench_now_ns() - begin) / HITS;
}

static void compare_hits(struct larder *cache, unsigned rounds, struct report *report)
{
	double get[64], whole[64];

	(void)larder_set(cache, 0, "page", 4, "computed", 8, LARDER_TTL_NONE);
	for (unsigned r = 0; r < rounds; r++) {
		get[r] = hit_ns(cache, true);
		whole[r] = hit_ns(cache, false);
	}
	report_section(report, "hits", "one process, one key that is there");
	report_row(report);
	report_number(report, "ns per get", bench_median(get, rounds), 1);
	report_number(report, "ns per get_or_compute", bench_median(whole, rounds), 1);
}

int stampede_run(const struct bench_options *options, struct report *report)
{
	static const unsigned counts[] = { 2, 8, 32, STAMPEDE_MAX };
	struct larder_options o = LARDER_OPTIONS_INIT;
	unsigned rounds = options->rounds < 64 ? options->rounds : 64;
	struct larder *cache;
	char name[64];
	int result = 0;

	square = mmap(NULL, sizeof *square, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(name, sizeof name, "bench.%d.stampede", (int)getpid());
	o.flags = LARDER_EXCLUSIVE;
	o.participants = 128;
	if (square == MAP_FAILED || larder_open_with(name, &o, &cache) < 0) {
		bench_complain("stampede: %s", larder_message());
		return -1;
	}
	report_section(report, "stampede", "processes that miss one key at the same moment; computing its value takes %d ms", LOADER_MS);
	for (unsigned i = 0; i < sizeof counts / sizeof counts[0] && result == 0; i++) {
		bench_progress("stampede: %u processes", counts[i]);
		result = run_many(cache, counts[i], rounds, report);
	}
	if (result == 0)
		compare_hits(cache, rounds, report);
	bench_progress_end();
	larder_close(&cache);
	larder_destroy(name);
	munmap(square, sizeof *square);
	return result;
}
