/* SPDX-License-Identifier: BSD-2-Clause */
/* The log adapters: one line with all there is to say, nothing unprintable, no flood, and nobody who waits. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "manager/log.h"

static const struct larder_log_event event = { .size = sizeof event, .operation = "get", .store = "sessions", .key = "users:7",
	.status = LARDER_UNREACHABLE, .message = "no answer\nfrom \"there\"" };

static char path[64], text[4096];
static int ends[2];

static void setup(void)
{
	cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
	snprintf(path, sizeof path, "/tmp/larder-log-%d", (int)getpid());
}
static void teardown(void)
{
	(void)unlink(path);
}
TestSuite(log, .init = setup, .fini = teardown);

static int logger(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	cr_assert_eq(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
	return fd;
}

static const char *received(int fd)
{
	ssize_t got = read(fd, text, sizeof text - 1);

	text[got > 0 ? got : 0] = '\0';
	return text;
}

Test(log, a_line_has_all_fields_and_nothing_unprintable)
{
	log_to_descriptor(ends[1], &event);
	cr_assert_str_eq(received(ends[0]), "larder: operation=get store=sessions key=\"users:7\" status=-22 "
			"message=\"no answer\\x0afrom \\x22there\\x22\"\n");
}

static int64_t second(void) { return clock_precise_ms() / 1000; }

/* Logs 500 events, of which the first is in a second that had none.  False: they were not all in one. */
static bool log_in_one_second(void)
{
	int64_t before = second();

	while (second() == before)
		(void)usleep(1000);
	before = second();
	for (int i = 0; i < 500; i++)
		log_to_descriptor(ends[1], &event);
	return second() == before;
}

Test(log, ten_lines_a_second_pass_and_the_others_are_counted)
{
	unsigned lines = 0;

	for (int tries = 0; !log_in_one_second(); tries++) {
		cr_assert_lt(tries, 20, "500 lines are never logged within a second");
		(void)received(ends[0]);
	}
	for (const char *at = received(ends[0]); (at = strchr(at, '\n')) != NULL; at++)
		lines++;
	cr_assert_eq(lines, LOG_PER_SECOND, "%u lines", lines);
	(void)usleep(1000001);
	log_to_descriptor(ends[1], &event);
	cr_assert(strstr(received(ends[0]), " dropped=490"), "%s", text);
}

Test(log, syslog_gets_a_datagram_with_its_priority)
{
	int fd = logger();
	log_to_syslog(path, &event);
	cr_assert_eq(strncmp(received(fd), "<11>", 4), 0, "%s", text);
	cr_assert_not_null(strstr(text, "]: larder: "), "%s", text);
	cr_assert(strstr(text, "operation=get store=sessions"), "%s", text);
}

Test(log, journald_gets_fields)
{
	int fd = logger();
	log_to_journald(path, &event);
	cr_assert(strstr(received(fd), "PRIORITY=3\n") && strstr(text, "\nLARDER_STORE=sessions\n")
			&& strstr(text, "\nLARDER_KEY=users:7\n") && strstr(text, "\nLARDER_STATUS=-22\n"), "%s", text);
}

Test(log, a_logger_that_is_not_there_or_full_keeps_nobody_waiting, .timeout = 10)
{
	log_to_syslog("/nowhere/log", &event);
	int fd = logger();
	for (int i = 0; i < 5; i++)
		for (int j = 0; j < 200; j++)
			log_to_journald(path, &event);
	close(fd);
}

Test(log, keys_are_cut_and_printable)
{
	char to[LOG_KEY_BYTES], big[1000];

	memset(big, 'k', sizeof big);
	cr_assert_str_eq(log_printable("a\0\"\x7f", 4, to, sizeof to), "a\\x00\\x22\\x7f");
	(void)log_printable(big, sizeof big, to, sizeof to);
	cr_assert(strlen(to) < sizeof to && strlen(to) > 190 && !strcmp(to + strlen(to) - 3, "..."));
}
