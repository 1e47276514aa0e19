/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder: a lock-free cache in POSIX shared memory for the processes of one host.
 *
 *     struct larder *cache;
 *     if (larder_open("web", 64 << 20, &cache) < 0)
 *             errx(1, "%s", larder_message());
 *     larder_set(cache, 0, "user:7", 6, "Ada", 3, LARDER_TTL_DEFAULT);
 *     char name[64]; size_t length;
 *     if (larder_get(cache, 0, "user:7", 6, name, sizeof name, &length) == LARDER_OK) ...
 *     larder_close(&cache);
 *
 * Unless a call says otherwise:
 *
 *   progress  Lock-free.  No call waits for another process, whatever that process does: killed or stopped at any
 *             instruction it holds back nobody.  A call that a storm of changes to one bucket keeps from finishing
 *             gives up with LARDER_CONTENDED after a fixed number of tries; no system call is made on the way, but for
 *             a participant's first call in a thread and for the liveness of one that stands in the way.
 *   threads   A struct larder may be used by any number of threads at once.  Each thread takes one participant slot at
 *             its first call and gives it back to its process when it ends.
 *   fork      A child uses the handles that it inherited; it takes slots of its own at its first call.  Pins stay with
 *             the process that took them.  A child made without the C library's fork (clone, _Fork) must not use them.
 *   signals   Not async-signal-safe.  A call from a handler that interrupted a call of the same thread on the same
 *             cache answers LARDER_BUSY and does nothing.  Never leave a call by longjmp or by asynchronous cancellation.
 *   memory    Bytes passed in are read during the call only; bytes passed out belong to the caller.
 *   output    None, ever.  larder sets no signal handler, starts no thread and calls neither exit nor abort on its own.
 */
#ifndef LARDER_H
#define LARDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LARDER_VERSION_MAJOR 0
#define LARDER_VERSION_MINOR 1
#define LARDER_VERSION_PATCH 0

#if defined(__GNUC__)
#define LARDER_API __attribute__((visibility("default")))
#else
#define LARDER_API
#endif

/* ---- Status ------------------------------------------------------------------------------------------------------ */

/* 0 is good, above 0 is an answer, below 0 a failure.  The numbers never change. */
enum larder_status {
	LARDER_OK = 0,

	LARDER_MISS = 1,    /* no such key (never set, deleted, expired, flushed or evicted) */
	LARDER_EXISTS = 2,  /* add: the key is there already; open with LARDER_EXCLUSIVE: the cache is */
	LARDER_CHANGED = 3, /* cas: the entry is not of the version given */
	LARDER_STALE = 4,   /* with LARDER_ALLOW_STALE: a value softly flushed since, or past its time to live within its grace */
	LARDER_SHORT = 5,   /* the buffer is too small: nothing copied, the length says what is needed */
	LARDER_END = 6,     /* iterate: the callback asked to stop */
	LARDER_ABSENT = 7,  /* the key is known to have no value: one set with LARDER_SET_ABSENT */
	LARDER_TIMEOUT = 8, /* lease_wait: the time given is over */

	LARDER_INVALID = -1,      /* an argument is out of its range */
	LARDER_KEY_SIZE = -2,     /* key of 0 bytes, or of more than LARDER_KEY_MAX */
	LARDER_TOO_LARGE = -3,    /* value larger than this cache takes (larder_info: value_max_bytes) */
	LARDER_NO_ROOM = -4,      /* nothing could be evicted: all is pinned, or held back by stopped processes */
	LARDER_WOULD_EVICT = -5,  /* LARDER_NO_EVICT: room would take an eviction */
	LARDER_NO_PIN = -6,       /* this thread has too few pins left for the value: unpin, or copy */
	LARDER_NO_SLOT = -7,      /* all participant slots are taken by living threads */
	LARDER_BUSY = -8,         /* called from a signal handler inside another call of this thread */
	LARDER_DETACHED = -9,     /* the cache was destroyed: close, and open again */
	LARDER_NOT_NUMBER = -10,  /* incr: the value is no decimal integer */
	LARDER_RANGE = -11,       /* incr: the sum leaves LARDER_COUNTER_MIN .. LARDER_COUNTER_MAX; nothing changed */
	LARDER_NAMESPACES = -12,  /* the table of namespaces is full */
	LARDER_READ_ONLY = -13,   /* the handle is an inspector's */
	LARDER_SYSTEM = -14,      /* a system call failed: larder_message() says which */
	LARDER_NO_CACHE = -15,    /* open, destroy: no cache of that name */
	LARDER_MISMATCH = -16,    /* what lies under that name is not a cache that this library can use */
	LARDER_NO_SPACE = -17,    /* the file system of the cache has too little room */
	LARDER_DAMAGED = -18,     /* damage in the segment stood in the way; counted, never followed */
	LARDER_CONTENDED = -19,   /* the limit of tries was reached */
	LARDER_UNSUPPORTED = -20, /* the cache was created without what this call needs (stamps: cas) */
	LARDER_NO_MEMORY = -21,   /* this process has no memory left for its own bookkeeping */
	LARDER_UNREACHABLE = -22, /* a remote store did not answer, or is known not to: what was asked may or may not be done */
	LARDER_REFUSED = -23,     /* a remote store answered with an error: larder_message() says which */
	LARDER_NO_STORE = -24     /* the manager has no store of that name: larder_message() lists those that it has */
};

