/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entries outside of a cache: a value with its times and flags, as one run of bytes that can be written to a file or to a remote
 * store and read back, by any machine and any later version of larder.
 *
 * The form, all numbers little-endian:
 *
 *     0  4  F7 'L' 'E' 00    no text begins so: F7 is in no UTF-8, and 00 in no string
 *     4  1  version, 1
 *     5  3  0
 *     8  4  user flags
 *    12  4  0
 *    16  8  created_at, ms since 1970 by the wall clock; 0: not known
 *    24  8  expires_at, likewise; 0: never
 *    32  8  bytes of the value
 *    40  8  XXH3-64 of the value, seeded with XXH3-64 of bytes 0 .. 39, seeded with 0
 *    48     the value
 *
 * Inside a cache times are monotonic; these are for people and for other hosts, and as good as those hosts' clocks.
 * All calls are wait-free; any thread.
 */
#ifndef LARDER_ENTRY_H
#define LARDER_ENTRY_H

#include <larder/store.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LARDER_RECORD_HEADER 48u /* bytes before the value */

struct larder_record {
	const void *value;     /* the caller's; after unpack, within the bytes that were given */
	size_t value_bytes;
	int64_t created_at_ms; /* wall clock, since 1970; 0: not known */
	int64_t expires_at_ms; /* wall clock, since 1970; 0: never */
	uint32_t user_flags;
};

/* True if the record expires at all and did so by now_ms (wall clock, since 1970; 0: the time of the call). */
LARDER_API bool larder_record_expired(const struct larder_record *record, int64_t now_ms);

/* Writes the record's LARDER_RECORD_HEADER + value_bytes bytes to *bytes, which may grow (see larder_buffer).
 * LARDER_OK; LARDER_SHORT; LARDER_NO_MEMORY; LARDER_INVALID (a time below 0, no value). */
LARDER_API enum larder_status larder_record_pack(const struct larder_record *record, struct larder_buffer *bytes);

/* True if bytes[0 .. count) begins as records do, whatever follows. */
LARDER_API bool larder_record_is(const void *bytes, size_t count);

/*
 * Reads the record that bytes[0 .. count) begins with; record->value lies in bytes.  *used (may be NULL: then nothing may follow
 * the record) is its length, which LARDER_SHORT tells too, as far as it can be known: count may be a piece of a stream.
 * LARDER_OK; LARDER_SHORT (*used bytes are needed); LARDER_MISMATCH (no record, or one of a version that this library does not
 * know); LARDER_DAMAGED (the sum is wrong, what has to be 0 is not, or something follows).
 */
LARDER_API enum larder_status larder_record_unpack(const void *bytes, size_t count, struct larder_record *record, size_t *used);

#ifdef __cplusplus
}
#endif
#endif
