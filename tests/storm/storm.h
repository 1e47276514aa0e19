/* SPDX-License-Identifier: BSD-2-Clause */
/* What monitor and workers of larder-storm share: a page of memory that outlives any of them. */
#ifndef LARDER_TEST_STORM_H
#define LARDER_TEST_STORM_H

#include "kit.h"

#include <stdatomic.h>
#include <sys/types.h>

#define STORM_WORKERS_MAX 64u
#define STORM_COUNTERS 4u

enum storm_tally {
	TALLY_CALLS,
	TALLY_HITS,
	TALLY_TORN,
	TALLY_FOREIGN,
	TALLY_STALE,
	TALLY_OWN,
	TALLY_HELD_BACK,
	TALLY_FAILED,
	TALLY_COUNT
};

/* Written by the worker of the moment, but for pid, generation and epoch (the monitor). */
struct storm_worker {
	pid_t pid;
	uint32_t generation;
	_Atomic uint64_t epoch;   /* odd: stopped, or about to be */
	_Atomic uint64_t in_call; /* number of the call it is in; 0: in none */
	uint64_t tally[TALLY_COUNT];
	uint64_t increments[STORM_COUNTERS]; /* that returned */
	unsigned told;
};

struct storm {
	char path[64];
	uint64_t bytes, seed;
	unsigned workers_count;
	uint32_t flushed_ns;
	_Atomic bool over;
	_Atomic bool counter_gone[STORM_COUNTERS];
	_Atomic uint64_t slowest_ns;
	struct storm_worker workers[STORM_WORKERS_MAX];
};

/* Times to live that workers give. */
#define STORM_TTLS 3u
extern const int64_t storm_ttls_ms[STORM_TTLS];

size_t storm_counter_key(char *key, size_t size, unsigned number);

/* A worker's life, until the storm is over; does not return. */
void storm_work(struct storm *storm, unsigned number) __attribute__((noreturn));

#endif
