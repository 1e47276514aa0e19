/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dirty entries brought to the far store: what was set or deleted while it could not be reached, and what a process that died had
 * accepted and not yet written.  There is no list of them but the near cache itself: it is bounded, survives its processes, and
 * cannot disagree with what readers see.
 *
 * The newest wins: where the far store knows when its value was made (meta.created_at_ms), and that is later, the dirty
 * entry is dropped; else it is written or deleted there.  It is marked clean by CAS from the version that was written, so a
 * crash leaves it dirty, and it is written again.
 */
#ifndef LARDER_STORE_TIERED_REPAIR_H
#define LARDER_STORE_TIERED_REPAIR_H

#include <larder/tiered.h>

#include "store/tiered.h"

/* One key.  clean_too: what is there is written even if it is not dirty.  LARDER_OK: nothing is left to do; a failure. */
enum larder_status tier_repair_key(struct tier *tier, const struct larder_store_key *key, bool clean_too,
		struct larder_tiered_repair *done);
/* All of them, for up to timeout_ms. */
enum larder_status tier_repair_all(struct tier *tier, int64_t timeout_ms, struct larder_tiered_repair *done);

#endif
