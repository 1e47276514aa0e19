/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder-storm: workers that do everything at once while a monitor kills and stops them at random (G1 to G4).
 *
 *   larder-storm [--seconds N] [--workers W] [--bytes B] [--seed S] [--expect-bad]
 *
 * Every value says whose it is (kit.h).  A worker checks what it reads: whole, of the right key, and per writer never
 * older than what it has seen before.  Keys that one worker alone writes must read exactly as last written, or be gone
 * and stay gone.  Counters must come out exact but for the calls that death cut short.  Calls are timed; time in which
 * the worker itself was stopped does not count.  In the end the cache must hold as much as a fresh one.
 */
#include "storm.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define STUCK_NS UINT64_C(3000000000)
#define BYSTANDERS 64u
#define CAPACITY_VALUE 1000u

struct monitor {
	struct storm *storm;
	struct larder *cache;
	struct rng rng;
	uint64_t seconds, kills, stops, deaths_by_fault, stuck;
	uint64_t continue_at[STORM_WORKERS_MAX]; /* stopped until then; 0: running */
	uint64_t call_seen[STORM_WORKERS_MAX], seen_at[STORM_WORKERS_MAX];
	uint32_t bystander[BYSTANDERS];          /* sequence last set; 0: absent */
	uint32_t sequence;
	uint64_t bystanders_wrong;
	bool expect_bad;
};

/* ---- Workers come and go ---- */

static void spawn(struct monitor *monitor, unsigned number)
{
	struct storm_worker *worker = &monitor->storm->workers[number];
	pid_t pid;

	worker->generation++;
	atomic_store(&worker->epoch, 0);
	atomic_store(&worker->in_call, 0);
	monitor->continue_at[number] = 0;
	pid = fork();
	if (pid < 0) {
		printf("Bail out! fork: %s\n", strerror(errno));
		exit(99);
	}
	if (pid == 0)
		storm_work(monitor->storm, number);
	worker->pid = pid;
}

static void reap(struct monitor *monitor, unsigned number, bool killed)
{
	int status = 0;

	while (waitpid(monitor->storm->workers[number].pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status) && !(killed && WTERMSIG(status) == SIGKILL)) {
		monitor->deaths_by_fault++;
		tap_note("worker %u died of signal %d", number, WTERMSIG(status));
	} else if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
		monitor->deaths_by_fault++;
		tap_note("worker %u gave up with %d", number, WEXITSTATUS(status));
	}
}

static void kill_worker(struct monitor *monitor, unsigned number)
{
	monitor->kills++;
	kill(monitor->storm->workers[number].pid, SIGKILL);
	reap(monitor, number, true);
	spawn(monitor, number);
}

/* The epoch is odd from before the stop until after the end of it. */
static void stop_worker(struct monitor *monitor, unsigned number)
{
	if (monitor->continue_at[number] != 0)
		return;
	monitor->stops++;
	atomic_fetch_add(&monitor->storm->workers[number].epoch, 1);
	kill(monitor->storm->workers[number].pid, SIGSTOP);
	monitor->continue_at[number] = now_ns() + 100000 + rng_below(&monitor->rng, 100) * 1000000;
}

static void continue_worker(struct monitor *monitor, unsigned number)
{
	monitor->continue_at[number] = 0;
	monitor->seen_at[number] = now_ns();
	kill(monitor->storm->workers[number].pid, SIGCONT);
	atomic_fetch_add(&monitor->storm->workers[number].epoch, 1);
}

/* ---- What the monitor itself sees ---- */

static size_t bystander_key(char *key, size_t size, unsigned number)
{
	return (size_t)snprintf(key, size, "bystander.%u", number);
}

static void bystander_wrong(struct monitor *monitor, const char *key, const char *what)
{
	if (monitor->bystanders_wrong++ < 5)
		tap_note("%s: %s", key, what);
}

