/* SPDX-License-Identifier: BSD-2-Clause */
/* Calibration of the stopwatch against the monotonic clock, over 30 ms. */
#include "tick.h"

#include "bench.h"

static uint64_t own_cost(void)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < 10000; i++) {
		uint64_t begin = tick_begin();
		uint64_t ticks = tick_end() - begin;

		least = ticks < least ? ticks : least;
	}
	return least;
}

struct tick_scale tick_calibrate(void)
{
	struct tick_scale scale;
	uint64_t ns_begin = bench_now_ns(), begin = tick_begin(), ns_end;

	do
		ns_end = bench_now_ns();
	while (ns_end - ns_begin < 30000000u);
	scale.ns_per_tick = (double)(ns_end - ns_begin) / (double)(tick_end() - begin);
	scale.own_ticks = own_cost();
	return scale;
}
