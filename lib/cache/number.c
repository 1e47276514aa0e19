/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters: a cell of 63 bits changed in place by CAS, and a bit that freezes it before anyone moves or replaces it.
 *
 * FREEZE: an increment is a CAS from an unfrozen value under a hazard on the exact place, so one that comes after the
 * freezing fails, and all that came before are in the value that the mover copies.  Whoever meets a frozen cell finishes
 * the move; a cell is never thawed.  Plain set and delete need no freeze: a late increment counts just before them.
 * Source: freeze-and-copy as in lock-free hash tables that move their entries (Click, 2007).
 */
#include "cache/put.h"

#include <errno.h>
#include <stdlib.h>

struct increment {
	int64_t delta;
	bool create;
	int64_t initial;
	int64_t sum;
};

static bool sum_fits(int64_t x, int64_t delta, int64_t *sum)
{
	return !__builtin_add_overflow(x, delta, sum) && *sum >= LARDER_COUNTER_MIN && *sum <= LARDER_COUNTER_MAX;
}

/* The first value of a counter, as an entry of its own. */
static enum put_next new_counter(struct put *put, int64_t from)
{
	struct increment *i = put->arg;
	put->answer = LARDER_RANGE;
	if (!sum_fits(from, i->delta, &i->sum))
		return PUT_ANSWER;
	put->cell = cell_make(i->sum);
	put->draft.value = &put->cell;
	put->draft.value_bytes = sizeof put->cell;
	put->draft.fields = KIND_COUNTER | FIELD_ALIGNED;
	return PUT_WRITE;
}

static bool digits_to_number(const struct entry *e, int64_t *number)
{
	char digits[24] = { 0 }, *end;
	if (e->value_bytes == 0 || e->value_bytes > 20)
		return false;
	memcpy(digits, e->value, e->value_bytes);
	if (digits[0] != '-' && (digits[0] < '0' || digits[0] > '9')) /* strtoll takes all kinds of space, and a plus */
		return false;
	errno = 0;
	long long parsed = strtoll(digits, &end, 10);
	*number = parsed;
	return errno == 0 && end == digits + e->value_bytes && parsed >= LARDER_COUNTER_MIN && parsed <= LARDER_COUNTER_MAX;
}

static enum put_next count_in_place(struct actor *a, struct put *put, const struct found *f)
{
	struct increment *i = put->arg;
	struct word *cell = entry_cell(&f->entry);
	for (;;) { /* progress: a lost CAS is another one's increment, or a freezing */
		uint64_t seen = load_acquire(cell);
		if (seen & CELL_FROZEN) /* finish the move, and count in the copy */
			return new_counter(put, cell_number(seen));
		put->answer = LARDER_RANGE;
		if (!sum_fits(cell_number(seen), i->delta, &i->sum))
			return PUT_ANSWER;
		put->answer = LARDER_OK;
		if (cas_acq_rel(cell, seen, cell_make(i->sum)))
			break;
		if (!actor_retries(a))
			return PUT_AGAIN;
	}
	frequency_use(a->region, f->frequency);
	count(a, increments, 1);
	return PUT_ANSWER;
}

static enum put_next decide_increment(struct actor *a, struct put *put, const struct found *f)
{
	struct increment *i = put->arg;
	int64_t number;
	if (f == NULL) {
		put->answer = LARDER_MISS;
		put->draft.extras = 0;
		return i->create ? new_counter(put, i->initial) : PUT_ANSWER;
	}
	draft_inherit(&put->draft, &f->entry);
	if (entry_is_counter(&f->entry))
		return count_in_place(a, put, f);
	put->answer = LARDER_NOT_NUMBER;
	if (head_kind(f->entry.head) != KIND_PLAIN || !digits_to_number(&f->entry, &number))
		return PUT_ANSWER;
	return new_counter(put, number);
}

enum larder_status larder_incr_with(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		int64_t delta, bool create, int64_t initial, int64_t ttl_ms, int64_t *sum)
{
	struct actor *a;
	struct increment i = { .delta = delta, .create = create, .initial = initial };
	struct put put = { .ttl_ms = ttl_ms, .keep_ttl = true, .decide = decide_increment, .arg = &i };
	enum larder_status status = key_check(cache, ns, key, key_bytes);
	if (status == LARDER_OK && ttl_ms < LARDER_TTL_KEEP)
		status = LARDER_INVALID;
	if (status != LARDER_OK)
		return status;
	put.key = key_make(&cache->region, key, key_bytes, ns, false);
	put.draft.value_bytes = sizeof put.cell;
	status = call_begin(cache, &a);
	if (status != LARDER_OK)
		return status;
	status = put_run(a, &put);
	if (status == LARDER_OK && sum != NULL)
		*sum = i.sum;
	call_end_clear(a);
	return call_answer(&cache->region, status);
}

enum larder_status larder_incr(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, int64_t delta, int64_t *sum)
{
	return larder_incr_with(cache, ns, key, key_bytes, delta, true, 0, LARDER_TTL_DEFAULT, sum);
}
