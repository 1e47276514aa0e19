/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options, and the geometry that follows from them: how many segments of what size, how large an index, and where each
 * area begins.
 *
 * Offsets follow from counts alone (place_areas), so a stranger's geometry is checked by placing the areas anew and
 * comparing.  Once geometry_valid() has said yes, no index below its count leads outside the mapping.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/message.h"
#include "shm/geometry.h"

#define BYTES_DEFAULT (UINT64_C(64) << 20)
#define BYTES_MAX (UINT64_C(1) << 38)
#define ENTRY_BYTES_DEFAULT 160u
#define ENTRY_BYTES_MAX (UINT64_C(1) << 26)
#define MODE_DEFAULT 0600u

#define SEGMENTS_MIN 32u
#define SEGMENTS_MAX 4096u
#define SEGMENTS_USUAL 256u       /* of caches below LARGE_BYTES, and less than twice as many */
#define SEGMENTS_USUAL_LARGE 512u
#define LARGE_BYTES (UINT64_C(96) << 20)
#define SEGMENT_SHIFT_MIN 12u
#define SEGMENTS_ENOUGH 160u  /* from here on, segments that hold SEGMENT_ENTRIES are worth more than another division */
#define SEGMENT_ENTRIES 32u /* less waste at their ends */
#define SEGMENT_SHIFT_MAX 26u
#define PARTICIPANTS_MIN 4u
#define PARTICIPANTS_LEAST 16u /* by default */
#define PARTICIPANTS_FEW 64u
#define PARTICIPANTS_SOME 256u
#define PARTICIPANTS_MAX 1024u
#define NAMESPACES_MIN 16u
#define NAMESPACES_USUAL 256u
#define NAMESPACES_MAX 4096u
#define CLASSES_USUAL 7u
#define CLASSES_MAX 16u
_Static_assert((UINT64_C(1) << (SEGMENT_SHIFT_MAX - UNIT_SHIFT)) < (1u << LIFE_VALUE_BITS), "a cursor can stand at the end of a segment");
_Static_assert((uint64_t)SEGMENTS_MAX << (SEGMENT_SHIFT_MAX - UNIT_SHIFT) <= UINT64_C(1) << SLOT_PLACE_BITS, "a place has its bits");

/* Instruments: half a percent of the cache, less of a small one, and no more than anybody needs. */
#define INSTRUMENT_PART 200u
#define INSTRUMENT_PART_SMALL 256u
#define SMALL_BYTES (UINT64_C(16) << 20)
#define INSTRUMENT_BYTES_MAX (UINT64_C(8) << 20)
#define INSTRUMENT_LARGEST_PART 8u
#define BOARD_ROWS_MIN 4u
#define BOARD_ROWS_MAX 64u
#define TAG_WORDS_MIN 32u
#define TAG_WORDS_MAX (1u << 16)
#define WAIT_LINES_MIN 4u
#define WAIT_LINES_MAX 64u
#define HOT_SETS_MAX 64u
#define SERIES_ROWS_MAX 2048u
#define HISTOGRAMS_MAX 1024u
#define TRACE_WORDS_MIN 512u /* fewer say nothing */
#define TRACE_WORDS_MAX (1u << 18)
#define TRACE_STEP (TRACE_BATCH * TRACE_PARTS)
#define TRACE_SHIFT_MAX 24u
#define TRACE_KEYS 128u     /* but as many keys */
#define TRACE_ENTRIES 64u /* words of the trace for each key in the cache that is traced, to begin with (trace.c changes it) */

/* Head and optional fields of an entry of the usual kind: the head, and with it version, time of creation and expiry. */
#define ENTRY_OVERHEAD_BYTES 24u
#define ENTRY_OVERHEAD_PLAIN_BYTES 8u
#define GROUP_SLOTS (BUCKET_SLOTS * (GROUP_HOMES + GROUP_OVERFLOWS))
/* At this load one key in 5 000 finds its 21 slots full, in a cache that keeps changing 1 in 30; entries that are large can
 * afford an index in which hardly any does. */
