/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing and reading the ring of sampled accesses, see trace.h; and how thin its sample is.  All words are hints: whoever reads
 * believes a word by what is in it, and a mark that two wrote at once is told by its number.
 */
#include "shm/trace.h"

#define KEY_SHIFT 32u
#define NS_SHIFT 20u
#define CLASS_SHIFT 12u
#define TTL_SHIFT 4u
#define LAP_SHIFT 3u
#define KIND_MASK 7u
#define MOMENT_SHIFT 24u
#define THINNING_SHIFT 8u
#define THINNING_MASK 0xffffu
#define CLASS_BYTES_SHIFT 3u /* sizes are told from 8 bytes on */
#define CLASS_STEPS_SHIFT 3u
#define CLASS_MAX 255u
#define LATE_BATCHES 64u /* so many batches later a writer is not waited for any more */

#define DENSER_MAX 3u       /* the sample may have 2^3 times the keys that it begins with, if entries are larger than was said */
#define KEYS_LOW 80u        /* traced keys in the cache: fewer say little, however far they go back */
#define TURNOVERS_LOW 40u   /* of the cache while the ring goes round: six of one that is four times as large, and four to count */
#define TURNOVERS_MANY 128u
#define MISSES_PART 50u     /* where fewer than one access in 50 is a miss, a longer history tells nothing more */
#define SIZED_LEAST 16u     /* accesses of known size that make a mean */

static struct shm_trace_head *head_of(const struct region *r) { return region_at(r, r->geo.trace_off); }
static struct word *ring_of(const struct region *r) { return (struct word *)(head_of(r) + 1); }
static uint64_t batches_of(const struct region *r) { return r->geo.trace_words / TRACE_BATCH; }
static uint64_t part_batches(const struct region *r) { return batches_of(r) / TRACE_PARTS; }

/* ---- The sample -------------------------------------------------------------------------------------------------- */

/* What the densest sample there can be has: one key in 2^this. */
static unsigned base_shift(const struct region *r) { return r->geo.trace_shift > DENSER_MAX ? r->geo.trace_shift - DENSER_MAX : 0; }

unsigned trace_thinning(const struct region *r)
{
	uint64_t word = load_hint(&head_of(r)->thinning); /* one more than it; 0: as it begins */

	if (word == 0 || word > TRACE_THINNING_MAX + 1)
		return r->geo.trace_shift - base_shift(r);
	return (unsigned)word - 1;
}

uint64_t trace_mask_of_all(const struct region *r)
{
	return r->geo.trace_words == 0 ? UINT64_MAX : (UINT64_C(1) << base_shift(r)) - 1;
}

uint64_t trace_mask(const struct region *r, unsigned thinning)
{
	if (r->geo.trace_words == 0)
		return UINT64_MAX;
	return ((UINT64_C(1) << base_shift(r)) - 1) | ((UINT64_C(1) << thinning) - 1) << KEY_SHIFT;
}

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

uint64_t trace_one_in(const struct region *r) { return UINT64_C(1) << (base_shift(r) + trace_thinning(r)); }

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

/* Sums over the batches written, by which the sample is thinned. */
static void sum_batch(struct shm_trace_head *head, const struct trace_batch *batch)
{
	uint64_t misses = 0, sets = 0, sized = 0, bytes = 0;

	for (unsigned i = 1; i < TRACE_BATCH; i++) {
		uint64_t kind = batch->word[i] & KIND_MASK, class = batch->word[i] >> CLASS_SHIFT & CLASS_MAX;
		misses += kind == TRACE_MISS || kind == TRACE_FILL;
		sets += kind == TRACE_SET || kind == TRACE_FILL;
		sized += class != 0;
		bytes += class != 0 ? trace_class_bytes((unsigned)class) : 0;
	}
	(void)add_hint(&head->misses, misses);
	(void)add_hint(&head->sets, sets);
	(void)add_hint(&head->sized, sized);
	(void)add_hint(&head->sized_bytes, bytes);
}

