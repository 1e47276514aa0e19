/* SPDX-License-Identifier: BSD-2-Clause */
/* Sections, rows and cells, and their three ways out.  Out of memory is remembered and told at the end: a result that
 * is incomplete must not look whole. */
#include "report.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_JANSSON
#include <jansson.h>
#endif

#define COLUMNS_MAX 24u

struct cell {
	char text[96];
	double number;
	bool present, is_number;
};

struct row {
	struct cell cells[COLUMNS_MAX];
};

struct section {
	char name[64];
	char note[512];
	const char *columns[COLUMNS_MAX];
	unsigned column_count;
	struct row *rows;
	size_t row_count, row_room;
	bool printed;
};

struct report {
	enum report_format format;
	FILE *out;
	struct section *sections;
	size_t count, room;
	bool failed;
};

struct report *report_new(enum report_format format, FILE *out)
{
	struct report *report = calloc(1, sizeof *report);

	if (report) {
		report->format = format;
		report->out = out;
	}
	return report;
}

void report_free(struct report *report)
{
	if (!report)
		return;
	for (size_t i = 0; i < report->count; i++)
		free(report->sections[i].rows);
	free(report->sections);
	free(report);
}

/* Room for one more in a growing array, zeroed. */
static void *array_next(void **array, size_t *count, size_t *room, size_t element_bytes)
{
	if (*count == *room) {
		size_t wanted = *room ? *room * 2 : 8;
		void *grown = realloc(*array, wanted * element_bytes);

		if (!grown)
			return NULL;
		*array = grown;
		*room = wanted;
	}
	void *fresh = (char *)*array + (*count)++ * element_bytes;
	memset(fresh, 0, element_bytes);
	return fresh;
}

static struct section *last_section(struct report *report)
{
	return report->count ? &report->sections[report->count - 1] : NULL;
}

static struct cell *cell_of(struct report *report, const char *column)
{
	struct section *section = last_section(report);
	unsigned i = 0;

	if (!section || section->row_count == 0)
		return NULL;
	while (i < section->column_count && strcmp(section->columns[i], column) != 0)
		i++;
	if (i == COLUMNS_MAX) {
		report->failed = true;
		return NULL;
	}
	if (i == section->column_count)
		section->columns[section->column_count++] = column;
	return &section->rows[section->row_count - 1].cells[i];
}

static int column_width(const struct section *section, unsigned column)
{
	size_t width = strlen(section->columns[column]);

	for (size_t i = 0; i < section->row_count; i++) {
		size_t length = strlen(section->rows[i].cells[column].text);

		width = length > width ? length : width;
	}
	return (int)width;
}

static void print_table(struct section *section, FILE *out)
{
	fprintf(out, "\n%s: %s\n", section->name, section->note);
	for (unsigned c = 0; c < section->column_count; c++)
		fprintf(out, c == 0 ? "  %-*s" : "  %*s", column_width(section, c), section->columns[c]);
	fputc('\n', out);
	for (size_t r = 0; r < section->row_count; r++) {
		for (unsigned c = 0; c < section->column_count; c++) {
			const struct cell *cell = &section->rows[r].cells[c];

			fprintf(out, c == 0 ? "  %-*s" : "  %*s", column_width(section, c), cell->present ? cell->text
					: "-");
		}
		fputc('\n', out);
	}
	fflush(out);
	section->printed = true;
}

void report_section(struct report *report, const char *name, const char *format, ...)
{
	struct section *before = last_section(report);
	struct section *section;
	va_list args;

	if (before && report->format == REPORT_TABLE && !before->printed)
		print_table(before, report->out);
	section = array_next((void **)&report->sections, &report->count, &report->room, sizeof *section);
	if (!section) {
		report->failed = true;
		return;
	}
	snprintf(section->name, sizeof section->name, "%s", name);
	va_start(args, format);
	vsnprintf(section->note, sizeof section->note, format, args);
	va_end(args);
}

void report_row(struct report *report)
{
	struct section *section = last_section(report);

	if (!section || !array_next((void **)&section->rows, &section->row_count, &section->row_room,
			sizeof *section->rows))
		report->failed = true;
}

void report_text(struct report *report, const char *column, const char *format, ...)
{
	struct cell *cell = cell_of(report, column);
	va_list args;

	if (!cell)
		return;
	va_start(args, format);
	vsnprintf(cell->text, sizeof cell->text, format, args);
	va_end(args);
	cell->present = true;
}

void report_number(struct report *report, const char *column, double value, int decimals)
{
	struct cell *cell = cell_of(report, column);

	if (!cell || !isfinite(value))
		return;
	snprintf(cell->text, sizeof cell->text, "%.*f", decimals, value);
	cell->number = value;
	cell->present = cell->is_number = true;
}

static void print_csv_text(const char *text, FILE *out)
{
	if (!strpbrk(text, ",\"\n")) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

/* Long form, one cell a line: sections have unlike columns, and one file should hold them all. */
static void print_csv(const struct section *section, FILE *out)
{
	for (size_t r = 0; r < section->row_count; r++) {
		const struct row *row = &section->rows[r];

		for (unsigned c = 1; c < section->column_count; c++) {
			if (!row->cells[c].present)
				continue;
			print_csv_text(section->name, out);
			fputc(',', out);
			print_csv_text(row->cells[0].text, out);
			fprintf(out, ",%zu,", r);
			print_csv_text(section->columns[c], out);
			fputc(',', out);
			if (row->cells[c].is_number)
				fprintf(out, "%.9g", row->cells[c].number);
			else
				print_csv_text(row->cells[c].text, out);
			fputc('\n', out);
		}
	}
}

#ifdef HAVE_JANSSON
static json_t *json_of_row(const struct section *section, const struct row *row)
{
	json_t *object = json_object();

	for (unsigned c = 0; c < section->column_count; c++) {
		const struct cell *cell = &row->cells[c];

		if (cell->present)
			json_object_set_new(object, section->columns[c],
					cell->is_number ? json_real(cell->number) : json_string(cell->text));
	}
	return object;
}

static int print_json(const struct report *report, FILE *out)
{
	json_t *root = json_array();
	int result;

	for (size_t i = 0; i < report->count; i++) {
		const struct section *section = &report->sections[i];
		json_t *rows = json_array();

		for (size_t r = 0; r < section->row_count; r++)
			json_array_append_new(rows, json_of_row(section, &section->rows[r]));
		json_array_append_new(root, json_pack("{s:s, s:s, s:o}", "question", section->name, "note",
				section->note,
				"rows", rows));
	}
	result = json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	fputc('\n', out);
	json_decref(root);
	return result;
}
#else
static int print_json(const struct report *report, FILE *out)
{
	(void)report;
	(void)out;
	fputs("larder-bench: this build has no JSON (jansson was not found)\n", stderr);
	return -1;
}
#endif

int report_finish(struct report *report)
{
	FILE *out = report->out;
	int result = 0;

	if (report->format == REPORT_JSON)
		result = print_json(report, out);
	else if (report->format == REPORT_CSV)
		fputs("question,row,number,column,value\n", out);
	for (size_t i = 0; i < report->count; i++) {
		if (report->format == REPORT_CSV)
			print_csv(&report->sections[i], out);
		else if (report->format == REPORT_TABLE && !report->sections[i].printed)
			print_table(&report->sections[i], out);
	}
	if (report->failed)
		fputs("larder-bench: out of memory, the report is incomplete\n", stderr);
	return report->failed ? -1 : result;
}
