/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes and reads dump files; dumpfile.h draws the format.  Nothing in a file is believed before its checksum matched,
 * and no length before it fits into what the file has left: a damaged or hostile file costs a message, not memory.
 *
 * The reader looks at the file through a window that it moves with pread(), never by mmap: a file cut short meanwhile
 * is then a short read and not a SIGBUS.
 */
#define _GNU_SOURCE /* memmem */
#include "dumpfile.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <larder.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum {
	HEADER_BYTES = 48, HEADER_CHECK = 40,
	HEAD_BYTES = 72, HEAD_CHECK = 64,
	CHECK_BYTES = 8,
	TRAILER_BYTES = HEAD_BYTES + CHECK_BYTES + CHECK_BYTES,
	NAME_MAX_BYTES = 64,
	FLAG_COUNTER = 1,
	WINDOW_BYTES = 1 << 20
};

static const unsigned char magic[8] = { 0x89, 'L', 'A', 'R', 'D', '\r', '\n', 0x1a };

static void put16(unsigned char *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof value);
}

static void put32(unsigned char *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof value);
}

static void put64(unsigned char *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof value);
}

static uint16_t take16(const unsigned char *at)
{
	uint16_t value;
	memcpy(&value, at, sizeof value);
	return le16toh(value);
}

static uint32_t take32(const unsigned char *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof value);
	return le32toh(value);
}

static uint64_t take64(const unsigned char *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof value);
	return le64toh(value);
}

/* The digest of checksums so far, and one more. */
static uint64_t digest_add(uint64_t digest, uint64_t checksum)
{
	unsigned char bytes[8];

	put64(bytes, checksum);
	return XXH3_64bits_withSeed(bytes, sizeof bytes, digest);
}

/* ---- Writing ---- */

bool dump_begin(struct dump_writer *writer, FILE *out, int64_t now_ms)
{
	unsigned char header[HEADER_BYTES] = { 0 };

	*writer = (struct dump_writer){ .out = out };
	if (getrandom(&writer->marker, sizeof writer->marker, 0) != (ssize_t)sizeof writer->marker)
		return false;
	memcpy(header, magic, sizeof magic);
	put32(header + 8, DUMP_FORMAT);
	put32(header + 12, HEADER_BYTES);
	put64(header + 16, writer->marker);
	put64(header + 24, (uint64_t)now_ms);
	put64(header + HEADER_CHECK, XXH3_64bits(header, HEADER_CHECK));
	return fwrite(header, sizeof header, 1, out) == 1;
}

static uint64_t encode_head(unsigned char head[HEAD_BYTES], const struct dump_record *record, uint64_t marker)
{
	put64(head, marker);
	put64(head + 8, record->number);
	head[16] = (unsigned char)record->kind;
	head[17] = (unsigned char)record->ns_bytes;
	put16(head + 18, (uint16_t)record->key_bytes);
	put32(head + 20, record->user_flags);
	put64(head + 24, record->value_bytes);
	put64(head + 32, (uint64_t)record->expires_at_ms);
	put64(head + 40, (uint64_t)record->created_at_ms);
	put64(head + 48, record->version);
	put32(head + 56, record->counter ? FLAG_COUNTER : 0);
	put32(head + 60, 0);
	uint64_t check = XXH3_64bits_withSeed(head, HEAD_CHECK, marker);
	put64(head + HEAD_CHECK, check);
	return check;
}

/* Name, key and value need not lie together: the hash is fed in three pieces. */
static bool body_checksum(const struct dump_record *record, uint64_t seed, uint64_t *check)
{
	XXH3_state_t *state = XXH3_createState();

	if (!state)
		return false;
	XXH3_64bits_reset_withSeed(state, seed);
	XXH3_64bits_update(state, record->ns, record->ns_bytes);
	XXH3_64bits_update(state, record->key, record->key_bytes);
	XXH3_64bits_update(state, record->value, record->value_bytes);
	*check = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	return true;
}

