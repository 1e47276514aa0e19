/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store kind migrating: an old store, a new one, and the mode of the migration (migration.h), which says which of them
 * LEADS: the leader answers, and decides whether a conditional write takes place.  The other one is the mirror.
 *
 * Where both are written, the mirror is made to follow the leader (settle): the leader's entry is copied to the mirror and
 * the leader is looked at again, until it is still what was copied.  Whoever writes the mirror last looks at the leader after
 * that; if the leader is written later, its writer writes the mirror later.  So however many write one key at once, mirror
 * and leader are the same when all have returned.
 * Where only the leader is written, the key is taken out of the other store, which therefore may lack a value but never
 * holds a stale one; a mode that asks it later finds the value in the store that has it.
 *
 * A process that dies in between has not returned from its write: the mirror may hold the value before it, as if the write had
 * taken place in one store only.  The next write of the key, or the entry's end, mends it; shadow mode counts it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"
#include "store/kinds.h"
#include "store/migration.h"
#include <larder/policy.h>

#define SETTLE_TRIES 16u

struct migrating {
	struct larder_store *side[2]; /* old, new */
	struct migration migration;
};
enum { OLD, NEW };

enum migrating_setting { MIGRATING_OLD, MIGRATING_NEW, MIGRATING_NAME, MIGRATING_SETTINGS };

static const struct larder_setting_rule rules[MIGRATING_SETTINGS] = {
	[MIGRATING_OLD] = { .key = "old", .type = LARDER_SETTING_STORE, .text = "the store to migrate from" },
	[MIGRATING_NEW] = { .key = "new", .type = LARDER_SETTING_STORE, .text = "the store to migrate to" },
	[MIGRATING_NAME] = { .key = "migration", .usual = "default", .text = "name of the migration, for `larder migrate`" },
};

/* ---- What a mode means ---------------------------------------------------------------------------------------------- */

/* One operation in the mode that it saw. */
struct step {
	struct migrating *store;
	const struct larder_store_key *key;
	uint64_t modeword;
	int leader;
};

static struct step step_begin(struct migrating *store, const struct larder_store_key *key)
{
	uint64_t modeword = migration_modeword(&store->migration);

	return (struct step){ store, key, modeword, modeword_mode(modeword) >= LARDER_MIGRATION_DUAL ? NEW : OLD };
}

static struct larder_store *leader_of(const struct step *step) { return step->store->side[step->leader]; }
static struct larder_store *mirror_of(const struct step *step) { return step->store->side[!step->leader]; }

static bool writes_both(const struct step *step)
{
	enum larder_migration_mode mode = modeword_mode(step->modeword);

	return mode == LARDER_MIGRATION_SHADOW || mode == LARDER_MIGRATION_DUAL;
}

/* Whether the mirror may hold anything at all: in a migration that never left `old`, the new store is not touched. */
static bool mirror_may_hold(const struct step *step)
{
	return step->leader == NEW || modeword_farthest(step->modeword) > LARDER_MIGRATION_OLD;
}

/* Whether a miss is looked for in the mirror: for what was written while the other store led. */
static bool falls_back(const struct step *step)
{
	enum larder_migration_mode mode = modeword_mode(step->modeword);

	return mode == LARDER_MIGRATION_DUAL
			|| (mode < LARDER_MIGRATION_DUAL && modeword_farthest(step->modeword) >= LARDER_MIGRATION_DUAL);
}

static bool mode_changed(struct step *step)
{
	struct step now = step_begin(step->store, step->key);

	if (now.modeword == step->modeword)
		return false;
	*step = now;
	return true;
}

/* The same, of a write, which has to be done again then. */
static bool write_is_late(struct step *step)
{
	if (!mode_changed(step))
		return false;
	migration_count(&step->store->migration, MIGRATION_redone);
	return true;
}

static void count_gap(const struct step *step)
{
	migration_count(&step->store->migration, step->leader == NEW ? MIGRATION_old_gaps : MIGRATION_new_gaps);
}

/* ---- Making the mirror follow ------------------------------------------------------------------------------------------ */

