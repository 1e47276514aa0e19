/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * set, add, replace, cas, get-and-set, append, touch, delete, mset: each says what is special to it and leaves the rest
 * to put_run().
 */
#include "cache/plain.h"
#include "cache/write.h"
#include "cache/watch.h"

#include <stdlib.h>

static enum larder_status ttl_check(int64_t ttl_ms)
{
	return ttl_ms < LARDER_TTL_KEEP ? LARDER_INVALID : LARDER_OK;
}

enum larder_status write_begin(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, int64_t ttl_ms,
		struct actor **a, struct put *put)
{
	enum larder_status status = key_check(cache, ns, key, key_bytes);
	if (status == LARDER_OK)
		status = ttl_check(ttl_ms);
	if (unlikely(status != LARDER_OK))
		return status;
	put->key = key_make(&cache->region, key, key_bytes, ns, false);
	put->ttl_ms = ttl_ms;
	status = call_begin(cache, a);
	if (likely(status == LARDER_OK))
		(*a)->evicted = 0;
	return status;
}

enum larder_status write_end(struct larder *cache, struct actor *a, struct put *put, enum larder_status status)
{
	if (unlikely(put->replaced.version != 0))
		large_forget(cache, a, put->key.ns, &put->replaced);
	put->result.evicted = a->evicted;
	call_end_clear(a);
	return call_answer(&cache->region, status);
}

/* ---- set and its kin ------------------------------------------------------------------------------------------------------------ */

static bool fits(const struct larder *cache, const struct put *put, uint64_t bytes)
{
	return put->key.bytes + bytes <= cache->contiguous_bytes;
}

/* put_run() for a value of any size. */
static enum larder_status set_value(struct larder *cache, struct actor *a, struct put *put, const void *value, size_t bytes)
{
	if (unlikely(!fits(cache, put, bytes)))
		return large_put(cache, a, put, value, bytes);
	put->draft.value = value;
	put->draft.value_bytes = (uint32_t)bytes;
	return put_run(a, put);
}

/* Once for a value and all its pieces: a piece must not go before its manifest. */
static cold void put_jitter(struct actor *a, struct put *put)
{
	int64_t ttl = put->ttl_ms != LARDER_TTL_DEFAULT ? put->ttl_ms : (int64_t)load_hint(&region_namespace(a->region, put->key.ns)->ttl);
	if (ttl <= 0 || ttl >= LARDER_TTL_MAX)
		return;
	double cut = (double)ttl * put->jitter_percent / 100 * actor_random(a) / (UINT64_C(1) << 31);
	put->ttl_ms = ttl - (int64_t)cut;
	if (put->ttl_ms < 1)
		put->ttl_ms = 1;
}

enum larder_status set_call(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, struct put *put)
{
	struct actor *a;
	if (unlikely(value == NULL && value_bytes != 0) || unlikely(put->draft.extras & EXTRA_ABSENT && value_bytes != 0))
		return LARDER_INVALID;
	if (unlikely(cache != NULL && value_bytes > cache->region.geo.value_max_bytes))
		return LARDER_TOO_LARGE;
	if (likely(put->decide == NULL))
		put->decide = put_by_mode;
	enum larder_status status = write_begin(cache, ns, key, key_bytes, put->ttl_ms, &a, put);
	if (unlikely(status != LARDER_OK))
		return status;
	if (unlikely(put->jitter_percent != 0))
		put_jitter(a, put);
	status = set_value(cache, a, put, value, value_bytes);
	return write_end(cache, a, put, status);
}

static __attribute__((noinline)) enum larder_status set_any(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms)
{
	struct put put = { .mode = LARDER_SET, .ttl_ms = ttl_ms };
#ifdef LARDER_PAIRS
	if (cache != NULL && call_plain(cache))
		(void)moment_quick(worker_actor(worker_cache.worker)); /* so that the next plain set knows it */
#endif
	return set_call(cache, ns, key, key_bytes, value, value_bytes, &put);
}

