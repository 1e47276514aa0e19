/* SPDX-License-Identifier: BSD-2-Clause */
/* The manager: stores by name, handles that outlive them, operations, what is configured, counted and told. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <larder/manager.h>
#include <larder/monitor.h>

#include "manager/manager.h"

static struct larder_manager *manager;
static struct larder_handle *handle;

static void open_text(const char *text)
{
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;

	options.text = text;
	options.file = "";
	cr_assert_eq(larder_manager_open_with(&options, &manager), LARDER_OK, "%s", larder_message());
}

static void setup(void)
{
	open_text("[store default]\nkind = memory\nbytes = 16m\n[store other]\nkind = memory\nbytes = 2m\n[manager]\ntiming = 1\n");
	cr_assert_eq(larder_manager_handle(manager, NULL, "n", &handle), LARDER_OK);
}
static void teardown(void)
{
	larder_manager_close(&manager);
}
TestSuite(manager, .init = setup, .fini = teardown);

static enum larder_status set(struct larder_handle *h, const char *key, const char *value)
{
	return larder_handle_set(h, key, strlen(key), value, strlen(value), LARDER_TTL_DEFAULT);
}

/* LARDER_OK only if the value is that. */
static enum larder_status get(struct larder_handle *h, const char *key, const char *value)
{
	char data[64];
	struct larder_buffer buffer = { .data = data, .capacity = sizeof data };
	enum larder_status status = larder_handle_get(h, key, strlen(key), &buffer);

	if (!status)
		cr_assert(buffer.length == strlen(value) && !memcmp(data, value, buffer.length), "%.*s", (int)buffer.length, data);
	return status;
}

static struct larder_store *memory(void)
{
	const struct larder_setting settings[] = { { "bytes", "16m" } };
	struct larder_store *store;

	cr_assert_eq(larder_store_open("memory", settings, 1, NULL, NULL, &store), LARDER_OK);
	return store;
}

/* ---- Names ---------------------------------------------------------------------------------------------------------- */

Test(manager, no_name_is_the_default_store)
{
	struct larder_handle *same, *other;

	cr_assert_eq(larder_manager_handle(manager, "default", "n", &same), LARDER_OK);
	cr_assert_eq(same, handle);
	cr_assert_eq(larder_manager_handle(manager, "other", "n", &other), LARDER_OK);
	cr_assert_eq(set(handle, "k", "v"), LARDER_OK);
	cr_assert_eq(get(same, "k", "v"), LARDER_OK);
	cr_assert_eq(get(other, "k", "v"), LARDER_MISS);
}

Test(manager, an_unknown_name_is_an_error_that_lists_the_known_ones)
{
	struct larder_handle *none = handle;
	struct larder_key key;

	cr_assert_eq(larder_manager_handle(manager, "nosuch", "n", &none), LARDER_NO_STORE);
	cr_assert_null(none);
	cr_assert(strstr(larder_message(), "'nosuch'") && strstr(larder_message(), "default, other"), "%s", larder_message());
	cr_assert_eq(larder_key_make(&key, "n", "k", NULL), LARDER_OK);
	cr_assert_eq(larder_manager_delete(manager, "nosuch", &key), LARDER_NO_STORE);
	cr_assert_null(larder_manager_store(manager, "nosuch"));
}

Test(manager, without_a_default_store_the_message_says_whose_it_is_to_name_one)
{
	struct larder_handle *none;

	larder_manager_close(&manager);
	open_text("[store other]\nkind = memory\nbytes = 2m\n");
	cr_assert_eq(larder_manager_handle(manager, NULL, "n", &none), LARDER_NO_STORE);
	const char *said = larder_message();
	cr_assert(strstr(said, "no store is named") && strstr(said, "default of [manager]") && strstr(said, "are: other"), "%s", said);
}

Test(manager, a_handle_survives_its_store_and_meets_the_next_one)
{
	struct larder_store *fresh = memory();

	cr_assert_eq(set(handle, "k", "old"), LARDER_OK);
	cr_assert_eq(larder_manager_replace(manager, "default", fresh), LARDER_OK);
	cr_assert_eq(get(handle, "k", "?"), LARDER_MISS);
	cr_assert_eq(set(handle, "k", "new"), LARDER_OK);
	cr_assert_eq(larder_manager_unregister(manager, "default"), LARDER_OK);
	cr_assert_eq(get(handle, "k", "?"), LARDER_NO_STORE);
	cr_assert(strstr(larder_message(), "other"), "%s", larder_message());
	cr_assert_eq(set(handle, "k", "?"), LARDER_NO_STORE);
	cr_assert_eq(larder_handle_delete(handle, "k", 1), LARDER_NO_STORE);
	cr_assert_eq(larder_handle_touch(handle, "k", 1, 5), LARDER_NO_STORE);
	cr_assert_eq(larder_handle_incr(handle, "k", 1, 1, true, 0, 0, NULL), LARDER_NO_STORE);
	cr_assert_eq(larder_handle_clear(handle, false), LARDER_NO_STORE);
	cr_assert_eq(larder_manager_register(manager, "default", fresh), LARDER_OK);
	cr_assert_eq(get(handle, "k", "new"), LARDER_OK);
	larder_store_release(&fresh);
}

