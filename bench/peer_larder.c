/* SPDX-License-Identifier: BSD-2-Clause */
/* larder behind the interface of peers.  All variants go through function pointers, so that a module and the library
 * linked are reached alike. */
#include "peer_larder.h"

#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct larder_api linked = {
	.open_with = larder_open_with,
	.close = larder_close,
	.destroy = larder_destroy,
	.message = larder_message,
	.get = larder_get,
	.set = larder_set,
	.delete = larder_delete,
	.mget = larder_mget,
	.incr_with = larder_incr_with,
	.stat = larder_stat,
	.info = larder_info,
};

struct larder_peer {
	const struct larder_api *api;
	struct larder *cache;
};

struct seat {
	const struct larder_api *api;
	struct larder *cache;
	int64_t ttl_ms;
	size_t key_bytes, value_bytes;
};

/* A function pointer cannot be cast from void * in ISO C; POSIX makes it work through its bytes. */
static bool symbol(void *module, const char *name, void *into, char *trouble, size_t trouble_bytes)
{
	void *address = dlsym(module, name);

	if (!address)
		snprintf(trouble, trouble_bytes, "%s", dlerror());
	memcpy(into, &address, sizeof address);
	return address != NULL;
}

static void *module_open(const char *name, char *trouble, size_t trouble_bytes)
{
	char self[4096], path[4352];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	void *module;

	if (length < 0)
		return NULL;
	self[length] = '\0';
	snprintf(path, sizeof path, "%s/%s", dirname(self), name);
	module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!module)
		snprintf(trouble, trouble_bytes, "%s", dlerror());
	return module;
}

const struct larder_api *larder_api_load(const char *module, char *trouble, size_t trouble_bytes)
{
	struct larder_api *api;
	void *handle;
	bool whole;

	if (!module)
		return &linked;
	handle = module_open(module, trouble, trouble_bytes);
	api = calloc(1, sizeof *api);
	if (!handle || !api) {
		free(api);
		return NULL;
	}
	whole = symbol(handle, "larder_open_with", &api->open_with, trouble, trouble_bytes)
			&& symbol(handle, "larder_close", &api->close, trouble, trouble_bytes)
			&& symbol(handle, "larder_destroy", &api->destroy, trouble, trouble_bytes)
			&& symbol(handle, "larder_message", &api->message, trouble, trouble_bytes)
			&& symbol(handle, "larder_get", &api->get, trouble, trouble_bytes)
			&& symbol(handle, "larder_set", &api->set, trouble, trouble_bytes)
			&& symbol(handle, "larder_delete", &api->delete, trouble, trouble_bytes)
			&& symbol(handle, "larder_mget", &api->mget, trouble, trouble_bytes)
			&& symbol(handle, "larder_incr_with", &api->incr_with, trouble, trouble_bytes)
			&& symbol(handle, "larder_stat", &api->stat, trouble, trouble_bytes)
			&& symbol(handle, "larder_info", &api->info, trouble, trouble_bytes);
	if (whole)
		return api;
	free(api);
	return NULL;
}

uint64_t larder_roomy_bytes(const struct shape *shape)
{
	uint64_t entry = ((shape->key_bytes + shape->value_bytes + 7u) & ~7u) + 48u;

	return shape->keys * (entry + 32) * 5 / 4 + ((uint64_t)8 << 20);
}

static int open_it(struct peer *peer, const struct larder_api *api, uint32_t flags, struct larder **cache)
{
	const struct larder_variant *variant = peer->kind->variant;
	struct larder_options options = LARDER_OPTIONS_INIT;
	enum larder_status status;

	options.flags = flags | (peer->shape.huge ? LARDER_HUGE : 0) | LARDER_PREFAULT;
	options.create_flags = variant->create_flags;
	options.bytes = peer->shape.capacity_bytes ? peer->shape.capacity_bytes : larder_roomy_bytes(&peer->shape);
	options.entry_bytes = peer->shape.key_bytes + peer->shape.value_bytes;
	status = api->open_with(peer->name, &options, cache);
	return status == LARDER_OK ? 0 : peer_fail(peer, "%s", api->message());
}

int peer_larder_create(struct peer *peer)
{
	const struct larder_variant *variant = peer->kind->variant;
	struct larder_peer *state = calloc(1, sizeof *state);

	if (!state)
		return peer_fail(peer, "out of memory");
	peer->state = state;
	state->api = larder_api_load(variant->module, peer->trouble, sizeof peer->trouble);
	return state->api ? open_it(peer, state->api, LARDER_EXCLUSIVE, &state->cache) : -1;
}

