/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls of the store kind tiered, see struct larder_store_kind.
 */
#ifndef LARDER_TIER_CALLS_H
#define LARDER_TIER_CALLS_H

#include "tier/tiered.h"

/* A hold is there as long as its owner may still fill. */
static inline int64_t tier_hold_ms(const struct tier *tier) { return tier->fetch_wait_ms + 1000; }

enum larder_status tier_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta);
enum larder_status tier_mget(void *self, uint32_t flags, struct larder_store_item *items, size_t count);
enum larder_status tier_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result);
enum larder_status tier_remove(void *self, const struct larder_store_key *key);
enum larder_status tier_clear(void *self, const struct larder_name *name, bool soft);
enum larder_status tier_touch(void *self, const struct larder_store_key *key, int64_t ttl_ms);
enum larder_status tier_incr(void *self, const struct larder_store_key *key, int64_t delta, bool create, int64_t initial,
		int64_t ttl_ms, int64_t *sum);

#endif
