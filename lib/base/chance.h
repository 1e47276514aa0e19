/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random numbers for sampling and jitter, not for secrets; and the exponential distribution, without the mathematics library, which nothing
 * else here needs.
 */
#ifndef LARDER_BASE_CHANCE_H
#define LARDER_BASE_CHANCE_H

#include <stdint.h>
#include <string.h>

/* splitmix64 (Vigna, public domain): any state will do. */
static inline uint64_t chance_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Between half of it and all, so that those who wait for one thing do not come all at once. */
static inline int64_t chance_jitter_ms(uint64_t *state, int64_t ms) { return ms / 2 + (int64_t)(chance_next(state) % (uint64_t)(ms / 2 + 1)); }

/* atanh(x) for 0 <= x <= 1/3, within 1e-11 of it. */
static inline double chance_atanh(double x)
{
	double square = x * x, power = x, sum = x;
	for (int n = 3; n <= 19; n += 2) {
		power *= square;
		sum += power / n;
	}
	return sum;
}

/* -ln(u) for 0 < u <= 1, normal: u = m * 2^e, 1 <= m < 2. */
static inline double chance_minus_log(double u)
{
	uint64_t bits, one = UINT64_C(1023) << 52;
	double m;
	memcpy(&bits, &u, sizeof bits);
	int e = (int)(bits >> 52 & 0x7ff) - 1023;
	bits = (bits & ((UINT64_C(1) << 52) - 1)) | one;
	memcpy(&m, &bits, sizeof m);
	return -e * 0.69314718055994530942 - 2 * chance_atanh((m - 1) / (m + 1));
}

/* Exponential, of mean 1, from 64 random bits. */
static inline double chance_exponential(uint64_t bits) { return chance_minus_log((double)(bits >> 11 | 1) * 0x1p-53); }

/* Trials until one succeeds, that one included, when each does with probability 1 / n: geometric.  n: 1 .. 2^32. */
static inline uint64_t chance_geometric(uint64_t bits, uint64_t n)
{
	if (n <= 1)
		return 1;
	/* -ln(1 - 1/n) = 2 atanh(1 / (2n - 1)) */
	return 1 + (uint64_t)(chance_exponential(bits) / (2 * chance_atanh(1 / (double)(2 * n - 1))));
}

#endif
