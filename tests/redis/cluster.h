/* SPDX-License-Identifier: BSD-2-Clause */
/* A Redis cluster for tests: three masters and a replica of each, on loopback, each with a socket as well. */
#ifndef LARDER_TESTS_REDIS_CLUSTER_H
#define LARDER_TESTS_REDIS_CLUSTER_H

#include "server.h"

#define MASTERS 3
#define NODES (2 * MASTERS)

/* nodes[MASTERS + i] is the replica of nodes[i]. */
struct cluster {
	struct server nodes[NODES];
	char ids[NODES][48];
	char url[256]; /* names the masters */
};

void cluster_start(struct cluster *cluster);
/* One that knows no other yet. */
void cluster_start_node(struct server *node);
void cluster_end(struct cluster *cluster);
/* All nodes are up, agree, and every slot has a master. */
bool cluster_is_well(const struct cluster *cluster);
/* The master that has a slot as things were at the start. */
unsigned cluster_master(int slot);

#endif
