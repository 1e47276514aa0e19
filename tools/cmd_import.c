/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder import: brings the entries of another cache, or of a file, into this one.  This file has the options, picks
 * the source, and is the sink: which namespace and key an item gets, what becomes of it, and how far things are.
 *
 * An import is a series of ordinary sets: what was imported before it ended early is in the cache, and running it again
 * does the same once more.
 */
#define _GNU_SOURCE
#include "import.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAD_SHOWN 1000u /* reports of single faults; more are counted */
#define PROGRESS_MS 1000u

struct import_space {
	char name[65];
	uint32_t ns;
};

const char *const import_field_names[FIELD_COUNT] = {
#define IMPORT_NAME(name) #name,
	IMPORT_FIELDS(IMPORT_NAME)
#undef IMPORT_NAME
};

enum { FROM = 256, STRIP, MAP, SPLIT, KEEP, NO_EVICT, DRY_RUN, TIMEOUT, FORMAT, PROGRESS };

static const struct option longs[] = {
	LONG_HELP, LONG_QUIET, LONG_JSON, LONG_NAMESPACE,
	{ "from", required_argument, NULL, 'f' },
	{ "format", required_argument, NULL, FORMAT },
	{ "match", required_argument, NULL, 'm' },
	{ "prefix-strip", required_argument, NULL, STRIP },
	{ "split", no_argument, NULL, SPLIT },
	{ "map", required_argument, NULL, MAP },
	{ "ttl", required_argument, NULL, 't' },
	{ "keep", no_argument, NULL, KEEP },
	{ "no-evict", no_argument, NULL, NO_EVICT },
	{ "dry-run", no_argument, NULL, DRY_RUN },
	{ "timeout", required_argument, NULL, TIMEOUT },
	{ "progress", no_argument, NULL, PROGRESS },
	LONG_END,
};

/* ---- How far it is ---- */

static double per_second(const struct import *import)
{
	uint64_t ms = steady_clock_ms() - import->began_ms;

	return (double)import->found * 1000.0 / (double)(ms ? ms : 1);
}

static void tell_progress(struct import *import)
{
	uint64_t now_ms = steady_clock_ms();

	if (!import->progress || now_ms - import->told_ms < PROGRESS_MS)
		return;
	import->told_ms = now_ms;
	fprintf(stderr,
			"%" PRIu64 " found, %" PRIu64 " imported, %" PRIu64 " bad, %" PRIu64
			" refused, %.0f a second\n",
			import->found, import->imported, import->bad, import->refused, per_second(import));
}

void import_bad(struct import *import, const char *where, const char *format, ...)
{
	va_list arguments;
	char text[200];

	if (++import->bad > BAD_SHOWN)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	complain("%s: %s: %s", import->source, where, text);
	if (import->bad == BAD_SHOWN)
		complain("%s: further faults are only counted", import->source);
}

void import_skip(struct import *import)
{
	import->found++;
	import->skipped++;
}

const char *import_number(struct bytes text, int64_t least, int64_t most, int64_t *number)
{
	char digits[24], *end;

	if (!text.count || text.count >= sizeof digits)
		return "is no whole number";
	memcpy(digits, text.data, text.count);
	digits[text.count] = '\0';
	errno = 0;
	long long value = strtoll(digits, &end, 10);
	if (end != digits + text.count || end == digits || *digits == ' ' || *digits == '\t')
		return "is no whole number";
	if (errno || value < least || value > most)
		return "is out of range";
	*number = value;
	return NULL;
}

/* ---- The sink: namespace and key ---- */

static int register_space(struct import *import, const char *name, uint32_t *ns)
{
	struct import_space *more = reallocarray(import->spaces, import->space_count + 1, sizeof *more);

	*ns = 0;
	if (!more)
		return report_cache(LARDER_NO_MEMORY);
	import->spaces = more;
	int code = import->dry_run ? TOOL_OK : namespace_register(import->cache, name, ns);
	if (code != TOOL_OK)
		return code;
	snprintf(more[import->space_count].name, sizeof more->name, "%s", name);
	more[import->space_count++].ns = *ns;
	return TOOL_OK;
}

/* The one met last stands first in the search: sources tend to bring many of one in a row. */
static int space_number(struct import *import, const char *name, uint32_t *ns)
{
	for (uint32_t i = import->space_count; i-- > 0;)
		if (!strcmp(import->spaces[i].name, name)) {
			*ns = import->spaces[i].ns;
			return TOOL_OK;
		}
	return register_space(import, name, ns);
}

