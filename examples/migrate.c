/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program that moves from memcached to larder while it runs, and back: the worked example of larder-migration(7).
 *
 *     migrate SERVER CACHE SECONDS        SERVER: HOST:PORT of a memcached, or the path of its socket
 *
 * It is a store kind "memcached" of its own (a table of functions over libmemcached), and a worker that writes and reads a few
 * hundred sessions through a store of kind migrating.  `larder migrate CACHE MODE` switches it meanwhile.  At the end it says how
 * many answers it had, and how many of them were not what it had written last: none, whatever the mode was.
 */
#define _GNU_SOURCE
#include <err.h>
#include <larder/migrate.h>
#include <larder/store.h>
#include <libmemcached/memcached.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- The store kind memcached ---------------------------------------------------------------------------------------- */

struct memcached_store {
	memcached_st *handle;
	pthread_mutex_t lock; /* libmemcached's handles are not for several threads */
};

static const struct larder_setting_rule rules[] = { { .key = "server", .text = "HOST:PORT, or the path of a socket" } };

static enum larder_status open_memcached(const struct larder_setting_value *values, void **self)
{
	struct memcached_store *store = calloc(1, sizeof *store);
	char options[256];

	snprintf(options, sizeof options, *values[0].text == '/' ? "--SOCKET=\"%s\"" : "--SERVER=%s", values[0].text);
	if (store)
		store->handle = memcached(options, strlen(options));
	if (!store || !store->handle) {
		larder_store_message("memcached: server = %s is not HOST:PORT and no path", values[0].text);
		free(store);
		return LARDER_INVALID;
	}
	pthread_mutex_init(&store->lock, NULL);
	*self = store;
	return LARDER_OK;
}

static void close_memcached(void *self)
{
	struct memcached_store *store = self;

	memcached_free(store->handle);
	pthread_mutex_destroy(&store->lock);
	free(store);
}

/* memcached's keys: NAMESPACE:KEY, up to 250 bytes without blanks. */
static size_t memcached_key(const struct larder_store_key *key, char *text)
{
	int length = snprintf(text, 251, "%s:%.*s", key->ns->escaped, (int)key->count, (const char *)key->bytes);

	return length > 0 && length <= 250 ? (size_t)length : 0;
}

static enum larder_status status_of(struct memcached_store *store, memcached_return_t answer)
{
	switch (answer) {
	case MEMCACHED_SUCCESS:
		return LARDER_OK;
	case MEMCACHED_NOTFOUND:
		return LARDER_MISS;
	case MEMCACHED_NOTSTORED:
		return LARDER_EXISTS;
	default:
		larder_store_message("memcached: %s", memcached_strerror(store->handle, answer));
		return LARDER_SYSTEM;
	}
}

static enum larder_status get_memcached(void *self, const struct larder_store_key *key, uint32_t flags,
		struct larder_buffer *value, struct larder_meta *meta)
{
	struct memcached_store *store = self;
	char text[251];
	size_t length, count = memcached_key(key, text);
	uint32_t user_flags;
	memcached_return_t answer;

	(void)flags;
	if (!count)
		return LARDER_KEY_SIZE;
	pthread_mutex_lock(&store->lock);
	char *data = memcached_get(store->handle, text, count, &length, &user_flags, &answer);
	enum larder_status status = status_of(store, answer);
	pthread_mutex_unlock(&store->lock);
	if (status == LARDER_OK)
		status = larder_buffer_take(value, length);
	if (status == LARDER_OK && length)
		memcpy(value->data, data, length);
	if (status == LARDER_OK && meta) /* ttl_left_ms 0: memcached does not tell */
		*meta = (struct larder_meta){ .value_bytes = length, .user_flags = user_flags };
	free(data);
	return status;
}

static enum larder_status set_memcached(void *self, const struct larder_store_key *key, const void *value, size_t value_bytes,
		const struct larder_set_options *options, struct larder_result *result)
{
	struct memcached_store *store = self;
	char text[251];
	size_t count = memcached_key(key, text);
	bool add = options && options->mode == LARDER_ADD;
	time_t seconds = options && options->ttl_ms > 0 ? (time_t)((options->ttl_ms + 999) / 1000) : 0;

	(void)result;
	if (!count)
		return LARDER_KEY_SIZE;
	if (options && options->mode > LARDER_ADD)
		return LARDER_UNSUPPORTED;
	pthread_mutex_lock(&store->lock);
	memcached_return_t answer = (add ? memcached_add : memcached_set)(store->handle, text, count, value, value_bytes, seconds,
			options ? options->user_flags : 0);
	enum larder_status status = status_of(store, answer);
	pthread_mutex_unlock(&store->lock);
	return status;
}

