/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ghosts: one word is a queue of seven 9-bit fingerprints, the newest lowest, changed by one CAS.  A hint and nothing
 * more: a lost CAS loses a ghost, a fingerprint met by accident sends a key to the main pool too early.
 *
 * As many words are in use as hold a few more ghosts than the main pool has entries: fewer forget keys that would have earned
 * their place, more remember what any FIFO would have forgotten, and let scans into main.
 */
#include "cache/ghost.h"

#define GHOST_PERCENT 120u /* of the entries in main: a word of seven loses the sharp edge of a FIFO */
#define GHOST_MASK ((UINT64_C(1) << GHOST_BITS) - 1)
#define WORD_MASK ((UINT64_C(1) << GHOST_BITS * GHOSTS_PER_WORD) - 1)

static struct word *ghost_word(const struct region *r, uint64_t hash)
{
	uint64_t active = load_hint(&region_super(r)->ghosts_active);
	if (active == 0 || active > r->geo.ghost_words)
		active = r->geo.ghost_words;
	return region_ghosts(r) + ((hash * UINT64_C(0x9fb21c651e98df25) >> 32) * active >> 32);
}

static uint64_t fingerprint(uint64_t hash)
{
	uint64_t print = (hash ^ hash >> 29) & GHOST_MASK;
	return print + (print == 0);
}

void ghost_add(const struct region *r, uint64_t hash)
{
	struct word *w = ghost_word(r, hash);
	uint64_t seen = load_hint(w);
	cas_acq_rel(w, seen, (seen << GHOST_BITS & WORD_MASK) | fingerprint(hash));
}

bool ghost_take(const struct region *r, uint64_t hash)
{
	struct word *w = ghost_word(r, hash);
	uint64_t seen = load_hint(w), print = fingerprint(hash);
	for (unsigned i = 0; i < GHOSTS_PER_WORD; i++) {
		unsigned shift = GHOST_BITS * i;
		if ((seen >> shift & GHOST_MASK) != print)
			continue;
		uint64_t below = seen & ((UINT64_C(1) << shift) - 1);
		uint64_t above = (seen & WORD_MASK) >> (shift + GHOST_BITS) << shift;
		cas_acq_rel(w, seen, above | below);
		return true;
	}
	return false;
}

void ghost_fit(struct actor *a, uint32_t main_segments)
{
	const struct region *r = a->region;
	uint64_t sets = load_hint(&a->self->counter[COUNTER_sets]), bytes = load_hint(&a->self->counter[COUNTER_inserted_bytes]);
	struct word *hint = &region_super(r)->ghosts_active;
	uint64_t active = load_hint(hint);
	if (sets < 64 || bytes < sets)
		return;
	uint64_t entries = ((uint64_t)main_segments << r->geo.segment_shift) / (bytes / sets);
	uint64_t wanted = entries * GHOST_PERCENT / 100 / GHOSTS_PER_WORD + 1;
	if (wanted > r->geo.ghost_words)
		wanted = r->geo.ghost_words;
	/* Each change moves the ghosts to other words: only a large one is worth it. */
	if (active == 0 || wanted > active + active / 3 || wanted < active - active / 4)
		store_hint(hint, wanted);
}
