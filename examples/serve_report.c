/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What came of it: the tallies of all workers in one, latencies from histograms of 16 steps to each power of two (so a
 * quantile is at most 6 % too high), and the verdict.
 */
#include "serve.h"

#include <inttypes.h>

#define STEPS 16u

void hit_count(struct tally *tally, uint64_t ns)
{
	uint64_t bucket = ns;

	if (ns >= STEPS) {
		unsigned power = 63u - (unsigned)__builtin_clzll(ns);
		bucket = (power - 3) * STEPS + ((ns >> (power - 4)) & (STEPS - 1));
	}
	_Atomic uint32_t *count = &tally->hit_ns[bucket < BUCKETS ? bucket : BUCKETS - 1];
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* The upper end of a bucket. */
static double bucket_ns(unsigned bucket)
{
	if (bucket < STEPS)
		return bucket + 1;
	return (double)((uint64_t)(STEPS + bucket % STEPS + 1) << (bucket / STEPS - 1));
}

static double quantile_ns(const struct board *board, unsigned workers, double quantile)
{
	uint64_t sums[BUCKETS] = { 0 }, all = 0, seen = 0;

	for (unsigned w = 0; w < workers; w++)
		for (unsigned i = 0; i < BUCKETS; i++)
			sums[i] += board->tallies[w].hit_ns[i];
	for (unsigned i = 0; i < BUCKETS; i++)
		all += sums[i];
	for (unsigned i = 0; i < BUCKETS; i++)
		if ((double)(seen += sums[i]) >= quantile * (double)all)
			return bucket_ns(i);
	return 0;
}

static struct tally board_sum(const struct board *board, unsigned workers)
{
	struct tally sum = { 0 };

	for (unsigned w = 0; w < workers; w++) {
		const struct tally *tally = &board->tallies[w];
		sum.hits += tally->hits;
		sum.misses += tally->misses;
		sum.fills += tally->fills;
		sum.changed += tally->changed;
		sum.torn += tally->torn;
		sum.refused += tally->refused;
		sum.blocked += tally->blocked;
		sum.served_bytes += tally->served_bytes;
		if (tally->last_refusal)
			sum.last_refusal = tally->last_refusal;
		if (tally->slowest_ns > sum.slowest_ns)
			sum.slowest_ns = tally->slowest_ns;
		if (tally->slowest_unexplained_ns > sum.slowest_unexplained_ns)
			sum.slowest_unexplained_ns = tally->slowest_unexplained_ns;
	}
	return sum;
}

uint64_t board_operations(const struct board *board, unsigned workers)
{
	struct tally sum = board_sum(board, workers);

	return sum.hits + sum.misses + sum.fills + sum.refused;
}

double board_hit_rate(const struct board *board, unsigned workers)
{
	struct tally sum = board_sum(board, workers);

	return sum.hits ? 100 * (double)sum.hits / (double)(sum.hits + sum.misses) : 0;
}

static const char *phase_name(enum phase phase)
{
	switch (phase) {
	case IN_GET: return "in the middle of a get";
	case READING_IN_PLACE: return "while it read a value in place";
	case IN_SET: return "in the middle of a set";
	case OUTSIDE: break;
	}
	return "between two calls";
}

static double mebibytes(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static void print_files(const struct outcome *outcome, const struct corpus *corpus)
{
	printf("  files      %zu of %.1f MiB", corpus->count, mebibytes(corpus->bytes));
	if (corpus->left_out)
		printf(", of %zu in all", corpus->count + corpus->left_out + corpus->too_large + corpus->unreadable);
	if (corpus->too_large)
		printf("; %zu above %.1f MiB skipped", corpus->too_large, mebibytes(outcome->file_max_bytes));
	if (corpus->unreadable)
		printf("; %zu unreadable", corpus->unreadable);
	printf("\n");
}

static void print_speed(const struct outcome *outcome, const struct board *board, const struct tally *sum)
{
	uint64_t operations = sum->hits + sum->misses + sum->fills + sum->refused;

	printf("  operations %" PRIu64 ", that is %.0f per second, %.2f GB per second read and checked\n", operations,
			(double)operations / outcome->seconds, (double)sum->served_bytes / outcome->seconds / 1e9);
	printf("  hit rate   %.1f %%\n", board_hit_rate(board, outcome->workers));
	printf("  hits       p50 %.2f us, p99 %.2f us, p99.9 %.2f us\n",
			quantile_ns(board, outcome->workers, 0.5) / 1e3, quantile_ns(board, outcome->workers, 0.99) / 1e3,
			quantile_ns(board, outcome->workers, 0.999) / 1e3);
}

static void print_dangers(const struct outcome *outcome, const struct tally *sum)
{
	const struct incident *killed = &outcome->killed, *stopped = &outcome->stopped;

	printf("  killed     worker %u (pid %d) after %.1f s, %s\n", killed->worker, (int)killed->pid, killed->at_s,
			phase_name(killed->phase));
	printf("  stopped    worker %u (pid %d) after %.1f s, %s, for %.1f s; continued, it did %" PRIu64
			" operations more\n", stopped->worker, (int)stopped->pid, stopped->at_s, phase_name(stopped->phase),
			stopped->lasted_s, stopped->done_after);
	printf("  survivors  %u of %u went on to the end\n", outcome->survivors, outcome->workers - 1);
	printf("  torn       %" PRIu64 " values did not have the digest of their file\n", sum->torn);
	printf("  blocked    %" PRIu64 " calls took more than 50 ms, but for preemption", sum->blocked);
	if (sum->blocked)
		printf(" (the slowest %.1f ms)", (double)sum->slowest_unexplained_ns / 1e6);
	printf("\n  refused    %" PRIu64 " calls failed", sum->refused);
	if (sum->refused)
		printf(" (the last: %s)", larder_strerror((enum larder_status)sum->last_refusal));
	printf("\n");
	if (sum->changed)
		printf("  changed    %" PRIu64 " times a file was no longer what it was at first, and was not cached\n",
				sum->changed);
	printf("  afterwards %" PRIu64 " files in the cache, each read once more: %" PRIu64 " wrong; larder_check: %" PRIu64
			" faults\n", outcome->kept, outcome->kept_wrong, outcome->faults);
}

bool report_print(const struct outcome *outcome, const struct corpus *corpus, const struct board *board)
{
	struct tally sum = board_sum(board, outcome->workers);
	bool good = !sum.torn && !sum.blocked && !sum.refused && !outcome->kept_wrong && !outcome->faults && sum.hits &&
			outcome->kept && outcome->survivors == outcome->workers - 1 && outcome->stopped.done_after;

	printf("\n%u processes served %s for %.1f s out of one cache of %.0f MiB, \"%s\"\n\n", outcome->workers,
			outcome->directory, outcome->seconds, mebibytes(outcome->cache_bytes), outcome->cache_name);
	print_files(outcome, corpus);
	print_speed(outcome, board, &sum);
	print_dangers(outcome, &sum);
	printf("\n%s\n", good ? "All is well." : "THIS IS NOT WELL: see above.");
	return good;
}
