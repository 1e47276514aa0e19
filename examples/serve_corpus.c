/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The files that the example serves: which they are, what a digest of each is, and how often each is asked for.
 *
 * Popularity follows Zipf's law (the n-th most popular file is asked for about 1/n as often as the first), over an
 * order that has nothing to do with names or sizes.  The order is the same on each run over the same directory.
 */
#include "serve.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void corpus_add(struct corpus *corpus, const char *path, size_t path_bytes, uint64_t bytes)
{
	if ((corpus->count & (corpus->count - 1)) == 0) {
		size_t room = corpus->count ? 2 * corpus->count : 1;
		corpus->files = reallocarray(corpus->files, room, sizeof *corpus->files);
		if (!corpus->files)
			err(3, "files");
	}
	struct file file = { .path = strdup(path), .path_bytes = path_bytes, .bytes = bytes };
	if (!file.path)
		err(3, "files");
	corpus->files[corpus->count++] = file;
	corpus->bytes += bytes;
}

static void corpus_shuffle(struct corpus *corpus)
{
	uint64_t random = 1;

	for (size_t left = corpus->count; left > 1; left--) {
		size_t other = (size_t)(random_next(&random) % left);
		struct file file = corpus->files[left - 1];
		corpus->files[left - 1] = corpus->files[other];
		corpus->files[other] = file;
	}
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* The regular files below a directory whose paths are keys. */
void corpus_scan(struct corpus *corpus, const char *directory)
{
	char *roots[] = { (char *)(uintptr_t)directory, NULL };
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, by_name);

	if (!walk)
		err(3, "%s", directory);
	for (FTSENT *entry; (entry = fts_read(walk));) {
		if (entry->fts_level == FTS_ROOTLEVEL && (entry->fts_info == FTS_NS || entry->fts_info == FTS_DNR))
			errx(3, "%s: %s", directory, strerror(entry->fts_errno));
		if (entry->fts_info == FTS_F && entry->fts_pathlen <= LARDER_KEY_MAX)
			corpus_add(corpus, entry->fts_path, entry->fts_pathlen, (uint64_t)entry->fts_statp->st_size);
	}
	fts_close(walk);
	corpus_shuffle(corpus);
}

/* Keeps files of at most file_max_bytes, and of these as many as make up total_max_bytes. */
void corpus_cut(struct corpus *corpus, uint64_t file_max_bytes, uint64_t total_max_bytes)
{
	size_t kept = 0;

	corpus->bytes = 0;
	for (size_t i = 0; i < corpus->count; i++) {
		struct file file = corpus->files[i];
		bool too_large = file.bytes > file_max_bytes;
		if (!too_large && corpus->bytes + file.bytes <= total_max_bytes) {
			corpus->bytes += file.bytes;
			corpus->files[kept++] = file;
			continue;
		}
		corpus->too_large += too_large;
		corpus->left_out += !too_large;
		free(file.path);
	}
	corpus->count = kept;
}

static int by_bytes(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

/* The median: a cache wants to know how large the usual entry is, and a mean would tell it of the largest. */
uint64_t corpus_usual_bytes(const struct corpus *corpus)
{
	uint64_t *bytes = calloc(corpus->count ? corpus->count : 1, sizeof *bytes);

	if (!bytes)
		err(3, "files");
	for (size_t i = 0; i < corpus->count; i++)
		bytes[i] = corpus->files[i].bytes + corpus->files[i].path_bytes;
	qsort(bytes, corpus->count, sizeof *bytes, by_bytes);
	uint64_t median = bytes[corpus->count / 2];
	free(bytes);
	return median;
}

ssize_t file_read(const struct file *file, void *buffer, size_t capacity)
{
	int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t length = 0;
	ssize_t more = -1;

	if (fd < 0)
		return -1;
	while (length < capacity && (more = read(fd, (char *)buffer + length, capacity - length)) > 0)
		length += (size_t)more;
	close(fd);
	return more == 0 ? (ssize_t)length : -1;
}

static void corpus_rank(struct corpus *corpus)
{
	double sum = 0;

	corpus->share = calloc(corpus->count, sizeof *corpus->share);
	if (!corpus->share)
		err(3, "files");
	for (size_t i = 0; i < corpus->count; i++)
		corpus->share[i] = sum += pow((double)(i + 1), -0.99);
	for (size_t i = 0; i < corpus->count; i++)
		corpus->share[i] /= sum;
}

/* Reads every file once, notes its digest, and drops those that cannot be read. */
void corpus_digest(struct corpus *corpus, uint64_t file_max_bytes)
{
	size_t kept = 0, capacity = (size_t)file_max_bytes + 1; /* one more, to see that a file has not grown */
	void *buffer = malloc(capacity);

	if (!buffer)
		err(3, "buffer");
	corpus->bytes = 0;
	for (size_t i = 0; i < corpus->count; i++) {
		struct file file = corpus->files[i];
		ssize_t length = file_read(&file, buffer, capacity);
		if (length < 0) {
			corpus->unreadable++;
			free(file.path);
			continue;
		}
		file.bytes = (uint64_t)length;
		file.digest = XXH3_64bits(buffer, (size_t)length);
		corpus->bytes += file.bytes;
		corpus->files[kept++] = file;
	}
	corpus->count = kept;
	free(buffer);
	if (kept)
		corpus_rank(corpus);
}

/* The file that the next request is for. */
size_t corpus_pick(const struct corpus *corpus, uint64_t *random)
{
	double point = (double)(random_next(random) >> 11) * 0x1p-53;
	size_t low = 0, high = corpus->count - 1;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (corpus->share[middle] < point)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
