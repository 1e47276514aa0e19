/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process that uses a cache while the command looks at it.
 *
 *     worker hold CACHE          sets a key, says "ready" and stays attached until standard input ends
 *     worker fill CACHE COUNT    sets COUNT keys key:0 ..., of 0 to 299 bytes, every other one with a time to live
 *     worker ask CACHE COUNT     gets COUNT keys key:0 ..., whether they are there or not
 *     worker repeat CACHE COUNT  gets key:repeated COUNT times
 *     worker record CACHE        records four operations of its own: three renders of a millisecond, and one that failed
 *     worker work CACHE          says "ready", then records operations until it is killed
 *     worker serve CACHE         says "ready", then gets, of which nine in ten are found, sets now and then, and records
 *                                how long some gets took, as a manager does, until it is killed
 *     worker zipf CACHE KEYS REQUESTS SEED
 *                                gets one of KEYS keys of 100 to 299 bytes, skewed as Zipf's law has it (0.8), and sets it if it is
 *                                not there; in between, three of ten, one of an eighth as many keys of the namespace "even", and two of
 *                                ten keys of the namespace "once" that never come again; tells the hit rates of the first two
 *     worker trace CACHE FILE SCALE CLIENTS FROM TO
 *                                gets, and sets if it is not there, each key of a file of pairs (u32 number, u32 bytes), bytes / SCALE; as
 *                                so many clients in turn, each with keys of its own, from another place of the file on, round and
 *                                round; of these requests those numbered FROM .. TO - 1
 *     worker write CACHE SEED    says "ready", then sets and deletes among 4000 keys until it is killed
 *     worker tier CACHE URL      opens a tier with the cache before a Redis, keeps what that fails to take, and sets and gets through it
 *                                until it is killed; "ready" once changes of others are heard
 *
 * What `write` sets is a multiple of "KEY/DIGIT;", so that whoever reads a value can tell whether it is whole and the
 * key's own.
 */
#include <larder/manager.h>
#include <larder/tiered.h>

#include <err.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 4000, REPEATS_MAX = 12000 };

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void check(enum larder_status status)
{
	if (status != LARDER_OK)
		errx(1, "%s", larder_strerror(status));
}

static void hold(struct larder *cache)
{
	check(larder_set(cache, 0, "from", 4, "user", 4, LARDER_TTL_DEFAULT));
	ready();
	while (getchar() != EOF)
		;
}

static void fill(struct larder *cache, unsigned long count)
{
	static const char bytes[300];

	for (unsigned long i = 0; i < count; i++) {
		char key[32];
		int length = snprintf(key, sizeof key, "key:%lu", i);
		int64_t ttl_ms = i % 2 ? 3600000 : LARDER_TTL_NONE;
		check(larder_set(cache, 0, key, (size_t)length, bytes, i % sizeof bytes, ttl_ms));
	}
}

static void ask(struct larder *cache, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		char key[32], value[300];
		int length = snprintf(key, sizeof key, "key:%lu", i);
		enum larder_status status = larder_get(cache, 0, key, (size_t)length, value, sizeof value, NULL);
		check(status == LARDER_MISS ? LARDER_OK : status);
	}
}

static void repeat(struct larder *cache, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++)
		(void)larder_get(cache, 0, "key:repeated", 12, NULL, 0, NULL);
}

static void record_one(struct larder *cache, bool success)
{
	static const struct larder_label shard = { "shard", "7" };

	check(larder_monitor_record(cache, "render", "disk", "pages", success, 1000000, &shard, 1));
}

static void record(struct larder *cache)
{
	for (unsigned i = 0; i < 4; i++)
		record_one(cache, i != 2);
	check(larder_monitor_record(cache, "scan", "a \"quoted\" store\\", "of\nlines \xff\xc3\xbc", true, LARDER_NO_DURATION, NULL, 0));
}

