/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: where a later load may be satisfied before an earlier store is seen (aarch64), which orders do the edges need?
 * pass: -DHAZARD | the name by a seq_cst exchange and the second look by a seq_cst load; the unlinking CAS and the scan seq_cst, too
 * pass: -DINSERT | the inserting CAS and the scan of complete() seq_cst
 * pass: -DPUBLISH | the head by a release store after the bytes, the slot by an acquire load
 * fail: -DHAZARD -DLOOK_ACQUIRE | a seq_cst store of the name, then an acquire load (stlr; ldapr): the look is older than the name
 * fail: -DHAZARD -DSCAN_ACQUIRE | the scan by acquire loads: it is older than the unlinking (stlxr; ldapr)
 * fail: -DINSERT -DSCAN_ACQUIRE | an acq_rel CAS, then acquire loads: neither inserter sees the other, and both commit
 * fail: -DPUBLISH -DRELAXED_STORE | the head by a relaxed store
 * fail: -DPUBLISH -DRELAXED_LOAD | the bytes loaded before the slot
 *
 * A process has two accesses to make, first and second in the program.  PAIR makes them in this order if the orders on
 * them demand it, and in either order if not; each is one step that all see at once.  A hazard that was cleared by
 * release, or a CAS of one word by two processes, needs no more than that word's own order and is not here.
 */
#include "common.h"

byte hazard, slot = 1, freed;
bit named[2], status[2];
byte bytes, head;

#define PAIR(in_order, first, second) \
	if \
	:: true -> first; second \
	:: !(in_order) -> second; first \
	fi

#ifdef LOOK_ACQUIRE
#define LOOK_IN_ORDER 0
#else
#define LOOK_IN_ORDER 1
#endif
#ifdef SCAN_ACQUIRE
#define SCAN_IN_ORDER 0
#else
#define SCAN_IN_ORDER 1
#endif
#ifdef RELAXED_STORE
#define STORES_IN_ORDER 0
#else
#define STORES_IN_ORDER 1
#endif
#ifdef RELAXED_LOAD
#define LOADS_IN_ORDER 0
#else
#define LOADS_IN_ORDER 1
#endif

proctype reader()
{
	byte seen;

	PAIR(LOOK_IN_ORDER, hazard = 1, seen = slot);
	if :: seen == 1 -> assert(!freed) :: else fi;
	hazard = 0
}

proctype recycler()
{
	byte seen;

	PAIR(SCAN_IN_ORDER, slot = 0, seen = hazard);
	if :: seen == 0 -> freed = 1 :: else fi
}

proctype inserter(byte p)
{
	bit rival;

	PAIR(SCAN_IN_ORDER, named[p] = 1, rival = named[1 - p]);
	if :: !rival -> status[p] = 1; assert(!status[1 - p]) :: else fi
}

proctype publisher() { PAIR(STORES_IN_ORDER, bytes = 1, head = 1) }

proctype subscriber()
{
	byte h, b;

	PAIR(LOADS_IN_ORDER, h = head, b = bytes);
	assert(h == 0 || b == 1)
}

init {
	atomic {
#ifdef HAZARD
		run reader();
		run recycler();
#endif
#ifdef INSERT
		run inserter(0);
		run inserter(1);
#endif
#ifdef PUBLISH
		run publisher();
		run subscriber();
#endif
	}
}
