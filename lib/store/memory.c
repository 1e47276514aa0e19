/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store kind memory: the same engine, in memory of this process and of the children that it forks (LARDER_PRIVATE).  The same
 * code and so the same semantics as shm, minus the name: for tests, and for programs of one process.
 */
#include "store/engine.h"
#include "store/kinds.h"

static const struct larder_setting_rule rules[ENGINE_SETTINGS] = {
	[ENGINE_NAME] = { .key = "name", .usual = "memory", .text = "name of the cache in messages and in /proc/PID/maps" },
	ENGINE_RULES,
};

static enum larder_status memory_open(const struct larder_setting_value *values, void **self)
{
	struct larder_options options = engine_options(values);

	options.flags |= LARDER_PRIVATE;
	return engine_open(values[ENGINE_NAME].text, &options, self);
}

const struct larder_store_kind store_memory = {
	.size = sizeof(struct larder_store_kind),
	.name = "memory",
	.rules = rules,
	.rule_count = ENGINE_SETTINGS,
	.open = memory_open,
	ENGINE_FUNCTIONS,
};
