/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files that are no cache, and caches that are not ours to use.  Each is refused in words, within a moment, and is the
 * same byte for byte afterwards.
 */
#include "../proc/scene.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "base/hash.h"

enum { WHOLE = 1 << 20 };

static const uint32_t ways_in[] = { 0, LARDER_ATTACH_ONLY, LARDER_INSPECT, LARDER_EXCLUSIVE, LARDER_PREFAULT | LARDER_GUARD };

static enum larder_status try_open(const char *path, uint32_t flags)
{
	struct larder_options o = small_cache();
	struct region r;

	message_set("nothing");
	o.flags = flags;
	enum larder_status status = region_open(&r, path, &o);
	if (status == LARDER_OK)
		region_close(&r);
	return status;
}

/* Refused whichever way it is opened, and by destroy if it must not touch it either; the message has `text` in it. */
static void assert_refused(const char *path, const char *text, bool destroyed_too)
{
	for (size_t i = 0; i < sizeof ways_in / sizeof *ways_in; i++) {
		cr_assert_eq(try_open(path, ways_in[i]), LARDER_MISMATCH, "flags %#x: %s", ways_in[i], larder_message());
		cr_assert(strstr(larder_message(), text) != NULL, "\"%s\" does not say \"%s\"", larder_message(), text);
		cr_assert(strstr(larder_message(), path) != NULL && strstr(larder_message(), "expected") != NULL, "%s", larder_message());
	}
	if (destroyed_too)
		cr_assert_eq(region_destroy(path), LARDER_MISMATCH, "%s", larder_message());
}

/* ---- No regular file ------------------------------------------------------------------------------------------------ */

Test(foreign, a_fifo_is_refused_without_waiting_for_its_other_end, .timeout = 20)
{
	const char *path = scene_path("fifo");

	cr_assert_eq(mkfifo(path, 0600), 0);
	assert_refused(path, "a fifo", true);
	cr_assert_eq(unlink(path), 0);
}

Test(foreign, a_directory_is_refused)
{
	const char *path = scene_path("directory");

	cr_assert_eq(mkdir(path, 0700), 0);
	assert_refused(path, "a directory", true);
	cr_assert_eq(rmdir(path), 0);
}

Test(foreign, a_socket_is_refused)
{
	const char *path = scene_path("socket");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_refused(path, "a socket", true);
	cr_assert_eq(unlink(path), 0);
}

Test(foreign, a_device_is_refused)
{
	assert_refused("/dev/null", "a device", true);
	assert_refused("/dev/zero", "a device", true);
}

Test(foreign, a_symbolic_link_is_refused_even_to_a_good_cache)
{
	char cache[128], link[128];

	(void)snprintf(cache, sizeof cache, "%s", scene_path("link-target"));
	(void)snprintf(link, sizeof link, "%s", scene_path("link"));
	cr_assert_eq(try_open(cache, 0), LARDER_OK);
	cr_assert_eq(symlink(cache, link), 0);
	assert_refused(link, "a symbolic link", true);
	cr_assert_eq(unlink(link), 0);
	cr_assert_eq(symlink("/dev/shm/larder.test-no-such-thing", link), 0);
	assert_refused(link, "a symbolic link", true);
	cr_assert_neq(access("/dev/shm/larder.test-no-such-thing", F_OK), 0, "created through a link");
	cr_assert_eq(unlink(link), 0);
	assert_ok(region_destroy(cache));
}

/* ---- Other files ---------------------------------------------------------------------------------------------------------- */

static void write_whole(const char *path, const void *bytes, size_t count)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && write(fd, bytes, count) == (ssize_t)count && close(fd) == 0);
}

static size_t read_whole(const char *path, unsigned char *bytes, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, bytes, room);

	cr_assert(fd >= 0 && n >= 0 && close(fd) == 0);
	return (size_t)n;
}

static _Alignas(LINE_BYTES) unsigned char good[WHOLE], bytes[WHOLE], after[WHOLE + 1];

static void make_good(const char *path)
{
	cr_assert_eq(try_open(path, 0), LARDER_OK, "%s", larder_message());
	cr_assert_eq(read_whole(path, good, sizeof good), WHOLE);
	memcpy(bytes, good, sizeof good);
}

