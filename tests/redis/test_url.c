/* SPDX-License-Identifier: BSD-2-Clause */
/* URLs and settings of the store kind redis: what is read from them, and what is refused in which words. */
#include "server.h"

#include <string.h>

#include "redis/key.h"
#include "redis/slots.h"
#include "redis/url.h"

static struct redis_url url;

Test(url, every_part_is_read)
{
	assert_status(url_parse("redis://ada:s%40cret@[::1]:7001/12", &url), LARDER_OK);
	cr_assert_str_eq(url.user, "ada");
	cr_assert_str_eq(url.password, "s@cret");
	cr_assert_str_eq(url.seeds[0].host, "::1");
	cr_assert_eq(url.seeds[0].port, 7001);
	cr_assert_eq(url.database, 12);
	cr_assert(!url.tls && !url.cluster && url.seed_count == 1);
}

Test(url, what_is_absent_has_its_usual_value)
{
	assert_status(url_parse("redis://cache", &url), LARDER_OK);
	cr_assert_str_eq(url.seeds[0].host, "cache");
	cr_assert_eq(url.seeds[0].port, 6379);
	cr_assert(!*url.user && !*url.password && !url.database);
	assert_status(url_parse("redis://cache/", &url), LARDER_OK);
	assert_status(url_parse("redis://:secret@cache", &url), LARDER_OK);
	cr_assert(!*url.user && !strcmp(url.password, "secret"));
}

Test(url, a_socket_is_a_path)
{
	assert_status(url_parse("unix:///run/redis/a%20b.sock?db=2", &url), LARDER_OK);
	cr_assert_str_eq(url.seeds[0].host, "/run/redis/a b.sock");
	cr_assert_eq(url.seeds[0].port, 0);
	cr_assert_eq(url.database, 2);
	assert_status(url_parse("unix://u:p@/run/s", &url), LARDER_OK);
	cr_assert_str_eq(url.password, "p");
}

Test(url, a_cluster_has_several_hosts)
{
	assert_status(url_parse("redis+cluster://u:p@a:1,b,[fe80::1]:3", &url), LARDER_OK);
	cr_assert(url.cluster && url.seed_count == 3);
	cr_assert_str_eq(url.seeds[1].host, "b");
	cr_assert_eq(url.seeds[1].port, 6379);
	cr_assert_eq(url.seeds[2].port, 3);
	assert_status(url_parse("rediss://a", &url), LARDER_OK);
	cr_assert(url.tls);
}

Test(url, what_is_wrong_is_refused_and_quoted)
{
	static const char *const wrong[][2] = {
		{ "", "scheme" }, { "http://a", "http://" }, { "redis:/a", "scheme" }, { "redis://", "host" }, { "redis://a:0", "a:0" },
		{ "redis://a:65536", "65536" }, { "redis://a:12x", "12x" }, { "redis://a/x", "database" }, { "redis://a/1?x=1", "/1?x=1" },
		{ "redis://a,b", "redis+cluster" }, { "redis://[::1", "[::1" }, { "redis://[::1]x", "[::1]x" },
		{ "redis://u%4:p@a", "escape" }, { "redis://u%zz:p@a", "escape" }, { "redis://u%00:p@a", "escape" },
		{ "redis://user@a", "no password" }, { "redis+cluster://a/1", "database 0" }, { "redis+cluster://a,,b", "host" },
		{ "unix://relative", "relative" }, { "unix:///a?dbx=1", "?dbx" }, { "unix:///a?db=", "?db=" }, { "unix:///a?db=x", "database" },
	};

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_status(url_parse(wrong[i][0], &url), LARDER_INVALID);
		cr_assert(strstr(larder_message(), wrong[i][1]), "%s: %s", wrong[i][0], larder_message());
		cr_assert(strstr(larder_message(), "redis://[user"), "the message says how it is written: %s", larder_message());
	}
}

Test(url, no_message_repeats_a_password)
{
	assert_status(url_parse("redis://user:se/cret@host", &url), LARDER_INVALID);
	cr_assert(!strstr(larder_message(), "cret") && strstr(larder_message(), "%2F"), "%s", larder_message());
	assert_status(url_parse("redis://user:se%zzcret@host", &url), LARDER_INVALID);
	cr_assert(!strstr(larder_message(), "cret"), "%s", larder_message());
}

static void refused(const char *key, const char *value, const char *said, enum larder_status wanted)
{
	const struct larder_setting settings[] = { { "url", "redis://127.0.0.1:1" }, { key, value } };
	struct larder_store *store;

	assert_status(larder_store_open("redis", strcmp(key, "url") ? settings : settings + 1, strcmp(key, "url") ? 2 : 1, NULL, NULL,
			&store), wanted);
	cr_assert(strstr(larder_message(), said), "%s = %s: %s", key, value, larder_message());
}

Test(url, impossible_settings_are_refused_with_a_remedy)
{
	refused("timeout", "0ms", "timeout", LARDER_INVALID);
	refused("timeot", "1s", "did you mean 'timeout'", LARDER_INVALID);
	refused("client-name", "two words", "client-name", LARDER_INVALID);
	refused("replica-reads", "yes", "redis+cluster://", LARDER_INVALID);
	refused("breaker-retry", "5s", "breaker-retry-most", LARDER_INVALID);
	refused("pool", "0", "1 .. 1024", LARDER_INVALID);
	refused("url", "redis://a:b:c", "url", LARDER_INVALID);
}

/* ---- Keys ------------------------------------------------------------------------------------------------------------ */

Test(key, texts_are_read_back_whatever_the_generation)
{
	static const char *const names[] = { "", "users", "a:b%", "%g12" };
	static const uint64_t generations[] = { 0, 1, 1795400000000 };
	char text[KEY_TEXT_EXTRA + LARDER_KEY_MAX];
	struct key_parts parts;

	for (size_t i = 0; i < 12; i++) {
		struct larder_store_key key = key_of(names[i % 4], "42:3");
		size_t bytes = key_text("app/", &key, generations[i / 4], text);
		cr_assert(key_parts("app/", text, bytes, &parts), "%.*s", (int)bytes, text);
		cr_assert(parts.generation == generations[i / 4] && parts.key_bytes == 4 && !memcmp(parts.key, "42:3", 4));
		cr_assert(parts.ns_bytes == key.ns->escaped_bytes && !memcmp(parts.ns, key.ns->escaped, parts.ns_bytes));
		bytes = key_generation_text("app/", key.ns, text);
		cr_assert(key_parts("app/", text, bytes, &parts) && !parts.key_bytes);
		cr_assert(!key_parts("other/", text, bytes, &parts));
	}
	cr_assert(!key_parts("", "no colon", 8, &parts));
	cr_assert(!key_parts("", "a%g:k", 5, &parts));
	cr_assert(!key_parts("", "a%g1x:k", 7, &parts));
}

/* Of the cluster specification, and of redis-cli CLUSTER KEYSLOT. */
Test(slots, are_those_of_the_cluster_specification)
{
	cr_assert_eq(slots_of("123456789", 9), 0x31c3);
	cr_assert_eq(slots_of("foo", 3), 12182);
	cr_assert_eq(slots_of("x{foo}y", 7), 12182);
	cr_assert_eq(slots_of("{}foo", 5), slots_of("{}foo", 5));
	cr_assert_neq(slots_of("{}foo", 5), slots_of("{}bar", 5));
}