static _Noreturn void work_on(struct larder *cache)
{
	record_one(cache, true);
	ready();
	for (;;)
		record_one(cache, true);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void get_number(struct larder *cache, unsigned number)
{
	char key[32], value[16];
	int length = snprintf(key, sizeof key, "served:%u", number);

	(void)larder_get(cache, 0, key, (size_t)length, value, sizeof value, NULL);
}

static _Noreturn void serve_on(struct larder *cache)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < 90; i++) {
		char key[32];
		int length = snprintf(key, sizeof key, "served:%u", i);
		check(larder_set(cache, 0, key, (size_t)length, "value", 5, LARDER_TTL_NONE));
	}
	ready();
	for (unsigned round = 0;; round++) {
		for (unsigned i = 0; i < 100; i++)
			get_number(cache, i);
		uint64_t began_ns = now_ns();
		get_number(cache, round % 90);
		check(larder_monitor_record(cache, "get", "shm", "", true, now_ns() - began_ns, NULL, 0));
		check(larder_set(cache, 0, "served:0", 8, "value", 5, LARDER_TTL_NONE));
		nanosleep(&pause, NULL);
	}
}

/* As a program uses a cache in front of something slow. */
/* Whether it was there. */
static bool want(struct larder *cache, uint32_t ns, unsigned long number, size_t bytes)
{
	static char value[1 << 20];
	char key[32];
	int length = snprintf(key, sizeof key, "key:%lu", number);

	if (larder_get(cache, ns, key, (size_t)length, value, sizeof value, NULL) != LARDER_MISS)
		return true;
	enum larder_status status = larder_set(cache, ns, key, (size_t)length, value, bytes < sizeof value ? bytes : sizeof value, LARDER_TTL_NONE);
	check(status == LARDER_TOO_LARGE ? LARDER_OK : status);
	return false;
}

