/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The witness of larder-step: a process that lives through all the deaths and standstills of the others.  It makes each
 * point's key and bystanders, uses them while the actor stands still or is dead, records every call, and asks the
 * checker whether the calls can be explained.  Nothing here knows how larder works inside.
 *
 * Without evictions nothing may vanish, not even once: that is how a lost bystander is noticed.  Each eviction that larder
 * counted excuses one loss, and a cache that was full to begin with all of them.
 */
#include "step.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOLD_MAX 6u
#define FILLER_BYTES 2500u
#define FULL_VALUE_BYTES 500u /* of the smaller, full cache */
#define BURST 2500u /* overwrites: more than a batch of retired places */
#define TTL_LONG_MS INT64_C(3600000)
#define WITNESS 1u
#define QUOTA_BYTES 6000u
#define NAMES 200u /* of namespaces; a cache takes 256 */
#define NO_VERSION (UINT64_MAX - 1)

static const char *const mode_names[] = { [MODE_KILL] = "killed", [MODE_FREEZE] = "frozen", [MODE_RUN] = "through" };

void scene_fail(struct scene *scene, const char *format, ...)
{
	struct board *board = scene->board;
	va_list arguments;

	board->bad++;
	if (board->told++ >= TOLD_MAX)
		return;
	printf("# %s, actor %s at instruction %zu, point %" PRIu64 ": ", board->operation->name, mode_names[board->mode],
			board->instruction, board->point);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	fflush(stdout);
}

void scene_timed(struct scene *scene, const struct stopwatch *watch, const char *what)
{
	uint64_t wall_ns;
	bool held_back = stopwatch_held_back(watch, &wall_ns);

	scene->board->calls++;
	if (wall_ns > scene->board->slowest_ns)
		scene->board->slowest_ns = wall_ns;
	if (held_back)
		scene_fail(scene, "%s was held back for %" PRIu64 " ms", what, wall_ns / 1000000);
}

static bool may_vanish(const struct scene *scene)
{
	return (scene->board->operation->traits & (STEP_FULL | STEP_LARGE)) != 0;
}

static uint64_t evictions_of(const struct scene *scene)
{
	struct larder_stat stat;

	if (larder_stat(scene->caches[0], &stat) != LARDER_OK)
		return 0;
	return stat.evictions_index + stat.evictions_small + stat.evictions_main + stat.evictions_need;
}

static bool key_may_vanish(const struct scene *scene, const struct call_key *key)
{
	return may_vanish(scene) || (scene->board->operation->traits & STEP_QUOTA && key->ns == scene->own_ns);
}

/* ---- Recorded calls ---- */

static struct larder *any_handle(struct scene *scene)
{
	return scene->caches[rng_next(&scene->rng) & 1];
}

static void record(struct track *track, const struct lin_call *call)
{
	if (track->history.count < LIN_CALLS)
		track->history.calls[track->history.count++] = *call;
}

static void settle_token(struct track *track, const struct lin_call *call)
{
	if (call->version != 0 && call->status == LARDER_OK)
		track->token = call->version;
}

/* Makes the call, whose bytes lie in scene->in, and records it. */
static void make_call(struct scene *scene, struct track *track, struct lin_call *call)
{
	struct call_buffers buffers = { .in = scene->in, .out = scene->out, .out_capacity = sizeof scene->out };
	struct stopwatch watch;

	buffers.manner = call->kind == LIN_GET && call->in.length == 1 ? CALL_PIN : CALL_COPY;
	buffers.tag = scene->tag;
	buffers.grace_ms = scene->grace_ms;
	call->process = WITNESS;
	call->invoke = scene->tick++;
	stopwatch_start(&watch);
	call_run(any_handle(scene), &track->key, &buffers, call);
	if (call->status == LARDER_NO_PIN && call->kind == LIN_GET) { /* a value of many pieces: copy, as the status says */
		buffers.manner = CALL_COPY;
		call_run(any_handle(scene), &track->key, &buffers, call);
	}
	scene_timed(scene, &watch, "a call on the key");
	call_settle(&buffers, call);
	call->response = scene->tick++;
	settle_token(track, call);
	record(track, call);
}

