/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Participants: who takes part in the cache, and which of them live.
 *
 * A participant slot is held by the process that has an OFD write lock on byte PARTICIPANT_LOCK_OFF + slot of the cache
 * file, and is lent to one of its threads at a time.  The kernel drops the lock when the process ends, however it
 * ends: so liveness is exact, across PID namespaces and reuse of PIDs.
 *
 * A thread that ends gives its slot to its process, for the next thread that comes; as long as pins of it are in use
 * (they may have been handed to other threads) the slot stays with them instead.
 *
 * A thread's side of it is its struct worker.  Workers lie in memory that a fork wipes (MADV_WIPEONFORK): in a child
 * they read as "not registered", with empty lists, so no child ever shares a hazard or a retired place with its parent.
 */
#ifndef LARDER_SHM_PARTICIPANT_H
#define LARDER_SHM_PARTICIPANT_H

#include "shm/region.h"

#define PARTICIPANT_LOCK_OFF (INT64_C(1) << 62)

struct crew; /* all workers of one handle in this process */

struct worker {
	uint32_t slot_plus_1;      /* 0: not registered (or wiped by fork) */
	volatile uint64_t ready;   /* handle_id between calls, the layer above makes it so: a signal handler that finds another backs off */
	struct shm_participant *self;
	uint64_t registration;
	uint64_t handle_id;        /* of the crew: guards the thread-local cache against a closed and reopened handle */
	struct word pins_used;     /* bitmap of pin[] words in use; changed by any thread of the process */
	_Alignas(LINE_BYTES) unsigned char tail[]; /* tail_bytes of zeroed memory for the layers above */
};

/* Once for the process, before the first crew: the end of threads and forks.  Called earlier by those whose own handlers
 * at fork have to run before these.  False, with errno: no memory for it. */
bool crew_set_up(void);
/* Sets up and tears down the workers of a handle.  crew_create also enters the region into the list that the atfork
 * handlers walk; crew_destroy clears all hazards, gives the slots back and frees every worker. */
enum larder_status crew_create(struct crew **crew, struct region *region, size_t tail_bytes);
void crew_destroy(struct crew *crew);

/* The calling thread's worker, registered: LARDER_OK; LARDER_NO_SLOT, LARDER_NO_MEMORY, LARDER_SYSTEM, LARDER_DETACHED
 * (the file was removed: looked for at a thread's first call only).  The fast path is one thread-local comparison. */
struct worker_cache { struct worker *worker; uint64_t handle_id; };
extern _Thread_local struct worker_cache worker_cache __attribute__((tls_model("initial-exec"), visibility("hidden")));
enum larder_status crew_join_slow(struct crew *crew, struct worker **worker);
uint64_t crew_id(const struct crew *crew);
static inline enum larder_status crew_join(struct crew *crew, uint64_t id, struct worker **worker)
{
	if (likely(worker_cache.handle_id == id && worker_cache.worker->slot_plus_1 != 0)) {
		*worker = worker_cache.worker;
		return LARDER_OK;
	}
	return crew_join_slow(crew, worker);
}
/* The worker of this process that holds `slot` in `registration`, or NULL: for pins released by another thread. */
struct worker *crew_find(struct crew *crew, uint32_t slot, uint64_t registration);

/* True if a living process holds the slot, or it cannot be found out.  A few system calls, about a microsecond; asked
 * only of a slot that stands in the way. */
bool participant_alive(struct region *region, uint32_t slot);
/* A dead participant's hazards named something: takes its slot for a moment, clears them and lets go.  False if it is
 * alive or taken. */
bool participant_bury(struct region *region, uint32_t slot);

#endif
