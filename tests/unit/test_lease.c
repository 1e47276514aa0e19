/* SPDX-License-Identifier: BSD-2-Clause */
/* Leases in one process: who holds them, what ends them, what stays readable under them. */
#include "kit.h"

#include <math.h>
#include <pthread.h>

#include "cache/lease.h"

TestSuite(lease, .init = kit_open, .fini = kit_close);

static struct larder *other; /* another participant, for a lease is a participant's */

static struct larder_lease take_by(struct larder *by, const char *key, uint32_t flags, enum larder_status wanted, const char *value)
{
	struct larder_lease_options o = LARDER_LEASE_OPTIONS_INIT;
	struct larder_lease lease;
	char buffer[256];
	size_t n = 99;
	o.flags = flags;
	enum larder_status status = larder_lease(by, 0, key, strlen(key), &o, buffer, sizeof buffer, &n, &lease);
	cr_assert_eq(status, wanted, "lease of %s: %d, not %d", key, status, wanted);
	if (value != NULL)
		cr_assert(n == strlen(value) && memcmp(buffer, value, n) == 0, "%.*s, not %s", (int)n, buffer, value);
	cr_assert_eq(lease.held, lease.token != 0);
	return lease;
}
static struct larder_lease take(const char *key, enum larder_status wanted) { return take_by(cache, key, LARDER_ALLOW_STALE, wanted, NULL); }

static enum larder_status set_by(const char *key, const char *value, uint64_t token)
{
	return larder_lease_set(cache, 0, key, strlen(key), value, strlen(value), NULL, token, NULL);
}
static enum larder_status release(const char *key, uint64_t token) { return larder_lease_release(cache, 0, key, strlen(key), token); }
static enum larder_status wait_for(struct larder *by, const char *key, int64_t ms) { return larder_lease_wait(by, 0, key, strlen(key), ms); }

static void set_with_grace(const char *key, const char *value, int64_t ttl_ms, uint32_t grace_ms, uint32_t cost_us)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	o.ttl_ms = ttl_ms;
	o.grace_ms = grace_ms;
	o.cost_us = cost_us;
	o.user_flags = 7;
	is(larder_set_with(cache, 0, key, strlen(key), value, strlen(value), &o, NULL), LARDER_OK);
}

Test(lease, the_first_to_miss_holds_it_and_nobody_else_does)
{
	other = kit_another(0);
	cr_assert(take("k", LARDER_MISS).held);
	cr_assert_not(take("k", LARDER_MISS).held, "not even the holder again");
	cr_assert_not(take_by(other, "k", 0, LARDER_MISS, NULL).held);
	reads("k", NULL);
	is(has_text("k"), LARDER_MISS);
	larder_close(&other);
}

Test(lease, a_set_by_token_counts_once_and_ends_it)
{
	struct larder_lease l = take("k", LARDER_MISS);
	is(set_by("k", "no", l.token + 1), LARDER_CHANGED);
	is(set_by("k", "no", 0), LARDER_CHANGED);
	is(set_by("k", "value", l.token), LARDER_OK);
	reads("k", "value");
	is(set_by("k", "late", l.token), LARDER_CHANGED);
	cr_assert_not(take("k", LARDER_OK).held);
	reads("k", "value");
}

Test(lease, anything_that_happens_to_the_key_ends_it)
{
	uint64_t version;
	for (unsigned what = 0; what < 9; what++) {
		struct larder_lease l = take("k", LARDER_MISS);
		cr_assert(l.held);
		switch (what) {
		case 0: is(put_text("k", "set"), LARDER_OK); break;
		case 1: is(larder_add(cache, 0, "k", 1, "set", 3, 0), LARDER_OK); break;
		case 2: is(del_text("k"), LARDER_MISS); break;
		case 3: is(larder_flush(cache, 0), LARDER_OK); break;
		case 4: is(larder_flush_soft(cache, 0), LARDER_OK); break;
		case 5: is(larder_incr(cache, 0, "k", 1, 1, NULL), LARDER_OK); break;
		case 6: is(release("k", l.token), LARDER_OK); break;
		case 7: is(larder_delete_prefix(cache, 0, "k", 1, 0, &(struct larder_sweep){ 0 }), LARDER_OK); break;
		case 8: is(larder_get_and_set(cache, 0, "k", 1, "set", 3, 0, &version, 8, NULL), LARDER_MISS); break;
		}
		is(set_by("k", "late", l.token), LARDER_CHANGED);
		(void)del_text("k");
	}
}

