/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared state of a migration, see migration.h: finding it, switching it, and what people are told of it.
 *
 * One CAS switches the mode; a switcher that dies before it has done nothing, after it everything.
 */
#include "store/migration.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/message.h"
#include "cache/call.h"
#include "shm/board.h"

_Static_assert(4 + MIGRATION_COUNTERS <= BOARD_WORDS, "the counters of larder/migration.def fit behind the mode");

#define SAMPLE_NAMESPACE "larder.migration"
#define SAMPLE_TTL_MS INT64_C(86400000)
#define SAMPLE_BYTES_MAX 512u

const char *larder_migration_mode_name(enum larder_migration_mode mode)
{
	static const char *const names[] = { "old", "shadow", "dual", "new" };

	return mode <= LARDER_MIGRATION_NEW ? names[mode] : "?";
}

static enum larder_status row_find(struct larder *cache, const char *name, struct word **words)
{
	char row[sizeof "migration:" + LARDER_MIGRATION_NAME_MAX];
	size_t count = name ? strlen(name) : 0;

	if (!cache || !count || count > LARDER_MIGRATION_NAME_MAX) {
		message_set("migration '%.64s': a name has 1 to %u bytes", name ? name : "", LARDER_MIGRATION_NAME_MAX);
		return LARDER_INVALID;
	}
	if (region_gone(&cache->region))
		return LARDER_DETACHED;
	snprintf(row, sizeof row, "migration:%s", name);
	return board_find(&cache->region, row, words);
}

enum larder_status migration_open(struct migration *m, struct larder *cache, const char *name)
{
	enum larder_status status = row_find(cache, name, &m->words);

	if (status)
		return status;
	m->cache = cache;
	snprintf(m->name, sizeof m->name, "%s", name);
	store_release(&m->words[1], 1);
	return LARDER_OK;
}

/* The row of a migration that some process has begun. */
static enum larder_status row_begun(struct larder *cache, const char *name, struct word **words)
{
	enum larder_status status = row_find(cache, name, words);

	if (status)
		return status;
	return load_acquire(&(*words)[1]) ? LARDER_OK : LARDER_MISS;
}

enum larder_status larder_migration_info(struct larder *cache, const char *name, struct larder_migration_info *info)
{
	struct word *words;
	enum larder_status status = info ? row_begun(cache, name, &words) : LARDER_INVALID;

	if (status)
		return status;
	uint64_t modeword = load_acquire(&words[0]);
	*info = (struct larder_migration_info){ .mode = modeword_mode(modeword), .switches = modeword_switches(modeword),
#define LARDER_COUNTER(name, text) .name = load_hint(&words[4 + MIGRATION_##name]),
#include <larder/migration.def>
#undef LARDER_COUNTER
	};
	return LARDER_OK;
}

/* ---- Switching ------------------------------------------------------------------------------------------------------ */

/* The store that answers, or is asked after a miss, in a mode must not be stale. */
static bool asks_old(enum larder_migration_mode mode) { return mode != LARDER_MIGRATION_NEW; }
static bool asks_new(enum larder_migration_mode mode) { return mode != LARDER_MIGRATION_OLD; }

static bool switch_is_safe(const struct word *words, enum larder_migration_mode from, enum larder_migration_mode to)
{
	uint64_t old_gaps = load_hint(&words[4 + MIGRATION_old_gaps]), new_gaps = load_hint(&words[4 + MIGRATION_new_gaps]);

	if (to > from + 1) {
		message_set("from %s to %s leaves out a step: switch to %s first, or force it", larder_migration_mode_name(from),
				larder_migration_mode_name(to), larder_migration_mode_name(from + 1));
		return false;
	}
	if (to < from && asks_old(to) && old_gaps) {
		message_set("the old store missed %" PRIu64 " writes and may answer what is stale: empty it, then force the switch "
				"to %s", old_gaps, larder_migration_mode_name(to));
		return false;
	}
	if (to > from && asks_new(to) && new_gaps) {
		message_set("the new store missed %" PRIu64 " writes and may answer what is stale: flush it, then force the switch "
				"to %s", new_gaps, larder_migration_mode_name(to));
		return false;
	}
	return true;
}

enum larder_status larder_migration_switch(struct larder *cache, const char *name, enum larder_migration_mode mode, bool force)
{
	struct word *words;
	enum larder_status status = mode <= LARDER_MIGRATION_NEW ? row_begun(cache, name, &words) : LARDER_INVALID;

	if (status)
		return status;
	if (cache->region.read_only)
		return LARDER_READ_ONLY;
	uint64_t seen = load_acquire(&words[0]), farthest = modeword_farthest(seen);
	if (modeword_mode(seen) == mode)
		return LARDER_OK;
	if (!force && !switch_is_safe(words, modeword_mode(seen), mode))
		return LARDER_INVALID;
	if (force) { /* whoever forces it has seen to the gaps */
		store_hint(&words[4 + MIGRATION_old_gaps], 0);
		store_hint(&words[4 + MIGRATION_new_gaps], 0);
	}
	uint64_t next = (modeword_switches(seen) + 1) << 8 | (mode > farthest ? mode : farthest) << 4 | mode;
	/* MODE (release): whoever sees the mode knows that every write that returned before was done in an older one. */
	return cas_seq_cst(&words[0], seen, next) ? LARDER_OK : LARDER_CHANGED;
}

/* ---- Samples of mismatches ------------------------------------------------------------------------------------------- */

static size_t sample_key(const struct migration *m, uint64_t number, char *key, size_t room)
{
	return (size_t)snprintf(key, room, "%s/%02u", m->name, (unsigned)(number % MIGRATION_SAMPLES));
}

void migration_sample(const struct migration *m, uint64_t number, const char *text)
{
	char key[LARDER_MIGRATION_NAME_MAX + 8];
	uint32_t ns;

	if (larder_namespace(m->cache, SAMPLE_NAMESPACE, &ns) == LARDER_OK)
		(void)larder_set(m->cache, ns, key, sample_key(m, number, key, sizeof key), text, strlen(text), SAMPLE_TTL_MS);
}

enum larder_status larder_migration_samples(struct larder *cache, const char *name, bool (*visit)(const char *text, void *arg),
		void *arg)
{
	struct migration m = { .cache = cache };
	char key[LARDER_MIGRATION_NAME_MAX + 8], text[SAMPLE_BYTES_MAX + 1];
	uint32_t ns;
	size_t length;
	enum larder_status status = visit ? row_begun(cache, name, &m.words) : LARDER_INVALID;

	if (status)
		return status == LARDER_MISS ? LARDER_OK : status;
	snprintf(m.name, sizeof m.name, "%s", name);
	status = larder_namespace(cache, SAMPLE_NAMESPACE, &ns);
	if (status)
		return status == LARDER_MISS ? LARDER_OK : status;
	uint64_t newest = load_hint(&m.words[4 + MIGRATION_mismatched]);
	for (uint64_t back = 0; back < MIGRATION_SAMPLES && back < newest; back++) {
		size_t count = sample_key(&m, newest - 1 - back, key, sizeof key);
		if (larder_get(cache, ns, key, count, text, SAMPLE_BYTES_MAX, &length) != LARDER_OK)
			continue;
		text[length] = '\0';
		if (!visit(text, arg))
			break;
	}
	return LARDER_OK;
}
