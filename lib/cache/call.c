/* SPDX-License-Identifier: BSD-2-Clause */
/* The slow beginning of a call, and what several calls report.  See call.h. */
#include "cache/call.h"

#include "cache/watch.h"

static void actor_init(struct actor *a, struct larder *cache, struct worker *w)
{
	a->region = &cache->region;
	a->self = w->self;
	a->slot = w->slot_plus_1 - 1;
	a->random ^= (uint64_t)a->slot << 32 ^ (uint64_t)clock_precise_ms() ^ (uint64_t)(uintptr_t)a;
	a->clock.span = clock_ticks_span();
	watch_begin(a);
}

cold enum larder_status call_begin_slow(struct larder *cache, struct actor **actor)
{
	struct worker *w;
	if (cache->crew == NULL)
		return LARDER_READ_ONLY;
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	enum larder_status status = crew_join(cache->crew, cache->crew_id, &w);
	if (status != LARDER_OK)
		return status;
	if (worker_actor(w)->region != NULL && w->ready != cache->crew_id)
		return LARDER_BUSY;
	actor_init(worker_actor(w), cache, w);
	w->ready = cache->crew_id;
	return call_begin(cache, actor);
}

uint64_t counter_version(const struct entry *e, uint64_t cell)
{
	uint64_t stamp = entry_stamp(e);
	cell &= ~CELL_FROZEN;
	return stamp == 0 ? 0 : hash_bytes(&cell, sizeof cell, stamp) | 1;
}

uint64_t entry_version(const struct entry *e)
{
	return entry_is_counter(e) ? counter_version(e, load_acquire(entry_cell(e))) : entry_stamp(e);
}

void meta_fill(const struct region *r, const struct entry *e, enum life life, struct larder_meta *meta)
{
	uint64_t expiry = entry_expiry(e), created = entry_created(e);
	*meta = (struct larder_meta){ .version = entry_version(e), .value_bytes = e->value_bytes,
		.user_flags = entry_user_flags(e), .stale = life == LIFE_STALE, .counter = entry_is_counter(e),
		.leased = e->extras & EXTRA_LEASE, .grace_ms = entry_grace(e), .cost_us = entry_cost(e), .tags = extras_tags(e->extras),
		.ttl_left_ms = LARDER_TTL_NONE };
	if (created != 0)
		meta->created_at_ms = moment_wall(r, created);
	if (expiry != 0) {
		uint64_t now = moment_precise(r);
		meta->expires_at_ms = moment_wall(r, expiry);
		meta->ttl_left_ms = expiry > now ? (int64_t)(expiry - now) : 0;
	}
}
