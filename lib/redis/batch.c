/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of one call, see batch.h. */
#include "redis/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"
#include "redis/key.h"
#include "redis/reply.h"

#define NOT_ASKED SIZE_MAX
#define TRIES_MAX 4u

/* Raises a generation to at least ARGV[1], and by ARGV[2]. */
static const char raise_script[] =
	"local g=math.max((tonumber(redis.call('GET',KEYS[1]) or '0') or 0)+tonumber(ARGV[2]),tonumber(ARGV[1])) "
	"local s=string.format('%.0f',g) redis.call('SET',KEYS[1],s) return s";

/* ---- Beginning and ending -------------------------------------------------------------------------------------------- */

void batch_begin_small(struct batch_small *small, struct slots *slots, struct generations *generations, int64_t deadline_ns)
{
	struct batch *batch = &small->batch;

	batch->slots = slots;
	batch->generations = generations;
	batch->options = slots->options;
	batch->deadline_ns = deadline_ns;
	batch->requests = small->requests;
	batch->room = sizeof small->requests / sizeof *small->requests;
	batch->asks = small->asks;
	batch->ask_room = BATCH_FEW;
	batch->arena = small->arena;
	batch->arena_bytes = sizeof small->arena;
	batch->count = batch->ask_count = batch->used = 0;
}

bool batch_begin(struct batch *batch, struct slots *slots, struct generations *generations, size_t requests, size_t names,
		size_t arena_bytes, int64_t deadline_ns)
{
	*batch = (struct batch){ .slots = slots, .generations = generations, .options = slots->options,
		.deadline_ns = deadline_ns, .room = requests + names, .ask_room = names, .arena_bytes = arena_bytes };
	batch->requests = malloc(batch->room * sizeof *batch->requests);
	batch->asks = malloc(names * sizeof *batch->asks);
	batch->arena = malloc(arena_bytes);
	if (batch->requests && batch->asks && batch->arena)
		return true;
	batch_end(batch);
	return false;
}

void batch_free(struct batch *batch)
{
	redis_run_free(batch->requests, batch->count);
	batch->count = batch->ask_count = batch->used = 0;
}

void batch_end(struct batch *batch)
{
	batch_free(batch);
	free(batch->requests);
	free(batch->asks);
	free(batch->arena);
}

/* ---- Commands -------------------------------------------------------------------------------------------------------- */

void *batch_bytes(struct batch *batch, size_t bytes)
{
	char *text = batch->arena + batch->used;

	bytes = (bytes + 7) & ~(size_t)7; /* pointers may lie there, too */
	/* Who begins a batch says how much it takes; more is a fault of ours, and is made to show as one. */
	if (batch->arena_bytes - batch->used < bytes)
		return NULL;
	batch->used += bytes;
	return text;
}

const char *batch_number(struct batch *batch, int64_t number, size_t *length)
{
	char *text = batch_bytes(batch, 24);

	*length = (size_t)snprintf(text, 24, "%" PRId64, number);
	return text;
}

static struct redis_request *new_request(struct batch *batch, const char *name, int slot, bool reads)
{
	struct redis_request *request = &batch->requests[batch->count++];

	request->words = NULL;
	request->lengths = NULL;
	request->count = 0;
	request->slot = slot;
	request->reads = reads;
	request->reply = NULL;
	request->status = LARDER_OK;
	request_word(request, name, strlen(name));
	return request;
}

static int slot_of(const struct batch *batch, const char *text, size_t length)
{
	return batch->options->url.cluster ? slots_of(text, length) : SLOT_ANY;
}

static bool must_ask(const struct batch *batch, const struct larder_name *ns)
{
	uint64_t at = load_hint(&batch->generations->asked_at_ns[ns->index]);

	return !at || wire_now_ns() - (int64_t)at >= batch->options->generation_ns;
}

/* The generation to name keys after, and a question for it where it is due. */
static uint64_t generation_of(struct batch *batch, const struct larder_name *ns)
{
	for (size_t i = 0; i < batch->ask_count; i++)
		if (batch->asks[i].ns == ns)
			return batch->asks[i].generation;
	struct batch_ask *ask = &batch->asks[batch->ask_count++];
	*ask = (struct batch_ask){ ns, load_hint(&batch->generations->number[ns->index]), NOT_ASKED };
	if (!must_ask(batch, ns))
		return ask->generation;
	char *text = batch_bytes(batch, KEY_TEXT_EXTRA);
	size_t length = key_generation_text(batch->options->prefix, ns, text);
	ask->request = batch->count;
	request_word(new_request(batch, "GET", slot_of(batch, text, length), false), text, length);
	return ask->generation;
}

const char *batch_key(struct batch *batch, const struct larder_store_key *key, size_t *length)
{
	uint64_t generation = generation_of(batch, key->ns);
	char *text = batch_bytes(batch, KEY_TEXT_EXTRA + key->count);

	*length = key_text(batch->options->prefix, key, generation, text);
	return text;
}

