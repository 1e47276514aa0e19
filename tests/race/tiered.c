/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads over one tier that writes behind, with another thread opening and closing tiers over the same stores: every value that is
 * read belongs to its key, and when all is written near and far agree.  To be run plain, and built with -Db_sanitize=thread.
 */
#define _GNU_SOURCE
#include <err.h>
#include <larder/tiered.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, KEYS = 64, SECONDS = 4, DRAIN_MS = 20000 };

static struct larder_store *near, *far, *behind;
static const struct larder_name *name;
static _Atomic bool over;
static _Atomic uint64_t operations;

static struct larder_store *find(const char *text, void *arg)
{
	(void)arg;
	return strcmp(text, "near") == 0 ? near : far;
}

static struct larder_store *open_tier(const char *mode)
{
	const struct larder_setting settings[] = { { "near", "near" }, { "far", "far" }, { "mode", mode }, { "queue", "512" },
		{ "block-timeout", "20s" }, { "delay", "1ms" }, { "negative-ttl", "1s" } };
	struct larder_store *tier;

	if (larder_store_open("tiered", settings, 7, find, NULL, &tier) < 0)
		errx(1, "%s", larder_message());
	return tier;
}

static void read_one(const struct larder_store_key *key)
{
	char data[64] = "";
	struct larder_buffer value = { .data = data, .capacity = sizeof data - 1 };
	enum larder_status status = larder_store_get(behind, key, 0, &value, NULL);

	if (status < 0)
		errx(1, "get: %s", larder_strerror(status));
	if (status == LARDER_OK && (strncmp(data, key->bytes, key->count) != 0 || data[key->count] != '='))
		errx(1, "key %.*s has the value %s", (int)key->count, (const char *)key->bytes, data);
}

static void write_one(const struct larder_store_key *key, unsigned number)
{
	char data[64];
	int bytes = snprintf(data, sizeof data, "%.*s=%u", (int)key->count, (const char *)key->bytes, number);
	enum larder_status status = larder_store_set(behind, key, data, (size_t)bytes, NULL, NULL);

	if (status < 0)
		errx(1, "set: %s", larder_strerror(status));
}

static void *work(void *arg)
{
	unsigned seed = *(unsigned *)arg, done = 0;
	char text[16];

	for (; !atomic_load(&over); done++) {
		snprintf(text, sizeof text, "key-%u", (unsigned)rand_r(&seed) % KEYS);
		struct larder_store_key key = { name, text, strlen(text) };
		unsigned what = (unsigned)rand_r(&seed) % 16;
		if (what < 8)
			read_one(&key);
		else if (what < 14)
			write_one(&key, done);
		else if (larder_store_delete(behind, &key) < 0)
			errx(1, "delete failed");
	}
	atomic_fetch_add(&operations, done);
	return NULL;
}

/* Tiers that come and go: their queues are emptied, their threads end. */
static void *come_and_go(void *arg)
{
	const struct larder_store_key key = { name, "visitor", 7 };

	(void)arg;
	while (!atomic_load(&over)) {
		struct larder_store *tier = open_tier("write-behind");
		if (larder_store_set(tier, &key, "visitor=1", 9, NULL, NULL) < 0)
			errx(1, "set: %s", larder_message());
		larder_store_release(&tier);
	}
	return NULL;
}

static void compare(void)
{
	char text[16], one[64], other[64];

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(text, sizeof text, "key-%u", i);
		const struct larder_store_key key = { name, text, strlen(text) };
		struct larder_buffer a = { .data = one, .capacity = sizeof one }, b = { .data = other, .capacity = sizeof other };
		struct larder_meta meta;
		enum larder_status there = larder_store_get(near, &key, 0, &a, &meta), truth = larder_store_get(far, &key, 0, &b, NULL);
		if (there == LARDER_OK && a.length && (truth != LARDER_OK || a.length != b.length || memcmp(one, other, a.length) != 0))
			errx(1, "%s: near %.*s, far %s %.*s", text, (int)a.length, one, larder_strerror(truth), (int)b.length, other);
	}
}

int main(void)
{
	const struct larder_setting memory[] = { { "bytes", "8m" } };
	pthread_t threads[THREADS + 1];
	unsigned seeds[THREADS], seed = (unsigned)time(NULL);

	printf("seed %u\n", seed);
	if (larder_store_open("memory", memory, 1, NULL, NULL, &near) < 0 || larder_store_open("memory", memory, 1, NULL, NULL, &far) < 0
			|| larder_name("race", &name) < 0)
		errx(1, "%s", larder_message());
	behind = open_tier("write-behind");
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = seed + i;
		if (pthread_create(&threads[i], NULL, work, &seeds[i]) != 0)
			errx(1, "no thread");
	}
	if (pthread_create(&threads[THREADS], NULL, come_and_go, NULL) != 0)
		errx(1, "no thread");
	sleep(SECONDS);
	atomic_store(&over, true);
	for (unsigned i = 0; i <= THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	if (larder_store_drain(behind, DRAIN_MS) < 0)
		errx(1, "drain: %s", larder_message());
	compare();
	larder_store_release(&behind);
	larder_store_release(&far);
	larder_store_release(&near);
	printf("%llu operations\n", (unsigned long long)atomic_load(&operations));
	return 0;
}
