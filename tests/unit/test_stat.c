/* SPDX-License-Identifier: BSD-2-Clause */
/* What is seen from outside: geometry, participants, counters. */
#include "kit.h"

#include <larder/policy.h>

#include <sys/wait.h>

TestSuite(stat, .init = kit_open, .fini = kit_close);

Test(stat, info_says_how_the_cache_is_made)
{
	struct larder_info i = info_now();
	cr_assert_eq(i.bytes, 1 << 20);
	cr_assert(i.segments >= 32 && i.segment_bytes * i.segments < i.bytes);
	cr_assert_eq(i.value_max_bytes, i.bytes / 16);
	cr_assert(i.contiguous_max_bytes < i.segment_bytes && i.contiguous_max_bytes > i.segment_bytes / 2);
	cr_assert(i.participants == 16 && i.namespaces == 16 && i.mode == 0600 && i.create_flags == 0 && !i.read_only);
	cr_assert(i.index_bytes != 0 && i.index_slots != 0 && i.ghost_slots != 0 && i.stripes != 0 && i.ttl_classes != 0);
	cr_assert(strstr(i.path, kit_name) != NULL && llabs(i.created_at_ms - clock_wall_ms()) < 10000);
	struct larder *inspector = kit_another(LARDER_INSPECT);
	struct larder_info its;
	ok(larder_info(inspector, &its));
	cr_assert(its.read_only && its.bytes == i.bytes && its.segments == i.segments);
	larder_close(&inspector);
	is(larder_info(NULL, &i), LARDER_INVALID);
	is(larder_info(cache, NULL), LARDER_INVALID);
}

Test(stat, counters_count_what_was_done)
{
	ok(put_text("a", "1"));
	ok(put_text("a", "2"));
	ok(put_text("b", "1"));
	ok(del_text("b"));
	is(del_text("b"), LARDER_MISS);
	reads("a", "2");
	reads("b", NULL);
	ok(larder_incr(cache, 0, "a", 1, 1, NULL));
	ok(larder_incr(cache, 0, "a", 1, 1, NULL));
	ok(larder_flush(cache, 0));
	reads("a", NULL);
	struct larder_stat s = stat_now();
	cr_assert_eq(s.sets, 4, "%lu", (unsigned long)s.sets); /* the first incr wrote the counter */
	cr_assert(s.inserts == 2 && s.deletes == 1 && s.hits == 1 && s.misses == 2 && s.increments == 1 && s.flushes == 1 && s.flushed == 1);
	cr_assert(s.entries == 0 && s.entry_bytes == 0 && s.participants_alive == 1 && s.inserted_bytes > 4 * 24);
	cr_assert_eq(s.segments_free + s.segments_small + s.segments_main + s.segments_recycling, info_now().segments);
	is(larder_stat(NULL, &s), LARDER_INVALID);
	is(larder_stat(cache, NULL), LARDER_INVALID);
}

Test(stat, pools_have_the_entries_and_bytes_that_went_there)
{
	unsigned n = fill("key", 300, 200000, LARDER_TTL_NONE);
	struct larder_stat s = stat_now();
	cr_assert_eq(s.entries, n);
	cr_assert_eq(s.entries_small + s.entries_main, n);
	cr_assert(s.bytes_small + s.bytes_main >= s.entry_bytes && s.bytes_small + s.bytes_main < s.entry_bytes + s.entry_bytes / 10);
	for (unsigned round = 0; round < 8; round++) { /* what is used in between is copied to the main pool */
		(void)count_filled("key", 300, n / 4);
		char prefix[16];
		(void)snprintf(prefix, sizeof prefix, "other%u.", round);
		(void)fill_percent(prefix, 30, LARDER_TTL_NONE);
	}
	s = stat_now();
	cr_assert(s.entries_main > 0 && s.bytes_main > 0 && s.copies > 0 && s.copied_bytes >= s.copies * 300);
	cr_assert_leq(s.segments_limbo, s.segments_recycling);
	cr_assert(s.bytes_small <= (s.segments_small + s.segments_recycling) * info_now().segment_bytes);
	cr_assert_eq(s.entries_small + s.entries_main, s.entries);
}

/* A cache of `bytes` with some entries of 1 000 bytes of each class of time to live, and as many in a namespace with a quota. */
static struct larder_stat of_classes(uint64_t bytes, unsigned each, struct larder_info *info)
{
	static const int64_t ttls_ms[] = { LARDER_TTL_NONE, 9000, 110000, 1700000, 21000000, 22000000 };
	static const char value[976];
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct larder_stat s;
	struct larder *other;
	uint32_t limited;
	char key[16];

	options.flags = LARDER_PRIVATE;
	options.bytes = bytes;
	ok(larder_open_with("classes", &options, &other));
	ok(larder_namespace(other, "limited", &limited));
	ok(larder_namespace_quota(other, limited, bytes / 4));
	for (unsigned i = 0; i < each * 7; i++) {
		snprintf(key, sizeof key, "%08u", i);
		ok(larder_set(other, i % 7 == 6 ? limited : 0, key, 8, value, sizeof value, ttls_ms[i % 7 % 6]));
	}
	ok(larder_info(other, info));
	ok(larder_stat(other, &s));
	larder_close(&other);
	return s;
}

