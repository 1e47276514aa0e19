/* SPDX-License-Identifier: BSD-2-Clause */
/* larder_check finds each kind of damage, names its place, and finds none in a cache that is whole and in use. */
#include "kit.h"

#include <pthread.h>

TestSuite(check, .init = kit_open, .fini = kit_close);

static char found[4096];

static void collect(const char *text, void *arg)
{
	(void)arg;
	strncat(found, text, sizeof found - strlen(found) - 2);
	strcat(found, "\n");
}

static uint64_t faults(void)
{
	uint64_t n = 99;
	found[0] = 0;
	is(larder_check(cache, collect, NULL, &n), LARDER_OK);
	kit_damaged = true;
	return n;
}

/* Exactly one fault, whose text has `part` in it. */
static void expect(const char *part)
{
	uint64_t n = faults();
	cr_assert(n == 1 && strstr(found, part) != NULL, "%lu faults: %s; expected: %s", (unsigned long)n, found, part);
}

static struct word *slot_of(const char *key)
{
	uint64_t word = kit_slot(key);
	struct key k = kit_key(key);
	for (unsigned at = 0; at < PROBE_SLOTS; at++)
		if (load_acquire(probe_slot(&k, at)) == word)
			return probe_slot(&k, at);
	return NULL;
}

static struct entry entry_of(const char *key)
{
	struct entry e;
	cr_assert(entry_open(&e, &cache->region, slot_place(kit_slot(key))));
	return e;
}

Test(check, a_whole_cache_has_no_faults)
{
	unsigned char big[20000] = { 1 };
	cr_assert_eq(faults(), 0);
	(void)fill("f", 300, 3 << 20, 0);
	ok(larder_set(cache, 0, "big", 3, big, sizeof big, 5000));
	ok(larder_incr(cache, 0, "n", 1, 1, NULL));
	cr_assert_eq(faults(), 0, "%s", found);
	uint64_t n;
	is(larder_check(NULL, NULL, NULL, &n), LARDER_INVALID);
	is(larder_check(cache, NULL, NULL, NULL), LARDER_INVALID);
	kit_damaged = false;
}

Test(check, an_inspector_can_check)
{
	struct larder *inspector = kit_another(LARDER_INSPECT);
	uint64_t n = 99;
	ok(put_text("key", "value"));
	ok(larder_check(inspector, NULL, NULL, &n));
	cr_assert_eq(n, 0);
	store_release(slot_of("key"), slot_word(1, 1, 77));
	ok(larder_check(inspector, NULL, NULL, &n));
	cr_assert_eq(n, 1);
	kit_damaged = true;
	larder_close(&inspector);
}

Test(check, a_slot_that_leads_past_the_arena_or_to_another_life_is_found)
{
	ok(put_text("key", "value"));
	struct word *slot = slot_of("key");
	uint64_t word = load_hint(slot);
	store_release(slot, slot_word(slot_tag(word), geo_places(&cache->region.geo), slot_inc(word)));
	expect("leads to no entry");
	store_release(slot, word ^ 1);
	expect("leads to no entry");
	store_release(slot, word);
	cr_assert_eq(faults(), 0);
}

Test(check, a_key_in_the_wrong_bucket_or_under_a_wrong_tag_is_found)
{
	ok(put_text("key", "value"));
	struct word *slot = slot_of("key");
	uint64_t word = load_hint(slot);
	store_release(slot, word ^ UINT64_C(1) << 60);
	expect("does not lead here");
	store_release(slot, SLOT_EMPTY);
	uint64_t groups = cache->region.geo.groups;
	struct shm_group *elsewhere = region_group(&cache->region, (hash_group(&cache->region, kit_key("key").hash) + 1) % groups);
	store_release(&elsewhere->home[2].slot[3], word);
	expect("does not lead here");
}

Test(check, a_second_entry_of_a_key_is_found)
{
	ok(put_text("key", "value"));
	struct key k = kit_key("key");
	uint64_t word = kit_slot("key");
	cr_assert(cas_seq_cst(probe_slot(&k, 6), SLOT_EMPTY, word));
	expect("second entry");
}

