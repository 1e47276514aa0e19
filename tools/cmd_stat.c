/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder stat: what there is to tell of a cache since its creation, or, every interval, what happened meanwhile; and a picture of
 * what an earlier `larder stat --json CACHE INTERVAL` recorded.  Names and labels come from the .def files, by way of sample.h.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "plot.h"
#include "sample.h"
#include "tool.h"

enum { STORE = 256, PROMETHEUS, PLOT };

struct request {
	struct sample_filter filter;
	const char *cache, *plot;
	int64_t interval_ms;
	uint64_t count; /* lines; 0: until the cache is destroyed, or nobody reads any more */
	bool json, prometheus;
};

static const struct option longs[] = {
	LONG_HELP,
	LONG_JSON,
	LONG_NAMESPACE,
	{ "filter", required_argument, NULL, 'f' },
	{ "store", required_argument, NULL, STORE },
	{ "prometheus", no_argument, NULL, PROMETHEUS },
	{ "plot", required_argument, NULL, PLOT },
	LONG_END,
};

static bool filtered(const struct request *request)
{
	return request->filter.name || request->filter.store || request->filter.namespace_name;
}

static double per_second(uint64_t before, uint64_t now, uint64_t ms)
{
	return (double)(now - before) * 1000.0 / (double)(ms ? ms : 1);
}

/* ---- For people -------------------------------------------------------------------------------------------------- */

static void print_engine(const struct sample_value *value, void *arg)
{
	bool *counters = arg;

	if (*counters && !value->counter)
		putchar('\n');
	*counters = value->counter;
	printf("%20" PRIu64 "  %-19s %s\n", value->value, value->name, value->text);
}

static void print_labels(const struct sample_value *value)
{
	for (unsigned i = 0; i < value->label_count; i++) {
		const char *text = value->labels[i].value;
		printf(" %s=", value->labels[i].name);
		if (text[0] == 0 && strcmp(value->labels[i].name, "namespace") == 0)
			fputs("(default)", stdout);
		print_bytes(stdout, (struct bytes){ (const unsigned char *)text, strlen(text) }, false);
	}
}

static void print_ns(uint64_t ns)
{
	if (ns < 10000)
		printf("%" PRIu64 " ns", ns);
	else if (ns < 10000000)
		printf("%.4g us", (double)ns / 1e3);
	else if (ns < UINT64_C(10000000000))
		printf("%.4g ms", (double)ns / 1e6);
	else
		printf("%.4g s", (double)ns / 1e9);
}

static void print_quantiles(const struct sample_value *value)
{
	static const struct { const char *name; double part; } quantiles[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "p99.9", 0.999 } };

	fputs(" mean ", stdout);
	print_ns(value->value ? value->sum_ns / value->value : 0);
	for (unsigned i = 0; i < 3; i++) {
		printf(", %s ", quantiles[i].name);
		print_ns(larder_quantile_ns(value->buckets, quantiles[i].part));
	}
}

static void print_labelled(const struct sample_value *value, void *arg)
{
	bool *first = arg;

	if (*first)
		putchar('\n');
	*first = false;
	printf("%20" PRIu64 "  %-19s", value->value, value->name);
	if (value->buckets)
		print_quantiles(value);
	print_labels(value);
	putchar('\n');
}

/* Whole seconds, of what takes some. */
static int64_t rounded(uint64_t ms)
{
	return (int64_t)(ms < 1000 ? ms : ms - ms % 1000);
}

static void print_tier(const struct sample_tier *tier)
{
	const struct larder_tiered_info *info = &tier->info;
	char text[TEXT_MAX];

	printf("tier before %s: ", tier->far);
	if (info->broken)
		printf("changes of others have not been heard for %s", text_duration(rounded(info->broken_for_ms), text));
	else if (sample_heard(info))
		fputs("changes of others are heard", stdout);
	else
		fputs(info->live ? "whoever listened for changes of others is gone" : "nobody has listened for changes of others yet", stdout);
	if (info->held)
		printf(" (pid %" PRId32 " %s)", info->holder_pid, info->live ? "listens" : "tries to");
	if (!info->live && info->trouble)
		printf(": %s", larder_strerror(info->trouble));
	printf("; %" PRIu64 " %s queued", info->pending, plural(info->pending, "write", "writes"));
	if (info->pending && info->oldest_ms)
		printf(", the oldest for %s", text_duration(rounded(info->oldest_ms), text));
	putchar('\n');
}

