/* SPDX-License-Identifier: BSD-2-Clause */
/* The connections to one server, see pool.h. */
#include "redis/pool.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAP_LEAST_US 20u
#define NAP_MOST_US 400u

/* A number of this thread, to spread threads over seats. */
static unsigned thread_number(void)
{
	static struct word given;
	static _Thread_local unsigned mine;

	if (unlikely(!mine))
		mine = (unsigned)add_hint(&given, 1) + 1;
	return mine;
}

/* This process's life, above 0.  The first to ask in a child wins; the others take what it made.  A number is given out before it is
 * anybody's life: a child that is forked between the two steps inherits `lives`, and takes another one. */
static uint64_t life_of(struct seat_pool *pool)
{
	uint64_t life = load_hint(pool->life);

	if (likely(life))
		return life;
	life = add_acq_rel(&pool->lives, 1) + 1;
	return cas_acq_rel(pool->life, 0, life) ? life : load_hint(pool->life);
}

bool pool_make(struct seat_pool *pool, unsigned count)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	*pool = (struct seat_pool){ .count = count };
	pool->seats = aligned_alloc(64, count * sizeof *pool->seats);
	void *life = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pool->life = life == MAP_FAILED ? NULL : life;
	if (!pool->seats || !pool->life || madvise(life, page, MADV_WIPEONFORK) < 0) {
		pool_free(pool);
		return false;
	}
	for (unsigned i = 0; i < count; i++) {
		store_hint(&pool->seats[i].owner, 0);
		wire_clear(&pool->seats[i].wire);
		pool->seats[i].greeted = false;
	}
	return true;
}

/* In a child, what a thread of the parent was in the middle of cannot be freed, only closed. */
static void empty(struct seat *seat, uint64_t owner, uint64_t life)
{
	bool inherited = owner >> 1 != life, middle = owner & 1;

	if (inherited && middle) {
		wire_abandon(&seat->wire);
		wire_clear(&seat->wire);
	} else {
		wire_close(&seat->wire);
	}
	seat->greeted = false;
}

void pool_free(struct seat_pool *pool)
{
	for (unsigned i = 0; pool->life && pool->seats && i < pool->count; i++)
		empty(&pool->seats[i], load_acquire(&pool->seats[i].owner), life_of(pool));
	if (pool->life)
		(void)munmap(pool->life, (size_t)sysconf(_SC_PAGESIZE));
	free(pool->seats);
	*pool = (struct seat_pool){ .count = 0 };
}

static bool try_take(struct seat *seat, uint64_t life)
{
	uint64_t owner = load_acquire(&seat->owner);
	bool ours = owner >> 1 == life;

	if (ours && (owner & 1))
		return false;
	/* SEATED (acquire): pairs with the release in pool_leave().  Whoever takes a seat sees the wire as it was left. */
	if (!cas_acq_rel(&seat->owner, owner, life << 1 | 1))
		return false;
	if (unlikely(!ours))
		empty(seat, owner, life);
	return true;
}

static struct seat *take_any(struct seat_pool *pool, uint64_t life, unsigned first)
{
	for (unsigned i = 0; pool->seats && i < pool->count; i++) {
		struct seat *seat = &pool->seats[(first + i) % pool->count];
		if (try_take(seat, life))
			return seat;
	}
	return NULL;
}

struct seat *pool_take(struct seat_pool *pool, int64_t deadline_ns)
{
	uint64_t life = life_of(pool);
	unsigned first = thread_number();

	for (unsigned us = NAP_LEAST_US;; us = us < NAP_MOST_US ? 2 * us : us) {
		struct seat *seat = take_any(pool, life, first);
		if (seat || wire_now_ns() >= deadline_ns)
			return seat;
		(void)usleep(us);
	}
}

void pool_leave(struct seat_pool *pool, struct seat *seat, bool keep)
{
	if (!keep) {
		wire_close(&seat->wire);
		seat->greeted = false;
	}
	store_release(&seat->owner, life_of(pool) << 1); /* SEATED (release) */
}
