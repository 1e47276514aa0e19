/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Atomic creation of a file, see draft.h.
 *
 * Where the file system has O_TMPFILE the draft has no name at all and gets one by linkat().  Elsewhere it is called
 * ".NAME.new.RANDOM", and its creator holds an OFD lock on it: one that is not locked was left by a creator that died,
 * and whoever creates the same cache removes it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/draft.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/message.h"

#define NAME_TRIES 16
#define RESERVE_STEP_BYTES (UINT64_C(32) << 20)

static int above_stdio(int fd)
{
	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int saved = errno;
	(void)close(fd);
	errno = saved;
	return higher;
}

int open_above_stdio(const char *path, int flags, uint32_t mode)
{
	return above_stdio(open(path, flags | O_CLOEXEC, (mode_t)mode));
}

static enum larder_status system_failed(const char *path, const char *what)
{
	message_set("%s: cannot create: %s: %s", path, what, strerror(errno));
	return LARDER_SYSTEM;
}

/* The directory part of path, with its slash, and the rest. */
static size_t directory_bytes(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

/* ---- Where there is no O_TMPFILE ------------------------------------------------------------------------------------ */

/* On the first byte: participants lock bytes that lie far behind the end. */
static bool lock_draft(int fd, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_len = 1 };

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* A leftover's lock is free, but for the moment between its creator's open and lock; that creator then finds its draft
 * unlinked (draft_lives) and makes another. */
static void remove_leftover(const char *path)
{
	int fd = open_above_stdio(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);

	if (fd < 0)
		return;
	if (lock_draft(fd, F_WRLCK))
		(void)unlink(path);
	(void)close(fd);
}

static void remove_leftovers(const char *path)
{
	char directory[256], prefix[272], leftover[544];
	size_t n = directory_bytes(path);

	(void)snprintf(directory, sizeof directory, "%.*s", (int)n, path);
	(void)snprintf(prefix, sizeof prefix, ".%s.new.", path + n);
	DIR *entries = opendir(directory);
	if (entries == NULL)
		return;
	for (const struct dirent *e = readdir(entries); e != NULL; e = readdir(entries)) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		(void)snprintf(leftover, sizeof leftover, "%s%s", directory, e->d_name);
		remove_leftover(leftover);
	}
	(void)closedir(entries);
}

static bool draft_lives(int fd)
{
	struct stat st;

	return lock_draft(fd, F_WRLCK) && fstat(fd, &st) == 0 && st.st_nlink == 1;
}

static uint64_t random_number(void)
{
	uint64_t number;

	if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number)
		number = (uint64_t)clock_read_ms(CLOCK_MONOTONIC) * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)getpid();
	return number;
}

static enum larder_status open_named(struct draft_file *d, const char *path)
{
	size_t n = directory_bytes(path);

