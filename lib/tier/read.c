/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading through a tier.  A hit is answered near.  For a miss one process of the host fetches (its HOLD keeps the others waiting, for a
 * bounded time) and fills by CAS on its hold, so that a fill never covers or outlives a change made meanwhile.  A crash in the
 * middle leaves a hold that the next reader takes over.
 */
#include "tier/calls.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/moment.h"
#include "tier/ear.h"

#define FALLBACK_MS 1000 /* how long a value that could not be refreshed is served before that is tried again */
#define HITS_WATCHED 127u /* a thread's hits between two looks at the stream: a prime, so that no turn of tiers leaves one out */

struct reading {
	struct tier *tier;
	const struct larder_store_key *key;
	struct near_key k;
	uint32_t flags;
	struct larder_buffer *value;
	struct larder_meta *meta; /* never NULL */
	struct larder_buffer old; /* a softly flushed value: better than none where the far store is down */
	bool has_old;
	bool fetched; /* what is filled takes the place of nothing, or of what was fetched as well */
	bool gone;    /* the place is that of a write which is far, and stays if there is nothing to fill with */
	struct near_state place; /* if it is gone: as it was before anybody was asked */
};

/* May entries be believed without asking?  Not while changes of others cannot be heard, but for the time that was allowed. */
static inline bool tier_trusts(const struct tier *tier)
{
	uint64_t word = load_acquire(tier_word(&tier->words, TIER_STREAM)); /* STREAM (acquire) */

	if (likely(stream_state(word) != STREAM_BROKEN) || tier->listener == TIER_LISTEN_NO)
		return true;
	return tier->on_gap == TIER_BOUND
			&& moment_age_ms((int64_t)moment_coarse(&tier->near.cache->region), stream_since_ms(word)) <= tier->bound_ms;
}

/* The value near, where near_peek() saw one; LARDER_CHANGED: it is none any more. */
static enum larder_status read_value(struct reading *r)
{
	enum larder_status status = near_read(&r->tier->near, &r->k, r->flags, r->value, r->meta);

	if (status == LARDER_OK && r->value->length == 0 && r->meta->user_flags & (NEAR_HOLD | NEAR_ABSENT))
		return LARDER_CHANGED;
	near_strip(r->meta);
	return status == LARDER_MISS ? LARDER_CHANGED : status;
}

/* Puts what the far store has said in place of `version`. */
static void fill(struct reading *r, uint64_t version, enum larder_status status)
{
	struct larder_set_options far = LARDER_SET_OPTIONS_INIT, o;
	struct larder_result result = { 0 };

	if (!version || (r->gone && (status != LARDER_OK || r->meta->ttl_left_ms == 0)))
		return;
	if (status == LARDER_MISS && r->tier->negative_ttl_ms) {
		far.ttl_ms = r->tier->negative_ttl_ms;
		(void)near_put(&r->tier->near, &r->k, version, NEAR_ABSENT, "", 0, &far, NULL);
		return;
	}
	if (status != LARDER_OK || r->meta->ttl_left_ms == 0) {
		(void)near_take(&r->tier->near, &r->k, version);
		return;
	}
	far.ttl_ms = r->meta->ttl_left_ms;
	far.user_flags = r->meta->user_flags;
	tier_options_near(r->tier, &far, &o);
	uint32_t marks = r->fetched && r->value->length ? NEAR_ABSENT : 0;
	status = r->gone ? near_fill(&r->tier->near, &r->k, &r->place, marks, r->value->data, r->value->length, &o, &result)
			: near_put(&r->tier->near, &r->k, version, marks, r->value->data, r->value->length, &o, &result);
	if (status == LARDER_OK)
		r->meta->version = result.version;
	else if (status < 0)
		(void)near_take(&r->tier->near, &r->k, version); /* too large for it, say */
}