/* The status as a short English phrase; static, never NULL.  Wait-free, async-signal-safe. */
LARDER_API const char *larder_strerror(enum larder_status status);

/* What the last failed larder_open(), larder_destroy() or larder_namespace() of this thread has to say, or the last
 * call that found no participant slot: names the thing, what was found, what was expected, and the remedy.  Never NULL;
 * valid until the thread's next such call. */
LARDER_API const char *larder_message(void);

/* "MAJOR.MINOR.PATCH" of the library that was loaded. */
LARDER_API const char *larder_version(void);

/* ---- Limits and time to live ------------------------------------------------------------------------------------- */

#define LARDER_KEY_MAX 4096u                      /* bytes */
#define LARDER_COUNTER_MAX INT64_C(0x3fffffffffffffff) /* 2^62 - 1 */
#define LARDER_COUNTER_MIN (-LARDER_COUNTER_MAX - 1)   /* -2^62 */
#define LARDER_PINS 16u                           /* pins of one thread at a time */

/* A time to live is in milliseconds, above 0, or one of: */
#define LARDER_TTL_DEFAULT INT64_C(0) /* that of the namespace; never, if it has none */
#define LARDER_TTL_NONE INT64_C(-1)   /* never expires */
#define LARDER_TTL_KEEP INT64_C(-2)   /* that of the entry replaced; of a fresh one, the default */
#define LARDER_TTL_MAX (INT64_C(1) << 39) /* 17 years; longer is never */

/* ---- Life cycle -------------------------------------------------------------------------------------------------- */

struct larder; /* this process's view of one cache */

enum larder_open_flags {
	LARDER_ATTACH_ONLY = 1u << 0, /* LARDER_NO_CACHE instead of creating */
	LARDER_EXCLUSIVE = 1u << 1,   /* LARDER_EXISTS instead of attaching */
	LARDER_INSPECT = 1u << 2,     /* attach read-only: PROT_READ, no slot, disturbs nothing; implies ATTACH_ONLY */
	LARDER_PREFAULT = 1u << 3,    /* touch every page now */
	LARDER_LOCK = 1u << 4,        /* mlock the mapping; failure is an error */
	LARDER_NO_DUMP = 1u << 5,     /* keep the mapping out of core dumps */
	LARDER_HUGE = 1u << 6,        /* ask for huge pages; going without them is no error (larder_info tells) */
	LARDER_GUARD = 1u << 7,       /* a file truncated under us answers LARDER_DETACHED instead of SIGBUS: installs a
	                                 SIGBUS handler that passes on every fault outside of larder's mappings */
	LARDER_PRIVATE = 1u << 8      /* a cache in memory of this process and of the children that it forks, in no file
	                                 system: name is for messages only, two caches may have the same */
};

enum larder_create_flags {
	LARDER_PLAIN = 1u << 0,   /* no stamps: 16 bytes less per entry, but no version and no created_at, and so no cas */
	LARDER_CHECKSUM = 1u << 1 /* 8 bytes more per entry: a damaged value is a miss, and counted */
};