Test(lease, replace_append_and_touch_take_it_for_an_absent_key)
{
	struct larder_lease l = take("k", LARDER_MISS);
	is(larder_replace(cache, 0, "k", 1, "x", 1, 0), LARDER_MISS);
	is(larder_append(cache, 0, "k", 1, "x", 1), LARDER_MISS);
	is(larder_touch(cache, 0, "k", 1, 1000), LARDER_MISS);
	is(larder_incr_with(cache, 0, "k", 1, 1, false, 0, 0, NULL), LARDER_MISS);
	is(set_by("k", "value", l.token), LARDER_OK);
	reads("k", "value");
}

Test(lease, a_released_one_is_the_next_callers)
{
	struct larder_lease l = take("k", LARDER_MISS);
	is(release("k", l.token), LARDER_OK);
	is(release("k", l.token), LARDER_CHANGED);
	struct larder_lease next = take("k", LARDER_MISS);
	cr_assert(next.held && next.token != l.token);
	struct larder_stat s = stat_now();
	cr_assert(s.leases == 2 && s.leases_released == 1 && s.leases_taken_over == 0 && s.sets == 0 && s.flushed == 0);
}

Test(lease, one_that_is_over_is_anyones_and_a_late_set_fails)
{
	struct larder_lease_options o = LARDER_LEASE_OPTIONS_INIT;
	struct larder_lease first;
	other = kit_another(0);
	o.hold_ms = 10 * 1000;
	is(larder_lease(cache, 0, "k", 1, &o, NULL, 0, NULL, &first), LARDER_MISS);
	cr_assert(first.held);
	is(wait_for(other, "k", 0), LARDER_TIMEOUT);
	(void)kit_pass(10 * 1000);
	(void)kit_pass_of(other, 10 * 1000);
	is(wait_for(other, "k", 0), LARDER_OK);
	is(set_by("k", "late", first.token), LARDER_CHANGED);
	struct larder_lease second = take_by(other, "k", 0, LARDER_MISS, NULL);
	cr_assert(second.held);
	is(set_by("k", "late", first.token), LARDER_CHANGED);
	is(set_by("k", "value", second.token), LARDER_OK); /* a token is good in any hand */
	larder_close(&other);
}

Test(lease, a_holder_that_closed_loses_it_at_once)
{
	other = kit_another(0);
	struct larder_lease lost = take_by(other, "k", 0, LARDER_MISS, NULL);
	cr_assert(lost.held);
	cr_assert_not(take("k", LARDER_MISS).held);
	larder_close(&other);
	struct larder_lease l = take("k", LARDER_MISS);
	cr_assert(l.held);
	cr_assert_eq(stat_now().leases_taken_over, 1);
	is(set_by("k", "late", lost.token), LARDER_CHANGED);
	is(set_by("k", "value", l.token), LARDER_OK);
}

/* ---- Stale values ------------------------------------------------------------------------------------------------------- */

Test(lease, a_value_in_its_grace_is_a_miss_to_a_get_and_stale_to_those_who_ask)
{
	char buffer[16];
	size_t n;
	struct larder_meta meta;
	set_with_grace("k", "old", MINUTE, 60 * MINUTE, 0);
	reads("k", "old");
	(void)kit_pass(MINUTE);
	reads("k", NULL);
	is(larder_get_with(cache, 0, "k", 1, buffer, sizeof buffer, &n, LARDER_ALLOW_STALE, &meta), LARDER_STALE);
	cr_assert(n == 3 && memcmp(buffer, "old", 3) == 0 && meta.stale && !meta.leased && meta.grace_ms == 60 * MINUTE && meta.user_flags == 7);
	cr_assert_eq(stat_now().expirations, 0, "it stays");
	is(del_text("k"), LARDER_MISS); /* to a delete it is gone, which takes it out all the same */
	is(larder_get_with(cache, 0, "k", 1, buffer, sizeof buffer, &n, LARDER_ALLOW_STALE, &meta), LARDER_MISS);
	set_with_grace("k", "old", MINUTE, 60 * MINUTE, 0);
	(void)kit_pass(MINUTE);
	is(larder_add(cache, 0, "k", 1, "new", 3, 0), LARDER_OK); /* and to an add */
	reads("k", "new");
}

