/* SPDX-License-Identifier: BSD-2-Clause */
/* Redis servers for tests, see server.h. */
#include "server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DIRECTORY "/tmp/larder-redis-test."
#define START_MS 10000

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Directories ----------------------------------------------------------------------------------------------------- */

static void remove_tree(const char *path)
{
	char command[400];

	snprintf(command, sizeof command, "rm -rf '%s'", path);
	if (system(command))
		fprintf(stderr, "# cannot remove %s\n", path);
}

/* Directories of tests that were killed. */
static void sweep(void)
{
	const char *name = strrchr(DIRECTORY, '/') + 1;
	struct dirent *entry;
	DIR *tmp = opendir("/tmp");

	while (tmp && (entry = readdir(tmp))) {
		char path[16 + sizeof entry->d_name];
		if (strncmp(entry->d_name, name, strlen(name)))
			continue;
		pid_t pid = (pid_t)atoi(entry->d_name + strlen(name));
		if (pid > 0 && (!kill(pid, 0) || errno != ESRCH))
			continue;
		snprintf(path, sizeof path, "/tmp/%s", entry->d_name);
		remove_tree(path);
	}
	if (tmp)
		closedir(tmp);
}

/* ---- Processes ------------------------------------------------------------------------------------------------------- */

static int connect_to(const struct server *server)
{
	struct sockaddr_un local = { .sun_family = AF_UNIX };
	struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_port = htons((uint16_t)server->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(server->port ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(local.sun_path, sizeof local.sun_path, "%s", server->socket);
	if (server->port ? !connect(fd, (struct sockaddr *)&loopback, sizeof loopback)
			: !connect(fd, (struct sockaddr *)&local, sizeof local))
		return fd;
	close(fd);
	return -1;
}

/* Loading, too, is an answer. */
static bool answers(const struct server *server)
{
	char answer[64];
	int fd = connect_to(server);

	if (fd < 0)
		return false;
	bool good = write(fd, "PING\r\n", 6) == 6 && read(fd, answer, sizeof answer) > 0;
	close(fd);
	return good;
}

static void become(const struct server *server)
{
	char port[16], log[96];
	const char *argv[SERVER_ARGUMENTS_MAX + 24] = { "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket",
		server->socket, "--dir", server->directory, "--save", "", "--appendonly", "no", "--logfile", log, "--daemonize", "no",
		"--repl-diskless-sync-delay", "0" };
	size_t count = 0;

	snprintf(port, sizeof port, "%d", server->port);
	snprintf(log, sizeof log, "%s/log", server->directory);
	while (argv[count])
		count++;
	for (size_t i = 0; server->arguments[i]; i++)
		argv[count++] = server->arguments[i];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	execvp(argv[0], (char **)(uintptr_t)argv);
	_exit(127);
}

void server_restart(struct server *server)
{
	int status = 0;

	unlink(server->socket);
	server->pid = fork();
	cr_assert_geq(server->pid, 0);
	if (!server->pid)
		become(server);
	bool up = false;
	await((up = answers(server)) || waitpid(server->pid, &status, WNOHANG) == server->pid, START_MS);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		cr_skip_test("there is no redis-server");
	cr_assert(up && !status, "redis-server did not start (%d), see %s/log", status, server->directory);
}

int server_port(void)
{
	for (unsigned i = 0; i < 200; i++) {
		int port = 20000 + (int)(((unsigned)getpid() * 37u + i * 101u + (unsigned)now_ms()) % 20000u), free = 0;
		for (int step = 0; step <= 10000; step += 10000) {
			struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_port = htons((uint16_t)(port + step)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
			int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
			free += !bind(fd, (struct sockaddr *)&loopback, sizeof loopback);
			close(fd);
		}
		if (free == 2)
			return port;
	}
	cr_assert_fail("no free port");
	return 0;
}

void server_start(struct server *server, bool on_port)
{
	static unsigned serial;

	sweep();
	server->port = on_port ? server_port() : 0;
	snprintf(server->directory, sizeof server->directory, DIRECTORY "%d.%u", (int)getpid(), ++serial);
	snprintf(server->socket, sizeof server->socket, "%s/socket", server->directory);
	cr_assert_eq(mkdir(server->directory, 0700), 0);
	if (on_port)
		snprintf(server->url, sizeof server->url, "redis://127.0.0.1:%d", server->port);
	else
		snprintf(server->url, sizeof server->url, "unix://%s", server->socket);
	server_restart(server);
}

void server_kill(struct server *server)
{
	if (server->pid <= 0)
		return;
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

void server_freeze(const struct server *server)
{
	kill(server->pid, SIGSTOP);
	waitpid(server->pid, NULL, WUNTRACED);
}

void server_thaw(const struct server *server)
{
	kill(server->pid, SIGCONT);
}

void server_end(struct server *server)
{
	if (!*server->directory)
		return;
	server_kill(server);
	remove_tree(server->directory);
	*server->directory = '\0';
}

const char *server_say(const struct server *server, const char *format, ...)
{
	static char answer[65536];
	char words[1024], command[1400];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	snprintf(command, sizeof command, "redis-cli -s '%s' %s 2>&1", server->socket, words);
	FILE *pipe = popen(command, "r");
	size_t count = pipe ? fread(answer, 1, sizeof answer - 1, pipe) : 0;
	if (pipe)
		pclose(pipe);
	while (count && answer[count - 1] == '\n')
		count--;
	answer[count] = '\0';
	return answer;
}

/* ---- Stores ---------------------------------------------------------------------------------------------------------- */

struct larder_store *store_open(const char *url, ...)
{
	struct larder_setting settings[24] = { { "url", url }, { "timeout", "10s" }, { "connect-timeout", "10s" } };
	struct larder_store *store;
	size_t count = 3;
	va_list pairs;

	va_start(pairs, url);
	for (const char *key; (key = va_arg(pairs, const char *));)
		if (!strcmp(key, "timeout"))
			settings[1].value = va_arg(pairs, const char *);
		else if (!strcmp(key, "connect-timeout"))
			settings[2].value = va_arg(pairs, const char *);
		else
			settings[count++] = (struct larder_setting){ key, va_arg(pairs, const char *) };
	va_end(pairs);
	assert_status(larder_store_open("redis", settings, count, NULL, NULL, &store), LARDER_OK);
	return store;
}

struct larder_store_key key_of(const char *ns, const char *text)
{
	struct larder_store_key key = { .bytes = text, .count = strlen(text) };

	cr_assert_eq(larder_name(ns, &key.ns), LARDER_OK);
	return key;
}
