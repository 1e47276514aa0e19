/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What passes through a manager: each operation enters, finds the store that its handle's name has now, calls it, counts, and leaves.
 *
 * Operations of the engine are brief and done as readers of grace.h.  Those of other kinds may wait for a network: they take a reference
 * to the store, leave, and enter again to count; whoever gives the last reference back closes a store that was replaced meanwhile.  What
 * failed is told to the log from outside.
 */
#include <stdlib.h>
#include <string.h>

#include "base/message.h"
#include "cache/options.h"
#include "cache/read.h"
#include "manager/grace.h"
#include "manager/log.h"
#include "manager/manager.h"
#include "store/name.h"

/* One call under way. */
struct call {
	const struct larder_store_kind *kind;
	void *self;
	struct larder_store *held; /* NULL: brief, and a reader throughout */
	struct timer timer;
};

/* ---- Failures ---------------------------------------------------------------------------------------------------------- */

/* A message of this very call there is of those kinds that leave one, and of a few statuses of the engine. */
static const char *words_of(enum larder_status status, bool told)
{
	bool engine = status == LARDER_NO_SLOT || status == LARDER_NAMESPACES || status == LARDER_NO_STORE;

	return (told || engine) && *larder_message() ? larder_message() : larder_strerror(status);
}

static cold void log_failure(struct larder_handle *h, enum operation operation, const struct larder_store_key *key,
		enum larder_status status, bool told)
{
	char text[LARDER_NAMESPACE_MAX * 3 + 1 + LARDER_KEY_MAX], printable[LOG_KEY_BYTES];
	size_t count = h->ns->escaped_bytes;

	if (!h->manager->log)
		return;
	memcpy(text, h->ns->escaped, count);
	if (key && key->count <= LARDER_KEY_MAX) {
		text[count++] = ':';
		memcpy(text + count, key->bytes, key->count);
		count += key->count;
	}
	const struct larder_log_event event = { .size = sizeof event, .operation = operation_names[operation],
		.store = h->shelf->name, .key = log_printable(text, count, printable, sizeof printable), .status = status,
		.message = words_of(status, told) };
	h->manager->log(&event, h->manager->log_arg);
}

/* ---- Around each call -------------------------------------------------------------------------------------------------- */

/* Valid until grace_leave(). */
static inline struct route *route_of(const struct larder_handle *h)
{
	return pointer_load_acquire(&h->route); /* BIND (acquire): the route is whole, and stays until we leave. */
}

static inline const struct series *series_of(struct larder_handle *h, struct route *route, enum operation operation)
{
	const struct series *series = pointer_load_acquire(&route->series[operation]);

	if (likely(series != NULL))
		return series;
	return route->table ? route_series_slow(h, route, operation) : NULL;
}

/* hold: with a reference, and no reader on the way, also where the store is brief. */
static bool call_begin_as(const struct larder_handle *h, struct call *c, bool hold)
{
	grace_enter();
	const struct route *route = route_of(h);
	const struct binding *binding = route->binding;
	if (unlikely(!binding)) {
		grace_leave();
		return false;
	}
	c->kind = binding->kind;
	c->self = binding->self;
	c->held = NULL;
	c->timer = route->table ? timer_begin(route->table) : (struct timer){ 0, 0 };
	if (unlikely(!binding->brief || hold)) {
		c->held = larder_store_hold(binding->store);
		grace_leave();
	}
	return true;
}

static inline bool call_begin(const struct larder_handle *h, struct call *c)
{
	return call_begin_as(h, c, false);
}

/* Before it is counted: a reader again. */
static struct route *call_counts(const struct larder_handle *h, const struct call *c)
{
	if (unlikely(c->held != NULL))
		grace_enter();
	return route_of(h);
}

static void call_end(struct call *c)
{
	grace_leave();
	if (unlikely(c->held != NULL))
		larder_store_release(&c->held);
}

static inline void count_one(const struct series *series, enum series_cell cell, enum larder_status status)
{
	if (likely(status >= 0))
		series_count(series, cell, 1);
	else
		series_error(series, status);
}

