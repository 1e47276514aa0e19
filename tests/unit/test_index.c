/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index: what a crash in the middle of an insert leaves is decided by the next one who comes; at most one entry of a
 * key; a full probe gives up its coldest.  The half-done inserts are made by hand, slot by slot.
 */
#include "kit.h"

TestSuite(index, .init = kit_open, .fini = kit_close);

/* Writes an entry of the key with this status and puts it into slot `at` of its probe, as a process that died would leave it. */
static uint64_t plant(struct actor *a, const struct key *k, unsigned at, const char *value, enum entry_status status)
{
	struct draft d = { .key = k->data, .key_bytes = k->bytes, .value = value, .value_bytes = (uint32_t)strlen(value) };
	struct room room;
	cr_assert(room_append(a, draft_units(&d), POOL_SMALL, 0, NEED_NORMAL, &room));
	room_seal_entry(a, &room, head_with_status(entry_write(room.shm, &d, 0), status), 0);
	uint64_t word = slot_word(hash_tag(k->hash), room.place.place, room.place.inc);
	room_leave(a);
	cr_assert(cas_seq_cst(probe_slot(k, at), SLOT_EMPTY, word), "slot %u is taken", at);
	return word;
}

static enum entry_status status_of(uint64_t word)
{
	return head_status(load_acquire(&region_entry(&cache->region, slot_place(word))->head));
}

/* How many slots of the probe hold something of this tag. */
static unsigned entries_of(const struct key *k)
{
	unsigned n = 0;
	for (unsigned at = 0; at < PROBE_SLOTS; at++)
		n += slot_tag(load_acquire(probe_slot(k, at))) == hash_tag(k->hash);
	return n;
}

/* Fills the first n slots of the key's probe with entries of other keys, of the same probe. */
static void crowd(const struct key *k, unsigned n)
{
	char name[32];
	unsigned next = 0;
	for (unsigned i = 0; i < n; i++, next++) {
		next = next_in_probe("crowd", next, k, name);
		ok(put_text(name, "v"));
	}
}

Test(index, a_pending_entry_is_no_answer_to_a_get)
{
	struct key k = kit_key("key");
	struct actor *a = kit_actor();
	uint64_t word = plant(a, &k, 2, "never", ENTRY_PENDING);
	kit_release(a);
	reads("key", NULL);
	cr_assert_eq(status_of(word), ENTRY_PENDING, "a get decides nothing");
}

Test(index, a_pending_entry_of_a_dead_inserter_is_completed_by_the_next_setter)
{
	struct key k = kit_key("key");
	struct actor *a = kit_actor();
	uint64_t word = plant(a, &k, 2, "theirs", ENTRY_PENDING);
	kit_release(a);
	is(larder_add(cache, 0, "key", 3, "ours", 4, 0), LARDER_EXISTS);
	cr_assert_eq(status_of(word), ENTRY_COMMITTED);
	reads("key", "theirs");
	ok(put_text("key", "ours"));
	reads("key", "ours");
	cr_assert_eq(entries_of(&k), 1);
	cr_assert_eq(stat_now().pending_completed, 1);
}

Test(index, a_delete_aborts_a_pending_entry_so_that_it_cannot_rise_later)
{
	struct key k = kit_key("key");
	struct actor *a = kit_actor();
	uint64_t word = plant(a, &k, 3, "zombie", ENTRY_PENDING);
	kit_release(a);
	is(del_text("key"), LARDER_MISS);
	cr_assert_eq(status_of(word), ENTRY_ABORTED);
	cr_assert_eq(entries_of(&k), 0);
	reads("key", NULL);
}

/* While a delete is at work another one adds the key again, into a slot that the delete's scan has yet to come to. */
static bool add_meanwhile(struct actor *a, const struct entry *e, void *arg)
{
	static unsigned times;
	char name[32];
	struct key k = kit_key("key");
	(void)a, (void)e;
	cr_assert_eq(times++, 0, "a second value was taken out");
	(void)next_in_probe("other", 0, &k, name);
	ok(larder_set(arg, 0, name, strlen(name), "takes the first slot", 20, 0));
	ok(larder_add(arg, 0, "key", 3, "added", 5, 0));
	return true;
}

