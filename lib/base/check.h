/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DCHECK states what must hold of our own process's state; it is compiled into debug builds only.  What lies in the
 * segment is input from strangers: it is verified and answered by a status, never asserted.
 */
#ifndef LARDER_BASE_CHECK_H
#define LARDER_BASE_CHECK_H

#include <assert.h>

#define DCHECK(condition) assert(condition)

/* A build that breaks one protocol step on purpose, so that the crash suites can show that they notice. */
#ifndef LARDER_FAULT
#define LARDER_FAULT 0
#endif

#endif
