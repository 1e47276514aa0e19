/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Creating one cache from many processes, some of which are killed meanwhile, and on a file system that is too small.
 */
#include "scene.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

/* ---- Races ----------------------------------------------------------------------------------------------------------- */

/* Each opens, adds 1 to a word of the arena, and stays until all have. */
static void open_and_count(const char *path, const struct larder_options *o, const struct gate *start, const struct gate *done,
		const struct gate *end)
{
	struct handle h;
	struct worker *w;

	if (!gate_pass(start))
		_exit(1);
	enum larder_status status = handle_open(&h, path, o);
	if (status != LARDER_OK)
		_exit(status == LARDER_EXISTS ? 100 : 2);
	(void)add_hint((struct word *)region_at(&h.region, h.region.geo.arena_off), 1);
	if (handle_join(&h, &w) != LARDER_OK)
		_exit(3);
	gate_open(done, 1);
	if (!gate_pass(end))
		_exit(4);
	handle_close(&h);
	_exit(0);
}

Test(creation, sixteen_processes_at_once_have_one_cache, .timeout = 120)
{
	enum { PROCESSES = 16, ROUNDS = 40 };
	struct larder_options o = small_cache();
	const char *path = scene_path("race");

	for (int round = 0; round < ROUNDS; round++) {
		struct gate start = gate_make(), done = gate_make(), end = gate_make();
		pid_t child[PROCESSES];
		struct region r;

		for (int i = 0; i < PROCESSES; i++)
			if ((child[i] = fork()) == 0)
				open_and_count(path, &o, &start, &done, &end);
		gate_open(&start, PROCESSES);
		for (int i = 0; i < PROCESSES; i++)
			cr_assert(gate_pass(&done));
		assert_ok(region_open(&r, path, &(struct larder_options){ .size = sizeof o, .flags = LARDER_ATTACH_ONLY }));
		cr_assert_eq(load_hint((struct word *)region_at(&r, r.geo.arena_off)), PROCESSES, "some had another cache");
		gate_open(&end, PROCESSES);
		for (int i = 0; i < PROCESSES; i++)
			cr_assert_eq(child_result(child[i]), 0);
		region_close(&r);
		assert_ok(region_destroy(path));
		for (int i = 0; i < 2; i++)
			(void)(close(start.fd[i]) | close(done.fd[i]) | close(end.fd[i]));
	}
}

Test(creation, of_those_that_insist_on_creating_exactly_one_does, .timeout = 120)
{
	enum { PROCESSES = 8, ROUNDS = 40 };
	struct larder_options o = small_cache();
	const char *path = scene_path("exclusive");

	o.flags = LARDER_EXCLUSIVE;
	for (int round = 0; round < ROUNDS; round++) {
		struct gate start = gate_make(), done = gate_make(), end = gate_make();
		pid_t child[PROCESSES];
		int created = 0;

		for (int i = 0; i < PROCESSES; i++)
			if ((child[i] = fork()) == 0)
				open_and_count(path, &o, &start, &done, &end);
		gate_open(&start, PROCESSES);
		gate_open(&end, PROCESSES);
		for (int i = 0; i < PROCESSES; i++) {
			int result = child_result(child[i]);
			cr_assert(result == 0 || result == 100, "result %d", result);
			created += result == 0;
		}
		cr_assert_eq(created, 1);
		assert_ok(region_destroy(path));
		for (int i = 0; i < 2; i++)
			(void)(close(start.fd[i]) | close(done.fd[i]) | close(end.fd[i]));
	}
}

/* ---- Death ------------------------------------------------------------------------------------------------------------- */

