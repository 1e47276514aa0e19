/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys: made of parts, written as one text, read back to the same parts, and refused with a word where they are none. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <larder/key.h>

static char text[LARDER_KEY_TEXT_MAX + 1], own[LARDER_KEY_TEXT_MAX + 1];

static void message_has(const char *part)
{
	cr_assert(strstr(larder_message(), part), "'%s' is not in: %s", part, larder_message());
}

/* The text of the key of these parts. */
static const char *text_of(const char *ns, const char *name, const char *version)
{
	struct larder_key key;
	size_t length;

	cr_assert_eq(larder_key_make(&key, ns, name, version), LARDER_OK, "%s", larder_message());
	cr_assert_eq(larder_key_format(&key, text, sizeof text, &length), LARDER_OK);
	cr_assert_eq(strlen(text), length);
	return text;
}

/* A text that is no key's: the status, and the message names all of these. */
static void refused(const char *bad, enum larder_status status, const char *what, const char *where)
{
	struct larder_key key;

	cr_assert_eq(larder_key_parse(bad, strlen(bad), own, sizeof own, &key), status, "%s", bad);
	message_has(what);
	message_has(where);
}

Test(key, parts_are_joined_by_colons)
{
	cr_assert_str_eq(text_of("users", "7", NULL), "users:7");
	cr_assert_str_eq(text_of("users", "7", "v2"), "users:7:v2");
}

Test(key, colons_and_per_cent_signs_of_any_part_are_escaped)
{
	cr_assert_str_eq(text_of("a:b", "c%d", ":"), "a%3Ab:c%25d:%3A");
	cr_assert_str_eq(text_of("n", "%3A", NULL), "n:%253A");
}

Test(key, text_is_read_back_to_the_same_parts)
{
	static const char *const parts[][3] = { { "users", "7", NULL }, { "users", "7", "v2" }, { "a:b", "c%d", ":" },
		{ "%", "%3A", "%25" }, { " ", "\xff\x01", "\n" } };

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		struct larder_key key;
		const char *whole = text_of(parts[i][0], parts[i][1], parts[i][2]);

		cr_assert_eq(larder_key_parse(whole, strlen(whole), own, strlen(whole) + 1, &key), LARDER_OK, "%s", whole);
		cr_assert_str_eq(key.ns, parts[i][0]);
		cr_assert_eq(key.ns_bytes, strlen(parts[i][0]));
		cr_assert_str_eq(key.key, parts[i][1]);
		cr_assert_eq(key.key_bytes, strlen(parts[i][1]));
		cr_assert_eq(!key.version, !parts[i][2]);
		if (key.version)
			cr_assert_str_eq(key.version, parts[i][2]);
	}
}

Test(key, a_nul_within_key_or_version_is_a_byte_like_others)
{
	struct larder_key key = { .ns = "n", .ns_bytes = 1, .key = "a\0b", .key_bytes = 3, .version = "\0", .version_bytes = 1 }, back;
	size_t length;

	cr_assert_eq(larder_key_format(&key, text, sizeof text, &length), LARDER_OK);
	cr_assert_eq(length, 7);
	cr_assert_eq(larder_key_parse(text, length, own, sizeof own, &back), LARDER_OK);
	cr_assert_eq(back.key_bytes, 3);
	cr_assert_arr_eq(back.key, "a\0b", 3);
	cr_assert_eq(back.version_bytes, 1);
}

Test(key, text_of_one_part_is_refused)
{
	refused("users", LARDER_INVALID, "the only part", "byte 5");
}

Test(key, text_of_four_parts_is_refused)
{
	refused("a:b:c:d", LARDER_INVALID, "fourth", "byte 5");
	refused("a:b:c:", LARDER_INVALID, "fourth", "byte 5");
	refused("a:b:c:d:e", LARDER_INVALID, "fourth", "%3A");
}

Test(key, text_with_an_empty_part_is_refused)
{
	refused("", LARDER_INVALID, "namespace is empty", "byte 0");
	refused(":", LARDER_INVALID, "namespace is empty", "byte 0");
	refused(":k", LARDER_INVALID, "namespace is empty", "byte 0");
	refused("n:", LARDER_INVALID, "an empty part", "byte 2");
	refused("n::v", LARDER_INVALID, "key is empty", "byte 2");
	refused("n:k:", LARDER_INVALID, "an empty part", "byte 4");
	refused("n:k::", LARDER_INVALID, "version is empty", "byte 4");
}

