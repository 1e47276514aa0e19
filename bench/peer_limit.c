/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limit: what memory allows.  A get hashes the key, loads one line of an index, from it the place of a record, and
 * copies the value out: two dependent loads over as much memory as a good cache needs.  A set does the same two loads
 * and writes the record.  Nothing is compared, nothing is validated, nothing is ever absent, moved or evicted.
 *
 * An index line is 15 record numbers and a factor: the hash times the factor chooses one of the 15. Loading looks for
 * a factor for each line by which no two of its keys choose the same, so that all records are in use and the value
 * really is that of the key.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "keys.h"
#include "memory.h"
#include "peer.h"

#define LINE_WORDS 15u
#define KEYS_PER_LINE 4.55 /* the load of a bucket of seven at 0.65: as much index as the cache has */
#define FACTORS 20000u

struct line {
	uint32_t records[LINE_WORDS];
	uint32_t factor;
};

struct record {
	uint64_t header; /* read and written back by a set: the second load, and the state any cache has to keep */
	uint8_t bytes[]; /* key, value */
};

struct limit {
	uint64_t lines, record_bytes, records;
	struct line *index;
	uint8_t *store;
	unsigned key_bytes, value_bytes;
	int64_t *counter;
};

static inline struct line *line_of(const struct limit *limit, uint64_t hash)
{
	return &limit->index[spread(hash, limit->lines)];
}

/* The line is chosen by the high bits, the word by what the factor brings up from the low ones. */
static inline unsigned word_of(uint64_t hash, uint32_t factor)
{
	return (unsigned)((uint64_t)((uint32_t)hash * factor) * LINE_WORDS >> 32);
}

/* The hash is the library's function, called, as it is for every peer that does not bring its own. */
static inline struct record *record_of(const struct limit *limit, const uint8_t *key)
{
	uint64_t hash = XXH3_64bits(key, limit->key_bytes);
	const struct line *line = line_of(limit, hash);
	uint32_t number = line->records[word_of(hash, line->factor)];

	return (struct record *)(void *)(limit->store + number * limit->record_bytes);
}

static int limit_get(void *seat, const uint8_t *key, uint8_t *value)
{
	const struct limit *limit = seat;
	const struct record *record = record_of(limit, key);

	if (limit->value_bytes == 64)
		memcpy(value, record->bytes + limit->key_bytes, 64);
	else
		memcpy(value, record->bytes + limit->key_bytes, limit->value_bytes);
	return (int)limit->value_bytes;
}

static int limit_set(void *seat, const uint8_t *key, const uint8_t *value)
{
	const struct limit *limit = seat;
	struct record *record = record_of(limit, key);

	record->header++;
	memcpy(record->bytes, key, limit->key_bytes);
	if (limit->value_bytes == 64)
		memcpy(record->bytes + limit->key_bytes, value, 64);
	else
		memcpy(record->bytes + limit->key_bytes, value, limit->value_bytes);
	return 0;
}

/* Step by step over the whole batch, so that the loads of one step overlap; no prefetch, as little as in a get. */
static unsigned limit_mget(void *seat, const uint8_t *keys, unsigned count, uint8_t *values)
{
	const struct limit *limit = seat;
	const uint8_t *records[64];

	for (unsigned i = 0; i < count; i++)
		records[i] = record_of(limit, keys + i * limit->key_bytes)->bytes + limit->key_bytes;
	for (unsigned i = 0; i < count; i++) {
		if (limit->value_bytes == 64)
			memcpy(values + (size_t)i * 64, records[i], 64);
		else
			memcpy(values + (size_t)i * limit->value_bytes, records[i], limit->value_bytes);
	}
	return count;
}

static int limit_incr(void *seat, const uint8_t *key, int64_t *sum)
{
	const struct limit *limit = seat;

	(void)key;
	*sum = __atomic_add_fetch(limit->counter, 1, __ATOMIC_SEQ_CST);
	return 0;
}

/* ---- loading ---- */

struct placing {
	uint64_t hash;
	uint64_t number;
};

static int by_hash(const void *a, const void *b)
{
	uint64_t x = ((const struct placing *)a)->hash, y = ((const struct placing *)b)->hash;

	return (x > y) - (x < y);
}

