/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands to their nodes and answers back: one or many, pipelined, split by node, redirected where a cluster says so, all within
 * one deadline.  Answers belong to the commands that stand at their place in the pipeline; a connection on which one is missing
 * is closed, so no answer can ever meet another command.
 */
#ifndef LARDER_REDIS_RUN_H
#define LARDER_REDIS_RUN_H

#include "redis/slots.h"

#define REQUEST_WORDS 10

struct redis_request {
	/* set by the caller */
	const char **words; /* NULL: own */
	const size_t *lengths;
	int count;
	int slot;           /* SLOT_ANY: whichever node */
	bool reads;         /* may go to a replica where the options allow it */
	const char *own[REQUEST_WORDS];
	size_t own_lengths[REQUEST_WORDS];
	/* set by redis_run() */
	redisReply *reply;         /* NULL unless status is LARDER_OK; free by redis_run_free() */
	enum larder_status status; /* of getting an answer: an error is an answer */
	/* redis_run()'s own */
	struct redis_node *node;
	bool asking, tried;
};

/* Adds a word to an own command. */
static inline void request_word(struct redis_request *request, const void *word, size_t bytes)
{
	request->own[request->count] = word;
	request->own_lengths[request->count++] = bytes;
}
#define REQUEST_TEXT(request, text) request_word(request, text, sizeof(text) - 1)

/* Runs requests[0 .. count).  LARDER_OK if each has an answer, else the first failure, with its message. */
enum larder_status redis_run(struct slots *slots, struct redis_request *requests, size_t count, int64_t deadline_ns);
void redis_run_free(struct redis_request *requests, size_t count);

#endif
