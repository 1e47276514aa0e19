/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entries: the bytes of one key and value, and the one-word head before them (drawn in layout.h).
 *
 * An entry is written by one process, at a place nobody else can reach, and is immutable once a slot leads to it.  What
 * a reader knows of it comes from a single load of the head, checked against the segment's end: struct entry is that
 * knowledge, in private memory.  Pure functions of bytes; nothing here touches a slot, a segment word or a hazard.
 */
#ifndef LARDER_SHM_ENTRY_H
#define LARDER_SHM_ENTRY_H

#include <string.h>

#include "base/hash.h"
#include "shm/region.h"

/* What one load of a head said, found to lie within its segment. */
struct entry {
	struct shm_entry *shm;
	uint64_t head;
	uint64_t place;
	uint64_t extras; /* the word, loaded once; 0 without FIELD_EXTRAS */
	const unsigned char *key;
	const unsigned char *value;
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint32_t units;
};

/* Bytes of the head and the fields that one word of it tells: 8 for it and for each of stamp, times, namespace, checksum and
 * extras; times are there with FIELD_EXPIRES (1) as with FIELD_STAMP (2).  The extras word is the last of them. */
static inline uint32_t entry_fixed_bytes(uint32_t fields)
{
	static const uint8_t offset[32] = {
		8, 16, 24, 24, 16, 24, 32, 32, 16, 24, 32, 32, 24, 32, 40, 40,
		16, 24, 32, 32, 24, 32, 40, 40, 24, 32, 40, 40, 32, 40, 48, 48,
	};
	return offset[fields & 31];
}

static inline unsigned extras_tags(uint64_t extras) { return extras >> EXTRA_TAGS_SHIFT & 7; }
/* Bytes of the words that follow the extras word: refresh, lease, tags, in this order. */
static inline uint32_t extras_refresh_bytes(uint64_t extras) { return extras & EXTRA_REFRESH ? 8 : 0; }
static inline uint32_t extras_lease_bytes(uint64_t extras) { return extras & EXTRA_LEASE ? 8 * LEASE_WORDS : 0; }
static inline uint32_t extras_bytes(uint64_t extras)
{
	return extras_refresh_bytes(extras) + extras_lease_bytes(extras) + (extras & EXTRA_TAGS ? 16 : 0);
}
static inline bool extras_sound(uint64_t extras) { return (extras & ~EXTRAS_KNOWN) == 0 && extras_tags(extras) <= TAGS_MAX; }

/* Offset of the key from the head. */
static inline uint32_t entry_key_offset(uint32_t fields, uint64_t extras) { return entry_fixed_bytes(fields) + extras_bytes(extras); }

static inline uint32_t entry_value_offset(uint32_t fields, uint64_t extras, uint32_t key_bytes)
{
	uint32_t off = entry_key_offset(fields, extras) + key_bytes;
	return fields & FIELD_ALIGNED ? (off + 7) & ~7u : off;
}

static inline uint32_t entry_units(uint32_t fields, uint64_t extras, uint32_t key_bytes, uint32_t value_bytes)
{
	return (entry_value_offset(fields, extras, key_bytes) + value_bytes + UNIT_BYTES - 1) >> UNIT_SHIFT;
}

static inline uint64_t head_make(uint64_t reuse, enum entry_status status, uint32_t fields, uint32_t key_bytes, uint32_t value_bytes)
{
	return reuse << HEAD_REUSE_SHIFT | (uint64_t)status << HEAD_STATUS_SHIFT | (uint64_t)(key_bytes - 1) << HEAD_KEY_SHIFT
			| (uint64_t)value_bytes << HEAD_VALUE_SHIFT | fields;
}
static inline uint32_t head_fields(uint64_t head) { return head & 0xff; }
static inline uint32_t head_kind(uint64_t head) { return head & FIELD_KIND; }
static inline enum entry_status head_status(uint64_t head) { return (enum entry_status)(head >> HEAD_STATUS_SHIFT & 3); }
static inline uint32_t head_key_bytes(uint64_t head) { return (head >> HEAD_KEY_SHIFT & ((1u << HEAD_KEY_BITS) - 1)) + 1; }
static inline uint32_t head_value_bytes(uint64_t head) { return head >> HEAD_VALUE_SHIFT & ((1u << HEAD_VALUE_BITS) - 1); }
static inline uint64_t head_reuse(uint64_t head) { return head >> HEAD_REUSE_SHIFT; }
static inline uint64_t head_with_status(uint64_t head, enum entry_status status)
{
	return (head & ~(UINT64_C(3) << HEAD_STATUS_SHIFT)) | (uint64_t)status << HEAD_STATUS_SHIFT;
}

