/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One trace, one cache.  Simulated caches expire eagerly: a calendar takes an object out at its very millisecond.
 * larder's expiry is its own; with lives in a trace it runs on a build of the library whose clock is the trace's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "keys.h"
#include "replay.h"

/* A cache under replay. */
struct subject {
	void *state;
	void (*at)(void *state, uint64_t time_ms); /* NULL: has no time */
	bool (*get)(void *state, const struct request *request);
	void (*set)(void *state, const struct request *request);
	void (*remove)(void *state, const struct request *request);
};

static bool overwrites(const struct replay *replay, size_t index)
{
	uint64_t state = index;

	return replay->overwrite_percent && random_next(&state) % 100 < replay->overwrite_percent;
}

static void step(const struct replay *replay, const struct subject *subject, const struct request *request,
		size_t index,
		struct replay_result *result)
{
	bool hit;

	if (subject->at)
		subject->at(subject->state, request->time_ms);
	if (request->op == TRACE_DELETE) {
		subject->remove(subject->state, request);
		return;
	}
	if (request->op == TRACE_SET) {
		subject->set(subject->state, request);
		return;
	}
	hit = subject->get(subject->state, request);
	if (index >= replay->warm) {
		result->gets++;
		result->misses += !hit;
	}
	if (!hit || overwrites(replay, index))
		subject->set(subject->state, request);
}

static void run(const struct replay *replay, const struct subject *subject, struct replay_result *result)
{
	for (size_t i = 0; i < replay->trace->count; i++) {
		struct request request = replay->trace->requests[i];

		if (i % 4096 == 0 && bench_interrupted())
			return;
		request.size *= replay->scale;
		step(replay, subject, &request, i, result);
	}
}

/* ---- simulated ---- */

struct due {
	uint32_t object, next; /* next + 1 of the same millisecond; 0 ends */
};

struct timed_sim {
	struct sim sim;
	uint32_t *calendar; /* by millisecond: number of a due + 1 */
	uint64_t *expires;  /* by object */
	struct due *dues;
	uint64_t now, end;
	uint32_t due_count;
};

static void sim_at(void *state, uint64_t time_ms)
{
	struct timed_sim *timed = state;

	for (; timed->calendar && timed->now <= time_ms && timed->now <= timed->end; timed->now++)
		for (uint32_t i = timed->calendar[timed->now]; i; i = timed->dues[i - 1].next)
			if (timed->expires[timed->dues[i - 1].object] == timed->now)
				timed->sim.policy->remove(&timed->sim, timed->dues[i - 1].object);
}

static bool sim_get(void *state, const struct request *request)
{
	struct timed_sim *timed = state;

	return timed->sim.policy->get(&timed->sim, request->object);
}

static void sim_set(void *state, const struct request *request)
{
	struct timed_sim *timed = state;
	uint64_t due = request->time_ms + request->ttl_ms;

	timed->sim.policy->set(&timed->sim, request->object, request->size ? request->size : 1);
	if (!timed->calendar)
		return;
	timed->expires[request->object] = request->ttl_ms ? due : 0;
	if (!request->ttl_ms || due > timed->end)
		return;
	timed->dues[timed->due_count] = (struct due){ request->object, timed->calendar[due] };
	timed->calendar[due] = ++timed->due_count;
}

static void sim_remove(void *state, const struct request *request)
{
	struct timed_sim *timed = state;

	timed->sim.policy->remove(&timed->sim, request->object);
}

/* Two sets of one object at most for each request: the calendar can be laid out beforehand. */
static int calendar_new(struct timed_sim *timed, const struct trace *trace)
{
	timed->end = trace->requests[trace->count - 1].time_ms;
	timed->calendar = calloc(timed->end + 1, sizeof *timed->calendar);
	timed->expires = calloc(trace->objects, sizeof *timed->expires);
	timed->dues = calloc(trace->count, sizeof *timed->dues);
	return timed->calendar && timed->expires && timed->dues ? 0 : -1;
}

int replay_simulated(const struct replay *replay, const struct sim_policy *policy, struct replay_result *result)
{
	struct timed_sim timed = { .now = 0 };
	const struct subject subject = { &timed, sim_at, sim_get, sim_set, sim_remove };
	int failed = sim_new(&timed.sim, policy, replay->capacity_bytes, replay->trace->objects);

	*result = (struct replay_result){ 0 };
	if (!failed && replay->trace->timed)
		failed = calendar_new(&timed, replay->trace);
	if (!failed)
		run(replay, &subject, result);
	else
		bench_complain("out of memory");
	sim_free(&timed.sim);
	free(timed.calendar);
	free(timed.expires);
	free(timed.dues);
	return failed;
}

/* ---- larder ---- */

static uint64_t virtual_ms;

