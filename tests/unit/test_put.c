/* SPDX-License-Identifier: BSD-2-Clause */
/* The loop that all changes share: stamps, places that are used again, pools, and losing to another one in the middle. */
#include "kit.h"

TestSuite(put, .init = kit_open, .fini = kit_close);

Test(put, stamps_of_two_participants_never_meet)
{
	struct larder *second = kit_another(0);
	struct actor *a = kit_actor(), *b = kit_actor_of(second);
	for (unsigned i = 0; i < 100; i++) {
		uint64_t x = put_stamp(a, 5) >> 16, y = put_stamp(b, 5) >> 16;
		cr_assert_neq(x, y);
		cr_assert_eq(x >> 38, a->slot);
		cr_assert_eq(y >> 38, b->slot);
	}
	kit_release(a);
	kit_release(b);
	larder_close(&second);
}

Test(put, a_successor_in_a_slot_goes_on_with_its_versions)
{
	struct larder_result result;
	ok(larder_set_with(cache, 0, "key", 3, "v", 1, NULL, &result));
	uint64_t version = result.version;
	for (unsigned i = 0; i < 40; i++) {
		larder_close(&cache);
		ok(larder_open(kit_name, 0, &cache));
		ok(larder_set_with(cache, 0, "key", 3, "v", 1, NULL, &result));
		cr_assert_neq(result.version >> 16, version >> 16);
	}
}

Test(put, a_stamp_is_never_zero)
{
	struct actor *a = kit_actor();
	store_hint(&a->self->versions, UINT64_MAX);
	a->slot = 0;
	cr_assert_neq(put_stamp(a, 0), 0);
	kit_release(a);
}

Test(put, overwrites_of_one_size_use_their_places_again)
{
	for (unsigned i = 0; i < 30000; i++)
		ok(put_text("key", i % 2 ? "one value" : "eulav eno"));
	struct larder_stat s = stat_now();
	cr_assert_gt(s.reused_bytes, s.inserted_bytes * 9 / 10, "%lu of %lu", (unsigned long)s.reused_bytes, (unsigned long)s.inserted_bytes);
	cr_assert_lt(s.segments_recycled, 30);
	cr_assert_eq(s.evictions_small + s.evictions_main, 0);
	reads("key", "one value");
}

/* 300 keys of 800 bytes and a head in a megabyte, each value of another size than the one before it. */
Test(put, overwrites_of_many_sizes_cost_no_key_that_has_room)
{
	static unsigned char value[1600];
	uint64_t random = 7;
	for (unsigned i = 0; i < 60000; i++) {
		random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		uint32_t key = (uint32_t)(random >> 40) % 300;
		ok(larder_set(cache, 0, &key, sizeof key, value, 1 + (random >> 20) % sizeof value, LARDER_TTL_NONE));
	}
	struct larder_stat s = stat_now();
	cr_assert_geq(s.entries, 290, "%lu keys", (unsigned long)s.entries);
}

Test(put, an_overwrite_stays_in_the_pool_of_what_it_replaces)
{
	ok(put_text("key", "value"));
	kit_ripen();
	for (unsigned i = 0; i < 3; i++)
		reads("key", "value");
	(void)fill_percent("f", 110, 0);
	cr_assert_eq(segword_pool(kit_segword(kit_segment("key"))), POOL_MAIN);
	ok(put_text("key", "other"));
	cr_assert_eq(segword_pool(kit_segword(kit_segment("key"))), POOL_MAIN);
	ok(put_text("key", "and one of another size"));
	cr_assert_eq(segword_pool(kit_segword(kit_segment("key"))), POOL_MAIN);
}

Test(put, entries_of_like_time_to_live_share_a_segment_and_others_do_not)
{
	ok(larder_set(cache, 0, "a", 1, "v", 1, 5000));
	ok(larder_set(cache, 0, "b", 1, "v", 1, 6000));
	ok(larder_set(cache, 0, "c", 1, "v", 1, 100000));
	ok(larder_set(cache, 0, "d", 1, "v", 1, LARDER_TTL_NONE));
	cr_assert_eq(kit_segment("a"), kit_segment("b"));
	cr_assert_neq(kit_segment("a"), kit_segment("c"));
	cr_assert_neq(kit_segment("c"), kit_segment("d"));
}

