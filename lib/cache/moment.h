/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time inside the cache: milliseconds since its epoch by the monotonic clock, 40 bits of them, 0 standing for "never".
 * A get reads a clock only for an entry with a time to live: the coarse one, where this thread has not done so just now, and the
 * precise one close to its expiry.
 */
#ifndef LARDER_CACHE_MOMENT_H
#define LARDER_CACHE_MOMENT_H

#include "base/clock.h"
#include "shm/actor.h"
#include "shm/namespace.h"
#include "shm/tag.h"

static inline uint64_t moment_of(const struct region *r, int64_t monotonic_ms)
{
	int64_t moment = monotonic_ms + r->time_offset_ms - (int64_t)r->geo.epoch_ms;
	return moment > 0 ? (uint64_t)moment : 1;
}
static inline uint64_t moment_coarse(const struct region *r) { return moment_of(r, clock_coarse_ms()); }
static inline uint64_t moment_precise(const struct region *r) { return moment_of(r, clock_precise_ms()); }

/* The coarse moment that this actor has read less than CLOCK_TICKS_SPAN ago; 0 if it has not. */
static inline uint64_t moment_known(const struct actor *a)
{
#ifdef LARDER_ABLATE_CLOCK
	return 1;
#endif
	return likely(clock_ticks() - a->clock.ticks < a->clock.span) ? a->clock.moment : 0;
}
/* The coarse moment, or that: at most a millisecond more behind than CLOCK_COARSE_LAG_MS allows for, see base/clock.h. */
uint64_t moment_quick_slow(struct actor *a);
static inline uint64_t moment_quick(struct actor *a)
{
	uint64_t known = moment_known(a);
	return likely(known != 0) ? known : moment_quick_slow(a);
}

static inline int64_t moment_wall(const struct region *r, uint64_t moment)
{
	return clock_wall_of_monotonic((int64_t)(moment + r->geo.epoch_ms) - r->time_offset_ms);
}
static inline uint64_t moment_of_wall(const struct region *r, int64_t wall_ms)
{
	return moment_of(r, clock_monotonic_of_wall(wall_ms));
}

static inline bool moment_passed(const struct region *r, uint64_t expiry)
{
#ifdef LARDER_ABLATE_CLOCK
	(void)r;
	return expiry == 1;
#else
	uint64_t now = moment_coarse(r);
	if (likely(now + CLOCK_COARSE_LAG_MS < expiry))
		return false;
	return now >= expiry || moment_precise(r) >= expiry;
#endif
}

/* What a get may make of a COMMITTED entry of its key. */
enum life {
	LIFE_LIVE,
	LIFE_STALE,   /* softly flushed, or in its grace: a value for those who ask for stale ones, else a miss that stays */
	LIFE_FLUSHED, /* gone, by namespace or tag */
	LIFE_EXPIRED, /* gone */
	LIFE_ABSENT,  /* the key is known to have no value */
	LIFE_LEASED   /* no value, but somebody computes one: a miss that stays */
};
static inline bool life_is_over(enum life life) { return life == LIFE_FLUSHED || life == LIFE_EXPIRED; }

/* Of an entry with more than user flags in its extras. */
enum life entry_life_extra(const struct region *r, const struct entry *e);

static inline enum life entry_life(const struct region *r, const struct entry *e)
{
	uint32_t ns = entry_namespace(e);
	if (unlikely(e->extras >> 32 != 0))
		return entry_life_extra(r, e);
	if (unlikely(ns >= r->geo.namespaces))
		return LIFE_FLUSHED;
	enum visibility seen = generation_sees(namespace_generation(r, ns), entry_generation(e));
	if (unlikely(seen == INVISIBLE))
		return LIFE_FLUSHED;
	if (unlikely(head_fields(e->head) & FIELD_EXPIRES) && moment_passed(r, entry_expiry(e)))
		return LIFE_EXPIRED;
	return likely(seen == VISIBLE) ? LIFE_LIVE : LIFE_STALE;
}

#endif
