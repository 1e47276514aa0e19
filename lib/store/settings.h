/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Settings: text from a file, the environment or the program, held against the rules of whoever takes them.  A message names the
 * setting, the value, what is allowed, and where there is one the setting that was probably meant.
 */
#ifndef LARDER_STORE_SETTINGS_H
#define LARDER_STORE_SETTINGS_H

#include <larder/store.h>

#define SETTINGS_RULES_MAX 64u

struct settings_rules {
	const char *owner; /* for messages: "store kind redis" */
	const struct larder_setting_rule *rules;
	unsigned count;
	struct larder_store *(*find)(const char *name, void *arg);
	void *arg;
	const char *const *origins; /* "larder.conf:12" of each setting, for messages; NULL: nothing to say of them */
	const char *place;          /* "larder.conf:11": of what is missing; NULL: nothing to say of it */
};

/* Parses text by type: bytes, ms, a count, 0 or 1.  False: malformed, or beyond int64_t. */
bool settings_number(enum larder_setting_type type, const char *text, int64_t *number);

/* Whether `word` looks like a misspelt `candidate`, and more so than what *distance was set by (SIZE_MAX at first). */
bool settings_meant(const char *word, const char *candidate, size_t *distance);

/* values[0 .. rules->count) from settings[0 .. count).  LARDER_OK, or LARDER_INVALID with a message. */
enum larder_status settings_check(const struct settings_rules *rules, const struct larder_setting *settings, size_t count,
		struct larder_setting_value *values);

#endif
