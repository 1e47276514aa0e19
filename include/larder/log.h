/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the manager reports: failures of operations, to a function of the program's choice, and to nobody by default.
 *
 * The adapters below are such functions.  None of them ever waits: what the other end does not take at once is dropped.  Each
 * passes on ten events a second, and then says how many there were besides.  Any thread; a forked child goes on using them.
 */
#ifndef LARDER_LOG_H
#define LARDER_LOG_H

#include <larder.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One failure.  Texts are valid during the call only, never NULL, and "" where there is nothing to say. */
struct larder_log_event {
	size_t size;              /* sizeof(struct larder_log_event) of the library: later ones may have more behind */
	const char *operation;    /* "get", "set" … */
	const char *store;        /* the name in the manager */
	const char *key;          /* canonical text, at most 200 bytes of it, control characters and quotes as \xNN */
	enum larder_status status;
	const char *message;      /* what failed, in words */
};

/* To standard error: one line, written by one write(2).  arg is not looked at, here and below. */
LARDER_API void larder_log_stderr(const struct larder_log_event *event, void *arg);
/* To the system's logger, by a datagram to /dev/log: facility user, priority err, the program's name. */
LARDER_API void larder_log_syslog(const struct larder_log_event *event, void *arg);
/* To journald, by a datagram in its native protocol: MESSAGE, and the fields LARDER_OPERATION, LARDER_STORE, LARDER_KEY,
 * LARDER_STATUS. */
LARDER_API void larder_log_journald(const struct larder_log_event *event, void *arg);

#ifdef __cplusplus
}
#endif
#endif
