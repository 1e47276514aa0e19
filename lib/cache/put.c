/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loop of all changes.  A crash in it leaves: reserved bytes (they come back with their segment), or a PENDING entry
 * (completed or aborted by the next one that meets it), or the change done.  See put.h, and the crash table in
 * lib/README.md.
 */
#include "cache/put.h"

#include "cache/quota.h"
#include "cache/watch.h"

/* ---- Time to live -------------------------------------------------------------------------------------------------------------- */

static uint64_t expiry_after(const struct region *r, uint64_t ttl_ms)
{
	if (ttl_ms >= (uint64_t)LARDER_TTL_MAX)
		return 0;
	return (ttl_ms < TTL_PRECISE ? moment_precise(r) : moment_coarse(r)) + ttl_ms;
}

/* When the entry expires; 0: never.  One that is given a moment in the past is born expired.  f: what decide() saw, so that
 * a value which expires in between is not given another time to live. */
static uint64_t put_expiry_plain(struct actor *a, const struct put *put, const struct found *f)
{
	const struct region *r = a->region;
	if (put->expires_at_ms != 0)
		return put->expires_at_ms - clock_wall_ms() >= LARDER_TTL_MAX ? 0 : moment_of_wall(r, put->expires_at_ms);
	if (f != NULL && (put->keep_ttl || put->ttl_ms == LARDER_TTL_KEEP))
		return entry_expiry(&f->entry);
	if (put->ttl_ms > 0)
		return expiry_after(r, (uint64_t)put->ttl_ms);
	uint64_t ttl = put->ttl_ms == LARDER_TTL_NONE ? 0 : load_hint(&region_namespace(r, put->key.ns)->ttl);
	return ttl == 0 ? 0 : expiry_after(r, ttl);
}

static uint64_t put_expiry(struct actor *a, const struct put *put, const struct found *f)
{
	uint64_t expiry = put_expiry_plain(a, put, f);
	return expiry == 0 ? 0 : expiry + put->linger_ms;
}

static unsigned expiry_class(const struct region *r, uint64_t expiry)
{
	if (expiry == 0)
		return 0;
	uint64_t now = moment_coarse(r);
	return class_of_ttl(r, expiry > now ? expiry - now : 1);
}

/* ---- Draft ------------------------------------------------------------------------------------------------------------------------ */

static void draft_complete(struct actor *a, struct put *put, const struct found *f, uint32_t generation)
{
	struct draft *d = &put->draft;
	d->key = put->key.data;
	d->key_bytes = put->key.bytes;
	d->ns = put->key.ns;
	d->generation = generation;
	if (likely(!put->own_times))
		d->expiry = put_expiry(a, put, f);
	d->fields = (d->fields & (FIELD_KIND | FIELD_ALIGNED)) | put_base_fields(a->region);
	d->fields |= (d->expiry != 0 ? FIELD_EXPIRES : 0u) | (d->ns != 0 || generation != 0 ? FIELD_NAMESPACE : 0u)
			| draft_extras_field(d);
	if (d->fields & FIELD_STAMP && likely(!put->own_times)) {
		d->created = moment_coarse(a->region);
		d->stamp = put_stamp(a, d->created);
		put->result.version = d->stamp;
	}
}

/* ---- Room ------------------------------------------------------------------------------------------------------------------------- */

#define INSERT_AGE_PART 16u /* new keys fill holes of segments no older than this part of all: they are owed their time */

/* A place that was used before, of this size or larger, in a segment of any age. */
static bool room_again(struct actor *a, uint32_t units, unsigned pool, unsigned class, struct room *room)
{
	if (!room_reuse(a, units, pool, class, room) && !room_fit(a, units, pool, class, AGE_ANY, room))
		return false;
	count(a, reused_bytes, units * UNIT_BYTES);
	return true;
}

/* Namespaces with a quota have segments, and in these places to use again, of their own: what they set pushes out nothing of
 * the others'. */
static bool room_limited(struct actor *a, uint32_t units, struct room *room)
{
	unsigned class = geo_limited_class(&a->region->geo);
	return room_again(a, units, POOL_MAIN, class, room) || room_append(a, units, POOL_MAIN, class, NEED_NORMAL, room);
}

/* An overwrite stays in the pool of what it replaces, in a place used before if there is one; a new key begins in small, or in
 * main if it was evicted lately. */
