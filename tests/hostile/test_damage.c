/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A segment full of nonsense: random bits, words and pages in every region of the file, before and while several handles use
 * all operations.  Nothing may crash, hang or leave the mapping, which lies between pages that nobody may touch; every call
 * answers with a status.  With checksums on, no damaged value is ever handed out.
 *
 * DAMAGE_SEED repeats a run, DAMAGE_ROUNDS makes it longer.
 */
#include "../unit/kit.h"

#include "base/chance.h"
#include "larder/monitor.h"
#include "larder/policy.h"

#include <pthread.h>
#include <sys/mman.h>

#define KEYS 400u
#define VALUE_MAX 900u
#define LARGE_BYTES 9000u
#define GUARD_BYTES 65536u
#define SLOWEST_MS 30000 /* a call may use up its million tries: a third of a second, but for builds that measure or sanitize */

static uint64_t state;

static uint64_t chance(uint64_t below)
{
	return chance_next(&state) % below;
}

static uint64_t setting(const char *name, uint64_t other)
{
	const char *text = getenv(name);
	return text != NULL && text[0] != 0 ? strtoull(text, NULL, 10) : other;
}

static void seed_from_outside(void)
{
	state = setting("DAMAGE_SEED", (uint64_t)time(NULL) * 1009 + (uint64_t)getpid());
	cr_log_info("DAMAGE_SEED=%lu", (unsigned long)state);
	state = state * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

/* ---- Several handles between guard pages -------------------------------------------------------------------------------- */

#define HANDLES 3u
static struct larder *handle[HANDLES], *inspector;

/* Leaves holes of the cache's size between stretches that nobody may touch, until the kernel puts the mapping into one. */
static struct larder *open_guarded(uint32_t flags)
{
	static unsigned char *holes[1000];
	static struct larder *misplaced[1000]; /* where a handle stays, no hole is found a second time */
	static unsigned n;
	size_t bytes = cache->region.geo.bytes;
	while (n < sizeof holes / sizeof *holes) {
		struct larder *c = kit_another(flags);
		for (unsigned i = 0; i < n; i++)
			if (c->region.base == holes[i])
				return c;
		unsigned char *reserved = mmap(NULL, bytes + 2 * GUARD_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		cr_assert_neq(reserved, MAP_FAILED);
		misplaced[n] = c;
		(void)misplaced;
		holes[n++] = reserved + GUARD_BYTES;
		cr_assert_eq(munmap(reserved + GUARD_BYTES, bytes), 0);
	}
	cr_assert_fail("no place between guard pages");
	return NULL;
}

static void open_all(uint32_t create_flags)
{
	struct larder_options o = kit_options(UINT64_C(1) << 20, create_flags);
	o.instrument_bytes = 64 << 10; /* all of them, the ring of the trace, too */
	o.entry_bytes = 1000;
	kit_damaged = true;
	kit_open_with(&o);
	for (unsigned i = 0; i < HANDLES; i++)
		handle[i] = open_guarded(0);
	inspector = open_guarded(LARDER_INSPECT);
}

static void close_all(void)
{
	for (unsigned i = 0; i < HANDLES; i++)
		larder_close(&handle[i]);
	larder_close(&inspector);
	char path[256];
	memcpy(path, cache->region.path, sizeof path);
	larder_close(&cache);
	(void)unlink(path); /* whatever became of its header */
}

/* ---- Values that tell whether they are whole ------------------------------------------------------------------------------ */

/* Every other one so long that it goes the plain ways. */
static size_t key_of(char key[16], uint64_t number) { return (size_t)snprintf(key, 16, number % 2 ? "key%06lu" : "key%lu", (unsigned long)number); }

/* Eight bytes of key and size, then a pattern of them. */
static void value_make(unsigned char *to, uint64_t key, size_t bytes)
{
	uint64_t word = key << 32 | bytes;
	pattern(to, bytes, word);
	memcpy(to, &word, 8);
}

static bool value_whole(const unsigned char *value, uint64_t key, size_t bytes)
{
	static _Thread_local unsigned char wanted[LARGE_BYTES + 16];
	if (bytes < 8 || bytes > LARGE_BYTES)
		return false;
	value_make(wanted, key, bytes);
	return memcmp(value, wanted, bytes) == 0;
}

/* ---- All operations ------------------------------------------------------------------------------------------------------------ */

static bool checked; /* values are protected by checksums */

static void known(enum larder_status status)
{
	cr_assert(status >= LARDER_NO_MEMORY && status <= LARDER_END, "status %d", status);
	cr_assert(status != LARDER_INVALID && status != LARDER_SYSTEM && status != LARDER_NO_MEMORY && status != LARDER_BUSY, "status %d: %s", status,
			larder_strerror(status));
}

static void judge(enum larder_status status, uint64_t key, const void *value, size_t bytes)
{
	known(status);
	if (checked && (status == LARDER_OK || status == LARDER_STALE))
		cr_assert(value_whole(value, key, bytes), "a damaged value of key %lu, %zu bytes", (unsigned long)key, bytes);
}

static void sum_up(const struct larder_pin *pin)
{
	volatile unsigned sum = 0;
	for (unsigned i = 0; i < pin->iov_count; i++)
		for (size_t at = 0; at < pin->iov[i].iov_len; at++)
			sum += ((const unsigned char *)pin->iov[i].iov_base)[at];
	(void)sum;
}

static void pin_once(struct larder *c, uint64_t number, const char *key, size_t n)
{
	struct larder_pin pin;
	enum larder_status status = larder_pin(c, 0, key, n, 0, &pin);
	if (pin.iov_count == 1)
		judge(status, number, pin.data, pin.length);
	else
		known(status);
	sum_up(&pin);
	larder_unpin(c, &pin);
}

static void mget_once(struct larder *c)
{
	static unsigned char values[20][VALUE_MAX];
	struct larder_item items[20];
	char key[20][16];
	uint64_t number[20];
	for (unsigned i = 0; i < 20; i++) {
		number[i] = chance(KEYS);
		items[i] = (struct larder_item){ .key = key[i], .key_bytes = key_of(key[i], number[i]), .value = values[i], .value_bytes = VALUE_MAX };
	}
	known(larder_mget(c, 0, items, 20));
	for (unsigned i = 0; i < 20; i++)
		judge(items[i].status, number[i], values[i], items[i].value_bytes);
}

static bool visit(const struct larder_entry *e, void *arg)
{
	char key[16] = { 0 };
	(void)arg;
	if (e->key_bytes < 4 || e->key_bytes > 10 || memcmp(e->key, "key", 3) != 0)
		return true;
	memcpy(key, e->key, e->key_bytes);
	if (checked && e->value != NULL)
		cr_assert(value_whole(e->value, strtoul(key + 3, NULL, 10), e->meta.value_bytes), "iterate showed a damaged value of %s", key);
	return true;
}

static bool visit_metric(const struct larder_metric *metric, void *arg)
{
	(void)arg;
	return strlen(metric->operation) <= LARDER_LABEL_BYTES_MAX;
}

static void look_at_instruments(struct larder *c)
{
	static struct larder_access access[4096];
	struct larder_hot_key hot[64];
	struct larder_trace_info info;
	uint64_t cursor = chance(2) ? 0 : chance(UINT64_MAX);
	size_t n = 0;
	known(larder_trace_info(c, &info));
	known(larder_trace_read(c, &cursor, access, sizeof access / sizeof *access, &n));
	cr_assert_leq(n, sizeof access / sizeof *access);
	known(larder_hot_keys(c, hot, sizeof hot / sizeof *hot, &n));
	cr_assert_leq(n, sizeof hot / sizeof *hot);
	known(larder_metrics(c, visit_metric, NULL));
}

static uint64_t noticed; /* faults found by checks: damage that nobody could notice would test nothing */

static void look_from_outside(struct larder *c)
{
	struct larder_stat stat;
	struct larder_info info;
	struct larder_participant_info participant;
	struct larder_namespace_info space;
	uint64_t faults;
	known(larder_stat(c, &stat));
	known(larder_info(c, &info));
	for (uint32_t i = 0; i < 16; i++) {
		known(larder_participant(c, i, &participant));
		known(larder_namespace_info(c, i, &space));
	}
	known(larder_check(c, NULL, NULL, &faults));
	look_at_instruments(c);
	noticed += faults + stat.damage + stat.checksum_errors;
	known(larder_iterate(c, LARDER_ALL_NAMESPACES, NULL, 0, LARDER_ITERATE_VALUES | LARDER_ITERATE_STALE, visit, NULL));
}

static const char *const tags[2] = { "red", "blue" };

static void change_once(struct larder *c, uint64_t number, const char *key, size_t n)
{
	static _Thread_local unsigned char value[LARGE_BYTES], old[LARGE_BYTES];
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	struct larder_result result;
	size_t bytes = chance(30) == 0 ? LARGE_BYTES : chance(2) ? 100 : 8 + chance(VALUE_MAX - 8), length = 0;
	int64_t ttl_ms = chance(3) ? LARDER_TTL_NONE : chance(2) ? LARDER_TTL_KEEP : chance(2) ? 60000 : (int64_t)chance(50) + 1;
	enum larder_status status;
	value_make(value, number, bytes);
	switch (chance(8)) {
	case 0:
		o.mode = (enum larder_set_mode)chance(checked ? 4 : 3);
		o.flags = (uint32_t)chance(4);
		o.user_flags = (uint32_t)chance(2);
		o.grace_ms = (uint32_t)chance(2) * 100;
		o.tag_count = (uint32_t)chance(3);
		o.tags = tags;
		o.ttl_ms = ttl_ms;
		known(larder_set_with(c, 0, key, n, value, bytes, &o, &result));
		break;
	case 1:
		status = larder_get_and_set(c, 0, key, n, value, bytes, ttl_ms, old, sizeof old, &length);
		judge(status, number, old, length);
		break;
	case 2:
		known(larder_touch(c, 0, key, n, ttl_ms));
		break;
	case 3:
		known(larder_delete(c, 0, key, n));
		break;
	default:
		known(larder_set(c, 0, key, n, value, bytes, ttl_ms));
	}
}

/* A lease is taken and ended, or left to its end. */
static void lease_once(struct larder *c, uint64_t number, const char *key, size_t n)
{
	static _Thread_local unsigned char value[LARGE_BYTES], old[LARGE_BYTES];
	struct larder_lease_options o = LARDER_LEASE_OPTIONS_INIT;
	struct larder_lease lease;
	size_t length = 0;
	o.hold_ms = 20;
	o.flags = chance(2) ? LARDER_ALLOW_STALE : 0;
	enum larder_status status = larder_lease(c, 0, key, n, &o, old, sizeof old, &length, &lease);
	judge(status, number, old, length);
	if (!lease.held)
		return;
	value_make(value, number, 100);
	if (chance(3) != 0)
		known(larder_lease_set(c, 0, key, n, value, 100, NULL, lease.token, NULL));
	else if (chance(2))
		known(larder_lease_release(c, 0, key, n, lease.token));
}

/* Keys whose values tell nothing: counters and logs. */
static void change_others(struct larder *c)
{
	char name[16];
	uint32_t ns;
	int n = snprintf(name, sizeof name, "%s%lu", chance(2) ? "n" : "log", (unsigned long)chance(20));
	known(larder_incr(c, 0, name, (size_t)n, (int64_t)chance(9), NULL));
	known(larder_append(c, 0, name, (size_t)n, "x", 1));
	if (chance(40) == 0)
		known(larder_maintain(c, 1 << 16, NULL));
	if (chance(40) == 0)
		known(larder_tag_invalidate(c, tags[chance(2)]));
	if (chance(200) == 0) {
		known(chance(2) ? larder_flush(c, 0) : larder_flush_soft(c, 0));
		(void)snprintf(name, sizeof name, "space%lu", (unsigned long)chance(30));
		if (larder_namespace(c, name, &ns) == LARDER_OK)
			(void)larder_set(c, ns, "k", 1, "v", 1, 0);
	}
}

static void operate_once(struct larder *c)
{
	static _Thread_local unsigned char value[LARGE_BYTES];
	struct larder_meta meta;
	char key[16];
	uint64_t number = chance(KEYS);
	size_t n = key_of(key, number), bytes = 0;
	enum larder_status status;
	switch (chance(9)) {
	case 8:
		lease_once(c, number, key, n);
		break;
	case 0:
		status = larder_get_with(c, 0, key, n, value, sizeof value, &bytes, LARDER_ALLOW_STALE, &meta);
		judge(status, number, value, bytes);
		break;
	case 1:
		pin_once(c, number, key, n);
		break;
	case 2:
		known(larder_exists(c, 0, key, n));
		status = larder_get(inspector, 0, key, n, value, sizeof value, &bytes);
		judge(status, number, value, bytes);
		break;
	case 3:
		mget_once(c);
		break;
	case 4:
		change_others(c);
		break;
	case 5:
	case 6:
		change_once(c, number, key, n);
		break;
	default:
		status = larder_get(c, 0, key, n, value, sizeof value, &bytes);
		judge(status, number, value, bytes);
	}
}

static void operate(unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		int64_t before = clock_precise_ms();
		operate_once(handle[chance(HANDLES)]);
		int64_t took = clock_precise_ms() - before;
		cr_assert_lt(took, SLOWEST_MS, "a call took %ld ms", (long)took);
	}
}

/* ---- Damage ------------------------------------------------------------------------------------------------------------------------ */

struct area { const char *name; uint64_t off, bytes; };

/* Every region; of the superblock, what follows the geometry and the word that says whether the cache is alive. */
#define AREAS 11u
static unsigned areas(struct area out[AREAS])
{
	const struct shm_geometry *g = &cache->region.geo;
	const struct area all[] = { { "superblock", offsetof(struct shm_super, pressure), sizeof(struct shm_super) - offsetof(struct shm_super, pressure) },
		{ "geometry", 0, offsetof(struct shm_super, state) },
		{ "participants", g->participants_off, g->participants * sizeof(struct shm_participant) },
		{ "namespaces", g->namespaces_off, g->namespaces * sizeof(struct shm_namespace) },
		{ "instruments", g->board_off, g->segwords_off - g->board_off },
		{ "segment words", g->segwords_off, g->segments * sizeof(struct word) },
		{ "descriptors", g->descriptors_off, g->segments * sizeof(struct shm_segment) },
		{ "starts", g->starts_off, (uint64_t)g->segments * g->start_words * sizeof(struct word) },
		{ "ghosts", g->ghosts_off, g->ghost_words * sizeof(struct word) }, { "index", g->index_off, g->groups * sizeof(struct shm_group) },
		{ "arena", g->arena_off, (uint64_t)g->segments << g->segment_shift } };
	memcpy(out, all, sizeof all);
	return sizeof all / sizeof *all;
}

enum damage { BITS, WORDS, ONES, ZEROS, MOVED, NOISE, DAMAGES };

static void spoil_word(const struct area *a, enum damage kind)
{
	uint64_t words = a->bytes / 8, at = chance(words), from = chance(words);
	struct word *all = (struct word *)(void *)(cache->region.base + a->off);
	uint64_t value = kind == BITS ? load_hint(&all[at]) ^ UINT64_C(1) << chance(64) : kind == ONES ? UINT64_MAX : kind == ZEROS ? 0
			: kind == MOVED ? load_hint(&all[from]) : chance(UINT64_MAX >> 9) << 20 ^ chance(1u << 20);
	store_hint(&all[at], value);
}

static void spoil(const struct area *a, enum damage kind, unsigned times)
{
	if (kind != NOISE) {
		for (unsigned i = 0; i < times; i++)
			spoil_word(a, kind);
		return;
	}
	uint64_t begin = chance(a->bytes / 8), words = a->bytes / 8 - begin < 512 ? a->bytes / 8 - begin : 512;
	struct area page = { a->name, a->off + begin * 8, words * 8 };
	for (unsigned i = 0; i < 2 * words; i++)
		spoil_word(&page, WORDS);
}

static void rounds_in_each_area(uint32_t create_flags)
{
	struct area all[AREAS];
	unsigned rounds = (unsigned)setting("DAMAGE_ROUNDS", 1);
	seed_from_outside();
	checked = create_flags & LARDER_CHECKSUM;
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned a = 0; a < AREAS; a++)
			for (enum damage kind = 0; kind < DAMAGES; kind++) {
				open_all(create_flags);
				(void)areas(all);
				operate(1500);
				spoil(&all[a], kind, 1 + (unsigned)chance(1u << chance(9)));
				operate(1500);
				look_from_outside(handle[0]);
				look_from_outside(inspector);
				spoil(&all[a], kind, 1 + (unsigned)chance(1u << chance(9)));
				operate(500);
				close_all();
			}
	cr_assert_gt(noticed, 1000);
}

