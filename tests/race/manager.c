/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stores come, are replaced and go while threads are in the middle of operations on them.  To be run plain, and built with
 * -Db_sanitize=thread.
 *
 * Two stores have a kind of their own that keeps count of its instances and of the calls in them: a call in an instance that was closed,
 * an instance closed twice or never, or a value of another key is the end of the run.  A third name is of kind memory.  RACE_MS says for
 * how long.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <larder/manager.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define USERS 4u
#define CHANGERS 2u
#define KEYS 16u
#define NAMES 3u

static const char *const names[NAMES] = { "slow", "other", "quick" };
static struct larder_manager *manager;
static struct larder_handle *handles[NAMES];
static _Atomic bool over;
static _Atomic uint64_t opened, closed, calls, missing, changes;

__attribute__((noreturn, format(printf, 1, 2))) static void wrong(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n0 passed, 1 failed\n");
	(void)fflush(stdout);
	_exit(1);
}

/* ---- A kind that watches itself ------------------------------------------------------------------------------------- */

struct watched {
	uint64_t alive; /* plain on purpose: ThreadSanitizer sees a call that is not over when the store closes */
	char value[KEYS][16];
	pthread_mutex_t mutex;
};
#define ALIVE UINT64_C(0x616c697665212121)

static struct watched *here(void *self)
{
	struct watched *w = self;

	if (w->alive != ALIVE)
		wrong("a call in a store that is closed");
	(void)atomic_fetch_add(&calls, 1);
	return w;
}

static enum larder_status watched_open(const struct larder_setting_value *values, void **self)
{
	struct watched *w = calloc(1, sizeof *w);

	(void)values;
	if (!w)
		return LARDER_NO_MEMORY;
	w->alive = ALIVE;
	(void)pthread_mutex_init(&w->mutex, NULL);
	(void)atomic_fetch_add(&opened, 1);
	*self = w;
	return LARDER_OK;
}

static void watched_close(void *self)
{
	struct watched *w = here(self);

	w->alive = 0;
	(void)atomic_fetch_add(&closed, 1);
	free(w);
}

static enum larder_status watched_health(void *self, struct larder_health *health)
{
	health->usable = here(self) != NULL;
	return LARDER_OK;
}

static unsigned key_number(const struct larder_store_key *key)
{
	return (unsigned)((const char *)key->bytes)[key->count - 1] % KEYS;
}

static enum larder_status watched_get(void *self, const struct larder_store_key *key, uint32_t flags, struct larder_buffer *value,
		struct larder_meta *meta)
{
	struct watched *w = here(self);
	enum larder_status status = LARDER_MISS;

	(void)flags, (void)meta;
	(void)pthread_mutex_lock(&w->mutex);
	const char *text = w->value[key_number(key)];
	if (*text)
		status = larder_buffer_take(value, strlen(text));
	if (*text && !status)
		memcpy(value->data, text, value->length);
	(void)pthread_mutex_unlock(&w->mutex);
	(void)here(self);
	return status;
}

static enum larder_status watched_set(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	struct watched *w = here(self);

	(void)options, (void)result;
	(void)pthread_mutex_lock(&w->mutex);
	snprintf(w->value[key_number(key)], sizeof w->value[0], "%.*s", (int)value_bytes, (const char *)value);
	(void)pthread_mutex_unlock(&w->mutex);
	return LARDER_OK;
}

static enum larder_status watched_remove(void *self, const struct larder_store_key *key)
{
	struct watched *w = here(self);

	(void)pthread_mutex_lock(&w->mutex);
	w->value[key_number(key)][0] = '\0';
	(void)pthread_mutex_unlock(&w->mutex);
	return LARDER_OK;
}

static enum larder_status watched_clear(void *self, const struct larder_name *ns, bool soft)
{
	(void)here(self), (void)ns, (void)soft;
	return LARDER_OK;
}

static const struct larder_store_kind kind_watched = { .size = sizeof kind_watched, .name = "watched", .open = watched_open,
	.close = watched_close, .health = watched_health, .get = watched_get, .set = watched_set, .remove = watched_remove,
	.clear = watched_clear };

/* ---- Users and changers ------------------------------------------------------------------------------------------------ */

static unsigned chance(unsigned *state, unsigned below)
{
	return (unsigned)rand_r(state) % below;
}

static void good(enum larder_status status, const char *what)
{
	if (status == LARDER_NO_STORE)
		(void)atomic_fetch_add(&missing, 1);
	else if (status < 0)
		wrong("%s: %s (%d)", what, larder_strerror(status), (int)status);
}

