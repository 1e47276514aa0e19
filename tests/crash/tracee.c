/* SPDX-License-Identifier: BSD-2-Clause */
/* See tracee.h.  A marker is a SIGSTOP that the child sends itself: the tracer sees it, tells it from a step (SIGTRAP)
 * by its number, and never delivers it. */
#include "tracee.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S 10u
#define LOOKBACK 400u /* steps that are cheaper than a rare breakpoint further on */

static pid_t own_pid;

void tracee_marker(void)
{
	kill(own_pid, SIGSTOP);
}

static void on_alarm(int number)
{
	(void)number; /* interrupts waitpid, no more */
}

/* ---- One stop after the other ---- */

/* What a status of waitpid means; true while the child stands inside the stretch. */
static bool take(struct tracee *tracee, int status)
{
	tracee->state = TRACEE_STANDING;
	if (WIFEXITED(status)) {
		tracee->state = TRACEE_EXITED;
		tracee->detail = WEXITSTATUS(status);
	} else if (WIFSIGNALED(status)) {
		tracee->state = TRACEE_CRASHED;
		tracee->detail = WTERMSIG(status);
	} else if (WSTOPSIG(status) == SIGSTOP) {
		tracee->state = TRACEE_THROUGH;
	} else if (WSTOPSIG(status) != SIGTRAP) {
		tracee_kill(tracee);
		tracee->state = TRACEE_CRASHED;
		tracee->detail = WSTOPSIG(status);
	}
	return tracee->state == TRACEE_STANDING;
}

static bool await(struct tracee *tracee)
{
	int status = 0;

	if (waitpid(tracee->pid, &status, __WALL) == tracee->pid)
		return take(tracee, status);
	tracee_kill(tracee);
	tracee->state = TRACEE_STUCK;
	return false;
}

static bool step(struct tracee *tracee)
{
	ptrace(PTRACE_SINGLESTEP, tracee->pid, NULL, NULL);
	return await(tracee);
}

static void go_on(struct tracee *tracee)
{
	struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	alarm(PATIENCE_S);
	ptrace(PTRACE_CONT, tracee->pid, NULL, NULL);
	await(tracee);
	alarm(0);
}

bool tracee_start(struct tracee *tracee, void (*body)(void *), void *arg)
{
	*tracee = (struct tracee){ .state = TRACEE_STANDING };
	tracee->pid = fork();
	if (tracee->pid == 0) {
		own_pid = getpid();
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		body(arg);
		_exit(0);
	}
	if (tracee->pid < 0) {
		tracee->state = TRACEE_STUCK;
		return false;
	}
	await(tracee);
	if (tracee->state != TRACEE_THROUGH)
		return false;
	ptrace(PTRACE_SETOPTIONS, tracee->pid, NULL, (void *)(uintptr_t)PTRACE_O_EXITKILL);
	tracee->state = TRACEE_STANDING;
	return true;
}

