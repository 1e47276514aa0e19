/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tiers over a cache, and the Redis servers behind it, in a sample: read from the segment, no server is asked.  Names and texts come
 * from larder/tiered.def, breaker.def and redis.def.  Caches of a library without hiredis have none.
 */
#include "sample.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define LOOKED_AT_MOST 200000u

/* ---- Taking ------------------------------------------------------------------------------------------------------ */

/* One more of `bytes` at the end of *list, or NULL. */
static void *grow(void **list, unsigned *count, size_t bytes)
{
	char *more = reallocarray(*list, *count + 1, bytes);

	if (!more)
		return NULL;
	*list = more;
	return memset(more + (*count)++ * bytes, 0, bytes);
}

static bool add_tier(const char *far, const struct larder_tiered_info *info, void *arg)
{
	struct sample_remote *remote = arg;
	struct sample_tier *tier = grow((void **)&remote->tiers, &remote->tier_count, sizeof *tier);

	if (!tier)
		return false;
	snprintf(tier->far, sizeof tier->far, "%s", far);
	tier->info = *info;
	return true;
}

static bool add_breaker(const struct larder_redis_node *node, void *arg)
{
	struct sample_remote *remote = arg;
	struct larder_redis_node *more = grow((void **)&remote->breakers, &remote->breaker_count, sizeof *more);

	if (more)
		*more = *node;
	return more != NULL;
}

static bool add_redis(const char *address, const struct larder_redis_status *status, void *arg)
{
	struct sample_remote *remote = arg;
	struct sample_redis *redis = grow((void **)&remote->redis, &remote->redis_count, sizeof *redis);

	if (!redis)
		return false;
	snprintf(redis->address, sizeof redis->address, "%s", address);
	redis->status = *status;
	return true;
}

/* Nothing can be dirty before anything failed, or while all that was queued is written. */
static bool may_be_dirty(const struct sample_remote *remote)
{
	for (unsigned i = 0; i < remote->tier_count; i++)
		if (remote->tiers[i].info.dirtied || remote->tiers[i].info.pending || remote->tiers[i].info.lost)
			return true;
	return false;
}

static enum larder_status count_dirty(struct larder *cache, uint64_t entries, struct sample_remote *remote)
{
	uint64_t looked = 0;

	if (!may_be_dirty(remote))
		return LARDER_OK;
	enum larder_status status = larder_tiered_dirty(cache, LOOKED_AT_MOST, &remote->dirty, &looked);
	remote->dirty_sampled = status == LARDER_END;
	if (remote->dirty_sampled && entries > looked)
		remote->dirty = (uint64_t)((double)remote->dirty * (double)entries / (double)looked);
	return status == LARDER_END ? LARDER_OK : status;
}

enum larder_status sample_remote_take(struct larder *cache, uint64_t entries, struct sample_remote *remote)
{
	enum larder_status status = larder_tiers(cache, add_tier, remote);

	if (status == LARDER_OK)
		status = larder_redis_breakers(cache, add_breaker, remote);
	if (status == LARDER_OK)
		status = larder_redis_counters(cache, add_redis, remote);
	if (status == LARDER_OK)
		status = count_dirty(cache, entries, remote);
	return status == LARDER_UNSUPPORTED ? LARDER_OK : status;
}

void sample_remote_free(struct sample_remote *remote)
{
	free(remote->tiers);
	free(remote->breakers);
	free(remote->redis);
	*remote = (struct sample_remote){ .tiers = NULL };
}

const char *sample_line(const struct larder_tiered_info *info)
{
	if (info->broken)
		return "broken";
	return sample_heard(info) ? "heard" : info->live ? "vacant" : "unheard";
}

bool sample_heard(const struct larder_tiered_info *info)
{
	return info->live && info->held;
}

const char *sample_breaker(const struct larder_redis_node *node)
{
	static const char *const names[] = { [LARDER_REDIS_CLOSED] = "closed", [LARDER_REDIS_OPEN] = "open",
		[LARDER_REDIS_PROBING] = "probing" };

	return (unsigned)node->breaker < sizeof names / sizeof *names ? names[node->breaker] : "unknown";
}

