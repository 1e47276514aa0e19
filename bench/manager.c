/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does the manager cost a get, and a set?  One cache in memory of this process is read by the engine's own call, through its store, and
 * through handles of two managers, one of which counts nothing.  All read the same stream of keys in bursts, in turn; the
 * differences are taken within each round.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <larder/manager.h>

#include "bench.h"
#include "keys.h"

#define ROUNDS_MAX 1000u
#define SPAN 256u /* operations between two looks at the clock */
#define STREAM_MAX (UINT64_C(1) << 20)
#define VALUE_MAX 4096u

struct manager_run {
	const struct bench_options *options;
	struct larder *cache;
	struct larder_store *store;
	struct larder_manager *counting, *silent;
	struct larder_handle *counted, *uncounted;
	const struct larder_name *name;
	uint32_t ns;
	struct key_stream stream;
	size_t at;
	uint64_t misses;
	uint8_t value[VALUE_MAX];
};

typedef enum larder_status (*operation)(struct manager_run *run, const uint8_t *key, unsigned key_bytes);

static enum larder_status get_engine(struct manager_run *run, const uint8_t *key, unsigned key_bytes)
{
	size_t length;

	return larder_get(run->cache, run->ns, key, key_bytes, run->value, sizeof run->value, &length);
}

static enum larder_status get_store(struct manager_run *run, const uint8_t *key, unsigned key_bytes)
{
	const struct larder_store_key asked = { run->name, key, key_bytes };
	struct larder_buffer value = { .data = run->value, .capacity = sizeof run->value };

	return larder_store_get(run->store, &asked, 0, &value, NULL);
}

static enum larder_status get_silent(struct manager_run *run, const uint8_t *key, unsigned key_bytes)
{
	struct larder_buffer value = { .data = run->value, .capacity = sizeof run->value };

	return larder_handle_get(run->uncounted, key, key_bytes, &value);
}

static enum larder_status get_counted(struct manager_run *run, const uint8_t *key, unsigned key_bytes)
{
	struct larder_buffer value = { .data = run->value, .capacity = sizeof run->value };

	return larder_handle_get(run->counted, key, key_bytes, &value);
}

static enum larder_status set_engine(struct manager_run *run, const uint8_t *key, unsigned key_bytes)
{
	return larder_set(run->cache, run->ns, key, key_bytes, run->value, run->options->value_bytes, LARDER_TTL_DEFAULT);
}

static enum larder_status set_counted(struct manager_run *run, const uint8_t *key, unsigned key_bytes)
{
	return larder_handle_set(run->counted, key, key_bytes, run->value, run->options->value_bytes, LARDER_TTL_DEFAULT);
}

static const struct way {
	const char *label;
	operation call;
	unsigned base; /* what it is compared with */
} ways[] = {
	{ "engine, get", get_engine, 0 },
	{ "store, get", get_store, 0 },
	{ "manager without metrics, get", get_silent, 0 },
	{ "manager, get", get_counted, 0 },
	{ "engine, set", set_engine, 4 },
	{ "manager, set", set_counted, 4 },
};
#define WAYS (sizeof ways / sizeof ways[0])

static uint64_t cpu_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Processor time of one operation, over a burst. */
static double burst(struct manager_run *run, operation call)
{
	const unsigned key_bytes = run->stream.key_bytes;
	uint64_t begin = cpu_now_ns(), end = begin + (uint64_t)run->options->burst_ms * 1000000, ops = 0, now = begin;

	for (; now < end; now = cpu_now_ns(), ops += SPAN)
		for (unsigned i = 0; i < SPAN; i++) {
			run->misses += call(run, run->stream.keys + run->at * key_bytes, key_bytes) != LARDER_OK;
			run->at = run->at + 1 < run->stream.count ? run->at + 1 : 0;
		}
	return ops ? (double)(now - begin) / (double)ops : NAN;
}

static enum larder_status open_one(struct manager_run *run, const char *text, struct larder_manager **manager,
		struct larder_handle **handle)
{
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;

