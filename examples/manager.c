/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The manager in fifty lines: two stores by name, one namespace in each, a value that is computed where it is absent, and a
 * store that is replaced while the program goes on.
 *
 *     manager [CONFIGURATION]
 *
 * Without a configuration the stores lie in memory of the process; with one, of larder.conf(5), wherever it says.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <larder/manager.h>

static const char usual[] =
	"[manager]\n"
	"default = pages\n"
	"[store pages]\n"
	"kind = memory\n"
	"bytes = 16m\n"
	"[store sessions]\n"
	"kind = memory\n"
	"bytes = 16m\n";

static void must(enum larder_status status, const char *what)
{
	if (status < 0)
		errx(1, "%s: %s", what, *larder_message() ? larder_message() : larder_strerror(status));
}

/* What takes long: runs once for all who ask at a time. */
static enum larder_status render(void *arg, struct larder_loaded *page)
{
	static const char html[] = "<h1>Ada</h1>";

	++*(int *)arg;
	page->value = html;
	page->value_bytes = sizeof html - 1;
	return LARDER_OK;
}

static bool tell(const struct larder_metric *metric, void *arg)
{
	(void)arg;
	printf("%s %s %s: %lu hits, %lu misses, %lu done\n", metric->store, metric->namespace_name, metric->operation,
			(unsigned long)metric->hits, (unsigned long)metric->misses, (unsigned long)metric->done);
	return true;
}

int main(int count, char **arguments)
{
	struct larder_manager_options options = LARDER_MANAGER_OPTIONS_INIT;
	struct larder_manager *manager;
	struct larder_handle *users, *pages;
	struct larder_buffer value = { .grow = true };
	int rendered = 0;

	if (count > 2 || (count == 2 && arguments[1][0] == '-'))
		errx(2, "usage: manager [CONFIGURATION], a file as in larder.conf(5)");
	options.text = count > 1 ? NULL : usual;
	options.file = count > 1 ? arguments[1] : NULL;
	must(larder_manager_open_with(&options, &manager), "open");
	must(larder_manager_handle(manager, "sessions", "users", &users), "users");
	must(larder_manager_handle(manager, NULL, "html", &pages), "html");

	must(larder_handle_set(users, "7", 1, "Ada", 3, LARDER_SECONDS(60)), "set");
	if (larder_handle_get(users, "7", 1, &value) == LARDER_OK)
		printf("user 7 is %.*s\n", (int)value.length, (char *)value.data);
	for (int i = 0; i < 3; i++)
		must(larder_handle_get_or_compute(pages, "/users/7", 8, render, &rendered, NULL, &value, NULL), "page");
	printf("%.*s, rendered %d time\n", (int)value.length, (char *)value.data, rendered);

	struct larder_store *larger;
	const struct larder_setting settings[] = { { "bytes", "32m" } };
	must(larder_store_open("memory", settings, 1, NULL, NULL, &larger), "larger");
	must(larder_manager_replace(manager, "sessions", larger), "replace");
	larder_store_release(&larger);
	printf("user 7 in the new store: %s\n", larder_strerror(larder_handle_get(users, "7", 1, &value)));
	must(larder_manager_metrics(manager, tell, NULL), "metrics");
	free(value.data);
	larder_manager_close(&manager);
	return 0;
}
