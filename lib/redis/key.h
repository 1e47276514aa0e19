/* SPDX-License-Identifier: BSD-2-Clause */
/* Names that keys have on the server, see redis.h. */
#ifndef LARDER_REDIS_KEY_H
#define LARDER_REDIS_KEY_H

#include <larder/store.h>

#define KEY_GENERATION ":%generation"
#define KEY_MARK "%g"
#define KEY_TEXT_EXTRA (128u + 192u + 24u) /* bytes that a text has beyond the key's own, at most */

/* Each writes to text[0 .. key's bytes + KEY_TEXT_EXTRA) and returns the length; no NUL. */
size_t key_text(const char *prefix, const struct larder_store_key *key, uint64_t generation, char *text);
size_t key_generation_text(const char *prefix, const struct larder_name *ns, char *text);

/* The parts of text[0 .. bytes) behind the prefix; false if it is no such text.  ns: escaped, within text. */
struct key_parts {
	const char *ns, *key;
	size_t ns_bytes, key_bytes; /* key_bytes 0: the text is that of the generation */
	uint64_t generation;
};
bool key_parts(const char *prefix, const char *text, size_t bytes, struct key_parts *parts);

#endif
