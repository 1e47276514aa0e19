/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checker of lin.h: a depth-first search over configurations (which calls have taken effect, what the key holds).
 * A call may be next if no other call, still to come, had answered before it was made.  Configurations seen before are
 * not entered again; they are kept whole, not by hash, so that no collision can hide an explanation.
 */
#include "lin.h"

#include <inttypes.h>
#include <larder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST_BASE UINT64_C(0x9e3779b97f4a7c15)

/* ---- Values ---- */

uint64_t lin_digest(const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	uint64_t digest = 0;

	for (size_t i = 0; i < length; i++)
		digest = digest * DIGEST_BASE + at[i] + 1;
	return digest;
}

static uint64_t digest_shift(uint64_t digest, uint32_t length)
{
	for (uint64_t power = DIGEST_BASE; length > 0; length >>= 1, power *= power) {
		if (length & 1)
			digest *= power;
	}
	return digest;
}

/* A decimal integer as larder understands it: digits, perhaps after a minus, nothing else. */
static bool parse_number(const char *text, size_t length, int64_t *number)
{
	char buffer[24];
	size_t digits = length > 0 && text[0] == '-' ? 1 : 0;

	if (length == digits || length >= sizeof buffer)
		return false;
	for (size_t i = digits; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
	}
	memcpy(buffer, text, length);
	buffer[length] = '\0';
	*number = strtoll(buffer, NULL, 10);
	return true;
}

struct lin_value lin_value_of(const void *bytes, size_t length)
{
	struct lin_value value = { .present = true, .length = (uint32_t)length, .digest = lin_digest(bytes, length) };

	value.numeric = parse_number(bytes, length, &value.number);
	return value;
}

struct lin_value lin_number(int64_t number)
{
	char text[24];
	int length = snprintf(text, sizeof text, "%" PRId64, number);

	return lin_value_of(text, (size_t)length);
}

/* Appended pieces are never digits, so the whole is no number. */
static struct lin_value join(const struct lin_value *head, const struct lin_value *tail)
{
	return (struct lin_value){
		.present = true,
		.length = head->length + tail->length,
		.digest = digest_shift(head->digest, tail->length) + tail->digest,
	};
}

static bool same_value(const struct lin_value *one, const struct lin_value *other)
{
	if (one->present != other->present)
		return false;
	return !one->present || (one->length == other->length && one->digest == other->digest);
}

struct lin_call lin_call_begin(enum lin_kind kind, uint64_t invoke)
{
	return (struct lin_call){ .kind = kind, .invoke = invoke, .response = LIN_NEVER, .death = LIN_NEVER,
		.ttl_ms = LIN_TTL_NONE, .ttl_left = LIN_TTL_UNKNOWN };
}

/* ---- The sequential cache: one call, from one state to the next ---- */

/* What the call says when it takes effect on `before`, and what stands afterwards. */
struct effect {
	int status;
	struct lin_state after;
	struct lin_value out;
	int64_t sum;
};

static void put(struct effect *effect, const struct lin_value *value, int64_t ttl_ms, uint64_t version)
{
	effect->after = (struct lin_state){ .value = *value, .ttl_ms = ttl_ms, .version = version };
}

static void apply_read(const struct lin_call *call, struct effect *effect)
{
	effect->status = effect->after.value.present ? LARDER_OK : LARDER_MISS;
	effect->out = effect->after.value;
	if (call->kind == LIN_GET && effect->after.value.present && call->version != 0 && effect->after.version == 0)
		effect->after.version = call->version; /* the first to see the version of an entry whose setter did not say */
}

/* An unknown version is whatever the recorded answer takes it for; a call without answer that fails changes nothing,
 * and that case the search covers by leaving it out. */
static bool version_fits(const struct lin_call *call, uint64_t version)
{
	if (version != 0)
		return version == call->expected;
	return call->response == LIN_NEVER || call->status == LARDER_OK;
}

