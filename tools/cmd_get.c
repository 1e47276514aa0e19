/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder get: writes the bytes of one value to standard output, or what is known about it.  Attached read-only: it
 * neither counts as a use of the entry nor disturbs anybody.
 */
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

struct request {
	const char *ns;
	uint32_t read_flags;
	bool hex, meta, json, newline, quiet;
};

struct value {
	unsigned char *data;
	size_t count;
	struct larder_meta meta;
};

static const struct option longs[] = {
	LONG_HELP, LONG_NAMESPACE, LONG_HEX, LONG_JSON, LONG_QUIET,
	{ "newline", no_argument, NULL, 'n' },
	{ "meta", no_argument, NULL, 'M' },
	{ "stale", no_argument, NULL, 'S' },
	LONG_END,
};

/* Reads into a buffer that grows until the value, which may be growing too, fits. */
static enum larder_status read_value(struct larder *cache, uint32_t ns, struct bytes key, uint32_t flags,
		struct value *value)
{
	size_t capacity = 65536;

	for (;;) {
		unsigned char *data = realloc(value->data, capacity);
		if (!data)
			return LARDER_NO_MEMORY;
		value->data = data;
		enum larder_status status = larder_get_with(cache, ns, key.data, key.count, data, capacity,
				&value->count, flags, &value->meta);
		if (status != LARDER_SHORT)
			return status;
		capacity = value->count + value->count / 8;
	}
}

static void print_meta(const struct larder_meta *meta)
{
	char text[TEXT_MAX];

	printf("value_bytes   %zu\n", meta->value_bytes);
	printf("flags         0x%08x\n", meta->user_flags);
	printf("version       %" PRIu64 "\n", meta->version);
	printf("created_at    %s\n", meta->created_at_ms ? text_time(meta->created_at_ms, text) : "unknown");
	printf("expires_at    %s\n", text_time(meta->expires_at_ms, text));
	printf("ttl_left      %s\n", text_duration(meta->ttl_left_ms, text));
	printf("counter       %s\n", meta->counter ? "yes" : "no");
	printf("stale         %s\n", meta->stale ? "yes" : "no");
}

static int print_json(const struct request *request, struct bytes key, const struct value *value)
{
	json_t *object = json_object();

	json_set_bytes(object, "key", key);
	json_object_set_new(object, "namespace", json_string(request->ns));
	if (!request->meta)
		json_set_bytes(object, "value", (struct bytes){ value->data, value->count });
	json_set_meta(object, &value->meta);
	return json_print(object, false);
}

static int print_value(const struct request *request, struct bytes key, const struct value *value)
{
	if (request->json)
		return print_json(request, key, value);
	if (request->meta) {
		print_meta(&value->meta);
		return TOOL_OK;
	}
	fwrite(value->data, 1, value->count, stdout);
	if (request->newline || isatty(STDOUT_FILENO))
		putchar('\n');
	return TOOL_OK;
}

static int get(struct larder *cache, const struct request *request, struct bytes key)
{
	struct value value = { 0 };
	uint32_t ns;
	int code = namespace_find(cache, request->ns, &ns);

	if (code != TOOL_OK)
		return code;
	enum larder_status status = read_value(cache, ns, key, request->read_flags, &value);
	if (status == LARDER_OK || status == LARDER_STALE)
		code = print_value(request, key, &value);
	else if (status == LARDER_MISS && request->quiet)
		code = TOOL_NOT_FOUND;
	else
		code = report_key(status, key);
	free(value.data);
	return code;
}

static void apply(int option, struct request *request)
{
	if (option == 'N')
		request->ns = optarg;
	request->hex |= option == 'x';
	request->json |= option == 'j';
	request->newline |= option == 'n';
	request->meta |= option == 'M';
	request->quiet |= option == 'q';
	if (option == 'S')
		request->read_flags |= LARDER_ALLOW_STALE;
}

static int run(int argc, char **argv)
{
	struct request request = { .ns = "", .read_flags = LARDER_NO_COUNT };
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hN:xjqnMS", longs)) != -1)
		apply(option, &request);
	operands_expect(argc, argv, 2, 2);
	struct bytes key = key_argument(argv[optind + 1], request.hex);
	int code = cache_inspect(argv[optind], &cache);
	if (code != TOOL_OK)
		return code;
	code = get(cache, &request, key);
	larder_close(&cache);
	return code;
}

const struct command cmd_get = {
	.name = "get",
	.summary = "Writes the value of a key to standard output",
	.synopsis = "[-nMjqSx] [-N NAMESPACE] CACHE KEY",
	.options = HELP_NAMESPACE HELP_HEX
		"  -n, --newline            end the value with a newline (default: if standard output is a terminal)\n"
		"  -M, --meta               print what is known about the entry instead of its value\n"
		"  -S, --stale              also a value that 'larder flush --soft' has hidden\n"
		"  -q, --quiet              no message if there is no such key\n" HELP_JSON HELP_HELP,
	.run = run,
};
