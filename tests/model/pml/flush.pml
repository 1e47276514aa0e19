/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: a namespace is flushed while its key is set, read, touched and added: is every history linearizable, with nothing vanishing?
 * pass: -DSETS | two sets, a flush, a get
 * pass: -DGETS | a set, a flush, two gets in turn
 * pass: -DGETS -DGENERATION_FIRST | a get that loads the generation before the entry is linearizable, too: loading it after is the simpler argument
 * pass: -DTOUCH | a set, a flush, a touch, a get
 * pass: -DADD | a flush, two adds, a get
 * pass: -DFLUSHES | a hard and a soft flush, a get of stale values, a set
 * fail: -DGETS -DREMEMBER | a get judges by a generation loaded in an earlier call
 * fail: -DSETS -DNO_RESTART | a set replaces an entry of a newer generation
 * fail: -DTOUCH -DTOUCH_FRESH | touch writes with a generation loaded after it found the entry
 * fail: -DADD -DADD_TRUSTS | an add that finds a flushed entry writes with the generation from before that flush
 * fail: -DFLUSHES -DPLAIN | the word is stored, not compared: the floor goes down again
 *
 * slot: an entry, or 0.  Each entry carries the generation loaded when its operation began, or began again.  The word
 * (present, floor) is one; below the floor an entry is gone, below the present it is stale.
 */
#include "common.h"
#include "history.h"

#define ENTRIES 6
#define INITIAL 9

byte present, floor;
byte slot = 1, entries = 1;
byte generation[ENTRIES + 1], value[ENTRIES + 1];

#define GONE 0
#define STALE 1
#define LIVE 2
#define JUDGE(e, p, f) ((e) == 0 || generation[e] < (f) -> GONE : (generation[e] < (p) -> STALE : LIVE))

proctype setter(byte v)
{
	byte id, g, e, old;
	bit done;

	BEGIN(id, OP_SET, v);
again:
	g = present;
	old = slot;
#ifndef NO_RESTART
	if :: old != 0 && generation[old] > g -> goto again :: else fi;
#endif
	d_step { if :: e == 0 -> entries++; e = entries :: else fi; generation[e] = g; value[e] = v };
	CAS(slot, old, e, done);
	if :: !done -> goto again :: else fi;
	END(id, v)
}

inline get(kind)
{
	BEGIN(id, kind, 0);
#ifdef GENERATION_FIRST
	d_step { p = present; f = floor };
#endif
	e = slot;
#ifdef REMEMBER
	if :: !known -> d_step { p = present; f = floor; known = 1 } :: else fi;
#elif !defined(GENERATION_FIRST)
	d_step { p = present; f = floor };
#endif
	if                       /* what is gone is taken out before the miss is answered */
	:: e != 0 && JUDGE(e, p, f) == GONE -> TRY_CAS(slot, e, 0)
	:: else
	fi;
	atomic {
		if
		:: JUDGE(e, p, f) == LIVE || (kind == OP_GET_STALE && JUDGE(e, p, f) == STALE) -> END(id, value[e])
		:: else -> END(id, 0)
		fi;
		e = 0
	}
}

proctype getter(byte kind; byte times)
{
	byte id, e, p, f;
	bit known;

	do
	:: times > 0 -> get(kind); times--
	:: else -> break
	od
}

proctype toucher()
{
	byte id, g, e, old, p, f;
	bit done;

	BEGIN(id, OP_TOUCH, 0);
again:
	g = present;
	old = slot;
	d_step { p = present; f = floor };
	if
	:: JUDGE(old, p, f) != LIVE -> END(id, 0); goto out
	:: else
	fi;
	if :: generation[old] > g -> goto again :: else fi;
#ifdef TOUCH_FRESH
	g = present;
#endif
	d_step { if :: e == 0 -> entries++; e = entries :: else fi; generation[e] = g; value[e] = value[old] };
	CAS(slot, old, e, done);
	if :: !done -> goto again :: else fi;
	END(id, 1);
out:
	skip
}

proctype adder(byte v)
{
	byte id, g, e, old, p, f;
	bit done;

	BEGIN(id, OP_ADD, v);
again:
	g = present;
	old = slot;
	d_step { p = present; f = floor };
	if :: JUDGE(old, p, f) == LIVE -> END(id, 0); goto out :: else fi;
	if :: old != 0 && generation[old] > g -> goto again :: else fi;
#ifndef ADD_TRUSTS
	if :: p != g -> goto again :: else fi;
#endif
	d_step { if :: e == 0 -> entries++; e = entries :: else fi; generation[e] = g; value[e] = v };
	CAS(slot, old, e, done);
	if :: !done -> goto again :: else fi;
	END(id, v);
out:
	skip
}

proctype flusher(bit hard)
{
	byte id, p, f;
	bit done;

	if :: hard -> BEGIN(id, OP_FLUSH, 0) :: else -> BEGIN(id, OP_FLUSH_SOFT, 0) fi;
again:
	atomic { p = present; f = floor };
#ifdef PLAIN
	d_step { present = p + 1; floor = (hard -> p + 1 : f) };
#else
	d_step { if :: present == p && floor == f -> present = p + 1; floor = (hard -> p + 1 : f); done = 1 :: else -> done = 0 fi };
	if :: !done -> goto again :: else fi;
#endif
	END(id, 0)
}

init {
	atomic {
		value[1] = INITIAL;
#ifdef SETS
		run setter(1);
		run setter(2);
		run flusher(1);
		run getter(OP_GET, 1);
#endif
#ifdef GETS
		run setter(1);
		run flusher(1);
		run getter(OP_GET, 2);
#endif
#ifdef TOUCH
		run setter(1);
		run flusher(1);
		run toucher();
		run getter(OP_GET, 1);
#endif
#ifdef ADD
		run flusher(1);
		run adder(1);
		run adder(2);
		run getter(OP_GET, 1);
#endif
#ifdef FLUSHES
		run flusher(1);
		run flusher(0);
		run setter(1);
		run getter(OP_GET_STALE, 2);
#endif
	}
	JOIN;
	CHECK_HISTORY(INITIAL)
}
