/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where an entry's bytes come from and go to: segments that are filled and sealed, cells that name the active ones,
 * places that are retired and used again.  Progress and emptying of segments is lib/cache/evict.c's.
 */
#ifndef LARDER_SHM_PLACE_H
#define LARDER_SHM_PLACE_H

#include "base/fault.h"
#include "shm/entry.h"
#include "shm/hazard.h"

/* ---- Retired places (retire.c) ----------------------------------------------------------------------------------------- */

#define RETIRED_UNITS (256u * 1024 / UNIT_BYTES)
#define RETIRED_PART 256u /* nor more than this part of the arena */

/* A place that was never in any slot: nobody can name it. */
void retire_unused(struct actor *a, const struct retired *place);
/* Moves what nobody names from the retired places to the ready ones. */
cold void retire_scan(struct actor *a);
/* Takes over a place that this participant's CAS took out of its slot. */
static inline void retire_at(struct actor *a, uint64_t place, uint64_t inc, uint32_t units, uint16_t kind)
{
	struct retire *l = &a->retire;
#if LARDER_FAULT == 5
	retire_unused(a, &(struct retired){ .place = place, .inc = inc, .units = units, .kind = kind });
	return;
#endif
	struct retired *at = &l->retired[l->retired_count++];
	at->place = place;
	at->inc = inc;
	at->units = units;
	at->kind = kind;
	l->retired_units += units;
	if (unlikely(l->retired_count == RETIRED_BATCH) || unlikely(l->retired_units > l->batch_units))
		retire_scan(a);
}
static inline void retire_place(struct actor *a, const struct retired *p) { retire_at(a, p->place, p->inc, p->units, p->kind); }
/* Sizes that share a chain: none below 64 units, then eight chains to an octave. */
#define SIZES_EXACT 64u
static inline uint32_t retire_size(uint32_t units)
{
	if (likely(units < SIZES_EXACT))
		return units;
	uint32_t log = 31 - (uint32_t)__builtin_clz(units);
	return SIZES_EXACT + (log - 6) * 8 + (units >> (log - 3) & 7);
}
static inline uint32_t retire_chain(uint32_t units, uint32_t kind) { return (retire_size(units) + (kind << 5) + (kind >> 15 << 8)) & (READY_CHAINS - 1); }
/* A ready place of at least these units and of this kind, FRESH or not, in an open segment not older than age_max seals. */
bool retire_fit(struct actor *a, uint32_t units, uint16_t kind, uint32_t age_max, struct retired *place);
/* Its lines, if they are not more than three. */
static inline void place_expect(const struct region *r, uint64_t place, uint32_t units)
{
	const char *line = (const char *)region_entry(r, place);
	__builtin_prefetch(line, 1);
	__builtin_prefetch(line + units * (UNIT_BYTES / 2), 1);
	__builtin_prefetch(line + (units - 1) * UNIT_BYTES, 1);
}
/* The newest ready place of exactly these units and kind.  The same as retire.c's ready_unlink() at its end, written out: called, it is
 * five instructions more in each plain set. */
static inline bool retire_take(struct actor *a, uint32_t units, uint16_t kind, uint64_t *place, uint64_t *inc)
{
	struct retire *l = &a->retire;
	for (uint16_t *link = &l->chain[retire_chain(units, kind)]; *link != 0; link = &l->ready[*link - 1].next) {
		uint32_t number = *link;
		struct retired *node = &l->ready[number - 1];
		if (unlikely(node->units != units) || unlikely(node->kind != kind))
			continue;
		*place = node->place;
		*inc = node->inc;
		uint16_t next = node->next;
		*link = next;
		node->next = (uint16_t)l->free_node;
		l->free_node = number;
		if (likely(next != 0)) /* its lines will be written next: by then they should be here */
			place_expect(a->region, l->ready[next - 1].place, units);
		return true;
	}
	return false;
}

/* ---- Rooms (segment.c) -------------------------------------------------------------------------------------------------- */

/* Space for one entry, held by the writer hazard until room_leave() or room_abandon(). */
struct room {
	struct shm_entry *shm;
	struct retired place; /* what to retire it as */
	uint32_t segment;
	bool reused;  /* was in a slot before: its start is noted */
	bool written; /* room_seal_entry() was here */
};

/* Ten seconds, two minutes, half an hour, six hours, longer; class 0 never expires. */
unsigned class_of_ttl(const struct region *r, uint64_t ttl_ms);

