/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine behind the store interface, for the kinds that differ only in how they open it: shm and memory.
 */
#ifndef LARDER_STORE_ENGINE_H
#define LARDER_STORE_ENGINE_H

#include <larder/store.h>

/* A store's self over larder_open_with(). */
enum larder_status engine_open(const char *name, const struct larder_options *options, void **self);

/* The functions of struct larder_store_kind. */
void engine_close(void *self);
enum larder_status engine_health(void *self, struct larder_health *health);
enum larder_status engine_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta);
enum larder_status engine_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result);
enum larder_status engine_remove(void *self, const struct larder_store_key *key);
enum larder_status engine_clear(void *self, const struct larder_name *name, bool soft);
enum larder_status engine_mget(void *self, uint32_t flags, struct larder_store_item *items, size_t count);
enum larder_status engine_touch(void *self, const struct larder_store_key *key, int64_t ttl_ms);
enum larder_status engine_incr(void *self, const struct larder_store_key *key, int64_t delta, bool create, int64_t initial,
		int64_t ttl_ms, int64_t *sum);
struct larder *engine_cache(void *self);
enum larder_status engine_get_or_compute(void *self, const struct larder_store_key *key, larder_loader *loader, void *arg,
		const struct larder_compute_options *options, struct larder_buffer *value, struct larder_computed *how);

/* All of them, for a kind's initialiser. */
#define ENGINE_FUNCTIONS .close = engine_close, .health = engine_health, .get = engine_get, .set = engine_set, \
	.remove = engine_remove, .clear = engine_clear, .mget = engine_mget, .touch = engine_touch, .incr = engine_incr, \
	.cache = engine_cache, .get_or_compute = engine_get_or_compute

#endif
