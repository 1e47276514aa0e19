/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions as one process sees them: names, flags, descriptors, the mapping.  Races between processes are in tests/proc,
 * files that are no cache in tests/hostile.
 */
#include "../proc/scene.h"

#include <sys/mman.h>
#include <sys/resource.h>

static enum larder_status open_close(const char *name, uint32_t flags)
{
	struct larder_options o = small_cache();
	struct region r;

	o.flags = flags;
	enum larder_status status = region_open(&r, name, &o);
	if (status == LARDER_OK)
		region_close(&r);
	return status;
}

Test(region, a_name_is_a_file_in_dev_shm)
{
	char name[64], path[96];

	(void)snprintf(name, sizeof name, "test-%d-name", (int)getpid());
	(void)snprintf(path, sizeof path, "/dev/shm/larder.%s", name);
	assert_ok(open_close(name, LARDER_EXCLUSIVE));
	cr_assert_eq(access(path, F_OK), 0);
	assert_ok(region_destroy(name));
	cr_assert_neq(access(path, F_OK), 0);
}

Test(region, bad_names_are_refused_and_leave_no_file)
{
	char long_name[202], long_path[300];
	memset(long_name, 'a', sizeof long_name);
	long_name[201] = '\0';
	memset(long_path, 'a', sizeof long_path);
	memcpy(long_path, "/dev/shm/", 9);
	long_path[299] = '\0';
	const char *const bad[] = { "", ".", "..", ".hidden", "with space", "colon:", "new\nline", "umlaut\xc3\xa4", long_name, long_path, "/dev/shm/" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		message_set("nothing");
		cr_assert_eq(open_close(bad[i], 0), LARDER_INVALID, "name \"%s\"", bad[i]);
		cr_assert_eq(region_destroy(bad[i]), LARDER_INVALID, "name \"%s\"", bad[i]);
		cr_assert_str_neq(larder_message(), "nothing");
	}
	cr_assert_eq(open_close(NULL, 0), LARDER_INVALID);
	cr_assert_eq(open_close("/no/such/directory/cache", 0), LARDER_SYSTEM);
	cr_assert(strstr(larder_message(), "directory does not exist") != NULL, "%s", larder_message());
}

Test(region, who_may_not_open_it_is_told_whose_it_is)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("closed");
	char whose[64];
	struct region r;

	o.mode = 0600;
	assert_ok(region_open(&r, path, &o));
	snprintf(whose, sizeof whose, "user %u and group %u, with mode 0200", (unsigned)geteuid(), (unsigned)getegid());
	cr_assert_eq(chmod(path, 0200), 0);
	if (geteuid() == 0)
		cr_assert_eq(seteuid(65534), 0);
	cr_assert_eq(open_close(path, LARDER_INSPECT), LARDER_SYSTEM);
	cr_assert(errno == EACCES && strstr(larder_message(), "Permission denied") && strstr(larder_message(), whose), "%s", larder_message());
	if (getuid() == 0)
		cr_assert_eq(seteuid(0), 0);
	region_close(&r);
	assert_ok(region_destroy(path));
}

Test(region, a_relative_path_still_leads_there_after_chdir)
{
	struct larder_options o = small_cache();
	struct handle h;
	struct worker *w;
	char path[128], name[64];

	(void)snprintf(name, sizeof name, "./larder.test-%d-relative", (int)getpid());
	(void)snprintf(path, sizeof path, "/dev/shm/%s", name + 2);
	cr_assert_eq(chdir("/dev/shm"), 0);
	assert_ok(handle_open(&h, name, &o));
	cr_assert_eq(chdir("/"), 0);
	/* The host program closes what it does not know. */
	(void)close(h.region.lock_fd);
	(void)close(h.region.probe_fd);
	assert_ok(handle_join(&h, &w));
	scene_leave(path, &h);
}

