/* SPDX-License-Identifier: BSD-2-Clause */
/* Clocks, and the offset of a time namespace (where this user may make one). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

/* By how much the coarse one was behind, at most; it was never ahead. */
static int64_t greatest_lag_ms(void)
{
	int64_t most_ms = 0;

	for (int i = 0; i < 10000; i++) {
		int64_t before = clock_precise_ms(), coarse = clock_coarse_ms(), after = clock_precise_ms();
		cr_assert_leq(coarse, after, "%ld, %ld, %ld", before, coarse, after);
		most_ms = before - coarse > most_ms ? before - coarse : most_ms;
	}
	return most_ms;
}

/* The kernel's tick moves it on; in a machine whose processor is taken away there may be none for a while. */
Test(clock, the_coarse_one_is_behind_the_precise_one_by_less_than_its_lag)
{
	int64_t lag_ms = greatest_lag_ms();

	for (int tries = 0; tries < 100 && lag_ms > CLOCK_COARSE_LAG_MS; tries++) {
		(void)usleep(20000);
		lag_ms = greatest_lag_ms();
	}
	cr_assert_leq(lag_ms, CLOCK_COARSE_LAG_MS);
}

/* Short pauses, and one that is longer than the span on the slowest of processors. */
Test(clock, ticks_pass_as_time_does_where_they_are_trusted)
{
	if (clock_ticks_span() == 0)
		cr_skip("this kernel does not keep time by the processor's counter");
	for (int i = 0; i < 200; i++) {
		int64_t before_ns = clock_precise_ns();
		uint64_t ticks = clock_ticks();
		(void)usleep(i == 0 ? 100000 : 50);
		uint64_t passed = clock_ticks() - ticks;
		int64_t passed_ns = clock_precise_ns() - before_ns;
		cr_assert(passed >= clock_ticks_span() || passed_ns < 2000000, "%lu ticks in %ld ns", passed, passed_ns);
		cr_assert(passed < UINT64_MAX / 2, "backwards");
	}
}

Test(clock, wall_and_monotonic_lead_back_to_each_other)
{
	int64_t now = clock_precise_ms(), wall = clock_wall_ms();

	cr_assert_leq(llabs(clock_wall_of_monotonic(now) - wall), 50);
	cr_assert_leq(llabs(clock_monotonic_of_wall(clock_wall_of_monotonic(now + 100000)) - (now + 100000)), 50);
}

static volatile sig_atomic_t interrupted;

static void wait_a_little(int signal)
{
	(void)signal;
	(void)usleep(20000);
	interrupted = 1;
}

Test(clock, who_is_made_to_wait_between_two_clocks_is_told_the_same)
{
	const struct itimerval soon = { .it_value.tv_usec = 20 };
	int64_t then_ms = clock_wall_of_monotonic(0);

	cr_assert_neq(signal(SIGALRM, wait_a_little), SIG_ERR);
	for (int i = 0; i < 50; i++) {
		interrupted = 0;
		cr_assert_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
		while (!interrupted) {
			int64_t again_ms = clock_wall_of_monotonic(0);
			cr_assert_leq(llabs(again_ms - then_ms), 5, "%ld, then %ld, at interruption %d", then_ms, again_ms, i);
		}
	}
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		(void)close(fd);
	return done;
}

/* The test's own answer: the initial namespace's clock, as this process last saw it. */
Test(clock, a_process_of_another_time_namespace_finds_the_way_back_to_the_initial_one)
{
	int64_t outside = clock_precise_ms() + clock_offset_ms();
	int status;

	if (unshare(CLONE_NEWTIME) != 0 || !write_file("/proc/self/timens_offsets", "monotonic 86400 500000000\n"))
		cr_skip("no time namespaces for this user here");
	/* Not yet in it: only our children will be. */
	cr_assert_leq(llabs(clock_precise_ms() + clock_offset_ms() - outside), 1000);
	pid_t child = fork();
	if (child == 0) {
		int64_t seen = clock_precise_ms(), inside = seen + clock_offset_ms();
		_exit(seen < outside + 86400000 ? 1 : llabs(inside - outside) > 1000 ? 2 : 0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "the child found fault %d", WEXITSTATUS(status));
}
