/* SPDX-License-Identifier: BSD-2-Clause */
/* The listener of a host: who holds the office, what is believed while changes are not heard, and from when on it is again. */
#include "far.h"

#include <sys/prctl.h>

TestSuite(tiered_ear, .init = far_setup, .fini = far_teardown, .timeout = 60);

static struct larder_tiered_info info(void)
{
	struct larder_tiered_info i;

	ok(larder_tiered_info(tier, &i));
	return i;
}

static bool live(void) { return info().live; }
static bool broken(void) { return info().broken; }
static bool heard_all(void) { return load_acquire(&far_link->heard) == load_acquire(&far_link->news) && info().live; }

/* A process that listens; stays until it is killed. */
static pid_t listener(void)
{
	pid_t child = fork();

	if (child)
		return child;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* whatever becomes of the test */
	TIER("listener=thread", "keepalive=5s"); /* a test that is made to wait for a second has no gap */
	for (;;)
		pause();
}

static void end(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static int32_t holder(void)
{
	struct larder_tiered_info i = info();

	return i.held ? i.holder_pid : 0;
}

static pid_t awaited;
static bool holder_is_awaited(void) { return holder() == awaited && live(); }

Test(tiered_ear, a_change_of_another_host_is_heard)
{
	TIER("listener=thread", "keepalive=50ms");
	cr_assert(within_ms(2000, live));
	ok(put(far_beneath, "k", "old"));
	holds(tier, "k", "old");
	far_change("n", "k", "new");
	cr_assert(within_ms(1000, heard_all));
	holds(tier, "k", "new");
	cr_assert_eq(info().invalidations, 1);
	far_change("never used", "k", "x"); /* nothing is registered for what nobody uses */
	cr_assert(within_ms(1000, heard_all));
	cr_assert_eq(info().invalidations, 1);
}

static struct larder_tiered_info told;
static char told_far[128];
static bool remember(const char *far, const struct larder_tiered_info *i, void *arg)
{
	told = *i;
	snprintf(told_far, sizeof told_far, "%s", far);
	return !arg;
}

Test(tiered_ear, who_only_inspects_the_cache_sees_what_the_tier_knows)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct larder *inspector = NULL;
	bool stop = true;

	TIER("listener=thread", "keepalive=5s");
	cr_assert(within_ms(2000, live));
	ok(put(tier, "k", "old"));
	far_change("n", "k", "new");
	cr_assert(within_ms(1000, heard_all));
	options.flags = LARDER_INSPECT;
	ok(larder_open_with(near_name, &options, &inspector));
	ok(larder_tiers(inspector, remember, NULL));
	cr_assert_str_eq(told_far, "far of test");
	cr_assert(told.live && told.held && told.holder_pid == getpid());
	is(told.trouble, LARDER_OK);
	cr_assert_eq(told.invalidations, info().invalidations);
	cr_assert_eq(told.invalidations, 1);
	cr_assert_eq(told.armed, 1);
	cr_assert_lt(told.silent_ms, 30000);
	store_release(&far_link->down, 1);
	cr_assert(within_ms(1000, broken));
	far_sleep_us(20000);
	is(larder_tiers(inspector, remember, &stop), LARDER_END);
	cr_assert(told.broken && told.gaps == 1 && told.broken_for_ms >= 20);
	is(told.trouble, LARDER_UNREACHABLE);
	larder_store_release(&tier); /* nobody is left */
	ok(larder_tiers(inspector, remember, NULL));
	cr_assert(told.broken && !told.held);
	is(larder_tiers(inspector, NULL, NULL), LARDER_INVALID);
	larder_close(&inspector);
}