static bool put_room(struct actor *a, struct put *put, const struct found *f, struct room *room)
{
	struct region *r = a->region;
	uint32_t units = draft_units(&put->draft);
	if (unlikely(namespace_quota(r, put->key.ns) != 0) && geo_has_limited(&r->geo))
		return room_limited(a, units, room);
	unsigned class = expiry_class(r, draft_end(&put->draft)), pool = POOL_SMALL;
	if (f != NULL) {
		pool = segword_pool(load_acquire(region_segword(r, region_segment_of(r, f->entry.place))));
		if (room_again(a, units, pool, class, room))
			return true;
	} else if (!put->ghost && !put->key.chunk && ghost_take(r, put->key.hash)) {
		put->ghost = true; /* it is taken once, but room may have to be made first */
		count(a, ghost_hits, 1);
	}
	if (f == NULL && put->ghost)
		pool = POOL_MAIN;
	return (f == NULL && room_fit(a, units, pool, class, r->geo.segments / INSERT_AGE_PART, room))
			|| room_append(a, units, pool, class, NEED_NORMAL, room);
}

/* The large value that a chunk or a manifest belongs to; 0 if it is neither. */
static uint64_t large_version(const struct put *put)
{
	if (put->key.chunk)
		return bytes_load64(put->key.data);
	return (put->draft.fields & FIELD_KIND) == KIND_MANIFEST ? ((const struct chunks *)put->draft.value)->version : 0;
}

/* In a namespace with a quota. */
static cold enum larder_status put_within_quota(struct actor *a, struct put *put, const struct found *f)
{
	int64_t units = draft_units(&put->draft), more = units - (f != NULL ? (int64_t)f->entry.units : 0);
	if ((uint64_t)units * UNIT_BYTES > namespace_quota(a->region, put->key.ns))
		return LARDER_TOO_LARGE;
	if (more <= 0 || !quota_exceeded(a->region, put->key.ns, more))
		return LARDER_OK;
	if (put->flags & LARDER_NO_EVICT)
		return LARDER_WOULD_EVICT;
	(void)quota_make_room(a, put->key.ns, more, f != NULL ? f->slot : NULL, large_version(put));
	return LARDER_OK;
}

/* Each time but the first, another one took the room that was made; or all of this is damage, which promises room and has none. */
#define ROOMS_MAX 256u

/* No free segment: nothing may be held while we work for one, else we could wait for ourselves. */
static cold enum larder_status put_make_room(struct actor *a, struct put *put)
{
	hazard_clear(a, HAZARD_OLD);
	bool live = !(put->flags & LARDER_NO_EVICT);
	if (put->rooms++ < ROOMS_MAX && evict_need(a, live))
		return LARDER_OK;
	if (!live)
		return LARDER_WOULD_EVICT;
	count(a, no_room, 1);
	return LARDER_NO_ROOM;
}

/* ---- Publishing ---------------------------------------------------------------------------------------------------------------------- */

static void put_write(struct actor *a, struct put *put, struct room *room, enum entry_status status)
{
	uint64_t head = entry_write(room->shm, &put->draft, room_open(room));
	room_seal_entry(a, room, head_with_status(head, status), draft_end(&put->draft));
}

static bool put_over(struct actor *a, struct put *put, struct found *f, struct room *room)
{
	uint32_t ns = put->key.ns;
	put_write(a, put, room, ENTRY_COMMITTED);
	if (!index_replace(a, &put->key, f, room)) {
		room_abandon(a, room);
		return false;
	}
	room_leave(a);
	if (room->place.units != f->entry.units && likely(!put->tallied))
		namespace_tally(a, ns, 0, (int64_t)room->place.units - (int64_t)f->entry.units);
	return true;
}

static bool put_into_hole(struct actor *a, struct put *put, struct found *f, struct room *room)
{
	put_write(a, put, room, ENTRY_PENDING);
	enum insert done = index_insert(a, &put->key, f, room);
	if (done == INSERT_AGAIN) {
		room_abandon(a, room);
		return false;
	}
	room_leave(a);
	if (done == INSERT_LOST)
		return false;
	namespace_tally(a, put->key.ns, !put->key.chunk, put->tallied ? 0 : room->place.units);
	count(a, inserts, !put->key.chunk && !put->lease);
	return true;
}

/* Of a large value all, though what is put here is but its manifest. */
static size_t put_value_bytes(const struct put *put)
{
	struct chunks c;
	if (likely((put->draft.fields & FIELD_KIND) != KIND_MANIFEST))
		return put->draft.value_bytes;
	memcpy(&c, put->draft.value, sizeof c);
	return c.bytes;
}

