/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hot keys: Space-Saving (Metwally, Agrawal, El Abbadi 2005) over sampled accesses, in sets of HOT_WAYS rows chosen by hash.
 *
 * A row is one word (fingerprint, period, count), changed by one CAS; a key that is not there takes the row of the least
 * count and begins with that count plus one, and what it began with is its error: the true number of samples lies between
 * count - error and count.  Counts are halved at the end of each period, by reading them so (period in the word), and rows that
 * have come to nothing are cleared by the first who counts in a new period, long before a period's number comes round.
 * The error and the key itself stand beside the word and are hints: believed only if they carry the same fingerprint and their sum is right.
 * A death between them leaves a count whose error is all of it, or a row without a key: the key's next sample mends that.
 */
#ifndef LARDER_SHM_HOT_H
#define LARDER_SHM_HOT_H

#include "larder/monitor.h"
#include "shm/region.h"

#define HOT_PERIOD_MS 60000u
#define HOT_ONE_IN 512u /* accesses to a sample, on the average: each touches some four lines that nobody else does */

enum larder_hot_mode hot_mode(const struct region *r);
void hot_set_mode(const struct region *r, enum larder_hot_mode mode);
/* One sampled access.  now_ms: moments of the cache. */
void hot_see(const struct region *r, uint64_t now_ms, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes);
/* The rows with a count above 0, hottest first, up to `capacity` of them. */
size_t hot_read(const struct region *r, uint64_t now_ms, struct larder_hot_key *keys, size_t capacity);

#endif
