/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Metrics that outlive whoever counts: counters and a histogram of durations for each set of labels (store, namespace,
 * operation, further ones), added to by all processes of a cache, or of a process and its children (series_private).
 *
 * Every count is one relaxed fetch_add on a word that is never reset: exact whoever dies when, but for the one that a
 * dying process was about to make; nothing is folded, nothing can be counted twice.  Counters are striped by CPU.  Rows are found by
 * label.h and stay; a histogram is claimed by a CAS of the row's number into the first free owner word, so that a row
 * has one at most, whoever dies in between.  A table that is full sends what is new to rows called _other, for which an eighth of it
 * is kept, and in the end to row 0: bounded, nothing lost, less told apart.
 *
 * Durations are sampled: one operation in N is timed, by geometric skips, and counts for N.  Each operation is taken with the same
 * probability whatever came before, so sums are unbiased under any rhythm, and when N changes.
 */
#ifndef LARDER_SHM_SERIES_H
#define LARDER_SHM_SERIES_H

#include <sched.h>
#if defined(__x86_64__) && __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#include "base/clock.h"
#include "shm/label.h"
#include "shm/region.h"

#define SERIES_TEXT_BYTES (SERIES_TEXT_WORDS * 8u)
#define SERIES_OTHER "_other"

enum series_cell {
	SERIES_HITS,     /* gets of the manager */
	SERIES_MISSES,
	SERIES_DONE,     /* its other operations, each under its own name */
	SERIES_RECORDED, /* operations that the program reports: good, */
	SERIES_FAILED,   /* and failed */
	SERIES_SUM_NS,   /* of the durations in the histogram */
};

/* Where the metrics are: in a segment, or in memory of this process. */
struct series_table {
	struct shm_series_head *head;
	struct shm_series *rows;
	struct word *owners;
	struct shm_histogram *histograms;
	uint32_t row_count, histogram_count;
	uint64_t seed;
	bool may_claim;
	size_t mapped_bytes; /* series_private(): of the mapping; else 0 */
};

/* A process's hold on one row; valid as long as its table is mapped.  Copied freely. */
struct series {
	struct shm_series *row;
	struct shm_histogram *histogram; /* NULL: not timed */
};

struct series_label {
	const char *name, *value;
};
struct series_labels {
	const char *store, *namespace, *operation; /* "" is a name, too, but not of an operation */
	const struct series_label *more;           /* their names are not empty */
	unsigned more_count;
};

void series_of_region(const struct region *r, struct series_table *t);
/* Anonymous memory, shared with the children that this process forks.  LARDER_OK or LARDER_NO_MEMORY. */
enum larder_status series_private(struct series_table *t, uint32_t rows, uint32_t histograms);
void series_unmap(struct series_table *t); /* of series_private() only */

/* The row of these labels, with a histogram if `timed` and there is one left.  Never fails where rows may be claimed:
 * what finds no row of its own counts in one called _other.  LARDER_INVALID: no operation, or the labels take more than
 * SERIES_TEXT_BYTES, each with a NUL.  LARDER_MISS: an inspector, and nobody has counted there.  Slow: once for each set of labels. */
enum larder_status series_find(const struct series_table *t, const struct series_labels *labels, bool timed, struct series *s);

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

/* By CPU: children of one parent part ways, and a line stays where it is written.  glibc has the number in the thread's own
 * area for restartable sequences: two loads instead of a call; anything else is as good where a kernel has none. */
static inline unsigned series_stripe(void)
{
#if defined(RSEQ_SIG) && defined(__x86_64__)
	unsigned cpu;
	__asm__ volatile("movl %%fs:4(%1), %0" : "=r"(cpu) : "r"(__rseq_offset));
	return cpu % SERIES_STRIPES;
#else
	return (unsigned)sched_getcpu() % SERIES_STRIPES;
#endif
}

static inline void series_count(const struct series *s, enum series_cell cell, uint64_t n)
{
	/* Relaxed: a sum says nothing about anything else. */
	(void)add_hint(&s->row->stripe[series_stripe()].cell[cell], n);
}

/* `status` is a failure; how many of them there were is told for each. */
static inline void series_error(const struct series *s, int status)
{
	unsigned reason = status < 0 && -status < (int)SERIES_ERRORS ? (unsigned)-status : 0;
	(void)add_hint(&s->row->error[reason], 1);
}

