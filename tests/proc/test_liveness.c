/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is alive: killed, stopped, forked, exec'd, and in a PID namespace of its own.  A slot is its process's until the
 * kernel has ended that process, and not a moment longer.
 */
#include "scene.h"

#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define NO_SLOT_YET UINT32_MAX

/* What a child tells its test, in memory that both see. */
struct report {
	volatile uint32_t slot;
	volatile uint32_t second;
	volatile uint32_t fault;
};

static struct report *report_make(void)
{
	struct report *r = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(r, MAP_FAILED);
	r->slot = r->second = NO_SLOT_YET;
	return r;
}

static bool reported(volatile uint32_t *slot)
{
	for (int64_t end = scene_now_ms() + SCENE_WAIT_MS; scene_now_ms() < end; sleep_us(200))
		if (*slot != NO_SLOT_YET)
			return true;
	return false;
}

static uint32_t join_or_exit(struct handle *h)
{
	struct worker *w;

	if (handle_join(h, &w) != LARDER_OK)
		_exit(201);
	return w->slot_plus_1 - 1;
}

static uint32_t enter_or_exit(const char *path, struct handle *h)
{
	struct larder_options o = small_cache();

	if (handle_open(h, path, &o) != LARDER_OK)
		_exit(200);
	return join_or_exit(h);
}

static bool dies(struct region *r, uint32_t slot)
{
	for (int64_t last = scene_now_ms() + SCENE_WAIT_MS; participant_alive(r, slot) && scene_now_ms() < last;)
		sleep_us(500);
	return !participant_alive(r, slot);
}

/* A child that opens the cache, joins, names something in its hazards, and stays. */
static pid_t stay(const char *path, struct report *r)
{
	struct handle h;
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child != 0)
		return child;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	uint32_t slot = enter_or_exit(path, &h);
	store_seq_cst(&region_participant(&h.region, slot)->hazard[HAZARD_READ], 123);
	r->slot = slot;
	for (;;)
		(void)pause();
}

static void end(pid_t child)
{
	cr_assert_gt(child, 0);
	(void)kill(child, SIGKILL);
	cr_assert_eq(child_result(child), -SIGKILL);
}

/* ---- Killed and stopped ------------------------------------------------------------------------------------------------ */

Test(liveness, a_killed_process_is_dead_at_once_and_its_hazards_can_be_taken)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("killed");
	struct handle h;

	assert_ok(handle_open(&h, path, &o));
	for (int i = 0; i < 100; i++) { /* many more than there are slots: none is lost */
		struct report *r = report_make();
		pid_t child = stay(path, r);
		cr_assert(reported(&r->slot));
		cr_assert(participant_alive(&h.region, r->slot));
		cr_assert_not(participant_bury(&h.region, r->slot));
		cr_assert_eq(load_seq_cst(&region_participant(&h.region, r->slot)->hazard[HAZARD_READ]), 123);
		end(child);
		cr_assert_not(participant_alive(&h.region, r->slot));
		cr_assert(participant_bury(&h.region, r->slot));
		cr_assert_eq(load_seq_cst(&region_participant(&h.region, r->slot)->hazard[HAZARD_READ]), 0);
	}
	scene_leave(path, &h);
}

Test(liveness, a_stopped_process_is_alive)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("stopped");
	struct report *r = report_make();
	struct handle h;
	int status;

	assert_ok(handle_open(&h, path, &o));
	pid_t child = stay(path, r);
	cr_assert(reported(&r->slot));
	cr_assert_eq(kill(child, SIGSTOP), 0);
	cr_assert_eq(waitpid(child, &status, WUNTRACED), child);
	cr_assert(participant_alive(&h.region, r->slot));
	cr_assert_not(participant_bury(&h.region, r->slot));
	end(child);
	cr_assert_not(participant_alive(&h.region, r->slot));
	scene_leave(path, &h);
}

