/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking without taking part: what inspectors get, what iterate shows, and what copies do when the bytes change under them. */
#include "kit.h"

TestSuite(view, .init = kit_open, .fini = kit_close);

struct seen { unsigned count, counters, stale, in_main; size_t value_bytes; char last[64]; char value[64]; unsigned stop_after; uint32_t ns; };

static bool note(const struct larder_entry *e, void *arg)
{
	struct seen *s = arg;
	s->count++;
	s->counters += e->meta.counter;
	s->stale += e->meta.stale;
	s->in_main += e->main_pool;
	s->value_bytes += e->meta.value_bytes;
	s->ns = e->ns;
	(void)snprintf(s->last, sizeof s->last, "%.*s", (int)e->key_bytes, (const char *)e->key);
	(void)snprintf(s->value, sizeof s->value, "%.*s", e->value == NULL ? 0 : (int)e->meta.value_bytes, e->value == NULL ? "" : (const char *)e->value);
	cr_assert_geq(e->stored_bytes, e->key_bytes + 8);
	cr_assert_leq(e->hits, 3);
	return s->count != s->stop_after;
}

static struct seen walk(struct larder *c, uint32_t ns, const char *prefix, uint32_t flags)
{
	struct seen s = { 0 };
	is(larder_iterate(c, ns, prefix, strlen(prefix), flags, note, &s), LARDER_OK);
	return s;
}

Test(view, iterate_shows_every_entry_once_whoever_asks)
{
	struct larder *inspector = kit_another(LARDER_INSPECT);
	for (unsigned i = 0; i < 500; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "%s%u", i % 5 ? "a" : "b", i);
		ok(put_text(key, "value"));
	}
	cr_assert_eq(walk(cache, 0, "", 0).count, 500);
	cr_assert_eq(walk(inspector, LARDER_ALL_NAMESPACES, "", 0).count, 500);
	cr_assert_eq(walk(inspector, 0, "b", 0).count, 100);
	cr_assert_eq(walk(inspector, 0, "b12345678901234567890", 0).count, 0);
	struct seen one = walk(cache, 0, "a499", LARDER_ITERATE_VALUES);
	cr_assert(one.count == 1 && strcmp(one.last, "a499") == 0 && strcmp(one.value, "value") == 0 && one.value_bytes == 5);
	larder_close(&inspector);
}

Test(view, iterate_keeps_namespaces_apart_and_hides_what_is_flushed_or_expired)
{
	uint32_t ns;
	ok(larder_namespace(cache, "space", &ns));
	ok(larder_set(cache, ns, "in", 2, "v", 1, 0));
	ok(put_text("out", "v"));
	ok(larder_set(cache, 0, "dying", 5, "v", 1, MINUTE));
	(void)kit_pass(MINUTE);
	cr_assert_eq(walk(cache, LARDER_ALL_NAMESPACES, "", 0).count, 2);
	struct seen s = walk(cache, ns, "", 0);
	cr_assert(s.count == 1 && s.ns == ns && strcmp(s.last, "in") == 0);
	ok(larder_flush_soft(cache, ns));
	cr_assert_eq(walk(cache, ns, "", 0).count, 0);
	s = walk(cache, ns, "", LARDER_ITERATE_STALE);
	cr_assert(s.count == 1 && s.stale == 1);
	ok(larder_flush(cache, ns));
	cr_assert_eq(walk(cache, ns, "", LARDER_ITERATE_STALE).count, 0);
}

Test(view, iterate_shows_counters_as_digits_and_large_values_as_one_entry)
{
	unsigned char big[20000];
	ok(larder_incr(cache, 0, "n", 1, -12, NULL));
	struct seen s = walk(cache, 0, "", LARDER_ITERATE_VALUES);
	cr_assert(s.count == 1 && s.counters == 1 && strcmp(s.value, "-12") == 0);
	cr_assert_eq(walk(cache, 0, "", 0).value_bytes, 3);
	pattern(big, sizeof big, 1);
	ok(larder_set(cache, 0, "n", 1, big, sizeof big, 0));
	s = walk(cache, 0, "", LARDER_ITERATE_VALUES);
	cr_assert(s.count == 1 && s.value_bytes == sizeof big);
	s = walk(cache, 0, "", 0);
	cr_assert(s.count == 1 && s.value_bytes == sizeof big);
}

Test(view, a_callback_can_stop_the_walk)
{
	struct seen s = { .stop_after = 3 };
	for (unsigned i = 0; i < 10; i++)
		ok(put_text((char[]){ (char)('a' + i), 0 }, "v"));
	is(larder_iterate(cache, 0, NULL, 0, 0, note, &s), LARDER_END);
	cr_assert_eq(s.count, 3);
}

static bool delete_each(const struct larder_entry *e, void *arg)
{
	ok(larder_delete(arg, e->ns, e->key, e->key_bytes));
	return true;
}

Test(view, a_callback_can_use_the_cache)
{
	for (unsigned i = 0; i < 300; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "key%u", i);
		ok(put_text(key, "value"));
	}
	ok(larder_iterate(cache, 0, NULL, 0, LARDER_ITERATE_VALUES, delete_each, cache));
	cr_assert_eq(walk(cache, 0, "", 0).count, 0);
}

