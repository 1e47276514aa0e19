/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Settings, see settings.h.  Every value is parsed here and nowhere else, so that a size or a duration is written in one way
 * wherever it stands.
 */
#include "store/settings.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/message.h"

#define OWNER_BYTES 384u
#define NUMBER_BYTES 32u
#define WORD_BYTES 40u /* longer ones are not guessed at */

struct unit {
	const char *name;
	int64_t factor;
};
static const struct unit sizes[] = { { "", 1 }, { "k", 1ll << 10 }, { "m", 1ll << 20 }, { "g", 1ll << 30 }, { "t", 1ll << 40 },
	{ NULL, 0 } };
static const struct unit durations[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
	{ "d", 86400000 }, { NULL, 0 } };
static const struct unit counts[] = { { "", 1 }, { NULL, 0 } };

static bool scaled(const char *text, const struct unit *units, int64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	long long digits = strtoll(text, &end, 10);
	if (errno)
		return false;
	for (; units->name; units++)
		if (!strcasecmp(end, units->name))
			return !__builtin_mul_overflow(digits, units->factor, number);
	return false;
}

static bool truth(const char *text, int64_t *number)
{
	static const char *const words[][2] = { { "no", "yes" }, { "false", "true" }, { "off", "on" }, { "0", "1" } };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		for (*number = 0; *number < 2; ++*number)
			if (!strcasecmp(text, words[i][*number]))
				return true;
	return false;
}

bool settings_number(enum larder_setting_type type, const char *text, int64_t *number)
{
	switch (type) {
	case LARDER_SETTING_SIZE:
		return scaled(text, sizes, number);
	case LARDER_SETTING_DURATION:
		return scaled(text, durations, number);
	case LARDER_SETTING_COUNT:
		return scaled(text, counts, number);
	case LARDER_SETTING_BOOL:
		return truth(text, number);
	default:
		return false;
	}
}

/* The place of text among "a|b|c", -1 if it is none of them. */
static int choice_of(const char *choices, const char *text)
{
	size_t count = strlen(text);

	for (int place = 0;; place++) {
		size_t length = strcspn(choices, "|");
		if (length == count && !strncmp(choices, text, count))
			return place;
		if (!choices[length])
			return -1;
		choices += length + 1;
	}
}

/* number in the largest unit that it is a whole multiple of: as one would write it. */
static void written(int64_t number, const struct unit *units, char text[NUMBER_BYTES])
{
	const struct unit *largest = NULL;

	for (; units->name; units++)
		if (number && number % units->factor == 0 && (!largest || units->factor >= largest->factor))
			largest = units;
	snprintf(text, NUMBER_BYTES, "%" PRId64 "%s", largest ? number / largest->factor : number, largest ? largest->name : "");
}

/* "1k .. 1m" */
static void range_of(const struct larder_setting_rule *rule, char *text, size_t room)
{
	static const struct unit *const units[] = { [LARDER_SETTING_SIZE] = sizes, [LARDER_SETTING_DURATION] = durations,
		[LARDER_SETTING_COUNT] = counts };
	static const char *const notes[] = { [LARDER_SETTING_SIZE] = " (k, m, g or t may follow; bytes without)",
		[LARDER_SETTING_DURATION] = " (ms, s, m, h or d may follow; seconds without)", [LARDER_SETTING_COUNT] = "" };
	char least[NUMBER_BYTES], most[NUMBER_BYTES];

	written(rule->least, units[rule->type], least);
	written(rule->most, units[rule->type], most);
	snprintf(text, room, "%s .. %s%s", least, most, notes[rule->type]);
}

/* What a rule allows, for messages. */
static const char *allowed(const struct larder_setting_rule *rule, char *text, size_t room)
{
	switch (rule->type) {
	case LARDER_SETTING_CHOICE:
		snprintf(text, room, "one of %s", rule->choices);
		return text;
	case LARDER_SETTING_BOOL:
		return "yes or no";
	case LARDER_SETTING_STORE:
		return "the name of a store";
	case LARDER_SETTING_TEXT:
		return "text";
	default:
		range_of(rule, text, room);
		return text;
	}
}

/* What messages about setting number `place` begin with: "larder.conf:12: store kind shm". */
static const char *owner_of(const struct settings_rules *rules, size_t place, char text[OWNER_BYTES])
{
	bool told = rules->origins && rules->origins[place];

	snprintf(text, OWNER_BYTES, "%s%s%s", told ? rules->origins[place] : "", told ? ": " : "", rules->owner);
	return text;
}

static enum larder_status refuse(const char *owner, const struct larder_setting_rule *rule, const char *text)
{
	char range[256];

	message_set("%s: %s = %s is not allowed: expected %s", owner, rule->key, text, allowed(rule, range, sizeof range));
	return LARDER_INVALID;
}

static enum larder_status find_store(const struct settings_rules *rules, const char *owner,
		const struct larder_setting_rule *rule, struct larder_setting_value *value)
{
	if (*value->text)
		value->store = rules->find ? rules->find(value->text, rules->arg) : NULL;
	if (value->store || (!*value->text && rule->usual))
		return LARDER_OK;
	message_set("%s: %s = %s: there is no store of that name; define it before this one", owner, rule->key, value->text);
	return LARDER_INVALID;
}

