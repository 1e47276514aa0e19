/* SPDX-License-Identifier: BSD-2-Clause */
/* The parsers under libFuzzer. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	return fuzz_one(bytes, count < FUZZ_BYTES_MAX ? count : FUZZ_BYTES_MAX);
}