Test(index, a_delete_takes_out_no_more_than_one_value)
{
	struct larder *second = kit_another(0);
	struct key k = kit_key("key");
	bool live;
	ok(put_text("key", "value"));
	struct actor *a = kit_actor();
	is(index_delete(a, &k, add_meanwhile, second, &live), SEARCH_FOUND);
	kit_release(a);
	cr_assert(live);
	reads("key", "added");
	larder_close(&second);
}

Test(index, an_aborted_entry_is_taken_out_by_whoever_changes_the_key)
{
	struct key k = kit_key("key");
	struct actor *a = kit_actor();
	(void)plant(a, &k, 0, "aborted", ENTRY_ABORTED);
	kit_release(a);
	reads("key", NULL);
	ok(put_text("key", "value"));
	cr_assert_eq(entries_of(&k), 1);
	reads("key", "value");
}

Test(index, of_two_pending_entries_the_lower_slot_wins)
{
	for (unsigned far = 1; far < PROBE_SLOTS; far += 5) {
		char name[16];
		(void)snprintf(name, sizeof name, "key%u", far);
		struct key k = kit_key(name);
		struct actor *a = kit_actor();
		uint64_t low = plant(a, &k, 0, "low", ENTRY_PENDING), high = plant(a, &k, far, "high", ENTRY_PENDING);
		kit_release(a);
		is(larder_add(cache, 0, name, strlen(name), "x", 1, 0), LARDER_EXISTS);
		cr_assert(status_of(low) == ENTRY_COMMITTED && status_of(high) == ENTRY_ABORTED, "slot %u", far);
		reads(name, "low");
		cr_assert_eq(entries_of(&k), 1);
	}
}

Test(index, a_pending_entry_loses_to_a_committed_one_in_a_higher_slot)
{
	struct key k = kit_key("key");
	struct actor *a = kit_actor();
	(void)plant(a, &k, 5, "committed", ENTRY_COMMITTED);
	uint64_t pending = plant(a, &k, 1, "pending", ENTRY_PENDING);
	kit_release(a);
	is(larder_add(cache, 0, "key", 3, "x", 1, 0), LARDER_EXISTS);
	cr_assert_eq(status_of(pending), ENTRY_ABORTED);
	reads("key", "committed");
	cr_assert_eq(entries_of(&k), 1);
}

Test(index, an_inserter_whose_entry_was_aborted_writes_a_fresh_copy)
{
	/* While its status is undecided, another handle commits the same key in a lower slot. */
	struct key k = kit_key("key");
	struct actor *a = kit_actor();
	struct found f;
	is(index_find_for_change(a, &k, &f), SEARCH_ABSENT);
	cr_assert_eq(f.hole, 0);
	(void)plant(a, &k, 0, "rival", ENTRY_COMMITTED);
	struct draft d = { .key = "key", .key_bytes = 3, .value = "mine", .value_bytes = 4 };
	struct room room;
	cr_assert(room_append(a, draft_units(&d), POOL_SMALL, 0, NEED_NORMAL, &room));
	room_seal_entry(a, &room, head_with_status(entry_write(room.shm, &d, 0), ENTRY_PENDING), 0);
	is(index_insert(a, &k, &f, &room), INSERT_AGAIN); /* the hole is taken */
	f.hole = 4;
	is(index_insert(a, &k, &f, &room), INSERT_LOST); /* the key is there */
	cr_assert_eq(load_acquire(probe_slot(&k, 4)), SLOT_EMPTY);
	room_leave(a);
	kit_release(a);
	reads("key", "rival");
}