Test(stat, memory_is_told_by_class_of_time_to_live)
{
	struct larder_info info;
	struct larder_stat s = of_classes(16 << 20, 100, &info);
	const uint64_t entries[] = { s.ttl_entries_never, s.ttl_entries_10s, s.ttl_entries_2m, s.ttl_entries_30m, s.ttl_entries_6h,
		s.ttl_entries_longer, s.ttl_entries_mixed };
	const uint64_t bytes[] = { s.ttl_bytes_never, s.ttl_bytes_10s, s.ttl_bytes_2m, s.ttl_bytes_30m, s.ttl_bytes_6h,
		s.ttl_bytes_longer, s.ttl_bytes_mixed };

	cr_assert_eq(info.ttl_classes, 6);
	for (unsigned i = 0; i < 7; i++)
		cr_assert(entries[i] == 100 && bytes[i] > 100000 && bytes[i] < 115000, "%u: %lu entries, %lu bytes", i,
				(unsigned long)entries[i], (unsigned long)bytes[i]);
}

Test(stat, where_classes_are_not_kept_apart_it_says_so)
{
	struct larder_info info;
	struct larder_stat s = of_classes(LARDER_BYTES_MIN, 5, &info);

	cr_assert(info.ttl_classes < 6, "%u classes", info.ttl_classes);
	cr_assert_gt(s.ttl_entries_mixed, 5);
	cr_assert_eq(s.ttl_entries_longer, 0);
	cr_assert_eq(s.ttl_entries_never + s.ttl_entries_10s + s.ttl_entries_2m + s.ttl_entries_30m + s.ttl_entries_6h +
			s.ttl_entries_mixed, s.entries_small + s.entries_main);
	cr_assert_eq(s.ttl_bytes_never + s.ttl_bytes_10s + s.ttl_bytes_2m + s.ttl_bytes_30m + s.ttl_bytes_6h + s.ttl_bytes_mixed,
			s.bytes_small + s.bytes_main);
}

Test(stat, counters_of_the_dead_still_count)
{
	pid_t child = fork();
	if (child == 0)
		_exit(put_text("a", "1") == LARDER_OK ? 0 : 1);
	int status;
	cr_assert(waitpid(child, &status, 0) == child && status == 0);
	struct larder_stat s = stat_now();
	cr_assert(s.sets == 1 && s.participants_alive == 0 && s.entries == 1);
	reads("a", "1");
}

Test(stat, participants_are_shown_with_who_they_are)
{
	struct larder_participant_info p;
	unsigned alive = 0, never = 0;
	struct larder_pin pin;
	ok(put_text("a", "1"));
	ok(larder_pin(cache, 0, "a", 1, 0, &pin));
	for (uint32_t i = 0; i < 16; i++) {
		enum larder_status status = larder_participant(cache, i, &p);
		never += status == LARDER_MISS;
		if (status != LARDER_OK)
			continue;
		alive += p.alive;
		cr_assert(p.slot == i && p.pid == getpid() && p.registration == 1 && p.pins == 1 && p.hazards == 0);
		cr_assert_eq(strncmp(p.command, program_invocation_short_name, 15), 0, "%s", p.command);
	}
	cr_assert(alive == 1 && never == 15);
	larder_unpin(cache, &pin);
	is(larder_participant(cache, 16, &p), LARDER_INVALID);
	is(larder_participant(NULL, 0, &p), LARDER_INVALID);
	is(larder_participant(cache, 0, NULL), LARDER_INVALID);
}

static uint64_t operations_now(void)
{
	struct larder_participant_info p;
	uint64_t sum = 0;
	for (uint32_t i = 0; i < 16; i++)
		sum += larder_participant(cache, i, &p) == LARDER_OK ? p.operations : 0;
	return sum;
}

Test(stat, operations_of_a_participant_are_those_that_it_performed)
{
	char text[8];
	ok(put_text("a", "1"));
	uint64_t before = operations_now();
	ok(larder_get(cache, 0, "a", 1, text, sizeof text, NULL));
	is(larder_get(cache, 0, "b", 1, text, sizeof text, NULL), LARDER_MISS);
	ok(larder_incr(cache, 0, "n", 1, 1, NULL)); /* makes a counter: a set */
	ok(larder_incr(cache, 0, "n", 1, 1, NULL));
	ok(larder_delete(cache, 0, "a", 1));
	cr_assert_eq(operations_now() - before, 5, "%llu", (unsigned long long)(operations_now() - before));
}

Test(stat, a_dead_participant_is_shown_as_dead)
{
	struct larder_participant_info p;
	unsigned dead = 0;
	pid_t child = fork();
	if (child == 0)
		_exit(put_text("a", "1") == LARDER_OK ? 0 : 1);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	for (uint32_t i = 0; i < 16; i++)
		dead += larder_participant(cache, i, &p) == LARDER_OK && !p.alive && p.pid == child;
	cr_assert_eq(dead, 1);
}

Test(stat, a_tally_below_zero_is_shown_as_nothing)
{
	store_hint(&region_namespace(&cache->region, 0)->tally[0].entries, (uint64_t)-5);
	store_hint(&region_namespace(&cache->region, 0)->tally[1].bytes, (uint64_t)-5);
	cr_assert(stat_now().entries == 0 && stat_now().entry_bytes == 0);
}
