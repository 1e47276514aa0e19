/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder import, files: CSV (RFC 4180, with a line of column names) and JSON lines.
 *
 * The file is read in stretches that begin with the next record.  A stretch that ends within a record is doubled; so a
 * value may be of any size that the cache takes, and what has been read is looked at twice at most.  A record that
 * cannot be read costs its first line only: a quotation mark without its partner would else swallow the rest of the
 * file.
 */
#define _GNU_SOURCE
#include "import.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STRETCH_BYTES ((size_t)64 << 10)
#define GROWTH_MAX 8u      /* bytes of text that one byte of a value may take (\u0000, quotes, hexadecimal) */
#define RECORD_EXTRA ((uint64_t)1 << 20)
#define COLUMNS_MAX 256u

struct stretch {
	FILE *in;
	char *bytes;
	size_t begin, end, capacity; /* bytes[begin .. end) are not yet used */
	uint64_t line;               /* of begin */
	bool last;                   /* nothing follows */
};

struct cell {
	struct bytes text;
	bool there;
};

/* ---- Reading ---- */

/* Reads on, behind what is there.  False: no memory. */
static bool stretch_more(struct stretch *stretch)
{
	size_t held = stretch->end - stretch->begin;

	if (held) /* else there may be no bytes yet */
		memmove(stretch->bytes, stretch->bytes + stretch->begin, held);
	stretch->begin = 0;
	stretch->end = held;
	if (stretch->capacity < 2 * held + STRETCH_BYTES) {
		char *larger = realloc(stretch->bytes, 2 * held + STRETCH_BYTES);
		if (!larger)
			return false;
		stretch->bytes = larger;
		stretch->capacity = 2 * held + STRETCH_BYTES;
	}
	size_t got = fread(stretch->bytes + held, 1, stretch->capacity - held, stretch->in);
	stretch->end += got;
	stretch->last = got < stretch->capacity - held;
	return true;
}

static void stretch_consume(struct stretch *stretch, size_t count)
{
	const char *from = stretch->bytes + stretch->begin, *to = from + count;

	for (const char *at = from; (at = memchr(at, '\n', (size_t)(to - at))); at++)
		stretch->line++;
	stretch->begin += count;
}

/* Bytes of the first line, its end included; 0: not all of it is there. */
static size_t line_bytes(const struct stretch *stretch)
{
	const char *from = stretch->bytes + stretch->begin;
	const char *end = memchr(from, '\n', stretch->end - stretch->begin);

	if (end)
		return (size_t)(end - from) + 1;
	return stretch->last ? stretch->end - stretch->begin : 0;
}

static bool stretch_is_empty(const struct stretch *stretch)
{
	return stretch->last && stretch->begin == stretch->end;
}

static const char *where(const struct stretch *stretch)
{
	static char text[TEXT_MAX];

	snprintf(text, sizeof text, "line %" PRIu64, stretch->line);
	return text;
}

/* ---- From fields to an item ---- */

static int hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place: the text lies in the stretch, or in a string that is dropped afterwards. */
static bool decode_hex(struct bytes *text)
{
	unsigned char *to = (unsigned char *)(uintptr_t)text->data;

	if (text->count % 2)
		return false;
	for (size_t i = 0; i < text->count; i += 2) {
		int high = hex_digit(text->data[i]), low = hex_digit(text->data[i + 1]);
		if (high < 0 || low < 0)
			return false;
		to[i / 2] = (unsigned char)(high << 4 | low);
	}
	text->count /= 2;
	return true;
}

static bool take_number(struct import *import, const char *at, const struct cell *cells, enum import_field field,
		int64_t least, int64_t most, int64_t *number)
{
	const struct cell *cell = &cells[field];
	const char *fault = cell->there && cell->text.count ? import_number(cell->text, least, most, number) : NULL;

	if (fault)
		import_bad(import, at, "%s '%.*s' %s: %" PRId64 " to %" PRId64, import->columns[field],
				(int)(cell->text.count < 40 ? cell->text.count : 40), (const char *)cell->text.data,
				fault, least, most);
	return !fault;
}

static bool take_bytes(struct import *import, const char *at, struct cell *cells, enum import_field plain,
		enum import_field hex, struct bytes *bytes)
{
	if (cells[plain].there == cells[hex].there) {
		import_bad(import, at, "it needs one of '%s' and '%s'", import->columns[plain], import->columns[hex]);
		return false;
	}
	*bytes = cells[cells[hex].there ? hex : plain].text;
	if (!cells[hex].there || decode_hex(bytes))
		return true;
	import_bad(import, at, "'%s' is not hexadecimal", import->columns[hex]);
	return false;
}

