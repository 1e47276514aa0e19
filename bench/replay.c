/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many requests miss, at equal total bytes?  Traces of others, and zipf 0.99 at 20 % of the objects (hit-rate).
 *
 * larder gets exactly the bytes that the simulated caches get, but pays its index, headers, ghosts and reserve out of
 * them. Where a trace has no sizes, all objects are of one: --object-bytes, by default 1000 or as much more as it
 * takes for the cache to be no smaller than a cache may be; where it has, all are scaled by a whole number to that
 * end.
 */
#include "replay.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

#define OBJECT_BYTES_USUAL 1000u
#define POINT_OBJECTS_LEAST 1000u

struct mean {
	double larder, plain, policies[8], copied;
	unsigned count;
};

/* The row of one point of one trace. */
static int point(const struct replay *replay, const char *label, struct mean *mean, struct report *report)
{
	struct replay_result stamped, plain, simulated;
	struct replay shrunk = *replay;
	bool timed = replay->trace->timed;
	double larder, s3fifo = 0;
	unsigned policies = 0;

	if (replay_larder(replay, 0, timed, &stamped) < 0 || replay_larder(replay, LARDER_PLAIN, timed, &plain) < 0)
		return -1;
	larder = replay_miss_ratio(&stamped);
	report_row(report);
	report_text(report, "trace", "%s", replay->trace->name);
	report_text(report, "at", "%s", label);
	report_number(report, "KiB", (double)replay->capacity_bytes / 1024, 0);
	report_number(report, "larder", larder, 4);
	report_number(report, "plain", replay_miss_ratio(&plain), 4);
	for (; sim_policies[policies]; policies++) {
		if (replay_simulated(replay, sim_policies[policies], &simulated) < 0)
			return -1;
		report_number(report, sim_policies[policies]->name, replay_miss_ratio(&simulated), 4);
		mean->policies[policies] += replay_miss_ratio(&simulated);
		if (sim_policies[policies] == &sim_s3fifo)
			s3fifo = replay_miss_ratio(&simulated);
	}
	report_number(report, "points over S3-FIFO", (larder - s3fifo) * 100, 2);
	report_number(report, "live %", 100 * (double)stamped.live_bytes / (double)replay->capacity_bytes, 1);
	shrunk.capacity_bytes = stamped.live_bytes;
	if (replay_simulated(&shrunk, &sim_s3fifo, &simulated) < 0)
		return -1;
	report_number(report, "S3-FIFO in live", replay_miss_ratio(&simulated), 4);
	report_number(report, "plain over", (replay_miss_ratio(&plain) - s3fifo) * 100, 2);
	report_number(report, "copied", stamped.copied, 3);
	if (stamped.refused)
		report_number(report, "refused", (double)stamped.refused, 0);
	mean->larder += larder;
	mean->plain += replay_miss_ratio(&plain);
	mean->copied += stamped.copied;
	mean->count++;
	return bench_interrupted() ? -1 : 0;
}

static void tell_mean(const struct mean *mean, struct report *report)
{
	double best = 1;

	if (mean->count < 2)
		return;
	report_row(report);
	report_text(report, "trace", "mean");
	report_text(report, "at", "%u points", mean->count);
	report_number(report, "larder", mean->larder / mean->count, 4);
	report_number(report, "plain", mean->plain / mean->count, 4);
	for (unsigned i = 0; sim_policies[i]; i++) {
		report_number(report, sim_policies[i]->name, mean->policies[i] / mean->count, 4);
		best = fmin(best, mean->policies[i] / mean->count);
	}
	report_number(report, "copied", mean->copied / mean->count, 3);
	report_number(report, "points over best", (mean->larder / mean->count - best) * 100, 2);
}

/* Sizes for one point: of the objects where the trace has none, else their scale. */
static void fit_sizes(struct replay *replay, struct trace *trace, const struct bench_options *options, double part)
{
	double objects = part * trace->objects;

	replay->scale = 1;
	if (!trace->sized) {
		double least = ceil((double)LARDER_BYTES_MIN / fmax(objects, 1));

		trace_give_size(trace, options->object_bytes ? options->object_bytes
				: (uint32_t)fmax(OBJECT_BYTES_USUAL, least));
	} else if (part * (double)trace->object_bytes < (double)LARDER_BYTES_MIN) {
		replay->scale = (unsigned)ceil((double)LARDER_BYTES_MIN / fmax(part * (double)trace->object_bytes, 1));
	}
	replay->capacity_bytes = (uint64_t)llround(part * (double)trace->object_bytes * replay->scale);
}

