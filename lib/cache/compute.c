/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * get_or_compute: leases, waiting, stale values and early refresh in one call, made of the public calls of lease.c.  Nothing
 * is held while the loader runs but the lease: whoever dies in it leaves that, and the next caller takes it over.
 */
#include "cache/lease.h"

struct compute {
	struct larder *cache;
	uint32_t ns;
	const void *key;
	size_t key_bytes;
	larder_loader *loader;
	void *arg;
	const struct larder_compute_options *options;
	void *buffer;
	size_t capacity;
	size_t *length;
	struct larder_computed how;
};

static int64_t now_us(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static enum larder_status load(struct compute *c, struct larder_loaded *loaded)
{
	int64_t begin = now_us();
	*loaded = (struct larder_loaded){ .set = c->options->set };
	enum larder_status status = c->loader(c->arg, loaded);
	int64_t took = now_us() - begin;
	c->how.computed = true;
	c->how.cost_us = took < 1 ? 1 : took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
	if (status == LARDER_OK && loaded->value == NULL && loaded->value_bytes != 0)
		status = LARDER_INVALID;
	return status;
}

static enum larder_status hand_out(struct compute *c, const struct larder_loaded *loaded)
{
	if (c->length != NULL)
		*c->length = loaded->value_bytes;
	if (loaded->value_bytes > c->capacity)
		return LARDER_SHORT;
	if (loaded->value_bytes != 0)
		memcpy(c->buffer, loaded->value, loaded->value_bytes);
	return LARDER_OK;
}

/* What keeps the set from happening must not keep the next caller from computing. */
static void store(struct compute *c, const struct larder_loaded *loaded, const struct larder_set_options *set, uint64_t token)
{
	c->how.store_status = larder_lease_set(c->cache, c->ns, c->key, c->key_bytes, loaded->value, loaded->value_bytes, set, token, NULL);
	c->how.stored = c->how.store_status == LARDER_OK;
	if (!c->how.stored && c->how.store_status != LARDER_CHANGED)
		(void)larder_lease_release(c->cache, c->ns, c->key, c->key_bytes, token);
}

static void store_value(struct compute *c, struct larder_loaded *loaded, uint64_t token)
{
	if (c->options->beta > 0)
		loaded->set.cost_us = c->how.cost_us;
	store(c, loaded, &loaded->set, token);
}

static void store_absence(struct compute *c, const struct larder_loaded *loaded, uint64_t token)
{
	struct larder_loaded nothing = { 0 };
	struct larder_set_options set = loaded->set;
	if (c->options->absent_ttl_ms <= 0) {
		(void)larder_lease_release(c->cache, c->ns, c->key, c->key_bytes, token);
		return;
	}
	set.flags |= LARDER_SET_ABSENT;
	set.ttl_ms = c->options->absent_ttl_ms;
	set.expires_at_ms = 0;
	set.grace_ms = set.cost_us = 0;
	store(c, &nothing, &set, token);
}

/* token 0: without lease, and so nothing is stored.  found: what is in the buffer meanwhile. */
static enum larder_status compute(struct compute *c, uint64_t token, enum larder_status found)
{
	struct larder_loaded loaded;
	enum larder_status status = load(c, &loaded);
	if (status == LARDER_OK) {
		if (token != 0)
			store_value(c, &loaded, token);
		status = hand_out(c, &loaded);
	} else if (status == LARDER_ABSENT) {
		if (token != 0)
			store_absence(c, &loaded, token);
		if (c->length != NULL)
			*c->length = 0;
	} else {
		if (token != 0)
			(void)larder_lease_release(c->cache, c->ns, c->key, c->key_bytes, token);
		if (found == LARDER_OK || found == LARDER_STALE)
			status = found;
	}
	if (loaded.release != NULL)
		loaded.release(&loaded);
	return status;
}

/* No room, or no end of changes, for a lease: the value is wanted all the same. */
static bool without_lease(enum larder_status status)
{
	return status == LARDER_NO_ROOM || status == LARDER_CONTENDED || status == LARDER_TOO_LARGE || status == LARDER_DAMAGED;
}

/* wait_ms are over, and another one computes still. */
static enum larder_status waited_out(struct compute *c, enum larder_status found)
{
	c->how.timed_out = true;
	if (found == LARDER_STALE)
		return found;
	return c->options->flags & LARDER_COMPUTE_NEVER_ALONE ? LARDER_TIMEOUT : compute(c, 0, found);
}

static enum larder_status compute_run(struct compute *c)
{
	const struct larder_compute_options *o = c->options;
	uint32_t counted = o->beta == 0 ? LARDER_NO_COUNT : 0; /* by the get that came before */
	struct larder_lease_options lo = { .size = sizeof lo, .flags = LARDER_ALLOW_STALE | counted,
		.tag_count = o->set.tag_count, .tags = o->set.tags, .hold_ms = o->hold_ms, .beta = o->beta };
	int64_t end = now_us() + (o->wait_ms > 0 ? o->wait_ms * 1000 : 0);
	for (;;) { /* ends by time: each round but the last has waited for somebody else's computation */
		struct larder_lease lease;
		enum larder_status found = larder_lease(c->cache, c->ns, c->key, c->key_bytes, &lo, c->buffer, c->capacity, c->length, &lease);
		if (lease.held)
			return compute(c, lease.token, found);
		if (without_lease(found))
			return compute(c, 0, found);
		if ((found != LARDER_MISS && found != LARDER_STALE) || (found == LARDER_STALE && o->flags & LARDER_COMPUTE_STALE))
			return found;
		int64_t left_us = end - now_us();
		if (left_us <= 0)
			return waited_out(c, found);
		enum larder_status waited = larder_lease_wait(c->cache, c->ns, c->key, c->key_bytes, (left_us + 999) / 1000);
		if (waited < 0)
			return waited;
		lo.flags |= LARDER_NO_COUNT;
	}
}

static bool options_good(const struct larder_compute_options *o)
{
	return o->size == sizeof *o && !(o->flags & ~(uint32_t)(LARDER_COMPUTE_STALE | LARDER_COMPUTE_NEVER_ALONE)) && o->unused == 0
			&& o->wait_ms >= -1 && o->wait_ms <= LARDER_HOLD_MAX_MS && o->absent_ttl_ms >= 0 && o->set.mode == LARDER_SET
			&& !(o->set.flags & LARDER_SET_ABSENT);
}

enum larder_status larder_get_or_compute(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		larder_loader *loader, void *arg, const struct larder_compute_options *options, void *buffer, size_t capacity,
		size_t *length, struct larder_computed *how)
{
	struct larder_compute_options o = LARDER_COMPUTE_OPTIONS_INIT;
	enum larder_status status;
	struct put put;
	if (how != NULL)
		*how = (struct larder_computed){ 0 };
	if (options != NULL)
		o = *options;
	if (loader == NULL || (buffer == NULL && capacity != 0) || !options_good(&o))
		return LARDER_INVALID;
	/* Most callers find what they want; with beta more has to be known of it than its value. */
	if (o.beta == 0 && (status = larder_get(cache, ns, key, key_bytes, buffer, capacity, length)) != LARDER_MISS)
		return status;
	status = put_options(cache, &o.set, &put); /* now, rather than after the computation */
	if (status != LARDER_OK)
		return status;
	if (o.wait_ms == 0)
		o.wait_ms = LARDER_WAIT_DEFAULT_MS;
	struct compute c = { .cache = cache, .ns = ns, .key = key, .key_bytes = key_bytes, .loader = loader, .arg = arg, .options = &o,
		.buffer = buffer, .capacity = capacity, .length = length };
	status = compute_run(&c);
	if (how != NULL)
		*how = c.how;
	return status;
}
