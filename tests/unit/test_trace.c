/* SPDX-License-Identifier: BSD-2-Clause */
/* The ring of sampled accesses. */
#include "kit.h"

#include <sys/wait.h>

#include "larder/monitor.h"
#include "shm/trace.h"

static void open_traced(void)
{
	struct larder_options o = kit_options(UINT64_C(4) << 20, 0);
	o.instrument_bytes = 128 << 10;
	o.entry_bytes = 100000; /* few entries: all are traced */
	kit_open_with(&o);
	cr_assert(cache->region.geo.trace_words >= 1024 && cache->region.geo.trace_shift == 0);
}

/* Of small entries, a sample of which is traced. */
static void open_wide(void)
{
	struct larder_options o = kit_options(UINT64_C(8) << 20, 0);
	o.instrument_bytes = 1 << 20;
	kit_open_with(&o);
}

TestSuite(trace, .init = open_traced, .fini = kit_close);

static struct larder_access got[1 << 16];

static size_t read_all(uint64_t *cursor)
{
	size_t n;
	ok(larder_trace_read(cache, cursor, got, sizeof got / sizeof *got, &n));
	return n;
}

Test(trace, a_size_reads_back_within_6_percent_or_4_bytes)
{
	for (uint64_t bytes = 0; bytes < UINT64_C(1) << 35; bytes += 1 + bytes / 7) {
		uint64_t back = trace_class_bytes(trace_size_class(bytes));
		uint64_t off = back > bytes ? back - bytes : bytes - back;
		cr_assert((double)off <= 0.0626 * (double)bytes || off <= 4, "%lu reads as %lu", bytes, back);
	}
	cr_assert_leq(trace_size_class(UINT64_MAX), 255);
}

Test(trace, accesses_read_back_in_their_order)
{
	uint64_t cursor = 0;
	char value[500] = { 0 }, buffer[600];
	uint32_t ns;
	ok(larder_namespace(cache, "n", &ns));
	for (unsigned i = 0; i < 7; i++) { /* seven times seven accesses: seven batches */
		ok(larder_set(cache, ns, "a", 1, value, sizeof value, 0));
		ok(larder_get(cache, ns, "a", 1, buffer, sizeof buffer, NULL));
		ok(larder_delete(cache, ns, "a", 1));
		is(larder_get(cache, ns, "a", 1, buffer, sizeof buffer, NULL), LARDER_MISS);
		ok(larder_set(cache, ns, "b", 1, value, sizeof value, 0)); /* so that no miss is followed by its set */
		is(larder_get(cache, 0, "c", 1, buffer, sizeof buffer, NULL), LARDER_MISS);
		ok(larder_delete(cache, ns, "b", 1));
	}
	cr_assert_eq(read_all(&cursor), 49);
	cr_assert_eq(cursor, 7);
	for (unsigned i = 0; i < 49; i++) {
		static const enum larder_access_kind kinds[7] = { LARDER_ACCESS_SET, LARDER_ACCESS_HIT, LARDER_ACCESS_DELETE, LARDER_ACCESS_MISS,
			LARDER_ACCESS_SET, LARDER_ACCESS_MISS, LARDER_ACCESS_DELETE };
		cr_assert(got[i].kind == kinds[i % 7] && got[i].ns == (i % 7 == 5 ? 0 : ns) && got[i].one_in == 1 && got[i].ttl_ms == 0, "access %u", i);
		cr_assert_eq(got[i].key == got[0].key, i % 7 < 4);
		if (got[i].kind == LARDER_ACCESS_SET || got[i].kind == LARDER_ACCESS_HIT)
			cr_assert(got[i].bytes > 500 && got[i].bytes < 570, "%lu", got[i].bytes);
	}
	cr_assert_eq(read_all(&cursor), 0);
}

/* Seven accesses of keys that are not asked about. */
static void write_out(void)
{
	for (unsigned i = 0; i < 7; i++)
		(void)larder_get(cache, 0, "other", 5, NULL, 0, NULL);
}

Test(trace, a_set_after_a_miss_is_one_access_with_it)
{
	uint64_t cursor = 0;
	char buffer[8];
	static const enum larder_access_kind kinds[] = { LARDER_ACCESS_FILL, LARDER_ACCESS_MISS, LARDER_ACCESS_HIT, LARDER_ACCESS_SET };
	is(larder_get(cache, 0, "a", 1, NULL, 0, NULL), LARDER_MISS);
	is(larder_get(cache, 0, "b", 1, NULL, 0, NULL), LARDER_MISS);
	ok(put_text("a", "1"));
	ok(larder_get(cache, 0, "a", 1, buffer, sizeof buffer, NULL));
	ok(put_text("a", "2"));
	write_out();
	cr_assert_eq(read_all(&cursor), 7);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(got[i].kind, kinds[i], "access %u", i);
	cr_assert(got[0].key == got[2].key && got[0].key != got[1].key && got[0].bytes == got[3].bytes);
}

