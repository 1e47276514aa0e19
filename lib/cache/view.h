/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking without taking part: what inspectors do, who have no slot and no hazard, and what iterate and check do for all.
 *
 * A copy counts only if slot, incarnation and head are the same before and after it was made: the reuse count in the head
 * is odd while the place is written again, and higher afterwards (REUSE edge).
 */
#ifndef LARDER_CACHE_VIEW_H
#define LARDER_CACHE_VIEW_H

#include "cache/call.h"

/* A private copy of one entry, whole. */
struct view {
	struct entry entry;  /* its pointers lead into bytes */
	uint64_t slot;
	unsigned char *bytes;
	size_t capacity;
};

enum view_result { VIEW_EMPTY, VIEW_WHOLE, VIEW_CHANGED, VIEW_DAMAGED, VIEW_NO_MEMORY };

/* Copies the entry that *slot leads to.  Frees nothing; view_free() at the end. */
enum view_result view_slot(const struct region *r, const struct word *slot, struct view *v);
void view_free(struct view *v);

enum larder_status view_get(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, void *buffer, size_t capacity,
		size_t *length, uint32_t flags, struct larder_meta *meta);

#endif