	options.text = text;
	options.file = "";
	options.flags = LARDER_NO_ENVIRONMENT;
	enum larder_status status = larder_manager_open_with(&options, manager);
	if (!status)
		status = larder_manager_register(*manager, NULL, run->store);
	return status ? status : larder_manager_handle(*manager, NULL, "bench", handle);
}

/* Room for all keys, so that nothing is evicted. */
static enum larder_status set_up(struct manager_run *run)
{
	char bytes[32];
	uint64_t each = run->options->key_bytes + run->options->value_bytes + 80;
	snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)(run->options->keys * each * 2 + (32u << 20)));
	const struct larder_setting settings[] = { { "bytes", bytes }, { "huge", run->options->huge ? "yes" : "no" } };
	enum larder_status status = larder_store_open("memory", settings, 2, NULL, NULL, &run->store);

	if (!status)
		status = larder_name("bench", &run->name);
	if (!status)
		status = open_one(run, "", &run->counting, &run->counted);
	if (!status)
		status = open_one(run, "[manager]\nmetrics = none\n", &run->silent, &run->uncounted);
	if (status)
		return status;
	run->cache = larder_store_cache(run->store);
	return larder_namespace(run->cache, "bench", &run->ns);
}

static int fill(struct manager_run *run)
{
	uint8_t key[KEY_BYTES_MAX];

	for (uint64_t n = 0; n < run->options->keys && !bench_interrupted(); n++) {
		key_make(key, run->options->key_bytes, n);
		value_make(run->value, run->options->value_bytes, key);
		if (set_engine(run, key, run->options->key_bytes) != LARDER_OK)
			return -1;
	}
	size_t count = run->options->keys < STREAM_MAX ? (size_t)run->options->keys : STREAM_MAX;
	return stream_make(&run->stream, count, run->options->keys, 0, run->options->key_bytes, 0, run->options->seed);
}

static void tell(double ns[WAYS][ROUNDS_MAX], unsigned rounds, struct report *report)
{
	static double copy[ROUNDS_MAX], ratio[ROUNDS_MAX];

	report_section(report, "manager", "what a manager adds to the engine; one thread, processor time");
	for (unsigned w = 0; w < WAYS; w++) {
		for (unsigned r = 0; r < rounds; r++) {
			copy[r] = ns[w][r];
			ratio[r] = ns[w][r] / ns[ways[w].base][r];
		}
		report_row(report);
		report_text(report, "way", "%s", ways[w].label);
		report_number(report, "cpu ns", bench_median(copy, rounds), 1);
		report_number(report, "x engine", bench_median(ratio, rounds), 3);
	}
}

static int measure(struct manager_run *run, struct report *report)
{
	static double ns[WAYS][ROUNDS_MAX];
	unsigned rounds = run->options->rounds < ROUNDS_MAX ? run->options->rounds : ROUNDS_MAX;

	for (unsigned r = 0; r < rounds && !bench_interrupted(); r++) {
		bench_progress("manager: round %u of %u", r + 1, rounds);
		/* Whose turn is first changes with each round. */
		for (unsigned w = 0; w < WAYS; w++) {
			unsigned turn = (w + r) % WAYS;
			ns[turn][r] = burst(run, ways[turn].call);
		}
	}
	bench_progress_end();
	if (bench_interrupted())
		return -1;
	if (run->misses)
		bench_complain("manager: %llu operations found nothing", (unsigned long long)run->misses);
	tell(ns, rounds, report);
	return run->misses ? -1 : 0;
}

int manager_run(const struct bench_options *options, struct report *report)
{
	struct manager_run *run = calloc(1, sizeof *run);
	int result = -1;

	if (!run || options->value_bytes > VALUE_MAX) {
		bench_complain("manager: no memory, or values of more than %u bytes", VALUE_MAX);
		free(run);
		return -1;
	}
	run->options = options;
	if (set_up(run) != LARDER_OK)
		bench_complain("manager: %s", larder_message());
	else if (fill(run) == 0)
		result = measure(run, report);
	stream_free(&run->stream);
	larder_manager_close(&run->counting);
	larder_manager_close(&run->silent);
	larder_store_release(&run->store);
	free(run);
	return result;
}
