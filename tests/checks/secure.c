/* SPDX-License-Identifier: BSD-2-Clause */
/* A program that opens a manager as its environment says, and tells which stores that has made: see secure. */
#include <err.h>
#include <stdio.h>
#include <sys/auxv.h>

#include <larder/manager.h>

static bool tell(const char *name, struct larder_store *store, void *arg)
{
	(void)store, (void)arg;
	printf(" %s", name);
	return true;
}

int main(void)
{
	struct larder_manager *manager;

	if (larder_manager_open(NULL, &manager) < 0)
		errx(1, "%s", larder_message());
	printf("%s:", getauxval(AT_SECURE) ? "secure" : "plain");
	if (larder_manager_stores(manager, tell, NULL) < 0)
		errx(1, "%s", larder_message());
	putchar('\n');
	larder_manager_close(&manager);
	return 0;
}