#define LOAD_PERCENT 74u
#define LOAD_PERCENT_LARGE 66u
#define LOAD_LARGE_BYTES 512u
/* Where sizes are mixed, those that stay are smaller than the mean, and many: an index that is too small costs a third of
 * the cache, one that is too large for entries of 4 KiB costs a third of a percent. */
#define INDEX_ENTRY_USUAL 1024u
#define INDEX_ENTRY_MAX 4096u
#define GHOST_PERCENT 110u /* of the entries expected: a fifth more than the main pool has */

#define OPEN_FLAGS_ALL (LARDER_ATTACH_ONLY | LARDER_EXCLUSIVE | LARDER_INSPECT | LARDER_PREFAULT | LARDER_LOCK | LARDER_NO_DUMP \
		| LARDER_HUGE | LARDER_GUARD | LARDER_PRIVATE)
#define CREATE_FLAGS_ALL (LARDER_PLAIN | LARDER_CHECKSUM)
#define OPTIONS_SIZE_MAX 4096u

static uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }
static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t clamp(uint64_t n, uint64_t low, uint64_t high) { return n < low ? low : least(n, high); }

/* ---- Options ----------------------------------------------------------------------------------------------------- */

/* The caller's struct may be older or newer than ours: what it lacks is 0, what we do not know must be. */
static enum larder_status copy_options(struct larder_options *out, const struct larder_options *in)
{
	const unsigned char *bytes = (const unsigned char *)in;

	if (in->size < sizeof in->size || in->size > OPTIONS_SIZE_MAX) {
		message_set("options.size = %zu: must be sizeof(struct larder_options), %zu here; start from LARDER_OPTIONS_INIT", in->size,
				sizeof *out);
		return LARDER_INVALID;
	}
	for (size_t i = sizeof *out; i < in->size; i++) {
		if (bytes[i] == 0)
			continue;
		message_set("options: byte %zu is set, but this library knows only %zu; the program was built for a newer one", i, sizeof *out);
		return LARDER_INVALID;
	}
	memset(out, 0, sizeof *out);
	memcpy(out, in, least(in->size, sizeof *out));
	out->size = sizeof *out;
	return LARDER_OK;
}

static bool in_range(const char *name, uint64_t value, uint64_t low, uint64_t high)
{
	if (value >= low && value <= high)
		return true;
	message_set("options.%s = %llu: must be %llu .. %llu, or 0 for the default", name, (unsigned long long)value,
			(unsigned long long)low, (unsigned long long)high);
	return false;
}

static bool known_flags(const char *name, uint32_t value, uint32_t known)
{
	if ((value & ~known) == 0)
		return true;
	message_set("options.%s = %#x: the bits %#x are unknown to this library", name, value, value & ~known);
	return false;
}

static bool open_flags_agree(uint32_t flags)
{
	if ((flags & (LARDER_EXCLUSIVE | LARDER_PRIVATE)) == 0 || (flags & (LARDER_ATTACH_ONLY | LARDER_INSPECT)) == 0)
		return true;
	message_set("options.flags = %#x: LARDER_EXCLUSIVE and LARDER_PRIVATE create, LARDER_ATTACH_ONLY and LARDER_INSPECT never do; choose one",
			flags);
	return false;
}

static bool mode_usable(uint32_t mode)
{
	if ((mode & ~0777u) == 0 && (mode & 0600) == 0600)
		return true;
	message_set("options.mode = %#o: must be permission bits that include 0600", mode);
	return false;
}

/* Of small caches one for 128 KiB, of large ones one for 512. */
static uint32_t participants_usual(uint64_t bytes)
{
	uint64_t few = clamp(bytes >> 17, PARTICIPANTS_LEAST, PARTICIPANTS_FEW);
	uint64_t some = clamp(bytes >> 18, few, PARTICIPANTS_SOME);
	return (uint32_t)clamp(bytes >> 19, some, PARTICIPANTS_MAX);
}

static void fill_defaults(struct larder_options *o)
{
	o->bytes = o->bytes != 0 ? o->bytes : BYTES_DEFAULT;
	o->entry_bytes = o->entry_bytes != 0 ? o->entry_bytes : ENTRY_BYTES_DEFAULT;
	o->mode = o->mode != 0 ? o->mode : MODE_DEFAULT;
	/* Of a small cache both together take a percent at most. */
	if (o->namespaces == 0)
		for (o->namespaces = NAMESPACES_MIN; o->namespaces < NAMESPACES_USUAL && o->namespaces < o->bytes >> 17;)
			o->namespaces *= 2;
	if (o->participants == 0)
		o->participants = participants_usual(o->bytes);
}

