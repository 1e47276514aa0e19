/* SPDX-License-Identifier: BSD-2-Clause */
/* larder monitor: chooses what the instruments of a cache watch, in all its processes. */
#include <larder/monitor.h>

#include <string.h>

#include "tool.h"

enum { TIMING = 256, HOT_KEYS };

static const struct option longs[] = {
	LONG_HELP,
	{ "timing", required_argument, NULL, TIMING },
	{ "hot-keys", required_argument, NULL, HOT_KEYS },
	LONG_END,
};

static enum larder_hot_mode mode_argument_of(const char *text)
{
	static const char *const modes[] = { [LARDER_HOT_OFF] = "off", [LARDER_HOT_HASHED] = "hashed", [LARDER_HOT_CLEAR] = "clear" };

	for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++)
		if (strcmp(text, modes[i]) == 0)
			return (enum larder_hot_mode)i;
	usage_error("hot keys '%s': must be off, hashed or clear", text);
}

/* "off", "64" or "1/64". */
static uint32_t rate_argument(const char *text)
{
	if (strcmp(text, "off") == 0)
		return 0;
	uint32_t one_in = number_argument("timing", strncmp(text, "1/", 2) == 0 ? text + 2 : text);
	if (one_in == 0 || one_in > 1u << 24)
		usage_error("timing '%s': must be off, or one operation in N, 1 to 16777216, as N or 1/N", text);
	return one_in;
}

static int apply(struct larder *cache, const char *timing, const char *hot)
{
	enum larder_status status = timing ? larder_monitor_timing(cache, rate_argument(timing)) : LARDER_OK;

	if (status == LARDER_OK && hot)
		status = larder_hot_keys_mode(cache, mode_argument_of(hot));
	if (status == LARDER_UNSUPPORTED) {
		complain("this cache has no room for hot keys; create it with more --instruments");
		return TOOL_FAILED;
	}
	return status == LARDER_OK ? TOOL_OK : report_cache(status);
}

static int run(int argc, char **argv)
{
	const char *timing = NULL, *hot = NULL;
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":h", longs)) != -1) {
		timing = option == TIMING ? optarg : timing;
		hot = option == HOT_KEYS ? optarg : hot;
	}
	operands_expect(argc, argv, 1, 1);
	if (!timing && !hot)
		usage_error("nothing to change: --timing, --hot-keys");
	if (timing)
		(void)rate_argument(timing); /* before anything is done */
	if (hot)
		(void)mode_argument_of(hot);
	int code = cache_attach(argv[optind], &cache);
	if (code != TOOL_OK)
		return code;
	code = apply(cache, timing, hot);
	larder_close(&cache);
	return code;
}

const struct command cmd_monitor = {
	.name = "monitor",
	.summary = "Chooses what the instruments of a cache watch",
	.synopsis = "[--timing N | off] [--hot-keys off | hashed | clear] CACHE",
	.options = "      --timing N           measure one operation in N (1: every one; off: none; default: 128)\n"
		"      --hot-keys MODE      off, hashed (default), or clear: with the first 48 bytes of each key\n" HELP_HELP,
	.run = run,
};
