/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the example `serve` share.
 *
 *   serve.c         options, and the timeline: start the workers, kill one, stop one, end, look at what is left
 *   serve_corpus.c  the files to serve, their digests, and who asks for which how often
 *   serve_worker.c  a worker: look into the cache, read the file on a miss, check every byte
 *   serve_report.c  what came of it, in words
 *
 * Workers are processes.  Each opens the cache by its name; all that they share beside it is the board, on which each
 * keeps its own tally, so that what a killed worker did is not lost.  Nothing on the board is ever waited for.
 */
#ifndef SERVE_H
#define SERVE_H

#include <larder.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define WORKERS_MAX 64u
#define BLOCKED_NS UINT64_C(50000000) /* a call longer than this, but for preemption, was blocked by something */
#define NAMESPACE "files"

/* ---- the files -------------------------------------------------------------------------------------------------- */

struct file {
	char *path;
	size_t path_bytes;
	uint64_t bytes;
	uint64_t digest; /* XXH3-64 of its content */
};

struct corpus {
	struct file *files; /* the most popular first */
	double *share;      /* share[i]: how many requests in 1 are for one of files 0 .. i */
	size_t count;
	uint64_t bytes;
	size_t too_large, unreadable, left_out;
};

void corpus_scan(struct corpus *corpus, const char *directory);
void corpus_cut(struct corpus *corpus, uint64_t file_max_bytes, uint64_t total_max_bytes);
uint64_t corpus_usual_bytes(const struct corpus *corpus);
void corpus_digest(struct corpus *corpus, uint64_t file_max_bytes);
size_t corpus_pick(const struct corpus *corpus, uint64_t *random);
uint64_t random_next(uint64_t *state);
/* The whole file in buffer: its length, or -1 if it is not to be had or does not fit. */
ssize_t file_read(const struct file *file, void *buffer, size_t capacity);

/* ---- the board -------------------------------------------------------------------------------------------------- */

enum phase { OUTSIDE, IN_GET, READING_IN_PLACE, IN_SET };

#define BUCKETS 640u /* 16 to each power of two of nanoseconds */

struct tally {
	_Alignas(128) _Atomic int phase;
	_Atomic uint64_t hits, misses, fills, changed, torn, refused, blocked;
	_Atomic uint64_t served_bytes, slowest_ns, slowest_unexplained_ns;
	_Atomic int last_refusal; /* enum larder_status */
	_Atomic uint32_t hit_ns[BUCKETS];
};

struct board {
	_Atomic bool over;
	struct tally tallies[WORKERS_MAX];
};

/* For words that one process writes and others only look at. */
static inline void tally_add(_Atomic uint64_t *word, uint64_t n)
{
	atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + n, memory_order_relaxed);
}

uint64_t now_ns(void);
void hit_count(struct tally *tally, uint64_t ns);

/* ---- a worker --------------------------------------------------------------------------------------------------- */

_Noreturn void worker_run(const char *cache_name, const struct corpus *corpus, struct tally *tally, struct board *board,
		uint64_t seed);

/* ---- the outcome ------------------------------------------------------------------------------------------------ */

struct incident {
	unsigned worker;
	pid_t pid;
	enum phase phase;
	double at_s, lasted_s;
	uint64_t done_after; /* operations of a stopped worker once it was continued */
};

struct outcome {
	const char *directory, *cache_name;
	unsigned workers, survivors;
	double seconds;
	uint64_t cache_bytes, file_max_bytes;
	struct incident killed, stopped;
	uint64_t kept, kept_wrong; /* what the cache holds afterwards */
	uint64_t faults;           /* what larder_check says of it */
};

uint64_t board_operations(const struct board *board, unsigned workers);
double board_hit_rate(const struct board *board, unsigned workers);
/* Prints the result; true if nothing of what may never happen has happened. */
bool report_print(const struct outcome *outcome, const struct corpus *corpus, const struct board *board);

#endif
