/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations of the whole public interface against the sequential oracle.
 *
 *     model CONFIGURATION        MODEL_SEED: the seed of another run; MODEL_OPERATIONS: how many
 *
 * Three participants and an inspector take turns on one cache, so what one sets another must find; handles are closed and
 * opened again on the way, and pins are held across anything.  The first answer that cannot be ends the run with its
 * number and the seed, which repeats it (but for the clock).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "oracle.h"

#include <stdarg.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HANDLES 3u
#define HELD 6u
#define TAGS 3u

struct configuration {
	const char *name;
	uint64_t bytes;
	uint32_t segments, create_flags;
	unsigned keys;
	size_t value_bytes;   /* most of them are smaller */
	bool evicts, times, large;
	uint64_t operations;
};

/* few: room for all that is ever written, so nothing may vanish and every answer is known.  The others evict all the time. */
static const struct configuration configurations[] = {
	{ "few", 64 << 20, 0, 0, 300, 200, false, false, false, 400000 },
	{ "few-times", 64 << 20, 0, 0, 300, 200, false, true, false, 300000 },
	{ "few-plain", 64 << 20, 0, LARDER_PLAIN, 300, 200, false, true, false, 300000 },
	{ "few-checksum", 64 << 20, 0, LARDER_CHECKSUM, 300, 200, false, true, false, 300000 },
	{ "large", 16 << 20, 512, 0, 60, 600000, true, true, true, 20000 },
	{ "tiny", 512 << 10, 0, 0, 6000, 300, true, false, false, 400000 },
	{ "tiny-times", 512 << 10, 0, LARDER_CHECKSUM, 6000, 300, true, true, false, 400000 },
	{ "tiny-crowded", 1 << 20, 100, LARDER_PLAIN, 30000, 20, true, true, false, 500000 },
	{ "tiny-large", 1 << 20, 200, 0, 120, 60000, true, true, true, 40000 },
	{ "tiny-large-checksum", 1 << 20, 200, LARDER_CHECKSUM, 120, 60000, true, true, true, 40000 },
};

static struct model {
	const struct configuration *c;
	struct oracle oracle;
	struct larder *handle[HANDLES], *inspector;
	uint32_t ns[ORACLE_NAMESPACES];
	char name[64], tag[TAGS][16];
	uint64_t seed, random, operation;
	const char *what;
	unsigned char *buffer, *value;
	size_t value_max;
	struct { struct larder_pin pin; struct larder *by; unsigned char *copy; size_t bytes; } held[HELD];
} m;

/* ---- Chance and blame ------------------------------------------------------------------------------------------------ */

static uint64_t chance(uint64_t below)
{
	m.random ^= m.random << 13;
	m.random ^= m.random >> 7;
	m.random ^= m.random << 17;
	return m.random % below;
}

__attribute__((format(printf, 2, 3), noreturn)) static void wrong(const struct item *i, const char *format, ...)
{
	va_list list;
	printf("%s: operation %lu, %s", m.c->name, (unsigned long)m.operation, m.what);
	if (i != NULL)
		printf(" of key %ld (ns %u, %s%s%zu bytes, expires in %ld .. %ld ms)", (long)(i - m.oracle.items), i->ns, i->there ? "there" : "not there",
				i->stale ? ", stale, " : ", ", i->bytes, i->expires_lo == FOREVER ? -1 : (long)(i->expires_lo - now_ms()),
				i->expires_hi == FOREVER ? -1 : (long)(i->expires_hi - now_ms()));
	printf(": ");
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\nMODEL_SEED=%lu\n0 passed, 1 failed\n", (unsigned long)m.seed);
	(void)larder_destroy(m.name);
	exit(1);
}

static struct larder *any_handle(void) { return m.handle[chance(HANDLES)]; }
static struct item *any_item(void)
{
	/* Half of all operations meet a sixteenth of the keys. */
	unsigned n = m.oracle.count;
	return &m.oracle.items[chance(2) ? chance(n) : chance(n / 16 + 1)];
}

static int64_t any_ttl(void)
{
	static const int64_t ttls[] = { 5, 20, 60, 500, 5000, 3600000 };
	if (!m.c->times)
		return chance(2) ? LARDER_TTL_DEFAULT : LARDER_TTL_NONE;
	switch (chance(4)) {
	case 0: return LARDER_TTL_NONE;
	case 1: return LARDER_TTL_KEEP;
	case 2: return LARDER_TTL_DEFAULT;
	default: return ttls[chance(6)];
	}
}

