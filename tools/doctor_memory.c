/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder doctor, the memory: room in /dev/shm, RAM, the limit of the control group (which counts what its processes
 * touch in /dev/shm), swap, and huge pages.
 */
#define _GNU_SOURCE
#include "doctor.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define DOCKER_SHM_BYTES (64 * MIB)
#define HUGE_WORTH_BYTES (64 * MIB) /* below that, a TLB holds most of the cache anyway */

/* A field of /proc/meminfo in bytes; 0: not there. */
static uint64_t meminfo_bytes(const char *text, const char *name)
{
	const char *line = text ? strstr(text, name) : NULL;

	return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

/* ---- /dev/shm ---- */

static void advise_size(struct doctor *doctor)
{
	char size[TEXT_MAX];

	found(doctor, GRADE_ADVICE, "/dev/shm size", "%s, which is little", text_size(doctor->shm_bytes, size));
	because(doctor, "all of a cache is reserved there at its creation; a larger one answers LARDER_NO_SPACE%s",
			doctor->shm_bytes == DOCKER_SHM_BYTES ? " (64 MiB is what Docker gives if it is not asked)"
							      : "");
	change(doctor,
			doctor->container ? "docker run --shm-size=1g (compose: shm_size: 1g); Kubernetes: an emptyDir "
					    "with "
					    "medium: Memory and a sizeLimit at /dev/shm"
					  : "mount -o remount,size=1g /dev/shm, and size=1g in its line of /etc/fstab");
}

static void check_room(struct doctor *doctor, uint64_t free_bytes)
{
	char total[TEXT_MAX], left[TEXT_MAX];

	text_size(doctor->shm_bytes, total);
	text_size(free_bytes, left);
	if (!doctor->cache_bytes && free_bytes < 64 * MIB && doctor->shm_bytes >= 2 * DOCKER_SHM_BYTES) {
		found(doctor, GRADE_ADVICE, "/dev/shm room", "%s free of %s", left, total);
		because(doctor, "a cache of the default size, 64 MiB, cannot be made");
		change(doctor,
				"'ls -lS /dev/shm' shows what lies there; 'larder destroy NAME' removes a cache that "
				"nobody needs");
	} else {
		found(doctor, GRADE_FINE, "/dev/shm room", "%s free of %s", left, total);
	}
	if (doctor->ram_bytes && doctor->shm_bytes > doctor->ram_bytes) {
		found(doctor, GRADE_ADVICE, "/dev/shm size", "%s, more than there is memory", total);
		because(doctor, "a full /dev/shm then ends in swapping, or in the out-of-memory killer");
		change(doctor, "mount -o remount,size=50%% /dev/shm");
	} else if (doctor->shm_bytes < 2 * DOCKER_SHM_BYTES) {
		advise_size(doctor);
	}
}

static void check_shm(struct doctor *doctor)
{
	char *path = host_path(doctor, "/dev/shm");
	struct statvfs room;

	if (!doctor->shm_is_tmpfs || !path || statvfs(path, &room)) {
		free(path);
		return; /* the mount was found fault with */
	}
	free(path);
	doctor->shm_bytes = (uint64_t)room.f_blocks * room.f_frsize;
	check_room(doctor, (uint64_t)room.f_bavail * room.f_frsize);
	if (room.f_files && !room.f_favail) {
		found(doctor, GRADE_FAULT, "/dev/shm inodes", "all %ju are taken", (uintmax_t)room.f_files);
		because(doctor, "no file can be made there, however much room is left");
		change(doctor, "remove files of it, or mount -o remount,nr_inodes=100000 /dev/shm");
	}
}

/* ---- RAM and swap ---- */

static void check_ram(struct doctor *doctor)
{
	char *text = host_file(doctor, "/proc/meminfo"), available[TEXT_MAX], total[TEXT_MAX];
	uint64_t available_bytes = meminfo_bytes(text, "MemAvailable:"), swap_bytes = meminfo_bytes(text, "SwapTotal:");

	doctor->ram_bytes = meminfo_bytes(text, "MemTotal:");
	free(text);
	if (!doctor->ram_bytes)
		return;
	text_size(available_bytes, available);
	text_size(doctor->ram_bytes, total);
	bool tight = available_bytes < doctor->ram_bytes / 20;
	found(doctor, tight ? GRADE_ADVICE : GRADE_FINE, "memory", "%s available of %s", available, total);
	if (tight) {
		because(doctor,
				"the kernel will soon swap, or kill; the memory of a cache is given back by 'larder "
				"destroy' alone");
		change(doctor, "a smaller cache ('larder mrc' says what that costs in hits), or fewer other processes");
	}
	if (!swap_bytes)
		return;
	found(doctor, GRADE_NOTE, "swap", "there is swap, %s", text_size(swap_bytes, total));
	because(doctor, "memory that lies in /dev/shm can be swapped out; a get of it then takes as long as the disk");
	change(doctor, "open with LARDER_LOCK, or MemorySwapMax=0 in the unit of the service");
}

/* ---- Control group ---- */

static uint64_t limit_in(const struct doctor *doctor, const char *base, const char *group, const char *name)
{
	char *path, *text;

	if (asprintf(&path, "%s%s/%s", base, strcmp(group, "/") ? group : "", name) < 0)
		return 0;
	text = host_file(doctor, path);
	free(path);
	uint64_t value = text && *text != 'm' ? strtoull(text, NULL, 10) : 0; /* "max" */
	free(text);
	return value >= UINT64_MAX / 4 ? 0 : value; /* version 1 writes "none" as nearly 2^63 */
}

/* The least limit of a group and those above it; 0: none. */
static uint64_t least_limit(const struct doctor *doctor, const char *base, char *group, const char *name)
{
	uint64_t least = 0;

	for (;;) {
		uint64_t limit = limit_in(doctor, base, group, name);
		least = limit && (!least || limit < least) ? limit : least;
		char *slash = strrchr(group, '/');
		if (!slash || !group[1])
			return least;
		slash[slash == group] = '\0';
	}
}

/* The group of this process in a line of /proc/self/cgroup that begins with `mark`, or holds it; for free(). */
static char *group_of(const char *text, const char *mark)
{
	const char *line = text ? strstr(text, mark) : NULL;

	return line ? strndup(line + strlen(mark), strcspn(line + strlen(mark), "\n")) : NULL;
}

static uint64_t group_limit(const struct doctor *doctor)
{
	char *text = host_file(doctor, "/proc/self/cgroup");
	char *group = group_of(text, ":memory:");
	uint64_t limit = 0;

	if (group)
		limit = least_limit(doctor, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
	free(group);
	group = limit ? NULL : group_of(text, "0::");
	if (group)
		limit = least_limit(doctor, "/sys/fs/cgroup", group, "memory.max");
	free(group);
	free(text);
	return limit;
}

static void check_group(struct doctor *doctor)
{
	char limit[TEXT_MAX], size[TEXT_MAX];

	doctor->memory_max_bytes = group_limit(doctor);
	if (!doctor->memory_max_bytes || doctor->memory_max_bytes >= doctor->ram_bytes) {
		found(doctor, GRADE_FINE, "memory limit", "no control group limits the memory of this process");
		return;
	}
	text_size(doctor->memory_max_bytes, limit);
	bool fatal = doctor->cache_bytes >= doctor->memory_max_bytes;
	bool risky = fatal || doctor->shm_bytes > doctor->memory_max_bytes ||
			doctor->cache_bytes > doctor->memory_max_bytes / 2;
	found(doctor,
			fatal                   ? GRADE_FAULT
					: risky ? GRADE_ADVICE
						: GRADE_NOTE,
			"memory limit", "this control group may have %s", limit);
	if (doctor->cache_bytes)
		because(doctor,
				"pages of /dev/shm count for the group whose process touches them first, and the cache "
				"has %s: "
				"over the limit the kernel kills",
				text_size(doctor->cache_bytes, size));
	else
		because(doctor,
				"pages of /dev/shm (%s here) count for the group whose process touches them first: "
				"over the limit "
				"the kernel kills",
				text_size(doctor->shm_bytes, size));
	change(doctor,
			"docker run --memory, MemoryMax= of the unit or resources.limits.memory: what the processes "
			"need, and the "
			"size of the cache on top of it");
}

/* ---- Huge pages ---- */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define HUGE_BYTES (2 * MIB)

/* The word in brackets of "always [madvise] never", for free(). */
static char *chosen(char *text)
{
	char *from = text ? strchr(text, '[') : NULL, *to = from ? strchr(from, ']') : NULL;
	char *word = to ? strndup(from + 1, (size_t)(to - from - 1)) : NULL;

	free(text);
	return word;
}

/* Whether 2 MiB of an unnamed file in /dev/shm become a huge page as LARDER_HUGE would have it.  -1: cannot be tried.
 */
static int try_huge(void)
{
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), result = -1;

	if (fd < 0)
		return -1;
	if (!posix_fallocate(fd, 0, 2 * HUGE_BYTES)) {
		char *at = mmap(NULL, 2 * HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (at != MAP_FAILED) {
			uintptr_t aligned = ((uintptr_t)at + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
			(void)madvise(at, 2 * HUGE_BYTES, MADV_HUGEPAGE);
			result = !madvise((void *)aligned, HUGE_BYTES, MADV_COLLAPSE);
			munmap(at, 2 * HUGE_BYTES);
		}
	}
	close(fd);
	return result;
}

/* What the files say, where it cannot be tried: the kernel's setting stands above the mount's. */
static bool allows_huge(const struct doctor *doctor, const char *shmem)
{
	if (!strcmp(shmem, "deny"))
		return false;
	return !strcmp(shmem, "force") || (doctor->shm_is_huge && doctor->kernel >= 6001);
}

static void advise_huge(struct doctor *doctor, const char *shmem)
{
	bool worth = doctor->cache_bytes >= HUGE_WORTH_BYTES, deny = !strcmp(shmem, "deny");

	found(doctor, worth ? GRADE_ADVICE : GRADE_NOTE, "huge pages",
			"LARDER_HUGE gets none in /dev/shm (shmem_enabled is '%s', "
			"the mount %s huge=)",
			shmem, doctor->shm_is_huge ? "has" : "has no");
	because(doctor, "a get in a large cache takes a TLB miss or two more without them%s", worth ? "" :
			"; up to 64 MiB that is no matter");
	change(doctor, "%smount -o remount,huge=advise /dev/shm%s",
			deny ? "echo never >/sys/kernel/mm/transparent_hugepage/shmem_enabled, and " : "",
			doctor->kernel >= 6001
					? ", then open with LARDER_HUGE"
					: ", before the cache is made: Linux 6.1 is the first to change it later");
}

static void check_huge(struct doctor *doctor)
{
	char *shmem = chosen(host_file(doctor, "/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
	int tried = *doctor->root ? -1 : try_huge();

	if (!shmem) {
		found(doctor, GRADE_NOTE, "huge pages", "this kernel has none for shared memory");
		because(doctor, "a get in a large cache takes a TLB miss or two more without them");
	} else if (tried > 0 || (tried < 0 && allows_huge(doctor, shmem))) {
		found(doctor, GRADE_FINE, "huge pages", "LARDER_HUGE gets them%s", tried > 0 ? " (tried)" : "");
	} else {
		advise_huge(doctor, shmem);
	}
	free(shmem);
}

void doctor_memory(struct doctor *doctor)
{
	check_ram(doctor);
	check_shm(doctor);
	check_group(doctor);
	check_huge(doctor);
}
