/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hearing of changes in a Redis: CLIENT TRACKING in broadcasting mode, redirected from one connection to another (RESP2, which every
 * server since 6.0 speaks; RESP3 would do with one connection, but hiredis has it from 1.0 on only).  The EAR is subscribed to
 * __redis__:invalidate; the VOICE has tracking on, for the keys with the store's prefix.
 *
 * In a cluster each master reports what it changes itself, so there is a BRANCH, an ear and a voice, for each, those without slots
 * included: a slot on its way is written at its new master before it is that one's.  The line is whole if all branches are, and if
 * each of their nodes still knows these masters and no others.  It is asked for as often as everything else; a slot that moves
 * between masters that are heard changes nothing.
 *
 * Either connection can end without the other, and tracking with either: so both are asked, and the voice is asked whether tracking is
 * on.  Answers come behind the reports of what was done before: when both have answered, all of that was heard.  Whatever is
 * unexpected ends the line; a new one begins from nothing (tracking never survives a connection).
 *
 * NOLOOP keeps back what the voice itself changes, which is nothing: writes go over connections of their own, in every process,
 * and are reported like anybody's.  A report can stand for several changes of a key by several clients, so no report can be
 * taken for an echo of our own write: the key is removed and fetched again.
 */
#include "tier/line_redis.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "store/kinds.h"
#include "redis/redis.h"
#include "redis/reply.h"
#include "store/name.h"

#define CHANNEL "__redis__:invalidate"

#define WHOLE_MS 800          /* all of opening: the office must not be taken for silent */
#define BRANCH_MS 20          /* added to the time for opening for each */

struct branch {
	const struct redis_node *node;
	struct wire ear, voice;
	bool ear_answered;
	unsigned voice_owes; /* answers */
};

struct redis_line {
	struct redis *redis;
	int epoll; /* readable when any wire is */
	bool asked, cluster;
	uint64_t masters; /* in a cluster: bits by the nodes' numbers */
	unsigned count;
	struct branch branches[];
};

/* ---- Words -------------------------------------------------------------------------------------------------------------- */

static enum wire_fault say(struct wire *wire, const char **words, int count)
{
	size_t lengths[9]; /* of CLIENT TRACKING, the longest */

	for (int i = 0; i < count; i++)
		lengths[i] = strlen(words[i]);
	return wire_append(wire, count, words, lengths);
}
#define SAY(wire, ...) \
	say(wire, (const char *[]){ __VA_ARGS__ }, (int)(sizeof (const char *[]){ __VA_ARGS__ } / sizeof(const char *)))

static enum larder_status unheard(const struct redis_node *node, const char *what, enum wire_fault fault)
{
	larder_store_message("store kind tiered: listening to redis at %s: %s: %s", node->text, what, wire_fault_text(fault));
	return LARDER_UNREACHABLE;
}

/* Sends and takes one reply; an error reply is a failure. */
static enum larder_status ask_now(const struct redis_node *node, struct wire *wire, const char *what, enum wire_fault fault,
		int64_t deadline_ns, redisReply **reply)
{
	if (!fault)
		fault = wire_reply(wire, deadline_ns, reply);
	if (fault)
		return unheard(node, what, fault);
	enum larder_status status = reply_status(*reply, node->text);
	if (status)
		freeReplyObject(*reply);
	return status;
}

static bool word_is(const redisReply *reply, const char *word)
{
	return reply_is_text(reply) && (size_t)reply->len == strlen(word) && !memcmp(reply->str, word, (size_t)reply->len);
}

/* ---- Opening --------------------------------------------------------------------------------------------------------------- */

static enum larder_status subscribe(struct branch *branch, int64_t deadline_ns, char id[24])
{
	struct wire *ear = &branch->ear;
	redisReply *reply;
	int64_t number = 0;
	enum larder_status status = ask_now(branch->node, ear, "CLIENT ID", SAY(ear, "CLIENT", "ID"), deadline_ns, &reply);

