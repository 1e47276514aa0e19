/* SPDX-License-Identifier: BSD-2-Clause */
/* The store kind redis over one server: what each operation leaves in Redis, and what it makes of what others left there. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct server server;
static struct larder_store *store;

static void setup(void)
{
	server_start(&server, false);
	store = store_open(server.url, "timeout", "2s", "connect-timeout", "2s", NULL);
}

static void teardown(void)
{
	larder_store_release(&store);
	server_end(&server);
}
TestSuite(single, .init = setup, .fini = teardown);

static void set(const char *ns, const char *key, const char *value)
{
	struct larder_store_key k = key_of(ns, key);

	assert_status(larder_store_set(store, &k, value, strlen(value), NULL, NULL), LARDER_OK);
}

static enum larder_status set_with(const char *ns, const char *key, const char *value, enum larder_set_mode mode, int64_t ttl_ms,
		uint64_t version)
{
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	struct larder_store_key k = key_of(ns, key);

	options.mode = mode;
	options.ttl_ms = ttl_ms;
	options.version = version;
	return larder_store_set(store, &k, value, strlen(value), &options, NULL);
}

/* The value as text, static; NULL: a miss. */
static const char *get_with(const char *ns, const char *key, struct larder_meta *meta)
{
	static char text[256];
	struct larder_store_key k = key_of(ns, key);
	struct larder_buffer value = { .data = text, .capacity = sizeof text - 1 };
	enum larder_status status = larder_store_get(store, &k, 0, &value, meta);

	if (status == LARDER_MISS)
		return NULL;
	assert_status(status, LARDER_OK);
	text[value.length] = '\0';
	return text;
}

static const char *get(const char *ns, const char *key)
{
	return get_with(ns, key, NULL);
}

static void assert_text(const char *found, const char *wanted)
{
	cr_assert(found && !strcmp(found, wanted), "found %s, wanted %s", found ? found : "nothing", wanted);
}

Test(single, what_is_set_is_a_plain_string_under_a_plain_name)
{
	set("users", "42:3", "Ada");
	assert_text(server_say(&server, "GET users:42:3"), "Ada");
	assert_text(get("users", "42:3"), "Ada");
	cr_assert_null(get("users", "43"));
	cr_assert_null(get("other", "42:3"));
}

Test(single, what_another_client_sets_is_read)
{
	server_say(&server, "SET users:7 Grace PX 60000");
	struct larder_meta meta;
	assert_text(get_with("users", "7", &meta), "Grace");
	cr_assert(meta.ttl_left_ms > 50000 && meta.ttl_left_ms <= 60000, "%jd", (intmax_t)meta.ttl_left_ms);
	cr_assert_eq(meta.value_bytes, 5);
	cr_assert_neq(meta.version, 0);
}

Test(single, names_with_colons_and_percents_are_escaped)
{
	set("a:b%", "k", "v");
	assert_text(server_say(&server, "GET a%%3Ab%%25:k"), "v");
	assert_text(get("a:b%", "k"), "v");
}

Test(single, times_to_live_reach_redis_and_come_back)
{
	struct larder_meta meta;

	assert_status(set_with("", "k", "v", LARDER_SET, 70000, 0), LARDER_OK);
	cr_assert_gt(atoi(server_say(&server, "PTTL :k")), 60000);
	assert_status(set_with("", "k", "w", LARDER_SET, LARDER_TTL_KEEP, 0), LARDER_OK);
	cr_assert_gt(atoi(server_say(&server, "PTTL :k")), 60000);
	assert_text(get_with("", "k", &meta), "w");
	cr_assert(meta.ttl_left_ms > 60000 && meta.expires_at_ms > 0);
	assert_status(set_with("", "k", "w", LARDER_SET, LARDER_TTL_NONE, 0), LARDER_OK);
	assert_text(get_with("", "k", &meta), "w");
	cr_assert_eq(meta.ttl_left_ms, LARDER_TTL_NONE);
	cr_assert_eq(meta.expires_at_ms, 0);
}

Test(single, an_expired_value_is_a_miss)
{
	assert_status(set_with("", "k", "v", LARDER_SET, 20, 0), LARDER_OK);
	usleep(60000);
	cr_assert_null(get("", "k"));
}

Test(single, add_and_replace_ask_redis)
{
	assert_status(set_with("", "k", "v", LARDER_REPLACE, 0, 0), LARDER_MISS);
	assert_status(set_with("", "k", "v", LARDER_ADD, 0, 0), LARDER_OK);
	assert_status(set_with("", "k", "w", LARDER_ADD, 0, 0), LARDER_EXISTS);
	assert_status(set_with("", "k", "w", LARDER_REPLACE, 0, 0), LARDER_OK);
	assert_text(get("", "k"), "w");
}

