/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One interface to everything that is measured: larder, the physical limit, and the caches of others.
 *
 * Each peer lives in a process of its own (crew.h), the host, which calls create() once; every worker of it (the host
 * itself, and as many more processes or threads as the peer's scope allows) calls join() once and then works through
 * the seat it got.  Keys have one length and values one length for the whole life of a peer (struct shape), so that no
 * peer is charged for an interface wider than the question.  All calls but sweep() run in the peer's own processes.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who can work on it at once. */
enum peer_scope {
	PEER_PRIVATE, /* one thread */
	PEER_THREADS, /* threads of one process */
	PEER_PROCESSES
};

struct shape {
	uint64_t keys;           /* entries that must fit */
	unsigned key_bytes;
	unsigned value_bytes;
	unsigned workers;        /* the most that will ever join */
	uint64_t capacity_bytes; /* of the whole cache, where the question prescribes it; 0: enough for all keys */
	bool huge;               /* ask for huge pages */
};

struct peer {
	const struct peer_kind *kind;
	struct shape shape;
	char name[64];     /* of this instance, unique on the host: for files, segments, sockets */
	void *state;       /* the kind's own, private to the host and copied by fork to its workers */
	char trouble[160]; /* why the last call failed */
};

struct peer_kind {
	const char *name;
	const char *text;
	enum peer_scope scope;
	bool one_writer;     /* with several workers it can only be read */
	bool server;         /* most of its work is done by another process */
	const void *variant; /* for classes that share their calls */

	int (*create)(struct peer *peer);
	int (*join)(struct peer *peer, void **seat);

	/* The length of the value, or -1 for a miss. */
	int (*get)(void *seat, const uint8_t *key, uint8_t *value);
	/* 0, or -1 if it was not stored. */
	int (*set)(void *seat, const uint8_t *key, const uint8_t *value);

	/* The rest may be NULL. */
	/* Keys and values lie one after the other; answers how many were found. */
	unsigned (*mget)(void *seat, const uint8_t *keys, unsigned count, uint8_t *values);
	/* Adds 1; *sum is the counter then. */
	int (*incr)(void *seat, const uint8_t *key, int64_t *sum);
	/* Sets keys number first .. first + count - 1, in whatever bulk way it has. */
	int (*load)(void *seat, uint64_t first, uint64_t count);
	/* Called between bursts and within them every so often: quiescent states. */
	void (*rest)(void *seat);
	/* Bytes that its entries take, index and all; in the host, after loading. */
	uint64_t (*memory)(struct peer *peer);
	void (*leave)(void *seat);
	void (*destroy)(struct peer *peer);
	/* Called by the parent when all processes of the peer are gone, however they went: removes names they left. */
	void (*sweep)(const struct peer *peer);
};

/* NULL-terminated; what this build has.  Larder is first among all but the limit. */
extern const struct peer_kind *const peers_all[];
/* Peers that this build lacks, as words for the report. */
extern const char *const peers_missing;

const struct peer_kind *peer_find(const char *name);
/* Whether a comma-separated list, NULL for "all", names this peer. */
bool peer_wanted(const char *list, const char *name);

int peer_fail(struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The value of key number n, for loaders. */
struct peer_pair {
	uint8_t *key, *value;
};
int pair_new(struct peer_pair *pair, const struct shape *shape);
void pair_make(struct peer_pair *pair, const struct shape *shape, uint64_t number);
void pair_free(struct peer_pair *pair);

/* Helpers for peers that are servers of their own (server.c): start a program with its socket in a fresh directory,
 * which ends with this process, and wait until the socket is there. */
struct peer_server {
	int pid;
	char directory[128];
	char socket[160];
};
int server_start(struct peer *peer, struct peer_server *server, const char *program, char *const arguments[]);
void server_stop(struct peer_server *server);
void server_path(const struct peer *peer, struct peer_server *server);
void server_sweep(const struct peer *peer);
uint64_t server_resident_bytes(const struct peer_server *server);

extern const struct peer_kind peer_limit, peer_table, peer_larder, peer_larder_plain, peer_larder_ttl, peer_rculfhash,
		peer_ck, peer_lmdb, peer_boost, peer_memcached, peer_redis;

#endif
