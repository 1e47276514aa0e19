/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder load: sets the entries of a dump file in a cache.
 *
 * Two passes over the file.  The first verifies all of it, to the trailer, and whether its values fit; the cache is
 * not changed before that, so a damaged file loses nothing that was there.  The second sets the entries.  With
 * --partial damage is skipped in both.  What cannot be read twice (a pipe) is first copied to an unnamed file.
 */
#define _GNU_SOURCE /* O_TMPFILE, mkostemp, tdestroy */
#include "dumpfile.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct space { /* a namespace that the file speaks of */
	char name[65];
	uint32_t ns;
	int64_t ttl_ms;
};

struct load {
	struct larder *cache;
	const char *path;
	bool partial, keep, no_evict, dry_run, quiet, json;
	struct dump_reader reader;
	uint64_t value_max_bytes;
	void *spaces; /* tree of struct space, by name */
	int64_t now_ms;
	/* how it went */
	uint64_t found, loaded, kept, expired, refused, faults, evicted;
};

enum { KEEP = 256, NO_EVICT, PARTIAL, DRY_RUN };

static const struct option longs[] = {
	LONG_HELP, LONG_QUIET, LONG_JSON,
	{ "keep", no_argument, NULL, KEEP },
	{ "no-evict", no_argument, NULL, NO_EVICT },
	{ "partial", no_argument, NULL, PARTIAL },
	{ "dry-run", no_argument, NULL, DRY_RUN },
	LONG_END,
};

/* ---- The file ---- */

/* An open file without a name, which goes when it is closed. */
static int temporary_file(void)
{
	const char *directory = getenv("TMPDIR");
	char *path;

	if (!directory || !*directory)
		directory = "/var/tmp";
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || asprintf(&path, "%s/larder-load.XXXXXX", directory) < 0)
		return fd;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	free(path);
	return fd;
}

static bool write_all(int fd, const char *bytes, size_t count)
{
	while (count) {
		ssize_t written = write(fd, bytes, count);
		if (written < 0 && errno != EINTR)
			return false;
		bytes += written > 0 ? written : 0;
		count -= written > 0 ? (size_t)written : 0;
	}
	return true;
}

static bool copy_all(int from, int to)
{
	static char bytes[1 << 16];

	for (;;) {
		ssize_t got = read(from, bytes, sizeof bytes);
		if (got == 0)
			return true;
		if (got < 0 && errno != EINTR)
			return false;
		if (got > 0 && !write_all(to, bytes, (size_t)got))
			return false;
	}
}

/* A descriptor that can be read twice, or -1 with errno set. */
static int spool(int fd)
{
	struct stat status;

	if (!fstat(fd, &status) && S_ISREG(status.st_mode) && lseek(fd, 0, SEEK_CUR) == 0)
		return fd;
	int copy = temporary_file();
	if (copy >= 0 && !copy_all(fd, copy)) {
		int error = errno;
		close(copy);
		errno = error;
		return -1;
	}
	return copy;
}

static int open_file(const char *path)
{
	bool standard_input = !strcmp(path, "-");
	int fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	int whole = spool(fd);
	if (whole != fd && !standard_input)
		close(fd);
	return whole;
}

/* ---- One pass over the file ---- */

static void report_fault(struct load *load)
{
	load->faults++;
	complain("%s: %s", load->path, load->reader.fault);
}

/* What to do about a result that is no record.  True: go on with the next one; else *code is how the pass ends. */
static bool get_past(struct load *load, enum dump_result result, bool first, int *code)
{
	*code = TOOL_OK;
	if (result == DUMP_BAD && (first || !load->partial))
		report_fault(load);
	if (result == DUMP_BAD && load->partial) {
		result = dump_resume(&load->reader);
		if (result == DUMP_BAD && first)
			report_fault(load);
	} else if (result == DUMP_BAD) {
		*code = TOOL_DAMAGED;
	}
	if (result == DUMP_ERROR) {
		complain("%s: %s", load->path, load->reader.fault);
		*code = TOOL_FAILED;
	}
	return result == DUMP_OK;
}

/* Calls visit for each good record.  `first`: this is the pass that reports damage. */
static int each_record(struct load *load, int fd, bool first, int (*visit)(struct load *, const struct dump_record *))
{
	struct dump_record record;
	int code;

	dump_close(&load->reader); /* of the pass before */
	enum dump_result result = dump_open(&load->reader, fd);
	if (result != DUMP_OK && !get_past(load, result, first, &code))
		return code;
	for (;;) {
		result = dump_next(&load->reader, &record);
		if (result == DUMP_OK)
			code = visit(load, &record);
		else if (!get_past(load, result, first, &code))
			return code;
		if (code != TOOL_OK)
			return code;
	}
}

/* ---- First pass: is it whole, does it fit ---- */