static uint64_t bytes_used(const char *directory)
{
	struct statvfs fs;

	return statvfs(directory, &fs) == 0 ? (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize : UINT64_MAX;
}

static unsigned files_in(const char *directory)
{
	return files_named(directory, "") - 2;
}

/* Kills creators at random moments.  There is a whole cache afterwards, or nothing at all. */
static void kill_creators(const char *directory, unsigned rounds)
{
	struct larder_options o = small_cache();
	char path[128];
	unsigned seed = (unsigned)time(NULL), whole = 0, nothing = 0;

	cr_log_info("seed %u", seed);
	(void)snprintf(path, sizeof path, "%s/cache", directory);
	o.bytes = UINT64_C(8) << 20;
	for (unsigned i = 0; i < rounds; i++) {
		struct gate start = gate_make();
		struct region r;
		pid_t child = fork();
		if (child == 0) {
			gate_open(&start, 1);
			(void)region_open(&r, path, &o);
			(void)pause();
		}
		cr_assert(gate_pass(&start));
		sleep_us(rand_r(&seed) % 6000);
		(void)kill(child, SIGKILL);
		cr_assert_eq(child_result(child), -SIGKILL);
		(void)(close(start.fd[0]) | close(start.fd[1]));

		o.flags = LARDER_ATTACH_ONLY;
		enum larder_status status = region_open(&r, path, &o);
		o.flags = 0;
		cr_assert(status == LARDER_OK || status == LARDER_NO_CACHE, "%s", larder_message());
		*(status == LARDER_OK ? &whole : &nothing) += 1;
		if (status == LARDER_OK) {
			region_close(&r);
			assert_ok(region_destroy(path));
		}
	}
	cr_log_info("%u whole, %u nothing", whole, nothing);
	cr_assert(whole > 0 && nothing > 0, "%u whole, %u nothing: the moments are badly chosen", whole, nothing);
}

Test(creation, a_creator_killed_at_any_moment_leaves_a_whole_cache_or_nothing, .timeout = 120)
{
	if (!private_tmpfs("/tmp/larder-test-killed", "size=64m"))
		cr_skip("no mount namespaces for this user here");
	uint64_t before = bytes_used("/tmp/larder-test-killed");

	kill_creators("/tmp/larder-test-killed", 400);
	cr_assert_eq(files_in("/tmp/larder-test-killed"), 0);
	cr_assert_eq(bytes_used("/tmp/larder-test-killed"), before, "space is lost");
}

/* ---- Without O_TMPFILE --------------------------------------------------------------------------------------------------- */

/* From now on this process lives with a file system that knows no O_TMPFILE; the kernel itself says so. */
static bool forbid_tmpfile(void)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_openat, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof program / sizeof *program, program };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0
			&& open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) < 0;
}

Test(creation, without_unnamed_files_creation_works_by_a_temporary_name)
{
	struct larder_options o = small_cache();
	struct region r, again;
	struct stat st;

	if (!private_tmpfs("/tmp/larder-test-named", "size=16m") || !forbid_tmpfile())
		cr_skip("no mount namespaces or no seccomp for this user here");
	o.mode = 0640;
	assert_ok(region_open(&r, "/tmp/larder-test-named/cache", &o));
	cr_assert_eq(files_in("/tmp/larder-test-named"), 1);
	cr_assert(stat("/tmp/larder-test-named/cache", &st) == 0 && (st.st_mode & 07777) == 0640 && st.st_nlink == 1);
	assert_ok(region_open(&again, "/tmp/larder-test-named/cache", &o));
	o.flags = LARDER_EXCLUSIVE;
	cr_assert_eq(region_open(&(struct region){ 0 }, "/tmp/larder-test-named/cache", &o), LARDER_EXISTS);
	region_close(&r);
	region_close(&again);
	assert_ok(region_destroy("/tmp/larder-test-named/cache"));
	cr_assert_eq(files_in("/tmp/larder-test-named"), 0);
}

Test(creation, without_unnamed_files_the_next_creator_removes_what_killed_ones_left, .timeout = 120)
{
	struct larder_options o = small_cache();
	struct region r;

	if (!private_tmpfs("/tmp/larder-test-left", "size=64m") || !forbid_tmpfile())
		cr_skip("no mount namespaces or no seccomp for this user here");
	kill_creators("/tmp/larder-test-left", 300);
	o.flags = LARDER_EXCLUSIVE;
	assert_ok(region_open(&r, "/tmp/larder-test-left/cache", &o));
	cr_assert_eq(files_in("/tmp/larder-test-left"), 1, "leftovers are still there");
	region_close(&r);
}

Test(creation, without_unnamed_files_sixteen_processes_have_one_cache, .timeout = 120)
{
	enum { PROCESSES = 16 };
	struct larder_options o = small_cache();
	struct region r;

	if (!private_tmpfs("/tmp/larder-test-race", "size=64m") || !forbid_tmpfile())
		cr_skip("no mount namespaces or no seccomp for this user here");
	for (int round = 0; round < 20; round++) {
		struct gate start = gate_make(), done = gate_make(), end = gate_make();
		pid_t child[PROCESSES];

		for (int i = 0; i < PROCESSES; i++)
			if ((child[i] = fork()) == 0)
				open_and_count("/tmp/larder-test-race/cache", &o, &start, &done, &end);
		gate_open(&start, PROCESSES);
		gate_open(&end, PROCESSES);
		for (int i = 0; i < PROCESSES; i++)
			cr_assert_eq(child_result(child[i]), 0);
		assert_ok(region_open(&r, "/tmp/larder-test-race/cache", &o));
		cr_assert_eq(load_hint((struct word *)region_at(&r, r.geo.arena_off)), PROCESSES, "some had another cache");
		region_close(&r);
		assert_ok(region_destroy("/tmp/larder-test-race/cache"));
		cr_assert_eq(files_in("/tmp/larder-test-race"), 0);
		for (int i = 0; i < 2; i++)
			(void)(close(start.fd[i]) | close(done.fd[i]) | close(end.fd[i]));
	}
}

