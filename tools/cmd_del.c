/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder del: takes keys out.  All are tried; exit code 1 if any of them was not there.
 */
#include "tool.h"

#include <stdlib.h>

static const struct option longs[] = { LONG_HELP, LONG_NAMESPACE, LONG_HEX, LONG_QUIET, LONG_END };

static int delete_key(struct larder *cache, uint32_t ns, struct bytes key, bool quiet)
{
	enum larder_status status = larder_delete(cache, ns, key.data, key.count);

	if (status == LARDER_OK)
		return TOOL_OK;
	return status == LARDER_MISS && quiet ? TOOL_NOT_FOUND : report_key(status, key);
}

static int delete_keys(struct larder *cache, const char *name, const struct bytes *keys, int count,
		bool quiet)
{
	uint32_t ns;
	int worst = namespace_find(cache, name, &ns);

	if (worst != TOOL_OK)
		return worst;
	for (int i = 0; i < count; i++) {
		int code = delete_key(cache, ns, keys[i], quiet);
		worst = code > worst ? code : worst;
	}
	return worst;
}

static int run(int argc, char **argv)
{
	const char *ns = "";
	bool hex = false, quiet = false;
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hN:xq", longs)) != -1) {
		if (option == 'N')
			ns = optarg;
		hex |= option == 'x';
		quiet |= option == 'q';
	}
	operands_expect(argc, argv, 2, argc);
	int count = argc - optind - 1;
	struct bytes *keys = key_arguments(argv + optind + 1, count, hex);
	int code = cache_attach(argv[optind], &cache);
	if (code == TOOL_OK) {
		code = delete_keys(cache, ns, keys, count, quiet);
		larder_close(&cache);
	}
	free(keys);
	return code;
}

const struct command cmd_del = {
	.name = "del",
	.summary = "Deletes keys",
	.synopsis = "[-qx] [-N NAMESPACE] CACHE KEY ...",
	.options = HELP_NAMESPACE HELP_HEX
		"  -q, --quiet              no message for a key that is not there\n" HELP_HELP,
	.run = run,
};
