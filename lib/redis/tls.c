/* SPDX-License-Identifier: BSD-2-Clause */
/* TLS for connections to Redis, see tls.h. */
#include "redis/tls.h"

#include "base/message.h"

#ifdef LARDER_REDIS_TLS
#include <arpa/inet.h>
#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sync.h"

#define LIBRARY "libssl.so.3"

#define CALLS(CALL) \
	CALL(TLS_client_method) CALL(SSL_CTX_new) CALL(SSL_CTX_free) CALL(SSL_CTX_ctrl) CALL(SSL_CTX_set_verify) \
	CALL(SSL_CTX_set_default_verify_paths) CALL(SSL_CTX_load_verify_locations) CALL(SSL_CTX_use_certificate_chain_file) \
	CALL(SSL_CTX_use_PrivateKey_file) CALL(SSL_new) CALL(SSL_free) CALL(SSL_ctrl) CALL(SSL_set_bio) CALL(SSL_set_connect_state) \
	CALL(SSL_do_handshake) CALL(SSL_read) CALL(SSL_write) CALL(SSL_get_error) CALL(SSL_get_verify_result) CALL(SSL_set1_host) \
	CALL(SSL_get0_param) CALL(X509_VERIFY_PARAM_set1_ip_asc) CALL(X509_verify_cert_error_string) CALL(BIO_new) CALL(BIO_s_mem) \
	CALL(BIO_read) CALL(BIO_write) CALL(BIO_free) CALL(BIO_ctrl_pending) CALL(ERR_get_error) CALL(ERR_clear_error) \
	CALL(ERR_error_string_n)

struct calls {
#define CALL(name) __typeof__(&name) name;
	CALLS(CALL)
#undef CALL
};

struct tls_context {
	const struct calls *calls;
	SSL_CTX *ssl;
	struct tls_options options;
};

struct tls {
	const struct calls *calls;
	SSL *ssl;
	BIO *in, *out; /* ssl's: freed with it */
};

/* ---- The library ----------------------------------------------------------------------------------------------------- */

static bool load(struct calls *calls)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		message_set("rediss:// needs OpenSSL 3, which is not here: %s; install libssl3", dlerror());
		return false;
	}
