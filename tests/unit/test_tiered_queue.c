/* SPDX-License-Identifier: BSD-2-Clause */
/* Write-behind: what is accepted is written, once, in the right order, and what cannot be is counted. */
#include "far.h"

#include <pthread.h>
#include <sys/prctl.h>

#include "tier/queue.h"

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

/* The queue's thread is on its way to the far store, and waits. */
static bool one_is_held(void) { return load_acquire(&far_link->held) == 1; }

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
	store_release(&far_link->hold, 1);
	ok(put(tier, "k", "v"));
	holds(tier, "k", "v");
	holds(far_beneath, "k", "(1)");
	store_release(&far_link->hold, 0);
	cr_assert(within_ms(2000, all_written));
	holds(far_beneath, "k", "v");
	ok(larder_store_delete(tier, K("k")));
	holds(tier, "k", "(1)");
	ok(larder_store_drain(tier, 20000));
	holds(far_beneath, "k", "(1)");
	holds(near_store, "k", "(1)");
}

static unsigned threads_before;
static bool threads_are_as_before(void) { return threads_of_this_process() == threads_before; }

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
	threads_before = before; /* a thread that was joined is still counted for a moment */
	cr_assert(within_ms(1000, threads_are_as_before));
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

	TIER("mode=write-behind");
	store_release(&far_link->hold, 1);
	ok(put(tier, "wake", "it"));
	cr_assert(within_ms(2000, one_is_held));
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof key, "k%d", i % 100);
		snprintf(value, sizeof value, "%d", i);
		ok(put(tier, key, value));
	}
	store_release(&far_link->hold, 0);
	cr_assert(within_ms(5000, all_written));
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%d", i);
		snprintf(value, sizeof value, "%d", 900 + i);
		holds(far_beneath, key, value);
	}
	struct larder_tiered_info i = info();
	cr_assert_eq(i.accepted, 1001);
	cr_assert_eq(i.written, 101);
	cr_assert_eq(i.superseded, 900);
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
	far_sleep_us(100000);
	ok(put(tier, "k", "2"));
	ok(put(tier, "other", "1"));
	far_sleep_us(100000);
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
	cr_assert(took >= 140 && took < 30000, "%lld ms", (long long)took);
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
	store_release(&far_link->hold, 1); /* the queue stays full */
	store_release(&far_link->down, 0);
	uint64_t sets = load_acquire(&far_link->sets);
	for (int i = 0; i < 4; i++)
		ok(put(tier, i % 2 ? "a" : "b", "v"));
	cr_assert_eq(load_acquire(&far_link->sets) - sets, 4);
	store_release(&far_link->hold, 0);
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
	cr_assert_lt(far_now_ms() - before, 30000);
	TIER("mode=write-through");
	cr_assert_eq(info().lost, 10);
	cr_assert_eq(info().pending, 0);
}

Test(tiered_queue, what_a_killed_process_had_accepted_is_made_up_for)
{
	struct larder_tiered_repair done;

	TIER("mode=write-behind", "delay=1m");
	store_release(&far_link->down, 1);
	ok(put(far_beneath, "gone", "v")); /* older than the child's delete */
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
		cr_assert_eq(i.queue_here, 0); /* what its parent has accepted waits there */
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

enum { WRITERS = 4, WRITES = 2000 };

/* What the writers of one key do: set, and with deletes now and then delete, and bring over what they were accepted. */
static void write_one_key(unsigned writer, bool deletes)
{
	char value[16];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < WRITES; i++) {
		snprintf(value, sizeof value, "%u-%d", writer, i);
		if (deletes && i % 7 == 0)
			(void)larder_store_delete(tier, K("k"));
		else
			(void)put(tier, "k", value);
		if (i % 97 == 0)
			(void)look(tier, "k");
	}
	(void)larder_store_drain(tier, 20000);
	_exit(0);
}

/* Stops and resumes them at random, and kills one of them if `kills`. */
static void disturb(const pid_t *writers, unsigned *seed, bool kills)
{
	bool gone[WRITERS] = { false };

	for (unsigned i = 0, ended = 0; ended < WRITERS; i++) {
		unsigned number = (unsigned)rand_r(seed) % WRITERS;
		pid_t victim = writers[number];
		if (gone[number]) /* its number may be another process's */
			continue;
		(void)kill(victim, SIGSTOP);
		far_sleep_us((unsigned)rand_r(seed) % 3000);
		(void)kill(victim, kills && i == 5 ? SIGKILL : SIGCONT);
		(void)kill(victim, SIGCONT);
		far_sleep_us((unsigned)rand_r(seed) % 1000);
		for (unsigned writer = 0; writer < WRITERS; writer++)
			if (!gone[writer] && waitpid(writers[writer], NULL, WNOHANG) > 0) {
				gone[writer] = true;
				ended++;
			}
	}
}

