/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Peers that are servers: started as children of the host, with their socket in a directory of their own, and ended
 * with it (PR_SET_PDEATHSIG), so that no run leaves a server behind, however it ends.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"

void server_path(const struct peer *peer, struct peer_server *server)
{
	snprintf(server->directory, sizeof server->directory, "/tmp/larder-%s", peer->name);
	snprintf(server->socket, sizeof server->socket, "%s/socket", server->directory);
}

static void become(const char *program, char *const arguments[])
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	execvp(program, arguments);
	_exit(127);
}

/* The socket's name is there before the server listens: only a connection says that it does. */
static bool answers(const struct peer_server *server)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), result;

	snprintf(address.sun_path, sizeof address.sun_path, "%.107s", server->socket);
	result = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)&address, sizeof address);
	if (fd >= 0)
		close(fd);
	return result == 0;
}

static int await_socket(struct peer *peer, struct peer_server *server, const char *program)
{
	int status;

	for (unsigned i = 0; i < 1000; i++) {
		if (answers(server))
			return 0;
		if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
			server->pid = 0;
			if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
				return peer_fail(peer, "%s is not installed", program);
			return peer_fail(peer, "%s ended at once", program);
		}
		usleep(10000);
	}
	return peer_fail(peer, "%s does not answer", program);
}

int server_start(struct peer *peer, struct peer_server *server, const char *program, char *const arguments[])
{
	if (mkdir(server->directory, 0700) < 0)
		return peer_fail(peer, "cannot make %s: %s", server->directory, strerror(errno));
	server->pid = fork();
	if (server->pid < 0)
		return peer_fail(peer, "fork: %s", strerror(errno));
	if (server->pid == 0)
		become(program, arguments);
	return await_socket(peer, server, program);
}

void server_stop(struct peer_server *server)
{
	if (server->pid > 0) {
		kill(server->pid, SIGKILL);
		waitpid(server->pid, NULL, 0);
	}
	server->pid = 0;
}

void server_sweep(const struct peer *peer)
{
	struct peer_server server = { 0 };
	struct dirent *entry;
	DIR *directory;

	server_path(peer, &server);
	directory = opendir(server.directory);
	if (!directory)
		return;
	while ((entry = readdir(directory)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
	rmdir(server.directory);
}

uint64_t server_resident_bytes(const struct peer_server *server)
{
	unsigned long long size, resident;
	char path[64];
	FILE *file;
	int fields;

	snprintf(path, sizeof path, "/proc/%d/statm", server->pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	fields = fscanf(file, "%llu %llu", &size, &resident);
	fclose(file);
	return fields == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
