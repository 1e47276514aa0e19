/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LARDER_FAULT: a build that breaks one step of a protocol on purpose, so that the suites which kill, stop and race can
 * show that they notice.  0, as released, breaks none.
 */
#ifndef LARDER_BASE_FAULT_H
#define LARDER_BASE_FAULT_H

#ifndef LARDER_FAULT
#define LARDER_FAULT 0
#endif

#endif