Test(region, flags_say_whether_to_create_or_to_attach)
{
	const char *path = scene_path("flags");

	cr_assert_eq(open_close(path, LARDER_ATTACH_ONLY), LARDER_NO_CACHE);
	cr_assert_eq(open_close(path, LARDER_INSPECT), LARDER_NO_CACHE);
	assert_ok(open_close(path, LARDER_EXCLUSIVE));
	cr_assert_eq(open_close(path, LARDER_EXCLUSIVE), LARDER_EXISTS);
	assert_ok(open_close(path, 0));
	assert_ok(open_close(path, LARDER_ATTACH_ONLY));
	assert_ok(open_close(path, LARDER_INSPECT));
	assert_ok(region_destroy(path));
	cr_assert_eq(region_destroy(path), LARDER_NO_CACHE);
}

Test(region, a_fresh_cache_is_as_planned_and_zero_but_for_its_first_incarnations)
{
	const char *path = scene_path("fresh");
	struct larder_options o = small_cache();
	struct shm_geometry g;
	struct region r;
	struct stat st;

	o.create_flags = LARDER_CHECKSUM;
	assert_ok(region_open(&r, path, &o));
	assert_ok(geometry_plan(&g, &o));
	cr_assert_eq(memcmp(&g, &r.geo, offsetof(struct shm_geometry, hash_seed)), 0);
	cr_assert(stat(path, &st) == 0 && (uint64_t)st.st_size == g.bytes && (uint64_t)st.st_blocks * 512 >= g.bytes, "not reserved");
	cr_assert_eq(region_super(&r)->features, FEATURE_CHECKSUM | FEATURE_STAMPS);
	for (uint32_t i = 0; i < g.segments; i++) {
		cr_assert_eq(load_hint(region_segword(&r, i)), segword_free(1));
		cr_assert_eq(load_hint(&region_segment(&r, i)->cursor), life_word(1, 0));
		store_hint(region_segword(&r, i), 0);
		store_hint(&region_segment(&r, i)->cursor, 0);
	}
	for (uint64_t at = sizeof(struct shm_super); at < g.bytes; at++)
		cr_assert_eq(r.base[at], 0, "byte %lu is %d", at, r.base[at]);
	region_close(&r);
	assert_ok(region_destroy(path));
}

Test(region, two_caches_have_different_seeds)
{
	struct larder_options o = small_cache();
	struct region a, b;
	const char *path = scene_path("seeds");

	assert_ok(region_open(&a, path, &o));
	assert_ok(region_destroy(path));
	assert_ok(region_open(&b, path, &o));
	cr_assert_neq(a.geo.hash_seed, b.geo.hash_seed);
	cr_assert(region_gone(&a) && !region_gone(&b));
	assert_ok(region_destroy(path));
	region_close(&a);
	region_close(&b);
}

Test(region, the_mode_is_as_asked_whatever_the_umask)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("mode");
	struct region r;
	struct stat st;

	(void)umask(077);
	o.mode = 0664;
	assert_ok(region_open(&r, path, &o));
	cr_assert(stat(path, &st) == 0 && (st.st_mode & 07777) == 0664, "mode %o", st.st_mode);
	region_close(&r);
	assert_ok(region_destroy(path));
	o.mode = 0;
	assert_ok(region_open(&r, path, &o));
	cr_assert(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600, "mode %o", st.st_mode);
	region_close(&r);
	assert_ok(region_destroy(path));
}