static bool write_bytes(FILE *out, const void *bytes, size_t count)
{
	return !count || fwrite(bytes, count, 1, out) == 1;
}

bool dump_put(struct dump_writer *writer, struct dump_record record)
{
	unsigned char head[HEAD_BYTES], tail[CHECK_BYTES];
	uint64_t check;

	record.number = writer->number++;
	uint64_t seed = encode_head(head, &record, writer->marker);
	if (!body_checksum(&record, seed, &check))
		return false;
	writer->digest = digest_add(writer->digest, check);
	put64(tail, check);
	return write_bytes(writer->out, head, sizeof head) && write_bytes(writer->out, record.ns, record.ns_bytes) &&
			write_bytes(writer->out, record.key, record.key_bytes) &&
			write_bytes(writer->out, record.value, record.value_bytes) &&
			write_bytes(writer->out, tail, sizeof tail);
}

bool dump_end(struct dump_writer *writer)
{
	unsigned char digest[CHECK_BYTES];
	struct dump_record trailer = { .kind = DUMP_TRAILER, .value = digest, .value_bytes = sizeof digest };

	put64(digest, writer->digest);
	return dump_put(writer, trailer) && !fflush(writer->out);
}

/* ---- Reading ---- */

static enum dump_result fail(struct dump_reader *reader, enum dump_result result, const char *format, ...)
		__attribute__((format(printf, 3, 4)));

/* Says what is wrong.  A read that failed is no damage, whatever the caller made of the bytes not being there. */
static enum dump_result fail(struct dump_reader *reader, enum dump_result result, const char *format, ...)
{
	va_list arguments;

	if (reader->error) {
		snprintf(reader->fault, sizeof reader->fault, "cannot read: %s", strerror(reader->error));
		return DUMP_ERROR;
	}
	va_start(arguments, format);
	vsnprintf(reader->fault, sizeof reader->fault, format, arguments);
	va_end(arguments);
	return result;
}

/* Fills the window from off on with as much of `wanted` as the file has. */
static bool window_fill(struct dump_reader *reader, uint64_t off, size_t wanted)
{
	if (wanted > reader->window_capacity) {
		unsigned char *larger = realloc(reader->window, wanted);
		if (!larger) {
			reader->error = ENOMEM;
			return false;
		}
		reader->window = larger;
		reader->window_capacity = wanted;
	}
	reader->window_off = off;
	reader->window_bytes = 0;
	while (reader->window_bytes < reader->window_capacity) {
		ssize_t got = pread(reader->fd, reader->window + reader->window_bytes,
				reader->window_capacity - reader->window_bytes, (off_t)(off + reader->window_bytes));
		if (got < 0 && errno != EINTR) {
			reader->error = errno;
			return false;
		}
		if (got == 0)
			break;
		reader->window_bytes += got > 0 ? (size_t)got : 0;
	}
	return true;
}

/* Bytes [off, off + count) of the file, or NULL: there are not that many, or reader->error says why not. */
static const unsigned char *window_at(struct dump_reader *reader, uint64_t off, uint64_t count)
{
	if (count > reader->size || off > reader->size - count)
		return NULL;
	bool inside = off >= reader->window_off && off + count <= reader->window_off + reader->window_bytes;
	if (!inside && !window_fill(reader, off, count > WINDOW_BYTES ? (size_t)count : WINDOW_BYTES))
		return NULL;
	if (off + count > reader->window_off + reader->window_bytes)
		return NULL;
	return reader->window + (off - reader->window_off);
}

static enum dump_result read_header(struct dump_reader *reader)
{
	const unsigned char *header = window_at(reader, 0, HEADER_BYTES);

