/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options and the geometry that follows from them.  What is claimed about a valid geometry is checked by arithmetic of
 * this file's own (areas_lie_within), not by that of geometry.c.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/message.h"
#include "shm/region.h"

#define MIB (UINT64_C(1) << 20)

struct area {
	uint64_t off, bytes;
};

/* Every area behind the one before it, on a line, and the last within the file; no sum may overflow. */
static bool areas_lie_within(const struct shm_geometry *g)
{
	const struct area areas[] = {
		{ 0, sizeof(struct shm_super) },
		{ g->participants_off, (uint64_t)g->participants * sizeof(struct shm_participant) },
		{ g->namespaces_off, (uint64_t)g->namespaces * sizeof(struct shm_namespace) },
		{ g->board_off, (uint64_t)g->board_rows * 256 },
		{ g->tags_off, (uint64_t)g->tag_words * 8 },
		{ g->waits_off, (uint64_t)g->wait_lines * 64 },
		{ g->hot_off, 64 + (uint64_t)g->hot_sets * 640 },
		{ g->series_off, 64 + (uint64_t)g->series_rows * 1024 + ((uint64_t)g->histograms * 8 + 63) / 64 * 64 + (uint64_t)g->histograms * 4096 },
		{ g->trace_off, sizeof(struct shm_trace_head) + (uint64_t)g->trace_words * 8 },
		{ g->segwords_off, (uint64_t)g->segments * 8 },
		{ g->descriptors_off, (uint64_t)g->segments * sizeof(struct shm_segment) },
		{ g->starts_off, (uint64_t)g->segments * g->start_words * 8 },
		{ g->ghosts_off, g->ghost_words * 8 },
		{ g->index_off, g->groups * sizeof(struct shm_group) },
		{ g->arena_off, (uint64_t)g->segments << (g->segment_shift & 63) },
	};
	uint64_t end = 0;

	if (g->ghost_words > g->bytes || g->groups > g->bytes)
		return false;
	for (size_t i = 0; i < sizeof areas / sizeof *areas; i++) {
		if (areas[i].off < end || areas[i].off % LINE_BYTES != 0 || areas[i].off > g->bytes || areas[i].bytes > g->bytes - areas[i].off)
			return false;
		end = areas[i].off + areas[i].bytes;
	}
	return g->arena_off % PAGE_ALIGN == 0 && (uint64_t)g->start_words * STARTS_PER_WORD * LINE_UNITS >= geo_units(g);
}

static struct shm_geometry planned(struct larder_options o)
{
	struct shm_geometry g;

	cr_assert_eq(geometry_plan(&g, &o), LARDER_OK, "%s", larder_message());
	return g;
}

Test(geometry, every_plan_is_valid_and_wastes_less_than_a_segment)
{
	static const uint64_t entry_bytes[] = { 1, 40, 160, 1000, 70000, 1 << 26 };
	unsigned plans = 0;

	for (uint64_t bytes = 3 * MIB / 2; bytes <= UINT64_C(1) << 38; bytes = bytes * 7 / 5) {
		for (size_t e = 0; e < sizeof entry_bytes / sizeof *entry_bytes; e++) {
			struct larder_options o = LARDER_OPTIONS_INIT;
			o.bytes = bytes;
			o.entry_bytes = entry_bytes[e];
			struct shm_geometry g = planned(o), more;

			cr_assert(geometry_valid(&g, bytes / 4096 * 4096), "bytes %lu, entries of %lu", bytes, o.entry_bytes);
			cr_assert(areas_lie_within(&g), "bytes %lu, entries of %lu", bytes, o.entry_bytes);
			/* One segment more takes no more metadata than this. */
			more = g;
			uint64_t left = g.bytes - g.arena_off - ((uint64_t)g.segments << g.segment_shift);
			uint64_t one = (UINT64_C(1) << g.segment_shift) + sizeof(struct shm_segment) + 8 + (uint64_t)g.start_words * 8 + PAGE_ALIGN
					+ (uint64_t)((double)g.groups * sizeof(struct shm_group) / g.segments)
					+ (uint64_t)((double)g.ghost_words * 8 / g.segments) + 4 * LINE_BYTES + sizeof(struct shm_group);
			cr_assert(left < one || ((g.segments == 512 || g.segments == 1024) && left < 3 * one) || g.segments == 4096, "%lu bytes of %lu left with %u segments", left,
					more.bytes, g.segments);
			plans++;
		}
	}
	cr_assert_gt(plans, 150);
}