Test(region, no_descriptor_is_inherited_by_exec_or_taken_for_stdout)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("descriptors");
	struct handle h;

	(void)close(0);
	(void)close(1);
	enum larder_status status = handle_open(&h, path, &o);
	assert_ok(status);
	cr_assert(h.region.lock_fd > 2 && h.region.probe_fd > 2, "%d, %d", h.region.lock_fd, h.region.probe_fd);
	cr_assert(fcntl(h.region.lock_fd, F_GETFD) & FD_CLOEXEC);
	cr_assert(fcntl(h.region.probe_fd, F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(fcntl(0, F_GETFD), -1);
	scene_leave(path, &h);
}

static unsigned open_descriptors(void)
{
	return files_named("/proc/self/fd", "") - 3; /* ".", ".." and its own */
}

Test(region, opening_and_closing_leaks_neither_descriptors_nor_mappings)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("leak");
	char line[512];
	struct handle h;
	struct worker *w;
	unsigned before = open_descriptors();

	for (int i = 0; i < 50; i++) {
		scene_enter(path, &o, &h, &w);
		handle_close(&h);
		assert_ok(open_close(path, LARDER_INSPECT));
		cr_assert_eq(open_close(path, LARDER_EXCLUSIVE), LARDER_EXISTS);
	}
	assert_ok(region_destroy(path));
	cr_assert_eq(open_close(path, LARDER_ATTACH_ONLY), LARDER_NO_CACHE);
	cr_assert_eq(open_descriptors(), before);
	FILE *maps = fopen("/proc/self/maps", "re");
	while (fgets(line, sizeof line, maps) != NULL)
		cr_assert(strstr(line, path) == NULL, "%s", line);
	(void)fclose(maps);
}

Test(region, too_few_descriptors_are_a_system_failure_and_leave_nothing)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("emfile");
	struct rlimit limit;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	rlim_t soft = limit.rlim_cur;
	for (rlim_t allowed = 3; allowed < 12; allowed++) {
		struct handle h;
		limit.rlim_cur = allowed;
		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		enum larder_status status = handle_open(&h, path, &o);
		region_close(&h.region);
		limit.rlim_cur = soft;
		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		cr_assert(status == LARDER_OK || status == LARDER_SYSTEM, "%d: %s", status, larder_message());
		crew_destroy(status == LARDER_OK ? h.crew : NULL);
		(void)region_destroy(path);
	}
}

Test(region, the_limit_of_file_sizes_is_an_error_and_not_a_signal)
{
	const char *path = scene_path("fsize");
	struct rlimit before, limit;

	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){ 4096, before.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_eq(open_close(path, 0), LARDER_SYSTEM);
	int error = errno;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0); /* what measures this test writes files at its end */
	cr_assert_eq(error, EFBIG);
	cr_assert(strstr(larder_message(), "RLIMIT_FSIZE") != NULL, "%s", larder_message());
	cr_assert_neq(access(path, F_OK), 0);
}

Test(region, more_than_the_file_system_has_is_refused_at_once_and_says_how_much_there_is)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("large");
	struct region r;
	int64_t least_ms = INT64_MAX;

	o.bytes = UINT64_C(1) << 38;
	for (int i = 0; i < 5; i++) {
		int64_t began = scene_now_ms();
		cr_assert_eq(region_open(&r, path, &o), LARDER_NO_SPACE);
		least_ms = scene_now_ms() - began < least_ms ? scene_now_ms() - began : least_ms;
	}
	cr_assert_lt(least_ms, 200);
	cr_assert(strstr(larder_message(), "274877906944") != NULL && strstr(larder_message(), "--shm-size") != NULL
			&& strstr(larder_message(), "remount,size=") != NULL, "%s", larder_message());
	cr_assert_neq(access(path, F_OK), 0);
}

/* The "VmFlags" line of the mapping at `at`, and "Locked". */
static bool mapping_has(const void *at, const char *flag)
{
	char line[512];
	bool here = false, found = false;
	FILE *smaps = fopen("/proc/self/smaps", "re");

	while (fgets(line, sizeof line, smaps) != NULL) {
		unsigned long begin, end;
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2 && strchr(line, '-') != NULL && strchr(line, '-') < strchr(line, ' '))
			here = begin <= (uintptr_t)at && (uintptr_t)at < end;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, flag) != NULL;
	}
	(void)fclose(smaps);
	return found;
}

Test(region, no_dump_lock_and_the_anchor_show_in_the_mapping)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("flags-mapping");
	struct handle h;

	o.flags = LARDER_NO_DUMP | LARDER_LOCK;
	assert_ok(handle_open(&h, path, &o));
	cr_assert(mapping_has(h.region.base, " dd"));
	cr_assert(SCENE_SANITIZED || mapping_has(h.region.base, " lo"));
	cr_assert_not(mapping_has(h.region.base, " dc"));
	cr_assert_eq(h.region.anchors, 1);
	cr_assert(mapping_has(h.region.anchor[0], " dc"));
	scene_leave(path, &h);
}

