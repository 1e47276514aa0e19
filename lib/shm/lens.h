/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the plain get and the plain set ask of their cache, side by side in private memory: constants of the geometry in the form in
 * which they use them, and pointers to the words that they look at.  Filled once, when the handle is made.
 */
#ifndef LARDER_SHM_LENS_H
#define LARDER_SHM_LENS_H

#include "shm/index.h"
#include "shm/trace.h"

struct lens {
	uint64_t flip[2];            /* of the two words of a short key, in namespace 0 */
	uint64_t groups[2];          /* pairs with nothing in the upper word, so that they need not be loaded first */
	uint64_t group_bytes[2];
	uint64_t home_mask[2];
	uint64_t index[2];
	uint64_t head_mask[2];
	uint64_t ready;              /* what the calling thread's worker must say; LENS_CLOSED: nobody's does */
	uint64_t rare_mask;          /* what is 0 in the hash of a key that is traced, or whose tag is 0 */
	const unsigned char *arena;
	const unsigned char *keys;   /* the arena, shifted by the bytes before a plain entry's key */
	uint64_t places;             /* where an entry of LENS_VALUE_MAX still ends in the arena */
	const struct word *state;    /* of the cache */
	const struct word *generation; /* of namespace 0 */
	uint32_t fields;             /* of a plain entry */
	uint32_t key_offset;         /* of its key, in bytes */
	uint64_t head[8];            /* of a COMMITTED plain entry with a key of 9 .. 16 bytes, its value's length left out */
};

#define LENS_CLOSED UINT64_MAX
#define LENS_VALUE_MAX 511u

/* fields: those that every plain entry of this cache has. */
static inline void lens_set(struct lens *l, const struct region *r, uint64_t ready, uint32_t fields)
{
	*l = (struct lens){ .flip = { hash_flip_first(r->geo.hash_seed), hash_flip_last(r->geo.hash_seed) }, .ready = ready,
		.groups = { r->geo.groups }, .group_bytes = { sizeof(struct shm_group) },
		.home_mask = { (GROUP_HOMES - 1) * sizeof(struct shm_bucket) }, .index = { (uint64_t)(uintptr_t)r->index },
		.fields = fields, .key_offset = entry_fixed_bytes(fields), .rare_mask = trace_mask_of_all(r) & 0xffff,
		.arena = r->arena, .keys = r->arena + entry_fixed_bytes(fields),
		.places = r->places - (LENS_VALUE_MAX + 64) / UNIT_BYTES,
		.state = &region_super(r)->state, .generation = &region_namespace(r, 0)->generation,
		/* With a stamp, an expiry changes nothing about where things lie. */
		.head_mask = { (HEAD_PLAIN_MASK | HEAD_LONG_MASK) & ~(uint64_t)(fields & FIELD_STAMP ? FIELD_EXPIRES : 0) } };
	for (uint32_t bytes = 9; bytes <= 16; bytes++)
		l->head[bytes - 9] = head_make(0, ENTRY_COMMITTED, fields, bytes, 0);
}

#ifdef LARDER_PAIRS
static inline word_pair lens_pair(const uint64_t *pair) { return *(const word_pair *)(const void *)pair; }
/* hash_group() and hash_home(), to the address. */
static inline const struct shm_bucket *lens_home(const struct lens *l, word_pair hash)
{
	word_pair group = _mm_srli_epi64(_mm_mul_epu32(_mm_srli_epi64(hash, 32), lens_pair(l->groups)), 32);
	word_pair home = pair_and(_mm_srli_epi64(hash, 16 - 6), lens_pair(l->home_mask));
	word_pair at = _mm_add_epi64(_mm_mul_epu32(group, lens_pair(l->group_bytes)), home);
	return (const struct shm_bucket *)pair_low(_mm_add_epi64(at, lens_pair(l->index)));
}
#endif

#endif
