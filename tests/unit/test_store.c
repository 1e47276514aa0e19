/* SPDX-License-Identifier: BSD-2-Clause */
/* The store interface over the engine, kinds of the program's own, and references. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <larder/store.h>

static char name[64];
static struct larder_store *store;

static void setup(void)
{
	snprintf(name, sizeof name, "test-store-%d", (int)getpid());
	const struct larder_setting settings[] = { { "name", name }, { "bytes", "2m" } };
	cr_assert_eq(larder_store_open("shm", settings, 2, NULL, NULL, &store), LARDER_OK, "%s", larder_message());
}

static void teardown(void)
{
	larder_store_release(&store);
	larder_destroy(name);
}
TestSuite(store, .init = setup, .fini = teardown);

static struct larder_store_key key_in(const char *ns, const char *text)
{
	struct larder_store_key key = { .bytes = text, .count = strlen(text) };

	cr_assert_eq(larder_name(ns, &key.ns), LARDER_OK);
	return key;
}

Test(store, the_same_key_in_two_namespaces_is_two_keys)
{
	struct larder_store_key a = key_in("a", "k"), b = key_in("b", "k");
	char data[8];
	struct larder_buffer value = { .data = data, .capacity = sizeof data };

	cr_assert_eq(larder_store_set(store, &a, "one", 3, NULL, NULL), LARDER_OK);
	cr_assert_eq(larder_store_get(store, &b, 0, &value, NULL), LARDER_MISS);
	cr_assert_eq(larder_store_get(store, &a, 0, &value, NULL), LARDER_OK);
	cr_assert_eq(value.length, 3);
	cr_assert_arr_eq(data, "one", 3);
	cr_assert_eq(larder_store_clear(store, a.ns, false), LARDER_OK);
	cr_assert_eq(larder_store_get(store, &a, 0, &value, NULL), LARDER_MISS);
	cr_assert_eq(larder_store_delete(store, &a), LARDER_MISS);
}

Test(store, a_buffer_that_may_grow_takes_any_value)
{
	struct larder_store_key key = key_in("", "big");
	struct larder_buffer fixed = { .data = (char[4]){ 0 }, .capacity = 4 }, growing = { .grow = true };
	char *big = calloc(1, 40000);

	cr_assert_eq(larder_store_set(store, &key, big, 40000, NULL, NULL), LARDER_OK);
	cr_assert_eq(larder_store_get(store, &key, 0, &fixed, NULL), LARDER_SHORT);
	cr_assert_eq(fixed.length, 40000);
	cr_assert_eq(larder_store_get(store, &key, 0, &growing, NULL), LARDER_OK);
	cr_assert_eq(growing.length, 40000);
	cr_assert_arr_eq(growing.data, big, 40000);
	free(growing.data);
	free(big);
}

Test(store, many_keys_each_have_their_status)
{
	struct larder_store_item items[2] = { { .key = key_in("a", "k"), .value.grow = true },
		{ .key = key_in("a", "none"), .value.grow = true } };

	cr_assert_eq(larder_store_set(store, &items[0].key, "v", 1, NULL, NULL), LARDER_OK);
	cr_assert_eq(larder_store_mget(store, 0, items, 2), LARDER_OK);
	cr_assert_eq(items[0].status, LARDER_OK);
	cr_assert_eq(items[1].status, LARDER_MISS);
	free(items[0].value.data);
}

Test(store, many_writes_are_done_in_their_order_and_each_has_its_status)
{
	struct larder_store_key key = key_in("a", "k"), other = key_in("a", "other");
	struct larder_set_options add = LARDER_SET_OPTIONS_INIT;
	char data[8];
	struct larder_buffer value = { .data = data, .capacity = sizeof data };

	add.mode = LARDER_ADD;
	struct larder_store_write writes[] = { { .key = key, .value = "1", .value_bytes = 1 },
		{ .key = key, .value = "2", .value_bytes = 1, .options = &add }, { .key = other, .remove = true },
		{ .key = other, .value = "3", .value_bytes = 1 } };
	cr_assert_eq(larder_store_write_many(store, writes, 4), LARDER_OK);
	cr_assert_eq(writes[0].status, LARDER_OK);
	cr_assert_eq(writes[1].status, LARDER_EXISTS);
	cr_assert_eq(writes[2].status, LARDER_MISS);
	cr_assert_eq(writes[3].status, LARDER_OK);
	cr_assert_eq(larder_store_get(store, &key, 0, &value, NULL), LARDER_OK);
	cr_assert_eq(data[0], '1');
	writes[1].value = NULL;
	cr_assert_eq(larder_store_write_many(store, writes, 4), LARDER_INVALID);
}

Test(store, keys_without_namespace_or_bytes_are_refused)
{
	struct larder_store_key key = { .bytes = "k", .count = 1 };
	struct larder_buffer value = { .grow = true };

	cr_assert_eq(larder_store_get(store, &key, 0, &value, NULL), LARDER_INVALID);
	key = key_in("", "");
	cr_assert_eq(larder_store_get(store, &key, 0, &value, NULL), LARDER_KEY_SIZE);
}

Test(store, an_unknown_kind_is_refused_with_the_known_ones)
{
	struct larder_store *none;

	cr_assert_eq(larder_store_open("shn", NULL, 0, NULL, NULL, &none), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "shn") && strstr(larder_message(), "shm"), "%s", larder_message());
	cr_assert_null(none);
}

/* A kind of the program's own: it keeps nothing. */
static int opened, closed;

