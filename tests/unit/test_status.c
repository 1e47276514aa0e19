/* SPDX-License-Identifier: BSD-2-Clause */
/* Every status has a text of its own; the version is the header's. */
#include "kit.h"

Test(status, each_status_has_a_text_of_its_own)
{
	for (int i = LARDER_NO_STORE; i <= LARDER_TIMEOUT; i++) {
		const char *text = larder_strerror((enum larder_status)i);
		cr_assert(text != NULL && text[0] != 0 && strcmp(text, "unknown status") != 0, "status %d", i);
		for (int j = LARDER_NO_STORE; j < i; j++)
			cr_assert_str_neq(text, larder_strerror((enum larder_status)j));
	}
}

Test(status, a_number_that_is_no_status_is_called_unknown)
{
	cr_assert_str_eq(larder_strerror((enum larder_status)(LARDER_NO_STORE - 1)), "unknown status");
	cr_assert_str_eq(larder_strerror((enum larder_status)(LARDER_TIMEOUT + 1)), "unknown status");
}

Test(status, the_version_is_that_of_the_header)
{
	char wanted[32];
	(void)snprintf(wanted, sizeof wanted, "%d.%d.%d", LARDER_VERSION_MAJOR, LARDER_VERSION_MINOR, LARDER_VERSION_PATCH);
	cr_assert_str_eq(larder_version(), wanted);
}
