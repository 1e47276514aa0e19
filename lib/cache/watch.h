/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every access of a key leaves to the instruments: a sample of accesses for the hot keys, all accesses of a sample of keys for
 * the trace.  An access that is in neither costs a decrement of the actor's own and two tests that are nearly always false.
 */
#ifndef LARDER_CACHE_WATCH_H
#define LARDER_CACHE_WATCH_H

#include "shm/actor.h"
#include "shm/trace.h"

void watch_begin(struct actor *a);
void watch_access_slow(struct actor *a, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes, enum trace_kind kind,
		size_t value_bytes);

void watch_set_slow(struct actor *a, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes, size_t value_bytes, uint64_t expiry);

/* A set of what expires then (0: never). */
static inline void watch_set(struct actor *a, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes, size_t value_bytes, uint64_t expiry)
{
#ifndef LARDER_ABLATE_WATCH
	if (unlikely(--a->watch.left == 0) || unlikely((hash & a->watch.trace_mask) == 0))
		watch_set_slow(a, hash, ns, key, key_bytes, value_bytes, expiry);
#else
	(void)a, (void)hash, (void)ns, (void)key, (void)key_bytes, (void)value_bytes, (void)expiry;
#endif
}

/* value_bytes: 0 where nothing was found. */
static inline void watch_access(struct actor *a, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes, enum trace_kind kind,
		size_t value_bytes)
{
#ifndef LARDER_ABLATE_WATCH
	if (unlikely(--a->watch.left == 0) || unlikely((hash & a->watch.trace_mask) == 0))
		watch_access_slow(a, hash, ns, key, key_bytes, kind, value_bytes);
#else
	(void)a, (void)hash, (void)ns, (void)key, (void)key_bytes, (void)kind, (void)value_bytes;
#endif
}

#endif
