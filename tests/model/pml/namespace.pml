/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: several processes register names at once, some of one name, some of names that share a hash, and stop anywhere: has each name one number, and each number one name?
 * pass: | hash, length and words are written by CAS from 0, in this order; who meets another value goes on to the next place
 * pass: -DLENGTHS | three names of one hash, of two lengths
 * pass: -DHASHES | names of two hashes that want the same place
 * fail: -DPLAIN | plain stores of length and words
 * fail: -DHASHES -DPLAIN_HASH | a plain store of the hash
 * fail: -DSKIP | who meets a place that is not fully written takes the next one
 *
 * A stopped registrar leaves a place half written; whoever comes by with a name that agrees so far writes on.
 */
#include "common.h"

#define PLACES 3
#define WORDS 2
#define NAMES 4

byte hash[PLACES], length[PLACES], word[PLACES * WORDS];
byte number[NAMES];           /* ghost: 1 + the number that a registrar of this name has returned with */

#define NAME_HASH(n) (n == 3 -> 8 : 7)
#define NAME_LENGTH(n) (n == 2 -> 5 : 4)
#define NAME_WORD(n, i) (n == 1 && i == 1 -> 31 : 30 + n / 3)

/* ok: the word is now, or was already, the wanted one. */
inline agree(w, wanted)
{
	seen = w;
	if
#ifdef SKIP
	:: seen == 0 && !mine -> ok = 0
	:: seen == 0 && mine ->
#else
	:: seen == 0 ->
#endif
#ifdef PLAIN
		w = wanted;
#else
		TRY_CAS(w, 0, wanted);
#endif
		ok = (w == wanted)
	:: else -> ok = (seen == wanted)
	fi;
	seen = 0
}

proctype registrar(byte name)
{
	byte at, i, seen;
	bit ok, mine;

	do
	:: at < PLACES ->
		ok = 0;
#ifdef PLAIN_HASH
		seen = hash[at];
		mine = (seen == 0);
		if :: mine -> hash[at] = NAME_HASH(name) :: else fi;
#else
		CAS(hash[at], 0, NAME_HASH(name), mine);
#endif
		if
		:: hash[at] == NAME_HASH(name) ->
			agree(length[at], NAME_LENGTH(name));
			i = 0;
			do
			:: ok && i < WORDS -> agree(word[at * WORDS + i], NAME_WORD(name, i)); i++
			:: else -> break
			od
		:: else
		fi;
		if :: ok -> break :: else fi;
		at++
	:: else -> break
	od;
	atomic {
		if
		:: at < PLACES ->
			assert(number[name] == 0 || number[name] == at + 1);
			number[name] = at + 1;
			assert(number[0] == 0 || (number[0] != number[1] && number[0] != number[2] && number[0] != number[3]));
			assert(number[1] == 0 || (number[1] != number[2] && number[1] != number[3]));
			assert(number[2] == 0 || number[2] != number[3]);
			assert(hash[at] == NAME_HASH(name) && length[at] == NAME_LENGTH(name));
			assert(word[at * WORDS] == NAME_WORD(name, 0) && word[at * WORDS + 1] == NAME_WORD(name, 1))
		:: else
		fi
	}
}

init {
	atomic {
		run registrar(0);
#ifdef HASHES
		run registrar(0);
		run registrar(3)    /* another hash */
#else
		run registrar(1);   /* same hash, length and first word */
#ifdef LENGTHS
		run registrar(2)    /* same hash, another length */
#else
		run registrar(0)
#endif
#endif
	}
}