	if (status)
		return status;
	bool good = reply_number(reply, &number);
	status = good ? LARDER_OK : reply_unexpected(reply, "CLIENT ID");
	freeReplyObject(reply);
	snprintf(id, 24, "%lld", (long long)number);
	if (status)
		return status;
	status = ask_now(branch->node, ear, "SUBSCRIBE", SAY(ear, "SUBSCRIBE", CHANNEL), deadline_ns, &reply);
	if (!status)
		freeReplyObject(reply);
	return status;
}

static enum larder_status track(const struct redis_line *line, struct branch *branch, const char *id, int64_t deadline_ns)
{
	const char *prefix = redis_prefix(line->redis);
	redisReply *reply;
	const char *words[] = { "CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST", "NOLOOP", "PREFIX", prefix };
	enum larder_status status = ask_now(branch->node, &branch->voice, "CLIENT TRACKING", say(&branch->voice, words, *prefix ? 9 : 7),
			deadline_ns, &reply);
	if (!status)
		freeReplyObject(reply);
	return status;
}

static bool watch(struct redis_line *line, const struct branch *branch)
{
	struct epoll_event event = { .events = EPOLLIN };

	return !epoll_ctl(line->epoll, EPOLL_CTL_ADD, branch->ear.fd, &event)
			&& !epoll_ctl(line->epoll, EPOLL_CTL_ADD, branch->voice.fd, &event);
}

static enum larder_status branch_open(struct redis_line *line, struct branch *branch, unsigned number, int64_t deadline_ns)
{
	char id[24];

	branch->node = slots_node(redis_slots(line->redis), number);
	enum larder_status status = redis_dial(line->redis, number, &branch->ear, deadline_ns);
	if (!status)
		status = redis_dial(line->redis, number, &branch->voice, deadline_ns);
	if (!status)
		status = subscribe(branch, deadline_ns, id);
	if (!status)
		status = track(line, branch, id, deadline_ns);
	return status || watch(line, branch) ? status : LARDER_SYSTEM;
}

static void redis_line_close(void *self)
{
	struct redis_line *line = self;

	for (unsigned i = 0; i < line->count; i++) {
		wire_close(&line->branches[i].ear);
		wire_close(&line->branches[i].voice);
	}
	if (line->epoll >= 0)
		(void)close(line->epoll);
	free(line);
}

/* In a forked child: the parent's connections end here alone. */
static void redis_line_abandon(void *self)
{
	struct redis_line *line = self;

	for (unsigned i = 0; i < line->count; i++) {
		wire_abandon(&line->branches[i].ear);
		wire_abandon(&line->branches[i].voice);
	}
	if (line->epoll >= 0)
		(void)close(line->epoll);
}

/* Which masters node `number` knows. */
static enum larder_status ask_masters(struct redis *redis, unsigned number, int64_t deadline_ns, uint64_t *masters)
{
	const struct redis_node *node = slots_node(redis_slots(redis), number);
	struct wire wire;
	redisReply *reply;
	enum larder_status status = redis_dial(redis, number, &wire, deadline_ns);

	if (status)
		return status;
	status = ask_now(node, &wire, "CLUSTER NODES", SAY(&wire, "CLUSTER", "NODES"), deadline_ns, &reply);
	if (!status) {
		if (!reply_is_text(reply))
			status = reply_unexpected(reply, "CLUSTER NODES");
		else if (!slots_masters(redis_slots(redis), node, reply->str, masters))
			status = LARDER_UNREACHABLE;
		freeReplyObject(reply);
	}
	wire_close(&wire);
	return status;
}

/* Asks nodes in turn, each time beginning with another one, until one answers.  What it says is held against what the masters
 * themselves say, once there is a line to them. */
