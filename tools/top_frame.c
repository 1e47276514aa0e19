/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The picture of `larder top`, see top.h:
 *
 *   title, three lines of numbers, memory as a bar
 *   two graphs side by side: hit rate; time that a get takes (or gets a second, where nobody measures that)
 *   the names of the views, the view chosen as a table, a line of keys
 *
 * Rows that do not fit are left out from the graphs first; below FRAME_ROWS_MIN or FRAME_COLUMNS_MIN it only says so.
 */
#define _GNU_SOURCE
#include "top.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GRAPH_ROWS 3
#define LABEL_COLUMNS 9 /* to the left of a graph */
#define CHART_ROWS_MIN 20

/* ---- The canvas ---- */

bool canvas_resize(struct canvas *canvas, int rows, int columns)
{
	struct cell *cells = calloc((size_t)rows * (size_t)columns, sizeof *cells);

	if (!cells)
		return false;
	free(canvas->cells);
	canvas->cells = cells;
	canvas->rows = rows;
	canvas->columns = columns;
	return true;
}

void canvas_free(struct canvas *canvas)
{
	free(canvas->cells);
	canvas->cells = NULL;
}

static void canvas_clear(struct canvas *canvas)
{
	for (int i = 0; i < canvas->rows * canvas->columns; i++)
		canvas->cells[i] = (struct cell){ L' ', LOOK_PLAIN };
}

/* What stands for a character in so many columns: a control character must never reach a terminal. */
static wchar_t shown(wchar_t c, int *width)
{
	*width = wcwidth(c);
	if (*width == 1 || *width == 2)
		return c;
	*width = 1;
	return L'?';
}

static int put_wide(struct canvas *canvas, int row, int column, enum look look, wchar_t c)
{
	int width;

	c = shown(c, &width);
	if (row < 0 || row >= canvas->rows || column < 0 || column + width > canvas->columns)
		return canvas->columns;
	canvas->cells[row * canvas->columns + column] = (struct cell){ c, (unsigned char)look };
	if (width == 2)
		canvas->cells[row * canvas->columns + column + 1] = (struct cell){ 0, (unsigned char)look };
	return column + width;
}

/* Writes text and returns the column behind it; what is too long is cut off at `limit`. */
static int put_text(struct canvas *canvas, int row, int column, int limit, enum look look, const char *text)
{
	mbstate_t state = { 0 };

	while (*text && column < limit && column < canvas->columns) {
		wchar_t c = L'?';
		size_t bytes = mbrtowc(&c, text, strlen(text), &state);
		if (bytes == (size_t)-1 || bytes == (size_t)-2) {
			memset(&state, 0, sizeof state);
			c = L'?';
			bytes = 1;
		}
		column = put_wide(canvas, row, column, look, c);
		text += bytes;
	}
	return column;
}

static int __attribute__((format(printf, 5, 6))) put(struct canvas *canvas, int row, int column, enum look look,
		const char *format, ...)
{
	va_list arguments;
	char text[512];

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	return put_text(canvas, row, column, canvas->columns, look, text);
}

static void fill_line(struct canvas *canvas, int row, enum look look)
{
	for (int column = 0; column < canvas->columns; column++)
		canvas->cells[row * canvas->columns + column].look = (unsigned char)look;
}

/* ---- Numbers ---- */

static const char *text_count(double count, char *text)
{
	static const char units[] = " kMGTPE";
	unsigned unit = 0;

	for (; count >= 9999.5 && unit < 6; unit++)
		count /= 1000;
	const char *format = unit ? "%.1f%c" : count < 10 && count != floor(count) ? "%.1f" : "%.0f";
	snprintf(text, TEXT_MAX, format, count, units[unit]);
	return text;
}

static const char *text_ns(double ns, char *text)
{
	if (ns < 0)
		return "-";
	if (ns < 1e4)
		snprintf(text, TEXT_MAX, "%.0f ns", ns);
	else if (ns < 1e7)
		snprintf(text, TEXT_MAX, "%.1f us", ns / 1e3);
	else
		snprintf(text, TEXT_MAX, "%.1f ms", ns / 1e6);
	return text;
}

/* ---- The head ---- */

