/* SPDX-License-Identifier: BSD-2-Clause */
/* Write-behind: what is accepted is written, once, in the right order, and what cannot be is counted. */
#include "far.h"

#include <pthread.h>

#include "store/tiered_queue.h"

TestSuite(tiered_queue, .init = far_setup, .fini = far_teardown, .timeout = 60);

static struct larder_tiered_info info(void)
{
	struct larder_tiered_info i;

	ok(larder_tiered_info(tier, &i));
	return i;
}

static bool all_written(void)
{
	struct larder_tiered_info i = info();

	return i.queue_here == 0 && i.pending == 0;
}

static bool never(void) { return false; }

static unsigned threads_of_this_process(void)
{
	char line[128];
	unsigned count = 0;
	FILE *status = fopen("/proc/self/status", "r");

	while (fgets(line, sizeof line, status))
		(void)sscanf(line, "Threads: %u", &count);
	fclose(status);
	return count;
}

Test(tiered_queue, a_write_is_near_at_once_and_far_soon)
{
	TIER("mode=write-behind", "delay=100ms");
	ok(put(tier, "k", "v"));
	holds(tier, "k", "v");
	holds(far_beneath, "k", "(1)");
	cr_assert(within_ms(2000, all_written));
	holds(far_beneath, "k", "v");
	ok(larder_store_delete(tier, K("k")));
	holds(tier, "k", "(1)");
	ok(larder_store_drain(tier, 2000));
	holds(far_beneath, "k", "(1)");
	holds(near_store, "k", "(1)");
}

Test(tiered_queue, no_thread_is_there_that_no_mode_asks_for)
{
	unsigned before = threads_of_this_process();

	TIER("mode=write-through", "negative-ttl=1s");
	ok(put(tier, "k", "v"));
	cr_assert_eq(threads_of_this_process(), before);
	larder_store_release(&tier);
	TIER("mode=write-behind");
	cr_assert_eq(threads_of_this_process(), before); /* not before the first write */
	ok(put(tier, "k", "v"));
	cr_assert_eq(threads_of_this_process(), before + 1);
	larder_store_release(&tier);
	cr_assert_eq(threads_of_this_process(), before);
}

/* Signals blocked in the queue's thread; 0 while it has not said its name yet. */
static unsigned long long blocked_signals;

static bool find_blocked(void)
{
	char path[64], line[128];

	for (int tid = getpid() + 1; tid < getpid() + 1000 && !blocked_signals; tid++) {
		snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
		FILE *status = fopen(path, "r");
		bool ours = false;
		while (status && fgets(line, sizeof line, status)) {
			ours |= !strcmp(line, "Name:\tlarder-behind\n");
			if (ours)
				(void)sscanf(line, "SigBlk: %llx", &blocked_signals);
		}
		if (status)
			fclose(status);
	}
	return blocked_signals;
}

Test(tiered_queue, no_signal_is_delivered_to_its_thread)
{
	TIER("mode=write-behind");
	ok(put(tier, "k", "v"));
	cr_assert(within_ms(2000, find_blocked));
	for (int signal = 1; signal < 32; signal++)
		if (signal != SIGKILL && signal != SIGSTOP)
			cr_assert(blocked_signals >> (signal - 1) & 1, "signal %d", signal);
}

Test(tiered_queue, writes_go_in_batches_and_those_of_one_key_coalesce)
{
	char key[16], value[16];

	TIER("mode=write-behind", "delay=200ms");
	ok(put(tier, "wake", "it"));
	(void)within_ms(50, never);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof key, "k%d", i % 100);
		snprintf(value, sizeof value, "%d", i);
		ok(put(tier, key, value));
	}
	cr_assert(within_ms(5000, all_written));
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%d", i);
		snprintf(value, sizeof value, "%d", 900 + i);
		holds(far_beneath, key, value);
	}
	struct larder_tiered_info i = info();
	cr_assert_eq(i.accepted, 1001);
	cr_assert_eq(i.written + i.superseded, 1001);
	cr_assert_geq(i.superseded, 500, "%llu", (unsigned long long)i.superseded);
	cr_assert_lt(load_acquire(&far_link->batches), 20);
	cr_assert_eq(i.lost, 0);
}

Test(tiered_queue, what_was_written_is_dirty_no_more)
{
	struct larder_tiered_repair done;

	TIER("mode=write-behind");
	for (int i = 0; i < 100; i++) {
		char key[16];
		snprintf(key, sizeof key, "k%d", i);
		ok(put(tier, key, "v"));
	}
	ok(larder_store_drain(tier, 5000));
	ok(larder_tiered_repair(tier, 5000, &done));
	cr_assert_eq(done.dirty, 0);
}

static bool two_are_left(void) { return info().queue_here == 2; }

