/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The board: words under a name that all processes of the cache share.  What a manager or a store has to agree on across
 * processes (a mode, a breaker's state, who listens, rates) is a row of BOARD_WORDS words, all 0 at first, and changed by
 * CAS and fetch_add alone; what they mean is the business of whoever knows the name.  Rows are found by label.h and stay
 * for the life of the cache.  A crash leaves a row whose name is not yet whole: the next to look for that name completes it.
 */
#ifndef LARDER_SHM_BOARD_H
#define LARDER_SHM_BOARD_H

#include "shm/label.h"
#include "shm/region.h"

#define BOARD_NAME_BYTES (BOARD_TEXT_WORDS * 8u)

/* The BOARD_WORDS words of `name` (1 .. BOARD_NAME_BYTES bytes), the same in all processes, valid as long as the region
 * is open.  LARDER_OK; LARDER_NO_ROOM: every row has a name; LARDER_INVALID: no such name; LARDER_MISS: an inspector, and
 * nobody has claimed it.  Says why in larder_message().  Lock-free, bounded by the number of rows. */
enum larder_status board_find(const struct region *r, const char *name, struct word **words);
/* Row number `row`, for those who look: false past the last.  name is "" where there is none. */
bool board_row(const struct region *r, uint32_t row, char name[BOARD_NAME_BYTES + 1], const struct word **words);
/* A name for people: bytes that are not printable ASCII become '?'. */
void board_name_printable(char *name);

#endif
