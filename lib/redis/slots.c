/* SPDX-License-Identifier: BSD-2-Clause */
/* Which node of a cluster has which keys, see slots.h. */
#include "redis/slots.h"

#include <stdlib.h>
#include <string.h>

#include "base/message.h"
#include "redis/reply.h"

#define LEARN_EVERY_NS 100000000 /* at most so often */
#define LEARN_NODES 3u           /* asked at a time: a call has a deadline */

/* ---- Keys ------------------------------------------------------------------------------------------------------------ */

/* CRC-16/XMODEM, as the cluster specification has it. */
static unsigned crc16(const unsigned char *bytes, size_t count)
{
	unsigned crc = 0;

	for (size_t i = 0; i < count; i++) {
		crc ^= (unsigned)bytes[i] << 8;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc & 0x8000u ? crc << 1 ^ 0x1021u : crc << 1) & 0xffffu;
	}
	return crc;
}

int slots_of(const void *key, size_t bytes)
{
	const char *open = memchr(key, '{', bytes), *end = (const char *)key + bytes;
	const char *close = open ? memchr(open, '}', (size_t)(end - open)) : NULL;

	if (close && close > open + 1)
		return (int)(crc16((const unsigned char *)open + 1, (size_t)(close - open - 1)) % SLOTS);
	return (int)(crc16(key, bytes) % SLOTS);
}

/* ---- Nodes ----------------------------------------------------------------------------------------------------------- */

struct redis_node *slots_node(const struct slots *slots, unsigned number)
{
	/* NAMED (acquire): pairs with the CAS in node_at().  Whoever sees the node sees it whole. */
	return number < NODES_MAX ? pointer_load_acquire(&slots->nodes[number]) : NULL;
}

unsigned slots_node_count(const struct slots *slots)
{
	unsigned count = 0;

	while (slots_node(slots, count))
		count++;
	return count;
}

unsigned slots_count(const struct slots *slots, unsigned number)
{
	unsigned count = 0;

	for (unsigned slot = 0; slot < SLOTS; slot++)
		count += octet_load_hint(&slots->master[slot]) == number + 1;
	return count;
}

static bool same_address(const struct redis_address *a, const struct redis_address *b)
{
	return a->port == b->port && !strcmp(a->host, b->host);
}

/* Node `number`, made now if there is none. */
static struct redis_node *node_at(struct slots *slots, unsigned number, const struct redis_address *address)
{
	struct redis_node *there = slots_node(slots, number), *mine;

	if (there)
		return there;
	mine = node_make(address, slots->options, slots->tally);
	if (!mine)
		return NULL;
	const struct region *board = pointer_load_acquire(&slots->board);
	if (board)
		(void)node_share(mine, board); /* without room on the board, its breaker is this process's own */
	if (pointer_cas_acq_rel(&slots->nodes[number], NULL, mine)) /* NAMED (release) */
		return mine;
	node_free(mine);
	return slots_node(slots, number);
}

/* The number of the node of that address, added if need be; -1: no room. */
static int node_number(struct slots *slots, const struct redis_address *address)
{
	for (unsigned i = 0; i < NODES_MAX; i++) {
		const struct redis_node *node = node_at(slots, i, address);
		if (!node)
			return -1;
		if (same_address(&node->address, address))
			return (int)i;
	}
	return -1;
}

enum larder_status slots_make(struct slots *slots, const struct redis_options *options, struct tally *tally)
{
	memset(slots, 0, sizeof *slots);
	slots->options = options;
	slots->tally = tally;
	for (unsigned i = 0; i < options->url.seed_count; i++) {
		int number = node_number(slots, &options->url.seeds[i]);
		if (number < 0) {
			slots_free(slots);
			return LARDER_NO_MEMORY;
		}
		(void)node_resolve(slots_node(slots, (unsigned)number), false);
	}
	octet_store_hint(&slots->stale, options->url.cluster);
	return LARDER_OK;
}

enum larder_status slots_share(struct slots *slots, const struct region *board)
{
	enum larder_status status = LARDER_OK;

	(void)pointer_cas_acq_rel(&slots->board, NULL, (void *)(uintptr_t)board);
	for (unsigned i = 0; !status && slots_node(slots, i); i++)
		status = node_share(slots_node(slots, i), board);
	return status;
}

