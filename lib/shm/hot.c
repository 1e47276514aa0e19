/* SPDX-License-Identifier: BSD-2-Clause */
/* Counting hot keys and reading them, see hot.h. */
#include "shm/hot.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define COUNT_BITS 28u
#define PERIOD_BITS 10u
#define PERIODS (1u << PERIOD_BITS)
#define FINGERPRINT_SHIFT (COUNT_BITS + PERIOD_BITS)
#define COUNT_MAX ((UINT64_C(1) << COUNT_BITS) - 1)
_Static_assert(64 - FINGERPRINT_SHIFT == 26, "as layout.h draws it");

#define HOT_TRIES 4u /* a sample lost to a storm of others is one of many */

static struct shm_hot_head *head_of(const struct region *r) { return region_at(r, r->geo.hot_off); }
static struct shm_hot *set_of(const struct region *r, uint32_t set) { return (struct shm_hot *)(head_of(r) + 1) + set; }

enum larder_hot_mode hot_mode(const struct region *r)
{
	uint64_t word = load_hint(&head_of(r)->mode);

	if (r->geo.hot_sets == 0)
		return LARDER_HOT_OFF;
	return word >= 1 && word <= LARDER_HOT_CLEAR + 1u ? (enum larder_hot_mode)(word - 1) : LARDER_HOT_HASHED;
}

void hot_set_mode(const struct region *r, enum larder_hot_mode mode) { store_hint(&head_of(r)->mode, (uint64_t)mode + 1); }

/* ---- The word ---------------------------------------------------------------------------------------------------- */

static uint64_t fingerprint_of(uint64_t hash)
{
	uint64_t fingerprint = hash >> FINGERPRINT_SHIFT;

	return fingerprint + (fingerprint == 0); /* 0 is a free row */
}

static uint64_t row_word(uint64_t fingerprint, uint64_t period, uint64_t count)
{
	return fingerprint << FINGERPRINT_SHIFT | (period % PERIODS) << COUNT_BITS | (count < COUNT_MAX ? count : COUNT_MAX);
}

/* What is left of the count: halved once for each period since it was written. */
static uint64_t count_now(uint64_t word, uint64_t period)
{
	uint64_t age = (period - (word >> COUNT_BITS)) % PERIODS;

	return age < COUNT_BITS ? (word & COUNT_MAX) >> age : 0;
}

static uint64_t error_now(uint64_t error, uint64_t word, uint64_t period)
{
	uint64_t count = count_now(word, period), began = count_now(error, period);

	return (error ^ word) >> FINGERPRINT_SHIFT == 0 && began < count ? began : count;
}

/* ---- Periods ----------------------------------------------------------------------------------------------------- */

/* Clears what has come to nothing; everything, if so long has passed that the rows' periods may have come round. */
static cold void begin_period(const struct region *r, uint64_t seen, uint64_t period)
{
	if (!cas_acq_rel(&head_of(r)->period, seen, period))
		return;
	bool all = period - seen > PERIODS / 2;
	for (uint32_t s = 0; s < r->geo.hot_sets; s++) {
		struct shm_hot *set = set_of(r, s);
		for (unsigned i = 0; i < HOT_WAYS; i++) {
			uint64_t word = load_hint(&set->count[i]);
			if (word != 0 && (all || count_now(word, period) == 0))
				cas_acq_rel(&set->count[i], word, 0); /* lost: it was counted again */
		}
	}
}

/* ---- The key beside it ------------------------------------------------------------------------------------------- */

static void text_words(uint64_t words[HOT_TEXT_WORDS], const void *key, size_t bytes)
{
	memset(words, 0, HOT_TEXT_WORDS * sizeof *words);
	memcpy(words, key, bytes < HOT_TEXT_WORDS * sizeof *words ? bytes : HOT_TEXT_WORDS * sizeof *words);
}

/* namespace 12 | key bytes - 1 12 | sum 40, of the hash and of the words that are kept. */
static uint64_t about_word(uint64_t hash, uint64_t ns, uint64_t key_bytes, const uint64_t words[HOT_TEXT_WORDS])
{
	uint64_t about = ns << 52 | (key_bytes - 1) << 40;

	return about | hash_bytes(words, HOT_TEXT_WORDS * sizeof *words, hash ^ about) >> 24;
}