	if (!header)
		return fail(reader, DUMP_BAD, "%" PRIu64 " bytes are too few for a dump", reader->size);
	if (memcmp(header, magic, sizeof magic))
		return fail(reader, DUMP_BAD, "at byte 0: this is not how a dump begins");
	if (take64(header + HEADER_CHECK) != XXH3_64bits(header, HEADER_CHECK))
		return fail(reader, DUMP_BAD, "at byte 0: the file header is damaged");
	if (take32(header + 8) != DUMP_FORMAT || take32(header + 12) != HEADER_BYTES)
		return fail(reader, DUMP_ERROR, "the file is of format %" PRIu32 ", this program reads format %u",
				take32(header + 8), DUMP_FORMAT);
	reader->marker = take64(header + 16);
	reader->off = HEADER_BYTES;
	return DUMP_OK;
}

enum dump_result dump_open(struct dump_reader *reader, int fd)
{
	struct stat status;

	*reader = (struct dump_reader){ .fd = fd };
	if (fstat(fd, &status))
		return fail(reader, DUMP_ERROR, "%s", strerror(errno));
	if (!S_ISREG(status.st_mode))
		return fail(reader, DUMP_ERROR, "not a regular file; use - to read from standard input");
	reader->size = (uint64_t)status.st_size;
	return read_header(reader);
}

void dump_close(struct dump_reader *reader)
{
	free(reader->window);
	reader->window = NULL;
}

/* Whether a whole head with the file's marker is at `at`. */
static bool head_is_whole(const unsigned char *at, uint64_t marker)
{
	return take64(at) == marker && take64(at + HEAD_CHECK) == XXH3_64bits_withSeed(at, HEAD_CHECK, marker);
}

/* What a head says, and whether that can be: checked though its checksum matched, since a file may be malicious. */
static bool decode_head(const unsigned char *head, struct dump_record *record)
{
	*record = (struct dump_record){
		.kind = (enum dump_kind)head[16],
		.number = take64(head + 8),
		.ns_bytes = head[17],
		.key_bytes = take16(head + 18),
		.value_bytes = take64(head + 24),
		.expires_at_ms = (int64_t)take64(head + 32),
		.created_at_ms = (int64_t)take64(head + 40),
		.version = take64(head + 48),
		.user_flags = take32(head + 20),
		.counter = take32(head + 56) & FLAG_COUNTER,
	};
	if (record->ns_bytes > NAME_MAX_BYTES || record->key_bytes > LARDER_KEY_MAX)
		return false;
	if (record->value_bytes > INT64_MAX / 2) /* sums of it must not wrap */
		return false;
	switch (record->kind) {
	case DUMP_NAMESPACE:
		return record->key_bytes == 0 && record->value_bytes == 0 && record->expires_at_ms >= LARDER_TTL_NONE;
	case DUMP_ENTRY:
		return record->key_bytes > 0 && record->expires_at_ms >= 0;
	case DUMP_TRAILER:
		return record->ns_bytes == 0 && record->key_bytes == 0 && record->value_bytes == CHECK_BYTES;
	}
	return false;
}

/* The body of the record whose head is at reader->off: points record into it if its checksum matches. */
static enum dump_result read_body(struct dump_reader *reader, struct dump_record *record, uint64_t seed,
		uint64_t *check)
{
	uint64_t body_bytes = record->ns_bytes + record->key_bytes + record->value_bytes;
	const unsigned char *body = window_at(reader, reader->off + HEAD_BYTES, body_bytes + CHECK_BYTES);

	if (!body)
		return fail(reader, DUMP_BAD, "at byte %" PRIu64 ": the file ends within record %" PRIu64, reader->off,
				record->number);
	*check = XXH3_64bits_withSeed(body, body_bytes, seed);
	if (*check != take64(body + body_bytes))
		return fail(reader, DUMP_BAD, "at byte %" PRIu64 ": record %" PRIu64 " is damaged", reader->off,
				record->number);
	record->ns = body;
	record->key = body + record->ns_bytes;
	record->value = record->key + record->key_bytes;
	reader->off += HEAD_BYTES + body_bytes + CHECK_BYTES;
	return DUMP_OK;
}

/* A gap in the numbers: so many records are gone. */
static enum dump_result check_number(struct dump_reader *reader, const struct dump_record *record)
{
	uint64_t expected = reader->number;

