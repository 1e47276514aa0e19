/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public side of the instruments: larder/monitor.h over series, hot and trace.  Nothing here is on the path of a get or a set; what
 * counts there are series.h and watch.h.
 */
#include "cache/monitor.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cache/call.h"
#include "shm/hot.h"

_Static_assert(LARDER_BUCKETS == HISTOGRAM_BUCKETS && LARDER_REASONS == SERIES_ERRORS && LARDER_LABEL_BYTES_MAX == SERIES_TEXT_BYTES,
		"what programs see is what there is");

static enum larder_status usable(struct larder *cache, bool to_change)
{
	if (cache == NULL)
		return LARDER_INVALID;
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	return to_change && cache->region.read_only ? LARDER_READ_ONLY : LARDER_OK;
}

/* ---- Recording --------------------------------------------------------------------------------------------------- */

static bool label_name_good(const char *name)
{
	static const char *const ours[] = { "cache", "store", "namespace", "operation", "success", "reason", "le" };

	if (name == NULL || !(isalpha((unsigned char)name[0]) || name[0] == '_'))
		return false;
	for (const char *c = name; *c != 0; c++)
		if (!isalnum((unsigned char)*c) && *c != '_')
			return false;
	for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
		if (strcmp(name, ours[i]) == 0)
			return false;
	return true;
}

static bool labels_good(const struct larder_label *labels, unsigned count)
{
	if (count > LARDER_LABELS_MAX || (labels == NULL && count != 0)) {
		message_set("%u labels: at most %u beside store, namespace and operation", count, LARDER_LABELS_MAX);
		return false;
	}
	for (unsigned i = 0; i < count; i++) {
		if (label_name_good(labels[i].name) && labels[i].value != NULL)
			continue;
		message_set("label \"%.40s\": must be [a-zA-Z_][a-zA-Z0-9_]*, none of larder's own (cache, store, namespace, operation, success, reason, le), "
				"and have a value", labels[i].name != NULL ? labels[i].name : "");
		return false;
	}
	return true;
}

enum larder_status monitor_record(const struct series_table *t, const char *operation, const char *store, const char *namespace_name,
		bool success, uint64_t duration_ns, const struct larder_label *labels, unsigned label_count)
{
	struct series_label more[LARDER_LABELS_MAX];
	struct series s;

	if (operation == NULL || operation[0] == 0 || store == NULL || namespace_name == NULL) {
		message_set("operation: must have a name; store, namespace_name: must not be NULL (\"\" for none)");
		return LARDER_INVALID;
	}
	if (!labels_good(labels, label_count))
		return LARDER_INVALID;
	for (unsigned i = 0; i < label_count; i++)
		more[i] = (struct series_label){ labels[i].name, labels[i].value };
	bool timed = success && duration_ns != LARDER_NO_DURATION;
	enum larder_status status = series_find(t, &(struct series_labels){ store, namespace_name, operation, more, label_count }, timed, &s);
	if (status == LARDER_INVALID)
		message_set("operation \"%.40s\", store \"%.40s\", namespace \"%.40s\": with their labels they take more than %u bytes; shorten them",
				operation, store, namespace_name, LARDER_LABEL_BYTES_MAX);
	if (status != LARDER_OK)
		return status;
	series_count(&s, success ? SERIES_RECORDED : SERIES_FAILED, 1);
	if (timed)
		series_time(&s, duration_ns, 1);
	return LARDER_OK;
}

enum larder_status larder_monitor_record(struct larder *cache, const char *operation, const char *store, const char *namespace_name,
		bool success, uint64_t duration_ns, const struct larder_label *labels, unsigned label_count)
{
	struct series_table t;
	enum larder_status status = usable(cache, true);

	if (status != LARDER_OK)
		return status;
	series_of_region(&cache->region, &t);
	return monitor_record(&t, operation, store, namespace_name, success, duration_ns, labels, label_count);
}

