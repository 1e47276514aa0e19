/* SPDX-License-Identifier: BSD-2-Clause */
/* The operations that larder-step takes apart, and the actor that performs one of them between two markers. */
#include "step.h"
#include "tracee.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A segment of these caches takes a few KiB (step_options): what is set into a full one is nearly a segment, so that
 * another one must be emptied, and the large values are of several pieces. */
const struct operation operations[] = {
	{ .name = "set-new", .kind = LIN_SET, .old = OLD_ABSENT, .new_bytes = 120 },
	{ .name = "overwrite-same", .kind = LIN_SET, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 120 },
	{ .name = "overwrite-reusing", .kind = LIN_SET, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 120, .traits = STEP_READY,
		.manner = CALL_SHORT },
	{ .name = "overwrite-reusing-ttl", .kind = LIN_SET, .old = OLD_TTL, .old_bytes = 120, .new_bytes = 120,
		.traits = STEP_READY, .manner = CALL_SHORT },
	{ .name = "overwrite-splitting", .kind = LIN_SET, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 120, .traits = STEP_READY | STEP_SPLIT },
	{ .name = "short-overwrite", .kind = LIN_SET, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 120, .manner = CALL_SHORT },
	{ .name = "overwrite-larger", .kind = LIN_SET, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 900 },
	{ .name = "overwrite-counter", .kind = LIN_SET, .old = OLD_COUNTER, .new_bytes = 120 },
	{ .name = "add", .kind = LIN_ADD, .old = OLD_ABSENT, .new_bytes = 120 },
	{ .name = "add-expired", .kind = LIN_ADD, .old = OLD_EXPIRED, .old_bytes = 120, .new_bytes = 120 },
	{ .name = "replace", .kind = LIN_REPLACE, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 120 },
	{ .name = "get-and-set", .kind = LIN_SWAP, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 200 },
	{ .name = "delete", .kind = LIN_DELETE, .old = OLD_VALUE, .old_bytes = 120 },
	{ .name = "get", .kind = LIN_GET, .old = OLD_VALUE, .old_bytes = 120 },
	{ .name = "short-get", .kind = LIN_GET, .old = OLD_VALUE, .old_bytes = 120, .manner = CALL_SHORT },
	{ .name = "short-get-ttl", .kind = LIN_GET, .old = OLD_TTL, .old_bytes = 120, .manner = CALL_SHORT },
	{ .name = "get-ttl", .kind = LIN_GET, .old = OLD_TTL, .old_bytes = 120 },
	{ .name = "get-counter", .kind = LIN_GET, .old = OLD_COUNTER },
	{ .name = "expired-get", .kind = LIN_GET, .old = OLD_EXPIRED, .old_bytes = 120 },
	{ .name = "zero-copy-get", .kind = LIN_GET, .old = OLD_VALUE, .old_bytes = 120, .manner = CALL_PIN },
	{ .name = "multi-get", .kind = LIN_GET, .old = OLD_VALUE, .old_bytes = 120, .manner = CALL_MANY },
	{ .name = "multi-set", .kind = LIN_SET, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 120,
		.manner = CALL_MANY },
	{ .name = "incr", .kind = LIN_INCR, .old = OLD_COUNTER },
	{ .name = "incr-new", .kind = LIN_INCR, .old = OLD_ABSENT },
	{ .name = "incr-digits", .kind = LIN_INCR, .old = OLD_DIGITS },
	{ .name = "cas", .kind = LIN_CAS, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 120 },
	{ .name = "cas-counter", .kind = LIN_CAS, .old = OLD_COUNTER, .new_bytes = 120 },
	{ .name = "touch", .kind = LIN_TOUCH, .old = OLD_VALUE, .old_bytes = 120 },
	{ .name = "touch-counter", .kind = LIN_TOUCH, .old = OLD_COUNTER },
	{ .name = "append", .kind = LIN_APPEND, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 40 },
	{ .name = "append-counter", .kind = LIN_APPEND, .old = OLD_COUNTER, .new_bytes = 40 },
	{ .name = "flush", .kind = LIN_FLUSH, .old = OLD_VALUE, .old_bytes = 120, .traits = STEP_OWN_NS },
	{ .name = "evicting-set", .kind = LIN_SET, .old = OLD_ABSENT, .new_bytes = 3600, .traits = STEP_FULL },
	{ .name = "evicting-overwrite", .kind = LIN_SET, .old = OLD_VALUE, .old_bytes = 200, .new_bytes = 3600,
		.traits = STEP_FULL },
	{ .name = "maintain", .kind = LIN_NONE, .old = OLD_VALUE, .old_bytes = 120,
		.traits = STEP_FULL | STEP_MAINTAIN },
	{ .name = "large-set", .kind = LIN_SET, .old = OLD_ABSENT, .new_bytes = 40000, .traits = STEP_LARGE },
	{ .name = "large-overwrite", .kind = LIN_SET, .old = OLD_VALUE, .old_bytes = 40000, .new_bytes = 50000,
		.traits = STEP_LARGE },
	{ .name = "large-get", .kind = LIN_GET, .old = OLD_VALUE, .old_bytes = 40000, .traits = STEP_LARGE },
	{ .name = "large-zero-copy-get", .kind = LIN_GET, .old = OLD_VALUE, .old_bytes = 40000, .manner = CALL_PIN,
		.traits = STEP_LARGE },
	{ .name = "large-delete", .kind = LIN_DELETE, .old = OLD_VALUE, .old_bytes = 40000, .traits = STEP_LARGE },
	{ .name = "large-append", .kind = LIN_APPEND, .old = OLD_VALUE, .old_bytes = 32000, .new_bytes = 40,
		.traits = STEP_LARGE },
	{ .name = "lease", .kind = LIN_GET, .old = OLD_ABSENT, .manner = CALL_LEASE },
	{ .name = "lease-stale", .kind = LIN_GET, .old = OLD_STALE, .old_bytes = 120, .manner = CALL_LEASE },
	{ .name = "lease-take-over", .kind = LIN_GET, .old = OLD_ABSENT, .manner = CALL_LEASE, .traits = STEP_DEAD_LEASE },
	{ .name = "lease-take-over-stale", .kind = LIN_GET, .old = OLD_STALE, .old_bytes = 120, .manner = CALL_LEASE,
		.traits = STEP_DEAD_LEASE },
	{ .name = "lease-set", .kind = LIN_ADD, .old = OLD_ABSENT, .new_bytes = 120, .manner = CALL_LEASE_SET,
		.traits = STEP_LEASED },
	{ .name = "lease-set-stale", .kind = LIN_ADD, .old = OLD_STALE, .old_bytes = 120, .new_bytes = 200,
		.manner = CALL_LEASE_SET, .traits = STEP_LEASED },
	{ .name = "lease-release", .kind = LIN_NONE, .old = OLD_ABSENT, .manner = CALL_LEASE_RELEASE, .traits = STEP_LEASED },
	{ .name = "lease-release-stale", .kind = LIN_NONE, .old = OLD_STALE, .old_bytes = 120,
		.manner = CALL_LEASE_RELEASE, .traits = STEP_LEASED },
	{ .name = "tag-invalidate", .kind = LIN_FLUSH, .old = OLD_TAGGED, .old_bytes = 120, .manner = CALL_TAG },
	{ .name = "quota-set", .kind = LIN_SET, .old = OLD_ABSENT, .new_bytes = 120, .traits = STEP_OWN_NS | STEP_QUOTA },
	{ .name = "quota-overwrite", .kind = LIN_SET, .old = OLD_VALUE, .old_bytes = 120, .new_bytes = 900,
		.traits = STEP_OWN_NS | STEP_QUOTA },
	{ .name = "iterate", .kind = LIN_NONE, .old = OLD_VALUE, .old_bytes = 120, .traits = STEP_WALK },
	{ .name = "namespace", .kind = LIN_NONE, .old = OLD_VALUE, .old_bytes = 120, .traits = STEP_FRESH_NS },
	{ .name = "attach", .kind = LIN_GET, .old = OLD_VALUE, .old_bytes = 120, .traits = STEP_COLD },
	{ .name = "close", .kind = LIN_NONE, .old = OLD_VALUE, .old_bytes = 120, .traits = STEP_CLOSE },
	{ .name = "create", .kind = LIN_NONE, .traits = STEP_LIFE | STEP_CREATE },
	{ .name = "destroy", .kind = LIN_NONE, .traits = STEP_LIFE | STEP_DESTROY },
};
const unsigned operations_count = sizeof operations / sizeof operations[0];