static enum larder_status give_old(struct reading *r, uint64_t version)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;

	o.ttl_ms = FALLBACK_MS;
	o.user_flags = r->meta->user_flags & ~NEAR_MARKS;
	if (version && !r->gone)
		(void)near_put(&r->tier->near, &r->k, version, r->old.length ? NEAR_ABSENT : 0, r->old.data, r->old.length, &o, NULL);
	enum larder_status status = larder_buffer_take(r->value, r->old.length);
	if (status == LARDER_OK && r->old.length)
		memcpy(r->value->data, r->old.data, r->old.length);
	r->meta->stale = true;
	return status == LARDER_OK && r->flags & LARDER_ALLOW_STALE ? LARDER_STALE : status;
}

/* Asks the far store and fills; version: of our hold, or 0: fill nothing. */
static enum larder_status fetch(struct reading *r, uint64_t version)
{
	struct larder_meta old = *r->meta;
	enum larder_status status = tier_far_get(r->tier, r->key, r->flags, r->value, r->meta);

	if (status >= 0) {
		fill(r, version, status);
		return status;
	}
	if (r->tier->on_failure == TIER_KEEP && r->has_old) {
		*r->meta = old;
		return give_old(r, version);
	}
	if (version && !r->gone)
		(void)near_take(&r->tier->near, &r->k, version);
	return r->tier->on_failure == TIER_KEEP && tier_failed(status) ? LARDER_MISS : status;
}

/* A value that a soft flush has hidden is written over by our hold: copied before. */
static void keep_old(struct reading *r)
{
	if (r->tier->on_failure != TIER_KEEP || r->has_old)
		return;
	enum larder_status status = near_read(&r->tier->near, &r->k, LARDER_ALLOW_STALE | LARDER_NO_COUNT, &r->old, r->meta);
	r->has_old = status == LARDER_STALE && !(r->old.length == 0 && r->meta->user_flags & NEAR_MARKS);
}

