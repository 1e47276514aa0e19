/* SPDX-License-Identifier: BSD-2-Clause */
/* The views of `larder top`, see top.h: each a table, whose last column is what it is filtered by. */
#define _GNU_SOURCE
#include "top.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- Rows ---- */

static struct table_row *add_row(struct table *table)
{
	struct table_row *more = reallocarray(table->rows, table->row_count + 1, sizeof *more);

	if (!more)
		return NULL;
	table->rows = more;
	memset(&more[table->row_count], 0, sizeof *more);
	return &more[table->row_count++];
}

static void __attribute__((format(printf, 4, 5)))
cell(struct table_row *row, unsigned column, double number, const char *format, ...)
{
	va_list arguments;

	row->number[column] = number;
	va_start(arguments, format);
	vsnprintf(row->text[column], CELL_BYTES, format, arguments);
	va_end(arguments);
}

/* 1234 -> "1234", 123456 -> "123k": five characters at most. */
static void cell_count(struct table_row *row, unsigned column, double count)
{
	static const char units[] = "kMGTPE";
	double shown = count;
	int unit = -1;

	while (shown >= 9999.5 && unit < 5) {
		shown /= 1000;
		unit++;
	}
	if (unit < 0)
		cell(row, column, count, shown < 10 && shown > 0 && shown != (double)(int)shown ? "%.1f" : "%.0f",
				shown);
	else
		cell(row, column, count, "%.0f%c", shown, units[unit]);
}

static void cell_size(struct table_row *row, unsigned column, uint64_t bytes)
{
	char text[TEXT_MAX];

	cell(row, column, (double)bytes, "%s", text_size(bytes, text));
}

static void cell_percent(struct table_row *row, unsigned column, double part, double whole)
{
	if (whole > 0)
		cell(row, column, part / whole, "%.1f%%", 100 * part / whole);
	else
		cell(row, column, -1, "-");
}

static void cell_ns(struct table_row *row, unsigned column, uint64_t ns)
{
	if (ns < 10000)
		cell(row, column, (double)ns, "%" PRIu64 "ns", ns);
	else if (ns < 10000000)
		cell(row, column, (double)ns, "%.0fus", (double)ns / 1e3);
	else
		cell(row, column, (double)ns, "%.0fms", (double)ns / 1e6);
}

static void cell_name(struct table_row *row, unsigned column, const char *name)
{
	cell(row, column, 0, "%s", *name ? name : "(default)");
}

/* ---- Namespaces ---- */

static const struct table_column namespace_columns[] = {
	{ "ENTRIES", 8 },
	{ "BYTES", 9 },
	{ "SHARE", 6 },
	{ "QUOTA", 6 },
	{ "GETS/S", 7 },
	{ "HIT%", 7 },
	{ "SETS/S", 7 },
	{ "TTL", 9 },
	{ "NAMESPACE", 0 },
};

/* Gets, hits and sets a second that managers counted in the namespace. */
static void namespace_rates(const struct top *top, const char *name, double *gets, double *hits, double *sets)
{
	*gets = *hits = *sets = 0;
	for (unsigned i = 0; i < top->now.series_count; i++) {
		const struct larder_metric *m = &top->now.series[i].metric, *b = top_metric_before(top, m);
		if (strcmp(m->namespace_name, name))
			continue;
		double found = top_rate(top, b ? b->hits : 0, m->hits);
		*hits += found;
		*gets += found + top_rate(top, b ? b->misses : 0, m->misses);
		*sets += strcmp(m->operation, "set") ? 0 : top_rate(top, b ? b->done : 0, m->done);
	}
}

static bool fill_namespaces(struct table *table, const struct top *top)
{
	for (unsigned i = 0; i < top->now.namespace_count; i++) {
		const struct larder_namespace_info *ns = &top->now.namespaces[i];
		uint64_t bytes = ns->bytes > 0 ? (uint64_t)ns->bytes : 0;
		struct table_row *row = add_row(table);
		double gets, hits, sets;
		char ttl[TEXT_MAX];
		if (!row)
			return false;
		namespace_rates(top, ns->name, &gets, &hits, &sets);
		cell_count(row, 0, ns->entries > 0 ? (double)ns->entries : 0);
		cell_size(row, 1, bytes);
		cell_percent(row, 2, (double)bytes, (double)top->follow.info.bytes);
		cell_percent(row, 3, (double)bytes, (double)ns->quota_bytes);
		cell_count(row, 4, gets);
		cell_percent(row, 5, hits, gets);
		cell_count(row, 6, sets);
		cell(row, 7, (double)ns->ttl_ms, "%s", text_duration(ns->ttl_ms, ttl));
		cell_name(row, 8, ns->name);
	}
	return true;
}

