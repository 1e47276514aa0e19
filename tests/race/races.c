/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The races.  Each has an invariant that any lost, doubled, torn or stale change breaks: what a reader must see at least is
 * loaded before its get begins, from the thread that alone writes that key.
 */
#include "race.h"

#define VALUE_MAX 600u

static size_t key_of(char key[16], const char *kind, uint64_t number)
{
	return (size_t)snprintf(key, 16, "%s%lu", kind, (unsigned long)number);
}

/* ---- One key, many inserters --------------------------------------------------------------------------------------------- */

static _Atomic unsigned winners;

static void run_add(struct thread *t)
{
	char key[16];
	uint64_t seen;
	for (uint64_t round = 0; together(); round++) {
		size_t n = key_of(key, "add", round % 5000);
		uint64_t mine = round * THREADS + t->number;
		enum larder_status status = larder_add(t->cache, 0, key, n, &mine, sizeof mine, LARDER_TTL_DEFAULT);
		good(status, "add");
		if (status == LARDER_OK)
			atomic_fetch_add(&winners, 1);
		if (larder_get(t->cache, 0, key, n, &seen, sizeof seen, NULL) != LARDER_OK || seen / THREADS != round)
			wrong("round %lu: after an add there is none of this round", (unsigned long)round);
		(void)together();
		if (t->number == 0 && atomic_exchange(&winners, 0) != 1)
			wrong("round %lu: not one add succeeded, but another number", (unsigned long)round);
		(void)together();
		if (t->number == round % THREADS && larder_delete(t->cache, 0, key, n) != LARDER_OK)
			wrong("round %lu: nothing to delete", (unsigned long)round);
		t->done += 3;
	}
}

/* ---- Adds and deletes of one key in balance --------------------------------------------------------------------------------- */

static _Atomic long balance[KEYS];

static void run_balance(struct thread *t)
{
	char key[16];
	for (; !time_is_up(); t->done++) {
		uint64_t k = chance(t, 4);
		size_t n = key_of(key, "bal", k);
		unsigned char value[48];
		value_make(value, k, t->done, 24 + chance(t, 24));
		if (chance(t, 2)) {
			enum larder_status status = larder_add(t->cache, 0, key, n, value, ((uint64_t *)(void *)value)[2], LARDER_TTL_DEFAULT);
			good(status, "add");
			atomic_fetch_add(&balance[k], status == LARDER_OK);
		} else {
			enum larder_status status = larder_delete(t->cache, 0, key, n);
			good(status, "delete");
			atomic_fetch_sub(&balance[k], status == LARDER_OK);
		}
	}
}

static void finish_balance(void)
{
	char key[16];
	for (uint64_t k = 0; k < 4; k++) {
		size_t n = key_of(key, "bal", k);
		long there = larder_exists(cache, 0, key, n) == LARDER_OK;
		if (atomic_load(&balance[k]) != there)
			wrong("key %lu: %ld more adds than deletes succeeded, but it is %s", (unsigned long)k, atomic_load(&balance[k]), there ? "there" : "gone");
	}
}

/* ---- Overwrites, deletes and every kind of get --------------------------------------------------------------------------------- */

/* Threads below WRITERS write the keys that are theirs by number; all others read. */
#define WRITERS 3u

static void write_track(struct thread *t, uint64_t k, uint64_t number, int64_t ttl_ms)
{
	unsigned char value[VALUE_MAX];
	char key[16];
	size_t n = key_of(key, "key", k), bytes = 24 + chance(t, VALUE_MAX - 24);
	if (chance(t, 8) == 0) {
		good(larder_delete(t->cache, 0, key, n), "delete");
		atomic_store(&tracks[k].gone, number - 1);
		return;
	}
	if (chance(t, 2)) /* of one size: places are used again */
		bytes = 64;
	value_make(value, k, number, bytes);
	good(larder_set(t->cache, 0, key, n, value, bytes, ttl_ms), "set");
	atomic_store(&tracks[k].written, number);
}

static void judge(uint64_t k, uint64_t seen, uint64_t written, uint64_t gone)
{
	if (seen < written)
		wrong("key %lu: number %lu seen after the set of %lu had returned", (unsigned long)k, (unsigned long)seen, (unsigned long)written);
	if (seen <= gone)
		wrong("key %lu: number %lu seen after it was gone", (unsigned long)k, (unsigned long)seen);
}

