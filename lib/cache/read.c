/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * get, exists, pin, mget.
 *
 * The life of a get: hash, one line of the index, name the place, look again, one line of the entry, judge, copy, let go.
 * It writes nothing that others wait for; the only shared words it may change are a frequency (a hint) and the slot of an
 * entry that it found expired.
 */
#include "cache/read.h"

#include "cache/large.h"
#include "cache/view.h"
#include "cache/watch.h"

/* Where a get puts what it finds. */
struct sink {
	void *buffer;
	size_t capacity;
	size_t *length;
	uint32_t flags;
	struct larder_meta *meta;
};

static inline enum larder_status sink_take(const struct sink *to, const void *value, uint32_t bytes)
{
	if (to->length != NULL)
		*to->length = bytes;
	if (unlikely(bytes > to->capacity))
		return LARDER_SHORT;
	bytes_copy(to->buffer, value, bytes);
	return LARDER_OK;
}

static cold enum larder_status take_counter(const struct sink *to, const struct entry *e)
{
	char digits[24];
	uint64_t cell = load_acquire(entry_cell(e)); /* once: number and version are of the same moment */
	uint32_t n = cell_format(cell, digits);
	if (to->meta != NULL) {
		to->meta->value_bytes = n;
		to->meta->version = counter_version(e, cell);
	}
	return sink_take(to, digits, n);
}

static cold enum larder_status take_large(struct larder *cache, struct actor *a, const struct key *k, const struct entry *e, const struct sink *to)
{
	struct manifest m;
	if (!manifest_read(cache, e, &m)) {
		count(a, damage, 1);
		return LARDER_MISS;
	}
	if (to->length != NULL)
		*to->length = m.bytes;
	if (to->meta != NULL)
		to->meta->value_bytes = m.bytes;
	if (m.bytes > to->capacity)
		return LARDER_SHORT;
	hazard_clear(a, HAZARD_READ);
	return large_read(cache, a, k, &m, to->buffer);
}

/* An entry that a get must not show goes first; its READ hazard is on the exact place.  False: somebody changed the slot. */
static cold bool read_remove(struct actor *a, const struct found *f, enum life life)
{
	if (!life_is_over(life))
		return true; /* stale, or a lease: it stays */
	return index_remove(a, f, life == LIFE_EXPIRED ? COUNTER_expirations : COUNTER_flushed);
}

static cold enum larder_status take_special(struct larder *cache, struct actor *a, const struct key *k, const struct found *f, const struct sink *to)
{
	bool plain = head_kind(f->entry.head) == KIND_PLAIN;
	enum larder_status status = plain ? sink_take(to, f->entry.value, f->entry.value_bytes) : LARDER_OK;
	fence_acquire();
	/* After the copy: damage that it took along is still there to be seen. */
	if (!entry_checksum_good(&f->entry)) {
		count(a, checksum_errors, 1);
		return LARDER_MISS;
	}
	if (plain)
		return status;
	if (entry_is_counter(&f->entry))
		return take_counter(to, &f->entry);
	if (head_kind(f->entry.head) == KIND_MANIFEST)
		return take_large(cache, a, k, &f->entry, to);
	count(a, damage, 1);
	return LARDER_MISS;
}

/* Nothing that this get may show.  LARDER_MISS; LARDER_ABSENT; LARDER_CHANGED: look again. */
static cold enum larder_status take_nothing(struct actor *a, const struct found *f, enum life life, const struct sink *to)
{
	if (life != LIFE_ABSENT)
		return read_remove(a, f, life) ? LARDER_MISS : LARDER_CHANGED;
	if (to->meta != NULL)
		meta_fill(a->region, &f->entry, life, to->meta);
	if (to->length != NULL)
		*to->length = 0;
	if (!(to->flags & LARDER_NO_COUNT))
		frequency_use(a->region, f->frequency);
	return LARDER_ABSENT;
}