/* Undoes %3A and %25, in place; false on any other '%'. */
static bool unescape(char *text)
{
	char *to = text;

	while (*text) {
		bool escaped = *text == '%';
		if (escaped && strncmp(text, "%3A", 3) && strncmp(text, "%25", 3))
			return false;
		*to++ = !escaped ? *text : text[1] == '3' ? ':' : '%';
		text += escaped ? 3 : 1;
	}
	*to = '\0';
	return true;
}

/* The text of a namespace's name, of at most 64 bytes. */
static bool copy_name(struct bytes bytes, char *name)
{
	if (bytes.count > 64 || (bytes.count && memchr(bytes.data, 0, bytes.count)))
		return false;
	memcpy(name, bytes.count ? (const char *)bytes.data : "", bytes.count);
	name[bytes.count] = '\0';
	return true;
}

/* Takes prefix and, with --split, the namespace off the key.  NULL, or what is wrong. */
static const char *place_item(const struct import *import, struct import_item *item, char *name)
{
	size_t strip = import->strip ? strlen(import->strip) : 0;

	if (strip && item->key.count >= strip && !memcmp(item->key.data, import->strip, strip))
		item->key = (struct bytes){ item->key.data + strip, item->key.count - strip };
	const unsigned char *colon = import->split ? memchr(item->key.data, ':', item->key.count) : NULL;
	if (import->split && !colon)
		return "its key is no NAMESPACE:KEY";
	if (colon) {
		char escaped[3 * 64 + 1];
		size_t count = (size_t)(colon - item->key.data);
		if (count >= sizeof escaped || memchr(item->key.data, 0, count))
			return "its namespace is no name of 64 bytes at most";
		memcpy(escaped, item->key.data, count);
		escaped[count] = '\0';
		if (!unescape(escaped) || !copy_name((struct bytes){ (unsigned char *)escaped, strlen(escaped) }, name))
			return "its namespace is no name of 64 bytes at most, with ':' as %3A and '%' as %25";
		item->key = (struct bytes){ colon + 1, item->key.count - count - 1 };
	} else if (!copy_name(item->ns, name)) {
		return "its namespace is no name of 64 bytes at most";
	}
	if (import->ns)
		snprintf(name, 65, "%s", import->ns);
	return item->key.count && item->key.count <= LARDER_KEY_MAX ? NULL : "its key has not 1 to 4096 bytes";
}

/* ---- The sink: the cache ---- */

static enum larder_status set_item(struct import *import, const struct import_item *item, uint32_t ns)
{
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	struct larder_result result = { 0 };

	if (item->value.count > import->value_max_bytes)
		return LARDER_TOO_LARGE;
	if (import->dry_run)
		return LARDER_OK;
	options.mode = import->keep ? LARDER_ADD : LARDER_SET;
	options.flags = import->no_evict ? LARDER_NO_EVICT : 0;
	options.ttl_ms = item->ttl_ms == LARDER_TTL_NONE ? import->ttl_ms : item->ttl_ms;
	options.expires_at_ms = item->expires_at_ms;
	options.user_flags = item->flags;
	enum larder_status status = larder_set_with(import->cache, ns, item->key.data, item->key.count,
			item->value.data, item->value.count, &options, &result);
	import->evicted += result.evicted;
	if (status == LARDER_OK && item->counter) /* adding nothing makes digits a counter again */
		(void)larder_incr_with(
				import->cache, ns, item->key.data, item->key.count, 0, false, 0, LARDER_TTL_NONE, NULL);
	return status;
}

/* One entry that the cache does not take is no reason to give up the rest; a cache that is gone is. */
static bool refuse(struct import *import, struct bytes key, enum larder_status status)
{
	if (import->refused++ < BAD_SHOWN)
		report_key(status, key);
	if (status == LARDER_TOO_LARGE || status == LARDER_NO_ROOM || status == LARDER_WOULD_EVICT ||
			status == LARDER_CONTENDED)
		return true;
	import->code = status_exit(status);
	return false;
}

static bool is_wanted(const struct import *import, struct bytes key)
{
	char text[LARDER_KEY_MAX + 1];

	if (!import->match)
		return true;
	if (key.count > LARDER_KEY_MAX)
		return false;
	memcpy(text, key.data, key.count);
	text[key.count] = '\0';
	return !fnmatch(import->match, text, 0);
}

