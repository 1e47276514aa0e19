/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the command larder share: the table of subcommands, exit codes, reading of arguments, the way to a
 * cache and to what went wrong with it, and text for people.
 *
 * A subcommand is one file cmd_NAME.c that defines `const struct command cmd_NAME`; adding it to TOOL_COMMANDS is all
 * that is needed for `larder NAME`, `larder NAME --help` and `larder help`.
 * Helpers that read arguments end the program with TOOL_USAGE on their own; those that meet the cache print what went
 * wrong and return an exit code, so that a subcommand reads as a list of steps.
 */
#ifndef LARDER_TOOL_H
#define LARDER_TOOL_H

#include <getopt.h>
#include <jansson.h>
#include <larder.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TOOL_COMMANDS(X) \
	X(create) \
	X(destroy) \
	X(info) \
	X(get) \
	X(set) \
	X(del) \
	X(incr) \
	X(touch) \
	X(ls) \
	X(namespace) \
	X(flush) \
	X(stat) \
	X(monitor) \
	X(mrc) \
	X(check) \
	X(doctor) \
	X(dump) \
	X(load) \
	X(import) \
	X(migrate) \
	X(exporter) \
	X(top) \
	X(redis) \
	X(help)

enum tool_exit {
	TOOL_OK = 0,
	TOOL_NOT_FOUND = 1, /* no such key, namespace, cache; a condition (--add, --if-version) that does not hold */
	TOOL_USAGE = 2,     /* the command line is wrong */
	TOOL_FAILED = 3,    /* the system or the cache said no; check: faults were found */
	TOOL_DAMAGED = 4,   /* load, import: the file is damaged, or part of the source cannot be read */
	TOOL_ADVICE = 5,    /* doctor: something would work better otherwise */
	TOOL_FAULT = 6      /* doctor: something does not work, or loses what it should keep */
};

struct command {
	const char *name;
	const char *summary;  /* one line, for the list of `larder help` */
	const char *synopsis; /* what follows "larder NAME " */
	const char *options;  /* one line each, newline-ended; NULL without */
	int (*run)(int argc, char **argv);
};

#define TOOL_DECLARE(name) extern const struct command cmd_##name;
TOOL_COMMANDS(TOOL_DECLARE)
#undef TOOL_DECLARE

/* Bytes that somebody else owns. */
struct bytes {
	const unsigned char *data;
	size_t count;
};

/* ---- larder.c ---- */

extern const struct command *tool_command; /* the subcommand under way, for messages */
void command_usage(const struct command *command, FILE *out);

/* ---- larder_options.c: reading the command line ---- */

/* Lines of the help text that several subcommands share. */
#define HELP_HELP "  -h, --help               print this text\n"
#define HELP_NAMESPACE "  -N, --namespace NAME     the keys' namespace (default: the one without a name)\n"
#define HELP_HEX "  -x, --hex                keys are written in hexadecimal\n"
#define HELP_JSON "  -j, --json               print JSON\n"

#define LONG_HELP { "help", no_argument, NULL, 'h' }
#define LONG_NAMESPACE { "namespace", required_argument, NULL, 'N' }
#define LONG_HEX { "hex", no_argument, NULL, 'x' }
#define LONG_JSON { "json", no_argument, NULL, 'j' }
#define LONG_QUIET { "quiet", no_argument, NULL, 'q' }
#define LONG_END { NULL, 0, NULL, 0 }

/* getopt_long(), with --help served and mistakes reported; -1 at the end.  `shorts` begins with a colon. */
int option_next(int argc, char **argv, const char *shorts, const struct option *longs);
/* Leaves between least and most operands at argv[optind], or ends the program. */
void operands_expect(int argc, char **argv, int least, int most);

_Noreturn void usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Each ends the program with TOOL_USAGE if text is no such thing; `what` names it in the message. */
uint64_t size_argument(const char *what, const char *text);
uint32_t number_argument(const char *what, const char *text);
uint64_t version_argument(const char *what, const char *text);
int64_t integer_argument(const char *what, const char *text);
int64_t duration_argument(const char *what, const char *text); /* ms, above 0 */
int64_t ttl_argument(const char *text);                        /* ms, or a LARDER_TTL_... */
int64_t time_argument(const char *text);                       /* ms since 1970 */
uint32_t mode_argument(const char *text);
/* Hexadecimal is decoded in place, so each argument can be read once only. */
struct bytes key_argument(char *text, bool hex);
struct bytes *key_arguments(char **texts, int count, bool hex); /* for free() */
struct bytes prefix_argument(char *text, bool hex);             /* may be empty */

/* ---- larder_cache.c: the way to a cache, and what went wrong with it ---- */

/* "larder NAME: ..." on standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, ending in what errno means; returns TOOL_FAILED. */
int complain_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));

int cache_inspect(const char *name, struct larder **cache); /* read-only: disturbs nothing */
int cache_attach(const char *name, struct larder **cache);  /* to change something */

/* The number of a namespace that exists (LARDER_MISS is reported), or of one registered if need be. */
int namespace_find(struct larder *cache, const char *name, uint32_t *ns);
int namespace_register(struct larder *cache, const char *name, uint32_t *ns);
/* Calls visit for each namespace until it returns other than TOOL_OK. */
int namespace_each(struct larder *cache, int (*visit)(const struct larder_namespace_info *info, void *arg), void *arg);

/* Names of namespaces by number, asked for at first use: a number met in an entry may be younger than the walk. */
struct namespace_names {
	struct larder *cache;
	uint32_t count;
	char (*names)[65];
	bool *known;
};
int namespace_names_open(struct namespace_names *names, struct larder *cache);
const char *namespace_name(struct namespace_names *names, uint32_t ns); /* "?" if there is none of that number */
void namespace_names_close(struct namespace_names *names);

/* Whether a participant that is alive seems to be stopped: a hint for people, from /proc. */
bool participant_stopped(const struct larder_participant_info *who);

/* Exit code that stands for a status. */
int status_exit(enum larder_status status);
/* Reports a status that is not LARDER_OK: of an open or a namespace call; of a key; of the cache as a whole. */
int report_open(const char *name, enum larder_status status);
int report_key(enum larder_status status, struct bytes key);
int report_cache(enum larder_status status);

/* ---- larder_text.c: what people and programs read ---- */

#define TEXT_MAX 40 /* bytes that any text_...() needs */

void print_bytes(FILE *out, struct bytes bytes, bool hex); /* never sends a control character to a terminal */
void print_name(FILE *out, const char *namespace_name);     /* "(default)" for the one without */
const char *plural(uint64_t count, const char *one, const char *many); /* one of the two */
const char *text_size(uint64_t count, char *text);   /* 1536 -> "1.5 KiB" */
const char *text_duration(int64_t ms, char *text);   /* 90000 -> "1m30s"; LARDER_TTL_NONE -> "never" */
const char *text_time(int64_t ms, char *text);       /* 2026-01-31T12:00:00.000Z; 0 -> "never" */
int64_t wall_clock_ms(void);
uint64_t steady_clock_ms(void);

json_t *json_number(uint64_t number);
json_t *json_version(uint64_t version); /* a string: 64 bits do not fit into every reader's numbers */
/* object[name] = the text, or object[name_hex] where the bytes are no UTF-8. */
void json_set_bytes(json_t *object, const char *name, struct bytes bytes);
void json_set_meta(json_t *object, const struct larder_meta *meta);
/* Prints and drops object; compact: one line. */
int json_print(json_t *object, bool compact);

#endif