static void assert_refused_and_unchanged(const char *path, size_t count, const char *text, bool destroyed_too)
{
	write_whole(path, bytes, count);
	assert_refused(path, text, destroyed_too);
	cr_assert_eq(read_whole(path, after, sizeof after), count, "its size was changed");
	cr_assert_eq(memcmp(bytes, after, count), 0, "it was written to");
}

Test(foreign, files_of_other_programs_are_refused_and_left_as_they_are)
{
	const char *path = scene_path("other");

	memset(bytes, 'x', sizeof bytes);
	assert_refused_and_unchanged(path, 0, "0 bytes", true);
	assert_refused_and_unchanged(path, 7, "7 bytes", true);
	assert_refused_and_unchanged(path, 8, "another program's file", true);
	assert_refused_and_unchanged(path, WHOLE, "another program's file", true);
	memset(bytes, 0, sizeof bytes);
	assert_refused_and_unchanged(path, WHOLE, "another program's file", true);
	cr_assert_eq(unlink(path), 0);
}

Test(foreign, a_cache_cut_short_anywhere_is_refused)
{
	const char *path = scene_path("short");

	make_good(path);
	for (size_t count = 1; count < WHOLE; count = count * 5 / 3 + 1)
		assert_refused_and_unchanged(path, count, count < sizeof(struct shm_super) ? "bytes" : "truncated", count < sizeof(struct shm_super));
	assert_refused_and_unchanged(path, WHOLE - 4096, "truncated", false);
	cr_assert_eq(unlink(path), 0);
}

Test(foreign, a_cache_that_has_grown_is_refused)
{
	const char *path = scene_path("long");

	make_good(path);
	cr_assert_eq(truncate(path, WHOLE + 4096), 0);
	assert_refused(path, "truncated or extended", false);
	assert_ok(region_destroy(path));
}

static struct shm_super *super_of(unsigned char *file) { return (struct shm_super *)(void *)file; }

Test(foreign, another_layout_version_is_named_and_left_alone_by_destroy)
{
	const char *path = scene_path("version");
	char text[64];

	make_good(path);
	super_of(bytes)->layout_version = LAYOUT_VERSION + 1;
	(void)snprintf(text, sizeof text, "layout version %u, expected %u", LAYOUT_VERSION + 1, LAYOUT_VERSION);
	assert_refused_and_unchanged(path, WHOLE, text, true);
	super_of(bytes)->layout_version = 0;
	(void)snprintf(text, sizeof text, "layout version 0, expected %u", LAYOUT_VERSION);
	assert_refused_and_unchanged(path, WHOLE, text, true);
	cr_assert_eq(unlink(path), 0);
}

Test(foreign, unknown_features_are_refused)
{
	const char *path = scene_path("features");

	make_good(path);
	for (int bit = 2; bit < 32; bit++) {
		super_of(bytes)->features = super_of(good)->features | 1u << bit;
		assert_refused_and_unchanged(path, WHOLE, "features", false);
	}
	/* Known ones, but not those that it was created with. */
	super_of(bytes)->features = super_of(good)->features ^ FEATURE_CHECKSUM;
	assert_refused_and_unchanged(path, WHOLE, "damaged header", false);
	super_of(bytes)->features = super_of(good)->features ^ FEATURE_STAMPS;
	assert_refused_and_unchanged(path, WHOLE, "damaged header", false);
	cr_assert_eq(unlink(path), 0);
}

Test(foreign, every_flipped_bit_of_the_geometry_is_noticed)
{
	const char *path = scene_path("flipped");

	make_good(path);
	for (size_t bit = 0; bit < (offsetof(struct shm_super, geometry) + sizeof(struct shm_geometry)) * 8; bit++) {
		memcpy(bytes, good, sizeof(struct shm_super));
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		cr_assert(pwrite(fd, bytes, sizeof(struct shm_super), 0) == sizeof(struct shm_super) && close(fd) == 0);
		cr_assert_eq(try_open(path, 0), LARDER_MISMATCH, "bit %zu of byte %zu", bit % 8, bit / 8);
	}
	cr_assert_eq(unlink(path), 0);
}

static void sign_again(unsigned char *file)
{
	struct shm_super *s = super_of(file);

	s->geometry_sum = hash_bytes(&s->geometry, sizeof s->geometry, 0);
}

