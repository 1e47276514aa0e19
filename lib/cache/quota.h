/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Quotas: how many bytes the entries of a namespace may take.
 *
 * What counts is the namespace's tally.  A set that would exceed the quota drops entries of its namespace first, found by a
 * hand that goes round the index: one that was used since the hand was there last is spared once for each use.  The hand is
 * a hint that all setters move on by fetch_add: whoever dies with it has dropped something too early, no more.  Walkers
 * of segments drop whatever is of a namespace above its quota.  Tallies are off by one entry for each death in a call, and
 * with a quota rather too high than too low: once in a round of the hand, when two rounds found nothing more to drop, and when a
 * quota is set, the entries are counted anew.
 */
#ifndef LARDER_CACHE_QUOTA_H
#define LARDER_CACHE_QUOTA_H

#include "cache/call.h"

static inline uint64_t namespace_quota(const struct region *r, uint32_t ns) { return load_hint(&region_namespace(r, ns)->quota); }

/* Would `units` more be too many? */
bool quota_exceeded(const struct region *r, uint32_t ns, int64_t units);
/* Drops entries of the namespace until `units` more fit, or none is left; never what `keep` leads to (may be NULL), nor pieces
 * of the large value `version` (0: none).  Uses HAZARD_WALK.  False: they do not fit. */
bool quota_make_room(struct actor *a, uint32_t ns, int64_t units, const struct word *keep, uint64_t version);
/* Puts the tally right, unless it changes at each of so many tries. */
#define QUOTA_RECOUNTS 3u
void quota_recount(struct actor *a, uint32_t ns, unsigned tries);

#endif
