/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A proxy that misbehaves, see proxy.h.  One poll loop; a connection holds back at most one piece of an answer at a time, and does
 * not read the next before that is gone, so that bytes never overtake each other.
 */
#include "proxy.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS_MAX 128
#define PIECE_BYTES 65536

struct connection {
	int client, server;
	int64_t due_ms;
	size_t held, gone;  /* bytes of the piece that waits; sent of them */
	uint64_t answered;  /* bytes of answers passed on */
	char *piece;
};

static struct connection connections[CONNECTIONS_MAX];
static unsigned count;
static unsigned seed_now;

static unsigned draw(unsigned below)
{
	seed_now = seed_now * 1664525u + 1013904223u;
	return below ? (seed_now >> 8) % below : 0;
}

static int local_socket(const char *path, bool listening)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	int failed = listening ? bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 512)
			: connect(fd, (struct sockaddr *)&address, sizeof address);
	if (!failed)
		return fd;
	close(fd);
	return -1;
}

static void drop(unsigned i)
{
	close(connections[i].client);
	if (connections[i].server >= 0)
		close(connections[i].server);
	free(connections[i].piece);
	connections[i] = connections[--count];
}

static void accept_one(int listener, const char *target, struct proxy_rules *rules)
{
	int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	rules->connections++;
	if (client < 0 || count == CONNECTIONS_MAX) {
		close(client);
		return;
	}
	connections[count++] = (struct connection){ .client = client, .piece = malloc(PIECE_BYTES),
		.server = local_socket(target, false) };
}

/* Requests go through at once.  False: the connection is over. */
static bool pass_request(struct connection *c, struct proxy_rules *rules)
{
	char bytes[PIECE_BYTES];
	ssize_t n = recv(c->client, bytes, sizeof bytes, 0);

	if (n <= 0)
		return false;
	if (rules->black_hole)
		return true;
	if (*rules->say)
		return send(c->client, rules->say, strlen(rules->say), MSG_NOSIGNAL) > 0;
	return c->server >= 0 && send(c->server, bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

static bool hold_answer(struct connection *c, struct proxy_rules *rules)
{
	ssize_t n = recv(c->server, c->piece, PIECE_BYTES, 0);

	if (n <= 0)
		return false;
	c->held = (size_t)n;
	c->gone = 0;
	c->due_ms = now_ms() + rules->delay_ms;
	if (rules->late_in && !draw((unsigned)rules->late_in))
		c->due_ms += (int64_t)draw((unsigned)rules->late_ms + 1);
	for (size_t i = 0; rules->garble_in && i < c->held; i++)
		if (!draw((unsigned)rules->garble_in))
			c->piece[i] = (char)draw(256);
	return true;
}

static bool pass_answer(struct connection *c, const struct proxy_rules *rules)
{
	size_t most = rules->pieces ? 1 : c->held - c->gone;
	int stop = rules->cut_after ? rules->cut_after : rules->silent_after;

	if (stop && c->answered + most >= (uint64_t)stop)
		most = c->answered < (uint64_t)stop ? (size_t)((uint64_t)stop - c->answered) : 0;
	if (most && send(c->client, c->piece + c->gone, most, MSG_NOSIGNAL) != (ssize_t)most)
		return false;
	c->answered += most;
	c->gone += most;
	if (stop && c->answered >= (uint64_t)stop) {
		c->held = c->gone = 0;
		return !rules->cut_after;
	}
	if (c->gone == c->held)
		c->held = c->gone = 0;
	return true;
}

static int serve_once(int listener, const char *target, struct proxy_rules *rules)
{
	struct pollfd fds[1 + 2 * CONNECTIONS_MAX];
	int wait_ms = 50;
	unsigned watched = count;
	int64_t now = now_ms();

	fds[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
	for (unsigned i = 0; i < watched; i++) {
		struct connection *c = &connections[i];
		int64_t left = c->held ? c->due_ms - now : wait_ms;
		if (left < wait_ms)
			wait_ms = left < 0 ? 0 : (int)left;
		fds[1 + 2 * i] = (struct pollfd){ .fd = c->client, .events = POLLIN };
		fds[2 + 2 * i] = (struct pollfd){ .fd = c->held || rules->black_hole ? -1 : c->server, .events = POLLIN };
	}
	if (poll(fds, 1 + 2 * watched, wait_ms) < 0)
		return errno == EINTR ? 0 : -1;
	for (unsigned i = watched; i-- > 0;) {
		struct connection *c = &connections[i];
		bool good = !fds[1 + 2 * i].revents || pass_request(c, rules);
		good = good && (!fds[2 + 2 * i].revents || hold_answer(c, rules));
		good = good && (!c->held || now_ms() < c->due_ms || pass_answer(c, rules));
		if (!good)
			drop(i);
	}
	if (fds[0].revents)
		accept_one(listener, target, rules);
	return 0;
}

void proxy_start(struct proxy *proxy, const struct server *server, unsigned seed)
{
	pid_t parent = getpid();

	proxy->rules = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(proxy->rules, MAP_FAILED);
	snprintf(proxy->socket, sizeof proxy->socket, "%s/p", server->directory);
	snprintf(proxy->url, sizeof proxy->url, "unix://%s", proxy->socket);
	int listener = local_socket(proxy->socket, true);
	cr_assert_geq(listener, 0);
	proxy->pid = fork();
	cr_assert_geq(proxy->pid, 0);
	if (proxy->pid) {
		close(listener);
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seed_now = seed;
	while (getppid() == parent && !serve_once(listener, server->socket, proxy->rules))
		;
	_exit(0);
}

void proxy_end(struct proxy *proxy)
{
	if (proxy->pid <= 0)
		return;
	kill(proxy->pid, SIGKILL);
	waitpid(proxy->pid, NULL, 0);
	munmap(proxy->rules, 4096);
	proxy->pid = 0;
}
