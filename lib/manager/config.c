/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration read by libinih, see config.h and larder.conf(5).
 *
 * libinih gives no line numbers, and cuts what is longer than its buffers without a word.  So it reads through next_line(), which
 * counts lines, sees what does not fit, and notes where a section begins.  The first fault is the one that is told.
 */
#include "manager/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/message.h"

#define SECTION_BYTES_MAX 49u /* libinih cuts what is longer, */
#define KEY_BYTES_MAX 49u     /* and keys, too */
#define EXCERPT_BYTES 40

struct reader {
	struct config *config;
	const char *name;
	const char *at, *end;
	unsigned line;
	bool indented; /* the line goes on with the value before it */
	char section[SECTION_BYTES_MAX + 1];
	unsigned section_line;
	bool section_used;
	enum larder_status status;
};

/* ---- Settings ------------------------------------------------------------------------------------------------------- */

bool config_name_good(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t count = strnlen(name, CONFIG_NAME_BYTES + 1);

	return count && count <= CONFIG_NAME_BYTES && strspn(name, allowed) == count && isalnum((unsigned char)*name);
}

static void setting_free(struct config_setting *setting)
{
	free(setting->store);
	free(setting->key);
	free(setting->value);
	free(setting->origin);
	*setting = (struct config_setting){ 0 };
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < config->count; i++)
		setting_free(&config->settings[i]);
	free(config->settings);
	*config = (struct config){ 0 };
}

static struct config_setting *find(struct config *config, const char *store, const char *key)
{
	for (size_t i = 0; i < config->count; i++)
		if (!strcmp(config->settings[i].store, store) && !strcmp(config->settings[i].key, key))
			return &config->settings[i];
	return NULL;
}

static enum larder_status no_memory(void)
{
	message_set("configuration: no memory left");
	return LARDER_NO_MEMORY;
}

/* One more setting, still empty; NULL without memory. */
static struct config_setting *grow(struct config *config)
{
	if (config->count == config->room) {
		size_t room = config->room ? 2 * config->room : 64;
		struct config_setting *more = realloc(config->settings, room * sizeof *more);
		if (!more)
			return NULL;
		config->settings = more;
		config->room = room;
	}
	config->settings[config->count] = (struct config_setting){ 0 };
	return &config->settings[config->count++];
}

static bool fill(struct config_setting *setting, const char *store, const char *key, const char *value, const char *origin)
{
	struct config_setting copy = { strdup(store), strdup(key), strdup(value), strdup(origin), setting->source };

	if (!copy.store || !copy.key || !copy.value || !copy.origin) {
		setting_free(&copy);
		return false;
	}
	setting_free(setting);
	*setting = copy;
	return true;
}

/* A setting of the source that is being read. */
static enum larder_status put(struct config *config, const char *store, const char *key, const char *value, const char *origin)
{
	struct config_setting *setting = find(config, store, key);

	if (setting && setting->source == config->sources) {
		message_set("%s: %s is given twice, first at %s", origin, key, setting->origin);
		return LARDER_INVALID;
	}
	if (!setting && config->count == CONFIG_SETTINGS_MAX) {
		message_set("%s: more than %u settings", origin, CONFIG_SETTINGS_MAX);
		return LARDER_INVALID;
	}
	if (!setting)
		setting = grow(config);
	if (!setting)
		return no_memory();
	bool filled = fill(setting, store, key, value, origin);
	setting->source = config->sources;
	if (!filled && !setting->key)
		config->count--;
	return filled ? LARDER_OK : no_memory();
}

/* ---- Texts ------------------------------------------------------------------------------------------------------------ */

static __attribute__((format(printf, 3, 4))) void fault(struct reader *r, unsigned line, const char *format, ...)
{
	char text[320];
	va_list arguments;

	if (r->status)
		return;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	message_set("%s:%u: %s", r->name, line, text);
	r->status = LARDER_INVALID;
}

static void end_section(struct reader *r)
{
	if (r->section_line && !r->section_used)
		fault(r, r->section_line, "section [%s] has no settings: fill it or take it out", r->section);
}

/* Where a section begins: its name has to be whole, for libinih would cut it. */
static void note_section(struct reader *r, const char *line, size_t count)
{
	const char *close = memchr(line, ']', count);
	size_t length = close ? (size_t)(close - line) - 1 : 0;

	end_section(r);
	if (!close) {
		while (count && isspace((unsigned char)line[count - 1]))
			count--;
		fault(r, r->line, "section %.*s has no ']' at its end", (int)(count > EXCERPT_BYTES ? EXCERPT_BYTES : count), line);
	}
	if (close && length > SECTION_BYTES_MAX) {
		fault(r, r->line, "section [%.*s...] is longer than %u bytes", EXCERPT_BYTES, line + 1, SECTION_BYTES_MAX);
		return;
	}
	snprintf(r->section, sizeof r->section, "%.*s", (int)length, line + 1);
	r->section_line = close ? r->line : 0;
	r->section_used = false;
}

