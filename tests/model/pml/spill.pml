/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: when may a home bucket's spill bit be set and cleared, if get looks at the overflow only where it is set?
 * pass: | whoever completes an entry in overflow sets the bit before COMMITTED; nobody clears it
 * fail: -DCLEAR | somebody clears it after seeing the overflow empty
 * fail: -DCLEAR -DVERSION | the same with a version beside the bit, compared by the clearing CAS
 * fail: -DBIT_LAST | the bit is set after COMMITTED, and he who sets it is slow
 *
 * The key's home slots are full of other keys; its only place is one overflow slot: 0, or an entry.
 */
#include "common.h"

#define PENDING 1
#define COMMITTED 2
#define ENTRIES 3

byte overflow, status[ENTRIES + 1], entries;
bit spill;
byte version;     /* of the bit, for -DVERSION: one word with it */
bit returned;     /* ghost: a set has returned, and its entry or a successor was still there */

inline set_spill()
{
#ifdef VERSION
	d_step { if :: !spill -> spill = 1; version++ :: else fi }
#else
	spill = 1
#endif
}
inline complete(t)
{
#ifdef BIT_LAST
	TRY_CAS(status[t], PENDING, COMMITTED);
	set_spill()
#else
	set_spill();
	TRY_CAS(status[t], PENDING, COMMITTED)
#endif
}

proctype setter()
{
	byte e, w;
	bit done;

	d_step { entries++; e = entries; status[e] = PENDING };
again:
	w = overflow;
	if
	:: w != 0 && status[w] == PENDING -> complete(w); goto again
	:: w != 0 && status[w] == COMMITTED ->
		d_step { if :: overflow == w -> status[e] = COMMITTED; overflow = e; done = 1 :: else -> done = 0 fi };
		if :: !done -> goto again :: else fi
	:: w == 0 ->
		CAS(overflow, 0, e, done);
		if :: !done -> goto again :: else fi;
		complete(e)
	fi;
	/* nobody has removed it, and from now on nobody does: gets must find the key */
	d_step { if :: overflow != 0 && status[overflow] == COMMITTED -> returned = 1 :: else fi }
}

proctype remover() /* entries may vanish, but only before the set that counts has returned */
{
	byte w;

	w = overflow;
	if
	:: w != 0 && status[w] == COMMITTED -> d_step { if :: overflow == w && !returned -> overflow = 0 :: else fi }
	:: else
	fi
}

proctype clearer()
{
	byte v;

	atomic { spill -> v = version };
	if :: overflow == 0 -> d_step { if :: spill && version == v -> spill = 0 :: else fi } :: else fi
}

proctype getter()
{
	bit must, hit;
	byte w;

	must = returned;
	if
	:: spill ->
		w = overflow;
		if :: w != 0 && status[w] == COMMITTED -> hit = 1 :: else fi
	:: else
	fi;
	assert(hit || !must)
}

init {
	atomic {
		run setter();
		run setter();
		run remover();
#ifdef CLEAR
		run clearer();
#endif
		run getter()
	}
}
