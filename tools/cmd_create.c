/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder create: makes a cache, with its geometry chosen.  Fails if there is one of that name already (--if-absent:
 * that is as good), since options that would silently not apply are worse than an error.
 */
#include "tool.h"

#define HELP_CREATE \
	"  -s, --size SIZE          of the whole cache, index and all (default: 64m)\n" \
	"  -e, --entry-size SIZE    usual size of key and value together; sizes the index (default: 160)\n" \
	"  -m, --mode MODE          permission bits of the file, octal (default: 600)\n" \
	"      --segments N         at least so many, 32 to 4096 (default: by size, 100 to 512)\n" \
	"      --participants N     threads attached at a time, 4 to 1024 (default: by size, 16 to 1024)\n" \
	"      --namespaces N       16 to 4096 (default: 256)\n" \
	"      --instruments SIZE   of it, for metrics, hot keys, trace, tags (default: 1/200, less below 16m)\n" \
	"      --plain              no version and no creation time: 16 bytes less per entry, no --if-version\n" \
	"      --checksum           8 bytes more per entry: a damaged value is a miss\n" \
	"      --prefault           touch every page now\n" \
	"      --huge               ask for huge pages\n" \
	"      --if-absent          an existing cache is no error; it stays as it is\n"

enum { SEGMENTS = 256, PARTICIPANTS, NAMESPACES, INSTRUMENTS, PLAIN, CHECKSUM, PREFAULT, HUGE_PAGES, IF_ABSENT };

static const struct option longs[] = {
	LONG_HELP,
	{ "size", required_argument, NULL, 's' },
	{ "entry-size", required_argument, NULL, 'e' },
	{ "mode", required_argument, NULL, 'm' },
	{ "segments", required_argument, NULL, SEGMENTS },
	{ "participants", required_argument, NULL, PARTICIPANTS },
	{ "namespaces", required_argument, NULL, NAMESPACES },
	{ "instruments", required_argument, NULL, INSTRUMENTS },
	{ "plain", no_argument, NULL, PLAIN },
	{ "checksum", no_argument, NULL, CHECKSUM },
	{ "prefault", no_argument, NULL, PREFAULT },
	{ "huge", no_argument, NULL, HUGE_PAGES },
	{ "if-absent", no_argument, NULL, IF_ABSENT },
	LONG_END,
};

static void apply_geometry(int option, struct larder_options *options)
{
	if (option == 's')
		options->bytes = size_argument("size", optarg);
	else if (option == 'e')
		options->entry_bytes = size_argument("entry size", optarg);
	else if (option == 'm')
		options->mode = mode_argument(optarg);
	else if (option == SEGMENTS)
		options->segments = number_argument("number of segments", optarg);
	else if (option == PARTICIPANTS)
		options->participants = number_argument("number of participants", optarg);
	else if (option == NAMESPACES)
		options->namespaces = number_argument("number of namespaces", optarg);
	else if (option == INSTRUMENTS)
		options->instrument_bytes = size_argument("size of the instruments", optarg);
}

static void apply_flag(int option, struct larder_options *options)
{
	if (option == PLAIN)
		options->create_flags |= LARDER_PLAIN;
	else if (option == CHECKSUM)
		options->create_flags |= LARDER_CHECKSUM;
	else if (option == PREFAULT)
		options->flags |= LARDER_PREFAULT;
	else if (option == HUGE_PAGES)
		options->flags |= LARDER_HUGE;
	else if (option == IF_ABSENT)
		options->flags &= ~(uint32_t)LARDER_EXCLUSIVE;
}

static int run(int argc, char **argv)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct larder *cache = NULL;
	int option;

	options.flags = LARDER_EXCLUSIVE;
	while ((option = option_next(argc, argv, ":hs:e:m:", longs)) != -1) {
		apply_geometry(option, &options);
		apply_flag(option, &options);
	}
	operands_expect(argc, argv, 1, 1);
	enum larder_status status = larder_open_with(argv[optind], &options, &cache);
	larder_close(&cache);
	if (status == LARDER_EXISTS) {
		complain("cache '%s' exists already; 'larder destroy' removes it, --if-absent takes it as it is",
				argv[optind]);
		return TOOL_FAILED;
	}
	return status == LARDER_OK ? TOOL_OK : report_open(argv[optind], status);
}

const struct command cmd_create = {
	.name = "create",
	.summary = "Makes a cache",
	.synopsis = "[-s SIZE] [-e SIZE] [-m MODE] [OPTION ...] CACHE",
	.options = HELP_CREATE HELP_HELP,
	.run = run,
};
