/* SPDX-License-Identifier: BSD-2-Clause */
/* What `larder top` knows of a cache, see top.h. */
#define _GNU_SOURCE
#include "top.h"

#include <stdlib.h>
#include <string.h>

double top_rate(const struct top *top, uint64_t before, uint64_t now)
{
	return top->two && top->seconds > 0 && now > before ? (double)(now - before) / top->seconds : 0;
}

/* ---- Durations ---- */

static bool same_labels(const struct larder_metric *one, const struct larder_metric *two)
{
	if (strcmp(one->operation, two->operation) || strcmp(one->store, two->store) ||
			strcmp(one->namespace_name, two->namespace_name) || one->label_count != two->label_count)
		return false;
	for (unsigned i = 0; i < one->label_count; i++)
		if (strcmp(one->labels[i].name, two->labels[i].name) ||
				strcmp(one->labels[i].value, two->labels[i].value))
			return false;
	return true;
}

const struct larder_metric *top_metric_before(const struct top *top, const struct larder_metric *metric)
{
	for (unsigned i = 0; top->two && i < top->before.series_count; i++)
		if (same_labels(&top->before.series[i].metric, metric))
			return &top->before.series[i].metric;
	return NULL;
}

static bool add_durations(const struct top *top, const struct larder_metric *metric, uint64_t buckets[LARDER_BUCKETS])
{
	const struct larder_metric *before = top_metric_before(top, metric);
	bool any = false;

	for (unsigned i = 0; metric->buckets && i < LARDER_BUCKETS; i++) {
		uint64_t old = before && before->buckets ? before->buckets[i] : 0;
		buckets[i] += metric->buckets[i] > old ? metric->buckets[i] - old : 0;
		any |= metric->buckets[i] > old;
	}
	return any;
}

bool top_durations(const struct top *top, const char *operation, const struct larder_metric *one,
		uint64_t buckets[LARDER_BUCKETS])
{
	bool any = false;

	memset(buckets, 0, LARDER_BUCKETS * sizeof buckets[0]);
	if (!top->two)
		return false;
	if (one)
		return add_durations(top, one, buckets);
	for (unsigned i = 0; i < top->now.series_count; i++)
		if (!strcmp(top->now.series[i].metric.operation, operation))
			any |= add_durations(top, &top->now.series[i].metric, buckets);
	return any;
}

/* ---- History ---- */

static void note_point(struct top *top)
{
	static const double quantiles[] = { 0.5, 0.99, 0.999 };
	const struct larder_stat *old = &top->before.stat, *new = &top->now.stat;
	uint64_t hits = new->hits - old->hits, gets = hits + new->misses - old->misses, buckets[LARDER_BUCKETS];
	struct top_point point = {
		.hit_rate = gets ? (double)hits / (double)gets : -1,
		.gets = top_rate(top, 0, gets),
		.get_ns = { -1, -1, -1 },
	};

	if (top_durations(top, "get", NULL, buckets))
		for (unsigned i = 0; i < 3; i++)
			point.get_ns[i] = (double)larder_quantile_ns(buckets, quantiles[i]);
	top->history[top->history_count++ % HISTORY_MAX] = point;
}

const struct top_point *top_point(const struct top *top, unsigned ago)
{
	if (ago >= top->history_count || ago >= HISTORY_MAX)
		return NULL;
	return &top->history[(top->history_count - 1 - ago) % HISTORY_MAX];
}

/* ---- Entries by time to live ---- */

static enum census_class class_of(int64_t ttl_ms)
{
	if (ttl_ms == LARDER_TTL_NONE)
		return CENSUS_NEVER;
	if (ttl_ms < 1000)
		return CENSUS_SECOND;
	if (ttl_ms < 60000)
		return CENSUS_MINUTE;
	if (ttl_ms < 3600000)
		return CENSUS_HOUR;
	return ttl_ms < 86400000 ? CENSUS_DAY : CENSUS_LONGER;
}

static bool count_entry(const struct larder_entry *entry, void *arg)
{
	struct top_census *census = arg;
	enum census_class class = class_of(entry->meta.ttl_left_ms);

	census->entries[class]++;
	census->bytes[class] += entry->stored_bytes;
	census->seen_bytes += entry->stored_bytes;
	return ++census->seen < CENSUS_ENTRIES;
}

/* The index lies in the order of hashes, so its beginning is a random sample. */
static void take_census(struct top *top)
{
	if (top->census.taken_ms && top->now.steady_ms - top->census.taken_ms < CENSUS_MS)
		return;
	top->census = (struct top_census){ .taken_ms = top->now.steady_ms };
	(void)larder_iterate(top->follow.cache, LARDER_ALL_NAMESPACES, NULL, 0, 0, count_entry, &top->census);
}

/* ---- Participants ---- */

static void note_activity(struct top_participant *who, const struct top_participant *before, const struct top *top)
{
	bool same = before && before->info.registration == who->info.registration && top->two;

	who->moved_ms = same ? before->moved_ms : 0;
	if (!same || who->info.operations == before->info.operations)
		return;
	who->per_second = top_rate(top, before->info.operations, who->info.operations);
	who->moved_ms = top->now.steady_ms;
}

static const struct top_participant *find_slot(const struct top_participant *list, unsigned count, uint32_t slot)
{
	for (unsigned i = 0; i < count; i++)
		if (list[i].info.slot == slot)
			return &list[i];
	return NULL;
}

/* Those that live, and dead ones that hold something still. */
static void look_at_participants(struct top *top)
{
	uint32_t slots = top->follow.info.participants;
	struct top_participant *list = calloc(slots, sizeof *list);
	unsigned count = 0;

	for (uint32_t slot = 0; list && slot < slots; slot++) {
		struct top_participant *who = &list[count];
		*who = (struct top_participant){ 0 };
		if (larder_participant(top->follow.cache, slot, &who->info) != LARDER_OK)
			continue;
		bool holds = who->info.pins || who->info.hazards;
		if (!who->info.alive && !holds)
			continue;
		who->dead_holding = !who->info.alive;
		who->stopped = participant_stopped(&who->info);
		note_activity(who, find_slot(top->participants, top->participant_count, slot), top);
		count++;
	}
	free(top->participants);
	top->participants = list;
	top->participant_count = list ? count : 0;
}

/* ---- All of it ---- */

/* Another cache by the same name: what is known of the former one says nothing of it. */
static void forget(struct top *top)
{
	sample_free(&top->before);
	sample_free(&top->now);
	namespace_names_close(&top->names);
	free(top->participants);
	top->participants = NULL;
	top->participant_count = 0;
	top->census = (struct top_census){ 0 };
	top->two = top->there = false;
}

void top_look(struct top *top)
{
	struct sample sample;
	bool there = follow_sample(&top->follow, &sample);

	if (!there || top->follow.lives != top->lives)
		forget(top);
	if (!there)
		return;
	if (top->lives != top->follow.lives)
		(void)namespace_names_open(&top->names, top->follow.cache);
	top->lives = top->follow.lives;
	sample_free(&top->before);
	top->before = top->now;
	top->now = sample;
	top->two = top->there;
	top->there = true;
	top->seconds = top->two ? (double)(sample.steady_ms - top->before.steady_ms) / 1000 : 0;
	look_at_participants(top);
	take_census(top);
	if (top->two)
		note_point(top);
}

void top_end(struct top *top)
{
	forget(top);
	follow_end(&top->follow);
}
