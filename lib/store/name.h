/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of namespaces and the escaping of canonical key text: ':' is written %3A, '%' is written %25, nothing else changes.
 */
#ifndef LARDER_STORE_NAME_H
#define LARDER_STORE_NAME_H

#include <string.h>

#include <larder/store.h>

/* Writes text[0 .. count) escaped to escaped[0 .. 3 * count) and returns its length; adds no NUL. */
size_t name_escape(const char *text, size_t count, char *escaped);
/* The length that name_escape() would return. */
size_t name_escaped_bytes(const char *text, size_t count);

#define NAME_EVERY_BYTE UINT64_C(0x0101010101010101)

/* True if one of the eight bytes is c. */
static inline bool name_word_has(uint64_t word, unsigned char c)
{
	uint64_t zeroed = word ^ NAME_EVERY_BYTE * c;

	return (zeroed - NAME_EVERY_BYTE) & ~zeroed & NAME_EVERY_BYTE << 7;
}

/* True if text has neither ':' nor '%' in it, and so stands for itself. */
static inline bool name_is_plain(const void *text, size_t count)
{
	const unsigned char *bytes = text;
	uint64_t word;

	for (; count >= sizeof word; bytes += sizeof word, count -= sizeof word) {
		memcpy(&word, bytes, sizeof word);
		if (name_word_has(word, ':') || name_word_has(word, '%'))
			return false;
	}
	for (; count; bytes++, count--)
		if (*bytes == ':' || *bytes == '%')
			return false;
	return true;
}

#endif
