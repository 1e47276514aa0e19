/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder_check: the invariants of lib/README.md, verified over the whole segment while others use it.
 *
 * Everything is looked at twice: what is wrong once and right a moment later was a change under way.  Slots: place,
 * incarnation, entry within its segment, key leads to this probe, tag right, at most one committed entry of a key,
 * start bit noted, checksum.  Segments: state, cell, cursor, progress within bounds.  Cells: name a segment.
 */
#include "cache/large.h"
#include "cache/view.h"

#include <stdarg.h>
#include <stdio.h>

#define CHECK_TRIES 100u

struct check {
	struct larder *cache;
	void (*report)(const char *text, void *arg);
	void *arg;
	uint64_t faults;
	bool no_memory; /* something could not be looked at */
	struct view view, rival;
};

__attribute__((format(printf, 2, 3))) static void fault(struct check *c, const char *format, ...)
{
	char text[256];
	va_list list;
	c->faults++;
	if (c->report == NULL)
		return;
	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	c->report(text, c->arg);
}

/* ---- Slots ------------------------------------------------------------------------------------------------------------------------- */

static enum view_result look(struct check *c, const struct word *slot, struct view *v)
{
	enum view_result seen = VIEW_CHANGED;
	for (unsigned i = 0; i < CHECK_TRIES && (seen == VIEW_CHANGED || seen == VIEW_DAMAGED); i++)
		seen = view_slot(&c->cache->region, slot, v);
	c->no_memory |= seen == VIEW_NO_MEMORY;
	return seen;
}

static bool start_noted(const struct region *r, uint64_t place, uint64_t inc_low)
{
	uint32_t segment = region_segment_of(r, place);
	uint64_t line = (place & (geo_units(&r->geo) - 1)) / LINE_UNITS;
	uint64_t w = load_acquire(&region_starts(r, segment)[line / STARTS_PER_WORD]);
	return (w >> STARTS_TAG_SHIFT & ((1u << SLOT_INC_BITS) - 1)) == inc_low && w >> line % STARTS_PER_WORD & 1;
}

/* The same key committed in a higher slot of its probe, while this slot still holds what it held. */
static bool has_rival(struct check *c, const struct key *k, const struct word *slot)
{
	bool above = false;
	for (unsigned at = 0; at < PROBE_SLOTS; at++) {
		const struct word *other = probe_slot(k, at);
		if (above && slot_tag(load_acquire(other)) == hash_tag(k->hash) && look(c, other, &c->rival) == VIEW_WHOLE
				&& entry_has_key(&c->rival.entry, k) && load_seq_cst(slot) == c->view.slot && load_seq_cst(other) == c->rival.slot)
			return true;
		above |= other == slot;
	}
	return false;
}

static bool probe_has(const struct key *k, const struct word *slot)
{
	for (unsigned at = 0; at < PROBE_SLOTS; at++)
		if (probe_slot(k, at) == slot)
			return true;
	return false;
}

static void check_entry(struct check *c, const struct word *slot, uint64_t group, unsigned at)
{
	const struct region *r = &c->cache->region;
	const struct entry *e = &c->view.entry;
	uint32_t ns = entry_namespace(e);
	struct key k = key_make(r, e->key, e->key_bytes, ns, head_kind(e->head) == KIND_CHUNK);
	struct manifest m;
	if (ns >= r->geo.namespaces)
		fault(c, "group %llu slot %u: namespace %u of %u", (unsigned long long)group, at, ns, r->geo.namespaces);
	if (!probe_has(&k, slot) || hash_tag(k.hash) != slot_tag(c->view.slot))
		fault(c, "group %llu slot %u: the key of the entry at place %llu does not lead here", (unsigned long long)group, at, (unsigned long long)e->place);
	else if (has_rival(c, &k, slot))
		fault(c, "group %llu slot %u: the key has a second entry in its probe", (unsigned long long)group, at);
	if (!start_noted(r, slot_place(c->view.slot), slot_inc(c->view.slot)) && load_seq_cst(slot) == c->view.slot)
		fault(c, "group %llu slot %u: the start of the entry at place %llu is not noted", (unsigned long long)group, at, (unsigned long long)e->place);
	if (!entry_checksum_good(e))
		fault(c, "group %llu slot %u: checksum of the entry at place %llu", (unsigned long long)group, at, (unsigned long long)e->place);
	if (head_kind(e->head) == KIND_MANIFEST && !manifest_read(c->cache, e, &m))
		fault(c, "group %llu slot %u: manifest at place %llu", (unsigned long long)group, at, (unsigned long long)e->place);
	if (head_kind(e->head) == KIND_COUNTER && !entry_is_counter(e))
		fault(c, "group %llu slot %u: counter at place %llu", (unsigned long long)group, at, (unsigned long long)e->place);
}

