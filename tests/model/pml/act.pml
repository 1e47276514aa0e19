/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: setters that die anywhere install active segments: is there ever an ACTIVE segment that its cell does not name?
 * pass: | the cell names a FREE segment first; whoever meets a named FREE segment activates it for that cell
 * fail: -DACTIVATE_FIRST | the segment is activated first: its setter dies, and nothing leads to it
 *
 * Two cells, three segments.  segment[s]: FREE, or ACTIVE for a cell.  Sealing ends an activity at any time.
 */
#include "common.h"

#define SEGMENTS 3
#define NONE 9
#define FREE 0
#define SEALED 1
#define ACTIVE 10 /* + cell */

byte segment[SEGMENTS], cell[2];
byte finished;
byte k;

inline find_free() { f = 0; do :: f < SEGMENTS && segment[f] != FREE -> f++ :: else -> break od; if :: f == SEGMENTS -> goto out :: else fi }
inline may_die() { if :: mortal -> goto out :: true fi }

proctype setter(byte c; bit mortal)
{
	byte s, f, w;
	bit done;
again:
	s = cell[c];
	w = SEALED;
	if :: s != NONE -> w = segment[s] :: else fi;
	if
	:: w == ACTIVE + c -> finished++; goto out
#ifndef ACTIVATE_FIRST
	:: w == FREE -> TRY_CAS(segment[s], FREE, ACTIVE + c); goto again
#endif
	:: else
	fi;
	may_die();
	find_free();
#ifdef ACTIVATE_FIRST
	CAS(segment[f], FREE, ACTIVE + c, done);
	if :: !done -> goto again :: else fi;
	may_die();
#endif
	TRY_CAS(cell[c], s, f);
	may_die();
	goto again;
out:
	skip
}

proctype sealer()
{
	byte s;

	s = cell[0];
	if :: s != NONE -> TRY_CAS(segment[s], ACTIVE, SEALED) :: else fi
}

init {
	atomic {
		cell[0] = NONE;
		cell[1] = NONE;
		run setter(0, 0);
		run setter(0, 1);
		run setter(1, 1);
		run sealer()
	}
	JOIN;
	do
	:: k < SEGMENTS -> assert(segment[k] < ACTIVE || cell[segment[k] - ACTIVE] == k); k++
	:: else -> break
	od
}
