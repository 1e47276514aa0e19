/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: with stores held back in store buffers (x86-64), does each edge of the form "write mine, then look at yours" still hold?
 * pass: -DHAZARD | a hazard is an exchange: its process's buffer is empty before the slot is looked at again
 * pass: -DINSERT | two inserters publish by CAS, then look at each other's slot
 * pass: -DPUBLISH | plain stores of the bytes, then the publishing CAS: a reader sees them whole
 * fail: -DHAZARD -DPLAIN | the hazard is a plain store (mov)
 * fail: -DINSERT -DPLAIN | an inserter publishes by a plain store
 * fail: -DPUBLISH -DPLAIN | the bytes are written after the entry is published
 *
 * mine[p] is what all see of process p's word, buffer[p] what it has stored itself and reads back; the hardware drains a
 * buffer at any time, a locked instruction of the process at once.  What a process stores stays in order.
 */
#include "common.h"

#define NOTHING 9

byte mine[2], buffer[2] = NOTHING;
byte slot = 1, bytes = 1;
bit reading, committed[2];

active proctype hardware()
{
	do
	:: d_step { buffer[0] != NOTHING -> mine[0] = buffer[0]; buffer[0] = NOTHING }
	:: d_step { buffer[1] != NOTHING -> mine[1] = buffer[1]; buffer[1] = NOTHING }
	:: timeout -> break
	od
}

#ifdef PLAIN
#define WRITE(p, v) buffer[p] = v
#else
#define WRITE(p, v) d_step { mine[p] = v; buffer[p] = NOTHING }
#endif
#define LOCKED(p) (buffer[p] == NOTHING)

/* mine[0] is the reader's hazard; or, the same in other words, a writer's, and slot the segment word (1: open). */
proctype holder()
{
	byte seen;

	if
	:: slot == 1 ->
		WRITE(0, 1);
		seen = slot;
		if
		:: seen == 1 -> reading = 1; assert(bytes == 1); reading = 0
		:: else
		fi;
		LOCKED(0) -> mine[0] = 0
	:: else
	fi
}

proctype scanner()
{
	slot = 0;                /* a CAS: drains the buffer, which holds nothing */
	if
	:: mine[0] == 0 -> assert(!reading); bytes = 2
	:: else
	fi
}

/* complete() of two inserters in two slots, the lower of which wins. */
proctype inserter(byte p)
{
	byte other;

	WRITE(p, 1);
	other = mine[1 - p];
	if
	:: other == 0 -> committed[p] = 1; assert(!committed[1 - p])
	:: else          /* a rival: decided by CAS of its status, bucket.pml */
	fi
}

proctype publisher()
{
	bytes = 0;
#ifdef PLAIN
	mine[0] = 1;
	bytes = 2
#else
	buffer[1] = 2;           /* the bytes, held back */
	d_step {                 /* the CAS drains the buffer first */
		if :: buffer[1] != NOTHING -> mine[1] = buffer[1]; buffer[1] = NOTHING :: else fi;
		bytes = mine[1];
		mine[0] = 1
	}
#endif
}

proctype subscriber() { if :: mine[0] == 1 -> assert(bytes == 2) :: else fi }

init {
	atomic {
#ifdef HAZARD
		run holder();
		run scanner();
#endif
#ifdef INSERT
		run inserter(0);
		run inserter(1);
#endif
#ifdef PUBLISH
		run publisher();
		run subscriber();
#endif
	}
}
