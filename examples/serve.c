/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * serve: several processes serve the files of a directory out of one cache, for a few seconds.  On the way one of them
 * is killed and one stopped, if possible in the middle of a call; the others must not notice, the stopped one must be
 * able to go on afterwards, and every value handed out must be whole.  This is the job that tools/quickstart shows.
 *
 * The program creates the cache, and leaves it there for the reader to look at.
 */
#define _GNU_SOURCE
#include "serve.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define CATCH_S 1.5       /* to catch a worker in the phase wanted; twice that, to catch it in any call */
#define PATIENCE_S 10.0 /* for workers to end once they are told to */

/* In memory that is shared with the workers, for the sake of the board. */
struct run {
	struct board board;
	struct outcome outcome;
	struct corpus corpus;
	pid_t pids[WORKERS_MAX]; /* 0: gone */
	uint64_t began_ns, told_ns, told_operations;
	uint64_t random;
};

static void usage(FILE *out)
{
	fputs("usage: serve [-b MIB] [-n NAME] [-s SECONDS] [-w WORKERS] [DIRECTORY]\n"
	      "Serves the files of DIRECTORY (/usr/share) to itself out of one cache.\n"
	      "  -b MIB      size of the cache (a quarter of the files, 4 to 64, but at most half of /dev/shm)\n"
	      "  -n NAME     name of the cache (quickstart); one that is there is destroyed first\n"
	      "  -s SECONDS  how long (6)\n"
	      "  -w WORKERS  how many processes, 3 to 64 (4, or one for each CPU up to 8)\n",
	      out);
}

static double number(const char *text, double least, double most)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= least && value <= most)) {
		warnx("'%s' is no number from %g to %g", text, least, most);
		usage(stderr);
		exit(2);
	}
	return value;
}

/* A quarter of what there is to serve, so that the cache has to choose what it keeps; and at most half of a small
 * /dev/shm (a container's has 64 MiB), so that the rest of the machine can go on using it. */
static uint64_t bytes_default(uint64_t files_bytes)
{
	struct statvfs room;
	uint64_t bytes = files_bytes / 4;

	if (bytes < UINT64_C(4) << 20)
		bytes = UINT64_C(4) << 20;
	if (bytes > UINT64_C(64) << 20)
		bytes = UINT64_C(64) << 20;
	if (statvfs("/dev/shm", &room) == 0 && (uint64_t)room.f_bavail * room.f_frsize / 2 < bytes)
		bytes = (uint64_t)room.f_bavail * room.f_frsize / 2;
	return bytes > LARDER_BYTES_MIN ? bytes : LARDER_BYTES_MIN;
}

static unsigned workers_default(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 4 ? 4 : cpus > 8 ? 8 : (unsigned)cpus;
}

static void options_read(struct outcome *outcome, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' }, { 0 } };

	*outcome = (struct outcome){ .directory = "/usr/share", .cache_name = "quickstart", .workers = workers_default(),
		.seconds = 6 };
	for (int option; (option = getopt_long(argc, argv, "b:n:s:w:h", longs, NULL)) != -1;)
		switch (option) {
		case 'b': outcome->cache_bytes = (uint64_t)(number(optarg, 0.5, 1 << 20) * (1 << 20)); break;
		case 'n': outcome->cache_name = optarg; break;
		case 's': outcome->seconds = number(optarg, 0.5, 86400); break;
		case 'w': outcome->workers = (unsigned)number(optarg, 3, WORKERS_MAX); break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	if (argc - optind > 1) {
		usage(stderr);
		exit(2);
	}
	if (optind < argc)
		outcome->directory = argv[optind];
}

static void cache_create(struct outcome *outcome, uint64_t usual_bytes)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct larder_info info;
	struct larder *cache;

	larder_destroy(outcome->cache_name);
	options.flags = LARDER_EXCLUSIVE;
	options.bytes = outcome->cache_bytes;
	options.entry_bytes = usual_bytes;
	if (larder_open_with(outcome->cache_name, &options, &cache) != LARDER_OK)
		errx(3, "%s", larder_message());
	if (larder_info(cache, &info) < 0)
		errx(3, "the cache %s does not tell its limits", outcome->cache_name);
	outcome->file_max_bytes = info.value_max_bytes;
	larder_close(&cache);
}