Test(tiered_ear, what_is_dirty_is_counted_by_looking_at_it)
{
	static const struct larder_set_options marked = { .size = sizeof marked, .ttl_ms = LARDER_TTL_NONE, .user_flags = UINT32_MAX };
	struct larder *near = larder_store_cache(near_store);
	uint64_t dirty, looked;
	uint32_t ns;

	TIER("listener=thread", "keepalive=50ms", "on-failure=keep");
	cr_assert(within_ms(2000, live)); /* what was near before that is dropped */
	ok(larder_namespace(near, "of no tier", &ns)); /* whose flags are its own */
	ok(larder_set_with(near, ns, "k", 1, "v", 1, &marked, NULL));
	ok(put(tier, "far", "v"));
	ok(larder_tiered_dirty(near, 0, &dirty, &looked));
	cr_assert(dirty == 0 && looked >= 2, "%lu of %lu", (unsigned long)dirty, (unsigned long)looked);
	store_release(&far_link->down, 1);
	for (int i = 0; i < 10; i++) {
		ok(put(tier, "one", "v")); /* ten writes, one dirty key */
		ok(put(tier, "two", "v"));
	}
	ok(larder_tiered_dirty(near, 0, &dirty, NULL));
	cr_assert_eq(dirty, 2, "%lu", (unsigned long)dirty);
	is(larder_tiered_dirty(near, 1, &dirty, &looked), LARDER_END);
	cr_assert_eq(looked, 1);
	store_release(&far_link->down, 0);
	ok(larder_tiered_repair(tier, 5000, NULL));
	ok(larder_tiered_dirty(near, 0, &dirty, NULL));
	cr_assert_eq(dirty, 0, "%lu", (unsigned long)dirty);
	is(larder_tiered_dirty(near, 0, NULL, NULL), LARDER_INVALID);
}

Test(tiered_ear, one_listens_for_all_and_is_followed_when_it_dies)
{
	pid_t children[3];

	TIER("listener=others");
	for (int i = 0; i < 3; i++)
		children[i] = listener();
	cr_assert(within_ms(3000, live));
	for (int i = 0; i < 3; i++) {
		pid_t first = (pid_t)holder();
		far_change("n", "k", "old");
		cr_assert(within_ms(2000, heard_all));
		holds(tier, "k", "old");
		end(first);
		int64_t before = far_now_ms();
		if (i == 2)
			break;
		while (holder() == first || !holder())
			far_sleep_us(2000);
		cr_assert_lt(far_now_ms() - before, 30000, "%lld ms", (long long)(far_now_ms() - before));
		cr_assert(within_ms(2000, live));
		far_change("n", "k", "new");
		cr_assert(within_ms(2000, heard_all));
		holds(tier, "k", "new");
	}
	cr_assert_eq(info().taken_over, 2);
	for (int i = 0; i < 3; i++)
		waitpid(children[i], NULL, WNOHANG);
}

Test(tiered_ear, a_stopped_holder_is_followed_and_changes_nothing_when_it_goes_on)
{
	pid_t first, second;

	TIER("listener=others");
	first = awaited = listener();
	cr_assert(within_ms(3000, holder_is_awaited));
	second = listener();
	far_sleep_us(200000);
	kill(first, SIGSTOP);
	int64_t before = far_now_ms();
	awaited = second;
	cr_assert(within_ms(4000, holder_is_awaited));
	cr_assert_lt(far_now_ms() - before, 30000, "%lld ms", (long long)(far_now_ms() - before));
	uint64_t gaps = info().gaps, armed = info().armed;
	kill(first, SIGCONT);
	far_sleep_us(500000);
	cr_assert_eq(holder(), second);
	cr_assert(live());
	cr_assert_eq(info().gaps, gaps);
	cr_assert_eq(info().armed, armed);
	end(first);
	end(second);
}

static bool is_heard_again(void) { return info().silent_ms < 500; }

/* One that was stopped on its way into an earlier term puts that one's words back when it goes on. */
Test(tiered_ear, a_late_candidate_does_not_silence_the_holder)
{
	TIER("listener=thread", "keepalive=50ms");
	cr_assert(within_ms(2000, live));
	const struct tier_words *words = &((struct tier *)larder_store_self(tier))->words;
	store_release(tier_word(words, TIER_HEARD), moment_word(0, 1));
	store_release(tier_word(words, TIER_ATTENDED), moment_word(0, 1));
	far_sleep_us(500000);
	cr_assert(within_ms(2000, live));
	cr_assert(within_ms(2000, is_heard_again));
	cr_assert_eq(holder(), getpid());
	cr_assert_eq(info().taken_over, 0);
	far_change("n", "k", "new");
	cr_assert(within_ms(1000, heard_all));
	holds(tier, "k", "new");
}