Test(view, arguments_out_of_range_are_refused)
{
	is(larder_iterate(NULL, 0, NULL, 0, 0, note, NULL), LARDER_INVALID);
	is(larder_iterate(cache, 99, NULL, 0, 0, note, NULL), LARDER_INVALID);
	is(larder_iterate(cache, 0, NULL, 5, 0, note, NULL), LARDER_INVALID);
	is(larder_iterate(cache, 0, NULL, 0, 0, NULL, NULL), LARDER_INVALID);
	ok(larder_destroy(kit_name));
	is(larder_iterate(cache, 0, NULL, 0, 0, note, NULL), LARDER_DETACHED);
}

/* ---- Inspectors -------------------------------------------------------------------------------------------------------- */

Test(view, an_inspector_gets_what_a_participant_gets)
{
	struct larder *inspector = kit_another(LARDER_INSPECT);
	struct larder_meta mine, its;
	char buffer[16];
	size_t n = 0;
	struct larder_item items[2] = { { .key = "key", .key_bytes = 3, .value = buffer, .value_bytes = 16 }, { .key = "x", .key_bytes = 1 } };
	ok(larder_set(cache, 0, "key", 3, "value", 5, 60 * MINUTE));
	reads_in(inspector, 0, "key", "value");
	reads_in(inspector, 0, "none", NULL);
	is(larder_get(inspector, 0, "key", 3, buffer, 4, &n), LARDER_SHORT);
	cr_assert_eq(n, 5);
	ok(larder_get_with(cache, 0, "key", 3, buffer, 16, &n, 0, &mine));
	ok(larder_get_with(inspector, 0, "key", 3, buffer, 16, &n, 0, &its));
	cr_assert(mine.version == its.version && llabs(mine.expires_at_ms - its.expires_at_ms) <= 5 && its.value_bytes == 5);
	ok(larder_incr(cache, 0, "n", 1, 123, NULL));
	reads_in(inspector, 0, "n", "123");
	ok(larder_exists(inspector, 0, "key", 3));
	ok(larder_mget(inspector, 0, items, 2));
	cr_assert(items[0].status == LARDER_OK && items[0].value_bytes == 5 && items[1].status == LARDER_MISS);
	uint64_t misses = stat_now().misses;
	reads_in(inspector, 0, "none", NULL);
	cr_assert_eq(stat_now().misses, misses, "an inspector leaves no trace");
	ok(larder_flush_soft(cache, 0));
	reads_in(inspector, 0, "key", NULL);
	is(larder_get_with(inspector, 0, "key", 3, buffer, 16, &n, LARDER_ALLOW_STALE, &its), LARDER_STALE);
	cr_assert(its.stale);
	larder_close(&inspector);
}

Test(view, an_inspector_sees_no_expired_and_no_large_value_with_a_missing_piece)
{
	struct larder *inspector = kit_another(LARDER_INSPECT);
	unsigned char big[20000], back[20000];
	size_t n;
	pattern(big, sizeof big, 1);
	ok(larder_set(cache, 0, "key", 3, big, sizeof big, 0));
	ok(larder_get(inspector, 0, "key", 3, back, sizeof back, &n));
	cr_assert(n == sizeof big && memcmp(big, back, n) == 0);
	kit_piece("key", 1, kit_piece_evicted);
	is(larder_get(inspector, 0, "key", 3, back, sizeof back, &n), LARDER_MISS);
	cr_assert_eq(walk(inspector, 0, "", LARDER_ITERATE_VALUES).count, 0);
	ok(larder_set(cache, 0, "dying", 5, "v", 1, MINUTE));
	(void)kit_pass_of(inspector, MINUTE);
	reads_in(inspector, 0, "dying", NULL);
	larder_close(&inspector);
}

/* ---- One copy -------------------------------------------------------------------------------------------------------------- */

static enum view_result look(const char *key, uint64_t word, struct view *v)
{
	struct key k = kit_key(key);
	for (unsigned at = 0; at < PROBE_SLOTS; at++)
		if (load_acquire(probe_slot(&k, at)) == word)
			return view_slot(&cache->region, probe_slot(&k, at), v);
	return VIEW_EMPTY;
}

Test(view, a_place_that_is_being_written_again_is_not_taken_for_an_entry)
{
	struct view v = { 0 };
	ok(put_text("key", "value"));
	uint64_t word = kit_slot("key");
	struct shm_entry *e = kit_entry("key");
	uint64_t head = load_hint(&e->head);
	is(look("key", word, &v), VIEW_WHOLE);
	store_release(&e->head, UINT64_C(7) << HEAD_REUSE_SHIFT);
	is(look("key", word, &v), VIEW_DAMAGED);
	store_release(&e->head, head_with_status(head, ENTRY_ABORTED));
	is(look("key", word, &v), VIEW_EMPTY);
	store_release(&e->head, UINT64_MAX);
	is(look("key", word, &v), VIEW_DAMAGED);
	store_release(&e->head, head);
	is(look("key", word, &v), VIEW_WHOLE);
	view_free(&v);
}

Test(view, words_that_lead_nowhere_are_damage)
{
	struct view v = { 0 };
	struct word word;
	store_hint(&word, SLOT_EMPTY);
	is(view_slot(&cache->region, &word, &v), VIEW_EMPTY);
	store_hint(&word, slot_word(1, geo_places(&cache->region.geo), 1));
	is(view_slot(&cache->region, &word, &v), VIEW_DAMAGED);
	store_hint(&word, slot_word(1, 5, 77));
	is(view_slot(&cache->region, &word, &v), VIEW_DAMAGED);
	view_free(&v);
}
