/* SPDX-License-Identifier: BSD-2-Clause */
/* The listener of a tier, see ear.h. */
#include "tier/ear.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/chance.h"
#include "cache/moment.h"
#include "tier/queue.h"
#include "tier/repair.h"

#define LOOK_MS 100        /* how often a candidate looks at the office, and its holder attends to it */
#define SILENT_MS 1000     /* a holder that has not attended for so long is taken for stopped */
#define KEEPALIVES 4       /* without an answer: the line is broken */
#define OPEN_MS 500
#define REPAIR_SLICE_MS 200
#define REPAIR_PAUSE_MS 1000    /* before what could not be brought to the far store is tried again, and 20 times what a try takes */
#define REPAIR_PAUSE_MAX_MS 60000
#define BACK_OFF_MS 50
#define BACK_OFF_MAX_MS 1000

struct tier_ear {
	struct tier *tier;
	const struct tier_line_kind *kind;
	struct word busy;      /* by one thread at a time */
	struct word stop;
	pthread_t thread;
	bool runs;
	uint64_t forks;        /* of the process that the thread is in */
	/* of whoever is busy */
	uint64_t office;       /* the word under which we hold it; 0: we do not */
	void *line;
	bool armed;            /* what is dirty was brought over, if it could be, everything else flushed: the stream can be LIVE */
	bool left;             /* something was still dirty after the last repair */
	bool asked;
	uint64_t dirtied;      /* how much had been left dirty when the last repair began */
	int64_t repair_ms, pause_ms;
	int64_t looked_ms, asked_ms, heard_ms, retry_ms, back_off_ms;
	uint64_t random;
};

const struct tier_line_kind *tier_line_of_test;

static int64_t now_of(const struct tier *tier) { return (int64_t)moment_precise(&tier->near.cache->region); }
static int64_t silence_ms(const struct tier *tier) { return tier->keepalive_ms * KEEPALIVES; }

/* ---- What is heard ---------------------------------------------------------------------------------------------------- */

void tier_heard_key(struct tier_hearing *hearing, const char *ns, const void *key, size_t key_bytes)
{
	struct near *near = &hearing->tier->near;
	struct near_key k = { .bytes = key, .count = key_bytes };
	bool dirty;

	/* What no tier has used here is not here. */
	if (near_lookup(near, ns, &k.ns) || near_drop(near, &k, &dirty))
		return;
	hearing->invalidations++;
	tier_count(&hearing->tier->words, TIER_INVALIDATIONS, 1);
}

void tier_heard_clear(struct tier_hearing *hearing, const char *ns)
{
	struct near *near = &hearing->tier->near;
	uint32_t number;

	tier_count(&hearing->tier->words, TIER_CLEARED, 1);
	if (!ns)
		near_hide_all(near, false);
	else if (!near_lookup(near, ns, &number))
		near_hide(near, number, false);
}

/* ---- The stream's word --------------------------------------------------------------------------------------------------- */

/* From `seen` to BROKEN, since the moment up to which everything was heard. */
static void stream_break(struct tier *tier, uint64_t seen, uint64_t term)
{
	int64_t since = moment_of_word(load_acquire(tier_word(&tier->words, TIER_HEARD)));

	if (stream_state(seen) == STREAM_BROKEN)
		since = stream_since_ms(seen);
	/* STREAM (release): who sees it broken sees since when. */
	if (cas_acq_rel(tier_word(&tier->words, TIER_STREAM), seen, stream_word(STREAM_BROKEN, term, since))
			&& stream_state(seen) == STREAM_LIVE)
		tier_count(&tier->words, TIER_GAPS, 1);
}

static cold void watch_slow(struct tier *tier)
{
	uint64_t word = load_acquire(tier_word(&tier->words, TIER_STREAM)); /* STREAM (acquire): HEARD is loaded after it */
	int64_t heard = moment_of_word(load_acquire(tier_word(&tier->words, TIER_HEARD)));

	if (stream_state(word) == STREAM_LIVE && moment_age_ms(now_of(tier), heard) > silence_ms(tier))
		stream_break(tier, word, word >> 42);
}

/* ---- The office ------------------------------------------------------------------------------------------------------------ */

