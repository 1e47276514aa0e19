/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker of larder-storm: calls of every kind on shared keys, own keys, counters and lists, in random order, each
 * timed, each answer checked.  It is killed and stopped anywhere in this; nothing it needs later lies in its own memory.
 */
#include "storm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHARED_KEYS 12000u
#define OWN_KEYS 24u
#define LISTS 40u
#define PIECE 16u
#define VALUE_MAX (64u << 10)
#define TOLD_MAX 3u

/* What a reader saw last of one writer's on one key. */
struct seen {
	uint32_t writer, sequence;
};

struct worker {
	struct storm *storm;
	struct storm_worker *shared;
	struct larder *cache;
	struct rng rng;
	unsigned number;
	uint32_t writer, sequence;
	uint64_t calls, epoch;
	struct stopwatch watch;
	struct seen *seen; /* [key][worker] */
	uint32_t own[OWN_KEYS];
	int64_t counter[STORM_COUNTERS];
	char key[64];
	size_t key_bytes;
	uint32_t ns;
	unsigned char value[VALUE_MAX], read[VALUE_MAX];
};

const int64_t storm_ttls_ms[STORM_TTLS] = { LARDER_TTL_NONE, 20, 60000 };

size_t storm_counter_key(char *key, size_t size, unsigned number)
{
	return (size_t)snprintf(key, size, "counter.%u", number);
}

/* ---- Complaints and the clock ---- */

static void wrong(struct worker *worker, enum storm_tally tally, const char *what)
{
	worker->shared->tally[tally]++;
	if (worker->shared->told++ < TOLD_MAX)
		tap_note("worker %u, generation %u, key %s: %s", worker->number, worker->shared->generation, worker->key, what);
}

static void begin(struct worker *worker)
{
	worker->epoch = atomic_load(&worker->shared->epoch);
	atomic_store(&worker->shared->in_call, ++worker->calls);
	stopwatch_start(&worker->watch);
}

/* Statuses above or at 0 are answers; the others have no place in an undamaged cache with room for everybody. */
static enum larder_status end(struct worker *worker, enum larder_status status)
{
	uint64_t wall_ns;
	bool held_back = stopwatch_held_back(&worker->watch, &wall_ns);

	atomic_store(&worker->shared->in_call, 0);
	worker->shared->tally[TALLY_CALLS]++;
	if (!(worker->epoch & 1) && worker->epoch == atomic_load(&worker->shared->epoch)) {
		if (held_back)
			wrong(worker, TALLY_HELD_BACK, "held back");
		if (wall_ns > atomic_load(&worker->storm->slowest_ns))
			atomic_store(&worker->storm->slowest_ns, wall_ns);
	}
	if (status < 0 && status != LARDER_NO_PIN)
		wrong(worker, TALLY_FAILED, larder_strerror(status));
	return status;
}

/* ---- Keys and values ---- */

/* Some keys are hot. */
static unsigned choose_key(struct worker *worker)
{
	uint64_t one = rng_below(&worker->rng, SHARED_KEYS);

	if (rng_below(&worker->rng, 2) == 0)
		one = rng_below(&worker->rng, one / 50 + 1);
	worker->key_bytes = (size_t)snprintf(worker->key, sizeof worker->key, "shared.%u", (unsigned)one);
	worker->ns = one % 64 == 63 ? worker->storm->flushed_ns : 0;
	return (unsigned)one;
}

static size_t choose_bytes(struct worker *worker)
{
	uint64_t choice = rng_below(&worker->rng, 200);

	if (choice == 0)
		return STAMP_BYTES_MIN + rng_below(&worker->rng, VALUE_MAX - STAMP_BYTES_MIN);
	if (choice < 10)
		return STAMP_BYTES_MIN + rng_below(&worker->rng, 4000);
	return choice & 1 ? 100 : STAMP_BYTES_MIN + rng_below(&worker->rng, 400);
}

static size_t make_value(struct worker *worker)
{
	size_t length = choose_bytes(worker);

	stamp_write(worker->value, length, worker->key, worker->key_bytes, worker->writer, ++worker->sequence);
	return length;
}

/* Of one writer's values a reader never sees an older one after a newer one. */
static void check_age(struct worker *worker, unsigned key, const struct stamp *stamp)
{
	struct seen *seen = &worker->seen[(size_t)key * STORM_WORKERS_MAX + (stamp->writer >> 24) % STORM_WORKERS_MAX];

	if (seen->writer == stamp->writer && stamp->sequence < seen->sequence)
		wrong(worker, TALLY_STALE, "an older value than seen before");
	*seen = (struct seen){ stamp->writer, stamp->sequence };
}

