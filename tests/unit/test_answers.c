/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every call on a cache answers where it can do nothing: with no cache, on an inspector's handle, on a cache that was destroyed,
 * with a key that is none, in a namespace that there is not, with nowhere to put the answer.  One row a call: the
 * table is what larder.h, larder/policy.h and larder/monitor.h promise of them.
 */
#include "kit.h"

#include <larder/monitor.h>
#include <larder/policy.h>

static char buffer[64];
static size_t length;

struct asked {
	struct larder *cache;
	uint32_t ns;
	const char *key;
	size_t key_bytes;
};
#define KEY a->ns, a->key, a->key_bytes

#define CALL(name, ...) static enum larder_status call_##name(const struct asked *a) { return __VA_ARGS__; }

static enum larder_status load(void *arg, struct larder_loaded *to)
{
	(void)arg;
	to->value = "v";
	to->value_bytes = 1;
	return LARDER_OK;
}
static bool see(const struct larder_entry *e, void *arg) { (void)e, (void)arg; return true; }
static bool see_metric(const struct larder_metric *m, void *arg) { (void)m, (void)arg; return true; }

CALL(get, larder_get(a->cache, KEY, buffer, sizeof buffer, &length))
CALL(get_with, larder_get_with(a->cache, KEY, buffer, sizeof buffer, &length, LARDER_ALLOW_STALE, NULL))
CALL(exists, larder_exists(a->cache, KEY))
static enum larder_status call_pin(const struct asked *a)
{
	struct larder_pin pin;
	enum larder_status status = larder_pin(a->cache, KEY, 0, &pin);
	if (status == LARDER_OK)
		larder_unpin(a->cache, &pin);
	return status;
}
/* Of the item, if it was tried. */
static enum larder_status call_mget(const struct asked *a)
{
	struct larder_item item = { .key = a->key, .key_bytes = a->key_bytes, .value = buffer, .value_bytes = sizeof buffer };
	enum larder_status status = larder_mget(a->cache, a->ns, &item, 1);
	return status == LARDER_OK ? item.status : status;
}
static enum larder_status call_mset(const struct asked *a)
{
	char value[] = "v";
	struct larder_item item = { .key = a->key, .key_bytes = a->key_bytes, .value = value, .value_bytes = 1 };
	enum larder_status status = larder_mset(a->cache, a->ns, &item, 1, 0);
	return status == LARDER_OK ? item.status : status;
}
CALL(set, larder_set(a->cache, KEY, "v", 1, 0))
CALL(set_with, larder_set_with(a->cache, KEY, "v", 1, NULL, NULL))
CALL(add, larder_add(a->cache, KEY, "v", 1, 0))
CALL(replace, larder_replace(a->cache, KEY, "v", 1, 0))
CALL(cas, larder_cas(a->cache, KEY, "v", 1, 0, 1))
CALL(get_and_set, larder_get_and_set(a->cache, KEY, "v", 1, 0, buffer, sizeof buffer, &length))
CALL(append, larder_append(a->cache, KEY, "v", 1))
CALL(delete, larder_delete(a->cache, KEY))
CALL(touch, larder_touch(a->cache, KEY, 0))
CALL(incr, larder_incr(a->cache, KEY, 1, NULL))
CALL(incr_with, larder_incr_with(a->cache, KEY, 1, true, 0, 0, NULL))
static enum larder_status call_lease(const struct asked *a)
{
	struct larder_lease lease;
	return larder_lease(a->cache, KEY, NULL, buffer, sizeof buffer, &length, &lease);
}
CALL(lease_set, larder_lease_set(a->cache, KEY, "v", 1, NULL, 77, NULL))
CALL(lease_release, larder_lease_release(a->cache, KEY, 77))
CALL(lease_wait, larder_lease_wait(a->cache, KEY, 0))
CALL(get_or_compute, larder_get_or_compute(a->cache, KEY, load, NULL, NULL, buffer, sizeof buffer, &length, NULL))