#ifdef LARDER_PAIRS
static inline bool set_is_plain(const struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, const void *value, size_t value_bytes)
{
	return likely(ns == 0) && likely(cache != NULL) && likely(hash_is_short(key_bytes)) && likely(value_bytes - 1 < LENS_VALUE_MAX)
			&& likely(key != NULL) && likely(value != NULL) && likely(call_plain(cache));
}

static __attribute__((noinline)) enum larder_status set_timed(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms)
{
	if (set_is_plain(cache, ns, key, key_bytes, value, value_bytes) && likely(plain_ttl(worker_actor(worker_cache.worker), &cache->lens, ttl_ms))
			&& likely(put_plain(cache, key, key_bytes, value, value_bytes, true, ttl_ms)))
		return LARDER_OK;
	return set_any(cache, ns, key, key_bytes, value, value_bytes, ttl_ms);
}

static __attribute__((noinline)) enum larder_status set_forever(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms)
{
	if (set_is_plain(cache, ns, key, key_bytes, value, value_bytes)
			&& likely(put_plain(cache, key, key_bytes, value, value_bytes, false, 0)))
		return LARDER_OK;
	return set_any(cache, ns, key, key_bytes, value, value_bytes, ttl_ms);
}

/* Two functions, for the sake of fewer instructions in each: see plain.h. */
enum larder_status larder_set(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms)
{
	if (ttl_ms == LARDER_TTL_NONE || ttl_ms == LARDER_TTL_DEFAULT)
		return set_forever(cache, ns, key, key_bytes, value, value_bytes, ttl_ms);
	return set_timed(cache, ns, key, key_bytes, value, value_bytes, ttl_ms);
}
#else
enum larder_status larder_set(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms)
{
	return set_any(cache, ns, key, key_bytes, value, value_bytes, ttl_ms);
}
#endif

enum larder_status larder_add(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms)
{
	struct put put = { .mode = LARDER_ADD, .ttl_ms = ttl_ms };
	return set_call(cache, ns, key, key_bytes, value, value_bytes, &put);
}

enum larder_status larder_replace(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms)
{
	struct put put = { .mode = LARDER_REPLACE, .ttl_ms = ttl_ms };
	return set_call(cache, ns, key, key_bytes, value, value_bytes, &put);
}

static bool has_stamps(const struct larder *cache)
{
	return cache == NULL || !(cache->region.geo.create_flags & LARDER_PLAIN);
}

enum larder_status larder_cas(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms, uint64_t version)
{
	struct put put = { .mode = LARDER_CAS, .ttl_ms = ttl_ms, .version = version };
	if (!has_stamps(cache))
		return LARDER_UNSUPPORTED;
	return set_call(cache, ns, key, key_bytes, value, value_bytes, &put);
}

#define OPTIONS_SIZE_MIN offsetof(struct larder_set_options, jitter_percent) /* of the first version */
#define OPTIONS_SIZE_MAX 1024u

/* The caller's struct may be older or newer than ours: what it lacks is 0, what we do not know must be. */
bool options_convert(struct larder_set_options *to, const struct larder_set_options *from)
{
	const unsigned char *bytes = (const unsigned char *)from;
	if (from->size < OPTIONS_SIZE_MIN || from->size > OPTIONS_SIZE_MAX)
		return false;
	for (size_t i = sizeof *to; i < from->size; i++)
		if (bytes[i] != 0)
			return false;
	*to = (struct larder_set_options)LARDER_SET_OPTIONS_INIT;
	memcpy(to, from, from->size < sizeof *to ? from->size : sizeof *to);
	to->size = sizeof *to;
	return true;
}

