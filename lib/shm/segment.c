/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments as writers see them: cells, cursors, sealing.
 *
 * A cell names the active segment of one pool, TTL class and stripe.  A new one is installed by naming a FREE segment in
 * the cell first; then anyone who meets a named FREE segment activates it for that cell (tests/model/pml, act): whoever
 * dies between the two steps, the segment is still FREE and still found.
 * Invariants: a cursor only moves forward within a life, and to the next life by CAS; a writer touches a segment's bytes
 * only while its HAZARD_SEGMENT names it and after it saw the segment ACTIVE (append) or ACTIVE or SEALED (reuse) in the
 * life it remembers; so DRAINING → WALKING, which waits for these hazards, is the end of all writing.
 */
#include "shm/place.h"

#include <sched.h>

static unsigned cell_index(const struct region *r, unsigned pool, unsigned class, unsigned stripe)
{
	if (unlikely(class >= r->geo.classes)) /* a survivor's, from a damaged segment word */
		class = r->geo.classes - 1;
	return (pool * r->geo.classes + class) * r->geo.stripes + stripe;
}

static unsigned stripe_here(const struct region *r)
{
	if (r->geo.stripes == 1)
		return 0;
	int cpu = sched_getcpu();
	return cpu < 0 ? 0 : (unsigned)cpu % r->geo.stripes;
}

unsigned class_of_ttl(const struct region *r, uint64_t ttl_ms)
{
	static const uint64_t up_to[] = { 0, 10000, 120000, 1800000, 21600000 };
	unsigned class = 0;
	if (ttl_ms != 0)
		for (class = 1; class < 5 && ttl_ms > up_to[class]; class++)
			;
	return class < geo_ttl_classes(&r->geo) ? class : geo_ttl_classes(&r->geo) - 1;
}

/* ---- What a segment remembers of its life ------------------------------------------------------------------------------- */

static uint64_t expiry_word(uint64_t inc, uint64_t expiry) { return inc << TIME_BITS | expiry; }

cold void segment_raise_expiry(struct shm_segment *s, uint64_t inc, uint64_t latest)
{
	for (;;) { /* progress: a lost CAS means that another writer raised it */
		uint64_t seen = load_acquire(&s->expiry);
		if (segment_lasts(seen, inc, latest) || cas_acq_rel(&s->expiry, seen, expiry_word(inc, latest)))
			return;
	}
}

uint64_t segment_expiry(const struct region *r, uint32_t segment, uint64_t inc)
{
	uint64_t seen = load_acquire(&region_segment(r, segment)->expiry);
	return seen >> TIME_BITS == (inc & (UINT64_MAX >> TIME_BITS)) ? seen & TIME_MASK : TIME_MASK;
}

void segment_note_start(const struct region *r, uint32_t segment, uint64_t inc, uint64_t unit)
{
	uint64_t line = unit / LINE_UNITS, tag = inc << STARTS_TAG_SHIFT, bit = UINT64_C(1) << line % STARTS_PER_WORD;
	struct word *w = &region_starts(r, segment)[line / STARTS_PER_WORD];
	for (;;) { /* progress: a lost CAS means that another writer noted its start in this word */
		uint64_t seen = load_acquire(w);
		bool ours = seen >> STARTS_TAG_SHIFT == tag >> STARTS_TAG_SHIFT;
		if (ours && seen & bit)
			return;
		if (cas_acq_rel(w, seen, (ours ? seen : tag) | bit))
			return;
	}
}

void segment_stamp_age(struct actor *a, uint32_t segment, uint64_t inc)
{
	uint64_t number = add_hint(&region_super(a->region)->seals, 1) + 1;
	store_hint(&region_segment(a->region, segment)->seal, life_word(inc, number & ((1u << LIFE_VALUE_BITS) - 1)));
}

uint32_t segment_age(const struct region *r, uint32_t segment)
{
	uint64_t now = load_hint(&region_super(r)->seals);
	return (uint32_t)((now - life_value(load_hint(&region_segment(r, segment)->seal))) & ((1u << LIFE_VALUE_BITS) - 1));
}

