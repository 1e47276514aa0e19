/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: a helper decides about a PENDING entry while that entry is aborted and its place reused for another key: does it commit the wrong one?
 * pass: | the helper names the place, looks at the slot again, and the owner does not reuse a named place
 * fail: -DNO_HAZARD | the place is reused under the helper
 * fail: -DNO_RELOAD | the helper does not look again after naming
 *
 * One place, one slot.  Key 2 has a COMMITTED entry elsewhere, so the second entry must never become COMMITTED.
 */
#include "common.h"

#define PENDING 1
#define COMMITTED 2
#define ABORTED 3

byte status = PENDING, key = 1;
bit in_slot = 1, named;

active proctype helper()
{
	if
	:: in_slot ->
#ifndef NO_HAZARD
		named = 1;
#endif
#ifndef NO_RELOAD
		if :: !in_slot || key != 1 -> goto out :: else fi;
#endif
		if                              /* it looks for rivals of key 1 and finds none */
		:: key == 1 ->
			d_step {
				if
				:: status == PENDING -> status = COMMITTED; assert(key == 1)
				:: else
				fi
			}
		:: else
		fi
	:: else
	fi;
out:
	named = 0
}

active proctype owner()
{
	bit done;

	CAS(status, PENDING, ABORTED, done);
	if
	:: done ->
		in_slot = 0;
		if :: named -> goto out :: else fi;
		key = 2;
		status = PENDING;
		in_slot = 1;
		TRY_CAS(status, PENDING, ABORTED)
	:: else
	fi;
out:
	skip
}