bool tags_valid(const char *const *names, uint32_t count)
{
	if (count > LARDER_TAGS_MAX || (names == NULL && count != 0))
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (names[i] == NULL || strnlen(names[i], LARDER_TAG_BYTES_MAX + 1) - 1 >= LARDER_TAG_BYTES_MAX)
			return false;
	return true;
}

static bool options_valid(const struct larder_set_options *o)
{
	return (unsigned)o->mode <= LARDER_CAS && !(o->flags & ~(uint32_t)(LARDER_NO_EVICT | LARDER_ALIGN | LARDER_SET_ABSENT))
			&& o->expires_at_ms >= 0 && o->created_at_ms >= 0 && o->ttl_ms >= LARDER_TTL_KEEP && o->jitter_percent <= 100
			&& tags_valid(o->tags, o->tag_count);
}

uint64_t extras_of_tags(const struct region *r, const char *const *names, uint32_t count, struct tags *tags)
{
	for (uint32_t i = 0; i < count; i++)
		tags->number[i] = tag_number(r, names[i]);
	return (uint64_t)count << EXTRA_TAGS_SHIFT;
}

enum larder_status put_options(const struct larder *cache, const struct larder_set_options *given, struct put *put)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	if (given != NULL && (!options_convert(&o, given) || !options_valid(&o)))
		return LARDER_INVALID;
	if (o.mode == LARDER_CAS && !has_stamps(cache))
		return LARDER_UNSUPPORTED;
	*put = (struct put){ .mode = o.mode, .flags = o.flags, .ttl_ms = o.ttl_ms, .expires_at_ms = o.expires_at_ms, .version = o.version,
		.jitter_percent = o.jitter_percent, .fresh_tags = o.tag_count != 0,
		.draft = { .extras = o.user_flags, .fields = o.flags & LARDER_ALIGN ? FIELD_ALIGNED : 0u, .grace_ms = o.grace_ms, .cost_us = o.cost_us } };
	if (o.grace_ms != 0 || o.cost_us != 0)
		put->draft.extras |= EXTRA_REFRESH;
	if (o.flags & LARDER_SET_ABSENT)
		put->draft.extras |= EXTRA_ABSENT;
	if (cache != NULL)
		put->draft.extras |= extras_of_tags(&cache->region, o.tags, o.tag_count, &put->draft.tags);
	return LARDER_OK;
}

enum larder_status larder_set_with(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, const struct larder_set_options *options, struct larder_result *result)
{
	struct put put;
	enum larder_status status = put_options(cache, options, &put);
	if (status != LARDER_OK)
		return status;
	status = set_call(cache, ns, key, key_bytes, value, value_bytes, &put);
	if (result != NULL)
		*result = put.result;
	return status;
}

#define MSET_AHEAD 16u

/* The lines of their home buckets are asked for, so that those misses overlap. */
static void ask_ahead(struct larder *cache, uint32_t ns, const struct larder_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (key_check(cache, ns, items[i].key, items[i].key_bytes) == LARDER_OK)
			(void)key_make(&cache->region, items[i].key, items[i].key_bytes, ns, false);
}

enum larder_status larder_mset(struct larder *cache, uint32_t ns, struct larder_item *items, size_t count, int64_t ttl_ms)
{
	if (cache == NULL || (items == NULL && count != 0) || ns >= cache->region.geo.namespaces || ttl_check(ttl_ms) != LARDER_OK)
		return LARDER_INVALID;
	if (cache->crew == NULL)
		return LARDER_READ_ONLY;
	for (size_t i = 0; i < count; i++) {
		if (i % MSET_AHEAD == 0)
			ask_ahead(cache, ns, items + i, count - i < MSET_AHEAD ? count - i : MSET_AHEAD);
		items[i].status = larder_set(cache, ns, items[i].key, items[i].key_bytes, items[i].value, items[i].value_bytes, ttl_ms);
	}
	return LARDER_OK;
}

/* ---- Changes that depend on the old value: its hazard is held while the new one is written ------------------------------------------ */

