/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does each guarantee cost a get?  A get of a cache's layout in this program's own memory, first without any check, then
 * with one more necessary property at each step, up to all that larder_get() has; and what makes steps of the cost.
 *
 * The second table fills a middle step up with instructions that do nothing but occupy: no-ops (the reorder buffer), moves to an
 * integer register (its physical registers), moves to a vector register, stores.  Where the curve jumps, one get less fits into
 * the processor beside the one that waits.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keys.h"
#include "memory.h"
#include "report.h"

#ifdef __x86_64__
#include <emmintrin.h>

#define SLOTS 7u
#define LOAD 0.65
#define KEY_OFFSET 24u
#define SEGMENT_SHIFT 16u /* places of a segment, as a power of two */
#define ROUNDS_MAX 1000u

struct bucket { uint64_t slot[SLOTS]; uint8_t frequency[8]; };

struct model {
	struct bucket *buckets;
	uint64_t bucket_count;
	uint8_t *arena;
	uint64_t arena_bytes, places;
	uint64_t *segments;   /* a word of each */
	uint64_t hazard[8];
	uint64_t generation[8], state[8], hits[8];
	uint64_t ready, handle;
	uint64_t flip[2];
	uint64_t head;        /* of a record as they all are, the value's length left out */
	unsigned key_bytes, value_bytes;
};

enum step {
	STEP_TAG = 1,         /* the slot whose tag fits, not any */
	STEP_HEAD = 2,        /* a committed record of the right kind and length of key */
	STEP_KEY = 4,         /* the whole key */
	STEP_NAME = 8,        /* its place is named, the slot looked at again */
	STEP_FENCE = 16,      /* so that others see it in time */
	STEP_SEGMENT = 32,    /* of the life that the slot was made in */
	STEP_GENERATION = 64, /* not flushed, the cache not destroyed */
	STEP_LENGTH = 128,    /* bounds, any length of value, told to the caller */
	STEP_COUNT = 256,     /* the hit counted, the use noted */
	STEP_CALL = 512,      /* signal handlers, closed handles, arguments that are wrong */
};

static inline uint64_t word(const void *at) { uint64_t v; memcpy(&v, at, sizeof v); return v; }

static inline __attribute__((always_inline)) uint64_t hash_of(const struct model *m, const uint8_t *key)
{
	__extension__ unsigned __int128 product = (unsigned __int128)(word(key) ^ m->flip[0]) * (word(key + 8) ^ m->flip[1]);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline __attribute__((always_inline)) unsigned tags_that_fit(const struct bucket *b, uint64_t hash)
{
	const __m128 *line = (const __m128 *)(const void *)b;
	__m128i tag = _mm_shufflelo_epi16(_mm_cvtsi64_si128((long long)hash), 0);
	__m128i low = _mm_castps_si128(_mm_shuffle_ps(line[0], line[1], 0xdd));
	__m128i high = _mm_castps_si128(_mm_shuffle_ps(line[2], line[3], 0xdd));
	__m128i fit;

	tag = _mm_unpacklo_epi64(tag, tag);
	fit = _mm_packs_epi32(_mm_cmpeq_epi16(low, tag), _mm_cmpeq_epi16(high, tag));
	return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(fit, fit)) & ((1u << SLOTS) - 1);
}

