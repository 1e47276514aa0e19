/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a store with more to say about where its settings come from.
 */
#ifndef LARDER_STORE_STORE_H
#define LARDER_STORE_STORE_H

#include <larder/store.h>

struct store_request {
	const char *kind;
	const char *owner;          /* "store sessions", for messages; may be NULL */
	const char *place;          /* "larder.conf:11", where its kind is given; may be NULL */
	const struct larder_setting *settings;
	const char *const *origins; /* "larder.conf:12" of each setting; may be NULL */
	size_t count;
	struct larder_store *(*find)(const char *name, void *arg);
	void *arg;
};

/* As larder_store_open(). */
enum larder_status store_open_as(const struct store_request *request, struct larder_store **store);

#endif
