/* SPDX-License-Identifier: BSD-2-Clause */
/* Values of several pieces: whole or not at all, in every call that can meet one; pieces never outlive their manifest's worth. */
#include "kit.h"

static unsigned char *value, *back;
static size_t most;

static void open_large(void)
{
	kit_open();
	most = info_now().value_max_bytes;
	value = malloc(most);
	back = malloc(most + 64);
}
static void open_large_checksum(void)
{
	kit_open_checksum();
	most = info_now().value_max_bytes;
	value = malloc(most);
	back = malloc(most + 64);
}
static void close_large(void)
{
	free(value);
	free(back);
	kit_close();
}

TestSuite(large, .init = open_large, .fini = close_large);

static enum larder_status set_large(const char *key, size_t bytes, uint64_t seed, int64_t ttl_ms)
{
	pattern(value, bytes, seed);
	return larder_set(cache, 0, key, strlen(key), value, bytes, ttl_ms);
}

static bool has_large(struct larder *from, const char *key, size_t bytes, uint64_t seed)
{
	size_t n = 0;
	enum larder_status status = larder_get(from, 0, key, strlen(key), back, most, &n);
	pattern(value, bytes, seed);
	return status == LARDER_OK && n == bytes && memcmp(value, back, bytes) == 0;
}

/* Slots that lead to anything at all: orphaned pieces show here. */
static unsigned slots_used(void)
{
	unsigned n = 0;
	for (uint64_t g = 0; g < cache->region.geo.groups; g++)
		for (unsigned i = 0; i < (GROUP_HOMES + GROUP_OVERFLOWS) * BUCKET_SLOTS; i++)
			n += load_acquire(&((struct shm_bucket *)region_group(&cache->region, g))[i / BUCKET_SLOTS].slot[i % BUCKET_SLOTS]) != SLOT_EMPTY;
	return n;
}

/* Takes one piece of the key's value out of the index, as eviction would. */
static void lose_piece(const char *key, uint32_t number) { kit_piece(key, number, kit_piece_evicted); }

Test(large, sizes_around_every_limit_read_back_whole)
{
	size_t contiguous = info_now().contiguous_max_bytes, piece = cache->chunk_bytes;
	const size_t sizes[] = { contiguous - 2, contiguous - 1, contiguous, contiguous + 1, piece * 2, piece * 3 - 1, piece * 3, piece * 3 + 1,
		most / 2, most - 1, most };
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		ok(set_large("key", sizes[i], i, 0));
		cr_assert(has_large(cache, "key", sizes[i], i), "%zu bytes", sizes[i]);
		cr_assert_eq(meta_of("key").value_bytes, sizes[i]);
		ok(has_text("key"));
	}
	ok(put_text("key", "small again"));
	reads("key", "small again");
	cr_assert_eq(slots_used(), 1, "pieces are left behind: %u slots", slots_used());
}

Test(large, a_value_of_many_pieces_counts_as_one)
{
	ok(set_large("key", most, 1, 0));
	ok(set_large("key", most - 1, 2, 0));
	ok(del_text("key"));
	struct larder_stat s = stat_now();
	cr_assert(s.sets == 2 && s.inserts == 1 && s.deletes == 1, "%lu sets, %lu inserts, %lu deletes", (unsigned long)s.sets,
			(unsigned long)s.inserts, (unsigned long)s.deletes);
	cr_assert(s.inserted_bytes > 2 * most - 1 && s.entries == 0 && s.entry_bytes == 0);
}

Test(large, a_buffer_too_small_gets_the_length)
{
	size_t n = 0;
	ok(set_large("key", 20000, 1, 0));
	is(larder_get(cache, 0, "key", 3, back, 19999, &n), LARDER_SHORT);
	cr_assert_eq(n, 20000);
}

