/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pairs of accesses that larder's edges are made of, each as a function of its own, for test_orders to compile for
 * aarch64 and to read: what qemu cannot show on an x86 host, the instructions do.
 */
#include "base/sync.h"

/* HAZARD: name, then look again.  The look must be an ldar: an ldapr may pass the store before it. */
uint64_t edge_hazard(struct word *hazard, const struct word *slot);
/* The other side: unlink, then scan. */
uint64_t edge_scan(struct word *slot, const struct word *hazard);
/* Two inserters: publish into one slot, look at another. */
uint64_t edge_insert(struct word *slot, const struct word *other);
/* RETIRE: reads end before the name goes. */
uint64_t edge_retire(struct word *hazard, const struct word *bytes);
/* PUBLISH: bytes before head. */
void edge_publish(struct word *bytes, struct word *head);
/* SPILL: the bit before COMMITTED. */
bool edge_spill(struct octet *spill, struct word *status);

uint64_t edge_hazard(struct word *hazard, const struct word *slot)
{
	store_seq_cst(hazard, 1);
	return load_seq_cst(slot);
}

uint64_t edge_scan(struct word *slot, const struct word *hazard)
{
	return cas_seq_cst(slot, 1, 0) ? load_seq_cst(hazard) : 0;
}

uint64_t edge_insert(struct word *slot, const struct word *other)
{
	return cas_seq_cst(slot, 0, 1) ? load_seq_cst(other) : 0;
}

uint64_t edge_retire(struct word *hazard, const struct word *bytes)
{
	uint64_t value = load_hint(bytes);
	store_release(hazard, 0);
	return value;
}

void edge_publish(struct word *bytes, struct word *head)
{
	store_hint(bytes, 1);
	store_release(head, 1);
}

bool edge_spill(struct octet *spill, struct word *status)
{
	octet_or_seq_cst(spill, 1);
	return cas_acq_rel(status, 1, 2);
}
