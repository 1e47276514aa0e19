/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hazards: whoever is going to touch an entry's bytes names its place first and then looks at the slot again; a place
 * is reused, and a segment recycled, only when no living participant names it.
 *
 * HAZARD: the naming store and the look that follows it are seq_cst, and so are the unlinking CAS and the scan that
 * follows it on the other side: either the scan sees the name, or the look sees the slot changed.
 * A stopped participant holds back what it names, and nothing else; a dead one is found out by its lock.
 */
#ifndef LARDER_SHM_HAZARD_H
#define LARDER_SHM_HAZARD_H

#include "shm/actor.h"

static inline void hazard_name_by(struct shm_participant *self, enum hazard which, uint64_t place_or_segment)
{
#ifdef LARDER_ABLATE_HAZARD
	store_hint(&self->hazard[which], place_or_segment + 1);
#else
	/* HAZARD (release): the name is seen by every scan that comes after the slot's next load. */
	store_seq_cst(&self->hazard[which], place_or_segment + 1);
#endif
}
static inline void hazard_name(struct actor *a, enum hazard which, uint64_t place_or_segment)
{
	hazard_name_by(a->self, which, place_or_segment);
}

static inline void hazard_clear_by(struct shm_participant *self, enum hazard which)
{
	/* RETIRE (release): reads of the entry's bytes end before the name goes. */
	store_release(&self->hazard[which], 0);
}
static inline void hazard_clear(struct actor *a, enum hazard which) { hazard_clear_by(a->self, which); }

/* True if a participant, `a` itself included, names a place in the segment, or the segment for writing; *blocker is the
 * one found.  Whether it lives takes a system call: that is asked of a blocker only, and only if `ask`; else it counts. */
bool hazard_in_segment(struct actor *a, uint32_t segment, bool ask, uint32_t *blocker);
/* The same of writer hazards alone. */
bool hazard_writer(struct actor *a, uint32_t segment, bool ask, uint32_t *blocker);

/* All places named now, sorted, into out[0 .. max); returns their number, or more than max if they do not fit. */
uint32_t hazard_collect(struct actor *a, uint64_t *out, uint32_t max);

#endif