Test(manager, names_are_taken_once_and_have_a_form)
{
	struct larder_store *store = memory();

	cr_assert_eq(larder_manager_register(manager, "other", store), LARDER_EXISTS);
	cr_assert(strstr(larder_message(), "'other'"), "%s", larder_message());
	cr_assert_eq(larder_manager_register(manager, "No Name", store), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "No Name"), "%s", larder_message());
	cr_assert_eq(larder_manager_replace(manager, "nosuch", store), LARDER_NO_STORE);
	cr_assert_eq(larder_manager_unregister(manager, "nosuch"), LARDER_NO_STORE);
	cr_assert_eq(larder_manager_register(manager, "third", store), LARDER_OK);
	cr_assert_eq(larder_manager_unregister(manager, "third"), LARDER_OK);
	cr_assert_eq(larder_manager_unregister(manager, "third"), LARDER_NO_STORE);
	larder_store_release(&store);
}

Test(manager, it_knows_256_names_and_no_more)
{
	struct larder_store *store = memory();
	char name[16];
	enum larder_status status = LARDER_OK;
	int registered = 2;

	for (; !status; registered++) {
		snprintf(name, sizeof name, "s%d", registered);
		status = larder_manager_register(manager, name, store);
	}
	cr_assert_eq(status, LARDER_NO_ROOM);
	cr_assert_eq(registered - 1, (int)LARDER_STORES_MAX);
	larder_store_release(&store);
}

static bool collect(const char *name, struct larder_store *store, void *arg)
{
	cr_assert_not_null(larder_store_cache(store));
	strcat(strcat(arg, name), " ");
	return strlen(arg) < 10;
}

Test(manager, stores_are_listed_in_the_order_of_their_names)
{
	char names[64] = "";

	cr_assert_eq(larder_manager_stores(manager, collect, names), LARDER_END);
	cr_assert_str_eq(names, "default other ");
}

/* ---- Operations ------------------------------------------------------------------------------------------------------- */

Test(manager, every_operation_reaches_the_store)
{
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta;
	int64_t sum;

	options.mode = LARDER_ADD;
	options.user_flags = 7;
	cr_assert_eq(larder_handle_set_with(handle, "k", 1, "v", 1, &options, NULL), LARDER_OK);
	cr_assert_eq(larder_handle_set_with(handle, "k", 1, "v", 1, &options, NULL), LARDER_EXISTS);
	cr_assert_eq(larder_handle_get_with(handle, "k", 1, &value, 0, &meta), LARDER_OK);
	cr_assert_eq(meta.user_flags, 7);
	cr_assert_eq(larder_handle_touch(handle, "k", 1, LARDER_SECONDS(100)), LARDER_OK);
	cr_assert_eq(larder_handle_get_with(handle, "k", 1, &value, 0, &meta), LARDER_OK);
	cr_assert(meta.ttl_left_ms > 90000);
	cr_assert_eq(larder_handle_incr(handle, "i", 1, 2, true, 40, LARDER_TTL_DEFAULT, &sum), LARDER_OK);
	cr_assert_eq(sum, 42);
	cr_assert_eq(larder_handle_delete(handle, "k", 1), LARDER_OK);
	cr_assert_eq(larder_handle_delete(handle, "k", 1), LARDER_MISS);
	cr_assert_eq(larder_handle_clear(handle, true), LARDER_OK);
	cr_assert_eq(larder_handle_get_with(handle, "i", 1, &value, LARDER_ALLOW_STALE, NULL), LARDER_STALE);
	free(value.data);
}

Test(manager, options_of_an_older_caller_are_taken_as_far_as_they_go)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_handle *tiered;
	struct larder_manager *own;
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;

	options.text = "[store a]\nkind = memory\nbytes = 2m\n[store b]\nkind = memory\nbytes = 2m\n"
			"[store t]\nkind = tiered\nnear = a\nfar = b\n";
	options.file = "";
	cr_assert_eq(larder_manager_open_with(&options, &own), LARDER_OK, "%s", larder_message());
	cr_assert_eq(larder_manager_handle(own, "t", "n", &tiered), LARDER_OK);
	memset((char *)&o + offsetof(struct larder_set_options, jitter_percent), 0xff,
			sizeof o - offsetof(struct larder_set_options, jitter_percent));
	o.size = offsetof(struct larder_set_options, jitter_percent);
	cr_assert_eq(larder_handle_set_with(tiered, "k", 1, "v", 1, &o, NULL), LARDER_OK, "%s", larder_message());
	cr_assert_eq(get(tiered, "k", "v"), LARDER_OK);
	o.size = 1;
	cr_assert_eq(larder_handle_set_with(tiered, "k", 1, "w", 1, &o, NULL), LARDER_INVALID);
	larder_manager_close(&own);
}

