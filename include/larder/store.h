/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stores: one interface for every cache of a program, whatever keeps the bytes.
 *
 * A KIND of store ("shm", "memory", "redis", "tiered", …, or your own) is a table of functions and the settings that it
 * takes.  A STORE is one opened instance of a kind, counted by reference.  The manager (larder/manager.h) gives stores names
 * and replaces them under load; a store works just as well without one.
 *
 *     static const struct larder_setting settings[] = { { "name", "web" }, { "bytes", "256m" } };
 *     struct larder_store *store;
 *     if (larder_store_open("shm", settings, 2, NULL, NULL, &store) < 0)
 *             errx(1, "%s", larder_message());
 *     larder_store_set(store, &key, "Ada", 3, NULL, NULL);
 *     larder_store_release(&store);
 *
 * Unless a call says otherwise: it may be called by any number of threads at once; it makes as much progress as the kind
 * does (shm and memory: lock-free; redis: returns within its time-out); it is not async-signal-safe; after fork a child uses
 * the stores that it inherited (a kind with connections opens its own).
 */
#ifndef LARDER_STORE_H
#define LARDER_STORE_H

#include <larder.h>
#include <larder/policy.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Names of namespaces ------------------------------------------------------------------------------------------ */

/* The name of a namespace, interned once for the whole process: compare by pointer, keep for ever. */
struct larder_name {
	uint32_t index;      /* below LARDER_NAMES_MAX; stores map it to what they need without looking at the text */
	uint32_t text_bytes;
	uint32_t escaped_bytes;
	const char *text;    /* NUL-terminated, 0 .. 64 bytes */
	const char *escaped; /* the same as it stands in canonical key text: ':' as %3A, '%' as %25 */
};
#define LARDER_NAMES_MAX 8192u

/* The interned name `text` (0 .. 64 bytes; "" is the default namespace).  Never freed.
 * LARDER_OK; LARDER_INVALID (too long); LARDER_NAMESPACES (LARDER_NAMES_MAX of them exist already); LARDER_NO_MEMORY.
 * Lock-free, and so safe in a forked child.  Ask once and keep the answer: this is not for each operation. */
LARDER_API enum larder_status larder_name(const char *text, const struct larder_name **name);

/* ---- What passes through a store ---------------------------------------------------------------------------------- */

/* A key as stores see it: bytes are the canonical text behind the namespace (escaped key, or escaped key ':' escaped
 * version), 1 .. LARDER_KEY_MAX of them.  larder/key.h makes them; a key without ':' and '%' stands for itself. */
struct larder_store_key {
	const struct larder_name *ns;
	const void *bytes;
	size_t count;
};

/* Where a value goes.  With grow, a store makes more room by realloc (data may begin as NULL) and the caller frees data; without,
 * what does not fit answers LARDER_SHORT.  length is the value's size in bytes in either case. */
struct larder_buffer {
	void *data;
	size_t capacity;
	size_t length;
	bool grow;
};
/* For stores: room for `bytes` in buffer; sets length.  LARDER_OK; LARDER_SHORT; LARDER_NO_MEMORY. */
LARDER_API enum larder_status larder_buffer_take(struct larder_buffer *buffer, size_t bytes);

enum larder_mget_flags {
	LARDER_MGET_META = 1u << 30 /* mget: fill in each item's meta, which costs a store more; else meta is left as it is */
};
struct larder_store_item {
	struct larder_store_key key;
	struct larder_buffer value;
	struct larder_meta meta;
	enum larder_status status;
};

/* One write of several (larder_store_write_many). */
struct larder_store_write {
	struct larder_store_key key;
	bool remove;       /* a delete: the rest does not matter */
	const void *value;
	size_t value_bytes;
	const struct larder_set_options *options; /* NULL: LARDER_SET with LARDER_TTL_DEFAULT */
	enum larder_status status;
};

struct larder_health {
	bool usable;            /* operations can be expected to succeed now */
	enum larder_status last; /* the failure seen last, LARDER_OK if none */
	uint64_t round_trip_ns; /* of the check itself */
	char text[160];         /* for people: "attached to /dev/shm/larder.web", "refused by 127.0.0.1:6379" */
};

