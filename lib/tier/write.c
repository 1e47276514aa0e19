/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing through, behind and around.  Through: far first, then near by CAS on what was there before: of two writers of a key at once
 * the later to finish finds another version and removes the entry instead, for only the far store knows whose value stands.  add,
 * replace, cas and incr are decided by the far store.
 *
 * A crash in the middle leaves the old value near: until the far store's report of the change arrives where there is a listener, else until
 * its time to live is over.
 */
#include "tier/calls.h"

#include <stdlib.h>
#include <string.h>

#include "tier/flight.h"
#include "tier/queue.h"
#include "tier/repair.h"

static enum larder_status flags_check(const struct larder_set_options *o)
{
	if (likely(!o || !(o->user_flags & NEAR_MARKS)))
		return LARDER_OK;
	larder_store_message("store kind tiered: user_flags = 0x%x: the upper three bits belong to the tier; use 0 .. 0x%x", o->user_flags,
			~NEAR_MARKS);
	return LARDER_INVALID;
}

/* ---- Writing through ------------------------------------------------------------------------------------------------------- */

/* Before a call that the far store is to answer: what is dirty of the key comes first, and then the call is a flight, which
 * flight_end() ends.  LARDER_OK; a failure: an older write could not be made.  What is accepted meanwhile comes after. */
static enum larder_status take_off(struct tier *tier, const struct larder_store_key *key, const struct near_key *k)
{
	struct larder_tiered_repair done = { 0 };
	struct near_state state;

	for (unsigned tries = 0; tries < 8; tries++) { /* progress: other writers of the key go on */
		flight_begin(&tier->near);
		if (near_peek(&tier->near, k, &state) != LARDER_OK || !(state.marks & NEAR_DIRTY))
			return LARDER_OK;
		flight_end(&tier->near);
		enum larder_status status = tier_repair_key(tier, key, &done);
		if (status < 0)
			return status;
	}
	flight_begin(&tier->near);
	return LARDER_OK;
}

/* The version that the reflection of a write is compared with: what is there, or a hold of ours; 0: neither could be had. */
static uint64_t version_before(struct tier *tier, const struct near_key *k, bool *held)
{
	struct near_state state;
	uint64_t version = 0;

	*held = false;
	for (unsigned tries = 0; tries < 8; tries++) {
		enum larder_status status = near_peek(&tier->near, k, &state);
		if (status == LARDER_OK)
			return state.marks & NEAR_DIRTY ? 0 : state.version; /* it comes after us */
		if (status == LARDER_MISS)
			status = near_hold(&tier->near, k, tier_hold_ms(tier), &version);
		if (status == LARDER_OK) {
			*held = true;
			return version;
		}
		if (status < 0)
			return 0;
	}
	return 0;
}

/* Whatever is there goes, if the write that we know of may not be the last one; but not what is still to be written. */
static void near_forget(struct tier *tier, const struct near_key *k)
{
	bool dirty;

	(void)near_drop(&tier->near, k, &dirty);
}

/* The far store was not reached: what it has is not known. */
static enum larder_status write_failed(struct tier *tier, const struct near_key *k, const void *value, size_t value_bytes,
		const struct larder_set_options *options, bool absent, enum larder_status status)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;

	if (tier->on_failure == TIER_FAIL || !tier_failed(status)) {
		near_forget(tier, k);
		return status;
	}
	if (!absent)
		tier_options_near(tier, options, &o);
	else
		o.ttl_ms = LARDER_TTL_NONE;
	enum larder_status kept = near_put(&tier->near, k, 0, NEAR_DIRTY | (absent ? NEAR_ABSENT : 0), absent ? "" : value,
			absent ? 0 : value_bytes, &o, NULL);
	if (kept) {
		near_forget(tier, k);
		return status;
	}
	tier_count(&tier->words, TIER_DIRTIED, 1);
	return LARDER_OK;
}

/* Puts near what is far now, if nothing came between; without a version nothing. */
static void reflect(struct tier *tier, const struct near_key *k, uint64_t version, bool held, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	struct larder_set_options o;
	bool unknown = options->ttl_ms == LARDER_TTL_KEEP && held; /* only the far store knows for how long */

	tier_options_near(tier, options, &o);
	if (unknown || !version || near_put(&tier->near, k, version, 0, value, value_bytes, &o, result) != LARDER_OK)
		near_forget(tier, k);
}

