/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder-step: the director (see step.h).
 *
 *   larder-step [--all] [--points N] [--most N] [--seed S] [--expect-bad] [--list] [OPERATION...]
 *
 * For each operation it takes a trail, chooses points on it (a random one in each of N equal stretches; every one with
 * --all), and at each kills one actor and freezes another.  TAP: one line for each operation.
 */
#include "step.h"
#include "tracee.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define GRACE_MS 1000
#define TRAILS 3u
#define CANDIDATES 16u
#define TRIES_MAX 40u
#define TRIES_MAX_ALL 8u
#define STRAYS_MAX 20u /* points missed one after the other before the trail is taken anew */

struct director {
	struct board *board;
	char directory[64];
	pid_t witness;
	int orders; /* the director's end */
	struct rng rng;
	struct trail trail;
	uint64_t points, most; /* per operation and mode; most: with --all */
	bool all, expect_bad;
	bool lost; /* the witness of this point is gone, and what it knew */
	uint64_t killed, frozen, missed, strays;
	uint64_t next_point;
};

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(99);
}

/* ---- The witness ---- */

static void start_witness(struct director *director)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		die("socketpair");
	fflush(stdout);
	director->witness = fork();
	if (director->witness < 0)
		die("fork");
	if (director->witness == 0) {
		close(ends[0]);
		witness_serve(director->board, ends[1]);
	}
	close(ends[1]);
	director->orders = ends[0];
}

static void end_witness(struct director *director)
{
	close(director->orders);
	kill(director->witness, SIGKILL);
	while (waitpid(director->witness, NULL, 0) < 0 && errno == EINTR)
		;
}

static bool answered(struct director *director, int timeout_ms)
{
	struct pollfd wait = { .fd = director->orders, .events = POLLIN };
	char answer;

	return poll(&wait, 1, timeout_ms) == 1 && read(director->orders, &answer, 1) == 1;
}

static void complain(struct director *director, const char *what)
{
	struct board *board = director->board;

	board->bad++;
	tap_note("%s, %s at instruction %zu, point %" PRIu64 ": %s", board->operation->name,
			board->mode == MODE_KILL ? "kill" : "freeze", board->instruction, board->point, what);
}

/* Has the order carried out.  A witness that does not come back was held back by the actor, or crashed: either is bad;
 * a new one takes over. */
static void ask(struct director *director, enum step_order order, struct tracee *actor)
{
	char byte = (char)order;

	if (director->lost && order != ORDER_OPEN)
		return;
	if (write(director->orders, &byte, 1) == 1 && answered(director, PATIENCE_MS))
		return;
	if (waitpid(director->witness, NULL, WNOHANG) != 0) {
		complain(director, "the witness crashed");
	} else {
		complain(director, "the witness was held back for 5 s");
		if (actor != NULL)
			tracee_kill(actor);
		if (answered(director, GRACE_MS))
			return;
		complain(director, "and still was when the actor was dead");
	}
	end_witness(director);
	start_witness(director);
	director->lost = true;
	if (order != ORDER_OPEN)
		ask(director, ORDER_OPEN, NULL);
}

/* ---- One point ---- */

static void judge_actor(struct director *director, const struct tracee *actor)
{
	char text[64];

	if (actor->state == TRACEE_CRASHED)
		snprintf(text, sizeof text, "the actor got signal %d", actor->detail);
	else if (actor->state == TRACEE_STUCK)
		snprintf(text, sizeof text, "the actor did not get through within 10 s");
	else if (actor->state == TRACEE_EXITED && actor->detail != 0)
		snprintf(text, sizeof text, "the actor gave up with %d", actor->detail);
	else
		return;
	complain(director, text);
}

static void run_to_the_end(struct director *director, struct tracee *actor)
{
	tracee_resume(actor);
	tracee_finish(actor);
	judge_actor(director, actor);
	tracee_kill(actor);
}

static bool raise_actor(struct director *director, struct tracee *actor, enum step_mode mode, size_t instruction)
{
	struct board *board = director->board;

	board->point = ++director->next_point;
	board->seed = rng_next(&director->rng);
	board->mode = mode;
	board->instruction = instruction;
	board->evict = director->next_point % (director->all ? 16 : 8) == 0;
	board->left = false;
	director->lost = false;
	board->leave_status = LARDER_OK;
	if ((board->operation->traits & STEP_FRESH_NS) && director->next_point % 200 == 0)
		ask(director, ORDER_OPEN, NULL); /* the table of namespaces is full */
	ask(director, ORDER_PREPARE, NULL);
	if (tracee_start(actor, actor_play, board))
		return true;
	judge_actor(director, actor);
	return false;
}