static void draw_title(struct canvas *canvas, const struct top *top, const struct frame *frame)
{
	char size[TEXT_MAX], age[TEXT_MAX], clock[16] = "";
	time_t now = (time_t)(top->now.wall_ms / 1000);
	struct tm date;

	int column = put(canvas, 0, 0, LOOK_TITLE, " larder top  %s", top->follow.name);
	if (top->there)
		column = put(canvas, 0, column, LOOK_TITLE, "  %s  up %s", text_size(top->follow.info.bytes, size),
				text_duration(top->now.wall_ms - top->follow.info.created_at_ms, age));
	if (localtime_r(&now, &date))
		strftime(clock, sizeof clock, "%H:%M:%S", &date);
	(void)put(canvas, 0, column, LOOK_TITLE, "  %s%s", clock, frame->paused ? "  PAUSED" : "");
	fill_line(canvas, 0, LOOK_TITLE);
}

static void draw_rates(struct canvas *canvas, const struct top *top, int row)
{
	const struct larder_stat *old = &top->before.stat, *new = &top->now.stat;
	uint64_t hits = new->hits - old->hits, gets = hits + new->misses - old->misses;
	char one[TEXT_MAX], two[TEXT_MAX], three[TEXT_MAX], four[TEXT_MAX];

	if (!top->two) {
		(void)put(canvas, row, 1, LOOK_DIM, "rates come with the next look");
		return;
	}
	int column = put(canvas, row, 1, LOOK_BOLD, "hit rate ");
	if (gets)
		column = put(canvas, row, column, LOOK_BOLD, "%.2f%%", 100.0 * (double)hits / (double)gets);
	else
		column = put(canvas, row, column, LOOK_BOLD, "-");
	(void)put(canvas, row, column, LOOK_PLAIN, "   gets %s/s   sets %s/s   deletes %s/s   incrs %s/s",
			text_count(top_rate(top, 0, gets), one), text_count(top_rate(top, old->sets, new->sets), two),
			text_count(top_rate(top, old->deletes, new->deletes), three),
			text_count(top_rate(top, old->increments, new->increments), four));
}

static uint64_t evictions(const struct larder_stat *stat)
{
	return stat->evictions_small + stat->evictions_main + stat->evictions_index + stat->evictions_need +
			stat->evictions_quota;
}

/* What is wrong is shown for as long as the cache lives: it does not go by itself. */
static void draw_state(struct canvas *canvas, const struct top *top, int row)
{
	const struct larder_stat *old = &top->before.stat, *new = &top->now.stat;
	char one[TEXT_MAX], two[TEXT_MAX], three[TEXT_MAX], four[TEXT_MAX];
	unsigned stopped = 0;

	for (unsigned i = 0; i < top->participant_count; i++)
		stopped += top->participants[i].stopped;
	(void)put(canvas, row, 1, LOOK_PLAIN, "entries %s, %s   evicted %s/s   expired %s/s",
			text_count((double)new->entries, one), text_size(new->entry_bytes, two),
			text_count(top_rate(top, evictions(old), evictions(new)), three),
			text_count(top_rate(top, old->expirations, new->expirations), four));
	int column = put(canvas, row + 1, 1, LOOK_PLAIN, "threads %" PRIu64 " of %u", new->participants_alive,
			top->follow.info.participants);
	if (stopped)
		column = put(canvas, row + 1, column + 3, LOOK_WARN, "%u stopped", stopped);
	if (new->segments_recycling * 8 > top->follow.info.segments)
		column = put(canvas, row + 1, column + 3, LOOK_WARN, "%" PRIu64 " segments held back",
				new->segments_recycling);
	if (new->damage + new->checksum_errors)
		column = put(canvas, row + 1, column + 3, LOOK_BAD, "damage %" PRIu64,
				new->damage + new->checksum_errors);
	if (new->no_room)
		(void)put(canvas, row + 1, column + 3, LOOK_BAD, "no room %" PRIu64, new->no_room);
}

/* One line for all tiers and servers: what is worst of them.  Nothing where there are none. */
static void draw_remote(struct canvas *canvas, const struct top *top, int row)
{
	const struct sample_remote *remote = &top->now.remote;
	uint64_t queued = 0, oldest_ms = 0, gaps = 0;
	unsigned open = 0, unheard = 0;
	char text[TEXT_MAX];
	int column = 1;

	for (unsigned i = 0; i < remote->breaker_count; i++)
		open += remote->breakers[i].breaker != LARDER_REDIS_CLOSED;
	for (unsigned i = 0; i < remote->tier_count; i++) {
		const struct larder_tiered_info *info = &remote->tiers[i].info;
		unheard += !sample_heard(info);
		queued += info->pending;
		gaps += info->gaps;
		oldest_ms = info->pending && info->oldest_ms > oldest_ms ? info->oldest_ms : oldest_ms;
	}
	if (remote->breaker_count)
		column = put(canvas, row, column, open ? LOOK_BAD : LOOK_PLAIN, open ? "redis cut off %u/%u" : "redis up",
				open, remote->breaker_count) + 3;
	if (!remote->tier_count)
		return;
	column = put(canvas, row, column, unheard ? LOOK_WARN : LOOK_PLAIN, "changes %s", unheard ? "NOT heard" : "heard");
	column = put(canvas, row, column + 3, remote->dirty ? LOOK_WARN : LOOK_PLAIN, "dirty %s%s", remote->dirty_sampled ? "about " : "",
			text_count((double)remote->dirty, text));
	column = put(canvas, row, column + 3, LOOK_PLAIN, "queued %s", text_count((double)queued, text));
	if (oldest_ms)
		column = put(canvas, row, column, LOOK_PLAIN, " for %s", text_duration((int64_t)oldest_ms, text));
	if (gaps)
		(void)put(canvas, row, column + 3, LOOK_PLAIN, "gaps %s", text_count((double)gaps, text));
}

