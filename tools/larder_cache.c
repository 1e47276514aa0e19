/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way to a cache, and words for what went wrong with it: each message names the thing (cache, key, namespace) and
 * what to do about it.  For open, destroy and namespace calls the library's own larder_message() is the better text;
 * for the rest it is larder_strerror() and the remedy in the table below.
 */
#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void begin_complaint(void)
{
	fflush(stdout);
	fprintf(stderr, "larder %s: ", tool_command->name);
}

void complain(const char *format, ...)
{
	va_list arguments;

	begin_complaint();
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

int complain_errno(const char *format, ...)
{
	va_list arguments;
	int error = errno;

	begin_complaint();
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, ": %s\n", strerror(error));
	return TOOL_FAILED;
}

int status_exit(enum larder_status status)
{
	if (status == LARDER_OK)
		return TOOL_OK;
	if (status > 0 || status == LARDER_NO_CACHE)
		return TOOL_NOT_FOUND;
	return status == LARDER_INVALID || status == LARDER_KEY_SIZE ? TOOL_USAGE : TOOL_FAILED;
}

/* What a person can do about a status; "" where the phrase itself says it. */
static const char *remedy(enum larder_status status)
{
	switch (status) {
	case LARDER_TOO_LARGE:
		return "; 'larder info' shows the limit: split the value, or create a larger cache";
	case LARDER_NO_ROOM:
		return "; 'larder info' shows who is stopped or holds pins: continue, end or unpin them";
	case LARDER_WOULD_EVICT:
		return "; leave --no-evict out, or make room with 'larder del' or 'larder flush'";
	case LARDER_NO_SLOT:
		return "; end a process ('larder info' lists them), or create the cache with more --participants";
	case LARDER_DETACHED:
		return "; it was destroyed meanwhile: try again if somebody made it anew, or 'larder create'";
	case LARDER_NOT_NUMBER:
		return "; 'larder get' shows its value, 'larder set' gives it a number";
	case LARDER_RANGE:
		return "; counters reach from -2^62 to 2^62 - 1";
	case LARDER_NAMESPACES:
		return "; create the cache with more --namespaces";
	case LARDER_DAMAGED:
		return "; 'larder check' says what and where";
	case LARDER_CONTENDED:
		return "; try again";
	case LARDER_UNSUPPORTED:
		return "; it was created with --plain, which keeps no versions";
	default:
		return "";
	}
}

/* What the library calls options.entry_bytes is --entry-size here.  A name that is no option of ours stays as it is. */
static const char *option_of(const char *field, size_t *length)
{
	static const struct { const char *field, *option; } options[] = {
		{ "options.bytes", "--size" }, { "options.entry_bytes", "--entry-size" }, { "options.mode", "--mode" },
		{ "options.segments", "--segments" }, { "options.participants", "--participants" },
		{ "options.namespaces", "--namespaces" }, { "options.instrument_bytes", "--instruments" },
	};

	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		*length = strlen(options[i].field);
		if (!strncmp(field, options[i].field, *length))
			return options[i].option;
	}
	return NULL;
}

static void complain_as_options(const char *message)
{
	const char *option, *field;
	size_t length;

	begin_complaint();
	while ((field = strstr(message, "options.")) != NULL && (option = option_of(field, &length)) != NULL) {
		fprintf(stderr, "%.*s%s", (int)(field - message), message, option);
		message = field + length;
	}
	fprintf(stderr, "%s\n", message);
}

int report_open(const char *name, enum larder_status status)
{
	const char *message = larder_message();

	if (*message)
		complain_as_options(message);
	else
		complain("cache '%s': %s%s", name, larder_strerror(status), remedy(status));
	return status_exit(status);
}

int report_key(enum larder_status status, struct bytes key)
{
	begin_complaint();
	fputs("key '", stderr);
	print_bytes(stderr, key, false);
	fprintf(stderr, "': %s%s\n", larder_strerror(status), remedy(status));
	return status_exit(status);
}

int report_cache(enum larder_status status)
{
	complain("%s%s", larder_strerror(status), remedy(status));
	return status_exit(status);
}

static int cache_open(const char *name, uint32_t flags, struct larder **cache)
{
	struct larder_options options = LARDER_OPTIONS_INIT;

	options.flags = flags;
	enum larder_status status = larder_open_with(name, &options, cache);
	return status < 0 ? report_open(name, status) : TOOL_OK;
}