static void put_stamp(struct scene *scene, struct track *track, struct lin_call *call, uint32_t length)
{
	stamp_write(scene->in, length, track->key.text, track->key.bytes, WITNESS, ++scene->sequence);
	call->in = lin_value_of(scene->in, length);
}

static void put_text(struct scene *scene, struct lin_call *call, const char *text)
{
	memcpy(scene->in, text, strlen(text));
	call->in = lin_value_of(scene->in, strlen(text));
}

static void choose_value(struct scene *scene, struct track *track, struct lin_call *call)
{
	const struct operation *operation = scene->board->operation;
	uint64_t choice = rng_below(&scene->rng, 8);
	char digits[24];

	call->ttl_ms = rng_below(&scene->rng, 4) == 0 ? TTL_LONG_MS : LARDER_TTL_NONE;
	if (choice < 2) {
		snprintf(digits, sizeof digits, "%" PRIu64, rng_below(&scene->rng, 100000));
		put_text(scene, call, digits);
	} else if (choice < 4 && operation->old_bytes >= STAMP_BYTES_MIN) {
		put_stamp(scene, track, call, operation->old_bytes);
	} else if (choice < 6 && operation->new_bytes >= STAMP_BYTES_MIN) {
		put_stamp(scene, track, call, operation->new_bytes);
	} else {
		put_stamp(scene, track, call, (uint32_t)(STAMP_BYTES_MIN + rng_below(&scene->rng, 1200)));
	}
}

/* One call of this kind with arguments by chance. */
static void random_call(struct scene *scene, struct track *track, enum lin_kind kind)
{
	struct lin_call call = lin_call_begin(kind, 0);

	switch (kind) {
	case LIN_GET:
		call.in.length = (uint32_t)rng_below(&scene->rng, 2); /* 1: zero-copy */
		break;
	case LIN_CAS:
		call.expected = track->token != 0 ? track->token : NO_VERSION;
		choose_value(scene, track, &call);
		break;
	case LIN_INCR:
		call.delta = 1 + (int64_t)rng_below(&scene->rng, 9);
		call.create = rng_below(&scene->rng, 2) == 0;
		call.initial = 100;
		break;
	case LIN_APPEND:
		put_text(scene, &call, "+more");
		break;
	case LIN_TOUCH:
		call.ttl_ms = rng_below(&scene->rng, 2) == 0 ? TTL_LONG_MS : LARDER_TTL_NONE;
		break;
	default:
		choose_value(scene, track, &call);
		if (kind == LIN_EXISTS || kind == LIN_DELETE)
			call.in = (struct lin_value){ .present = false };
	}
	make_call(scene, track, &call);
}

static const enum lin_kind script_kinds[] = {
	LIN_GET, LIN_SET, LIN_SET, LIN_ADD, LIN_DELETE, LIN_INCR, LIN_CAS, LIN_TOUCH, LIN_APPEND, LIN_REPLACE, LIN_SWAP, LIN_EXISTS,
};
#define SCRIPT_KINDS (sizeof script_kinds / sizeof script_kinds[0])

/* Every kind of call once, in random order. */
static void run_all_kinds(struct scene *scene, struct track *track)
{
	enum lin_kind order[SCRIPT_KINDS];

	memcpy(order, script_kinds, sizeof order);
	for (size_t i = SCRIPT_KINDS; i > 0; i--) {
		size_t other = rng_below(&scene->rng, i);
		enum lin_kind kind = order[other];

		order[other] = order[i - 1];
		random_call(scene, track, kind);
	}
}

