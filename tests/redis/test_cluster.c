/* SPDX-License-Identifier: BSD-2-Clause */
/* A Redis cluster: keys find their nodes, redirections are followed, and the loss of a master is survived. */
#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <larder/redis.h>

#include "redis/slots.h"

#define COUNT 300

static struct cluster cluster;
static struct larder_store *store;
static char keys[COUNT][16];

static void setup(void)
{
	cluster_start(&cluster);
	store = store_open(cluster.url, "timeout", "5s", "connect-timeout", "2s", NULL);
	for (int i = 0; i < COUNT; i++)
		snprintf(keys[i], sizeof keys[i], "%d", i);
}

static void teardown(void)
{
	larder_store_release(&store);
	cluster_end(&cluster);
}
TestSuite(cluster, .init = setup, .fini = teardown, .timeout = 100);

static enum larder_status set(const char *name, const char *value)
{
	struct larder_store_key key = key_of("c", name);

	return larder_store_set(store, &key, value, strlen(value), NULL, NULL);
}

static enum larder_status get(const char *name, char text[64])
{
	struct larder_store_key key = key_of("c", name);
	struct larder_buffer value = { .data = text, .capacity = 63 };
	enum larder_status status = larder_store_get(store, &key, 0, &value, NULL);

	text[status ? 0 : value.length] = '\0';
	return status;
}

static int slot_of(const char *name)
{
	char text[32];

	return slots_of(text, (size_t)snprintf(text, sizeof text, "c:%s", name));
}

static struct larder_redis_status counters(void)
{
	struct larder_redis_status status = { .size = sizeof status };

	assert_status(larder_redis_status(store, &status), LARDER_OK);
	return status;
}

static void fill(void)
{
	for (int i = 0; i < COUNT; i++)
		assert_status(set(keys[i], keys[i]), LARDER_OK);
}

/* What was set is with the replicas, too: what a master had for itself goes with it. */
static bool is_replicated(void)
{
	for (int i = 0; i < MASTERS; i++) {
		int held = atoi(server_say(&cluster.nodes[i], "DBSIZE"));
		if (atoi(server_say(&cluster.nodes[MASTERS + i], "DBSIZE")) != held)
			return false;
	}
	return true;
}

Test(cluster, every_key_goes_straight_to_its_master)
{
	struct larder_store_item items[COUNT] = { 0 };
	char text[64];

	fill();
	for (int i = 0; i < COUNT; i++) {
		assert_status(get(keys[i], text), LARDER_OK);
		cr_assert_str_eq(text, keys[i]);
		cr_assert(i > 9 || atoi(server_say(&cluster.nodes[0], "CLUSTER KEYSLOT c:%s", keys[i])) == slot_of(keys[i]));
	}
	int sum = 0;
	for (int i = 0; i < MASTERS; i++) {
		int held = atoi(server_say(&cluster.nodes[i], "DBSIZE"));
		cr_assert_gt(held, COUNT / 6);
		sum += held;
	}
	cr_assert_eq(sum, COUNT);
	cr_assert_eq(counters().moved, 0, "slots are learned before they are needed");
	for (int i = 0; i < COUNT; i++) {
		items[i].key = key_of("c", keys[i]);
		items[i].value.grow = true;
	}
	assert_status(larder_store_mget(store, 0, items, COUNT), LARDER_OK);
	for (int i = 0; i < COUNT; i++) {
		assert_status(items[i].status, LARDER_OK);
		cr_assert(items[i].value.length == strlen(keys[i]) && !memcmp(items[i].value.data, keys[i], strlen(keys[i])));
		free(items[i].value.data);
	}
}