/* As fgets() does: one line, of which libinih takes what fits into room. */
static char *next_line(char *to, int room, void *stream)
{
	struct reader *r = stream;
	size_t left = (size_t)(r->end - r->at);

	if (!left || r->status)
		return NULL;
	const char *newline = memchr(r->at, '\n', left);
	size_t count = newline ? (size_t)(newline - r->at) + 1 : left, blank = 0;
	r->line++;
	while (blank < count && (r->at[blank] == ' ' || r->at[blank] == '\t'))
		blank++;
	r->indented = blank > 0;
	if (memchr(r->at, 0, count))
		fault(r, r->line, "has a NUL in it: this is no configuration");
	else if (count - (newline != NULL) > (size_t)room - 2)
		fault(r, r->line, "is longer than %d bytes: go on in a further line that begins with a blank", room - 2);
	else if (blank < count && r->at[blank] == '[')
		note_section(r, r->at + blank, count - blank);
	if (r->status)
		return NULL;
	memcpy(to, r->at, count);
	to[count] = '\0';
	r->at += count;
	return to;
}

/* "" of [manager], the name of [store NAME]; NULL of any other section. */
static const char *store_of(const char *section)
{
	if (!strcmp(section, "manager"))
		return "";
	if (strncmp(section, "store", 5) || !isspace((unsigned char)section[5]))
		return NULL;
	section += 5;
	section += strspn(section, " \t");
	return config_name_good(section) ? section : NULL;
}

/* A line that goes on with the value before it: the two are one, without what is between. */
static void go_on(struct reader *r, const char *store, const char *key, const char *value)
{
	struct config_setting *before = find(r->config, store, key);
	size_t head = strlen(before->value), tail = strlen(value) + 1;
	char *joined = malloc(head + tail);

	if (!joined) {
		r->status = no_memory();
		return;
	}
	memcpy(joined, before->value, head);
	memcpy(joined + head, value, tail);
	free(before->value);
	before->value = joined;
}

static int on_setting(void *arg, const char *section, const char *key, const char *value)
{
	struct reader *r = arg;
	const char *store = store_of(section);
	char origin[320];

	if (!r->status && !store)
		fault(r, r->line, "section [%s] is unknown: expected [manager] or [store NAME], NAME of 1 .. %u bytes of [a-z0-9_.-]",
				section, CONFIG_NAME_BYTES);
	if (!r->status && strlen(key) >= KEY_BYTES_MAX)
		fault(r, r->line, "key %.*s... is longer than %u bytes", EXCERPT_BYTES, key, KEY_BYTES_MAX - 1);
	if (r->status)
		return 0;
	r->section_used = true;
	snprintf(origin, sizeof origin, "%.300s:%u", r->name, r->line);
	const struct config_setting *before = r->indented ? find(r->config, store, key) : NULL;
	if (before && before->source == r->config->sources)
		go_on(r, store, key, value);
	else
		r->status = put(r->config, store, key, value, origin);
	return r->status == LARDER_OK;
}

enum larder_status config_text(struct config *config, const char *name, const char *text, size_t count)
{
	struct reader r = { .config = config, .name = name, .at = text, .end = text + count };

	config->sources++;
	int line = ini_parse_stream(next_line, &r, on_setting, &r);
	if (line > 0)
		fault(&r, (unsigned)line, "is no [section], no `key = value` and no comment");
	if (line < 0 && !r.status)
		r.status = no_memory();
	end_section(&r);
	return r.status;
}

/* ---- Files ------------------------------------------------------------------------------------------------------------ */

static enum larder_status cannot_read(const char *path)
{
	message_set("configuration %s: cannot be read: %s", path, strerror(errno));
	return LARDER_SYSTEM;
}

