/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The dump file: what `larder dump` writes and `larder load` reads.  All numbers are little-endian, nothing is padded.
 *
 *   file header (48 bytes)                         record head (72 bytes)
 *    0  magic  89 'L' 'A' 'R' 'D' 0d 0a 1a           0  marker of this file
 *    8  u32 format version (1)                       8  u64 number: 0, 1, 2 ...
 *   12  u32 bytes of this header (48)               16  u8  kind: 1 namespace, 2 entry, 3 trailer
 *   16  u64 marker: 64 random bits                  17  u8  bytes of the namespace's name (0 .. 64)
 *   24  i64 time of the dump, ms since 1970         18  u16 bytes of the key
 *   32  u64 0                                       20  u32 user flags
 *   40  u64 XXH3 of bytes 0 .. 39, seed 0           24  u64 bytes of the value
 *                                                   32  i64 expiry, ms since 1970, 0 never (namespace: TTL in ms)
 *   Then records, the last of them a trailer,       40  i64 creation, ms since 1970, 0 unknown
 *   whose number is how many there are before       48  u64 version, for information
 *   it, and whose value of 8 bytes is a digest      56  u32 bit 0: a counter (its value is decimal digits)
 *   of all their checksums in order.                60  u32 0
 *                                                   64  u64 XXH3 of bytes 0 .. 63, seed: the marker
 *                                                   72  name, key, value
 *                                                    +  u64 XXH3 of name, key, value, seed: the head's checksum
 *
 * An entry carries the name of its namespace, so each record can be loaded without any other.  The head has a checksum
 * of its own: lengths are believed only once it matches.  The marker begins every record and seeds every checksum:
 * after damage the next record is found by searching for it, and a dump that lies inside a value is never taken for
 * records of this file, its marker being another.
 */
#ifndef LARDER_DUMPFILE_H
#define LARDER_DUMPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define DUMP_FORMAT 1u

enum dump_kind { DUMP_NAMESPACE = 1, DUMP_ENTRY = 2, DUMP_TRAILER = 3 };

struct dump_record {
	enum dump_kind kind;
	uint64_t number;
	const unsigned char *ns, *key, *value;
	size_t ns_bytes, key_bytes, value_bytes;
	int64_t expires_at_ms;
	int64_t created_at_ms;
	uint64_t version;
	uint32_t user_flags;
	bool counter;
};

/* ---- Writing ---- */

struct dump_writer {
	FILE *out;
	uint64_t marker, number, digest;
};

/* Each returns false with errno set if the file could not be written. */
bool dump_begin(struct dump_writer *writer, FILE *out, int64_t now_ms);
bool dump_put(struct dump_writer *writer, struct dump_record record); /* the number is the writer's business */
bool dump_end(struct dump_writer *writer);

/* ---- Reading ---- */

enum dump_result {
	DUMP_OK,      /* a record */
	DUMP_END,     /* the trailer was there, and right */
	DUMP_BAD,     /* damage: reader->fault says what and where */
	DUMP_ERROR    /* reader->fault says why the file could not be read at all */
};

struct dump_reader {
	int fd;
	uint64_t size;          /* of the file */
	uint64_t off;           /* of the next record */
	uint64_t marker, number, digest;
	bool resumed;           /* after damage: numbers and digest no longer follow from what was read */
	bool gap;               /* the record at off is whole, but records before it are missing */
	uint64_t lost;          /* records known to be missing */
	int error;              /* errno of a read that failed */
	unsigned char *window;  /* bytes [window_off, window_off + window_bytes) of the file */
	size_t window_bytes, window_capacity;
	uint64_t window_off;
	char fault[200];
};

/* Reads the file header.  After DUMP_BAD dump_resume() finds what records it can. */
enum dump_result dump_open(struct dump_reader *reader, int fd);
/* The next record; its pointers are valid until the next call. */
enum dump_result dump_next(struct dump_reader *reader, struct dump_record *record);
/* After DUMP_BAD: moves on to the next record whose head is whole.  DUMP_END: there is none.  DUMP_BAD: nor can there
 * be one, since neither header nor trailer tells the marker. */
enum dump_result dump_resume(struct dump_reader *reader);
void dump_close(struct dump_reader *reader); /* not the descriptor */

#endif