static unsigned long draw(const double *sums, unsigned long keys, unsigned *seed)
{
	double at = ((double)rand_r(seed) + 0.5) / ((double)RAND_MAX + 1) * sums[keys - 1];
	unsigned long low = 0, high = keys - 1;

	while (low < high) {
		unsigned long middle = (low + high) / 2;
		if (sums[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void zipf(struct larder *cache, unsigned long keys, unsigned long requests, unsigned seed)
{
	double *sums = malloc(keys * sizeof *sums), sum = 0;
	unsigned long first = seed * 1000000000ul;
	unsigned long hits_usual = 0, hits_even = 0;
	uint32_t once, even;

	if (!sums)
		errx(1, "no memory");
	check(larder_namespace(cache, "once", &once));
	check(larder_namespace(cache, "even", &even));
	for (unsigned long i = 0; i < keys; i++)
		sums[i] = sum += pow((double)(i + 1), -0.8);
	for (unsigned long i = 0; i < requests; i++) {
		unsigned long number = draw(sums, keys, &seed);
		if (i % 10 < 2)
			want(cache, once, first + i, 150);
		else if (i % 10 >= 5)
			hits_usual += want(cache, 0, number, 100 + number * 7 % 200);
		else
			hits_even += want(cache, even, (unsigned long)rand_r(&seed) % (keys / 8 + 1), 300);
		if (i % 1000 == 0) /* who follows must get a turn */
			usleep(500);
	}
	free(sums);
	printf("{\"\": %.6f, \"even\": %.6f}\n", (double)hits_usual / ((double)requests * 0.5), (double)hits_even / ((double)requests * 0.3));
}

struct request { uint32_t number, bytes; };

static struct request *read_trace(const char *path, size_t *count)
{
	FILE *in = fopen(path, "r");
	size_t room = 1 << 20;
	struct request *requests = malloc(room * sizeof *requests);

	if (!in || !requests)
		err(1, "%s", path);
	*count = fread(requests, sizeof *requests, room, in);
	if (*count == 0 || *count == room)
		errx(1, "%s: no requests, or too many", path);
	fclose(in);
	return requests;
}

static void trace(struct larder *cache, const char *path, unsigned long scale, unsigned long clients, unsigned long from, unsigned long to)
{
	size_t count;
	struct request *requests = read_trace(path, &count);

	for (unsigned long n = from; n < to; n++) {
		unsigned long client = n % clients;
		const struct request *r = &requests[(n / clients + client * count / clients) % count];
		want(cache, 0, client << 32 | r->number, r->bytes / scale + 1);
	}
	free(requests);
}

/* Some values are larger than a segment of a small cache. */
static size_t compose(char *value, const char *key)
{
	static const unsigned repeats[] = { 1, 3, 10, 100, REPEATS_MAX };
	char piece[40];
	int length = snprintf(piece, sizeof piece, "%s/%d;", key, rand() % 10);
	unsigned count = repeats[rand() % 64 ? rand() % 4 : 4];

	for (unsigned i = 0; i < count; i++)
		memcpy(value + i * (size_t)length, piece, (size_t)length);
	return count * (size_t)length;
}

static _Noreturn void write_on(struct larder *cache, unsigned seed)
{
	static const int64_t ttl_ms[] = { LARDER_TTL_NONE, 50, 3600000 };
	static char value[REPEATS_MAX * 40];

	srand(seed);
	ready();
	for (;;) {
		char key[32];
		int length = snprintf(key, sizeof key, "key:%d", rand() % KEYS);
		size_t value_bytes = compose(value, key);
		check(larder_set(cache, 0, key, (size_t)length, value, value_bytes, ttl_ms[rand() % 3]));
		length = snprintf(key, sizeof key, "key:%d", rand() % KEYS);
		if (rand() % 4 == 0)
			(void)larder_delete(cache, 0, key, (size_t)length);
	}
}

static _Noreturn void serve_tier(const char *cache, const char *url)
{
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;
	struct larder_tiered_info info = { 0 };
	struct larder_buffer value = { .grow = true };
	struct larder_manager *manager;
	struct larder_handle *handle;
	char text[800];

	snprintf(text, sizeof text, "[manager]\ndefault = tier\n[store near]\nkind = shm\nname = %s\n[store far]\nkind = redis\nurl = %s\n"
			"[store tier]\nkind = tiered\nnear = near\nfar = far\nmode = write-through\nlistener = thread\n"
			"on-failure = keep\non-gap = bound:1m\nkeepalive = 50ms\n", cache, url);
	options.text = text;
	options.flags = LARDER_NO_ENVIRONMENT;
	if (larder_manager_open_with(&options, &manager) < 0 || larder_manager_handle(manager, NULL, "users", &handle) < 0)
		errx(1, "%s", larder_message());
	struct larder_store *tier = larder_manager_store(manager, NULL);
	for (bool said = false;; usleep(10000)) {
		(void)larder_handle_set(handle, "7", 1, "Ada", 3, LARDER_SECONDS(60));
		(void)larder_handle_get(handle, "7", 1, &value);
		check(larder_tiered_info(tier, &info));
		if (info.live && !said)
			ready();
		said = said || info.live;
	}
}

int main(int argc, char **argv)
{
	struct larder *cache;

	if (argc < 3)
		errx(2, "usage: worker hold CACHE | fill CACHE COUNT | ask CACHE COUNT | repeat CACHE COUNT | record CACHE | work CACHE |\n"
			"       zipf CACHE KEYS REQUESTS SEED | trace CACHE FILE SCALE CLIENTS FROM TO |\n"
			"       write CACHE SEED | tier CACHE URL");
	if (!strcmp(argv[1], "tier") && argc == 4)
		serve_tier(argv[2], argv[3]);
	if (larder_open(argv[2], 0, &cache) < 0)
		errx(1, "%s", larder_message());
	if (!strcmp(argv[1], "hold"))
		hold(cache);
	else if (!strcmp(argv[1], "fill") && argc == 4)
		fill(cache, strtoul(argv[3], NULL, 10));
	else if (!strcmp(argv[1], "ask") && argc == 4)
		ask(cache, strtoul(argv[3], NULL, 10));
	else if (!strcmp(argv[1], "zipf") && argc == 6)
		zipf(cache, strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10), (unsigned)strtoul(argv[5], NULL, 10));
	else if (!strcmp(argv[1], "trace") && argc == 8)
		trace(cache, argv[3], strtoul(argv[4], NULL, 10), strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10), strtoul(argv[7], NULL, 10));
	else if (!strcmp(argv[1], "repeat") && argc == 4)
		repeat(cache, strtoul(argv[3], NULL, 10));
	else if (!strcmp(argv[1], "record"))
		record(cache);
	else if (!strcmp(argv[1], "work"))
		work_on(cache);
	else if (!strcmp(argv[1], "serve"))
		serve_on(cache);
	else if (!strcmp(argv[1], "write") && argc == 4)
		write_on(cache, (unsigned)strtoul(argv[3], NULL, 10));
	larder_close(&cache);
	return 0;
}