static enum larder_status find_masters(struct redis *redis, int64_t deadline_ns, uint64_t *masters)
{
	unsigned count = redis_node_count(redis), first = (unsigned)add_hint(&redis_slots(redis)->turn, 1);
	enum larder_status status = LARDER_UNREACHABLE;

	for (unsigned i = 0; status && i < count && wire_now_ns() < deadline_ns; i++) /* a third of what is left: one may be silent */
		status = ask_masters(redis, (first + i) % count, wire_now_ns() + (deadline_ns - wire_now_ns()) / 3, masters);
	return status;
}

static struct redis_line *line_make(struct redis *redis, uint64_t masters)
{
	unsigned count = (unsigned)__builtin_popcountll(masters);
	struct redis_line *line = calloc(1, sizeof *line + count * sizeof line->branches[0]);

	if (!line)
		return NULL;
	*line = (struct redis_line){ .redis = redis, .masters = masters, .count = count, .epoll = epoll_create1(EPOLL_CLOEXEC),
		.cluster = redis_options_of(redis)->url.cluster };
	for (unsigned i = 0; i < count; i++) {
		wire_clear(&line->branches[i].ear);
		wire_clear(&line->branches[i].voice);
	}
	return line;
}

static enum larder_status redis_line_open(struct larder_store *far, int64_t timeout_ms, void **self)
{
	struct redis *redis = redis_of(far);
	int64_t begun = wire_now_ns(), deadline = begun + timeout_ms * 1000000;
	uint64_t masters = 1;
	enum larder_status status = redis_options_of(redis)->url.cluster ? find_masters(redis, deadline, &masters) : LARDER_OK;

	if (status)
		return status;
	struct redis_line *line = line_make(redis, masters);
	if (!line)
		return LARDER_NO_MEMORY;
	int64_t most_ms = timeout_ms + (line->count - 1) * BRANCH_MS;
	deadline = begun + (most_ms > WHOLE_MS && timeout_ms < WHOLE_MS ? WHOLE_MS : most_ms) * 1000000;
	status = line->epoll < 0 ? LARDER_SYSTEM : LARDER_OK;
	for (unsigned i = 0; i < line->count && !status; i++, masters &= masters - 1)
		status = branch_open(line, &line->branches[i], (unsigned)__builtin_ctzll(masters), deadline);
	if (status)
		redis_line_close(line);
	else
		*self = line;
	return status;
}

static int redis_line_descriptor(void *self) { return ((struct redis_line *)self)->epoll; }

/* ---- Hearing ---------------------------------------------------------------------------------------------------------------- */

static enum larder_status branch_ask(const struct redis_line *line, struct branch *branch)
{
	branch->ear_answered = false;
	branch->voice_owes = line->cluster ? 2 : 1;
	enum wire_fault fault = SAY(&branch->ear, "PING");
	if (!fault)
		fault = SAY(&branch->voice, "CLIENT", "TRACKINGINFO");
	if (!fault && line->cluster)
		fault = SAY(&branch->voice, "CLUSTER", "NODES");
	if (!fault)
		fault = wire_move(&branch->ear, POLLOUT);
	if (!fault)
		fault = wire_move(&branch->voice, POLLOUT);
	return fault ? unheard(branch->node, "PING", fault) : LARDER_OK;
}

static enum larder_status redis_line_ask(void *self)
{
	struct redis_line *line = self;
	enum larder_status status = LARDER_OK;

	line->asked = true;
	for (unsigned i = 0; i < line->count && !status; i++)
		status = branch_ask(line, &line->branches[i]);
	return status;
}

static void hear_key(struct redis_line *line, const redisReply *key, struct tier_hearing *hearing)
{
	struct redis_place place;

	if (!reply_is_text(key) || !redis_key_parse(line->redis, key->str, (size_t)key->len, &place))
		return;
	if (place.key_bytes) {
		tier_heard_key(hearing, place.ns, place.key, place.key_bytes);
		return;
	}
	const struct larder_name *name = name_known(place.ns); /* clients of other names come by, too */
	if (name)
		redis_generation_forget(line->redis, name);
	tier_heard_clear(hearing, place.ns);
}

