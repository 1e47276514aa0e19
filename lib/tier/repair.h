/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dirty entries brought to the far store: what was set or deleted while it could not be reached, and what a process that died had
 * accepted and not yet written.  There is no list of them but the near cache itself: it is bounded, survives its processes, and
 * cannot disagree with what readers see.
 *
 * The newest wins: where the far store knows when its value was made (meta.created_at_ms), and that is later, the dirty
 * entry is dropped; else it is written or deleted there.  It is marked clean by CAS from the version that was written, in a flight
 * (flight.h), so a crash leaves it dirty, and it is written again.
 */
#ifndef LARDER_TIER_REPAIR_H
#define LARDER_TIER_REPAIR_H

#include <larder/tiered.h>

#include "tier/tiered.h"

/* One key.  LARDER_OK: nothing is left to do; a failure. */
enum larder_status tier_repair_key(struct tier *tier, const struct larder_store_key *key, struct larder_tiered_repair *done);
/* The far store has what is near in `version`, written in this flight: it is marked clean, or what else it has to be now. */
struct tier_landed {
	uint64_t version;
	bool alone;   /* no older write can come after it (flights_await) */
	bool in_turn; /* this process's queue has no older one of the key */
	bool removed;
	const void *value;
	size_t value_bytes;
	const struct larder_set_options *options; /* as they were given to the far store */
};
/* LARDER_CHANGED, LARDER_MISS: it stands there no more. */
enum larder_status tier_landed(struct tier *tier, const struct near_key *k, const struct tier_landed *landed);
/* All of them, for up to timeout_ms. */
enum larder_status tier_repair_all(struct tier *tier, int64_t timeout_ms, struct larder_tiered_repair *done);

#endif
