/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names for the rows of a table in shared memory: found, or claimed by one CAS, and never given back.
 *
 * A row begins with a word for the name's hash (0: free), one for its length and a few for its text.  The CAS of the hash
 * into the first free row of the probe decides whose it is; length and text are then written by CAS from 0, word by word,
 * by whoever comes by: a claimer that dies in between leaves a row that the next one of the same name completes.  A word
 * that differs is another name of that hash: the next row.  Nothing is ever taken back, so two claimers of one name meet
 * in one row.  No word of a name's text is 0: names have no eight NULs in a row, and do not end in one.
 */
#ifndef LARDER_SHM_LABEL_H
#define LARDER_SHM_LABEL_H

#include "larder.h"
#include "shm/layout.h"

#define LABEL_TEXT_WORDS_MAX 30u

struct label_table {
	unsigned char *rows;
	size_t row_bytes;
	uint32_t count;
	uint32_t text_words; /* of each row, behind its hash and length */
	uint64_t seed;
	bool may_claim;
};

/* LARDER_OK and the number of the row; LARDER_MISS: not there, and it may not be claimed; LARDER_NO_ROOM: every row has
 * another name; LARDER_INVALID: a name has 1 .. 8 * text_words bytes
 * and no word of NULs.  Lock-free, bounded by the table. */
enum larder_status label_find(const struct label_table *t, const void *text, size_t bytes, uint32_t *row);
/* Copies the name of a row into text[0 .. 8 * text_words) and returns its length; 0: none, or not yet whole. */
size_t label_read(const struct label_table *t, uint32_t row, char *text);

#endif
