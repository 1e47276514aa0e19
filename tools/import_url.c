/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder import: where a server is.  A URL is taken apart in a copy of it; user, password and host may have characters
 * written as %XX.
 */
#define _GNU_SOURCE
#include "import.h"

#include <stdlib.h>
#include <string.h>

/* Undoes %XX in place; false if a '%' is not followed by two hexadecimal digits, or stands for a zero byte. */
static bool decode(char *text)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	char *to = text;

	while (*text) {
		bool escaped = *text == '%';
		const char *high = escaped && text[1] ? strchr(digits, text[1]) : NULL;
		const char *low = high && text[2] ? strchr(digits, text[2]) : NULL;
		char c = *text;
		if (low)
			c = (char)(unsigned char)((unsigned)(high - digits) % 16 * 16 + (unsigned)(low - digits) % 16);
		if ((escaped && !low) || !c)
			return false;
		*to++ = c;
		text += escaped ? 3 : 1;
	}
	*to = '\0';
	return true;
}

static _Noreturn void refuse(const char *text, const char *what)
{
	usage_error("'%s': %s; a source is SCHEME://[[USER]:PASSWORD@]HOST[:PORT][/DB] or SCHEME:///SOCKET[?db=DB]",
			text, what);
}

/* [[USER]:PASSWORD@] at *at, which is moved behind it. */
static void take_account(struct import_url *url, const char *text, char **at)
{
	char *sign = strrchr(*at, '@');

	if (!sign)
		return;
	*sign = '\0';
	char *colon = strchr(*at, ':');
	if (colon)
		*colon = '\0';
	url->user = **at ? *at : NULL;
	url->password = colon ? colon + 1 : NULL;
	if (!decode(*at) || (colon && !decode(colon + 1)))
		refuse(text, "a '%' in user or password is not followed by two hexadecimal digits");
	*at = sign + 1;
}

/* HOST[:PORT], with an address of IPv6 in brackets. */
static void take_host(struct import_url *url, const char *text, char *at)
{
	char *end = *at == '[' ? strchr(at, ']') : NULL, *colon;

	if (*at == '[' && !end)
		refuse(text, "a bracket is not closed");
	if (end) {
		*end++ = '\0';
		at++;
		colon = *end == ':' ? end : NULL;
		if (*end && !colon)
			refuse(text, "something follows the bracket");
	} else {
		colon = strchr(at, ':');
	}
	if (colon) {
		*colon = '\0';
		url->port = colon + 1;
		uint64_t port = version_argument("port", url->port);
		if (!port || port > 65535)
			refuse(text, "a port is 1 to 65535");
	}
	if (!decode(at))
		refuse(text, "a '%' in the host is not followed by two hexadecimal digits");
	url->host = *at ? at : "127.0.0.1";
}

void import_url_open(struct import_url *url, const char *text, const char *usual_port)
{
	*url = (struct import_url){ .text = strdup(text), .port = usual_port };
	char *at = url->text ? strstr(url->text, "://") + 3 : NULL;

	if (!at)
		refuse(text, "no memory for it");
	char *query = strchr(at, '?');
	if (query) {
		*query++ = '\0';
		if (strncmp(query, "db=", 3))
			refuse(text, "only ?db=DB is known");
		url->db = number_argument("database", query + 3);
	}
	char *slash = strchr(at, '/');
	if (slash == at || !strncmp(text, "unix:", 5)) {
		url->socket = at;
		if (!slash || !decode(at))
			refuse(text, "it names no socket");
		return;
	}
	if (slash) {
		*slash++ = '\0';
		if (*slash)
			url->db = number_argument("database", slash);
	}
	take_account(url, text, &at);
	take_host(url, text, at);
}

void import_url_close(struct import_url *url)
{
	free(url->text);
	url->text = NULL;
}