Test(geometry, a_cache_of_6_mib_to_16_gib_has_256_to_512_segments_by_default_and_a_large_one_twice_as_many)
{
	for (uint64_t bytes = 6 * MIB; bytes <= UINT64_C(16) << 30; bytes = bytes * 11 / 10) {
		struct larder_options o = LARDER_OPTIONS_INIT;
		o.bytes = bytes;
		struct shm_geometry g = planned(o);
		uint32_t least = bytes < 96 * MIB ? 256 : 512;
		cr_assert(g.segments >= least && g.segments <= 2 * least, "%u segments for %lu bytes", g.segments, bytes);
	}
}

Test(geometry, by_default_segments_are_160_to_1024_from_1_mib_on_whatever_the_entries)
{
	for (uint64_t bytes = MIB; bytes <= 32768 * MIB; bytes += bytes / 7)
		for (uint64_t entry_bytes = 16; entry_bytes <= MIB * 4; entry_bytes *= 3) {
			struct larder_options o = LARDER_OPTIONS_INIT;
			o.bytes = bytes;
			o.entry_bytes = entry_bytes;
			struct shm_geometry g = planned(o);
			cr_assert(g.segments >= 160 && g.segments <= 1024, "%u segments for %lu bytes, entries of %lu", g.segments, bytes, entry_bytes);
		}
}

Test(geometry, small_caches_have_at_least_32_segments_of_at_least_a_page)
{
	for (uint64_t bytes = LARDER_BYTES_MIN; bytes < 6 * MIB; bytes += 4096) {
		struct larder_options o = LARDER_OPTIONS_INIT;
		o.bytes = bytes;
		struct shm_geometry g = planned(o);
		cr_assert(g.segments >= 32 && g.segments <= 512 && g.segment_shift >= 12, "%u segments for %lu bytes", g.segments, bytes);
		cr_assert(geometry_valid(&g, bytes), "%lu bytes", bytes);
	}
}

static struct shm_geometry planned_with_segments(uint32_t wanted)
{
	struct larder_options o = LARDER_OPTIONS_INIT;
	o.bytes = 64 * MIB;
	o.segments = wanted;
	return planned(o);
}

Test(geometry, segments_asked_for_are_had_at_least_up_to_2048)
{
	for (uint32_t wanted = 32; wanted <= 2048; wanted += 7) {
		struct shm_geometry g = planned_with_segments(wanted);
		cr_assert(g.segments >= wanted && g.segments <= 2 * wanted + wanted / 16, "%u wanted, %u got", wanted, g.segments);
		cr_assert(geometry_valid(&g, 64 * MIB));
	}
}

Test(geometry, no_more_than_4096_segments_and_nothing_thrown_away_for_it)
{
	for (uint32_t wanted = 2049; wanted <= 4096; wanted += 89) {
		struct shm_geometry g = planned_with_segments(wanted);
		cr_assert_leq(g.segments, 4096);
		cr_assert_gt((double)((uint64_t)g.segments << g.segment_shift), 0.80 * (double)g.bytes);
	}
}

Test(geometry, active_segments_are_an_eighth_of_all_at_most)
{
	for (uint32_t wanted = 32; wanted <= 2048; wanted *= 2) {
		struct shm_geometry g = planned_with_segments(wanted);
		cr_assert_leq(g.classes * g.stripes * POOLS * 8, g.segments);
		cr_assert(g.classes >= 1 && g.stripes >= 1 && g.classes * g.stripes * POOLS <= CELLS_MAX);
		cr_assert(g.reserve >= 3 && g.reserve <= g.segments / 4);
	}
}

Test(geometry, the_index_is_sized_for_its_entries)
{
	struct larder_options o = LARDER_OPTIONS_INIT;
	o.bytes = 256 * MIB;
	o.entry_bytes = 400;
	struct shm_geometry g = planned(o);
	double entries = (double)((uint64_t)g.segments << g.segment_shift) / 424;
	double load = entries / (double)(g.groups * 280);

	cr_assert(load > 0.73 && load < 0.75, "load %.3f", load);
	cr_assert_float_eq((double)g.ghost_words * GHOSTS_PER_WORD, entries * 1.1, entries * 0.01);
}

static uint64_t instrument_bytes(const struct shm_geometry *g) { return g->segwords_off - g->board_off; }