Test(trace, a_set_says_how_long_it_is_to_live)
{
	uint64_t cursor = 0;
	ok(larder_set(cache, 0, "a", 1, "1", 1, 60000));
	ok(larder_set(cache, 0, "b", 1, "1", 1, LARDER_TTL_NONE));
	ok(larder_set(cache, 0, "c", 1, "1", 1, 100));
	write_out();
	cr_assert_eq(read_all(&cursor), 7);
	cr_assert(got[0].ttl_ms > 56000 && got[0].ttl_ms < 64000, "%lu", got[0].ttl_ms);
	cr_assert_eq(got[1].ttl_ms, 0);
	cr_assert(got[2].ttl_ms > 70 && got[2].ttl_ms < 117, "%lu", got[2].ttl_ms);
	uint64_t now = (uint64_t)(clock_precise_ms() + cache->region.time_offset_ms) - cache->region.geo.epoch_ms;
	cr_assert(got[0].at_ms <= now && now - got[0].at_ms < 10000, "at %lu, now %lu", got[0].at_ms, now);
}

Test(trace, every_way_to_read_and_write_is_seen_and_unseen_gets_are_not)
{
	uint64_t cursor = 0;
	struct larder_pin pin;
	char buffer[9000] = { 0 };
	size_t n;
	ok(put_text("a", "1"));                                                                        /* set */
	ok(larder_pin(cache, 0, "a", 1, 0, &pin));                                                     /* hit */
	larder_unpin(cache, &pin);
	struct larder_item items[2] = { { "a", 1, buffer, 8, 0 }, { "b", 1, buffer + 8, 8, 0 } };
	ok(larder_mget(cache, 0, items, 2));                                                           /* hit, miss */
	ok(larder_get_with(cache, 0, "a", 1, buffer, 8, &n, LARDER_NO_COUNT, NULL));                   /* not seen */
	ok(larder_set(cache, 0, "large", 5, buffer, sizeof buffer, 0));                                /* set, of pieces: one */
	ok(larder_get(cache, 0, "large", 5, buffer, sizeof buffer, &n));                               /* hit */
	is(larder_add(cache, 0, "a", 1, "2", 1, 0), LARDER_EXISTS);                                    /* nothing was set */
	ok(larder_incr(cache, 0, "c", 1, 1, NULL));                                                    /* set */
	ok(larder_append(cache, 0, "a", 1, "2", 1));                                                   /* set */
	write_out();
	cr_assert_eq(read_all(&cursor), 14);
	static const enum larder_access_kind kinds[] = { 3, 1, 1, 2, 3, 1, 3, 3 };
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(got[i].kind, kinds[i], "access %u", i);
	cr_assert(got[4].bytes > 8500 && got[4].bytes < 9700 && got[5].bytes == got[4].bytes, "%lu, %lu", got[4].bytes, got[5].bytes);
}

Test(trace, a_ring_goes_back_so_far_and_a_late_reader_begins_there)
{
	uint64_t cursor = 0, late = 0;
	char key[16];
	struct larder_trace_info info;
	size_t total = 0;
	ok(larder_trace_info(cache, &info));
	cr_assert(info.one_in == 1 && info.capacity == cache->region.geo.trace_words / 8 * 7 && info.accesses == 0);
	for (unsigned i = 0; i < 5 * info.capacity; i++) {
		(void)snprintf(key, sizeof key, "%u", i);
		is(larder_get(cache, 0, key, strlen(key), NULL, 0, NULL), LARDER_MISS);
		if (i % 100 == 99)
			total += read_all(&cursor);
	}
	total += read_all(&cursor);
	cr_assert_eq(total, 5 * info.capacity);
	cr_assert_eq(read_all(&late), info.capacity);
	struct key last = kit_key(key);
	cr_assert_eq(got[info.capacity - 1].key, last.hash >> 32);
	ok(larder_trace_info(cache, &info));
	cr_assert_eq(info.accesses, 5 * info.capacity);
}

static void note_misses(struct trace_batch *batch, unsigned from, unsigned to)
{
	bool mark;
	for (unsigned i = from; i < to; i++)
		trace_note(&cache->region, batch, &(struct trace_note){ .hash = (uint64_t)i << 32, .kind = TRACE_MISS }, 1, &mark);
}