static enum larder_status void_open(const struct larder_setting_value *values, void **self)
{
	opened++;
	*self = (void *)(uintptr_t)values;
	return LARDER_OK;
}

static void void_close(void *self)
{
	(void)self;
	closed++;
}

static enum larder_status void_health(void *self, struct larder_health *health)
{
	(void)self;
	health->usable = true;
	return LARDER_OK;
}

static enum larder_status void_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	(void)self, (void)key, (void)flags, (void)value, (void)meta;
	return LARDER_MISS;
}

static enum larder_status void_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	(void)self, (void)key, (void)value, (void)value_bytes, (void)options, (void)result;
	return LARDER_OK;
}

static enum larder_status void_remove(void *self, const struct larder_store_key *key)
{
	(void)self, (void)key;
	return LARDER_MISS;
}

static enum larder_status void_clear(void *self, const struct larder_name *ns, bool soft)
{
	(void)self, (void)ns, (void)soft;
	return LARDER_OK;
}

static const struct larder_store_kind kind_void = { .size = sizeof kind_void, .name = "void", .open = void_open,
	.close = void_close, .health = void_health, .get = void_get, .set = void_set, .remove = void_remove, .clear = void_clear };

Test(store, a_kind_of_the_programs_own_serves_and_is_closed_once)
{
	struct larder_store_key key = key_in("", "k");
	struct larder_store *mine, *again;
	int64_t sum;

	cr_assert_eq(larder_kind_register(&kind_void), LARDER_OK);
	cr_assert_eq(larder_kind_register(&kind_void), LARDER_EXISTS);
	cr_assert_eq(larder_store_open("void", NULL, 0, NULL, NULL, &mine), LARDER_OK);
	again = larder_store_hold(mine);
	cr_assert_eq(larder_store_set(mine, &key, "v", 1, NULL, NULL), LARDER_OK);
	cr_assert_eq(larder_store_incr(mine, &key, 1, true, 0, 0, &sum), LARDER_UNSUPPORTED);
	larder_store_release(&mine);
	cr_assert_eq(closed, 0);
	larder_store_release(&again);
	cr_assert_eq(opened, 1);
	cr_assert_eq(closed, 1);
}

Test(store, a_kind_that_lacks_a_function_is_refused)
{
	struct larder_store_kind bad = kind_void;

	bad.name = "bad";
	bad.set = NULL;
	cr_assert_eq(larder_kind_register(&bad), LARDER_INVALID);
	bad.set = void_set;
	bad.name = "Bad name";
	cr_assert_eq(larder_kind_register(&bad), LARDER_INVALID);
}