static void apply_write(const struct lin_call *call, struct effect *effect)
{
	bool present = effect->after.value.present;

	effect->status = LARDER_OK;
	if (call->kind == LIN_ADD && present)
		effect->status = LARDER_EXISTS;
	else if ((call->kind == LIN_REPLACE || call->kind == LIN_CAS) && !present)
		effect->status = LARDER_MISS;
	else if (call->kind == LIN_CAS && !version_fits(call, effect->after.version))
		effect->status = LARDER_CHANGED;
	if (effect->status != LARDER_OK)
		return;
	if (call->kind == LIN_SWAP) {
		effect->status = present ? LARDER_OK : LARDER_MISS;
		effect->out = effect->after.value;
	}
	put(effect, &call->in, call->ttl_ms, call->version);
}

static void apply_incr(const struct lin_call *call, struct effect *effect)
{
	const struct lin_value *old = &effect->after.value;
	struct lin_value fresh;

	if (!old->present && !call->create) {
		effect->status = LARDER_MISS;
		return;
	}
	if (old->present && !old->numeric) {
		effect->status = LARDER_NOT_NUMBER;
		return;
	}
	effect->sum = (old->present ? old->number : call->initial) + call->delta;
	fresh = lin_number(effect->sum);
	fresh.tagged = old->present && old->tagged;
	put(effect, &fresh, old->present ? effect->after.ttl_ms : call->ttl_ms, 0);
}

/* delete, append, touch, flush: all need the key to be there */
static void apply_change(const struct lin_call *call, struct effect *effect)
{
	struct lin_value fresh = { .present = false };

	if (!effect->after.value.present) {
		effect->status = call->kind == LIN_FLUSH ? LARDER_OK : LARDER_MISS;
		return;
	}
	if (call->kind == LIN_FLUSH && call->in.tagged && !effect->after.value.tagged)
		return;
	if (call->kind == LIN_APPEND) {
		fresh = join(&effect->after.value, &call->in);
		fresh.tagged = effect->after.value.tagged;
		put(effect, &fresh, effect->after.ttl_ms, 0);
	} else if (call->kind == LIN_TOUCH) {
		effect->after.ttl_ms = call->ttl_ms;
		effect->after.version = 0; /* whether a touch changes the version is not promised */
	} else {
		put(effect, &fresh, LIN_TTL_NONE, 0);
	}
}

static void apply(const struct lin_call *call, struct effect *effect)
{
	switch (call->kind) {
	case LIN_GET:
	case LIN_EXISTS:
		apply_read(call, effect);
		break;
	case LIN_SET:
	case LIN_ADD:
	case LIN_REPLACE:
	case LIN_CAS:
	case LIN_SWAP:
		apply_write(call, effect);
		break;
	case LIN_INCR:
		apply_incr(call, effect);
		break;
	case LIN_DELETE:
	case LIN_APPEND:
	case LIN_TOUCH:
	case LIN_FLUSH:
		apply_change(call, effect);
		break;
	case LIN_DROP:
		effect->after = (struct lin_state){ .version = 0 };
		break;
	case LIN_NONE:
		break;
	}
}

/* A time left must be one that the entry's time to live allows. */
static bool ttl_fits(int64_t left, int64_t ttl_ms)
{
	if (left == LIN_TTL_UNKNOWN || ttl_ms == LIN_TTL_UNKNOWN)
		return true;
	if (ttl_ms == LIN_TTL_NONE)
		return left == LIN_TTL_NONE;
	return left >= 0 && left <= ttl_ms;
}

/* Does the answer that was recorded agree with the effect? */
static bool agrees(const struct lin_call *call, const struct lin_state *before, const struct effect *effect)
{
	if (call->kind == LIN_NONE || call->kind == LIN_FLUSH || call->kind == LIN_DROP)
		return call->status == LARDER_OK;
	if (call->status != effect->status)
		return false;
	switch (call->kind) {
	case LIN_GET:
		if (call->status != LARDER_OK)
			return true;
		if (before->version != 0 && call->version != 0 && before->version != call->version)
			return false;
		return same_value(&call->out, &effect->out) && ttl_fits(call->ttl_left, before->ttl_ms);
	case LIN_SWAP:
		return call->status != LARDER_OK || same_value(&call->out, &effect->out);
	case LIN_INCR:
		return call->status != LARDER_OK || call->sum == effect->sum;
	default:
		return true;
	}
}

