/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder namespace: lists the namespaces, or registers one and gives it a default time to live, or a quota.
 */
#include "tool.h"

#include <inttypes.h>
#include <larder/policy.h>
#include <string.h>

#define QUOTA_KEEP UINT64_MAX

static const struct option longs[] = {
	LONG_HELP, LONG_JSON,
	{ "ttl", required_argument, NULL, 't' },
	{ "quota", required_argument, NULL, 'q' },
	LONG_END,
};

static int print_row(const struct larder_namespace_info *info, void *arg)
{
	char size[TEXT_MAX], quota[TEXT_MAX], ttl[TEXT_MAX];

	(void)arg;
	printf("%4u  %10u  %12" PRId64 "  %10s  %10s  %10s  ", info->ns, info->generation, info->entries,
			text_size(info->bytes > 0 ? (uint64_t)info->bytes : 0, size),
			info->quota_bytes ? text_size(info->quota_bytes, quota) : "none",
			text_duration(info->ttl_ms, ttl));
	print_name(stdout, info->name);
	putchar('\n');
	return TOOL_OK;
}

static int print_json(const struct larder_namespace_info *info, void *arg)
{
	json_t *object = json_object();

	(void)arg;
	json_set_bytes(object, "namespace", (struct bytes){ (const unsigned char *)info->name, strlen(info->name) });
	json_object_set_new(object, "number", json_number(info->ns));
	json_object_set_new(object, "generation", json_number(info->generation));
	json_object_set_new(object, "entries", json_integer(info->entries));
	json_object_set_new(object, "bytes", json_integer(info->bytes));
	json_object_set_new(object, "ttl_ms",
			info->ttl_ms == LARDER_TTL_NONE ? json_null() : json_integer(info->ttl_ms));
	json_object_set_new(object, "quota_bytes", info->quota_bytes ? json_number(info->quota_bytes) : json_null());
	return json_print(object, true);
}

static int list(const char *name, bool json)
{
	struct larder *cache;
	int code = cache_inspect(name, &cache);

	if (code != TOOL_OK)
		return code;
	if (!json)
		printf("%4s  %10s  %12s  %10s  %10s  %10s  %s\n", "NS", "GENERATION", "ENTRIES", "BYTES", "QUOTA",
				"TTL", "NAME");
	code = namespace_each(cache, json ? print_json : print_row, NULL);
	larder_close(&cache);
	return code;
}

/* ttl_ms: LARDER_TTL_KEEP leaves the one there is; so does a quota of QUOTA_KEEP. */
static int establish(const char *cache_name, const char *name, int64_t ttl_ms, uint64_t quota_bytes)
{
	struct larder *cache;
	uint32_t ns;
	int code = cache_attach(cache_name, &cache);

	if (code != TOOL_OK)
		return code;
	code = namespace_register(cache, name, &ns);
	if (code == TOOL_OK && ttl_ms != LARDER_TTL_KEEP) {
		enum larder_status status = larder_namespace_ttl(cache, ns, ttl_ms);
		code = status == LARDER_OK ? TOOL_OK : report_open(cache_name, status);
	}
	if (code == TOOL_OK && quota_bytes != QUOTA_KEEP) {
		enum larder_status status = larder_namespace_quota(cache, ns, quota_bytes);
		code = status == LARDER_OK ? TOOL_OK : report_open(cache_name, status);
	}
	larder_close(&cache);
	return code;
}

static int run(int argc, char **argv)
{
	int64_t ttl_ms = LARDER_TTL_KEEP;
	uint64_t quota_bytes = QUOTA_KEEP;
	bool json = false;
	int option;

	while ((option = option_next(argc, argv, ":hjt:q:", longs)) != -1) {
		json |= option == 'j';
		if (option == 't')
			ttl_ms = ttl_argument(optarg);
		if (option == 'q')
			quota_bytes = strcmp(optarg, "none") ? size_argument("quota", optarg) : 0;
	}
	operands_expect(argc, argv, 1, 2);
	if (argc - optind == 2 && ttl_ms != LARDER_TTL_DEFAULT)
		return establish(argv[optind], argv[optind + 1], ttl_ms, quota_bytes);
	if (ttl_ms != LARDER_TTL_KEEP || quota_bytes != QUOTA_KEEP)
		usage_error("--ttl wants a namespace (\"\" for the default one) and a duration, or none; --quota a "
			    "namespace and a size, "
			    "or none");
	return list(argv[optind], json);
}

const struct command cmd_namespace = {
	.name = "namespace",
	.summary = "Lists namespaces, or makes one and gives it a default time to live, or a quota",
	.synopsis = "[-j] CACHE | [-t TTL] [-q SIZE] CACHE NAMESPACE",
	.options = "  -t, --ttl TTL            of entries set from now on without their own: 30s, 12h, 7d, none\n"
		"  -q, --quota SIZE         bytes that its entries may take: 64m, none\n"
		"  -j, --json               one JSON object a line\n" HELP_HELP,
	.run = run,
};
