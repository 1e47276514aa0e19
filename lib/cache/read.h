/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A get for callers that have checked what larder_get() checks, once: the handles of a manager.
 */
#ifndef LARDER_CACHE_READ_H
#define LARDER_CACHE_READ_H

#include <larder/store.h>

/* larder_get() into value's capacity.  cache is no inspector's, ns was registered in it, key is not NULL. */
enum larder_status read_known(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, struct larder_buffer *value);

#endif