/* LARDER_CHANGED: look again. */
static inline enum larder_status take_found(struct larder *cache, struct actor *a, const struct key *k, const struct found *f, const struct sink *to)
{
	enum life life = entry_life(a->region, &f->entry);
	if (unlikely(life != LIFE_LIVE) && !(life == LIFE_STALE && to->flags & LARDER_ALLOW_STALE))
		return take_nothing(a, f, life, to);
	if (to->meta != NULL)
		meta_fill(a->region, &f->entry, life, to->meta);
	enum larder_status status = LARDER_OK;
	if (likely(!(head_fields(f->entry.head) & (FIELD_KIND | FIELD_CHECKSUM))))
		status = sink_take(to, f->entry.value, f->entry.value_bytes);
	else
		status = take_special(cache, a, k, f, to);
	if (!(to->flags & LARDER_NO_COUNT))
		frequency_use(a->region, f->frequency);
	return status == LARDER_OK && life == LIFE_STALE ? LARDER_STALE : status;
}

static void count_get(struct actor *a, const struct key *k, bool hit, size_t value_bytes)
{
	if (hit)
		count(a, hits, 1);
	else
		count(a, misses, 1);
	watch_access(a, k->hash, k->ns, k->data, k->bytes, hit ? TRACE_HIT : TRACE_MISS, value_bytes);
}

static cold enum larder_status get_key(struct larder *cache, struct actor *a, const struct key *k, const struct sink *to)
{
	struct found f;
	do { /* progress: CHANGED means that another one's change of this key went through */
		enum search s = index_find(a, k, &f);
		enum larder_status status = LARDER_MISS;
		if (likely(s == SEARCH_FOUND))
			status = take_found(cache, a, k, &f, to);
		else if (unlikely(s == SEARCH_AGAIN))
			return contended(a);
		if (unlikely(status == LARDER_CHANGED))
			continue;
		if (!(to->flags & LARDER_NO_COUNT))
			count_get(a, k, status != LARDER_MISS, status == LARDER_MISS ? 0 : to->length != NULL ? *to->length : f.entry.value_bytes);
		return status;
	} while (actor_retries(a));
	return contended(a);
}

/* The value of an entry that is held, if there is nothing special about it; else the general way is to look at it. */
static inline __attribute__((always_inline)) bool take_plain(struct actor *a, const struct key *k, uint64_t slot, struct octet *frequency, const struct sink to)
{
	struct entry e;
	const struct region *r = a->region;
	uint64_t segword = load_acquire(region_segword(r, region_segment_of(r, slot_place(slot))));
	if (unlikely((segword_inc(segword) ^ slot) & ((1u << SLOT_INC_BITS) - 1)))
		return false;
	if (unlikely(!entry_open_usual(&e, r, slot_place(slot), k->bytes)) || unlikely(entry_namespace(&e) != k->ns)
			|| unlikely(!bytes_equal(e.key, k->data, k->bytes)))
		return false;
	if (unlikely(entry_life(a->region, &e) != LIFE_LIVE) || unlikely(e.value_bytes > to.capacity))
		return false;
	if (to.length != NULL)
		*to.length = e.value_bytes;
	bytes_copy(to.buffer, e.value, e.value_bytes);
	frequency_use(r, frequency);
	count(a, hits, 1);
	watch_access(a, k->hash, k->ns, k->data, k->bytes, TRACE_HIT, e.value_bytes);
	return true;
}

/* The common get on one screen: the first slot of the home bucket with the right tag has it.  False: nothing was done. */
static inline __attribute__((always_inline)) bool get_at_home(struct actor *a, const struct key *k, const struct sink to)
{
	uint32_t match = bucket_match(k->home, hash_tag(k->hash));
	if (unlikely(match == 0))
		return false;
	unsigned i = MATCH_SLOT(match);
	uint64_t slot = load_acquire(&k->home->slot[i]);
	if (unlikely(!slot_matches(a->region, slot, hash_tag(k->hash))))
		return false;
	entry_prefetch(a->region, slot_place(slot));
	if (unlikely(!slot_hold(a, HAZARD_READ, &k->home->slot[i], slot)))
		return false;
	return take_plain(a, k, slot, &k->home->frequency[i], to);
}

