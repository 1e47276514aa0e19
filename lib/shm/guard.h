/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LARDER_GUARD: turns the SIGBUS of a mapping whose file was truncated into zeroed memory and a flag.  See guard.c.
 */
#ifndef LARDER_SHM_GUARD_H
#define LARDER_SHM_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sync.h"

/* Watches base .. base + bytes, mapped in pages of page_bytes; sets *lost at the first fault there.  False: table full. */
bool guard_add(void *base, size_t bytes, size_t page_bytes, struct octet *lost);
/* Before the unmapping.  Does nothing if base is not watched. */
void guard_remove(void *base);

#endif
