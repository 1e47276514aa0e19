/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every public call begins and ends with: the calling thread's actor, the refusal of signal handlers that interrupt
 * a call, of destroyed caches and of arguments out of range; and no hazard left behind.
 */
#ifndef LARDER_CACHE_CALL_H
#define LARDER_CACHE_CALL_H

#include "base/message.h"
#include "cache/evict.h"
#include "shm/lens.h"

struct larder {
	struct lens lens;
	struct region region;
	struct crew *crew; /* NULL: an inspector */
	uint64_t crew_id;
	uint32_t contiguous_bytes; /* largest key and value together in one entry */
	uint32_t chunk_bytes;      /* of a value that is larger */
};

static inline struct actor *worker_actor(struct worker *w) { return (struct actor *)w->tail; }

#ifdef LARDER_PAIRS
/* True if the calling thread may begin a call by a plain way: it is registered, in no call, and the cache is not destroyed. */
static inline bool call_plain(const struct larder *cache)
{
	const struct lens *l = &cache->lens;
	if (unlikely(worker_cache.handle_id != l->ready))
		return false;
	compiler_barrier();
	return likely(worker_cache.worker->ready == l->ready) && likely(load_acquire(l->state) == 0);
}
#endif

enum larder_status call_begin_slow(struct larder *cache, struct actor **actor);

/* LARDER_OK: the call may go on with *actor, and must end with call_end(). */
static inline enum larder_status call_begin(struct larder *cache, struct actor **actor)
{
	if (unlikely(worker_cache.handle_id != cache->crew_id))
		return call_begin_slow(cache, actor);
	compiler_barrier();
	struct worker *w = worker_cache.worker;
	/* Asked of the worker, too: a signal handler that used another cache may have changed worker_cache in between. */
	if (unlikely(w->ready != cache->crew_id))
		return call_begin_slow(cache, actor);
	if (unlikely(region_gone(&cache->region)))
		return LARDER_DETACHED;
	w->ready = 0;
	compiler_barrier();
	*actor = worker_actor(w);
	(*actor)->tries = 0;
	return LARDER_OK;
}

static inline struct worker *actor_worker(struct actor *a)
{
	return (struct worker *)((unsigned char *)a - offsetof(struct worker, tail));
}

static inline void call_end(struct actor *a)
{
	compiler_barrier();
	actor_worker(a)->ready = actor_worker(a)->handle_id;
}

static cold enum larder_status answer_under_guard(const struct region *r, enum larder_status status)
{
	fence_acquire(); /* what was read came before */
	return octet_load_hint(&r->lost) != 0 ? LARDER_DETACHED : status;
}
/* What a call answers in the end.  With the guard, bytes read after the file was truncated are zeros that nobody wrote:
 * then nothing that was found counts. */
static inline enum larder_status call_answer(const struct region *r, enum larder_status status)
{
	return unlikely(r->open_flags & LARDER_GUARD) ? answer_under_guard(r, status) : status;
}

/* The end of a call that may have used any of the working hazards. */
static inline void call_end_clear(struct actor *a)
{
	for (unsigned h = 0; h < HAZARDS; h++)
		if (load_hint(&a->self->hazard[h]) != 0)
			hazard_clear(a, (enum hazard)h);
	call_end(a);
}

static inline enum larder_status key_check(const struct larder *cache, uint32_t ns, const void *key, size_t key_bytes)
{
	if (unlikely(key_bytes - 1 >= LARDER_KEY_MAX))
		return LARDER_KEY_SIZE;
	if (unlikely(cache == NULL || key == NULL || ns >= cache->region.geo.namespaces))
		return LARDER_INVALID;
	if (ns != 0 && unlikely(load_acquire(&region_namespace(&cache->region, ns)->hash) == 0))
		return LARDER_INVALID;
	return LARDER_OK;
}

/* The limit of tries was reached. */
static inline enum larder_status contended(struct actor *a)
{
	count(a, contended, 1);
	return LARDER_CONTENDED;
}

/* Everything about an entry, for people: times by the wall clock. */
void meta_fill(const struct region *r, const struct entry *e, enum life life, struct larder_meta *meta);
/* The token that larder_cas() compares: the stamp, and a counter's cell hashed in. */
uint64_t entry_version(const struct entry *e);
/* Of a counter whose cell was seen to be `cell`: a version belongs to one number. */
uint64_t counter_version(const struct entry *e, uint64_t cell);

#endif
