/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Coherence: what others change in the far store is removed near, by one listener for all processes of the host.
 *
 * The OFFICE of listener is held by one participant of the near cache.  Others that could listen look every 100 ms: a dead holder
 * (its slot is free, or another's) is followed at once, one that has not attended for a second too, for it may be stopped.  The
 * line to the far store is a kind of its own (struct tier_line_kind: Redis, and that of the tests).
 *
 * The order of a new line: the far store is told to report changes; then what is dirty near is brought there, if it takes it; then
 * everything else near is flushed softly (or dropped), because it may have changed unheard; only then the stream is LIVE.  Fills
 * that were begun before find their holds flushed.  What stays dirty is read, and tried again while the line lives.  When the line
 * breaks, or is not heard for four keepalives, the stream is BROKEN since the last moment up to which everything had been heard.
 * Edge: STREAM.
 */
#ifndef LARDER_TIER_EAR_H
#define LARDER_TIER_EAR_H

#include <larder/tiered.h>

#include "tier/tiered.h"

/* What a line reports to the listener. */
struct tier_hearing {
	struct tier *tier;
	uint64_t invalidations;
	bool confirmed; /* the last question was answered: all that came before it was heard */
};
void tier_heard_key(struct tier_hearing *hearing, const char *ns, const void *key, size_t key_bytes);
void tier_heard_clear(struct tier_hearing *hearing, const char *ns); /* NULL: everything */

/* A way to hear of changes in far stores of one kind. */
struct tier_line_kind {
	const struct larder_store_kind *far;
	/* What tells this far store from others, as text. */
	void (*identity)(const struct larder_store *far, char *text, size_t room);
	/* Whatever the far store wants to share among the processes of the near cache. */
	void (*share)(struct larder_store *far, struct larder_store *near);
	/* NULL, or why this one cannot be listened to, with the remedy. */
	const char *(*refuses)(const struct larder_store *far);
	/* Connects, and has changes reported from now on.  LARDER_OK; a failure, with a message. */
	enum larder_status (*open)(struct larder_store *far, int64_t timeout_ms, void **line);
	void (*close)(void *line);
	void (*abandon)(void *line); /* in a forked child: what it inherited is closed, without a word to the far store */
	int (*descriptor)(void *line); /* readable when there is something to hear */
	/* Asks the far store for a sign that the line is whole. */
	enum larder_status (*ask)(void *line);
	/* Reports what is there, without waiting.  LARDER_OK; a failure: the line is broken. */
	enum larder_status (*hear)(void *line, struct tier_hearing *hearing);
};
/* The kinds of line that there are, ended by NULL. */
extern const struct tier_line_kind *const tier_lines[];
extern const struct tier_line_kind *tier_line_of_test;

/* Finds the words of the tier, and starts listening if its settings say so.  LARDER_OK; LARDER_INVALID: the far store cannot be
 * listened to; LARDER_NO_ROOM: no row of the board is left for that. */
enum larder_status tier_ear_open(struct tier *tier);
void tier_ear_close(struct tier *tier);
/* Asks whether the stream that is said to be live was heard of lately; now and then, by those who rely on it. */
void tier_watch(struct tier *tier);

#endif
