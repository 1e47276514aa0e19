/* SPDX-License-Identifier: BSD-2-Clause */
/* What programs record and read of metrics. */
#include "kit.h"

#include <sys/wait.h>

#include "cache/monitor.h"

static void open_roomy(void)
{
	struct larder_options o = kit_options(UINT64_C(4) << 20, 0);
	o.instrument_bytes = 256 << 10;
	kit_open_with(&o);
}

TestSuite(monitor, .init = open_roomy, .fini = kit_close);

struct wanted {
	const char *operation, *store, *namespace_name;
	struct larder_metric found;
	char label[64];
	unsigned times, all;
	uint64_t buckets[LARDER_BUCKETS];
};

static bool look(const struct larder_metric *m, void *arg)
{
	struct wanted *w = arg;
	w->all++;
	if (strcmp(m->operation, w->operation) != 0 || strcmp(m->store, w->store) != 0 || strcmp(m->namespace_name, w->namespace_name) != 0)
		return true;
	w->times++;
	w->found = *m;
	if (m->label_count != 0)
		(void)snprintf(w->label, sizeof w->label, "%s=%s", m->labels[0].name, m->labels[0].value);
	if (m->buckets != NULL)
		memcpy(w->buckets, m->buckets, sizeof w->buckets);
	return true;
}

static struct wanted find_in(struct larder *from, const char *operation, const char *store, const char *namespace_name)
{
	static struct wanted w;
	w = (struct wanted){ .operation = operation, .store = store, .namespace_name = namespace_name };
	ok(larder_metrics(from, look, &w));
	return w;
}
static struct wanted find(const char *operation, const char *store, const char *ns) { return find_in(cache, operation, store, ns); }

Test(monitor, what_is_recorded_reads_back_in_every_process_and_inspector)
{
	const struct larder_label label = { "shard", "7" };
	ok(larder_monitor_record(cache, "render", "disk", "pages", true, 1000000, &label, 1));
	pid_t child = fork();
	if (child == 0) {
		(void)larder_monitor_record(cache, "render", "disk", "pages", true, 3000000, &label, 1);
		(void)larder_monitor_record(cache, "render", "disk", "pages", false, 9000000, &label, 1);
		_exit(0);
	}
	cr_assert_eq(waitpid(child, NULL, 0), child);
	struct larder *inspector = kit_another(LARDER_INSPECT);
	struct wanted w = find_in(inspector, "render", "disk", "pages");
	cr_assert(w.times == 1 && w.found.recorded == 2 && w.found.failed == 1 && w.found.timed == 2 && w.found.sum_ns == 4000000);
	cr_assert_str_eq(w.label, "shard=7");
	uint64_t median = larder_quantile_ns(w.buckets, 0.5), most = larder_quantile_ns(w.buckets, 1);
	cr_assert(median > 960000 && median < 1040000 && most > 2880000 && most < 3120000, "%lu, %lu", median, most);
	is(larder_monitor_record(inspector, "render", "disk", "pages", true, 1, NULL, 0), LARDER_READ_ONLY);
	larder_close(&inspector);
}

Test(monitor, an_operation_without_a_duration_counts_and_is_not_timed)
{
	ok(larder_monitor_record(cache, "flush", "", "", true, LARDER_NO_DURATION, NULL, 0));
	struct wanted w = find("flush", "", "");
	cr_assert(w.found.recorded == 1 && w.found.timed == 0 && w.found.buckets == NULL);
}

Test(monitor, label_sets_are_bounded_and_nothing_is_lost)
{
	char value[16];
	uint64_t sum = 0;
	for (unsigned i = 0; i < 2000; i++) {
		(void)snprintf(value, sizeof value, "user%u", i);
		const struct larder_label label = { "user", value };
		ok(larder_monitor_record(cache, "login", "db", "users", true, LARDER_NO_DURATION, &label, 1));
	}
	struct wanted w = find("login", "db", "users");
	cr_assert(w.times > 10 && w.all <= cache->region.geo.series_rows, "%u rows", w.times);
	struct series_table t;
	series_of_region(&cache->region, &t);
	for (uint32_t row = 0; row < t.row_count; row++)
		sum += series_sum(&t, row, SERIES_RECORDED);
	cr_assert_eq(sum, 2000);
	ok(larder_monitor_record(cache, "logout", "db", "users", true, 1, NULL, 0));
	cr_assert_eq(find("logout", "db", "_other").found.recorded, 1);
}

