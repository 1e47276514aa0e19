/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: two recyclers, either of them stopped anywhere, share a segment in which a writer reuses a place; is anything freed that a slot leads to?
 * pass: | turns, work before progress, writer hazards
 * fail: -DNO_TURN | no turn: the segment word recurs after a relinking, and a slow recycler goes on with another walk
 * fail: -DCLAIM -DSTOPS | progress is claimed before the work, and the claimer stops
 * fail: -DIGNORE_WRITER | DRAINING ends though a writer names the segment
 *
 * The segment word is (incarnation, state, turn), compared as a whole.  Two places; sl[p] holds incarnation + 1 while
 * p's slot leads to it.  A recycler may relink the segment (WALKING back to SEALED, nothing moved) at any time.
 */
#include "common.h"

#define SEALED 1
#define DRAINING 2
#define WALKING 3
#define LIMBO 4
#define PLACES 2
#define RELINKS_MAX 1
#define STEPS_MAX 6

byte inc, state = SEALED, turn;
byte progress, progress_turn;  /* one word: (turn, places walked); another turn's reads as 0 */
byte slot[PLACES];
bit writing;                   /* the writer's hazard */
byte relinks;

#ifdef NO_TURN
#define NEXT_TURN turn
#else
#define NEXT_TURN turn + 1
#endif
#define SEEN (state == s && inc == i && turn == t)

active proctype writer()
{
	byte n;

	do
	:: n < 2 ->
		n++;
		writing = 1;
		if
		:: state == SEALED && inc == 0 ->
			slot[1] = 0;    /* place 1 is retired: its former entry is out of its slot */
			assert(inc == 0);
			slot[1] = 1;    /* bytes are written, publish */
			assert(inc == 0)
		:: else
		fi;
		writing = 0
	:: else -> break
	od
}

inline walk_place()
{
#ifdef CLAIM
	d_step {
		if
		:: (progress_turn == t -> progress : 0) == p -> progress = p + 1; progress_turn = t; mine = 1
		:: else -> mine = 0
		fi
	};
	if
	:: mine ->
#ifdef STOPS
		if :: stops -> goto stopped :: true fi;
#endif
		TRY_CAS(slot[p], i + 1, 0)
	:: else
	fi
#else
	TRY_CAS(slot[p], i + 1, 0);
	d_step { if :: (progress_turn == t -> progress : 0) == p -> progress = p + 1; progress_turn = t :: else fi }
#endif
}

proctype recycler(bit stops)
{
	byte n, s, t, i, p;
	bit mine;

	do
	:: n < STEPS_MAX && inc == 0 ->
		d_step { n++; s = state; t = turn; i = inc };
		p = (progress_turn == t -> progress : 0);
		if
		:: s == SEALED -> d_step { if :: SEEN -> state = DRAINING; turn = NEXT_TURN :: else fi }
		:: s == DRAINING ->
#ifdef IGNORE_WRITER
			d_step { if :: SEEN -> state = WALKING :: else fi }
#else
			if :: writing :: else -> d_step { if :: SEEN -> state = WALKING :: else fi } fi
#endif
		:: s == WALKING && p < PLACES -> walk_place()
		:: s == WALKING && relinks < RELINKS_MAX ->
			d_step { if :: SEEN -> state = SEALED; turn = NEXT_TURN; relinks++ :: else fi }
		:: s == WALKING && p == PLACES -> d_step { if :: SEEN -> state = LIMBO :: else fi }
		:: s == LIMBO ->
			if
			:: writing
			:: else ->
				d_step {
					if
					:: SEEN ->
						assert(slot[0] != i + 1 && slot[1] != i + 1);
						inc++;
						state = SEALED
					:: else
					fi
				}
			fi
		fi
	:: else -> break
	od;
stopped:
	skip
}

init {
	atomic {
		slot[0] = 1;
		slot[1] = 1;
		run recycler(0);
		run recycler(1)
	}
}