static void nap(int64_t us)
{
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

enum look { LOOK_AGAIN, LOOK_WAIT, LOOK_DONE };

/* One look at a key that was no hit: answers, fetches, or finds somebody else fetching. */
static enum look look(struct reading *r, enum larder_status *status)
{
	struct near *near = &r->tier->near;
	struct near_state state = { 0 };
	uint64_t version = 0;

	*status = near_peek(near, &r->k, &state);
	if (*status == LARDER_OK && !(state.marks & (NEAR_ABSENT | NEAR_HOLD))) {
		*status = read_value(r);
		return *status == LARDER_CHANGED ? LOOK_AGAIN : LOOK_DONE;
	}
	r->gone = state.marks == NEAR_GONE;
	if ((state.marks & NEAR_ABSENT && !r->gone) || !r->tier->read_through) {
		*status = *status < 0 ? *status : LARDER_MISS;
		return LOOK_DONE;
	}
	r->fetched = !r->gone;
	r->place = state;
	if (r->gone) {
		version = state.version; /* without a hold: it would hide what is gone */
	} else if (*status == LARDER_MISS) {
		keep_old(r);
		if (tier_queues_of_others(r->tier) && near_unhide(near, &r->k))
			return LOOK_AGAIN;
		*status = near_hold(near, &r->k, tier_hold_ms(r->tier), &version);
	} else if (*status == LARDER_OK && !near_owner_lives(near, state.owner)) {
		version = state.version;
		*status = near_hold_over(near, &r->k, tier_hold_ms(r->tier), &version);
	} else if (*status == LARDER_OK) {
		return LOOK_WAIT;
	}
	if (*status > 0)
		return LOOK_AGAIN;
	*status = fetch(r, *status == LARDER_OK ? version : 0); /* near failed: the far store answers alone */
	return LOOK_DONE;
}

static cold enum larder_status get_slow(struct reading *r)
{
	int64_t deadline = clock_precise_ms() + r->tier->fetch_wait_ms;
	enum larder_status status = LARDER_MISS;
	int64_t pause_us = 50;

	for (unsigned looks = 0;; looks++) {
		enum look next = look(r, &status);
		if (next == LOOK_DONE)
			break;
		if (clock_precise_ms() >= deadline || looks > 10000) {
			status = fetch(r, 0); /* whoever holds it takes too long for us */
			break;
		}
		if (next == LOOK_WAIT)
			nap(pause_us);
		pause_us = pause_us < 1000 ? pause_us * 2 : 1000;
	}
	free(r->old.data);
	return status;
}

/* While changes of others are not heard: the far store is asked, and what is near stands in for it only if it is down. */
static cold enum larder_status get_untrusted(struct reading *r)
{
	struct near *near = &r->tier->near;
	struct near_state state = { 0 };
	uint64_t version = 0;
	enum larder_status seen = near_peek(near, &r->k, &state);

	if (seen == LARDER_MISS && tier_queues_of_others(r->tier) && near_unhide(near, &r->k))
		seen = near_peek(near, &r->k, &state);
	if (seen == LARDER_OK && state.marks & NEAR_DIRTY)
		return state.marks & NEAR_ABSENT ? LARDER_MISS : read_value(r);
	r->gone = state.marks == NEAR_GONE;
	r->fetched = seen == LARDER_MISS || state.fetched;
	r->place = state;
	if (seen == LARDER_OK)
		version = state.version;
	else if (seen == LARDER_MISS && near_hold(near, &r->k, tier_hold_ms(r->tier), &version) != LARDER_OK)
		version = 0;
	enum larder_status status = tier_far_get(r->tier, r->key, r->flags, r->value, r->meta);
	if (status == LARDER_SHORT && !(seen == LARDER_MISS))
		return status;
	if (status >= 0) {
		fill(r, version, status);
		return status;
	}
	if (seen == LARDER_MISS && version)
		(void)near_take(near, &r->k, version);
	if (r->tier->on_failure == TIER_FAIL || !tier_failed(status))
		return status;
	if (seen != LARDER_OK || state.marks)
		return LARDER_MISS;
	status = read_value(r);
	r->meta->stale = status == LARDER_OK;
	return status == LARDER_CHANGED ? LARDER_MISS : status;
}

static cold enum larder_status get_further(struct tier *tier, const struct near_key *k, const struct larder_store_key *key, uint32_t flags,
		struct larder_buffer *value, struct larder_meta *meta, bool trusted)
{
	struct larder_meta own = { 0 };
	struct reading r = { .tier = tier, .key = key, .k = *k, .flags = flags, .value = value, .meta = meta ? meta : &own,
		.old.grow = true };

	tier_watch(tier);
	return trusted ? get_slow(&r) : get_untrusted(&r);
}

/* One hit in N: counted for N. */
static cold void near_sampled(struct tier *tier, const struct timer *timer)
{
	timer_end(timer, &tier->near_get);
	series_count(&tier->near_get, SERIES_HITS, timer->weight);
}

/* Whoever lives on hits alone has to ask now and then whether anybody still listens, timed or not. */
static _Thread_local unsigned hits_left __attribute__((tls_model("initial-exec")));

static cold void near_watched(struct tier *tier)
{
	hits_left = HITS_WATCHED;
	tier_watch(tier);
}

enum larder_status tier_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	struct tier *tier = self;
	struct near_key k;
	enum larder_status status = near_key_of(&tier->near, key, &k);

	if (unlikely(status))
		return status;
	if (unlikely(!tier_trusts(tier)))
		return get_further(tier, &k, key, flags, value, meta, false);
	struct timer timer = timer_begin(&tier->metrics);
	status = near_read(&tier->near, &k, flags, value, meta);
	bool empty = status == LARDER_OK && value->length == 0; /* no value perhaps, but a mark */
	if (unlikely(status == LARDER_MISS || empty || status < 0))
		return get_further(tier, &k, key, flags, value, meta, true);
	near_strip(meta);
	if (unlikely(timer.weight != 0))
		near_sampled(tier, &timer);
	if (unlikely(hits_left-- == 0))
		near_watched(tier);
	return status;
}

/* ---- Many at once -------------------------------------------------------------------------------------------------------- */

static enum larder_status mget_one_by_one(struct tier *tier, uint32_t flags, struct larder_store_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		items[i].status = tier_get(tier, &items[i].key, flags, &items[i].value, &items[i].meta);
	return LARDER_OK;
}

