/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Probing, completing, replacing, removing.  The protocol and its proof: index.h, lib/README.md, tests/model/pml (bucket,
 * overflow, own, pend).
 *
 * The exact-hazard rule: whoever changes a slot because of what its entry contains holds that entry's exact place, taken
 * with the second load.  So a slot word cannot come back with another meaning while somebody decides about it.
 */
#include "shm/index.h"

cold void slot_damaged(struct actor *a) { count(a, damage, 1); }

/* ---- Use --------------------------------------------------------------------------------------------------------------------- */

static uint8_t used_in(uint32_t tick, uint32_t octet)
{
	if (octet < FREQUENCY_YOUNG)
		return (uint8_t)(octet + (octet < FREQUENCY_MAX));
	uint32_t age = (tick + YOUNG_TICKS - (octet - FREQUENCY_YOUNG)) % YOUNG_TICKS;
	bool ahead = age == YOUNG_TICKS - 1; /* born in the tick after this one, which others know of already */
	return age < RIPE_TICKS || ahead ? (uint8_t)octet : 1;
}

/* The table is this process's own, and a hint: threads that fill it in at once for two ticks leave a mixture until the next. */
cold void frequency_follow_slow(const struct region *r)
{
	struct region *own = (struct region *)(uintptr_t)r;
	uint64_t tick = frequency_tick(r);
	for (uint32_t octet = 0; octet < 256; octet++)
		octet_store_hint(&own->used[octet], used_in((uint32_t)(tick % YOUNG_TICKS), octet));
	store_hint(&own->used_at, tick + 1);
}

/* In main everything counts at once: it has been there before. */
uint8_t frequency_newborn(const struct region *r, unsigned pool)
{
	frequency_follow(r);
	return pool == POOL_MAIN ? 0 : (uint8_t)(FREQUENCY_YOUNG + frequency_tick(r) % YOUNG_TICKS);
}

/* ---- get -------------------------------------------------------------------------------------------------------------------- */

static inline enum search find_in_bucket(struct actor *a, const struct key *k, struct shm_bucket *b, struct found *f)
{
	uint64_t tag = hash_tag(k->hash);
	for (uint32_t match = bucket_match(b, tag); match != 0; match &= match - 1) {
		unsigned i = MATCH_SLOT(match);
		/* PUBLISH (acquire): the slot leads to an entry that is whole. */
		uint64_t slot = load_acquire(&b->slot[i]);
		if (unlikely(!slot_matches(a->region, slot, tag)))
			continue;
		if (unlikely(!slot_hold(a, HAZARD_READ, &b->slot[i], slot)))
			return SEARCH_AGAIN;
		if (unlikely(!slot_open(a, slot, &f->entry)) || unlikely(head_status(f->entry.head) != ENTRY_COMMITTED))
			continue;
		if (likely(entry_has_key(&f->entry, k))) {
			f->slot = &b->slot[i];
			f->frequency = &b->frequency[i];
			f->word = slot;
			return SEARCH_FOUND;
		}
	}
	return SEARCH_ABSENT;
}

static enum search find_in_overflow(struct actor *a, const struct key *k, uint8_t spill, struct found *f)
{
	enum search s = SEARCH_ABSENT;
	for (unsigned o = 0; o < PROBE_OVERFLOWS && s == SEARCH_ABSENT; o++) {
		unsigned line = hash_line(k->hash, o);
		if (spill & 1u << line)
			s = find_in_bucket(a, k, &k->group->overflow[line], f);
	}
	return s;
}

enum search index_find(struct actor *a, const struct key *k, struct found *f)
{
	do { /* progress: AGAIN means that a slot of this key's tag changed between two loads */
		enum search s = find_in_bucket(a, k, k->home, f);
		if (s == SEARCH_ABSENT) {
			/* SPILL (acquire): loaded after the home's slots. */
			uint8_t spill = octet_load_seq_cst(&k->home->spill);
			if (unlikely(spill != 0))
				s = find_in_overflow(a, k, spill, f);
		}
		if (likely(s != SEARCH_AGAIN))
			return s;
	} while (actor_retries(a));
	return SEARCH_AGAIN;
}

