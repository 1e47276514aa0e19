/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What of larder/monitor.h works on a table of series wherever it lies: in a cache, or in memory of a manager that has none.
 */
#ifndef LARDER_CACHE_MONITOR_H
#define LARDER_CACHE_MONITOR_H

#include "larder/monitor.h"
#include "shm/series.h"

/* The arguments of larder_monitor_record(), checked; a message says what is wrong. */
enum larder_status monitor_record(const struct series_table *t, const char *operation, const char *store, const char *namespace_name,
		bool success, uint64_t duration_ns, const struct larder_label *labels, unsigned label_count);
enum larder_status monitor_visit(const struct series_table *t, bool (*visit)(const struct larder_metric *metric, void *arg), void *arg);

#endif
