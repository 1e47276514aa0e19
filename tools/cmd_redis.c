/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder redis: whether a Redis answers, what its breaker and counters say, and removing what cleared namespaces left there.
 *
 * Each action is one function of the table below; a new one is one line there, and its text in the help.
 */
#include "tool.h"
#include "redis_reconcile.h"

#include <inttypes.h>
#include <larder/redis.h>
#include <stdlib.h>
#include <string.h>

#define PINGS_MAX 1000u

struct request {
	const char *url, *near, *ns, *timeout, *prefix;
	uint64_t limit;
	uint32_t count;
	int64_t timeout_ms;
	bool json, all, envelope;
};

static const struct option longs[] = {
	LONG_HELP, LONG_JSON, LONG_NAMESPACE,
	{ "all", no_argument, NULL, 'a' },
	{ "count", required_argument, NULL, 'c' },
	{ "envelope", no_argument, NULL, 'e' },
	{ "limit", required_argument, NULL, 'l' },
	{ "near", required_argument, NULL, 'n' },
	{ "prefix", required_argument, NULL, 'p' },
	{ "timeout", required_argument, NULL, 't' },
	LONG_END,
};

static int report(enum larder_status status)
{
	complain("%s", *larder_message() ? larder_message() : larder_strerror(status));
	return TOOL_FAILED;
}

/* ---- ping ------------------------------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int print_ping(const struct request *request, uint64_t times[], uint32_t count, const struct larder_health *health)
{
	qsort(times, count, sizeof *times, by_size);
	if (request->json) {
		json_t *object = json_object();
		json_object_set_new(object, "text", json_string(health->text));
		json_object_set_new(object, "count", json_number(count));
		json_object_set_new(object, "least_ns", json_number(times[0]));
		json_object_set_new(object, "median_ns", json_number(times[count / 2]));
		json_object_set_new(object, "most_ns", json_number(times[count - 1]));
		return json_print(object, false);
	}
	uint64_t median = times[count / 2];
	printf("%s: %" PRIu32 " %s, round trip %.1f us (%.1f .. %.1f)\n", health->text, count, plural(count, "time", "times"), (double)median / 1000,
			(double)times[0] / 1000, (double)times[count - 1] / 1000);
	return TOOL_OK;
}

static int do_ping(struct larder_store *store, const struct request *request)
{
	uint64_t times[PINGS_MAX];
	struct larder_health health = { 0 };

	for (uint32_t i = 0; i < request->count; i++) {
		enum larder_status status = larder_store_health(store, &health);
		if (status)
			return report(status);
		if (!health.usable) {
			complain("%s", health.text);
			return TOOL_FAILED;
		}
		times[i] = health.round_trip_ns;
	}
	return print_ping(request, times, request->count, &health);
}

/* ---- status ---------------------------------------------------------------------------------------------------------- */

static const char *const breakers[] = { "closed", "open", "probing" };

static json_t *node_json(const struct larder_redis_node *node)
{
	json_t *object = json_object();

	json_object_set_new(object, "address", json_string(node->address));
	json_object_set_new(object, "breaker", json_string(breakers[node->breaker]));
	json_object_set_new(object, "retry_ms", json_integer((json_int_t)node->retry_ms));
	json_object_set_new(object, "failures", json_number(node->failures));
	json_object_set_new(object, "opened", json_number(node->opened));
	json_object_set_new(object, "closed", json_number(node->closed));
	json_object_set_new(object, "probes", json_number(node->probes));
	json_object_set_new(object, "refused", json_number(node->refused));
	json_object_set_new(object, "slots", json_number(node->slots));
	json_object_set_new(object, "last", json_string(node->last));
	return object;
}

static void print_node(const struct larder_redis_node *node)
{
	printf("%s: breaker %s", node->address, breakers[node->breaker]);
	if (node->breaker != LARDER_REDIS_CLOSED)
		printf(" (next try in %" PRIu64 " ms)", node->retry_ms);
	printf(", %" PRIu64 " %s, opened %" PRIu64 " and closed %" PRIu64 " %s, %" PRIu64 " %s, %" PRIu64 " %s refused", node->failures,
			plural(node->failures, "failure", "failures"), node->opened, node->closed, plural(node->closed, "time", "times"),
			node->probes, plural(node->probes, "try", "tries"), node->refused, plural(node->refused, "call", "calls"));
	if (node->slots)
		printf(", %u slots", node->slots);
	printf(*node->last ? ", last failure: %s\n" : "\n", node->last);
}

