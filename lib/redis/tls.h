/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TLS for connections to Redis: OpenSSL 3 between two buffers, so that the socket, its deadlines and its missing SIGPIPE stay ours.
 *
 * The library is not linked but loaded when the first rediss:// URL is opened: programs that have no use for TLS carry none of it.
 * Without it, or in a larder built without its headers, opening such a store fails with a message.
 */
#ifndef LARDER_REDIS_TLS_H
#define LARDER_REDIS_TLS_H

#include <larder.h>

struct tls_options {
	char ca[256], cert[256], key[256]; /* files; "" for none (ca: those of the system) */
	char name[256];                    /* whose certificate it has to be, "" for the host of the URL */
	bool verify;
};

struct tls_context; /* of a store */
struct tls;         /* of a connection */

enum tls_step { TLS_DONE, TLS_WAITS, TLS_FAILED };

/* LARDER_OK; LARDER_UNSUPPORTED (no TLS here), LARDER_INVALID (a file that cannot be used), with a message. */
enum larder_status tls_context_make(const struct tls_options *options, struct tls_context **context);
void tls_context_free(struct tls_context *context);

/* NULL without memory. */
struct tls *tls_make(const struct tls_context *context, const char *host);
void tls_free(struct tls *tls);

/* Goes on with the handshake as far as what was received allows. */
enum tls_step tls_greet(struct tls *tls);
/* Why it failed. */
void tls_why(const struct tls *tls, char *text, size_t room);

/* What came from the socket goes in; what it says comes out: bytes, 0 if there is nothing yet, < 0 if the stream is broken. */
bool tls_received(struct tls *tls, const void *bytes, size_t count);
int tls_open(struct tls *tls, void *plain, size_t room);
/* What is to be said goes in; what has to be sent comes out. */
bool tls_seal(struct tls *tls, const void *plain, size_t count);
size_t tls_pending(const struct tls *tls);
size_t tls_to_send(struct tls *tls, void *bytes, size_t room);

#endif