Test(manager, a_key_with_colons_is_another_than_one_with_a_version)
{
	struct larder_key versioned, plain;
	struct larder_buffer value = { .grow = true };

	cr_assert_eq(set(handle, "a:b", "handle"), LARDER_OK);
	cr_assert_eq(get(handle, "a:b", "handle"), LARDER_OK);
	cr_assert_eq(larder_key_make(&plain, "n", "a:b", NULL), LARDER_OK);
	cr_assert_eq(larder_manager_get(manager, NULL, &plain, &value, 0, NULL), LARDER_OK);
	cr_assert_eq(larder_key_make(&versioned, "n", "a", "b"), LARDER_OK);
	cr_assert_eq(larder_manager_get(manager, NULL, &versioned, &value, 0, NULL), LARDER_MISS);
	cr_assert_eq(larder_manager_set(manager, NULL, &versioned, "v", 1, LARDER_TTL_DEFAULT), LARDER_OK);
	cr_assert_eq(larder_manager_get(manager, NULL, &versioned, &value, 0, NULL), LARDER_OK);
	cr_assert_eq(get(handle, "a:b", "handle"), LARDER_OK);
	cr_assert_eq(larder_handle_touch(handle, "a:b", 3, 1000), LARDER_OK);
	cr_assert_eq(larder_handle_delete(handle, "a:b", 3), LARDER_OK);
	cr_assert_eq(larder_manager_delete(manager, NULL, &versioned), LARDER_OK);
	free(value.data);
}

Test(manager, keys_that_are_none_are_refused)
{
	static char huge[LARDER_KEY_MAX + 1];
	struct larder_buffer value = { .grow = true };

	memset(huge, ':', sizeof huge);
	cr_assert_eq(larder_handle_get(handle, "", 0, &value), LARDER_KEY_SIZE);
	cr_assert_eq(larder_handle_get(handle, NULL, 1, &value), LARDER_INVALID);
	cr_assert_eq(larder_handle_get(handle, huge, sizeof huge, &value), LARDER_KEY_SIZE);
	cr_assert_eq(larder_handle_get(handle, huge, LARDER_KEY_MAX / 3 + 1, &value), LARDER_KEY_SIZE);
	cr_assert_eq(larder_handle_get(handle, huge, LARDER_KEY_MAX / 3, &value), LARDER_MISS);
	cr_assert_eq(larder_handle_get(NULL, "k", 1, &value), LARDER_INVALID);
	cr_assert_eq(larder_handle_get(handle, "k", 1, NULL), LARDER_INVALID);
	cr_assert_eq(larder_handle_set(handle, "k", 1, NULL, 1, 0), LARDER_INVALID);
}

Test(manager, calls_without_what_they_need_are_refused)
{
	struct larder_key key;
	struct larder_buffer value = { .grow = true };
	char longest[LARDER_NAMESPACE_MAX + 2] = "";

	cr_assert_eq(larder_handle_delete(NULL, "k", 1), LARDER_INVALID);
	cr_assert_eq(larder_handle_touch(NULL, "k", 1, 5), LARDER_INVALID);
	cr_assert_eq(larder_handle_incr(NULL, "k", 1, 1, true, 0, 0, NULL), LARDER_INVALID);
	cr_assert_eq(larder_handle_clear(NULL, false), LARDER_INVALID);
	cr_assert_eq(larder_handle_mget(NULL, 0, NULL, 0), LARDER_INVALID);
	cr_assert_eq(larder_handle_get_or_compute(handle, "k", 1, NULL, NULL, NULL, &value, NULL), LARDER_INVALID);
	cr_assert_eq(larder_handle_incr(handle, "", 0, 1, true, 0, 0, NULL), LARDER_KEY_SIZE);
	cr_assert_eq(larder_key_make(&key, "n", "k", NULL), LARDER_OK);
	cr_assert_eq(larder_manager_get(NULL, NULL, &key, &value, 0, NULL), LARDER_INVALID);
	cr_assert_eq(larder_manager_get(manager, NULL, &key, NULL, 0, NULL), LARDER_INVALID);
	cr_assert_eq(larder_manager_register(manager, "x", NULL), LARDER_INVALID);
	cr_assert_eq(larder_manager_replace(manager, "other", NULL), LARDER_INVALID);
	cr_assert_eq(larder_manager_unregister(NULL, "other"), LARDER_INVALID);
	cr_assert_eq(larder_manager_stores(manager, NULL, NULL), LARDER_INVALID);
	cr_assert_eq(larder_manager_metrics(manager, NULL, NULL), LARDER_INVALID);
	memset(longest, 'n', sizeof longest - 1);
	struct larder_handle *none = handle;
	cr_assert_eq(larder_manager_handle(manager, NULL, longest, &none), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "64"), "%s", larder_message());
}

Test(manager, a_store_is_registered_under_the_usual_name_where_none_is_given)
{
	struct larder_store *fresh = memory();

	cr_assert_eq(larder_manager_register(manager, NULL, fresh), LARDER_EXISTS);
	cr_assert_eq(larder_manager_unregister(manager, NULL), LARDER_OK);
	struct larder_store_item item = { .key.bytes = "k", .key.count = 1 };
	cr_assert_eq(larder_handle_mget(handle, 0, &item, 1), LARDER_NO_STORE);
	cr_assert_eq(larder_manager_register(manager, NULL, fresh), LARDER_OK);
	cr_assert_eq(set(handle, "k", "v"), LARDER_OK);
	cr_assert_eq(get(handle, "k", "v"), LARDER_OK);
	larder_store_release(&fresh);
}