	if (record->number == expected)
		return DUMP_OK;
	if (record->number < expected)
		return fail(reader, DUMP_BAD, "at byte %" PRIu64 ": record %" PRIu64 " comes again or out of order",
				reader->off, record->number);
	if (!reader->resumed) {
		reader->gap = true;
		return fail(reader, DUMP_BAD, "at byte %" PRIu64 ": records %" PRIu64 " to %" PRIu64 " are missing",
				reader->off, expected, record->number - 1);
	}
	reader->lost += record->number - expected;
	reader->number = record->number;
	return DUMP_OK;
}

static enum dump_result check_trailer(struct dump_reader *reader, const struct dump_record *record)
{
	if (!reader->resumed && take64(record->value) != reader->digest)
		return fail(reader, DUMP_BAD, "the trailer's digest does not match the records before it");
	if (!reader->resumed && reader->off != reader->size)
		return fail(reader, DUMP_BAD, "at byte %" PRIu64 ": something follows the trailer", reader->off);
	return DUMP_END;
}

enum dump_result dump_next(struct dump_reader *reader, struct dump_record *record)
{
	const unsigned char *head = window_at(reader, reader->off, HEAD_BYTES);
	uint64_t check = 0;

	if (!head)
		return fail(reader, DUMP_BAD, "at byte %" PRIu64 ": the file ends before its trailer", reader->off);
	if (!head_is_whole(head, reader->marker) || !decode_head(head, record))
		return fail(reader, DUMP_BAD, "at byte %" PRIu64 ": the head of record %" PRIu64 " is damaged",
				reader->off, reader->number);
	enum dump_result result = check_number(reader, record);
	if (result == DUMP_OK)
		result = read_body(reader, record, take64(head + HEAD_CHECK), &check);
	if (result != DUMP_OK)
		return result;
	reader->number++;
	if (record->kind == DUMP_TRAILER)
		return check_trailer(reader, record);
	reader->digest = digest_add(reader->digest, check);
	return DUMP_OK;
}

/* The header is gone: the trailer has the marker, too. */
static bool marker_from_trailer(struct dump_reader *reader)
{
	const unsigned char *head = reader->size >= TRAILER_BYTES ?
			window_at(reader, reader->size - TRAILER_BYTES, HEAD_BYTES) : NULL;

	if (!head || !head_is_whole(head, take64(head)) || head[16] != DUMP_TRAILER)
		return false;
	reader->marker = take64(head);
	return true;
}

/* First place from `off` on, one step past it, where the marker stands; the file's end if there is none. */
static uint64_t find_marker(struct dump_reader *reader, uint64_t off)
{
	unsigned char marker[8];

	put64(marker, reader->marker);
	while (off + HEAD_BYTES <= reader->size) {
		uint64_t left = reader->size - off;
		size_t count = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
		const unsigned char *bytes = window_at(reader, off, count);
		if (!bytes)
			break;
		const unsigned char *found = memmem(bytes, count, marker, sizeof marker);
		if (found)
			return off + (uint64_t)(found - bytes);
		off += count - sizeof marker + 1; /* a marker may lie across two windows */
	}
	return reader->size;
}

enum dump_result dump_resume(struct dump_reader *reader)
{
	if (!reader->off && !marker_from_trailer(reader))
		return fail(reader, DUMP_BAD, "neither header nor trailer can be read: no telling what is a record");
	reader->resumed = true;
	if (reader->gap) {
		reader->gap = false;
		return DUMP_OK;
	}
	for (uint64_t off = reader->off; (off = find_marker(reader, off + 1)) < reader->size;) {
		const unsigned char *head = window_at(reader, off, HEAD_BYTES);
		if (head && head_is_whole(head, reader->marker)) {
			reader->off = off;
			return DUMP_OK;
		}
	}
	reader->off = reader->size;
	return reader->error ? fail(reader, DUMP_ERROR, "%s", "") : DUMP_END;
}