/* [sssmmmmmmm....] small 9%  main 80%  free 11% */
static void draw_memory(struct canvas *canvas, const struct top *top, int row)
{
	const struct larder_stat *now = &top->now.stat;
	uint64_t all = top->follow.info.segments ? top->follow.info.segments : 1;
	uint64_t part[] = { now->segments_small, now->segments_main, now->segments_recycling };
	int width = canvas->columns - 52, column = put(canvas, row, 1, LOOK_PLAIN, "memory [");

	for (int i = 0, pool = 0; i < width; i++) {
		uint64_t at = ((uint64_t)i * 2 + 1) * all / ((uint64_t)width * 2), sum = part[0];
		for (pool = 0; pool < 3 && at >= sum; pool++)
			sum += pool < 2 ? part[pool + 1] : 0;
		static const enum look looks[] = { LOOK_BAR_LIGHT, LOOK_BAR, LOOK_WARN, LOOK_DIM };
		column = put_wide(canvas, row, column, looks[pool], L"sme."[pool]);
	}
	(void)put(canvas, row, column, LOOK_PLAIN, "] small %.0f%%  main %.0f%%  emptied %.0f%%  free %.0f%%",
			100.0 * (double)part[0] / (double)all, 100.0 * (double)part[1] / (double)all,
			100.0 * (double)part[2] / (double)all, 100.0 * (double)now->segments_free / (double)all);
}

/* ---- Graphs ---- */

struct graph {
	int row, column, width;
	double (*level)(const struct top_point *point, double most); /* 0 .. 1; negative: nothing */
	double (*light)(const struct top_point *point, double most); /* the lower part, in another look; NULL: none */
	double most;
};

/* The character that fills `part` (0 .. 1) of a cell from below. */
static wchar_t block(const struct canvas *canvas, double part)
{
	static const wchar_t unicode[] = L" \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588", ascii[] = L" ..::||##";
	int eighth = (int)(part * 8 + 0.5);

	return (canvas->unicode ? unicode : ascii)[eighth < 0 ? 0 : eighth > 8 ? 8 : eighth];
}

static void draw_graph(struct canvas *canvas, const struct top *top, const struct graph *graph)
{
	for (int x = 0; x < graph->width; x++) {
		const struct top_point *point = top_point(top, (unsigned)(graph->width - 1 - x));
		double level = point ? graph->level(point, graph->most) : -1;
		double light = point && graph->light ? graph->light(point, graph->most) : level;
		for (int y = 0; y < GRAPH_ROWS && level >= 0; y++) {
			double part = level * GRAPH_ROWS - y;
			enum look look = light * GRAPH_ROWS - y >= 0.5 || y == 0 ? LOOK_BAR : LOOK_BAR_LIGHT;
			if (part > 0 || y == 0)
				(void)put_wide(canvas, graph->row + GRAPH_ROWS - 1 - y, graph->column + x, look,
						block(canvas, part > 0.07 || y ? part : 0.13));
		}
	}
}

static double hit_level(const struct top_point *point, double most)
{
	(void)most;
	return point->hit_rate;
}

static double gets_level(const struct top_point *point, double most)
{
	return most > 0 ? point->gets / most : -1;
}

/* Durations span too much for a linear scale: an octave is as high as any other, from 32 ns. */
static double log_level(double ns, double most)
{
	return ns < 0 || most <= 64 ? -1 : log2(fmax(ns, 32) / 32) / log2(most / 32);
}

static double slow_level(const struct top_point *point, double most)
{
	return log_level(point->get_ns[1], most);
}

static double median_level(const struct top_point *point, double most)
{
	return log_level(point->get_ns[0], most);
}