/* An append, touch or get-and-set.  Where one entry cannot hold old or new value, the old one is assembled on the heap and the new
 * one published if the slot still leads to the entry that was kept: several steps, one CAS that counts. */
struct rewrite {
	struct larder *cache;
	const void *value;  /* append: what is appended; get_and_set: the new value */
	size_t value_bytes;
	void *buffer;       /* get_and_set: where the old value goes */
	size_t capacity;
	size_t *length;
	bool had_old;
	uint64_t kept_word; /* not 0: decide() kept this entry, to be rewritten as a whole */
	/* The new value from the whole old one; has value_bytes to spare behind it. */
	enum larder_status (*whole)(struct actor *a, struct put *put, struct rewrite *w, unsigned char *old, uint64_t bytes);
};

static enum put_next keep(struct actor *a, struct put *put, const struct found *f)
{
	struct rewrite *w = put->arg;
	if (!slot_hold(a, HAZARD_KEEP, f->slot, f->word))
		return PUT_AGAIN;
	w->kept_word = f->word;
	return PUT_ANSWER;
}

static enum larder_status whole_copy(struct larder *cache, struct actor *a, const struct put *put, const struct entry *e,
		const struct manifest *m, unsigned char *to)
{
	if (m->version != 0)
		return large_read(cache, a, &put->key, m, to);
	if (entry_is_counter(e)) /* only get_and_set comes here with one: what it reads as, and no increment after that */
		cell_format(cell_freeze(entry_cell(e)), (char *)to);
	else
		memcpy(to, e->value, e->value_bytes);
	return LARDER_OK;
}

static enum larder_status rewrite_whole(struct actor *a, struct put *put, struct rewrite *w)
{
	struct entry e;
	struct manifest m = { 0 };
	if (!slot_open(a, w->kept_word, &e) || (head_kind(e.head) == KIND_MANIFEST && !manifest_read(w->cache, &e, &m)))
		return LARDER_DAMAGED;
	uint64_t bytes = m.version != 0 ? m.bytes : e.value_bytes;
	unsigned char *old = malloc(bytes + w->value_bytes + 24);
	if (old == NULL)
		return LARDER_NO_MEMORY;
	enum larder_status status = whole_copy(w->cache, a, put, &e, &m, old);
	if (status == LARDER_OK) {
		if (entry_is_counter(&e))
			bytes = strlen((char *)old);
		put->kept_word = w->kept_word;
		put->mode = LARDER_SET;
		put->decide = put_by_mode;
		put->draft = (struct draft){ .fields = head_fields(e.head) & FIELD_ALIGNED };
		draft_inherit(&put->draft, &e);
		status = w->whole(a, put, w, old, bytes);
		put->kept_word = 0;
	}
	free(old);
	return status;
}

/* Runs the change; and again as a whole, as often as another one's change comes between. */
static enum larder_status rewrite_run(struct actor *a, struct put *put, enum put_next (*decide)(struct actor *, struct put *, const struct found *))
{
	struct rewrite *w = put->arg;
	enum larder_status status;
	do {
		w->kept_word = 0;
		put->decide = decide;
		put->draft = (struct draft){ 0 };
		status = put_run(a, put);
		if (w->kept_word != 0)
			status = rewrite_whole(a, put, w);
		hazard_clear(a, HAZARD_KEEP);
	} while (status == LARDER_CHANGED && actor_retries(a)); /* progress: another one changed the key */
	return status == LARDER_CHANGED ? contended(a) : status;
}

static bool is_large(const struct found *f) { return head_kind(f->entry.head) == KIND_MANIFEST; }

/* ---- append */

static enum larder_status append_whole(struct actor *a, struct put *put, struct rewrite *w, unsigned char *old, uint64_t bytes)
{
	if (bytes + w->value_bytes > a->region->geo.value_max_bytes)
		return LARDER_TOO_LARGE;
	if (w->value_bytes != 0)
		memcpy(old + bytes, w->value, w->value_bytes);
	return set_value(w->cache, a, put, old, bytes + w->value_bytes);
}

