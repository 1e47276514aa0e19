/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hosts and workers: how they start, wait, work and end.
 *
 * All that parent, host and workers say to each other lies in one shared page per crew (struct board).  An order is
 * written before `orders` counts on (release, acquire at the workers); results are written before `done` counts on.
 * Waiting is by futex, so that idle crews cost nothing while another's burst is measured.  Every child ends with its
 * parent (PR_SET_PDEATHSIG); names that a killed host leaves behind are removed by sweep() in the parent, and those
 * of a run whose parent was killed by the hosts themselves.
 */
#include "crew.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS UINT64_C(120000000000)
#define LOAD_STEP 65536u

enum board_state { BOARD_BUILDING, BOARD_READY, BOARD_FAILED };

struct board {
	_Atomic uint32_t orders; /* futex: counts the orders given */
	_Atomic uint32_t done;   /* futex: workers that have carried out the present one */
	_Atomic uint32_t ready;  /* the barrier before the work */
	_Atomic uint32_t joined; /* workers that have a seat, or failed to get one */
	_Atomic uint32_t state;  /* futex: enum board_state */
	_Atomic uint32_t leaving;
	_Atomic uint64_t loaded;
	struct crew_order order;
	char trouble[160];
	struct crew_result results[BENCH_WORKERS_MAX];
};