/* Words of strangers, or of a clock that went back: nothing is believed, and nobody kept from listening, until then. */
Test(tiered_ear, moments_that_are_still_to_come_are_not_believed)
{
	uint64_t later = UINT64_C(1) << 39;

	TIER("listener=others", "on-gap=bound:1h");
	const struct tier_words *words = &tier_of(tier)->words;
	ok(put(far_beneath, "k", "old"));
	holds(tier, "k", "old");
	store_release(tier_word(words, TIER_HEARD), moment_word(7, (int64_t)later));
	store_release(tier_word(words, TIER_STREAM), stream_word(STREAM_LIVE, 7, 1));
	holds(tier, "other", "(1)"); /* a miss looks at the stream */
	cr_assert(broken());
	ok(put(far_beneath, "k", "new"));
	holds(tier, "k", "new"); /* broken since then: no bound for that */
	struct larder_participant_info me = { 0 };
	uint32_t slot = 0;
	while (larder_participant(tier_of(tier)->near.cache, slot, &me) || me.pid != getpid())
		slot++;
	store_release(tier_word(words, TIER_OFFICE), office_word(7, slot, me.registration));
	store_release(tier_word(words, TIER_ATTENDED), moment_word(7, (int64_t)later));
	awaited = listener();
	cr_assert(within_ms(5000, holder_is_awaited));
	end(awaited);
}

Test(tiered_ear, what_may_have_changed_unheard_is_not_believed_afterwards)
{
	TIER("listener=thread", "keepalive=5s", "on-gap=bound:1m");
	cr_assert(within_ms(2000, live));
	ok(put(far_beneath, "k", "old"));
	ok(put(far_beneath, "same", "s"));
	holds(tier, "k", "old");
	holds(tier, "same", "s");
	store_release(&far_link->down, 1);
	cr_assert(within_ms(1000, broken));
	ok(put(far_beneath, "k", "new")); /* by somebody who still reaches it */
	holds(tier, "k", "old");          /* within the bound */
	store_release(&far_link->down, 0);
	int64_t before = far_now_ms();
	cr_assert(within_ms(3000, live));
	cr_assert_lt(far_now_ms() - before, 30000);
	holds(tier, "k", "new");
	holds(tier, "same", "s");
	cr_assert_eq(info().gaps, 1);
}

Test(tiered_ear, a_silent_break_is_seen_in_bounded_time)
{
	TIER("listener=thread", "keepalive=50ms", "on-gap=revalidate");
	cr_assert(within_ms(2000, live));
	int64_t least = INT64_MAX; /* of five times: the machine may be busy with others in one of them */
	for (int i = 0; i < 5; i++) {
		store_release(&far_link->deaf, 0);
		cr_assert(within_ms(2000, live));
		store_release(&far_link->deaf, 1);
		int64_t before = far_now_ms();
		cr_assert(within_ms(2000, broken));
		least = far_now_ms() - before < least ? far_now_ms() - before : least;
	}
	cr_assert_lt(least, 50 * 4 + 250, "%lld ms", (long long)least);
	ok(put(far_beneath, "k", "1"));
	holds(tier, "k", "1");
	ok(put(far_beneath, "k", "2"));
	holds(tier, "k", "2"); /* nothing near is believed */
	store_release(&far_link->deaf, 0);
	cr_assert(within_ms(3000, live));
}

Test(tiered_ear, past_its_bound_nothing_near_is_believed)
{
	TIER("listener=thread", "keepalive=50ms", "on-gap=bound:400ms", "on-failure=keep");
	cr_assert(within_ms(2000, live));
	ok(put(far_beneath, "k", "1"));
	holds(tier, "k", "1");
	store_release(&far_link->deaf, 1);
	cr_assert(within_ms(2000, broken));
	ok(put(far_beneath, "k", "2"));
	int64_t until = far_now_ms() + 400 - (int64_t)info().broken_for_ms;
	while (far_now_ms() < until + 50)
		far_sleep_us(1000);
	holds(tier, "k", "2");
	store_release(&far_link->down, 1); /* but it is better than nothing, where that was chosen */
	holds(tier, "k", "2");
}

