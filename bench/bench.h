/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all parts of larder-bench share: the options of a run, the questions it can answer, progress and interruption.
 *
 * A question is one entry of the table in main.c and one file (or one row of the table in speed.c).  It measures, puts
 * what it found into a report, and returns 0, or -1 after saying on standard error why it could not.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report.h"

#define BENCH_LIST_MAX 16u
#define BENCH_WORKERS_MAX 64u

struct bench_options {
	uint64_t keys;
	unsigned key_bytes;
	unsigned value_bytes;
	unsigned rounds;
	unsigned burst_ms;
	unsigned processes[BENCH_LIST_MAX];
	unsigned process_counts;
	const char *peers; /* comma-separated names, or NULL for all */
	uint64_t seed;
	bool huge;
	bool quiet;
	enum report_format format;

	/* what speed.c is asked for: indices into its table */
	unsigned workloads[BENCH_LIST_MAX];
	unsigned workload_count;

	/* replay */
	uint64_t replay_bytes;
	double percents[BENCH_LIST_MAX];
	unsigned percent_count;
	unsigned object_bytes; /* 0: chosen so that the cache is at least as small as a cache may be */
	unsigned overwrite_percent;
	bool mixed_ttl;
	char **traces;
	unsigned trace_count;
};

/* The largest of options->processes. */
unsigned bench_workers(const struct bench_options *options);

/* A line on standard error, overwritten by the next; none with --quiet. */
void bench_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
void bench_progress_end(void);
void bench_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Set by SIGINT and SIGTERM; every loop of rounds looks at it and leaves by the ordinary way, which removes all
 * names. */
bool bench_interrupted(void);

uint64_t bench_now_ns(void);

/* Sorts values in place. */
double bench_median(double *values, unsigned count);

int speed_find(const char *name);
void speed_list(void);
int speed_run(const struct bench_options *options, struct report *report);
int latency_run(const struct bench_options *options, struct report *report);
int isolated_run(const struct bench_options *options, struct report *report);
int eviction_run(const struct bench_options *options, struct report *report);
int counters_run(const struct bench_options *options, struct report *report);
int fill_run(const struct bench_options *options, struct report *report);
int hit_rate_run(const struct bench_options *options, struct report *report);
int attached_run(const struct bench_options *options, struct report *report);
int attach_run(const struct bench_options *options, struct report *report);
int stampede_run(const struct bench_options *options, struct report *report);
int manager_run(const struct bench_options *options, struct report *report);
int tiered_run(const struct bench_options *options, struct report *report);
int guarantee_run(const struct bench_options *options, struct report *report);
int ablation_run(const struct bench_options *options, struct report *report);
int redis_run(const struct bench_options *options, struct report *report); /* where hiredis is */
int replay_run(const struct bench_options *options, struct report *report);
int selfcheck_run(const struct bench_options *options, struct report *report);

#endif
