/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: start words carry only a short tag of the incarnation; does a walk miss an entry when the tag has come round?
 * pass: | a start is noted by CAS, under the writer hazard, before the entry is published
 * fail: -DNO_HAZARD | no writer hazard: a slow writer's CAS meets the same word in a later life and wipes its starts
 * fail: -DPLAIN | a plain store: the other writer's start is lost
 * fail: -DPUBLISH_FIRST | the start is noted after publishing, and the writer dies in between
 *
 * One start word of two units, tag modulo 2, three incarnations; a tag that is right by accident shows starts that are
 * none, which the walker finds out by the slots.  slot[u] = incarnation + 1 while a slot leads to unit u.
 */
#include "common.h"

#define UNITS 2
#define LIVES 3
#define ACTIVE 1
#define WALKING 3

byte inc, state = ACTIVE;
byte tag = 1, starts = 1;      /* one word; left over from incarnation -1 */
byte cursor;
byte slot[UNITS];
bit named[3];                  /* writer hazards */
byte next_unit;

inline note(u)
{
	atomic { seen_tag = tag; seen = starts };
	if
	:: seen_tag == i % 2 -> bits = seen | 1 << u
	:: else -> bits = 1 << u
	fi;
#ifdef PLAIN
	d_step { tag = i % 2; starts = bits };
	done = 1
#else
	d_step { if :: tag == seen_tag && starts == seen -> tag = i % 2; starts = bits; done = 1 :: else -> done = 0 fi }
#endif
}

proctype writer(byte me; bit mortal)
{
	byte i, u, seen, seen_tag, bits;
	bit done;

#ifndef NO_HAZARD
	named[me] = 1;
#endif
	atomic { if :: state != ACTIVE || cursor == UNITS -> goto out :: else -> i = inc; u = cursor; cursor++ fi };
#ifdef PUBLISH_FIRST
	slot[u] = i + 1;
	if :: mortal -> goto out :: true fi;
#endif
	do
	:: !done -> note(u)
	:: else -> break
	od;
	if :: mortal -> goto out :: true fi;
#ifndef PUBLISH_FIRST
#ifdef NO_HAZARD
	atomic { if :: state == ACTIVE && inc == i -> slot[u] = i + 1 :: else fi };
#else
	slot[u] = i + 1;
#endif
#endif
out:
	named[me] = 0
}

inline walk_unit(u)
{
	if :: tag == inc % 2 && starts & 1 << u -> TRY_CAS(slot[u], inc + 1, 0) :: else fi;
}

active proctype walker()
{
	do
	:: inc < LIVES ->
		state = WALKING;
		(!named[0] && !named[1] && !named[2]);
		walk_unit(0);
		walk_unit(1);
		atomic {
			assert(slot[0] != inc + 1 && slot[1] != inc + 1);
			inc++;
			cursor = 0;
			state = ACTIVE
		}
	:: else -> break
	od
}

init {
	atomic {
		run writer(0, 0);
		run writer(1, 1);
		run writer(2, 0)
	}
}
