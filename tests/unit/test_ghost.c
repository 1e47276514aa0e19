/* SPDX-License-Identifier: BSD-2-Clause */
/* Ghosts: a key that was added is taken once; a word holds the newest seven. */
#include "kit.h"

TestSuite(ghost, .init = kit_open, .fini = kit_close);

static struct region *region(void) { return &cache->region; }

/* Another hash with a fingerprint of its own in the word of `like`. */
static uint64_t neighbour(uint64_t like, unsigned which)
{
	uint64_t words = region()->geo.ghost_words;
	unsigned found = 0;
	for (uint64_t i = 1;; i++) {
		uint64_t hash = i * UINT64_C(0x9e3779b97f4a7c15);
		uint64_t at = (hash * UINT64_C(0x9fb21c651e98df25) >> 32) * words >> 32;
		if (at == (like * UINT64_C(0x9fb21c651e98df25) >> 32) * words >> 32 && found++ == which)
			return hash;
	}
}

Test(ghost, a_key_is_a_ghost_once)
{
	uint64_t hash = hash_bytes("gone", 4, 0);
	cr_assert_not(ghost_take(region(), hash));
	ghost_add(region(), hash);
	cr_assert(ghost_take(region(), hash));
	cr_assert_not(ghost_take(region(), hash));
}

Test(ghost, a_word_keeps_the_newest_seven_and_forgets_the_eighth)
{
	uint64_t hash[GHOSTS_PER_WORD + 1];
	for (unsigned i = 0; i <= GHOSTS_PER_WORD; i++) {
		hash[i] = neighbour(1, i);
		ghost_add(region(), hash[i]);
	}
	cr_assert_not(ghost_take(region(), hash[0]), "the oldest of eight is forgotten");
	for (unsigned i = 1; i <= GHOSTS_PER_WORD; i++)
		cr_assert(ghost_take(region(), hash[i]), "ghost %u of 8", i);
}

Test(ghost, taking_one_leaves_the_others_whatever_its_place_in_the_word)
{
	for (unsigned taken = 0; taken < GHOSTS_PER_WORD; taken++) {
		for (unsigned i = 0; i < GHOSTS_PER_WORD; i++)
			ghost_add(region(), neighbour(1, i));
		cr_assert(ghost_take(region(), neighbour(1, taken)));
		for (unsigned i = 0; i < GHOSTS_PER_WORD; i++)
			cr_assert_eq(ghost_take(region(), neighbour(1, i)), i != taken, "%u of 7 after %u was taken", i, taken);
	}
}

Test(ghost, few_keys_are_taken_for_ghosts_that_are_none)
{
	unsigned wrong = 0;
	for (uint64_t i = 0; i < 10000; i++)
		ghost_add(region(), hash_bytes(&i, sizeof i, 1));
	for (uint64_t i = 0; i < 10000; i++)
		wrong += ghost_take(region(), hash_bytes(&i, sizeof i, 2));
	cr_assert_lt(wrong, 200, "%u of 10000", wrong); /* seven in 511 are expected at most: 137 */
}
