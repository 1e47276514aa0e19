/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder info: what a cache is (path, geometry, mode, versions, namespaces) and who is attached to it, living or dead.
 */
#include "tool.h"

#include <inttypes.h>
#include <string.h>

static const struct option longs[] = {
	LONG_HELP, LONG_JSON,
	{ "dead", no_argument, NULL, 'd' },
	LONG_END,
};

static void print_geometry(const struct larder_info *info)
{
	char one[TEXT_MAX], two[TEXT_MAX];

	printf("path          %s\n", info->path);
	printf("created       %s\n", text_time(info->created_at_ms, one));
	printf("mode          %04o\n", info->mode);
	printf("versions      layout %u, features 0x%x, library %s\n", info->layout_version, info->features,
			larder_version());
	printf("size          %s (%" PRIu64 " bytes)\n", text_size(info->bytes, one), info->bytes);
	printf("segments      %u of %s\n", info->segments, text_size(info->segment_bytes, one));
	printf("index         %" PRIu64 " slots, %s; %" PRIu64 " ghosts\n", info->index_slots,
			text_size(info->index_bytes, one), info->ghost_slots);
	printf("instruments   %s\n", text_size(info->instrument_bytes, one));
	printf("values        up to %s, contiguous up to %s\n", text_size(info->value_max_bytes, one),
			text_size(info->contiguous_max_bytes, two));
	printf("stamps        %s\n", info->create_flags & LARDER_PLAIN ? "none" : "version, creation time");
	printf("checksums     %s\n", info->create_flags & LARDER_CHECKSUM ? "yes" : "no");
	printf("writing       %u stripes, %u classes of time to live\n", info->stripes, info->ttl_classes);
	printf("huge pages    %s\n", info->huge_pages ? "yes" : "no");
}

static json_t *geometry_json(const struct larder_info *info)
{
	json_t *object = json_object();
#define NUMBER(field) json_object_set_new(object, #field, json_number(info->field))
	json_set_bytes(object, "path", (struct bytes){ (const unsigned char *)info->path, strlen(info->path) });
	NUMBER(bytes);
	NUMBER(segments);
	NUMBER(segment_bytes);
	NUMBER(value_max_bytes);
	NUMBER(contiguous_max_bytes);
	NUMBER(index_bytes);
	NUMBER(index_slots);
	NUMBER(ghost_slots);
	NUMBER(instrument_bytes);
	NUMBER(participants);
	NUMBER(namespaces);
	NUMBER(stripes);
	NUMBER(ttl_classes);
	NUMBER(layout_version);
	NUMBER(features);
	NUMBER(mode);
#undef NUMBER
	json_object_set_new(object, "created_at_ms", json_integer(info->created_at_ms));
	json_object_set_new(object, "plain", json_boolean(info->create_flags & LARDER_PLAIN));
	json_object_set_new(object, "checksum", json_boolean(info->create_flags & LARDER_CHECKSUM));
	json_object_set_new(object, "huge_pages", json_boolean(info->huge_pages));
	json_object_set_new(object, "library_version", json_string(larder_version()));
	return object;
}

static struct bytes command_name(const struct larder_participant_info *who)
{
	return (struct bytes){ (const unsigned char *)who->command, strnlen(who->command, sizeof who->command) };
}

static const char *state_name(const struct larder_participant_info *who)
{
	return participant_stopped(who) ? "stopped" : who->alive ? "alive" : "dead";
}

static void print_participant(const struct larder_participant_info *who)
{
	printf("%6u  %-7s  %8" PRId32 "  %12" PRIu64 "  %4u  %7u  ", who->slot, state_name(who), who->pid,
			who->registration, who->pins, who->hazards);
	print_bytes(stdout, command_name(who), false);
	putchar('\n');
}

