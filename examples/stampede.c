/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stampede, and what becomes of it: many processes want the same page, which takes a while to render and is not there.
 *
 *     stampede [PROCESSES [SECONDS]]
 *
 * Each process asks for the page again and again.  It is good for 200 ms, and then for a while as a stale one; about a tenth
 * of the processes are killed in the middle of rendering.  Prints how often the page was asked for, how often it was rendered,
 * and the longest that anybody waited.
 */
#include <err.h>
#include <errno.h>
#include <larder/policy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RENDER_MS 50
#define CACHE "example-stampede"

/* Shared with all processes; only for the report. */
struct report {
	unsigned long asked, rendered, stale, deaths, longest_ms;
};
static struct report *report;

static long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
	nanosleep(&time, NULL);
}

static void add(unsigned long *to) { __atomic_add_fetch(to, 1, __ATOMIC_RELAXED); }

static enum larder_status render(void *arg, struct larder_loaded *page)
{
	static char text[64];
	unsigned *seed = arg;

	add(&report->rendered);
	sleep_ms(RENDER_MS / 2);
	if (rand_r(seed) % 10 == 0) {
		add(&report->deaths);
		raise(SIGKILL);
	}
	sleep_ms(RENDER_MS / 2);
	page->value_bytes = (size_t)snprintf(text, sizeof text, "page rendered by %d", (int)getpid());
	page->value = text;
	return LARDER_OK;
}

static void ask_until(long end, unsigned seed)
{
	struct larder_compute_options o = LARDER_COMPUTE_OPTIONS_INIT;
	struct larder *cache;
	char page[64];

	o.flags = LARDER_COMPUTE_STALE;
	o.set.ttl_ms = 200;
	o.set.grace_ms = 10000;
	if (larder_open(CACHE, 0, &cache) < 0)
		errx(1, "%s", larder_message());
	while (now_ms() < end) {
		long begun = now_ms();
		enum larder_status status = larder_get_or_compute(cache, 0, "/", 1, render, &seed, &o, page, sizeof page, NULL, NULL);
		if (status != LARDER_OK && status != LARDER_STALE)
			errx(1, "%s", larder_strerror(status));
		unsigned long took = (unsigned long)(now_ms() - begun), longest = report->longest_ms;
		add(&report->asked);
		if (status == LARDER_STALE)
			add(&report->stale);
		while (took > longest && !__atomic_compare_exchange_n(&report->longest_ms, &longest, took, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			;
		sleep_ms(1);
	}
	larder_close(&cache);
}

static void start(long end, unsigned seed)
{
	pid_t child = fork();

	if (child < 0)
		err(1, "fork");
	if (child != 0)
		return;
	ask_until(end, seed);
	_exit(0);
}

/* Those that are killed are replaced. */
static int watch(long end)
{
	int status, failed = 0;
	unsigned seed = (unsigned)getpid() + 100000;

	for (pid_t gone = wait(&status); gone > 0 || errno == EINTR; gone = wait(&status)) {
		if (gone > 0 && WIFSIGNALED(status) && now_ms() < end)
			start(end, ++seed);
		failed |= gone > 0 && WIFEXITED(status) && WEXITSTATUS(status) != 0;
	}
	return failed;
}

int main(int argc, char **argv)
{
	int processes = argc > 1 ? atoi(argv[1]) : 16;
	double seconds = argc > 2 ? atof(argv[2]) : 3;

	if (processes < 1 || processes > 1000 || seconds <= 0)
		errx(2, "usage: stampede [PROCESSES [SECONDS]], 1 .. 1000 processes");
	report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		err(1, "mmap");
	struct larder_options o = LARDER_OPTIONS_INIT;
	struct larder *cache;
	o.bytes = 4 << 20;
	o.participants = (uint32_t)processes + 8;
	(void)larder_destroy(CACHE);
	if (larder_open_with(CACHE, &o, &cache) < 0) /* once, rather than by all of them at the same time */
		errx(1, "%s", larder_message());
	long end = now_ms() + (long)(seconds * 1000);
	for (int i = 0; i < processes; i++)
		start(end, (unsigned)i + 1);
	int failed = watch(end);
	larder_close(&cache);
	(void)larder_destroy(CACHE);
	printf("%d processes asked %lu times; the page was rendered %lu times, %lu answers were stale, %lu processes died while\n"
			"they rendered; nobody waited longer than %lu ms\n", processes, report->asked, report->rendered, report->stale,
			report->deaths, report->longest_ms);
	return failed;
}