struct larder_options step_options(bool full)
{
	struct larder_options options = LARDER_OPTIONS_INIT;

	options.bytes = full ? STEP_FULL_BYTES : STEP_BYTES;
	options.namespaces = 256; /* one for each of many steps */
	options.entry_bytes = full ? 256 : 600; /* large: few buckets, so that the bystanders share them with the key */
	if (!full)
		options.segments = 64; /* so few that a large value takes fewer pieces than there are pins */
	options.participants = 16;
	return options;
}

/* ---- The actor ---- */

struct actor {
	struct board *board;
	struct larder *cache;
	struct call_buffers buffers;
	uint32_t ns;
};

/* A plain put is one that knows the moment from less than a millisecond ago.  Step by step each would be later than that, and
 * none be met: an actor with places at hand knows the moment for as long as it lives. */
static bool moments_last;
uint64_t __real_clock_ticks_span(void);
uint64_t __wrap_clock_ticks_span(void);
uint64_t __wrap_clock_ticks_span(void)
{
	return moments_last ? UINT64_MAX : __real_clock_ticks_span();
}

static void actor_attach(struct actor *actor)
{
	struct larder_options options = step_options(actor->board->operation->traits & STEP_FULL);

	if (!(actor->board->operation->traits & STEP_CREATE))
		options.flags = LARDER_ATTACH_ONLY;
	actor->board->call.status = larder_open_with(actor->board->path, &options, &actor->cache);
}

