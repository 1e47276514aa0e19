/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The measured loops.  Every peer goes through the same ones: one indirect call per operation, keys read sequentially,
 * the clock looked at between chunks only, chunks grown until one takes about half a millisecond.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "crew.h"

#define CHUNK_NS 500000u
#define CHUNK_MAX 16384u
#define ISOLATED_GROUP 128u
#define ISOLATED_WARM 8u
#define FRESH_BLOCK 1024u
#define TIMED_BLOCK 64u

int work_init(struct work *work)
{
	work->value = calloc(1, work->shape->value_bytes + 64u);
	work->values = calloc(WORK_BATCH_MAX, work->shape->value_bytes);
	work->fresh = work->shape->keys + ((uint64_t)work->index << 40);
	return work->value && work->values ? 0 : -1;
}

void work_free(struct work *work)
{
	free(work->value);
	free(work->values);
	work->value = work->values = NULL;
}

static inline uint64_t first_bytes(const uint8_t *value)
{
	uint64_t word;

	memcpy(&word, value, sizeof word);
	return word;
}

static void chunk_get(struct work *work, const uint8_t *key, size_t count, struct crew_result *result)
{
	int (*get)(void *, const uint8_t *, uint8_t *) = work->kind->get;
	uint64_t hits = 0, check = 0;

	for (size_t i = 0; i < count; i++, key += work->shape->key_bytes) {
		hits += get(work->seat, key, work->value) >= 0;
		check += first_bytes(work->value);
	}
	result->hits += hits;
	result->check += check;
}

static void chunk_set(struct work *work, const uint8_t *key, size_t count, struct crew_result *result)
{
	int (*set)(void *, const uint8_t *, const uint8_t *) = work->kind->set;

	for (size_t i = 0; i < count; i++, key += work->shape->key_bytes) {
		memcpy(work->value, key, KEY_BYTES_MIN);
		result->failures += set(work->seat, key, work->value) != 0;
	}
	result->sets += count;
}

static void chunk_mix(struct work *work, const uint8_t *key, const uint8_t *writes, size_t count,
		struct crew_result *result)
{
	const struct peer_kind *kind = work->kind;

	for (size_t i = 0; i < count; i++, key += work->shape->key_bytes) {
		if (writes[i]) {
			memcpy(work->value, key, KEY_BYTES_MIN);
			result->failures += kind->set(work->seat, key, work->value) != 0;
			result->sets++;
			continue;
		}
		result->hits += kind->get(work->seat, key, work->value) >= 0;
		result->check += first_bytes(work->value);
	}
}

static void chunk_fill(struct work *work, const uint8_t *key, size_t count, struct crew_result *result)
{
	const struct peer_kind *kind = work->kind;

	for (size_t i = 0; i < count; i++, key += work->shape->key_bytes) {
		if (kind->get(work->seat, key, work->value) >= 0) {
			result->hits++;
			continue;
		}
		memcpy(work->value, key, KEY_BYTES_MIN);
		result->failures += kind->set(work->seat, key, work->value) != 0;
		result->sets++;
	}
}

static void chunk_batch(struct work *work, const uint8_t *key, size_t count, unsigned batch, struct crew_result *result)
{
	for (size_t i = 0; i + batch <= count; i += batch, key += (size_t)batch * work->shape->key_bytes) {
		result->hits += work->kind->mget(work->seat, key, batch, work->values);
		result->check += first_bytes(work->values);
	}
}

static void chunk_incr(struct work *work, size_t count, struct crew_result *result)
{
	uint8_t key[KEY_BYTES_MAX];
	int64_t sum = 0;

	key_make(key, work->shape->key_bytes, UINT64_MAX);
	for (size_t i = 0; i < count; i++)
		result->failures += work->kind->incr(work->seat, key, &sum) != 0;
	result->check = (uint64_t)sum;
}

