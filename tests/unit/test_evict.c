/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Giving memory back: what is used survives, what is not goes, what has expired goes first; and each step of the way can be
 * taken by another one than began it.
 */
#include "kit.h"

#include <signal.h>
#include <sys/wait.h>

TestSuite(evict, .init = kit_open, .fini = kit_close);

static uint64_t evictions(const struct larder_stat *s)
{
	return s->evictions_small + s->evictions_main + s->evictions_index + s->evictions_need;
}

static void use(const char *key, unsigned times)
{
	while (times-- > 0)
		(void)larder_get(cache, 0, key, strlen(key), NULL, 0, NULL);
}

Test(evict, a_cache_that_is_full_takes_new_entries_for_ever)
{
	unsigned n = fill_percent("f", 2000, 0);
	unsigned there = count_filled("f", 300, n);
	struct larder_stat s = stat_now();
	cr_assert_gt(there, 800, "%u of %u are left", there, n);
	cr_assert_eq(s.inserts - evictions(&s), s.entries);
	cr_assert_eq(s.entries, there);
	cr_assert(s.segments_recycled > 1000 && s.no_room == 0 && s.contended == 0 && s.damage == 0);
}

Test(evict, an_entry_used_once_it_is_ripe_moves_to_main_and_stays)
{
	ok(put_text("hot", "value"));
	ok(put_text("busy", "value"));
	use("busy", 3);
	kit_ripen();
	use("hot", 1);
	(void)fill_percent("f", 110, 0);
	reads("busy", NULL); /* all its uses came when it was young */
	reads("hot", "value");
	cr_assert_eq(segword_pool(kit_segword(kit_segment("hot"))), POOL_MAIN);
}

Test(evict, what_is_born_in_main_is_never_young)
{
	ok(put_text("ghost", "value"));
	(void)fill_percent("f", 110, 0);
	ok(put_text("ghost", "value"));
	reads("ghost", "value");
	cr_assert_eq(kit_frequency("ghost"), 1);
}

Test(evict, an_entry_evicted_unused_comes_back_to_main)
{
	ok(put_text("ghost", "value"));
	(void)fill_percent("f", 110, 0);
	reads("ghost", NULL);
	uint64_t before = stat_now().ghost_hits;
	ok(put_text("ghost", "value"));
	cr_assert_eq(stat_now().ghost_hits, before + 1);
	cr_assert_eq(segword_pool(kit_segword(kit_segment("ghost"))), POOL_MAIN);
}

Test(evict, what_has_expired_goes_before_anything_that_lives)
{
	unsigned lasting = fill_percent("l", 40, 0);
	(void)fill_percent("d", 40, MINUTE);
	(void)kit_pass(2 * MINUTE);
	uint64_t evicted = 0;
	for (unsigned i = 0; i < 1000; i++) {
		struct larder_result result;
		char key[16], value[300] = { 0 };
		int n = snprintf(key, sizeof key, "n%u", i);
		ok(larder_set_with(cache, 0, key, (size_t)n, value, sizeof value, NULL, &result));
		evicted += result.evicted;
	}
	cr_assert_eq(evicted, 0, "%lu live entries went while expired ones stood by", (unsigned long)evicted);
	cr_assert_eq(count_filled("l", 300, lasting), lasting);
	cr_assert_gt(stat_now().segments_expired, 10);
}

/* Keys y0 .. of 300 bytes; every second lives for so long, the others are gone soon. */
static void put_mixed(unsigned n, int64_t odd_ms, int64_t even_ms)
{
	char key[16], value[300] = { 0 };
	for (unsigned i = 0; i < n; i++) {
		int length = snprintf(key, sizeof key, "y%u", i);
		ok(larder_set(cache, 0, key, (size_t)length, value, sizeof value, i % 2 ? odd_ms : even_ms));
	}
}

static unsigned count_even(unsigned n)
{
	unsigned there = 0;
	for (unsigned i = 0; i < n; i += 2) {
		char key[16];
		(void)snprintf(key, sizeof key, "y%u", i);
		there += has_text(key) == LARDER_OK;
	}
	return there;
}

static unsigned timed_segments_of_main(void)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < cache->region.geo.segments; i++)
		n += segword_pool(kit_segword(i)) == POOL_MAIN && segword_class(kit_segword(i)) != 0;
	return n;
}

