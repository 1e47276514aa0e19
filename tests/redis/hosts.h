/* SPDX-License-Identifier: BSD-2-Clause */
/* Hosts for tests of coherence: caches in shared memory, each with its tier and its listener, over one Redis or one cluster. */
#ifndef LARDER_TESTS_REDIS_HOSTS_H
#define LARDER_TESTS_REDIS_HOSTS_H

#include "server.h"

#include <larder/tiered.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { A, B, HOSTS };
static char near_names[HOSTS][64], far_url[256];
static struct larder_store *nears[HOSTS], *fars[HOSTS], *tiers[HOSTS];

static inline struct larder_store *find(const char *name, void *arg)
{
	size_t host = *(size_t *)arg;

	return !strcmp(name, "near") ? nears[host] : !strcmp(name, "far") ? fars[host] : NULL;
}

static inline struct larder_tiered_info info(size_t host)
{
	struct larder_tiered_info i;

	assert_status(larder_tiered_info(tiers[host], &i), LARDER_OK);
	return i;
}

static inline bool live(void) { return info(A).live && info(B).live; }

static inline void host_open(size_t host, const char *mode, const char *gap, const char *failure)
{
	const struct larder_setting near[] = { { "name", near_names[host] }, { "bytes", "8m" } };
	const struct larder_setting tier[] = { { "near", "near" }, { "far", "far" }, { "listener", "thread" }, { "keepalive", "50ms" },
		{ "mode", mode }, { "on-gap", gap }, { "on-failure", failure } };

	if (!*near_names[host]) /* a child of the test opens its parent's */
		snprintf(near_names[host], sizeof near_names[host], "test-host-%d-%zu", (int)getpid(), host);
	assert_status(larder_store_open("shm", near, 2, NULL, NULL, &nears[host]), LARDER_OK);
	fars[host] = store_open(far_url, "prefix", "test:", "timeout", "2s", "connect-timeout", "2s", NULL);
	assert_status(larder_store_open("tiered", tier, 7, find, &host, &tiers[host]), LARDER_OK);
}

static inline void hosts_open(const char *mode, const char *gap, const char *failure)
{
	host_open(A, mode, gap, failure);
	host_open(B, mode, gap, failure);
	await(live(), 5000);
	cr_assert(live());
}

static inline void hosts_close(void)
{
	for (size_t host = 0; host < HOSTS; host++) {
		larder_store_release(&tiers[host]);
		larder_store_release(&fars[host]);
		larder_store_release(&nears[host]);
		if (*near_names[host])
			larder_destroy(near_names[host]);
	}
}

static inline void put(size_t host, const char *key, const char *value)
{
	struct larder_store_key k = key_of("n", key);

	assert_status(larder_store_set(tiers[host], &k, value, strlen(value), NULL, NULL), LARDER_OK);
}

static inline const char *look_in(struct larder_store *store, const char *key)
{
	static char data[8][64];
	static unsigned turn;
	char *text = data[turn++ % 8];
	struct larder_store_key k = key_of("n", key);
	struct larder_buffer value = { .data = text, .capacity = 50 };
	enum larder_status status = larder_store_get(store, &k, 0, &value, NULL);

	if (status == LARDER_OK)
		text[value.length] = '\0';
	else
		snprintf(text, 32, "(%d)", (int)status);
	return text;
}
static inline const char *look(size_t host, const char *key) { return look_in(tiers[host], key); }
static inline bool holds(size_t host, const char *key, const char *value) { return !strcmp(look(host, key), value); }
#define assert_holds(host, key, value) cr_assert_str_eq(look(host, key), value)
/* Soon: within what the manual says a change needs to be heard. */
#define assert_soon(host, key, value) do { \
	await(holds(host, key, value), 500); \
	assert_holds(host, key, value); \
} while (0)

#endif
