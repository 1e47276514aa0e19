/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pairs of words in vector registers, where the machine has them.
 *
 * Not for what they compute at once, but for where they compute it: a processor overlaps the cache misses of successive
 * calls as far as its physical registers reach, and it has far fewer of them for integers (on Zen 5 some 200 beside 384).
 * Every integer result, load and comparison with memory between two misses takes one; what happens in vectors, none.
 * A word is loaded whole, and not moved across a compiler barrier; the order of loads is the machine's, which is that of
 * x86-64.  So whatever uses them has another form for other machines, and for ThreadSanitizer.
 */
#ifndef LARDER_BASE_PAIR_H
#define LARDER_BASE_PAIR_H

#include "base/sync.h"

#if defined(__x86_64__) && !defined(LARDER_TSAN)
#define LARDER_PAIRS 1
#include <emmintrin.h>

typedef __m128i word_pair;

static inline word_pair pair_of(uint64_t low) { return _mm_cvtsi64_si128((long long)low); }
static inline word_pair pair_load(const void *low) { return _mm_loadl_epi64((const __m128i *)low); }
static inline uint64_t pair_low(word_pair p) { return (uint64_t)_mm_cvtsi128_si64(p); }
/* Not by unpackhi: as movhlps that waits for whatever was in its target register before, such as the last get's value. */
static inline uint64_t pair_high(word_pair p) { return (uint64_t)_mm_cvtsi128_si64(_mm_srli_si128(p, 8)); }
/* The first and the last eight bytes of 8 .. 16. */
static inline word_pair pair_ends(const void *data, size_t bytes)
{
	return _mm_unpacklo_epi64(pair_load(data), pair_load((const unsigned char *)data + bytes - 8));
}
/* The low 16 bits eight times. */
static inline word_pair pair_lanes(word_pair p)
{
	p = _mm_shufflelo_epi16(p, 0);
	return _mm_unpacklo_epi64(p, p);
}
static inline bool pair_is_zero(word_pair p) { return _mm_movemask_epi8(_mm_cmpeq_epi8(p, _mm_setzero_si128())) == 0xffff; }
static inline uint32_t pair_low32(word_pair p) { return (uint32_t)_mm_cvtsi128_si32(p); }
static inline void *pair_pointer(word_pair p) { return (void *)(uintptr_t)pair_low(p); }
/* In a vector register, whatever else is done with it. */
#define pair_keep(p) __asm__("" : "+x"(p))
static inline word_pair pair_differ(word_pair x, word_pair y) { return _mm_xor_si128(x, y); }
static inline word_pair pair_or(word_pair x, word_pair y) { return _mm_or_si128(x, y); }
static inline word_pair pair_and(word_pair x, word_pair y) { return _mm_and_si128(x, y); }
#endif

#endif
