/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rculfhash: liburcu's lock-free hash table, for threads of one process.  Its fastest flavour (QSBR): a read section is
 * free, and each worker reports a quiescent state between chunks.  An update replaces the node and hands the old one to
 * call_rcu().
 */
#define _LGPL_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-qsbr.h>
#include <urcu/rculfhash.h>
#include <xxhash.h>

#include "peer.h"

struct node {
	struct cds_lfht_node link;
	struct rcu_head rcu;
	uint8_t bytes[]; /* key, value */
};

struct rculfhash {
	struct cds_lfht *table;
	size_t key_bytes, value_bytes;
	size_t heap_before;
};

static size_t heap_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

struct probe {
	const uint8_t *key;
	size_t key_bytes;
};

static int same_key(struct cds_lfht_node *link, const void *probe_at)
{
	const struct probe *probe = probe_at;

	return memcmp(caa_container_of(link, struct node, link)->bytes, probe->key, probe->key_bytes) == 0;
}

static int rculfhash_get(void *seat, const uint8_t *key, uint8_t *value)
{
	const struct rculfhash *state = seat;
	struct probe probe = { key, state->key_bytes };
	struct cds_lfht_iter iter;
	struct cds_lfht_node *link;

	urcu_qsbr_read_lock();
	cds_lfht_lookup(state->table, XXH3_64bits(key, state->key_bytes), same_key, &probe, &iter);
	link = cds_lfht_iter_get_node(&iter);
	if (link)
		memcpy(value, caa_container_of(link, struct node, link)->bytes + state->key_bytes, state->value_bytes);
	urcu_qsbr_read_unlock();
	return link ? (int)state->value_bytes : -1;
}

static void node_free(struct rcu_head *head)
{
	free(caa_container_of(head, struct node, rcu));
}

static int rculfhash_set(void *seat, const uint8_t *key, const uint8_t *value)
{
	const struct rculfhash *state = seat;
	struct probe probe = { key, state->key_bytes };
	struct node *node = malloc(sizeof *node + state->key_bytes + state->value_bytes);
	struct cds_lfht_node *old;

	if (!node)
		return -1;
	cds_lfht_node_init(&node->link);
	memcpy(node->bytes, key, state->key_bytes);
	memcpy(node->bytes + state->key_bytes, value, state->value_bytes);
	urcu_qsbr_read_lock();
	old = cds_lfht_add_replace(state->table, XXH3_64bits(key, state->key_bytes), same_key, &probe, &node->link);
	if (old)
		urcu_qsbr_call_rcu(&caa_container_of(old, struct node, link)->rcu, node_free);
	urcu_qsbr_read_unlock();
	return 0;
}

static int rculfhash_create(struct peer *peer)
{
	struct rculfhash *state = calloc(1, sizeof *state);
	unsigned long buckets = 1;

	if (!state)
		return peer_fail(peer, "out of memory");
	peer->state = state;
	state->key_bytes = peer->shape.key_bytes;
	state->value_bytes = peer->shape.value_bytes;
	while (buckets < peer->shape.keys)
		buckets *= 2;
	state->heap_before = heap_bytes();
	state->table = cds_lfht_new_flavor(buckets, buckets, 0, 0, &urcu_qsbr_flavor, NULL);
	return state->table ? 0 : peer_fail(peer, "out of memory");
}

static int rculfhash_join(struct peer *peer, void **seat)
{
	urcu_qsbr_register_thread();
	*seat = peer->state;
	return 0;
}

static void rculfhash_rest(void *seat)
{
	(void)seat;
	urcu_qsbr_quiescent_state();
}

static void rculfhash_leave(void *seat)
{
	(void)seat;
	urcu_qsbr_unregister_thread();
}

static uint64_t rculfhash_memory(struct peer *peer)
{
	const struct rculfhash *state = peer->state;

	return heap_bytes() - state->heap_before;
}

const struct peer_kind peer_rculfhash = {
	.name = "rculfhash",
	.text = "liburcu's lock-free hash table, QSBR, threads of one process",
	.scope = PEER_THREADS,
	.create = rculfhash_create,
	.join = rculfhash_join,
	.get = rculfhash_get,
	.set = rculfhash_set,
	.rest = rculfhash_rest,
	.memory = rculfhash_memory,
	.leave = rculfhash_leave,
};
