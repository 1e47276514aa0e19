/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A circuit breaker for one server, in words that all processes of a host may share.
 *
 * STATE is one word: (closed, open or probing; turn; level of back-off; a moment in ms).  It is changed by CAS alone, and every
 * change counts the turn up, so that whoever acts on a state that is gone does nothing.  OPEN: the moment is that of the next
 * probe.  PROBING: one caller is trying; at the moment another may, whatever became of the first (it was killed, it is stopped).
 * WINDOW is (beginning in ms, failures, successes since the first of them).
 * A crash in the middle: each change is one CAS, so there is no middle.
 */
#ifndef LARDER_REDIS_BREAKER_H
#define LARDER_REDIS_BREAKER_H

#include <larder.h>

#include "base/sync.h"

enum breaker_word { BREAKER_STATE, BREAKER_WINDOW, BREAKER_OPENED, BREAKER_CLOSED, BREAKER_PROBES, BREAKER_REFUSED,
	BREAKER_FAILURES, BREAKER_LAST, BREAKER_OPENED_AT, BREAKER_WORDS };

enum breaker_state { BREAKER_IS_CLOSED = 0, BREAKER_IS_OPEN = 1, BREAKER_IS_PROBING = 2 };

struct breaker_options {
	uint32_t failures;   /* open at so many within the window, if they are half of all calls since the first; 0: never */
	int64_t window_ms;
	int64_t least_ms, most_ms; /* of back-off, which doubles; each is then drawn from its upper half */
	int64_t probe_ms;    /* the time a probe has */
	int64_t clock_offset_ms; /* from this process's monotonic clock to the one that all share */
};

struct breaker {
	struct pointer words; /* struct word[BREAKER_WORDS] */
	struct word own[BREAKER_WORDS];
	const struct breaker_options *options;
};

/* What a caller of breaker_enter() took upon itself: given back to breaker_leave(). */
struct breaker_pass {
	uint64_t state;
	bool probe;
};

/* The words are those of this process alone, closed. */
void breaker_make(struct breaker *breaker, const struct breaker_options *options);
/* From now on the words are `words`, shared with others and zeroed when new. */
void breaker_share(struct breaker *breaker, struct word *words);

/* False: it is open; fail without trying.  True: try, then tell breaker_leave() how it went.  Who tries all the same tells, too,
 * and closes it if that went well. */
bool breaker_enter(struct breaker *breaker, struct breaker_pass *pass);
void breaker_leave(struct breaker *breaker, const struct breaker_pass *pass, bool good, int reason);
/* Neither good nor bad: the call never reached the server, for reasons of our own. */
void breaker_forget(struct breaker *breaker, const struct breaker_pass *pass);

enum breaker_state breaker_now(const struct breaker *breaker, int64_t *next_ms);
uint64_t breaker_count(const struct breaker *breaker, enum breaker_word word);

/* What words say to somebody who looks, now being his clock_precise_ms() and clock_offset_ms() together.  0: it is closed;
 * there was none. */
struct breaker_report {
	enum breaker_state state;
	uint64_t retry_ms, open_for_ms;
	uint64_t window_failures, window_successes, window_ms; /* since the first failure */
};
void breaker_report(const struct word *words, int64_t now_ms, struct breaker_report *report);
const struct word *breaker_words(const struct breaker *breaker);

#endif
