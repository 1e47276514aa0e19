/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stores: the table of kinds, references, and the calls that hand on to a kind's functions.
 *
 * Kinds lie in a table of pointers that only fills, by CAS (edge NAMED), so that finding one takes no lock.  A store counts its
 * references; whoever gives the last one back closes it.
 */
#include "store/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/message.h"
#include "base/sync.h"
#include "cache/options.h"
#include "store/kinds.h"
#include "store/settings.h"

#define KINDS_MAX 32u
#define HEAD_BYTES 480u

struct larder_store {
	const struct larder_store_kind *kind;
	void *self;
	struct word references;
};

static struct pointer registered[KINDS_MAX];

/* ---- Kinds -------------------------------------------------------------------------------------------------------- */

static bool kind_is_sound(const struct larder_store_kind *kind)
{
	if (!kind || kind->size != sizeof *kind || !kind->name || kind->rule_count > SETTINGS_RULES_MAX)
		return false;
	size_t length = strspn(kind->name, "abcdefghijklmnopqrstuvwxyz0123456789-");
	if (!length || length > 32 || kind->name[length])
		return false;
	return kind->open && kind->close && kind->health && kind->get && kind->set && kind->remove && kind->clear;
}

static const struct larder_store_kind *own_kind(const char *name)
{
	for (size_t i = 0; store_kinds[i]; i++)
		if (!strcmp(store_kinds[i]->name, name))
			return store_kinds[i];
	return NULL;
}

const struct larder_store_kind *larder_kind_find(const char *name)
{
	const struct larder_store_kind *kind = name ? own_kind(name) : NULL;

	if (kind || !name)
		return kind;
	for (size_t i = 0; i < KINDS_MAX; i++) {
		/* NAMED (acquire): the table of functions was whole before its address was put here. */
		kind = pointer_load_acquire(&registered[i]);
		if (!kind || !strcmp(kind->name, name))
			return kind;
	}
	return NULL;
}

enum larder_status larder_kind_register(const struct larder_store_kind *kind)
{
	if (!kind_is_sound(kind))
		return LARDER_INVALID;
	for (size_t i = 0; i < KINDS_MAX; i++) {
		if (larder_kind_find(kind->name))
			return LARDER_EXISTS;
		if (pointer_cas_acq_rel(&registered[i], NULL, (void *)(uintptr_t)kind)) /* NAMED (release) */
			return LARDER_OK;
	}
	return LARDER_NO_ROOM;
}

