/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all processes of a near cache know of one tier: two rows of the board, changed by CAS and fetch_add alone.
 *
 * OFFICE says who listens: term 32 bits, slot + 1 in 11, registration in 21.  A new holder raises the term by CAS, so a holder
 * that was stopped finds another word when it goes on.  ATTENDED is when the holder last did anything, HEARD the moment up to which it has
 * heard everything; both are tagged with its term.  STREAM says what a reader may believe:
 *
 *    63      42 41                       2 1    0
 *   +----------+--------------------------+-----+
 *   |  term 22 |  since when, ms 40       |state|    NEVER: nobody has listened yet; LIVE; BROKEN since
 *   +----------+--------------------------+-----+
 *
 * Moments are those of the near cache (cache/moment.h).  Every change of these words is a CAS from a word that carries the changer's own
 * term, but for two: a new holder marks them with its term, and anyone may mark a LIVE stream BROKEN.  So a holder that lost its office
 * changes nothing.  A crash leaves LIVE with an old HEARD: whoever sees how old marks it BROKEN.
 * All others are counts that only rise.
 */
#ifndef LARDER_TIER_WORDS_H
#define LARDER_TIER_WORDS_H

#include <larder/tiered.h>

#include "base/sync.h"

enum tier_word {
	TIER_OFFICE, TIER_ATTENDED, TIER_HEARD, TIER_STREAM,
	TIER_GAPS,          /* times that the stream was found broken */
	TIER_ARMED,         /* times that it was set up */
	TIER_TAKEN_OVER,    /* times that the office changed hands */
	TIER_INVALIDATIONS, /* keys that others changed */
	TIER_CLEARED,       /* times that everything was invalidated at once */
	TIER_FAILURES,      /* calls of the far store that it failed */
	TIER_DIRTIED,       /* entries marked dirty because the far store failed */
	TIER_CLEANED,       /* dirty entries that were brought to the far store, or lost to newer ones there */
	TIER_TROUBLE,       /* why the listener has no line: -status; 0: it has, or nobody tried */
	TIER_ACCEPTED = 16, /* the second row: writes taken into a queue */
	TIER_WRITTEN,       /* of them, written */
	TIER_SUPERSEDED,    /* of them, not written because a newer one of the key was there */
	TIER_LOST,          /* of them, dropped or refused; what is still near is dirty there */
	TIER_OLDEST,        /* moment at which the oldest write that a queue still holds was accepted; 0: none */
	TIER_QUEUES,        /* queues of write-behind that were opened and not closed; their owners may be dead */
	TIER_WORDS
};

#define TIER_ROWS 2u
#define TIER_ROW_WORDS 16u
#define TIER_IDENTITY_BYTES 104u /* a longer one ends in its hash */

struct tier_words {
	struct word *row[TIER_ROWS];
	struct word own[TIER_ROWS * TIER_ROW_WORDS]; /* where the board has no rows left */
};

/* The rows of the tier before the far store `identity`, "tiered:0:IDENTITY" and "tiered:1:IDENTITY".  LARDER_OK; LARDER_NO_ROOM: words of
 * this process alone. */
enum larder_status tier_words_find(struct tier_words *words, struct larder *near, const char *identity);

void tier_words_info(const struct tier_words *words, struct larder *near, struct larder_tiered_info *info);

static inline struct word *tier_word(const struct tier_words *words, enum tier_word which)
{
	return words->row[which / TIER_ROW_WORDS] + which % TIER_ROW_WORDS;
}
static inline void tier_count(const struct tier_words *words, enum tier_word which, uint64_t n) { (void)add_hint(tier_word(words, which), n); }

enum stream_state { STREAM_NEVER, STREAM_LIVE, STREAM_BROKEN };
static inline enum stream_state stream_state(uint64_t word) { return (enum stream_state)(word & 3); }
static inline int64_t stream_since_ms(uint64_t word) { return (int64_t)(word >> 2 & ((UINT64_C(1) << 40) - 1)); }
static inline uint64_t stream_word(enum stream_state state, uint64_t term, int64_t since_ms)
{
	return term << 42 | ((uint64_t)since_ms & ((UINT64_C(1) << 40) - 1)) << 2 | (uint64_t)state;
}
static inline bool stream_is_of(uint64_t word, uint64_t term) { return word >> 42 == (term & 0x3fffff); }

/* ATTENDED and HEARD */
static inline uint64_t moment_word(uint64_t term, int64_t ms) { return term << 42 | ((uint64_t)ms & ((UINT64_C(1) << 42) - 1)); }
static inline int64_t moment_of_word(uint64_t word) { return (int64_t)(word & ((UINT64_C(1) << 42) - 1)); }

/* How long ago a moment of these words was.  One that is still to come is a stranger's, and so was never. */
#define MOMENT_AHEAD_MS 1000
static inline int64_t moment_age_ms(int64_t now, int64_t moment) { return moment - now > MOMENT_AHEAD_MS ? INT64_MAX : now - moment; }

static inline uint64_t office_word(uint64_t term, uint32_t slot, uint64_t registration)
{
	return term << 32 | (uint64_t)(slot + 1) << 21 | (registration & 0x1fffff);
}
static inline uint64_t office_term(uint64_t word) { return word >> 32; }
static inline uint32_t office_slot_plus_1(uint64_t word) { return word >> 21 & 0x7ff; }
static inline uint64_t office_registration(uint64_t word) { return word & 0x1fffff; }
/* Does whoever took it live?  *holder: of that slot as it is now, zeros where there is none. */
bool office_is_held(struct larder *near, uint64_t office, struct larder_participant_info *holder);

#endif
