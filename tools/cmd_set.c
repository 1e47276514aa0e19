/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder set: sets a key to a value given as an argument or on standard input, on conditions (absent, present, of a
 * version), or appends to it.  Standard input is read to its end before the cache is touched.
 */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct request {
	const char *ns;
	struct larder_set_options set;
	bool hex, append, json;
};

enum { ADD = 256, REPLACE, IF_VERSION, NO_EVICT, ALIGN };

static const struct option longs[] = {
	LONG_HELP, LONG_NAMESPACE, LONG_HEX, LONG_JSON,
	{ "ttl", required_argument, NULL, 't' },
	{ "until", required_argument, NULL, 'u' },
	{ "flags", required_argument, NULL, 'f' },
	{ "append", no_argument, NULL, 'a' },
	{ "add", no_argument, NULL, ADD },
	{ "replace", no_argument, NULL, REPLACE },
	{ "if-version", required_argument, NULL, IF_VERSION },
	{ "no-evict", no_argument, NULL, NO_EVICT },
	{ "align", no_argument, NULL, ALIGN },
	LONG_END,
};

/* All of standard input; false with errno set. */
static bool read_all(struct bytes *value)
{
	size_t capacity = 65536, count = 0;
	unsigned char *data = malloc(capacity);

	while (data) {
		count += fread(data + count, 1, capacity - count, stdin);
		if (count < capacity)
			break;
		unsigned char *larger = realloc(data, capacity *= 2);
		if (!larger)
			free(data);
		data = larger;
	}
	*value = (struct bytes){ data, count };
	return data && !ferror(stdin);
}

static void set_mode(struct request *request, enum larder_set_mode mode)
{
	if (request->set.mode != LARDER_SET)
		usage_error("--add, --replace and --if-version exclude each other");
	request->set.mode = mode;
}

static void apply_condition(int option, struct request *request)
{
	if (option == ADD)
		set_mode(request, LARDER_ADD);
	else if (option == REPLACE)
		set_mode(request, LARDER_REPLACE);
	else if (option == IF_VERSION) {
		set_mode(request, LARDER_CAS);
		request->set.version = version_argument("version", optarg);
	}
}

static void apply(int option, struct request *request)
{
	if (option == 'N')
		request->ns = optarg;
	else if (option == 't')
		request->set.ttl_ms = ttl_argument(optarg);
	else if (option == 'u')
		request->set.expires_at_ms = time_argument(optarg);
	else if (option == 'f')
		request->set.user_flags = number_argument("flags", optarg);
	else if (option == NO_EVICT)
		request->set.flags |= LARDER_NO_EVICT;
	else if (option == ALIGN)
		request->set.flags |= LARDER_ALIGN;
	request->hex |= option == 'x';
	request->json |= option == 'j';
	request->append |= option == 'a';
}

static int print_result(const struct larder_result *result)
{
	json_t *object = json_object();

	json_object_set_new(object, "version", json_version(result->version));
	json_object_set_new(object, "evicted", json_number(result->evicted));
	return json_print(object, false);
}

static int set(struct larder *cache, const struct request *request, struct bytes key, struct bytes value)
{
	struct larder_result result = { 0 };
	enum larder_status status;
	uint32_t ns;
	int code = namespace_register(cache, request->ns, &ns);

	if (code != TOOL_OK)
		return code;
	if (request->append)
		status = larder_append(cache, ns, key.data, key.count, value.data, value.count);
	else
		status = larder_set_with(cache, ns, key.data, key.count, value.data, value.count, &request->set,
				&result);
	if (status != LARDER_OK)
		return report_key(status, key);
	return request->json ? print_result(&result) : TOOL_OK;
}

/* *owned is for free(): NULL for a value that is an argument. */
static int take_value(int argc, char **argv, struct bytes *value, void **owned)
{
	*owned = NULL;
	if (argc - optind == 3 && strcmp(argv[optind + 2], "-")) {
		*value = (struct bytes){ (const unsigned char *)argv[optind + 2], strlen(argv[optind + 2]) };
		return TOOL_OK;
	}
	if (!read_all(value))
		return complain_errno("cannot read the value from standard input");
	*owned = (void *)(uintptr_t)value->data;
	return TOOL_OK;
}

static void check_append(const struct request *request)
{
	const struct larder_set_options *set = &request->set;
	bool other = set->mode || set->flags || set->ttl_ms || set->expires_at_ms || set->user_flags || request->json;

	if (request->append && other)
		usage_error("--append keeps the entry's time to live and flags: no other option goes with it");
}

static int run(int argc, char **argv)
{
	struct request request = { .ns = "", .set = LARDER_SET_OPTIONS_INIT };
	struct bytes value;
	void *owned;
	struct larder *cache;
	int option;

	while ((option = option_next(argc, argv, ":hN:xjt:u:f:a", longs)) != -1) {
		apply(option, &request);
		apply_condition(option, &request);
	}
	operands_expect(argc, argv, 2, 3);
	check_append(&request);
	struct bytes key = key_argument(argv[optind + 1], request.hex);
	int code = take_value(argc, argv, &value, &owned);
	if (code != TOOL_OK)
		return code;
	code = cache_attach(argv[optind], &cache);
	if (code == TOOL_OK) {
		code = set(cache, &request, key, value);
		larder_close(&cache);
	}
	free(owned);
	return code;
}

const struct command cmd_set = {
	.name = "set",
	.summary = "Sets a key to a value, from the command line or standard input",
	.synopsis = "[-ajx] [-N NAMESPACE] [-t TTL | -u TIME] [-f FLAGS] [OPTION ...] CACHE KEY [VALUE | -]",
	.options = HELP_NAMESPACE HELP_HEX
		"  -t, --ttl TTL            time to live: 250ms, 30s, 12h, 7d, none, default (the namespace's), keep\n"
		"  -u, --until TIME         expire at 2031-12-31T23:59:59Z, or @SECONDS since 1970\n"
		"  -f, --flags N            32 bits of your own, kept with the entry\n"
		"  -a, --append             append to the value that is there\n"
		"      --add                only if the key is absent\n"
		"      --replace            only if it is present\n"
		"      --if-version N       only if it is present in this version ('larder get --meta')\n"
		"      --no-evict           fail rather than displace a live entry\n"
		"      --align              place the value at a multiple of 8 bytes\n"
		"  -j, --json               print the new version, and how many entries were evicted, as JSON\n"
		HELP_HELP,
	.run = run,
};