/* What the operation decides on changes between its look and its CAS, once. */
static struct larder *meddler;
static unsigned meddled;

static enum put_next meddle_and_write(struct actor *a, struct put *put, const struct found *f)
{
	(void)a;
	if (meddled++ == 0)
		ok(larder_set(meddler, 0, "key", 3, "meddled", 7, 0));
	put->draft.value = f != NULL ? "after" : "fresh";
	put->draft.value_bytes = 5;
	return PUT_WRITE;
}

Test(put, a_change_that_loses_its_cas_looks_again)
{
	meddler = kit_another(0);
	for (unsigned there = 0; there < 2; there++) {
		struct put put = { .key = kit_key("key"), .decide = meddle_and_write };
		(void)(there ? put_text("key", "before") : del_text("key"));
		meddled = 0;
		struct actor *a = kit_actor();
		is(put_run(a, &put), LARDER_OK);
		kit_release(a);
		cr_assert_eq(meddled, 2);
		reads("key", "after");
	}
	larder_close(&meddler);
}

static enum put_next flush_and_write(struct actor *a, struct put *put, const struct found *f)
{
	(void)a, (void)f;
	if (meddled++ == 0)
		ok(larder_flush(meddler, 0));
	put->draft.value = "value";
	put->draft.value_bytes = 5;
	return PUT_WRITE;
}

Test(put, a_flush_in_the_middle_of_a_set_hides_the_old_value_whatever_becomes_of_the_new_one)
{
	char buffer[16];
	size_t n = 0;
	meddler = kit_another(0);
	for (unsigned there = 0; there < 2; there++) {
		struct put put = { .key = kit_key("key"), .decide = flush_and_write };
		(void)(there ? put_text("key", "before") : del_text("key"));
		meddled = 0;
		struct actor *a = kit_actor();
		is(put_run(a, &put), LARDER_OK);
		kit_release(a);
		enum larder_status status = larder_get(cache, 0, "key", 3, buffer, sizeof buffer, &n);
		cr_assert(status == LARDER_MISS || (status == LARDER_OK && n == 5 && memcmp(buffer, "value", 5) == 0));
		is(larder_get_with(cache, 0, "key", 3, buffer, sizeof buffer, &n, LARDER_ALLOW_STALE, NULL), status);
	}
	larder_close(&meddler);
}

static enum put_next flush_set_and_write(struct actor *a, struct put *put, const struct found *f)
{
	(void)a, (void)f;
	if (meddled++ == 0) {
		ok(larder_flush(meddler, 0));
		ok(larder_set(meddler, 0, "key", 3, "newer", 5, 0));
	}
	put->draft.value = "value";
	put->draft.value_bytes = 5;
	return PUT_WRITE;
}

Test(put, a_value_of_an_older_generation_does_not_replace_a_newer_one)
{
	meddler = kit_another(0);
	struct put put = { .key = kit_key("key"), .decide = flush_set_and_write };
	struct actor *a = kit_actor();
	is(put_run(a, &put), LARDER_OK);
	kit_release(a);
	reads("key", "value"); /* set anew in the present generation */
	larder_close(&meddler);
}

static enum put_next expire_and_write(struct actor *a, struct put *put, const struct found *f)
{
	(void)a;
	(void)kit_pass(MINUTE);
	put->draft.value = f != NULL ? "kept" : "fresh";
	put->draft.value_bytes = f != NULL ? 4 : 5;
	return PUT_WRITE;
}

Test(put, a_value_that_expires_while_it_is_changed_stays_expired)
{
	struct put put = { .key = kit_key("key"), .ttl_ms = LARDER_TTL_KEEP, .decide = expire_and_write };
	ok(larder_set(cache, 0, "key", 3, "value", 5, MINUTE));
	struct actor *a = kit_actor();
	is(put_run(a, &put), LARDER_OK);
	kit_release(a);
	reads("key", NULL);
}

Test(put, an_entry_of_a_generation_that_never_was_is_written_over_at_once)
{
	ok(larder_flush(cache, 0));
	ok(put_text("key", "value"));
	struct shm_entry *e = kit_entry("key");
	uint32_t fields = head_fields(load_hint(&e->head));
	cr_assert(fields & FIELD_NAMESPACE);
	bytes_store32((unsigned char *)e + entry_namespace_offset(fields), 1000);
	kit_damaged = true;
	reads("key", NULL);
	is(larder_replace(cache, 0, "key", 3, "x", 1, 0), LARDER_MISS);
	ok(put_text("key", "good"));
	reads("key", "good");
	cr_assert_eq(stat_now().contended, 0);
}

