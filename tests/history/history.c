/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder-history: records what several processes do to the same few keys at the same time, some of them killed or
 * stopped on the way, and has each key's history checked for linearizability (G2, G3).
 *
 *   larder-history [--seconds N] [--processes P] [--seed S] [--expect-bad]
 *
 * In rounds.  Each round has fresh keys; each process makes a few calls on each of them, together with the others, and
 * writes down in shared memory what it asks before the call and what it was answered after it.  The lead process kills,
 * stops and replaces them, gathers one history for each key, and checks it.  Rounds on a roomy cache: nothing may vanish.
 * Rounds on one that is too small: anything may, once.
 */
#include "call.h"
#include "kit.h"
#include "lin.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES_MAX 6u
#define KEYS 12u          /* of a round */
#define CALLS_PER_KEY 9u  /* of one process: PROCESSES_MAX * this, and a flush each, fit into a history */
#define LANE (KEYS * CALLS_PER_KEY + 1u)
#define FLUSHED_KEYS 3u   /* the first so many share a namespace that is flushed */
#define VALUE_MAX 2048u
#define TOLD_MAX 4u

/* One process's notes of a round.  `count` is raised before the call is made. */
struct lane {
	pid_t pid;
	_Atomic unsigned count;
	struct {
		unsigned key; /* KEYS: all of the flushed namespace */
		struct lin_call call;
	} notes[LANE];
};

struct round {
	char path[64];
	uint64_t number, seed;
	uint32_t flushed_ns;
	_Atomic unsigned ready;
	_Atomic bool go;
	struct lane lanes[PROCESSES_MAX];
};

/* ---- A process of a round ---- */

struct player {
	struct round *round;
	struct lane *lane;
	unsigned number;
	struct larder *cache;
	struct rng rng;
	unsigned used[KEYS + 1];
	uint64_t token[KEYS];
	uint32_t sequence;
	unsigned char in[VALUE_MAX], out[2 * VALUE_MAX]; /* appends lengthen what was set */
};

static bool is_counter(unsigned key)
{
	return key % 3 == 2;
}

static void name_key(const struct round *round, unsigned number, struct call_key *key)
{
	key->ns = number < FLUSHED_KEYS || number == KEYS ? round->flushed_ns : 0;
	key->bytes = (size_t)snprintf(key->text, sizeof key->text, "history.%" PRIu64 ".%u", round->number, number);
}

static void choose_value(struct player *player, unsigned number, const struct call_key *key, struct lin_call *call)
{
	size_t length = STAMP_BYTES_MIN + (rng_below(&player->rng, 4) ? 16 : rng_below(&player->rng, VALUE_MAX - STAMP_BYTES_MIN));

	if (is_counter(number))
		length = (size_t)snprintf((char *)player->in, sizeof player->in, "%" PRIu64, 1000 * rng_below(&player->rng, 1000));
	else
		stamp_write(player->in, length, key->text, key->bytes, player->number + 1, ++player->sequence);
	call->in = lin_value_of(player->in, length);
}

static enum lin_kind choose_kind(struct player *player, unsigned number)
{
	static const enum lin_kind registers[] = {
		LIN_GET, LIN_GET, LIN_GET, LIN_GET, LIN_SET, LIN_SET, LIN_SET, LIN_DELETE, LIN_DELETE, LIN_ADD, LIN_ADD,
		LIN_REPLACE, LIN_CAS, LIN_CAS, LIN_SWAP, LIN_APPEND, LIN_EXISTS,
	};
	static const enum lin_kind counters[] = {
		LIN_INCR, LIN_INCR, LIN_INCR, LIN_INCR, LIN_INCR, LIN_GET, LIN_GET, LIN_SET, LIN_DELETE, LIN_CAS, LIN_SWAP, LIN_TOUCH,
	};

	if (is_counter(number))
		return counters[rng_below(&player->rng, sizeof counters / sizeof counters[0])];
	return registers[rng_below(&player->rng, sizeof registers / sizeof registers[0])];
}

static void describe(struct player *player, unsigned number, const struct call_key *key, struct lin_call *call)
{
	*call = lin_call_begin(number == KEYS ? LIN_FLUSH : choose_kind(player, number), 0);
	call->process = player->number;
	call->create = true;
	call->delta = 1 + (int64_t)rng_below(&player->rng, 3);
	if (call->kind == LIN_CAS)
		call->expected = player->token[number] != 0 ? player->token[number] : UINT64_MAX - 1;
	if (call->kind == LIN_APPEND) {
		memcpy(player->in, "+more", 5);
		call->in = lin_value_of("+more", 5);
	} else if (call->kind == LIN_SET || call->kind == LIN_ADD || call->kind == LIN_REPLACE || call->kind == LIN_CAS ||
			call->kind == LIN_SWAP) {
		choose_value(player, number, key, call);
	}
}

