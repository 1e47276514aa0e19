/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing entries and checking what was written.  See entry.h. */
#include "shm/entry.h"

#include <inttypes.h>
#include <stdio.h>

/* Of an entry that nobody holds, this is a hint as its head is: see entry_open_hint(). */
#ifdef LARDER_TSAN
RACING
#else
static
#endif
uint64_t extras_load(const unsigned char *at) { return *(const volatile uint64_t *)(const void *)at; }

cold bool entry_open_extras(struct entry *e, const struct region *r)
{
	uint32_t end = entry_fixed_bytes(head_fields(e->head));
	if (region_unit_of(r, e->place) + end / UNIT_BYTES > UINT64_C(1) << r->unit_shift)
		return false;
	e->extras = extras_load((const unsigned char *)e->shm + end - 8);
	return extras_sound(e->extras);
}

/* memcpy must not be given NULL, which is what a piece of no bytes may be. */
static inline void copy_bytes(unsigned char *to, const void *from, uint32_t bytes)
{
	if (bytes != 0)
		memcpy(to, from, bytes);
}

static cold unsigned char *write_extras(unsigned char *p, const struct draft *d)
{
	bytes_store64(p, d->extras);
	p += 8;
	if (d->extras & EXTRA_REFRESH) {
		bytes_store32(p, d->grace_ms);
		bytes_store32(p + 4, d->cost_us);
		p += 8;
	}
	if (d->extras & EXTRA_LEASE) {
		memcpy(p, &d->lease, sizeof d->lease);
		p += sizeof d->lease;
	}
	if (d->extras & EXTRA_TAGS) {
		memcpy(p, &d->tags, sizeof d->tags);
		p += sizeof d->tags;
	}
	return p;
}

/* The extras, and the words that follow them, are among what is behind it. */
static inline uint32_t checksum_offset(uint32_t fields) { return entry_fixed_bytes(fields & ~(uint32_t)FIELD_EXTRAS) - 8; }

static uint64_t entry_checksum(const struct entry *e)
{
	uint32_t fields = head_fields(e->head);
	const unsigned char *whole = (const unsigned char *)e->shm;
	uint32_t sum_off = checksum_offset(fields);
	uint64_t seed = head_make(0, ENTRY_UNBORN, fields, e->key_bytes, e->value_bytes);
	uint64_t fixed = hash_bytes(whole + 8, sum_off - 8, seed);
	const unsigned char *rest = whole + sum_off + 8;
	if (head_kind(e->head) == KIND_COUNTER) /* its cell changes in place */
		return hash_bytes(rest, (size_t)(e->key + e->key_bytes - rest), fixed);
	return hash_bytes(rest, (size_t)(e->value + e->value_bytes - rest), fixed);
}

uint64_t entry_write(struct shm_entry *shm, const struct draft *d, uint64_t reuse)
{
	unsigned char *p = shm->body;
	if (d->fields & FIELD_STAMP) {
		bytes_store64(p, d->stamp);
		p += 8;
	}
	if (d->fields & (FIELD_STAMP | FIELD_EXPIRES)) {
		bytes_store64(p, (d->created >> 16) << TIME_BITS | (d->expiry & TIME_MASK));
		p += 8;
	}
	if (d->fields & FIELD_NAMESPACE) {
		bytes_store32(p, d->generation);
		bytes_store32(p + 4, d->ns);
		p += 8;
	}
	unsigned char *sum = p;
	uint64_t extras = 0;
	if (d->fields & FIELD_CHECKSUM)
		p += 8;
	if (d->fields & FIELD_EXTRAS) {
		extras = d->extras;
		p = write_extras(p, d);
	}
	memcpy(p, d->key, d->key_bytes);
	unsigned char *value = (unsigned char *)shm + entry_value_offset(d->fields, extras, d->key_bytes);
	copy_bytes(value, d->value, d->value_bytes - d->tail_bytes);
	copy_bytes(value + (d->value_bytes - d->tail_bytes), d->tail, d->tail_bytes);
	uint64_t head = head_make(reuse, ENTRY_UNBORN, d->fields, d->key_bytes, d->value_bytes);
	if (d->fields & FIELD_CHECKSUM) {
		struct entry e = { .shm = shm, .head = head, .key = p, .value = value, .key_bytes = d->key_bytes,
			.value_bytes = d->value_bytes };
		bytes_store64(sum, entry_checksum(&e));
	}
	return head;
}

bool entry_checksum_good(const struct entry *e)
{
	uint32_t fields = head_fields(e->head);
	if (!(fields & FIELD_CHECKSUM))
		return true;
	uint32_t sum_off = checksum_offset(fields);
	return bytes_load64((const unsigned char *)e->shm + sum_off) == entry_checksum(e);
}

void draft_inherit(struct draft *d, const struct entry *e)
{
	d->extras = e->extras & (UINT32_MAX | EXTRA_REFRESH | EXTRA_TAGS | EXTRA_KEPT);
	d->grace_ms = entry_grace(e);
	d->cost_us = entry_cost(e);
	d->tags = entry_tags(e);
}

uint32_t cell_format(uint64_t cell, char digits[24])
{
	return (uint32_t)snprintf(digits, 24, "%" PRId64, cell_number(cell));
}

uint64_t cell_freeze(struct word *cell)
{
	for (;;) { /* progress: a lost CAS is another one's increment, or its freezing */
		/* FREEZE (acquire) */
		uint64_t seen = load_acquire(cell);
		/* FREEZE (release) */
		if (seen & CELL_FROZEN || cas_acq_rel(cell, seen, seen | CELL_FROZEN))
			return seen & ~CELL_FROZEN;
	}
}
