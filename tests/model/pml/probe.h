/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The probe of one key: setters, a deleter, a helper and an evictor, for bucket.pml (plain slots) and overflow.pml (some
 * of the slots are overflow).  The including model defines SLOTS and ENTRIES, and may define
 *   SEEN_BY_COMPLETE, SEEN_BY_DELETE   how many slots the scans of complete() and delete look at (all)
 *   BEFORE_SCAN(j), BEFORE_COMMIT(j), AFTER_COMMIT(j)   what complete() does with slot j's bit, and when: statements with their semicolons
 *
 * A slot holds 0, OTHER (another key's entry) or the number of an entry of the key.  An entry is visible if it is
 * COMMITTED and in a slot.
 */
#define OTHER 100
#ifndef SEEN_BY_COMPLETE
#define SEEN_BY_COMPLETE SLOTS
#endif
#ifndef SEEN_BY_DELETE
#define SEEN_BY_DELETE SLOTS
#endif
#ifndef BEFORE_SCAN
#define BEFORE_SCAN(j)
#endif
#ifndef BEFORE_COMMIT
#define BEFORE_COMMIT(j)
#endif
#ifndef AFTER_COMMIT
#define AFTER_COMMIT(j)
#endif
#define UNBORN 0
#define PENDING 1
#define COMMITTED 2
#define ABORTED 3

byte slot[SLOTS], status[ENTRIES + 1];
byte entries;
byte settled;      /* ghost, a set of entries: their set has returned, or its process has died */
byte ended;        /* ghost: settled before a delete began that has returned */
bit returned;      /* ghost: a set has returned */
hidden byte h, visible;

#define IS_KEY(w) ((w) != 0 && (w) != OTHER)

inline check()
{
	visible = 0;
	h = 0;
	do
	:: h < SLOTS ->
		if
		:: IS_KEY(slot[h]) && status[slot[h]] == COMMITTED ->
			visible++;
			assert((ended & 1 << slot[h]) == 0)
		:: else
		fi;
		h++
	:: else -> break
	od;
	assert(visible <= 1);
	h = 0;
	visible = 0
}
inline cas_slot(i, seen, next) { d_step { if :: slot[i] == seen -> slot[i] = next; done = 1 :: else -> done = 0 fi; check() } }
inline cas_status(e, seen, next) { d_step { if :: status[e] == seen -> status[e] = next; done = 1 :: else -> done = 0 fi; check() } }

/* Decides entry t in slot j; anybody may run it. */
inline complete(j, t)
{
	BEFORE_SCAN(j)
	d_step { c = 0; yield = 0 };
	do
	:: c < SEEN_BY_COMPLETE && c == j -> c++
	:: c < SEEN_BY_COMPLETE && c != j ->
		other = slot[c];
		if
		:: !IS_KEY(other)
#ifndef IGNORE_COMMITTED
		:: IS_KEY(other) && status[other] == COMMITTED -> yield = 1; break
#endif
#ifndef IGNORE_LOWER
		:: IS_KEY(other) && status[other] == PENDING && c < j -> yield = 1; break
#endif
#ifndef IGNORE_HIGHER
		:: IS_KEY(other) && status[other] == PENDING && c > j ->
			cas_status(other, PENDING, ABORTED);
			if
			:: !done && status[other] == COMMITTED -> yield = 1; break
			:: else -> cas_slot(c, other, 0)
			fi
#endif
		:: else
		fi;
		c++
	:: else -> break
	od;
	if
	:: yield -> cas_status(t, PENDING, ABORTED)
	:: else -> BEFORE_COMMIT(j) cas_status(t, PENDING, COMMITTED); AFTER_COMMIT(j)
	fi;
	if
	:: status[t] == ABORTED -> cas_slot(j, t, 0)
	:: else
	fi;
	d_step { c = 0; other = 0; yield = 0; done = 0 }
}
/* Out of entries: the bound of the model, the setter stops. */
inline write_entry() { atomic { if :: entries < ENTRIES -> entries++; e = entries; status[e] = PENDING :: else -> goto dead fi } }
inline may_die() { if :: mortal -> goto dead :: true fi }

proctype setter(bit mortal)
{
	byte i, w, e, found, hole, pending, c, other;
	bit done, yield;

	write_entry();
again:
	atomic { i = 0; found = SLOTS; hole = SLOTS; pending = SLOTS; w = 0 };
	do
	:: i < SLOTS ->
		w = slot[i];
		if
		:: w == 0 -> WHEN(hole == SLOTS, hole = i)
		:: w == OTHER
		:: IS_KEY(w) ->
			if
			:: status[w] == COMMITTED -> found = i; break
			:: status[w] == PENDING -> WHEN(pending == SLOTS, pending = i)
			:: status[w] == ABORTED -> cas_slot(i, w, 0)
			fi
		fi;
		i++
	:: else -> break
	od;
	if
	:: found < SLOTS -> /* an update: born COMMITTED, in the slot of its predecessor */
		d_step {
			if
			:: slot[found] == w -> status[e] = COMMITTED; slot[found] = e; done = 1; check()
			:: else -> done = 0
			fi
		};
		if :: done -> goto fin :: else -> goto again fi
	:: else
	fi;
	if
	:: pending < SLOTS ->
		w = slot[pending];
		if :: IS_KEY(w) -> complete(pending, w) :: else fi;
		goto again
	:: else
	fi;
	if :: hole == SLOTS -> goto again :: else fi;
	cas_slot(hole, 0, e);
	if :: !done -> goto again :: else fi;
	may_die();
	complete(hole, e);
	may_die();
	if
	:: status[e] == COMMITTED -> goto fin
	:: else -> write_entry(); goto again
	fi;
fin:
	atomic { returned = 1; settled = settled | 1 << e };
	goto out;
dead:
	settled = settled | 1 << e;
out:
	skip
}

/* As index_delete(): the scan aborts what is undecided and remembers the COMMITTED entry; one CAS at its end is the delete. */
proctype deleter()
{
	byte i, w, before, at, found;
	bit done;

#ifdef HELPER
	(settled == 6);    /* entries 1 and 2: only what comes after both is of interest */
#endif
	before = settled;
again:
	i = 0;
	found = 0;
	do
	:: i < SEEN_BY_DELETE ->
		w = slot[i];
		if
		:: !IS_KEY(w) -> i++
		:: IS_KEY(w) && status[w] == COMMITTED ->
			at = i;
			found = w;
#ifdef STOP_EARLY
			break;
#endif
			i++
		:: IS_KEY(w) && status[w] == PENDING ->
#ifdef NO_ABORT
			i++
#else
			cas_status(w, PENDING, ABORTED)
#endif
		:: IS_KEY(w) && status[w] == ABORTED -> cas_slot(i, w, 0)
		:: else
		fi
	:: else -> break
	od;
	if
	:: found != 0 ->
		cas_slot(at, found, 0);
		if :: done :: else -> goto again fi
	:: else
	fi;
	atomic { ended = before; check() }
}

proctype helper()
{
	byte i, w, c, other;
	bit done, yield;

	(settled == 6);
	do
	:: i < SLOTS ->
		w = slot[i];
		if :: IS_KEY(w) && status[w] == PENDING -> complete(i, w) :: else fi;
		i++
	:: else -> break
	od
}

proctype evictor() { bit done; cas_slot(0, OTHER, 0) }

