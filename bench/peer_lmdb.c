/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lmdb: a database on /dev/shm, without any syncing, written through its map.  A get is a renewed read transaction, a
 * set a write transaction of its own, a batch one read transaction.
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peer.h"

struct lmdb {
	struct peer *peer;
	MDB_env *env; /* one per process, opened after the fork: LMDB forbids both two of them and one across a fork */
	MDB_dbi dbi;
	MDB_txn *reader;
	size_t key_bytes, value_bytes;
	struct shape shape;
};

static void directory_of(const struct peer *peer, char *path, size_t bytes)
{
	snprintf(path, bytes, "/dev/shm/larder-%s", peer->name);
}

static int env_open(struct peer *peer, struct lmdb *seat)
{
	char path[128];
	size_t map = peer->shape.keys * (peer->shape.key_bytes + peer->shape.value_bytes + 64) * 3 + ((size_t)64 << 20);
	int error;

	directory_of(peer, path, sizeof path);
	error = mdb_env_create(&seat->env);
	if (!error)
		error = mdb_env_set_mapsize(seat->env, map);
	if (!error)
		error = mdb_env_open(seat->env, path, MDB_NOSYNC | MDB_WRITEMAP | MDB_NOTLS | MDB_NORDAHEAD, 0600);
	return error ? peer_fail(peer, "%s", mdb_strerror(error)) : 0;
}

static int lmdb_create(struct peer *peer)
{
	char path[128];

	directory_of(peer, path, sizeof path);
	return mkdir(path, 0700) == 0 ? 0 : peer_fail(peer, "cannot make %s", path);
}

static int dbi_open(struct peer *peer, struct lmdb *seat)
{
	MDB_txn *txn;
	int error = mdb_txn_begin(seat->env, NULL, 0, &txn);

	if (!error) {
		error = mdb_dbi_open(txn, NULL, 0, &seat->dbi);
		if (!error)
			error = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	if (!error)
		error = mdb_txn_begin(seat->env, NULL, MDB_RDONLY, &seat->reader);
	if (!error)
		mdb_txn_reset(seat->reader);
	return error ? peer_fail(peer, "%s", mdb_strerror(error)) : 0;
}

static int lmdb_join(struct peer *peer, void **seat_at)
{
	struct lmdb *seat = calloc(1, sizeof *seat);

	if (!seat)
		return peer_fail(peer, "out of memory");
	seat->key_bytes = peer->shape.key_bytes;
	seat->value_bytes = peer->shape.value_bytes;
	seat->shape = peer->shape;
	seat->peer = peer;
	peer->state = *seat_at = seat;
	return env_open(peer, seat) < 0 ? -1 : dbi_open(peer, seat);
}

static int read_one(struct lmdb *seat, const uint8_t *key, uint8_t *value)
{
	MDB_val name = { seat->key_bytes, (void *)(uintptr_t)key }, found;

	if (mdb_get(seat->reader, seat->dbi, &name, &found) != 0)
		return -1;
	memcpy(value, found.mv_data, found.mv_size < seat->value_bytes ? found.mv_size : seat->value_bytes);
	return (int)found.mv_size;
}

static int lmdb_get(void *seat_at, const uint8_t *key, uint8_t *value)
{
	struct lmdb *seat = seat_at;
	int length;

	if (mdb_txn_renew(seat->reader) != 0)
		return -1;
	length = read_one(seat, key, value);
	mdb_txn_reset(seat->reader);
	return length;
}

static unsigned lmdb_mget(void *seat_at, const uint8_t *keys, unsigned count, uint8_t *values)
{
	struct lmdb *seat = seat_at;
	unsigned found = 0;

	if (mdb_txn_renew(seat->reader) != 0)
		return 0;
	for (unsigned i = 0; i < count; i++)
		found += read_one(seat, keys + i * seat->key_bytes, values + i * seat->value_bytes) >= 0;
	mdb_txn_reset(seat->reader);
	return found;
}

static int lmdb_set(void *seat_at, const uint8_t *key, const uint8_t *value)
{
	struct lmdb *seat = seat_at;
	MDB_val name = { seat->key_bytes, (void *)(uintptr_t)key }, data = { seat->value_bytes,
			(void *)(uintptr_t)value };
	MDB_txn *txn;

	if (mdb_txn_begin(seat->env, NULL, 0, &txn) != 0)
		return -1;
	if (mdb_put(txn, seat->dbi, &name, &data, 0) != 0) {
		mdb_txn_abort(txn);
		return -1;
	}
	return mdb_txn_commit(txn) == 0 ? 0 : -1;
}

static int lmdb_load(void *seat_at, uint64_t first, uint64_t count)
{
	struct lmdb *seat = seat_at;
	struct peer_pair pair;
	MDB_txn *txn;
	int error;

	if (pair_new(&pair, &seat->shape) < 0)
		return -1;
	error = mdb_txn_begin(seat->env, NULL, 0, &txn);
	for (uint64_t n = first; n < first + count && !error; n++) {
		MDB_val name = { seat->key_bytes, pair.key }, data = { seat->value_bytes, pair.value };

		pair_make(&pair, &seat->shape, n);
		error = mdb_put(txn, seat->dbi, &name, &data, 0);
	}
	if (!error)
		error = mdb_txn_commit(txn);
	pair_free(&pair);
	return error ? -1 : 0;
}

static uint64_t lmdb_memory(struct peer *peer)
{
	const struct lmdb *seat = peer->state;
	MDB_envinfo info;
	MDB_stat stat;

	mdb_env_info(seat->env, &info);
	mdb_env_stat(seat->env, &stat);
	return ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

static void lmdb_leave(void *seat_at)
{
	struct lmdb *seat = seat_at;

	mdb_txn_abort(seat->reader);
	mdb_env_close(seat->env);
	seat->peer->state = NULL;
	free(seat);
}

static void lmdb_sweep(const struct peer *peer)
{
	char directory[128], path[160];

	directory_of(peer, directory, sizeof directory);
	snprintf(path, sizeof path, "%s/data.mdb", directory);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", directory);
	unlink(path);
	rmdir(directory);
}

const struct peer_kind peer_lmdb = {
	.name = "lmdb",
	.text = "LMDB on /dev/shm, no syncing",
	.scope = PEER_PROCESSES,
	.create = lmdb_create,
	.join = lmdb_join,
	.get = lmdb_get,
	.set = lmdb_set,
	.mget = lmdb_mget,
	.load = lmdb_load,
	.memory = lmdb_memory,
	.leave = lmdb_leave,
	.sweep = lmdb_sweep,
};
