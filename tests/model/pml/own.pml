/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: an inserter's PENDING entry is aborted, taken out and its place reused before the inserter reads its status: does it learn the truth?
 * pass: | the inserter names its own place before publishing and until it has read its status
 * fail: -DNO_HAZARD | it holds only its writer hazard: it takes another entry's status for its own
 * fail: -DLATE | it names its place after publishing
 *
 * The place holds entry 0 (the inserter's) until the aborter, who took it out and retired it, writes entry 1 there.
 */
#include "common.h"

#define PENDING 1
#define COMMITTED 2
#define ABORTED 3

byte status = PENDING, lives;  /* status of the entry at the place; which entry that is */
bit published, named;
bit rival;                     /* a COMMITTED entry of the same key is in another slot */
bit counted[2];                /* ghost: entry n was COMMITTED */

inline name_own() { named = 1 }

active proctype inserter()
{
	byte seen;

#ifndef NO_HAZARD
#ifndef LATE
	name_own();
#endif
#endif
	published = 1;
#ifdef LATE
	name_own();
#endif
	if
	:: rival -> TRY_CAS(status, PENDING, ABORTED)
	:: else -> d_step { if :: status == PENDING -> status = COMMITTED; counted[lives] = 1; assert(lives == 0) :: else fi }
	fi;
	seen = status;
	assert(seen != COMMITTED || counted[0]);
	named = 0
}

active proctype aborter()
{
	bit done;

	published;
	CAS(status, PENDING, ABORTED, done);
	if
	:: done && !named ->            /* its slot is emptied, no hazard is seen: the place is reused */
		d_step { lives = 1; status = PENDING };
		if
		:: d_step { if :: status == PENDING -> status = COMMITTED; counted[1] = 1 :: else fi }
		:: skip
		fi
	:: else
	fi
}

active proctype other_setter() { rival = 1 }
