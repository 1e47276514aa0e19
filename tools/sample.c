/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking samples and going through them, see sample.h. */
#include "sample.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* ---- Taking ------------------------------------------------------------------------------------------------------ */

static size_t labels_bytes(const struct larder_metric *m)
{
	size_t bytes = strlen(m->store) + strlen(m->namespace_name) + strlen(m->operation) + 3;

	for (unsigned i = 0; i < m->label_count; i++)
		bytes += strlen(m->labels[i].name) + strlen(m->labels[i].value) + 2;
	return bytes;
}

static const char *keep(char **to, const char *text)
{
	char *kept = *to;

	*to = stpcpy(kept, text) + 1;
	return kept;
}

static bool copy_metric(struct sample_series *s, const struct larder_metric *m)
{
	char *to = s->text = malloc(labels_bytes(m));

	if (!to)
		return false;
	s->metric = *m;
	s->metric.store = keep(&to, m->store);
	s->metric.namespace_name = keep(&to, m->namespace_name);
	s->metric.operation = keep(&to, m->operation);
	for (unsigned i = 0; i < m->label_count; i++)
		s->metric.labels[i] = (struct larder_label){ keep(&to, m->labels[i].name), keep(&to, m->labels[i].value) };
	if (!m->buckets)
		return true;
	s->buckets = malloc(LARDER_BUCKETS * sizeof *s->buckets);
	if (s->buckets)
		memcpy(s->buckets, m->buckets, LARDER_BUCKETS * sizeof *s->buckets);
	s->metric.buckets = s->buckets;
	return s->buckets != NULL;
}

static bool add_metric(const struct larder_metric *metric, void *arg)
{
	struct sample *sample = arg;
	struct sample_series *more = realloc(sample->series, (sample->series_count + 1) * sizeof *more);

	if (!more)
		return false;
	sample->series = more;
	more[sample->series_count] = (struct sample_series){ .text = NULL };
	return copy_metric(&more[sample->series_count++], metric);
}

static enum larder_status read_namespaces(struct larder *cache, struct sample *sample)
{
	struct larder_info info;
	enum larder_status status = larder_info(cache, &info);

	if (status != LARDER_OK)
		return status;
	sample->namespaces = calloc(info.namespaces, sizeof *sample->namespaces);
	if (!sample->namespaces)
		return LARDER_NO_MEMORY;
	for (uint32_t ns = 0; ns < info.namespaces; ns++)
		if (larder_namespace_info(cache, ns, &sample->namespaces[sample->namespace_count]) == LARDER_OK)
			sample->namespace_count++;
	return LARDER_OK;
}

enum larder_status sample_take(struct larder *cache, struct sample *sample)
{
	*sample = (struct sample){ .wall_ms = wall_clock_ms(), .steady_ms = steady_clock_ms() };
	enum larder_status status = larder_stat(cache, &sample->stat);
	if (status == LARDER_OK)
		status = read_namespaces(cache, sample);
	if (status == LARDER_OK)
		status = larder_metrics(cache, add_metric, sample);
	if (status == LARDER_OK)
		status = larder_hot_keys(cache, sample->hot, SAMPLE_HOT_KEYS, &sample->hot_count);
	if (status == LARDER_OK)
		status = sample_remote_take(cache, sample->stat.entries, &sample->remote);
	if (status != LARDER_OK)
		sample_free(sample);
	return status == LARDER_END ? LARDER_NO_MEMORY : status;
}

void sample_free(struct sample *sample)
{
	for (unsigned i = 0; i < sample->series_count; i++) {
		free(sample->series[i].text);
		free(sample->series[i].buckets);
	}
	free(sample->series);
	free(sample->namespaces);
	sample_remote_free(&sample->remote);
	*sample = (struct sample){ .wall_ms = 0 };
}

/* ---- Going through it -------------------------------------------------------------------------------------------- */

static bool matches(const char *glob, const char *text) { return !glob || fnmatch(glob, text, 0) == 0; }