Test(tiered_ear, without_its_far_store_what_is_not_believed_is_an_error_or_kept_by_choice)
{
	TIER("listener=thread", "keepalive=50ms", "on-gap=revalidate", "on-failure=fail");
	cr_assert(within_ms(2000, live));
	ok(put(far_beneath, "k", "1"));
	holds(tier, "k", "1");
	store_release(&far_link->down, 1);
	cr_assert(within_ms(2000, broken));
	holds(tier, "k", "(-22)");
	larder_store_release(&tier);
	TIER("listener=others", "on-gap=revalidate", "on-failure=keep");
	holds(tier, "k", "1");
	larder_store_release(&tier);
	TIER("listener=no", "on-gap=revalidate", "on-failure=fail");
	holds(tier, "k", "1"); /* who wants nobody to listen believes what is near */
}

static bool all_is_cleared(void) { return info().cleared == 1; }

Test(tiered_ear, everything_can_be_invalidated_at_once)
{
	TIER("listener=thread", "keepalive=50ms");
	cr_assert(within_ms(2000, live));
	ok(put(tier, "k", "v"));
	ok(put(near_store, "k2", "v2"));
	struct larder_store_key others = key_in("not of the tier", "k");
	ok(larder_store_set(near_store, &others, "v", 1, NULL, NULL));
	ok(larder_store_delete(far_beneath, K("k")));
	store_release(&far_link->clear_all, 1);
	cr_assert(within_ms(1000, all_is_cleared));
	holds(tier, "k", "(1)");
	cr_assert_eq(info().cleared, 1);
	struct larder_buffer value = { .grow = true };
	ok(larder_store_get(near_store, &others, 0, &value, NULL)); /* what is not the tier's stays */
	free(value.data);
}

Test(tiered_ear, a_program_listens_in_its_own_loop)
{
	struct larder_tiered_heard heard;
	int fd;

	TIER("listener=call", "keepalive=5s");
	cr_assert_not(live());
	ok(larder_tiered_listen(tier, 300, &heard));
	for (int i = 0; i < 50 && !heard.live; i++)
		ok(larder_tiered_listen(tier, 300, &heard));
	cr_assert(heard.holder && heard.live);
	ok(larder_tiered_descriptor(tier, &fd));
	cr_assert_geq(fd, 0);
	ok(put(far_beneath, "k", "old"));
	holds(tier, "k", "old");
	far_change("n", "k", "new");
	holds(tier, "k", "old"); /* nobody has listened */
	ok(larder_tiered_listen(tier, 0, &heard));
	cr_assert_eq(heard.invalidations, 1);
	holds(tier, "k", "new");
	store_release(&far_link->cut, 1);
	is(larder_tiered_listen(tier, 0, &heard), LARDER_UNREACHABLE);
	cr_assert_not(heard.live);
	larder_store_release(&tier);
	TIER("listener=others");
	is(larder_tiered_listen(tier, 0, &heard), LARDER_UNSUPPORTED);
}

Test(tiered_ear, an_office_that_nobody_attends_to_is_seen_to_be_silent)
{
	struct larder_tiered_heard heard;

	TIER("listener=call", "keepalive=50ms", "on-gap=revalidate");
	for (int i = 0; i < 50 && !live(); i++)
		ok(larder_tiered_listen(tier, 300, &heard));
	cr_assert(live());
	ok(put(far_beneath, "k", "1"));
	holds(tier, "k", "1");
	far_sleep_us(400000); /* the program does something else */
	holds(tier, "missing", "(1)"); /* any miss asks */
	cr_assert(broken());
	ok(put(far_beneath, "k", "2"));
	holds(tier, "k", "2");
}

