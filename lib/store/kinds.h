/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kinds of store that larder brings: one table of functions each, in the file of its name.
 */
#ifndef LARDER_STORE_KINDS_H
#define LARDER_STORE_KINDS_H

#include <larder/store.h>

extern const struct larder_store_kind store_shm;       /* the engine, in a segment that has a name */
extern const struct larder_store_kind store_memory;    /* the engine, in memory of this process and its children */
extern const struct larder_store_kind store_migrating; /* two stores, and a mode in shared memory that says which answers */
extern const struct larder_store_kind store_tiered;    /* a cache in memory before any other store */

#ifdef LARDER_REDIS
extern const struct larder_store_kind store_redis;  /* a Redis server or cluster */
#endif

/* All of them, ended by NULL. */
extern const struct larder_store_kind *const store_kinds[];
/* Why a kind that larder knows of is not among them; NULL: it is, or there is no such kind. */
const char *kind_absent(const char *name);

#endif