/* Takes the lease of the key, by itself or by another who then is gone. */
static void actor_lease(struct actor *actor)
{
	struct board *board = actor->board;
	struct larder *holder = actor->cache, *gone = NULL;
	struct larder_options options = step_options(false);
	struct larder_lease lease;

	if (board->operation->traits & STEP_DEAD_LEASE) {
		if (larder_open_with(board->path, &options, &gone) != LARDER_OK)
			_exit(22);
		holder = gone;
	}
	if (larder_lease(holder, board->key.ns, board->key.text, board->key.bytes, NULL, NULL, 0, NULL, &lease) != LARDER_MISS
			|| !lease.held)
		_exit(23);
	board->call.expected = lease.token;
	larder_close(&gone);
}

#define READY_OVERWRITES 1100u /* more than the batch after which a scan of hazards makes them ready */

/* Overwrites by which places of the size of the call's come to be ready for it, and to be the next two that are taken. */
static void actor_make_ready(struct actor *actor)
{
	char key[LARDER_KEY_MAX], value[4096] = "";
	size_t key_bytes = actor->board->key.bytes, value_bytes = actor->board->operation->new_bytes;

	if (actor->board->operation->traits & STEP_SPLIT)
		value_bytes *= 5;
	memset(key, 'r', key_bytes);
	for (unsigned i = 0; i < READY_OVERWRITES; i++)
		if (larder_set(actor->cache, actor->board->key.ns, key, key_bytes, value, value_bytes,
				actor->board->call.ttl_ms) != LARDER_OK)
			_exit(24);
	(void)larder_delete(actor->cache, actor->board->key.ns, key, key_bytes);
}