/* How often this thread was put off its processor against its will. */
static long preemptions(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

static void block_timed(struct work *work, const uint8_t *key, size_t count, bool write, struct crew_result *result)
{
	const struct tick_scale *scale = &work->supply->scale;
	long before = preemptions();
	uint64_t ns[TIMED_BLOCK];

	for (size_t i = 0; i < count; i++, key += work->shape->key_bytes) {
		uint64_t begin;

		memcpy(work->value, key, write ? KEY_BYTES_MIN : 1);
		begin = tick_begin();
		if (write)
			result->failures += work->kind->set(work->seat, key, work->value) != 0;
		else
			result->hits += work->kind->get(work->seat, key, work->value) >= 0;
		ns[i] = tick_ns(scale, begin, tick_end());
	}
	/* A block in which another program was given the processor says nothing about this one. */
	if (preemptions() != before) {
		result->preempted += count;
		return;
	}
	for (size_t i = 0; i < count; i++)
		histogram_add(&result->latency, ns[i]);
}

static void chunk_timed(struct work *work, const uint8_t *key, size_t count, bool write, struct crew_result *result)
{
	for (size_t i = 0; i < count; i += TIMED_BLOCK)
		block_timed(work, key + i * work->shape->key_bytes,
				count - i < TIMED_BLOCK ? count - i : TIMED_BLOCK, write, result);
}

/* `count` operations from where the last chunk ended; chunks do not cross the end of the stream. */
static size_t chunk(struct work *work, const struct crew_order *order, size_t count, struct crew_result *result)
{
	const struct key_stream *stream = &work->supply->streams[order->stream];
	const uint8_t *key;

	if (order->act == ACT_INCR) {
		chunk_incr(work, count, result);
		return count;
	}
	if (work->position + count > stream->count)
		work->position = 0;
	key = stream->keys + work->position * stream->key_bytes;
	if (order->act == ACT_GET)
		chunk_get(work, key, count, result);
	else if (order->act == ACT_SET)
		chunk_set(work, key, count, result);
	else if (order->act == ACT_MIX)
		chunk_mix(work, key, stream->writes + work->position, count, result);
	else if (order->act == ACT_FILL)
		chunk_fill(work, key, count, result);
	else if (order->act == ACT_BATCH)
		chunk_batch(work, key, count -= count % order->batch, order->batch, result);
	else
		chunk_timed(work, key, count, order->act == ACT_LATENCY_SET, result);
	work->position += count;
	return count;
}

static void rest(struct work *work)
{
	if (work->kind->rest)
		work->kind->rest(work->seat);
}

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Chunks until the time is up; *size adapts. */
static uint64_t chunks(struct work *work, const struct crew_order *order, uint64_t ns, size_t *size,
		struct crew_result *result)
{
	uint64_t cpu_begin = cpu_ns(), begin = bench_now_ns(), now = begin, ops = 0;

	while (now - begin < ns) {
		uint64_t before = now;

		ops += chunk(work, order, *size, result);
		rest(work);
		now = bench_now_ns();
		if (now - before < CHUNK_NS / 2 && *size * 2 <= CHUNK_MAX)
			*size *= 2;
	}
	result->ns = now - begin;
	result->cpu_ns = cpu_ns() - cpu_begin;
	return ops;
}

/* A tenth of the time goes untimed before, to bring the peer's memory back after another peer's burst.  Counters are
 * the exception: every increment must be accounted for. */
static void burst(struct work *work, const struct crew_order *order, struct crew_result *result)
{
	size_t size = order->act == ACT_BATCH ? order->batch : 16;

	if (order->act != ACT_INCR) {
		chunks(work, order, order->burst_ns / 10, &size, result);
		*result = (struct crew_result){ .check = result->check };
	}
	result->ops = chunks(work, order, order->burst_ns, &size, result);
}

/* Keys never used before, made in blocks outside the time that is taken. */
static void fresh(struct work *work, const struct crew_order *order, struct crew_result *result)
{
	unsigned key_bytes = work->shape->key_bytes;
	uint8_t keys[FRESH_BLOCK * KEY_BYTES_MAX];

	for (uint64_t done = 0; done < order->count; done += FRESH_BLOCK) {
		uint64_t begin, cpu_begin;

		for (unsigned i = 0; i < FRESH_BLOCK; i++)
			key_make(keys + i * key_bytes, key_bytes, work->fresh++);
		cpu_begin = cpu_ns();
		begin = bench_now_ns();
		if (order->act == ACT_LATENCY_FRESH)
			chunk_timed(work, keys, FRESH_BLOCK, true, result);
		else
			chunk_set(work, keys, FRESH_BLOCK, result);
		result->ns += bench_now_ns() - begin;
		result->cpu_ns += cpu_ns() - cpu_begin;
		result->ops += FRESH_BLOCK;
		rest(work);
	}
}

static void verify(struct work *work, const struct crew_order *order, struct crew_result *result)
{
	const struct key_stream *stream = &work->supply->streams[order->stream];

	for (uint64_t i = 0; i < order->count; i++) {
		const uint8_t *key = stream->keys + i % stream->count * stream->key_bytes;
		int length;

		memset(work->value, 0, work->shape->value_bytes);
		length = work->kind->get(work->seat, key, work->value);
		result->hits += length >= 0;
		if (length >= 0 && ((unsigned)length != work->shape->value_bytes
				|| !value_matches(work->value, work->shape->value_bytes, key)))
			result->failures++;
	}
	rest(work);
	result->ops = order->count;
}

/* One group: caches of the processor swept by reading foreign memory, then some gets that are not timed, for code,
 * stack and what every get of the peer needs; then gets of other keys, each alone between fences. */
static void isolated_group(struct work *work, const uint8_t *keys, struct crew_result *result)
{
	const uint8_t *sweep = work->supply->sweep;
	unsigned key_bytes = work->shape->key_bytes;
	uint64_t sum = 0;

	for (size_t i = 0; i < work->supply->sweep_bytes; i += 64)
		sum += sweep[i];
	for (unsigned i = 0; i < ISOLATED_GROUP * key_bytes; i++)
		sum += keys[i];
	for (unsigned i = 0; i < work->shape->value_bytes; i++)
		work->value[i] = 0;
	for (unsigned i = 0; i < ISOLATED_WARM; i++)
		result->hits += work->kind->get(work->seat, keys + i * key_bytes, work->value) >= 0;
	chunk_timed(work, keys + ISOLATED_WARM * key_bytes, ISOLATED_GROUP - ISOLATED_WARM, false, result);
	result->check += sum + first_bytes(work->value);
	result->ops += ISOLATED_GROUP;
	rest(work);
}

static void isolated(struct work *work, const struct crew_order *order, struct crew_result *result)
{
	const struct key_stream *stream = &work->supply->streams[order->stream];

	while (result->latency.count + result->preempted < order->count) {
		if (work->position + ISOLATED_GROUP > stream->count)
			work->position = 0;
		isolated_group(work, stream->keys + work->position * stream->key_bytes, result);
		work->position += ISOLATED_GROUP;
	}
}

void work_do(struct work *work, const struct crew_order *order, struct crew_result *result)
{
	const struct key_stream *stream = &work->supply->streams[order->stream];
	uint8_t key[KEY_BYTES_MAX];

	memset(result, 0, sizeof *result);
	/* Workers read the stream from different places; the same one again in every round would be too kind to
	 * caches. */
	if (work->supply->stream_count > 0 && (work->position == 0 || work->position >= stream->count))
		work->position = stream->count / work->workers * work->index;
	key_make(key, work->shape->key_bytes, 0);
	value_make(work->value, work->shape->value_bytes, key);
	if (order->act == ACT_FRESH || order->act == ACT_LATENCY_FRESH)
		fresh(work, order, result);
	else if (order->act == ACT_VERIFY)
		verify(work, order, result);
	else if (order->act == ACT_ISOLATED)
		isolated(work, order, result);
	else
		burst(work, order, result);
	result->rate = result->ns ? (double)result->ops * 1e9 / (double)result->ns : 0;
}
