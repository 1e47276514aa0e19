/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * URLs of Redis servers, see url.h.  One pass from left to right; what is not taken by a part is that part's mistake.
 * A message never repeats the password.
 */
#include "redis/url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"

#define FORMS "redis://[user:password@]host[:port][/db], rediss://..., unix://[user:password@]/path[?db=n], " \
	"redis+cluster://[user:password@]host[:port][,host[:port] ...]"
#define DATABASE_MAX 1048575

struct scheme {
	const char *name;
	bool tls, cluster, local;
};
static const struct scheme schemes[] = { { "redis://", false, false, false }, { "rediss://", true, false, false },
	{ "unix://", false, false, true }, { "redis+cluster://", false, true, false },
	{ "rediss+cluster://", true, true, false } };

static int hex_digit(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* text[0 .. count) percent-decoded into decoded[0 .. room), ended by NUL; false: too long, a bad escape, or a NUL. */
static bool decode(const char *text, size_t count, char *decoded, size_t room)
{
	size_t length = 0;

	for (size_t i = 0; i < count; i++) {
		char c = text[i];
		if (c == '%') {
			bool whole = count - i > 2;
			int high = whole ? hex_digit(text[i + 1]) : -1, low = whole ? hex_digit(text[i + 2]) : -1;
			if (high < 0 || low < 0)
				return false;
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (!c || length + 1 >= room)
			return false;
		decoded[length++] = c;
	}
	decoded[length] = '\0';
	return true;
}

static bool number_below(const char *text, size_t count, long most, long *number)
{
	*number = 0;
	for (size_t i = 0; i < count; i++) {
		if (!isdigit((unsigned char)text[i]) || *number > most)
			return false;
		*number = *number * 10 + (text[i] - '0');
	}
	return count && *number <= most;
}

/* "host:port", "[host]:port" or "host" as an address; port 0 in the text is refused, none takes `port`. */
static bool url_address(const char *text, size_t count, uint16_t port, struct redis_address *address)
{
	const char *host = text, *colon;
	size_t length;
	long number = port;

	if (count && *text == '[') {
		const char *close = memchr(text, ']', count);
		if (!close)
			return false;
		host++;
		length = (size_t)(close - host);
		colon = close + 1;
	} else {
		colon = memchr(text, ':', count);
		length = colon ? (size_t)(colon - text) : count;
		colon = text + length;
	}
	const char *end = text + count;
	if (colon < end && (*colon != ':' || !number_below(colon + 1, (size_t)(end - colon - 1), 65535, &number)))
		return false;
	if (!length || !number || !decode(host, length, address->host, sizeof address->host))
		return false;
	address->port = (uint16_t)number;
	return true;
}

void url_show(const struct redis_address *address, char *text, size_t room)
{
	if (!address->port)
		snprintf(text, room, "%s", address->host);
	else
		snprintf(text, room, strchr(address->host, ':') ? "[%s]:%u" : "%s:%u", address->host, address->port);
}

static enum larder_status wrong(const char *what, const char *part, size_t count)
{
	message_set("url: %s '%.*s'; expected " FORMS, what, count > 100 ? 100 : (int)count, part);
	return LARDER_INVALID;
}

/* What stands before the '@', if there is one: taken off *text. */
static enum larder_status take_credentials(const char **text, struct redis_url *url)
{
	size_t end = strcspn(*text, "/?");
	const char *at = memrchr(*text, '@', end);

	if (!at)
		return LARDER_OK;
	size_t count = (size_t)(at - *text);
	const char *colon = memchr(*text, ':', count);
	size_t user = colon ? (size_t)(colon - *text) : count;
	if (!decode(*text, user, url->user, sizeof url->user))
		return wrong("a bad escape in, or more than 127 bytes of user", *text, user);
	if (colon && !decode(colon + 1, count - user - 1, url->password, sizeof url->password))
		return wrong("a bad escape in, or more than 511 bytes of password", "(hidden)", 8);
	if (!*url->password)
		return wrong("no password for user", *text, user);
	*text = at + 1;
	return LARDER_OK;
}

static enum larder_status take_database(const char *text, struct redis_url *url)
{
	long number = 0;

	if (!*text)
		return LARDER_OK;
	if (url->cluster)
		return wrong("a cluster has database 0 only, not", text, strlen(text));
	if (!number_below(text, strlen(text), DATABASE_MAX, &number))
		return wrong("no such database (a number):", text, strlen(text));
	url->database = (int)number;
	return LARDER_OK;
}

static enum larder_status parse_local(const char *text, struct redis_url *url)
{
	size_t count = strcspn(text, "?");
	struct redis_address *seed = &url->seeds[0];

	if (*text != '/' || !decode(text, count, seed->host, 108))
		return wrong("expected the absolute path of a socket, 107 bytes at most, not", text, count);
	seed->port = 0;
	url->seed_count = 1;
	if (!text[count])
		return LARDER_OK;
	if (strncmp(text + count, "?db=", 4) || !text[count + 4])
		return wrong("after the path only ?db=n may follow, not", text + count, strlen(text + count));
	return take_database(text + count + 4, url);
}

static enum larder_status parse_hosts(const char *text, struct redis_url *url)
{
	size_t end = strcspn(text, "/?");

	if (strchr(text + end, '@'))
		return wrong("a '/' in user or password is written %2F, a '?' %3F, an '@' %40:", "(hidden)", 8);
	for (size_t begin = 0; begin <= end;) {
		size_t count = strcspn(text + begin, ",/?");
		if (url->seed_count == REDIS_SEEDS_MAX || (url->seed_count && !url->cluster))
			return wrong(url->cluster ? "more than 32 hosts:" : "more than one host (redis+cluster:// takes several):", text, end);
		if (!url_address(text + begin, count, REDIS_PORT, &url->seeds[url->seed_count]))
			return wrong("no host and port (1 .. 65535):", text + begin, count);
		url->seed_count++;
		begin += count + 1;
	}
	if (!text[end])
		return LARDER_OK;
	if (text[end] != '/' || strpbrk(text + end, "?#"))
		return wrong("after the host only /db may follow, not", text + end, strlen(text + end));
	return take_database(text + end + 1, url);
}

enum larder_status url_parse(const char *text, struct redis_url *url)
{
	*url = (struct redis_url){ .seed_count = 0 };
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		const struct scheme *scheme = &schemes[i];
		if (strncmp(text, scheme->name, strlen(scheme->name)))
			continue;
		text += strlen(scheme->name);
		url->tls = scheme->tls;
		url->cluster = scheme->cluster;
		enum larder_status status = take_credentials(&text, url);
		if (status)
			return status;
		return scheme->local ? parse_local(text, url) : parse_hosts(text, url);
	}
	const char *end = strstr(text, "://");
	return wrong("no such scheme:", text, end ? (size_t)(end - text) + 3 : 0);
}