Test(manager, a_value_set_through_a_handle_has_the_time_to_live_it_was_given)
{
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta;

	cr_assert_eq(larder_handle_set(handle, "k", 1, "v", 1, LARDER_SECONDS(60)), LARDER_OK);
	cr_assert_eq(larder_handle_get_with(handle, "k", 1, &value, 0, &meta), LARDER_OK);
	cr_assert(meta.ttl_left_ms > 30000 && meta.ttl_left_ms <= 60000);
	cr_assert_eq(larder_handle_set(handle, "k", 1, "v", 1, LARDER_TTL_NONE), LARDER_OK);
	cr_assert_eq(larder_handle_get_with(handle, "k", 1, &value, 0, &meta), LARDER_OK);
	cr_assert_eq(meta.ttl_left_ms, LARDER_TTL_NONE);
	free(value.data);
}

Test(manager, many_keys_are_read_at_once_plain_or_not)
{
	static const char *const keys[] = { "a", "b:c", "none", "d" };
	struct larder_store_item items[4];

	cr_assert_eq(set(handle, "a", "1"), LARDER_OK);
	cr_assert_eq(set(handle, "b:c", "2"), LARDER_OK);
	cr_assert_eq(set(handle, "d", "3"), LARDER_OK);
	for (int escaped = 0; escaped < 2; escaped++) {
		for (int i = 0; i < 4; i++)
			items[i] = (struct larder_store_item){ .key.bytes = i == 1 && !escaped ? "none" : keys[i],
				.key.count = strlen(i == 1 && !escaped ? "none" : keys[i]), .value.grow = true };
		cr_assert_eq(larder_handle_mget(handle, LARDER_MGET_META, items, 4), LARDER_OK);
		cr_assert_eq(items[0].status, LARDER_OK);
		cr_assert_neq(items[0].meta.version, 0);
		cr_assert_eq(items[1].status, escaped ? LARDER_OK : LARDER_MISS);
		cr_assert_eq(items[2].status, LARDER_MISS);
		cr_assert_eq(items[3].status, LARDER_OK);
		cr_assert_eq(((char *)items[3].value.data)[0], '3');
		for (int i = 0; i < 4; i++)
			free(items[i].value.data);
	}
	items[0].key.count = 0;
	cr_assert_eq(larder_handle_mget(handle, 0, items, 4), LARDER_KEY_SIZE);
	cr_assert_eq(larder_handle_mget(handle, 0, NULL, 0), LARDER_OK);
}

Test(manager, times_to_live_are_seconds_or_durations)
{
	int64_t ms;

	cr_assert_eq(larder_ttl("60", &ms), LARDER_OK);
	cr_assert_eq(ms, LARDER_SECONDS(60));
	cr_assert_eq(larder_ttl("1500ms", &ms), LARDER_OK);
	cr_assert_eq(ms, 1500);
	cr_assert_eq(larder_ttl("2h", &ms), LARDER_OK);
	cr_assert_eq(ms, 7200000);
	cr_assert_eq(larder_ttl("0", &ms), LARDER_INVALID);
	cr_assert_eq(larder_ttl("soon", &ms), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "soon"), "%s", larder_message());
}

Test(manager, a_child_goes_on_with_stores_and_handles_and_may_replace_them)
{
	int how;

	cr_assert_eq(set(handle, "k", "v"), LARDER_OK);
	pid_t child = fork();
	if (child == 0) {
		struct larder_store *store;
		int bad = get(handle, "k", "v") || set(handle, "child", "c");
		store = memory();
		bad |= larder_manager_replace(manager, NULL, store) || get(handle, "k", "?") != LARDER_MISS;
		larder_store_release(&store);
		larder_manager_close(&manager);
		_exit(bad);
	}
	cr_assert_eq(waitpid(child, &how, 0), child);
	cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0, "the child left with %d", how);
	cr_assert_eq(get(handle, "child", "c"), LARDER_OK);
}

static int loads;

static enum larder_status load(void *arg, struct larder_loaded *to)
{
	loads++;
	/* The manager may be used, and changed, while it runs. */
	if (arg == &loads) {
		struct larder_store *fresh = memory();
		cr_assert_eq(larder_manager_replace(manager, "other", fresh), LARDER_OK);
		larder_store_release(&fresh);
	}
	to->value = "loaded";
	to->value_bytes = 6;
	return arg ? LARDER_OK : LARDER_ABSENT;
}

Test(manager, what_is_absent_is_computed_once_and_kept)
{
	struct larder_buffer value = { .grow = true };
	struct larder_computed how;

	for (int i = 0; i < 3; i++) {
		cr_assert_eq(larder_handle_get_or_compute(handle, "a:b", 3, load, &loads, NULL, &value, &how), LARDER_OK);
		cr_assert(value.length == 6 && !memcmp(value.data, "loaded", 6));
		cr_assert_eq(how.computed, i == 0);
	}
	cr_assert_eq(loads, 1);
	cr_assert_eq(get(handle, "a:b", "loaded"), LARDER_OK);
	cr_assert_eq(larder_handle_get_or_compute(handle, "none", 4, load, NULL, NULL, &value, NULL), LARDER_ABSENT);
	cr_assert_eq(larder_handle_get_or_compute(handle, "none", 4, NULL, NULL, NULL, &value, NULL), LARDER_INVALID);
	cr_assert_eq(larder_handle_get_or_compute(handle, "", 0, load, NULL, NULL, &value, NULL), LARDER_KEY_SIZE);
	free(value.data);
}

