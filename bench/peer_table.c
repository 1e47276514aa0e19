/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table: what one thread can do that shares nothing: open addressing over lines of eight tags of 16 bits and eight
 * places of 48, at a load of 0.55, records appended to one array, keys compared in full.  A line is searched in
 * a few instructions and without a branch per slot: how many gets overlap in the processor is what decides, and both
 * long code and wrong guesses about a line that is not there yet take from it.  No concurrency, no expiry, no eviction.
 */
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "keys.h"
#include "memory.h"
#include "peer.h"

#define SLOTS 8u

/* A tag of 0 is a free slot; slots are filled from the front.  Places count in units of 8 bytes. */
struct line {
	uint16_t tags[SLOTS];
	uint8_t places[SLOTS][6];
};

struct record {
	uint16_t key_bytes;
	uint16_t spare;
	uint32_t value_bytes;
	uint8_t bytes[];
};

struct table {
	uint64_t lines, record_bytes, used_bytes, store_bytes;
	struct line *index;
	uint8_t *store;
	unsigned key_bytes, value_bytes;
};

static inline struct line *home_of(const struct table *table, uint64_t hash)
{
	return &table->index[spread(hash, table->lines)];
}

static inline uint16_t tag_of(uint64_t hash)
{
	return (uint16_t)((hash & 0xffff) | 1);
}

/* The two bytes before a place belong to the same line: one load of eight fetches it. */
static inline struct record *record_at(const struct table *table, const struct line *line, unsigned slot)
{
	uint64_t word;

	memcpy(&word, &line->places[slot][0] - 2, sizeof word);
	return (struct record *)(void *)(table->store + (word >> 16) * 8);
}

static inline void place_at(struct line *line, unsigned slot, uint64_t place)
{
	memcpy(line->places[slot], &place, sizeof line->places[slot]);
}

/* Two bits for each slot that could be the key's. */
static inline unsigned candidates(const struct line *line, uint16_t tag)
{
#if defined(__SSE2__)
	__m128i tags = _mm_load_si128((const __m128i *)(const void *)line->tags);

	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi16(tags, _mm_set1_epi16((short)tag)));
#else
	unsigned mask = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		mask |= (line->tags[i] == tag ? 3u : 0u) << 2 * i;
	return mask;
#endif
}

static inline bool same_key(const struct table *table, const struct record *record, const uint8_t *key)
{
	if (record->key_bytes != table->key_bytes)
		return false;
	return table->key_bytes == 16 ? memcmp(record->bytes, key, 16) == 0
			: memcmp(record->bytes, key, table->key_bytes) == 0;
}

/* The key's record and where it stands, or NULL and the line with room where it belongs. */
static inline struct record *find(const struct table *table, const uint8_t *key, uint64_t hash, struct line **at)
{
	struct line *line = home_of(table, hash);

	for (;;) {
		for (unsigned mask = candidates(line, tag_of(hash)); mask; mask &= mask - 1, mask &= mask - 1) {
			struct record *record = record_at(table, line, (unsigned)__builtin_ctz(mask) / 2);

			if (same_key(table, record, key))
				return record;
		}
		if (line->tags[SLOTS - 1] == 0) /* the search ends at a line with room */
			break;
		line = line + 1 == table->index + table->lines ? table->index : line + 1;
	}
	*at = line;
	return NULL;
}

static inline void copy_value(const struct table *table, uint8_t *into, const uint8_t *from)
{
	if (table->value_bytes == 64)
		memcpy(into, from, 64);
	else
		memcpy(into, from, table->value_bytes);
}

static int table_get(void *seat, const uint8_t *key, uint8_t *value)
{
	const struct table *table = seat;
	struct line *line;
	const struct record *record = find(table, key, XXH3_64bits(key, table->key_bytes), &line);

	if (!record)
		return -1;
	copy_value(table, value, record->bytes + record->key_bytes);
	return (int)record->value_bytes;
}

static struct record *append(struct table *table, struct line *line, uint16_t tag)
{
	unsigned slot = 0;

	if (table->used_bytes + table->record_bytes > table->store_bytes)
		return NULL;
	while (line->tags[slot])
		slot++;
	line->tags[slot] = tag;
	place_at(line, slot, table->used_bytes / 8);
	table->used_bytes += table->record_bytes;
	return record_at(table, line, slot);
}

static int table_set(void *seat, const uint8_t *key, const uint8_t *value)
{
	struct table *table = seat;
	uint64_t hash = XXH3_64bits(key, table->key_bytes);
	struct line *line;
	struct record *record = find(table, key, hash, &line);

	if (!record)
		record = append(table, line, tag_of(hash));
	if (!record)
		return -1;
	record->key_bytes = (uint16_t)table->key_bytes;
	record->value_bytes = table->value_bytes;
	memcpy(record->bytes, key, table->key_bytes);
	copy_value(table, record->bytes + table->key_bytes, value);
	return 0;
}

static unsigned table_mget(void *seat, const uint8_t *keys, unsigned count, uint8_t *values)
{
	const struct table *table = seat;
	uint64_t hashes[64];
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++) {
		hashes[i] = XXH3_64bits(keys + i * table->key_bytes, table->key_bytes);
		__builtin_prefetch(home_of(table, hashes[i]));
	}
	for (unsigned i = 0; i < count; i++) {
		const struct line *line = home_of(table, hashes[i]);
		unsigned mask = candidates(line, tag_of(hashes[i]));

		if (mask) {
			const struct record *record = record_at(table, line, (unsigned)__builtin_ctz(mask) / 2);

			__builtin_prefetch(record);
			__builtin_prefetch(record->bytes + table->key_bytes + table->value_bytes - 1);
		}
	}
	for (unsigned i = 0; i < count; i++)
		found += table_get(seat, keys + i * table->key_bytes, values + (size_t)i * table->value_bytes) >= 0;
	return found;
}

static int table_create(struct peer *peer)
{
	struct table *table = calloc(1, sizeof *table);

	if (!table)
		return peer_fail(peer, "out of memory");
	peer->state = table;
	table->key_bytes = peer->shape.key_bytes;
	table->value_bytes = peer->shape.value_bytes;
	table->lines = (uint64_t)((double)peer->shape.keys / 0.55 / SLOTS) + 1;
	table->record_bytes = (sizeof(struct record) + table->key_bytes + table->value_bytes + 7) & ~UINT64_C(7);
	table->store_bytes = (peer->shape.keys + 1024) * table->record_bytes;
	table->index = memory_shared(table->lines * sizeof *table->index, peer->shape.huge);
	table->store = memory_shared(table->store_bytes, peer->shape.huge);
	return table->index && table->store ? 0 : peer_fail(peer, "out of memory");
}

static int table_join(struct peer *peer, void **seat)
{
	*seat = peer->state;
	return 0;
}

static uint64_t table_memory(struct peer *peer)
{
	const struct table *table = peer->state;

	return table->lines * sizeof *table->index + table->used_bytes;
}

static void table_destroy(struct peer *peer)
{
	struct table *table = peer->state;

	memory_free(table->index, table->lines * sizeof *table->index);
	memory_free(table->store, table->store_bytes);
	free(table);
	peer->state = NULL;
}

const struct peer_kind peer_table = {
	.name = "table",
	.text = "private single-threaded open-addressing table",
	.scope = PEER_PRIVATE,
	.create = table_create,
	.join = table_join,
	.get = table_get,
	.set = table_set,
	.mget = table_mget,
	.memory = table_memory,
	.destroy = table_destroy,
};
