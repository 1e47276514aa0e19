/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The text behind larder_message(): one buffer for each thread, written by whatever call failed last in it.
 *
 * A message names the thing, what was found, what was expected and the remedy, in this order.  Longer text is cut.
 */
#ifndef LARDER_BASE_MESSAGE_H
#define LARDER_BASE_MESSAGE_H

#define MESSAGE_BYTES 512u

/* Takes no memory from the heap and leaves errno alone. */
__attribute__((format(printf, 1, 2))) void message_set(const char *format, ...);

#endif
