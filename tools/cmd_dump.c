/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder dump: writes the entries of a cache, as they are while it is in use, to a file.  dumpfile.h draws the format.
 *
 * A file is written beside its name and takes it only when it is whole and on disk: a dump that is interrupted leaves
 * the one before it as it was.
 */
#define _GNU_SOURCE /* mkostemp */
#include "dumpfile.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct dump {
	struct larder *cache;
	const char *ns;
	struct bytes prefix;
	bool one_namespace, quiet;
	struct namespace_names names;
	struct dump_writer writer;
	uint64_t entries, skipped;
	int write_error;
};

static const struct option longs[] = {
	LONG_HELP, LONG_NAMESPACE, LONG_HEX, LONG_QUIET,
	{ "prefix", required_argument, NULL, 'p' },
	LONG_END,
};

static struct bytes name_bytes(const char *name)
{
	return (struct bytes){ (const unsigned char *)name, strlen(name) };
}

static bool put(struct dump *dump, const struct dump_record *record)
{
	if (dump_put(&dump->writer, *record))
		return true;
	dump->write_error = errno ? errno : EIO;
	return false;
}

static int dump_namespace(const struct larder_namespace_info *info, void *arg)
{
	struct dump *dump = arg;
	struct bytes name = name_bytes(info->name);
	struct dump_record record = {
		.kind = DUMP_NAMESPACE, .ns = name.data, .ns_bytes = name.count, .expires_at_ms = info->ttl_ms,
	};

	if (dump->one_namespace && strcmp(info->name, dump->ns))
		return TOOL_OK;
	return put(dump, &record) ? TOOL_OK : TOOL_FAILED;
}

static bool dump_entry(const struct larder_entry *entry, void *arg)
{
	struct dump *dump = arg;
	struct bytes name = name_bytes(namespace_name(&dump->names, entry->ns));
	struct dump_record record = {
		.kind = DUMP_ENTRY,
		.ns = name.data, .ns_bytes = name.count,
		.key = entry->key, .key_bytes = entry->key_bytes,
		.value = entry->value, .value_bytes = entry->meta.value_bytes,
		.expires_at_ms = entry->meta.expires_at_ms,
		.created_at_ms = entry->meta.created_at_ms,
		.version = entry->meta.version,
		.user_flags = entry->meta.user_flags,
		.counter = entry->meta.counter,
	};

	if (!entry->value && entry->meta.value_bytes) {
		dump->skipped++;
		return true;
	}
	dump->entries++;
	return put(dump, &record);
}

static int write_error(const struct dump *dump, const char *path)
{
	errno = dump->write_error ? dump->write_error : errno;
	return complain_errno("cannot write %s", path);
}

static int write_dump(struct dump *dump, FILE *out, const char *path)
{
	uint32_t ns = LARDER_ALL_NAMESPACES;
	int code = dump->one_namespace ? namespace_find(dump->cache, dump->ns, &ns) : TOOL_OK;

	if (code != TOOL_OK)
		return code;
	if (!dump_begin(&dump->writer, out, wall_clock_ms()))
		return write_error(dump, path);
	code = namespace_each(dump->cache, dump_namespace, dump);
	if (code != TOOL_OK)
		return dump->write_error ? write_error(dump, path) : code;
	enum larder_status status = larder_iterate(dump->cache, ns, dump->prefix.data, dump->prefix.count,
			LARDER_ITERATE_VALUES, dump_entry, dump);
	if (status < 0)
		return report_cache(status);
	return dump->write_error || !dump_end(&dump->writer) ? write_error(dump, path) : TOOL_OK;
}

static int dump_to_stdout(struct dump *dump)
{
	if (isatty(STDOUT_FILENO))
		usage_error("a dump is not for a terminal: name a FILE, or redirect standard output");
	return write_dump(dump, stdout, "standard output");
}

/* Anything but a regular file (a fifo, a device) is written to directly. */
static int dump_in_place(struct dump *dump, const char *path)
{
	FILE *out = fopen(path, "we");

	if (!out)
		return complain_errno("cannot open %s", path);
	int code = write_dump(dump, out, path);
	return fclose(out) && code == TOOL_OK ? complain_errno("cannot write %s", path) : code;
}

static int dump_and_rename(struct dump *dump, const char *path)
{
	char *beside;
	int code = TOOL_FAILED;

	if (asprintf(&beside, "%s.XXXXXX", path) < 0)
		return report_cache(LARDER_NO_MEMORY);
	int fd = mkostemp(beside, O_CLOEXEC);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out) {
		code = complain_errno("cannot create %s", beside);
		free(beside);
		return code;
	}
	code = write_dump(dump, out, path);
	if (code == TOOL_OK && fsync(fd))
		code = complain_errno("cannot write %s", path);
	if (fclose(out) && code == TOOL_OK)
		code = complain_errno("cannot write %s", path);
	if (code == TOOL_OK && rename(beside, path))
		code = complain_errno("cannot rename %s to %s", beside, path);
	if (code != TOOL_OK)
		unlink(beside);
	free(beside);
	return code;
}

static int dump_to(struct dump *dump, const char *path)
{
	struct stat status;

	if (!strcmp(path, "-"))
		return dump_to_stdout(dump);
	if (!stat(path, &status) && !S_ISREG(status.st_mode))
		return dump_in_place(dump, path);
	return dump_and_rename(dump, path);
}

static int run_on(struct dump *dump, const char *cache, const char *path)
{
	int code = cache_inspect(cache, &dump->cache);

	if (code != TOOL_OK)
		return code;
	code = namespace_names_open(&dump->names, dump->cache);
	if (code == TOOL_OK)
		code = dump_to(dump, path);
	if (code == TOOL_OK && !dump->quiet)
		fprintf(stderr, "%" PRIu64 " %s dumped\n", dump->entries, plural(dump->entries, "entry", "entries"));
	if (code == TOOL_OK && dump->skipped)
		complain("%" PRIu64 " %s changed too fast to be read whole, and %s not in it", dump->skipped,
				plural(dump->skipped, "entry", "entries"), plural(dump->skipped, "is", "are"));
	namespace_names_close(&dump->names);
	larder_close(&dump->cache);
	return code;
}

static int run(int argc, char **argv)
{
	static char empty[] = "";
	struct dump dump = { .ns = "" };
	char *prefix = empty;
	bool hex = false;
	int option;

	while ((option = option_next(argc, argv, ":hN:xqp:", longs)) != -1) {
		if (option == 'N') {
			dump.ns = optarg;
			dump.one_namespace = true;
		} else if (option == 'p') {
			prefix = optarg;
		}
		hex |= option == 'x';
		dump.quiet |= option == 'q';
	}
	operands_expect(argc, argv, 1, 2);
	dump.prefix = prefix_argument(prefix, hex);
	return run_on(&dump, argv[optind], argc - optind == 2 ? argv[optind + 1] : "-");
}

const struct command cmd_dump = {
	.name = "dump",
	.summary = "Writes the entries of a cache to a file",
	.synopsis = "[-qx] [-N NAMESPACE] [-p PREFIX] CACHE [FILE | -]",
	.options = "  -N, --namespace NAME     only this namespace (\"\": the one without a name; default: all)\n"
		"  -p, --prefix PREFIX      only keys that begin with these bytes\n"
		"  -x, --hex                the prefix is written in hexadecimal\n"
		"  -q, --quiet              do not say how many entries were dumped\n" HELP_HELP,
	.run = run,
};
