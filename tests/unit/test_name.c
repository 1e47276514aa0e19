/* SPDX-License-Identifier: BSD-2-Clause */
/* Interned names: one for each text, the same for all threads, and how they are escaped. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "store/name.h"

Test(name, one_text_has_one_name)
{
	const struct larder_name *a, *b, *other;

	cr_assert_eq(larder_name("users", &a), LARDER_OK);
	cr_assert_eq(larder_name("users", &b), LARDER_OK);
	cr_assert_eq(larder_name("user", &other), LARDER_OK);
	cr_assert_eq(a, b);
	cr_assert_neq(a, other);
	cr_assert_neq(a->index, other->index);
	cr_assert_str_eq(a->text, "users");
}

Test(name, a_text_becomes_no_name_by_asking_whether_it_is_one)
{
	const struct larder_name *name;

	cr_assert_null(name_known("a stranger's"));
	cr_assert_null(name_known("a stranger's"));
	cr_assert_eq(larder_name("a stranger's", &name), LARDER_OK);
	cr_assert_eq(name_known("a stranger's"), name);
	cr_assert_null(name_known("a stranger"));
}

Test(name, the_default_namespace_has_a_name_too)
{
	const struct larder_name *name;

	cr_assert_eq(larder_name("", &name), LARDER_OK);
	cr_assert_eq(name->text_bytes, 0);
}

Test(name, colons_and_per_cent_signs_are_escaped_and_nothing_else)
{
	const struct larder_name *name;

	cr_assert_eq(larder_name("a:b%c d/\xff", &name), LARDER_OK);
	cr_assert_str_eq(name->escaped, "a%3Ab%25c d/\xff");
	cr_assert_eq(name->escaped_bytes, strlen(name->escaped));
}

Test(name, a_text_of_65_bytes_is_refused)
{
	const struct larder_name *name;
	char text[66];

	memset(text, 'x', 65);
	text[65] = '\0';
	cr_assert_eq(larder_name(text, &name), LARDER_INVALID);
	text[64] = '\0';
	cr_assert_eq(larder_name(text, &name), LARDER_OK);
}

#define THREADS 8
#define NAMES 500
static const struct larder_name *seen[THREADS][NAMES];

static void *intern_all(void *arg)
{
	const struct larder_name **mine = arg;

	for (int i = 0; i < NAMES; i++) {
		char text[16];
		snprintf(text, sizeof text, "n%d", i);
		if (larder_name(text, &mine[i]))
			return arg;
	}
	return NULL;
}

Test(name, threads_that_intern_the_same_texts_get_the_same_names)
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, intern_all, seen[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		void *failed;
		pthread_join(thread[i], &failed);
		cr_assert_null(failed);
	}
	for (int i = 1; i < THREADS; i++)
		cr_assert_arr_eq(seen[0], seen[i], sizeof seen[0]);
}
