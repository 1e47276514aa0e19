/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine behind the store interface, for the kinds that differ only in how they open it: shm and memory.
 */
#ifndef LARDER_STORE_ENGINE_H
#define LARDER_STORE_ENGINE_H

#include <larder/store.h>

/* Settings that kinds of the engine have in common; a kind's own go on from ENGINE_SETTINGS. */
enum engine_setting { ENGINE_NAME, ENGINE_BYTES, ENGINE_ENTRY_BYTES, ENGINE_PARTICIPANTS, ENGINE_NAMESPACES, ENGINE_HUGE,
	ENGINE_CHECKSUM, ENGINE_PLAIN, ENGINE_SETTINGS };

/* The rules of all but the name, for a kind's table of rules. */
#define ENGINE_RULES \
	[ENGINE_BYTES] = { .key = "bytes", .type = LARDER_SETTING_SIZE, .least = (int64_t)LARDER_BYTES_MIN, .most = 1ll << 38, \
		.usual = "64m", .text = "size of the whole cache, where it has to be created" }, \
	[ENGINE_ENTRY_BYTES] = { .key = "entry-bytes", .type = LARDER_SETTING_SIZE, .least = 1, .most = 1ll << 26, .usual = "", \
		.text = "usual size of key and value together; sizes the index" }, \
	[ENGINE_PARTICIPANTS] = { .key = "participants", .type = LARDER_SETTING_COUNT, .least = 4, .most = 1024, .usual = "", \
		.text = "threads attached at a time" }, \
	[ENGINE_NAMESPACES] = { .key = "namespaces", .type = LARDER_SETTING_COUNT, .least = 16, .most = 4096, .usual = "", \
		.text = "namespaces, the default one included" }, \
	[ENGINE_HUGE] = { .key = "huge", .type = LARDER_SETTING_BOOL, .usual = "no", .text = "ask for huge pages" }, \
	[ENGINE_CHECKSUM] = { .key = "checksum", .type = LARDER_SETTING_BOOL, .usual = "no", .text = "a checksum in every entry" }, \
	[ENGINE_PLAIN] = { .key = "plain", .type = LARDER_SETTING_BOOL, .usual = "no", \
		.text = "no version and no creation time in entries: 16 bytes less each, and no cas" }

/* What these settings say. */
struct larder_options engine_options(const struct larder_setting_value *values);

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
