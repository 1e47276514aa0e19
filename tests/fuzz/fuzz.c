/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes from anywhere against everything that parses: key text, configurations, records, dump files and import files.
 *
 * fuzz_libfuzzer.c gives them to libFuzzer (where the compiler is clang: ninja tests/fuzz/fuzz-libfuzzer); fuzz_main.c calls the
 * same with random and mutated bytes for a bounded time.  The first byte chooses the parser.  Besides not crashing, what is taken has to
 * be what is written: a text that parses is the text of its key, a record that unpacks packs to the same bytes.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <larder/entry.h>
#include <larder/key.h>

#include "manager/config.h"
#include "dumpfile.h"
#include "import.h"

static void hold(bool true_thing, const char *what)
{
	if (true_thing)
		return;
	fprintf(stderr, "fuzz: %s\n", what);
	abort();
}

const char *const import_field_names[FIELD_COUNT] = {
#define IMPORT_NAME(name) #name,
	IMPORT_FIELDS(IMPORT_NAME)
#undef IMPORT_NAME
};

static void fuzz_key(const uint8_t *bytes, size_t count)
{
	static char own[LARDER_KEY_TEXT_MAX + 1], text[LARDER_KEY_TEXT_MAX + 1], prepared_own[LARDER_KEY_MAX];
	struct larder_key key;
	struct larder_store_key prepared;
	size_t length;

	if (larder_key_parse((const char *)bytes, count, own, sizeof own, &key))
		return;
	hold(larder_key_format(&key, text, sizeof text, &length) == LARDER_OK, "a key that was parsed has no text");
	hold(length == count && !memcmp(text, bytes, count), "the text of a key is not what it was parsed from");
	enum larder_status status = larder_key_prepare(&key, prepared_own, sizeof prepared_own, &prepared);
	/* There are so many names of namespaces in a process. */
	hold(status == LARDER_OK || status == LARDER_NAMESPACES, "a key that was parsed cannot be prepared");
	if (!status)
		hold(prepared.ns->escaped_bytes + 1 + prepared.count == count, "a prepared key is not the end of its text");
}

static void fuzz_config(const uint8_t *bytes, size_t count)
{
	struct config config = { 0 };

	if (config_text(&config, "fuzz", (const char *)bytes, count) == LARDER_OK)
		for (size_t i = 0; i < config.count; i++)
			hold(!*config.settings[i].store || config_name_good(config.settings[i].store), "a store of a bad name");
	config_free(&config);
}

static void fuzz_record(const uint8_t *bytes, size_t count)
{
	struct larder_record record;
	struct larder_buffer again = { .grow = true };
	size_t used;

	if (larder_record_unpack(bytes, count, &record, &used))
		return;
	hold(used <= count && record.value_bytes == used - LARDER_RECORD_HEADER, "a record longer than its bytes");
	hold(larder_record_pack(&record, &again) == LARDER_OK && again.length == used && !memcmp(again.data, bytes, used),
			"a record that packs to other bytes");
	free(again.data);
}

static void fuzz_dump(const uint8_t *bytes, size_t count)
{
	struct dump_reader reader;
	struct dump_record record;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, count) != (ssize_t)count || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	memset(&reader, 0, sizeof reader);
	enum dump_result result = dump_open(&reader, fd);
	if (result == DUMP_BAD)
		result = dump_resume(&reader);
	/* Each turn moves on in the file, which ends; where even its marker is not known, resuming says DUMP_BAD. */
	for (size_t turns = 0; result == DUMP_OK; turns++) {
		hold(turns <= count, "a dump that does not end");
		result = dump_next(&reader, &record);
		if (result == DUMP_BAD)
			result = dump_resume(&reader);
	}
	dump_close(&reader);
	(void)close(fd);
}

/* ---- Import files: the readers of `larder import`, with nothing behind them ------------------------------------------- */

bool import_item(struct import *import, const struct import_item *item)
{
	hold(item->key.count <= FUZZ_BYTES_MAX && item->value.count <= FUZZ_BYTES_MAX, "an item longer than its file");
	import->found++;
	return true;
}

void import_bad(struct import *import, const char *where, const char *format, ...)
{
	(void)where, (void)format;
	import->bad++;
}

void import_skip(struct import *import)
{
	import->skipped++;
}

const char *import_number(struct bytes text, int64_t least, int64_t most, int64_t *number)
{
	*number = text.count ? text.data[0] : least;
	return *number >= least && *number <= most ? NULL : "is out of range";
}

void complain(const char *format, ...)
{
	(void)format;
}

int complain_errno(const char *format, ...)
{
	(void)format;
	return 1;
}

int report_cache(enum larder_status status)
{
	return (int)status;
}

static void fuzz_import(const uint8_t *bytes, size_t count, int (*read_file)(struct import *import, FILE *in))
{
	struct import import = { .source = "fuzz", .ttl_ms = LARDER_TTL_NONE, .quiet = true, .value_max_bytes = 1u << 20 };
	FILE *in = count ? fmemopen((void *)(uintptr_t)bytes, count, "r") : NULL;

	if (!in)
		return;
	memcpy(import.columns, import_field_names, sizeof import.columns);
	(void)read_file(&import, in);
	(void)fclose(in);
}

static void fuzz_csv(const uint8_t *bytes, size_t count)
{
	fuzz_import(bytes, count, import_csv);
}

static void fuzz_jsonl(const uint8_t *bytes, size_t count)
{
	fuzz_import(bytes, count, import_jsonl);
}

int fuzz_one(const uint8_t *bytes, size_t count)
{
	static void (*const parsers[FUZZ_PARSERS])(const uint8_t *bytes, size_t count) = { fuzz_key, fuzz_config, fuzz_record,
		fuzz_dump, fuzz_csv, fuzz_jsonl };

	if (count)
		parsers[*bytes % FUZZ_PARSERS](bytes + 1, count - 1);
	return 0;
}
