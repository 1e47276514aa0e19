/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store kind shm: a cache that all processes of the host share by its name.  What it does is engine.c; here is how it is opened.
 */
#include "store/engine.h"
#include "store/kinds.h"

enum shm_setting { SHM_NAME, SHM_BYTES, SHM_ENTRY_BYTES, SHM_PARTICIPANTS, SHM_NAMESPACES, SHM_MODE, SHM_ATTACH_ONLY, SHM_HUGE,
	SHM_CHECKSUM, SHM_PLAIN, SHM_SETTINGS };

static const struct larder_setting_rule rules[SHM_SETTINGS] = {
	[SHM_NAME] = { .key = "name", .text = "name of the cache, or the path of its file" },
	[SHM_BYTES] = { .key = "bytes", .type = LARDER_SETTING_SIZE, .least = (int64_t)LARDER_BYTES_MIN, .most = 1ll << 38,
		.usual = "64m", .text = "size of the whole cache, where it has to be created" },
	[SHM_ENTRY_BYTES] = { .key = "entry-bytes", .type = LARDER_SETTING_SIZE, .least = 1, .most = 1ll << 26, .usual = "",
		.text = "usual size of key and value together; sizes the index" },
	[SHM_PARTICIPANTS] = { .key = "participants", .type = LARDER_SETTING_COUNT, .least = 4, .most = 1024, .usual = "",
		.text = "threads attached at a time" },
	[SHM_NAMESPACES] = { .key = "namespaces", .type = LARDER_SETTING_COUNT, .least = 16, .most = 4096, .usual = "",
		.text = "namespaces, the default one included" },
	[SHM_MODE] = { .key = "access", .type = LARDER_SETTING_CHOICE, .choices = "user|group|all", .usual = "user",
		.text = "who may attach: mode 0600, 0660 or 0666 of the file" },
	[SHM_ATTACH_ONLY] = { .key = "attach-only", .type = LARDER_SETTING_BOOL, .usual = "no",
		.text = "fail rather than create the cache" },
	[SHM_HUGE] = { .key = "huge", .type = LARDER_SETTING_BOOL, .usual = "no", .text = "ask for huge pages" },
	[SHM_CHECKSUM] = { .key = "checksum", .type = LARDER_SETTING_BOOL, .usual = "no", .text = "a checksum in every entry" },
	[SHM_PLAIN] = { .key = "plain", .type = LARDER_SETTING_BOOL, .usual = "no",
		.text = "no version and no creation time in entries: 16 bytes less each, and no cas" },
};

static enum larder_status shm_open_store(const struct larder_setting_value *values, void **self)
{
	static const uint32_t modes[] = { 0600, 0660, 0666 };
	struct larder_options options = LARDER_OPTIONS_INIT;

	options.flags = (values[SHM_ATTACH_ONLY].number ? (uint32_t)LARDER_ATTACH_ONLY : 0)
			| (values[SHM_HUGE].number ? (uint32_t)LARDER_HUGE : 0);
	options.create_flags = (values[SHM_CHECKSUM].number ? (uint32_t)LARDER_CHECKSUM : 0)
			| (values[SHM_PLAIN].number ? (uint32_t)LARDER_PLAIN : 0);
	options.bytes = (uint64_t)values[SHM_BYTES].number;
	options.entry_bytes = (uint64_t)values[SHM_ENTRY_BYTES].number;
	options.participants = (uint32_t)values[SHM_PARTICIPANTS].number;
	options.namespaces = (uint32_t)values[SHM_NAMESPACES].number;
	options.mode = modes[values[SHM_MODE].number];
	return engine_open(values[SHM_NAME].text, &options, self);
}

const struct larder_store_kind store_shm = {
	.size = sizeof(struct larder_store_kind),
	.name = "shm",
	.rules = rules,
	.rule_count = SHM_SETTINGS,
	.open = shm_open_store,
	ENGINE_FUNCTIONS,
};