void slots_free(struct slots *slots)
{
	for (unsigned i = 0; i < NODES_MAX; i++)
		node_free(slots_node(slots, i));
}

struct redis_node *slots_find(struct slots *slots, int slot, bool replica, unsigned turn)
{
	unsigned number = 0;

	if (slot != SLOT_ANY && replica && !turn)
		number = octet_load_hint(&slots->replica[slot]);
	if (slot != SLOT_ANY && !number)
		number = octet_load_hint(&slots->master[slot]);
	if (number)
		return slots_node(slots, number - 1u);
	if (!slots->options->url.cluster)
		return slots_node(slots, 0);
	return slots_node(slots, (unsigned)add_hint(&slots->turn, 1) % slots_node_count(slots));
}

void slots_doubt(struct slots *slots)
{
	if (slots->options->url.cluster)
		octet_store_hint(&slots->stale, 1);
}

/* ---- Redirections ---------------------------------------------------------------------------------------------------- */

/* "MOVED 3999 127.0.0.1:6381"; a host that is left out is that of the node that said so. */
struct redis_node *slots_redirect(struct slots *slots, const struct redis_node *from, const char *text)
{
	struct redis_address address;
	char *end;
	bool moved = *text == 'M';
	long slot = strtol(text + (moved ? 6 : 4), &end, 10);

	if (slot < 0 || slot >= (long)SLOTS || *end != ' ')
		return NULL;
	/* The port comes last; a host may be an IPv6 address without brackets. */
	const char *host = end + 1, *colon = strrchr(host, ':');
	long port = colon ? strtol(colon + 1, &end, 10) : 0;
	if (port < 1 || port > 65535 || *end || (size_t)(colon - host) >= sizeof address.host)
		return NULL;
	address = from->address;
	if (colon > host) {
		memcpy(address.host, host, (size_t)(colon - host));
		address.host[colon - host] = '\0';
	}
	address.port = (uint16_t)port;
	int number = node_number(slots, &address);
	if (number < 0)
		return NULL;
	if (moved) {
		octet_store_hint(&slots->master[slot], (uint8_t)(number + 1));
		octet_store_hint(&slots->replica[slot], 0);
		slots_doubt(slots);
	}
	return slots_node(slots, (unsigned)number);
}

/* ---- Learning -------------------------------------------------------------------------------------------------------- */

/* The node that [host, port, ...] names; -1: none. */
static int node_of_reply(struct slots *slots, const struct redis_node *from, const redisReply *reply)
{
	struct redis_address address = from->address;
	int64_t port;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 || !reply_number(reply->element[1], &port))
		return -1;
	const redisReply *host = reply->element[0];
	if (port < 1 || port > 65535 || (reply_is_text(host) && host->len >= sizeof address.host))
		return -1;
	if (reply_is_text(host) && host->len && strcmp(host->str, "?"))
		memcpy(address.host, host->str, host->len + 1);
	address.port = (uint16_t)port;
	return node_number(slots, &address);
}

/* One range: [first, last, master, replica ...]. */
static void learn_range(struct slots *slots, const struct redis_node *from, const redisReply *range)
{
	int64_t first, last;

	if (range->type != REDIS_REPLY_ARRAY || range->elements < 3 || !reply_number(range->element[0], &first)
			|| !reply_number(range->element[1], &last) || first < 0 || last >= (int64_t)SLOTS)
		return;
	int master = node_of_reply(slots, from, range->element[2]), replica = -1;
	if (range->elements > 3)
		replica = node_of_reply(slots, from, range->element[3 + (size_t)first % (range->elements - 3)]);
	for (int64_t slot = first; slot <= last && master >= 0; slot++) {
		octet_store_hint(&slots->master[slot], (uint8_t)(master + 1));
		octet_store_hint(&slots->replica[slot], (uint8_t)(replica + 1));
	}
}

static bool learn_from(struct slots *slots, struct redis_node *node, int64_t deadline_ns)
{
	static const char *argv[] = { "CLUSTER", "SLOTS" };
	static const size_t lengths[] = { 7, 5 };
	struct node_lease lease;
	redisReply *reply = NULL;

	if (node_take(node, false, deadline_ns, &lease))
		return false;
	enum wire_fault fault = wire_append(&lease.seat->wire, 2, argv, lengths);
	if (!fault)
		fault = wire_reply(&lease.seat->wire, deadline_ns, &reply);
	node_leave(&lease, fault);
	bool learned = !fault && reply->type == REDIS_REPLY_ARRAY && reply->elements;
	for (size_t i = 0; learned && i < reply->elements; i++)
		learn_range(slots, node, reply->element[i]);
	freeReplyObject(fault ? NULL : reply);
	return learned;
}