static void take_one_trail(struct director *director, struct trail *trail)
{
	struct tracee actor;

	*trail = (struct trail){ .count = 0 };
	if (!raise_actor(director, &actor, MODE_RUN, 0))
		return;
	tracee_record(&actor, trail);
	run_to_the_end(director, &actor);
	ask(director, ORDER_RESUMED, NULL);
}

static int by_length(const void *one, const void *other)
{
	size_t a = ((const struct trail *)one)->count, b = ((const struct trail *)other)->count;

	return (a > b) - (a < b);
}

/* Of a few the middle one, for now and then a call has much more to do than usual; of calls on a full cache the longest,
 * for that one evicts. */
static void take_trail(struct director *director)
{
	bool full = director->board->operation->traits & STEP_FULL;
	struct trail trails[TRAILS];
	unsigned chosen = full ? TRAILS - 1 : TRAILS / 2;

	director->strays = 0;
	for (unsigned i = 0; i < TRAILS; i++)
		take_one_trail(director, &trails[i]);
	qsort(trails, TRAILS, sizeof trails[0], by_length);
	trail_free(&director->trail);
	director->trail = trails[chosen];
	for (unsigned i = 0; i < TRAILS; i++) {
		if (i != chosen)
			trail_free(&trails[i]);
	}
}

static void freeze_here(struct director *director, struct tracee *actor)
{
	director->frozen++;
	ask(director, ORDER_FROZEN, actor);
	run_to_the_end(director, actor);
	ask(director, ORDER_RESUMED, NULL);
}

static void kill_here(struct director *director, struct tracee *actor)
{
	director->killed++;
	tracee_kill(actor);
	ask(director, ORDER_KILLED, NULL);
}

/* True: the actor was met at the instruction. */
static bool try_point(struct director *director, enum step_mode mode, size_t instruction)
{
	struct tracee actor;

	if (!raise_actor(director, &actor, mode, instruction))
		return false;
	if (tracee_reach(&actor, &director->trail, instruction)) {
		director->strays = 0;
		if (mode == MODE_KILL)
			kill_here(director, &actor);
		else
			freeze_here(director, &actor);
		return true;
	}
	director->board->mode = MODE_RUN;
	director->missed++;
	run_to_the_end(director, &actor);
	ask(director, ORDER_RESUMED, NULL);
	if (++director->strays >= STRAYS_MAX)
		take_trail(director);
	return false;
}

static bool found_enough(const struct director *director)
{
	return director->expect_bad && director->board->bad > 0;
}

/* One of the points first .. first + length - 1: of a few by chance the one that is reached most cheaply. */
static size_t choose_point(struct director *director, size_t first, size_t length)
{
	size_t best = first + rng_below(&director->rng, length), cost = tracee_cost(&director->trail, best);

	for (unsigned i = 1; i < CANDIDATES && length > 1; i++) {
		size_t other = first + rng_below(&director->rng, length), other_cost = tracee_cost(&director->trail, other);

		if (other_cost < cost) {
			best = other;
			cost = other_cost;
		}
	}
	return best;
}

/* Points where the paths of two actors part are missed now and then; others are taken in their stead. */
static void try_stretch(struct director *director, size_t first, size_t length)
{
	static const enum step_mode modes[] = { MODE_KILL, MODE_FREEZE };

	unsigned tries_max = director->all ? TRIES_MAX_ALL : TRIES_MAX;

	for (unsigned i = 0; i < 2 && !found_enough(director); i++) {
		bool met = try_point(director, modes[i], choose_point(director, first, length));

		/* With --all the same stretch again: each instruction is wanted. */
		for (unsigned tries = 0; !met && tries < tries_max && director->trail.count >= first; tries++)
			met = try_point(director, modes[i], director->all ? choose_point(director, first, length) :
					choose_point(director, 1, director->trail.count));
	}
}

/* ---- One operation ---- */

static void try_all_points(struct director *director)
{
	uint64_t limit = director->all ? director->most : director->points;
	uint64_t stretches = director->trail.count < limit ? director->trail.count : limit;
	double width = (double)director->trail.count / (double)(stretches > 0 ? stretches : 1);

	for (uint64_t i = 0; i < stretches && !found_enough(director) && director->trail.count > 0; i++) {
		size_t first = 1 + (size_t)((double)i * width), next = 1 + (size_t)((double)(i + 1) * width);

		try_stretch(director, first, next > first ? next - first : 1);
	}
}

