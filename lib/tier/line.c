/* SPDX-License-Identifier: BSD-2-Clause */
/* The kinds of line over which a tier hears of changes, in one list. */
#ifdef LARDER_REDIS
#include "tier/line_redis.h"
#endif

#include "tier/ear.h"

const struct tier_line_kind *const tier_lines[] = {
#ifdef LARDER_REDIS
	&redis_line_kind,
#endif
	NULL
};
