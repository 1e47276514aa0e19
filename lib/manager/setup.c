/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a manager: its own settings, then the stores of its configuration in their order.  What fails leaves nothing open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/message.h"
#include "manager/config.h"
#include "manager/grace.h"
#include "manager/manager.h"
#include "store/settings.h"
#include "store/store.h"

enum manager_setting { MANAGER_DEFAULT, MANAGER_METRICS, MANAGER_TIMING, MANAGER_LOG, MANAGER_SETTINGS };
static const struct larder_setting_rule rules[MANAGER_SETTINGS] = {
	[MANAGER_DEFAULT] = { .key = "default", .usual = "default", .text = "name of the store that is meant where none is named" },
	[MANAGER_METRICS] = { .key = "metrics", .usual = "", .text = "name of the store in whose segment is counted; or private, or none" },
	[MANAGER_TIMING] = { .key = "timing", .type = LARDER_SETTING_COUNT, .least = 0, .most = 1 << 24, .usual = "",
		.text = "one operation in so many is timed; 0: none" },
	[MANAGER_LOG] = { .key = "log", .type = LARDER_SETTING_CHOICE, .choices = "none|stderr|syslog|journald", .usual = "none",
		.text = "where failures are told" },
};

enum larder_status larder_ttl(const char *text, int64_t *ttl_ms)
{
	int64_t number;

	if (!text || !ttl_ms || !settings_number(LARDER_SETTING_DURATION, text, &number) || number <= 0 || number > LARDER_TTL_MAX) {
		message_set("time to live '%.40s': expected digits and ms, s, m, h or d (seconds without), above 0", text ? text : "");
		return LARDER_INVALID;
	}
	*ttl_ms = number;
	return LARDER_OK;
}

/* ---- What is configured --------------------------------------------------------------------------------------------- */

/* settings and origins of one store, from the configuration; "kind" apart. */
struct section {
	struct larder_setting settings[SETTINGS_RULES_MAX + 1];
	const char *origins[SETTINGS_RULES_MAX + 1];
	size_t count;
	const struct config_setting *kind;
};

static enum larder_status gather(const struct config *config, const char *store, struct section *section)
{
	*section = (struct section){ .count = 0 };
	for (size_t i = 0; i < config->count; i++) {
		const struct config_setting *s = &config->settings[i];
		if (strcmp(s->store, store))
			continue;
		if (*store && !strcmp(s->key, "kind")) {
			section->kind = s;
			continue;
		}
		if (section->count == SETTINGS_RULES_MAX) {
			message_set("%s: store %s has more settings than any kind takes", s->origin, store);
			return LARDER_INVALID;
		}
		section->settings[section->count] = (struct larder_setting){ s->key, s->value };
		section->origins[section->count++] = s->origin;
	}
	return LARDER_OK;
}

static enum larder_status take_name(char to[LARDER_STORE_NAME_MAX + 1], const char *origin, const char *key, const char *name)
{
	if (*name && !config_name_good(name)) {
		message_set("%s: %s = %.64s: expected the name of a store, 1 .. %u bytes of [a-z0-9_.-]", origin ? origin : "manager", key,
				name, LARDER_STORE_NAME_MAX);
		return LARDER_INVALID;
	}
	snprintf(to, LARDER_STORE_NAME_MAX + 1, "%s", name);
	return LARDER_OK;
}

/* Where a manager's setting stands; NULL if it is not given. */
static const char *origin_of(const struct config *config, const char *key)
{
	for (size_t i = 0; i < config->count; i++)
		if (!*config->settings[i].store && !strcmp(config->settings[i].key, key))
			return config->settings[i].origin;
	return NULL;
}

static enum larder_status configure_manager(struct larder_manager *m, const struct config *config)
{
	static void (*const adapters[])(const struct larder_log_event *event, void *arg) = { NULL, larder_log_stderr, larder_log_syslog,
		larder_log_journald };
	struct larder_setting_value values[MANAGER_SETTINGS];
	struct section section;
	enum larder_status status = gather(config, "", &section);

	if (status)
		return status;
	struct settings_rules all = { "manager", rules, MANAGER_SETTINGS, NULL, NULL, section.origins, NULL };
	status = settings_check(&all, section.settings, section.count, values);
	if (!status)
		status = take_name(m->usual, origin_of(config, "default"), "default", *values[MANAGER_DEFAULT].text ? values[MANAGER_DEFAULT].text : "default");
	if (!status)
		status = take_name(m->metrics, origin_of(config, "metrics"), "metrics", values[MANAGER_METRICS].text);
	if (status)
		return status;
	m->timing = (uint32_t)values[MANAGER_TIMING].number;
	m->timing_given = values[MANAGER_TIMING].given;
	if (!m->log)
		m->log = adapters[values[MANAGER_LOG].number];
	return LARDER_OK;
}

static struct larder_store *find_store(const char *name, void *arg)
{
	struct larder_store *store = larder_manager_store(arg, name), *borrowed = store;

	/* The manager's own reference keeps it: nobody else knows of the manager yet, or the program says so by calling define. */
	larder_store_release(&store);
	return borrowed;
}

static enum larder_status open_and_register(struct larder_manager *m, const char *name, const struct store_request *request)
{
	struct larder_store *store;
	enum larder_status status = store_open_as(request, &store);

	if (status)
		return status;
	status = larder_manager_register(m, name, store);
	larder_store_release(&store);
	return status;
}

