/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Coherence: two hosts (two caches in shared memory, each with its listener) over one Redis, which loses connections, stops, is cleared,
 * restarted and replaced.
 */
#include "hosts.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct server server;

static void setup(void)
{
	server_start(&server, false);
	snprintf(far_url, sizeof far_url, "%s", server.url);
}

static void teardown(void)
{
	hosts_close();
	server_end(&server);
}
TestSuite(coherence, .init = setup, .fini = teardown, .timeout = 90);

/* ---- While all is well -------------------------------------------------------------------------------------------------- */

Test(coherence, what_one_host_changes_the_other_sees)
{
	struct larder_store_key k = key_of("n", "k");

	hosts_open("write-through", "bound:10s", "fail");
	put(A, "k", "1");
	assert_soon(B, "k", "1");
	assert_soon(A, "k", "1");
	put(B, "k", "2");
	assert_holds(B, "k", "2"); /* at once, where it was written */
	assert_soon(A, "k", "2");
	assert_status(larder_store_delete(tiers[A], &k), LARDER_OK);
	assert_holds(A, "k", "(1)");
	assert_soon(B, "k", "(1)");
	(void)server_say(&server, "SET test:n:k by-anyone");
	assert_soon(A, "k", "by-anyone");
	assert_soon(B, "k", "by-anyone");
	(void)server_say(&server, "SET test:n:k again");
	assert_soon(A, "k", "again");
}

Test(coherence, keys_with_odd_bytes_and_namespaces_are_heard_too)
{
	struct larder_store_key k = key_of("odd:name%", "a%3Ab:7");
	struct larder_buffer value = { .grow = true };

	hosts_open("write-through", "bound:10s", "fail");
	assert_status(larder_store_set(tiers[A], &k, "1", 1, NULL, NULL), LARDER_OK);
	assert_status(larder_store_get(tiers[B], &k, 0, &value, NULL), LARDER_OK);
	assert_status(larder_store_set(tiers[A], &k, "2", 1, NULL, NULL), LARDER_OK);
	await(!larder_store_get(tiers[B], &k, 0, &value, NULL) && *(char *)value.data == '2', 500);
	cr_assert_arr_eq(value.data, "2", 1);
	free(value.data);
}

Test(coherence, what_is_written_behind_is_seen_by_the_other)
{
	hosts_open("write-behind", "bound:10s", "fail");
	put(A, "k", "1");
	assert_holds(A, "k", "1");
	assert_soon(B, "k", "1");
	for (int i = 0; i < 200; i++)
		put(A, "k", i % 2 ? "odd" : "even");
	assert_holds(A, "k", "odd");
	assert_soon(B, "k", "odd");
	assert_holds(A, "k", "odd");
}

Test(coherence, a_namespace_cleared_by_one_is_cleared_for_the_other)
{
	const struct larder_name *ns;

	hosts_open("write-through", "bound:10s", "fail");
	put(A, "k", "1");
	assert_soon(B, "k", "1");
	assert_status(larder_name("n", &ns), LARDER_OK);
	assert_status(larder_store_clear(tiers[A], ns, false), LARDER_OK);
	assert_holds(A, "k", "(1)");
	assert_soon(B, "k", "(1)");
	put(B, "k", "2");
	assert_soon(A, "k", "2");
	put(A, "k", "3");
	assert_soon(B, "k", "3");
}

Test(coherence, flushall_clears_both)
{
	hosts_open("write-through", "bound:10s", "fail");
	put(A, "k", "1");
	assert_soon(B, "k", "1");
	(void)server_say(&server, "FLUSHALL");
	assert_soon(A, "k", "(1)");
	assert_soon(B, "k", "(1)");
	cr_assert_geq(info(A).cleared, 1);
}

/* Writes one key behind, with what its parent has opened. */
static pid_t writer_behind(int number)
{
	char value[16];
	pid_t child = fork();

	if (child)
		return child;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 1000; i++) {
		snprintf(value, sizeof value, "%d-%d", number, i);
		put(A, "k", value);
		if (i % 50 == number)
			(void)look(A, "k");
	}
	(void)larder_store_drain(tiers[A], 20000);
	_exit(0);
}

