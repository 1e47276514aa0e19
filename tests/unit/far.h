/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A far store for tests of tiers: a cache in shared memory of its own, behind a link that can be slow, broken, refusing or stopped, and
 * that counts what comes over it; and a line that reports changes.  All switches lie in memory that forked processes share.
 */
#ifndef LARDER_TESTS_FAR_H
#define LARDER_TESTS_FAR_H

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <larder/tiered.h>

#include "tier/ear.h"

struct far_link {
	struct word down;       /* every call fails with LARDER_UNREACHABLE, and no line can be opened */
	struct word refuses;    /* writes fail with LARDER_REFUSED */
	struct word delay_us;
	struct word gate;       /* gets that have their answer wait here until it is 0 */
	struct word waiting;    /* how many do */
	struct word hold;       /* batches of writes wait here until it is 0 */
	struct word held;       /* how many do */
	struct word gets, sets, removes, batches, writes;
	struct word told_ms;    /* created_at_ms of the last that was set */
	struct word born_ms;    /* created_at_ms of whatever is read; 0: times are not kept */
	/* the line */
	struct word deaf;       /* questions are not answered */
	struct word cut;        /* the line ends */
	struct word opened, heard;
	struct word clear_all;
	struct word news;       /* keys reported: those of ring[0 .. news) */
	char ring[4096][40];    /* "namespace:key" */
};

static struct far_link *far_link;
static struct larder_store *far_beneath, *far_store, *near_store, *tier;
static char far_name[64], near_name[64];

static inline void far_sleep_us(uint64_t us)
{
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000 }, NULL);
}

static inline int64_t far_now_ms(void) { return clock_precise_ms(); }

/* LARDER_OK, or what the link makes of the call. */
static inline enum larder_status far_pass(bool writes)
{
	far_sleep_us(load_acquire(&far_link->delay_us));
	if (load_acquire(&far_link->down))
		return LARDER_UNREACHABLE;
	return writes && load_acquire(&far_link->refuses) ? LARDER_REFUSED : LARDER_OK;
}

static enum larder_status far_open(const struct larder_setting_value *values, void **self)
{
	(void)values;
	*self = far_beneath;
	return LARDER_OK;
}

static void far_close(void *self) { (void)self; }

static enum larder_status far_health(void *self, struct larder_health *health)
{
	(void)self;
	health->usable = !load_acquire(&far_link->down);
	snprintf(health->text, sizeof health->text, "a store of the test");
	return LARDER_OK;
}

static enum larder_status far_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	enum larder_status status = far_pass(false);

	(void)add_acq_rel(&far_link->gets, 1);
	if (!status)
		status = larder_store_get(self, key, flags, value, meta);
	if (meta)
		meta->created_at_ms = (int64_t)load_acquire(&far_link->born_ms);
	(void)add_acq_rel(&far_link->waiting, 1);
	while (load_acquire(&far_link->gate))
		far_sleep_us(200);
	(void)add_acq_rel(&far_link->waiting, UINT64_MAX);
	return status;
}

static enum larder_status far_set(void *self, const struct larder_store_key *key, const void *value, size_t bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	enum larder_status status = far_pass(true);

	(void)add_acq_rel(&far_link->sets, 1);
	store_release(&far_link->told_ms, options ? (uint64_t)options->created_at_ms : 0);
	return status ? status : larder_store_set(self, key, value, bytes, options, result);
}

static enum larder_status far_remove(void *self, const struct larder_store_key *key)
{
	enum larder_status status = far_pass(true);

	(void)add_acq_rel(&far_link->removes, 1);
	return status ? status : larder_store_delete(self, key);
}

static enum larder_status far_clear(void *self, const struct larder_name *name, bool soft)
{
	enum larder_status status = far_pass(true);

	return status ? status : larder_store_clear(self, name, soft);
}

static enum larder_status far_write_many(void *self, struct larder_store_write *writes, size_t count)
{
	(void)add_acq_rel(&far_link->held, 1);
	while (load_acquire(&far_link->hold))
		far_sleep_us(200);
	(void)add_acq_rel(&far_link->held, UINT64_MAX);
	enum larder_status status = far_pass(true);

	(void)add_acq_rel(&far_link->batches, 1);
	(void)add_acq_rel(&far_link->writes, count);
	for (size_t i = 0; i < count; i++)
		store_release(&far_link->told_ms, (uint64_t)(writes[i].options ? writes[i].options->created_at_ms : 0));
	if (!status)
		return larder_store_write_many(self, writes, count);
	for (size_t i = 0; i < count; i++)
		writes[i].status = status;
	return status == LARDER_REFUSED ? LARDER_OK : status;
}

