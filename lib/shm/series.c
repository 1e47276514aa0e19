/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows, histograms and the sampling of durations, see series.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/series.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/chance.h"

/* Row 0 takes what finds no other.  Behind it rows for everybody, and the last eighth for what is called _other. */
static uint32_t shared_rows(const struct series_table *t) { return t->row_count / 8; }

static void place(struct series_table *t, unsigned char *base, uint32_t rows, uint32_t histograms)
{
	t->head = (struct shm_series_head *)base;
	t->rows = (struct shm_series *)(base + sizeof *t->head);
	t->owners = (struct word *)(t->rows + rows);
	t->histograms = (struct shm_histogram *)((unsigned char *)t->owners + geo_owners_bytes(histograms));
	t->row_count = rows;
	t->histogram_count = histograms;
}

void series_of_region(const struct region *r, struct series_table *t)
{
	*t = (struct series_table){ .seed = r->geo.hash_seed, .may_claim = !r->read_only };
	place(t, region_at(r, r->geo.series_off), r->geo.series_rows, r->geo.histograms);
}

enum larder_status series_private(struct series_table *t, uint32_t rows, uint32_t histograms)
{
	size_t bytes = geo_series_bytes(rows, histograms);
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		return LARDER_NO_MEMORY;
	*t = (struct series_table){ .may_claim = true, .mapped_bytes = bytes };
	place(t, base, rows, histograms);
	return LARDER_OK;
}

void series_unmap(struct series_table *t)
{
	if (t->mapped_bytes != 0)
		(void)munmap(t->head, t->mapped_bytes);
	*t = (struct series_table){ 0 };
}

/* ---- Labels ------------------------------------------------------------------------------------------------------ */

struct text {
	char bytes[SERIES_TEXT_BYTES];
	size_t length; /* above SERIES_TEXT_BYTES: too long */
};

/* The part and a NUL. */
static void append(struct text *t, const char *part, size_t bytes, char end)
{
	if (t->length <= SERIES_TEXT_BYTES && bytes < SERIES_TEXT_BYTES - t->length) {
		memcpy(t->bytes + t->length, part, bytes);
		t->bytes[t->length + bytes] = end;
		t->length += bytes + 1;
	} else {
		t->length = SERIES_TEXT_BYTES + 1;
	}
}
static void append_text(struct text *t, const char *part, char end) { append(t, part, strnlen(part, SERIES_TEXT_BYTES), end); }

static void make_text(struct text *t, const struct series_labels *l)
{
	t->length = 0;
	append_text(t, l->store, 0);
	append_text(t, l->namespace, 0);
	append_text(t, l->operation, 0);
	for (unsigned i = 0; i < l->more_count; i++) {
		append_text(t, l->more[i].name, '=');
		append_text(t, l->more[i].value, 0);
	}
}

static enum larder_status find_row(const struct series_table *t, uint32_t first, uint32_t count, const struct text *text, uint32_t *row)
{
	const struct label_table names = { .rows = (unsigned char *)(t->rows + first), .row_bytes = sizeof(struct shm_series), .count = count,
		.text_words = SERIES_TEXT_WORDS, .seed = t->seed, .may_claim = t->may_claim };
	enum larder_status status = label_find(&names, text->bytes, text->length - 1, row); /* but the last NUL */

	*row += first;
	return status;
}

/* Ever less told apart: without further labels, then without the namespace, then nothing but that it happened. */
static uint32_t find_other(const struct series_table *t, const struct series_labels *labels)
{
	static const struct series_label other = { SERIES_OTHER, SERIES_OTHER };
	const struct series_labels coarser[] = {
		{ labels->store, labels->namespace, labels->operation, &other, 1 },
		{ labels->store, SERIES_OTHER, labels->operation, NULL, 0 },
		{ SERIES_OTHER, SERIES_OTHER, labels->operation, NULL, 0 },
	};
	uint32_t kept = shared_rows(t), row = 0;

	(void)add_hint(&t->head->overflows, 1);
	for (unsigned i = labels->more_count != 0 ? 0 : 1; i < 3 && kept != 0; i++) {
		struct text text;
		make_text(&text, &coarser[i]);
		if (text.length <= SERIES_TEXT_BYTES && find_row(t, t->row_count - kept, kept, &text, &row) == LARDER_OK)
			return row;
	}
	return 0;
}

