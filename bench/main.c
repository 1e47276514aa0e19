/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder-bench: options, the table of questions, and what lasts for the whole run (progress, interruption, time).
 * What is measured, and how, is in the files named after the questions; README.md explains the method.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <larder.h>

#include "bench.h"
#include "keys.h"
#include "peer.h"

struct question {
	const char *name, *text;
	int (*run)(const struct bench_options *options, struct report *report);
	bool takes_traces;
};

static const struct question questions[] = {
	{ "latency", "gets and sets timed one by one, caches warm", latency_run, false },
	{ "isolated", "gets timed one by one, both lines cold", isolated_run, false },
	{ "evict", "sets of ever new keys, without and under constant eviction", eviction_run, false },
	{ "counters", "one hot counter, all workers; exactness checked", counters_run, false },
	{ "fill", "bytes per entry, index and reserve included", fill_run, false },
	{ "hit-rate", "zipf 0.99 at 20 % of the bytes", hit_rate_run, false },
	{ "stampede", "a value that many processes miss at the same moment, and one computes", stampede_run, false },
	{ "attached", "gets and sets with up to 999 others attached", attached_run, false },
	{ "attach", "time to attach, up to 10 GiB", attach_run, false },
	{ "manager", "what the manager costs a get, and a set", manager_run, false },
	{ "tiered", "what a tier costs a hit, and a set behind; with LARDER_REDIS_URL a miss and a set through", tiered_run, false },
	{ "guarantees", "what each guarantee costs a get, in this program's own memory", guarantee_run, false },
	{ "ablation", "what counters, hazards, frequencies and the clock cost per get", ablation_run, false },
#ifdef HAVE_HIREDIS
	{ "redis", "the store kind redis beside bare hiredis: get, set, a hundred in one go", redis_run, false },
#endif
	{ "replay", "replay TRACE...: miss ratio beside simulated caches", replay_run, true },
	{ "selfcheck", "selfcheck [TRACE...]: this program's parts against known figures", selfcheck_run, true },
};
#define QUESTIONS (sizeof questions / sizeof questions[0])

/* ---- shared with all questions ---- */

static volatile sig_atomic_t interrupted;
static bool progress_open, progress_wanted;

static void on_signal(int number)
{
	interrupted = number;
}

bool bench_interrupted(void)
{
	return interrupted != 0;
}