/* Zero takes the default, throughout.  The options under "creation" do not matter when attaching. */
struct larder_options {
	size_t size;         /* sizeof(struct larder_options): set by LARDER_OPTIONS_INIT */
	uint32_t flags;      /* enum larder_open_flags */
	/* creation */
	uint32_t create_flags; /* enum larder_create_flags */
	uint64_t bytes;        /* of the whole cache, index and all; LARDER_BYTES_MIN .. 256 GiB; default 64 MiB */
	uint64_t entry_bytes;  /* usual size of an entry, key + value; sizes the index; default 160 */
	uint32_t mode;         /* permission bits of the file; default 0600 */
	uint32_t segments;     /* 32 .. 4096, at least: their size is a power of two, so up to twice as many (above
	                          2048 perhaps fewer, for 4096 is the most).  Default: 256 to 512, of 96 MiB and more 512 to 1024,
	                          above 64 GiB more; 160 at least below 6 MiB or for large entries, some 100 below 1 MiB */
	uint32_t participants; /* threads attached at a time, 4 .. 1024; default: by bytes, 16 .. 1024 */
	uint32_t namespaces;   /* the default one included, 16 .. 4096, rounded up to a power of two; default 256 */
	uint64_t instrument_bytes; /* of `bytes`, for metrics, hot keys, the trace of accesses, tags and shared words; up to an
	                          eighth of bytes.  Default: a two-hundredth, less below 16 MiB, 8 MiB at most */
};
#ifdef __cplusplus
#define LARDER_OPTIONS_INIT { sizeof(larder_options), 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#else
#define LARDER_OPTIONS_INIT { .size = sizeof(struct larder_options) }
#endif
#define LARDER_BYTES_MIN (UINT64_C(512) << 10)

/*
 * Opens the cache `name`: attaches to it, or creates it if there is none.
 *
 * name    1 .. 200 bytes of [A-Za-z0-9._-], not beginning with a dot: the file /dev/shm/larder.NAME.  A name with a
 *         slash in it is the path of the file itself, 255 bytes at most (a tmpfs or hugetlbfs mounted elsewhere).
 * bytes   of the whole cache if it is created here; 0 takes the default.
 * *cache  the handle; NULL on failure.  Belongs to the caller; larder_close() ends it.
 *
 * Creation is atomic: nobody sees half a cache, the loser of a race attaches, a creator that dies leaves nothing.  All
 * of `bytes` is reserved at once: too little room is LARDER_NO_SPACE here, never a SIGBUS later.
 * LARDER_OK; LARDER_INVALID; LARDER_NO_SPACE; LARDER_MISMATCH (another version, another program's file, a directory,
 * a symlink, a fifo, a damaged header: the message says what was found); LARDER_SYSTEM (permission, descriptors);
 * LARDER_EXISTS, LARDER_NO_CACHE (by flags); LARDER_NO_MEMORY.
 * May block as the file system does; not lock-free.  Neither thread- nor fork-safe with respect to itself on one handle.
 */
LARDER_API enum larder_status larder_open(const char *name, uint64_t bytes, struct larder **cache);
LARDER_API enum larder_status larder_open_with(const char *name, const struct larder_options *options,
		struct larder **cache);

/* Unmaps, gives this process's slots back and nulls *cache.  Never removes the cache.  No other thread may be in a call
 * on it; its pins end.  NULL and *cache == NULL do nothing. */
LARDER_API void larder_close(struct larder **cache);

/* Marks the cache `name` destroyed, so that all who are attached get LARDER_DETACHED from their next call on, and
 * removes its file.  LARDER_OK; LARDER_INVALID; LARDER_NO_CACHE; LARDER_MISMATCH (not a cache: left alone);
 * LARDER_SYSTEM. */
LARDER_API enum larder_status larder_destroy(const char *name);

/* ---- Namespaces -------------------------------------------------------------------------------------------------- */

/* Number of the namespace `name` (1 .. 64 bytes, any but NUL), registered if need be; the same in all processes, for as
 * long as the cache lives.  Number 0 is the default namespace and needs no registering; its name is "".
 * LARDER_OK; LARDER_INVALID; LARDER_NAMESPACES; LARDER_MISS (inspector, and not registered); LARDER_DETACHED. */
LARDER_API enum larder_status larder_namespace(struct larder *cache, const char *name, uint32_t *ns);

