/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder stat: the counters of a cache since its creation, or, every interval, what they did meanwhile.  Names and
 * labels come from larder/counters.def; a counter added there appears here by itself.
 */
#include "tool.h"

#include <inttypes.h>
#include <time.h>

/* What is so now, beside the counters: fields of struct larder_stat. */
#define GAUGES(X) \
	X(entries, "entries in the index") \
	X(entry_bytes, "bytes of their keys, values and headers") \
	X(segments_free, "segments free") \
	X(segments_small, "segments of the small pool") \
	X(segments_main, "segments of the main pool") \
	X(segments_recycling, "segments being emptied") \
	X(participants_alive, "participants alive")

struct sample {
	struct larder_stat stat;
	int64_t wall_ms;
	uint64_t steady_ms;
};

static const struct option longs[] = { LONG_HELP, LONG_JSON, LONG_END };

static enum larder_status take_sample(struct larder *cache, struct sample *sample)
{
	sample->wall_ms = wall_clock_ms();
	sample->steady_ms = steady_clock_ms();
	return larder_stat(cache, &sample->stat);
}

static void print_line(uint64_t value, const char *name, const char *text)
{
	printf("%20" PRIu64 "  %-19s %s\n", value, name, text);
}

static void print_text(const struct larder_stat *stat)
{
	uint64_t gets = stat->hits + stat->misses;

#define LARDER_COUNTER(name, text) print_line(stat->name, #name, text);
#include <larder/counters.def>
#undef LARDER_COUNTER
	putchar('\n');
#define PRINT_GAUGE(name, text) print_line(stat->name, #name, text);
	GAUGES(PRINT_GAUGE)
#undef PRINT_GAUGE
	if (gets)
		printf("%19.2f%%  %-19s %s\n", 100.0 * (double)stat->hits / (double)gets, "hit_rate", "of all gets");
}

static json_t *sample_json(const struct sample *sample)
{
	const struct larder_stat *stat = &sample->stat;
	json_t *object = json_object();

	json_object_set_new(object, "time_ms", json_integer(sample->wall_ms));
#define LARDER_COUNTER(name, text) json_object_set_new(object, #name, json_number(stat->name));
#include <larder/counters.def>
#undef LARDER_COUNTER
#define JSON_GAUGE(name, text) json_object_set_new(object, #name, json_number(stat->name));
	GAUGES(JSON_GAUGE)
#undef JSON_GAUGE
	return object;
}

static double per_second(uint64_t before, uint64_t now, uint64_t ms)
{
	return (double)(now - before) * 1000.0 / (double)(ms ? ms : 1);
}

static int print_rates_json(const struct sample *before, const struct sample *now)
{
	const struct larder_stat *old = &before->stat, *new = &now->stat;
	uint64_t ms = now->steady_ms - before->steady_ms;
	json_t *object = sample_json(now), *rates = json_object();

#define LARDER_COUNTER(name, text) json_object_set_new(rates, #name, json_real(per_second(old->name, new->name, ms)));
#include <larder/counters.def>
#undef LARDER_COUNTER
	json_object_set_new(object, "interval_ms", json_number(ms));
	json_object_set_new(object, "per_second", rates);
	return json_print(object, true);
}

static uint64_t evictions(const struct larder_stat *stat)
{
	return stat->evictions_small + stat->evictions_main + stat->evictions_index + stat->evictions_need;
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

static void wait_ms(int64_t ms)
{
	struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left))
		;
}

/* count 0: until the cache is destroyed, or nobody reads any more. */
static int watch(struct larder *cache, struct sample before, int64_t interval_ms, uint64_t count, bool json)
{
	for (uint64_t line = 0; !count || line < count; line++) {
		struct sample now;
		wait_ms(interval_ms);
		enum larder_status status = take_sample(cache, &now);
		if (status != LARDER_OK)
			return report_cache(status);
		if (!json && line % 20 == 0)
			print_rates_head();
		if (json)
			print_rates_json(&before, &now);
		else
			print_rates(&before, &now);
		if (fflush(stdout))
			return TOOL_FAILED;
		before = now;
	}
	return TOOL_OK;
}

static int show(struct larder *cache, int64_t interval_ms, uint64_t count, bool json)
{
	struct sample sample;
	enum larder_status status = take_sample(cache, &sample);

	if (status != LARDER_OK)
		return report_cache(status);
	if (interval_ms)
		return watch(cache, sample, interval_ms, count, json);
	if (json)
		return json_print(sample_json(&sample), false);
	print_text(&sample.stat);
	return TOOL_OK;
}

static int run(int argc, char **argv)
{
	bool json = false;
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hj", longs)) != -1)
		json |= option == 'j';
	operands_expect(argc, 1, 3);
	int operands = argc - optind;
	int64_t interval_ms = operands > 1 ? duration_argument("interval", argv[optind + 1]) : 0;
	uint64_t count = operands > 2 ? version_argument("count", argv[optind + 2]) : 0;
	int code = cache_inspect(argv[optind], &cache);
	if (code != TOOL_OK)
		return code;
	code = show(cache, interval_ms, count, json);
	larder_close(&cache);
	return code;
}

const struct command cmd_stat = {
	.name = "stat",
	.summary = "Shows counters, once or every interval with rates",
	.synopsis = "[-j] CACHE [INTERVAL [COUNT]]",
	.options = "  -j, --json               one JSON object; with INTERVAL one a line, with rates under per_second\n"
		HELP_HELP "\nINTERVAL is a duration (5 or 5s, 500ms); without COUNT it goes on.\n",
	.run = run,
};