Test(index, keys_beyond_the_home_bucket_are_found_in_overflow)
{
	char name[32];
	unsigned next = 0;
	struct key k = kit_key("key");
	crowd(&k, PROBE_SLOTS - 1);
	ok(put_text("key", "in overflow"));
	reads("key", "in overflow");
	for (unsigned i = 0; i < PROBE_SLOTS - 1; i++, next++) {
		next = next_in_probe("crowd", next, &k, name);
		reads(name, "v");
	}
	cr_assert_neq(octet_load_hint(&k.home->spill), 0);
	ok(del_text("key"));
	reads("key", NULL);
	cr_assert_eq(stat_now().evictions_index, 0);
}

Test(index, a_pending_entry_in_overflow_is_completed_with_its_spill_bit)
{
	for (unsigned at = BUCKET_SLOTS; at < PROBE_SLOTS; at += BUCKET_SLOTS) {
		char name[16];
		(void)snprintf(name, sizeof name, "key%u", at);
		struct key k = kit_key(name);
		struct actor *a = kit_actor();
		(void)plant(a, &k, at, "theirs", ENTRY_PENDING);
		kit_release(a);
		is(larder_add(cache, 0, name, strlen(name), "x", 1, 0), LARDER_EXISTS);
		reads(name, "theirs");
	}
}

Test(index, a_full_probe_gives_up_its_coldest_entry)
{
	char name[32], cold_one[32];
	unsigned next = 0;
	struct key k = kit_key("key");
	crowd(&k, PROBE_SLOTS);
	kit_ripen();
	for (unsigned i = 0; i < PROBE_SLOTS; i++, next++) {
		next = next_in_probe("crowd", next, &k, name);
		if (i == 9)
			memcpy(cold_one, name, sizeof name);
		else
			reads(name, "v");
	}
	struct larder_result result;
	ok(larder_set_with(cache, 0, "key", 3, "v", 1, NULL, &result));
	cr_assert_eq(result.evicted, 1);
	reads(cold_one, NULL);
	reads("key", "v");
	cr_assert_eq(stat_now().evictions_index, 1);
	struct larder_set_options gentle = LARDER_SET_OPTIONS_INIT;
	gentle.flags = LARDER_NO_EVICT;
	next = next_in_probe("crowd", next, &k, name);
	is(larder_set_with(cache, 0, name, strlen(name), "v", 1, &gentle, NULL), LARDER_WOULD_EVICT);
	reads("key", "v");
}

Test(index, a_probe_full_of_undecided_inserts_of_dead_processes_still_takes_a_key)
{
	char name[32];
	unsigned next = 0;
	struct key k = kit_key("key");
	struct actor *a = kit_actor();
	for (unsigned i = 0; i < PROBE_SLOTS; i++, next++) {
		next = next_in_probe("dead", next, &k, name);
		struct key other = kit_key(name);
		(void)plant(a, &other, i, "v", ENTRY_PENDING);
	}
	kit_release(a);
	ok(put_text("key", "value"));
	reads("key", "value");
}

Test(index, a_probe_full_of_words_that_lead_nowhere_still_takes_a_key)
{
	struct key k = kit_key("key");
	uint64_t places = geo_places(&cache->region.geo);
	kit_damaged = true;
	for (unsigned at = 0; at < PROBE_SLOTS; at++)
		store_release(probe_slot(&k, at), slot_word(at + 1, at % 2 ? places + at : at, 99));
	ok(put_text("key", "value"));
	reads("key", "value");
}

Test(index, words_of_the_keys_tag_that_lead_nowhere_are_counted_and_not_followed)
{
	struct key k = kit_key("key");
	uint64_t tag = hash_tag(k.hash), places = geo_places(&cache->region.geo);
	kit_damaged = true;
	store_release(probe_slot(&k, 0), slot_word(tag, places, 1));
	store_release(probe_slot(&k, 1), slot_word(tag, (UINT64_C(1) << SLOT_PLACE_BITS) - 1, 1));
	store_release(probe_slot(&k, 2), slot_word(tag, 5, 999));
	store_release(probe_slot(&k, 3), slot_word(tag, places - 1, 1));
	store_release(&region_entry(&cache->region, places - 1)->head, head_make(0, ENTRY_COMMITTED, 0, 3, 100));
	reads("key", NULL);
	is(del_text("key"), LARDER_MISS);
	ok(put_text("key", "value"));
	reads("key", "value");
	ok(del_text("key"));
	cr_assert_geq(stat_now().damage, 2);
}

