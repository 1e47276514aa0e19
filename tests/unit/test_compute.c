/* SPDX-License-Identifier: BSD-2-Clause */
/* get_or_compute in one process: what is computed, stored, handed out, waited for. */
#include "kit.h"

#include <pthread.h>

#include "larder/policy.h"

TestSuite(compute, .init = kit_open, .fini = kit_close);

/* A loader that does as it is told, and counts. */
struct work {
	enum larder_status answer;
	const char *value;
	long sleep_ms;
	unsigned loads, releases;
	const char *before_return; /* a key that is deleted while the loader is at work */
	const char *invalidates;   /* a tag */
};

static void count_release(struct larder_loaded *loaded) { ((struct work *)loaded->own)->releases++; }

static enum larder_status load(void *arg, struct larder_loaded *loaded)
{
	struct work *w = arg;
	__atomic_add_fetch(&w->loads, 1, __ATOMIC_RELAXED);
	sleep_ms(w->sleep_ms);
	if (w->before_return != NULL)
		(void)del_text(w->before_return);
	if (w->invalidates != NULL)
		is(larder_tag_invalidate(cache, w->invalidates), LARDER_OK);
	loaded->own = w;
	loaded->release = count_release;
	loaded->value = w->value;
	loaded->value_bytes = w->value != NULL ? strlen(w->value) : 0;
	return w->answer;
}

static char buffer[64];
static size_t length;
static struct larder_computed how;

static enum larder_status compute(const char *key, struct work *w, const struct larder_compute_options *o)
{
	length = 77;
	return larder_get_or_compute(cache, 0, key, strlen(key), load, w, o, buffer, sizeof buffer, &length, &how);
}
static bool got(const char *value) { return length == strlen(value) && memcmp(buffer, value, length) == 0; }

Test(compute, a_missing_value_is_computed_once_and_found_from_then_on)
{
	struct work w = { .value = "value" };
	is(compute("k", &w, NULL), LARDER_OK);
	cr_assert(got("value") && how.computed && how.stored && how.cost_us > 0 && w.loads == 1 && w.releases == 1);
	is(compute("k", &w, NULL), LARDER_OK);
	cr_assert(got("value") && !how.computed && !how.stored && w.loads == 1);
	reads("k", "value");
}

Test(compute, a_value_that_does_not_fit_is_stored_for_the_next_call)
{
	struct work w = { .value = "long" };
	is(larder_get_or_compute(cache, 0, "k", 1, load, &w, NULL, buffer, 2, &length, &how), LARDER_SHORT);
	cr_assert(length == 4 && how.stored);
	is(compute("k", &w, NULL), LARDER_OK);
	cr_assert(got("long") && w.loads == 1);
}

Test(compute, that_there_is_no_value_is_remembered_for_its_own_time)
{
	struct larder_compute_options o = LARDER_COMPUTE_OPTIONS_INIT;
	struct work w = { .answer = LARDER_ABSENT };
	o.absent_ttl_ms = MINUTE;
	is(compute("k", &w, &o), LARDER_ABSENT);
	cr_assert(length == 0 && how.computed && how.stored);
	is(compute("k", &w, &o), LARDER_ABSENT);
	cr_assert(!how.computed && w.loads == 1);
	is(larder_get(cache, 0, "k", 1, buffer, sizeof buffer, &length), LARDER_ABSENT);
	(void)kit_pass(MINUTE);
	is(compute("k", &w, &o), LARDER_ABSENT);
	cr_assert_eq(w.loads, 2);
	o.absent_ttl_ms = 0;
	is(del_text("k"), LARDER_MISS); /* to a delete there is nothing */
	is(compute("k", &w, &o), LARDER_ABSENT);
	is(compute("k", &w, &o), LARDER_ABSENT);
	cr_assert(w.loads == 4 && w.releases == 4, "without a time it is not remembered");
}

Test(compute, a_failure_is_passed_on_and_leaves_no_lease)
{
	struct work w = { .answer = LARDER_SYSTEM };
	is(compute("k", &w, NULL), LARDER_SYSTEM);
	w.answer = LARDER_OK;
	w.value = "value";
	is(compute("k", &w, NULL), LARDER_OK);
	cr_assert(got("value") && w.loads == 2 && how.stored);
}

