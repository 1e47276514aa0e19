/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing and reading the ring of sampled accesses, see trace.h. */
#include "shm/trace.h"

#define KEY_SHIFT 24u
#define NS_SHIFT 12u
#define CLASS_SHIFT 4u
#define LAP_SHIFT 3u
#define KIND_MASK 7u
#define CLASS_BYTES_SHIFT 3u /* sizes are told from 8 bytes on */
#define CLASS_STEPS_SHIFT 3u
#define CLASS_MAX 255u
#define LATE_BATCHES 64u /* so many batches later a writer is not waited for any more */

static struct shm_trace_head *head_of(const struct region *r) { return region_at(r, r->geo.trace_off); }
static struct word *ring_of(const struct region *r) { return (struct word *)(head_of(r) + 1); }
static uint64_t batches_of(const struct region *r) { return r->geo.trace_words / TRACE_BATCH; }

unsigned trace_size_class(uint64_t bytes)
{
	uint64_t units = bytes >> CLASS_BYTES_SHIFT;

	if (units < 1u << CLASS_STEPS_SHIFT)
		return (unsigned)units;
	unsigned octave = 63u - (unsigned)__builtin_clzll(units) - CLASS_STEPS_SHIFT;
	unsigned class = (octave + 1) << CLASS_STEPS_SHIFT | (unsigned)(units >> octave & ((1u << CLASS_STEPS_SHIFT) - 1));
	return class < CLASS_MAX ? class : CLASS_MAX;
}

uint64_t trace_class_bytes(unsigned class)
{
	uint64_t step = class & ((1u << CLASS_STEPS_SHIFT) - 1);

	if (class < 1u << CLASS_STEPS_SHIFT)
		return (step << CLASS_BYTES_SHIFT) + 4;
	unsigned octave = (class >> CLASS_STEPS_SHIFT) - 1;
	uint64_t from = ((UINT64_C(1) << CLASS_STEPS_SHIFT) + step) << octave;
	return (from << CLASS_BYTES_SHIFT) + (UINT64_C(1) << octave << CLASS_BYTES_SHIFT) / 2;
}

uint64_t trace_written(const struct region *r) { return r->geo.trace_words == 0 ? 0 : load_hint(&head_of(r)->batches) * TRACE_BATCH; }

static void write_batch(const struct region *r, const struct trace_batch *batch)
{
	/* Relaxed: a reader believes a word by what is in it. */
	uint64_t number = add_hint(&head_of(r)->batches, 1), batches = batches_of(r);
	struct word *to = ring_of(r) + (number & (batches - 1)) * TRACE_BATCH;
	uint64_t lap = number / batches & 1;

	for (unsigned i = 0; i < TRACE_BATCH; i++)
		store_hint(&to[i], batch->word[i] | lap << LAP_SHIFT);
}

void trace_note(const struct region *r, struct trace_batch *batch, uint64_t hash, uint32_t ns, enum trace_kind kind, uint64_t bytes)
{
	batch->word[batch->count++] = hash >> KEY_SHIFT << KEY_SHIFT | (uint64_t)ns << NS_SHIFT | (uint64_t)trace_size_class(bytes) << CLASS_SHIFT
			| (uint64_t)kind;
	if (batch->count < TRACE_BATCH)
		return;
	batch->count = 0;
	write_batch(r, batch);
}

/* Words of this lap in one batch; those of another lap are not yet written. */
static size_t read_batch(const struct region *r, uint64_t number, struct trace_access *out)
{
	uint64_t batches = batches_of(r), lap = number / batches & 1;
	const struct word *from = ring_of(r) + (number & (batches - 1)) * TRACE_BATCH;
	size_t n = 0;

	for (unsigned i = 0; i < TRACE_BATCH; i++) {
		uint64_t w = load_hint(&from[i]), kind = w & KIND_MASK;
		if ((w >> LAP_SHIFT & 1) != lap || kind == TRACE_NONE || kind > TRACE_DELETE)
			continue;
		out[n++] = (struct trace_access){ .key = w >> KEY_SHIFT, .ns = w >> NS_SHIFT & 0xfff,
			.bytes = trace_class_bytes(w >> CLASS_SHIFT & CLASS_MAX), .kind = (enum trace_kind)kind };
	}
	return n;
}

size_t trace_read(const struct region *r, uint64_t *cursor, struct trace_access *out, size_t capacity)
{
	uint64_t batches = batches_of(r), end = batches == 0 ? 0 : load_hint(&head_of(r)->batches);
	size_t n = 0;

	if (*cursor > end || end - *cursor > batches)
		*cursor = end > batches ? end - batches : 0;
	while (*cursor < end && capacity - n >= TRACE_BATCH) {
		size_t got = read_batch(r, *cursor, out + n);
		if (got < TRACE_BATCH && end - *cursor <= LATE_BATCHES)
			break; /* its writer is at it */
		n += got;
		++*cursor;
	}
	return n;
}