static void race_for_one_key(unsigned *seed, bool deletes, bool kills)
{
	struct larder_tiered_repair done;
	pid_t writers[WRITERS];

	store_release(&far_link->delay_us, (unsigned)rand_r(seed) % 2 ? 50 : 0);
	for (unsigned writer = 0; writer < WRITERS; writer++) {
		writers[writer] = fork();
		if (!writers[writer])
			write_one_key(writer, deletes);
	}
	disturb(writers, seed, kills);
	char last[128];
	snprintf(last, sizeof last, "%s", look(tier, "k")); /* of a dirty one, too: it was accepted last */
	ok(larder_tiered_repair(tier, 5000, &done));
	holds(far_beneath, "k", last);
	holds(tier, "k", last);
	cr_assert(kills || strstr(last, "-1999"), "%s", last); /* the last of one of them */
}

static unsigned race_rounds(void)
{
	const char *text = getenv("LARDER_RACE_ROUNDS");

	return text ? (unsigned)atoi(text) : 5;
}

static void race(bool deletes, bool kills)
{
	unsigned seed = (unsigned)clock_precise_ns(), first = seed;

	for (unsigned round = 0; round < race_rounds(); round++)
		race_for_one_key(&seed, deletes, kills);
	printf("# seed %u\n", first);
}

Test(tiered_queue, processes_that_write_one_key_leave_far_what_is_near)
{
	TIER("mode=write-behind", "delay=1ms");
	race(false, false);
}

Test(tiered_queue, processes_that_set_and_delete_one_key_leave_far_what_is_near)
{
	TIER("mode=write-behind", "delay=1ms");
	race(true, false);
}

Test(tiered_queue, processes_that_write_one_key_and_are_killed_leave_far_what_is_near)
{
	TIER("mode=write-behind", "delay=1ms");
	race(false, true);
}

Test(tiered_queue, processes_that_write_one_key_leave_far_the_last_where_changes_are_heard)
{
	struct larder_tiered_heard heard = { 0 };

	TIER("mode=write-behind", "delay=1ms", "listener=call", "on-gap=bound:1d");
	for (int64_t end = far_now_ms() + 30000; !heard.live && far_now_ms() < end;)
		(void)larder_tiered_listen(tier, 20, &heard);
	cr_assert(heard.live);
	race(false, false);
}

Test(tiered_queue, a_write_is_as_old_far_as_it_is_near)
{
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta;

	TIER("mode=write-behind", "delay=300ms", "on-failure=keep");
	ok(put(tier, "wake", "it"));
	far_sleep_us(20000);
	ok(put(tier, "k", "v"));
	ok(larder_store_get(near_store, K("k"), 0, &value, &meta));
	cr_assert(within_ms(2000, all_written));
	cr_assert_leq(llabs((int64_t)load_acquire(&far_link->told_ms) - meta.created_at_ms), 5); /* not when it came there */
	store_release(&far_link->refuses, 1);
	ok(put(tier, "kept", "v"));
	cr_assert(within_ms(2000, all_written));
	ok(larder_store_get(near_store, K("kept"), 0, &value, &meta));
	store_release(&far_link->refuses, 0);
	far_sleep_us(20000);
	ok(larder_store_drain(tier, 5000));
	cr_assert_leq(llabs((int64_t)load_acquire(&far_link->told_ms) - meta.created_at_ms), 5);
	free(value.data);
}

/* From now on the queue's thread takes its time: it has just been busy. */
static void let_it_linger(void)
{
	ok(put(tier, "wake", "it"));
	ok(larder_store_drain(tier, 20000));
	far_sleep_us(50000);
}

/* A process that has accepted `value` for k and writes it in a minute; stays until it is killed. */
static pid_t accepts(const char *value)
{
	pid_t child = fork();

	if (child)
		return child;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	larder_store_release(&tier);
	TIER("mode=write-behind", "delay=1m");
	let_it_linger();
	ok(put(tier, "k", value));
	for (;;)
		pause();
}

