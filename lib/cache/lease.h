/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Leases: who computes the next value of a key.
 *
 * A lease is an entry of the key, with a stale value or none, that carries owner, token and end; it is taken, taken over
 * and ended by put_run() as any entry is written, so there is nothing of its own to crash in: who dies in the middle leaves
 * what a set leaves, who dies while it holds one leaves an entry whose owner does not live.
 * A set by token counts if the slot still leads to an entry with that token, which no flush or invalidation has hidden:
 * the CAS of that slot word is the proof that nothing came between.
 */
#ifndef LARDER_CACHE_LEASE_H
#define LARDER_CACHE_LEASE_H

#include "cache/write.h"
#include "larder/policy.h"

/* How many milliseconds before its expiry a value that costs cost_us is computed anew by a caller that drew `luck`, from
 * 0 .. 1. */
double lease_early_ms(uint32_t cost_us, double beta, double luck);

#endif
