/* SPDX-License-Identifier: BSD-2-Clause */
/* What a server's answers mean, see reply.h. */
#include "redis/reply.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"

struct meaning {
	const char *begins;
	enum larder_status status;
};
static const struct meaning meanings[] = {
	{ "OOM ", LARDER_NO_ROOM },
	{ "READONLY ", LARDER_READ_ONLY },
	{ "WRONGTYPE ", LARDER_MISMATCH },
	{ "LOADING ", LARDER_UNREACHABLE },
	{ "MASTERDOWN ", LARDER_UNREACHABLE },
	{ "CLUSTERDOWN ", LARDER_UNREACHABLE },
	{ "TRYAGAIN ", LARDER_UNREACHABLE },
	{ "NOREPLICAS ", LARDER_UNREACHABLE },
	{ "BUSY ", LARDER_UNREACHABLE },
	{ "MOVED ", LARDER_UNREACHABLE },
	{ "ASK ", LARDER_UNREACHABLE },
	{ "ERR max number of clients", LARDER_UNREACHABLE },
	{ "ERR value is not an integer", LARDER_NOT_NUMBER },
	{ "ERR increment or decrement would overflow", LARDER_RANGE },
};

bool reply_is_error(const redisReply *reply, const char *word)
{
	return reply && reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, word, strlen(word));
}

bool reply_is_text(const redisReply *reply)
{
	return reply && (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS);
}

bool reply_number(const redisReply *reply, int64_t *number)
{
	char *end;

	if (reply && reply->type == REDIS_REPLY_INTEGER) {
		*number = reply->integer;
		return true;
	}
	if (!reply_is_text(reply) || !reply->len || isspace((unsigned char)*reply->str))
		return false;
	errno = 0;
	*number = strtoll(reply->str, &end, 10);
	return !errno && end == reply->str + reply->len;
}

/* Up to 160 characters of an error, for messages: nothing that a terminal would obey. */
static void quote(const redisReply *reply, char quoted[161])
{
	size_t length = 0;

	for (; length < reply->len && length < 160; length++)
		quoted[length] = isprint((unsigned char)reply->str[length]) ? reply->str[length] : '?';
	quoted[length] = '\0';
}

enum larder_status reply_status(const redisReply *reply, const char *server)
{
	char quoted[161];

	if (reply->type != REDIS_REPLY_ERROR)
		return LARDER_OK;
	quote(reply, quoted);
	message_set("redis at %s answered: %s", server, quoted);
	for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
		if (reply_is_error(reply, meanings[i].begins))
			return meanings[i].status;
	return LARDER_REFUSED;
}

enum larder_status reply_unexpected(const redisReply *reply, const char *command)
{
	message_set("redis: unexpected answer to %s (type %d); is there a Redis at the other end?", command,
			reply ? reply->type : 0);
	return LARDER_UNREACHABLE;
}
