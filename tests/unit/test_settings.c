/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings: what is taken, what is refused, and that a refusal names the setting, its value and what is allowed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "store/settings.h"

static const struct larder_setting_rule rules[] = {
	{ .key = "url", .text = "where the server is" },
	{ .key = "bytes", .type = LARDER_SETTING_SIZE, .least = 1024, .most = 1 << 20, .usual = "64k", .text = "size" },
	{ .key = "timeout", .type = LARDER_SETTING_DURATION, .least = 1, .most = 60000, .usual = "50ms", .text = "time-out" },
	{ .key = "retries", .type = LARDER_SETTING_COUNT, .least = 0, .most = 9, .usual = "", .text = "tries" },
	{ .key = "tls", .type = LARDER_SETTING_BOOL, .usual = "no", .text = "TLS" },
	{ .key = "mode", .type = LARDER_SETTING_CHOICE, .choices = "through|behind|around", .usual = "through", .text = "mode" },
	{ .key = "near", .type = LARDER_SETTING_STORE, .usual = "", .text = "store" },
};
#define RULES (sizeof rules / sizeof *rules)

static struct larder_setting_value values[RULES];

static const char *const *origins;

static enum larder_status check(const struct larder_setting *settings, size_t count)
{
	struct settings_rules all = { "store kind test", rules, RULES, NULL, NULL, origins, "shop.conf:2" };

	return settings_check(&all, settings, count, values);
}

/* The status with url given and one setting more. */
static enum larder_status with(const char *key, const char *value)
{
	const struct larder_setting settings[] = { { "url", "x" }, { key, value } };

	return check(settings, 2);
}

static void message_names(const char *a, const char *b, const char *c)
{
	cr_assert(strstr(larder_message(), a) && strstr(larder_message(), b) && strstr(larder_message(), c), "%s",
			larder_message());
}

Test(settings, absent_ones_take_their_usual_value)
{
	cr_assert_eq(check(&(struct larder_setting){ "url", "x" }, 1), LARDER_OK);
	cr_assert_eq(values[1].number, 65536);
	cr_assert_eq(values[2].number, 50);
	cr_assert_eq(values[3].number, 0);
	cr_assert_not(values[3].given);
	cr_assert_eq(values[5].number, 0);
}

Test(settings, units_multiply)
{
	cr_assert_eq(with("bytes", "2k"), LARDER_OK);
	cr_assert_eq(values[1].number, 2048);
	cr_assert_eq(with("bytes", "1M"), LARDER_OK);
	cr_assert_eq(values[1].number, 1 << 20);
	cr_assert_eq(with("timeout", "2"), LARDER_OK);
	cr_assert_eq(values[2].number, 2000);
	cr_assert_eq(with("timeout", "1m"), LARDER_OK);
	cr_assert_eq(values[2].number, 60000);
	cr_assert_eq(with("tls", "on"), LARDER_OK);
	cr_assert_eq(values[4].number, 1);
	cr_assert_eq(with("mode", "around"), LARDER_OK);
	cr_assert_eq(values[5].number, 2);
}

Test(settings, malformed_values_are_refused_by_name_value_and_range)
{
	static const char *const bad[][2] = { { "bytes", "" }, { "bytes", "k" }, { "bytes", "1x" }, { "bytes", "-5" },
		{ "bytes", "1023" }, { "bytes", "2m" }, { "bytes", "99999999999999999999" }, { "bytes", "9999999999t" },
		{ "timeout", "1y" }, { "timeout", "0" }, { "retries", "10" }, { "retries", "1k" }, { "tls", "maybe" },
		{ "mode", "thro" }, { "mode", "through|behind" } };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_assert_eq(with(bad[i][0], bad[i][1]), LARDER_INVALID, "%s = %s", bad[i][0], bad[i][1]);
		message_names(bad[i][0], bad[i][1], "expected");
	}
}

Test(settings, an_unknown_one_is_refused_with_what_was_meant)
{
	cr_assert_eq(with("time-out", "5"), LARDER_INVALID);
	message_names("time-out", "did you mean 'timeout'", "retries");
	cr_assert_eq(with("zzz", "5"), LARDER_INVALID);
	cr_assert_null(strstr(larder_message(), "did you mean"));
}

Test(settings, what_only_looks_a_little_alike_is_not_guessed)
{
	static const char *const keys[][2] = { { "tmieout", "timeout" }, { "retrys", "retries" }, { "byts", "bytes" }, { "nera", "near" },
		{ "tes", "tls" }, { "mod", "mode" }, { "tries", NULL }, { "reads", NULL }, { "bite", NULL }, { "ttl", NULL }, { "tags", NULL },
		{ "entries", NULL }, { "timing", NULL }, { "ur", "url" } };
	char guess[64];

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		cr_assert_eq(with(keys[i][0], "5"), LARDER_INVALID);
		snprintf(guess, sizeof guess, "did you mean '%s'", keys[i][1] ? keys[i][1] : "");
		cr_assert_eq(strstr(larder_message(), guess) != NULL, keys[i][1] != NULL, "%s", larder_message());
	}
}

Test(settings, a_range_is_told_as_one_would_write_it)
{
	cr_assert_eq(with("timeout", "2m"), LARDER_INVALID);
	message_names("timeout = 2m", "1ms .. 1m", "seconds without");
	cr_assert_eq(with("bytes", "7"), LARDER_INVALID);
	message_names("bytes = 7", "1k .. 1m", "bytes without");
	cr_assert_eq(with("retries", "10"), LARDER_INVALID);
	message_names("retries = 10", "expected 0 .. 9", "");
}

Test(settings, one_given_twice_or_missing_is_refused)
{
	cr_assert_eq(with("url", "y"), LARDER_INVALID);
	message_names("url", "x", "y");
	cr_assert_eq(check(NULL, 0), LARDER_INVALID);
	message_names("shop.conf:2: store kind test: url", "has to be given", "where the server is");
}

Test(settings, a_store_that_nobody_knows_is_refused)
{
	cr_assert_eq(with("near", "l1"), LARDER_INVALID);
	message_names("near", "l1", "define it");
}

Test(settings, a_refusal_says_where_the_setting_stands)
{
	static const char *const places[] = { "shop.conf:3", "shop.conf:4" };

	origins = places;
	cr_assert_eq(with("bytes", "5"), LARDER_INVALID);
	message_names("shop.conf:4: store kind test", "bytes = 5", "1k");
	cr_assert_eq(with("bites", "5"), LARDER_INVALID);
	message_names("shop.conf:4", "bites", "did you mean 'bytes'");
	cr_assert_eq(with("url", "y"), LARDER_INVALID);
	message_names("shop.conf:4", "url", "twice");
}