static unsigned clashes_of(const struct placing *keys, uint64_t count, uint32_t factor)
{
	unsigned seen = 0, clashes = 0;

	for (uint64_t i = 0; i < count; i++) {
		unsigned bit = 1u << word_of(keys[i].hash, factor);

		clashes += (seen & bit) != 0;
		seen |= bit;
	}
	return clashes;
}

/* The factor by which the fewest keys of a line fall together: none, but for one line in thousands. */
static uint32_t best_factor(const struct placing *keys, uint64_t count)
{
	unsigned best_clashes = ~0u;
	uint64_t state = 1;
	uint32_t best = 1;

	for (unsigned i = 0; i < FACTORS && best_clashes > 0; i++) {
		uint32_t factor = (uint32_t)random_next(&state) | 1;
		unsigned clashes = clashes_of(keys, count, factor);

		if (clashes >= best_clashes)
			continue;
		best_clashes = clashes;
		best = factor;
	}
	return best;
}

/* Keys sorted by hash lie in the order of their lines. */
static void place(struct limit *limit, const struct placing *keys, uint64_t count)
{
	for (uint64_t i = 0, next; i < count; i = next) {
		struct line *line = line_of(limit, keys[i].hash);

		for (next = i + 1; next < count && line_of(limit, keys[next].hash) == line; next++)
			;
		line->factor = best_factor(keys + i, next - i);
		for (uint64_t j = i; j < next; j++)
			line->records[word_of(keys[j].hash, line->factor)] = (uint32_t)keys[j].number;
	}
}

static int limit_index(struct peer *peer, struct limit *limit)
{
	struct placing *keys = malloc(peer->shape.keys * sizeof *keys);
	uint8_t key[KEY_BYTES_MAX];

	if (!keys)
		return peer_fail(peer, "out of memory");
	for (uint64_t n = 0; n < peer->shape.keys; n++) {
		key_make(key, limit->key_bytes, n);
		keys[n] = (struct placing){ XXH3_64bits(key, limit->key_bytes), n };
	}
	qsort(keys, peer->shape.keys, sizeof *keys, by_hash);
	place(limit, keys, peer->shape.keys);
	free(keys);
	return 0;
}

static int limit_create(struct peer *peer)
{
	struct limit *limit = calloc(1, sizeof *limit);

	if (!limit)
		return peer_fail(peer, "out of memory");
	peer->state = limit;
	limit->key_bytes = peer->shape.key_bytes;
	limit->value_bytes = peer->shape.value_bytes;
	limit->records = peer->shape.keys;
	limit->lines = (uint64_t)((double)peer->shape.keys / KEYS_PER_LINE) + 1;
	limit->record_bytes = (sizeof(struct record) + limit->key_bytes + limit->value_bytes + 7) & ~UINT64_C(7);
	limit->index = memory_shared(limit->lines * sizeof *limit->index, peer->shape.huge);
	limit->store = memory_shared(limit->records * limit->record_bytes, peer->shape.huge);
	limit->counter = memory_shared(4096, false);
	if (!limit->index || !limit->store || !limit->counter)
		return peer_fail(peer, "out of memory");
	return limit_index(peer, limit);
}

static int limit_join(struct peer *peer, void **seat)
{
	*seat = peer->state;
	return 0;
}

static uint64_t limit_memory(struct peer *peer)
{
	const struct limit *limit = peer->state;

	return limit->lines * sizeof *limit->index + limit->records * limit->record_bytes;
}

static void limit_destroy(struct peer *peer)
{
	struct limit *limit = peer->state;

	memory_free(limit->index, limit->lines * sizeof *limit->index);
	memory_free(limit->store, limit->records * limit->record_bytes);
	memory_free(limit->counter, 4096);
	free(limit);
	peer->state = NULL;
}

const struct peer_kind peer_limit = {
	.name = "limit",
	.text = "hash, two dependent loads, copy; nothing compared or validated",
	.scope = PEER_PROCESSES,
	.create = limit_create,
	.join = limit_join,
	.get = limit_get,
	.set = limit_set,
	.mget = limit_mget,
	.incr = limit_incr,
	.memory = limit_memory,
	.destroy = limit_destroy,
};