static size_t any_value(void)
{
	size_t bytes = chance(8) == 0 ? chance(m.c->value_bytes + 1) : chance(m.c->value_bytes / 8 + 1);
	uint64_t word = chance(UINT64_MAX);
	for (size_t at = 0; at < bytes; at++) {
		if (at % 8 == 0)
			word = word * UINT64_C(6364136223846793005) + 1;
		m.value[at] = (unsigned char)(word >> (8 * (at % 8)));
	}
	if (chance(16) == 0) /* digits, for the counters */
		bytes = (size_t)snprintf((char *)m.value, 24, "%ld", (long)chance(100000) - 50000);
	return bytes;
}

/* ---- Judging what was seen --------------------------------------------------------------------------------------------- */

/* A call that acts only on what is live answered as if it was (found) or was not. */
static void judge(struct item *i, bool found, int64_t before)
{
	enum sight sight = oracle_sight(&m.oracle, i, before);
	if (found && sight == CANNOT)
		wrong(i, "found, and cannot be there");
	if (!found && sight == MUST)
		wrong(i, "missed, and must be there");
	if (!found && !i->stale)
		oracle_gone(i);
}

static void judge_value(const struct item *i, const void *value, size_t bytes)
{
	if (bytes != i->bytes || (bytes != 0 && memcmp(value, i->value, bytes) != 0))
		wrong(i, "%zu bytes, not those that were set", bytes);
}

static void judge_status(const struct item *i, enum larder_status status)
{
	if (status < 0)
		wrong(i, "%s (%d)", larder_strerror(status), status);
}

