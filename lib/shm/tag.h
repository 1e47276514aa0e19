/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tags: names that entries carry so that all of them can be invalidated at once.
 *
 * One clock for all tags, counted from 1, and a table of words; a tag is the hash of its name, and its word the clock at its
 * last invalidation.  An entry carries the clock of the moment it was begun, and is good while the words of all its tags
 * are below that.  Two names with one word are invalidated together: too much goes, never too little.
 *
 * To invalidate: raise the word to the clock, then move the clock on by CAS; a lost CAS means that the clock was not what the
 * word says, and it is done again.  So all that was begun before is dead from the raising on, and what is begun after the
 * return is not.  A setter that finds one of its words at the clock meets an invalidation that is under way, of a
 * process that is dead perhaps: it moves the clock itself (tests/model/pml, tag).
 * TAG: the word is loaded after the entry that is judged.
 */
#ifndef LARDER_SHM_TAG_H
#define LARDER_SHM_TAG_H

#include "shm/actor.h"
#include "shm/entry.h"

/* The tag's place in the table. */
uint16_t tag_number(const struct region *r, const char *name);

/* The clock as it is now, without regard to any tag. */
uint64_t tag_clock(const struct region *r);
/* The clock for an entry with these tags: above each of their words, so that what is begun now is not born dead, unless one of
 * them is invalidated again meanwhile. */
uint64_t tag_clock_for(struct actor *a, const uint16_t *number, unsigned count);
/* Is each of these words below `clock`? */
bool tags_below(const struct region *r, const uint16_t *number, unsigned count, uint64_t clock);
/* Has none of the entry's tags been invalidated? */
bool entry_tags_good(const struct region *r, const struct entry *e);

/* Once this returns, no entry with that tag that was begun before the call is good.  Lock-free. */
void tag_invalidate(struct actor *a, uint16_t number);

#endif
