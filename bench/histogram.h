/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A log-linear histogram of nanoseconds: 32 steps to each power of two, so that a percentile is read to within 3 %.
 * Fixed size, no pointers: it lies in memory shared between the workers and the one who reports.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 5u
#define HISTOGRAM_STEPS (1u << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_POWERS 40u

struct histogram {
	uint64_t count, max;
	uint64_t cells[HISTOGRAM_POWERS * HISTOGRAM_STEPS];
};

/* Below 32 exact; above, the position of the top bit chooses the power and the five bits below it the step. */
static inline unsigned histogram_cell(uint64_t value)
{
	unsigned power, cell;

	if (value < HISTOGRAM_STEPS)
		return (unsigned)value;
	power = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
	cell = (power + 1) * HISTOGRAM_STEPS + (unsigned)((value >> power) & (HISTOGRAM_STEPS - 1));
	return cell < HISTOGRAM_POWERS * HISTOGRAM_STEPS ? cell : HISTOGRAM_POWERS * HISTOGRAM_STEPS - 1;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->count++;
	histogram->cells[histogram_cell(value)]++;
	if (value > histogram->max)
		histogram->max = value;
}

void histogram_merge(struct histogram *into, const struct histogram *from);

/* The middle of the cell that holds the given part (0 .. 1) of all values; 0 if there are none. */
double histogram_quantile(const struct histogram *histogram, double part);

#endif