static int percent_points(struct trace *trace, const struct bench_options *options, struct mean *mean,
		struct report *report)
{
	struct replay replay = { .trace = trace, .overwrite_percent = options->overwrite_percent };
	struct mean ignored = { 0 };
	char label[32];

	for (unsigned i = 0; i < options->percent_count; i++) {
		double part = options->percents[i] / 100;
		bool large = part * trace->objects >= POINT_OBJECTS_LEAST;

		fit_sizes(&replay, trace, options, part);
		bench_progress("replay: %s at %g %%", trace->name, options->percents[i]);
		snprintf(label, sizeof label, "%g %%%s", options->percents[i], large ? "" : " (small)");
		if (replay.capacity_bytes < LARDER_BYTES_MIN) {
			bench_complain("%s at %s: smaller than any larder; larger --object-bytes would help",
					trace->name, label);
			continue;
		}
		if (point(&replay, label, large ? mean : &ignored, report) < 0)
			return -1;
	}
	return 0;
}

static int bytes_point(struct trace *trace, const struct bench_options *options, struct mean *mean,
		struct report *report)
{
	struct replay replay = {
		.trace = trace, .overwrite_percent = options->overwrite_percent,
		.capacity_bytes = options->replay_bytes, .scale = 1,
	};

	trace_give_size(trace, options->object_bytes ? options->object_bytes : OBJECT_BYTES_USUAL);
	return point(&replay, "bytes given", mean, report);
}

static int replay_file(const char *path, const struct bench_options *options, struct mean *mean, struct report *report)
{
	struct trace trace;
	int result;

	if (trace_read(&trace, path) < 0)
		return -1;
	if (options->mixed_ttl)
		trace_give_ttls(&trace, options->seed);
	if (options->replay_bytes)
		result = bytes_point(&trace, options, mean, report);
	else
		result = percent_points(&trace, options, mean, report);
	trace_free(&trace);
	return result;
}

int replay_run(const struct bench_options *options, struct report *report)
{
	struct mean mean = { 0 };

	if (options->trace_count == 0) {
		bench_complain("replay: which traces?");
		return -1;
	}
	report_section(report, "replay", "miss ratio at equal total bytes%s%s; simulated caches have no metadata",
			options->overwrite_percent ? ", with overwrites" : "", options->mixed_ttl
			? ", with mixed lives" : "");
	for (unsigned i = 0; i < options->trace_count && !bench_interrupted(); i++)
		if (replay_file(options->traces[i], options, &mean, report) < 0)
			return -1;
	bench_progress_end();
	tell_mean(&mean, report);
	return bench_interrupted() ? -1 : 0;
}

/* ---- hit-rate ---- */

static void tell_hits(struct report *report, const char *name, const struct replay_result *result)
{
	report_row(report);
	report_text(report, "cache", "%s", name);
	report_number(report, "hit rate %", 100 * (1 - replay_miss_ratio(result)), 2);
	if (result->copied > 0)
		report_number(report, "copied", result->copied, 3);
}

int hit_rate_run(const struct bench_options *options, struct report *report)
{
	uint32_t objects = (uint32_t)(options->keys > 1000000 ? 1000000 : options->keys);
	struct trace trace;
	struct replay replay = { .trace = &trace, .scale = 1 };
	struct replay_result result;
	int failed = 0;

	if (trace_zipf(&trace, objects, (size_t)objects * 6, 0.99, options->seed) < 0)
		return -1;
	trace_give_size(&trace, options->key_bytes + options->value_bytes);
	replay.capacity_bytes = trace.object_bytes / 5;
	replay.warm = trace.count / 2;
	report_section(report, "hit-rate", "zipf 0.99 over %u objects of %u B, %llu KiB: 20 %% of their bytes", objects,
			options->key_bytes + options->value_bytes, (unsigned long long)(replay.capacity_bytes >> 10));
	bench_progress("hit-rate");
	if ((failed = replay_larder(&replay, 0, false, &result)) == 0)
		tell_hits(report, "larder", &result);
	if (!failed && (failed = replay_larder(&replay, LARDER_PLAIN, false, &result)) == 0)
		tell_hits(report, "larder-plain", &result);
	for (unsigned i = 0; sim_policies[i] && !failed; i++)
		if ((failed = replay_simulated(&replay, sim_policies[i], &result)) == 0)
			tell_hits(report, sim_policies[i]->name, &result);
	bench_progress_end();
	trace_free(&trace);
	return failed;
}
