/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection to a Redis: a socket that never blocks, hiredis to write commands and to read replies, and a deadline on
 * everything.  No SIGPIPE ever comes of it (MSG_NOSIGNAL).
 *
 * Replies come in the order of commands; a wire on which anything went wrong (time-out, end, garbage) is closed by whoever
 * sees it, so that a late reply cannot be taken for that of a later command.  Not thread-safe: one user at a time.
 */
#ifndef LARDER_REDIS_WIRE_H
#define LARDER_REDIS_WIRE_H

#include <hiredis/hiredis.h>
#include <sys/socket.h>
#include <time.h>

#include <larder.h>

#include "redis/tls.h"

enum wire_fault {
	WIRE_FINE = 0,
	WIRE_LATE = 1,    /* the deadline passed */
	WIRE_REFUSED = 2, /* nobody listens there */
	WIRE_ENDED = 3,   /* the other side closed or reset it */
	WIRE_GARBAGE = 4, /* what came is not Redis's protocol, or came unasked */
	WIRE_MEMORY = 5,
	WIRE_UNTRUSTED = 6, /* TLS: no agreement, or a certificate that is not accepted */
	WIRE_ABSENT = 7,  /* no such socket */
	WIRE_DENIED = 8,  /* we may not connect to it */
	WIRE_NO_WAY = 9,  /* no route to the host */
	WIRE_UNNAMED = 10, /* the host's name was not found */
	WIRE_FAULTS
};

struct wire_address {
	struct sockaddr_storage socket;
	socklen_t bytes; /* 0: not resolved */
};

struct wire {
	int fd; /* -1: closed */
	redisReader *reader;
	redisReplyObjectFunctions functions, *usual; /* the reader's, with a bound on arrays; those of hiredis */
	bool absurd; /* an array of a size that nobody means was announced */
	char *out; /* commands; [sent, filled) is still to be sent, with TLS [sent, sealed) as it is and the rest once it is sealed */
	size_t sent, sealed, filled, room;
	struct tls *tls; /* NULL in the clear */
	bool greeted;    /* TLS: the handshake is over */
};

#define WIRE_WHY_BYTES 200u

/* A moment, in nanoseconds of CLOCK_MONOTONIC. */
static inline int64_t wire_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The address of host (a path of a UNIX socket with port 0).  Numeric hosts at once; names through the resolver, which may
 * block for as long as it is configured to, unless only_numeric. */
bool wire_resolve(const char *host, uint16_t port, bool only_numeric, struct wire_address *address);

/* Makes *wire closed, without looking at what is in it. */
void wire_clear(struct wire *wire);
/* Connects a closed wire.  On a fault it is closed again. */
enum wire_fault wire_open(struct wire *wire, const struct wire_address *address, int64_t deadline_ns);
/* TLS on a wire that was just opened, with `host`.  On a fault it is closed, and why, not empty if WIRE_UNTRUSTED, says more. */
enum wire_fault wire_secure(struct wire *wire, const struct tls_context *context, const char *host, int64_t deadline_ns,
		char why[WIRE_WHY_BYTES]);
/* Closes the socket and frees what is there. */
void wire_close(struct wire *wire);
/* Closes the socket alone: in a forked child, whose copy of the memory may be in the middle of a change. */
void wire_abandon(struct wire *wire);

/* Adds a command to what is to be sent. */
enum wire_fault wire_append(struct wire *wire, int argc, const char **argv, const size_t *lengths);
/* The next reply if it is there already; *reply NULL if not (to be freed by freeReplyObject()). */
enum wire_fault wire_take(struct wire *wire, redisReply **reply);
/* Sends and receives what can be without waiting. */
enum wire_fault wire_move(struct wire *wire, short events);
/* Waits until one of `count` (WIRES_MAX at most) wires can move, and moves those; each has its own fault.  WIRE_LATE: none. */
#define WIRES_MAX 64u
enum wire_fault wire_wait(struct wire *const *wires, size_t count, enum wire_fault *faults, int64_t deadline_ns);
/* Sends everything and waits for the next reply. */
enum wire_fault wire_reply(struct wire *wire, int64_t deadline_ns, redisReply **reply);
/* An idle wire is as it was left: open, and nothing came unasked. */
bool wire_is_quiet(struct wire *wire);

/* The fault in words: "timed out", ... */
const char *wire_fault_text(enum wire_fault fault);

#endif
