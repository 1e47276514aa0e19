/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index: which entry a key has.
 *
 * A key's PROBE is its home bucket and two of the eight overflow lines of its group, by its hash: 21 slots, numbered 0 .. 20
 * in that order.
 * Invariant: at most one COMMITTED entry of a key is in its probe.  It is kept by the order in which an insert counts:
 * PENDING into an empty slot, then complete(), which anyone may run, and which aborts whatever could be a second one.
 * A replaced entry never passes through PENDING: one CAS from old to new, the new one COMMITTED from birth.
 * SPILL: a home's spill bit is set before an entry in overflow becomes COMMITTED, and never cleared; only get trusts it.
 * A crash in the middle leaves a PENDING entry, which the next one to insert or delete that key completes or aborts.
 */
#ifndef LARDER_SHM_INDEX_H
#define LARDER_SHM_INDEX_H

#include "base/pair.h"
#include "shm/namespace.h"
#include "shm/place.h"

struct key {
	const void *data;
	uint32_t bytes;
	uint32_t ns;
	bool chunk; /* a piece of a large value: part of the identity */
	uint64_t hash;
	struct shm_group *group;
	struct shm_bucket *home;
};

static inline uint64_t key_hash(const struct region *r, const void *data, uint32_t bytes, uint32_t ns, bool chunk)
{
	uint64_t seed = r->geo.hash_seed + ns * UINT64_C(0x9e3779b97f4a7c15) + chunk;
	return likely(hash_is_short(bytes)) ? hash_short(data, bytes, seed) : hash_bytes(data, bytes, seed);
}
/* Bits 32 .. 63 choose the group, 16 .. 20 the home in it, 21 .. 31 the overflow lines, 0 .. 15 are the tag; ghosts take their
 * own mixture. */
static inline uint64_t hash_tag(uint64_t hash) { uint64_t tag = hash & 0xffff; return tag + (tag == 0); }
static inline uint64_t hash_group(const struct region *r, uint64_t hash) { return (hash >> 32) * r->geo.groups >> 32; }
static inline unsigned hash_home(uint64_t hash) { return hash >> 16 & (GROUP_HOMES - 1); }
/* Two of the lines, never the same: many homes share them, and one that spills much finds others that spill little. */
static inline unsigned hash_line(uint64_t hash, unsigned which)
{
	unsigned first = hash >> 21 & (GROUP_OVERFLOWS - 1);
	return which == 0 ? first : (first + 1 + (hash >> 24 & 0xff) % (GROUP_OVERFLOWS - 1)) & (GROUP_OVERFLOWS - 1);
}

static inline __attribute__((always_inline)) struct key key_make(const struct region *r, const void *data, size_t bytes, uint32_t ns, bool chunk)
{
	struct key k = { .data = data, .bytes = (uint32_t)bytes, .ns = ns, .chunk = chunk };
	k.hash = key_hash(r, data, k.bytes, ns, chunk);
	k.group = region_group(r, hash_group(r, k.hash));
	k.home = &k.group->home[hash_home(k.hash)];
	__builtin_prefetch(k.home);
	return k;
}

static inline struct shm_bucket *probe_bucket(const struct key *k, unsigned at)
{
	return at < BUCKET_SLOTS ? k->home : &k->group->overflow[hash_line(k->hash, at / BUCKET_SLOTS - 1)];
}
static inline struct word *probe_slot(const struct key *k, unsigned at) { return &probe_bucket(k, at)->slot[at % BUCKET_SLOTS]; }
static inline struct octet *probe_frequency(const struct key *k, unsigned at) { return &probe_bucket(k, at)->frequency[at % BUCKET_SLOTS]; }

/* Uses of one entry in quick succession say little about the next hour (Johnson and Shasha, 2Q, VLDB 1994): of one in the small
 * pool they count from when it is ripe. */
static inline uint8_t frequency_of(const struct octet *f)
{
	uint8_t now = octet_load_hint(f);
	return now > FREQUENCY_MAX ? 0 : now;
}
uint8_t frequency_newborn(const struct region *r, unsigned pool);
/* What a use makes of a frequency is told by a table that belongs to one tick: among entries of which some are young, a branch on
 * the octet is guessed wrong often.  The first of a tick to come by fills it in. */
