/* SPDX-License-Identifier: BSD-2-Clause */
/* The calls that need a library which was not there when this one was built: they say so. */
#include <larder/redis.h>

#include "base/message.h"

#ifndef LARDER_REDIS
static enum larder_status absent(void)
{
	message_set("this larder was built without hiredis; install libhiredis-dev and build it with -Dredis=enabled");
	return LARDER_UNSUPPORTED;
}

enum larder_status larder_redis_status(const struct larder_store *store, struct larder_redis_status *status)
{
	(void)store, (void)status;
	return absent();
}

enum larder_status larder_redis_node(const struct larder_store *store, unsigned number, struct larder_redis_node *node)
{
	(void)store, (void)number, (void)node;
	return absent();
}

enum larder_status larder_redis_breakers(struct larder *cache, bool (*visit)(const struct larder_redis_node *node, void *arg), void *arg)
{
	(void)cache, (void)visit, (void)arg;
	return absent();
}

enum larder_status larder_redis_counters(struct larder *cache,
		bool (*visit)(const char *address, const struct larder_redis_status *status, void *arg), void *arg)
{
	(void)cache, (void)visit, (void)arg;
	return absent();
}

enum larder_status larder_redis_sweep(struct larder_store *store, const char *ns, bool all, uint64_t limit, int64_t timeout_ms,
		uint64_t *removed)
{
	(void)store, (void)ns, (void)all, (void)limit, (void)timeout_ms, (void)removed;
	return absent();
}
#endif
