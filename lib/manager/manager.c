/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names, stores and handles of a manager, see manager.h and larder/manager.h.
 *
 * A name's shelf and a handle are made whole and then put into their tables by CAS (edge NAMED); neither ever leaves.  A store is
 * bound to a shelf by publishing a binding (edge BIND).  Who takes a binding or routes out of sight waits for a grace period under the
 * one mutex of grace.h, frees what he took, and gives the store's reference back after he has left the mutex: closing a store may take
 * time, and may fork.  Opening one happens outside of it for the same reason.
 */
#include "manager/manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"
#include "cache/call.h"
#include "cache/monitor.h"
#include "manager/config.h"
#include "manager/grace.h"
#include "store/kinds.h"

/* Of memory of this process, where no store has a segment: bounded, as in a segment. */
#define PRIVATE_ROWS 1024u
#define PRIVATE_HISTOGRAMS 128u
#define SILENT_ROWS 64u

const char *const operation_names[OPERATIONS] = { "get", "set", "delete", "touch", "incr", "clear", "mget", "get_or_compute" };

/* ---- Names ---------------------------------------------------------------------------------------------------------- */

static struct shelf *shelf_at(const struct larder_manager *m, size_t place)
{
	/* NAMED (acquire): the name was whole before the shelf was put here. */
	return place < LARDER_STORES_MAX ? pointer_load_acquire(&m->shelves[place]) : NULL;
}

static struct shelf *shelf_find(const struct larder_manager *m, const char *name)
{
	struct shelf *shelf;

	for (size_t i = 0; (shelf = shelf_at(m, i)) != NULL; i++)
		if (!strcmp(shelf->name, name))
			return shelf;
	return NULL;
}

/* The shelf of that name, made if there is none. */
static enum larder_status shelf_make(struct larder_manager *m, const char *name, struct shelf **made)
{
	*made = shelf_find(m, name);
	if (*made)
		return LARDER_OK;
	struct shelf *mine = calloc(1, sizeof *mine);
	if (!mine)
		return LARDER_NO_MEMORY;
	snprintf(mine->name, sizeof mine->name, "%s", name);
	for (size_t i = 0; i < LARDER_STORES_MAX; i++) {
		struct shelf *there = shelf_at(m, i);
		/* NAMED (release).  Lost: another thread's name was put here, perhaps this one. */
		if (!there && pointer_cas_acq_rel(&m->shelves[i], NULL, mine)) {
			*made = mine;
			return LARDER_OK;
		}
		there = shelf_at(m, i);
		if (strcmp(there->name, name))
			continue;
		free(mine);
		*made = there;
		return LARDER_OK;
	}
	free(mine);
	message_set("store '%s': a manager knows at most %u names", name, LARDER_STORES_MAX);
	return LARDER_NO_ROOM;
}

static bool shelf_is_bound(const struct shelf *shelf)
{
	return pointer_load_acquire(&shelf->binding) != NULL;
}

enum larder_status manager_no_store(struct larder_manager *m, const char *name)
{
	char known[320] = "";
	struct shelf *shelf;

	for (size_t i = 0; (shelf = shelf_at(m, i)) != NULL; i++) {
		size_t length = strlen(known);
		if (shelf_is_bound(shelf))
			snprintf(known + length, sizeof known - length, "%s%s", length ? ", " : "", shelf->name);
	}
	if (name)
		message_set("there is no store '%.64s'; known are: %s", name, *known ? known : "none");
	else
		message_set("no store is named, and '%.64s', which is meant then (default of [manager]), is none; known are: %s", m->usual,
				*known ? known : "none");
	return LARDER_NO_STORE;
}

struct shelf *manager_shelf(struct larder_manager *m, const char *name)
{
	struct shelf *shelf = shelf_find(m, name ? name : m->usual);

	if (!shelf)
		(void)manager_no_store(m, name);
	return shelf;
}

/* ---- Bindings --------------------------------------------------------------------------------------------------------- */

static struct binding *binding_make(struct larder_store *store)
{
	struct binding *binding = malloc(sizeof *binding);

	if (!binding)
		return NULL;
	const struct larder_store_kind *kind = larder_store_kind_of(store);
	*binding = (struct binding){ .kind = kind, .self = larder_store_self(store), .store = larder_store_hold(store),
		.brief = kind == &store_shm || kind == &store_memory };
	return binding;
}

/* Of one that no reader can see. */
static void binding_free(struct binding *binding)
{
	if (!binding)
		return;
	larder_store_release(&binding->store);
	free(binding);
}

