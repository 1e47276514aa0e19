/* SPDX-License-Identifier: BSD-2-Clause */
/* What may be: see oracle.h. */
#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MARGIN_MS 2 /* clocks are cut to milliseconds on both sides */

int64_t now_ms(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Keys of many lengths, some of them beginnings of others, and bytes of all kinds. */
void oracle_init(struct oracle *o, unsigned keys, bool evicts)
{
	*o = (struct oracle){ .items = calloc(keys, sizeof *o->items), .count = keys, .evicts = evicts };
	for (unsigned n = 0; n < keys; n++) {
		struct item *i = &o->items[n];
		i->ns = n % ORACLE_NAMESPACES;
		i->key_bytes = (size_t)snprintf(i->key, sizeof i->key, "%u", n / ORACLE_NAMESPACES);
		memset(i->key + i->key_bytes, (int)(n % 7), n % 19);
		i->key_bytes += n % 19;
	}
	for (unsigned n = 0; n < ORACLE_NAMESPACES; n++)
		o->ttl_ms[n] = LARDER_TTL_NONE;
}

void oracle_free(struct oracle *o)
{
	for (unsigned n = 0; n < o->count; n++)
		free(o->items[n].value);
	free(o->items);
}

enum sight oracle_sight(const struct oracle *o, const struct item *i, int64_t before)
{
	if (!i->there || i->stale || before > i->expires_hi)
		return CANNOT;
	return o->evicts || now_ms() >= i->expires_lo ? MAY : MUST;
}

void oracle_gone(struct item *i)
{
	i->there = false;
	i->stale = false;
}

void oracle_expiry(struct oracle *o, struct item *i, int64_t ttl_ms, bool live, int64_t before)
{
	if (ttl_ms == LARDER_TTL_KEEP && live)
		return;
	if (ttl_ms == LARDER_TTL_DEFAULT || ttl_ms == LARDER_TTL_KEEP)
		ttl_ms = o->ttl_ms[i->ns];
	i->expires_lo = ttl_ms == LARDER_TTL_NONE ? FOREVER : before + ttl_ms - MARGIN_MS;
	i->expires_hi = ttl_ms == LARDER_TTL_NONE ? FOREVER : now_ms() + ttl_ms + MARGIN_MS;
}

void oracle_set(struct oracle *o, struct item *i, const void *value, size_t bytes, uint32_t user_flags, int64_t ttl_ms, uint64_t version,
		int64_t before)
{
	bool live = i->there && !i->stale && before <= i->expires_hi;
	bool sure = live && now_ms() < i->expires_lo && !o->evicts;
	int64_t lo = i->expires_lo, hi = i->expires_hi;
	unsigned char *copy = malloc(bytes + 1);
	memcpy(copy, value, bytes);
	free(i->value);
	i->value = copy;
	i->bytes = bytes;
	i->user_flags = user_flags;
	i->version = version;
	i->tags = 0;
	oracle_spoil(i);
	i->there = true;
	i->stale = false;
	oracle_expiry(o, i, ttl_ms, false, before);
	/* KEEP: that of the old one if it was still there, else the default; which of the two is not known. */
	if (ttl_ms == LARDER_TTL_KEEP && live) {
		i->expires_lo = sure || lo < i->expires_lo ? lo : i->expires_lo;
		i->expires_hi = sure || hi > i->expires_hi ? hi : i->expires_hi;
	}
}

void oracle_spoil(struct item *i)
{
	if (i->token != 0)
		i->spoiled = i->token;
	i->token = 0;
}

void oracle_invalidate(struct oracle *o, uint32_t tags)
{
	for (unsigned n = 0; n < o->count; n++) {
		struct item *i = &o->items[n];
		if (!i->there || !(i->tags & tags))
			continue;
		if (i->stale) /* a lease may have kept the old value and its tags, or have found it expired: nobody knows */
			i->token = 0, i->spoiled = UINT64_MAX;
		oracle_gone(i);
	}
}

void oracle_flush(struct oracle *o, uint32_t ns, bool hard)
{
	for (unsigned n = 0; n < o->count; n++) {
		struct item *i = &o->items[n];
		if (i->ns == ns)
			oracle_spoil(i);
		if (i->ns != ns || !i->there)
			continue;
		if (hard)
			oracle_gone(i);
		else
			i->stale = true;
	}
}