static void use(unsigned *state, struct larder_handle *handle)
{
	char key[8], text[8], data[16];
	struct larder_buffer value = { .data = data, .capacity = sizeof data };
	unsigned number = chance(state, KEYS);
	/* Every fourth key has to be escaped. */
	int count = snprintf(key, sizeof key, "%s%c", number % 4 ? "k" : "k:", (char)('@' + number));

	snprintf(text, sizeof text, "v%c", (char)('@' + number));
	if (chance(state, 4) == 0)
		good(larder_handle_set(handle, key, (size_t)count, text, 2, LARDER_TTL_DEFAULT), "set");
	enum larder_status status = larder_handle_get(handle, key, (size_t)count, &value);
	good(status, "get");
	if (!status && (value.length != 2 || memcmp(data, text, 2)))
		wrong("key %.*s has the value %.*s", count, key, (int)value.length, data);
	if (chance(state, 64) == 0)
		good(larder_handle_delete(handle, key, (size_t)count), "delete");
}

static void *user(void *arg)
{
	unsigned state = (unsigned)(uintptr_t)arg;

	while (!atomic_load(&over))
		use(&state, handles[chance(&state, NAMES)]);
	return NULL;
}

static struct larder_store *fresh(unsigned name)
{
	const struct larder_setting settings[] = { { "bytes", "1m" } };
	struct larder_store *store;
	bool memory = name == NAMES - 1;

	good(larder_store_open(memory ? "memory" : "watched", settings, memory, NULL, NULL, &store), larder_message());
	return store;
}

static void change(unsigned *state)
{
	unsigned name = chance(state, NAMES);
	struct larder_store *store = fresh(name), *seen;
	enum larder_status status;

	switch (chance(state, 4)) {
	case 0:
		status = larder_manager_unregister(manager, names[name]);
		break;
	case 1:
		status = larder_manager_register(manager, names[name], store);
		break;
	default:
		status = larder_manager_replace(manager, names[name], store);
	}
	if (status < 0 && status != LARDER_NO_STORE)
		wrong("%s: %s", names[name], larder_message());
	seen = larder_manager_store(manager, names[name]);
	larder_store_release(&seen);
	larder_store_release(&store);
	(void)atomic_fetch_add(&changes, 1);
}

static void *changer(void *arg)
{
	unsigned state = (unsigned)(uintptr_t)arg;

	while (!atomic_load(&over)) {
		change(&state);
		(void)usleep(100);
	}
	return NULL;
}

/* ---- Forks -------------------------------------------------------------------------------------------------------------- */

#if defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* A child of a process whose threads are anywhere goes on with its manager.  The watched kind is no kind for children: its mutex may
 * have been held when they were made. */
static unsigned fork_once(unsigned seed)
{
#ifndef SANITIZED
	unsigned state = seed;
	int how = 0;
	pid_t child = fork();

	if (child == 0) {
		for (int i = 0; i < 50; i++)
			use(&state, handles[NAMES - 1]);
		struct larder_store *store = fresh(NAMES - 1);
		enum larder_status status = larder_manager_replace(manager, names[NAMES - 1], store);
		_exit(status < 0 && status != LARDER_NO_STORE);
	}
	if (child < 0 || waitpid(child, &how, 0) != child || !WIFEXITED(how) || WEXITSTATUS(how))
		wrong("a child did not come to its end: %d", how);
	return 1;
#else
	(void)seed;
	return 0;
#endif
}

int main(void)
{
	const char *text = getenv("RACE_MS");
	long ms = text && *text ? strtol(text, NULL, 10) : 1000;
	unsigned seed = (unsigned)time(NULL), forks = 0;
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;
	struct timespec pause = { .tv_nsec = 20000000 };
	pthread_t threads[USERS + CHANGERS];

	printf("seed %u\n", seed);
	options.file = "";
	good(larder_kind_register(&kind_watched), "kind");
	good(larder_manager_open_with(&options, &manager), larder_message());
	for (unsigned i = 0; i < NAMES; i++) {
		struct larder_store *store = fresh(i);
		good(larder_manager_register(manager, names[i], store), "register");
		good(larder_manager_handle(manager, names[i], "n", &handles[i]), "handle");
		larder_store_release(&store);
	}
	for (unsigned i = 0; i < USERS + CHANGERS; i++)
		if (pthread_create(&threads[i], NULL, i < USERS ? user : changer, (void *)(uintptr_t)(seed + i)))
			wrong("no thread");
	for (long spent = 0; spent < ms; spent += 20) {
		(void)nanosleep(&pause, NULL);
		forks += fork_once(seed + forks);
	}
	atomic_store(&over, true);
	for (unsigned i = 0; i < USERS + CHANGERS; i++)
		(void)pthread_join(threads[i], NULL);
	larder_manager_close(&manager);
	if (opened != closed)
		wrong("%lu stores opened, %lu closed", (unsigned long)opened, (unsigned long)closed);
	if (!calls || !changes)
		wrong("%lu calls, %lu changes: nothing was tried", (unsigned long)calls, (unsigned long)changes);
	printf("manager: %lu calls, %lu without a store, %lu changes, %lu stores, %u forks\n1 passed, 0 failed\n", (unsigned long)calls,
			(unsigned long)missing, (unsigned long)changes, (unsigned long)opened, forks);
	return 0;
}