/* Names the segment of a place that is to be written again, and looks whether it may still be written to. */
static inline bool place_hold(struct actor *a, uint64_t place, uint64_t inc)
{
	const struct region *r = a->region;
	uint32_t segment = region_segment_of(r, place);
	struct word *segword = region_segword(r, segment);
	hazard_name(a, HAZARD_SEGMENT, segment);
	uint64_t w = load_seq_cst(segword);
	return likely(segword_is_open(w)) && likely(segword_inc(w) == inc);
}
/* A ready place of this size and kind for an overwrite, held; false if there is none. */
static inline bool place_reuse(struct actor *a, uint32_t units, uint16_t kind, uint64_t *place, uint64_t *inc)
{
	while (retire_take(a, units, kind, place, inc))
		if (likely(place_hold(a, *place, *inc)))
			return true;
	return false;
}
/* The same as a room. */
static inline bool room_reuse(struct actor *a, uint32_t units, unsigned pool, unsigned class, struct room *room)
{
	struct retired p = { .units = units, .kind = retire_kind(pool, class) };
	if (!place_reuse(a, units, p.kind, &p.place, &p.inc))
		return false;
	*room = (struct room){ .shm = region_entry(a->region, p.place), .segment = region_segment_of(a->region, p.place), .place = p, .reused = true };
	return true;
}

#define AGE_ANY UINT32_MAX
/* Room in a ready place of this size or larger, the rest of which stays ready, in a segment not older than age_max seals: what is
 * put into an older one leaves before its time. */
bool room_fit(struct actor *a, uint32_t units, unsigned pool, unsigned class, uint32_t age_max, struct room *room);

enum room_need {
	NEED_NORMAL,   /* leave the survivors' reserve alone */
	NEED_SURVIVOR, /* may use it */
};
/* Appends to the active segment of pool and class.  False: there is no free segment for it. */
bool room_append(struct actor *a, uint32_t units, unsigned pool, unsigned class, enum room_need need, struct room *room);

/* Before the first byte is written: the reuse count that the entry's head is to carry.  Whoever reads without a hazard
 * finds it odd from here on until the head is stored. */
static inline uint64_t entry_reopen(struct shm_entry *shm)
{
	uint64_t odd = head_reuse(load_hint(&shm->head)) | 1;
	store_hint(&shm->head, odd << HEAD_REUSE_SHIFT);
	/* REUSE (release): the odd count is seen by all who see a byte of what is written next. */
	fence_release();
	return (odd + 1) & 0xffff;
}
static inline uint64_t room_open(struct room *room) { return room->reused ? entry_reopen(room->shm) : 0; }
/* True if the segment's expiry word says that it holds what lives as long as `latest` (TIME_MASK: for ever). */
static inline bool segment_lasts(uint64_t word, uint64_t inc, uint64_t latest)
{
	uint64_t lasts = word - (inc << TIME_BITS); /* of another incarnation it is no time: above TIME_MASK */
	return lasts - latest <= TIME_MASK - latest;
}
cold void segment_raise_expiry(struct shm_segment *s, uint64_t inc, uint64_t latest);
static inline void segment_outlast(const struct region *r, uint32_t segment, uint64_t inc, uint64_t latest)
{
	struct shm_segment *s = region_segment(r, segment);
	if (unlikely(!segment_lasts(load_acquire(&s->expiry), inc, latest)))
		segment_raise_expiry(s, inc, latest);
}
void segment_note_start(const struct region *r, uint32_t segment, uint64_t inc, uint64_t unit);
/* The entry is written: head stored, expiry of the segment raised, start noted.  Then it may be published. */
static inline void room_seal_entry(struct actor *a, struct room *room, uint64_t head, uint64_t expiry)
{
	struct region *r = a->region;
	segment_outlast(r, room->segment, room->place.inc, expiry == 0 ? TIME_MASK : expiry);
	/* PUBLISH (release): all bytes of the entry are written before its head, and that before the slot that reveals it. */
	store_release(&room->shm->head, head);
	if (!room->reused && !room->written)
		segment_note_start(r, room->segment, room->place.inc, region_unit_of(r, room->place.place));
	room->written = true;
}
/* The writer hazard ends; the entry is published. */
static inline void room_leave(struct actor *a) { hazard_clear(a, HAZARD_SEGMENT); }
/* Gives up a room that was never published. */
void room_abandon(struct actor *a, struct room *room);

/* ---- Segments ------------------------------------------------------------------------------------------------------------ */

struct segment_census { uint32_t free, small, main, recycling, limbo; };
void segment_census(const struct region *r, struct segment_census *census);
/* Counts the free ones and updates the pressure hint. */
uint32_t segments_free(struct actor *a);
/* ACTIVE → SEALED; false if its word is not `seen` any more.  aged: its age goes on from when it was activated. */
bool segment_seal(struct actor *a, uint32_t segment, uint64_t seen, bool aged);
/* Its age begins now. */
void segment_stamp_age(struct actor *a, uint32_t segment, uint64_t inc);
/* How many seals ago, a hint. */
uint32_t segment_age(const struct region *r, uint32_t segment);
/* Latest expiry of its entries in this incarnation, TIME_MASK if one never expires or nothing is known. */
uint64_t segment_expiry(const struct region *r, uint32_t segment, uint64_t inc);

#endif