Test(put, a_call_leaves_no_hazard_behind)
{
	char buffer[64];
	ok(put_text("key", "value"));
	ok(larder_append(cache, 0, "key", 3, "x", 1));
	ok(larder_get_and_set(cache, 0, "key", 3, "5", 1, 0, buffer, 64, NULL));
	ok(larder_incr(cache, 0, "key", 3, 1, NULL));
	ok(larder_touch(cache, 0, "key", 3, 5000));
	(void)larder_get(cache, 0, "key", 3, buffer, 64, NULL);
	is(larder_add(cache, 0, "key", 3, "x", 1, 0), LARDER_EXISTS);
	ok(del_text("key"));
	(void)fill("f", 300, 2 << 20, 0);
	ok(larder_maintain(cache, 1 << 20, NULL));
	struct actor *a = kit_actor();
	for (unsigned i = 0; i < HAZARDS; i++)
		cr_assert_eq(load_hint(&a->self->hazard[i]), 0, "hazard %u", i);
	kit_release(a);
}

/* ---- The plain put: every length of key that it takes, and what it must leave to the general way ----------------------------------- */

static void plain_read(const char *key, size_t key_bytes, const unsigned char *value, size_t value_bytes)
{
	unsigned char got[512];
	size_t length = 0;
	ok(larder_get(cache, 0, key, key_bytes, got, sizeof got, &length));
	cr_assert_eq(length, value_bytes);
	cr_assert_arr_eq(got, value, value_bytes);
}

Test(put, short_keys_of_every_length_take_values_of_every_length_over_and_over)
{
	const char text[17] = "0123456789abcdef";
	unsigned char value[512];
	for (unsigned round = 0; round < 40; round++)
		for (size_t key_bytes = 8; key_bytes <= 16; key_bytes++)
			for (size_t bytes = 1; bytes <= 300; bytes += 1 + bytes / 8) {
				memset(value, (int)(round + key_bytes * 3 + bytes), bytes);
				value[0] = (unsigned char)round;
				ok(larder_set(cache, 0, text, key_bytes, value, bytes, LARDER_TTL_NONE));
				plain_read(text, key_bytes, value, bytes);
				value[bytes - 1] ^= 1; /* of the same length: over what is there */
				ok(larder_set(cache, 0, text, key_bytes, value, bytes, LARDER_TTL_NONE));
				plain_read(text, key_bytes, value, bytes);
			}
	struct larder_stat s = stat_now();
	cr_assert_gt(s.reused_bytes, 0);
	cr_assert_eq(s.damage, 0);
}

Test(put, an_overwrite_without_end_takes_the_end_of_what_was_there)
{
	struct larder_meta meta;
	size_t length;
	char got[64];
	for (unsigned i = 0; i < 3000; i++) { /* until there are places to be used again */
		ok(larder_set(cache, 0, "ten bytes.", 10, "0123456789", 10, i % 2 ? 60000 : LARDER_TTL_NONE));
		ok(larder_get_with(cache, 0, "ten bytes.", 10, got, sizeof got, &length, 0, &meta));
		cr_assert_eq(meta.ttl_left_ms == LARDER_TTL_NONE, i % 2 == 0);
		cr_assert_neq(meta.version, 0);
		cr_assert_neq(meta.created_at_ms, 0);
	}
}

Test(put, an_overwrite_after_a_flush_is_seen)
{
	for (unsigned i = 0; i < 3000; i++)
		ok(larder_set(cache, 0, "ten bytes.", 10, "0123456789", 10, LARDER_TTL_NONE));
	ok(larder_flush(cache, 0));
	cr_assert_eq(larder_exists(cache, 0, "ten bytes.", 10), LARDER_MISS);
	ok(larder_set(cache, 0, "ten bytes.", 10, "9876543210", 10, LARDER_TTL_NONE));
	plain_read("ten bytes.", 10, (const unsigned char *)"9876543210", 10);
}