/* ---- Too little room ---------------------------------------------------------------------------------------------------------- */

Test(creation, on_a_full_file_system_it_fails_says_why_and_takes_nothing)
{
	struct larder_options o = small_cache();
	struct region r;

	if (!private_tmpfs("/tmp/larder-test-full", "size=4m"))
		cr_skip("no mount namespaces for this user here");
	uint64_t before = bytes_used("/tmp/larder-test-full");
	int fd = open("/tmp/larder-test-full/filler", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	cr_assert(fd >= 0 && posix_fallocate(fd, 0, 5 << 19) == 0);
	o.bytes = UINT64_C(2) << 20;
	cr_assert_eq(region_open(&r, "/tmp/larder-test-full/cache", &o), LARDER_NO_SPACE);
	cr_assert(strstr(larder_message(), "2097152 bytes asked for, 1572864 of 4194304 left") != NULL, "%s", larder_message());
	cr_assert_eq(files_in("/tmp/larder-test-full"), 1);
	(void)close(fd);
	cr_assert_eq(unlink("/tmp/larder-test-full/filler"), 0);
	cr_assert_eq(bytes_used("/tmp/larder-test-full"), before);
	assert_ok(region_open(&r, "/tmp/larder-test-full/cache", &o));
	/* Every byte of it is there: G5. */
	memset(r.base + 4096, 0xa5, r.geo.bytes - 4096);
	region_close(&r);
}

/* Each creator alone would succeed, two at once both run out of space: nobody may give up for that. */
Test(creation, creators_that_take_each_others_room_agree_in_the_end, .timeout = 120)
{
	enum { PROCESSES = 8, ROUNDS = 20 };
	struct larder_options o = small_cache();

	if (!private_tmpfs("/tmp/larder-test-tight", "size=12m"))
		cr_skip("no mount namespaces for this user here");
	o.bytes = UINT64_C(8) << 20;
	for (int round = 0; round < ROUNDS; round++) {
		struct gate start = gate_make(), done = gate_make(), end = gate_make();
		pid_t child[PROCESSES];

		for (int i = 0; i < PROCESSES; i++)
			if ((child[i] = fork()) == 0)
				open_and_count("/tmp/larder-test-tight/cache", &o, &start, &done, &end);
		gate_open(&start, PROCESSES);
		gate_open(&end, PROCESSES);
		for (int i = 0; i < PROCESSES; i++)
			cr_assert_eq(child_result(child[i]), 0, "round %d", round);
		assert_ok(region_destroy("/tmp/larder-test-tight/cache"));
		for (int i = 0; i < 2; i++)
			(void)(close(start.fd[i]) | close(done.fd[i]) | close(end.fd[i]));
	}
}

/* ---- Huge pages of a mount ---------------------------------------------------------------------------------------------------- */

static bool hugetlbfs_of_pages(const char *directory, const char *pages)
{
	int fd = open("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, pages, strlen(pages)) > 0;

	if (fd >= 0)
		(void)close(fd);
	return done && unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0
			&& (mkdir(directory, 0700) == 0 || errno == EEXIST) && mount("none", directory, "hugetlbfs", 0, "pagesize=2M") == 0;
}

Test(creation, a_cache_may_lie_on_hugetlbfs)
{
	struct larder_options o = small_cache();
	struct handle h;
	struct worker *w;

	if (!hugetlbfs_of_pages("/tmp/larder-test-hugetlbfs", "8"))
		cr_skip("no huge pages for this user here");
	o.bytes = (UINT64_C(9) << 20) + 4096;
	enum larder_status status = handle_open(&h, "/tmp/larder-test-hugetlbfs/cache", &o);
	if (status == LARDER_OK) {
		cr_assert_eq(h.region.geo.bytes, UINT64_C(8) << 20);
		cr_assert(h.region.huge);
		memset(h.region.base + h.region.geo.arena_off, 1, 4096);
		assert_ok(handle_join(&h, &w));
		cr_assert(participant_alive(&h.region, w->slot_plus_1 - 1));
		assert_ok(region_destroy("/tmp/larder-test-hugetlbfs/cache"));
		cr_assert(region_gone(&h.region));
		handle_close(&h);
	}
	(void)!hugetlbfs_of_pages("/tmp/larder-test-hugetlbfs", "0");
	assert_ok(status);
}
