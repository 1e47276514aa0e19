/* SPDX-License-Identifier: BSD-2-Clause */
/* The words of a tier, see tiered_words.h. */
#include "store/tiered_words.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "cache/call.h"
#include "shm/board.h"

_Static_assert(TIER_ROW_WORDS == BOARD_WORDS && TIER_WORDS <= TIER_ROWS * BOARD_WORDS, "the words of a tier are two rows of the board");

enum larder_status tier_words_find(struct tier_words *words, struct larder *near, const char *identity)
{
	enum larder_status status = LARDER_OK;
	char name[48];

	for (unsigned row = 0; row < TIER_ROWS && !status; row++) {
		snprintf(name, sizeof name, "tiered:%016llx:%u", (unsigned long long)hash_bytes(identity, strlen(identity), 0), row);
		status = board_find(&near->region, name, &words->row[row]);
	}
	for (unsigned row = 0; row < TIER_ROWS && status; row++)
		words->row[row] = words->own + (size_t)row * TIER_ROW_WORDS;
	return status;
}
