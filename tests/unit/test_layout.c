/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two builds that share a segment agree on everything in it, or have different layout versions.  What they have to agree on is
 * put into one number here, and the number belongs to a version: who changes one of these facts sees this test fail, raises
 * LAYOUT_VERSION, and writes down the new pair.  How many of each thing a segment has is no part of it: the geometry says that.
 */
#include "kit.h"
#include "shm/tag.h"
#include "shm/trace.h"
#include "store/migration.h"
#ifdef LARDER_REDIS
#include "redis/node.h"
#endif

#define VERSION 7u
#define FACTS UINT64_C(0x9964321f4d5ce966)

static uint64_t facts;

static void fact(uint64_t value) { facts = hash_bytes(&value, sizeof value, facts); }

#define struct_fact(type) fact(sizeof(struct type))
#define member_fact(type, member) fact(offsetof(struct type, member))

static void superblock_and_participants(void)
{
	struct_fact(shm_super);
	member_fact(shm_super, geometry);
	member_fact(shm_super, state);
	member_fact(shm_super, participants_used);
	member_fact(shm_super, seals);
	member_fact(shm_super, tag_clock);
	member_fact(shm_super, cell);
	struct_fact(shm_geometry);
	member_fact(shm_geometry, groups);
	member_fact(shm_geometry, segments);
	member_fact(shm_geometry, create_flags);
	member_fact(shm_geometry, trace_shift);
	member_fact(shm_geometry, hash_seed);
	member_fact(shm_geometry, epoch_ms);
	struct_fact(shm_participant);
	member_fact(shm_participant, hazard[HAZARD_SEGMENT]);
	member_fact(shm_participant, batch);
	member_fact(shm_participant, pin);
	member_fact(shm_participant, registration);
	member_fact(shm_participant, versions);
	member_fact(shm_participant, flight);
	member_fact(shm_participant, counter);
}

static void segments_and_index(void)
{
	struct_fact(shm_segment);
	member_fact(shm_segment, expiry);
	member_fact(shm_segment, seal);
	member_fact(shm_segment, progress);
	fact(segword_active(5, 3, POOL_MAIN, 2));
	fact(segword_with_next_turn(segword_with_state(segword_free(9), SEGMENT_LIMBO)));
	fact(life_word(7, 11));
	fact(STARTS_PER_WORD << 16 | BLOCK_UNITS);
	fact(SURVIVORS_RESERVE);
	fact(GHOSTS_PER_WORD << 16 | GHOST_BITS);
	struct_fact(shm_bucket);
	member_fact(shm_bucket, frequency);
	member_fact(shm_bucket, spill);
	struct_fact(shm_group);
	member_fact(shm_group, overflow);
	fact(slot_word(1, 2, 3));
	fact(FREQUENCY_YOUNG << 16 | RIPE_TICKS);
}

static void entries(void)
{
	fact(FIELD_EXPIRES | FIELD_STAMP << 8 | FIELD_NAMESPACE << 16 | FIELD_EXTRAS << 24);
	fact(FIELD_CHECKSUM | FIELD_ALIGNED << 8 | KIND_COUNTER << 16);
	fact(KIND_MANIFEST | KIND_CHUNK << 8);
	fact(EXTRA_TAGS | EXTRA_REFRESH >> 1);
	fact(EXTRA_LEASE | EXTRA_EMPTY << 1);
	fact(EXTRA_WAS_STALE | EXTRA_ABSENT << 1);
	fact(EXTRA_KEPT);
	fact(EXTRAS_KNOWN);
	fact(EXTRA_KEPT);
	fact(TAGS_MAX << 16 | LEASE_WORDS);
	fact(HEAD_VALUE_SHIFT | HEAD_KEY_SHIFT << 8 | HEAD_STATUS_SHIFT << 16 | HEAD_REUSE_SHIFT << 24);
	fact(ENTRY_PENDING | ENTRY_COMMITTED << 8 | ENTRY_ABORTED << 16);
	fact(TIME_BITS);
}

