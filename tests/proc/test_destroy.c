/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Destroying a cache that others use, create and destroy at the same time.  Never are there two live caches of one name:
 * whoever holds one that the name does not lead to is told so.
 */
#include "scene.h"

#include <sys/mman.h>

#define UNLINK_LOCK_OFF ((INT64_C(1) << 62) - 1)

Test(destroy, all_who_are_attached_know_before_the_name_is_free)
{
	enum { PROCESSES = 8 };
	struct larder_options o = small_cache();
	const char *path = scene_path("told");
	struct gate ready = gate_make(), go = gate_make();
	pid_t child[PROCESSES];
	struct region r;

	assert_ok(region_open(&r, path, &o));
	for (int i = 0; i < PROCESSES; i++) {
		if ((child[i] = fork()) == 0) {
			struct region mine;
			if (region_open(&mine, path, &o) != LARDER_OK || region_gone(&mine))
				_exit(1);
			gate_open(&ready, 1);
			if (!gate_pass(&go))
				_exit(2);
			_exit(region_gone(&mine) ? 0 : 3);
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		cr_assert(gate_pass(&ready));
	assert_ok(region_destroy(path));
	cr_assert_neq(access(path, F_OK), 0);
	gate_open(&go, PROCESSES);
	for (int i = 0; i < PROCESSES; i++)
		cr_assert_eq(child_result(child[i]), 0);
	region_close(&r);
}

/* Its memory stays readable and writable: who was in the middle of a call finishes it. */
Test(destroy, a_destroyed_cache_can_still_be_touched_by_those_attached)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("touch");
	struct handle h;
	struct worker *w;

	scene_enter(path, &o, &h, &w);
	assert_ok(region_destroy(path));
	memset(region_at(&h.region, h.region.geo.arena_off), 7, (size_t)h.region.geo.segments << h.region.geo.segment_shift);
	cr_assert(participant_alive(&h.region, w->slot_plus_1 - 1));
	handle_close(&h);
}

/* ---- The storm ---------------------------------------------------------------------------------------------------------- */

struct tally {
	struct word opened, destroyed, gone;
};

/* The name is looked up first: if it leads elsewhere by then, this cache must have been RETIRED before. */
static bool mine_or_gone(struct region *r)
{
	struct stat st;
	bool elsewhere = stat(r->path, &st) != 0 || st.st_ino != r->ino || st.st_dev != r->dev;

	return !elsewhere || region_gone(r);
}

static void open_and_destroy(const char *path, struct tally *t, unsigned seed, int64_t until_ms)
{
	struct larder_options o = small_cache();

	o.bytes = LARDER_BYTES_MIN;
	while (scene_now_ms() < until_ms) {
		struct region r;
		enum larder_status status = region_open(&r, path, &o);
		if (status == LARDER_SYSTEM && errno == EBUSY)
			continue; /* a destroyer lost its processor for longer than an open waits for it */
		if (status != LARDER_OK)
			_exit(11);
		(void)add_hint(&t->opened, 1);
		for (unsigned looks = (unsigned)rand_r(&seed) % 4; looks > 0; looks--)
			if (!mine_or_gone(&r))
				_exit(12);
		if (rand_r(&seed) % 2) {
			status = region_destroy(path);
			if (status != LARDER_OK && status != LARDER_NO_CACHE)
				_exit(13);
			(void)add_hint(&t->destroyed, status == LARDER_OK);
			if (!region_gone(&r))
				_exit(14); /* what we destroyed was another one, and ours is still live */
		}
		(void)add_hint(&t->gone, region_gone(&r));
		region_close(&r);
	}
	_exit(0);
}

static struct tally *storm(const char *path, unsigned processes, int64_t ms, unsigned kills)
{
	struct tally *t = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned seed = (unsigned)time(NULL);
	int64_t until = scene_now_ms() + ms;
	pid_t child[16];

	cr_log_info("seed %u", seed);
	for (unsigned i = 0; i < processes; i++)
		if ((child[i] = fork()) == 0)
			open_and_destroy(path, t, seed + i, until);
	for (unsigned k = 0; k < kills; k++) {
		sleep_us(rand_r(&seed) % (long)(2000 * ms / kills));
		unsigned i = (unsigned)rand_r(&seed) % processes;
		cr_assert_gt(child[i], 0);
		(void)kill(child[i], SIGKILL);
		int result = child_result(child[i]);
		cr_assert(result == 0 || result == -SIGKILL, "process %u: %d", i, result);
		if ((child[i] = fork()) == 0)
			open_and_destroy(path, t, seed + processes + k, until);
	}
	for (unsigned i = 0; i < processes; i++)
		cr_assert_eq(child_result(child[i]), 0);
	return t;
}

Test(destroy, eight_processes_that_open_and_destroy_never_have_two_live_caches, .timeout = 60)
{
	const char *path = scene_path("storm");
	struct tally *t = storm(path, 8, 4000, 0);
	enum larder_status status = region_destroy(path);

	cr_assert(status == LARDER_OK || status == LARDER_NO_CACHE);
	cr_log_info("%lu opened, %lu destroyed, %lu found gone", load_hint(&t->opened), load_hint(&t->destroyed), load_hint(&t->gone));
	cr_assert(load_hint(&t->destroyed) > 100 && load_hint(&t->opened) > load_hint(&t->destroyed));
	cr_assert_neq(access(path, F_OK), 0);
}

Test(destroy, and_none_is_left_behind_by_those_killed_in_the_middle, .timeout = 60)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("storm-killed");
	struct tally *t = storm(path, 6, 4000, 300);
	struct region r;

	cr_log_info("%lu opened, %lu destroyed, %lu found gone", load_hint(&t->opened), load_hint(&t->destroyed), load_hint(&t->gone));
	/* Whatever was left under the name, dead destroyers' included, a cache can be had. */
	assert_ok(region_open(&r, path, &o));
	cr_assert(!region_gone(&r) && mine_or_gone(&r));
	assert_ok(region_destroy(path));
	cr_assert(region_gone(&r));
	cr_assert_neq(access(path, F_OK), 0);
	region_close(&r);
}

