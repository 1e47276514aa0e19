/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values larger than a segment: CHUNKS, ordinary entries under internal keys (version, number), and a MANIFEST under the
 * caller's key, published last.  Each set has a version of its own, so chunks of two sets never mix; a chunk that is
 * missing takes the manifest with it before anyone answers a miss.  Orphans of a dead setter age out.
 */
#ifndef LARDER_CACHE_LARGE_H
#define LARDER_CACHE_LARGE_H

#include "cache/put.h"

struct manifest {
	uint64_t bytes;
	uint64_t version;     /* of the chunks */
	uint32_t chunk_bytes; /* of each but the last */
	uint32_t chunks;
};

/* Reads and checks the manifest in an entry that is held. */
bool manifest_read(const struct larder *cache, const struct entry *e, struct manifest *m);
/* Key of one chunk; `name` holds its bytes. */
struct key chunk_key(const struct region *r, uint32_t ns, const struct manifest *m, uint32_t number, unsigned char name[12]);

/* Copies the whole value.  LARDER_OK; LARDER_MISS: a chunk is gone, and the manifest with it; LARDER_CHANGED: the key has
 * another value by now. */
enum larder_status large_read(struct larder *cache, struct actor *a, const struct key *k, const struct manifest *m, unsigned char *buffer);
/* A chunk was not there: takes out the manifest that promises it.  LARDER_MISS, or LARDER_CHANGED. */
enum larder_status large_missing(struct larder *cache, struct actor *a, const struct key *k, const struct manifest *m);
/* put_run() for a value that does not fit into one entry. */
enum larder_status large_put(struct larder *cache, struct actor *a, struct put *put, const unsigned char *value, uint64_t bytes);
/* Takes out the chunks that nothing leads to any more; best effort. */
void large_forget(struct larder *cache, struct actor *a, uint32_t ns, const struct chunks *chunks);

#endif
