/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The recycler.  See evict.h for the way of a segment, lib/README.md for what a death at each step leaves
 * (tests/model/pml: walk, relink, counter, recycle).
 *
 * A segment is divided into lanes.  Each lane's progress word carries the life (incarnation and turn) it counts for, and
 * is moved on by CAS after the work; a hint says who is at work in a lane, so that many setters take different ones.
 */
#include "cache/evict.h"

/* Set in the cell field of a segment word from DRAINING on, beside SEGWORD_RELINK: nothing of it survives. */
#define NO_SURVIVORS (SEGWORD_RELINK << 1)
/* As well: all that is good survives, for what is emptied is the holes of namespaces with a quota. */
#define COMPACT (SEGWORD_RELINK << 2)
/* As well: all that is good survives, for little is. */
#define SPARSE (SEGWORD_RELINK << 3)
#define ENTRY_WORK 128u  /* of dealing with an entry, where that of copying a unit is 1: about nanoseconds */
#define PRESSED_WORK (UINT64_C(1) << 20) /* done for one set that found no room, before it takes a victim whole */
#define SMALL_SHARE 10u  /* the small pool is a tenth of all */
#define SAMPLE 32u /* entries of a segment that are looked at, to judge of the others */
#define RELINK_PERCENT 95u
#define SPARSE_PERCENT 75u
#define SPARSE_LOOKS 4u
#define SPARSE_SEEN 4u /* fewer say nothing */
#define SURVIVOR_AGE_PART 4u /* survivors fill holes of segments no older than this part of all: those are not next to go */
#define CHUNK_BLOCKS 1u  /* walked for one CAS of progress */

enum step { STEP_DONE, STEP_BLOCKED, STEP_NONE };

/* ---- One entry -------------------------------------------------------------------------------------------------------------- */

/* A survivor that is held in HAZARD_WALK, in its slot. */
struct survivor {
	struct word *slot;
	struct octet *frequency;
	uint64_t word;
	uint64_t hash;
	struct entry entry;
};

static void drop(struct actor *a, const struct survivor *s, enum counter why)
{
	struct found f = { .slot = s->slot, .word = s->word, .entry = s->entry };
	if (index_remove(a, &f, why) && why != COUNTER_expirations && why != COUNTER_flushed)
		a->evicted++;
}

/* Copies the survivor to `room`; a counter is frozen first. */
static void write_copy(struct actor *a, const struct entry *e, struct room *room)
{
	uint64_t reuse = room_open(room);
	memcpy(room->shm->body, e->shm->body, (size_t)e->units * UNIT_BYTES - sizeof(struct word));
	if (entry_is_counter(e)) {
		struct entry copy;
		entry_open_head(&copy, a->region, room->place.place, e->head);
		store_hint(entry_cell(&copy), cell_freeze(entry_cell(e)));
	}
	uint64_t head = (head_with_status(e->head, ENTRY_COMMITTED) & ((UINT64_C(1) << HEAD_REUSE_SHIFT) - 1)) | reuse << HEAD_REUSE_SHIFT;
	room_seal_entry(a, room, head, entry_end(e));
}

static void copy_to_main(struct actor *a, const struct survivor *s, unsigned class, uint8_t frequency)
{
	struct room room;
	uint32_t tries = a->tries; /* the call's limit is for its own change: one call may copy any number of survivors */
	a->tries = 0;
	uint32_t age_max = a->region->geo.segments / SURVIVOR_AGE_PART;
	bool found = room_fit(a, s->entry.units, POOL_MAIN, class, age_max, &room)
			|| room_append(a, s->entry.units, POOL_MAIN, class, NEED_SURVIVOR, &room);
	a->tries = tries;
	if (!found) {
		drop(a, s, COUNTER_evictions_need);
		return;
	}
	write_copy(a, &s->entry, &room);
	a->work += s->entry.units;
	/* PUBLISH (release) */
	if (cas_seq_cst(s->slot, s->word, slot_word(slot_tag(s->word), room.place.place, room.place.inc))) {
		octet_store_hint(s->frequency, frequency);
		count(a, copies, 1);
		count(a, copied_bytes, s->entry.units * UNIT_BYTES);
		room_leave(a);
	} else {
		room_abandon(a, &room);
	}
}