struct value {
	struct larder_buffer buffer;
	struct larder_meta meta;
	enum larder_status status; /* LARDER_OK or LARDER_MISS, else not known */
};

static void value_read(struct larder_store *from, const struct larder_store_key *key, struct value *value)
{
	value->buffer.grow = true;
	value->status = larder_store_get(from, key, LARDER_NO_COUNT, &value->buffer, &value->meta);
}

static bool value_same(const struct value *a, const struct value *b)
{
	if (a->status != b->status || a->status != LARDER_OK)
		return a->status == b->status && a->status == LARDER_MISS;
	return a->buffer.length == b->buffer.length && !memcmp(a->buffer.data, b->buffer.data, a->buffer.length);
}

/* As value was written, or, without options, as its meta says; refused where it expires and the store cannot tell when. */
static enum larder_status value_write(struct larder_store *to, const struct larder_store_key *key, const struct value *value,
		const struct larder_set_options *options, enum larder_set_mode mode)
{
	struct larder_set_options own = LARDER_SET_OPTIONS_INIT;

	if (!options && !value->meta.ttl_left_ms)
		return LARDER_UNSUPPORTED;
	own.ttl_ms = value->meta.ttl_left_ms;
	own.user_flags = value->meta.user_flags;
	if (options)
		own = *options;
	own.mode = mode;
	return larder_store_set(to, key, value->buffer.data, value->buffer.length, &own, NULL);
}

/* Takes the key out of the mirror; a gap if that cannot be done. */
static void mirror_remove(const struct step *step)
{
	if (larder_store_delete(mirror_of(step), step->key) < 0)
		count_gap(step);
}

static void mirror_write(const struct step *step, const struct value *value, const struct larder_set_options *options)
{
	if (value->status != LARDER_OK) {
		mirror_remove(step);
		return;
	}
	migration_count(&step->store->migration, MIGRATION_mirrored);
	if (value_write(mirror_of(step), step->key, value, options, LARDER_SET) >= 0)
		return;
	migration_count(&step->store->migration, MIGRATION_mirror_errors);
	mirror_remove(step);
}

/* Copies until the leader still has what was copied.  options: how `copied` was written to the leader, if that is known. */
static void settle(const struct step *step, struct value *copied, const struct larder_set_options *options)
{
	struct value now = { 0 };

	for (unsigned tries = 0; tries < SETTLE_TRIES; tries++) {
		mirror_write(step, copied, options);
		value_read(leader_of(step), step->key, &now);
		if (value_same(copied, &now))
			break;
		struct value last = *copied;
		*copied = now;
		now = last;
		options = NULL;
		if (tries + 1 == SETTLE_TRIES) /* the others go on writing, and the last of them settles it */
			mirror_remove(step);
	}
	free(now.buffer.data);
}

/* What follows a change of the leader by whatever it was. */
static void follow(const struct step *step)
{
	struct value value = { 0 };

	if (writes_both(step)) {
		value_read(leader_of(step), step->key, &value);
		settle(step, &value, NULL);
		free(value.buffer.data);
	} else if (mirror_may_hold(step)) {
		mirror_remove(step);
	}
}