int cache_inspect(const char *name, struct larder **cache)
{
	return cache_open(name, LARDER_INSPECT, cache);
}

int cache_attach(const char *name, struct larder **cache)
{
	return cache_open(name, LARDER_ATTACH_ONLY, cache);
}

int namespace_each(struct larder *cache, int (*visit)(const struct larder_namespace_info *info, void *arg), void *arg)
{
	struct larder_info geometry;
	enum larder_status status = larder_info(cache, &geometry);

	if (status < 0)
		return report_cache(status);
	for (uint32_t ns = 0; ns <= geometry.namespaces; ns++) {
		struct larder_namespace_info info;
		status = larder_namespace_info(cache, ns, &info);
		if (status == LARDER_MISS || status == LARDER_INVALID)
			continue;
		if (status < 0)
			return report_cache(status);
		int code = visit(&info, arg);
		if (code != TOOL_OK)
			return code;
	}
	return TOOL_OK;
}

struct namespace_search {
	const char *name;
	uint32_t ns;
	bool found;
};

static int match_namespace(const struct larder_namespace_info *info, void *arg)
{
	struct namespace_search *search = arg;

	if (!strcmp(info->name, search->name)) {
		search->ns = info->ns;
		search->found = true;
	}
	return TOOL_OK;
}

/* Looked up by its name among those that exist: asking the library would register it on a writable handle. */
int namespace_find(struct larder *cache, const char *name, uint32_t *ns)
{
	struct namespace_search search = { .name = name };

	*ns = 0;
	if (!*name)
		return TOOL_OK;
	int code = namespace_each(cache, match_namespace, &search);
	if (code != TOOL_OK)
		return code;
	if (!search.found) {
		complain("there is no namespace '%s'; 'larder namespace' lists them", name);
		return TOOL_NOT_FOUND;
	}
	*ns = search.ns;
	return TOOL_OK;
}

int namespace_register(struct larder *cache, const char *name, uint32_t *ns)
{
	*ns = 0;
	if (!*name)
		return TOOL_OK;
	enum larder_status status = larder_namespace(cache, name, ns);
	return status == LARDER_OK ? TOOL_OK : report_open(name, status);
}

int namespace_names_open(struct namespace_names *names, struct larder *cache)
{
	struct larder_info info;
	enum larder_status status = larder_info(cache, &info);

	*names = (struct namespace_names){ .cache = cache };
	if (status < 0)
		return report_cache(status);
	names->count = info.namespaces + 1;
	names->names = calloc(names->count, sizeof names->names[0]);
	names->known = calloc(names->count, sizeof names->known[0]);
	if (names->names && names->known)
		return TOOL_OK;
	namespace_names_close(names);
	return report_cache(LARDER_NO_MEMORY);
}

const char *namespace_name(struct namespace_names *names, uint32_t ns)
{
	struct larder_namespace_info info;

	if (ns >= names->count)
		return "?";
	if (names->known[ns])
		return names->names[ns];
	if (larder_namespace_info(names->cache, ns, &info) != LARDER_OK)
		return "?";
	memcpy(names->names[ns], info.name, sizeof names->names[ns]);
	names->names[ns][sizeof names->names[ns] - 1] = '\0';
	names->known[ns] = true;
	return names->names[ns];
}

void namespace_names_close(struct namespace_names *names)
{
	free(names->names);
	free(names->known);
	names->names = NULL;
	names->known = NULL;
}

/* A hint for people: whether the process of that number, if it is of that name (a container has numbers of its own),
 * is stopped.  /proc/PID/stat reads: PID (COMMAND) STATE ... */
bool participant_stopped(const struct larder_participant_info *who)
{
	char path[TEXT_MAX], line[256] = "";
	size_t length = strnlen(who->command, sizeof who->command);

	snprintf(path, sizeof path, "/proc/%" PRId32 "/stat", who->pid);
	FILE *file = who->alive ? fopen(path, "re") : NULL;
	if (!file)
		return false;
	const char *name = fgets(line, sizeof line, file) ? strchr(line, '(') : NULL;
	const char *end = strrchr(line, ')');
	fclose(file);
	if (!name || !end || (size_t)(end - name - 1) != length || memcmp(name + 1, who->command, length))
		return false;
	return end[1] == ' ' && (end[2] == 'T' || end[2] == 't');
}