/* An undecided insert does not survive: its inserter sees ABORTED and starts over. */
static bool settle_undecided(struct actor *a, struct survivor *s)
{
	if (head_status(s->entry.head) == ENTRY_PENDING && !entry_abort(&s->entry)) {
		entry_open(&s->entry, a->region, s->entry.place);
		if (head_status(s->entry.head) == ENTRY_COMMITTED)
			return true;
	}
	if (head_status(s->entry.head) == ENTRY_COMMITTED)
		return true;
	slot_empty(a, s->slot, s->word, &s->entry);
	return false;
}

/* In a segment that is emptied for the sake of its holes: of namespaces with a quota, or where much has expired. */
static bool stays_good(const struct region *r, const struct survivor *s, uint64_t segword)
{
	return segword & SPARSE
			|| (segword & COMPACT && load_hint(&region_namespace(r, entry_namespace(&s->entry))->quota) != 0);
}

static void judge(struct actor *a, struct survivor *s, uint64_t segword)
{
	enum life life = entry_life(a->region, &s->entry);
	uint8_t used = frequency_of(s->frequency);
	if (life_is_over(life)) {
		drop(a, s, life == LIFE_EXPIRED ? COUNTER_expirations : COUNTER_flushed);
	} else if (segword & NO_SURVIVORS) {
		drop(a, s, COUNTER_evictions_need);
	} else if (namespace_exceeds(a->region, entry_namespace(&s->entry))) {
		drop(a, s, COUNTER_evictions_quota);
	} else if (stays_good(a->region, s, segword)) {
		copy_to_main(a, s, segword_class(segword), used);
	} else if (segword_pool(segword) == POOL_SMALL) {
		if (used >= PROMOTE_HITS) {
			copy_to_main(a, s, segword_class(segword), 0);
			return;
		}
		if (head_kind(s->entry.head) != KIND_CHUNK)
			ghost_add(a->region, s->hash);
		drop(a, s, COUNTER_evictions_small);
	} else if (used == 0) {
		drop(a, s, COUNTER_evictions_main);
	} else if (segword & SEGWORD_RELINK) {
		octet_store_hint(s->frequency, (uint8_t)(used - 1));
	} else {
		copy_to_main(a, s, segword_class(segword), (uint8_t)(used - 1));
	}
}

/* Where an entry may begin: a hint, until a slot leads there. */
struct candidate {
	uint64_t place;
	uint64_t hash;
	uint32_t units;
};

/* Could an entry begin here?  Any eight bytes of a value may look like a head; most do not. */
static bool candidate_at(const struct region *r, uint64_t place, struct candidate *c)
{
	_Alignas(uint64_t) unsigned char copy[ENTRY_HINT_BYTES];
	struct entry e;
	if (!entry_open_hint(&e, r, place, copy) || head_status(e.head) == ENTRY_UNBORN)
		return false;
	c->place = place;
	c->units = e.units;
	c->hash = key_hash(r, e.key, e.key_bytes, entry_namespace(&e), head_kind(e.head) == KIND_CHUNK);
	__builtin_prefetch(&region_group(r, hash_group(r, c->hash))->home[hash_home(c->hash)]);
	return true;
}

/* False: no slot leads there; it is dead, or was never an entry. */
static bool evict_entry(struct actor *a, const struct candidate *c, uint64_t segword)
{
	struct survivor s = { .hash = c->hash };
	s.slot = index_slot_of(a->region, c->hash, c->place, segword_inc(segword), &s.frequency);
	if (s.slot == NULL)
		return false;
	s.word = slot_word(hash_tag(c->hash), c->place, segword_inc(segword));
	if (!slot_hold(a, HAZARD_WALK, s.slot, s.word) || !slot_open(a, s.word, &s.entry))
		return true;
	if (settle_undecided(a, &s))
		judge(a, &s, segword);
	return true;
}

