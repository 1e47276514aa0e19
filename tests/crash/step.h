/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder-step: kills and freezes a process at every instruction of one operation, and has another look whether anything
 * is wrong (G1 to G4).  Three processes:
 *
 *   director  (step.c) chooses the points, traces the actor, asks the witness, keeps the score.  Opens no cache.
 *   actor     (operation.c) a fresh process for each point: attaches, warms up, marker, one call, marker.
 *   witness   (witness.c, life.c) lives long: prepares the key, and, while the actor stands still or is dead, uses the
 *             cache as anybody would and compares with what the checker of tests/history allows.
 *
 * They share a board.  Director and witness take turns over a socket pair; the board's fields are written by one of them
 * at a time, and a process switch lies between.
 */
#ifndef LARDER_TEST_STEP_H
#define LARDER_TEST_STEP_H

#include "call.h"
#include "kit.h"
#include "lin.h"

#define STEP_VALUE_MAX (256u << 10)
#define STEP_BYTES (UINT64_C(2) << 20)
#define STEP_FULL_BYTES (UINT64_C(1) << 20)

enum step_mode { MODE_KILL, MODE_FREEZE, MODE_RUN };

struct board {
	char path[200];
	const struct operation *operation;
	uint64_t point;      /* number of the experiment, in all names of keys */
	uint64_t seed;       /* of the witness's choices at this point */
	size_t instruction;
	enum step_mode mode;
	bool evict;          /* drive the cache through evictions while the actor stands still */
	bool expect_bad;     /* a planted fault: say less */
	struct call_key key;
	struct lin_call call; /* the actor's: what it asks, and what it was answered */
	int leave_status;    /* the actor's get of a bystander after its call */
	bool left;           /* the actor came to its end */
	unsigned char copy[STEP_VALUE_MAX]; /* what the actor read */
	unsigned bad, told;
	unsigned names_kept; /* points at which a standing destroyer kept the name of its cache */
	uint64_t slowest_ns;
	uint64_t calls;      /* made by the witness */
};

/* What the director asks the witness for. */
enum step_order {
	ORDER_OPEN = 'o',    /* a fresh cache for the operation */
	ORDER_PREPARE = 'p', /* the point's key and bystanders */
	ORDER_FROZEN = 'f',  /* the actor stands still */
	ORDER_KILLED = 'k',  /* the actor is dead */
	ORDER_RESUMED = 'r', /* the actor has got through and gone */
	ORDER_CLOSE = 'c'    /* the last look: check, capacity, nothing left behind */
};

/* What the key holds before the call. */
enum step_old { OLD_ABSENT, OLD_VALUE, OLD_COUNTER, OLD_DIGITS, OLD_EXPIRED, OLD_TTL, OLD_STALE, OLD_TAGGED };

enum step_traits {
	STEP_FULL = 1u << 0,  /* the cache is full: entries may go at any time */
	STEP_COLD = 1u << 1,  /* the attach is part of the stretch */
	STEP_CLOSE = 1u << 2, /* the close is the stretch */
	STEP_OWN_NS = 1u << 3, /* the key lies in a namespace that is flushed */
	STEP_FRESH_NS = 1u << 4, /* the stretch registers a namespace */
	STEP_LIFE = 1u << 5,  /* creates or destroys caches: nothing is prepared, life.c looks */
	STEP_WALK = 1u << 6,  /* iterates */
	STEP_MAINTAIN = 1u << 7,
	STEP_CREATE = 1u << 8,
	STEP_DESTROY = 1u << 9,
	STEP_LARGE = 1u << 10, /* values that push others out by themselves */
	STEP_LEASED = 1u << 11, /* the actor holds the lease of its key before the stretch */
	STEP_DEAD_LEASE = 1u << 12, /* one who is gone held it */
	STEP_QUOTA = 1u << 13, /* the key's namespace is at its quota: entries of it may go, and no others */
	STEP_READY = 1u << 14, /* the actor has places at hand that were used before */
	STEP_SPLIT = 1u << 15  /* these are of five times the size */
};

struct operation {
	const char *name;
	enum lin_kind kind;
	enum step_old old;
	uint32_t old_bytes, new_bytes;
	unsigned traits;
	enum call_manner manner;
};
extern const struct operation operations[];
extern const unsigned operations_count;

/* The actor's whole life; the argument is the board. */
void actor_play(void *board);

/* The witness's: takes orders from `orders` until it closes. */
void witness_serve(struct board *board, int orders);

/* The options of the caches made here: of the one that a full operation runs on, or of any other. */
struct larder_options step_options(bool full);

/* ---- Between the parts of the witness ---- */

#define SCENE_BYSTANDERS 96u
#define SCENE_SISTERS 8u

struct track {
	struct call_key key;
	struct lin_history history;
	uint64_t token; /* version last seen */
};

/* Every key that is known to be in a full cache, so that one that goes without being counted is noticed. */
#define CENSUS_MAX 16384u
struct census {
	uint64_t live[CENSUS_MAX]; /* numbers of the keys */
	unsigned count;
	uint64_t next;      /* number of the next key */
	uint64_t evictions; /* as counted by larder when the census was taken last */
	unsigned bystanders;
};

struct scene {
	struct board *board;
	struct census census;
	struct larder *caches[2]; /* two handles of the same cache, used in turn */
	struct rng rng;
	uint64_t tick;
	uint32_t own_ns;
	struct track key, other; /* the actor's key, and a bystander that is worked on */
	unsigned other_index;
	bool sisters_flushed;
	bool deleted[SCENE_BYSTANDERS]; /* by the witness, at this point */
	bool filled;
	uint64_t evictions;      /* at preparation, and those that have excused a loss since */
	uint32_t sequence;
	const char *tag;         /* what is set carries, while it is prepared */
	uint32_t grace_ms;
	struct larder *first;    /* life.c: the cache from before the actor, if any */
	bool succeeded;          /* life.c: caches[0] is its successor */
	unsigned char in[STEP_VALUE_MAX], out[STEP_VALUE_MAX];
};

void scene_fail(struct scene *scene, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Complains if the call that began with `watch` was held back. */
void scene_timed(struct scene *scene, const struct stopwatch *watch, const char *what);

/* Sets a key to scene->in; complains unless it succeeds in time. */
void scene_set(struct scene *scene, const struct call_key *key, size_t length);
unsigned scene_bystanders_held(struct scene *scene);

/* Adds that many fresh keys, half of them hot. */
void census_fill(struct scene *scene, unsigned count);
/* Sets keys until another would evict, so that the next set has work to do. */
void census_drain(struct scene *scene);
/* Counts anew what is there. */
void census_take(struct scene *scene);
/* The same, and compares: whatever went since must have been counted as evicted. */
void census_compare(struct scene *scene);

void life_prepare(struct scene *scene);
void life_still(struct scene *scene);
void life_after(struct scene *scene, bool finished);

#endif
