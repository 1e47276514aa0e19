/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder ls: the keys of a cache, as the index holds them at the moment it is walked; in short, in columns, or as one
 * JSON object a line.  Streams: nothing is sorted, nothing kept.
 */
#include "tool.h"

#include <string.h>

struct listing {
	const char *ns;
	struct bytes prefix;
	bool all, hex, json, tall, stale; /* tall: the long form */
	struct namespace_names names;
	uint64_t seen, limit;
};

static const struct option longs[] = {
	LONG_HELP, LONG_NAMESPACE, LONG_HEX, LONG_JSON,
	{ "all", no_argument, NULL, 'a' },
	{ "prefix", required_argument, NULL, 'p' },
	{ "long", no_argument, NULL, 'l' },
	{ "stale", no_argument, NULL, 'S' },
	{ "limit", required_argument, NULL, 'c' },
	LONG_END,
};

static void print_long(struct listing *listing, const struct larder_entry *entry, struct bytes key)
{
	char ttl[TEXT_MAX];

	printf("%12zu  %10s  %4u  %-5s  ", entry->meta.value_bytes, text_duration(entry->meta.ttl_left_ms, ttl),
			entry->hits, entry->main_pool ? "main" : "small");
	if (listing->all) {
		const char *name = namespace_name(&listing->names, entry->ns);
		print_name(stdout, name);
		fputs("  ", stdout);
	}
	print_bytes(stdout, key, listing->hex);
	putchar('\n');
}

static void print_json(struct listing *listing, const struct larder_entry *entry, struct bytes key)
{
	const char *name = namespace_name(&listing->names, entry->ns);
	json_t *object = json_object();

	json_set_bytes(object, "key", key);
	json_set_bytes(object, "namespace", (struct bytes){ (const unsigned char *)name, strlen(name) });
	json_set_meta(object, &entry->meta);
	json_object_set_new(object, "stored_bytes", json_number(entry->stored_bytes));
	json_object_set_new(object, "hits", json_number(entry->hits));
	json_object_set_new(object, "pool", json_string(entry->main_pool ? "main" : "small"));
	json_print(object, true);
}

static bool print_entry(const struct larder_entry *entry, void *arg)
{
	struct listing *listing = arg;
	struct bytes key = { entry->key, entry->key_bytes };

	if (listing->json)
		print_json(listing, entry, key);
	else if (listing->tall)
		print_long(listing, entry, key);
	else {
		print_bytes(stdout, key, listing->hex);
		putchar('\n');
	}
	return ++listing->seen != listing->limit && !ferror(stdout);
}

static int list(struct larder *cache, struct listing *listing)
{
	uint32_t ns = LARDER_ALL_NAMESPACES;
	int code = listing->all ? TOOL_OK : namespace_find(cache, listing->ns, &ns);

	if (code == TOOL_OK)
		code = namespace_names_open(&listing->names, cache);
	if (code != TOOL_OK)
		return code;
	if (listing->tall && !listing->json)
		printf("%12s  %10s  %4s  %-5s  %sKEY\n", "SIZE", "TTL", "HITS", "POOL",
				listing->all ? "NAMESPACE  " : "");
	enum larder_status status = larder_iterate(cache, ns, listing->prefix.data, listing->prefix.count,
			listing->stale ? LARDER_ITERATE_STALE : 0, print_entry, listing);
	return status < 0 ? report_cache(status) : TOOL_OK;
}

static void apply(int option, struct listing *listing)
{
	if (option == 'N')
		listing->ns = optarg;
	else if (option == 'c')
		listing->limit = version_argument("limit", optarg);
	listing->all |= option == 'a';
	listing->hex |= option == 'x';
	listing->json |= option == 'j';
	listing->tall |= option == 'l';
	listing->stale |= option == 'S';
}

static int run(int argc, char **argv)
{
	static char empty[] = "";
	struct listing listing = { .ns = "" };
	char *prefix = empty;
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hN:xjap:lSc:", longs)) != -1) {
		apply(option, &listing);
		prefix = option == 'p' ? optarg : prefix;
	}
	operands_expect(argc, argv, 1, 1);
	if (listing.all && *listing.ns)
		usage_error("--all and --namespace exclude each other");
	listing.prefix = prefix_argument(prefix, listing.hex);
	int code = cache_inspect(argv[optind], &cache);
	if (code != TOOL_OK)
		return code;
	code = list(cache, &listing);
	namespace_names_close(&listing.names);
	larder_close(&cache);
	return code;
}

const struct command cmd_ls = {
	.name = "ls",
	.summary = "Lists keys",
	.synopsis = "[-ajlSx] [-N NAMESPACE] [-p PREFIX] [-c COUNT] CACHE",
	.options = HELP_NAMESPACE
		"  -a, --all                keys of all namespaces\n"
		"  -p, --prefix PREFIX      only keys that begin with these bytes\n"
		"  -c, --limit COUNT        stop after so many\n"
		"  -l, --long               columns: size of the value, time to live, hits (0 to 3), pool, key\n"
		"  -S, --stale              also keys that 'larder flush --soft' has hidden\n"
		"  -x, --hex                keys and prefix are written in hexadecimal\n"
		"  -j, --json               one JSON object a line\n" HELP_HELP,
	.run = run,
};
