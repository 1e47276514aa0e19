/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a manager is told: settings of sections, from texts and files in the form of larder.conf(5) and from the environment.
 *
 * Each source is read whole; a setting of a later source takes the place of an earlier one's.  Stores keep the order in which they were
 * named first.  Values are held against rules by those who use them; here a section and a key have to look like one.
 */
#ifndef LARDER_MANAGER_CONFIG_H
#define LARDER_MANAGER_CONFIG_H

#include <larder/store.h>

#define CONFIG_NAME_BYTES 40u    /* of a store's name */
#define CONFIG_FILE_BYTES (1u << 20)
#define CONFIG_SETTINGS_MAX 4096u

struct config_setting {
	char *store;  /* "": of the manager itself */
	char *key, *value;
	char *origin; /* "larder.conf:12", "environment: LARDER_STORE_WEB_BYTES" */
	unsigned source;
};

/* Zeroed at first. */
struct config {
	struct config_setting *settings;
	size_t count, room;
	unsigned sources;
};

/* 1 .. CONFIG_NAME_BYTES of [a-z0-9_.-], beginning with a letter or a digit. */
bool config_name_good(const char *name);

/* text[0 .. count), called `name` in messages.  LARDER_OK; LARDER_INVALID; LARDER_NO_MEMORY. */
enum larder_status config_text(struct config *config, const char *name, const char *text, size_t count);
/* The same of a file; also LARDER_SYSTEM. */
enum larder_status config_file(struct config *config, const char *path);
/* LARDER_MANAGER_<SETTING> and LARDER_STORE_<NAME>_<SETTING> of environment[], ended by NULL. */
enum larder_status config_environment(struct config *config, char *const environment[]);
void config_free(struct config *config);

#endif
