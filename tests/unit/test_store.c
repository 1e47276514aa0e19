/* SPDX-License-Identifier: BSD-2-Clause */
/* The store interface over the engine, kinds of the program's own, and references. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

static struct larder_set_options seen;

static enum larder_status void_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	(void)self, (void)key, (void)value, (void)value_bytes, (void)result;
	if (options)
		seen = *options;
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

static bool many_asked;

static enum larder_status void_write_many(void *self, struct larder_store_write *writes, size_t count)
{
	many_asked = true;
	for (size_t i = 0; i < count; i++)
		writes[i].status = void_set(self, &writes[i].key, writes[i].value, writes[i].value_bytes, writes[i].options, NULL);
	return LARDER_OK;
}

static const struct larder_store_kind kind_void = { .size = sizeof kind_void, .name = "void", .open = void_open,
	.close = void_close, .health = void_health, .get = void_get, .set = void_set, .remove = void_remove, .clear = void_clear,
	.write_many = void_write_many };

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

/* Bytes of options at the end of a page, which nobody may read beyond. */
static struct larder_set_options *options_of_size(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq((void *)two, MAP_FAILED);
	cr_assert_eq(mprotect(two + page, page, PROT_NONE), 0);
	struct larder_set_options *options = (void *)(two + page - bytes);
	memcpy(options, &bytes, sizeof bytes); /* .size */
	options->ttl_ms = 5000;
	options->user_flags = 7;
	return options;
}

Test(store, a_kind_sees_options_of_an_older_or_newer_caller_whole)
{
	struct larder_store_key key = key_in("", "k");
	struct larder_set_options *older = options_of_size(offsetof(struct larder_set_options, grace_ms));
	struct larder_set_options *newer = options_of_size(sizeof *newer + 16), *none = options_of_size(sizeof *none);
	struct larder_store_write writes[2] = { { .key = key, .value = "v", .value_bytes = 1, .options = older },
		{ .key = key, .value = "w", .value_bytes = 1 } };
	struct larder_store *mine;

	(void)larder_kind_register(&kind_void);
	cr_assert_eq(larder_store_open("void", NULL, 0, NULL, NULL, &mine), LARDER_OK);
	cr_assert_eq(larder_store_set(mine, &key, "v", 1, older, NULL), LARDER_OK);
	cr_assert(seen.size == sizeof seen && seen.ttl_ms == 5000 && seen.user_flags == 7 && !seen.tag_count && !seen.created_at_ms);
	seen.size = 0;
	cr_assert_eq(larder_store_write_many(mine, writes, 2), LARDER_OK);
	cr_assert(seen.size == sizeof seen && !many_asked && !writes[0].status && !writes[1].status);
	writes[0].options = none;
	cr_assert_eq(larder_store_write_many(mine, writes, 2), LARDER_OK);
	cr_assert(many_asked);
	seen.size = 0;
	cr_assert_eq(larder_store_set(mine, &key, "v", 1, newer, NULL), LARDER_OK);
	cr_assert_eq(seen.size, sizeof seen);
	((unsigned char *)newer)[sizeof *newer + 3] = 1; /* says what this library does not know */
	cr_assert_eq(larder_store_set(mine, &key, "v", 1, newer, NULL), LARDER_INVALID);
	none->size = 8;
	cr_assert_eq(larder_store_set(mine, &key, "v", 1, none, NULL), LARDER_INVALID);
	larder_store_release(&mine);
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
