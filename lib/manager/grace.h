/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Grace periods of this process (userspace RCU, flavour bp) and the one mutex of those who change what readers see.
 *
 * A reader enters, uses what the pointers that it loads lead to, and leaves; it never waits.  Who replaces something publishes
 * the new, waits for a grace period under the mutex, and then owns the old alone.  Readers do nothing between that could wait for
 * the mutex or for a grace period.
 */
#ifndef LARDER_MANAGER_GRACE_H
#define LARDER_MANAGER_GRACE_H

#include <stdbool.h>
/* The reader's side inline: four functions of less than ten lines, whose use section 5 of the LGPL leaves free.  Out of line it
 * costs 40 ns, most of it to find thread-local words. */
#ifndef __SANITIZE_ADDRESS__ /* liburcu's readers are not aligned as it declares them, which a sanitizer's build reports */
#define _LGPL_SOURCE
#endif
#include <urcu-bp.h>

#include "base/sync.h"

#ifdef LARDER_TSAN
/* ThreadSanitizer does not see into liburcu: tell it what a grace period orders. */
extern struct word grace_seen;
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define grace_tsan_acquire() __tsan_acquire(&grace_seen)
#define grace_tsan_release() __tsan_release(&grace_seen)
#else
#define grace_tsan_acquire() ((void)0)
#define grace_tsan_release() ((void)0)
#endif

/* Once for the process: what fork needs.  False, with errno: no memory. */
bool grace_set_up(void);

/* True once this thread has entered before: entering again makes no call. */
#ifdef _LGPL_SOURCE
static inline bool grace_known(void) { return URCU_TLS(urcu_bp_reader) != NULL; }
#else
static inline bool grace_known(void) { return false; }
#endif
#ifdef __clang_analyzer__ /* it does not know that registering a thread gives it a reader */
void grace_enter(void);
#else
static inline void grace_enter(void) { urcu_bp_read_lock(); }
#endif
static inline void grace_leave(void)
{
	grace_tsan_release();
	/* GRACE (release): what we did with what we found happened before anyone takes it apart. */
	urcu_bp_read_unlock();
}

void grace_lock(void);
void grace_unlock(void);
/* Under the mutex, and by nobody who has entered. */
void grace_wait(void);

#endif
