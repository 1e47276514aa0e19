/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hash functions, seeded by the cache, so that nobody outside can choose keys that collide: XXH3-64, and for keys of
 * 9 .. 16 bytes the one multiplication that is the core of it.
 */
#ifndef LARDER_BASE_HASH_H
#define LARDER_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Warray-bounds" /* gcc 12 follows paths that the length of a small array excludes */
#define XXH_INLINE_ALL
#include <xxhash.h>
#pragma GCC diagnostic pop

static inline uint64_t hash_bytes(const void *data, size_t bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, bytes, seed);
}

/* ---- Keys of 9 .. 16 bytes: their first and their last eight, overlapping --------------------------------------------------- */

static inline bool hash_is_short(size_t bytes) { return bytes - 9 < 8; }
/* What the seed makes of each word: odds and ends of pi, as in foldhash and XXH3. */
static inline uint64_t hash_flip_first(uint64_t seed) { return UINT64_C(0x243f6a8885a308d3) + seed; }
static inline uint64_t hash_flip_last(uint64_t seed) { return UINT64_C(0xc0ac29b7c97c50dd) - seed; }
/* Of words that are flipped already: the two halves of their product, folded. */
static inline uint64_t hash_fold(uint64_t first, uint64_t last, size_t bytes)
{
	__extension__ unsigned __int128 product = (unsigned __int128)first * (last + bytes);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}
static inline uint64_t hash_short(const void *data, size_t bytes, uint64_t seed)
{
	uint64_t first, last;
	memcpy(&first, data, sizeof first);
	memcpy(&last, (const unsigned char *)data + bytes - sizeof last, sizeof last);
	return hash_fold(first ^ hash_flip_first(seed), last ^ hash_flip_last(seed), bytes);
}

#endif