Test(tiered_ear, dirty_entries_are_made_up_for_by_the_next_line)
{
	TIER("listener=thread", "keepalive=50ms", "on-failure=keep");
	cr_assert(within_ms(2000, live));
	ok(put(tier, "k", "before"));
	store_release(&far_link->down, 1);
	cr_assert(within_ms(2000, broken));
	ok(put(tier, "k", "during"));
	ok(put(tier, "k2", "during"));
	store_release(&far_link->down, 0);
	cr_assert(within_ms(3000, live));
	holds(far_beneath, "k", "during");
	holds(far_beneath, "k2", "during");
	holds(tier, "k", "during");
}

Test(tiered_ear, a_dirty_entry_is_not_removed_by_anothers_change)
{
	TIER("listener=thread", "keepalive=50ms", "mode=write-behind");
	cr_assert(within_ms(2000, live));
	store_release(&far_link->hold, 1); /* it stays to be written until the change is heard */
	ok(put(tier, "k", "mine"));
	far_change("n", "k", "theirs");
	cr_assert(within_ms(200, heard_all));
	store_release(&far_link->hold, 0);
	holds(tier, "k", "mine"); /* it will be written: the later write wins */
	ok(larder_store_drain(tier, 5000));
	holds(far_beneath, "k", "mine");
}

static bool opened_again(void) { return live() && load_acquire(&far_link->opened) >= 2; }

/* Makes the listener begin anew, and waits until it hears. */
static void reconnect(void)
{
	cr_assert(within_ms(5000, live));
	store_release(&far_link->cut, 1);
	cr_assert(within_ms(5000, opened_again));
}

static bool cleaned_two(void) { return info().cleaned == 2; }

Test(tiered_ear, what_the_far_store_refused_is_read_after_a_reconnect_and_written_when_it_takes_it)
{
	TIER("listener=thread", "keepalive=50ms", "mode=write-through", "on-failure=keep");
	cr_assert(within_ms(2000, live));
	ok(put(tier, "k", "v0"));
	ok(put(tier, "gone", "v0"));
	store_release(&far_link->refuses, 1);
	ok(put(tier, "k", "v1"));
	ok(larder_store_delete(tier, K("gone")));
	reconnect();
	holds(tier, "k", "v1");
	holds(tier, "gone", "(1)");
	store_release(&far_link->clear_all, 1); /* somebody clears the far store, and it is reported */
	cr_assert(within_ms(1000, all_is_cleared));
	holds(tier, "k", "v1");
	holds(tier, "gone", "(1)");
	store_release(&far_link->refuses, 0);
	cr_assert(within_ms(6000, cleaned_two)); /* nobody drains: the listener tries again */
	holds(far_beneath, "k", "v1");
	holds(far_beneath, "gone", "(1)");
	holds(tier, "k", "v1");
}

static bool far_has_v1(void) { return !strcmp(look(far_beneath, "k"), "v1"); }

Test(tiered_ear, what_is_refused_while_changes_are_heard_is_tried_again)
{
	TIER("listener=thread", "keepalive=5s", "mode=write-through", "on-failure=keep");
	cr_assert(within_ms(2000, live));
	store_release(&far_link->refuses, 1);
	ok(put(tier, "k", "v1"));
	store_release(&far_link->refuses, 0);
	cr_assert(within_ms(2000, far_has_v1));
	cr_assert(live());
	cr_assert_eq(info().gaps, 0);
}

Test(tiered_ear, what_waits_in_a_queue_is_read_while_the_listener_begins_anew)
{
	static const char *const gaps[] = { "on-gap=bound:10s", "on-gap=drop" };

	for (unsigned i = 0; i < 2; i++) {
		ok(put(far_beneath, "k", "v0"));
		TIER("listener=thread", "keepalive=50ms", "mode=write-behind", "delay=20ms", gaps[i]);
		cr_assert(within_ms(2000, live));
		ok(put(tier, "x", "x"));
		ok(larder_store_drain(tier, 20000));
		store_release(&far_link->refuses, 1);
		ok(put(tier, "k", "v1"));
		far_sleep_us(100000);
		reconnect();
		holds(tier, "k", "v1");
		store_release(&far_link->refuses, 0);
		ok(larder_store_drain(tier, 20000));
		holds(far_beneath, "k", "v1");
		holds(tier, "k", "v1");
		larder_store_release(&tier);
		store_release(&far_link->opened, 0);
		ok(larder_store_delete(near_store, K("k")));
	}
}