static void print_breaker(const struct larder_redis_node *node)
{
	char text[TEXT_MAX];

	printf("redis %s: breaker %s", node->address, sample_breaker(node));
	if (node->open_for_ms)
		printf(" for %s", text_duration(rounded(node->open_for_ms), text));
	if (node->breaker != LARDER_REDIS_CLOSED && node->retry_ms)
		printf(", next try in %s", text_duration(rounded(node->retry_ms), text));
	printf(*node->last ? "; last failure: %s\n" : "\n", node->last);
}

/* What the numbers below it say, in words. */
static void print_remote(const struct sample_remote *remote)
{
	if (remote->tier_count + remote->breaker_count)
		putchar('\n');
	for (unsigned i = 0; i < remote->tier_count; i++)
		print_tier(&remote->tiers[i]);
	if (remote->tier_count)
		printf("%s%" PRIu64 " dirty %s: near, and not in the far store yet\n", remote->dirty_sampled ? "about " : "", remote->dirty,
				plural(remote->dirty, "entry", "entries"));
	for (unsigned i = 0; i < remote->breaker_count; i++)
		print_breaker(&remote->breakers[i]);
}

static void print_hot(const struct sample *sample)
{
	bool hashed = false;

	for (size_t i = 0; i < sample->hot_count; i++)
		hashed = hashed || !sample->hot[i].text_bytes;
	if (sample->hot_count)
		puts("\n            accesses  hot key, of the last two minutes, less those that may be another's");
	if (hashed)
		puts("                      (#: its hash; `larder monitor --hot-keys clear` keeps the keys themselves)");
	for (size_t i = 0; i < sample->hot_count; i++) {
		const struct larder_hot_key *key = &sample->hot[i];
		printf("%20" PRIu64 "  -%" PRIu64 " ", key->count, key->error);
		if (key->text_bytes) {
			print_bytes(stdout, (struct bytes){ (const unsigned char *)key->text, key->text_bytes }, false);
			fputs(key->key_bytes > key->text_bytes ? "..." : "", stdout);
		} else
			printf("#%016" PRIx64, key->hash);
		for (unsigned n = 0; key->known && n < sample->namespace_count; n++)
			if (sample->namespaces[n].ns == key->ns && key->ns != 0)
				printf(" in %s", sample->namespaces[n].name);
		putchar('\n');
	}
}