static bool check_whole(struct worker *worker, const void *bytes, size_t length, struct stamp *stamp)
{
	enum stamp_fault fault = stamp_read(bytes, length, worker->key, worker->key_bytes, stamp);

	if (fault == STAMP_WHOLE)
		return true;
	wrong(worker, fault == STAMP_TORN ? TALLY_TORN : TALLY_FOREIGN, stamp_fault_name(fault));
	return false;
}

static void check_value(struct worker *worker, unsigned key, const void *bytes, size_t length)
{
	struct stamp stamp;

	worker->shared->tally[TALLY_HITS]++;
	if (check_whole(worker, bytes, length, &stamp))
		check_age(worker, key, &stamp);
}

/* ---- Calls on shared keys ---- */

static void do_get(struct worker *worker)
{
	unsigned key = choose_key(worker);
	size_t length = 0;

	begin(worker);
	if (end(worker, larder_get(worker->cache, worker->ns, worker->key, worker->key_bytes, worker->read,
			sizeof worker->read, &length)) == LARDER_OK)
		check_value(worker, key, worker->read, length);
}

/* While it is pinned the value must not change, whatever the others do. */
static void do_pin(struct worker *worker)
{
	unsigned key = choose_key(worker);
	struct larder_pin pin;
	size_t length = 0;

	begin(worker);
	if (end(worker, larder_pin(worker->cache, worker->ns, worker->key, worker->key_bytes, 0, &pin)) != LARDER_OK)
		return;
	if (rng_below(&worker->rng, 16) == 0)
		sleep_us(300);
	for (unsigned i = 0; i < pin.iov_count && length + pin.iov[i].iov_len <= sizeof worker->read; i++) {
		memcpy(worker->read + length, pin.iov[i].iov_base, pin.iov[i].iov_len);
		length += pin.iov[i].iov_len;
	}
	check_value(worker, key, worker->read, length);
	larder_unpin(worker->cache, &pin);
}

/* The order in time of the gets within one call is not known, so nothing is said about age. */
static void do_mget(struct worker *worker)
{
	enum { MANY = 8, EACH = 4096 };
	struct larder_item items[MANY];
	char keys[MANY][sizeof worker->key];
	struct stamp stamp;

	for (unsigned i = 0; i < MANY; i++) {
		do
			choose_key(worker);
		while (worker->ns != 0);
		memcpy(keys[i], worker->key, sizeof keys[i]);
		items[i] = (struct larder_item){ .key = keys[i], .key_bytes = worker->key_bytes,
			.value = worker->read + (size_t)i * EACH, .value_bytes = EACH };
	}
	begin(worker);
	if (end(worker, larder_mget(worker->cache, 0, items, MANY)) != LARDER_OK)
		return;
	for (unsigned i = 0; i < MANY; i++) {
		if (items[i].status != LARDER_OK)
			continue;
		memcpy(worker->key, keys[i], sizeof worker->key);
		worker->key_bytes = items[i].key_bytes;
		worker->shared->tally[TALLY_HITS]++;
		check_whole(worker, items[i].value, items[i].value_bytes, &stamp);
	}
}

static void do_write(struct worker *worker)
{
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	uint64_t choice = rng_below(&worker->rng, 20);
	size_t length;

	choose_key(worker);
	length = make_value(worker);
	options.mode = choice < 16 ? LARDER_SET : choice < 18 ? LARDER_ADD : LARDER_REPLACE;
	options.ttl_ms = storm_ttls_ms[rng_below(&worker->rng, 10) == 0];
	begin(worker);
	end(worker, larder_set_with(worker->cache, worker->ns, worker->key, worker->key_bytes, worker->value, length,
			&options, NULL));
}

static void do_cas(struct worker *worker)
{
	unsigned key = choose_key(worker);
	struct larder_meta meta;
	size_t length = 0;

	begin(worker);
	if (end(worker, larder_get_with(worker->cache, worker->ns, worker->key, worker->key_bytes, worker->read,
			sizeof worker->read, &length, 0, &meta)) != LARDER_OK)
		return;
	check_value(worker, key, worker->read, length);
	length = make_value(worker);
	begin(worker);
	end(worker, larder_cas(worker->cache, worker->ns, worker->key, worker->key_bytes, worker->value, length,
			LARDER_TTL_NONE, meta.version));
}

