/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared anonymous memory is shmem: the same pages as a file in /dev/shm. */
#include "memory.h"

#include <string.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

void *memory_shared(size_t bytes, bool huge)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	if (huge)
		madvise(memory, bytes, MADV_HUGEPAGE);
	memset(memory, 0, bytes);
	/* Where huge shmem is switched off, a collapse after the fact still works; failure costs speed only. */
	if (huge)
		madvise(memory, bytes, MADV_COLLAPSE);
	return memory;
}

void memory_free(void *memory, size_t bytes)
{
	if (memory)
		munmap(memory, bytes);
}