/* Attaches, takes a participant slot, and reads the version that a cas expects. */
static void actor_enter(struct actor *actor)
{
	struct board *board = actor->board;
	unsigned traits = board->operation->traits;
	struct larder_meta meta;
	size_t length;

	if (traits & (STEP_COLD | STEP_CREATE | STEP_DESTROY))
		return;
	actor_attach(actor);
	if (board->call.status != LARDER_OK)
		_exit(20);
	larder_exists(actor->cache, 0, "warm", 4);
	if (traits & (STEP_LEASED | STEP_DEAD_LEASE))
		actor_lease(actor);
	if (traits & STEP_READY)
		actor_make_ready(actor);
	if (board->call.kind != LIN_CAS)
		return;
	if (larder_get_with(actor->cache, board->key.ns, board->key.text, board->key.bytes, actor->buffers.out,
			actor->buffers.out_capacity, &length, LARDER_NO_COUNT, &meta) != LARDER_OK)
		_exit(21);
	board->call.expected = meta.version;
}

static bool see_entry(const struct larder_entry *entry, void *arg)
{
	(void)entry;
	(void)arg;
	return true;
}

/* The stretch. */
static void actor_run(struct actor *actor)
{
	struct board *board = actor->board;
	struct lin_call *call = &board->call;

	switch (board->operation->traits & ~(unsigned)(STEP_FULL | STEP_LARGE | STEP_OWN_NS | STEP_LIFE | STEP_LEASED | STEP_DEAD_LEASE | STEP_QUOTA | STEP_READY | STEP_SPLIT)) {
	case STEP_COLD:
		actor_attach(actor);
		if (call->status == LARDER_OK)
			call_run(actor->cache, &board->key, &actor->buffers, call);
		break;
	case STEP_CREATE:
		actor_attach(actor);
		break;
	case STEP_DESTROY:
		call->status = larder_destroy(board->path);
		break;
	case STEP_CLOSE:
		larder_close(&actor->cache);
		break;
	case STEP_WALK:
		call->status = larder_iterate(actor->cache, LARDER_ALL_NAMESPACES, "", 0, LARDER_ITERATE_VALUES, see_entry, NULL);
		break;
	case STEP_FRESH_NS:
		call->status = larder_namespace(actor->cache, board->key.text, &actor->ns);
		break;
	case STEP_MAINTAIN:
		call->status = larder_maintain(actor->cache, 1024, NULL);
		break;
	default:
		call_run(actor->cache, &board->key, &actor->buffers, call);
	}
}

/* After the stretch the process is as good as any: it uses the cache once more, and goes in good order. */
static void actor_leave(struct actor *actor)
{
	struct board *board = actor->board;

	if (actor->cache != NULL) {
		board->leave_status = larder_set(actor->cache, 0, "left", 4, board->path, strlen(board->path), LARDER_TTL_NONE);
		if (board->leave_status == LARDER_OK)
			board->leave_status = larder_exists(actor->cache, 0, "left", 4);
		larder_close(&actor->cache);
	}
	board->left = true;
}

void actor_play(void *arg)
{
	static unsigned char value[STEP_VALUE_MAX];
	struct board *board = arg;
	struct actor actor = { .board = board };

	actor.buffers = (struct call_buffers){ .in = value, .out = board->copy, .out_capacity = sizeof board->copy,
		.manner = board->operation->manner };
	if (board->operation->new_bytes > 0) {
		stamp_write(value, board->operation->new_bytes, board->key.text, board->key.bytes, 2, (uint32_t)board->point);
		board->call.in = lin_value_of(value, board->operation->new_bytes);
	}
	moments_last = board->operation->traits & STEP_READY;
	actor_enter(&actor);
	tracee_marker();
	actor_run(&actor);
	tracee_marker();
	actor_leave(&actor);
}