/* Its number. */
static uint64_t write_batch(const struct region *r, struct trace_batch *batch, uint64_t moment)
{
	/* Relaxed: a reader believes a word by what is in it. */
	struct shm_trace_head *head = head_of(r);
	uint64_t number = add_hint(&head->batches, 1), batches = batches_of(r);
	struct word *to = ring_of(r) + number % batches * TRACE_BATCH;
	uint64_t lap = number / batches & 1;

	batch->word[0] = moment << MOMENT_SHIFT | (uint64_t)batch->thinning << THINNING_SHIFT | TRACE_HEADING;
	for (unsigned i = 0; i < TRACE_BATCH; i++)
		store_hint(&to[i], batch->word[i] | lap << LAP_SHIFT);
	sum_batch(head, batch);
	return number;
}

/* The set that follows a miss of the same key: one word for both. */
static bool note_fill(struct trace_batch *batch, uint64_t word)
{
	const uint64_t same = ~((UINT64_C(1) << NS_SHIFT) - 1);

	for (unsigned i = batch->count; i > 0; i--) {
		uint64_t before = batch->word[i];
		if ((before & same) != (word & same))
			continue;
		if ((before & KIND_MASK) != TRACE_MISS)
			return false;
		batch->word[i] = (word & ~(uint64_t)KIND_MASK) | TRACE_FILL;
		return true;
	}
	return false;
}

bool trace_note(const struct region *r, struct trace_batch *batch, const struct trace_note *note, uint64_t moment, bool *mark)
{
	if (r->geo.trace_words == 0) /* a hash of 0 passes the mask that none should */
		return false;
	uint64_t word = note->hash >> KEY_SHIFT << KEY_SHIFT | (uint64_t)note->ns << NS_SHIFT
			| (uint64_t)trace_size_class(note->bytes) << CLASS_SHIFT | (uint64_t)trace_size_class(note->ttl_ms) << TTL_SHIFT
			| (uint64_t)note->kind;

	if (note->kind == TRACE_SET && note_fill(batch, word))
		return false;
	batch->word[++batch->count] = word;
	if (batch->count < TRACE_ACCESSES)
		return false;
	batch->count = 0;
	uint64_t number = write_batch(r, batch, moment);
	batch->thinning = trace_thinning(r);
	*mark = number % part_batches(r) == 0;
	return true;
}

/* ---- Marks ------------------------------------------------------------------------------------------------------- */

static struct shm_trace_mark *mark_of(const struct region *r, uint64_t batch)
{
	return &head_of(r)->mark[batch / part_batches(r) % TRACE_MARKS];
}

struct part {
	uint64_t misses, sets, sized, sized_bytes; /* during it */
};

/* It may be that others wrote half of what is seen here: a foolish choice lasts for one part. */
static unsigned next_thinning(const struct region *r, unsigned now, const struct part *part)
{
	const struct shm_geometry *g = &r->geo;
	if (part->sized < SIZED_LEAST || part->sized_bytes < part->sized)
		return now;
	uint64_t entries = ((uint64_t)g->segments << g->segment_shift) / (part->sized_bytes / part->sized);
	uint64_t keys = entries >> (base_shift(r) + now);
	uint64_t inserted = TRACE_PARTS * (part->misses < part->sets ? part->misses : part->sets); /* in all of the ring */
	bool misses = part->misses * MISSES_PART >= part_batches(r) * TRACE_ACCESSES;

	if (inserted < TURNOVERS_LOW * keys && misses && keys >= 2 * KEYS_LOW && now < TRACE_THINNING_MAX)
		return now + 1;
	if (now > 0 && (keys < KEYS_LOW || inserted > TURNOVERS_MANY * keys))
		return now - 1;
	return now;
}

