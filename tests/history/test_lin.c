/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checker's own test: histories that a correct cache could have recorded, which it must accept, and histories with a
 * planted violation, which it must reject.  Then random ones: recorded from a sequential cache whose calls overlap
 * (accepted), and the same with one answer falsified (rejected where an exhaustive search of all orders rejects it).
 */
#include "kit.h"
#include "lin.h"

#include <inttypes.h>
#include <string.h>

/* ---- Writing histories down ---- */

static struct lin_history history;

static struct lin_call *add(enum lin_kind kind, uint64_t invoke, uint64_t response, int status)
{
	struct lin_call *call = &history.calls[history.count++];

	*call = lin_call_begin(kind, invoke);
	call->response = response;
	call->status = status;
	return call;
}

static void start(bool may_vanish)
{
	memset(&history, 0, sizeof history);
	history.may_vanish = may_vanish;
}

static struct lin_value text(const char *word)
{
	return lin_value_of(word, strlen(word));
}

static void set(uint64_t invoke, uint64_t response, const char *value)
{
	add(LIN_SET, invoke, response, LARDER_OK)->in = text(value);
}

/* value NULL: a miss */
static void get(uint64_t invoke, uint64_t response, const char *value)
{
	struct lin_call *call = add(LIN_GET, invoke, response, value != NULL ? LARDER_OK : LARDER_MISS);

	if (value != NULL)
		call->out = text(value);
}

static void incr(uint64_t invoke, uint64_t response, int64_t delta, int64_t sum)
{
	struct lin_call *call = add(LIN_INCR, invoke, response, LARDER_OK);

	call->create = true;
	call->delta = delta;
	call->sum = sum;
}

static void delete(uint64_t invoke, uint64_t response, int status)
{
	add(LIN_DELETE, invoke, response, status);
}

/* A set whose process was found dead at `death`. */
static void dead_set(uint64_t invoke, uint64_t death, const char *value)
{
	struct lin_call *call = add(LIN_SET, invoke, LIN_NEVER, LARDER_OK);

	call->in = text(value);
	call->death = death;
}

static void expect(bool legal, const char *name)
{
	bool explained = lin_check(&history);

	tap_ok(explained == legal, "%s: %s", legal ? "accepts" : "rejects", name);
	if (explained != legal)
		lin_print(&history);
}

/* ---- Cases ---- */

static void accept_plain(void)
{
	start(false);
	set(1, 2, "a");
	get(3, 4, "a");
	delete(5, 6, LARDER_OK);
	get(7, 8, NULL);
	expect(true, "set, get, delete, get one after the other");

	start(false);
	set(1, 2, "a");
	set(3, 10, "b");
	get(4, 5, "b");
	get(6, 7, "b");
	expect(true, "a set seen before it returned");

	start(false);
	set(1, 10, "a");
	set(2, 9, "b");
	get(3, 4, "b");
	get(5, 6, "a");
	get(11, 12, "a");
	expect(true, "two sets at once, seen in one order");

	start(false);
	incr(1, 10, 1, 2);
	incr(2, 9, 1, 1);
	incr(11, 12, 5, 7);
	get(13, 14, "7");
	expect(true, "increments at once");
}

static void accept_cache(void)
{
	start(true);
	set(1, 2, "a");
	get(3, 4, NULL);
	get(5, 6, NULL);
	set(7, 8, "a");
	get(9, 10, "a");
	expect(true, "an entry that vanished");

	start(false);
	set(1, 2, "a");
	add(LIN_DROP, 3, 8, LARDER_OK);
	get(4, 5, "a");
	get(9, 10, NULL);
	expect(true, "an entry that went in a time of evictions");

	start(true);
	incr(1, 2, 1, 1);
	incr(3, 4, 1, 1);
	expect(true, "a counter that vanished and began anew");
}

static void accept_dead(void)
{
	start(false);
	set(1, 2, "a");
	dead_set(3, 5, "b");
	get(6, 7, "a");
	get(8, 9, "b");
	expect(true, "a dead setter's value that rises late");

	start(false);
	set(1, 2, "a");
	dead_set(3, 5, "b");
	delete(6, 8, LARDER_OK);
	get(9, 10, NULL);
	expect(true, "a dead setter's value that never rises");

	start(false);
	dead_set(1, 5, "b");
	delete(3, 4, LARDER_MISS);
	get(6, 7, "b");
	expect(true, "a value that rises after a delete from before the death");
}

static void reject_register(void)
{
	start(true);
	set(1, 2, "a");
	set(3, 4, "b");
	get(5, 6, "a");
	expect(false, "stale: the value before the last set");

	start(true);
	set(1, 2, "a");
	delete(3, 4, LARDER_OK);
	get(5, 6, "a");
	expect(false, "stale: a value after its delete");

	start(true);
	set(1, 2, "a");
	get(3, 4, NULL);
	get(5, 6, "a");
	expect(false, "resurrected: gone, and back without a set");

	start(true);
	set(1, 2, "abcd");
	set(3, 8, "efgh");
	get(4, 5, "abgh");
	expect(false, "torn: half of one value and half of another");

	start(true);
	set(1, 10, "a");
	set(2, 9, "b");
	get(3, 4, "b");
	get(5, 6, "a");
	get(11, 12, "b");
	expect(false, "two sets at once, seen in both orders");

	start(false);
	set(1, 2, "a");
	get(3, 4, NULL);
	expect(false, "lost: a miss where nothing may vanish");

	start(false);
	set(1, 2, "a");
	add(LIN_DROP, 3, 4, LARDER_OK);
	get(5, 6, "a");
	get(7, 8, NULL);
	expect(false, "lost: a miss after the time of evictions");
}

