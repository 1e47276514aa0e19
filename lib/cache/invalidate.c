/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Invalidation of many keys: by tag in one step (shm/tag.c), by prefix in a walk over the index.
 *
 * The walk deletes as larder_delete() does, slot by slot: an entry that was there when the walk began is in the slot that it
 * was in (overwrites, copies and relinks keep it) or gone.  A crash in it leaves what a delete leaves.
 */
#include "cache/large.h"
#include "larder/policy.h"

enum larder_status larder_tag_invalidate(struct larder *cache, const char *tag)
{
	struct actor *a;
	if (cache == NULL || tag == NULL || strnlen(tag, LARDER_TAG_BYTES_MAX + 1) - 1 >= LARDER_TAG_BYTES_MAX)
		return LARDER_INVALID;
	enum larder_status status = call_begin(cache, &a);
	if (status != LARDER_OK)
		return status;
	tag_invalidate(a, tag_number(&cache->region, tag));
	count(a, tag_invalidations, 1);
	call_end(a);
	return call_answer(&cache->region, LARDER_OK);
}

/* ---- By prefix ------------------------------------------------------------------------------------------------------------ */

struct broom {
	struct larder *cache;
	struct actor *a;
	uint32_t ns;
	const void *prefix;
	size_t prefix_bytes;
	struct larder_sweep *sweep;
};

static bool broom_wants(const struct broom *b, const struct entry *e)
{
	return head_kind(e->head) != KIND_CHUNK && entry_namespace(e) == b->ns && e->key_bytes >= b->prefix_bytes
			&& memcmp(e->key, b->prefix, b->prefix_bytes) == 0;
}

/* What the slot leads to is held, and wanted.  False: it has changed. */
static bool broom_take(struct broom *b, const struct found *f)
{
	struct actor *a = b->a;
	enum entry_status status = head_status(f->entry.head);
	if (status == ENTRY_PENDING && !entry_abort(&f->entry)) /* else a dead setter's value could rise after us */
		return false;
	if (status != ENTRY_COMMITTED)
		return slot_empty(a, f->slot, f->word, &f->entry);
	enum life life = entry_life(a->region, &f->entry);
	struct chunks chunks = chunks_of(a->region, &f->entry);
	bool was_there = life == LIFE_LIVE || life == LIFE_STALE;
	if (!index_remove(a, f, was_there ? COUNTER_deletes : COUNTER_flushed))
		return false;
	b->sweep->removed += was_there;
	if (chunks.version != 0)
		large_forget(b->cache, a, b->ns, &chunks);
	return true;
}

static enum larder_status broom_slot(struct broom *b, struct word *slot)
{
	struct actor *a = b->a;
	do { /* progress: another one changed the slot */
		struct found f = { .slot = slot, .word = load_seq_cst(slot) };
		if (f.word == SLOT_EMPTY || slot_place(f.word) >= a->region->places)
			return LARDER_OK;
		if (!slot_hold(a, HAZARD_OLD, slot, f.word))
			continue;
		if (!slot_open(a, f.word, &f.entry) || !broom_wants(b, &f.entry) || broom_take(b, &f))
			return LARDER_OK;
	} while (actor_retries(a));
	return contended(a);
}

static struct shm_bucket *bucket_of(struct shm_group *g, unsigned i) { return i < GROUP_HOMES ? &g->home[i] : &g->overflow[i - GROUP_HOMES]; }

/* Asks for all of a group's entries before it looks at the first; returns their number. */
static unsigned group_prefetch(const struct region *r, struct shm_group *g)
{
	unsigned entries = 0;
	for (unsigned i = 0; i < (GROUP_HOMES + GROUP_OVERFLOWS) * BUCKET_SLOTS; i++) {
		uint64_t slot = load_acquire(&bucket_of(g, i / BUCKET_SLOTS)->slot[i % BUCKET_SLOTS]);
		if (slot == SLOT_EMPTY || slot_place(slot) >= r->places)
			continue;
		__builtin_prefetch(region_entry(r, slot_place(slot)));
		entries++;
	}
	return entries;
}

static enum larder_status broom_group(struct broom *b, struct shm_group *g)
{
	enum larder_status status = LARDER_OK;
	for (unsigned i = 0; i < (GROUP_HOMES + GROUP_OVERFLOWS) * BUCKET_SLOTS && status == LARDER_OK; i++)
		status = broom_slot(b, &bucket_of(g, i / BUCKET_SLOTS)->slot[i % BUCKET_SLOTS]);
	return status;
}

static enum larder_status broom_walk(struct broom *b, uint64_t most)
{
	struct region *r = b->a->region;
	uint64_t looked = 0;
	enum larder_status status = LARDER_OK;
	while (b->sweep->position < r->geo.groups && status == LARDER_OK && (most == 0 || looked < most)) {
		struct shm_group *g = region_group(r, b->sweep->position);
		if (region_gone(r))
			return LARDER_DETACHED;
		b->a->tries = 0; /* the limit is for each group: the walk ends by itself */
		looked += group_prefetch(r, g);
		status = broom_group(b, g);
		b->sweep->position += status == LARDER_OK;
	}
	b->sweep->finished = b->sweep->position >= r->geo.groups;
	return status;
}

enum larder_status larder_delete_prefix(struct larder *cache, uint32_t ns, const void *prefix, size_t prefix_bytes, uint64_t most,
		struct larder_sweep *sweep)
{
	struct actor *a;
	if (sweep == NULL || prefix_bytes == 0)
		return LARDER_INVALID;
	enum larder_status status = key_check(cache, ns, prefix, prefix_bytes);
	if (status == LARDER_OK)
		status = call_begin(cache, &a);
	if (status != LARDER_OK)
		return status;
	struct broom b = { .cache = cache, .a = a, .ns = ns, .prefix = prefix, .prefix_bytes = prefix_bytes, .sweep = sweep };
	status = broom_walk(&b, most);
	call_end_clear(a);
	return call_answer(&cache->region, status);
}
