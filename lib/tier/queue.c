/* SPDX-License-Identifier: BSD-2-Clause */
/* Write-behind, see queue.h. */
#include "tier/queue.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <urcu/wfcqueue.h>

#include "base/chance.h"
#include "cache/moment.h"
#include "tier/flight.h"
#include "tier/repair.h"

#define BATCH 256u
#define IDLE_MS 100       /* after so long without a write the thread sleeps until it is woken */
#define PATIENCE_MS 1000  /* with a process that was stopped in the middle of a write */
#define BACK_OFF_MS 20
#define BACK_OFF_MAX_MS 1000
#define BYTES_BITS 40u    /* of `fill`: how many writes above, their bytes below */

/* Small: what it takes to accept a write is to fill lines of memory that the thread had last. */
struct tier_write {
	struct cds_wfcq_node node;
	struct word handed;   /* from the one who accepts it to the one who takes it from the queue */
	const struct larder_name *name;
	uint64_t version;     /* of its dirty entry near */
	int64_t accepted_ms;
	int64_t ttl_ms, expires_at_ms;
	uint32_t flags, user_flags, jitter_percent, grace_ms, cost_us; /* of its options; tags are the caller's, and no set with tags comes here */
	uint32_t ns;
	uint32_t key_bytes;
	bool remove;
	size_t value_bytes;
	char bytes[];
};

enum thread_state { THREAD_NONE, THREAD_STARTING, THREAD_RUNS, THREAD_FAILED };
enum pause { AWAKE, LINGERS, SLEEPS };

struct tier_queue {
	struct tier *tier;
	pthread_t thread;
	struct word thread_state;
	struct word life;             /* of which process it is, see life_is_ours() */
	_Alignas(LINE_BYTES) struct cds_wfcq_tail tail;
	_Alignas(LINE_BYTES) struct cds_wfcq_head head;
	_Alignas(LINE_BYTES) struct word fill;
	_Alignas(LINE_BYTES) struct word32 pause; /* enum pause */
	struct word stop, hurry;
	struct word done;             /* writes that are in the queue no more */
	uint64_t published;           /* the thread's: accepted, as the board knows it */
	uint64_t random;
};

/* ---- Forks ------------------------------------------------------------------------------------------------------------- */

static struct word forks;
static pthread_once_t forks_once = PTHREAD_ONCE_INIT;

static void forked(void) { store_hint(&forks, load_hint(&forks) + 1); }
static void forks_watch(void) { (void)pthread_atfork(NULL, NULL, forked); }

uint64_t tier_forks(void)
{
	(void)pthread_once(&forks_once, forks_watch);
	return load_hint(&forks);
}

void life_begun(struct word *life, uint64_t now) { store_release(life, now << 1); } /* QUEUE (release): what it stands for is this process's now */

bool life_is_ours(struct word *life, uint64_t now)
{
	for (;;) { /* progress: a lost CAS is a thread of this process that sets it up, by a few stores */
		uint64_t seen = load_acquire(life); /* QUEUE (acquire) */
		if (seen == now << 1)
			return true;
		if (seen != (now << 1 | 1) && cas_acq_rel(life, seen, now << 1 | 1))
			return false;
		(void)sched_yield();
	}
}

/* In a child: the queue is its parent's.  One thread starts it anew, others of the child wait for that. */
static cold void queue_reset(struct tier_queue *q)
{
	uint64_t now = load_hint(&forks);

	if (life_is_ours(&q->life, now))
		return;
	cds_wfcq_init(&q->head, &q->tail);
	store_hint(&q->fill, 0);
	store_hint(&q->done, 0);
	store_hint(&q->stop, 0);
	store_hint(&q->hurry, 0);
	q->published = 0;
	word32_store_hint(&q->pause, AWAKE);
	store_hint(&q->thread_state, THREAD_NONE);
	tier_count(&q->tier->words, TIER_QUEUES, 1);
	life_begun(&q->life, now);
}

static inline void queue_own(struct tier_queue *q)
{
	if (unlikely(load_acquire(&q->life) != load_hint(&forks) << 1))
		queue_reset(q);
}

/* ---- Sleeping and waking --------------------------------------------------------------------------------------------------- */

