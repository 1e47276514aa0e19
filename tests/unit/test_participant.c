/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Participant slots within one process: who gets which, who gives back what, and what a closed descriptor does to them.
 * Other processes' slots are in tests/proc.
 */
#include "../proc/scene.h"

#include <pthread.h>
#include <sys/time.h>

static uint32_t slot_of(const struct worker *w) { return w->slot_plus_1 - 1; }

static uint32_t slots_alive(struct region *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->geo.participants; i++)
		n += participant_alive(r, i);
	return n;
}

/* ---- One thread ----------------------------------------------------------------------------------------------------- */

Test(participant, joining_again_gives_the_same_worker)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("again");
	struct handle h;
	struct worker *first, *again;

	scene_enter(path, &o, &h, &first);
	for (int i = 0; i < 1000; i++) {
		assert_ok(handle_join(&h, &again));
		cr_assert_eq(first, again);
	}
	cr_assert_eq(slots_alive(&h.region), 1);
	cr_assert(participant_alive(&h.region, slot_of(first)));
	scene_leave(path, &h);
}

Test(participant, a_new_worker_has_a_clean_slot_and_a_zero_tail)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("clean");
	struct handle h;
	struct worker *w;

	assert_ok(handle_open(&h, path, &o));
	/* As a dead process might have left them. */
	for (uint32_t i = 0; i < h.region.geo.participants; i++) {
		struct shm_participant *p = region_participant(&h.region, i);
		for (uint32_t j = 0; j < HAZARDS; j++)
			store_hint(&p->hazard[j], 4711);
		store_hint(&p->batch[BATCH_HAZARDS - 1], 4711);
		store_hint(&p->pin[PIN_HAZARDS - 1], 4711);
		store_hint(&p->registration, 41);
		store_hint(&p->versions, 17);
		store_hint(&p->counter[3], 99);
	}
	assert_ok(handle_join(&h, &w));
	for (uint32_t j = 0; j < HAZARDS; j++)
		cr_assert_eq(load_hint(&w->self->hazard[j]), 0);
	cr_assert_eq(load_hint(&w->self->batch[BATCH_HAZARDS - 1]), 0);
	cr_assert_eq(load_hint(&w->self->pin[PIN_HAZARDS - 1]), 0);
	cr_assert_eq(load_hint(&w->self->registration), 42);
	cr_assert_eq(w->registration, 42);
	cr_assert_eq(load_hint(&w->self->versions), 17, "versions must go on where the last owner stopped");
	cr_assert_eq(load_hint(&w->self->counter[3]), 99, "counters are those of all owners");
	cr_assert_eq(load_hint(&w->self->pid), (uint64_t)getpid());
	cr_assert_eq(w->self, region_participant(&h.region, slot_of(w)));
	cr_assert_geq(load_hint(&region_super(&h.region)->participants_used), w->slot_plus_1);
	for (size_t i = 0; i < 256; i++)
		cr_assert_eq(w->tail[i], 0);
	scene_leave(path, &h);
}

Test(participant, two_handles_on_one_cache_have_slots_of_their_own)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("two-handles");
	struct handle a, b;
	struct worker *wa, *wb, *again;

	assert_ok(handle_open(&a, path, &o));
	assert_ok(handle_open(&b, path, &o));
	assert_ok(handle_join(&a, &wa));
	assert_ok(handle_join(&b, &wb));
	cr_assert_neq(slot_of(wa), slot_of(wb));
	cr_assert_neq(crew_id(a.crew), crew_id(b.crew));
	for (int i = 0; i < 100; i++) {
		assert_ok(handle_join(&a, &again));
		cr_assert_eq(again, wa);
		assert_ok(handle_join(&b, &again));
		cr_assert_eq(again, wb);
	}
	cr_assert(participant_alive(&a.region, slot_of(wb)) && participant_alive(&b.region, slot_of(wa)));
	uint32_t gone = slot_of(wa);
	handle_close(&a);
	cr_assert_not(participant_alive(&b.region, gone));
	assert_ok(handle_join(&b, &again));
	cr_assert_eq(again, wb);
	scene_leave(path, &b);
}