Test(trace, a_batch_that_was_never_written_ends_the_walk_until_others_came)
{
	uint64_t cursor = 0;
	struct trace_batch batch = { 0 };
	struct shm_trace_head *head = region_at(&cache->region, cache->region.geo.trace_off);
	note_misses(&batch, 0, 14);
	(void)add_hint(&head->batches, 1); /* claimed by one that died */
	note_misses(&batch, 14, 21);
	cr_assert_eq(read_all(&cursor), 14);
	cr_assert_eq(read_all(&cursor), 0);
	note_misses(&batch, 21, 21 + 64 * 7);
	cr_assert_eq(read_all(&cursor), 7 + 64 * 7);
	for (unsigned i = 0; i < 7 + 64 * 7; i++)
		cr_assert_eq(got[i].key, 14 + i);
}

Test(trace, processes_write_into_one_ring_and_an_inspector_reads_it_all)
{
	uint64_t cursor = 0;
	size_t n;
	for (unsigned c = 0; c < 4; c++) {
		pid_t child = fork();
		if (child != 0)
			continue;
		for (unsigned i = 0; i < 140; i++)
			(void)put_text("a", "1");
		_exit(0);
	}
	int status;
	while (wait(&status) > 0)
		cr_assert_eq(status, 0);
	struct larder *inspector = kit_another(LARDER_INSPECT);
	ok(larder_trace_read(inspector, &cursor, got, 4096, &n));
	cr_assert_eq(n, 560);
	larder_close(&inspector);
	is(larder_trace_read(cache, &cursor, got, 7, &n), LARDER_INVALID);
	is(larder_trace_read(cache, NULL, got, 8, &n), LARDER_INVALID);
	is(larder_trace_info(cache, NULL), LARDER_INVALID);
}

Test(trace, one_key_in_so_many_is_traced_with_all_its_accesses, .init = NULL, .fini = kit_close)
{
	struct larder_options o = kit_options(UINT64_C(32) << 20, 0);
	struct larder_trace_info info;
	uint64_t cursor = 0;
	char key[16];
	kit_open_with(&o);
	ok(larder_trace_info(cache, &info));
	cr_assert_geq(info.one_in, 32);
	for (unsigned i = 0; i < 200000; i++) {
		(void)snprintf(key, sizeof key, "%u", i % 20000);
		(void)larder_get(cache, 0, key, strlen(key), NULL, 0, NULL);
	}
	size_t n = read_all(&cursor);
	double wanted = 200000.0 / (double)info.one_in, deviation = 10 * 5 * __builtin_sqrt(20000.0 / (double)info.one_in);
	cr_assert((double)n > wanted - deviation - 8 && (double)n < wanted + deviation, "%zu of 200000, one in %lu", n, info.one_in);
	for (size_t i = 0; i < n / 10; i++) { /* each traced key ten times, in turn */
		unsigned times = 0;
		for (size_t j = 0; j < n; j++)
			times += got[j].key == got[i].key;
		cr_assert(times == 10 || times == 9, "%u", times);
	}
}

/* Gets, and sets if they are not there, `count` keys from `first` on, as a program does. */
static void want(unsigned first, unsigned count, size_t bytes)
{
	static char value[1 << 16];
	char key[16];
	for (unsigned i = first; i < first + count; i++) {
		(void)snprintf(key, sizeof key, "%u", i);
		if (larder_get(cache, 0, key, strlen(key), NULL, 0, NULL) == LARDER_MISS)
			ok(larder_set(cache, 0, key, strlen(key), value, bytes, LARDER_TTL_NONE));
	}
}

static uint64_t one_in(void)
{
	struct larder_trace_info info;
	ok(larder_trace_info(cache, &info));
	return info.one_in;
}

/* What a reader that takes the thinnest sample finds has all its accesses. */
static void each_key_comes(unsigned times, unsigned least)
{
	uint64_t cursor = 0, thinnest = 1, keys = 0;
	size_t n = read_all(&cursor);
	for (size_t i = 0; i < n; i++)
		thinnest = got[i].one_in > thinnest ? got[i].one_in : thinnest;
	for (size_t i = n / 2; i < n / 2 + 200; i++) {
		unsigned found = 0;
		if (got[i].key % thinnest != 0)
			continue;
		for (size_t j = 0; j < n; j++)
			found += got[j].key == got[i].key;
		cr_assert(found >= times - 1 && found <= times + 1, "%u", found);
		keys++;
	}
	cr_assert_geq(keys, least);
}

Test(trace, a_sample_becomes_thinner_where_the_ring_spans_few_turnovers, .init = open_wide)
{
	uint64_t first = one_in();
	for (unsigned i = 0; i < 400000; i += 1000) /* nine in ten are hits */
		for (unsigned j = 0; j < 10; j++)
			want(i, 1000, 100);
	cr_assert_gt(one_in(), first, "one in %lu", one_in());
	each_key_comes(10, 4);
}