cold void frequency_follow_slow(const struct region *r);
static inline uint64_t frequency_tick(const struct region *r) { return load_hint(&region_super(r)->seals) >> r->tick_shift; }
static inline void frequency_follow(const struct region *r)
{
	if (unlikely(load_hint(&r->used_at) != frequency_tick(r) + 1))
		frequency_follow_slow(r);
}
static inline void frequency_use(const struct region *r, struct octet *f)
{
#ifndef LARDER_ABLATE_FREQUENCY
	frequency_follow(r);
	uint8_t now = octet_load_hint(f), next = octet_load_hint(&r->used[now]);
	if (next != now)
		octet_store_hint(f, next);
#else
	(void)r, (void)f;
#endif
}
/* The same without any branch: what changes nothing is stored to an octet of the caller's own.  The table may be an old one: whoever
 * calls this follows from time to time. */
static inline void frequency_use_or(const struct region *r, struct octet *f, struct octet *idle)
{
#ifndef LARDER_ABLATE_FREQUENCY
	uint8_t now = octet_load_hint(f), next = octet_load_hint(&r->used[now]);
	octet_store_hint(next != now ? f : idle, next);
#else
	(void)r, (void)f, (void)idle;
#endif
}

/* Same namespace, kind and key, whatever its generation, expiry and status. */
static inline bool entry_has_key(const struct entry *e, const struct key *k)
{
	return likely(e->key_bytes == k->bytes) && (head_kind(e->head) == KIND_CHUNK) == k->chunk && entry_namespace(e) == k->ns
			&& bytes_equal(e->key, k->data, k->bytes);
}

/* Names the place in `slot` and looks again.  False: the slot has changed, start over. */
static inline bool slot_hold(struct actor *a, enum hazard which, const struct word *slot, uint64_t seen)
{
	hazard_name(a, which, slot_place(seen));
	/* HAZARD (acquire): see hazard.h. */
	return likely(load_seq_cst(slot) == seen);
}

void slot_damaged(struct actor *a);
/* Opens the entry in a slot word that is held.  False: the word is not of this segment's life or leads past its end. */
static inline bool slot_open(struct actor *a, uint64_t slot, struct entry *e)
{
	const struct region *r = a->region;
	uint64_t place = slot_place(slot);
	uint64_t w = load_acquire(region_segword(r, region_segment_of(r, place)));
	bool sound = ((segword_inc(w) ^ slot) & ((1u << SLOT_INC_BITS) - 1)) == 0 && entry_open(e, r, place);
	if (unlikely(!sound))
		slot_damaged(a);
	return sound;
}

/* Every slot word is a stranger's: a place past the arena is damage, and no entry of anybody. */
static inline bool slot_matches(const struct region *r, uint64_t slot, uint64_t tag)
{
	return slot_tag(slot) == tag && likely(slot_place(slot) < r->places);
}

/*
 * Bit i set: slot i carries the tag; a hint, for the slot is loaded again.  No branch depends on where, and few instructions
 * on the line: those that wait for a miss fill the scheduler, and with it full the next get's miss cannot begin (seven
 * scalar comparisons: 52 ns for each bucket, this: 24).  Vector loads are of aligned words, each of them whole.
 */
