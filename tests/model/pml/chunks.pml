/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: large values are chunks and a manifest published last; chunks may be evicted at any time: does a reader see a mixture, or anybody act on a ghost?
 * pass: | chunk keys hold the version of their set; a missing chunk takes the manifest out before a miss is answered
 * fail: -DNO_VERSION | chunk keys without the version: a reader's value is a mixture
 * fail: -DMISS_FIRST | the miss is answered before the manifest is taken out: an add then finds the ghost and answers "exists"
 * fail: -DMANIFEST_FIRST | the manifest is published before its chunks: a set that has returned is lost to a reader in between
 *
 * Two chunks.  slot: the version whose manifest it holds, or 0.  chunk[v * 2 + n]: 0, or the version of its content.
 */
#include "common.h"

#define CHUNKS 2
#define VERSIONS 3

byte slot;
byte chunk[(VERSIONS + 1) * CHUNKS];
bit answered_miss[VERSIONS + 1];  /* ghost: a get found this version's chunk missing and has returned */
bit evicted[VERSIONS + 1];        /* ghost: one of its chunks was evicted */

#ifdef NO_VERSION
#define KEY(v, n) (n)
#else
#define KEY(v, n) ((v) * CHUNKS + (n))
#endif

inline write_chunks(v) { chunk[KEY(v, 0)] = v; chunk[KEY(v, 1)] = v }

/* A set of version v.  Versions are unique: participant and its own counter. */
proctype setter(byte v)
{
	byte old;
	bit done;

#ifndef MANIFEST_FIRST
	write_chunks(v);
#endif
	do
	:: !done -> old = slot; CAS(slot, old, v, done)
	:: else -> break
	od;
#ifdef MANIFEST_FIRST
	write_chunks(v);
#endif
}

/* add: stores only where there is nothing. */
proctype adder(byte v)
{
	byte old;
	bit done, ghosts[VERSIONS + 1];

	d_step { ghosts[1] = answered_miss[1]; ghosts[2] = answered_miss[2] };
	write_chunks(v);
	do
	:: !done ->
		old = slot;
		if
		:: old != 0 -> assert(!ghosts[old]); break   /* "exists": not what was answered as a miss before this call */
		:: else -> CAS(slot, 0, v, done)
		fi
	:: else -> break
	od
}

proctype evictor()
{
	byte i;

	i = 0;
	do
	:: i < (VERSIONS + 1) * CHUNKS - 1 -> i++
	:: break
	od;
	atomic { if :: chunk[i] != 0 -> evicted[chunk[i]] = 1; chunk[i] = 0 :: else fi; i = 0 }
}

proctype getter()
{
	byte v, a, b;
	bit done;
again:
	v = slot;
	if :: v == 0 -> goto out :: else fi;
	a = chunk[KEY(v, 0)];
	if :: a == 0 -> goto missing :: else fi;
	b = chunk[KEY(v, 1)];
	if :: b == 0 -> goto missing :: else fi;
	assert(a == v && b == v);
	goto out;
missing:
	assert(evicted[v]);
#ifndef MISS_FIRST
	CAS(slot, v, 0, done);
	if :: !done -> goto again :: else fi;
#endif
	answered_miss[v] = 1;
out:
	skip
}

init {
	atomic {
		run setter(1);
		run setter(2);
		run adder(3);
		run evictor();
		run getter();
		run getter()
	}
}