/* ---- A store that fails and tells ------------------------------------------------------------------------------------- */

static int failing_open, failing_in;

static enum larder_status fail_open(const struct larder_setting_value *values, void **self)
{
	*self = (void *)(uintptr_t)values;
	failing_open++;
	return LARDER_OK;
}
static void fail_close(void *self)
{
	(void)self;
	failing_open--;
}
static enum larder_status fail_health(void *self, struct larder_health *health)
{
	(void)self, (void)health;
	return LARDER_OK;
}
static struct larder_store *replacement;
static enum larder_status fail_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	(void)self, (void)key, (void)flags, (void)value, (void)meta;
	failing_in++;
	/* Replaced in the middle of a call, by the call itself: it finishes with the store that it began with. */
	if (replacement)
		cr_assert_eq(larder_manager_replace(manager, "failing", replacement), LARDER_OK);
	cr_assert_eq(failing_open, 1);
	larder_store_message("nobody at %s", "home");
	return LARDER_UNREACHABLE;
}
static enum larder_status fail_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	(void)self, (void)key, (void)value, (void)value_bytes, (void)options, (void)result;
	return LARDER_REFUSED;
}
static enum larder_status fail_remove(void *self, const struct larder_store_key *key)
{
	(void)self, (void)key;
	return LARDER_UNREACHABLE;
}
static enum larder_status fail_clear(void *self, const struct larder_name *ns, bool soft)
{
	(void)self, (void)ns, (void)soft;
	return LARDER_OK;
}
static const struct larder_store_kind kind_failing = { .size = sizeof kind_failing, .name = "failing", .open = fail_open,
	.close = fail_close, .health = fail_health, .get = fail_get, .set = fail_set, .remove = fail_remove, .clear = fail_clear };

static struct larder_log_event last;
static char told[512];
static unsigned events;

static void tell(const struct larder_log_event *event, void *arg)
{
	events += (unsigned)(arg == &events);
	last = *event;
	snprintf(told, sizeof told, "%s %s %s %d %s", event->operation, event->store, event->key, (int)event->status, event->message);
}

static void open_failing(void)
{
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;

	larder_manager_close(&manager);
	cr_assert_eq(larder_kind_register(&kind_failing), LARDER_OK);
	options.text = "[manager]\ntiming = 1\n[store failing]\nkind = failing\n";
	options.flags = LARDER_NO_ENVIRONMENT;
	options.log = tell;
	options.log_arg = &events;
	cr_assert_eq(larder_manager_open_with(&options, &manager), LARDER_OK, "%s", larder_message());
	cr_assert_eq(larder_manager_handle(manager, "failing", "n:s", &handle), LARDER_OK);
}

Test(manager, failures_are_told_with_key_store_operation_and_words_and_passed_on)
{
	open_failing();
	cr_assert_eq(get(handle, "a:b", "?"), LARDER_UNREACHABLE);
	cr_assert_str_eq(told, "get failing n%3As:a%3Ab -22 nobody at home");
	cr_assert_eq(set(handle, "k", "v"), LARDER_REFUSED);
	cr_assert_eq(strncmp(told, "set failing n%3As:k -23 ", 24), 0, "%s", told);
	cr_assert_eq(larder_handle_incr(handle, "k", 1, 1, true, 0, 0, NULL), LARDER_UNSUPPORTED);
	cr_assert_eq(events, 3);
	cr_assert_eq(larder_handle_clear(handle, false), LARDER_OK);
	cr_assert_eq(larder_manager_unregister(manager, "failing"), LARDER_OK);
	cr_assert_eq(failing_open, 0);
	cr_assert_eq(get(handle, "k", "?"), LARDER_NO_STORE);
	cr_assert_eq(events, 4);
}

Test(manager, a_store_that_fails_is_no_reason_to_go_without_a_value)
{
	struct larder_buffer value = { .grow = true };
	struct larder_computed how;

	open_failing();
	for (int i = 1; i < 3; i++) {
		cr_assert_eq(larder_handle_get_or_compute(handle, "k", 1, load, &value, NULL, &value, &how), LARDER_OK);
		cr_assert(how.computed && !how.stored && how.store_status == LARDER_REFUSED && loads == i);
		cr_assert(value.length == 6 && !memcmp(value.data, "loaded", 6));
	}
	cr_assert_eq(larder_manager_unregister(manager, "failing"), LARDER_OK);
	cr_assert_eq(larder_handle_get_or_compute(handle, "k", 1, load, &value, NULL, &value, &how), LARDER_NO_STORE);
	free(value.data);
}

