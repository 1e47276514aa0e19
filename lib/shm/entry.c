/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing entries and checking what was written.  See entry.h. */
#include "shm/entry.h"

#include <inttypes.h>
#include <stdio.h>

/* memcpy must not be given NULL, which is what a piece of no bytes may be. */
static inline void copy_bytes(unsigned char *to, const void *from, uint32_t bytes)
{
	if (bytes != 0)
		memcpy(to, from, bytes);
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
	if (d->fields & FIELD_CHECKSUM)
		p += 8;
	if (d->fields & FIELD_FLAGS) {
		bytes_store32(p, d->user_flags);
		p += 4;
	}
	memcpy(p, d->key, d->key_bytes);
	unsigned char *value = (unsigned char *)shm + entry_value_offset(d->fields, d->key_bytes);
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

uint64_t entry_checksum(const struct entry *e)
{
	uint32_t fields = head_fields(e->head);
	const unsigned char *whole = (const unsigned char *)e->shm;
	uint32_t sum_off = entry_key_offset(fields) - (fields & FIELD_FLAGS ? 4 : 0) - 8;
	uint64_t seed = head_make(0, ENTRY_UNBORN, fields, e->key_bytes, e->value_bytes);
	uint64_t fixed = hash_bytes(whole + 8, sum_off - 8, seed);
	const unsigned char *rest = whole + sum_off + 8;
	if (head_kind(e->head) == KIND_COUNTER) /* its cell changes in place */
		return hash_bytes(rest, (size_t)(e->key + e->key_bytes - rest), fixed);
	return hash_bytes(rest, (size_t)(e->value + e->value_bytes - rest), fixed);
}

bool entry_checksum_good(const struct entry *e)
{
	uint32_t fields = head_fields(e->head);
	if (!(fields & FIELD_CHECKSUM))
		return true;
	uint32_t sum_off = entry_key_offset(fields) - (fields & FIELD_FLAGS ? 4 : 0) - 8;
	return bytes_load64((const unsigned char *)e->shm + sum_off) == entry_checksum(e);
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