/* Everything but the common case; makes the key again, so that the common one needs no memory for it. */
static cold enum larder_status get_slow(struct larder *cache, struct actor *a, uint32_t ns, const void *key, size_t key_bytes, const struct sink *to)
{
	struct key k = key_make(&cache->region, key, key_bytes, ns, false);
	return get_key(cache, a, &k, to);
}

static inline __attribute__((always_inline)) enum larder_status get_checked(struct larder *cache, uint32_t ns, const void *key,
		size_t key_bytes, const struct sink to)
{
	struct actor *a;
	const struct key k = key_make(&cache->region, key, key_bytes, ns, false);
	enum larder_status status = call_begin(cache, &a);
	if (unlikely(status != LARDER_OK))
		return status;
	if (to.flags != 0 || to.meta != NULL || unlikely(!get_at_home(a, &k, to)))
		status = get_slow(cache, a, ns, key, key_bytes, &(struct sink){ to.buffer, to.capacity, to.length, to.flags, to.meta });
	hazard_clear(a, HAZARD_READ);
	call_end(a);
	return call_answer(&cache->region, status);
}

static inline __attribute__((always_inline)) enum larder_status get_call(struct larder *cache, uint32_t ns, const void *key,
		size_t key_bytes, const struct sink to)
{
	enum larder_status status = key_check(cache, ns, key, key_bytes);
	if (unlikely(status != LARDER_OK))
		return status;
	if (unlikely(cache->crew == NULL))
		return view_get(cache, ns, key, key_bytes, to.buffer, to.capacity, to.length, to.flags, to.meta);
	return get_checked(cache, ns, key, key_bytes, to);
}

enum larder_status read_known(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, struct larder_buffer *value)
{
	if (unlikely(key_bytes - 1 >= LARDER_KEY_MAX))
		return LARDER_KEY_SIZE;
	return get_checked(cache, ns, key, key_bytes,
			(struct sink){ .buffer = value->data, .capacity = value->capacity, .length = &value->length });
}

/* ---- The plain get ------------------------------------------------------------------------------------------------------------------ */

#ifdef LARDER_PAIRS
/* What expires has its moment in the second word after the head: lens.head_mask lets FIELD_EXPIRES pass only behind a stamp. */
static inline bool plain_lives(const struct actor *a, const unsigned char *entry)
{
	uint64_t now = moment_known(a);
	return likely(now != 0) && likely((bytes_load64(entry + 16) & TIME_MASK) > now + CLOCK_COARSE_LAG_MS);
}

/* The end of a get whose access is due as a sample. */
static cold void get_sampled(struct larder *cache, struct worker *w, const void *key, size_t key_bytes, size_t value_bytes)
{
	uint64_t hash = key_hash(&cache->region, key, (uint32_t)key_bytes, 0, false);
	watch_access_slow(worker_actor(w), hash, 0, key, key_bytes, TRACE_HIT, value_bytes);
	hazard_clear(worker_actor(w), HAZARD_READ);
	call_end(worker_actor(w));
}

/*
 * The common get, whole: namespace 0, a key of 9 .. 16 bytes in its home bucket, an entry with no more to it than this
 * cache's entries have, a value of LENS_VALUE_MAX at most.  The same steps as get_at_home(), in the same order.  What is judged at
 * once is computed in pairs, what becomes an address in integers, and nothing lives across a call: see base/pair.h.
 * False: all is as it was, look again another way.
 */
