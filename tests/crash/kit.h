/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the crash, storm and history suites share: TAP lines, random numbers with a printed seed, values that carry who
 * wrote them, a stopwatch that tells "held back by somebody" from "not scheduled", and the measure of what a cache holds.
 */
#ifndef LARDER_TEST_KIT_H
#define LARDER_TEST_KIT_H

#include <larder.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- TAP ---- */
void tap_ok(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints the plan; the exit status of the program. */
int tap_done(void);

/* ---- Random numbers (splitmix64) ---- */
struct rng {
	uint64_t state;
};
uint64_t rng_next(struct rng *rng);
/* 0 .. bound - 1 */
uint64_t rng_below(struct rng *rng, uint64_t bound);
/* A seed from the clock, for when none was given. */
uint64_t rng_seed(void);

/* ---- Time ---- */
uint64_t now_ns(void);
void sleep_us(unsigned us);

/* How long the thread's own call took, and whether anybody kept it waiting: it used the processor, or slept, for longer
 * than the limit.  Time in which it was merely not scheduled does not count. */
struct stopwatch {
	uint64_t wall_ns, cpu_ns, queued_ns;
	long sleeps;
};
#define STOPWATCH_LIMIT_NS UINT64_C(50000000)
void stopwatch_start(struct stopwatch *watch);
bool stopwatch_held_back(const struct stopwatch *watch, uint64_t *wall_ns);

/* ---- Values that say who wrote them ---- */
#define STAMP_BYTES_MIN 32u
enum stamp_fault { STAMP_WHOLE, STAMP_TORN, STAMP_FOREIGN };
struct stamp {
	uint64_t key, sum;
	uint32_t writer, sequence, length, spare;
};
/* Fills bytes[0 .. length), length >= STAMP_BYTES_MIN, with what `writer` writes as its `sequence`th value of `key`. */
void stamp_write(void *bytes, size_t length, const void *key, size_t key_bytes, uint32_t writer, uint32_t sequence);
/* Torn: not what any one writer wrote.  Foreign: whole, but of another key. */
enum stamp_fault stamp_read(const void *bytes, size_t length, const void *key, size_t key_bytes, struct stamp *stamp);
const char *stamp_fault_name(enum stamp_fault fault);

/* ---- What a cache holds ---- */
/* Drives the cache through several times its size in fresh keys with values of value_bytes, and counts, at 32 moments
 * of the last round, how many of them it holds: the mean.  0 if a set fails. */
double capacity_measure(struct larder *cache, size_t value_bytes);

/* Uses a fresh cache as the other one was used, but for the deaths: entries of these times to live, some of them hot.
 * (A cache keeps a segment open for each class of them and pool.) */
void capacity_age(struct larder *cache, const int64_t *ttls_ms, unsigned count);

/* Is what was measured of a cache that has seen deaths within half a percent of a fresh one's, but for one segment? */
bool capacity_kept(struct larder *cache, double held, double fresh);

#endif
