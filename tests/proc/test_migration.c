/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A migration among real processes: writers that are killed and stopped at random, readers, and a mode that goes back and
 * forth under them.  Each key has one writer, which numbers its changes: an even number is set, an odd one is a delete.  It
 * notes in shared memory which number it has begun and which has returned; a reader may see nothing older than what had
 * returned before its get, and nothing newer than what was begun after it.  A miss of what must be there is excused in mode
 * new, which does not ask the old store, and where a store has evicted.
 */
#include "scene.h"

#include <larder/migrate.h>
#include <larder/store.h>
#include <sys/mman.h>

#define WRITERS 4
#define READERS 2
#define KEYS 64 /* of each writer */
#define SECONDS 4

struct record {
	struct word begun, returned;
};
struct board {
	struct word stop, wrong, gets, hits;
	char first_wrong[256];
	struct record record[WRITERS * KEYS];
};
static struct board *board;
static char paths[2][128];
static const char *const sides[] = { "old", "new" };
static struct larder_store *open_side[2];

static struct larder_store *find_side(const char *name, void *arg)
{
	(void)arg;
	return open_side[!strcmp(name, "new")];
}

static struct larder_store *open_migrating(void)
{
	const struct larder_setting settings[] = { { "old", "old" }, { "new", "new" } };
	struct larder_store *store;

	for (int i = 0; i < 2; i++) {
		const struct larder_setting shm[] = { { "name", paths[i] }, { "bytes", "64m" } };
		if (larder_store_open("shm", shm, 2, NULL, NULL, &open_side[i]))
			return NULL;
	}
	return larder_store_open("migrating", settings, 2, find_side, NULL, &store) ? NULL : store;
}

static struct larder_store_key key_of(unsigned number, char *text)
{
	struct larder_store_key key = { .bytes = text, .count = (size_t)sprintf(text, "key-%u", number) };

	(void)larder_name("ns", &key.ns);
	return key;
}

_Noreturn static void writer(unsigned number, unsigned seed)
{
	struct larder_store *store = open_migrating();
	char text[32];

	if (!store)
		_exit(1);
	while (!load_acquire(&board->stop)) {
		unsigned at = number * KEYS + (unsigned)rand_r(&seed) % KEYS;
		struct record *record = &board->record[at];
		struct larder_store_key key = key_of(at, text);
		uint64_t change = load_acquire(&record->begun) + 1;
		store_seq_cst(&record->begun, change);
		enum larder_status status = change & 1 ? larder_store_delete(store, &key)
				: larder_store_set(store, &key, &change, sizeof change, NULL, NULL);
		if (status < 0)
			_exit(2);
		store_seq_cst(&record->returned, change);
	}
	_exit(0);
}

/* Nothing older than `from` and nothing newer than `to`. */
static bool answer_is_right(enum larder_status status, uint64_t seen, uint64_t from, uint64_t to)
{
	if (status == LARDER_OK)
		return !(seen & 1) && seen >= from && seen <= to;
	return status == LARDER_MISS && (from == 0 || from & 1 || from != to);
}

static struct larder_migration_info mode_now(void)
{
	struct larder_migration_info info = { 0 };

	(void)larder_migration_info(larder_store_cache(open_side[1]), "default", &info);
	return info;
}

/* What a store has dropped on its own. */
static uint64_t evictions(int side)
{
	struct larder_stat s;

	if (larder_stat(larder_store_cache(open_side[side]), &s))
		return 1;
	return s.evictions_small + s.evictions_main + s.evictions_index + s.evictions_need;
}

static void look(struct larder_store *store, unsigned at)
{
	char text[32];
	struct larder_migration_info before = mode_now();
	uint64_t seen = 0, from = load_seq_cst(&board->record[at].returned);
	struct larder_store_key key = key_of(at, text);
	struct larder_buffer value = { .data = &seen, .capacity = sizeof seen };
	enum larder_status status = larder_store_get(store, &key, 0, &value, NULL);
	uint64_t to = load_seq_cst(&board->record[at].begun);
	struct larder_migration_info after = mode_now();

	(void)add_hint(&board->gets, 1);
	(void)add_hint(&board->hits, status == LARDER_OK);
	bool excused = before.mode == LARDER_MIGRATION_NEW || after.switches != before.switches || evictions(0) || evictions(1);
	if (answer_is_right(status, seen, from, to) || (status == LARDER_MISS && excused))
		return;
	if (!add_hint(&board->wrong, 1))
		snprintf(board->first_wrong, sizeof board->first_wrong, "key %u in mode %s: status %d, saw %llu, not %llu .. %llu", at,
				larder_migration_mode_name(before.mode), status, (unsigned long long)seen, (unsigned long long)from,
				(unsigned long long)to);
}

