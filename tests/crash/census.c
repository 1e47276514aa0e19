/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The witness's census of a full cache.  Entries go all the time there, so that one missing proves nothing; but each that
 * goes is counted as evicted by whoever takes it out.  An evictor that dies or stands still in the middle of a segment
 * must not make the rest of it disappear uncounted: that would be a leak by death (G4).
 */
#include "step.h"

#include <inttypes.h>
#include <stdio.h>

#define VALUE_BYTES 200u
/* Keys are used when so many others have been set after them: a twentieth of the cache, when uses count. */
#define USE_LAG 200u
#define DRAIN_MAX 400u
/* A death between an entry's removal and the count of it. */
#define UNCOUNTED 2u

static void census_key(struct call_key *key, uint64_t number)
{
	*key = (struct call_key){ .ns = 0 };
	key->bytes = (size_t)snprintf(key->text, sizeof key->text, "census.%" PRIu64, number);
}

static void add(struct scene *scene, uint64_t number)
{
	if (scene->census.count < CENSUS_MAX)
		scene->census.live[scene->census.count++] = number;
}

void census_fill(struct scene *scene, unsigned count)
{
	struct call_key key;
	size_t length;

	for (unsigned i = 0; i < count; i++) {
		uint64_t number = scene->census.next++;

		census_key(&key, number);
		scene_set(scene, &key, VALUE_BYTES);
		add(scene, number);
		if (number < USE_LAG || number % 2 == 0)
			continue;
		census_key(&key, number - USE_LAG);
		for (unsigned uses = 2; uses > 0; uses--)
			larder_get(scene->caches[0], 0, key.text, key.bytes, scene->out, sizeof scene->out, &length);
	}
}

void census_drain(struct scene *scene)
{
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	enum larder_status status = LARDER_OK;
	struct call_key key;

	options.flags = LARDER_NO_EVICT;
	options.ttl_ms = LARDER_TTL_NONE;
	for (unsigned i = 0; i < DRAIN_MAX && status == LARDER_OK; i++) {
		census_key(&key, scene->census.next++);
		status = larder_set_with(scene->caches[0], 0, key.text, key.bytes, scene->in, VALUE_BYTES, &options, NULL);
		if (status == LARDER_OK)
			add(scene, scene->census.next - 1);
	}
	if (status != LARDER_OK && status != LARDER_WOULD_EVICT)
		scene_fail(scene, "a set that must not evict said: %s", larder_strerror(status));
}

static uint64_t counted(struct scene *scene)
{
	struct larder_stat stat;

	if (larder_stat(scene->caches[0], &stat) != LARDER_OK)
		return 0;
	return stat.evictions_small + stat.evictions_main + stat.evictions_index + stat.evictions_need;
}

void census_take(struct scene *scene)
{
	struct census *census = &scene->census;
	struct call_key key;
	unsigned held = 0;

	for (unsigned i = 0; i < census->count; i++) {
		census_key(&key, census->live[i]);
		if (larder_exists(scene->caches[0], 0, key.text, key.bytes) == LARDER_OK)
			census->live[held++] = census->live[i];
	}
	census->count = held;
	census->bystanders = scene_bystanders_held(scene);
	census->evictions = counted(scene);
}

void census_compare(struct scene *scene)
{
	struct census *census = &scene->census;
	unsigned before = census->count + census->bystanders; /* what was added since is in the list already */
	uint64_t evictions = census->evictions;

	census_take(scene);
	if (before > census->count + census->bystanders + (census->evictions - evictions) + UNCOUNTED)
		scene_fail(scene, "%u entries are gone, but only %" PRIu64 " were counted as evicted",
				before - census->count - census->bystanders, census->evictions - evictions);
}
