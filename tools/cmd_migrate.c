/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder migrate: the mode of a migration between two stores, and what it has counted so far; switches it for all processes.
 */
#include "tool.h"

#include <inttypes.h>
#include <larder/migrate.h>
#include <string.h>

struct request {
	const char *name;
	bool json, force, samples;
};

static const struct option longs[] = {
	LONG_HELP, LONG_JSON,
	{ "migration", required_argument, NULL, 'm' },
	{ "force", no_argument, NULL, 'f' },
	{ "samples", no_argument, NULL, 's' },
	LONG_END,
};

static enum larder_migration_mode migration_argument(const char *text)
{
	for (int mode = LARDER_MIGRATION_OLD; mode <= LARDER_MIGRATION_NEW; mode++)
		if (!strcmp(text, larder_migration_mode_name((enum larder_migration_mode)mode)))
			return (enum larder_migration_mode)mode;
	usage_error("mode '%s': old, shadow, dual or new", text);
}

static int report(const struct request *request, enum larder_status status)
{
	switch (status) {
	case LARDER_OK:
		return TOOL_OK;
	case LARDER_MISS:
		complain("no process has begun a migration '%s' here (see larder-migration(7))", request->name);
		return TOOL_NOT_FOUND;
	case LARDER_CHANGED:
		complain("somebody else switched the migration '%s' at the same time: look, and try again", request->name);
		return TOOL_FAILED;
	case LARDER_INVALID:
		complain("migration '%s': %s", request->name, larder_message());
		return TOOL_FAILED;
	default:
		return report_cache(status);
	}
}

static bool print_sample(const char *text, void *arg)
{
	struct bytes bytes = { (const unsigned char *)text, strlen(text) };

	(void)arg;
	printf("  ");
	print_bytes(stdout, bytes, false);
	putchar('\n');
	return true;
}

static bool add_sample(const char *text, void *arg)
{
	struct bytes bytes = { (const unsigned char *)text, strlen(text) };
	json_t *sample = json_object();

	json_set_bytes(sample, "text", bytes);
	json_array_append_new(arg, sample);
	return true;
}

static int print_json(struct larder *cache, const struct request *request, const struct larder_migration_info *info)
{
	json_t *object = json_object();

	json_object_set_new(object, "migration", json_string(request->name));
	json_object_set_new(object, "mode", json_string(larder_migration_mode_name(info->mode)));
	json_object_set_new(object, "switches", json_number(info->switches));
#define LARDER_COUNTER(name, text) json_object_set_new(object, #name, json_number(info->name));
#include <larder/migration.def>
#undef LARDER_COUNTER
	if (request->samples) {
		json_t *samples = json_array();
		(void)larder_migration_samples(cache, request->name, add_sample, samples);
		json_object_set_new(object, "samples", samples);
	}
	return json_print(object, false);
}

static int show(struct larder *cache, const struct request *request)
{
	struct larder_migration_info info;
	int code = report(request, larder_migration_info(cache, request->name, &info));

	if (code != TOOL_OK)
		return code;
	if (request->json)
		return print_json(cache, request, &info);
	printf("migration '%s': %s\n", request->name, larder_migration_mode_name(info.mode));
	printf("%12" PRIu64 "  switches of the mode so far\n", info.switches);
#define LARDER_COUNTER(name, text) printf("%12" PRIu64 "  %-14s %s\n", info.name, #name, text);
#include <larder/migration.def>
#undef LARDER_COUNTER
	if (request->samples)
		(void)larder_migration_samples(cache, request->name, print_sample, NULL);
	return TOOL_OK;
}

static int switch_mode(struct larder *cache, const struct request *request, enum larder_migration_mode mode)
{
	int code = report(request, larder_migration_switch(cache, request->name, mode, request->force));

	if (code == TOOL_OK)
		printf("migration '%s': %s\n", request->name, larder_migration_mode_name(mode));
	return code;
}

static int run(int argc, char **argv)
{
	struct request request = { .name = "default" };
	enum larder_migration_mode mode = LARDER_MIGRATION_OLD;
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hjm:fs", longs)) != -1) {
		if (option == 'm')
			request.name = optarg;
		request.json |= option == 'j';
		request.force |= option == 'f';
		request.samples |= option == 's';
	}
	operands_expect(argc, argv, 1, 2);
	bool switches = argc - optind == 2;
	if (switches)
		mode = migration_argument(argv[optind + 1]);
	int code = switches ? cache_attach(argv[optind], &cache) : cache_inspect(argv[optind], &cache);
	if (code != TOOL_OK)
		return code;
	code = switches ? switch_mode(cache, &request, mode) : show(cache, &request);
	larder_close(&cache);
	return code;
}

const struct command cmd_migrate = {
	.name = "migrate",
	.summary = "Shows a migration between two stores, or switches its mode for all processes",
	.synopsis = "[-j] [-s] [-f] [-m MIGRATION] CACHE [old | shadow | dual | new]",
	.options = "  -m, --migration NAME     this migration (default: default)\n"
		"  -f, --force              switch although a step is left out, or a store may be stale\n"
		"  -s, --samples            the last mismatches, too\n"
		HELP_JSON HELP_HELP,
	.run = run,
};