static cold enum larder_status no_store(struct larder_handle *h, enum operation operation, const struct larder_store_key *key)
{
	enum larder_status status = manager_no_store(h->manager, h->shelf->name);

	grace_enter();
	const struct series *series = series_of(h, route_of(h), operation);
	if (series)
		series_error(series, status);
	grace_leave();
	log_failure(h, operation, key, status, true);
	return status;
}

/* Counts what came of an operation, and its duration; leaves, and tells what failed. */
static enum larder_status finish(struct larder_handle *h, struct call *c, enum operation operation, enum series_cell cell,
		const struct larder_store_key *key, enum larder_status status)
{
	bool told = c->held != NULL;
	const struct series *series = series_of(h, call_counts(h, c), operation);

	if (likely(series != NULL)) {
		timer_end(&c->timer, series);
		count_one(series, cell, status);
	}
	call_end(c);
	if (unlikely(status < 0))
		log_failure(h, operation, key, status, told);
	return status;
}

/* ---- Keys -------------------------------------------------------------------------------------------------------------- */

/* A key as stores take it; own is where it is built if it has to be. */
struct passing {
	struct larder_store_key key;
	char *own;
};

static cold enum larder_status escape(struct passing *p)
{
	size_t bytes = name_escaped_bytes(p->key.bytes, p->key.count);

	if (bytes > LARDER_KEY_MAX)
		return LARDER_KEY_SIZE;
	p->own = malloc(3 * p->key.count);
	if (!p->own)
		return LARDER_NO_MEMORY;
	p->key.count = name_escape(p->key.bytes, p->key.count, p->own);
	p->key.bytes = p->own;
	return LARDER_OK;
}

static inline enum larder_status pass(const struct larder_handle *h, const void *key, size_t key_bytes, struct passing *p)
{
	p->key = (struct larder_store_key){ h->ns, key, key_bytes };
	p->own = NULL;
	if (unlikely(!key || !key_bytes || key_bytes > LARDER_KEY_MAX))
		return key ? LARDER_KEY_SIZE : LARDER_INVALID;
	return likely(name_is_plain(key, key_bytes)) ? LARDER_OK : escape(p);
}

/* ---- On prepared keys ---------------------------------------------------------------------------------------------------- */

static inline enum series_cell found(enum larder_status status)
{
	return status == LARDER_OK || status == LARDER_STALE || status == LARDER_SHORT ? SERIES_HITS : SERIES_MISSES;
}

static __attribute__((noinline)) enum larder_status do_get(struct larder_handle *h, const struct larder_store_key *key, struct larder_buffer *value,
		uint32_t flags, struct larder_meta *meta)
{
	struct call c;

	if (unlikely(!call_begin(h, &c)))
		return no_store(h, OP_GET, key);
	enum larder_status status = c.kind->get(c.self, key, flags, value, meta);
	return finish(h, &c, OP_GET, found(status), key, status);
}

static __attribute__((noinline)) enum larder_status do_set(struct larder_handle *h, const struct larder_store_key *key, const void *value,
		size_t value_bytes, const struct larder_set_options *options, struct larder_result *result)
{
	struct larder_set_options own;
	struct call c;

	if (unlikely(!options_whole(&own, &options)))
		return LARDER_INVALID;
	if (unlikely(!call_begin(h, &c)))
		return no_store(h, OP_SET, key);
	enum larder_status status = c.kind->set(c.self, key, value, value_bytes, options, result);
	return finish(h, &c, OP_SET, SERIES_DONE, key, status);
}

static enum larder_status do_delete(struct larder_handle *h, const struct larder_store_key *key)
{
	struct call c;

	if (unlikely(!call_begin(h, &c)))
		return no_store(h, OP_DELETE, key);
	enum larder_status status = c.kind->remove(c.self, key);
	return finish(h, &c, OP_DELETE, SERIES_DONE, key, status);
}

static enum larder_status do_touch(struct larder_handle *h, const struct larder_store_key *key, int64_t ttl_ms)
{
	struct call c;

	if (unlikely(!call_begin(h, &c)))
		return no_store(h, OP_TOUCH, key);
	enum larder_status status = c.kind->touch ? c.kind->touch(c.self, key, ttl_ms) : LARDER_UNSUPPORTED;
	return finish(h, &c, OP_TOUCH, SERIES_DONE, key, status);
}

