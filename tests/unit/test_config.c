/* SPDX-License-Identifier: BSD-2-Clause */
/* Configurations: sections and settings as they were written, in which order they override, and faults by file and line. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/config.h"

static struct config config;

static void done(void)
{
	config_free(&config);
}
TestSuite(config, .fini = done);

static enum larder_status text(const char *name, const char *what)
{
	return config_text(&config, name, what, strlen(what));
}

static const char *value_of(const char *store, const char *key)
{
	for (size_t i = 0; i < config.count; i++)
		if (!strcmp(config.settings[i].store, store) && !strcmp(config.settings[i].key, key))
			return config.settings[i].value;
	return NULL;
}

static void faulty(const char *what, const char *place, const char *word)
{
	cr_assert_eq(text("x.conf", what), LARDER_INVALID, "%s", what);
	cr_assert(strstr(larder_message(), place) && strstr(larder_message(), word), "not %s, %s: %s", place, word, larder_message());
	config_free(&config);
}

Test(config, sections_are_read_with_comments_and_blanks)
{
	cr_assert_eq(text("x.conf", "# first\n[manager]\nlog = stderr ; inline\n\n[store  web]\n  \nkind=shm\n; last\nbytes: 64m"),
			LARDER_OK, "%s", larder_message());
	cr_assert_eq(config.count, 3);
	cr_assert_str_eq(value_of("", "log"), "stderr");
	cr_assert_str_eq(value_of("web", "kind"), "shm");
	cr_assert_str_eq(value_of("web", "bytes"), "64m");
	cr_assert_str_eq(config.settings[2].origin, "x.conf:9");
}

Test(config, a_line_that_begins_with_a_blank_goes_on_with_the_one_before)
{
	cr_assert_eq(text("x", "[store r]\nurl = redis+cluster://a,\n   b,\n   c\nkind = redis\n"), LARDER_OK, "%s", larder_message());
	cr_assert_str_eq(value_of("r", "url"), "redis+cluster://a,b,c");
	cr_assert_str_eq(value_of("r", "kind"), "redis");
}

Test(config, a_later_source_overrides_setting_by_setting)
{
	cr_assert_eq(text("a", "[store web]\nkind = shm\nbytes = 1m\n[store b]\nkind = memory\n"), LARDER_OK);
	cr_assert_eq(text("b", "[store b]\nbytes = 2m\n[store web]\nbytes = 3m\n"), LARDER_OK);
	cr_assert_str_eq(value_of("web", "bytes"), "3m");
	cr_assert_str_eq(value_of("web", "kind"), "shm");
	cr_assert_str_eq(value_of("b", "bytes"), "2m");
	cr_assert_str_eq(config.settings[0].store, "web");
}

Test(config, faults_are_named_by_file_and_line)
{
	static char longest[400];

	faulty("[manager]\nlog = a\nlog = b\n", "x.conf:3", "twice");
	faulty("[manager]\nlog\n", "x.conf:2", "key = value");
	faulty("[stores web]\nkind = shm\n", "x.conf:2", "[stores web]");
	faulty("[store Web]\nkind = shm\n", "x.conf:2", "[a-z0-9_.-]");
	faulty("[store]\nkind = shm\n", "x.conf:2", "[store]");
	faulty("kind = shm\n", "x.conf:1", "[]");
	faulty("[store web]\n\n[manager]\nlog = none\n", "x.conf:1", "no settings");
	faulty("[manager]\nlog = none\n[store web]\n", "x.conf:3", "no settings");
	snprintf(longest, sizeof longest, "[manager]\nlog = %0250d\n", 1);
	faulty(longest, "x.conf:2", "longer than");
	snprintf(longest, sizeof longest, "[store %060d]\nkind = shm\n", 1);
	faulty(longest, "x.conf:1", "longer than");
	snprintf(longest, sizeof longest, "[manager]\n%060d = shm\n", 1);
	faulty(longest, "x.conf:2", "longer than");
}

Test(config, a_section_without_its_end_is_blamed_on_its_own_line)
{
	faulty("[manager\nlog = none\n", "x.conf:1: section [manager has no ']'", "]");
	faulty("[store web\nkind = shm\n", "x.conf:1: section [store web has", "]");
	faulty("[manager]\nlog = none\n\n[store", "x.conf:4", "has no ']'");
}

Test(config, a_line_has_198_bytes_at_most)
{
	char whole[256];

	snprintf(whole, sizeof whole, "[manager]\nlog = %0192d\n", 1);
	cr_assert_eq(text("x.conf", whole), LARDER_OK, "%s", larder_message());
	config_free(&config);
	snprintf(whole, sizeof whole, "[manager]\nlog = %0193d\n", 1);
	faulty(whole, "x.conf:2", "is longer than 198 bytes");
	whole[strlen(whole) - 1] = '\0';
	faulty(whole, "x.conf:2", "is longer than 198 bytes");
}

Test(config, a_nul_is_no_configuration)
{
	cr_assert_eq(config_text(&config, "x", "[manager]\nlo\0g = x\n", 19), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "x:2"), "%s", larder_message());
}

Test(config, the_environment_overrides_what_is_there_and_makes_new_stores)
{
	char *const environment[] = { "HOME=/", "LARDER_STORE_WEB_ENTRY_BYTES=99", "LARDER_MANAGER_LOG=syslog",
		"LARDER_STORE_FRESH_ONE_BYTES=5m", "LARDER_STORE_FRESH_ONE_KIND=memory", "LARDER_STORE_WEB_2_KIND=memory",
		"LARDER_CONFIG=/x", "LARDER", NULL };

	cr_assert_eq(text("a", "[store web]\nkind = shm\nentry-bytes = 1\n[store web.2]\nkind = shm\n"), LARDER_OK);
	cr_assert_eq(config_environment(&config, environment), LARDER_OK, "%s", larder_message());
	cr_assert_str_eq(value_of("web", "entry-bytes"), "99");
	cr_assert_str_eq(value_of("web.2", "kind"), "memory");
	cr_assert_str_eq(value_of("", "log"), "syslog");
	cr_assert_str_eq(value_of("fresh-one", "kind"), "memory");
	cr_assert_str_eq(value_of("fresh-one", "bytes"), "5m");
}

Test(config, a_variable_of_no_store_is_named)
{
	char *const environment[] = { "LARDER_STORE_WEP_BYTES=99", NULL };

	cr_assert_eq(text("a", "[store web]\nkind = shm\n"), LARDER_OK);
	cr_assert_eq(config_environment(&config, environment), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "LARDER_STORE_WEP_BYTES"), "%s", larder_message());
}

Test(config, files_that_cannot_be_read_are_named)
{
	cr_assert_eq(config_file(&config, "/nowhere/x.conf"), LARDER_SYSTEM);
	cr_assert(strstr(larder_message(), "/nowhere/x.conf"), "%s", larder_message());
	cr_assert_eq(config_file(&config, "/"), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "directory"), "%s", larder_message());
}
