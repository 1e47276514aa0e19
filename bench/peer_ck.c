/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ck_ht: Concurrency Kit's hash table for one writer and many readers, threads of one process.  With one worker a
 * replaced entry is freed at once; with several the table is only read, since freeing would need a scheme of its own.
 */
#include <ck_ht.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "peer.h"

struct ck {
	ck_ht_t table;
	size_t key_bytes, value_bytes, heap_before;
};

static size_t heap_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void *table_malloc(size_t bytes)
{
	return malloc(bytes);
}

static void table_free(void *memory, size_t bytes, bool deferred)
{
	(void)bytes;
	(void)deferred;
	free(memory);
}

static struct ck_malloc allocator = { .malloc = table_malloc, .free = table_free };

static void table_hash(ck_ht_hash_t *hash, const void *key, size_t key_bytes, uint64_t seed)
{
	(void)seed;
	hash->value = XXH3_64bits(key, key_bytes);
}

/* An entry is one block: key, then value. */
static int ck_get(void *seat, const uint8_t *key, uint8_t *value)
{
	struct ck *state = seat;
	ck_ht_entry_t entry;
	ck_ht_hash_t hash;

	ck_ht_hash(&hash, &state->table, key, (uint16_t)state->key_bytes);
	ck_ht_entry_key_set(&entry, key, (uint16_t)state->key_bytes);
	if (!ck_ht_get_spmc(&state->table, hash, &entry))
		return -1;
	memcpy(value, ck_ht_entry_value(&entry), state->value_bytes);
	return (int)state->value_bytes;
}

static int ck_set(void *seat, const uint8_t *key, const uint8_t *value)
{
	struct ck *state = seat;
	uint8_t *block = malloc(state->key_bytes + state->value_bytes);
	ck_ht_entry_t entry;
	ck_ht_hash_t hash;

	if (!block)
		return -1;
	memcpy(block, key, state->key_bytes);
	memcpy(block + state->key_bytes, value, state->value_bytes);
	ck_ht_hash(&hash, &state->table, block, (uint16_t)state->key_bytes);
	ck_ht_entry_set(&entry, hash, block, (uint16_t)state->key_bytes, block + state->key_bytes);
	if (!ck_ht_set_spmc(&state->table, hash, &entry)) {
		free(block);
		return -1;
	}
	if (!ck_ht_entry_empty(&entry) && ck_ht_entry_key(&entry) != block)
		free(ck_ht_entry_key(&entry));
	return 0;
}

static int ck_create(struct peer *peer)
{
	struct ck *state = calloc(1, sizeof *state);

	if (!state)
		return peer_fail(peer, "out of memory");
	peer->state = state;
	state->key_bytes = peer->shape.key_bytes;
	state->value_bytes = peer->shape.value_bytes;
	state->heap_before = heap_bytes();
	if (!ck_ht_init(&state->table, CK_HT_MODE_BYTESTRING, table_hash, &allocator, peer->shape.keys, 1))
		return peer_fail(peer, "ck_ht_init failed");
	return 0;
}

static int ck_join(struct peer *peer, void **seat)
{
	*seat = peer->state;
	return 0;
}

static uint64_t ck_memory(struct peer *peer)
{
	const struct ck *state = peer->state;

	return heap_bytes() - state->heap_before;
}

const struct peer_kind peer_ck = {
	.name = "ck_ht",
	.text = "Concurrency Kit's hash table, one writer, threads of one process",
	.scope = PEER_THREADS,
	.one_writer = true,
	.create = ck_create,
	.join = ck_join,
	.get = ck_get,
	.set = ck_set,
	.memory = ck_memory,
};