void sample_each_engine(const struct sample *sample, const struct sample_filter *filter,
		void (*visit)(const struct sample_value *value, void *arg), void *arg)
{
	if (filter->store || filter->namespace_name)
		return;
#define VISIT(is_counter, field, about) \
	if (matches(filter->name, #field)) \
		visit(&(struct sample_value){ .name = #field, .text = about, .counter = is_counter, .value = sample->stat.field }, arg);
#define LARDER_COUNTER(name, text) VISIT(true, name, text)
#include <larder/counters.def>
#undef LARDER_COUNTER
#define LARDER_GAUGE(name, text) VISIT(false, name, text)
#include <larder/gauges.def>
#undef LARDER_GAUGE
#undef VISIT
}

static void each_namespace(const struct sample *sample, const struct sample_filter *filter, bool bytes,
		void (*visit)(const struct sample_value *value, void *arg), void *arg)
{
	struct sample_value value = { .name = bytes ? "namespace_bytes" : "namespace_entries", .label_count = 1,
		.text = bytes ? "bytes of the entries of a namespace" : "entries of a namespace" };

	if (filter->store || !matches(filter->name, value.name))
		return;
	for (unsigned i = 0; i < sample->namespace_count; i++) {
		const struct larder_namespace_info *ns = &sample->namespaces[i];
		int64_t number = bytes ? ns->bytes : ns->entries;
		value.labels[0] = (struct larder_label){ "namespace", ns->name };
		value.value = number > 0 ? (uint64_t)number : 0;
		if (matches(filter->namespace_name, ns->name))
			visit(&value, arg);
	}
}

enum metric_kind { HITS, MISSES, DONE, ERRORS, OPERATIONS, DURATION, DURATIONS };

bool sample_wanted(const struct sample_visit *visit, const char *name)
{
	return matches(visit->filter->name, name);
}

static void add_label(struct sample_value *value, const char *name, const char *text)
{
	value->labels[value->label_count++] = (struct larder_label){ name, text };
}

static void tell(const struct sample_visit *w, struct sample_value *value, uint64_t number)
{
	value->value = number;
	w->visit(value, w->arg);
}

static void tell_errors(const struct sample_visit *w, struct sample_value *value, const struct larder_metric *m)
{
	add_label(value, "reason", "");
	for (unsigned i = 0; i < LARDER_REASONS; i++) {
		value->labels[value->label_count - 1].value = larder_reason((enum larder_status)-(int)i);
		if (m->errors[i] != 0)
			tell(w, value, m->errors[i]);
	}
}

static void tell_operations(const struct sample_visit *w, struct sample_value *value, const struct larder_metric *m)
{
	uint64_t bad = m->failed;

	for (unsigned i = 0; i < LARDER_REASONS; i++)
		bad += m->errors[i];
	add_label(value, "success", "true");
	tell(w, value, m->hits + m->misses + m->done + m->recorded);
	value->labels[value->label_count - 1].value = "false";
	if (bad != 0)
		tell(w, value, bad);
}

static void tell_metric(const struct sample_visit *w, struct sample_value *value, enum metric_kind kind, const struct larder_metric *m)
{
	if (kind == ERRORS || kind == OPERATIONS || kind == DURATIONS)
		add_label(value, "operation", m->operation);
	for (unsigned i = 0; i < m->label_count; i++)
		add_label(value, m->labels[i].name, m->labels[i].value);
	if (kind == HITS || kind == MISSES || kind == DONE)
		tell(w, value, kind == HITS ? m->hits : kind == MISSES ? m->misses : m->done);
	else if (kind == ERRORS)
		tell_errors(w, value, m);
	else if (kind == OPERATIONS)
		tell_operations(w, value, m);
	else if (m->buckets) {
		value->buckets = m->buckets;
		value->sum_ns = m->sum_ns;
		tell(w, value, m->timed);
	}
}

/* Operations that only the program knows are no metric of the manager: of those that it names, what it never did is not told. */
static bool has_it(enum metric_kind kind, const char *operation, const struct larder_metric *m)
{
	if (operation[0] != 0 && strcmp(m->operation, operation) != 0)
		return false;
	return (kind != HITS && kind != MISSES && kind != DONE) || (m->hits | m->misses | m->done) != 0;
}

static void each_metric(const struct sample *sample, const struct sample_visit *w, const char *name, enum metric_kind kind, const char *operation,
		const char *text)
{
	if (!matches(w->filter->name, name))
		return;
	for (unsigned i = 0; i < sample->series_count; i++) {
		const struct larder_metric *m = &sample->series[i].metric;
		struct sample_value value = { .name = name, .text = text, .counter = true };

		if (!has_it(kind, operation, m) || !matches(w->filter->store, m->store) || !matches(w->filter->namespace_name, m->namespace_name))
			continue;
		add_label(&value, "store", m->store);
		add_label(&value, "namespace", m->namespace_name);
		tell_metric(w, &value, kind, m);
	}
}

void sample_each_labelled(const struct sample *sample, const struct sample_filter *filter,
		void (*visit)(const struct sample_value *value, void *arg), void *arg)
{
	const struct sample_visit w = { filter, visit, arg };

	each_namespace(sample, filter, false, visit, arg);
	each_namespace(sample, filter, true, visit, arg);
	if (!filter->store && !filter->namespace_name)
		sample_each_remote(&sample->remote, &w);
#define LARDER_METRIC(name, kind, operation, text) each_metric(sample, &w, #name, kind, operation, text);
#include <larder/metrics.def>
#undef LARDER_METRIC
}

/* ---- Comparing --------------------------------------------------------------------------------------------------- */

struct search {
	const struct sample_value *wanted;
	uint64_t found;
};

static void compare(const struct sample_value *value, void *arg)
{
	struct search *s = arg;

	if (strcmp(value->name, s->wanted->name) != 0 || value->label_count != s->wanted->label_count)
		return;
	for (unsigned i = 0; i < value->label_count; i++)
		if (strcmp(value->labels[i].name, s->wanted->labels[i].name) != 0 || strcmp(value->labels[i].value, s->wanted->labels[i].value) != 0)
			return;
	s->found = value->value;
}

uint64_t sample_before(const struct sample *before, const struct sample_value *value)
{
	struct search s = { .wanted = value };
	const struct sample_filter filter = { .name = value->name };

	if (value->label_count)
		sample_each_labelled(before, &filter, compare, &s);
	else
		sample_each_engine(before, &filter, compare, &s);
	return s.found;
}