int peer_larder_join(struct peer *peer, void **seat_at)
{
	const struct larder_variant *variant = peer->kind->variant;
	struct larder_peer *state = peer->state;
	struct seat *seat = calloc(1, sizeof *seat);

	if (!seat)
		return peer_fail(peer, "out of memory");
	*seat = (struct seat){
		.api = state->api,
		.cache = state->cache, /* a forked worker goes on with the handle it inherited */
		.ttl_ms = variant->ttl_ms,
		.key_bytes = peer->shape.key_bytes,
		.value_bytes = peer->shape.value_bytes,
	};
	*seat_at = seat;
	return 0;
}

int peer_larder_get(void *seat_at, const uint8_t *key, uint8_t *value)
{
	const struct seat *seat = seat_at;
	size_t length;

	if (seat->api->get(seat->cache, 0, key, seat->key_bytes, value, seat->value_bytes, &length) != LARDER_OK)
		return -1;
	return (int)length;
}

int peer_larder_set(void *seat_at, const uint8_t *key, const uint8_t *value)
{
	const struct seat *seat = seat_at;

	return seat->api->set(seat->cache, 0, key, seat->key_bytes, value, seat->value_bytes, seat->ttl_ms) == LARDER_OK
			? 0 : -1;
}

unsigned peer_larder_mget(void *seat_at, const uint8_t *keys, unsigned count, uint8_t *values)
{
	const struct seat *seat = seat_at;
	struct larder_item items[64];
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++) {
		items[i].key = keys + i * seat->key_bytes;
		items[i].key_bytes = seat->key_bytes;
		items[i].value = values + i * seat->value_bytes;
		items[i].value_bytes = seat->value_bytes;
	}
	if (seat->api->mget(seat->cache, 0, items, count) != LARDER_OK)
		return 0;
	for (unsigned i = 0; i < count; i++)
		found += items[i].status == LARDER_OK;
	return found;
}

int peer_larder_incr(void *seat_at, const uint8_t *key, int64_t *sum)
{
	const struct seat *seat = seat_at;

	return seat->api->incr_with(seat->cache, 0, key, seat->key_bytes, 1, true, 0, LARDER_TTL_NONE, sum) == LARDER_OK
			? 0 : -1;
}

/* What its entries take, headers and all, and the index's share of them: the index serves index_slots at a load of
 * 0.65.  How many entries a cache of given bytes really holds is another question (fill.c). */
uint64_t peer_larder_memory(struct peer *peer)
{
	const struct larder_peer *state = peer->state;
	struct larder_stat stat;
	struct larder_info info;

	if (state->api->stat(state->cache, &stat) != LARDER_OK || state->api->info(state->cache, &info) != LARDER_OK)
		return 0;
	return stat.entry_bytes + (info.index_slots ? (uint64_t)((double)info.index_bytes / (double)info.index_slots
			* (double)stat.entries / 0.65) : 0);
}

void peer_larder_leave(void *seat)
{
	free(seat);
}

void peer_larder_destroy(struct peer *peer)
{
	struct larder_peer *state = peer->state;

	if (state->cache) {
		state->api->close(&state->cache);
		state->api->destroy(peer->name);
	}
	free(state);
	peer->state = NULL;
}

/* A module's caches have the linked library's layout, but for the ablated ones, which may not: the file goes by
 * name. */
void peer_larder_sweep(const struct peer *peer)
{
	char path[128];

	larder_destroy(peer->name);
	snprintf(path, sizeof path, "/dev/shm/larder.%s", peer->name);
	unlink(path);
}

static const struct larder_variant stamped = { .ttl_ms = LARDER_TTL_NONE };
static const struct larder_variant plain = { .create_flags = LARDER_PLAIN, .ttl_ms = LARDER_TTL_NONE };
static const struct larder_variant expiring = { .ttl_ms = 3600 * 1000 };

const struct peer_kind peer_larder = {
	.name = "larder", .text = "larder as it comes: version and creation time in every entry", .variant = &stamped,
	PEER_LARDER_CALLS,
};
const struct peer_kind peer_larder_plain = {
	.name = "larder-plain", .text = "larder without stamps", .variant = &plain, PEER_LARDER_CALLS,
};
const struct peer_kind peer_larder_ttl = {
	.name = "larder-ttl", .text = "larder with a TTL of one hour on every entry", .variant = &expiring,
	PEER_LARDER_CALLS,
};
