/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: a setter reuses retired places while a walker copies the survivor; can a value come back that a set had replaced?
 * pass: | whoever CASes a slot because of what the entry contains names its exact place and looks again
 * fail: -DNO_HAZARD | the walker names nothing: its slot word recurs (ABA), and the value from two sets ago returns
 * fail: -DNO_RELOAD | it names the place but does not look again
 *
 * One key, one slot.  Places 0 and 1 lie in the walked segment, the others elsewhere.  Segment SEALED: its retired
 * places may be reused under a writer hazard.  A third process ends the walk (relinks) at any time.
 */
#include "common.h"

#define SETS 3
#define PLACES 8
#define NONE 9
#define SEALED 1
#define WALKING 2

byte value[PLACES];
byte slot;              /* a place */
byte state = SEALED;
bit writing;            /* the setter's writer hazard */
byte walked = NONE;     /* the walker's place hazard */
byte fresh = 2;
byte returned;          /* ghost: the last set that took effect */

active proctype setter()
{
	byte n, p, old, retired = NONE;
	bit done;

	do
	:: n < SETS ->
		n++;
		p = NONE;
		if
		:: retired != NONE ->
			writing = 1;
			if :: state == SEALED -> WHEN(walked != retired, p = retired; retired = NONE) :: else fi;
			if :: p == NONE -> writing = 0 :: else fi
		:: else
		fi;
		if :: p == NONE -> d_step { p = fresh; fresh++ } :: else fi;
		value[p] = n;
		done = 0;
		do
		:: !done ->
			old = slot;
			d_step { if :: slot == old -> slot = p; returned = n; done = 1 :: else fi }
		:: else -> break
		od;
		writing = 0;
		if :: old < 2 -> retired = old :: else fi
	:: else -> break
	od
}

active proctype walker()
{
	byte w, c;

	d_step { if :: state == SEALED -> state = WALKING; c = 1 :: else fi };
	if
	:: c == 1 && !writing ->
		w = slot;
#ifndef NO_HAZARD
		walked = w;
#ifndef NO_RELOAD
		if :: slot != w -> w = NONE :: else fi;
#endif
#endif
		if
		:: w < 2 ->
			d_step { c = fresh; fresh++ };
			value[c] = value[w];
			atomic {
				TRY_CAS(slot, w, c);
				assert(value[slot] >= returned)
			}
		:: else
		fi;
		walked = NONE
	:: else
	fi
}

active proctype relinker() { (state == WALKING) -> state = SEALED }