/* A few calls by chance; often beginning with a delete, after which nobody's older value may rise. */
static void run_script(struct scene *scene, struct track *track, uint64_t longest)
{
	uint64_t length = rng_below(&scene->rng, longest + 1);

	if (length > 0 && rng_below(&scene->rng, 3) == 0)
		random_call(scene, track, LIN_DELETE);
	for (uint64_t i = 0; i < length; i++)
		random_call(scene, track, script_kinds[rng_below(&scene->rng, SCRIPT_KINDS)]);
	random_call(scene, track, LIN_GET);
}

/* An eviction that was counted and has excused nothing yet? */
static bool is_excused(struct scene *scene)
{
	if (scene->filled)
		return true;
	if (evictions_of(scene) <= scene->evictions)
		return false;
	scene->evictions++;
	return true;
}

static void verdict(struct scene *scene, struct track *track)
{
	bool lost;

	/* a full cache drops what it likes, the newest too */
	if (key_may_vanish(scene, &track->key) || scene->filled)
		track->history.may_vanish = true;
	if (lin_check(&track->history))
		return;
	lost = !track->history.may_vanish;
	track->history.may_vanish = true;
	lost = lost && lin_check(&track->history);
	if (lost && is_excused(scene))
		return;
	scene_fail(scene, "%s explains the calls on key %s", lost ? "only the loss of the entry" : "no order", track->key.text);
	if (scene->board->told <= TOLD_MAX)
		lin_print(&track->history);
}

/* ---- Bystanders ---- */

static void bystander_key(const struct scene *scene, unsigned number, struct call_key *key)
{
	key->ns = number < SCENE_SISTERS ? scene->own_ns : 0;
	key->bytes = (size_t)snprintf(key->text, sizeof key->text, "b%u.%" PRIu64, number, scene->board->point);
}

static uint32_t bystander_bytes(unsigned number)
{
	return STAMP_BYTES_MIN + number * 7 % 200;
}

void scene_set(struct scene *scene, const struct call_key *key, size_t length)
{
	struct stopwatch watch;
	enum larder_status status;

	stopwatch_start(&watch);
	status = larder_set(any_handle(scene), key->ns, key->text, key->bytes, scene->in, length, LARDER_TTL_NONE);
	scene_timed(scene, &watch, "a set");
	if (status != LARDER_OK)
		scene_fail(scene, "a set of %s said: %s", key->text, larder_strerror(status));
}

static void set_bystanders(struct scene *scene)
{
	struct call_key key;

	for (unsigned i = 0; i < SCENE_BYSTANDERS; i++) {
		bystander_key(scene, i, &key);
		stamp_write(scene->in, bystander_bytes(i), key.text, key.bytes, 0, (uint32_t)scene->board->point);
		scene_set(scene, &key, bystander_bytes(i));
	}
}

/* Those that share the namespace with the actor's key go all at once when it is flushed. */
static void missed(struct scene *scene, unsigned number, const struct call_key *key)
{
	if (number < SCENE_SISTERS && (scene->board->operation->traits & STEP_OWN_NS) && !(scene->board->operation->traits & STEP_QUOTA)) {
		scene->sisters_flushed = true;
		return;
	}
	if (key_may_vanish(scene, key))
		return;
	scene->deleted[number] = true;
	if (!is_excused(scene))
		scene_fail(scene, "bystander %s is gone", key->text);
}

static void check_bystander(struct scene *scene, unsigned number)
{
	struct call_key key;
	struct stamp stamp;
	size_t length = 0;
	struct stopwatch watch;
	enum larder_status status;
	enum stamp_fault fault;

	bystander_key(scene, number, &key);
	stopwatch_start(&watch);
	status = larder_get(any_handle(scene), key.ns, key.text, key.bytes, scene->out, sizeof scene->out, &length);
	scene_timed(scene, &watch, "a get of a bystander");
	if (status == LARDER_MISS) {
		if (!scene->deleted[number])
			missed(scene, number, &key);
		return;
	}
	if (scene->deleted[number])
		scene_fail(scene, "bystander %s was deleted, and is back", key.text);
	if (status != LARDER_OK) {
		scene_fail(scene, "a get of bystander %s said: %s", key.text, larder_strerror(status));
		return;
	}
	fault = stamp_read(scene->out, length, key.text, key.bytes, &stamp);
	if (fault != STAMP_WHOLE)
		scene_fail(scene, "bystander %s is %s", key.text, stamp_fault_name(fault));
	else if (stamp.sequence != (uint32_t)scene->board->point || length != bystander_bytes(number))
		scene_fail(scene, "bystander %s has a value of another time", key.text);
	else if (number < SCENE_SISTERS && scene->sisters_flushed && !scene->filled)
		scene_fail(scene, "bystander %s outlived the flush that took another one", key.text);
}

