/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast, against what memory allows and against others?  The throughput workloads.
 *
 * All peers are loaded, then for each workload: round after round, peer after peer, one burst each. What is reported
 * is the median over rounds, and the median over rounds of ratios taken within one round, so that what disturbs the
 * machine for a while disturbs both sides of a ratio.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crew.h"

enum stream_number { STREAM_UNIFORM, STREAM_ZIPF, STREAM_ZIPF_95, STREAM_ZIPF_50, STREAM_COUNT };
enum speed_shape { SHAPE_DEFAULT, SHAPE_1K, SHAPE_10M, SHAPE_COUNT };

struct workload {
	const char *name, *text;
	enum speed_shape shape;
	enum crew_act act;
	enum stream_number stream;
	unsigned batch;
	bool writes;
};

static const struct workload workloads[] = {
	{ "get", "gets, uniform", SHAPE_DEFAULT, ACT_GET, STREAM_UNIFORM, 0, false },
	{ "get-zipf", "gets, zipf 0.99", SHAPE_DEFAULT, ACT_GET, STREAM_ZIPF, 0, false },
	{ "mix-95", "95 % gets, 5 % sets, zipf 0.99", SHAPE_DEFAULT, ACT_MIX, STREAM_ZIPF_95, 0, true },
	{ "mix-50", "half gets, half sets, zipf 0.99", SHAPE_DEFAULT, ACT_MIX, STREAM_ZIPF_50, 0, true },
	{ "set", "sets of present keys, uniform", SHAPE_DEFAULT, ACT_SET, STREAM_UNIFORM, 0, true },
	{ "batch-16", "gets in batches of 16, uniform; per key", SHAPE_DEFAULT, ACT_BATCH, STREAM_UNIFORM, 16, false },
	{ "batch-32", "gets in batches of 32, uniform; per key", SHAPE_DEFAULT, ACT_BATCH, STREAM_UNIFORM, 32, false },
	{ "get-1k", "gets of 1 KiB values, uniform", SHAPE_1K, ACT_GET, STREAM_UNIFORM, 0, false },
	{ "set-1k", "sets of 1 KiB values, uniform", SHAPE_1K, ACT_SET, STREAM_UNIFORM, 0, true },
	{ "get-10m", "gets out of 10 M keys, uniform", SHAPE_10M, ACT_GET, STREAM_UNIFORM, 0, false },
	{ "set-10m", "sets of 10 M keys, uniform", SHAPE_10M, ACT_SET, STREAM_UNIFORM, 0, true },
};
#define WORKLOADS (sizeof workloads / sizeof workloads[0])
#define ROUNDS_MAX 1000u

int speed_find(const char *name)
{
	for (unsigned i = 0; i < WORKLOADS; i++)
		if (strcmp(workloads[i].name, name) == 0)
			return (int)i;
	return -1;
}

void speed_list(void)
{
	for (unsigned i = 0; i < WORKLOADS; i++)
		printf("  %-12s %s\n", workloads[i].name, workloads[i].text);
}

/* ---- one workload ---- */

struct series {
	double ns[ROUNDS_MAX]; /* of one operation of one worker, by round; 0: not measured */
	double cpu[ROUNDS_MAX]; /* of it, on a processor */
	double rate[ROUNDS_MAX];
	uint64_t ops, hits, sets, failures;
};

/* A private peer at two processes, or one that cannot be written by two, has nothing to say. */
static bool takes_part(const struct crew *crew, const struct workload *workload, unsigned workers)
{
	const struct peer_kind *kind = crew_kind(crew);

	if (workers > crew_size(crew) || (workload->act == ACT_BATCH && !kind->mget))
		return false;
	return !(kind->one_writer && workload->writes && workers > 1);
}

