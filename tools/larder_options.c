/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading the command line: options by getopt_long, sizes (k, m, g, t: powers of 1024), durations (ms, s, m, h, d, also
 * put together as 1h30m; a bare number is seconds), times, keys in hexadecimal.  A mistake names the argument and what
 * would have been right, and ends the program with TOOL_USAGE; nothing has been attached or changed by then.
 */
#define _GNU_SOURCE /* strptime, timegm */
#include "tool.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Noreturn void usage_error(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "larder %s: ", tool_command->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\nusage: larder %s %s\n", tool_command->name, tool_command->synopsis);
	exit(TOOL_USAGE);
}

static _Noreturn void serve_help(void)
{
	command_usage(tool_command, stdout);
	exit(fflush(stdout) ? TOOL_FAILED : TOOL_OK);
}

int option_next(int argc, char **argv, const char *shorts, const struct option *longs)
{
	opterr = 0;
	int option = getopt_long(argc, argv, shorts, longs, NULL);

	if (option == 'h')
		serve_help();
	if (option == ':')
		usage_error("option '%s' wants an argument", argv[optind - 1]);
	if (option == '?' && optopt && optopt < 128 && argv[optind - 1][1] != '-')
		usage_error("there is no option '-%c'", optopt);
	if (option == '?')
		usage_error("option '%s' is unknown, ambiguous, or takes no argument", argv[optind - 1]);
	return option;
}

void operands_expect(int argc, char **argv, int least, int most)
{
	if (argc - optind < least)
		usage_error(argc == optind ? "which cache? 'ls /dev/shm/larder.*' shows those that there are"
				: "a key is missing");
	if (argc - optind > most)
		usage_error("'%s' is one argument too many", argv[optind + most]);
}

/* Digits at *text, which is moved past them; false without digits, or past UINT64_MAX. */
static bool take_digits(const char **text, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	*value = strtoull(*text, &end, 10);
	*text = end;
	return errno == 0;
}

uint64_t size_argument(const char *what, const char *text)
{
	static const char units[] = "kmgt";
	const char *rest = text;
	uint64_t size;

	if (!take_digits(&rest, &size))
		usage_error("%s '%s' is no size: say 512k, 64m or 2g", what, text);
	const char *unit = *rest ? strchr(units, tolower((unsigned char)*rest)) : NULL;
	unsigned shift = unit ? 10u * (unsigned)(unit - units + 1) : 0;
	if (rest[unit ? 1 : 0] || size > UINT64_MAX >> shift)
		usage_error("%s '%s' is no size: say 512k, 64m or 2g", what, text);
	return size << shift;
}

uint64_t version_argument(const char *what, const char *text)
{
	const char *rest = text;
	uint64_t value;

	if (!take_digits(&rest, &value) || *rest)
		usage_error("%s '%s' is no whole number", what, text);
	return value;
}

uint32_t number_argument(const char *what, const char *text)
{
	char *end;

	errno = 0;
	uint64_t value = strtoull(text, &end, 0); /* flags are often written 0x... */
	if (!isdigit((unsigned char)*text) || *end || errno || value > UINT32_MAX)
		usage_error("%s '%s' is no whole number up to %u", what, text, UINT32_MAX);
	return (uint32_t)value;
}

int64_t integer_argument(const char *what, const char *text)
{
	const char *digits = text + (*text == '-' || *text == '+');
	char *end;

	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (!isdigit((unsigned char)*digits) || *end || errno)
		usage_error("%s '%s' is no integer of 64 bits", what, text);
	return value;
}

/* Milliseconds of the unit at *text, which is moved past it; 0 if it is none. */
static uint64_t take_unit(const char **text)
{
	static const struct { const char *name; uint64_t ms; } units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	};

	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		size_t length = strlen(units[i].name);
		if (!strncmp(*text, units[i].name, length)) {
			*text += length;
			return units[i].ms;
		}
	}
	return 0;
}