/* The note is whole before it counts, and the answer whole before it has a response. */
static void make_call(struct player *player, unsigned number)
{
	static const enum call_manner manners[] = { CALL_PIN, CALL_COPY, CALL_SHORT, CALL_SHORT };
	struct call_buffers buffers = { .in = player->in, .out = player->out, .out_capacity = sizeof player->out };
	unsigned at = atomic_load(&player->lane->count);
	struct lin_call *note = &player->lane->notes[at].call, call;
	struct call_key key;
	uint64_t response;

	name_key(player->round, number, &key);
	describe(player, number, &key, &call);
	buffers.manner = manners[rng_below(&player->rng, 4)];
	player->lane->notes[at].key = number;
	call.invoke = now_ns();
	*note = call;
	atomic_store(&player->lane->count, at + 1);
	call_run(player->cache, &key, &buffers, &call);
	response = now_ns();
	call_settle(&buffers, &call);
	*note = call;
	atomic_signal_fence(memory_order_seq_cst);
	note->response = response;
	if (number < KEYS && call.version != 0 && call.status == LARDER_OK)
		player->token[number] = call.version;
}

/* What the process before in this lane has used up. */
static void count_used(struct player *player)
{
	unsigned count = atomic_load(&player->lane->count);

	for (unsigned i = 0; i < count; i++) {
		player->used[player->lane->notes[i].key]++;
		player->sequence++;
	}
}

static void wait_for_go(struct player *player)
{
	atomic_fetch_add(&player->round->ready, 1);
	while (!atomic_load(&player->round->go))
		sched_yield();
}

/* Key after key, so that all work on the same one at about the same time. */
static void play(struct round *round, unsigned number)
{
	static struct player player;

	player.round = round;
	player.number = number;
	player.lane = &round->lanes[number];
	player.rng.state = round->seed ^ (uint64_t)getpid() << 32 ^ number;
	if (larder_open(round->path, 0, &player.cache) != LARDER_OK)
		_exit(3);
	larder_exists(player.cache, 0, "warm", 4);
	count_used(&player);
	wait_for_go(&player);
	for (unsigned key = 0; key < KEYS; key++) {
		while (player.used[key] < CALLS_PER_KEY) {
			player.used[key]++;
			make_call(&player, key);
		}
		if (key == 1 && player.used[KEYS] == 0 && rng_below(&player.rng, 4) == 0)
			make_call(&player, KEYS);
	}
	_exit(0); /* without a close: as good a death as any */
}

/* ---- The lead ---- */

struct lead {
	struct round *round;
	struct larder *roomy, *tight;
	char roomy_path[64], tight_path[64];
	uint32_t roomy_ns, tight_ns;
	struct rng rng;
	uint64_t seconds, rounds, histories, calls, overlaps, pending, kills, stops, rejected, lost, died;
	unsigned processes;
	bool expect_bad;
};

static void spawn(struct lead *lead, unsigned number)
{
	pid_t pid = fork();

	if (pid < 0) {
		printf("Bail out! fork: %s\n", strerror(errno));
		exit(99);
	}
	if (pid == 0) {
		/* The lead's handles are left alone. */
		play(lead->round, number);
	}
	lead->round->lanes[number].pid = pid;
}

/* From now on the process is known to be dead: its call without an answer has its time of death. */
static void bury(struct lead *lead, unsigned number)
{
	struct lane *lane = &lead->round->lanes[number];
	unsigned count = atomic_load(&lane->count);

	lane->pid = 0;
	for (unsigned i = 0; i < count; i++) {
		if (lane->notes[i].call.response == LIN_NEVER && lane->notes[i].call.death == LIN_NEVER)
			lane->notes[i].call.death = now_ns();
	}
}

static void await(struct lead *lead, unsigned number, bool killed)
{
	int status = 0;

	while (waitpid(lead->round->lanes[number].pid, &status, 0) < 0 && errno == EINTR)
		;
	if ((WIFEXITED(status) && WEXITSTATUS(status) != 0) ||
			(WIFSIGNALED(status) && !(killed && WTERMSIG(status) == SIGKILL))) {
		lead->died++;
		tap_note("process %u ended with status %x", number, (unsigned)status);
	}
	bury(lead, number);
}