static void one_burst(struct crew *crew, const struct workload *workload, const struct bench_options *options,
		unsigned workers, unsigned round, struct series *series)
{
	const struct crew_order order = {
		.act = workload->act, .stream = workload->stream, .batch = workload->batch, .workers = workers,
		.burst_ns = (uint64_t)options->burst_ms * 1000000,
	};
	struct crew_result result;

	series->ns[round] = series->cpu[round] = series->rate[round] = 0;
	if (!takes_part(crew, workload, workers) || crew_do(crew, &order, &result) < 0 || result.ops == 0)
		return;
	series->ns[round] = (double)result.ns / (double)result.ops;
	series->cpu[round] = (double)result.cpu_ns / (double)result.ops;
	series->rate[round] = result.rate;
	series->ops += result.ops;
	series->hits += result.hits;
	series->sets += result.sets;
	series->failures += result.failures;
}

/* Median over the rounds in which both were measured. */
static double median_ratio(const double *of, const double *to, unsigned rounds)
{
	double ratios[ROUNDS_MAX];
	unsigned count = 0;

	for (unsigned r = 0; r < rounds; r++)
		if (of[r] > 0 && to[r] > 0)
			ratios[count++] = of[r] / to[r];
	return bench_median(ratios, count);
}

static double median_of(const double *values, unsigned rounds)
{
	double copies[ROUNDS_MAX];
	unsigned count = 0;

	for (unsigned r = 0; r < rounds; r++)
		if (values[r] > 0)
			copies[count++] = values[r];
	return bench_median(copies, count);
}

static void tell(struct report *report, const struct crews *crews, const struct series *all, unsigned rounds,
		unsigned workers)
{
	int limit = crews_find(crews, "limit"), larder = crews_find(crews, "larder");

	for (unsigned i = 0; i < crews->count; i++) {
		const struct series *series = &all[i];

		if (series->ops == 0)
			continue;
		report_row(report);
		report_text(report, "peer", "%s", crew_kind(crews->all[i])->name);
		report_number(report, "ns", median_of(series->ns, rounds), 1);
		report_number(report, "M/s total", median_of(series->rate, rounds) / 1e6, 3);
		if (limit >= 0)
			report_number(report, "x limit", median_ratio(series->ns, all[limit].ns, rounds), 3);
		if (larder >= 0)
			report_number(report, "x larder", median_ratio(series->ns, all[larder].ns, rounds), 3);
		if (!crew_kind(crews->all[i])->server) {
			report_number(report, "cpu ns", median_of(series->cpu, rounds), 1);
			report_number(report, "cpu M/s", workers * 1e3 / median_of(series->cpu, rounds), 3);
			if (limit >= 0)
				report_number(report, "cpu x limit",
						median_ratio(series->cpu, all[limit].cpu, rounds), 3);
		}
		if (series->ops > series->sets)
			report_number(report, "hits %",
					100.0 * (double)series->hits / (double)(series->ops - series->sets), 3);
		if (series->failures)
			report_number(report, "failures", (double)series->failures, 0);
	}
}

static int measure(struct crews *crews, const struct workload *workload, const struct bench_options *options,
		const struct shape *shape, unsigned workers, struct report *report)
{
	struct series *all = calloc(crews->count, sizeof *all);

	if (!all)
		return -1;
	for (unsigned round = 0; round < options->rounds && !bench_interrupted(); round++) {
		bench_progress("%s, %u at once: round %u of %u", workload->name, workers, round + 1, options->rounds);
		for (unsigned i = 0; i < crews->count; i++)
			one_burst(crews->all[i], workload, options, workers, round, &all[i]);
	}
	bench_progress_end();
	if (!bench_interrupted()) {
		report_section(report, workload->name, "%s; %llu keys of %u B, values of %u B; %u worker%s%s",
				workload->text,
				(unsigned long long)shape->keys, shape->key_bytes, shape->value_bytes, workers,
				workers > 1 ? "s" : "", shape->huge ? "; huge pages" : "");
		tell(report, crews, all, options->rounds, workers);
	}
	free(all);
	return bench_interrupted() ? -1 : 0;
}

/* The limit compares nothing: where an index line has more keys than words, some share a record. */
static uint64_t tolerated(const struct crew *crew, const struct crew_result *result)
{
	return strcmp(crew_kind(crew)->name, "limit") == 0 ? result->ops / 1000 : 0;
}