/* All of fd, or -1. */
static ssize_t read_all(int fd, char *to, size_t room)
{
	size_t length = 0;

	while (length < room) {
		ssize_t got = read(fd, to + length, room - length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -1 : (ssize_t)length;
		length += (size_t)got;
	}
	return (ssize_t)length;
}

static enum larder_status read_open(struct config *config, const char *path, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return cannot_read(path);
	if (S_ISDIR(st.st_mode) || st.st_size > CONFIG_FILE_BYTES) {
		message_set("configuration %s: found %s, expected a file of at most %u bytes", path,
				S_ISDIR(st.st_mode) ? "a directory" : "a larger file", CONFIG_FILE_BYTES);
		return LARDER_INVALID;
	}
	char *text = malloc(CONFIG_FILE_BYTES);
	if (!text)
		return no_memory();
	ssize_t length = read_all(fd, text, CONFIG_FILE_BYTES);
	enum larder_status status = length < 0 ? cannot_read(path) : config_text(config, path, text, (size_t)length);
	free(text);
	return status;
}

enum larder_status config_file(struct config *config, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return cannot_read(path);
	enum larder_status status = read_open(config, path, fd);
	(void)close(fd);
	return status;
}

/* ---- Environment -------------------------------------------------------------------------------------------------------- */

#define MANAGER_PREFIX "LARDER_MANAGER_"
#define STORE_PREFIX "LARDER_STORE_"

/* text[0 .. count) in small letters, '_' as '-'; false where it does not fit. */
static bool lower(const char *text, size_t count, char *to, size_t room)
{
	if (!count || count >= room)
		return false;
	for (size_t i = 0; i < count; i++)
		to[i] = text[i] == '_' ? '-' : (char)tolower((unsigned char)text[i]);
	to[count] = '\0';
	return true;
}

/* Whether `name` is how a store's name looks in a variable: capitals, and '_' for all that is neither letter nor digit. */
static bool looks_like(const char *store, const char *name, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char c = isalnum((unsigned char)store[i]) ? (char)toupper((unsigned char)store[i]) : '_';
		if (!store[i] || c != name[i])
			return false;
	}
	return !store[count];
}

/* The store that rest (NAME_SETTING) begins with, of those that are known the one with the longest name; *count: its bytes. */
static const char *known_store(const struct config *config, const char *rest, size_t bytes, size_t *count)
{
	const char *found = NULL;

	*count = 0;
	for (size_t i = 0; i < config->count; i++) {
		const char *store = config->settings[i].store;
		size_t length = strlen(store);
		if (length <= *count || length + 1 >= bytes || rest[length] != '_' || !looks_like(store, rest, length))
			continue;
		found = store;
		*count = length;
	}
	return found;
}

static enum larder_status bad_variable(const char *origin)
{
	message_set("%.300s: names no store that is configured; a new one begins with LARDER_STORE_<NAME>_KIND, earlier in no file", origin);
	return LARDER_INVALID;
}

static enum larder_status put_store_variable(struct config *config, const char *rest, size_t bytes, const char *value,
		const char *origin)
{
	char name[CONFIG_NAME_BYTES + 1], key[KEY_BYTES_MAX];
	size_t count;
	const char *store = known_store(config, rest, bytes, &count);

	if (!store)
		return bad_variable(origin);
	snprintf(name, sizeof name, "%s", store);
	if (!lower(rest + count + 1, bytes - count - 1, key, sizeof key))
		return bad_variable(origin);
	return put(config, name, key, value, origin);
}

/* A store that only the environment knows: LARDER_STORE_<NAME>_KIND. */
static enum larder_status put_new_store(struct config *config, const char *rest, size_t bytes, const char *value,
		const char *origin)
{
	char name[CONFIG_NAME_BYTES + 1];
	size_t count;

	if (bytes < 6 || strncmp(rest + bytes - 5, "_KIND", 5))
		return LARDER_OK;
	if (known_store(config, rest, bytes, &count) && count == bytes - 5)
		return LARDER_OK;
	if (!lower(rest, bytes - 5, name, sizeof name) || !config_name_good(name))
		return bad_variable(origin);
	return put(config, name, "kind", value, origin);
}

/* In two rounds: the second one knows the stores that the first one made. */
static enum larder_status put_variable(struct config *config, const char *variable, bool first_round)
{
	const char *equals = strchr(variable, '=');
	char origin[400];

	if (!equals)
		return LARDER_OK;
	size_t bytes = (size_t)(equals - variable);
	snprintf(origin, sizeof origin, "environment: %.*s", (int)(bytes < 300 ? bytes : 300), variable);
	if (first_round && !strncmp(variable, MANAGER_PREFIX, strlen(MANAGER_PREFIX))) {
		char key[KEY_BYTES_MAX];
		size_t skip = strlen(MANAGER_PREFIX);
		return lower(variable + skip, bytes - skip, key, sizeof key) ? put(config, "", key, equals + 1, origin)
				: bad_variable(origin);
	}
	if (strncmp(variable, STORE_PREFIX, strlen(STORE_PREFIX)))
		return LARDER_OK;
	const char *rest = variable + strlen(STORE_PREFIX);
	size_t rest_bytes = bytes - strlen(STORE_PREFIX);
	if (first_round)
		return put_new_store(config, rest, rest_bytes, equals + 1, origin);
	for (size_t i = 0; i < config->count; i++)
		if (!strcmp(config->settings[i].origin, origin))
			return LARDER_OK; /* by the first round */
	return put_store_variable(config, rest, rest_bytes, equals + 1, origin);
}

enum larder_status config_environment(struct config *config, char *const environment[])
{
	enum larder_status status = LARDER_OK;

	config->sources++;
	for (unsigned round = 0; round < 2; round++)
		for (size_t i = 0; environment[i] && !status; i++)
			status = put_variable(config, environment[i], round == 0);
	return status;
}
