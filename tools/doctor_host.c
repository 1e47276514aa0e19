/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder doctor, the host: kernel, what the process may do, containers, and who removes files of /dev/shm.  What is
 * read from files is read below the root; what only a system call can tell is left out under a root other than "".
 */
#define _GNU_SOURCE
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KERNEL(major, minor) ((major) * 1000u + (minor))
#define UID_FIRST_PERSON 1000u /* systemd's default: those below are system users, whom RemoveIPC spares */

static bool is_this_host(const struct doctor *doctor)
{
	return !*doctor->root;
}

static void check_kernel(struct doctor *doctor)
{
	char *release = host_file(doctor, "/proc/sys/kernel/osrelease");
	unsigned major = 0, minor = 0;

	if (!release || sscanf(release, "%u.%u", &major, &minor) != 2) {
		found(doctor, GRADE_NOTE, "kernel", "its version cannot be read from /proc/sys/kernel/osrelease");
		because(doctor, "some of what follows depends on it and is left out");
		free(release);
		return;
	}
	doctor->kernel = KERNEL(major, minor);
	release[strcspn(release, "\n")] = '\0';
	if (doctor->kernel < KERNEL(4, 14)) {
		found(doctor, GRADE_FAULT, "kernel", "Linux %s; larder wants 4.14 or later", release);
		because(doctor, "without MADV_WIPEONFORK a forked child would clear names that its parent protects");
		change(doctor, "run a kernel of 4.14 or later");
	} else {
		found(doctor, GRADE_FINE, "kernel", "Linux %s", release);
	}
	free(release);
}

/* Whether the kernel has locks that belong to an open file description: liveness rests on them. */
static void check_locks(struct doctor *doctor)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = INT64_C(1) << 62, .l_len = 1 };
	int fd = is_this_host(doctor) ? memfd_create("larder-doctor", MFD_CLOEXEC) : -1;

	if (fd < 0)
		return;
	if (fcntl(fd, F_OFD_SETLK, &lock)) {
		found(doctor, GRADE_FAULT, "locks", "open file description locks do not work: %s", strerror(errno));
		because(doctor, "they are how a dead participant is told from a living one");
		change(doctor,
				"allow fcntl(F_OFD_SETLK) in the seccomp profile, or leave the emulation (gVisor) that "
				"lacks it");
	} else {
		found(doctor, GRADE_FINE, "locks", "open file description locks work");
	}
	close(fd);
}

static void check_membarrier(struct doctor *doctor)
{
	if (!is_this_host(doctor))
		return;
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0);
	if (commands < 0) {
		found(doctor, GRADE_NOTE, "membarrier", "the system call is not to be had here: %s", strerror(errno));
		because(doctor,
				"larder itself does without it; liburcu, which its manager uses, falls back to fences "
				"in readers");
		change(doctor, "allow membarrier in the container's seccomp profile");
	} else if (!(commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED)) {
		found(doctor, GRADE_NOTE, "membarrier", "there is no private expedited membarrier (Linux 4.14 has it)");
		because(doctor,
				"larder itself does without it; liburcu, which its manager uses, falls back to fences "
				"in readers");
	} else {
		found(doctor, GRADE_FINE, "membarrier", "private expedited membarrier is there");
	}
}

/* ---- /proc ---- */

/* Options of the mount at exactly `where` (its own and its file system's, joined by a comma), for free(); NULL if there
 * is none.  *type, 32 bytes, is the file system's.  A later line covers an earlier one. */
static char *mount_options(const struct doctor *doctor, const char *where, char *type)
{
	char *mounts = host_file(doctor, "/proc/self/mountinfo"), *options = NULL, *rest = mounts;

	for (char *line; rest && (line = strsep(&rest, "\n"));) {
		char point[256], own[512], super[512] = "", kind[32];
		const char *dash = strstr(line, " - ");
		if (sscanf(line, "%*s %*s %*s %*s %255s %511s", point, own) != 2 || strcmp(point, where) || !dash ||
				sscanf(dash, " - %31s %*s %511s", kind, super) < 1)
			continue;
		free(options);
		if (asprintf(&options, "%s,%s", own, super) < 0)
			options = NULL;
		memcpy(type, kind, sizeof kind);
	}
	free(mounts);
	return options;
}

/* The value of `name` in comma-separated options, "" for a bare word; NULL if it is not among them. */
static const char *mount_option(const char *options, const char *name)
{
	static char value[64];
	size_t length = strlen(name);

	for (const char *at = options; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		if (strncmp(at, name, length) || (at[length] && at[length] != ',' && at[length] != '='))
			continue;
		const char *from = at + length + (at[length] == '=');
		snprintf(value, sizeof value, "%.*s", (int)strcspn(from, ","), from);
		return value;
	}
	return NULL;
}

