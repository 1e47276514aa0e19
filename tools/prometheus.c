/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The text that Prometheus reads: counters end in _total, durations are in seconds, sizes in bytes, the cache's own numbers are called
 * larder_..., and what comes in several kinds (evictions by reason, memory by class of time to live) is one metric with a label.
 * Everything carries the label cache.
 */
#include <inttypes.h>
#include <string.h>

#include "sample.h"

/* Two steps to an octave: a bucket of ours begins at each. */
#define LE_STEP 8u

struct writer {
	FILE *out;
	const char *cache;
	char family[96];       /* whose HELP and TYPE were written last */
	const struct kin *kin; /* that are being written */
};

/* Numbers whose names begin alike are one metric: what follows is a label's value. */
static const struct kin {
	const char *prefix, *label, *text;
} kins[] = {
	{ "evictions_", "reason", "live entries dropped, by reason" },
	{ "ttl_bytes_", "class", "bytes written in segments by time to live of their entries, what died there since included" },
	{ "ttl_entries_", "class", "entries by time to live, estimated" },
};

static const struct kin *kin_of(const char *name)
{
	for (size_t i = 0; i < sizeof kins / sizeof *kins; i++)
		if (strncmp(name, kins[i].prefix, strlen(kins[i].prefix)) == 0)
			return &kins[i];
	return NULL;
}

/* Of a label's value: backslash, quote and newline are escaped; what is no UTF-8 would end the whole scrape, so it is shown by its bytes. */
static size_t utf8_bytes(const unsigned char *c)
{
	size_t n = *c < 0x80 ? 1 : *c >= 0xc2 && *c < 0xe0 ? 2 : *c >= 0xe0 && *c < 0xf0 ? 3 : *c >= 0xf0 && *c < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	if (n == 3 && ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] >= 0xa0)))
		return 0;
	return n == 4 && ((c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] >= 0x90)) ? 0 : n;
}

static void write_text(FILE *out, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c;) {
		size_t n = utf8_bytes(c);
		if (n == 0)
			fprintf(out, "\\\\x%02x", *c);
		else if (*c == '\\' || *c == '"')
			fprintf(out, "\\%c", *c);
		else if (*c == '\n')
			fputs("\\n", out);
		else
			fwrite(c, 1, n, out);
		c += n ? n : 1;
	}
}

static void write_labels(const struct writer *w, const struct sample_value *value, const char *name, const char *text)
{
	fputs("{cache=\"", w->out);
	write_text(w->out, w->cache);
	for (unsigned i = 0; i < value->label_count; i++) {
		fprintf(w->out, "\",%s=\"", value->labels[i].name);
		write_text(w->out, value->labels[i].value);
	}
	if (name)
		fprintf(w->out, "\",%s=\"%s", name, text);
	fputs("\"}", w->out);
}

static void begin_family(struct writer *w, const char *family, const char *type, const char *text)
{
	if (strcmp(w->family, family) == 0)
		return;
	snprintf(w->family, sizeof w->family, "%s", family);
	fprintf(w->out, "# HELP %s %s.\n# TYPE %s %s\n", family, text, family, type);
}

static void write_number(struct writer *w, const char *family, const struct sample_value *value, const char *label, const char *kind)
{
	begin_family(w, family, value->counter ? "counter" : "gauge", value->text);
	fputs(family, w->out);
	write_labels(w, value, label, kind);
	fprintf(w->out, " %" PRIu64 "\n", value->value);
}

/* "oldest_ms", "milliseconds that ..." are told in seconds.  False: it is no duration. */
static bool write_seconds(struct writer *w, const struct sample_value *value)
{
	static const char milli[] = "milli", unit[] = "_ms";
	size_t length = strlen(value->name) - (sizeof unit - 1);
	char family[96];

	if (strlen(value->name) < sizeof unit || strcmp(value->name + length, unit) != 0)
		return false;
	snprintf(family, sizeof family, "larder_%.*s_seconds", (int)length, value->name);
	begin_family(w, family, "gauge", value->text + (strncmp(value->text, milli, strlen(milli)) == 0 ? strlen(milli) : 0));
	fputs(family, w->out);
	write_labels(w, value, NULL, NULL);
	fprintf(w->out, " %.3f\n", (double)value->value / 1000);
	return true;
}

static void write_engine(const struct sample_value *value, void *arg)
{
	char family[96];

	if (kin_of(value->name))
		return;
	snprintf(family, sizeof family, "larder_%s%s", value->name, value->counter ? "_total" : "");
	write_number(arg, family, value, NULL, NULL);
}

/* Kin are one metric, which must stand in a row whatever stands between them in the .def files. */
static void write_kin(const struct sample_value *value, void *arg)
{
	struct writer *w = arg;
	const struct kin *kin = kin_of(value->name);
	struct sample_value one = *value;
	char family[96];

	if (kin == NULL || kin != w->kin)
		return;
	one.text = kin->text;
	snprintf(family, sizeof family, "larder_%.*s%s", (int)strlen(kin->prefix) - 1, kin->prefix, value->counter ? "_total" : "");
	write_number(w, family, &one, kin->label, value->name + strlen(kin->prefix));
}

static void write_histogram(struct writer *w, const struct sample_value *value)
{
	char family[96], le[32];
	uint64_t below = 0;

	snprintf(family, sizeof family, "%s_seconds", value->name);
	begin_family(w, family, "histogram", value->text);
	for (unsigned i = 0; i < LARDER_BUCKETS; i++) {
		below += value->buckets[i];
		if ((i + 1) % LE_STEP != 0 || i + 1 == LARDER_BUCKETS)
			continue;
		snprintf(le, sizeof le, "%.9g", (double)larder_bucket_ns(i + 1) / 1e9);
		fprintf(w->out, "%s_bucket", family);
		write_labels(w, value, "le", le);
		fprintf(w->out, " %" PRIu64 "\n", below);
	}
	fprintf(w->out, "%s_bucket", family);
	write_labels(w, value, "le", "+Inf");
	fprintf(w->out, " %" PRIu64 "\n%s_sum", below, family);
	write_labels(w, value, NULL, NULL);
	fprintf(w->out, " %.9g\n%s_count", (double)value->sum_ns / 1e9, family);
	write_labels(w, value, NULL, NULL);
	fprintf(w->out, " %" PRIu64 "\n", below);
}

static void write_labelled(const struct sample_value *value, void *arg)
{
	char family[96];

	if (value->buckets) {
		write_histogram(arg, value);
		return;
	}
	if (write_seconds(arg, value))
		return;
	/* The names of the manager's metrics are given. */
	snprintf(family, sizeof family, "%s%s%s", strncmp(value->name, "cache_", 6) == 0 ? "" : "larder_", value->name,
			value->counter ? "_total" : "");
	write_number(arg, family, value, NULL, NULL);
}

void prometheus_write(FILE *out, const char *cache, const struct sample *sample, const struct sample_filter *filter)
{
	struct writer w = { .out = out, .cache = cache };

	sample_each_engine(sample, filter, write_engine, &w);
	for (size_t i = 0; i < sizeof kins / sizeof *kins; i++) {
		w.kin = &kins[i];
		sample_each_engine(sample, filter, write_kin, &w);
	}
	sample_each_labelled(sample, filter, write_labelled, &w);
}