Test(damage, in_any_region_ends_in_statuses_alone, .timeout = 280)
{
	rounds_in_each_area(0);
}

Test(damage, in_any_region_of_a_cache_with_checksums_hands_out_no_damaged_value, .timeout = 280)
{
	rounds_in_each_area(LARDER_CHECKSUM);
}

Test(damage, everywhere_at_once_ends_in_statuses_alone, .timeout = 280)
{
	struct area all[AREAS];
	seed_from_outside();
	for (unsigned round = 0; round < 20 * setting("DAMAGE_ROUNDS", 1); round++) {
		checked = round % 2;
		open_all(checked ? LARDER_CHECKSUM : LARDER_PLAIN);
		unsigned n = areas(all);
		operate(1000);
		for (unsigned i = 0; i < 300; i++)
			spoil(&all[chance(n)], (enum damage)chance(DAMAGES), (unsigned)chance(20));
		operate(1000);
		look_from_outside(handle[0]);
		close_all();
	}
}

Test(damage, a_cache_whose_state_word_is_damaged_is_detached)
{
	open_all(0);
	operate(100);
	store_release(&region_super(&cache->region)->state, UINT64_C(0xdeadbeef));
	is(larder_set(handle[0], 0, "k", 1, "v", 1, 0), LARDER_DETACHED);
	is(larder_get(inspector, 0, "k", 1, NULL, 0, NULL), LARDER_DETACHED);
	close_all();
}

