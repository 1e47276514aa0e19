/* SPDX-License-Identifier: BSD-2-Clause */
/* Event counts: no event is slept through, and who dies asleep owes nothing. */
#include "kit.h"

#include <pthread.h>

#include "base/event.h"

static struct word w;

static long since(const struct timespec *begin)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - begin->tv_sec) * 1000 + (now.tv_nsec - begin->tv_nsec) / 1000000;
}

static long slept(uint32_t seen, long ms)
{
	struct timespec begin;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	event_sleep(&w, seen, ms * 1000000);
	return since(&begin);
}

Test(event, an_event_between_look_and_sleep_is_not_slept_through)
{
	uint32_t seen = event_look(&w);
	event_raise(&w);
	cr_assert_lt(slept(seen, 60000), 30000);
}

Test(event, a_mark_that_a_dead_sleeper_left_ends_no_sleep_and_goes_with_the_next_event)
{
	uint32_t seen = event_look(&w);
	store_hint(&w, load_hint(&w) | EVENT_SLEEPER);
	cr_assert_lt(slept(seen, 60000), 30000); /* what was looked at has changed: look again */
	cr_assert_geq(slept(event_look(&w), 50), 49);
	event_raise(&w);
	cr_assert_eq(event_look(&w) & EVENT_SLEEPER, 0);
	cr_assert_neq(event_look(&w), seen);
}

Test(event, without_an_event_it_sleeps_for_as_long_as_it_is_told)
{
	long ms = slept(event_look(&w), 50);
	cr_assert(ms >= 49 && ms < 30000, "%ld ms", ms);
	ms = slept(event_look(&w), 50); /* the mark of the sleep before is still there */
	cr_assert(ms >= 49 && ms < 30000, "%ld ms", ms);
}

static void *raise_soon(void *arg)
{
	sleep_ms(40);
	event_raise(&w);
	return arg;
}

Test(event, an_event_ends_the_sleep)
{
	pthread_t thread;
	uint32_t seen = event_look(&w);
	cr_assert_eq(pthread_create(&thread, NULL, raise_soon, NULL), 0);
	cr_assert_lt(slept(seen, 60000), 30000);
	pthread_join(thread, NULL);
}

Test(event, the_count_goes_round_and_leaves_the_upper_half_alone)
{
	store_hint(&w, UINT32_MAX);
	event_raise(&w);
	cr_assert_eq(load_hint(&w), 0);
	event_raise(&w);
	cr_assert_eq(load_hint(&w), 2);
}
