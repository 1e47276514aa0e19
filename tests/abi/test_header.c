/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public header, as a stranger meets it: it stands alone, may be included twice, and is plain C11.  The numbers in
 * it are in other people's programs: a status or flag that changes its number breaks them without a word, and so do
 * options whose first member is not their size.
 */
#include <larder.h>
#include <larder.h>
#include <stdio.h>
#include <string.h>

#define SAME(name, number) _Static_assert((name) == (number), #name " has a number that never changes")

SAME(LARDER_OK, 0);
SAME(LARDER_MISS, 1);
SAME(LARDER_EXISTS, 2);
SAME(LARDER_CHANGED, 3);
SAME(LARDER_STALE, 4);
SAME(LARDER_SHORT, 5);
SAME(LARDER_END, 6);
SAME(LARDER_INVALID, -1);
SAME(LARDER_KEY_SIZE, -2);
SAME(LARDER_TOO_LARGE, -3);
SAME(LARDER_NO_ROOM, -4);
SAME(LARDER_WOULD_EVICT, -5);
SAME(LARDER_NO_PIN, -6);
SAME(LARDER_NO_SLOT, -7);
SAME(LARDER_BUSY, -8);
SAME(LARDER_DETACHED, -9);
SAME(LARDER_NOT_NUMBER, -10);
SAME(LARDER_RANGE, -11);
SAME(LARDER_NAMESPACES, -12);
SAME(LARDER_READ_ONLY, -13);
SAME(LARDER_SYSTEM, -14);
SAME(LARDER_NO_CACHE, -15);
SAME(LARDER_MISMATCH, -16);
SAME(LARDER_NO_SPACE, -17);
SAME(LARDER_DAMAGED, -18);
SAME(LARDER_CONTENDED, -19);
SAME(LARDER_UNSUPPORTED, -20);
SAME(LARDER_NO_MEMORY, -21);
SAME(LARDER_UNREACHABLE, -22);
SAME(LARDER_REFUSED, -23);
SAME(LARDER_NO_STORE, -24);
SAME(LARDER_TTL_DEFAULT, 0);
SAME(LARDER_TTL_NONE, -1);
SAME(LARDER_TTL_KEEP, -2);
SAME(LARDER_ATTACH_ONLY, 1);
SAME(LARDER_EXCLUSIVE, 2);
SAME(LARDER_INSPECT, 4);
SAME(LARDER_PREFAULT, 8);
SAME(LARDER_LOCK, 16);
SAME(LARDER_NO_DUMP, 32);
SAME(LARDER_HUGE, 64);
SAME(LARDER_GUARD, 128);
SAME(LARDER_PRIVATE, 256);
SAME(LARDER_PLAIN, 1);
SAME(LARDER_CHECKSUM, 2);
SAME(LARDER_SET, 0);
SAME(LARDER_ADD, 1);
SAME(LARDER_REPLACE, 2);
SAME(LARDER_CAS, 3);
SAME(offsetof(struct larder_options, size), 0);
SAME(offsetof(struct larder_set_options, size), 0);

static bool every_status_has_words_of_its_own(void)
{
	for (int a = LARDER_NO_STORE; a <= LARDER_END; a++)
		for (int b = LARDER_NO_STORE; b < a; b++) {
			const char *words = larder_strerror((enum larder_status)a);
			if (!words || !*words || !strcmp(words, larder_strerror((enum larder_status)b)))
				return false;
		}
	return larder_strerror((enum larder_status)12345) && larder_strerror((enum larder_status)-12345);
}

static bool the_library_is_of_the_header_s_version(void)
{
	char version[32];

	snprintf(version, sizeof version, "%d.%d.%d", LARDER_VERSION_MAJOR, LARDER_VERSION_MINOR, LARDER_VERSION_PATCH);
	return !strcmp(version, larder_version());
}

static bool a_message_is_there_before_anything_failed(void)
{
	return larder_message() != NULL;
}

static int failures, tests;

static void check(bool good, const char *name)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, name);
	failures += !good;
}

int main(void)
{
	printf("1..3\n");
	check(every_status_has_words_of_its_own(), "every status has words of its own");
	check(the_library_is_of_the_header_s_version(), "the library is of the header's version");
	check(a_message_is_there_before_anything_failed(), "a message is there before anything failed");
	return failures ? 1 : 0;
}