Test(manager, a_call_finishes_with_the_store_that_it_began_with_and_that_closes_after)
{
	open_failing();
	replacement = memory();
	cr_assert_eq(get(handle, "k", "?"), LARDER_UNREACHABLE);
	cr_assert_eq(failing_open, 0);
	cr_assert_eq(failing_in, 1);
	cr_assert_eq(get(handle, "k", "?"), LARDER_MISS);
	larder_store_release(&replacement);
}

/* ---- Counting ------------------------------------------------------------------------------------------------------------ */

struct counts {
	const char *operation, *store;
	uint64_t hits, misses, done, errors, timed;
};

static bool add_up(const struct larder_metric *metric, void *arg)
{
	struct counts *c = arg;

	if (strcmp(metric->operation, c->operation) || strcmp(metric->store, c->store) || strcmp(metric->namespace_name, "n"))
		return true;
	c->hits += metric->hits;
	c->misses += metric->misses;
	c->done += metric->done;
	c->timed += metric->timed;
	for (unsigned i = 0; i < LARDER_REASONS; i++)
		c->errors += metric->errors[i];
	return true;
}

static struct counts counted(const char *store, const char *operation)
{
	struct counts c = { .operation = operation, .store = store };

	cr_assert_eq(larder_manager_metrics(manager, add_up, &c), LARDER_OK);
	return c;
}

static void use_all(void)
{
	struct larder_store_item items[3] = { { .key.bytes = "k", .key.count = 1, .value.grow = true },
		{ .key.bytes = "x", .key.count = 1 }, { .key.bytes = "y", .key.count = 1 } };

	for (int i = 0; i < 5; i++)
		cr_assert_eq(set(handle, "k", "v"), LARDER_OK);
	for (int i = 0; i < 7; i++)
		cr_assert_eq(get(handle, i < 4 ? "k" : "none", "v"), i < 4 ? LARDER_OK : LARDER_MISS);
	cr_assert_eq(larder_handle_mget(handle, 0, items, 3), LARDER_OK);
	free(items[0].value.data);
	cr_assert_eq(larder_handle_delete(handle, "k", 1), LARDER_OK);
	cr_assert_eq(larder_handle_delete(handle, "k", 1), LARDER_MISS);
	cr_assert_eq(larder_handle_incr(handle, "t", 1, INT64_MAX, true, 0, 0, NULL), LARDER_RANGE);
}

static void all_counted(const char *store)
{
	struct counts c = counted(store, "get");
	cr_assert(c.hits == 5 && c.misses == 5 && c.errors == 0 && c.timed == 7, "%lu %lu %lu", c.hits, c.misses, c.timed);
	c = counted(store, "set");
	cr_assert(c.done == 5 && c.timed == 5);
	cr_assert_eq(counted(store, "delete").done, 2);
	cr_assert_eq(counted(store, "mget").done, 1);
	c = counted(store, "incr");
	cr_assert(c.done == 0 && c.errors == 1);
}

Test(manager, every_operation_is_counted_once_and_timed)
{
	use_all();
	all_counted("default");
	cr_assert_eq(larder_manager_cache(manager) != NULL, true);
}

Test(manager, counts_of_a_shared_store_lie_in_its_segment_for_all_to_see)
{
	struct larder *inspector;
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct counts c = { .operation = "get", .store = "web" };
	char text[200], name[64];

	larder_manager_close(&manager);
	snprintf(name, sizeof name, "test-manager-%d", (int)getpid());
	snprintf(text, sizeof text, "[manager]\ndefault = web\ntiming = 1\n[store web]\nkind = shm\nbytes = 16m\nname = %s\n", name);
	open_text(text);
	cr_assert_eq(larder_manager_handle(manager, NULL, "n", &handle), LARDER_OK);
	use_all();
	all_counted("web");
	larder_manager_close(&manager);
	options.flags = LARDER_INSPECT;
	cr_assert_eq(larder_open_with(name, &options, &inspector), LARDER_OK);
	cr_assert_eq(larder_metrics(inspector, add_up, &c), LARDER_OK);
	cr_assert(c.hits == 5 && c.misses == 5);
	larder_close(&inspector);
	larder_destroy(name);
}

/* Where a get is not timed, which all are in the tests above, and its row is known from the one before. */
TestSuite(manager_short_way, .fini = teardown);

static void open_untimed(void)
{
	open_text("[store default]\nkind = memory\nbytes = 16m\n[manager]\ntiming = 0\n");
	cr_assert_eq(larder_manager_handle(manager, NULL, "n", &handle), LARDER_OK);
	cr_assert_eq(get(handle, "first", "?"), LARDER_MISS);
}

