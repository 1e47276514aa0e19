/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several texts of the exposition format made one: Prometheus wants all lines of a metric in one block, behind one HELP
 * and one TYPE.
 */
#ifndef LARDER_EXPORTER_H
#define LARDER_EXPORTER_H

#include <stdbool.h>
#include <stddef.h>

struct exposition {
	struct exposition_block *blocks; /* in the order in which they were first met */
	size_t count;
	char **texts;                    /* what the blocks point into */
	size_t text_count;
};

/* Adds a text, which it owns from now on (NULL: no memory for it).  False without memory. */
bool exposition_add(struct exposition *exposition, char *text);
/* All of it, for free(); NULL without memory. */
char *exposition_join(const struct exposition *exposition);
void exposition_free(struct exposition *exposition);

#endif
