/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One input of a fuzzer: see fuzz.c.
 */
#ifndef LARDER_TESTS_FUZZ_H
#define LARDER_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_PARSERS 6u
#define FUZZ_BYTES_MAX 8192u

/* bytes[0] chooses the parser.  Ends the program if something does not hold. */
int fuzz_one(const uint8_t *bytes, size_t count);

#endif
