/* SPDX-License-Identifier: BSD-2-Clause */
/* Dirty entries brought to the far store, see repair.h. */
#include "tier/repair.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tier/flight.h"

#define PATIENCE_MS 250 /* with a process that was stopped in the middle of a write */
#define AHEAD_MS 86400000 /* clocks of hosts differ; a time that is further ahead of ours than that says nothing */
#define NEWER_MS 100    /* times are of a coarse clock, rounded, and taken before the entry appears: what we wrote ourselves is not newer */

/* One dirty entry, copied. */
struct dirty {
	const struct larder_store_key *key;
	struct near_key k;
	struct larder_buffer value;
	struct larder_meta meta;
	uint64_t version; /* what stands there now and is to be replaced */
	uint32_t marks;
	bool hidden;      /* by a soft flush, or it is in its grace */
};

/* What is there, as a copy.  LARDER_MISS: nothing to be done; LARDER_CHANGED: look again. */
static enum larder_status dirty_load(struct tier *tier, struct dirty *d)
{
	enum larder_status status;
	size_t length = 0;

	do {
		status = larder_get_with(tier->near.cache, d->k.ns, d->k.bytes, d->k.count, d->value.data, d->value.capacity, &length,
				LARDER_ALLOW_STALE | LARDER_NO_COUNT, &d->meta);
	} while (status == LARDER_SHORT && !(status = larder_buffer_take(&d->value, length)) && (status = LARDER_SHORT));
	d->value.length = length;
	if (status != LARDER_OK && status != LARDER_STALE)
		return status;
	d->marks = d->meta.user_flags & (length ? NEAR_DIRTY : NEAR_MARKS);
	d->hidden = status == LARDER_STALE;
	if (d->marks & NEAR_HOLD || !(d->marks & NEAR_DIRTY))
		return LARDER_MISS;
	d->version = d->meta.version;
	return LARDER_OK;
}

static void dirty_options(const struct dirty *d, struct larder_set_options *o)
{
	*o = (struct larder_set_options)LARDER_SET_OPTIONS_INIT;
	o->ttl_ms = d->meta.ttl_left_ms ? d->meta.ttl_left_ms : 1;
	o->user_flags = d->meta.user_flags & ~NEAR_MARKS;
	o->created_at_ms = d->meta.created_at_ms;
}

/* Did anybody write the key there after us?  Only where the far store keeps the time that it is told, see struct larder_set_options: by the
 * time at which it was written there, an older write of this host that came late would pass for a newer one. */
static enum larder_status newer_there(struct tier *tier, const struct dirty *d, bool *newer)
{
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta = { 0 };

	if (larder_store_cache(tier->far))
		return LARDER_OK;
	enum larder_status status = larder_store_get(tier->far, d->key, LARDER_NO_COUNT, &value, &meta);
	free(value.data);
	bool credible = meta.created_at_ms - clock_wall_ms() < AHEAD_MS;
	*newer = status == LARDER_OK && credible && meta.created_at_ms > d->meta.created_at_ms + NEWER_MS;
	return status < 0 ? status : LARDER_OK;
}

static enum larder_status dirty_write(struct tier *tier, const struct dirty *d, bool *newer)
{
	struct larder_set_options o;
	enum larder_status status = newer_there(tier, d, newer);

	if (status || *newer)
		return status;
	if (d->marks & NEAR_ABSENT) {
		status = larder_store_delete(tier->far, d->key);
		return status == LARDER_MISS ? LARDER_OK : status;
	}
	dirty_options(d, &o);
	return larder_store_set(tier->far, d->key, d->value.data, d->value.length, &o, NULL);
}

/* What replaces an entry that is far, and is not to be believed near: something that older writes see, if some queue can have any. */
static enum larder_status near_bury(struct tier *tier, const struct near_key *k, uint64_t version, bool in_turn)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;

	if (!(in_turn ? tier_queues_of_others(tier) : load_acquire(tier_word(&tier->words, TIER_QUEUES)) > 0))
		return near_take(&tier->near, k, version);
	o.ttl_ms = NEAR_GONE_MS;
	return near_put(&tier->near, k, version, NEAR_GONE, "", 0, &o, NULL);
}

enum larder_status tier_landed(struct tier *tier, const struct near_key *k, const struct tier_landed *l)
{
	struct larder_set_options o;
	enum larder_status status;

	tier_options_near(tier, l->options, &o);
	if (!l->alone)
		status = near_take(&tier->near, k, l->version);
	else if (l->removed || tier_is_heard(tier))
		status = near_bury(tier, k, l->version, l->in_turn);
	else
		status = near_put(&tier->near, k, l->version, 0, l->value, l->value_bytes, &o, NULL);
	if (status == LARDER_CHANGED)
		near_drop_fetched(&tier->near, k);
	return status;
}