static void check_bystander(struct monitor *monitor, unsigned number)
{
	unsigned char value[512];
	char key[32];
	struct stamp stamp;
	size_t length = 0, key_bytes = bystander_key(key, sizeof key, number);
	enum larder_status status = larder_get(monitor->cache, 0, key, key_bytes, value, sizeof value, &length);

	if (status == LARDER_MISS)
		monitor->bystander[number] = 0;
	else if (status != LARDER_OK)
		bystander_wrong(monitor, key, larder_strerror(status));
	else if (stamp_read(value, length, key, key_bytes, &stamp) != STAMP_WHOLE)
		bystander_wrong(monitor, key, "torn or foreign");
	else if (stamp.sequence != monitor->bystander[number])
		bystander_wrong(monitor, key, monitor->bystander[number] ? "an older value" : "risen after it had gone");
}

static void set_bystander(struct monitor *monitor, unsigned number)
{
	unsigned char value[512];
	char key[32];
	size_t length = STAMP_BYTES_MIN + rng_below(&monitor->rng, 400), key_bytes = bystander_key(key, sizeof key, number);
	enum larder_status status;

	stamp_write(value, length, key, key_bytes, 0, ++monitor->sequence);
	status = larder_set(monitor->cache, 0, key, key_bytes, value, length, LARDER_TTL_NONE);
	if (status != LARDER_OK)
		bystander_wrong(monitor, key, larder_strerror(status));
	else
		monitor->bystander[number] = monitor->sequence;
}

static void use_bystanders(struct monitor *monitor)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned number = (unsigned)rng_below(&monitor->rng, BYSTANDERS);

		check_bystander(monitor, number);
		if (rng_below(&monitor->rng, 3) == 0)
			set_bystander(monitor, number);
	}
}

/* A worker that runs but stays in one call is held back by somebody. */
static void watch_worker(struct monitor *monitor, unsigned number)
{
	uint64_t call = atomic_load(&monitor->storm->workers[number].in_call), now = now_ns();

	if (call != monitor->call_seen[number] || call == 0 || monitor->continue_at[number] != 0) {
		monitor->call_seen[number] = call;
		monitor->seen_at[number] = now;
	} else if (now - monitor->seen_at[number] > STUCK_NS) {
		monitor->stuck++;
		tap_note("worker %u has been in one call for 3 s", number);
		kill_worker(monitor, number);
		monitor->seen_at[number] = now;
	}
}

/* ---- The storm ---- */

static unsigned running(const struct monitor *monitor)
{
	unsigned count = 0;

	for (unsigned i = 0; i < monitor->storm->workers_count; i++)
		count += monitor->continue_at[i] == 0;
	return count;
}

static void strike(struct monitor *monitor)
{
	unsigned number = (unsigned)rng_below(&monitor->rng, monitor->storm->workers_count);
	uint64_t choice = rng_below(&monitor->rng, 10);

	if (choice < 4)
		kill_worker(monitor, number); /* also one that stands still */
	else if (choice < 7 && running(monitor) > 1)
		stop_worker(monitor, number);
}

static void rage(struct monitor *monitor)
{
	uint64_t end = now_ns() + monitor->seconds * UINT64_C(1000000000);

	while (now_ns() < end) {
		sleep_us(100 + (unsigned)rng_below(&monitor->rng, 4000));
		strike(monitor);
		use_bystanders(monitor);
		for (unsigned i = 0; i < monitor->storm->workers_count; i++) {
			if (monitor->continue_at[i] != 0 && now_ns() > monitor->continue_at[i])
				continue_worker(monitor, i);
			watch_worker(monitor, i);
		}
	}
}

static void end_storm(struct monitor *monitor)
{
	atomic_store(&monitor->storm->over, true);
	for (unsigned i = 0; i < monitor->storm->workers_count; i++) {
		if (monitor->continue_at[i] != 0)
			continue_worker(monitor, i);
	}
	for (unsigned i = 0; i < monitor->storm->workers_count; i++)
		reap(monitor, i, false);
}

static void on_alarm(int number)
{
	static const char text[] = "Bail out! the monitor was held back\n";

	(void)number;
	if (write(STDOUT_FILENO, text, sizeof text - 1) < 0)
		_exit(98);
	_exit(99);
}

/* ---- The account ---- */

static uint64_t sum_of(const struct storm *storm, enum storm_tally tally)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < storm->workers_count; i++)
		sum += storm->workers[i].tally[tally];
	return sum;
}

