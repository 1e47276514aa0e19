/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder incr: adds to a counter, exactly, whoever else adds to it, and prints the sum.
 *
 * A negative delta looks like an option to getopt_long and is taken aside before the options are read.
 */
#include "tool.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

struct request {
	const char *ns;
	int64_t delta, initial, ttl_ms;
	bool hex, existing;
};

static const struct option longs[] = {
	LONG_HELP, LONG_NAMESPACE, LONG_HEX,
	{ "initial", required_argument, NULL, 'i' },
	{ "ttl", required_argument, NULL, 't' },
	{ "existing", no_argument, NULL, 'e' },
	LONG_END,
};

/* "-5" as the last argument: hides it from getopt_long; the new argc. */
static int hide_negative(int argc, char **argv, const char **negative)
{
	const char *last = argv[argc - 1];

	*negative = last[0] == '-' && isdigit((unsigned char)last[1]) && argc > 3 ? last : NULL;
	return *negative ? argc - 1 : argc;
}

static void apply(int option, struct request *request)
{
	if (option == 'N')
		request->ns = optarg;
	else if (option == 'i')
		request->initial = integer_argument("initial value", optarg);
	else if (option == 't')
		request->ttl_ms = ttl_argument(optarg);
	request->hex |= option == 'x';
	request->existing |= option == 'e';
}

static int incr(struct larder *cache, const struct request *request, struct bytes key)
{
	int64_t sum;
	uint32_t ns;
	int code = (request->existing ? namespace_find : namespace_register)(cache, request->ns, &ns);

	if (code != TOOL_OK)
		return code;
	enum larder_status status = larder_incr_with(cache, ns, key.data, key.count, request->delta, !request->existing,
			request->initial, request->ttl_ms, &sum);
	if (status != LARDER_OK)
		return report_key(status, key);
	printf("%" PRId64 "\n", sum);
	return TOOL_OK;
}

static int run(int argc, char **argv)
{
	struct request request = { .ns = "", .delta = 1, .ttl_ms = LARDER_TTL_DEFAULT };
	const char *delta;
	struct larder *cache;
	int option;

	argc = hide_negative(argc, argv, &delta);
	while ((option = option_next(argc, argv, ":hN:xi:t:e", longs)) != -1)
		apply(option, &request);
	operands_expect(argc, argv, 2, delta ? 2 : 3);
	if (!delta && argc - optind == 3)
		delta = argv[optind + 2];
	if (delta)
		request.delta = integer_argument("delta", delta);
	struct bytes key = key_argument(argv[optind + 1], request.hex);
	int code = cache_attach(argv[optind], &cache);
	if (code != TOOL_OK)
		return code;
	code = incr(cache, &request, key);
	larder_close(&cache);
	return code;
}

const struct command cmd_incr = {
	.name = "incr",
	.summary = "Adds to a counter and prints the sum",
	.synopsis = "[-ex] [-N NAMESPACE] [-i N] [-t TTL] CACHE KEY [DELTA]",
	.options = HELP_NAMESPACE HELP_HEX
		"  -i, --initial N          an absent key starts from N (default: 0)\n"
		"  -t, --ttl TTL            time to live of a new counter: 30s, 15m, 12h, 7d, none, default\n"
		"  -e, --existing           do not make a new counter: exit code 1 if the key is absent\n" HELP_HELP,
	.run = run,
};