/* ---- Histograms -------------------------------------------------------------------------------------------------- */

/* Owners are never given back, so the words before the first free one cannot change: all who look for the row's
 * histogram pass the same ones, and claim the same word. */
static struct shm_histogram *find_histogram(const struct series_table *t, uint32_t row, bool may_claim)
{
	for (uint32_t i = 0; i < t->histogram_count; i++) { /* bounded by the table */
		uint64_t owner = load_acquire(&t->owners[i]);
		if (owner == 0 && may_claim) {
			cas_acq_rel(&t->owners[i], 0, row + UINT64_C(1));
			owner = load_acquire(&t->owners[i]);
		}
		if (owner == row + UINT64_C(1))
			return &t->histograms[i];
		if (owner == 0)
			return NULL;
	}
	return NULL;
}

enum larder_status series_find(const struct series_table *t, const struct series_labels *labels, bool timed, struct series *s)
{
	struct text text;
	uint32_t row = 0;

	*s = (struct series){ NULL, NULL };
	make_text(&text, labels);
	if (text.length > SERIES_TEXT_BYTES || labels->operation[0] == 0)
		return LARDER_INVALID;
	enum larder_status status = find_row(t, 1, t->row_count - 1 - shared_rows(t), &text, &row);
	if (status == LARDER_MISS)
		return LARDER_MISS;
	if (status != LARDER_OK)
		row = find_other(t, labels);
	s->row = &t->rows[row];
	if (timed)
		s->histogram = find_histogram(t, row, t->may_claim);
	if (timed && s->histogram == NULL && t->may_claim)
		(void)add_hint(&t->head->untimed, 1);
	return LARDER_OK;
}

/* ---- Sampling ---------------------------------------------------------------------------------------------------- */

_Thread_local struct timing timing_here;

static uint64_t rate_of(uint64_t word)
{
	if (word == TIMING_NEVER)
		return TIMING_NEVER;
	if (word == 0)
		return TIMING_DEFAULT;
	return word < TIMING_RATE_MAX ? word : TIMING_RATE_MAX; /* it is a stranger's */
}

void timing_set(const struct series_table *t, uint64_t rate) { store_hint(&t->head->timing, rate); }
uint64_t timing_get(const struct series_table *t) { return rate_of(load_hint(&t->head->timing)); }

/* Operations until the next one that is taken, when each is with probability 1 / rate. */
static uint64_t draw_skip(struct timing *here, uint64_t rate)
{
	if (rate == TIMING_NEVER)
		return UINT64_MAX;
	if (here->random == 0)
		here->random = (uint64_t)clock_precise_ns() ^ (uint64_t)getpid() << 40 ^ (uint64_t)(uintptr_t)here << 8;
	return chance_geometric(chance_next(&here->random), rate);
}

/* The skip is drawn anew when the rate has changed: a geometric one has no memory, so nothing is lost by that. */
struct timer timer_begin_slow(uint64_t word)
{
	struct timing *here = &timing_here;
	uint64_t rate = rate_of(word);

	if (here->word != word || here->left == 0) {
		here->word = word;
		here->left = draw_skip(here, rate);
	}
	if (--here->left != 0)
		return (struct timer){ 0, 0 };
	here->left = draw_skip(here, rate);
	return (struct timer){ .start_ns = (uint64_t)clock_precise_ns(), .weight = rate };
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

bool series_text(const struct series_table *t, uint32_t row, char text[SERIES_TEXT_BYTES + 1], size_t *bytes)
{
	static const char other[] = SERIES_OTHER "\0" SERIES_OTHER "\0" SERIES_OTHER;
	const struct label_table names = { .rows = (unsigned char *)t->rows, .row_bytes = sizeof(struct shm_series), .count = t->row_count,
		.text_words = SERIES_TEXT_WORDS };

	if (row >= t->row_count)
		return false;
	size_t length = row == 0 ? sizeof other - 1 : label_read(&names, row, text);
	if (row == 0)
		memcpy(text, other, length);
	text[length] = 0;
	*bytes = length + 1;
	return length != 0;
}

uint64_t series_sum(const struct series_table *t, uint32_t row, enum series_cell cell)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SERIES_STRIPES; i++)
		sum += load_hint(&t->rows[row].stripe[i].cell[cell]);
	return sum;
}

const struct shm_histogram *series_histogram(const struct series_table *t, uint32_t row) { return find_histogram(t, row, false); }
