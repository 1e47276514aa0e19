/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The manager: the caches of a program under names, behind one interface, with metrics.
 *
 *     struct larder_manager *manager;
 *     struct larder_handle *users;
 *     if (larder_manager_open("/etc/shop.conf", &manager) < 0
 *                     || larder_manager_handle(manager, "sessions", "users", &users) < 0)
 *             errx(1, "%s", larder_message());
 *     larder_handle_set(users, "7", 1, "Ada", 3, LARDER_SECONDS(60));
 *     struct larder_buffer value = { .grow = true };
 *     if (larder_handle_get(users, "7", 1, &value) == LARDER_OK) ...
 *     free(value.data);
 *     larder_manager_close(&manager);
 *
 * A STORE has a name in the manager; it can be registered, replaced and unregistered at any time, while other threads are in the middle
 * of operations on it: those finish with the store that they began with, which closes after the last of them.  A HANDLE stands for a
 * namespace in the store of a name, whatever store that is at the moment.  It is found once and good until the manager closes.
 *
 * Any number of managers may be open in a process.  Unless a call says otherwise:
 *
 *   progress  Operations are as the store's kind does them (shm and memory: lock-free), and never wait for those who
 *             register, replace and unregister.  These wait for each other and for operations on stores of the kinds shm
 *             and memory that are under way (microseconds); they must not be called from within a callback of such an operation.
 *   threads   Any number, but larder_manager_close().
 *   fork      A child uses the managers that it inherited, at any moment.  (Managers call urcu_bp_before_fork() and its two
 *             companions around each fork; a program that uses liburcu-bp itself must not call them, too.)
 *   signals   Not async-signal-safe.
 *   failures  A status below 0, larder_message(), and an event for the manager's log.
 */
#ifndef LARDER_MANAGER_H
#define LARDER_MANAGER_H

#include <larder/key.h>
#include <larder/log.h>
#include <larder/monitor.h>
#include <larder/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A time to live in seconds; and one as text: digits and ms, s, m, h or d, seconds without.
 * larder_ttl: LARDER_OK; LARDER_INVALID (malformed, 0, or more than LARDER_TTL_MAX). */
#define LARDER_SECONDS(n) ((int64_t)(n) * 1000)
LARDER_API enum larder_status larder_ttl(const char *text, int64_t *ttl_ms);

/* ---- Opening and closing ---------------------------------------------------------------------------------------------- */

struct larder_manager;

enum larder_manager_flags {
	LARDER_NO_ENVIRONMENT = 1u << 0 /* neither LARDER_CONFIG nor LARDER_MANAGER_* nor LARDER_STORE_* are looked at */
};

/* Settings come from four places, each of which overrides those before it, setting by setting: text, file, environment, and then the
 * calls that the program makes.  A set-user-ID program's environment is not looked at.  See larder.conf(5). */
struct larder_manager_options {
	size_t size;      /* sizeof(struct larder_manager_options): set by LARDER_MANAGER_OPTIONS_INIT */
	uint32_t flags;   /* enum larder_manager_flags */
	uint32_t unused;  /* 0 */
	const char *text; /* configuration that the program brings; NULL: none */
	const char *file; /* path of a configuration; NULL: that of LARDER_CONFIG, if it is set; "": none */
	/* Called for each failure, in the thread of the operation; NULL: what the configuration says (log = ), else nobody.
	 * It may use the cache; failures within it are told as well. */
	void (*log)(const struct larder_log_event *event, void *arg);
	void *log_arg;
};
#ifdef __cplusplus
#define LARDER_MANAGER_OPTIONS_INIT { sizeof(larder_manager_options), 0, 0, 0, 0, 0, 0 }
#else
#define LARDER_MANAGER_OPTIONS_INIT { .size = sizeof(struct larder_manager_options) }
#endif

/*
 * Opens a manager, and the stores of its configuration.  file may be NULL (see struct larder_manager_options).
 * LARDER_OK; LARDER_INVALID: something in the configuration is unknown, malformed, missing or out of range (the message names
 * file, line, key, value and what is allowed); LARDER_SYSTEM (the file cannot be read); LARDER_NO_MEMORY; and what opening a store answers.
 * On failure nothing is left open and *manager is NULL.
 */
