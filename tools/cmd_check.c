/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder check: walks and verifies a whole cache while it is in use, and says what is wrong and where.  Exit code 0: no
 * fault; TOOL_FAILED: faults, or the walk could not be done.
 */
#include "tool.h"

#include <inttypes.h>
#include <string.h>

struct findings {
	json_t *list; /* NULL: print */
	bool quiet;
};

static const struct option longs[] = { LONG_HELP, LONG_JSON, LONG_QUIET, LONG_END };

static void note(const char *text, void *arg)
{
	struct findings *findings = arg;

	if (findings->list)
		json_array_append_new(findings->list, json_string(text));
	else if (!findings->quiet)
		printf("fault: %s\n", text);
}

static int print_json(json_t *list, uint64_t faults)
{
	json_t *object = json_object();

	json_object_set_new(object, "faults", json_number(faults));
	json_object_set_new(object, "found", list);
	return json_print(object, false);
}

static int check(struct larder *cache, bool json, bool quiet)
{
	struct findings findings = { .list = json ? json_array() : NULL, .quiet = quiet };
	uint64_t faults = 0;
	enum larder_status status = larder_check(cache, note, &findings, &faults);
	int code = TOOL_OK;

	if (status < 0 && (status != LARDER_DAMAGED || !faults)) {
		json_decref(findings.list);
		return report_cache(status);
	}
	if (json)
		code = print_json(findings.list, faults);
	else if (!quiet && faults)
		printf("%" PRIu64 " %s\n", faults, plural(faults, "fault", "faults"));
	else if (!quiet)
		puts("no faults");
	return faults ? TOOL_FAILED : code;
}

static int run(int argc, char **argv)
{
	bool json = false, quiet = false;
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hjq", longs)) != -1) {
		json |= option == 'j';
		quiet |= option == 'q';
	}
	operands_expect(argc, argv, 1, 1);
	int code = cache_inspect(argv[optind], &cache);
	if (code != TOOL_OK)
		return code;
	code = check(cache, json, quiet);
	larder_close(&cache);
	return code;
}

const struct command cmd_check = {
	.name = "check",
	.summary = "Verifies a whole cache while it is in use",
	.synopsis = "[-jq] CACHE",
	.options = "  -q, --quiet              only the exit code: 0 without faults, 3 with\n" HELP_JSON HELP_HELP,
	.run = run,
};