/* Computes the key "k" with options that leave it stale, and lets that come. */
static struct larder_compute_options grown_stale(const char *value)
{
	struct larder_compute_options o = LARDER_COMPUTE_OPTIONS_INIT;
	struct work w = { .value = value };
	o.set.ttl_ms = MINUTE;
	o.set.grace_ms = 60 * MINUTE;
	is(compute("k", &w, &o), LARDER_OK);
	(void)kit_pass(MINUTE);
	return o;
}

Test(compute, a_stale_value_stands_in_for_a_failure)
{
	struct larder_compute_options o = grown_stale("old");
	struct work w = { .answer = LARDER_SYSTEM };
	is(compute("k", &w, &o), LARDER_STALE);
	cr_assert(got("old") && w.loads == 1);
	w = (struct work){ .value = "new" };
	is(compute("k", &w, &o), LARDER_OK);
	cr_assert(got("new") && w.loads == 1);
}

Test(compute, a_value_that_was_invalidated_meanwhile_is_handed_out_and_not_stored)
{
	static const char *const tags[] = { "red" };
	struct larder_compute_options o = LARDER_COMPUTE_OPTIONS_INIT;
	struct work w = { .value = "value", .before_return = "k" };
	is(compute("k", &w, NULL), LARDER_OK);
	cr_assert(got("value") && how.computed && !how.stored && how.store_status == LARDER_CHANGED);
	reads("k", NULL);
	w = (struct work){ .value = "value", .invalidates = "red" };
	o.set.tags = tags;
	o.set.tag_count = 1;
	is(compute("k", &w, &o), LARDER_OK);
	cr_assert(got("value") && how.store_status == LARDER_CHANGED);
	reads("k", NULL);
}

struct helper { const char *key; struct work *work; const struct larder_compute_options *options; enum larder_status status; char value[64]; size_t bytes;
	struct larder_computed how; };
static void *help(void *arg)
{
	struct helper *h = arg;
	h->status = larder_get_or_compute(cache, 0, h->key, strlen(h->key), load, h->work, h->options, h->value, sizeof h->value, &h->bytes, &h->how);
	return NULL;
}

