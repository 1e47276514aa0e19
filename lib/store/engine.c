/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kinds shm and memory share, see engine.h: the engine behind the store interface.
 *
 * Namespaces come as interned names and are turned into the cache's numbers on first use; what is remembered is a number + 1 for
 * each name's index, 0 for not yet asked.  It never changes for one cache, so whoever stores it stores the same.
 */
#include "store/engine.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"
#include "base/sync.h"

#define BATCH 64u

struct engine_store {
	struct larder *cache;
	struct word32 number[LARDER_NAMES_MAX];
};

static enum larder_status number_of(struct engine_store *store, const struct larder_name *name, uint32_t *ns)
{
	uint32_t known = word32_load_hint(&store->number[name->index]);

	if (likely(known)) {
		*ns = known - 1;
		return LARDER_OK;
	}
	enum larder_status status = larder_namespace(store->cache, name->text, ns);
	if (!status)
		word32_store_hint(&store->number[name->index], *ns + 1);
	return status;
}

struct larder_options engine_options(const struct larder_setting_value *values)
{
	struct larder_options options = LARDER_OPTIONS_INIT;

	options.flags = values[ENGINE_HUGE].number ? (uint32_t)LARDER_HUGE : 0;
	options.create_flags = (values[ENGINE_CHECKSUM].number ? (uint32_t)LARDER_CHECKSUM : 0)
			| (values[ENGINE_PLAIN].number ? (uint32_t)LARDER_PLAIN : 0);
	options.bytes = (uint64_t)values[ENGINE_BYTES].number;
	options.entry_bytes = (uint64_t)values[ENGINE_ENTRY_BYTES].number;
	options.participants = (uint32_t)values[ENGINE_PARTICIPANTS].number;
	options.namespaces = (uint32_t)values[ENGINE_NAMESPACES].number;
	return options;
}

/* The engine speaks of options by their names in C, "options.entry_bytes".  Whoever configures a store knows them as settings. */
static void speak_of_settings(void)
{
	static const char field[] = "options.";
	char text[MESSAGE_BYTES], *name;

	snprintf(text, sizeof text, "%s", larder_message());
	while ((name = strstr(text, field)) != NULL) {
		memmove(name, name + strlen(field), strlen(name + strlen(field)) + 1);
		for (; islower((unsigned char)*name) || *name == '_'; name++)
			*name = *name == '_' ? '-' : *name;
	}
	message_set("%s", text);
}

enum larder_status engine_open(const char *name, const struct larder_options *options, void **self)
{
	struct engine_store *store = calloc(1, sizeof *store);

	if (!store) {
		message_set("%s: no memory for the store", name);
		return LARDER_NO_MEMORY;
	}
	enum larder_status status = larder_open_with(name, options, &store->cache);
	if (!status) {
		*self = store;
		return LARDER_OK;
	}
	speak_of_settings();
	free(store);
	return status;
}

void engine_close(void *self)
{
	struct engine_store *store = self;

	larder_close(&store->cache);
	free(store);
}

enum larder_status engine_health(void *self, struct larder_health *health)
{
	struct engine_store *store = self;
	struct larder_info info;
	enum larder_status status = larder_info(store->cache, &info);

	health->usable = status == LARDER_OK;
	health->last = status;
	snprintf(health->text, sizeof health->text, "%s %.120s", status ? larder_strerror(status) : "attached to",
			status ? "" : info.path);
	return LARDER_OK;
}

enum larder_status engine_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	struct engine_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, key->ns, &ns);

	while (!status) {
		status = flags || meta ? larder_get_with(store->cache, ns, key->bytes, key->count, value->data, value->capacity,
				&value->length, flags, meta)
				: larder_get(store->cache, ns, key->bytes, key->count, value->data, value->capacity,
				&value->length);
		/* Room for what was there; by the time it is read again it may have grown again. */
		if (status != LARDER_SHORT || !value->grow)
			return status;
		status = larder_buffer_take(value, value->length);
	}
	return status;
}

enum larder_status engine_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	struct engine_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, key->ns, &ns);

	if (status)
		return status;
	return options || result ? larder_set_with(store->cache, ns, key->bytes, key->count, value, value_bytes, options, result)
			: larder_set(store->cache, ns, key->bytes, key->count, value, value_bytes, LARDER_TTL_DEFAULT);
}

