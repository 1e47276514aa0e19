/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store kind memory: the same engine, in memory of this process and of the children that it forks (LARDER_PRIVATE).  The same
 * code and so the same semantics as shm, minus the name: for tests, and for programs of one process.
 */
#include "store/engine.h"
#include "store/kinds.h"

enum memory_setting { MEMORY_NAME, MEMORY_BYTES, MEMORY_ENTRY_BYTES, MEMORY_PARTICIPANTS, MEMORY_NAMESPACES, MEMORY_HUGE,
	MEMORY_CHECKSUM, MEMORY_PLAIN, MEMORY_SETTINGS };

static const struct larder_setting_rule rules[MEMORY_SETTINGS] = {
	[MEMORY_NAME] = { .key = "name", .usual = "memory", .text = "name of the cache in messages and in /proc/PID/maps" },
	[MEMORY_BYTES] = { .key = "bytes", .type = LARDER_SETTING_SIZE, .least = (int64_t)LARDER_BYTES_MIN, .most = 1ll << 38,
		.usual = "64m", .text = "size of the whole cache" },
	[MEMORY_ENTRY_BYTES] = { .key = "entry-bytes", .type = LARDER_SETTING_SIZE, .least = 1, .most = 1ll << 26, .usual = "",
		.text = "usual size of key and value together; sizes the index" },
	[MEMORY_PARTICIPANTS] = { .key = "participants", .type = LARDER_SETTING_COUNT, .least = 4, .most = 1024, .usual = "",
		.text = "threads attached at a time" },
	[MEMORY_NAMESPACES] = { .key = "namespaces", .type = LARDER_SETTING_COUNT, .least = 16, .most = 4096, .usual = "",
		.text = "namespaces, the default one included" },
	[MEMORY_HUGE] = { .key = "huge", .type = LARDER_SETTING_BOOL, .usual = "no", .text = "ask for huge pages" },
	[MEMORY_CHECKSUM] = { .key = "checksum", .type = LARDER_SETTING_BOOL, .usual = "no", .text = "a checksum in every entry" },
	[MEMORY_PLAIN] = { .key = "plain", .type = LARDER_SETTING_BOOL, .usual = "no",
		.text = "no version and no creation time in entries: 16 bytes less each, and no cas" },
};

static enum larder_status memory_open(const struct larder_setting_value *values, void **self)
{
	struct larder_options options = LARDER_OPTIONS_INIT;

	options.flags = (uint32_t)LARDER_PRIVATE | (values[MEMORY_HUGE].number ? (uint32_t)LARDER_HUGE : 0);
	options.create_flags = (values[MEMORY_CHECKSUM].number ? (uint32_t)LARDER_CHECKSUM : 0)
			| (values[MEMORY_PLAIN].number ? (uint32_t)LARDER_PLAIN : 0);
	options.bytes = (uint64_t)values[MEMORY_BYTES].number;
	options.entry_bytes = (uint64_t)values[MEMORY_ENTRY_BYTES].number;
	options.participants = (uint32_t)values[MEMORY_PARTICIPANTS].number;
	options.namespaces = (uint32_t)values[MEMORY_NAMESPACES].number;
	return engine_open(values[MEMORY_NAME].text, &options, self);
}

const struct larder_store_kind store_memory = {
	.size = sizeof(struct larder_store_kind),
	.name = "memory",
	.rules = rules,
	.rule_count = MEMORY_SETTINGS,
	.open = memory_open,
	ENGINE_FUNCTIONS,
};