/* ---- Walking ------------------------------------------------------------------------------------------------------------------- */

static uint64_t starts_of(const struct region *r, uint32_t segment, uint32_t word, uint64_t inc)
{
	uint64_t w = load_acquire(&region_starts(r, segment)[word]);
	bool ours = w >> STARTS_TAG_SHIFT == (inc & 0xffff);
	return ours ? w & ((UINT64_C(1) << STARTS_TAG_SHIFT) - 1) : 0;
}

/* The lines of a block in which entries begin. */
static uint32_t block_starts(const struct region *r, uint32_t segment, uint32_t block, uint64_t inc)
{
	return starts_of(r, segment, block / WORD_BLOCKS, inc) >> block % WORD_BLOCKS * BLOCK_LINES & ((1u << BLOCK_LINES) - 1);
}

/* Candidates from *unit on, each behind the one before it: so entries lie, if none was cut off.  Returns their number. */
static unsigned block_chain(const struct region *r, uint64_t base, uint32_t starts, struct candidate *c)
{
	unsigned n = 0;
	for (uint32_t unit = 0; unit < BLOCK_UNITS;) {
		bool begins = starts >> unit / LINE_UNITS & 1;
		if (begins && candidate_at(r, base + unit, &c[n]))
			unit += c[n++].units;
		else
			unit += begins ? 1 : LINE_UNITS - unit % LINE_UNITS;
	}
	return n;
}

/* No slot leads to this candidate: what it covers may hide others. */
static void walk_inside(struct actor *a, uint64_t base, uint32_t starts, const struct candidate *c, uint64_t segword)
{
	struct candidate inner;
	uint64_t end = c->place + c->units - base < BLOCK_UNITS ? c->place + c->units - base : BLOCK_UNITS;
	for (uint64_t unit = c->place - base + 1; unit < end; unit++)
		if (starts >> unit / LINE_UNITS & 1 && candidate_at(a->region, base + unit, &inner))
			(void)evict_entry(a, &inner, segword);
}

/* Nothing is written in this segment any more, and an entry that a slot leads to is where it seems to be: no other begins
 * inside of it.  So every start is a candidate of the chain, or lies inside of one that no slot leads to. */
static void walk_block(struct actor *a, uint32_t segment, uint32_t block, uint64_t segword)
{
	struct candidate chain[BLOCK_UNITS / 2];
	uint64_t base = geo_place(&a->region->geo, segment, (uint64_t)block * BLOCK_UNITS);
	uint32_t starts = block_starts(a->region, segment, block, segword_inc(segword));
	unsigned n = block_chain(a->region, base, starts, chain);
	a->work += n * ENTRY_WORK;
	for (unsigned i = 0; i < n; i++)
		if (!evict_entry(a, &chain[i], segword))
			walk_inside(a, base, starts, &chain[i], segword);
	hazard_clear(a, HAZARD_WALK);
}

static uint32_t lane_begin(const struct region *r, unsigned lane) { return (uint32_t)((uint64_t)geo_blocks(&r->geo) * lane / SEGMENT_LANES); }

/* Blocks of the lane walked so far in this life. */
static uint32_t lane_done(const struct region *r, uint32_t segment, unsigned lane, uint64_t life)
{
	uint64_t w = load_acquire(&region_segment(r, segment)->progress[lane]);
	return life_is(w, life) ? (uint32_t)life_value(w) : 0;
}

static bool lane_open(const struct region *r, uint32_t segment, unsigned lane, uint64_t life)
{
	return lane_done(r, segment, lane, life) < lane_begin(r, lane + 1) - lane_begin(r, lane);
}

static uint8_t walker_hint(const struct actor *a) { return (uint8_t)(a->slot % UINT8_MAX + 1); }

/* A lane that is not done: rather one that nobody else is at work in.  SEGMENT_LANES: all are done. */
static unsigned choose_lane(const struct actor *a, uint32_t segment, uint64_t life)
{
	unsigned open = SEGMENT_LANES;
	for (unsigned i = 0; i < SEGMENT_LANES; i++) {
		unsigned lane = (a->slot + i) % SEGMENT_LANES;
		if (!lane_open(a->region, segment, lane, life))
			continue;
		uint8_t walker = octet_load_hint(&region_segment(a->region, segment)->walker[lane]);
		if (walker == 0 || walker == walker_hint(a))
			return lane;
		open = lane;
	}
	return open;
}

