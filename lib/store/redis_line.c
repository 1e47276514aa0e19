/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hearing of changes in a Redis: CLIENT TRACKING in broadcasting mode, redirected from one connection to another (RESP2, which every
 * server since 6.0 speaks).  The EAR is subscribed to __redis__:invalidate; the VOICE has tracking on, for the keys with the
 * store's prefix.
 *
 * Either connection can end without the other, and tracking with either: so both are asked, and the voice is asked whether tracking is
 * on.  Answers come behind the reports of what was done before: when both have answered, all of that was heard.  Whatever is
 * unexpected ends the line; a new one begins from nothing (tracking never survives a connection).
 *
 * NOLOOP keeps back what the voice itself changes, which is nothing: writes go over connections of their own, in every process,
 * and are reported like anybody's.  A report can stand for several changes of a key by several clients, so no report can be
 * taken for an echo of our own write: the key is removed and fetched again.
 */
#include "store/redis_line.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "store/kinds.h"
#include "store/redis.h"
#include "store/redis_reply.h"

#define CHANNEL "__redis__:invalidate"

struct redis_line {
	struct redis *redis;
	struct wire ear, voice;
	int epoll; /* readable when either is */
	bool ear_answered, voice_answered;
};

/* ---- Words -------------------------------------------------------------------------------------------------------------- */

static enum wire_fault say(struct wire *wire, const char *const *words, int count)
{
	const char *argv[8];
	size_t lengths[8];

	for (int i = 0; i < count; i++) {
		argv[i] = words[i];
		lengths[i] = strlen(words[i]);
	}
	return wire_append(wire, count, argv, lengths);
}
#define SAY(wire, ...) \
	say(wire, (const char *const[]){ __VA_ARGS__ }, (int)(sizeof (const char *const[]){ __VA_ARGS__ } / sizeof(const char *)))

static enum larder_status unheard(const char *what, enum wire_fault fault)
{
	larder_store_message("store kind tiered: listening to redis: %s: %s", what, wire_fault_text(fault));
	return LARDER_UNREACHABLE;
}

/* Sends and takes one reply; an error reply is a failure. */
static enum larder_status ask_now(struct wire *wire, const char *what, enum wire_fault fault, int64_t deadline_ns, redisReply **reply)
{
	if (!fault)
		fault = wire_reply(wire, deadline_ns, reply);
	if (fault)
		return unheard(what, fault);
	enum larder_status status = reply_status(*reply, what);
	if (status)
		freeReplyObject(*reply);
	return status;
}

static bool word_is(const redisReply *reply, const char *word)
{
	return reply_is_text(reply) && (size_t)reply->len == strlen(word) && !memcmp(reply->str, word, (size_t)reply->len);
}

/* ---- Opening --------------------------------------------------------------------------------------------------------------- */

static enum larder_status subscribe(struct redis_line *line, int64_t deadline_ns, char id[24])
{
	redisReply *reply;
	int64_t number = 0;
	enum larder_status status = ask_now(&line->ear, "CLIENT ID", SAY(&line->ear, "CLIENT", "ID"), deadline_ns, &reply);

	if (status)
		return status;
	bool good = reply_number(reply, &number);
	status = good ? LARDER_OK : reply_unexpected(reply, "CLIENT ID");
	freeReplyObject(reply);
	snprintf(id, 24, "%lld", (long long)number);
	if (status)
		return status;
	status = ask_now(&line->ear, "SUBSCRIBE", SAY(&line->ear, "SUBSCRIBE", CHANNEL), deadline_ns, &reply);
	if (!status)
		freeReplyObject(reply);
	return status;
}

static enum larder_status track(struct redis_line *line, const char *id, int64_t deadline_ns)
{
	const char *prefix = redis_prefix(line->redis);
	redisReply *reply;
	const char *words[] = { "CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST", "NOLOOP", "PREFIX", prefix };
	size_t lengths[9];
	int count = *prefix ? 9 : 7;

	for (int i = 0; i < count; i++)
		lengths[i] = strlen(words[i]);
	enum larder_status status = ask_now(&line->voice, "CLIENT TRACKING", wire_append(&line->voice, count, words, lengths), deadline_ns,
			&reply);
	if (!status)
		freeReplyObject(reply);
	return status;
}

static bool watch(struct redis_line *line)
{
	struct epoll_event event = { .events = EPOLLIN };

	line->epoll = epoll_create1(EPOLL_CLOEXEC);
	return line->epoll >= 0 && !epoll_ctl(line->epoll, EPOLL_CTL_ADD, line->ear.fd, &event)
			&& !epoll_ctl(line->epoll, EPOLL_CTL_ADD, line->voice.fd, &event);
}

static void redis_line_close(void *self)
{
	struct redis_line *line = self;

	wire_close(&line->ear);
	wire_close(&line->voice);
	if (line->epoll >= 0)
		(void)close(line->epoll);
	free(line);
}

/* In a forked child: the parent's connections end here alone. */
static void redis_line_abandon(void *self)
{
	struct redis_line *line = self;

	wire_abandon(&line->ear);
	wire_abandon(&line->voice);
	if (line->epoll >= 0)
		(void)close(line->epoll);
}

static enum larder_status redis_line_open(struct larder_store *far, int64_t timeout_ms, void **self)
{
	struct redis_line *line = calloc(1, sizeof *line);
	int64_t deadline = wire_now_ns() + timeout_ms * 1000000;
	char id[24];