Test(coherence, processes_of_a_host_that_write_one_key_behind_leave_in_redis_what_came_last)
{
	struct larder_tiered_repair done;
	unsigned seed = (unsigned)now_ms();
	pid_t children[3];

	fprintf(stderr, "# seed %u\n", seed);
	hosts_open("write-behind", "bound:10s", "fail");
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 3; i++)
			children[i] = writer_behind(i);
		for (int ended = 0; ended < 3;) {
			pid_t child = children[rand_r(&seed) % 3];
			(void)kill(child, SIGSTOP);
			(void)usleep((unsigned)rand_r(&seed) % 3000);
			(void)kill(child, SIGCONT);
			(void)usleep((unsigned)rand_r(&seed) % 1000);
			while (waitpid(-1, NULL, WNOHANG) > 0)
				ended++;
		}
		assert_status(larder_tiered_repair(tiers[A], 5000, &done), LARDER_OK);
		const char *last = server_say(&server, "GET test:n:k");
		cr_assert(strstr(last, "-999"), "%s", last); /* the last of one of them */
		char text[16];
		snprintf(text, sizeof text, "%.15s", last);
		assert_soon(A, "k", text);
		assert_soon(B, "k", text);
	}
}

struct writer {
	size_t host;
	const struct larder_name *ns;
	unsigned seed;
};

static void *write_for_a_while(void *arg)
{
	struct writer *w = arg;
	char key[8], value[16];

	for (int64_t end = now_ms() + 1500; now_ms() < end;) {
		snprintf(key, sizeof key, "k%d", rand_r(&w->seed) % 4);
		snprintf(value, sizeof value, "%u", rand_r(&w->seed) % 100000);
		if (rand_r(&w->seed) % 4)
			(void)look(w->host, key);
		else /* one that fails on a busy machine is done or not: they agree on that, too */
			(void)larder_store_set(tiers[w->host], &(struct larder_store_key){ w->ns, key, strlen(key) }, value, strlen(value), NULL,
					NULL);
	}
	return NULL;
}

