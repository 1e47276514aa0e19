/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The near side of a tier: one cache in shared memory, whose entries say how they stand to the far store.
 *
 * What an entry is beside a value stands in the upper three bits of its user flags, which a tier keeps to itself:
 *   DIRTY   the far store does not have it yet: not to be removed by anyone but a newer write
 *   ABSENT  the far store has no such key (or, with DIRTY, is still to be told so); no value
 *   HOLD    no value, but somebody is fetching or writing one; its owner stands in the lower bits
 *   GONE    (HOLD and ABSENT) no value: what was here is far, and is to be asked for there; an older write that waits in some queue
 *           sees by it that it was superseded
 * An entry that is not a value has a length of 0, so that a hit of any other length needs no second look.  ABSENT with a value says that it
 * was fetched where nothing was, and so does not supersede a write that was evicted here.
 *
 * The one rule of order: whoever brings a value from the far store, or has changed it there, puts it here by CAS on the version
 * that it saw (or held) before it began.  Any set, delete, flush or invalidation in between makes that CAS fail, so nothing old
 * overwrites what is new or survives its deletion.  A HOLD makes "absent" a version: without it two absences look alike.
 * What is DIRTY was accepted and is not yet far: it stays, and is read, until it is far or a newer write is there.  So the listener's
 * flushes pass it by (EXTRA_KEPT), and GONE as well, which older writes are to see: nothing is believed by it.  An entry that replaces a
 * version is of its generation: what a dirty one leaves behind when it is far is hidden if a flush has come between.  What was filled in
 * place of what is gone is hidden like any value; whoever finds it so makes it GONE again (but for on-gap = drop, which forgets).
 * A crash leaves a HOLD: its time is bounded, and whoever meets it asks whether its owner lives.
 */
#ifndef LARDER_TIER_NEAR_H
#define LARDER_TIER_NEAR_H

#include <larder/store.h>

#include "cache/call.h"

#define NEAR_DIRTY (UINT32_C(1) << 31)
#define NEAR_ABSENT (UINT32_C(1) << 30)
#define NEAR_HOLD (UINT32_C(1) << 29)
#define NEAR_GONE (NEAR_HOLD | NEAR_ABSENT)
#define NEAR_MARKS (NEAR_DIRTY | NEAR_ABSENT | NEAR_HOLD)
#define NEAR_STUCK 8u
#define NEAR_GONE_MS 60000 /* an older write does not wait in a queue for longer than this after its newer one was made */

struct near {
	struct larder *cache;
	struct word stuck[NEAR_STUCK];          /* flights that were waited for in vain, by participant */
	struct word32 number[LARDER_NAMES_MAX]; /* by the name's index: number + 1, 0 for not yet asked */
};

/* A key of the near cache. */
struct near_key {
	uint32_t ns;
	const void *bytes;
	size_t count;
};

/* What is under a key, without its value. */
struct near_state {
	uint64_t version;
	uint32_t marks;
	uint32_t owner;      /* of a HOLD */
	uint32_t user_flags; /* without marks */
	bool fetched;        /* it came from the far store to where nothing was, or is about to */
	int64_t ttl_left_ms, created_at_ms;
	uint32_t generation; /* of the namespace, before it was looked at */
	size_t value_bytes;
};

/* The namespace's number here; registers it, and notes that a tier uses it (near_hide_all). */
enum larder_status near_number_slow(struct near *near, const struct larder_name *name, uint32_t *ns);
static inline enum larder_status near_key_of(struct near *near, const struct larder_store_key *key, struct near_key *k)
{
	uint32_t known = word32_load_hint(&near->number[key->ns->index]);

	k->bytes = key->bytes;
	k->count = key->count;
	k->ns = known - 1;
	return likely(known != 0) ? LARDER_OK : near_number_slow(near, key->ns, &k->ns);
}

