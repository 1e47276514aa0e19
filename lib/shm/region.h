/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region is this process's view of one cache file: the mapping, a checked copy of the geometry, and the descriptors
 * that locks are held and asked through.  Creates atomically, attaches, verifies, unmaps, destroys.
 *
 * Descriptors are numbers, and numbers can be closed and taken over by the host program.  So they are used through
 * region_lock_fd() and region_probe_fd(), which compare st_dev and st_ino first and open the file anew if need be.
 */
#ifndef LARDER_SHM_REGION_H
#define LARDER_SHM_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "larder.h"
#include "shm/geometry.h"

/* What the features word of the superblock says; other bits are refused. */
#define FEATURE_CHECKSUM 1u
#define FEATURE_STAMPS 2u

#define REGION_ANCHORS 8u

struct region {
	unsigned char *base;
	struct shm_geometry geo; /* private, checked */
	/* Where the parts that every get touches begin; from geo, set at open. */
	unsigned char *arena;
	struct word *segwords;
	struct shm_group *index;
	struct shm_namespace *namespaces;
	uint64_t places;
	uint32_t unit_shift; /* segment = place >> unit_shift */
	uint32_t tick_shift; /* tick = seals >> tick_shift */
	struct octet used[256]; /* what a use makes of a frequency, as of tick used_at - 1 (index.h) */
	struct word used_at;
	bool read_only;
	bool huge;
	bool private; /* LARDER_PRIVATE: a file that never has a name */
	struct octet lost;       /* set by the SIGBUS guard: the file was truncated under us */
	int64_t time_offset_ms;  /* of this process's time namespace: add to the monotonic clock */
	uint32_t open_flags;

	/* Descriptors and identity: see region.c.  -1: none. */
	int lock_fd;   /* OFD locks are held through this one; none before a crew is made, and for inspectors */
	int probe_fd;  /* and asked about through this one, through which the mapping was made */
	void *anchor[REGION_ANCHORS]; /* a page mapped through each lock_fd there ever was: locks outlive a stray close */
	uint32_t anchors;
	uint32_t page_bytes; /* of the file: a huge page on hugetlbfs, else 4096 */
	dev_t dev;
	ino_t ino;
	char path[256];
};

static inline struct shm_super *region_super(const struct region *r) { return (struct shm_super *)r->base; }
static inline void *region_at(const struct region *r, uint64_t off) { return r->base + off; }
static inline struct shm_participant *region_participant(const struct region *r, uint32_t slot)
{
	return (struct shm_participant *)region_at(r, r->geo.participants_off) + slot;
}
/* Slots below this have been taken at some time, the others never. */
static inline uint32_t region_participants_used(const struct region *r)
{
	uint64_t used = load_seq_cst(&region_super(r)->participants_used);
	return used < r->geo.participants ? (uint32_t)used : r->geo.participants;
}
static inline struct shm_namespace *region_namespace(const struct region *r, uint32_t ns)
{
	return r->namespaces + ns;
}
static inline struct word *region_segword(const struct region *r, uint32_t segment)
{
	return r->segwords + segment;
}
static inline struct shm_segment *region_segment(const struct region *r, uint32_t segment)
{
	return (struct shm_segment *)region_at(r, r->geo.descriptors_off) + segment;
}
static inline struct word *region_starts(const struct region *r, uint32_t segment)
{
	return (struct word *)region_at(r, r->geo.starts_off) + (uint64_t)segment * r->geo.start_words;
}
static inline struct word *region_tags(const struct region *r) { return region_at(r, r->geo.tags_off); }
static inline struct shm_wait *region_waits(const struct region *r) { return region_at(r, r->geo.waits_off); }
static inline struct word *region_ghosts(const struct region *r) { return region_at(r, r->geo.ghosts_off); }
static inline struct shm_group *region_group(const struct region *r, uint64_t group)
{
	return r->index + group;
}
static inline struct shm_entry *region_entry(const struct region *r, uint64_t place)
{
	return (struct shm_entry *)(r->arena + (place << UNIT_SHIFT));
}

static inline uint32_t region_segment_of(const struct region *r, uint64_t place) { return (uint32_t)(place >> r->unit_shift); }
static inline uint64_t region_unit_of(const struct region *r, uint64_t place) { return place & ((UINT64_C(1) << r->unit_shift) - 1); }
/* After mapping, and only there. */
static inline void region_point(struct region *r)
{
	r->arena = region_at(r, r->geo.arena_off);
	r->segwords = region_at(r, r->geo.segwords_off);
	r->index = region_at(r, r->geo.index_off);
	r->namespaces = region_at(r, r->geo.namespaces_off);
	r->places = geo_places(&r->geo);
	r->unit_shift = r->geo.segment_shift - UNIT_SHIFT;
	r->tick_shift = geo_tick_shift(&r->geo);
}

/* True once the cache was destroyed, or its file was truncated under the guard. */
static inline bool region_gone(struct region *r)
{
	return unlikely(load_acquire(&region_super(r)->state) != SUPER_LIVE) || unlikely(octet_load_hint(&r->lost) != 0);
}

/* Opens (create or attach, by options->flags) into *r.  On failure *r holds nothing and larder_message() says why. */
enum larder_status region_open(struct region *r, const char *name, const struct larder_options *options);
void region_close(struct region *r);
enum larder_status region_destroy(const char *name);
/* Slow check (two system calls): true if the file was removed or truncated behind our back. */
bool region_lost(struct region *r);
/* After fork, in the child: descriptors of its own, the parent's closed, no lock dropped. */
void region_reopen_in_child(struct region *r);

/* True if the number leads to the region's file. */
bool region_owns(const struct region *r, int fd);
/* The descriptors, verified and mended; -1 if the file cannot be reached any more.  Under region_slow_lock(). */
int region_lock_fd(struct region *r);
int region_probe_fd(struct region *r);
/* The one mutex of the slow paths of this process: descriptors, registration, the end of a thread, fork.  Signals wait
 * while it is held, so that a handler that comes here cannot meet its own thread. */
void region_slow_lock(void);
void region_slow_unlock(void);

#endif