static enum larder_status far_touch(void *self, const struct larder_store_key *key, int64_t ttl_ms)
{
	enum larder_status status = far_pass(true);

	return status ? status : larder_store_touch(self, key, ttl_ms);
}

static enum larder_status far_incr(void *self, const struct larder_store_key *key, int64_t delta, bool create, int64_t initial,
		int64_t ttl_ms, int64_t *sum)
{
	enum larder_status status = far_pass(true);

	return status ? status : larder_store_incr(self, key, delta, create, initial, ttl_ms, sum);
}

static const struct larder_store_kind far_kind = {
	.size = sizeof(struct larder_store_kind), .name = "far-of-test", .open = far_open, .close = far_close, .health = far_health, .get = far_get,
	.set = far_set, .remove = far_remove, .clear = far_clear, .write_many = far_write_many, .touch = far_touch, .incr = far_incr,
};

/* ---- The line --------------------------------------------------------------------------------------------------------- */

struct far_line {
	uint64_t at;    /* of the ring */
	uint64_t clears;
	bool asked;
	int fd;
};

static void far_identity(const struct larder_store *far, char *text, size_t room)
{
	(void)far;
	snprintf(text, room, "far of test");
}

static void far_share(struct larder_store *far, struct larder_store *near)
{
	(void)far;
	(void)near;
}

static const char *far_refuses(const struct larder_store *far)
{
	(void)far;
	return NULL;
}

static enum larder_status far_line_open(struct larder_store *far, int64_t timeout_ms, void **line)
{
	struct far_line *l = calloc(1, sizeof *l);

	(void)far;
	(void)timeout_ms;
	if (!l || load_acquire(&far_link->down)) {
		free(l);
		return LARDER_UNREACHABLE;
	}
	*l = (struct far_line){ .at = load_acquire(&far_link->news), .clears = load_acquire(&far_link->clear_all), .fd = eventfd(0, EFD_CLOEXEC) };
	store_release(&far_link->cut, 0);
	(void)add_acq_rel(&far_link->opened, 1);
	*line = l;
	return LARDER_OK;
}

static void far_line_close(void *line)
{
	close(((struct far_line *)line)->fd);
	free(line);
}

static int far_line_fd(void *line) { return ((struct far_line *)line)->fd; }

static enum larder_status far_line_ask(void *line)
{
	((struct far_line *)line)->asked = true;
	return LARDER_OK;
}

static enum larder_status far_line_hear(void *line, struct tier_hearing *hearing)
{
	struct far_line *l = line;

	if (load_acquire(&far_link->down) || load_acquire(&far_link->cut))
		return LARDER_UNREACHABLE;
	if (load_acquire(&far_link->deaf))
		return LARDER_OK;
	for (uint64_t news = load_acquire(&far_link->news); l->at < news; l->at++) {
		char *text = far_link->ring[l->at % 4096], ns[40];
		snprintf(ns, sizeof ns, "%.*s", (int)(strchr(text, ':') - text), text);
		tier_heard_key(hearing, ns, strchr(text, ':') + 1, strlen(strchr(text, ':') + 1));
		(void)add_acq_rel(&far_link->heard, 1);
	}
	for (uint64_t clears = load_acquire(&far_link->clear_all); l->clears < clears; l->clears++)
		tier_heard_clear(hearing, NULL);
	hearing->confirmed = l->asked;
	l->asked = false;
	return LARDER_OK;
}

static const struct tier_line_kind far_line_kind = { .far = &far_kind, .identity = far_identity, .share = far_share,
	.refuses = far_refuses, .open = far_line_open, .close = far_line_close, .abandon = far_line_close, .descriptor = far_line_fd, .ask = far_line_ask, .hear = far_line_hear };

/* Somebody else changes a key in the far store, and it is reported. */
static inline void far_change(const char *ns, const char *key, const char *value)
{
	struct larder_store_key k = { .bytes = key, .count = strlen(key) };

	cr_assert_eq(larder_name(ns, &k.ns), LARDER_OK);
	cr_assert_eq(larder_store_set(far_beneath, &k, value, strlen(value), NULL, NULL), LARDER_OK);
	uint64_t place = load_acquire(&far_link->news);
	snprintf(far_link->ring[place % 4096], sizeof far_link->ring[0], "%s:%s", ns, key);
	store_release(&far_link->news, place + 1);
}

