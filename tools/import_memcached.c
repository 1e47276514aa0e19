/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder import, memcached (1.4.31 or later): `lru_crawler metadump hash` (or all) on one connection names keys with
 * their expiry and cas number; `gets` on another brings the values.  A value whose cas number is no longer that of the
 * dump has been set anew, its expiry is not known, and it is skipped: a cache may lack an entry, but must not keep it
 * too long.
 *
 * The dump is taken whole, into a file without a name, before the first value is asked for: the server's walk holds
 * locks while it waits for its reader, and a reader who waits for one of these items waits for ever.
 *
 * A line of the dump is  key=URI-ENCODED exp=SECONDS|-1 la=... cas=... fetch=... cls=... size=...  and the last one
 * END.
 */
#define _GNU_SOURCE
#include "import.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BATCH_KEYS 64u
#define MEMCACHED_KEY_MAX 250u
#define LINE_MAX_BYTES 2048
#define BUSY_TRIES 20u /* a tenth of a second apart: somebody else's crawl */

struct wanted {
	char key[MEMCACHED_KEY_MAX + 1];
	size_t key_bytes;
	int64_t expires_at_ms;
	uint64_t cas;
	bool answered;
};

struct source {
	struct import *import;
	struct import_url url;
	FILE *dump, *values, *spool;
	bool lists; /* the server knows no other walk */
	struct wanted batch[BATCH_KEYS];
	unsigned count;
	unsigned char *value;
	size_t capacity;
};

/* ---- Connections ---- */

static int connect_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !connect(fd, (struct sockaddr *)&address, sizeof address))
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static int connect_host(const char *host, const char *port, const struct timeval *limit)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	int fd = -1, error = EHOSTUNREACH;

	if (getaddrinfo(host, port, &hints, &found)) {
		errno = EHOSTUNREACH;
		return -1;
	}
	for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
		fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, limit, sizeof *limit); /* holds for connect, too */
		if (connect(fd, at->ai_addr, at->ai_addrlen)) {
			error = errno == EINPROGRESS ? ETIMEDOUT : errno;
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(found);
	errno = error;
	return fd;
}

