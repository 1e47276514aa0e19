/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Giving memory back: which segment is emptied next, and how.
 *
 * S3-FIFO on segments.  A segment's way is SEALED → DRAINING → WALKING → LIMBO → FREE (or, most of it surviving, back to
 * SEALED with another turn); each step is one CAS that anybody may do, and each piece of work is done before the word
 * that says so is moved: whoever dies or stops, somebody else does it again, and twice does no harm.
 */
#ifndef LARDER_CACHE_EVICT_H
#define LARDER_CACHE_EVICT_H

#include "cache/ghost.h"
#include "cache/moment.h"
#include "shm/index.h"

/* This call's share of the work while free segments are short: walks about `units`. */
void evict_share_slow(struct actor *a, uint32_t units);
static inline void evict_share(struct actor *a, uint32_t units)
{
	if (unlikely(load_hint(&region_super(a->region)->pressure) != 0))
		evict_share_slow(a, units);
}

/* Works until a segment is free for normal use.  False: nothing can be emptied.  With live == false only segments whose
 * entries have all expired are. */
bool evict_need(struct actor *a, bool live);

/* Work ahead of need; returns the units walked. */
uint64_t evict_ahead(struct actor *a, uint64_t units);

#endif