static unsigned resident_pages(const struct region *r)
{
	static unsigned char in[4096];
	unsigned n = 0;
	uint64_t pages = r->geo.bytes / 4096;

	/* mincore() tells of the page cache; the page tables are in pagemap. */
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (uint64_t i = 0; i < pages && i < sizeof in; i++) {
		uint64_t entry = 0;
		cr_assert_eq(pread(fd, &entry, 8, (off_t)(((uintptr_t)r->base / 4096 + i) * 8)), 8);
		n += (unsigned)(entry >> 63);
	}
	(void)close(fd);
	return n;
}

Test(region, prefault_maps_every_page_and_without_it_few_are)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("prefault");
	struct region creator, r;

	assert_ok(region_open(&creator, path, &o));
	assert_ok(region_open(&r, path, &o));
	cr_assert_lt(resident_pages(&r), 200);
	region_close(&r);
	o.flags = LARDER_PREFAULT;
	assert_ok(region_open(&r, path, &o));
	cr_assert_eq(resident_pages(&r), 256);
	region_close(&r);
	o.flags = LARDER_PREFAULT | LARDER_INSPECT;
	assert_ok(region_open(&r, path, &o));
	cr_assert_eq(resident_pages(&r), 256);
	region_close(&r);
	region_close(&creator);
	assert_ok(region_destroy(path));
}

Test(region, locking_without_the_right_to_is_an_error_that_names_the_limit)
{
	const struct rlimit limit = { 65536, 65536 };
	const char *path = scene_path("memlock");

	if (SCENE_SANITIZED)
		cr_skip("mlock() does nothing here");

	cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	/* 65534 is nobody; needed where the test runs as root, who may lock everything. */
	if (geteuid() == 0)
		cr_assert_eq(setresuid(65534, 65534, 65534), 0);
	cr_assert_eq(open_close(path, LARDER_LOCK), LARDER_SYSTEM);
	cr_assert(strstr(larder_message(), "RLIMIT_MEMLOCK") != NULL, "%s", larder_message());
	cr_assert_neq(access(path, F_OK), 0, "a cache that could not be opened as asked was left behind");
}

Test(region, huge_pages_are_used_or_not_and_either_is_fine)
{
	struct larder_options o = LARDER_OPTIONS_INIT;
	const char *path = scene_path("huge");
	struct region r;

	o.bytes = UINT64_C(16) << 20;
	o.flags = LARDER_HUGE;
	assert_ok(region_open(&r, path, &o));
	cr_assert_eq((uintptr_t)r.base % (UINT64_C(2) << 20), 0);
	cr_log_info("huge pages: %s", r.huge ? "yes" : "no");
	region_close(&r);
	assert_ok(region_destroy(path));
}

Test(region, an_inspector_reads_asks_for_liveness_and_cannot_write)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("inspector");
	struct handle h;
	struct worker *w;
	struct region r;

	scene_enter(path, &o, &h, &w);
	cr_assert_eq(chmod(path, 0400), 0);
	o.flags = LARDER_INSPECT;
	assert_ok(region_open(&r, path, &o));
	cr_assert(r.read_only && r.lock_fd < 0);
	uint32_t slot = w->slot_plus_1 - 1;
	cr_assert(participant_alive(&r, slot));
	cr_assert_not(participant_alive(&r, (slot + 1) % r.geo.participants));
	cr_assert_not(participant_bury(&r, (slot + 1) % r.geo.participants));
	cr_assert(mprotect(r.base, 4096, PROT_READ | PROT_WRITE) != 0, "the mapping of an inspector can be made writable");
	handle_close(&h);
	cr_assert_not(participant_alive(&r, slot));
	region_close(&r);
	assert_ok(region_destroy(path));
}

Test(region, a_removed_file_is_noticed_by_the_slow_check)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("removed");
	struct region r;

	assert_ok(region_open(&r, path, &o));
	cr_assert_not(region_lost(&r));
	cr_assert_eq(unlink(path), 0);
	cr_assert(region_lost(&r));
	cr_assert_not(region_gone(&r));
	region_close(&r);
}

