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
	o.entry_bytes = 10000; /* few entries: all are traced */
	kit_open_with(&o);
	cr_assert(cache->region.geo.trace_words >= 1024 && cache->region.geo.trace_shift == 0);
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
	for (unsigned i = 0; i < 2; i++) { /* eight accesses: a batch */
		is(larder_get(cache, ns, "a", 1, buffer, sizeof buffer, NULL), LARDER_MISS);
		ok(larder_set(cache, ns, "a", 1, value, sizeof value, 0));
		ok(larder_get(cache, ns, "a", 1, buffer, sizeof buffer, NULL));
		ok(larder_delete(cache, ns, "a", 1));
	}
	cr_assert_eq(read_all(&cursor), 8);
	for (unsigned i = 0; i < 8; i++) {
		static const enum larder_access_kind kinds[4] = { LARDER_ACCESS_MISS, LARDER_ACCESS_SET, LARDER_ACCESS_HIT, LARDER_ACCESS_DELETE };
		cr_assert(got[i].kind == kinds[i % 4] && got[i].ns == ns && got[i].key == got[0].key);
		if (kinds[i % 4] == LARDER_ACCESS_SET || kinds[i % 4] == LARDER_ACCESS_HIT)
			cr_assert(got[i].bytes > 500 && got[i].bytes < 570, "%lu", got[i].bytes);
	}
	cr_assert_eq(read_all(&cursor), 0);
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
	cr_assert_eq(read_all(&cursor), 8);
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
	cr_assert(info.one_in == 1 && info.capacity == cache->region.geo.trace_words && info.accesses == 0);
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
	cr_assert_eq(got[info.capacity - 1].key, last.hash >> 24);
	ok(larder_trace_info(cache, &info));
	cr_assert_eq(info.accesses, 5 * info.capacity);
}

Test(trace, a_batch_that_was_never_written_ends_the_walk_until_others_came)
{
	uint64_t cursor = 0;
	struct trace_batch batch = { 0 };
	struct shm_trace_head *head = region_at(&cache->region, cache->region.geo.trace_off);
	for (unsigned i = 0; i < 16; i++)
		trace_note(&cache->region, &batch, (uint64_t)i << 24, 0, TRACE_MISS, 0);
	(void)add_hint(&head->batches, 1); /* claimed by one that died */
	for (unsigned i = 16; i < 24; i++)
		trace_note(&cache->region, &batch, (uint64_t)i << 24, 0, TRACE_MISS, 0);
	cr_assert_eq(read_all(&cursor), 16);
	cr_assert_eq(read_all(&cursor), 0);
	for (unsigned i = 24; i < 24 + 64 * 8; i++)
		trace_note(&cache->region, &batch, (uint64_t)i << 24, 0, TRACE_MISS, 0);
	cr_assert_eq(read_all(&cursor), 8 + 64 * 8);
	for (unsigned i = 0; i < 8 + 64 * 8; i++)
		cr_assert_eq(got[i].key, 16 + i);
}

Test(trace, processes_write_into_one_ring_and_an_inspector_reads_it_all)
{
	uint64_t cursor = 0;
	size_t n;
	for (unsigned c = 0; c < 4; c++) {
		pid_t child = fork();
		if (child != 0)
			continue;
		for (unsigned i = 0; i < 160; i++)
			(void)put_text("a", "1");
		_exit(0);
	}
	int status;
	while (wait(&status) > 0)
		cr_assert_eq(status, 0);
	struct larder *inspector = kit_another(LARDER_INSPECT);
	ok(larder_trace_read(inspector, &cursor, got, 4096, &n));
	cr_assert_eq(n, 640);
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

Test(trace, a_small_cache_has_none, .init = kit_open)
{
	uint64_t cursor = 0;
	struct larder_trace_info info;
	ok(put_text("a", "1"));
	ok(larder_trace_info(cache, &info));
	cr_assert(info.capacity == 0 && info.accesses == 0);
	cr_assert_eq(read_all(&cursor), 0);
}
