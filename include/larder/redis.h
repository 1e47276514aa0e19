/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is particular to stores of kind "redis": the state of their servers, and removing what a cleared namespace left behind.
 * All else is larder/store.h.  In a library that was built without hiredis every call answers LARDER_UNSUPPORTED.
 */
#ifndef LARDER_REDIS_H
#define LARDER_REDIS_H

#include <larder/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a redis store has met, since it was opened, or, where it shares a segment (setting `near`), since that was created, by all
 * processes.  Each counter is one line of larder/redis.def. */
struct larder_redis_status {
	size_t size;     /* sizeof(struct larder_redis_status), set by the caller */
	unsigned nodes;  /* servers known: 1, or those of the cluster */
	bool shared;     /* breakers and counters are those of all processes */
#define LARDER_REDIS_COUNTER(name, text) uint64_t name;
#include <larder/redis.def>
#undef LARDER_REDIS_COUNTER
};
/* LARDER_OK; LARDER_INVALID (another kind of store, another size).  Wait-free; asks no server. */
LARDER_API enum larder_status larder_redis_status(const struct larder_store *store, struct larder_redis_status *status);

enum larder_redis_breaker {
	LARDER_REDIS_CLOSED = 0, /* calls go through */
	LARDER_REDIS_OPEN = 1,   /* calls fail at once, until it is time to try */
	LARDER_REDIS_PROBING = 2 /* one call is trying */
};

struct larder_redis_node {
	size_t size;             /* sizeof(struct larder_redis_node), set by the caller */
	char address[300];       /* host:port, or the path of a socket */
	enum larder_redis_breaker breaker;
	unsigned slots;          /* of 16384, in a cluster; 0 from larder_redis_breakers() */
	const char *last;        /* the failure seen last, static; "" if none */
	/* Each is one line of larder/breaker.def. */
#define LARDER_COUNTER(name, text) uint64_t name;
#define LARDER_GAUGE(name, text) uint64_t name;
#include <larder/breaker.def>
#undef LARDER_COUNTER
#undef LARDER_GAUGE
};
/* Server number `number`, from 0.  LARDER_OK; LARDER_MISS past the last; LARDER_INVALID.  Wait-free; asks no server. */
LARDER_API enum larder_status larder_redis_node(const struct larder_store *store, unsigned number,
		struct larder_redis_node *node);

/*
 * The breakers of all servers that redis stores share through this cache (setting `near`, or a tier over it), and what such stores
 * count: visit is called for each until it returns false (LARDER_END).  What it is given is valid during the callback only;
 * address is printable, and shortened in the middle if it is long; status->nodes is 0: not known here.  For those who
 * look from outside: works on inspectors (LARDER_INSPECT), and where all processes are gone.
 * Lock-free; asks no server.  LARDER_OK; LARDER_END; LARDER_INVALID; LARDER_DETACHED.
 */
LARDER_API enum larder_status larder_redis_breakers(struct larder *cache,
		bool (*visit)(const struct larder_redis_node *node, void *arg), void *arg);
LARDER_API enum larder_status larder_redis_counters(struct larder *cache,
		bool (*visit)(const char *address, const struct larder_redis_status *status, void *arg), void *arg);

/*
 * Removes from Redis what the namespace `ns` has there under generations that are over (it was cleared): by SCAN and UNLINK, in
 * steps of some hundred keys, until `limit` keys were removed, all was seen, or timeout_ms is over.  all: also what can still be
 * read.  *removed (may be NULL) counts.  Blocks for as long as that takes; each step has the store's time-out.
 * LARDER_OK: all was seen; LARDER_END: limit or time reached; LARDER_INVALID; LARDER_UNREACHABLE, LARDER_REFUSED.
 */
LARDER_API enum larder_status larder_redis_sweep(struct larder_store *store, const char *ns, bool all, uint64_t limit,
		int64_t timeout_ms, uint64_t *removed);

#ifdef __cplusplus
}
#endif
#endif