_Noreturn static void reader(unsigned seed)
{
	struct larder_store *store = open_migrating();

	if (!store)
		_exit(1);
	while (!load_acquire(&board->stop))
		look(store, (unsigned)rand_r(&seed) % (WRITERS * KEYS));
	_exit(0);
}

static pid_t start_writer(unsigned number, unsigned seed)
{
	pid_t child = fork();

	if (child == 0)
		writer(number, seed);
	return child;
}

/* One step forward, or any number back. */
static void switch_at_random(struct larder *cache, unsigned *seed)
{
	struct larder_migration_info info;

	cr_assert_eq(larder_migration_info(cache, "default", &info), LARDER_OK);
	int mode = (int)info.mode + 1 - rand_r(seed) % 4;
	if (mode >= LARDER_MIGRATION_OLD && mode <= LARDER_MIGRATION_NEW)
		cr_assert_eq(larder_migration_switch(cache, "default", (enum larder_migration_mode)mode, false), LARDER_OK, "%s",
				larder_message());
}

Test(migration, no_write_is_lost_or_stale_while_modes_change_and_writers_die, .timeout = 60)
{
	pid_t writers[WRITERS], readers[READERS];
	const unsigned first_seed = (unsigned)time(NULL) ^ (unsigned)getpid();
	unsigned seed = first_seed;
	struct larder_migration_info info;

	cr_log_info("seed %u", first_seed);
	for (int i = 0; i < 2; i++)
		snprintf(paths[i], sizeof paths[i], "%s", scene_path(sides[i]));
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(board, MAP_FAILED);
	struct larder_store *store = open_migrating();
	cr_assert_not_null(store, "%s", larder_message());
	struct larder *cache = larder_store_cache(open_side[1]);
	for (unsigned i = 0; i < WRITERS; i++)
		writers[i] = start_writer(i, seed + i);
	for (unsigned i = 0; i < READERS; i++)
		if ((readers[i] = fork()) == 0)
			reader(seed + 100 + i);
	for (int64_t end = scene_now_ms() + SECONDS * 1000; scene_now_ms() < end; sleep_us(1000)) {
		unsigned victim = (unsigned)rand_r(&seed) % WRITERS;
		switch_at_random(cache, &seed);
		if (rand_r(&seed) % 4) {
			kill(writers[victim], SIGSTOP);
			for (int i = 0; i < 3; i++)
				switch_at_random(cache, &seed);
			kill(writers[victim], SIGCONT);
		} else {
			kill(writers[victim], SIGKILL);
			waitpid(writers[victim], NULL, 0);
			writers[victim] = start_writer(victim, (unsigned)rand_r(&seed));
		}
	}
	store_seq_cst(&board->stop, 1);
	for (unsigned i = 0; i < WRITERS; i++)
		cr_expect_eq(child_result(writers[i]), 0);
	for (unsigned i = 0; i < READERS; i++)
		cr_expect_eq(child_result(readers[i]), 0);
	cr_assert_eq(larder_migration_info(cache, "default", &info), LARDER_OK);
	for (unsigned at = 0; at < WRITERS * KEYS; at++)
		look(store, at);
	cr_assert_eq(load_hint(&board->wrong), 0, "seed %u, %llu wrong of %llu gets: %s", first_seed,
			(unsigned long long)load_hint(&board->wrong), (unsigned long long)load_hint(&board->gets), board->first_wrong);
	cr_assert_gt(load_hint(&board->hits), 1000);
	cr_assert_gt(info.switches, 20);
	larder_store_release(&store);
	larder_destroy(paths[0]);
	larder_destroy(paths[1]);
}
