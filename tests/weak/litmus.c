/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Litmus tests of the five edges that hold larder together, with the very calls of base/sync.h: two threads run the two
 * sides of an edge over many instances, and no instance may end in the edge's forbidden outcome.
 *
 *     litmus [SECONDS per edge] [SEED]
 *
 * Each edge is also run broken: with plain accesses where the edge has its orders, or without its CAS.  There the
 * outcome must be seen, else the harness cannot show it and the pair proves nothing.  One that only a reordering machine
 * can show is skipped where it was not seen.  A host shows no more reordering than it has: under qemu-user on x86-64,
 * that is total store order at most (README.md).  Prints TAP.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/sync.h"

#define INSTANCES 2048u
#define WORDS 4u

/* The words of an instance lie on lines of their own, and what each side has seen beside them. */
struct instance {
	struct { _Alignas(64) struct word word; } at[WORDS];
	struct { _Alignas(64) uint64_t saw[2]; } side[2];
};

struct edge {
	const char *name;
	void (*side[2])(struct instance *x);
	bool (*forbidden)(const struct instance *x);
	enum { WHOLE, BROKEN_ORDER, BROKEN_LOGIC } kind;
};

static struct instance instances[INSTANCES];
static struct { _Alignas(64) struct word word; } arrived[2], at_instance[2];
static struct word stop;
static const struct edge *edge;

/* Both words in this processor's cache: what is stored next must first be taken from the other one, and lingers. */
static void warm(const struct instance *x) { (void)(load_hint(&x->at[0].word) + load_hint(&x->at[1].word)); }
/* A while in which the other side can come between. */
static void linger(void)
{
	for (unsigned i = 0; i < 30; i++)
		compiler_barrier();
}

/* ---- hazard: name and look | unlink and scan ------------------------------------------------------------------------------ */

enum { HAZARD, SLOT, BYTES };

static void hazard_reader(struct instance *x)
{
	warm(x);
	store_seq_cst(&x->at[HAZARD].word, 1);
	x->side[0].saw[0] = load_seq_cst(&x->at[SLOT].word);
}
static void hazard_recycler(struct instance *x)
{
	warm(x);
	cas_seq_cst(&x->at[SLOT].word, 0, 1);
	x->side[1].saw[0] = load_seq_cst(&x->at[HAZARD].word);
}
static void hazard_reader_broken(struct instance *x)
{
	warm(x);
	store_hint(&x->at[HAZARD].word, 1);
	x->side[0].saw[0] = load_hint(&x->at[SLOT].word);
}
/* The reader saw the slot as it was, and the recycler no name: bytes are reused under a reader. */
static bool hazard_forbidden(const struct instance *x) { return x->side[0].saw[0] == 0 && x->side[1].saw[0] == 0; }

/* ---- retire: read, clear the name | scan, reuse --------------------------------------------------------------------------------- */

static void retire_reader(struct instance *x)
{
	store_seq_cst(&x->at[HAZARD].word, 1);
	x->side[0].saw[0] = load_seq_cst(&x->at[SLOT].word);
	linger();
	x->side[0].saw[1] = load_hint(&x->at[BYTES].word);
	store_release(&x->at[HAZARD].word, 0);
}
static void retire_recycler(struct instance *x)
{
	cas_seq_cst(&x->at[SLOT].word, 0, 1);
	for (unsigned i = 0; i < 100 && load_seq_cst(&x->at[HAZARD].word) != 0; i++)
		;
	if (load_seq_cst(&x->at[HAZARD].word) == 0)
		store_hint(&x->at[BYTES].word, 1);
}
/* The broken one does not scan: what it overwrites is being read. */
static void retire_recycler_broken(struct instance *x)
{
	cas_seq_cst(&x->at[SLOT].word, 0, 1);
	store_hint(&x->at[BYTES].word, 1);
}
/* The slot led here, and yet the bytes were another's. */
static bool retire_forbidden(const struct instance *x) { return x->side[0].saw[0] == 0 && x->side[0].saw[1] != 0; }

/* ---- freeze: increment | freeze and copy ----------------------------------------------------------------------------------------------- */

enum { CELL, COPY };
#define FROZEN (UINT64_C(1) << 63)

static void freeze_incrementer(struct instance *x)
{
	for (unsigned i = 0; i < 3; i++) {
		uint64_t seen = load_acquire(&x->at[CELL].word);
		if (seen & FROZEN)
			break;
		x->side[0].saw[0] += cas_acq_rel(&x->at[CELL].word, seen, seen + 1);
	}
}
static void freeze_mover(struct instance *x)
{
	uint64_t seen = load_acquire(&x->at[CELL].word);
	while (!cas_acq_rel(&x->at[CELL].word, seen, seen | FROZEN))
		seen = load_acquire(&x->at[CELL].word);
	store_release(&x->at[COPY].word, seen);
}
static void freeze_mover_broken(struct instance *x) { store_release(&x->at[COPY].word, load_acquire(&x->at[CELL].word)); }
/* An increment is in neither. */
static bool freeze_forbidden(const struct instance *x) { return x->side[0].saw[0] != load_hint(&x->at[COPY].word); }

