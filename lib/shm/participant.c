/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Taking, lending and giving back participant slots, see participant.h.
 *
 * A crew has a seat for each slot that its process ever held.  A seat keeps its worker's memory for as long as the handle
 * is open; its slot, until then or until a fork, in whose child all seats are blank: memory without a slot.  All of that
 * is changed under region_slow_lock(), but for by_slot, which crew_find() reads without.
 *
 * JOIN: a worker is filled in before by_slot shows it to crew_find().  UNPIN: a pin's word is cleared before its bit in
 * pins_used is, and seat_idle() lends the seat to another thread only when all bits are.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/participant.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/message.h"

struct seat {
	struct worker *worker;
	uint64_t thread; /* thread_number() of who sits here; 0: nobody */
};

struct crew {
	struct crew *next;
	struct region *region;
	uint64_t id;
	size_t worker_bytes;
	uint32_t seats_used;
	struct seat *seats;
	struct pointer *by_slot; /* struct worker */
};

/* Handles that a thread uses in turns, beside the one it used last. */
#define RECENT 8u

_Thread_local struct worker_cache worker_cache;
static _Thread_local struct worker_cache recent[RECENT] __attribute__((tls_model("initial-exec")));
static _Thread_local uint64_t my_number __attribute__((tls_model("initial-exec")));

static struct crew *crews; /* under region_slow_lock() */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;
static int set_up_failed; /* errno */

/* ---- Locks ------------------------------------------------------------------------------------------------------ */

static struct flock slot_lock(uint32_t slot, short type)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = PARTICIPANT_LOCK_OFF + slot, .l_len = 1 };
}

/* True: held from now on.  False with errno EAGAIN: another one has it. */
static bool try_lock(int fd, uint32_t slot)
{
	struct flock lock = slot_lock(slot, F_WRLCK);

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return true;
	errno = errno == EACCES ? EAGAIN : errno;
	return false;
}

static void unlock(int fd, uint32_t slot)
{
	struct flock lock = slot_lock(slot, F_UNLCK);

	(void)fcntl(fd, F_OFD_SETLK, &lock);
}