/* More handles than a thread remembers, used in turns. */
Test(participant, a_thread_with_many_handles_has_one_worker_in_each)
{
	enum { HANDLES = 20 };
	struct larder_options o = small_cache();
	const char *path = scene_path("many-handles");
	static struct handle h[HANDLES];
	struct worker *w[HANDLES], *again;

	o.participants = HANDLES;
	for (int i = 0; i < HANDLES; i++) {
		assert_ok(handle_open(&h[i], path, &o));
		assert_ok(handle_join(&h[i], &w[i]));
	}
	for (int round = 0; round < 50; round++)
		for (int i = 0; i < HANDLES; i++) {
			assert_ok(handle_join(&h[i], &again));
			cr_assert_eq(again, w[i]);
		}
	for (int i = 0; i < HANDLES; i++)
		handle_close(&h[i]);
	assert_ok(region_destroy(path));
}

Test(participant, a_closed_and_reopened_handle_does_not_get_the_old_worker)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("reopened");
	struct handle h;
	struct worker *w;
	uint64_t id = 0;

	for (int i = 0; i < 50; i++) {
		assert_ok(handle_open(&h, path, &o));
		cr_assert_gt(crew_id(h.crew), id);
		id = crew_id(h.crew);
		assert_ok(handle_join(&h, &w));
		cr_assert_eq(w->handle_id, id);
		cr_assert_eq(w->self, region_participant(&h.region, slot_of(w)));
		store_hint(&w->self->pin[2], 5);
		handle_close(&h);
	}
	assert_ok(region_destroy(path));
}

Test(participant, closing_clears_every_hazard_and_pin)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("clears");
	struct handle h;
	struct worker *w;
	struct region r;

	scene_enter(path, &o, &h, &w);
	uint32_t slot = slot_of(w);
	store_hint(&w->self->hazard[HAZARD_SEGMENT], 3);
	store_hint(&w->self->batch[7], 3);
	store_hint(&w->self->pin[PIN_HAZARDS - 1], 3);
	handle_close(&h);
	o.flags = LARDER_INSPECT;
	assert_ok(region_open(&r, path, &o));
	const struct shm_participant *p = region_participant(&r, slot);
	cr_assert_eq(load_hint(&p->hazard[HAZARD_SEGMENT]) | load_hint(&p->batch[7]) | load_hint(&p->pin[PIN_HAZARDS - 1]), 0);
	region_close(&r);
	assert_ok(region_destroy(path));
}

Test(participant, bury_takes_from_the_dead_only)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("bury");
	struct handle h;
	struct worker *w;

	scene_enter(path, &o, &h, &w);
	uint32_t dead = (slot_of(w) + 1) % h.region.geo.participants;
	store_hint(&w->self->pin[1], 77);
	store_hint(&region_participant(&h.region, dead)->pin[1], 77);
	cr_assert_not(participant_bury(&h.region, slot_of(w)));
	cr_assert(participant_alive(&h.region, slot_of(w)), "burying dropped the lock of the living");
	cr_assert_eq(load_hint(&w->self->pin[1]), 77);
	cr_assert(participant_bury(&h.region, dead));
	cr_assert_eq(load_hint(&region_participant(&h.region, dead)->pin[1]), 0);
	cr_assert_not(participant_alive(&h.region, dead), "the undertaker kept the slot");
	scene_leave(path, &h);
}

/* ---- Threads ---------------------------------------------------------------------------------------------------------- */

struct visit {
	struct handle *handle;
	pthread_barrier_t *together;
	enum larder_status status;
	struct worker *worker;
	uint32_t slot;
	uint64_t registration;
	uint64_t leave_pins;
};

static void *visit(void *arg)
{
	struct visit *v = arg;

	v->status = handle_join(v->handle, &v->worker);
	if (v->status == LARDER_OK) {
		v->slot = slot_of(v->worker);
		v->registration = v->worker->registration;
		or_acq_rel(&v->worker->pins_used, v->leave_pins);
		v->worker->ready = 0;
	}
	if (v->together != NULL)
		(void)pthread_barrier_wait(v->together);
	return NULL;
}