static void judge_meta(const struct item *i, const struct larder_meta *meta, int64_t before)
{
	if (meta->value_bytes != i->bytes || meta->user_flags != i->user_flags || meta->stale != i->stale)
		wrong(i, "metadata: %zu bytes, flags %u, stale %d", meta->value_bytes, meta->user_flags, meta->stale);
	if (i->version != 0 && meta->version != i->version)
		wrong(i, "version %lx, not %lx", (unsigned long)meta->version, (unsigned long)i->version);
	if (i->expires_lo == FOREVER && meta->ttl_left_ms != LARDER_TTL_NONE)
		wrong(i, "%ld ms to live", (long)meta->ttl_left_ms);
	if (i->expires_hi != FOREVER && (meta->ttl_left_ms < 0 || meta->ttl_left_ms > i->expires_hi - before + 30
			|| meta->ttl_left_ms < i->expires_lo - now_ms() - 30))
		wrong(i, "%ld ms to live", (long)meta->ttl_left_ms);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------------- */

static void do_get(struct item *i, struct larder *by)
{
	size_t bytes = 0;
	int64_t before = now_ms();
	enum larder_status status = larder_get(by, m.ns[i->ns], i->key, i->key_bytes, m.buffer, m.value_max, &bytes);
	judge_status(i, status);
	/* An inspector cannot take out a large value of which a piece is missing: it may be found again. */
	if (status == LARDER_MISS && by == m.inspector && m.c->large && oracle_sight(&m.oracle, i, before) == MAY)
		return;
	judge(i, status == LARDER_OK, before);
	if (status == LARDER_OK)
		judge_value(i, m.buffer, bytes);
}

static void do_get_with(struct item *i, struct larder *by)
{
	struct larder_meta meta;
	size_t bytes = 0;
	int64_t before = now_ms();
	enum larder_status status = larder_get_with(by, m.ns[i->ns], i->key, i->key_bytes, m.buffer, m.value_max, &bytes,
			chance(2) ? LARDER_NO_COUNT : 0, &meta);
	judge_status(i, status);
	judge(i, status == LARDER_OK, before);
	if (status != LARDER_OK)
		return;
	judge_value(i, m.buffer, bytes);
	judge_meta(i, &meta, before);
	i->version = meta.version;
}

static void do_get_stale(struct item *i, struct larder *by)
{
	struct larder_meta meta;
	size_t bytes = 0;
	int64_t before = now_ms();
	enum larder_status status = larder_get_with(by, m.ns[i->ns], i->key, i->key_bytes, m.buffer, m.value_max, &bytes, LARDER_ALLOW_STALE, &meta);
	judge_status(i, status);
	if (!i->stale) {
		judge(i, status == LARDER_OK, before);
	} else {
		bool dead = before > i->expires_hi, dying = now_ms() >= i->expires_lo;
		if (status == LARDER_OK || (status == LARDER_STALE && dead) || (status == LARDER_MISS && !dying && !m.oracle.evicts))
			wrong(i, "status %d of a stale value", status);
		if (status == LARDER_MISS)
			oracle_gone(i);
	}
	if (status == LARDER_MISS)
		return;
	judge_value(i, m.buffer, bytes);
	judge_meta(i, &meta, before);
}

static void do_short(struct item *i, struct larder *by)
{
	size_t bytes = 0;
	int64_t before = now_ms();
	enum larder_status status = larder_get(by, m.ns[i->ns], i->key, i->key_bytes, m.buffer, 3, &bytes);
	judge_status(i, status);
	judge(i, status != LARDER_MISS, before);
	if (status != LARDER_MISS && (bytes != i->bytes || (status == LARDER_SHORT) != (bytes > 3)))
		wrong(i, "status %d, %zu bytes", status, bytes);
}

static void do_exists(struct item *i, struct larder *by)
{
	int64_t before = now_ms();
	enum larder_status status = larder_exists(by, m.ns[i->ns], i->key, i->key_bytes);
	judge_status(i, status);
	judge(i, status == LARDER_OK, before);
}

static void do_mget(struct item *i, struct larder *by)
{
	enum { MOST = 40, EACH = 2048 };
	static unsigned char values[MOST][EACH];
	struct larder_item items[MOST];
	struct item *of[MOST];
	unsigned n = 0;
	for (unsigned k = (unsigned)chance(MOST) + 1; k > 0; k--) {
		struct item *one = any_item();
		if (one->ns != i->ns || (one->there && one->bytes > EACH))
			continue;
		of[n] = one;
		items[n] = (struct larder_item){ .key = one->key, .key_bytes = one->key_bytes, .value = values[n], .value_bytes = EACH };
		n++;
	}
	int64_t before = now_ms();
	judge_status(NULL, larder_mget(by, m.ns[i->ns], items, n));
	for (unsigned k = 0; k < n; k++) {
		judge_status(of[k], items[k].status);
		judge(of[k], items[k].status == LARDER_OK, before);
		if (items[k].status == LARDER_OK)
			judge_value(of[k], items[k].value, items[k].value_bytes);
	}
}

static void let_go(unsigned h)
{
	size_t at = 0;
	if (m.held[h].by == NULL)
		return;
	for (unsigned p = 0; p < m.held[h].pin.iov_count; p++) {
		const struct iovec *v = &m.held[h].pin.iov[p];
		if (memcmp(v->iov_base, m.held[h].copy + at, v->iov_len) != 0)
			wrong(NULL, "a pinned value changed");
		at += v->iov_len;
	}
	if (at != m.held[h].bytes)
		wrong(NULL, "a pin lost its length");
	larder_unpin(m.held[h].by, &m.held[h].pin);
	free(m.held[h].copy);
	m.held[h].by = NULL;
}

static void do_pin(struct item *i, struct larder *by)
{
	unsigned h = (unsigned)chance(HELD);
	let_go(h);
	if (by == m.inspector)
		return;
	struct larder_pin *pin = &m.held[h].pin;
	int64_t before = now_ms();
	enum larder_status status = larder_pin(by, m.ns[i->ns], i->key, i->key_bytes, 0, pin);
	if (status == LARDER_NO_PIN && m.c->large) {
		judge(i, true, before);
		return;
	}
	judge_status(i, status);
	judge(i, status == LARDER_OK, before);
	if (status != LARDER_OK)
		return;
	m.held[h].copy = malloc(pin->length + 1);
	m.held[h].bytes = 0;
	for (unsigned p = 0; p < pin->iov_count; p++) {
		memcpy(m.held[h].copy + m.held[h].bytes, pin->iov[p].iov_base, pin->iov[p].iov_len);
		m.held[h].bytes += pin->iov[p].iov_len;
	}
	m.held[h].by = by;
	judge_value(i, m.held[h].copy, m.held[h].bytes);
	judge_meta(i, &pin->meta, before);
}

/* ---- Changing -------------------------------------------------------------------------------------------------------------- */

static void do_set(struct item *i, struct larder *by)
{
	size_t bytes = any_value();
	int64_t ttl_ms = any_ttl(), before = now_ms();
	judge_status(i, larder_set(by, m.ns[i->ns], i->key, i->key_bytes, m.value, bytes, ttl_ms));
	oracle_set(&m.oracle, i, m.value, bytes, 0, ttl_ms, 0, before);
}

static uint64_t version_for_cas(const struct item *i) { return chance(4) == 0 || i->version == 0 ? chance(UINT64_MAX) : i->version; }

/* Some of the tags, as names and as bits. */
static uint32_t any_tags(struct larder_set_options *o, const char *names[TAGS])
{
	uint32_t bits = chance(3) ? 0 : (uint32_t)chance(1u << TAGS);
	for (unsigned t = 0; t < TAGS; t++)
		if (bits >> t & 1)
			names[o->tag_count++] = m.tag[t];
	o->tags = names;
	return bits;
}

/* All four modes, with everything. */
static void do_set_with(struct item *i, struct larder *by)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_result result;
	size_t bytes = any_value();
	o.mode = (enum larder_set_mode)chance(m.c->create_flags & LARDER_PLAIN ? 3 : 4);
	o.flags = (chance(4) == 0 ? LARDER_ALIGN : 0u) | (chance(8) == 0 ? LARDER_NO_EVICT : 0u);
	o.user_flags = chance(3) ? 0 : (uint32_t)chance(1000);
	o.ttl_ms = any_ttl();
	o.version = version_for_cas(i);
	const char *names[TAGS];
	uint32_t tags = any_tags(&o, names);
	int64_t before = now_ms();
	enum larder_status status = larder_set_with(by, m.ns[i->ns], i->key, i->key_bytes, m.value, bytes, &o, &result);
	if (status == LARDER_WOULD_EVICT && o.flags & LARDER_NO_EVICT && m.oracle.evicts) {
		if (result.evicted != 0)
			wrong(i, "it evicted %lu", (unsigned long)result.evicted);
		return;
	}
	judge_status(i, status);
	if (result.evicted != 0 && (o.flags & LARDER_NO_EVICT || !m.oracle.evicts))
		wrong(i, "it evicted %lu", (unsigned long)result.evicted);
	if (status == LARDER_EXISTS || status == LARDER_CHANGED)
		judge(i, true, before);
	else if (status == LARDER_MISS || (status == LARDER_OK && o.mode == LARDER_ADD))
		judge(i, false, before);
	else if (o.mode != LARDER_SET)
		judge(i, true, before);
	if (o.mode == LARDER_CAS && i->version != 0 && status == (o.version == i->version ? LARDER_CHANGED : LARDER_OK))
		wrong(i, "cas of version %lx over %lx: status %d", (unsigned long)o.version, (unsigned long)i->version, status);
	if (status == LARDER_OK)
		oracle_set(&m.oracle, i, m.value, bytes, o.user_flags, o.ttl_ms, result.version, before);
	if (status == LARDER_OK)
		i->tags = tags;
}

