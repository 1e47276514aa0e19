/* SPDX-License-Identifier: BSD-2-Clause */
/* Which peers this build has, and what all of them share. */
#include "peer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"

const struct peer_kind *const peers_all[] = {
	&peer_limit,
	&peer_larder,
	&peer_larder_plain,
	&peer_larder_ttl,
	&peer_table,
#ifdef HAVE_URCU
	&peer_rculfhash,
#endif
#ifdef HAVE_CK
	&peer_ck,
#endif
#ifdef HAVE_LMDB
	&peer_lmdb,
#endif
#ifdef HAVE_BOOST
	&peer_boost,
#endif
#ifdef HAVE_MEMCACHED
	&peer_memcached,
#endif
#ifdef HAVE_HIREDIS
	&peer_redis,
#endif
	NULL,
};

const char *const peers_missing = ""
#ifndef HAVE_URCU
		" rculfhash"
#endif
#ifndef HAVE_CK
		" ck_ht"
#endif
#ifndef HAVE_LMDB
		" lmdb"
#endif
#ifndef HAVE_BOOST
		" boost"
#endif
#ifndef HAVE_MEMCACHED
		" memcached"
#endif
#ifndef HAVE_HIREDIS
		" redis"
#endif
		;

const struct peer_kind *peer_find(const char *name)
{
	for (const struct peer_kind *const *kind = peers_all; *kind; kind++)
		if (strcmp((*kind)->name, name) == 0)
			return *kind;
	return NULL;
}

bool peer_wanted(const char *list, const char *name)
{
	size_t length = strlen(name);

	if (!list)
		return true;
	for (const char *at = list; (at = strstr(at, name)) != NULL; at += length)
		if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
			return true;
	return false;
}

int peer_fail(struct peer *peer, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(peer->trouble, sizeof peer->trouble, format, args);
	va_end(args);
	return -1;
}

int pair_new(struct peer_pair *pair, const struct shape *shape)
{
	pair->key = malloc(shape->key_bytes);
	pair->value = malloc(shape->value_bytes);
	if (pair->key && pair->value)
		return 0;
	pair_free(pair);
	return -1;
}

void pair_make(struct peer_pair *pair, const struct shape *shape, uint64_t number)
{
	key_make(pair->key, shape->key_bytes, number);
	value_make(pair->value, shape->value_bytes, pair->key);
}

void pair_free(struct peer_pair *pair)
{
	free(pair->key);
	free(pair->value);
	*pair = (struct peer_pair){ 0 };
}