/* ---- Participants ---- */

static const struct table_column participant_columns[] = {
	{ "SLOT", 5 }, { "PID", 8 }, { "STATE", -8 }, { "OPS/S", 7 }, { "LAST", 8 }, { "PINS", 5 }, { "HAZARDS", 8 },
	{ "COMMAND", 0 },
};

static bool fill_participants(struct table *table, const struct top *top)
{
	for (unsigned i = 0; i < top->participant_count; i++) {
		const struct top_participant *who = &top->participants[i];
		struct table_row *row = add_row(table);
		if (!row)
			return false;
		uint64_t idle_ms = top->now.steady_ms - who->moved_ms;
		row->warn = who->stopped || who->dead_holding;
		cell(row, 0, who->info.slot, "%" PRIu32, who->info.slot);
		cell(row, 1, who->info.pid, "%" PRId32, who->info.pid);
		cell(row, 2, 0, "%s", who->stopped ? "stopped" : who->info.alive ? "alive" : "dead");
		cell_count(row, 3, who->per_second);
		if (!who->moved_ms)
			cell(row, 4, 1e18, "-");
		else
			cell(row, 4, (double)idle_ms, idle_ms ? "%.0fs ago" : "now", (double)idle_ms / 1000);
		cell(row, 5, who->info.pins, "%u", who->info.pins);
		cell(row, 6, who->info.hazards, "%u", who->info.hazards);
		cell(row, 7, 0, "%.16s", who->info.command);
	}
	return true;
}

/* ---- Hot keys ---- */

static const struct table_column key_columns[] = {
	{ "ACCESSES", 9 }, { "OTHERS", 7 }, { "BYTES", 6 }, { "NAMESPACE", -16 }, { "KEY", 0 },
};

static const struct table_column hashed_columns[] = {
	{ "ACCESSES", 9 }, { "OTHERS", 7 }, { "BYTES", 6 }, { "NAMESPACE", -16 }, { "KEY (#: its hash)", 0 },
};

static bool fill_keys(struct table *table, const struct top *top)
{
	struct namespace_names names = top->names;

	for (size_t i = 0; i < top->now.hot_count; i++) {
		const struct larder_hot_key *key = &top->now.hot[i];
		struct table_row *row = add_row(table);
		if (!row)
			return false;
		cell_count(row, 0, (double)key->count);
		cell_count(row, 1, (double)key->error);
		cell(row, 2, key->known ? (double)key->key_bytes : -1, key->known ? "%" PRIu32 : "-", key->key_bytes);
		cell_name(row, 3, key->known && names.names ? namespace_name(&names, key->ns) : "?");
		if (!key->text_bytes)
			table->columns = hashed_columns;
		if (key->text_bytes)
			cell(row, 4, 0, "%.*s%s", (int)key->text_bytes, key->text,
					key->text_bytes < key->key_bytes ? "..." : "");
		else
			cell(row, 4, 0, "#%016" PRIx64, key->hash);
	}
	return true;
}

/* ---- Stores ---- */

static const struct table_column store_columns[] = {
	{ "OPS/S", 7 },
	{ "ERR/S", 6 },
	{ "P50", 7 },
	{ "P99", 7 },
	{ "P99.9", 7 },
	{ "OPERATION", -9 },
	{ "NAMESPACE", -11 },
	{ "TROUBLE", -11 },
	{ "STORE", 0 },
};

static uint64_t metric_operations(const struct larder_metric *metric)
{
	uint64_t sum = metric->hits + metric->misses + metric->done + metric->recorded + metric->failed;

	for (unsigned i = 0; i < LARDER_REASONS; i++)
		sum += metric->errors[i];
	return sum;
}

/* Errors a second; *worst is the reason of most of them, 0 if there were none. */
static double metric_errors(const struct top *top, const struct larder_metric *now, const struct larder_metric *before,
		unsigned *worst)
{
	double sum = top_rate(top, before ? before->failed : 0, now->failed), most = 0;

	*worst = LARDER_REASONS;
	for (unsigned i = 0; i < LARDER_REASONS; i++) {
		double rate = top_rate(top, before ? before->errors[i] : 0, now->errors[i]);
		sum += rate;
		*worst = rate > most ? i : *worst;
		most = rate > most ? rate : most;
	}
	return sum;
}