Test(single, cas_sets_only_what_is_as_it_was)
{
	struct larder_meta meta;

	assert_status(set_with("", "k", "v", LARDER_CAS, 0, 77), LARDER_MISS);
	set("", "k", "one");
	assert_text(get_with("", "k", &meta), "one");
	server_say(&server, "SET :k two");
	assert_status(set_with("", "k", "three", LARDER_CAS, 0, meta.version), LARDER_CHANGED);
	assert_text(get_with("", "k", &meta), "two");
	assert_status(set_with("", "k", "three", LARDER_CAS, 30000, meta.version), LARDER_OK);
	assert_text(get_with("", "k", &meta), "three");
	cr_assert_gt(meta.ttl_left_ms, 20000);
	assert_status(set_with("", "k", "four", LARDER_CAS, LARDER_TTL_KEEP, meta.version), LARDER_OK);
	assert_text(get_with("", "k", &meta), "four");
	cr_assert_gt(meta.ttl_left_ms, 20000);
}

Test(single, the_version_that_set_returns_is_that_of_get)
{
	struct larder_store_key k = key_of("", "k");
	struct larder_result result;
	struct larder_meta meta;

	assert_status(larder_store_set(store, &k, "v", 1, NULL, &result), LARDER_OK);
	get_with("", "k", &meta);
	cr_assert_eq(result.version, meta.version);
}

Test(single, delete_says_whether_there_was_something)
{
	struct larder_store_key k = key_of("", "k");

	set("", "k", "v");
	assert_status(larder_store_delete(store, &k), LARDER_OK);
	assert_status(larder_store_delete(store, &k), LARDER_MISS);
	cr_assert_null(get("", "k"));
}

Test(single, touch_changes_the_time_to_live_alone)
{
	struct larder_store_key k = key_of("", "k");
	struct larder_meta meta;

	assert_status(larder_store_touch(store, &k, 1000), LARDER_MISS);
	assert_status(larder_store_touch(store, &k, LARDER_TTL_NONE), LARDER_MISS);
	set("", "k", "v");
	assert_status(larder_store_touch(store, &k, 50000), LARDER_OK);
	assert_text(get_with("", "k", &meta), "v");
	cr_assert_gt(meta.ttl_left_ms, 40000);
	assert_status(larder_store_touch(store, &k, LARDER_TTL_KEEP), LARDER_OK);
	assert_status(larder_store_touch(store, &k, LARDER_TTL_NONE), LARDER_OK);
	get_with("", "k", &meta);
	cr_assert_eq(meta.ttl_left_ms, LARDER_TTL_NONE);
}

Test(single, incr_counts_as_the_engine_does)
{
	struct larder_store_key k = key_of("", "n");
	int64_t sum = 0;

	assert_status(larder_store_incr(store, &k, 5, false, 0, 0, &sum), LARDER_MISS);
	assert_status(larder_store_incr(store, &k, 5, true, 100, 60000, &sum), LARDER_OK);
	cr_assert_eq(sum, 105);
	cr_assert_gt(atoi(server_say(&server, "PTTL :n")), 50000);
	assert_status(larder_store_incr(store, &k, -6, true, 100, 10, &sum), LARDER_OK);
	cr_assert_eq(sum, 99);
	cr_assert_gt(atoi(server_say(&server, "PTTL :n")), 50000, "the time to live is that of creation");
	assert_text(get("", "n"), "99");
}

Test(single, incr_is_exact_to_its_last_digit_and_refuses_to_leave_its_range)
{
	struct larder_store_key k = key_of("", "n");
	int64_t sum = 0;

	set("", "n", "4611686018427387902");
	assert_status(larder_store_incr(store, &k, 1, true, 0, 0, &sum), LARDER_OK);
	cr_assert_eq(sum, LARDER_COUNTER_MAX);
	assert_status(larder_store_incr(store, &k, 1, true, 0, 0, &sum), LARDER_RANGE);
	assert_text(get("", "n"), "4611686018427387903");
	set("", "n", "-4611686018427387904");
	assert_status(larder_store_incr(store, &k, -1, true, 0, 0, &sum), LARDER_RANGE);
	assert_status(larder_store_incr(store, &k, 0, true, 0, 0, &sum), LARDER_OK);
	cr_assert_eq(sum, LARDER_COUNTER_MIN);
	set("", "n", "many");
	assert_status(larder_store_incr(store, &k, 1, true, 0, 0, &sum), LARDER_NOT_NUMBER);
	assert_text(get("", "n"), "many");
}

