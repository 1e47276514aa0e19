/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does the store kind redis cost beside bare hiredis?  Both speak to one server over a UNIX socket, in turns, from one process:
 * single gets and sets, each timed by itself, and a hundred keys in one go.  "known": the store is told that generations of
 * namespaces hold for an hour, and does not ask for them; "asked", as it comes, it asks in the same round trip.
 */
#include <hiredis/hiredis.h>
#include <larder/store.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "peer.h"

#define SAMPLES 4000u
#define MANY 100u
#define KEYS 1000u

struct side {
	const char *name;
	redisContext *bare;
	struct larder_store *store;
	const struct larder_name *ns;
	unsigned value_bytes;
	char keys[KEYS][16];
	char *value, *room;
};

typedef bool operation(struct side *side, unsigned n);

/* ---- hiredis --------------------------------------------------------------------------------------------------------- */

static bool bare_take(struct side *side, int type)
{
	redisReply *reply = NULL;
	bool good = redisGetReply(side->bare, (void **)&reply) == REDIS_OK && reply->type == type;

	if (good && type == REDIS_REPLY_STRING)
		memcpy(side->room, reply->str, reply->len < side->value_bytes ? reply->len : side->value_bytes);
	freeReplyObject(reply);
	return good;
}

static bool bare_get(struct side *side, unsigned n)
{
	redisAppendCommand(side->bare, "GET bench:%s", side->keys[n % KEYS]);
	return bare_take(side, REDIS_REPLY_STRING);
}

static bool bare_set(struct side *side, unsigned n)
{
	redisAppendCommand(side->bare, "SET bench:%s %b", side->keys[n % KEYS], side->value, (size_t)side->value_bytes);
	return bare_take(side, REDIS_REPLY_STATUS);
}

static bool bare_get_many(struct side *side, unsigned n)
{
	bool good = true;

	for (unsigned i = 0; i < MANY; i++)
		redisAppendCommand(side->bare, "GET bench:%s", side->keys[(n + i) % KEYS]);
	for (unsigned i = 0; i < MANY; i++)
		good &= bare_take(side, REDIS_REPLY_STRING);
	return good;
}

static bool bare_set_many(struct side *side, unsigned n)
{
	bool good = true;

	for (unsigned i = 0; i < MANY; i++)
		redisAppendCommand(side->bare, "SET bench:%s %b", side->keys[(n + i) % KEYS], side->value, (size_t)side->value_bytes);
	for (unsigned i = 0; i < MANY; i++)
		good &= bare_take(side, REDIS_REPLY_STATUS);
	return good;
}

/* ---- larder ---------------------------------------------------------------------------------------------------------- */

static struct larder_store_key key_at(const struct side *side, unsigned n)
{
	const char *text = side->keys[n % KEYS];

	return (struct larder_store_key){ .ns = side->ns, .bytes = text, .count = strlen(text) };
}

static bool store_get(struct side *side, unsigned n)
{
	struct larder_store_key key = key_at(side, n);
	struct larder_buffer value = { .data = side->room, .capacity = side->value_bytes };

	return larder_store_get(side->store, &key, 0, &value, NULL) == LARDER_OK;
}

static bool store_set(struct side *side, unsigned n)
{
	struct larder_store_key key = key_at(side, n);

	return larder_store_set(side->store, &key, side->value, side->value_bytes, NULL, NULL) == LARDER_OK;
}

static bool store_get_many(struct side *side, unsigned n)
{
	struct larder_store_item items[MANY];
	bool good = true;

	for (unsigned i = 0; i < MANY; i++) {
		items[i] = (struct larder_store_item){ .key = key_at(side, n + i) };
		items[i].value = (struct larder_buffer){ .data = side->room, .capacity = side->value_bytes };
	}
	good &= larder_store_mget(side->store, 0, items, MANY) == LARDER_OK;
	for (unsigned i = 0; i < MANY; i++)
		good &= items[i].status == LARDER_OK;
	return good;
}

static bool store_set_many(struct side *side, unsigned n)
{
	struct larder_store_write writes[MANY];

	for (unsigned i = 0; i < MANY; i++)
		writes[i] = (struct larder_store_write){ .key = key_at(side, n + i), .value = side->value,
			.value_bytes = side->value_bytes };
	return larder_store_write_many(side->store, writes, MANY) == LARDER_OK;
}

/* ---- Measuring ------------------------------------------------------------------------------------------------------- */

static const struct question {
	const char *text;
	operation *bare, *store;
	unsigned samples;
} questions[] = {
	{ "get", bare_get, store_get, SAMPLES },
	{ "set", bare_set, store_set, SAMPLES },
	{ "100 gets in one go", bare_get_many, store_get_many, SAMPLES / 20 },
	{ "100 sets in one go", bare_set_many, store_set_many, SAMPLES / 20 },
};
#define SIDES 3u

