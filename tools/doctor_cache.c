/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder doctor, a cache: two looks at its counters some time apart, its participants and namespaces, and a sample of
 * its entries.  An index lies in the order of hashes, so the first entries of a walk are a random sample; their ages
 * tell how long an entry lives before it is evicted.
 */
#define _GNU_SOURCE
#include "doctor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SAMPLE_ENTRIES 20000u
#define ENOUGH 1000u        /* operations below which a ratio says nothing */
#define AGE_SHORT_MS 60000  /* an entry that lives less than a minute hardly pays for being set */

struct look {
	struct doctor *doctor;
	struct larder *cache;
	struct larder_info info;
	struct larder_stat before, now;
	/* of the sample of entries */
	uint32_t seen, aged, expiring, unused;
	uint64_t stored_bytes, data_bytes;
	int64_t now_ms;
	int64_t *age_ms;
};

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static uint64_t evictions(const struct larder_stat *stat)
{
	return stat->evictions_small + stat->evictions_main + stat->evictions_index + stat->evictions_need +
			stat->evictions_quota;
}

/* ---- How full, how old ---- */

static bool sample_entry(const struct larder_entry *entry, void *arg)
{
	struct look *look = arg;

	look->stored_bytes += entry->stored_bytes;
	look->data_bytes += entry->key_bytes + entry->meta.value_bytes;
	look->expiring += entry->meta.expires_at_ms != 0;
	look->unused += entry->hits == 0;
	if (entry->meta.created_at_ms && look->now_ms >= entry->meta.created_at_ms)
		look->age_ms[look->aged++] = look->now_ms - entry->meta.created_at_ms;
	return ++look->seen < SAMPLE_ENTRIES;
}

static int compare_ages(const void *a, const void *b)
{
	int64_t one = *(const int64_t *)a, two = *(const int64_t *)b;

	return (one > two) - (one < two);
}

/* Age that nine in ten entries are below: in a full cache of equal entries about that of those evicted now. */
static int64_t old_age_ms(struct look *look)
{
	if (!look->aged)
		return -1;
	qsort(look->age_ms, look->aged, sizeof look->age_ms[0], compare_ages);
	return look->age_ms[(uint64_t)look->aged * 9 / 10];
}

static void check_fullness(struct look *look)
{
	const struct larder_stat *now = &look->now;
	int64_t age_ms = old_age_ms(look);
	char held[TEXT_MAX], size[TEXT_MAX], age[TEXT_MAX], lived[TEXT_MAX] = "";
	bool evicting = evictions(now) > ENOUGH;

	text_size(now->entry_bytes, held);
	text_size(look->info.bytes, size);
	if (age_ms >= 0)
		snprintf(lived, sizeof lived, "; one in ten is older than %s", text_duration(age_ms, age));
	bool brief = evicting && age_ms >= 0 && age_ms < AGE_SHORT_MS &&
			look->now_ms - look->info.created_at_ms > 2 * AGE_SHORT_MS;
	found(look->doctor, brief ? GRADE_ADVICE : GRADE_FINE, "fullness",
			"%" PRIu64 " entries, %s of %s (%.0f %%)%s%s", now->entries, held, size,
			percent(now->entry_bytes, look->info.bytes),
			evicting ? ", evicting" : ", nothing evicted to speak of", lived);
	if (!brief)
		return;
	because(look->doctor,
			"entries are evicted before they are a minute old: most of what is set is not used again in "
			"time");
	change(look->doctor,
			"a larger cache ('larder mrc %s' says how much larger), or do not cache what is asked for once",
			look->info.path);
}

