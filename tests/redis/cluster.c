/* SPDX-License-Identifier: BSD-2-Clause */
/* A Redis cluster for tests, see cluster.h.  Put together by hand: redis-cli --cluster create waits for seconds between steps. */
#include "cluster.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const int first_slots[MASTERS + 1] = { 0, 5461, 10923, 16384 };

unsigned cluster_master(int slot)
{
	unsigned master = 0;

	while (slot >= first_slots[master + 1])
		master++;
	return master;
}

void cluster_start_node(struct server *node)
{
	static const char *const arguments[] = { "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
		"--cluster-node-timeout", "800", "--cluster-replica-validity-factor", "0", "--repl-ping-replica-period", "1", NULL };

	for (unsigned i = 0; arguments[i]; i++)
		node->arguments[i] = arguments[i];
	server_start(node, true);
}

bool cluster_is_well(const struct cluster *cluster)
{
	for (unsigned i = 0; i < NODES; i++) {
		const char *info = cluster->nodes[i].pid > 0 ? server_say(&cluster->nodes[i], "CLUSTER INFO") : "";
		if (!strstr(info, "cluster_state:ok") || !strstr(info, "cluster_known_nodes:6") || !strstr(info, "cluster_size:3"))
			return false;
	}
	return true;
}

static bool replica_is_ready(const struct cluster *cluster, unsigned i)
{
	server_say(&cluster->nodes[MASTERS + i], "CLUSTER REPLICATE %s", cluster->ids[i]);
	return strstr(server_say(&cluster->nodes[MASTERS + i], "INFO replication"), "master_link_status:up");
}

/* Word of the replicas has reached every node: till then clients are told of none. */
static bool replicas_are_known(const struct cluster *cluster)
{
	for (unsigned i = 0; i < NODES; i++) {
		const char *at = server_say(&cluster->nodes[i], "CLUSTER NODES");
		unsigned known = 0;
		for (; (at = strstr(at, "slave ")) != NULL; at += strlen("slave "))
			known++;
		if (known != NODES - MASTERS)
			return false;
	}
	return true;
}

void cluster_start(struct cluster *cluster)
{
	for (unsigned i = 0; i < NODES; i++)
		cluster_start_node(&cluster->nodes[i]);
	for (unsigned i = 0; i < NODES; i++) {
		snprintf(cluster->ids[i], sizeof cluster->ids[i], "%.40s", server_say(&cluster->nodes[i], "CLUSTER MYID"));
		server_say(&cluster->nodes[i], "CLUSTER SET-CONFIG-EPOCH %u", i + 1);
		if (i < MASTERS)
			server_say(&cluster->nodes[i], "CLUSTER ADDSLOTSRANGE %d %d", first_slots[i], first_slots[i + 1] - 1);
		if (i)
			server_say(&cluster->nodes[i], "CLUSTER MEET 127.0.0.1 %d", cluster->nodes[0].port);
	}
	for (unsigned i = 0; i < MASTERS; i++)
		await(replica_is_ready(cluster, i), 15000);
	await(cluster_is_well(cluster) && replicas_are_known(cluster), 15000);
	cr_assert(cluster_is_well(cluster) && replicas_are_known(cluster), "the cluster does not come up: %s", server_say(&cluster->nodes[0], "CLUSTER NODES"));
	snprintf(cluster->url, sizeof cluster->url, "redis+cluster://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", cluster->nodes[0].port,
			cluster->nodes[1].port, cluster->nodes[2].port);
}

void cluster_end(struct cluster *cluster)
{
	for (unsigned i = 0; i < NODES; i++)
		server_end(&cluster->nodes[i]);
}