Test(evict, what_has_expired_among_what_lives_makes_room_and_the_rest_stays)
{
	const unsigned n = 500;
	put_mixed(n, LARDER_TTL_NONE, LARDER_TTL_NONE);
	(void)fill_percent("f", 110, 0); /* now they are ghosts */
	put_mixed(n, 400, 9000);
	unsigned before = timed_segments_of_main(), there = count_even(n);
	cr_assert_gt(before, 20);
	cr_assert_gt(there, n / 2 * 8 / 10);
	sleep_ms(500);
	(void)fill_percent("g", 80, 0);
	unsigned after = timed_segments_of_main();
	cr_assert_leq(after * 100, before * 75, "%u segments, and before %u", after, before);
	cr_assert_geq(count_even(n) * 100, there * 95, "%u keys of %u", count_even(n), there);
}

/* New entries that earn their place in main at once, so many hundredths of the cache, in round `round`. */
static void fill_main(unsigned round, unsigned percent)
{
	char prefix[16];
	(void)snprintf(prefix, sizeof prefix, "m%u.", round);
	unsigned n = fill_percent(prefix, percent, 0);
	(void)count_filled(prefix, 300, n);
	(void)count_filled(prefix, 300, n);
}

Test(evict, segments_that_are_mostly_in_use_are_kept_in_place)
{
	for (unsigned round = 0; round < 20; round++) {
		char prefix[16];
		fill_main(round, 10);
		for (unsigned old = 0; old <= round; old++) {
			(void)snprintf(prefix, sizeof prefix, "m%u.", old);
			(void)count_filled(prefix, 300, 300);
		}
	}
	cr_assert_gt(stat_now().segments_relinked, 0);
}

Test(evict, flushed_entries_go_without_a_copy)
{
	unsigned n = fill_percent("f", 85, 0);
	for (unsigned i = 0; i < 3; i++)
		(void)count_filled("f", 300, n);
	ok(larder_flush(cache, 0));
	uint64_t copied = stat_now().copied_bytes, evicted = 0;
	struct larder_stat before = stat_now();
	(void)fill_percent("g", 60, 0);
	struct larder_stat after = stat_now();
	evicted = evictions(&after) - evictions(&before);
	cr_assert(after.copied_bytes == copied && after.flushed > 100, "%lu bytes copied, %lu flushed", (unsigned long)(after.copied_bytes - copied),
			(unsigned long)after.flushed);
	cr_assert_lt(evicted, 50);
}

Test(evict, survivors_keep_all_that_belongs_to_them)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_result result;
	o.user_flags = 77;
	o.ttl_ms = 600000;
	o.flags = LARDER_ALIGN;
	for (unsigned round = 0; round < 15; round++) /* until main is full */
		fill_main(round, 10);
	ok(larder_set_with(cache, 0, "hot", 3, "value", 5, &o, &result));
	struct larder_meta was = meta_of("hot");
	for (unsigned round = 20; round < 400; round++) {
		use("hot", 3);
		fill_main(round, 1);
	}
	struct larder_meta m = meta_of("hot");
	reads("hot", "value");
	cr_assert(m.version == result.version && m.user_flags == 77 && llabs(m.expires_at_ms - was.expires_at_ms) <= 5
			&& llabs(m.created_at_ms - was.created_at_ms) <= 5);
	cr_assert_gt(stat_now().copied_bytes, 40 * 300);
}

static struct shm_bucket *group_bucket(struct shm_group *g, unsigned b)
{
	return b < GROUP_HOMES ? &g->home[b] : &g->overflow[b - GROUP_HOMES];
}

/* Everything that is there is hot: used so often that its frequency cannot rise any more. */
static void heat_all(void)
{
	const struct region *r = &cache->region;
	for (uint64_t g = 0; g < r->geo.groups; g++)
		for (unsigned b = 0; b < GROUP_HOMES + GROUP_OVERFLOWS; b++)
			for (unsigned i = 0; i < BUCKET_SLOTS; i++)
				octet_store_hint(&group_bucket(region_group(r, g), b)->frequency[i], FREQUENCY_MAX);
}

static void set_numbered(unsigned number)
{
	char key[16], value[32] = { 0 };
	int n = snprintf(key, sizeof key, "n%u", number);
	ok(larder_set(cache, 0, key, (size_t)n, value, sizeof value, 0));
}

/* larder_stat() would look at the whole index each time. */
static uint64_t counted(enum counter which)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < cache->region.geo.participants; i++)
		sum += load_hint(&region_participant(&cache->region, i)->counter[which]);
	return sum;
}

/* Bytes of segments emptied or kept, and of survivors. */
static uint64_t walked_bytes(uint64_t segment_bytes)
{
	return (counted(COUNTER_segments_recycled) + counted(COUNTER_segments_relinked)) * segment_bytes + counted(COUNTER_copied_bytes);
}

