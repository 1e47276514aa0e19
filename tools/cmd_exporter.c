/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder exporter: what Prometheus asks for, over HTTP (libmicrohttpd): /metrics and /healthz.
 *
 * Caches are attached read-only, at the start if they are there: one that is not, or was destroyed, is looked for
 * anew at each request, and larder_up says which it is.  One thread of libmicrohttpd serves all requests, so nothing of
 * what they use is shared; the main thread waits for the signal to end.
 */
#define _GNU_SOURCE
#include "exporter.h"
#include "follow.h"
#include "sample.h"
#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define USUAL_LISTEN "127.0.0.1:9770"
#define CONNECTIONS_MAX 64u
#define CONNECTION_TIMEOUT_S 10u

struct target {
	struct follow follow;
	char label[300]; /* its name in printable ASCII, and nothing to escape in it */
	char told[300];  /* the state that was told last */
};

struct exporter {
	struct target *targets;
	unsigned target_count;
	uint64_t scrapes;
};

static const struct option longs[] = { LONG_HELP, { "listen", required_argument, NULL, 'l' }, LONG_END };

/* ---- One cache ---- */

/* Says how a cache is, whenever that changes. */
static void tell(struct target *target)
{
	if (!strcmp(target->told, target->follow.state))
		return;
	memcpy(target->told, target->follow.state, sizeof target->told);
	complain("cache '%s': %s", target->follow.name, target->told);
}

/* ---- Answers ---- */

static void write_gauge(FILE *out, const char *cache, const char *name, const char *text, double value)
{
	fprintf(out, "# HELP %s %s.\n# TYPE %s gauge\n%s{cache=\"%s\"} %.15g\n", name, text, name, name, cache, value);
}

/* What does not change while a cache lives, and what alerts compare its counters with. */
static void write_geometry(FILE *out, const char *cache, const struct larder_info *info)
{
	write_gauge(out, cache, "larder_size_bytes", "size of the cache, index and all", (double)info->bytes);
	write_gauge(out, cache, "larder_segments", "segments that the cache consists of", info->segments);
	write_gauge(out, cache, "larder_participants_limit", "threads that can be attached at a time",
			info->participants);
	write_gauge(out, cache, "larder_namespaces_limit", "namespaces that the cache has room for", info->namespaces);
	write_gauge(out, cache, "larder_created_timestamp_seconds", "when the cache was made, since 1970",
			(double)info->created_at_ms / 1000);
}

static char *target_text(struct target *target)
{
	struct sample sample;
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	bool there = follow_sample(&target->follow, &sample);
	tell(target);
	write_gauge(out, target->label, "larder_up", "1 if the cache is there and could be read", there);
	if (there) {
		static const struct sample_filter all = { .name = NULL };
		write_geometry(out, target->label, &target->follow.info);
		prometheus_write(out, target->label, &sample, &all);
		sample_free(&sample);
	}
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

static char *metrics_text(struct exporter *exporter)
{
	struct exposition all = { .count = 0 };
	char scrapes[200], *text;

	for (unsigned i = 0; i < exporter->target_count; i++) {
		text = target_text(&exporter->targets[i]);
		if (!text || !exposition_add(&all, text)) {
			exposition_free(&all);
			return NULL;
		}
	}
	snprintf(scrapes, sizeof scrapes, "# HELP larder_exporter_scrapes_total requests for metrics so far.\n"
			"# TYPE larder_exporter_scrapes_total counter\nlarder_exporter_scrapes_total %" PRIu64 "\n",
			++exporter->scrapes);
	text = exposition_add(&all, strdup(scrapes)) ? exposition_join(&all) : NULL;
	exposition_free(&all);
	return text;
}

/* One line for each cache; *status is 503 unless all are there. */
static char *health_text(struct exporter *exporter, unsigned *status)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	for (unsigned i = 0; i < exporter->target_count; i++) {
		struct target *target = &exporter->targets[i];
		bool there = follow_attach(&target->follow);
		tell(target);
		fprintf(out, "%s: %s\n", target->follow.name, there ? "ok" : target->follow.state);
		*status = there ? *status : MHD_HTTP_SERVICE_UNAVAILABLE;
	}
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

/* ---- HTTP ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, char *text, const char *type)
{
	struct MHD_Response *response;

	if (text)
		response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	else
		response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result serve(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
		const char *version, const char *upload, size_t *upload_bytes, void **seen)
{
	static const char plain[] = "text/plain; charset=utf-8";
	struct exporter *exporter = arg;
	unsigned status = MHD_HTTP_OK;
	char *text;

	(void)version, (void)upload;
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD)) {
		*upload_bytes = 0;
		return *seen || !(*seen = exporter)
				? answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, strdup("only GET and HEAD\n"), plain)
				: MHD_YES;
	}
	if (!*seen) { /* the head only: it is answered once the whole request is there */
		*seen = exporter;
		return MHD_YES;
	}
	if (!strcmp(url, "/metrics")) {
		text = metrics_text(exporter);
		return answer(connection, text ? MHD_HTTP_OK : MHD_HTTP_INTERNAL_SERVER_ERROR, text,
				"text/plain; version=0.0.4; charset=utf-8");
	}
	if (!strcmp(url, "/healthz")) {
		text = health_text(exporter, &status);
		return answer(connection, text ? status : MHD_HTTP_INTERNAL_SERVER_ERROR, text, plain);
	}
	if (!strcmp(url, "/"))
		return answer(connection, MHD_HTTP_OK, strdup("larder exporter: /metrics, /healthz\n"), plain);
	return answer(connection, MHD_HTTP_NOT_FOUND, strdup("there is /metrics and /healthz\n"), plain);
}