bool import_item(struct import *import, const struct import_item *item)
{
	struct import_item placed = *item;
	char name[65], where[80];
	uint32_t ns;

	import->found++;
	tell_progress(import);
	if (!is_wanted(import, item->key)) {
		import->unmatched++;
		return true;
	}
	if (item->expires_at_ms && item->expires_at_ms <= wall_clock_ms()) {
		import->expired++;
		return true;
	}
	const char *fault = place_item(import, &placed, name);
	if (fault) {
		snprintf(where, sizeof where, "entry %" PRIu64, import->found);
		import_bad(import, where, "%s", fault);
		return true;
	}
	import->code = space_number(import, name, &ns);
	if (import->code != TOOL_OK)
		return false;
	enum larder_status status = set_item(import, &placed, ns);
	import->imported += status == LARDER_OK;
	import->kept += status == LARDER_EXISTS;
	return status == LARDER_OK || status == LARDER_EXISTS || refuse(import, placed.key, status);
}

/* ---- The whole ---- */

static int print_summary(const struct import *import)
{
	if (import->json) {
		json_t *object = json_object();
#define COUNT(name) json_object_set_new(object, #name, json_number(import->name));
		COUNT(found) COUNT(imported) COUNT(kept) COUNT(expired) COUNT(unmatched)
		COUNT(skipped) COUNT(refused) COUNT(bad) COUNT(evicted)
#undef COUNT
		json_object_set_new(object, "dry_run", json_boolean(import->dry_run));
		json_object_set_new(object, "per_second", json_real(per_second(import)));
		return json_print(object, false);
	}
	if (!import->quiet)
		fprintf(stderr,
				"%" PRIu64 " found, %" PRIu64 " %s, %" PRIu64 " kept as they were, %" PRIu64
				" expired, %" PRIu64 " not matched, %" PRIu64 " skipped, %" PRIu64 " refused, %" PRIu64
				" bad, %" PRIu64 " evicted; %.0f a second\n",
				import->found, import->imported, import->dry_run ? "could be imported" : "imported",
				import->kept, import->expired, import->unmatched, import->skipped, import->refused,
				import->bad, import->evicted, per_second(import));
	return TOOL_OK;
}