/* A sum proves nothing: who writes a hostile geometry writes its sum, too. */
Test(foreign, a_hostile_geometry_with_a_right_sum_is_refused_or_harmless)
{
	static const uint64_t values[] = { 0, 1, 4096, UINT64_MAX, UINT64_MAX - 4095, UINT64_C(1) << 63, UINT64_C(1) << 47, INT32_MAX };
	const char *path = scene_path("hostile");
	const size_t first = offsetof(struct shm_super, geometry);

	make_good(path);
	for (size_t field = 0; field < sizeof(struct shm_geometry); field += 4) {
		for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
			memcpy(bytes, good, sizeof(struct shm_super));
			memcpy(bytes + first + field, &values[v], field + 8 <= sizeof(struct shm_geometry) && v % 2 ? 8 : 4);
			sign_again(bytes);
			int fd = open(path, O_WRONLY | O_CLOEXEC);
			cr_assert(pwrite(fd, bytes, sizeof(struct shm_super), 0) == sizeof(struct shm_super) && close(fd) == 0);
			enum larder_status status = try_open(path, 0);
			/* Seed, clocks, mode and the like may be anything. */
			bool decides = field < offsetof(struct shm_geometry, classes) && memcmp(bytes, good, first + sizeof(struct shm_geometry)) != 0;
			struct shm_geometry *now = &super_of(bytes)->geometry, *was = &super_of(good)->geometry;
			bool within_rounding = now->groups != was->groups || now->ghost_words != was->ghost_words || now->value_max_bytes != was->value_max_bytes;
			cr_assert(status == LARDER_MISMATCH || (!decides && status == LARDER_OK) || (within_rounding && status == LARDER_OK),
					"field at %zu, value %#lx: %d", field, values[v], status);
		}
	}
	cr_assert_eq(unlink(path), 0);
}

Test(foreign, a_cache_of_an_earlier_boot_is_refused_and_can_be_destroyed)
{
	const char *path = scene_path("boot");

	make_good(path);
	super_of(bytes)->geometry.boot_id[5] ^= 0x40;
	sign_again(bytes);
	assert_refused_and_unchanged(path, WHOLE, "earlier boot", false);
	cr_assert(strstr(larder_message(), "destroy") != NULL, "%s", larder_message());
	assert_ok(region_destroy(path));
	cr_assert_eq(try_open(path, LARDER_EXCLUSIVE), LARDER_OK);
	assert_ok(region_destroy(path));
}

Test(foreign, a_cache_with_a_damaged_header_can_be_destroyed)
{
	const char *path = scene_path("damaged");

	make_good(path);
	super_of(bytes)->geometry.segments++;
	assert_refused_and_unchanged(path, WHOLE, "damaged header", false);
	assert_ok(region_destroy(path));
	cr_assert_neq(access(path, F_OK), 0);
}

Test(foreign, a_cache_that_may_not_be_read_is_a_system_failure)
{
	const char *path = scene_path("forbidden");

	if (geteuid() != 0)
		cr_skip("needs root to be two users");
	make_good(path);
	pid_t child = fork();
	if (child == 0) {
		if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
			_exit(1);
		if (try_open(path, 0) != LARDER_SYSTEM || errno != EACCES || strstr(larder_message(), path) == NULL)
			_exit(2);
		_exit(try_open(path, LARDER_INSPECT) == LARDER_SYSTEM && region_destroy(path) == LARDER_SYSTEM ? 0 : 3);
	}
	cr_assert_eq(child_result(child), 0);
	assert_ok(region_destroy(path));
}

