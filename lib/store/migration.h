/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared state of a migration: one row of the board of the cache that it migrates to, `migration:NAME`.
 *
 *   words[0]   mode word: switches << 8 | farthest mode ever << 4 | mode; changed by CAS.  0: nobody has begun
 *   words[1]   1 once a process opened a store for it
 *   words[4..] counters, in the order of larder/migration.def
 *
 * A write is done in the mode that it saw, and finished in the next if the mode word has changed by then (edge
 * MODE).  So a switch is a point in time: whatever returns after it was done in the new mode.
 */
#ifndef LARDER_STORE_MIGRATION_H
#define LARDER_STORE_MIGRATION_H

#include <larder/migrate.h>

#include "base/sync.h"
#include "shm/region.h"

enum migration_counter {
#define LARDER_COUNTER(name, text) MIGRATION_##name,
#include <larder/migration.def>
#undef LARDER_COUNTER
	MIGRATION_COUNTERS
};

struct migration {
	struct larder *cache;
	struct word *words;
	char name[LARDER_MIGRATION_NAME_MAX + 1];
};

static inline enum larder_migration_mode modeword_mode(uint64_t word) { return (enum larder_migration_mode)(word & 3); }
static inline enum larder_migration_mode modeword_farthest(uint64_t word) { return (enum larder_migration_mode)(word >> 4 & 3); }
static inline uint64_t modeword_switches(uint64_t word) { return word >> 8; }

/* The row of migration `name`, begun by this process if nobody has yet.  Messages as in larder_message(). */
enum larder_status migration_open(struct migration *m, struct larder *cache, const char *name);

/* MODE (acquire): pairs with the CAS of migration_switch(). */
static inline uint64_t migration_modeword(const struct migration *m) { return load_seq_cst(&m->words[0]); }

static inline void migration_count(const struct migration *m, enum migration_counter counter)
{
	(void)add_hint(&m->words[4 + counter], 1);
}

/* Keeps one line of text about a mismatch; the last MIGRATION_SAMPLES of them can be read. */
#define MIGRATION_SAMPLES 16u
void migration_sample(const struct migration *m, uint64_t number, const char *text);

#endif
