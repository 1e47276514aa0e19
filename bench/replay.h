/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The run of a trace against one cache: a get, and on a miss a set; the same requests, in the same order, with the same
 * overwrites and lives for every cache.
 */
#ifndef BENCH_REPLAY_H
#define BENCH_REPLAY_H

#include "peer_larder.h"
#include "simulate.h"
#include "trace.h"

struct replay {
	const struct trace *trace;
	uint64_t capacity_bytes;
	unsigned overwrite_percent; /* so many of the hits are followed by a set of the same key */
	size_t warm;                /* requests at the beginning that are not counted */
	unsigned scale;             /* every size is multiplied by it, where a trace is too small for any cache */
};

struct replay_result {
	uint64_t gets, misses, wrong, refused;
	double copied; /* bytes copied by eviction per byte inserted */
	uint64_t live_bytes; /* of the objects that were there at the end */
};

/* 0, or -1 after saying why. */
int replay_simulated(const struct replay *replay, const struct sim_policy *policy, struct replay_result *result);
int replay_larder(const struct replay *replay, uint32_t create_flags, bool virtual_time, struct replay_result *result);

static inline double replay_miss_ratio(const struct replay_result *result)
{
	return result->gets ? (double)result->misses / (double)result->gets : 0;
}

/* The clock of the library module built for virtual time (see meson.build). */
int larder_bench_clock(int clock, void *now);

#endif
