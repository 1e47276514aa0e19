/* SPDX-License-Identifier: BSD-2-Clause */
/* The line of a tier whose far store is a Redis, see ear.h. */
#ifndef LARDER_TIER_LINE_REDIS_H
#define LARDER_TIER_LINE_REDIS_H

#include "tier/ear.h"

extern const struct tier_line_kind redis_line_kind;

#endif
