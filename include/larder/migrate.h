/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Migration from an older cache, and the way back: the store kind "migrating" puts two stores behind one interface, and a
 * mode in shared memory says which of them answers.  The mode is switched for all processes at once, by `larder migrate`
 * or larder_migration_switch(), and can be switched back at any point without a restart.
 *
 *     mode     writes go to   answers come from      and besides
 *     old      old            old                    after a return: what only the new one has is found there
 *     shadow   both           old                    every answer is compared with the new one's; mismatches are counted
 *     dual     both           new, else old          what is found in old is copied to new
 *     new      new            new                    what is written is taken out of old, so that the way back stays open
 *
 * What holds in every mode, and while the mode is being switched: once a set or delete has returned, no later get in any
 * process answers what was there before; and what was written in one mode is found in all others, as long as neither store
 * has dropped it on its own, but for one step: `new` does not ask the old store, so that what was written before `shadow`
 * and never since is missed there.  The exception is counted as `gaps`: the store that does not answer could neither be written
 * nor be cleared of the key (its server was gone), so that it may hold something stale.  Switching to a mode that asks that
 * store is then refused unless forced.
 */
#ifndef LARDER_MIGRATE_H
#define LARDER_MIGRATE_H

#include <larder.h>

#ifdef __cplusplus
extern "C" {
#endif

enum larder_migration_mode {
	LARDER_MIGRATION_OLD = 0,
	LARDER_MIGRATION_SHADOW = 1,
	LARDER_MIGRATION_DUAL = 2,
	LARDER_MIGRATION_NEW = 3
};
#define LARDER_MIGRATION_NAME_MAX 48u /* bytes of a migration's name */

/* "old", "shadow", "dual", "new"; "?" for any other number.  Static. */
LARDER_API const char *larder_migration_mode_name(enum larder_migration_mode mode);

/* What has happened since the migration began, summed over all processes. */
struct larder_migration_info {
	enum larder_migration_mode mode;
	uint64_t switches;
	/* Each counter is one line of larder/migration.def. */
#define LARDER_COUNTER(name, text) uint64_t name;
#include <larder/migration.def>
#undef LARDER_COUNTER
};

/*
 * The state of migration `name` (1 .. LARDER_MIGRATION_NAME_MAX bytes) in this cache.  Works on inspectors.  Wait-free.
 * LARDER_OK; LARDER_MISS: no process has begun a migration of that name here; LARDER_INVALID; LARDER_DETACHED.
 */
LARDER_API enum larder_status larder_migration_info(struct larder *cache, const char *name,
		struct larder_migration_info *info);

/*
 * Switches the mode for all processes.  Forward goes one step at a time (old, shadow, dual, new), back any number of steps;
 * with force, anything goes.  Calls under way meanwhile are finished in the new mode before they return.
 * LARDER_OK, also where it is the mode already; LARDER_CHANGED: somebody else switched at the same time;
 * LARDER_INVALID: a step too far, or back to a store with gaps (the message says which and what to do); LARDER_MISS,
 * LARDER_READ_ONLY, LARDER_DETACHED.  Lock-free.
 */
LARDER_API enum larder_status larder_migration_switch(struct larder *cache, const char *name,
		enum larder_migration_mode mode, bool force);

/* The last mismatches seen in shadow mode, one line of text for each ("NAMESPACE:KEY old 12 bytes, new none"), newest
 * first; visit returns false to stop.  Works on inspectors.  LARDER_OK, LARDER_INVALID, and the failures of larder_get(). */
LARDER_API enum larder_status larder_migration_samples(struct larder *cache, const char *name,
		bool (*visit)(const char *text, void *arg), void *arg);

#ifdef __cplusplus
}
#endif
#endif
