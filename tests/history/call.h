/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs one call of larder's as struct lin_call describes it and writes the answer back into it, for whoever records
 * histories.  call_run() does the call and next to nothing else, so that it can be single-stepped; call_settle()
 * digests what was read, afterwards.
 */
#ifndef LARDER_TEST_CALL_H
#define LARDER_TEST_CALL_H

#include "lin.h"

#include <larder/policy.h>

struct call_key {
	uint32_t ns;
	size_t bytes;
	char text[56];
};

/* How a get is made. */
enum call_manner {
	CALL_COPY,
	CALL_PIN,
	CALL_MANY,
	CALL_SHORT,         /* the get and set that tell nothing but the value */
	CALL_LEASE,         /* get: takes the lease where it misses, which leaves the key as absent as it was */
	CALL_LEASE_SET,     /* add: sets by the lease whose token is `expected`; one that is gone makes it a call that does nothing */
	CALL_LEASE_RELEASE, /* of LIN_NONE */
	CALL_TAG            /* flush: of all that carries CALL_TAG_NAME */
};
#define CALL_TAG_NAME "step"

struct call_buffers {
	const void *in; /* bytes of call->in */
	void *out;      /* where values read go */
	size_t out_capacity;
	enum call_manner manner;
	const char *tag;   /* a set gives it to the entry */
	uint32_t grace_ms; /* of a set */
};

/* Fills status, sum, version, ttl_left and out.length; response is left alone. */
void call_run(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers, struct lin_call *call);

/* Digests what call_run() read. */
void call_settle(const struct call_buffers *buffers, struct lin_call *call);

#endif