/* Every clock is the trace's, from one day after their beginnings on, so that nothing meets a zero or a past. */
int larder_bench_clock(int clock, void *now)
{
	struct timespec *at = now;

	(void)clock;
	at->tv_sec = (time_t)(86400 + virtual_ms / 1000);
	at->tv_nsec = (long)(virtual_ms % 1000) * 1000000;
	return 0;
}

struct larder_subject {
	const struct larder_api *api;
	struct larder *cache;
	uint8_t *buffer;
	size_t buffer_bytes;
	struct replay_result *result;
};

static size_t value_bytes(const struct request *request)
{
	return request->size > sizeof request->object ? request->size - sizeof request->object : 0;
}

static void larder_at(void *state, uint64_t time_ms)
{
	(void)state;
	virtual_ms = time_ms;
}

static bool larder_has(void *state, const struct request *request)
{
	struct larder_subject *subject = state;
	size_t length = 0;
	enum larder_status status = subject->api->get(subject->cache, 0, &request->object, sizeof request->object,
			subject->buffer, subject->buffer_bytes, &length);

	if (status != LARDER_OK)
		return false;
	if (length >= sizeof request->object && memcmp(subject->buffer, &request->object, sizeof request->object) != 0)
		subject->result->wrong++;
	return true;
}

static void larder_put(void *state, const struct request *request)
{
	struct larder_subject *subject = state;
	size_t length = value_bytes(request);

	if (length >= sizeof request->object)
		memcpy(subject->buffer, &request->object, sizeof request->object);
	if (subject->api->set(subject->cache, 0, &request->object, sizeof request->object, subject->buffer, length,
			request->ttl_ms ? (int64_t)request->ttl_ms : LARDER_TTL_NONE) == LARDER_OK)
		return;
	/* A value too large for this cache: whatever was there is outdated. */
	subject->result->refused++;
	subject->api->delete(subject->cache, 0, &request->object, sizeof request->object);
}

static void larder_out(void *state, const struct request *request)
{
	struct larder_subject *subject = state;

	subject->api->delete(subject->cache, 0, &request->object, sizeof request->object);
}

static size_t largest(const struct replay *replay)
{
	size_t most = 4096;

	for (size_t i = 0; i < replay->trace->count; i++) {
		size_t size = (size_t)replay->trace->requests[i].size * replay->scale;

		most = size > most ? size : most;
	}
	return most;
}

static void measure(struct larder_subject *subject, struct replay_result *result)
{
	struct larder_stat stat;

	memset(&stat, 0, sizeof stat);
	subject->api->stat(subject->cache, &stat);
	result->copied = stat.inserted_bytes ? (double)stat.copied_bytes / (double)stat.inserted_bytes : 0;
}

/* After the run: each object that is still there, with as many bytes as a simulated cache would pay for it. */
static void measure_live(const struct larder_subject *subject, const struct replay *replay, struct replay_result *result)
{
	for (uint32_t object = 0; object < replay->trace->objects; object++) {
		size_t length = 0;

		if (subject->api->get(subject->cache, 0, &object, sizeof object, subject->buffer, subject->buffer_bytes,
				&length) == LARDER_OK)
			result->live_bytes += sizeof object + length;
	}
}

static enum larder_status open_cache(struct larder_subject *subject, const struct replay *replay, uint32_t create_flags,
		const char *name)
{
	struct larder_options options = LARDER_OPTIONS_INIT;

	options.flags = LARDER_EXCLUSIVE;
	options.create_flags = create_flags;
	options.bytes = replay->capacity_bytes;
	options.entry_bytes = replay->trace->object_bytes * replay->scale / replay->trace->objects;
	options.participants = 16;
	return subject->api->open_with(name, &options, &subject->cache);
}

int replay_larder(const struct replay *replay, uint32_t create_flags, bool virtual_time, struct replay_result *result)
{
	struct larder_subject state = { .result = result, .buffer_bytes = largest(replay) };
	const struct subject subject = { &state, virtual_time ? larder_at : NULL, larder_has, larder_put, larder_out };
	char name[64], trouble[160] = "";

	*result = (struct replay_result){ 0 };
	virtual_ms = 0;
	snprintf(name, sizeof name, "bench.%d.replay", (int)getpid());
	state.api = larder_api_load(virtual_time ? "liblarder-virtual-time.so" : NULL, trouble, sizeof trouble);
	state.buffer = calloc(1, state.buffer_bytes);
	if (!state.api || !state.buffer || open_cache(&state, replay, create_flags, name) != LARDER_OK) {
		bench_complain("replay: %s", trouble[0] ? trouble : state.api ? state.api->message() : "out of memory");
		free(state.buffer);
		return -1;
	}
	run(replay, &subject, result);
	measure(&state, result);
	measure_live(&state, replay, result);
	state.api->close(&state.cache);
	state.api->destroy(name);
	free(state.buffer);
	if (result->wrong)
		bench_complain("%s: %llu values were not those set", replay->trace->name,
				(unsigned long long)result->wrong);
	return result->wrong ? -1 : 0;
}
