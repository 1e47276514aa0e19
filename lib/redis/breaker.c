/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A circuit breaker in shared words, see breaker.h.
 *
 * Nothing is published through these words but themselves: acquire and release are what the CAS has, and no edge.  Every lost CAS
 * means that another caller has changed the state, and then what we had to say is void or said.
 */
#include "redis/breaker.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

/* STATE: state 2, turn 18, level 4, moment 40. */
#define MOMENT_BITS 40u
#define MOMENT_MASK ((UINT64_C(1) << MOMENT_BITS) - 1)
#define LEVEL_SHIFT MOMENT_BITS
#define LEVEL_MAX 15u
#define TURN_SHIFT 44u
#define TURN_MASK UINT64_C(0x3ffff)
#define STATE_SHIFT 62u

/* WINDOW: beginning 40, failures 12, successes 12. */
#define TALLY_MAX 4095u

static struct word *words_of(const struct breaker *breaker)
{
	return pointer_load_acquire(&((struct breaker *)(uintptr_t)breaker)->words);
}

static uint64_t now_ms(const struct breaker *breaker)
{
	return (uint64_t)(clock_precise_ms() + breaker->options->clock_offset_ms) & MOMENT_MASK;
}

static enum breaker_state state_of(uint64_t word)
{
	return (enum breaker_state)(word >> STATE_SHIFT);
}

static unsigned level_of(uint64_t word)
{
	return (unsigned)(word >> LEVEL_SHIFT) & LEVEL_MAX;
}

static uint64_t state_after(uint64_t word, enum breaker_state state, unsigned level, uint64_t moment)
{
	uint64_t turn = ((word >> TURN_SHIFT) + 1) & TURN_MASK;

	return (uint64_t)state << STATE_SHIFT | turn << TURN_SHIFT | (uint64_t)level << LEVEL_SHIFT | (moment & MOMENT_MASK);
}

void breaker_make(struct breaker *breaker, const struct breaker_options *options)
{
	memset(breaker, 0, sizeof *breaker);
	breaker->options = options;
	(void)pointer_cas_acq_rel(&breaker->words, NULL, breaker->own);
}

void breaker_share(struct breaker *breaker, struct word *words)
{
	/* NAMED (release): pairs with the acquire in words_of(); the row was found before its address is used. */
	(void)pointer_cas_acq_rel(&breaker->words, breaker->own, words);
}

/* Doubles with each level, and is drawn from the upper half of that: probes of many hosts do not come at once. */
static uint64_t back_off_ms(const struct breaker *breaker, unsigned level, uint64_t seed)
{
	uint64_t most = (uint64_t)breaker->options->most_ms, ms = (uint64_t)breaker->options->least_ms << level;

	if (ms > most)
		ms = most;
	return ms / 2 + hash_bytes(&seed, sizeof seed, (uintptr_t)breaker) % (ms / 2 + 1);
}

/* A probe for whoever wins the CAS; the moment passes to the next one if this one is never heard of again. */
static bool try_probe(struct breaker *breaker, struct word *words, uint64_t seen, struct breaker_pass *pass)
{
	uint64_t moment = now_ms(breaker) + (uint64_t)breaker->options->probe_ms;
	uint64_t probing = state_after(seen, BREAKER_IS_PROBING, level_of(seen), moment);

	if (!cas_acq_rel(&words[BREAKER_STATE], seen, probing))
		return false;
	*pass = (struct breaker_pass){ .state = probing, .probe = true };
	(void)add_hint(&words[BREAKER_PROBES], 1);
	return true;
}

/* A moment further away than any that we would write is a stranger's, or of another clock: it counts as past. */
static bool is_due(const struct breaker *breaker, uint64_t seen)
{
	uint64_t moment = seen & MOMENT_MASK, now = now_ms(breaker);

	return now >= moment || moment - now > (uint64_t)(breaker->options->most_ms + breaker->options->probe_ms);
}

static cold bool enter_slow(struct breaker *breaker, struct word *words, struct breaker_pass *pass)
{
	uint64_t seen = pass->state;

	if (is_due(breaker, seen) && try_probe(breaker, words, seen, pass))
		return true;
	(void)add_hint(&words[BREAKER_REFUSED], 1);
	return false;
}

bool breaker_enter(struct breaker *breaker, struct breaker_pass *pass)
{
	struct word *words = words_of(breaker);

	pass->state = load_acquire(&words[BREAKER_STATE]);
	pass->probe = false;
	return likely(state_of(pass->state) == BREAKER_IS_CLOSED) || enter_slow(breaker, words, pass);
}