Test(compute, of_many_threads_one_computes_and_the_others_wait_for_it)
{
	enum { THREADS = 8 };
	struct work w = { .value = "value", .sleep_ms = 80 };
	struct helper h[THREADS];
	pthread_t thread[THREADS];
	unsigned computed = 0;
	for (unsigned i = 0; i < THREADS; i++) {
		h[i] = (struct helper){ .key = "k", .work = &w };
		cr_assert_eq(pthread_create(&thread[i], NULL, help, &h[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		cr_assert(h[i].status == LARDER_OK && h[i].bytes == 5 && memcmp(h[i].value, "value", 5) == 0);
		computed += h[i].how.computed;
	}
	cr_assert(w.loads == 1 && computed == 1, "%u loads", w.loads);
}

/* Somebody holds the lease for longer than anybody waits. */
static struct larder_lease hold(struct larder *by, const char *key)
{
	struct larder_lease lease;
	struct larder_lease_options o = { .size = sizeof o, .flags = LARDER_ALLOW_STALE };
	(void)larder_lease(by, 0, key, strlen(key), &o, buffer, sizeof buffer, NULL, &lease);
	cr_assert(lease.held);
	return lease;
}

Test(compute, who_waited_in_vain_computes_alone_and_stores_nothing)
{
	struct larder *other = kit_another(0);
	struct larder_compute_options o = LARDER_COMPUTE_OPTIONS_INIT;
	struct work w = { .value = "mine" };
	struct larder_lease l = hold(other, "k");
	o.wait_ms = 40;
	is(compute("k", &w, &o), LARDER_OK);
	cr_assert(got("mine") && how.timed_out && how.computed && !how.stored);
	reads("k", NULL);
	o.wait_ms = -1;
	is(compute("k", &w, &o), LARDER_OK);
	o.flags = LARDER_COMPUTE_NEVER_ALONE;
	is(compute("k", &w, &o), LARDER_TIMEOUT);
	cr_assert_eq(w.loads, 2);
	is(larder_lease_set(other, 0, "k", 1, "theirs", 6, NULL, l.token, NULL), LARDER_OK);
	is(compute("k", &w, &o), LARDER_OK);
	cr_assert(got("theirs"));
	larder_close(&other);
}

Test(compute, while_another_computes_the_stale_value_is_answered_at_once_or_after_the_wait)
{
	struct larder *other = kit_another(0);
	struct larder_compute_options o = grown_stale("old");
	struct work w = { .value = "new" };
	(void)kit_pass_of(other, MINUTE);
	(void)hold(other, "k");
	o.flags = LARDER_COMPUTE_STALE;
	is(compute("k", &w, &o), LARDER_STALE);
	cr_assert(got("old") && !how.timed_out && !how.computed);
	o.flags = 0;
	o.wait_ms = 30;
	is(compute("k", &w, &o), LARDER_STALE);
	cr_assert(got("old") && how.timed_out && w.loads == 0);
	larder_close(&other);
}

Test(compute, the_cost_is_measured_and_kept_for_early_refreshes)
{
	struct larder_compute_options o = LARDER_COMPUTE_OPTIONS_INIT;
	struct work w = { .value = "v", .sleep_ms = 30 };
	o.beta = 1;
	o.set.ttl_ms = 100000;
	is(compute("k", &w, &o), LARDER_OK);
	struct larder_meta m = meta_of("k");
	cr_assert(how.cost_us >= 30000 && how.cost_us < 100000000 && m.cost_us == how.cost_us, "%u", m.cost_us);
	o.beta = 1000;
	o.set.ttl_ms = 10; /* all but certain to be refreshed before it ends */
	is(del_text("k"), LARDER_OK);
	is(compute("k", &w, &o), LARDER_OK);
	w.value = "w";
	is(compute("k", &w, &o), LARDER_OK);
	cr_assert(got("w") && how.computed && how.stored && w.loads == 3);
}

Test(compute, a_loader_says_how_long_its_value_is_good)
{
	struct larder_compute_options o = LARDER_COMPUTE_OPTIONS_INIT;
	struct work w = { .value = "v" };
	o.set.ttl_ms = 60 * MINUTE;
	o.set.user_flags = 9;
	is(compute("k", &w, &o), LARDER_OK);
	struct larder_meta m = meta_of("k");
	cr_assert(m.ttl_left_ms > 50 * MINUTE && m.ttl_left_ms <= 60 * MINUTE && m.user_flags == 9);
}

Test(compute, without_room_for_a_lease_it_computes_all_the_same)
{
	struct work w = { .value = "v" };
	is(larder_namespace_quota(cache, 0, 8), LARDER_OK); /* no entry is as small as that */
	is(compute("k", &w, NULL), LARDER_OK);
	cr_assert(got("v") && how.computed && !how.stored);
}

Test(compute, arguments_out_of_range_are_refused_before_anything_is_computed)
{
	struct larder_compute_options o = LARDER_COMPUTE_OPTIONS_INIT, bad;
	struct work w = { .value = "v" };
#define refused(what) do { \
		bad = o; \
		bad.what; \
		enum larder_status status = compute("k", &w, &bad); \
		cr_assert_eq(status, LARDER_INVALID, "%s: %d", #what, status); \
	} while (0)
	refused(size = 1);
	refused(flags = 8);
	refused(wait_ms = -2);
	refused(absent_ttl_ms = -1);
	refused(hold_ms = -1);
	refused(beta = -0.5);
	refused(set.mode = LARDER_ADD);
	refused(set.size = 3);
	refused(set.flags = LARDER_SET_ABSENT);
	refused(set.jitter_percent = 101);
	is(larder_get_or_compute(cache, 0, "k", 1, NULL, &w, &o, buffer, 8, NULL, NULL), LARDER_INVALID);
	is(larder_get_or_compute(cache, 0, "", 0, load, &w, &o, buffer, 8, NULL, NULL), LARDER_KEY_SIZE);
	cr_assert_eq(w.loads, 0);
}