/* ---- Deciding ------------------------------------------------------------------------------------------------------------------ */

static bool entry_decide(const struct entry *e, enum entry_status status)
{
	/* DECIDE (release): by CAS of the whole head, so that a place used again, whose reuse count differs, is not decided. */
	return cas_acq_rel(&e->shm->head, head_with_status(e->head, ENTRY_PENDING), head_with_status(e->head, status));
}

static enum entry_status entry_status_now(const struct entry *e)
{
	/* DECIDE (acquire) */
	return head_status(load_acquire(&e->shm->head));
}

bool entry_abort(const struct entry *e) { return entry_decide(e, ENTRY_ABORTED); }

/* The segment's life cannot end while we hold e's place, so what entry_retired() reads belongs to it. */
bool slot_empty(struct actor *a, struct word *slot, uint64_t seen, const struct entry *e)
{
	struct retired place = entry_retired(a, e);
	if (!cas_seq_cst(slot, seen, SLOT_EMPTY)) /* RETIRE: the unlinking comes before any scan of hazards */
		return false;
	if (segword_stays(load_acquire(region_segword(a->region, region_segment_of(a->region, place.place)))))
		retire_place(a, &place);
	return true;
}

enum rival { RIVAL_NONE, RIVAL_WINS };

/* One other slot of the probe, against the PENDING entry in slot `at`. */
static enum rival meet_rival(struct actor *a, const struct key *k, unsigned at, unsigned other)
{
	struct word *slot = probe_slot(k, other);
	struct entry e;
	for (;;) {
		uint64_t seen = load_seq_cst(slot);
		if (!slot_matches(a->region, seen, hash_tag(k->hash)))
			return RIVAL_NONE;
		if (!slot_hold(a, HAZARD_COMPARE, slot, seen)) {
			if (!actor_retries(a))
				return RIVAL_WINS;
			continue; /* progress: the slot changed */
		}
		if (!slot_open(a, seen, &e) || !entry_has_key(&e, k))
			return RIVAL_NONE;
		enum entry_status status = head_status(e.head);
		if (status == ENTRY_COMMITTED || (status == ENTRY_PENDING && other < at))
			return RIVAL_WINS;
		if (status != ENTRY_PENDING)
			return RIVAL_NONE;
		if (!entry_abort(&e) && entry_status_now(&e) == ENTRY_COMMITTED)
			return RIVAL_WINS;
		slot_empty(a, slot, seen, &e);
		return RIVAL_NONE;
	}
}

/*
 * Decides the PENDING entry e in slot `at`, which the caller holds (HAZARD_OWN or HAZARD_HELP).  Anyone may run it, any
 * number at once: they agree through the CAS of e's status.  Whoever takes an aborted one out of its slot owns its place.
 */
static void complete(struct actor *a, const struct key *k, unsigned at, uint64_t word, const struct entry *e)
{
	enum rival rival = RIVAL_NONE;
	if (at >= BUCKET_SLOTS) /* SPILL (release): before the scan, and before COMMITTED */
		octet_or_seq_cst(&k->home->spill, (uint8_t)(1u << hash_line(k->hash, at / BUCKET_SLOTS - 1)));
	for (unsigned other = 0; other < PROBE_SLOTS && rival == RIVAL_NONE; other++)
		if (other != at)
			rival = meet_rival(a, k, at, other);
	hazard_clear(a, HAZARD_COMPARE);
	entry_decide(e, rival == RIVAL_NONE ? ENTRY_COMMITTED : ENTRY_ABORTED);
	if (entry_status_now(e) == ENTRY_ABORTED)
		slot_empty(a, probe_slot(k, at), word, e);
}

/* ---- Searching for a change ------------------------------------------------------------------------------------------------------ */