/* Time to live of entries set with LARDER_TTL_DEFAULT from now on, in milliseconds; LARDER_TTL_NONE: never.
 * LARDER_OK; LARDER_INVALID (no such namespace; no such time); LARDER_READ_ONLY; LARDER_DETACHED. */
LARDER_API enum larder_status larder_namespace_ttl(struct larder *cache, uint32_t ns, int64_t ttl_ms);

/* Invalidates the whole namespace, in O(1) and linearizably: once this has returned, no get in any process sees a value
 * set before.  Soft: such values can still be read with LARDER_ALLOW_STALE, until they are evicted.
 * LARDER_OK; LARDER_INVALID (no such namespace); LARDER_READ_ONLY; and the failures of any call (larder_get). */
LARDER_API enum larder_status larder_flush(struct larder *cache, uint32_t ns);
LARDER_API enum larder_status larder_flush_soft(struct larder *cache, uint32_t ns);
LARDER_API enum larder_status larder_flush_all(struct larder *cache); /* every namespace, one after the other */

struct larder_namespace_info {
	uint32_t ns;
	uint32_t generation;
	int64_t ttl_ms;      /* default time to live, or LARDER_TTL_NONE */
	int64_t entries;     /* what the index holds, flushed and expired entries not yet found included; a process that
	                        dies in a call leaves these two off by that one call */
	int64_t bytes;       /* keys, values and headers of them */
	char name[65];
	uint64_t quota_bytes; /* how many are allowed (larder/policy.h), 0: as many as there are */
	uint64_t sampled_gets; /* a sample of the gets, about one in 128; the older half of it is forgotten now and then */
	uint64_t sampled_hits; /* of these, those that hit: the hit rate of this namespace, without bias */
};
/* The namespace `ns`.  Works on inspectors.
 * LARDER_OK; LARDER_MISS: none of that number is registered; LARDER_INVALID (past the table); LARDER_DETACHED. */
LARDER_API enum larder_status larder_namespace_info(struct larder *cache, uint32_t ns,
		struct larder_namespace_info *info);

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

struct larder_meta {
	uint64_t version;       /* cas token; 0 in a cache created LARDER_PLAIN */
	int64_t created_at_ms;  /* wall clock, since 1970; 0 if not kept */
	int64_t expires_at_ms;  /* wall clock, since 1970; 0: never */
	int64_t ttl_left_ms;    /* LARDER_TTL_NONE: never expires */
	size_t value_bytes;
	uint32_t user_flags;
	bool stale;             /* of a softly flushed generation, or in its grace */
	bool counter;
	bool leased;            /* somebody took a lease to compute a new value (larder/policy.h), and may hold it still */
	uint32_t grace_ms;      /* as it was set */
	uint32_t cost_us;       /* as it was set */
	uint32_t tags;          /* how many it carries */
};

enum larder_read_flags {
	LARDER_ALLOW_STALE = 1u << 0, /* answer LARDER_STALE with the value where a soft flush, or its expiry, has hidden it */
	LARDER_NO_COUNT = 1u << 1     /* neither count this as a use of the entry nor in the statistics */
};

/*
 * Copies the value of `key` to buffer[0 .. capacity).  *length (may be NULL) is its size in bytes also when it does not
 * fit (LARDER_SHORT, and nothing is copied).  A counter reads as its decimal digits.
 * With anything but LARDER_OK and LARDER_STALE the buffer's contents mean nothing.
 * LARDER_OK, LARDER_MISS, LARDER_SHORT; LARDER_ABSENT (no value, and that is known: a miss to those who do not set such
 * entries); LARDER_KEY_SIZE, LARDER_INVALID (no such namespace), and the failures of any
 * call: LARDER_NO_SLOT, LARDER_BUSY, LARDER_DETACHED, LARDER_CONTENDED, LARDER_NO_MEMORY, LARDER_SYSTEM (a thread's
 * first call: no descriptor, no lock).
 * An entry found expired is taken out before this answers LARDER_MISS.
 * Source: hazard pointers (Michael, 2004) over an open-addressed table of one-line buckets.
 */
LARDER_API enum larder_status larder_get(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		void *buffer, size_t capacity, size_t *length);
/* The same, with flags (enum larder_read_flags) and, where meta is not NULL, all there is to know of the entry. */
LARDER_API enum larder_status larder_get_with(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		void *buffer, size_t capacity, size_t *length, uint32_t flags, struct larder_meta *meta);

