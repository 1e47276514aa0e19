/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleeping and waking by futex, across processes.  See event.h. */
#include "base/event.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The kernel's futexes have 32 bits: the word's low half, which is where the count is. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low half of a word comes first");

static void futex(struct word *w, int operation, uint32_t value, const struct timespec *timeout)
{
	(void)syscall(SYS_futex, (uint32_t *)(void *)w, operation, value, timeout, NULL, 0);
}

void event_sleep(struct word *w, uint32_t seen, int64_t timeout_ns)
{
	struct timespec timeout = { .tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000 };
	if (!(seen & EVENT_SLEEPER) && !cas_acq_rel(w, seen, seen | EVENT_SLEEPER))
		return; /* an event, or another sleeper: the caller looks again */
	futex(w, FUTEX_WAIT, seen | EVENT_SLEEPER, &timeout);
}

void event_raise(struct word *w)
{
	for (;;) { /* progress: a lost CAS is another event, or a sleeper that is about to sleep */
		uint64_t seen = load_acquire(w);
		/* WAKE (release): what happened is seen by those who see the count. */
		if (!cas_acq_rel(w, seen, (uint32_t)((seen & ~(uint64_t)EVENT_SLEEPER) + 2)))
			continue;
		if (seen & EVENT_SLEEPER)
			futex(w, FUTEX_WAKE, INT_MAX, NULL);
		return;
	}
}