static bool locked_by_another(int fd, uint32_t slot)
{
	struct flock lock = slot_lock(slot, F_WRLCK);

	return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static void clear_working(struct shm_participant *p)
{
	for (uint32_t i = 0; i < HAZARDS; i++)
		store_release(&p->hazard[i], 0);
	for (uint32_t i = 0; i < BATCH_HAZARDS; i++)
		store_release(&p->batch[i], 0);
}

static void clear_hazards(struct shm_participant *p)
{
	clear_working(p);
	for (uint32_t i = 0; i < PIN_HAZARDS; i++)
		store_release(&p->pin[i], 0);
}

/* Asked through the descriptor that holds a lock, that lock does not show: hence probe_fd.  What cannot be found out
 * counts as alive: it may hold something back, but nothing of it is taken away.  So an "alive" may be had without the
 * mutex (relaxed: the number is verified, and a wrong "alive" is asked again), a "dead" may not. */
bool participant_alive(struct region *region, uint32_t slot)
{
	int fd = int_load_hint(&region->probe_fd);

	if (region_owns(region, fd) && locked_by_another(fd, slot))
		return true;
	region_slow_lock();
	fd = region_probe_fd(region);
	bool alive = fd < 0 || locked_by_another(fd, slot);
	region_slow_unlock();
	return alive;
}

/* Through probe_fd, under which this process holds no slot: lock_fd would "lock" even a slot that a thread of our own
 * has, and letting go would take it away.  The mutex keeps two threads from burying through the one descriptor. */
bool participant_bury(struct region *region, uint32_t slot)
{
	region_slow_lock();
	int fd = region->read_only ? -1 : region_probe_fd(region);
	bool dead = fd >= 0 && try_lock(fd, slot);
	if (dead) {
		clear_hazards(region_participant(region, slot));
		unlock(fd, slot);
	}
	region_slow_unlock();
	return dead;
}

/* ---- A slot for this process --------------------------------------------------------------------------------------- */

static uint32_t somewhere(uint32_t limit)
{
	static uint64_t state; /* under region_slow_lock(); only spreads the searches */
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	state = (state + (uint64_t)now.tv_nsec + ((uint64_t)getpid() << 32)) * UINT64_C(6364136223846793005) + 1;
	return (uint32_t)((state >> 33) % limit);
}

/* Words that show people who this is: no decision rests on them. */
static void sign(struct shm_participant *p)
{
	char name[16] = "";
	uint64_t words[2];

	strncpy(name, program_invocation_short_name, sizeof name - 1);
	memcpy(words, name, sizeof words);
	store_hint(&p->command[0], words[0]);
	store_hint(&p->command[1], words[1]);
	store_hint(&p->pid, (uint64_t)getpid());
}

/* Progress: each CAS lost means that another one raised it, which happens once for each slot at most. */
static void raise_used(struct region *region, uint64_t used)
{
	struct word *w = &region_super(region)->participants_used;

	for (uint32_t i = 0; i <= region->geo.participants; i++) {
		uint64_t seen = load_seq_cst(w);
		if (seen >= used || cas_seq_cst(w, seen, used))
			return;
	}
}

/* The slot was a dead one's: what it named is free from here on. */
static void move_in(struct crew *crew, struct worker *w, uint32_t slot)
{
	struct shm_participant *p = region_participant(crew->region, slot);

	clear_hazards(p);
	w->registration = load_hint(&p->registration) + 1;
	store_release(&p->registration, w->registration);
	sign(p);
	raise_used(crew->region, slot + UINT64_C(1));
	w->self = p;
	w->handle_id = crew->id;
	w->slot_plus_1 = slot + 1;
	/* JOIN (release): pairs with the acquire in crew_find(). */
	pointer_store_release(&crew->by_slot[slot], w);
}

static enum larder_status no_slot(const struct region *r)
{
	message_set("%s: all %u participant slots are taken by living threads; end some, or create the cache with more (options.participants)",
			r->path, r->geo.participants);
	return LARDER_NO_SLOT;
}

static enum larder_status take_slot(struct crew *crew, struct worker *w)
{
	struct region *r = crew->region;
	int fd = region_lock_fd(r);
	uint32_t n = r->geo.participants, first = somewhere(n);

	for (uint32_t i = 0; i < n && fd >= 0; i++) {
		uint32_t slot = (first + i) % n;

		if (pointer_load_acquire(&crew->by_slot[slot]) != NULL)
			continue;
		if (try_lock(fd, slot)) {
			move_in(crew, w, slot);
			return LARDER_OK;
		}
		if (errno != EAGAIN)
			break;
	}
	if (fd >= 0 && errno == EAGAIN)
		return no_slot(r);
	message_set("%s: cannot take a participant slot: %s", r->path, strerror(errno));
	return LARDER_SYSTEM;
}

/* ---- Seats: the memory of workers ------------------------------------------------------------------------------------ */

static uint64_t thread_number(void)
{
	static struct word last;

	if (my_number == 0)
		my_number = add_hint(&last, 1) + 1; /* relaxed: a number, from which nothing else follows */
	return my_number;
}

/* Zero again in a forked child, where the advice is honoured; else child_wipes() sees to it. */
static struct worker *worker_memory(const struct crew *crew)
{
	void *memory = mmap(NULL, crew->worker_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	(void)madvise(memory, crew->worker_bytes, MADV_WIPEONFORK);
	return memory;
}

static struct seat *seat_of_thread(struct crew *crew, uint64_t thread)
{
	for (uint32_t i = 0; i < crew->seats_used; i++)
		if (crew->seats[i].thread == thread)
			return &crew->seats[i];
	return NULL;
}

/* Nobody's, with its slot, and no pin of it in another thread's hands. */
static bool seat_idle(const struct seat *s)
{
	/* UNPIN (acquire): pairs with the release of whoever clears the last bit. */
	return s->thread == 0 && s->worker->slot_plus_1 != 0 && load_acquire(&s->worker->pins_used) == 0;
}

static bool seat_blank(const struct seat *s) { return s->thread == 0 && s->worker->slot_plus_1 == 0; }

static struct seat *find_seat(struct crew *crew, bool (*fits)(const struct seat *))
{
	for (uint32_t i = 0; i < crew->seats_used; i++)
		if (fits(&crew->seats[i]))
			return &crew->seats[i];
	return NULL;
}

static struct seat *new_seat(struct crew *crew)
{
	/* One for each slot is enough: with all of them taken there is no slot, either. */
	if (crew->seats_used == crew->region->geo.participants)
		return NULL;
	struct seat *s = &crew->seats[crew->seats_used];
	s->worker = worker_memory(crew);
	if (s->worker == NULL)
		return NULL;
	crew->seats_used++;
	return s;
}

/* A seat with a slot: one given back, else a blank or a new one with a slot of its own. */
static enum larder_status seat_with_slot(struct crew *crew, struct seat **seat)
{
	*seat = find_seat(crew, seat_idle);
	if (*seat != NULL)
		return LARDER_OK;
	*seat = find_seat(crew, seat_blank);
	if (*seat == NULL)
		*seat = new_seat(crew);
	if (*seat == NULL && crew->seats_used == crew->region->geo.participants)
		return no_slot(crew->region);
	if (*seat == NULL) {
		message_set("%s: no memory for a worker of %zu bytes", crew->region->path, crew->worker_bytes);
		return LARDER_NO_MEMORY;
	}
	return take_slot(crew, (*seat)->worker);
}

/* ---- Joining ------------------------------------------------------------------------------------------------------------ */

static void remember(struct worker *w)
{
	worker_cache = (struct worker_cache){ .worker = w, .handle_id = w->handle_id };
	recent[w->handle_id % RECENT] = worker_cache;
}

static cold enum larder_status join_first(struct crew *crew, struct worker **worker)
{
	uint64_t thread = thread_number();
	enum larder_status status = LARDER_OK;

	/* Once for each thread, and so the time to look whether the file is still there. */
	if (region_lost(crew->region))
		return LARDER_DETACHED;
	/* Any value: it is there for its destructor. */
	if (pthread_setspecific(thread_end, crew) != 0) {
		message_set("%s: no memory for a thread-specific value", crew->region->path);
		return LARDER_NO_MEMORY;
	}
	region_slow_lock();
	struct seat *seat = seat_of_thread(crew, thread);
	if (seat == NULL)
		status = seat_with_slot(crew, &seat);
	if (status == LARDER_OK) {
		seat->thread = thread;
		*worker = seat->worker;
		remember(seat->worker);
	}
	region_slow_unlock();
	return status;
}

enum larder_status crew_join_slow(struct crew *crew, struct worker **worker)
{
	const struct worker_cache *known = &recent[crew->id % RECENT];

	/* The number is compared first: a worker of a handle closed since is no memory of ours any more. */
	if (known->handle_id == crew->id && known->worker->slot_plus_1 != 0) {
		worker_cache = *known;
		*worker = known->worker;
		return LARDER_OK;
	}
	return join_first(crew, worker);
}

uint64_t crew_id(const struct crew *crew) { return crew->id; }

struct worker *crew_find(struct crew *crew, uint32_t slot, uint64_t registration)
{
	if (slot >= crew->region->geo.participants)
		return NULL;
	/* JOIN (acquire): pairs with the release in move_in(). */
	struct worker *w = pointer_load_acquire(&crew->by_slot[slot]);
	return w != NULL && w->slot_plus_1 == slot + 1 && w->registration == registration ? w : NULL;
}

/* ---- The end of a thread -------------------------------------------------------------------------------------------------- */

/* It may have ended in the middle of a call (pthread_exit in a callback).  Its pins are another matter. */
static void leave_seat(struct seat *s)
{
	if (s->worker->slot_plus_1 != 0)
		clear_working(s->worker->self);
	s->worker->ready = s->worker->handle_id;
	s->thread = 0;
}

/* Destructors that run after this one may come back; then they join anew, and this runs again. */
static void on_thread_end(void *value)
{
	uint64_t thread = my_number;

	(void)value;
	region_slow_lock();
	for (struct crew *c = crews; c != NULL; c = c->next) {
		struct seat *s = seat_of_thread(c, thread);
		if (s != NULL)
			leave_seat(s);
	}
	region_slow_unlock();
	worker_cache = (struct worker_cache){ 0 };
	memset(recent, 0, sizeof recent);
}

/* ---- Fork -------------------------------------------------------------------------------------------------------------------- */

/* In the child no thread but this one is left, and no slot: those are the parent's. */
static void child_blanks(struct crew *crew)
{
	for (uint32_t i = 0; i < crew->seats_used; i++) {
		struct seat *s = &crew->seats[i];

		if (s->worker->slot_plus_1 != 0) /* the advice was not honoured */
			memset(s->worker, 0, crew->worker_bytes);
		s->thread = 0;
	}
	memset(crew->by_slot, 0, crew->region->geo.participants * sizeof *crew->by_slot);
}

static void on_fork_child(void)
{
	for (struct crew *c = crews; c != NULL; c = c->next) {
		child_blanks(c);
		region_reopen_in_child(c->region);
	}
	worker_cache = (struct worker_cache){ 0 };
	memset(recent, 0, sizeof recent);
	region_slow_unlock();
}

static void set_up(void)
{
	set_up_failed = pthread_key_create(&thread_end, on_thread_end);
	if (set_up_failed == 0)
		set_up_failed = pthread_atfork(region_slow_lock, region_slow_unlock, on_fork_child);
}

/* ---- Crews ------------------------------------------------------------------------------------------------------------------- */

static void crew_free(struct crew *crew)
{
	if (crew == NULL)
		return;
	free(crew->seats);
	free(crew->by_slot);
	free(crew);
}

static struct crew *crew_new(struct region *region, size_t tail_bytes)
{
	struct crew *crew = calloc(1, sizeof *crew);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (crew == NULL)
		return NULL;
	crew->region = region;
	crew->worker_bytes = (sizeof(struct worker) + tail_bytes + page - 1) / page * page;
	crew->seats = calloc(region->geo.participants, sizeof *crew->seats);
	crew->by_slot = calloc(region->geo.participants, sizeof *crew->by_slot);
	if (crew->seats != NULL && crew->by_slot != NULL)
		return crew;
	crew_free(crew);
	return NULL;
}

/* From here on a fork knows of it. */
static enum larder_status enter_list(struct crew *crew)
{
	if (region_lock_fd(crew->region) < 0 || crew->region->anchors == 0) {
		message_set("%s: cannot open it a second time, for locks: %s", crew->region->path, strerror(errno));
		return LARDER_SYSTEM;
	}
	crew->next = crews;
	crews = crew;
	return LARDER_OK;
}

bool crew_set_up(void)
{
	(void)pthread_once(&once, set_up);
	if (set_up_failed != 0)
		errno = set_up_failed;
	return set_up_failed == 0;
}

enum larder_status crew_create(struct crew **crew, struct region *region, size_t tail_bytes)
{
	static uint64_t last_id; /* under region_slow_lock(); 0 is no id */

	*crew = NULL;
	if (!crew_set_up()) {
		message_set("%s: cannot be told of the end of threads and of forks: %s", region->path, strerror(errno));
		return LARDER_SYSTEM;
	}
	struct crew *c = crew_new(region, tail_bytes);
	if (c == NULL) {
		message_set("%s: no memory for %u seats", region->path, region->geo.participants);
		return LARDER_NO_MEMORY;
	}
	region_slow_lock();
	c->id = ++last_id;
	enum larder_status status = enter_list(c);
	region_slow_unlock();
	if (status == LARDER_OK)
		*crew = c;
	else
		crew_free(c);
	return status;
}

static void leave_list(const struct crew *crew)
{
	struct crew **at = &crews;

	while (*at != NULL && *at != crew)
		at = &(*at)->next;
	if (*at != NULL)
		*at = crew->next;
}

/* Cleared before the lock goes, for afterwards the slot may be another one's. */
static void give_back(struct crew *crew, struct seat *s, int fd)
{
	uint32_t slot_plus_1 = s->worker->slot_plus_1;

	if (slot_plus_1 != 0) {
		clear_hazards(s->worker->self);
		unlock(fd, slot_plus_1 - 1);
	}
	(void)munmap(s->worker, crew->worker_bytes);
}

void crew_destroy(struct crew *crew)
{
	if (crew == NULL)
		return;
	region_slow_lock();
	leave_list(crew);
	int fd = region_lock_fd(crew->region);
	for (uint32_t i = 0; i < crew->seats_used; i++)
		give_back(crew, &crew->seats[i], fd);
	region_slow_unlock();
	if (worker_cache.handle_id == crew->id)
		worker_cache = (struct worker_cache){ 0 };
	crew_free(crew);
}
