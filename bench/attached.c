/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does it matter how many are attached?  Gets of one process while 1, 15, 127 ... others are attached, each of which
 * has made a call (so that it holds a participant slot) and then sleeps.  And: how long does it take to attach?
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crew.h"
#include "peer_larder.h"

#define OTHERS_MAX 999u

struct hall {
	struct larder *cache;
	char name[64];
	pid_t others[OTHERS_MAX];
	unsigned count;
	int closing[2]; /* a pipe: the others end when its writing end is closed */
};

static void other_run(struct hall *hall, int ready)
{
	char byte = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN);
	close(hall->closing[1]);
	if (larder_exists(hall->cache, 0, "x", 1) < 0)
		byte = 1;
	if (write(ready, &byte, 1) == 1)
		(void)!read(hall->closing[0], &byte, 1);
	_exit(0);
}

/* Until so many others are there; each says so once it has a slot. */
static int others_grow(struct hall *hall, unsigned wanted)
{
	int ready[2];
	char byte;

	if (pipe(ready) < 0)
		return -1;
	for (; hall->count < wanted; hall->count++) {
		pid_t child = fork();

		if (child == 0)
			other_run(hall, ready[1]);
		hall->others[hall->count] = child;
		if (child < 0 || read(ready[0], &byte, 1) != 1 || byte != 0) {
			bench_complain("attached: only %u others got a slot", hall->count);
			hall->count += child > 0;
			close(ready[0]);
			close(ready[1]);
			return -1;
		}
	}
	close(ready[0]);
	close(ready[1]);
	return 0;
}

static void hall_close(struct hall *hall)
{
	close(hall->closing[0]);
	close(hall->closing[1]);
	for (unsigned i = 0; i < hall->count; i++)
		waitpid(hall->others[i], NULL, 0);
	larder_close(&hall->cache);
	larder_destroy(hall->name);
}

static int hall_open(struct hall *hall, const struct shape *shape)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct peer_pair pair;

	*hall = (struct hall){ .count = 0 };
	snprintf(hall->name, sizeof hall->name, "bench.%d.attached", (int)getpid());
	options.flags = LARDER_EXCLUSIVE;
	options.participants = 1024;
	options.bytes = larder_roomy_bytes(shape);
	options.entry_bytes = shape->key_bytes + shape->value_bytes;
	if (larder_open_with(hall->name, &options, &hall->cache) < 0) {
		bench_complain("attached: %s", larder_message());
		return -1;
	}
	if (pipe(hall->closing) < 0 || pair_new(&pair, shape) < 0) {
		larder_close(&hall->cache);
		larder_destroy(hall->name);
		return -1;
	}
	for (uint64_t n = 0; n < shape->keys; n++) {
		pair_make(&pair, shape, n);
		larder_set(hall->cache, 0, pair.key, shape->key_bytes, pair.value, shape->value_bytes, LARDER_TTL_NONE);
	}
	pair_free(&pair);
	return 0;
}

static uint64_t processor_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double burst(struct hall *hall, const struct key_stream *stream, const struct shape *shape, bool write)
{
	uint8_t value[4096];
	uint64_t begin;
	size_t length;

	memset(value, 'v', sizeof value);
	begin = processor_ns();
	for (size_t i = 0; i < stream->count; i++) {
		const uint8_t *key = stream->keys + i * stream->key_bytes;

		if (write)
			larder_set(hall->cache, 0, key, stream->key_bytes, value, shape->value_bytes, LARDER_TTL_NONE);
		else
			larder_get(hall->cache, 0, key, stream->key_bytes, value, sizeof value, &length);
	}
	return (double)(processor_ns() - begin) / (double)stream->count;
}

static void tell(struct hall *hall, const struct bench_options *options, const struct shape *shape,
		const struct key_stream *stream, struct report *report)
{
	double gets[64], sets[64];
	unsigned rounds = options->rounds < 64 ? options->rounds : 64;

	for (unsigned r = 0; r < rounds; r++) {
		gets[r] = burst(hall, stream, shape, false);
		sets[r] = burst(hall, stream, shape, true);
	}
	report_row(report);
	report_number(report, "processes", hall->count + 1, 0);
	report_number(report, "cpu ns per get", bench_median(gets, rounds), 1);
	report_number(report, "cpu ns per set", bench_median(sets, rounds), 1);
}

int attached_run(const struct bench_options *options, struct report *report)
{
	static const unsigned counts[] = { 0, 1, 15, 127, 499, 999 };
	static struct hall hall;
	const struct shape shape = {
		.keys = options->keys, .key_bytes = options->key_bytes,
		.value_bytes = options->value_bytes < 4096 ? options->value_bytes : 4096,
	};
	struct key_stream stream;

	if (stream_make(&stream, 500000, shape.keys, 0, shape.key_bytes, 0, options->seed) < 0)
		return -1;
	bench_progress("attached: filling");
	if (hall_open(&hall, &shape) < 0) {
		stream_free(&stream);
		return -1;
	}
	report_section(report, "attached", "one process at work, the others attached and asleep; %llu keys",
			(unsigned long long)shape.keys);
	for (unsigned i = 0; i < sizeof counts / sizeof counts[0] && !bench_interrupted(); i++) {
		bench_progress("attached: %u others", counts[i]);
		if (others_grow(&hall, counts[i]) < 0)
			break;
		tell(&hall, options, &shape, &stream, report);
	}
	bench_progress_end();
	hall_close(&hall);
	stream_free(&stream);
	return bench_interrupted() ? -1 : 0;
}

static int attach_once(const char *name, double *open_us, double *first_get_us)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct larder *cache;
	uint64_t begin = bench_now_ns(), opened;

	options.flags = LARDER_ATTACH_ONLY;
	if (larder_open_with(name, &options, &cache) < 0) {
		bench_complain("attach: %s", larder_message());
		return -1;
	}
	opened = bench_now_ns();
	larder_exists(cache, 0, "x", 1);
	*open_us = (double)(opened - begin) / 1000;
	*first_get_us = (double)(bench_now_ns() - opened) / 1000;
	larder_close(&cache);
	return 0;
}

static void attach_size(uint64_t bytes, unsigned rounds, struct report *report)
{
	double open_us[64], get_us[64];
	struct larder *cache;
	char name[64];
	unsigned done = 0;
	uint64_t begin = bench_now_ns(), created;

	snprintf(name, sizeof name, "bench.%d.attach", (int)getpid());
	if (larder_open(name, bytes, &cache) < 0) {
		bench_complain("attach: %s", larder_message());
		return;
	}
	created = bench_now_ns() - begin;
	while (done < rounds && done < 64 && attach_once(name, &open_us[done], &get_us[done]) == 0)
		done++;
	larder_close(&cache);
	larder_destroy(name);
	if (done == 0)
		return;
	report_row(report);
	report_number(report, "MiB", (double)(bytes >> 20), 0);
	report_number(report, "attach us", bench_median(open_us, done), 1);
	report_number(report, "first call us", bench_median(get_us, done), 1);
	report_number(report, "create ms", (double)created / 1e6, 1);
}

int attach_run(const struct bench_options *options, struct report *report)
{
	static const uint64_t sizes[] = { UINT64_C(64) << 20, UINT64_C(1) << 30, UINT64_C(10) << 30 };

	report_section(report, "attach", "time to attach to a cache, and of the first call after it");
	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0] && !bench_interrupted(); i++) {
		bench_progress("attach: %llu MiB", (unsigned long long)(sizes[i] >> 20));
		attach_size(sizes[i], options->rounds, report);
	}
	bench_progress_end();
	return 0;
}