static void judge_counter(struct monitor *monitor, unsigned number)
{
	char key[32], text[32];
	size_t length = 0, key_bytes = storm_counter_key(key, sizeof key, number);
	uint64_t done = 0, least = monitor->kills;
	enum larder_status status = larder_get(monitor->cache, 0, key, key_bytes, text, sizeof text - 1, &length);
	uint64_t value;

	for (unsigned i = 0; i < monitor->storm->workers_count; i++)
		done += monitor->storm->workers[i].increments[number];
	if (status == LARDER_MISS || atomic_load(&monitor->storm->counter_gone[number])) {
		tap_note("counter %u was evicted", number);
		return;
	}
	text[length < sizeof text ? length : 0] = '\0';
	value = strtoull(text, NULL, 10);
	tap_ok(status == LARDER_OK && value >= done && value <= done + least,
			"counter %u: %" PRIu64 " for %" PRIu64 " increments that returned and at most %" PRIu64 " that did not",
			number, value, done, least);
}

static double fresh_capacity(const struct monitor *monitor)
{
	struct larder *cache = NULL;
	char path[sizeof monitor->storm->path + 8];
	double held = 0;

	snprintf(path, sizeof path, "%s.fresh", monitor->storm->path);
	if (larder_open(path, monitor->storm->bytes, &cache) == LARDER_OK) {
		capacity_age(cache, storm_ttls_ms, STORM_TTLS);
		held = capacity_measure(cache, CAPACITY_VALUE);
	}
	larder_close(&cache);
	larder_destroy(path);
	return held;
}

static void tell_damage(const char *text, void *arg)
{
	(void)arg;
	tap_note("check: %s", text);
}

static void judge_cache(struct monitor *monitor)
{
	double fresh = fresh_capacity(monitor), held;
	struct larder_stat stat;
	uint64_t faults = 0;
	enum larder_status status = larder_check(monitor->cache, tell_damage, NULL, &faults);

	tap_ok(status == LARDER_OK && faults == 0, "check finds %" PRIu64 " faults", faults);
	status = larder_stat(monitor->cache, &stat);
	tap_ok(status == LARDER_OK && stat.participants_alive == 1, "%" PRIu64 " participant is left",
			status == LARDER_OK ? stat.participants_alive : 0);
	tap_ok(status == LARDER_OK && stat.damage == 0 && stat.contended == 0,
			"%" PRIu64 " damaged words, %" PRIu64 " calls gave up, %" PRIu64 " inserts finished for others", stat.damage,
			stat.contended, stat.pending_completed);
	held = capacity_measure(monitor->cache, CAPACITY_VALUE);
	tap_ok(capacity_kept(monitor->cache, held, fresh), "it holds %.1f entries, a fresh one %.1f (%+.2f %%)", held, fresh,
			100 * (held / fresh - 1));
}

/* True: nothing was wrong with any value or call. */
static bool clean(const struct monitor *monitor)
{
	return sum_of(monitor->storm, TALLY_TORN) + sum_of(monitor->storm, TALLY_FOREIGN) +
			sum_of(monitor->storm, TALLY_STALE) + sum_of(monitor->storm, TALLY_OWN) +
			sum_of(monitor->storm, TALLY_HELD_BACK) + sum_of(monitor->storm, TALLY_FAILED) +
			monitor->bystanders_wrong + monitor->stuck + monitor->deaths_by_fault == 0;
}