static void check_bucket(struct check *c, const struct shm_bucket *b, uint64_t group, unsigned first)
{
	for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
		enum view_result seen = look(c, &b->slot[i], &c->view);
		if (seen == VIEW_DAMAGED)
			fault(c, "group %llu slot %u: word %016llx leads to no entry of a living segment", (unsigned long long)group, first + i,
					(unsigned long long)c->view.slot);
		else if (seen == VIEW_WHOLE)
			check_entry(c, &b->slot[i], group, first + i);
	}
}

/* ---- Segments ------------------------------------------------------------------------------------------------------------------------ */

static bool segment_sound(const struct region *r, uint32_t segment, uint64_t w, const char **what)
{
	const struct shm_segment *s = region_segment(r, segment);
	uint64_t cursor = load_acquire(&s->cursor), inc = segword_inc(w);
	*what = segword_state(w) > SEGMENT_LIMBO ? "state" : segword_class(w) >= r->geo.classes ? "TTL class" : NULL;
	if (*what == NULL && !life_is(cursor, inc) && !(segword_state(w) == SEGMENT_LIMBO && life_is(cursor, inc + 1)))
		*what = "life of the cursor";
	if (*what == NULL && life_value(cursor) > geo_units(&r->geo))
		*what = "cursor";
	for (unsigned lane = 0; lane < SEGMENT_LANES && *what == NULL; lane++)
		if (life_is(load_acquire(&s->progress[lane]), segword_life(w)) && life_value(load_acquire(&s->progress[lane])) > geo_blocks(&r->geo))
			*what = "progress";
	return *what == NULL;
}

static void check_segment(struct check *c, uint32_t segment)
{
	const struct region *r = &c->cache->region;
	const char *what = NULL;
	uint64_t w = 0;
	for (unsigned i = 0; i < CHECK_TRIES; i++) {
		w = load_seq_cst(region_segword(r, segment));
		if (segment_sound(r, segment, w, &what))
			return;
	}
	fault(c, "segment %u: %s out of range (word %016llx)", segment, what, (unsigned long long)w);
}

enum larder_status larder_check(struct larder *cache, void (*report)(const char *text, void *arg), void *arg, uint64_t *faults)
{
	struct check c = { .cache = cache, .report = report, .arg = arg };
	if (cache == NULL || faults == NULL)
		return LARDER_INVALID;
	const struct region *r = &cache->region;
	for (uint32_t i = 0; i < r->geo.segments; i++)
		check_segment(&c, i);
	for (uint32_t i = 0; i < CELLS_MAX; i++)
		if (life_value(load_acquire(&region_super(r)->cell[i])) > r->geo.segments)
			fault(&c, "cell %u: names no segment", i);
	for (uint64_t g = 0; g < r->geo.groups && !region_gone(&cache->region); g++) {
		for (unsigned i = 0; i < GROUP_HOMES; i++)
			check_bucket(&c, &region_group(r, g)->home[i], g, i * BUCKET_SLOTS);
		for (unsigned i = 0; i < GROUP_OVERFLOWS; i++)
			check_bucket(&c, &region_group(r, g)->overflow[i], g, (GROUP_HOMES + i) * BUCKET_SLOTS);
	}
	view_free(&c.view);
	view_free(&c.rival);
	*faults = c.faults;
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	return c.no_memory ? LARDER_NO_MEMORY : LARDER_OK;
}