static enum larder_status open_store(struct larder_manager *m, const struct config *config, const char *name)
{
	struct section section;
	char owner[96];
	enum larder_status status = gather(config, name, &section);

	if (status)
		return status;
	snprintf(owner, sizeof owner, "store %s", name);
	if (!section.kind) {
		message_set("%s: store %s: kind has to be given: shm, memory, or another one", section.origins[0], name);
		return LARDER_INVALID;
	}
	const struct store_request request = { .kind = section.kind->value, .owner = owner, .place = section.kind->origin,
		.settings = section.settings, .origins = section.origins, .count = section.count, .find = find_store, .arg = m };
	return open_and_register(m, name, &request);
}

/* Each store once, where it is first named. */
static enum larder_status open_stores(struct larder_manager *m, const struct config *config)
{
	enum larder_status status = LARDER_OK;

	for (size_t i = 0; i < config->count && !status; i++) {
		const char *name = config->settings[i].store;
		size_t first = 0;
		while (strcmp(config->settings[first].store, name))
			first++;
		if (*name && first == i)
			status = open_store(m, config, name);
	}
	return status;
}

/* A setting that names a store, in a configuration that has some: one of them, or it is misspelt.  Where it has none, the program
 * brings them later. */
static enum larder_status check_named(struct larder_manager *m, const struct config *config, const char *key, const char *name)
{
	const char *origin = origin_of(config, key);
	bool stores = false;

	for (size_t i = 0; i < config->count; i++)
		stores = stores || *config->settings[i].store;
	if (!origin || !stores || find_store(name, m))
		return LARDER_OK;
	char text[MESSAGE_BYTES];
	(void)manager_no_store(m, name);
	snprintf(text, sizeof text, "%s", larder_message());
	message_set("%.300s: manager: %s = %s: %s", origin, key, name, text);
	return LARDER_INVALID;
}

static bool is_no_store(const char *metrics)
{
	return !*metrics || !strcmp(metrics, "none") || !strcmp(metrics, "private");
}

static enum larder_status check_names(struct larder_manager *m, const struct config *config)
{
	enum larder_status status = check_named(m, config, "default", m->usual);

	return status || is_no_store(m->metrics) ? status : check_named(m, config, "metrics", m->metrics);
}

static enum larder_status read_sources(const struct larder_manager_options *o, struct config *config)
{
	bool look = !(o->flags & LARDER_NO_ENVIRONMENT) && !getauxval(AT_SECURE);
	const char *file = o->file ? o->file : look ? getenv("LARDER_CONFIG") : NULL;
	enum larder_status status = o->text ? config_text(config, "program", o->text, strlen(o->text)) : LARDER_OK;

	if (!status && file && *file)
		status = config_file(config, file);
	return !status && look ? config_environment(config, environ) : status;
}

static enum larder_status configure(struct larder_manager *m, const struct larder_manager_options *o)
{
	struct config config = { 0 };
	enum larder_status status = read_sources(o, &config);

	if (!status)
		status = configure_manager(m, &config);
	if (!status)
		status = open_stores(m, &config);
	if (!status)
		status = check_names(m, &config);
	config_free(&config);
	return status;
}

/* ---- Opening ---------------------------------------------------------------------------------------------------------- */

/* The caller's struct may be older than ours: what it lacks is 0; what we do not know has to be. */
static enum larder_status options_copy(struct larder_manager_options *to, const struct larder_manager_options *from)
{
	const unsigned char *bytes = (const unsigned char *)from;

	*to = (struct larder_manager_options)LARDER_MANAGER_OPTIONS_INIT;
	if (!from)
		return LARDER_OK;
	bool good = from->size >= offsetof(struct larder_manager_options, text) && from->size <= 4096;
	for (size_t i = sizeof *to; good && i < from->size; i++)
		good = !bytes[i];
	if (good)
		memcpy(to, from, from->size < sizeof *to ? from->size : sizeof *to);
	if (good && !(to->flags & ~(uint32_t)LARDER_NO_ENVIRONMENT) && !to->unused)
		return LARDER_OK;
	message_set("larder_manager_open: options of another size, or with flags that are unknown: begin with LARDER_MANAGER_OPTIONS_INIT");
	return LARDER_INVALID;
}

enum larder_status larder_manager_open_with(const struct larder_manager_options *options, struct larder_manager **manager)
{
	struct larder_manager_options o;

	if (!manager)
		return LARDER_INVALID;
	*manager = NULL;
	enum larder_status status = options_copy(&o, options);
	if (status)
		return status;
	struct larder_manager *m = grace_set_up() ? calloc(1, sizeof *m) : NULL;
	if (!m) {
		message_set("larder_manager_open: no memory left");
		return LARDER_NO_MEMORY;
	}
	m->log = o.log;
	m->log_arg = o.log_arg;
	status = configure(m, &o);
	if (status)
		larder_manager_close(&m);
	else
		*manager = m;
	return status;
}

enum larder_status larder_manager_open(const char *file, struct larder_manager **manager)
{
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;

	options.file = file;
	return larder_manager_open_with(&options, manager);
}

enum larder_status larder_manager_define(struct larder_manager *manager, const char *name, const char *kind,
		const struct larder_setting *settings, size_t count)
{
	char owner[96];

	if (!manager || (count && !settings))
		return LARDER_INVALID;
	snprintf(owner, sizeof owner, "store %.64s", name ? name : manager->usual);
	const struct store_request request = { .kind = kind, .owner = owner, .settings = settings, .count = count,
		.find = find_store, .arg = manager };
	return open_and_register(manager, name, &request);
}
