/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder: looks at, fills and empties caches from the command line.  This file picks the subcommand; each of them is a
 * file cmd_NAME.c.  See larder(1).
 *
 * Whatever a subcommand returns, the program fails if its output could not be written: a full disk must not look like
 * an empty value.
 */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct command *tool_command;

static const struct command *const commands[] = {
#define TOOL_LIST(name) &cmd_##name,
	TOOL_COMMANDS(TOOL_LIST)
#undef TOOL_LIST
};
static const size_t command_count = sizeof commands / sizeof commands[0];

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < command_count; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

void command_usage(const struct command *command, FILE *out)
{
	fprintf(out, "usage: larder %s %s\n%s.\n", command->name, command->synopsis, command->summary);
	if (command->options)
		fprintf(out, "\n%s", command->options);
	fprintf(out, "\nThe manual page larder-%s(1) says the rest.\n", command->name);
}

static void program_usage(FILE *out)
{
	fputs("usage: larder [--help | --version] COMMAND [ARGUMENT ...]\n\n", out);
	for (size_t i = 0; i < command_count; i++)
		fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n'larder COMMAND --help' says more of each; the manual is larder(1) and larder(7).\n", out);
}

static int run_help(int argc, char **argv)
{
	static const struct option longs[] = { LONG_HELP, LONG_END };

	while (option_next(argc, argv, ":h", longs) != -1)
		;
	operands_expect(argc, argv, 0, 1);
	if (optind == argc) {
		program_usage(stdout);
		return TOOL_OK;
	}
	const struct command *command = command_find(argv[optind]);
	if (!command)
		usage_error("'%s' is not a command; 'larder help' lists them", argv[optind]);
	command_usage(command, stdout);
	return TOOL_OK;
}

const struct command cmd_help = {
	.name = "help",
	.summary = "Lists the commands, or says how to use one",
	.synopsis = "[COMMAND]",
	.options = HELP_HELP,
	.run = run_help,
};

static int print_version(void)
{
	printf("larder %d.%d.%d (library %s)\n", LARDER_VERSION_MAJOR, LARDER_VERSION_MINOR, LARDER_VERSION_PATCH,
			larder_version());
	return TOOL_OK;
}

static int run_command(int argc, char **argv)
{
	tool_command = command_find(argv[0]);
	if (!tool_command) {
		fprintf(stderr, "larder: '%s' is not a command; 'larder help' lists them\n", argv[0]);
		return TOOL_USAGE;
	}
	optind = 0; /* getopt_long starts afresh, on the subcommand's own arguments */
	return tool_command->run(argc, argv);
}

static int run_program(int argc, char **argv)
{
	static const struct option longs[] = { LONG_HELP, { "version", no_argument, NULL, 'V' }, LONG_END };

	switch (getopt_long(argc, argv, "+hV", longs, NULL)) {
	case 'h':
		program_usage(stdout);
		return TOOL_OK;
	case 'V':
		return print_version();
	case -1:
		break;
	default:
		fputs("larder: 'larder help' lists the commands\n", stderr);
		return TOOL_USAGE;
	}
	if (optind == argc) {
		program_usage(stderr);
		return TOOL_USAGE;
	}
	return run_command(argc - optind, argv + optind);
}

int main(int argc, char **argv)
{
	int code = run_program(argc, argv);

	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "larder: cannot write to standard output: %s\n", strerror(errno));
		return TOOL_FAILED;
	}
	return code;
}