Test(damage, a_damaged_geometry_does_not_reach_those_attached_and_turns_others_away)
{
	struct larder *late;
	open_all(0);
	operate(500);
	region_super(&cache->region)->geometry.segments ^= 1;
	operate(500);
	is(larder_open(kit_name, 0, &late), LARDER_MISMATCH);
	cr_assert(strstr(larder_message(), "damaged header") != NULL, "%s", larder_message());
	close_all();
}

/* ---- Damage all the while ------------------------------------------------------------------------------------------------------------ */

static volatile bool stop;

static void *keep_spoiling(void *arg)
{
	struct area all[AREAS];
	unsigned n = areas(all);
	uint64_t mine = (uint64_t)(uintptr_t)&all | 1;
	while (!stop) {
		mine = mine * UINT64_C(6364136223846793005) + 1;
		const struct area *a = &all[(mine >> 33) % n];
		struct word *w = (struct word *)(void *)(cache->region.base + a->off + (mine >> 20) % (a->bytes / 8) * 8);
		store_hint(w, mine >> 60 < 8 ? load_hint(w) ^ UINT64_C(1) << (mine >> 40) % 64 : mine);
		if (mine >> 58 == 0)
			sleep_ms(1);
	}
	return arg;
}

Test(damage, that_goes_on_while_calls_are_made_ends_in_statuses_alone, .timeout = 120)
{
	pthread_t thread;
	seed_from_outside();
	for (unsigned round = 0; round < 10 * setting("DAMAGE_ROUNDS", 1); round++) {
		open_all(round % 2 ? LARDER_PLAIN : 0);
		operate(500);
		stop = false;
		cr_assert_eq(pthread_create(&thread, NULL, keep_spoiling, NULL), 0);
		operate(2000);
		look_from_outside(handle[0]);
		stop = true;
		cr_assert_eq(pthread_join(thread, NULL), 0);
		close_all();
	}
}