Test(geometry, instruments_take_half_a_percent_at_most)
{
	for (uint64_t bytes = LARDER_BYTES_MIN; bytes <= UINT64_C(1) << 38; bytes = bytes * 13 / 10 / 4096 * 4096) {
		struct larder_options o = LARDER_OPTIONS_INIT;
		o.bytes = bytes;
		struct shm_geometry g = planned(o);
		/* The smallest caches have the least that programs can coordinate by: 3 KiB. */
		uint64_t most = bytes < 16 * MIB ? bytes / 256 : bytes / 200;
		cr_assert_leq(instrument_bytes(&g), most > 3072 ? most : 3072, "%lu of %lu bytes", instrument_bytes(&g), bytes);
		cr_assert(bytes < 64 * MIB || (g.series_rows >= 48 && g.histograms >= 20 && g.hot_sets >= 8 && g.trace_words >= 8192));
	}
}

Test(geometry, instruments_asked_for_are_had)
{
	for (uint64_t wanted = 16 << 10; wanted <= 8 * MIB; wanted = wanted * 5 / 4) {
		struct larder_options o = LARDER_OPTIONS_INIT;
		o.instrument_bytes = wanted;
		struct shm_geometry g = planned(o);
		cr_assert(instrument_bytes(&g) <= wanted && instrument_bytes(&g) > wanted / 2, "%lu wanted, %lu got", wanted, instrument_bytes(&g));
		cr_assert(geometry_valid(&g, g.bytes));
	}
}

Test(geometry, a_trace_begins_with_64_accesses_for_each_traced_key_but_with_128_keys)
{
	for (uint64_t bytes = 16 * MIB; bytes <= UINT64_C(1) << 38; bytes *= 2) {
		struct larder_options o = LARDER_OPTIONS_INIT;
		o.bytes = bytes;
		struct shm_geometry g = planned(o);
		uint64_t traced = bytes / 184 >> g.trace_shift;
		cr_assert(traced >= 128 && (traced * 64 <= g.trace_words + g.trace_words / 4 || traced < 320) && traced * 144 > g.trace_words, "%lu of %u", traced, g.trace_words);
	}
}

Test(geometry, options_out_of_range_are_named)
{
	static const struct {
		struct larder_options o;
		const char *name;
	} bad[] = {
		{ { .size = 56, .bytes = LARDER_BYTES_MIN - 1 }, "options.bytes" },
		{ { .size = 56, .bytes = (UINT64_C(1) << 38) + 1 }, "options.bytes" },
		{ { .size = 56, .entry_bytes = (UINT64_C(1) << 26) + 1 }, "options.entry_bytes" },
		{ { .size = 56, .mode = 01777 }, "options.mode" },
		{ { .size = 56, .mode = 0400 }, "options.mode" },
		{ { .size = 56, .segments = 31 }, "options.segments" },
		{ { .size = 56, .segments = 4097 }, "options.segments" },
		{ { .size = 56, .participants = 3 }, "options.participants" },
		{ { .size = 56, .participants = 1025 }, "options.participants" },
		{ { .size = 56, .namespaces = 15 }, "options.namespaces" },
		{ { .size = 56, .namespaces = 4097 }, "options.namespaces" },
		{ { .size = 56, .instrument_bytes = (8 << 20) + 1 }, "options.instrument_bytes" },
		{ { .size = 56, .flags = 1u << 9 }, "options.flags" },
		{ { .size = 56, .flags = LARDER_EXCLUSIVE | LARDER_ATTACH_ONLY }, "options.flags" },
		{ { .size = 56, .flags = LARDER_EXCLUSIVE | LARDER_INSPECT }, "options.flags" },
		{ { .size = 56, .flags = LARDER_PRIVATE | LARDER_ATTACH_ONLY }, "options.flags" },
		{ { .size = 56, .create_flags = 1u << 2 }, "options.create_flags" },
		{ { .size = 7 }, "options.size" },
		{ { .size = 56, .bytes = LARDER_BYTES_MIN, .namespaces = 4096 }, "options.bytes" },
		{ { .size = 56, .bytes = LARDER_BYTES_MIN, .segments = 4000 }, "options.bytes" },
	};

	cr_assert_eq(sizeof(struct larder_options), 56);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct shm_geometry g;
		message_set("nothing yet");
		cr_assert_eq(geometry_plan(&g, &bad[i].o), LARDER_INVALID, "case %zu", i);
		cr_assert(strstr(larder_message(), bad[i].name) != NULL, "case %zu: \"%s\" does not name %s", i, larder_message(), bad[i].name);
	}
}

