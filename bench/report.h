/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Results as rows of named cells, printed as aligned tables, CSV or JSON.
 *
 * A report holds sections; a section has a title, rows, and the union of their columns in order of first appearance.
 * Numbers keep their precision in JSON and CSV and are rounded in tables.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdint.h>
#include <stdio.h>

enum report_format { REPORT_TABLE, REPORT_CSV, REPORT_JSON };

struct report;

struct report *report_new(enum report_format format, FILE *out);
void report_free(struct report *report);

/* Starts a section.  In table format the one before is printed now, so that long runs show what they have. */
void report_section(struct report *report, const char *name, const char *format, ...)
		__attribute__((format(printf, 3, 4)));
void report_row(struct report *report);
void report_text(struct report *report, const char *column, const char *format, ...)
		__attribute__((format(printf, 3, 4)));
void report_number(struct report *report, const char *column, double value, int decimals);

/* Prints what is not yet printed.  -1 if this build has no JSON, or memory ran out on the way. */
int report_finish(struct report *report);

#endif
