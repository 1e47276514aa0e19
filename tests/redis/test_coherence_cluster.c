/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Coherence over a cluster of three masters: two hosts hear what is changed at each of them, when a slot moves, when a master joins,
 * and when one dies and its replica takes over.
 */
#include "cluster.h"
#include "hosts.h"

#include <stdlib.h>

#include "redis/slots.h"

static struct cluster cluster;

static void setup(void)
{
	cluster_start(&cluster);
	snprintf(far_url, sizeof far_url, "%s", cluster.url);
}

static void teardown(void)
{
	hosts_close();
	cluster_end(&cluster);
}
TestSuite(coherence_cluster, .init = setup, .fini = teardown, .timeout = 110);

static int slot_of(const char *key)
{
	char text[64];

	return slots_of(text, (size_t)snprintf(text, sizeof text, "test:n:%s", key));
}

/* A key of that master, another one for each turn. */
static const char *key_at(unsigned master, unsigned turn)
{
	static char key[8][16];
	static unsigned place;
	char *text = key[place++ % 8];

	for (unsigned i = turn * 1000;; i++) {
		snprintf(text, sizeof key[0], "k%u", i);
		if (cluster_master(slot_of(text)) == master)
			return text;
	}
}

static void say_set(const struct server *node, const char *key, const char *value)
{
	const char *answer = server_say(node, "SET test:n:%s %s", key, value);

	cr_assert_str_eq(answer, "OK");
}

Test(coherence_cluster, a_change_at_any_master_is_heard_by_both_hosts)
{
	hosts_open("write-through", "bound:10s", "fail");
	for (unsigned master = 0; master < MASTERS; master++) {
		const char *key = key_at(master, 0);
		put(A, key, "1");
		assert_soon(B, key, "1");
		put(B, key, "2");
		assert_soon(A, key, "2");
		say_set(&cluster.nodes[master], key, "by-anyone");
		assert_soon(A, key, "by-anyone");
		assert_soon(B, key, "by-anyone");
	}
	for (unsigned master = 0; master < MASTERS; master++) {
		cr_assert(strstr(server_say(&cluster.nodes[master], "CLIENT LIST"), "flags=tB"), "tracked at each master");
		cr_assert_not(strstr(server_say(&cluster.nodes[MASTERS + master], "CLIENT LIST"), "flags=tB"), "and at no replica");
	}
	(void)server_say(&cluster.nodes[1], "FLUSHALL");
	assert_soon(A, key_at(1, 0), "(1)");
	assert_soon(B, key_at(1, 0), "(1)");
	assert_soon(A, key_at(2, 0), "by-anyone");
}

Test(coherence_cluster, a_connection_lost_to_one_master_is_a_gap_and_is_made_again)
{
	const char *key = key_at(1, 0), *other = key_at(2, 0);

	hosts_open("write-through", "bound:10s", "fail");
	put(A, key, "1");
	put(A, other, "1");
	assert_soon(B, key, "1");
	assert_soon(B, other, "1");
	uint64_t gaps = info(B).gaps, armed = info(B).armed;
	(void)server_say(&cluster.nodes[1], "CLIENT KILL TYPE pubsub");
	say_set(&cluster.nodes[1], key, "unheard");
	await(info(B).gaps > gaps && info(B).armed > armed && live(), 5000);
	cr_assert_gt(info(B).gaps, gaps);
	cr_assert(live());
	assert_holds(A, key, "unheard");
	assert_holds(B, key, "unheard");
	say_set(&cluster.nodes[1], key, "heard");
	assert_soon(B, key, "heard");
	say_set(&cluster.nodes[2], other, "heard");
	assert_soon(B, other, "heard");
}

static void move_slot(const struct server *from, const char *from_id, const struct server *to, const char *to_id, int slot, const char *key)
{
	(void)server_say(to, "CLUSTER SETSLOT %d IMPORTING %s", slot, from_id);
	(void)server_say(from, "CLUSTER SETSLOT %d MIGRATING %s", slot, to_id);
	cr_assert_str_eq(server_say(from, "MIGRATE 127.0.0.1 %d test:n:%s 0 1000", to->port, key), "OK");
	(void)server_say(to, "CLUSTER SETSLOT %d NODE %s", slot, to_id);
	(void)server_say(from, "CLUSTER SETSLOT %d NODE %s", slot, to_id);
}

Test(coherence_cluster, a_slot_that_moves_between_masters_is_heard_where_it_is)
{
	const char *key = key_at(0, 0);

	hosts_open("write-through", "bound:10s", "fail");
	put(A, key, "1");
	assert_soon(B, key, "1");
	move_slot(&cluster.nodes[0], cluster.ids[0], &cluster.nodes[1], cluster.ids[1], slot_of(key), key);
	assert_soon(A, key, "1");
	assert_soon(B, key, "1");
	say_set(&cluster.nodes[1], key, "2");
	assert_soon(A, key, "2");
	assert_soon(B, key, "2");
	put(B, key, "3");
	assert_soon(A, key, "3");
}

