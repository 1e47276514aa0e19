/* SPDX-License-Identifier: BSD-2-Clause */
/* memcached over a UNIX socket, through libmemcached; batches by its multi-get. */
#include <libmemcached/memcached.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peer.h"

struct memcached {
	struct peer_server server;
	uint64_t resident_before;
};

struct seat {
	memcached_st *client;
	struct shape shape;
};

static int memcached_peer_create(struct peer *peer)
{
	struct memcached *state = calloc(1, sizeof *state);
	uint64_t megabytes = peer->shape.keys * (peer->shape.key_bytes + peer->shape.value_bytes + 128) / 524288 + 128;
	char memory[32];
	char *arguments[] = { "memcached", "-s", state ? state->server.socket : NULL, "-m", memory, "-u", "root", "-t",
			"4",
		"-c", "1024", NULL };

	if (!state)
		return peer_fail(peer, "out of memory");
	peer->state = state;
	snprintf(memory, sizeof memory, "%llu", (unsigned long long)megabytes);
	if (geteuid() != 0) /* no -u */
		arguments[5] = "-a", arguments[6] = "0700";
	server_path(peer, &state->server);
	if (server_start(peer, &state->server, "memcached", arguments) < 0)
		return -1;
	state->resident_before = server_resident_bytes(&state->server);
	return 0;
}

static memcached_st *connect_to(const char *socket)
{
	memcached_st *client = memcached_create(NULL);

	if (!client)
		return NULL;
	memcached_behavior_set(client, MEMCACHED_BEHAVIOR_NO_BLOCK, 0);
	if (memcached_server_add_unix_socket(client, socket) == MEMCACHED_SUCCESS)
		return client;
	memcached_free(client);
	return NULL;
}

static int memcached_peer_join(struct peer *peer, void **seat_at)
{
	const struct memcached *state = peer->state;
	struct seat *seat = calloc(1, sizeof *seat);

	if (!seat)
		return peer_fail(peer, "out of memory");
	seat->shape = peer->shape;
	seat->client = connect_to(state->server.socket);
	*seat_at = seat;
	return seat->client ? 0 : peer_fail(peer, "cannot connect");
}

static int memcached_peer_get(void *seat_at, const uint8_t *key, uint8_t *value)
{
	struct seat *seat = seat_at;
	size_t length;
	uint32_t flags;
	memcached_return_t error;
	char *found = memcached_get(seat->client, (const char *)key, seat->shape.key_bytes, &length, &flags, &error);

	if (!found)
		return -1;
	memcpy(value, found, length < seat->shape.value_bytes ? length : seat->shape.value_bytes);
	free(found);
	return (int)length;
}

static int memcached_peer_set(void *seat_at, const uint8_t *key, const uint8_t *value)
{
	struct seat *seat = seat_at;

	return memcached_set(seat->client, (const char *)key, seat->shape.key_bytes, (const char *)value,
			seat->shape.value_bytes, 0, 0) == MEMCACHED_SUCCESS ? 0 : -1;
}

/* Answers come in the order asked for, without those that are absent. */
static unsigned memcached_peer_mget(void *seat_at, const uint8_t *keys, unsigned count, uint8_t *values)
{
	struct seat *seat = seat_at;
	const char *names[64];
	size_t lengths[64];
	memcached_result_st result, *next;
	memcached_return_t error;
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++) {
		names[i] = (const char *)keys + i * seat->shape.key_bytes;
		lengths[i] = seat->shape.key_bytes;
	}
	if (memcached_mget(seat->client, names, lengths, count) != MEMCACHED_SUCCESS)
		return 0;
	memcached_result_create(seat->client, &result);
	while ((next = memcached_fetch_result(seat->client, &result, &error)) != NULL) {
		if (found < count && memcached_result_length(next) == seat->shape.value_bytes)
			memcpy(values + (size_t)found * seat->shape.value_bytes, memcached_result_value(next),
					seat->shape.value_bytes);
		found++;
	}
	memcached_result_free(&result);
	return found;
}

static int memcached_peer_incr(void *seat_at, const uint8_t *key, int64_t *sum)
{
	struct seat *seat = seat_at;
	const char *name = (const char *)key;
	uint64_t value;

	for (unsigned i = 0; i < 100; i++) {
		if (memcached_increment(seat->client, name, seat->shape.key_bytes, 1, &value) == MEMCACHED_SUCCESS) {
			*sum = (int64_t)value;
			return 0;
		}
		memcached_add(seat->client, name, seat->shape.key_bytes, "0", 1, 0, 0);
	}
	return -1;
}

/* Sets without waiting for answers; the last one waits, and so for all before it on the same connection. */
static int memcached_peer_load(void *seat_at, uint64_t first, uint64_t count)
{
	struct seat *seat = seat_at;
	struct peer_pair pair;
	int result = 0;

	if (pair_new(&pair, &seat->shape) < 0)
		return -1;
	memcached_behavior_set(seat->client, MEMCACHED_BEHAVIOR_NOREPLY, 1);
	memcached_behavior_set(seat->client, MEMCACHED_BEHAVIOR_BUFFER_REQUESTS, 1);
	for (uint64_t n = first; n < first + count; n++) {
		pair_make(&pair, &seat->shape, n);
		memcached_set(seat->client, (const char *)pair.key, seat->shape.key_bytes, (const char *)pair.value,
				seat->shape.value_bytes, 0, 0);
	}
	memcached_flush_buffers(seat->client);
	memcached_behavior_set(seat->client, MEMCACHED_BEHAVIOR_BUFFER_REQUESTS, 0);
	memcached_behavior_set(seat->client, MEMCACHED_BEHAVIOR_NOREPLY, 0);
	result = memcached_peer_set(seat, pair.key, pair.value);
	pair_free(&pair);
	return result;
}

static uint64_t memcached_peer_memory(struct peer *peer)
{
	const struct memcached *state = peer->state;

	return server_resident_bytes(&state->server) - state->resident_before;
}

static void memcached_peer_leave(void *seat_at)
{
	struct seat *seat = seat_at;

	memcached_free(seat->client);
	free(seat);
}

static void memcached_peer_destroy(struct peer *peer)
{
	struct memcached *state = peer->state;

	server_stop(&state->server);
	free(state);
	peer->state = NULL;
}

const struct peer_kind peer_memcached = {
	.name = "memcached",
	.text = "memcached over a UNIX socket",
	.scope = PEER_PROCESSES,
	.server = true,
	.create = memcached_peer_create,
	.join = memcached_peer_join,
	.get = memcached_peer_get,
	.set = memcached_peer_set,
	.mget = memcached_peer_mget,
	.incr = memcached_peer_incr,
	.load = memcached_peer_load,
	.memory = memcached_peer_memory,
	.leave = memcached_peer_leave,
	.destroy = memcached_peer_destroy,
	.sweep = server_sweep,
};
