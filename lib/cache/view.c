/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies that prove themselves, and what is built of them: the inspector's get, and iterate.  See view.h. */
#include "cache/large.h"
#include "cache/view.h"

#include <stdlib.h>

#define VIEW_TRIES 1000u

/* The bytes may be rewritten while they are copied; what was torn is thrown away by the checks that follow. */
__attribute__((no_sanitize("thread"))) static void copy_racing(unsigned char *to, const unsigned char *from, size_t bytes)
{
	for (size_t i = 0; i + 8 <= bytes; i += 8) {
		uint64_t w = *(const volatile uint64_t *)(const void *)(from + i);
		memcpy(to + i, &w, 8);
	}
}

static bool view_reserve(struct view *v, size_t bytes)
{
	if (bytes <= v->capacity)
		return true;
	unsigned char *more = realloc(v->bytes, bytes);
	if (more == NULL)
		return false;
	v->bytes = more;
	v->capacity = bytes;
	return true;
}

void view_free(struct view *v)
{
	free(v->bytes);
	*v = (struct view){ 0 };
}

static void view_point(struct view *v)
{
	uint32_t fields = head_fields(v->entry.head);
	v->entry.shm = (struct shm_entry *)(void *)v->bytes;
	v->entry.key = v->bytes + entry_key_offset(fields, v->entry.extras);
	v->entry.value = v->bytes + entry_value_offset(fields, v->entry.extras, v->entry.key_bytes);
}

enum view_result view_slot(const struct region *r, const struct word *slot, struct view *v)
{
	struct entry *e = &v->entry;
	v->slot = load_acquire(slot);
	if (v->slot == SLOT_EMPTY)
		return VIEW_EMPTY;
	if (slot_place(v->slot) >= r->places)
		return VIEW_DAMAGED;
	struct word *segword = region_segword(r, region_segment_of(r, slot_place(v->slot)));
	uint64_t inc = segword_inc(load_acquire(segword));
	const struct word *head_word = &region_entry(r, slot_place(v->slot))->head;
	bool sound = entry_open_head(e, r, slot_place(v->slot), head_load_racing(head_word)) && (inc & ((1u << SLOT_INC_BITS) - 1)) == slot_inc(v->slot);
	if (sound && !view_reserve(v, (size_t)e->units * UNIT_BYTES))
		return VIEW_NO_MEMORY;
	if (sound)
		copy_racing(v->bytes, (const unsigned char *)e->shm, (size_t)e->units * UNIT_BYTES);
	/* REUSE (acquire): what was copied is older than what is looked at now. */
	fence_acquire();
	uint64_t head = head_load_racing(head_word);
	if (load_seq_cst(slot) != v->slot || segword_inc(load_seq_cst(segword)) != inc || (sound && head != e->head))
		return VIEW_CHANGED;
	if (!sound)
		return VIEW_DAMAGED;
	if (head_status(head) != ENTRY_COMMITTED || head_reuse(head) & 1)
		return head_status(head) == ENTRY_UNBORN || head_reuse(head) & 1 ? VIEW_DAMAGED : VIEW_EMPTY;
	view_point(v);
	return VIEW_WHOLE;
}

/* ---- get ------------------------------------------------------------------------------------------------------------------------ */

static enum view_result view_find(const struct region *r, const struct key *k, struct view *v)
{
	for (unsigned tries = 0; tries < VIEW_TRIES; tries++) {
		bool changed = false;
		for (unsigned at = 0; at < PROBE_SLOTS; at++) {
			const struct word *slot = probe_slot(k, at);
			if (slot_tag(load_acquire(slot)) != hash_tag(k->hash))
				continue;
			enum view_result seen = view_slot(r, slot, v);
			if (seen == VIEW_NO_MEMORY || (seen == VIEW_WHOLE && entry_has_key(&v->entry, k)))
				return seen;
			changed |= seen == VIEW_CHANGED;
		}
		if (!changed)
			return VIEW_EMPTY;
	}
	return VIEW_CHANGED;
}