static void try_operation(struct director *director, const struct operation *operation)
{
	struct board *board = director->board;
	uint64_t started = now_ns();
	size_t instructions;

	board->operation = operation;
	board->bad = board->told = board->names_kept = 0;
	board->slowest_ns = board->calls = 0;
	director->killed = director->frozen = director->missed = director->strays = 0;
	ask(director, ORDER_OPEN, NULL);
	if (board->bad > 0)
		die("no cache to begin with");
	take_trail(director);
	instructions = director->trail.count;
	if (instructions == 0)
		complain(director, "no trail");
	try_all_points(director);
	if (!director->expect_bad)
		ask(director, ORDER_CLOSE, NULL);
	if (!director->expect_bad)
		tap_ok(board->bad == 0 && director->killed > 0 && director->frozen > 0,
				"%s: %zu instructions, %" PRIu64 " killed, %" PRIu64 " frozen, %u bad", operation->name,
				instructions, director->killed, director->frozen, board->bad);
	if (board->names_kept > 0)
		tap_note("%s: at %u points the destroyer, standing still, kept the name", operation->name, board->names_kept);
	tap_note("%s: %" PRIu64 " calls beside, the slowest %.2f ms; %" PRIu64 " points missed; %.1f s", operation->name,
			board->calls, (double)board->slowest_ns / 1e6, director->missed, (double)(now_ns() - started) / 1e9);
}

static bool chosen(const char *name, char **names, int count)
{
	for (int i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return count == 0;
}

static void try_operations(struct director *director, char **names, int count)
{
	for (unsigned i = 0; i < operations_count; i++) {
		if (!chosen(operations[i].name, names, count))
			continue;
		try_operation(director, &operations[i]);
		if (found_enough(director)) {
			tap_ok(director->trail.count > 0, "the planted fault shows in %s, when killed or frozen at instruction %zu",
					operations[i].name, director->board->instruction);
			return;
		}
	}
	if (director->expect_bad)
		tap_ok(false, "a fault was planted and nothing was found");
}

/* ---- The program ---- */

/* Repeated string instructions trap at each repetition: have the C library copy with plain vectors. */
static void without_string_instructions(char **argv)
{
	static const char tunables[] = "glibc.cpu.x86_rep_movsb_threshold=1000000000:"
			"glibc.cpu.x86_rep_stosb_threshold=1000000000";

	if (getenv("GLIBC_TUNABLES") != NULL)
		return;
	setenv("GLIBC_TUNABLES", tunables, 1);
	execv("/proc/self/exe", argv);
}

/* A step costs a third where tracer and traced share a processor. */
static void stay_on_one_processor(void)
{
	cpu_set_t set, allowed;
	int count, wanted;

	if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
		return;
	count = CPU_COUNT(&allowed);
	wanted = count > 0 ? (int)getpid() % count : 0;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || wanted-- > 0)
			continue;
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		sched_setaffinity(0, sizeof set, &set);
		return;
	}
}

static void set_up(struct director *director)
{
	director->board = mmap(NULL, sizeof *director->board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (director->board == MAP_FAILED)
		die("mmap");
	snprintf(director->directory, sizeof director->directory, "/dev/shm/larder-step-XXXXXX");
	if (mkdtemp(director->directory) == NULL)
		die(director->directory);
	snprintf(director->board->path, sizeof director->board->path, "%s/cache", director->directory);
	signal(SIGPIPE, SIG_IGN);
	start_witness(director); /* before we tie ourselves to a processor */
	stay_on_one_processor();
}

/* The directory must be empty: rmdir refuses otherwise. */
static void tear_down(struct director *director)
{
	end_witness(director);
	if (director->expect_bad)
		larder_destroy(director->board->path);
	else
		tap_ok(rmdir(director->directory) == 0, "no file is left behind");
	rmdir(director->directory);
}

static void list_operations(void)
{
	for (unsigned i = 0; i < operations_count; i++)
		printf("%s\n", operations[i].name);
}

static void take_options(struct director *director, int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },	  { "points", required_argument, NULL, 'p' },
		{ "most", required_argument, NULL, 'm' }, { "seed", required_argument, NULL, 's' },
		{ "expect-bad", no_argument, NULL, 'e' }, { "list", no_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'a')
			director->all = true;
		else if (option == 'p')
			director->points = strtoull(optarg, NULL, 0);
		else if (option == 'm')
			director->most = strtoull(optarg, NULL, 0);
		else if (option == 's')
			director->rng.state = strtoull(optarg, NULL, 0);
		else if (option == 'e')
			director->expect_bad = true;
		else if (option == 'l')
			list_operations();
		if (option == 'l' || option == '?')
			exit(option == '?' ? 2 : 0);
	}
}

int main(int argc, char **argv)
{
	struct director director = { .points = 300, .most = 20000 };

	without_string_instructions(argv);
	director.rng.state = rng_seed();
	take_options(&director, argc, argv);
	tap_note("seed %" PRIu64, director.rng.state);
	set_up(&director);
	director.board->expect_bad = director.expect_bad;
	try_operations(&director, argv + optind, argc - optind);
	tear_down(&director);
	return tap_done();
}