static void print_text(const struct request *request, const struct sample *sample)
{
	uint64_t gets = sample->stat.hits + sample->stat.misses;
	bool counters = false, first = true;

	sample_each_engine(sample, &request->filter, print_engine, &counters);
	if (gets && !filtered(request))
		printf("%19.2f%%  %-19s %s\n", 100.0 * (double)sample->stat.hits / (double)gets, "hit_rate", "of all gets");
	if (!filtered(request))
		print_remote(&sample->remote);
	sample_each_labelled(sample, &request->filter, print_labelled, &first);
	if (!filtered(request))
		print_hot(sample);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

/* Seconds, as Prometheus has them. */
static json_t *quantiles_json(const struct sample_value *value)
{
	static const struct { const char *name; double part; } quantiles[] = {
		{ "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p999", 0.999 }, { "p9999", 0.9999 },
	};
	json_t *object = json_object();

	for (unsigned i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
		json_object_set_new(object, quantiles[i].name, json_real((double)larder_quantile_ns(value->buckets, quantiles[i].part) / 1e9));
	return object;
}

struct json_walk {
	json_t *object, *rates, *metrics;
	const struct sample *before; /* NULL: no rates */
	uint64_t ms;
};

static void engine_to_json(const struct sample_value *value, void *arg)
{
	struct json_walk *w = arg;

	json_object_set_new(w->object, value->name, json_number(value->value));
	if (w->before && value->counter)
		json_object_set_new(w->rates, value->name, json_real(per_second(sample_before(w->before, value), value->value, w->ms)));
}

static void labelled_to_json(const struct sample_value *value, void *arg)
{
	struct json_walk *w = arg;
	json_t *one = json_object();

	json_object_set_new(one, "name", json_string(value->name));
	for (unsigned i = 0; i < value->label_count; i++) {
		const char *text = value->labels[i].value;
		json_set_bytes(one, value->labels[i].name, (struct bytes){ (const unsigned char *)text, strlen(text) });
	}
	json_object_set_new(one, "value", json_number(value->value));
	if (value->buckets) {
		json_object_set_new(one, "sum_seconds", json_real((double)value->sum_ns / 1e9));
		json_object_set_new(one, "quantiles_seconds", quantiles_json(value));
	}
	if (w->before && value->counter)
		json_object_set_new(one, "per_second", json_real(per_second(sample_before(w->before, value), value->value, w->ms)));
	json_array_append_new(w->metrics, one);
}

static json_t *hot_json(const struct sample *sample)
{
	json_t *keys = json_array();

	for (size_t i = 0; i < sample->hot_count; i++) {
		const struct larder_hot_key *key = &sample->hot[i];
		json_t *one = json_object();
		json_object_set_new(one, "hash", json_version(key->hash));
		json_object_set_new(one, "accesses", json_number(key->count));
		json_object_set_new(one, "error", json_number(key->error));
		if (key->known) {
			json_object_set_new(one, "ns", json_number(key->ns));
			json_object_set_new(one, "key_bytes", json_number(key->key_bytes));
		}
		if (key->text_bytes)
			json_set_bytes(one, "key", (struct bytes){ (const unsigned char *)key->text, key->text_bytes });
		json_array_append_new(keys, one);
	}
	return keys;
}

static int print_json(const struct request *request, const struct sample *before, const struct sample *now)
{
	struct json_walk w = { .object = json_object(), .rates = json_object(), .metrics = json_array(), .before = before,
		.ms = before ? now->steady_ms - before->steady_ms : 0 };

	json_object_set_new(w.object, "time_ms", json_integer(now->wall_ms));
	sample_each_engine(now, &request->filter, engine_to_json, &w);
	sample_each_labelled(now, &request->filter, labelled_to_json, &w);
	json_object_set_new(w.object, "metrics", w.metrics);
	if (!filtered(request))
		json_object_set_new(w.object, "hot_keys", hot_json(now));
	if (before) {
		json_object_set_new(w.object, "interval_ms", json_number(w.ms));
		json_object_set(w.object, "per_second", w.rates);
	}
	json_decref(w.rates);
	return json_print(w.object, before != NULL);
}

/* ---- Rates ------------------------------------------------------------------------------------------------------- */

static uint64_t evictions(const struct larder_stat *stat)
{
	return stat->evictions_small + stat->evictions_main + stat->evictions_index + stat->evictions_need + stat->evictions_quota;
}

static void print_rates_head(void)
{
	printf("%10s %6s %10s %10s %10s %10s %10s %10s %9s %6s %5s\n", "gets/s", "hit%", "sets/s", "dels/s", "incrs/s",
			"evicts/s", "expires/s", "entries", "bytes", "free", "users");
}

static void print_rates(const struct sample *before, const struct sample *now)
{
	const struct larder_stat *old = &before->stat, *new = &now->stat;
	uint64_t ms = now->steady_ms - before->steady_ms;
	uint64_t hits = new->hits - old->hits, gets = hits + new->misses - old->misses;
	char size[TEXT_MAX], ratio[TEXT_MAX] = "-";

	if (gets)
		snprintf(ratio, sizeof ratio, "%.2f", 100.0 * (double)hits / (double)gets);
	printf("%10.0f %6s %10.0f %10.0f %10.0f %10.0f %10.0f %10" PRIu64 " %9s %6" PRIu64 " %5" PRIu64 "\n",
			(double)gets * 1000.0 / (double)(ms ? ms : 1), ratio, per_second(old->sets, new->sets, ms),
			per_second(old->deletes, new->deletes, ms), per_second(old->increments, new->increments, ms),
			per_second(evictions(old), evictions(new), ms),
			per_second(old->expirations, new->expirations, ms), new->entries,
			text_size(new->entry_bytes, size), new->segments_free, new->participants_alive);
}

struct change_walk {
	const struct sample *before;
	uint64_t ms;
};

/* What the filter let through, one a line: rate of a counter, or the number, and whose it is. */
static void print_change(const struct sample_value *value, void *arg)
{
	const struct change_walk *w = arg;

	if (value->counter)
		printf("%20.1f/s  %-19s", per_second(sample_before(w->before, value), value->value, w->ms), value->name);
	else
		printf("%20" PRIu64 "    %-19s", value->value, value->name);
	if (value->buckets)
		print_quantiles(value);
	print_labels(value);
	putchar('\n');
}

static void print_changes(const struct request *request, const struct sample *before, const struct sample *now)
{
	struct change_walk w = { before, now->steady_ms - before->steady_ms };

	sample_each_engine(now, &request->filter, print_change, &w);
	sample_each_labelled(now, &request->filter, print_change, &w);
	putchar('\n');
}

/* ---- Once, or every interval ------------------------------------------------------------------------------------- */

static void wait_ms(int64_t ms)
{
	struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left))
		;
}

