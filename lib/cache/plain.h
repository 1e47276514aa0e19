/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The plain put: the common overwrite, straight through.  Namespace 0, no time to live or one of TTL_PRECISE at least; the key's
 * entry in its home bucket, with no more to it than this cache's entries have and as large as the new one; and a place of that
 * size ready to be used again.
 * The same steps as put_once(), in the same order, with the same hazards; what it leaves when it stops is in the same rows of
 * the crash table.  It is apart because a set that is short enough (some 400 instructions with all that is around it) lets the
 * next one's cache misses begin under its own: see base/pair.h.
 */
#ifndef LARDER_CACHE_PLAIN_H
#define LARDER_CACHE_PLAIN_H

#include "cache/moment.h"
#include "cache/put.h"
#include "cache/watch.h"

#ifdef LARDER_PAIRS
/* 0, if namespace 0 and the cache ask for nothing but to write: never flushed, no default time to live, no quota, no lack of room. */
static inline word_pair plain_odd(const struct region *r)
{
	const struct shm_namespace *n = region_namespace(r, 0);
	/* GENERATION (acquire): loaded before the slot, as in put_once(). */
	word_pair odd = pair_or(pair_load(&n->generation), pair_load(&n->ttl));
	return pair_or(odd, pair_or(pair_load(&n->quota), pair_load(&region_super(r)->pressure)));
}

/* Programs have few times to live: the class of the last one is remembered.  False: the new one must be counted from the precise moment,
 * or is one that a plain entry of this cache cannot carry. */
static cold bool plain_ttl_slow(struct actor *a, const struct lens *l, int64_t ttl_ms)
{
	if (ttl_ms < TTL_PRECISE || ttl_ms >= LARDER_TTL_MAX || !(l->fields & FIELD_STAMP))
		return false;
	a->ttl.ms = ttl_ms;
	a->ttl.class = class_of_ttl(a->region, (uint64_t)ttl_ms);
	return true;
}
static inline bool plain_ttl(struct actor *a, const struct lens *l, int64_t ttl_ms)
{
	return likely(a->ttl.ms == ttl_ms) || plain_ttl_slow(a, l, ttl_ms);
}

/* In milliseconds: by so much the last expiry of a segment is set too late, or each plain set with a time to live would have to move it. */
#define EXPIRY_SLACK UINT64_C(1023)

/* What is to be written. */
struct plain {
	const unsigned char *key;
	size_t key_bytes;
	const void *value;
	uint64_t value_bytes;
	bool timed;      /* a constant */
	int64_t ttl_ms;  /* if timed */
	uint64_t now;
};

static inline __attribute__((always_inline)) void plain_write(struct actor *a, const struct lens *l, const struct region *r, const struct plain *what,
		uint64_t place, uint64_t inc)
{
	struct shm_entry *shm = (struct shm_entry *)(uintptr_t)(l->arena + (place << UNIT_SHIFT));
	uint64_t reuse = entry_reopen(shm);
	unsigned char *p = (unsigned char *)shm + l->key_offset;
	const uint64_t expiry = what->timed ? what->now + (uint64_t)what->ttl_ms : 0;
	if (what->timed || l->fields & FIELD_STAMP) {
		bytes_store64(shm->body, put_stamp(a, what->now));
		bytes_store64(shm->body + 8, what->now >> 16 << TIME_BITS | expiry);
	}
	bytes_store64(p + what->key_bytes - 8, bytes_load64(what->key + what->key_bytes - 8));
	bytes_store64(p, bytes_load64(what->key));
	if (what->value_bytes > LENS_VALUE_MAX)
		__builtin_unreachable();
	bytes_copy(p + what->key_bytes, what->value, what->value_bytes);
	struct shm_segment *segment = region_segment(r, region_segment_of(r, place));
	if (unlikely(!segment_lasts(load_acquire(&segment->expiry), inc, what->timed ? expiry : TIME_MASK)))
		segment_raise_expiry(segment, inc, what->timed ? expiry | EXPIRY_SLACK : TIME_MASK);
	/* PUBLISH (release): as in room_seal_entry(); the start was noted when the place was first used. */
	store_release(&shm->head, l->head[what->key_bytes - 9] | what->value_bytes << HEAD_VALUE_SHIFT | reuse << HEAD_REUSE_SHIFT
			| (what->timed ? FIELD_EXPIRES : 0));
}

static inline uint32_t plain_units(const struct lens *l, size_t key_bytes, uint64_t value_bytes)
{
	return (uint32_t)((l->key_offset + key_bytes + value_bytes + UNIT_BYTES - 1) >> UNIT_SHIFT);
}

static inline bool plain_as_large(const struct lens *l, size_t key_bytes, uint64_t old_bytes, uint64_t new_bytes)
{
	return likely(old_bytes == new_bytes) || plain_units(l, key_bytes, old_bytes) == plain_units(l, key_bytes, new_bytes);
}