Test(tiered_queue, an_outage_is_waited_out_and_the_newest_wins)
{
	TIER("mode=write-behind");
	ok(put(tier, "k", "0"));
	cr_assert(within_ms(2000, all_written));
	store_release(&far_link->down, 1);
	ok(put(tier, "k", "1"));
	(void)within_ms(100, never);
	ok(put(tier, "k", "2"));
	ok(put(tier, "other", "1"));
	(void)within_ms(100, never);
	cr_assert(within_ms(3000, two_are_left)); /* one of each key */
	store_release(&far_link->down, 0);
	cr_assert(within_ms(4000, all_written));
	holds(far_beneath, "k", "2");
	holds(far_beneath, "other", "1");
	holds(tier, "k", "2");
}

static void fill_queue(unsigned count)
{
	char key[16];

	store_release(&far_link->down, 1);
	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof key, "k%u", i);
		ok(put(tier, key, "v"));
	}
}

Test(tiered_queue, a_full_queue_blocks_for_its_timeout_and_then_refuses)
{
	TIER("mode=write-behind", "queue=8", "on-full=block", "block-timeout=150ms");
	fill_queue(8);
	int64_t before = far_now_ms();
	is(put(tier, "more", "v"), LARDER_NO_ROOM);
	int64_t took = far_now_ms() - before;
	cr_assert(took >= 140 && took < 400, "%lld ms", (long long)took);
	cr_assert(strstr(larder_message(), "block-timeout"), "%s", larder_message());
	holds(near_store, "more", "(1)"); /* not accepted, not near */
	store_release(&far_link->down, 0);
	ok(larder_store_drain(tier, 5000));
	ok(put(tier, "more", "v"));
}

Test(tiered_queue, a_full_queue_drops_the_oldest_and_counts_it)
{
	struct larder_tiered_repair done;

	TIER("mode=write-behind", "queue=300", "on-full=drop-oldest");
	fill_queue(1000);
	cr_assert_leq(info().queue_here, 300 + 256 + 1); /* what is on its way already cannot be dropped */
	cr_assert_geq(info().lost, 400);
	uint64_t lost = info().lost;
	store_release(&far_link->down, 0);
	cr_assert(within_ms(5000, all_written));
	ok(larder_tiered_repair(tier, 5000, &done)); /* what was dropped is dirty near */
	cr_assert_eq(done.written, lost);
	for (int i = 0; i < 1000; i++) {
		char key[16];
		snprintf(key, sizeof key, "k%d", i);
		holds(far_beneath, key, "v");
	}
}

Test(tiered_queue, a_full_queue_writes_through)
{
	TIER("mode=write-behind", "queue=4", "on-full=write-through");
	fill_queue(4);
	store_release(&far_link->down, 0);
	store_release(&far_link->delay_us, 100000);
	uint64_t sets = load_acquire(&far_link->sets);
	for (int i = 0; i < 4; i++)
		ok(put(tier, i % 2 ? "a" : "b", "v"));
	store_release(&far_link->delay_us, 0);
	cr_assert_geq(load_acquire(&far_link->sets) - sets, 1);
	cr_assert(within_ms(5000, all_written));
	holds(far_beneath, "a", "v");
}

Test(tiered_queue, closing_writes_what_is_in_it)
{
	TIER("mode=write-behind", "delay=1m");
	for (int i = 0; i < 1000; i++) {
		char key[16];
		snprintf(key, sizeof key, "k%d", i);
		ok(put(tier, key, "v"));
	}
	larder_store_release(&tier);
	for (int i = 0; i < 1000; i++) {
		char key[16];
		snprintf(key, sizeof key, "k%d", i);
		holds(far_beneath, key, "v");
	}
}

Test(tiered_queue, closing_gives_up_after_its_timeout_and_says_what_was_lost)
{
	TIER("mode=write-behind", "close-timeout=200ms");
	fill_queue(10);
	int64_t before = far_now_ms();
	larder_store_release(&tier);
	cr_assert_lt(far_now_ms() - before, 1000);
	TIER("mode=write-through");
	cr_assert_eq(info().lost, 10);
	cr_assert_eq(info().pending, 0);
}

Test(tiered_queue, what_a_killed_process_had_accepted_is_made_up_for)
{
	struct larder_tiered_repair done;

	TIER("mode=write-behind", "delay=1m");
	store_release(&far_link->down, 1);
	pid_t child = fork();
	if (!child) {
		for (int i = 0; i < 50; i++) {
			char key[16];
			snprintf(key, sizeof key, "k%d", i);
			(void)put(tier, key, "v");
		}
		(void)larder_store_delete(tier, K("gone"));
		raise(SIGKILL);
	}
	ok(put(far_beneath, "gone", "v"));
	waitpid(child, NULL, 0);
	store_release(&far_link->down, 0);
	holds(tier, "k7", "v");
	holds(tier, "gone", "(1)");
	ok(larder_tiered_repair(tier, 5000, &done));
	cr_assert_eq(done.written, 50);
	cr_assert_eq(done.deleted, 1);
	holds(far_beneath, "k49", "v");
	holds(far_beneath, "gone", "(1)");
}