static enum larder_status set_timing(const struct series_table *t, uint32_t one_in)
{
	if (one_in > TIMING_RATE_MAX)
		return LARDER_INVALID;
	timing_set(t, one_in == 0 ? TIMING_NEVER : one_in);
	return LARDER_OK;
}

enum larder_status larder_monitor_timing(struct larder *cache, uint32_t one_in)
{
	struct series_table t;
	enum larder_status status = usable(cache, true);

	if (status != LARDER_OK)
		return status;
	series_of_region(&cache->region, &t);
	return set_timing(&t, one_in);
}

/* ---- Metrics ----------------------------------------------------------------------------------------------------- */

/* The part up to the next NUL; text ends with one, whatever a stranger wrote. */
static const char *next_part(const char **text, const char *end)
{
	const char *part = *text;

	*text = part < end ? part + strlen(part) + 1 : end;
	return part < end ? part : "";
}

static void read_labels(struct larder_metric *m, char *text, const char *end)
{
	const char *at = text;

	m->store = next_part(&at, end);
	m->namespace_name = next_part(&at, end);
	m->operation = next_part(&at, end);
	while (at < end && m->label_count < LARDER_LABELS_MAX) {
		char *pair = text + (next_part(&at, end) - text), *equals = strchr(pair, '=');
		if (equals == NULL)
			continue;
		*equals = 0;
		if (label_name_good(pair)) /* else a stranger wrote it, and what shows it would be no text that anybody reads */
			m->labels[m->label_count++] = (struct larder_label){ pair, equals + 1 };
	}
}

static void read_counts(const struct series_table *t, uint32_t row, struct larder_metric *m, uint64_t buckets[LARDER_BUCKETS])
{
	const struct shm_histogram *h = series_histogram(t, row);

	m->hits = series_sum(t, row, SERIES_HITS);
	m->misses = series_sum(t, row, SERIES_MISSES);
	m->done = series_sum(t, row, SERIES_DONE);
	m->recorded = series_sum(t, row, SERIES_RECORDED);
	m->failed = series_sum(t, row, SERIES_FAILED);
	m->sum_ns = series_sum(t, row, SERIES_SUM_NS);
	for (unsigned i = 0; i < LARDER_REASONS; i++)
		m->errors[i] = load_hint(&t->rows[row].error[i]);
	for (unsigned i = 0; h != NULL && i < LARDER_BUCKETS; i++) {
		buckets[i] = load_hint(&h->bucket[i]);
		m->timed += buckets[i];
	}
	m->buckets = m->timed != 0 ? buckets : NULL;
}

static bool has_counts(const struct larder_metric *m)
{
	uint64_t any = m->hits | m->misses | m->done | m->recorded | m->failed | m->timed;

	for (unsigned i = 0; i < LARDER_REASONS; i++)
		any |= m->errors[i];
	return any != 0;
}

enum larder_status monitor_visit(const struct series_table *t, bool (*visit)(const struct larder_metric *metric, void *arg), void *arg)
{
	uint64_t *buckets = calloc(LARDER_BUCKETS, sizeof *buckets);
	enum larder_status status = buckets != NULL ? LARDER_OK : LARDER_NO_MEMORY;

	for (uint32_t row = 0; status == LARDER_OK && row < t->row_count; row++) {
		char text[SERIES_TEXT_BYTES + 1];
		struct larder_metric m = { .label_count = 0 };
		size_t bytes;
		if (!series_text(t, row, text, &bytes))
			continue;
		read_labels(&m, text, text + bytes);
		read_counts(t, row, &m, buckets);
		if ((row != 0 || has_counts(&m)) && !visit(&m, arg))
			status = LARDER_END;
	}
	free(buckets);
	return status;
}

enum larder_status larder_metrics(struct larder *cache, bool (*visit)(const struct larder_metric *metric, void *arg), void *arg)
{
	struct series_table t;
	enum larder_status status = visit == NULL ? LARDER_INVALID : usable(cache, false);

