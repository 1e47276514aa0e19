/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder destroy: marks caches destroyed, so that all who are attached learn of it at their next call, and removes
 * their files.  What is not a cache is left alone.  Goes on after a failure; the worst exit code wins.
 */
#include "tool.h"

static const struct option longs[] = {
	LONG_HELP,
	{ "force", no_argument, NULL, 'f' },
	LONG_END,
};

static int destroy(const char *name, bool force)
{
	enum larder_status status = larder_destroy(name);

	if (status == LARDER_OK || (force && status == LARDER_NO_CACHE))
		return TOOL_OK;
	return report_open(name, status);
}

static int run(int argc, char **argv)
{
	bool force = false;
	int option, worst = TOOL_OK;

	while ((option = option_next(argc, argv, ":hf", longs)) != -1)
		force |= option == 'f';
	operands_expect(argc, argv, 1, argc);
	for (int i = optind; i < argc; i++) {
		int code = destroy(argv[i], force);
		worst = code > worst ? code : worst;
	}
	return worst;
}

const struct command cmd_destroy = {
	.name = "destroy",
	.summary = "Ends caches: removes them, and tells all who are attached",
	.synopsis = "[-f] CACHE ...",
	.options = "  -f, --force              a cache that does not exist is no error\n" HELP_HELP,
	.run = run,
};