static void check_bystanders(struct scene *scene)
{
	for (unsigned i = 0; i < SCENE_BYSTANDERS; i++) {
		if (i != scene->other_index)
			check_bystander(scene, i);
	}
}

/* Deletes some, which leaves holes in buckets where the actor saw none. */
static void thin_bystanders(struct scene *scene)
{
	struct call_key key;
	enum larder_status status;

	for (unsigned i = 0; i < SCENE_BYSTANDERS; i++) {
		if (i == scene->other_index || rng_below(&scene->rng, 4) != 0)
			continue;
		bystander_key(scene, i, &key);
		status = larder_delete(any_handle(scene), key.ns, key.text, key.bytes);
		if (status != LARDER_OK && status != LARDER_MISS)
			scene_fail(scene, "a delete of %s said: %s", key.text, larder_strerror(status));
		if (status == LARDER_OK && !scene->deleted[i] && scene->census.bystanders > 0)
			scene->census.bystanders--;
		if (status == LARDER_MISS && !scene->deleted[i])
			missed(scene, i, &key);
		scene->deleted[i] = true;
	}
}

unsigned scene_bystanders_held(struct scene *scene)
{
	struct call_key key;
	unsigned held = 0;

	for (unsigned i = 0; i < SCENE_BYSTANDERS; i++) {
		bystander_key(scene, i, &key);
		if (i != scene->other_index)
			held += larder_exists(any_handle(scene), key.ns, key.text, key.bytes) == LARDER_OK;
	}
	return held;
}

/* ---- Eviction goes on ---- */

/* Three times the cache in fresh data: whatever the actor names, there is room. */
static void drive_evictions(struct scene *scene)
{
	struct call_key key = { .ns = 0 };
	struct lin_call drop = lin_call_begin(LIN_DROP, scene->tick++);
	uint64_t count = 3 * STEP_BYTES / FILLER_BYTES;
	bool full = scene->board->operation->traits & STEP_FULL;

	scene->filled = true;
	if (full)
		census_fill(scene, 3 * (unsigned)STEP_FULL_BYTES / 300);
	for (uint64_t i = 0; i < count && !full; i++) {
		key.bytes = (size_t)snprintf(key.text, sizeof key.text, "f%" PRIu64 ".%" PRIu64, i, scene->board->point);
		scene_set(scene, &key, FILLER_BYTES);
	}
	drop.response = scene->tick++;
	record(&scene->key, &drop);
	record(&scene->other, &drop);
}

/* Overwrites in numbers, so that places are retired and used again; two values in turn, recorded as the last two. */
static void burst(struct scene *scene, struct track *track)
{
	struct lin_call calls[2] = { lin_call_begin(LIN_SET, 0), lin_call_begin(LIN_SET, 0) };
	uint32_t length = scene->board->operation->old_bytes >= STAMP_BYTES_MIN ? scene->board->operation->old_bytes : 120;
	uint32_t sequences[2] = { ++scene->sequence, ++scene->sequence };

	if (length > 4096)
		return;
	for (unsigned i = 0; i < BURST; i++) {
		stamp_write(scene->in, length, track->key.text, track->key.bytes, WITNESS, sequences[i & 1]);
		if (i < 2)
			calls[i].in = lin_value_of(scene->in, length);
		scene_set(scene, &track->key, length);
	}
	for (unsigned i = 0; i < 2; i++) {
		calls[i].status = LARDER_OK;
		calls[i].invoke = scene->tick++;
		calls[i].response = scene->tick++;
		record(track, &calls[i]);
	}
	track->token = 0;
}