/* False: stop. */
static bool import_cells(struct import *import, const char *at, struct cell *cells)
{
	struct import_item item = { .ttl_ms = LARDER_TTL_NONE, .ns = cells[FIELD_namespace].text };
	int64_t flags = 0;

	if (!take_bytes(import, at, cells, FIELD_key, FIELD_key_hex, &item.key) ||
			!take_bytes(import, at, cells, FIELD_value, FIELD_value_hex, &item.value) ||
			!take_number(import, at, cells, FIELD_ttl_ms, 1, LARDER_TTL_MAX, &item.ttl_ms) ||
			!take_number(import, at, cells, FIELD_expires_at_ms, 1, INT64_MAX / 2, &item.expires_at_ms) ||
			!take_number(import, at, cells, FIELD_flags, 0, UINT32_MAX, &flags))
		return true;
	if (!item.key.count || item.key.count > LARDER_KEY_MAX) {
		import_bad(import, at, "a key has 1 to %u bytes, this one %zu", LARDER_KEY_MAX, item.key.count);
		return true;
	}
	item.flags = (uint32_t)flags;
	return import_item(import, &item);
}

/* ---- CSV ---- */

enum csv_result { CSV_OK, CSV_MORE, CSV_BAD };

struct csv {
	struct import *import;
	struct stretch stretch;
	enum import_field fields[COLUMNS_MAX]; /* FIELD_COUNT: a column that is not wanted */
	unsigned column_count;
	struct bytes columns[COLUMNS_MAX];     /* of the record read last */
	unsigned count;
	const char *fault;
	char fault_text[80];
};

/* Finds the end of a quoted cell that begins at from; *end is its closing mark. */
static enum csv_result find_quote(const char *from, const char *limit, bool last, const char **end)
{
	for (const char *at = from; (at = memchr(at, '"', (size_t)(limit - at))); at += 2) {
		if (at + 1 == limit && !last)
			return CSV_MORE;
		if (at + 1 == limit || at[1] != '"') {
			*end = at;
			return CSV_OK;
		}
	}
	return last ? CSV_BAD : CSV_MORE;
}

/* Takes one of two marks out of each pair, in place; only done once the record is known to be whole. */
static size_t undouble(char *text, size_t count)
{
	size_t to = 0;

	for (size_t i = 0; i < count; i++, to++) {
		text[to] = text[i];
		i += text[i] == '"';
	}
	return to;
}

/* Reads one cell at *at and moves it behind the comma or line end that follows; *ended: it was a line end. */
static enum csv_result read_cell(struct csv *csv, const char **at, struct bytes *cell, bool *quoted, bool *ended)
{
	const char *limit = csv->stretch.bytes + csv->stretch.end, *from = *at, *end;
	bool last = csv->stretch.last;

	*quoted = from < limit && *from == '"';
	if (*quoted) {
		enum csv_result result = find_quote(++from, limit, last, &end);
		if (result != CSV_OK) {
			csv->fault = "a quotation mark has no partner";
			return result;
		}
		*at = end + 1;
	} else {
		for (end = from; end < limit && *end != ',' && *end != '\n' && *end != '"'; end++)
			;
		*at = end;
		end -= end < limit && *end == '\n' && end > from && end[-1] == '\r';
	}
	*cell = (struct bytes){ (const unsigned char *)from, (size_t)(end - from) };
	*at += *quoted && *at + 1 < limit && **at == '\r' && (*at)[1] == '\n';
	if (*at == limit || (*at + 1 == limit && *quoted && **at == '\r')) {
		*ended = true;
		return last ? CSV_OK : CSV_MORE;
	}
	csv->fault = *quoted ? "something follows a closing quotation mark"
			     : "a quotation mark stands inside a cell that has none at its beginning";
	*ended = **at == '\n';
	return *(*at)++ == ',' || *ended ? CSV_OK : CSV_BAD;
}

/* Reads the record at the beginning of the stretch; *bytes is its length. */
static enum csv_result read_record(struct csv *csv, size_t *bytes)
{
	const char *from = csv->stretch.bytes + csv->stretch.begin, *at = from;
	bool quoted[COLUMNS_MAX] = { false }, ended = false;

	for (csv->count = 0; !ended; csv->count++) {
		if (csv->count == COLUMNS_MAX) {
			csv->fault = "it has more than 256 columns";
			return CSV_BAD;
		}
		enum csv_result result = read_cell(csv, &at, &csv->columns[csv->count], &quoted[csv->count], &ended);
		if (result != CSV_OK)
			return result;
	}
	*bytes = (size_t)(at - from);
	if (csv->column_count && csv->count != csv->column_count && (csv->count > 1 || csv->columns[0].count)) {
		snprintf(csv->fault_text, sizeof csv->fault_text, "%u columns where line 1 has %u", csv->count,
				csv->column_count);
		csv->fault = csv->fault_text;
		return CSV_BAD;
	}
	for (unsigned i = 0; i < csv->count; i++)
		if (quoted[i])
			csv->columns[i].count =
					undouble((char *)(uintptr_t)csv->columns[i].data, csv->columns[i].count);
	return CSV_OK;
}

