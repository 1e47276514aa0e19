/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder mrc: what hit rate this cache would have at other sizes, and how large it must be for one that is wanted.  Reads the
 * trace that lies in the cache, and with --for what is written to it meanwhile, and simulates (mrc.h).  Disturbs nobody.
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mrc.h"
#include "plot.h"
#include "tool.h"

#define BATCH 4096u
#define BATCH_MIN 8u /* what is read at the least */
#define POLL_MS 5
#define FEW_KEYS 256u    /* traced keys in the cache below which a curve is but a hint */
#define STEADY_POINTS 0.05 /* so near to the rate since creation is the sample's own where use has not changed */
#define FULL_PART 0.88   /* of the segments' bytes are live entries when it is full */

enum { FOR = 256, WANT, PLOT };

struct request {
	const char *cache, *plot, *namespace_name;
	int64_t for_ms;
	double want; /* 0: nothing */
	bool json;
};

/* What was seen of the cache. */
struct study {
	struct larder_info info;
	struct larder_trace_info trace;
	struct larder_stat before, after;
	uint64_t capacity_bytes; /* of entries */
	uint64_t accesses;       /* that were read */
	bool whole;              /* the trace goes back to the beginning */
	struct mrc *mrc;
	struct mrc_curve curve;
};

static const struct option longs[] = {
	LONG_HELP,
	LONG_JSON,
	LONG_NAMESPACE,
	{ "for", required_argument, NULL, FOR },
	{ "want", required_argument, NULL, WANT },
	{ "plot", required_argument, NULL, PLOT },
	LONG_END,
};

/* ---- Studying ---------------------------------------------------------------------------------------------------- */

/* Bytes of entries that it holds when full: as many as it has, if it is. */
static uint64_t capacity_of(const struct study *s)
{
	uint64_t arena = s->info.segment_bytes * s->info.segments;
	uint64_t in_use = s->info.segments - s->after.segments_free;
	bool full = s->after.evictions_small + s->after.evictions_main > 0 && in_use * 100 >= UINT64_C(90) * s->info.segments;

	return full ? s->after.entry_bytes : (uint64_t)((double)arena * FULL_PART);
}

static int no_memory(void)
{
	complain("no memory for the simulated caches");
	return TOOL_FAILED;
}

/* The next of the trace, `most` at the most; *count 0: there is no more. */
static int feed_some(struct larder *cache, struct study *s, uint64_t *cursor, size_t most, size_t *count)
{
	struct larder_access accesses[BATCH];
	size_t room = most > BATCH ? BATCH : most > BATCH_MIN ? most : BATCH_MIN;
	enum larder_status status = larder_trace_read(cache, cursor, accesses, room, count);

	if (status != LARDER_OK)
		return report_cache(status);
	if (!mrc_feed(s->mrc, accesses, *count))
		return no_memory();
	s->accesses += *count;
	return TOOL_OK;
}

static int feed_all(struct larder *cache, struct study *s, uint64_t *cursor)
{
	size_t count = 1;
	int code = TOOL_OK;

	while (code == TOOL_OK && count)
		code = feed_some(cache, s, cursor, BATCH, &count);
	return code;
}

static volatile sig_atomic_t enough;
static void on_interrupt(int number) { enough = number; }

/* Until its time is up, or somebody interrupts it, and then it tells what it has. */
static int follow(struct larder *cache, struct study *s, uint64_t *cursor, int64_t for_ms)
{
	uint64_t until = steady_clock_ms() + (uint64_t)for_ms;
	int code = TOOL_OK;

	signal(SIGINT, on_interrupt);
	if (!s->whole)
		mrc_mark(s->mrc); /* what was before has warmed the simulated caches */
	while (code == TOOL_OK && !enough && steady_clock_ms() < until) {
		nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000 }, NULL);
		code = feed_all(cache, s, cursor);
	}
	return code;
}

