/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The text behind larder_message(), see message.h.  Thread-local, so that no lock is needed and a neighbour's failure
 * cannot overwrite the text before it is read.
 */
#include "base/message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "larder.h"

static _Thread_local char text[MESSAGE_BYTES];

void message_set(const char *format, ...)
{
	int saved = errno;
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	errno = saved;
}

const char *larder_message(void)
{
	return text;
}
