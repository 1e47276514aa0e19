/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pictures, drawn by gnuplot, which is started for each and asked for a file that ends in .png or .svg.
 */
#ifndef LARDER_PLOT_H
#define LARDER_PLOT_H

#include <stdbool.h>
#include <stdio.h>

struct plot {
	FILE *to; /* gnuplot reads this: commands, then data inline */
	int pid;
	const char *path;
};

/* Starts gnuplot with the picture's format, size and file set.  TOOL_OK, and plot_end() is due; or an exit code, after saying why:
 * neither .png nor .svg, no gnuplot. */
int plot_begin(struct plot *plot, const char *path, unsigned width, unsigned height);
/* Waits for gnuplot; TOOL_OK if there is a picture. */
int plot_end(struct plot *plot);

/* The picture of a file of JSON lines, as `larder stat --json CACHE INTERVAL` writes it; "-" reads standard input. */
int plot_history(const char *history, const char *path);

#endif