Test(large, a_key_is_not_mixed_up_with_a_piece)
{
	/* The piece's internal key, used by a caller. */
	unsigned char name[KIT_PIECE_BYTES];
	ok(set_large("key", 20000, 1, 0));
	struct manifest m = kit_manifest("key");
	(void)chunk_key(&cache->region, 0, &m, 0, name);
	is(larder_get(cache, 0, name, sizeof name, NULL, 0, NULL), LARDER_MISS);
	ok(larder_set(cache, 0, name, sizeof name, "mine", 4, 0));
	is(larder_delete(cache, 0, name, sizeof name), LARDER_OK);
	cr_assert(has_large(cache, "key", 20000, 1));
}

Test(large, delete_and_overwrite_take_the_pieces_with_them)
{
	ok(set_large("key", 30000, 1, 0));
	ok(set_large("key", 25000, 2, 0));
	cr_assert(has_large(cache, "key", 25000, 2));
	ok(del_text("key"));
	is(has_text("key"), LARDER_MISS);
	cr_assert_eq(slots_used(), 0);
	cr_assert_eq(stat_now().entries, 0);
	cr_assert_eq(stat_now().entry_bytes, 0);
}

Test(large, refused_sets_leave_no_pieces)
{
	ok(put_text("key", "there"));
	pattern(value, 30000, 1);
	is(larder_add(cache, 0, "key", 3, value, 30000, 0), LARDER_EXISTS);
	is(larder_replace(cache, 0, "none", 4, value, 30000, 0), LARDER_MISS);
	is(larder_cas(cache, 0, "key", 3, value, 30000, 0, 1), LARDER_CHANGED);
	reads("key", "there");
	cr_assert_eq(slots_used(), 1);
	ok(larder_cas(cache, 0, "key", 3, value, 30000, 0, meta_of("key").version));
	cr_assert(has_large(cache, "key", 30000, 1));
}

Test(large, a_missing_piece_is_a_miss_and_takes_the_manifest_with_it)
{
	struct larder_pin p;
	ok(set_large("key", 20000, 1, 0));
	lose_piece("key", 3);
	is(larder_get(cache, 0, "key", 3, back, most, NULL), LARDER_MISS);
	is(has_text("key"), LARDER_MISS);
	ok(larder_add(cache, 0, "key", 3, "new", 3, 0));
	reads("key", "new");
	ok(set_large("key", 20000, 2, 0));
	lose_piece("key", 0);
	is(larder_pin(cache, 0, "key", 3, 0, &p), LARDER_MISS);
	is(has_text("key"), LARDER_MISS);
	ok(set_large("key", 20000, 2, 0));
	lose_piece("key", 0);
	is(larder_append(cache, 0, "key", 3, "x", 1), LARDER_MISS);
	is(has_text("key"), LARDER_MISS);
	ok(set_large("key", 20000, 2, 0));
	lose_piece("key", 0);
	is(larder_touch(cache, 0, "key", 3, 5000), LARDER_MISS);
	is(has_text("key"), LARDER_MISS);
}

Test(large, get_and_set_over_a_value_with_a_missing_piece_sets_the_new_one)
{
	ok(set_large("key", 20000, 1, 0));
	lose_piece("key", 2);
	is(larder_get_and_set(cache, 0, "key", 3, "new", 3, 0, back, most, NULL), LARDER_MISS);
	reads("key", "new");
	ok(set_large("key", 20000, 1, 0));
	lose_piece("key", 2);
	pattern(value, 30000, 2);
	is(larder_get_and_set(cache, 0, "key", 3, value, 30000, 0, back, most, NULL), LARDER_MISS);
	cr_assert(has_large(cache, "key", 30000, 2));
}