Test(liveness, sixteen_processes_take_sixteen_slots_and_the_next_gets_that_of_a_dead_one)
{
	enum { SLOTS = 16 };
	struct larder_options o = small_cache();
	const char *path = scene_path("sixteen");
	struct report *r[SLOTS];
	pid_t child[SLOTS];
	struct worker *w;
	struct handle h;

	assert_ok(handle_open(&h, path, &o));
	for (int i = 0; i < SLOTS; i++)
		child[i] = stay(path, r[i] = report_make());
	for (int i = 0; i < SLOTS; i++) {
		cr_assert(reported(&r[i]->slot));
		for (int j = 0; j < i; j++)
			cr_assert_neq(r[i]->slot, r[j]->slot);
	}
	cr_assert_eq(handle_join(&h, &w), LARDER_NO_SLOT);
	end(child[7]);
	assert_ok(handle_join(&h, &w));
	cr_assert_eq(w->slot_plus_1 - 1, r[7]->slot);
	cr_assert_eq(load_seq_cst(&w->self->hazard[HAZARD_READ]), 0, "it took over what the dead one named");
	for (int i = 0; i < SLOTS; i++)
		if (i != 7)
			end(child[i]);
	scene_leave(path, &h);
}

/* ---- Forked ---------------------------------------------------------------------------------------------------------------- */

Test(liveness, a_forked_child_has_a_slot_of_its_own_and_clean_hands)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("forked");
	struct handle h;
	struct worker *w, *mine;

	scene_enter(path, &o, &h, &w);
	uint32_t slot = w->slot_plus_1 - 1;
	w->tail[17] = 42;
	store_hint(&w->pins_used, 3);
	store_hint(&w->self->pin[0], 9);
	pid_t child = fork();
	if (child == 0) {
		if (crew_find(h.crew, slot, 1) != NULL)
			_exit(1); /* a pin of the parent's can be released here */
		if (handle_join(&h, &mine) != LARDER_OK)
			_exit(2);
		if (mine->slot_plus_1 - 1 == slot || load_hint(&mine->pins_used) != 0 || mine->tail[17] != 0)
			_exit(3);
		if (!participant_alive(&h.region, slot) || !participant_alive(&h.region, mine->slot_plus_1 - 1))
			_exit(4);
		if (participant_bury(&h.region, slot))
			_exit(5);
		handle_close(&h);
		_exit(0);
	}
	cr_assert_eq(child_result(child), 0);
	cr_assert(participant_alive(&h.region, slot), "the child's end took the parent's slot");
	cr_assert_eq(load_hint(&w->self->pin[0]), 9);
	cr_assert(w->tail[17] == 42 && load_hint(&w->pins_used) == 3 && w->slot_plus_1 == slot + 1);
	scene_leave(path, &h);
}

/* Opens, joins, forks a child that stays (and joins, if it is to), and is killed. */
static void parent_dies_child_lives(bool child_joins, uint32_t slots_alive_then)
{
	struct larder_options o = small_cache();
	const char *path = scene_path(child_joins ? "orphan-joined" : "orphan");
	struct report *r = report_make();
	struct handle watcher;
	struct gate quit = gate_make();

	assert_ok(handle_open(&watcher, path, &o));
	pid_t parent = fork();
	if (parent == 0) {
		struct handle h;
		r->slot = enter_or_exit(path, &h);
		if (fork() == 0) {
			r->second = child_joins ? join_or_exit(&h) : 0;
			(void)gate_pass(&quit);
			_exit(0);
		}
		for (;;)
			(void)pause();
	}
	cr_assert(reported(&r->slot) && reported(&r->second));
	cr_assert(participant_alive(&watcher.region, r->slot));
	end(parent);
	cr_assert_not(participant_alive(&watcher.region, r->slot), "a child prolongs its parent's life");
	uint32_t alive = 0;
	for (uint32_t i = 0; i < watcher.region.geo.participants; i++)
		alive += participant_alive(&watcher.region, i);
	cr_assert_eq(alive, slots_alive_then);
	gate_open(&quit, 1);
	scene_leave(path, &watcher);
}

Test(liveness, a_child_that_never_used_the_cache_does_not_keep_its_dead_parents_slot) { parent_dies_child_lives(false, 0); }
Test(liveness, a_child_that_uses_the_cache_keeps_its_own_slot_only) { parent_dies_child_lives(true, 1); }

static volatile bool forking;

static void *open_and_close(void *path)
{
	struct larder_options o = small_cache();
	struct worker *w;
	struct handle h;

	while (forking) {
		if (handle_open(&h, path, &o) != LARDER_OK || handle_join(&h, &w) != LARDER_OK)
			return (void *)1;
		handle_close(&h);
	}
	return NULL;
}