static enum larder_status call_namespace(const struct asked *a)
{
	uint32_t ns;
	return larder_namespace(a->cache, "fresh", &ns);
}
CALL(namespace_ttl, larder_namespace_ttl(a->cache, a->ns, 1000))
CALL(namespace_quota, larder_namespace_quota(a->cache, a->ns, 100000))
static enum larder_status call_namespace_info(const struct asked *a)
{
	struct larder_namespace_info info;
	return larder_namespace_info(a->cache, a->ns, &info);
}
CALL(flush, larder_flush(a->cache, a->ns))
CALL(flush_soft, larder_flush_soft(a->cache, a->ns))
CALL(flush_all, larder_flush_all(a->cache))
CALL(tag_invalidate, larder_tag_invalidate(a->cache, "tag"))
static enum larder_status call_delete_prefix(const struct asked *a)
{
	struct larder_sweep sweep = { 0 };
	return larder_delete_prefix(a->cache, a->ns, "k", 1, 0, &sweep);
}
CALL(maintain, larder_maintain(a->cache, 1000, NULL))
CALL(iterate, larder_iterate(a->cache, a->ns, "", 0, 0, see, NULL))
static enum larder_status call_info(const struct asked *a)
{
	struct larder_info info;
	return larder_info(a->cache, &info);
}
/* Of a slot that somebody took. */
static enum larder_status call_participant(const struct asked *a)
{
	struct larder_participant_info info;
	enum larder_status status = larder_participant(a->cache, 0, &info);
	for (uint32_t slot = 1; status == LARDER_MISS; slot++)
		status = larder_participant(a->cache, slot, &info);
	return status;
}
static enum larder_status call_stat(const struct asked *a)
{
	struct larder_stat stat;
	return larder_stat(a->cache, &stat);
}
static enum larder_status call_check(const struct asked *a)
{
	uint64_t faults;
	return larder_check(a->cache, NULL, NULL, &faults);
}
CALL(monitor_record, larder_monitor_record(a->cache, "op", "", "", true, 5, NULL, 0))
CALL(monitor_timing, larder_monitor_timing(a->cache, 128))
CALL(metrics, larder_metrics(a->cache, see_metric, NULL))
CALL(hot_keys_mode, larder_hot_keys_mode(a->cache, LARDER_HOT_CLEAR))
static enum larder_status call_hot_keys(const struct asked *a)
{
	struct larder_hot_key hot[4];
	size_t count;
	return larder_hot_keys(a->cache, hot, 4, &count);
}
static enum larder_status call_trace_info(const struct asked *a)
{
	struct larder_trace_info info;
	return larder_trace_info(a->cache, &info);
}
static enum larder_status call_trace_read(const struct asked *a)
{
	struct larder_access accesses[16];
	uint64_t cursor = 0;
	size_t count;
	return larder_trace_read(a->cache, &cursor, accesses, 16, &count);
}

#define RO LARDER_READ_ONLY
#define GONE LARDER_DETACHED
static const struct row {
	const char *name;
	enum larder_status (*call)(const struct asked *a);
	enum larder_status inspector, destroyed; /* of a key that is not there */
	enum { KEYED = 1, IN_NAMESPACE = 2 } takes;
} rows[] = {
#define ROW(name, inspector, destroyed, takes) { #name, call_##name, inspector, destroyed, takes }
	ROW(get, LARDER_MISS, GONE, KEYED), ROW(get_with, LARDER_MISS, GONE, KEYED), ROW(exists, LARDER_MISS, GONE, KEYED),
	ROW(pin, RO, GONE, KEYED), ROW(mget, LARDER_MISS, GONE, KEYED), ROW(mset, RO, GONE, KEYED), ROW(set, RO, GONE, KEYED),
	ROW(set_with, RO, GONE, KEYED), ROW(add, RO, GONE, KEYED), ROW(replace, RO, GONE, KEYED), ROW(cas, RO, GONE, KEYED),
	ROW(get_and_set, RO, GONE, KEYED), ROW(append, RO, GONE, KEYED), ROW(delete, RO, GONE, KEYED), ROW(touch, RO, GONE, KEYED),
	ROW(incr, RO, GONE, KEYED), ROW(incr_with, RO, GONE, KEYED), ROW(lease, RO, GONE, KEYED), ROW(lease_set, RO, GONE, KEYED),
	ROW(lease_release, RO, GONE, KEYED), ROW(lease_wait, RO, GONE, KEYED), ROW(get_or_compute, RO, GONE, KEYED),
	ROW(namespace, LARDER_MISS, GONE, 0), ROW(namespace_ttl, RO, GONE, IN_NAMESPACE), ROW(namespace_quota, RO, GONE, IN_NAMESPACE),
	ROW(namespace_info, LARDER_OK, GONE, IN_NAMESPACE), ROW(flush, RO, GONE, IN_NAMESPACE), ROW(flush_soft, RO, GONE, IN_NAMESPACE),
	ROW(flush_all, RO, GONE, 0), ROW(tag_invalidate, RO, GONE, 0), ROW(delete_prefix, RO, GONE, IN_NAMESPACE),
	ROW(maintain, RO, GONE, 0), ROW(iterate, LARDER_OK, GONE, IN_NAMESPACE), ROW(info, LARDER_OK, GONE, 0),
	ROW(participant, LARDER_OK, GONE, 0), ROW(stat, LARDER_OK, GONE, 0), ROW(check, LARDER_OK, GONE, 0),
	ROW(monitor_record, RO, GONE, 0), ROW(monitor_timing, RO, GONE, 0), ROW(metrics, LARDER_OK, GONE, 0),
	ROW(hot_keys_mode, RO, GONE, 0), ROW(hot_keys, LARDER_OK, GONE, 0), ROW(trace_info, LARDER_OK, GONE, 0),
	ROW(trace_read, LARDER_OK, GONE, 0),
};
enum { ROWS = sizeof rows / sizeof *rows };