static int status_json(const struct larder_store *store, const struct larder_health *health, const struct larder_redis_status *status)
{
	json_t *object = json_object(), *nodes = json_array(), *counters = json_object();
	struct larder_redis_node node = { .size = sizeof node };

	json_object_set_new(object, "usable", json_boolean(health->usable));
	json_object_set_new(object, "text", json_string(health->text));
	json_object_set_new(object, "shared", json_boolean(status->shared));
	for (unsigned i = 0; larder_redis_node(store, i, &node) == LARDER_OK; i++)
		json_array_append_new(nodes, node_json(&node));
#define LARDER_REDIS_COUNTER(name, text) json_object_set_new(counters, #name, json_number(status->name));
#include <larder/redis.def>
#undef LARDER_REDIS_COUNTER
	json_object_set_new(object, "nodes", nodes);
	json_object_set_new(object, "counters", counters);
	return json_print(object, false);
}

/* What is shared is looked at before this process's own check changes it. */
static int do_status(struct larder_store *store, const struct request *request)
{
	struct larder_redis_status status = { .size = sizeof status };
	struct larder_redis_node node = { .size = sizeof node };
	struct larder_health health;
	enum larder_status failure = larder_store_health(store, &health);

	if (!failure)
		failure = larder_redis_status(store, &status);
	if (failure)
		return report(failure);
	if (request->json)
		return status_json(store, &health, &status);
	printf("%s\n", health.text);
	for (unsigned i = 0; larder_redis_node(store, i, &node) == LARDER_OK; i++)
		print_node(&node);
	printf("%s\n", status.shared ? "of all processes since the cache was created:" : "of this process alone (--near CACHE: of all):");
#define LARDER_REDIS_COUNTER(name, text) printf("%12" PRIu64 "  %-20s %s\n", status.name, #name, text);
#include <larder/redis.def>
#undef LARDER_REDIS_COUNTER
	return health.usable ? TOOL_OK : TOOL_FAILED;
}

/* ---- clear ----------------------------------------------------------------------------------------------------------- */

/* With --all the namespace is cleared for all who use it first: nothing may come back while its keys are removed. */
static int do_clear(struct larder_store *store, const struct request *request)
{
	const struct larder_name *ns;
	uint64_t removed = 0;
	enum larder_status status = larder_name(request->ns, &ns);

	if (!status && request->all)
		status = larder_store_clear(store, ns, false);
	if (!status)
		status = larder_redis_sweep(store, request->ns, false, request->limit, request->timeout_ms, &removed);
	if (request->json && status >= 0) {
		json_t *object = json_object();
		json_object_set_new(object, "removed", json_number(removed));
		json_object_set_new(object, "complete", json_boolean(status == LARDER_OK));
		return json_print(object, false);
	}
	if (status < 0)
		return report(status);
	printf("%" PRIu64 " %s removed%s\n", removed, plural(removed, "key", "keys"), status == LARDER_OK ? "" : "; there may be more (--limit, --timeout)");
	return TOOL_OK;
}

/* ---- reconcile -------------------------------------------------------------------------------------------------------- */

static int do_reconcile(struct larder_store *store, const struct request *request)
{
	(void)store; /* a tier needs one with other settings */
	if (!request->near)
		usage_error("reconcile: which cache? --near CACHE names it");
	return redis_reconcile(&(struct reconcile){ .url = request->url, .near = request->near, .prefix = request->prefix,
			.timeout_ms = request->timeout_ms, .json = request->json, .envelope = request->envelope });
}

/* ---- The way there --------------------------------------------------------------------------------------------------- */

static const struct action {
	const char *name;
	int (*run)(struct larder_store *store, const struct request *request);
} actions[] = {
	{ "ping", do_ping },
	{ "status", do_status },
	{ "clear", do_clear },
	{ "reconcile", do_reconcile },
};

static const struct action *action_argument(const char *text)
{
	for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
		if (!strcmp(actions[i].name, text))
			return &actions[i];
	usage_error("'%s' is nothing that can be done; 'larder redis --help' lists what is", text);
}