static inline __attribute__((always_inline)) bool get_plain(struct larder *cache, const void *key, size_t key_bytes, void *buffer,
		size_t capacity, word_pair key_kept, word_pair length_kept)
{
	const struct lens *l = &cache->lens;
	struct worker *w = worker_cache.worker;
	struct actor *a = worker_actor(w);
	struct shm_participant *self = w->self;
	const word_pair ends = pair_ends(key, key_bytes), flipped = pair_differ(ends, lens_pair(l->flip));
	const uint64_t hash_word = hash_fold(pair_low(flipped), pair_high(flipped), key_bytes);
	const word_pair hash = pair_of(hash_word);
	const struct shm_bucket *home = lens_home(l, hash);
	uint32_t match = bucket_match_pair(home, pair_lanes(hash));
	if (unlikely(match == 0) || unlikely((hash_word & l->rare_mask) == 0))
		return false;
	const unsigned i = MATCH_SLOT(match);
	/* PUBLISH (acquire) */
	const uint64_t slot = load_acquire(&home->slot[i]), place = slot_place(slot);
	if (unlikely(place >= l->places))
		return false;
	word_pair odd = pair_of(slot); /* what should be 0 in the end */
	pair_keep(odd);
	w->ready = 0; /* until here a signal handler does no harm to us, nor we to it */
	compiler_barrier();
	hazard_name_by(self, HAZARD_READ, place);
	/* HAZARD (acquire): the look after the naming, before anything of the entry. */
	odd = pair_differ(odd, pair_load(&home->slot[i]));
	compiler_barrier();
	const unsigned char *entry = l->arena + (place << UNIT_SHIFT), *entry_key = l->keys + (place << UNIT_SHIFT);
	/* PUBLISH (acquire): one load of the head. */
	const word_pair head = pair_differ(pair_load(entry), pair_load(&l->head[key_bytes - 9]));
	odd = pair_or(odd, pair_and(head, lens_pair(l->head_mask)));
	odd = pair_or(odd, pair_differ(ends, pair_ends(entry_key, key_bytes)));
	compiler_barrier();
	/* GENERATION (acquire): loaded after the entry; nothing was ever flushed. */
	odd = pair_or(odd, pair_load(l->generation));
	const uint32_t told = pair_low32(head); /* length, and whether it expires: the rest is as it should be */
	const uint64_t value_bytes = told >> HEAD_VALUE_SHIFT;
	const bool good = likely(pair_is_zero(odd)) && likely(value_bytes <= capacity)
			&& (likely(!(told & FIELD_EXPIRES)) || plain_lives(a, entry));
	if (likely(good)) {
		size_t *length = pair_pointer(length_kept);
		if (likely(length != NULL))
			*length = value_bytes;
		if (value_bytes > LENS_VALUE_MAX)
			__builtin_unreachable(); /* or head would be odd */
		bytes_copy(buffer, entry_key + key_bytes, value_bytes);
		frequency_use_or(&cache->region, (struct octet *)(uintptr_t)&home->frequency[i], &a->idle);
		count_by(self, hits, 1);
		if (unlikely(--a->watch.left == 0)) {
			get_sampled(cache, w, pair_pointer(key_kept), key_bytes, value_bytes);
			return true;
		}
	}
	hazard_clear_by(self, HAZARD_READ);
	compiler_barrier();
	w->ready = l->ready;
	return good;
}

static __attribute__((noinline)) enum larder_status get_any(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		void *buffer, size_t capacity, size_t *length)
{
	return get_call(cache, ns, key, key_bytes, (struct sink){ .buffer = buffer, .capacity = capacity, .length = length });
}
/* Looks at the clock, too, so that the next get knows what time it is. */
static cold enum larder_status get_again(struct larder *cache, const void *key, size_t key_bytes, void *buffer, size_t capacity, size_t *length)
{
	if (call_plain(cache))
		(void)moment_quick(worker_actor(worker_cache.worker));
	return get_call(cache, 0, key, key_bytes, (struct sink){ .buffer = buffer, .capacity = capacity, .length = length });
}

enum larder_status larder_get(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		void *buffer, size_t capacity, size_t *length)
{
	if (unlikely(ns != 0) || unlikely(cache == NULL) || unlikely(!hash_is_short(key_bytes)))
		return get_any(cache, ns, key, key_bytes, buffer, capacity, length);
	word_pair key_kept = pair_of((uintptr_t)key), length_kept = pair_of((uintptr_t)length);
	if (unlikely(key == NULL) || unlikely(!call_plain(cache)))
		return get_any(cache, 0, key, key_bytes, buffer, capacity, length);
	pair_keep(key_kept);
	pair_keep(length_kept);
	if (likely(get_plain(cache, key, key_bytes, buffer, capacity, key_kept, length_kept)))
		return LARDER_OK;
	return get_again(cache, pair_pointer(key_kept), key_bytes, buffer, capacity, pair_pointer(length_kept));
}
#else
enum larder_status larder_get(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		void *buffer, size_t capacity, size_t *length)
{
	return get_call(cache, ns, key, key_bytes, (struct sink){ .buffer = buffer, .capacity = capacity, .length = length });
}
#endif