static void do_append(struct item *i, struct larder *by)
{
	size_t bytes = any_value() % 100;
	int64_t before = now_ms();
	enum larder_status status = larder_append(by, m.ns[i->ns], i->key, i->key_bytes, m.value, bytes);
	if (status == LARDER_TOO_LARGE && i->bytes + bytes > m.value_max) {
		judge(i, true, before);
		return;
	}
	judge_status(i, status);
	judge(i, status == LARDER_OK, before);
	if (status != LARDER_OK)
		return;
	i->value = realloc(i->value, i->bytes + bytes + 1);
	memcpy(i->value + i->bytes, m.value, bytes);
	i->bytes += bytes;
	i->version = 0;
}

static void do_touch(struct item *i, struct larder *by)
{
	int64_t ttl_ms = any_ttl(), before = now_ms();
	enum larder_status status = larder_touch(by, m.ns[i->ns], i->key, i->key_bytes, ttl_ms);
	judge_status(i, status);
	judge(i, status == LARDER_OK, before);
	if (status != LARDER_OK)
		return;
	oracle_expiry(&m.oracle, i, ttl_ms, true, before);
	i->version = 0;
}

static void do_delete(struct item *i, struct larder *by)
{
	int64_t before = now_ms();
	bool stale = i->stale;
	enum larder_status status = larder_delete(by, m.ns[i->ns], i->key, i->key_bytes);
	judge_status(i, status);
	if (!stale)
		judge(i, status == LARDER_OK, before);
	oracle_gone(i);
	oracle_spoil(i);
}

/* The number that the item reads as. */
static bool number_of(const struct item *i, int64_t *number)
{
	char text[24] = { 0 }, *end;
	if (i->bytes == 0 || i->bytes > 20)
		return false;
	memcpy(text, i->value, i->bytes);
	if (text[0] != '-' && (text[0] < '0' || text[0] > '9'))
		return false;
	errno = 0;
	*number = strtoll(text, &end, 10);
	return errno == 0 && end == text + i->bytes; /* digits that were appended may make a number that nothing holds */
}