/* ---- The stages of a point ---- */

static void number_key(struct scene *scene)
{
	struct call_key *key = &scene->board->key;

	key->ns = scene->board->operation->traits & STEP_OWN_NS ? scene->own_ns : 0;
	key->bytes = (size_t)snprintf(key->text, sizeof key->text, "the.key.%" PRIu64,
			scene->board->operation->traits & STEP_FRESH_NS ? scene->board->point % NAMES : scene->board->point);
}

static void prepare_old(struct scene *scene)
{
	const struct operation *operation = scene->board->operation;
	struct lin_call call = lin_call_begin(operation->old == OLD_COUNTER ? LIN_INCR : LIN_SET, 0);

	if (operation->old == OLD_ABSENT)
		return;
	if (operation->old == OLD_DIGITS)
		put_text(scene, &call, "41");
	else if (operation->old != OLD_COUNTER)
		put_stamp(scene, &scene->key, &call, operation->old_bytes);
	call.ttl_ms = operation->old == OLD_TTL ? TTL_LONG_MS :
			operation->old == OLD_EXPIRED || operation->old == OLD_STALE ? 1 : LARDER_TTL_NONE;
	scene->tag = operation->old == OLD_TAGGED ? CALL_TAG_NAME : NULL;
	scene->grace_ms = operation->old == OLD_STALE ? TTL_LONG_MS : 0;
	call.in.tagged = scene->tag != NULL;
	call.create = true;
	call.initial = 40;
	call.delta = 1;
	make_call(scene, &scene->key, &call);
	scene->tag = NULL;
	scene->grace_ms = 0;
	if (operation->old != OLD_EXPIRED && operation->old != OLD_STALE)
		return;
	scene->key.history.count = 0; /* absent, as far as anybody can see */
	sleep_us(2000);
}

/* The actor's namespace has all that it may have. */
static void fill_quota(struct scene *scene)
{
	struct call_key key = { .ns = scene->own_ns };

	for (unsigned i = 0; i < 2 * QUOTA_BYTES / 150; i++) {
		key.bytes = (size_t)snprintf(key.text, sizeof key.text, "q%u", i);
		scene_set(scene, &key, 120);
	}
}

static void describe_call(struct scene *scene)
{
	struct board *board = scene->board;

	board->call = lin_call_begin(board->operation->kind, scene->tick++);
	board->call.process = 2;
	board->call.delta = 1;
	board->call.initial = 40;
	board->call.create = true;
	if (board->operation->kind == LIN_TOUCH)
		board->call.ttl_ms = TTL_LONG_MS / 2;
	if (board->operation->kind == LIN_SET && board->operation->old == OLD_TTL)
		board->call.ttl_ms = TTL_LONG_MS;
	board->call.in.tagged = board->operation->manner == CALL_TAG;
	board->call.status = LARDER_OK;
}

static void order_prepare(struct scene *scene)
{
	struct board *board = scene->board;

	scene->rng.state = board->seed;
	scene->tick = 1;
	scene->filled = false;
	scene->sisters_flushed = false;
	memset(scene->deleted, 0, sizeof scene->deleted);
	number_key(scene);
	scene->key = (struct track){ .key = board->key };
	scene->other = (struct track){ .token = 0 };
	if (board->operation->traits & STEP_LIFE) {
		life_prepare(scene);
		describe_call(scene);
		return;
	}
	if (board->operation->traits & STEP_QUOTA)
		fill_quota(scene);
	set_bystanders(scene);
	scene->evictions = evictions_of(scene);
	prepare_old(scene);
	if (board->operation->traits & STEP_FULL)
		census_drain(scene); /* the actor is the one who has to evict */
	scene->other_index = SCENE_SISTERS + (unsigned)rng_below(&scene->rng, SCENE_BYSTANDERS - SCENE_SISTERS);
	bystander_key(scene, scene->other_index, &scene->other.key);
	stamp_write(scene->in, bystander_bytes(scene->other_index), scene->other.key.text, scene->other.key.bytes, 0,
			(uint32_t)board->point);
	if (board->operation->traits & STEP_FULL)
		census_take(scene);
	scene->other.history.start.value = lin_value_of(scene->in, bystander_bytes(scene->other_index));
	scene->other.history.start.ttl_ms = LIN_TTL_NONE;
	describe_call(scene);
}