/* What clients do wrong is none of our business. */
static void __attribute__((format(printf, 2, 0))) keep_quiet(void *arg, const char *format, va_list arguments)
{
	(void)arg, (void)format, (void)arguments;
}

/* ---- Where to listen ---- */

/* ADDRESS[:PORT], with an address of IPv6 in brackets; ends the program if it is none. */
static struct addrinfo *listen_address(const char *text)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *found;
	char *copy = strdup(text), *host = copy, *port = NULL;
	char *end = host && *host == '[' ? strchr(host, ']') : NULL;

	if (end) {
		*end++ = '\0';
		host++;
		port = *end == ':' ? end + 1 : NULL;
	} else if (host && (port = strrchr(host, ':'))) {
		*port++ = '\0';
	}
	if (port && *port && version_argument("port", port) > 65535)
		usage_error("listen '%s': a port is 0 to 65535", text);
	int error = host ? getaddrinfo(*host ? host : "127.0.0.1", port && *port ? port : "9770", &hints, &found)
			 : EAI_MEMORY;
	if (error)
		usage_error("listen '%s': %s; say ADDRESS:PORT, as in " USUAL_LISTEN " or [::1]:9770", text,
				gai_strerror(error));
	free(copy);
	return found;
}

static struct MHD_Daemon *start(struct exporter *exporter, const struct addrinfo *address)
{
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | MHD_USE_ERROR_LOG;

	if (address->ai_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	return MHD_start_daemon(flags, 0, NULL, NULL, serve, exporter,
			MHD_OPTION_EXTERNAL_LOGGER, keep_quiet, NULL,
			MHD_OPTION_SOCK_ADDR, address->ai_addr,
			MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
			MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S,
			MHD_OPTION_END);
}

static void tell_address(struct MHD_Daemon *daemon, const struct addrinfo *address)
{
	const union MHD_DaemonInfo *port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
	char host[64] = "?";
	bool six = address->ai_family == AF_INET6;

	getnameinfo(address->ai_addr, address->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST);
	printf("listening on http://%s%s%s:%u/metrics\n", six ? "[" : "", host, six ? "]" : "", port ? port->port : 0);
	fflush(stdout);
}

static int serve_until_signal(struct exporter *exporter, const char *listen)
{
	struct addrinfo *address = listen_address(listen);
	sigset_t signals;
	int signal_number;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL); /* before there are threads */
	signal(SIGPIPE, SIG_IGN);
	errno = 0;
	struct MHD_Daemon *daemon = start(exporter, address);
	if (!daemon) {
		freeaddrinfo(address);
		return complain_errno("cannot listen on %s", listen);
	}
	tell_address(daemon, address);
	freeaddrinfo(address);
	sigwait(&signals, &signal_number);
	MHD_stop_daemon(daemon);
	return TOOL_OK;
}

static void name_target(struct exporter *exporter, unsigned number, const char *name)
{
	struct target *target = &exporter->targets[number];

	target->follow.name = name;
	snprintf(target->label, sizeof target->label, "%s", name);
	for (char *c = target->label; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			*c = '_';
	for (unsigned i = 0; i < number; i++)
		if (!strcmp(exporter->targets[i].label, target->label))
			usage_error("cache '%s' is named twice", name);
}

/* A slip of the pen is seen at once, and not at the first scrape; that a cache comes later is no fault. */
static void look_for(struct exporter *exporter)
{
	for (unsigned i = 0; i < exporter->target_count; i++) {
		struct target *target = &exporter->targets[i];
		if (follow_attach(&target->follow))
			continue;
		complain("%s; larder_up is 0 until it is there", target->follow.state);
		memcpy(target->told, target->follow.state, sizeof target->told);
	}
}

static int run(int argc, char **argv)
{
	const char *listen = USUAL_LISTEN;
	struct exporter exporter = { .scrapes = 0 };
	int option;

	while ((option = option_next(argc, argv, ":hl:", longs)) != -1)
		listen = option == 'l' ? optarg : listen;
	operands_expect(argc, argv, 1, 64);
	exporter.target_count = (unsigned)(argc - optind);
	exporter.targets = calloc(exporter.target_count, sizeof *exporter.targets);
	if (!exporter.targets)
		return report_cache(LARDER_NO_MEMORY);
	for (unsigned i = 0; i < exporter.target_count; i++)
		name_target(&exporter, i, argv[optind + (int)i]);
	look_for(&exporter);
	int code = serve_until_signal(&exporter, listen);
	for (unsigned i = 0; i < exporter.target_count; i++)
		follow_end(&exporter.targets[i].follow);
	free(exporter.targets);
	return code;
}

const struct command cmd_exporter = {
	.name = "exporter",
	.summary = "Serves metrics to Prometheus over HTTP",
	.synopsis = "[-l ADDRESS:PORT] CACHE ...",
	.options = "  -l, --listen ADDRESS:PORT  where to listen (default: " USUAL_LISTEN
		   ", this host alone)\n" HELP_HELP,
	.run = run,
};
