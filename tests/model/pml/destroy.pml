/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: two destroyers and two creators of one name: is there ever more than one cache of that name alive?
 * pass: | a name is removed only under the retired file's lock, after seeing that it still leads to that file
 * fail: -DNO_LOCK | the name is removed without looking: it was the successor's
 * fail: -DLOOK_ONLY | it is looked at, but without the lock
 * fail: -DRETIRE_LAST | the file is marked RETIRED after its name is gone
 *
 * name: 0, or the file that it leads to.  A file is alive while it was linked and is not RETIRED.
 */
#include "common.h"

#define FILES 4

byte name = 1, files = 1;
bit retired[FILES + 1], locked[FILES + 1];
hidden byte k, alive;

inline check()
{
	d_step {
		k = 1;
		alive = 0;
		do :: k <= files -> alive = alive + (1 - retired[k]); k++ :: else -> break od;
		assert(alive <= 1);
		k = 0;
		alive = 0
	}
}

proctype destroyer()
{
	byte f;
	bit mine;

	f = name;
	if
	:: f != 0 ->
#ifndef RETIRE_LAST
		retired[f] = 1;
#endif
#ifdef NO_LOCK
		name = 0;
#else
#ifndef LOOK_ONLY
		CAS(locked[f], 0, 1, mine);   /* held by another: he removes it */
		if :: !mine -> goto out :: else fi;
#endif
		if :: name == f -> name = 0 :: else fi;
		locked[f] = 0;
#endif
		retired[f] = 1
	:: else
	fi;
out:
	skip
}

proctype creator() { atomic { if :: name == 0 -> files++; name = files; check() :: else fi } }

init { atomic { run destroyer(); run destroyer(); run creator(); run creator() } }
