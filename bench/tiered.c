/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does a tier cost?  A hit beside a get of the near store alone; a set written behind beside a set there: processor time of the
 * calling thread, in bursts, in turn; the differences are taken within each round.  Between bursts the queue is emptied.
 * With LARDER_REDIS_URL set the far store is that Redis, and a miss and a set written through are timed as well, by the wall clock, beside a
 * get and a set of the store kind redis itself.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <larder/tiered.h>

#include "bench.h"
#include "keys.h"

#define ROUNDS_MAX 1000u
#define SPAN 256u
#define STREAM_MAX (UINT64_C(1) << 20)
#define VALUE_MAX 4096u
#define DRAIN_MS 60000

struct tiered_run {
	const struct bench_options *options;
	const char *url; /* NULL: the far store is memory */
	struct larder_store *near, *far, *through, *behind;
	const struct larder_name *name;
	struct key_stream stream;
	size_t at;
	uint64_t failures;
	uint8_t value[VALUE_MAX];
};

typedef enum larder_status (*operation)(struct tiered_run *run, const struct larder_store_key *key);

static enum larder_status get_from(struct tiered_run *run, struct larder_store *store, const struct larder_store_key *key)
{
	struct larder_buffer value = { .data = run->value, .capacity = sizeof run->value };

	return larder_store_get(store, key, 0, &value, NULL);
}
static enum larder_status set_in(struct tiered_run *run, struct larder_store *store, const struct larder_store_key *key)
{
	return larder_store_set(store, key, run->value, run->options->value_bytes, NULL, NULL);
}

static enum larder_status near_get(struct tiered_run *run, const struct larder_store_key *key) { return get_from(run, run->near, key); }
static enum larder_status hit(struct tiered_run *run, const struct larder_store_key *key) { return get_from(run, run->through, key); }
static enum larder_status near_set(struct tiered_run *run, const struct larder_store_key *key) { return set_in(run, run->near, key); }
static enum larder_status behind(struct tiered_run *run, const struct larder_store_key *key) { return set_in(run, run->behind, key); }
static enum larder_status far_get(struct tiered_run *run, const struct larder_store_key *key) { return get_from(run, run->far, key); }
static enum larder_status far_set(struct tiered_run *run, const struct larder_store_key *key) { return set_in(run, run->far, key); }
static enum larder_status through(struct tiered_run *run, const struct larder_store_key *key) { return set_in(run, run->through, key); }
static enum larder_status miss(struct tiered_run *run, const struct larder_store_key *key)
{
	enum larder_status status = larder_store_delete(run->near, key);

	return status < 0 ? status : get_from(run, run->through, key);
}

static const struct way {
	const char *label;
	operation call;
	unsigned base;
	bool wall; /* waits for a server */
} ways[] = {
	{ "near store, get", near_get, 0, false },
	{ "tier, hit", hit, 0, false },
	{ "near store, set", near_set, 2, false },
	{ "tier, set behind", behind, 2, false },
	{ "far store, get", far_get, 4, true },
	{ "tier, miss", miss, 4, true },
	{ "far store, set", far_set, 6, true },
	{ "tier, set through", through, 6, true },
};
#define WAYS (sizeof ways / sizeof ways[0])

static unsigned ways_of(const struct tiered_run *run) { return run->url ? WAYS : 4; }

static uint64_t clock_ns(bool wall)
{
	struct timespec now;

	(void)clock_gettime(wall ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double burst(struct tiered_run *run, const struct way *way)
{
	struct larder_store_key key = { .ns = run->name, .count = run->stream.key_bytes };
	unsigned span = way->wall ? 16 : SPAN;
	uint64_t begin = clock_ns(way->wall), end = begin + (uint64_t)run->options->burst_ms * 1000000, ops = 0, now = begin;

	for (; now < end; now = clock_ns(way->wall), ops += span)
		for (unsigned i = 0; i < span; i++) {
			key.bytes = run->stream.keys + run->at * run->stream.key_bytes;
			run->failures += way->call(run, &key) != LARDER_OK;
			run->at = run->at + 1 < run->stream.count ? run->at + 1 : 0;
		}
	(void)larder_store_drain(run->behind, DRAIN_MS);
	return ops ? (double)(now - begin) / (double)ops : NAN;
}

static struct larder_store *find(const char *name, void *arg)
{
	const struct tiered_run *run = arg;

	return !strcmp(name, "near") ? run->near : run->far;
}

static enum larder_status set_up(struct tiered_run *run)
{
	char bytes[32];
	uint64_t each = run->options->key_bytes + run->options->value_bytes + 120;

	snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)(run->options->keys * each * 2 + (32u << 20)));
	const struct larder_setting memory[] = { { "bytes", bytes }, { "huge", run->options->huge ? "yes" : "no" } };
	const struct larder_setting redis[] = { { "url", run->url }, { "prefix", "larder-bench:" } };
	const struct larder_setting through_settings[] = { { "near", "near" }, { "far", "far" }, { "mode", "write-through" } };
	const struct larder_setting behind_settings[] = { { "near", "near" }, { "far", "far" }, { "mode", "write-behind" },
		{ "queue", "4194304" }, { "queue-bytes", "4g" } };
	enum larder_status status = larder_store_open("memory", memory, 2, NULL, NULL, &run->near);
	if (!status)
		status = run->url ? larder_store_open("redis", redis, 2, NULL, NULL, &run->far)
				: larder_store_open("memory", memory, 2, NULL, NULL, &run->far);
	if (!status)
		status = larder_store_open("tiered", through_settings, 3, find, run, &run->through);
	if (!status)
		status = larder_store_open("tiered", behind_settings, 5, find, run, &run->behind);
	return status ? status : larder_name("bench", &run->name);
}