static void read_copy(struct thread *t, struct larder *from, uint64_t k)
{
	unsigned char value[VALUE_MAX];
	char key[16];
	size_t n = key_of(key, "key", k), bytes = 0;
	uint64_t written = atomic_load(&tracks[k].written), gone = atomic_load(&tracks[k].gone);
	struct larder_meta meta;
	enum larder_status status = chance(t, 2) ? larder_get(from, 0, key, n, value, sizeof value, &bytes)
			: larder_get_with(from, 0, key, n, value, sizeof value, &bytes, 0, &meta);
	good(status, "get");
	if (status == LARDER_OK)
		judge(k, value_check(value, k, bytes), written, gone);
}

static void read_pin(struct thread *t, uint64_t k)
{
	struct larder_pin pin;
	char key[16];
	size_t n = key_of(key, "key", k);
	uint64_t written = atomic_load(&tracks[k].written), gone = atomic_load(&tracks[k].gone);
	enum larder_status status = larder_pin(t->cache, 0, key, n, 0, &pin);
	good(status, "pin");
	if (status != LARDER_OK)
		return;
	uint64_t seen = value_check(pin.data, k, pin.length);
	judge(k, seen, written, gone);
	for (unsigned i = 0; i < 3; i++)
		read_copy(t, t->cache, chance(t, KEYS));
	if (value_check(pin.data, k, pin.length) != seen)
		wrong("key %lu: a pinned value changed", (unsigned long)k);
	larder_unpin(t->cache, &pin);
}

static void read_many(struct thread *t)
{
	static _Thread_local unsigned char values[KEYS][VALUE_MAX];
	struct larder_item items[KEYS];
	char key[KEYS][16];
	uint64_t written[KEYS], gone[KEYS];
	for (uint64_t k = 0; k < KEYS; k++) {
		items[k] = (struct larder_item){ .key = key[k], .key_bytes = key_of(key[k], "key", k), .value = values[k], .value_bytes = VALUE_MAX };
		written[k] = atomic_load(&tracks[k].written);
		gone[k] = atomic_load(&tracks[k].gone);
	}
	good(larder_mget(t->cache, 0, items, KEYS), "mget");
	for (uint64_t k = 0; k < KEYS; k++) {
		good(items[k].status, "mget of one");
		if (items[k].status == LARDER_OK)
			judge(k, value_check(values[k], k, items[k].value_bytes), written[k], gone[k]);
	}
}

static bool visit(const struct larder_entry *e, void *arg)
{
	char key[16] = { 0 };
	(void)arg;
	if (e->key_bytes > 3 && e->key_bytes < sizeof key && memcmp(e->key, "key", 3) == 0) {
		memcpy(key, e->key, e->key_bytes);
		(void)value_check(e->value, strtoul(key + 3, NULL, 10), e->meta.value_bytes);
	}
	return true;
}

static void read_any(struct thread *t, struct larder *inspector)
{
	uint64_t k = chance(t, KEYS), which = chance(t, 200);
	if (which == 0)
		good(larder_iterate(t->cache, 0, NULL, 0, LARDER_ITERATE_VALUES, visit, NULL), "iterate");
	else if (which < 10)
		read_many(t);
	else if (which < 50)
		read_pin(t, k);
	else if (which < 90)
		read_copy(t, inspector, k);
	else
		read_copy(t, t->cache, k);
}

static struct larder *inspect(void)
{
	struct larder_options o = LARDER_OPTIONS_INIT;
	struct larder_info info;
	struct larder *inspector;
	o.flags = LARDER_INSPECT;
	good(larder_info(cache, &info), "info");
	good(larder_open_with(info.path, &o, &inspector), "inspect");
	return inspector;
}

static void fill_some(struct thread *t)
{
	unsigned char value[VALUE_MAX];
	char key[16];
	uint64_t k = chance(t, 100000);
	size_t n = key_of(key, "fill", k), bytes = 24 + chance(t, VALUE_MAX - 24);
	value_make(value, k, t->done, bytes);
	good(larder_set(t->cache, 0, key, n, value, bytes, chance(t, 4) ? LARDER_TTL_DEFAULT : 3), "set");
}

static void run_keys_with(struct thread *t, bool crowded, bool times)
{
	uint64_t number = 1;
	struct larder *inspector = t->number < WRITERS ? NULL : inspect();
	for (; !time_is_up(); t->done++) {
		if (t->number >= WRITERS) {
			read_any(t, inspector);
			continue;
		}
		write_track(t, chance(t, KEYS / WRITERS) * WRITERS + t->number, ++number, times ? (int64_t)chance(t, 10) + 1 : LARDER_TTL_DEFAULT);
		for (unsigned i = 0; crowded && i < 4; i++)
			fill_some(t);
	}
	larder_close(&inspector);
}

