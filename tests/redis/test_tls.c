/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TLS, against a server with a certificate that the test makes.  Skipped with a word where there is no openssl to make one, or a
 * redis-server or a larder without TLS.
 */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server server;
static char url[64], named[64], ca[96], cert[96], key[96];
static int tls_port;

static bool shell(const char *directory, const char *format, const char *name, const char *subject)
{
	char script[400], command[600];

	snprintf(script, sizeof script, format, name, subject, name, name);
	snprintf(command, sizeof command, "cd '%s' && (%s) >/dev/null 2>&1", directory, script);
	return !system(command);
}

/* A certificate of its own authority, for the address and the name of this host. */
static void make_certificate(const char *directory)
{
	const char *form = "openssl req -x509 -newkey rsa:2048 -nodes -keyout %s.key -subj %s -days 2 -out %s.crt "
			"-addext subjectAltName=IP:127.0.0.1,DNS:localhost && chmod 600 %s.key";

	if (!shell(directory, form, "server", "/CN=localhost"))
		cr_skip_test("there is no openssl to make certificates with");
	cr_assert(shell(directory, form, "other", "/CN=other"));
}

static void setup(void)
{
	static char port[16];
	char directory[64];

	/* The first start is for the directory alone. */
	server_start(&server, true);
	snprintf(directory, sizeof directory, "%s", server.directory);
	make_certificate(directory);
	server_kill(&server);
	tls_port = server_port();
	snprintf(port, sizeof port, "%d", tls_port);
	snprintf(ca, sizeof ca, "%s/server.crt", directory);
	snprintf(cert, sizeof cert, "%s/server.crt", directory);
	snprintf(key, sizeof key, "%s/server.key", directory);
	const char *arguments[] = { "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca,
		"--tls-auth-clients", "optional", NULL };
	memcpy(server.arguments, arguments, sizeof arguments);
	server_restart(&server);
	snprintf(url, sizeof url, "rediss://127.0.0.1:%d", tls_port);
	snprintf(named, sizeof named, "rediss://localhost:%d", tls_port);
	const struct larder_setting probe[] = { { "url", url } };
	struct larder_store *store;
	if (larder_store_open("redis", probe, 1, NULL, NULL, &store) == LARDER_UNSUPPORTED)
		cr_skip_test("this larder has no TLS");
	larder_store_release(&store);
}

static void teardown(void)
{
	server_end(&server);
}
TestSuite(tls, .init = setup, .fini = teardown);

static enum larder_status roundtrip(struct larder_store *store, size_t bytes)
{
	struct larder_store_key k = key_of("t", "k");
	struct larder_buffer value = { .grow = true };
	char *sent = malloc(bytes);

	for (size_t i = 0; i < bytes; i++)
		sent[i] = (char)(i * 31 + i / 1000);
	enum larder_status status = larder_store_set(store, &k, sent, bytes, NULL, NULL);
	if (!status)
		status = larder_store_get(store, &k, 0, &value, NULL);
	cr_assert(status || (value.length == bytes && !memcmp(value.data, sent, bytes)));
	free(value.data);
	free(sent);
	return status;
}

Test(tls, values_of_any_size_come_back)
{
	struct larder_store *store = store_open(url, "tls-ca", ca, "timeout", "5s", "connect-timeout", "5s", NULL);

	assert_status(roundtrip(store, 1), LARDER_OK);
	assert_status(roundtrip(store, 16384), LARDER_OK);
	assert_status(roundtrip(store, 5000000), LARDER_OK);
	for (int i = 0; i < 200; i++)
		assert_status(roundtrip(store, 100), LARDER_OK);
	cr_assert(strstr(server_say(&server, "INFO stats | grep total_connections_received"), ":") != NULL);
	larder_store_release(&store);
	store = store_open(named, "tls-ca", ca, "timeout", "5s", "connect-timeout", "5s", NULL);
	assert_status(roundtrip(store, 100), LARDER_OK);
	larder_store_release(&store);
}

