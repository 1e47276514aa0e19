/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A near cache of a fleet: values in shared memory, the truth in a Redis, and what another host changes is seen here.
 *
 *     tiered redis://127.0.0.1:6379
 *
 * Plays two hosts (two caches) in one process, shows what a miss, a hit and a change of the other host look like; then removes the
 * two caches, whatever came of it.
 */
#include <err.h>
#include <stdarg.h>
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
static struct host hosts[HOSTS];

static void close_hosts(void)
{
	for (int i = 0; i < HOSTS; i++) {
		larder_store_release(&hosts[i].tier);
		larder_store_release(&hosts[i].far);
		larder_store_release(&hosts[i].near);
		if (*hosts[i].name)
			(void)larder_destroy(hosts[i].name);
	}
}

static _Noreturn void __attribute__((format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vwarnx(format, arguments);
	va_end(arguments);
	close_hosts();
	exit(1);
}

static struct larder_store *find(const char *name, void *arg)
{
	const struct host *host = arg;

	return strcmp(name, "near") == 0 ? host->near : host->far;
}

static struct larder_store *open_store(const char *kind, const struct larder_setting *settings, size_t count, struct host *host)
{
	struct larder_store *store;

	if (larder_store_open(kind, settings, count, find, host, &store) < 0)
		fail("%s", larder_message());
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
		fail("no such namespace");
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
		fail("%s", larder_message());
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

/* Whether a Redis answers there, before anybody waits for it to report changes. */
static void ask(const struct host *host, const char *url)
{
	struct larder_health health = { .usable = false };

	if (larder_store_health(host->far, &health) < 0 || !health.usable)
		fail("no Redis at %s: %s", url, health.text);
}

int main(int argc, char **argv)
{
	double us;
	bool good;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		puts("usage: tiered URL, as in redis://127.0.0.1:6379 or unix:///run/redis.sock");
		return 0;
	}
	if (argc != 2 || argv[1][0] == '-')
		errx(2, "usage: tiered URL, as in redis://127.0.0.1:6379 or unix:///run/redis.sock");
	for (int i = 0; i < HOSTS; i++)
		open_host(&hosts[i], argv[1], i);
	ask(&hosts[HERE], argv[1]);
	if (!listens(&hosts[HERE]) || !listens(&hosts[THERE]))
		fail("the Redis at %s answers, but does not report changes: it has to be 6.0 or later, and let the user CLIENT TRACKING", argv[1]);

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
	close_hosts();
	return good ? 0 : 1;
}