Test(single, a_value_that_does_not_fit_says_its_size)
{
	struct larder_store_key k = key_of("", "k");
	char small[2];
	struct larder_buffer value = { .data = small, .capacity = sizeof small };

	set("", "k", "three");
	assert_status(larder_store_get(store, &k, 0, &value, NULL), LARDER_SHORT);
	cr_assert_eq(value.length, 5);
}

Test(single, values_of_any_bytes_and_sizes_come_back)
{
	static const size_t sizes[] = { 0, 1, 16383, 16384, 16385, 3000000 };
	struct larder_store_key k = key_of("", "k");
	unsigned char *bytes = malloc(3000000);

	for (size_t i = 0; i < 3000000; i++)
		bytes[i] = (unsigned char)(i * 7 + i / 251);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct larder_buffer value = { .grow = true };
		assert_status(larder_store_set(store, &k, bytes, sizes[i], NULL, NULL), LARDER_OK);
		assert_status(larder_store_get(store, &k, 0, &value, NULL), LARDER_OK);
		cr_assert(value.length == sizes[i] && (!sizes[i] || !memcmp(value.data, bytes, sizes[i])), "%zu bytes", sizes[i]);
		free(value.data);
	}
	free(bytes);
}

Test(single, keys_of_any_bytes_and_up_to_the_longest_serve)
{
	char bytes[LARDER_KEY_MAX];
	struct larder_store_key k = key_of("n", "k");
	struct larder_buffer value = { .grow = true };

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)(i * 11 + 1);
	k.bytes = bytes;
	k.count = sizeof bytes;
	assert_status(larder_store_set(store, &k, "v", 1, NULL, NULL), LARDER_OK);
	assert_status(larder_store_get(store, &k, 0, &value, NULL), LARDER_OK);
	free(value.data);
}

Test(single, clear_hides_one_namespace_from_every_client)
{
	struct larder_store *other = store_open(server.url, "timeout", "2s", NULL), *mine = store;
	const struct larder_name *ns;

	cr_assert_eq(larder_name("a", &ns), LARDER_OK);
	set("a", "k", "v");
	set("b", "k", "v");
	store = other;
	assert_text(get("a", "k"), "v");
	assert_status(larder_store_clear(mine, ns, false), LARDER_OK);
	cr_assert_null(get("a", "k"));
	assert_text(get("b", "k"), "v");
	set("a", "k", "new");
	store = mine;
	assert_text(get("a", "k"), "new");
	assert_status(larder_store_clear(other, ns, true), LARDER_OK);
	cr_assert_null(get("a", "k"));
	assert_status(set_with("a", "k", "added", LARDER_ADD, 0, 0), LARDER_OK);
	store = other;
	assert_text(get("a", "k"), "added");
	larder_store_release(&other);
	store = mine;
}

Test(single, a_generation_that_redis_lost_is_not_lost)
{
	const struct larder_name *ns;

	cr_assert_eq(larder_name("a", &ns), LARDER_OK);
	set("a", "k", "old");
	assert_status(larder_store_clear(store, ns, false), LARDER_OK);
	server_say(&server, "DEL a:%%generation");
	cr_assert_null(get("a", "k"));
	cr_assert_gt(strlen(server_say(&server, "GET a:%%generation")), 10);
}

Test(single, many_keys_of_many_namespaces_are_read_in_one_go)
{
	enum { COUNT = 700 };
	struct larder_store_item *items = calloc(COUNT, sizeof *items);
	char (*keys)[16] = calloc(COUNT, sizeof *keys);
	static const char *const names[] = { "", "a", "b" };

	for (int i = 0; i < COUNT; i++) {
		snprintf(keys[i], sizeof keys[i], "%d", i);
		items[i].key = key_of(names[i % 3], keys[i]);
		items[i].value.grow = true;
		if (i % 5)
			set(names[i % 3], keys[i], keys[i]);
	}
	assert_status(larder_store_mget(store, 0, items, COUNT), LARDER_OK);
	for (int i = 0; i < COUNT; i++) {
		cr_assert_eq(items[i].status, i % 5 ? LARDER_OK : LARDER_MISS, "%d: %d", i, items[i].status);
		if (i % 5)
			cr_assert(items[i].value.length == strlen(keys[i]) && !memcmp(items[i].value.data, keys[i], strlen(keys[i])));
		free(items[i].value.data);
	}
	free(items);
	free(keys);
}

