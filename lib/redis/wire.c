/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection to a Redis, see wire.h.
 *
 * hiredis 0.14 connects, writes and waits in ways of its own: by write(), which raises SIGPIPE, and by time-outs that start
 * anew with each system call.  Here are our own socket and poll(); of hiredis we use what it is best at, the protocol.
 */
#include "redis/wire.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define INPUT_BYTES 16384u
#define READS_MAX 64u           /* at a time: then the deadline is looked at again */
#define ELEMENTS_MAX (1 << 22)  /* of an array in a reply: a stranger's number, for which memory is taken */
#define OUTPUT_KEEP_BYTES 65536u

/* ---- Addresses ------------------------------------------------------------------------------------------------------- */

static bool resolve_local(const char *path, struct wire_address *address)
{
	struct sockaddr_un *local = (struct sockaddr_un *)&address->socket;

	if (strlen(path) >= sizeof local->sun_path)
		return false;
	local->sun_family = AF_UNIX;
	memcpy(local->sun_path, path, strlen(path) + 1);
	address->bytes = sizeof *local;
	return true;
}

bool wire_resolve(const char *host, uint16_t port, bool only_numeric, struct wire_address *address)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | (only_numeric ? AI_NUMERICHOST : 0) };
	struct addrinfo *found = NULL;
	char service[8];

	*address = (struct wire_address){ .bytes = 0 };
	if (!port)
		return resolve_local(host, address);
	snprintf(service, sizeof service, "%u", port);
	if (getaddrinfo(host, service, &hints, &found) || !found)
		return false;
	if (found->ai_addrlen <= sizeof address->socket) {
		memcpy(&address->socket, found->ai_addr, found->ai_addrlen);
		address->bytes = found->ai_addrlen;
	}
	freeaddrinfo(found);
	return address->bytes != 0;
}

/* ---- Opening and closing --------------------------------------------------------------------------------------------- */

static int left_ms(int64_t deadline_ns)
{
	int64_t left_ns = deadline_ns - wire_now_ns();

	if (left_ns <= 0)
		return 0;
	return left_ns > 60000000000 ? 60000 : (int)((left_ns + 999999) / 1000000);
}

/* Polls until something happens or the deadline passes. */
static enum wire_fault poll_until(struct pollfd *fds, nfds_t count, int64_t deadline_ns)
{
	for (;;) {
		int ms = left_ms(deadline_ns);
		int ready = poll(fds, count, ms);
		if (ready > 0)
			return WIRE_FINE;
		if (ready < 0 && errno != EINTR)
			return WIRE_MEMORY;
		if (!ms)
			return WIRE_LATE;
	}
}

/* Why there is no connection. */
static enum wire_fault fault_of_connect(int problem)
{
	switch (problem) {
	case ENOENT: case ENOTDIR: return WIRE_ABSENT;
	case EACCES: case EPERM: return WIRE_DENIED;
	case EHOSTUNREACH: case ENETUNREACH: case ENETDOWN: case EADDRNOTAVAIL: return WIRE_NO_WAY;
	case ETIMEDOUT: return WIRE_LATE;
	default: return WIRE_REFUSED;
	}
}

static enum wire_fault finish_connect(int fd, int64_t deadline_ns)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	int problem = 0;
	socklen_t size = sizeof problem;
	enum wire_fault fault = poll_until(&wait, 1, deadline_ns);

	if (fault)
		return fault;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) < 0)
		return WIRE_REFUSED;
	return problem ? fault_of_connect(problem) : WIRE_FINE;
}

static enum wire_fault connect_to(int fd, const struct wire_address *address, int64_t deadline_ns)
{
	const int yes = 1;

	if (address->socket.ss_family != AF_UNIX) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
	}
	if (!connect(fd, (const struct sockaddr *)&address->socket, address->bytes))
		return WIRE_FINE;
	return errno == EINPROGRESS || errno == EINTR ? finish_connect(fd, deadline_ns) : fault_of_connect(errno);
}

#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

/* As hiredis makes arrays, but for sizes that nobody means. */
static void *bounded_array(const redisReadTask *task, element_count count)
{
	struct wire *wire = task->privdata;

	if (count <= ELEMENTS_MAX)
		return wire->usual->createArray(task, count);
	wire->absurd = true;
	return NULL;
}

static bool make_reader(struct wire *wire)
{
	wire->reader = redisReaderCreate();
	if (!wire->reader)
		return false;
	wire->usual = wire->reader->fn;
	wire->functions = *wire->usual;
	wire->functions.createArray = bounded_array;
	wire->reader->fn = &wire->functions;
	wire->reader->privdata = wire;
	return true;
}

void wire_clear(struct wire *wire)
{
	*wire = (struct wire){ .fd = -1 };
}

