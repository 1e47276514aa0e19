/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of rows: found or claimed, by many at once, and completed where a claimer died. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "shm/label.h"

#define ROWS 64u
#define WORDS 14u

static struct shm_board rows[ROWS];
static struct label_table table = { .rows = (unsigned char *)rows, .row_bytes = sizeof *rows, .count = ROWS, .text_words = WORDS,
	.seed = 7, .may_claim = true };

static enum larder_status find(const char *name, uint32_t *row) { return label_find(&table, name, strlen(name), row); }

Test(label, a_name_is_found_where_it_was_claimed_and_reads_back)
{
	char name[40], text[WORDS * 8];
	uint32_t row[40], again;

	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof name, "name %u%.*s", i, (int)(i % 20), "....................");
		cr_assert_eq(find(name, &row[i]), LARDER_OK);
		for (unsigned j = 0; j < i; j++)
			cr_assert_neq(row[i], row[j]);
	}
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof name, "name %u%.*s", i, (int)(i % 20), "....................");
		cr_assert(find(name, &again) == LARDER_OK && again == row[i]);
		cr_assert(label_read(&table, row[i], text) == strlen(name) && memcmp(text, name, strlen(name)) == 0);
	}
}

Test(label, who_may_not_claim_finds_only_what_is_there)
{
	uint32_t row;

	table.may_claim = false;
	cr_assert_eq(find("a", &row), LARDER_MISS);
	table.may_claim = true;
	cr_assert_eq(find("a", &row), LARDER_OK);
	table.may_claim = false;
	cr_assert_eq(find("a", &row), LARDER_OK);
	cr_assert_eq(find("b", &row), LARDER_MISS);
}

Test(label, a_full_table_says_so_and_keeps_what_it_has)
{
	char name[16];
	uint32_t row;

	for (unsigned i = 0; i < ROWS; i++) {
		(void)snprintf(name, sizeof name, "%u", i);
		cr_assert_eq(find(name, &row), LARDER_OK);
	}
	cr_assert_eq(find("more", &row), LARDER_NO_ROOM);
	cr_assert_eq(find("63", &row), LARDER_OK);
}

Test(label, names_have_1_to_so_many_bytes)
{
	char name[WORDS * 8 + 1];
	uint32_t row;

	memset(name, 'x', sizeof name);
	cr_assert_eq(label_find(&table, name, 0, &row), LARDER_INVALID);
	cr_assert_eq(label_find(&table, name, sizeof name, &row), LARDER_INVALID);
	cr_assert_eq(label_find(&table, name, sizeof name - 1, &row), LARDER_OK);
	cr_assert_eq(label_find(&table, "12345678\0", 9, &row), LARDER_INVALID, "a word of its text is 0");
}

/* The words that a claimer writes one after the other, cut off after each of them. */
Test(label, a_claim_cut_off_anywhere_is_completed_by_the_next)
{
	static const char name[] = "a name of five words and a bit, so to say";
	struct shm_board whole;
	uint32_t row, again;
	char text[WORDS * 8];

	cr_assert_eq(find(name, &row), LARDER_OK);
	whole = rows[row];
	for (unsigned words = 1; words < 2 + sizeof name / 8; words++) {
		memset(rows, 0, sizeof rows);
		memcpy(&rows[row], &whole, words * 8);
		cr_assert_eq(label_read(&table, row, text), 0, "%u words", words);
		table.may_claim = false;
		cr_assert_eq(find(name, &again), LARDER_MISS, "%u words", words);
		table.may_claim = true;
		cr_assert(find(name, &again) == LARDER_OK && again == row, "%u words", words);
		cr_assert_eq(label_read(&table, row, text), strlen(name));
	}
}

Test(label, another_name_of_the_same_hash_takes_the_next_row)
{
	uint32_t row, other;

	cr_assert_eq(find("a", &row), LARDER_OK);
	store_hint(&rows[row].name[0], 'b'); /* as if b had the hash of a, and had come first */
	cr_assert_eq(find("a", &other), LARDER_OK);
	cr_assert_neq(row, other);
}

static void *claim_all(void *arg)
{
	uint32_t *got = arg;
	char name[16];

	for (unsigned i = 0; i < ROWS; i++) {
		(void)snprintf(name, sizeof name, "%u", i);
		if (find(name, &got[i]) != LARDER_OK)
			got[i] = UINT32_MAX;
	}
	return NULL;
}

Test(label, threads_that_claim_at_once_agree_on_every_row)
{
	for (unsigned round = 0; round < 200; round++) {
		pthread_t thread[3];
		uint32_t got[3][ROWS];
		memset(rows, 0, sizeof rows);
		for (unsigned t = 0; t < 3; t++)
			cr_assert_eq(pthread_create(&thread[t], NULL, claim_all, got[t]), 0);
		for (unsigned t = 0; t < 3; t++)
			cr_assert_eq(pthread_join(thread[t], NULL), 0);
		cr_assert(memcmp(got[0], got[1], sizeof got[0]) == 0 && memcmp(got[0], got[2], sizeof got[0]) == 0);
		cr_assert(memchr(got[0], 0xff, sizeof got[0]) == NULL);
	}
}