/* ---- Stores ------------------------------------------------------------------------------------------------------------- */

static struct larder_store *far_find(const char *name, void *arg)
{
	(void)arg;
	return !strcmp(name, "near") ? near_store : !strcmp(name, "far") ? far_store : NULL;
}

static struct larder_store *far_cache(const char *name, const char *bytes)
{
	const struct larder_setting settings[] = { { "name", name }, { "bytes", bytes } };
	struct larder_store *store;

	cr_assert_eq(larder_store_open("shm", settings, 2, NULL, NULL, &store), LARDER_OK, "%s", larder_message());
	return store;
}

/* A tier with these settings, "key=value" each, ended by NULL. */
static inline struct larder_store *far_tier(const char *const *texts)
{
	struct larder_setting settings[32] = { { "near", "near" }, { "far", "far" } };
	struct larder_store *store = NULL;
	char copies[32][128];
	size_t count = 2;

	for (; *texts; texts++, count++) {
		snprintf(copies[count], sizeof copies[count], "%s", *texts);
		settings[count].key = copies[count];
		char *equals = strchr(copies[count], '=');
		settings[count].value = equals + 1;
		*equals = '\0';
	}
	cr_assert_eq(larder_store_open("tiered", settings, count, far_find, NULL, &store), LARDER_OK, "%s", larder_message());
	return store;
}
#define TIER(...) (tier = far_tier((const char *const[]){ __VA_ARGS__, NULL }))

static inline void far_setup(void)
{
	far_link = mmap(NULL, sizeof *far_link, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(far_link, MAP_FAILED);
	/* Names that no process before this one can have had: one that was killed leaves its caches behind. */
	snprintf(far_name, sizeof far_name, "test-far-%d-%llx", (int)getpid(), (unsigned long long)clock_precise_ns());
	snprintf(near_name, sizeof near_name, "test-near-%d-%llx", (int)getpid(), (unsigned long long)clock_precise_ns());
	far_beneath = far_cache(far_name, "8m");
	near_store = far_cache(near_name, "4m");
	(void)larder_kind_register(&far_kind);
	tier_line_of_test = &far_line_kind;
	cr_assert_eq(larder_store_open("far-of-test", NULL, 0, NULL, NULL, &far_store), LARDER_OK, "%s", larder_message());
}

static inline void far_teardown(void)
{
	larder_store_release(&tier);
	larder_store_release(&far_store);
	larder_store_release(&near_store);
	larder_store_release(&far_beneath);
	larder_destroy(far_name);
	larder_destroy(near_name);
}

/* ---- Shorthands ----------------------------------------------------------------------------------------------------------- */

#define ok(call) cr_assert_eq((int)(call), LARDER_OK, "%s", #call)
#define is(call, status) do { int is_ = (int)(call); cr_assert_eq(is_, (int)(status), "%s is %d, not %s", #call, is_, #status); } while (0)

static inline struct larder_store_key key_in(const char *ns, const char *text)
{
	struct larder_store_key key = { .bytes = text, .count = strlen(text) };

	cr_assert_eq(larder_name(ns, &key.ns), LARDER_OK);
	return key;
}
#define K(text) (&(struct larder_store_key[1]){ key_in("n", text) }[0])

static inline enum larder_status put(struct larder_store *store, const char *key, const char *value)
{
	return larder_store_set(store, K(key), value, strlen(value), NULL, NULL);
}

/* "value" of key there, or "(status)". */
static inline const char *look(struct larder_store *store, const char *key)
{
	static char data[8][128];
	static unsigned turn;
	char *text = data[turn++ % 8];
	struct larder_buffer value = { .data = text, .capacity = 100 };
	enum larder_status status = larder_store_get(store, K(key), 0, &value, NULL);

	if (status == LARDER_OK)
		text[value.length] = '\0';
	else
		snprintf(text, 32, "(%d)", (int)status);
	return text;
}
#define holds(store, key, value) cr_assert_str_eq(look(store, key), value)

/* Whether what must come does.  A quiet machine takes no longer than `ms`; how long a busy one takes says nothing of the library. */
static inline bool within_ms(int64_t ms, bool (*happened)(void))
{
	for (int64_t end = far_now_ms() + (ms < 2000 ? 20000 : 10 * ms); far_now_ms() < end; far_sleep_us(1000))
		if (happened())
			return true;
	return happened();
}

#endif
