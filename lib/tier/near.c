/* SPDX-License-Identifier: BSD-2-Clause */
/* The near side of a tier, see near.h. */
#include "tier/near.h"

#include <stdio.h>

#include "cache/write.h"
#include "shm/board.h"

#define OWNER_SLOT_BITS 10u
#define OWNER_BITS 29u

/* ---- Namespaces --------------------------------------------------------------------------------------------------- */

/* The word and bit that say whether a tier uses namespace ns; NULL without a board. */
static struct word *used_word(const struct near *near, uint32_t ns, uint64_t *bit)
{
	struct word *words;
	char name[32];

	snprintf(name, sizeof name, "tiered:namespaces:%u", ns / (BOARD_WORDS * 64));
	*bit = UINT64_C(1) << ns % 64;
	return board_find(&near->cache->region, name, &words) ? NULL : &words[ns / 64 % BOARD_WORDS];
}

static bool is_used(const struct near *near, uint32_t ns)
{
	uint64_t bit;
	struct word *word = used_word(near, ns, &bit);

	return !word || load_acquire(word) & bit;
}

enum larder_status near_number_slow(struct near *near, const struct larder_name *name, uint32_t *ns)
{
	uint64_t bit;
	enum larder_status status = larder_namespace(near->cache, name->text, ns);

	if (status)
		return status;
	struct word *word = used_word(near, *ns, &bit);
	if (word)
		for (uint64_t seen = load_acquire(word); !(seen & bit); seen = load_acquire(word))
			if (cas_acq_rel(word, seen, seen | bit)) /* progress: a lost CAS means that another bit was set */
				break;
	word32_store_hint(&near->number[name->index], *ns + 1);
	return LARDER_OK;
}

enum larder_status near_lookup(struct near *near, const char *name, uint32_t *ns)
{
	*ns = 0;
	enum larder_status status = *name ? namespace_number(&near->cache->region, name, false, ns) : LARDER_OK;

	if (status)
		return status;
	return is_used(near, *ns) ? LARDER_OK : LARDER_MISS;
}

void near_hide(struct near *near, uint32_t ns, bool soft)
{
	struct actor *a;

	if (call_begin(near->cache, &a))
		return;
	namespace_hide(&near->cache->region, ns, !soft);
	count(a, flushes, 1);
	call_end(a);
}

void near_hide_all(struct near *near, bool soft)
{
	uint32_t count = near->cache->region.geo.namespaces;

	for (uint32_t ns = 0; ns < count; ns++)
		if (is_used(near, ns))
			near_hide(near, ns, soft);
}

int64_t near_ttl(const struct near *near, uint32_t ns)
{
	uint64_t ttl = load_hint(&region_namespace(&near->cache->region, ns)->ttl);

	return ttl && ttl < (uint64_t)LARDER_TTL_MAX ? (int64_t)ttl : LARDER_TTL_NONE;
}

/* ---- Owners of holds ------------------------------------------------------------------------------------------------ */

static uint32_t owner_make(uint32_t slot, uint64_t registration)
{
	return ((uint32_t)registration << OWNER_SLOT_BITS | slot) & ((1u << OWNER_BITS) - 1);
}

static enum larder_status owner_self(struct near *near, uint32_t *owner)
{
	struct actor *a;
	enum larder_status status = call_begin(near->cache, &a);

	if (status)
		return status;
	*owner = owner_make(a->slot, actor_worker(a)->registration);
	call_end(a);
	return LARDER_OK;
}

bool near_owner_lives(struct near *near, uint32_t owner)
{
	struct larder_participant_info info;
	uint32_t slot = owner & ((1u << OWNER_SLOT_BITS) - 1);

	if (larder_participant(near->cache, slot, &info))
		return false;
	return info.alive && owner_make(slot, info.registration) == owner;
}

/* ---- Entries ---------------------------------------------------------------------------------------------------------- */

static enum larder_status peek(struct near *near, const struct near_key *k, uint32_t flags, struct near_state *state)
{
	struct larder_meta meta;
	size_t length;
	uint32_t generation = generation_present(namespace_generation(&near->cache->region, k->ns)); /* loaded first */
	enum larder_status status = larder_get_with(near->cache, k->ns, k->bytes, k->count, NULL, 0, &length, LARDER_NO_COUNT | flags, &meta);

	if (status != LARDER_OK && status != LARDER_SHORT && status != LARDER_STALE)
		return status < 0 ? status : LARDER_MISS;
	uint32_t marks = length == 0 ? meta.user_flags & NEAR_MARKS : meta.user_flags & NEAR_DIRTY;
	bool fetched = length ? meta.user_flags & NEAR_ABSENT : marks == NEAR_HOLD || marks == NEAR_ABSENT;
	*state = (struct near_state){ .version = meta.version, .marks = marks, .owner = marks & NEAR_HOLD ? meta.user_flags & ~NEAR_MARKS : 0,
		.user_flags = meta.user_flags & ~NEAR_MARKS, .fetched = fetched && !(marks & NEAR_DIRTY), .ttl_left_ms = meta.ttl_left_ms,
		.created_at_ms = meta.created_at_ms, .generation = generation, .value_bytes = length };
	return LARDER_OK;
}

enum larder_status near_peek(struct near *near, const struct near_key *k, struct near_state *state) { return peek(near, k, 0, state); }

enum larder_status near_peek_hidden(struct near *near, const struct near_key *k, struct near_state *state)
{
	return peek(near, k, LARDER_ALLOW_STALE, state);
}