static void do_swap(struct worker *worker)
{
	unsigned key = choose_key(worker);
	size_t length = make_value(worker), old = 0;

	begin(worker);
	if (end(worker, larder_get_and_set(worker->cache, worker->ns, worker->key, worker->key_bytes, worker->value, length,
			LARDER_TTL_NONE, worker->read, sizeof worker->read, &old)) == LARDER_OK)
		check_value(worker, key, worker->read, old);
}

static void do_delete(struct worker *worker)
{
	choose_key(worker);
	begin(worker);
	end(worker, larder_delete(worker->cache, worker->ns, worker->key, worker->key_bytes));
}

static void do_touch(struct worker *worker)
{
	choose_key(worker);
	begin(worker);
	end(worker, larder_touch(worker->cache, worker->ns, worker->key, worker->key_bytes,
			storm_ttls_ms[rng_below(&worker->rng, 2) ? 0 : 2]));
}

static void do_flush(struct worker *worker)
{
	if (rng_below(&worker->rng, 20) != 0)
		return;
	begin(worker);
	end(worker, larder_flush(worker->cache, worker->storm->flushed_ns));
}

/* ---- Counters, lists, own keys ---- */

static void do_incr(struct worker *worker)
{
	unsigned number = (unsigned)rng_below(&worker->rng, STORM_COUNTERS);
	enum larder_status status;
	int64_t sum = 0;

	worker->key_bytes = storm_counter_key(worker->key, sizeof worker->key, number);
	begin(worker);
	status = end(worker, larder_incr_with(worker->cache, 0, worker->key, worker->key_bytes, 1, false, 0,
			LARDER_TTL_NONE, &sum));
	if (status == LARDER_MISS)
		atomic_store(&worker->storm->counter_gone[number], true);
	if (status != LARDER_OK)
		return;
	worker->shared->increments[number]++;
	if (sum <= worker->counter[number])
		wrong(worker, TALLY_STALE, "a counter that fell");
	worker->counter[number] = sum;
}

/* A list is made of pieces, each written whole by one append. */
static void make_piece(struct worker *worker, unsigned char *piece)
{
	uint32_t words[PIECE / 4] = { worker->writer, ++worker->sequence, 0, UINT32_C(0x6c697374) };

	words[2] = (words[0] * 31 + words[1]) ^ UINT32_C(0x5eed5eed);
	memcpy(piece, words, PIECE);
}

static void check_list(struct worker *worker, const unsigned char *bytes, size_t length)
{
	uint32_t words[PIECE / 4];

	worker->shared->tally[TALLY_HITS]++;
	for (size_t at = 0; at + PIECE <= length; at += PIECE) {
		memcpy(words, bytes + at, PIECE);
		if (words[2] != ((words[0] * 31 + words[1]) ^ UINT32_C(0x5eed5eed)) || words[3] != UINT32_C(0x6c697374))
			length = 1;
	}
	if (length % PIECE != 0)
		wrong(worker, TALLY_TORN, "a list of broken pieces");
}

static void do_list(struct worker *worker)
{
	unsigned char piece[PIECE];
	size_t length = 0;

	worker->ns = 0;
	worker->key_bytes = (size_t)snprintf(worker->key, sizeof worker->key, "list.%u", (unsigned)rng_below(&worker->rng, LISTS));
	make_piece(worker, piece);
	begin(worker);
	if (end(worker, larder_append(worker->cache, 0, worker->key, worker->key_bytes, piece, PIECE)) == LARDER_MISS) {
		begin(worker);
		end(worker, larder_add(worker->cache, 0, worker->key, worker->key_bytes, piece, PIECE, LARDER_TTL_NONE));
	}
	begin(worker);
	if (end(worker, larder_get(worker->cache, 0, worker->key, worker->key_bytes, worker->read, sizeof worker->read,
			&length)) != LARDER_OK)
		return;
	check_list(worker, worker->read, length);
	if (length < 3000)
		return;
	begin(worker);
	end(worker, larder_delete(worker->cache, 0, worker->key, worker->key_bytes));
}

static void check_own(struct worker *worker, unsigned number)
{
	struct stamp stamp;
	size_t length = 0;
	enum larder_status status;

	begin(worker);
	status = end(worker, larder_get(worker->cache, 0, worker->key, worker->key_bytes, worker->read, sizeof worker->read,
			&length));
	if (status == LARDER_MISS)
		worker->own[number] = 0;
	if (status != LARDER_OK || !check_whole(worker, worker->read, length, &stamp))
		return;
	worker->shared->tally[TALLY_HITS]++;
	if (stamp.sequence != worker->own[number] || stamp.writer != worker->writer)
		wrong(worker, TALLY_OWN, worker->own[number] ? "not as last written" : "risen after it had gone");
}