/* ---- Where is counted --------------------------------------------------------------------------------------------------- */

const struct series *route_series_slow(struct larder_handle *handle, struct route *route, enum operation operation)
{
	const struct series_labels labels = { .store = handle->shelf->name, .namespace = handle->ns->text,
		.operation = operation_names[operation] };
	struct series *mine = malloc(sizeof *mine);

	if (!mine || series_find(route->table, &labels, true, mine)) {
		free(mine);
		return NULL;
	}
	/* BIND (release), twice.  Lost: another thread found the same row. */
	if (operation == OP_GET && route->cache)
		(void)pointer_exchange_acq_rel(&route->gets, mine->row);
	if (pointer_cas_acq_rel(&route->series[operation], NULL, mine))
		return mine;
	free(mine);
	return pointer_load_acquire(&route->series[operation]);
}

/* The store in whose segment to count: the one that was chosen, or the first that has a segment; NULL: none. */
static struct larder_store *metering_store(const struct larder_manager *m)
{
	struct shelf *shelf;

	for (size_t i = 0; (shelf = shelf_at(m, i)) != NULL; i++) {
		struct binding *binding = pointer_load_acquire(&shelf->binding);
		bool wanted = binding && (!*m->metrics || !strcmp(m->metrics, shelf->name));
		if (wanted && larder_store_cache(binding->store))
			return binding->store;
	}
	return NULL;
}

static void metering_free(struct metering *metering)
{
	if (!metering)
		return;
	if (!metering->store)
		series_unmap(&metering->table);
	larder_store_release(&metering->store);
	free(metering);
}

/* Where nobody looks, and nothing is timed. */
static bool metering_silence(struct metering *metering)
{
	metering->silent = true;
	if (series_private(&metering->table, SILENT_ROWS, 1))
		return false;
	timing_set(&metering->table, TIMING_NEVER);
	return true;
}

static bool metering_fill(const struct larder_manager *m, struct metering *metering)
{
	struct larder_store *store = strcmp(m->metrics, "private") ? metering_store(m) : NULL;

	if (!strcmp(m->metrics, "none"))
		return metering_silence(metering);
	if (store) {
		metering->store = larder_store_hold(store);
		series_of_region(&larder_store_cache(store)->region, &metering->table);
	} else if (series_private(&metering->table, PRIVATE_ROWS, PRIVATE_HISTOGRAMS)) {
		return false;
	}
	if (m->timing_given)
		timing_set(&metering->table, m->timing ? m->timing : TIMING_NEVER);
	return true;
}

/* A new one for things as they are now; NULL: there is no memory to count in. */
static struct metering *metering_make(const struct larder_manager *m)
{
	struct metering *metering = calloc(1, sizeof *metering);

	if (metering && metering_fill(m, metering))
		return metering;
	free(metering);
	return NULL;
}

/* Under grace_lock(). */
static void metering_choose(struct larder_manager *m)
{
	if (m->metering_chosen)
		return;
	m->metering_chosen = true;
	/* BIND (release) */
	(void)pointer_exchange_acq_rel(&m->metering, metering_make(m));
}

/* ---- Routes --------------------------------------------------------------------------------------------------------------- */

static void route_free(struct route *route)
{
	for (unsigned i = 0; route && i < OPERATIONS; i++)
		free(pointer_load_acquire(&route->series[i]));
	free(route);
}

/* The way as it is now; NULL without memory.  Under grace_lock(). */
static struct route *route_make(const struct larder_manager *m, const struct shelf *shelf, const struct larder_name *ns)
{
	const struct metering *metering = pointer_load_acquire(&m->metering);
	const struct binding *binding = pointer_load_acquire(&shelf->binding);
	struct route *route = calloc(1, sizeof *route);

	if (!route)
		return NULL;
	route->binding = binding;
	route->table = metering ? &metering->table : NULL;
	route->timing = metering ? &metering->table.head->timing : NULL;
	struct larder *cache = binding && binding->brief ? larder_store_cache(binding->store) : NULL;
	/* Where its namespaces are all taken, the kind's functions say so, call by call. */
	if (cache && larder_namespace(cache, ns->text, &route->ns) == LARDER_OK)
		route->cache = cache;
	return route;
}

/* What went out of sight and waits for its grace period. */
struct outgoing {
	struct binding *binding;
	struct metering *metering;
	struct route **routes;
	size_t count;
};

