/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys and their canonical text, see larder/key.h.
 *
 * Text and parts stand for each other one to one: format escapes ':' and '%' and joins by ':', parse takes nothing but what
 * format writes.  A text that it does not take is named with the byte at which it stops making sense.
 */
#include <larder/key.h>

#include <stdio.h>
#include <string.h>

#include "base/message.h"
#include "store/name.h"

#define EXCERPT_BYTES 64u
#define PARTS_MAX 3u
static const char *const part_names[PARTS_MAX] = { "namespace", "key", "version" };

/* The beginning of bytes[0 .. count) as it can stand in a message. */
static const char *excerpt(const char *bytes, size_t count, char text[EXCERPT_BYTES])
{
	size_t shown = count < EXCERPT_BYTES - 4 ? count : EXCERPT_BYTES - 4;

	for (size_t i = 0; i < shown; i++)
		text[i] = (unsigned char)bytes[i] < ' ' || bytes[i] == 0x7f ? '?' : bytes[i];
	memcpy(text + shown, shown < count ? "..." : "", shown < count ? 4 : 1);
	return text;
}

/* ---- Parts ---------------------------------------------------------------------------------------------------------- */

static enum larder_status check_namespace(const char *ns, size_t count)
{
	char text[EXCERPT_BYTES];

	if (!ns || !count) {
		message_set("key: the namespace is empty: give one of 1 .. %u bytes", LARDER_NAMESPACE_MAX);
		return LARDER_INVALID;
	}
	if (count > LARDER_NAMESPACE_MAX) {
		message_set("key: namespace '%s' has %zu bytes: at most %u are allowed", excerpt(ns, count, text), count,
				LARDER_NAMESPACE_MAX);
		return LARDER_INVALID;
	}
	const char *nul = memchr(ns, 0, count);
	if (!nul)
		return LARDER_OK;
	message_set("key: namespace '%s' has a NUL at byte %zu: any other byte is allowed", excerpt(ns, count, text),
			(size_t)(nul - ns));
	return LARDER_INVALID;
}

/* Length of what stands behind the namespace. */
static size_t engine_bytes(const struct larder_key *key)
{
	size_t bytes = name_escaped_bytes(key->key, key->key_bytes);

	return key->version ? bytes + 1 + name_escaped_bytes(key->version, key->version_bytes) : bytes;
}

static enum larder_status check_rest(const struct larder_key *key)
{
	char text[EXCERPT_BYTES];

	if (!key->key || !key->key_bytes || (key->version && !key->version_bytes)) {
		message_set("key: the %s is empty: it has to have 1 byte at least", key->key && key->key_bytes ? "version" : "key");
		return LARDER_KEY_SIZE;
	}
	/* Asked first, so that no sum below can overflow. */
	bool fits = key->key_bytes <= LARDER_KEY_MAX && (!key->version || key->version_bytes <= LARDER_KEY_MAX);
	if (fits && engine_bytes(key) <= LARDER_KEY_MAX)
		return LARDER_OK;
	message_set("key '%s': key and version are too long: %u bytes are allowed for the two as they stand in the text, "
			"where ':' and '%%' take three each", excerpt(key->key, key->key_bytes, text), LARDER_KEY_MAX);
	return LARDER_KEY_SIZE;
}

enum larder_status larder_key_check(const struct larder_key *key)
{
	enum larder_status status = check_namespace(key->ns, key->ns_bytes);

	return status ? status : check_rest(key);
}

enum larder_status larder_key_make(struct larder_key *key, const char *ns, const char *name, const char *version)
{
	*key = (struct larder_key){ .ns = ns, .ns_bytes = ns ? strlen(ns) : 0, .key = name, .key_bytes = name ? strlen(name) : 0,
		.version = version, .version_bytes = version ? strlen(version) : 0 };
	return larder_key_check(key);
}

/* ---- To text ---------------------------------------------------------------------------------------------------------- */

/* Key and version to text, which has room for engine_bytes(). */
static size_t write_rest(const struct larder_key *key, char *text)
{
	size_t length = name_escape(key->key, key->key_bytes, text);

	if (!key->version)
		return length;
	text[length++] = ':';
	return length + name_escape(key->version, key->version_bytes, text + length);
}

enum larder_status larder_key_format(const struct larder_key *key, char *text, size_t room, size_t *length)
{
	enum larder_status status = larder_key_check(key);

	if (status)
		return status;
	size_t ns_bytes = name_escaped_bytes(key->ns, key->ns_bytes), bytes = ns_bytes + 1 + engine_bytes(key);
	if (length)
		*length = bytes;
	if (bytes >= room)
		return LARDER_SHORT;
	(void)name_escape(key->ns, key->ns_bytes, text);
	text[ns_bytes] = ':';
	(void)write_rest(key, text + ns_bytes + 1);
	text[bytes] = '\0';
	return LARDER_OK;
}