/* Work first, then the CAS that says so: losing it means that somebody else did the same work. */
static void walk_lane(struct actor *a, uint32_t segment, unsigned lane, uint64_t segword, uint64_t *budget)
{
	struct shm_segment *s = region_segment(a->region, segment);
	uint64_t life = segword_life(segword), seen = load_acquire(&s->progress[lane]);
	uint32_t done = life_is(seen, life) ? (uint32_t)life_value(seen) : 0;
	uint32_t blocks = lane_begin(a->region, lane + 1) - lane_begin(a->region, lane);
	uint32_t end = done + CHUNK_BLOCKS < blocks ? done + CHUNK_BLOCKS : blocks;
	octet_store_hint(&s->walker[lane], walker_hint(a));
#if LARDER_FAULT == 1
	cas_acq_rel(&s->progress[lane], seen, life_word(life, end));
#endif
	for (uint32_t block = done; block < end; block++)
		walk_block(a, segment, lane_begin(a->region, lane) + block, segword);
#if LARDER_FAULT != 1
	/* WALKED (release): the slots of these starts are dealt with. */
	cas_acq_rel(&s->progress[lane], seen, life_word(life, end));
#endif
	octet_store_hint(&s->walker[lane], 0);
	uint64_t units = (uint64_t)(end - done) * BLOCK_UNITS;
	*budget = *budget > units ? *budget - units : 0;
}

/* ---- The way of a segment ---------------------------------------------------------------------------------------------------------- */

static bool ask_now(struct actor *a, bool urgent) { return urgent || ++a->asked % 32 == 0; }

static enum step blocked(struct actor *a, uint32_t segment, uint32_t blocker)
{
	struct shm_segment *s = region_segment(a->region, segment);
	octet_store_hint(&s->blocker[0], (uint8_t)(blocker + 1));
	octet_store_hint(&s->blocker[1], (uint8_t)((blocker + 1) >> 8));
	count(a, blocked, 1);
	return STEP_BLOCKED;
}

static enum step step_draining(struct actor *a, uint32_t segment, uint64_t w, bool urgent)
{
	uint32_t blocker;
	if (hazard_writer(a, segment, ask_now(a, urgent), &blocker))
		return blocked(a, segment, blocker);
	cas_seq_cst(region_segword(a->region, segment), w, segword_with_state(w, SEGMENT_WALKING));
	return STEP_DONE;
}

static void relink(struct actor *a, uint32_t segment, uint64_t w)
{
	uint64_t sealed = segword_with_state(segword_with_next_turn(w) & ~SEGWORD_RELINK, SEGMENT_SEALED);
	segment_stamp_age(a, segment, segword_inc(w));
	if (cas_seq_cst(region_segword(a->region, segment), w, sealed))
		count(a, segments_relinked, 1);
}

static bool all_expired(const struct region *r, uint32_t segment, uint64_t w)
{
	return segment_expiry(r, segment, segword_inc(w)) < moment_coarse(r);
}

/* live: entries that could still be read may go. */
static enum step step_walking(struct actor *a, uint32_t segment, uint64_t w, uint64_t *budget, bool live)
{
	unsigned lane = choose_lane(a, segment, segword_life(w));
	if (lane < SEGMENT_LANES && !live && !all_expired(a->region, segment, w))
		return STEP_NONE; /* another one's eviction: not for this call to finish */
	if (lane < SEGMENT_LANES)
		walk_lane(a, segment, lane, w, budget);
	else if (w & SEGWORD_RELINK)
		relink(a, segment, w);
	else /* WALKED (acquire): choose_lane() read the progress of all lanes */
		cas_seq_cst(region_segword(a->region, segment), w, segword_with_state(w, SEGMENT_LIMBO));
	return STEP_DONE;
}