Test(check, an_entry_whose_start_is_not_noted_is_found)
{
	ok(put_text("key", "value"));
	uint64_t place = slot_place(kit_slot("key"));
	uint64_t line = (place & (geo_units(&cache->region.geo) - 1)) / LINE_UNITS;
	store_release(&region_starts(&cache->region, region_segment_of(&cache->region, place))[line / STARTS_PER_WORD], 0);
	expect("is not noted");
}

Test(check, a_wrong_checksum_is_found, .init = kit_open_checksum)
{
	ok(put_text("key", "value"));
	struct entry e = entry_of("key");
	((unsigned char *)(uintptr_t)e.value)[0] ^= 1;
	expect("checksum");
}

Test(check, a_manifest_and_a_counter_that_are_none_are_found)
{
	ok(put_text("key", "value"));
	struct entry e = entry_of("key");
	store_release(&e.shm->head, e.head | KIND_MANIFEST);
	expect("manifest");
	store_release(&e.shm->head, e.head | KIND_COUNTER);
	expect("counter");
}

Test(check, a_namespace_that_is_none_is_found)
{
	uint32_t ns;
	ok(larder_namespace(cache, "space", &ns));
	ok(larder_set(cache, ns, "key", 3, "value", 5, 0));
	struct key k = key_make(&cache->region, "key", 3, ns, false);
	struct found f;
	struct actor *a = kit_actor();
	is(index_find(a, &k, &f), SEARCH_FOUND);
	kit_release(a);
	bytes_store32((unsigned char *)f.entry.shm + entry_namespace_offset(head_fields(f.entry.head)) + 4, 500);
	cr_assert_geq(faults(), 1);
	cr_assert(strstr(found, "namespace 500 of 16") != NULL, "%s", found);
}

Test(check, a_segment_out_of_its_states_is_found)
{
	struct word *w = region_segword(&cache->region, 9), *cursor = &region_segment(&cache->region, 9)->cursor;
	uint64_t word = load_hint(w), at = load_hint(cursor);
	store_release(w, word | 7);
	expect("segment 9: state");
	store_release(w, word | UINT64_C(15) << SEGWORD_CLASS_SHIFT);
	expect("segment 9: TTL class");
	store_release(w, word);
	store_release(cursor, life_word(44, 0));
	expect("segment 9: life of the cursor");
	store_release(cursor, life_word(1, geo_units(&cache->region.geo) + 1));
	expect("segment 9: cursor");
	store_release(cursor, at);
	store_release(&region_segment(&cache->region, 9)->progress[3], life_word(segword_life(word), 4000));
	expect("segment 9: progress");
}

Test(check, a_cell_that_names_no_segment_is_found)
{
	store_release(&region_super(&cache->region)->cell[5], life_word(1, 5000));
	expect("cell 5");
}

static void *keep_busy(void *arg)
{
	volatile bool *stop = arg;
	for (unsigned i = 0; !*stop; i++) {
		char key[16];
		int n = snprintf(key, sizeof key, "key%u", i * 7919 % 3000);
		if (larder_set(cache, 0, key, (size_t)n, key, (size_t)n + i % 9, i % 3 ? 0 : 20) != LARDER_OK)
			return NULL;
		(void)larder_delete(cache, 0, key, (size_t)(i % (unsigned)n + 1));
		(void)larder_incr(cache, 0, key, 3, 1, NULL);
	}
	return arg;
}

Test(check, a_cache_in_use_has_no_faults)
{
	pthread_t threads[3];
	static volatile bool stop;
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, keep_busy, (void *)(uintptr_t)&stop), 0);
	for (unsigned i = 0; i < 60; i++)
		cr_assert_eq(faults(), 0, "%s", found);
	stop = true;
	for (unsigned i = 0; i < 3; i++) {
		void *good;
		cr_assert(pthread_join(threads[i], &good) == 0 && good != NULL);
	}
	kit_damaged = false;
}
