/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: do inserts, updates and deletes of one key in one bucket leave at most one visible entry, and none that a delete should have ended?
 * pass: | two setters
 * pass: -DREADER | two setters, and a reader that must not miss what a set has returned
 * pass: -DENTRIES=3 -DDELETER -DMORTAL | a setter that may die anywhere, another setter, a deleter
 * pass: -DSLOTS=2 -DENTRIES=2 -DDELETER -DMORTAL -DHELPER | two slots; when the setters have returned or died, a deleter, and somebody who completes what is PENDING
 * fail: -DENTRIES=3 -DDELETER -DMORTAL -DNO_ABORT | delete leaves PENDING entries alone: a dead setter's value rises afterwards
 * fail: -DSLOTS=2 -DENTRIES=2 -DDELETER -DMORTAL -DHELPER -DSTOP_EARLY | delete stops at the first COMMITTED entry
 * fail: -DIGNORE_HIGHER | complete() does not abort PENDING entries in higher slots
 * fail: -DIGNORE_LOWER | complete() does not yield to a PENDING entry in a lower slot
 * fail: -DIGNORE_COMMITTED | complete() does not yield to a COMMITTED entry
 *
 * The probe is probe.h's.  OTHER leaves slot 0 at any time, which makes a hole below entries that are already there.
 */
#include "common.h"

#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef ENTRIES
#define ENTRIES 4
#endif
#include "probe.h"

proctype reader()
{
	byte i, w;
	bit seen, must;

	must = returned;
	do
	:: i < SLOTS ->
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