/* ---- On handles ---------------------------------------------------------------------------------------------------------- */

struct asked {
	struct larder_handle *handle;
	const void *key;
	size_t key_bytes;
	struct larder_buffer *value;
};

static enum larder_status get_with(const struct asked *a, uint32_t flags, struct larder_meta *meta)
{
	struct passing p;

	if (!a->handle || !a->value)
		return LARDER_INVALID;
	enum larder_status status = pass(a->handle, a->key, a->key_bytes, &p);
	if (!status)
		status = do_get(a->handle, &p.key, a->value, flags, meta);
	free(p.own);
	return status;
}

static __attribute__((noinline)) enum larder_status get_slow(const struct asked *a)
{
	return get_with(a, 0, NULL);
}

enum larder_status larder_handle_get_with(struct larder_handle *handle, const void *key, size_t key_bytes,
		struct larder_buffer *value, uint32_t flags, struct larder_meta *meta)
{
	return get_with(&(struct asked){ handle, key, key_bytes, value }, flags, meta);
}

/* What the shortest way cannot finish: counted as ever, or done once more with a larger buffer. */
static cold enum larder_status get_unusual(const struct asked *a, enum larder_status status)
{
	struct call c = { .kind = NULL };
	const struct larder_store_key key = { a->handle->ns, a->key, a->key_bytes };

	if (status != LARDER_SHORT || !a->value->grow)
		return finish(a->handle, &c, OP_GET, found(status), &key, status);
	grace_leave();
	return get_slow(a);
}

_Static_assert((int)SERIES_HITS == LARDER_OK && (int)SERIES_MISSES == LARDER_MISS, "the status of a usual get says where it counts");

/* The shortest way is for a plain key in a store that is the engine, where this one is not timed; get_slow() takes all ways. */
enum larder_status larder_handle_get(struct larder_handle *handle, const void *key, size_t key_bytes, struct larder_buffer *value)
{
	struct asked asked = { handle, key, key_bytes, value };

	if (unlikely(!handle) || unlikely(!value) || unlikely(!key) || unlikely(!name_is_plain(key, key_bytes))
			|| unlikely(!grace_known()))
		return get_slow(&asked);
	grace_enter();
	const struct route *route = route_of(handle);
	/* BIND (acquire) */
	if (unlikely(!pointer_load_acquire(&route->gets)) || unlikely(!timer_skip(route->timing))) {
		grace_leave();
		return get_slow(&asked);
	}
	/* Kept in memory, not in registers that would have to be saved: only the unusual looks at it again. */
	__asm__ volatile("" : "+m"(asked));
	enum larder_status status = read_known(route->cache, route->ns, key, key_bytes, value);
	if (unlikely((unsigned)status > LARDER_MISS))
		return get_unusual(&asked, status);
	const struct series gets = { .row = pointer_load_acquire(&route->gets) };
	series_count(&gets, (enum series_cell)status, 1);
	grace_leave();
	return status;
}

enum larder_status larder_handle_set_with(struct larder_handle *handle, const void *key, size_t key_bytes, const void *value,
		size_t value_bytes, const struct larder_set_options *options, struct larder_result *result)
{
	struct passing p;

	if (unlikely(!handle || (value_bytes && !value)))
		return LARDER_INVALID;
	enum larder_status status = pass(handle, key, key_bytes, &p);
	if (likely(!status))
		status = do_set(handle, &p.key, value, value_bytes, options, result);
	if (unlikely(p.own != NULL))
		free(p.own);
	return status;
}

enum larder_status larder_handle_set(struct larder_handle *handle, const void *key, size_t key_bytes, const void *value,
		size_t value_bytes, int64_t ttl_ms)
{
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;

	if (ttl_ms == LARDER_TTL_DEFAULT)
		return larder_handle_set_with(handle, key, key_bytes, value, value_bytes, NULL, NULL);
	options.ttl_ms = ttl_ms;
	return larder_handle_set_with(handle, key, key_bytes, value, value_bytes, &options, NULL);
}