/* Loads the extras word of an entry with FIELD_EXTRAS; false if it lies past the segment, or says what nobody knows. */
bool entry_open_extras(struct entry *e, const struct region *r);

/* Fills *e from the head at place; false if it would reach past its segment. */
static inline bool entry_open_head(struct entry *e, const struct region *r, uint64_t place, uint64_t head)
{
	uint32_t fields = head_fields(head);
	e->shm = region_entry(r, place);
	e->head = head;
	e->place = place;
	e->extras = 0;
	if (unlikely(fields & FIELD_EXTRAS) && !entry_open_extras(e, r))
		return false;
	e->key_bytes = head_key_bytes(head);
	e->value_bytes = head_value_bytes(head);
	e->units = entry_units(fields, e->extras, e->key_bytes, e->value_bytes);
	e->key = (const unsigned char *)e->shm + entry_key_offset(fields, e->extras);
	e->value = (const unsigned char *)e->shm + entry_value_offset(fields, e->extras, e->key_bytes);
	return likely(region_unit_of(r, place) + e->units <= UINT64_C(1) << r->unit_shift);
}

/* The value of a small entry lies in the lines after the head's: ask for them before the head says so. */
static inline void entry_prefetch(const struct region *r, uint64_t place)
{
	const char *line = (const char *)region_entry(r, place);
	__builtin_prefetch(line);
	__builtin_prefetch(line + LINE_BYTES);
	__builtin_prefetch(line + 2 * LINE_BYTES);
}

static inline bool entry_open(struct entry *e, const struct region *r, uint64_t place)
{
	/* PUBLISH (acquire): the head was stored after the bytes that it describes. */
	return entry_open_head(e, r, place, load_acquire(&region_entry(r, place)->head));
}

/* An entry that nobody holds may be written again while it is looked at: what comes of it is a hint, believed only after
 * a second look.  ThreadSanitizer, which cannot know that, is kept from seeing these reads; so it gets a copy to hash. */
#ifdef LARDER_TSAN
#define ENTRY_HINT_BYTES (48u + EXTRAS_BYTES_MAX + (1u << HEAD_KEY_BITS))
#define RACING __attribute__((no_sanitize("thread"), noinline, unused)) static
RACING uint64_t head_load_racing(const struct word *head) { return *(const volatile uint64_t *)(const void *)head; }
RACING void bytes_copy_racing(unsigned char *to, const unsigned char *from, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		((volatile unsigned char *)to)[i] = ((const volatile unsigned char *)from)[i];
}
static inline bool entry_open_hint(struct entry *e, const struct region *r, uint64_t place, unsigned char *copy)
{
	if (!entry_open_head(e, r, place, head_load_racing(&region_entry(r, place)->head)))
		return false;
	size_t key_off = (size_t)(e->key - (const unsigned char *)e->shm);
	bytes_copy_racing(copy, (const unsigned char *)e->shm, key_off + e->key_bytes);
	e->shm = (struct shm_entry *)(void *)copy;
	e->key = copy + key_off;
	return true;
}
#else
#define ENTRY_HINT_BYTES 8u /* none is used */
static inline uint64_t head_load_racing(const struct word *head) { return load_acquire(head); }
static inline bool entry_open_hint(struct entry *e, const struct region *r, uint64_t place, unsigned char *copy)
{
	(void)copy;
	return entry_open(e, r, place);
}
#endif

/* All of the head but reuse count and value's length. */
#define HEAD_PLAIN_MASK (UINT64_C(3) << HEAD_STATUS_SHIFT | ((UINT64_C(1) << HEAD_KEY_BITS) - 1) << HEAD_KEY_SHIFT | UINT64_C(0xff))

/* What a value's length of 511 at most does not use. */
#define HEAD_LONG_MASK (((UINT64_C(1) << (HEAD_VALUE_BITS - 9)) - 1) << (HEAD_VALUE_SHIFT + 9))

/* The usual entry, told from all others by one comparison: COMMITTED, a key of key_bytes, plain, unaligned, no checksum, no
 * extras. */
#define HEAD_USUAL_MASK (UINT64_C(3) << HEAD_STATUS_SHIFT | ((UINT64_C(1) << HEAD_KEY_BITS) - 1) << HEAD_KEY_SHIFT \
		| FIELD_KIND | FIELD_CHECKSUM | FIELD_ALIGNED | FIELD_EXTRAS)