enum larder_status larder_get_with(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		void *buffer, size_t capacity, size_t *length, uint32_t flags, struct larder_meta *meta)
{
	struct sink to = { .buffer = buffer, .capacity = capacity, .length = length, .flags = flags, .meta = meta };
	return get_call(cache, ns, key, key_bytes, to);
}

enum larder_status larder_exists(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes)
{
	struct sink to = { .flags = LARDER_NO_COUNT };
	enum larder_status status = get_call(cache, ns, key, key_bytes, to);
	return status == LARDER_SHORT ? LARDER_OK : status;
}

/* ---- Pins ------------------------------------------------------------------------------------------------------------------------- */

/* Takes a pin word for a place that a working hazard names; the working hazard may go afterwards, not before. */
static bool pin_take(struct actor *a, uint64_t place, struct larder_pin *pin)
{
	struct worker *w = actor_worker(a);
	uint64_t used = load_acquire(&w->pins_used);
	uint64_t all = (UINT64_C(1) << PIN_HAZARDS) - 1;
	if ((used & all) == all)
		return false;
	unsigned at = (unsigned)__builtin_ctzll(~used);
	or_acq_rel(&w->pins_used, UINT64_C(1) << at); /* only this thread takes, others only give back */
	store_seq_cst(&a->self->pin[at], place + 1);
	pin->own.pins |= 1u << at;
	return true;
}

static void pins_drop(struct worker *w, uint32_t pins)
{
	for (uint32_t rest = pins; rest != 0; rest &= rest - 1)
		store_release(&w->self->pin[__builtin_ctz(rest)], 0); /* RETIRE (release) */
	and_acq_rel(&w->pins_used, ~(uint64_t)pins); /* UNPIN (release) */
}

static enum larder_status pin_chunks(struct larder *cache, struct actor *a, const struct key *k, const struct manifest *m, uint32_t flags, struct larder_pin *pin)
{
	if (m->chunks > LARDER_PINS)
		return LARDER_NO_PIN;
	for (uint32_t i = 0; i < m->chunks; i++) {
		unsigned char name[12];
		struct key chunk = chunk_key(&cache->region, k->ns, m, i, name);
		struct found f;
		if (index_find(a, &chunk, &f) != SEARCH_FOUND || !entry_checksum_good(&f.entry))
			return LARDER_MISS;
		if (!pin_take(a, f.entry.place, pin))
			return LARDER_NO_PIN;
		if (!(flags & LARDER_NO_COUNT))
			frequency_use(a->region, f.frequency); /* a piece that is never used is evicted, and takes the whole value with it */
		pin->own.iov[i] = (struct iovec){ (void *)(uintptr_t)f.entry.value, f.entry.value_bytes };
		pin->length += f.entry.value_bytes;
	}
	pin->iov_count = m->chunks;
	return pin->length == m->bytes ? LARDER_OK : LARDER_MISS;
}

static enum larder_status pin_large(struct larder *cache, struct actor *a, const struct key *k, const struct entry *e, uint32_t flags, struct larder_pin *pin)
{
	struct manifest m;
	if (!manifest_read(cache, e, &m))
		return LARDER_MISS;
	hazard_clear(a, HAZARD_READ);
	pin->meta.value_bytes = m.bytes;
	enum larder_status status = pin_chunks(cache, a, k, &m, flags, pin);
	if (status == LARDER_OK)
		return status;
	pins_drop(actor_worker(a), pin->own.pins);
	pin->own.pins = 0;
	pin->length = 0;
	/* A missing chunk: large_read() with no room to copy to would be the same walk; the manifest goes the same way. */
	return status == LARDER_MISS ? large_missing(cache, a, k, &m) : status;
}

