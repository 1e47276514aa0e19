/* SPDX-License-Identifier: BSD-2-Clause */
/* get, exists, pin, mget: what they answer, what they count, and that what is pinned stays as it is. */
#include "kit.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

TestSuite(read, .init = kit_open, .fini = kit_close);

static enum larder_status get(const char *key, void *buffer, size_t capacity, size_t *length)
{
	return larder_get(cache, 0, key, strlen(key), buffer, capacity, length);
}

static enum larder_status pin(const char *key, struct larder_pin *p) { return larder_pin(cache, 0, key, strlen(key), 0, p); }

Test(read, a_value_of_any_size_up_to_a_segment_reads_back_whole)
{
	size_t most = info_now().contiguous_max_bytes - 1;
	unsigned char *value = malloc(most + 1), *back = malloc(most + 64);
	for (size_t bytes = 0; bytes <= most; bytes += bytes < 300 ? 1 : 97) {
		size_t n = 0;
		pattern(value, bytes, bytes);
		memset(back, 0xee, bytes + 64);
		ok(larder_set(cache, 0, "k", 1, value, bytes, 0));
		ok(get("k", back, bytes, &n));
		cr_assert(n == bytes && memcmp(value, back, bytes) == 0, "%zu bytes", bytes);
		for (unsigned i = 0; i < 64; i++)
			cr_assert_eq(back[bytes + i], 0xee, "written past %zu bytes", bytes);
	}
	free(value);
	free(back);
}

Test(read, a_value_reads_back_whole_by_keys_of_every_length_that_the_plain_way_takes)
{
	unsigned char value[600], back[664];
	for (size_t key_bytes = 8; key_bytes <= 17; key_bytes++)
		for (size_t bytes = 0; bytes < sizeof value; bytes++) {
			size_t n = 0;
			pattern(value, bytes, bytes + key_bytes);
			memset(back, 0xee, sizeof back);
			ok(larder_set(cache, 0, "seventeen letters", key_bytes, value, bytes, bytes % 3 == 0 ? 100000 : LARDER_TTL_NONE));
			ok(larder_get(cache, 0, "seventeen letters", key_bytes, back, bytes, &n));
			cr_assert(n == bytes && memcmp(value, back, bytes) == 0, "%zu bytes", bytes);
			cr_assert(back[bytes] == 0xee && back[bytes + 63] == 0xee, "written past %zu bytes", bytes);
			if (bytes != 0)
				is(larder_get(cache, 0, "seventeen letters", key_bytes, back, bytes - 1, &n), LARDER_SHORT);
			cr_assert_eq(n, bytes);
		}
}

Test(read, a_moment_known_is_never_further_behind_than_the_coarse_clock_may_be)
{
	struct actor *a = kit_actor();
	uint64_t seen = 0, until = moment_precise(a->region) + 150, known;
	do {
		uint64_t before = moment_precise(a->region);
		known = moment_quick(a);
		cr_assert(known + CLOCK_COARSE_LAG_MS > before && known <= moment_precise(a->region), "%lu at %lu", known, before);
		cr_assert_geq(known, seen);
		seen = known;
	} while (known < until);
	kit_release(a);
}

/* Plain gets in quick succession: what they know of the time is old by then, but not too old. */
Test(read, a_value_is_not_shown_after_its_expiry_by_gets_that_hardly_ever_look_at_the_clock)
{
	char buffer[16];
	int64_t set = clock_precise_ms(), last = set;
	ok(larder_set(cache, 0, "expires soon", 12, "v", 1, 80));
	while (larder_get(cache, 0, "expires soon", 12, buffer, sizeof buffer, NULL) == LARDER_OK)
		last = clock_precise_ms();
	cr_assert(clock_precise_ms() - set >= 80, "gone after %ld ms", (long)(clock_precise_ms() - set));
	cr_assert_lt(last - set, 80 + 50, "still there after %ld ms", (long)(last - set));
	cr_assert_eq(stat_now().expirations, 1);
}