static enum put_next append_decide(struct actor *a, struct put *put, const struct found *f)
{
	struct rewrite *w = put->arg;
	struct draft *d = &put->draft;
	put->answer = LARDER_MISS;
	if (f == NULL)
		return PUT_ANSWER;
	bool counter = entry_is_counter(&f->entry);
	if (!counter && (is_large(f) || !fits(w->cache, put, (uint64_t)f->entry.value_bytes + w->value_bytes)))
		return keep(a, put, f);
	put->answer = LARDER_TOO_LARGE;
	if (counter && !fits(w->cache, put, 24 + w->value_bytes))
		return PUT_ANSWER;
	d->fields = counter ? 0 : head_fields(f->entry.head) & FIELD_ALIGNED;
	draft_inherit(d, &f->entry);
	put_thaw_to_digits(put, f, &d->value, &d->value_bytes);
	d->tail = w->value;
	d->tail_bytes = (uint32_t)w->value_bytes;
	d->value_bytes += d->tail_bytes;
	return PUT_WRITE;
}

enum larder_status larder_append(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, const void *bytes, size_t count)
{
	struct actor *a;
	struct rewrite w = { .cache = cache, .value = bytes, .value_bytes = count, .whole = append_whole };
	struct put put = { .arg = &w };
	if (bytes == NULL && count != 0)
		return LARDER_INVALID;
	if (cache != NULL && count > cache->region.geo.value_max_bytes)
		return LARDER_TOO_LARGE;
	enum larder_status status = write_begin(cache, ns, key, key_bytes, LARDER_TTL_KEEP, &a, &put);
	if (status != LARDER_OK)
		return status;
	return write_end(cache, a, &put, rewrite_run(a, &put, append_decide));
}

/* ---- touch */

static enum larder_status touch_whole(struct actor *a, struct put *put, struct rewrite *w, unsigned char *old, uint64_t bytes)
{
	return set_value(w->cache, a, put, old, bytes);
}

static enum put_next touch_decide(struct actor *a, struct put *put, const struct found *f)
{
	struct draft *d = &put->draft;
	put->answer = LARDER_MISS;
	if (f == NULL)
		return PUT_ANSWER;
	if (is_large(f))
		return keep(a, put, f);
	d->fields = head_fields(f->entry.head) & (FIELD_ALIGNED | FIELD_KIND);
	draft_inherit(d, &f->entry);
	d->value = f->entry.value;
	d->value_bytes = f->entry.value_bytes;
	if (entry_is_counter(&f->entry)) {
		put->cell = cell_freeze(entry_cell(&f->entry));
		d->value = &put->cell;
	}
	return PUT_WRITE;
}

enum larder_status larder_touch(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, int64_t ttl_ms)
{
	struct actor *a;
	struct rewrite w = { .cache = cache, .whole = touch_whole };
	struct put put = { .arg = &w };
	enum larder_status status = write_begin(cache, ns, key, key_bytes, ttl_ms, &a, &put);
	if (status != LARDER_OK)
		return status;
	return write_end(cache, a, &put, rewrite_run(a, &put, touch_decide));
}

/* ---- get and set */

static enum larder_status swap_take(struct rewrite *w, const void *old, uint64_t bytes)
{
	if (w->length != NULL)
		*w->length = bytes;
	if (bytes > w->capacity)
		return LARDER_SHORT;
	if (bytes != 0)
		memcpy(w->buffer, old, bytes);
	return LARDER_OK;
}

static enum larder_status swap_whole(struct actor *a, struct put *put, struct rewrite *w, unsigned char *old, uint64_t bytes)
{
	enum larder_status status = swap_take(w, old, bytes);
	put->draft = (struct draft){ 0 };
	return status == LARDER_OK ? set_value(w->cache, a, put, w->value, w->value_bytes) : status;
}