/* The slot is held: if it has the key's entry, plain and as large as the new one, that is replaced. */
static inline __attribute__((always_inline)) bool plain_over(struct actor *a, const struct lens *l, const struct region *r, struct word *slot, uint64_t seen,
		const struct plain *what, struct shm_participant *self)
{
	const uint64_t place = slot_place(seen);
	const unsigned char *entry = l->arena + (place << UNIT_SHIFT);
	const size_t key_bytes = what->key_bytes;
	/* PUBLISH (acquire): one load of the head. */
	const word_pair head = pair_differ(pair_load(entry), pair_load(&l->head[key_bytes - 9]));
	word_pair odd = pair_and(head, lens_pair(l->head_mask));
	odd = pair_or(odd, pair_differ(pair_ends(what->key, key_bytes), pair_ends(entry + l->key_offset, key_bytes)));
	const uint64_t segword = load_acquire(region_segword(r, region_segment_of(r, place)));
	const uint32_t units = plain_units(l, key_bytes, what->value_bytes);
	if (unlikely(!pair_is_zero(odd)) || unlikely((segword_inc(segword) ^ seen) & ((1u << SLOT_INC_BITS) - 1))
			|| unlikely(!plain_as_large(l, key_bytes, pair_low32(head) >> HEAD_VALUE_SHIFT, what->value_bytes)))
		return false;
	uint64_t new_place, new_inc;
	const unsigned class = what->timed ? a->ttl.class : 0;
	const uint16_t kind = retire_kind(segword_pool(segword), class);
	if (unlikely(!place_reuse(a, units, kind, &new_place, &new_inc)))
		return false;
	plain_write(a, l, r, what, new_place, new_inc);
	/* PUBLISH (release), and RETIRE: as in index_replace(). */
	if (unlikely(!cas_seq_cst(slot, seen, slot_word(slot_tag(seen), new_place, new_inc)))) {
		retire_unused(a, &(struct retired){ .place = new_place, .inc = new_inc, .units = units, .kind = kind });
		return false;
	}
	retire_at(a, place, segword_inc(segword), units, retire_kind(segword_pool(segword), segword_class(segword)));
	count_by(self, reused_bytes, units * UNIT_BYTES);
	count_by(self, inserted_bytes, units * UNIT_BYTES);
	count_by(self, sets, 1);
	return true;
}

/* A key of 9 .. 16 bytes, a value of LENS_VALUE_MAX at most.  False: nothing was changed, the general way is to do it. */
static inline __attribute__((always_inline)) bool put_plain(struct larder *cache, const void *key, size_t key_bytes, const void *value, uint64_t value_bytes,
		const bool timed, int64_t ttl_ms)
{
	const struct lens *l = &cache->lens;
	const struct region *r = &cache->region;
	const word_pair flipped = pair_differ(pair_ends(key, key_bytes), lens_pair(l->flip));
	const uint64_t hash = hash_fold(pair_low(flipped), pair_high(flipped), key_bytes);
	struct shm_bucket *home = (struct shm_bucket *)(uintptr_t)lens_home(l, pair_of(hash));
	__builtin_prefetch(home, 1);
	struct worker *w = worker_cache.worker;
	struct actor *a = worker_actor(w);
	const struct plain what = { .key = key, .key_bytes = key_bytes, .value = value, .value_bytes = value_bytes, .timed = timed, .ttl_ms = ttl_ms,
		.now = timed || l->fields & FIELD_STAMP ? moment_known(a) : 1 };
	struct shm_participant *const self = w->self;
	w->ready = 0;
	compiler_barrier();
	word_pair odd = plain_odd(r);
	compiler_barrier();
	uint32_t match = bucket_match_pair(home, pair_lanes(pair_of(hash)));
	bool done = false;
	if (likely(match != 0) && likely(pair_is_zero(odd)) && likely((hash & l->rare_mask) != 0) && likely(what.now != 0)) {
		unsigned i = MATCH_SLOT(match);
		/* PUBLISH (acquire) */
		uint64_t slot = load_acquire(&home->slot[i]);
		if (likely(slot_place(slot) < l->places)) {
			__builtin_prefetch(l->arena + (slot_place(slot) << UNIT_SHIFT));
			done = slot_hold(a, HAZARD_OLD, &home->slot[i], slot)
					&& plain_over(a, l, r, &home->slot[i], slot, &what, self);
			hazard_clear_by(self, HAZARD_SEGMENT);
			hazard_clear_by(self, HAZARD_OLD);
		}
	}
	if (likely(done) && unlikely(--a->watch.left == 0))
		watch_set_slow(a, hash, 0, key, key_bytes, value_bytes, timed ? what.now + (uint64_t)ttl_ms : 0);
	compiler_barrier();
	w->ready = l->ready;
	return done;
}
#else
static inline bool put_plain(struct larder *cache, const void *key, size_t key_bytes, const void *value, uint64_t value_bytes, bool timed, int64_t ttl_ms)
{
	(void)cache, (void)key, (void)key_bytes, (void)value, (void)value_bytes, (void)timed, (void)ttl_ms;
	return false;
}
#endif

#endif
