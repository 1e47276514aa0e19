/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records: entries outside of a cache, in the form that larder/entry.h draws.
 *
 * What is read may come from anybody: lengths are held against what is there before anything is touched, and the sum covers
 * header and value.  A version that is not known is refused rather than guessed at.
 */
#include <larder/entry.h>

#include <endian.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/message.h"

#define VERSION 1u
static const unsigned char magic[4] = { 0xf7, 'L', 'E', 0 };

/* As it lies in the bytes: little-endian, and so read and written through le*toh() and htole*(). */
struct header {
	unsigned char magic[4];
	uint8_t version, zero[3];
	uint32_t user_flags, zero_too;
	uint64_t created_at_ms, expires_at_ms, value_bytes, sum;
};
_Static_assert(sizeof(struct header) == LARDER_RECORD_HEADER, "the form in larder/entry.h");

static uint64_t sum_of(const struct header *header, const void *value, size_t value_bytes)
{
	return hash_bytes(value, value_bytes, hash_bytes(header, offsetof(struct header, sum), 0));
}

bool larder_record_expired(const struct larder_record *record, int64_t now_ms)
{
	return record->expires_at_ms && record->expires_at_ms <= (now_ms ? now_ms : clock_wall_ms());
}

enum larder_status larder_record_pack(const struct larder_record *record, struct larder_buffer *bytes)
{
	struct header header = { .version = VERSION };

	if (record->created_at_ms < 0 || record->expires_at_ms < 0 || (record->value_bytes && !record->value)
			|| record->value_bytes > SIZE_MAX - sizeof header)
		return LARDER_INVALID;
	enum larder_status status = larder_buffer_take(bytes, sizeof header + record->value_bytes);
	if (status)
		return status;
	memcpy(header.magic, magic, sizeof magic);
	header.user_flags = htole32(record->user_flags);
	header.created_at_ms = htole64((uint64_t)record->created_at_ms);
	header.expires_at_ms = htole64((uint64_t)record->expires_at_ms);
	header.value_bytes = htole64(record->value_bytes);
	header.sum = htole64(sum_of(&header, record->value, record->value_bytes));
	memcpy(bytes->data, &header, sizeof header);
	if (record->value_bytes)
		memcpy((unsigned char *)bytes->data + sizeof header, record->value, record->value_bytes);
	return LARDER_OK;
}

bool larder_record_is(const void *bytes, size_t count)
{
	return count >= sizeof magic && !memcmp(bytes, magic, sizeof magic);
}

/* Whether the header is one that this version could have written; lengths are another matter. */
static enum larder_status check_header(const struct header *header)
{
	static const unsigned char zero[4];

	if (memcmp(header->magic, magic, sizeof magic)) {
		message_set("record: found bytes that are no entry of larder's");
		return LARDER_MISMATCH;
	}
	if (header->version != VERSION) {
		message_set("record: found version %u, expected %u; read it with the larder that wrote it", header->version, VERSION);
		return LARDER_MISMATCH;
	}
	if (!memcmp(header->zero, zero, sizeof header->zero) && !header->zero_too
			&& le64toh(header->created_at_ms) <= INT64_MAX && le64toh(header->expires_at_ms) <= INT64_MAX)
		return LARDER_OK;
	message_set("record: damaged header");
	return LARDER_DAMAGED;
}

static enum larder_status check_value(const struct header *header, const unsigned char *bytes, size_t count, size_t *used)
{
	uint64_t value_bytes = le64toh(header->value_bytes);

	if (value_bytes > SIZE_MAX - sizeof *header) {
		message_set("record: damaged header: a value of %llu bytes", (unsigned long long)value_bytes);
		return LARDER_DAMAGED;
	}
	size_t whole = sizeof *header + (size_t)value_bytes;
	if (used)
		*used = whole;
	if (count < whole)
		return LARDER_SHORT;
	if (le64toh(header->sum) == sum_of(header, bytes + sizeof *header, (size_t)value_bytes) && (used || count == whole))
		return LARDER_OK;
	message_set(count > whole && !used ? "record: something follows its end" : "record: damaged, its sum does not agree");
	return LARDER_DAMAGED;
}

enum larder_status larder_record_unpack(const void *bytes, size_t count, struct larder_record *record, size_t *used)
{
	struct header header;

	if (used)
		*used = sizeof header;
	if (count < sizeof header)
		return !memcmp(bytes, magic, count < sizeof magic ? count : sizeof magic) ? LARDER_SHORT : LARDER_MISMATCH;
	memcpy(&header, bytes, sizeof header);
	enum larder_status status = check_header(&header);
	if (!status)
		status = check_value(&header, bytes, count, used);
	if (status)
		return status;
	*record = (struct larder_record){ .value = (const unsigned char *)bytes + sizeof header,
		.value_bytes = (size_t)le64toh(header.value_bytes), .created_at_ms = (int64_t)le64toh(header.created_at_ms),
		.expires_at_ms = (int64_t)le64toh(header.expires_at_ms), .user_flags = le32toh(header.user_flags) };
	return LARDER_OK;
}
