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

/* Takes over a place that this participant's CAS took out of its slot. */
void retire_place(struct actor *a, const struct retired *place);
/* A place that was never in any slot: nobody can name it. */
void retire_unused(struct actor *a, const struct retired *place);
/* The newest ready place of exactly these units and kind. */
bool retire_take(struct actor *a, uint32_t units, uint16_t kind, struct retired *taken);

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

/* A ready place of this size and kind for an overwrite; false if there is none. */
bool room_reuse(struct actor *a, uint32_t units, unsigned pool, unsigned class, struct room *room);

enum room_need {
	NEED_NORMAL,   /* leave the survivors' reserve alone */
	NEED_SURVIVOR, /* may use it */
};
/* Appends to the active segment of pool and class.  False: there is no free segment for it. */
bool room_append(struct actor *a, uint32_t units, unsigned pool, unsigned class, enum room_need need, struct room *room);

/* Before the first byte is written: the reuse count that the entry's head is to carry.  Whoever reads without a hazard
 * finds it odd from here on until the head is stored. */
uint64_t room_open(struct room *room);
/* The entry is written: head stored, expiry of the segment raised, start noted.  Then it may be published. */
void room_seal_entry(struct actor *a, struct room *room, uint64_t head, uint64_t expiry);
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
