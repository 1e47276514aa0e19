/* SPDX-License-Identifier: BSD-2-Clause */
/* What the writing calls are made of, for those that are made of them in turn: leases and what stands on these. */
#ifndef LARDER_CACHE_WRITE_H
#define LARDER_CACHE_WRITE_H

#include "cache/large.h"
#include "cache/options.h"

/* The beginning that all writing calls share; then the call must end with write_end(). */
enum larder_status write_begin(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, int64_t ttl_ms,
		struct actor **a, struct put *put);
enum larder_status write_end(struct larder *cache, struct actor *a, struct put *put, enum larder_status status);

/* A put as the caller's options describe it (NULL: a plain set): LARDER_OK, LARDER_INVALID, LARDER_UNSUPPORTED. */
enum larder_status put_options(const struct larder *cache, const struct larder_set_options *options, struct put *put);
/* A whole call: begins, sets, ends.  put->decide: put_by_mode() unless it is set. */
enum larder_status set_call(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, const void *value,
		size_t value_bytes, struct put *put);

/* Few enough, and each of a length that is allowed. */
bool tags_valid(const char *const *names, uint32_t count);
/* The numbers of these tags, and what an entry with them has among its extras. */
uint64_t extras_of_tags(const struct region *r, const char *const *names, uint32_t count, struct tags *tags);

#endif