/* Nothing is reset by a plain store: the cursor goes to the next life by CAS, then the segment word. */
static enum step step_limbo(struct actor *a, uint32_t segment, uint64_t w, bool urgent)
{
	uint32_t blocker;
	uint64_t inc = segword_inc(w);
#if LARDER_FAULT != 3
	if (hazard_in_segment(a, segment, ask_now(a, urgent), &blocker))
		return blocked(a, segment, blocker);
#else
	(void)blocker, (void)urgent;
#endif
	struct word *cursor = &region_segment(a->region, segment)->cursor;
	uint64_t seen = load_acquire(cursor);
	if (life_is(seen, inc))
		cas_acq_rel(cursor, seen, life_word(inc + 1, 0));
	uint64_t next = (inc + 1) & (UINT64_MAX >> SEGWORD_INC_SHIFT);
	if (cas_seq_cst(region_segword(a->region, segment), w, segword_free(next))) {
		count(a, segments_recycled, 1);
		segments_free(a);
	}
	return STEP_DONE;
}

static enum step step_segment(struct actor *a, uint32_t segment, uint64_t *budget, bool live, bool urgent)
{
	uint64_t w = load_seq_cst(region_segword(a->region, segment));
	switch (segword_state(w)) {
	case SEGMENT_DRAINING:
		return step_draining(a, segment, w, urgent);
	case SEGMENT_WALKING:
		return step_walking(a, segment, w, budget, live);
	case SEGMENT_LIMBO:
		return step_limbo(a, segment, w, urgent);
	default:
		return STEP_NONE;
	}
}

/* ---- Choosing ------------------------------------------------------------------------------------------------------------------------ */

struct sample {
	uint32_t seen, good, hot;
};

/* Nobody holds it: it may be written again while it is looked at. */
static bool hint_good(const struct region *r, uint64_t place)
{
	_Alignas(uint64_t) unsigned char copy[ENTRY_HINT_BYTES];
	struct entry e;
	return entry_open_hint(&e, r, place, copy) && !life_is_over(entry_life(r, &e));
}

/* Counts the first entry of a line that a slot leads to: is it good, and has it been used lately? */
static void sample_line(const struct region *r, uint64_t place, uint64_t inc, struct sample *sample)
{
	struct candidate c;
	struct octet *frequency;
	sample->seen++;
	for (unsigned unit = 0; unit < LINE_UNITS; unit++) {
		if (!candidate_at(r, place + unit, &c) || index_slot_of(r, c.hash, c.place, inc, &frequency) == NULL)
			continue;
		sample->good += hint_good(r, c.place);
		sample->hot += frequency_of(frequency) != 0;
		return;
	}
}

/* Of the lines of a segment in which entries begin, some, spread evenly. */
static struct sample sample_segment(struct actor *a, uint32_t segment, uint64_t inc)
{
	const struct region *r = a->region;
	struct sample sample = { 0 };
	uint32_t starts = 0, words = r->geo.start_words;
	for (uint32_t word = 0; word < words; word++)
		starts += (uint32_t)__builtin_popcountll(starts_of(r, segment, word, inc));
	uint32_t step = starts / SAMPLE + 1, skip = actor_random(a) % step;
	for (uint32_t word = 0; word < words; word++)
		for (uint64_t bits = starts_of(r, segment, word, inc); bits != 0; bits &= bits - 1) {
			uint64_t line = (uint64_t)word * STARTS_PER_WORD + (unsigned)__builtin_ctzll(bits);
			if (skip-- != 0)
				continue;
			skip = step - 1;
			sample_line(r, geo_place(&r->geo, segment, line * LINE_UNITS), inc, &sample);
		}
	return sample;
}

/* Would most of it survive? */
static bool mostly_hot(struct actor *a, uint32_t segment, uint64_t w)
{
	struct sample s = sample_segment(a, segment, segword_inc(w));
	return s.seen != 0 && s.hot * 100 >= s.seen * RELINK_PERCENT;
}

/* The emptiest of a few segments of main that are looked at, if enough of it is gone or expired to be worth a copy of the rest.
 * Only of those with times to live: in others what is gone lets new entries in. */