void larder_store_message(const char *format, ...)
{
	char text[MESSAGE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	message_set("%s", text);
}

/* ---- Opening and closing -------------------------------------------------------------------------------------------- */

/* What a message about the request begins with: "larder.conf:11: store sessions: ". */
static const char *head_of(const struct store_request *request, char text[HEAD_BYTES])
{
	snprintf(text, HEAD_BYTES, "%s%s%s%s", request->place ? request->place : "", request->place ? ": " : "",
			request->owner ? request->owner : "", request->owner ? ": " : "");
	return text;
}

static void kind_unknown(const struct store_request *request)
{
	const char *name = request->kind ? request->kind : "", *meant = NULL;
	char known[256] = "", head[HEAD_BYTES];
	size_t distance = SIZE_MAX;

	if (kind_absent(name)) {
		message_set("%skind = %s: %s", head_of(request, head), name, kind_absent(name));
		return;
	}
	for (size_t i = 0; store_kinds[i]; i++) {
		snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", store_kinds[i]->name);
		if (settings_meant(name, store_kinds[i]->name, &distance))
			meant = store_kinds[i]->name;
	}
	message_set("%skind = %s: there is no such kind of store%s%s%s; known are %s%s", head_of(request, head), name,
			meant ? " (did you mean '" : "", meant ? meant : "", meant ? "'?)" : "", known,
			pointer_load_acquire(&registered[0]) ? ", and those that the program registered" : ""); /* NAMED (acquire) */
}

/* Why a kind could not open, with the name of the store and where it stands before it; its status where the kind said nothing. */
static void tell_failure(const struct store_request *request, enum larder_status status)
{
	char head[HEAD_BYTES], text[MESSAGE_BYTES];

	if (!request->owner)
		return;
	snprintf(text, sizeof text, "%s", *larder_message() ? larder_message() : larder_strerror(status));
	message_set("%s%s", head_of(request, head), text);
}

static enum larder_status store_open(const struct store_request *request, const struct larder_store_kind *kind,
		const struct larder_setting_value *values, struct larder_store **store)
{
	struct larder_store *opened = calloc(1, sizeof *opened);

	if (!opened)
		return LARDER_NO_MEMORY;
	message_set("%s", "");
	enum larder_status status = kind->open(values, &opened->self);
	if (status) {
		free(opened);
		tell_failure(request, status);
		return status;
	}
	opened->kind = kind;
	store_hint(&opened->references, 1);
	*store = opened;
	return LARDER_OK;
}

enum larder_status store_open_as(const struct store_request *request, struct larder_store **store)
{
	struct larder_setting_value values[SETTINGS_RULES_MAX];
	const struct larder_store_kind *kind = larder_kind_find(request->kind);
	char owner[160];

	*store = NULL;
	if (!kind) {
		kind_unknown(request);
		return LARDER_INVALID;
	}
	snprintf(owner, sizeof owner, "%s%sstore kind %s", request->owner ? request->owner : "", request->owner ? ": " : "", kind->name);
	struct settings_rules rules = { owner, kind->rules, kind->rule_count, request->find, request->arg, request->origins,
		request->place };
	enum larder_status status = settings_check(&rules, request->settings, request->count, values);
	return status ? status : store_open(request, kind, values, store);
}

enum larder_status larder_store_open(const char *kind, const struct larder_setting *settings, size_t count,
		struct larder_store *(*find)(const char *name, void *arg), void *arg, struct larder_store **store)
{
	const struct store_request request = { .kind = kind, .settings = settings, .count = count, .find = find, .arg = arg };

	if (!store || (count && !settings))
		return LARDER_INVALID;
	return store_open_as(&request, store);
}

struct larder_store *larder_store_hold(struct larder_store *store)
{
	if (store)
		(void)add_hint(&store->references, 1); /* the caller has a reference: nothing follows from this one */
	return store;
}

void larder_store_release(struct larder_store **store)
{
	struct larder_store *mine = store ? *store : NULL;

	if (!mine)
		return;
	*store = NULL;
	/* HELD (release): what we did with the store happened before it is closed.  HELD (acquire): so did what others did. */
	if (add_acq_rel(&mine->references, UINT64_MAX) != 1)
		return;
	mine->kind->close(mine->self);
	free(mine);
}

const struct larder_store_kind *larder_store_kind_of(const struct larder_store *store)
{
	return store->kind;
}

void *larder_store_self(const struct larder_store *store)
{
	return store->self;
}

/* ---- What passes through -------------------------------------------------------------------------------------------- */

enum larder_status larder_buffer_take(struct larder_buffer *buffer, size_t bytes)
{
	buffer->length = bytes;
	if (bytes <= buffer->capacity)
		return LARDER_OK;
	if (!buffer->grow)
		return LARDER_SHORT;
	void *data = realloc(buffer->data, bytes);
	if (!data)
		return LARDER_NO_MEMORY;
	buffer->data = data;
	buffer->capacity = bytes;
	return LARDER_OK;
}

static enum larder_status key_check(const struct larder_store *store, const struct larder_store_key *key)
{
	if (!store || !key || !key->ns || !key->bytes)
		return LARDER_INVALID;
	return key->count && key->count <= LARDER_KEY_MAX ? LARDER_OK : LARDER_KEY_SIZE;
}

enum larder_status larder_store_get(struct larder_store *store, const struct larder_store_key *key, uint32_t flags,
		struct larder_buffer *value, struct larder_meta *meta)
{
	enum larder_status status = key_check(store, key);

	if (status || !value)
		return status ? status : LARDER_INVALID;
	return store->kind->get(store->self, key, flags, value, meta);
}

enum larder_status larder_store_set(struct larder_store *store, const struct larder_store_key *key, const void *value,
		size_t value_bytes, const struct larder_set_options *options, struct larder_result *result)
{
	enum larder_status status = key_check(store, key);
	struct larder_set_options own;

	if (status || (value_bytes && !value) || !options_whole(&own, &options))
		return status ? status : LARDER_INVALID;
	return store->kind->set(store->self, key, value, value_bytes, options, result);
}

enum larder_status larder_store_delete(struct larder_store *store, const struct larder_store_key *key)
{
	enum larder_status status = key_check(store, key);

	return status ? status : store->kind->remove(store->self, key);
}

enum larder_status larder_store_clear(struct larder_store *store, const struct larder_name *ns, bool soft)
{
	return store && ns ? store->kind->clear(store->self, ns, soft) : LARDER_INVALID;
}

static enum larder_status get_one_by_one(struct larder_store *store, uint32_t flags, struct larder_store_item *items,
		size_t count)
{
	for (size_t i = 0; i < count; i++)
		items[i].status = larder_store_get(store, &items[i].key, flags & ~(uint32_t)LARDER_MGET_META, &items[i].value,
				flags & LARDER_MGET_META ? &items[i].meta : NULL);
	return LARDER_OK;
}

enum larder_status larder_store_mget(struct larder_store *store, uint32_t flags, struct larder_store_item *items, size_t count)
{
	if (!store || (count && !items))
		return LARDER_INVALID;
	for (size_t i = 0; i < count; i++) {
		enum larder_status status = key_check(store, &items[i].key);
		if (status)
			return status;
	}
	return store->kind->mget ? store->kind->mget(store->self, flags, items, count)
			: get_one_by_one(store, flags, items, count);
}

static enum larder_status write_one_by_one(struct larder_store *store, struct larder_store_write *writes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		writes[i].status = writes[i].remove ? store->kind->remove(store->self, &writes[i].key)
				: larder_store_set(store, &writes[i].key, writes[i].value, writes[i].value_bytes, writes[i].options, NULL);
	return LARDER_OK;
}

enum larder_status larder_store_write_many(struct larder_store *store, struct larder_store_write *writes, size_t count)
{
	bool whole = true; /* kinds know options of our size alone */

	if (!store || (count && !writes))
		return LARDER_INVALID;
	for (size_t i = 0; i < count; i++) {
		enum larder_status status = key_check(store, &writes[i].key);
		if (status || (!writes[i].remove && writes[i].value_bytes && !writes[i].value))
			return status ? status : LARDER_INVALID;
		whole &= writes[i].remove || !writes[i].options || writes[i].options->size == sizeof *writes[i].options;
	}
	return store->kind->write_many && whole ? store->kind->write_many(store->self, writes, count)
			: write_one_by_one(store, writes, count);
}

enum larder_status larder_store_touch(struct larder_store *store, const struct larder_store_key *key, int64_t ttl_ms)
{
	enum larder_status status = key_check(store, key);

	if (status)
		return status;
	return store->kind->touch ? store->kind->touch(store->self, key, ttl_ms) : LARDER_UNSUPPORTED;
}

enum larder_status larder_store_incr(struct larder_store *store, const struct larder_store_key *key, int64_t delta, bool create,
		int64_t initial, int64_t ttl_ms, int64_t *sum)
{
	enum larder_status status = key_check(store, key);

	if (status)
		return status;
	return store->kind->incr ? store->kind->incr(store->self, key, delta, create, initial, ttl_ms, sum) : LARDER_UNSUPPORTED;
}

/* The loader's value to the buffer and to the store; failures to set are no failures of the call. */
static enum larder_status keep_loaded(struct larder_store *store, const struct larder_store_key *key,
		struct larder_loaded *loaded, struct larder_buffer *value, struct larder_computed *how)
{
	how->store_status = larder_store_set(store, key, loaded->value, loaded->value_bytes, &loaded->set, NULL);
	how->stored = how->store_status == LARDER_OK;
	enum larder_status status = larder_buffer_take(value, loaded->value_bytes);
	if (!status && loaded->value_bytes)
		memcpy(value->data, loaded->value, loaded->value_bytes);
	if (loaded->release)
		loaded->release(loaded);
	return status;
}

/* For kinds that know nothing of who else computes. */
static enum larder_status load_alone(struct larder_store *store, const struct larder_store_key *key, larder_loader *loader,
		void *arg, const struct larder_compute_options *options, struct larder_buffer *value, struct larder_computed *how)
{
	struct larder_loaded loaded = { .set = LARDER_SET_OPTIONS_INIT };
	enum larder_status status = larder_store_get(store, key, 0, value, NULL);

	/* A store that fails is no reason to go without the value. */
	if (status >= 0 && status != LARDER_MISS)
		return status;
	if (options)
		loaded.set = options->set;
	int64_t begin_ns = clock_precise_ns();
	status = loader(arg, &loaded);
	how->computed = true;
	how->cost_us = (uint32_t)((clock_precise_ns() - begin_ns) / 1000);
	return status ? status : keep_loaded(store, key, &loaded, value, how);
}

enum larder_status larder_store_get_or_compute(struct larder_store *store, const struct larder_store_key *key,
		larder_loader *loader, void *arg, const struct larder_compute_options *options, struct larder_buffer *value,
		struct larder_computed *how)
{
	struct larder_computed unasked;
	enum larder_status status = key_check(store, key);

	if (!how)
		how = &unasked;
	*how = (struct larder_computed){ .computed = false };
	if (status || !loader || !value)
		return status ? status : LARDER_INVALID;
	return store->kind->get_or_compute ? store->kind->get_or_compute(store->self, key, loader, arg, options, value, how)
			: load_alone(store, key, loader, arg, options, value, how);
}

enum larder_status larder_store_drain(struct larder_store *store, int64_t timeout_ms)
{
	if (!store)
		return LARDER_INVALID;
	return store->kind->drain ? store->kind->drain(store->self, timeout_ms) : LARDER_OK;
}

enum larder_status larder_store_health(struct larder_store *store, struct larder_health *health)
{
	if (!store || !health)
		return LARDER_INVALID;
	*health = (struct larder_health){ 0 };
	return store->kind->health(store->self, health);
}

struct larder *larder_store_cache(struct larder_store *store)
{
	return store && store->kind->cache ? store->kind->cache(store->self) : NULL;
}
