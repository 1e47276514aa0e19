/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trace: a ring of the latest accesses to one key in 2^trace_shift, chosen by hash, from which an inspector simulates caches
 * of other sizes (SHARDS: Waldspurger, Park, Garthwaite, Ahmad 2015).
 *
 *    63                      24 23        12 11        4  3    2   0
 *   +--------------------------+------------+-----------+-----+-----+
 *   |     hash, upper 40 bits  |  namespace | size class| lap |kind |     kind 0: never written
 *   +--------------------------+------------+-----------+-----+-----+
 *
 * A participant gathers TRACE_BATCH accesses of its own and writes them as one line, at a place that a fetch_add of the
 * number of batches gives it: one shared write for eight accesses.  lap is the lowest bit of the ring's turn, so that a reader
 * knows a word that is not yet written from one that is.  A death leaves a batch of the turn before (skipped), or loses up
 * to seven accesses of eight; a process stopped in the middle that writes late puts old accesses among new ones.
 */
#ifndef LARDER_SHM_TRACE_H
#define LARDER_SHM_TRACE_H

#include "shm/region.h"

enum trace_kind { TRACE_NONE, TRACE_HIT, TRACE_MISS, TRACE_SET, TRACE_DELETE };

struct trace_batch {
	uint32_t count;
	uint64_t word[TRACE_BATCH];
};

/* Keys with (hash & mask) == 0 are traced; a mask that no hash passes where there is no ring. */
static inline uint64_t trace_mask(const struct region *r)
{
	return r->geo.trace_words == 0 ? UINT64_MAX : (UINT64_C(1) << r->geo.trace_shift) - 1;
}

/* Eight steps to an octave, from 8 bytes on: the middle of a class is within 6 % of all in it. */
unsigned trace_size_class(uint64_t bytes);
uint64_t trace_class_bytes(unsigned size_class);

/* bytes: of the entry, where it is known; else 0. */
void trace_note(const struct region *r, struct trace_batch *batch, uint64_t hash, uint32_t ns, enum trace_kind kind, uint64_t bytes);

uint64_t trace_written(const struct region *r);

/* One access read back. */
struct trace_access {
	uint64_t key; /* 40 bits of the hash */
	uint64_t bytes;
	uint32_t ns;
	enum trace_kind kind;
};
/* Copies up to capacity accesses from batch *cursor on (0: the oldest there is) and moves it behind what was read.  A batch that
 * is claimed but not written ends the walk, unless later ones are whole: then its writer is late, or dead. */
size_t trace_read(const struct region *r, uint64_t *cursor, struct trace_access *out, size_t capacity);

#endif