/* ---- A destroyer that does not get on --------------------------------------------------------------------------------------- */

/* As one that died between RETIRED and unlink leaves it. */
static void retire_only(const char *path)
{
	struct larder_options o = small_cache();
	struct region r;

	assert_ok(region_open(&r, path, &o));
	store_seq_cst(&region_super(&r)->state, SUPER_RETIRED);
	region_close(&r);
}

Test(destroy, what_a_dead_destroyer_left_is_removed_by_the_next_open)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("half");
	struct region r;
	struct stat before, after;

	retire_only(path);
	cr_assert_eq(stat(path, &before), 0);
	o.flags = LARDER_INSPECT;
	cr_assert_eq(region_open(&r, path, &o), LARDER_NO_CACHE);
	cr_assert_eq(stat(path, &after), 0, "an inspector removed it");
	o.flags = LARDER_EXCLUSIVE;
	assert_ok(region_open(&r, path, &o));
	cr_assert(stat(path, &after) == 0 && after.st_ino == r.ino);
	cr_assert_not(region_gone(&r));
	region_close(&r);
	assert_ok(region_destroy(path));
	retire_only(path);
	o.flags = LARDER_ATTACH_ONLY;
	cr_assert_eq(region_open(&r, path, &o), LARDER_NO_CACHE);
	cr_assert_neq(access(path, F_OK), 0);
	retire_only(path);
	cr_assert_eq(region_destroy(path), LARDER_NO_CACHE);
	cr_assert_neq(access(path, F_OK), 0);
}

Test(destroy, one_stopped_with_the_lock_in_its_hand_is_waited_for_a_moment_and_then_named)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = UNLINK_LOCK_OFF, .l_len = 1 };
	struct larder_options o = small_cache();
	const char *path = scene_path("stuck");
	struct region r, fresh;

	assert_ok(region_open(&r, path, &o));
	int fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	int64_t began = scene_now_ms();
	assert_ok(region_destroy(path));
	cr_assert(region_gone(&r), "destroy returned and the cache is live");
	cr_assert_eq(region_open(&fresh, path, &o), LARDER_SYSTEM);
	cr_assert_eq(errno, EBUSY);
	cr_assert(strstr(larder_message(), "being removed by another process") != NULL, "%s", larder_message());
	cr_assert_lt(scene_now_ms() - began, SCENE_WAIT_MS);
	(void)close(fd);
	assert_ok(region_open(&fresh, path, &o));
	cr_assert(!region_gone(&fresh) && fresh.ino != r.ino);
	region_close(&r);
	region_close(&fresh);
	assert_ok(region_destroy(path));
}

Test(destroy, a_user_who_may_not_remove_the_name_does_not_end_the_cache)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("not-mine");
	struct region r;

	if (geteuid() != 0)
		cr_skip("needs root to be two users");
	o.mode = 0666;
	assert_ok(region_open(&r, path, &o));
	pid_t child = fork();
	if (child == 0) {
		struct region mine;
		if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
			_exit(1);
		if (region_open(&mine, path, &o) != LARDER_OK)
			_exit(2);
		_exit(region_destroy(path) == LARDER_SYSTEM && errno == EPERM ? 0 : 3);
	}
	cr_assert_eq(child_result(child), 0);
	cr_assert_not(region_gone(&r));
	cr_assert_eq(access(path, F_OK), 0);
	region_close(&r);
	assert_ok(region_destroy(path));
}
