/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The example of README.md, as it stands there (tests/checks/readme compares the two, and runs it): counts the visits
 * of a page in a cache that any number of processes may share, and keeps the page beside the count.
 */
#include <err.h>
#include <larder.h>
#include <stdio.h>

int main(void)
{
	struct larder *cache;
	if (larder_open("readme", 8 << 20, &cache) < 0) /* creates it, or attaches to it */
		errx(1, "%s", larder_message());
	char page[64];
	size_t length;
	if (larder_get(cache, 0, "page:/", 6, page, sizeof page, &length) == LARDER_MISS) {
		length = (size_t)snprintf(page, sizeof page, "Hello, all you processes.");
		larder_set(cache, 0, "page:/", 6, page, length, 60000); /* for a minute */
	}
	int64_t visits = 0;
	larder_incr(cache, 0, "visits:/", 8, 1, &visits); /* exact, however many processes count */
	printf("%.*s Visit %lld.\n", (int)length, page, (long long)visits);
	larder_close(&cache); /* the cache stays: run this again, and it counts on */
}