static void print_line(const struct request *request, const struct sample *before, const struct sample *now, uint64_t line)
{
	if (request->prometheus)
		prometheus_write(stdout, request->cache, now, &request->filter);
	else if (request->json)
		print_json(request, before, now);
	else if (filtered(request))
		print_changes(request, before, now);
	else {
		if (line % 20 == 0)
			print_rates_head();
		print_rates(before, now);
	}
}

static int watch(struct larder *cache, const struct request *request, struct sample *before)
{
	for (uint64_t line = 0; !request->count || line < request->count; line++) {
		struct sample now;
		wait_ms(request->interval_ms);
		enum larder_status status = sample_take(cache, &now);
		if (status != LARDER_OK)
			return report_cache(status);
		print_line(request, before, &now, line);
		sample_free(before);
		*before = now;
		if (fflush(stdout))
			return TOOL_FAILED;
	}
	return TOOL_OK;
}

static int show_once(const struct request *request, const struct sample *sample)
{
	if (request->json)
		return print_json(request, NULL, sample);
	if (request->prometheus)
		prometheus_write(stdout, request->cache, sample, &request->filter);
	else
		print_text(request, sample);
	return TOOL_OK;
}

static int show(struct larder *cache, const struct request *request)
{
	struct sample sample;
	enum larder_status status = sample_take(cache, &sample);

	if (status != LARDER_OK)
		return report_cache(status);
	int code = request->interval_ms ? watch(cache, request, &sample) : show_once(request, &sample);
	sample_free(&sample);
	return code;
}

static void read_option(int option, struct request *request)
{
	if (option == 'j')
		request->json = true;
	else if (option == 'f')
		request->filter.name = optarg;
	else if (option == 'N')
		request->filter.namespace_name = optarg;
	else if (option == STORE)
		request->filter.store = optarg;
	else if (option == PROMETHEUS)
		request->prometheus = true;
	else if (option == PLOT)
		request->plot = optarg;
}

static int run(int argc, char **argv)
{
	struct request request = { .cache = NULL };
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hjf:N:", longs)) != -1)
		read_option(option, &request);
	if (request.json && request.prometheus)
		usage_error("--json and --prometheus: choose one");
	if (request.plot && optind == argc)
		usage_error("which history? A file that 'larder stat --json CACHE INTERVAL' wrote");
	operands_expect(argc, argv, 1, request.plot ? 1 : 3);
	int operands = argc - optind;
	request.cache = argv[optind];
	if (request.plot)
		return plot_history(request.cache, request.plot);
	request.interval_ms = operands > 1 ? duration_argument("interval", argv[optind + 1]) : 0;
	request.count = operands > 2 ? version_argument("count", argv[optind + 2]) : 0;
	int code = cache_inspect(request.cache, &cache);
	if (code != TOOL_OK)
		return code;
	code = show(cache, &request);
	larder_close(&cache);
	return code;
}

const struct command cmd_stat = {
	.name = "stat",
	.summary = "Shows counters and metrics, once or every interval with rates",
	.synopsis = "[-j | --prometheus] [-f GLOB] [--store GLOB] [-N GLOB] CACHE [INTERVAL [COUNT]]\n"
		"       larder stat --plot PICTURE HISTORY",
	.options = "  -j, --json               one JSON object; with INTERVAL one a line, with rates under per_second\n"
		"      --prometheus         the text that Prometheus reads\n"
		"  -f, --filter GLOB        only names like this: 'cache_*', 'segments_*'\n"
		"      --store GLOB         only metrics of such stores\n"
		"  -N, --namespace GLOB     only metrics of such namespaces\n"
		"      --plot PICTURE       draw PICTURE.png or PICTURE.svg from HISTORY, which --json with INTERVAL wrote\n"
		HELP_HELP "\nINTERVAL is a duration (5 or 5s, 500ms); without COUNT it goes on.\n",
	.run = run,
};
