/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does each part of a get cost?  The library is built several times, each time without one part, as modules beside
 * this program; all builds hold the same keys and get the same bursts in turn. The difference to the whole build,
 * taken within each round, is what the part costs. Such builds are for this question only: without hazards a get is
 * not safe.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crew.h"
#include "peer_larder.h"

#define ROUNDS_MAX 1000u

struct build {
	const char *label, *module;
	int64_t ttl_ms; /* the clock is read only for entries with a TTL */
};

/* Module names are those that meson.build gives. */
static const struct build builds[] = {
	{ "whole", "liblarder-whole.so", LARDER_TTL_NONE },
	{ "without counters", "liblarder-no-counters.so", LARDER_TTL_NONE },
	{ "without hazards", "liblarder-no-hazard.so", LARDER_TTL_NONE },
	{ "without frequencies", "liblarder-no-frequency.so", LARDER_TTL_NONE },
	{ "without hot keys and trace", "liblarder-no-watch.so", LARDER_TTL_NONE },
	{ "whole, TTL", "liblarder-whole.so", 3600 * 1000 },
	{ "without the clock, TTL", "liblarder-no-clock.so", 3600 * 1000 },
};
#define WHOLE_TTL 5u
#define BUILDS (sizeof builds / sizeof builds[0])

struct bench_run {
	struct larder_variant variants[BUILDS];
	struct peer_kind kinds[BUILDS];
	struct crew *crews[BUILDS];
	double ns[BUILDS][ROUNDS_MAX];
};

static void hire(struct bench_run *run, const struct shape *shape, const struct crew_supply *supply)
{
	char trouble[160];

	for (unsigned i = 0; i < BUILDS && !bench_interrupted(); i++) {
		const struct peer_kind kind = { .name = builds[i].module, .variant = &run->variants[i],
				PEER_LARDER_CALLS };

		run->variants[i] = (struct larder_variant){ .ttl_ms = builds[i].ttl_ms, .module = builds[i].module };
		memcpy(&run->kinds[i], &kind, sizeof kind);
		trouble[0] = '\0';
		run->crews[i] = crew_hire(&run->kinds[i], shape, supply, true, trouble, sizeof trouble);
		if (!run->crews[i])
			bench_complain("ablation, %s: %s", builds[i].label, trouble);
	}
}

static void round_of(struct bench_run *run, const struct crew_order *order, unsigned round)
{
	struct crew_result result;

	for (unsigned i = 0; i < BUILDS; i++) {
		run->ns[i][round] = NAN;
		if (run->crews[i] && crew_do(run->crews[i], order, &result) == 0 && result.ops)
			run->ns[i][round] = (double)result.cpu_ns / (double)result.ops;
	}
}

static void tell(struct bench_run *run, unsigned rounds, struct report *report)
{
	double differences[ROUNDS_MAX], copies[ROUNDS_MAX];

	for (unsigned i = 0; i < BUILDS; i++) {
		unsigned whole = builds[i].ttl_ms == LARDER_TTL_NONE ? 0 : WHOLE_TTL, count = 0;

		for (unsigned r = 0; r < rounds; r++) {
			if (isnan(run->ns[i][r]) || isnan(run->ns[whole][r]))
				continue;
			differences[count] = run->ns[whole][r] - run->ns[i][r];
			copies[count++] = run->ns[i][r];
		}
		if (count == 0)
			continue;
		report_row(report);
		report_text(report, "build", "%s", builds[i].label);
		report_number(report, "cpu ns", bench_median(copies, count), 1);
		if (i != whole)
			report_number(report, "the part costs ns", bench_median(differences, count), 1);
	}
}

static int measure(struct bench_run *run, const struct bench_options *options, const struct crew_order *order,
		const char *what, struct report *report)
{
	for (unsigned round = 0; round < options->rounds && !bench_interrupted(); round++) {
		bench_progress("ablation, %s: round %u of %u", what, round + 1, options->rounds);
		round_of(run, order, round);
	}
	bench_progress_end();
	if (bench_interrupted())
		return -1;
	report_section(report, "ablation", "builds of the library without one part: %s", what);
	tell(run, options->rounds, report);
	return 0;
}

int ablation_run(const struct bench_options *options, struct report *report)
{
	static struct bench_run run;
	const struct shape shape = {
		.keys = options->keys, .key_bytes = options->key_bytes, .value_bytes = options->value_bytes,
		.workers = 1,
		.huge = options->huge,
	};
	struct key_stream streams[2] = { { 0 } };
	const struct crew_supply supply = { .streams = streams, .stream_count = 2, .scale = tick_calibrate() };
	struct crew_order order = { .act = ACT_GET, .workers = 1, .burst_ns = (uint64_t)options->burst_ms * 1000000 };
	int result = -1;

	if (stream_make(&streams[0], 2000000, shape.keys, 0, shape.key_bytes, 0, options->seed) == 0
			&& stream_make(&streams[1], 100000, 1000, 0, shape.key_bytes, 0, options->seed) == 0) {
		hire(&run, &shape, &supply);
		result = measure(&run, options, &order, "gets, uniform", report);
		order.stream = 1;
		if (result == 0)
			result = measure(&run, options, &order, "gets of a thousand keys, which caches hold", report);
	}
	for (unsigned i = 0; i < BUILDS; i++)
		crew_dismiss(&run.crews[i]);
	stream_free(&streams[0]);
	stream_free(&streams[1]);
	return result;
}
