/* SPDX-License-Identifier: BSD-2-Clause */
/* The rare part of watching accesses, see watch.h. */
#include "cache/watch.h"

#include "cache/moment.h"
#include "shm/hot.h"
#include "shm/index.h"

#define OFF_ACCESSES 4096u /* until somebody who does not sample looks again whether he should */

/* Uniform in 1 .. 2 * HOT_ONE_IN - 1: no rhythm of the program can keep step with it. */
static uint32_t next_sample(struct actor *a)
{
	if (hot_mode(a->region) == LARDER_HOT_OFF)
		return OFF_ACCESSES;
	return 1 + actor_random(a) % (2 * HOT_ONE_IN - 1);
}

void watch_begin(struct actor *a)
{
	a->watch.trace_mask = trace_mask(a->region);
	a->watch.left = next_sample(a);
}

/* Of an entry that a set of this value would write. */
static uint64_t stored_bytes(const struct region *r, uint32_t ns, size_t key_bytes, size_t value_bytes)
{
	uint64_t fields = (r->geo.create_flags & LARDER_PLAIN ? 8u : 24u) + (r->geo.create_flags & LARDER_CHECKSUM ? 8u : 0u) + (ns != 0 ? 8u : 0u);
	return (fields + key_bytes + value_bytes + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES;
}

cold void watch_access_slow(struct actor *a, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes, enum trace_kind kind,
		size_t value_bytes)
{
	const struct region *r = a->region;
	if (a->watch.left == 0) {
		a->watch.left = next_sample(a);
		frequency_follow(r);
		hot_see(r, moment_coarse(r), hash, ns, key, key_bytes);
	}
	if ((hash & a->watch.trace_mask) == 0)
		trace_note(r, &a->watch.batch, hash, ns, kind, kind == TRACE_HIT || kind == TRACE_SET ? stored_bytes(r, ns, key_bytes, value_bytes) : 0);
}