static void do_incr(struct item *i, struct larder *by)
{
	int64_t delta = chance(10) == 0 ? (int64_t)chance(UINT64_C(1) << 62) : (int64_t)chance(2000) - 1000, sum = 0, was = 0, wanted;
	bool create = chance(2), number = i->there && number_of(i, &was);
	int64_t initial = (int64_t)chance(100), ttl_ms = any_ttl(), before = now_ms();
	enum larder_status status = larder_incr_with(by, m.ns[i->ns], i->key, i->key_bytes, delta, create, initial, ttl_ms, &sum);
	if (status == LARDER_NOT_NUMBER) {
		judge(i, true, before);
		if (number)
			wrong(i, "%ld is no number", (long)was);
		return;
	}
	if (status == LARDER_RANGE) {
		if (was + delta <= LARDER_COUNTER_MAX && was + delta >= LARDER_COUNTER_MIN && initial + delta <= LARDER_COUNTER_MAX)
			wrong(i, "out of range: %ld + %ld", (long)was, (long)delta);
		return;
	}
	judge_status(i, status);
	if (status == LARDER_MISS) {
		judge(i, false, before);
		if (create)
			wrong(i, "no counter was made");
		return;
	}
	/* It was counted up, or begun anew: by the sum one can tell, as a rule. */
	bool live = oracle_sight(&m.oracle, i, before) != CANNOT && number && sum == was + delta;
	wanted = live ? was + delta : initial + delta;
	if (!live)
		judge(i, false, before);
	if (sum != wanted || (!live && !create))
		wrong(i, "sum %ld, not %ld", (long)sum, (long)wanted);
	char digits[24];
	int n = snprintf(digits, sizeof digits, "%ld", (long)sum);
	uint32_t flags = live ? i->user_flags : 0, tags = live ? i->tags : 0;
	int64_t lo = i->expires_lo, hi = i->expires_hi;
	oracle_set(&m.oracle, i, digits, (size_t)n, flags, ttl_ms, 0, before);
	i->tags = tags;
	if (live) {
		i->expires_lo = lo;
		i->expires_hi = hi;
	}
}

/* ---- Policies ------------------------------------------------------------------------------------------------------------ */

static void do_invalidate(struct item *i, struct larder *by)
{
	unsigned t = (unsigned)chance(TAGS);
	(void)i;
	judge_status(NULL, larder_tag_invalidate(by, m.tag[t]));
	oracle_invalidate(&m.oracle, 1u << t);
}

static void do_lease(struct item *i, struct larder *by)
{
	struct larder_lease_options o = { .size = sizeof o, .hold_ms = 3600000 };
	struct larder_lease lease;
	size_t bytes = 0;
	int64_t before = now_ms();
	enum larder_status status = larder_lease(by, m.ns[i->ns], i->key, i->key_bytes, &o, m.buffer, m.value_max, &bytes, &lease);
	judge_status(i, status);
	judge(i, status == LARDER_OK, before);
	if (status == LARDER_OK) {
		judge_value(i, m.buffer, bytes);
		if (lease.held)
			wrong(i, "leased, and there");
		return;
	}
	if (!lease.held && i->token == 0 && i->spoiled == 0)
		wrong(i, "nobody has the lease, and it was not given");
	if (!lease.held)
		return;
	oracle_spoil(i);
	i->token = lease.token;
	if (i->stale)
		i->version = 0; /* a counter's: it is kept as its digits */
}

static void do_lease_set(struct item *i, struct larder *by)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_result result;
	uint64_t token = i->token != 0 ? i->token : i->spoiled;
	size_t bytes = any_value();
	const char *names[TAGS];
	if (token == 0)
		return;
	o.ttl_ms = any_ttl();
	uint32_t tags = any_tags(&o, names);
	int64_t before = now_ms();
	enum larder_status status = larder_lease_set(by, m.ns[i->ns], i->key, i->key_bytes, m.value, bytes, &o, token, &result);
	if (status == LARDER_OK && i->token == 0)
		wrong(i, "set by a lease that something happened to");
	if (status == LARDER_CHANGED && i->token != 0 && !m.oracle.evicts && tags == 0)
		wrong(i, "not set, and nothing happened to the key");
	if (status == LARDER_CHANGED && tags != 0)
		return; /* for one of the tags, perhaps */
	oracle_spoil(i);
	if (status == LARDER_CHANGED)
		return;
	judge_status(i, status);
	judge(i, false, before);
	oracle_set(&m.oracle, i, m.value, bytes, 0, o.ttl_ms, result.version, before);
	i->tags = tags;
}

