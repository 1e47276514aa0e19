/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tiers: what the kind "tiered" offers beyond the calls of every store (larder/store.h, larder-tiered(7)).
 *
 * A store of this kind keeps values in a cache in shared memory (its setting near) and the truth in another store (far).  One process of the
 * host listens for changes that others make in the far store.  With listener = thread, larder starts a thread for that; with
 * listener = call the program calls larder_tiered_listen() itself.
 *
 * Each call takes a store of the kind "tiered"; LARDER_INVALID for another one.  Any thread may make them; none is
 * async-signal-safe; in a forked child they work as in its parent, whose thread and queue it does not inherit.
 */
#ifndef LARDER_TIERED_H
#define LARDER_TIERED_H

#include <larder/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What larder_tiered_listen() found out. */
struct larder_tiered_heard {
	bool holder;            /* this process is the one that listens */
	bool live;              /* the stream of changes is up: what is near is as fresh as it can be */
	uint64_t invalidations; /* keys removed near by this call */
};

/*
 * Does the listener's work for up to timeout_ms (0: only what is at hand): takes the office if it is vacant, connects, and
 * removes keys near that others have changed.  To be called again and again, a few times a second at the least: an office not
 * attended to for a second goes to another process.  By one thread at a time (LARDER_BUSY).
 * heard may be NULL.  LARDER_OK; LARDER_UNREACHABLE: no connection now; it is tried again, with pauses that grow;
 * LARDER_UNSUPPORTED: the tier was opened with another setting of listener.
 */
LARDER_API enum larder_status larder_tiered_listen(struct larder_store *store, int64_t timeout_ms, struct larder_tiered_heard *heard);
/* The descriptor to poll for input before the next larder_tiered_listen(), -1 while there is none; it changes with each
 * reconnection: ask again after each call.  LARDER_OK; LARDER_UNSUPPORTED. */
LARDER_API enum larder_status larder_tiered_descriptor(struct larder_store *store, int *descriptor);

/* What was done to dirty entries. */
struct larder_tiered_repair {
	uint64_t dirty;    /* entries found that the far store did not have */
	uint64_t written;  /* set there */
	uint64_t deleted;  /* deleted there */
	uint64_t outdated; /* dropped near: the far store's was made later */
	uint64_t failed;   /* still dirty */
};

/*
 * Brings all that is dirty near to the far store, the newest winning: what was set or deleted while the far store could not be reached,
 * and what processes that died had accepted and not yet written (write-behind).  larder_store_drain() does the same after emptying this
 * process's queue.
 * done may be NULL.  LARDER_OK; LARDER_UNREACHABLE: not all within timeout_ms, or the far store fails; what is left stays dirty.
 * Time grows with the size of the near cache's index.
 */
LARDER_API enum larder_status larder_tiered_repair(struct larder_store *store, int64_t timeout_ms, struct larder_tiered_repair *done);

/* A tier as all processes of its near cache see it.  Tiers of one near cache before the same far store are one. */
struct larder_tiered_info {
	bool live, broken;   /* neither: nobody has listened yet */
	bool held;           /* somebody listens: */
	uint32_t holder_slot;
	int32_t holder_pid;
	enum larder_status trouble; /* why the listener has no connection: LARDER_UNREACHABLE, LARDER_REFUSED ...; LARDER_OK: it has, or
	                               nobody has tried */
	uint64_t queue_here; /* writes in this process's queue; 0 from larder_tiers() */
	/* Each is one line of larder/tiered.def. */
#define LARDER_COUNTER(name, text) uint64_t name;
#define LARDER_GAUGE(name, text) uint64_t name;
#include <larder/tiered.def>
#undef LARDER_COUNTER
#undef LARDER_GAUGE
};
/* LARDER_OK.  Wait-free; asks no server. */
LARDER_API enum larder_status larder_tiered_info(struct larder_store *store, struct larder_tiered_info *info);

/*
 * Calls visit for each tier that any process has opened with this near cache, until it returns false (LARDER_END).  `far` tells the
 * far store: "redis HOST:PORT PREFIX", or its kind; it is valid during the callback only, and printable.  For those who look
 * from outside: works on inspectors (LARDER_INSPECT), and where all processes of the tier are gone.
 * Lock-free; asks no server.  LARDER_OK; LARDER_END; LARDER_INVALID; LARDER_DETACHED.
 */
LARDER_API enum larder_status larder_tiers(struct larder *cache,
		bool (*visit)(const char *far, const struct larder_tiered_info *info, void *arg), void *arg);

/*
 * Counts what is dirty near, whichever tier made it so: entries, in namespaces that tiers use, that the far store does not have yet, those
 * in queues included.  Looks at `most` entries at the most, the first by their hashes, which is a random sample; 0: at all of them.
 * *dirty is how many of the *looked (may be NULL) that were looked at.  For those who look from outside: works on inspectors.
 * Lock-free; asks no server; time grows with what is looked at.
 * LARDER_OK: all were looked at; LARDER_END: `most` of them; LARDER_INVALID; LARDER_DETACHED; LARDER_NO_MEMORY.
 */
LARDER_API enum larder_status larder_tiered_dirty(struct larder *cache, uint64_t most, uint64_t *dirty, uint64_t *looked);

#ifdef __cplusplus
}
#endif
#endif
