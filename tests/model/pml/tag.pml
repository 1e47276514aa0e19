/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: tags are invalidated while entries with them are set, read and leased, and one who invalidates may die: does each invalidation take all that was set before it, in one step, and nothing that is set after it?
 * pass: -DTWO | two tags, a set, who looks at an old and a new entry, and a set after all
 * pass: -DTWO -DMORTAL | the same, and whoever invalidates may die in the middle
 * pass: -DLEASE | a set by lease, two invalidations
 * pass: -DLEASE -DMORTAL | the same, with deaths
 * fail: -DTWO -DNO_RECHECK | who finds the clock moved by another does not raise the word again
 * fail: -DTWO -DCLOCK_FIRST | the clock is moved before the word is raised
 * fail: -DTWO -DMORTAL -DNO_HELP | a setter that finds its word at the clock does not move the clock
 * fail: -DLEASE -DLEASE_FRESH | a set by lease carries the clock of the set
 *
 * word[t]: the clock at the last invalidation of tag t.  An entry carries the clock of its beginning and is good while the word of its
 * tag is below that.  Entry OLD is there from the beginning, NEW is set meanwhile, LATE when nobody invalidates any more; all of tag 0.
 */
#include "common.h"

#define OLD 0
#define NEW 1
#define LATE 2
#define ENTRIES 3

byte clock = 1;
byte word[2];
byte begun[ENTRIES];  /* the entry's clock; 0: not there */
byte at_work = 2;     /* who may invalidate yet */
bit new_then_old;     /* OLD was good after NEW's set had returned */
bit new_done;
bit leased, spoiled;  /* an invalidation that began after the lease was taken has returned */
#define GOOD(e) (begun[e] != 0 && word[0] < begun[e])

/* The CAS loops of raise_word(): a lost one is another one's raising. */
inline raise(t, c)
{
	atomic { if :: word[t] < c -> word[t] = c :: else fi }
}

proctype invalidator(byte t)
{
	byte c;
	bit moved, had_old, had_new, had_lease, order;

	d_step { had_lease = leased; had_old = begun[OLD] != 0; had_new = new_done };
again:
	c = clock;
#ifdef CLOCK_FIRST
	d_step { if :: clock == c -> clock = c + 1; moved = 1 :: else -> moved = 0 fi };
	raise(t, c);
#else
	raise(t, c);
#ifdef MORTAL
	if :: goto dead :: skip fi;
#endif
	d_step { if :: clock == c -> clock = c + 1; moved = 1 :: else -> moved = 0 fi };
#endif
#ifndef NO_RECHECK
	if :: !moved -> goto again :: else fi;
#endif
	atomic {
		order = new_then_old;
		if
		:: t == 0 ->
			assert(!had_old || !GOOD(OLD));
			assert(!had_new || !GOOD(NEW));
			if :: had_lease -> spoiled = 1 :: else fi;
			assert(!order || !GOOD(NEW)) /* it came after a get that came after NEW: NEW goes, too */
		:: else
		fi
	}
dead:
	at_work--
}

inline begin_entry(e)
{
	c = clock;
#ifndef NO_HELP
	if                       /* once: a word that is raised again is another one's invalidation, beside this set */
	:: word[0] >= c ->
		d_step { if :: clock == c -> clock = c + 1 :: else fi };
		c = clock
	:: else
	fi;
#endif
	begun[e] = c
}

proctype setter()
{
	byte c;

	begin_entry(NEW);
	new_done = 1
}

proctype looker()
{
	if
	:: new_done ->
		atomic { if :: GOOD(OLD) -> new_then_old = 1 :: else fi }
	:: skip
	fi
}

proctype late_setter()
{
	byte c;

	at_work == 0;
	begin_entry(LATE);
	assert(GOOD(LATE))
}

/* Computes from what was true when the lease was taken. */
proctype leaser()
{
	byte c;
	bit s;

	atomic { c = clock; leased = 1 };
#ifdef LEASE_FRESH
	c = clock;
#endif
	s = spoiled;
	if
	:: word[0] < c -> begun[NEW] = c
	:: else
	fi;
	assert(!s || !GOOD(NEW))
}

init {
	atomic {
		begun[OLD] = 1;
		run invalidator(0);
#ifdef TWO
		run invalidator(1);
		run setter();
		run looker();
		run late_setter();
#endif
#ifdef LEASE
		run invalidator(0);
		run leaser();
		run late_setter();
#endif
	}
}