static void check_proc(struct doctor *doctor)
{
	char type[32], *options = mount_options(doctor, "/proc", type);

	if (!options) {
		found(doctor, GRADE_ADVICE, "/proc", "it is not mounted");
		because(doctor,
				"a cache is then reopened in a forked child by its path alone, and a stopped process "
				"cannot be "
				"told from a running one");
		change(doctor, "mount -t proc proc /proc");
		return;
	}
	const char *hidden = mount_option(options, "hidepid");
	if (hidden && strcmp(hidden, "0") && strcmp(hidden, "off")) {
		found(doctor, GRADE_NOTE, "/proc", "mounted with hidepid=%s", hidden);
		because(doctor,
				"'larder info' and 'larder top' show processes of other users as alive even if they "
				"are stopped");
		change(doctor, "mount -o remount,gid=GROUP /proc, with the group of those who operate the cache");
	} else if (mount_option(options, "ro")) {
		found(doctor, GRADE_NOTE, "/proc", "mounted read-only");
		because(doctor,
				"larder only reads it; but what is to be changed under /proc/sys or /sys has to be "
				"changed on "
				"the host, outside of this container");
	} else {
		found(doctor, GRADE_FINE, "/proc", "mounted");
	}
	free(options);
}

/* ---- /dev/shm: what kind of file system (its room is looked at with the memory) ---- */

static void advise_mount(struct doctor *doctor, const char *fault)
{
	found(doctor, GRADE_FAULT, "/dev/shm mount", "%s", fault);
	because(doctor, "caches live in /dev/shm: none can be made or used there");
	change(doctor,
			"mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm; in a container give it --shm-size or "
			"--ipc");
}

static void check_mount(struct doctor *doctor)
{
	char type[32], *options = mount_options(doctor, "/dev/shm", type);

	if (!options) {
		advise_mount(doctor, "nothing is mounted there");
		return;
	}
	doctor->shm_is_tmpfs = !strcmp(type, "tmpfs") || !strcmp(type, "ramfs") || !strcmp(type, "hugetlbfs");
	const char *huge = mount_option(options, "huge");
	doctor->shm_is_huge = huge && strcmp(huge, "never");
	if (!doctor->shm_is_tmpfs) {
		char text[80];
		snprintf(text, sizeof text, "it is a %s, and no tmpfs", type);
		advise_mount(doctor, text);
	} else if (mount_option(options, "ro")) {
		advise_mount(doctor, "it is mounted read-only");
	} else {
		found(doctor, GRADE_FINE, "/dev/shm mount", "%s, %s", type,
				doctor->shm_is_huge ? "with huge pages" : "without huge pages");
	}
	free(options);
}

/* ---- Containers ---- */

/* The kind of container this is, or NULL. */
static const char *container_kind(const struct doctor *doctor)
{
	static const struct { const char *path, *kind;
	} marks[] = {
		{ "/.dockerenv", "Docker" },
		{ "/run/.containerenv", "Podman" },
		{ "/run/secrets/kubernetes.io", "Kubernetes" },
		{ "/run/systemd/container", "a container of systemd's knowing" },
	};

	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
		char *path = host_path(doctor, marks[i].path);
		bool there = path && !access(path, F_OK);
		free(path);
		if (there)
			return marks[i].kind;
	}
	return NULL;
}

static void check_container(struct doctor *doctor)
{
	const char *kind = container_kind(doctor);

	doctor->container = kind != NULL;
	if (!kind) {
		found(doctor, GRADE_FINE, "container", "none");
		return;
	}
	found(doctor, GRADE_NOTE, "container", "this is %s", kind);
	because(doctor,
			"a container has a /dev/shm of its own: processes outside of it, or in another one, do not see "
			"its caches");
	change(doctor,
			"to share caches: docker run --ipc=shareable for the first and --ipc=container:NAME for the "
			"others, or "
			"one volume of type tmpfs; Kubernetes: an emptyDir with medium: Memory at /dev/shm");
}

/* ---- Limits of the process ---- */

/* The soft limit of a line of /proc/self/limits; UINT64_MAX: none.  False: the line is not there. */
static bool soft_limit(const char *limits, const char *name, uint64_t *value)
{
	const char *line = limits ? strstr(limits, name) : NULL;

	if (!line)
		return false;
	line += strlen(name);
	line += strspn(line, " ");
	*value = *line == 'u' ? UINT64_MAX : strtoull(line, NULL, 10);
	return true;
}

static bool may_lock_memory(const struct doctor *doctor)
{
	char *status = host_file(doctor, "/proc/self/status");
	const char *line = status ? strstr(status, "CapEff:") : NULL;
	uint64_t capabilities = line ? strtoull(line + 7, NULL, 16) : 0;

	free(status);
	return capabilities >> 14 & 1; /* CAP_IPC_LOCK */
}