Test(lease, past_its_grace_it_is_gone)
{
	char buffer[16];
	set_with_grace("k", "old", MINUTE, MINUTE, 0);
	(void)kit_pass(2 * MINUTE);
	is(larder_get_with(cache, 0, "k", 1, buffer, sizeof buffer, NULL, LARDER_ALLOW_STALE, NULL), LARDER_MISS);
	cr_assert_eq(stat_now().expirations, 1);
}

Test(lease, a_stale_value_stays_readable_under_the_lease_and_keeps_its_version)
{
	struct larder_meta before, under;
	char buffer[16];
	set_with_grace("k", "old", MINUTE, 60 * MINUTE, 5);
	before = meta_of("k");
	int64_t passed = kit_pass(MINUTE);
	struct larder_lease l = take_by(cache, "k", LARDER_ALLOW_STALE, LARDER_STALE, "old");
	cr_assert(l.held && l.meta.stale);
	is(larder_get_with(cache, 0, "k", 1, buffer, sizeof buffer, NULL, LARDER_ALLOW_STALE, &under), LARDER_STALE);
	cr_assert(under.leased && under.version == before.version && llabs(before.created_at_ms - passed - under.created_at_ms) <= 5
			&& llabs(before.expires_at_ms - passed - under.expires_at_ms) <= 5 && under.user_flags == 7 && under.cost_us == 5);
	cr_assert_not(take_by(cache, "k", LARDER_ALLOW_STALE, LARDER_STALE, "old").held);
	cr_assert_not(take_by(cache, "k", 0, LARDER_MISS, NULL).held, "without the flag it is a miss");
	is(release("k", l.token), LARDER_OK);
	l = take_by(cache, "k", LARDER_ALLOW_STALE, LARDER_STALE, "old");
	cr_assert(l.held, "as it was before the lease");
	is(set_by("k", "new", l.token), LARDER_OK);
	reads("k", "new");
}

Test(lease, a_softly_flushed_value_stays_stale_under_the_lease_and_after_it)
{
	is(put_text("k", "old"), LARDER_OK);
	is(larder_flush_soft(cache, 0), LARDER_OK);
	struct larder_lease l = take_by(cache, "k", LARDER_ALLOW_STALE, LARDER_STALE, "old");
	cr_assert(l.held);
	reads("k", NULL);
	is(release("k", l.token), LARDER_OK);
	reads("k", NULL);
	l = take_by(cache, "k", LARDER_ALLOW_STALE, LARDER_STALE, "old");
	cr_assert(l.held);
	is(larder_flush_soft(cache, 0), LARDER_OK);
	is(set_by("k", "late", l.token), LARDER_CHANGED); /* flushed again */
	l = take_by(cache, "k", LARDER_ALLOW_STALE, LARDER_STALE, "old");
	is(larder_flush(cache, 0), LARDER_OK);
	is(set_by("k", "late", l.token), LARDER_CHANGED);
	cr_assert(take("k", LARDER_MISS).held, "flushed hard: nothing of it is left");
}

Test(lease, a_stale_value_of_many_pieces_is_kept_without_copying_them)
{
	static unsigned char value[50000], back[50000];
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_lease_options lo = { .size = sizeof lo, .flags = LARDER_ALLOW_STALE };
	struct larder_lease l;
	size_t n;
	pattern(value, sizeof value, 3);
	o.ttl_ms = MINUTE;
	o.grace_ms = 60 * MINUTE;
	is(larder_set_with(cache, 0, "big", 3, value, sizeof value, &o, NULL), LARDER_OK);
	(void)kit_pass(MINUTE);
	uint64_t written = stat_now().inserted_bytes;
	for (unsigned round = 0; round < 3; round++) {
		is(larder_lease(cache, 0, "big", 3, &lo, back, sizeof back, &n, &l), LARDER_STALE);
		cr_assert(l.held && n == sizeof value && memcmp(back, value, n) == 0);
		memset(back, 0, sizeof back);
		is(larder_get_with(cache, 0, "big", 3, back, sizeof back, &n, LARDER_ALLOW_STALE, NULL), LARDER_STALE);
		cr_assert(n == sizeof value && memcmp(back, value, n) == 0);
		is(release("big", l.token), LARDER_OK);
	}
	cr_assert(stat_now().inserted_bytes - written < 3000, "%lu bytes written", (unsigned long)(stat_now().inserted_bytes - written));
	is(larder_lease(cache, 0, "big", 3, &lo, back, sizeof back, &n, &l), LARDER_STALE);
	pattern(value, sizeof value, 4);
	is(larder_lease_set(cache, 0, "big", 3, value, sizeof value, NULL, l.token, NULL), LARDER_OK);
	is(larder_get(cache, 0, "big", 3, back, sizeof back, &n), LARDER_OK);
	cr_assert_eq(memcmp(back, value, n), 0);
}

