/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening, closing and destroying a cache file, see region.h.
 *
 * A name leads to nothing, to a whole cache, or to a RETIRED one that is about to lose its name: creation is one linkat
 * (draft.c), destruction stores RETIRED first and unlinks after.  A name is removed only under an OFD lock on a byte of
 * the RETIRED file, after a look whether it still leads there: else two destroyers would remove the successor.  A
 * destroyer that dies in between leaves a RETIRED file, which the next creator removes in the same way.
 *
 * Nothing is written to a file before its header was read and found to be ours.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/region.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/message.h"
#include "shm/draft.h"
#include "shm/guard.h"

#define DIRECTORY "/dev/shm/larder."
#define PRIVATE_PREFIX "/memfd:larder."
#define NAME_BYTES_MAX 200u
#define UNLINK_LOCK_OFF ((INT64_C(1) << 62) - 1)

#define HUGE_BYTES (UINT64_C(2) << 20)

#define OPEN_TRIES 16u     /* create, lose, attach, find it destroyed, create … */
#define NO_SPACE_TRIES 40u /* with pauses up to 64 ms: a second or two in all */
#define NO_SPACE_SAME 5u   /* tries that met the same room left */
#define UNLINK_TRIES 5u    /* with doubling pauses: 31 ms in all */

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* The header as it is read from a file that may not be a cache. */
union header {
	unsigned char bytes[sizeof(struct shm_super)];
	struct shm_super super;
};

/* ---- Names and pauses -------------------------------------------------------------------------------------------- */

static bool name_good(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n = strnlen(name, NAME_BYTES_MAX + 1);

	if (n >= 1 && n <= NAME_BYTES_MAX && name[0] != '.' && strspn(name, allowed) == n)
		return true;
	message_set("name \"%.40s\": must be 1 .. %u bytes of [A-Za-z0-9._-] not beginning with a dot, or a path with a slash in it", name,
			NAME_BYTES_MAX);
	return false;
}

/* Absolute, for descriptors may have to be opened anew after a chdir. */
static enum larder_status path_of(char path[256], const char *name)
{
	char here[256] = "";
	int n;

	if (name == NULL) {
		message_set("name: must not be NULL");
		return LARDER_INVALID;
	}
	if (strchr(name, '/') == NULL) {
		if (!name_good(name))
			return LARDER_INVALID;
		(void)snprintf(path, 256, DIRECTORY "%s", name);
		return LARDER_OK;
	}
	if (name[0] != '/' && getcwd(here, sizeof here - 1) != NULL)
		here[strlen(here)] = '/';
	n = snprintf(path, 256, "%s%s", here, name);
	if (n > 0 && n < 256 && path[n - 1] != '/' && path[0] == '/')
		return LARDER_OK;
	message_set("path \"%.80s\": must be an absolute path of at most 255 bytes, the directory included, and end in a file name", name);
	return LARDER_INVALID;
}

static uint64_t random_below(uint64_t limit)
{
	uint64_t number;

	if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number)
		number = (uint64_t)clock_precise_ms() ^ (uint64_t)getpid();
	return number % limit;
}

static void pause_us(uint64_t us)
{
	struct timespec length = { .tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000 };

	(void)nanosleep(&length, NULL);
}

static enum larder_status failed(const char *path, const char *what)
{
	message_set("%s: %s: %s", path, what, strerror(errno));
	return LARDER_SYSTEM;
}

/* All zero if the kernel does not tell: then it is compared with nothing. */
static void boot_id(uint8_t id[16])
{
	char text[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	unsigned digits = 0;

	memset(id, 0, 16);
	if (fd < 0)
		return;
	(void)!read(fd, text, sizeof text - 1);
	(void)close(fd);
	for (const char *c = text; *c != '\0' && digits < 32; c++) {
		static const char hex[] = "0123456789abcdef";
		const char *digit = strchr(hex, *c);

		if (digit == NULL)
			continue;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | (digit - hex));
		digits++;
	}
}

/* ---- Looking at what is there ------------------------------------------------------------------------------------- */

