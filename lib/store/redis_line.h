/* SPDX-License-Identifier: BSD-2-Clause */
/* The line of a tier whose far store is a Redis, see tiered_ear.h. */
#ifndef LARDER_STORE_REDIS_LINE_H
#define LARDER_STORE_REDIS_LINE_H

#include "store/tiered_ear.h"

extern const struct tier_line_kind redis_line_kind;

#endif