Test(foreign, random_headers_with_a_right_sum_open_only_to_what_lies_within_the_file, .timeout = 60)
{
	const char *path = scene_path("random");
	unsigned seed = (unsigned)time(NULL);

	cr_log_info("seed %u", seed);
	make_good(path);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	for (int i = 0; i < 20000; i++) {
		memcpy(bytes, good, sizeof(struct shm_super));
		for (int changes = 1 + rand_r(&seed) % 4; changes > 0; changes--)
			bytes[offsetof(struct shm_super, geometry) + (size_t)rand_r(&seed) % sizeof(struct shm_geometry)] = (unsigned char)rand_r(&seed);
		sign_again(bytes);
		cr_assert(pwrite(fd, bytes, sizeof(struct shm_super), 0) == sizeof(struct shm_super));
		struct larder_options o = small_cache();
		struct region r;
		enum larder_status status = region_open(&r, path, &o);
		cr_assert(status == LARDER_OK || status == LARDER_MISMATCH, "%d: %s", status, larder_message());
		if (status != LARDER_OK)
			continue;
		/* The last byte of every area: a fault here is the finding. */
		const struct shm_geometry *g = &r.geo;
		volatile unsigned char *base = r.base;
		(void)(base[(uintptr_t)(region_participant(&r, g->participants) ) - (uintptr_t)r.base - 1]);
		(void)(base[(uintptr_t)(region_namespace(&r, g->namespaces)) - (uintptr_t)r.base - 1]);
		(void)(base[(uintptr_t)(region_segment(&r, g->segments)) - (uintptr_t)r.base - 1]);
		(void)(base[(uintptr_t)(region_starts(&r, g->segments)) - (uintptr_t)r.base - 1]);
		(void)(base[(uintptr_t)(region_ghosts(&r) + g->ghost_words) - (uintptr_t)r.base - 1]);
		(void)(base[(uintptr_t)(region_group(&r, g->groups)) - (uintptr_t)r.base - 1]);
		(void)(base[(uintptr_t)(region_entry(&r, geo_places(g))) - (uintptr_t)r.base - 1]);
		region_close(&r);
	}
	(void)close(fd);
	cr_assert_eq(unlink(path), 0);
}

/* ---- While it changes ------------------------------------------------------------------------------------------------------- */

static void replace_for_ever(const char *path, const char *good_cache)
{
	char other[160];

	(void)snprintf(other, sizeof other, "%s.other", path);
	for (unsigned i = 0;; i++) {
		(void)unlink(other);
		switch (i % 5) {
		case 0: (void)mkfifo(other, 0600); break;
		case 1: (void)symlink(good_cache, other); break;
		case 2: (void)close(open(other, O_CREAT | O_RDWR | O_CLOEXEC, 0600)); break;
		case 3: (void)mknod(other, S_IFSOCK | 0600, 0); break;
		default: (void)try_open(other, 0); break;
		}
		(void)rename(other, path);
		if (i % 7 == 0)
			(void)unlink(path);
	}
}

/* A look, and then an open: what was put there in between must neither hang nor be taken for what was seen. */
Test(foreign, a_name_that_changes_between_look_and_open_never_hangs_or_misleads, .timeout = 60)
{
	char path[128], elsewhere[128], other[160];
	struct larder_options o = small_cache();
	unsigned opened = 0, absent = 0, refused = 0;
	struct region target, r;

	(void)snprintf(path, sizeof path, "%s", scene_path("changing"));
	(void)snprintf(elsewhere, sizeof elsewhere, "%s", scene_path("elsewhere"));
	assert_ok(region_open(&target, elsewhere, &o));
	pid_t child = fork();
	if (child == 0)
		replace_for_ever(path, elsewhere);
	for (int64_t end = scene_now_ms() + 3000; scene_now_ms() < end;) {
		/* Read-only, a fifo is opened at once only without blocking. */
		o.flags = o.flags == LARDER_INSPECT ? LARDER_ATTACH_ONLY : LARDER_INSPECT;
		enum larder_status status = region_open(&r, path, &o);
		cr_assert(status == LARDER_OK || status == LARDER_NO_CACHE || status == LARDER_MISMATCH || status == LARDER_SYSTEM, "%d: %s", status,
				larder_message());
		if (status == LARDER_SYSTEM) /* a socket is opened by nobody */
			cr_assert_eq(errno, ENXIO, "%s", larder_message());
		*(status == LARDER_OK ? &opened : status == LARDER_NO_CACHE ? &absent : &refused) += 1;
		if (status != LARDER_OK)
			continue;
		cr_assert_neq(r.ino, target.ino, "a link was followed");
		region_close(&r);
	}
	(void)kill(child, SIGKILL);
	cr_assert_eq(child_result(child), -SIGKILL);
	cr_log_info("%u opened, %u found nothing, %u refused", opened, absent, refused);
	cr_assert(opened > 0 && absent > 0 && refused > 0);
	region_close(&target);
	assert_ok(region_destroy(elsewhere));
	(void)snprintf(other, sizeof other, "%s.other", path);
	(void)unlink(other);
	(void)unlink(path);
}
