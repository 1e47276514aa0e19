/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much is dirty near, counted from outside: no word keeps that number, for what is dirty may be written over, evicted or expire
 * without anybody noticing.  Reads only.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <larder/tiered.h>

#include "base/sync.h"
#include "cache/call.h"
#include "shm/board.h"
#include "tier/near.h"

#define NAMESPACES_ROW "tiered:namespaces:"
#define NAMESPACE_WORDS 64u /* bits for all namespaces that a cache can have */

struct dirty_walk {
	uint64_t used[NAMESPACE_WORDS]; /* a bit for each namespace that a tier uses: others' flags are their own */
	uint64_t most, dirty, looked;
};

static void note_used(struct dirty_walk *w, const char *name, const struct word *words)
{
	unsigned long row;

	if (strncmp(name, NAMESPACES_ROW, sizeof NAMESPACES_ROW - 1))
		return;
	row = strtoul(name + sizeof NAMESPACES_ROW - 1, NULL, 10);
	for (unsigned i = 0; i < BOARD_WORDS && row < NAMESPACE_WORDS / BOARD_WORDS; i++)
		w->used[row * BOARD_WORDS + i] = load_acquire(&words[i]);
}

static bool count_dirty(const struct larder_entry *entry, void *arg)
{
	struct dirty_walk *w = arg;
	bool used = entry->ns / 64 < NAMESPACE_WORDS && w->used[entry->ns / 64] >> entry->ns % 64 & 1;
	bool held = entry->meta.value_bytes == 0 && entry->meta.user_flags & NEAR_HOLD;

	w->dirty += used && !held && entry->meta.user_flags & NEAR_DIRTY;
	return ++w->looked != w->most;
}

enum larder_status larder_tiered_dirty(struct larder *cache, uint64_t most, uint64_t *dirty, uint64_t *looked)
{
	struct dirty_walk w = { .most = most };
	char name[BOARD_NAME_BYTES + 1];
	const struct word *words;

	if (!cache || !dirty)
		return LARDER_INVALID;
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	for (uint32_t row = 0; board_row(&cache->region, row, name, &words); row++)
		note_used(&w, name, words);
	enum larder_status status = larder_iterate(cache, LARDER_ALL_NAMESPACES, "", 0, LARDER_ITERATE_STALE, count_dirty, &w);
	*dirty = w.dirty;
	if (looked)
		*looked = w.looked;
	return status;
}
