/* SPDX-License-Identifier: BSD-2-Clause */
/* Registration, flush and tallies of namespaces.  See namespace.h; tests/model/pml (namespace, flush). */
#include "shm/namespace.h"

#define NAME_WORDS (NAMESPACE_NAME_BYTES / 8)

/* Writes one word of the name from 0, or agrees with what somebody wrote.  False: it is another name's. */
static bool word_agrees(struct word *w, uint64_t wanted, bool may_write)
{
	uint64_t seen = load_acquire(w);
	if (seen == 0 && wanted != 0 && may_write) {
		cas_acq_rel(w, 0, wanted);
		seen = load_acquire(w);
	}
	return seen == wanted;
}

static bool name_agrees(struct shm_namespace *n, const uint64_t words[NAME_WORDS], uint64_t bytes, bool may_write)
{
	if (!word_agrees(&n->name_bytes, bytes, may_write))
		return false;
	for (unsigned i = 0; i < (bytes + 7) / 8; i++)
		if (!word_agrees(&n->name[i], words[i], may_write))
			return false;
	return true;
}

enum larder_status namespace_number(struct region *r, const char *name, bool may_register, uint32_t *ns)
{
	uint64_t words[NAME_WORDS] = { 0 };
	size_t bytes = strnlen(name, NAMESPACE_NAME_BYTES + 1);
	if (bytes > NAMESPACE_NAME_BYTES)
		return LARDER_INVALID;
	memcpy(words, name, bytes);
	uint64_t hash = hash_bytes(name, bytes, r->geo.hash_seed) | 1;
	uint32_t n = r->geo.namespaces;
	for (uint32_t i = 0; i < n; i++) { /* bounded by the table */
		uint32_t at = (uint32_t)(hash + i) & (n - 1);
		if (at == 0)
			continue; /* the default namespace's */
		struct shm_namespace *place = region_namespace(r, at);
		uint64_t seen = load_acquire(&place->hash);
		if (seen == 0 && may_register) {
			cas_acq_rel(&place->hash, 0, hash);
			seen = load_acquire(&place->hash);
		}
		if (seen == 0)
			return LARDER_MISS;
		if (seen == hash && name_agrees(place, words, bytes, may_register)) {
			*ns = at;
			return LARDER_OK;
		}
	}
	return may_register ? LARDER_NAMESPACES : LARDER_MISS;
}

/* The generation that is the present one from now on. */
static uint32_t generation_move(struct region *r, uint32_t ns, bool hard)
{
	struct word *w = &region_namespace(r, ns)->generation;
	for (;;) { /* progress: a lost CAS is another flush, and ours must still come after our call began */
		uint64_t seen = load_acquire(w);
		uint32_t present = generation_present(seen) + 1;
		uint32_t floor = hard ? present : generation_floor(seen);
		/* GENERATION (release): no get that begins after this sees an entry of a generation before the floor. */
		if (cas_seq_cst(w, seen, (uint64_t)present << 32 | floor))
			return present;
	}
}

void namespace_hide(struct region *r, uint32_t ns, bool hard) { (void)generation_move(r, ns, hard); }

void namespace_flush(struct region *r, uint32_t ns, bool hard)
{
	uint32_t present = generation_move(r, ns, hard);
	struct word *w = &region_namespace(r, ns)->kept_floor;
	for (uint64_t seen = load_acquire(w); (int32_t)(present - (uint32_t)seen) > 0; seen = load_acquire(w))
		if (cas_seq_cst(w, seen, present)) /* GENERATION (release); progress: a lost CAS is another flush that raised it */
			return;
}

void namespace_sum(const struct region *r, uint32_t ns, int64_t *entries, int64_t *bytes)
{
	const struct shm_namespace *n = region_namespace(r, ns);
	uint64_t e = 0, b = 0; /* unsigned: the words are strangers' */
	for (unsigned i = 0; i < NAMESPACE_STRIPES; i++) {
		e += load_hint(&n->tally[i].entries);
		b += load_hint(&n->tally[i].bytes);
	}
	*entries = (int64_t)e;
	*bytes = (int64_t)b;
}

#define SAMPLES_MAX (UINT64_C(1) << 20) /* then half of them are forgotten, so that the rate follows what changes */

void namespace_sample(const struct region *r, uint32_t ns, bool hit)
{
	struct word *w = &region_namespace(r, ns)->sample;
	uint64_t seen = load_hint(w), gets = (seen >> 32) + 1, hits = (seen & UINT32_MAX) + hit;

	if (gets >= SAMPLES_MAX) {
		gets /= 2;
		hits /= 2;
	}
	(void)cas_acq_rel(w, seen, gets << 32 | hits); /* lost: another get is the sample */
}

void namespace_sampled(const struct region *r, uint32_t ns, uint64_t *gets, uint64_t *hits)
{
	uint64_t seen = load_hint(&region_namespace(r, ns)->sample);

	*gets = seen >> 32;
	*hits = (seen & UINT32_MAX) < *gets ? seen & UINT32_MAX : *gets;
}

bool namespace_name(const struct region *r, uint32_t ns, char name[NAMESPACE_NAME_BYTES + 1])
{
	const struct shm_namespace *n = region_namespace(r, ns);
	uint64_t bytes = load_acquire(&n->name_bytes);
	name[0] = 0;
	if (ns == 0)
		return true;
	if (load_acquire(&n->hash) == 0 || bytes == 0 || bytes > NAMESPACE_NAME_BYTES)
		return false;
	for (unsigned i = 0; i < NAME_WORDS; i++) {
		uint64_t w = load_acquire(&n->name[i]);
		memcpy(name + 8 * i, &w, 8);
	}
	name[bytes] = 0;
	return true;
}