Test(lease, a_stale_value_that_does_not_fit_the_buffer_is_short_and_leaves_the_lease)
{
	struct larder_lease_options o = { .size = sizeof o, .flags = LARDER_ALLOW_STALE };
	struct larder_lease l;
	char small[2];
	size_t n;
	set_with_grace("k", "value", MINUTE, 60 * MINUTE, 0);
	(void)kit_pass(MINUTE);
	is(larder_lease(cache, 0, "k", 1, &o, small, sizeof small, &n, &l), LARDER_SHORT);
	cr_assert(n == 5 && !l.held);
	cr_assert(take("k", LARDER_STALE).held);
}

Test(lease, a_stale_counter_is_kept_as_its_digits)
{
	is(larder_incr(cache, 0, "n", 1, 5, NULL), LARDER_OK);
	is(larder_flush_soft(cache, 0), LARDER_OK);
	struct larder_lease l = take("n", LARDER_STALE);
	cr_assert(l.held);
	cr_assert_not(take_by(cache, "n", LARDER_ALLOW_STALE, LARDER_STALE, "5").held);
	is(set_by("n", "7", l.token), LARDER_OK);
	reads("n", "7");
}

/* ---- Early refresh --------------------------------------------------------------------------------------------------------- */

Test(lease, the_chance_of_an_early_refresh_grows_with_cost_and_nearness)
{
	cr_assert_float_eq(lease_early_ms(1000, 1, exp(-1)), 1.0, 1e-9);
	cr_assert_float_eq(lease_early_ms(1000000, 2, exp(-3)), 6000.0, 1e-6);
	cr_assert_float_eq(lease_early_ms(1000, 1, 1), 0.0, 1e-9);
}

Test(lease, a_costly_value_near_its_end_is_refreshed_by_one_and_read_by_the_others)
{
	struct larder_lease_options o = { .size = sizeof o, .beta = 1000 };
	struct larder_lease l;
	char buffer[16];
	size_t n;
	other = kit_another(0);
	set_with_grace("k", "old", MINUTE, 0, UINT32_MAX); /* all but certain: fifty days before its end */
	is(larder_lease(cache, 0, "k", 1, &o, buffer, sizeof buffer, &n, &l), LARDER_OK);
	cr_assert(l.held && n == 3);
	reads_in(other, 0, "k", "old");
	struct larder_lease theirs;
	is(larder_lease(other, 0, "k", 1, &o, buffer, sizeof buffer, &n, &theirs), LARDER_OK);
	cr_assert_not(theirs.held);
	is(set_by("k", "new", l.token), LARDER_OK);
	reads_in(other, 0, "k", "new");
	o.beta = 0;
	is(larder_lease(cache, 0, "k", 1, &o, buffer, sizeof buffer, &n, &l), LARDER_OK);
	cr_assert_not(l.held);
	larder_close(&other);
}

Test(lease, early_refreshes_are_as_frequent_as_xfetch_says)
{
	/* 10 ms of cost, beta 1, an hour before the end: P = exp(-left / 10 ms), none; 4000 s of cost, 4000 s left: 1/e of all. */
	struct larder_lease_options o = { .size = sizeof o, .beta = 1 };
	unsigned held = 0, tries = 2000;
	char buffer[16];
	set_with_grace("far", "v", 60 * MINUTE, 0, 10000);
	set_with_grace("near", "v", 4000000, 0, 4000000000);
	for (unsigned i = 0; i < tries; i++) {
		struct larder_lease l;
		is(larder_lease(cache, 0, "far", 3, &o, buffer, sizeof buffer, NULL, &l), LARDER_OK);
		cr_assert_not(l.held);
		is(larder_lease(cache, 0, "near", 4, &o, buffer, sizeof buffer, NULL, &l), LARDER_OK);
		if (l.held)
			is(release("near", l.token), LARDER_OK);
		held += l.held;
	}
	cr_assert(held > tries * 30 / 100 && held < tries * 44 / 100, "%u of %u, about 0.368 of them expected", held, tries);
}

