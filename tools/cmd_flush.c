/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder flush: invalidates a namespace at once, whatever its size; with --soft its values can still be had as stale.
 */
#include "tool.h"

struct request {
	const char *ns;
	bool all, soft;
};

struct pass {
	struct larder *cache;
};

static const struct option longs[] = {
	LONG_HELP, LONG_NAMESPACE,
	{ "all", no_argument, NULL, 'a' },
	{ "soft", no_argument, NULL, 's' },
	LONG_END,
};

static int flush_soft(const struct larder_namespace_info *info, void *arg)
{
	struct pass *pass = arg;
	enum larder_status status = larder_flush_soft(pass->cache, info->ns);

	return status == LARDER_OK ? TOOL_OK : report_cache(status);
}

static int flush(struct larder *cache, const struct request *request)
{
	struct pass pass = { cache };
	uint32_t ns;

	if (request->all && request->soft)
		return namespace_each(cache, flush_soft, &pass);
	int code = request->all ? TOOL_OK : namespace_find(cache, request->ns, &ns);
	if (code != TOOL_OK)
		return code;
	enum larder_status status = request->all ? larder_flush_all(cache) :
			request->soft ? larder_flush_soft(cache, ns) : larder_flush(cache, ns);
	return status == LARDER_OK ? TOOL_OK : report_cache(status);
}

static int run(int argc, char **argv)
{
	struct request request = { .ns = "" };
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hN:as", longs)) != -1) {
		if (option == 'N')
			request.ns = optarg;
		request.all |= option == 'a';
		request.soft |= option == 's';
	}
	operands_expect(argc, argv, 1, 1);
	if (request.all && *request.ns)
		usage_error("--all and --namespace exclude each other");
	int code = cache_attach(argv[optind], &cache);
	if (code != TOOL_OK)
		return code;
	code = flush(cache, &request);
	larder_close(&cache);
	return code;
}

const struct command cmd_flush = {
	.name = "flush",
	.summary = "Invalidates all entries of a namespace, at once",
	.synopsis = "[-s] [-a | -N NAMESPACE] CACHE",
	.options = "  -N, --namespace NAME     this namespace (default: the one without a name)\n"
		"  -a, --all                every namespace, one after the other\n"
		"  -s, --soft               values can still be read ('larder get --stale') until they are evicted\n"
		HELP_HELP,
	.run = run,
};
