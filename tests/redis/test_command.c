/* SPDX-License-Identifier: BSD-2-Clause */
/* `larder redis` against a real server.  LARDER_TOOL is the program. */
#include "server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <larder/redis.h>

static struct server server;

static void setup(void)
{
	server_start(&server, false);
}

static void teardown(void)
{
	server_end(&server);
}
TestSuite(command, .init = setup, .fini = teardown);

static char said[65536];

/* Runs the program with these arguments; its exit code, and what it said. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...)
{
	char arguments[600], line[1200];
	va_list values;

	va_start(values, format);
	vsnprintf(arguments, sizeof arguments, format, values);
	va_end(values);
	cr_assert(getenv("LARDER_TOOL"), "LARDER_TOOL is not set");
	snprintf(line, sizeof line, "%s redis %s 2>&1", getenv("LARDER_TOOL"), arguments);
	FILE *pipe = popen(line, "r");
	cr_assert(pipe);
	said[fread(said, 1, sizeof said - 1, pipe)] = '\0';
	int status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(command, ping_says_how_long_it_took)
{
	cr_assert_eq(run("ping -c 5 %s", server.url), 0, "%s", said);
	cr_assert(strstr(said, "5 times") && strstr(said, " us"), "%s", said);
	cr_assert_eq(run("-j ping %s", server.url), 0, "%s", said);
	cr_assert(strstr(said, "\"median_ns\": "), "%s", said);
	server_kill(&server);
	cr_assert_eq(run("ping %s", server.url), 3, "%s", said);
	cr_assert(strstr(said, "refused") && strstr(said, server.socket), "%s", said);
}

Test(command, a_socket_that_is_not_there_is_not_a_refusal)
{
	cr_assert_eq(run("ping unix:///nowhere/redis.sock"), 3, "%s", said);
	cr_assert(strstr(said, "/nowhere/redis.sock: there is no such socket"), "%s", said);
	cr_assert_null(strstr(said, "refused"), "%s", said);
	cr_assert_eq(run("ping redis://127.0.0.1:1"), 3, "%s", said);
	cr_assert(strstr(said, "127.0.0.1:1: connection refused"), "%s", said);
}

Test(command, what_is_wrong_on_the_command_line_is_refused)
{
	cr_assert_eq(run("ping http://x"), 2, "%s", said);
	cr_assert(strstr(said, "unix://"), "%s", said);
	cr_assert_eq(run("pong %s", server.url), 2, "%s", said);
	cr_assert_eq(run("ping"), 2, "%s", said);
	cr_assert_eq(run("-n no-such-cache.%d status %s", (int)getpid(), server.url), 1, "%s", said);
	cr_assert_eq(run("ping -c 0 %s", server.url), 2, "%s", said);
}

static struct larder_store *near;

static struct larder_store *find_near(const char *name, void *arg)
{
	(void)name, (void)arg;
	return near;
}

Test(command, status_shows_the_breaker_that_others_opened)
{
	char name[64];

	snprintf(name, sizeof name, "test-redis-command-%d", (int)getpid());
	const struct larder_setting shm[] = { { "name", name }, { "bytes", "2m" } };
	const struct larder_setting redis[] = { { "url", server.url }, { "near", "near" }, { "breaker-failures", "2" } };
	struct larder_store *store;
	struct larder_store_key key = key_of("", "k");
	struct larder_buffer value = { .grow = true };
	assert_status(larder_store_open("shm", shm, 2, NULL, NULL, &near), LARDER_OK);
	assert_status(larder_store_open("redis", redis, 3, find_near, NULL, &store), LARDER_OK);
	server_kill(&server);
	for (int i = 0; i < 3; i++)
		assert_status(larder_store_get(store, &key, 0, &value, NULL), LARDER_UNREACHABLE);
	cr_assert_eq(run("-n %s status %s", name, server.url), 3, "%s", said);
	cr_assert(strstr(said, "breaker open") && strstr(said, "opened 1 and closed 0 times"), "%s", said);
	server_restart(&server);
	cr_assert_eq(run("-j -n %s status %s", name, server.url), 0, "%s", said);
	cr_assert(strstr(said, "\"shared\": true") && strstr(said, "\"breaker\": \"closed\""), "%s", said);
	larder_store_release(&store);
	larder_store_release(&near);
	larder_destroy(name);
}

Test(command, clear_removes_what_a_cleared_namespace_left_and_nothing_else)
{
	struct larder_store *store = store_open(server.url, "timeout", "2s", NULL);
	char text[16];

	for (int i = 0; i < 1200; i++) {
		snprintf(text, sizeof text, "%d", i);
		struct larder_store_key key = key_of(i % 2 ? "odd" : "e[v*n", text);
		assert_status(larder_store_set(store, &key, text, strlen(text), NULL, NULL), LARDER_OK);
	}
	server_say(&server, "SET e 1");
	server_say(&server, "SET odder:1 1");
	cr_assert_eq(run("-N odd clear %s", server.url), 0, "%s", said);
	cr_assert(!strncmp(said, "0 keys", 6), "%s", said);
	cr_assert_eq(run("-N 'e[v*n' --all -l 100 clear %s", server.url), 0, "%s", said);
	cr_assert(strstr(said, "100 keys removed; there may be more"), "%s", said);
	cr_assert_eq(run("-j -N 'e[v*n' clear %s", server.url), 0, "%s", said);
	cr_assert(strstr(said, "\"removed\": 500") && strstr(said, "\"complete\": true"), "%s", said);
	/* 600 odd ones, the two strangers, and the generation */
	cr_assert_eq(atoi(server_say(&server, "DBSIZE")), 603, "%s", server_say(&server, "DBSIZE"));
	larder_store_release(&store);
}

static struct larder_store *tier_parts[2];

static struct larder_store *tier_part(const char *name, void *arg)
{
	(void)arg;
	return tier_parts[!strcmp(name, "far")];
}

Test(command, reconcile_brings_to_redis_what_it_missed)
{
	char cache[64];
	snprintf(cache, sizeof cache, "test-reconcile-%d", (int)getpid());
	const struct larder_setting memory[] = { { "name", cache }, { "bytes", "2m" } };
	const struct larder_setting settings[] = { { "near", "near" }, { "far", "far" }, { "on-failure", "keep" } };
	struct larder_store_key key = key_of("n", "k");
	struct larder_store *tier;

	assert_status(larder_store_open("shm", memory, 2, NULL, NULL, &tier_parts[0]), LARDER_OK);
	tier_parts[1] = store_open(server.url, NULL);
	assert_status(larder_store_open("tiered", settings, 3, tier_part, NULL, &tier), LARDER_OK);
	server_kill(&server);
	assert_status(larder_store_set(tier, &key, "kept", 4, NULL, NULL), LARDER_OK);
	cr_assert_eq(run("-n %s -t 1s reconcile %s", cache, server.url), 3, "%s", said);
	server_restart(&server);
	cr_assert_eq(run("-n %s -j reconcile %s", cache, server.url), 0, "%s", said);
	cr_assert(strstr(said, "\"written\": 1"), "%s", said);
	cr_assert_str_eq(server_say(&server, "GET n:k"), "kept");
	cr_assert_eq(run("-n %s reconcile %s", cache, server.url), 0, "%s", said);
	cr_assert(strstr(said, "0 dirty entries"), "%s", said);
	cr_assert_eq(run("reconcile %s", server.url), 2, "%s", said);
	larder_store_release(&tier);
	larder_store_release(&tier_parts[1]);
	larder_store_release(&tier_parts[0]);
	larder_destroy(cache);
}