static void judge(struct monitor *monitor)
{
	const struct storm *storm = monitor->storm;

	tap_note("%" PRIu64 " calls, %" PRIu64 " hits, %" PRIu64 " kills, %" PRIu64 " stops, slowest call %.2f ms",
			sum_of(storm, TALLY_CALLS), sum_of(storm, TALLY_HITS), monitor->kills, monitor->stops,
			(double)atomic_load(&storm->slowest_ns) / 1e6);
	if (monitor->expect_bad) {
		tap_ok(!clean(monitor), "the planted fault shows");
		return;
	}
	tap_ok(sum_of(storm, TALLY_CALLS) > 1000 && sum_of(storm, TALLY_HITS) > 100 && monitor->kills > 0 && monitor->stops > 0,
			"there was a storm");
	tap_ok(sum_of(storm, TALLY_TORN) == 0, "%" PRIu64 " values torn", sum_of(storm, TALLY_TORN));
	tap_ok(sum_of(storm, TALLY_FOREIGN) == 0, "%" PRIu64 " values foreign", sum_of(storm, TALLY_FOREIGN));
	tap_ok(sum_of(storm, TALLY_STALE) == 0, "%" PRIu64 " values stale", sum_of(storm, TALLY_STALE));
	tap_ok(sum_of(storm, TALLY_OWN) == 0, "%" PRIu64 " own keys not as last written", sum_of(storm, TALLY_OWN));
	tap_ok(monitor->bystanders_wrong == 0, "%" PRIu64 " bystanders wrong", monitor->bystanders_wrong);
	tap_ok(sum_of(storm, TALLY_HELD_BACK) + monitor->stuck == 0, "%" PRIu64 " calls held back, %" PRIu64 " for ever",
			sum_of(storm, TALLY_HELD_BACK), monitor->stuck);
	tap_ok(sum_of(storm, TALLY_FAILED) == 0, "%" PRIu64 " calls failed", sum_of(storm, TALLY_FAILED));
	tap_ok(monitor->deaths_by_fault == 0, "%" PRIu64 " workers died of themselves", monitor->deaths_by_fault);
	for (unsigned i = 0; i < STORM_COUNTERS; i++)
		judge_counter(monitor, i);
	judge_cache(monitor);
}

/* ---- The program ---- */

static void set_up(struct monitor *monitor)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	char key[32];

	snprintf(monitor->storm->path, sizeof monitor->storm->path, "storm-%ld", (long)getpid());
	options.bytes = monitor->storm->bytes;
	options.flags = LARDER_EXCLUSIVE;
	if (larder_open_with(monitor->storm->path, &options, &monitor->cache) != LARDER_OK) {
		printf("Bail out! %s\n", larder_message());
		exit(99);
	}
	for (unsigned i = 0; i < STORM_COUNTERS; i++)
		larder_incr(monitor->cache, 0, key, storm_counter_key(key, sizeof key, i), 0, NULL);
	larder_namespace(monitor->cache, "flushed", &monitor->storm->flushed_ns);
	signal(SIGALRM, on_alarm);
	alarm((unsigned)monitor->seconds + 60);
}

static void take_options(struct monitor *monitor, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' }, { "workers", required_argument, NULL, 'w' },
		{ "bytes", required_argument, NULL, 'b' },   { "seed", required_argument, NULL, 'r' },
		{ "expect-bad", no_argument, NULL, 'e' },    { NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 's')
			monitor->seconds = strtoull(optarg, NULL, 0);
		else if (option == 'w')
			monitor->storm->workers_count = (unsigned)strtoul(optarg, NULL, 0);
		else if (option == 'b')
			monitor->storm->bytes = strtoull(optarg, NULL, 0);
		else if (option == 'r')
			monitor->storm->seed = strtoull(optarg, NULL, 0);
		else if (option == 'e')
			monitor->expect_bad = true;
		else
			exit(2);
	}
	if (monitor->storm->workers_count < 2 || monitor->storm->workers_count > STORM_WORKERS_MAX)
		exit(2);
}

int main(int argc, char **argv)
{
	struct monitor monitor = { .seconds = 5 };

	monitor.storm = mmap(NULL, sizeof *monitor.storm, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (monitor.storm == MAP_FAILED)
		return 99;
	monitor.storm->workers_count = 6;
	monitor.storm->bytes = 8u << 20;
	monitor.storm->seed = rng_seed();
	take_options(&monitor, argc, argv);
	monitor.rng.state = monitor.storm->seed;
	tap_note("seed %" PRIu64, monitor.storm->seed);
	set_up(&monitor);
	for (unsigned i = 0; i < monitor.storm->workers_count; i++)
		spawn(&monitor, i);
	rage(&monitor);
	end_storm(&monitor);
	judge(&monitor);
	larder_close(&monitor.cache);
	larder_destroy(monitor.storm->path);
	return tap_done();
}
