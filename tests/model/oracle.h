/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sequential oracle: what each key may hold, after all that was done so far by whatever handle.
 *
 * A cache may lose an entry at any time, so the oracle is told what was answered and says whether that could be: an entry
 * that is remembered may be gone (where the configuration evicts), but what was once seen gone stays gone, and what is
 * seen is the value that was set last.  Expiry is known to within the time that the setting call took.
 */
#ifndef LARDER_TESTS_ORACLE_H
#define LARDER_TESTS_ORACLE_H

#include <larder/policy.h>

#define ORACLE_NAMESPACES 3u
#define FOREVER INT64_MAX

/* What is remembered of one key.  It is there, unless it vanished since; or it is not. */
struct item {
	uint32_t ns;
	char key[40];
	size_t key_bytes;
	bool there;
	bool stale;              /* softly flushed: there for LARDER_ALLOW_STALE alone */
	unsigned char *value;
	size_t bytes;
	uint32_t user_flags;
	uint64_t version;        /* 0: not known */
	uint32_t tags;           /* bits */
	uint64_t token;          /* of the lease taken last; 0: something happened to the key since */
	uint64_t spoiled;        /* the token that was good before that */
	int64_t expires_lo, expires_hi; /* it expires between these two, on the monotonic clock */
};

enum sight { MUST, MAY, CANNOT };

struct oracle {
	struct item *items;
	unsigned count;
	bool evicts;             /* entries may vanish */
	int64_t ttl_ms[ORACLE_NAMESPACES];
};

void oracle_init(struct oracle *o, unsigned keys, bool evicts);
void oracle_free(struct oracle *o);
int64_t now_ms(void);

/* Whether a call that began at `before` and has ended can, or must, have seen the item live. */
enum sight oracle_sight(const struct oracle *o, const struct item *i, int64_t before);
void oracle_set(struct oracle *o, struct item *i, const void *value, size_t bytes, uint32_t user_flags, int64_t ttl_ms, uint64_t version,
		int64_t before);
void oracle_gone(struct item *i);
/* A call that began at `before` gave the item this time to live; live: there was an entry whose own could be kept. */
void oracle_expiry(struct oracle *o, struct item *i, int64_t ttl_ms, bool live, int64_t before);
/* Whatever lease there was is none any more. */
void oracle_spoil(struct item *i);
/* All that carries one of these tags goes. */
void oracle_invalidate(struct oracle *o, uint32_t tags);
void oracle_flush(struct oracle *o, uint32_t ns, bool hard);

#endif
