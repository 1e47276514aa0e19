/* SPDX-License-Identifier: BSD-2-Clause */
/* Following a cache by its name, see follow.h. */
#include "follow.h"

#include <stdio.h>
#include <string.h>

static bool lose(struct follow *follow, const char *why)
{
	snprintf(follow->state, sizeof follow->state, "%s", why);
	larder_close(&follow->cache);
	return false;
}

static bool attach(struct follow *follow)
{
	struct larder_options options = LARDER_OPTIONS_INIT;

	options.flags = LARDER_INSPECT | LARDER_GUARD;
	enum larder_status status = larder_open_with(follow->name, &options, &follow->cache);
	if (status != LARDER_OK) {
		const char *message = larder_message();
		return lose(follow, *message ? message : larder_strerror(status));
	}
	if (larder_info(follow->cache, &follow->info) != LARDER_OK || stat(follow->info.path, &follow->file))
		return lose(follow, "it was destroyed at this moment");
	snprintf(follow->state, sizeof follow->state, "attached");
	follow->lives++;
	return true;
}

/* Whether its name still leads to the file that is attached: one that was removed without `larder destroy` would else
 * be shown for ever. */
static bool is_current(const struct follow *follow)
{
	struct stat file;

	return !stat(follow->info.path, &file) && file.st_dev == follow->file.st_dev &&
			file.st_ino == follow->file.st_ino;
}

bool follow_attach(struct follow *follow)
{
	struct larder_info info;

	if (follow->cache && (!is_current(follow) || larder_info(follow->cache, &info) != LARDER_OK))
		lose(follow, "it was destroyed");
	return follow->cache || attach(follow);
}

bool follow_sample(struct follow *follow, struct sample *sample)
{
	if (!follow_attach(follow))
		return false;
	enum larder_status status = sample_take(follow->cache, sample);
	if (status == LARDER_OK)
		return true;
	lose(follow, larder_strerror(status));
	if (status != LARDER_DETACHED || !attach(follow)) /* destroyed a moment ago: there may be another by now */
		return false;
	status = sample_take(follow->cache, sample);
	return status == LARDER_OK || lose(follow, larder_strerror(status));
}

void follow_end(struct follow *follow)
{
	larder_close(&follow->cache);
}