static json_t *participant_json(const struct larder_participant_info *who)
{
	json_t *object = json_object();

	json_object_set_new(object, "slot", json_number(who->slot));
	json_object_set_new(object, "alive", json_boolean(who->alive));
	json_object_set_new(object, "stopped", json_boolean(participant_stopped(who)));
	json_object_set_new(object, "pid", json_integer(who->pid));
	json_set_bytes(object, "command", command_name(who));
	json_object_set_new(object, "registration", json_number(who->registration));
	json_object_set_new(object, "pins", json_number(who->pins));
	json_object_set_new(object, "hazards", json_number(who->hazards));
	return object;
}

/* Prints the participants, or puts them into `list` where that is not NULL.  A dead one that holds nothing is shown
 * only if asked for: its slot is as good as new. */
static int show_participants(struct larder *cache, uint32_t slots, bool dead, json_t *list)
{
	for (uint32_t slot = 0; slot < slots; slot++) {
		struct larder_participant_info who;
		enum larder_status status = larder_participant(cache, slot, &who);
		if (status < 0)
			return report_cache(status);
		if (status == LARDER_MISS || !(who.alive || dead || who.pins || who.hazards))
			continue;
		if (list)
			json_array_append_new(list, participant_json(&who));
		else
			print_participant(&who);
	}
	return TOOL_OK;
}

static int count_namespace(const struct larder_namespace_info *info, void *arg)
{
	(void)info;
	++*(uint32_t *)arg;
	return TOOL_OK;
}

static int print_text(struct larder *cache, const struct larder_info *info, const struct larder_stat *stat, bool dead)
{
	uint32_t namespaces = 0;
	char text[TEXT_MAX];
	int code = namespace_each(cache, count_namespace, &namespaces);

	if (code != TOOL_OK)
		return code;
	print_geometry(info);
	printf("entries       %" PRIu64 ", %s\n", stat->entries, text_size(stat->entry_bytes, text));
	printf("namespaces    %u of %u\n", namespaces, info->namespaces);
	printf("participants  %" PRIu64 " alive of %u\n", stat->participants_alive, info->participants);
	printf("\n%6s  %-7s  %8s  %12s  %4s  %7s  %s\n", "SLOT", "STATE", "PID", "REGISTRATION", "PINS", "HAZARDS",
			"COMMAND");
	return show_participants(cache, info->participants, dead, NULL);
}

static int print_json(struct larder *cache, const struct larder_info *info, const struct larder_stat *stat, bool dead)
{
	json_t *object = geometry_json(info), *list = json_array();

	json_object_set_new(object, "entries", json_number(stat->entries));
	json_object_set_new(object, "entry_bytes", json_number(stat->entry_bytes));
	json_object_set_new(object, "participants_alive", json_number(stat->participants_alive));
	int code = show_participants(cache, info->participants, dead, list);
	json_object_set_new(object, "attached", list);
	if (code == TOOL_OK)
		return json_print(object, false);
	json_decref(object);
	return code;
}

static int show(struct larder *cache, bool json, bool dead)
{
	struct larder_info info;
	struct larder_stat stat;
	enum larder_status status = larder_info(cache, &info);

	if (status == LARDER_OK)
		status = larder_stat(cache, &stat);
	if (status != LARDER_OK)
		return report_cache(status);
	return (json ? print_json : print_text)(cache, &info, &stat, dead);
}

static int run(int argc, char **argv)
{
	bool json = false, dead = false;
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hjd", longs)) != -1) {
		json |= option == 'j';
		dead |= option == 'd';
	}
	operands_expect(argc, argv, 1, 1);
	int code = cache_inspect(argv[optind], &cache);
	if (code != TOOL_OK)
		return code;
	code = show(cache, json, dead);
	larder_close(&cache);
	return code;
}

const struct command cmd_info = {
	.name = "info",
	.summary = "Shows what a cache is made of, and who is attached",
	.synopsis = "[-dj] CACHE",
	.options = "  -d, --dead               also participants that have ended and hold nothing\n"
		HELP_JSON HELP_HELP,
	.run = run,
};