Test(read, a_buffer_too_small_gets_nothing_but_the_length)
{
	char buffer[8] = "intact.";
	size_t n = 0;
	ok(put_text("key", "twelve bytes"));
	is(get("key", buffer, 7, &n), LARDER_SHORT);
	cr_assert_eq(n, 12);
	cr_assert_str_eq(buffer, "intact.");
	is(get("key", NULL, 0, NULL), LARDER_SHORT);
	ok(put_text("empty", ""));
	n = 99;
	ok(get("empty", NULL, 0, &n));
	cr_assert_eq(n, 0);
}

Test(read, keys_of_every_length_and_any_bytes_are_different_keys)
{
	unsigned char key[512], value;
	for (unsigned i = 0; i < 256; i++) {
		value = (unsigned char)i;
		key[0] = value;
		ok(larder_set(cache, 0, key, 1, &value, 1, 0));
	}
	memset(key, 0, sizeof key);
	for (unsigned n = 2; n < 400; n++) {
		value = (unsigned char)n;
		ok(larder_set(cache, 0, key, n, &value, 1, 0));
	}
	for (unsigned n = 2; n < 400; n++) {
		ok(larder_get(cache, 0, key, n, &value, 1, NULL));
		cr_assert_eq(value, (unsigned char)n);
	}
	for (unsigned i = 0; i < 256; i++) {
		key[0] = (unsigned char)i;
		ok(larder_get(cache, 0, key, 1, &value, 1, NULL));
		cr_assert_eq(value, i);
	}
}

Test(read, exists_answers_without_counting)
{
	ok(put_text("key", "value"));
	ok(has_text("key"));
	is(has_text("other"), LARDER_MISS);
	cr_assert(stat_now().hits == 0 && stat_now().misses == 0);
	cr_assert_eq(kit_slot("key") != 0, 1);
	cr_assert_eq(frequency_of(kit_found("key").frequency), 0);
}

Test(read, hits_and_misses_are_counted_and_use_is_noted_up_to_three)
{
	char buffer[16];
	ok(put_text("key", "value"));
	kit_ripen();
	for (unsigned i = 0; i < 5; i++)
		ok(get("key", buffer, sizeof buffer, NULL));
	is(get("none", buffer, sizeof buffer, NULL), LARDER_MISS);
	is(get("key", buffer, 2, NULL), LARDER_SHORT);
	ok(larder_get_with(cache, 0, "key", 3, buffer, sizeof buffer, NULL, LARDER_NO_COUNT, NULL));
	cr_assert_eq(stat_now().hits, 6);
	cr_assert_eq(stat_now().misses, 1);
	cr_assert_eq(frequency_of(kit_found("key").frequency), 3);
}

Test(read, metadata_says_all_there_is_to_know)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_result result;
	struct larder_meta m;
	o.user_flags = 0xcafe;
	o.ttl_ms = 60 * MINUTE;
	int64_t before = clock_wall_ms();
	ok(larder_set_with(cache, 0, "key", 3, "value", 5, &o, &result));
	m = meta_of("key");
	cr_assert(m.version == result.version && m.version != 0);
	cr_assert(m.created_at_ms >= before - 1000 && m.created_at_ms <= clock_wall_ms() + 50, "created %ld, now %ld", (long)m.created_at_ms, (long)before);
	cr_assert(m.ttl_left_ms > 59 * MINUTE && m.ttl_left_ms <= 60 * MINUTE);
	cr_assert(llabs(m.expires_at_ms - before - 60 * MINUTE) < MINUTE);
	cr_assert(m.value_bytes == 5 && m.user_flags == 0xcafe && !m.stale && !m.counter);
	ok(put_text("key", "value"));
	m = meta_of("key");
	cr_assert(m.ttl_left_ms == LARDER_TTL_NONE && m.expires_at_ms == 0 && m.user_flags == 0 && m.version != result.version);
}

