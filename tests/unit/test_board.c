/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared words under a name. */
#include "kit.h"

#include "shm/board.h"

#include <sys/wait.h>

TestSuite(board, .init = kit_open, .fini = kit_close);

Test(board, words_of_a_name_are_the_same_in_every_handle_and_process)
{
	struct word *here, *there;
	struct larder *other = kit_another(0);
	ok(board_find(&cache->region, "migration:web", &here));
	ok(board_find(&other->region, "migration:web", &there));
	for (unsigned i = 0; i < BOARD_WORDS; i++) {
		cr_assert_eq(load_hint(&here[i]), 0);
		store_hint(&here[i], i + 1);
		cr_assert_eq(load_hint(&there[i]), i + 1);
	}
	pid_t child = fork();
	if (child == 0)
		_exit(add_hint(&there[3], 10) == 4 ? 0 : 1);
	int status;
	cr_assert(waitpid(child, &status, 0) == child && status == 0);
	cr_assert_eq(load_hint(&here[3]), 14);
	larder_close(&other);
}

Test(board, an_inspector_finds_and_claims_nothing)
{
	struct word *words;
	struct larder *inspector = kit_another(LARDER_INSPECT);
	is(board_find(&inspector->region, "a", &words), LARDER_MISS);
	cr_assert_null(words);
	ok(board_find(&cache->region, "a", &words));
	store_hint(words, 5);
	ok(board_find(&inspector->region, "a", &words));
	cr_assert_eq(load_hint(words), 5);
	larder_close(&inspector);
}

Test(board, a_full_board_and_a_bad_name_are_told)
{
	struct word *words;
	char name[BOARD_NAME_BYTES + 2];
	uint32_t rows = cache->region.geo.board_rows;
	for (uint32_t i = 0; i < rows; i++) {
		(void)snprintf(name, sizeof name, "row %u", i);
		ok(board_find(&cache->region, name, &words));
	}
	is(board_find(&cache->region, "one more", &words), LARDER_NO_ROOM);
	cr_assert(strstr(larder_message(), "instrument_bytes") != NULL && strstr(larder_message(), "one more") != NULL, "%s", larder_message());
	ok(board_find(&cache->region, "row 0", &words));
	memset(name, 'x', sizeof name);
	name[sizeof name - 1] = 0;
	is(board_find(&cache->region, name, &words), LARDER_INVALID);
	is(board_find(&cache->region, "", &words), LARDER_INVALID);
}

Test(board, rows_are_shown_with_their_names)
{
	struct word *words;
	const struct word *shown;
	char name[BOARD_NAME_BYTES + 1];
	unsigned named = 0, rows = 0;
	ok(board_find(&cache->region, "breaker:redis", &words));
	for (uint32_t i = 0; board_row(&cache->region, i, name, &shown); i++) {
		rows++;
		named += name[0] != 0;
		cr_assert(name[0] == 0 || (strcmp(name, "breaker:redis") == 0 && shown == words));
	}
	cr_assert(named == 1 && rows == cache->region.geo.board_rows);
}