enum wire_fault wire_open(struct wire *wire, const struct wire_address *address, int64_t deadline_ns)
{
	if (!address->bytes)
		return WIRE_UNNAMED;
	if (!make_reader(wire))
		return WIRE_MEMORY;
	wire->sent = wire->sealed = wire->filled = 0;
	wire->fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	enum wire_fault fault = wire->fd < 0 ? WIRE_MEMORY : connect_to(wire->fd, address, deadline_ns);
	if (fault)
		wire_close(wire);
	return fault;
}

void wire_abandon(struct wire *wire)
{
	int fd = wire->fd;

	wire->fd = -1; /* before it is closed: a fork between the two must not leave a number that may be another's by then */
	if (fd >= 0)
		(void)close(fd);
}

void wire_close(struct wire *wire)
{
	wire_abandon(wire);
	if (wire->reader)
		redisReaderFree(wire->reader);
	tls_free(wire->tls);
	free(wire->out);
	wire_clear(wire);
}

/* ---- Bytes ----------------------------------------------------------------------------------------------------------- */

static bool make_room(struct wire *wire, size_t bytes)
{
	if (wire->sent == wire->filled)
		wire->sent = wire->sealed = wire->filled = 0;
	if (wire->room - wire->filled >= bytes)
		return true;
	size_t room = 2 * wire->room + bytes;
	char *out = realloc(wire->out, room);
	if (!out)
		return false;
	wire->out = out;
	wire->room = room;
	return true;
}

enum wire_fault wire_append(struct wire *wire, int argc, const char **argv, const size_t *lengths)
{
	char *text = NULL;
	int bytes = redisFormatCommandArgv(&text, argc, argv, lengths);

	if (bytes < 0)
		return WIRE_MEMORY;
	bool fits = make_room(wire, (size_t)bytes);
	if (fits) {
		memcpy(wire->out + wire->filled, text, (size_t)bytes);
		wire->filled += (size_t)bytes;
	}
	redisFreeCommand(text);
	return fits ? WIRE_FINE : WIRE_MEMORY;
}

static enum wire_fault fault_of_errno(void)
{
	return errno == EAGAIN || errno == EINTR ? WIRE_FINE : errno == ENOMEM || errno == ENOBUFS ? WIRE_MEMORY : WIRE_ENDED;
}

/* What TLS has to say of its own accord, and what was sealed, goes behind what is already sealed. */
static enum wire_fault collect(struct wire *wire)
{
	size_t pending = tls_pending(wire->tls);

	if (!make_room(wire, pending))
		return WIRE_MEMORY;
	wire->filled += tls_to_send(wire->tls, wire->out + wire->filled, pending);
	wire->sealed = wire->filled;
	return WIRE_FINE;
}

static enum wire_fault seal(struct wire *wire)
{
	if (wire->greeted && wire->sealed < wire->filled) {
		if (!tls_seal(wire->tls, wire->out + wire->sealed, wire->filled - wire->sealed))
			return WIRE_GARBAGE;
		wire->filled = wire->sealed;
	}
	return tls_pending(wire->tls) ? collect(wire) : WIRE_FINE;
}

static enum wire_fault send_some(struct wire *wire)
{
	enum wire_fault fault = wire->tls ? seal(wire) : WIRE_FINE;

	if (fault)
		return fault;
	ssize_t n = send(wire->fd, wire->out + wire->sent, wire->filled - wire->sent, MSG_NOSIGNAL);
	if (n < 0)
		return fault_of_errno();
	wire->sent += (size_t)n;
	if (wire->sent == wire->filled && wire->room > OUTPUT_KEEP_BYTES) {
		free(wire->out);
		wire->out = NULL;
		wire->sent = wire->sealed = wire->filled = wire->room = 0;
	}
	return WIRE_FINE;
}

/* What TLS makes of what came. */
static enum wire_fault unseal(struct wire *wire)
{
	char plain[INPUT_BYTES];
	int count;

	while ((count = tls_open(wire->tls, plain, sizeof plain)) > 0)
		if (redisReaderFeed(wire->reader, plain, (size_t)count) != REDIS_OK)
			return WIRE_MEMORY;
	return count < 0 ? WIRE_ENDED : WIRE_FINE;
}

static bool take_bytes(struct wire *wire, const char *bytes, size_t count)
{
	return wire->tls ? tls_received(wire->tls, bytes, count) : redisReaderFeed(wire->reader, bytes, count) == REDIS_OK;
}

static enum wire_fault receive_some(struct wire *wire)
{
	char input[INPUT_BYTES];