Test(single, many_writes_go_in_one_go_each_with_its_status)
{
	struct larder_set_options add = LARDER_SET_OPTIONS_INIT, bad = { .size = 1 };
	struct larder_store_write writes[] = {
		{ .key = key_of("a", "1"), .value = "x", .value_bytes = 1 },
		{ .key = key_of("a", "1"), .value = "y", .value_bytes = 1, .options = &add },
		{ .key = key_of("b", "2"), .remove = true },
		{ .key = key_of("b", "3"), .value = "z", .value_bytes = 1, .options = &bad },
		{ .key = key_of("a", "1"), .value = "w", .value_bytes = 1 },
	};
	static const enum larder_status wanted[] = { LARDER_OK, LARDER_EXISTS, LARDER_MISS, LARDER_INVALID, LARDER_OK };

	add.mode = LARDER_ADD;
	assert_status(larder_store_write_many(store, writes, 5), LARDER_OK);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(writes[i].status, wanted[i], "%d: %d", i, writes[i].status);
	assert_text(get("a", "1"), "w");
}

/* From another store of the test to the one that it began with. */
static void back_to(struct larder_store *plain)
{
	larder_store_release(&store);
	store = plain;
}

Test(single, an_envelope_keeps_flags_and_creation)
{
	struct larder_store *plain = store;
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	struct larder_store_key k = key_of("", "k");
	struct larder_meta meta;

	store = store_open(server.url, "timeout", "2s", "envelope", "yes", NULL);
	options.user_flags = 4711;
	options.ttl_ms = 60000;
	assert_status(larder_store_set(store, &k, "v", 1, &options, NULL), LARDER_OK);
	assert_text(get_with("", "k", &meta), "v");
	cr_assert_eq(meta.user_flags, 4711);
	cr_assert_gt(meta.created_at_ms, 1600000000000);
	options.created_at_ms = 1700000000123; /* as a write behind tells it, that was accepted earlier */
	assert_status(larder_store_set(store, &k, "v", 1, &options, NULL), LARDER_OK);
	assert_text(get_with("", "k", &meta), "v");
	cr_assert_eq(meta.created_at_ms, 1700000000123);
	options.created_at_ms = -1;
	assert_status(larder_store_set(store, &k, "v", 1, &options, NULL), LARDER_INVALID);
	options.created_at_ms = 0;
	options.mode = LARDER_CAS;
	options.version = meta.version;
	assert_status(larder_store_set(store, &k, "w", 1, &options, NULL), LARDER_OK);
	server_say(&server, "SET :k plain");
	assert_text(get("", "k"), "plain");
	back_to(plain);
}

Test(single, a_prefix_stands_before_every_key)
{
	struct larder_store *plain = store;

	store = store_open(server.url, "timeout", "2s", "prefix", "app1/", NULL);
	set("a", "k", "v");
	assert_text(server_say(&server, "GET app1/a:k"), "v");
	back_to(plain);
	cr_assert_null(get("a", "k"));
}

Test(single, databases_are_apart)
{
	struct larder_store *plain = store;
	char url[200];

	snprintf(url, sizeof url, "%s?db=3", server.url);
	store = store_open(url, "timeout", "2s", NULL);
	set("a", "k", "three");
	assert_text(server_say(&server, "-n 3 GET a:k"), "three");
	back_to(plain);
	cr_assert_null(get("a", "k"));
}

Test(single, a_connection_bears_the_name_that_was_given)
{
	struct larder_store *named = store_open(server.url, "timeout", "2s", "client-name", "web-7", NULL);
	struct larder_health health;

	assert_status(larder_store_health(named, &health), LARDER_OK);
	cr_assert(health.usable && health.round_trip_ns > 0, "%s", health.text);
	cr_assert(strstr(server_say(&server, "CLIENT LIST"), "name=web-7"));
	larder_store_release(&named);
}

/* A child has a connection of its own; the parent's goes on. */
Test(single, a_forked_child_uses_a_connection_of_its_own)
{
	set("", "k", "parent");
	for (int i = 0; i < 3; i++) {
		pid_t child = fork();
		if (!child) {
			struct larder_store_key k = key_of("", "k");
			for (int n = 0; n < 300; n++)
				if (strcmp(get("", "k"), "parent") || larder_store_set(store, &k, "parent", 6, NULL, NULL))
					_exit(1);
			_exit(0);
		}
		for (int n = 0; n < 300; n++)
			assert_text(get("", "k"), "parent");
		int status;
		cr_assert_eq(waitpid(child, &status, 0), child);
		cr_assert_eq(status, 0);
	}
	cr_assert_eq(atoi(server_say(&server, "INFO stats | grep total_connections_received | cut -d: -f2")) > 4, 1);
}