void slots_learn(struct slots *slots, int64_t deadline_ns)
{
	uint64_t at = load_hint(&slots->learn_at_ns), now = (uint64_t)wire_now_ns();

	if (likely(!octet_load_hint(&slots->stale)) || now < at)
		return;
	if (!cas_acq_rel(&slots->learn_at_ns, at, now + LEARN_EVERY_NS))
		return; /* another thread is at it; we may be redirected meanwhile */
	unsigned count = slots_node_count(slots), first = (unsigned)add_hint(&slots->turn, 1);
	int64_t left_ns = deadline_ns - (int64_t)now;
	for (unsigned i = 0; i < count && i < LEARN_NODES; i++) {
		/* A third of what is left for each, so that one that is silent does not use up the call. */
		if (!learn_from(slots, slots_node(slots, (first + i) % count), wire_now_ns() + left_ns / (LEARN_NODES + 1)))
			continue;
		octet_store_hint(&slots->stale, 0);
		redis_count(slots->tally, REDIS_COUNT_slots_learned);
		return;
	}
}

/* ---- Masters --------------------------------------------------------------------------------------------------------- */

struct field {
	const char *text;
	size_t bytes;
};

/* Word number `number` of a line, empty past its last. */
static struct field line_word(const char *line, unsigned number)
{
	while (number-- && *(line += strcspn(line, " \n")) == ' ')
		line++;
	return (struct field){ line, strcspn(line, " \n") };
}

/* One of the flags "myself,master,fail". */
static bool has_flag(struct field flags, const char *flag)
{
	for (size_t at = 0, bytes; at < flags.bytes; at += bytes + 1) {
		bytes = strcspn(flags.text + at, ", \n");
		if (bytes == strlen(flag) && !memcmp(flags.text + at, flag, bytes))
			return true;
	}
	return false;
}

/* "127.0.0.1:7000@17000,name"; a host that is left out is that of the node that said so.  -1: no address, no place. */
static int node_of_word(struct slots *slots, const struct redis_node *from, struct field word)
{
	struct redis_address address = from->address;
	const char *colon = memrchr(word.text, ':', strcspn(word.text, "@, \n"));
	long port = colon ? strtol(colon + 1, NULL, 10) : 0;
	size_t host = colon ? (size_t)(colon - word.text) : 0;

	if (port < 1 || port > 65535 || host >= sizeof address.host)
		return -1;
	if (host) {
		memcpy(address.host, word.text, host);
		address.host[host] = '\0';
	}
	address.port = (uint16_t)port;
	return node_number(slots, &address);
}

/* ID ADDRESS FLAGS MASTER PING PONG EPOCH LINK SLOT ...  False: the cluster is not whole. */
static bool take_line(struct slots *slots, const struct redis_node *from, const char *line, uint64_t *masters)
{
	struct field address = line_word(line, 1), flags = line_word(line, 2);

	if (!has_flag(flags, "master"))
		return true;
	if (has_flag(flags, "fail") || has_flag(flags, "noaddr") || has_flag(flags, "handshake")) {
		if (line_word(line, 8).bytes)
			message_set("redis at %s: the cluster's master %.*s has failed, and nobody has its slots yet", from->text,
					(int)address.bytes, address.text);
		return !line_word(line, 8).bytes;
	}
	int number = node_of_word(slots, from, address);
	if (number < 0)
		message_set("redis at %s: the cluster's master %.*s has no address, or is one of more than %u nodes", from->text,
				(int)address.bytes, address.text, NODES_MAX);
	else
		*masters |= UINT64_C(1) << number;
	return number >= 0;
}

bool slots_masters(struct slots *slots, const struct redis_node *from, const char *text, uint64_t *masters)
{
	*masters = 0;
	while (*text) {
		if (!take_line(slots, from, text, masters))
			return false;
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	if (!*masters)
		message_set("redis at %s: it knows no master", from->text);
	return *masters != 0;
}