	for (unsigned i = 0; i < READS_MAX; i++) {
		ssize_t n = recv(wire->fd, input, sizeof input, 0);
		if (n < 0)
			return fault_of_errno();
		if (!n)
			return WIRE_ENDED;
		if (!take_bytes(wire, input, (size_t)n))
			return WIRE_MEMORY;
		if ((size_t)n < sizeof input)
			break;
	}
	return wire->greeted ? unseal(wire) : WIRE_FINE;
}

static short wire_events(const struct wire *wire)
{
	return wire->sent < wire->filled ? POLLIN | POLLOUT : POLLIN;
}

enum wire_fault wire_move(struct wire *wire, short events)
{
	enum wire_fault fault = WIRE_FINE;

	if ((events & POLLOUT) && wire->sent < wire->filled)
		fault = send_some(wire);
	if (!fault && (events & (POLLIN | POLLHUP | POLLERR)))
		fault = receive_some(wire);
	return fault;
}

enum wire_fault wire_wait(struct wire *const *wires, size_t count, enum wire_fault *faults, int64_t deadline_ns)
{
	struct pollfd fds[WIRES_MAX];

	for (size_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){ .fd = wires[i]->fd, .events = wire_events(wires[i]) };
	enum wire_fault fault = poll_until(fds, (nfds_t)count, deadline_ns);
	for (size_t i = 0; i < count && !fault; i++)
		faults[i] = fds[i].revents ? wire_move(wires[i], fds[i].revents) : WIRE_FINE;
	return fault;
}

/* ---- TLS ------------------------------------------------------------------------------------------------------------- */

/* One step of the handshake: *over once there is nothing more to say or to hear. */
static enum wire_fault handshake_step(struct wire *wire, int64_t deadline_ns, bool *over)
{
	enum tls_step step = tls_greet(wire->tls);
	struct pollfd wait = { .fd = wire->fd, .events = POLLIN };
	enum wire_fault fault = send_some(wire);

	if (step == TLS_FAILED)
		return WIRE_UNTRUSTED;
	*over = step == TLS_DONE && wire->sent == wire->filled;
	if (fault || *over)
		return fault;
	wait.events = wire->sent < wire->filled ? POLLOUT : POLLIN;
	fault = poll_until(&wait, 1, deadline_ns);
	return fault || !(wait.revents & (POLLIN | POLLHUP | POLLERR)) ? fault : receive_some(wire);
}

enum wire_fault wire_secure(struct wire *wire, const struct tls_context *context, const char *host, int64_t deadline_ns,
		char why[WIRE_WHY_BYTES])
{
	enum wire_fault fault = WIRE_FINE;

	why[0] = '\0';
	wire->tls = tls_make(context, host);
	if (!wire->tls)
		fault = WIRE_MEMORY;
	for (bool over = false; !fault && !over;)
		fault = handshake_step(wire, deadline_ns, &over);
	if (fault == WIRE_UNTRUSTED)
		tls_why(wire->tls, why, WIRE_WHY_BYTES);
	wire->greeted = !fault;
	if (fault)
		wire_close(wire);
	return fault;
}

/* ---- Replies --------------------------------------------------------------------------------------------------------- */

enum wire_fault wire_take(struct wire *wire, redisReply **reply)
{
	void *taken = NULL;

	*reply = NULL;
	if (redisReaderGetReply(wire->reader, &taken) != REDIS_OK)
		return wire->reader->err == REDIS_ERR_OOM && !wire->absurd ? WIRE_MEMORY : WIRE_GARBAGE;
	*reply = taken;
	return WIRE_FINE;
}

enum wire_fault wire_reply(struct wire *wire, int64_t deadline_ns, redisReply **reply)
{
	enum wire_fault fault = wire_take(wire, reply);
	bool last = false; /* one look after the deadline: what came while we were not running has come in time */

	if (!fault && !*reply && wire->sent < wire->filled)
		fault = wire_move(wire, POLLOUT);
	while (!fault && !*reply) {
		enum wire_fault moved = WIRE_FINE;
		if (last)
			return WIRE_LATE;
		last = wire_now_ns() >= deadline_ns;
		fault = wire_wait(&wire, 1, &moved, deadline_ns);
		if (!fault && !moved)
			fault = wire_take(wire, reply);
		else if (!fault)
			fault = moved;
	}
	return fault;
}

bool wire_is_quiet(struct wire *wire)
{
	char byte;

	if (wire->fd < 0 || wire->sent < wire->filled || wire->reader->pos < wire->reader->len)
		return false;
	return recv(wire->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR);
}

const char *wire_fault_text(enum wire_fault fault)
{
	static const char *const texts[WIRE_FAULTS] = { "no fault", "timed out", "connection refused",
		"connection closed by the server", "answer is not Redis protocol", "out of memory or descriptors", "TLS failed",
		"there is no such socket", "permission to connect denied", "no route to the host", "name not found" };

	return fault < WIRE_FAULTS ? texts[fault] : "unknown";
}