enum larder_status options_read(struct larder_options *out, const struct larder_options *in)
{
	static const struct larder_options none = LARDER_OPTIONS_INIT;
	enum larder_status status = copy_options(out, in != NULL ? in : &none);

	if (status != LARDER_OK)
		return status;
	fill_defaults(out);
	if (out->flags & LARDER_INSPECT)
		out->flags |= LARDER_ATTACH_ONLY;
	bool good = known_flags("flags", out->flags, OPEN_FLAGS_ALL) && open_flags_agree(out->flags)
			&& known_flags("create_flags", out->create_flags, CREATE_FLAGS_ALL)
			&& in_range("bytes", out->bytes, LARDER_BYTES_MIN, BYTES_MAX)
			&& in_range("entry_bytes", out->entry_bytes, 1, ENTRY_BYTES_MAX) && mode_usable(out->mode)
			&& (out->segments == 0 || in_range("segments", out->segments, SEGMENTS_MIN, SEGMENTS_MAX))
			&& in_range("participants", out->participants, PARTICIPANTS_MIN, PARTICIPANTS_MAX)
			&& in_range("namespaces", out->namespaces, NAMESPACES_MIN, NAMESPACES_MAX)
			&& (out->instrument_bytes == 0
					|| in_range("instrument_bytes", out->instrument_bytes, 1, out->bytes / INSTRUMENT_LARGEST_PART));
	return good ? LARDER_OK : LARDER_INVALID;
}

/* ---- Placing ------------------------------------------------------------------------------------------------------ */

static uint64_t start_words(uint32_t segment_shift)
{
	uint64_t lines = (UINT64_C(1) << segment_shift) / LINE_BYTES;
	return (lines + STARTS_PER_WORD - 1) / STARTS_PER_WORD;
}

/* Offsets from counts.  Each area begins on a line; the arena, and what processes write most, on a page. */
static void place_areas(struct shm_geometry *g)
{
	g->participants_off = PAGE_ALIGN;
	g->namespaces_off = g->participants_off + g->participants * sizeof(struct shm_participant);
	g->board_off = g->namespaces_off + g->namespaces * sizeof(struct shm_namespace);
	g->tags_off = g->board_off + g->board_rows * sizeof(struct shm_board);
	g->waits_off = g->tags_off + round_up(g->tag_words * sizeof(struct word), LINE_BYTES);
	g->hot_off = g->waits_off + g->wait_lines * sizeof(struct shm_wait);
	g->series_off = g->hot_off + sizeof(struct shm_hot_head) + g->hot_sets * sizeof(struct shm_hot);
	g->trace_off = g->series_off + geo_series_bytes(g->series_rows, g->histograms);
	g->segwords_off = g->trace_off + sizeof(struct shm_trace_head) + g->trace_words * sizeof(struct word);
	g->descriptors_off = g->segwords_off + round_up(g->segments * sizeof(struct word), LINE_BYTES);
	g->starts_off = g->descriptors_off + g->segments * sizeof(struct shm_segment);
	g->ghosts_off = g->starts_off + round_up((uint64_t)g->segments * g->start_words * sizeof(struct word), LINE_BYTES);
	g->index_off = g->ghosts_off + round_up(g->ghost_words * sizeof(struct word), LINE_BYTES);
	g->arena_off = round_up(g->index_off + g->groups * sizeof(struct shm_group), PAGE_ALIGN);
}

/* ---- Instruments ---------------------------------------------------------------------------------------------------- */

static uint32_t power_below(uint64_t n)
{
	uint32_t power = 1;

	while (power <= n / 2)
		power *= 2;
	return power;
}

static uint32_t power_or_none(uint64_t n, uint32_t low, uint32_t high) { return n < low ? 0 : (uint32_t)clamp(power_below(n), low, high); }