/* With the actor standing still, or dead: the same work. */
static void work_beside(struct scene *scene)
{
	check_bystanders(scene);
	if (rng_below(&scene->rng, 2) == 0)
		thin_bystanders(scene);
	run_script(scene, &scene->key, 5);
	run_all_kinds(scene, &scene->other);
	if (rng_below(&scene->rng, 2) == 0)
		run_all_kinds(scene, &scene->key);
	if (scene->board->operation->traits & STEP_FULL) {
		census_fill(scene, 200);
		census_compare(scene);
	}
	if (scene->board->evict) {
		burst(scene, &scene->key);
		drive_evictions(scene);
		if (scene->board->operation->traits & STEP_FULL)
			census_compare(scene);
		random_call(scene, &scene->key, LIN_GET);
		run_script(scene, &scene->key, 4);
	}
	check_bystanders(scene);
}

static void clean_up(struct scene *scene)
{
	struct call_key key;

	larder_delete(scene->caches[0], scene->key.key.ns, scene->key.key.text, scene->key.key.bytes);
	for (unsigned i = 0; i < SCENE_BYSTANDERS; i++) {
		bystander_key(scene, i, &key);
		larder_delete(scene->caches[0], key.ns, key.text, key.bytes);
	}
}

static void order_frozen(struct scene *scene)
{
	if (scene->board->operation->traits & STEP_LIFE)
		life_still(scene);
	else
		work_beside(scene);
}

static void order_killed(struct scene *scene)
{
	if (scene->board->operation->traits & STEP_LIFE) {
		life_still(scene);
		life_after(scene, false);
		return;
	}
	scene->board->call.death = scene->tick++;
	record(&scene->key, &scene->board->call);
	work_beside(scene);
	verdict(scene, &scene->key);
	verdict(scene, &scene->other);
	clean_up(scene);
}

static void settle_actor(struct scene *scene)
{
	struct board *board = scene->board;
	struct call_buffers buffers = { .out = board->copy, .out_capacity = sizeof board->copy, .manner = board->operation->manner };

	call_settle(&buffers, &board->call);
	board->call.response = scene->tick++;
	record(&scene->key, &board->call);
	if (!board->left)
		scene_fail(scene, "the actor did not come to its end");
	else if (board->leave_status != LARDER_OK && !(board->operation->traits & STEP_CLOSE))
		scene_fail(scene, "the actor's next call said: %s", larder_strerror((enum larder_status)board->leave_status));
}

static void order_resumed(struct scene *scene)
{
	settle_actor(scene);
	if (scene->board->operation->traits & STEP_LIFE) {
		life_after(scene, true);
		return;
	}
	random_call(scene, &scene->key, LIN_GET);
	check_bystanders(scene);
	run_script(scene, &scene->key, 4);
	random_call(scene, &scene->other, LIN_GET);
	verdict(scene, &scene->key);
	verdict(scene, &scene->other);
	clean_up(scene);
}

/* ---- The caches ---- */

