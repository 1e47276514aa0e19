/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options of a set, as a caller gives them: compiled against the header of an older library, or of a newer one, the struct is of another size.
 * Whoever takes it from a caller makes it whole before he looks at it, or copies it.
 */
#ifndef LARDER_CACHE_OPTIONS_H
#define LARDER_CACHE_OPTIONS_H

#include <larder.h>

#include "base/sync.h"

/* options_whole() of a struct of another size than ours: *whole, without what we do not know; false if that says anything. */
bool options_convert(struct larder_set_options *whole, const struct larder_set_options *options);
/* The caller's struct may be of an older library, or a newer one: *options is all of ours from here on, *whole if need be.  False: it says
 * what we do not know, or its size is none. */
static inline bool options_whole(struct larder_set_options *whole, const struct larder_set_options **options)
{
	if (likely(*options == NULL || (*options)->size == sizeof **options))
		return true;
	bool good = options_convert(whole, *options);
	*options = whole;
	return good;
}

#endif