/* ---- Timing ------------------------------------------------------------------------------------------------------ */

/* Sixteen buckets to an octave from 32 ns to 2^37 ns (137 s): none is wider than a sixteenth of where it begins, so that its
 * middle is within 3.2 % of all that is in it.  The first takes what is shorter, too, the last what is longer. */
#define HISTOGRAM_FIRST_SHIFT 5u
#define HISTOGRAM_STEPS_SHIFT 4u
static inline unsigned histogram_index(uint64_t ns)
{
	if (ns < UINT64_C(1) << HISTOGRAM_FIRST_SHIFT)
		return 0;
	unsigned octave = 63u - (unsigned)__builtin_clzll(ns);
	uint64_t step = ns >> (octave - HISTOGRAM_STEPS_SHIFT) & ((1u << HISTOGRAM_STEPS_SHIFT) - 1);
	uint64_t index = (uint64_t)(octave - HISTOGRAM_FIRST_SHIFT) << HISTOGRAM_STEPS_SHIFT | step;
	return index < HISTOGRAM_BUCKETS ? (unsigned)index : HISTOGRAM_BUCKETS - 1;
}
/* Where bucket `index` begins; of HISTOGRAM_BUCKETS: where the last one ends. */
static inline uint64_t histogram_from_ns(unsigned index)
{
	uint64_t step = index & ((1u << HISTOGRAM_STEPS_SHIFT) - 1);
	return ((UINT64_C(1) << HISTOGRAM_STEPS_SHIFT) + step) << ((index >> HISTOGRAM_STEPS_SHIFT) + HISTOGRAM_FIRST_SHIFT - HISTOGRAM_STEPS_SHIFT);
}

/* An operation that took so long, and stands for `weight` of them. */
static inline void series_time(const struct series *s, uint64_t ns, uint64_t weight)
{
	if (s->histogram == NULL)
		return;
	(void)add_hint(&s->histogram->bucket[histogram_index(ns)], weight);
	(void)add_hint(&s->row->stripe[series_stripe()].cell[SERIES_SUM_NS], ns * weight);
}

#define TIMING_NEVER UINT64_MAX
#define TIMING_DEFAULT 128u
#define TIMING_RATE_MAX (UINT64_C(1) << 24)

/* One in `rate` operations is timed from now on, in every process: 1 .. TIMING_RATE_MAX, or TIMING_NEVER. */
void timing_set(const struct series_table *t, uint64_t rate);
uint64_t timing_get(const struct series_table *t);

/* An operation being timed, if weight is not 0. */
struct timer {
	uint64_t start_ns;
	uint64_t weight;
};
struct timing {
	uint64_t word; /* as it was in the table when `left` was drawn */
	uint64_t left; /* operations until the next one that is timed, that one included; 0: not drawn yet */
	uint64_t random;
};
extern _Thread_local struct timing timing_here __attribute__((tls_model("initial-exec"), visibility("hidden")));
struct timer timer_begin_slow(uint64_t word);

/* One load, one decrement and a branch for an operation that is not timed. */
static inline struct timer timer_begin(const struct series_table *t)
{
	uint64_t word = load_hint(&t->head->timing);
	if (likely(timing_here.word == word) && likely(timing_here.left > 1)) {
		timing_here.left--;
		return (struct timer){ 0, 0 };
	}
	return timer_begin_slow(word);
}
/* timing: of the table's head.  True, and the operation counted as one that is not timed, unless it is due: then ask timer_begin(). */
static inline bool timer_skip(const struct word *timing)
{
	if (unlikely(timing_here.word != load_hint(timing)) || unlikely(timing_here.left <= 1))
		return false;
	timing_here.left--;
	return true;
}
static inline void timer_end(const struct timer *timer, const struct series *s)
{
	if (unlikely(timer->weight != 0))
		series_time(s, (uint64_t)clock_precise_ns() - timer->start_ns, timer->weight);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* The labels of a row as text, NUL after each: store, namespace, operation, then pairs "name=value"; false: no such row, or
 * one that nobody has named.  Row 0 is _other's. */
bool series_text(const struct series_table *t, uint32_t row, char text[SERIES_TEXT_BYTES + 1], size_t *bytes);
uint64_t series_sum(const struct series_table *t, uint32_t row, enum series_cell cell);
/* NULL if the row has none. */
const struct shm_histogram *series_histogram(const struct series_table *t, uint32_t row);

#endif