/* Asks memory for where the key is looked for, so that what comes before that need not be waited for as well. */
static inline void near_ask(const struct near *near, const struct near_key *k)
{
	(void)key_make(&near->cache->region, k->bytes, k->count, k->ns, false);
}

/* LARDER_OK: there is something, described in *state; LARDER_MISS; a failure. */
enum larder_status near_peek(struct near *near, const struct near_key *k, struct near_state *state);
/* The same, also of what a soft flush has hidden. */
enum larder_status near_peek_hidden(struct near *near, const struct near_key *k, struct near_state *state);

/* Reads the value, or whatever else is there. */
static inline enum larder_status near_read(struct near *near, const struct near_key *k, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	for (;;) {
		enum larder_status status = flags || meta ? larder_get_with(near->cache, k->ns, k->bytes, k->count, value->data,
				value->capacity, &value->length, flags, meta)
				: larder_get(near->cache, k->ns, k->bytes, k->count, value->data, value->capacity, &value->length);
		if (likely(status != LARDER_SHORT || !value->grow))
			return status;
		status = larder_buffer_take(value, value->length); /* what was there; it may have grown again when it is read */
		if (status)
			return status;
	}
}

/* Without marks, as callers see it. */
static inline void near_strip(struct larder_meta *meta)
{
	if (meta)
		meta->user_flags &= ~NEAR_MARKS;
}

/* Puts a HOLD where nothing is: LARDER_OK and its version, LARDER_EXISTS, a failure. */
enum larder_status near_hold(struct near *near, const struct near_key *k, int64_t hold_ms, uint64_t *version);
/* The same in place of what is there in `version` (a dead owner's HOLD): also LARDER_CHANGED, LARDER_MISS. */
enum larder_status near_hold_over(struct near *near, const struct near_key *k, int64_t hold_ms, uint64_t *version);
bool near_owner_lives(struct near *near, uint32_t owner);

/* Puts a value in place of `version`, or (version 0) whatever is there.  options: TTL and user flags; marks: of NEAR_MARKS.
 * LARDER_OK and result->version; LARDER_CHANGED, LARDER_MISS: that version is not there any more; a failure. */
enum larder_status near_put(struct near *near, const struct near_key *k, uint64_t version, uint32_t marks, const void *value,
		size_t value_bytes, const struct larder_set_options *options, struct larder_result *result);
/* Puts a value that was asked for after near_peek() had given *state in its place.  It is as old as that look: what was flushed
 * since does not come back by it. */
enum larder_status near_fill(struct near *near, const struct near_key *k, const struct near_state *state, uint32_t marks, const void *value,
		size_t value_bytes, const struct larder_set_options *options, struct larder_result *result);
/* A hidden value that superseded writes becomes GONE, so that what is fetched in its place still does.  True: look again. */
bool near_unhide(struct near *near, const struct near_key *k);
/* What a soft flush has hidden, or its grace keeps, goes if it is still of that version; gone: and leaves that behind. */
enum larder_status near_take_hidden(struct near *near, const struct near_key *k, uint64_t version, bool gone);
/* Removes what is there in that version, and nothing else. */
enum larder_status near_take(struct near *near, const struct near_key *k, uint64_t version);
/* Removes whatever is there but for a dirty entry, and what says that one is gone.  *dirty: there is one. */
enum larder_status near_drop(struct near *near, const struct near_key *k, bool *dirty);
/* Removes what was fetched, or is about to be: it may be older than what was written far just now. */
void near_drop_fetched(struct near *near, const struct near_key *k);

/* Default time to live of the namespace, LARDER_TTL_NONE without. */
int64_t near_ttl(const struct near *near, uint32_t ns);

/* Flushes a namespace, or every one that a tier has used in this cache, but for what is dirty. */
void near_hide(struct near *near, uint32_t ns, bool soft);
void near_hide_all(struct near *near, bool soft);
/* The number of a namespace that some tier has used; LARDER_MISS else. */
enum larder_status near_lookup(struct near *near, const char *name, uint32_t *ns);

#endif