static void pin_one(struct larder_pin *pin, const void *data, size_t length)
{
	pin->data = data;
	pin->length = length;
	pin->own.iov[0] = (struct iovec){ (void *)(uintptr_t)data, length };
	pin->iov_count = 1;
}

/* LARDER_CHANGED: look again. */
static enum larder_status pin_found(struct larder *cache, struct actor *a, const struct key *k, const struct found *f, uint32_t flags, struct larder_pin *pin)
{
	enum life life = entry_life(a->region, &f->entry);
	if (life != LIFE_LIVE && !(life == LIFE_STALE && flags & LARDER_ALLOW_STALE))
		return take_nothing(a, f, life, &(struct sink){ .flags = flags, .meta = &pin->meta });
	if (!entry_checksum_good(&f->entry)) {
		count(a, checksum_errors, 1);
		return LARDER_MISS;
	}
	meta_fill(a->region, &f->entry, life, &pin->meta);
	if (!(flags & LARDER_NO_COUNT))
		frequency_use(a->region, f->frequency);
	enum larder_status good = life == LIFE_STALE ? LARDER_STALE : LARDER_OK;
	if (head_kind(f->entry.head) == KIND_MANIFEST) {
		enum larder_status status = pin_large(cache, a, k, &f->entry, flags, pin);
		return status == LARDER_OK ? good : status;
	}
	if (entry_is_counter(&f->entry)) { /* its cell changes in place: a private copy */
		uint64_t cell = load_acquire(entry_cell(&f->entry)); /* once, as in take_counter() */
		pin_one(pin, pin->own.digits, cell_format(cell, pin->own.digits));
		pin->meta.value_bytes = pin->length;
		pin->meta.version = counter_version(&f->entry, cell);
		return good;
	}
	if (!pin_take(a, f->entry.place, pin))
		return LARDER_NO_PIN;
	pin_one(pin, f->entry.value, f->entry.value_bytes);
	return good;
}

static enum larder_status pin_key(struct larder *cache, struct actor *a, const struct key *k, uint32_t flags, struct larder_pin *pin)
{
	struct found f;
	do { /* progress: as in get_key() */
		enum search s = index_find(a, k, &f);
		if (s == SEARCH_AGAIN)
			break;
		enum larder_status status = s == SEARCH_FOUND ? pin_found(cache, a, k, &f, flags, pin) : LARDER_MISS;
		if (status == LARDER_CHANGED)
			continue;
		if (!(flags & LARDER_NO_COUNT) && status >= 0)
			count_get(a, k, status != LARDER_MISS, pin->meta.value_bytes);
		return status;
	} while (actor_retries(a));
	return contended(a);
}

enum larder_status larder_pin(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, uint32_t flags, struct larder_pin *pin)
{
	struct actor *a;
	if (pin == NULL)
		return LARDER_INVALID;
	*pin = (struct larder_pin){ .iov = pin->own.iov };
	enum larder_status status = key_check(cache, ns, key, key_bytes);
	if (status != LARDER_OK)
		return status;
	struct key k = key_make(&cache->region, key, key_bytes, ns, false);
	status = call_begin(cache, &a);
	if (status != LARDER_OK)
		return status;
	pin->own.slot = a->slot;
	pin->own.registration = actor_worker(a)->registration;
	status = pin_key(cache, a, &k, flags, pin);
	call_end_clear(a);
	if (likely(call_answer(&cache->region, LARDER_OK) == LARDER_OK))
		return status;
	larder_unpin(cache, pin);
	return LARDER_DETACHED;
}

void larder_unpin(struct larder *cache, struct larder_pin *pin)
{
	if (cache == NULL || pin == NULL || cache->crew == NULL)
		return;
	struct worker *w = pin->own.pins == 0 ? NULL : crew_find(cache->crew, pin->own.slot, pin->own.registration);
	if (w != NULL)
		pins_drop(w, pin->own.pins);
	*pin = (struct larder_pin){ .iov = pin->own.iov };
}

/* ---- Many at once -------------------------------------------------------------------------------------------------------------------- */