Test(cluster, counters_cas_and_clear_work_across_nodes)
{
	struct larder_store_key key = key_of("c", "n");
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	struct larder_buffer value = { .data = (char[16]){ 0 }, .capacity = 16 };
	struct larder_meta meta;
	int64_t sum;

	for (int i = 1; i <= 10; i++)
		assert_status(larder_store_incr(store, &key, 1, true, 0, 0, &sum), LARDER_OK);
	cr_assert_eq(sum, 10);
	assert_status(larder_store_get(store, &key, 0, &value, &meta), LARDER_OK);
	options.mode = LARDER_CAS;
	options.version = meta.version;
	assert_status(larder_store_set(store, &key, "x", 1, &options, NULL), LARDER_OK);
	assert_status(larder_store_set(store, &key, "y", 1, &options, NULL), LARDER_CHANGED);
	fill();
	assert_status(larder_store_clear(store, key.ns, false), LARDER_OK);
	uint64_t removed;
	char text[64];
	for (int i = 0; i < COUNT; i++)
		assert_status(get(keys[i], text), LARDER_MISS);
	assert_status(larder_redis_sweep(store, "c", false, 100, 10000, &removed), LARDER_END);
	cr_assert_eq(removed, 100);
	assert_status(larder_redis_sweep(store, "c", false, UINT64_MAX, 10000, &removed), LARDER_OK);
	cr_assert_eq(removed, COUNT + 1 - 100);
}

/* One slot on its way from one master to another, and then there. */
Test(cluster, asked_and_moved_are_followed)
{
	char text[64];

	fill();
	int slot = slot_of("7");
	unsigned from = cluster_master(slot), to = (from + 1) % MASTERS;
	server_say(&cluster.nodes[to], "CLUSTER SETSLOT %d IMPORTING %s", slot, cluster.ids[from]);
	server_say(&cluster.nodes[from], "CLUSTER SETSLOT %d MIGRATING %s", slot, cluster.ids[to]);
	server_say(&cluster.nodes[from], "MIGRATE 127.0.0.1 %d c:7 0 1000", cluster.nodes[to].port);
	assert_status(get("7", text), LARDER_OK);
	cr_assert_str_eq(text, "7");
	assert_status(set("7", "seven"), LARDER_OK);
	cr_assert_geq(counters().asked, 2);
	for (unsigned i = 0; i < MASTERS; i++)
		server_say(&cluster.nodes[i], "CLUSTER SETSLOT %d NODE %s", slot, cluster.ids[to]);
	assert_status(get("7", text), LARDER_OK);
	cr_assert_str_eq(text, "seven");
	cr_assert_geq(counters().moved, 1);
	uint64_t moved = counters().moved;
	for (int i = 0; i < 20; i++)
		assert_status(get("7", text), LARDER_OK);
	cr_assert_eq(counters().moved, moved, "a redirection is remembered");
}

Test(cluster, the_loss_of_a_master_is_survived)
{
	unsigned dead = cluster_master(slot_of("7")), others = 0;
	char text[64];

	fill();
	await(is_replicated(), 3000);
	cr_assert(is_replicated());
	server_kill(&cluster.nodes[dead]);
	int64_t began = now_ms(), longest = 0;
	for (int i = 0; i < COUNT; i++) {
		if (cluster_master(slot_of(keys[i])) == dead)
			continue;
		others++;
		int64_t one = now_ms();
		assert_status(get(keys[i], text), LARDER_OK);
		longest = now_ms() - one > longest ? now_ms() - one : longest;
		cr_assert_str_eq(text, keys[i]);
	}
	cr_assert_gt(others, COUNT / 3, "the other masters are not held up");
	await(set("7", "new") == LARDER_OK, 20000);
	cr_assert_lt(now_ms() - began, 60000, "the cluster's own failover takes about two seconds");
	for (int i = 0; i < COUNT; i++) {
		await(get(keys[i], text) == LARDER_OK, 3000);
		assert_status(get(keys[i], text), LARDER_OK);
		cr_assert_str_eq(text, i == 7 ? "new" : keys[i]);
	}
}

Test(cluster, replicas_answer_gets_where_that_was_chosen)
{
	struct larder_store *masters = store;
	char text[64];

	fill();
	store = store_open(cluster.url, "replica-reads", "yes", "timeout", "5s", NULL);
	for (int i = 0; i < COUNT; i++) {
		await(get(keys[i], text) == LARDER_OK, 1000);
		cr_assert_str_eq(text, keys[i]);
	}
	int served = 0;
	for (int i = MASTERS; i < NODES; i++) {
		const char *found = strstr(server_say(&cluster.nodes[i], "INFO commandstats"), "cmdstat_get:calls=");
		served += found ? atoi(found + strlen("cmdstat_get:calls=")) : 0;
	}
	cr_assert_geq(served, COUNT, "replicas served %d gets", served);
	assert_status(set("7", "by way of the master"), LARDER_OK);
	larder_store_release(&store);
	store = masters;
}