Test(evict, no_set_walks_more_than_a_few_segments_even_where_everything_is_hot)
{
	kit_close();
	struct larder_options o = kit_options(UINT64_C(8) << 20, 0);
	o.entry_bytes = 40;
	kit_open_with(&o);
	uint64_t segment = info_now().segment_bytes, worst = 0;
	unsigned n = 0;
	while (counted(COUNTER_segments_recycled) == 0)
		set_numbered(n++);
	for (unsigned i = 0; i < 6000; i++) {
		if (i % 16 == 0)
			heat_all();
		uint64_t before = walked_bytes(segment);
		set_numbered(n++);
		uint64_t walked = walked_bytes(segment) - before;
		worst = walked > worst ? walked : worst;
	}
	/* A millisecond's work are some 8 000 entries: eight segments of 128, and all of them copied; then some are emptied whole. */
	cr_assert_leq(worst, (2 * 8 + 24) * segment, "one set walked %lu segments", (unsigned long)(worst / segment));
	cr_assert_gt(worst, 0);
}

/* ---- Step by step ---------------------------------------------------------------------------------------------------------- */

/* A segment of live entries, half of them used, which is no cell's any more. */
static uint32_t sealed_segment(unsigned *keys)
{
	*keys = fill("s", 300, 3 << 10, 0);
	uint32_t segment = kit_segment("s0");
	struct actor *a = kit_actor();
	cr_assert(segment_seal(a, segment, kit_segword(segment), false));
	kit_release(a);
	return segment;
}

static void set_state(uint32_t segment, enum segment_state state)
{
	struct word *w = region_segword(&cache->region, segment);
	store_release(w, segword_with_state(segword_with_next_turn(load_hint(w)), state));
}

static void work(void)
{
	for (unsigned i = 0; i < 200; i++)
		ok(larder_maintain(cache, 1 << 20, NULL));
}

/* As if free segments were short: maintenance then empties live ones, too. */
static void make_pressure(void)
{
	cache->region.geo.reserve = cache->region.geo.segments;
}

Test(evict, a_segment_left_at_any_step_by_a_dead_process_is_finished_by_another)
{
	const enum segment_state states[] = { SEGMENT_DRAINING, SEGMENT_WALKING, SEGMENT_LIMBO };
	for (unsigned i = 0; i < 3; i++) {
		unsigned n;
		uint32_t segment = sealed_segment(&n);
		uint64_t inc = segword_inc(kit_segword(segment));
		if (states[i] == SEGMENT_LIMBO)
			for (unsigned k = 0; k < n; k++) {
				char key[16];
				(void)snprintf(key, sizeof key, "s%u", k);
				(void)del_text(key);
			}
		set_state(segment, states[i]);
		make_pressure();
		work();
		cr_assert_gt(segword_inc(kit_segword(segment)), inc, "state %d", states[i]);
		if (states[i] != SEGMENT_LIMBO)
			reads("s0", NULL);
		is(larder_flush(cache, 0), LARDER_OK);
	}
}

Test(evict, a_walk_goes_on_where_it_was_left_and_does_nothing_twice)
{
	unsigned n;
	uint32_t segment = sealed_segment(&n);
	set_state(segment, SEGMENT_WALKING);
	uint64_t life = segword_life(kit_segword(segment));
	/* All lanes are said to be done, but for the last: nothing of the others is looked at again. */
	for (unsigned lane = 0; lane + 1 < SEGMENT_LANES; lane++)
		store_release(&region_segment(&cache->region, segment)->progress[lane], life_word(life, geo_blocks(&cache->region.geo)));
	make_pressure();
	uint64_t before = stat_now().evictions_small;
	ok(larder_maintain(cache, 2048, NULL));
	cr_assert_leq(stat_now().evictions_small - before, 3);
	kit_damaged = true;
	for (unsigned k = 0; k < n; k++) { /* what was passed over by our lie */
		char key[16];
		(void)snprintf(key, sizeof key, "s%u", k);
		(void)del_text(key);
	}
}

Test(evict, progress_of_another_life_counts_for_nothing)
{
	unsigned n;
	uint32_t segment = sealed_segment(&n);
	uint64_t life = segword_life(kit_segword(segment));
	for (unsigned lane = 0; lane < SEGMENT_LANES; lane++)
		store_release(&region_segment(&cache->region, segment)->progress[lane], life_word(life, geo_blocks(&cache->region.geo)));
	set_state(segment, SEGMENT_DRAINING); /* with the next turn */
	make_pressure();
	work();
	for (unsigned k = 0; k < n; k++) {
		char key[16];
		(void)snprintf(key, sizeof key, "s%u", k);
		reads(key, NULL);
	}
}