static bool childs_is_far(void) { return !strcmp(look(far_beneath, "childs"), "v"); }

Test(tiered_queue, a_forked_child_writes_its_own_and_nothing_of_its_parents)
{
	TIER("mode=write-behind", "delay=300ms");
	ok(put(tier, "parents", "v"));
	pid_t child = fork();
	if (!child) {
		struct larder_tiered_info i;
		ok(larder_tiered_info(tier, &i));
		ok(put(tier, "childs", "v"));
		_exit(!within_ms(2000, childs_is_far));
	}
	int status;
	waitpid(child, &status, 0);
	cr_assert_eq(status, 0);
	cr_assert(within_ms(2000, all_written));
	holds(far_beneath, "parents", "v");
	cr_assert_eq(load_acquire(&far_link->writes), 2);
}

Test(tiered_queue, processes_that_write_one_key_leave_far_what_is_near)
{
	/* A fault that is known and not mended: about one run in fifteen leaves the far store with an older write than near. */
	if (!getenv("LARDER_KNOWN_FAULTS"))
		cr_skip_test("a known fault, see larder-tiered(7), KNOWN FAULTS: run with LARDER_KNOWN_FAULTS=1");
	TIER("mode=write-behind", "delay=1ms");
	for (int writer = 0; writer < 4; writer++)
		if (!fork()) {
			char value[16];
			for (int i = 0; i < 2000; i++) {
				snprintf(value, sizeof value, "%d-%d", writer, i);
				(void)put(tier, "k", value);
			}
			(void)larder_store_drain(tier, 5000);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	struct larder_tiered_repair done;
	ok(larder_tiered_repair(tier, 5000, &done)); /* what a process that has ended left dirty is anyone's */
	/* A repair by one of them may have found the far store's younger than what another had not written yet. */
	if (strcmp(look(near_store, "k"), "(1)"))
		cr_assert_str_eq(look(near_store, "k"), look(far_beneath, "k"));
	cr_assert(strstr(look(far_beneath, "k"), "-1999"), "%s", look(far_beneath, "k")); /* the last of one of them */
}

Test(tiered_queue, an_increment_comes_after_the_set_it_builds_on)
{
	int64_t sum;

	TIER("mode=write-behind", "delay=50ms", "block-timeout=5s");
	ok(put(tier, "n", "5"));
	ok(larder_store_incr(tier, K("n"), 1, false, 0, LARDER_TTL_NONE, &sum));
	cr_assert_eq(sum, 6);
	holds(tier, "n", "6");
}

Test(tiered_queue, a_refused_write_is_lost_and_counted_and_does_not_hold_up_others)
{
	TIER("mode=write-behind");
	store_release(&far_link->refuses, 1);
	ok(put(tier, "k", "v"));
	cr_assert(within_ms(2000, all_written));
	cr_assert_eq(info().lost, 1);
	store_release(&far_link->refuses, 0);
	ok(put(tier, "other", "v"));
	ok(larder_store_drain(tier, 5000));
	holds(far_beneath, "other", "v");
	holds(far_beneath, "k", "v"); /* it was dirty near */
}

static void *writer(void *arg)
{
	char key[32];

	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof key, "%s-%d", (char *)arg, i);
		(void)put(tier, key, key);
	}
	return NULL;
}

Test(tiered_queue, many_threads_lose_nothing)
{
	pthread_t threads[4];
	char names[4][8], key[32];

	TIER("mode=write-behind", "queue=1000", "block-timeout=10s");
	for (int i = 0; i < 4; i++) {
		snprintf(names[i], sizeof names[i], "t%d", i);
		cr_assert_eq(pthread_create(&threads[i], NULL, writer, names[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		(void)pthread_join(threads[i], NULL);
	ok(larder_store_drain(tier, 10000));
	cr_assert_eq(info().written, 12000);
	for (int t = 0; t < 4; t++)
		for (int i = 0; i < 3000; i += 97) {
			snprintf(key, sizeof key, "t%d-%d", t, i);
			holds(far_beneath, key, key);
		}
}

Test(tiered_queue, a_child_forked_while_its_parent_set_something_up_begins_anew)
{
	struct word life = { 0 };

	life_begun(&life, 3);
	cr_assert(life_is_ours(&life, 3));
	cr_assert_not(life_is_ours(&life, 4)); /* of a child: this thread is to set it up, and is forked in the middle */
	cr_assert_not(life_is_ours(&life, 5)); /* a grandchild finds what nobody will end, and does not wait for it */
	life_begun(&life, 5);
	cr_assert(life_is_ours(&life, 5));
}