static void do_lease_release(struct item *i, struct larder *by)
{
	uint64_t token = i->token != 0 ? i->token : i->spoiled;
	if (token == 0)
		return;
	enum larder_status status = larder_lease_release(by, m.ns[i->ns], i->key, i->key_bytes, token);
	if (status == LARDER_OK && i->token == 0)
		wrong(i, "released though something happened to it");
	if (status == LARDER_CHANGED && i->token != 0 && !m.oracle.evicts)
		wrong(i, "gone, and nothing happened to the key");
	if (status != LARDER_CHANGED)
		judge_status(i, status);
	oracle_spoil(i);
}

static void do_sweep(struct item *i, struct larder *by)
{
	struct larder_sweep sweep = { 0 };
	size_t bytes = i->key_bytes;
	while (!sweep.finished)
		judge_status(i, larder_delete_prefix(by, m.ns[i->ns], i->key, bytes, 1 + chance(5000), &sweep));
	for (unsigned n = 0; n < m.oracle.count; n++) {
		struct item *other = &m.oracle.items[n];
		if (other->ns != i->ns || other->key_bytes < bytes || memcmp(other->key, i->key, bytes) != 0)
			continue;
		oracle_gone(other);
		oracle_spoil(other);
	}
}

static void do_swap(struct item *i, struct larder *by)
{
	size_t bytes = any_value(), old = 0, capacity = chance(8) ? m.value_max : 10;
	int64_t ttl_ms = any_ttl(), before = now_ms();
	enum larder_status status = larder_get_and_set(by, m.ns[i->ns], i->key, i->key_bytes, m.value, bytes, ttl_ms, m.buffer, capacity, &old);
	judge_status(i, status);
	judge(i, status != LARDER_MISS, before);
	if (status == LARDER_SHORT && (old != i->bytes || old <= capacity))
		wrong(i, "short of %zu bytes", old);
	if (status == LARDER_OK)
		judge_value(i, m.buffer, old);
	if (status != LARDER_SHORT)
		oracle_set(&m.oracle, i, m.value, bytes, 0, ttl_ms, 0, before);
}

static void do_mset(struct item *i, struct larder *by)
{
	enum { MOST = 20 };
	struct larder_item items[MOST];
	struct item *of[MOST];
	unsigned n = 0;
	int64_t ttl_ms = any_ttl();
	size_t bytes = any_value() % 500;
	for (unsigned k = (unsigned)chance(MOST) + 1; k > 0; k--) {
		struct item *one = any_item();
		if (one->ns != i->ns)
			continue;
		of[n] = one;
		items[n++] = (struct larder_item){ .key = one->key, .key_bytes = one->key_bytes, .value = m.value, .value_bytes = bytes };
	}
	int64_t before = now_ms();
	judge_status(NULL, larder_mset(by, m.ns[i->ns], items, n, ttl_ms));
	for (unsigned k = 0; k < n; k++) {
		judge_status(of[k], items[k].status);
		oracle_set(&m.oracle, of[k], m.value, bytes, 0, ttl_ms, 0, before);
	}
}

/* ---- The whole cache --------------------------------------------------------------------------------------------------------- */

static bool *shown;
static int64_t shown_since;

static struct item *item_of(const struct larder_entry *e)
{
	for (unsigned n = 0; n < m.oracle.count; n++) {
		struct item *i = &m.oracle.items[n];
		if (m.ns[i->ns] == e->ns && i->key_bytes == e->key_bytes && memcmp(i->key, e->key, e->key_bytes) == 0)
			return i;
	}
	return NULL;
}

static bool show(const struct larder_entry *e, void *arg)
{
	struct item *i = item_of(e);
	(void)arg;
	if (i == NULL)
		wrong(NULL, "iterate showed a key that was never set");
	if (shown[i - m.oracle.items])
		wrong(i, "iterate showed it twice");
	shown[i - m.oracle.items] = true;
	if (oracle_sight(&m.oracle, i, shown_since) == CANNOT)
		wrong(i, "iterate showed it");
	judge_value(i, e->value, e->meta.value_bytes);
	judge_meta(i, &e->meta, shown_since);
	return true;
}

static void do_iterate(struct item *i, struct larder *by)
{
	(void)i;
	shown = calloc(m.oracle.count, sizeof *shown);
	shown_since = now_ms();
	judge_status(NULL, larder_iterate(by, LARDER_ALL_NAMESPACES, NULL, 0, LARDER_ITERATE_VALUES, show, NULL));
	for (unsigned n = 0; n < m.oracle.count; n++)
		if (!shown[n] && oracle_sight(&m.oracle, &m.oracle.items[n], shown_since) == MUST)
			wrong(&m.oracle.items[n], "iterate did not show it");
	free(shown);
}