static enum put_next swap_decide(struct actor *a, struct put *put, const struct found *f)
{
	struct rewrite *w = put->arg;
	const void *old;
	uint32_t old_bytes;
	bool small = fits(w->cache, put, w->value_bytes);
	w->had_old = f != NULL;
	put->answer = LARDER_MISS;
	put->draft.value = w->value;
	put->draft.value_bytes = (uint32_t)w->value_bytes;
	if (f == NULL)
		return small ? PUT_WRITE : PUT_ANSWER;
	if (is_large(f) || !small)
		return keep(a, put, f);
	put_thaw_to_digits(put, f, &old, &old_bytes);
	put->answer = swap_take(w, old, old_bytes);
	return put->answer == LARDER_OK ? PUT_WRITE : PUT_ANSWER;
}

/* A large value in place of none: added, unless somebody came first. */
static enum larder_status swap_add_large(struct actor *a, struct put *put, struct rewrite *w)
{
	put->mode = LARDER_ADD;
	put->decide = put_by_mode;
	put->draft = (struct draft){ 0 };
	return set_value(w->cache, a, put, w->value, w->value_bytes);
}

static enum larder_status swap_run(struct actor *a, struct put *put, struct rewrite *w)
{
	enum larder_status status;
	do {
		status = rewrite_run(a, put, swap_decide);
		if (status == LARDER_MISS && !w->had_old)
			status = swap_add_large(a, put, w);
		/* progress: EXISTS, another one set the key; MISS, a piece of what was there is gone, and the manifest with it */
	} while ((status == LARDER_EXISTS || (status == LARDER_MISS && w->had_old)) && actor_retries(a));
	return status == LARDER_OK && !w->had_old ? LARDER_MISS : status;
}

enum larder_status larder_get_and_set(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms, void *buffer, size_t capacity, size_t *length)
{
	struct actor *a;
	struct rewrite w = { .cache = cache, .value = value, .value_bytes = value_bytes, .whole = swap_whole,
		.buffer = buffer, .capacity = capacity, .length = length };
	struct put put = { .arg = &w };
	if ((value == NULL && value_bytes != 0) || (buffer == NULL && capacity != 0))
		return LARDER_INVALID;
	if (cache != NULL && value_bytes > cache->region.geo.value_max_bytes)
		return LARDER_TOO_LARGE;
	enum larder_status status = write_begin(cache, ns, key, key_bytes, ttl_ms, &a, &put);
	if (status != LARDER_OK)
		return status;
	return write_end(cache, a, &put, swap_run(a, &put, &w));
}

/* ---- delete ------------------------------------------------------------------------------------------------------------------------- */

/* Was what a delete took out there to be deleted?  And if it was a large value, its chunks go, too. */
static bool was_live(struct actor *a, const struct entry *e, void *arg)
{
	enum life life = entry_life(a->region, e);
	*(struct chunks *)arg = chunks_of(a->region, e);
	/* What a soft flush has hidden is there to be deleted; what has expired is not, whatever its grace. */
	return life == LIFE_LIVE || (life == LIFE_STALE && (entry_expiry(e) == 0 || !moment_passed(a->region, entry_expiry(e))));
}

enum larder_status larder_delete(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes)
{
	struct actor *a;
	struct put put = { 0 };
	bool live;
	enum larder_status status = write_begin(cache, ns, key, key_bytes, LARDER_TTL_DEFAULT, &a, &put);
	if (status != LARDER_OK)
		return status;
	enum search s = index_delete(a, &put.key, was_live, &put.replaced, &live);
	if (s == SEARCH_AGAIN)
		status = contended(a);
	else
		status = live ? LARDER_OK : LARDER_MISS;
	watch_access(a, put.key.hash, ns, key, key_bytes, TRACE_DELETE, 0);
	return write_end(cache, a, &put, status);
}
