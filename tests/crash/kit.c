/* SPDX-License-Identifier: BSD-2-Clause */
/* See kit.h. */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- TAP ---- */

static unsigned tap_count, tap_failed;

void tap_ok(bool good, const char *format, ...)
{
	va_list arguments;

	tap_count++;
	if (!good)
		tap_failed++;
	printf("%sok %u - ", good ? "" : "not ", tap_count);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	fflush(stdout);
}

void tap_note(const char *format, ...)
{
	va_list arguments;

	printf("# ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	fflush(stdout);
}

int tap_done(void)
{
	printf("1..%u\n", tap_count);
	fflush(stdout);
	return tap_failed > 0;
}

/* ---- Random numbers ---- */

uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
	return rng_next(rng) % bound;
}

uint64_t rng_seed(void)
{
	struct rng rng = { now_ns() ^ (uint64_t)getpid() << 40 };

	return rng_next(&rng) & UINT64_C(0xffffffff);
}

/* ---- Time ---- */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

void sleep_us(unsigned us)
{
	struct timespec time = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	while (nanosleep(&time, &time) < 0 && errno == EINTR)
		;
}

static long sleeps_so_far(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/* How long the thread was ready to run and another one ran; 0 if the kernel does not say. */
static uint64_t queued_so_far(void)
{
	static _Thread_local int file = -1;
	static _Thread_local pid_t owner;
	char text[96] = { 0 };
	uint64_t queued = 0;

	if (owner != gettid()) {
		if (file >= 0)
			close(file);
		file = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
		owner = gettid();
	}
	if (file >= 0 && pread(file, text, sizeof text - 1, 0) > 0)
		(void)sscanf(text, "%*u %" SCNu64, &queued);
	return queued;
}

void stopwatch_start(struct stopwatch *watch)
{
	watch->queued_ns = queued_so_far();
	watch->sleeps = sleeps_so_far();
	watch->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	watch->wall_ns = now_ns();
}

bool stopwatch_held_back(const struct stopwatch *watch, uint64_t *wall_ns)
{
	uint64_t wall = now_ns() - watch->wall_ns;

	if (wall_ns != NULL)
		*wall_ns = wall;
	if (wall <= STOPWATCH_LIMIT_NS || wall - (queued_so_far() - watch->queued_ns) <= STOPWATCH_LIMIT_NS)
		return false;
	return clock_ns(CLOCK_THREAD_CPUTIME_ID) - watch->cpu_ns > STOPWATCH_LIMIT_NS ||
			sleeps_so_far() > watch->sleeps;
}

/* ---- Stamped values ---- */

static uint64_t mix(uint64_t hash, const unsigned char *bytes, size_t length)
{
	uint64_t word;

	for (; length >= 8; bytes += 8, length -= 8) {
		memcpy(&word, bytes, 8);
		hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
		hash ^= hash >> 32;
	}
	for (; length > 0; bytes++, length--)
		hash = (hash ^ *bytes) * UINT64_C(0x9fb21c651e98df25);
	return hash ^ (hash >> 29);
}

void stamp_write(void *bytes, size_t length, const void *key, size_t key_bytes, uint32_t writer, uint32_t sequence)
{
	struct stamp stamp = { .key = mix(1, key, key_bytes), .writer = writer, .sequence = sequence,
		.length = (uint32_t)length };
	struct rng rng = { stamp.key ^ (uint64_t)writer << 32 ^ sequence };
	unsigned char *at = bytes;

	for (size_t i = sizeof stamp; i < length; i += 8) {
		uint64_t word = rng_next(&rng);

		memcpy(at + i, &word, length - i < 8 ? length - i : 8);
	}
	stamp.sum = mix(2, at + sizeof stamp, length - sizeof stamp);
	stamp.sum = mix(stamp.sum, (const unsigned char *)&stamp.writer, sizeof stamp - offsetof(struct stamp, writer));
	memcpy(bytes, &stamp, sizeof stamp);
}

enum stamp_fault stamp_read(const void *bytes, size_t length, const void *key, size_t key_bytes, struct stamp *stamp)
{
	const unsigned char *at = bytes;
	uint64_t sum;

	if (length < sizeof *stamp)
		return STAMP_TORN;
	memcpy(stamp, bytes, sizeof *stamp);
	sum = mix(2, at + sizeof *stamp, length - sizeof *stamp);
	sum = mix(sum, (const unsigned char *)&stamp->writer, sizeof *stamp - offsetof(struct stamp, writer));
	if (stamp->length != length || stamp->sum != sum)
		return STAMP_TORN;
	return stamp->key == mix(1, key, key_bytes) ? STAMP_WHOLE : STAMP_FOREIGN;
}

const char *stamp_fault_name(enum stamp_fault fault)
{
	return fault == STAMP_TORN ? "torn" : fault == STAMP_FOREIGN ? "foreign" : "whole";
}

/* ---- Capacity ---- */

#define CAPACITY_ROUNDS 4u
#define CAPACITY_MOMENTS 32u
#define AGE_VALUE_BYTES 300u

struct fill {
	struct larder *cache;
	uint64_t tag, next;
	uint64_t lag; /* keys are read when so many others have been set after them */
	size_t value_bytes;
};

static size_t fill_key(const struct fill *fill, char *key, size_t size, uint64_t number)
{
	return (size_t)snprintf(key, size, "c%llx.%llu", (unsigned long long)fill->tag, (unsigned long long)number);
}

/* Each key is read twice, when uses count but it is not yet evicted, so that the entries go through every pool that the policy
 * has, and what was hot before goes. */
static bool fill_more(struct fill *fill, uint64_t count)
{
	static char value[65536];
	size_t length;
	char key[48];

	for (uint64_t end = fill->next + count; fill->next < end; fill->next++) {
		size_t key_bytes = fill_key(fill, key, sizeof key, fill->next);

		if (larder_set(fill->cache, 0, key, key_bytes, value, fill->value_bytes, LARDER_TTL_NONE) != LARDER_OK)
			return false;
		if (fill->next < fill->lag)
			continue;
		key_bytes = fill_key(fill, key, sizeof key, fill->next - fill->lag);
		for (unsigned i = 0; i < 2; i++)
			larder_get(fill->cache, 0, key, key_bytes, value, sizeof value, &length);
	}
	return true;
}

static uint64_t fill_count(const struct fill *fill)
{
	uint64_t held = 0;
	char key[48];

	for (uint64_t i = 0; i < fill->next; i++) {
		if (larder_exists(fill->cache, 0, key, fill_key(fill, key, sizeof key, i)) == LARDER_OK)
			held++;
	}
	return held;
}

double capacity_measure(struct larder *cache, size_t value_bytes)
{
	struct fill fill = { .cache = cache, .tag = now_ns(), .value_bytes = value_bytes };
	struct larder_info info;
	uint64_t sum = 0, round;

	if (larder_info(cache, &info) != LARDER_OK)
		return 0;
	round = info.bytes / value_bytes;
	fill.lag = round / 20;
	if (!fill_more(&fill, round * CAPACITY_ROUNDS))
		return 0;
	for (unsigned moment = 0; moment < CAPACITY_MOMENTS; moment++) {
		if (!fill_more(&fill, round / CAPACITY_MOMENTS + 1))
			return 0;
		sum += fill_count(&fill);
	}
	return (double)sum / CAPACITY_MOMENTS;
}

void capacity_age(struct larder *cache, const int64_t *ttls_ms, unsigned count)
{
	static char value[AGE_VALUE_BYTES];
	struct larder_info info;
	size_t length;
	char key[48];

	if (larder_info(cache, &info) != LARDER_OK)
		return;
	uint64_t lag = info.bytes / 20 / sizeof value; /* as in fill_more() */
	for (uint64_t i = 0; i < info.bytes * 3 / sizeof value; i++) {
		size_t key_bytes = (size_t)snprintf(key, sizeof key, "aged.%llu", (unsigned long long)i);

		larder_set(cache, 0, key, key_bytes, value, sizeof value, ttls_ms[i % count]);
		if (i < lag)
			continue;
		key_bytes = (size_t)snprintf(key, sizeof key, "aged.%llu", (unsigned long long)(i - lag));
		for (unsigned uses = (i - lag) / count % 2 ? 2 : 0; uses > 0; uses--)
			larder_get(cache, 0, key, key_bytes, value, sizeof value, &length);
	}
}

bool capacity_kept(struct larder *cache, double held, double fresh)
{
	struct larder_info info;

	return larder_info(cache, &info) == LARDER_OK && held > 0 && held >= 0.995 * fresh - fresh / info.segments;
}
