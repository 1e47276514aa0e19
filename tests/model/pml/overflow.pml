/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: a key's probe is its home bucket and then the overflow; get looks there only if the spill bit is set: does anybody miss what he must see?
 * pass: -DREADER | complete() sets the bit before it scans; scans of complete(), set and delete always include the overflow
 * pass: -DREADER -DBIT_BEFORE_COMMIT | the bit just before COMMITTED is early enough, too
 * pass: -DENTRIES=3 -DDELETER -DMORTAL | a delete, and a setter that dies anywhere
 * fail: -DREADER -DBIT_LAST | the bit is set after COMMITTED
 * fail: -DENTRIES=2 -DDELETER -DMORTAL -DDELETE_TRUSTS | delete trusts the bit: a dead setter's entry rises out of the overflow
 * fail: -DBIT_BEFORE_COMMIT -DCOMPLETE_TRUSTS | complete() trusts the bit: two visible entries
 *
 * Slot 0 is the home bucket, first full of OTHER, which leaves at any time; slot 1 is overflow.
 */
#include "common.h"

#define SLOTS 2
#define HOME 1
#ifndef ENTRIES
#define ENTRIES 4
#endif

bit spill;

#define SET_SPILL(j) if :: j >= HOME -> spill = 1 :: else fi;
#define TRUSTING (spill -> SLOTS : HOME)
#ifdef BIT_BEFORE_COMMIT
#define BEFORE_COMMIT(j) SET_SPILL(j)
#elif !defined(BIT_LAST)
#define BEFORE_SCAN(j) SET_SPILL(j)
#endif
#ifdef BIT_LAST
#define AFTER_COMMIT(j) SET_SPILL(j)
#endif
#ifdef DELETE_TRUSTS
#define SEEN_BY_DELETE TRUSTING
#endif
#ifdef COMPLETE_TRUSTS
#define SEEN_BY_COMPLETE TRUSTING
#endif
#include "probe.h"

proctype reader()
{
	byte i, w;
	bit seen, must;

	must = returned;
	do
	:: i < HOME || (i < SLOTS && spill) ->
		w = slot[i];
		if :: IS_KEY(w) && status[w] == COMMITTED -> seen = 1; break :: else fi;
		i++
	:: else -> break
	od;
	assert(seen || !must)
}

init {
	atomic {
		slot[0] = OTHER;
		run setter(0);
#ifdef MORTAL
		run setter(1);
#else
		run setter(0);
#endif
		run evictor();
#ifdef DELETER
		run deleter();
#endif
#ifdef HELPER
		run helper();
#endif
#ifdef READER
		run reader();
#endif
	}
	JOIN;
	d_step { check() }
}
