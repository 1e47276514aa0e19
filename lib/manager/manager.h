/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a manager consists of.  Names (struct shelf) and handles are put into tables that only fill and are freed with the manager; what
 * they lead to is replaced under readers and freed after a grace period.
 *
 *     shelf → binding → store        handle → route → binding, and rows of series
 */
#ifndef LARDER_MANAGER_MANAGER_H
#define LARDER_MANAGER_MANAGER_H

#include <larder/manager.h>

#include "base/sync.h"
#include "shm/series.h"

enum operation { OP_GET, OP_SET, OP_DELETE, OP_TOUCH, OP_INCR, OP_CLEAR, OP_MGET, OP_COMPUTE, OPERATIONS };
extern const char *const operation_names[OPERATIONS];

/* A store as readers see it; never changed once it is published. */
struct binding {
	const struct larder_store_kind *kind;
	void *self;
	struct larder_store *store; /* with the manager's reference */
	bool brief;                 /* its operations never wait, so that a grace period may last as long as one */
};

/* A name. */
struct shelf {
	char name[LARDER_STORE_NAME_MAX + 1];
	struct pointer binding; /* struct binding; NULL: no store of that name now */
};

/* The way from a handle: to the store that its name has now, and to where it counts.  Never changed once it is published, but for
 * rows, which are looked up when an operation is first seen. */
struct route {
	/* The shortest way, of a get that is not timed: open where the row of gets is known and the store is the engine. */
	struct pointer gets;        /* struct shm_series; NULL: not open (yet) */
	const struct word *timing;  /* of the table */
	struct larder *cache;       /* the engine beneath a brief store; NULL: by its kind's functions */
	uint32_t ns;                /* of the handle, there */
	const struct binding *binding; /* NULL: no store of that name now */
	const struct series_table *table; /* NULL: nothing is counted */
	struct pointer series[OPERATIONS]; /* struct series; NULL: not looked up yet */
};

struct larder_handle {
	struct pointer route; /* struct route */
	struct larder_manager *manager;
	struct shelf *shelf;
	const struct larder_name *ns;
	struct larder_handle *next;
};

/* Where a manager counts.  One is made at the first handle, and another when the store whose segment it lies in is replaced. */
struct metering {
	struct series_table table;
	struct larder_store *store; /* held for its segment; NULL: memory of this process */
	bool silent;                /* `metrics = none`: a few rows that nobody reads, so that a get has one way, not two */
};

#define HANDLE_LISTS 256u

struct larder_manager {
	struct pointer shelves[LARDER_STORES_MAX];
	struct pointer handles[HANDLE_LISTS];
	struct pointer metering; /* struct metering; under grace_lock() but for reading */
	bool metering_chosen;    /* under grace_lock() */
	char usual[LARDER_STORE_NAME_MAX + 1];
	char metrics[LARDER_STORE_NAME_MAX + 1]; /* "", "private", "none", or the name of a store */
	uint32_t timing;         /* one in so many; 0: none */
	bool timing_given;
	void (*log)(const struct larder_log_event *event, void *arg);
	void *log_arg;
};

/* The shelf of a name (NULL: the usual one); NULL, with a message that lists what there is. */
struct shelf *manager_shelf(struct larder_manager *m, const char *name);
/* What larder_message() says where a name has no store. */
enum larder_status manager_no_store(struct larder_manager *m, const char *name);
enum larder_status manager_handle(struct larder_manager *m, struct shelf *shelf, const struct larder_name *ns,
		struct larder_handle **handle);
/* The row of an operation, looked up now if it was not yet; NULL without memory. */
const struct series *route_series_slow(struct larder_handle *handle, struct route *route, enum operation operation);

#endif