static struct larder_store *find_near(const char *name, void *arg)
{
	(void)name;
	return arg;
}

static int open_near(const char *name, struct larder_store **near)
{
	const struct larder_setting settings[] = { { "name", name }, { "attach-only", "yes" } };
	enum larder_status status = larder_store_open("shm", settings, 2, NULL, NULL, near);

	return status ? report_open(name, status) : TOOL_OK;
}

static int open_store(const struct request *request, struct larder_store *near, struct larder_store **store)
{
	struct larder_setting settings[6] = { { "url", request->url }, { "client-name", "larder-tool" },
		{ "timeout", request->timeout }, { "connect-timeout", request->timeout }, { "prefix", request->prefix } };
	size_t count = 5;

	if (near)
		settings[count++] = (struct larder_setting){ "near", request->near };
	enum larder_status status = larder_store_open("redis", settings, count, find_near, near, store);
	if (!status)
		return TOOL_OK;
	(void)report(status);
	return status == LARDER_INVALID ? TOOL_USAGE : TOOL_FAILED;
}

static int act(const struct action *action, const struct request *request)
{
	struct larder_store *near = NULL, *store = NULL;
	int code = request->near ? open_near(request->near, &near) : TOOL_OK;

	if (code == TOOL_OK)
		code = open_store(request, near, &store);
	if (code == TOOL_OK)
		code = action->run(store, request);
	larder_store_release(&store);
	larder_store_release(&near);
	return code;
}

static void take_option(int option, struct request *request)
{
	switch (option) {
	case 'a': request->all = true; break;
	case 'j': request->json = true; break;
	case 'e': request->envelope = true; break;
	case 'c': request->count = number_argument("count", optarg); break;
	case 'l': request->limit = size_argument("limit", optarg); break;
	case 'n': request->near = optarg; break;
	case 'N': request->ns = optarg; break;
	case 'p': request->prefix = optarg; break;
	default:
		request->timeout = optarg;
		request->timeout_ms = duration_argument("time-out", optarg);
	}
}

static int run(int argc, char **argv)
{
	struct request request = { .url = getenv("LARDER_REDIS_URL"), .ns = "", .timeout = "1s", .prefix = "", .limit = UINT64_MAX,
		.count = 1, .timeout_ms = 60000 };
	int option;

	while ((option = option_next(argc, argv, ":hjaec:l:n:N:p:t:", longs)) != -1)
		take_option(option, &request);
	if (optind == argc)
		usage_error("say what to do: ping, status, clear or reconcile");
	operands_expect(argc, argv, 1, 2);
	const struct action *action = action_argument(argv[optind]);
	if (argc - optind == 2)
		request.url = argv[optind + 1];
	if (!request.url)
		usage_error("no URL: give one, or set LARDER_REDIS_URL");
	if (!request.count || request.count > PINGS_MAX)
		usage_error("count '%u': 1 .. %u", request.count, PINGS_MAX);
	return act(action, &request);
}

const struct command cmd_redis = {
	.name = "redis",
	.summary = "Asks a Redis whether it answers, shows its breaker, removes what cleared namespaces left",
	.synopsis = "[OPTION ...] ping | status | clear | reconcile [URL]",
	.options = "  ping                     round trips (--count of them)\n"
		"  status                   servers, breakers, counters (with --near of all processes of the host)\n"
		"  clear                    removes from Redis what cleared namespaces left there\n"
		"  reconcile                brings what is dirty in the cache --near to Redis: what failed, or was never written behind\n"
		"  -a, --all                clear: clears the namespace, too\n"
		"  -c, --count N            ping: so many times, up to 1000 (default: 1)\n"
		"  -e, --envelope           reconcile: values are records (envelope = yes of the store)\n"
		"  -l, --limit N            clear: at most so many keys\n"
		"  -n, --near CACHE         the cache whose segment holds breaker and counters\n"
		"  -N, --namespace NAME     clear: this namespace (default: the one without a name)\n"
		"  -p, --prefix TEXT        what every key of the store begins with\n"
		"  -t, --timeout TIME       of each call, and of clear and reconcile as a whole (default: 1s, and 1m)\n"
		HELP_JSON HELP_HELP,
	.run = run,
};