static bool put_publish(struct actor *a, struct put *put, struct found *f, bool found, struct room *room)
{
	int64_t more = (int64_t)room->place.units - (found ? (int64_t)f->entry.units : 0);
	/* With a quota before the entry is there: whoever dies in between has taken too much of it, not too little. */
	put->tallied = unlikely(namespace_quota(a->region, put->key.ns) != 0) && more > 0;
	if (put->tallied)
		namespace_tally(a, put->key.ns, 0, more);
	if (!(found ? put_over(a, put, f, room) : put_into_hole(a, put, f, room))) {
		if (put->tallied)
			namespace_tally(a, put->key.ns, 0, -more);
		return false;
	}
	if (unlikely(put->lease)) /* what is computed is costly, and lost with its lease */
		octet_store_hint(found ? f->frequency : probe_frequency(&put->key, f->hole), FREQUENCY_MAX);
	count(a, sets, !put->key.chunk && !put->lease);
	count(a, inserted_bytes, room->place.units * UNIT_BYTES);
	if (likely(!put->key.chunk && !put->lease))
		watch_set(a, put->key.hash, put->key.ns, put->key.data, put->key.bytes, put_value_bytes(put), put->draft.expiry);
	return true;
}

/* ---- The loop ----------------------------------------------------------------------------------------------------------------------------- */

enum put_step { STEP_AGAIN, STEP_END };

struct chunks chunks_of(const struct region *r, const struct entry *e)
{
	struct chunks c = { 0 };
	if (head_kind(e->head) != KIND_MANIFEST || e->value_bytes < sizeof c)
		return c;
	memcpy(&c, e->value, sizeof c);
	return c.bytes <= r->geo.value_max_bytes ? c : (struct chunks){ 0 };
}

/* A plain set looks at nothing that the entry contains; all others must not make a damaged value good again. */
static bool put_sound(struct actor *a, const struct put *put, const struct found *f)
{
	bool blind = put->decide == put_by_mode && put->mode == LARDER_SET;
	if (blind || entry_checksum_good(&f->entry))
		return true;
	count(a, checksum_errors, 1);
	return false;
}

/* What was found, as the operation may see it: NULL if it is expired, flushed or damaged, and to most if it is stale or has no
 * value.  Identity stays: it is written over. */
static enum put_next put_look(struct actor *a, struct put *put, const struct found *f, bool found)
{
	enum life life = found ? entry_life(a->region, &f->entry) : LIFE_FLUSHED;
	bool sound = !life_is_over(life) && put_sound(a, put, f), live = life == LIFE_LIVE && sound;
	put->live = live;
	put->life = sound ? life : LIFE_FLUSHED;
	if (put->kept_word != 0 && (!live || f->word != put->kept_word)) {
		put->answer = LARDER_CHANGED;
		return PUT_ANSWER;
	}
	enum put_next next = put->decide(a, put, live || (put->raw && sound) ? f : NULL);
	/* Nobody answers "expired" before having taken the entry out. */
	if (next == PUT_ANSWER && found && life_is_over(put->life))
		return PUT_REMOVE;
	return next;
}

static enum put_step put_remove(struct actor *a, struct put *put, struct found *f, enum larder_status *status)
{
	bool expired = entry_life(a->region, &f->entry) == LIFE_EXPIRED;
	if (!expired && generation_sees(namespace_generation(a->region, put->key.ns), entry_generation(&f->entry)) == VISIBLE_STALE) {
		*status = put->answer; /* softly flushed: it stays readable as stale */
		return STEP_END;
	}
	if (!index_remove(a, f, expired ? COUNTER_expirations : put->lease ? COUNTER_leases_released : COUNTER_flushed))
		return STEP_AGAIN;
	*status = put->answer;
	return STEP_END;
}

static enum put_step put_write_found(struct actor *a, struct put *put, struct found *f, bool found, enum larder_status *status)
{
	struct room room;
	if (!found && f->hole == PROBE_SLOTS) {
		if (put->flags & LARDER_NO_EVICT) {
			*status = LARDER_WOULD_EVICT;
			return STEP_END;
		}
		index_make_hole(a, &put->key);
		return STEP_AGAIN;
	}
	if (unlikely(draft_units(&put->draft) > geo_units(&a->region->geo))) {
		*status = LARDER_TOO_LARGE; /* a long key in a cache of small segments: not even the manifest of its value fits */
		return STEP_END;
	}
	if (unlikely(namespace_quota(a->region, put->key.ns) != 0)) {
		*status = put_within_quota(a, put, found ? f : NULL);
		if (*status != LARDER_OK)
			return STEP_END;
	}
	if (unlikely(!put_room(a, put, found ? f : NULL, &room))) {
		*status = put_make_room(a, put); /* a frozen counter stays: it can be read, and is moved when there is room */
		return *status == LARDER_OK ? STEP_AGAIN : STEP_END;
	}
	struct chunks chunks = found ? chunks_of(a->region, &f->entry) : (struct chunks){ 0 };
	if (!put_publish(a, put, f, found, &room))
		return STEP_AGAIN;
	put->replaced = chunks;
	*status = LARDER_OK;
	return STEP_END;
}

