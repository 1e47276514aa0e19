/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ghosts: one word is a queue of four 16-bit fingerprints, the newest lowest, changed by one CAS.  A hint and nothing
 * more: a lost CAS loses a ghost, a fingerprint met by accident sends a key to the main pool too early.
 *
 * As many words are in use as hold one ghost for each entry of the main pool: fewer forget keys that would have earned
 * their place, more remember what any FIFO would have forgotten, and let scans into main.
 */
#include "cache/ghost.h"

static struct word *ghost_word(const struct region *r, uint64_t hash)
{
	uint64_t active = load_hint(&region_super(r)->ghosts_active);
	if (active == 0 || active > r->geo.ghost_words)
		active = r->geo.ghost_words;
	return region_ghosts(r) + ((hash * UINT64_C(0x9fb21c651e98df25) >> 32) * active >> 32);
}

static uint64_t fingerprint(uint64_t hash)
{
	uint64_t print = (hash ^ hash >> 29) & 0xffff;
	return print + (print == 0);
}

void ghost_add(const struct region *r, uint64_t hash)
{
	struct word *w = ghost_word(r, hash);
	uint64_t seen = load_hint(w);
	cas_acq_rel(w, seen, seen << 16 | fingerprint(hash));
}

bool ghost_take(const struct region *r, uint64_t hash)
{
	struct word *w = ghost_word(r, hash);
	uint64_t seen = load_hint(w), print = fingerprint(hash);
	for (unsigned i = 0; i < GHOSTS_PER_WORD; i++) {
		uint64_t lane = UINT64_C(0xffff) << 16 * i;
		if ((seen & lane) >> 16 * i != print)
			continue;
		uint64_t below = seen & ((UINT64_C(1) << 16 * i) - 1);
		uint64_t above = i == 3 ? 0 : seen >> 16 * (i + 1) << 16 * i;
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
	uint64_t wanted = entries / GHOSTS_PER_WORD + 1;
	if (wanted > r->geo.ghost_words)
		wanted = r->geo.ghost_words;
	/* Each change moves the ghosts to other words: only a large one is worth it. */
	if (active == 0 || wanted > active + active / 3 || wanted < active - active / 4)
		store_hint(hint, wanted);
}
