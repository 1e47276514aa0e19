/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder redis reconcile: what is dirty in a near cache is brought to the Redis behind it, and what the tier's processes have counted
 * is shown.  Attaches like any program that uses the tier; an end in the middle leaves the rest dirty.
 */
#include "sample.h"
#include "tool.h"

#include <inttypes.h>
#include <larder/tiered.h>
#include <string.h>

#include "redis_reconcile.h"

struct stores {
	struct larder_store *near, *far, *tier;
};

static struct larder_store *find(const char *name, void *arg)
{
	const struct stores *stores = arg;

	return !strcmp(name, "far") ? stores->far : stores->near;
}

static int failed(enum larder_status status)
{
	complain("%s", *larder_message() ? larder_message() : larder_strerror(status));
	return status == LARDER_INVALID ? TOOL_USAGE : TOOL_FAILED;
}

static enum larder_status open_all(const struct reconcile *r, struct stores *stores)
{
	const struct larder_setting near[] = { { "name", r->near }, { "attach-only", "yes" } };
	const struct larder_setting far[] = { { "url", r->url }, { "client-name", "larder-tool" }, { "prefix", r->prefix },
		{ "timeout", "1s" }, { "connect-timeout", "1s" }, { "envelope", r->envelope ? "yes" : "no" } };
	const struct larder_setting tier[] = { { "near", "near" }, { "far", "far" } };
	enum larder_status status = larder_store_open("shm", near, 2, NULL, NULL, &stores->near);

	if (!status)
		status = larder_store_open("redis", far, 6, NULL, NULL, &stores->far);
	return status ? status : larder_store_open("tiered", tier, 2, find, stores, &stores->tier);
}

static int tell_json(const struct larder_tiered_repair *done, const struct larder_tiered_info *info, bool complete)
{
	json_t *object = json_object();

	json_object_set_new(object, "complete", json_boolean(complete));
	json_object_set_new(object, "dirty", json_number(done->dirty));
	json_object_set_new(object, "written", json_number(done->written));
	json_object_set_new(object, "deleted", json_number(done->deleted));
	json_object_set_new(object, "outdated", json_number(done->outdated));
	json_object_set_new(object, "failed", json_number(done->failed));
	json_object_set_new(object, "live", json_boolean(info->live));
	json_object_set_new(object, "broken", json_boolean(info->broken));
	json_object_set_new(object, "gaps", json_number(info->gaps));
	json_object_set_new(object, "invalidations", json_number(info->invalidations));
	json_object_set_new(object, "pending", json_number(info->pending));
	json_object_set_new(object, "lost", json_number(info->lost));
	return json_print(object, false);
}

static void tell(const struct larder_tiered_repair *done, const struct larder_tiered_info *info)
{
	printf("%" PRIu64 " dirty %s: %" PRIu64 " written, %" PRIu64 " deleted, %" PRIu64 " outdated, %" PRIu64 " failed\n", done->dirty,
			plural(done->dirty, "entry", "entries"), done->written, done->deleted, done->outdated, done->failed);
	printf("changes of others: %s, %" PRIu64 " %s, %" PRIu64 " %s invalidated\n",
			sample_line(info), info->gaps, plural(info->gaps, "gap", "gaps"),
			info->invalidations, plural(info->invalidations, "key", "keys"));
	printf("written behind: %" PRIu64 " accepted, %" PRIu64 " written, %" PRIu64 " superseded, %" PRIu64 " lost\n", info->accepted,
			info->written, info->superseded, info->lost);
}

static int reconcile(const struct reconcile *r, struct stores *stores)
{
	struct larder_tiered_repair done;
	struct larder_tiered_info info;
	enum larder_status status = larder_tiered_repair(stores->tier, r->timeout_ms, &done), known = larder_tiered_info(stores->tier, &info);

	if (known)
		return failed(known);
	int code = TOOL_OK;
	if (r->json)
		code = tell_json(&done, &info, !status);
	else
		tell(&done, &info);
	if (status)
		return failed(status);
	return done.failed ? TOOL_FAILED : code;
}

int redis_reconcile(const struct reconcile *r)
{
	struct stores stores = { 0 };
	enum larder_status status = open_all(r, &stores);
	int code = status ? stores.near ? failed(status) : report_open(r->near, status) : reconcile(r, &stores);

	larder_store_release(&stores.tier);
	larder_store_release(&stores.far);
	larder_store_release(&stores.near);
	return code;
}