static void prepare(struct run *run)
{
	struct outcome *outcome = &run->outcome;

	fprintf(stderr, "serve: looking for files in %s\n", outcome->directory);
	corpus_scan(&run->corpus, outcome->directory);
	if (!outcome->cache_bytes)
		outcome->cache_bytes = bytes_default(run->corpus.bytes);
	corpus_cut(&run->corpus, outcome->cache_bytes / 16, 4 * outcome->cache_bytes);
	if (!run->corpus.count)
		errx(3, "%s: no file of at most %.1f MiB in it", outcome->directory, (double)outcome->cache_bytes / (16 << 20));
	cache_create(outcome, corpus_usual_bytes(&run->corpus));
	fprintf(stderr, "serve: taking digests of %zu files, %.0f MiB\n", run->corpus.count,
			(double)run->corpus.bytes / (1 << 20));
	corpus_digest(&run->corpus, outcome->file_max_bytes);
	if (!run->corpus.count)
		errx(3, "%s: no file in it can be read", outcome->directory);
}

static void workers_start(struct run *run)
{
	struct outcome *outcome = &run->outcome;

	fflush(NULL);
	for (unsigned w = 0; w < outcome->workers; w++) {
		pid_t pid = fork();
		if (pid < 0)
			err(3, "fork");
		if (!pid)
			worker_run(outcome->cache_name, &run->corpus, &run->board.tallies[w], &run->board, w + 1);
		run->pids[w] = pid;
	}
	run->began_ns = run->told_ns = now_ns();
}

static double elapsed_s(const struct run *run)
{
	return (double)(now_ns() - run->began_ns) / 1e9;
}

static void nap_us(long us)
{
	nanosleep(&(struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 }, NULL);
}

/* One line a second. */
static void progress(struct run *run)
{
	uint64_t now = now_ns(), operations = board_operations(&run->board, run->outcome.workers);

	if (now - run->told_ns < 1000000000u)
		return;
	fprintf(stderr, "serve: %4.1f s  %9.0f operations/s  hit rate %5.1f %%\n", elapsed_s(run),
			(double)(operations - run->told_operations) * 1e9 / (double)(now - run->told_ns),
			board_hit_rate(&run->board, run->outcome.workers));
	run->told_ns = now;
	run->told_operations = operations;
}

static void run_until(struct run *run, double second)
{
	while (elapsed_s(run) < second) {
		for (unsigned w = 0; w < run->outcome.workers; w++) /* a worker that ends by itself now has failed */
			if (run->pids[w] && waitpid(run->pids[w], NULL, WNOHANG) == run->pids[w])
				errx(4, "worker %u ended by itself (see above)", w);
		nap_us(10000);
		progress(run);
	}
}

/* Stops a worker, in one of two phases if it can be had there soon; it is the worker's own word where it stands. */
static struct incident worker_catch(struct run *run, unsigned w, enum phase wanted, enum phase or_wanted)
{
	struct incident incident = { .worker = w, .pid = run->pids[w] };

	for (double began_s = elapsed_s(run);;) {
		int status;
		kill(incident.pid, SIGSTOP);
		if (waitpid(incident.pid, &status, WUNTRACED) != incident.pid || !WIFSTOPPED(status))
			errx(4, "worker %u ended by itself (see above)", w);
		incident.phase = (enum phase)run->board.tallies[w].phase;
		incident.at_s = elapsed_s(run);
		double tried_s = incident.at_s - began_s;
		if (incident.phase == wanted || incident.phase == or_wanted || tried_s > 2 * CATCH_S ||
				(tried_s > CATCH_S && incident.phase != OUTSIDE))
			return incident;
		kill(incident.pid, SIGCONT);
		nap_us((long)(random_next(&run->random) % 300));
	}
}

