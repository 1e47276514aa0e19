/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a Redis is, as a URL says it:
 *
 *     redis://[[user]:password@]host[:port][/db]         rediss:// the same over TLS
 *     unix://[[user]:password@]/path[?db=n]              redis+cluster://[[user]:password@]host[:port][,host[:port] ...]
 *
 * Users, passwords, hosts and paths are percent-decoded.  A host is a name, an IPv4 address or [an IPv6 address].
 */
#ifndef LARDER_REDIS_URL_H
#define LARDER_REDIS_URL_H

#include <larder.h>

#define REDIS_PORT 6379u
#define REDIS_SEEDS_MAX 32u

struct redis_address {
	char host[256]; /* or the path of a UNIX socket, then port is 0 */
	uint16_t port;
};

struct redis_url {
	struct redis_address seeds[REDIS_SEEDS_MAX];
	unsigned seed_count;
	char user[128], password[512]; /* "" for none */
	int database;
	bool tls, cluster;
};

/* LARDER_OK, or LARDER_INVALID with a message that says what is wrong, where, and how it is written. */
enum larder_status url_parse(const char *text, struct redis_url *url);

/* For people: host:port or the path. */
void url_show(const struct redis_address *address, char *text, size_t room);

#endif
