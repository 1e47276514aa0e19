/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Places that are in no slot and may be written: those that once were in one, and those that were left over.
 *
 * A place belongs to the participant whose CAS took it out of its slot.  It goes on that participant's private list of
 * RETIRED places; after a batch of them one scan of all hazards tells which of them nobody names (RETIRE edge), and
 * these are READY to hold an entry of the same TTL class and pool that is no larger; what is left of them stays ready.
 * Places are split, never joined: so whoever names a place, names all of what it has been since its segment began.  FRESH
 * places were never in a slot: such rests, and the ends of segments where an entry did not fit.  If the owner dies its
 * lists are forgotten and the space comes back with the segment.  The lists live in memory that a fork wipes.
 */
#ifndef LARDER_SHM_RETIRE_H
#define LARDER_SHM_RETIRE_H

#include <stdbool.h>
#include <stdint.h>

#define RETIRED_BATCH 1024u
#define READY_MAX 2048u
#define READY_CHAINS 512u
#define REST_UNITS_MIN 8u /* the smallest piece worth keeping: of a place that was too large, of the end of a segment */

struct retired {
	uint64_t place;
	uint64_t inc;   /* of its segment, all bits */
	uint32_t units;
	uint16_t kind;  /* pool and class */
	uint16_t next;  /* of its chain, + 1 */
};

struct retire {
	uint32_t retired_count;
	uint32_t retired_units;
	uint32_t batch_units;  /* so many are a batch; 0: not yet known */
	uint32_t ready_count;  /* nodes ever used */
	uint32_t free_node;    /* chain of unused nodes, + 1 */
	uint16_t chain[READY_CHAINS]; /* newest first, + 1 */
	uint64_t filled[READY_CHAINS / 64]; /* bits of chains that may have places; none of one that has */
	struct retired retired[RETIRED_BATCH];
	struct retired ready[READY_MAX];
	uint64_t swept[READY_MAX / 64]; /* bits of those that were here at the last sweep */
};

static inline uint16_t retire_kind(unsigned pool, unsigned class) { return (uint16_t)(class << 1 | pool); }
static inline unsigned retire_pool(uint16_t kind) { return kind & 1; }
/* In a kind: no entry has begun here in this life of the segment. */
#define RETIRE_FRESH 0x8000u

#endif
