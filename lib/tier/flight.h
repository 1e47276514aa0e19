/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flights: the times in which a thread of some process may change the far store.
 *
 * Two processes that write one key behind can be overtaken by each other on the way: the older write arrives last, and what is near,
 * newer and marked clean, differs from it for good.  So whoever brings over what is dirty near goes through five steps:
 *   1. he knows which versions he wants to write
 *   2. he waits until all flights are over that are in progress now, for a bounded time
 *   3. he begins a flight, and looks near: what is not there any more in its version, somebody newer will write
 *   4. he writes
 *   5. he marks clean by CAS on the version written, and ends the flight
 * Between 3 and 5 the far store can only be changed by flights that began after 2, and they have seen near that version, or a newer one: then
 * the CAS fails.  So what is marked clean is what the far store has (tests/model/pml/behind.pml).
 *
 * A flight is a word of the participant: registration 32, number 31, in progress 1.  Its owner alone writes it.  A crash leaves it in
 * progress; whoever waits sees by the registration that its owner does not live.  A stopped process holds up others for their patience,
 * once: then they go on, and what they write is removed near, instead of marked clean, for the stopped one may still change it.
 * Edge: FLIGHT.
 */
#ifndef LARDER_TIER_FLIGHT_H
#define LARDER_TIER_FLIGHT_H

#include "tier/near.h"

void flight_begin(struct near *near);
void flight_end(struct near *near);
/* Waits until the flights of others are over that are in progress at the call.  False: not all of them were, within patience_ms. */
bool flights_await(struct near *near, int64_t patience_ms);

#endif
