/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys, values and the order in which they are asked for, all made before anything is measured.
 *
 * Key number n is a fixed scrambling of n written as hexadecimal digits, so that every peer, text protocols too, takes
 * it; equal numbers give equal keys in every process.  A value starts with its key, so that a get can be checked.
 * A stream holds the keys themselves in the order of use, one after the other: reading it is sequential and costs the
 * measured loop next to nothing, whereas an array of numbers into an array of keys would add a cache miss of its own.
 */
#ifndef BENCH_KEYS_H
#define BENCH_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_BYTES_MIN 16u
#define KEY_BYTES_MAX 256u

struct key_stream {
	unsigned key_bytes;
	size_t count;
	uint8_t *keys;   /* count * key_bytes */
	uint8_t *writes; /* count bytes: 1 where a mixed workload sets; NULL if it never does */
	size_t mapped_bytes;
};

/* splitmix64: the generator of everything here; reproducible from a seed. */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Maps 64 evenly spread bits to 0 .. limit - 1: the high half of the product. */
static inline uint64_t spread(uint64_t bits, uint64_t limit)
{
	__extension__ unsigned __int128 product = bits;

	product *= limit;
	return (uint64_t)(product >> 64);
}

/* Unbiased enough below 2^48. */
static inline uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return spread(random_next(state), limit);
}

void key_make(uint8_t *key, unsigned key_bytes, uint64_t number);
void value_make(uint8_t *value, unsigned value_bytes, const uint8_t *key);
bool value_matches(const uint8_t *value, unsigned value_bytes, const uint8_t *key);

/* Zipf over 0 .. limit - 1 by rejection-inversion (Hoermann and Derflinger, 1996): exact, in constant time. */
struct zipf {
	uint64_t limit;
	double exponent, low, high, shortcut;
};
void zipf_init(struct zipf *zipf, uint64_t limit, double exponent);
uint64_t zipf_next(const struct zipf *zipf, uint64_t *state);

/* `count` keys out of `distinct`; exponent 0 is uniform.  0, or -1 without memory.  Shared with children made later. */
int stream_make(struct key_stream *stream, size_t count, uint64_t distinct, double exponent, unsigned key_bytes,
		unsigned write_percent, uint64_t seed);
void stream_free(struct key_stream *stream);

#endif
