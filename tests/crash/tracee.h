/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A child process under ptrace that can be brought to any instruction of the stretch of code between its two markers,
 * and killed or left standing there.
 *
 * The child calls tracee_marker() before and after the stretch.  One child is single-stepped all the way and leaves a
 * trail: the program counters it came by.  Later children reach instruction k of the trail by a hardware breakpoint on
 * the rarest program counter shortly before k, and single steps from there (x86-64; elsewhere by single steps alone).
 * The system calls on the way count as one instruction each.
 */
#ifndef LARDER_TEST_TRACEE_H
#define LARDER_TEST_TRACEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum tracee_state {
	TRACEE_STANDING, /* stopped inside the stretch */
	TRACEE_THROUGH,  /* stopped at its second marker */
	TRACEE_EXITED,   /* by itself; `detail` is the status */
	TRACEE_CRASHED,  /* by a signal; `detail` is its number */
	TRACEE_STUCK     /* did not come to its second marker, or to its end, within ten seconds */
};

struct tracee {
	pid_t pid;
	enum tracee_state state;
	int detail;
};

struct trail {
	uint64_t *pc;      /* pc[i]: what is to be executed next after i + 1 steps */
	uint32_t *passes;  /* how often it had been come to by then, this time included; 0 inside a repeated instruction */
	size_t count, capacity;
};

/* In the child: the begin and the end of the stretch. */
void tracee_marker(void);

/* Forks a child that runs body(arg), and waits until it stands at its first marker.  False: it did not get there. */
bool tracee_start(struct tracee *tracee, void (*body)(void *), void *arg);

/* Steps through to the second marker, writing the trail.  Returns the number of steps. */
size_t tracee_record(struct tracee *tracee, struct trail *trail);
void trail_free(struct trail *trail);
/* How many stops it takes to reach a point. */
size_t tracee_cost(const struct trail *trail, size_t steps);

/* Brings the child to where it has done `steps` instructions.  False: it got through, or died, before. */
bool tracee_reach(struct tracee *tracee, const struct trail *trail, size_t steps);
/* The same by single steps alone. */
bool tracee_walk(struct tracee *tracee, size_t steps);

void tracee_kill(struct tracee *tracee);
/* Lets a standing child run to its second marker. */
void tracee_resume(struct tracee *tracee);
/* Lets a child that got through run to its end. */
void tracee_finish(struct tracee *tracee);

#endif
