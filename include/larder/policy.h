/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policies: one computation for all processes of the host, invalidation by tag and prefix, quotas.
 *
 *     enum larder_status load_user(void *arg, struct larder_loaded *to) {
 *             to->value = ask_database(arg, &to->value_bytes);
 *             return to->value != NULL ? LARDER_OK : LARDER_ABSENT;
 *     }
 *     struct larder_compute_options o = LARDER_COMPUTE_OPTIONS_INIT;
 *     o.set.ttl_ms = 60000, o.set.grace_ms = 600000, o.set.jitter_percent = 10;
 *     larder_get_or_compute(cache, ns, "user:7", 6, load_user, db, &o, buffer, sizeof buffer, &length, NULL);
 *
 * Unless a call says otherwise, what larder.h says of all calls holds: lock-free, for any number of threads, not for signal
 * handlers, no output.  Only larder_lease_wait() and larder_get_or_compute() sleep, never longer than they are told.
 *
 * A LEASE is an entry under the key itself that says who computes its next value.  At most one caller on the host holds the
 * lease of a key.  It goes with whatever happens to the key: a set, delete, flush or invalidation of a tag in between makes
 * the set by lease fail, so that no value computed from what was true before is stored after.  A holder that dies loses it
 * at once (the kernel's lock on its participant slot tells), one that is stopped when hold_ms are over.  Stale values stay
 * readable under it.  Caches created LARDER_PLAIN have leases, too.
 */
#ifndef LARDER_POLICY_H
#define LARDER_POLICY_H

#include <larder.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Leases -------------------------------------------------------------------------------------------------------- */

#define LARDER_HOLD_DEFAULT_MS INT64_C(30000)
#define LARDER_HOLD_MAX_MS (INT64_C(1) << 32)

struct larder_lease_options {
	size_t size;         /* sizeof(struct larder_lease_options): set by LARDER_LEASE_OPTIONS_INIT */
	uint32_t flags;      /* LARDER_ALLOW_STALE: hand out a stale value if there is no fresh one; LARDER_NO_COUNT */
	uint32_t tag_count;  /* of those that the new value will carry, as far as they are known: the lease carries them, and */
	const char *const *tags; /* goes when one of them is invalidated.  Those first known at the set are looked at then */
	int64_t hold_ms;     /* when they are over, the lease is anyone's; 1 .. LARDER_HOLD_MAX_MS; 0: LARDER_HOLD_DEFAULT_MS */
	double beta;         /* 0: none; above: early refresh, the earlier the higher (1 is usual, 1000 the most) */
};
#ifdef __cplusplus
#define LARDER_LEASE_OPTIONS_INIT { sizeof(larder_lease_options), 0, 0, 0, 0, 0 }
#else
#define LARDER_LEASE_OPTIONS_INIT { .size = sizeof(struct larder_lease_options) }
#endif

struct larder_lease {
	bool held;      /* it is this caller that computes: larder_lease_set() or larder_lease_release() must follow */
	uint64_t token; /* of the lease held, else 0 */
	struct larder_meta meta; /* LARDER_OK, LARDER_STALE, LARDER_ABSENT: of what was found */
};

/*
 * Gets `key` as larder_get_with() does, and takes its lease if there is no fresh value and nobody else holds it.
 *
 * LARDER_OK      a fresh value is in buffer.  held: it is worth computing anew already (early refresh), and that falls to this
 *                caller; others go on reading it.
 * LARDER_STALE   a stale value is in buffer (LARDER_ALLOW_STALE).  held: compute a new one; else somebody does.
 * LARDER_MISS    held: compute; else somebody does: larder_lease_wait(), then call this again.
 * LARDER_ABSENT  the key is known to have no value; nothing is held.
 * LARDER_SHORT   the value found does not fit: *length says what is needed; nothing is held.
 * LARDER_INVALID (options), LARDER_READ_ONLY (inspector), the failures of set (no room for the lease: compute without) and of
 * any call.
 *
 * The lease is the participant's, that is this thread's: if the process dies the next caller takes it over at once.  It may be
 * set or released by any thread or process that knows key and token.  Does not sleep.  The token is of use for this key only.
 * Source: leases of memcached at Facebook (Nishtala et al., 2013); early refresh by XFetch (Vattani et al., 2015): now − cost ×
 * beta × ln(random) ≥ expiry.
 */
LARDER_API enum larder_status larder_lease(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const struct larder_lease_options *options, void *buffer, size_t capacity, size_t *length,
		struct larder_lease *lease);

/*
 * Sets the value that was computed under the lease `token`, ends the lease and wakes those who wait.
 * options (may be NULL) as of larder_set_with(), in mode LARDER_SET.
 * LARDER_OK; LARDER_CHANGED: the lease is gone (something was set, deleted, flushed, invalidated or evicted meanwhile, another
 * one took it over, or hold_ms are over) and nothing was set; the failures of set, which leave the lease as it is.
 */
LARDER_API enum larder_status larder_lease_set(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, const struct larder_set_options *options, uint64_t token,
		struct larder_result *result);

/* Ends the lease without a value: what was there before stays as it was, the next caller gets the lease, waiters wake.
 * LARDER_OK; LARDER_CHANGED: it was gone already; the failures of set. */
LARDER_API enum larder_status larder_lease_release(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		uint64_t token);

/*
 * Sleeps while somebody who lives holds the lease of `key`, timeout_ms at most (0: only looks, for event loops).
 * LARDER_OK: nobody holds it; call larder_lease() again.  LARDER_TIMEOUT.  LARDER_INVALID, LARDER_READ_ONLY, and the failures
 * of any call.  A holder's death is seen within 10 ms.  Signals do not end the sleep.
 * Source: event counts (Reed and Kanodia, 1979) on futexes that the processes share.
 */
LARDER_API enum larder_status larder_lease_wait(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		int64_t timeout_ms);

/* ---- All in one ------------------------------------------------------------------------------------------------------ */

/* What a loader returns.  It is preset from the options; what the loader leaves alone stays so. */
struct larder_loaded {
	const void *value;   /* read after the loader has returned, until release is called */
	size_t value_bytes;
	struct larder_set_options set; /* ttl_ms, tags … of this value */
	void (*release)(struct larder_loaded *loaded); /* called once the value was used, if not NULL */
	void *own;           /* the loader's, for release */
};
/* Computes the value: LARDER_OK; LARDER_ABSENT: there is none; anything else is passed on to the caller.  Runs in the thread of
 * the call, outside of any call of larder: it may use the cache, sleep and take its time. */
typedef enum larder_status larder_loader(void *arg, struct larder_loaded *loaded);

enum larder_compute_flags {
	LARDER_COMPUTE_STALE = 1u << 0, /* while somebody computes, answer with the stale value at once, if there is one */
	LARDER_COMPUTE_NEVER_ALONE = 1u << 1 /* when wait_ms are over answer LARDER_TIMEOUT, rather than compute without lease */
};
#define LARDER_WAIT_DEFAULT_MS INT64_C(5000)

struct larder_compute_options {
	size_t size;       /* sizeof(struct larder_compute_options): set by LARDER_COMPUTE_OPTIONS_INIT */
	uint32_t flags;    /* enum larder_compute_flags */
	uint32_t unused;   /* 0 */
	int64_t wait_ms;   /* for another one's computation, at most; 0: LARDER_WAIT_DEFAULT_MS; -1: not at all */
	int64_t hold_ms;   /* see struct larder_lease_options */
	double beta;       /* the same; the cost is measured */
	int64_t absent_ttl_ms; /* for how long it is remembered that there is no value; 0: not */
	struct larder_set_options set; /* what values are set with; mode LARDER_SET */
};
#ifdef __cplusplus
#define LARDER_COMPUTE_OPTIONS_INIT { sizeof(larder_compute_options), 0, 0, 0, 0, 0, 0, LARDER_SET_OPTIONS_INIT }
#else
#define LARDER_COMPUTE_OPTIONS_INIT { .size = sizeof(struct larder_compute_options), .set = LARDER_SET_OPTIONS_INIT }
#endif

/* How it went. */
struct larder_computed {
	bool computed;   /* by this caller */
	bool stored;     /* and set */
	bool timed_out;  /* waited for another one until wait_ms were over */
	enum larder_status store_status; /* of the set, if computed; LARDER_CHANGED: invalidated meanwhile */
	uint32_t cost_us; /* of the computation */
};

/*
 * The value of `key`: found, or computed by loader(arg) once for all callers on the host, and set.
 *
 * options may be NULL.  how (may be NULL) says how it went.
 * LARDER_OK      the value, found, or computed by this caller or by another while this one waited
 * LARDER_STALE   a stale value: LARDER_COMPUTE_STALE while another one computes; or loader failed, or wait_ms are over, and there
 *                is one
 * LARDER_ABSENT  there is none, says the loader, or said one less than absent_ttl_ms ago
 * LARDER_SHORT   it does not fit; *length says what is needed; one that was computed is in the cache for the next call
 * LARDER_TIMEOUT only with LARDER_COMPUTE_NEVER_ALONE
 * LARDER_INVALID, LARDER_READ_ONLY (inspector), and what the loader answered, and the failures of larder_get().  Failures to
 * store are no failures of this.
 *
 * Who finds another one computing waits for wait_ms at most, whatever happens to that one; then takes a stale value if there
 * is one, else computes itself, and stores nothing.  Who refreshes early, or refreshes a stale value, computes in the call.
 * A value that was invalidated while it was computed is handed out, for the call began before, and not stored.
 */
LARDER_API enum larder_status larder_get_or_compute(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		larder_loader *loader, void *arg, const struct larder_compute_options *options, void *buffer, size_t capacity,
		size_t *length, struct larder_computed *how);

/* ---- Invalidation ----------------------------------------------------------------------------------------------------- */

/* Invalidates every entry that carries the tag `tag` (larder_set_options: tags), in all namespaces, in O(1) and linearizably:
 * once this has returned, no get in any process sees a value with it that was set before, and no lease that was taken before
 * can set one.  Names that fall on one word of the table are invalidated together (one in a few thousand; larder_info).
 * LARDER_OK; LARDER_INVALID (0 or more than LARDER_TAG_BYTES_MAX bytes); LARDER_READ_ONLY; and the failures of any call. */
LARDER_API enum larder_status larder_tag_invalidate(struct larder *cache, const char *tag);

/* Where a walk over the keys stands; begin with zeros. */
struct larder_sweep {
	uint64_t position;  /* larder's own */
	uint64_t removed;   /* keys deleted so far */
	bool finished;      /* every entry that was there when the sweep began was looked at */
};
/*
 * Deletes the keys of namespace ns that begin with prefix[0 .. prefix_bytes).  Looks at about `most` entries (0: at all), and goes on
 * where it left off when it is called again with the same *sweep.  When it has finished, no value is left that was set before the
 * sweep began; one that is set meanwhile may stay or go.  Time grows with the size of the whole index.
 * LARDER_OK (see sweep->finished); LARDER_INVALID (no such namespace, no prefix: larder_flush() takes a whole namespace);
 * LARDER_READ_ONLY; and the failures of any call.
 */
LARDER_API enum larder_status larder_delete_prefix(struct larder *cache, uint32_t ns, const void *prefix, size_t prefix_bytes,
		uint64_t most, struct larder_sweep *sweep);

/* ---- Quota ------------------------------------------------------------------------------------------------------------- */

/*
 * From now on namespace ns may take `bytes` (keys, values and their headers: larder_namespace_info); 0: no quota.
 *
 * A set that would exceed it first drops entries of its own namespace, rather those that were not used lately; never those of
 * another.  What namespaces with a quota set lies in segments of their own, which are compacted when half as much again is used
 * up as the entries take: setting in them, however often, pushes out nothing of the others' (in a cache with fewer than 48 segments
 * there are too few for that).  Where the others fill the whole cache besides, room is made for these as ever, and entries of
 * namespaces above their quota go first.  A value as large as the quota is LARDER_TOO_LARGE.  Each thread that sets at the moment
 * may exceed the quota by what it sets; a process that dies in a set takes away what it was setting, until the entries are counted
 * anew: in quiet moments, and by calling this again.
 * To find an entry of its own, a set looks at the index from a common place on: at as many as the index has for each of them, so a
 * quota of a thousandth of the cache costs a set the sight of about a thousand entries.
 * LARDER_OK; LARDER_INVALID (no such namespace; more than the cache has); LARDER_READ_ONLY; LARDER_DETACHED.
 */
LARDER_API enum larder_status larder_namespace_quota(struct larder *cache, uint32_t ns, uint64_t bytes);

#ifdef __cplusplus
}
#endif
#endif