static void visit_alone(struct visit *v)
{
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, visit, v), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(participant, threads_at_once_have_different_slots)
{
	enum { THREADS = 12 };
	struct larder_options o = small_cache();
	const char *path = scene_path("threads");
	struct handle h;
	pthread_t thread[THREADS];
	struct visit v[THREADS];
	pthread_barrier_t together;

	assert_ok(handle_open(&h, path, &o));
	(void)pthread_barrier_init(&together, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		v[i] = (struct visit){ .handle = &h, .together = &together };
		cr_assert_eq(pthread_create(&thread[i], NULL, visit, &v[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_join(thread[i], NULL), 0);
	for (int i = 0; i < THREADS; i++) {
		assert_ok(v[i].status);
		for (int j = 0; j < i; j++)
			cr_assert(v[i].slot != v[j].slot && v[i].worker != v[j].worker);
	}
	scene_leave(path, &h);
}

Test(participant, a_thread_that_ends_leaves_its_slot_to_the_next)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("ends");
	struct handle h;
	struct visit first = { .handle = &h }, next = { .handle = &h };

	assert_ok(handle_open(&h, path, &o));
	visit_alone(&first);
	for (int i = 0; i < 200; i++) { /* many more than there are slots */
		visit_alone(&next);
		assert_ok(next.status);
		cr_assert_eq(next.slot, first.slot);
		cr_assert_eq(next.registration, first.registration);
	}
	cr_assert(participant_alive(&h.region, first.slot), "the pool lost the slot");
	cr_assert_eq(slots_alive(&h.region), 1);
	scene_leave(path, &h);
}

Test(participant, the_next_thread_is_not_in_a_call_of_the_last)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("in-call");
	struct handle h;
	struct visit v = { .handle = &h };
	struct worker *w;

	assert_ok(handle_open(&h, path, &o));
	visit_alone(&v);
	assert_ok(handle_join(&h, &w));
	cr_assert_eq(w, v.worker);
	cr_assert_eq(w->ready, w->handle_id);
	scene_leave(path, &h);
}

Test(participant, pins_left_behind_keep_the_slot_until_the_last_is_released)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("pins");
	struct handle h;
	struct visit left = { .handle = &h, .leave_pins = 1 << 3 }, next = { .handle = &h };

	assert_ok(handle_open(&h, path, &o));
	visit_alone(&left);
	store_hint(&left.worker->self->pin[3], 1234);
	visit_alone(&next);
	assert_ok(next.status);
	cr_assert_neq(next.slot, left.slot);
	cr_assert_eq(load_hint(&left.worker->self->pin[3]), 1234);
	cr_assert_eq(crew_find(h.crew, left.slot, left.registration), left.worker);
	cr_assert_null(crew_find(h.crew, left.slot, left.registration + 1));
	cr_assert_null(crew_find(h.crew, UINT32_MAX, 1));
	/* What unpin does, in whichever thread. */
	store_release(&left.worker->self->pin[3], 0);
	and_acq_rel(&left.worker->pins_used, ~(UINT64_C(1) << 3));
	struct worker *a;
	assert_ok(handle_join(&h, &a));
	visit_alone(&next);
	cr_assert((slot_of(a) == left.slot) != (next.slot == left.slot), "the slot did not come back to the pool");
	cr_assert_eq(slots_alive(&h.region), 2);
	scene_leave(path, &h);
}

static pthread_key_t late_key;
static struct handle *late_handle;
static enum larder_status late_status = LARDER_BUSY;

static void use_late(void *value)
{
	struct worker *w;

	(void)value;
	late_status = handle_join(late_handle, &w);
}

static void *leave_late_work(void *arg)
{
	struct worker *w;

	/* Twice around: made before the crew's own key has a value, and used after. */
	(void)pthread_setspecific(late_key, arg);
	(void)handle_join(arg, &w);
	return NULL;
}

Test(participant, a_destructor_of_the_host_program_may_still_use_the_cache)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("late");
	struct handle h;
	pthread_t thread;

	assert_ok(handle_open(&h, path, &o));
	late_handle = &h;
	cr_assert_eq(pthread_key_create(&late_key, use_late), 0);
	for (int i = 0; i < 50; i++) {
		cr_assert_eq(pthread_create(&thread, NULL, leave_late_work, &h), 0);
		cr_assert_eq(pthread_join(thread, NULL), 0);
		assert_ok(late_status);
	}
	cr_assert_eq(slots_alive(&h.region), 1, "such threads take their slots with them");
	scene_leave(path, &h);
}

