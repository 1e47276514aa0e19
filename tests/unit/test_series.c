/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Metrics by label set: rows, histograms, sampling.  That sums survive deaths is tests/proc/test_metrics.c.
 *
 * Sampling is checked by sums that a fair choice keeps within five standard deviations; the seed is the thread's own.
 */
#include <math.h>
#include <sys/wait.h>

#include "kit.h"

#include "base/chance.h"
#include "shm/series.h"

static struct series_table table;

static void open_private(void) { cr_assert_eq(series_private(&table, 64, 8), LARDER_OK); }
static void close_private(void) { series_unmap(&table); }

TestSuite(series, .init = open_private, .fini = close_private);

static struct series find(const char *store, const char *namespace, const char *operation, bool timed)
{
	struct series s;
	const struct series_labels labels = { store, namespace, operation, NULL, 0 };
	ok(series_find(&table, &labels, timed, &s));
	return s;
}

static uint32_t row_of(const struct series *s) { return (uint32_t)(s->row - table.rows); }
static uint64_t sum(const struct series *s, enum series_cell cell) { return series_sum(&table, row_of(s), cell); }

static uint64_t timed_operations(const struct series *s)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		n += load_hint(&s->histogram->bucket[i]);
	return n;
}

Test(series, one_label_set_has_one_row_and_one_histogram)
{
	struct series get = find("shm", "users", "get", true), set = find("shm", "users", "set", true);
	struct series again = find("shm", "users", "get", true), untimed = find("shm", "users", "get", false);
	cr_assert(get.row == again.row && get.histogram == again.histogram && get.histogram != NULL);
	cr_assert(set.row != get.row && set.histogram != get.histogram && untimed.row == get.row && untimed.histogram == NULL);
	series_count(&get, SERIES_HITS, 3);
	series_count(&again, SERIES_HITS, 4);
	series_count(&set, SERIES_DONE, 1);
	cr_assert(sum(&get, SERIES_HITS) == 7 && sum(&get, SERIES_MISSES) == 0 && sum(&set, SERIES_DONE) == 1 && sum(&set, SERIES_HITS) == 0);
}

Test(series, labels_that_only_look_alike_are_apart)
{
	static const struct series_label x = { "a", "1" }, y = { "a", "2" };
	const struct series_labels one = { "s", "", "op", &x, 1 }, two = { "s", "", "op", &y, 1 };
	struct series s, t, u = find("s", "op", "op", false), v = find("", "s", "op", false);
	ok(series_find(&table, &one, false, &s));
	ok(series_find(&table, &two, false, &t));
	cr_assert(s.row != t.row && s.row != u.row && t.row != u.row && v.row != u.row && v.row != s.row);
}

Test(series, labels_read_back)
{
	static const struct series_label more[] = { { "shard", "7" }, { "zone", "" } };
	const struct series_labels labels = { "redis", "", "scan", more, 2 };
	static const char wanted[] = "redis\0\0scan\0shard=7\0zone=";
	char text[SERIES_TEXT_BYTES + 1];
	struct series s;
	size_t bytes;
	ok(series_find(&table, &labels, false, &s));
	cr_assert(series_text(&table, row_of(&s), text, &bytes));
	cr_assert(bytes == sizeof wanted && memcmp(text, wanted, sizeof wanted) == 0);
	for (unsigned n = 1; n < 20; n++) { /* wherever the words of the text end */
		char name[20] = "";
		memset(name, 'x', n);
		s = find(name, "", "op", false);
		cr_assert(series_text(&table, row_of(&s), text, &bytes) && strcmp(text, name) == 0 && bytes == n + 1 + 1 + 3);
	}
	cr_assert(series_text(&table, 0, text, &bytes) && strcmp(text, "_other") == 0);
	cr_assert_not(series_text(&table, table.row_count, text, &bytes));
}

Test(series, labels_too_long_and_operations_without_a_name_are_refused)
{
	char name[SERIES_TEXT_BYTES + 1];
	struct series s;
	memset(name, 'x', sizeof name);
	name[SERIES_TEXT_BYTES - 5] = 0; /* and three NULs, and "op" */
	is(series_find(&table, &(struct series_labels){ name, "", "op", NULL, 0 }, true, &s), LARDER_OK);
	name[SERIES_TEXT_BYTES - 5] = 'x';
	name[SERIES_TEXT_BYTES - 4] = 0;
	is(series_find(&table, &(struct series_labels){ name, "", "op", NULL, 0 }, true, &s), LARDER_INVALID);
	is(series_find(&table, &(struct series_labels){ "", "", "", NULL, 0 }, true, &s), LARDER_INVALID);
}