static void instruments(void)
{
	struct_fact(shm_namespace);
	member_fact(shm_namespace, generation);
	member_fact(shm_namespace, quota_hand);
	member_fact(shm_namespace, kept_floor);
	member_fact(shm_namespace, sample);
	member_fact(shm_namespace, name);
	member_fact(shm_namespace, tally);
	struct_fact(shm_board);
	member_fact(shm_board, value);
	struct_fact(shm_wait);
	struct_fact(shm_hot_head);
	struct_fact(shm_hot);
	member_fact(shm_hot, error);
	member_fact(shm_hot, key);
	struct_fact(shm_hot_key);
	struct_fact(shm_series_head);
	struct_fact(shm_series);
	member_fact(shm_series, error);
	member_fact(shm_series, stripe);
	struct_fact(shm_histogram);
	struct_fact(shm_trace_head);
	member_fact(shm_trace_head, mark);
	fact(TRACE_BATCH << 24 | TRACE_PARTS << 16 | TRACE_MARKS << 8 | TRACE_FILL);
	fact(trace_size_class(1000));
}

/* Where each key, tag and name is looked for. */
static void places(void)
{
	struct region r = { .geo = { .hash_seed = 20, .groups = 1000, .tag_words = 4096 } };
	char text[300];

	memset(text, 'k', sizeof text);
	for (uint32_t bytes = 1; bytes <= sizeof text; bytes++) {
		uint64_t hash = key_hash(&r, text, bytes, bytes % 3, bytes % 2);
		fact(hash);
		fact(hash_group(&r, hash) << 16 | hash_home(hash));
		fact((uint64_t)hash_tag(hash) << 32 | hash_line(hash, 0) << 8 | hash_line(hash, 1));
	}
	fact(tag_number(&r, "a tag"));
	fact(hash_bytes("a namespace", 11, 20));
}

Test(layout, a_segment_that_looks_otherwise_has_another_version)
{
	superblock_and_participants();
	segments_and_index();
	entries();
	instruments();
	places();
	cr_assert(LAYOUT_VERSION == VERSION && facts == FACTS, "layout version %u is known with the facts %#lx, and here is version %u with %#lx: "
			"raise LAYOUT_VERSION if it is still that of the last commit, and write both down in %s", VERSION, (unsigned long)FACTS,
			LAYOUT_VERSION, (unsigned long)facts, __FILE__);
}

/* ---- Counters: a place for ever, so that a new one needs no new version ---------------------------------------------------- */

static uint64_t names_of(const char *const *names, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum = hash_bytes(names[i], strlen(names[i]), sum);
	return sum;
}

static void keep_their_places(const char *const *names, size_t known, size_t now, uint64_t sum)
{
	cr_assert_geq(now, known);
	cr_assert_eq(names_of(names, known), sum, "the first %zu counters are others than they were: %#lx", known,
			(unsigned long)names_of(names, known));
}

#define LARDER_COUNTER(name, text) #name,
#define LARDER_REDIS_COUNTER(name, text) #name,
static const char *const engine_counters[] = {
#include <larder/counters.def>
};
static const char *const migration_counters[] = {
#include <larder/migration.def>
};

Test(layout, a_counter_of_the_engine_keeps_its_place)
{
	keep_their_places(engine_counters, 34, COUNTERS, UINT64_C(0x4d108a05b6439988));
}

Test(layout, a_counter_of_a_migration_keeps_its_place)
{
	keep_their_places(migration_counters, 11, MIGRATION_COUNTERS, UINT64_C(0x6d1194906774ecf1));
}

#ifdef LARDER_REDIS
static const char *const redis_counters[] = {
#include <larder/redis.def>
};

Test(layout, a_counter_of_a_redis_keeps_its_place)
{
	keep_their_places(redis_counters, 13, REDIS_COUNTER_COUNT, UINT64_C(0xb5089d422a300c8a));
}
#endif