void trace_mark(const struct region *r, uint64_t hits, uint64_t misses)
{
	struct shm_trace_head *head = head_of(r);
	uint64_t now = load_hint(&head->batches), batch = now - now % part_batches(r);
	struct shm_trace_mark *m = mark_of(r, batch);
	const struct shm_trace_mark *last = mark_of(r, batch - part_batches(r));

	store_hint(&m->number, 0);
	store_hint(&m->hits, hits);
	store_hint(&m->misses, misses);
	store_hint(&m->sample_misses, load_hint(&head->misses));
	store_hint(&m->sets, load_hint(&head->sets));
	store_hint(&m->sized, load_hint(&head->sized));
	store_hint(&m->sized_bytes, load_hint(&head->sized_bytes));
	store_hint(&m->number, batch + 1);
	if (batch == 0 || load_hint(&last->number) != batch - part_batches(r) + 1)
		return;
	const struct part part = { load_hint(&m->sample_misses) - load_hint(&last->sample_misses), load_hint(&m->sets) - load_hint(&last->sets),
		load_hint(&m->sized) - load_hint(&last->sized), load_hint(&m->sized_bytes) - load_hint(&last->sized_bytes) };
	store_hint(&head->thinning, next_thinning(r, trace_thinning(r), &part) + 1);
}

bool trace_last_mark(const struct region *r, struct trace_mark *mark)
{
	uint64_t part = part_batches(r), parts = part == 0 ? 0 : load_hint(&head_of(r)->batches) / part;

	if (parts <= TRACE_COUNTED_PARTS)
		return false;
	uint64_t batch = (parts - TRACE_COUNTED_PARTS) * part;
	const struct shm_trace_mark *m = mark_of(r, batch);
	bool good = load_hint(&m->number) == batch + 1;
	*mark = (struct trace_mark){ .batch = batch, .hits = load_hint(&m->hits), .misses = load_hint(&m->misses) };
	return good && load_hint(&m->number) == batch + 1;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

uint64_t trace_written(const struct region *r) { return r->geo.trace_words == 0 ? 0 : load_hint(&head_of(r)->batches) * TRACE_ACCESSES; }

static bool is_of_lap(uint64_t word, uint64_t lap) { return (word & KIND_MASK) != TRACE_NONE && (word >> LAP_SHIFT & 1) == lap; }

/* The accesses of this lap in one batch; words of another lap are not yet written. */
static size_t read_batch(const struct region *r, uint64_t number, struct trace_access *out)
{
	uint64_t batches = batches_of(r), lap = number / batches & 1;
	const struct word *from = ring_of(r) + number % batches * TRACE_BATCH;
	uint64_t heading = load_hint(from), thinning = heading >> THINNING_SHIFT & THINNING_MASK;
	size_t n = 0;

	if (!is_of_lap(heading, lap) || (heading & KIND_MASK) != TRACE_HEADING || thinning > TRACE_THINNING_MAX)
		return 0;
	for (unsigned i = 1; i < TRACE_BATCH; i++) {
		uint64_t w = load_hint(&from[i]), kind = w & KIND_MASK, ttl = w >> TTL_SHIFT & CLASS_MAX;
		if (!is_of_lap(w, lap) || kind > TRACE_FILL)
			continue;
		out[n++] = (struct trace_access){ .key = w >> KEY_SHIFT << base_shift(r), .one_in = UINT64_C(1) << (base_shift(r) + thinning),
			.bytes = trace_class_bytes(w >> CLASS_SHIFT & CLASS_MAX), .ttl_ms = ttl != 0 ? trace_class_bytes((unsigned)ttl) : 0,
			.moment = heading >> MOMENT_SHIFT, .ns = w >> NS_SHIFT & 0xfff, .kind = (enum trace_kind)kind };
	}
	return n;
}

size_t trace_read(const struct region *r, uint64_t *cursor, struct trace_access *out, size_t capacity)
{
	uint64_t batches = batches_of(r), end = batches == 0 ? 0 : load_hint(&head_of(r)->batches);
	size_t n = 0;

	if (*cursor > end || end - *cursor > batches)
		*cursor = end > batches ? end - batches : 0;
	while (*cursor < end && capacity - n >= TRACE_ACCESSES) {
		size_t got = read_batch(r, *cursor, out + n);
		if (got < TRACE_ACCESSES && end - *cursor <= LATE_BATCHES)
			break; /* its writer is at it */
		n += got;
		++*cursor;
	}
	return n;
}
