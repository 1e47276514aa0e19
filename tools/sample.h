/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A sample: all that there is to tell of a cache at one moment, copied out of it, for whoever shows, exports or compares it.  The
 * names and texts come from larder/counters.def, gauges.def and metrics.def; a line added there appears everywhere by itself.
 */
#ifndef LARDER_SAMPLE_H
#define LARDER_SAMPLE_H

#include <larder/monitor.h>
#include <larder/redis.h>
#include <larder/tiered.h>
#include <stdio.h>

#define SAMPLE_HOT_KEYS 20u

struct sample_series {
	struct larder_metric metric; /* its pointers lead into this struct */
	char *text;
	uint64_t *buckets;
};

/* Tiers over the cache, and the servers that redis stores share through it (sample_tier.c). */
struct sample_tier {
	char far[128];
	struct larder_tiered_info info;
};
struct sample_redis {
	char address[300];
	struct larder_redis_status status;
};
struct sample_remote {
	struct sample_tier *tiers;
	struct larder_redis_node *breakers;
	struct sample_redis *redis;
	unsigned tier_count, breaker_count, redis_count;
	uint64_t dirty; /* entries that the far store does not have yet */
	bool dirty_sampled; /* there are more entries than were looked at: an estimate */
};

struct sample {
	int64_t wall_ms;
	uint64_t steady_ms;
	struct larder_stat stat;
	struct larder_namespace_info *namespaces;
	unsigned namespace_count;
	struct sample_series *series;
	unsigned series_count;
	struct larder_hot_key hot[SAMPLE_HOT_KEYS];
	size_t hot_count;
	struct sample_remote remote;
};

/* LARDER_OK, and sample_free() is due; or why not. */
enum larder_status sample_take(struct larder *cache, struct sample *sample);
void sample_free(struct sample *sample);

/* One number with its name and labels.  Of a histogram: buckets are not NULL, value is the number of operations. */
struct sample_value {
	const char *name, *text;
	bool counter; /* else what is so now */
	uint64_t value, sum_ns;
	const uint64_t *buckets;
	struct larder_label labels[LARDER_LABELS_MAX + 4];
	unsigned label_count;
};

/* What is wanted of a sample; NULL: anything.  Globs, see fnmatch(3). */
struct sample_filter {
	const char *name, *store, *namespace_name;
};

/* Counters and gauges of the cache itself. */
void sample_each_engine(const struct sample *sample, const struct sample_filter *filter,
		void (*visit)(const struct sample_value *value, void *arg), void *arg);
/* Entries and bytes by namespace, tiers, servers, and the metrics: all of one name in a row. */
void sample_each_labelled(const struct sample *sample, const struct sample_filter *filter,
		void (*visit)(const struct sample_value *value, void *arg), void *arg);

/* The same number in an earlier sample; 0 if it was not there. */
uint64_t sample_before(const struct sample *before, const struct sample_value *value);

/* ---- sample_tier.c: parts of the above ---- */

struct sample_visit {
	const struct sample_filter *filter;
	void (*visit)(const struct sample_value *value, void *arg);
	void *arg;
};
bool sample_wanted(const struct sample_visit *visit, const char *name); /* by its name */
/* LARDER_OK, LARDER_END without memory; sample_remote_free() is due in any case. */
enum larder_status sample_remote_take(struct larder *cache, uint64_t entries, struct sample_remote *remote);
void sample_remote_free(struct sample_remote *remote);
void sample_each_remote(const struct sample_remote *remote, const struct sample_visit *visit);
/* In a word: whether changes of others are "heard", the line is "broken", whoever listened is gone ("vacant"), or nobody has listened
 * yet ("unheard"). */
const char *sample_line(const struct larder_tiered_info *info);
bool sample_heard(const struct larder_tiered_info *info);
const char *sample_breaker(const struct larder_redis_node *node);

/* ---- prometheus.c ---- */

/* The text exposition format (version 0.0.4) of a sample of the cache `cache`. */
void prometheus_write(FILE *out, const char *cache, const struct sample *sample, const struct sample_filter *filter);

#endif
