/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A near cache of a fleet: values in shared memory, the truth in a Redis, and what another host changes is seen here.
 *
 *     tiered redis://127.0.0.1:6379
 *
 * Plays two hosts (two caches) in one process, shows what a miss, a hit and a change of the other host look like, and what an
 * outage costs; then removes the two caches.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <larder/tiered.h>

enum { HERE, THERE, HOSTS };

struct host {
	char name[64];
	struct larder_store *near, *far, *tier;
};

static struct larder_store *find(const char *name, void *arg)
{
	const struct host *host = arg;

	return strcmp(name, "near") == 0 ? host->near : host->far;
}

static struct larder_store *open_store(const char *kind, const struct larder_setting *settings, size_t count, struct host *host)
{
	struct larder_store *store;

	if (larder_store_open(kind, settings, count, find, host, &store) < 0)
		errx(1, "%s", larder_message());
	return store;
}

static void open_host(struct host *host, const char *url, int number)
{
	snprintf(host->name, sizeof host->name, "tiered-%d-%d", (int)getpid(), number);
	const struct larder_setting near[] = { { "name", host->name }, { "bytes", "16m" } };
	const struct larder_setting far[] = { { "url", url }, { "prefix", "example:" } };
	const struct larder_setting tier[] = { { "near", "near" }, { "far", "far" }, { "mode", "write-through" },
		{ "listener", "thread" }, { "on-gap", "bound:10s" }, { "on-failure", "keep" } };

	host->near = open_store("shm", near, 2, host);
	host->far = open_store("redis", far, 2, host);
	host->tier = open_store("tiered", tier, 6, host);
}

static void close_host(struct host *host)
{
	larder_store_release(&host->tier);
	larder_store_release(&host->far);
	larder_store_release(&host->near);
	(void)larder_destroy(host->name);
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static struct larder_store_key key_of(const char *text)
{
	struct larder_store_key key = { .bytes = text, .count = strlen(text) };

	if (larder_name("users", &key.ns) < 0)
		errx(1, "no such namespace");
	return key;
}

static const char *get(const struct host *host, const char *text, double *us)
{
	static char data[64];
	struct larder_store_key key = key_of(text);
	struct larder_buffer value = { .data = data, .capacity = sizeof data - 1 };
	double begin = now_us();
	enum larder_status status = larder_store_get(host->tier, &key, 0, &value, NULL);

	*us = now_us() - begin;
	if (status != LARDER_OK)
		return larder_strerror(status);
	data[value.length] = '\0';
	return data;
}

static void set(const struct host *host, const char *text, const char *value)
{
	struct larder_store_key key = key_of(text);

	if (larder_store_set(host->tier, &key, value, strlen(value), NULL, NULL) < 0)
		errx(1, "%s", larder_message());
}

/* False after two seconds. */
static bool await(const struct host *host, const char *text, const char *value, double *us)
{
	double begin = now_us(), took;

	while (strcmp(get(host, text, &took), value) != 0 && now_us() - begin < 2e6)
		usleep(50);
	*us = now_us() - begin;
	return *us < 2e6;
}

static bool listens(const struct host *host)
{
	struct larder_tiered_info info = { 0 };

	for (int i = 0; i < 200 && !info.live; i++) {
		(void)larder_tiered_info(host->tier, &info);
		usleep(10000);
	}
	return info.live;
}

int main(int argc, char **argv)
{
	struct host hosts[HOSTS];
	double us;
	bool good;

	if (argc != 2)
		errx(2, "usage: tiered URL, as in redis://127.0.0.1:6379");
	for (int i = 0; i < HOSTS; i++)
		open_host(&hosts[i], argv[1], i);
	if (!listens(&hosts[HERE]) || !listens(&hosts[THERE]))
		errx(1, "no Redis that reports changes at %s: %s", argv[1], larder_message());

	set(&hosts[THERE], "7", "Ada");
	usleep(100000);
	(void)get(&hosts[HERE], "nobody", &us); /* connects */
	printf("a miss, fetched from Redis:    %-8s", get(&hosts[HERE], "7", &us));
	printf("%8.1f us\n", us);
	printf("a hit, answered near:          %-8s", get(&hosts[HERE], "7", &us));
	printf("%8.1f us\n", us);
	set(&hosts[THERE], "7", "Grace");
	good = await(&hosts[HERE], "7", "Grace", &us);
	printf("changed by another host, seen: %-8s%8.1f us later\n", good ? "Grace" : "not", us);

	struct larder_tiered_info info;
	(void)larder_tiered_info(hosts[HERE].tier, &info);
	printf("invalidations heard here: %llu, gaps in the stream: %llu\n", (unsigned long long)info.invalidations,
			(unsigned long long)info.gaps);
	for (int i = 0; i < HOSTS; i++)
		close_host(&hosts[i]);
	return good ? 0 : 1;
}