static enum larder_status put_marked(struct near *near, const struct near_key *k, struct put *put, uint32_t marks, const void *value,
		size_t value_bytes, struct larder_result *result)
{
	put->draft.extras |= marks & NEAR_DIRTY || (marks & NEAR_GONE) == NEAR_GONE ? EXTRA_KEPT : 0;
	enum larder_status status = set_call(near->cache, k->ns, k->bytes, k->count, value, value_bytes, put);
	if (result)
		*result = put->result;
	return status;
}

static enum larder_status put_make(struct near *near, uint64_t version, uint32_t marks, const struct larder_set_options *options,
		struct put *put)
{
	struct larder_set_options o = options ? *options : (struct larder_set_options)LARDER_SET_OPTIONS_INIT;

	o.mode = version ? LARDER_CAS : LARDER_SET;
	o.version = version;
	o.user_flags |= marks;
	return put_options(near->cache, &o, put);
}

enum larder_status near_put(struct near *near, const struct near_key *k, uint64_t version, uint32_t marks, const void *value,
		size_t value_bytes, const struct larder_set_options *options, struct larder_result *result)
{
	struct put put;
	enum larder_status status = put_make(near, version, marks, options, &put);

	put.same_age = version != 0; /* no younger than what it replaces: if that is hidden, so is this */
	return status ? status : put_marked(near, k, &put, marks, value, value_bytes, result);
}

enum larder_status near_fill(struct near *near, const struct near_key *k, const struct near_state *state, uint32_t marks, const void *value,
		size_t value_bytes, const struct larder_set_options *options, struct larder_result *result)
{
	struct put put;
	enum larder_status status = put_make(near, state->version, marks, options, &put);

	put.dated = true;
	put.as_of = state->generation;
	return status ? status : put_marked(near, k, &put, marks, value, value_bytes, result);
}

enum larder_status near_take_hidden(struct near *near, const struct near_key *k, uint64_t version, bool gone)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	uint32_t marks = gone ? NEAR_GONE : 0;
	struct put put;

	if (gone)
		o.ttl_ms = NEAR_GONE_MS;
	else
		o.expires_at_ms = 1;
	enum larder_status status = put_make(near, version, marks, &o, &put);
	if (status)
		return status;
	put.raw = true; /* a CAS of what is hidden */
	status = put_marked(near, k, &put, marks, "", 0, NULL);
	if (status == LARDER_OK && !gone)
		(void)larder_exists(near->cache, k->ns, k->bytes, k->count);
	return status;
}

bool near_unhide(struct near *near, const struct near_key *k)
{
	struct near_state state;

	if (near_peek_hidden(near, k, &state) || state.fetched || state.marks)
		return false;
	enum larder_status status = near_take_hidden(near, k, state.version, true);
	return status == LARDER_OK || status == LARDER_CHANGED;
}

static enum larder_status hold(struct near *near, const struct near_key *k, enum larder_set_mode mode, int64_t hold_ms, uint64_t *version)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_result result;
	uint32_t owner;
	enum larder_status status = owner_self(near, &owner);

	if (status)
		return status;
	o.mode = mode;
	o.version = *version;
	o.ttl_ms = hold_ms;
	o.user_flags = NEAR_HOLD | owner;
	status = larder_set_with(near->cache, k->ns, k->bytes, k->count, "", 0, &o, &result);
	*version = result.version;
	return status;
}

enum larder_status near_hold(struct near *near, const struct near_key *k, int64_t hold_ms, uint64_t *version)
{
	*version = 0;
	return hold(near, k, LARDER_ADD, hold_ms, version);
}

enum larder_status near_hold_over(struct near *near, const struct near_key *k, int64_t hold_ms, uint64_t *version)
{
	return hold(near, k, LARDER_CAS, hold_ms, version);
}

/* An entry born expired takes the place by CAS; the look after it takes it out. */
enum larder_status near_take(struct near *near, const struct near_key *k, uint64_t version)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;

	o.expires_at_ms = 1;
	enum larder_status status = near_put(near, k, version, 0, "", 0, &o, NULL);
	if (status == LARDER_OK)
		(void)larder_exists(near->cache, k->ns, k->bytes, k->count);
	return status;
}

enum larder_status near_drop(struct near *near, const struct near_key *k, bool *dirty)
{
	struct near_state state;
	enum larder_status status = near_peek(near, k, &state);

	*dirty = false;
	for (unsigned tries = 0; status == LARDER_OK && tries < 1000; tries++) { /* progress: another one changed the key */
		*dirty = state.marks & NEAR_DIRTY;
		if (*dirty || state.marks == NEAR_GONE)
			return LARDER_OK;
		status = near_take(near, k, state.version);
		if (status != LARDER_CHANGED)
			return status == LARDER_MISS ? LARDER_OK : status;
		status = near_peek(near, k, &state);
	}
	return status == LARDER_MISS ? LARDER_OK : status;
}

void near_drop_fetched(struct near *near, const struct near_key *k)
{
	struct near_state state;

	for (unsigned tries = 0; tries < 1000 && near_peek(near, k, &state) == LARDER_OK; tries++) { /* progress: another one changed the key */
		bool empty = state.value_bytes == 0 && !state.marks; /* has no room for a mark */
		if ((!state.fetched && !empty) || near_take(near, k, state.version) != LARDER_CHANGED)
			return;
	}
}
