/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Miss-ratio curves: what hit rate a cache of another size would have had with the same accesses.
 *
 * All accesses to one key in N are known (larder_trace_read).  larder's policy, by object, runs over them at each size with an N-th of that size's
 * bytes: a small cache behaves like a large one with as small a part of its keys.  (SHARDS; Waldspurger and others, FAST 2015, and
 * "Cache modeling and optimization using miniature simulations", ATC 2017.)  When the sample becomes thinner, the keys that are
 * no longer in it leave the simulations, whose sizes shrink with it.
 *
 * A get that hit in truth and misses in a simulation puts the entry in, as the program would have; one that missed waits for the
 * set that follows.  An entry whose time was over when a get missed it in truth is taken out of all; and so is one that a simulation of
 * half the size has: that it was missing was no matter of size (it was flushed, or taken out unseen).  The curve is shifted so
 * that it passes through what was measured at the present size, by so many gets that always hit (SHARDS-adj): a few keys with
 * very many gets are in the sample or are not.
 *
 * Two doubts are told with each size.  The error: twice the standard error of its distance from the present size's, by eighths of the
 * keys (jackknife).  The unknown: gets of keys not seen before that missed in truth, while a simulated cache was not yet full:
 * they may have been hits, had the trace gone back further.  And where what came before the mark does not fill a size twice, what it
 * holds in the simulation is not what it would hold: those sizes are not known, unless there are few misses.
 */
#ifndef LARDER_MRC_H
#define LARDER_MRC_H

#include <larder/monitor.h>

#define MRC_SIZES 11u
#define MRC_PRESENT 6u /* the size that the cache has */
#define MRC_HALF 4u
#define MRC_NAMESPACES 4096u

/* From an eighth to four times the present size, in half octaves. */
extern const double mrc_scale[MRC_SIZES];

struct mrc;

/* capacity_bytes: of entries that a cache of the present size holds when it is full, as a rule, and in proportion those of other sizes;
 * present_bytes: that this one holds; one_in: keys to one that is in the sample. */
struct mrc *mrc_new(uint64_t capacity_bytes, uint64_t present_bytes, uint64_t one_in);
void mrc_free(struct mrc *mrc);
/* The next accesses, in their order; those before the mark are not counted, but fill the simulated caches.  False: no memory. */
bool mrc_feed(struct mrc *mrc, const struct larder_access *accesses, size_t count);
void mrc_mark(struct mrc *mrc);
/* All there ever was is in the trace: nothing is unknown. */
void mrc_mark_creation(struct mrc *mrc);

struct mrc_curve {
	uint64_t gets, hits; /* counted, of the sample, in truth */
	uint64_t keys;       /* in the sample, ever seen */
	uint64_t one_in;     /* keys to one of the sample */
	double hit_rate[MRC_SIZES];
	double error[MRC_SIZES];   /* of hit_rate, either way */
	double unknown[MRC_SIZES]; /* it may be so much more */
	unsigned known;            /* of larger sizes than the first so many, the trace is too short to say anything */
};
/* Overall.  measured: hit rate of all gets of the same time at the present size, below 0 if it is not known. */
void mrc_read(const struct mrc *mrc, double measured, struct mrc_curve *curve);
/* A hit rate at the present size, below 0 if it is not known, and how much it may be off. */
struct mrc_level { double rate, error; };
/* Of one namespace, at these sizes of the whole cache; false if it had no gets.  What was measured of all is its own where no other has gets;
 * else its own level is taken, and if that is not known the one of its traced keys. */
bool mrc_read_namespace(const struct mrc *mrc, uint32_t ns, double measured, struct mrc_level own, struct mrc_curve *curve);
/* The scale at which a hit rate is reached, between two sizes by their logarithms; 0: at none. */
double mrc_scale_for(const struct mrc_curve *curve, double hit_rate);

#endif
