/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder mrc: what hit rate this cache would have at other sizes, and how large it must be for one that is wanted.  Reads the
 * trace that lies in the cache, and with --for what is written to it meanwhile, and simulates (mrc.h).  Disturbs nobody.
 *
 * A trace that goes back to the cache's creation counts from there.  Of a ring that has come round, what lies before its mark, five
 * eighths at least, fills the simulated caches, and what comes after it is counted; with --for all of it fills them, and what
 * comes is counted.
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
#define ACCESSES_A_STEP 7u /* of larder_trace_read()'s cursor */
#define POLL_MS 5
#define FEW_KEYS 64u     /* traced keys in the cache below which a curve is but a hint */
#define FEW_SAMPLES 400u /* of a namespace's gets: five points of doubt */
#define FEW_GETS 100u    /* counted, below which there is no curve */
#define FULL_PART 0.985  /* of the segments' bytes are entries when they are full */
#define SPARE_SEGMENTS 3 /* are empty, or being emptied */

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
	uint64_t capacity_bytes; /* of entries, as a rule */
	uint64_t present_bytes;  /* of this cache */
	uint64_t accesses;       /* that were read */
	uint64_t from_ms, to_ms; /* when the first and the last of them were */
	bool whole;              /* the trace goes back to the beginning */
	uint64_t gets;           /* of all keys in the time that was counted; 0: not known */
	double measured;         /* hit rate of these; below 0: not known */
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

/* Bytes of entries that a cache of the present size holds when it is full, as a rule.  What is overwritten, taken out or expires leaves
 * holes until its segment is emptied: where there is much of that, as many bytes as this one has now are a better guess. */
static uint64_t usual_capacity(const struct study *s)
{
	const struct larder_stat *now = &s->after;
	double segments = (double)s->info.segments, arena = (double)s->info.segment_bytes * segments;
	double gone = (double)(now->sets - now->inserts + now->deletes + now->expirations + now->flushed), inserts = (double)now->inserts;
	double whole = inserts > gone ? 1 - gone / inserts : 0;

	return (uint64_t)(arena * (segments - SPARE_SEGMENTS) / segments * FULL_PART * whole);
}

/* What this one holds it knows, once it is full: of some uses an eighth less than usual, in segments that are kept for what is live. */
static void learn_capacity(struct study *s)
{
	bool full = s->after.evictions_small + s->after.evictions_main > 0;
	uint64_t usual = usual_capacity(s);

	s->capacity_bytes = full && s->after.entry_bytes > usual ? s->after.entry_bytes : usual;
	s->present_bytes = full ? s->after.entry_bytes : usual;
}

static int no_memory(void)
{
	complain("no memory for the simulated caches");
	return TOOL_FAILED;
}

