/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that need a library which was not there when the program was built: they say which, and how to have them. */
#include "tool.h"

#define ABSENT(which, library, package) \
	static int run_##which(int argc, char **argv) \
	{ \
		(void)argc, (void)argv; \
		complain("this larder was built without " library "; install " package " and build it with -D" #which "=enabled"); \
		return TOOL_FAILED; \
	} \
	const struct command cmd_##which = { \
		.name = #which, \
		.summary = "(built without " library ")", \
		.synopsis = "", \
		.run = run_##which, \
	};

#ifndef LARDER_TOP
ABSENT(top, "ncurses", "libncurses-dev")
#endif
#ifndef LARDER_EXPORTER
ABSENT(exporter, "libmicrohttpd", "libmicrohttpd-dev")
#endif