static void run_keys(struct thread *t) { run_keys_with(t, false, false); }
static void run_keys_expiring(struct thread *t) { run_keys_with(t, false, true); }
static void run_keys_evicted(struct thread *t) { run_keys_with(t, true, false); }

/* ---- Samples of segments ---------------------------------------------------------------------------------------------------- */

/* Values of many sizes, most of which live long and some not: segments of main are looked at for how much of them has expired
 * while the places in them are split and written again. */
static void run_sampled(struct thread *t)
{
	unsigned char value[VALUE_MAX];
	char key[16];
	for (; !time_is_up(); t->done++) {
		uint64_t k = chance(t, chance(t, 4) ? 1200 : 50000);
		size_t n = key_of(key, "sampled", k), bytes = 0;
		enum larder_status status = larder_get(t->cache, 0, key, n, value, sizeof value, &bytes);
		good(status, "get");
		if (status == LARDER_OK)
			value_check(value, k, bytes);
		bytes = 100 + chance(t, 400);
		value_make(value, k, t->done, bytes);
		good(larder_set(t->cache, 0, key, n, value, bytes, chance(t, 3) ? 200000 : 30), "set");
	}
}

/* ---- Flushes -------------------------------------------------------------------------------------------------------------------- */

static void flush_all_tracks(struct thread *t)
{
	uint64_t before[KEYS];
	for (unsigned k = 0; k < KEYS; k++)
		before[k] = atomic_load(&tracks[k].written);
	good(chance(t, 2) ? larder_flush(t->cache, 0) : larder_flush_soft(t->cache, 0), "flush");
	for (unsigned k = 0; k < KEYS; k++) {
		uint64_t gone = atomic_load(&tracks[k].gone);
		while (gone < before[k] && !atomic_compare_exchange_weak(&tracks[k].gone, &gone, before[k]))
			;
	}
}

static void run_flush(struct thread *t)
{
	uint64_t number = 1;
	unsigned char value[64];
	char key[16];
	struct larder *inspector = inspect();
	for (; !time_is_up(); t->done++) {
		uint64_t k = chance(t, KEYS / WRITERS) * WRITERS + t->number;
		if (t->number + 1 == THREADS) {
			flush_all_tracks(t);
		} else if (t->number < WRITERS) {
			value_make(value, k, ++number, sizeof value);
			good(larder_set(t->cache, 0, key, key_of(key, "key", k), value, sizeof value, LARDER_TTL_DEFAULT), "set");
			atomic_store(&tracks[k].written, number);
		} else {
			/* A value written before the last flush may be missing, but none from before it may be there. */
			size_t bytes;
			uint64_t gone = atomic_load(&tracks[k % KEYS].gone);
			enum larder_status status = larder_get(chance(t, 4) ? t->cache : inspector, 0, key, key_of(key, "key", k % KEYS), value,
					sizeof value, &bytes);
			good(status, "get");
			if (status == LARDER_OK)
				judge(k % KEYS, value_check(value, k % KEYS, bytes), 0, gone);
		}
	}
	larder_close(&inspector);
}

/* ---- Exact sums ------------------------------------------------------------------------------------------------------------------- */

static _Atomic int64_t sums[KEYS];

static void run_counters(struct thread *t)
{
	char key[16], digits[24];
	for (; !time_is_up(); t->done++) {
		uint64_t k = chance(t, 3), which = chance(t, 100);
		size_t n = key_of(key, "count", k);
		int64_t delta = (int64_t)chance(t, 100) - 40, sum;
		if (which == 0) {
			good(larder_touch(t->cache, 0, key, n, chance(t, 2) ? LARDER_TTL_NONE : 100000), "touch");
		} else if (which == 1) {
			good(larder_get(t->cache, 0, key, n, digits, sizeof digits, NULL), "get");
		} else {
			good(larder_incr(t->cache, 0, key, n, delta, &sum), "incr");
			atomic_fetch_add(&sums[k], delta);
		}
	}
}

static void finish_counters(void)
{
	char key[16];
	for (uint64_t k = 0; k < 3; k++) {
		int64_t sum = 0;
		good(larder_incr(cache, 0, key, key_of(key, "count", k), 0, &sum), "incr");
		if (sum != atomic_load(&sums[k]))
			wrong("counter %lu is %ld, and %ld were added", (unsigned long)k, (long)sum, (long)atomic_load(&sums[k]));
	}
}