enum larder_status engine_remove(void *self, const struct larder_store_key *key)
{
	struct engine_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, key->ns, &ns);

	return status ? status : larder_delete(store->cache, ns, key->bytes, key->count);
}

enum larder_status engine_clear(void *self, const struct larder_name *name, bool soft)
{
	struct engine_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, name, &ns);

	if (status)
		return status;
	return soft ? larder_flush_soft(store->cache, ns) : larder_flush(store->cache, ns);
}

enum larder_status engine_touch(void *self, const struct larder_store_key *key, int64_t ttl_ms)
{
	struct engine_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, key->ns, &ns);

	return status ? status : larder_touch(store->cache, ns, key->bytes, key->count, ttl_ms);
}

enum larder_status engine_incr(void *self, const struct larder_store_key *key, int64_t delta, bool create, int64_t initial,
		int64_t ttl_ms, int64_t *sum)
{
	struct engine_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, key->ns, &ns);

	return status ? status : larder_incr_with(store->cache, ns, key->bytes, key->count, delta, create, initial, ttl_ms, sum);
}

struct larder *engine_cache(void *self)
{
	return ((struct engine_store *)self)->cache;
}

enum larder_status engine_get_or_compute(void *self, const struct larder_store_key *key, larder_loader *loader, void *arg,
		const struct larder_compute_options *options, struct larder_buffer *value, struct larder_computed *how)
{
	struct engine_store *store = self;
	struct larder_computed again = { .computed = false };
	uint32_t ns;
	enum larder_status status = number_of(store, key->ns, &ns);

	if (!status)
		status = larder_get_or_compute(store->cache, ns, key->bytes, key->count, loader, arg, options, value->data,
				value->capacity, &value->length, how);
	/* What was computed is in the cache; where it is not, because it was invalidated meanwhile, it is computed anew. */
	while (status == LARDER_SHORT && value->grow) {
		status = larder_buffer_take(value, value->length);
		if (!status)
			status = larder_get_or_compute(store->cache, ns, key->bytes, key->count, loader, arg, options, value->data,
					value->capacity, &value->length, &again);
		if (again.computed)
			*how = again;
	}
	return status;
}

/* ---- Many at once ----------------------------------------------------------------------------------------------------- */

/* items[0 .. count) of one namespace, count <= BATCH.  What is found too long for a buffer that may grow is read alone. */
static enum larder_status mget_batch(struct engine_store *store, uint32_t ns, struct larder_store_item *items, size_t count)
{
	struct larder_item batch[BATCH];

	for (size_t i = 0; i < count; i++)
		batch[i] = (struct larder_item){ .key = items[i].key.bytes, .key_bytes = items[i].key.count,
			.value = items[i].value.data, .value_bytes = items[i].value.capacity };
	enum larder_status status = larder_mget(store->cache, ns, batch, count);
	for (size_t i = 0; i < count && !status; i++) {
		items[i].status = batch[i].status;
		items[i].value.length = batch[i].value_bytes;
		if (batch[i].status == LARDER_SHORT && items[i].value.grow)
			items[i].status = engine_get(store, &items[i].key, 0, &items[i].value, NULL);
	}
	return status;
}

/* How many of items[0 .. count) go into one batch. */
static size_t run_of(const struct larder_store_item *items, size_t count)
{
	size_t run = 1;

	while (run < count && run < BATCH && items[run].key.ns == items[0].key.ns)
		run++;
	return run;
}

static enum larder_status mget_one_by_one(void *self, uint32_t flags, struct larder_store_item *items, size_t count)
{
	struct larder_meta *meta;

	for (size_t i = 0; i < count; i++) {
		meta = flags & LARDER_MGET_META ? &items[i].meta : NULL;
		items[i].status = engine_get(self, &items[i].key, flags & ~(uint32_t)LARDER_MGET_META, &items[i].value, meta);
	}
	return LARDER_OK;
}

enum larder_status engine_mget(void *self, uint32_t flags, struct larder_store_item *items, size_t count)
{
	enum larder_status status = LARDER_OK;

	if (flags)
		return mget_one_by_one(self, flags, items, count);
	for (size_t done = 0, run; done < count && !status; done += run) {
		uint32_t ns;
		run = run_of(items + done, count - done);
		status = number_of(self, items[done].key.ns, &ns);
		if (!status)
			status = mget_batch(self, ns, items + done, run);
	}
	return status;
}
