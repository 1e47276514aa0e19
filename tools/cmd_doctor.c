/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder doctor: looks at the host and at a cache, and says in plain words what is so, why it matters and what to
 * change.  It attaches read-only and changes nothing; to see whether huge pages can be had it makes a file of 4 MiB
 * without a name, for a moment.
 *
 * The exit code tells the worst that was found, so that a script can ask.
 */
#define _GNU_SOURCE /* asprintf */
#include "doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_COLUMNS 96u
#define INDENT 24u
#define SAMPLE_MS_MAX (INT64_C(600) * 1000)

static const char *const grade_names[] = { "fine", "note", "advice", "FAULT" };
static const int grade_codes[] = { TOOL_OK, TOOL_OK, TOOL_ADVICE, TOOL_FAULT };

enum { ROOT = 256 };

static const struct option longs[] = {
	LONG_HELP, LONG_JSON, LONG_QUIET,
	{ "sample", required_argument, NULL, 's' },
	{ "root", required_argument, NULL, ROOT },
	LONG_END,
};

/* ---- Findings ---- */

static json_t *last_finding(const struct doctor *doctor)
{
	return json_array_get(doctor->findings, json_array_size(doctor->findings) - 1);
}

static void put_text(json_t *finding, const char *name, const char *format, va_list arguments)
{
	char *text;

	if (vasprintf(&text, format, arguments) < 0)
		return;
	json_object_set_new(finding, name, json_string(text));
	free(text);
}

void found(struct doctor *doctor, enum grade grade, const char *subject, const char *format, ...)
{
	va_list arguments;

	json_array_append_new(
			doctor->findings, json_pack("{s:s, s:s}", "grade", grade_names[grade], "subject", subject));
	va_start(arguments, format);
	put_text(last_finding(doctor), "what", format, arguments);
	va_end(arguments);
	doctor->worst = grade > doctor->worst ? grade : doctor->worst;
}

void because(struct doctor *doctor, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	put_text(last_finding(doctor), "why", format, arguments);
	va_end(arguments);
}

void change(struct doctor *doctor, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	put_text(last_finding(doctor), "change", format, arguments);
	va_end(arguments);
}

/* ---- Files of the host ---- */

char *host_path(const struct doctor *doctor, const char *path)
{
	char *whole;

	return asprintf(&whole, "%s%s", doctor->root, path) < 0 ? NULL : whole;
}

char *host_file(const struct doctor *doctor, const char *path)
{
	char *whole = host_path(doctor, path), *text = NULL;
	FILE *file = whole ? fopen(whole, "re") : NULL;
	size_t capacity = 0;

	free(whole);
	if (!file)
		return NULL;
	if (getdelim(&text, &capacity, '\0', file) < 0) {
		free(text);
		text = ferror(file) ? NULL : strdup("");
	}
	fclose(file);
	return text;
}

/* ---- Printing ---- */

/* Text in lines of LINE_COLUMNS, all but the first indented; a word longer than that stands alone. */
static void print_folded(const char *text)
{
	size_t column = INDENT;

	while (*text) {
		size_t word = strcspn(text, " ");
		if (column > INDENT && column + 1 + word > LINE_COLUMNS) {
			printf("\n%*s", (int)INDENT, "");
			column = INDENT;
		} else if (column > INDENT) {
			putchar(' ');
			column++;
		}
		print_bytes(stdout, (struct bytes){ (const unsigned char *)text, word }, false);
		column += word;
		text += word + (text[word] == ' ');
	}
	putchar('\n');
}

static void print_part(const json_t *finding, const char *name)
{
	const char *text = json_string_value(json_object_get(finding, name));

	if (!text)
		return;
	printf("%*s%-*s", 8, "", (int)INDENT - 8, name);
	print_folded(text);
}

static void print_finding(const json_t *finding)
{
	const char *grade = json_string_value(json_object_get(finding, "grade"));
	const char *subject = json_string_value(json_object_get(finding, "subject"));
	const char *what = json_string_value(json_object_get(finding, "what"));

	printf("%-7s %-*s", grade, (int)INDENT - 8, subject);
	print_folded(what ? what : "");
	print_part(finding, "why");
	print_part(finding, "change");
}