/* Most of it for metrics and the trace; what programs coordinate by is there in the smallest cache, too. */
static void choose_instruments(struct shm_geometry *g, const struct larder_options *o)
{
	uint64_t part = o->bytes < SMALL_BYTES ? INSTRUMENT_PART_SMALL : INSTRUMENT_PART;
	uint64_t budget = o->instrument_bytes != 0 ? o->instrument_bytes : least(o->bytes / part, INSTRUMENT_BYTES_MAX);

	g->board_rows = (uint32_t)clamp(budget / 64 / sizeof(struct shm_board), BOARD_ROWS_MIN, BOARD_ROWS_MAX);
	g->tag_words = (uint32_t)clamp(power_below(budget / 20 / sizeof(struct word)), TAG_WORDS_MIN, TAG_WORDS_MAX);
	g->wait_lines = (uint32_t)clamp(power_below(budget / 64 / sizeof(struct shm_wait)), WAIT_LINES_MIN, WAIT_LINES_MAX);
	g->hot_sets = power_or_none(budget / 32 / sizeof(struct shm_hot), 1, HOT_SETS_MAX);
	uint64_t traced = budget / 5 * 2 / sizeof(struct word);
	g->trace_words = traced < TRACE_WORDS_MIN ? 0 : (uint32_t)least(traced / TRACE_STEP * TRACE_STEP, TRACE_WORDS_MAX);
	uint64_t used = g->board_rows * sizeof(struct shm_board) + g->tag_words * sizeof(struct word)
			+ g->wait_lines * sizeof(struct shm_wait) + g->hot_sets * sizeof(struct shm_hot) + g->trace_words * sizeof(struct word)
			+ 3 * LINE_BYTES + sizeof(struct shm_trace_head);
	uint64_t left = budget > used ? budget - used : 0;
	g->histograms = (uint32_t)least(left / 8 * 5 / (sizeof(struct shm_histogram) + sizeof(struct word)), HISTOGRAMS_MAX);
	left -= g->histograms * sizeof(struct shm_histogram) + geo_owners_bytes(g->histograms);
	g->series_rows = (uint32_t)clamp(left / sizeof(struct shm_series), 1, SERIES_ROWS_MAX);
}

/* So few keys that the ring goes back far enough to tell what a larger cache would do; of a small cache all. */
static void choose_trace_shift(struct shm_geometry *g, uint64_t entry_bytes)
{
	uint64_t entries = ((uint64_t)g->segments << g->segment_shift) / (entry_bytes + ENTRY_OVERHEAD_BYTES);

	while (g->trace_shift < TRACE_SHIFT_MAX && (entries >> g->trace_shift) * TRACE_ENTRIES > g->trace_words && entries >> g->trace_shift >= 2 * TRACE_KEYS)
		g->trace_shift++;
}

static bool power_between(uint32_t n, uint32_t low, uint32_t high) { return n >= low && n <= high && (n & (n - 1)) == 0; }

static bool instruments_valid(const struct shm_geometry *g)
{
	return g->board_rows >= BOARD_ROWS_MIN && g->board_rows <= BOARD_ROWS_MAX
			&& power_between(g->tag_words, TAG_WORDS_MIN, TAG_WORDS_MAX) && power_between(g->wait_lines, WAIT_LINES_MIN, WAIT_LINES_MAX)
			&& (g->hot_sets == 0 || power_between(g->hot_sets, 1, HOT_SETS_MAX))
			&& g->series_rows >= 1 && g->series_rows <= SERIES_ROWS_MAX && g->histograms <= HISTOGRAMS_MAX
			&& (g->trace_words == 0 || (g->trace_words >= TRACE_WORDS_MIN && g->trace_words <= TRACE_WORDS_MAX && g->trace_words % TRACE_STEP == 0))
			&& g->trace_shift <= TRACE_SHIFT_MAX;
}

/* ---- Segments ------------------------------------------------------------------------------------------------------- */

static uint64_t end_of(const struct shm_geometry *g)
{
	return g->arena_off + ((uint64_t)g->segments << g->segment_shift);
}

