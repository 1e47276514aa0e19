/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: counters are incremented in place while movers freeze and copy them and a plain set replaces them: is an increment lost or doubled?
 * pass: | freeze by CAS of the very cell that was read, copy, CAS the slot; whoever meets a frozen cell finishes the move; never thawed
 * pass: -DSETTER | with a plain set, which needs no freeze: a late increment comes just before it
 * pass: -DVANISH | a mover without room for the copy takes the entry out
 * fail: -DNO_FREEZE | a mover copies without freezing
 * fail: -DTHAW | a mover without room thaws, while a helper has copied already
 * fail: -DBLIND_FREEZE | the bit is set with OR, the copy is made of the number read before
 *
 * The slot holds an entry; a set begins a new line of entries, a copy goes on with the line of its original.  Hazards
 * keep every entry that somebody names from being reused (reuse.pml), so here no entry is ever reused.
 */
#include "common.h"

#ifdef SETTER
#define ENTRIES 4
#else
#define ENTRIES 6
#endif
#define LINES 3
#define VALUE_OF_SET 10

byte slot = 1, entries = 1;
byte number[ENTRIES + 1];
bit frozen[ENTRIES + 1];        /* one word with the number */
byte line[ENTRIES + 1];         /* ghost */
byte line_now;                  /* ghost: line of the entry in the slot */
byte added[LINES];              /* ghost: successful increments of each line */

/* Copies the frozen entry old and puts the copy into its slot. */
inline finish(old)
{
	if
#ifdef VANISH
	:: true -> TRY_CAS(slot, old, 0)
#endif
#ifdef THAW
	:: true -> frozen[old] = 0
#endif
	:: true ->
		atomic {
			if :: entries == ENTRIES -> goto out :: else fi;
			entries++;
			c = entries;
			number[c] = number[old];
			line[c] = line[old]
		};
		TRY_CAS(slot, old, c)
	fi;
	c = 0
}

proctype incrementer()
{
	byte e, seen, c, least;
	bit done;
again:
	atomic { least = line_now; e = slot };
	if :: e == 0 -> goto out :: else fi;
	if :: frozen[e] -> finish(e); goto again :: else fi;
	seen = number[e];
	atomic {
		if
		:: number[e] == seen && !frozen[e] -> number[e] = seen + 1; added[line[e]]++; assert(line[e] >= least)
		:: else -> goto again
		fi
	};
	/* What this process sees from now on is not older than its own increment. */
	least = line[e];
	e = slot;
	assert(e == 0 || line[e] > least || (line[e] == least && number[e] > seen));
out:
	skip
}

proctype mover()
{
	byte e, seen, c;
	bit done;
again:
	e = slot;
	if :: e == 0 -> goto out :: else fi;
#ifdef NO_FREEZE
	atomic { if :: entries == ENTRIES -> goto out :: else fi; entries++; c = entries };
	atomic { number[c] = number[e]; line[c] = line[e] };
	TRY_CAS(slot, e, c);
#else
#ifdef BLIND_FREEZE
	atomic { if :: entries == ENTRIES -> goto out :: else fi; entries++; c = entries; number[c] = number[e]; line[c] = line[e] };
	frozen[e] = 1;
	TRY_CAS(slot, e, c);
#else
	seen = number[e];
	d_step { if :: number[e] == seen && !frozen[e] -> frozen[e] = 1; done = 1 :: else -> done = frozen[e] fi };
	if :: !done -> goto again :: else fi;
	finish(e);
#endif
#endif
out:
	skip
}

proctype setter()
{
	byte e, c;

	atomic { if :: entries == ENTRIES -> goto out :: else fi; entries++; c = entries; number[c] = VALUE_OF_SET; line[c] = 1 };
	do
	:: e = slot;
		atomic { if :: slot == e -> slot = c; line_now = 1; break :: else fi }
	od;
out:
	skip
}

init {
	byte e;
	atomic {
		run incrementer();
		run incrementer();
		run mover();
#ifdef SETTER
		run setter()
#else
		run mover()
#endif
	}
	JOIN;
	e = slot;
	assert(e == 0 || number[e] == added[line[e]] + (line[e] == 0 -> 0 : VALUE_OF_SET))
}
