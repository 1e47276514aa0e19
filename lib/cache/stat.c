/* SPDX-License-Identifier: BSD-2-Clause */
/* What a person sees from outside: geometry, participants, counters.  Works on inspectors, and takes no slot. */
#include "cache/call.h"

#include <stdio.h>

enum larder_status larder_info(struct larder *cache, struct larder_info *info)
{
	if (cache == NULL || info == NULL)
		return LARDER_INVALID;
	const struct region *r = &cache->region;
	const struct shm_geometry *g = &r->geo;
	*info = (struct larder_info){ .bytes = g->bytes, .segment_bytes = UINT64_C(1) << g->segment_shift,
		.value_max_bytes = g->value_max_bytes, .contiguous_max_bytes = cache->contiguous_bytes,
		.index_bytes = g->groups * sizeof(struct shm_group),
		.index_slots = g->groups * BUCKET_SLOTS * (GROUP_HOMES + GROUP_OVERFLOWS),
		.ghost_slots = g->ghost_words * GHOSTS_PER_WORD, .instrument_bytes = g->segwords_off - g->board_off, .segments = g->segments, .participants = g->participants,
		.namespaces = g->namespaces, .stripes = g->stripes, .ttl_classes = g->classes,
		.layout_version = region_super(r)->layout_version, .features = region_super(r)->features, .mode = g->mode,
		.create_flags = g->create_flags, .created_at_ms = g->created_wall_ms, .read_only = r->read_only, .huge_pages = r->huge };
	snprintf(info->path, sizeof info->path, "%s", r->path);
	return region_gone(&cache->region) ? LARDER_DETACHED : LARDER_OK;
}

static unsigned words_in_use(const struct word *words, unsigned n)
{
	unsigned used = 0;
	for (unsigned i = 0; i < n; i++)
		used += load_hint(&words[i]) != 0;
	return used;
}

enum larder_status larder_participant(struct larder *cache, uint32_t slot, struct larder_participant_info *info)
{
	if (cache == NULL || info == NULL || slot >= cache->region.geo.participants)
		return LARDER_INVALID;
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	const struct shm_participant *p = region_participant(&cache->region, slot);
	*info = (struct larder_participant_info){ .slot = slot, .registration = load_acquire(&p->registration) };
	if (info->registration == 0)
		return LARDER_MISS;
	info->alive = participant_alive(&cache->region, slot);
	info->pid = (int32_t)load_hint(&p->pid);
	uint64_t command[2] = { load_hint(&p->command[0]), load_hint(&p->command[1]) };
	memcpy(info->command, command, sizeof command);
	info->command[sizeof info->command - 1] = 0;
	info->hazards = words_in_use(p->hazard, HAZARDS) + words_in_use(p->batch, BATCH_HAZARDS);
	info->pins = words_in_use(p->pin, PIN_HAZARDS);
	return LARDER_OK;
}

static uint64_t counter_sum(const struct region *r, enum counter which)
{
	uint64_t sum = 0, used = load_acquire(&region_super(r)->participants_used);
	for (uint32_t i = 0; i < r->geo.participants && i < used; i++)
		sum += load_hint(&region_participant(r, i)->counter[which]);
	return sum;
}

static void sum_namespaces(const struct region *r, struct larder_stat *stat)
{
	uint64_t entries = 0, bytes = 0; /* they may be damaged: no sum of theirs is undefined */
	int64_t e, b;
	for (uint32_t ns = 0; ns < r->geo.namespaces; ns++) {
		namespace_sum(r, ns, &e, &b);
		entries += (uint64_t)e;
		bytes += (uint64_t)b;
	}
	stat->entries = (int64_t)entries > 0 ? entries : 0;
	stat->entry_bytes = (int64_t)bytes > 0 ? bytes : 0;
}

enum larder_status larder_stat(struct larder *cache, struct larder_stat *stat)
{
	if (cache == NULL || stat == NULL)
		return LARDER_INVALID;
	struct region *r = &cache->region;
	if (region_gone(r))
		return LARDER_DETACHED;
	struct segment_census c;
#define LARDER_COUNTER(name, text) stat->name = counter_sum(r, COUNTER_##name);
#include "larder/counters.def"
#undef LARDER_COUNTER
	sum_namespaces(r, stat);
	segment_census(r, &c);
	stat->segments_free = c.free;
	stat->segments_small = c.small;
	stat->segments_main = c.main;
	stat->segments_recycling = c.recycling;
	stat->participants_alive = 0;
	uint64_t used = load_acquire(&region_super(r)->participants_used);
	for (uint32_t i = 0; i < r->geo.participants && i < used; i++)
		stat->participants_alive += participant_alive(r, i);
	return LARDER_OK;
}
