/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder as a peer, in variants: which create flags, whether entries have a TTL, and which build of the library (the
 * one linked, or a module built for the ablation or for replays on virtual time, loaded by name).
 */
#ifndef BENCH_PEER_LARDER_H
#define BENCH_PEER_LARDER_H

#include <larder.h>

#include "peer.h"

/* The calls that the benchmark makes: of the library linked, or of a module. */
struct larder_api {
	enum larder_status (*open_with)(const char *, const struct larder_options *, struct larder **);
	void (*close)(struct larder **);
	enum larder_status (*destroy)(const char *);
	const char *(*message)(void);
	enum larder_status (*get)(struct larder *, uint32_t, const void *, size_t, void *, size_t, size_t *);
	enum larder_status (*set)(struct larder *, uint32_t, const void *, size_t, const void *, size_t, int64_t);
	enum larder_status (*delete)(struct larder *, uint32_t, const void *, size_t);
	enum larder_status (*mget)(struct larder *, uint32_t, struct larder_item *, size_t);
	enum larder_status (*incr_with)(struct larder *, uint32_t, const void *, size_t, int64_t, bool, int64_t,
			int64_t, int64_t *);
	enum larder_status (*stat)(struct larder *, struct larder_stat *);
	enum larder_status (*info)(struct larder *, struct larder_info *);
};

struct larder_variant {
	uint32_t create_flags;
	int64_t ttl_ms;
	const char *module; /* file name beside this program, or NULL for the library linked */
};

/* NULL when the module cannot be loaded, or lacks a call; the reason is put into trouble. */
const struct larder_api *larder_api_load(const char *module, char *trouble, size_t trouble_bytes);

/* Bytes that hold so many entries of this shape with room to spare, so that nothing is evicted. */
uint64_t larder_roomy_bytes(const struct shape *shape);

/* The calls of a kind of this family, for the classes that the ablation makes at run time. */
#define PEER_LARDER_CALLS \
	.scope = PEER_PROCESSES, .create = peer_larder_create, .join = peer_larder_join, .get = peer_larder_get, \
	.set = peer_larder_set, .mget = peer_larder_mget, .incr = peer_larder_incr, .memory = peer_larder_memory, \
	.leave = peer_larder_leave, .destroy = peer_larder_destroy, .sweep = peer_larder_sweep

int peer_larder_create(struct peer *peer);
int peer_larder_join(struct peer *peer, void **seat);
int peer_larder_get(void *seat, const uint8_t *key, uint8_t *value);
int peer_larder_set(void *seat, const uint8_t *key, const uint8_t *value);
unsigned peer_larder_mget(void *seat, const uint8_t *keys, unsigned count, uint8_t *values);
int peer_larder_incr(void *seat, const uint8_t *key, int64_t *sum);
uint64_t peer_larder_memory(struct peer *peer);
void peer_larder_leave(void *seat);
void peer_larder_destroy(struct peer *peer);
void peer_larder_sweep(const struct peer *peer);

#endif