Test(key, an_escape_that_format_never_writes_is_refused)
{
	static const char *const bad[] = { "n:%", "n:%3", "n:%3a", "n:%41", "n:%2", "n:a%:b", "n:k:%zz" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		refused(bad[i], LARDER_INVALID, "'%' without", "3A");
	refused("n%:k", LARDER_INVALID, "byte 1", "%25");
}

Test(key, a_namespace_has_1_to_64_bytes_without_nul)
{
	char ns[66];
	struct larder_key key;

	memset(ns, 'x', 65);
	ns[65] = '\0';
	cr_assert_eq(larder_key_make(&key, ns, "k", NULL), LARDER_INVALID);
	message_has("65 bytes");
	ns[64] = '\0';
	cr_assert_eq(larder_key_make(&key, ns, "k", NULL), LARDER_OK);
	cr_assert_eq(larder_key_make(&key, "", "k", NULL), LARDER_INVALID);
	message_has("namespace is empty");
	cr_assert_eq(larder_key_make(&key, NULL, "k", NULL), LARDER_INVALID);
	cr_assert_eq(larder_key_parse("a\0b:k", 5, own, sizeof own, &key), LARDER_INVALID);
	message_has("NUL at byte 1");
}

Test(key, key_and_version_are_never_empty)
{
	struct larder_key key;

	cr_assert_eq(larder_key_make(&key, "n", "", NULL), LARDER_KEY_SIZE);
	message_has("key is empty");
	cr_assert_eq(larder_key_make(&key, "n", NULL, NULL), LARDER_KEY_SIZE);
	cr_assert_eq(larder_key_make(&key, "n", "k", ""), LARDER_KEY_SIZE);
	message_has("version is empty");
}

Test(key, the_longest_key_is_counted_as_it_stands_in_the_text)
{
	static char longest[LARDER_KEY_MAX + 1];
	struct larder_key key = { .ns = "n", .ns_bytes = 1, .key = longest, .key_bytes = LARDER_KEY_MAX };

	memset(longest, 'x', sizeof longest);
	cr_assert_eq(larder_key_check(&key), LARDER_OK);
	key.key_bytes++;
	cr_assert_eq(larder_key_check(&key), LARDER_KEY_SIZE);
	message_has("4096");
	key.key_bytes = LARDER_KEY_MAX - 1;
	longest[0] = ':';
	cr_assert_eq(larder_key_check(&key), LARDER_KEY_SIZE);
	longest[0] = 'x';
	key.version = "v", key.version_bytes = 1;
	cr_assert_eq(larder_key_check(&key), LARDER_KEY_SIZE);
	key.key_bytes--;
	cr_assert_eq(larder_key_check(&key), LARDER_OK);
	key.version_bytes = SIZE_MAX;
	cr_assert_eq(larder_key_check(&key), LARDER_KEY_SIZE);
}

Test(key, text_longer_than_any_key_is_refused_before_it_is_read)
{
	static char huge[2 * LARDER_KEY_TEXT_MAX];
	struct larder_key key;

	memset(huge, 'x', sizeof huge);
	huge[1] = ':';
	cr_assert_eq(larder_key_parse(huge, sizeof huge, own, sizeof own, &key), LARDER_KEY_SIZE);
	message_has("too long");
	/* No longer than the longest text, and too long all the same: the namespace leaves room for no more. */
	cr_assert_eq(larder_key_parse(huge, LARDER_KEY_MAX + 3, own, sizeof own, &key), LARDER_KEY_SIZE);
	cr_assert_eq(larder_key_parse(huge, LARDER_KEY_MAX + 2, own, sizeof own, &key), LARDER_OK);
}

Test(key, the_longest_text_fits_where_it_says_so)
{
	static char ns[LARDER_NAMESPACE_MAX + 1], longest[LARDER_KEY_MAX + 1];
	struct larder_key key;
	size_t length;

	memset(ns, ':', LARDER_NAMESPACE_MAX);
	memset(longest, 'x', LARDER_KEY_MAX);
	cr_assert_eq(larder_key_make(&key, ns, longest, NULL), LARDER_OK);
	cr_assert_eq(larder_key_format(&key, text, sizeof text - 1, &length), LARDER_SHORT);
	cr_assert_eq(length, LARDER_KEY_TEXT_MAX);
	cr_assert_eq(larder_key_format(&key, text, sizeof text, &length), LARDER_OK);
	cr_assert_eq(larder_key_parse(text, length, own, sizeof own - 1, &key), LARDER_SHORT);
	cr_assert_eq(larder_key_parse(text, length, own, sizeof own, &key), LARDER_OK);
}

Test(key, nothing_is_not_a_key)
{
	struct larder_key key;

	cr_assert_eq(larder_key_parse(NULL, 0, own, sizeof own, &key), LARDER_INVALID);
	cr_assert_eq(larder_key_parse("n:k", 3, NULL, 0, &key), LARDER_INVALID);
	cr_assert_eq(larder_key_parse("n:k", 3, own, sizeof own, NULL), LARDER_INVALID);
	key = (struct larder_key){ .ns = "n", .ns_bytes = 1 };
	cr_assert_eq(larder_key_format(&key, text, sizeof text, NULL), LARDER_KEY_SIZE);
}

Test(key, a_plain_key_is_prepared_without_a_copy)
{
	static const char plain[] = "user-7";
	struct larder_key key;
	struct larder_store_key prepared;

	cr_assert_eq(larder_key_make(&key, "users", plain, NULL), LARDER_OK);
	cr_assert_eq(larder_key_prepare(&key, NULL, 0, &prepared), LARDER_OK);
	cr_assert_eq(prepared.bytes, (const void *)plain);
	cr_assert_eq(prepared.count, 6);
	cr_assert_str_eq(prepared.ns->text, "users");
}

Test(key, any_other_key_is_prepared_as_it_stands_in_the_text)
{
	struct larder_key key;
	struct larder_store_key prepared;

	cr_assert_eq(larder_key_make(&key, "u:s", "a:b", "1"), LARDER_OK);
	cr_assert_eq(larder_key_prepare(&key, own, 6, &prepared), LARDER_SHORT);
	cr_assert_eq(larder_key_prepare(&key, own, 7, &prepared), LARDER_OK);
	cr_assert_eq(prepared.count, 7);
	cr_assert_arr_eq(prepared.bytes, "a%3Ab:1", 7);
	cr_assert_str_eq(prepared.ns->text, "u:s");
	key.ns_bytes = 0;
	cr_assert_eq(larder_key_prepare(&key, own, sizeof own, &prepared), LARDER_INVALID);
}

Test(key, whoever_does_not_want_the_length_need_not_take_it)
{
	struct larder_key key;

	cr_assert_eq(larder_key_make(&key, "n", "k", NULL), LARDER_OK);
	cr_assert_eq(larder_key_format(&key, text, sizeof text, NULL), LARDER_OK);
	cr_assert_str_eq(text, "n:k");
}

Test(key, messages_show_nothing_unprintable)
{
	refused("a\x7f\x01", LARDER_INVALID, "'a?\?'", "byte 3");
}

Test(key, a_namespace_that_finds_no_room_among_the_names_is_refused)
{
	enum larder_status status = LARDER_OK;
	struct larder_store_key prepared;
	struct larder_key key;
	char ns[16];

	for (unsigned i = 0; i <= LARDER_NAMES_MAX && !status; i++) {
		snprintf(ns, sizeof ns, "n%u", i);
		cr_assert_eq(larder_key_make(&key, ns, "k", NULL), LARDER_OK);
		status = larder_key_prepare(&key, own, sizeof own, &prepared);
	}
	cr_assert_eq(status, LARDER_NAMESPACES);
}

/* Bytes in which colons, escapes and their ruins are frequent. */
static size_t random_text(char *to, size_t most, unsigned *state)
{
	static const char *const pieces[] = { ":", "%3A", "%25", "%", "a", "b", "\xff", "3A", "%2", "x" };
	size_t length = 0;

	for (int i = rand_r(state) % 12; i > 0; i--) {
		const char *piece = pieces[(unsigned)rand_r(state) % (sizeof pieces / sizeof *pieces)];
		if (length + strlen(piece) > most)
			break;
		memcpy(to + length, piece, strlen(piece));
		length += strlen(piece);
	}
	return length;
}

Test(key, whatever_text_parses_is_the_text_of_its_key)
{
	unsigned seed = (unsigned)time(NULL), state = seed, parsed = 0;
	char random[64];

	cr_log_info("seed %u", seed);
	for (int i = 0; i < 200000; i++) {
		struct larder_key key;
		size_t count = random_text(random, sizeof random, &state), length;

		if (larder_key_parse(random, count, own, sizeof own, &key))
			continue;
		parsed++;
		cr_assert_eq(larder_key_format(&key, text, sizeof text, &length), LARDER_OK, "seed %u", seed);
		cr_assert(length == count && !memcmp(text, random, count), "seed %u: %.*s", seed, (int)count, random);
	}
	cr_assert(parsed > 1000, "seed %u: only %u texts were keys", seed, parsed);
}