Test(region, a_shortened_file_is_noticed_by_the_slow_check)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("shortened");
	struct region r;

	assert_ok(region_open(&r, path, &o));
	cr_assert_eq(truncate(path, 8192), 0);
	cr_assert(region_lost(&r));
	region_close(&r);
	cr_assert_eq(unlink(path), 0);
}

/* ---- Guard -------------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t foreign_faults;
static void *volatile foreign_page;

static void foreign_handler(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	foreign_faults += info->si_addr == foreign_page;
	(void)mmap(foreign_page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* A page behind the end of a file. */
static void *faulting_page(void)
{
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	(void)close(fd);
	return page;
}

Test(region, the_guard_turns_a_truncated_file_into_a_lost_cache)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("guard");
	struct region r, other;

	o.flags = LARDER_GUARD;
	assert_ok(region_open(&r, path, &o));
	o.flags = 0;
	assert_ok(region_open(&other, path, &o));
	region_super(&r)->geometry_sum++;
	cr_assert_eq(truncate(path, 4096), 0);
	cr_assert_not(region_gone(&r));
	cr_assert_eq(r.base[r.geo.bytes / 2 + 5], 0);
	cr_assert(region_gone(&r));
	cr_assert(region_lost(&r));
	/* The rest is there, too; what was read before the fault still is. */
	cr_assert_eq(r.base[r.geo.bytes - 1], 0);
	memset(r.base + 4096, 1, r.geo.bytes - 4096);
	cr_assert_eq(memcmp(region_super(&r)->magic, LAYOUT_MAGIC, 8), 0);
	region_close(&r);
	region_close(&other);
	cr_assert_eq(unlink(path), 0);
}

Test(region, the_guard_passes_on_the_faults_of_others, .timeout = 10)
{
	struct sigaction action = { .sa_sigaction = foreign_handler, .sa_flags = SA_SIGINFO };
	struct larder_options o = small_cache();
	const char *path = scene_path("guard-chain");
	struct region r;

	cr_assert_eq(sigaction(SIGBUS, &action, NULL), 0);
	o.flags = LARDER_GUARD;
	assert_ok(region_open(&r, path, &o));
	foreign_page = faulting_page();
	cr_assert_eq(*(volatile char *)foreign_page, 0);
	cr_assert_eq(foreign_faults, 1);
	cr_assert_not(region_gone(&r));
	region_close(&r);
	foreign_page = faulting_page();
	cr_assert_eq(*(volatile char *)foreign_page, 0);
	cr_assert_eq(foreign_faults, 2);
	assert_ok(region_destroy(path));
}

Test(region, a_foreign_fault_still_kills_where_there_was_no_handler, .signal = SIGBUS)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("guard-default");
	struct region r;

	(void)signal(SIGBUS, SIG_DFL);
	o.flags = LARDER_GUARD;
	assert_ok(region_open(&r, path, &o));
	assert_ok(region_destroy(path));
	(void)*(volatile char *)faulting_page();
}

Test(region, a_sigbus_that_was_sent_still_kills_where_there_was_no_handler, .signal = SIGBUS)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("guard-sent");
	struct region r;

	(void)signal(SIGBUS, SIG_DFL);
	o.flags = LARDER_GUARD;
	assert_ok(region_open(&r, path, &o));
	assert_ok(region_destroy(path));
	(void)kill(getpid(), SIGBUS);
	sleep_us(1000000);
}

Test(region, without_the_guard_nothing_is_installed)
{
	struct sigaction before, after;
	const char *path = scene_path("no-guard");

	cr_assert_eq(sigaction(SIGBUS, NULL, &before), 0);
	assert_ok(open_close(path, LARDER_PREFAULT | LARDER_NO_DUMP));
	cr_assert_eq(sigaction(SIGBUS, NULL, &after), 0);
	cr_assert_eq(before.sa_handler, after.sa_handler);
	assert_ok(region_destroy(path));
}