#define CALL(name) \
	*(void **)&calls->name = dlsym(library, #name); \
	if (!calls->name) { \
		message_set("rediss:// needs OpenSSL 3; its %s has no %s", LIBRARY, #name); \
		return false; \
	}
	CALLS(CALL)
#undef CALL
	return true;
}

/* Loaded once and kept: who loses the CAS has loaded the same. */
static const struct calls *the_calls(void)
{
	static struct pointer loaded;
	struct calls *calls = pointer_load_acquire(&loaded); /* NAMED (acquire) */

	if (calls)
		return calls;
	calls = malloc(sizeof *calls);
	if (!calls || !load(calls)) {
		free(calls);
		return NULL;
	}
	if (pointer_cas_acq_rel(&loaded, NULL, calls)) /* NAMED (release) */
		return calls;
	free(calls);
	return pointer_load_acquire(&loaded);
}

/* ---- Contexts -------------------------------------------------------------------------------------------------------- */

static enum larder_status file_refused(const struct calls *calls, const char *setting, const char *file)
{
	char why[128];

	calls->ERR_error_string_n(calls->ERR_get_error(), why, sizeof why);
	message_set("store kind redis: %s = %s cannot be used: %s", setting, file, why);
	return LARDER_INVALID;
}

static enum larder_status take_files(struct tls_context *context)
{
	const struct calls *calls = context->calls;
	const struct tls_options *options = &context->options;

	calls->ERR_clear_error();
	if (*options->ca && calls->SSL_CTX_load_verify_locations(context->ssl, options->ca, NULL) != 1)
		return file_refused(calls, "tls-ca", options->ca);
	if (!*options->ca && calls->SSL_CTX_set_default_verify_paths(context->ssl) != 1)
		return file_refused(calls, "tls-ca", "(the system's)");
	if (*options->cert && calls->SSL_CTX_use_certificate_chain_file(context->ssl, options->cert) != 1)
		return file_refused(calls, "tls-cert", options->cert);
	if (*options->key && calls->SSL_CTX_use_PrivateKey_file(context->ssl, options->key, SSL_FILETYPE_PEM) != 1)
		return file_refused(calls, "tls-key", options->key);
	return LARDER_OK;
}

enum larder_status tls_context_make(const struct tls_options *options, struct tls_context **made)
{
	const struct calls *calls = the_calls();
	struct tls_context *context = calls ? calloc(1, sizeof *context) : NULL;

	if (!context)
		return calls ? LARDER_NO_MEMORY : LARDER_UNSUPPORTED;
	context->calls = calls;
	context->options = *options;
	context->ssl = calls->SSL_CTX_new(calls->TLS_client_method());
	enum larder_status status = context->ssl ? take_files(context) : LARDER_NO_MEMORY;
	if (status) {
		tls_context_free(context);
		return status;
	}
	(void)calls->SSL_CTX_ctrl(context->ssl, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
	calls->SSL_CTX_set_verify(context->ssl, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	*made = context;
	return LARDER_OK;
}

void tls_context_free(struct tls_context *context)
{
	if (!context)
		return;
	if (context->ssl)
		context->calls->SSL_CTX_free(context->ssl);
	free(context);
}

/* ---- Connections ----------------------------------------------------------------------------------------------------- */

static bool is_address(const char *host)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* Whom we expect: told to the server where that is a name, and held against its certificate. */
static bool expect(const struct calls *calls, SSL *ssl, const char *host)
{
	if (is_address(host))
		return calls->X509_VERIFY_PARAM_set1_ip_asc(calls->SSL_get0_param(ssl), host) == 1;
	return calls->SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)host) == 1
			&& calls->SSL_set1_host(ssl, host) == 1;
}

struct tls *tls_make(const struct tls_context *context, const char *host)
{
	const struct calls *calls = context->calls;
	struct tls *tls = calloc(1, sizeof *tls);

	if (!tls)
		return NULL;
	tls->calls = calls;
	tls->ssl = calls->SSL_new(context->ssl);
	tls->in = calls->BIO_new(calls->BIO_s_mem());
	tls->out = calls->BIO_new(calls->BIO_s_mem());
	if (!tls->ssl || !tls->in || !tls->out) {
		calls->BIO_free(tls->in);
		calls->BIO_free(tls->out);
		tls_free(tls);
		return NULL;
	}
	calls->SSL_set_bio(tls->ssl, tls->in, tls->out);
	calls->SSL_set_connect_state(tls->ssl);
	if (expect(calls, tls->ssl, *context->options.name ? context->options.name : host))
		return tls;
	tls_free(tls);
	return NULL;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	if (tls->ssl)
		tls->calls->SSL_free(tls->ssl);
	free(tls);
}

enum tls_step tls_greet(struct tls *tls)
{
	tls->calls->ERR_clear_error();
	int result = tls->calls->SSL_do_handshake(tls->ssl);

	if (result == 1)
		return TLS_DONE;
	return tls->calls->SSL_get_error(tls->ssl, result) == SSL_ERROR_WANT_READ ? TLS_WAITS : TLS_FAILED;
}

void tls_why(const struct tls *tls, char *text, size_t room)
{
	long verdict = tls->calls->SSL_get_verify_result(tls->ssl);

	if (verdict != X509_V_OK)
		snprintf(text, room, "its certificate is not accepted: %s", tls->calls->X509_verify_cert_error_string(verdict));
	else
		tls->calls->ERR_error_string_n(tls->calls->ERR_get_error(), text, room);
}

bool tls_received(struct tls *tls, const void *bytes, size_t count)
{
	return tls->calls->BIO_write(tls->in, bytes, (int)count) == (int)count;
}

int tls_open(struct tls *tls, void *plain, size_t room)
{
	tls->calls->ERR_clear_error();
	int count = tls->calls->SSL_read(tls->ssl, plain, (int)room);

	if (count > 0)
		return count;
	return tls->calls->SSL_get_error(tls->ssl, count) == SSL_ERROR_WANT_READ ? 0 : -1;
}

bool tls_seal(struct tls *tls, const void *plain, size_t count)
{
	const char *bytes = plain;

	while (count) {
		int piece = count > 1 << 20 ? 1 << 20 : (int)count;
		tls->calls->ERR_clear_error();
		if (tls->calls->SSL_write(tls->ssl, bytes, piece) != piece)
			return false;
		bytes += piece;
		count -= (size_t)piece;
	}
	return true;
}

size_t tls_pending(const struct tls *tls)
{
	return tls->calls->BIO_ctrl_pending(tls->out);
}

size_t tls_to_send(struct tls *tls, void *bytes, size_t room)
{
	int count = tls->calls->BIO_read(tls->out, bytes, (int)room);

	return count > 0 ? (size_t)count : 0;
}

#else

enum larder_status tls_context_make(const struct tls_options *options, struct tls_context **context)
{
	(void)options, (void)context;
	message_set("store kind redis: this larder was built without TLS; install libssl-dev and build it anew, or use redis:// through a "
			"tunnel");
	return LARDER_UNSUPPORTED;
}

void tls_context_free(struct tls_context *context) { (void)context; }

struct tls *tls_make(const struct tls_context *context, const char *host)
{
	(void)context, (void)host;
	return NULL;
}

void tls_free(struct tls *tls) { (void)tls; }

enum tls_step tls_greet(struct tls *tls)
{
	(void)tls;
	return TLS_FAILED;
}

void tls_why(const struct tls *tls, char *text, size_t room)
{
	(void)tls, (void)text, (void)room;
}

bool tls_received(struct tls *tls, const void *bytes, size_t count)
{
	(void)tls, (void)bytes, (void)count;
	return false;
}

int tls_open(struct tls *tls, void *plain, size_t room)
{
	(void)tls, (void)plain, (void)room;
	return -1;
}

bool tls_seal(struct tls *tls, const void *plain, size_t count)
{
	(void)tls, (void)plain, (void)count;
	return false;
}

size_t tls_pending(const struct tls *tls)
{
	(void)tls;
	return 0;
}

size_t tls_to_send(struct tls *tls, void *bytes, size_t room)
{
	(void)tls, (void)bytes, (void)room;
	return 0;
}

#endif