/* Writes a moment under our term; false: the word is another's by now. */
static bool mark(struct tier_ear *ear, enum tier_word which, int64_t ms)
{
	struct word *word = tier_word(&ear->tier->words, which);
	uint64_t term = office_term(ear->office), seen = load_acquire(word);

	return stream_is_of(seen, term) && cas_acq_rel(word, seen, moment_word(term, ms));
}

/* The new holder's term into all words: from here on nobody's of before goes through. */
static void take_words(struct tier_ear *ear)
{
	struct tier *tier = ear->tier;
	uint64_t term = office_term(ear->office), seen;
	struct word *stream = tier_word(&tier->words, TIER_STREAM), *word;

	/* progress: each lost CAS is a change by somebody; all but those who mark it BROKEN have lost the office */
	for (seen = load_acquire(stream); !stream_is_of(seen, term) && load_acquire(tier_word(&tier->words, TIER_OFFICE)) == ear->office;
			seen = load_acquire(stream)) {
		if (stream_state(seen) == STREAM_NEVER)
			(void)cas_acq_rel(stream, seen, stream_word(STREAM_NEVER, term, 0));
		else
			stream_break(tier, seen, term);
	}
	word = tier_word(&tier->words, TIER_HEARD);
	seen = load_acquire(word);
	(void)cas_acq_rel(word, seen, moment_word(term, moment_of_word(seen)));
	word = tier_word(&tier->words, TIER_ATTENDED);
	seen = load_acquire(word);
	(void)cas_acq_rel(word, seen, moment_word(term, now_of(tier)));
}

static enum larder_status office_take(struct tier_ear *ear, uint64_t seen)
{
	struct actor *a;
	enum larder_status status = call_begin(ear->tier->near.cache, &a);

	if (status)
		return status;
	uint64_t mine = office_word(office_term(seen) + 1, a->slot, actor_worker(a)->registration);
	call_end(a);
	if (!cas_acq_rel(tier_word(&ear->tier->words, TIER_OFFICE), seen, mine)) /* OFFICE (release) */
		return LARDER_OK;
	ear->office = mine;
	tier_count(&ear->tier->words, TIER_TAKEN_OVER, seen != 0);
	take_words(ear);
	return LARDER_OK;
}

static void line_close(struct tier_ear *ear)
{
	if (ear->line)
		ear->kind->close(ear->line);
	ear->line = NULL;
	ear->armed = ear->asked = false;
}

/* Do we hold the office?  If nobody does who can be expected to work, we do from now on. */
static bool office_look(struct tier_ear *ear)
{
	struct tier *tier = ear->tier;
	uint64_t seen = load_acquire(tier_word(&tier->words, TIER_OFFICE)); /* OFFICE (acquire) */
	int64_t now = now_of(tier);

	if (ear->office && seen == ear->office) {
		/* A candidate that was stopped on its way into an earlier term may have put that one back. */
		if (!stream_is_of(load_acquire(tier_word(&tier->words, TIER_HEARD)), office_term(ear->office))
				|| !stream_is_of(load_acquire(tier_word(&tier->words, TIER_ATTENDED)), office_term(ear->office)))
			take_words(ear);
		if (now - ear->looked_ms >= LOOK_MS / 2) {
			(void)mark(ear, TIER_ATTENDED, now);
			ear->looked_ms = now;
		}
		return true;
	}
	ear->office = 0;
	line_close(ear);
	if (now - ear->looked_ms < LOOK_MS && ear->looked_ms)
		return false;
	ear->looked_ms = now;
	bool silent = moment_age_ms(now, moment_of_word(load_acquire(tier_word(&tier->words, TIER_ATTENDED)))) > SILENT_MS;
	struct larder_participant_info holder;
	if (!silent && office_is_held(tier->near.cache, seen, &holder)) {
		watch_slow(tier);
		return false;
	}
	return office_take(ear, seen) == LARDER_OK && ear->office != 0;
}

/* What was LIVE by us is so no more. */
static void stream_end(struct tier_ear *ear)
{
	uint64_t stream = load_acquire(tier_word(&ear->tier->words, TIER_STREAM)), term = office_term(ear->office);

	if (stream_is_of(stream, term) && stream_state(stream) == STREAM_LIVE)
		stream_break(ear->tier, stream, term);
}