/* Answers item near, or notes it for the far store; version: of the hold that we have then, 0 if somebody else does. */
static bool mget_near(struct tier *tier, uint32_t flags, struct larder_store_item *item, struct near_key *k, uint64_t *version)
{
	struct near_state state = { 0 };

	*version = 0;
	item->status = near_key_of(&tier->near, &item->key, k);
	if (item->status)
		return true;
	item->status = near_read(&tier->near, k, flags, &item->value, &item->meta);
	uint32_t marks = item->status == LARDER_OK ? item->meta.user_flags & NEAR_MARKS : 0;
	near_strip(&item->meta);
	if (item->status == LARDER_OK && item->value.length == 0 && marks & (NEAR_ABSENT | NEAR_HOLD))
		item->status = LARDER_MISS;
	else if (item->status >= 0 && item->status != LARDER_MISS)
		return true;
	bool gone = (marks & NEAR_GONE) == NEAR_GONE;
	if ((marks & NEAR_ABSENT && !gone) || !tier->read_through)
		return item->status == LARDER_MISS;
	if (item->status == LARDER_MISS && !gone && near_peek(&tier->near, k, &state) == LARDER_MISS
			&& !(tier_queues_of_others(tier) && near_unhide(&tier->near, k)))
		(void)near_hold(&tier->near, k, tier_hold_ms(tier), version);
	return false;
}

struct mget_miss {
	struct near_key k;
	uint64_t version;
	size_t place; /* among all items */
};

static void mget_fill(struct tier *tier, uint32_t flags, const struct mget_miss *miss, struct larder_store_item *item)
{
	struct reading r = { .tier = tier, .key = &item->key, .k = miss->k, .flags = flags, .value = &item->value, .meta = &item->meta,
		.fetched = true };

	item->meta.version = 0;
	item->meta.user_flags &= ~NEAR_MARKS;
	if (item->status >= 0) {
		fill(&r, miss->version, item->status);
		return;
	}
	if (miss->version)
		(void)near_take(&tier->near, &miss->k, miss->version);
	if (tier->on_failure == TIER_KEEP && tier_failed(item->status))
		item->status = LARDER_MISS;
}

static void mget_far(struct tier *tier, uint32_t flags, struct larder_store_item *items, struct larder_store_item *asked,
		const struct mget_miss *misses, size_t count)
{
	uint64_t begin = (uint64_t)clock_precise_ns();

	for (size_t i = 0; i < count; i++)
		asked[i].meta = (struct larder_meta){ .ttl_left_ms = LARDER_TTL_NONE };
	enum larder_status status = larder_store_mget(tier->far, (flags & ~(uint32_t)LARDER_ALLOW_STALE) | LARDER_MGET_META, asked, count);

	(void)tier_far_answered(tier, &tier->far_get, begin, status);
	for (size_t i = 0; i < count; i++) {
		if (status < 0)
			asked[i].status = status;
		mget_fill(tier, flags, &misses[i], &asked[i]);
		items[misses[i].place] = asked[i];
	}
}

enum larder_status tier_mget(void *self, uint32_t flags, struct larder_store_item *items, size_t count)
{
	struct tier *tier = self;
	struct mget_miss *misses = tier_trusts(tier) ? calloc(count + !count, sizeof *misses) : NULL;
	struct larder_store_item *asked = misses ? calloc(count + !count, sizeof *asked) : NULL;
	size_t far = 0;

	flags &= ~(uint32_t)LARDER_MGET_META; /* it is needed here, and given in any case */
	if (!asked) {
		free(misses);
		return mget_one_by_one(tier, flags, items, count);
	}
	for (size_t i = 0; i < count; i++) {
		struct mget_miss *miss = &misses[far];
		if (mget_near(tier, flags, &items[i], &miss->k, &miss->version))
			continue;
		miss->place = i;
		asked[far++] = items[i];
	}
	if (far)
		mget_far(tier, flags, items, asked, misses, far);
	free(asked);
	free(misses);
	return LARDER_OK;
}