static bool k_is_there(void) { return strcmp(look(near_store, "k"), "(1)") != 0; }

static void end(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

Test(tiered_queue, what_another_process_has_accepted_comes_before_what_the_far_store_decides)
{
	struct larder_set_options add = LARDER_SET_OPTIONS_INIT, replace = LARDER_SET_OPTIONS_INIT;
	struct larder_buffer value = { .grow = true };
	struct larder_meta meta;
	int64_t sum;

	TIER("mode=write-behind");
	pid_t child = accepts("5");
	cr_assert(within_ms(5000, k_is_there));
	ok(larder_store_incr(tier, K("k"), 1, false, 0, LARDER_TTL_NONE, &sum));
	cr_assert_eq(sum, 6);
	end(child);
	(void)larder_store_delete(near_store, K("k"));
	ok(larder_store_delete(far_beneath, K("k")));
	child = accepts("theirs");
	cr_assert(within_ms(5000, k_is_there));
	add.mode = LARDER_ADD;
	replace.mode = LARDER_REPLACE;
	is(larder_store_set(tier, K("k"), "ours", 4, &add, NULL), LARDER_EXISTS);
	holds(tier, "k", "theirs");
	ok(larder_store_set(tier, K("k"), "ours", 4, &replace, NULL));
	holds(far_beneath, "k", "ours");
	holds(tier, "k", "ours");
	kill(child, SIGKILL); /* whatever it still had, the newer one stands */
	waitpid(child, NULL, 0);
	holds(far_beneath, "k", "ours");
	(void)larder_store_delete(near_store, K("k"));
	child = accepts("touched");
	cr_assert(within_ms(5000, k_is_there));
	ok(larder_store_touch(tier, K("k"), 100000));
	ok(larder_store_get(far_beneath, K("k"), 0, &value, &meta));
	cr_assert(value.length == 7 && meta.ttl_left_ms > 90000 && meta.ttl_left_ms <= 100000, "%zu bytes for %lld ms", value.length,
			(long long)meta.ttl_left_ms);
	end(child);
	free(value.data);
}

Test(tiered_queue, what_a_process_deletes_does_not_rise_from_another_ones_queue)
{
	TIER("mode=write-behind", "delay=1m");
	struct larder_store *other = far_tier((const char *const[]){ "mode=write-behind", "delay=1ms", NULL });
	let_it_linger();
	ok(put(tier, "k", "v"));
	holds(other, "k", "v");
	ok(larder_store_delete(other, K("k")));
	ok(larder_store_drain(other, 20000));
	holds(other, "k", "(1)"); /* far, too; and still in the first one's queue */
	cr_assert_geq(info().queue_here, 1);
	ok(larder_store_drain(tier, 20000));
	holds(far_beneath, "k", "(1)");
	holds(tier, "k", "(1)");
	ok(put(far_beneath, "k", "another host's"));
	holds(tier, "k", "another host's");
	holds(near_store, "k", "another host's");
	larder_store_release(&other);
}

Test(tiered_queue, what_finds_the_queue_full_is_not_overtaken_by_what_is_in_it)
{
	TIER("mode=write-behind", "delay=1m", "queue=2", "on-full=write-through");
	let_it_linger();
	ok(put(tier, "deleted", "v"));
	ok(put(tier, "changed", "v"));
	ok(larder_store_delete(tier, K("deleted")));
	ok(put(tier, "changed", "w"));
	holds(far_beneath, "changed", "w");
	holds(far_beneath, "deleted", "(1)");
	ok(larder_store_drain(tier, 20000));
	holds(far_beneath, "changed", "w");
	holds(tier, "changed", "w");
	holds(far_beneath, "deleted", "(1)");
	holds(tier, "deleted", "(1)");
}

Test(tiered_queue, what_is_too_large_for_near_is_not_overtaken_by_what_is_queued)
{
	static char big[3 << 20];
	struct larder_buffer value = { .grow = true };
	size_t bytes = sizeof big;

	memset(big, 'b', sizeof big);
	TIER("mode=write-behind", "delay=300ms");
	while (larder_store_set(near_store, K("size"), big, bytes, NULL, NULL) == LARDER_OK
			|| larder_store_set(far_beneath, K("size"), big, bytes, NULL, NULL) != LARDER_OK)
		bytes = bytes * 15 / 16; /* to one that the far store takes, and the near one does not */
	cr_assert_gt(bytes, 1000);
	ok(put(tier, "wake", "it"));
	far_sleep_us(50000);
	ok(put(tier, "k", "small"));
	ok(larder_store_set(tier, K("k"), big, bytes, NULL, NULL));
	cr_assert(within_ms(3000, all_written));
	ok(larder_store_get(far_beneath, K("k"), 0, &value, NULL));
	cr_assert_eq(value.length, bytes);
	ok(larder_store_get(tier, K("k"), 0, &value, NULL));
	cr_assert_eq(value.length, bytes);
	free(value.data);
}

Test(tiered_queue, what_is_evicted_and_fetched_again_is_still_written)
{
	TIER("mode=write-behind", "delay=1m");
	ok(put(far_beneath, "k", "old"));
	let_it_linger();
	ok(put(tier, "k", "new"));
	ok(larder_store_delete(near_store, K("k"))); /* as an eviction does */
	holds(tier, "k", "old");
	ok(larder_store_drain(tier, 20000));
	holds(far_beneath, "k", "new");
	holds(tier, "k", "new");
}

/* A process whose write is on its way, and gets that signal then. */
static pid_t hit_on_its_way(int signal)
{
	store_release(&far_link->held, 0);
	store_release(&far_link->hold, 1);
	pid_t child = fork();
	if (!child) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)put(tier, "theirs", "v");
		for (;;)
			pause();
	}
	cr_assert(within_ms(2000, one_is_held));
	kill(child, signal);
	int state = 0;
	cr_assert_eq(waitpid(child, &state, WUNTRACED), child);
	store_release(&far_link->hold, 0);
	return child;
}

