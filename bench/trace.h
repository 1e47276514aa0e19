/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Access traces: read whole into memory, objects numbered densely in the order of their first use.
 *
 *   NAME.id32.xz       xz of little-endian u32 ids, one per request
 *   NAME.idsize32.xz   pairs of u32: id, size in bytes
 *   NAME.csv           lines of time,key,size,op,ttl: time and ttl in seconds (fractions allowed; ttl empty or 0:
 *                      none), key any text without commas, op get, set or delete; a first line that begins with
 *                      "time" is a heading
 *
 * .id32 and .idsize32 without .xz are read as they are.
 */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum trace_op { TRACE_GET, TRACE_SET, TRACE_DELETE };

struct request {
	uint64_t time_ms; /* since the first request */
	uint64_t ttl_ms;  /* 0: none */
	uint32_t object;
	uint32_t size; /* key and value; 0 in traces without sizes */
	uint8_t op;
};

struct trace {
	char name[64];
	struct request *requests;
	size_t count;
	uint32_t objects;
	bool sized, timed;
	uint64_t object_bytes; /* of all objects, each at the size it had last; 0 without sizes */
};

/* 0, or -1 after saying why. */
int trace_read(struct trace *trace, const char *path);
/* zipf over `objects`, uniform in size. */
int trace_zipf(struct trace *trace, uint32_t objects, size_t count, double exponent, uint64_t seed);
/* Gives each object without a size this one. */
void trace_give_size(struct trace *trace, uint32_t size);
/* Gives objects lives: none, or 2 %, 10 %, 50 % of the trace, a quarter each; the trace's time is then its requests. */
void trace_give_ttls(struct trace *trace, uint64_t seed);
void trace_free(struct trace *trace);

#endif