/* LARDER_CAS: the version is the near entry's; the far store is asked to replace the value that this entry has. */
static enum larder_status far_cas(struct tier *tier, const struct larder_store_key *key, const struct near_key *k, const void *value,
		size_t value_bytes, struct larder_set_options *options)
{
	struct larder_buffer mine = { .grow = true }, theirs = { .grow = true };
	struct larder_meta near = { 0 }, far = { 0 };
	enum larder_status status = near_read(&tier->near, k, LARDER_NO_COUNT, &mine, &near);

	if (status == LARDER_OK && near.version == options->version)
		status = larder_store_get(tier->far, key, 0, &theirs, &far);
	else if (status >= 0)
		status = LARDER_CHANGED;
	if (status == LARDER_OK && (mine.length != theirs.length || memcmp(mine.data ? mine.data : "", theirs.data ? theirs.data : "", mine.length)))
		status = LARDER_CHANGED;
	options->version = far.version;
	if (status == LARDER_OK)
		status = tier_far_set(tier, key, value, value_bytes, options);
	free(mine.data);
	free(theirs.data);
	return status;
}

/* Far, and then near, too, unless it is written around. */
static enum larder_status write_far(struct tier *tier, const struct larder_store_key *key, const struct near_key *k, const void *value,
		size_t value_bytes, const struct larder_set_options *options, bool around, struct larder_result *result)
{
	struct larder_set_options o;
	bool held = false;
	uint64_t version = around ? 0 : version_before(tier, k, &held);

	tier_options_far(tier, k->ns, options, &o);
	const bool depends = o.mode != LARDER_SET;
	enum larder_status status = o.mode == LARDER_CAS ? far_cas(tier, key, k, value, value_bytes, &o)
			: tier_far_set(tier, key, value, value_bytes, &o);
	o.mode = LARDER_SET;
	if (status == LARDER_OK) {
		reflect(tier, k, version, held, value, value_bytes, &o, result);
		return LARDER_OK;
	}
	/* It exists, or does not: what we had near was wrong, if it said otherwise.  And what depends on what is there cannot be promised
	 * without the far store. */
	if (status > 0 || depends) {
		near_forget(tier, k);
		return status;
	}
	return write_failed(tier, k, value, value_bytes, &o, false, status);
}

/* ---- Writing behind ---------------------------------------------------------------------------------------------------------- */

/* Near first, as dirty; *far is what the far store is to be told (of a delete nothing).  LARDER_UNSUPPORTED: near has no room for it. */
static enum larder_status put_dirty(struct tier *tier, const struct near_key *k, const void *value, size_t value_bytes,
		const struct larder_set_options *options, bool remove, struct larder_set_options *far, struct larder_result *result)
{
	struct larder_set_options near = LARDER_SET_OPTIONS_INIT;

	near.ttl_ms = LARDER_TTL_NONE;
	if (!remove) {
		tier_options_far(tier, k->ns, options, far);
		tier_options_near(tier, far, &near);
	}
	enum larder_status status = near_put(&tier->near, k, 0, NEAR_DIRTY | (remove ? NEAR_ABSENT : 0), value, value_bytes, &near, result);
	return status == LARDER_TOO_LARGE || status == LARDER_NO_ROOM ? LARDER_UNSUPPORTED : status;
}

/* LARDER_UNSUPPORTED: not queued, it has to be written now. */
static enum larder_status write_behind(struct tier *tier, const struct larder_store_key *key, const struct near_key *k, const void *value,
		size_t value_bytes, const struct larder_set_options *options, bool remove, struct larder_result *result)
{
	struct larder_result done = { 0 };
	struct larder_set_options far;
	size_t bytes = key->count + value_bytes;

	near_ask(&tier->near, k);
	enum tier_admission admission = tier_queue_admit(tier->queue, bytes);

	if (admission == TIER_REFUSED) {
		larder_store_message("store kind tiered: the write-behind queue was full for block-timeout = %lld ms", (long long)tier->block_ms);
		return LARDER_NO_ROOM;
	}
	struct tier_write *write = admission == TIER_ADMITTED ? tier_write_make(key, value, value_bytes) : NULL;
	if (admission == TIER_ADMITTED && !write)
		tier_queue_dismiss(tier->queue, bytes);
	if (!write)
		return LARDER_UNSUPPORTED;
	enum larder_status status = put_dirty(tier, k, value, value_bytes, options, remove, &far, &done);
	if (status) {
		tier_queue_dismiss(tier->queue, bytes);
		tier_write_free(write);
		return status;
	}
	tier_queue_put(tier->queue, write, k, done.version, remove ? NULL : &far);
	if (result)
		*result = done;
	return LARDER_OK;
}