static void strike(struct lead *lead)
{
	unsigned number = (unsigned)rng_below(&lead->rng, lead->processes);
	pid_t pid = lead->round->lanes[number].pid;

	if (rng_below(&lead->rng, 2) == 0) {
		lead->kills++;
		kill(pid, SIGKILL);
		await(lead, number, true);
		spawn(lead, number);
		return;
	}
	lead->stops++;
	kill(pid, SIGSTOP);
	sleep_us(50 + (unsigned)rng_below(&lead->rng, 500));
	kill(pid, SIGCONT);
}

/* On the tight cache somebody has to fill it. */
static void press(struct lead *lead)
{
	static const unsigned char filler[1500];
	char key[32];

	for (unsigned i = 0; i < 60; i++) {
		int bytes = snprintf(key, sizeof key, "filler.%" PRIu64, rng_below(&lead->rng, 100000));

		larder_set(lead->tight, 0, key, (size_t)bytes, filler, sizeof filler, LARDER_TTL_NONE);
	}
}

static uint64_t evictions(struct larder *cache)
{
	struct larder_stat stat;

	if (larder_stat(cache, &stat) != LARDER_OK)
		return 0;
	return stat.evictions_small + stat.evictions_main + stat.evictions_index + stat.evictions_need;
}

static void run_round(struct lead *lead, bool tight)
{
	struct round *round = lead->round;
	unsigned strikes = (unsigned)rng_below(&lead->rng, 4);

	memset(round->lanes, 0, sizeof round->lanes);
	round->number = ++lead->rounds;
	round->seed = rng_next(&lead->rng);
	memcpy(round->path, tight ? lead->tight_path : lead->roomy_path, sizeof round->path);
	round->flushed_ns = tight ? lead->tight_ns : lead->roomy_ns;
	atomic_store(&round->ready, 0);
	atomic_store(&round->go, false);
	for (unsigned i = 0; i < lead->processes; i++)
		spawn(lead, i);
	while (atomic_load(&round->ready) < lead->processes)
		sched_yield();
	atomic_store(&round->go, true);
	for (unsigned i = 0; i < strikes; i++) {
		sleep_us((unsigned)rng_below(&lead->rng, 150));
		strike(lead);
		if (tight)
			press(lead);
	}
	for (unsigned i = 0; i < lead->processes; i++)
		await(lead, i, false);
}

/* ---- Histories ---- */

static void gather(const struct lead *lead, unsigned key, struct lin_history *history)
{
	for (unsigned process = 0; process < lead->processes; process++) {
		const struct lane *lane = &lead->round->lanes[process];
		unsigned count = atomic_load(&lane->count);

		for (unsigned i = 0; i < count; i++) {
			if (lane->notes[i].key != key && !(lane->notes[i].key == KEYS && key < FLUSHED_KEYS))
				continue;
			if (history->count < LIN_CALLS)
				history->calls[history->count++] = lane->notes[i].call;
		}
	}
}

/* How much of it happened at the same time as something else: without that the check proves little. */
static void measure(struct lead *lead, const struct lin_history *history)
{
	for (unsigned i = 0; i < history->count; i++) {
		const struct lin_call *one = &history->calls[i];
		bool overlaps = false;

		lead->calls++;
		lead->pending += one->response == LIN_NEVER;
		for (unsigned j = 0; j < history->count; j++)
			overlaps = overlaps || (i != j && history->calls[j].invoke < one->response &&
					one->invoke < history->calls[j].response);
		lead->overlaps += overlaps;
	}
}

/* Worse than an entry lost for no reason is what even a loss does not explain. */
static void reject(struct lead *lead, struct lin_history *history)
{
	bool lost = !history->may_vanish;

	history->may_vanish = true;
	lost = lost && lin_check(history);
	if (lost)
		lead->lost++;
	else
		lead->rejected++;
	if (lead->rejected + lead->lost > TOLD_MAX || lead->expect_bad)
		return;
	tap_note(lost ? "only the loss of an entry explains this:" : "no order explains this:");
	lin_print(history);
}

/* What a call writes beside a flush may go with it: it falls before the flush, even if the call was answered after it. */
static bool was_flushed(const struct lin_history *history)
{
	for (unsigned i = 0; i < history->count; i++) {
		if (history->calls[i].kind == LIN_FLUSH)
			return true;
	}
	return false;
}