static bool is_plain(const struct larder_key *key)
{
	return !key->version && name_is_plain(key->key, key->key_bytes);
}

enum larder_status larder_key_prepare(const struct larder_key *key, char *own, size_t room, struct larder_store_key *prepared)
{
	char ns[LARDER_NAMESPACE_MAX + 1];
	enum larder_status status = larder_key_check(key);

	if (status)
		return status;
	memcpy(ns, key->ns, key->ns_bytes);
	ns[key->ns_bytes] = '\0';
	status = larder_name(ns, &prepared->ns);
	if (status)
		return status;
	prepared->bytes = key->key;
	prepared->count = key->key_bytes;
	if (is_plain(key))
		return LARDER_OK;
	if (engine_bytes(key) > room)
		return LARDER_SHORT;
	prepared->bytes = own;
	prepared->count = write_rest(key, own);
	return LARDER_OK;
}

/* ---- From text -------------------------------------------------------------------------------------------------------- */

/* A text that is read from left to right; at is where. */
struct reading {
	const char *text;
	size_t count, at;
	char *own;
	size_t used; /* of own */
};

static enum larder_status refuse(const struct reading *r, const char *what, const char *remedy)
{
	char text[EXCERPT_BYTES];

	message_set("key text '%s': %s at byte %zu; %s", excerpt(r->text, r->count, text), what, r->at, remedy);
	return LARDER_INVALID;
}

/* The byte that the escape at r->at stands for, 0 if it is none. */
static char unescaped(const struct reading *r)
{
	const char *escape = r->text + r->at;

	if (r->count - r->at < 3)
		return 0;
	if (!memcmp(escape, "%3A", 3))
		return ':';
	return !memcmp(escape, "%25", 3) ? '%' : 0;
}

/* One part to r->own, with a NUL behind it; stops at ':' or at the end. */
static enum larder_status read_part(struct reading *r, const char *name, const void **part, size_t *bytes)
{
	char what[32], *begin = r->own + r->used;
	size_t length = 0;

	for (; r->at < r->count && r->text[r->at] != ':'; length++) {
		char c = r->text[r->at];
		if (c != '%') {
			begin[length] = c;
			r->at++;
			continue;
		}
		begin[length] = unescaped(r);
		if (!begin[length])
			return refuse(r, "'%' without 3A or 25 behind it", "':' within a part is written %3A, '%' is written %25");
		r->at += 3;
	}
	begin[length] = '\0';
	r->used += length + 1;
	*part = begin;
	*bytes = length;
	if (length)
		return LARDER_OK;
	snprintf(what, sizeof what, "the %s is empty", name);
	return refuse(r, what, "expected namespace:key or namespace:key:version, no part of them empty");
}

static enum larder_status read_parts(struct reading *r, struct larder_key *key)
{
	const void *part[PARTS_MAX] = { NULL };
	size_t bytes[PARTS_MAX] = { 0 };
	unsigned parts = 0;

	for (bool more = true; more; parts++) {
		enum larder_status status = read_part(r, part_names[parts], &part[parts], &bytes[parts]);
		if (status)
			return status;
		more = r->at < r->count;
		if (more && parts + 1 == PARTS_MAX)
			return refuse(r, "a fourth part begins", "at most three are allowed: ':' within a part is written %3A");
		r->at += more;
		if (more && r->at == r->count)
			return refuse(r, "an empty part", "expected namespace:key or namespace:key:version, no part of them empty");
	}
	if (parts == 1)
		return refuse(r, "the only part ends", "expected namespace:key or namespace:key:version");
	*key = (struct larder_key){ .ns = part[0], .ns_bytes = bytes[0], .key = part[1], .key_bytes = bytes[1],
		.version = part[2], .version_bytes = bytes[2] };
	return LARDER_OK;
}

enum larder_status larder_key_parse(const char *text, size_t count, char *own, size_t room, struct larder_key *key)
{
	struct reading r = { .text = text, .count = count, .own = own };

	if (!text || !own || !key) {
		message_set("larder_key_parse: text, own and key must not be NULL");
		return LARDER_INVALID;
	}
	if (count >= room && count <= LARDER_KEY_TEXT_MAX)
		return LARDER_SHORT;
	if (count > LARDER_KEY_TEXT_MAX) {
		r.at = LARDER_KEY_TEXT_MAX;
		(void)refuse(&r, "too long: it goes on", "no key has a longer text");
		return LARDER_KEY_SIZE;
	}
	enum larder_status status = read_parts(&r, key);
	return status ? status : larder_key_check(key);
}
