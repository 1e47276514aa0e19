/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache whose file is truncated, extended or removed behind the backs of those who use it.  With LARDER_GUARD that is
 * LARDER_DETACHED; without, only the file's own pages are safe, and nothing here asks for others.
 */
#include "../proc/scene.h"

#include <pthread.h>
#include <sys/mman.h>

#define KEYS 3000

static struct larder_options guarded(void)
{
	struct larder_options o = small_cache();

	o.bytes = UINT64_C(4) << 20;
	o.flags = LARDER_GUARD;
	return o;
}

static enum larder_status set_number(struct larder *cache, uint32_t number)
{
	char key[16], value[100];
	int n = snprintf(key, sizeof key, "key %u", number);

	memset(value, (int)(number & 255), sizeof value);
	return larder_set(cache, 0, key, (size_t)n, value, sizeof value, 0);
}

/* LARDER_OK only with the value that was set. */
static enum larder_status get_number(struct larder *cache, uint32_t number)
{
	char key[16], value[100];
	size_t length = 0;
	int n = snprintf(key, sizeof key, "key %u", number);
	enum larder_status status = larder_get(cache, 0, key, (size_t)n, value, sizeof value, &length);

	for (size_t i = 0; status == LARDER_OK && i < sizeof value; i++)
		if (length != sizeof value || (unsigned char)value[i] != (number & 255))
			_exit(90);
	return status;
}

/* Sets and gets until the cache is gone; anything but an answer, or never being told, is a fault. */
static int work_until_detached(struct larder *cache, unsigned seed)
{
	int64_t end = scene_now_ms() + SCENE_WAIT_MS;

	while (scene_now_ms() < end) {
		uint32_t number = (uint32_t)rand_r(&seed) % KEYS;
		enum larder_status status = rand_r(&seed) % 3 ? get_number(cache, number) : set_number(cache, number);
		if (status == LARDER_DETACHED)
			return 0;
		if (status != LARDER_OK && status != LARDER_MISS && status != LARDER_DAMAGED && status != LARDER_NO_ROOM && status != LARDER_CONTENDED)
			return 1;
	}
	return 2;
}

struct job {
	struct larder *cache;
	unsigned seed;
	int fault;
};

static void *work(void *arg)
{
	struct job *j = arg;

	j->fault = work_until_detached(j->cache, j->seed);
	return NULL;
}

/* Three processes of three threads each at work in one cache, whose file is then cut to `bytes`. */
static void cut_under_load(off_t bytes, unsigned seed)
{
	enum { PROCESSES = 3, THREADS = 3 };
	struct larder_options o = guarded();
	const char *path = scene_path("cut");
	struct gate ready = gate_make();
	pid_t child[PROCESSES];

	for (int p = 0; p < PROCESSES; p++) {
		if ((child[p] = fork()) != 0)
			continue;
		struct job job[THREADS];
		pthread_t thread[THREADS];
		struct larder *cache;
		int fault = 0;
		if (larder_open_with(path, &o, &cache) != LARDER_OK)
			_exit(80);
		for (uint32_t i = 0; i < KEYS; i++)
			(void)set_number(cache, i);
		for (int t = 0; t < THREADS; t++) {
			job[t] = (struct job){ cache, seed + (unsigned)(p * THREADS + t), 0 };
			if (pthread_create(&thread[t], NULL, work, &job[t]) != 0)
				_exit(81);
		}
		gate_open(&ready, 1);
		for (int t = 0; t < THREADS; t++) {
			(void)pthread_join(thread[t], NULL);
			fault = fault != 0 ? fault : job[t].fault;
		}
		larder_close(&cache);
		_exit(fault);
	}
	for (int p = 0; p < PROCESSES; p++)
		cr_assert(gate_pass(&ready));
	sleep_us(2000);
	cr_assert_eq(truncate(path, bytes), 0);
	for (int p = 0; p < PROCESSES; p++) {
		int result = child_result(child[p]);
		cr_assert_eq(result, 0, "cut to %ld bytes: process %d: %d", (long)bytes, p, result);
	}
	(void)close(ready.fd[0]);
	(void)close(ready.fd[1]);
	cr_assert_eq(unlink(path), 0);
}

