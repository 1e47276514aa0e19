/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder import, Redis: SCAN, and for each key PTTL and GET in one MULTI, so that value and time to live belong
 * together; a batch of keys is under way at a time.  Keys that are no strings are skipped.  A node of a cluster shows
 * its own keys: import from each master.
 *
 * SCAN shows a key that stays at least once, and some twice; what comes and goes meanwhile may be missed.
 */
#define _GNU_SOURCE
#include "import.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BATCH "256"
#define REPLIES_PER_KEY 4 /* MULTI, PTTL, GET, EXEC */

struct source {
	struct import *import;
	struct import_url url;
	redisContext *redis;
};

static int complain_redis(const struct source *source)
{
	const redisContext *redis = source->redis;

	complain("%s: %s", source->import->source, !redis ? "no memory for a connection" :
			redis->err == REDIS_ERR_IO ? strerror(errno) : redis->errstr);
	return TOOL_FAILED;
}

/* An answer that has to be there, or NULL with the complaint made. */
static redisReply *answer(const struct source *source, void *reply, const char *what)
{
	redisReply *got = reply;

	if (!got) {
		complain_redis(source);
		return NULL;
	}
	if (got->type != REDIS_REPLY_ERROR)
		return got;
	complain("%s: %s: %s", source->import->source, what, got->str);
	freeReplyObject(got);
	return NULL;
}

static bool connected(struct source *source)
{
	const struct import_url *url = &source->url;
	struct timeval limit = { source->import->timeout_ms / 1000, source->import->timeout_ms % 1000 * 1000 };

	source->redis = url->socket ? redisConnectUnixWithTimeout(url->socket, limit) :
			redisConnectWithTimeout(url->host, atoi(url->port), limit);
	if (source->redis && !source->redis->err && redisSetTimeout(source->redis, limit) == REDIS_OK)
		return true;
	complain_redis(source);
	return false;
}

/* Says who we are and which database is meant. */
static bool introduced(struct source *source)
{
	const struct import_url *url = &source->url;
	const char *password = url->password ? url->password : getenv("REDISCLI_AUTH");
	redisReply *reply;

	if (password) {
		reply = url->user ? redisCommand(source->redis, "AUTH %s %s", url->user, password) :
				redisCommand(source->redis, "AUTH %s", password);
		if (!(reply = answer(source, reply, "AUTH")))
			return false;
		freeReplyObject(reply);
	}
	if (!url->db)
		return true;
	reply = answer(source, redisCommand(source->redis, "SELECT %u", url->db), "SELECT");
	if (!reply)
		return false;
	freeReplyObject(reply);
	return true;
}

/* ---- One key ---- */

/* What EXEC answered for a key: [time to live, value]. */
static bool import_pair(struct import *import, const redisReply *key, const redisReply *pair)
{
	const redisReply *ttl = pair->element[0], *value = pair->element[1];
	struct import_item item = {
		.key = { (const unsigned char *)key->str, key->len },
		.value = { (const unsigned char *)value->str, value->len },
		.ttl_ms = ttl->integer > 0 ? ttl->integer : LARDER_TTL_NONE,
	};

	if (value->type != REDIS_REPLY_STRING || ttl->type != REDIS_REPLY_INTEGER ||
			(ttl->integer < 0 && ttl->integer != -1)) {
		import_skip(import); /* of another type, or gone */
		return true;
	}
	if (!ttl->integer) { /* it has less than a millisecond */
		import->found++;
		import->expired++;
		return true;
	}
	return import_item(import, &item);
}

/* Reads the answers to one key's commands.  False: stop; *code says why if it is not the sink's doing. */
static bool read_key(struct source *source, const redisReply *key, int *code)
{
	bool go_on = true;

	for (int i = 0; i < REPLIES_PER_KEY; i++) {
		void *reply = NULL;
		if (redisGetReply(source->redis, &reply) != REDIS_OK) {
			*code = complain_redis(source);
			return false;
		}
		redisReply *got = reply;
		bool pair = i == REPLIES_PER_KEY - 1 && got->type == REDIS_REPLY_ARRAY && got->elements == 2;
		if (pair && go_on)
			go_on = import_pair(source->import, key, got);
		else if (i == REPLIES_PER_KEY - 1 && !pair) {
			char where[80];
			snprintf(where, sizeof where, "key %.60s", key->str);
			import_bad(source->import, where, "%s",
					got->type == REDIS_REPLY_ERROR ? got->str : "not what EXEC answers");
		}
		freeReplyObject(got);
	}
	return go_on;
}

/* All keys are asked for before the first answer is read. */
static bool import_keys(struct source *source, const redisReply *keys, int *code)
{
	bool go_on = true;

	for (size_t i = 0; i < keys->elements; i++) {
		const redisReply *key = keys->element[i];
		redisAppendCommand(source->redis, "MULTI");
		redisAppendCommand(source->redis, "PTTL %b", key->str, key->len);
		redisAppendCommand(source->redis, "GET %b", key->str, key->len);
		redisAppendCommand(source->redis, "EXEC");
	}
	for (size_t i = 0; i < keys->elements && go_on; i++)
		go_on = read_key(source, keys->element[i], code);
	return go_on;
}

/* ---- All keys ---- */

static redisReply *scan(struct source *source, const char *cursor)
{
	const char *match = source->import->match;
	redisReply *reply = match ? redisCommand(source->redis, "SCAN %s COUNT " BATCH " MATCH %s", cursor, match) :
			redisCommand(source->redis, "SCAN %s COUNT " BATCH, cursor);

	reply = answer(source, reply, "SCAN");
	if (!reply ||
			(reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
					reply->element[0]->type == REDIS_REPLY_STRING &&
					reply->element[0]->len < TEXT_MAX &&
					reply->element[1]->type == REDIS_REPLY_ARRAY))
		return reply;
	complain("%s: this is not what SCAN answers; is it a Redis server?", source->import->source);
	freeReplyObject(reply);
	return NULL;
}

static int import_all(struct source *source)
{
	char cursor[TEXT_MAX] = "0";
	int code = TOOL_OK;
	bool go_on = true;

	do {
		redisReply *reply = scan(source, cursor);
		if (!reply)
			return TOOL_FAILED;
		snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
		go_on = import_keys(source, reply->element[1], &code);
		freeReplyObject(reply);
	} while (go_on && strcmp(cursor, "0"));
	return code;
}

int import_redis(struct import *import)
{
	struct source source = { .import = import };

	import_url_open(&source.url, import->source, "6379");
	int code = connected(&source) && introduced(&source) ? import_all(&source) : TOOL_FAILED;
	redisFree(source.redis);
	import_url_close(&source.url);
	return code;
}