/* What the far store decides has to come after what it was not told yet. */
static enum larder_status settle(struct tier *tier)
{
	return tier->queue ? tier_queue_settle(tier->queue, tier->block_ms) : LARDER_OK;
}

/* Near first, as dirty, and far in this call: so it supersedes what is dirty of the key, whoever accepted it.  Without options: a delete.
 * LARDER_UNSUPPORTED: near has no room for it. */
static enum larder_status write_now(struct tier *tier, const struct larder_store_key *key, const struct near_key *k, const void *value,
		size_t value_bytes, const struct larder_set_options *options, bool remove, struct larder_result *result)
{
	struct larder_tiered_repair done = { 0 };
	struct larder_set_options far;
	struct larder_result own;

	result = result ? result : &own;
	enum larder_status status = put_dirty(tier, k, value, value_bytes, options, remove, &far, result);
	if (status)
		return status;
	status = tier_repair_key(tier, key, &done);
	if (status == LARDER_OK)
		return LARDER_OK;
	if (tier->on_failure == TIER_KEEP && tier_failed(status)) {
		tier_count(&tier->words, TIER_DIRTIED, 1);
		return LARDER_OK;
	}
	(void)near_take(&tier->near, k, result->version);
	return status;
}

static bool is_dirty(struct tier *tier, const struct near_key *k)
{
	struct near_state state;

	return near_peek(&tier->near, k, &state) == LARDER_OK && state.marks & NEAR_DIRTY;
}

/* A set of whatever mode, far first. */
static enum larder_status set_far(struct tier *tier, const struct larder_store_key *key, const struct near_key *k, const void *value,
		size_t value_bytes, const struct larder_set_options *options, struct larder_result *result)
{
	enum larder_status status = take_off(tier, key, k);

	if (status)
		return status;
	status = write_far(tier, key, k, value, value_bytes, options, tier->mode[key->ns->index] == TIER_WRITE_AROUND, result);
	flight_end(&tier->near);
	return status;
}

/* A set or delete (without value) that depends on nothing: behind, or near first where something older is dirty.  LARDER_UNSUPPORTED: far
 * first. */
static enum larder_status write_blind(struct tier *tier, const struct larder_store_key *key, const struct near_key *k, const void *value,
		size_t value_bytes, const struct larder_set_options *options, bool remove, struct larder_result *result)
{
	enum tier_mode mode = (enum tier_mode)tier->mode[key->ns->index];
	enum larder_status status = LARDER_UNSUPPORTED;

	if (options && options->tag_count) /* its names are the caller's, and only the far store can keep them */
		return LARDER_UNSUPPORTED;
	if (mode == TIER_WRITE_BEHIND)
		status = write_behind(tier, key, k, value, value_bytes, options, remove, result);
	if (status != LARDER_UNSUPPORTED || (mode != TIER_WRITE_BEHIND && !is_dirty(tier, k)))
		return status;
	status = write_now(tier, key, k, value, value_bytes, options, remove, result);
	if (status == LARDER_OK && mode == TIER_WRITE_AROUND)
		near_forget(tier, k);
	if (status == LARDER_UNSUPPORTED && mode == TIER_WRITE_BEHIND) { /* not to be overtaken by what near has lost, and the queue has */
		enum larder_status settled = settle(tier);
		status = settled ? settled : status;
	}
	return status;
}