#ifdef LARDER_PAIRS
static inline __attribute__((always_inline)) uint32_t bucket_match_pair(const struct shm_bucket *b, word_pair tag)
{
	const __m128 *line = (const __m128 *)(const void *)b;
	/* The upper half of each word, of which the tag is the upper quarter; what the lower quarter equals does not count. */
	word_pair low = _mm_castps_si128(_mm_shuffle_ps(line[0], line[1], 0xdd));
	word_pair high = _mm_castps_si128(_mm_shuffle_ps(line[2], line[3], 0xdd));
	word_pair match = _mm_packs_epi32(_mm_cmpeq_epi16(low, tag), _mm_cmpeq_epi16(high, tag));
	/* The eighth word is no slot. */
	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(match, match)) & ((1u << BUCKET_SLOTS) - 1);
}
static inline __attribute__((always_inline)) uint32_t bucket_match(const struct shm_bucket *b, uint64_t tag)
{
	compiler_barrier();
	return bucket_match_pair(b, pair_lanes(pair_of(tag)));
}
#else
static inline __attribute__((always_inline)) uint32_t bucket_match(const struct shm_bucket *b, uint64_t tag)
{
	uint32_t match = 0;
	for (unsigned i = 0; i < BUCKET_SLOTS; i++) /* PUBLISH (acquire) */
		match |= (uint32_t)(slot_tag(load_acquire(&b->slot[i])) == tag) << i;
	return match;
}
#endif
#define MATCH_SLOT(match) ((unsigned)__builtin_ctz(match))

/* ---- Finding for get ------------------------------------------------------------------------------------------------------ */

/* What a search found, held by a hazard until the caller clears it. */
struct found {
	unsigned at;
	struct word *slot;
	struct octet *frequency;
	uint64_t word;
	struct entry entry;
	uint32_t hole; /* for insertion: first empty slot, or PROBE_SLOTS */
};

enum search { SEARCH_ABSENT, SEARCH_FOUND, SEARCH_AGAIN };

/* The COMMITTED entry of the key, held in HAZARD_READ.  AGAIN only when the limit of tries was reached. */
enum search index_find(struct actor *a, const struct key *k, struct found *f);
/* The same for whoever is going to change the slot: held in HAZARD_OLD; completes the PENDING ones of the key that it meets. */
enum search index_find_for_change(struct actor *a, const struct key *k, struct found *f);

/* ---- Changing: each is one CAS ---------------------------------------------------------------------------------------------- */

/* The place of an entry as the retired lists take it. */
static inline struct retired entry_retired(const struct actor *a, const struct entry *e)
{
	uint64_t w = load_acquire(region_segword(a->region, region_segment_of(a->region, e->place)));
	return (struct retired){ .place = e->place, .inc = segword_inc(w), .units = e->units,
		.kind = retire_kind(segword_pool(w), segword_class(w)) };
}

/* Puts a COMMITTED entry in the place of the one found. */
static inline bool index_replace(struct actor *a, const struct key *k, struct found *f, const struct room *room)
{
	struct retired old = entry_retired(a, &f->entry);
	/* PUBLISH (release), and RETIRE: the old place leaves the index before any scan. */
	if (!cas_seq_cst(f->slot, f->word, slot_word(hash_tag(k->hash), room->place.place, room->place.inc)))
		return false;
	retire_place(a, &old);
	return true;
}
/* Takes the entry found out of its slot; the place goes to our retired list.  why: the counter to raise. */
bool index_remove(struct actor *a, const struct found *f, enum counter why);

enum insert { INSERTED, INSERT_LOST, INSERT_AGAIN };
/* Puts the PENDING entry of `room` into f->hole and completes it.  LOST: it was aborted, and the room is gone. */
enum insert index_insert(struct actor *a, const struct key *k, struct found *f, struct room *room);
/* Aborts all PENDING entries of the key and takes out the COMMITTED one: a delete.  ABSENT: there was none. */
enum search index_delete(struct actor *a, const struct key *k, bool (*live)(struct actor *a, const struct entry *e, void *arg), void *arg, bool *was_live);
/* Makes a hole in a full probe: the coldest COMMITTED entry goes, of these the oldest. */
bool index_make_hole(struct actor *a, const struct key *k);

/* ---- For whoever walks a segment ------------------------------------------------------------------------------------------------ */

/* The slot of the probe of `hash` that leads to `place`; NULL if none does. */
struct word *index_slot_of(const struct region *r, uint64_t hash, uint64_t place, uint64_t inc, struct octet **frequency);
/* CAS slot → 0 of an entry that is held; on success its place is ours, and is retired. */
bool slot_empty(struct actor *a, struct word *slot, uint64_t seen, const struct entry *e);
/* Aborts an entry that is PENDING.  False: somebody decided it already. */
bool entry_abort(const struct entry *e);

#endif
