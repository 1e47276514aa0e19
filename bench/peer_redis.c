/* SPDX-License-Identifier: BSD-2-Clause */
/* Redis over a UNIX socket, through hiredis; batches and loading by pipelining.  No persistence. */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

#define PIPELINE 512u

struct redis {
	struct peer_server server;
	uint64_t resident_before;
};

struct seat {
	redisContext *client;
	struct shape shape;
};

static int redis_create(struct peer *peer)
{
	struct redis *state = calloc(1, sizeof *state);
	char *arguments[] = { "redis-server", "--port", "0", "--unixsocket", state ? state->server.socket : NULL,
			"--save", "",
		"--appendonly", "no", "--dir", state ? state->server.directory : NULL, NULL };

	if (!state)
		return peer_fail(peer, "out of memory");
	peer->state = state;
	server_path(peer, &state->server);
	if (server_start(peer, &state->server, "redis-server", arguments) < 0)
		return -1;
	state->resident_before = server_resident_bytes(&state->server);
	return 0;
}

static int redis_join(struct peer *peer, void **seat_at)
{
	const struct redis *state = peer->state;
	struct seat *seat = calloc(1, sizeof *seat);

	if (!seat)
		return peer_fail(peer, "out of memory");
	seat->shape = peer->shape;
	seat->client = redisConnectUnix(state->server.socket);
	*seat_at = seat;
	if (!seat->client || seat->client->err)
		return peer_fail(peer, "cannot connect: %s", seat->client ? seat->client->errstr : "out of memory");
	return 0;
}

static void append_get(struct seat *seat, const uint8_t *key)
{
	const char *words[] = { "GET", (const char *)key };
	const size_t lengths[] = { 3, seat->shape.key_bytes };

	redisAppendCommandArgv(seat->client, 2, words, lengths);
}

static void append_set(struct seat *seat, const uint8_t *key, const uint8_t *value)
{
	const char *words[] = { "SET", (const char *)key, (const char *)value };
	const size_t lengths[] = { 3, seat->shape.key_bytes, seat->shape.value_bytes };

	redisAppendCommandArgv(seat->client, 3, words, lengths);
}

static redisReply *next_reply(struct seat *seat)
{
	void *reply = NULL;

	return redisGetReply(seat->client, &reply) == REDIS_OK ? reply : NULL;
}

static int take_value(struct seat *seat, uint8_t *value)
{
	redisReply *reply = next_reply(seat);
	int length = -1;

	if (reply && reply->type == REDIS_REPLY_STRING) {
		length = (int)reply->len;
		memcpy(value, reply->str, reply->len < seat->shape.value_bytes ? reply->len : seat->shape.value_bytes);
	}
	freeReplyObject(reply);
	return length;
}

static int take_status(struct seat *seat)
{
	redisReply *reply = next_reply(seat);
	int result = reply && reply->type == REDIS_REPLY_STATUS ? 0 : -1;

	freeReplyObject(reply);
	return result;
}

static int redis_get(void *seat_at, const uint8_t *key, uint8_t *value)
{
	struct seat *seat = seat_at;

	append_get(seat, key);
	return take_value(seat, value);
}

static int redis_set(void *seat_at, const uint8_t *key, const uint8_t *value)
{
	struct seat *seat = seat_at;

	append_set(seat, key, value);
	return take_status(seat);
}

static unsigned redis_mget(void *seat_at, const uint8_t *keys, unsigned count, uint8_t *values)
{
	struct seat *seat = seat_at;
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++)
		append_get(seat, keys + i * seat->shape.key_bytes);
	for (unsigned i = 0; i < count; i++)
		found += take_value(seat, values + (size_t)i * seat->shape.value_bytes) >= 0;
	return found;
}

static int redis_incr(void *seat_at, const uint8_t *key, int64_t *sum)
{
	struct seat *seat = seat_at;
	const char *words[] = { "INCR", (const char *)key };
	const size_t lengths[] = { 4, seat->shape.key_bytes };
	redisReply *reply = redisCommandArgv(seat->client, 2, words, lengths);
	int result = reply && reply->type == REDIS_REPLY_INTEGER ? 0 : -1;

	if (result == 0)
		*sum = reply->integer;
	freeReplyObject(reply);
	return result;
}

static int redis_load(void *seat_at, uint64_t first, uint64_t count)
{
	struct seat *seat = seat_at;
	struct peer_pair pair;
	int result = 0;

	if (pair_new(&pair, &seat->shape) < 0)
		return -1;
	for (uint64_t n = 0; n < count && result == 0; n += PIPELINE) {
		uint64_t step = count - n < PIPELINE ? count - n : PIPELINE;

		for (uint64_t i = 0; i < step; i++) {
			pair_make(&pair, &seat->shape, first + n + i);
			append_set(seat, pair.key, pair.value);
		}
		for (uint64_t i = 0; i < step; i++)
			result |= take_status(seat);
	}
	pair_free(&pair);
	return result;
}

static uint64_t redis_memory(struct peer *peer)
{
	const struct redis *state = peer->state;

	return server_resident_bytes(&state->server) - state->resident_before;
}

static void redis_leave(void *seat_at)
{
	struct seat *seat = seat_at;

	redisFree(seat->client);
	free(seat);
}

static void redis_destroy(struct peer *peer)
{
	struct redis *state = peer->state;

	server_stop(&state->server);
	free(state);
	peer->state = NULL;
}

const struct peer_kind peer_redis = {
	.name = "redis",
	.text = "Redis over a UNIX socket",
	.scope = PEER_PROCESSES,
	.server = true,
	.create = redis_create,
	.join = redis_join,
	.get = redis_get,
	.set = redis_set,
	.mget = redis_mget,
	.incr = redis_incr,
	.load = redis_load,
	.memory = redis_memory,
	.leave = redis_leave,
	.destroy = redis_destroy,
	.sweep = server_sweep,
};
