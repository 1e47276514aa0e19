/* SPDX-License-Identifier: BSD-2-Clause */
/* The text behind larder_message(). */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/message.h"
#include "larder.h"

Test(message, is_empty_and_not_null_before_any_failure)
{
	cr_assert_str_eq(larder_message(), "");
}

Test(message, is_formatted_and_leaves_errno_alone)
{
	errno = 77;
	message_set("%s: found %d, expected %d", "here", 3, 4);
	cr_assert_eq(errno, 77);
	cr_assert_str_eq(larder_message(), "here: found 3, expected 4");
}

Test(message, too_long_is_cut_and_terminated)
{
	char longer[3 * MESSAGE_BYTES];

	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	message_set("%s", longer);
	cr_assert_eq(strlen(larder_message()), MESSAGE_BYTES - 1);
}

static void *fail_elsewhere(void *was_empty)
{
	*(bool *)was_empty = larder_message()[0] == '\0';
	message_set("elsewhere");
	return NULL;
}

Test(message, of_one_thread_is_not_seen_by_another)
{
	pthread_t other;
	bool was_empty = false;

	message_set("here");
	cr_assert_eq(pthread_create(&other, NULL, fail_elsewhere, &was_empty), 0);
	cr_assert_eq(pthread_join(other, NULL), 0);
	cr_assert(was_empty);
	cr_assert_str_eq(larder_message(), "here");
}
