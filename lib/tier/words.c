/* SPDX-License-Identifier: BSD-2-Clause */
/* The words of a tier, see words.h: finding them, and what they say to those who look. */
#include "tier/words.h"

#include <stdio.h>
#include <string.h>

#include <larder/monitor.h>

#include "base/hash.h"
#include "cache/call.h"
#include "cache/moment.h"
#include "shm/board.h"

#define ROW_NAME "tiered:%u:"
#define ROW_NAME_BYTES (sizeof "tiered:0:" - 1)

_Static_assert(TIER_ROW_WORDS == BOARD_WORDS && TIER_WORDS <= TIER_ROWS * BOARD_WORDS, "the words of a tier are two rows of the board");
_Static_assert(ROW_NAME_BYTES + TIER_IDENTITY_BYTES - 1 <= BOARD_NAME_BYTES, "the name of a row fits");

/* Two that begin alike are two tiers. */
static void shorten(const char *identity, char text[TIER_IDENTITY_BYTES])
{
	if ((size_t)snprintf(text, TIER_IDENTITY_BYTES, "%s", identity) >= TIER_IDENTITY_BYTES)
		snprintf(text, TIER_IDENTITY_BYTES, "%.80s...%016llx", identity,
				(unsigned long long)hash_bytes(identity, strlen(identity), 0));
}

static enum larder_status row_find(struct larder *near, const char *text, unsigned row, struct word **words)
{
	char name[BOARD_NAME_BYTES + 1];

	snprintf(name, sizeof name, ROW_NAME "%.103s", row, text);
	return board_find(&near->region, name, words);
}

enum larder_status tier_words_find(struct tier_words *words, struct larder *near, const char *identity)
{
	enum larder_status status = LARDER_OK;
	char text[TIER_IDENTITY_BYTES];

	shorten(identity, text);
	for (unsigned row = 0; row < TIER_ROWS && !status; row++)
		status = row_find(near, text, row, &words->row[row]);
	for (unsigned row = 0; row < TIER_ROWS && status; row++)
		words->row[row] = words->own + (size_t)row * TIER_ROW_WORDS;
	return status;
}

/* ---- For those who look ------------------------------------------------------------------------------------------------- */

/* The first row of a tier and its name, if row number `row` of the board is one; the second row is found by that.  False past the last
 * row; words->row[0] is NULL where it is none, or has no second row yet. */
static bool find_row(struct tier_words *words, struct larder *near, uint32_t row, char identity[TIER_IDENTITY_BYTES])
{
	char name[BOARD_NAME_BYTES + 1];
	const struct word *seen;

	words->row[0] = words->row[1] = NULL;
	if (!board_row(&near->region, row, name, &seen))
		return false;
	if (strncmp(name, "tiered:0:", ROW_NAME_BYTES))
		return true;
	snprintf(identity, TIER_IDENTITY_BYTES, "%.103s", name + ROW_NAME_BYTES);
	if (row_find(near, identity, 0, &words->row[0]) || row_find(near, identity, 1, &words->row[1]))
		words->row[0] = NULL;
	board_name_printable(identity);
	return true;
}

static uint64_t since(int64_t moment, int64_t now) { return moment && now > moment ? (uint64_t)(now - moment) : 0; }

/* A stranger's word: a status that is none is none. */
static enum larder_status trouble_of(uint64_t word) { return word < LARDER_REASONS ? (enum larder_status)-(int)word : LARDER_OK; }

bool office_is_held(struct larder *near, uint64_t office, struct larder_participant_info *holder)
{
	if (office_slot_plus_1(office) && !larder_participant(near, office_slot_plus_1(office) - 1, holder))
		return holder->alive && (holder->registration & 0x1fffff) == office_registration(office);
	*holder = (struct larder_participant_info){ 0 };
	return false;
}

void tier_words_info(const struct tier_words *words, struct larder *near, struct larder_tiered_info *info)
{
	uint64_t stream = load_acquire(tier_word(words, TIER_STREAM));
	int64_t now = (int64_t)moment_precise(&near->region);
	struct larder_participant_info holder;

#define COUNT(name, word) .name = load_hint(tier_word(words, word))
	*info = (struct larder_tiered_info){ .live = stream_state(stream) == STREAM_LIVE, .broken = stream_state(stream) == STREAM_BROKEN,
		COUNT(gaps, TIER_GAPS), COUNT(armed, TIER_ARMED), COUNT(taken_over, TIER_TAKEN_OVER), COUNT(cleared, TIER_CLEARED),
		COUNT(invalidations, TIER_INVALIDATIONS), COUNT(failures, TIER_FAILURES), COUNT(dirtied, TIER_DIRTIED),
		COUNT(cleaned, TIER_CLEANED), COUNT(accepted, TIER_ACCEPTED), COUNT(written, TIER_WRITTEN),
		COUNT(superseded, TIER_SUPERSEDED), COUNT(lost, TIER_LOST),
		.trouble = trouble_of(load_hint(tier_word(words, TIER_TROUBLE))),
		.oldest_ms = since((int64_t)load_hint(tier_word(words, TIER_OLDEST)), now),
		.silent_ms = since(moment_of_word(load_acquire(tier_word(words, TIER_HEARD))), now) };
#undef COUNT
	uint64_t over = info->written + info->superseded + info->lost;
	info->pending = info->accepted > over ? info->accepted - over : 0;
	info->broken_for_ms = info->broken ? since(stream_since_ms(stream), now) : 0;
	info->held = office_is_held(near, load_acquire(tier_word(words, TIER_OFFICE)), &holder);
	info->holder_slot = holder.slot;
	info->holder_pid = holder.pid;
}

enum larder_status larder_tiers(struct larder *cache, bool (*visit)(const char *far, const struct larder_tiered_info *info, void *arg),
		void *arg)
{
	char identity[TIER_IDENTITY_BYTES];
	struct tier_words words;
	struct larder_tiered_info info;

	if (!cache || !visit)
		return LARDER_INVALID;
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	for (uint32_t row = 0; find_row(&words, cache, row, identity); row++) {
		if (!words.row[0])
			continue;
		tier_words_info(&words, cache, &info);
		if (!visit(identity, &info, arg))
			return LARDER_END;
	}
	return LARDER_OK;
}