/* Looks at a slot that carries the key's tag.  ABSENT: not this key's COMMITTED entry (the slot may be empty now). */
static enum search look_for_change(struct actor *a, const struct key *k, unsigned at, struct word *slot, uint64_t seen, struct found *f)
{
	if (!slot_hold(a, HAZARD_OLD, slot, seen))
		return SEARCH_AGAIN;
	if (!slot_open(a, seen, &f->entry) || !entry_has_key(&f->entry, k))
		return SEARCH_ABSENT;
	switch (head_status(f->entry.head)) {
	case ENTRY_COMMITTED:
		f->at = at;
		f->slot = slot;
		f->frequency = probe_frequency(k, at);
		f->word = seen;
		return SEARCH_FOUND;
	case ENTRY_PENDING:
		if (!slot_hold(a, HAZARD_HELP, slot, seen))
			return SEARCH_AGAIN;
		complete(a, k, at, seen, &f->entry);
		hazard_clear(a, HAZARD_HELP);
		count(a, pending_completed, 1);
		return SEARCH_AGAIN;
	case ENTRY_ABORTED:
		slot_empty(a, slot, seen, &f->entry);
		return SEARCH_AGAIN;
	default:
		count(a, damage, 1);
		return SEARCH_ABSENT;
	}
}

static inline enum search change_in_bucket(struct actor *a, const struct key *k, unsigned first, struct found *f)
{
	uint64_t tag = hash_tag(k->hash);
	struct shm_bucket *b = probe_bucket(k, first);
	for (uint32_t match = bucket_match(b, tag); match != 0; match &= match - 1) {
		unsigned i = MATCH_SLOT(match);
		uint64_t seen = load_seq_cst(&b->slot[i]);
		if (!slot_matches(a->region, seen, tag))
			continue;
		entry_prefetch(a->region, slot_place(seen));
		enum search s = look_for_change(a, k, first + i, &b->slot[i], seen, f);
		if (s != SEARCH_ABSENT)
			return s;
	}
	if (f->hole == PROBE_SLOTS)
		for (unsigned i = BUCKET_SLOTS; i-- > 0;)
			f->hole = load_seq_cst(&b->slot[i]) == SLOT_EMPTY ? first + i : f->hole;
	return SEARCH_ABSENT;
}

static enum search scan_for_change(struct actor *a, const struct key *k, struct found *f)
{
	enum search s = SEARCH_ABSENT;
	f->hole = PROBE_SLOTS;
	for (unsigned first = 0; first < PROBE_SLOTS && s == SEARCH_ABSENT; first += BUCKET_SLOTS)
		s = change_in_bucket(a, k, first, f);
	return s;
}

enum search index_find_for_change(struct actor *a, const struct key *k, struct found *f)
{
	do { /* progress: AGAIN means that a slot changed, or that we finished what another one began */
		enum search s = scan_for_change(a, k, f);
		if (likely(s != SEARCH_AGAIN))
			return s;
	} while (actor_retries(a));
	return SEARCH_AGAIN;
}

/* ---- Changes ------------------------------------------------------------------------------------------------------------------------ */

static void count_removed(struct actor *a, const struct entry *e, enum counter why)
{
	bool chunk = head_kind(e->head) == KIND_CHUNK;
	bump_own(&a->self->counter[why], !(chunk && why == COUNTER_deletes)); /* the caller deleted one key, not its pieces */
	namespace_tally(a, entry_namespace(e) & (a->region->geo.namespaces - 1), chunk ? 0 : -1, -(int64_t)e->units);
}

bool index_remove(struct actor *a, const struct found *f, enum counter why)
{
	if (!slot_empty(a, f->slot, f->word, &f->entry))
		return false;
	count_removed(a, &f->entry, why);
	return true;
}