static void office_leave(struct tier_ear *ear)
{
	if (!ear->office)
		return;
	stream_end(ear);
	(void)cas_acq_rel(tier_word(&ear->tier->words, TIER_OFFICE), ear->office, office_term(ear->office) << 32);
	ear->office = 0;
}

/* ---- The line ---------------------------------------------------------------------------------------------------------------- */

static void line_broken(struct tier_ear *ear, enum larder_status why)
{
	store_hint(tier_word(&ear->tier->words, TIER_TROUBLE), (uint64_t)-why); /* for people */
	line_close(ear);
	stream_end(ear);
	ear->retry_ms = now_of(ear->tier) + chance_jitter_ms(&ear->random, ear->back_off_ms);
	ear->back_off_ms = ear->back_off_ms * 2 < BACK_OFF_MAX_MS ? ear->back_off_ms * 2 : BACK_OFF_MAX_MS;
}

static enum larder_status line_open(struct tier_ear *ear)
{
	if (now_of(ear->tier) < ear->retry_ms)
		return LARDER_UNREACHABLE;
	int64_t before = now_of(ear->tier);
	enum larder_status status = ear->kind->open(ear->tier->far, OPEN_MS, &ear->line);
	if (status) {
		ear->line = NULL;
		line_broken(ear, status);
		return status;
	}
	ear->heard_ms = before;
	tier_count(&ear->tier->words, TIER_ARMED, 1);
	return LARDER_OK;
}

/* What was kept dirty because the far store failed, or refused it. */
static uint64_t ever_dirtied(struct tier *tier)
{
	return load_hint(tier_word(&tier->words, TIER_DIRTIED)) + load_hint(tier_word(&tier->words, TIER_LOST));
}

/* Brings over what is dirty.  True: all of it that can be now. */
static bool repair(struct tier_ear *ear)
{
	struct tier *tier = ear->tier;
	struct larder_tiered_repair done = { 0 };
	uint64_t dirtied = ever_dirtied(tier);
	int64_t begun = now_of(tier);
	enum larder_status status = tier_repair_all(tier, REPAIR_SLICE_MS, &done);

	if (status && done.written + done.deleted + done.outdated)
		return false; /* there is more, and the next step goes on with it; the office is attended to between */
	int64_t took = now_of(tier) - begun, pause = ear->pause_ms * 2 < REPAIR_PAUSE_MAX_MS ? ear->pause_ms * 2 : REPAIR_PAUSE_MAX_MS;
	ear->left = status || done.failed;
	ear->dirtied = dirtied;
	ear->pause_ms = ear->left && pause ? pause : REPAIR_PAUSE_MS;
	ear->repair_ms = begun + (ear->pause_ms > 20 * took ? ear->pause_ms : 20 * took);
	return true;
}

/* With a line that reports all changes from its opening on: what is near is made fit to be believed again.  What the far store does
 * not take stays dirty, and is read: the flush passes it by. */
static void line_arm(struct tier_ear *ear)
{
	struct tier *tier = ear->tier;

	if (!repair(ear))
		return;
	near_hide_all(&tier->near, tier->on_gap != TIER_DROP);
	ear->armed = true;
}

/* Nobody else would: a far store that refuses writes, or an open breaker, ends no line. */
static void repair_again(struct tier_ear *ear)
{
	if ((ear->left || ever_dirtied(ear->tier) != ear->dirtied) && now_of(ear->tier) >= ear->repair_ms)
		(void)repair(ear);
}

/* The stream is LIVE if we still hold the office, and everything up to heard_ms was heard. */
static void line_confirm(struct tier_ear *ear)
{
	struct tier *tier = ear->tier;
	uint64_t term = office_term(ear->office), stream = load_acquire(tier_word(&tier->words, TIER_STREAM));

	if (!mark(ear, TIER_HEARD, ear->heard_ms) || !stream_is_of(stream, term) || stream_state(stream) == STREAM_LIVE)
		return;
	/* STREAM (release): the flush happened before anyone believes what is near. */
	if (cas_acq_rel(tier_word(&tier->words, TIER_STREAM), stream, stream_word(STREAM_LIVE, term, ear->heard_ms))) {
		ear->back_off_ms = BACK_OFF_MS;
		store_hint(tier_word(&ear->tier->words, TIER_TROUBLE), 0);
	}
}