/* 500 namespaces in 64 rows: nothing is lost, and what has no row of its own counts under its store and operation. */
Test(series, a_full_table_counts_the_rest_as_other)
{
	uint64_t total = 0;
	unsigned other = 0;
	char name[16], text[SERIES_TEXT_BYTES + 1];
	size_t bytes;
	for (unsigned i = 0; i < 500; i++) {
		(void)snprintf(name, sizeof name, "ns%u", i);
		struct series s = find("shm", name, "get", false);
		series_count(&s, SERIES_HITS, 1);
	}
	struct series strange = find("elsewhere", "x", "flush", false);
	series_count(&strange, SERIES_DONE, 1);
	for (uint32_t row = 0; row < table.row_count; row++) {
		total += series_sum(&table, row, SERIES_HITS);
		if (!series_text(&table, row, text, &bytes) || strcmp(text, "shm") != 0 || strcmp(text + 4, SERIES_OTHER) != 0)
			continue;
		other++;
		cr_assert_str_eq(text + 4 + sizeof SERIES_OTHER, "get");
		cr_assert_eq(series_sum(&table, row, SERIES_HITS), 500 - (64 - 1 - 8));
	}
	cr_assert(total == 500 && other == 1);
	cr_assert(series_text(&table, row_of(&strange), text, &bytes) && strcmp(text, "elsewhere") == 0 && strcmp(text + 10, SERIES_OTHER) == 0);
	struct series known = find("shm", "ns3", "get", false);
	cr_assert_eq(sum(&known, SERIES_HITS), 1);
	cr_assert_eq(load_hint(&table.head->overflows), 500 - 55 + 1);
}

/* As a death between the two claims leaves it. */
Test(series, a_row_without_a_histogram_gets_one_from_the_next_who_looks)
{
	struct series cut = find("shm", "users", "get", false), other = find("shm", "users", "set", true);
	struct series next = find("shm", "users", "get", true), again = find("shm", "users", "get", true);
	cr_assert(next.row == cut.row && next.histogram != NULL && next.histogram != other.histogram && again.histogram == next.histogram);
	series_time(&next, 100, 3);
	cr_assert_eq(timed_operations(&again), 3);
	cr_assert_eq(load_hint(&table.head->untimed), 0);
}

Test(series, rows_without_a_histogram_still_count)
{
	for (unsigned i = 0; i < 12; i++) {
		char name[16];
		(void)snprintf(name, sizeof name, "ns%u", i);
		struct series s = find("shm", name, "get", true);
		cr_assert_eq(s.histogram != NULL, i < 8);
		series_time(&s, 100, 1);
		series_count(&s, SERIES_HITS, 1);
		cr_assert_eq(sum(&s, SERIES_HITS), 1);
	}
	cr_assert_eq(load_hint(&table.head->untimed), 4);
}

Test(series, errors_are_told_by_their_status)
{
	struct series s = find("redis", "", "get", false);
	series_error(&s, LARDER_SYSTEM);
	series_error(&s, LARDER_SYSTEM);
	series_error(&s, LARDER_TOO_LARGE);
	series_error(&s, -1000);
	series_error(&s, 5);
	cr_assert(load_hint(&s.row->error[-LARDER_SYSTEM]) == 2 && load_hint(&s.row->error[-LARDER_TOO_LARGE]) == 1 && load_hint(&s.row->error[0]) == 2);
}

Test(series, the_middle_of_a_bucket_is_within_3_point_2_percent_of_all_in_it)
{
	uint64_t seed = 88172645463325252u;
	for (unsigned i = 0; i < 2000000; i++) {
		uint64_t random = chance_next(&seed), ns = 32 + (random >> 27) % (UINT64_C(1) << (6 + random % 32));
		if (ns >= UINT64_C(1) << 37)
			continue;
		unsigned b = histogram_index(ns);
		cr_assert(b < HISTOGRAM_BUCKETS && histogram_from_ns(b) <= ns && ns < histogram_from_ns(b + 1), "%lu ns in bucket %u", ns, b);
		double middle = ((double)histogram_from_ns(b) + (double)histogram_from_ns(b + 1)) / 2;
		cr_assert_lt((middle > (double)ns ? middle - (double)ns : (double)ns - middle) / (double)ns, 0.032);
	}
	cr_assert(histogram_index(0) == 0 && histogram_index(31) == 0 && histogram_index(UINT64_MAX) == HISTOGRAM_BUCKETS - 1);
	cr_assert(histogram_from_ns(0) == 32 && histogram_from_ns(HISTOGRAM_BUCKETS) == UINT64_C(1) << 37);
}

