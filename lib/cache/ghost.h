/* SPDX-License-Identifier: BSD-2-Clause */
/* Ghosts: fingerprints of keys that left the small pool unused.  One that comes back soon goes to the main pool at once. */
#ifndef LARDER_CACHE_GHOST_H
#define LARDER_CACHE_GHOST_H

#include "shm/actor.h"

void ghost_add(const struct region *r, uint64_t hash);
/* Fits the number of words in use to the entries that main_segments hold, by the size of what this participant wrote. */
void ghost_fit(struct actor *a, uint32_t main_segments);
/* True, and forgotten, if the key is among them. */
bool ghost_take(const struct region *r, uint64_t hash);

#endif