static FILE *connect_to(const struct source *source)
{
	const struct import_url *url = &source->url;
	struct timeval limit = { source->import->timeout_ms / 1000, source->import->timeout_ms % 1000 * 1000 };
	int fd = url->socket ? connect_socket(url->socket) : connect_host(url->host, url->port, &limit);

	if (fd < 0) {
		complain_errno("%s", source->import->source);
		return NULL;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	FILE *stream = fdopen(fd, "r+e");
	if (!stream) {
		complain_errno("%s", source->import->source);
		close(fd);
	}
	return stream;
}

static int complain_stream(const struct source *source, FILE *stream)
{
	if (!ferror(stream)) {
		complain("%s: the server closed the connection", source->import->source);
		return TOOL_FAILED;
	}
	errno = errno == EAGAIN ? ETIMEDOUT : errno;
	return complain_errno("%s", source->import->source);
}

/* A line without its end; false at the end of the stream, on failure, or if it is longer than `size`. */
static bool read_line(FILE *stream, char *line, int size)
{
	if (!fgets(line, size, stream))
		return false;
	size_t count = strcspn(line, "\r\n");
	bool whole = line[count];
	line[count] = '\0';
	return whole;
}

/* ---- Values ---- */

static struct wanted *find_wanted(struct source *source, const char *key)
{
	for (unsigned i = 0; i < source->count; i++)
		if (!source->batch[i].answered && !strcmp(source->batch[i].key, key))
			return &source->batch[i];
	return NULL;
}

/* Reads the data of a VALUE line and its end. */
static bool read_value(struct source *source, size_t bytes)
{
	if (bytes + 2 > source->capacity) {
		unsigned char *larger = realloc(source->value, bytes + 2);
		if (!larger)
			return false;
		source->value = larger;
		source->capacity = bytes + 2;
	}
	return fread(source->value, 1, bytes + 2, source->values) == bytes + 2 &&
			!memcmp(source->value + bytes, "\r\n", 2);
}

/* VALUE key flags bytes cas */
static bool take_value(struct source *source, const char *line, int *code)
{
	char key[MEMCACHED_KEY_MAX + 1];
	uint32_t flags;
	uint64_t bytes, cas;

	if (sscanf(line, "VALUE %250s %" SCNu32 " %" SCNu64 " %" SCNu64, key, &flags, &bytes, &cas) != 4 ||
			bytes > UINT32_MAX) {
		complain("%s: '%.80s' is not what gets answers", source->import->source, line);
		*code = TOOL_FAILED;
		return false;
	}
	struct wanted *wanted = find_wanted(source, key);
	if (!read_value(source, (size_t)bytes)) {
		*code = complain_stream(source, source->values);
		return false;
	}
	if (!wanted)
		return true;
	wanted->answered = true;
	if (cas != wanted->cas) {
		import_skip(source->import);
		return true;
	}
	struct import_item item = {
		.key = { (unsigned char *)wanted->key, wanted->key_bytes }, .value = { source->value, (size_t)bytes },
		.expires_at_ms = wanted->expires_at_ms, .ttl_ms = LARDER_TTL_NONE, .flags = flags,
	};
	return import_item(source->import, &item);
}

/* Asks for the batch; what is not answered is gone. */
static bool fetch_batch(struct source *source, int *code)
{
	char line[LINE_MAX_BYTES];

	if (!source->count)
		return true;
	fputs("gets", source->values);
	for (unsigned i = 0; i < source->count; i++)
		fprintf(source->values, " %s", source->batch[i].key);
	fputs("\r\n", source->values);
	if (fflush(source->values)) {
		*code = complain_stream(source, source->values);
		return false;
	}
	for (;;) {
		if (!read_line(source->values, line, sizeof line)) {
			*code = complain_stream(source, source->values);
			return false;
		}
		if (!strcmp(line, "END"))
			break;
		if (!take_value(source, line, code))
			return false;
	}
	for (unsigned i = 0; i < source->count; i++)
		if (!source->batch[i].answered)
			import_skip(source->import);
	source->count = 0;
	return true;
}

/* ---- The dump ---- */

/* Undoes %XX of a key; 0: it is none that `gets` can ask for. */
static size_t decode_key(const char *text, char *key)
{
	size_t count = 0;

	for (; *text && *text != ' ' && count < MEMCACHED_KEY_MAX; text++) {
		char digits[3] = { *text == '%' ? text[1] : '\0', *text == '%' && text[1] ? text[2] : '\0', '\0' },
		     *end;
		char c = *text == '%' ? (char)strtoul(digits, &end, 16) : *text;
		if ((*text == '%' && end != digits + 2) || c == 0x7f || (c >= 0 && c <= ' '))
			return 0;
		key[count++] = c;
		text += *text == '%' ? 2 : 0;
	}
	key[count] = '\0';
	return *text && *text != ' ' ? 0 : count;
}

static bool take_name(struct source *source, const char *line, int *code)
{
	struct wanted *wanted = &source->batch[source->count];
	const char *exp = strstr(line, " exp="), *cas = strstr(line, " cas=");
	char where[80];

	snprintf(where, sizeof where, "'%.60s'", line);
	if (strncmp(line, "key=", 4) || !exp || !cas) {
		import_bad(source->import, where, "this is no line of a metadump");
		return true;
	}
	*wanted = (struct wanted){ .key_bytes = decode_key(line + 4, wanted->key), .cas = strtoull(cas + 5, NULL, 10) };
	wanted->key_bytes = decode_key(line + 4, wanted->key);
	if (!wanted->key_bytes) {
		import_bad(source->import, where, "a key with blanks or control characters in it cannot be asked for");
		return true;
	}
	int64_t expires_s = strtoll(exp + 5, NULL, 10);
	wanted->expires_at_ms = expires_s > 0 ? expires_s * 1000 : 0;
	return ++source->count < BATCH_KEYS || fetch_batch(source, code);
}

/* A walk along the hash table finds every key; one along the lists, which is all that older servers have, passes over
 * some that are moved between two lists meanwhile. */
static bool ask_for_dump(const struct source *source, bool lists)
{
	fprintf(source->dump, "lru_crawler metadump %s\r\n", lists ? "all" : "hash");
	return !fflush(source->dump);
}

static bool begins(const char *line, const char *word)
{
	return !strncmp(line, word, strlen(word));
}

static bool is_refusal(const char *line)
{
	return begins(line, "ERROR") || begins(line, "CLIENT_ERROR") || begins(line, "BADCLASS") ||
			begins(line, "BUSY");
}

/* After a refusal: waits for somebody else's walk to end, or asks for one along the lists.  False: there is nothing
 * left to try. */
static bool ask_again(struct source *source, const char *line, unsigned *busy)
{
	static const struct timespec pause = { .tv_nsec = 100000000 };

	if (begins(line, "BUSY")) {
		nanosleep(&pause, NULL);
		return ++*busy < BUSY_TRIES && ask_for_dump(source, source->lists);
	}
	if (source->lists)
		return false;
	source->lists = true;
	return ask_for_dump(source, true);
}

/* Copies the dump to the spool, its END left out. */
static int take_dump(struct source *source)
{
	char line[LINE_MAX_BYTES];
	unsigned busy = 0;

	if (!ask_for_dump(source, false))
		return complain_stream(source, source->dump);
	while (read_line(source->dump, line, sizeof line)) {
		if (!strcmp(line, "END"))
			return fflush(source->spool) ? complain_errno("cannot write a temporary file") : TOOL_OK;
		if (!is_refusal(line)) {
			fprintf(source->spool, "%s\n", line);
			continue;
		}
		if (!ask_again(source, line, &busy)) {
			complain("%s: lru_crawler metadump: %s", source->import->source, line);
			return TOOL_FAILED;
		}
	}
	return complain_stream(source, source->dump);
}

static int import_all(struct source *source)
{
	char line[LINE_MAX_BYTES];
	int code = take_dump(source);

	if (code != TOOL_OK)
		return code;
	rewind(source->spool);
	while (read_line(source->spool, line, sizeof line))
		if (!take_name(source, line, &code))
			return code;
	if (ferror(source->spool))
		return complain_errno("cannot read a temporary file");
	return fetch_batch(source, &code) ? TOOL_OK : code;
}

int import_memcached(struct import *import)
{
	struct source *source = calloc(1, sizeof *source);
	int code = TOOL_FAILED;

	if (!source)
		return report_cache(LARDER_NO_MEMORY);
	source->import = import;
	import_url_open(&source->url, import->source, "11211");
	source->dump = connect_to(source);
	source->values = source->dump ? connect_to(source) : NULL;
	source->spool = source->values ? tmpfile() : NULL;
	if (source->spool)
		code = import_all(source);
	else if (source->values)
		code = complain_errno("cannot make a temporary file");
	if (source->dump)
		fclose(source->dump);
	if (source->values)
		fclose(source->values);
	if (source->spool)
		fclose(source->spool);
	import_url_close(&source->url);
	free(source->value);
	free(source);
	return code;
}