Test(read, a_plain_cache_keeps_no_version_and_no_time_of_creation, .init = kit_open_plain)
{
	struct larder_result result;
	ok(larder_set_with(cache, 0, "key", 3, "value", 5, NULL, &result));
	struct larder_meta m = meta_of("key");
	cr_assert(m.version == 0 && m.created_at_ms == 0 && result.version == 0 && m.value_bytes == 5);
}

Test(read, an_expired_entry_is_taken_out_before_the_miss_is_told)
{
	ok(larder_set(cache, 0, "key", 3, "value", 5, MINUTE));
	reads("key", "value");
	(void)kit_pass(MINUTE);
	reads("key", NULL);
	cr_assert_eq(stat_now().expirations, 1);
	cr_assert_eq(stat_now().entries, 0);
	ok(larder_set(cache, 0, "key", 3, "value", 5, MINUTE));
	(void)kit_pass(MINUTE);
	struct larder_pin p;
	is(pin("key", &p), LARDER_MISS);
	cr_assert_eq(stat_now().expirations, 2);
}

Test(read, arguments_out_of_range_are_refused)
{
	char big[LARDER_KEY_MAX + 1] = "k";
	struct larder_pin p;
	is(larder_get(cache, 0, "", 0, NULL, 0, NULL), LARDER_KEY_SIZE);
	is(larder_get(cache, 0, big, sizeof big, NULL, 0, NULL), LARDER_KEY_SIZE);
	is(larder_get(NULL, 0, "k", 1, NULL, 0, NULL), LARDER_INVALID);
	is(larder_get(cache, 0, NULL, 1, NULL, 0, NULL), LARDER_INVALID);
	is(larder_pin(cache, 0, "", 0, 0, &p), LARDER_KEY_SIZE);
	is(larder_pin(cache, 0, "k", 1, 0, NULL), LARDER_INVALID);
	is(larder_mget(NULL, 0, NULL, 0), LARDER_INVALID);
	is(larder_mget(cache, 99, NULL, 0), LARDER_INVALID);
	is(larder_mget(cache, 0, NULL, 1), LARDER_INVALID);
	ok(larder_mget(cache, 0, NULL, 0));
	larder_unpin(NULL, &p);
	larder_unpin(cache, NULL);
}

/* ---- Pins ------------------------------------------------------------------------------------------------------------ */

Test(read, a_pinned_value_stays_whatever_happens_to_its_key)
{
	struct larder_pin p;
	ok(put_text("key", "pinned value"));
	ok(pin("key", &p));
	cr_assert(p.length == 12 && p.iov_count == 1 && p.iov[0].iov_base == p.data && p.iov[0].iov_len == 12);
	ok(put_text("key", "another one."));
	ok(del_text("key"));
	for (unsigned i = 0; i < 5000; i++) /* more than a batch of retired places of that very size */
		ok(put_text("key", "overwritten."));
	unsigned n = fill("f", 400, 4 << 20, 0); /* four times the cache */
	cr_assert_eq(memcmp(p.data, "pinned value", 12), 0);
	cr_assert_lt(count_filled("f", 400, n), n);
	larder_unpin(cache, &p);
	cr_assert(p.data == NULL && p.iov_count == 0);
	larder_unpin(cache, &p);
}

Test(read, a_thread_has_sixteen_pins_and_gets_them_back)
{
	struct larder_pin p[LARDER_PINS + 1];
	struct larder_participant_info info;
	ok(put_text("key", "value"));
	for (unsigned i = 0; i < LARDER_PINS; i++)
		ok(pin("key", &p[i]));
	uint32_t slot = p[0].own.slot;
	ok(larder_participant(cache, slot, &info));
	cr_assert_eq(info.pins, LARDER_PINS);
	is(pin("key", &p[LARDER_PINS]), LARDER_NO_PIN);
	reads("key", "value");
	larder_unpin(cache, &p[3]);
	ok(pin("key", &p[LARDER_PINS]));
	for (unsigned i = 0; i <= LARDER_PINS; i++)
		larder_unpin(cache, &p[i]);
	ok(larder_participant(cache, slot, &info));
	cr_assert_eq(info.pins, 0);
}