static enum larder_status view_large(const struct larder *cache, const struct manifest *m, uint32_t ns, unsigned char *buffer)
{
	struct view v = { 0 };
	enum larder_status status = LARDER_OK;
	for (uint32_t i = 0; i < m->chunks && status == LARDER_OK; i++) {
		unsigned char name[12];
		struct key k = chunk_key(&cache->region, ns, m, i, name);
		uint64_t off = (uint64_t)i * m->chunk_bytes;
		uint64_t left = m->bytes - off;
		if (view_find(&cache->region, &k, &v) != VIEW_WHOLE || v.entry.value_bytes != (left < m->chunk_bytes ? left : m->chunk_bytes)
				|| !entry_checksum_good(&v.entry))
			status = LARDER_MISS;
		else
			memcpy(buffer + off, v.entry.value, v.entry.value_bytes);
	}
	view_free(&v);
	return status;
}

/* The value, assembled if it is large: *data belongs to the caller and is freed with free(). */
static enum larder_status view_value(const struct larder *cache, const struct view *v, uint32_t ns, unsigned char **data, size_t *bytes)
{
	struct manifest m = { 0 };
	bool large = head_kind(v->entry.head) == KIND_MANIFEST;
	if (!entry_checksum_good(&v->entry) || (large && !manifest_read(cache, &v->entry, &m)))
		return LARDER_MISS;
	*bytes = large ? m.bytes : v->entry.value_bytes;
	*data = malloc(*bytes + 24);
	if (*data == NULL)
		return LARDER_NO_MEMORY;
	if (large)
		return view_large(cache, &m, ns, *data);
	if (entry_is_counter(&v->entry))
		*bytes = cell_format(load_hint(entry_cell(&v->entry)), (char *)*data);
	else
		memcpy(*data, v->entry.value, *bytes);
	return LARDER_OK;
}

static enum larder_status view_take(struct larder *cache, const struct view *v, uint32_t ns, void *buffer, size_t capacity, size_t *length,
		uint32_t flags, struct larder_meta *meta)
{
	unsigned char *data = NULL;
	size_t bytes = 0;
	enum life life = entry_life(&cache->region, &v->entry);
	if (life == LIFE_ABSENT && length != NULL)
		*length = 0;
	if (life != LIFE_LIVE && !(life == LIFE_STALE && flags & LARDER_ALLOW_STALE))
		return life == LIFE_ABSENT ? LARDER_ABSENT : LARDER_MISS;
	enum larder_status status = view_value(cache, v, ns, &data, &bytes);
	if (status == LARDER_OK) {
		if (meta != NULL) {
			meta_fill(&cache->region, &v->entry, life, meta);
			meta->value_bytes = bytes;
		}
		if (length != NULL)
			*length = bytes;
		if (bytes > capacity)
			status = LARDER_SHORT;
		else if (bytes != 0)
			memcpy(buffer, data, bytes);
	}
	free(data);
	return status == LARDER_OK && life == LIFE_STALE ? LARDER_STALE : status;
}

enum larder_status view_get(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, void *buffer, size_t capacity,
		size_t *length, uint32_t flags, struct larder_meta *meta)
{
	struct view v = { 0 };
	enum larder_status status = LARDER_MISS;
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	struct key k = key_make(&cache->region, key, key_bytes, ns, false);
	enum view_result found = VIEW_CHANGED;
	uint64_t before = SLOT_EMPTY;
	/* A value of several pieces that was replaced while they were copied is no miss: only one slot word seen twice is. */
	for (unsigned tries = 0; tries < VIEW_TRIES; tries++) {
		found = view_find(&cache->region, &k, &v);
		if (found != VIEW_WHOLE)
			break;
		status = view_take(cache, &v, ns, buffer, capacity, length, flags, meta);
		if (status != LARDER_MISS || v.slot == before)
			break;
		before = v.slot;
	}
	if (found == VIEW_NO_MEMORY)
		status = LARDER_NO_MEMORY;
	else if (found == VIEW_CHANGED)
		status = LARDER_CONTENDED;
	view_free(&v);
	return call_answer(&cache->region, status);
}

/* ---- iterate ---------------------------------------------------------------------------------------------------------------------- */

struct walk {
	struct larder *cache;
	uint32_t ns;
	const void *prefix;
	size_t prefix_bytes;
	uint32_t flags;
	bool (*visit)(const struct larder_entry *entry, void *arg);
	void *arg;
	struct view view;
};