Test(monitor, arguments_out_of_their_range_are_named)
{
	static const struct larder_label bad[] = { { "le", "1" }, { "9", "1" }, { "a-b", "1" }, { "", "1" }, { "store", "x" }, { NULL, "1" }, { "a", NULL } };
	struct larder_label many[LARDER_LABELS_MAX + 1];
	char long_name[300];
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		is(larder_monitor_record(cache, "op", "", "", true, 1, &bad[i], 1), LARDER_INVALID);
		cr_assert(strstr(larder_message(), "label") != NULL, "%s", larder_message());
	}
	for (unsigned i = 0; i <= LARDER_LABELS_MAX; i++)
		many[i] = (struct larder_label){ "a", "1" };
	is(larder_monitor_record(cache, "op", "", "", true, 1, many, LARDER_LABELS_MAX + 1), LARDER_INVALID);
	ok(larder_monitor_record(cache, "op", "", "", true, 1, many, LARDER_LABELS_MAX));
	memset(long_name, 'x', sizeof long_name);
	long_name[sizeof long_name - 1] = 0;
	is(larder_monitor_record(cache, long_name, "", "", true, 1, NULL, 0), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "240") != NULL, "%s", larder_message());
	is(larder_monitor_record(cache, "", "", "", true, 1, NULL, 0), LARDER_INVALID);
	is(larder_monitor_record(cache, NULL, "", "", true, 1, NULL, 0), LARDER_INVALID);
	is(larder_monitor_record(NULL, "op", "", "", true, 1, NULL, 0), LARDER_INVALID);
	is(larder_monitor_timing(cache, (1u << 24) + 1), LARDER_INVALID);
	is(larder_metrics(cache, NULL, NULL), LARDER_INVALID);
}

Test(monitor, the_rate_of_timing_holds_for_every_process)
{
	struct series_table t;
	struct larder *other = kit_another(0);
	series_of_region(&other->region, &t);
	cr_assert_eq(timing_get(&t), TIMING_DEFAULT);
	ok(larder_monitor_timing(cache, 1));
	cr_assert_eq(timing_get(&t), 1);
	ok(larder_monitor_timing(cache, 0));
	cr_assert_eq(timing_get(&t), TIMING_NEVER);
	larder_close(&other);
}

Test(monitor, quantiles_are_those_of_the_durations)
{
	static uint64_t buckets[LARDER_BUCKETS];
	cr_assert_eq(larder_quantile_ns(buckets, 0.5), 0);
	for (unsigned ns = 100; ns < 100100; ns++)
		buckets[histogram_index(ns)]++;
	for (double q = 0.01; q <= 1; q += 0.01) {
		double got = (double)larder_quantile_ns(buckets, q), truth = 100 + 100000 * q;
		cr_assert(got > truth * 0.93 && got < truth * 1.07, "%.2f: %.0f, not %.0f", q, got, truth);
	}
	cr_assert(larder_bucket_ns(0) == 32 && larder_bucket_ns(16) == 64 && larder_bucket_ns(LARDER_BUCKETS) == UINT64_C(1) << 37);
	cr_assert_eq(larder_bucket_ns(UINT32_MAX), UINT64_C(1) << 37);
}

Test(monitor, every_failure_has_a_reason)
{
	for (int status = -1; status > -32; status--) {
		bool known = strcmp(larder_strerror((enum larder_status)status), "unknown status") != 0;
		cr_assert_eq(strcmp(larder_reason((enum larder_status)status), "other") != 0, known, "%d", status);
	}
	cr_assert_str_eq(larder_reason(LARDER_OK), "other");
	cr_assert_str_eq(larder_reason((enum larder_status)-1000), "other");
	cr_assert_str_eq(larder_reason(LARDER_NO_ROOM), "no_room");
}

static bool stop(const struct larder_metric *m, void *arg)
{
	(void)m;
	++*(unsigned *)arg;
	return false;
}

Test(monitor, a_visit_ends_when_it_is_told_to_and_a_destroyed_cache_is_told)
{
	unsigned times = 0;
	ok(larder_monitor_record(cache, "a", "", "", true, 1, NULL, 0));
	ok(larder_monitor_record(cache, "b", "", "", true, 1, NULL, 0));
	is(larder_metrics(cache, stop, &times), LARDER_END);
	cr_assert_eq(times, 1);
	ok(larder_destroy(kit_name));
	is(larder_metrics(cache, stop, &times), LARDER_DETACHED);
	is(larder_monitor_record(cache, "a", "", "", true, 1, NULL, 0), LARDER_DETACHED);
}

/* Rows of noise: nothing is read beyond them, and the visit ends. */
Test(monitor, damaged_rows_are_passed_over)
{
	unsigned seed = (unsigned)time(NULL), n = 0;
	unsigned char *from = region_at(&cache->region, cache->region.geo.series_off), *to = region_at(&cache->region, cache->region.geo.trace_off);
	kit_damaged = true;
	cr_log_info("seed %u", seed);
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned char *at = from; at < to; at++)
			*at = (unsigned char)(rand_r(&seed) >> 8);
		struct wanted w = { .operation = "", .store = "", .namespace_name = "" };
		ok(larder_metrics(cache, look, &w));
		n += w.all;
		(void)larder_monitor_record(cache, "a", "", "", true, 1, NULL, 0);
	}
	cr_assert_leq(n, 50 * cache->region.geo.series_rows);
}
