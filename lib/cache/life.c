/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening and closing a cache, its namespaces, and work ahead of need. */
#include "cache/put.h"
#include "cache/quota.h"
#include "larder/policy.h"

#include <stdlib.h>

/* Fields beside key and value that an entry may have, at most: head, stamp, times, namespace, checksum, extras and what
 * follows them, alignment.  A chunk has no extras but the word itself (EXTRA_KEPT). */
#define FIXED_OVERHEAD_MAX 56u
#define CHUNK_OVERHEAD_MAX (FIXED_OVERHEAD_MAX + 8u)
#define ENTRY_OVERHEAD_MAX (FIXED_OVERHEAD_MAX + EXTRAS_BYTES_MAX)

static void derive(struct larder *cache)
{
	uint64_t segment = UINT64_C(1) << cache->region.geo.segment_shift;
	uint64_t whole = segment - ENTRY_OVERHEAD_MAX, most = (UINT64_C(1) << HEAD_VALUE_BITS) - 1;
	cache->contiguous_bytes = (uint32_t)(whole < most ? whole : most);
	cache->chunk_bytes = (uint32_t)(segment / 2 - CHUNK_OVERHEAD_MAX - 16);
}

/* With checksums, or with the guard, there is more to a get than the plain one does. */
static void lens_point(struct larder *c)
{
	uint32_t fields = put_base_fields(&c->region);
	bool plain = c->crew != NULL && !(c->region.open_flags & LARDER_GUARD) && !(fields & FIELD_CHECKSUM);
	lens_set(&c->lens, &c->region, plain ? c->crew_id : LENS_CLOSED, fields);
	frequency_follow(&c->region);
}

enum larder_status larder_open_with(const char *name, const struct larder_options *options, struct larder **cache)
{
	if (cache == NULL || name == NULL || options == NULL) {
		message_set("larder_open: name, options and cache must not be NULL");
		return LARDER_INVALID;
	}
	*cache = NULL;
	struct larder *c = calloc(1, sizeof *c);
	if (c == NULL) {
		message_set("%s: no memory for the handle", name);
		return LARDER_NO_MEMORY;
	}
	enum larder_status status = region_open(&c->region, name, options);
	if (status == LARDER_OK && !c->region.read_only) {
		status = crew_create(&c->crew, &c->region, sizeof(struct actor));
		if (status != LARDER_OK)
			region_close(&c->region);
	}
	if (status != LARDER_OK) {
		free(c);
		return status;
	}
	c->crew_id = c->crew == NULL ? UINT64_MAX : crew_id(c->crew); /* an inspector's is no thread's: 0 is that of one without a worker */
	derive(c);
	lens_point(c);
	*cache = c;
	return LARDER_OK;
}

enum larder_status larder_open(const char *name, uint64_t bytes, struct larder **cache)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	options.bytes = bytes;
	return larder_open_with(name, &options, cache);
}

void larder_close(struct larder **cache)
{
	if (cache == NULL || *cache == NULL)
		return;
	if ((*cache)->crew != NULL)
		crew_destroy((*cache)->crew);
	region_close(&(*cache)->region);
	free(*cache);
	*cache = NULL;
}

enum larder_status larder_destroy(const char *name)
{
	if (name == NULL) {
		message_set("larder_destroy: name must not be NULL");
		return LARDER_INVALID;
	}
	return region_destroy(name);
}

/* ---- Namespaces ----------------------------------------------------------------------------------------------------------------- */

enum larder_status larder_namespace(struct larder *cache, const char *name, uint32_t *ns)
{
	if (cache == NULL || name == NULL || ns == NULL) {
		message_set("larder_namespace: cache, name and ns must not be NULL");
		return LARDER_INVALID;
	}
	*ns = 0;
	if (name[0] == 0)
		return LARDER_OK;
	if (region_gone(&cache->region)) {
		message_set("%s: the cache was destroyed: close, and open again", cache->region.path);
		return LARDER_DETACHED;
	}
	enum larder_status status = namespace_number(&cache->region, name, !cache->region.read_only, ns);
	if (status == LARDER_INVALID)
		message_set("namespace name of more than %u bytes: shorten it", NAMESPACE_NAME_BYTES);
	if (status == LARDER_MISS)
		message_set("%s: no namespace %.64s is registered", cache->region.path, name);
	if (status == LARDER_NAMESPACES)
		message_set("%s: all %u namespaces are taken; create the cache with a larger `namespaces`", cache->region.path, cache->region.geo.namespaces);
	return status;
}

