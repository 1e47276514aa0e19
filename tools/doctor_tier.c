/* SPDX-License-Identifier: BSD-2-Clause */
/* larder doctor, what stands behind a cache: Redis servers and tiers, as the cache knows them (sample_tier.c).  Asks no server. */
#include "doctor.h"
#include "sample.h"

#include <inttypes.h>

static void check_server(struct doctor *doctor, const struct larder_redis_node *node)
{
	char text[TEXT_MAX];

	if (node->breaker == LARDER_REDIS_CLOSED) {
		found(doctor, GRADE_FINE, "redis", "%s answered when it was last asked", node->address);
		return;
	}
	found(doctor, GRADE_FAULT, "redis", "%s has been cut off for %s; last failure: %s", node->address,
			text_duration((int64_t)node->open_for_ms / 1000 * 1000, text), *node->last ? node->last : "unknown");
	because(doctor, "hits go on; what needs the server fails at once, or is kept for later, as on-failure says");
	change(doctor, "see whether it runs and can be reached from here: larder redis ping URL");
}

static void check_line(struct doctor *doctor, const struct sample_tier *tier)
{
	const struct larder_tiered_info *info = &tier->info;
	char text[TEXT_MAX];

	if (sample_heard(info)) {
		found(doctor, GRADE_FINE, "tier", "before %s: changes of others are heard", tier->far);
	} else if (info->broken && info->held) {
		found(doctor, GRADE_ADVICE, "tier", "before %s: changes of others have not been heard for %s", tier->far,
				text_duration((int64_t)info->broken_for_ms / 1000 * 1000, text));
		because(doctor, "%s; what is near may be stale, for as long as on-gap allows",
				info->trouble ? larder_strerror(info->trouble) : "its connection ended");
		change(doctor, "see that Redis can be reached, and lets its user CLIENT TRACKING and SUBSCRIBE");
	} else {
		found(doctor, GRADE_NOTE, "tier", "before %s: nobody listens for changes of others", tier->far);
		because(doctor, "no process of the tier is there, or none has listener = thread or call: then near-ttl is how old a value can be");
	}
	if (!info->lost)
		return;
	found(doctor, GRADE_NOTE, "writes behind", "%" PRIu64 " %s dropped or refused so far", info->lost, plural(info->lost, "was", "were"));
	because(doctor, "the queue was full (on-full), or %s refused them", tier->far);
}

static void check_dirty(struct doctor *doctor, const struct sample_remote *remote)
{
	if (!remote->dirty) {
		found(doctor, GRADE_FINE, "dirty entries", "the far store has all that is near");
		return;
	}
	found(doctor, GRADE_ADVICE, "dirty entries", "%s%" PRIu64 " %s near that the far store does not have", remote->dirty_sampled ? "about " : "",
			remote->dirty, plural(remote->dirty, "entry is", "entries are"));
	because(doctor, "they are lost if they are evicted or expire before, or if this host goes down");
	change(doctor, "larder redis --near %s reconcile URL, once the server answers", doctor->cache_path);
}

int doctor_tiers(struct doctor *doctor, struct larder *cache, uint64_t entries)
{
	struct sample_remote remote = { .tiers = NULL };
	enum larder_status status = sample_remote_take(cache, entries, &remote);

	for (unsigned i = 0; i < remote.breaker_count && !status; i++)
		check_server(doctor, &remote.breakers[i]);
	for (unsigned i = 0; i < remote.tier_count && !status; i++)
		check_line(doctor, &remote.tiers[i]);
	if (remote.tier_count && !status)
		check_dirty(doctor, &remote);
	sample_remote_free(&remote);
	return status ? report_cache(status == LARDER_END ? LARDER_NO_MEMORY : status) : TOOL_OK;
}