Test(tiered_ear, what_was_ordered_gone_is_gone_however_dirty)
{
	const struct larder_name *ns = K("k")->ns;
	uint32_t number;

	TIER("listener=thread", "keepalive=50ms", "mode=write-through", "on-failure=keep");
	cr_assert(within_ms(2000, live));
	store_release(&far_link->refuses, 1);
	ok(put(tier, "k", "v1"));
	is(larder_store_clear(tier, ns, false), LARDER_REFUSED);
	holds(tier, "k", "v1"); /* the far store was not cleared: the write still stands */
	store_release(&far_link->refuses, 0);
	ok(larder_store_clear(tier, ns, false));
	holds(tier, "k", "(1)");
	store_release(&far_link->refuses, 1);
	ok(put(tier, "k", "v2"));
	ok(larder_namespace(larder_store_cache(near_store), "n", &number));
	ok(larder_flush(larder_store_cache(near_store), number)); /* by hand */
	holds(tier, "k", "(1)");
}

Test(tiered_ear, what_is_dirty_and_too_large_for_one_entry_is_read_after_a_reconnect)
{
	static char large[200000];
	struct larder_buffer value = { .grow = true };

	memset(large, 'l', sizeof large);
	TIER("listener=thread", "keepalive=50ms", "mode=write-through", "on-failure=keep", "on-gap=drop");
	cr_assert(within_ms(2000, live));
	store_release(&far_link->refuses, 1);
	ok(larder_store_set(tier, K("k"), large, sizeof large, NULL, NULL));
	reconnect();
	ok(larder_store_get(tier, K("k"), 0, &value, NULL));
	cr_assert_eq(value.length, sizeof large);
	cr_assert_arr_eq(value.data, large, sizeof large);
	free(value.data);
}

static bool far_is_new(void) { return !strcmp(look(far_beneath, "k"), "new"); }

/* The older of two writes waits in one queue, the newer is far already, and then changes are heard anew. */
Test(tiered_ear, what_was_superseded_does_not_rise_when_the_listener_begins_anew)
{
	const char *gaps[] = { "on-gap=bound:10s", "on-gap=drop", "on-gap=bound:10s" };

	for (unsigned i = 0; i < 3; i++) {
		TIER("listener=thread", "keepalive=50ms", "mode=write-behind", "delay=1500ms", gaps[i]);
		struct larder_store *other = far_tier((const char *const[]){ "listener=others", "mode=write-behind", "delay=1ms", NULL });
		cr_assert(within_ms(2000, live));
		ok(put(tier, "wake", "it"));
		far_sleep_us(50000);
		ok(put(tier, "k", "old"));
		ok(put(other, "k", "new"));
		cr_assert(within_ms(1000, far_is_new));
		if (i == 2) { /* and was fetched again, which the listener hides */
			holds(other, "k", "new");
			holds(near_store, "k", "new");
		}
		reconnect();
		holds(near_store, "k", i == 2 ? "(1)" : "");
		cr_assert_geq(info().queue_here, 1);
		holds(other, "k", "new");
		holds(other, "k", "new");
		ok(larder_store_drain(tier, 5000));
		holds(far_beneath, "k", "new");
		holds(tier, "k", "new");
		far_change("n", "k", "another host's");
		cr_assert(within_ms(1000, heard_all));
		holds(tier, "k", "another host's");
		holds(near_store, "k", "another host's"); /* what is fetched in place of what is gone is kept */
		larder_store_release(&other);
		larder_store_release(&tier);
		store_release(&far_link->opened, 0);
		ok(larder_store_delete(near_store, K("k")));
		ok(larder_store_delete(far_beneath, K("k")));
	}
}