size_t batch_command(struct batch *batch, const char *name, const struct larder_store_key *key, bool reads)
{
	size_t length, number;
	const char *text = batch_key(batch, key, &length);

	number = batch->count;
	request_word(new_request(batch, name, slot_of(batch, text, length), reads), text, length);
	return number;
}

size_t batch_words(struct batch *batch, const char **words, const size_t *lengths, int count)
{
	struct redis_request *request = new_request(batch, words[0], SLOT_ANY, false);

	request->words = words;
	request->lengths = lengths;
	request->count = count;
	return batch->count - 1;
}

/* ---- Generations ----------------------------------------------------------------------------------------------------- */

/* Generations only rise; a lost CAS is another thread's that did. */
static void note(struct batch *batch, const struct larder_name *ns, uint64_t generation)
{
	struct word *known = &batch->generations->number[ns->index];

	for (uint64_t seen = load_hint(known); seen < generation && !cas_acq_rel(known, seen, generation);)
		seen = load_hint(known);
	store_hint(&batch->generations->asked_at_ns[ns->index], (uint64_t)wire_now_ns());
}

enum larder_status batch_raise(struct batch *batch, const struct larder_name *ns, int64_t least, bool step)
{
	char *text = batch_bytes(batch, KEY_TEXT_EXTRA);
	size_t length = key_generation_text(batch->options->prefix, ns, text), digits;
	const char *number = batch_number(batch, least, &digits);
	struct redis_request *request = new_request(batch, "EVAL", slot_of(batch, text, length), false);
	int64_t raised;

	REQUEST_TEXT(request, raise_script);
	REQUEST_TEXT(request, "1");
	request_word(request, text, length);
	request_word(request, number, digits);
	request_word(request, step ? "1" : "0", 1);
	enum larder_status status = redis_run(batch->slots, request, 1, batch->deadline_ns);
	if (status)
		return status;
	status = reply_status(request->reply, request->node->text);
	if (!status && (!reply_number(request->reply, &raised) || raised <= 0))
		status = reply_unexpected(request->reply, "EVAL");
	if (status)
		return status;
	note(batch, ns, (uint64_t)raised);
	return LARDER_OK;
}

/* The server knows less than we do: it was emptied, or is a replica that had not heard of it.  What we know stays. */
static void restore(struct batch *batch, const struct batch_ask *ask)
{
	struct batch_small small;

	batch_begin_small(&small, batch->slots, batch->generations, batch->deadline_ns);
	if (!batch_raise(&small.batch, ask->ns, (int64_t)ask->generation, false))
		redis_count(batch->slots->tally, REDIS_COUNT_generations_restored);
	batch_free(&small.batch);
}

/* Compares what was supposed with what the server said; *again if the keys were named after another generation. */
static enum larder_status learn(struct batch *batch, const struct batch_ask *ask, bool *again)
{
	const struct redis_request *request = &batch->requests[ask->request];
	enum larder_status status = reply_status(request->reply, request->node->text);
	int64_t number = 0;

	if (status)
		return status;
	if (request->reply->type != REDIS_REPLY_NIL && (!reply_number(request->reply, &number) || number < 0))
		return reply_unexpected(request->reply, "GET of a generation");
	*again |= (uint64_t)number > ask->generation;
	if ((uint64_t)number < ask->generation)
		restore(batch, ask);
	note(batch, ask->ns, (uint64_t)number);
	return LARDER_OK;
}

/* In a cluster the generation lies with one master and the keys with all: where that one does not answer, the others need not
 * stand still at once.  What was known a moment ago holds for as long as a failover takes. */
static bool may_guess(const struct batch *batch, const struct batch_ask *ask)
{
	uint64_t at = load_hint(&batch->generations->asked_at_ns[ask->ns->index]);

	return batch->options->url.cluster && batch->requests[ask->request].status == LARDER_UNREACHABLE && at
			&& wire_now_ns() - (int64_t)at < BATCH_GUESS_NS;
}

/* The first failure of all: of what was asked, or of an answer to a question for a generation. */
static enum larder_status learn_all(struct batch *batch, bool *again)
{
	enum larder_status status = LARDER_OK;

	for (size_t i = 0; i < batch->ask_count && !status; i++) {
		const struct batch_ask *ask = &batch->asks[i];
		if (ask->request == NOT_ASKED)
			continue;
		struct redis_request *request = &batch->requests[ask->request];
		if (!request->status)
			status = learn(batch, ask, again);
		else if (may_guess(batch, ask))
			request->status = LARDER_OK;
	}
	for (size_t i = 0; i < batch->count && !status; i++)
		status = batch->requests[i].status;
	return status;
}

enum larder_status batch_run(struct batch *batch, batch_build *build, void *arg)
{
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		bool again = false;
		batch_free(batch);
		build(batch, arg);
		(void)redis_run(batch->slots, batch->requests, batch->count, batch->deadline_ns);
		enum larder_status status = learn_all(batch, &again);
		if (status || !again)
			return status;
	}
	message_set("redis: the namespace was cleared %u times during one call", TRIES_MAX);
	return LARDER_CONTENDED;
}