LARDER_API enum larder_status larder_manager_open(const char *file, struct larder_manager **manager);
LARDER_API enum larder_status larder_manager_open_with(const struct larder_manager_options *options,
		struct larder_manager **manager);

/* Gives all stores back and nulls *manager; its handles end.  No other thread may be in a call on it.  NULL does nothing. */
LARDER_API void larder_manager_close(struct larder_manager **manager);

/* ---- Stores by name ------------------------------------------------------------------------------------------------------ */

#define LARDER_STORE_NAME_MAX 40u  /* bytes: [a-z0-9_.-], beginning with a letter or a digit */
#define LARDER_STORES_MAX 256u     /* names that a manager has ever known */
/* Wherever the name of a store is asked for, NULL is the one that the configuration calls `default`, and that is "default" by default. */

/* Opens a store as larder_store_open() does and registers it; settings of type store name stores of this manager. */
LARDER_API enum larder_status larder_manager_define(struct larder_manager *manager, const char *name, const char *kind,
		const struct larder_setting *settings, size_t count);

/* Puts `store` under a name that has none now; the manager takes a reference of its own.
 * LARDER_OK; LARDER_EXISTS (there is one: replace it); LARDER_INVALID (no such name); LARDER_NO_ROOM (LARDER_STORES_MAX names);
 * LARDER_NO_MEMORY. */
LARDER_API enum larder_status larder_manager_register(struct larder_manager *manager, const char *name,
		struct larder_store *store);
/* Puts `store` in the place of the one of that name: whoever begins an operation after this has returned meets the new one.
 * LARDER_OK; LARDER_INVALID; LARDER_NO_STORE; LARDER_NO_MEMORY, and the old one stays. */
LARDER_API enum larder_status larder_manager_replace(struct larder_manager *manager, const char *name,
		struct larder_store *store);
/* Takes the store of that name away: operations then answer LARDER_NO_STORE until there is one again.
 * LARDER_OK; LARDER_INVALID; LARDER_NO_STORE; LARDER_NO_MEMORY, and it stays. */
LARDER_API enum larder_status larder_manager_unregister(struct larder_manager *manager, const char *name);

/* The store of that name now, held for the caller (larder_store_release), or NULL with a message. */
LARDER_API struct larder_store *larder_manager_store(struct larder_manager *manager, const char *name);

/* Calls visit for each store there is, in the order in which their names became known, until it returns false.  The callback may
 * use the manager.  LARDER_OK; LARDER_END; LARDER_INVALID. */
LARDER_API enum larder_status larder_manager_stores(struct larder_manager *manager,
		bool (*visit)(const char *name, struct larder_store *store, void *arg), void *arg);

/* ---- Operations on a handle ------------------------------------------------------------------------------------------------ */

struct larder_handle;

/* The handle of namespace ns (1 .. 64 bytes; "": the default namespace) in the store of that name; the same one for the same names.
 * Never freed before the manager.  LARDER_OK; LARDER_NO_STORE: never registered (the message lists those that are);
 * LARDER_INVALID, LARDER_NAMESPACES, LARDER_NO_MEMORY (as larder_name). */
LARDER_API enum larder_status larder_manager_handle(struct larder_manager *manager, const char *store, const char *ns,
		struct larder_handle **handle);

/*
 * Keys are key[0 .. key_bytes), any bytes, not escaped: 1 .. LARDER_KEY_MAX as they stand in canonical text.  A key without ':' and '%'
 * is passed on as it is; no string is built.
 *
 * Each call is that of the store (larder_store_get and so on) and counted: cache_hits, cache_misses, cache_sets, cache_deletes,
 * cache_operations, cache_errors, and the durations of a sample, by store and namespace.  Statuses are the store's, and
 * LARDER_NO_STORE: the name was unregistered; LARDER_KEY_SIZE; LARDER_INVALID.
 */
LARDER_API enum larder_status larder_handle_get(struct larder_handle *handle, const void *key, size_t key_bytes,
		struct larder_buffer *value);
