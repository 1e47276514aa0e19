/* SPDX-License-Identifier: BSD-2-Clause */
/* Hot keys: Space-Saving over samples, in periods, with keys told or hashed. */
#include "kit.h"

#include "shm/hot.h"

#define NOW (UINT64_C(100) * HOT_PERIOD_MS)

static void open_roomy(void)
{
	struct larder_options o = kit_options(UINT64_C(4) << 20, 0);
	o.instrument_bytes = 256 << 10; /* eight sets */
	kit_open_with(&o);
	cr_assert_geq(cache->region.geo.hot_sets, 8);
}

TestSuite(hot, .init = open_roomy, .fini = kit_close);

static struct larder_hot_key keys[512];

static uint64_t hash_of(const char *key) { return hash_bytes(key, strlen(key), cache->region.geo.hash_seed); }
static void see(const char *key, unsigned times, uint64_t now)
{
	for (unsigned i = 0; i < times; i++)
		hot_see(&cache->region, now, hash_of(key), 3, key, strlen(key));
}
static size_t read_at(uint64_t now) { return hot_read(&cache->region, now, keys, 512); }

static const struct larder_hot_key *find(const char *key, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (keys[i].known && keys[i].hash == hash_of(key))
			return &keys[i];
	return NULL;
}

static unsigned set_of_key(const char *key) { return (unsigned)(hash_of(key) >> 16) & (cache->region.geo.hot_sets - 1); }

/*
 * Zipf-like: key i is seen 2000 / i times, in a random order, ten times as many keys as rows.  Space-Saving promises a row to whoever has
 * more than one in HOT_WAYS of what its set saw.
 */
Test(hot, counts_lie_between_the_truth_and_the_truth_plus_the_error)
{
	enum { KEYS = 900 };
	static unsigned truth[KEYS], order[200000], in_set[4096];
	unsigned n = 0, seed = (unsigned)time(NULL), told = 0;
	char key[16];
	cr_log_info("seed %u", seed);
	for (unsigned i = 0; i < KEYS; i++)
		for (unsigned t = 0; t < 2000 / (i + 1); t++)
			order[n++] = i;
	for (unsigned i = n - 1; i > 0; i--) {
		unsigned j = (unsigned)rand_r(&seed) % (i + 1), other = order[i];
		order[i] = order[j], order[j] = other;
	}
	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(key, sizeof key, "key%u", order[i]);
		truth[order[i]]++;
		in_set[set_of_key(key)]++;
		see(key, 1, NOW);
	}
	size_t rows = read_at(NOW);
	cr_assert(cache->region.geo.hot_sets <= 4096 && rows > 60 && rows <= cache->region.geo.hot_sets * 8);
	for (unsigned i = 0; i < KEYS; i++) {
		(void)snprintf(key, sizeof key, "key%u", i);
		const struct larder_hot_key *k = find(key, rows);
		cr_assert(k != NULL || truth[i] * HOT_WAYS <= in_set[set_of_key(key)], "key%u is hot, and not there", i);
		if (k == NULL)
			continue;
		told++;
		cr_assert(k->count >= truth[i] * HOT_ONE_IN && k->count - k->error <= truth[i] * HOT_ONE_IN, "key%u: %lu - %lu, truth %u", i,
				k->count / HOT_ONE_IN, k->error / HOT_ONE_IN, truth[i]);
	}
	cr_assert_eq(told, rows);
	for (size_t i = 1; i < rows; i++)
		cr_assert_geq(keys[i - 1].count, keys[i].count);
	cr_assert(keys[0].hash == hash_of("key0") && keys[0].ns == 3 && keys[0].key_bytes == 4);
}

Test(hot, counts_are_halved_each_period_and_gone_in_the_end)
{
	see("a", 1000, NOW);
	cr_assert(read_at(NOW) == 1 && keys[0].count == 1000 * HOT_ONE_IN && keys[0].error == 0);
	cr_assert(read_at(NOW + HOT_PERIOD_MS) == 1 && keys[0].count == 500 * HOT_ONE_IN);
	cr_assert(read_at(NOW + 3 * HOT_PERIOD_MS) == 1 && keys[0].count == 125 * HOT_ONE_IN);
	see("a", 1, NOW + HOT_PERIOD_MS);
	cr_assert(read_at(NOW + HOT_PERIOD_MS) == 1 && keys[0].count == 501 * HOT_ONE_IN);
	cr_assert_eq(read_at(NOW + 40 * HOT_PERIOD_MS), 0);
	/* The period's number comes round after 1024; what was there must not. */
	see("b", 1, NOW + 1024 * HOT_PERIOD_MS);
	cr_assert(read_at(NOW + 1024 * HOT_PERIOD_MS) == 1 && keys[0].hash == hash_of("b"));
	see("c", 1, NOW + 1064 * HOT_PERIOD_MS);
	see("c", 1, NOW + 2048 * HOT_PERIOD_MS);
	cr_assert(read_at(NOW + 2048 * HOT_PERIOD_MS) == 1 && keys[0].count == HOT_ONE_IN);
}