/* Bytes in a segment that an entry of the usual size takes. */
static uint64_t stored_bytes(const struct shm_geometry *g, uint64_t entry_bytes)
{
	return round_up(entry_bytes + (g->create_flags & LARDER_PLAIN ? ENTRY_OVERHEAD_PLAIN_BYTES : ENTRY_OVERHEAD_BYTES), UNIT_BYTES);
}

/* The size for which the index has room: of large entries, the geometric mean of theirs and the usual one. */
static uint64_t indexed_bytes(uint64_t stored)
{
	uint64_t size = INDEX_ENTRY_USUAL;

	if (stored <= INDEX_ENTRY_USUAL)
		return stored;
	while (size < INDEX_ENTRY_MAX && size * size < stored * INDEX_ENTRY_USUAL)
		size += INDEX_ENTRY_USUAL / 16;
	return size;
}

/* The counts that depend on the arena, for entries of entry_bytes. */
static void set_segments(struct shm_geometry *g, uint32_t segments, uint32_t segment_shift, uint64_t entry_bytes)
{
	uint64_t arena = (uint64_t)segments << segment_shift;
	uint64_t stored = stored_bytes(g, entry_bytes), entries = arena / indexed_bytes(stored);
	uint64_t load_percent = stored < LOAD_LARGE_BYTES ? LOAD_PERCENT : LOAD_PERCENT_LARGE;

	g->segments = segments;
	g->segment_shift = segment_shift;
	g->start_words = (uint32_t)start_words(segment_shift);
	g->groups = entries * 100 / (GROUP_SLOTS * load_percent) + 1;
	g->ghost_words = (entries * GHOST_PERCENT / 100 + GHOSTS_PER_WORD - 1) / GHOSTS_PER_WORD + 1;
	place_areas(g);
}

/* The largest number of segments of that size which fit, their metadata included. */
static uint32_t most_segments(struct shm_geometry *g, uint32_t segment_shift, uint64_t entry_bytes)
{
	uint32_t fits = 0, too_many = 2 * SEGMENTS_MAX;

	while (too_many - fits > 1) {
		uint32_t middle = fits + (too_many - fits) / 2;

		set_segments(g, middle, segment_shift, entry_bytes);
		if (end_of(g) <= g->bytes)
			fits = middle;
		else
			too_many = middle;
	}
	return fits;
}

static bool may_halve(uint32_t count, uint32_t segment_shift, uint64_t entry_bytes)
{
	return count < SEGMENTS_ENOUGH || (entry_bytes + ENTRY_OVERHEAD_BYTES) * SEGMENT_ENTRIES <= UINT64_C(1) << (segment_shift - 1);
}

/* The largest segments of which there are enough.  More than SEGMENTS_MAX would waste the rest of the file: then the next
 * larger size, though there are fewer than asked for. */
static bool choose_segments(struct shm_geometry *g, const struct larder_options *o)
{
	uint32_t usual = g->bytes < LARGE_BYTES ? SEGMENTS_USUAL : SEGMENTS_USUAL_LARGE;
	uint32_t wanted = o->segments != 0 ? o->segments : usual;
	uint32_t least_good = o->segments != 0 ? o->segments : SEGMENTS_MIN;
	uint32_t shift = SEGMENT_SHIFT_MAX;
	uint32_t count = most_segments(g, shift, o->entry_bytes);

	while (count < wanted && shift > SEGMENT_SHIFT_MIN && (o->segments != 0 || may_halve(count, shift, o->entry_bytes)))
		count = most_segments(g, --shift, o->entry_bytes);
	if (count < least_good)
		return false;
	if (count > SEGMENTS_MAX && shift < SEGMENT_SHIFT_MAX)
		count = most_segments(g, ++shift, o->entry_bytes);
	count = (uint32_t)least(count, SEGMENTS_MAX);
	if (o->segments == 0 && shift < SEGMENT_SHIFT_MAX)
		count = (uint32_t)least(count, 2 * usual);
	set_segments(g, count, shift, o->entry_bytes);
	return true;
}

static uint64_t cells_allowed(uint32_t segments) { return least(segments / 8, CELLS_MAX); }

