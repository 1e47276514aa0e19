/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each system call and each allocation of a scenario fails in turn: the calls answer with a clear status, nothing is left
 * behind (file, descriptor, mapping, memory), and the same scenario works right after.
 *
 * The library's own calls are wrapped by the linker (--wrap, under the names that large files give them): number N of them
 * fails with an error that the real one could give.  Calls whose failure is not looked at (close, munmap) are counted among those that are open at the end.
 */
#include "../unit/kit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

/* ---- The failing calls ------------------------------------------------------------------------------------------------- */

static unsigned long calls, fail_at; /* fail_at 0: none fails */
static int fail_with;
static const char *failed_call;

static bool fails(const char *name)
{
	if (fail_at == 0 || ++calls != fail_at)
		return false;
	failed_call = name;
	errno = fail_with;
	return true;
}

#define WRAP(type, name, parameters, arguments, failure) \
	type __real_##name parameters; \
	type __wrap_##name parameters; \
	type __wrap_##name parameters { return fails(#name) ? (failure) : __real_##name arguments; }

static long allocated; /* blocks */

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n)
{
	void *got = fails("malloc") ? NULL : __real_malloc(n);
	allocated += got != NULL;
	return got;
}
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	void *got = fails("calloc") ? NULL : __real_calloc(n, size);
	allocated += got != NULL;
	return got;
}
void *__real_realloc(void *old, size_t n);
void *__wrap_realloc(void *old, size_t n);
void *__wrap_realloc(void *old, size_t n)
{
	void *got = fails("realloc") ? NULL : __real_realloc(old, n);
	allocated += got != NULL && old == NULL;
	return got;
}
void __real_free(void *old);
void __wrap_free(void *old);
void __wrap_free(void *old)
{
	allocated -= old != NULL;
	__real_free(old);
}

WRAP(void *, mmap64, (void *at, size_t n, int protection, int flags, int fd, off_t off), (at, n, protection, flags, fd, off), MAP_FAILED)
WRAP(int, madvise, (void *at, size_t n, int advice), (at, n, advice), -1)
WRAP(int, fstat64, (int fd, struct stat *st), (fd, st), -1)
WRAP(int, fstatat64, (int fd, const char *path, struct stat *st, int flags), (fd, path, st, flags), -1)
WRAP(int, fstatfs64, (int fd, struct statfs *fs), (fd, fs), -1)
WRAP(int, fstatvfs64, (int fd, struct statvfs *fs), (fd, fs), -1)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
WRAP(int, linkat, (int from, const char *a, int to, const char *b, int flags), (from, a, to, b, flags), -1)
WRAP(int, posix_fallocate64, (int fd, off_t off, off_t n), (fd, off, n), fail_with)
WRAP(int, unlink, (const char *path), (path), -1)
WRAP(ssize_t, pread64, (int fd, void *to, size_t n, off_t off), (fd, to, n, off), -1)
WRAP(ssize_t, pwrite64, (int fd, const void *from, size_t n, off_t off), (fd, from, n, off), -1)
WRAP(ssize_t, getrandom, (void *to, size_t n, unsigned flags), (to, n, flags), -1)
WRAP(int, mlock, (const void *at, size_t n), (at, n), -1)

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	va_list list;
	va_start(list, flags);
	mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
	va_end(list);
	return fails("open") ? -1 : __real_open64(path, flags, mode);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
	va_list list;
	va_start(list, command);
	void *argument = va_arg(list, void *);
	va_end(list);
	return fails("fcntl") ? -1 : __real_fcntl64(fd, command, argument);
}

/* ---- What must not be left behind ------------------------------------------------------------------------------------------ */

struct holdings { unsigned descriptors, mappings, files; long blocks; };

static unsigned entries_in(const char *directory, const char *part)
{
	unsigned n = 0;
	DIR *d = opendir(directory);
	for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		n += strstr(e->d_name, part) != NULL;
	(void)closedir(d);
	return n;
}

/* Mappings of cache files, named or not. */
static unsigned cache_mappings(void)
{
	char line[512];
	unsigned n = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, maps) != NULL)
		n += strstr(line, "/dev/shm/") != NULL;
	(void)fclose(maps);
	return n;
}

