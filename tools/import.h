/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of `larder import` share: one sink, import_item(), into which every source pours what it reads, and
 * what each source needs to say of where it is.
 *
 * A source that meets something it cannot read calls import_bad() and goes on with the next thing; it ends early only
 * when the source itself fails.  What the cache refuses is counted by the sink.
 */
#ifndef LARDER_IMPORT_H
#define LARDER_IMPORT_H

#include "tool.h"

/* Fields of a record of a CSV or JSON lines file.  The last two are `key` and `value` in hexadecimal. */
#define IMPORT_FIELDS(X) X(namespace) X(key) X(value) X(ttl_ms) X(expires_at_ms) X(flags) X(key_hex) X(value_hex)
enum import_field {
#define IMPORT_ENUM(name) FIELD_##name,
	IMPORT_FIELDS(IMPORT_ENUM)
#undef IMPORT_ENUM
	FIELD_COUNT
};
extern const char *const import_field_names[FIELD_COUNT];

struct import_space; /* a namespace that has been met */

struct import {
	const char *source;  /* as it was given */
	struct larder *cache;
	uint64_t value_max_bytes;
	/* options */
	const char *ns;      /* NULL: what the source says */
	const char *strip, *match;
	const char *columns[FIELD_COUNT]; /* what each field is called in the file */
	int64_t ttl_ms;      /* of what comes without one */
	int64_t timeout_ms;  /* of one exchange with a server */
	bool split, keep, no_evict, dry_run, quiet, json, progress;
	/* under way */
	struct import_space *spaces;
	uint32_t space_count;
	uint64_t began_ms, told_ms;
	/* how it went */
	uint64_t found, imported, kept, expired, unmatched, skipped, refused, bad, evicted;
	int code;            /* other than TOOL_OK: the cache is of no more use */
};

/* One thing to import.  expires_at_ms: wall clock, 0: see ttl_ms; ttl_ms: above 0, or LARDER_TTL_NONE. */
struct import_item {
	struct bytes ns, key, value;
	int64_t expires_at_ms, ttl_ms;
	uint32_t flags;
	bool counter;
};

/* False: stop, import->code says why. */
bool import_item(struct import *import, const struct import_item *item);
/* Something that cannot be read, at `where` ("line 7"); counted, and reported up to a limit. */
void import_bad(struct import *import, const char *where, const char *format, ...)
		__attribute__((format(printf, 3, 4)));
/* Something that is no entry of a cache (a list of Redis), or is gone meanwhile: counted. */
void import_skip(struct import *import);
/* What the format of a key, value or number demands; NULL: fine, else what is wrong with it. */
const char *import_number(struct bytes text, int64_t least, int64_t most, int64_t *number);

/* ---- Where a server is: SCHEME://[[USER]:PASSWORD@]HOST[:PORT][/PATH][?db=N], or SCHEME:///SOCKET ---- */

struct import_url {
	char *text;                      /* owns what follows */
	const char *user, *password;     /* NULL: none */
	const char *host, *socket, *port;
	uint32_t db;
};
/* Ends the program with TOOL_USAGE on a URL that is none; import_url_close() frees it. */
void import_url_open(struct import_url *url, const char *text, const char *usual_port);
void import_url_close(struct import_url *url);

/* ---- The sources; each returns an exit code ---- */

int import_redis(struct import *import);
int import_memcached(struct import *import);
int import_csv(struct import *import, FILE *in);
int import_jsonl(struct import *import, FILE *in);
int import_dump(struct import *import);

#endif
