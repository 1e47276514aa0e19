/* SPDX-License-Identifier: BSD-2-Clause */
/* The hash, and how its bits are spent: group, home, tag and ghost. */
#include "kit.h"

Test(hash, another_seed_gives_another_hash_of_the_same_bytes)
{
	unsigned same = 0;
	for (uint64_t seed = 0; seed < 1000; seed++)
		same += hash_bytes("key", 3, seed) == hash_bytes("key", 3, seed + 1);
	cr_assert_eq(same, 0);
	cr_assert_eq(hash_bytes("key", 3, 9), hash_bytes("key", 3, 9));
}

Test(hash, the_same_key_in_another_namespace_or_as_a_chunk_has_another_hash)
{
	struct region r = { .geo = { .hash_seed = 77, .groups = 100 } };
	uint64_t plain = key_hash(&r, "key", 3, 0, false);
	cr_assert_neq(plain, key_hash(&r, "key", 3, 1, false));
	cr_assert_neq(plain, key_hash(&r, "key", 3, 0, true));
	cr_assert_neq(key_hash(&r, "key", 3, 1, false), key_hash(&r, "key", 3, 0, true));
}

Test(hash, a_tag_is_never_zero)
{
	cr_assert_eq(hash_tag(0), 1);
	cr_assert_eq(hash_tag(UINT64_C(0xabcd0000)), 1);
	cr_assert_eq(hash_tag(UINT64_C(0xabcdffff)), 0xffff);
}

Test(hash, groups_homes_and_tags_are_used_evenly)
{
	enum { KEYS = 200000, GROUPS = 100 };
	static uint64_t group[GROUPS], home[GROUP_HOMES], tag_bit[16];
	struct region r = { .geo = { .hash_seed = 12345, .groups = GROUPS } };
	for (uint32_t i = 0; i < KEYS; i++) {
		uint64_t h = key_hash(&r, &i, sizeof i, 0, false);
		uint64_t g = hash_group(&r, h);
		cr_assert_lt(g, GROUPS);
		group[g]++;
		home[hash_home(h)]++;
		for (unsigned b = 0; b < 16; b++)
			tag_bit[b] += hash_tag(h) >> b & 1;
	}
	for (unsigned i = 0; i < GROUPS; i++) /* 2 000 each; six deviations are 270 */
		cr_assert(group[i] > 1700 && group[i] < 2300, "group %u has %lu", i, (unsigned long)group[i]);
	for (unsigned i = 0; i < GROUP_HOMES; i++)
		cr_assert(home[i] > 24000 && home[i] < 26000, "home %u has %lu", i, (unsigned long)home[i]);
	for (unsigned i = 0; i < 16; i++)
		cr_assert(tag_bit[i] > 98000 && tag_bit[i] < 102000, "bit %u is set %lu times", i, (unsigned long)tag_bit[i]);
}

Test(hash, the_last_group_is_reached_and_never_passed)
{
	struct region r = { .geo = { .groups = 7 } };
	cr_assert_eq(hash_group(&r, UINT64_MAX), 6);
	cr_assert_eq(hash_group(&r, 0), 0);
}
