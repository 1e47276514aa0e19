/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A linearizability checker for the history of one key (G2, G3).
 *
 * A history is a set of calls, each with the moment it was made, the moment it answered, what it was asked and what it
 * answered.  lin_check() says whether the calls can be put into one order that respects those moments and in which
 * each answer is what a plain sequential cache would have said.  The search is complete: "no" is a proof.
 *
 * What a cache may do that a register may not: an entry may vanish (may_vanish), and stays gone until it is set again.
 * What a killed process leaves: a call without an answer, which takes effect at once, later or never, but not after a
 * delete that began after its death and has returned.
 *
 * Source: Wing and Gong (1993), with the memory of visited configurations of Lowe (2017).
 */
#ifndef LARDER_TEST_LIN_H
#define LARDER_TEST_LIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lin_kind {
	LIN_NONE = 0, /* does nothing to the key */
	LIN_GET,
	LIN_EXISTS,
	LIN_SET,
	LIN_ADD,
	LIN_REPLACE,
	LIN_CAS,
	LIN_SWAP, /* get-and-set */
	LIN_DELETE,
	LIN_INCR,
	LIN_APPEND,
	LIN_TOUCH,
	LIN_FLUSH,
	LIN_DROP /* the cache was driven through evictions meanwhile: the entry may have gone, once */
};

#define LIN_CALLS 64u
#define LIN_NEVER UINT64_MAX
#define LIN_TTL_NONE INT64_C(-1)
#define LIN_TTL_UNKNOWN INT64_C(-7)

/* A value, by length and digest.  A decimal number has its worth in `number`. */
struct lin_value {
	uint64_t digest;
	int64_t number;
	uint32_t length;
	bool present;
	bool numeric;
	bool tagged; /* a flush that is tagged takes only what is */
};

struct lin_call {
	enum lin_kind kind;
	int status;        /* enum larder_status of the answer */
	unsigned process;
	bool create;       /* incr: an absent key becomes a counter */
	uint64_t invoke;
	uint64_t response; /* LIN_NEVER: no answer was seen */
	uint64_t death;    /* of a call without answer: when its process was known to be dead; LIN_NEVER if it may live */
	struct lin_value in, out;
	int64_t delta, initial, sum;
	int64_t ttl_ms;    /* asked for */
	int64_t ttl_left;  /* answered; LIN_TTL_UNKNOWN */
	uint64_t expected; /* cas token */
	uint64_t version;  /* answered; 0 = none */
};

/* What the key holds: absent, or a value with its time to live and version (0: not known). */
struct lin_state {
	struct lin_value value;
	int64_t ttl_ms;
	uint64_t version;
};

struct lin_history {
	struct lin_call calls[LIN_CALLS];
	unsigned count;
	bool may_vanish;
	struct lin_state start;
};

/* Digest of bytes, such that lin_digest of a concatenation follows from its parts. */
uint64_t lin_digest(const void *bytes, size_t length);
struct lin_value lin_value_of(const void *bytes, size_t length);
struct lin_value lin_number(int64_t number);

/* A call that was made at `invoke`, with nothing asked and nothing answered yet. */
struct lin_call lin_call_begin(enum lin_kind kind, uint64_t invoke);

/* True: the history can be explained.  False: it cannot.  Aborts the test program when memory runs out. */
bool lin_check(const struct lin_history *history);

/* Prints the history, a call a line, each line beginning with "# ". */
void lin_print(const struct lin_history *history);

#endif