/* ---- Settings ------------------------------------------------------------------------------------------------------- */

/* One setting as it is written: in a configuration file, in the environment, or by the program. */
struct larder_setting {
	const char *key;
	const char *value;
};

enum larder_setting_type {
	LARDER_SETTING_TEXT = 0,
	LARDER_SETTING_SIZE = 1,     /* bytes: digits and k, m, g, t (powers of 1024) */
	LARDER_SETTING_DURATION = 2, /* milliseconds: digits and ms, s, m, h, d; no unit: seconds */
	LARDER_SETTING_COUNT = 3,
	LARDER_SETTING_BOOL = 4,     /* yes no true false on off 1 0 */
	LARDER_SETTING_CHOICE = 5,   /* one of choices; its number is its place among them */
	LARDER_SETTING_STORE = 6     /* the name of another store, of whatever opens this one */
};

/* One setting that a kind takes: what a value has to be, and what the manual says of it. */
struct larder_setting_rule {
	const char *key;
	enum larder_setting_type type;
	int64_t least, most;  /* of a size, duration or count, inclusive */
	const char *usual;    /* taken where the setting is absent; NULL: the setting has to be there; "" for none */
	const char *choices;  /* "a|b|c" */
	const char *text;     /* one line for people */
};

/* A setting after validation, in the order of the kind's rules. */
struct larder_setting_value {
	const char *text;  /* as written, or the usual one; valid during open only */
	int64_t number;    /* bytes, ms, count, 0 or 1, the choice's number */
	struct larder_store *store; /* LARDER_SETTING_STORE; NULL where none is named.  Hold it to keep it */
	bool given;
};

/* ---- Kinds ---------------------------------------------------------------------------------------------------------- */

/*
 * A kind of store.  The table has to live as long as the process.  `self` is what open returned.  Every function may be called
 * by several threads at once, but open and close.  Functions that are NULL may be so ("optional"); what then happens stands
 * beside them.  Statuses are those of the engine's calls of the same name; a failure leaves a message (larder_store_message).
 */
struct larder_store_kind {
	size_t size;      /* sizeof(struct larder_store_kind) */
	const char *name; /* [a-z0-9-]{1,32} */
	const struct larder_setting_rule *rules;
	unsigned rule_count;

	enum larder_status (*open)(const struct larder_setting_value *values, void **self);
	void (*close)(void *self);
	enum larder_status (*health)(void *self, struct larder_health *health);

	/* flags: enum larder_read_flags.  meta may be NULL. */
	enum larder_status (*get)(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
			struct larder_meta *meta);
	/* options NULL: LARDER_SET with LARDER_TTL_DEFAULT; else whole, of the library's size, whatever the caller's was.  result may be NULL. */
	enum larder_status (*set)(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
			const struct larder_set_options *options, struct larder_result *result);
	enum larder_status (*remove)(void *self, const struct larder_store_key *key);
	/* Invalidates a namespace; soft where the store can, else hard. */
	enum larder_status (*clear)(void *self, const struct larder_name *ns, bool soft);

	/* optional: get, one by one.  Each item has its own status; keys may be of several namespaces.  flags: also LARDER_MGET_META. */
	enum larder_status (*mget)(void *self, uint32_t flags, struct larder_store_item *items, size_t count);
	/* optional: set and remove, one by one.  Each write has its own status; those of one key are done in their order. */
	enum larder_status (*write_many)(void *self, struct larder_store_write *writes, size_t count);
	/* optional: LARDER_UNSUPPORTED */
	enum larder_status (*touch)(void *self, const struct larder_store_key *key, int64_t ttl_ms);
	enum larder_status (*incr)(void *self, const struct larder_store_key *key, int64_t delta, bool create, int64_t initial,
			int64_t ttl_ms, int64_t *sum);
	/* optional: what was accepted and not yet written (write-behind) is written now; LARDER_OK where nothing can be */
	enum larder_status (*drain)(void *self, int64_t timeout_ms);
	/* optional: the engine beneath, in whose segment the metrics of this store are kept; none: NULL */
	struct larder *(*cache)(void *self);
	/* optional: as larder_get_or_compute(), once for all who ask at a time, as far as the kind can see them; else each caller that
	 * finds nothing loads and sets by itself */
	enum larder_status (*get_or_compute)(void *self, const struct larder_store_key *key, larder_loader *loader, void *arg,
			const struct larder_compute_options *options, struct larder_buffer *value, struct larder_computed *how);
};