/* Opens what is in the state `seen`, at a level of back-off. */
static void open_from(struct breaker *breaker, struct word *words, uint64_t seen, unsigned level)
{
	uint64_t now = now_ms(breaker), moment = now + back_off_ms(breaker, level, now ^ seen);
	unsigned next = level < LEVEL_MAX ? level + 1 : LEVEL_MAX;

	if (!cas_acq_rel(&words[BREAKER_STATE], seen, state_after(seen, BREAKER_IS_OPEN, next, moment))
			|| state_of(seen) != BREAKER_IS_CLOSED)
		return;
	(void)add_hint(&words[BREAKER_OPENED], 1);
	store_hint(&words[BREAKER_OPENED_AT], now); /* for people */
}

/* Adds to the window, which begins with a failure.  True: the limit is reached. */
static bool window_add(struct breaker *breaker, struct word *words, bool good)
{
	const struct breaker_options *options = breaker->options;

	for (;;) { /* a lost CAS is another call's tally that went in */
		uint64_t seen = load_acquire(&words[BREAKER_WINDOW]), now = now_ms(breaker);
		uint64_t begin = seen >> 24, failures = seen >> 12 & TALLY_MAX, successes = seen & TALLY_MAX;
		bool over = !seen || now - begin > (uint64_t)options->window_ms;
		if (good && over)
			return false;
		if (over) {
			begin = now;
			failures = successes = 0;
		}
		failures += !good && failures < TALLY_MAX;
		successes += good && successes < TALLY_MAX;
		if (cas_acq_rel(&words[BREAKER_WINDOW], seen, begin << 24 | failures << 12 | successes))
			return failures >= options->failures && failures >= successes;
	}
}

static cold void leave_bad(struct breaker *breaker, struct word *words, const struct breaker_pass *pass, int reason)
{
	(void)add_hint(&words[BREAKER_FAILURES], 1);
	store_hint(&words[BREAKER_LAST], (uint64_t)reason); /* for people */
	if (!breaker->options->failures)
		return;
	if (pass->probe)
		open_from(breaker, words, pass->state, level_of(pass->state));
	else if (state_of(pass->state) == BREAKER_IS_CLOSED && window_add(breaker, words, false))
		open_from(breaker, words, pass->state, 0);
}

void breaker_leave(struct breaker *breaker, const struct breaker_pass *pass, bool good, int reason)
{
	struct word *words = words_of(breaker);

	if (unlikely(!good)) {
		leave_bad(breaker, words, pass, reason);
		return;
	}
	if (unlikely(state_of(pass->state) != BREAKER_IS_CLOSED)) { /* a probe, or one who was not to be refused */
		uint64_t closed = state_after(pass->state, BREAKER_IS_CLOSED, 0, 0);
		/* Emptied first: failures of before must not open what the next failure finds closed. */
		store_hint(&words[BREAKER_WINDOW], 0);
		if (cas_acq_rel(&words[BREAKER_STATE], pass->state, closed))
			(void)add_hint(&words[BREAKER_CLOSED], 1);
		return;
	}
	if (unlikely(load_hint(&words[BREAKER_WINDOW])))
		(void)window_add(breaker, words, true);
}

void breaker_forget(struct breaker *breaker, const struct breaker_pass *pass)
{
	if (!pass->probe)
		return;
	/* Open again at once, the moment being now: the next caller is the next probe. */
	(void)cas_acq_rel(&words_of(breaker)[BREAKER_STATE], pass->state,
			state_after(pass->state, BREAKER_IS_OPEN, level_of(pass->state), now_ms(breaker)));
}

enum breaker_state breaker_now(const struct breaker *breaker, int64_t *next_ms)
{
	uint64_t word = load_acquire(&words_of(breaker)[BREAKER_STATE]), moment = word & MOMENT_MASK, now = now_ms(breaker);

	if (next_ms)
		*next_ms = state_of(word) == BREAKER_IS_CLOSED || moment <= now ? 0 : (int64_t)(moment - now);
	return state_of(word);
}

uint64_t breaker_count(const struct breaker *breaker, enum breaker_word word)
{
	return load_hint(&words_of(breaker)[word]);
}

const struct word *breaker_words(const struct breaker *breaker) { return words_of(breaker); }

static uint64_t since(uint64_t moment, uint64_t now) { return moment && moment < now ? now - moment : 0; }

void breaker_report(const struct word *words, int64_t now_ms, struct breaker_report *report)
{
	uint64_t word = load_acquire(&words[BREAKER_STATE]), window = load_hint(&words[BREAKER_WINDOW]);
	uint64_t now = (uint64_t)now_ms & MOMENT_MASK, moment = word & MOMENT_MASK;
	bool closed = state_of(word) == BREAKER_IS_CLOSED;

	/* A state that is none is a stranger's. */
	*report = (struct breaker_report){ .state = word >> STATE_SHIFT > BREAKER_IS_PROBING ? BREAKER_IS_OPEN : state_of(word), .window_ms = since(window >> 24, now),
		.retry_ms = closed || moment <= now ? 0 : moment - now,
		.open_for_ms = closed ? 0 : since(load_hint(&words[BREAKER_OPENED_AT]), now),
		.window_failures = window >> 12 & TALLY_MAX, .window_successes = window & TALLY_MAX };
}