Test(manager_short_way, keys_of_every_length_are_told_apart_whether_plain_or_not)
{
	char key[48], text[64];

	open_untimed();
	for (size_t bytes = 1; bytes <= sizeof key; bytes++)
		for (size_t at = 0; at <= bytes; at++) { /* at == bytes: a plain one */
			memset(key, 'k', sizeof key);
			if (at < bytes)
				key[at] = at % 2 ? ':' : '%';
			snprintf(text, sizeof text, "%zu of %zu", at, bytes);
			cr_assert_eq(larder_handle_set(handle, key, bytes, text, strlen(text), LARDER_TTL_NONE), LARDER_OK);
		}
	for (size_t bytes = 1; bytes <= sizeof key; bytes++)
		for (size_t at = 0; at <= bytes; at++) {
			char data[64];
			struct larder_buffer value = { .data = data, .capacity = sizeof data };
			memset(key, 'k', sizeof key);
			if (at < bytes)
				key[at] = at % 2 ? ':' : '%';
			snprintf(text, sizeof text, "%zu of %zu", at, bytes);
			cr_assert_eq(larder_handle_get(handle, key, bytes, &value), LARDER_OK, "%s", text);
			cr_assert(value.length == strlen(text) && !memcmp(data, text, value.length), "%s", text);
		}
}

Test(manager_short_way, what_is_not_usual_is_answered_and_counted_as_ever)
{
	char small[2], large[] = "a value longer than two bytes";
	struct larder_buffer fixed = { .data = small, .capacity = sizeof small }, growing = { .grow = true };
	struct larder_set_options absent = LARDER_SET_OPTIONS_INIT;

	open_untimed();
	absent.flags = LARDER_SET_ABSENT;
	cr_assert_eq(set(handle, "k", large), LARDER_OK);
	cr_assert_eq(larder_handle_get(handle, "k", 1, &fixed), LARDER_SHORT);
	cr_assert_eq(fixed.length, strlen(large));
	cr_assert_eq(larder_handle_get(handle, "k", 1, &growing), LARDER_OK);
	cr_assert(growing.length == strlen(large) && !memcmp(growing.data, large, growing.length));
	cr_assert_eq(larder_handle_set_with(handle, "none", 4, "", 0, &absent, NULL), LARDER_OK);
	cr_assert_eq(larder_handle_get(handle, "none", 4, &growing), LARDER_ABSENT);
	cr_assert_eq(larder_handle_get(handle, "nothing", 7, &growing), LARDER_MISS);
	struct counts c = counted("default", "get");
	cr_assert(c.hits == 2 && c.misses == 3 && c.errors == 0, "%lu hits, %lu misses, %lu errors", c.hits, c.misses, c.errors);
	free(growing.data);
}

Test(manager, without_a_segment_counts_are_kept_in_memory_of_the_process)
{
	struct counts c;

	open_failing();
	cr_assert_null(larder_manager_cache(manager));
	cr_assert_eq(larder_manager_handle(manager, "failing", "n", &handle), LARDER_OK);
	cr_assert_eq(get(handle, "k", "?"), LARDER_UNREACHABLE);
	cr_assert_eq(larder_manager_record(manager, "render", "failing", "n", true, 1000, NULL, 0), LARDER_OK);
	c = counted("failing", "get");
	cr_assert(c.errors == 1 && c.hits == 0 && c.misses == 0);
	cr_assert_eq(counted("failing", "render").timed, 1);
}

Test(manager, counting_moves_with_the_store_that_it_lies_in)
{
	struct larder_store *fresh = memory();

	use_all();
	cr_assert_eq(larder_manager_replace(manager, "default", fresh), LARDER_OK);
	cr_assert_eq(larder_manager_cache(manager), larder_store_cache(fresh));
	cr_assert_eq(counted("default", "get").hits, 0);
	use_all();
	all_counted("default");
	larder_store_release(&fresh);
}

Test(manager, nothing_is_counted_if_so_configured)
{
	larder_manager_close(&manager);
	open_text("[store default]\nkind = memory\n[manager]\nmetrics = none\n");
	cr_assert_eq(larder_manager_handle(manager, NULL, "n", &handle), LARDER_OK);
	use_all();
	cr_assert_null(larder_manager_cache(manager));
	cr_assert_eq(counted("default", "get").hits, 0);
	cr_assert_eq(larder_manager_record(manager, "render", "", "", true, 1000, NULL, 0), LARDER_OK);
}

Test(manager, two_managers_in_one_process_are_two)
{
	struct larder_manager *first = manager, *second;
	struct larder_handle *h;

	open_text("[store default]\nkind = memory\n");
	second = manager;
	cr_assert_eq(larder_manager_handle(second, NULL, "n", &h), LARDER_OK);
	cr_assert_eq(set(handle, "k", "v"), LARDER_OK);
	cr_assert_eq(get(h, "k", "?"), LARDER_MISS);
	larder_manager_close(&second);
	manager = first;
	cr_assert_eq(get(handle, "k", "v"), LARDER_OK);
}

/* ---- Configuration ---------------------------------------------------------------------------------------------------------- */

static void refused(const char *text, const char *const words[3])
{
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;
	struct larder_manager *none = manager;

	options.text = text;
	options.file = "";
	cr_assert_eq(larder_manager_open_with(&options, &none), LARDER_INVALID, "%s", text);
	cr_assert_null(none);
	for (int i = 0; i < 3; i++)
		cr_assert(strstr(larder_message(), words[i]), "'%s' is not in: %s", words[i], larder_message());
}

