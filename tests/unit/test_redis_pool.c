/* SPDX-License-Identifier: BSD-2-Clause */
/* The lives of a pool of connections: whoever forks, and whenever, no two processes take each other's seats for their own. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "redis/pool.h"

static struct seat_pool pool;
static uint64_t given_when_taken;

/* The word of this life is about to be written: what would a child that is forked now inherit? */
static void taken(int number)
{
	(void)number;
	given_when_taken = load_acquire(&pool.lives);
	(void)mprotect(pool.life, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE);
}

Test(redis_pool, a_life_is_nobodys_before_it_is_given_out)
{
	const struct sigaction action = { .sa_handler = taken };

	cr_assert(pool_make(&pool, 4));
	cr_assert_eq(sigaction(SIGSEGV, &action, NULL), 0);
	for (unsigned life = 1; life < 4; life++) {
		store_release(pool.life, 0); /* as a fork leaves it */
		cr_assert_eq(mprotect(pool.life, (size_t)sysconf(_SC_PAGESIZE), PROT_READ), 0);
		pool_leave(&pool, pool_take(&pool, 0), false);
		cr_assert_eq(load_acquire(pool.life), life);
		cr_assert_geq(given_when_taken, life, "a child forked in the middle takes %llu, too", (unsigned long long)life);
	}
	pool_free(&pool);
}

Test(redis_pool, a_seat_left_by_another_life_is_emptied_before_it_is_used)
{
	cr_assert(pool_make(&pool, 1));
	struct seat *seat = pool_take(&pool, 0);
	cr_assert(seat && !seat->greeted);
	seat->greeted = true;
	pool_leave(&pool, seat, true);
	cr_assert(pool_take(&pool, 0)->greeted);
	cr_assert_null(pool_take(&pool, 0)); /* taken, and by this life */
	pool_leave(&pool, seat, true);
	store_release(pool.life, 0);
	cr_assert_eq(pool_take(&pool, 0), seat);
	cr_assert_not(seat->greeted);
	pool_leave(&pool, seat, false);
	pool_free(&pool);
}