Test(index, an_unborn_entry_in_a_slot_is_damage_and_no_key)
{
	struct key k = kit_key("key");
	struct actor *a = kit_actor();
	kit_damaged = true;
	(void)plant(a, &k, 0, "v", ENTRY_UNBORN);
	kit_release(a);
	reads("key", NULL);
	ok(put_text("key", "value"));
	reads("key", "value");
}

Test(index, the_slot_of_an_entry_is_found_by_its_place_and_life_alone)
{
	struct octet *frequency;
	ok(put_text("key", "value"));
	struct key k = kit_key("key");
	uint64_t word = kit_slot("key");
	struct word *slot = index_slot_of(&cache->region, k.hash, slot_place(word), slot_inc(word), &frequency);
	cr_assert(slot != NULL && load_hint(slot) == word);
	cr_assert_null(index_slot_of(&cache->region, k.hash, slot_place(word), slot_inc(word) + 1, &frequency));
	cr_assert_null(index_slot_of(&cache->region, k.hash, slot_place(word) + 1, slot_inc(word), &frequency));
}

Test(index, a_replacement_fails_if_the_slot_changed_meanwhile)
{
	ok(put_text("key", "first"));
	struct key k = kit_key("key");
	struct actor *a = kit_actor();
	struct found f;
	is(index_find_for_change(a, &k, &f), SEARCH_FOUND);
	struct larder *second = kit_another(0);
	ok(larder_set(second, 0, "key", 3, "second", 6, 0));
	cr_assert_not(index_remove(a, &f, COUNTER_deletes));
	struct room room = { .place = { .place = f.entry.place, .inc = 1 } };
	cr_assert_not(index_replace(a, &k, &f, &room));
	kit_release(a);
	larder_close(&second);
	reads("key", "second");
}

Test(index, an_entry_decided_once_stays_decided)
{
	struct key k = kit_key("key");
	struct actor *a = kit_actor();
	uint64_t word = plant(a, &k, 0, "v", ENTRY_PENDING);
	struct entry e;
	cr_assert(slot_open(a, word, &e));
	cr_assert(entry_abort(&e));
	cr_assert_not(entry_abort(&e));
	cr_assert_eq(status_of(word), ENTRY_ABORTED);
	kit_release(a);
}

/* Every age that the octet can tell, and both sides of each wrap. */
Test(index, uses_of_a_young_entry_count_from_when_it_is_ripe_and_at_every_tick)
{
	const struct region *r = &cache->region;
	struct octet idle;
	for (unsigned birth = 0; birth < 2 * YOUNG_TICKS; birth++) {
		struct octet f;
		octet_store_hint(&f, frequency_newborn(r, POOL_SMALL));
		for (unsigned tick = 0; tick < RIPE_TICKS; tick++) {
			frequency_use_or(r, &f, &idle);
			frequency_use(r, &f);
			frequency_use_or(r, &f, &idle);
			cr_assert_eq(frequency_of(&f), 0, "born at %u, %u ticks old", birth, tick);
			add_hint(&region_super(r)->seals, UINT64_C(1) << r->tick_shift);
		}
		frequency_use(r, &f);
		cr_assert_eq(frequency_of(&f), 1, "born at %u", birth);
		frequency_use_or(r, &f, &idle);
		cr_assert_eq(octet_load_hint(&f), 2);
		frequency_use_or(r, &f, &idle);
		frequency_use_or(r, &f, &idle);
		cr_assert_eq(octet_load_hint(&f), FREQUENCY_MAX);
	}
	cr_assert_eq(frequency_newborn(r, POOL_MAIN), 0);
}