Test(lease, a_users_cas_is_not_disturbed_by_an_early_refresh)
{
	struct larder_lease_options o = { .size = sizeof o, .beta = 1000 };
	struct larder_lease l;
	char buffer[16];
	set_with_grace("k", "old", MINUTE, 0, UINT32_MAX);
	uint64_t version = meta_of("k").version;
	is(larder_lease(cache, 0, "k", 1, &o, buffer, sizeof buffer, NULL, &l), LARDER_OK);
	cr_assert(l.held && meta_of("k").version == version);
	is(larder_cas(cache, 0, "k", 1, "cas", 3, 0, version), LARDER_OK);
	is(set_by("k", "late", l.token), LARDER_CHANGED);
	reads("k", "cas");
}

/* ---- Tags and leases --------------------------------------------------------------------------------------------------------- */

static const char *const red[] = { "red" };

Test(lease, a_tag_invalidated_meanwhile_makes_the_set_fail_whenever_it_is_first_named)
{
	struct larder_lease_options o = { .size = sizeof o, .tag_count = 1, .tags = red };
	struct larder_set_options so = LARDER_SET_OPTIONS_INIT;
	struct larder_lease l;
	so.tag_count = 1;
	so.tags = red;
	is(larder_lease(cache, 0, "a", 1, &o, NULL, 0, NULL, &l), LARDER_MISS);
	is(larder_tag_invalidate(cache, "red"), LARDER_OK);
	is(larder_lease_set(cache, 0, "a", 1, "v", 1, NULL, l.token, NULL), LARDER_CHANGED); /* named at the lease */
	o.tag_count = 0;
	is(larder_lease(cache, 0, "b", 1, &o, NULL, 0, NULL, &l), LARDER_MISS);
	cr_assert(l.held);
	is(larder_tag_invalidate(cache, "red"), LARDER_OK);
	is(larder_lease_set(cache, 0, "b", 1, "v", 1, &so, l.token, NULL), LARDER_CHANGED); /* named at the set */
	is(larder_lease_set(cache, 0, "b", 1, "v", 1, NULL, l.token, NULL), LARDER_OK); /* the lease itself has no such tag */
	is(larder_lease(cache, 0, "c", 1, &o, NULL, 0, NULL, &l), LARDER_MISS);
	is(larder_lease_set(cache, 0, "c", 1, "v", 1, &so, l.token, NULL), LARDER_OK);
	reads("c", "v");
	is(larder_tag_invalidate(cache, "red"), LARDER_OK);
	reads("c", NULL);
}

Test(lease, an_old_values_tag_hides_it_under_the_lease)
{
	struct larder_set_options so = LARDER_SET_OPTIONS_INIT;
	char buffer[16];
	so.tag_count = 1;
	so.tags = red;
	so.ttl_ms = MINUTE;
	so.grace_ms = 60 * MINUTE;
	is(larder_set_with(cache, 0, "k", 1, "old", 3, &so, NULL), LARDER_OK);
	(void)kit_pass(MINUTE);
	struct larder_lease l = take_by(cache, "k", LARDER_ALLOW_STALE, LARDER_STALE, "old");
	is(larder_tag_invalidate(cache, "red"), LARDER_OK);
	is(larder_get_with(cache, 0, "k", 1, buffer, sizeof buffer, NULL, LARDER_ALLOW_STALE, NULL), LARDER_MISS);
	is(set_by("k", "late", l.token), LARDER_CHANGED);
}

/* ---- Others ------------------------------------------------------------------------------------------------------------------- */

Test(lease, it_survives_eviction_while_it_is_young)
{
	struct larder_lease l = take("k", LARDER_MISS);
	(void)fill_percent("filler", 150, LARDER_TTL_NONE); /* the small pool goes round three times */
	cr_assert_gt(stat_now().evictions_small, 0);
	is(set_by("k", "value", l.token), LARDER_OK);
	reads("k", "value");
}

Test(lease, plain_caches_have_leases_too, .init = kit_open_plain)
{
	struct larder_lease l = take("k", LARDER_MISS);
	cr_assert(l.held);
	is(set_by("k", "no", l.token + 1), LARDER_CHANGED);
	is(set_by("k", "value", l.token), LARDER_OK);
	reads("k", "value");
	set_with_grace("s", "old", MINUTE, 60 * MINUTE, 0);
	(void)kit_pass(MINUTE);
	l = take_by(cache, "s", LARDER_ALLOW_STALE, LARDER_STALE, "old");
	cr_assert(l.held);
	is(put_text("s", "set"), LARDER_OK);
	is(set_by("s", "late", l.token), LARDER_CHANGED);
}