static void check_hits(struct look *look)
{
	const struct larder_stat *now = &look->now, *before = &look->before;
	uint64_t gets = now->hits + now->misses, late_hits = now->hits - before->hits;
	uint64_t late = late_hits + now->misses - before->misses;
	char lately[TEXT_MAX] = "";

	if (gets < ENOUGH) {
		found(look->doctor, GRADE_FINE, "hit rate", "%" PRIu64 " gets so far, too few to tell", gets);
		return;
	}
	double rate = late >= ENOUGH ? percent(late_hits, late) : percent(now->hits, gets);
	if (late >= ENOUGH)
		snprintf(lately, sizeof lately, ", %.1f %% at present", rate);
	found(look->doctor, rate < 50 ? GRADE_ADVICE : GRADE_FINE, "hit rate", "%.1f %% of all gets%s",
			percent(now->hits, gets), lately);
	if (rate >= 50)
		return;
	if (evictions(now) * 4 > now->inserts) {
		because(look->doctor,
				"more than half of the gets miss, and the cache evicts: it is too small for what is "
				"asked for");
		change(look->doctor, "a larger cache: 'larder mrc %s' recommends a size", look->info.path);
	} else if ((now->expirations + now->flushed) * 4 > now->inserts) {
		because(look->doctor,
				"more than half of the gets miss, and most entries expire or are flushed before they "
				"are asked for");
		change(look->doctor, "a longer time to live ('larder namespace --ttl'), or flush less");
	} else {
		because(look->doctor,
				"more than half of the gets miss, and yet there is room: the keys were never set, or "
				"were deleted");
		change(look->doctor,
				"look whether readers and writers build keys alike ('larder ls'), and cache negative "
				"answers, too");
	}
}

/* ---- Geometry that does not fit what is stored ---- */

static void check_index(struct look *look)
{
	const struct larder_stat *now = &look->now;

	if (now->inserts < ENOUGH || now->evictions_index * 100 <= now->inserts) {
		found(look->doctor, GRADE_FINE, "index",
				"%.0f %% full, %" PRIu64 " of %" PRIu64 " inserts displaced another key",
				percent(now->entries, look->info.index_slots), now->evictions_index, now->inserts);
		return;
	}
	uint64_t bytes = look->seen ? look->data_bytes / look->seen : 64;
	found(look->doctor, GRADE_ADVICE, "index",
			"%.0f %% full; %.1f %% of inserts found no free slot and displaced another key",
			percent(now->entries, look->info.index_slots), percent(now->evictions_index, now->inserts));
	because(look->doctor, "the index is too small for entries of %" PRIu64 " bytes, so memory stays unused", bytes);
	change(look->doctor, "make the cache anew with --entry-size %" PRIu64 " (entry_bytes in larder_options): "
			"'larder dump', 'larder destroy', 'larder create', 'larder load'", bytes ? bytes : 1);
}

static void check_segments(struct look *look)
{
	const struct larder_stat *now = &look->now;
	uint64_t blocked = now->blocked - look->before.blocked;
	bool many = now->segments_recycling * 8 > look->info.segments;

	found(look->doctor, many ? GRADE_ADVICE : GRADE_FINE, "segments",
			"%" PRIu64 " of %u free, %" PRIu64 " being emptied, %" PRIu64 " steps put off while looking",
			now->segments_free, look->info.segments, now->segments_recycling, blocked);
	if (!many)
		return;
	because(look->doctor,
			"processes that are stopped, or hold pins for long, keep more than an eighth of the memory "
			"from being used "
			"again");
	change(look->doctor, "continue, end or unpin them: see participants");
}

/* ---- Counters that should be 0 ---- */

static void check_damage(struct look *look)
{
	uint64_t faults = look->now.damage + look->now.checksum_errors;

	found(look->doctor, faults ? GRADE_FAULT : GRADE_FINE, "damage",
			"%" PRIu64 " words out of range, %" PRIu64 " wrong checksums", look->now.damage,
			look->now.checksum_errors);
	if (!faults)
		return;
	because(look->doctor,
			"something wrote to the file that is not larder, or the memory is bad; what is damaged is "
			"answered as a miss");
	change(look->doctor,
			"'larder check %s' says what and where; then destroy it and let it be made anew, with "
			"--checksum while "
			"the cause is not known",
			look->info.path);
}

