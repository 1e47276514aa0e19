/* SPDX-License-Identifier: BSD-2-Clause */
/* Tags and their clock.  See tag.h.  A crash between raising a word and moving the clock: the next setter moves it. */
#include "shm/tag.h"

uint16_t tag_number(const struct region *r, const char *name)
{
	return (uint16_t)(hash_bytes(name, strlen(name), r->geo.hash_seed) & (r->geo.tag_words - 1));
}

/* Every number is a stranger's: it stays within the table. */
static struct word *tag_word(const struct region *r, uint16_t number) { return &region_tags(r)[number & (r->geo.tag_words - 1)]; }

static struct word *clock_word(const struct region *r) { return &region_super(r)->tag_clock; }

uint64_t tag_clock(const struct region *r) { return load_seq_cst(clock_word(r)) + 1; }

bool tags_below(const struct region *r, const uint16_t *number, unsigned count, uint64_t clock)
{
	for (unsigned i = 0; i < count; i++)
		/* TAG (acquire): loaded after the entry, so that an invalidation which returned before is seen. */
		if (load_seq_cst(tag_word(r, number[i])) >= clock)
			return false;
	return true;
}

bool entry_tags_good(const struct region *r, const struct entry *e)
{
	unsigned count = extras_tags(e->extras);
	if (count == 0)
		return true;
	struct tags t = entry_tags(e);
	return tags_below(r, t.number, count, t.clock);
}

static bool clock_moves(const struct region *r, uint64_t clock) { return cas_seq_cst(clock_word(r), clock - 1, clock); }

/* A word above the clock is damage: it would make an end of the tag. */
static void mend(struct actor *a, struct word *w, uint64_t clock)
{
	uint64_t seen = load_seq_cst(w);
	if (seen > clock && seen > tag_clock(a->region) && cas_seq_cst(w, seen, clock))
		count(a, damage, 1);
}

uint64_t tag_clock_for(struct actor *a, const uint16_t *number, unsigned count)
{
	const struct region *r = a->region;
	uint64_t clock = tag_clock(r);
	if (likely(tags_below(r, number, count, clock)))
		return clock;
	for (unsigned i = 0; i < count; i++)
		mend(a, tag_word(r, number[i]), clock);
	/* Once: a word that is raised again is that of an invalidation beside this set, which may take it.  Else the two of them
	 * could move the clock for each other for ever. */
	(void)clock_moves(r, clock);
	return tag_clock(r);
}

static void raise_word(struct word *w, uint64_t clock)
{
	for (;;) { /* progress: a lost CAS is another invalidation of this tag */
		uint64_t seen = load_seq_cst(w);
		/* TAG (release): from here on no get sees an entry that was begun before. */
		if (seen >= clock || cas_seq_cst(w, seen, clock))
			return;
	}
}

void tag_invalidate(struct actor *a, uint16_t number)
{
	struct word *w = tag_word(a->region, number);
	for (;;) { /* progress: the clock was moved by another one's invalidation, or by a set, which does so once */
		uint64_t clock = tag_clock(a->region);
		mend(a, w, clock);
		raise_word(w, clock);
		if (clock_moves(a->region, clock))
			return;
	}
}
