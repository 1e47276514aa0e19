/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *     race NAME      RACE_MS: for how long, a second if not set
 *
 * Runs one race of races.c, by threads over one mapping, and checks the whole cache at the end.
 */
#include "race.h"

#include <stdarg.h>

struct larder *cache;
struct thread threads[THREADS];
struct track tracks[KEYS];

static char name[64];
static struct timespec deadline;
static pthread_barrier_t barrier;
static _Atomic bool over;

bool time_is_up(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > deadline.tv_sec || (now.tv_sec == deadline.tv_sec && now.tv_nsec > deadline.tv_nsec);
}

uint64_t chance(struct thread *t, uint64_t below)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return (t->random >> 11) % below;
}

void wrong(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n0 passed, 1 failed\n");
	(void)fflush(stdout);
	(void)larder_destroy(name);
	_exit(1);
}

void good(enum larder_status status, const char *what)
{
	if (status < 0)
		wrong("%s: %s (%d)", what, larder_strerror(status), status);
}

bool together(void)
{
	if (time_is_up())
		atomic_store(&over, true);
	(void)pthread_barrier_wait(&barrier);
	bool go_on = !atomic_load(&over);
	(void)pthread_barrier_wait(&barrier);
	return go_on;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x7fb5d329728ea185);
	return x ^ x >> 27;
}

void value_make(unsigned char *to, uint64_t key, uint64_t number, size_t bytes)
{
	uint64_t word[3] = { key, number, bytes };
	memcpy(to, word, sizeof word);
	for (size_t at = sizeof word; at < bytes; at++)
		to[at] = (unsigned char)(mix(number * 31 + key) >> (at % 7 * 8)) + (unsigned char)at;
}

uint64_t value_check(const void *value, uint64_t key, size_t bytes)
{
	uint64_t word[3];
	const unsigned char *b = value;
	if (bytes < sizeof word)
		wrong("key %lu: a value of %zu bytes", (unsigned long)key, bytes);
	memcpy(word, value, sizeof word);
	if (word[0] != key || word[2] != bytes)
		wrong("key %lu: foreign value, of key %lu, %lu bytes of %zu", (unsigned long)key, (unsigned long)word[0], (unsigned long)word[2], bytes);
	for (size_t at = sizeof word; at < bytes; at++)
		if (b[at] != (unsigned char)((unsigned char)(mix(word[1] * 31 + key) >> (at % 7 * 8)) + (unsigned char)at))
			wrong("key %lu: torn value, number %lu, byte %zu of %zu", (unsigned long)key, (unsigned long)word[1], at, bytes);
	return word[1];
}

static const struct race *running;

static void *run(void *arg)
{
	running->run(arg);
	return arg;
}

static void report(const char *text, void *arg)
{
	(void)arg;
	printf("check: %s\n", text);
}

static void finish(void)
{
	struct larder_stat stat;
	uint64_t faults = 0, done = 0;
	if (running->finish != NULL)
		running->finish();
	good(larder_check(cache, report, NULL, &faults), "check");
	good(larder_stat(cache, &stat), "stat");
	if (faults != 0 || stat.damage != 0 || stat.contended != 0 || stat.checksum_errors != 0)
		wrong("%lu faults, damage %lu, contended %lu, checksums %lu", (unsigned long)faults, (unsigned long)stat.damage,
				(unsigned long)stat.contended, (unsigned long)stat.checksum_errors);
	for (unsigned i = 0; i < THREADS; i++)
		done += threads[i].done;
	printf("%s: %lu operations, %lu evicted, %lu completed for others, %lu places used again\n", running->name, (unsigned long)done,
			(unsigned long)(stat.evictions_small + stat.evictions_main + stat.evictions_index), (unsigned long)stat.pending_completed,
			(unsigned long)stat.reused_bytes);
}

/* Some threads have a mapping of their own.  Not under ThreadSanitizer: it knows words by their address, and would miss
 * what happens before what through the other mapping. */
static bool own_handle(unsigned number)
{
#if defined(__SANITIZE_THREAD__)
	return (void)number, false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
	return (void)number, false;
#endif
#endif
	return number % 2 != 0;
}

static void set_deadline(void)
{
	const char *text = getenv("RACE_MS");
	long ms = text != NULL && text[0] != 0 ? strtol(text, NULL, 10) : 1000;
	(void)clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += ms / 1000;
	deadline.tv_nsec += ms % 1000 * 1000000;
	if (deadline.tv_nsec >= 1000000000) {
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000;
	}
}

int main(int count, char **arguments)
{
	for (unsigned i = 0; i < race_count && count == 2; i++)
		if (strcmp(arguments[1], races[i].name) == 0)
			running = &races[i];
	if (running == NULL)
		return fprintf(stderr, "usage: race NAME\n"), 2;
	(void)snprintf(name, sizeof name, "test-%d-race", (int)getpid());
	good(larder_open_with(name, &running->options, &cache), larder_message());
	(void)pthread_barrier_init(&barrier, NULL, THREADS);
	set_deadline();
	for (unsigned i = 0; i < THREADS; i++) {
		threads[i] = (struct thread){ .number = i, .random = (uint64_t)time(NULL) * 1000 + i + 1, .cache = cache };
		if (own_handle(i))
			good(larder_open(name, 0, &threads[i].cache), larder_message());
	}
	for (unsigned i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i].id, NULL, run, &threads[i]) != 0)
			wrong("no thread");
	for (unsigned i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i].id, NULL);
	finish();
	for (unsigned i = 0; i < THREADS; i++)
		if (own_handle(i))
			larder_close(&threads[i].cache);
	larder_close(&cache);
	(void)larder_destroy(name);
	printf("1 passed, 0 failed\n");
	return 0;
}