static void draw_hits(struct canvas *canvas, const struct top *top, int row, int column, int width)
{
	struct graph graph = { row + 1, column + LABEL_COLUMNS, width - LABEL_COLUMNS, hit_level, NULL, 1 };

	(void)put(canvas, row, column, LOOK_BOLD, "hit rate");
	(void)put(canvas, row + 1, column, LOOK_DIM, "   100%%");
	(void)put(canvas, row + GRAPH_ROWS, column, LOOK_DIM, "     0%%");
	draw_graph(canvas, top, &graph);
}

static void draw_gets(struct canvas *canvas, const struct top *top, int row, int column, int width)
{
	struct graph graph = { row + 1, column + LABEL_COLUMNS, width - LABEL_COLUMNS, gets_level, NULL, 0 };
	char text[TEXT_MAX];

	for (unsigned ago = 0; ago < (unsigned)graph.width && top_point(top, ago); ago++)
		graph.most = fmax(graph.most, top_point(top, ago)->gets);
	(void)put(canvas, row, column, LOOK_BOLD, "gets a second");
	(void)put(canvas, row + 1, column, LOOK_DIM, "%7s", text_count(graph.most, text));
	(void)put(canvas, row + GRAPH_ROWS, column, LOOK_DIM, "      0");
	draw_graph(canvas, top, &graph);
}

static void draw_durations(struct canvas *canvas, const struct top *top, int row, int column, int width)
{
	struct graph graph = { row + 1, column + LABEL_COLUMNS, width - LABEL_COLUMNS, slow_level, median_level, 0 };
	const struct top_point *now = top_point(top, 0);
	char one[TEXT_MAX], two[TEXT_MAX], three[TEXT_MAX];

	for (unsigned ago = 0; ago < (unsigned)graph.width && top_point(top, ago); ago++)
		graph.most = fmax(graph.most, top_point(top, ago)->get_ns[1]);
	(void)put(canvas, row, column, LOOK_BOLD, "get p50 %s p99 %s p99.9 %s", text_ns(now->get_ns[0], one),
			text_ns(now->get_ns[1], two), text_ns(now->get_ns[2], three));
	(void)put(canvas, row + 1, column, LOOK_DIM, "%8s", text_ns(graph.most, one));
	(void)put(canvas, row + GRAPH_ROWS, column, LOOK_DIM, "   32 ns");
	draw_graph(canvas, top, &graph);
}

static bool has_durations(const struct top *top)
{
	for (unsigned ago = 0; top_point(top, ago); ago++)
		if (top_point(top, ago)->get_ns[0] >= 0)
			return true;
	return false;
}

static void draw_graphs(struct canvas *canvas, const struct top *top, int row)
{
	int half = canvas->columns / 2;

	draw_hits(canvas, top, row, 1, half - 2);
	(has_durations(top) ? draw_durations : draw_gets)(canvas, top, row, half + 1, canvas->columns - half - 2);
}

/* ---- The table ---- */

static void draw_views(struct canvas *canvas, const struct frame *frame, int row)
{
	int column = 1;

	for (unsigned i = 0; i < VIEW_COUNT; i++)
		column = put(canvas, row, column, i == frame->view ? LOOK_TITLE : LOOK_PLAIN, " %s ",
				view_name((enum top_view)i));
	if (*frame->filter && !frame->typing)
		(void)put(canvas, row, column + 2, LOOK_WARN, "filter: %s", frame->filter);
}

/* Where a column begins and ends. */
static int column_end(const struct canvas *canvas, const struct table *table, unsigned column, int begin)
{
	int width = abs(table->columns[column].width);

	return width && column + 1 < table->column_count ? begin + width : canvas->columns;
}

static void draw_head(struct canvas *canvas, const struct table *table, const struct frame *frame, int row)
{
	unsigned sort = frame->sort[frame->view];

	for (unsigned i = 0, begin = 1; i < table->column_count; i++) {
		int end = column_end(canvas, table, i, (int)begin), width = table->columns[i].width;
		char title[32];
		snprintf(title, sizeof title, "%s%s", table->columns[i].title,
				i != sort                                     ? ""
						: frame->reverse[frame->view] ? "^"
									      : "v");
		(void)put(canvas, row, width > 0 ? end - (int)strlen(title) : (int)begin, LOOK_BOLD, "%s", title);
		begin = (unsigned)end + 1;
	}
}

