/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instruments of a cache, which lie in it and outlive the processes that feed them: metrics by store, namespace and operation,
 * the keys used most, and a sample of all accesses.
 *
 * The manager (larder/manager.h) counts what passes through it; larder_monitor_record() adds what the program does by itself. All
 * sums are over all processes there ever were, living and dead, exact but for the one count that a process was about to make
 * when it died.  Everything here that reads works on inspectors (LARDER_INSPECT), and on a cache whose processes are all gone.
 *
 * Progress: lock-free; counting is wait-free.  Threads, signals, fork: as in larder.h.
 */
#ifndef LARDER_MONITOR_H
#define LARDER_MONITOR_H

#include <larder.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Metrics ----------------------------------------------------------------------------------------------------- */

/* A label beside store, namespace and operation.  name: [a-zA-Z_][a-zA-Z0-9_]*, none of cache, store, namespace, operation, success,
 * reason and le; value: any text. */
struct larder_label {
	const char *name, *value;
};
#define LARDER_LABELS_MAX 8u
#define LARDER_LABEL_BYTES_MAX 240u /* of all labels of a set together: names, values, and one byte for each */

/*
 * Counts one operation that the program performed by itself: in cache_operations by its success, and, if it succeeded and
 * duration_ns is not LARDER_NO_DURATION, in cache_duration.
 *
 * operation       its name, 1 byte or more; store, namespace_name: "" for none; labels[0 .. label_count): further labels
 * duration_ns     what it took, in nanoseconds
 * A cache has room for so many sets of labels (larder_open_with: instrument_bytes); what comes after counts in sets whose labels
 * or namespace are called _other, so that their number stays bounded and no count is lost.
 * LARDER_OK; LARDER_INVALID: a name that is none, a label in the wrong form, more than LARDER_LABELS_MAX of them, or more than
 * LARDER_LABEL_BYTES_MAX bytes, as larder_message() says; LARDER_READ_ONLY; LARDER_DETACHED.
 */
LARDER_API enum larder_status larder_monitor_record(struct larder *cache, const char *operation, const char *store,
		const char *namespace_name, bool success, uint64_t duration_ns, const struct larder_label *labels,
		unsigned label_count);
#define LARDER_NO_DURATION UINT64_MAX

/* One operation in `one_in` has its duration measured from now on, in all processes of the cache, and stands for so many:
 * 1 for every one, 0 for none, 2^24 at most.  The choice is random and independent of what the program does, so that sums and
 * quantiles are unbiased, also across a change.  Default: 128.  larder_monitor_record() is told each duration and keeps it.
 * LARDER_OK; LARDER_INVALID; LARDER_READ_ONLY; LARDER_DETACHED. */
LARDER_API enum larder_status larder_monitor_timing(struct larder *cache, uint32_t one_in);

/* A histogram has LARDER_BUCKETS buckets, sixteen to an octave, from 32 ns to 137 s; each is at most 1/16 of its beginning wide,
 * so that its middle is within 3.2 % of all that is in it.  Bucket 0 takes what is shorter, too, the last what is longer. */
#define LARDER_BUCKETS 512u
/* Where bucket number `bucket` begins; of LARDER_BUCKETS: where the last one ends.  Nanoseconds.  Wait-free. */
LARDER_API uint64_t larder_bucket_ns(unsigned bucket);
/* The duration that a part `quantile` (0 .. 1) of all stayed below: the middle of its bucket, in nanoseconds; 0 of an empty
 * histogram.  Wait-free. */
LARDER_API uint64_t larder_quantile_ns(const uint64_t buckets[LARDER_BUCKETS], double quantile);

#define LARDER_REASONS 32u
/* All counts of one set of labels.  Pointers are valid during the callback only. */
struct larder_metric {
	const char *store, *namespace_name, *operation;
	struct larder_label labels[LARDER_LABELS_MAX];
	unsigned label_count;
	uint64_t hits, misses;           /* gets through the manager */
	uint64_t done;                   /* its other operations that succeeded */
	uint64_t errors[LARDER_REASONS]; /* [-status]: its operations that failed so; [0]: for any other reason */
	uint64_t recorded, failed;       /* told by larder_monitor_record() */
	uint64_t sum_ns;                 /* of all durations in buckets */
	uint64_t timed;                  /* sum of buckets: operations that durations stand for */
	const uint64_t *buckets;         /* LARDER_BUCKETS of them, or NULL if none was measured */
};

/* Calls visit for each set of labels there is, until it returns false (LARDER_END).  Sums of several words, each of
 * which grows meanwhile: what is told of one set may differ by operations that were under way.
 * LARDER_OK; LARDER_END; LARDER_INVALID; LARDER_DETACHED; LARDER_NO_MEMORY. */