/* Children forked at any moment of an open, a join or a close, and living on. */
Test(liveness, a_fork_at_any_moment_of_another_threads_open_keeps_no_slot, .timeout = 60)
{
	enum { CHILDREN = 150, THREADS = 3 };
	struct larder_options o = small_cache();
	const char *path = scene_path("fork-race");
	struct gate quit = gate_make();
	pthread_t thread[THREADS];
	pid_t child[CHILDREN];
	struct handle h;
	void *fault;

	assert_ok(handle_open(&h, path, &o));
	forking = true;
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, open_and_close, (void *)(uintptr_t)path), 0);
	for (int i = 0; i < CHILDREN; i++) {
		if ((child[i] = fork()) == 0) {
			(void)gate_pass(&quit);
			_exit(0);
		}
		sleep_us(300);
	}
	forking = false;
	for (int i = 0; i < THREADS; i++) {
		cr_assert_eq(pthread_join(thread[i], &fault), 0);
		cr_assert_null(fault);
	}
	for (uint32_t i = 0; i < h.region.geo.participants; i++)
		cr_assert_not(participant_alive(&h.region, i), "slot %u is held by a child that never joined", i);
	gate_open(&quit, CHILDREN);
	for (int i = 0; i < CHILDREN; i++)
		cr_assert_eq(child_result(child[i]), 0);
	scene_leave(path, &h);
}

static void *come_and_go(void *handle)
{
	struct worker *w;

	(void)handle_join(handle, &w);
	return NULL;
}

Test(liveness, children_of_a_threaded_process_can_use_the_cache, .timeout = 60)
{
	enum { CHILDREN = 150 };
	struct larder_options o = small_cache();
	const char *path = scene_path("threaded-fork");
	struct handle h;
	pthread_t thread;

	if (SCENE_SANITIZED)
		cr_skip_test("a sanitizer's allocator may be locked by the other thread at the fork, and stays so in the child");
	o.participants = 64;
	assert_ok(handle_open(&h, path, &o));
	for (int i = 0; i < CHILDREN; i++) {
		cr_assert_eq(pthread_create(&thread, NULL, come_and_go, &h), 0);
		pid_t child = fork();
		if (child == 0) {
			uint32_t slot = join_or_exit(&h);
			if (!participant_alive(&h.region, slot))
				_exit(1);
			if (pthread_create(&thread, NULL, come_and_go, &h) != 0 || pthread_join(thread, NULL) != 0)
				_exit(2);
			pid_t grandchild = fork();
			if (grandchild == 0)
				_exit(join_or_exit(&h) == slot ? 3 : 0);
			_exit(child_result(grandchild));
		}
		cr_assert_eq(pthread_join(thread, NULL), 0);
		cr_assert_eq(child_result(child), 0);
	}
	scene_leave(path, &h);
}

Test(liveness, a_child_that_gives_up_its_rights_and_its_root_can_still_use_the_cache)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("dropped");
	struct handle h;

	if (geteuid() != 0)
		cr_skip("needs root");
	assert_ok(handle_open(&h, path, &o));
	pid_t child = fork();
	if (child == 0) {
		if (chroot("/proc/self/fdinfo") != 0 || chdir("/") != 0 || setresgid(65534, 65534, 65534) != 0
				|| setresuid(65534, 65534, 65534) != 0)
			_exit(1);
		uint32_t slot = join_or_exit(&h);
		_exit(participant_alive(&h.region, slot) ? 0 : 2);
	}
	cr_assert_eq(child_result(child), 0);
	scene_leave(path, &h);
}

Test(liveness, a_child_of_a_process_that_closed_everything_can_still_use_the_cache)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("daemon");
	struct report *r = report_make();
	struct handle watcher;

	assert_ok(handle_open(&watcher, path, &o));
	/* As daemons do it: open, fork, the parent ends, the child closes all there is. */
	pid_t parent = fork();
	if (parent == 0) {
		struct handle h;
		(void)enter_or_exit(path, &h);
		if (fork() != 0)
			_exit(0);
		for (int fd = 0; fd < 256; fd++)
			(void)close(fd);
		uint32_t slot = join_or_exit(&h);
		for (int fd = 3; fd < 256; fd++)
			(void)close(fd);
		r->fault = !participant_alive(&h.region, slot) || h.region.probe_fd < 3;
		r->slot = slot;
		while (r->second == NO_SLOT_YET)
			sleep_us(500);
		handle_close(&h);
		_exit(0);
	}
	cr_assert_eq(child_result(parent), 0);
	cr_assert(reported(&r->slot));
	cr_assert_eq(r->fault, 0);
	cr_assert(participant_alive(&watcher.region, r->slot), "closing everything dropped the slot");
	r->second = 0;
	cr_assert(dies(&watcher.region, r->slot));
	scene_leave(path, &watcher);
}