Test(tls, one_connection_serves_many_calls)
{
	struct larder_store *store = store_open(url, "tls-ca", ca, "timeout", "5s", "connect-timeout", "5s", NULL);
	const char *question = "INFO stats | grep total_connections_received | cut -d: -f2";

	assert_status(roundtrip(store, 1), LARDER_OK);
	int before = atoi(server_say(&server, "%s", question));
	for (int i = 0; i < 100; i++)
		assert_status(roundtrip(store, 100), LARDER_OK);
	cr_assert_leq(atoi(server_say(&server, "%s", question)) - before, 1, "redis-cli's own");
	larder_store_release(&store);
}

static void refused(struct larder_store *store, const char *said)
{
	for (int i = 0; i < 10; i++) {
		assert_status(roundtrip(store, 1), LARDER_REFUSED);
		cr_assert(strstr(larder_message(), said) && strstr(larder_message(), "TLS"), "%s", larder_message());
	}
	larder_store_release(&store);
}

Test(tls, a_certificate_that_is_not_trusted_is_refused_and_said_why)
{
	char other[96];

	snprintf(other, sizeof other, "%s/other.crt", server.directory);
	refused(store_open(url, "timeout", "5s", "connect-timeout", "5s", NULL), "certificate");
	refused(store_open(url, "tls-ca", other, "timeout", "5s", "connect-timeout", "5s", NULL), "certificate");
	refused(store_open(url, "tls-ca", ca, "tls-name", "elsewhere", "timeout", "5s", "connect-timeout", "5s", NULL), "ostname");
}

Test(tls, whoever_answers_is_trusted_if_that_was_asked_for)
{
	struct larder_store *store = store_open(url, "tls-verify", "no", "timeout", "5s", "connect-timeout", "5s", NULL);

	assert_status(roundtrip(store, 1), LARDER_OK);
	larder_store_release(&store);
}

Test(tls, a_certificate_of_our_own_is_shown_where_the_server_asks)
{
	struct larder_store *with, *without = store_open(url, "tls-ca", ca, "timeout", "2s", "connect-timeout", "2s", NULL);

	server_say(&server, "CONFIG SET tls-auth-clients yes");
	with = store_open(url, "tls-ca", ca, "tls-cert", cert, "tls-key", key, "timeout", "5s", "connect-timeout", "5s", NULL);
	assert_status(roundtrip(with, 1), LARDER_OK);
	cr_assert_lt(roundtrip(without, 1), 0);
	larder_store_release(&with);
	larder_store_release(&without);
}

Test(tls, a_server_that_does_not_speak_it_costs_the_time_out_at_most)
{
	char plain[64];

	snprintf(plain, sizeof plain, "rediss://127.0.0.1:%d", server.port);
	struct larder_store *store = store_open(plain, "tls-ca", ca, "breaker-failures", "0", "timeout", "300ms", "connect-timeout", "300ms", NULL);
	int64_t began = now_ms();
	cr_assert_lt(roundtrip(store, 1), 0);
	cr_assert_lt(now_ms() - began, 20000);
	server_freeze(&server);
	began = now_ms();
	assert_status(roundtrip(store, 1), LARDER_UNREACHABLE);
	cr_assert_lt(now_ms() - began, 20000);
	larder_store_release(&store);
	server_thaw(&server);
}

Test(tls, settings_that_cannot_be_are_refused)
{
	const struct larder_setting plain[] = { { "url", "redis://127.0.0.1" }, { "tls-ca", ca } };
	const struct larder_setting missing[] = { { "url", url }, { "tls-ca", "/nowhere/ca.crt" } };
	struct larder_store *store;

	assert_status(larder_store_open("redis", plain, 2, NULL, NULL, &store), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "rediss://"), "%s", larder_message());
	assert_status(larder_store_open("redis", missing, 2, NULL, NULL, &store), LARDER_INVALID);
	cr_assert(strstr(larder_message(), "/nowhere/ca.crt"), "%s", larder_message());
}