static void check_locked_memory(struct doctor *doctor, const char *limits)
{
	uint64_t bytes;
	char limit[TEXT_MAX], wanted[TEXT_MAX];

	if (!soft_limit(limits, "Max locked memory", &bytes))
		return;
	uint64_t want = doctor->cache_bytes ? doctor->cache_bytes : UINT64_C(64) << 20;
	if (bytes >= want || may_lock_memory(doctor)) {
		found(doctor, GRADE_FINE, "locked memory", "LARDER_LOCK can lock %s",
				bytes == UINT64_MAX             ? "any cache"
						: bytes >= want ? text_size(bytes, limit)
								: "any cache (CAP_IPC_LOCK)");
		return;
	}
	found(doctor, GRADE_NOTE, "locked memory", "RLIMIT_MEMLOCK is %s", text_size(bytes, limit));
	because(doctor, "opening a cache of %s with LARDER_LOCK fails; without that flag it does not matter",
			text_size(want, wanted));
	change(doctor, "LimitMEMLOCK=infinity in the unit, 'ulimit -l unlimited', or docker run --ulimit memlock=-1");
}

static void check_limits(struct doctor *doctor)
{
	char *limits = host_file(doctor, "/proc/self/limits"), text[TEXT_MAX];
	uint64_t files, file_bytes;

	check_locked_memory(doctor, limits);
	if (soft_limit(limits, "Max open files", &files)) {
		found(doctor, files < 256 ? GRADE_ADVICE : GRADE_FINE, "open files", "a process may have %" PRIu64,
				files);
		if (files < 256) {
			because(doctor,
					"each open cache takes two descriptors, and a forked child needs two more for "
					"a moment; "
					"without them its calls answer LARDER_SYSTEM");
			change(doctor, "LimitNOFILE=1024 in the unit, or 'ulimit -n 1024'");
		}
	}
	uint64_t want = doctor->cache_bytes ? doctor->cache_bytes : UINT64_C(64) << 20;
	if (soft_limit(limits, "Max file size", &file_bytes) && file_bytes < want) {
		found(doctor, GRADE_ADVICE, "file size", "RLIMIT_FSIZE is %s", text_size(file_bytes, text));
		because(doctor, "a cache is a file: none larger than that can be made here");
		change(doctor, "'ulimit -f unlimited', or LimitFSIZE=infinity in the unit");
	}
	free(limits);
}

/* ---- systemd ---- */

/* The last RemoveIPC= of a text, into *removes. */
static void read_remove_ipc(const char *text, bool *removes)
{
	for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		line += strspn(line, " \t\n");
		if (strncmp(line, "RemoveIPC=", 10))
			continue;
		char value = line[10];
		bool on = line[11] == 'n';
		*removes = value == 'y' || value == 'Y' || value == '1' || value == 't' || value == 'T' ||
				(value == 'o' && on);
	}
}

/* Reads logind.conf and then the drop-ins, as systemd does: later ones override, and /etc overrides /usr/lib. */
static bool removes_ipc(const struct doctor *doctor)
{
	static const char *const patterns[] = {
		"/usr/lib/systemd/logind.conf", "/etc/systemd/logind.conf", "/usr/lib/systemd/logind.conf.d/*.conf",
		"/run/systemd/logind.conf.d/*.conf", "/etc/systemd/logind.conf.d/*.conf",
	};
	bool removes = true; /* systemd's own default */

	for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
		glob_t names = { 0 };
		char *pattern = host_path(doctor, patterns[i]);
		if (pattern && !glob(pattern, 0, NULL, &names))
			for (size_t j = 0; j < names.gl_pathc; j++) {
				char *text = host_file(doctor, names.gl_pathv[j] + strlen(doctor->root));
				read_remove_ipc(text, &removes);
				free(text);
			}
		globfree(&names);
		free(pattern);
	}
	return removes;
}

static void check_remove_ipc(struct doctor *doctor)
{
	char *path = host_path(doctor, "/run/systemd/system");
	bool systemd = path && !access(path, F_OK);

	free(path);
	if (!systemd) {
		found(doctor, GRADE_FINE, "RemoveIPC", "systemd does not run here; nobody removes files of /dev/shm");
		return;
	}
	if (!removes_ipc(doctor)) {
		found(doctor, GRADE_FINE, "RemoveIPC", "logind leaves files of /dev/shm alone");
		return;
	}
	bool person = doctor->owner >= UID_FIRST_PERSON;
	found(doctor, person ? GRADE_FAULT : GRADE_NOTE, "RemoveIPC",
			"logind removes what a user has in /dev/shm when the "
			"user's last session ends%s",
			person ? "" : "; system users are spared");
	because(doctor, "%s user %u: %s", doctor->cache_bytes ? "the cache belongs to" : "this is", doctor->owner,
			person ? "its name goes at log-out; those who are attached keep it, those who come later make "
				 "a second one"
			       : "no loss there, but a cache that a person makes goes at log-out");
	change(doctor, "'RemoveIPC=no' in /etc/systemd/logind.conf.d/larder.conf under [Login] and 'systemctl restart "
			"systemd-logind'; or let a system user (a service with User=) make the cache");
}

void doctor_host(struct doctor *doctor)
{
	check_kernel(doctor);
	check_locks(doctor);
	check_membarrier(doctor);
	check_proc(doctor);
	check_mount(doctor);
	check_container(doctor);
	check_limits(doctor);
	check_remove_ipc(doctor);
}