/* The next record, read whole; CSV_MORE: the file's end.  *bytes is what to consume once it has been used. */
static enum csv_result next_record(struct csv *csv, size_t *bytes)
{
	uint64_t most = GROWTH_MAX * csv->import->value_max_bytes + RECORD_EXTRA;
	enum csv_result result;

	if (stretch_is_empty(&csv->stretch))
		return CSV_MORE;
	while ((result = read_record(csv, bytes)) == CSV_MORE && !csv->stretch.last) {
		if (csv->stretch.end - csv->stretch.begin > most) {
			csv->fault = "it is longer than any value that this cache takes";
			result = CSV_BAD;
			break;
		}
		if (!stretch_more(&csv->stretch)) {
			csv->fault = "no memory for it";
			result = CSV_BAD;
			break;
		}
		if (stretch_is_empty(&csv->stretch))
			return CSV_MORE;
	}
	if (result == CSV_OK)
		return CSV_OK;
	*bytes = line_bytes(&csv->stretch);
	*bytes = *bytes ? *bytes : csv->stretch.end - csv->stretch.begin;
	return CSV_BAD;
}

static enum import_field field_of(const struct import *import, struct bytes column)
{
	unsigned field = 0;

	while (field < FIELD_COUNT && (strlen(import->columns[field]) != column.count ||
			memcmp(import->columns[field], column.data, column.count)))
		field++;
	return field;
}

/* "ttl" for "ttl_ms": the field that a column seems to mean, whose unit it does not say; FIELD_COUNT: none. */
static unsigned field_meant(struct bytes column)
{
	unsigned field = 0;

	while (field < FIELD_COUNT && (!column.count || strncmp(import_field_names[field], (const char *)column.data, column.count) ||
			strcmp(import_field_names[field] + column.count, "_ms")))
		field++;
	return field;
}

static void column_unused(const struct import *import, struct bytes column)
{
	unsigned field = field_meant(column);

	if (field < FIELD_COUNT)
		complain("%s: column '%.*s' is not used; if it is in milliseconds, say --map %s=%.*s", import->source, (int)column.count,
				(const char *)column.data, import_field_names[field], (int)column.count, (const char *)column.data);
	else
		complain("%s: column '%.*s' is not used; --map says what is in it", import->source, (int)column.count,
				(const char *)column.data);
}

/* The line of column names.  A column that nothing is made of is mentioned: it may be a slip of the pen. */
static int read_columns(struct csv *csv)
{
	struct import *import = csv->import;
	bool there[FIELD_COUNT + 1] = { false };
	size_t bytes;

	if (!stretch_more(&csv->stretch) || next_record(csv, &bytes) != CSV_OK) {
		complain("%s: it has no line of column names", import->source);
		return TOOL_DAMAGED;
	}
	csv->column_count = csv->count;
	for (unsigned i = 0; i < csv->count; i++) {
		struct bytes column = csv->columns[i];
		if (!i && column.count > 3 && !memcmp(column.data, "\xef\xbb\xbf", 3))
			column = (struct bytes){ column.data + 3, column.count - 3 };
		csv->fields[i] = field_of(import, column);
		there[csv->fields[i]] = true;
		if (csv->fields[i] == FIELD_COUNT && !import->quiet)
			column_unused(import, column);
	}
	stretch_consume(&csv->stretch, bytes);
	if ((there[FIELD_key] || there[FIELD_key_hex]) && (there[FIELD_value] || there[FIELD_value_hex]))
		return TOOL_OK;
	complain("%s: line 1 names no column '%s' or no column '%s'; --map says what they are called", import->source,
			import->columns[FIELD_key], import->columns[FIELD_value]);
	return TOOL_DAMAGED;
}

/* False: stop. */
static bool import_record(struct csv *csv)
{
	struct cell cells[FIELD_COUNT + 1] = { 0 };
	char at[TEXT_MAX];

	snprintf(at, sizeof at, "%s", where(&csv->stretch));
	if (csv->count != csv->column_count)
		return true; /* an empty line */
	for (unsigned i = 0; i < csv->count; i++)
		cells[csv->fields[i]] = (struct cell){ csv->columns[i], true };
	/* a file may have both forms of a column: the one that is not empty counts */
	cells[FIELD_key_hex].there &= cells[FIELD_key_hex].text.count || !cells[FIELD_key].there;
	cells[FIELD_key].there &= !cells[FIELD_key_hex].there || cells[FIELD_key].text.count;
	cells[FIELD_value_hex].there &= cells[FIELD_value_hex].text.count || !cells[FIELD_value].there;
	cells[FIELD_value].there &= !cells[FIELD_value_hex].there || cells[FIELD_value].text.count;
	return import_cells(csv->import, at, cells);
}

