/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does one hot counter cost, and is it exact?  All workers increment the same key; at the end the counter must be
 * the number of increments that were answered with success, no more and no fewer.
 */
#include <string.h>

#include "crew.h"

struct tally {
	uint64_t ops, failures, sum;
	double ns[64], cpu[64], rate[64];
	unsigned rounds;
};

static void round_of(struct crew *crew, const struct bench_options *options, unsigned workers, struct tally *tally)
{
	const struct crew_order order = {
		.act = ACT_INCR, .workers = workers, .burst_ns = (uint64_t)options->burst_ms * 1000000,
	};
	struct crew_result result;

	if (tally->rounds == 64 || crew_do(crew, &order, &result) < 0)
		return;
	tally->ops += result.ops;
	tally->failures += result.failures;
	tally->sum = result.check > tally->sum ? result.check : tally->sum;
	tally->ns[tally->rounds] = (double)result.ns / (double)result.ops;
	tally->cpu[tally->rounds] = (double)result.cpu_ns / (double)result.ops;
	tally->rate[tally->rounds++] = result.rate;
}

/* The last sum any worker saw is the highest, since every one of them adds. */
static int tell(struct report *report, const char *peer, struct tally *tally)
{
	bool exact = tally->sum == tally->ops - tally->failures;

	report_row(report);
	report_text(report, "peer", "%s", peer);
	report_number(report, "ns", bench_median(tally->ns, tally->rounds), 1);
	report_number(report, "cpu ns", bench_median(tally->cpu, tally->rounds), 1);
	report_number(report, "M/s total", bench_median(tally->rate, tally->rounds) / 1e6, 3);
	report_number(report, "increments", (double)(tally->ops - tally->failures), 0);
	report_number(report, "counter", (double)tally->sum, 0);
	report_text(report, "exact", "%s", exact ? "yes" : "NO");
	if (!exact)
		bench_complain("%s: the counter is off by %lld", peer,
				(long long)(tally->sum - (tally->ops - tally->failures)));
	return exact ? 0 : -1;
}

static int measure(struct crews *crews, const struct bench_options *options, unsigned workers, struct tally *tallies,
		struct report *report)
{
	int result = 0;

	for (unsigned i = 0; i < crews->count; i++)
		tallies[i].rounds = 0;
	for (unsigned round = 0; round < options->rounds && !bench_interrupted(); round++) {
		bench_progress("counters, %u at once: round %u of %u", workers, round + 1, options->rounds);
		for (unsigned i = 0; i < crews->count; i++)
			if (crew_kind(crews->all[i])->incr)
				round_of(crews->all[i], options, workers, &tallies[i]);
	}
	bench_progress_end();
	report_section(report, "counters", "increments of one key; %u worker%s; counts are of the run so far", workers,
			workers > 1 ? "s" : "");
	for (unsigned i = 0; i < crews->count; i++)
		if (tallies[i].rounds)
			result |= tell(report, crew_kind(crews->all[i])->name, &tallies[i]);
	return bench_interrupted() ? -1 : result;
}

int counters_run(const struct bench_options *options, struct report *report)
{
	const struct shape shape = {
		.keys = 1000, .key_bytes = options->key_bytes, .value_bytes = options->value_bytes,
		.workers = bench_workers(options),
	};
	const struct crew_supply supply = { .scale = tick_calibrate() };
	static struct tally tallies[16];
	struct crews crews = { .count = 0 };
	int result;

	memset(tallies, 0, sizeof tallies);
	result = crews_hire(&crews, options, &shape, &supply, "limit,larder,memcached,redis");
	for (unsigned p = 0; p < options->process_counts && result == 0; p++)
		result = measure(&crews, options, options->processes[p], tallies, report);
	crews_dismiss(&crews);
	return result;
}