/* Makes a kind known by its name to larder_store_open() and to configurations.  LARDER_OK; LARDER_INVALID (a function that has
 * to be there is NULL, a bad name or size); LARDER_EXISTS; LARDER_NO_ROOM (32 kinds).  Lock-free. */
LARDER_API enum larder_status larder_kind_register(const struct larder_store_kind *kind);
/* The kind of that name, or NULL. */
LARDER_API const struct larder_store_kind *larder_kind_find(const char *name);

/* For kinds: what larder_message() says to the caller of the call that failed. */
LARDER_API void larder_store_message(const char *format, ...)
#if defined(__GNUC__)
		__attribute__((format(printf, 1, 2)))
#endif
		;

/* ---- Opening and closing ---------------------------------------------------------------------------------------------- */

struct larder_store;

/*
 * Opens a store of the kind `kind` with settings[0 .. count).  find (may be NULL) resolves the names of other stores.
 * *store has one reference, the caller's.
 * LARDER_OK; LARDER_INVALID: no such kind, or a setting that is unknown, given twice, missing, malformed or out of range: the
 * message names key, value and allowed range; and what the kind's open answers.  May block as opening does.
 */
LARDER_API enum larder_status larder_store_open(const char *kind, const struct larder_setting *settings, size_t count,
		struct larder_store *(*find)(const char *name, void *arg), void *arg, struct larder_store **store);
LARDER_API struct larder_store *larder_store_hold(struct larder_store *store);
/* Gives one reference back and nulls *store; the last one closes it.  NULL does nothing. */
LARDER_API void larder_store_release(struct larder_store **store);

LARDER_API const struct larder_store_kind *larder_store_kind_of(const struct larder_store *store);
LARDER_API void *larder_store_self(const struct larder_store *store); /* what the kind's open returned */

/* ---- Operations --------------------------------------------------------------------------------------------------------- */

/* Each is the kind's function of that name (see there); LARDER_INVALID for a key without namespace, LARDER_KEY_SIZE. */
LARDER_API enum larder_status larder_store_get(struct larder_store *store, const struct larder_store_key *key, uint32_t flags,
		struct larder_buffer *value, struct larder_meta *meta);
LARDER_API enum larder_status larder_store_set(struct larder_store *store, const struct larder_store_key *key,
		const void *value, size_t value_bytes, const struct larder_set_options *options, struct larder_result *result);
LARDER_API enum larder_status larder_store_delete(struct larder_store *store, const struct larder_store_key *key);
LARDER_API enum larder_status larder_store_clear(struct larder_store *store, const struct larder_name *ns, bool soft);
LARDER_API enum larder_status larder_store_mget(struct larder_store *store, uint32_t flags, struct larder_store_item *items,
		size_t count);
/* Sets and deletes in one go: a kind with a server behind it sends them all before it waits.  Not atomic as a whole. */
LARDER_API enum larder_status larder_store_write_many(struct larder_store *store, struct larder_store_write *writes,
		size_t count);
LARDER_API enum larder_status larder_store_touch(struct larder_store *store, const struct larder_store_key *key,
		int64_t ttl_ms);
LARDER_API enum larder_status larder_store_incr(struct larder_store *store, const struct larder_store_key *key, int64_t delta,
		bool create, int64_t initial, int64_t ttl_ms, int64_t *sum);
/* The value of key: found, or computed by loader(arg) and set.  options and how may be NULL. */
LARDER_API enum larder_status larder_store_get_or_compute(struct larder_store *store, const struct larder_store_key *key,
		larder_loader *loader, void *arg, const struct larder_compute_options *options, struct larder_buffer *value,
		struct larder_computed *how);
LARDER_API enum larder_status larder_store_drain(struct larder_store *store, int64_t timeout_ms);
LARDER_API enum larder_status larder_store_health(struct larder_store *store, struct larder_health *health);
LARDER_API struct larder *larder_store_cache(struct larder_store *store);

#ifdef __cplusplus
}
#endif
#endif