LARDER_API enum larder_status larder_metrics(struct larder *cache,
		bool (*visit)(const struct larder_metric *metric, void *arg), void *arg);

/* "timeout" for what larder_strerror() calls by a sentence: the status as a label's value ([a-z_]+), "other" for 0 and for
 * what is no status.  Static, never NULL. */
LARDER_API const char *larder_reason(enum larder_status status);

/* ---- Hot keys ---------------------------------------------------------------------------------------------------- */

enum larder_hot_mode {
	LARDER_HOT_OFF = 0,    /* nothing is counted */
	LARDER_HOT_HASHED = 1, /* keys are told by their hashes (default) */
	LARDER_HOT_CLEAR = 2   /* the first 48 bytes of each key are kept beside */
};
/* For all processes of the cache, from their next look on (4 096 operations at most, where it was off).
 * LARDER_OK; LARDER_INVALID; LARDER_UNSUPPORTED: a cache too small to have room for them (instrument_bytes);
 * LARDER_READ_ONLY; LARDER_DETACHED. */
LARDER_API enum larder_status larder_hot_keys_mode(struct larder *cache, enum larder_hot_mode mode);

/* count: accesses (gets, found or not, and sets) in about the last two minutes, halved each minute before; estimated from one access in
 * 512.  Of the samples, between count - error and count were of this key for certain; the sampling itself adds a standard
 * deviation of sqrt(512 * count). */
struct larder_hot_key {
	uint64_t count, error;
	uint64_t hash;
	bool known;          /* namespace and length are; else but 26 bits of the hash are */
	uint32_t ns;
	uint32_t key_bytes;  /* of the key itself */
	uint32_t text_bytes; /* of these, kept in text; 0: hashed */
	char text[48];
};
/* The keys used most, hottest first: keys[0 .. capacity), *count of them.  Source: Space-Saving (Metwally, Agrawal, El Abbadi,
 * 2005), in sets of eight.
 * LARDER_OK (none, if it is off); LARDER_INVALID; LARDER_DETACHED. */
LARDER_API enum larder_status larder_hot_keys(struct larder *cache, struct larder_hot_key *keys, size_t capacity,
		size_t *count);

/* ---- Sampled accesses -------------------------------------------------------------------------------------------- */

enum larder_access_kind {
	LARDER_ACCESS_HIT = 1,
	LARDER_ACCESS_MISS = 2,
	LARDER_ACCESS_SET = 3,
	LARDER_ACCESS_DELETE = 4,
	LARDER_ACCESS_FILL = 5 /* a get that missed, and the set that followed */
};
/* One access to a key of the sample. */
struct larder_access {
	uint64_t key;    /* stands for the key: bits of its hash, a multiple of one_in */
	uint64_t one_in; /* keys to one in the sample, a power of two, at that time: it becomes thinner and denser with the use of the
	                  * cache; all keys that are a multiple of the largest seen are a sample throughout */
	uint64_t bytes;  /* hit, set, fill: of the whole entry, within 6 % */
	uint64_t ttl_ms; /* set, fill: how long it was to live, within 6 %; 0: no end, or it is not known */
	uint64_t at_ms;  /* about when, in milliseconds since the creation of the cache */
	uint32_t ns;
	enum larder_access_kind kind;
};
struct larder_trace_info {
	uint64_t one_in;   /* one key in so many is in the sample by now: all accesses to it, none to others */
	uint64_t accesses; /* written since the creation of the cache */
	size_t capacity;   /* accesses that the ring goes back; 0: this cache has none */
	/* Once it has come round: a cursor that has between a quarter and three eighths of the ring behind it, 0: there is none; and what
	 * larder_stat() would have said of hits and misses when it was there. */
	uint64_t mark;
	uint64_t mark_hits, mark_misses;
};
/* LARDER_OK; LARDER_INVALID; LARDER_DETACHED.  Wait-free. */
LARDER_API enum larder_status larder_trace_info(struct larder *cache, struct larder_trace_info *info);

/* Copies accesses in about their order, from *cursor on (0: the oldest that are still there), to out[0 .. capacity); capacity must be
 * 8 or more.  *count says how many; 0: there are no more by now.  *cursor moves on, by one for each seven.  Each process writes
 * seven at a time, so that the latest six of each are not to be seen yet.
 * LARDER_OK; LARDER_INVALID; LARDER_DETACHED. */
LARDER_API enum larder_status larder_trace_read(struct larder *cache, uint64_t *cursor, struct larder_access *out,
		size_t capacity, size_t *count);

#ifdef __cplusplus
}
#endif
#endif
