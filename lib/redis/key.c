/* SPDX-License-Identifier: BSD-2-Clause */
/* Names that keys have on the server, see redis.h for their form. */
#include "redis/key.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t put(char *text, size_t at, const void *bytes, size_t count)
{
	memcpy(text + at, bytes, count);
	return at + count;
}

size_t key_text(const char *prefix, const struct larder_store_key *key, uint64_t generation, char *text)
{
	size_t at = put(text, 0, prefix, strlen(prefix));

	at = put(text, at, key->ns->escaped, key->ns->escaped_bytes);
	if (generation) {
		char number[24];
		at = put(text, at, number, (size_t)snprintf(number, sizeof number, "%%g%" PRIu64, generation));
	}
	text[at++] = ':';
	return put(text, at, key->bytes, key->count);
}

size_t key_generation_text(const char *prefix, const struct larder_name *ns, char *text)
{
	size_t at = put(text, 0, prefix, strlen(prefix));

	at = put(text, at, ns->escaped, ns->escaped_bytes);
	return put(text, at, KEY_GENERATION, strlen(KEY_GENERATION));
}

/* Takes "%g" and digits from the end of the namespace. */
static bool take_generation(struct key_parts *parts)
{
	const char *mark = memmem(parts->ns, parts->ns_bytes, KEY_MARK, strlen(KEY_MARK)), *end = parts->ns + parts->ns_bytes;
	uint64_t number = 0;

	if (!mark)
		return true;
	const char *digits = mark + strlen(KEY_MARK);
	if (digits == end || end - digits > 19)
		return false;
	for (const char *digit = digits; digit < end; digit++) {
		if (*digit < '0' || *digit > '9')
			return false;
		number = number * 10 + (uint64_t)(*digit - '0');
	}
	parts->generation = number;
	parts->ns_bytes = (size_t)(mark - parts->ns);
	return true;
}

bool key_parts(const char *prefix, const char *text, size_t bytes, struct key_parts *parts)
{
	size_t before = strlen(prefix);

	if (bytes < before || memcmp(text, prefix, before))
		return false;
	const char *ns = text + before, *end = text + bytes, *colon = memchr(ns, ':', bytes - before);
	if (!colon)
		return false;
	*parts = (struct key_parts){ .ns = ns, .ns_bytes = (size_t)(colon - ns), .key = colon + 1,
		.key_bytes = (size_t)(end - colon - 1) };
	if (!parts->key_bytes || parts->key_bytes > LARDER_KEY_MAX)
		return false;
	if ((size_t)(end - colon) == strlen(KEY_GENERATION) && !memcmp(colon, KEY_GENERATION, strlen(KEY_GENERATION)))
		parts->key_bytes = 0;
	return take_generation(parts);
}
