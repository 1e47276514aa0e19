/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write-behind: writes that are done near and still have to be made far.
 *
 * A bounded queue in this process (liburcu's wait-free concurrent queue) and one thread that empties it, in batches that the far
 * store gets as one pipeline.  The thread is started by the first write and exists only where a mode asks for it; all signals are
 * blocked in it.  What it writes is copied into the queue, so that eviction near loses nothing.
 *
 * Each write carries the version of its dirty entry near.  A batch is a flight (flight.h).  In it, before it is sent, that entry is
 * looked at: another version there means that a newer write of the key was accepted on this host, by whatever process, and was or will
 * be made: so writes coalesce, and the newest wins.  After it is made, the entry is marked clean by CAS from that version.
 *
 * A crash loses the queue, not what is near: those entries stay dirty, and larder_store_drain() or `larder redis
 * reconcile` of any process brings them to the far store (repair.h).  A forked child starts with an empty queue of
 * its own; its parent writes what it had accepted.
 */
#ifndef LARDER_TIER_QUEUE_H
#define LARDER_TIER_QUEUE_H

#include <pthread.h>

#include "tier/tiered.h"

enum tier_admission { TIER_ADMITTED, TIER_REFUSED, TIER_NOT_QUEUED };

enum larder_status tier_queue_create(struct tier *tier, struct tier_queue **queue);
/* Writes what is in it, for up to tier->close_ms; what is left then counts as lost. */
void tier_queue_close(struct tier_queue *queue);

/* Room for one write of so many bytes: TIER_ADMITTED; TIER_NOT_QUEUED: make it now, the queue is full or has no thread;
 * TIER_REFUSED: it was full for block-timeout. */
enum tier_admission tier_queue_admit(struct tier_queue *queue, size_t bytes);
void tier_queue_dismiss(struct tier_queue *queue, size_t bytes); /* gives that room back */

/* A write in the making, with copies of key and value; NULL without memory. */
struct tier_write;
struct tier_write *tier_write_make(const struct larder_store_key *key, const void *value, size_t value_bytes);
void tier_write_free(struct tier_write *write);
/* Accepts it: version is that of its dirty entry near; options NULL: a delete. */
void tier_queue_put(struct tier_queue *queue, struct tier_write *write, const struct near_key *k, uint64_t version,
		const struct larder_set_options *options);

/* Waits until all that was accepted before is written.  LARDER_OK; LARDER_UNREACHABLE: not within timeout_ms. */
enum larder_status tier_queue_settle(struct tier_queue *queue, int64_t timeout_ms);

/* Writes that are in it. */
uint64_t tier_queue_depth(const struct tier_queue *queue);

/* How often this process's ancestors were forked since the first tier was opened: another number means another process. */
uint64_t tier_forks(void);
/* Whose is what a word says?  The word is 2 * forks of the process that set it up, and 1 more while it is being set up.
 * True: the caller's process has it, and the caller may use it.  False: the caller is the one to set it up, and ends by
 * life_begun().  A process that is forked in the middle of that finds the word of its parent and begins anew. */
bool life_is_ours(struct word *life, uint64_t forks);
void life_begun(struct word *life, uint64_t forks);
/* Starts a thread in which all signals are blocked.  LARDER_OK or LARDER_SYSTEM. */
enum larder_status tier_thread_start(pthread_t *thread, void *(*run)(void *), void *arg);

#endif