static void do_flush(struct item *i, struct larder *by)
{
	bool hard = chance(2);
	judge_status(NULL, hard ? larder_flush(by, m.ns[i->ns]) : larder_flush_soft(by, m.ns[i->ns]));
	oracle_flush(&m.oracle, i->ns, hard);
}

static void do_namespace_ttl(struct item *i, struct larder *by)
{
	if (!m.c->times)
		return;
	int64_t ttl_ms = chance(2) ? LARDER_TTL_NONE : (int64_t)chance(300) + 1;
	judge_status(NULL, larder_namespace_ttl(by, m.ns[i->ns], ttl_ms));
	m.oracle.ttl_ms[i->ns] = ttl_ms;
}

static void do_maintain(struct item *i, struct larder *by)
{
	(void)i;
	judge_status(NULL, larder_maintain(by, chance(1 << 20), NULL));
}

static void report(const char *text, void *arg)
{
	(void)arg;
	printf("check: %s\n", text);
}

static void do_check(struct item *i, struct larder *by)
{
	uint64_t faults = 0;
	struct larder_stat stat;
	(void)i;
	judge_status(NULL, larder_check(by, report, NULL, &faults));
	judge_status(NULL, larder_stat(by, &stat));
	if (faults != 0 || stat.damage != 0 || stat.contended != 0 || stat.no_room != 0 || stat.checksum_errors != 0)
		wrong(NULL, "%lu faults, damage %lu, contended %lu, no room %lu", (unsigned long)faults, (unsigned long)stat.damage,
				(unsigned long)stat.contended, (unsigned long)stat.no_room);
}

static void open_handle(struct larder **handle, uint32_t flags)
{
	struct larder_options o = LARDER_OPTIONS_INIT;
	o.bytes = m.c->bytes;
	o.segments = m.c->segments;
	o.create_flags = m.c->create_flags;
	o.entry_bytes = m.c->value_bytes / 8 + 16;
	o.participants = 8;
	o.namespaces = 16;
	o.flags = flags;
	if (larder_open_with(m.name, &o, handle) != LARDER_OK)
		wrong(NULL, "open: %s", larder_message());
}

static void do_reopen(struct item *i, struct larder *by)
{
	(void)i;
	for (unsigned h = 0; h < HELD; h++)
		if (m.held[h].by == by)
			let_go(h);
	for (unsigned h = 0; h < HANDLES; h++)
		if (m.handle[h] == by) {
			larder_close(&m.handle[h]);
			open_handle(&m.handle[h], LARDER_ATTACH_ONLY);
		}
}

/* ---- The run -------------------------------------------------------------------------------------------------------------------- */

static const struct action {
	const char *name;
	void (*run)(struct item *i, struct larder *by);
	unsigned weight;  /* of 10 000 */
	bool by_inspector; /* now and then */
} actions[] = {
	{ "get", do_get, 2500, true }, { "get with metadata", do_get_with, 800, false }, { "get of stale values", do_get_stale, 400, false },
	{ "get into a small buffer", do_short, 200, false }, { "exists", do_exists, 300, false }, { "mget", do_mget, 200, false },
	{ "pin", do_pin, 400, false }, { "set", do_set, 1500, false }, { "set with options", do_set_with, 1200, false },
	{ "append", do_append, 500, false }, { "touch", do_touch, 400, false }, { "delete", do_delete, 500, false }, { "incr", do_incr, 700, false },
	{ "get and set", do_swap, 300, false }, { "mset", do_mset, 80, false }, { "flush", do_flush, 4, false },
	{ "tag invalidate", do_invalidate, 10, false }, { "lease", do_lease, 500, false }, { "set by lease", do_lease_set, 300, false },
	{ "lease release", do_lease_release, 100, false }, { "delete by prefix", do_sweep, 2, false },
	{ "namespace ttl", do_namespace_ttl, 10, false }, { "maintain", do_maintain, 5, false },
	{ "iterate", do_iterate, 1, true }, { "check", do_check, 1, true }, { "reopen", do_reopen, 2, false },
};

static const struct action *any_action(void)
{
	const unsigned n = sizeof actions / sizeof *actions;
	unsigned sum = 0;
	for (unsigned k = 0; k < n; k++)
		sum += actions[k].weight;
	uint64_t at = chance(sum);
	for (unsigned k = 0; k < n; k++) {
		if (at < actions[k].weight)
			return &actions[k];
		at -= actions[k].weight;
	}
	return &actions[0];
}