static struct server joined;

static bool has_joined(void)
{
	for (unsigned i = 0; i < MASTERS; i++)
		if (!strstr(server_say(&cluster.nodes[i], "CLUSTER INFO"), "cluster_known_nodes:7"))
			return false;
	return strstr(server_say(&joined, "CLUSTER INFO"), "cluster_state:ok") != NULL;
}

/* It is heard before it has a slot: what it is written while one is on its way to it is heard. */
Test(coherence_cluster, a_master_that_joins_is_heard_before_it_has_a_slot)
{
	const char *key = key_at(0, 0);
	char id[48];

	hosts_open("write-through", "bound:10s", "fail");
	put(A, key, "1");
	assert_soon(B, key, "1");
	uint64_t armed_a = info(A).armed, armed_b = info(B).armed;
	cluster_start_node(&joined);
	snprintf(id, sizeof id, "%.40s", server_say(&joined, "CLUSTER MYID"));
	(void)server_say(&joined, "CLUSTER MEET 127.0.0.1 %d", cluster.nodes[0].port);
	await(has_joined(), 15000);
	cr_assert(has_joined(), "%s", server_say(&joined, "CLUSTER NODES"));
	await(info(A).armed > armed_a && info(B).armed > armed_b && live(), 3000);
	cr_assert(live());
	cr_assert(strstr(server_say(&joined, "CLIENT LIST"), "flags=tB"));
	assert_holds(A, key, "1");
	move_slot(&cluster.nodes[0], cluster.ids[0], &joined, id, slot_of(key), key);
	assert_soon(A, key, "1");
	assert_soon(B, key, "1");
	say_set(&joined, key, "2");
	assert_soon(A, key, "2");
	assert_soon(B, key, "2");
	server_end(&joined);
}

Test(coherence_cluster, a_killed_master_is_a_gap_until_its_replica_is_heard)
{
	const char *key = key_at(1, 0), *other = key_at(2, 0);
	int64_t began;

	hosts_open("write-through", "revalidate", "fail");
	put(A, key, "1");
	put(A, other, "1");
	assert_soon(B, key, "1");
	assert_soon(B, other, "1");
	await(!strcmp(server_say(&cluster.nodes[1], "GET test:n:%s", key), "1"), 2000);
	server_kill(&cluster.nodes[1]);
	await(info(A).broken && info(B).broken, 2000);
	cr_assert(info(A).broken && info(B).broken);
	say_set(&cluster.nodes[2], other, "unheard"); /* the other masters go on; nothing near is believed */
	assert_holds(A, other, "unheard");
	assert_holds(B, other, "unheard");
	began = now_ms();
	await(!strcmp(server_say(&cluster.nodes[MASTERS + 1], "SET test:n:%s 2", key), "OK"), 20000);
	int64_t failed_over = now_ms();
	await(live(), 10000);
	cr_assert(live(), "%s", server_say(&cluster.nodes[2], "CLUSTER NODES"));
	fprintf(stderr, "# the replica took over after %lld ms, and is heard %lld ms later\n", (long long)(failed_over - began),
			(long long)(now_ms() - failed_over));
	cr_assert_lt(now_ms() - failed_over, 4000);
	assert_soon(A, key, "2");
	assert_soon(B, key, "2");
	say_set(&cluster.nodes[MASTERS + 1], key, "3");
	assert_soon(A, key, "3");
	assert_soon(B, key, "3");
}

/* The old master comes back as a replica, and the replica stays what it has become. */
Test(coherence_cluster, a_planned_failover_leaves_nothing_stale_behind)
{
	const char *key = key_at(0, 0);
	char value[32];

	hosts_open("write-through", "revalidate", "fail");
	put(A, key, "before");
	assert_soon(B, key, "before");
	uint64_t armed_a = info(A).armed, armed_b = info(B).armed;
	cr_assert_str_eq(server_say(&cluster.nodes[MASTERS], "CLUSTER FAILOVER"), "OK");
	for (int i = 0; i < 4000 && !(info(A).armed > armed_a && info(B).armed > armed_b && live()); i++) {
		snprintf(value, sizeof value, "during-%d", i);
		if (!strcmp(server_say(&cluster.nodes[MASTERS], "SET test:n:%s %s", key, value), "OK")) {
			assert_soon(A, key, value);
			assert_soon(B, key, value);
		}
	}
	cr_assert(info(A).armed > armed_a && info(B).armed > armed_b && live());
	say_set(&cluster.nodes[MASTERS], key, "after");
	assert_soon(A, key, "after");
	assert_soon(B, key, "after");
}