static void draw_row(struct canvas *canvas, const struct table *table, const struct table_row *cells, int row)
{
	for (unsigned i = 0, begin = 1; i < table->column_count; i++) {
		int end = column_end(canvas, table, i, (int)begin), at = (int)begin;
		if (table->columns[i].width > 0)
			at = end - (int)strlen(cells->text[i]); /* numbers: ASCII */
		(void)put_text(canvas, row, at < (int)begin ? (int)begin : at, end,
				cells->warn ? LOOK_WARN : LOOK_PLAIN, cells->text[i]);
		begin = (unsigned)end + 1;
	}
}

static bool draw_table(struct canvas *canvas, const struct top *top, const struct frame *frame, int row, int end,
		unsigned *count)
{
	struct table table;

	if (!table_fill(&table, top, frame->view, frame->filter))
		return false;
	table_sort(&table, frame->sort[frame->view], frame->reverse[frame->view]);
	draw_head(canvas, &table, frame, row++);
	unsigned first = frame->first < table.row_count ? frame->first : 0;
	for (unsigned i = first; i < table.row_count && row < end; i++)
		draw_row(canvas, &table, &table.rows[i], row++);
	if (!table.row_count && row < end)
		(void)put(canvas, row, 1, LOOK_DIM, "%s", table.empty);
	*count = table.row_count;
	table_free(&table);
	return true;
}

/* ---- All of it ---- */

static void draw_help(struct canvas *canvas)
{
	static const char *const lines[] = {
		"q            leave",
		"n p k s m t  namespaces, participants, hot keys, stores, memory, tiers; or Tab",
		"< >          sort by the column to the left, to the right",
		"r            turn the order round",
		"/            filter by the last column: part of it, or a glob; Esc takes the filter off",
		"Up Down PgUp PgDn Home End   move in the table",
		"+ -          look less, more often",
		"Space        stop looking, go on",
		"h ?          this",
		"",
		"s m e . in the bar: small pool, main pool, being emptied, free.",
		"The graphs are of all gets; bars of durations: p50 strong, p99 light.",
		"Stores and durations are what managers measure; ACCESSES are of",
		"about two minutes, OTHERS of them perhaps of another key.  A tier is heard",
		"while changes of others come in; a Redis is closed, as its breaker is.",
	};

	for (int i = 0; i < (int)(sizeof lines / sizeof lines[0]) && i + 2 < canvas->rows; i++)
		(void)put(canvas, i + 2, 3, LOOK_PLAIN, "%s", lines[i]);
}

static void draw_foot(struct canvas *canvas, const struct frame *frame)
{
	int row = canvas->rows - 1;

	if (frame->typing) {
		(void)put(canvas, row, 0, LOOK_BOLD, " filter: %s_   Enter: done  Esc: none", frame->filter);
		return;
	}
	(void)put(canvas, row, 0, LOOK_TITLE, " q quit  ? help  Tab view  < > sort  r reverse  / filter  every %.3g s",
			(double)frame->interval_ms / 1000);
	fill_line(canvas, row, LOOK_TITLE);
}

static bool is_too_small(struct canvas *canvas)
{
	if (canvas->rows >= FRAME_ROWS_MIN && canvas->columns >= FRAME_COLUMNS_MIN)
		return false;
	(void)put(canvas, 0, 0, LOOK_BOLD, "too small: %dx%d", canvas->columns, canvas->rows);
	if (canvas->rows > 1)
		(void)put(canvas, 1, 0, LOOK_PLAIN, "needs %dx%d", FRAME_COLUMNS_MIN, FRAME_ROWS_MIN);
	return true;
}

bool frame_draw(struct canvas *canvas, const struct top *top, const struct frame *frame, unsigned *table_rows,
		unsigned *table_count)
{
	int row = 5;

	*table_rows = *table_count = 0;
	canvas_clear(canvas);
	if (is_too_small(canvas))
		return true;
	draw_title(canvas, top, frame);
	draw_foot(canvas, frame);
	if (frame->help) {
		draw_help(canvas);
		return true;
	}
	if (!top->there) {
		(void)put(canvas, 2, 1, LOOK_BAD, "%s", top->follow.state);
		(void)put(canvas, 3, 1, LOOK_PLAIN, "looking for it again every %.3g s",
				(double)frame->interval_ms / 1000);
		return true;
	}
	draw_rates(canvas, top, 1);
	draw_state(canvas, top, 2);
	draw_memory(canvas, top, 4);
	draw_remote(canvas, top, 5);
	if (canvas->rows >= CHART_ROWS_MIN) {
		draw_graphs(canvas, top, row + 1);
		row += GRAPH_ROWS + 2;
	}
	draw_views(canvas, frame, row + 1);
	*table_rows = (unsigned)(canvas->rows - 1 - (row + 3));
	return draw_table(canvas, top, frame, row + 2, canvas->rows - 1, table_count);
}
