/* SPDX-License-Identifier: BSD-2-Clause */
/* The far store of a tier as the near one sees it: calls that are counted and timed, see tiered.h. */
#include "tier/tiered.h"

#include "base/clock.h"

void tier_options_far(const struct tier *tier, uint32_t ns, const struct larder_set_options *asked, struct larder_set_options *o)
{
	*o = asked ? *asked : (struct larder_set_options)LARDER_SET_OPTIONS_INIT;
	if (o->ttl_ms == LARDER_TTL_DEFAULT && !o->expires_at_ms)
		o->ttl_ms = near_ttl(&tier->near, ns);
}

void tier_options_near(const struct tier *tier, const struct larder_set_options *far, struct larder_set_options *o)
{
	int64_t most = tier->near_ttl_ms;

	*o = *far;
	if (!most || o->ttl_ms == LARDER_TTL_KEEP)
		return;
	if (o->expires_at_ms && o->expires_at_ms - clock_wall_ms() > most) {
		o->expires_at_ms = 0;
		o->ttl_ms = most;
	}
	if (!o->expires_at_ms && (o->ttl_ms == LARDER_TTL_NONE || o->ttl_ms > most))
		o->ttl_ms = most;
}

enum larder_status tier_far_answered(struct tier *tier, const struct series *series, uint64_t begin_ns, enum larder_status status)
{
	series_count(series, status == LARDER_MISS ? SERIES_MISSES : SERIES_HITS, 1);
	if (status < 0)
		series_error(series, status);
	if (tier_failed(status))
		tier_count(&tier->words, TIER_FAILURES, 1);
	series_time(series, (uint64_t)clock_precise_ns() - begin_ns, 1);
	return status;
}

enum larder_status tier_far_get(struct tier *tier, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	uint64_t begin = (uint64_t)clock_precise_ns();

	*meta = (struct larder_meta){ .ttl_left_ms = LARDER_TTL_NONE };
	enum larder_status status = larder_store_get(tier->far, key, flags & ~(uint32_t)LARDER_ALLOW_STALE, value, meta);
	meta->version = 0; /* a version is the near entry's */
	meta->user_flags &= ~NEAR_MARKS;
	return tier_far_answered(tier, &tier->far_get, begin, status);
}

enum larder_status tier_far_set(struct tier *tier, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options)
{
	uint64_t begin = (uint64_t)clock_precise_ns();

	return tier_far_answered(tier, &tier->far_set, begin, larder_store_set(tier->far, key, value, value_bytes, options, NULL));
}

enum larder_status tier_far_remove(struct tier *tier, const struct larder_store_key *key)
{
	uint64_t begin = (uint64_t)clock_precise_ns();

	return tier_far_answered(tier, &tier->far_delete, begin, larder_store_delete(tier->far, key));
}