static bool fill_stores(struct table *table, const struct top *top)
{
	static const double quantiles[] = { 0.5, 0.99, 0.999 };
	uint64_t buckets[LARDER_BUCKETS];

	for (unsigned i = 0; i < top->now.series_count; i++) {
		const struct larder_metric *m = &top->now.series[i].metric, *b = top_metric_before(top, m);
		struct table_row *row = add_row(table);
		unsigned worst;
		if (!row)
			return false;
		double errors = metric_errors(top, m, b, &worst);
		bool timed = top_durations(top, NULL, m, buckets);
		row->warn = errors > 0;
		cell_count(row, 0, top_rate(top, b ? metric_operations(b) : 0, metric_operations(m)));
		cell_count(row, 1, errors);
		for (unsigned q = 0; q < 3; q++) {
			if (timed)
				cell_ns(row, 2 + q, larder_quantile_ns(buckets, quantiles[q]));
			else
				cell(row, 2 + q, -1, "-");
		}
		cell(row, 5, 0, "%s", m->operation);
		cell_name(row, 6, m->namespace_name);
		cell(row, 7, 0, "%s", worst < LARDER_REASONS ? larder_reason((enum larder_status)(-(int)worst)) : "-");
		cell(row, 8, 0, "%s", *m->store ? m->store : "-");
	}
	return true;
}

/* ---- Memory ---- */

static const struct table_column memory_columns[] = {
	{ "ENTRIES", 9 }, { "BYTES", 10 }, { "SHARE", 7 }, { "SEGMENTS", 9 }, { "A SECOND", 9 }, { "WHAT", 0 },
};

static struct table_row *memory_row(struct table *table, const char *what)
{
	struct table_row *row = add_row(table);

	if (!row)
		return NULL;
	for (unsigned i = 0; i < 5; i++)
		cell(row, i, -1, "-");
	cell(row, 5, 0, "%s", what);
	return row;
}

static void pool_row(struct table *table, const struct top *top, const char *what, uint64_t entries, uint64_t bytes,
		uint64_t segments)
{
	struct table_row *row = memory_row(table, what);

	if (!row)
		return;
	if (entries)
		cell_count(row, 0, (double)entries);
	cell_size(row, 1, bytes);
	cell_percent(row, 2, (double)bytes, (double)top->follow.info.bytes);
	cell(row, 3, (double)segments, "%" PRIu64, segments);
}

static void rate_row(struct table *table, const struct top *top, const char *what, uint64_t before, uint64_t now)
{
	struct table_row *row = memory_row(table, what);

	if (row)
		cell_count(row, 4, top_rate(top, before, now));
}

static void census_rows(struct table *table, const struct top *top)
{
	static const char *const names[CENSUS_CLASSES] = {
		"sampled: under 1s left",
		"sampled: under 1m left",
		"sampled: under 1h left",
		"sampled: under 1d left",
		"sampled: 1d or more left",
		"sampled: never expire",
	};
	const struct top_census *census = &top->census;

	for (unsigned i = 0; i < CENSUS_CLASSES && census->seen; i++) {
		struct table_row *row = memory_row(table, names[i]);
		if (!row)
			return;
		double part = (double)census->entries[i] / (double)census->seen;
		double bytes = (double)census->bytes[i] / (double)(census->seen_bytes ? census->seen_bytes : 1);
		cell_count(row, 0, part * (double)top->now.stat.entries);
		cell_size(row, 1, (uint64_t)(bytes * (double)top->now.stat.entry_bytes));
		cell_percent(row, 2, bytes * (double)top->now.stat.entry_bytes, (double)top->follow.info.bytes);
	}
}

/* As segments are kept apart by what their entries were set to live.  A class that holds nothing is left out. */
static void ttl_rows(struct table *table, const struct top *top)
{
	const struct larder_stat *now = &top->now.stat;
	const struct { const char *what; uint64_t entries, bytes; } classes[] = {
#define TTL(class, what) { "ttl: " what, now->ttl_entries_##class, now->ttl_bytes_##class }
		TTL(never, "none"), TTL(10s, "up to 10s"), TTL(2m, "up to 2m"), TTL(30m, "up to 30m"), TTL(6h, "up to 6h"),
		TTL(longer, "longer"), TTL(mixed, "several, in one"),
#undef TTL
	};

	for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
		struct table_row *row = classes[i].bytes ? memory_row(table, classes[i].what) : NULL;
		if (!row)
			continue;
		cell_count(row, 0, (double)classes[i].entries);
		cell_size(row, 1, classes[i].bytes);
		cell_percent(row, 2, (double)classes[i].bytes, (double)top->follow.info.bytes);
	}
}