static inline bool entry_open_usual(struct entry *e, const struct region *r, uint64_t place, uint32_t key_bytes)
{
	e->shm = region_entry(r, place);
	/* PUBLISH (acquire): as in entry_open(). */
	e->head = load_acquire(&e->shm->head);
	uint32_t fields = e->head & 7;
	e->extras = 0;
	e->key_bytes = key_bytes;
	e->value_bytes = head_value_bytes(e->head);
	e->key = (const unsigned char *)e->shm + entry_fixed_bytes(fields);
	e->value = e->key + key_bytes;
	uint64_t end = (region_unit_of(r, place) << UNIT_SHIFT) + entry_fixed_bytes(fields) + key_bytes + e->value_bytes;
	return likely((e->head & HEAD_USUAL_MASK) == head_make(0, ENTRY_COMMITTED, 0, key_bytes, 0))
			&& likely(end <= UINT64_C(1) << (r->unit_shift + UNIT_SHIFT));
}

/* ---- Optional fields ------------------------------------------------------------------------------------------------- */

static inline uint64_t bytes_load64(const unsigned char *p) { uint64_t v; memcpy(&v, p, sizeof v); return v; }
static inline uint32_t bytes_load32(const unsigned char *p) { uint32_t v; memcpy(&v, p, sizeof v); return v; }
static inline void bytes_store64(unsigned char *p, uint64_t v) { memcpy(p, &v, sizeof v); }
static inline void bytes_store32(unsigned char *p, uint32_t v) { memcpy(p, &v, sizeof v); }

/* Small values dominate, and a call to memcpy costs as much as they do.  Where the value ends is asked by branches, which are
 * guessed: a store whose address waits for the length keeps back the gets that come after it (+ 45 ns). */
static inline __attribute__((always_inline)) void bytes_copy(unsigned char *to, const unsigned char *from, uint64_t bytes)
{
	if (unlikely(bytes > 511)) {
		memcpy(to, from, bytes);
		return;
	}
	for (; bytes >= 64; bytes -= 64, to += 64, from += 64) {
		memcpy(to, from, 64);
		if (likely(bytes == 64))
			return;
	}
	for (unsigned piece = 32; piece != 0; piece /= 2)
		if (bytes & piece) {
			memcpy(to, from, piece);
			to += piece;
			from += piece;
		}
}

/* Keys are short: the first and the last eight bytes of one of 8 .. 16, overlapping, beat a call. */
static inline bool bytes_equal(const void *x, const void *y, uint32_t bytes)
{
	const unsigned char *a = x, *b = y;
	if (unlikely(bytes - 8 > 8))
		return memcmp(a, b, bytes) == 0;
	return ((bytes_load64(a) ^ bytes_load64(b)) | (bytes_load64(a + bytes - 8) ^ bytes_load64(b + bytes - 8))) == 0;
}

/* The word with the expiry, after the stamp if there is one. */
static inline uint64_t entry_times(const struct entry *e)
{
	return bytes_load64(e->shm->body + (head_fields(e->head) & FIELD_STAMP ? 8 : 0));
}
/* Milliseconds since the epoch; 0: never. */
static inline uint64_t entry_expiry(const struct entry *e)
{
	return head_fields(e->head) & FIELD_EXPIRES ? entry_times(e) & TIME_MASK : 0;
}
static inline uint64_t entry_stamp(const struct entry *e)
{
	return head_fields(e->head) & FIELD_STAMP ? bytes_load64(e->shm->body) : 0;
}
static inline uint64_t entry_created(const struct entry *e)
{
	return head_fields(e->head) & FIELD_STAMP ? (entry_times(e) >> TIME_BITS << 16) | (entry_stamp(e) & 0xffff) : 0;
}
static inline uint32_t entry_namespace_offset(uint32_t fields)
{
	uint32_t times = (fields & (FIELD_STAMP | FIELD_EXPIRES)) != 0;
	return 8 + 8 * times + 8 * (fields >> 1 & 1);
}
static inline uint32_t entry_namespace(const struct entry *e)
{
	uint32_t fields = head_fields(e->head);
	return fields & FIELD_NAMESPACE ? bytes_load32((const unsigned char *)e->shm + entry_namespace_offset(fields) + 4) : 0;
}
static inline uint32_t entry_generation(const struct entry *e)
{
	uint32_t fields = head_fields(e->head);
	return fields & FIELD_NAMESPACE ? bytes_load32((const unsigned char *)e->shm + entry_namespace_offset(fields)) : 0;
}
static inline uint32_t entry_user_flags(const struct entry *e) { return (uint32_t)e->extras; }
/* The first byte behind the extras word. */
static inline const unsigned char *entry_extras_end(const struct entry *e)
{
	return (const unsigned char *)e->shm + entry_fixed_bytes(head_fields(e->head));
}
/* For how many milliseconds after its expiry it is good as a stale value. */
static inline uint32_t entry_grace(const struct entry *e)
{
	return e->extras & EXTRA_REFRESH ? bytes_load32(entry_extras_end(e)) : 0;
}
/* How many microseconds it took to compute it. */
static inline uint32_t entry_cost(const struct entry *e)
{
	return e->extras & EXTRA_REFRESH ? bytes_load32(entry_extras_end(e) + 4) : 0;
}