/* One active segment for each pool, class and stripe, and these at most an eighth of all: stripes give way first. */
static void choose_cells(struct shm_geometry *g)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	uint64_t allowed = cells_allowed(g->segments);

	g->classes = (uint32_t)clamp(allowed / POOLS, 1, CLASSES_USUAL);
	g->stripes = (uint32_t)clamp(allowed / (POOLS * g->classes), 1, cpus > 0 ? (uint64_t)cpus : 1);
}

static uint32_t power_of_two(uint32_t n)
{
	uint32_t power = 1;

	while (power < n)
		power *= 2;
	return power;
}

enum larder_status geometry_plan(struct shm_geometry *geo, const struct larder_options *options)
{
	struct larder_options o;
	enum larder_status status = options_read(&o, options);

	memset(geo, 0, sizeof *geo);
	if (status != LARDER_OK)
		return status;
	geo->bytes = o.bytes / PAGE_ALIGN * PAGE_ALIGN;
	geo->participants = o.participants;
	geo->namespaces = power_of_two(o.namespaces);
	geo->create_flags = o.create_flags;
	geo->mode = o.mode;
	geo->value_max_bytes = geo->bytes / 16;
	choose_instruments(geo, &o);
	if (!choose_segments(geo, &o)) {
		message_set("options.bytes = %llu: too few for %u segments of %u bytes or more with %u participants, %u namespaces and an index "
				"for entries of %llu bytes; ask for more bytes, or less of the others", (unsigned long long)o.bytes,
				o.segments != 0 ? o.segments : SEGMENTS_MIN, 1u << SEGMENT_SHIFT_MIN, o.participants, geo->namespaces,
				(unsigned long long)o.entry_bytes);
		return LARDER_INVALID;
	}
	choose_cells(geo);
	choose_trace_shift(geo, o.entry_bytes);
	geo->reserve = (uint32_t)clamp(geo->segments / 256, SURVIVORS_RESERVE + 1, SEGMENTS_MAX);
	return LARDER_OK;
}

/* ---- Checking ------------------------------------------------------------------------------------------------------- */

static bool between(uint64_t value, uint64_t low, uint64_t high) { return value >= low && value <= high; }

/* Bounds so narrow that nothing computed from these counts can overflow. */
static bool counts_valid(const struct shm_geometry *g)
{
	return between(g->bytes, LARDER_BYTES_MIN, BYTES_MAX) && g->bytes % PAGE_ALIGN == 0
			&& between(g->segment_shift, SEGMENT_SHIFT_MIN, SEGMENT_SHIFT_MAX) && between(g->segments, SEGMENTS_MIN, SEGMENTS_MAX)
			&& g->start_words == start_words(g->segment_shift)
			&& between(g->participants, PARTICIPANTS_MIN, PARTICIPANTS_MAX)
			&& between(g->namespaces, NAMESPACES_MIN, NAMESPACES_MAX) && (g->namespaces & (g->namespaces - 1)) == 0
			&& between(g->groups, 1, g->bytes / sizeof(struct shm_group))
			&& between(g->ghost_words, 1, g->bytes / sizeof(struct word));
}

static bool cells_valid(const struct shm_geometry *g)
{
	return between(g->classes, 1, CLASSES_MAX) && between(g->stripes, 1, CELLS_MAX)
			&& (uint64_t)g->classes * g->stripes * POOLS <= cells_allowed(g->segments);
}

static bool areas_valid(const struct shm_geometry *g)
{
	struct shm_geometry anew = *g;

	place_areas(&anew);
	return memcmp(&anew, g, sizeof anew) == 0 && end_of(g) <= g->bytes;
}

bool geometry_valid(const struct shm_geometry *geo, uint64_t file_bytes)
{
	return geo->bytes == file_bytes && counts_valid(geo) && cells_valid(geo) && instruments_valid(geo) && areas_valid(geo)
			&& between(geo->reserve, 1, geo->segments / 4) && between(geo->value_max_bytes, 1, geo->bytes / 16)
			&& (geo->create_flags & ~(uint32_t)CREATE_FLAGS_ALL) == 0 && (geo->mode & ~0777u) == 0
			&& geo->epoch_ms <= INT64_MAX / 2 && geo->created_wall_ms <= INT64_MAX / 2 && geo->created_wall_ms >= 0;
}
