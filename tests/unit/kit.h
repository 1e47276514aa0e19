/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of one cache in one process share: a cache of the test's own, opened before it and destroyed after it,
 * and shorthands for keys that are C strings.
 *
 * Tests of a layer below the public calls take an actor by kit_actor(), as the calls themselves do, and give it back by
 * kit_release().  A second handle on the same cache (kit_second) is a second participant.
 */
#ifndef LARDER_TESTS_KIT_H
#define LARDER_TESTS_KIT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache/large.h"
#include "cache/view.h"

static struct larder *cache;
static char kit_name[64];
static bool kit_damaged; /* the test damages the cache: no check at its end */

#define ok(call) cr_assert_eq((call), LARDER_OK, "%s", #call)
#define is(call, status) cr_assert_eq((int)(call), (int)(status), "%s is not %s", #call, #status)

/* 128 segments, small as they are, whatever the defaults: a megabyte makes segments of 4 KiB. */
static inline struct larder_options kit_options(uint64_t bytes, uint32_t create_flags)
{
	return (struct larder_options){ .size = sizeof(struct larder_options), .bytes = bytes, .create_flags = create_flags,
		.segments = 128, .namespaces = 16, .participants = 16 };
}

static inline void kit_open_with(const struct larder_options *o)
{
	/* A name that no process before this one can have had: one that was killed leaves its cache behind. */
	(void)snprintf(kit_name, sizeof kit_name, "test-%d-%llx-unit", (int)getpid(), (unsigned long long)clock_precise_ns());
	is(larder_open_with(kit_name, o, &cache), LARDER_OK);
}

static inline void kit_open(void)
{
	struct larder_options o = kit_options(UINT64_C(1) << 20, 0);
	kit_open_with(&o);
}
static inline void kit_open_plain(void)
{
	struct larder_options o = kit_options(UINT64_C(1) << 20, LARDER_PLAIN);
	kit_open_with(&o);
}
static inline void kit_open_checksum(void)
{
	struct larder_options o = kit_options(UINT64_C(1) << 20, LARDER_CHECKSUM);
	kit_open_with(&o);
}

static inline void kit_report(const char *text, void *arg)
{
	(void)arg;
	if (!kit_damaged)
		cr_log_error("%s", text);
}

/* No test leaves a cache behind that is not whole. */
static inline void kit_close(void)
{
	uint64_t faults = 0;
	enum larder_status status = cache != NULL ? larder_check(cache, kit_report, NULL, &faults) : LARDER_OK;
	larder_close(&cache);
	(void)larder_destroy(kit_name);
	if (!kit_damaged && status != LARDER_DETACHED)
		cr_assert(status == LARDER_OK && faults == 0, "check: status %d, %lu faults", status, (unsigned long)faults);
}

static inline struct larder *kit_another(uint32_t flags)
{
	struct larder *other;
	struct larder_options o = LARDER_OPTIONS_INIT;
	o.flags = flags | (flags & LARDER_INSPECT ? 0 : LARDER_ATTACH_ONLY);
	is(larder_open_with(kit_name, &o, &other), LARDER_OK);
	return other;
}

/* ---- Public calls, for keys and values that are C strings ------------------------------------------------------------ */

static inline enum larder_status put_text(const char *key, const char *value)
{
	return larder_set(cache, 0, key, strlen(key), value, strlen(value), LARDER_TTL_DEFAULT);
}
static inline enum larder_status del_text(const char *key) { return larder_delete(cache, 0, key, strlen(key)); }
static inline enum larder_status has_text(const char *key) { return larder_exists(cache, 0, key, strlen(key)); }

static inline void reads_in(struct larder *from, uint32_t ns, const char *key, const char *value)
{
	char buffer[4096];
	size_t n = 0;
	enum larder_status status = larder_get(from, ns, key, strlen(key), buffer, sizeof buffer, &n);
	if (value == NULL) {
		is(status, LARDER_MISS);
		return;
	}
	is(status, LARDER_OK);
	cr_assert(n == strlen(value) && memcmp(buffer, value, n) == 0, "%s reads as \"%.*s\", not \"%s\"", key, (int)n, buffer, value);
}
/* NULL: misses. */
static inline void reads(const char *key, const char *value) { reads_in(cache, 0, key, value); }

static inline struct larder_meta meta_of(const char *key)
{
	struct larder_meta meta = { 0 };
	size_t n;
	enum larder_status status = larder_get_with(cache, 0, key, strlen(key), NULL, 0, &n, LARDER_NO_COUNT, &meta);
	cr_assert(status == LARDER_OK || status == LARDER_SHORT, "get of %s: %d", key, status);
	return meta;
}

static inline struct larder_stat stat_now(void)
{
	struct larder_stat stat;
	is(larder_stat(cache, &stat), LARDER_OK);
	return stat;
}

static inline struct larder_info info_now(void)
{
	struct larder_info info;
	is(larder_info(cache, &info), LARDER_OK);
	return info;
}

/* As if so many segments had been filled since that uses of every entry count. */
static inline void kit_ripen(void)
{
	add_hint(&region_super(&cache->region)->seals, (uint64_t)RIPE_TICKS << cache->region.tick_shift);
	frequency_follow(&cache->region); /* plain gets do it now and then */
}

/* Time goes by for whoever uses this handle, so that no test waits for an expiry and none depends on how fast it is.  A second more
 * than asked for: the coarse clock is behind.  Returns how much it was. */