Test(lease, values_under_checksums_stay_whole, .init = kit_open_checksum)
{
	set_with_grace("s", "old", MINUTE, 60 * MINUTE, 0);
	(void)kit_pass(MINUTE);
	struct larder_lease l = take_by(cache, "s", LARDER_ALLOW_STALE, LARDER_STALE, "old");
	cr_assert(l.held);
	cr_assert_not(take_by(cache, "s", LARDER_ALLOW_STALE, LARDER_STALE, "old").held);
	is(set_by("s", "new", l.token), LARDER_OK);
	reads("s", "new");
}

Test(lease, an_inspector_takes_none)
{
	struct larder *eye = kit_another(LARDER_INSPECT);
	struct larder_lease l;
	is(larder_lease(eye, 0, "k", 1, NULL, NULL, 0, NULL, &l), LARDER_READ_ONLY);
	is(larder_lease_set(eye, 0, "k", 1, "v", 1, NULL, 1, NULL), LARDER_READ_ONLY);
	is(larder_lease_release(eye, 0, "k", 1, 1), LARDER_READ_ONLY);
	is(larder_lease_wait(eye, 0, "k", 1, 0), LARDER_READ_ONLY);
	larder_close(&eye);
}

Test(lease, options_out_of_range_are_refused)
{
	struct larder_lease_options o = LARDER_LEASE_OPTIONS_INIT, bad;
	struct larder_set_options so = LARDER_SET_OPTIONS_INIT;
	struct larder_lease l;
	const char *const empty[] = { "" };
#define refused(what) do { \
		bad = o; \
		bad.what; \
		cr_assert_eq(larder_lease(cache, 0, "k", 1, &bad, NULL, 0, NULL, &l), LARDER_INVALID, "%s", #what); \
	} while (0)
	refused(size = 8);
	refused(flags = 1u << 9);
	refused(hold_ms = -1);
	refused(hold_ms = LARDER_HOLD_MAX_MS + 1);
	refused(beta = -1);
	refused(beta = 1001);
	refused(beta = NAN);
	refused(tag_count = 1);
	bad = o;
	bad.tags = empty;
	bad.tag_count = 1;
	is(larder_lease(cache, 0, "k", 1, &bad, NULL, 0, NULL, &l), LARDER_INVALID);
	is(larder_lease(cache, 0, "k", 1, &o, NULL, 0, NULL, NULL), LARDER_INVALID);
	is(larder_lease(cache, 0, "", 0, &o, NULL, 0, NULL, &l), LARDER_KEY_SIZE);
	is(larder_lease(cache, 99, "k", 1, &o, NULL, 0, NULL, &l), LARDER_INVALID);
	is(wait_for(cache, "k", -1), LARDER_INVALID);
	so.mode = LARDER_ADD;
	is(larder_lease_set(cache, 0, "k", 1, "v", 1, &so, 1, NULL), LARDER_INVALID);
}

static void *set_soon(void *token)
{
	sleep_ms(50);
	is(set_by("k", "value", *(uint64_t *)token), LARDER_OK);
	return NULL;
}

Test(lease, a_waiter_wakes_when_the_value_comes)
{
	struct timespec begin, end;
	pthread_t thread;
	struct larder_lease l = take("k", LARDER_MISS);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	cr_assert_eq(pthread_create(&thread, NULL, set_soon, &l.token), 0);
	is(wait_for(cache, "k", 60000), LARDER_OK);
	clock_gettime(CLOCK_MONOTONIC, &end);
	pthread_join(thread, NULL);
	long ms = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
	cr_assert(ms >= 45 && ms < 30000, "%ld ms", ms);
	reads("k", "value");
}

Test(lease, a_wait_is_over_in_time)
{
	struct timespec begin, end;
	cr_assert(take("k", LARDER_MISS).held);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	is(wait_for(cache, "k", 60), LARDER_TIMEOUT);
	clock_gettime(CLOCK_MONOTONIC, &end);
	long ms = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
	cr_assert(ms >= 59 && ms < 30000, "%ld ms", ms);
	is(wait_for(cache, "nobody's", 60000), LARDER_OK);
}