/* LARDER_OK, LARDER_MISS or LARDER_ABSENT; counts as no use of the entry. */
LARDER_API enum larder_status larder_exists(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes);

/* A value in place.  data .. data + length is read-only, unaligned unless set with LARDER_ALIGN, and stays as it is
 * until unpinned, whatever happens to the key.  A value of several pieces has data == NULL and is described by iov. */
struct larder_pin {
	const void *data;
	size_t length;
	const struct iovec *iov; /* always valid; iov_count pieces */
	unsigned iov_count;
	struct larder_meta meta;
	struct { /* larder's own */
		uint64_t registration;
		uint32_t slot;
		uint32_t pins; /* one bit for each pin word held */
		char digits[24];
		struct iovec iov[LARDER_PINS];
	} own;
};

/* Zero-copy get.  Each piece takes one of the thread's LARDER_PINS until unpinned, by any thread of this process.
 * As larder_get, and LARDER_NO_PIN, which a value of more than LARDER_PINS pieces always is; LARDER_READ_ONLY
 * (inspector).  While pinned the memory (one segment at most for each piece) cannot be reused: pin briefly. */
LARDER_API enum larder_status larder_pin(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		uint32_t flags, struct larder_pin *pin);
/* Ends a pin; a second time, or in a forked child, does nothing. */
LARDER_API void larder_unpin(struct larder *cache, struct larder_pin *pin);

struct larder_item {
	const void *key;
	size_t key_bytes;
	void *value;            /* mget: buffer; mset: value */
	size_t value_bytes;     /* mget: capacity, and then the length; mset: length */
	enum larder_status status;
};
/* Gets, sets `count` keys of one namespace; each item has its own status.  Faster than one by one: the misses of memory
 * overlap.  Not atomic as a whole.  Returns LARDER_OK if every item was tried, else the failure that stopped it. */
LARDER_API enum larder_status larder_mget(struct larder *cache, uint32_t ns, struct larder_item *items, size_t count);
LARDER_API enum larder_status larder_mset(struct larder *cache, uint32_t ns, struct larder_item *items, size_t count,
		int64_t ttl_ms);

/* ---- Changing ---------------------------------------------------------------------------------------------------- */

enum larder_set_mode {
	LARDER_SET = 0,     /* whatever was there */
	LARDER_ADD = 1,     /* only if the key is absent, else LARDER_EXISTS */
	LARDER_REPLACE = 2, /* only if it is present, else LARDER_MISS */
	LARDER_CAS = 3      /* only if it is present (LARDER_MISS) in the version given (LARDER_CHANGED) */
};
enum larder_set_flags {
	LARDER_NO_EVICT = 1u << 0, /* LARDER_WOULD_EVICT rather than displace a live entry */
	LARDER_ALIGN = 1u << 1,    /* place the value at a multiple of 8 bytes */
	LARDER_SET_ABSENT = 1u << 2 /* what is set is that the key has no value: gets answer LARDER_ABSENT; 0 bytes */
};
#define LARDER_TAGS_MAX 4u
#define LARDER_TAG_BYTES_MAX 255u
struct larder_set_options {
	size_t size;             /* sizeof(struct larder_set_options): set by LARDER_SET_OPTIONS_INIT */
	enum larder_set_mode mode;
	uint32_t flags;          /* enum larder_set_flags */
	int64_t ttl_ms;          /* see LARDER_TTL_DEFAULT */
	int64_t expires_at_ms;   /* wall clock, since 1970; if not 0 it is used instead of ttl_ms */
	uint64_t version;        /* LARDER_CAS: the version expected */
	uint32_t user_flags;     /* kept with the entry */
	uint32_t jitter_percent; /* 0 .. 100: ttl_ms is cut by a random part of it, up to this, so that what is set together
	                            does not expire together */
	uint32_t grace_ms;       /* for so long after its expiry the value is still good as a stale one (LARDER_ALLOW_STALE) */
	uint32_t cost_us;        /* what it took to compute: larder_lease() refreshes costly values the earlier */
	uint32_t tag_count;      /* 0 .. LARDER_TAGS_MAX */
	const char *const *tags; /* names of 1 .. LARDER_TAG_BYTES_MAX bytes: larder_tag_invalidate() */
	int64_t created_at_ms;   /* wall clock, since 1970; 0: now.  For what was accepted earlier than it is written: stores that keep times
	                            for others (larder-redis(7), envelope) tell it to them; a cache goes by its own clock */
};
#ifdef __cplusplus
#define LARDER_SET_OPTIONS_INIT { sizeof(larder_set_options), LARDER_SET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#else
#define LARDER_SET_OPTIONS_INIT { .size = sizeof(struct larder_set_options) }
#endif

