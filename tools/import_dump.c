/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder import, dump files: what `larder dump` writes.  Unlike `larder load`, which changes nothing unless all of the
 * file is right, this imports what can be read of it, as from any other source, and keys can be chosen and changed.
 */
#include "dumpfile.h"
#include "import.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static bool import_record(struct import *import, const struct dump_record *record)
{
	struct import_item item = {
		.ns = { record->ns, record->ns_bytes }, .key = { record->key, record->key_bytes },
		.value = { record->value, record->value_bytes }, .expires_at_ms = record->expires_at_ms,
		.ttl_ms = LARDER_TTL_NONE, .flags = record->user_flags, .counter = record->counter,
	};

	return record->kind != DUMP_ENTRY || import_item(import, &item);
}

/* After damage: moves on.  DUMP_OK: there is a record to read. */
static enum dump_result get_past(struct import *import, struct dump_reader *reader)
{
	import_bad(import, "dump", "%s", reader->fault);
	enum dump_result result = dump_resume(reader);

	if (result == DUMP_BAD)
		import_bad(import, "dump", "%s", reader->fault);
	return result;
}

static int import_records(struct import *import, struct dump_reader *reader, int fd)
{
	enum dump_result result = dump_open(reader, fd);
	struct dump_record record;

	if (result == DUMP_BAD)
		result = get_past(import, reader);
	while (result == DUMP_OK) {
		result = dump_next(reader, &record);
		if (result == DUMP_OK && !import_record(import, &record))
			return TOOL_OK; /* import->code says why */
		if (result == DUMP_BAD)
			result = get_past(import, reader);
	}
	if (result != DUMP_ERROR)
		return TOOL_OK;
	complain("%s: %s", import->source, reader->fault);
	return TOOL_FAILED;
}

int import_dump(struct import *import)
{
	struct dump_reader reader = { .fd = -1 };
	int fd = open(import->source, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return complain_errno("cannot read %s", import->source);
	int code = import_records(import, &reader, fd);
	dump_close(&reader);
	close(fd);
	return code;
}
