/* SPDX-License-Identifier: BSD-2-Clause */
/* The rare part of watching accesses, see watch.h. */
#include "cache/watch.h"

#include "cache/moment.h"
#include "shm/hot.h"
#include "shm/index.h"
#include "shm/namespace.h"

#define SAMPLE_ONE_IN 128u /* accesses, on the average, for the namespaces' hit rates; some of these for the hot keys, too */
_Static_assert(HOT_ONE_IN % SAMPLE_ONE_IN == 0, "every so manieth sample is the hot keys'");

/* Uniform in 1 .. 2 * SAMPLE_ONE_IN - 1: no rhythm of the program can keep step with it. */
static uint32_t next_sample(struct actor *a) { return 1 + actor_random(a) % (2 * SAMPLE_ONE_IN - 1); }

static void look_at_sample(struct actor *a) { a->watch.trace_mask = trace_mask(a->region, a->watch.batch.thinning); }

void watch_begin(struct actor *a)
{
	a->watch.batch.thinning = trace_thinning(a->region);
	look_at_sample(a);
	a->watch.left = next_sample(a);
}

/* Of an entry that a set of this value would write. */
static uint64_t stored_bytes(const struct region *r, uint32_t ns, size_t key_bytes, size_t value_bytes)
{
	uint64_t fields = (r->geo.create_flags & LARDER_PLAIN ? 8u : 24u) + (r->geo.create_flags & LARDER_CHECKSUM ? 8u : 0u) + (ns != 0 ? 8u : 0u);
	return (fields + key_bytes + value_bytes + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES;
}

static void note_access(struct actor *a, const struct trace_note *note)
{
	const struct region *r = a->region;
	bool mark = false;

	if (!trace_note(r, &a->watch.batch, note, moment_coarse(r), &mark))
		return;
	look_at_sample(a);
	if (mark)
		trace_mark(r, counter_sum(r, COUNTER_hits), counter_sum(r, COUNTER_misses));
}

static void sample(struct actor *a, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes, enum trace_kind kind)
{
	a->watch.left = next_sample(a);
	if (kind == TRACE_HIT || kind == TRACE_MISS)
		namespace_sample(a->region, ns, kind == TRACE_HIT);
	if (actor_random(a) % (HOT_ONE_IN / SAMPLE_ONE_IN) != 0)
		return;
	frequency_follow(a->region);
	hot_see(a->region, moment_coarse(a->region), hash, ns, key, key_bytes);
}

cold void watch_access_slow(struct actor *a, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes, enum trace_kind kind,
		size_t value_bytes)
{
	if (a->watch.left == 0)
		sample(a, hash, ns, key, key_bytes, kind);
	if ((hash & a->watch.trace_mask) != 0)
		return;
	bool sized = kind == TRACE_HIT || kind == TRACE_SET;
	note_access(a, &(struct trace_note){ hash, sized ? stored_bytes(a->region, ns, key_bytes, value_bytes) : 0, 0, ns, kind });
}

cold void watch_set_slow(struct actor *a, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes, size_t value_bytes, uint64_t expiry)
{
	uint64_t now = moment_coarse(a->region);

	if (a->watch.left == 0)
		sample(a, hash, ns, key, key_bytes, TRACE_SET);
	if ((hash & a->watch.trace_mask) == 0)
		note_access(a, &(struct trace_note){ hash, stored_bytes(a->region, ns, key_bytes, value_bytes), expiry > now ? expiry - now : 0, ns,
			TRACE_SET });
}
