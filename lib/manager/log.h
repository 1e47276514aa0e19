/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The adapters of larder/log.h, with the place that they write to as an argument; and keys as they stand in a log.
 */
#ifndef LARDER_MANAGER_LOG_H
#define LARDER_MANAGER_LOG_H

#include <larder/log.h>

#define LOG_KEY_BYTES 208u /* 200 of the text, "…" and a NUL */
#define LOG_PER_SECOND 10u

/* text[0 .. count) with what is unprintable as \xNN, cut at `room`; returns text's new home `to`. */
const char *log_printable(const char *text, size_t count, char *to, size_t room);

void log_to_descriptor(int fd, const struct larder_log_event *event);
void log_to_syslog(const char *socket_path, const struct larder_log_event *event);
void log_to_journald(const char *socket_path, const struct larder_log_event *event);

#endif