static void open_with_instruments(void)
{
	struct larder_options o = kit_options(UINT64_C(16) << 20, 0);
	kit_open_with(&o);
}
TestSuite(answers, .init = open_with_instruments, .fini = kit_close);

static void each_answers(const char *where, struct asked a, unsigned takes, const enum larder_status *wanted, enum larder_status (*of)(const struct row *))
{
	unsigned wrong = 0;
	for (unsigned i = 0; i < ROWS; i++) {
		if ((rows[i].takes & takes) != takes)
			continue;
		enum larder_status status = rows[i].call(&a), should = wanted != NULL ? *wanted : of(&rows[i]);
		if (status != should) {
			cr_log_error("%s, larder_%s(): %s, not %s", where, rows[i].name, larder_strerror(status), larder_strerror(should));
			wrong++;
		}
	}
	cr_assert_eq(wrong, 0);
}

static enum larder_status for_inspectors(const struct row *row) { return row->inspector; }
static enum larder_status once_destroyed(const struct row *row) { return row->destroyed; }

Test(answers, without_a_cache_every_call_is_invalid)
{
	const enum larder_status wanted = LARDER_INVALID;
	each_answers("without a cache", (struct asked){ NULL, 0, "k", 1 }, 0, &wanted, NULL);
}

Test(answers, an_inspector_reads_and_is_refused_the_rest)
{
	struct larder *inspector = kit_another(LARDER_INSPECT);
	ok(put_text("there", "v"));
	each_answers("an inspector", (struct asked){ inspector, 0, "k", 1 }, 0, NULL, for_inspectors);
	larder_close(&inspector);
}

Test(answers, every_call_says_that_the_cache_was_destroyed)
{
	ok(put_text("there", "v"));
	ok(larder_destroy(kit_name));
	each_answers("destroyed", (struct asked){ cache, 0, "k", 1 }, 0, NULL, once_destroyed);
}

Test(answers, every_call_with_a_key_says_that_it_has_none_or_too_long_a_one)
{
	static char longest[LARDER_KEY_MAX + 1];
	const enum larder_status wanted = LARDER_KEY_SIZE;
	memset(longest, 'k', sizeof longest);
	each_answers("an empty key", (struct asked){ cache, 0, "", 0 }, KEYED, &wanted, NULL);
	each_answers("a key too long", (struct asked){ cache, 0, longest, sizeof longest }, KEYED, &wanted, NULL);
}

Test(answers, every_call_in_a_namespace_past_the_table_is_invalid)
{
	const enum larder_status wanted = LARDER_INVALID;
	each_answers("no such namespace", (struct asked){ cache, 4096, "k", 1 }, KEYED, &wanted, NULL);
	each_answers("no such namespace", (struct asked){ cache, 4096, "k", 1 }, IN_NAMESPACE, &wanted, NULL);
}