/* What the ear receives: an answer to PING, or keys; nil for all of them. */
static bool hear_reply(struct redis_line *line, struct branch *branch, const redisReply *reply, struct tier_hearing *hearing)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2)
		return false;
	if (word_is(reply->element[0], "pong")) {
		branch->ear_answered = true;
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

/* The masters that the line was made for, and no others. */
static bool same_masters(struct redis_line *line, const struct branch *branch, const redisReply *reply)
{
	uint64_t masters;

	return reply_is_text(reply) && slots_masters(redis_slots(line->redis), branch->node, reply->str, &masters) && masters == line->masters;
}

static bool voice_reply(struct redis_line *line, struct branch *branch, const redisReply *reply, struct tier_hearing *hearing)
{
	(void)hearing;
	if (!branch->voice_owes)
		return false;
	branch->voice_owes--;
	if (!line->cluster || branch->voice_owes)
		return still_tracks(reply);
	if (same_masters(line, branch, reply))
		return true;
	slots_doubt(redis_slots(line->redis));
	return false;
}

static enum larder_status hear_all(struct redis_line *line, struct branch *branch, struct wire *wire, struct tier_hearing *hearing,
		bool (*understand)(struct redis_line *, struct branch *, const redisReply *, struct tier_hearing *))
{
	enum wire_fault fault = wire_move(wire, POLLIN | POLLOUT), ended = fault;
	redisReply *reply = NULL;

	/* What came before the end counts. */
	while ((fault = wire_take(wire, &reply)) == WIRE_FINE && reply) {
		bool good = understand(line, branch, reply, hearing);
		freeReplyObject(reply);
		if (!good)
			return unheard(branch->node, "an answer that does not belong there, or other masters", WIRE_GARBAGE);
	}
	return fault || ended ? unheard(branch->node, "connection", fault ? fault : ended) : LARDER_OK;
}

static enum larder_status redis_line_hear(void *self, struct tier_hearing *hearing)
{
	struct redis_line *line = self;
	enum larder_status first = LARDER_OK;
	bool all = line->asked;

	for (unsigned i = 0; i < line->count; i++) { /* all of them, whatever one says */
		struct branch *branch = &line->branches[i];
		enum larder_status status = hear_all(line, branch, &branch->ear, hearing, hear_reply);
		if (!status)
			status = hear_all(line, branch, &branch->voice, hearing, voice_reply);
		first = first ? first : status;
		all &= branch->ear_answered && !branch->voice_owes;
	}
	hearing->confirmed = !first && all;
	line->asked &= !all;
	return first;
}

/* ---- The kind ----------------------------------------------------------------------------------------------------------------- */

static void redis_line_identity(const struct larder_store *far, char *text, size_t room)
{
	const struct redis *redis = redis_of(far);
	const struct redis_options *options = redis_options_of(redis);
	const char *prefix = redis_prefix(redis);
	char address[300];

	url_show(&options->url.seeds[0], address, sizeof address);
	snprintf(text, room, "redis %s%s%s", address, *prefix ? " " : "", prefix);
}

static void redis_line_share(struct larder_store *far, struct larder_store *near) { (void)redis_share(redis_of(far), near); }

static const char *redis_line_refuses(const struct larder_store *far)
{
	return redis_options_of(redis_of(far))->replica_reads
			? "listener: what is read from a replica can be older than the report of its change; use replica-reads = no, or listener = no" : NULL;
}

const struct tier_line_kind redis_line_kind = { .far = &store_redis, .identity = redis_line_identity, .share = redis_line_share,
	.refuses = redis_line_refuses, .open = redis_line_open, .close = redis_line_close, .abandon = redis_line_abandon,
	.descriptor = redis_line_descriptor, .ask = redis_line_ask, .hear = redis_line_hear };