static void *unpin_elsewhere(void *p)
{
	larder_unpin(cache, p);
	return NULL;
}

Test(read, a_pin_can_be_ended_by_another_thread_and_not_by_a_child)
{
	struct larder_pin p, copy;
	struct larder_participant_info info;
	pthread_t thread;
	ok(put_text("key", "value"));
	ok(pin("key", &p));
	uint32_t slot = p.own.slot;
	pid_t child = fork();
	if (child == 0) {
		larder_unpin(cache, &p);
		_exit(0);
	}
	cr_assert_eq(waitpid(child, NULL, 0), child);
	ok(larder_participant(cache, slot, &info));
	cr_assert_eq(info.pins, 1, "the child ended its parent's pin");
	copy = p;
	cr_assert_eq(pthread_create(&thread, NULL, unpin_elsewhere, &copy), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	ok(larder_participant(cache, slot, &info));
	cr_assert_eq(info.pins, 0);
}

Test(read, a_pin_of_a_counter_is_a_private_copy)
{
	struct larder_pin p;
	int64_t sum;
	ok(larder_incr(cache, 0, "count", 5, 41, &sum));
	ok(pin("count", &p));
	ok(larder_incr(cache, 0, "count", 5, 1, &sum));
	cr_assert(p.length == 2 && memcmp(p.data, "41", 2) == 0 && p.meta.counter && p.meta.value_bytes == 2);
	larder_unpin(cache, &p);
	reads("count", "42");
}

Test(read, a_pin_of_a_stale_value_says_so)
{
	struct larder_pin p;
	ok(put_text("key", "value"));
	ok(larder_flush_soft(cache, 0));
	is(pin("key", &p), LARDER_MISS);
	is(larder_pin(cache, 0, "key", 3, LARDER_ALLOW_STALE, &p), LARDER_STALE);
	cr_assert(p.length == 5 && memcmp(p.data, "value", 5) == 0 && p.meta.stale);
	larder_unpin(cache, &p);
}

Test(read, a_pin_counts_as_a_hit_unless_asked_not_to)
{
	struct larder_pin p;
	ok(put_text("key", "value"));
	ok(larder_pin(cache, 0, "key", 3, LARDER_NO_COUNT, &p));
	larder_unpin(cache, &p);
	is(larder_pin(cache, 0, "none", 4, LARDER_NO_COUNT, &p), LARDER_MISS);
	cr_assert(stat_now().hits == 0 && stat_now().misses == 0);
	ok(pin("key", &p));
	larder_unpin(cache, &p);
	is(pin("none", &p), LARDER_MISS);
	cr_assert(stat_now().hits == 1 && stat_now().misses == 1);
}

/* ---- Many at once ------------------------------------------------------------------------------------------------------ */

Test(read, mget_answers_for_each_key_as_get_would)
{
	enum { N = 50 };
	struct larder_item items[N];
	char key[N][16], value[N][16];
	for (unsigned i = 0; i < N; i++) {
		(void)snprintf(key[i], sizeof key[i], "key%u", i);
		if (i % 3 != 0)
			ok(put_text(key[i], key[i]));
		items[i] = (struct larder_item){ .key = key[i], .key_bytes = strlen(key[i]), .value = value[i], .value_bytes = sizeof value[i] };
	}
	items[7].key_bytes = 0;
	items[8].value_bytes = 2;
	ok(larder_incr(cache, 0, "key10", 5, 0, NULL) == LARDER_NOT_NUMBER ? LARDER_OK : LARDER_MISS);
	ok(del_text("key11"));
	ok(larder_incr(cache, 0, "key11", 5, 77, NULL));
	ok(larder_set(cache, 0, "key13", 5, "dying", 5, MINUTE));
	(void)kit_pass(MINUTE);
	ok(larder_mget(cache, 0, items, N));
	for (unsigned i = 0; i < N; i++) {
		const char *wanted = i == 11 ? "77" : key[i];
		if (i == 7)
			is(items[i].status, LARDER_KEY_SIZE);
		else if (i == 8)
			cr_assert(items[i].status == LARDER_SHORT && items[i].value_bytes == 4);
		else if (i == 13 || i % 3 == 0)
			is(items[i].status, LARDER_MISS);
		else
			cr_assert(items[i].status == LARDER_OK && items[i].value_bytes == strlen(wanted)
					&& memcmp(value[i], wanted, items[i].value_bytes) == 0, "item %u", i);
	}
	struct actor *a = kit_actor();
	for (unsigned i = 0; i < BATCH_HAZARDS; i++)
		cr_assert_eq(load_hint(&a->self->batch[i]), 0, "batch hazard %u is left", i);
	kit_release(a);
}

Test(read, mget_finds_keys_that_share_a_bucket_and_those_in_overflow)
{
	char key[20][32];
	struct larder_item items[20];
	char value[20][32];
	struct key k = kit_key("first");
	unsigned next = 0;
	for (unsigned i = 0; i < 20; i++, next++) {
		next = next_in_probe("m", next, &k, key[i]);
		ok(put_text(key[i], key[i]));
		items[i] = (struct larder_item){ .key = key[i], .key_bytes = strlen(key[i]), .value = value[i], .value_bytes = 32 };
	}
	ok(larder_mget(cache, 0, items, 20));
	for (unsigned i = 0; i < 20; i++)
		cr_assert(items[i].status == LARDER_OK && items[i].value_bytes == strlen(key[i]) && memcmp(value[i], key[i], items[i].value_bytes) == 0);
}

/* ---- Signals, forks and the end ------------------------------------------------------------------------------------------- */

Test(read, a_call_inside_a_call_of_the_same_thread_is_refused)
{
	struct larder_pin p;
	struct larder_item item = { .key = "key", .key_bytes = 3 };
	ok(put_text("key", "value"));
	struct actor *a = kit_actor(); /* as if interrupted by a handler */
	is(get("key", NULL, 0, NULL), LARDER_BUSY);
	is(put_text("key", "x"), LARDER_BUSY);
	is(del_text("key"), LARDER_BUSY);
	is(pin("key", &p), LARDER_BUSY);
	is(larder_mget(cache, 0, &item, 1), LARDER_BUSY);
	is(larder_incr(cache, 0, "n", 1, 1, NULL), LARDER_BUSY);
	is(larder_flush(cache, 0), LARDER_BUSY);
	is(larder_maintain(cache, 1000, NULL), LARDER_BUSY);
	kit_release(a);
	reads("key", "value");
}

Test(read, a_destroyed_cache_answers_detached_to_every_call)
{
	char buffer[8];
	struct larder_pin p;
	struct larder_info info;
	struct larder_stat stat;
	struct larder_namespace_info space;
	struct larder_participant_info participant;
	struct larder_item item = { .key = "key", .key_bytes = 3, .value = buffer, .value_bytes = 8 };
	uint32_t ns;
	uint64_t faults;
	ok(put_text("key", "value"));
	ok(pin("key", &p));
	struct larder *inspector = kit_another(LARDER_INSPECT);
	ok(larder_destroy(kit_name));
	is(get("key", buffer, 8, NULL), LARDER_DETACHED);
	is(put_text("key", "x"), LARDER_DETACHED);
	is(del_text("key"), LARDER_DETACHED);
	is(larder_mget(cache, 0, &item, 1), LARDER_DETACHED);
	is(larder_incr(cache, 0, "n", 1, 1, NULL), LARDER_DETACHED);
	is(larder_append(cache, 0, "key", 3, "x", 1), LARDER_DETACHED);
	is(larder_touch(cache, 0, "key", 3, 5), LARDER_DETACHED);
	is(larder_get_and_set(cache, 0, "key", 3, "x", 1, 0, buffer, 8, NULL), LARDER_DETACHED);
	is(larder_flush(cache, 0), LARDER_DETACHED);
	is(larder_flush_all(cache), LARDER_DETACHED);
	is(larder_namespace(cache, "a", &ns), LARDER_DETACHED);
	is(larder_namespace_info(cache, 0, &space), LARDER_DETACHED);
	is(larder_namespace_ttl(cache, 0, 5), LARDER_DETACHED);
	is(larder_maintain(cache, 1000, NULL), LARDER_DETACHED);
	is(larder_info(cache, &info), LARDER_DETACHED);
	is(larder_stat(cache, &stat), LARDER_DETACHED);
	is(larder_participant(cache, 0, &participant), LARDER_DETACHED);
	is(larder_check(cache, NULL, NULL, &faults), LARDER_DETACHED);
	is(larder_get(inspector, 0, "key", 3, buffer, 8, NULL), LARDER_DETACHED);
	cr_assert_eq(memcmp(p.data, "value", 5), 0, "a pin outlives the cache");
	larder_unpin(cache, &p);
	larder_close(&inspector);
}

Test(read, a_cache_removed_behind_our_back_is_noticed_by_the_first_call_of_a_thread)
{
	struct larder *second = kit_another(0);
	char path[128];
	(void)snprintf(path, sizeof path, "/dev/shm/larder.%s", kit_name);
	cr_assert_eq(unlink(path), 0);
	is(larder_get(second, 0, "k", 1, NULL, 0, NULL), LARDER_DETACHED);
	larder_close(&second);
}

/* ---- Checksums ------------------------------------------------------------------------------------------------------------- */

static void spoil(const char *key)
{
	struct entry e;
	cr_assert(entry_open(&e, &cache->region, slot_place(kit_slot(key))));
	((unsigned char *)(uintptr_t)e.value)[0] ^= 1;
	kit_damaged = true;
}

Test(read, a_damaged_value_is_a_miss_and_counted, .init = kit_open_checksum)
{
	struct larder_pin p;
	char buffer[16];
	struct larder_item item = { .key = "key", .key_bytes = 3, .value = buffer, .value_bytes = 16 };
	ok(put_text("key", "value"));
	reads("key", "value");
	spoil("key");
	reads("key", NULL);
	is(pin("key", &p), LARDER_MISS);
	ok(larder_mget(cache, 0, &item, 1));
	is(item.status, LARDER_MISS);
	cr_assert_geq(stat_now().checksum_errors, 3);
	ok(put_text("key", "value"));
	reads("key", "value");
}

Test(read, a_damaged_value_is_not_made_good_by_a_change, .init = kit_open_checksum)
{
	char buffer[16];
	size_t n;
	int64_t sum;
	ok(put_text("a", "value"));
	spoil("a");
	is(larder_append(cache, 0, "a", 1, "more", 4), LARDER_MISS);
	reads("a", NULL);
	ok(put_text("t", "value"));
	spoil("t");
	is(larder_touch(cache, 0, "t", 1, 5000), LARDER_MISS);
	reads("t", NULL);
	ok(put_text("g", "value"));
	spoil("g");
	is(larder_get_and_set(cache, 0, "g", 1, "new", 3, 0, buffer, sizeof buffer, &n), LARDER_MISS);
	reads("g", "new");
	ok(put_text("n", "20"));
	spoil("n");
	ok(larder_incr(cache, 0, "n", 1, 1, &sum));
	cr_assert_eq(sum, 1);
	ok(put_text("add", "value"));
	spoil("add");
	ok(larder_add(cache, 0, "add", 3, "new", 3, 0));
	reads("add", "new");
}