static inline int64_t kit_pass_of(struct larder *of, int64_t ms)
{
	of->region.time_offset_ms += ms + 1000;
	(void)usleep(2000); /* longer than anybody may go on believing a moment that it has read */
	return ms + 1000;
}
static inline int64_t kit_pass(int64_t ms) { return kit_pass_of(cache, ms); }
enum { MINUTE = 60000 }; /* longer than any test is made to wait */

static inline void sleep_ms(long ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

/* Bytes that tell where they belong: no two seeds have a long stretch in common. */
static inline void pattern(unsigned char *to, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes; i++) {
		if (i % 8 == 0)
			seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		to[i] = (unsigned char)(seed >> (8 * (i % 8)));
	}
}

/* Sets keys "PREFIX0", "PREFIX1", … of `bytes` bytes each, until `total` bytes of values went in. */
static inline unsigned fill(const char *prefix, size_t bytes, size_t total, int64_t ttl_ms)
{
	unsigned char value[4096];
	char key[32];
	unsigned n = 0;
	for (size_t done = 0; done < total; done += bytes, n++) {
		int length = snprintf(key, sizeof key, "%s%u", prefix, n);
		pattern(value, bytes, n);
		is(larder_set(cache, 0, key, (size_t)length, value, bytes, ttl_ms), LARDER_OK);
	}
	return n;
}

/* The same with values of 300 bytes, as many as take up so many hundredths of all segments. */
static inline unsigned fill_percent(const char *prefix, unsigned percent, int64_t ttl_ms)
{
	struct larder_info i = info_now();
	return fill(prefix, 300, i.segments * (i.segment_bytes / 340) * 3 * percent, ttl_ms);
}

/* How many of the keys that fill() set are still there; whole, or the test fails. */
static inline unsigned count_filled(const char *prefix, size_t bytes, unsigned keys)
{
	unsigned char value[4096], wanted[4096];
	char key[32];
	unsigned there = 0;
	for (unsigned i = 0; i < keys; i++) {
		size_t n = 0;
		int length = snprintf(key, sizeof key, "%s%u", prefix, i);
		enum larder_status status = larder_get(cache, 0, key, (size_t)length, value, sizeof value, &n);
		if (status == LARDER_MISS)
			continue;
		pattern(wanted, bytes, i);
		cr_assert(status == LARDER_OK && n == bytes && memcmp(value, wanted, n) == 0, "%s: status %d, %zu bytes", key, status, n);
		there++;
	}
	return there;
}

/* ---- Below the public calls ---------------------------------------------------------------------------------------------- */

static inline struct actor *kit_actor_of(struct larder *of)
{
	struct actor *a;
	is(call_begin(of, &a), LARDER_OK);
	return a;
}
static inline struct actor *kit_actor(void) { return kit_actor_of(cache); }
static inline void kit_release(struct actor *a) { call_end_clear(a); }

static inline struct key kit_key(const char *text)
{
	/* Else gcc follows a constant key into the hash and warns of branches that it never takes. */
	__asm__("" : "+r"(text));
	return key_make(&cache->region, text, strlen(text), 0, false);
}

/* Where the key is, which is there. */
static inline struct found kit_found(const char *text)
{
	struct key k = kit_key(text);
	struct found f;
	struct actor *a = kit_actor();
	is(index_find(a, &k, &f), SEARCH_FOUND);
	kit_release(a);
	return f;
}
static inline uint64_t kit_slot(const char *text) { return kit_found(text).word; }
static inline unsigned kit_frequency(const char *text) { return octet_load_hint(kit_found(text).frequency); }
static inline struct shm_entry *kit_entry(const char *text) { return region_entry(&cache->region, slot_place(kit_slot(text))); }

/* Of a large value. */
#define KIT_PIECE_BYTES 12u
static inline struct manifest kit_manifest(const char *text)
{
	struct found f = kit_found(text);
	struct manifest m = { 0 };
	cr_assert(manifest_read(cache, &f.entry, &m));
	return m;
}
/* Calls back with a piece of it found, and the actor that found it. */
static inline void kit_piece(const char *text, uint32_t number, void (*on_piece)(struct actor *a, struct found *f))
{
	struct manifest m = kit_manifest(text);
	unsigned char name[KIT_PIECE_BYTES];
	struct found f;
	cr_assert_lt(number, m.chunks);
	struct key piece = chunk_key(&cache->region, 0, &m, number, name);
	struct actor *a = kit_actor();
	is(index_find(a, &piece, &f), SEARCH_FOUND);
	on_piece(a, &f);
	kit_release(a);
}
static inline void kit_piece_evicted(struct actor *a, struct found *f) { cr_assert(index_remove(a, f, COUNTER_evictions_small)); }

/* The segment that the key's entry lies in, and its word. */
static inline uint32_t kit_segment(const char *text) { return region_segment_of(&cache->region, slot_place(kit_slot(text))); }
static inline uint64_t kit_segword(uint32_t segment) { return load_acquire(region_segword(&cache->region, segment)); }

/* Keys of the same probe can be found by trying: the next number whose key has the home of this one, and its overflow lines. */
static inline unsigned next_in_probe(const char *prefix, unsigned from, const struct key *like, char key[32])
{
	for (unsigned i = from;; i++) {
		(void)snprintf(key, 32, "%s%u", prefix, i);
		struct key k = kit_key(key);
		if (k.home == like->home && hash_line(k.hash, 0) == hash_line(like->hash, 0) && hash_line(k.hash, 1) == hash_line(like->hash, 1))
			return i;
	}
}

#endif
