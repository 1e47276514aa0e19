/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of entries that carry more than a value: grace, tags, a lease, the knowledge that there is none, or that it must stay.
 * And the look at the clock that moment_quick() spares most calls. */
#include "cache/moment.h"

/* A value past its expiry: stale for as long as its grace lasts, and kept for as long as somebody computes a new one. */
static enum life life_past_expiry(const struct region *r, const struct entry *e, uint64_t expiry)
{
	if (!moment_passed(r, expiry + entry_grace(e)))
		return LIFE_STALE;
	return e->extras & EXTRA_LEASE && !moment_passed(r, entry_lease(e).end) ? LIFE_LEASED : LIFE_EXPIRED;
}

cold enum life entry_life_extra(const struct region *r, const struct entry *e)
{
	uint32_t ns = entry_namespace(e);
	if (unlikely(ns >= r->geo.namespaces))
		return LIFE_FLUSHED;
	enum visibility seen = e->extras & EXTRA_KEPT ? generation_sees_kept(r, ns, entry_generation(e))
			: generation_sees(namespace_generation(r, ns), entry_generation(e));
	bool no_value = e->extras & (EXTRA_EMPTY | EXTRA_ABSENT);
	if (seen == INVISIBLE || (no_value && seen != VISIBLE) || !entry_tags_good(r, e))
		return LIFE_FLUSHED;
	uint64_t expiry = entry_expiry(e);
	bool expired = expiry != 0 && moment_passed(r, expiry);
	if (no_value && expired)
		return LIFE_EXPIRED;
	if (no_value)
		return e->extras & EXTRA_ABSENT ? LIFE_ABSENT : LIFE_LEASED;
	if (expired)
		return life_past_expiry(r, e, expiry);
	return seen == VISIBLE && !(e->extras & EXTRA_WAS_STALE) ? LIFE_LIVE : LIFE_STALE;
}

cold uint64_t moment_quick_slow(struct actor *a)
{
	uint64_t ticks = clock_ticks();
	a->clock.moment = moment_coarse(a->region);
	compiler_barrier(); /* a signal handler in between leaves the later moment with the earlier ticks */
	a->clock.ticks = ticks; /* from before: what lies between counts as passed */
	return a->clock.moment;
}