/* Keys that nobody else writes. */
static void do_own(struct worker *worker)
{
	unsigned number = (unsigned)rng_below(&worker->rng, OWN_KEYS);
	uint64_t choice = rng_below(&worker->rng, 8);
	size_t length;

	worker->ns = 0;
	worker->key_bytes = (size_t)snprintf(worker->key, sizeof worker->key, "own.%08x.%u", worker->writer, number);
	check_own(worker, number);
	if (choice < 4) {
		length = make_value(worker);
		begin(worker);
		if (end(worker, larder_set(worker->cache, 0, worker->key, worker->key_bytes, worker->value, length,
				LARDER_TTL_NONE)) == LARDER_OK)
			worker->own[number] = worker->sequence;
	} else if (choice == 4) {
		begin(worker);
		end(worker, larder_delete(worker->cache, 0, worker->key, worker->key_bytes));
		worker->own[number] = 0;
	}
	check_own(worker, number);
}

/* ---- The rest ---- */

static bool see_entry(const struct larder_entry *entry, void *arg)
{
	struct worker *worker = arg;
	struct stamp stamp;

	if (entry->key_bytes >= sizeof worker->key || entry->value == NULL || entry->meta.value_bytes > VALUE_MAX)
		return true;
	memcpy(worker->key, entry->key, entry->key_bytes);
	worker->key[entry->key_bytes] = '\0';
	worker->key_bytes = entry->key_bytes;
	check_whole(worker, entry->value, entry->meta.value_bytes, &stamp);
	return true;
}

/* A walk over the whole index is no bounded call: it is not timed. */
static void do_walk(struct worker *worker)
{
	struct larder_stat stat;

	if (rng_below(&worker->rng, 40) != 0)
		return;
	worker->shared->tally[TALLY_CALLS]++;
	if (larder_iterate(worker->cache, LARDER_ALL_NAMESPACES, "shared.1", 8, LARDER_ITERATE_VALUES, see_entry, worker) < 0 ||
			larder_stat(worker->cache, &stat) != LARDER_OK)
		wrong(worker, TALLY_FAILED, "iterate or stat failed");
}

static void do_maintain(struct worker *worker)
{
	begin(worker);
	end(worker, larder_maintain(worker->cache, 16384, NULL));
}

/* Handles come and go, too. */
static void do_reopen(struct worker *worker)
{
	if (rng_below(&worker->rng, 20) != 0)
		return;
	larder_close(&worker->cache);
	if (larder_open(worker->storm->path, 0, &worker->cache) != LARDER_OK) {
		wrong(worker, TALLY_FAILED, larder_message());
		_exit(3);
	}
}

static const struct {
	unsigned weight;
	void (*run)(struct worker *);
} mix[] = {
	{ 34, do_get }, { 8, do_pin }, { 4, do_mget }, { 20, do_write }, { 4, do_cas }, { 3, do_swap }, { 6, do_delete },
	{ 4, do_touch }, { 6, do_incr }, { 3, do_list }, { 4, do_own }, { 1, do_flush }, { 1, do_walk }, { 1, do_maintain },
	{ 1, do_reopen },
};

static void one_call(struct worker *worker)
{
	uint64_t choice = rng_below(&worker->rng, 100);

	for (size_t i = 0; i < sizeof mix / sizeof mix[0]; i++) {
		if (choice < mix[i].weight) {
			mix[i].run(worker);
			return;
		}
		choice -= mix[i].weight;
	}
}

void storm_work(struct storm *storm, unsigned number)
{
	static struct worker worker;

	worker.storm = storm;
	worker.shared = &storm->workers[number];
	worker.number = number;
	worker.writer = number << 24 | (worker.shared->generation & 0xffffff);
	worker.rng.state = storm->seed ^ (uint64_t)worker.writer << 20;
	worker.seen = calloc((size_t)SHARED_KEYS * STORM_WORKERS_MAX, sizeof *worker.seen);
	if (worker.seen == NULL || larder_open(storm->path, 0, &worker.cache) != LARDER_OK)
		_exit(3);
	while (!atomic_load_explicit(&storm->over, memory_order_relaxed))
		one_call(&worker);
	larder_close(&worker.cache);
	_exit(0);
}
