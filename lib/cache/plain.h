/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The plain put: the common overwrite, straight through.  Namespace 0, no time to live; the key's entry in its home bucket, with
 * no more to it than this cache's entries have and as large as the new one; and a place of that size ready to be used again.
 * The same steps as put_once(), in the same order, with the same hazards; what it leaves when it stops is in the same rows of
 * the crash table.  It is apart because a set that is short enough (some 400 instructions with all that is around it) lets the
 * next one's cache misses begin under its own: see base/pair.h.
 */
#ifndef LARDER_CACHE_PLAIN_H
#define LARDER_CACHE_PLAIN_H

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

static inline __attribute__((always_inline)) void plain_write(struct actor *a, const struct lens *l, const unsigned char *key, size_t key_bytes, const void *value,
		uint64_t value_bytes, uint64_t place, uint64_t inc)
{
	struct shm_entry *shm = (struct shm_entry *)(uintptr_t)(l->arena + (place << UNIT_SHIFT));
	uint64_t reuse = entry_reopen(shm);
	unsigned char *p = (unsigned char *)shm + l->key_offset;
	if (l->fields & FIELD_STAMP) {
		uint64_t created = moment_quick(a);
		bytes_store64(shm->body, put_stamp(a, created));
		bytes_store64(shm->body + 8, created >> 16 << TIME_BITS);
	}
	bytes_store64(p + key_bytes - 8, bytes_load64(key + key_bytes - 8));
	bytes_store64(p, bytes_load64(key));
	bytes_copy(p + key_bytes, value, value_bytes);
	segment_outlast(a->region, region_segment_of(a->region, place), inc, TIME_MASK);
	/* PUBLISH (release): as in room_seal_entry(); the start was noted when the place was first used. */
	store_release(&shm->head, l->head[key_bytes - 9] | value_bytes << HEAD_VALUE_SHIFT | reuse << HEAD_REUSE_SHIFT);
}

static inline uint32_t plain_units(const struct lens *l, size_t key_bytes, uint64_t value_bytes)
{
	return (uint32_t)((l->key_offset + key_bytes + value_bytes + UNIT_BYTES - 1) >> UNIT_SHIFT);
}

/* The slot is held: if it has the key's entry, plain and as large as the new one, that is replaced. */
static inline __attribute__((always_inline)) bool plain_over(struct actor *a, const struct lens *l, struct word *slot, uint64_t seen, const unsigned char *key, size_t key_bytes,
		const void *value, uint32_t value_bytes)
{
	const struct region *r = a->region;
	const uint64_t place = slot_place(seen);
	const unsigned char *entry = l->arena + (place << UNIT_SHIFT);
	/* PUBLISH (acquire): one load of the head. */
	const word_pair head = pair_load(entry);
	word_pair odd = _mm_slli_epi64(pair_differ(head, pair_load(&l->head[key_bytes - 9])), 64 - HEAD_REUSE_SHIFT);
	odd = pair_and(odd, pair_of(HEAD_PLAIN_MASK << (64 - HEAD_REUSE_SHIFT)));
	odd = pair_or(odd, pair_differ(pair_ends(key, key_bytes), pair_ends(entry + l->key_offset, key_bytes)));
	uint64_t segword = load_acquire(region_segword(r, region_segment_of(r, place)));
	uint32_t units = plain_units(l, key_bytes, value_bytes);
	if (unlikely(!pair_is_zero(odd)) || unlikely((segword_inc(segword) ^ seen) & ((1u << SLOT_INC_BITS) - 1))
			|| unlikely(plain_units(l, key_bytes, head_value_bytes(pair_low(head))) != units))
		return false;
	uint64_t new_place, new_inc;
	uint16_t kind = retire_kind(segword_pool(segword), 0);
	if (unlikely(!place_reuse(a, units, kind, &new_place, &new_inc)))
		return false;
	plain_write(a, l, key, key_bytes, value, value_bytes, new_place, new_inc);
	/* PUBLISH (release), and RETIRE: as in index_replace(). */
	if (unlikely(!cas_seq_cst(slot, seen, slot_word(slot_tag(seen), new_place, new_inc)))) {
		retire_unused(a, &(struct retired){ .place = new_place, .inc = new_inc, .units = units, .kind = kind });
		return false;
	}
	retire_at(a, place, segword_inc(segword), units, retire_kind(segword_pool(segword), segword_class(segword)));
	count(a, reused_bytes, units * UNIT_BYTES);
	count(a, inserted_bytes, units * UNIT_BYTES);
	count(a, sets, 1);
	return true;
}

/* A key of 9 .. 16 bytes, a value of 256 at most.  False: nothing was changed, the general way is to do it. */
static inline __attribute__((always_inline)) bool put_plain(struct larder *cache, const void *key, size_t key_bytes, const void *value, uint32_t value_bytes)
{
	const struct lens *l = &cache->lens;
	struct actor *begun;
	if (unlikely(l->ready == LENS_CLOSED))
		return false;
	const word_pair flipped = pair_differ(pair_ends(key, key_bytes), *(const word_pair *)(const void *)l->flip);
	const uint64_t hash = hash_fold(pair_low(flipped), pair_high(flipped), key_bytes);
	struct shm_bucket *home = (struct shm_bucket *)(uintptr_t)lens_home(l, pair_of(hash));
	__builtin_prefetch(home, 1);
	if (unlikely(call_begin(cache, &begun) != LARDER_OK))
		return false;
	struct actor *const a = begun; /* what has its address taken lies in memory */
	word_pair odd = plain_odd(&cache->region);
	compiler_barrier();
	uint32_t match = bucket_match_pair(home, pair_lanes(pair_of(hash)));
	bool done = false;
	if (likely(match != 0) && likely(pair_is_zero(odd))) {
		unsigned i = MATCH_SLOT(match);
		/* PUBLISH (acquire) */
		uint64_t slot = load_acquire(&home->slot[i]);
		if (likely(slot_place(slot) < l->places) && likely(slot != SLOT_EMPTY)) {
			__builtin_prefetch(l->arena + (slot_place(slot) << UNIT_SHIFT));
			done = slot_hold(a, HAZARD_OLD, &home->slot[i], slot)
					&& plain_over(a, l, &home->slot[i], slot, key, key_bytes, value, value_bytes);
			hazard_clear(a, HAZARD_SEGMENT);
			hazard_clear(a, HAZARD_OLD);
		}
	}
	if (likely(done)) {
		watch_access(a, hash, 0, key, key_bytes, TRACE_SET, value_bytes);
	}
	call_end(a);
	return done;
}
#else
static inline bool put_plain(struct larder *cache, const void *key, size_t key_bytes, const void *value, uint32_t value_bytes)
{
	(void)cache, (void)key, (void)key_bytes, (void)value, (void)value_bytes;
	return false;
}
#endif

#endif
