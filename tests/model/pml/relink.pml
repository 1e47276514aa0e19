/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: a segment is walked in place and sealed again while its places are reused, and a walker of the former turn comes back: is a live entry skipped, or a place rewritten under a walker?
 * pass: -DTURNS=4 -DROUNDS=2 | the mode of a walk is in the segment word from DRAINING on; each walk has its own turn; out of turns, a segment is emptied
 * fail: -DNO_TURN | the turn is not bumped: the next walk finds the lane done
 * fail: -DTURNS=4 -DROUNDS=2 -DWRAP | the turn comes round within an incarnation: a slow walker's old progress counts for the new walk
 * fail: -DMODE_APART | each walker chooses the mode: one leaves survivors and counts them as done, another one goes on to LIMBO
 * fail: -DNO_PLACE_HAZARD | the writer reuses a place without asking who names it
 * fail: -DIGNORE_WRITER | DRAINING ends though a writer names the segment
 *
 * slot[p] is 1 while a slot leads to place p.  A walk leaves a survivor where it is (in place) or takes it out (copied
 * elsewhere, or dropped).  The writer takes its entry out of place 1, and writes another one there.
 */
#include "common.h"

#define SEALED 1
#define DRAINING 2
#define WALKING 3
#define LIMBO 4
#define FREE 0
#define PLACES 2
#define NONE 9

byte state = SEALED, turn;
bit in_place;                  /* one word with state and turn */
byte progress, progress_turn;
bit slot[PLACES];
bit rewriting[PLACES];         /* ghost: its bytes are being written */
bit writing;                   /* writer hazard */
byte walked[2] = NONE;         /* walkers' place hazards */
byte rounds;

#ifndef ROUNDS
#define ROUNDS 1                /* walks in place, before one that ends in LIMBO */
#endif
#define SEEN (state == s && turn == t && in_place == m)
#ifndef TURNS
#define TURNS 100
#endif
#ifdef NO_TURN
#define DRAINING_TURN turn
#define SEALED_TURN turn
#else
#define DRAINING_TURN (turn + 1) % TURNS
#define SEALED_TURN (turn + 1) % TURNS
#endif
#ifdef WRAP
#define MAY_RELINK true
#else
#define MAY_RELINK (t + 3 < TURNS) /* there is a turn left for a walk that empties it */
#endif
#ifdef MODE_APART
#define IN_PLACE mine
#else
#define IN_PLACE m
#endif
#ifdef NO_PLACE_HAZARD
#define UNNAMED true
#else
#define UNNAMED walked[0] != 1 && walked[1] != 1
#endif

active proctype writer()
{
	byte n;
	bit mine, owned;

	do
	:: n < 2 ->
		n++;
		CAS(slot[1], 1, 0, mine);       /* an overwrite elsewhere: place 1 is ours, and retired */
		owned = owned || mine;
		if
		:: owned && UNNAMED ->
			writing = 1;
			if
			:: state == SEALED ->
				rewriting[1] = 1;
				assert(state != FREE);
				rewriting[1] = 0;
				owned = 0;
				slot[1] = 1     /* publish */
			:: else
			fi;
			writing = 0
		:: else
		fi
	:: else -> break
	od
}

inline walk_place()
{
	if
	:: p < PLACES && slot[p] ->
		walked[me] = p;
		if
		:: slot[p] ->
			assert(!rewriting[p]);  /* its bytes are read */
			if
			:: true -> slot[p] = 0  /* dropped, or copied elsewhere */
			:: IN_PLACE             /* a survivor stays */
			fi
		:: else
		fi;
		walked[me] = NONE
	:: else
	fi;
	d_step { if :: progress == seen && progress_turn == seen_turn -> progress = p + 1; progress_turn = t :: else fi }
}

proctype walker(byte me; byte steps)
{
	byte s, t, p, seen, seen_turn;
	bit m, mine, choice;

	do
	:: steps > 0 && state != FREE ->
		d_step { steps--; s = state; t = turn; m = in_place };
		d_step { seen = progress; seen_turn = progress_turn; p = (seen_turn == t -> seen : 0) };
		if
		:: s == SEALED ->
			if :: rounds < ROUNDS && MAY_RELINK -> choice = 1 :: rounds > 0 || ROUNDS == 1 || !MAY_RELINK -> choice = 0 fi;
			d_step { if :: SEEN -> state = DRAINING; turn = DRAINING_TURN; in_place = choice; rounds++ :: else fi };
			choice = 0
		:: s == DRAINING ->
#ifndef IGNORE_WRITER
			if :: writing -> s = FREE :: else fi;
#endif
			d_step { if :: SEEN -> state = WALKING :: else fi }
		:: s == WALKING && p < PLACES ->
#ifdef MODE_APART
			if :: mine = 0 :: mine = 1 fi;
#endif
			walk_place()
		:: s == WALKING && p == PLACES ->
			d_step {
				if
				:: SEEN && m -> state = SEALED; turn = SEALED_TURN; in_place = 0
				:: SEEN && !m -> state = LIMBO
				:: else
				fi
			}
		:: s == LIMBO ->
			if
			:: writing || walked[0] != NONE || walked[1] != NONE
			:: else -> d_step { if :: SEEN -> assert(!slot[0] && !slot[1]); state = FREE :: else fi }
			fi
		:: else
		fi
	:: else -> break
	od
}

init {
	atomic {
		slot[0] = 1;
		slot[1] = 1;
		run walker(0, 6 + 5 * ROUNDS);
		run walker(1, 2)    /* slow: every step of it may come late by a whole turn */
	}
}
