/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store kind shm: a cache that all processes of the host share by its name.  What it does is engine.c; here is how it is opened.
 */
#include "store/engine.h"
#include "store/kinds.h"

enum shm_setting { SHM_ACCESS = ENGINE_SETTINGS, SHM_ATTACH_ONLY, SHM_SETTINGS };

static const struct larder_setting_rule rules[SHM_SETTINGS] = {
	[ENGINE_NAME] = { .key = "name", .text = "name of the cache, or the path of its file" },
	ENGINE_RULES,
	[SHM_ACCESS] = { .key = "access", .type = LARDER_SETTING_CHOICE, .choices = "user|group|all", .usual = "user",
		.text = "who may attach: mode 0600, 0660 or 0666 of the file" },
	[SHM_ATTACH_ONLY] = { .key = "attach-only", .type = LARDER_SETTING_BOOL, .usual = "no",
		.text = "fail rather than create the cache" },
};

static enum larder_status shm_open_store(const struct larder_setting_value *values, void **self)
{
	static const uint32_t modes[] = { 0600, 0660, 0666 };
	struct larder_options options = engine_options(values);

	options.flags |= values[SHM_ATTACH_ONLY].number ? (uint32_t)LARDER_ATTACH_ONLY : 0;
	options.mode = modes[values[SHM_ACCESS].number];
	return engine_open(values[ENGINE_NAME].text, &options, self);
}

const struct larder_store_kind store_shm = {
	.size = sizeof(struct larder_store_kind),
	.name = "shm",
	.rules = rules,
	.rule_count = SHM_SETTINGS,
	.open = shm_open_store,
	ENGINE_FUNCTIONS,
};
