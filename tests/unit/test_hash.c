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
	static uint64_t group[GROUPS], home[GROUP_HOMES], line[GROUP_OVERFLOWS], tag_bit[16];
	struct region r = { .geo = { .hash_seed = 12345, .groups = GROUPS } };
	for (uint32_t i = 0; i < KEYS; i++) {
		uint64_t h = key_hash(&r, &i, sizeof i, 0, false);
		uint64_t g = hash_group(&r, h);
		cr_assert_lt(g, GROUPS);
		group[g]++;
		home[hash_home(h)]++;
		cr_assert_neq(hash_line(h, 0), hash_line(h, 1));
		line[hash_line(h, 0)]++;
		line[hash_line(h, 1)]++;
		for (unsigned b = 0; b < 16; b++)
			tag_bit[b] += hash_tag(h) >> b & 1;
	}
	for (unsigned i = 0; i < GROUPS; i++) /* 2 000 each; six deviations are 270 */
		cr_assert(group[i] > 1700 && group[i] < 2300, "group %u has %lu", i, (unsigned long)group[i]);
	for (unsigned i = 0; i < GROUP_HOMES; i++) /* 6 250 each; six deviations are 475 */
		cr_assert(home[i] > 5775 && home[i] < 6725, "home %u has %lu", i, (unsigned long)home[i]);
	for (unsigned i = 0; i < GROUP_OVERFLOWS; i++) /* 50 000 each */
		cr_assert(line[i] > 48500 && line[i] < 51500, "line %u has %lu", i, (unsigned long)line[i]);
	for (unsigned i = 0; i < 16; i++)
		cr_assert(tag_bit[i] > 98000 && tag_bit[i] < 102000, "bit %u is set %lu times", i, (unsigned long)tag_bit[i]);
}

Test(hash, the_last_group_is_reached_and_never_passed)
{
	struct region r = { .geo = { .groups = 7 } };
	cr_assert_eq(hash_group(&r, UINT64_MAX), 6);
	cr_assert_eq(hash_group(&r, 0), 0);
}

Test(hash, short_keys_that_count_up_or_differ_in_one_byte_spread_over_homes_and_tags)
{
	enum { KEYS = 65536, BUCKETS = 8192 }; /* all that two bytes can be */
	for (uint32_t bytes = 9; bytes <= 16; bytes++)
		for (uint32_t at = 0; at + 2 <= bytes; at += 3) {
			static uint8_t home[BUCKETS], tag[BUCKETS];
			struct region r = { .geo = { .hash_seed = 99, .groups = BUCKETS / GROUP_HOMES } };
			uint32_t most_home = 0, most_tag = 0;
			memset(home, 0, sizeof home);
			memset(tag, 0, sizeof tag);
			for (uint32_t i = 0; i < KEYS; i++) {
				unsigned char key[20] = "abcdefghijklmnopqrs";
				memcpy(key + at, &i, 2);
				uint64_t h = key_hash(&r, key, bytes, 0, false);
				uint8_t *b = &home[hash_group(&r, h) * GROUP_HOMES + hash_home(h)], *t = &tag[hash_tag(h) % BUCKETS];
				most_home = ++*b > most_home ? *b : most_home;
				most_tag = ++*t > most_tag ? *t : most_tag;
			}
			/* 8 expected in each; more than 40 in one of 8192 has a chance of 1e-13 */
			cr_assert_leq(most_home, 40, "%u bytes, changed at %u: %u in one home", bytes, at, most_home);
			cr_assert_leq(most_tag, 40, "%u bytes, changed at %u: %u of one tag", bytes, at, most_tag);
		}
}

Test(hash, keys_of_one_letter_repeated_differ_by_their_length)
{
	struct region r = { .geo = { .hash_seed = 5 } };
	for (uint32_t x = 9; x <= 16; x++)
		for (uint32_t y = 9; y < x; y++)
			cr_assert_neq(key_hash(&r, "aaaaaaaaaaaaaaaa", x, 0, false), key_hash(&r, "aaaaaaaaaaaaaaaa", y, 0, false));
}

#ifdef LARDER_PAIRS
Test(hash, the_lens_finds_the_home_that_the_index_finds)
{
	static struct shm_group index[1000];
	struct region r = { .geo = { .hash_seed = 3, .groups = 1000 }, .index = index };
	struct lens lens = { .flip = { hash_flip_first(3), hash_flip_last(3) }, .groups = { 1000 }, .group_bytes = { sizeof *index },
		.home_mask = { (GROUP_HOMES - 1) * sizeof(struct shm_bucket) }, .index = { (uintptr_t)index } };
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t words[2] = { i * UINT64_C(0x9e3779b97f4a7c15), i };
		struct key k = key_make(&r, words, 9 + i % 8, 0, false);
		cr_assert_eq(lens_home(&lens, pair_of(k.hash)), k.home);
		uint64_t flip[2] = { words[0] ^ lens.flip[0], 0 };
		memcpy(&flip[1], (const char *)words + k.bytes - 8, 8);
		cr_assert_eq(hash_fold(flip[0], flip[1] ^ lens.flip[1], k.bytes), k.hash);
	}
}
#endif