void tracee_kill(struct tracee *tracee)
{
	if (tracee->state == TRACEE_EXITED || tracee->state == TRACEE_CRASHED || tracee->state == TRACEE_STUCK)
		return;
	kill(tracee->pid, SIGKILL);
	while (waitpid(tracee->pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	tracee->state = TRACEE_EXITED;
}

void tracee_resume(struct tracee *tracee)
{
	if (tracee->state == TRACEE_STANDING)
		go_on(tracee);
}

void tracee_finish(struct tracee *tracee)
{
	if (tracee->state == TRACEE_THROUGH)
		go_on(tracee);
}

bool tracee_walk(struct tracee *tracee, size_t steps)
{
	for (size_t i = 0; i < steps; i++) {
		if (!step(tracee))
			return false;
	}
	return true;
}

/* ---- Trail and breakpoints ---- */

#if defined(__x86_64__)

static uint64_t program_counter(const struct tracee *tracee)
{
	return (uint64_t)ptrace(PTRACE_PEEKUSER, tracee->pid, offsetof(struct user, regs.rip), NULL);
}

/* Debug register 0, for execution, in this thread; 0 clears it. */
static bool set_breakpoint(const struct tracee *tracee, uint64_t pc)
{
	size_t registers = offsetof(struct user, u_debugreg);

	if (ptrace(PTRACE_POKEUSER, tracee->pid, registers, pc) < 0)
		return false;
	return ptrace(PTRACE_POKEUSER, tracee->pid, registers + 7 * sizeof(long), pc != 0 ? 0x101L : 0L) == 0;
}

#else

static uint64_t program_counter(const struct tracee *tracee)
{
	(void)tracee;
	return 0;
}

static bool set_breakpoint(const struct tracee *tracee, uint64_t pc)
{
	(void)tracee;
	(void)pc;
	return false;
}

#endif

static bool trail_add(struct trail *trail, uint64_t pc)
{
	if (trail->count == trail->capacity) {
		size_t capacity = trail->capacity ? trail->capacity * 2 : 4096;
		uint64_t *grown = realloc(trail->pc, capacity * sizeof *grown);

		if (grown == NULL)
			return false;
		trail->pc = grown;
		trail->capacity = capacity;
	}
	trail->pc[trail->count++] = pc;
	return true;
}

struct tally {
	uint64_t pc;
	uint32_t passes;
};

/* Numbers the passes of each program counter.  A repeated string instruction traps at each repetition when stepped, but
 * not at a breakpoint: its repetitions are no places to aim at. */
static void trail_number(struct trail *trail)
{
	size_t size = 1024;
	struct tally *tally;

	while (size < trail->count * 2)
		size *= 2;
	tally = calloc(size, sizeof *tally);
	trail->passes = calloc(trail->count + 1, sizeof *trail->passes);
	for (size_t i = 0; tally != NULL && trail->passes != NULL && i < trail->count; i++) {
		size_t at = (size_t)(trail->pc[i] * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (size - 1);

		if (i > 0 && trail->pc[i] == trail->pc[i - 1])
			continue;
		while (tally[at].pc != 0 && tally[at].pc != trail->pc[i])
			at = (at + 1) & (size - 1);
		tally[at].pc = trail->pc[i];
		trail->passes[i] = ++tally[at].passes;
	}
	free(tally);
}

size_t tracee_record(struct tracee *tracee, struct trail *trail)
{
	*trail = (struct trail){ .count = 0 };
	while (step(tracee)) {
		if (!trail_add(trail, program_counter(tracee)))
			break;
	}
	trail_number(trail);
	return trail->count;
}

void trail_free(struct trail *trail)
{
	free(trail->pc);
	free(trail->passes);
	*trail = (struct trail){ .count = 0 };
}

/* The place at or before `steps` from which going there takes the fewest stops: passes[anchor - 1] breakpoints, then
 * steps - anchor steps.  0: the beginning. */
static size_t choose_anchor(const struct trail *trail, size_t steps, size_t *cost)
{
	size_t best = 0;

	*cost = steps;
	for (size_t anchor = steps; anchor > 0 && steps - anchor < LOOKBACK; anchor--) {
		uint32_t passes = 2 * trail->passes[anchor - 1]; /* the more of them, the likelier this run has fewer */

		if (passes > 0 && passes + (steps - anchor) < *cost) {
			*cost = passes + (steps - anchor);
			best = anchor;
		}
	}
	return best;
}

size_t tracee_cost(const struct trail *trail, size_t steps)
{
	size_t cost = steps;

	if (trail->passes != NULL && steps <= trail->count)
		choose_anchor(trail, steps, &cost);
	return cost;
}

bool tracee_reach(struct tracee *tracee, const struct trail *trail, size_t steps)
{
	size_t cost, anchor = trail->passes != NULL && steps <= trail->count ? choose_anchor(trail, steps, &cost) : 0;

	if (anchor == 0 || trail->pc[anchor - 1] == 0 || !set_breakpoint(tracee, trail->pc[anchor - 1]))
		return tracee_walk(tracee, steps);
	for (uint32_t i = 0; i < trail->passes[anchor - 1] && tracee->state == TRACEE_STANDING; i++)
		go_on(tracee);
	if (tracee->state == TRACEE_STANDING || tracee->state == TRACEE_THROUGH)
		set_breakpoint(tracee, 0);
	if (tracee->state != TRACEE_STANDING)
		return false;
	return tracee_walk(tracee, steps - anchor);
}
