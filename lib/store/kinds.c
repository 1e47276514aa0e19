/* SPDX-License-Identifier: BSD-2-Clause */
/* The kinds of store that larder brings, in one list. */
#include "store/kinds.h"

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