static uint32_t find_sparse(struct actor *a)
{
	const struct region *r = a->region;
	uint32_t best = UINT32_MAX, best_percent = SPARSE_PERCENT;
	for (unsigned looks = 0; looks < SPARSE_LOOKS; looks++) {
		uint32_t segment = actor_random(a) % r->geo.segments;
		uint64_t w = load_acquire(region_segword(r, segment));
		if (segword_state(w) != SEGMENT_SEALED || segword_pool(w) != POOL_MAIN || segword_class(w) == 0)
			continue;
		struct sample s = sample_segment(a, segment, segword_inc(w));
		if (s.seen < SPARSE_SEEN || s.good * 100 > s.seen * best_percent)
			continue;
		best = segment;
		best_percent = s.good * 100 / s.seen;
	}
	return best;
}

struct choice {
	uint32_t segment[POOLS], age[POOLS], count[POOLS], expired;
	uint32_t limited, limited_age, limited_count; /* of namespaces with a quota: also counted in main */
};

static void consider(struct actor *a, uint32_t segment, uint64_t w, uint64_t now, struct choice *c)
{
	unsigned pool = segword_pool(w), state = segword_state(w);
	uint32_t age = segment_age(a->region, segment);
	if (state != SEGMENT_SEALED && state != SEGMENT_ACTIVE)
		return;
	c->count[pool]++;
	if (unlikely(geo_has_limited(&a->region->geo) && segword_class(w) == geo_limited_class(&a->region->geo))) {
		c->limited_count++;
		if (state == SEGMENT_SEALED && (c->limited == UINT32_MAX || age > c->limited_age)) {
			c->limited = segment;
			c->limited_age = age;
		}
	}
	if (segment_expiry(a->region, segment, segword_inc(w)) < now)
		c->expired = segment;
	if (c->segment[pool] == UINT32_MAX || age > c->age[pool]) {
		c->segment[pool] = segment;
		c->age[pool] = age;
	}
}

/* Do namespaces with a quota have half as much again as their entries take, and some for those that they write to? */
static bool limited_has_holes(const struct actor *a, const struct choice *c)
{
	const struct region *r = a->region;
	uint64_t bytes = 0;
	if (likely(c->limited == UINT32_MAX))
		return false;
	for (uint32_t ns = 0; ns < r->geo.namespaces; ns++) {
		int64_t entries, of_this;
		if (load_hint(&region_namespace(r, ns)->quota) == 0)
			continue;
		namespace_sum(r, ns, &entries, &of_this);
		bytes += of_this > 0 ? (uint64_t)of_this : 0;
	}
	return c->limited_count > (bytes + bytes / 2) / (geo_units(&r->geo) * UNIT_BYTES) + r->geo.stripes + 2;
}

/* *manner: COMPACT or SPARSE, if what is good of it stays. */
static uint32_t choose(struct actor *a, bool live, uint64_t *manner)
{
	struct choice c = { .segment = { UINT32_MAX, UINT32_MAX }, .expired = UINT32_MAX, .limited = UINT32_MAX };
	uint32_t n = a->region->geo.segments;
	uint64_t now = moment_coarse(a->region);
	for (uint32_t i = 0; i < n; i++)
		consider(a, i, load_acquire(region_segword(a->region, i)), now, &c);
	ghost_fit(a, n - n / SMALL_SHARE);
	*manner = 0;
	if (c.expired != UINT32_MAX)
		return c.expired;
	if (!live)
		return UINT32_MAX;
	*manner = COMPACT;
	if (limited_has_holes(a, &c))
		return c.limited;
	uint32_t sparse = find_sparse(a);
	*manner = SPARSE;
	if (sparse != UINT32_MAX)
		return sparse;
	*manner = 0;
	bool small = c.count[POOL_SMALL] > n / SMALL_SHARE || c.segment[POOL_MAIN] == UINT32_MAX;
	return c.segment[small ? POOL_SMALL : POOL_MAIN];
}