Test(large, get_and_set_takes_and_gives_values_of_any_size)
{
	size_t n = 0;
	unsigned char *new = malloc(30000);
	pattern(new, 30000, 2);
	is(larder_get_and_set(cache, 0, "key", 3, new, 30000, 0, back, most, &n), LARDER_MISS);
	cr_assert(has_large(cache, "key", 30000, 2));
	pattern(new, 25000, 3);
	ok(larder_get_and_set(cache, 0, "key", 3, new, 25000, 0, back, most, &n));
	pattern(value, 30000, 2);
	cr_assert(n == 30000 && memcmp(back, value, n) == 0);
	is(larder_get_and_set(cache, 0, "key", 3, "small", 5, 0, back, 24999, &n), LARDER_SHORT);
	cr_assert_eq(n, 25000);
	ok(larder_get_and_set(cache, 0, "key", 3, "small", 5, 0, back, most, &n));
	cr_assert_eq(n, 25000);
	ok(larder_get_and_set(cache, 0, "key", 3, new, 25000, 0, back, most, &n));
	cr_assert(n == 5 && memcmp(back, "small", 5) == 0);
	ok(larder_incr(cache, 0, "n", 1, 42, NULL));
	ok(larder_get_and_set(cache, 0, "n", 1, new, 25000, 0, back, most, &n));
	cr_assert(n == 2 && memcmp(back, "42", 2) == 0);
	cr_assert(has_large(cache, "n", 25000, 3));
	free(new);
}

Test(large, a_value_pinned_in_pieces_stays_whole_when_its_key_goes)
{
	struct larder_pin p;
	size_t bytes = cache->chunk_bytes * 5 + 17, at = 0;
	ok(set_large("key", bytes, 1, 0));
	ok(larder_pin(cache, 0, "key", 3, 0, &p));
	cr_assert(p.data == NULL && p.length == bytes && p.iov_count == 6 && p.meta.value_bytes == bytes);
	ok(set_large("key", bytes, 2, 0));
	ok(del_text("key"));
	(void)fill("f", 400, 2 << 20, 0);
	pattern(value, bytes, 1);
	for (unsigned i = 0; i < p.iov_count; i++) {
		cr_assert_eq(memcmp(value + at, p.iov[i].iov_base, p.iov[i].iov_len), 0, "piece %u", i);
		at += p.iov[i].iov_len;
	}
	cr_assert_eq(at, bytes);
	larder_unpin(cache, &p);
	larder_unpin(cache, &p);
}

Test(large, more_pieces_than_pins_say_copy)
{
	struct larder_pin p, other;
	size_t bytes = (size_t)cache->chunk_bytes * LARDER_PINS;
	ok(set_large("key", bytes + 1, 1, 0));
	is(larder_pin(cache, 0, "key", 3, 0, &p), LARDER_NO_PIN);
	cr_assert_eq(p.own.pins, 0);
	ok(set_large("key", bytes, 1, 0));
	ok(put_text("other", "value"));
	ok(larder_pin(cache, 0, "other", 5, 0, &other));
	is(larder_pin(cache, 0, "key", 3, 0, &p), LARDER_NO_PIN);
	larder_unpin(cache, &other);
	ok(larder_pin(cache, 0, "key", 3, 0, &p));
	larder_unpin(cache, &p);
}

Test(large, touch_and_append_keep_a_large_value_and_its_flags)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.user_flags = 9;
	o.ttl_ms = 60 * MINUTE;
	pattern(value, 20000, 1);
	ok(larder_set_with(cache, 0, "key", 3, value, 20000, &o, NULL));
	ok(larder_append(cache, 0, "key", 3, "tail", 4));
	struct larder_meta m = meta_of("key");
	cr_assert(m.value_bytes == 20004 && m.user_flags == 9 && m.ttl_left_ms > 50 * MINUTE && m.ttl_left_ms <= 60 * MINUTE);
	ok(larder_touch(cache, 0, "key", 3, 90000));
	m = meta_of("key");
	cr_assert(m.value_bytes == 20004 && m.user_flags == 9 && m.ttl_left_ms > 80000);
	ok(larder_get(cache, 0, "key", 3, back, most, NULL));
	pattern(value, 20000, 1);
	cr_assert(memcmp(value, back, 20000) == 0 && memcmp(back + 20000, "tail", 4) == 0);
	pattern(value, most, 1);
	is(larder_append(cache, 0, "key", 3, value, most - 20003), LARDER_TOO_LARGE);
	is(larder_incr(cache, 0, "key", 3, 1, NULL), LARDER_NOT_NUMBER);
}