static enum larder_status remove_memcached(void *self, const struct larder_store_key *key)
{
	struct memcached_store *store = self;
	char text[251];
	size_t count = memcached_key(key, text);

	if (!count)
		return LARDER_KEY_SIZE;
	pthread_mutex_lock(&store->lock);
	enum larder_status status = status_of(store, memcached_delete(store->handle, text, count, 0));
	pthread_mutex_unlock(&store->lock);
	return status;
}

/* memcached knows no namespaces: everything goes. */
static enum larder_status clear_memcached(void *self, const struct larder_name *ns, bool soft)
{
	struct memcached_store *store = self;

	(void)ns, (void)soft;
	pthread_mutex_lock(&store->lock);
	enum larder_status status = status_of(store, memcached_flush(store->handle, 0));
	pthread_mutex_unlock(&store->lock);
	return status;
}

static enum larder_status health_memcached(void *self, struct larder_health *health)
{
	struct memcached_store *store = self;
	memcached_return_t answer;

	pthread_mutex_lock(&store->lock);
	memcached_stat_st *stat = memcached_stat(store->handle, NULL, &answer);
	health->usable = stat && answer == MEMCACHED_SUCCESS;
	memcached_stat_free(store->handle, stat);
	pthread_mutex_unlock(&store->lock);
	snprintf(health->text, sizeof health->text, "memcached %s", health->usable ? "answers" : "does not answer");
	return LARDER_OK;
}

static const struct larder_store_kind kind_memcached = {
	.size = sizeof(struct larder_store_kind),
	.name = "memcached",
	.rules = rules,
	.rule_count = 1,
	.open = open_memcached,
	.close = close_memcached,
	.health = health_memcached,
	.get = get_memcached,
	.set = set_memcached,
	.remove = remove_memcached,
	.clear = clear_memcached,
};

/* ---- The program ------------------------------------------------------------------------------------------------------- */

#define SESSIONS 300

static struct larder_store *stores[2];

static struct larder_store *find(const char *name, void *arg)
{
	(void)arg;
	return stores[!strcmp(name, "new")];
}

static struct larder_store *open_or_die(const char *kind, const struct larder_setting *settings, size_t count)
{
	struct larder_store *store;

	if (larder_store_open(kind, settings, count, find, NULL, &store))
		errx(1, "%s: %s", kind, larder_message());
	return store;
}

static struct larder_store *open_sessions(const char *server, const char *cache)
{
	const struct larder_setting old[] = { { "server", server } };
	const struct larder_setting new[] = { { "name", cache }, { "bytes", "16m" } };
	const struct larder_setting both[] = { { "old", "old" }, { "new", "new" } };

	if (larder_kind_register(&kind_memcached))
		errx(1, "the kind memcached is refused");
	stores[0] = open_or_die("memcached", old, 1);
	stores[1] = open_or_die("shm", new, 2);
	return open_or_die("migrating", both, 2);
}

/* Writes a session or reads it back; false if what it reads is not what it wrote last. */
static bool work(struct larder_store *sessions, unsigned *written, unsigned turn)
{
	unsigned session = (unsigned)rand() % SESSIONS, seen = 0;
	char text[32];
	struct larder_store_key key = { .bytes = text, .count = (size_t)sprintf(text, "%u", session) };
	struct larder_buffer value = { .data = &seen, .capacity = sizeof seen };

	if (larder_name("sessions", &key.ns))
		errx(1, "no memory");
	if (turn % 4 == 0) {
		if (larder_store_set(sessions, &key, &turn, sizeof turn, NULL, NULL))
			errx(1, "set: %s", larder_message());
		written[session] = turn;
		return true;
	}
	enum larder_status status = larder_store_get(sessions, &key, 0, &value, NULL);
	return written[session] ? status == LARDER_OK && seen == written[session] : status == LARDER_MISS;
}

int main(int argc, char **argv)
{
	static unsigned written[SESSIONS];
	unsigned turn = 1, wrong = 0;
	struct larder_migration_info info = { 0 };

	if (argc != 4)
		errx(2, "usage: migrate SERVER CACHE SECONDS, as in 127.0.0.1:11211 sessions 60");
	struct larder_store *sessions = open_sessions(argv[1], argv[2]);
	struct larder *cache = larder_store_cache(sessions);
	for (time_t end = time(NULL) + atoi(argv[3]); time(NULL) < end; turn++)
		wrong += !work(sessions, written, turn);
	(void)larder_migration_info(cache, "default", &info);
	printf("%u operations, %u wrong answers, %llu switches, mode %s at the end\n", turn - 1, wrong,
			(unsigned long long)info.switches, larder_migration_mode_name(info.mode));
	larder_store_release(&sessions);
	larder_store_release(&stores[0]);
	larder_store_release(&stores[1]);
	return wrong != 0;
}