static inline __attribute__((always_inline)) int get(struct model *m, const unsigned steps, const uint8_t *key, uint8_t *value, size_t capacity,
		size_t *length)
{
	if (steps & STEP_CALL) {
		if (!key || !value || __atomic_load_n(&m->handle, __ATOMIC_RELAXED) != 77)
			return -1;
		if (__atomic_load_n(&m->ready, __ATOMIC_RELAXED) != 77)
			return -1;
	}
	if (steps & STEP_GENERATION && __atomic_load_n(&m->state[0], __ATOMIC_ACQUIRE) != 0)
		return -1;
	uint64_t hash = hash_of(m, key);
	struct bucket *b = &m->buckets[spread(hash, m->bucket_count)];
	unsigned fit = steps & STEP_TAG ? tags_that_fit(b, hash) : 1u << (hash >> 20 & 3);
	if (fit == 0)
		return -1;
	unsigned i = (unsigned)__builtin_ctz(fit);
	uint64_t slot = __atomic_load_n(&b->slot[i], __ATOMIC_ACQUIRE), place = slot << 16 >> 28;
	const uint8_t *record = m->arena + place * 8;
	if (steps & STEP_LENGTH && place >= m->places)
		return -1;
	if (steps & STEP_CALL)
		__atomic_store_n(&m->ready, 0, __ATOMIC_RELAXED);
	if (steps & STEP_FENCE)
		(void)__atomic_exchange_n(&m->hazard[0], place + 1, __ATOMIC_SEQ_CST);
	else if (steps & STEP_NAME)
		__atomic_store_n(&m->hazard[0], place + 1, __ATOMIC_RELEASE);
	bool good = !(steps & STEP_NAME) || __atomic_load_n(&b->slot[i], __ATOMIC_SEQ_CST) == slot;
	if (good && steps & STEP_SEGMENT)
		good = ((__atomic_load_n(&m->segments[place >> SEGMENT_SHIFT], __ATOMIC_ACQUIRE) ^ slot) & 0xfff) == 0;
	uint64_t head = steps & STEP_HEAD ? __atomic_load_n((const uint64_t *)(const void *)record, __ATOMIC_ACQUIRE) ^ m->head : 0;
	if (good && steps & STEP_HEAD)
		good = (head & ~(UINT64_C(0x3ffffff) << 8)) == 0;
	if (good && steps & STEP_KEY)
		good = ((word(record + KEY_OFFSET) ^ word(key)) | (word(record + KEY_OFFSET + 8) ^ word(key + 8))) == 0;
	if (good && steps & STEP_GENERATION)
		good = __atomic_load_n(&m->generation[0], __ATOMIC_ACQUIRE) == 0;
	uint64_t bytes = steps & STEP_LENGTH ? head >> 8 : 64;
	if (good && bytes <= capacity) {
		/* The store's address must not wait for the length: a branch tells it. */
		if (bytes == 64)
			memcpy(value, record + KEY_OFFSET + 16, 64);
		else
			memcpy(value, record + KEY_OFFSET + 16, bytes);
		*length = bytes;
	}
	if (steps & STEP_COUNT) {
		if (__atomic_load_n(&b->frequency[i], __ATOMIC_RELAXED) < 3)
			__atomic_store_n(&b->frequency[i], 3, __ATOMIC_RELAXED);
		__atomic_store_n(&m->hits[0], __atomic_load_n(&m->hits[0], __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
	}
	if (steps & STEP_NAME)
		__atomic_store_n(&m->hazard[0], 0, __ATOMIC_RELEASE);
	if (steps & STEP_CALL)
		__atomic_store_n(&m->ready, 77, __ATOMIC_RELAXED);
	return good ? (int)bytes : -1;
}

typedef int get_function(struct model *, const uint8_t *, uint8_t *);

#define GET(name, steps) \
	static __attribute__((noinline)) int name(struct model *m, const uint8_t *key, uint8_t *value) \
	{ size_t length; return get(m, (steps), key, value, 64, &length); }
#define UP_TO_KEY (STEP_TAG | STEP_HEAD | STEP_KEY)
#define UP_TO_FENCE (UP_TO_KEY | STEP_NAME | STEP_FENCE)
#define UP_TO_COUNT (UP_TO_FENCE | STEP_SEGMENT | STEP_GENERATION | STEP_LENGTH | STEP_COUNT)
GET(get_any, 0)
GET(get_tag, STEP_TAG)
GET(get_head, STEP_TAG | STEP_HEAD)
GET(get_key, UP_TO_KEY)
GET(get_name, UP_TO_KEY | STEP_NAME)
GET(get_fence, UP_TO_FENCE)
GET(get_segment, UP_TO_FENCE | STEP_SEGMENT)
GET(get_generation, UP_TO_FENCE | STEP_SEGMENT | STEP_GENERATION)
GET(get_length, UP_TO_FENCE | STEP_SEGMENT | STEP_GENERATION | STEP_LENGTH)
GET(get_count, UP_TO_COUNT)
GET(get_call, UP_TO_COUNT | STEP_CALL)

#define PADDED(name, count, instruction) \
	static __attribute__((noinline)) int name(struct model *m, const uint8_t *key, uint8_t *value) \
	{ \
		size_t length; \
		__asm__ volatile(".rept " #count "\n" instruction "\n.endr" ::: "eax", "xmm7", "memory"); \
		return get(m, UP_TO_FENCE, key, value, 64, &length); \
	}
#define PADDED_BY(name, instruction) \
	PADDED(name##_8, 8, instruction) PADDED(name##_16, 16, instruction) PADDED(name##_32, 32, instruction) \
	PADDED(name##_64, 64, instruction) PADDED(name##_96, 96, instruction)
PADDED_BY(pad_nop, "nop")
PADDED_BY(pad_integer, "movl $1, %%eax")
PADDED_BY(pad_vector, "paddq %%xmm7, %%xmm7")
PADDED_BY(pad_load, "movl -8(%%rsp), %%eax")

struct variant {
	const char *name;
	get_function *get;
};
static const struct variant chain[] = {
	{ "hash, two dependent loads, copy", get_any },
	{ "+ the slot whose tag fits", get_tag },
	{ "+ a committed record of this kind", get_head },
	{ "+ the whole key", get_key },
	{ "+ its place named, the slot looked at again", get_name },
	{ "+ a fence between the two", get_fence },
	{ "+ of this life of its segment", get_segment },
	{ "+ not flushed, the cache not destroyed", get_generation },
	{ "+ bounds, any length of value", get_length },
	{ "+ hit and use counted", get_count },
	{ "+ signal handlers, closed handles, arguments", get_call },
};
#define OF(name, what) { what ", 8", name##_8 }, { what ", 16", name##_16 }, { what ", 32", name##_32 }, \
		{ what ", 64", name##_64 }, { what ", 96", name##_96 }
static const struct variant padded[] = {
	{ "as it is", get_fence },
	OF(pad_nop, "no-ops"), OF(pad_integer, "integer results"), OF(pad_vector, "vector results"), OF(pad_load, "loads of a line at hand"),
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static void model_put(struct model *m, const uint8_t *key, uint64_t number)
{
	uint64_t hash = hash_of(m, key), place = number * (m->arena_bytes / 8);
	struct bucket *b = &m->buckets[spread(hash, m->bucket_count)];
	uint8_t *record = m->arena + place * 8;
	uint64_t head = m->head | (uint64_t)m->value_bytes << 8;

	memcpy(record, &head, sizeof head);
	memcpy(record + KEY_OFFSET, key, m->key_bytes);
	value_make(record + KEY_OFFSET + m->key_bytes, m->value_bytes, key);
	for (unsigned i = 0; i < SLOTS; i++)
		if (b->slot[i] == 0) { /* a bucket that is full leaves the key out: one in a hundred, a miss in every step alike */
			b->slot[i] = hash << 48 | place << 12;
			return;
		}
}

static bool model_make(struct model *m, const struct bench_options *options)
{
	uint8_t key[KEY_BYTES_MAX];
	uint64_t record = (KEY_OFFSET + options->key_bytes + options->value_bytes + 7) & ~UINT64_C(7);

	*m = (struct model){ .key_bytes = options->key_bytes, .value_bytes = options->value_bytes, .arena_bytes = record,
		.flip = { options->seed * UINT64_C(0x9e3779b97f4a7c15) + 1, ~options->seed * UINT64_C(0xbf58476d1ce4e5b9) },
		.head = UINT64_C(2) << 46 | (uint64_t)(options->key_bytes - 1) << 34 | 2, .ready = 77, .handle = 77 };
	m->bucket_count = (uint64_t)((double)options->keys / SLOTS / LOAD) + 1;
	m->places = options->keys * (record / 8);
	m->buckets = memory_shared(m->bucket_count * sizeof *m->buckets, options->huge);
	m->arena = memory_shared(options->keys * record, options->huge);
	m->segments = memory_shared(((m->places >> SEGMENT_SHIFT) + 1) * sizeof *m->segments, false);
	if (!m->buckets || !m->arena || !m->segments)
		return false;
	for (uint64_t n = 0; n < options->keys; n++) {
		key_make(key, options->key_bytes, n);
		model_put(m, key, n);
	}
	return true;
}

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Nanoseconds of one get, in a burst of `count` from where the last one ended; the first eighth is not timed. */
static double burst(struct model *m, const struct variant *variant, const struct key_stream *stream, size_t *at, size_t count, uint64_t *found)
{
	uint8_t value[64];
	uint64_t begin = 0, sum = 0;

	if (*at + count > stream->count)
		*at = 0;
	for (size_t i = 0; i < count; i++) {
		if (i == count / 8)
			begin = cpu_ns();
		*found += variant->get(m, stream->keys + (*at + i) * stream->key_bytes, value) >= 0;
		sum += word(value);
	}
	*at += count;
	__asm__ volatile("" : : "r"(sum)); /* is wanted */
	return (double)(cpu_ns() - begin) / (double)(count - count / 8);
}

static void measure(struct model *m, const struct bench_options *options, const struct key_stream *stream, const struct variant *variants,
		unsigned count, struct report *report)
{
	double *ns = calloc((size_t)count * options->rounds, sizeof *ns), ratio[ROUNDS_MAX];
	size_t at = 0, gets = (size_t)options->burst_ms * 8000;
	uint64_t found = 0;

	for (unsigned r = 0; ns && r < options->rounds && !bench_interrupted(); r++) {
		bench_progress("guarantees: round %u of %u", r + 1, options->rounds);
		for (unsigned i = 0; i < count; i++)
			ns[i * options->rounds + r] = burst(m, &variants[i], stream, &at, gets < stream->count ? gets : stream->count, &found);
	}
	bench_progress_end();
	for (unsigned i = 0; ns && i < count && !bench_interrupted(); i++) {
		for (unsigned r = 0; r < options->rounds; r++)
			ratio[r] = ns[i * options->rounds + r] / ns[r];
		report_row(report);
		report_text(report, "get", "%s", variants[i].name);
		report_number(report, "x first", bench_median(ratio, options->rounds), 2);
		report_number(report, "cpu ns", bench_median(ns + i * options->rounds, options->rounds), 1);
	}
	free(ns);
}

int guarantee_run(const struct bench_options *options, struct report *report)
{
	struct key_stream stream = { 0 };
	struct model m;
	int result = -1;

	if (options->key_bytes != 16 || options->value_bytes != 64) {
		bench_complain("guarantees: made for keys of 16 bytes and values of 64 only");
		return -1;
	}
	if (model_make(&m, options) && stream_make(&stream, 2000000, options->keys, 0, options->key_bytes, 0, options->seed) == 0) {
		report_section(report, "guarantees", "what each guarantee costs a get; uniform, %lu keys of 16 B, values of 64 B",
				(unsigned long)options->keys);
		measure(&m, options, &stream, chain, COUNT(chain), report);
		report_section(report, "padding", "the get with a fence, filled up with instructions that only occupy");
		measure(&m, options, &stream, padded, COUNT(padded), report);
		result = bench_interrupted() ? -1 : 0;
	}
	stream_free(&stream);
	memory_free(m.buckets, m.bucket_count * sizeof *m.buckets);
	memory_free(m.arena, options->keys * m.arena_bytes);
	memory_free(m.segments, ((m.places >> SEGMENT_SHIFT) + 1) * sizeof *m.segments);
	return result;
}

#else
int guarantee_run(const struct bench_options *options, struct report *report)
{
	(void)options, (void)report;
	bench_complain("guarantees: for x86-64 only");
	return 0;
}
#endif