/* ---- Going through it -------------------------------------------------------------------------------------------- */

/* One number of each of count things of `bytes` from first on, at offset in them, labelled by the text at label_at. */
struct column {
	const char *name, *text;
	bool counter;
	const char *label;
	const void *first;
	unsigned count;
	size_t bytes, label_at, offset;
};

static void each(const struct sample_visit *w, const struct column *c)
{
	struct sample_value value = { .name = c->name, .text = c->text, .counter = c->counter, .label_count = 1 };

	if (!sample_wanted(w, c->name))
		return;
	for (unsigned i = 0; i < c->count; i++) {
		const char *one = (const char *)c->first + i * c->bytes;
		memcpy(&value.value, one + c->offset, sizeof value.value);
		value.labels[0] = (struct larder_label){ c->label, one + c->label_at };
		w->visit(&value, w->arg);
	}
}

static void each_state(const struct sample_visit *w, const char *name, const char *text, const char *label, const char *of, uint64_t state)
{
	struct sample_value value = { .name = name, .text = text, .value = state, .label_count = 1, .labels = { { label, of } } };

	if (sample_wanted(w, name))
		w->visit(&value, w->arg);
}

#define LARDER_COUNTER(field, about) COLUMN(field, about, true)
#define LARDER_GAUGE(field, about) COLUMN(field, about, false)
#define LARDER_REDIS_COUNTER(field, about) COLUMN(field, about, true)

static void each_tier(const struct sample_remote *r, const struct sample_visit *w)
{
	for (unsigned i = 0; i < r->tier_count; i++)
		each_state(w, "tier_live", "1 if changes that others make are heard", "far", r->tiers[i].far, sample_heard(&r->tiers[i].info));
	for (unsigned i = 0; i < r->tier_count; i++)
		each_state(w, "tier_held", "1 if a process listens for changes that others make", "far", r->tiers[i].far, r->tiers[i].info.held);
	const struct sample_value dirty = { .name = "dirty_entries", .value = r->dirty,
		.text = "entries near that the far store does not have yet, estimated from 200 000 if there are more" };
	if (r->tier_count && sample_wanted(w, dirty.name))
		w->visit(&dirty, w->arg);
#define COLUMN(field, about, is_counter) \
	each(w, &(struct column){ "tier_" #field, about, is_counter, "far", r->tiers, r->tier_count, sizeof r->tiers[0], \
			offsetof(struct sample_tier, far), offsetof(struct sample_tier, info) + offsetof(struct larder_tiered_info, field) });
#include <larder/tiered.def>
#undef COLUMN
}

static void each_breaker(const struct sample_remote *r, const struct sample_visit *w)
{
	for (unsigned i = 0; i < r->breaker_count; i++)
		each_state(w, "breaker_open", "1 if calls to the server fail at once, 0 if they go through", "server", r->breakers[i].address,
				r->breakers[i].breaker != LARDER_REDIS_CLOSED);
#define COLUMN(field, about, is_counter) \
	each(w, &(struct column){ "breaker_" #field, about, is_counter, "server", r->breakers, r->breaker_count, sizeof r->breakers[0], \
			offsetof(struct larder_redis_node, address), offsetof(struct larder_redis_node, field) });
#include <larder/breaker.def>
#undef COLUMN
}

void sample_each_remote(const struct sample_remote *r, const struct sample_visit *w)
{
	each_tier(r, w);
	each_breaker(r, w);
#define COLUMN(field, about, is_counter) \
	each(w, &(struct column){ "redis_" #field, about, is_counter, "server", r->redis, r->redis_count, sizeof r->redis[0], \
			offsetof(struct sample_redis, address), offsetof(struct sample_redis, status) + \
			offsetof(struct larder_redis_status, field) });
#include <larder/redis.def>
#undef COLUMN
}
