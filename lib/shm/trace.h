/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trace: a ring of the latest accesses to one key in so many, chosen by hash, from which an inspector simulates caches of other
 * sizes (SHARDS: Waldspurger, Park, Garthwaite, Ahmad 2015).  How far it goes back is worth more than how many keys are in it,
 * so the sample is thinned while the ring spans too few turnovers of the cache, and the other way round (trace_mark()).
 *
 *    63                                24 23          8 7    4  3    2   0
 *   +------------------------------------+-------------+------+-----+-----+
 *   |          moment of writing         |   thinning  |      | lap |  7  |     the first word of a batch
 *   +--------------------------+---------+-+----------++------+-----+-----+
 *   |  hash, upper 32 bits     |  namespace|size class|life class|lap|kind|     the others; kind 0: never written
 *   +--------------------------+-----------+----------+----------+---+----+
 *    63                      32 31       20 19      12 11       4  3  2   0
 *
 * A participant gathers TRACE_ACCESSES of its own and writes them as one line, at a place that a fetch_add of the
 * number of batches gives it: one shared write for seven accesses.  A miss and the set that follows it are one word.  lap is the
 * lowest bit of the ring's turn, so that a reader knows a word that is not yet written from one that is.  A death leaves a
 * batch of the turn before (skipped), or loses up to six accesses; a process stopped in the middle that writes late puts old
 * accesses among new ones.
 *
 * Of the hash, the lowest bits of what is in a word choose the keys when the sample is thinned; each batch says how thin its writer
 * took it to be, so a reader that takes the keys of the thinnest sample has all accesses to them.
 */
#ifndef LARDER_SHM_TRACE_H
#define LARDER_SHM_TRACE_H

#include "shm/region.h"

enum trace_kind { TRACE_NONE, TRACE_HIT, TRACE_MISS, TRACE_SET, TRACE_DELETE, TRACE_FILL /* a miss, then a set */, TRACE_HEADING = 7 };

#define TRACE_THINNING_MAX 10u

struct trace_batch {
	uint32_t count;    /* of accesses in it */
	uint32_t thinning; /* as it was when the batch before was written */
	uint64_t word[TRACE_BATCH];
};

/* Keys with (hash & mask) == 0 are traced; a mask that no hash but 0 passes where there is no ring. */
uint64_t trace_mask(const struct region *r, unsigned thinning);
/* Bits that are in every such mask. */
uint64_t trace_mask_of_all(const struct region *r);
unsigned trace_thinning(const struct region *r);
/* Keys to one that is traced now. */
uint64_t trace_one_in(const struct region *r);

/* Eight steps to an octave, from 8 bytes on: the middle of a class is within 6 % of all in it. */
unsigned trace_size_class(uint64_t bytes);
uint64_t trace_class_bytes(unsigned size_class);

struct trace_note {
	uint64_t hash;
	uint64_t bytes; /* of the entry, where it is known; else 0 */
	uint64_t ttl_ms;
	uint32_t ns;
	enum trace_kind kind;
};
/* Whether it wrote its batch; *mark then says whether it was the first of a part of the ring, which is to be marked. */
bool trace_note(const struct region *r, struct trace_batch *batch, const struct trace_note *note, uint64_t moment, bool *mark);

/* What the whole cache has done by now, written down at each part's beginning, so that a reader knows what truly happened since;
 * and the sample is made thinner or denser by what the last part showed. */
void trace_mark(const struct region *r, uint64_t hits, uint64_t misses);

struct trace_mark {
	uint64_t batch; /* the cursor at which it was made */
	uint64_t hits, misses;
};
/* The latest mark that leaves at least TRACE_COUNTED_PARTS of the ring's parts behind it; false: there is none. */
bool trace_last_mark(const struct region *r, struct trace_mark *mark);

uint64_t trace_written(const struct region *r);

/* One access read back. */
struct trace_access {
	uint64_t key;    /* 32 bits of the hash, and zeros: a multiple of one_in */
	uint64_t one_in; /* keys to one that was traced by who wrote it */
	uint64_t bytes;
	uint64_t ttl_ms; /* 0: none */
	uint64_t moment; /* of the cache, about */
	uint32_t ns;
	enum trace_kind kind;
};
/* Copies up to capacity accesses from batch *cursor on (0: the oldest there is) and moves it behind what was read.  A batch that
 * is claimed but not written ends the walk, unless later ones are whole: then its writer is late, or dead. */
size_t trace_read(const struct region *r, uint64_t *cursor, struct trace_access *out, size_t capacity);

#endif
