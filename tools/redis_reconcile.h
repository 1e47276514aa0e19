/* SPDX-License-Identifier: BSD-2-Clause */
/* Dirty entries of a near cache brought to the Redis behind it, for larder redis. */
#ifndef LARDER_TOOLS_REDIS_RECONCILE_H
#define LARDER_TOOLS_REDIS_RECONCILE_H

#include <stdbool.h>
#include <stdint.h>

struct reconcile {
	const char *url, *near, *prefix;
	int64_t timeout_ms;
	bool json, envelope;
};

/* The exit code. */
int redis_reconcile(const struct reconcile *r);

#endif