Test(series, skips_are_geometric)
{
	static const uint64_t rates[] = { 1, 2, 3, 10, 128, 100000, TIMING_RATE_MAX };
	uint64_t random = (uint64_t)time(NULL);
	cr_log_info("seed %lu", random);
	cr_assert_float_eq(chance_exponential(UINT64_C(1) << 63), log(2), 1e-9);
	cr_assert_float_eq(chance_exponential(0), 53 * log(2), 1e-9);
	for (unsigned r = 0; r < sizeof rates / sizeof *rates; r++) {
		enum { DRAWS = 200000 };
		double sum = 0, n = (double)rates[r];
		unsigned firsts = 0, above = 0;
		for (unsigned i = 0; i < DRAWS; i++) {
			uint64_t skip = chance_geometric(chance_next(&random), rates[r]);
			cr_assert_geq(skip, 1);
			sum += (double)skip;
			firsts += skip == 1;
			above += skip > rates[r];
		}
		double p = 1 / n, q = pow(1 - p, n), rare = 8; /* five sigma is not enough for a count of which one or two are expected */
		cr_assert_float_eq(sum / DRAWS, n, 5 * sqrt((n * n - n) / DRAWS) + 1e-9, "1 in %lu: mean %.3f", rates[r], sum / DRAWS);
		cr_assert_float_eq(firsts, DRAWS * p, 5 * sqrt(DRAWS * p * (1 - p)) + rare);
		cr_assert_float_eq(above, DRAWS * q, 5 * sqrt(DRAWS * q * (1 - q)) + rare);
	}
}

/* n operations, timed at a rate: the weights of those that were taken sum up to n. */
static double sampled(uint64_t rate, unsigned n)
{
	uint64_t weights = 0;
	timing_set(&table, rate);
	for (unsigned i = 0; i < n; i++) {
		struct timer t = timer_begin(&table);
		weights += t.weight;
	}
	return (double)weights;
}

Test(series, weights_of_timed_operations_sum_up_to_all_operations)
{
	static const uint64_t rates[] = { 2, 10, 64, 1000 };
	cr_assert_eq(sampled(1, 1000), 1000.0);
	cr_assert_eq(sampled(TIMING_NEVER, 100000), 0.0);
	for (unsigned i = 0; i < 4; i++) {
		double n = 2000000, deviation = sqrt(n * ((double)rates[i] - 1));
		double got = sampled(rates[i], 2000000);
		cr_assert(got > n - 5 * deviation && got < n + 5 * deviation, "1 in %lu: %.0f", rates[i], got);
	}
}

/* Slow operations at every 64th place: a choice with a rhythm of its own would take all or none of them. */
Test(series, a_rhythm_of_the_program_is_not_favoured)
{
	uint64_t all = 0, slow = 0;
	timing_set(&table, 64);
	for (unsigned i = 0; i < 4000000; i++) {
		struct timer t = timer_begin(&table);
		all += t.weight;
		slow += i % 64 == 0 ? t.weight : 0;
	}
	double n = 62500, deviation = sqrt(n * 63);
	cr_assert((double)slow > n - 5 * deviation && (double)slow < n + 5 * deviation, "%lu of %lu", slow, all);
}

Test(series, a_change_of_the_rate_keeps_the_sum_unbiased)
{
	double got = 0, n = 0, variance = 0;
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t rate = i % 3 == 0 ? 1000 : i % 3 == 1 ? 7 : 1;
		got += sampled(rate, 100);
		n += 100;
		variance += 100 * ((double)rate - 1);
	}
	cr_assert(got > n - 5 * sqrt(variance) && got < n + 5 * sqrt(variance), "%.0f of %.0f", got, n);
}

Test(series, a_timer_notes_how_long_it_was)
{
	struct series s = find("shm", "", "get", true);
	timing_set(&table, 1);
	struct timer t = timer_begin(&table);
	sleep_ms(20);
	timer_end(&t, &s);
	uint64_t ns = sum(&s, SERIES_SUM_NS);
	cr_assert(ns >= 20000000 && ns < 100000000000u && timed_operations(&s) == 1, "%lu ns", ns);
	cr_assert_eq(load_hint(&s.histogram->bucket[histogram_index(ns)]), 1);
}

Test(series, a_forked_child_adds_to_the_same_sums)
{
	struct series s = find("memory", "", "get", true);
	for (unsigned i = 0; i < 4; i++) {
		pid_t child = fork();
		if (child == 0) {
			for (unsigned n = 0; n < 1000; n++)
				series_count(&s, SERIES_MISSES, 1);
			_exit(0);
		}
		cr_assert_gt(child, 0);
	}
	while (wait(NULL) > 0)
		;
	cr_assert_eq(sum(&s, SERIES_MISSES), 4000);
}

Test(series, a_segment_has_metrics_of_its_own_that_inspectors_see, .init = kit_open, .fini = kit_close)
{
	struct series_table there;
	struct series s;
	const struct series_labels labels = { "shm", "", "get", NULL, 0 };
	series_of_region(&cache->region, &table);
	struct larder *inspector = kit_another(LARDER_INSPECT);
	series_of_region(&inspector->region, &there);
	is(series_find(&there, &labels, true, &s), LARDER_MISS);
	s = find("shm", "", "get", true);
	series_count(&s, SERIES_HITS, 2);
	cr_assert_eq(series_sum(&there, row_of(&s), SERIES_HITS), 2);
	ok(series_find(&there, &labels, true, &s));
	larder_close(&inspector);
}
