/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A crew is a peer at work: one host process that creates and loads it, and its workers, which sleep between bursts.
 *
 * The parent gives an order through a shared page and collects what came of it.  Because every peer has processes of
 * its own, all of them can be kept loaded at once and bursts interleaved peer by peer, round by round; a peer that
 * crashes or hangs ends its crew and nobody else's.  Workers of one order start together, behind a barrier.
 */
#ifndef BENCH_CREW_H
#define BENCH_CREW_H

#include "bench.h"
#include "histogram.h"
#include "keys.h"
#include "peer.h"
#include "tick.h"

enum crew_act {
	ACT_GET,          /* throughput: keys of a stream, one after the other */
	ACT_SET,
	ACT_MIX,          /* the stream says which */
	ACT_BATCH,        /* mget of `batch` keys; results are per key */
	ACT_FRESH,        /* sets of ever new keys, `count` of them rather than for a time */
	ACT_FILL,         /* get, and on a miss set */
	ACT_INCR,         /* one counter for all workers */
	ACT_LATENCY_GET,  /* each operation timed by itself */
	ACT_LATENCY_SET,
	ACT_LATENCY_FRESH,
	ACT_ISOLATED,     /* gets timed with cold caches, `count` of them */
	ACT_VERIFY,       /* are `count` keys of the stream there with the right values? hits: how many were */
	ACT_MEMORY        /* ops: the peer's bytes */
};

struct crew_order {
	enum crew_act act;
	unsigned stream;
	unsigned batch;
	unsigned workers;
	uint64_t burst_ns;
	uint64_t count;
};

/* Of one order, all workers together. */
struct crew_result {
	uint64_t ops, hits, sets, failures;
	uint64_t ns;    /* of all workers, added up */
	uint64_t cpu_ns; /* of these, spent on a processor: the rest went to servers, or to other programs */
	double rate;    /* operations per second: sum of what each worker reached */
	uint64_t preempted; /* of the operations timed one by one, those left out of `latency` */
	uint64_t check; /* bytes of what was read, so that reading it cannot be left out */
	struct histogram latency;
};

struct crew;

/* What workers need beside the peer; must outlive the crew and lie in memory that children inherit or share. */
struct crew_supply {
	const struct key_stream *streams;
	unsigned stream_count;
	struct tick_scale scale;
	const uint8_t *sweep; /* memory larger than every cache of the processor; for ACT_ISOLATED */
	size_t sweep_bytes;
};
int supply_sweep(struct crew_supply *supply);

/* Starts, creates, loads shape->keys entries if `load`.  NULL after having said why; the reason is left in trouble. */
struct crew *crew_hire(const struct peer_kind *kind, const struct shape *shape, const struct crew_supply *supply,
		bool load, char *trouble, size_t trouble_bytes);
/* How many workers an order may have at most: 1 for private peers. */
unsigned crew_size(const struct crew *crew);
const struct peer_kind *crew_kind(const struct crew *crew);
/* 0, or -1 when the crew is lost: it died, hung, or the run was interrupted. */
int crew_do(struct crew *crew, const struct crew_order *order, struct crew_result *result);
void crew_dismiss(struct crew **crew);

/* All peers asked for, hired one after the other; those absent or failing are told of on standard error. */
struct crews {
	struct crew *all[16];
	unsigned count;
};
int crews_hire(struct crews *crews, const struct bench_options *options, const struct shape *shape,
		const struct crew_supply *supply, const char *default_peers);
void crews_dismiss(struct crews *crews);
/* Index of the peer of that name, or -1. */
int crews_find(const struct crews *crews, const char *name);

/* The worker's side (work.c): carries out one order on a seat. */
struct work {
	const struct peer_kind *kind;
	const struct shape *shape;
	const struct crew_supply *supply;
	void *seat;
	unsigned index, workers; /* which of how many */
	uint8_t *value, *values;
	size_t position;  /* in the stream */
	uint64_t fresh;   /* next ever new key */
	uint64_t check;
};
#define WORK_BATCH_MAX 64u
int work_init(struct work *work);
void work_free(struct work *work);
void work_do(struct work *work, const struct crew_order *order, struct crew_result *result);

#endif
