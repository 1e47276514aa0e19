/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting gnuplot, and the picture of a recorded history.  See plot.h. */
#include "plot.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool.h"

extern char **environ;

static const char *terminal_of(const char *path)
{
	const char *end = strrchr(path, '.');

	if (end && strcmp(end, ".png") == 0)
		return "pngcairo";
	return end && strcmp(end, ".svg") == 0 ? "svg" : NULL;
}

/* gnuplot on the other end of a pipe; what it prints goes where ours does. */
static int start(struct plot *plot)
{
	static char name[] = "gnuplot", quiet[] = "-d";
	char *arguments[] = { name, quiet, NULL };
	posix_spawn_file_actions_t actions;
	int ends[2], failed;
	pid_t pid;

	if (pipe(ends) != 0)
		return complain_errno("pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
	posix_spawn_file_actions_addclose(&actions, ends[1]);
	failed = posix_spawnp(&pid, name, &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[0]);
	if (failed) {
		close(ends[1]);
		complain("cannot start gnuplot (%s); pictures are drawn by it: apt-get install gnuplot-nox", strerror(failed));
		return TOOL_FAILED;
	}
	plot->pid = pid;
	plot->to = fdopen(ends[1], "w");
	return plot->to ? TOOL_OK : complain_errno("fdopen");
}

/* In gnuplot's single quotes, a quote is two. */
static void write_quoted(FILE *to, const char *text)
{
	fputc('\'', to);
	for (const char *c = text; *c; c++) {
		if (*c == '\'')
			fputc('\'', to);
		fputc(*c, to);
	}
	fputc('\'', to);
}

int plot_begin(struct plot *plot, const char *path, unsigned width, unsigned height)
{
	const char *terminal = terminal_of(path);
	FILE *picture = terminal ? fopen(path, "w") : NULL;

	if (!terminal) {
		complain("picture '%s': must end in .png or .svg", path);
		return TOOL_USAGE;
	}
	if (!picture)
		return complain_errno("%s", path);
	fclose(picture);
	signal(SIGPIPE, SIG_IGN);
	*plot = (struct plot){ .path = path };
	int code = start(plot);
	if (code != TOOL_OK)
		return code;
	fprintf(plot->to, "set terminal %s size %u,%u\nset output ", terminal, width, height);
	write_quoted(plot->to, path);
	fputs("\nset grid\nset key outside right top\n", plot->to);
	return TOOL_OK;
}

int plot_end(struct plot *plot)
{
	int status = -1;

	(void)fclose(plot->to);
	while (waitpid(plot->pid, &status, 0) < 0 && errno == EINTR)
		;
	FILE *picture = status == 0 ? fopen(plot->path, "r") : NULL;
	bool drawn = picture && fgetc(picture) != EOF;
	if (picture)
		fclose(picture);
	if (!drawn)
		complain("%s: gnuplot made no picture", plot->path);
	return drawn ? TOOL_OK : TOOL_FAILED;
}

/* ---- History ----------------------------------------------------------------------------------------------------- */

#define POINTS_MAX 1000000u

struct point {
	double seconds, gets, sets, evictions, hit_percent, entry_mib, p50_us, p99_us;
};

struct history {
	struct point *points;
	size_t count;
	double began_ms;
};

static double number_in(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}

/* Of the store and namespace with most gets. */
static void read_durations(const json_t *line, struct point *p)
{
	const json_t *metrics = json_object_get(line, "metrics");
	double most = 0;

	for (size_t i = 0; i < json_array_size(metrics); i++) {
		const json_t *metric = json_array_get(metrics, i), *quantiles = json_object_get(metric, "quantiles_seconds");
		const char *name = json_string_value(json_object_get(metric, "name"));
		if (!name || strcmp(name, "cache_get_duration") != 0 || number_in(metric, "value") <= most)
			continue;
		most = number_in(metric, "value");
		p->p50_us = number_in(quantiles, "p50") * 1e6;
		p->p99_us = number_in(quantiles, "p99") * 1e6;
	}
}

static bool add_point(struct history *h, const json_t *line)
{
	const json_t *rates = json_object_get(line, "per_second");
	double hits = number_in(rates, "hits"), gets = hits + number_in(rates, "misses");
	struct point *more;

	if (!json_is_object(rates) || h->count == POINTS_MAX)
		return false;
	more = realloc(h->points, (h->count + 1) * sizeof *more);
	if (!more)
		return false;
	h->points = more;
	if (h->count == 0)
		h->began_ms = number_in(line, "time_ms");
	more[h->count] = (struct point){ .seconds = (number_in(line, "time_ms") - h->began_ms) / 1000, .gets = gets,
		.sets = number_in(rates, "sets"), .hit_percent = gets > 0 ? 100 * hits / gets : 0,
		.evictions = number_in(rates, "evictions_small") + number_in(rates, "evictions_main") + number_in(rates, "evictions_index")
				+ number_in(rates, "evictions_need") + number_in(rates, "evictions_quota"),
		.entry_mib = number_in(line, "entry_bytes") / 1048576 };
	read_durations(line, &more[h->count++]);
	return true;
}

/* A line that was cut off by whoever stopped the recording ends it; any other fault is told with its line. */
static int read_history(const char *path, FILE *in, struct history *h)
{
	char *text = NULL;
	size_t room = 0, number = 0;
	int code = TOOL_OK;

	while (code == TOOL_OK && getline(&text, &room, in) > 0) {
		json_error_t error;
		json_t *line = json_loads(text, 0, &error);
		number++;
		if (!line && !strchr(text, '\n'))
			break;
		if (!line || !add_point(h, line)) {
			complain("%s: line %zu is no line of `larder stat --json CACHE INTERVAL` (no object with per_second)", path, number);
			code = TOOL_FAILED;
		}
		json_decref(line);
	}
	free(text);
	if (code == TOOL_OK && h->count < 2) {
		complain("%s: %zu lines recorded, two are needed at least; record with `larder stat --json CACHE INTERVAL > %s`", path, h->count,
				strcmp(path, "-") == 0 ? "FILE" : path);
		code = TOOL_FAILED;
	}
	return code;
}

static void write_data(FILE *to, const struct history *h)
{
	fputs("$h << END\n", to);
	for (size_t i = 0; i < h->count; i++) {
		const struct point *p = &h->points[i];
		fprintf(to, "%.3f %.3f %.3f %.3f %.3f %.3f %.3f %.3f\n", p->seconds, p->gets, p->sets, p->evictions, p->hit_percent, p->entry_mib,
				p->p50_us, p->p99_us);
	}
	fputs("END\n", to);
}

static double larger(double a, double b) { return a > b ? a : b; }

static void raise_most(struct point *most, const struct point *p)
{
	most->gets = larger(most->gets, p->gets);
	most->sets = larger(most->sets, p->sets);
	most->evictions = larger(most->evictions, p->evictions);
	most->entry_mib = larger(most->entry_mib, p->entry_mib);
	most->p99_us = larger(most->p99_us, p->p99_us);
}

/* What is 0 all the time has a range, too: gnuplot would warn of an empty one. */
static void set_range(FILE *to, double most)
{
	fprintf(to, "set yrange [0:%g]\n", most > 0 ? most * 1.05 : 1);
}

static int draw_history(const struct history *h, const char *path)
{
	struct plot plot = { 0 };
	struct point most = { 0 };
	int code = plot_begin(&plot, path, 1000, 900);

	if (code != TOOL_OK)
		return code;
	for (size_t i = 0; i < h->count; i++)
		raise_most(&most, &h->points[i]);
	bool timed = most.p99_us > 0;
	write_data(plot.to, h);
	fprintf(plot.to, "set multiplot layout %d,1\nset lmargin 12\nset rmargin 22\n", timed ? 4 : 3);
	fputs("set ylabel 'hits, % of gets'\nset yrange [0:100]\nplot $h using 1:5 with lines lw 2 title 'hit rate'\n"
	      "set ylabel 'per second'\n", plot.to);
	set_range(plot.to, larger(larger(most.gets, most.sets), most.evictions));
	fputs("plot $h using 1:2 with lines title 'gets', $h using 1:3 with lines title 'sets', $h using 1:4 with lines title 'evictions'\n"
	      "set ylabel 'MiB'\n", plot.to);
	set_range(plot.to, most.entry_mib);
	fprintf(plot.to, "%splot $h using 1:6 with lines title 'entries'\n", timed ? "" : "set xlabel 'seconds'\n");
	if (timed)
		fputs("set ylabel 'us, get'\nset yrange [0:*]\nset xlabel 'seconds'\nplot $h using 1:7 with lines title 'p50', $h using 1:8 with lines title 'p99'\n",
				plot.to);
	fputs("unset multiplot\n", plot.to);
	return plot_end(&plot);
}

int plot_history(const char *path, const char *picture)
{
	struct history h = { .points = NULL };
	bool standard = strcmp(path, "-") == 0;
	FILE *in = standard ? stdin : fopen(path, "r");

	if (!in)
		return complain_errno("%s", path);
	int code = read_history(path, in, &h);
	if (!standard)
		fclose(in);
	if (code == TOOL_OK)
		code = draw_history(&h, picture);
	free(h.points);
	return code;
}