enum insert index_insert(struct actor *a, const struct key *k, struct found *f, struct room *room)
{
	struct word *slot = probe_slot(k, f->hole);
	uint64_t word = slot_word(hash_tag(k->hash), room->place.place, room->place.inc);
	struct entry own;
	entry_open(&own, a->region, room->place.place);
	hazard_name(a, HAZARD_OWN, room->place.place); /* until its status is read: an aborted place must not be reused under us */
	if (!cas_seq_cst(slot, SLOT_EMPTY, word)) { /* PUBLISH (release) */
		hazard_clear(a, HAZARD_OWN);
		return INSERT_AGAIN;
	}
	octet_store_hint(probe_frequency(k, f->hole), frequency_newborn(a->region, retire_pool(room->place.kind)));
#if LARDER_FAULT == 2
	entry_decide(&own, ENTRY_COMMITTED);
#else
	complete(a, k, f->hole, word, &own);
#endif
	enum entry_status status = entry_status_now(&own);
	hazard_clear(a, HAZARD_OWN);
	return status == ENTRY_COMMITTED ? INSERTED : INSERT_LOST;
}

/* One slot for delete: an undecided entry is aborted and taken out.  FOUND: it has a COMMITTED one, which stays for now. */
static enum search delete_at(struct actor *a, const struct key *k, unsigned at, struct found *f)
{
	struct word *slot = probe_slot(k, at);
	uint64_t seen = load_seq_cst(slot);
	struct entry e;
	if (!slot_matches(a->region, seen, hash_tag(k->hash)))
		return SEARCH_ABSENT;
	if (!slot_hold(a, HAZARD_OLD, slot, seen))
		return SEARCH_AGAIN;
	if (!slot_open(a, seen, &e) || !entry_has_key(&e, k))
		return SEARCH_ABSENT;
	enum entry_status status = head_status(e.head);
	if (status == ENTRY_COMMITTED) {
		f->slot = slot;
		f->word = seen;
		return SEARCH_FOUND;
	}
#if LARDER_FAULT == 4
	if (status == ENTRY_PENDING)
		return SEARCH_ABSENT;
#endif
	if (status == ENTRY_PENDING && !entry_abort(&e))
		return SEARCH_AGAIN;
	return slot_empty(a, slot, seen, &e) ? SEARCH_ABSENT : SEARCH_AGAIN;
}

/* Every slot once, and the same again when it changed; one that is passed stays passed: what comes later is concurrent.
 * FOUND: *f is the COMMITTED entry seen last, for of two that are seen the first was gone before the second counted. */
static enum search delete_scan(struct actor *a, const struct key *k, struct found *f)
{
	enum search result = SEARCH_ABSENT;
	for (unsigned at = 0; at < PROBE_SLOTS;) {
		enum search s = delete_at(a, k, at, f);
		if (s == SEARCH_AGAIN && !actor_retries(a)) /* progress: the slot changed */
			return SEARCH_AGAIN;
		if (s == SEARCH_FOUND)
			result = SEARCH_FOUND;
		at += s != SEARCH_AGAIN;
	}
	return result;
}

/* The one CAS by which a delete counts. */
static bool delete_found(struct actor *a, const struct key *k, struct found *f)
{
	return slot_hold(a, HAZARD_OLD, f->slot, f->word) && slot_open(a, f->word, &f->entry) && entry_has_key(&f->entry, k)
			&& head_status(f->entry.head) == ENTRY_COMMITTED && slot_empty(a, f->slot, f->word, &f->entry);
}

enum search index_delete(struct actor *a, const struct key *k, bool (*live)(struct actor *a, const struct entry *e, void *arg), void *arg, bool *was_live)
{
	struct found f;
	*was_live = false;
	do { /* progress: another one changed the key between the scan and the CAS */
		enum search s = delete_scan(a, k, &f);
		if (s != SEARCH_FOUND)
			return s;
		if (likely(delete_found(a, k, &f))) {
			*was_live = live(a, &f.entry, arg);
			count_removed(a, &f.entry, *was_live ? COUNTER_deletes : COUNTER_flushed);
			return SEARCH_FOUND;
		}
	} while (actor_retries(a));
	return SEARCH_AGAIN;
}

/* ---- A full probe --------------------------------------------------------------------------------------------------------------------- */

