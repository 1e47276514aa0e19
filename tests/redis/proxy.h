/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A proxy that misbehaves: stands between a client and a server on a UNIX socket, passes bytes both ways, and delays, cuts,
 * truncates or garbles what the server answers, or answers in its place.  A process of its own; the test changes the rules, which
 * lie in memory that both share, at any time.
 */
#ifndef LARDER_TESTS_REDIS_PROXY_H
#define LARDER_TESTS_REDIS_PROXY_H

#include "server.h"

/* All 0: passes everything on. */
struct proxy_rules {
	volatile int delay_ms;       /* each piece of an answer waits so long */
	volatile int late_in;        /* one answer in so many is delayed by a time drawn from 0 .. late_ms */
	volatile int late_ms;
	volatile int cut_after;      /* the connection is closed after so many bytes of answers; 0: never */
	volatile int silent_after;   /* nothing more is passed on after so many bytes of answers; 0: off */
	volatile int garble_in;      /* one byte in so many of the answers is changed */
	volatile int black_hole;     /* connections are accepted and nothing is passed on */
	volatile int pieces;         /* answers come byte by byte */
	char say[256];               /* each piece of a request is answered so, and not passed on; "" off */
	volatile unsigned connections;
};

struct proxy {
	pid_t pid;
	char socket[112], url[160];
	struct proxy_rules *rules;
};

void proxy_start(struct proxy *proxy, const struct server *server, unsigned seed);
void proxy_end(struct proxy *proxy);

#endif
