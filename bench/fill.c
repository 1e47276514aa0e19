/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many bytes does an entry take?  For larder the whole cache counts, index, ghosts and reserve too: its bytes are
 * divided by the entries it held when the first one had to go, and by those it holds after three times as many have
 * been set. For the others, whose memory grows, by what they took for the keys loaded.
 */
#include <string.h>
#include <unistd.h>

#include "crew.h"
#include "peer_larder.h"

struct filling {
	const char *name;
	uint32_t create_flags;
	int64_t ttl_ms;
};

static const struct filling fillings[] = {
	{ "larder, plain", LARDER_PLAIN, LARDER_TTL_NONE },
	{ "larder, version and created", 0, LARDER_TTL_NONE },
	{ "larder, version, created and TTL", 0, 3600 * 1000 },
};

static uint64_t evictions(const struct larder_stat *stat)
{
	return stat->evictions_small + stat->evictions_main + stat->evictions_need + stat->evictions_index;
}

/* Sets fresh keys until `until` or the first eviction; the entries then. */
static uint64_t set_fresh(struct larder *cache, const struct filling *filling, const struct shape *shape,
		struct peer_pair *pair, uint64_t *next, uint64_t until, bool stop_at_eviction)
{
	struct larder_stat stat;

	memset(&stat, 0, sizeof stat);
	for (; *next < until; (*next)++) {
		pair_make(pair, shape, *next);
		larder_set(cache, 0, pair->key, shape->key_bytes, pair->value, shape->value_bytes, filling->ttl_ms);
		if (!stop_at_eviction || *next % 256 != 0)
			continue;
		larder_stat(cache, &stat);
		if (evictions(&stat) > stat.sets / 1000)
			break;
	}
	larder_stat(cache, &stat);
	return stat.entries;
}

static int measure(const struct filling *filling, const struct shape *shape, struct report *report)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct peer_pair pair;
	struct larder *cache;
	uint64_t next = 0, first, full;
	char name[64];

	snprintf(name, sizeof name, "bench.%d.fill", (int)getpid());
	options.flags = LARDER_EXCLUSIVE;
	options.create_flags = filling->create_flags;
	options.bytes = shape->keys * 110;
	options.entry_bytes = shape->key_bytes + shape->value_bytes;
	if (pair_new(&pair, shape) < 0)
		return -1;
	if (larder_open_with(name, &options, &cache) < 0) {
		bench_complain("fill: %s", larder_message());
		pair_free(&pair);
		return -1;
	}
	first = set_fresh(cache, filling, shape, &pair, &next, shape->keys * 3, true);
	full = set_fresh(cache, filling, shape, &pair, &next, shape->keys * 3, false);
	larder_close(&cache);
	larder_destroy(name);
	pair_free(&pair);
	report_row(report);
	report_text(report, "peer", "%s", filling->name);
	report_number(report, "bytes per entry", (double)options.bytes / (double)(first > full ? first : full), 1);
	report_number(report, "before evicting", (double)options.bytes / (double)first, 1);
	report_number(report, "steady", (double)options.bytes / (double)full, 1);
	return 0;
}

static void others(const struct bench_options *options, const struct shape *shape, struct report *report)
{
	const struct crew_order order = { .act = ACT_MEMORY, .workers = 1 };
	const struct crew_supply supply = { .stream_count = 0 };
	struct crew_result result;
	struct crews crews;

	if (crews_hire(&crews, options, shape, &supply, "limit,table,rculfhash,ck_ht,lmdb,boost,memcached,redis") < 0)
		return;
	for (unsigned i = 0; i < crews.count; i++) {
		if (crew_do(crews.all[i], &order, &result) < 0 || result.ops == 0)
			continue;
		report_row(report);
		report_text(report, "peer", "%s", crew_kind(crews.all[i])->name);
		report_number(report, "bytes per entry", (double)result.ops / (double)shape->keys, 1);
	}
	crews_dismiss(&crews);
}

int fill_run(const struct bench_options *options, struct report *report)
{
	const struct shape shape = {
		.keys = options->keys, .key_bytes = options->key_bytes, .value_bytes = options->value_bytes,
		.workers = 1,
	};

	report_section(report, "fill", "bytes per entry, all told; %llu keys of %u B, values of %u B",
			(unsigned long long)shape.keys, shape.key_bytes, shape.value_bytes);
	for (unsigned i = 0; i < sizeof fillings / sizeof fillings[0] && !bench_interrupted(); i++) {
		bench_progress("fill: %s", fillings[i].name);
		if (measure(&fillings[i], &shape, report) < 0)
			return -1;
	}
	others(options, &shape, report);
	bench_progress_end();
	return bench_interrupted() ? -1 : 0;
}
