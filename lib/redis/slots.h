/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which node of a cluster has which keys: 16384 slots, each the number of a node, learned from CLUSTER SLOTS and corrected by
 * MOVED.  A single server is a cluster of one, and has every slot.
 *
 * Nodes are only ever added (edge NAMED), so that a number stays good; one that left the cluster is no slot's.  A slot's number
 * is a hint: whoever follows an old one is redirected.
 */
#ifndef LARDER_REDIS_SLOTS_H
#define LARDER_REDIS_SLOTS_H

#include "redis/node.h"

#define SLOTS 16384u
#define NODES_MAX 64u
#define SLOT_ANY (-1)
_Static_assert(NODES_MAX <= 64, "a set of nodes is one word");

struct slots {
	struct pointer nodes[NODES_MAX]; /* struct redis_node */
	struct octet master[SLOTS], replica[SLOTS]; /* number + 1; 0: not known */
	struct word learn_at_ns;  /* not before; moved by CAS, so that one thread learns at a time */
	struct octet stale;       /* somebody was sent elsewhere: learn when it is time */
	struct word turn;         /* spreads what may go anywhere */
	struct pointer board; /* struct region: breakers of nodes are shared through it */
	const struct redis_options *options;
	struct tally *tally;
};

/* Breakers of all nodes, those to come included, are rows of that board.  LARDER_OK; LARDER_NO_ROOM. */
enum larder_status slots_share(struct slots *slots, const struct region *board);

/* Nodes of the seeds.  LARDER_OK, LARDER_NO_MEMORY. */
enum larder_status slots_make(struct slots *slots, const struct redis_options *options, struct tally *tally);
void slots_free(struct slots *slots);

/* The slot of a key, by its hash tag if it has one. */
int slots_of(const void *key, size_t bytes);

/* Slots that a node is master of. */
unsigned slots_count(const struct slots *slots, unsigned number);
unsigned slots_node_count(const struct slots *slots);
struct redis_node *slots_node(const struct slots *slots, unsigned number);

/* The node of a slot (SLOT_ANY: some node); never NULL.  turn counts up with each try for the same command: other seeds. */
struct redis_node *slots_find(struct slots *slots, int slot, bool replica, unsigned turn);
/* The node of "MOVED slot host:port" or "ASK slot host:port" that `from` answered, added if it is new; MOVED: it has the slot
 * from now on.  NULL: no such address, or no place for more nodes. */
struct redis_node *slots_redirect(struct slots *slots, const struct redis_node *from, const char *text);
/* The masters in an answer of `from` to CLUSTER NODES, with slots or without, as bits by their numbers; those that are new are added.
 * False, with a message: no such answer, a master that has slots has failed, or there is no place for more nodes. */
bool slots_masters(struct slots *slots, const struct redis_node *from, const char *text, uint64_t *masters);
/* Somebody was redirected, or a master does not answer. */
void slots_doubt(struct slots *slots);
/* Learns the slots if they are in doubt and it is time.  Asks the nodes in turn until one answers. */
void slots_learn(struct slots *slots, int64_t deadline_ns);

#endif
