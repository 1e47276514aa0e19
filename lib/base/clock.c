/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The slow half of the clocks: the offset of the time namespace, and the wall clock.
 *
 * /proc/PID/timens_offsets speaks of the namespace that PID's *children* will be in.  It counts as our own only where
 * /proc/PID/ns/time and time_for_children are the same; after unshare(CLONE_NEWTIME) they are not, and the parent's are
 * tried, if it lives in our namespace.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/clock.h"

#include "base/sync.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Inode of the initial time namespace: PROC_TIME_INIT_INO, part of the kernel's interface since 5.6. */
#define TIME_NAMESPACE_INITIAL 0xEFFFFFFAu

/* Inode of /proc/WHO/ns/KIND; 0 if there is none or it is not for us to see. */
static ino_t time_namespace(const char *who, const char *kind)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof path, "/proc/%s/ns/%s", who, kind);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static bool read_offset(const char *who, int64_t *offset_ms)
{
	char path[64], text[256];
	long long seconds, nanoseconds;

	(void)snprintf(path, sizeof path, "/proc/%s/timens_offsets", who);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof text - 1);
	(void)close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	const char *line = strstr(text, "monotonic");
	if (line == NULL || sscanf(line, "monotonic %lld %lld", &seconds, &nanoseconds) != 2)
		return false;
	*offset_ms = (int64_t)seconds * 1000 + nanoseconds / 1000000;
	return true;
}

static bool offset_of(const char *who, ino_t ours, int64_t *offset_ms)
{
	return time_namespace(who, "time") == ours && time_namespace(who, "time_for_children") == ours
			&& read_offset(who, offset_ms);
}

int64_t clock_offset_ms(void)
{
	ino_t ours = time_namespace("self", "time");
	char parent[16];
	int64_t offset_ms = 0;

	if (ours == 0 || ours == TIME_NAMESPACE_INITIAL)
		return 0;
	(void)snprintf(parent, sizeof parent, "%d", (int)getppid());
	if (offset_of("self", ours, &offset_ms) || offset_of(parent, ours, &offset_ms))
		return -offset_ms;
	return 0;
}

/* How far the wall clock is ahead of the monotonic one.  Two clocks are two calls, and who is made to wait in between would be off by as
 * long: so the wall clock is read between two looks at the other, and of a few such readings the one counts that took least. */
static int64_t wall_ahead_ms(void)
{
	int64_t least_ms = INT64_MAX, ahead_ms = 0;

	for (int tries = 0; tries < 5 && least_ms > 1; tries++) {
		int64_t before_ms = clock_precise_ms(), wall_ms = clock_wall_ms(), took_ms = clock_precise_ms() - before_ms;
		if (took_ms >= least_ms)
			continue;
		least_ms = took_ms;
		ahead_ms = wall_ms - before_ms;
	}
	return ahead_ms;
}

int64_t clock_wall_of_monotonic(int64_t monotonic_ms)
{
	return monotonic_ms + wall_ahead_ms();
}

int64_t clock_monotonic_of_wall(int64_t wall_ms)
{
	return wall_ms - wall_ahead_ms();
}

#if defined(__x86_64__) && !defined(LARDER_NO_TICKS)
static bool ticks_are_time(void)
{
	char name[16] = "";
	int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, name, sizeof name - 1);
	(void)close(fd);
	return n > 0 && strcmp(name, "tsc\n") == 0;
}

uint64_t clock_ticks_span(void)
{
	static struct word32 answer; /* 0: not asked yet */
	uint32_t known = word32_load_hint(&answer);
	if (known == 0) {
		known = ticks_are_time() ? 1 : 2;
		word32_store_hint(&answer, known);
	}
	return known == 1 ? CLOCK_TICKS_SPAN : 0;
}
#else
uint64_t clock_ticks_span(void) { return 0; }
#endif