static void open_handles(struct scene *scene)
{
	struct larder_options options = step_options(scene->board->operation->traits & STEP_FULL);

	for (unsigned i = 0; i < 2; i++) {
		if (larder_open_with(scene->board->path, &options, &scene->caches[i]) != LARDER_OK)
			scene_fail(scene, "open: %s", larder_message());
	}
	scene->own_ns = 0;
	if (scene->caches[0] != NULL && (scene->board->operation->traits & STEP_OWN_NS) &&
			larder_namespace(scene->caches[0], "own", &scene->own_ns) != LARDER_OK)
		scene_fail(scene, "namespace: %s", larder_message());
	if (scene->own_ns != 0 && scene->board->operation->traits & STEP_QUOTA &&
			larder_namespace_quota(scene->caches[0], scene->own_ns, QUOTA_BYTES) != LARDER_OK)
		scene_fail(scene, "no quota");
}

static void order_open(struct scene *scene)
{
	for (unsigned i = 0; i < 2; i++)
		larder_close(&scene->caches[i]);
	scene->census.count = 0;
	larder_destroy(scene->board->path); /* what a witness before left */
	if (scene->board->operation->traits & STEP_LIFE)
		return;
	open_handles(scene);
	scene->board->point = 0;
	scene->rng.state = scene->board->seed;
	if (scene->caches[0] != NULL && scene->caches[1] != NULL && (scene->board->operation->traits & STEP_FULL))
		drive_evictions(scene);
}

static void tell_damage(const char *text, void *arg)
{
	scene_fail(arg, "check: %s", text);
}

/* What a cache like this one holds when nobody ever died in it. */
static double fresh_capacity(struct scene *scene)
{
	bool full = scene->board->operation->traits & STEP_FULL;
	struct larder_options options = step_options(full);
	static const int64_t ttls_ms[] = { LARDER_TTL_NONE, 1, TTL_LONG_MS / 2, TTL_LONG_MS };
	struct larder *cache = NULL;
	char path[220];
	double held;

	snprintf(path, sizeof path, "%s.fresh", scene->board->path);
	if (larder_open_with(path, &options, &cache) != LARDER_OK) {
		scene_fail(scene, "open: %s", larder_message());
		return 0;
	}
	capacity_age(cache, ttls_ms, sizeof ttls_ms / sizeof ttls_ms[0]);
	held = capacity_measure(cache, full ? FULL_VALUE_BYTES : FILLER_BYTES);
	larder_close(&cache);
	larder_destroy(path);
	return held;
}

static void check_capacity(struct scene *scene)
{
	bool full = scene->board->operation->traits & STEP_FULL;
	double fresh = fresh_capacity(scene);
	double held = capacity_measure(scene->caches[0], full ? FULL_VALUE_BYTES : FILLER_BYTES);

	if (!capacity_kept(scene->caches[0], held, fresh))
		scene_fail(scene, "the cache holds %.1f entries, a fresh one %.1f", held, fresh);
}

static void order_close(struct scene *scene)
{
	uint64_t faults = 0;

	scene->board->mode = MODE_RUN;
	if (!(scene->board->operation->traits & STEP_LIFE) && scene->caches[0] != NULL && scene->caches[1] != NULL) {
		if (larder_check(scene->caches[0], tell_damage, scene, &faults) != LARDER_OK || faults > 0)
			scene_fail(scene, "check found %" PRIu64 " faults", faults);
		check_capacity(scene);
	}
	for (unsigned i = 0; i < 2; i++)
		larder_close(&scene->caches[i]);
	larder_destroy(scene->board->path);
}

static bool carry_out(struct scene *scene, char order)
{
	switch (order) {
	case ORDER_OPEN:
		order_open(scene);
		return true;
	case ORDER_PREPARE:
		order_prepare(scene);
		return true;
	case ORDER_FROZEN:
		order_frozen(scene);
		return true;
	case ORDER_KILLED:
		order_killed(scene);
		return true;
	case ORDER_RESUMED:
		order_resumed(scene);
		return true;
	case ORDER_CLOSE:
		order_close(scene);
		return true;
	default:
		return false;
	}
}

void witness_serve(struct board *board, int orders)
{
	static struct scene scene;
	char order;

	scene.board = board;
	while (read(orders, &order, 1) == 1 && carry_out(&scene, order)) {
		if (write(orders, &order, 1) != 1)
			break;
	}
	_exit(0);
}
