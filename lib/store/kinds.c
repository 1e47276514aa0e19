/* SPDX-License-Identifier: BSD-2-Clause */
/* The kinds of store that larder brings, in one list. */
#include "store/kinds.h"

#include <string.h>

const struct larder_store_kind *const store_kinds[] = {
	&store_shm,
	&store_memory,
	&store_migrating,
#ifdef LARDER_REDIS
	&store_redis,
#endif
	&store_tiered,
	NULL
};

const char *kind_absent(const char *name)
{
#ifndef LARDER_REDIS
	if (!strcmp(name, "redis"))
		return "this larder was built without hiredis; install libhiredis-dev and build it with -Dredis=enabled";
#endif
	(void)name;
	return NULL;
}