static void print_text(const struct doctor *doctor, bool quiet)
{
	size_t index, count[4] = { 0 };
	json_t *finding;

	json_array_foreach(doctor->findings, index, finding) {
		const char *name = json_string_value(json_object_get(finding, "grade"));
		unsigned grade = 0;
		while (grade < GRADE_FAULT && strcmp(grade_names[grade], name))
			grade++;
		count[grade]++;
		if (!quiet || grade >= GRADE_ADVICE)
			print_finding(finding);
	}
	if (!quiet)
		printf("\n%zu %s, %zu %s of advice, %zu %s, %zu %s as %s should be\n",
				count[GRADE_FAULT], plural(count[GRADE_FAULT], "fault", "faults"),
				count[GRADE_ADVICE], plural(count[GRADE_ADVICE], "piece", "pieces"),
				count[GRADE_NOTE], plural(count[GRADE_NOTE], "note", "notes"),
				count[GRADE_FINE], plural(count[GRADE_FINE], "thing", "things"),
				plural(count[GRADE_FINE], "it", "they"));
}

static int print_findings(struct doctor *doctor, bool json, bool quiet)
{
	if (!json) {
		print_text(doctor, quiet);
		return TOOL_OK;
	}
	json_t *object = json_object();
	json_object_set_new(object, "worst", json_string(grade_names[doctor->worst]));
	json_object_set(object, "findings", doctor->findings);
	return json_print(object, false);
}

/* ---- The command ---- */

/* What the checks of the host want to know of the cache. */
static int look_at_file(struct doctor *doctor, struct larder *cache)
{
	struct larder_info info;
	struct stat status;
	enum larder_status answer = larder_info(cache, &info);

	if (answer != LARDER_OK)
		return report_cache(answer);
	doctor->cache_bytes = info.bytes;
	memcpy(doctor->cache_path, info.path, sizeof doctor->cache_path);
	if (!stat(info.path, &status))
		doctor->owner = status.st_uid;
	return TOOL_OK;
}

static int examine(struct doctor *doctor, const char *name)
{
	struct larder *cache = NULL;
	int code = name ? cache_inspect(name, &cache) : TOOL_OK;

	if (code == TOOL_OK && cache)
		code = look_at_file(doctor, cache);
	if (code == TOOL_OK) {
		doctor_host(doctor);
		doctor_memory(doctor);
	}
	if (code == TOOL_OK && cache)
		code = doctor_cache(doctor, cache);
	larder_close(&cache);
	return code;
}

static void apply(int option, struct doctor *doctor)
{
	if (option == ROOT)
		doctor->root = optarg;
	if (option != 's')
		return;
	doctor->sample_ms = duration_argument("sample", optarg);
	if (doctor->sample_ms > SAMPLE_MS_MAX)
		usage_error("sample '%s' is too long: 10m at most", optarg);
}

static int run(int argc, char **argv)
{
	struct doctor doctor = { .root = "", .sample_ms = 1000, .owner = geteuid() };
	bool json = false, quiet = false;
	int option;

	while ((option = option_next(argc, argv, ":hjqs:", longs)) != -1) {
		json |= option == 'j';
		quiet |= option == 'q';
		apply(option, &doctor);
	}
	operands_expect(argc, argv, 0, 1);
	doctor.findings = json_array();
	int code = examine(&doctor, optind < argc ? argv[optind] : NULL);
	if (code == TOOL_OK)
		code = print_findings(&doctor, json, quiet);
	json_decref(doctor.findings);
	return code == TOOL_OK ? grade_codes[doctor.worst] : code;
}

const struct command cmd_doctor = {
	.name = "doctor",
	.summary = "Says what is wrong with the host or a cache, and what to change",
	.synopsis = "[-jq] [-s DURATION] [--root DIRECTORY] [CACHE]",
	.options = "  -s, --sample DURATION    watch the cache for so long (default: 1s)\n"
		"  -q, --quiet              only faults and advice\n"
		"      --root DIRECTORY     read /proc, /sys, /etc, /run and /dev/shm below it\n"
		HELP_JSON HELP_HELP "\nExit code 5: there is advice; 6: there are faults.\n",
	.run = run,
};
