/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Event counts: a word that sleepers watch and that others raise when they have changed what the sleepers wait for.
 *
 *     seen = event_look(w);  if (nothing to wait for)  return;  event_sleep(w, seen, time);  look again
 *     change it;  event_raise(w);
 *
 * The low half of the word is a count of events times two, and a bit that somebody sleeps; the upper half is 0.  Whoever
 * looked before the change finds the count moved on and does not sleep.  Nothing is owed by those who die: a bit without
 * a sleeper costs the next event one system call.  Sleeps are slices: what a process that died did not raise is seen then.
 * WAKE: what was changed before the raising is seen by those who look at the count after it.
 * Source: eventcounts (Reed and Kanodia, 1979), on a futex as in ck_ec of Concurrency Kit.
 */
#ifndef LARDER_BASE_EVENT_H
#define LARDER_BASE_EVENT_H

#include "base/sync.h"

#define EVENT_SLEEPER UINT32_C(1)

static inline uint32_t event_look(const struct word *w)
{
	/* WAKE (acquire) */
	return (uint32_t)load_acquire(w);
}

/* Sleeps for timeout_ns at most, or until an event after event_look(), or a signal, or for no reason. */
void event_sleep(struct word *w, uint32_t seen, int64_t timeout_ns);
/* Lock-free; a system call only where somebody sleeps. */
void event_raise(struct word *w);

#endif
