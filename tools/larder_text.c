/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What people and programs read: keys made safe for a terminal, sizes, durations and times in few characters, and the
 * JSON that several subcommands share.  Bytes that are no UTF-8 appear in JSON under a name ending in _hex, so that
 * nothing is lost and nothing needs guessing.
 */
#define _GNU_SOURCE
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Bytes of the UTF-8 sequence at data[0 .. count), 0 if it is none (overlong and surrogates included). */
static size_t utf8_sequence(const unsigned char *data, size_t count)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = data[0] < 0x80 ? 1 : data[0] >= 0xf0 ? 4 : data[0] >= 0xe0 ? 3 : 2;

	if (length == 1)
		return 1;
	if (data[0] < 0xc2 || data[0] > 0xf4 || length > count)
		return 0;
	uint32_t point = data[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((data[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (data[i] & 0x3f);
	}
	return point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? 0 : length;
}

static bool bytes_are_text(struct bytes bytes)
{
	for (size_t i = 0, length; i < bytes.count; i += length) {
		length = utf8_sequence(bytes.data + i, bytes.count - i);
		if (!length)
			return false;
	}
	return true;
}

/* Control characters: C0, DEL, and C1 as UTF-8 writes them (c2 80 .. c2 9f). */
static bool is_control(const unsigned char *data, size_t length)
{
	return data[0] < 0x20 || data[0] == 0x7f || (length == 2 && data[0] == 0xc2 && data[1] < 0xa0);
}

static void print_hex(FILE *out, const char *before, const unsigned char *data, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%s%02x", before, data[i]);
}

void print_bytes(FILE *out, struct bytes bytes, bool hex)
{
	if (hex) {
		print_hex(out, "", bytes.data, bytes.count);
		return;
	}
	for (size_t i = 0, length; i < bytes.count; i += length) {
		const unsigned char *at = bytes.data + i;
		length = utf8_sequence(at, bytes.count - i);
		if (!length || is_control(at, length))
			print_hex(out, "\\x", at, length = length ? length : 1);
		else if (*at == '\\')
			fputs("\\\\", out);
		else
			fwrite(at, 1, length, out);
	}
}

void print_name(FILE *out, const char *namespace_name)
{
	struct bytes name = { (const unsigned char *)namespace_name, strlen(namespace_name) };

	if (name.count)
		print_bytes(out, name, false);
	else
		fputs("(default)", out);
}

const char *plural(uint64_t count, const char *one, const char *many)
{
	return count == 1 ? one : many;
}

const char *text_size(uint64_t count, char *text)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double size = (double)count;
	size_t unit = 0;

	for (; size >= 1024 && unit < 5; unit++)
		size /= 1024;
	if (unit && size < 100 && size != (double)(uint64_t)size)
		snprintf(text, TEXT_MAX, "%.1f %s", size, units[unit]);
	else
		snprintf(text, TEXT_MAX, "%.0f %s", size, units[unit]);
	return text;
}

const char *text_duration(int64_t ms, char *text)
{
	int64_t s = ms / 1000;

	if (ms == LARDER_TTL_NONE)
		return "never";
	if (ms < 10000 && ms % 1000)
		snprintf(text, TEXT_MAX, "%" PRId64 "ms", ms);
	else if (s < 60)
		snprintf(text, TEXT_MAX, "%" PRId64 "s", s);
	else if (s < 3600)
		snprintf(text, TEXT_MAX, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, TEXT_MAX, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(text, TEXT_MAX, "%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
	return text;
}

const char *text_time(int64_t ms, char *text)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm date;
	char day[TEXT_MAX - 6];

	if (!ms)
		return "never";
	if (ms < 0 || !gmtime_r(&seconds, &date) || !strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &date))
		return "?";
	snprintf(text, TEXT_MAX, "%s.%03dZ", day, (int)(ms % 1000));
	return text;
}

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t wall_clock_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

uint64_t steady_clock_ms(void)
{
	return (uint64_t)clock_ms(CLOCK_MONOTONIC);
}

json_t *json_number(uint64_t number)
{
	return json_integer((json_int_t)number);
}

json_t *json_version(uint64_t version)
{
	char text[TEXT_MAX];

	snprintf(text, sizeof text, "%" PRIu64, version);
	return json_string(text);
}

static json_t *json_hex(struct bytes bytes)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * bytes.count + 1);

	if (!text)
		return NULL;
	for (size_t i = 0; i < bytes.count; i++) {
		text[2 * i] = digits[bytes.data[i] >> 4];
		text[2 * i + 1] = digits[bytes.data[i] & 15];
	}
	json_t *string = json_stringn_nocheck(text, 2 * bytes.count);
	free(text);
	return string;
}

void json_set_bytes(json_t *object, const char *name, struct bytes bytes)
{
	char hex_name[TEXT_MAX];

	if (bytes_are_text(bytes)) {
		json_object_set_new(object, name, json_stringn((const char *)bytes.data, bytes.count));
		return;
	}
	snprintf(hex_name, sizeof hex_name, "%s_hex", name);
	json_object_set_new(object, hex_name, json_hex(bytes));
}

/* null: never, or unknown */
static json_t *json_time(int64_t ms)
{
	return ms ? json_integer(ms) : json_null();
}

void json_set_meta(json_t *object, const struct larder_meta *meta)
{
	json_object_set_new(object, "value_bytes", json_number(meta->value_bytes));
	json_object_set_new(object, "flags", json_number(meta->user_flags));
	json_object_set_new(object, "version", json_version(meta->version));
	json_object_set_new(object, "created_at_ms", json_time(meta->created_at_ms));
	json_object_set_new(object, "expires_at_ms", json_time(meta->expires_at_ms));
	json_object_set_new(object, "ttl_left_ms",
			meta->ttl_left_ms == LARDER_TTL_NONE ? json_null() : json_integer(meta->ttl_left_ms));
	json_object_set_new(object, "stale", json_boolean(meta->stale));
	json_object_set_new(object, "counter", json_boolean(meta->counter));
}

int json_print(json_t *object, bool compact)
{
	int error = object ? json_dumpf(object, stdout, compact ? JSON_COMPACT : JSON_INDENT(2)) : -1;

	json_decref(object);
	putchar('\n');
	if (error) {
		complain("cannot write JSON: out of memory, or standard output is closed");
		return TOOL_FAILED;
	}
	return TOOL_OK;
}