	if (!line)
		return LARDER_NO_MEMORY;
	line->redis = redis_of(far);
	line->epoll = -1;
	wire_clear(&line->ear);
	wire_clear(&line->voice);
	enum larder_status status = redis_dial(line->redis, 0, &line->ear, deadline);
	if (!status)
		status = redis_dial(line->redis, 0, &line->voice, deadline);
	if (!status)
		status = subscribe(line, deadline, id);
	if (!status)
		status = track(line, id, deadline);
	if (!status && !watch(line))
		status = LARDER_SYSTEM;
	if (status)
		redis_line_close(line);
	else
		*self = line;
	return status;
}

static int redis_line_descriptor(void *self) { return ((struct redis_line *)self)->epoll; }

/* ---- Hearing ---------------------------------------------------------------------------------------------------------------- */

static enum larder_status redis_line_ask(void *self)
{
	struct redis_line *line = self;

	line->ear_answered = line->voice_answered = false;
	enum wire_fault fault = SAY(&line->ear, "PING");
	if (!fault)
		fault = SAY(&line->voice, "CLIENT", "TRACKINGINFO");
	if (!fault)
		fault = wire_move(&line->ear, POLLOUT);
	if (!fault)
		fault = wire_move(&line->voice, POLLOUT);
	return fault ? unheard("PING", fault) : LARDER_OK;
}

static void hear_key(struct redis_line *line, const redisReply *key, struct tier_hearing *hearing)
{
	struct redis_place place;
	const struct larder_name *name;

	if (!reply_is_text(key) || !redis_key_parse(line->redis, key->str, (size_t)key->len, &place))
		return;
	if (place.key_bytes) {
		tier_heard_key(hearing, place.ns, place.key, place.key_bytes);
		return;
	}
	if (!larder_name(place.ns, &name))
		redis_generation_forget(line->redis, name);
	tier_heard_clear(hearing, place.ns);
}

/* What the ear receives: an answer to PING, or keys; nil for all of them. */
static bool hear_reply(struct redis_line *line, const redisReply *reply, struct tier_hearing *hearing)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2)
		return false;
	if (word_is(reply->element[0], "pong")) {
		line->ear_answered = true;
		return true;
	}
	if (!word_is(reply->element[0], "message") || reply->elements != 3)
		return false;
	const redisReply *keys = reply->element[2];
	if (keys->type == REDIS_REPLY_NIL)
		tier_heard_clear(hearing, NULL);
	for (size_t i = 0; keys->type == REDIS_REPLY_ARRAY && i < keys->elements; i++)
		hear_key(line, keys->element[i], hearing);
	return keys->type == REDIS_REPLY_NIL || keys->type == REDIS_REPLY_ARRAY;
}

/* CLIENT TRACKINGINFO: flags are the second element.  A server before 6.2 does not know it, and answers an error. */
static bool still_tracks(const redisReply *reply)
{
	bool on = false, broken = false;

	if (reply->type == REDIS_REPLY_ERROR)
		return reply_is_error(reply, "ERR ");
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 || reply->element[1]->type != REDIS_REPLY_ARRAY)
		return false;
	const redisReply *flags = reply->element[1];
	for (size_t i = 0; i < flags->elements; i++) {
		on |= word_is(flags->element[i], "bcast");
		broken |= word_is(flags->element[i], "broken_redirect");
	}
	return on && !broken;
}

static bool voice_reply(struct redis_line *line, const redisReply *reply, struct tier_hearing *hearing)
{
	(void)hearing;
	line->voice_answered = still_tracks(reply);
	return line->voice_answered;
}

static enum larder_status hear_all(struct redis_line *line, struct wire *wire, struct tier_hearing *hearing,
		bool (*understand)(struct redis_line *, const redisReply *, struct tier_hearing *))
{
	enum wire_fault fault = wire_move(wire, POLLIN | POLLOUT), ended = fault;
	redisReply *reply = NULL;

	/* What came before the end counts. */
	while ((fault = wire_take(wire, &reply)) == WIRE_FINE && reply) {
		bool good = understand(line, reply, hearing);
		freeReplyObject(reply);
		if (!good)
			return unheard("an answer that does not belong there", WIRE_GARBAGE);
	}
	return fault || ended ? unheard("connection", fault ? fault : ended) : LARDER_OK;
}

static enum larder_status redis_line_hear(void *self, struct tier_hearing *hearing)
{
	struct redis_line *line = self;
	enum larder_status status = hear_all(line, &line->ear, hearing, hear_reply);

	if (!status)
		status = hear_all(line, &line->voice, hearing, voice_reply);
	hearing->confirmed = !status && line->ear_answered && line->voice_answered;
	return status;
}

/* ---- The kind ----------------------------------------------------------------------------------------------------------------- */

static void redis_line_identity(const struct larder_store *far, char *text, size_t room)
{
	const struct redis *redis = redis_of(far);
	const struct redis_options *options = redis_options_of(redis);
	char address[300];

	url_show(&options->url.seeds[0], address, sizeof address);
	snprintf(text, room, "redis %s %s", address, redis_prefix(redis));
}

static void redis_line_share(struct larder_store *far, struct larder_store *near) { (void)redis_share(redis_of(far), near); }

static const char *redis_line_refuses(const struct larder_store *far)
{
	return redis_options_of(redis_of(far))->url.cluster
			? "listener: a cluster has no one line that reports changes; use listener = no, and near-ttl to bound how old a value can be" : NULL;
}

const struct tier_line_kind redis_line_kind = { .far = &store_redis, .identity = redis_line_identity, .share = redis_line_share,
	.refuses = redis_line_refuses, .open = redis_line_open, .close = redis_line_close, .abandon = redis_line_abandon,
	.descriptor = redis_line_descriptor, .ask = redis_line_ask, .hear = redis_line_hear };
