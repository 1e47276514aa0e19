/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker of the example: asks the cache for a file, reads it from disk and sets it on a miss, and compares the digest
 * of every value that the cache hands out with the one that was taken of the file beforehand.
 *
 * Values are read in place (larder_pin), so that a worker killed or stopped here may well hold a pin.
 *
 * How a blocked call is told from a preempted one: no call on the cache sleeps, so a long one must either have been
 * taken off its CPU (no voluntary context switch, little CPU time of its own: not the cache's doing) or have waited,
 * asleep or spinning.  Time during which this very worker was stopped (it got a SIGCONT meanwhile) does not count.
 */
#define _GNU_SOURCE
#include "serve.h"

#include <err.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define RESAMPLE_NS UINT64_C(1000000)
#define LAST_OPERATIONS 1000 /* done after the whistle, also by one that slept through it */

struct worker {
	struct larder *cache;
	uint32_t ns;
	const struct corpus *corpus;
	struct tally *tally;
	XXH3_state_t *digest;
	char *buffer;
	size_t capacity;
	/* as of the last sample */
	uint64_t sampled_ns, cpu_ns;
	long sleeps;
	/* of the call that runs */
	uint64_t began_ns;
	sig_atomic_t began_continued;
};

static volatile sig_atomic_t continued;

static void on_continue(int signal)
{
	(void)signal;
	continued = (sig_atomic_t)(continued + 1);
}

static uint64_t clock_read_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t now_ns(void)
{
	return clock_read_ns(CLOCK_MONOTONIC);
}

static long sleeps_count(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : 0;
}

static void sample(struct worker *worker, uint64_t now)
{
	worker->sampled_ns = now;
	worker->cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
	worker->sleeps = sleeps_count();
}

static void call_begin(struct worker *worker, enum phase phase)
{
	uint64_t now = now_ns();

	if (now - worker->sampled_ns > RESAMPLE_NS) {
		sample(worker, now);
		now = now_ns();
	}
	worker->began_continued = continued;
	worker->began_ns = now;
	atomic_store_explicit(&worker->tally->phase, phase, memory_order_relaxed);
}

static void call_was_long(struct worker *worker, uint64_t ns)
{
	struct tally *tally = worker->tally;
	uint64_t cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - worker->cpu_ns;
	bool slept = sleeps_count() != worker->sleeps;

	if (continued != worker->began_continued || (!slept && cpu_ns <= BLOCKED_NS))
		return;
	tally_add(&tally->blocked, 1);
	if (ns > tally->slowest_unexplained_ns)
		tally->slowest_unexplained_ns = ns;
}

/* The nanoseconds that the call took. */
static uint64_t call_end(struct worker *worker, enum phase next)
{
	struct tally *tally = worker->tally;

	atomic_store_explicit(&tally->phase, next, memory_order_relaxed);
	uint64_t ns = now_ns() - worker->began_ns;
	if (ns > BLOCKED_NS)
		call_was_long(worker, ns);
	if (continued == worker->began_continued && ns > atomic_load_explicit(&tally->slowest_ns, memory_order_relaxed))
		atomic_store_explicit(&tally->slowest_ns, ns, memory_order_relaxed);
	return ns;
}

static uint64_t digest_pieces(XXH3_state_t *state, const struct larder_pin *pin)
{
	XXH3_64bits_reset(state);
	for (unsigned i = 0; i < pin->iov_count; i++)
		XXH3_64bits_update(state, pin->iov[i].iov_base, pin->iov[i].iov_len);
	return XXH3_64bits_digest(state);
}

static void hit_check(struct worker *worker, const struct file *file, size_t length, uint64_t digest, uint64_t ns)
{
	struct tally *tally = worker->tally;

	hit_count(tally, ns);
	tally_add(&tally->hits, 1);
	tally_add(&tally->served_bytes, length);
	if (length != file->bytes || digest != file->digest)
		tally_add(&tally->torn, 1);
}

static void refused(struct worker *worker, enum larder_status status)
{
	tally_add(&worker->tally->refused, 1);
	atomic_store_explicit(&worker->tally->last_refusal, (int)status, memory_order_relaxed);
}

/* For values of more pieces than a thread has pins. */
static enum larder_status get_copy(struct worker *worker, const struct file *file)
{
	size_t length = 0;

	call_begin(worker, IN_GET);
	enum larder_status status = larder_get(worker->cache, worker->ns, file->path, file->path_bytes, worker->buffer,
			worker->capacity, &length);
	uint64_t ns = call_end(worker, OUTSIDE);
	if (status == LARDER_OK)
		hit_check(worker, file, length, XXH3_64bits(worker->buffer, length), ns);
	return status;
}

static enum larder_status get_in_place(struct worker *worker, const struct file *file)
{
	struct larder_pin pin;

	call_begin(worker, IN_GET);
	enum larder_status status = larder_pin(worker->cache, worker->ns, file->path, file->path_bytes, 0, &pin);
	uint64_t ns = call_end(worker, status == LARDER_OK ? READING_IN_PLACE : OUTSIDE);
	if (status != LARDER_OK)
		return status == LARDER_NO_PIN ? get_copy(worker, file) : status;
	uint64_t digest = pin.data ? XXH3_64bits(pin.data, pin.length) : digest_pieces(worker->digest, &pin);
	hit_check(worker, file, pin.length, digest, ns);
	call_begin(worker, IN_GET);
	larder_unpin(worker->cache, &pin);
	call_end(worker, OUTSIDE);
	return status;
}

/* A file that is no longer what it was when its digest was taken is not cached: it would look like a torn one. */
static void fill(struct worker *worker, const struct file *file)
{
	ssize_t length = file_read(file, worker->buffer, worker->capacity);

	if (length < 0 || (uint64_t)length != file->bytes ||
			XXH3_64bits(worker->buffer, (size_t)length) != file->digest) {
		tally_add(&worker->tally->changed, 1);
		return;
	}
	sample(worker, now_ns());
	call_begin(worker, IN_SET);
	enum larder_status status = larder_set(worker->cache, worker->ns, file->path, file->path_bytes, worker->buffer,
			(size_t)length, LARDER_TTL_DEFAULT);
	call_end(worker, OUTSIDE);
	if (status == LARDER_OK)
		tally_add(&worker->tally->fills, 1);
	else
		refused(worker, status);
}

static void serve_one(struct worker *worker, uint64_t *random)
{
	const struct file *file = &worker->corpus->files[corpus_pick(worker->corpus, random)];
	enum larder_status status = get_in_place(worker, file);

	if (status == LARDER_OK)
		return;
	if (status != LARDER_MISS) {
		refused(worker, status);
		return;
	}
	tally_add(&worker->tally->misses, 1);
	fill(worker, file);
}

static void worker_open(struct worker *worker, const char *cache_name)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct larder_info info;

	options.flags = LARDER_ATTACH_ONLY;
	if (larder_open_with(cache_name, &options, &worker->cache) < 0 ||
			larder_namespace(worker->cache, NAMESPACE, &worker->ns) < 0)
		errx(3, "%s", larder_message());
	if (larder_info(worker->cache, &info) < 0)
		errx(3, "the cache %s does not tell its limits", cache_name);
	worker->capacity = (size_t)info.value_max_bytes + 1;
	worker->buffer = malloc(worker->capacity);
	worker->digest = XXH3_createState();
	if (!worker->buffer || !worker->digest)
		err(3, "buffer");
}

void worker_run(const char *cache_name, const struct corpus *corpus, struct tally *tally, struct board *board,
		uint64_t seed)
{
	struct worker worker = { .corpus = corpus, .tally = tally };
	struct sigaction action = { .sa_handler = on_continue, .sa_flags = SA_RESTART };

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* no worker outlives the program, not even a stopped one */
	sigaction(SIGCONT, &action, NULL);
	worker_open(&worker, cache_name);
	for (int left = LAST_OPERATIONS; left > 0; left -= atomic_load_explicit(&board->over, memory_order_relaxed))
		serve_one(&worker, &seed);
	larder_close(&worker.cache);
	_exit(0);
}