static enum larder_status line_attend(struct tier_ear *ear, struct tier_hearing *hearing)
{
	int64_t now = now_of(ear->tier);

	hearing->confirmed = false;
	if (ear->kind->hear(ear->line, hearing))
		return LARDER_UNREACHABLE;
	if (hearing->confirmed && ear->asked) {
		ear->asked = false;
		ear->heard_ms = ear->asked_ms;
	}
	if (!ear->armed)
		line_arm(ear);
	if (ear->armed) {
		line_confirm(ear);
		repair_again(ear);
	}
	if (ear->asked)
		return now - ear->asked_ms > silence_ms(ear->tier) ? LARDER_UNREACHABLE : LARDER_OK;
	if (now - ear->asked_ms < ear->tier->keepalive_ms)
		return LARDER_OK;
	ear->asked = true;
	ear->asked_ms = now;
	return ear->kind->ask(ear->line);
}

/* One round: the office, the line, what is heard. */
static enum larder_status ear_step(struct tier_ear *ear, struct tier_hearing *hearing)
{
	if (!office_look(ear))
		return LARDER_OK;
	enum larder_status status = ear->line ? LARDER_OK : line_open(ear);
	if (!status) {
		status = line_attend(ear, hearing);
		if (status)
			line_broken(ear, status);
	}
	return status;
}

/* Until there is something to hear, or to do. */
static void ear_wait(struct tier_ear *ear, int64_t ms)
{
	struct pollfd wait = { .fd = ear->line ? ear->kind->descriptor(ear->line) : -1, .events = POLLIN };
	int64_t most = ear->tier->keepalive_ms < LOOK_MS / 2 ? ear->tier->keepalive_ms : LOOK_MS / 2;

	if (ear->line && !ear->armed)
		return;
	(void)poll(&wait, 1, (int)(ms < most ? ms : most));
}

/* ---- A thread of our own ------------------------------------------------------------------------------------------------------ */

static void *ear_thread(void *arg)
{
	struct tier_ear *ear = arg;
	struct tier_hearing hearing = { .tier = ear->tier };

	(void)pthread_setname_np(pthread_self(), "larder-listen");
	while (!load_acquire(&ear->stop)) {
		(void)ear_step(ear, &hearing);
		ear_wait(ear, LOOK_MS);
	}
	line_close(ear);
	office_leave(ear);
	return NULL;
}

/* A child has its parent's line, but must not use it. */
static void ear_after_fork(struct tier_ear *ear)
{
	if (ear->forks == tier_forks())
		return;
	ear->forks = tier_forks();
	if (ear->line)
		ear->kind->abandon(ear->line);
	ear->office = 0;
	ear->line = NULL;
	ear->runs = ear->armed = ear->asked = false;
}

static enum larder_status ear_start(struct tier_ear *ear)
{
	ear_after_fork(ear);
	ear->runs = tier_thread_start(&ear->thread, ear_thread, ear) == LARDER_OK;
	if (ear->runs)
		return LARDER_OK;
	larder_store_message("store kind tiered: listener = thread: the system starts no thread (RLIMIT_NPROC?); use listener = call");
	return LARDER_SYSTEM;
}

void tier_watch(struct tier *tier)
{
	struct tier_ear *ear = tier->ear;

	if (tier->listener == TIER_LISTEN_NO)
		return;
	watch_slow(tier);
	/* A child of a process that listens can follow it in its office. */
	if (ear && tier->listener == TIER_LISTEN_THREAD && ear->forks != tier_forks() && cas_acq_rel(&ear->busy, 0, 1)) {
		if (ear->forks != tier_forks())
			(void)ear_start(ear);
		store_release(&ear->busy, 0);
	}
}

/* ---- Opening and closing -------------------------------------------------------------------------------------------------------- */

static const struct tier_line_kind *line_for(const struct larder_store *far)
{
	const struct larder_store_kind *kind = larder_store_kind_of(far);

	for (size_t i = 0; tier_lines[i]; i++)
		if (tier_lines[i]->far == kind)
			return tier_lines[i];
	return tier_line_of_test && tier_line_of_test->far == kind ? tier_line_of_test : NULL;
}

