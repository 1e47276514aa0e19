/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A draft is a file without a name, or with one nobody looks for, that becomes a cache file by one system call.  A creator
 * that dies before it leaves nothing, or a leftover that the next creator removes.
 */
#ifndef LARDER_SHM_DRAFT_H
#define LARDER_SHM_DRAFT_H

#include <stdint.h>

#include "larder.h"

struct draft_file {
	int fd;
	char temporary[288]; /* "": without a name */
};

/* An empty file, read and write, in the directory of `path`, with permission bits `mode`.  Messages as in larder_message(). */
enum larder_status draft_open(struct draft_file *d, const char *path, uint32_t mode);
/* An empty file in no file system, which nobody else can reach and that ends with its last user; path is for messages and
 * for /proc/PID/maps. */
enum larder_status draft_open_private(struct draft_file *d, const char *path);
/* What LARDER_NO_SPACE means for another try. */
struct shortage {
	uint64_t left_bytes; /* if these change, others are at work: creating, perhaps, what we want to attach to */
	bool hopeless;       /* the file system is too small even when it is empty */
};
/* Makes it `bytes` long with all of its space reserved; LARDER_NO_SPACE. */
enum larder_status draft_reserve(const struct draft_file *d, const char *path, uint64_t bytes, struct shortage *shortage);
/* Gives it its name: LARDER_OK, or LARDER_EXISTS if there is a file of that name. */
enum larder_status draft_publish(struct draft_file *d, const char *path);
/* Removes what is left of it.  The descriptor stays open. */
void draft_abandon(struct draft_file *d);

/* open(), close-on-exec and never one of 0, 1 and 2: a program that prints to a closed stdout must not print into a cache. */
int open_above_stdio(const char *path, int flags, uint32_t mode);

#endif
