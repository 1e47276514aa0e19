/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store kind shm: the engine behind the store interface.
 *
 * Namespaces come as interned names and are turned into the cache's numbers on first use; what is remembered is a number + 1 for
 * each name's index, 0 for not yet asked.  It never changes for one cache, so whoever stores it stores the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"
#include "base/sync.h"
#include "store/kinds.h"

struct shm_store {
	struct larder *cache;
	struct word32 number[LARDER_NAMES_MAX];
};

enum shm_setting { SHM_NAME, SHM_BYTES, SHM_ENTRY_BYTES, SHM_PARTICIPANTS, SHM_NAMESPACES, SHM_MODE, SHM_ATTACH_ONLY, SHM_HUGE,
	SHM_CHECKSUM, SHM_PLAIN, SHM_SETTINGS };

static const struct larder_setting_rule rules[SHM_SETTINGS] = {
	[SHM_NAME] = { .key = "name", .text = "name of the cache, or the path of its file" },
	[SHM_BYTES] = { .key = "bytes", .type = LARDER_SETTING_SIZE, .least = (int64_t)LARDER_BYTES_MIN, .most = 1ll << 38,
		.usual = "64m", .text = "size of the whole cache, where it has to be created" },
	[SHM_ENTRY_BYTES] = { .key = "entry-bytes", .type = LARDER_SETTING_SIZE, .least = 1, .most = 1ll << 26, .usual = "",
		.text = "usual size of key and value together; sizes the index" },
	[SHM_PARTICIPANTS] = { .key = "participants", .type = LARDER_SETTING_COUNT, .least = 4, .most = 1024, .usual = "",
		.text = "threads attached at a time" },
	[SHM_NAMESPACES] = { .key = "namespaces", .type = LARDER_SETTING_COUNT, .least = 16, .most = 4096, .usual = "",
		.text = "namespaces, the default one included" },
	[SHM_MODE] = { .key = "access", .type = LARDER_SETTING_CHOICE, .choices = "user|group|all", .usual = "user",
		.text = "who may attach: mode 0600, 0660 or 0666 of the file" },
	[SHM_ATTACH_ONLY] = { .key = "attach-only", .type = LARDER_SETTING_BOOL, .usual = "no",
		.text = "fail rather than create the cache" },
	[SHM_HUGE] = { .key = "huge", .type = LARDER_SETTING_BOOL, .usual = "no", .text = "ask for huge pages" },
	[SHM_CHECKSUM] = { .key = "checksum", .type = LARDER_SETTING_BOOL, .usual = "no", .text = "a checksum in every entry" },
	[SHM_PLAIN] = { .key = "plain", .type = LARDER_SETTING_BOOL, .usual = "no",
		.text = "no version and no creation time in entries: 16 bytes less each, and no cas" },
};

static enum larder_status number_of(struct shm_store *store, const struct larder_name *name, uint32_t *ns)
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

static enum larder_status shm_open_store(const struct larder_setting_value *values, void **self)
{
	static const uint32_t modes[] = { 0600, 0660, 0666 };
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct shm_store *store = calloc(1, sizeof *store);

	if (!store)
		return LARDER_NO_MEMORY;
	options.flags = (values[SHM_ATTACH_ONLY].number ? (uint32_t)LARDER_ATTACH_ONLY : 0)
			| (values[SHM_HUGE].number ? (uint32_t)LARDER_HUGE : 0);
	options.create_flags = (values[SHM_CHECKSUM].number ? (uint32_t)LARDER_CHECKSUM : 0)
			| (values[SHM_PLAIN].number ? (uint32_t)LARDER_PLAIN : 0);
	options.bytes = (uint64_t)values[SHM_BYTES].number;
	options.entry_bytes = (uint64_t)values[SHM_ENTRY_BYTES].number;
	options.participants = (uint32_t)values[SHM_PARTICIPANTS].number;
	options.namespaces = (uint32_t)values[SHM_NAMESPACES].number;
	options.mode = modes[values[SHM_MODE].number];
	enum larder_status status = larder_open_with(values[SHM_NAME].text, &options, &store->cache);
	if (status)
		free(store);
	else
		*self = store;
	return status;
}

static void shm_close(void *self)
{
	struct shm_store *store = self;

	larder_close(&store->cache);
	free(store);
}

static enum larder_status shm_health(void *self, struct larder_health *health)
{
	struct shm_store *store = self;
	struct larder_info info;
	enum larder_status status = larder_info(store->cache, &info);

	health->usable = status == LARDER_OK;
	health->last = status;
	snprintf(health->text, sizeof health->text, "%s %.120s", status ? larder_strerror(status) : "attached to",
			status ? "" : info.path);
	return LARDER_OK;
}

static enum larder_status shm_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	struct shm_store *store = self;
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

static enum larder_status shm_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	struct shm_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, key->ns, &ns);

	if (status)
		return status;
	return options || result ? larder_set_with(store->cache, ns, key->bytes, key->count, value, value_bytes, options, result)
			: larder_set(store->cache, ns, key->bytes, key->count, value, value_bytes, LARDER_TTL_DEFAULT);
}

static enum larder_status shm_remove(void *self, const struct larder_store_key *key)
{
	struct shm_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, key->ns, &ns);

	return status ? status : larder_delete(store->cache, ns, key->bytes, key->count);
}

static enum larder_status shm_clear(void *self, const struct larder_name *name, bool soft)
{
	struct shm_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, name, &ns);

	if (status)
		return status;
	return soft ? larder_flush_soft(store->cache, ns) : larder_flush(store->cache, ns);
}

static enum larder_status shm_touch(void *self, const struct larder_store_key *key, int64_t ttl_ms)
{
	struct shm_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, key->ns, &ns);

	return status ? status : larder_touch(store->cache, ns, key->bytes, key->count, ttl_ms);
}

static enum larder_status shm_incr(void *self, const struct larder_store_key *key, int64_t delta, bool create, int64_t initial,
		int64_t ttl_ms, int64_t *sum)
{
	struct shm_store *store = self;
	uint32_t ns;
	enum larder_status status = number_of(store, key->ns, &ns);

	return status ? status : larder_incr_with(store->cache, ns, key->bytes, key->count, delta, create, initial, ttl_ms, sum);
}

static struct larder *shm_cache(void *self)
{
	return ((struct shm_store *)self)->cache;
}

const struct larder_store_kind store_shm = {
	.size = sizeof(struct larder_store_kind),
	.name = "shm",
	.rules = rules,
	.rule_count = SHM_SETTINGS,
	.open = shm_open_store,
	.close = shm_close,
	.health = shm_health,
	.get = shm_get,
	.set = shm_set,
	.remove = shm_remove,
	.clear = shm_clear,
	.touch = shm_touch,
	.incr = shm_incr,
	.cache = shm_cache,
};