bool segment_seal(struct actor *a, uint32_t segment, uint64_t seen, bool aged)
{
	if (!cas_seq_cst(region_segword(a->region, segment), seen, segword_with_state(seen & ~(UINT64_C(255) << SEGWORD_CELL_SHIFT), SEGMENT_SEALED)))
		return false;
	if (!aged)
		segment_stamp_age(a, segment, segword_inc(seen));
	return true;
}

/* ---- Free segments --------------------------------------------------------------------------------------------------------- */

void segment_census(const struct region *r, struct segment_census *c)
{
	*c = (struct segment_census){ 0 };
	for (uint32_t i = 0; i < r->geo.segments; i++) {
		uint64_t w = load_acquire(region_segword(r, i));
		if (segword_state(w) == SEGMENT_FREE)
			c->free++;
		else if (segword_state(w) >= SEGMENT_DRAINING)
			c->recycling++;
		else if (segword_pool(w) == POOL_SMALL)
			c->small++;
		else
			c->main++;
		c->limbo += segword_state(w) == SEGMENT_LIMBO;
	}
}

uint32_t segments_free(struct actor *a)
{
	struct segment_census c;
	segment_census(a->region, &c);
	uint64_t pressure = c.free < a->region->geo.reserve;
	struct word *hint = &region_super(a->region)->pressure;
	if (load_hint(hint) != pressure)
		store_hint(hint, pressure);
	return c.free;
}

/* A FREE segment, from a random one on, if more than `keep` are there. */
static bool find_free(struct actor *a, uint32_t keep, uint32_t *segment)
{
	uint32_t n = a->region->geo.segments;
	if (segments_free(a) <= keep)
		return false;
	uint32_t start = actor_random(a) % n;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = start + i < n ? start + i : start + i - n;
		if (segword_state(load_acquire(region_segword(a->region, at))) == SEGMENT_FREE) {
			*segment = at;
			return true;
		}
	}
	return false;
}

/* ---- Appending ---------------------------------------------------------------------------------------------------------------- */

enum append { APPENDED, APPEND_AGAIN, APPEND_FULL };

/* What is to be written does not fit in the end of the segment, but smaller entries may: it becomes a place of ours. */
static enum append append_end(struct actor *a, uint32_t segment, uint64_t segword, uint64_t cursor)
{
	const struct region *r = a->region;
	uint64_t unit = life_value(cursor), rest = geo_units(&r->geo) - unit;
	if (unit > geo_units(&r->geo) || rest < REST_UNITS_MIN)
		return APPEND_FULL;
	if (!cas_acq_rel(&region_segment(r, segment)->cursor, cursor, cursor + rest))
		return APPEND_AGAIN;
	retire_unused(a, &(struct retired){ .place = geo_place(&r->geo, segment, unit), .inc = segword_inc(segword), .units = (uint32_t)rest,
		.kind = retire_kind(segword_pool(segword), segword_class(segword)) | RETIRE_FRESH });
	return APPEND_FULL;
}

static enum append append_at(struct actor *a, uint32_t segment, uint64_t segword, uint32_t units, struct room *room)
{
	struct region *r = a->region;
	struct shm_segment *s = region_segment(r, segment);
	uint64_t inc = segword_inc(segword), cursor = load_acquire(&s->cursor);
	if (unlikely(!life_is(cursor, inc)))
		return APPEND_FULL; /* damage, or a life that has gone on */
	uint64_t unit = life_value(cursor);
	if (unit + units > geo_units(&r->geo))
		return append_end(a, segment, segword, cursor);
	if (!cas_acq_rel(&s->cursor, cursor, cursor + units))
		return APPEND_AGAIN;
	uint64_t place = geo_place(&r->geo, segment, unit);
	*room = (struct room){ .shm = region_entry(r, place), .segment = segment,
		.place = { .place = place, .inc = inc, .units = units, .kind = retire_kind(segword_pool(segword), segword_class(segword)) } };
	return APPENDED;
}

