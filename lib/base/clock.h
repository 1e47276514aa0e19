/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clocks in milliseconds.
 *
 * Entries live by the monotonic clock of the initial time namespace, so that setting the wall clock expires nothing and
 * containers with time namespaces of their own agree.  A process adds its clock_offset_ms() to what it reads.
 */
#ifndef LARDER_BASE_CLOCK_H
#define LARDER_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_read_ms(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* For durations: which nanosecond it is means nothing. */
static inline int64_t clock_precise_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The coarse clock costs a few ns and is up to CLOCK_COARSE_LAG_MS behind the precise one, never ahead of it. */
#define CLOCK_COARSE_LAG_MS 20
static inline int64_t clock_coarse_ms(void) { return clock_read_ms(CLOCK_MONOTONIC_COARSE); }
static inline int64_t clock_precise_ms(void) { return clock_read_ms(CLOCK_MONOTONIC); }
/* Since 1970. */
static inline int64_t clock_wall_ms(void) { return clock_read_ms(CLOCK_REALTIME); }

/*
 * The processor's own counter, where the kernel itself keeps time by it: so it runs at one speed, on all processors alike, and does not
 * stop.  What is known to have happened less than CLOCK_TICKS_SPAN ago (a millisecond at 1 GHz, less on faster ones) needs no clock:
 * reading the counter costs a get 2 ns, the coarse clock 45.  clock_ticks_span() is 0 where it is not to be trusted.
 */
#define CLOCK_TICKS_SPAN (UINT64_C(1) << 20)
#if defined(__x86_64__) && !defined(LARDER_NO_TICKS)
static inline uint64_t clock_ticks(void) { return __builtin_ia32_rdtsc(); }
#else
static inline uint64_t clock_ticks(void) { return 0; }
#endif
uint64_t clock_ticks_span(void);

/* What to add to this process's monotonic clock to get that of the initial time namespace; 0 where it cannot be known.
 * Reads /proc: once at attach, and in a forked child, which may be the first of a new namespace. */
int64_t clock_offset_ms(void);

/* The wall clock at a moment of this process's monotonic clock, and back; as the two stand to each other now. */
int64_t clock_wall_of_monotonic(int64_t monotonic_ms);
int64_t clock_monotonic_of_wall(int64_t wall_ms);

#endif
