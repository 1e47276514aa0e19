/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding, claiming and reading names of rows, see label.h. */
#include "shm/label.h"

#include <string.h>

#include "base/hash.h"

struct named {
	struct word hash, bytes, text[];
};

static struct named *row_at(const struct label_table *t, uint32_t row) { return (struct named *)(t->rows + row * t->row_bytes); }

/* Writes one word from 0, or agrees with what somebody wrote.  False: it is another name's, or may not be written. */
static bool word_agrees(struct word *w, uint64_t wanted, bool may_write)
{
	uint64_t seen = load_acquire(w);

	if (seen == 0 && may_write) {
		cas_acq_rel(w, 0, wanted);
		seen = load_acquire(w);
	}
	return seen == wanted;
}

static bool name_agrees(struct named *n, const uint64_t *words, size_t bytes, bool may_write)
{
	if (!word_agrees(&n->bytes, bytes, may_write))
		return false;
	for (size_t i = 0; i < (bytes + 7) / 8; i++)
		if (!word_agrees(&n->text[i], words[i], may_write))
			return false;
	return true;
}

enum larder_status label_find(const struct label_table *t, const void *text, size_t bytes, uint32_t *row)
{
	uint64_t words[LABEL_TEXT_WORDS_MAX] = { 0 };

	if (bytes == 0 || bytes > t->text_words * sizeof *words)
		return LARDER_INVALID;
	memcpy(words, text, bytes);
	for (size_t i = 0; i < (bytes + 7) / 8; i++)
		if (words[i] == 0)
			return LARDER_INVALID;
	uint64_t hash = hash_bytes(text, bytes, t->seed) | 1;
	for (uint32_t i = 0; i < t->count; i++) { /* bounded by the table */
		uint32_t at = (uint32_t)((hash + i) % t->count);
		struct named *n = row_at(t, at);
		uint64_t seen = load_acquire(&n->hash);
		if (seen == 0 && t->may_claim) {
			cas_acq_rel(&n->hash, 0, hash);
			seen = load_acquire(&n->hash);
		}
		if (seen == 0)
			return LARDER_MISS;
		if (seen == hash && name_agrees(n, words, bytes, t->may_claim)) {
			*row = at;
			return LARDER_OK;
		}
	}
	return t->may_claim ? LARDER_NO_ROOM : LARDER_MISS;
}

size_t label_read(const struct label_table *t, uint32_t row, char *text)
{
	const struct named *n = row_at(t, row);
	uint64_t bytes = load_acquire(&n->bytes);

	if (load_acquire(&n->hash) == 0 || bytes == 0 || bytes > t->text_words * sizeof(uint64_t))
		return 0;
	for (size_t i = 0; i < (bytes + 7) / 8; i++) {
		uint64_t w = load_acquire(&n->text[i]);
		if (w == 0)
			return 0;
		memcpy(text + 8 * i, &w, 8);
	}
	return bytes;
}
