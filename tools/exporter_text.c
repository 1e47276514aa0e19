/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Joining texts of the exposition format, see exporter.h.  A block begins at a line "# HELP NAME ..." and ends where
 * the next one begins; its first two lines are HELP and TYPE.
 */
#define _GNU_SOURCE
#include "exporter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELP "# HELP "

struct part { /* lines of one text */
	const char *from;
	size_t bytes;
};

struct exposition_block {
	const char *name; /* up to a blank */
	struct part head;
	struct part *parts;
	size_t part_count;
};

static bool same_name(const char *one, const char *two)
{
	size_t length = strcspn(one, " ");

	return length == strcspn(two, " ") && !memcmp(one, two, length);
}

static struct exposition_block *find_block(const struct exposition *exposition, const char *name)
{
	for (size_t i = 0; i < exposition->count; i++)
		if (same_name(exposition->blocks[i].name, name))
			return &exposition->blocks[i];
	return NULL;
}

static struct exposition_block *make_block(struct exposition *exposition, const char *name, struct part head)
{
	struct exposition_block *more = reallocarray(exposition->blocks, exposition->count + 1, sizeof *more);

	if (!more)
		return NULL;
	exposition->blocks = more;
	more[exposition->count] = (struct exposition_block){ .name = name, .head = head };
	return &more[exposition->count++];
}

static const char *next_line(const char *at)
{
	const char *end = strchr(at, '\n');

	return end ? end + 1 : at + strlen(at);
}

/* Adds the block at `at`, and returns where the next one begins; NULL without memory. */
static const char *add_block(struct exposition *exposition, const char *at)
{
	const char *name = at + strlen(HELP), *body = next_line(next_line(at)), *end = body;

	while (*end && strncmp(end, HELP, strlen(HELP)))
		end = next_line(end);
	struct exposition_block *block = find_block(exposition, name);
	if (!block)
		block = make_block(exposition, name, (struct part){ at, (size_t)(body - at) });
	struct part *more = block ? reallocarray(block->parts, block->part_count + 1, sizeof *more) : NULL;
	if (!more)
		return NULL;
	block->parts = more;
	more[block->part_count++] = (struct part){ body, (size_t)(end - body) };
	return end;
}

bool exposition_add(struct exposition *exposition, char *text)
{
	char **more = text ? reallocarray(exposition->texts, exposition->text_count + 1, sizeof *more) : NULL;

	if (!more) {
		free(text);
		return false;
	}
	exposition->texts = more;
	more[exposition->text_count++] = text;
	for (const char *at = text; at && *at;)
		if (!(at = strncmp(at, HELP, strlen(HELP)) ? next_line(at) : add_block(exposition, at)))
			return false;
	return true;
}

char *exposition_join(const struct exposition *exposition)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	for (size_t i = 0; i < exposition->count; i++) {
		const struct exposition_block *block = &exposition->blocks[i];
		fwrite(block->head.from, 1, block->head.bytes, out);
		for (size_t j = 0; j < block->part_count; j++)
			fwrite(block->parts[j].from, 1, block->parts[j].bytes, out);
	}
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

void exposition_free(struct exposition *exposition)
{
	for (size_t i = 0; i < exposition->count; i++)
		free(exposition->blocks[i].parts);
	for (size_t i = 0; i < exposition->text_count; i++)
		free(exposition->texts[i]);
	free(exposition->blocks);
	free(exposition->texts);
	*exposition = (struct exposition){ .count = 0 };
}
