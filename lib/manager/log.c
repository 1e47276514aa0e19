/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Adapters for the events of a manager, see larder/log.h.
 *
 * Nothing is kept open: a failure is rare, and a socket made for each needs no care in forked children and after a restart of the
 * logger.  A word for each adapter says how many events of the present second went through and how many did not; it is changed by
 * CAS, and a CAS that is lost means that another thread's event was counted.
 */
#include "manager/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sync.h"

#define LINE_BYTES_MAX 1400u
#define PRIORITY_ERR 3
#define FACILITY_USER (1 << 3)

enum adapter { ADAPTER_DESCRIPTOR, ADAPTER_SYSLOG, ADAPTER_JOURNALD, ADAPTERS };
/* second 32 | let through 8 | dropped 24 */
static struct word buckets[ADAPTERS];

/* Whether one more event may pass now; *dropped are those of the last second that might not. */
static bool admitted(enum adapter adapter, unsigned *dropped)
{
	uint64_t second = (uint64_t)(clock_precise_ms() / 1000) & UINT32_MAX;

	for (;;) {
		/* Relaxed: a count, from which nothing else follows. */
		uint64_t seen = load_hint(&buckets[adapter]), through = seen >> 24 & 0xff;
		bool same = seen >> 32 == second, pass = !same || through < LOG_PER_SECOND;
		uint64_t more = pass || (seen & 0xffffff) == 0xffffff ? 0 : 1;
		uint64_t next = same ? seen + (pass ? UINT64_C(1) << 24 : more) : second << 32 | UINT64_C(1) << 24;
		if (!cas_acq_rel(&buckets[adapter], seen, next))
			continue;
		*dropped = same ? 0 : (unsigned)(seen & 0xffffff);
		return pass;
	}
}

const char *log_printable(const char *text, size_t count, char *to, size_t room)
{
	size_t length = 0;

	for (size_t i = 0; i < count; i++) {
		unsigned char c = (unsigned char)text[i];
		bool plain = c >= ' ' && c != 0x7f && c != '"' && c != '\\';
		if (length + 4 + sizeof "..." > room) {
			memcpy(to + length, "...", 3);
			length += 3;
			break;
		}
		if (plain)
			to[length++] = (char)c;
		else
			length += (size_t)snprintf(to + length, 5, "\\x%02x", c);
	}
	to[length] = '\0';
	return to;
}

/* The event in one line without a newline; false if there were too many of late. */
static bool line_of(const struct larder_log_event *event, enum adapter adapter, char line[LINE_BYTES_MAX])
{
	char message[512];
	unsigned dropped;

	if (!admitted(adapter, &dropped))
		return false;
	int length = snprintf(line, LINE_BYTES_MAX, "operation=%s store=%s key=\"%s\" status=%d message=\"%s\"", event->operation,
			event->store, event->key, (int)event->status,
			log_printable(event->message, strlen(event->message), message, sizeof message));
	if (dropped && length > 0 && (size_t)length < LINE_BYTES_MAX)
		(void)snprintf(line + length, LINE_BYTES_MAX - (size_t)length, " dropped=%u", dropped);
	return true;
}

/* One datagram, or nothing: the logger may be slow, full, or not there. */
static void send_datagram(const char *path, const char *text, size_t bytes)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	(void)snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	(void)!sendto(fd, text, bytes, MSG_NOSIGNAL, (const struct sockaddr *)&to, sizeof to);
	(void)close(fd);
}

void log_to_descriptor(int fd, const struct larder_log_event *event)
{
	char line[LINE_BYTES_MAX], text[LINE_BYTES_MAX + 64];
	int saved = errno;

	if (!line_of(event, ADAPTER_DESCRIPTOR, line))
		return;
	int length = snprintf(text, sizeof text, "larder: %s\n", line);
	(void)!write(fd, text, (size_t)length);
	errno = saved;
}

void log_to_syslog(const char *socket_path, const struct larder_log_event *event)
{
	char line[LINE_BYTES_MAX], text[LINE_BYTES_MAX + 128];
	int saved = errno;

	if (!line_of(event, ADAPTER_SYSLOG, line))
		return;
	int length = snprintf(text, sizeof text, "<%d>%.64s[%d]: larder: %s", FACILITY_USER | PRIORITY_ERR,
			program_invocation_short_name, (int)getpid(), line);
	send_datagram(socket_path, text, (size_t)length);
	errno = saved;
}

void log_to_journald(const char *socket_path, const struct larder_log_event *event)
{
	char line[LINE_BYTES_MAX], text[LINE_BYTES_MAX + 1024];
	int saved = errno;

	if (!line_of(event, ADAPTER_JOURNALD, line))
		return;
	/* No value has a newline in it, so the simple form of the protocol does. */
	int length = snprintf(text, sizeof text, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%.64s\nMESSAGE=larder: %s\nLARDER_OPERATION=%s\n"
			"LARDER_STORE=%s\nLARDER_KEY=%s\nLARDER_STATUS=%d\n", PRIORITY_ERR, program_invocation_short_name, line,
			event->operation, event->store, event->key, (int)event->status);
	send_datagram(socket_path, text, (size_t)length);
	errno = saved;
}

void larder_log_stderr(const struct larder_log_event *event, void *arg)
{
	(void)arg;
	log_to_descriptor(STDERR_FILENO, event);
}

void larder_log_syslog(const struct larder_log_event *event, void *arg)
{
	(void)arg;
	log_to_syslog("/dev/log", event);
}

void larder_log_journald(const struct larder_log_event *event, void *arg)
{
	(void)arg;
	log_to_journald("/run/systemd/journal/socket", event);
}
