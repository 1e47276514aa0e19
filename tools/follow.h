/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Following a cache by its name, read-only, for as long as a program runs: it may not be there yet, be destroyed, be
 * made anew, or have its file removed or cut short under us.
 */
#ifndef LARDER_FOLLOW_H
#define LARDER_FOLLOW_H

#include "sample.h"

#include <stdbool.h>
#include <sys/stat.h>

struct follow {
	const char *name;
	struct larder *cache;    /* NULL: not attached */
	struct larder_info info; /* valid while attached */
	struct stat file;        /* that was attached */
	unsigned lives;          /* times that it was attached: counters of another life do not compare */
	char state[300];         /* "attached", or why not, for people */
};

/* Attaches, or attaches anew, where that is needed.  False: it is not there, and state says why. */
bool follow_attach(struct follow *follow);
/* The same, and takes a sample; true: sample_free() is due. */
bool follow_sample(struct follow *follow, struct sample *sample);
void follow_end(struct follow *follow);

#endif