struct larder_result {
	uint64_t version;  /* LARDER_OK: of the entry that was set; 0 in a cache created LARDER_PLAIN */
	uint64_t evicted;  /* live entries that this call displaced to make room; each piece of a large one counts */
};

/*
 * Sets `key` to value[0 .. value_bytes).  Room is made by eviction; the call does a bounded share of that work itself.
 * LARDER_OK; LARDER_KEY_SIZE, LARDER_TOO_LARGE, LARDER_NO_ROOM, LARDER_INVALID, LARDER_READ_ONLY (inspector), and the
 * failures of any call (larder_get).
 * On failure the old value stands, or (LARDER_NO_ROOM in the middle of a value of several pieces) still does.
 * Source: S3-FIFO (Yang et al., 2023) on segments (Segcache, Yang et al., 2021); insertion after the bucket protocol
 * of lib/README.md.
 */
LARDER_API enum larder_status larder_set(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms);
/* The same with everything; result may be NULL.  Also LARDER_EXISTS, LARDER_MISS, LARDER_CHANGED, LARDER_WOULD_EVICT;
 * LARDER_UNSUPPORTED: LARDER_CAS in a cache created LARDER_PLAIN. */
LARDER_API enum larder_status larder_set_with(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, const struct larder_set_options *options,
		struct larder_result *result);
LARDER_API enum larder_status larder_add(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms);
LARDER_API enum larder_status larder_replace(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms);
LARDER_API enum larder_status larder_cas(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms, uint64_t version);

/* Sets the value and hands out the one it replaced, as larder_get would: LARDER_OK with the old value, LARDER_MISS if
 * there was none (the new one is set all the same), LARDER_SHORT with nothing changed if it does not fit; and the
 * failures of set; LARDER_DAMAGED.  The new value has no user flags. */
LARDER_API enum larder_status larder_get_and_set(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms, void *buffer, size_t capacity, size_t *length);

/* Appends bytes to the value of `key`, keeping its TTL and flags.  A counter becomes its digits, and these go on.
 * LARDER_OK, LARDER_MISS if there is none; the failures of set; LARDER_DAMAGED. */
LARDER_API enum larder_status larder_append(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const void *bytes, size_t count);

/* LARDER_OK, or LARDER_MISS if there was no such key; LARDER_KEY_SIZE, LARDER_INVALID, LARDER_READ_ONLY, and the
 * failures of any call.  What a soft flush has hidden is there to be deleted. */
LARDER_API enum larder_status larder_delete(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes);

/* Gives the entry a new time to live, by writing it anew.
 * LARDER_OK, LARDER_MISS; the failures of set; LARDER_DAMAGED. */
LARDER_API enum larder_status larder_touch(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		int64_t ttl_ms);

/*
 * Adds delta to the counter `key` and returns the sum in *sum (may be NULL).  An absent key becomes a counter of value
 * initial + delta that lives for ttl_ms; LARDER_MISS instead with create == false.  A value of decimal digits becomes a
 * counter, and keeps its time to live.  Exact under any number of processes; in place, with no new entry, once it
 * is one.
 * LARDER_OK, LARDER_MISS, LARDER_NOT_NUMBER, LARDER_RANGE, and the failures of set.
 */
LARDER_API enum larder_status larder_incr(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		int64_t delta, int64_t *sum);
LARDER_API enum larder_status larder_incr_with(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		int64_t delta, bool create, int64_t initial, int64_t ttl_ms, int64_t *sum);

/* Does up to about budget_bytes of the work that setters otherwise do (expiry, eviction ahead of need); for an idle
 * moment or a thread of your own.  *done_bytes (may be NULL) is what was walked; 0 when there is nothing to do.
 * LARDER_OK; LARDER_INVALID; LARDER_READ_ONLY; and the failures of any call. */