static void run_cas(struct thread *t)
{
	char key[16];
	for (; !time_is_up(); t->done++) {
		uint64_t k = chance(t, 2);
		size_t n = key_of(key, "cas", k);
		struct larder_meta meta;
		int64_t value = 0;
		enum larder_status status = larder_get_with(t->cache, 0, key, n, &value, sizeof value, NULL, 0, &meta);
		value++;
		if (status == LARDER_MISS)
			status = larder_add(t->cache, 0, key, n, &value, sizeof value, LARDER_TTL_DEFAULT);
		else
			status = larder_cas(t->cache, 0, key, n, &value, sizeof value, LARDER_TTL_DEFAULT, meta.version);
		good(status, "cas");
		if (status == LARDER_MISS)
			wrong("cas misses a key that nobody deletes");
		atomic_fetch_add(&sums[k], status == LARDER_OK);
	}
}

static void finish_cas(void)
{
	char key[16];
	for (uint64_t k = 0; k < 2; k++) {
		int64_t value = 0;
		good(larder_get(cache, 0, key, key_of(key, "cas", k), &value, sizeof value, NULL), "get");
		if (value != atomic_load(&sums[k]))
			wrong("key %lu is %ld, and %ld cas succeeded", (unsigned long)k, (long)value, (long)atomic_load(&sums[k]));
	}
}

/* ---- Nothing lost in an exchange, nothing in an append -------------------------------------------------------------------------------- */

static _Atomic uint64_t tokens_in, tokens_out; /* sums of all that was put in and taken out */

static void run_exchange(struct thread *t)
{
	uint64_t token = t->number + 1, old;
	for (; !time_is_up(); t->done++, token += THREADS) {
		enum larder_status status = larder_get_and_set(t->cache, 0, "token", 5, &token, sizeof token, LARDER_TTL_DEFAULT, &old, sizeof old, NULL);
		good(status, "get and set");
		atomic_fetch_add(&tokens_in, token * token);
		if (status == LARDER_OK)
			atomic_fetch_add(&tokens_out, old * old);
	}
}

static void finish_exchange(void)
{
	uint64_t last = 0;
	good(larder_get(cache, 0, "token", 5, &last, sizeof last, NULL), "get");
	if (atomic_load(&tokens_in) != atomic_load(&tokens_out) + last * last)
		wrong("tokens were lost or doubled");
}

static void run_append(struct thread *t)
{
	char key[16];
	for (uint64_t round = 0; together(); round++) {
		size_t n = key_of(key, "log", round % 100);
		unsigned char log[THREADS * 40], seen[THREADS] = { 0 };
		size_t bytes = 0;
		if (t->number == 0)
			good(larder_set(t->cache, 0, key, n, NULL, 0, LARDER_TTL_DEFAULT), "set");
		(void)together();
		for (unsigned char i = 0; i < 20; i++) {
			unsigned char line[2] = { (unsigned char)t->number, i };
			if (larder_append(t->cache, 0, key, n, line, sizeof line) != LARDER_OK)
				wrong("append failed");
		}
		(void)together();
		good(larder_get(t->cache, 0, key, n, log, sizeof log, &bytes), "get");
		if (bytes != sizeof log)
			wrong("%zu bytes were appended, not %zu", bytes, sizeof log);
		for (unsigned i = 0; i < bytes; i += 2) /* each thread's lines in their order */
			if (log[i] >= THREADS || log[i + 1] != seen[log[i]]++)
				wrong("a line was lost or doubled");
		t->done += 20;
	}
}

/* ---- Pins while everything is evicted ---------------------------------------------------------------------------------------------------- */

static void run_pins(struct thread *t)
{
	enum { HELD = 8 };
	struct larder_pin pins[HELD];
	uint64_t keys[HELD], numbers[HELD];
	unsigned held = 0;
	char key[16];
	for (; !time_is_up(); t->done++) {
		fill_some(t);
		uint64_t k = chance(t, 2) ? chance(t, 100000) : t->done % 300;
		if (chance(t, 3))
			continue;
		if (held == HELD) {
			unsigned out = (unsigned)chance(t, HELD);
			if (value_check(pins[out].data, keys[out], pins[out].length) != numbers[out])
				wrong("a pinned value is another one now");
			larder_unpin(t->cache, &pins[out]);
			held--;
			pins[out] = pins[held];
			pins[out].iov = pins[out].own.iov;
			keys[out] = keys[held];
			numbers[out] = numbers[held];
		}
		enum larder_status status = larder_pin(t->cache, 0, key, key_of(key, "fill", k), 0, &pins[held]);
		good(status, "pin");
		if (status != LARDER_OK)
			continue;
		keys[held] = k;
		numbers[held] = value_check(pins[held].data, k, pins[held].length);
		held++;
	}
	while (held-- > 0)
		larder_unpin(t->cache, &pins[held]);
}