static int compare_spaces(const void *a, const void *b)
{
	return strcmp(((const struct space *)a)->name, ((const struct space *)b)->name);
}

static bool space_of(const struct dump_record *record, struct space *space)
{
	if (memchr(record->ns, 0, record->ns_bytes))
		return false;
	memcpy(space->name, record->ns, record->ns_bytes);
	space->name[record->ns_bytes] = '\0';
	space->ns = 0;
	space->ttl_ms = record->kind == DUMP_NAMESPACE ? record->expires_at_ms : LARDER_TTL_NONE;
	return true;
}

static int keep_space(struct load *load, const struct dump_record *record)
{
	struct space *space = malloc(sizeof *space);

	if (!space)
		return report_cache(LARDER_NO_MEMORY);
	if (!space_of(record, space)) {
		free(space);
		complain("%s: record %" PRIu64 ": the namespace's name has a zero byte", load->path, record->number);
		return TOOL_DAMAGED;
	}
	struct space **found = tsearch(space, &load->spaces, compare_spaces);
	if (!found || *found != space) {
		if (found && record->kind == DUMP_NAMESPACE)
			(*found)->ttl_ms = record->expires_at_ms;
		free(space);
	}
	return found ? TOOL_OK : report_cache(LARDER_NO_MEMORY);
}

static bool fits(const struct load *load, const struct dump_record *record)
{
	return record->value_bytes <= load->value_max_bytes;
}

static int verify_record(struct load *load, const struct dump_record *record)
{
	load->found += record->kind == DUMP_ENTRY;
	if (record->kind == DUMP_ENTRY && !fits(load, record) && !load->partial) {
		complain("%s: record %" PRIu64 ": its value of %zu bytes is more than this cache takes (%" PRIu64
				"); load it into a larger one, or leave it out with --partial", load->path,
				record->number, record->value_bytes, load->value_max_bytes);
		return TOOL_FAILED;
	}
	return keep_space(load, record);
}

/* ---- Second pass ---- */

/* A namespace keeps the default time to live that it has; one that has none takes that of the dump. */
static enum larder_status adopt_space(struct larder *cache, struct space *space)
{
	struct larder_namespace_info info;
	enum larder_status status = *space->name ? larder_namespace(cache, space->name, &space->ns) : LARDER_OK;

	if (status != LARDER_OK || space->ttl_ms == LARDER_TTL_NONE)
		return status;
	status = larder_namespace_info(cache, space->ns, &info);
	if (status != LARDER_OK || info.ttl_ms != LARDER_TTL_NONE)
		return status;
	return larder_namespace_ttl(cache, space->ns, space->ttl_ms);
}

struct adoption {
	struct larder *cache;
	enum larder_status status;
};

static void adopt_node(const void *node, VISIT when, void *arg)
{
	struct adoption *adoption = arg;

	if ((when == postorder || when == leaf) && adoption->status == LARDER_OK)
		adoption->status = adopt_space(adoption->cache, *(struct space *const *)node);
}

static int adopt_spaces(struct load *load)
{
	struct adoption adoption = { load->cache, LARDER_OK };

	twalk_r(load->spaces, adopt_node, &adoption);
	return adoption.status == LARDER_OK ? TOOL_OK : report_open(load->path, adoption.status);
}

static enum larder_status set_entry(struct load *load, const struct dump_record *record, uint32_t ns)
{
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	struct larder_result result = { 0 };

	options.mode = load->keep ? LARDER_ADD : LARDER_SET;
	options.flags = load->no_evict ? LARDER_NO_EVICT : 0;
	options.ttl_ms = LARDER_TTL_NONE;
	options.expires_at_ms = record->expires_at_ms;
	options.user_flags = record->user_flags;
	enum larder_status status = larder_set_with(load->cache, ns, record->key, record->key_bytes, record->value,
			record->value_bytes, &options, &result);
	load->evicted += result.evicted;
	if (status == LARDER_OK && record->counter) /* adding nothing makes digits a counter again */
		(void)larder_incr_with(load->cache, ns, record->key, record->key_bytes, 0, false, 0, LARDER_TTL_NONE,
				NULL);
	return status;
}

/* One entry that the cache did not take is no reason to give up the rest; a cache that is gone is. */
static int refuse(struct load *load, const struct dump_record *record, enum larder_status status)
{
	struct bytes key = { record->key, record->key_bytes };

	if (!load->refused++)
		report_key(status, key);
	bool go_on = status == LARDER_TOO_LARGE || status == LARDER_NO_ROOM || status == LARDER_WOULD_EVICT ||
			status == LARDER_CONTENDED;
	return go_on ? TOOL_OK : status_exit(status);
}