Test(evict, an_undecided_insert_in_a_segment_that_goes_is_aborted_and_taken_out)
{
	struct key k = kit_key("pending");
	struct actor *a = kit_actor();
	struct draft d = { .key = "pending", .key_bytes = 7, .value = "v", .value_bytes = 1 };
	struct room room;
	cr_assert(room_append(a, draft_units(&d), POOL_SMALL, 0, NEED_NORMAL, &room));
	room_seal_entry(a, &room, head_with_status(entry_write(room.shm, &d, 0), ENTRY_PENDING), 0);
	cr_assert(cas_seq_cst(probe_slot(&k, 0), SLOT_EMPTY, slot_word(hash_tag(k.hash), room.place.place, room.place.inc)));
	room_leave(a);
	cr_assert(segment_seal(a, room.segment, kit_segword(room.segment), false));
	kit_release(a);
	set_state(room.segment, SEGMENT_DRAINING);
	make_pressure();
	work();
	cr_assert_eq(load_acquire(probe_slot(&k, 0)), SLOT_EMPTY);
	cr_assert_eq(segword_state(kit_segword(room.segment)), SEGMENT_FREE);
}

/* ---- Those who stand in the way ------------------------------------------------------------------------------------------------ */

Test(evict, a_segment_with_a_pin_in_it_waits_in_limbo_and_its_key_is_gone)
{
	struct larder_pin p;
	unsigned n;
	uint32_t segment = sealed_segment(&n);
	ok(larder_pin(cache, 0, "s0", 2, LARDER_NO_COUNT, &p));
	set_state(segment, SEGMENT_DRAINING);
	make_pressure();
	work();
	cr_assert_eq(segword_state(kit_segword(segment)), SEGMENT_LIMBO);
	reads("s0", NULL);
	cr_assert_gt(stat_now().blocked, 0);
	unsigned char wanted[300];
	pattern(wanted, sizeof wanted, 0);
	cr_assert_eq(memcmp(p.data, wanted, sizeof wanted), 0);
	larder_unpin(cache, &p);
	work();
	cr_assert_eq(segword_state(kit_segword(segment)), SEGMENT_FREE);
}

Test(evict, a_segment_with_a_living_writer_waits_in_draining)
{
	struct larder *second = kit_another(0);
	unsigned n;
	uint32_t segment = sealed_segment(&n);
	struct actor *b = kit_actor_of(second);
	hazard_name(b, HAZARD_SEGMENT, segment);
	set_state(segment, SEGMENT_DRAINING);
	make_pressure();
	work();
	cr_assert_eq(segword_state(kit_segword(segment)), SEGMENT_DRAINING);
	const struct octet *blocker = region_segment(&cache->region, segment)->blocker;
	cr_assert_eq((uint32_t)octet_load_hint(&blocker[0]) | (uint32_t)octet_load_hint(&blocker[1]) << 8, b->slot + 1);
	ok(has_text("s0")); /* still readable */
	kit_release(b);
	larder_close(&second);
}

Test(evict, with_everything_pinned_a_set_says_there_is_no_room_and_changes_nothing)
{
	/* One pin for each segment: sixteen from each of as many handles as it takes. */
	struct larder_options o = kit_options(UINT64_C(512) << 10, 0);
	o.segments = 32;
	larder_close(&cache);
	ok(larder_destroy(kit_name));
	kit_open_with(&o);
	static struct larder_pin pins[64];
	struct larder *holders[4];
	unsigned char value[6000]; /* one in each segment */
	unsigned n = 0, held = 0;
	for (unsigned i = 0; i < 4; i++)
		holders[i] = kit_another(0);
	enum larder_status status = LARDER_OK;
	for (; status == LARDER_OK && n < 64; n++) {
		char key[16];
		int length = snprintf(key, sizeof key, "p%u", n);
		pattern(value, sizeof value, n);
		status = larder_set(cache, 0, key, (size_t)length, value, sizeof value, 0);
		if (status == LARDER_OK) {
			ok(larder_pin(holders[held / LARDER_PINS], 0, key, (size_t)length, 0, &pins[held]));
			held++;
		}
	}
	is(status, LARDER_NO_ROOM);
	cr_assert_gt(held, 20);
	cr_assert_gt(stat_now().no_room, 0);
	for (unsigned i = 0; i < held; i++) {
		pattern(value, sizeof value, i);
		cr_assert_eq(memcmp(pins[i].data, value, pins[i].length), 0, "pin %u", i);
	}
	for (unsigned i = 0; i < held; i++)
		larder_unpin(holders[i / LARDER_PINS], &pins[i]);
	ok(put_text("now", "it fits"));
	reads("now", "it fits");
	for (unsigned i = 0; i < 4; i++)
		larder_close(&holders[i]);
}

