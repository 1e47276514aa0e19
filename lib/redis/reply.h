/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a server's answers mean in larder's statuses.  Answers are a stranger's: nothing is taken from one but what its type has.
 */
#ifndef LARDER_REDIS_REPLY_H
#define LARDER_REDIS_REPLY_H

#include <hiredis/hiredis.h>

#include <larder.h>

/* LARDER_OK for anything but an error.  An error: LARDER_NO_ROOM (OOM), LARDER_READ_ONLY, LARDER_MISMATCH (WRONGTYPE),
 * LARDER_NOT_NUMBER, LARDER_RANGE, LARDER_UNREACHABLE (LOADING, CLUSTERDOWN and others that pass), else LARDER_REFUSED; with a
 * message that quotes it and names `server`. */
enum larder_status reply_status(const redisReply *reply, const char *server);

bool reply_is_error(const redisReply *reply, const char *word);
bool reply_is_text(const redisReply *reply); /* a bulk string or a status */
/* The number of an integer reply, or of a string of digits; false if it is neither. */
bool reply_number(const redisReply *reply, int64_t *number);

/* An answer of another type than the command has: LARDER_UNREACHABLE with a message. */
enum larder_status reply_unexpected(const redisReply *reply, const char *command);

#endif