enum larder_status tier_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	struct tier *tier = self;
	struct near_key k;
	enum larder_status status = near_key_of(&tier->near, key, &k);

	if (!status)
		status = flags_check(options);
	if (unlikely(status))
		return status;
	if (result)
		*result = (struct larder_result){ 0 };
	if (likely(!options || options->mode == LARDER_SET))
		status = write_blind(tier, key, &k, value, value_bytes, options, false, result);
	else if (tier->mode[key->ns->index] != TIER_WRITE_BEHIND || !(status = settle(tier)))
		status = LARDER_UNSUPPORTED;
	return status == LARDER_UNSUPPORTED ? set_far(tier, key, &k, value, value_bytes, options, result) : status;
}

static enum larder_status remove_far(struct tier *tier, const struct larder_store_key *key, const struct near_key *k)
{
	enum larder_status status = take_off(tier, key, k);

	if (status)
		return status;
	status = tier_far_remove(tier, key);
	if (status < 0)
		status = write_failed(tier, k, "", 0, NULL, true, status);
	else
		near_forget(tier, k);
	flight_end(&tier->near);
	return status;
}

enum larder_status tier_remove(void *self, const struct larder_store_key *key)
{
	struct tier *tier = self;
	struct near_key k;
	enum larder_status status = near_key_of(&tier->near, key, &k);

	if (!status)
		status = write_blind(tier, key, &k, "", 0, NULL, true, NULL);
	return status == LARDER_UNSUPPORTED ? remove_far(tier, key, &k) : status;
}

/* ---- The rest ----------------------------------------------------------------------------------------------------------------- */

/* Was anything left dirty near that may still be?  If it were only hidden, it would be made up for after the clear, and rise. */
static bool may_be_dirty(const struct tier *tier)
{
	const struct tier_words *words = &tier->words;

	return load_acquire(tier_word(words, TIER_DIRTIED)) || load_acquire(tier_word(words, TIER_LOST)) || tier_queues_of_others(tier)
			|| words->row[0] == words->own; /* nobody knows of the others */
}

enum larder_status tier_clear(void *self, const struct larder_name *name, bool soft)
{
	struct tier *tier = self;
	struct near_key k;
	const struct larder_store_key key = { .ns = name };
	enum larder_status status = near_key_of(&tier->near, &key, &k);

	if (!status)
		status = settle(tier); /* what was accepted before must not come after */
	if (status)
		return status;
	status = larder_store_clear(tier->far, name, soft);
	if (status) { /* what is there may be old; what was accepted still stands */
		near_hide(&tier->near, k.ns, soft);
		return status;
	}
	return soft && !may_be_dirty(tier) ? larder_flush_soft(tier->near.cache, k.ns) : larder_flush(tier->near.cache, k.ns);
}

/* What the far store does to a value that it has: it comes after all that was accepted before, and is a flight. */
static enum larder_status change_begin(struct tier *tier, const struct larder_store_key *key, struct near_key *k, int64_t *ttl_ms)
{
	enum larder_status status = near_key_of(&tier->near, key, k);

	if (!status)
		status = settle(tier);
	if (!status)
		status = take_off(tier, key, k);
	if (!status && *ttl_ms == LARDER_TTL_DEFAULT)
		*ttl_ms = near_ttl(&tier->near, k->ns);
	return status;
}

enum larder_status tier_touch(void *self, const struct larder_store_key *key, int64_t ttl_ms)
{
	struct tier *tier = self;
	struct near_key k;
	enum larder_status status = change_begin(tier, key, &k, &ttl_ms);

	if (status)
		return status;
	status = larder_store_touch(tier->far, key, ttl_ms);
	if (status >= 0)
		near_forget(tier, &k);
	flight_end(&tier->near);
	return status;
}

enum larder_status tier_incr(void *self, const struct larder_store_key *key, int64_t delta, bool create, int64_t initial,
		int64_t ttl_ms, int64_t *sum)
{
	struct tier *tier = self;
	struct near_key k;
	enum larder_status status = change_begin(tier, key, &k, &ttl_ms);

	if (status)
		return status;
	status = larder_store_incr(tier->far, key, delta, create, initial, ttl_ms, sum);
	if (status >= 0 || tier_unreachable(status))
		near_forget(tier, &k); /* how long it still lives is known to the far store alone */
	flight_end(&tier->near);
	return status;
}