static enum larder_status ear_make(struct tier *tier, const struct tier_line_kind *kind)
{
	struct tier_ear *ear = calloc(1, sizeof *ear);

	if (!ear)
		return LARDER_NO_MEMORY;
	*ear = (struct tier_ear){ .tier = tier, .kind = kind, .back_off_ms = BACK_OFF_MS,
		.random = (uint64_t)clock_precise_ns() ^ (uint64_t)getpid() << 32, .forks = tier_forks() };
	tier->ear = ear;
	return tier->listener == TIER_LISTEN_THREAD ? ear_start(ear) : LARDER_OK;
}

enum larder_status tier_ear_open(struct tier *tier)
{
	const struct tier_line_kind *kind = line_for(tier->far);
	char identity[512];

	snprintf(identity, sizeof identity, "%s", larder_store_kind_of(tier->far)->name);
	if (kind)
		kind->identity(tier->far, identity, sizeof identity);
	/* Of a board with few rows these are the first: without them nobody can listen, but a breaker can be a process's own. */
	enum larder_status status = tier_words_find(&tier->words, tier->near.cache, identity);
	if (kind)
		kind->share(tier->far, tier->near_store);
	if (tier->listener == TIER_LISTEN_NO)
		return LARDER_OK; /* then the words are for statistics */
	if (status)
		return status;
	if (!kind) {
		larder_store_message("store kind tiered: listener: a far store of kind %s does not report changes; use listener = no, and near-ttl "
				"to bound how old a value can be", larder_store_kind_of(tier->far)->name);
		return LARDER_INVALID;
	}
	if (kind->refuses(tier->far)) {
		larder_store_message("store kind tiered: %s", kind->refuses(tier->far));
		return LARDER_INVALID;
	}
	watch_slow(tier);
	return tier->listener == TIER_LISTEN_OTHERS ? LARDER_OK : ear_make(tier, kind);
}

void tier_ear_close(struct tier *tier)
{
	struct tier_ear *ear = tier->ear;

	if (!ear)
		return;
	bool ours = ear->forks == tier_forks();
	store_release(&ear->stop, 1);
	if (ear->runs && ours)
		(void)pthread_join(ear->thread, NULL);
	if (!ear->runs && ours) {
		line_close(ear);
		office_leave(ear);
	}
	free(ear);
	tier->ear = NULL;
}

/* ---- What programs call ------------------------------------------------------------------------------------------------------------ */

static struct tier_ear *ear_of_call(struct larder_store *store, enum larder_status *status)
{
	struct tier *tier = tier_of(store);

	*status = !tier ? LARDER_INVALID : tier->listener != TIER_LISTEN_CALL ? LARDER_UNSUPPORTED : LARDER_OK;
	return *status ? NULL : tier->ear;
}

enum larder_status larder_tiered_listen(struct larder_store *store, int64_t timeout_ms, struct larder_tiered_heard *heard)
{
	enum larder_status status;
	struct tier_ear *ear = ear_of_call(store, &status);

	if (!ear)
		return status;
	if (!cas_acq_rel(&ear->busy, 0, 1))
		return LARDER_BUSY;
	ear_after_fork(ear);
	struct tier_hearing hearing = { .tier = ear->tier };
	int64_t deadline = clock_precise_ms() + timeout_ms, left;
	while (status = ear_step(ear, &hearing), (left = deadline - clock_precise_ms()) > 0)
		ear_wait(ear, left);
	uint64_t stream = load_acquire(tier_word(&ear->tier->words, TIER_STREAM));
	if (heard)
		*heard = (struct larder_tiered_heard){ .holder = ear->office != 0, .live = stream_state(stream) == STREAM_LIVE,
			.invalidations = hearing.invalidations };
	store_release(&ear->busy, 0);
	return status;
}

enum larder_status larder_tiered_descriptor(struct larder_store *store, int *descriptor)
{
	enum larder_status status;
	struct tier_ear *ear = ear_of_call(store, &status);

	if (ear && descriptor)
		*descriptor = ear->line && ear->forks == tier_forks() ? ear->kind->descriptor(ear->line) : -1;
	return ear && !descriptor ? LARDER_INVALID : status;
}