LARDER_API enum larder_status larder_maintain(struct larder *cache, uint64_t budget_bytes, uint64_t *done_bytes);

/* ---- Looking from outside ---------------------------------------------------------------------------------------- */

/* One entry as iterate shows it.  Pointers are valid during the callback only; value is NULL unless asked for. */
struct larder_entry {
	uint32_t ns;
	const void *key;
	size_t key_bytes;
	const void *value;
	struct larder_meta meta;
	unsigned hits;     /* recent use, 0 .. 3 */
	bool main_pool;
	size_t stored_bytes;
};
enum larder_iterate_flags {
	LARDER_ITERATE_VALUES = 1u << 0, /* hand out values, too */
	LARDER_ITERATE_STALE = 1u << 1   /* also entries of softly flushed generations */
};
#define LARDER_ALL_NAMESPACES UINT32_MAX

/* Calls visit for each entry of namespace ns (or all) whose key begins with prefix.  Entries that stay for the whole
 * walk are seen once; those that come or go meanwhile may or may not be.  The callback may use this cache, and stops
 * the walk by returning false (LARDER_END).  Works on inspectors.  Lock-free; time grows with the size of the index.
 * LARDER_OK; LARDER_END; LARDER_INVALID; LARDER_DETACHED; LARDER_NO_MEMORY. */
LARDER_API enum larder_status larder_iterate(struct larder *cache, uint32_t ns, const void *prefix, size_t prefix_bytes,
		uint32_t flags, bool (*visit)(const struct larder_entry *entry, void *arg), void *arg);

struct larder_info {
	char path[256];
	uint64_t bytes, segment_bytes, value_max_bytes, contiguous_max_bytes;
	uint64_t index_bytes, index_slots, ghost_slots;
	uint64_t instrument_bytes;
	uint32_t segments, participants, namespaces, stripes, ttl_classes;
	uint32_t layout_version, features, mode, create_flags;
	int64_t created_at_ms;
	bool read_only, huge_pages;
};
/* What the cache is, as it was created.  Wait-free; works on inspectors.
 * LARDER_OK; LARDER_DETACHED, and *info is filled in all the same; LARDER_INVALID. */
LARDER_API enum larder_status larder_info(struct larder *cache, struct larder_info *info);

struct larder_participant_info {
	uint32_t slot;
	bool alive;
	int32_t pid;               /* as the participant itself saw it: a container has numbers of its own */
	char command[16];
	uint64_t registration;
	unsigned pins, hazards;    /* words in use */
	uint64_t operations;       /* gets, sets, deletes, increments counted in this slot, whoever held it: stands still
	                              while nobody there does any */
};
/* Participant slot `slot`.  Works on inspectors; a few system calls.
 * LARDER_OK; LARDER_MISS: it was never used; LARDER_INVALID: past the last; LARDER_DETACHED. */
LARDER_API enum larder_status larder_participant(struct larder *cache, uint32_t slot,
		struct larder_participant_info *info);

/* Counters, summed over all participants, living and dead, since creation.  Each is one line of larder/counters.def. */
struct larder_stat {
#define LARDER_COUNTER(name, text) uint64_t name;
#include <larder/counters.def>
#undef LARDER_COUNTER
	/* as it is now: each is one line of larder/gauges.def */
#define LARDER_GAUGE(name, text) uint64_t name;
#include <larder/gauges.def>
#undef LARDER_GAUGE
};
/* Works on inspectors; time grows with participants and segments, and asks the kernel once for each participant that lives.
 * LARDER_OK; LARDER_INVALID; LARDER_DETACHED. */
LARDER_API enum larder_status larder_stat(struct larder *cache, struct larder_stat *stat);

/* Walks and verifies the whole segment while it is in use, calling report (may be NULL) for each thing that is wrong,
 * with where.  *faults is their number.  Works on inspectors.  Time grows with the size of the cache.
 * LARDER_OK, whatever was found; LARDER_INVALID; LARDER_DETACHED; LARDER_NO_MEMORY: not all could be looked at. */
LARDER_API enum larder_status larder_check(struct larder *cache, void (*report)(const char *text, void *arg), void *arg,
		uint64_t *faults);

#ifdef __cplusplus
}
#endif
#endif