/* ---- Exec'd ------------------------------------------------------------------------------------------------------------------- */

Test(liveness, exec_ends_a_participant_though_the_process_lives_on)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("exec");
	struct report *r = report_make();
	struct handle watcher;

	assert_ok(handle_open(&watcher, path, &o));
	pid_t child = fork();
	if (child == 0) {
		struct handle h;
		r->slot = enter_or_exit(path, &h);
		while (r->second == NO_SLOT_YET)
			sleep_us(500);
		(void)execl("/bin/sleep", "sleep", "60", (char *)NULL);
		_exit(1);
	}
	cr_assert(reported(&r->slot));
	cr_assert(participant_alive(&watcher.region, r->slot));
	r->second = 0;
	cr_assert(dies(&watcher.region, r->slot));
	cr_assert_eq(kill(child, 0), 0);
	end(child);
	scene_leave(path, &watcher);
}

Test(liveness, a_spawned_program_does_not_keep_the_slot_of_the_one_that_spawned_it)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("spawn");
	struct report *r = report_make();
	struct handle watcher;

	assert_ok(handle_open(&watcher, path, &o));
	pid_t child = fork();
	if (child == 0) {
		char *const sleeps[] = { "sleep", "5", NULL };
		struct handle h;
		pid_t spawned;
		uint32_t slot = enter_or_exit(path, &h);
		if (posix_spawn(&spawned, "/bin/sleep", NULL, NULL, sleeps, NULL) != 0)
			_exit(1);
		r->second = (uint32_t)spawned;
		r->slot = slot;
		for (;;)
			(void)pause();
	}
	cr_assert(reported(&r->slot));
	end(child);
	cr_assert(dies(&watcher.region, r->slot)); /* posix_spawn() may return before the exec has closed what it closes */
	cr_assert_eq(kill((pid_t)r->second, SIGKILL), 0, "the spawned program was gone too early for this test");
	scene_leave(path, &watcher);
}

/* ---- PID namespaces ------------------------------------------------------------------------------------------------------------- */

/* A container: its process 1 opens the cache and stays, and ends with the one that is returned. */
static pid_t contain(const char *path, struct report *r)
{
	pid_t outside = fork();

	cr_assert_geq(outside, 0);
	if (outside != 0)
		return outside;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWPID) != 0)
		r->fault = r->slot = 0;
	else
		(void)stay(path, r);
	for (;;)
		(void)pause();
}

/* Two containers that share /dev/shm: process 1 in each. */
Test(liveness, processes_of_the_same_number_in_two_pid_namespaces_are_told_apart)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("pidns");
	struct report *r[2] = { report_make(), report_make() };
	pid_t child[2];
	struct handle h;

	assert_ok(handle_open(&h, path, &o));
	for (int i = 0; i < 2; i++) {
		r[i]->fault = 1;
		child[i] = contain(path, r[i]);
		cr_assert(reported(&r[i]->slot));
	}
	bool permitted = r[0]->fault != 0 && r[1]->fault != 0;
	const struct shm_participant *p[2] = { region_participant(&h.region, r[0]->slot), region_participant(&h.region, r[1]->slot) };
	if (permitted) {
		cr_assert(load_hint(&p[0]->pid) == 1 && load_hint(&p[1]->pid) == 1, "%lu, %lu", load_hint(&p[0]->pid), load_hint(&p[1]->pid));
		cr_assert(participant_alive(&h.region, r[0]->slot) && participant_alive(&h.region, r[1]->slot));
	}
	end(child[0]);
	cr_assert(!permitted || dies(&h.region, r[0]->slot));
	cr_assert(!permitted || participant_alive(&h.region, r[1]->slot));
	end(child[1]);
	cr_assert(!permitted || dies(&h.region, r[1]->slot));
	scene_leave(path, &h);
	if (!permitted)
		cr_skip("no PID namespaces for this user here");
}