static int order(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The sides take turns, call by call, so that the machine treats them alike. */
static int measure(struct side sides[SIDES], const struct question *question, unsigned rounds, double *times[SIDES])
{
	unsigned count = question->samples * rounds;

	for (unsigned n = 0; n < count && !bench_interrupted(); n++) {
		for (unsigned s = 0; s < SIDES; s++) {
			uint64_t began = bench_now_ns();
			if (!(sides[s].bare ? question->bare : question->store)(&sides[s], n)) {
				bench_complain("redis: %s failed: %s", question->text, sides[s].bare ? sides[s].bare->errstr : larder_message());
				return -1;
			}
			times[s][n] = (double)(bench_now_ns() - began) / 1000;
		}
	}
	for (unsigned s = 0; s < SIDES; s++)
		qsort(times[s], count, sizeof *times[s], order);
	return bench_interrupted() ? -1 : 0;
}

static void tell(const struct side sides[SIDES], const struct question *question, unsigned rounds, double *times[SIDES],
		struct report *report)
{
	unsigned count = question->samples * rounds;

	for (unsigned s = 0; s < SIDES; s++) {
		report_row(report);
		report_text(report, "operation", "%s", question->text);
		report_text(report, "by", "%s", sides[s].name);
		report_number(report, "median us", times[s][count / 2], 1);
		report_number(report, "p99 us", times[s][count * 99 / 100], 1);
		report_number(report, "to hiredis", times[s][count / 2] / times[0][count / 2], 2);
	}
}

static int ask_all(struct side sides[SIDES], const struct bench_options *options, struct report *report)
{
	unsigned rounds = options->rounds < 10 ? options->rounds : 10;
	double *times[SIDES];
	int result = 0;

	for (unsigned s = 0; s < SIDES; s++)
		times[s] = calloc((size_t)SAMPLES * rounds, sizeof *times[s]);
	for (unsigned n = 0; n < KEYS; n++)
		result |= !bare_set(&sides[0], n);
	for (unsigned q = 0; q < sizeof questions / sizeof *questions && !result; q++) {
		bench_progress("redis: %s", questions[q].text);
		result = measure(sides, &questions[q], rounds, times);
		if (!result)
			tell(sides, &questions[q], rounds, times, report);
	}
	bench_progress_end();
	for (unsigned s = 0; s < SIDES; s++)
		free(times[s]);
	return result ? -1 : 0;
}

static int side_open(struct side *side, const char *socket, const char *age, unsigned value_bytes)
{
	char url[200];

	side->value_bytes = value_bytes;
	side->value = calloc(2, value_bytes);
	if (!side->value)
		return -1;
	side->room = side->value + value_bytes;
	memset(side->value, 'v', value_bytes);
	for (unsigned n = 0; n < KEYS; n++)
		snprintf(side->keys[n], sizeof side->keys[n], "key-%06u", n);
	if (!age) {
		side->bare = redisConnectUnix(socket);
		return side->bare && !side->bare->err ? 0 : -1;
	}
	snprintf(url, sizeof url, "unix://%s", socket);
	const struct larder_setting settings[] = { { "url", url }, { "generation-age", age }, { "timeout", "2s" } };
	if (larder_name("bench", &side->ns) || larder_store_open("redis", settings, 3, NULL, NULL, &side->store)) {
		bench_complain("redis: %s", larder_message());
		return -1;
	}
	return 0;
}

static void side_close(struct side *side)
{
	if (side->bare)
		redisFree(side->bare);
	larder_store_release(&side->store);
	free(side->value);
}

int redis_run(const struct bench_options *options, struct report *report)
{
	static struct side sides[SIDES] = { { .name = "hiredis" }, { .name = "larder, asked" }, { .name = "larder, known" } };
	static const char *const ages[SIDES] = { NULL, "0ms", "1h" };
	struct peer peer = { .kind = &peer_redis };
	struct peer_server server = { 0 };
	int result = 0;

	snprintf(peer.name, sizeof peer.name, "bench.%d.redis", (int)getpid());
	server_path(&peer, &server);
	char *arguments[] = { "redis-server", "--port", "0", "--unixsocket", server.socket, "--save", "", "--appendonly", "no", "--dir",
		server.directory, NULL };
	if (server_start(&peer, &server, arguments[0], arguments) < 0) {
		bench_complain("redis: %s", peer.trouble);
		server_sweep(&peer);
		return -1;
	}
	for (unsigned s = 0; s < SIDES; s++)
		result |= side_open(&sides[s], server.socket, ages[s], options->value_bytes);
	report_section(report, "redis", "one process, one server, a UNIX socket; values of %u bytes", options->value_bytes);
	if (!result)
		result = ask_all(sides, options, report);
	for (unsigned s = 0; s < SIDES; s++)
		side_close(&sides[s]);
	server_stop(&server);
	server_sweep(&peer);
	return result ? -1 : 0;
}