/* What the first pass remembers of one key. */
struct guess { struct key key; unsigned at; uint64_t slot; };

static void guess_home(const struct region *r, struct guess *g)
{
	uint32_t match = bucket_match(g->key.home, hash_tag(g->key.hash));
	if (unlikely(match == 0))
		return;
	g->at = MATCH_SLOT(match);
	uint64_t slot = load_acquire(&g->key.home->slot[g->at]);
	if (unlikely(!slot_matches(r, slot, hash_tag(g->key.hash))))
		return;
	g->slot = slot;
	entry_prefetch(r, slot_place(slot));
}

/* Names up to 16 places under one fence. */
static void name_batch(struct actor *a, const struct guess *g, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
#ifdef LARDER_TSAN
		store_seq_cst(&a->self->batch[i], g[i].slot == SLOT_EMPTY ? 0 : slot_place(g[i].slot) + 1);
#else
		store_hint(&a->self->batch[i], g[i].slot == SLOT_EMPTY ? 0 : slot_place(g[i].slot) + 1);
#endif
	}
	/* HAZARD (release): one fence for all names. */
	fence_seq_cst();
}

/* The guessed entry, if the slot still leads to it. */
static inline bool take_guess(struct actor *a, const struct guess *g, const struct sink to)
{
	/* HAZARD (acquire): the look after the naming. */
	if (g->slot == SLOT_EMPTY || load_seq_cst(&g->key.home->slot[g->at]) != g->slot)
		return false;
	return take_plain(a, &g->key, g->slot, &g->key.home->frequency[g->at], to);
}

static struct sink item_sink(struct larder_item *item)
{
	return (struct sink){ .buffer = item->value, .capacity = item->value_bytes, .length = &item->value_bytes };
}

static void mget_batch(struct larder *cache, struct actor *a, uint32_t ns, struct larder_item *items, unsigned n)
{
	struct guess g[BATCH_HAZARDS];
	for (unsigned i = 0; i < n; i++) {
		items[i].status = key_check(cache, ns, items[i].key, items[i].key_bytes);
		g[i].slot = SLOT_EMPTY;
		if (items[i].status == LARDER_OK)
			g[i].key = key_make(&cache->region, items[i].key, items[i].key_bytes, ns, false);
	}
	for (unsigned i = 0; i < n; i++)
		if (items[i].status == LARDER_OK)
			guess_home(&cache->region, &g[i]);
	name_batch(a, g, n);
	for (unsigned i = 0; i < n; i++) {
		struct sink to = item_sink(&items[i]);
		if (items[i].status == LARDER_OK && !take_guess(a, &g[i], to))
			items[i].status = get_key(cache, a, &g[i].key, &to);
	}
	for (unsigned i = 0; i < n; i++)
		store_release(&a->self->batch[i], 0); /* RETIRE (release) */
	hazard_clear(a, HAZARD_READ);
}

static enum larder_status mget_inspect(struct larder *cache, uint32_t ns, struct larder_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		items[i].status = larder_get(cache, ns, items[i].key, items[i].key_bytes, items[i].value, items[i].value_bytes, &items[i].value_bytes);
	return LARDER_OK;
}

enum larder_status larder_mget(struct larder *cache, uint32_t ns, struct larder_item *items, size_t count)
{
	struct actor *a;
	if (cache == NULL || ns >= cache->region.geo.namespaces || (items == NULL && count != 0))
		return LARDER_INVALID;
	if (cache->crew == NULL)
		return mget_inspect(cache, ns, items, count);
	enum larder_status status = call_begin(cache, &a);
	if (status != LARDER_OK)
		return status;
	for (size_t i = 0; i < count; i += BATCH_HAZARDS)
		mget_batch(cache, a, ns, items + i, count - i < BATCH_HAZARDS ? (unsigned)(count - i) : BATCH_HAZARDS);
	call_end(a);
	status = call_answer(&cache->region, LARDER_OK);
	for (size_t i = 0; status != LARDER_OK && i < count; i++)
		items[i].status = status;
	return status;
}