static struct holdings holdings(void)
{
	struct holdings h = { .descriptors = entries_in("/proc/self/fd", ""), .mappings = cache_mappings(), .files = entries_in("/dev/shm", kit_name),
		.blocks = allocated };
	return h;
}

static bool same(const struct holdings *a, const struct holdings *b)
{
	return a->descriptors == b->descriptors && a->mappings == b->mappings && a->files == b->files && a->blocks == b->blocks;
}

/* ---- Scenarios ------------------------------------------------------------------------------------------------------------------ */

/* Each returns the first status that was not LARDER_OK. */
struct scenario {
	const char *name;
	enum larder_status (*run)(void);
	bool needs_cache; /* made by another handle before, destroyed after */
};

static enum larder_status open_flags(uint32_t flags, struct larder **c)
{
	struct larder_options o = kit_options(UINT64_C(1) << 20, 0);
	o.flags = flags;
	return larder_open_with(kit_name, &o, c);
}

static enum larder_status finish(struct larder **c, enum larder_status status)
{
	fail_at = 0;
	larder_close(c);
	return status;
}

static enum larder_status create(void)
{
	struct larder *c;
	enum larder_status status = open_flags(LARDER_EXCLUSIVE | LARDER_PREFAULT | LARDER_NO_DUMP, &c);
	cr_assert_eq(c == NULL, status != LARDER_OK);
	return finish(&c, status);
}

static enum larder_status attach(void)
{
	struct larder *c;
	return finish(&c, open_flags(LARDER_ATTACH_ONLY | LARDER_HUGE | LARDER_LOCK, &c));
}

static enum larder_status inspect(void)
{
	struct larder *c;
	char value[8];
	size_t n;
	enum larder_status status = open_flags(LARDER_INSPECT, &c);
	if (status == LARDER_OK)
		status = larder_get(c, 0, "key", 3, value, sizeof value, &n);
	return finish(&c, status);
}

static enum larder_status first_call(void)
{
	struct larder *c;
	struct larder_pin pin;
	unsigned long wanted = fail_at;
	fail_at = 0;
	enum larder_status status = open_flags(LARDER_ATTACH_ONLY, &c);
	fail_at = wanted;
	if (status == LARDER_OK)
		status = larder_pin(c, 0, "key", 3, 0, &pin);
	if (status == LARDER_OK) {
		cr_assert_eq(memcmp(pin.data, "value", 5), 0);
		larder_unpin(c, &pin);
	}
	return finish(&c, status);
}

/* Appending to and exchanging a value of several pieces assembles it on the heap. */
static enum larder_status rewrite_large(void)
{
	static unsigned char big[20000], old[40000];
	size_t n;
	unsigned long wanted = fail_at;
	fail_at = 0;
	ok(larder_set(cache, 0, "big", 3, big, sizeof big, 0));
	fail_at = wanted;
	enum larder_status status = larder_append(cache, 0, "big", 3, "tail", 4);
	if (status == LARDER_OK)
		status = larder_get_and_set(cache, 0, "big", 3, big, sizeof big, 0, old, sizeof old, &n);
	fail_at = 0;
	is(larder_get(cache, 0, "big", 3, old, sizeof old, &n), LARDER_OK); /* old or new, and whole */
	cr_assert(n == sizeof big || n == sizeof big + 4);
	return status;
}

static bool see(const struct larder_entry *e, void *arg)
{
	(void)e, (void)arg;
	return true;
}

static enum larder_status look_around(void)
{
	struct larder_stat stat;
	uint64_t faults;
	enum larder_status status = larder_iterate(cache, 0, NULL, 0, LARDER_ITERATE_VALUES, see, NULL);
	if (status == LARDER_OK)
		status = larder_stat(cache, &stat);
	if (status == LARDER_OK)
		status = larder_check(cache, NULL, NULL, &faults);
	return status;
}

static enum larder_status check(void)
{
	uint64_t faults;
	return larder_check(cache, NULL, NULL, &faults);
}

static enum larder_status destroy(void) { return larder_destroy(kit_name); }

/* ---- The test -------------------------------------------------------------------------------------------------------------------- */

static void prepare(const struct scenario *s)
{
	fail_at = 0;
	if (!s->needs_cache)
		return;
	struct larder_options o = kit_options(UINT64_C(1) << 20, 0);
	ok(larder_open_with(kit_name, &o, &cache));
	ok(put_text("key", "value"));
}

