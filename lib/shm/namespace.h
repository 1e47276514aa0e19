/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Namespaces: numbers for names, generations that hide what was set before a flush, default TTLs, tallies.
 *
 * The table is open-addressed.  A CAS of the name's hash into a free place decides the number; the name is then written
 * by CAS from 0, word by word, its length first, by whoever comes by; a word that differs means another name of that
 * hash: next place.  Never freed.  Number 0 is the default namespace and has no name.
 * GENERATION: present and floor are one word, changed by one CAS; a reader loads it after the entry it judges.
 */
#ifndef LARDER_SHM_NAMESPACE_H
#define LARDER_SHM_NAMESPACE_H

#include "shm/actor.h"
#include "shm/entry.h"

static inline uint32_t generation_present(uint64_t w) { return (uint32_t)(w >> 32); }
static inline uint32_t generation_floor(uint64_t w) { return (uint32_t)w; }

enum visibility { VISIBLE, VISIBLE_STALE, INVISIBLE };

static inline uint64_t namespace_generation(const struct region *r, uint32_t ns)
{
	/* GENERATION (acquire): loaded after the entry, so that a flush which returned before this get began is seen. */
	return load_seq_cst(&region_namespace(r, ns)->generation);
}

static inline enum visibility generation_sees(uint64_t word, uint32_t generation)
{
	if (likely(generation == generation_present(word)))
		return VISIBLE;
	return (int32_t)(generation - generation_floor(word)) < 0 ? INVISIBLE : VISIBLE_STALE;
}

/* Of an entry with EXTRA_KEPT. */
static inline enum visibility generation_sees_kept(const struct region *r, uint32_t ns, uint32_t generation)
{
	/* GENERATION (acquire): as above. */
	uint32_t floor = (uint32_t)load_seq_cst(&region_namespace(r, ns)->kept_floor);
	if (likely((int32_t)(generation - floor) >= 0))
		return VISIBLE;
	return generation_sees(namespace_generation(r, ns), generation);
}

/* Finds or registers; LARDER_OK, LARDER_NAMESPACES, or LARDER_MISS if it is not there and may not be registered. */
enum larder_status namespace_number(struct region *r, const char *name, bool may_register, uint32_t *ns);
/* Moves the present generation on, and for a hard flush the floor with it. */
void namespace_flush(struct region *r, uint32_t ns, bool hard);
/* The same for those who know that what is there may be old, but did not order it gone: entries with EXTRA_KEPT stay as they are. */
void namespace_hide(struct region *r, uint32_t ns, bool hard);

/* One entry more or less, by its owner: striped by participant, exact but for a death in the middle of a call. */
static inline void namespace_tally(struct actor *a, uint32_t ns, int64_t entries, int64_t units)
{
	uint32_t stripe = a->slot % NAMESPACE_STRIPES;
	struct shm_namespace *n = region_namespace(a->region, ns);
	if (entries != 0)
		add_hint(&n->tally[stripe].entries, (uint64_t)entries);
	if (units != 0)
		add_hint(&n->tally[stripe].bytes, (uint64_t)(units * (int64_t)UNIT_BYTES));
}
void namespace_sum(const struct region *r, uint32_t ns, int64_t *entries, int64_t *bytes);
/* A get that was chosen by chance; and what came of all that were, or of the later of them. */
void namespace_sample(const struct region *r, uint32_t ns, bool hit);
void namespace_sampled(const struct region *r, uint32_t ns, uint64_t *gets, uint64_t *hits);
/* Has it a quota, and more entries than that allows? */
static inline bool namespace_exceeds(const struct region *r, uint32_t ns)
{
	int64_t entries, bytes;
	uint64_t quota = load_hint(&region_namespace(r, ns & (r->geo.namespaces - 1))->quota);
	if (likely(quota == 0))
		return false;
	namespace_sum(r, ns & (r->geo.namespaces - 1), &entries, &bytes);
	return bytes > (int64_t)quota;
}
/* Copies the name and ends it with a NUL; false if the number is not registered. */
bool namespace_name(const struct region *r, uint32_t ns, char name[NAMESPACE_NAME_BYTES + 1]);

#endif
