/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests with real processes and real files share: a path of one's own, children with an exit code, and gates that
 * processes wait at until they are opened.
 *
 * Children of a test end by _exit() with the number of the first thing that was wrong: the test framework's assertions
 * work in the test's own process only.
 */
#ifndef LARDER_TESTS_SCENE_H
#define LARDER_TESTS_SCENE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/message.h"
#include "shm/participant.h"

/* Sanitizers make mlock() a call that does nothing and reports success. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SCENE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SCENE_SANITIZED 1
#endif
#endif
#ifndef SCENE_SANITIZED
#define SCENE_SANITIZED 0
#endif

#define SCENE_DIRECTORY "/dev/shm/"
#define SCENE_WAIT_MS 20000

/* A path that no other test and no other run uses; whatever an earlier run of the same number left there goes. */
static inline const char *scene_path(const char *what)
{
	static char path[128];

	(void)snprintf(path, sizeof path, SCENE_DIRECTORY "larder.test-%d-%s", (int)getpid(), what);
	(void)unlink(path);
	return path;
}

static inline struct larder_options small_cache(void)
{
	return (struct larder_options){ .size = sizeof(struct larder_options), .bytes = UINT64_C(1) << 20, .namespaces = 16, .participants = 16 };
}

static inline void sleep_us(long us)
{
	struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	(void)nanosleep(&t, NULL);
}

static inline int64_t scene_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A gate is a pipe: open it once for each who waits. */
struct gate {
	int fd[2];
};

static inline struct gate gate_make(void)
{
	struct gate g;

	cr_assert_eq(pipe2(g.fd, O_CLOEXEC), 0);
	return g;
}
static inline void gate_open(const struct gate *g, unsigned times)
{
	for (; times > 0; times--)
		if (write(g->fd[1], "", 1) != 1)
			_exit(250);
}
/* False if nobody opened it in time. */
static inline bool gate_pass(const struct gate *g)
{
	struct pollfd p = { .fd = g->fd[0], .events = POLLIN };
	char c;

	return poll(&p, 1, SCENE_WAIT_MS) == 1 && read(g->fd[0], &c, 1) == 1;
}

/* The exit code of a child; -number if a signal ended it; -999 if it did not end in time, and then it is killed. */
static inline int child_result(pid_t child)
{
	int status;

	for (int64_t end = scene_now_ms() + SCENE_WAIT_MS; scene_now_ms() < end; sleep_us(500)) {
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	}
	(void)kill(child, SIGKILL);
	(void)waitpid(child, &status, 0);
	return -999;
}

/* Files in SCENE_DIRECTORY, or another directory, whose name has `part` in it. */
static inline unsigned files_named(const char *directory, const char *part)
{
	unsigned n = 0;
	DIR *d = opendir(directory);

	for (const struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d))
		n += strstr(e->d_name, part) != NULL;
	if (d != NULL)
		(void)closedir(d);
	return n;
}

/* A tmpfs of its own in a mount namespace of its own, for the rest of this process; false where that is not allowed. */
static inline bool private_tmpfs(const char *directory, const char *options)
{
	return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0
			&& (mkdir(directory, 0700) == 0 || errno == EEXIST) && mount("none", directory, "tmpfs", 0, options) == 0;
}

/* Region and crew of one handle, as larder_open has them. */
struct handle {
	struct region region;
	struct crew *crew;
};

static inline enum larder_status handle_open(struct handle *h, const char *path, const struct larder_options *o)
{
	enum larder_status status = region_open(&h->region, path, o);

	h->crew = NULL;
	if (status == LARDER_OK && !h->region.read_only)
		status = crew_create(&h->crew, &h->region, 256);
	return status;
}
static inline enum larder_status handle_join(struct handle *h, struct worker **worker)
{
	return crew_join(h->crew, crew_id(h->crew), worker);
}
static inline void handle_close(struct handle *h)
{
	crew_destroy(h->crew);
	region_close(&h->region);
}

#define assert_ok(status) cr_assert_eq((status), LARDER_OK, "%s", larder_message())

/* Opens and joins, as most tests begin; closes and destroys, as most end. */
static inline void scene_enter(const char *path, const struct larder_options *o, struct handle *h, struct worker **worker)
{
	assert_ok(handle_open(h, path, o));
	assert_ok(handle_join(h, worker));
}
static inline void scene_leave(const char *path, struct handle *h)
{
	handle_close(h);
	assert_ok(region_destroy(path));
}

#endif
