/* SPDX-License-Identifier: BSD-2-Clause */
/* Chunks and manifests.  See large.h; tests/model/pml (chunks). */
#include "cache/large.h"

#include "cache/quota.h"

bool manifest_read(const struct larder *cache, const struct entry *e, struct manifest *m)
{
	if (e->value_bytes != sizeof *m)
		return false;
	memcpy(m, e->value, sizeof *m);
	return m->chunk_bytes == cache->chunk_bytes && m->bytes != 0 && m->bytes <= cache->region.geo.value_max_bytes
			&& m->chunks == (m->bytes + m->chunk_bytes - 1) / m->chunk_bytes;
}

struct key chunk_key(const struct region *r, uint32_t ns, const struct manifest *m, uint32_t number, unsigned char name[12])
{
	bytes_store64(name, m->version);
	bytes_store32(name + 8, number);
	return key_make(r, name, 12, ns, true);
}

static uint32_t chunk_length(const struct manifest *m, uint32_t number)
{
	return number + 1 < m->chunks ? m->chunk_bytes : (uint32_t)(m->bytes - (uint64_t)number * m->chunk_bytes);
}

/* ---- Reading --------------------------------------------------------------------------------------------------------------- */

static bool chunk_copy(struct actor *a, uint32_t ns, const struct manifest *m, uint32_t number, unsigned char *to)
{
	unsigned char name[12];
	struct key k = chunk_key(a->region, ns, m, number, name);
	struct found f;
	bool whole = index_find(a, &k, &f) == SEARCH_FOUND && f.entry.value_bytes == chunk_length(m, number);
	if (whole) {
		memcpy(to, f.entry.value, f.entry.value_bytes);
		fence_acquire();
		whole = entry_checksum_good(&f.entry); /* after the copy: damage that it took along is still there to be seen */
		frequency_use(a->region, f.frequency);
	}
	hazard_clear(a, HAZARD_READ);
	return whole;
}

static enum larder_status take_out_manifest(struct larder *cache, struct actor *a, const struct key *k, const struct manifest *m)
{
	struct found f;
	struct manifest now;
	enum search s = index_find_for_change(a, k, &f);
	if (s == SEARCH_ABSENT)
		return LARDER_MISS;
	if (s == SEARCH_AGAIN)
		return contended(a);
	if (head_kind(f.entry.head) != KIND_MANIFEST || !manifest_read(cache, &f.entry, &now) || now.version != m->version)
		return LARDER_CHANGED;
	return index_remove(a, &f, COUNTER_evictions_need) ? LARDER_MISS : LARDER_CHANGED;
}

/* A chunk is missing: a manifest that still promises it goes first, so that nothing acts on a ghost.  A get that comes here
 * clears no hazard but its own: what this names must not outlive the call, or it holds a segment back. */
cold enum larder_status large_missing(struct larder *cache, struct actor *a, const struct key *k, const struct manifest *m)
{
	enum larder_status status = take_out_manifest(cache, a, k, m);
	hazard_clear(a, HAZARD_OLD);
	return status;
}

enum larder_status large_read(struct larder *cache, struct actor *a, const struct key *k, const struct manifest *m, unsigned char *buffer)
{
	for (uint32_t i = 0; i < m->chunks; i++)
		if (!chunk_copy(a, k->ns, m, i, buffer + (uint64_t)i * m->chunk_bytes))
			return large_missing(cache, a, k, m);
	return LARDER_OK;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------------------- */

static enum larder_status chunk_put(struct actor *a, const struct put *whole, const struct manifest *m, uint32_t number, const unsigned char *value)
{
	unsigned char name[12];
	struct put put = { .mode = LARDER_SET, .flags = whole->flags,
		.ttl_ms = whole->ttl_ms == LARDER_TTL_KEEP ? LARDER_TTL_NONE : whole->ttl_ms, /* never before the manifest */
		.expires_at_ms = whole->expires_at_ms, .linger_ms = whole->draft.extras & EXTRA_REFRESH ? whole->draft.grace_ms : 0,
		.decide = put_by_mode, .key = chunk_key(a->region, whole->key.ns, m, number, name),
		.draft = { .value = value + (uint64_t)number * m->chunk_bytes, .value_bytes = chunk_length(m, number), .fields = KIND_CHUNK,
			.extras = whole->draft.extras & EXTRA_KEPT } };
	enum larder_status status = put_run(a, &put);
	hazard_clear(a, HAZARD_OLD);
	return status;
}

enum larder_status large_put(struct larder *cache, struct actor *a, struct put *put, const unsigned char *value, uint64_t bytes)
{
	struct manifest m = { .bytes = bytes, .version = put_stamp(a, moment_coarse(a->region)), .chunk_bytes = cache->chunk_bytes };
	m.chunks = (uint32_t)((bytes + m.chunk_bytes - 1) / m.chunk_bytes);
	uint64_t quota = namespace_quota(a->region, put->key.ns);
	enum larder_status status = quota != 0 && bytes >= quota ? LARDER_TOO_LARGE : LARDER_OK;
	for (uint32_t i = 0; i < m.chunks && status == LARDER_OK; i++)
		status = chunk_put(a, put, &m, i, value);
	put->draft.value = &m;
	put->draft.value_bytes = sizeof m;
	put->draft.tail_bytes = 0;
	put->draft.fields = KIND_MANIFEST;
	if (status == LARDER_OK)
		status = put_run(a, put);
	if (status != LARDER_OK)
		large_forget(cache, a, put->key.ns, &(struct chunks){ m.bytes, m.version });
	return status;
}

static bool always(struct actor *a, const struct entry *e, void *arg)
{
	(void)a, (void)e, (void)arg;
	return true;
}

void large_forget(struct larder *cache, struct actor *a, uint32_t ns, const struct chunks *chunks)
{
	struct manifest m = { .version = chunks->version, .bytes = chunks->bytes, .chunk_bytes = cache->chunk_bytes };
	unsigned char name[12];
	bool live;
	m.chunks = (uint32_t)((m.bytes + m.chunk_bytes - 1) / m.chunk_bytes);
	for (uint32_t i = 0; i < m.chunks; i++) {
		struct key k = chunk_key(a->region, ns, &m, i, name);
		index_delete(a, &k, always, NULL, &live);
	}
}