Test(truncation, a_file_cut_to_any_length_under_load_detaches_all_and_kills_nobody, .timeout = 120)
{
	unsigned seed = (unsigned)time(NULL);

	cr_log_info("seed %u", seed);
	cut_under_load(0, seed);
	cut_under_load(4096, seed);
	for (int i = 0; i < 6; i++)
		cut_under_load((off_t)rand_r(&seed) % (1 << 20) / 4096 * 4096, seed);
	cut_under_load((UINT64_C(3) << 19), seed);
}

Test(truncation, after_detaching_the_name_can_be_freed_and_used_again)
{
	struct larder_options o = guarded();
	const char *path = scene_path("again");
	struct larder *cache, *fresh;

	cr_assert_eq(larder_open_with(path, &o, &cache), LARDER_OK, "%s", larder_message());
	cr_assert_eq(set_number(cache, 7), LARDER_OK);
	cr_assert_eq(truncate(path, 0), 0);
	enum larder_status status = get_number(cache, 7);
	cr_assert(status == LARDER_MISS || status == LARDER_DETACHED, "%d", status);
	cr_assert_eq(get_number(cache, 7), LARDER_DETACHED);
	cr_assert_eq(set_number(cache, 7), LARDER_DETACHED);
	/* What is left is no cache, and no larder touches it. */
	cr_assert_eq(larder_open_with(path, &o, &fresh), LARDER_MISMATCH);
	cr_assert_null(fresh);
	cr_assert_eq(larder_destroy(path), LARDER_MISMATCH);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(larder_open_with(path, &o, &fresh), LARDER_OK, "%s", larder_message());
	cr_assert_eq(set_number(fresh, 7), LARDER_OK);
	cr_assert_eq(get_number(fresh, 7), LARDER_OK);
	cr_assert_eq(get_number(cache, 7), LARDER_DETACHED);
	larder_close(&cache);
	larder_close(&fresh);
	assert_ok(larder_destroy(path));
}

Test(truncation, a_forked_child_is_guarded_too)
{
	struct larder_options o = guarded();
	const char *path = scene_path("child");
	struct gate ready = gate_make();
	struct larder *cache;

	cr_assert_eq(larder_open_with(path, &o, &cache), LARDER_OK, "%s", larder_message());
	pid_t child = fork();
	if (child == 0) {
		gate_open(&ready, 1);
		_exit(work_until_detached(cache, 5));
	}
	cr_assert(gate_pass(&ready));
	sleep_us(5000);
	cr_assert_eq(truncate(path, 8192), 0);
	cr_assert_eq(child_result(child), 0);
	(void)get_number(cache, 1);
	larder_close(&cache);
	cr_assert_eq(unlink(path), 0);
}

/* Opening reads and writes, too: a truncation between its steps must not end the process that opens. */
Test(truncation, a_file_cut_while_it_is_being_opened_ends_nobody, .timeout = 60)
{
	struct larder_options o = guarded();
	const char *path = scene_path("opening");
	unsigned opened = 0, refused = 0;

	pid_t child = fork();
	if (child == 0) {
		for (unsigned moment = 0;; moment++) {
			struct region r;
			struct larder_options fresh = small_cache();
			(void)unlink(path);
			if (region_open(&r, path, &fresh) == LARDER_OK)
				region_close(&r);
			sleep_us(moment % 32 * 10);
			(void)!truncate(path, 0);
		}
	}
	o.flags = LARDER_GUARD | LARDER_PREFAULT | LARDER_ATTACH_ONLY | LARDER_LOCK;
	for (int64_t end = scene_now_ms() + 3000; scene_now_ms() < end;) {
		struct region r;
		enum larder_status status = region_open(&r, path, &o);
		cr_assert(status == LARDER_OK || status == LARDER_MISMATCH || status == LARDER_NO_CACHE || status == LARDER_SYSTEM, "%d: %s", status,
				larder_message());
		*(status == LARDER_OK ? &opened : &refused) += 1;
		if (status == LARDER_OK) {
			(void)region_gone(&r);
			region_close(&r);
		}
		o.flags ^= LARDER_LOCK;
	}
	(void)kill(child, SIGKILL);
	cr_assert_eq(child_result(child), -SIGKILL);
	cr_log_info("%u opened, %u refused", opened, refused);
	cr_assert(opened > 0 && refused > 0);
	(void)unlink(path);
}
