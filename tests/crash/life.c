/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The witness's part where the actor creates or destroys a cache: whatever it leaves, the name leads to one whole cache
 * or to none, and nothing else lies in the directory.
 *
 * Creating: nobody sees half a cache; the witness opens the same name meanwhile and gets one that works, and the actor,
 * resumed, ends up in that very one.  Destroying: those attached are told, the name is free for a successor, and the
 * successor outlives the end of the destroyer.  With one exception: a destroyer that stands still between taking the
 * right to remove the name and removing it keeps that name, and an open says so, at once.  Such points are counted.
 */
#include "step.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static enum larder_status try_open(struct scene *scene, struct larder **cache)
{
	struct larder_options options = step_options(false);
	struct stopwatch watch;
	enum larder_status status;

	stopwatch_start(&watch);
	status = larder_open_with(scene->board->path, &options, cache);
	scene_timed(scene, &watch, "an open");
	return status;
}

static struct larder *open_timed(struct scene *scene)
{
	struct larder *cache = NULL;
	enum larder_status status = try_open(scene, &cache);

	if (status != LARDER_OK)
		scene_fail(scene, "an open said: %s: %s", larder_strerror(status), larder_message());
	return cache;
}

/* Only the cache itself may lie in its directory. */
static void check_directory(struct scene *scene, bool cache_allowed)
{
	char directory[sizeof scene->board->path];
	char *name;
	DIR *open;

	snprintf(directory, sizeof directory, "%s", scene->board->path);
	name = strrchr(directory, '/');
	*name++ = '\0';
	open = opendir(directory);
	for (struct dirent *entry = open ? readdir(open) : NULL; entry != NULL; entry = readdir(open)) {
		if (entry->d_name[0] == '.' && (entry->d_name[1] == '\0' || entry->d_name[1] == '.'))
			continue;
		if (!cache_allowed || strcmp(entry->d_name, name) != 0)
			scene_fail(scene, "the file %s was left behind", entry->d_name);
	}
	if (open != NULL)
		closedir(open);
}

static enum larder_status look(struct larder *cache, const char *key)
{
	return larder_exists(cache, 0, key, strlen(key));
}

static void must_take(struct scene *scene, struct larder *cache, const char *key)
{
	struct stopwatch watch;
	enum larder_status status;

	stopwatch_start(&watch);
	status = larder_set(cache, 0, key, strlen(key), key, strlen(key), LARDER_TTL_NONE);
	scene_timed(scene, &watch, "a set");
	if (status != LARDER_OK || look(cache, key) != LARDER_OK)
		scene_fail(scene, "a new cache does not keep a key: %s", larder_strerror(status));
}

void life_prepare(struct scene *scene)
{
	scene->succeeded = false;
	if (scene->board->operation->traits & STEP_CREATE)
		return;
	scene->first = open_timed(scene);
	if (scene->first != NULL)
		must_take(scene, scene->first, "before");
}

/* While a creator stands still the name is as good as any. */
static void still_creating(struct scene *scene)
{
	struct larder *cache = open_timed(scene);

	check_directory(scene, true);
	if (cache != NULL)
		must_take(scene, cache, "beside");
	scene->caches[0] = cache;
}

/* While a destroyer stands still the old cache lives, or is retired; in either case the name opens a cache that works,
 * and if the old one lives it is that one. */
static void still_destroying(struct scene *scene)
{
	bool lives = look(scene->first, "before") == LARDER_OK;
	struct larder *cache = NULL;
	enum larder_status status = try_open(scene, &cache);

	check_directory(scene, true);
	if (status == LARDER_SYSTEM && !lives && scene->board->mode == MODE_FREEZE) {
		scene->board->names_kept++;
		return;
	}
	if (status != LARDER_OK) {
		scene_fail(scene, "an open said: %s: %s", larder_strerror(status), larder_message());
		return;
	}
	if (lives && look(cache, "before") != LARDER_OK)
		scene_fail(scene, "there are two live caches of one name");
	if (!lives && look(scene->first, "before") != LARDER_DETACHED)
		scene_fail(scene, "the retired cache says %s", larder_strerror(look(scene->first, "before")));
	if (!lives && look(cache, "before") != LARDER_MISS)
		scene_fail(scene, "the successor is not empty");
	must_take(scene, cache, "beside");
	scene->caches[0] = cache;
	scene->succeeded = !lives;
}

void life_still(struct scene *scene)
{
	if (scene->board->operation->traits & STEP_CREATE)
		still_creating(scene);
	else
		still_destroying(scene);
}

/* After the creator's end: what it set through its own handle is in the cache that everybody has. */
static void after_creating(struct scene *scene, bool finished)
{
	struct larder *cache;

	if (finished && scene->board->call.status != LARDER_OK)
		scene_fail(scene, "the creator's open said: %s", larder_strerror((enum larder_status)scene->board->call.status));
	check_directory(scene, true);
	cache = scene->caches[0] != NULL ? scene->caches[0] : open_timed(scene);
	scene->caches[0] = NULL;
	if (cache == NULL)
		return;
	if (finished && look(cache, "left") != LARDER_OK)
		scene_fail(scene, "creator and witness have two caches of one name");
	must_take(scene, cache, "after");
	larder_close(&cache);
}

/* After the destroyer's end: a successor made while it stood still on a retired cache is untouched. */
static void after_destroying(struct scene *scene, bool finished)
{
	enum larder_status destroyed = (enum larder_status)scene->board->call.status;
	struct larder *successor = scene->caches[0];
	bool gone = look(scene->first, "before") == LARDER_DETACHED;

	scene->caches[0] = NULL;
	if (finished && destroyed != LARDER_OK && destroyed != LARDER_NO_CACHE)
		scene_fail(scene, "destroy said: %s", larder_strerror(destroyed));
	if (finished && !gone)
		scene_fail(scene, "the cache outlived its destruction");
	if (successor != NULL && scene->succeeded && look(successor, "beside") != LARDER_OK)
		scene_fail(scene, "the destroyer took the successor, too");
	if (successor == NULL || (gone && !scene->succeeded)) {
		larder_close(&successor);
		successor = open_timed(scene);
	}
	if (successor != NULL)
		must_take(scene, successor, "after");
	larder_close(&successor);
}

void life_after(struct scene *scene, bool finished)
{
	if (scene->board->operation->traits & STEP_CREATE)
		after_creating(scene, finished);
	else
		after_destroying(scene, finished);
	larder_close(&scene->first);
	larder_destroy(scene->board->path);
	check_directory(scene, false);
}
