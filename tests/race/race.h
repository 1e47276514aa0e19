/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all races share: a cache, threads that run until time is up, values that tell what they are, and blame.
 *
 * No thread reads another's plain variables: what they tell each other goes through the words of struct track, so that
 * ThreadSanitizer has nothing to say of the test itself.
 */
#ifndef LARDER_TESTS_RACE_H
#define LARDER_TESTS_RACE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <larder.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 6u
#define KEYS 32u

struct thread {
	pthread_t id;
	unsigned number;
	uint64_t random;
	struct larder *cache; /* some have a handle of their own */
	uint64_t done;        /* operations */
};

struct race {
	const char *name;
	struct larder_options options;
	void (*run)(struct thread *t);
	void (*finish)(void); /* when all threads have ended; may be NULL */
};

extern struct larder *cache;
extern struct thread threads[THREADS];

/* Of one key that one thread writes: what had returned when a reader began. */
struct track {
	_Atomic uint64_t written; /* the last number whose set has returned */
	_Atomic uint64_t gone;    /* all up to this number were deleted or flushed by a call that has returned */
};
extern struct track tracks[KEYS];

bool time_is_up(void);
uint64_t chance(struct thread *t, uint64_t below);
__attribute__((format(printf, 1, 2), noreturn)) void wrong(const char *format, ...);
/* Any status below 0, but for those that the race allows itself, is wrong. */
void good(enum larder_status status, const char *what);

/* A value of `bytes` (at least 24) that is written whole by one set: key, number and size are in it, and in all of it. */
void value_make(unsigned char *to, uint64_t key, uint64_t number, size_t bytes);
/* The number in it; wrong() if it is not the whole of what one set wrote for that key. */
uint64_t value_check(const void *value, uint64_t key, size_t bytes);

/* A barrier that all threads pass together, and false once time is up for any of them: then for all. */
bool together(void);

extern const struct race races[];
extern const unsigned race_count;

#endif