/* ---- Values of many pieces ---------------------------------------------------------------------------------------------------------------- */

static void run_large(struct thread *t)
{
	unsigned char *value = malloc(70000);
	char key[16];
	for (; !time_is_up(); t->done++) {
		uint64_t k = chance(t, 6);
		size_t n = key_of(key, "large", k), bytes = 24 + chance(t, 30000);
		struct larder_pin pin;
		enum larder_status status;
		switch (chance(t, 6)) {
		case 0:
		case 1:
			value_make(value, k, t->done * THREADS + t->number, bytes);
			good(larder_set(t->cache, 0, key, n, value, bytes, LARDER_TTL_DEFAULT), "set");
			break;
		case 2:
			good(larder_delete(t->cache, 0, key, n), "delete");
			break;
		case 3:
			status = larder_pin(t->cache, 0, key, n, 0, &pin);
			if (status != LARDER_NO_PIN)
				good(status, "pin");
			bytes = 0;
			for (unsigned i = 0; status == LARDER_OK && i < pin.iov_count; i++) {
				memcpy(value + bytes, pin.iov[i].iov_base, pin.iov[i].iov_len);
				bytes += pin.iov[i].iov_len;
			}
			if (status == LARDER_OK)
				(void)value_check(value, k, bytes);
			larder_unpin(t->cache, &pin);
			break;
		default:
			status = larder_get(t->cache, 0, key, n, value, 70000, &bytes);
			good(status, "get");
			if (status == LARDER_OK)
				(void)value_check(value, k, bytes);
		}
	}
	free(value);
}

/* ---- Threads that come and go ---------------------------------------------------------------------------------------------------------------- */

static void *short_life(void *arg)
{
	struct thread *t = arg;
	for (unsigned i = 0; i < 20; i++) {
		fill_some(t);
		read_copy(t, t->cache, chance(t, KEYS));
	}
	return NULL;
}

static void run_lives(struct thread *t)
{
	for (; !time_is_up(); t->done++) {
		struct thread child = { .number = t->number, .random = chance(t, UINT64_MAX >> 12) | 1, .cache = t->cache };
		if (pthread_create(&child.id, NULL, short_life, &child) != 0)
			wrong("no thread");
		fill_some(t);
		(void)pthread_join(child.id, NULL);
	}
}

/* ---- The list ------------------------------------------------------------------------------------------------------------------------------------ */

#define ROOMY { .size = sizeof(struct larder_options), .bytes = 64 << 20, .participants = 64, .namespaces = 16 }
#define ROOMY_CHECKSUM { .size = sizeof(struct larder_options), .bytes = 64 << 20, .create_flags = LARDER_CHECKSUM, .participants = 64, .namespaces = 16 }
#define TINY { .size = sizeof(struct larder_options), .bytes = 1 << 20, .segments = 128, .participants = 64, .namespaces = 16 }
#define TINY_PLAIN { .size = sizeof(struct larder_options), .bytes = 1 << 20, .segments = 128, .create_flags = LARDER_PLAIN, .participants = 64, .namespaces = 16 }

const struct race races[] = {
	{ "add", ROOMY, run_add, NULL },
	{ "balance", ROOMY, run_balance, finish_balance },
	{ "keys", ROOMY, run_keys, NULL },
	{ "keys-checksum", ROOMY_CHECKSUM, run_keys, NULL },
	{ "keys-expiring", TINY, run_keys_expiring, NULL },
	{ "keys-sampled", TINY, run_sampled, NULL },
	{ "keys-evicted", TINY_PLAIN, run_keys_evicted, NULL },
	{ "flush", ROOMY, run_flush, NULL },
	{ "counters", ROOMY, run_counters, finish_counters },
	{ "cas", ROOMY, run_cas, finish_cas },
	{ "exchange", ROOMY, run_exchange, finish_exchange },
	{ "append", ROOMY, run_append, NULL },
	{ "pins", TINY, run_pins, NULL },
	{ "large", TINY, run_large, NULL },
	{ "lives", TINY, run_lives, NULL },
};
const unsigned race_count = sizeof races / sizeof *races;
