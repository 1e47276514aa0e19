/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of the peers that are part of this program: shared between processes as the cache's is, and of the same kind
 * of pages, so that a ratio compares programs and not page sizes.
 */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed and touched; with `huge` collapsed into huge pages where the kernel can.  NULL without memory. */
void *memory_shared(size_t bytes, bool huge);
void memory_free(void *memory, size_t bytes);

#endif
