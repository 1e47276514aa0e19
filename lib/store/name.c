/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of namespaces, interned for the whole process: an open-addressed table of pointers that only ever fills.
 *
 * A name is made whole, then put into the first empty place of its probe by CAS; who loses that CAS looks at the winner and goes
 * on.  No lock, so a child forked in the middle of a call finds a table that it can use; what it may lose is one name's memory.
 * Edge: NAMED.
 */
#include "store/name.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/sync.h"

#define NAME_BYTES_MAX 64u

static struct pointer table[LARDER_NAMES_MAX];

size_t name_escape(const char *text, size_t count, char *escaped)
{
	size_t length = 0;

	for (size_t i = 0; i < count; i++) {
		if (text[i] != ':' && text[i] != '%') {
			escaped[length++] = text[i];
			continue;
		}
		escaped[length++] = '%';
		escaped[length++] = text[i] == ':' ? '3' : '2';
		escaped[length++] = text[i] == ':' ? 'A' : '5';
	}
	return length;
}

size_t name_escaped_bytes(const char *text, size_t count)
{
	size_t bytes = count;

	for (size_t i = 0; i < count; i++)
		if (text[i] == ':' || text[i] == '%')
			bytes += 2;
	return bytes;
}

#define EVERY_BYTE UINT64_C(0x0101010101010101)

/* True if one of the eight bytes is c. */
static bool word_has(uint64_t word, unsigned char c)
{
	uint64_t zeroed = word ^ EVERY_BYTE * c;

	return (zeroed - EVERY_BYTE) & ~zeroed & EVERY_BYTE << 7;
}

bool name_is_plain_long(const void *text, size_t count)
{
	const unsigned char *bytes = text;
	uint64_t word;

	for (; count >= sizeof word; bytes += sizeof word, count -= sizeof word) {
		memcpy(&word, bytes, sizeof word);
		if (word_has(word, ':') || word_has(word, '%'))
			return false;
	}
	for (; count; bytes++, count--)
		if (*bytes == ':' || *bytes == '%')
			return false;
	return true;
}

/* The name and its two texts in one piece of memory. */
static struct larder_name *name_make(const char *text, size_t count, uint32_t index)
{
	struct larder_name *name = malloc(sizeof *name + count + 1 + 3 * count + 1);

	if (!name)
		return NULL;
	char *copy = (char *)(name + 1), *escaped = copy + count + 1;
	memcpy(copy, text, count + 1);
	size_t length = name_escape(text, count, escaped);
	escaped[length] = '\0';
	*name = (struct larder_name){ .index = index, .text_bytes = (uint32_t)count, .escaped_bytes = (uint32_t)length,
		.text = copy, .escaped = escaped };
	return name;
}

/* The name in place `index`, put there now if the place is empty; NULL without memory. */
static const struct larder_name *name_at(uint32_t index, const char *text, size_t count)
{
	/* NAMED (acquire): pairs with the CAS below.  Whoever sees the pointer sees the name behind it. */
	const struct larder_name *there = pointer_load_acquire(&table[index]);

	if (there)
		return there;
	struct larder_name *mine = name_make(text, count, index);
	if (!mine)
		return NULL;
	/* NAMED (release) */
	if (pointer_cas_acq_rel(&table[index], NULL, mine))
		return mine;
	free(mine);
	return pointer_load_acquire(&table[index]);
}

enum larder_status larder_name(const char *text, const struct larder_name **name)
{
	size_t count = text ? strlen(text) : 0;

	if (!text || !name || count > NAME_BYTES_MAX)
		return LARDER_INVALID;
	uint32_t home = (uint32_t)hash_bytes(text, count, 0) % LARDER_NAMES_MAX;
	for (uint32_t step = 0; step < LARDER_NAMES_MAX; step++) {
		const struct larder_name *there = name_at((home + step) % LARDER_NAMES_MAX, text, count);
		if (!there)
			return LARDER_NO_MEMORY;
		if (there->text_bytes == count && !memcmp(there->text, text, count)) {
			*name = there;
			return LARDER_OK;
		}
	}
	return LARDER_NAMESPACES;
}

const struct larder_name *name_known(const char *text)
{
	size_t count = strlen(text);
	uint32_t home = (uint32_t)hash_bytes(text, count, 0) % LARDER_NAMES_MAX;

	for (uint32_t step = 0; step < LARDER_NAMES_MAX; step++) {
		/* NAMED (acquire): as in name_at(). */
		const struct larder_name *there = pointer_load_acquire(&table[(home + step) % LARDER_NAMES_MAX]);
		if (!there || (there->text_bytes == count && !memcmp(there->text, text, count)))
			return there;
	}
	return NULL;
}