/* The ring began in the middle of things: its first half fills the simulated caches, its second is counted. */
static int feed_ring(struct larder *cache, struct study *s, uint64_t *cursor)
{
	size_t count = 1, half = s->trace.capacity / 2;
	int code = TOOL_OK;

	while (code == TOOL_OK && !s->whole && s->accesses < half && count)
		code = feed_some(cache, s, cursor, half - s->accesses, &count);
	if (code != TOOL_OK)
		return code;
	if (!s->whole)
		mrc_mark(s->mrc);
	return feed_all(cache, s, cursor);
}

static double measured_rate(const struct larder_stat *from, const struct larder_stat *to)
{
	uint64_t hits = to->hits - (from ? from->hits : 0), misses = to->misses - (from ? from->misses : 0);

	return hits + misses ? (double)hits / (double)(hits + misses) : -1;
}

static int look(struct larder *cache, struct study *s)
{
	enum larder_status status = larder_info(cache, &s->info);

	if (status == LARDER_OK)
		status = larder_trace_info(cache, &s->trace);
	if (status == LARDER_OK)
		status = larder_stat(cache, &s->before);
	if (status != LARDER_OK)
		return report_cache(status);
	s->after = s->before;
	s->whole = s->trace.accesses <= s->trace.capacity; /* and if it goes round while we follow, we were there */
	s->capacity_bytes = capacity_of(s);
	if (s->trace.capacity == 0) {
		complain("this cache has no trace of accesses: it is too small to have room for one; create it with more --instruments");
		return TOOL_FAILED;
	}
	s->mrc = mrc_new(s->capacity_bytes, s->trace.one_in);
	return s->mrc ? TOOL_OK : no_memory();
}

/* By the hit rate of all gets in the same time as what was counted; of a ring that begins in the middle that is not known, but since
 * creation it is, and where that is near what the sample says, the difference is the sample's error. */
static void read_curve(struct study *s, const struct request *request)
{
	double since = measured_rate(NULL, &s->after), meanwhile = measured_rate(&s->before, &s->after);

	mrc_read(s->mrc, -1, &s->curve);
	double sampled = s->curve.gets ? (double)s->curve.hits / (double)s->curve.gets : -1;
	if (s->whole || (!request->for_ms && fabs(sampled - since) < STEADY_POINTS))
		mrc_read(s->mrc, since, &s->curve);
	else if (request->for_ms)
		mrc_read(s->mrc, meanwhile, &s->curve);
}

static int study(struct larder *cache, const struct request *request, struct study *s)
{
	uint64_t cursor = 0;
	int code = look(cache, s);

	if (code == TOOL_OK)
		code = feed_ring(cache, s, &cursor);
	if (code == TOOL_OK && request->for_ms)
		code = follow(cache, s, &cursor, request->for_ms);
	if (code != TOOL_OK)
		return code;
	enum larder_status status = larder_stat(cache, &s->after);
	if (status != LARDER_OK)
		return report_cache(status);
	read_curve(s, request);
	if (s->curve.gets)
		return TOOL_OK;
	complain("no get of a traced key (one in %" PRIu64 ") so far; ask again when the cache was used, or let it follow (--for 30s)",
			s->trace.one_in);
	return TOOL_FAILED;
}

/* ---- Showing ----------------------------------------------------------------------------------------------------- */

static uint64_t bytes_at(const struct study *s, double scale) { return (uint64_t)((double)s->info.bytes * scale); }

