/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of namespaces and the escaping of canonical key text: ':' is written %3A, '%' is written %25, nothing else changes.
 */
#ifndef LARDER_STORE_NAME_H
#define LARDER_STORE_NAME_H

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <larder/store.h>

/* The name if somebody in this process has asked for it by larder_name(), else NULL: for texts of strangers, for the table never shrinks. */
const struct larder_name *name_known(const char *text);

/* Writes text[0 .. count) escaped to escaped[0 .. 3 * count) and returns its length; adds no NUL. */
size_t name_escape(const char *text, size_t count, char *escaped);
/* The length that name_escape() would return. */
size_t name_escaped_bytes(const char *text, size_t count);

/* name_is_plain() of any length, out of line. */
bool name_is_plain_long(const void *text, size_t count);

/* True if text has neither ':' nor '%' in it, and so stands for itself.  Inline for the usual lengths: a get through the manager
 * has about forty instructions to spare before it costs the overlap with the next one. */
static inline bool name_is_plain(const void *text, size_t count)
{
#ifdef __SSE2__
	if (__builtin_expect(count - 16 <= 16, 1)) {
		const unsigned char *bytes = text;
		const __m128i colon = _mm_set1_epi8(':'), percent = _mm_set1_epi8('%');
		__m128i first = _mm_loadu_si128((const void *)bytes), last = _mm_loadu_si128((const void *)(bytes + count - 16));
		__m128i marks = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(first, colon), _mm_cmpeq_epi8(first, percent)),
				_mm_or_si128(_mm_cmpeq_epi8(last, colon), _mm_cmpeq_epi8(last, percent)));
		return !_mm_movemask_epi8(marks);
	}
#endif
	return name_is_plain_long(text, count);
}

#endif
