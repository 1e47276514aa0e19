/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading and merging of histograms; adding is inline in the header, beside the call that is being timed. */
#include "histogram.h"

#include <math.h>

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	into->count += from->count;
	into->max = from->max > into->max ? from->max : into->max;
	for (unsigned i = 0; i < HISTOGRAM_POWERS * HISTOGRAM_STEPS; i++)
		into->cells[i] += from->cells[i];
}

static double cell_middle(unsigned cell)
{
	unsigned power = cell / HISTOGRAM_STEPS, step = cell % HISTOGRAM_STEPS;

	if (power == 0)
		return step;
	return ldexp((double)(HISTOGRAM_STEPS + step) + 0.5, (int)power - 1);
}

double histogram_quantile(const struct histogram *histogram, double part)
{
	uint64_t rank = (uint64_t)ceil(part * (double)histogram->count), seen = 0;

	if (histogram->count == 0)
		return 0;
	rank = rank ? rank : 1;
	for (unsigned i = 0; i < HISTOGRAM_POWERS * HISTOGRAM_STEPS; i++) {
		seen += histogram->cells[i];
		if (seen >= rank)
			return fmin(cell_middle(i), (double)histogram->max);
	}
	return (double)histogram->max;
}