Test(participant, with_all_slots_taken_the_next_is_told_so_and_gets_one_when_it_is_free)
{
	enum { SLOTS = 16 };
	struct larder_options o = small_cache();
	const char *path = scene_path("exhausted");
	static struct handle h[SLOTS + 1];
	struct worker *w, *again;

	for (int i = 0; i < SLOTS; i++) {
		assert_ok(handle_open(&h[i], path, &o));
		assert_ok(handle_join(&h[i], &w));
	}
	assert_ok(handle_open(&h[SLOTS], path, &o));
	cr_assert_eq(handle_join(&h[SLOTS], &w), LARDER_NO_SLOT);
	cr_assert(strstr(larder_message(), "all 16 participant slots") != NULL, "%s", larder_message());
	handle_close(&h[5]);
	assert_ok(handle_join(&h[SLOTS], &w));
	assert_ok(handle_join(&h[SLOTS], &again));
	cr_assert_eq(w, again);
	for (int i = 0; i <= SLOTS; i++)
		if (i != 5)
			handle_close(&h[i]);
	assert_ok(region_destroy(path));
}

static volatile sig_atomic_t interrupts;
static struct handle *interrupted;

static void join_in_handler(int number)
{
	struct worker *w;

	(void)number;
	interrupts += handle_join(interrupted, &w) == LARDER_OK;
}

Test(participant, a_signal_handler_that_joins_cannot_lock_up_with_its_own_thread, .timeout = 60)
{
	struct itimerval every = { { 0, 50 }, { 0, 50 } };
	struct larder_options o = small_cache();
	const char *path = scene_path("signals");
	struct handle a, b;
	struct worker *w;

	assert_ok(handle_open(&b, path, &o));
	interrupted = &b;
	(void)signal(SIGALRM, join_in_handler);
	(void)setitimer(ITIMER_REAL, &every, NULL);
	for (int i = 0; i < 2000 || interrupts < 50; i++) {
		scene_enter(path, &o, &a, &w);
		handle_close(&a);
	}
	memset(&every, 0, sizeof every);
	(void)setitimer(ITIMER_REAL, &every, NULL);
	scene_leave(path, &b);
}

/* ---- Descriptors that the host program closes ------------------------------------------------------------------------------ */

Test(participant, slots_outlive_a_closefrom_and_new_ones_can_be_had)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("closefrom");
	struct handle h, other;
	struct visit next = { .handle = &h };
	struct worker *w, *theirs;

	scene_enter(path, &o, &h, &w);
	(void)close(h.region.lock_fd);
	(void)close(h.region.probe_fd);
	/* Somebody else's files under the old numbers. */
	int first = open("/dev/null", O_RDWR | O_CLOEXEC), second = open("/dev/null", O_RDWR | O_CLOEXEC);
	cr_assert(first == h.region.lock_fd || first == h.region.probe_fd);
	assert_ok(handle_open(&other, path, &o));
	cr_assert(participant_alive(&other.region, slot_of(w)), "the lock was dropped by the close");
	assert_ok(handle_join(&other, &theirs));
	cr_assert(participant_alive(&h.region, slot_of(theirs)), "asked of somebody else's file");
	cr_assert_not(participant_bury(&h.region, slot_of(theirs)));
	store_hint(&w->self->pin[0], 9); /* keeps the seat busy */
	visit_alone(&next);
	assert_ok(next.status);
	cr_assert_neq(next.slot, slot_of(w));
	cr_assert_eq(slots_alive(&other.region), 3);
	cr_assert_not(region_lost(&h.region));
	handle_close(&h);
	cr_assert_eq(slots_alive(&other.region), 1);
	cr_assert_eq(fcntl(first, F_GETFD) & fcntl(second, F_GETFD), FD_CLOEXEC, "closed somebody else's file");
	scene_leave(path, &other);
}

Test(participant, without_descriptors_and_without_the_file_nobody_is_declared_dead)
{
	struct larder_options o = small_cache();
	const char *path = scene_path("unreachable");
	struct handle h;
	struct worker *w;

	scene_enter(path, &o, &h, &w);
	cr_assert_eq(unlink(path), 0);
	(void)close(h.region.lock_fd);
	(void)close(h.region.probe_fd);
	for (uint32_t i = 0; i < h.region.geo.participants; i++) {
		cr_assert(participant_alive(&h.region, i));
		cr_assert_not(participant_bury(&h.region, i));
	}
	cr_assert(region_lost(&h.region));
	handle_close(&h);
}
