/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of `larder top` share, from the cache to the screen:
 *
 *   top_data.c   two samples some time apart, what they say together, and its history
 *   top_table.c  the views: each fills a table of texts and numbers, which is filtered and sorted here
 *   top_frame.c  one picture of all that on a canvas of so many rows and columns
 *   cmd_top.c    the loop: keys, terminal (ncurses), or frames printed one after the other
 *
 * The canvas is the same for a terminal and for print, so what a test reads is what a person sees.
 */
#ifndef LARDER_TOP_H
#define LARDER_TOP_H

#include "follow.h"
#include "tool.h"

#include <wchar.h>

/* ---- top_data.c ---- */

#define HISTORY_MAX 512u
#define CENSUS_ENTRIES 20000u
#define CENSUS_MS 5000u

struct top_point { /* one interval; negative: nothing to tell */
	double hit_rate, gets, get_ns[3]; /* gets a second; quantiles 0.5, 0.99, 0.999 */
};

struct top_participant {
	struct larder_participant_info info;
	bool stopped, dead_holding;
	double per_second;
	uint64_t moved_ms; /* steady clock, when its count was last seen to move; 0: not since we look */
};

/* Entries by time to live left, of a sample: see doctor_cache.c. */
enum census_class { CENSUS_SECOND, CENSUS_MINUTE, CENSUS_HOUR, CENSUS_DAY, CENSUS_LONGER, CENSUS_NEVER, CENSUS_CLASSES };
struct top_census {
	uint64_t entries[CENSUS_CLASSES], bytes[CENSUS_CLASSES], seen, seen_bytes;
	uint64_t taken_ms;
};

struct top {
	struct follow follow;
	unsigned lives;           /* of follow, when before was taken */
	bool there, two;          /* now is valid; before is, too */
	struct sample before, now;
	double seconds;           /* between them */
	struct top_participant *participants;
	unsigned participant_count;
	struct top_census census;
	struct top_point history[HISTORY_MAX];
	unsigned history_count;   /* ever; the latest is history[(count - 1) % HISTORY_MAX] */
	struct namespace_names names;
};

/* Looks at the cache again. */
void top_look(struct top *top);
void top_end(struct top *top);
double top_rate(const struct top *top, uint64_t before, uint64_t now); /* a second */
/* What happened since the sample before to durations of an operation (NULL: any of this very series); false: nothing.
 */
bool top_durations(const struct top *top, const char *operation, const struct larder_metric *one,
		uint64_t buckets[LARDER_BUCKETS]);
const struct larder_metric *top_metric_before(const struct top *top, const struct larder_metric *metric);
const struct top_point *top_point(const struct top *top, unsigned ago); /* 0: the latest; NULL: not so long ago */

/* ---- top_table.c ---- */

#define TABLE_COLUMNS 10u
#define CELL_BYTES 96u

enum top_view { VIEW_NAMESPACES, VIEW_PARTICIPANTS, VIEW_KEYS, VIEW_STORES, VIEW_MEMORY, VIEW_TIERS, VIEW_COUNT };

struct table_row {
	char text[TABLE_COLUMNS][CELL_BYTES];
	double number[TABLE_COLUMNS]; /* what it is sorted by, unless the column is text */
	bool warn;
};
struct table {
	const struct table_column {
		const char *title;
		int width; /* negative: text, to the left; 0: the rest of the line */
	} *columns;
	unsigned column_count;
	struct table_row *rows;
	unsigned row_count;
	const char *empty; /* what to say if there are none */
};

const char *view_name(enum top_view view);
unsigned view_sort_column(enum top_view view); /* that it has at first */
/* False without memory.  Rows whose last column does not match the filter (a glob, or part of it) are left out. */
bool table_fill(struct table *table, const struct top *top, enum top_view view, const char *filter);
void table_sort(struct table *table, unsigned column, bool reverse);
void table_free(struct table *table);

/* ---- top_frame.c ---- */

#define FRAME_ROWS_MIN 16
#define FRAME_COLUMNS_MIN 60

enum look { LOOK_PLAIN, LOOK_BOLD, LOOK_DIM, LOOK_TITLE, LOOK_BAR, LOOK_BAR_LIGHT, LOOK_WARN, LOOK_BAD, LOOK_COUNT };

struct cell {
	wchar_t c; /* 0: the right half of a wide one */
	unsigned char look;
};
struct canvas {
	int rows, columns;
	struct cell *cells;
	bool unicode; /* the terminal shows it */
};

struct frame { /* what of it all is to be seen */
	enum top_view view;
	unsigned sort[VIEW_COUNT];
	bool reverse[VIEW_COUNT];
	unsigned first;      /* row of the table */
	char filter[64];
	bool typing, help, paused;
	int64_t interval_ms;
};

bool canvas_resize(struct canvas *canvas, int rows, int columns);
void canvas_free(struct canvas *canvas);
/* Draws it; *table_rows is how many rows of the table there is room for, *table_count how many it has. */
bool frame_draw(struct canvas *canvas, const struct top *top, const struct frame *frame, unsigned *table_rows,
		unsigned *table_count);

#endif