Test(hot, keys_are_told_in_clear_only_if_that_is_asked_for)
{
	see("a key of some length", 5, NOW);
	cr_assert(read_at(NOW) == 1 && keys[0].text_bytes == 0 && keys[0].known);
	ok(larder_hot_keys_mode(cache, LARDER_HOT_CLEAR));
	see("a key of some length", 1, NOW);
	cr_assert(read_at(NOW) == 1 && keys[0].text_bytes == 20 && memcmp(keys[0].text, "a key of some length", 20) == 0);
	char long_key[101];
	memset(long_key, 'x', 100);
	long_key[100] = 0;
	see(long_key, 9, NOW);
	cr_assert(read_at(NOW) == 2 && keys[0].text_bytes == 48 && keys[0].key_bytes == 100 && memcmp(keys[0].text, long_key, 48) == 0);
	ok(larder_hot_keys_mode(cache, LARDER_HOT_HASHED));
	see(long_key, 1, NOW);
	cr_assert(read_at(NOW) == 2 && keys[0].text_bytes == 0 && keys[0].known);
	ok(larder_hot_keys_mode(cache, LARDER_HOT_OFF));
	see(long_key, 1, NOW);
	cr_assert_eq(read_at(NOW), 0);
}

/* Whatever half of it was written by one and half by another: it is not shown as a key. */
Test(hot, a_key_half_written_is_not_believed)
{
	ok(larder_hot_keys_mode(cache, LARDER_HOT_CLEAR));
	see("a key of some length", 5, NOW);
	struct shm_hot *sets = (struct shm_hot *)((struct shm_hot_head *)region_at(&cache->region, cache->region.geo.hot_off) + 1);
	struct shm_hot_key *k = NULL;
	for (unsigned i = 0; i < cache->region.geo.hot_sets * 8; i++)
		if (load_hint(&sets[i / 8].key[i % 8].hash) != 0)
			k = &sets[i / 8].key[i % 8];
	cr_assert_not_null(k);
	struct word *words[] = { &k->hash, &k->about, &k->text[0], &k->text[2], &k->text[5] };
	for (unsigned i = 0; i < 5; i++) {
		uint64_t before = load_hint(words[i]);
		store_hint(words[i], before ^ 0x100000000000100);
		cr_assert(read_at(NOW) == 1 && !keys[0].known && keys[0].text_bytes == 0 && keys[0].count == 5 * HOT_ONE_IN, "word %u", i);
		store_hint(words[i], before);
		cr_assert(read_at(NOW) == 1 && keys[0].known);
	}
}

Test(hot, a_count_whose_error_was_not_written_may_be_all_error)
{
	char key[16];
	for (unsigned i = 0; i < 500; i++) { /* so many that rows change hands */
		(void)snprintf(key, sizeof key, "key%u", i);
		see(key, 2, NOW);
	}
	struct shm_hot *sets = (struct shm_hot *)((struct shm_hot_head *)region_at(&cache->region, cache->region.geo.hot_off) + 1);
	for (unsigned i = 0; i < cache->region.geo.hot_sets; i++)
		memset(sets[i].error, 0xff, sizeof sets[i].error);
	size_t n = read_at(NOW);
	cr_assert_gt(n, 10);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(keys[i].error, keys[i].count);
}

/* The calls themselves sample: one hot key in ten of all gets among 5 000. */
Test(hot, gets_are_sampled_and_the_hot_key_comes_out_first_with_its_count)
{
	enum { GETS = 400000 };
	char key[16], buffer[64];
	size_t n;
	ok(larder_hot_keys_mode(cache, LARDER_HOT_CLEAR));
	ok(put_text("hot", "value"));
	for (unsigned i = 0; i < GETS; i++) {
		bool hot = i * 7919 % 10 == 0;
		(void)snprintf(key, sizeof key, hot ? "hot" : "cold%u", i % 5000);
		(void)larder_get(cache, 0, key, strlen(key), buffer, sizeof buffer, NULL);
	}
	ok(larder_hot_keys(cache, keys, 512, &n));
	cr_assert(n > 1 && keys[0].text_bytes == 3 && memcmp(keys[0].text, "hot", 3) == 0);
	double truth = GETS / 10.0, deviation = 5 * __builtin_sqrt(HOT_ONE_IN * truth);
	cr_assert((double)keys[0].count > truth - deviation && (double)(keys[0].count - keys[0].error) < truth + deviation, "%lu - %lu",
			keys[0].count, keys[0].error);
	ok(larder_hot_keys(cache, keys, 1, &n));
	cr_assert_eq(n, 1);
}

Test(hot, a_small_cache_has_none_and_says_so, .init = kit_open)
{
	size_t n = 7;
	is(larder_hot_keys_mode(cache, LARDER_HOT_CLEAR), LARDER_UNSUPPORTED);
	ok(larder_hot_keys_mode(cache, LARDER_HOT_OFF));
	ok(larder_hot_keys(cache, keys, 512, &n));
	cr_assert_eq(n, 0);
	is(larder_hot_keys_mode(cache, (enum larder_hot_mode)3), LARDER_INVALID);
	is(larder_hot_keys(cache, NULL, 1, &n), LARDER_INVALID);
	is(larder_hot_keys(cache, keys, 1, NULL), LARDER_INVALID);
	is(larder_hot_keys(NULL, keys, 1, &n), LARDER_INVALID);
}