static void clear(void)
{
	fail_at = 0;
	larder_close(&cache);
	(void)larder_destroy(kit_name);
}

static bool clear_status(enum larder_status status)
{
	return status == LARDER_OK || status == LARDER_SYSTEM || status == LARDER_NO_MEMORY || status == LARDER_NO_SPACE || status == LARDER_DETACHED
			|| status == LARDER_NO_CACHE || status == LARDER_MISMATCH || status == LARDER_NO_SLOT || status == LARDER_EXISTS;
}

static unsigned fail_each(const struct scenario *s, int error)
{
	unsigned refused = 0;
	for (unsigned long at = 1;; at++) {
		prepare(s);
		struct holdings before = holdings();
		calls = 0;
		failed_call = NULL;
		fail_with = error;
		fail_at = at;
		enum larder_status status = s->run();
		fail_at = 0;
		struct holdings after = holdings();
		cr_assert(clear_status(status), "%s, call %lu (%s) fails with %s: status %d", s->name, at, failed_call, strerror(error), status);
		if (status == LARDER_SYSTEM)
			cr_assert_str_neq(larder_message(), "", "%s, call %lu (%s): no message", s->name, at, failed_call);
		if (status != LARDER_OK && !s->needs_cache && after.files != before.files) {
			/* It failed after the cache had got its name: then it is a whole one. */
			cr_assert_eq(attach(), LARDER_OK, "%s, call %lu (%s): half a cache is left", s->name, at, failed_call);
			ok(larder_destroy(kit_name));
			after.files = before.files;
		}
		if (status != LARDER_OK)
			cr_assert(same(&before, &after) || s->run == destroy, "%s, call %lu (%s) fails: %u descriptors, %u mappings, %u files, %ld blocks are left",
					s->name, at, failed_call, after.descriptors - before.descriptors, after.mappings - before.mappings,
					after.files - before.files, after.blocks - before.blocks);
		refused += status != LARDER_OK;
		if (status != LARDER_OK && s->run != destroy)
			cr_assert_eq(s->run(), LARDER_OK, "%s does not work after call %lu (%s) failed", s->name, at, failed_call);
		clear();
		if (failed_call == NULL)
			return refused;
	}
}

static void fail_all(const struct scenario *s, unsigned least)
{
	const int errors[] = { ENOMEM, EMFILE, EACCES, ENOSPC, EIO };
	(void)snprintf(kit_name, sizeof kit_name, "test-%d-faults", (int)getpid());
	/* Once without failures: what is set up for good is set up. */
	prepare(s);
	is(s->run(), LARDER_OK);
	clear();
	unsigned refused = 0;
	for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++)
		refused += fail_each(s, errors[i]);
	cr_assert_geq(refused, least, "%s: only %u failures were noticed", s->name, refused);
}

Test(faults, in_creating_a_cache_leave_nothing_behind, .timeout = 60) { fail_all(&(struct scenario){ "create", create, false }, 20); }
Test(faults, in_attaching_leave_nothing_behind, .timeout = 60) { fail_all(&(struct scenario){ "attach", attach, true }, 20); }
Test(faults, in_inspecting_leave_nothing_behind, .timeout = 60) { fail_all(&(struct scenario){ "inspect", inspect, true }, 10); }
Test(faults, in_the_first_call_and_a_pin_leave_nothing_behind, .timeout = 60) { fail_all(&(struct scenario){ "first call", first_call, true }, 2); }
Test(faults, in_rewriting_a_large_value_leave_it_whole, .timeout = 60) { fail_all(&(struct scenario){ "rewrite", rewrite_large, true }, 5); }
Test(faults, in_looking_around_end_in_a_status, .timeout = 60) { fail_all(&(struct scenario){ "look around", look_around, true }, 3); }
/* A check that could not look is no clean bill of health. */
Test(faults, in_a_check_end_in_a_status, .timeout = 60) { fail_all(&(struct scenario){ "check", check, true }, 5); }
Test(faults, in_destroying_end_in_a_status, .timeout = 60) { fail_all(&(struct scenario){ "destroy", destroy, true }, 10); }
