/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Redis servers for tests: started here, in a directory of their own, on a UNIX socket or a loopback port, without persistence,
 * and ended with the test, however that ends (PR_SET_PDEATHSIG; directories of tests that died are swept by the next).
 * Where there is no redis-server, server_start() skips the test with a word.
 */
#ifndef LARDER_TESTS_REDIS_SERVER_H
#define LARDER_TESTS_REDIS_SERVER_H

#include <criterion/criterion.h>
#include <larder/store.h>
#include <stdbool.h>
#include <sys/types.h>

#define SERVER_ARGUMENTS_MAX 48

struct server {
	pid_t pid;
	int port; /* 0: a UNIX socket */
	char directory[64], socket[96], url[160];
	const char *arguments[SERVER_ARGUMENTS_MAX]; /* beyond the usual ones; ended by NULL */
};

/* Starts the server that is described: on loopback if on_port, else on a socket.  Waits until it answers. */
void server_start(struct server *server, bool on_port);
/* Once more, on the same socket or port, empty. */
void server_restart(struct server *server);
void server_kill(struct server *server);
void server_freeze(const struct server *server);
void server_thaw(const struct server *server);
/* Ends it and removes its directory. */
void server_end(struct server *server);

/* Runs redis-cli against it with these words and returns what it printed, without the last line end; static. */
const char *server_say(const struct server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A free port of loopback, and so is the one 10000 above. */
int server_port(void);

/* A store of kind redis; settings in pairs, ended by NULL.  Time-outs that are not given are 10 s: those of tests that want none. */
struct larder_store *store_open(const char *url, ...) __attribute__((sentinel));
struct larder_store_key key_of(const char *ns, const char *text);
int64_t now_ms(void);

#define assert_status(call, wanted) do { \
	enum larder_status assert_status_ = (call); \
	cr_assert_eq(assert_status_, wanted, "%s is %d (%s), message: %s", #call, assert_status_, larder_strerror(assert_status_), \
			larder_message()); \
} while (0)

/* Waits for a condition that must come.  A quiet machine takes no longer than `ms`; how long a busy one does says nothing of the library. */
#define await(condition, ms) \
	for (int64_t await_end_ = now_ms() + 20000 + 2 * (ms); !(condition) && now_ms() < await_end_;) \
		usleep(2000)

#endif