Test(manager, bad_settings_are_named_with_place_value_and_range)
{
	refused("[manager]\nlog = loud\n", (const char *[]){ "program:2", "log = loud", "stderr" });
	refused("[manager]\ntiming = -1\n", (const char *[]){ "program:2", "timing = -1", "0 .. 16777216" });
	refused("[manager]\nlogg = none\n", (const char *[]){ "program:2", "logg", "did you mean 'log'" });
	refused("[manager]\ndefault = A B\n", (const char *[]){ "default", "A B", "[a-z0-9_.-]" });
	refused("[store a]\nbytes = 1m\n", (const char *[]){ "program:2", "store a", "kind" });
	refused("[store a]\nkind = memroy\n", (const char *[]){ "program:2: store a: kind = memroy", "did you mean 'memory'", "redis, tiered" });
	refused("[store a]\nkind = memory\nbytes = 5\n", (const char *[]){ "program:3", "store a", "bytes = 5" });
	refused("[store a]\nkind = shm\n", (const char *[]){ "program:2: store a", "name", "has to be given" });
}

Test(manager, what_a_store_fails_of_is_told_with_its_name_and_place)
{
	refused("[store a]\nname = .x\nkind = shm\n", (const char *[]){ "program:3: store a: ", ".x", "path" });
	refused("[store a]\nkind = memory\nbytes = 600k\nnamespaces = 4096\n",
			(const char *[]){ "program:2: store a: bytes = 614400: too few", "4096 namespaces", "ask for more" });
	cr_assert_null(strstr(larder_message(), "options."), "%s", larder_message());
	refused("[store a]\nkind = redis\nurl = unix:///nowhere/redis\nport = 5\n", (const char *[]){ "program:4", "store a", "port" });
	refused("[store m]\nkind = memory\n[store a]\nkind = migrating\nold = m\nnew = m\n",
			(const char *[]){ "program:4: store a: ", "kind migrating", "same store" });
}

Test(manager, a_default_that_is_no_store_is_refused)
{
	refused("[manager]\ndefault = nope\n[store web]\nkind = memory\n", (const char *[]){ "program:2", "default = nope", "web" });
	refused("[manager]\nmetrics = nope\n[store web]\nkind = memory\n", (const char *[]){ "program:2", "metrics = nope", "web" });
	larder_manager_close(&manager);
	open_text("[manager]\ndefault = later\n");
	cr_assert_eq(larder_manager_define(manager, "later", "memory", NULL, 0), LARDER_OK, "%s", larder_message());
	cr_assert_eq(larder_manager_handle(manager, NULL, "n", &handle), LARDER_OK);
	cr_assert_eq(set(handle, "k", "v"), LARDER_OK);
}

Test(manager, file_overrides_text_and_the_environment_overrides_both)
{
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;
	struct larder_info info;
	char path[64];
	FILE *file;

	snprintf(path, sizeof path, "/tmp/larder-manager-%d.conf", (int)getpid());
	file = fopen(path, "w");
	fputs("[store a]\nbytes = 3m\n[store b]\nkind = memory\nbytes = 3m\n", file);
	fclose(file);
	setenv("LARDER_CONFIG", path, 1);
	setenv("LARDER_STORE_B_BYTES", "5m", 1);
	options.text = "[store a]\nkind = memory\nbytes = 2m\n[store b]\nbytes = 2m\n";
	larder_manager_close(&manager);
	cr_assert_eq(larder_manager_open_with(&options, &manager), LARDER_OK, "%s", larder_message());
	for (int i = 0; i < 2; i++) {
		struct larder_store *store = larder_manager_store(manager, i ? "b" : "a");
		cr_assert_eq(larder_info(larder_store_cache(store), &info), LARDER_OK);
		cr_assert_eq(info.bytes, i ? 5u << 20 : 3u << 20);
		larder_store_release(&store);
	}
	larder_manager_close(&manager);
	options.flags = LARDER_NO_ENVIRONMENT;
	cr_assert_eq(larder_manager_open_with(&options, &manager), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "store b"), "%s", larder_message());
	cr_assert_eq(larder_manager_open("/nowhere/x.conf", &manager), LARDER_SYSTEM);
	unlink(path);
}

Test(manager, a_store_may_be_made_of_stores_defined_before_it)
{
	const struct larder_setting settings[] = { { "bytes", "1m" } };

	cr_assert_eq(larder_manager_define(manager, "third", "memory", settings, 1), LARDER_OK, "%s", larder_message());
	cr_assert_eq(larder_manager_define(manager, "third", "memory", settings, 1), LARDER_EXISTS);
	cr_assert_eq(larder_manager_define(manager, "x", "memory", &(struct larder_setting){ "bytes", "no" }, 1), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "store x") && strstr(larder_message(), "bytes = no"), "%s", larder_message());
}

Test(manager, options_that_it_does_not_know_are_refused)
{
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;
	struct larder_manager *none;

	options.flags = 2;
	cr_assert_eq(larder_manager_open_with(&options, &none), LARDER_INVALID);
	options.flags = 0;
	options.size = 3;
	cr_assert_eq(larder_manager_open_with(&options, &none), LARDER_INVALID);
	cr_assert_eq(larder_manager_open_with(&options, NULL), LARDER_INVALID);
	larder_manager_close(&none);
	larder_manager_close(NULL);
}
