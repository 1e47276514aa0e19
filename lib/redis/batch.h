/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands of one call of the store, with the generations of the namespaces they are in.
 *
 * A namespace's generation is asked for by the same round trip as the command itself, which is named after the generation known so
 * far; if that turns out to be an old one, the call is made anew.  What a command did under an old generation nobody can see, as
 * if it had been done before the namespace was cleared.
 * Texts of keys and numbers lie in the batch's arena until it ends.
 */
#ifndef LARDER_REDIS_BATCH_H
#define LARDER_REDIS_BATCH_H

#include <larder/store.h>

#include "redis/run.h"

/* What a process knows of the generations of one store, by the name's index; the number and when it was asked for. */
struct generations {
	struct word number[LARDER_NAMES_MAX], asked_at_ns[LARDER_NAMES_MAX];
};

/* How long a generation holds in a cluster where the node that has it does not answer. */
#define BATCH_GUESS_NS INT64_C(10000000000)

/* Arena bytes for one key in one namespace, and for a number. */
#define BATCH_KEY_BYTES(key_bytes) (2 * 344u + (key_bytes) + 64u)

struct batch_ask {
	const struct larder_name *ns;
	uint64_t generation;
	size_t request; /* SIZE_MAX: not asked */
};

struct batch {
	struct slots *slots;
	struct generations *generations;
	const struct redis_options *options;
	int64_t deadline_ns;
	struct redis_request *requests;
	size_t count, room;
	struct batch_ask *asks;
	size_t ask_count, ask_room;
	char *arena;
	size_t used, arena_bytes;
};

/* Fills the batch with commands, by batch_command(). */
typedef void (batch_build)(struct batch *batch, void *arg);

/* A batch of one call on a few keys, on the stack. */
#define BATCH_FEW 4u
struct batch_small {
	struct batch batch;
	struct redis_request requests[2 * BATCH_FEW];
	struct batch_ask asks[BATCH_FEW];
	char arena[BATCH_KEY_BYTES(LARDER_KEY_MAX) + 256];
};
void batch_begin_small(struct batch_small *small, struct slots *slots, struct generations *generations, int64_t deadline_ns);
/* One of `requests` commands (generations come on top) whose texts take arena_bytes; false without memory. */
bool batch_begin(struct batch *batch, struct slots *slots, struct generations *generations, size_t requests, size_t names,
		size_t arena_bytes, int64_t deadline_ns);
void batch_end(struct batch *batch); /* of batch_begin() */
void batch_free(struct batch *batch); /* replies only */

/* A command on a key, beginning with `name` and the key; further words by request_word().  Returns its number. */
size_t batch_command(struct batch *batch, const char *name, const struct larder_store_key *key, bool reads);
/* A command of words that lie in the arena, for whichever node there is. */
size_t batch_words(struct batch *batch, const char **words, const size_t *lengths, int count);
/* Text in the arena: a number. */
const char *batch_number(struct batch *batch, int64_t number, size_t *length);
void *batch_bytes(struct batch *batch, size_t bytes);
/* The key's text, for commands that have it in another place. */
const char *batch_key(struct batch *batch, const struct larder_store_key *key, size_t *length);

/* Raises the generation of a namespace to `least` at least, and by one if step; in an empty batch. */
enum larder_status batch_raise(struct batch *batch, const struct larder_name *ns, int64_t least, bool step);

/* Builds and runs until the generations are right.  LARDER_OK: every command has an answer. */
enum larder_status batch_run(struct batch *batch, batch_build *build, void *arg);

#endif