static void print_bar(double hit_rate)
{
	/* Eighths of a column: forty columns are everything. */
	static const char *const part[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	unsigned eighths = (unsigned)(hit_rate * 40 * 8 + 0.5);

	for (unsigned i = 0; i < eighths / 8; i++)
		fputs("█", stdout);
	fputs(part[eighths % 8], stdout);
}

static void print_curve(const struct study *s, const struct mrc_curve *curve)
{
	char size[TEXT_MAX];

	for (unsigned i = 0; i < MRC_SIZES; i++) {
		printf("%5.3gx %10s %6.2f%% %s ", mrc_scale[i], text_size(bytes_at(s, mrc_scale[i]), size), 100 * curve->hit_rate[i],
				i == MRC_PRESENT ? ">" : " ");
		print_bar(curve->hit_rate[i]);
		putchar('\n');
	}
}

static void print_want(const struct study *s, const struct request *request, const struct mrc_curve *curve)
{
	double scale = mrc_scale_for(curve, request->want);
	char size[TEXT_MAX];

	if (request->want <= 0)
		return;
	if (scale > 0)
		printf("for %.4g%% of gets to hit: %s%s (%.3g times the present size)\n", 100 * request->want,
				scale <= mrc_scale[0] ? "no more than " : "", text_size(bytes_at(s, scale), size), scale);
	else
		printf("for %.4g%% of gets to hit: more than four times the present size, if any is enough (%.2f%% there)\n", 100 * request->want,
				100 * curve->hit_rate[MRC_SIZES - 1]);
}

struct namespace_walk {
	const struct study *study;
	const struct request *request;
	json_t *array; /* NULL: for people */
};

static json_t *curve_json(const struct study *s, const struct request *request, const struct mrc_curve *curve)
{
	json_t *object = json_object(), *sizes = json_array();

	for (unsigned i = 0; i < MRC_SIZES; i++) {
		json_t *one = json_object();
		json_object_set_new(one, "scale", json_real(mrc_scale[i]));
		json_object_set_new(one, "bytes", json_number(bytes_at(s, mrc_scale[i])));
		json_object_set_new(one, "hit_rate", json_real(curve->hit_rate[i]));
		json_array_append_new(sizes, one);
	}
	json_object_set_new(object, "sampled_gets", json_number(curve->gets));
	json_object_set_new(object, "sizes", sizes);
	if (request->want > 0) {
		double scale = mrc_scale_for(curve, request->want);
		json_object_set_new(object, "wanted_hit_rate", json_real(request->want));
		json_object_set_new(object, "wanted_bytes", scale > 0 ? json_number(bytes_at(s, scale)) : json_null());
	}
	return object;
}

static int show_namespace(const struct larder_namespace_info *ns, void *arg)
{
	const struct namespace_walk *w = arg;
	struct mrc_curve curve;

	if (!mrc_read_namespace(w->study->mrc, ns->ns, &curve))
		return TOOL_OK;
	if (w->array) {
		json_t *one = curve_json(w->study, w->request, &curve);
		json_set_bytes(one, "namespace", (struct bytes){ (const unsigned char *)ns->name, strlen(ns->name) });
		json_array_append_new(w->array, one);
		return TOOL_OK;
	}
	if (!w->request->namespace_name || strcmp(w->request->namespace_name, ns->name) != 0)
		return TOOL_OK;
	fputs("\nnamespace ", stdout);
	print_name(stdout, ns->name);
	printf(", at these sizes of the whole cache, from %" PRIu64 " gets\n", curve.gets);
	print_curve(w->study, &curve);
	print_want(w->study, w->request, &curve);
	return TOOL_OK;
}

static int print_json(struct larder *cache, const struct request *request, const struct study *s)
{
	json_t *object = curve_json(s, request, &s->curve);
	struct namespace_walk w = { s, request, json_array() };
	int code = namespace_each(cache, show_namespace, &w);

	json_object_set_new(object, "bytes", json_number(s->info.bytes));
	json_object_set_new(object, "keys_to_a_sampled_one", json_number(s->trace.one_in));
	json_object_set_new(object, "sampled_keys", json_number(s->curve.keys));
	json_object_set_new(object, "sampled_accesses", json_number(s->accesses));
	json_object_set_new(object, "namespaces", w.array);
	int printed = json_print(object, false);
	return code != TOOL_OK ? code : printed;
}

static void print_doubt(const struct study *s)
{
	uint64_t traced = s->after.entries / s->trace.one_in;

	if (traced < FEW_KEYS)
		printf("But few keys are traced (%" PRIu64 " of those in the cache): take it as a hint.\n", traced);
	if (!s->whole && s->accesses < s->trace.capacity)
		puts("The trace does not go back far enough to fill the larger caches; --for lets it go on.");
}

static int print_text(struct larder *cache, const struct request *request, const struct study *s)
{
	struct namespace_walk w = { s, request, NULL };

	printf("hit rate by size, from %" PRIu64 " %s of %" PRIu64 " %s, one key in %" PRIu64 "\n", s->curve.gets,
			plural(s->curve.gets, "get", "gets"), s->curve.keys, plural(s->curve.keys, "key", "keys"), s->trace.one_in);
	print_curve(s, &s->curve);
	print_want(s, request, &s->curve);
	print_doubt(s);
	return namespace_each(cache, show_namespace, &w);
}

/* ---- A picture --------------------------------------------------------------------------------------------------- */

static int draw(const struct request *request, const struct study *s)
{
	struct plot plot;
	int code = plot_begin(&plot, request->plot, 900, 560);

	if (code != TOOL_OK)
		return code;
	fputs("$c << END\n", plot.to);
	for (unsigned i = 0; i < MRC_SIZES; i++)
		fprintf(plot.to, "%.6g %.4f\n", (double)bytes_at(s, mrc_scale[i]) / 1048576, 100 * s->curve.hit_rate[i]);
	fprintf(plot.to, "END\nset logscale x 2\nset xlabel 'size of the cache, MiB'\nset ylabel 'hits, %% of gets'\nset yrange [0:100]\n"
			"set arrow from %.6g,graph 0 to %.6g,graph 1 nohead dt 2\n", (double)s->info.bytes / 1048576, (double)s->info.bytes / 1048576);
	if (request->want > 0)
		fprintf(plot.to, "set arrow from graph 0,first %.4f to graph 1,first %.4f nohead dt 3\n", 100 * request->want, 100 * request->want);
	fputs("plot $c using 1:2 with linespoints lw 2 pt 7 title 'hit rate'\n", plot.to);
	return plot_end(&plot);
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static double percent_argument(const char *text)
{
	char *end;
	double percent = strtod(text, &end);

	if (*end == '%')
		end++;
	if (end == text || *end || !(percent > 0 && percent < 100))
		usage_error("wanted hit rate '%s': must be a percentage between 0 and 100: 80, 99.5", text);
	return percent / 100;
}

static void read_option(int option, struct request *request)
{
	if (option == 'j')
		request->json = true;
	else if (option == 'N')
		request->namespace_name = optarg;
	else if (option == FOR)
		request->for_ms = duration_argument("duration", optarg);
	else if (option == WANT)
		request->want = percent_argument(optarg);
	else if (option == PLOT)
		request->plot = optarg;
}

static int run(int argc, char **argv)
{
	struct request request = { .cache = NULL };
	struct study s = { .mrc = NULL };
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hjN:", longs)) != -1)
		read_option(option, &request);
	operands_expect(argc, argv, 1, 1);
	request.cache = argv[optind];
	int code = cache_inspect(request.cache, &cache);
	if (code != TOOL_OK)
		return code;
	code = study(cache, &request, &s);
	if (code == TOOL_OK)
		code = request.json ? print_json(cache, &request, &s) : print_text(cache, &request, &s);
	if (code == TOOL_OK && request.plot)
		code = draw(&request, &s);
	mrc_free(s.mrc);
	larder_close(&cache);
	return code;
}

const struct command cmd_mrc = {
	.name = "mrc",
	.summary = "Says what hit rate a cache would have at other sizes",
	.synopsis = "[-j] [-N NAMESPACE] [--for DURATION] [--want PERCENT] [--plot PICTURE] CACHE",
	.options = "  -j, --json               print JSON\n"
		"  -N, --namespace NAME     the curve of this namespace, too\n"
		"      --for DURATION       follow the cache for so long, beyond what its trace has\n"
		"      --want PERCENT       how large it must be for so many of all gets to hit\n"
		"      --plot PICTURE       draw the curve, too, into PICTURE.png or PICTURE.svg\n" HELP_HELP,
	.run = run,
};