Test(evict, a_process_killed_with_pins_holds_nothing_back)
{
	unsigned n = fill_percent("f", 60, 0);
	int ready[2];
	char c;
	cr_assert_eq(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		static struct larder_pin pins[LARDER_PINS];
		for (unsigned i = 0; i < LARDER_PINS; i++) {
			char key[16];
			int length = snprintf(key, sizeof key, "f%u", n - 1 - i * (n / 20));
			(void)larder_pin(cache, 0, key, (size_t)length, 0, &pins[i]);
		}
		(void)!write(ready[1], "", 1);
		pause();
		_exit(0);
	}
	cr_assert_eq(read(ready[0], &c, 1), 1);
	(void)fill_percent("g", 150, 0);
	cr_assert_gt(stat_now().segments_recycling, 3, "the living child's pins hold segments");
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	(void)fill_percent("h", 150, 0);
	make_pressure();
	work();
	cr_assert_leq(stat_now().segments_recycling, 1);
	cr_assert_geq(stat_now().recoveries, 1);
}

Test(evict, damaged_hints_do_not_lead_astray)
{
	(void)fill_percent("f", 150, 0);
	struct shm_super *s = region_super(&cache->region);
	store_release(&s->victim, UINT64_MAX);
	store_release(&s->seals, UINT64_MAX);
	for (uint32_t i = 0; i < cache->region.geo.segments; i++) {
		struct shm_segment *d = region_segment(&cache->region, i);
		octet_store_hint(&d->blocker[0], UINT8_MAX);
		octet_store_hint(&d->blocker[1], UINT8_MAX);
		store_release(&d->seal, UINT64_MAX);
		for (unsigned lane = 0; lane < SEGMENT_LANES; lane++)
			octet_store_hint(&d->walker[lane], UINT8_MAX);
	}
	unsigned n = fill_percent("g", 150, 0);
	cr_assert_gt(count_filled("g", 300, n), n / 8);
}

/* Each eight bytes of it look like the head of an entry that would reach over the ones behind it. */
static void put_forged(unsigned k, unsigned char fill)
{
	uint64_t value[40];
	char key[16];
	for (unsigned i = 0; i < 40; i++)
		value[i] = head_make(0, ENTRY_COMMITTED, FIELD_STAMP, 1 + fill % 8, 100 + 50 * (i % 8));
	(void)snprintf(key, sizeof key, "v%u", k);
	ok(larder_set(cache, 0, key, strlen(key), value, sizeof value - k % 5 * 8, LARDER_TTL_NONE));
}

/* What a dead entry leaves looks the same, and covers what lives behind it: a walker that believed it would free a segment
 * to which slots lead, which the check at the end of each test finds. */
Test(evict, values_that_look_like_entries_hide_none)
{
	unsigned n = 0, found = 0;
	for (unsigned round = 0; round < 24; round++) {
		for (uint64_t from = stat_now().segments_recycled; stat_now().segments_recycled < from + cache->region.geo.segments / 8; n++) {
			put_forged(n, (unsigned char)n);
			if (n % 3 == 0 && n > 100) /* larger or smaller: the old place dies */
				put_forged(n - 50 - n % 40, (unsigned char)n);
		}
		uint64_t faults = 0;
		ok(larder_check(cache, kit_report, NULL, &faults));
		cr_assert_eq(faults, 0);
	}
	for (unsigned k = 0; k < n; k++) {
		char key[16];
		(void)snprintf(key, sizeof key, "v%u", k);
		found += has_text(key) == LARDER_OK;
	}
	cr_assert_gt(found, 1000);
	cr_assert_eq(found, stat_now().entries);
}

/* They are the segment's own again: lists full of them would have no room for those that overwrites leave. */
Test(evict, the_places_of_what_is_emptied_are_not_kept)
{
	fill_percent("k", 300, 0);
	cr_assert_gt(stat_now().evictions_small, 1000);
	struct actor *a = kit_actor();
	cr_assert_lt(a->retire.retired_count, 10);
	kit_release(a);
}