	remove_leftovers(path);
	for (int i = 0; i < NAME_TRIES; i++) {
		int got = snprintf(d->temporary, sizeof d->temporary, "%.*s.%s.new.%08x", (int)n, path, path + n, (unsigned)random_number());
		if (got < 0 || (size_t)got >= sizeof d->temporary) {
			errno = ENAMETOOLONG;
			break;
		}
		d->fd = open_above_stdio(d->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
		if (d->fd < 0 && errno != EEXIST)
			break;
		if (d->fd >= 0 && draft_lives(d->fd))
			return LARDER_OK;
		draft_abandon(d);
		if (d->fd >= 0)
			(void)close(d->fd);
	}
	d->temporary[0] = '\0';
	d->fd = -1;
	return system_failed(path, "no temporary file in its directory");
}

static int publish_named(struct draft_file *d, const char *path)
{
	int failed = renameat2(AT_FDCWD, d->temporary, AT_FDCWD, path, RENAME_NOREPLACE);

	if (failed == 0)
		d->temporary[0] = '\0';
	else if (errno == EINVAL || errno == ENOSYS)
		failed = link(d->temporary, path);
	return failed;
}

/* ---- Where there is ---------------------------------------------------------------------------------------------------- */

static int publish_unnamed(const struct draft_file *d, const char *path)
{
	char self[32];

	/* By descriptor this needs CAP_DAC_READ_SEARCH, or a kernel of 2024; by /proc it needs /proc. */
	if (linkat(d->fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno == EEXIST)
		return -1;
	(void)snprintf(self, sizeof self, "/proc/self/fd/%d", d->fd);
	return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

/* Whether an unnamed file could be given a name here: without /proc and without the capability it could not. */
static bool can_publish_unnamed(void)
{
	return access("/proc/self/fd", X_OK) == 0 || geteuid() == 0;
}

static int open_unnamed(const char *path)
{
	char directory[256];

	(void)snprintf(directory, sizeof directory, "%.*s", (int)directory_bytes(path), path);
	return open_above_stdio(directory, O_TMPFILE | O_RDWR, 0600);
}

/* ---- Both ---------------------------------------------------------------------------------------------------------------- */

enum larder_status draft_open(struct draft_file *d, const char *path, uint32_t mode)
{
	*d = (struct draft_file){ .fd = -1 };
	errno = EOPNOTSUPP;
	if (can_publish_unnamed())
		d->fd = open_unnamed(path);
	if (d->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOSYS)) {
		enum larder_status status = open_named(d, path);
		if (status != LARDER_OK)
			return status;
	}
	if (d->fd < 0 && errno == ENOENT) {
		message_set("%s: cannot create: its directory does not exist", path);
		return LARDER_SYSTEM;
	}
	if (d->fd < 0 && errno == ENOSPC) {
		message_set("%s: cannot create: its file system has no file left to give (df -i shows the limit)", path);
		return LARDER_NO_SPACE;
	}
	if (d->fd < 0)
		return system_failed(path, "no temporary file in its directory");
	/* Not by open(): the umask of the host program has no say. */
	if (fchmod(d->fd, (mode_t)mode) == 0)
		return LARDER_OK;
	enum larder_status status = system_failed(path, "fchmod");
	draft_abandon(d);
	(void)close(d->fd);
	return status;
}

enum larder_status draft_open_private(struct draft_file *d, const char *path)
{
	/* The kernel puts "/memfd:" before it. */
	*d = (struct draft_file){ .fd = memfd_create(strchr(path, ':') + 1, MFD_CLOEXEC) };
	if (d->fd >= 0)
		d->fd = above_stdio(d->fd);
	return d->fd >= 0 ? LARDER_OK : system_failed(path, "no unnamed file");
}

static enum larder_status no_space(const char *path, uint64_t bytes, uint64_t left, uint64_t total, struct shortage *shortage)
{
	int directory = (int)directory_bytes(path);

	*shortage = (struct shortage){ .left_bytes = left, .hopeless = total < bytes };
	message_set("%s: no space: %llu bytes asked for, %llu of %llu left in %.*s; ask for fewer, or enlarge it "
			"(docker run --shm-size=SIZE; mount -o remount,size=SIZE %.*s)", path, (unsigned long long)bytes, (unsigned long long)left,
			(unsigned long long)total, directory, path, directory, path);
	return LARDER_NO_SPACE;
}

/* Asked before any page is taken, for two creators that each take what the other lacks both fail. */
static enum larder_status look_for_space(const struct draft_file *d, const char *path, uint64_t bytes, bool refused, struct shortage *shortage)
{
	struct statvfs fs;

	if (fstatvfs(d->fd, &fs) != 0 || fs.f_blocks == 0)
		return refused ? no_space(path, bytes, 0, UINT64_MAX, shortage) : LARDER_OK;
	uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (refused || left < bytes)
		return no_space(path, bytes, left, (uint64_t)fs.f_blocks * fs.f_frsize, shortage);
	return LARDER_OK;
}

/* Beyond this limit the kernel sends SIGXFSZ, which is death to a program that does not expect it. */
static bool within_limit(const char *path, uint64_t bytes)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur)
		return true;
	errno = EFBIG;
	message_set("%s: cannot create: %llu bytes asked for, RLIMIT_FSIZE allows files of %llu (ulimit -f)", path,
			(unsigned long long)bytes, (unsigned long long)limit.rlim_cur);
	return false;
}

/* In steps: a signal takes back the step in which it comes, and a timer of the host program must not starve us. */
static int reserve_steps(int fd, uint64_t bytes)
{
	uint64_t step = RESERVE_STEP_BYTES;

	for (uint64_t done = 0; done < bytes;) {
		uint64_t want = bytes - done < step ? bytes - done : step;
		int failed = posix_fallocate(fd, (off_t)done, (off_t)want);

		if (failed == 0)
			done += want;
		else if (failed != EINTR)
			return failed;
		else if (step > UINT64_C(2) << 20)
			step /= 2;
	}
	return 0;
}

enum larder_status draft_reserve(const struct draft_file *d, const char *path, uint64_t bytes, struct shortage *shortage)
{
	if (!within_limit(path, bytes))
		return LARDER_SYSTEM;
	enum larder_status status = look_for_space(d, path, bytes, false, shortage);
	if (status != LARDER_OK)
		return status;
	int failed = reserve_steps(d->fd, bytes);
	if (failed == 0)
		return LARDER_OK;
	if (failed == ENOSPC || failed == EDQUOT)
		return look_for_space(d, path, bytes, true, shortage);
	errno = failed;
	return system_failed(path, "reserving its space");
}

enum larder_status draft_publish(struct draft_file *d, const char *path)
{
	bool named = d->temporary[0] != '\0';

	if ((named ? publish_named(d, path) : publish_unnamed(d, path)) == 0) {
		draft_abandon(d);
		if (named)
			(void)lock_draft(d->fd, F_UNLCK);
		return LARDER_OK;
	}
	if (errno == EEXIST)
		return LARDER_EXISTS;
	return system_failed(path, "giving it its name");
}

void draft_abandon(struct draft_file *d)
{
	int saved = errno;

	if (d->temporary[0] != '\0')
		(void)unlink(d->temporary);
	d->temporary[0] = '\0';
	errno = saved;
}