Test(large, a_large_value_expires_and_is_flushed_as_a_whole)
{
	ok(set_large("key", 20000, 1, MINUTE));
	cr_assert(has_large(cache, "key", 20000, 1));
	(void)kit_pass(MINUTE);
	is(larder_get(cache, 0, "key", 3, back, most, NULL), LARDER_MISS);
	ok(set_large("key", 20000, 2, 0));
	ok(larder_flush_soft(cache, 0));
	is(larder_get(cache, 0, "key", 3, back, most, NULL), LARDER_MISS);
	is(larder_get_with(cache, 0, "key", 3, back, most, NULL, LARDER_ALLOW_STALE, NULL), LARDER_STALE);
	ok(larder_flush(cache, 0));
	is(larder_get_with(cache, 0, "key", 3, back, most, NULL, LARDER_ALLOW_STALE, NULL), LARDER_MISS);
}

Test(large, many_large_values_in_a_small_cache_are_whole_or_missing)
{
	unsigned there = 0;
	for (unsigned i = 0; i < 300; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "key%u", i % 60);
		ok(set_large(key, 5000 + i * 97 % 40000, i, 0));
		cr_assert(has_large(cache, key, 5000 + i * 97 % 40000, i), "the one just set");
	}
	for (unsigned i = 240; i < 300; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "key%u", i % 60);
		size_t n;
		enum larder_status status = larder_get(cache, 0, key, strlen(key), back, most, &n);
		cr_assert(status == LARDER_MISS || has_large(cache, key, 5000 + i * 97 % 40000, i));
		there += status == LARDER_OK;
	}
	cr_assert_gt(there, 1);
}

static void flip_a_bit(struct actor *a, struct found *f)
{
	(void)a;
	((unsigned char *)(uintptr_t)f->entry.value)[7] ^= 0x10;
}

static void spoil_piece(const char *key, uint32_t number)
{
	kit_piece(key, number, flip_a_bit);
	kit_damaged = true;
}

Test(large, a_damaged_piece_is_a_miss_for_get_pin_inspector_and_iterate, .init = open_large_checksum)
{
	struct larder_pin p;
	struct larder *inspector = kit_another(LARDER_INSPECT);
	ok(set_large("key", 20000, 1, 0));
	cr_assert(has_large(inspector, "key", 20000, 1));
	spoil_piece("key", 2);
	is(larder_get(inspector, 0, "key", 3, back, most, NULL), LARDER_MISS);
	is(larder_pin(cache, 0, "key", 3, 0, &p), LARDER_MISS);
	ok(set_large("key", 20000, 1, 0));
	spoil_piece("key", 2);
	is(larder_get(cache, 0, "key", 3, back, most, NULL), LARDER_MISS);
	larder_close(&inspector);
}

Test(large, a_damaged_manifest_is_a_miss)
{
	for (unsigned word = 0; word < 3; word++) {
		ok(set_large("key", 20000, 1, 0));
		struct entry e;
		struct larder_pin p;
		cr_assert(entry_open(&e, &cache->region, slot_place(kit_slot("key"))));
		((unsigned char *)(uintptr_t)e.value)[word * 8 + 3] ^= 0x40;
		is(larder_get(cache, 0, "key", 3, back, most, NULL), LARDER_MISS);
		is(larder_pin(cache, 0, "key", 3, 0, &p), LARDER_MISS);
		(void)larder_append(cache, 0, "key", 3, "x", 1);
		(void)larder_delete(cache, 0, "key", 3);
		ok(set_large("key", 20000, 1, 0));
		cr_assert(has_large(cache, "key", 20000, 1));
	}
	kit_damaged = true;
}