void bench_progress(const char *format, ...)
{
	va_list args;

	if (!progress_wanted)
		return;
	va_start(args, format);
	fputs("\r\033[K", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	fflush(stderr);
	progress_open = true;
}

void bench_progress_end(void)
{
	if (progress_open)
		fputs("\r\033[K", stderr);
	progress_open = false;
}

void bench_complain(const char *format, ...)
{
	va_list args;

	bench_progress_end();
	fputs("larder-bench: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *values, unsigned count)
{
	if (count == 0)
		return 0;
	qsort(values, count, sizeof *values, by_value);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

unsigned bench_workers(const struct bench_options *options)
{
	unsigned most = 1;

	for (unsigned i = 0; i < options->process_counts; i++)
		most = options->processes[i] > most ? options->processes[i] : most;
	return most;
}

/* ---- the command line ---- */

enum option_code {
	OPTION_KEYS = 256, OPTION_KEY_BYTES, OPTION_VALUE_BYTES, OPTION_ROUNDS, OPTION_BURST, OPTION_PROCESSES,
			OPTION_PEERS,
	OPTION_SEED, OPTION_HUGE, OPTION_JSON, OPTION_CSV, OPTION_QUICK, OPTION_LIST, OPTION_ABLATION, OPTION_BYTES,
	OPTION_PERCENT, OPTION_OBJECT_BYTES, OPTION_OVERWRITE, OPTION_MIXED_TTL,
};

static const struct option long_options[] = {
	{ "keys", required_argument, NULL, OPTION_KEYS },
	{ "key-bytes", required_argument, NULL, OPTION_KEY_BYTES },
	{ "value-bytes", required_argument, NULL, OPTION_VALUE_BYTES },
	{ "rounds", required_argument, NULL, OPTION_ROUNDS },
	{ "burst", required_argument, NULL, OPTION_BURST },
	{ "processes", required_argument, NULL, OPTION_PROCESSES },
	{ "peers", required_argument, NULL, OPTION_PEERS },
	{ "seed", required_argument, NULL, OPTION_SEED },
	{ "huge", no_argument, NULL, OPTION_HUGE },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "csv", no_argument, NULL, OPTION_CSV },
	{ "quick", no_argument, NULL, OPTION_QUICK },
	{ "quiet", no_argument, NULL, 'q' },
	{ "list", no_argument, NULL, OPTION_LIST },
	{ "ablation", no_argument, NULL, OPTION_ABLATION },
	{ "bytes", required_argument, NULL, OPTION_BYTES },
	{ "percent", required_argument, NULL, OPTION_PERCENT },
	{ "object-bytes", required_argument, NULL, OPTION_OBJECT_BYTES },
	{ "overwrite", required_argument, NULL, OPTION_OVERWRITE },
	{ "mixed-ttl", no_argument, NULL, OPTION_MIXED_TTL },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void list(void)
{
	puts("Questions (several may be asked; without any: all but -10m, attach, replay and selfcheck):");
	speed_list();
	for (unsigned i = 0; i < QUESTIONS; i++)
		printf("  %-12s %s\n", questions[i].name, questions[i].text);
	puts("\nPeers:");
	for (const struct peer_kind *const *kind = peers_all; *kind; kind++)
		printf("  %-12s %s\n", (*kind)->name, (*kind)->text);
	if (*peers_missing)
		printf("  not built:%s\n", peers_missing);
}

static void usage(FILE *out)
{
	fputs("usage: larder-bench [OPTION]... [QUESTION]...\n"
	      "       larder-bench [OPTION]... replay TRACE...\n"
	      "       larder-bench selfcheck [TRACE]...\n\n"
	      "  --list             questions and peers\n"
	      "  --keys N           keys (1m); also with k, m\n"
	      "  --key-bytes N      16 .. 250 (16)\n"
	      "  --value-bytes N    16 .. 65536 (64)\n"
	      "  --processes LIST   workers at once, such as 1,2 (1 and the number of processors)\n"
	      "  --peers LIST       only these, such as limit,larder,table\n"
	      "  --rounds N         bursts of each peer (15)\n"
	      "  --burst MS         length of a burst (40)\n"
	      "  --quick            5 rounds of 20 ms, 100 000 keys: to see that it works, not to quote\n"
	      "  --huge             huge pages for larder, limit and table\n"
	      "  --seed N\n"
	      "  --ablation         the question of that name\n"
	      "  --json, --csv      instead of tables\n"
	      "  -q, --quiet        no progress\n"
	      "replay:\n"
	      "  --percent LIST     sizes in percent of the trace's objects or bytes (1,10)\n"
	      "  --bytes N          one size, in bytes; also with k, m, g\n"
	      "  --object-bytes N   where the trace has no sizes (auto: 1000, or what the least cache takes)\n"
	      "  --overwrite P      sets after P percent of the hits\n"
	      "  --mixed-ttl        lives of none, 2, 10 and 50 percent of the trace, in virtual time\n", out);
}

static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
	static const char suffixes[] = "kmg";
	const char *suffix;
	unsigned long long parsed;
	char *end;

	errno = 0;
	parsed = strtoull(text, &end, 10);
	if (errno || end == text || *text == '-')
		return false;
	suffix = *end ? strchr(suffixes, *end) : NULL;
	for (const char *s = suffixes; suffix && s <= suffix; s++)
		parsed *= most <= UINT64_C(1000000000) ? 1000 : 1024;
	*value = parsed;
	return *(suffix ? end + 1 : end) == '\0' && parsed >= least && parsed <= most;
}

static bool number_unsigned(const char *text, unsigned least, unsigned most, unsigned *value)
{
	uint64_t wide;

	if (!number(text, least, most, &wide))
		return false;
	*value = (unsigned)wide;
	return true;
}

static bool processes_list(const char *text, struct bench_options *options)
{
	char copy[128], *at = copy, *word;

	snprintf(copy, sizeof copy, "%s", text);
	options->process_counts = 0;
	while ((word = strsep(&at, ",")) != NULL)
		if (options->process_counts == BENCH_LIST_MAX
				|| !number_unsigned(word, 1, BENCH_WORKERS_MAX,
				&options->processes[options->process_counts++]))
			return false;
	return true;
}

static bool percent_list(const char *text, struct bench_options *options)
{
	char copy[128], *at = copy, *word, *end;

	snprintf(copy, sizeof copy, "%s", text);
	options->percent_count = 0;
	while ((word = strsep(&at, ",")) != NULL) {
		double percent = strtod(word, &end);

		if (options->percent_count == BENCH_LIST_MAX || end == word || *end || !(percent > 0 && percent <= 100))
			return false;
		options->percents[options->percent_count++] = percent;
	}
	return true;
}

static void quick(struct bench_options *options)
{
	options->rounds = 5;
	options->burst_ms = 20;
	options->keys = 100000;
}

static int ask(const char *name, struct bench_options *options, bool *asked)
{
	int workload = speed_find(name);

	if (workload >= 0 && options->workload_count < BENCH_LIST_MAX) {
		options->workloads[options->workload_count++] = (unsigned)workload;
		return 0;
	}
	for (unsigned i = 0; i < QUESTIONS; i++) {
		if (strcmp(questions[i].name, name) != 0)
			continue;
		asked[i] = true;
		return questions[i].takes_traces;
	}
	bench_complain("no question %s; --list shows all", name);
	return -1;
}

static bool option_replay(int code, const char *text, struct bench_options *options)
{
	switch (code) {
	case OPTION_BYTES: return number(text, LARDER_BYTES_MIN, UINT64_C(1) << 40, &options->replay_bytes);
	case OPTION_PERCENT: return percent_list(text, options);
	case OPTION_OBJECT_BYTES:
		return strcmp(text, "auto") == 0 || number_unsigned(text, 8, 1 << 20, &options->object_bytes);
	case OPTION_OVERWRITE: return number_unsigned(text, 0, 100, &options->overwrite_percent);
	case OPTION_MIXED_TTL: options->mixed_ttl = true; return true;
	default: return false;
	}
}

static bool option(int code, const char *text, struct bench_options *options, bool *asked)
{
	switch (code) {
	case OPTION_KEYS: return number(text, 1000, 100000000, &options->keys);
	case OPTION_KEY_BYTES: return number_unsigned(text, KEY_BYTES_MIN, 250, &options->key_bytes);
	case OPTION_VALUE_BYTES: return number_unsigned(text, 16, 65536, &options->value_bytes);
	case OPTION_ROUNDS: return number_unsigned(text, 1, 1000, &options->rounds);
	case OPTION_BURST: return number_unsigned(text, 1, 10000, &options->burst_ms);
	case OPTION_PROCESSES: return processes_list(text, options);
	case OPTION_PEERS: options->peers = text; return true;
	case OPTION_SEED: return number(text, 0, UINT64_MAX / 2, &options->seed);
	case OPTION_HUGE: options->huge = true; return true;
	case OPTION_JSON: options->format = REPORT_JSON; return true;
	case OPTION_CSV: options->format = REPORT_CSV; return true;
	case OPTION_QUICK: quick(options); return true;
	case OPTION_ABLATION: return ask("ablation", options, asked) >= 0;
	case 'q': options->quiet = true; return true;
	default: return option_replay(code, text, options);
	}
}

/* Without a question: all that need no arguments, and no machine of a kind. */
static void ask_usual(struct bench_options *options, bool *asked)
{
	static const char *const usual[] = {
		"get", "get-zipf", "mix-95", "mix-50", "set", "batch-16", "batch-32", "get-1k", "set-1k", "latency",
		"isolated",
		"evict", "counters", "fill", "hit-rate", "attached", "manager", "tiered",
		"ablation",
	};

	for (unsigned i = 0; i < sizeof usual / sizeof usual[0]; i++)
		ask(usual[i], options, asked);
}

static int answer(const struct bench_options *options, const bool *asked)
{
	struct report *report = report_new(options->format, stdout);
	int result = report ? 0 : -1;

	if (result == 0 && options->workload_count)
		result |= speed_run(options, report);
	for (unsigned i = 0; i < QUESTIONS && report && !bench_interrupted(); i++)
		if (asked[i])
			result |= questions[i].run(options, report);
	bench_progress_end();
	if (report)
		result |= report_finish(report);
	report_free(report);
	return result;
}

static bool words(int count, char **words_at, struct bench_options *options, bool *asked)
{
	if (count == 0)
		ask_usual(options, asked);
	for (int i = 0; i < count; i++) {
		int traces = ask(words_at[i], options, asked);

		if (traces < 0)
			return false;
		if (traces == 0)
			continue;
		options->traces = words_at + i + 1;
		options->trace_count = (unsigned)(count - i - 1);
		return true;
	}
	return true;
}

int main(int argc, char **argv)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct bench_options options = {
		.keys = 1000000, .key_bytes = 16, .value_bytes = 64, .rounds = 15, .burst_ms = 40, .seed = 42,
		.processes = { 1, processors > 1 ? (unsigned)processors : 2 }, .process_counts = 2,
		.percents = { 1, 10 }, .percent_count = 2,
	};
	bool asked[QUESTIONS] = { false };
	struct sigaction action = { .sa_handler = on_signal };
	int code;

	while ((code = getopt_long(argc, argv, "qh", long_options, NULL)) != -1) {
		if (code == 'h' || code == OPTION_LIST) {
			code == 'h' ? usage(stdout) : list();
			return 0;
		}
		if (code == '?' || !option(code, optarg, &options, asked)) {
			if (code != '?')
				bench_complain("%s: out of range or no number", optarg ? optarg : argv[optind - 1]);
			usage(stderr);
			return 2;
		}
	}
	if (options.processes[1] > BENCH_WORKERS_MAX)
		options.processes[1] = BENCH_WORKERS_MAX;
	if (!(optind == argc && asked[8]) && !words(argc - optind, argv + optind, &options, asked))
		return 2;
	progress_wanted = !options.quiet && isatty(2);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	code = answer(&options, asked);
	return interrupted ? 128 + (int)interrupted : code ? 1 : 0;
}
