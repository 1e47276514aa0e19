/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A tier: a cache in shared memory (near) before any other store (far).  Inside; larder/tiered.h is what programs see.
 *
 *   near      entries of the near cache, marks, and the rule that orders fills
 *   words     what all processes of the near cache know of this tier: two rows of its board
 *   queue     writes accepted and not yet made (write-behind), and the one thread that makes them
 *   ear       who listens for changes of others; what may be stale, and since when
 *   line      the kinds of line over which is listened (line_redis)
 *   repair    dirty entries brought to the far store; dirty counts them
 *   flight    who is in the middle of changing the far store, and waiting for that
 *   far       calls of the far store, counted and timed
 *   read, write    the calls
 *   tiered    the kind: settings, opening and closing
 */
#ifndef LARDER_TIER_TIERED_H
#define LARDER_TIER_TIERED_H

#include "shm/series.h"
#include "tier/near.h"
#include "tier/words.h"

enum tier_mode { TIER_WRITE_THROUGH, TIER_WRITE_BEHIND, TIER_WRITE_AROUND };
enum tier_failure { TIER_FAIL, TIER_KEEP };
enum tier_full { TIER_BLOCK, TIER_DROP_OLDEST, TIER_WRITE_NOW };
enum tier_gap { TIER_BOUND, TIER_REVALIDATE, TIER_DROP };
enum tier_listener { TIER_LISTEN_NO, TIER_LISTEN_THREAD, TIER_LISTEN_CALL, TIER_LISTEN_OTHERS };

struct tier_queue;
struct tier_ear;

struct tier {
	struct near near;
	struct tier_words words;
	struct larder_store *near_store, *far;
	struct tier_queue *queue; /* NULL: no namespace is written behind */
	struct tier_ear *ear;     /* NULL: no listener of this process */
	/* metrics: which tier answered */
	struct series_table metrics;
	struct series near_get, far_get, far_set, far_delete, far_batch, queue_wait;
	/* settings */
	uint8_t mode[LARDER_NAMES_MAX]; /* enum tier_mode, by the name's index */
	enum tier_failure on_failure;
	enum tier_full on_full;
	enum tier_gap on_gap;
	enum tier_listener listener;
	bool read_through;
	int64_t bound_ms, near_ttl_ms, negative_ttl_ms, fetch_wait_ms;
	int64_t block_ms, delay_ms, close_ms, keepalive_ms;
	uint32_t queue_count;
	uint64_t queue_bytes;
};

/* The far store was not reached; nothing can be said of what it did. */
static inline bool tier_unreachable(enum larder_status status)
{
	return status == LARDER_UNREACHABLE || status == LARDER_SYSTEM || status == LARDER_DETACHED;
}

/* It could not do what it should, for a reason that has nothing to do with the key. */
static inline bool tier_failed(enum larder_status status)
{
	return tier_unreachable(status) || status == LARDER_REFUSED || status == LARDER_READ_ONLY || status == LARDER_NO_ROOM;
}

/* Does, or did, anybody hear what others change?  Then a report may have met an entry while it was dirty, which the listener leaves
 * alone: what was dirty is not believed once the far store has it, but removed and fetched again. */
static inline bool tier_is_heard(const struct tier *tier)
{
	return stream_state(load_acquire(tier_word(&tier->words, TIER_STREAM))) != STREAM_NEVER; /* STREAM (acquire) */
}

/* Can there be writes in the queue of another process? */
static inline bool tier_queues_of_others(const struct tier *tier)
{
	return load_acquire(tier_word(&tier->words, TIER_QUEUES)) > (tier->queue ? 1 : 0);
}

struct tier *tier_of(struct larder_store *store); /* NULL: of another kind */

/* The time to live and flags that a value with these options is to have near: the namespace's default made explicit, and
 * capped by near-ttl.  Also the default made explicit for the far store. */
void tier_options_far(const struct tier *tier, uint32_t ns, const struct larder_set_options *asked, struct larder_set_options *o);
void tier_options_near(const struct tier *tier, const struct larder_set_options *far, struct larder_set_options *o);

/* Calls of the far store. */
enum larder_status tier_far_get(struct tier *tier, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta);
enum larder_status tier_far_set(struct tier *tier, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options);
enum larder_status tier_far_remove(struct tier *tier, const struct larder_store_key *key);
enum larder_status tier_far_answered(struct tier *tier, const struct series *series, uint64_t begin_ns, enum larder_status status);

#endif