static void queue_sleep(struct tier_queue *q, enum pause how, int64_t ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	word32_store_seq_cst(&q->pause, (uint32_t)how);
	if (!load_acquire(&q->stop) && !load_acquire(&q->hurry) && (how == LINGERS || cds_wfcq_empty(&q->head, &q->tail)))
		(void)syscall(SYS_futex, &q->pause, FUTEX_WAIT_PRIVATE, (uint32_t)how, &time, NULL, 0);
	word32_store_seq_cst(&q->pause, AWAKE);
}

static cold void queue_wake(struct tier_queue *q)
{
	word32_store_seq_cst(&q->pause, AWAKE);
	(void)syscall(SYS_futex, &q->pause, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* ---- Writes ---------------------------------------------------------------------------------------------------------------- */

struct tier_write *tier_write_make(const struct larder_store_key *key, const void *value, size_t value_bytes)
{
	struct tier_write *w = malloc(sizeof *w + key->count + value_bytes);

	if (!w)
		return NULL;
	w->name = key->ns;
	w->key_bytes = (uint32_t)key->count;
	w->value_bytes = value_bytes;
	memcpy(w->bytes, key->bytes, key->count);
	if (value_bytes)
		memcpy(w->bytes + key->count, value, value_bytes);
	return w;
}

void tier_write_free(struct tier_write *w) { free(w); }

static size_t write_bytes(const struct tier_write *w) { return w->key_bytes + w->value_bytes; }

static uint64_t fill_of(size_t bytes) { return UINT64_C(1) << BYTES_BITS | bytes; }
static uint64_t fill_count(uint64_t fill) { return fill >> BYTES_BITS; }
static bool fill_over(const struct tier_queue *q, uint64_t fill)
{
	return fill_count(fill) > q->tier->queue_count || (fill & ((UINT64_C(1) << BYTES_BITS) - 1)) > q->tier->queue_bytes;
}

void tier_queue_dismiss(struct tier_queue *q, size_t bytes) { (void)add_hint(&q->fill, UINT64_C(0) - fill_of(bytes)); }

/* It is in the queue no more, whatever became of it. */
static void write_done(struct tier_queue *q, struct tier_write *w)
{
	tier_queue_dismiss(q, write_bytes(w));
	(void)add_acq_rel(&q->done, 1); /* QUEUE (release): what the write did happened before whoever settles sees it done */
	tier_write_free(w);
}

static struct tier_write *queue_take(struct tier_queue *q)
{
	struct cds_wfcq_node *node = cds_wfcq_dequeue_blocking(&q->head, &q->tail);

	if (!node)
		return NULL;
	struct tier_write *w = caa_container_of(node, struct tier_write, node);
	(void)load_acquire(&w->handed); /* HANDED (acquire) */
	return w;
}

/* ---- The thread -------------------------------------------------------------------------------------------------------------- */

/* One write of a batch that is to be made. */
struct job {
	struct tier_write *write;
	struct near_key k;
	struct larder_set_options options;
};

static struct larder_store_key write_key(const struct tier_write *w)
{
	return (struct larder_store_key){ .ns = w->name, .bytes = w->bytes, .count = w->key_bytes };
}

/* False: a newer write of the key was accepted.  What was evicted, or flushed, or evicted and fetched again, is still to be written. */
static bool still_wanted(struct tier *tier, struct job *job)
{
	struct near_state state;
	const struct tier_write *w = job->write;

	if (near_peek_hidden(&tier->near, &job->k, &state) != LARDER_OK)
		return true;
	if (state.version == w->version)
		job->options.created_at_ms = state.created_at_ms;
	return state.version == w->version || state.fetched;
}

static void options_of(const struct tier_write *w, struct larder_set_options *o)
{
	o->ttl_ms = w->ttl_ms;
	o->expires_at_ms = w->expires_at_ms;
	o->flags = w->flags;
	o->user_flags = w->user_flags;
	o->jitter_percent = w->jitter_percent;
	o->grace_ms = w->grace_ms;
	o->cost_us = w->cost_us;
}

/* As it stands now: some of its time to live is over.  For those who ask which of two values is newer it is as old as it is near. */
static void job_make(struct job *job, struct tier_write *w, struct larder_store_write *out)
{
	int64_t late_ms = clock_coarse_ms() - w->accepted_ms;

	*job = (struct job){ .write = w, .k = { .ns = w->ns, .bytes = w->bytes, .count = w->key_bytes }, .options = LARDER_SET_OPTIONS_INIT };
	options_of(w, &job->options);
	bool over = w->ttl_ms > 0 && w->ttl_ms <= late_ms;
	if (job->options.ttl_ms > 0)
		job->options.ttl_ms -= late_ms;
	job->options.created_at_ms = clock_wall_ms() - late_ms;
	*out = (struct larder_store_write){ .key = write_key(w), .remove = w->remove || over, .value = w->bytes + w->key_bytes,
		.value_bytes = w->value_bytes, .options = &job->options };
}

struct batch {
	struct tier_queue *queue;
	struct job jobs[BATCH];
	struct larder_store_write writes[BATCH];
	size_t count;
	bool alone; /* no older write of any process was on its way when it was sent */
};

/* In flight: what something newer has made pointless leaves the batch. */
static void batch_sift(struct batch *b)
{
	struct tier_queue *q = b->queue;
	size_t loaded = b->count;

	b->count = 0;
	for (size_t i = 0; i < loaded; i++) {
		struct tier_write *w = b->jobs[i].write;
		job_make(&b->jobs[b->count], w, &b->writes[b->count]);
		if (still_wanted(q->tier, &b->jobs[b->count])) {
			b->count++;
			continue;
		}
		tier_count(&q->tier->words, TIER_SUPERSEDED, 1);
		write_done(q, w);
	}
}

/* What is in the queue, behind those that failed before. */
static void batch_load(struct batch *b)
{
	struct tier_write *w;

	while (b->count < BATCH && (w = queue_take(b->queue)) != NULL)
		b->jobs[b->count++].write = w;
}

static void job_end(struct batch *b, const struct job *job, const struct larder_store_write *write)
{
	struct tier *tier = b->queue->tier;
	const struct tier_landed landed = { .version = job->write->version, .alone = b->alone, .in_turn = true,
		.removed = write->remove, .value = write->value, .value_bytes = write->value_bytes, .options = &job->options };

	if (write->status >= 0) {
		(void)tier_landed(tier, &job->k, &landed);
		tier_count(&tier->words, TIER_WRITTEN, 1);
		series_time(&tier->queue_wait, (uint64_t)(clock_precise_ms() - job->write->accepted_ms) * 1000000, 1);
	} else {
		tier_count(&tier->words, TIER_LOST, 1); /* refused: what is near stays dirty there */
	}
	write_done(b->queue, job->write);
}

/* Sends the batch; what the far store could not be told stays in it.  False: it was not reached. */
static bool batch_send(struct batch *b)
{
	struct tier *tier = b->queue->tier;
	uint64_t begin = (uint64_t)clock_precise_ns();
	enum larder_status status = b->count ? larder_store_write_many(tier->far, b->writes, b->count) : LARDER_OK;
	size_t kept = 0;

	if (b->count)
		series_time(&tier->far_batch, (uint64_t)clock_precise_ns() - begin, 1);
	for (size_t i = 0; i < b->count; i++) {
		if (status < 0)
			b->writes[i].status = status;
		if (tier_unreachable(b->writes[i].status))
			b->jobs[kept++].write = b->jobs[i].write;
		else
			job_end(b, &b->jobs[i], &b->writes[i]);
	}
	b->count = kept;
	if (kept)
		tier_count(&tier->words, TIER_FAILURES, 1);
	return kept == 0;
}

static bool batch_fly(struct batch *b)
{
	struct near *near = &b->queue->tier->near;

	if (!b->count)
		return true;
	b->alone = flights_await(near, load_acquire(&b->queue->stop) ? PATIENCE_MS / 10 : PATIENCE_MS);
	flight_begin(near);
	batch_sift(b);
	bool reached = batch_send(b);
	flight_end(near);
	return reached;
}

static void batch_give_up(struct batch *b)
{
	do {
		for (size_t i = 0; i < b->count; i++) {
			tier_count(&b->queue->tier->words, TIER_LOST, 1);
			write_done(b->queue, b->jobs[i].write);
		}
		b->count = 0;
		batch_load(b);
	} while (b->count);
}

/* What all processes may know of this queue. */
static void publish(struct tier_queue *q, const struct batch *b)
{
	uint64_t accepted = load_hint(&q->done) + fill_count(load_hint(&q->fill));

	if (accepted > q->published) { /* a refused admission makes the sum too large for a moment; then it waits */
		tier_count(&q->tier->words, TIER_ACCEPTED, accepted - q->published);
		q->published = accepted;
	}
	int64_t waited = b->count ? clock_coarse_ms() - b->jobs[0].write->accepted_ms : 0;
	store_hint(tier_word(&q->tier->words, TIER_OLDEST),
			b->count ? moment_coarse(&q->tier->near.cache->region) - (uint64_t)(waited > 0 ? waited : 0) : 0);
}

/* After a batch: how long the thread has nothing to do. */
static void queue_rest(struct batch *b, bool reached, int64_t *back_off, int64_t idle_ms)
{
	struct tier_queue *q = b->queue;

	if (!reached) {
		store_hint(&q->hurry, 0); /* nothing is won by it now */
		queue_sleep(q, LINGERS, load_acquire(&q->stop) ? BACK_OFF_MS / 4 : chance_jitter_ms(&q->random, *back_off));
		*back_off = *back_off * 2 < BACK_OFF_MAX_MS ? *back_off * 2 : BACK_OFF_MAX_MS;
		return;
	}
	*back_off = BACK_OFF_MS;
	if (!cds_wfcq_empty(&q->head, &q->tail))
		return;
	store_hint(&q->hurry, 0);
	publish(q, b);
	queue_sleep(q, idle_ms >= IDLE_MS ? SLEEPS : LINGERS, idle_ms >= IDLE_MS ? 1000 : q->tier->delay_ms);
}

static bool queue_is_over(const struct batch *b, int64_t *stop_by)
{
	struct tier_queue *q = b->queue;

	if (!load_acquire(&q->stop))
		return false;
	if (!*stop_by)
		*stop_by = clock_precise_ms() + q->tier->close_ms;
	return (!b->count && cds_wfcq_empty(&q->head, &q->tail)) || clock_precise_ms() >= *stop_by;
}

static void queue_run(struct batch *b)
{
	int64_t back_off = BACK_OFF_MS, worked_ms = clock_coarse_ms(), stop_by = 0;

	while (!queue_is_over(b, &stop_by)) {
		batch_load(b);
		publish(b->queue, b);
		if (b->count)
			worked_ms = clock_coarse_ms();
		bool reached = batch_fly(b);
		queue_rest(b, reached, &back_off, clock_coarse_ms() - worked_ms);
	}
	batch_give_up(b);
	publish(b->queue, b);
}

static void *queue_thread(void *arg)
{
	struct tier_queue *q = arg;
	struct batch *b = calloc(1, sizeof *b);

	(void)pthread_setname_np(pthread_self(), "larder-behind");
	if (!b) {
		store_release(&q->thread_state, THREAD_FAILED);
		return NULL;
	}
	b->queue = q;
	queue_run(b);
	free(b);
	return NULL;
}

/* ---- Starting and stopping ---------------------------------------------------------------------------------------------------- */

enum larder_status tier_thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, before;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = pthread_create(thread, NULL, run, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed ? LARDER_SYSTEM : LARDER_OK;
}

static cold bool queue_start(struct tier_queue *q)
{
	if (cas_acq_rel(&q->thread_state, THREAD_NONE, THREAD_STARTING))
		store_release(&q->thread_state, tier_thread_start(&q->thread, queue_thread, q) ? THREAD_FAILED : THREAD_RUNS);
	return load_acquire(&q->thread_state) != THREAD_FAILED; /* QUEUE (acquire) */
}

enum larder_status tier_queue_create(struct tier *tier, struct tier_queue **queue)
{
	struct tier_queue *q = aligned_alloc(LINE_BYTES, sizeof *q);

	if (!q)
		return LARDER_NO_MEMORY;
	(void)pthread_once(&forks_once, forks_watch);
	memset(q, 0, sizeof *q);
	q->tier = tier;
	q->random = (uint64_t)clock_precise_ns();
	cds_wfcq_init(&q->head, &q->tail);
	tier_count(&tier->words, TIER_QUEUES, 1);
	life_begun(&q->life, load_hint(&forks));
	*queue = q;
	return LARDER_OK;
}

void tier_queue_close(struct tier_queue *q)
{
	if (!q)
		return;
	queue_own(q);
	store_release(&q->stop, 1);
	queue_wake(q);
	if (load_acquire(&q->thread_state) == THREAD_RUNS)
		(void)pthread_join(q->thread, NULL);
	tier_count(&q->tier->words, TIER_QUEUES, UINT64_MAX);
	cds_wfcq_destroy(&q->head, &q->tail);
	free(q);
}

/* ---- What callers do ----------------------------------------------------------------------------------------------------------- */

/* The oldest write goes, to make room; near it stays dirty. */
static void queue_drop_oldest(struct tier_queue *q)
{
	struct tier_write *w = queue_take(q);

	if (!w)
		return; /* all of them are on their way */
	tier_count(&q->tier->words, TIER_LOST, 1);
	write_done(q, w);
}

static cold enum tier_admission admit_full(struct tier_queue *q, size_t bytes)
{
	int64_t deadline = clock_precise_ms() + q->tier->block_ms;
	struct timespec nap = { .tv_nsec = 200000 };

	for (;;) {
		if (!fill_over(q, add_hint(&q->fill, fill_of(bytes)) + fill_of(bytes)))
			return TIER_ADMITTED;
		if (q->tier->on_full == TIER_DROP_OLDEST) {
			queue_drop_oldest(q);
			return TIER_ADMITTED;
		}
		tier_queue_dismiss(q, bytes);
		if (q->tier->on_full == TIER_WRITE_NOW)
			return TIER_NOT_QUEUED;
		if (clock_precise_ms() >= deadline)
			return TIER_REFUSED;
		store_hint(&q->hurry, 1);
		queue_wake(q);
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
}

enum tier_admission tier_queue_admit(struct tier_queue *q, size_t bytes)
{
	queue_own(q);
	if (unlikely(load_acquire(&q->thread_state) != THREAD_RUNS) && !queue_start(q))
		return TIER_NOT_QUEUED;
	if (likely(!fill_over(q, add_hint(&q->fill, fill_of(bytes)) + fill_of(bytes))))
		return TIER_ADMITTED;
	tier_queue_dismiss(q, bytes);
	return admit_full(q, bytes);
}

void tier_queue_put(struct tier_queue *q, struct tier_write *w, const struct near_key *k, uint64_t version,
		const struct larder_set_options *options)
{
	w->ns = k->ns;
	w->version = version;
	w->remove = !options;
	w->ttl_ms = options ? options->ttl_ms : LARDER_TTL_NONE;
	w->expires_at_ms = options ? options->expires_at_ms : 0;
	w->flags = options ? options->flags : 0;
	w->user_flags = options ? options->user_flags : 0;
	w->jitter_percent = options ? options->jitter_percent : 0;
	w->grace_ms = options ? options->grace_ms : 0;
	w->cost_us = options ? options->cost_us : 0;
	w->accepted_ms = clock_coarse_ms();
	store_release(&w->handed, 1); /* HANDED (release): the queue orders as much; here it is said where everybody can see it */
	cds_wfcq_node_init(&w->node);
	(void)cds_wfcq_enqueue(&q->head, &q->tail, &w->node); /* a full barrier: before the look at `pause` */
	if (unlikely(word32_load_seq_cst(&q->pause) == SLEEPS))
		queue_wake(q);
}

enum larder_status tier_queue_settle(struct tier_queue *q, int64_t timeout_ms)
{
	int64_t deadline = clock_precise_ms() + timeout_ms;

	queue_own(q);
	uint64_t target = load_acquire(&q->done) + fill_count(load_acquire(&q->fill));
	while (load_acquire(&q->done) < target && fill_count(load_acquire(&q->fill))) { /* QUEUE (acquire) */
		if (clock_precise_ms() >= deadline) {
			larder_store_message("store kind tiered: %llu accepted writes could not be made within %lld ms",
					(unsigned long long)fill_count(load_hint(&q->fill)), (long long)timeout_ms);
			return LARDER_UNREACHABLE;
		}
		store_hint(&q->hurry, 1);
		queue_wake(q);
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = 100000 }, NULL);
	}
	return LARDER_OK;
}

uint64_t tier_queue_depth(const struct tier_queue *q)
{
	bool ours = q && load_acquire(&q->life) == load_hint(&forks) << 1; /* QUEUE (acquire); else it is our parent's as yet */

	return ours ? fill_count(load_hint(&q->fill)) : 0;
}