/* ---- What a node says of its cluster ---------------------------------------------------------------------------------------- */

static struct redis_options options;
static struct tally tally;
static struct slots slots;

static void make_slots(void)
{
	assert_status(url_parse("redis+cluster://127.0.0.1:7000", &options.url), LARDER_OK);
	options.pool = 1;
	(void)pointer_cas_acq_rel(&tally.words, NULL, tally.own);
	assert_status(slots_make(&slots, &options, &tally), LARDER_OK);
}

static void free_slots(void) { slots_free(&slots); }
TestSuite(masters, .init = make_slots, .fini = free_slots);

/* The addresses of the masters in that text, or "false". */
static const char *masters_in(const char *text)
{
	static char names[1024];
	uint64_t set;
	size_t at = 0;

	if (!slots_masters(&slots, slots_node(&slots, 0), text, &set))
		return "false";
	names[0] = '\0';
	for (unsigned i = 0; i < NODES_MAX && at < sizeof names; i++)
		if (set >> i & 1)
			at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? " " : "", slots_node(&slots, i)->text);
	return names;
}

#define LINE(address, flags, slots) "07c37dfeb235213a872192d90877d0cd55635b91 " address " " flags " - 0 1426238317239 4 connected" slots "\n"

Test(masters, are_those_that_others_can_reach_with_slots_or_without)
{
	cr_assert_str_eq(masters_in(LINE("10.0.0.1:7001@17001", "master", " 0-5460") LINE("10.0.0.2:7002@17002", "slave", "")
			LINE("10.0.0.3:7003@17003,host.example", "master", "") LINE(":7000@17000", "myself,master", " 5461-16383 [5-<-x]")),
			"127.0.0.1:7000 10.0.0.1:7001 10.0.0.3:7003");
	cr_assert_str_eq(masters_in(LINE("::1:7004@17004", "master", " 1")), "[::1]:7004");
	cr_assert_str_eq(masters_in(LINE("10.0.0.1:7001", "master,fail?", " 1")), "10.0.0.1:7001", "it may be wrong");
	cr_assert_str_eq(masters_in(LINE("10.0.0.1:7001@17001", "master", "") LINE("10.0.0.4:7@8", "master,fail", "")
			LINE("10.0.0.5:7@8", "handshake,master", "") LINE(":0@0", "master,noaddr", "")), "10.0.0.1:7001");
}

Test(masters, are_not_known_where_slots_have_none)
{
	cr_assert_str_eq(masters_in(LINE("10.0.0.1:7001@17001", "master", " 1") LINE("10.0.0.4:7@8", "master,fail", " 2-3")), "false");
	cr_assert(strstr(larder_message(), "10.0.0.4:7@8 has failed"), "%s", larder_message());
	cr_assert_str_eq(masters_in(LINE("10.0.0.2:7002@17002", "slave", "")), "false");
	cr_assert(strstr(larder_message(), "no master"), "%s", larder_message());
}

Test(masters, are_not_taken_from_anything_else)
{
	static const char *const texts[] = { "", "\n\n", " ", "x", "x y", "x y master", "x :master master", "x 1.2.3.4:0@1 master",
		"x 1.2.3.4:65536@1 master", "x 1.2.3.4:-1@1 master", "x @ master", "x \n10.0.0.1:7@8 master" };
	char text[400];

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		cr_assert_str_eq(masters_in(texts[i]), "false", "%zu", i);
	cr_assert_str_eq(masters_in("x 1.2.3.4:7@8 master"), "1.2.3.4:7", "a line may end anywhere behind what is needed");
	memset(text, 'h', sizeof text); /* a host of 300 bytes */
	memcpy(text, "x ", 2);
	snprintf(text + 302, sizeof text - 302, ":7@8 master - 0 0 0 connected 1\n");
	cr_assert_str_eq(masters_in(text), "false");
	const char *whole = LINE("10.0.0.1:7001@17001", "master", " 0-5460");
	for (size_t bytes = 0; bytes <= strlen(whole); bytes++) { /* on the heap, for the sanitizer */
		char *cut = strndup(whole, bytes);
		(void)masters_in(cut);
		free(cut);
	}
}

Test(masters, are_refused_where_there_are_more_than_can_be_known)
{
	char text[80 * 80];
	size_t at = 0;

	for (unsigned i = 0; i < NODES_MAX; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "x 10.0.0.%u:7000@1 master - 0 0 0 connected %u\n", i, i);
	cr_assert_str_eq(masters_in(text), "false");
	cr_assert(strstr(larder_message(), "64"), "%s", larder_message());
}