static size_t handles_count(const struct larder_manager *m)
{
	size_t count = 0;

	for (unsigned i = 0; i < HANDLE_LISTS; i++)
		for (struct larder_handle *h = pointer_load_acquire(&m->handles[i]); h; h = h->next)
			count++;
	return count;
}

static bool outgoing_prepare(const struct larder_manager *m, struct outgoing *out)
{
	size_t count = handles_count(m);

	out->routes = calloc(count ? count : 1, sizeof *out->routes);
	return out->routes != NULL;
}

/* New routes for the handles of a shelf, or all (NULL): first made, all of them, then published.  False, with nothing changed:
 * no memory.  Under grace_lock(), which keeps the lists as they are. */
static bool routes_renew(struct larder_manager *m, const struct shelf *shelf, struct outgoing *out)
{
	struct larder_handle *h;
	bool made = true;

	for (unsigned i = 0; i < HANDLE_LISTS; i++)
		for (h = pointer_load_acquire(&m->handles[i]); h && made; h = h->next) {
			if (shelf && h->shelf != shelf)
				continue;
			out->routes[out->count] = route_make(m, h->shelf, h->ns);
			made = out->routes[out->count] != NULL;
			out->count += made;
		}
	for (size_t i = 0, at = 0; i < HANDLE_LISTS && made; i++)
		for (h = pointer_load_acquire(&m->handles[i]); h; h = h->next)
			if (!shelf || h->shelf == shelf) {
				/* BIND (release): the route is whole before an operation can load it. */
				out->routes[at] = pointer_exchange_acq_rel(&h->route, out->routes[at]);
				at++;
			}
	return made;
}

/* Not under the mutex any more: the last reference to a store may be among it. */
static void outgoing_free(struct outgoing *out)
{
	for (size_t i = 0; i < out->count; i++)
		route_free(out->routes[i]);
	free(out->routes);
	metering_free(out->metering);
	binding_free(out->binding);
}

/* ---- Binding names to stores ---------------------------------------------------------------------------------------------- */

enum bind_mode { BIND_FRESH, BIND_OVER, BIND_NOTHING };

/* Whether the store in whose segment is counted has no name any more. */
static bool metering_is_left(const struct larder_manager *m)
{
	const struct metering *metering = pointer_load_acquire(&m->metering);
	struct shelf *shelf;

	if (!metering || !metering->store)
		return false;
	for (size_t i = 0; (shelf = shelf_at(m, i)) != NULL; i++) {
		const struct binding *binding = pointer_load_acquire(&shelf->binding);
		if (binding && binding->store == metering->store)
			return false;
	}
	return true;
}

/* Puts `fresh` in the place of what the shelf has, and the handles on their new ways; all or nothing.  Under grace_lock(). */
static enum larder_status bind_over(struct larder_manager *m, struct shelf *shelf, struct binding *fresh, struct outgoing *out)
{
	/* BIND (release) */
	struct binding *before = pointer_exchange_acq_rel(&shelf->binding, fresh);
	struct metering *counted = fresh && metering_is_left(m) ? metering_make(m) : NULL;

	if (counted)
		out->metering = pointer_exchange_acq_rel(&m->metering, counted);
	if (outgoing_prepare(m, out) && routes_renew(m, counted ? NULL : shelf, out)) {
		out->binding = before;
		grace_wait();
		return LARDER_OK;
	}
	/* No memory: everything as it was.  What was published meanwhile is in no route, but may have been seen on the shelf. */
	(void)pointer_exchange_acq_rel(&shelf->binding, before);
	if (counted)
		out->metering = pointer_exchange_acq_rel(&m->metering, out->metering);
	grace_wait();
	return LARDER_NO_MEMORY;
}

/* Publishes `fresh` (NULL: nothing) on the shelf if the mode allows it, and returns when no reader sees what was there. */
static enum larder_status bind_store(struct larder_manager *m, struct shelf *shelf, struct binding *fresh, enum bind_mode mode)
{
	struct outgoing out = { 0 };
	enum larder_status status;

	grace_lock();
	bool bound = shelf_is_bound(shelf);
	if (bound == (mode != BIND_FRESH))
		status = bind_over(m, shelf, fresh, &out);
	else
		status = bound ? LARDER_EXISTS : LARDER_NO_STORE;
	grace_unlock();
	outgoing_free(&out);
	return status;
}

static enum larder_status name_check(const char *name)
{
	if (config_name_good(name))
		return LARDER_OK;
	message_set("store '%.64s': a name has 1 .. %u bytes of [a-z0-9_.-] and begins with a letter or a digit", name,
			LARDER_STORE_NAME_MAX);
	return LARDER_INVALID;
}