/* Marks it clean; what is hidden goes, for it is far.  LARDER_CHANGED: a newer one is there. */
static enum larder_status dirty_settle(struct tier *tier, const struct dirty *d, bool newer, bool alone)
{
	struct larder_set_options o;
	const struct tier_landed landed = { .version = d->version, .alone = alone, .removed = d->marks & NEAR_ABSENT, .value = d->value.data,
		.value_bytes = d->value.length, .options = &o };

	if (d->hidden)
		return near_take_hidden(&tier->near, &d->k, d->version, !newer && alone && load_acquire(tier_word(&tier->words, TIER_QUEUES)) > 0);
	dirty_options(d, &o);
	return newer ? near_take(&tier->near, &d->k, d->version) : tier_landed(tier, &d->k, &landed);
}

static void tell(struct larder_tiered_repair *done, const struct dirty *d, enum larder_status status, bool newer)
{
	done->dirty++;
	if (status)
		done->failed++;
	else if (newer)
		done->outdated++;
	else if (d->marks & NEAR_ABSENT)
		done->deleted++;
	else
		done->written++;
}

/* In flight.  LARDER_CHANGED: it was written, or not, and something newer stands there now. */
static enum larder_status dirty_bring(struct tier *tier, struct dirty *d, bool alone, struct larder_tiered_repair *done)
{
	bool newer = false;
	enum larder_status written = dirty_write(tier, d, &newer);

	if (written > 0)
		written = LARDER_OK;
	tell(done, d, written, newer);
	if (written)
		return written;
	tier_count(&tier->words, TIER_CLEANED, 1);
	return dirty_settle(tier, d, newer, alone);
}

static enum larder_status repair_once(struct tier *tier, struct dirty *d, struct larder_tiered_repair *done)
{
	enum larder_status status = dirty_load(tier, d);
	uint64_t version = d->version;

	if (status)
		return status == LARDER_MISS ? LARDER_OK : status;
	bool alone = flights_await(&tier->near, PATIENCE_MS);
	flight_begin(&tier->near);
	status = dirty_load(tier, d);
	if (!status && d->version != version)
		status = LARDER_CHANGED; /* it came while we waited, and there may be flights that do not know of it */
	if (!status)
		status = dirty_bring(tier, d, alone, done);
	flight_end(&tier->near);
	return status == LARDER_MISS ? LARDER_OK : status;
}

enum larder_status tier_repair_key(struct tier *tier, const struct larder_store_key *key, struct larder_tiered_repair *done)
{
	struct dirty d = { .key = key, .value.grow = true };
	enum larder_status status = near_key_of(&tier->near, key, &d.k);

	for (unsigned tries = 0; !status && tries < 8; tries++) { /* progress: another one changed the key */
		status = repair_once(tier, &d, done);
		if (status != LARDER_CHANGED)
			break;
		status = LARDER_OK;
	}
	free(d.value.data);
	return status;
}

struct walk {
	struct tier *tier;
	struct larder_tiered_repair *done;
	int64_t deadline_ms;
	enum larder_status status;
};

static bool visit(const struct larder_entry *entry, void *arg)
{
	struct walk *w = arg;
	struct larder_namespace_info info;
	struct larder_store_key key = { .bytes = entry->key, .count = entry->key_bytes };

	if (!(entry->meta.user_flags & NEAR_DIRTY) || (entry->meta.value_bytes == 0 && entry->meta.user_flags & NEAR_HOLD))
		return true;
	if (larder_namespace_info(w->tier->near.cache, entry->ns, &info) || larder_name(info.name, &key.ns))
		return true;
	enum larder_status status = tier_repair_key(w->tier, &key, w->done);
	/* What the far store refuses stays dirty, and does not hold up the others. */
	if (status < 0 && status != LARDER_REFUSED)
		w->status = status;
	if (!w->status && clock_precise_ms() > w->deadline_ms)
		w->status = LARDER_UNREACHABLE;
	return !w->status;
}

enum larder_status tier_repair_all(struct tier *tier, int64_t timeout_ms, struct larder_tiered_repair *done)
{
	struct walk w = { .tier = tier, .done = done, .deadline_ms = clock_precise_ms() + timeout_ms };
	enum larder_status status = larder_iterate(tier->near.cache, LARDER_ALL_NAMESPACES, "", 0, LARDER_ITERATE_STALE, visit, &w);

	return w.status ? w.status : status < 0 ? status : LARDER_OK;
}