/* What follows a set: its value and options are those of the mirror, which may be all that is ever known of the time to live. */
static void follow_set(const struct step *step, const void *data, size_t bytes, const struct larder_set_options *options)
{
	struct larder_set_options usual = LARDER_SET_OPTIONS_INIT;
	struct value value = { .status = LARDER_OK };

	value.buffer.grow = true;
	if (!writes_both(step) || larder_buffer_take(&value.buffer, bytes)) {
		follow(step);
		return;
	}
	if (bytes)
		memcpy(value.buffer.data, data, bytes);
	settle(step, &value, options ? options : &usual);
	free(value.buffer.data);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------------ */

/* Whether two answers differ, both looked at again once: a write may lie between the first two looks. */
static bool differ(struct larder_store *old, struct larder_store *new, const struct larder_store_key *key, struct value *a,
		struct value *b)
{
	value_read(new, key, b);
	if (value_same(a, b))
		return false;
	value_read(old, key, a);
	value_read(new, key, b);
	return !value_same(a, b) && a->status >= 0 && b->status >= 0;
}

static const char *describe(const struct value *value, char *text, size_t room)
{
	if (value->status == LARDER_OK)
		snprintf(text, room, "%zu bytes", value->buffer.length);
	else
		snprintf(text, room, "%s", "none");
	return text;
}

static void mismatch(const struct step *step, const struct value *old, const struct value *new)
{
	const struct migration *m = &step->store->migration;
	const struct larder_store_key *key = step->key;
	uint64_t number = load_hint(&m->words[4 + MIGRATION_mismatched]);
	char text[512], a[32], b[32];

	migration_count(m, MIGRATION_mismatched);
	if (new->status == LARDER_MISS)
		migration_count(m, MIGRATION_only_old);
	if (old->status == LARDER_MISS)
		migration_count(m, MIGRATION_only_new);
	snprintf(text, sizeof text, "%s:%.*s old %s, new %s", key->ns->escaped, (int)(key->count < 300 ? key->count : 300),
			(const char *)key->bytes, describe(old, a, sizeof a), describe(new, b, sizeof b));
	migration_sample(m, number, text);
}

static void compare(const struct step *step, enum larder_status status, const struct larder_buffer *answer)
{
	struct value old = { .status = status }, new = { 0 };

	if (status != LARDER_OK && status != LARDER_MISS)
		return;
	old.buffer.grow = true;
	if (status == LARDER_OK && !larder_buffer_take(&old.buffer, answer->length) && answer->length)
		memcpy(old.buffer.data, answer->data, answer->length);
	migration_count(&step->store->migration, MIGRATION_compared);
	if (differ(leader_of(step), mirror_of(step), step->key, &old, &new))
		mismatch(step, &old, &new);
	free(old.buffer.data);
	free(new.buffer.data);
}

/* The engine of the leader, if its entries are nowhere else. */
static struct larder *engine_of(const struct step *step)
{
	const struct larder_store_kind *kind = larder_store_kind_of(leader_of(step));

	return kind == &store_shm || kind == &store_memory ? larder_store_cache(leader_of(step)) : NULL;
}

/* Copies what only the mirror has to the leader, under a lease: whoever sets or deletes the key after the mirror was read ends
 * the lease, and what was read is not set.  False if it was not copied. */
static bool fill(const struct step *step)
{
	struct larder *engine = engine_of(step);
	struct larder_lease lease = { 0 };
	struct value there = { 0 };
	uint32_t ns;
	const struct larder_store_key *key = step->key;

	if (!engine || larder_namespace(engine, key->ns->text, &ns)
			|| larder_lease(engine, ns, key->bytes, key->count, NULL, NULL, 0, NULL, &lease) < 0 || !lease.held)
		return false;
	value_read(mirror_of(step), key, &there);
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	options.ttl_ms = there.meta.ttl_left_ms;
	options.user_flags = there.meta.user_flags;
	bool filled = there.status == LARDER_OK && options.ttl_ms && larder_lease_set(engine, ns, key->bytes, key->count,
			there.buffer.data, there.buffer.length, &options, lease.token, NULL) == LARDER_OK;
	if (filled)
		migration_count(&step->store->migration, MIGRATION_fills);
	else
		(void)larder_lease_release(engine, ns, key->bytes, key->count, lease.token);
	free(there.buffer.data);
	return filled;
}

static enum larder_status fall_back(const struct step *step, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	enum larder_status status = larder_store_get(mirror_of(step), step->key, flags, value, meta);

	if (status != LARDER_OK)
		return status < 0 ? LARDER_MISS : status; /* the leader has answered: what the other one suffers is no failure */
	migration_count(&step->store->migration, MIGRATION_fallbacks);
	if (step->leader == NEW)
		(void)fill(step);
	return LARDER_OK;
}

static enum larder_status get_in_mode(const struct step *step, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	enum larder_status status = larder_store_get(leader_of(step), step->key, flags, value, meta);

	if (status == LARDER_MISS && falls_back(step))
		return fall_back(step, flags, value, meta);
	if (modeword_mode(step->modeword) == LARDER_MIGRATION_SHADOW)
		compare(step, status, value);
	return status;
}

static enum larder_status migrating_get(void *self, const struct larder_store_key *key, uint32_t flags,
		struct larder_buffer *value, struct larder_meta *meta)
{
	struct step step = step_begin(self, key);
	enum larder_status status = get_in_mode(&step, flags, value, meta);

	/* What was missed may have been written to the store that another mode asks.  Each turn is a switch by somebody. */
	while (status == LARDER_MISS && mode_changed(&step))
		status = get_in_mode(&step, flags, value, meta);
	return status;
}

static bool one_side_answers(const struct step *step)
{
	return modeword_mode(step->modeword) != LARDER_MIGRATION_SHADOW && !falls_back(step);
}

static enum larder_status migrating_mget(void *self, uint32_t flags, struct larder_store_item *items, size_t count)
{
	struct step step = step_begin(self, NULL);

	if (one_side_answers(&step))
		return larder_store_mget(leader_of(&step), flags, items, count);
	for (size_t i = 0; i < count; i++)
		items[i].status = migrating_get(self, &items[i].key, flags, &items[i].value, &items[i].meta);
	return LARDER_OK;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------------- */

/* Conditions and sums are about what the key has, whichever store has it: brings a value that only the mirror has to the leader;
 * where the leader has no leases by an add, which overwrites nothing that is newer, but may bring back what was just deleted. */
static void bring_over(const struct step *step)
{
	struct value there = { 0 }, here = { 0 };

	if (!falls_back(step))
		return;
	value_read(leader_of(step), step->key, &here);
	if (here.status == LARDER_MISS && !fill(step) && !engine_of(step))
		value_read(mirror_of(step), step->key, &there);
	if (there.buffer.data && value_write(leader_of(step), step->key, &there, NULL, LARDER_ADD) == LARDER_OK)
		migration_count(&step->store->migration, MIGRATION_fills);
	free(there.buffer.data);
	free(here.buffer.data);
}

/* After a write that met a switch.  It is not done twice, for others may have seen it, and written something newer since: what it left in
 * the store that led then is brought to the one that leads now if that has nothing, and the other one follows. */
static void follow_switches(struct step *step)
{
	for (int led = step->leader; write_is_late(step); led = step->leader) {
		if (led != step->leader)
			bring_over(step);
		follow(step);
	}
}

static enum larder_status set_and_follow(struct step *step, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	enum larder_status status = larder_store_set(leader_of(step), step->key, value, value_bytes, options, result);
	if (status)
		return status;
	follow_set(step, value, value_bytes, options);
	int led = step->leader;
	while (write_is_late(step) && step->leader == led)
		follow_set(step, value, value_bytes, options);
	if (step->leader != led) {
		bring_over(step);
		follow(step);
		follow_switches(step);
	}
	return LARDER_OK;
}

static enum larder_status migrating_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	struct step step = step_begin(self, key);

	if (options && options->mode != LARDER_SET)
		bring_over(&step);
	return set_and_follow(&step, value, value_bytes, options, result);
}

/* Takes the key out of one side: below 0 only if that was the leader, and failed. */
static enum larder_status remove_from(const struct step *step, int side, bool *there)
{
	if (side != step->leader && !mirror_may_hold(step))
		return LARDER_OK;
	enum larder_status status = larder_store_delete(step->store->side[side], step->key);
	*there |= status == LARDER_OK && (side == step->leader || falls_back(step));
	if (side == step->leader || status >= 0)
		return status;
	count_gap(step);
	return LARDER_OK;
}

/* From the mirror first: a fill reads that under a lease in the leader, which the second delete ends; and a fill that takes its
 * lease after that finds nothing in the mirror. */
static enum larder_status migrating_remove(void *self, const struct larder_store_key *key)
{
	struct step step = step_begin(self, key);
	bool there = false;

	do {
		(void)remove_from(&step, !step.leader, &there);
		enum larder_status status = remove_from(&step, step.leader, &there);
		if (status < 0)
			return status;
		if (writes_both(&step))
			follow(&step);
	} while (write_is_late(&step));
	return there ? LARDER_OK : LARDER_MISS;
}

/* In the same order, for the same reason. */
static enum larder_status migrating_clear(void *self, const struct larder_name *ns, bool soft)
{
	struct step step = step_begin(self, NULL);

	do {
		if (mirror_may_hold(&step) && larder_store_clear(mirror_of(&step), ns, soft) < 0)
			count_gap(&step);
		enum larder_status status = larder_store_clear(leader_of(&step), ns, soft);
		if (status < 0)
			return status;
	} while (write_is_late(&step));
	return LARDER_OK;
}

static enum larder_status migrating_touch(void *self, const struct larder_store_key *key, int64_t ttl_ms)
{
	struct step step = step_begin(self, key);

	bring_over(&step);
	enum larder_status status = larder_store_touch(leader_of(&step), key, ttl_ms);
	if (status)
		return status;
	if (writes_both(&step) && larder_store_touch(mirror_of(&step), key, ttl_ms) < 0)
		mirror_remove(&step);
	follow_switches(&step);
	return LARDER_OK;
}

static enum larder_status migrating_incr(void *self, const struct larder_store_key *key, int64_t delta, bool create,
		int64_t initial, int64_t ttl_ms, int64_t *sum)
{
	struct step step = step_begin(self, key);

	bring_over(&step);
	enum larder_status status = larder_store_incr(leader_of(&step), key, delta, create, initial, ttl_ms, sum);
	if (status)
		return status;
	follow(&step);
	follow_switches(&step);
	return LARDER_OK;
}

/* ---- The store itself ------------------------------------------------------------------------------------------------------ */

static enum larder_status migrating_drain(void *self, int64_t timeout_ms)
{
	struct migrating *store = self;
	enum larder_status status = larder_store_drain(store->side[OLD], timeout_ms);

	return status ? status : larder_store_drain(store->side[NEW], timeout_ms);
}

static enum larder_status migrating_health(void *self, struct larder_health *health)
{
	struct migrating *store = self;
	struct step step = step_begin(store, NULL);
	enum larder_status status = larder_store_health(leader_of(&step), health);
	char text[sizeof health->text];

	snprintf(text, sizeof text, "%s: %.120s", larder_migration_mode_name(modeword_mode(step.modeword)), health->text);
	memcpy(health->text, text, sizeof text);
	return status;
}

static struct larder *migrating_cache(void *self)
{
	return ((struct migrating *)self)->migration.cache;
}

static void migrating_close(void *self)
{
	struct migrating *store = self;

	larder_store_release(&store->side[OLD]);
	larder_store_release(&store->side[NEW]);
	free(store);
}

static enum larder_status migrating_open(const struct larder_setting_value *values, void **self)
{
	struct larder_store *old = values[MIGRATING_OLD].store, *new = values[MIGRATING_NEW].store;
	struct larder *cache = larder_store_cache(new) ? larder_store_cache(new) : larder_store_cache(old);
	struct migrating *store = calloc(1, sizeof *store);

	if (!store)
		return LARDER_NO_MEMORY;
	if (!cache || old == new) {
		free(store);
		message_set(cache ? "store kind migrating: old and new are the same store"
				: "store kind migrating: neither store has a segment for the mode to live in: one of them has to be of kind shm");
		return LARDER_INVALID;
	}
	enum larder_status status = migration_open(&store->migration, cache, values[MIGRATING_NAME].text);
	if (status) {
		free(store);
		return status;
	}
	store->side[OLD] = larder_store_hold(old);
	store->side[NEW] = larder_store_hold(new);
	*self = store;
	return LARDER_OK;
}

const struct larder_store_kind store_migrating = {
	.size = sizeof(struct larder_store_kind),
	.name = "migrating",
	.rules = rules,
	.rule_count = MIGRATING_SETTINGS,
	.open = migrating_open,
	.close = migrating_close,
	.health = migrating_health,
	.get = migrating_get,
	.set = migrating_set,
	.remove = migrating_remove,
	.clear = migrating_clear,
	.mget = migrating_mget,
	.touch = migrating_touch,
	.incr = migrating_incr,
	.drain = migrating_drain,
	.cache = migrating_cache,
};
