/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stopwatch for single operations: the processor's cycle counter between load fences, so that neither the operation
 * nor its neighbours leak across.  Elsewhere than on x86 the monotonic clock, which is coarser and costs more.
 * Never used in a throughput burst: the fences keep successive operations from overlapping.
 */
#ifndef BENCH_TICK_H
#define BENCH_TICK_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>

static inline uint64_t tick_begin(void)
{
	uint64_t now;

	_mm_mfence();
	_mm_lfence();
	now = __rdtsc();
	_mm_lfence();
	return now;
}

static inline uint64_t tick_end(void)
{
	unsigned aux;
	uint64_t now = __rdtscp(&aux);

	_mm_lfence();
	return now;
}
#else
static inline uint64_t tick_begin(void)
{
	struct timespec now;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t tick_end(void)
{
	return tick_begin();
}
#endif

/* What a tick is worth, and what the stopwatch itself takes; measured once by tick_calibrate(). */
struct tick_scale {
	double ns_per_tick;
	uint64_t own_ticks;
};

struct tick_scale tick_calibrate(void);

static inline uint64_t tick_ns(const struct tick_scale *scale, uint64_t begin, uint64_t end)
{
	uint64_t ticks = end - begin;

	ticks = ticks > scale->own_ticks ? ticks - scale->own_ticks : 0;
	return (uint64_t)((double)ticks * scale->ns_per_tick + 0.5);
}

#endif