/* The next of the trace, up to so many; *count 0: there is no more. */
static int feed_some(struct larder *cache, struct study *s, uint64_t *cursor, size_t most, size_t *count)
{
	struct larder_access accesses[BATCH];
	enum larder_status status = larder_trace_read(cache, cursor, accesses, most, count);

	if (status != LARDER_OK)
		return report_cache(status);
	if (!mrc_feed(s->mrc, accesses, *count))
		return no_memory();
	if (*count) {
		s->from_ms = s->accesses ? s->from_ms : accesses[0].at_ms;
		s->to_ms = accesses[*count - 1].at_ms;
	}
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

/* The cursor from which a ring that began in the middle of things is counted. */
static uint64_t mark_of(const struct larder_trace_info *trace)
{
	return trace->mark ? trace->mark : (trace->accesses - trace->capacity / 8 * 3) / ACCESSES_A_STEP;
}

static int feed_ring(struct larder *cache, struct study *s, uint64_t *cursor)
{
	uint64_t mark = s->whole ? 0 : mark_of(&s->trace);
	size_t count = 1;
	int code = TOOL_OK;

	*cursor = s->whole ? 0 : (s->trace.accesses - s->trace.capacity) / ACCESSES_A_STEP;

	while (code == TOOL_OK && *cursor < mark && count) {
		uint64_t left = (mark - *cursor) * ACCESSES_A_STEP;
		code = feed_some(cache, s, cursor, left < 8 ? 8 : left < BATCH ? (size_t)left : BATCH, &count);
	}
	if (code != TOOL_OK)
		return code;
	if (s->whole)
		mrc_mark_creation(s->mrc);
	else
		mrc_mark(s->mrc);
	return feed_all(cache, s, cursor);
}

static double measured_rate(struct study *s, const struct larder_stat *from)
{
	uint64_t hits = s->after.hits - from->hits, misses = s->after.misses - from->misses;

	s->gets = hits + misses;
	return s->gets ? (double)hits / (double)s->gets : -1;
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
	learn_capacity(s);
	if (s->trace.capacity == 0) {
		complain("this cache has no trace of accesses: it is too small to have room for one; create it with more --instruments");
		return TOOL_FAILED;
	}
	s->mrc = mrc_new(s->capacity_bytes, s->present_bytes, s->trace.one_in);
	return s->mrc ? TOOL_OK : no_memory();
}

/* By the hit rate of all gets in the same time as what was counted. */
static void read_curve(struct study *s, const struct request *request)
{
	static const struct larder_stat creation = { .hits = 0 };
	struct larder_stat mark = { .hits = s->trace.mark_hits, .misses = s->trace.mark_misses };

	s->measured = -1;
	if (s->whole)
		s->measured = measured_rate(s, &creation);
	else if (request->for_ms)
		s->measured = measured_rate(s, &s->before);
	else if (s->trace.mark && mark.hits <= s->after.hits && mark.misses <= s->after.misses)
		s->measured = measured_rate(s, &mark);
	mrc_read(s->mrc, s->measured, &s->curve);
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
	if (s->curve.gets >= FEW_GETS)
		return TOOL_OK;
	complain("too few gets in the trace so far (%" PRIu64 " of sampled keys; a curve needs %u): ask again when the cache was used more, or let it "
		"follow (--for 30s)", s->curve.gets, FEW_GETS);
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
		printf("%5.3gx %10s ", mrc_scale[i], text_size(bytes_at(s, mrc_scale[i]), size));
		if (i >= curve->known) {
			puts("      ?");
			continue;
		}
		printf("%6.2f%% ±%-4.1f %s ", 100 * curve->hit_rate[i], 100 * curve->error[i], i == MRC_PRESENT ? ">" : " ");
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
		printf("for %.4g%% of gets to hit: more than %.3g times the present size, if any is enough (%.2f%% there)\n", 100 * request->want,
				mrc_scale[curve->known - 1], 100 * curve->hit_rate[curve->known - 1]);
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
		json_object_set_new(one, "hit_rate", i < curve->known ? json_real(curve->hit_rate[i]) : json_null());
		json_object_set_new(one, "error", i < curve->known ? json_real(curve->error[i]) : json_null());
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

/* Its hit rate at the present size, by the gets of it that were sampled, if these are enough. */
static struct mrc_level sampled_level(const struct larder_namespace_info *ns)
{
	double gets = (double)ns->sampled_gets, hits = (double)ns->sampled_hits, middle = (hits + 2) / (gets + 4);

	/* Of Agresti and Coull, who know that none of a few is not never. */
	return (struct mrc_level){ gets >= FEW_SAMPLES ? hits / gets : -1, 2 * sqrt(middle * (1 - middle) / (gets + 4)) };
}

static int show_namespace(const struct larder_namespace_info *ns, void *arg)
{
	const struct namespace_walk *w = arg;
	struct mrc_curve curve;

	if (!mrc_read_namespace(w->study->mrc, ns->ns, w->study->measured, sampled_level(ns), &curve))
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
	json_object_set_new(object, "keys_to_a_sampled_one", json_number(s->curve.one_in));
	json_object_set_new(object, "sampled_keys", json_number(s->curve.keys));
	json_object_set_new(object, "sampled_accesses", json_number(s->accesses));
	json_object_set_new(object, "trace_ms", json_number(s->to_ms > s->from_ms ? s->to_ms - s->from_ms : 0));
	json_object_set_new(object, "gets", json_number(s->gets));
	json_object_set_new(object, "whole", json_boolean(s->whole));
	json_object_set_new(object, "namespaces", w.array);
	int printed = json_print(object, false);
	return code != TOOL_OK ? code : printed;
}

static void print_doubt(const struct study *s)
{
	uint64_t traced = s->after.entries / s->curve.one_in;
	char back[TEXT_MAX];

	if (traced < FEW_KEYS)
		printf("But few keys are traced (%" PRIu64 " of those in the cache): take it as a hint.\n", traced);
	if (s->curve.known < MRC_SIZES)
		printf("The trace goes back %s, too short to say what a cache of %.3g times the size holds; --for lets it go on.\n",
			text_duration((int64_t)(s->to_ms - s->from_ms), back), mrc_scale[s->curve.known]);
}

static int print_text(struct larder *cache, const struct request *request, const struct study *s)
{
	struct namespace_walk w = { s, request, NULL };

	printf("hit rate by size, from %" PRIu64 " %s of %" PRIu64 " %s, one key in %" PRIu64 "\n", s->curve.gets,
			plural(s->curve.gets, "get", "gets"), s->curve.keys, plural(s->curve.keys, "key", "keys"), s->curve.one_in);
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
	for (unsigned i = 0; i < s->curve.known; i++)
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