enum larder_status larder_manager_register(struct larder_manager *manager, const char *name, struct larder_store *store)
{
	struct shelf *shelf;

	if (!manager || !store)
		return LARDER_INVALID;
	if (!name)
		name = manager->usual;
	enum larder_status status = name_check(name);
	if (!status)
		status = shelf_make(manager, name, &shelf);
	if (status)
		return status;
	struct binding *binding = binding_make(store);
	if (!binding)
		return LARDER_NO_MEMORY;
	status = bind_store(manager, shelf, binding, BIND_FRESH);
	if (!status)
		return LARDER_OK;
	binding_free(binding);
	if (status == LARDER_EXISTS)
		message_set("there is a store '%s' already: replace it, or unregister it first", name);
	return status;
}

enum larder_status larder_manager_replace(struct larder_manager *manager, const char *name, struct larder_store *store)
{
	if (!manager || !store)
		return LARDER_INVALID;
	struct shelf *shelf = manager_shelf(manager, name);
	if (!shelf)
		return LARDER_NO_STORE;
	struct binding *binding = binding_make(store);
	if (!binding)
		return LARDER_NO_MEMORY;
	enum larder_status status = bind_store(manager, shelf, binding, BIND_OVER);
	if (!status)
		return LARDER_OK;
	binding_free(binding);
	return status == LARDER_NO_STORE ? manager_no_store(manager, name) : status;
}

enum larder_status larder_manager_unregister(struct larder_manager *manager, const char *name)
{
	struct shelf *shelf = manager ? manager_shelf(manager, name) : NULL;

	if (!shelf)
		return manager ? LARDER_NO_STORE : LARDER_INVALID;
	enum larder_status status = bind_store(manager, shelf, NULL, BIND_NOTHING);
	return status == LARDER_NO_STORE ? manager_no_store(manager, name) : status;
}

/* The store on a shelf, held; NULL: none. */
static struct larder_store *shelf_store(struct shelf *shelf)
{
	struct larder_store *store = NULL;

	grace_enter();
	/* BIND (acquire) */
	const struct binding *binding = pointer_load_acquire(&shelf->binding);
	if (binding)
		store = larder_store_hold(binding->store);
	grace_leave();
	return store;
}

struct larder_store *larder_manager_store(struct larder_manager *manager, const char *name)
{
	struct shelf *shelf = manager ? manager_shelf(manager, name) : NULL;
	struct larder_store *store = shelf ? shelf_store(shelf) : NULL;

	if (shelf && !store)
		(void)manager_no_store(manager, name);
	return store;
}

enum larder_status larder_manager_stores(struct larder_manager *manager,
		bool (*visit)(const char *name, struct larder_store *store, void *arg), void *arg)
{
	struct shelf *shelf;
	bool more = true;

	if (!manager || !visit)
		return LARDER_INVALID;
	for (size_t i = 0; more && (shelf = shelf_at(manager, i)) != NULL; i++) {
		struct larder_store *store = shelf_store(shelf);
		if (!store)
			continue;
		more = visit(shelf->name, store, arg);
		larder_store_release(&store);
	}
	return more ? LARDER_OK : LARDER_END;
}

/* ---- Handles ------------------------------------------------------------------------------------------------------------------ */

static struct pointer *handle_list(struct larder_manager *m, const struct shelf *shelf, const struct larder_name *ns)
{
	return &m->handles[((uintptr_t)shelf / sizeof *shelf * 31 + ns->index) % HANDLE_LISTS];
}

static struct larder_handle *handle_find(struct larder_handle *first, const struct shelf *shelf, const struct larder_name *ns)
{
	while (first && (first->shelf != shelf || first->ns != ns))
		first = first->next;
	return first;
}

/* Under grace_lock(), so that nobody renews what is counted in between. */
static struct larder_handle *handle_add(struct larder_manager *m, struct shelf *shelf, const struct larder_name *ns)
{
	struct pointer *list = handle_list(m, shelf, ns);
	struct larder_handle *first = pointer_load_acquire(list), *there = handle_find(first, shelf, ns);

	if (there)
		return there;
	there = calloc(1, sizeof *there);
	if (!there)
		return NULL;
	metering_choose(m);
	*there = (struct larder_handle){ .manager = m, .shelf = shelf, .ns = ns, .next = first };
	struct route *route = route_make(m, shelf, ns);
	if (!route) {
		free(there);
		return NULL;
	}
	/* BIND (release) */
	(void)pointer_exchange_acq_rel(&there->route, route);
	/* NAMED (release): the handle is whole before it can be found. */
	(void)pointer_exchange_acq_rel(list, there);
	return there;
}

