/* SPDX-License-Identifier: BSD-2-Clause */
/* The hand that drops entries of a namespace above its quota.  See quota.h. */
#include "cache/quota.h"

#define ROUNDS 2u   /* round the index: the second one spares nothing */
#define GROUPS_AT_ONCE 64u
#define GROUP_BUCKETS (GROUP_HOMES + GROUP_OVERFLOWS)
#define GROUP_SLOTS_ALL (GROUP_BUCKETS * BUCKET_SLOTS)

static int64_t tally_bytes(const struct region *r, uint32_t ns)
{
	int64_t entries, bytes;
	namespace_sum(r, ns, &entries, &bytes);
	return bytes;
}

bool quota_exceeded(const struct region *r, uint32_t ns, int64_t units)
{
	uint64_t quota = namespace_quota(r, ns);
	return quota != 0 && tally_bytes(r, ns) + units * (int64_t)UNIT_BYTES > (int64_t)quota;
}

struct hand {
	uint32_t ns;
	int64_t units;           /* that are to fit */
	const struct word *keep;
	uint64_t version;
	bool sparing;
};

static struct shm_bucket *group_bucket(struct shm_group *g, unsigned i) { return i < GROUP_HOMES ? &g->home[i] : &g->overflow[i - GROUP_HOMES]; }

/* A hint, from an entry that nobody holds. */
static bool seems_ours(const struct region *r, uint64_t word, uint32_t ns)
{
	_Alignas(uint64_t) unsigned char copy[ENTRY_HINT_BYTES];
	struct entry e;
	return entry_open_hint(&e, r, slot_place(word), copy) && entry_namespace(&e) == ns;
}

static bool is_kept(const struct hand *h, const struct word *slot, const struct entry *e)
{
	if (slot == h->keep)
		return true;
	return h->version != 0 && head_kind(e->head) == KIND_CHUNK && e->key_bytes >= 8 && bytes_load64(e->key) == h->version;
}

static void hand_at(struct actor *a, struct hand *h, struct word *slot, struct octet *frequency)
{
	struct found f = { .slot = slot, .word = load_seq_cst(slot) };
	if (f.word == SLOT_EMPTY || slot_place(f.word) >= a->region->places || !seems_ours(a->region, f.word, h->ns))
		return;
	if (!slot_hold(a, HAZARD_WALK, slot, f.word) || !slot_open(a, f.word, &f.entry) || entry_namespace(&f.entry) != h->ns
			|| head_status(f.entry.head) != ENTRY_COMMITTED)
		return;
	uint8_t used = octet_load_hint(frequency); /* one that is young has not been here for a whole round either */
	if (used != 0 && h->sparing)
		octet_store_hint(frequency, used > FREQUENCY_MAX ? 0 : (uint8_t)(used - 1));
	if ((used != 0 && h->sparing) || is_kept(h, slot, &f.entry))
		return;
	a->evicted += index_remove(a, &f, COUNTER_evictions_quota);
}

/* Asks for the entries of a group before it looks at the first of them. */
static void group_ask(const struct region *r, struct shm_group *g)
{
	for (unsigned i = 0; i < GROUP_SLOTS_ALL; i++) {
		uint64_t word = load_acquire(&group_bucket(g, i / BUCKET_SLOTS)->slot[i % BUCKET_SLOTS]);
		if (word != SLOT_EMPTY && slot_place(word) < r->places)
			__builtin_prefetch(region_entry(r, slot_place(word)));
	}
}

/* True: there is room. */
static bool hand_group(struct actor *a, struct hand *h, struct shm_group *g)
{
	group_ask(a->region, g);
	for (unsigned i = 0; i < GROUP_SLOTS_ALL; i++) {
		struct shm_bucket *b = group_bucket(g, i / BUCKET_SLOTS);
		uint32_t before = a->evicted;
		hand_at(a, h, &b->slot[i % BUCKET_SLOTS], &b->frequency[i % BUCKET_SLOTS]);
		if (a->evicted != before && !quota_exceeded(a->region, h->ns, h->units))
			return true;
	}
	return false;
}

/* What all participants have done so far, but for reading. */
static uint64_t work_done(const struct region *r)
{
	uint64_t sum = 0;
	for (unsigned c = 0; c < COUNTERS; c++)
		sum += c == COUNTER_hits || c == COUNTER_misses ? 0 : counter_sum(r, c);
	return sum;
}

static int64_t units_of_ours(struct actor *a, const struct word *slot, uint32_t ns)
{
	const struct region *r = a->region;
	struct entry e;
	uint64_t word = load_seq_cst(slot);
	if (word == SLOT_EMPTY || slot_place(word) >= r->places || !seems_ours(r, word, ns))
		return 0;
	bool ours = slot_hold(a, HAZARD_WALK, slot, word) && slot_open(a, word, &e) && head_status(e.head) == ENTRY_COMMITTED
			&& entry_namespace(&e) == ns;
	return ours ? e.units : 0;
}

/* Bytes of the namespace's entries, as one look at the whole index finds them; false if anybody was at work meanwhile. */
static bool count_bytes(struct actor *a, uint32_t ns, int64_t *bytes)
{
	const struct region *r = a->region;
	uint64_t before = work_done(r);
	int64_t units = 0;
	for (uint64_t g = 0; g < r->geo.groups; g++) {
		struct shm_group *group = region_group(r, g);
		group_ask(r, group);
		for (unsigned i = 0; i < GROUP_SLOTS_ALL; i++)
			units += units_of_ours(a, &group_bucket(group, i / BUCKET_SLOTS)->slot[i % BUCKET_SLOTS], ns);
		if (g % GROUPS_AT_ONCE == 0 && work_done(r) != before)
			break;
	}
	hazard_clear(a, HAZARD_WALK);
	*bytes = units * UNIT_BYTES;
	return work_done(r) == before;
}

void quota_recount(struct actor *a, uint32_t ns, unsigned most)
{
	for (unsigned tries = 0; tries < most; tries++) {
		int64_t tally = tally_bytes(a->region, ns), counted;
		if (!count_bytes(a, ns, &counted))
			continue;
		if (tally != counted) {
			namespace_tally(a, ns, 0, (counted - tally) / (int64_t)UNIT_BYTES);
			count(a, tallies_mended, 1);
		}
		return;
	}
}

bool quota_make_room(struct actor *a, uint32_t ns, int64_t units, const struct word *keep, uint64_t version)
{
	struct hand h = { .ns = ns, .units = units, .keep = keep, .version = version };
	uint64_t groups = a->region->geo.groups;
	bool room = !quota_exceeded(a->region, ns, units);
	for (uint64_t i = 0; groups != 0 && i < ROUNDS * groups && !room; i++) {
		uint64_t at = add_hint(&region_namespace(a->region, ns)->quota_hand, 1) % groups;
		if (unlikely(at == 0)) /* once in a round: what deaths have left is not held against it for ever */
			quota_recount(a, ns, 1);
		h.sparing = i < groups;
		room = hand_group(a, &h, region_group(a->region, at)) || !quota_exceeded(a->region, ns, units);
	}
	hazard_clear(a, HAZARD_WALK);
	if (room)
		return true;
	quota_recount(a, ns, QUOTA_RECOUNTS); /* all that could be found is gone */
	return !quota_exceeded(a->region, ns, units);
}