static bool optional(const struct lin_call *call)
{
	return call->response == LIN_NEVER || call->kind == LIN_DROP;
}

static bool step(const struct lin_call *call, const struct lin_state *before, struct lin_state *after)
{
	struct effect effect = { .after = *before };

	apply(call, &effect);
	if (!optional(call) && !agrees(call, before, &effect))
		return false;
	*after = effect.after;
	return true;
}

/* ---- The search ---- */

struct configuration {
	uint64_t done; /* one bit for each call that has taken effect; ~0 with version ~0 marks an empty place */
	struct lin_state state;
	bool used;
};

struct search {
	const struct lin_history *history;
	uint64_t required;            /* calls that answered */
	uint64_t ended[LIN_CALLS];    /* no effect after one of these calls */
	uint64_t deadline[LIN_CALLS]; /* nor after one that was made later than this */
	struct configuration *seen;
	size_t capacity, count;
};

static void *must(void *memory)
{
	if (memory == NULL) {
		printf("Bail out! out of memory\n");
		abort();
	}
	return memory;
}

static bool same_state(const struct lin_state *one, const struct lin_state *other)
{
	if (!same_value(&one->value, &other->value) || one->value.tagged != other->value.tagged)
		return false;
	return !one->value.present || (one->ttl_ms == other->ttl_ms && one->version == other->version);
}