/* Who is to go when a probe is full: first what the small pool would drop, then by use. */
static uint32_t slot_rank(const struct region *r, uint64_t place, uint32_t frequency)
{
	bool small = segword_pool(load_acquire(region_segword(r, region_segment_of(r, place)))) == POOL_SMALL;
	return small && frequency < PROMOTE_HITS ? frequency : frequency + FREQUENCY_MAX + 1;
}

/* The slot of the lowest rank, of equals the one in the oldest segment; PROBE_SLOTS if one is empty already. */
static unsigned coldest(const struct actor *a, const struct key *k, uint32_t not_these)
{
	const struct region *r = a->region;
	unsigned best = PROBE_SLOTS;
	uint32_t best_rank = UINT32_MAX, best_age = 0;
	for (unsigned at = 0; at < PROBE_SLOTS; at++) {
		uint64_t seen = load_acquire(probe_slot(k, at));
		if (not_these >> at & 1 || slot_place(seen) >= r->places)
			continue;
		uint32_t rank = slot_rank(r, slot_place(seen), frequency_of(probe_frequency(k, at)));
		if (rank > best_rank)
			continue;
		uint32_t age = segment_age(r, region_segment_of(r, slot_place(seen)));
		if (rank == best_rank && age <= best_age)
			continue;
		best = at;
		best_rank = rank;
		best_age = age;
	}
	return best;
}

/* What the slot leads to, which is held, goes.  A PENDING entry only if `undecided`; its inserter then starts over. */
static bool evict_held(struct actor *a, struct found *f, bool undecided)
{
	bool open = slot_open(a, f->word, &f->entry);
	enum entry_status status = open ? head_status(f->entry.head) : ENTRY_UNBORN;
	if (status == ENTRY_COMMITTED) {
		bool goes = index_remove(a, f, COUNTER_evictions_index);
		a->evicted += goes;
		return goes;
	}
	if (status == ENTRY_PENDING && (!undecided || !entry_abort(&f->entry)))
		return false;
	if (status == ENTRY_UNBORN) /* damage: nobody can find it, nor retire its place */
		return cas_seq_cst(f->slot, f->word, SLOT_EMPTY);
	return slot_empty(a, f->slot, f->word, &f->entry);
}

static bool evict_slot(struct actor *a, const struct key *k, unsigned at, bool undecided)
{
	struct found f = { .at = at, .slot = probe_slot(k, at) };
	f.word = load_seq_cst(f.slot);
	if (f.word == SLOT_EMPTY)
		return true;
	if (slot_place(f.word) >= a->region->places) /* damage, too */
		return cas_seq_cst(f.slot, f.word, SLOT_EMPTY);
	bool goes = slot_hold(a, HAZARD_OLD, f.slot, f.word) && evict_held(a, &f, undecided);
	hazard_clear(a, HAZARD_OLD);
	return goes;
}

bool index_make_hole(struct actor *a, const struct key *k)
{
	uint32_t tried = 0;
	for (unsigned at = coldest(a, k, tried); at != PROBE_SLOTS; at = coldest(a, k, tried)) {
		if (evict_slot(a, k, at, false))
			return true;
		tried |= 1u << at;
	}
	/* Nothing but undecided inserts, of dead processes as a rule, and words that lead past the arena. */
	for (unsigned at = 0; at < PROBE_SLOTS; at++)
		if (evict_slot(a, k, at, true))
			return true;
	return false;
}

/* ---- Walking ---------------------------------------------------------------------------------------------------------------------------- */

struct word *index_slot_of(const struct region *r, uint64_t hash, uint64_t place, uint64_t inc, struct octet **frequency)
{
	struct shm_group *group = region_group(r, hash_group(r, hash));
	struct key k = { .hash = hash, .group = group, .home = &group->home[hash_home(hash)] };
	uint64_t wanted = slot_word(hash_tag(hash), place, inc);
	for (unsigned at = 0; at < PROBE_SLOTS; at++)
		if (load_seq_cst(probe_slot(&k, at)) == wanted) {
			*frequency = probe_frequency(&k, at);
			return probe_slot(&k, at);
		}
	return NULL;
}
