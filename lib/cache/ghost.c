/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ghosts: one word is a queue of four 16-bit fingerprints, the newest lowest, changed by one CAS.  A hint and nothing
 * more: a lost CAS loses a ghost, a fingerprint met by accident sends a key to the main pool too early.
 */
#include "cache/evict.h"

static struct word *ghost_word(const struct region *r, uint64_t hash)
{
	uint64_t at = (hash * UINT64_C(0x9fb21c651e98df25) >> 32) * r->geo.ghost_words >> 32;
	return region_ghosts(r) + at;
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