static enum larder_status mismatch(const char *path, const char *found)
{
	message_set("%s: not a cache: found %s, expected a regular file that larder made; use another name, or move it away", path, found);
	return LARDER_MISMATCH;
}

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR: return "a directory";
	case S_IFLNK: return "a symbolic link";
	case S_IFIFO: return "a fifo";
	case S_IFSOCK: return "a socket";
	case S_IFCHR:
	case S_IFBLK: return "a device";
	default: return "a file of an unknown kind";
	}
}

static enum larder_status no_cache(const char *path)
{
	message_set("%s: there is no cache of that name", path);
	return LARDER_NO_CACHE;
}

/* Leaves errno as it is. */
static enum larder_status forbidden(const char *path, const struct stat *st)
{
	message_set("%s: cannot open: %s: it belongs to user %u and group %u, with mode 0%03o; run as one of them, or have it created with "
			"another mode", path, strerror(errno), (unsigned)st->st_uid, (unsigned)st->st_gid, (unsigned)st->st_mode & 0777);
	return LARDER_SYSTEM;
}

/* Opens what lies under the path if it is a regular file.  Looks before it opens, for opening alone does things to a
 * device; O_NONBLOCK and O_NOFOLLOW are for what was put there in between. */
static enum larder_status open_file(const char *path, int access, int *fd, struct stat *st)
{
	*fd = -1;
	if (fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? no_cache(path) : failed(path, "cannot look at it");
	if (!S_ISREG(st->st_mode))
		return mismatch(path, kind_of(st->st_mode));
	*fd = open_above_stdio(path, access | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (*fd < 0 && errno == ENOENT)
		return no_cache(path);
	if (*fd < 0 && errno == ELOOP)
		return mismatch(path, kind_of(S_IFLNK));
	if (*fd < 0 && errno == EACCES)
		return forbidden(path, st);
	if (*fd < 0)
		return failed(path, "cannot open");
	if (fstat(*fd, st) == 0 && S_ISREG(st->st_mode))
		return LARDER_OK;
	(void)close(*fd);
	*fd = -1;
	return mismatch(path, kind_of(st->st_mode));
}

/* Is this a file of ours, of this version?  Then its state word is where we think. */
static enum larder_status read_header(const char *path, int fd, const struct stat *st, union header *h)
{
	ssize_t n = pread(fd, h->bytes, sizeof h->bytes, 0);

	if (n < 0)
		return failed(path, "cannot read its header");
	if (n >= (ssize_t)sizeof h->super.magic && memcmp(h->super.magic, LAYOUT_MAGIC, sizeof h->super.magic) != 0)
		return mismatch(path, "another program's file");
	if ((size_t)n < sizeof h->bytes) {
		message_set("%s: not a cache: found %lld bytes, expected at least the %zu of a header; use another name, or move it away", path,
				(long long)st->st_size, sizeof h->bytes);
		return LARDER_MISMATCH;
	}
	if (h->super.layout_version == LAYOUT_VERSION)
		return LARDER_OK;
	message_set("%s: found a cache of layout version %u, expected %u; use the larder that made it, or destroy it with that one", path,
			h->super.layout_version, LAYOUT_VERSION);
	return LARDER_MISMATCH;
}

static uint32_t features_of(uint32_t create_flags)
{
	return ((create_flags & LARDER_CHECKSUM) != 0 ? FEATURE_CHECKSUM : 0) | ((create_flags & LARDER_PLAIN) == 0 ? FEATURE_STAMPS : 0);
}

static uint64_t geometry_sum(const struct shm_geometry *geo) { return hash_bytes(geo, sizeof *geo, 0); }

static enum larder_status check_boot(const char *path, const struct shm_geometry *geo)
{
	static const uint8_t unknown[16];
	uint8_t now[16];

	boot_id(now);
	if (memcmp(now, geo->boot_id, 16) == 0 || memcmp(now, unknown, 16) == 0 || memcmp(geo->boot_id, unknown, 16) == 0)
		return LARDER_OK;
	message_set("%s: found a cache of an earlier boot, or of another machine, expected one of this boot; a cache does not outlive the "
			"kernel that made it: destroy it (larder destroy) and open again", path);
	return LARDER_MISMATCH;
}

/* Everything else that must hold before any of it is mapped for writing. */
static enum larder_status check_header(const char *path, const struct stat *st, const union header *h)
{
	const struct shm_super *s = &h->super;
	const uint32_t known = FEATURE_CHECKSUM | FEATURE_STAMPS;

	if ((s->features & ~known) != 0) {
		message_set("%s: found a cache with features %#x, expected none but %#x; use the larder that made it, or destroy it", path,
				s->features, known);
		return LARDER_MISMATCH;
	}
	if (s->geometry.bytes != (uint64_t)st->st_size && s->geometry_sum == geometry_sum(&s->geometry)) {
		message_set("%s: found %lld bytes, expected the %llu that it was made with: truncated or extended since; destroy it and open again",
				path, (long long)st->st_size, (unsigned long long)s->geometry.bytes);
		return LARDER_MISMATCH;
	}
	if (s->geometry_sum != geometry_sum(&s->geometry) || s->features != features_of(s->geometry.create_flags)
			|| !geometry_valid(&s->geometry, (uint64_t)st->st_size)) {
		message_set("%s: found a damaged header (sum %016llx), expected a geometry that agrees with itself (sum %016llx); destroy it and "
				"open again", path, (unsigned long long)s->geometry_sum, (unsigned long long)geometry_sum(&s->geometry));
		return LARDER_MISMATCH;
	}
	return check_boot(path, &s->geometry);
}

/* ---- Taking the name away from a RETIRED file ------------------------------------------------------------------------ */

static bool same_file(const struct stat *a, const struct stat *b) { return a->st_dev == b->st_dev && a->st_ino == b->st_ino; }

static bool name_leads_to(const char *path, int fd)
{
	struct stat named, open;

	return fstatat(AT_FDCWD, path, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &open) == 0 && same_file(&named, &open);
}

/* Closing the descriptor lets go of the lock. */
static bool lock_name(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = UNLINK_LOCK_OFF, .l_len = 1 };

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* LARDER_OK: the name does not lead to this file any more.  LARDER_SYSTEM, errno EBUSY: another one holds the lock, and
 * is about to remove it unless it is stopped. */
static enum larder_status unlink_retired(const char *path, int fd)
{
	for (unsigned i = 0; i < UNLINK_TRIES; i++) {
		if (!name_leads_to(path, fd))
			return LARDER_OK;
		if (!lock_name(fd)) {
			if (errno != EAGAIN && errno != EACCES)
				return failed(path, "cannot lock the destroyed cache");
			pause_us(UINT64_C(1000) << i);
			continue;
		}
		if (!name_leads_to(path, fd) || unlink(path) == 0)
			return LARDER_OK;
		return failed(path, "cannot remove the destroyed cache");
	}
	message_set("%s: a destroyed cache whose name is being removed by another process that does not get on; end or continue that one", path);
	errno = EBUSY;
	return LARDER_SYSTEM;
}

/* In a sticky directory only the owner of a file may unlink it: then it must not be retired, either. */
static bool may_unlink(const char *path, const struct stat *st)
{
	char directory[256];
	struct stat parent;
	uid_t me = geteuid();

	(void)snprintf(directory, sizeof directory, "%.*s", (int)(strrchr(path, '/') - path) + 1, path);
	if (me == 0 || stat(directory, &parent) != 0)
		return true;
	if ((parent.st_mode & S_ISVTX) == 0 || st->st_uid == me || parent.st_uid == me)
		return faccessat(AT_FDCWD, directory, W_OK, AT_EACCESS) == 0;
	errno = EPERM;
	return false;
}

static int store_retired(int fd)
{
	const uint64_t retired = SUPER_RETIRED;
	const off_t at = (off_t)offsetof(struct shm_super, state);

	if (pwrite(fd, &retired, sizeof retired, at) == sizeof retired)
		return 0;
	if (errno != EINVAL)
		return -1;
	/* hugetlbfs has no write(). */
	struct statfs fs;
	if (fstatfs(fd, &fs) != 0)
		return -1;
	struct shm_super *super = mmap(NULL, (size_t)fs.f_bsize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (super == MAP_FAILED)
		return -1;
	store_seq_cst(&super->state, SUPER_RETIRED);
	return munmap(super, (size_t)fs.f_bsize);
}

static enum larder_status destroy_file(const char *path, int fd, const struct stat *st)
{
	union header header;
	enum larder_status status = read_header(path, fd, st, &header);

	if (status != LARDER_OK)
		return status;
	if (!may_unlink(path, st))
		return failed(path, "cannot destroy");
	bool was_retired = load_hint(&header.super.state) == SUPER_RETIRED;
	/* From here on, everybody's next call answers "detached"; only then may a successor get the name. */
	if (!was_retired && store_retired(fd) != 0)
		return failed(path, "cannot mark it destroyed");
	status = unlink_retired(path, fd);
	if (status == LARDER_SYSTEM && errno == EBUSY)
		status = LARDER_OK;
	return status == LARDER_OK && was_retired ? no_cache(path) : status;
}

enum larder_status region_destroy(const char *name)
{
	char path[256];
	struct stat st;
	int fd;
	enum larder_status status = path_of(path, name);

	if (status == LARDER_OK)
		status = open_file(path, O_RDWR, &fd, &st);
	if (status != LARDER_OK)
		return status;
	status = destroy_file(path, fd, &st);
	int saved = errno;
	(void)close(fd);
	errno = saved;
	return status;
}

/* ---- Descriptors ----------------------------------------------------------------------------------------------------- */

static pthread_mutex_t slow_mutex = PTHREAD_MUTEX_INITIALIZER;
static sigset_t slow_mask; /* of the thread that holds the mutex, as it was before */

void region_slow_lock(void)
{
	sigset_t all, before;

	(void)sigfillset(&all);
	/* Faults cannot wait: blocked, they kill. */
	(void)sigdelset(&all, SIGBUS);
	(void)sigdelset(&all, SIGSEGV);
	(void)sigdelset(&all, SIGFPE);
	(void)sigdelset(&all, SIGILL);
	(void)sigdelset(&all, SIGTRAP);
	(void)pthread_sigmask(SIG_BLOCK, &all, &before);
	(void)pthread_mutex_lock(&slow_mutex);
	slow_mask = before;
}

void region_slow_unlock(void)
{
	sigset_t before = slow_mask;

	(void)pthread_mutex_unlock(&slow_mutex);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bool region_owns(const struct region *r, int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == r->dev && st.st_ino == r->ino;
}

static void close_ours(const struct region *r, int fd)
{
	if (region_owns(r, fd))
		(void)close(fd);
}

static int open_ours(const struct region *r, const char *path, int flags)
{
	int fd = open_above_stdio(path, (r->read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY | flags, 0);

	if (fd < 0 || region_owns(r, fd))
		return fd;
	(void)close(fd);
	errno = ESTALE;
	return -1;
}

/* Another open file description of the same file: through a descriptor that is good, which works for a file without a
 * name, without permission and under another root; else through the path. */
static int reopen(const struct region *r, int through)
{
	char self[32];

	if (region_owns(r, through)) {
		(void)snprintf(self, sizeof self, "/proc/self/fd/%d", through);
		int fd = open_ours(r, self, 0);
		if (fd >= 0)
			return fd;
	}
	return open_ours(r, r->path, O_NOFOLLOW);
}

/* The locks belong to the open file description, which lives as long as this page is mapped.  A child gets no such page,
 * so that it cannot keep its parent's locks after the parent's death. */
static bool drop_anchor(struct region *r)
{
	if (r->anchors == REGION_ANCHORS)
		return false;
	void *page = mmap(NULL, r->page_bytes, PROT_NONE, MAP_SHARED, r->lock_fd, 0);
	if (page == MAP_FAILED)
		return false;
	if (madvise(page, r->page_bytes, MADV_DONTFORK) != 0) {
		(void)munmap(page, r->page_bytes);
		return false;
	}
	r->anchor[r->anchors++] = page;
	return true;
}

/* First opened here, and not with the mapping: under the mutex no fork can come between, whose child would keep a
 * descriptor that its handler does not know.  A fresh one does not hold what the former held; that stays locked by the
 * former anchor. */
int region_lock_fd(struct region *r)
{
	if (!r->read_only && !region_owns(r, r->lock_fd)) {
		r->lock_fd = reopen(r, r->probe_fd);
		if (r->lock_fd >= 0)
			(void)drop_anchor(r);
	}
	return r->lock_fd;
}

int region_probe_fd(struct region *r)
{
	if (!region_owns(r, r->probe_fd))
		int_store_hint(&r->probe_fd, reopen(r, r->lock_fd));
	return r->probe_fd;
}

/* Never more descriptors than were inherited, for there may be no more to have.  No lock is dropped: those belong to the
 * parent's descriptions, of which only this process's references go. */
void region_reopen_in_child(struct region *r)
{
	int probe = r->probe_fd;

	close_ours(r, r->lock_fd);
	r->anchors = 0; /* MADV_DONTFORK: the addresses are not ours here */
	r->lock_fd = reopen(r, probe);
	if (r->lock_fd >= 0)
		(void)drop_anchor(r);
	close_ours(r, probe);
	r->probe_fd = reopen(r, r->lock_fd);
	r->time_offset_ms = clock_offset_ms();
}

bool region_lost(struct region *r)
{
	struct stat st;

	if (octet_load_hint(&r->lost) != 0)
		return true;
	region_slow_lock();
	int fd = region_probe_fd(r);
	bool lost = fd < 0 || fstat(fd, &st) != 0 || (st.st_nlink == 0 && !r->private) || (uint64_t)st.st_size < r->geo.bytes;
	region_slow_unlock();
	return lost;
}

/* ---- Mapping ---------------------------------------------------------------------------------------------------------- */

/* Where a mapping could begin such that huge pages fit: they must, and left alone the kernel sees no reason for it.  A
 * hint: the room is free again when this returns. */
static void *aligned_room(uint64_t bytes)
{
	void *room = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		return NULL;
	(void)munmap(room, bytes + HUGE_BYTES);
	return (void *)(((uintptr_t)room + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES);
}

static enum larder_status map_file(struct region *r)
{
	int access = r->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	void *wish = (r->open_flags & LARDER_HUGE) != 0 ? aligned_room(r->geo.bytes) : NULL;
	void *base = mmap(wish, r->geo.bytes, access, MAP_SHARED, r->probe_fd, 0);

	if (base != MAP_FAILED) {
		r->base = base;
		region_point(r);
		return LARDER_OK;
	}
	message_set("%s: cannot map %llu bytes: %s (ulimit -v shows the limit)", r->path, (unsigned long long)r->geo.bytes, strerror(errno));
	return errno == ENOMEM ? LARDER_NO_MEMORY : LARDER_SYSTEM;
}

/* Adding 0 makes a page present and writable and changes nothing that others see.  For kernels before 5.14. */
static void touch_pages(struct region *r)
{
	for (uint64_t at = 0; at < r->geo.bytes; at += PAGE_ALIGN) {
		struct word *w = region_at(r, at);

		if (r->read_only)
			(void)load_hint(w);
		else
			(void)add_hint(w, 0);
	}
}

/* The advice answers EFAULT where touching would be a SIGBUS: the file was truncated this moment. */
static bool prefault(struct region *r)
{
	if (madvise(r->base, r->geo.bytes, r->read_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE) == 0)
		return true;
	if (errno != EINVAL)
		return false;
	touch_pages(r);
	return true;
}

/* The pages are there already, all of them, and small: MADV_COLLAPSE alone changes that.  Step by step, since one stretch
 * that does not work (memory too fragmented) would end the whole. */
static void ask_for_huge_pages(struct region *r)
{
	uintptr_t end = (uintptr_t)r->base + r->geo.bytes;
	uint64_t collapsed = 0, tried = 0;

	(void)madvise(r->base, r->geo.bytes, MADV_HUGEPAGE);
	for (uintptr_t at = ((uintptr_t)r->base + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES; end - at >= HUGE_BYTES && at < end; at += HUGE_BYTES) {
		collapsed += madvise((void *)at, HUGE_BYTES, MADV_COLLAPSE) == 0;
		tried++;
	}
	r->huge = r->huge || (tried != 0 && collapsed * 2 > tried);
}

static enum larder_status lock_memory(struct region *r)
{
	struct rlimit limit = { 0 };

	if (mlock(r->base, r->geo.bytes) == 0)
		return LARDER_OK;
	int saved = errno;
	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	message_set("%s: LARDER_LOCK: cannot lock %llu bytes: %s; RLIMIT_MEMLOCK is %llu here (ulimit -l, or CAP_IPC_LOCK)", r->path,
			(unsigned long long)r->geo.bytes, strerror(saved), (unsigned long long)limit.rlim_cur);
	errno = saved;
	return LARDER_SYSTEM;
}

/* What the flags of open ask for beyond the bare mapping. */
static enum larder_status dress_mapping(struct region *r, uint32_t flags)
{
	if ((flags & LARDER_GUARD) != 0 && !guard_add(r->base, r->geo.bytes, r->page_bytes, &r->lost)) {
		message_set("%s: LARDER_GUARD: this process has too many guarded caches open", r->path);
		return LARDER_NO_MEMORY;
	}
	if (flags & LARDER_HUGE)
		ask_for_huge_pages(r);
	if ((flags & LARDER_NO_DUMP) != 0 && madvise(r->base, r->geo.bytes, MADV_DONTDUMP) != 0)
		return failed(r->path, "LARDER_NO_DUMP");
	if ((flags & LARDER_PREFAULT) != 0 && !prefault(r))
		return failed(r->path, "LARDER_PREFAULT");
	return (flags & LARDER_LOCK) != 0 ? lock_memory(r) : LARDER_OK;
}

static enum larder_status take_file(struct region *r, int fd)
{
	struct stat st;
	struct statfs fs;

	if (fstat(fd, &st) != 0 || fstatfs(fd, &fs) != 0) {
		enum larder_status status = failed(r->path, "cannot look at it");
		(void)close(fd);
		return status;
	}
	r->probe_fd = fd;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->huge = (unsigned long)fs.f_type == HUGETLBFS_MAGIC;
	r->page_bytes = r->huge ? (uint32_t)fs.f_bsize : PAGE_ALIGN;
	return LARDER_OK;
}

/* ---- Creating ------------------------------------------------------------------------------------------------------------ */

static enum larder_status plan(struct region *r, const struct larder_options *options)
{
	struct larder_options o = *options;

	o.bytes = o.bytes / r->page_bytes * r->page_bytes;
	if (o.bytes < LARDER_BYTES_MIN) {
		message_set("options.bytes = %llu: less than one page of %u bytes, as %s has them", (unsigned long long)options->bytes,
				r->page_bytes, r->path);
		return LARDER_INVALID;
	}
	enum larder_status status = geometry_plan(&r->geo, &o);
	if (status != LARDER_OK)
		return status;
	r->geo.hash_seed = random_below(UINT64_MAX);
	r->geo.epoch_ms = (uint64_t)(clock_precise_ms() + r->time_offset_ms);
	r->geo.created_wall_ms = clock_wall_ms();
	boot_id(r->geo.boot_id);
	return LARDER_OK;
}

/* All else is zero, as the file system gave it: no participants, no namespaces, an empty index. */
static void write_contents(struct region *r)
{
	struct shm_super *s = region_super(r);

	s->layout_version = LAYOUT_VERSION;
	s->features = features_of(r->geo.create_flags);
	s->geometry = r->geo;
	s->geometry_sum = geometry_sum(&r->geo);
	for (uint32_t i = 0; i < r->geo.segments; i++) {
		store_hint(&region_segment(r, i)->cursor, life_word(1, 0));
		store_hint(region_segword(r, i), segword_free(1));
	}
	memcpy(s->magic, LAYOUT_MAGIC, sizeof s->magic);
}

static enum larder_status create_in(struct region *r, struct draft_file *d, const struct larder_options *o, struct shortage *shortage)
{
	enum larder_status status = take_file(r, d->fd);

	if (status == LARDER_OK)
		status = plan(r, o);
	if (status == LARDER_OK)
		status = draft_reserve(d, r->path, r->geo.bytes, shortage);
	if (status == LARDER_OK)
		status = map_file(r);
	if (status != LARDER_OK)
		return status;
	write_contents(r);
	status = dress_mapping(r, o->flags);
	if (status == LARDER_OK && !r->private)
		status = draft_publish(d, r->path);
	if (status == LARDER_EXISTS)
		message_set("%s: there is a cache of that name already, made this moment", r->path);
	return status;
}

/* LARDER_EXISTS: somebody else was faster. */
static enum larder_status create(struct region *r, const struct larder_options *o, struct shortage *shortage)
{
	struct draft_file d;
	enum larder_status status = r->private ? draft_open_private(&d, r->path) : draft_open(&d, r->path, o->mode);

	if (status == LARDER_OK)
		status = create_in(r, &d, o, shortage);
	draft_abandon(&d);
	return status;
}

/* ---- Attaching ------------------------------------------------------------------------------------------------------------ */

/* LARDER_NO_CACHE: the name is free now. */
static enum larder_status meet_retired(struct region *r, uint32_t flags)
{
	enum larder_status status = LARDER_OK;

	if (!r->read_only)
		status = unlink_retired(r->path, r->probe_fd);
	return status == LARDER_OK || (flags & LARDER_ATTACH_ONLY) != 0 ? no_cache(r->path) : status;
}

static enum larder_status attach_to(struct region *r, const struct stat *st, const struct larder_options *o)
{
	union header header;
	enum larder_status status = read_header(r->path, r->probe_fd, st, &header);

	if (status != LARDER_OK)
		return status;
	if (load_hint(&header.super.state) != SUPER_LIVE)
		return meet_retired(r, o->flags);
	status = check_header(r->path, st, &header);
	if (status != LARDER_OK)
		return status;
	if (o->flags & LARDER_EXCLUSIVE) {
		message_set("%s: there is a cache of that name already (LARDER_EXCLUSIVE)", r->path);
		return LARDER_EXISTS;
	}
	r->geo = header.super.geometry;
	status = map_file(r);
	return status == LARDER_OK ? dress_mapping(r, o->flags) : status;
}

static enum larder_status attach(struct region *r, const struct larder_options *o)
{
	struct stat st;
	int fd;
	enum larder_status status = open_file(r->path, r->read_only ? O_RDONLY : O_RDWR, &fd, &st);

	if (status == LARDER_OK)
		status = take_file(r, fd);
	return status == LARDER_OK ? attach_to(r, &st, o) : status;
}

/* ---- Opening and closing ---------------------------------------------------------------------------------------------------- */

void region_close(struct region *r)
{
	int saved = errno;

	if (r->base != NULL) {
		guard_remove(r->base);
		(void)munmap(r->base, r->geo.bytes);
	}
	for (uint32_t i = 0; i < r->anchors; i++)
		(void)munmap(r->anchor[i], r->page_bytes);
	close_ours(r, r->lock_fd);
	close_ours(r, r->probe_fd);
	r->base = NULL;
	r->anchors = 0;
	r->lock_fd = r->probe_fd = -1;
	errno = saved;
}

static enum larder_status attempt(struct region *r, const struct larder_options *o, struct shortage *shortage)
{
	enum larder_status status = attach(r, o);

	if (status == LARDER_NO_CACHE && (o->flags & LARDER_ATTACH_ONLY) == 0) {
		region_close(r);
		status = create(r, o, shortage);
	}
	if (status != LARDER_OK)
		region_close(r);
	return status;
}

/* Creators that each take what the others lack would all fail.  So those who met LARDER_NO_SPACE take turns, by a lock on
 * the directory that nobody waits for: who has it tries to create, the rest look whether he was done.  One that is
 * stopped meanwhile costs the others their patience, not their last try. */
static int directory_of(const char *path)
{
	char directory[256];

	(void)snprintf(directory, sizeof directory, "%.*s", (int)(strrchr(path, '/') - path) + 1, path);
	return open_above_stdio(directory, O_RDONLY | O_DIRECTORY, 0);
}

static bool my_turn(int directory) { return flock(directory, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK; }

static enum larder_status attach_only(struct region *r, const struct larder_options *o)
{
	enum larder_status status = attach(r, o);

	if (status != LARDER_OK)
		region_close(r);
	return status;
}

static enum larder_status open_when_there_is_room(struct region *r, const struct larder_options *o, struct shortage last)
{
	enum larder_status status = LARDER_NO_SPACE;
	int directory = directory_of(r->path);
	unsigned same = 0;

	for (unsigned i = 1; i <= NO_SPACE_TRIES && same < NO_SPACE_SAME; i++) {
		struct shortage now = { 0 };

		pause_us(random_below(UINT64_C(1000) << (i < 6 ? i : 6)));
		bool create_too = my_turn(directory) || i == NO_SPACE_TRIES;
		status = create_too ? attempt(r, o, &now) : attach_only(r, o);
		if (status != (create_too ? LARDER_NO_SPACE : LARDER_NO_CACHE))
			break;
		/* The same room again and again: nobody is at work there. */
		same = create_too && now.left_bytes == last.left_bytes ? same + 1 : 0;
		last = create_too ? now : last;
	}
	if (directory >= 0)
		(void)close(directory);
	return status;
}

/* Create and attach in turns.  Each turn but the last means that somebody else created or destroyed meanwhile. */
static enum larder_status open_by_turns(struct region *r, const struct larder_options *o)
{
	for (unsigned i = 0; i < OPEN_TRIES; i++) {
		struct shortage shortage = { 0 };
		enum larder_status status = attempt(r, o, &shortage);

		if (status == LARDER_NO_SPACE && !shortage.hopeless)
			status = open_when_there_is_room(r, o, shortage);
		if (status != LARDER_EXISTS || (o->flags & LARDER_EXCLUSIVE) != 0)
			return status;
	}
	message_set("%s: created and destroyed by others again and again while this one tried to open it", r->path);
	errno = EBUSY;
	return LARDER_SYSTEM;
}

static enum larder_status create_private(struct region *r, const struct larder_options *o)
{
	struct shortage shortage;
	enum larder_status status = create(r, o, &shortage);

	if (status != LARDER_OK)
		region_close(r);
	return status;
}

/* As /proc/PID/maps shows it. */
static enum larder_status private_path(char path[256], const char *name)
{
	if (!name_good(name))
		return LARDER_INVALID;
	(void)snprintf(path, 256, PRIVATE_PREFIX "%s", name);
	return LARDER_OK;
}

enum larder_status region_open(struct region *r, const char *name, const struct larder_options *options)
{
	struct larder_options o;
	enum larder_status status = options_read(&o, options);

	memset(r, 0, sizeof *r);
	r->lock_fd = r->probe_fd = -1;
	r->private = status == LARDER_OK && (o.flags & LARDER_PRIVATE) != 0;
	if (status == LARDER_OK)
		status = r->private ? private_path(r->path, name) : path_of(r->path, name);
	if (status != LARDER_OK)
		return status;
	r->open_flags = o.flags;
	r->read_only = (o.flags & LARDER_INSPECT) != 0;
	r->time_offset_ms = clock_offset_ms();
	return r->private ? create_private(r, &o) : open_by_turns(r, &o);
}