static int finish(const struct import *import, struct stretch *stretch)
{
	int code = TOOL_OK;

	if (ferror(stretch->in))
		code = complain_errno("%s: cannot read on behind line %" PRIu64, import->source, stretch->line);
	free(stretch->bytes);
	return code;
}

int import_csv(struct import *import, FILE *in)
{
	struct csv *csv = calloc(1, sizeof *csv);
	enum csv_result result;
	size_t bytes;

	if (!csv)
		return report_cache(LARDER_NO_MEMORY);
	csv->import = import;
	csv->stretch = (struct stretch){ .in = in, .line = 1 };
	int code = read_columns(csv);
	while (code == TOOL_OK && (result = next_record(csv, &bytes)) != CSV_MORE) {
		if (result == CSV_BAD)
			import_bad(import, where(&csv->stretch), "%s", csv->fault);
		else if (!import_record(csv))
			break;
		stretch_consume(&csv->stretch, bytes);
	}
	int read = finish(import, &csv->stretch);
	free(csv);
	return code == TOOL_OK ? read : code;
}

/* ---- JSON lines ---- */

/* The text of a field: a string as it is, anything else as compact JSON, which *made owns.  False: no memory. */
static bool json_cell(json_t *value, struct cell *cell, char **made)
{
	cell->there = value && !json_is_null(value);
	if (!cell->there)
		return true;
	if (json_is_string(value)) {
		cell->text = (struct bytes){ (const unsigned char *)json_string_value(value),
			json_string_length(value) };
		return true;
	}
	*made = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	cell->text = (struct bytes){ (const unsigned char *)*made, *made ? strlen(*made) : 0 };
	return *made;
}

static bool import_object(struct import *import, const char *at, json_t *object)
{
	struct cell cells[FIELD_COUNT] = { 0 };
	char *made[FIELD_COUNT] = { NULL };
	bool whole = true;

	for (unsigned i = 0; i < FIELD_COUNT; i++)
		whole &= json_cell(json_object_get(object, import->columns[i]), &cells[i], &made[i]);
	if (!whole)
		import_bad(import, at, "no memory for it");
	bool go_on = !whole || import_cells(import, at, cells);
	for (unsigned i = 0; i < FIELD_COUNT; i++)
		free(made[i]);
	return go_on;
}

static bool is_blank(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (!isspace((unsigned char)text[i]))
			return false;
	return true;
}

/* False: stop. */
static bool import_line(struct import *import, struct stretch *stretch, size_t bytes)
{
	const char *text = stretch->bytes + stretch->begin;
	json_error_t error;
	char at[TEXT_MAX];

	if (is_blank(text, bytes))
		return true;
	snprintf(at, sizeof at, "%s", where(stretch));
	json_t *object = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!json_is_object(object)) {
		import_bad(import, at, "%s", object ? "it is no JSON object" : error.text);
		json_decref(object);
		return true;
	}
	bool go_on = import_object(import, at, object);
	json_decref(object);
	return go_on;
}

/* Bytes of the next line, 0 at the end.  One that is too long is passed over, in pieces, and reported once. */
static size_t next_line(struct import *import, struct stretch *stretch)
{
	uint64_t most = GROWTH_MAX * import->value_max_bytes + RECORD_EXTRA;
	bool passing = false;
	size_t bytes;

	while (!(bytes = line_bytes(stretch)) || passing) {
		if (stretch_is_empty(stretch))
			return 0;
		if (bytes) { /* the end of the one that is too long */
			stretch_consume(stretch, bytes);
			passing = false;
			continue;
		}
		if (passing || stretch->end - stretch->begin > most) {
			if (!passing)
				import_bad(import, where(stretch), "it is longer than any value that this cache takes");
			passing = true;
			stretch_consume(stretch, stretch->end - stretch->begin);
		}
		if (!stretch_more(stretch))
			return 0;
	}
	return bytes;
}

int import_jsonl(struct import *import, FILE *in)
{
	struct stretch stretch = { .in = in, .line = 1 };

	if (!stretch_more(&stretch))
		return report_cache(LARDER_NO_MEMORY);
	for (size_t bytes; (bytes = next_line(import, &stretch));) {
		if (!import_line(import, &stretch, bytes))
			break;
		stretch_consume(&stretch, bytes);
	}
	return finish(import, &stretch);
}