static enum put_step put_once(struct actor *a, struct put *put, enum larder_status *status)
{
	struct found f;
	uint32_t generation = generation_present(namespace_generation(a->region, put->key.ns));
	put->generation = generation;
	if (unlikely(put->fresh_tags)) /* loaded before anything is looked at, as the generation is */
		put->draft.tags.clock = tag_clock_for(a, put->draft.tags.number, extras_tags(put->draft.extras));
	enum search s = index_find_for_change(a, &put->key, &f);
	if (unlikely(s == SEARCH_AGAIN)) {
		*status = contended(a);
		return STEP_END;
	}
	bool found = s == SEARCH_FOUND;
	if (found && unlikely((int32_t)(entry_generation(&f.entry) - generation) > 0)
			&& generation_present(namespace_generation(a->region, put->key.ns)) != generation)
		return STEP_AGAIN; /* it is of a generation after ours: take the fresh one; ahead of that, too, it is damage */
	switch (put_look(a, put, &f, found)) {
	case PUT_ANSWER:
		*status = put->answer;
		return STEP_END;
	case PUT_REMOVE:
		return put_remove(a, put, &f, status);
	case PUT_AGAIN:
		return STEP_AGAIN;
	default:
		/* What makes an add or a first increment true is that the key is absent in this generation, not in the next one. */
		if (!put->live && generation_present(namespace_generation(a->region, put->key.ns)) != generation)
			return STEP_AGAIN;
		if (unlikely(put->dated))
			generation = put->as_of;
		else if (unlikely(put->same_age) && put->live)
			generation = entry_generation(&f.entry);
		draft_complete(a, put, put->live ? &f : NULL, generation);
		return put_write_found(a, put, &f, found, status);
	}
}

enum larder_status put_run(struct actor *a, struct put *put)
{
	enum larder_status status = LARDER_OK;
	if (!(put->flags & LARDER_NO_EVICT))
		evict_share(a, draft_units(&put->draft));
	do { /* progress: AGAIN means that another one's change of this key or bucket went through, or that room was made */
		if (put_once(a, put, &status) == STEP_END)
			return status;
	} while (actor_retries(a));
	return contended(a);
}

/* ---- Deciding ------------------------------------------------------------------------------------------------------------------------------ */

/* LARDER_CAS on a counter: frozen in the value that the caller saw, or not at all. */
static enum put_next cas_counter(struct put *put, const struct found *f)
{
	uint64_t cell = load_acquire(entry_cell(&f->entry)) & ~CELL_FROZEN;
	if ((hash_bytes(&cell, sizeof cell, entry_stamp(&f->entry)) | 1) != put->version) {
		put->answer = LARDER_CHANGED;
		return PUT_ANSWER;
	}
	struct word *w = entry_cell(&f->entry);
	return cas_acq_rel(w, cell, cell | CELL_FROZEN) || load_acquire(w) == (cell | CELL_FROZEN) ? PUT_WRITE : PUT_AGAIN;
}

enum put_next put_by_mode(struct actor *a, struct put *put, const struct found *f)
{
	(void)a;
	put->answer = LARDER_MISS;
	if (put->mode == LARDER_SET)
		return PUT_WRITE;
	if (put->mode == LARDER_ADD) {
		put->answer = LARDER_EXISTS;
		return f == NULL ? PUT_WRITE : PUT_ANSWER;
	}
	if (f == NULL)
		return PUT_ANSWER;
	if (put->mode == LARDER_REPLACE)
		return PUT_WRITE;
	if (entry_is_counter(&f->entry))
		return cas_counter(put, f);
	put->answer = LARDER_CHANGED;
	return entry_version(&f->entry) == put->version ? PUT_WRITE : PUT_ANSWER;
}

void put_thaw_to_digits(struct put *put, const struct found *f, const void **value, uint32_t *value_bytes)
{
	*value = f->entry.value;
	*value_bytes = f->entry.value_bytes;
	if (!entry_is_counter(&f->entry))
		return;
	*value_bytes = cell_format(cell_freeze(entry_cell(&f->entry)), put->digits);
	*value = put->digits;
}