Test(geometry, options_of_an_older_program_take_defaults_for_the_rest)
{
	/* All there is of it are size and flags: what lies behind must not be looked at. */
	struct larder_options o, got;
	memset(&o, 0xff, sizeof o);
	o.size = offsetof(struct larder_options, create_flags);
	o.flags = LARDER_ATTACH_ONLY;

	cr_assert_eq(options_read(&got, &o), LARDER_OK, "%s", larder_message());
	cr_assert_eq(got.bytes, 64 * MIB);
	cr_assert_eq(got.entry_bytes, 160);
	cr_assert_eq(got.mode, 0600);
	cr_assert_eq(got.participants, 256);
	cr_assert_eq(got.namespaces, 256);
	cr_assert_eq(got.flags, LARDER_ATTACH_ONLY);
}

Test(geometry, options_of_a_newer_program_are_taken_only_if_the_unknown_part_is_zero)
{
	struct {
		struct larder_options known;
		unsigned char unknown[24];
	} newer = { .known = { .size = sizeof newer } };
	struct larder_options got;

	cr_assert_eq(options_read(&got, &newer.known), LARDER_OK, "%s", larder_message());
	newer.unknown[23] = 1;
	cr_assert_eq(options_read(&got, &newer.known), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "newer") != NULL, "%s", larder_message());
}

/* 300 000 geometries with a few bits, bytes or fields changed: what is called valid is safe, and what carries a changed
 * offset or size is not called so. */
Test(geometry, a_changed_geometry_is_refused_or_safe)
{
	unsigned seed = (unsigned)time(NULL), refused = 0;
	struct larder_options o = LARDER_OPTIONS_INIT;
	o.bytes = 8 * MIB;
	const struct shm_geometry good = planned(o);

	cr_log_info("seed %u", seed);
	for (unsigned i = 0; i < 300000; i++) {
		struct shm_geometry g = good;
		unsigned char *bytes = (unsigned char *)&g;
		for (int changes = 1 + rand_r(&seed) % 3; changes > 0; changes--) {
			size_t at = (size_t)rand_r(&seed) % sizeof g;
			bytes[at] = (unsigned char)(rand_r(&seed) % 2 ? bytes[at] ^ 1 << rand_r(&seed) % 8 : rand_r(&seed) % 2 ? 0xff : rand_r(&seed));
		}
		if (!geometry_valid(&g, 8 * MIB)) {
			refused++;
			continue;
		}
		/* A count and the offset that follows from it may change together: another cache, but no less safe. */
		cr_assert(areas_lie_within(&g) && g.bytes == 8 * MIB, "geometry %u of this seed is called valid", i);
	}
	cr_assert_gt(refused, 100000);
}

/* Right in itself, and larger than the file: what a hostile writer would make. */
Test(geometry, a_plan_for_a_larger_file_is_refused_whatever_it_says_of_its_size)
{
	for (uint64_t larger = 8 * MIB + 64 * 1024; larger <= 64 * MIB; larger += MIB / 3 / 4096 * 4096) {
		struct larder_options o = LARDER_OPTIONS_INIT;
		o.bytes = larger;
		struct shm_geometry g = planned(o);
		cr_assert(geometry_valid(&g, larger));
		g.bytes = 8 * MIB;
		g.value_max_bytes = 1;
		cr_assert_not(geometry_valid(&g, 8 * MIB), "planned for %lu", larger);
	}
}

Test(geometry, extreme_fields_are_refused)
{
	struct larder_options o = LARDER_OPTIONS_INIT;
	const struct shm_geometry good = planned(o);
	static const uint64_t extremes[] = { 0, UINT64_MAX, UINT64_MAX - 4095, UINT64_C(1) << 63, UINT64_C(1) << 32, INT64_MAX };

	for (size_t field = 0; field < offsetof(struct shm_geometry, value_max_bytes); field += 8) {
		for (size_t e = 0; e < sizeof extremes / sizeof *extremes; e++) {
			struct shm_geometry g = good;
			memcpy((unsigned char *)&g + field, &extremes[e], 8);
			cr_assert_not(geometry_valid(&g, good.bytes), "field at %zu, %#lx", field, extremes[e]);
		}
	}
}
