/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: walkers share a segment by lanes, each with a progress word of its own, through several lives: is a start skipped?
 * pass: | work first, then the lane's progress; LIMBO when every lane is at its end in this life
 * fail: -DCLAIM | progress first, then the work: the walker stops in between
 * fail: -DNO_LIFE | progress does not say of which life it is
 * fail: -DOWN_LANE | LIMBO as soon as the walker's own lane is done
 *
 * Two lanes of two start words, one start in each.  slot[w] = incarnation + 1 while a slot leads to the start in word w.
 * A segment freed is at once filled again in its next incarnation.
 */
#include "common.h"

#define WALKING 3
#define LIMBO 5
#define LANES 2
#define LANE_WORDS 2
#define LIVES 2
#define STEPS_MAX 8

byte inc, state = WALKING;
byte progress[LANES], life[LANES]; /* one word each */
byte slot[LANES * LANE_WORDS];

#ifdef NO_LIFE
#define DONE(lane, i) progress[lane]
#else
#define DONE(lane, i) (life[lane] == i + 1 -> progress[lane] : 0)
#endif

inline walk_lane(lane)
{
	d_step { seen = progress[lane]; seen_life = life[lane]; p = DONE(lane, i) };
	if
	:: p < LANE_WORDS ->
#ifndef CLAIM
		TRY_CAS(slot[(lane) * LANE_WORDS + p], i + 1, 0);
#endif
		d_step {
			mine = 0;
			if
			:: progress[lane] == seen && life[lane] == seen_life -> progress[lane] = p + 1; life[lane] = i + 1; mine = 1
			:: else
			fi
		};
#ifdef CLAIM
		WHEN(mine, TRY_CAS(slot[(lane) * LANE_WORDS + p], i + 1, 0))
#endif
	:: else
	fi;
	d_step { seen = 0; seen_life = 0; p = 0; mine = 0 }
}

proctype walker(byte own)
{
	byte n, s, i, p, seen, seen_life;
	bit mine, all;

	do
	:: n < STEPS_MAX && inc < LIVES ->
		d_step { n++; s = state; i = inc };
		if
		:: s == WALKING ->
			all = (DONE(own, i) == LANE_WORDS);
#ifndef OWN_LANE
			all = all && (DONE(1 - own, i) == LANE_WORDS);
#endif
			if
			:: all -> d_step { if :: state == s && inc == i -> state = LIMBO :: else fi }
			:: else ->
				if
				:: DONE(own, i) < LANE_WORDS -> walk_lane(own)
				:: else -> walk_lane(1 - own)
				fi
			fi;
			all = 0
		:: s == LIMBO ->
			atomic {
				if
				:: state == s && inc == i ->
					assert(slot[0] != i + 1 && slot[1] != i + 1 && slot[2] != i + 1 && slot[3] != i + 1);
					inc++;
					slot[0] = inc + 1;
					slot[3] = inc + 1;
					state = WALKING
				:: else
				fi
			}
		fi
	:: else -> break
	od
}

init {
	atomic {
		slot[0] = 1;
		slot[1] = 1;
		slot[2] = 1;
		slot[3] = 1;
		run walker(0);
		run walker(1)
	}
}