static void check_refusals(struct look *look)
{
	const struct larder_stat *now = &look->now;

	if (now->no_room) {
		bool still = now->no_room != look->before.no_room;
		found(look->doctor, still ? GRADE_FAULT : GRADE_ADVICE, "refused sets",
				"%" PRIu64 " sets found no room", now->no_room);
		because(look->doctor,
				"everything that could be evicted was pinned or named by processes that do not go on");
		change(look->doctor,
				"see participants for those that are stopped or hold pins; more --segments outlive "
				"more of them");
	}
	if (now->contended) {
		found(look->doctor, GRADE_ADVICE, "contended calls", "%" PRIu64 " calls reached the limit of tries",
				now->contended);
		because(look->doctor,
				"65536 tries in a row were overtaken: many writers change one key or one bucket all "
				"the time");
		change(look->doctor, "spread that key over several, or use larder_incr() if it is a counter");
	}
	if (!now->no_room && !now->contended)
		found(look->doctor, GRADE_FINE, "refusals", "no set was refused, no call gave up");
}

/* ---- Who takes part ---- */

struct crowd {
	uint32_t alive, stopped, holding_stopped, pinning, dead_holding;
	unsigned pins;
	char names[200]; /* of those stopped or pinning */
};

static void name_in(struct crowd *crowd, const struct larder_participant_info *who, const char *state)
{
	size_t used = strlen(crowd->names);

	if (used < sizeof crowd->names - 60)
		snprintf(crowd->names + used, sizeof crowd->names - used, "%s%.16s (pid %" PRId32 ", %s)",
				used ? ", " : "", who->command, who->pid, state);
}

static void count_participant(struct crowd *crowd, const struct larder_participant_info *who)
{
	bool stopped = participant_stopped(who), holds = who->pins || who->hazards;

	crowd->alive += who->alive;
	crowd->stopped += stopped;
	crowd->holding_stopped += stopped && holds;
	crowd->dead_holding += !who->alive && holds;
	crowd->pins += who->alive ? who->pins : 0;
	if (stopped)
		name_in(crowd, who, "stopped");
	else if (who->alive && who->pins >= LARDER_PINS / 2)
		name_in(crowd, who, "pins");
	crowd->pinning += who->alive && who->pins >= LARDER_PINS / 2;
}

static void report_crowd(struct look *look, const struct crowd *crowd)
{
	struct doctor *doctor = look->doctor;
	enum grade grade = crowd->holding_stopped || crowd->pinning ? GRADE_ADVICE
			: crowd->stopped                            ? GRADE_NOTE
								    : GRADE_FINE;

	found(doctor, grade, "participants",
			"%u threads of %u alive, %u of them stopped; %u pins; %u dead ones not yet cleaned up",
			crowd->alive, look->info.participants, crowd->stopped, crowd->pins, crowd->dead_holding);
	if (grade != GRADE_FINE) {
		because(doctor,
				"%s: each place that is named keeps one segment (%" PRIu64
				" KiB) from being used again; nobody waits",
				crowd->names, look->info.segment_bytes >> 10);
		change(doctor, "kill -CONT PID, end it, or unpin sooner ('larder info' lists all)");
	}
	if (crowd->alive * 10 < look->info.participants * 8)
		return;
	found(doctor, GRADE_ADVICE, "participant slots", "%u of %u are taken", crowd->alive, look->info.participants);
	because(doctor, "a thread that finds none has its calls answered LARDER_NO_SLOT");
	change(doctor, "make the cache with more --participants: %u",
			look->info.participants >= 512 ? 1024 : look->info.participants * 2);
}

static int check_participants(struct look *look)
{
	struct crowd crowd = { 0 };

	for (uint32_t slot = 0; slot < look->info.participants; slot++) {
		struct larder_participant_info who;
		enum larder_status status = larder_participant(look->cache, slot, &who);
		if (status < 0)
			return report_cache(status);
		if (status == LARDER_OK)
			count_participant(&crowd, &who);
	}
	report_crowd(look, &crowd);
	return TOOL_OK;
}

/* ---- Namespaces, permissions ---- */

struct spaces {
	uint32_t count, full;
	char names[200]; /* of those that are full */
};

static int count_space(const struct larder_namespace_info *info, void *arg)
{
	struct spaces *spaces = arg;
	size_t used = strlen(spaces->names);

	spaces->count++;
	if (!info->quota_bytes || info->bytes < 0 || (uint64_t)info->bytes < info->quota_bytes / 20 * 19)
		return TOOL_OK;
	spaces->full++;
	if (used < sizeof spaces->names - 80)
		snprintf(spaces->names + used, sizeof spaces->names - used, "%s'%s'", used ? ", " : "", info->name);
	return TOOL_OK;
}