static void agree_after_writes(const char *mode)
{
	struct writer writers[4];
	pthread_t threads[4];
	unsigned seed = (unsigned)now_ms();

	fprintf(stderr, "# seed %u\n", seed);
	hosts_open(mode, "bound:10s", "fail");
	for (unsigned i = 0; i < 4; i++) {
		writers[i] = (struct writer){ i % 2, key_of("n", "k").ns, seed + i };
		cr_assert_eq(pthread_create(&threads[i], NULL, write_for_a_while, &writers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		(void)pthread_join(threads[i], NULL);
	assert_status(larder_store_drain(tiers[A], 20000), LARDER_OK);
	assert_status(larder_store_drain(tiers[B], 20000), LARDER_OK);
	for (int i = 0; i < 4; i++) {
		char key[8], truth[64];
		snprintf(key, sizeof key, "k%d", i);
		snprintf(truth, sizeof truth, "%s", server_say(&server, "GET test:n:%s", key));
		assert_soon(A, key, truth);
		assert_soon(B, key, truth);
	}
}

Test(coherence, hosts_that_write_the_same_keys_agree_in_the_end)
{
	agree_after_writes("write-through");
}

Test(coherence, hosts_that_write_behind_agree_in_the_end)
{
	agree_after_writes("write-behind");
}

/* ---- When it is not ----------------------------------------------------------------------------------------------------------- */

/* The stream is cut, what is changed meanwhile is not believed afterwards, and it is live again within two seconds. */
static void survive(const char *kill_command)
{
	put(A, "k", "1");
	assert_soon(B, "k", "1");
	uint64_t gaps = info(B).gaps, armed = info(B).armed;
	(void)server_say(&server, "%s", kill_command);
	(void)server_say(&server, "SET test:n:k unheard");
	int64_t before = now_ms();
	await(info(B).gaps > gaps && info(B).armed > armed && live(), 5000);
	cr_assert_gt(info(B).armed, armed);
	cr_assert(live());
	cr_assert_lt(now_ms() - before, 20000, "%lld ms", (long long)(now_ms() - before));
	assert_holds(A, "k", "unheard");
	assert_holds(B, "k", "unheard");
	(void)server_say(&server, "SET test:n:k heard");
	assert_soon(B, "k", "heard");
}

Test(coherence, a_lost_subscription_is_set_up_again)
{
	hosts_open("write-through", "bound:10s", "fail");
	survive("CLIENT KILL TYPE pubsub");
}

Test(coherence, tracking_lost_with_its_own_connection_is_set_up_again)
{
	char text[65536], command[64] = "";

	hosts_open("write-through", "bound:10s", "fail");
	/* All connections that are not subscribed: pools, too, which is as well. */
	snprintf(command, sizeof command, "CLIENT KILL TYPE normal");
	snprintf(text, sizeof text, "%s", server_say(&server, "CLIENT LIST"));
	cr_assert(strstr(text, "flags=B") || strstr(text, "flags=t") || strstr(text, "B"), "%s", text);
	survive(command);
}

Test(coherence, tracking_turned_off_behind_our_back_is_noticed)
{
	hosts_open("write-through", "bound:10s", "fail");
	survive("CLIENT KILL TYPE pubsub SKIPME no");
}

Test(coherence, a_stopped_server_delays_no_hit_and_is_believed_for_its_bound)
{
	unsigned hits = 0, slow = 0;

	hosts_open("write-through", "bound:3s", "keep");
	put(A, "k", "1");
	assert_soon(B, "k", "1");
	await(info(A).invalidations, 500); /* the report of A's own write, after which the value is fetched again */
	assert_soon(A, "k", "1");
	server_freeze(&server);
	await(info(A).broken, 3000);
	cr_assert(info(A).broken);
	while (info(A).broken_for_ms < 500) {
		int64_t begun = now_ms();
		assert_holds(A, "k", "1");
		slow += now_ms() - begun > 30;
		hits++;
	}
	cr_assert_leq(slow, hits / 20, "%u of %u hits took longer than 30 ms", slow, hits); /* a few may be the machine's fault */
	while (info(A).broken_for_ms < 3100)
		usleep(1000);
	assert_holds(A, "k", "1"); /* past its bound, but the server cannot be asked, and on-failure = keep */
	server_thaw(&server);
	int64_t before = now_ms();
	await(live(), 5000);
	cr_assert_lt(now_ms() - before, 20000, "%lld ms", (long long)(now_ms() - before));
	(void)server_say(&server, "SET test:n:k 2");
	assert_soon(A, "k", "2");
}

Test(coherence, a_paused_server_leaves_nothing_stale_behind)
{
	hosts_open("write-through", "revalidate", "keep");
	put(A, "k", "1");
	assert_soon(B, "k", "1");
	(void)server_say(&server, "CLIENT PAUSE 600 ALL");
	await(info(B).broken, 2000);
	cr_assert(info(B).broken);
	await(live(), 5000);
	cr_assert(live());
	(void)server_say(&server, "SET test:n:k 2");
	assert_soon(A, "k", "2");
	assert_soon(B, "k", "2");
}

Test(coherence, a_server_restarted_empty_is_believed)
{
	hosts_open("write-through", "bound:10s", "fail");
	put(A, "k", "1");
	assert_soon(B, "k", "1");
	await(info(B).invalidations, 500); /* the report of A's write, after which the value is fetched again */
	assert_soon(B, "k", "1");
	server_kill(&server);
	await(info(A).broken && info(B).broken, 2000);
	assert_holds(B, "k", "1"); /* local hits go on */
	server_restart(&server);
	int64_t before = now_ms();
	await(live(), 5000);
	cr_assert_lt(now_ms() - before, 20000, "%lld ms", (long long)(now_ms() - before));
	assert_soon(A, "k", "(1)");
	assert_soon(B, "k", "(1)");
}

Test(coherence, what_is_written_while_the_server_is_down_is_made_up_for)
{
	hosts_open("write-through", "bound:10s", "keep");
	put(A, "k", "before");
	assert_soon(B, "k", "before");
	server_kill(&server);
	await(info(A).broken, 2000);
	put(A, "k", "during");
	put(A, "fresh", "during");
	assert_holds(A, "k", "during");
	server_restart(&server);
	await(live(), 5000);
	cr_assert(live());
	await(!strcmp(server_say(&server, "GET test:n:k"), "during"), 2000);
	cr_assert_str_eq(server_say(&server, "GET test:n:k"), "during");
	cr_assert_str_eq(server_say(&server, "GET test:n:fresh"), "during");
	assert_soon(B, "k", "during");
}

/* The address of the server is a link, as a virtual address would be, and is moved to the replica. */
Test(coherence, a_failover_leaves_nothing_stale_behind)
{
	struct server replica = { .pid = 0 };
	char link_path[128];

	server_end(&server);
	server_start(&server, true);
	server_start(&replica, true);
	snprintf(link_path, sizeof link_path, "%s/link", replica.directory);
	cr_assert_eq(symlink(server.socket, link_path), 0);
	snprintf(far_url, sizeof far_url, "unix://%s", link_path);
	(void)server_say(&replica, "REPLICAOF 127.0.0.1 %d", server.port);
	hosts_open("write-through", "bound:10s", "keep");
	put(A, "k", "1");
	assert_soon(B, "k", "1");
	await(!strcmp(server_say(&replica, "GET test:n:k"), "1"), 5000);
	cr_assert_str_eq(server_say(&replica, "GET test:n:k"), "1");
	server_kill(&server);
	await(info(A).broken && info(B).broken, 2000);
	(void)server_say(&replica, "REPLICAOF NO ONE");
	(void)server_say(&replica, "SET test:n:k 2");
	cr_assert_eq(unlink(link_path), 0);
	cr_assert_eq(symlink(replica.socket, link_path), 0);
	await(live(), 5000);
	cr_assert(live());
	assert_soon(A, "k", "2");
	assert_soon(B, "k", "2");
	put(B, "k", "3");
	assert_soon(A, "k", "3");
	server_end(&replica);
}

/* ---- Listeners --------------------------------------------------------------------------------------------------------------------- */

Test(coherence, a_killed_listener_is_followed_and_nothing_unheard_is_believed)
{
	hosts_open("write-through", "revalidate", "fail");
	/* Host B's listener is to be another process: ours lets go of the office, and comes back when the child has it. */
	larder_store_release(&tiers[B]);
	larder_store_release(&fars[B]);
	larder_store_release(&nears[B]);
	int ready[2];
	char byte = 0;
	cr_assert_eq(pipe(ready), 0);
	pid_t child = fork();
	if (!child) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		host_open(B, "write-through", "revalidate", "fail");
		await(info(B).live, 5000);
		(void)!write(ready[1], &byte, 1);
		for (;;)
			pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	host_open(B, "write-through", "revalidate", "fail");
	await(info(B).live && info(B).holder_pid == child, 5000);
	cr_assert_eq(info(B).holder_pid, child);
	put(A, "k", "1");
	assert_soon(B, "k", "1");
	kill(child, SIGKILL);
	(void)server_say(&server, "SET test:n:k 2");
	int64_t before = now_ms();
	await(info(B).holder_pid == getpid(), 3000);
	cr_assert_eq(info(B).holder_pid, getpid());
	cr_assert_lt(now_ms() - before, 20000, "%lld ms", (long long)(now_ms() - before));
	await(info(B).live, 3000);
	assert_soon(B, "k", "2");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

Test(coherence, a_listener_that_may_not_listen_says_so)
{
	(void)server_say(&server, "ACL SETUSER shy on nopass allkeys allchannels +@all -client");
	snprintf(far_url, sizeof far_url, "unix://shy:any@%s", server.socket);
	host_open(A, "write-through", "bound:10s", "fail");
	await(info(A).trouble, 3000);
	cr_assert_eq(info(A).trouble, LARDER_REFUSED, "%s", larder_strerror(info(A).trouble));
	cr_assert_not(info(A).live);
	put(A, "k", "v");
	assert_holds(A, "k", "v");
	(void)server_say(&server, "ACL SETUSER shy +@all");
	await(info(A).live, 5000);
	cr_assert(info(A).live && info(A).trouble == LARDER_OK);
}

Test(coherence, reading_from_replicas_is_refused_with_the_remedy)
{
	const struct larder_setting near[] = { { "bytes", "2m" } };
	const struct larder_setting tier[] = { { "near", "near" }, { "far", "far" }, { "listener", "thread" } };
	size_t host = A;

	assert_status(larder_store_open("memory", near, 1, NULL, NULL, &nears[A]), LARDER_OK);
	fars[A] = store_open("redis+cluster://127.0.0.1:1", "replica-reads", "yes", NULL);
	assert_status(larder_store_open("tiered", tier, 3, find, &host, &tiers[A]), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "replica-reads = no"), "%s", larder_message());
}
