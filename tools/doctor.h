/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of `larder doctor` share: the list of findings, and files of the host read below a root that tests
 * (and whoever looks into a container from outside) may name.
 *
 * A finding is what is so; above GRADE_FINE it also says why that matters and what to change.  It is begun by found(),
 * and because() and change() add to the one begun last.
 */
#ifndef LARDER_DOCTOR_H
#define LARDER_DOCTOR_H

#include "tool.h"

enum grade {
	GRADE_FINE,   /* as it should be */
	GRADE_NOTE,   /* worth knowing; nothing needs to be done */
	GRADE_ADVICE, /* works, and would work better otherwise */
	GRADE_FAULT   /* does not work, or loses what it should keep */
};

struct doctor {
	const char *root;       /* "" for this host */
	json_t *findings;
	enum grade worst;
	int64_t sample_ms;
	/* facts that several checks need; 0: unknown, or no limit */
	uint64_t cache_bytes;   /* of the cache looked at; 0: none */
	char cache_path[256];
	unsigned owner;         /* uid of the cache's file, else ours */
	unsigned kernel;        /* major * 1000 + minor */
	uint64_t shm_bytes, ram_bytes, memory_max_bytes;
	bool container, shm_is_tmpfs, shm_is_huge;
};

void found(struct doctor *doctor, enum grade grade, const char *subject, const char *format, ...)
		__attribute__((format(printf, 4, 5)));
void because(struct doctor *doctor, const char *format, ...) __attribute__((format(printf, 2, 3)));
void change(struct doctor *doctor, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The whole text of a file below the root, for free(); NULL if it cannot be read. */
char *host_file(const struct doctor *doctor, const char *path);
/* path below the root, for free(); NULL without memory. */
char *host_path(const struct doctor *doctor, const char *path);

void doctor_host(struct doctor *doctor);  /* doctor_host.c */
void doctor_memory(struct doctor *doctor); /* doctor_memory.c */
int doctor_cache(struct doctor *doctor, struct larder *cache); /* doctor_cache.c */
/* Of a cache with so many entries; doctor_tier.c */
int doctor_tiers(struct doctor *doctor, struct larder *cache, uint64_t entries);

#endif