/* ---- insert: two inserters, each in a slot of its own --------------------------------------------------------------------------------------- */

static void insert_left(struct instance *x)
{
	warm(x);
	cas_seq_cst(&x->at[0].word, 0, 1);
	x->side[0].saw[0] = load_seq_cst(&x->at[1].word);
}
static void insert_right(struct instance *x)
{
	warm(x);
	cas_seq_cst(&x->at[1].word, 0, 1);
	x->side[1].saw[0] = load_seq_cst(&x->at[0].word);
}
static void insert_left_broken(struct instance *x)
{
	warm(x);
	store_hint(&x->at[0].word, 1);
	x->side[0].saw[0] = load_hint(&x->at[1].word);
}
static void insert_right_broken(struct instance *x)
{
	warm(x);
	store_hint(&x->at[1].word, 1);
	x->side[1].saw[0] = load_hint(&x->at[0].word);
}
/* Neither saw the other: two COMMITTED entries of one key. */
static bool insert_forbidden(const struct instance *x) { return x->side[0].saw[0] == 0 && x->side[1].saw[0] == 0; }

/* ---- spill: bit, COMMITTED | status, then the bit ---------------------------------------------------------------------------------------------- */

enum { SPILL, STATUS };

static void spill_completer(struct instance *x)
{
	octet_or_seq_cst((struct octet *)&x->at[SPILL].word, 1);
	cas_acq_rel(&x->at[STATUS].word, 0, 1);
}
static void spill_getter(struct instance *x)
{
	x->side[1].saw[0] = load_acquire(&x->at[STATUS].word); /* stands for all that tells it that the set has returned */
	x->side[1].saw[1] = octet_load_seq_cst((struct octet *)&x->at[SPILL].word);
}
static void spill_completer_broken(struct instance *x)
{
	cas_acq_rel(&x->at[STATUS].word, 0, 1);
	linger();
	octet_or_seq_cst((struct octet *)&x->at[SPILL].word, 1);
}
/* The set has returned, and a get does not look where its entry is. */
static bool spill_forbidden(const struct instance *x) { return x->side[1].saw[0] != 0 && x->side[1].saw[1] == 0; }

/* ---- registration: two names of one hash -------------------------------------------------------------------------------------------------------------- */

static bool register_word(struct word *w, uint64_t wanted)
{
	uint64_t seen = load_acquire(w);
	if (seen == 0) {
		cas_acq_rel(w, 0, wanted);
		seen = load_acquire(w);
	}
	return seen == wanted;
}
static bool register_word_broken(struct word *w, uint64_t wanted)
{
	if (load_acquire(w) == 0)
		store_release(w, wanted);
	return load_acquire(w) == wanted;
}
static void register_left(struct instance *x) { x->side[0].saw[0] = register_word(&x->at[0].word, 1) && register_word(&x->at[1].word, 1); }
static void register_right(struct instance *x) { x->side[1].saw[0] = register_word(&x->at[0].word, 1) && register_word(&x->at[1].word, 2); }
static void register_left_broken(struct instance *x) { x->side[0].saw[0] = register_word_broken(&x->at[1].word, 1); }
static void register_right_broken(struct instance *x) { x->side[1].saw[0] = register_word_broken(&x->at[1].word, 2); }
/* Two names have one number, or none has it. */
static bool register_forbidden(const struct instance *x) { return x->side[0].saw[0] == x->side[1].saw[0]; }

static const struct edge edges[] = {
	{ "hazard: a reader that still sees the slot is seen by the scan", { hazard_recycler, hazard_reader }, hazard_forbidden, WHOLE },
	{ "hazard, named by a plain store", { hazard_recycler, hazard_reader_broken }, hazard_forbidden, BROKEN_ORDER },
	{ "retire: bytes are not reused before their reader lets go", { retire_reader, retire_recycler }, retire_forbidden, WHOLE },
	{ "retire, without the scan", { retire_reader, retire_recycler_broken }, retire_forbidden, BROKEN_LOGIC },
	{ "freeze: no increment is lost by a move", { freeze_incrementer, freeze_mover }, freeze_forbidden, WHOLE },
	{ "freeze, copied without freezing", { freeze_incrementer, freeze_mover_broken }, freeze_forbidden, BROKEN_LOGIC },
	{ "insert: of two inserters at least one sees the other", { insert_left, insert_right }, insert_forbidden, WHOLE },
	{ "insert, by plain stores", { insert_left_broken, insert_right_broken }, insert_forbidden, BROKEN_ORDER },
	{ "spill: an entry in overflow is looked for once its set has returned", { spill_completer, spill_getter }, spill_forbidden, WHOLE },
	{ "spill, the bit after COMMITTED", { spill_completer_broken, spill_getter }, spill_forbidden, BROKEN_LOGIC },
	{ "registration: of two names of one hash one has the number", { register_left, register_right }, register_forbidden, WHOLE },
	{ "registration, by plain stores", { register_left_broken, register_right_broken }, register_forbidden, BROKEN_LOGIC },
};