/* A handle that may change the namespace. */
static enum larder_status namespace_check(struct larder *cache, uint32_t ns)
{
	if (cache == NULL || ns >= cache->region.geo.namespaces)
		return LARDER_INVALID;
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	if (cache->region.read_only)
		return LARDER_READ_ONLY;
	return ns != 0 && load_acquire(&region_namespace(&cache->region, ns)->hash) == 0 ? LARDER_INVALID : LARDER_OK;
}

enum larder_status larder_namespace_ttl(struct larder *cache, uint32_t ns, int64_t ttl_ms)
{
	enum larder_status status = namespace_check(cache, ns);
	if (status != LARDER_OK)
		return status;
	if (ttl_ms != LARDER_TTL_NONE && ttl_ms <= 0)
		return LARDER_INVALID;
	store_release(&region_namespace(&cache->region, ns)->ttl, ttl_ms > 0 ? (uint64_t)ttl_ms : 0);
	return LARDER_OK;
}

enum larder_status larder_namespace_quota(struct larder *cache, uint32_t ns, uint64_t bytes)
{
	struct actor *a;
	enum larder_status status = namespace_check(cache, ns);
	if (status == LARDER_OK && bytes > cache->region.geo.bytes)
		status = LARDER_INVALID;
	if (status == LARDER_OK)
		status = call_begin(cache, &a);
	if (status != LARDER_OK)
		return status;
	store_release(&region_namespace(&cache->region, ns)->quota, bytes);
	if (bytes != 0)
		quota_recount(a, ns, QUOTA_RECOUNTS);
	call_end_clear(a);
	return call_answer(&cache->region, LARDER_OK);
}

static enum larder_status flush(struct larder *cache, uint32_t ns, bool hard)
{
	struct actor *a;
	enum larder_status status = namespace_check(cache, ns);
	if (status == LARDER_OK)
		status = call_begin(cache, &a);
	if (status != LARDER_OK)
		return status;
	namespace_flush(&cache->region, ns, hard);
	count(a, flushes, 1);
	call_end(a);
	return call_answer(&cache->region, LARDER_OK);
}

enum larder_status larder_flush(struct larder *cache, uint32_t ns) { return flush(cache, ns, true); }
enum larder_status larder_flush_soft(struct larder *cache, uint32_t ns) { return flush(cache, ns, false); }

enum larder_status larder_flush_all(struct larder *cache)
{
	enum larder_status status = larder_flush(cache, 0);
	for (uint32_t ns = 1; status == LARDER_OK && ns < cache->region.geo.namespaces; ns++)
		if (load_acquire(&region_namespace(&cache->region, ns)->hash) != 0)
			status = larder_flush(cache, ns);
	return status;
}

enum larder_status larder_namespace_info(struct larder *cache, uint32_t ns, struct larder_namespace_info *info)
{
	if (cache == NULL || info == NULL || ns >= cache->region.geo.namespaces)
		return LARDER_INVALID;
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	const struct shm_namespace *n = region_namespace(&cache->region, ns);
	uint64_t ttl = load_acquire(&n->ttl);
	*info = (struct larder_namespace_info){ .ns = ns, .generation = generation_present(load_acquire(&n->generation)),
		.ttl_ms = ttl == 0 ? LARDER_TTL_NONE : (int64_t)ttl, .quota_bytes = namespace_quota(&cache->region, ns) };
	namespace_sum(&cache->region, ns, &info->entries, &info->bytes);
	namespace_sampled(&cache->region, ns, &info->sampled_gets, &info->sampled_hits);
	return namespace_name(&cache->region, ns, info->name) ? LARDER_OK : LARDER_MISS;
}

/* ---- Work ahead of need ------------------------------------------------------------------------------------------------------------ */

enum larder_status larder_maintain(struct larder *cache, uint64_t budget_bytes, uint64_t *done_bytes)
{
	struct actor *a;
	if (done_bytes != NULL)
		*done_bytes = 0;
	if (cache == NULL)
		return LARDER_INVALID;
	enum larder_status status = call_begin(cache, &a);
	if (status != LARDER_OK)
		return status;
	uint64_t units = evict_ahead(a, budget_bytes / UNIT_BYTES);
	if (done_bytes != NULL)
		*done_bytes = units * UNIT_BYTES;
	call_end_clear(a);
	return call_answer(&cache->region, LARDER_OK);
}
