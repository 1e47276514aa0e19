/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store kind tiered: its settings, opening and closing, and what it offers beside the calls of every store.  Impossible combinations
 * are refused here, with what to do instead.
 */
#include "tier/tiered.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/kinds.h"
#include "store/settings.h"
#include "tier/calls.h"
#include "tier/ear.h"
#include "tier/queue.h"
#include "tier/repair.h"

enum tier_setting {
	SET_NEAR, SET_FAR, SET_NAME, SET_MODE, SET_NAMESPACES, SET_READ_THROUGH, SET_ON_FAILURE, SET_NEAR_TTL, SET_NEGATIVE_TTL,
	SET_FETCH_WAIT, SET_QUEUE, SET_QUEUE_BYTES, SET_ON_FULL, SET_BLOCK_TIMEOUT, SET_DELAY, SET_CLOSE_TIMEOUT, SET_LISTENER, SET_ON_GAP,
	SET_KEEPALIVE, SETTINGS
};
#define DAY_MS 86400000ll
#define MODES "write-through|write-behind|write-around"

static const struct larder_setting_rule rules[SETTINGS] = {
	[SET_NEAR] = { .key = "near", .type = LARDER_SETTING_STORE, .text = "the store in memory: of kind shm or memory" },
	[SET_FAR] = { .key = "far", .type = LARDER_SETTING_STORE, .text = "the store that holds the truth: of any kind" },
	[SET_NAME] = { .key = "name", .usual = "tiered", .text = "what this tier is called in metrics" },
	[SET_MODE] = { .key = "mode", .type = LARDER_SETTING_CHOICE, .choices = MODES, .usual = "write-through",
		.text = "how a write reaches the far store" },
	[SET_NAMESPACES] = { .key = "namespaces", .usual = "", .text = "modes of namespaces: users:write-behind, pages:write-around" },
	[SET_READ_THROUGH] = { .key = "read-through", .type = LARDER_SETTING_BOOL, .usual = "yes",
		.text = "whether a miss is asked of the far store" },
	[SET_ON_FAILURE] = { .key = "on-failure", .type = LARDER_SETTING_CHOICE, .choices = "fail|keep", .usual = "fail",
		.text = "where the far store is down: calls that need it fail, or go on near alone and are made up for later" },
	[SET_NEAR_TTL] = { .key = "near-ttl", .type = LARDER_SETTING_DURATION, .least = 1, .most = 365 * DAY_MS, .usual = "",
		.text = "values live no longer than this in memory" },
	[SET_NEGATIVE_TTL] = { .key = "negative-ttl", .type = LARDER_SETTING_DURATION, .least = 1, .most = DAY_MS, .usual = "",
		.text = "for how long it is remembered that the far store has no such key" },
	[SET_FETCH_WAIT] = { .key = "fetch-wait", .type = LARDER_SETTING_DURATION, .least = 0, .most = 60000, .usual = "100ms",
		.text = "how long a miss waits for another process that fetches the same key" },
	[SET_QUEUE] = { .key = "queue", .type = LARDER_SETTING_COUNT, .least = 1, .most = 1 << 22, .usual = "65536",
		.text = "write-behind: writes that may wait" },
	[SET_QUEUE_BYTES] = { .key = "queue-bytes", .type = LARDER_SETTING_SIZE, .least = 1 << 12, .most = 1ll << 36, .usual = "64m",
		.text = "write-behind: bytes of their keys and values" },
	[SET_ON_FULL] = { .key = "on-full", .type = LARDER_SETTING_CHOICE, .choices = "block|drop-oldest|write-through", .usual = "block",
		.text = "write-behind: what a write does that finds the queue full" },
	[SET_BLOCK_TIMEOUT] = { .key = "block-timeout", .type = LARDER_SETTING_DURATION, .least = 0, .most = 60000, .usual = "100ms",
		.text = "write-behind: how long a write waits for room, and what comes after writes for these" },
	[SET_DELAY] = { .key = "delay", .type = LARDER_SETTING_DURATION, .least = 1, .most = 60000, .usual = "2ms",
		.text = "write-behind: how long writes are collected" },
	[SET_CLOSE_TIMEOUT] = { .key = "close-timeout", .type = LARDER_SETTING_DURATION, .least = 0, .most = 600000, .usual = "5s",
		.text = "write-behind: how long closing waits for the queue to be written" },
	[SET_LISTENER] = { .key = "listener", .type = LARDER_SETTING_CHOICE, .choices = "no|thread|call|others", .usual = "no",
		.text = "who hears what other hosts change: nobody, a thread of larder, larder_tiered_listen(), or another process" },
	[SET_ON_GAP] = { .key = "on-gap", .usual = "bound:10s",
		.text = "what is near while changes cannot be heard: bound:TIME (believed for so long), revalidate, or drop" },
	[SET_KEEPALIVE] = { .key = "keepalive", .type = LARDER_SETTING_DURATION, .least = 10, .most = 10000, .usual = "250ms",
		.text = "how often the listener asks whether it still hears" },
};

