/* SPDX-License-Identifier: BSD-2-Clause */
/* What a person sees from outside: geometry, participants, counters.  Works on inspectors, and takes no slot. */
#include "cache/call.h"

#include <stdio.h>

#include "shm/series.h"

#define GROUPS_LOOKED_AT 16384u

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
		.namespaces = g->namespaces, .stripes = g->stripes, .ttl_classes = geo_ttl_classes(g),
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
	info->operations = load_hint(&p->counter[COUNTER_hits]) + load_hint(&p->counter[COUNTER_misses]) +
			load_hint(&p->counter[COUNTER_sets]) + load_hint(&p->counter[COUNTER_deletes]) +
			load_hint(&p->counter[COUNTER_increments]);
	return LARDER_OK;
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

/* ---- Pools and classes of time to live: as segments are kept apart, and so known of whole segments ----------------------- */

/* By the pool and class in their segment word, which stand side by side. */
#define HELD_KINDS 32u
#define TTL_CLASSES 6u
_Static_assert(SEGWORD_CLASS_SHIFT == SEGWORD_POOL_SHIFT + 1 && SEGWORD_CELL_SHIFT == SEGWORD_POOL_SHIFT + 5, "pool and class are five bits");

struct held {
	uint64_t of[HELD_KINDS];
};

static inline void held_add(struct held *held, uint64_t segword, uint64_t amount)
{
	held->of[segword >> SEGWORD_POOL_SHIFT & (HELD_KINDS - 1)] += amount;
}

static uint64_t held_in_pool(const struct held *held, enum pool pool)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < HELD_KINDS; i++)
		sum += i % POOLS == pool ? held->of[i] : 0;
	return sum;
}

/* The last class of a cache that has fewer than all takes what is longer, too; TTL_CLASSES: what is not kept apart. */
static uint64_t held_in_class(const struct region *r, const struct held *held, unsigned class)
{
	unsigned count = geo_ttl_classes(&r->geo), apart = count >= TTL_CLASSES ? TTL_CLASSES : count - 1;
	uint64_t sum = 0;
	for (unsigned i = 0; i < HELD_KINDS; i++)
		sum += (i / POOLS < apart ? i / POOLS : TTL_CLASSES) == class ? held->of[i] : 0;
	return sum;
}

#define TELL_HELD(r, stat, held, what) \
	((stat)->what##_small = held_in_pool(held, POOL_SMALL), (stat)->what##_main = held_in_pool(held, POOL_MAIN), \
			(stat)->ttl_##what##_never = held_in_class(r, held, 0), (stat)->ttl_##what##_10s = held_in_class(r, held, 1), \
			(stat)->ttl_##what##_2m = held_in_class(r, held, 2), (stat)->ttl_##what##_30m = held_in_class(r, held, 3), \
			(stat)->ttl_##what##_6h = held_in_class(r, held, 4), (stat)->ttl_##what##_longer = held_in_class(r, held, 5), \
			(stat)->ttl_##what##_mixed = held_in_class(r, held, TTL_CLASSES))

/* Bytes up to the cursors of segments that hold entries. */
static void sum_pools(const struct region *r, struct larder_stat *stat)
{
	struct held bytes = { 0 };
	for (uint32_t i = 0; i < r->geo.segments; i++) {
		uint64_t w = load_acquire(region_segword(r, i)), cursor = load_hint(&region_segment(r, i)->cursor);
		uint64_t units = life_is(cursor, segword_inc(w)) ? life_value(cursor) : 0;
		if (segword_state(w) != SEGMENT_FREE)
			held_add(&bytes, w, (units < geo_units(&r->geo) ? units : geo_units(&r->geo)) * UNIT_BYTES);
	}
	TELL_HELD(r, stat, &bytes, bytes);
}

static void count_bucket(const struct region *r, const struct shm_bucket *b, struct held *entries)
{
	for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
		uint64_t slot = load_hint(&b->slot[i]);
		if (slot != SLOT_EMPTY && slot_place(slot) < r->places)
			held_add(entries, load_hint(region_segword(r, region_segment_of(r, slot_place(slot)))), 1);
	}
}

/* Groups evenly spread over the index, for a cache of a hundred gigabytes would take a second otherwise. */
static void count_pools(const struct region *r, struct larder_stat *stat)
{
	struct held entries = { 0 };
	uint64_t looked = r->geo.groups < GROUPS_LOOKED_AT ? r->geo.groups : GROUPS_LOOKED_AT;
	for (uint64_t i = 0; i < looked; i++) {
		const struct shm_group *g = region_group(r, i * r->geo.groups / looked);
		for (unsigned b = 0; b < GROUP_HOMES; b++)
			count_bucket(r, &g->home[b], &entries);
		for (unsigned b = 0; b < GROUP_OVERFLOWS; b++)
			count_bucket(r, &g->overflow[b], &entries);
	}
	if (looked == 0)
		return;
	for (unsigned i = 0; i < HELD_KINDS; i++)
		entries.of[i] = entries.of[i] * r->geo.groups / looked;
	TELL_HELD(r, stat, &entries, entries);
}

static void read_segments(const struct region *r, struct larder_stat *stat)
{
	struct segment_census c;
	segment_census(r, &c);
	stat->segments_free = c.free;
	stat->segments_small = c.small;
	stat->segments_main = c.main;
	stat->segments_recycling = c.recycling;
	stat->segments_limbo = c.limbo;
}

static void read_participants(struct region *r, struct larder_stat *stat)
{
	uint32_t used = region_participants_used(r);
	stat->participants_alive = 0;
	for (uint32_t i = 0; i < used; i++)
		stat->participants_alive += participant_alive(r, i);
}

static void read_series(const struct region *r, struct larder_stat *stat)
{
	struct series_table t;
	series_of_region(r, &t);
	stat->label_sets_refused = load_hint(&t.head->overflows);
	stat->label_sets_untimed = load_hint(&t.head->untimed);
}

enum larder_status larder_stat(struct larder *cache, struct larder_stat *stat)
{
	if (cache == NULL || stat == NULL)
		return LARDER_INVALID;
	struct region *r = &cache->region;
	if (region_gone(r))
		return LARDER_DETACHED;
#define LARDER_COUNTER(name, text) stat->name = counter_sum(r, COUNTER_##name);
#include "larder/counters.def"
#undef LARDER_COUNTER
	sum_namespaces(r, stat);
	sum_pools(r, stat);
	count_pools(r, stat);
	read_segments(r, stat);
	read_participants(r, stat);
	read_series(r, stat);
	return LARDER_OK;
}