static size_t place_of(const struct search *search, uint64_t done, const struct lin_state *state)
{
	uint64_t hash = done * DIGEST_BASE;

	if (state->value.present)
		hash ^= state->value.digest + state->version * 31 + (uint64_t)state->ttl_ms * 17 + 1;
	hash = (hash ^ (hash >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
	return (size_t)(hash ^ (hash >> 32)) & (search->capacity - 1);
}

/* The place of the configuration, or the empty one where it belongs. */
static struct configuration *lookup(const struct search *search, uint64_t done, const struct lin_state *state)
{
	size_t at = place_of(search, done, state);

	while (search->seen[at].used &&
			!(search->seen[at].done == done && same_state(&search->seen[at].state, state)))
		at = (at + 1) & (search->capacity - 1);
	return &search->seen[at];
}

static void grow(struct search *search)
{
	struct configuration *old = search->seen;
	size_t old_capacity = search->capacity;

	search->capacity *= 2;
	search->seen = must(calloc(search->capacity, sizeof *search->seen));
	for (size_t i = 0; i < old_capacity; i++) {
		if (old[i].used)
			*lookup(search, old[i].done, &old[i].state) = old[i];
	}
	free(old);
}

/* True the first time. */
static bool remember(struct search *search, uint64_t done, const struct lin_state *state)
{
	struct configuration *place = lookup(search, done, state);

	if (place->used)
		return false;
	*place = (struct configuration){ .done = done, .state = *state, .used = true };
	if (++search->count * 2 > search->capacity)
		grow(search);
	return true;
}

/* The first answer among the calls still to take effect: none made later may come before it. */
static uint64_t horizon(const struct search *search, uint64_t done)
{
	uint64_t first = LIN_NEVER;

	for (unsigned i = 0; i < search->history->count; i++) {
		if (((search->required & ~done) >> i & 1) && search->history->calls[i].response < first)
			first = search->history->calls[i].response;
	}
	return first;
}

static bool explore(struct search *search, uint64_t done, const struct lin_state *state, uint64_t latest)
{
	const struct lin_history *history = search->history;
	struct lin_state after = { .version = 0 };
	uint64_t limit;

	if ((search->required & ~done) == 0)
		return true;
	if (!remember(search, done, state))
		return false;
	limit = horizon(search, done);
	for (unsigned i = 0; i < history->count; i++) {
		const struct lin_call *call = &history->calls[i];

		if ((done >> i & 1) || call->invoke > limit || (done & search->ended[i]) || search->deadline[i] < latest)
			continue;
		if (!step(call, state, &after))
			continue;
		if (explore(search, done | UINT64_C(1) << i, &after, call->invoke > latest ? call->invoke : latest))
			return true;
	}
	if (!history->may_vanish || !state->value.present)
		return false;
	after = (struct lin_state){ .version = 0 };
	return explore(search, done, &after, latest);
}

/* The deletes that began after the death of this call's process and returned. */
static uint64_t ended_by(const struct lin_history *history, const struct lin_call *call)
{
	uint64_t deletes = 0;

	if (call->response != LIN_NEVER || call->death == LIN_NEVER)
		return 0;
	for (unsigned i = 0; i < history->count; i++) {
		const struct lin_call *other = &history->calls[i];

		if ((other->kind == LIN_DELETE || other->kind == LIN_FLUSH) && other->invoke > call->death &&
				other->response != LIN_NEVER)
			deletes |= UINT64_C(1) << i;
	}
	return deletes;
}

bool lin_check(const struct lin_history *history)
{
	struct search search = { .history = history, .capacity = 1024 };
	bool explained;

	for (unsigned i = 0; i < history->count; i++) {
		if (!optional(&history->calls[i]))
			search.required |= UINT64_C(1) << i;
		search.ended[i] = ended_by(history, &history->calls[i]);
		search.deadline[i] = history->calls[i].kind == LIN_DROP ? history->calls[i].response : LIN_NEVER;
	}
	search.seen = must(calloc(search.capacity, sizeof *search.seen));
	explained = explore(&search, 0, &history->start, 0);
	free(search.seen);
	return explained;
}

/* ---- For people ---- */

static const char *const kind_names[] = {
	[LIN_NONE] = "none", [LIN_GET] = "get", [LIN_EXISTS] = "exists", [LIN_SET] = "set", [LIN_ADD] = "add",
	[LIN_REPLACE] = "replace", [LIN_CAS] = "cas", [LIN_SWAP] = "get-and-set", [LIN_DELETE] = "delete",
	[LIN_INCR] = "incr", [LIN_APPEND] = "append", [LIN_TOUCH] = "touch", [LIN_FLUSH] = "flush", [LIN_DROP] = "evicting",
};

static void print_value(const char *name, const struct lin_value *value)
{
	if (value->present && value->numeric)
		printf(" %s=%" PRId64, name, value->number);
	else if (value->present)
		printf(" %s=%08" PRIx32 "/%" PRIu32, name, (uint32_t)(value->digest ^ value->digest >> 32), value->length);
}

static void print_call(const struct lin_call *call)
{
	printf("#   p%u %" PRIu64 "..", call->process, call->invoke);
	if (call->response != LIN_NEVER)
		printf("%" PRIu64, call->response);
	else if (call->death != LIN_NEVER)
		printf("dead by %" PRIu64, call->death);
	printf(" %s", kind_names[call->kind]);
	print_value("in", &call->in);
	if (call->kind == LIN_INCR)
		printf(" delta=%" PRId64, call->delta);
	if (call->kind == LIN_CAS)
		printf(" expects=%" PRIx64, call->expected);
	if (call->response == LIN_NEVER) {
		printf(": no answer\n");
		return;
	}
	printf(": %s", larder_strerror((enum larder_status)call->status));
	print_value("out", &call->out);
	if (call->kind == LIN_INCR && call->status == LARDER_OK)
		printf(" sum=%" PRId64, call->sum);
	if (call->version != 0)
		printf(" version=%" PRIx64, call->version);
	printf("\n");
}

void lin_print(const struct lin_history *history)
{
	printf("# history of %u calls%s:\n", history->count, history->may_vanish ? " (the entry may vanish)" : "");
	for (unsigned i = 0; i < history->count; i++)
		print_call(&history->calls[i]);
	fflush(stdout);
}