static enum larder_status refuse(const char *key, const char *text, const char *expected)
{
	larder_store_message("store kind tiered: %s = %s is not allowed: expected %s", key, text, expected);
	return LARDER_INVALID;
}

/* One "namespace:mode" of the list. */
static enum larder_status take_mode(struct tier *tier, const char *from, size_t bytes)
{
	static const char *const modes[] = { "write-through", "write-behind", "write-around" };
	char text[128];
	const struct larder_name *name;

	snprintf(text, sizeof text, "%.*s", (int)bytes, from);
	char *colon = strrchr(text, ':');
	for (unsigned mode = 0; colon && bytes < sizeof text && mode < 3; mode++) {
		if (strcmp(colon + 1, modes[mode]))
			continue;
		*colon = '\0';
		enum larder_status status = larder_name(text, &name);
		if (!status)
			tier->mode[name->index] = (uint8_t)mode;
		return status == LARDER_INVALID ? refuse("namespaces", text, "names of at most 64 bytes") : status;
	}
	return refuse("namespaces", text, "a list of namespace:mode with commas, mode one of " MODES);
}

static enum larder_status take_modes(struct tier *tier, const char *text)
{
	enum larder_status status = LARDER_OK;

	while (!status && *text) {
		text += strspn(text, ", \t");
		size_t bytes = strcspn(text, ", \t");
		if (bytes)
			status = take_mode(tier, text, bytes);
		text += bytes;
	}
	return status;
}

static enum larder_status take_gap(struct tier *tier, const char *text)
{
	bool bound = !strncmp(text, "bound:", 6);

	tier->on_gap = bound ? TIER_BOUND : !strcmp(text, "drop") ? TIER_DROP : TIER_REVALIDATE;
	if (bound ? settings_number(LARDER_SETTING_DURATION, text + 6, &tier->bound_ms) && tier->bound_ms <= DAY_MS
			: tier->on_gap == TIER_DROP || !strcmp(text, "revalidate"))
		return LARDER_OK;
	return refuse("on-gap", text, "bound:TIME (0 .. 1d), revalidate or drop");
}

static enum larder_status take_settings(struct tier *tier, const struct larder_setting_value *values)
{
	memset(tier->mode, (int)values[SET_MODE].number, sizeof tier->mode);
	tier->read_through = values[SET_READ_THROUGH].number;
	tier->on_failure = (enum tier_failure)values[SET_ON_FAILURE].number;
	tier->on_full = (enum tier_full)values[SET_ON_FULL].number;
	tier->listener = (enum tier_listener)values[SET_LISTENER].number;
	tier->near_ttl_ms = values[SET_NEAR_TTL].number;
	tier->negative_ttl_ms = values[SET_NEGATIVE_TTL].number;
	tier->fetch_wait_ms = values[SET_FETCH_WAIT].number;
	tier->queue_count = (uint32_t)values[SET_QUEUE].number;
	tier->queue_bytes = (uint64_t)values[SET_QUEUE_BYTES].number;
	tier->block_ms = values[SET_BLOCK_TIMEOUT].number;
	tier->delay_ms = values[SET_DELAY].number;
	tier->close_ms = values[SET_CLOSE_TIMEOUT].number;
	tier->keepalive_ms = values[SET_KEEPALIVE].number;
	enum larder_status status = take_modes(tier, values[SET_NAMESPACES].text);
	return status ? status : take_gap(tier, values[SET_ON_GAP].text);
}

static bool writes_behind(const struct tier *tier) { return memchr(tier->mode, TIER_WRITE_BEHIND, sizeof tier->mode) != NULL; }

/* Combinations that cannot work are refused with what to do instead. */
static enum larder_status check_stores(const struct larder_setting_value *values)
{
	struct larder *near = larder_store_cache(values[SET_NEAR].store);
	const char *wrong = NULL;

	if (!near || !strcmp(larder_store_kind_of(values[SET_NEAR].store)->name, "tiered"))
		wrong = "is no cache in memory of its own: use a store of kind shm or memory";
	else if (near->region.geo.create_flags & LARDER_PLAIN)
		wrong = "was created plain, without the versions that order fills: create it without";
	else if (values[SET_FAR].store == values[SET_NEAR].store || larder_store_cache(values[SET_FAR].store) == near)
		wrong = "is the far store, too: name another one there";
	if (!wrong)
		return LARDER_OK;
	larder_store_message("store kind tiered: near = %s %s", values[SET_NEAR].text, wrong);
	return LARDER_INVALID;
}

static struct series metric(struct tier *tier, const char *store, const char *where, const char *operation)
{
	const struct series_label label = { "tier", where };
	const struct series_labels labels = { .store = store, .namespace = "", .operation = operation, .more = &label, .more_count = 1 };
	struct series s = { 0 };