static void note_key(const struct region *r, struct shm_hot_key *k, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes)
{
	uint64_t words[HOT_TEXT_WORDS];

	text_words(words, key, hot_mode(r) == LARDER_HOT_CLEAR ? key_bytes : 0);
	uint64_t about = about_word(hash, ns, key_bytes, words);
	if (load_hint(&k->hash) == hash && load_hint(&k->about) == about)
		return;
	store_hint(&k->hash, hash);
	store_hint(&k->about, about);
	for (unsigned i = 0; i < HOT_TEXT_WORDS; i++)
		store_hint(&k->text[i], words[i]);
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

/* The key's row, or the one of the least count. */
static unsigned choose_way(const struct shm_hot *set, uint64_t fingerprint, uint64_t period, uint64_t *word)
{
	uint64_t least = UINT64_MAX;
	unsigned way = 0;

	for (unsigned i = 0; i < HOT_WAYS; i++) {
		uint64_t seen = load_hint(&set->count[i]), left = count_now(seen, period);
		if (seen >> FINGERPRINT_SHIFT == fingerprint) {
			*word = seen;
			return i;
		}
		if (left < least) {
			least = left;
			*word = seen;
			way = i;
		}
	}
	return way;
}

void hot_see(const struct region *r, uint64_t now_ms, uint64_t hash, uint32_t ns, const void *key, size_t key_bytes)
{
	if (hot_mode(r) == LARDER_HOT_OFF)
		return;
	struct shm_hot *set = set_of(r, (uint32_t)(hash >> 16) & (r->geo.hot_sets - 1));
	uint64_t period = now_ms / HOT_PERIOD_MS + 1, fingerprint = fingerprint_of(hash), word = 0;
	uint64_t last = load_hint(&head_of(r)->period);
	if (unlikely(last != period))
		begin_period(r, last, period);
	for (unsigned i = 0; i < HOT_TRIES; i++) { /* progress: a lost CAS is another one's sample */
		unsigned way = choose_way(set, fingerprint, period, &word);
		uint64_t left = count_now(word, period);
		if (!cas_acq_rel(&set->count[way], word, row_word(fingerprint, period, left + 1)))
			continue;
		if (word >> FINGERPRINT_SHIFT != fingerprint)
			store_hint(&set->error[way], row_word(fingerprint, period, left));
		note_key(r, &set->key[way], hash, ns, key, key_bytes);
		return;
	}
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static void read_key(const struct shm_hot_key *k, uint64_t fingerprint, struct larder_hot_key *to)
{
	uint64_t words[HOT_TEXT_WORDS], hash = load_hint(&k->hash), about = load_hint(&k->about);
	uint64_t ns = about >> 52, key_bytes = (about >> 40 & 0xfff) + 1;

	for (unsigned i = 0; i < HOT_TEXT_WORDS; i++)
		words[i] = load_hint(&k->text[i]);
	to->hash = fingerprint << FINGERPRINT_SHIFT;
	if (fingerprint_of(hash) != fingerprint || about_word(hash, ns, key_bytes, words) != about)
		return; /* being written, or its writer died */
	to->hash = hash;
	to->known = true;
	to->ns = (uint32_t)ns;
	to->key_bytes = (uint32_t)key_bytes;
	to->text_bytes = words[0] == 0 ? 0 : (uint32_t)(key_bytes < sizeof to->text ? key_bytes : sizeof to->text);
	memcpy(to->text, words, to->text_bytes);
}

static int by_count(const void *one, const void *other)
{
	const struct larder_hot_key *a = one, *b = other;

	return (a->count < b->count) - (a->count > b->count);
}

/* Two who met a new key at once may have given it two rows; the one that is found first is counted on. */
static bool seen_before(const struct shm_hot *set, unsigned way, uint64_t fingerprint)
{
	for (unsigned i = 0; i < way; i++)
		if (load_hint(&set->count[i]) >> FINGERPRINT_SHIFT == fingerprint)
			return true;
	return false;
}

static bool read_row(const struct shm_hot *set, unsigned way, uint64_t period, struct larder_hot_key *to)
{
	uint64_t word = load_hint(&set->count[way]), fingerprint = word >> FINGERPRINT_SHIFT;

	*to = (struct larder_hot_key){ .count = count_now(word, period) * HOT_ONE_IN };
	if (fingerprint == 0 || to->count == 0 || seen_before(set, way, fingerprint))
		return false;
	to->error = error_now(load_hint(&set->error[way]), word, period) * HOT_ONE_IN;
	read_key(&set->key[way], fingerprint, to);
	return true;
}

size_t hot_read(const struct region *r, uint64_t now_ms, struct larder_hot_key *keys, size_t capacity)
{
	uint64_t period = now_ms / HOT_PERIOD_MS + 1, last = load_hint(&head_of(r)->period);
	size_t n = 0;

	if (hot_mode(r) == LARDER_HOT_OFF || last > period || period - last > COUNT_BITS)
		return 0;
	struct larder_hot_key *all = calloc((size_t)r->geo.hot_sets * HOT_WAYS, sizeof *all);
	for (uint32_t s = 0; all != NULL && s < r->geo.hot_sets; s++)
		for (unsigned i = 0; i < HOT_WAYS; i++)
			n += read_row(set_of(r, s), i, period, &all[n]);
	if (n != 0)
		qsort(all, n, sizeof *all, by_count);
	n = n < capacity ? n : capacity;
	if (n != 0)
		memcpy(keys, all, n * sizeof *keys);
	free(all);
	return n;
}
