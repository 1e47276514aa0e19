/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options checked and filled in, and the geometry of a cache that follows from them.
 */
#ifndef LARDER_SHM_GEOMETRY_H
#define LARDER_SHM_GEOMETRY_H

#include "larder.h"
#include "shm/layout.h"

/* lib/shm/geometry.c: a copy of the caller's options, of whatever size, with defaults filled in and every field within
 * its range; or LARDER_INVALID with a message.  `in` may be NULL. */
enum larder_status options_read(struct larder_options *out, const struct larder_options *in);
/* Counts and offsets for a cache of these options, or LARDER_INVALID with a message.  Left 0: seed, clocks, boot. */
enum larder_status geometry_plan(struct shm_geometry *geo, const struct larder_options *options);
/* True if every field of a stranger's geometry is within bounds and agrees with a file of file_bytes. */
bool geometry_valid(const struct shm_geometry *geo, uint64_t file_bytes);

#endif
