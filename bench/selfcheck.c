/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is this program to be trusted? Its parts against what is known of them: the histogram against sorted values, the
 * zipf generator against harmonic sums, the simulated caches against published figures for public traces, where those
 * traces are given (by the names they go by in collections: web07, lirs_multi3, ...).
 */
#include <math.h>
#include <string.h>

#include "bench.h"
#include "histogram.h"
#include "keys.h"
#include "replay.h"

static void tell(struct report *report, int *failed, double expected, double found, double tolerance, const char *what)
{
	bool good = fabs(expected - found) <= tolerance;

	report_row(report);
	report_text(report, "what", "%s", what);
	report_number(report, "expected", expected, 3);
	report_number(report, "found", found, 4);
	report_text(report, "good", "%s", good ? "yes" : "NO");
	*failed |= !good;
}

static void check_histogram(struct report *report, int *failed)
{
	static struct histogram histogram;

	memset(&histogram, 0, sizeof histogram);
	for (uint64_t value = 1; value <= 1000000; value++)
		histogram_add(&histogram, value);
	tell(report, failed, 500000, histogram_quantile(&histogram, 0.5), 500000 * 0.032,
			"histogram, p50 of 1 .. 10^6");
	tell(report, failed, 999000, histogram_quantile(&histogram, 0.999), 999000 * 0.032,
			"histogram, p99.9 of 1 .. 10^6");
	tell(report, failed, 1000000, (double)histogram.max, 0, "histogram, max of 1 .. 10^6");
}

/* The part of the draws that falls on the first ten of a thousand. */
static void check_zipf(struct report *report, int *failed)
{
	const double exponents[] = { 0.5, 0.99, 1, 1.2 };
	uint64_t state = 1;

	for (unsigned e = 0; e < 4; e++) {
		unsigned first = 0, draws = 1000000;
		double head = 0, all = 0;
		struct zipf zipf;

		for (unsigned rank = 1; rank <= 1000; rank++) {
			all += pow(rank, -exponents[e]);
			head += rank <= 10 ? pow(rank, -exponents[e]) : 0;
		}
		zipf_init(&zipf, 1000, exponents[e]);
		for (unsigned i = 0; i < draws; i++)
			first += zipf_next(&zipf, &state) < 10;
		tell(report, failed, head / all, (double)first / draws, 0.003,
				"zipf, part of the ten most frequent of 1000");
	}
}

/* Miss ratios at 1 % and 10 % of the objects or bytes: of S3-FIFO (threshold 2), and LRU. */
static const struct known {
	const char *trace;
	double s3fifo[2], lru[2];
} known[] = {
	{ "web07", { .562, .419 }, { .608, .443 } },
	{ "web12", { .589, .277 }, { .602, .315 } },
	{ "cloudphysics_io_b", { .823, .736 }, { .834, .810 } },
	{ "adaptsize_b", { .718, .622 }, { .754, .656 } },
	{ "lirs_multi3", { .850, .547 }, { .948, .645 } },
	{ "lirs_sprite", { .785, .139 }, { .835, .135 } },
	{ "lirs_gli", { .988, .988 }, { NAN, NAN } },
	{ "lirs_loop", { 1.0, 1.0 }, { NAN, NAN } },
	{ "mooncake_synthetic", { .962, .738 }, { .966, .740 } },
};

static void check_known(struct trace *trace, const struct known *one, struct report *report, int *failed)
{
	const struct sim_policy *const policies[] = { &sim_s3fifo, &sim_lru };
	struct replay replay = { .trace = trace, .scale = 1 };
	struct replay_result result;
	char what[96];

	trace_give_size(trace, 1);
	for (unsigned i = 0; i < 4; i++) {
		double expected = i / 2 == 0 ? one->s3fifo[i % 2] : one->lru[i % 2];

		if (isnan(expected))
			continue;
		replay.capacity_bytes = (uint64_t)llround((double)trace->object_bytes * (i % 2 ? 0.1 : 0.01));
		if (replay_simulated(&replay, policies[i / 2], &result) < 0)
			return;
		snprintf(what, sizeof what, "%s, %s at %s", trace->name, policies[i / 2]->name, i % 2 ? "10 %" : "1 %");
		tell(report, failed, expected, replay_miss_ratio(&result), 0.0016, what);
	}
}

static int check_trace(const char *path, struct report *report, int *failed)
{
	struct trace trace;

	if (trace_read(&trace, path) < 0)
		return -1;
	for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(known[i].trace, trace.name) == 0)
			check_known(&trace, &known[i], report, failed);
	trace_free(&trace);
	return 0;
}

int selfcheck_run(const struct bench_options *options, struct report *report)
{
	int failed = 0;

	report_section(report, "selfcheck", "parts of this program against what is known of them");
	check_histogram(report, &failed);
	check_zipf(report, &failed);
	for (unsigned i = 0; i < options->trace_count; i++)
		if (check_trace(options->traces[i], report, &failed) < 0)
			return -1;
	return failed ? -1 : 0;
}
