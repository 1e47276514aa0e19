/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stands before larder_pin() (LD_PRELOAD) and makes one call in a thousand wait, asleep, for 60 ms, as a cache with a
 * lock in it might: the program `serve` has to notice.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <larder.h>
#include <time.h>

enum larder_status larder_pin(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, uint32_t flags,
		struct larder_pin *pin)
{
	static enum larder_status (*real)(struct larder *, uint32_t, const void *, size_t, uint32_t, struct larder_pin *);
	static unsigned calls;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "larder_pin");
	if (++calls % 1000 == 0)
		nanosleep(&(struct timespec){ .tv_nsec = 60000000 }, NULL);
	return real(cache, ns, key, key_bytes, flags, pin);
}
