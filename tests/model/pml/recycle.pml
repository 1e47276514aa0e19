/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: two helpers, one of them slow, hand a segment to its next life: is anything of that life reset?
 * pass: | cursor and start words carry the life that they belong to; another life's reads as empty
 * fail: -DPLAIN | plain resets: a slow one hits the next life, and a cursor or a start is lost
 *
 * LIMBO of incarnation 0 becomes ACTIVE of incarnation 1, in which a writer reserves two units and notes their starts.
 */
#include "common.h"

#define LIMBO 4
#define ACTIVE 1
#define UNITS 2

byte inc, state = LIMBO;
byte cursor_inc, cursor = UNITS;          /* one word */
byte tag[UNITS];                          /* start words: (tag, bit) */
bit start[UNITS];
bit wrote[UNITS];
byte k;

proctype helper()
{
	byte i;

	i = inc;
	if
	:: state == LIMBO && inc == i ->
#ifdef PLAIN
		cursor = 0;
		cursor_inc = i + 1;
		start[0] = 0;
		start[1] = 0;
#else
		d_step { if :: cursor_inc == i -> cursor_inc = i + 1; cursor = 0 :: else fi };
#endif
		d_step { if :: state == LIMBO && inc == i -> inc++; state = ACTIVE :: else fi }
	:: else
	fi
}

proctype writer()
{
	byte n, at;

	(state == ACTIVE);
	do
	:: n < UNITS ->
		d_step { n++; at = cursor; cursor++; assert(cursor_inc == inc) };
		if
		:: at < UNITS ->
			assert(!wrote[at]);
			wrote[at] = 1;
#ifdef PLAIN
			d_step { start[at] = 1; tag[at] = inc }
#else
			d_step { if :: tag[at] != inc -> tag[at] = inc :: else fi; start[at] = 1 }
#endif
		:: else
		fi
	:: else -> break
	od
}

init {
	atomic {
		start[0] = 1;
		start[1] = 1;
		run helper();
		run helper();
		run writer()
	}
	JOIN;
	do
	:: k < UNITS -> assert(!wrote[k] || (start[k] && tag[k] == inc)); k++
	:: else -> break
	od
}