/* SEALED → DRAINING of the next victim, with a new turn. */
static bool begin(struct actor *a, bool live)
{
	uint64_t manner;
	uint32_t segment = choose(a, live, &manner);
	if (segment == UINT32_MAX)
		return false;
	struct word *word = region_segword(a->region, segment);
	uint64_t w = load_seq_cst(word);
	if (segword_state(w) == SEGMENT_ACTIVE)
		segment_seal(a, segment, w, true);
	w = load_seq_cst(word);
	if (segword_state(w) != SEGMENT_SEALED)
		return true;
	bool expired = all_expired(a->region, segment, w);
	if (!expired && !live)
		return true; /* chosen as expired: it has had a new entry since */
	uint64_t next = segword_with_state(segword_with_next_turn(w), SEGMENT_DRAINING) & ~(SEGWORD_RELINK | NO_SURVIVORS | COMPACT | SPARSE);
	/* A walk in place takes two turns: before they recur within this incarnation, the segment is emptied. */
	bool turns_left = segword_turn(w) + 4 < UINT64_C(1) << SEGWORD_TURN_BITS;
	if (!expired && a->pressed)
		next |= NO_SURVIVORS;
	else if (!expired && manner != 0)
		next |= manner;
	else if (!expired && turns_left && segword_pool(w) == POOL_MAIN && mostly_hot(a, segment, w))
		next |= SEGWORD_RELINK;
	if (cas_seq_cst(word, w, next) && expired)
		count(a, segments_expired, 1);
	store_hint(&region_super(a->region)->victim, segment + UINT64_C(1));
	return true;
}

/* One step somewhere: the segment that all work at, another that is on its way, or a new one. */
static bool evict_step(struct actor *a, uint64_t *budget, bool live, bool urgent)
{
	uint32_t n = a->region->geo.segments;
	uint64_t victim = load_hint(&region_super(a->region)->victim) - 1;
	if (victim < n && step_segment(a, (uint32_t)victim, budget, live, urgent) == STEP_DONE)
		return true;
	for (uint32_t i = 0; i < n; i++) {
		if (segword_state(load_acquire(region_segword(a->region, i))) < SEGMENT_DRAINING || i == victim)
			continue;
		if (step_segment(a, i, budget, live, urgent) == STEP_DONE) {
			store_hint(&region_super(a->region)->victim, i + UINT64_C(1));
			return true;
		}
	}
	return begin(a, live);
}

void evict_share_slow(struct actor *a, uint32_t units)
{
	uint64_t budget = 2 * (uint64_t)units;
	for (unsigned steps = 0; budget != 0 && steps < 8; steps++)
		if (load_hint(&region_super(a->region)->pressure) == 0 || !evict_step(a, &budget, true, false))
			return;
}

static bool work_for_room(struct actor *a, bool live)
{
	/* Enough for every segment to be walked once in each turn that its frequencies allow. */
	uint64_t limit = (uint64_t)a->region->geo.segments * (geo_blocks(&a->region->geo) / CHUNK_BLOCKS + 4 + 2 * SEGMENT_LANES) * 8;
	a->work = 0;
	for (uint64_t steps = 0; steps < limit; steps++) {
		uint64_t budget = UINT64_MAX;
		if (steps % 8 == 0 && segments_free(a) > SURVIVORS_RESERVE)
			return true;
		a->pressed = live && a->work > PRESSED_WORK;
		if (!evict_step(a, &budget, live, true))
			break;
	}
	return segments_free(a) > SURVIVORS_RESERVE;
}

/* Where all of main is hot, its frequencies would have to be walked down to 0 for the first segment: seconds, in one set. */
bool evict_need(struct actor *a, bool live)
{
	bool room = work_for_room(a, live);
	a->pressed = false;
	return room;
}

uint64_t evict_ahead(struct actor *a, uint64_t units)
{
	uint64_t budget = units;
	for (uint64_t steps = 0; steps < units && budget != 0; steps++) {
		bool short_of = segments_free(a) < 2 * a->region->geo.reserve;
		if (!evict_step(a, &budget, short_of, false))
			break;
	}
	return units - budget;
}
