/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys: a namespace, a key, perhaps a version, and the one text that stands for them everywhere.
 *
 *     namespace:key           users:7
 *     namespace:key:version   users:7:v2
 *
 * This canonical text is what the manager, `larder ls` and a Redis server show.  A ':' within a part is written %3A, a '%'
 * is written %25, nothing else is escaped, and so every key has exactly one text and every text one key: any other '%' in a text
 * is an error.  Another version is another key: what was set under the old one can no longer be reached, and ages out.
 *
 * A version is a part of the key, not to be taken for the number that LARDER_CAS compares.
 *
 * All calls here are wait-free but larder_key_prepare(), which interns the namespace (lock-free); none takes memory from the
 * heap but that one, the first time it sees a namespace.  Any thread; not async-signal-safe (they write larder_message()).
 */
#ifndef LARDER_KEY_H
#define LARDER_KEY_H

#include <larder/store.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LARDER_NAMESPACE_MAX 64u /* bytes of a namespace's name */
/* The longest canonical text: a namespace of colons alone, a ':', and the longest key.  A NUL not included. */
#define LARDER_KEY_TEXT_MAX (3u * LARDER_NAMESPACE_MAX + 1u + LARDER_KEY_MAX)

/* The parts as they are, not escaped.  They are the caller's, and are read during calls only. */
struct larder_key {
	const char *ns;       /* 1 .. LARDER_NAMESPACE_MAX bytes, any but NUL */
	size_t ns_bytes;
	const void *key;      /* 1 byte or more, any */
	size_t key_bytes;
	const void *version;  /* NULL: none.  Else 1 byte or more, any */
	size_t version_bytes;
};

/* A key of NUL-terminated parts; version may be NULL.  *key points to them.
 * LARDER_OK; LARDER_INVALID, LARDER_KEY_SIZE (as larder_key_check). */
LARDER_API enum larder_status larder_key_make(struct larder_key *key, const char *ns, const char *name, const char *version);

/* Whether the parts make a key; the message says which of them does not, and where.
 * LARDER_OK; LARDER_INVALID: the namespace is empty, longer than LARDER_NAMESPACE_MAX or has a NUL in it; LARDER_KEY_SIZE: key or
 * version is empty, or the two are longer than LARDER_KEY_MAX bytes as they stand in the text. */
LARDER_API enum larder_status larder_key_check(const struct larder_key *key);

/*
 * Writes the canonical text of key to text[0 .. room), followed by a NUL.
 * *length (may be NULL) is its length without the NUL, also where it does not fit; LARDER_KEY_TEXT_MAX + 1 is always enough.
 * LARDER_OK; LARDER_SHORT (nothing written); and what larder_key_check() answers.
 */
LARDER_API enum larder_status larder_key_format(const struct larder_key *key, char *text, size_t room, size_t *length);

/*
 * Reads canonical text[0 .. count) back.  The parts of *key lie in own[0 .. room), each followed by a NUL; count + 1 bytes are
 * always enough.  What larder_key_format() then writes is the same text again.
 * LARDER_OK; LARDER_SHORT; LARDER_INVALID: one part only, four or more, an empty one, a '%' that begins neither %3A nor %25, a
 * namespace that is too long or has a NUL in it; LARDER_KEY_SIZE.  The message says what was found at which byte.
 */
LARDER_API enum larder_status larder_key_parse(const char *text, size_t count, char *own, size_t room, struct larder_key *key);

/*
 * The key as stores take it.  Nothing is built for a key without version, ':' and '%': prepared->bytes is then key->key itself.
 * Else the text is written to own[0 .. room), for which LARDER_KEY_MAX bytes are always enough, and prepared->bytes leads there.
 * Either way prepared is good for as long as those bytes are; prepared->ns is so for ever.
 * LARDER_OK; LARDER_SHORT; LARDER_NAMESPACES, LARDER_NO_MEMORY (as larder_name); and what larder_key_check() answers.
 */
LARDER_API enum larder_status larder_key_prepare(const struct larder_key *key, char *own, size_t room,
		struct larder_store_key *prepared);

#ifdef __cplusplus
}
#endif
#endif