static bool fill_memory(struct table *table, const struct top *top)
{
	const struct larder_stat *now = &top->now.stat, *old = &top->before.stat;
	uint64_t segment = top->follow.info.segment_bytes;

	pool_row(table, top, "pool: small", now->entries_small, now->bytes_small, now->segments_small);
	pool_row(table, top, "pool: main", now->entries_main, now->bytes_main, now->segments_main);
	pool_row(table, top, "free", 0, now->segments_free * segment, now->segments_free);
	pool_row(table, top, "being emptied", 0, now->segments_recycling * segment, now->segments_recycling);
	pool_row(table, top, "index", 0, top->follow.info.index_bytes, 0);
	ttl_rows(table, top);
	census_rows(table, top);
	rate_row(table, top, "evicted: small pool", old->evictions_small, now->evictions_small);
	rate_row(table, top, "evicted: main pool", old->evictions_main, now->evictions_main);
	rate_row(table, top, "evicted: bucket full", old->evictions_index, now->evictions_index);
	rate_row(table, top, "evicted: no room to survive", old->evictions_need, now->evictions_need);
	rate_row(table, top, "expired", old->expirations, now->expirations);
	rate_row(table, top, "flushed", old->flushed, now->flushed);
	return true;
}

/* ---- Tiers ---- */

static const struct table_column tier_columns[] = {
	{ "STATE", -7 }, { "FOR", 6 }, { "ERR/S", 5 }, { "INVAL/S", 7 }, { "GAPS", 4 }, { "CONN", 4 }, { "QUEUE", 5 }, { "OLDEST", 6 },
	{ "WHAT", 0 },
};

/* "3.2s": four characters, or more for what takes days. */
static void cell_ms(struct table_row *row, unsigned column, uint64_t ms)
{
	if (!ms)
		cell(row, column, 0, "-");
	else if (ms < 1000)
		cell(row, column, (double)ms, "%" PRIu64 "ms", ms);
	else
		cell(row, column, (double)ms, ms < 10000 ? "%.1fs" : "%.0fs", (double)ms / 1000);
}

static struct table_row *remote_row(struct table *table, const char *state, bool warn)
{
	struct table_row *row = add_row(table);

	if (!row)
		return NULL;
	for (unsigned i = 1; i < 8; i++)
		cell(row, i, -1, "-");
	cell(row, 0, 0, "%s", state);
	row->warn = warn;
	return row;
}

static const struct larder_tiered_info *tier_before(const struct top *top, const char *far)
{
	for (unsigned i = 0; top->two && i < top->before.remote.tier_count; i++)
		if (!strcmp(top->before.remote.tiers[i].far, far))
			return &top->before.remote.tiers[i].info;
	return NULL;
}

static bool add_tier(struct table *table, const struct top *top, const struct sample_tier *tier)
{
	const struct larder_tiered_info *now = &tier->info, *before = tier_before(top, tier->far);
	struct table_row *row = remote_row(table, sample_line(now), !sample_heard(now));

	if (!row)
		return false;
	cell_ms(row, 1, now->broken_for_ms);
	cell_count(row, 2, top_rate(top, before ? before->failures : now->failures, now->failures));
	cell_count(row, 3, top_rate(top, before ? before->invalidations : now->invalidations, now->invalidations));
	cell_count(row, 4, (double)now->gaps);
	cell_count(row, 5, (double)now->armed);
	cell_count(row, 6, (double)now->pending);
	cell_ms(row, 7, now->pending ? now->oldest_ms : 0);
	cell(row, 8, 0, "tier: %s", tier->far);
	return true;
}

static const struct larder_redis_node *breaker_before(const struct top *top, const char *address)
{
	for (unsigned i = 0; top->two && i < top->before.remote.breaker_count; i++)
		if (!strcmp(top->before.remote.breakers[i].address, address))
			return &top->before.remote.breakers[i];
	return NULL;
}