	if (series_find(&tier->metrics, &labels, true, &s)) /* a name that is too long for a label */
		(void)series_find(&tier->metrics, &(struct series_labels){ .store = "tiered", .namespace = "", .operation = operation,
				.more = &label, .more_count = 1 }, true, &s);
	return s;
}

static void find_metrics(struct tier *tier, const char *name)
{
	series_of_region(&tier->near.cache->region, &tier->metrics);
	tier->near_get = metric(tier, name, "near", "get");
	tier->far_get = metric(tier, name, "far", "get");
	tier->far_set = metric(tier, name, "far", "set");
	tier->far_delete = metric(tier, name, "far", "delete");
	tier->far_batch = metric(tier, name, "far", "batch");
	tier->queue_wait = metric(tier, name, "far", "queue_wait");
}

static void tier_free(struct tier *tier)
{
	tier_ear_close(tier);
	tier_queue_close(tier->queue);
	larder_store_release(&tier->far);
	larder_store_release(&tier->near_store);
	free(tier);
}

static enum larder_status tier_open(const struct larder_setting_value *values, void **self)
{
	enum larder_status status = check_stores(values);
	struct tier *tier = status ? NULL : calloc(1, sizeof *tier);

	if (!tier)
		return status ? status : LARDER_NO_MEMORY;
	tier->near_store = larder_store_hold(values[SET_NEAR].store);
	tier->far = larder_store_hold(values[SET_FAR].store);
	tier->near.cache = larder_store_cache(tier->near_store);
	status = take_settings(tier, values);
	if (!status) {
		find_metrics(tier, values[SET_NAME].text);
		status = tier_ear_open(tier);
	}
	if (!status && writes_behind(tier))
		status = tier_queue_create(tier, &tier->queue);
	if (status)
		tier_free(tier);
	else
		*self = tier;
	return status;
}

static void tier_close(void *self) { tier_free(self); }

static enum larder_status tier_health(void *self, struct larder_health *health)
{
	struct tier *tier = self;
	struct larder_health near = { 0 };
	enum larder_status status = larder_store_health(tier->near_store, &near);

	if (status == LARDER_OK)
		status = larder_store_health(tier->far, health);
	bool far = health->usable;
	uint64_t word = load_acquire(tier_word(&tier->words, TIER_STREAM));
	const char *stream = stream_state(word) == STREAM_BROKEN ? "; changes are not heard" : "";
	char text[60];
	snprintf(text, sizeof text, "%.59s", health->text);
	health->usable = near.usable && (far || tier->on_failure == TIER_KEEP);
	snprintf(health->text, sizeof health->text, "%snear %.40s, far %.59s%s", far ? "" : "near alone: ", near.text, text, stream);
	return status;
}

static enum larder_status tier_drain(void *self, int64_t timeout_ms)
{
	struct tier *tier = self;
	struct larder_tiered_repair done = { 0 };
	int64_t deadline = clock_precise_ms() + timeout_ms;
	enum larder_status status = tier->queue ? tier_queue_settle(tier->queue, timeout_ms) : LARDER_OK;
	int64_t left = deadline - clock_precise_ms();

	return status ? status : tier_repair_all(tier, left > 0 ? left : 0, &done);
}

static struct larder *tier_cache(void *self) { return ((struct tier *)self)->near.cache; }

const struct larder_store_kind store_tiered = {
	.size = sizeof(struct larder_store_kind),
	.name = "tiered",
	.rules = rules,
	.rule_count = SETTINGS,
	.open = tier_open,
	.close = tier_close,
	.health = tier_health,
	.get = tier_get,
	.set = tier_set,
	.remove = tier_remove,
	.clear = tier_clear,
	.mget = tier_mget,
	.touch = tier_touch,
	.incr = tier_incr,
	.drain = tier_drain,
	.cache = tier_cache,
};

/* ---- What tiers offer beside ------------------------------------------------------------------------------------------------------ */

struct tier *tier_of(struct larder_store *store)
{
	return store && larder_store_kind_of(store) == &store_tiered ? larder_store_self(store) : NULL;
}

enum larder_status larder_tiered_repair(struct larder_store *store, int64_t timeout_ms, struct larder_tiered_repair *done)
{
	struct larder_tiered_repair own;
	struct tier *tier = tier_of(store);

	if (!tier || timeout_ms < 0)
		return LARDER_INVALID;
	done = done ? done : &own;
	*done = (struct larder_tiered_repair){ 0 };
	return tier_repair_all(tier, timeout_ms, done);
}

enum larder_status larder_tiered_info(struct larder_store *store, struct larder_tiered_info *info)
{
	struct tier *tier = tier_of(store);

	if (!tier || !info)
		return LARDER_INVALID;
	tier_words_info(&tier->words, tier->near.cache, info);
	info->queue_here = tier_queue_depth(tier->queue);
	return LARDER_OK;
}