static void check_round(struct lead *lead, bool may_vanish)
{
	static struct lin_history history;

	for (unsigned key = 0; key < KEYS; key++) {
		memset(&history, 0, sizeof history);
		gather(lead, key, &history);
		history.may_vanish = may_vanish || was_flushed(&history);
		measure(lead, &history);
		lead->histories++;
		if (!lin_check(&history))
			reject(lead, &history);
	}
}

static void forget_round(struct lead *lead, struct larder *cache)
{
	struct call_key key;

	for (unsigned i = 0; i < KEYS; i++) {
		name_key(lead->round, i, &key);
		larder_delete(cache, key.ns, key.text, key.bytes);
	}
}

static void one_round(struct lead *lead)
{
	bool tight = rng_below(&lead->rng, 2) == 0;
	struct larder *cache = tight ? lead->tight : lead->roomy;
	uint64_t before = evictions(cache);

	run_round(lead, tight);
	check_round(lead, evictions(cache) != before);
	forget_round(lead, cache);
}

static struct larder *must_open(const char *path, uint64_t bytes)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct larder *cache;

	options.bytes = bytes;
	options.flags = LARDER_EXCLUSIVE;
	if (larder_open_with(path, &options, &cache) == LARDER_OK)
		return cache;
	printf("Bail out! %s\n", larder_message());
	exit(99);
}

static void set_up(struct lead *lead)
{
	lead->round = mmap(NULL, sizeof *lead->round, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (lead->round == MAP_FAILED)
		exit(99);
	snprintf(lead->roomy_path, sizeof lead->roomy_path, "history-%ld", (long)getpid());
	snprintf(lead->tight_path, sizeof lead->tight_path, "history-%ld-tight", (long)getpid());
	lead->roomy = must_open(lead->roomy_path, 16u << 20);
	lead->tight = must_open(lead->tight_path, LARDER_BYTES_MIN);
	if (larder_namespace(lead->tight, "flushed", &lead->tight_ns) == LARDER_OK &&
			larder_namespace(lead->roomy, "flushed", &lead->roomy_ns) == LARDER_OK)
		return;
	printf("Bail out! namespaces: %s\n", larder_message());
	exit(99);
}

static void judge(struct lead *lead)
{
	tap_note("%" PRIu64 " rounds, %" PRIu64 " histories, %" PRIu64 " calls, %" PRIu64 " of them beside others, %" PRIu64
			" without an answer; %" PRIu64 " kills, %" PRIu64 " stops", lead->rounds, lead->histories, lead->calls,
			lead->overlaps, lead->pending, lead->kills, lead->stops);
	if (lead->expect_bad) {
		tap_ok(lead->rejected + lead->lost + lead->died > 0, "the planted fault shows");
		return;
	}
	tap_ok(lead->histories > 100 && lead->overlaps > 100 && lead->kills > 0, "there was something to check");
	tap_ok(lead->rejected == 0, "%" PRIu64 " histories that no order explains", lead->rejected);
	tap_ok(lead->lost == 0, "%" PRIu64 " histories that only the loss of an entry explains, with no eviction", lead->lost);
	tap_ok(lead->died == 0, "%" PRIu64 " processes died of themselves", lead->died);
}

static void take_options(struct lead *lead, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' }, { "processes", required_argument, NULL, 'p' },
		{ "seed", required_argument, NULL, 'r' },    { "expect-bad", no_argument, NULL, 'e' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 's')
			lead->seconds = strtoull(optarg, NULL, 0);
		else if (option == 'p')
			lead->processes = (unsigned)strtoul(optarg, NULL, 0);
		else if (option == 'r')
			lead->rng.state = strtoull(optarg, NULL, 0);
		else if (option == 'e')
			lead->expect_bad = true;
		else
			exit(2);
	}
	if (lead->processes < 2 || lead->processes > PROCESSES_MAX)
		exit(2);
}

int main(int argc, char **argv)
{
	struct lead lead = { .seconds = 8, .processes = 5 };
	uint64_t end;

	lead.rng.state = rng_seed();
	take_options(&lead, argc, argv);
	tap_note("seed %" PRIu64, lead.rng.state);
	set_up(&lead);
	alarm((unsigned)lead.seconds + 60); /* a round that does not end ends the program */
	end = now_ns() + lead.seconds * UINT64_C(1000000000);
	while (now_ns() < end && !(lead.expect_bad && lead.rejected + lead.lost > 0))
		one_round(&lead);
	judge(&lead);
	larder_close(&lead.roomy);
	larder_close(&lead.tight);
	larder_destroy(lead.roomy_path);
	larder_destroy(lead.tight_path);
	return tap_done();
}