static void reject_change(void)
{
	struct lin_call *call;

	start(true);
	incr(1, 10, 1, 1);
	incr(2, 9, 1, 1);
	get(11, 12, "1");
	history.may_vanish = false;
	expect(false, "lost increment: two at once gave the same sum");

	start(false);
	incr(1, 2, 1, 1);
	incr(3, 4, 1, 2);
	get(5, 6, "1");
	expect(false, "lost increment: the counter fell back");

	start(true);
	add(LIN_SET, 1, 2, LARDER_OK)->version = 7;
	history.calls[0].in = text("a");
	call = add(LIN_SET, 3, 4, LARDER_OK);
	call->in = text("b");
	call->version = 8;
	call = add(LIN_CAS, 5, 6, LARDER_OK);
	call->expected = 7;
	call->in = text("c");
	expect(false, "a cas that succeeded on an old version");

	start(true);
	call = add(LIN_ADD, 1, 2, LARDER_OK);
	call->in = text("a");
	call = add(LIN_ADD, 3, 4, LARDER_EXISTS);
	call->in = text("b");
	delete(5, 6, LARDER_OK);
	call = add(LIN_ADD, 7, 8, LARDER_EXISTS);
	call->in = text("c");
	expect(false, "an add that found what had been deleted");

	start(false);
	set(1, 2, "ab");
	call = add(LIN_APPEND, 3, 6, LARDER_OK);
	call->in = text("x");
	call = add(LIN_APPEND, 4, 7, LARDER_OK);
	call->in = text("y");
	get(8, 9, "aby");
	expect(false, "lost append");
}

static void reject_dead(void)
{
	start(true);
	set(1, 2, "a");
	dead_set(3, 5, "b");
	delete(6, 7, LARDER_OK);
	get(8, 9, "b");
	expect(false, "a dead setter's value after a delete that began after the death");

	start(true);
	dead_set(1, 5, "b");
	add(LIN_FLUSH, 6, 7, LARDER_OK);
	get(8, 9, "b");
	expect(false, "a dead setter's value after a flush that began after the death");

	start(true);
	dead_set(1, 2, "b");
	get(3, 4, "b");
	set(5, 6, "c");
	get(7, 8, "b");
	expect(false, "a dead call that takes effect twice");
}

static void accept_versions(void)
{
	struct lin_call *call;

	start(false);
	dead_set(1, 2, "a");
	call = add(LIN_GET, 3, 4, LARDER_OK);
	call->out = text("a");
	call->version = 9;
	call = add(LIN_CAS, 5, 6, LARDER_OK);
	call->expected = 9;
	call->in = text("b");
	call->version = 10;
	call = add(LIN_CAS, 7, 8, LARDER_CHANGED);
	call->expected = 9;
	get(9, 10, "b");
	expect(true, "a cas by a version that a get brought");

	start(false);
	set(1, 2, "41");
	incr(3, 4, 1, 42);
	call = add(LIN_APPEND, 5, 6, LARDER_OK);
	call->in = text("+x");
	get(7, 8, "42+x");
	call = add(LIN_INCR, 9, 10, LARDER_NOT_NUMBER);
	call->delta = 1;
	expect(true, "digits become a counter, and a text again");
}

/* ---- Against an exhaustive search ---- */

#define SMALL 6u

/* All orders of a small history of sets, gets and deletes without death: tried one by one, by the definition. */
static bool try_orders(unsigned done, uint64_t value)
{
	bool all = true;

	for (unsigned i = 0; i < history.count; i++) {
		const struct lin_call *call = &history.calls[i];
		uint64_t next = value;
		bool first = true;

		if (done >> i & 1)
			continue;
		all = false;
		for (unsigned j = 0; j < history.count; j++)
			first = first && ((done >> j & 1) || j == i || history.calls[j].response >= call->invoke);
		if (call->kind == LIN_SET)
			next = call->in.digest;
		else if (call->kind == LIN_DELETE)
			next = 0;
		if (!first || (call->kind == LIN_GET && value != (call->status == LARDER_OK ? call->out.digest : 0)) ||
				(call->kind == LIN_DELETE && (value != 0) != (call->status == LARDER_OK)))
			continue;
		if (try_orders(done | 1u << i, next))
			return true;
	}
	return all;
}

/* Overlapping calls with answers by chance: some can be explained, some cannot. */
static void random_history(struct rng *rng)
{
	static const char *const words[] = { "a", "b", "c" };

	start(false);
	for (unsigned i = 0; i < SMALL; i++) {
		uint64_t invoke = rng_below(rng, 12), response = invoke + 1 + rng_below(rng, 8);
		uint64_t choice = rng_below(rng, 5);

		if (choice < 2)
			set(invoke, response, words[rng_below(rng, 3)]);
		else if (choice < 4)
			get(invoke, response, rng_below(rng, 4) ? words[rng_below(rng, 3)] : NULL);
		else
			delete(invoke, response, rng_below(rng, 2) ? LARDER_OK : LARDER_MISS);
	}
}

static void compare_with_exhaustive(uint64_t seed)
{
	struct rng rng = { seed };
	unsigned legal = 0, differ = 0, rounds = 20000;

	for (unsigned i = 0; i < rounds; i++) {
		bool explained;

		random_history(&rng);
		explained = lin_check(&history);
		legal += explained;
		if (explained != try_orders(0, 0) && differ++ == 0)
			lin_print(&history);
	}
	tap_ok(differ == 0 && legal > 100 && rounds - legal > 100,
			"agrees with an exhaustive search on %u random histories, %u of them legal (seed %" PRIu64 ")", rounds, legal, seed);
}

int main(void)
{
	accept_plain();
	accept_cache();
	accept_dead();
	accept_versions();
	reject_register();
	reject_change();
	reject_dead();
	compare_with_exhaustive(rng_seed());
	return tap_done();
}