/* The same with flags (enum larder_read_flags) and, where meta is not NULL, what there is to know of the entry. */
LARDER_API enum larder_status larder_handle_get_with(struct larder_handle *handle, const void *key, size_t key_bytes,
		struct larder_buffer *value, uint32_t flags, struct larder_meta *meta);
LARDER_API enum larder_status larder_handle_set(struct larder_handle *handle, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, int64_t ttl_ms);
LARDER_API enum larder_status larder_handle_set_with(struct larder_handle *handle, const void *key, size_t key_bytes,
		const void *value, size_t value_bytes, const struct larder_set_options *options, struct larder_result *result);
LARDER_API enum larder_status larder_handle_delete(struct larder_handle *handle, const void *key, size_t key_bytes);
LARDER_API enum larder_status larder_handle_touch(struct larder_handle *handle, const void *key, size_t key_bytes,
		int64_t ttl_ms);
/* An absent key becomes initial + delta with create, and lives for ttl_ms; without, LARDER_MISS.  sum may be NULL. */
LARDER_API enum larder_status larder_handle_incr(struct larder_handle *handle, const void *key, size_t key_bytes, int64_t delta,
		bool create, int64_t initial, int64_t ttl_ms, int64_t *sum);
/* Invalidates the namespace; soft where the store can: values can still be read with LARDER_ALLOW_STALE. */
LARDER_API enum larder_status larder_handle_clear(struct larder_handle *handle, bool soft);

/* Gets many: key.bytes and key.count of each item are a key as above, key.ns is set by the call.  flags: enum larder_read_flags and
 * LARDER_MGET_META.  Each item has its own status; hits and misses are counted one by one, the duration once, as "mget". */
LARDER_API enum larder_status larder_handle_mget(struct larder_handle *handle, uint32_t flags, struct larder_store_item *items,
		size_t count);

/*
 * The value of key: found, or computed by loader(arg) and set; see larder/policy.h for loader, options and how (either may be NULL).
 * In the kinds shm and memory the loader runs once for all processes that ask at a time; in others each caller that finds nothing,
 * or whose store fails, loads by itself.  Counts as a get that hits or misses, and as "get_or_compute".  The loader may use the
 * manager, and may take its time: nobody who registers or replaces stores waits for it.
 */
LARDER_API enum larder_status larder_handle_get_or_compute(struct larder_handle *handle, const void *key, size_t key_bytes,
		larder_loader *loader, void *arg, const struct larder_compute_options *options, struct larder_buffer *value,
		struct larder_computed *how);

/* ---- Operations by names --------------------------------------------------------------------------------------------------- */

/* The same for a key with its namespace and perhaps a version (larder/key.h): the handle is looked up in each call.
 * Also what larder_key_check() and larder_manager_handle() answer. */
LARDER_API enum larder_status larder_manager_get(struct larder_manager *manager, const char *store,
		const struct larder_key *key, struct larder_buffer *value, uint32_t flags, struct larder_meta *meta);
LARDER_API enum larder_status larder_manager_set(struct larder_manager *manager, const char *store,
		const struct larder_key *key, const void *value, size_t value_bytes, int64_t ttl_ms);
LARDER_API enum larder_status larder_manager_delete(struct larder_manager *manager, const char *store,
		const struct larder_key *key);

/* ---- Metrics --------------------------------------------------------------------------------------------------------------- */

/* Where the manager counts: in the segment of the first registered store that has one, as it is when the first handle is made;
 * else in memory of this process.  `metrics = ` in the configuration chooses another store, `private` or `none`.
 * The engine's handle of that segment, for larder/monitor.h; NULL for private memory and none.  The manager's, until it closes. */
LARDER_API struct larder *larder_manager_cache(struct larder_manager *manager);

/* larder_monitor_record() and larder_metrics() on wherever the manager counts; LARDER_OK, and nothing is done, with `metrics = none`. */
LARDER_API enum larder_status larder_manager_record(struct larder_manager *manager, const char *operation, const char *store,
		const char *namespace_name, bool success, uint64_t duration_ns, const struct larder_label *labels,
		unsigned label_count);
LARDER_API enum larder_status larder_manager_metrics(struct larder_manager *manager,
		bool (*visit)(const struct larder_metric *metric, void *arg), void *arg);

#ifdef __cplusplus
}
#endif
#endif