/* Names of tags that do not fall on one word of the table. */
static void choose_tags(struct larder *by)
{
	unsigned chosen = 0;
	for (unsigned n = 0; chosen < TAGS; n++) {
		struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
		const char *names[TAGS];
		(void)snprintf(m.tag[chosen], sizeof m.tag[chosen], "tag%u", n);
		for (unsigned t = 0; t < chosen; t++)
			names[t] = m.tag[t];
		o.tags = names;
		o.tag_count = chosen;
		judge_status(NULL, larder_set_with(by, 0, "probe", 5, "", 0, &o, NULL));
		judge_status(NULL, larder_tag_invalidate(by, m.tag[chosen]));
		chosen += larder_exists(by, 0, "probe", 5) == LARDER_OK;
	}
	judge_status(NULL, larder_delete(by, 0, "probe", 5));
}

static void begin(void)
{
	struct larder_info info;
	const char *const names[ORACLE_NAMESPACES] = { "", "one", "two" };
	(void)snprintf(m.name, sizeof m.name, "test-%d-model", (int)getpid());
	m.what = "open";
	for (unsigned h = 0; h < HANDLES; h++)
		open_handle(&m.handle[h], h == 0 ? LARDER_EXCLUSIVE : LARDER_ATTACH_ONLY);
	open_handle(&m.inspector, LARDER_INSPECT);
	(void)larder_info(m.handle[0], &info);
	m.value_max = info.value_max_bytes;
	m.buffer = malloc(m.value_max);
	m.value = malloc(m.c->value_bytes + 64);
	for (unsigned n = 0; n < ORACLE_NAMESPACES; n++)
		if (larder_namespace(m.handle[n % HANDLES], names[n], &m.ns[n]) != LARDER_OK)
			wrong(NULL, "namespace: %s", larder_message());
	oracle_init(&m.oracle, m.c->keys, m.c->evicts);
	choose_tags(m.handle[0]);
}

static void end(void)
{
	for (unsigned h = 0; h < HELD; h++)
		let_go(h);
	struct larder_stat stat;
	(void)larder_stat(m.handle[0], &stat);
	printf("%s: %lu operations, %lu hits, %lu misses, %lu evicted, %lu expired, %lu flushed, %lu segments recycled, seed %lu\n", m.c->name,
			(unsigned long)m.operation, (unsigned long)stat.hits, (unsigned long)stat.misses,
			(unsigned long)(stat.evictions_small + stat.evictions_main + stat.evictions_index + stat.evictions_need),
			(unsigned long)stat.expirations, (unsigned long)stat.flushed, (unsigned long)stat.segments_recycled, (unsigned long)m.seed);
	if (m.c->evicts && m.operation >= m.c->operations && stat.segments_recycled < 100)
		wrong(NULL, "hardly anything was evicted: this run tests little");
	for (unsigned h = 0; h < HANDLES; h++)
		larder_close(&m.handle[h]);
	larder_close(&m.inspector);
	(void)larder_destroy(m.name);
	oracle_free(&m.oracle);
	free(m.buffer);
	free(m.value);
}

static uint64_t setting(const char *name, uint64_t other)
{
	const char *text = getenv(name);
	return text != NULL && text[0] != 0 ? strtoull(text, NULL, 10) : other;
}

int main(int count, char **arguments)
{
	for (unsigned n = 0; n < sizeof configurations / sizeof *configurations && count == 2; n++)
		if (strcmp(arguments[1], configurations[n].name) == 0)
			m.c = &configurations[n];
	if (m.c == NULL)
		return fprintf(stderr, "usage: model CONFIGURATION\n"), 2;
	m.seed = setting("MODEL_SEED", (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid());
	m.random = m.seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	uint64_t operations = setting("MODEL_OPERATIONS", m.c->operations);
	printf("%s: MODEL_SEED=%lu\n", m.c->name, (unsigned long)m.seed);
	(void)fflush(stdout);
	begin();
	for (m.operation = 1; m.operation <= operations; m.operation++) {
		const struct action *a = any_action();
		struct item *i = any_item();
		m.what = a->name;
		a->run(i, a->by_inspector && chance(8) == 0 ? m.inspector : any_handle());
	}
	m.operation = operations;
	m.what = "end";
	do_check(NULL, m.handle[0]);
	end();
	printf("1 passed, 0 failed\n");
	return 0;
}