/* A peer that answers wrongly would be fast: some of its values are compared with what was loaded. */
static void verify(struct crews *crews)
{
	const struct crew_order order = { .act = ACT_VERIFY, .stream = STREAM_UNIFORM, .workers = 1, .count = 20000 };
	struct crew_result result;

	for (unsigned i = 0; i < crews->count; i++)
		if (crew_do(crews->all[i], &order, &result) == 0 && (result.failures > tolerated(crews->all[i], &result)
				|| result.hits * 1000 < result.ops * 999))
			bench_complain("%s: of %llu values read, %llu were absent and %llu wrong",
					crew_kind(crews->all[i])->name,
					(unsigned long long)result.ops, (unsigned long long)(result.ops - result.hits),
					(unsigned long long)result.failures);
}

/* ---- all workloads of one shape ---- */

static bool wanted(const struct bench_options *options, unsigned workload)
{
	for (unsigned i = 0; i < options->workload_count; i++)
		if (options->workloads[i] == workload)
			return true;
	return false;
}

static struct shape shape_of(const struct bench_options *options, enum speed_shape which)
{
	struct shape shape = {
		.keys = options->keys,
		.key_bytes = options->key_bytes,
		.value_bytes = options->value_bytes,
		.workers = bench_workers(options),
		.huge = options->huge,
	};

	if (which == SHAPE_1K) {
		shape.value_bytes = 1024;
		shape.keys = options->keys > 200000 ? 200000 : options->keys;
	} else if (which == SHAPE_10M) {
		shape.keys = options->keys * 10;
		shape.huge = true;
	}
	return shape;
}

static int streams_make(struct key_stream *streams, const struct shape *shape, const struct bench_options *options)
{
	static const struct {
		double exponent;
		unsigned writes;
	} kinds[STREAM_COUNT] = { { 0, 0 }, { 0.99, 0 }, { 0.99, 5 }, { 0.99, 50 } };
	size_t count = shape->keys > 2000000 ? shape->keys : 2000000;

	for (unsigned s = 0; s < STREAM_COUNT; s++) {
		bool used = s == STREAM_UNIFORM;

		for (unsigned w = 0; w < WORKLOADS; w++)
			used = used || (workloads[w].stream == s && wanted(options, w));
		if (used && stream_make(&streams[s], count, shape->keys, kinds[s].exponent, shape->key_bytes,
				kinds[s].writes,
				options->seed + s) < 0)
			return -1;
	}
	return 0;
}

static int run_hired(struct crews *crews, const struct bench_options *options, const struct shape *shape,
		enum speed_shape which, struct report *report)
{
	verify(crews);
	for (unsigned w = 0; w < WORKLOADS; w++) {
		if (workloads[w].shape != which || !wanted(options, w))
			continue;
		for (unsigned p = 0; p < options->process_counts; p++)
			if (measure(crews, &workloads[w], options, shape, options->processes[p], report) < 0)
				return -1;
	}
	return 0;
}

/* Ten million keys of every peer would not fit: those whose ratio is a goal, unless asked otherwise. */
static int run_shape(const struct bench_options *options, enum speed_shape which, struct report *report)
{
	const struct shape shape = shape_of(options, which);
	struct key_stream streams[STREAM_COUNT] = { { 0 } };
	struct crew_supply supply = { .streams = streams, .stream_count = STREAM_COUNT, .scale = tick_calibrate() };
	struct crews crews = { .count = 0 };
	int result = streams_make(streams, &shape, options);

	if (result == 0)
		result = crews_hire(&crews, options, &shape, &supply, which == SHAPE_10M
				? "limit,larder,larder-plain,table" : NULL);
	if (result == 0)
		result = run_hired(&crews, options, &shape, which, report);
	crews_dismiss(&crews);
	for (unsigned s = 0; s < STREAM_COUNT; s++)
		stream_free(&streams[s]);
	return result;
}

int speed_run(const struct bench_options *options, struct report *report)
{
	int result = 0;

	for (unsigned which = 0; which < SHAPE_COUNT && result == 0; which++) {
		bool any = false;

		for (unsigned w = 0; w < WORKLOADS; w++)
			any = any || (workloads[w].shape == which && wanted(options, w));
		if (any)
			result = run_shape(options, which, report);
	}
	return result;
}