static bool begins(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static bool ends(const char *text, const char *suffix)
{
	size_t length = strlen(text), tail = strlen(suffix);

	return length >= tail && !strcmp(text + length - tail, suffix);
}

/* "csv", "jsonl" or "dump", or what a URL begins with. */
static const char *source_format(const char *source)
{
	static const struct { const char *suffix, *format; } files[] = {
		{ ".csv", "csv" }, { ".jsonl", "jsonl" }, { ".ndjson", "jsonl" }, { ".dump", "dump" },
	};

	if (begins(source, "redis://") || begins(source, "unix://"))
		return "redis";
	if (begins(source, "memcached://"))
		return "memcached";
	if (begins(source, "rediss://"))
		usage_error("'%s': import does not speak TLS; go through a tunnel (stunnel, ssh -L) and say redis://",
				source);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		if (ends(source, files[i].suffix))
			return files[i].format;
	usage_error("'%s' is no source: say redis://HOST, unix:///SOCKET, memcached://HOST, a file that ends in .csv, "
		    ".jsonl, "
		    ".ndjson or .dump, or any file or - with --format",
			source);
}

static int import_text(struct import *import, bool csv)
{
	bool standard_input = !strcmp(import->source, "-");
	FILE *in = standard_input ? stdin : fopen(import->source, "re");

	if (!in)
		return complain_errno("cannot read %s", import->source);
	int code = csv ? import_csv(import, in) : import_jsonl(import, in);
	if (!standard_input)
		fclose(in);
	return code;
}

static int import_from(struct import *import, const char *format)
{
	if (!strcmp(format, "redis"))
#ifdef LARDER_REDIS
		return import_redis(import);
#else
		usage_error("'%s': this larder was built without hiredis, and so without Redis", import->source);
#endif
	if (!strcmp(format, "memcached"))
		return import_memcached(import);
	if (!strcmp(format, "dump"))
		return import_dump(import);
	return import_text(import, !strcmp(format, "csv"));
}

static int run_on(struct import *import, const char *cache, const char *format)
{
	struct larder_info info;
	int code = (import->dry_run ? cache_inspect : cache_attach)(cache, &import->cache);

	if (code != TOOL_OK)
		return code;
	enum larder_status status = larder_info(import->cache, &info);
	import->value_max_bytes = info.value_max_bytes;
	import->began_ms = import->told_ms = steady_clock_ms();
	code = status == LARDER_OK ? import_from(import, format) : report_cache(status);
	int printed = print_summary(import);
	free(import->spaces);
	larder_close(&import->cache);
	if (code != TOOL_OK || import->code != TOOL_OK)
		return code != TOOL_OK ? code : import->code;
	if (import->refused)
		return TOOL_FAILED;
	return import->bad ? TOOL_DAMAGED : printed;
}

/* FIELD=COLUMN[,FIELD=COLUMN ...] */
static void read_map(struct import *import, char *text)
{
	for (char *pair; (pair = strsep(&text, ","));) {
		char *column = strchr(pair, '=');
		unsigned field = 0;
		if (!column || !column[1])
			usage_error("map '%s': say FIELD=COLUMN, as in key=id,value=body", pair);
		*column++ = '\0';
		while (field < FIELD_COUNT && strcmp(pair, import_field_names[field]))
			field++;
		if (field == FIELD_COUNT)
			usage_error("map: there is no field '%s'; there are namespace, key, value, ttl_ms, "
				    "expires_at_ms, flags, key_hex "
				    "and value_hex",
					pair);
		import->columns[field] = column;
	}
}

static const char *format_argument(const char *text)
{
	if (strcmp(text, "csv") && strcmp(text, "jsonl") && strcmp(text, "dump"))
		usage_error("format '%s': there are csv, jsonl and dump", text);
	return text;
}

static void apply(int option, struct import *import)
{
	switch (option) {
	case 'f': import->source = optarg; break;
	case 'N': import->ns = optarg; break;
	case 'm': import->match = optarg; break;
	case 't': import->ttl_ms = ttl_argument(optarg); break;
	case STRIP: import->strip = optarg; break;
	case MAP: read_map(import, optarg); break;
	case TIMEOUT: import->timeout_ms = duration_argument("timeout", optarg); break;
	default: break;
	}
	import->split |= option == SPLIT;
	import->keep |= option == KEEP;
	import->no_evict |= option == NO_EVICT;
	import->dry_run |= option == DRY_RUN;
	import->progress |= option == PROGRESS;
	import->quiet |= option == 'q';
	import->json |= option == 'j';
}

static void check_options(const struct import *import, const char *format)
{
	if (import->ns && import->split)
		usage_error("--namespace and --split exclude each other");
	if (import->ns && strlen(import->ns) > 64)
		usage_error("namespace '%s' is longer than 64 bytes", import->ns);
	if (import->ttl_ms == LARDER_TTL_KEEP)
		usage_error("time to live 'keep' means nothing here");
	if (!strcmp(import->source, "-") && (!strcmp(format, "dump") || isatty(STDIN_FILENO)))
		usage_error("standard input: redirect a CSV or JSON lines file; a dump has to be a file");
}

static int run(int argc, char **argv)
{
	struct import import = { .ttl_ms = LARDER_TTL_DEFAULT, .timeout_ms = 10000 };
	const char *format = NULL;
	int option;

	memcpy(import.columns, import_field_names, sizeof import.columns);
	while ((option = option_next(argc, argv, ":hqjN:f:m:t:", longs)) != -1) {
		apply(option, &import);
		format = option == FORMAT ? format_argument(optarg) : format;
	}
	operands_expect(argc, argv, 1, 1);
	if (!import.source)
		usage_error("--from is missing");
	import.progress |= isatty(STDERR_FILENO) && !import.quiet;
	format = format ? format : source_format(import.source);
	check_options(&import, format);
	return run_on(&import, argv[optind], format);
}

const struct command cmd_import = {
	.name = "import",
	.summary = "Brings entries of Redis, memcached or a file into a cache",
	.synopsis = "--from SOURCE [OPTION ...] CACHE",
	.options = "  -f, --from SOURCE        redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], unix:///SOCKET[?db=DB],\n"
		"                           memcached://HOST[:PORT], memcached:///SOCKET, a file, or - with --format\n"
		"      --format FORMAT      of a file: csv, jsonl or dump (default: by the ending of its name)\n"
		"  -N, --namespace NAME     put all into this namespace (default: what the source says, else none)\n"
		"      --split              keys are NAMESPACE:KEY, as larder's Redis store writes them\n"
		"  -m, --match GLOB         only keys that match\n"
		"      --prefix-strip TEXT  take TEXT off the beginning of keys\n"
		"      --map FIELD=COLUMN   what a field is called in a CSV or JSON lines file; several with commas\n"
		"  -t, --ttl TTL            time to live of entries that come without one\n"
		"      --keep               leave keys that are there as they are\n"
		"      --no-evict           refuse entries rather than displace live ones\n"
		"      --dry-run            read and check everything, set nothing\n"
		"      --timeout DURATION   of one exchange with a server (default: 10s)\n"
		"      --progress           say how far it is every second (default on a terminal)\n"
		"  -q, --quiet              no summary\n"
		"  -j, --json               the summary as JSON\n" HELP_HELP,
	.run = run,
};