	if (status != LARDER_OK)
		return status;
	series_of_region(&cache->region, &t);
	return monitor_visit(&t, visit, arg);
}

uint64_t larder_bucket_ns(unsigned bucket) { return histogram_from_ns(bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS); }

uint64_t larder_quantile_ns(const uint64_t buckets[LARDER_BUCKETS], double quantile)
{
	uint64_t all = 0, below = 0;

	for (unsigned i = 0; i < LARDER_BUCKETS; i++)
		all += buckets[i];
	double wanted = quantile * (double)all;
	for (unsigned i = 0; i < LARDER_BUCKETS; i++) {
		below += buckets[i];
		if (buckets[i] != 0 && ((double)below >= wanted || below == all))
			return (histogram_from_ns(i) + histogram_from_ns(i + 1)) / 2;
	}
	return 0;
}

/* ---- Hot keys ---------------------------------------------------------------------------------------------------- */

enum larder_status larder_hot_keys_mode(struct larder *cache, enum larder_hot_mode mode)
{
	enum larder_status status = (unsigned)mode > LARDER_HOT_CLEAR ? LARDER_INVALID : usable(cache, true);

	if (status != LARDER_OK)
		return status;
	if (cache->region.geo.hot_sets == 0)
		return mode == LARDER_HOT_OFF ? LARDER_OK : LARDER_UNSUPPORTED;
	hot_set_mode(&cache->region, mode);
	return LARDER_OK;
}

enum larder_status larder_hot_keys(struct larder *cache, struct larder_hot_key *keys, size_t capacity, size_t *count)
{
	enum larder_status status = count == NULL || (keys == NULL && capacity != 0) ? LARDER_INVALID : usable(cache, false);

	if (status == LARDER_OK)
		*count = hot_read(&cache->region, moment_coarse(&cache->region), keys, capacity);
	return status;
}

/* ---- Sampled accesses -------------------------------------------------------------------------------------------- */

enum larder_status larder_trace_info(struct larder *cache, struct larder_trace_info *info)
{
	enum larder_status status = info == NULL ? LARDER_INVALID : usable(cache, false);
	struct trace_mark mark;

	if (status != LARDER_OK)
		return status;
	const struct region *r = &cache->region;
	*info = (struct larder_trace_info){ .one_in = trace_one_in(r),
		.accesses = trace_written(r), .capacity = r->geo.trace_words / TRACE_BATCH * TRACE_ACCESSES };
	if (info->accesses > info->capacity && trace_last_mark(r, &mark)) {
		info->mark = mark.batch;
		info->mark_hits = mark.hits;
		info->mark_misses = mark.misses;
	}
	return LARDER_OK;
}

static struct larder_access access_of(const struct trace_access *t)
{
	return (struct larder_access){ .key = t->key, .one_in = t->one_in, .bytes = t->bytes, .ttl_ms = t->ttl_ms, .at_ms = t->moment, .ns = t->ns,
		.kind = (enum larder_access_kind)t->kind };
}

enum larder_status larder_trace_read(struct larder *cache, uint64_t *cursor, struct larder_access *out, size_t capacity, size_t *count)
{
	struct trace_access got[TRACE_ACCESSES];
	enum larder_status status = cursor == NULL || out == NULL || count == NULL || capacity < TRACE_BATCH ? LARDER_INVALID : usable(cache, false);

	if (status != LARDER_OK)
		return status;
	*count = 0;
	while (capacity - *count >= TRACE_ACCESSES) {
		uint64_t from = *cursor;
		size_t n = trace_read(&cache->region, cursor, got, TRACE_ACCESSES);
		if (*cursor == from)
			break;
		for (size_t i = 0; i < n; i++)
			out[(*count)++] = access_of(&got[i]);
	}
	return LARDER_OK;
}