/* Parses value->text after its rule. */
static enum larder_status check_value(const struct settings_rules *rules, const char *owner,
		const struct larder_setting_rule *rule, struct larder_setting_value *value)
{
	int64_t number = 0;

	if (!value->given && !*value->text)
		return LARDER_OK;
	switch (rule->type) {
	case LARDER_SETTING_TEXT:
		return LARDER_OK;
	case LARDER_SETTING_STORE:
		return find_store(rules, owner, rule, value);
	case LARDER_SETTING_CHOICE:
		number = choice_of(rule->choices, value->text);
		break;
	default:
		if (!settings_number(rule->type, value->text, &number))
			return refuse(owner, rule, value->text);
	}
	bool bounded = rule->type == LARDER_SETTING_SIZE || rule->type == LARDER_SETTING_DURATION
			|| rule->type == LARDER_SETTING_COUNT;
	if (number < 0 || (bounded && (number < rule->least || number > rule->most)))
		return refuse(owner, rule, value->text);
	value->number = number;
	return LARDER_OK;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Fewest letters to be put in, left out, replaced or swapped with the next one that make one word of the other (Damerau, 1964);
 * WORD_BYTES for words that are longer than that. */
static size_t misspelling(const char *a, const char *b)
{
	size_t m = strlen(a), n = strlen(b), rows[3][WORD_BYTES + 1];

	if (m > WORD_BYTES || n > WORD_BYTES)
		return WORD_BYTES;
	for (size_t j = 0; j <= n; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= m; i++) {
		size_t *now = rows[i % 3], *before = rows[(i + 2) % 3], *swapped = rows[(i + 1) % 3];
		now[0] = i;
		for (size_t j = 1; j <= n; j++) {
			now[j] = least(before[j - 1] + (a[i - 1] != b[j - 1]), least(before[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], swapped[j - 2] + 1);
		}
	}
	return rows[m % 3][n];
}

bool settings_meant(const char *word, const char *candidate, size_t *distance)
{
	size_t length = strlen(word), found = misspelling(word, candidate);

	if (found >= *distance || found > (length < 4 ? 1 : length / 3))
		return false;
	*distance = found;
	return true;
}

static enum larder_status unknown(const struct settings_rules *rules, const char *owner, const char *key)
{
	char known[320] = "";
	const char *meant = NULL;
	size_t distance = SIZE_MAX;

	for (unsigned i = 0; i < rules->count; i++) {
		size_t length = strlen(known);
		snprintf(known + length, sizeof known - length, "%s%s", length ? ", " : "", rules->rules[i].key);
		if (settings_meant(key, rules->rules[i].key, &distance))
			meant = rules->rules[i].key;
	}
	message_set("%s: there is no setting '%s'%s%s%s; it takes: %s", owner, key, meant ? " (did you mean '" : "",
			meant ? meant : "", meant ? "'?)" : "", *known ? known : "none");
	return LARDER_INVALID;
}

/* Settings number `place` to its value; where[] remembers which setting a value is from. */
static enum larder_status take(const struct settings_rules *rules, const struct larder_setting *settings, size_t place,
		struct larder_setting_value *values, size_t *where)
{
	const struct larder_setting *setting = &settings[place];
	char owner[OWNER_BYTES];

	for (unsigned i = 0; i < rules->count; i++) {
		if (strcmp(setting->key, rules->rules[i].key))
			continue;
		if (values[i].given) {
			message_set("%s: %s is given twice: %s and %s", owner_of(rules, place, owner), setting->key, values[i].text,
					setting->value);
			return LARDER_INVALID;
		}
		values[i].text = setting->value;
		values[i].given = true;
		where[i] = place;
		return LARDER_OK;
	}
	return unknown(rules, owner_of(rules, place, owner), setting->key);
}

static enum larder_status check_rule(const struct settings_rules *rules, unsigned i, size_t where,
		struct larder_setting_value *value)
{
	char owner[OWNER_BYTES];

	if (value->text)
		return check_value(rules, value->given ? owner_of(rules, where, owner) : rules->owner, &rules->rules[i], value);
	message_set("%s%s%s: %s has to be given: %s", rules->place ? rules->place : "", rules->place ? ": " : "", rules->owner,
			rules->rules[i].key, rules->rules[i].text);
	return LARDER_INVALID;
}

enum larder_status settings_check(const struct settings_rules *rules, const struct larder_setting *settings, size_t count,
		struct larder_setting_value *values)
{
	size_t where[SETTINGS_RULES_MAX] = { 0 };
	enum larder_status status = LARDER_OK;

	for (unsigned i = 0; i < rules->count; i++)
		values[i] = (struct larder_setting_value){ .text = rules->rules[i].usual };
	for (size_t i = 0; i < count && !status; i++)
		status = take(rules, settings, i, values, where);
	for (unsigned i = 0; i < rules->count && !status; i++)
		status = check_rule(rules, i, where[i], &values[i]);
	return status;
}