/* ---- Harness ------------------------------------------------------------------------------------------------------------------------------------------------ */

static void wait_for(const struct word *other, uint64_t value)
{
	for (unsigned spins = 0; load_acquire(other) < value; spins++)
		if (spins % 4096 == 4095)
			sched_yield(); /* one CPU, or a busy one */
}

static void meet(unsigned self)
{
	uint64_t round = load_hint(&arrived[self].word) + 1;
	store_seq_cst(&arrived[self].word, round);
	wait_for(&arrived[1 - self].word, round);
}

static void run_batch(unsigned self, uint64_t *random)
{
	store_hint(&at_instance[self].word, 0);
	meet(self);
	for (unsigned i = 0; i < INSTANCES; i++) {
		store_release(&at_instance[self].word, i + 1); /* side by side, give or take the delay */
		wait_for(&at_instance[1 - self].word, i + 1);
		*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		for (unsigned delay = (unsigned)(*random >> 33) % 16; delay != 0; delay--)
			compiler_barrier();
		edge->side[self](&instances[i]);
	}
	meet(self);
}

static void *right_thread(void *seed)
{
	uint64_t random = *(uint64_t *)seed ^ 1;
	for (;;) {
		meet(1);
		if (load_acquire(&stop))
			return NULL;
		run_batch(1, &random);
	}
}

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void clear_instances(void)
{
	for (unsigned i = 0; i < INSTANCES; i++) {
		for (unsigned w = 0; w < WORDS; w++)
			store_hint(&instances[i].at[w].word, 0);
		for (unsigned s = 0; s < 2; s++)
			instances[i].side[s].saw[0] = instances[i].side[s].saw[1] = 0;
	}
}

/* Batches until the time is over; one that is to fail ends when it has. */
static uint64_t run_edge(const struct edge *e, uint64_t milliseconds, uint64_t *random, uint64_t *tries)
{
	uint64_t seen = 0, end = now_ms() + milliseconds;
	edge = e;
	*tries = 0;
	do {
		clear_instances();
		meet(0);
		run_batch(0, random);
		for (unsigned i = 0; i < INSTANCES; i++)
			seen += e->forbidden(&instances[i]);
		*tries += INSTANCES;
	} while (now_ms() < end && !(e->kind != WHOLE && seen != 0));
	return seen;
}

static bool report(unsigned number, const struct edge *e, uint64_t seen, uint64_t tries)
{
	bool good = e->kind == WHOLE ? seen == 0 : seen != 0;
	bool skip = !good && (e->kind == BROKEN_ORDER || (e->kind == BROKEN_LOGIC && sysconf(_SC_NPROCESSORS_ONLN) < 2));
	printf("%s %u - %s: forbidden outcomes %llu of %llu%s\n", good || skip ? "ok" : "not ok", number, e->name,
			(unsigned long long)seen, (unsigned long long)tries, skip ? " # SKIP this machine did not show it" : "");
	fflush(stdout);
	return good || skip;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 1.0;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : now_ms(), random = seed, tries;
	unsigned count = sizeof edges / sizeof *edges, bad = 0;
	pthread_t right;

	printf("TAP version 13\n1..%u\n# seed %llu\n", count, (unsigned long long)seed);
	if (pthread_create(&right, NULL, right_thread, &seed) != 0)
		return 2;
	/* A broken one ends as soon as it is seen, which on a busy machine takes a while. */
	const uint64_t limit[] = { [WHOLE] = (uint64_t)(seconds * 1000), [BROKEN_ORDER] = 10000, [BROKEN_LOGIC] = 40000 };
	for (unsigned i = 0; i < count; i++) {
		uint64_t seen = run_edge(&edges[i], limit[edges[i].kind], &random, &tries);
		bad += !report(i + 1, &edges[i], seen, tries);
	}
	store_release(&stop, 1);
	meet(0);
	pthread_join(right, NULL);
	return bad != 0;
}
