/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder touch: gives entries a new time to live, and leaves the rest of them alone.  All keys are tried; exit code 1
 * if any of them was not there.
 */
#include "tool.h"

#include <stdlib.h>

static const struct option longs[] = {
	LONG_HELP, LONG_NAMESPACE, LONG_HEX, LONG_QUIET,
	{ "ttl", required_argument, NULL, 't' },
	LONG_END,
};

struct request {
	const char *ns;
	int64_t ttl_ms;
	bool hex, quiet;
};

static int touch(struct larder *cache, uint32_t ns, struct bytes key, const struct request *request)
{
	enum larder_status status = larder_touch(cache, ns, key.data, key.count, request->ttl_ms);

	if (status == LARDER_OK)
		return TOOL_OK;
	return status == LARDER_MISS && request->quiet ? TOOL_NOT_FOUND : report_key(status, key);
}

static int touch_all(struct larder *cache, const struct request *request, const struct bytes *keys, int count)
{
	uint32_t ns;
	int worst = namespace_find(cache, request->ns, &ns);

	if (worst != TOOL_OK)
		return worst;
	for (int i = 0; i < count; i++) {
		int code = touch(cache, ns, keys[i], request);
		worst = code > worst ? code : worst;
	}
	return worst;
}

static void apply(int option, struct request *request)
{
	if (option == 'N')
		request->ns = optarg;
	else if (option == 't')
		request->ttl_ms = ttl_argument(optarg);
	request->hex |= option == 'x';
	request->quiet |= option == 'q';
}

static int run(int argc, char **argv)
{
	struct request request = { .ns = "", .ttl_ms = LARDER_TTL_DEFAULT };
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hN:xqt:", longs)) != -1)
		apply(option, &request);
	operands_expect(argc, argv, 2, argc);
	int count = argc - optind - 1;
	struct bytes *keys = key_arguments(argv + optind + 1, count, request.hex);
	int code = cache_attach(argv[optind], &cache);
	if (code == TOOL_OK) {
		code = touch_all(cache, &request, keys, count);
		larder_close(&cache);
	}
	free(keys);
	return code;
}

const struct command cmd_touch = {
	.name = "touch",
	.summary = "Gives keys a new time to live",
	.synopsis = "[-qx] [-N NAMESPACE] [-t TTL] CACHE KEY ...",
	.options = HELP_NAMESPACE HELP_HEX
		"  -t, --ttl TTL            250ms, 30s, 12h, 7d, none, or default (the namespace's; if not given)\n"
		"  -q, --quiet              no message for a key that is not there\n" HELP_HELP,
	.run = run,
};