Test(trace, a_sample_becomes_denser_where_entries_are_larger_than_was_said, .init = open_wide)
{
	uint64_t first = one_in();
	for (unsigned i = 0; i < 4000; i++)
		want(0, 600, 10000);
	cr_assert_lt(one_in(), first, "one in %lu, then in %lu", first, one_in());
}

Test(trace, a_cache_that_misses_hardly_keeps_its_sample, .init = open_wide)
{
	uint64_t first = one_in();
	for (unsigned i = 0; i < 200; i++)
		want(0, 5000, 100);
	cr_assert_eq(one_in(), first);
}

Test(trace, a_mark_has_a_quarter_of_the_ring_behind_it_and_knows_what_was_done_before)
{
	struct larder_trace_info info;
	want(0, 5, 10); /* few misses: the sample stays as it is */
	ok(larder_trace_info(cache, &info));
	cr_assert_eq(info.mark, 0);
	while (info.accesses < 3 * info.capacity) {
		want(1000, 5, 10);
		ok(larder_trace_info(cache, &info));
	}
	struct larder_stat now;
	uint64_t cursor = info.mark, read = read_all(&cursor);
	ok(larder_stat(cache, &now));
	cr_assert(read * 4 >= info.capacity && read * 8 <= info.capacity * 3, "%lu of %zu", read, info.capacity);
	uint64_t gets = now.hits + now.misses - info.mark_hits - info.mark_misses; /* all are traced: a set is one with its miss */
	cr_assert(gets + 16 >= read && gets <= read + 16, "%lu gets, %lu read", gets, read);
	cr_assert_gt(info.mark_hits, 0);
}

Test(trace, a_part_that_was_not_marked_is_made_up_for_by_the_next)
{
	struct shm_trace_head *head = region_at(&cache->region, cache->region.geo.trace_off);
	struct larder_trace_info info = { .accesses = 0 };
	want(0, 5, 10);
	while (info.accesses < 3 * info.capacity || info.mark == 0) {
		want(0, 5, 10);
		ok(larder_trace_info(cache, &info));
	}
	uint64_t lost = info.mark, rate = one_in();
	for (unsigned i = 0; i < TRACE_MARKS; i++)
		if (load_hint(&head->mark[i].number) == lost + 1)
			store_hint(&head->mark[i].number, 0); /* its writer died */
	ok(larder_trace_info(cache, &info));
	cr_assert_eq(info.mark, 0);
	while (info.mark == 0) {
		want(0, 5, 10);
		ok(larder_trace_info(cache, &info));
	}
	cr_assert_eq(info.mark, lost + cache->region.geo.trace_words / TRACE_BATCH / TRACE_PARTS);
	cr_assert_eq(one_in(), rate);
}

Test(trace, words_that_make_no_sense_are_passed_over)
{
	struct shm_trace_head *head = region_at(&cache->region, cache->region.geo.trace_off);
	struct word *ring = (struct word *)(head + 1);
	uint64_t cursor = 0, seed = 1;
	struct larder_trace_info info;
	want(0, 3000, 10);
	for (unsigned i = 0; i < cache->region.geo.trace_words; i += 1 + (unsigned)(seed >> 62)) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		store_hint(&ring[i], seed);
	}
	for (unsigned i = 0; i < TRACE_MARKS; i++)
		store_hint(&head->mark[i].sized_bytes, seed);
	store_hint(&head->thinning, seed);
	(void)read_all(&cursor);
	want(0, 3000, 10);
	ok(larder_trace_info(cache, &info));
	cr_assert_leq(info.one_in, 1 << TRACE_THINNING_MAX);
}

Test(trace, a_small_cache_has_none, .init = kit_open)
{
	uint64_t cursor = 0;
	struct larder_trace_info info;
	ok(put_text("a", "1"));
	ok(larder_trace_info(cache, &info));
	cr_assert(info.capacity == 0 && info.accesses == 0);
	cr_assert_eq(read_all(&cursor), 0);
}

/* Zero passes every mask; who knows the seed can make such keys. */
Test(trace, a_key_whose_hash_is_0_is_no_sample_where_there_is_no_ring, .init = kit_open, .fini = kit_close)
{
	char key[10] = "........k";
	uint64_t first = hash_flip_first(cache->region.geo.hash_seed);
	memcpy(key, &first, sizeof first);
	cr_assert_eq(cache->region.geo.trace_words, 0);
	cr_assert_eq(hash_short(key, sizeof key, cache->region.geo.hash_seed), 0);
	for (unsigned i = 0; i < 100; i++) {
		ok(larder_set(cache, 0, key, sizeof key, "value", 5, 0));
		ok(larder_get(cache, 0, key, sizeof key, NULL, 0, NULL) == LARDER_SHORT ? LARDER_OK : LARDER_MISS);
		ok(larder_delete(cache, 0, key, sizeof key));
	}
}