static bool walk_wants(const struct walk *w, enum life *life)
{
	const struct entry *e = &w->view.entry;
	if (head_kind(e->head) == KIND_CHUNK || (w->ns != LARDER_ALL_NAMESPACES && entry_namespace(e) != w->ns))
		return false;
	if (e->key_bytes < w->prefix_bytes || (w->prefix_bytes != 0 && memcmp(e->key, w->prefix, w->prefix_bytes) != 0))
		return false;
	*life = entry_life(&w->cache->region, e);
	return *life == LIFE_LIVE || (*life == LIFE_STALE && w->flags & LARDER_ITERATE_STALE);
}

static enum larder_status walk_visit(struct walk *w, const struct octet *frequency, enum life life)
{
	const struct region *r = &w->cache->region;
	const struct entry *e = &w->view.entry;
	struct larder_entry shown = { .ns = entry_namespace(e), .key = e->key, .key_bytes = e->key_bytes,
		.hits = frequency_of(frequency), .stored_bytes = (size_t)e->units * UNIT_BYTES };
	struct manifest m;
	unsigned char *data = NULL;
	size_t bytes = e->value_bytes;
	uint64_t segword = load_hint(region_segword(r, region_segment_of(r, slot_place(w->view.slot))));
	meta_fill(r, e, life, &shown.meta);
	shown.main_pool = segword_pool(segword) == POOL_MAIN;
	if (head_kind(e->head) == KIND_MANIFEST && manifest_read(w->cache, e, &m))
		bytes = m.bytes;
	if (w->flags & LARDER_ITERATE_VALUES || shown.meta.counter) {
		enum larder_status status = view_value(w->cache, &w->view, shown.ns, &data, &bytes);
		if (status != LARDER_OK) {
			free(data);
			return status;
		}
	}
	shown.meta.value_bytes = bytes;
	shown.value = w->flags & LARDER_ITERATE_VALUES ? data : NULL;
	bool more = w->visit(&shown, w->arg);
	free(data);
	return more ? LARDER_OK : LARDER_END;
}

/* LARDER_MISS: the slot changed, or its value did while its pieces were copied; look again. */
static enum larder_status walk_slot(struct walk *w, const struct word *slot, const struct octet *frequency)
{
	enum life life;
	enum view_result seen = view_slot(&w->cache->region, slot, &w->view);
	if (seen == VIEW_NO_MEMORY)
		return LARDER_NO_MEMORY;
	if (seen != VIEW_WHOLE || !walk_wants(w, &life))
		return seen == VIEW_CHANGED ? LARDER_MISS : LARDER_OK;
	enum larder_status status = walk_visit(w, frequency, life);
	return status == LARDER_MISS && load_acquire(slot) == w->view.slot ? LARDER_OK : status;
}

static enum larder_status walk_bucket(struct walk *w, struct shm_bucket *b)
{
	for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
		enum larder_status status = LARDER_MISS;
		for (unsigned tries = 0; status == LARDER_MISS && tries < VIEW_TRIES; tries++)
			status = walk_slot(w, &b->slot[i], &b->frequency[i]);
		if (status != LARDER_OK && status != LARDER_MISS)
			return status;
	}
	return LARDER_OK;
}

static enum larder_status walk_group(struct walk *w, struct shm_group *g)
{
	enum larder_status status = LARDER_OK;
	for (unsigned i = 0; i < GROUP_HOMES && status == LARDER_OK; i++)
		status = walk_bucket(w, &g->home[i]);
	for (unsigned i = 0; i < GROUP_OVERFLOWS && status == LARDER_OK; i++)
		status = walk_bucket(w, &g->overflow[i]);
	return status;
}

enum larder_status larder_iterate(struct larder *cache, uint32_t ns, const void *prefix, size_t prefix_bytes,
		uint32_t flags, bool (*visit)(const struct larder_entry *entry, void *arg), void *arg)
{
	struct walk w = { .cache = cache, .ns = ns, .prefix = prefix, .prefix_bytes = prefix_bytes, .flags = flags, .visit = visit, .arg = arg };
	enum larder_status status = LARDER_OK;
	if (cache == NULL || visit == NULL || (prefix == NULL && prefix_bytes != 0))
		return LARDER_INVALID;
	if (ns != LARDER_ALL_NAMESPACES && ns >= cache->region.geo.namespaces)
		return LARDER_INVALID;
	for (uint64_t g = 0; g < cache->region.geo.groups && status == LARDER_OK; g++)
		status = region_gone(&cache->region) ? LARDER_DETACHED : walk_group(&w, region_group(&cache->region, g));
	view_free(&w.view);
	return call_answer(&cache->region, status);
}
