/* SPDX-License-Identifier: BSD-2-Clause */
/* The kinds that are the engine: memory does what shm does, is nobody else's, and many keys are read in runs. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <larder/store.h>

static struct larder_store *store;

static void setup(void)
{
	const struct larder_setting settings[] = { { "bytes", "2m" } };
	cr_assert_eq(larder_store_open("memory", settings, 1, NULL, NULL, &store), LARDER_OK, "%s", larder_message());
}
static void teardown(void)
{
	larder_store_release(&store);
}
TestSuite(engine, .init = setup, .fini = teardown);

static struct larder_store_key key_in(const char *ns, const char *text)
{
	struct larder_store_key key = { .bytes = text, .count = strlen(text) };

	cr_assert_eq(larder_name(ns, &key.ns), LARDER_OK);
	return key;
}

static void set(const char *ns, const char *text, const char *value)
{
	struct larder_store_key key = key_in(ns, text);

	cr_assert_eq(larder_store_set(store, &key, value, strlen(value), NULL, NULL), LARDER_OK);
}

static enum larder_status get_is(struct larder_store *from, const char *ns, const char *text, const char *value)
{
	struct larder_store_key key = key_in(ns, text);
	char data[64];
	struct larder_buffer buffer = { .data = data, .capacity = sizeof data };
	enum larder_status status = larder_store_get(from, &key, 0, &buffer, NULL);

	if (!status)
		cr_assert(buffer.length == strlen(value) && !memcmp(data, value, buffer.length), "%s", text);
	return status;
}

Test(engine, memory_of_two_stores_is_two_caches_and_in_no_file_system)
{
	struct larder_store *other;
	struct larder_info info;

	cr_assert_eq(larder_store_open("memory", NULL, 0, NULL, NULL, &other), LARDER_OK, "%s", larder_message());
	set("n", "k", "v");
	cr_assert_eq(get_is(store, "n", "k", "v"), LARDER_OK);
	cr_assert_eq(get_is(other, "n", "k", "v"), LARDER_MISS);
	cr_assert_eq(larder_info(larder_store_cache(store), &info), LARDER_OK);
	cr_assert_str_eq(info.path, "/memfd:larder.memory");
	cr_assert_neq(access(info.path, F_OK), 0);
	larder_store_release(&other);
}

Test(engine, memory_is_shared_with_the_children_that_a_process_forks)
{
	int how;
	set("n", "parent", "p");
	pid_t child = fork();

	if (child == 0) {
		struct larder_store_key key = key_in("n", "child");
		_exit(get_is(store, "n", "parent", "p") || larder_store_set(store, &key, "c", 1, NULL, NULL));
	}
	cr_assert_eq(waitpid(child, &how, 0), child);
	cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0, "the child left with %d", how);
	cr_assert_eq(get_is(store, "n", "child", "c"), LARDER_OK);
}

Test(engine, memory_expires_evicts_counts_and_clears_as_a_cache_does)
{
	struct larder_store_key key = key_in("n", "brief"), number = key_in("n", "number");
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	struct larder_meta meta;
	struct larder_buffer value = { .grow = true };
	int64_t sum;

	options.ttl_ms = 600000;
	cr_assert_eq(larder_store_set(store, &key, "v", 1, &options, NULL), LARDER_OK);
	cr_assert_eq(larder_store_get(store, &key, 0, &value, &meta), LARDER_OK);
	cr_assert(meta.ttl_left_ms > 0 && meta.ttl_left_ms <= 600000);
	options.ttl_ms = 40;
	cr_assert_eq(larder_store_set(store, &key, "v", 1, &options, NULL), LARDER_OK);
	for (int i = 0; i < 2000 && larder_store_get(store, &key, 0, &value, NULL) != LARDER_MISS; i++)
		usleep(10000);
	cr_assert_eq(larder_store_get(store, &key, 0, &value, NULL), LARDER_MISS);
	cr_assert_eq(larder_store_incr(store, &number, 5, true, 10, 0, &sum), LARDER_OK);
	cr_assert_eq(sum, 15);
	cr_assert_eq(larder_store_touch(store, &number, 1000), LARDER_OK);
	cr_assert_eq(larder_store_clear(store, number.ns, true), LARDER_OK);
	cr_assert_eq(larder_store_get(store, &number, LARDER_ALLOW_STALE, &value, NULL), LARDER_STALE);
	free(value.data);
}

Test(engine, memory_cannot_be_attached_to)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct larder *cache;

	options.flags = LARDER_PRIVATE | LARDER_ATTACH_ONLY;
	cr_assert_eq(larder_open_with("x", &options, &cache), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "LARDER_PRIVATE"), "%s", larder_message());
	options.flags = LARDER_PRIVATE;
	cr_assert_eq(larder_open_with("no/path", &options, &cache), LARDER_INVALID);
}

#define MANY 300
static char texts[MANY][16], room[MANY][16];

/* Items of two namespaces in runs of various lengths; every third key is absent. */
static void fill(struct larder_store_item *items, bool grow)
{
	for (int i = 0; i < MANY; i++) {
		const char *ns = i < 150 || i % 7 ? "a" : "b";
		snprintf(texts[i], sizeof texts[i], "key%d", i);
		if (i % 3)
			set(ns, texts[i], texts[i]);
		items[i] = (struct larder_store_item){ .key = key_in(ns, texts[i]), .value.grow = grow };
		if (!grow)
			items[i].value = (struct larder_buffer){ .data = room[i], .capacity = sizeof room[i] };
	}
}

static void check(const struct larder_store_item *items)
{
	for (int i = 0; i < MANY; i++) {
		cr_assert_eq(items[i].status, i % 3 ? LARDER_OK : LARDER_MISS, "%d", i);
		if (i % 3)
			cr_assert(items[i].value.length == strlen(texts[i]) && !memcmp(items[i].value.data, texts[i],
					items[i].value.length), "%d", i);
	}
}

Test(engine, many_keys_of_several_namespaces_are_read_into_fixed_buffers)
{
	static struct larder_store_item items[MANY];

	fill(items, false);
	cr_assert_eq(larder_store_mget(store, 0, items, MANY), LARDER_OK);
	check(items);
	items[1].value.capacity = 2;
	cr_assert_eq(larder_store_mget(store, 0, items, 2), LARDER_OK);
	cr_assert_eq(items[1].status, LARDER_SHORT);
	cr_assert_eq(items[1].value.length, 4);
}

Test(engine, many_keys_are_read_into_buffers_that_grow)
{
	static struct larder_store_item items[MANY];

	fill(items, true);
	cr_assert_eq(larder_store_mget(store, 0, items, MANY), LARDER_OK);
	check(items);
	for (int i = 0; i < MANY; i++)
		free(items[i].value.data);
}

Test(engine, many_keys_come_with_what_there_is_to_know_only_if_asked)
{
	static struct larder_store_item items[MANY];

	fill(items, false);
	memset(&items[1].meta, 0, sizeof items[1].meta);
	cr_assert_eq(larder_store_mget(store, 0, items, MANY), LARDER_OK);
	cr_assert_eq(items[1].meta.version, 0);
	cr_assert_eq(larder_store_mget(store, LARDER_MGET_META, items, MANY), LARDER_OK);
	check(items);
	cr_assert_neq(items[1].meta.version, 0);
	cr_assert_eq(items[1].meta.value_bytes, 4);
}