Test(tiered_queue, a_process_killed_in_the_middle_of_a_write_is_not_waited_for)
{
	int64_t least = INT64_MAX; /* of some times: the machine may be busy with others */

	TIER("mode=write-behind", "delay=1ms");
	for (int i = 0; i < 5 && least >= 500; i++) {
		(void)hit_on_its_way(SIGKILL);
		int64_t before = far_now_ms();
		ok(put(tier, "ours", "v"));
		ok(larder_store_drain(tier, 20000));
		least = far_now_ms() - before < least ? far_now_ms() - before : least;
	}
	cr_assert_lt(least, 500, "%lld ms", (long long)least);
	holds(near_store, "ours", "v"); /* marked clean */
	holds(far_beneath, "theirs", "v"); /* and made up for */
}

Test(tiered_queue, a_process_stopped_in_the_middle_of_a_write_delays_others_once)
{
	unsigned quick = 0;

	TIER("mode=write-behind", "delay=1ms");
	pid_t child = hit_on_its_way(SIGSTOP);
	for (int i = 0; i < 4; i++) {
		int64_t before = far_now_ms();
		ok(put(tier, "ours", i % 2 ? "odd" : "even"));
		ok(larder_store_drain(tier, 20000));
		int64_t took = far_now_ms() - before;
		cr_assert(i || took > 500, "%lld ms", (long long)took);
		quick += i && took < 500;
		holds(far_beneath, "ours", i % 2 ? "odd" : "even");
	}
	cr_assert_geq(quick, 1, "each one waits"); /* the machine may be busy with others in some of them */
	holds(near_store, "ours", "(1)"); /* not marked clean: the stopped one might still change it */
	kill(child, SIGCONT);
	end(child);
}

Test(tiered_queue, a_set_with_tags_is_not_queued_for_its_names_are_the_callers)
{
	struct larder_set_options o = LARDER_SET_OPTIONS_INIT;
	char name[] = "green";
	const char *tags[] = { name };

	TIER("mode=write-behind", "delay=1s");
	ok(put(tier, "wake", "it"));
	far_sleep_us(50000);
	ok(put(tier, "k", "untagged")); /* older, and still queued */
	o.tags = tags;
	o.tag_count = 1;
	ok(larder_store_set(tier, K("k"), "tagged", 6, &o, NULL));
	memset(name, 'x', 5);
	tags[0] = NULL;
	holds(far_beneath, "k", "tagged");
	holds(tier, "k", "tagged");
	ok(larder_store_drain(tier, 5000));
	holds(far_beneath, "k", "tagged");
	ok(larder_tag_invalidate(larder_store_cache(far_beneath), "green"));
	holds(far_beneath, "k", "(1)");
}

Test(tiered_queue, an_increment_comes_after_the_set_it_builds_on)
{
	int64_t sum;

	TIER("mode=write-behind", "delay=50ms", "block-timeout=60s");
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
