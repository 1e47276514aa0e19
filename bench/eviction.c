/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does constant eviction cost a set?  In every round a fresh cache is filled with ever new keys: first into free
 * memory, then on until it is full, then as many again, each of which displaces another.  Processor time
 * and single times come from different caches of the same round.
 */
#include <string.h>

#include "crew.h"
#include "peer_larder.h"

struct phases {
	double free_ns, full_ns;
	struct histogram free_latency, full_latency;
};

/* Keys that surely fit: half of what memory would take without any index. */
static uint64_t fitting(const struct shape *shape)
{
	return shape->capacity_bytes / (shape->key_bytes + shape->value_bytes + 48) / 2;
}

static int fill(const struct peer_kind *kind, const struct shape *shape, const struct crew_supply *supply, bool timed,
		struct phases *phases)
{
	struct crew_order order = { .act = timed ? ACT_LATENCY_FRESH : ACT_FRESH, .workers = 1,
			.count = fitting(shape) };
	struct crew_result result;
	char trouble[160] = "";
	struct crew *crew = crew_hire(kind, shape, supply, false, trouble, sizeof trouble);
	int failed = crew ? 0 : -1;

	if (!crew)
		bench_complain("%s: %s", kind->name, trouble);
	failed = failed || crew_do(crew, &order, &result) < 0;
	if (!failed) {
		phases->free_ns = (double)result.cpu_ns / (double)result.ops;
		histogram_merge(&phases->free_latency, &result.latency);
		order.act = ACT_FRESH;
		order.count = fitting(shape) * 3;
		failed = crew_do(crew, &order, &result) < 0;
	}
	if (!failed) {
		order = (struct crew_order){ .act = timed ? ACT_LATENCY_FRESH : ACT_FRESH, .workers = 1,
				.count = fitting(shape) };
		failed = crew_do(crew, &order, &result) < 0;
	}
	if (!failed) {
		phases->full_ns = (double)result.cpu_ns / (double)result.ops;
		histogram_merge(&phases->full_latency, &result.latency);
	}
	crew_dismiss(&crew);
	return failed ? -1 : 0;
}

static void tell_latency(struct report *report, const char *prefix, const struct histogram *latency)
{
	report_row(report);
	report_text(report, "peer", "%s", prefix);
	report_number(report, "p50", histogram_quantile(latency, 0.5), 0);
	report_number(report, "p99", histogram_quantile(latency, 0.99), 0);
	report_number(report, "p99.9", histogram_quantile(latency, 0.999), 0);
	report_number(report, "p99.99", histogram_quantile(latency, 0.9999), 0);
	report_number(report, "max", (double)latency->max, 0);
}

static int measure(const struct peer_kind *kind, const struct shape *shape, const struct crew_supply *supply,
		unsigned rounds, struct report *report)
{
	static struct phases timed, untimed;
	double free_ns[64], full_ns[64], ratios[64];
	unsigned count = 0;
	char row[64];

	memset(&timed, 0, sizeof timed);
	for (; count < rounds && count < 64; count++) {
		bench_progress("evict, %s: round %u of %u", kind->name, count + 1, rounds);
		if (fill(kind, shape, supply, false, &untimed) < 0 || fill(kind, shape, supply, true, &timed) < 0)
			return -1;
		free_ns[count] = untimed.free_ns;
		full_ns[count] = untimed.full_ns;
		ratios[count] = untimed.full_ns / untimed.free_ns;
	}
	bench_progress_end();
	tell_latency(report, kind->name, &timed.full_latency);
	report_number(report, "cpu ns", bench_median(full_ns, count), 1);
	report_number(report, "x without", bench_median(ratios, count), 3);
	snprintf(row, sizeof row, "%s, without eviction", kind->name);
	tell_latency(report, row, &timed.free_latency);
	report_number(report, "cpu ns", bench_median(free_ns, count), 1);
	return 0;
}

int eviction_run(const struct bench_options *options, struct report *report)
{
	static const struct peer_kind *const kinds[] = { &peer_larder, &peer_larder_plain };
	const struct crew_supply supply = { .scale = tick_calibrate() };
	unsigned rounds = options->rounds < 5 ? options->rounds : 5;
	struct shape shape = {
		.keys = 0, .key_bytes = options->key_bytes, .value_bytes = options->value_bytes, .workers = 1,
		.huge = options->huge,
	};
	struct shape full = shape;

	full.keys = options->keys;
	shape.capacity_bytes = larder_roomy_bytes(&full);
	report_section(report, "evict", "sets of ever new keys, in ns; cache of %llu MiB, keys of %u B, values of %u B",
			(unsigned long long)(shape.capacity_bytes >> 20), shape.key_bytes, shape.value_bytes);
	for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (peer_wanted(options->peers, kinds[i]->name) && measure(kinds[i], &shape, &supply, rounds,
				report) < 0)
			return -1;
	return 0;
}