/* Who is computing a new value: participant slot and registration; what a set must show; the clock of tags when it was taken; and
 * when it is over. */
struct lease { uint64_t owner, token, clock, end; };
static inline uint64_t lease_owner(uint32_t slot, uint64_t registration) { return registration << 16 | slot; }
static inline struct lease entry_lease(const struct entry *e)
{
	struct lease l = { 0 };
	if (e->extras & EXTRA_LEASE)
		memcpy(&l, entry_extras_end(e) + extras_refresh_bytes(e->extras), sizeof l);
	return l;
}

/* The clock of tags when the entry was begun, and the numbers of its tags. */
struct tags { uint64_t clock; uint16_t number[TAGS_MAX]; };
static inline struct tags entry_tags(const struct entry *e)
{
	struct tags t = { 0 };
	if (e->extras & EXTRA_TAGS)
		memcpy(&t, entry_extras_end(e) + extras_refresh_bytes(e->extras) + extras_lease_bytes(e->extras), sizeof t);
	return t;
}

/* When nothing of it is of use any more; 0: never. */
static inline uint64_t entry_end(const struct entry *e)
{
	uint64_t expiry = entry_expiry(e);
	if (likely(e->extras >> 32 == 0) || expiry == 0)
		return expiry;
	uint64_t end = expiry + entry_grace(e), held = entry_lease(e).end;
	return end > held ? end : held;
}

/* ---- Counter cells: bit 63 frozen, 63 bits of two's complement ----------------------------------------------------------- */

#define CELL_FROZEN (UINT64_C(1) << 63)
static inline struct word *entry_cell(const struct entry *e) { return (struct word *)(uintptr_t)e->value; }
static inline int64_t cell_number(uint64_t cell) { return (int64_t)(cell << 1) >> 1; }
static inline uint64_t cell_make(int64_t number) { return (uint64_t)number & ~CELL_FROZEN; }
/* A counter as it is stored: aligned, eight bytes; anything else of that kind is damage. */
static inline bool entry_is_counter(const struct entry *e)
{
	return head_kind(e->head) == KIND_COUNTER && head_fields(e->head) & FIELD_ALIGNED && e->value_bytes == sizeof(uint64_t);
}

/* ---- Writing ---------------------------------------------------------------------------------------------------------------- */

/* What an entry is to hold.  value in up to two pieces (append). */
struct draft {
	const void *key;
	const void *value;
	const void *tail;
	uint32_t key_bytes;
	uint32_t value_bytes; /* of both pieces */
	uint32_t tail_bytes;
	uint32_t fields;
	uint32_t ns;
	uint32_t generation;
	uint32_t grace_ms;
	uint32_t cost_us;
	uint64_t extras;      /* user flags, EXTRA_; written with FIELD_EXTRAS */
	struct lease lease;
	struct tags tags;
	uint64_t stamp;       /* version << 16 | created low 16 */
	uint64_t created;
	uint64_t expiry;      /* 0: never */
};

/* What an entry that takes another's place keeps of it, beside its key: user flags, tags as they were, grace and cost. */
void draft_inherit(struct draft *d, const struct entry *e);
/* The extras word is there if it says anything. */
static inline uint32_t draft_extras_field(const struct draft *d) { return d->extras != 0 ? FIELD_EXTRAS : 0; }
/* As far as the fields are known. */
static inline uint32_t draft_units(const struct draft *d)
{
	return entry_units(d->fields, d->fields & FIELD_EXTRAS ? d->extras : 0, d->key_bytes, d->value_bytes);
}
/* As entry_end(). */
static inline uint64_t draft_end(const struct draft *d)
{
	if (likely(d->extras >> 32 == 0) || d->expiry == 0)
		return d->expiry;
	uint64_t end = d->expiry + (d->extras & EXTRA_REFRESH ? d->grace_ms : 0), held = d->extras & EXTRA_LEASE ? d->lease.end : 0;
	return end > held ? end : held;
}

/* Writes all but the head at shm; the head that belongs to it is returned without its status. */
uint64_t entry_write(struct shm_entry *shm, const struct draft *d, uint64_t reuse);
/* Of all that does not change in the entry's life; true where there is none. */
bool entry_checksum_good(const struct entry *e);
/* FREEZE: from here on no increment counts in the cell; returns its number's bits.  Never thawed: the counter is moved. */
uint64_t cell_freeze(struct word *cell);
/* Decimal digits of a counter's cell; returns their number, at most 20. */
uint32_t cell_format(uint64_t cell, char digits[24]);

#endif