static bool parse_duration(const char *text, int64_t *ms)
{
	uint64_t sum = 0, count;

	do {
		if (!take_digits(&text, &count))
			return false;
		uint64_t unit = *text || sum ? take_unit(&text) : 1000;
		if (!unit || count > (uint64_t)LARDER_TTL_MAX / unit)
			return false;
		sum += count * unit;
	} while (*text);
	*ms = (int64_t)sum;
	return sum > 0 && sum <= (uint64_t)LARDER_TTL_MAX;
}

int64_t duration_argument(const char *what, const char *text)
{
	int64_t ms;

	if (!parse_duration(text, &ms))
		usage_error("%s '%s' is no duration: say 250ms, 30s, 15m, 12h, 7d or 1h30m (17 years at most)", what,
				text);
	return ms;
}

int64_t ttl_argument(const char *text)
{
	if (!strcmp(text, "none"))
		return LARDER_TTL_NONE;
	if (!strcmp(text, "default"))
		return LARDER_TTL_DEFAULT;
	if (!strcmp(text, "keep"))
		return LARDER_TTL_KEEP;
	int64_t ms;
	if (!parse_duration(text, &ms))
		usage_error("time to live '%s': say 250ms, 30s, 15m, 12h, 7d (17 years at most), none, default or keep",
				text);
	return ms;
}

/* @SECONDS[.FRACTION], since 1970. */
static bool parse_epoch(const char *text, int64_t *ms)
{
	uint64_t seconds, fraction = 0, digit = 100;

	if (!take_digits(&text, &seconds) || seconds > INT64_MAX / 1000 - 1)
		return false;
	if (*text == '.')
		for (text++; isdigit((unsigned char)*text); text++, digit /= 10)
			fraction += (uint64_t)(*text - '0') * digit;
	*ms = (int64_t)(seconds * 1000 + fraction);
	return !*text;
}

static bool parse_date(const char *text, int64_t *ms)
{
	struct tm date = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &date);

	if (!end || *end)
		return false;
	*ms = (int64_t)timegm(&date) * 1000;
	return true;
}

int64_t time_argument(const char *text)
{
	int64_t ms;

	if (!(*text == '@' ? parse_epoch(text + 1, &ms) : parse_date(text, &ms)) || ms <= 0)
		usage_error("time '%s': say 2031-12-31T23:59:59Z, or @SECONDS since 1970", text);
	return ms;
}

uint32_t mode_argument(const char *text)
{
	char *end;

	errno = 0;
	unsigned long mode = strtoul(text, &end, 8);
	if (!isdigit((unsigned char)*text) || *end || errno || !mode || mode > 0777)
		usage_error("mode '%s' is none: say 600 or 660", text);
	return (uint32_t)mode;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return tolower((unsigned char)c) - 'a' + 10;
}

/* Decodes in place: arguments of the program are its own to change. */
static struct bytes hex_bytes(char *text)
{
	size_t count = strlen(text) / 2;
	unsigned char *data = (unsigned char *)text;

	if (text[2 * count])
		usage_error("key '%s' has an odd number of hexadecimal digits", text);
	if (text[strspn(text, "0123456789abcdefABCDEF")])
		usage_error("key '%s' is not hexadecimal", text);
	for (size_t i = 0; i < count; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
		data[i] = (unsigned char)(high << 4 | low);
	}
	return (struct bytes){ data, count };
}

struct bytes prefix_argument(char *text, bool hex)
{
	if (hex)
		return hex_bytes(text);
	return (struct bytes){ (const unsigned char *)text, strlen(text) };
}

struct bytes key_argument(char *text, bool hex)
{
	struct bytes key = prefix_argument(text, hex);

	if (!key.count || key.count > LARDER_KEY_MAX)
		usage_error("a key has 1 to %u bytes, this one %zu", LARDER_KEY_MAX, key.count);
	return key;
}

struct bytes *key_arguments(char **texts, int count, bool hex)
{
	struct bytes *keys = calloc((size_t)count, sizeof *keys);

	if (!keys)
		usage_error("no memory for %d keys", count);
	for (int i = 0; i < count; i++)
		keys[i] = key_argument(texts[i], hex);
	return keys;
}