/* Connections are counted by the store, which has one server unless it is a cluster. */
static const struct sample_redis *counters_of(const struct top *top, const char *address)
{
	for (unsigned i = 0; i < top->now.remote.redis_count; i++)
		if (!strcmp(top->now.remote.redis[i].address, address))
			return &top->now.remote.redis[i];
	return NULL;
}

static bool add_breaker(struct table *table, const struct top *top, const struct larder_redis_node *now)
{
	const struct larder_redis_node *before = breaker_before(top, now->address);
	const struct sample_redis *counters = counters_of(top, now->address);
	struct table_row *row = remote_row(table, sample_breaker(now), now->breaker != LARDER_REDIS_CLOSED);

	if (!row)
		return false;
	cell_ms(row, 1, now->open_for_ms);
	cell_count(row, 2, top_rate(top, before ? before->failures : now->failures, now->failures));
	if (counters)
		cell_count(row, 5, (double)counters->status.connects);
	cell(row, 8, 0, *now->last ? "%.60s: %s" : "%.60s", now->address, now->last);
	return true;
}

static bool fill_tiers(struct table *table, const struct top *top)
{
	const struct sample_remote *remote = &top->now.remote;

	for (unsigned i = 0; i < remote->tier_count; i++)
		if (!add_tier(table, top, &remote->tiers[i]))
			return false;
	for (unsigned i = 0; i < remote->breaker_count; i++)
		if (!add_breaker(table, top, &remote->breakers[i]))
			return false;
	return true;
}

/* ---- All views ---- */

static const struct {
	const char *name, *empty;
	const struct table_column *columns;
	unsigned column_count, sort;
	bool (*fill)(struct table *table, const struct top *top);
} views[VIEW_COUNT] = {
#define COLUMNS(list) list, sizeof list / sizeof list[0]
	{ "namespaces", "no namespaces", COLUMNS(namespace_columns), 1, fill_namespaces },
	{ "participants", "nobody is attached", COLUMNS(participant_columns), 3, fill_participants },
	{ "keys", "no hot keys yet: 'larder monitor' switches them on and off", COLUMNS(key_columns), 0, fill_keys },
	{ "stores", "no metrics of stores: programs that use a manager make them", COLUMNS(store_columns), 0,
			fill_stores },
	{ "memory", "", COLUMNS(memory_columns), TABLE_COLUMNS, fill_memory },
	{ "tiers", "no tier over this cache, and no redis store shares it (larder-tiered(7))", COLUMNS(tier_columns), TABLE_COLUMNS,
			fill_tiers },
#undef COLUMNS
};

const char *view_name(enum top_view view)
{
	return views[view].name;
}

unsigned view_sort_column(enum top_view view)
{
	return views[view].sort;
}

static bool is_wanted(const struct table *table, const struct table_row *row, const char *filter)
{
	const char *name = row->text[table->column_count - 1];

	return !*filter || strcasestr(name, filter) || !fnmatch(filter, name, FNM_CASEFOLD);
}

bool table_fill(struct table *table, const struct top *top, enum top_view view, const char *filter)
{
	*table = (struct table){
		.columns = views[view].columns, .column_count = views[view].column_count, .empty = views[view].empty
	};
	if (!views[view].fill(table, top)) {
		table_free(table);
		return false;
	}
	unsigned kept = 0;
	for (unsigned i = 0; i < table->row_count; i++)
		if (is_wanted(table, &table->rows[i], filter))
			table->rows[kept++] = table->rows[i];
	if (table->row_count && !kept)
		table->empty = "nothing matches the filter";
	table->row_count = kept;
	return true;
}

struct order {
	unsigned column;
	bool text, reverse;
};

static int compare_rows(const void *a, const void *b, void *arg)
{
	const struct table_row *one = a, *two = b;
	const struct order *order = arg;
	double x = one->number[order->column], y = two->number[order->column];
	int result = order->text ? strcmp(one->text[order->column], two->text[order->column]) : (x < y) - (x > y);

	return order->reverse ? -result : result;
}

/* Numbers come largest first, texts in the order of the alphabet; a column past the last leaves them as they are. */
void table_sort(struct table *table, unsigned column, bool reverse)
{
	struct order order = { column, column < table->column_count && table->columns[column].width <= 0, reverse };

	if (column < table->column_count && table->row_count)
		qsort_r(table->rows, table->row_count, sizeof table->rows[0], compare_rows, &order);
}

void table_free(struct table *table)
{
	free(table->rows);
	table->rows = NULL;
	table->row_count = 0;
}
