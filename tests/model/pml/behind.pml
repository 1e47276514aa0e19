/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: two processes write one key behind, a third repairs what is dirty, a reader fills, the entry may be evicted, and any of them may die: is what is near and not dirty what the far store has, and what was accepted last there in the end?
 * pass: | two writers of two writes each, a repairer and a reader
 * pass: -DONE -DMORTAL | the same, one write each, and any of them may die anywhere
 * pass: -DDELETES | the last write of one of them is a delete
 * pass: -DONE -DEVICTS | the entry may be evicted at any time, dirty or not, but nobody dies
 * fail: -DNO_WAIT | a flight begins without waiting for those in progress
 * fail: -DLOOK_FIRST | near is looked at before the flight begins
 * fail: -DEARLY_END | the flight ends when the write is sent, before it is far
 * fail: -DBLIND | what stands near after the far write is marked clean, whoever wrote it
 * fail: -DREPAIR_UNSEEN | a repair is no flight
 * fail: -DREPAIR_FRESH | a repair writes what came after it had waited
 * fail: -DDELETES -DNO_TOMB | a delete that is far leaves nothing near: an older write rises from a queue
 * fail: -DDROP_CLEAN | what another one has marked clean is removed: an older write rises from a queue
 * fail: -DEVICTS -DLEAVE -DONE | what a reader filled while a write was on its way stays
 *
 * near: a version, a value and what it is.  Values are versions of their write; 0 is none.  A flight (busy[p]) is the time in which a
 * process may change the far store.  Whoever wants to write waits for the flights that are in progress, begins his own, looks near, writes,
 * marks clean by CAS on the version that he saw.  accepted: value of the last accepted write.
 */
#include "common.h"

#define NOTHING 0
#define DIRTY 1
#define CLEAN 2
#define HOLD 3
#define GONE 4   /* a delete that is far; readers ask the far store all the same */
#define FILLED 5 /* clean, and fetched where nothing was near */
#define PROCS 3

byte version, value, is; /* near */
byte far;
byte versions = 1, accepted;
bit busy[PROCS], dead[PROCS], evicted;
byte flights[PROCS];
byte at_work;

inline near_set(v, what) { versions++; version = versions; value = v; is = what }
inline near_clear() { version = 0; value = 0; is = NOTHING }

#ifdef MORTAL
#define MAY_DIE if :: atomic { dead[me] = 1; goto over } :: skip fi
#else
#define MAY_DIE skip
#endif

/* One after the other: a flight at `q` that began later is waited for needlessly. */
inline await(q)
{
	if
	:: q != me ->
		atomic { seen = flights[q]; if :: busy[q] -> seen_busy = 1 :: else -> seen_busy = 0 fi };
		(!seen_busy || flights[q] != seen || dead[q])
	:: else
	fi
}

inline begin()
{
#ifndef NO_WAIT
	await(0); await(1); await(2);
#endif
	busy[me] = 1
}

inline end() { atomic { busy[me] = 0; flights[me]++ } }

/* The far store has what `job` stands for. */
inline clean(job, was)
{
	d_step {
		if
#ifdef BLIND
		:: is == DIRTY ->
#else
		:: version == job && is == DIRTY ->
#endif
			if
			:: was == 0 ->
#ifdef NO_TOMB
				near_clear()
#else
				near_set(0, GONE)
#endif
			:: else -> near_set(value, CLEAN)
			fi
#ifdef DROP_CLEAN
		:: else -> if :: is != DIRTY && is != GONE -> near_clear() :: else fi
#else
#ifdef LEAVE
		:: else
#else
		:: else -> if :: is == HOLD || is == FILLED -> near_clear() :: else fi /* it was fetched while ours was on its way */
#endif
#endif
		fi
	}
}

#define WANTED(job) (version == job || is == NOTHING || is == HOLD || is == FILLED)

inline write_far(job, v)
{
#ifdef LOOK_FIRST
	wanted = WANTED(job);
	begin();
#else
	begin();
	d_step { wanted = WANTED(job) };
#endif
	MAY_DIE;
	if
	:: wanted ->
#ifdef EARLY_END
		end();
#endif
		far = v;
		MAY_DIE;
		clean(job, v);
		MAY_DIE
	:: else
	fi;
#ifdef EARLY_END
	if :: !wanted -> end() :: else fi
#else
	end()
#endif
}

proctype writer(byte me; bit deletes)
{
	byte job[2], what[2], i, seen;
	bit seen_busy, wanted;

#ifdef ONE
	for (i : 0 .. 0) {
#else
	for (i : 0 .. 1) {
#endif
		atomic {
			near_set(versions, DIRTY);
			if :: deletes && i == 1 -> value = 0 :: else fi;
			job[i] = version; what[i] = value;
			accepted = value
		}
		MAY_DIE
	}
#ifdef ONE
	for (i : 0 .. 0) {
#else
	for (i : 0 .. 1) {
#endif
		write_far(job[i], what[i])
	}
over:
	at_work--
}

proctype repairer(byte me)
{
	byte job, what, seen;
	bit seen_busy, wanted;

	if
	:: is == DIRTY ->
#ifdef REPAIR_UNSEEN
		d_step { wanted = (is == DIRTY); job = version; what = value };
#else
		job = version;
		begin();
#ifdef REPAIR_FRESH
		d_step { wanted = (is == DIRTY); job = version; what = value };
#else
		d_step { wanted = (is == DIRTY && version == job); what = value }; /* not: it starts over */
#endif
#endif
		MAY_DIE;
		if
		:: wanted ->
			far = what;
			MAY_DIE;
			clean(job, what);
			MAY_DIE
		:: else
		fi;
#ifndef REPAIR_UNSEEN
		end()
#endif
	:: skip
	fi;
over:
	at_work--
}

proctype reader()
{
	byte mine, found;
	bit tomb;

	atomic {
		if
		:: is == NOTHING -> near_set(0, HOLD); mine = version
		:: is == GONE -> mine = version; tomb = 1
		:: else -> mine = 0
		fi
	};
	if
	:: mine != 0 ->
		found = far;
		d_step {
			if
			:: version == mine && found != 0 && tomb -> near_set(found, CLEAN)
			:: version == mine && found != 0 && !tomb -> near_set(found, FILLED)
			:: version == mine && found == 0 && !tomb -> near_clear()
			:: else
			fi
		}
	:: else
	fi;
	at_work--
}

proctype evictor()
{
	d_step { near_clear(); evicted = 1 };
	at_work--
}

/* When nobody works any more: what is dirty is repaired, and all is as it should be. */
proctype judge()
{
	at_work == 0;
	d_step {
		assert(is == DIRTY || is == NOTHING || is == HOLD || is == GONE || value == far);
		if :: is == DIRTY -> far = value :: else fi;
		assert(evicted || far == accepted)
	}
}

init {
	atomic {
		far = 1; value = 1; version = 1; is = CLEAN; accepted = 1;
#ifdef EVICTS
		at_work = 5; run evictor();
#else
		at_work = 4;
#endif
#ifdef DELETES
		run writer(0, 0); run writer(1, 1);
#else
		run writer(0, 0); run writer(1, 0);
#endif
		run repairer(2);
		run reader();
		run judge()
	}
}