enum larder_status larder_handle_delete(struct larder_handle *handle, const void *key, size_t key_bytes)
{
	struct passing p;

	if (!handle)
		return LARDER_INVALID;
	enum larder_status status = pass(handle, key, key_bytes, &p);
	if (!status)
		status = do_delete(handle, &p.key);
	free(p.own);
	return status;
}

enum larder_status larder_handle_touch(struct larder_handle *handle, const void *key, size_t key_bytes, int64_t ttl_ms)
{
	struct passing p;

	if (!handle)
		return LARDER_INVALID;
	enum larder_status status = pass(handle, key, key_bytes, &p);
	if (!status)
		status = do_touch(handle, &p.key, ttl_ms);
	free(p.own);
	return status;
}

enum larder_status larder_handle_incr(struct larder_handle *handle, const void *key, size_t key_bytes, int64_t delta, bool create,
		int64_t initial, int64_t ttl_ms, int64_t *sum)
{
	struct passing p;
	struct call c;

	if (!handle)
		return LARDER_INVALID;
	enum larder_status status = pass(handle, key, key_bytes, &p);
	if (status)
		return status;
	if (!call_begin(handle, &c)) {
		status = no_store(handle, OP_INCR, &p.key);
	} else {
		status = c.kind->incr ? c.kind->incr(c.self, &p.key, delta, create, initial, ttl_ms, sum) : LARDER_UNSUPPORTED;
		status = finish(handle, &c, OP_INCR, SERIES_DONE, &p.key, status);
	}
	free(p.own);
	return status;
}

enum larder_status larder_handle_clear(struct larder_handle *handle, bool soft)
{
	struct call c;

	if (!handle)
		return LARDER_INVALID;
	if (!call_begin(handle, &c))
		return no_store(handle, OP_CLEAR, NULL);
	enum larder_status status = c.kind->clear(c.self, handle->ns, soft);
	return finish(handle, &c, OP_CLEAR, SERIES_DONE, NULL, status);
}

/* ---- Computing ------------------------------------------------------------------------------------------------------------- */

/* As a get: a hit is what nobody had to compute now. */
static void count_computed(struct larder_handle *h, const struct larder_computed *how, enum larder_status status)
{
	grace_enter();
	const struct series *series = series_of(h, route_of(h), OP_GET);
	if (series && status >= 0)
		series_count(series, how->computed ? SERIES_MISSES : found(status), 1);
	grace_leave();
}

static enum larder_status do_compute(struct larder_handle *h, const struct larder_store_key *key, larder_loader *loader, void *arg,
		const struct larder_compute_options *options, struct larder_buffer *value, struct larder_computed *how)
{
	struct call c;

	if (!call_begin_as(h, &c, true))
		return no_store(h, OP_COMPUTE, key);
	enum larder_status status = larder_store_get_or_compute(c.held, key, loader, arg, options, value, how);
	count_computed(h, how, status);
	return finish(h, &c, OP_COMPUTE, SERIES_DONE, key, status);
}

enum larder_status larder_handle_get_or_compute(struct larder_handle *handle, const void *key, size_t key_bytes,
		larder_loader *loader, void *arg, const struct larder_compute_options *options, struct larder_buffer *value,
		struct larder_computed *how)
{
	struct larder_computed unasked;
	struct passing p;

	if (!handle || !loader || !value)
		return LARDER_INVALID;
	enum larder_status status = pass(handle, key, key_bytes, &p);
	if (!status)
		status = do_compute(handle, &p.key, loader, arg, options, value, how ? how : &unasked);
	free(p.own);
	return status;
}

/* ---- Many ------------------------------------------------------------------------------------------------------------------ */

/* Hits, misses and failures one by one, in the row of gets. */
static void count_items(struct larder_handle *h, struct call *c, const struct larder_store_item *items, size_t count)
{
	const struct series *series = series_of(h, call_counts(h, c), OP_GET);
	uint64_t hits = 0, misses = 0;

	for (size_t i = 0; series && i < count; i++) {
		hits += items[i].status >= 0 && found(items[i].status) == SERIES_HITS;
		misses += items[i].status >= 0 && found(items[i].status) == SERIES_MISSES;
		if (items[i].status < 0)
			series_error(series, items[i].status);
	}
	if (hits)
		series_count(series, SERIES_HITS, hits);
	if (misses)
		series_count(series, SERIES_MISSES, misses);
	if (c->held)
		grace_leave();
}