static void worker_kill(struct run *run, unsigned w)
{
	run->outcome.killed = worker_catch(run, w, IN_SET, IN_SET);
	kill(run->pids[w], SIGKILL);
	waitpid(run->pids[w], NULL, 0);
	run->pids[w] = 0;
	fprintf(stderr, "serve: %4.1f s  killed worker %u\n", elapsed_s(run), w);
}

static void worker_stop(struct run *run, unsigned w)
{
	run->outcome.stopped = worker_catch(run, w, IN_GET, READING_IN_PLACE);
	fprintf(stderr, "serve: %4.1f s  stopped worker %u\n", elapsed_s(run), w);
}

static uint64_t tally_operations(const struct tally *tally)
{
	return tally->hits + tally->misses + tally->fills + tally->refused;
}

/* True if the worker ends, and well, before the deadline; if not it is put to an end. */
static bool worker_finishes(struct run *run, unsigned w, double deadline_s)
{
	int status = -1;
	pid_t ended;

	while ((ended = waitpid(run->pids[w], &status, WNOHANG)) == 0 && elapsed_s(run) < deadline_s)
		nap_us(1000);
	if (!ended) {
		kill(run->pids[w], SIGKILL);
		waitpid(run->pids[w], NULL, 0);
	}
	run->pids[w] = 0;
	return ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void workers_end(struct run *run)
{
	struct outcome *outcome = &run->outcome;
	struct incident *stopped = &outcome->stopped;
	const struct tally *tally = &run->board.tallies[stopped->worker];

	outcome->seconds = elapsed_s(run);
	run->board.over = true;
	for (unsigned w = 0; w < outcome->workers; w++)
		if (run->pids[w] && w != stopped->worker)
			outcome->survivors += worker_finishes(run, w, outcome->seconds + PATIENCE_S);
	uint64_t done_before = tally_operations(tally);
	stopped->lasted_s = elapsed_s(run) - stopped->at_s;
	kill(stopped->pid, SIGCONT);
	outcome->survivors += worker_finishes(run, stopped->worker, elapsed_s(run) + PATIENCE_S);
	stopped->done_after = tally_operations(tally) - done_before;
}

static void fault_print(const char *text, void *arg)
{
	(void)arg;
	fprintf(stderr, "serve: fault: %s\n", text);
}

/* Reads once more all that the cache holds, as a process that has had no part in it. */
static void look_afterwards(struct run *run)
{
	struct outcome *outcome = &run->outcome;
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct larder *cache;
	uint32_t ns;
	size_t length, capacity = (size_t)outcome->file_max_bytes;
	void *buffer = malloc(capacity);

	options.flags = LARDER_ATTACH_ONLY;
	if (!buffer || larder_open_with(outcome->cache_name, &options, &cache) < 0 ||
			larder_namespace(cache, NAMESPACE, &ns) < 0)
		errx(3, "%s", larder_message());
	for (size_t i = 0; i < run->corpus.count; i++) {
		const struct file *file = &run->corpus.files[i];
		if (larder_get_with(cache, ns, file->path, file->path_bytes, buffer, capacity, &length, LARDER_NO_COUNT, NULL))
			continue;
		outcome->kept++;
		outcome->kept_wrong += length != file->bytes || XXH3_64bits(buffer, length) != file->digest;
	}
	if (larder_check(cache, fault_print, NULL, &outcome->faults) < 0)
		outcome->faults++;
	larder_close(&cache);
	free(buffer);
}

int main(int argc, char **argv)
{
	struct run *run = mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (run == MAP_FAILED)
		err(3, "mmap");
	options_read(&run->outcome, argc, argv);
	prepare(run);
	double seconds = run->outcome.seconds;
	fprintf(stderr, "serve: %u workers, %.0f s\n", run->outcome.workers, seconds);
	workers_start(run);
	run_until(run, seconds / 3);
	worker_kill(run, 1);
	run_until(run, seconds / 2);
	worker_stop(run, 2);
	run_until(run, seconds);
	workers_end(run);
	look_afterwards(run);
	return report_print(&run->outcome, &run->corpus, &run->board) ? 0 : 4;
}