static int fill(struct tiered_run *run)
{
	uint8_t bytes[KEY_BYTES_MAX];
	struct larder_store_key key = { .ns = run->name, .bytes = bytes, .count = run->options->key_bytes };

	for (uint64_t n = 0; n < run->options->keys && !bench_interrupted(); n++) {
		key_make(bytes, run->options->key_bytes, n);
		value_make(run->value, run->options->value_bytes, bytes);
		if (near_set(run, &key) != LARDER_OK || behind(run, &key) != LARDER_OK)
			return -1;
	}
	if (larder_store_drain(run->behind, DRAIN_MS) != LARDER_OK)
		return -1;
	size_t count = run->options->keys < STREAM_MAX ? (size_t)run->options->keys : STREAM_MAX;
	return stream_make(&run->stream, count, run->options->keys, 0, run->options->key_bytes, 0, run->options->seed);
}

static void tell(const struct tiered_run *run, double ns[WAYS][ROUNDS_MAX], unsigned rounds, struct report *report)
{
	static double copy[ROUNDS_MAX], ratio[ROUNDS_MAX];

	report_section(report, "tiered", "what a tier adds; processor time of the caller, with a server the wall clock");
	for (unsigned w = 0; w < ways_of(run); w++) {
		for (unsigned r = 0; r < rounds; r++) {
			copy[r] = ns[w][r];
			ratio[r] = ns[w][r] / ns[ways[w].base][r];
		}
		report_row(report);
		report_text(report, "way", "%s", ways[w].label);
		report_number(report, "ns", bench_median(copy, rounds), 1);
		report_number(report, "ratio", bench_median(ratio, rounds), 3);
	}
}

static int measure(struct tiered_run *run, struct report *report)
{
	static double ns[WAYS][ROUNDS_MAX];
	unsigned rounds = run->options->rounds < ROUNDS_MAX ? run->options->rounds : ROUNDS_MAX, count = ways_of(run);

	for (unsigned r = 0; r < rounds && !bench_interrupted(); r++) {
		bench_progress("tiered: round %u of %u", r + 1, rounds);
		/* Whose turn is first changes with each round. */
		for (unsigned w = 0; w < count; w++)
			ns[(w + r) % count][r] = burst(run, &ways[(w + r) % count]);
	}
	bench_progress_end();
	if (bench_interrupted())
		return -1;
	if (run->failures)
		bench_complain("tiered: %llu operations failed", (unsigned long long)run->failures);
	tell(run, ns, rounds, report);
	return run->failures ? -1 : 0;
}

int tiered_run(const struct bench_options *options, struct report *report)
{
	struct tiered_run *run = calloc(1, sizeof *run);
	int result = -1;

	if (!run || options->value_bytes > VALUE_MAX) {
		bench_complain("tiered: no memory, or values of more than %u bytes", VALUE_MAX);
		free(run);
		return -1;
	}
	run->options = options;
	run->url = getenv("LARDER_REDIS_URL");
	if (set_up(run) != LARDER_OK)
		bench_complain("tiered: %s", larder_message());
	else if (fill(run) == 0)
		result = measure(run, report);
	stream_free(&run->stream);
	larder_store_release(&run->behind);
	larder_store_release(&run->through);
	larder_store_release(&run->far);
	larder_store_release(&run->near);
	free(run);
	return result;
}
