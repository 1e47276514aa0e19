/* SPDX-License-Identifier: BSD-2-Clause */
/* Private lists of places: retired, then ready.  See retire.h; the segment checks are room_reuse()'s. */
#include "shm/place.h"

#include <string.h>

#define NAMED_MAX 512u

static void ready_push(struct retire *l, const struct retired *place)
{
	uint32_t node;
	if (l->free_node != 0) {
		node = l->free_node - 1;
		l->free_node = l->ready[node].next;
	} else if (l->ready_count < READY_MAX) {
		node = l->ready_count++;
	} else {
		return; /* forgotten: it comes back with its segment */
	}
	uint32_t chain = retire_chain(place->units, place->kind);
	l->ready[node] = *place;
	l->ready[node].next = l->chain[chain];
	l->chain[chain] = (uint16_t)(node + 1);
}

static bool is_named(const uint64_t *names, uint32_t n, uint64_t place)
{
	uint32_t low = 0, high = n;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (names[middle] < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n && names[low] == place;
}

/* The batch is full: what nobody names is ready, what is named waits for the next scan, and when the lists overflow it
 * is forgotten.  Its own name counts: a place that a pin of this very thread holds must not be reused either. */
void retire_scan(struct actor *a)
{
	struct retire *l = &a->retire;
	uint64_t names[NAMED_MAX];
	uint32_t named = hazard_collect(a, names, NAMED_MAX), kept = 0;
	for (uint32_t i = 0; i < l->retired_count; i++) {
		if (named > NAMED_MAX)
			continue; /* more pins than this scan can hold: forget the batch */
		if (!is_named(names, named, l->retired[i].place))
			ready_push(l, &l->retired[i]);
		else if (kept < RETIRED_BATCH / 2)
			l->retired[kept++] = l->retired[i];
	}
	l->retired_count = kept;
	l->retired_units = 0;
}

void retire_unused(struct actor *a, const struct retired *place) { ready_push(&a->retire, place); }