/* Prepares the keys: true if all of them are plain. */
static bool items_plain(const struct larder_handle *h, struct larder_store_item *items, size_t count, enum larder_status *status)
{
	bool plain = true;

	for (size_t i = 0; i < count; i++) {
		items[i].key.ns = h->ns;
		if (!items[i].key.bytes || !items[i].key.count || items[i].key.count > LARDER_KEY_MAX)
			*status = LARDER_KEY_SIZE;
		else
			plain = plain && name_is_plain(items[i].key.bytes, items[i].key.count);
	}
	return plain;
}

static enum larder_status mget_one_by_one(struct larder_handle *h, uint32_t flags, struct larder_store_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		items[i].status = larder_handle_get_with(h, items[i].key.bytes, items[i].key.count, &items[i].value,
				flags & ~(uint32_t)LARDER_MGET_META, flags & LARDER_MGET_META ? &items[i].meta : NULL);
	return LARDER_OK;
}

enum larder_status larder_handle_mget(struct larder_handle *handle, uint32_t flags, struct larder_store_item *items, size_t count)
{
	enum larder_status status = LARDER_OK;
	struct call c;

	if (!handle || (count && !items))
		return LARDER_INVALID;
	bool plain = items_plain(handle, items, count, &status);
	if (status || !count)
		return status;
	if (!call_begin(handle, &c))
		return no_store(handle, OP_MGET, NULL);
	if (!plain || !c.kind->mget) {
		call_counts(handle, &c);
		call_end(&c);
		return mget_one_by_one(handle, flags, items, count);
	}
	status = c.kind->mget(c.self, flags, items, count);
	if (status >= 0)
		count_items(handle, &c, items, count);
	return finish(handle, &c, OP_MGET, SERIES_DONE, NULL, status);
}

/* ---- By names -------------------------------------------------------------------------------------------------------------- */

static enum larder_status prepare(struct larder_manager *manager, const char *store, const struct larder_key *key, char *own,
		struct larder_store_key *prepared, struct larder_handle **handle)
{
	if (!manager || !key)
		return LARDER_INVALID;
	struct shelf *shelf = manager_shelf(manager, store);
	if (!shelf)
		return LARDER_NO_STORE;
	enum larder_status status = larder_key_prepare(key, own, LARDER_KEY_MAX, prepared);
	return status ? status : manager_handle(manager, shelf, prepared->ns, handle);
}

enum larder_status larder_manager_get(struct larder_manager *manager, const char *store, const struct larder_key *key,
		struct larder_buffer *value, uint32_t flags, struct larder_meta *meta)
{
	char own[LARDER_KEY_MAX];
	struct larder_store_key prepared;
	struct larder_handle *handle;
	enum larder_status status = value ? prepare(manager, store, key, own, &prepared, &handle) : LARDER_INVALID;

	return status ? status : do_get(handle, &prepared, value, flags, meta);
}

enum larder_status larder_manager_set(struct larder_manager *manager, const char *store, const struct larder_key *key,
		const void *value, size_t value_bytes, int64_t ttl_ms)
{
	char own[LARDER_KEY_MAX];
	struct larder_store_key prepared;
	struct larder_handle *handle;
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	enum larder_status status = value || !value_bytes ? prepare(manager, store, key, own, &prepared, &handle) : LARDER_INVALID;

	options.ttl_ms = ttl_ms;
	return status ? status : do_set(handle, &prepared, value, value_bytes, &options, NULL);
}

enum larder_status larder_manager_delete(struct larder_manager *manager, const char *store, const struct larder_key *key)
{
	char own[LARDER_KEY_MAX];
	struct larder_store_key prepared;
	struct larder_handle *handle;
	enum larder_status status = prepare(manager, store, key, own, &prepared, &handle);

	return status ? status : do_delete(handle, &prepared);
}
