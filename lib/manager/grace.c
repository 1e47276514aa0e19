/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Grace periods and fork, see grace.h.  Edge: GRACE.
 *
 * A fork waits for the mutex and for liburcu's own, so that the child finds both free and no grace period half done; in the child
 * liburcu forgets readers that stayed in the parent.  Our handler has to run before the engine's takes its own mutex, which a
 * reader may need to finish: so it is registered after the engine's.
 */
#include "manager/grace.h"

#include <errno.h>
#include <pthread.h>

#include "shm/participant.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int set_up_failed; /* errno */

#ifdef LARDER_TSAN
struct word grace_seen;
#endif

void grace_lock(void)
{
	(void)pthread_mutex_lock(&mutex);
}

void grace_unlock(void)
{
	(void)pthread_mutex_unlock(&mutex);
}

void grace_wait(void)
{
	/* GRACE (acquire): all who had entered before have left. */
	urcu_bp_synchronize_rcu();
	grace_tsan_acquire();
}

static void before_fork(void)
{
	grace_lock();
	urcu_bp_before_fork();
}

static void after_fork_in_parent(void)
{
	urcu_bp_after_fork_parent();
	grace_unlock();
}

static void after_fork_in_child(void)
{
	urcu_bp_after_fork_child();
	grace_unlock();
}

static void set_up(void)
{
	set_up_failed = crew_set_up() ? pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) : errno;
}

bool grace_set_up(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, set_up);
	errno = set_up_failed;
	return set_up_failed == 0;
}
