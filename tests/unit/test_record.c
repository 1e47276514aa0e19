/* SPDX-License-Identifier: BSD-2-Clause */
/* Records: entries written as bytes and read back, and what damaged, foreign, later and cut ones answer. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <larder/entry.h>

static struct larder_buffer packed = { .grow = true };

static const struct larder_record sample = { .value = "Ada", .value_bytes = 3, .created_at_ms = 1700000000123,
	.expires_at_ms = 1700000060123, .user_flags = 0xfedcba98 };

static void pack(void)
{
	cr_assert_eq(larder_record_pack(&sample, &packed), LARDER_OK);
	cr_assert_eq(packed.length, LARDER_RECORD_HEADER + 3);
}
static void drop(void)
{
	free(packed.data);
	packed = (struct larder_buffer){ .grow = true };
}
TestSuite(record, .init = pack, .fini = drop);

static enum larder_status unpack(size_t count, size_t *used)
{
	struct larder_record record;

	return larder_record_unpack(packed.data, count, &record, used);
}

Test(record, what_was_packed_is_read_back)
{
	struct larder_record back;

	cr_assert_eq(larder_record_unpack(packed.data, packed.length, &back, NULL), LARDER_OK);
	cr_assert_eq(back.value_bytes, 3);
	cr_assert_arr_eq(back.value, "Ada", 3);
	cr_assert_eq(back.created_at_ms, sample.created_at_ms);
	cr_assert_eq(back.expires_at_ms, sample.expires_at_ms);
	cr_assert_eq(back.user_flags, sample.user_flags);
}

Test(record, the_form_is_the_one_that_the_header_draws)
{
	static const unsigned char head[40] = { 0xf7, 'L', 'E', 0, 1, 0, 0, 0, 0x98, 0xba, 0xdc, 0xfe, 0, 0, 0, 0,
		0x7b, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0, 0, 0xdb, 0x52, 0xe6, 0xcf, 0x8b, 0x01, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0 };

	cr_assert_arr_eq(packed.data, head, sizeof head);
	cr_assert_arr_eq((char *)packed.data + LARDER_RECORD_HEADER, "Ada", 3);
}

Test(record, an_empty_value_is_a_value)
{
	struct larder_record empty = { .value = NULL }, back;

	cr_assert_eq(larder_record_pack(&empty, &packed), LARDER_OK);
	cr_assert_eq(larder_record_unpack(packed.data, packed.length, &back, NULL), LARDER_OK);
	cr_assert_eq(back.value_bytes, 0);
}

Test(record, every_changed_bit_is_seen)
{
	unsigned char *bytes = packed.data;

	for (size_t bit = 0; bit < packed.length * 8; bit++) {
		bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
		cr_assert_neq(unpack(packed.length, NULL), LARDER_OK, "bit %zu", bit);
		bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
	cr_assert_eq(unpack(packed.length, NULL), LARDER_OK);
}

Test(record, a_later_version_is_refused_by_number)
{
	((unsigned char *)packed.data)[4] = 2;
	cr_assert_eq(unpack(packed.length, NULL), LARDER_MISMATCH);
	cr_assert(strstr(larder_message(), "version 2"), "%s", larder_message());
}

Test(record, every_piece_of_one_asks_for_more)
{
	for (size_t count = 0; count < packed.length; count++) {
		size_t used = 0;

		cr_assert_eq(unpack(count, &used), LARDER_SHORT, "%zu", count);
		cr_assert_eq(used, count < LARDER_RECORD_HEADER ? LARDER_RECORD_HEADER : packed.length);
	}
}

Test(record, two_in_a_row_are_read_one_by_one)
{
	size_t length = packed.length, used;
	char *row = malloc(2 * length);

	memcpy(row, packed.data, length);
	memcpy(row + length, packed.data, length);
	free(packed.data);
	packed.data = row;
	cr_assert_eq(unpack(2 * length, NULL), LARDER_DAMAGED);
	cr_assert_eq(unpack(2 * length, &used), LARDER_OK);
	cr_assert_eq(used, length);
}

Test(record, a_value_longer_than_memory_is_refused)
{
	memset((char *)packed.data + 32, 0xff, 8);
	cr_assert_eq(unpack(packed.length, NULL), LARDER_DAMAGED);
}

Test(record, text_is_no_record)
{
	struct larder_record record;

	cr_assert_eq(larder_record_unpack("hello", 5, &record, NULL), LARDER_MISMATCH);
	cr_assert_not(larder_record_is("hello", 5));
	cr_assert_not(larder_record_is("\xf7LE", 3));
	cr_assert(larder_record_is(packed.data, packed.length));
}

Test(record, it_expires_at_the_millisecond_and_never_without_a_time)
{
	struct larder_record record = sample;

	cr_assert_not(larder_record_expired(&record, sample.expires_at_ms - 1));
	cr_assert(larder_record_expired(&record, sample.expires_at_ms));
	cr_assert(larder_record_expired(&record, 0));
	record.expires_at_ms = (int64_t)time(NULL) * 1000 + 60000;
	cr_assert_not(larder_record_expired(&record, 0));
	record.expires_at_ms = 0;
	cr_assert_not(larder_record_expired(&record, INT64_MAX));
}

Test(record, times_before_1970_and_values_that_are_not_there_are_refused)
{
	struct larder_record record = sample;
	struct larder_buffer fixed = { .data = (char[8]){ 0 }, .capacity = 8 };

	cr_assert_eq(larder_record_pack(&record, &fixed), LARDER_SHORT);
	cr_assert_eq(fixed.length, LARDER_RECORD_HEADER + 3);
	record.created_at_ms = -1;
	cr_assert_eq(larder_record_pack(&record, &packed), LARDER_INVALID);
	record = sample;
	record.expires_at_ms = -1;
	cr_assert_eq(larder_record_pack(&record, &packed), LARDER_INVALID);
	record = (struct larder_record){ .value_bytes = 3 };
	cr_assert_eq(larder_record_pack(&record, &packed), LARDER_INVALID);
	record = (struct larder_record){ .value = "", .value_bytes = SIZE_MAX };
	cr_assert_eq(larder_record_pack(&record, &packed), LARDER_INVALID);
}