static int load_record(struct load *load, const struct dump_record *record)
{
	struct space wanted;

	if (record->kind != DUMP_ENTRY)
		return TOOL_OK;
	if (record->expires_at_ms && record->expires_at_ms <= load->now_ms) {
		load->expired++;
		return TOOL_OK;
	}
	struct space *const *space = space_of(record, &wanted) ? tfind(&wanted, &load->spaces, compare_spaces) : NULL;
	if (!space) {
		complain("%s changed while it was being loaded", load->path);
		return TOOL_FAILED;
	}
	enum larder_status status = fits(load, record) ? set_entry(load, record, (*space)->ns) : LARDER_TOO_LARGE;
	load->loaded += status == LARDER_OK;
	load->kept += status == LARDER_EXISTS;
	return status == LARDER_OK || status == LARDER_EXISTS ? TOOL_OK : refuse(load, record, status);
}

/* ---- The whole ---- */

static int print_summary(const struct load *load)
{
	if (load->json) {
		json_t *object = json_object();
		json_object_set_new(object, "found", json_number(load->found));
		json_object_set_new(object, "loaded", json_number(load->loaded));
		json_object_set_new(object, "kept", json_number(load->kept));
		json_object_set_new(object, "expired", json_number(load->expired));
		json_object_set_new(object, "refused", json_number(load->refused));
		json_object_set_new(object, "faults", json_number(load->faults));
		json_object_set_new(object, "lost", json_number(load->reader.lost));
		json_object_set_new(object, "evicted", json_number(load->evicted));
		return json_print(object, false);
	}
	if (!load->quiet)
		fprintf(stderr, "%" PRIu64 " %s found, %" PRIu64 " loaded, %" PRIu64 " kept as they were, %" PRIu64
				" expired, %" PRIu64 " refused, %" PRIu64 " evicted; %" PRIu64 " %s in the file, %"
				PRIu64 " %s known lost\n", load->found, plural(load->found, "entry", "entries"), load->loaded,
				load->kept, load->expired, load->refused, load->evicted, load->faults,
				plural(load->faults, "fault", "faults"), load->reader.lost,
				plural(load->reader.lost, "record", "records"));
	return TOOL_OK;
}

static int verify(struct load *load, int fd)
{
	struct larder_info info;
	enum larder_status status = larder_info(load->cache, &info);

	if (status != LARDER_OK)
		return report_cache(status);
	load->value_max_bytes = info.value_max_bytes;
	load->now_ms = wall_clock_ms();
	int code = each_record(load, fd, true, verify_record);
	if (code == TOOL_DAMAGED)
		complain("nothing was changed; --partial loads what can be read of a damaged file");
	return code;
}

static int verify_and_load(struct load *load, int fd)
{
	int code = verify(load, fd);

	if (code == TOOL_OK && !load->dry_run)
		code = adopt_spaces(load);
	if (code == TOOL_OK && !load->dry_run)
		code = each_record(load, fd, false, load_record);
	if (code != TOOL_OK)
		return code;
	code = print_summary(load);
	if (code == TOOL_OK && load->refused)
		return TOOL_FAILED;
	return code == TOOL_OK && load->faults ? TOOL_DAMAGED : code;
}

static int run_on(struct load *load, const char *cache)
{
	int code = (load->dry_run ? cache_inspect : cache_attach)(cache, &load->cache);

	if (code != TOOL_OK)
		return code;
	int fd = open_file(load->path);
	if (fd < 0)
		code = complain_errno("cannot read %s", load->path);
	else
		code = verify_and_load(load, fd);
	dump_close(&load->reader);
	tdestroy(load->spaces, free);
	larder_close(&load->cache);
	return code;
}

static void apply(int option, struct load *load)
{
	load->partial |= option == PARTIAL;
	load->keep |= option == KEEP;
	load->no_evict |= option == NO_EVICT;
	load->dry_run |= option == DRY_RUN;
	load->quiet |= option == 'q';
	load->json |= option == 'j';
}

static int run(int argc, char **argv)
{
	struct load load = { .path = "-" };
	int option;

	while ((option = option_next(argc, argv, ":hqj", longs)) != -1)
		apply(option, &load);
	operands_expect(argc, argv, 1, 2);
	if (argc - optind == 2)
		load.path = argv[optind + 1];
	if (!strcmp(load.path, "-") && isatty(STDIN_FILENO))
		usage_error("a dump is not typed: name a FILE, or redirect standard input");
	return run_on(&load, argv[optind]);
}

const struct command cmd_load = {
	.name = "load",
	.summary = "Sets the entries of a dump in a cache",
	.synopsis = "[-jq] [OPTION ...] CACHE [FILE | -]",
	.options = "      --partial            load what can be read of a damaged file (exit code 4 all the same)\n"
		"      --keep               leave keys that are there as they are\n"
		"      --no-evict           refuse entries rather than displace live ones\n"
		"      --dry-run            only verify the file\n"
		"  -q, --quiet              no summary\n"
		"  -j, --json               the summary as JSON\n" HELP_HELP,
	.run = run,
};