static void report_quota(struct look *look, const struct spaces *spaces)
{
	if (!spaces->full)
		return;
	found(look->doctor, GRADE_NOTE, "quota", "%u namespaces fill their quota: %s", spaces->full, spaces->names);
	because(look->doctor, "their own entries make room for their new ones, whatever room the cache has beside");
	change(look->doctor, "a larger quota, if their hit rate is too low ('larder top', 'larder mrc')");
}

static int check_namespaces(struct look *look)
{
	struct spaces spaces = { .count = 0 };
	int code = namespace_each(look->cache, count_space, &spaces);
	bool many = spaces.count * 10 > look->info.namespaces * 8;

	if (code != TOOL_OK)
		return code;
	found(look->doctor, many ? GRADE_ADVICE : GRADE_FINE, "namespaces", "%u of %u", spaces.count,
			look->info.namespaces);
	if (many) {
		because(look->doctor, "they are never given back; the next ones are refused with LARDER_NAMESPACES");
		change(look->doctor, "put what varies into the key, or make the cache with more --namespaces");
	}
	report_quota(look, &spaces);
	return TOOL_OK;
}

static void check_mode(struct look *look)
{
	struct stat status;

	if (stat(look->info.path, &status))
		return;
	bool open_to_all = status.st_mode & 0002;
	found(look->doctor, open_to_all ? GRADE_ADVICE : GRADE_FINE, "permissions", "mode %04o, user %u, group %u",
			status.st_mode & 07777u, status.st_uid, status.st_gid);
	if (open_to_all) {
		because(look->doctor, "any user of this host can change what the others read");
		change(look->doctor, "chmod 660 %s, and one group for the processes that share it", look->info.path);
	}
}

static void check_pages(struct look *look)
{
	if (look->info.bytes < UINT64_C(64) << 20)
		return;
	char size[TEXT_MAX], *smaps = host_file(look->doctor, "/proc/meminfo");
	const char *line = smaps ? strstr(smaps, "ShmemHugePages:") : NULL;
	bool huge = line && strtoull(line + 15, NULL, 10) > 0;

	free(smaps);
	found(look->doctor, huge || !line ? GRADE_FINE : GRADE_NOTE, "cache pages",
			huge ? "some shared memory of this host lies in huge pages" : "%s in pages of 4 KiB",
			text_size(look->info.bytes, size));
	if (huge || !line)
		return;
	because(look->doctor, "with huge pages a get in a cache of that size takes fewer TLB misses");
	change(look->doctor, "open with LARDER_HUGE in one of the processes that stay");
}

/* ---- All of it ---- */

static void wait_ms(int64_t ms)
{
	struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left))
		;
}

static int look_twice(struct look *look)
{
	enum larder_status status = larder_info(look->cache, &look->info);

	if (status == LARDER_OK)
		status = larder_stat(look->cache, &look->before);
	if (status == LARDER_OK) {
		wait_ms(look->doctor->sample_ms);
		status = larder_stat(look->cache, &look->now);
	}
	look->now_ms = wall_clock_ms();
	if (status == LARDER_OK)
		status = larder_iterate(look->cache, LARDER_ALL_NAMESPACES, NULL, 0, 0, sample_entry, look);
	return status >= 0 ? TOOL_OK : report_cache(status);
}

static int report(struct look *look)
{
	check_fullness(look);
	check_hits(look);
	check_index(look);
	check_segments(look);
	check_damage(look);
	check_refusals(look);
	check_mode(look);
	check_pages(look);
	int code = check_namespaces(look);
	if (code == TOOL_OK)
		code = check_participants(look);
	return code == TOOL_OK ? doctor_tiers(look->doctor, look->cache, look->now.entries) : code;
}

int doctor_cache(struct doctor *doctor, struct larder *cache)
{
	struct look look = { .doctor = doctor, .cache = cache, .age_ms = calloc(SAMPLE_ENTRIES, sizeof *look.age_ms) };

	if (!look.age_ms)
		return report_cache(LARDER_NO_MEMORY);
	int code = look_twice(&look);
	if (code == TOOL_OK)
		code = report(&look);
	free(look.age_ms);
	return code;
}