enum larder_status manager_handle(struct larder_manager *m, struct shelf *shelf, const struct larder_name *ns,
		struct larder_handle **handle)
{
	/* NAMED (acquire) */
	*handle = handle_find(pointer_load_acquire(handle_list(m, shelf, ns)), shelf, ns);
	if (*handle)
		return LARDER_OK;
	grace_lock();
	*handle = handle_add(m, shelf, ns);
	grace_unlock();
	return *handle ? LARDER_OK : LARDER_NO_MEMORY;
}

enum larder_status larder_manager_handle(struct larder_manager *manager, const char *store, const char *ns,
		struct larder_handle **handle)
{
	const struct larder_name *name;

	if (!manager || !handle)
		return LARDER_INVALID;
	*handle = NULL;
	struct shelf *shelf = manager_shelf(manager, store);
	if (!shelf)
		return LARDER_NO_STORE;
	enum larder_status status = larder_name(ns, &name);
	if (!status)
		return manager_handle(manager, shelf, name, handle);
	if (status == LARDER_INVALID)
		message_set("namespace '%.80s': has 0 .. %u bytes", ns ? ns : "", LARDER_NAMESPACE_MAX);
	return status;
}

/* The metering there is, chosen now if it was not yet; NULL: none. */
static const struct metering *metering_now(struct larder_manager *m)
{
	grace_lock();
	metering_choose(m);
	grace_unlock();
	return pointer_load_acquire(&m->metering); /* BIND (acquire) */
}

struct larder *larder_manager_cache(struct larder_manager *manager)
{
	if (!manager)
		return NULL;
	const struct metering *metering = metering_now(manager);
	return metering ? larder_store_cache(metering->store) : NULL;
}

enum larder_status larder_manager_record(struct larder_manager *manager, const char *operation, const char *store,
		const char *namespace_name, bool success, uint64_t duration_ns, const struct larder_label *labels, unsigned label_count)
{
	enum larder_status status = LARDER_OK;

	if (!manager)
		return LARDER_INVALID;
	if (!pointer_load_acquire(&manager->metering))
		(void)metering_now(manager);
	grace_enter();
	const struct metering *metering = pointer_load_acquire(&manager->metering);
	if (metering && !metering->silent)
		status = monitor_record(&metering->table, operation, store, namespace_name, success, duration_ns, labels, label_count);
	grace_leave();
	return status;
}

/* The callback may register and replace: so no reader while it runs, but a reference to what it looks at. */
enum larder_status larder_manager_metrics(struct larder_manager *manager,
		bool (*visit)(const struct larder_metric *metric, void *arg), void *arg)
{
	struct larder_store *store = NULL;
	const struct series_table *private = NULL;

	if (!manager || !visit)
		return LARDER_INVALID;
	grace_lock();
	metering_choose(manager);
	struct metering *metering = pointer_load_acquire(&manager->metering);
	if (metering && metering->store)
		store = larder_store_hold(metering->store);
	else if (metering && !metering->silent)
		private = &metering->table; /* stays for as long as the manager does: only what lies in a segment moves */
	grace_unlock();
	if (private)
		return monitor_visit(private, visit, arg);
	enum larder_status status = store ? larder_metrics(larder_store_cache(store), visit, arg) : LARDER_OK;
	larder_store_release(&store);
	return status;
}

/* ---- Closing ------------------------------------------------------------------------------------------------------------------ */

static void handles_free(struct larder_handle *handle)
{
	while (handle) {
		struct larder_handle *next = handle->next;
		route_free(pointer_load_acquire(&handle->route));
		free(handle);
		handle = next;
	}
}

void larder_manager_close(struct larder_manager **manager)
{
	struct larder_manager *m = manager ? *manager : NULL;
	struct shelf *shelf;

	if (!m)
		return;
	*manager = NULL;
	for (unsigned i = 0; i < HANDLE_LISTS; i++)
		handles_free(pointer_load_acquire(&m->handles[i]));
	metering_free(pointer_load_acquire(&m->metering));
	/* From the last to the first: later ones may be made of earlier ones. */
	for (size_t i = LARDER_STORES_MAX; i > 0; i--) {
		shelf = shelf_at(m, i - 1);
		if (shelf)
			binding_free(pointer_load_acquire(&shelf->binding));
		free(shelf);
	}
	free(m);
}