/* One look at the cell's segment.  FULL also stands for a segment that is not this cell's any more. */
static enum append append_in_cell(struct actor *a, uint64_t cell_word, unsigned cell, unsigned pool, unsigned class,
		uint32_t units, struct room *room)
{
	struct region *r = a->region;
	uint32_t segment = (uint32_t)life_value(cell_word) - 1;
	if (unlikely(segment >= r->geo.segments))
		return APPEND_FULL; /* 0: none yet; else damage, replaced like an old one */
	hazard_name(a, HAZARD_SEGMENT, segment);
	struct word *word = region_segword(r, segment);
	uint64_t w = load_seq_cst(word);
	if (!life_is(cell_word, segword_inc(w)))
		return APPEND_FULL;
	if (segword_state(w) == SEGMENT_FREE) {
		cas_seq_cst(word, w, segword_active(segword_inc(w), cell, pool, class));
		segment_stamp_age(a, segment, segword_inc(w));
		return APPEND_AGAIN;
	}
	if (segword_state(w) != SEGMENT_ACTIVE || segword_cell(w) != cell)
		return APPEND_FULL;
	enum append done = append_at(a, segment, w, units, room);
	if (done == APPEND_FULL)
		segment_seal(a, segment, w, false);
	return done;
}

bool room_append(struct actor *a, uint32_t units, unsigned pool, unsigned class, enum room_need need, struct room *room)
{
	struct region *r = a->region;
	unsigned cell = cell_index(r, pool, class, stripe_here(r));
	struct word *cell_word = &region_super(r)->cell[cell];
	while (actor_retries(a)) { /* progress: each lost CAS is another writer's reservation, sealing or new segment */
		uint64_t seen = load_acquire(cell_word);
		enum append done = append_in_cell(a, seen, cell, pool, class, units, room);
		if (likely(done == APPENDED))
			return true;
		if (done == APPEND_AGAIN)
			continue;
		hazard_clear(a, HAZARD_SEGMENT);
		uint32_t fresh;
		if (!find_free(a, need == NEED_SURVIVOR ? 0 : SURVIVORS_RESERVE, &fresh))
			return false;
		uint64_t w = load_acquire(region_segword(r, fresh));
		if (segword_state(w) == SEGMENT_FREE)
			cas_seq_cst(cell_word, seen, life_word(segword_inc(w), fresh + 1));
	}
	hazard_clear(a, HAZARD_SEGMENT);
	return false;
}

/* The front of a place that is held is for the entry, the rest stays ready.  Whoever reads what was there without a hazard is told
 * so by its head, before a byte behind the front is written. */
static void room_split(struct actor *a, struct retired *front, uint32_t units)
{
	struct retired rest = { .place = front->place + units, .inc = front->inc, .units = front->units - units,
		.kind = front->kind | RETIRE_FRESH };
	front->units = units;
	if (rest.units < REST_UNITS_MIN)
		return;
	if (!(front->kind & RETIRE_FRESH))
		(void)entry_reopen(region_entry(a->region, front->place));
	retire_unused(a, &rest);
}

bool room_fit(struct actor *a, uint32_t units, unsigned pool, unsigned class, uint32_t age_max, struct room *room)
{
	struct retired p;
	while (retire_fit(a, units, retire_kind(pool, class), age_max, &p)) {
		if (!place_hold(a, p.place, p.inc))
			continue;
		room_split(a, &p, units);
		*room = (struct room){ .shm = region_entry(a->region, p.place), .segment = region_segment_of(a->region, p.place),
			.place = p, .reused = !(p.kind & RETIRE_FRESH) };
		room->place.kind &= (uint16_t)~RETIRE_FRESH;
		return true;
	}
	return false;
}

void room_abandon(struct actor *a, struct room *room)
{
	if (room->reused || room->written)
		retire_unused(a, &room->place); /* else its start was never noted: it comes back with the segment */
	hazard_clear(a, HAZARD_SEGMENT);
}
