/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One change of one key, as every writing call of the public interface describes it.
 *
 * put_run() is the loop that all share: search, decide, draft, find room, write, publish; a lost CAS starts over.  What is
 * special to an operation is one function that looks at what was found and completes the draft.
 */
#ifndef LARDER_CACHE_PUT_H
#define LARDER_CACHE_PUT_H

#include "cache/call.h"

enum put_next {
	PUT_WRITE,  /* the draft stands: publish it */
	PUT_ANSWER, /* change nothing; put->answer is the call's status */
	PUT_AGAIN,  /* what was found has changed: search again */
	PUT_REMOVE  /* take out what was found, then search again */
};

/* The chunks behind a manifest that was taken out: whoever did that takes them out, too. */
struct chunks { uint64_t bytes, version; };
struct chunks chunks_of(const struct region *r, const struct entry *e);

struct put {
	struct key key;
	/* what the caller asks for */
	enum larder_set_mode mode;
	uint32_t flags;       /* enum larder_set_flags */
	int64_t ttl_ms;
	int64_t expires_at_ms;
	uint32_t jitter_percent;
	bool keep_ttl;        /* of an entry that is there, whatever ttl_ms says of a fresh one */
	uint64_t version;     /* LARDER_CAS */
	uint64_t kept_word;   /* not 0: only if the slot still holds this word, whose place HAZARD_KEEP names */
	uint32_t linger_ms;   /* kept so much longer than its time to live */
	bool raw;             /* decide() is shown what is found whatever its life is */
	bool own_times;       /* decide() sets stamp, created and expiry of the draft */
	bool same_age;        /* what replaces an entry is of its generation */
	bool dated;           /* it is of generation as_of, which was the present one when the caller began */
	uint32_t as_of;
	bool fresh_tags;      /* the draft's tags carry the clock of this change */
	bool lease;           /* not a set of the caller's: not counted as one, and not to be evicted soon */
	struct draft draft;   /* value, kind and fields; the rest is filled in here */
	enum put_next (*decide)(struct actor *a, struct put *put, const struct found *f); /* f: live and held; NULL if absent */
	void *arg;
	/* what came of it */
	enum larder_status answer;
	struct larder_result result;
	struct chunks replaced; /* of a large value that was replaced */
	char digits[24];
	uint64_t cell;            /* a counter's first value */
	enum life life;           /* of what was found */
	uint32_t generation;      /* of the entry to be written */
	bool live;                /* what was found is good, and decide() was shown it */
	bool tallied;             /* the namespace's bytes were raised already */
	unsigned rooms;           /* how many times room was made for it */
	bool ghost;               /* the key was evicted lately */
};

/* LARDER_OK, put->answer, or a failure. */
enum larder_status put_run(struct actor *a, struct put *put);

/* decide() of set, add, replace, cas. */
enum put_next put_by_mode(struct actor *a, struct put *put, const struct found *f);
/* Freezes the counter found, if it is one, and points *value at its digits, so that it can be replaced by what it reads as. */
void put_thaw_to_digits(struct put *put, const struct found *f, const void **value, uint32_t *value_bytes);

/* Shorter times to live are counted from the precise moment. */
#define TTL_PRECISE 60000

/* Fields that every entry of this cache has. */
static inline uint32_t put_base_fields(const struct region *r)
{
	return (r->geo.create_flags & LARDER_PLAIN ? 0u : FIELD_STAMP) | (r->geo.create_flags & LARDER_CHECKSUM ? FIELD_CHECKSUM : 0u);
}

#define VERSION_COUNTER_BITS 38u
/* Next version of this participant, with the time in its low 16 bits. */
static inline uint64_t put_stamp(struct actor *a, uint64_t created)
{
	struct word *versions = &a->self->versions;
	uint64_t number = load_hint(versions) + 1;
	store_release(versions, number); /* before it is used: no successor in this slot repeats it */
	uint64_t stamp = (number << (64 - VERSION_COUNTER_BITS) >> (48 - VERSION_COUNTER_BITS)) | (uint16_t)created;
	stamp |= (uint64_t)a->slot << (VERSION_COUNTER_BITS + 16);
	if (unlikely(stamp == 0))
		stamp = 1;
	return stamp;
}


#endif
