/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long does one operation take?  Two questions, both with every operation timed by itself between fences:
 *
 *   latency   gets and sets one after the other, caches as warm as the traffic keeps them
 *   isolated  gets that find neither of their lines in any cache: between groups of 120, memory twice the size of the
 *             last-level cache is read
 *
 * These are passes of their own: the fences cost more than they measure, so no throughput is taken from them.  What the
 * stopwatch itself takes is subtracted.  Blocks of 64 operations during which the scheduler gave the processor to
 * another program are left out; the samples that remain are what is counted.
 */
#include <string.h>

#include "crew.h"

#define PASSES_MAX 16u

static void tell(struct report *report, const char *peer, const struct histogram *latency,
		const struct histogram *limit)
{
	static const struct {
		const char *name;
		double part;
	} points[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p99.9", 0.999 }, { "p99.99", 0.9999 } };

	report_row(report);
	report_text(report, "peer", "%s", peer);
	for (unsigned i = 0; i < sizeof points / sizeof points[0]; i++)
		report_number(report, points[i].name, histogram_quantile(latency, points[i].part), 0);
	report_number(report, "max", (double)latency->max, 0);
	report_number(report, "samples", (double)latency->count, 0);
	if (limit && limit->count) {
		report_number(report, "p50 x limit", histogram_quantile(latency, 0.5) / histogram_quantile(limit, 0.5),
				3);
		report_number(report, "p99.9 x limit", histogram_quantile(latency, 0.999) / histogram_quantile(limit,
				0.999), 3);
	}
}

/* Rounds of one order, all samples of a peer in one histogram. */
static int pass(struct crews *crews, const struct bench_options *options, const struct crew_order *order,
		const char *name, struct report *report)
{
	static struct histogram latencies[PASSES_MAX];
	int limit = crews_find(crews, "limit");
	struct crew_result result;

	memset(latencies, 0, sizeof latencies);
	for (unsigned round = 0; round < options->rounds && !bench_interrupted(); round++) {
		bench_progress("%s: round %u of %u", name, round + 1, options->rounds);
		for (unsigned i = 0; i < crews->count; i++)
			if (crew_do(crews->all[i], order, &result) == 0)
				histogram_merge(&latencies[i], &result.latency);
	}
	bench_progress_end();
	if (bench_interrupted())
		return -1;
	report_section(report, name, "ns of single operations, uniform; %llu keys of %u B, values of %u B",
			(unsigned long long)options->keys, options->key_bytes, options->value_bytes);
	for (unsigned i = 0; i < crews->count; i++)
		if (latencies[i].count)
			tell(report, crew_kind(crews->all[i])->name, &latencies[i], limit < 0 ? NULL
					: &latencies[limit]);
	return 0;
}

static int with_crews(const struct bench_options *options, struct report *report,
		int (*measure)(struct crews *, const struct bench_options *, struct report *))
{
	const struct shape shape = {
		.keys = options->keys, .key_bytes = options->key_bytes, .value_bytes = options->value_bytes,
		.workers = 1,
		.huge = options->huge,
	};
	struct key_stream stream = { 0 };
	struct crew_supply supply = { .streams = &stream, .stream_count = 1, .scale = tick_calibrate() };
	struct crews crews = { .count = 0 };
	int result = supply_sweep(&supply);

	if (result == 0)
		result = stream_make(&stream, 2000000, shape.keys, 0, shape.key_bytes, 0, options->seed);
	if (result == 0)
		result = crews_hire(&crews, options, &shape, &supply, NULL);
	if (result == 0)
		result = measure(&crews, options, report);
	crews_dismiss(&crews);
	stream_free(&stream);
	return result;
}

static int measure_latency(struct crews *crews, const struct bench_options *options, struct report *report)
{
	struct crew_order order = { .act = ACT_LATENCY_GET, .workers = 1,
			.burst_ns = (uint64_t)options->burst_ms * 1000000 };

	if (pass(crews, options, &order, "latency-get", report) < 0)
		return -1;
	order.act = ACT_LATENCY_SET;
	return pass(crews, options, &order, "latency-set", report);
}

static int measure_isolated(struct crews *crews, const struct bench_options *options, struct report *report)
{
	const struct crew_order order = { .act = ACT_ISOLATED, .workers = 1, .count = 2400 };

	return pass(crews, options, &order, "isolated", report);
}

int latency_run(const struct bench_options *options, struct report *report)
{
	return with_crews(options, report, measure_latency);
}

int isolated_run(const struct bench_options *options, struct report *report)
{
	return with_crews(options, report, measure_isolated);
}