struct crew {
	struct peer peer;
	const struct crew_supply *supply;
	struct board *board;
	pid_t host;
	unsigned size;
	bool lost;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value, unsigned ms)
{
	struct timespec limit = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	syscall(SYS_futex, word, FUTEX_WAIT, value, &limit, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* ---- the worker's side ---- */

struct worker {
	struct crew *crew;
	unsigned index;
};

/* Workers of one order begin together.  They spin, but for a moment only: more workers than processors must get
 * there. */
static void barrier(struct board *board, unsigned workers)
{
	uint64_t limit = bench_now_ns() + 2000000000u;

	atomic_fetch_add(&board->ready, 1);
	while (atomic_load(&board->ready) < workers && bench_now_ns() < limit)
		sched_yield();
}

static void carry_out(struct crew *crew, struct work *work)
{
	struct board *board = crew->board;
	const struct crew_order order = board->order;

	if (work->index >= order.workers)
		return;
	work->workers = order.workers;
	barrier(board, order.workers);
	if (order.act != ACT_MEMORY)
		work_do(work, &order, &board->results[work->index]);
	else
		board->results[0].ops = crew->peer.kind->memory ? crew->peer.kind->memory(&crew->peer) : 0;
	atomic_fetch_add(&board->done, 1);
	futex_wake(&board->done);
}

static void serve(struct crew *crew, struct work *work)
{
	struct board *board = crew->board;
	uint32_t seen = 0;

	while (!atomic_load(&board->leaving)) {
		uint32_t orders = atomic_load(&board->orders);

		if (orders == seen) {
			futex_wait(&board->orders, seen, 1000);
			continue;
		}
		seen = orders;
		carry_out(crew, work);
	}
}

static int worker_run(struct crew *crew, unsigned index)
{
	struct work work = {
		.kind = crew->peer.kind, .shape = &crew->peer.shape, .supply = crew->supply, .index = index,
		.workers = 1,
	};

	if (work_init(&work) < 0 || work.kind->join(&crew->peer, &work.seat) < 0) {
		atomic_store(&crew->board->state, BOARD_FAILED);
		atomic_fetch_add(&crew->board->joined, 1);
		return -1;
	}
	atomic_fetch_add(&crew->board->joined, 1);
	serve(crew, &work);
	if (work.kind->leave)
		work.kind->leave(work.seat);
	work_free(&work);
	return 0;
}

static void *worker_thread(void *arg)
{
	struct worker *worker = arg;

	worker_run(worker->crew, worker->index);
	free(worker);
	return NULL;
}

/* Starts worker `index` beside the host: a process if the peer can, else a thread. */
static int worker_start(struct crew *crew, unsigned index, pthread_t *thread, pid_t *process)
{
	struct worker *worker;
	pid_t parent = getpid(), child;

	if (crew->peer.kind->scope == PEER_PROCESSES) {
		child = *process = fork();
		if (child != 0)
			return child < 0 ? -1 : 0;
		signal(SIGTERM, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		_exit(worker_run(crew, index) < 0);
	}
	worker = malloc(sizeof *worker);
	if (!worker)
		return -1;
	*worker = (struct worker){ crew, index };
	return pthread_create(thread, NULL, worker_thread, worker) == 0 ? 0 : -1;
}

/* ---- the host ---- */

/* A host whose parent is gone takes its own names away; it is told by SIGTERM (PR_SET_PDEATHSIG). */
static struct board *own_board;

static void on_term(int number)
{
	(void)number;
	atomic_store(&own_board->leaving, 1);
}

static int load_all(struct crew *crew, void *seat)
{
	const struct peer_kind *kind = crew->peer.kind;
	const struct shape *shape = &crew->peer.shape;
	struct peer_pair pair;
	int result = 0;

	if (pair_new(&pair, shape) < 0)
		return peer_fail(&crew->peer, "out of memory");
	for (uint64_t n = 0; n < shape->keys && result == 0 && !atomic_load(&own_board->leaving); n += LOAD_STEP) {
		uint64_t count = shape->keys - n < LOAD_STEP ? shape->keys - n : LOAD_STEP;

		atomic_store(&crew->board->loaded, n);
		if (kind->load) {
			result = kind->load(seat, n, count);
			continue;
		}
		for (uint64_t i = 0; i < count && result == 0; i++) {
			pair_make(&pair, shape, n + i);
			result = kind->set(seat, pair.key, pair.value);
		}
		if (kind->rest)
			kind->rest(seat);
	}
	pair_free(&pair);
	if (result != 0 && !crew->peer.trouble[0])
		peer_fail(&crew->peer, "loading failed");
	return result;
}

static int host_load(struct crew *crew)
{
	const struct peer_kind *kind = crew->peer.kind;
	void *seat;
	int result;

	if (kind->join(&crew->peer, &seat) < 0)
		return -1;
	result = load_all(crew, seat);
	if (kind->leave)
		kind->leave(seat);
	return result;
}

static void host_serve(struct crew *crew)
{
	bool threaded = crew->peer.kind->scope == PEER_THREADS;
	pthread_t threads[BENCH_WORKERS_MAX];
	pid_t processes[BENCH_WORKERS_MAX];
	unsigned started = 1;

	for (; started < crew->size; started++)
		if (worker_start(crew, started, &threads[started], &processes[started]) < 0)
			break;
	if (started < crew->size)
		atomic_store(&crew->board->state, BOARD_FAILED);
	worker_run(crew, 0);
	/* One by one: a server that the peer has started is our child, too, and does not end by itself. */
	for (unsigned i = 1; i < started; i++) {
		if (threaded)
			pthread_join(threads[i], NULL);
		else
			waitpid(processes[i], NULL, 0);
	}
}

static int host_build(struct crew *crew, bool load)
{
	const struct peer_kind *kind = crew->peer.kind;

	if (kind->create(&crew->peer) < 0)
		return -1;
	return load ? host_load(crew) : 0;
}

static void host_run(struct crew *crew, bool load)
{
	struct board *board = crew->board;
	int result = host_build(crew, load);

	if (result < 0) {
		memcpy(board->trouble, crew->peer.trouble, sizeof board->trouble);
		atomic_store(&board->state, BOARD_FAILED);
	} else {
		uint32_t building = BOARD_BUILDING;

		atomic_compare_exchange_strong(&board->state, &building, BOARD_READY);
	}
	futex_wake(&board->state);
	if (result == 0)
		host_serve(crew);
	if (crew->peer.kind->destroy && crew->peer.state)
		crew->peer.kind->destroy(&crew->peer);
	if (crew->peer.kind->sweep)
		crew->peer.kind->sweep(&crew->peer);
}

static pid_t host_start(struct crew *crew, bool load)
{
	struct sigaction action = { .sa_handler = on_term };
	pid_t parent = getpid(), child;

	fflush(NULL);
	child = fork();
	if (child != 0)
		return child;
	own_board = crew->board;
	sigaction(SIGTERM, &action, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGINT, SIG_IGN); /* the parent ends us in order */
	signal(SIGPIPE, SIG_IGN);
	if (getppid() != parent)
		_exit(1);
	host_run(crew, load);
	_exit(0);
}

/* ---- the parent's side ---- */

static bool host_gone(struct crew *crew)
{
	int status;

	if (crew->host > 0 && waitpid(crew->host, &status, WNOHANG) == crew->host) {
		if (WIFSIGNALED(status) && !crew->board->trouble[0])
			snprintf(crew->board->trouble, sizeof crew->board->trouble, "ended by signal %d",
					WTERMSIG(status));
		crew->host = 0;
	}
	return crew->host == 0;
}

static void host_kill(struct crew *crew)
{
	if (crew->host > 0) {
		kill(crew->host, SIGKILL);
		waitpid(crew->host, NULL, 0);
	}
	crew->host = 0;
	crew->lost = true;
}

static bool await_ready(struct crew *crew)
{
	struct board *board = crew->board;

	while (atomic_load(&board->state) == BOARD_BUILDING && !host_gone(crew) && !bench_interrupted()) {
		bench_progress("%s: loading %llu of %llu", crew->peer.kind->name,
				(unsigned long long)atomic_load(&board->loaded),
				(unsigned long long)crew->peer.shape.keys);
		futex_wait(&board->state, BOARD_BUILDING, 200);
	}
	while (atomic_load(&board->state) == BOARD_READY && atomic_load(&board->joined) < crew->size && !host_gone(crew)
			&& !bench_interrupted())
		usleep(1000);
	return atomic_load(&board->state) == BOARD_READY && !host_gone(crew) && !bench_interrupted();
}

struct crew *crew_hire(const struct peer_kind *kind, const struct shape *shape, const struct crew_supply *supply,
		bool load, char *trouble, size_t trouble_bytes)
{
	static unsigned number;
	struct crew *crew = calloc(1, sizeof *crew);

	if (!crew)
		return NULL;
	crew->peer = (struct peer){ .kind = kind, .shape = *shape };
	snprintf(crew->peer.name, sizeof crew->peer.name, "bench.%d.%u.%s", (int)getpid(), number++, kind->name);
	crew->supply = supply;
	crew->size = kind->scope == PEER_PRIVATE || shape->workers == 0 ? 1 : shape->workers;
	crew->board = mmap(NULL, sizeof *crew->board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (crew->board == MAP_FAILED) {
		free(crew);
		return NULL;
	}
	crew->host = host_start(crew, load);
	if (crew->host > 0 && await_ready(crew))
		return crew;
	snprintf(trouble, trouble_bytes, "%s", crew->board->trouble[0] ? crew->board->trouble : "could not be started");
	crew_dismiss(&crew);
	return NULL;
}

unsigned crew_size(const struct crew *crew)
{
	return crew->size;
}

const struct peer_kind *crew_kind(const struct crew *crew)
{
	return crew->peer.kind;
}

static void add_up(const struct crew *crew, unsigned workers, struct crew_result *sum)
{
	memset(sum, 0, sizeof *sum);
	for (unsigned i = 0; i < workers; i++) {
		const struct crew_result *result = &crew->board->results[i];

		sum->ops += result->ops;
		sum->hits += result->hits;
		sum->sets += result->sets;
		sum->failures += result->failures;
		sum->preempted += result->preempted;
		sum->ns += result->ns;
		sum->cpu_ns += result->cpu_ns;
		sum->rate += result->rate;
		sum->check = result->check > sum->check ? result->check : sum->check;
		histogram_merge(&sum->latency, &result->latency);
	}
}

int crew_do(struct crew *crew, const struct crew_order *order, struct crew_result *result)
{
	struct board *board = crew->board;
	uint64_t limit = bench_now_ns() + order->burst_ns * 4 + PATIENCE_NS;
	uint32_t done;

	if (crew->lost || bench_interrupted())
		return -1;
	board->order = *order;
	if (board->order.workers == 0 || board->order.workers > crew->size)
		board->order.workers = crew->size;
	atomic_store(&board->ready, 0);
	atomic_store(&board->done, 0);
	atomic_fetch_add(&board->orders, 1);
	futex_wake(&board->orders);
	while ((done = atomic_load(&board->done)) < board->order.workers) {
		if (host_gone(crew) || bench_interrupted() || bench_now_ns() > limit) {
			if (!bench_interrupted())
				bench_complain("%s is lost: %s", crew->peer.kind->name,
						board->trouble[0] ? board->trouble : "no answer");
			host_kill(crew);
			return -1;
		}
		futex_wait(&board->done, done, 200);
	}
	add_up(crew, board->order.workers, result);
	return 0;
}

/* Asks politely first: a host removes its own names, and sees to the end of a server it has started. */
void crew_dismiss(struct crew **crew_at)
{
	struct crew *crew = *crew_at;

	if (!crew)
		return;
	atomic_store(&crew->board->leaving, 1);
	atomic_fetch_add(&crew->board->orders, 1);
	futex_wake(&crew->board->orders);
	for (unsigned i = 0; i < 5000 && !host_gone(crew) && !(crew->lost || bench_interrupted()); i++)
		usleep(1000);
	host_kill(crew);
	if (crew->peer.kind->sweep)
		crew->peer.kind->sweep(&crew->peer);
	munmap(crew->board, sizeof *crew->board);
	free(crew);
	*crew_at = NULL;
}

int crews_hire(struct crews *crews, const struct bench_options *options, const struct shape *shape,
		const struct crew_supply *supply, const char *default_peers)
{
	char trouble[160];

	crews->count = 0;
	for (const struct peer_kind *const *kind = peers_all; *kind && !bench_interrupted(); kind++) {
		struct crew *crew;

		if (!peer_wanted(options->peers ? options->peers : default_peers, (*kind)->name))
			continue;
		trouble[0] = '\0';
		crew = crew_hire(*kind, shape, supply, true, trouble, sizeof trouble);
		if (crew && crews->count < sizeof crews->all / sizeof crews->all[0])
			crews->all[crews->count++] = crew;
		else if (!bench_interrupted())
			bench_complain("%s: skipped, %s", (*kind)->name, trouble);
	}
	bench_progress_end();
	return crews->count && !bench_interrupted() ? 0 : -1;
}

void crews_dismiss(struct crews *crews)
{
	for (unsigned i = 0; i < crews->count; i++)
		crew_dismiss(&crews->all[i]);
	crews->count = 0;
}

int crews_find(const struct crews *crews, const char *name)
{
	for (unsigned i = 0; i < crews->count; i++)
		if (strcmp(crews->all[i]->peer.kind->name, name) == 0)
			return (int)i;
	return -1;
}

int supply_sweep(struct crew_supply *supply)
{
	long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
	size_t bytes = cache > 0 ? (size_t)cache * 2 : (size_t)64 << 20;
	uint8_t *memory;

	/* Some hypervisors report the cache of the whole host; more than 256 MiB only takes longer. */
	bytes = bytes > (size_t)256 << 20 ? (size_t)256 << 20 : bytes;
	bytes = bytes < (size_t)16 << 20 ? (size_t)16 << 20 : bytes;
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -1;
	memset(memory, 1, bytes);
	supply->sweep = memory;
	supply->sweep_bytes = bytes;
	return 0;
}
