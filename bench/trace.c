/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading of traces.  Sizes and ids of a file are data from outside: lines that make no sense end the reading with the
 * number of the line. */
#include "trace.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_LZMA
#include <lzma.h>
#endif
#include <xxhash.h>

#include "bench.h"
#include "keys.h"

#define FILE_MAX ((size_t)4 << 30)

/* ---- dense numbers ---- */

struct numbering {
	uint64_t *ids;
	uint32_t *numbers;
	uint64_t mask;
	uint32_t count;
};

static int numbering_new(struct numbering *numbering, size_t most)
{
	uint64_t room = 1024;

	while (room < most * 2)
		room *= 2;
	*numbering = (struct numbering){ .mask = room - 1 };
	numbering->ids = calloc(room, sizeof *numbering->ids);
	numbering->numbers = calloc(room, sizeof *numbering->numbers);
	return numbering->ids && numbering->numbers ? 0 : -1;
}

static void numbering_free(struct numbering *numbering)
{
	free(numbering->ids);
	free(numbering->numbers);
}

/* numbers[] holds number + 1; 0 is free. */
static uint32_t number_of(struct numbering *numbering, uint64_t id)
{
	uint64_t state = id, at = random_next(&state) & numbering->mask;

	while (numbering->numbers[at] && numbering->ids[at] != id)
		at = (at + 1) & numbering->mask;
	if (!numbering->numbers[at]) {
		numbering->ids[at] = id;
		numbering->numbers[at] = ++numbering->count;
	}
	return numbering->numbers[at] - 1;
}

/* ---- bytes of a file ---- */

static int bytes_read(const char *path, uint8_t **bytes, size_t *count)
{
	FILE *file = fopen(path, "rb");
	size_t room = 1 << 20, got;

	*count = 0;
	*bytes = malloc(room);
	if (!file || !*bytes) {
		bench_complain("%s: %s", path, strerror(errno));
		if (file)
			fclose(file);
		return -1;
	}
	while ((got = fread(*bytes + *count, 1, room - *count, file)) > 0) {
		*count += got;
		if (*count == room) {
			uint8_t *grown = room < FILE_MAX ? realloc(*bytes, room * 2) : NULL;

			if (!grown)
				break;
			*bytes = grown;
			room *= 2;
		}
	}
	got = (size_t)(ferror(file) || !feof(file));
	fclose(file);
	if (got)
		bench_complain("%s: cannot be read whole", path);
	return got ? -1 : 0;
}

#ifdef HAVE_LZMA
static int unpack(const uint8_t *packed, size_t packed_count, uint8_t **bytes, size_t *count)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret state = lzma_stream_decoder(&stream, UINT64_MAX, LZMA_CONCATENATED);
	size_t room = packed_count * 4 + 65536;

	*bytes = malloc(room);
	stream.next_in = packed;
	stream.avail_in = packed_count;
	stream.next_out = *bytes;
	stream.avail_out = room;
	while (*bytes && state == LZMA_OK && (state = lzma_code(&stream, LZMA_FINISH)) == LZMA_OK
			&& stream.avail_out == 0) {
		uint8_t *grown = room < FILE_MAX ? realloc(*bytes, room * 2) : NULL;

		if (!grown)
			break;
		*bytes = grown;
		stream.next_out = grown + room;
		stream.avail_out = room;
		room *= 2;
	}
	*count = stream.total_out;
	lzma_end(&stream);
	return state == LZMA_STREAM_END ? 0 : -1;
}
#else
static int unpack(const uint8_t *packed, size_t packed_count, uint8_t **bytes, size_t *count)
{
	(void)packed;
	(void)packed_count;
	*bytes = NULL;
	*count = 0;
	bench_complain("this build reads no .xz (liblzma was not found)");
	return -1;
}
#endif

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length >= tail && strcmp(text + length - tail, end) == 0;
}

static int bytes_unpacked(const char *path, uint8_t **bytes, size_t *count)
{
	uint8_t *packed;
	size_t packed_count;
	int result;

	if (bytes_read(path, bytes, count) < 0)
		return -1;
	if (!ends_with(path, ".xz"))
		return 0;
	packed = *bytes;
	packed_count = *count;
	result = unpack(packed, packed_count, bytes, count);
	free(packed);
	if (result < 0)
		bench_complain("%s: cannot be unpacked", path);
	return result;
}

/* ---- formats ---- */

static uint32_t u32_at(const uint8_t *bytes, size_t index)
{
	const uint8_t *at = bytes + index * 4;

	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static int parse_binary(struct trace *trace, struct numbering *numbering, const uint8_t *bytes, size_t count,
		bool sized)
{
	unsigned words = sized ? 2 : 1;

	trace->sized = sized;
	trace->count = count / 4 / words;
	trace->requests = calloc(trace->count + 1, sizeof *trace->requests);
	if (!trace->requests || numbering_new(numbering, trace->count) < 0)
		return -1;
	for (size_t i = 0; i < trace->count; i++) {
		struct request *request = &trace->requests[i];

		request->object = number_of(numbering, u32_at(bytes, i * words));
		request->size = sized ? u32_at(bytes, i * words + 1) : 0;
		request->time_ms = i;
	}
	return 0;
}

/* The text up to the next comma or end of line, terminated in place; NULL at the end of the line. */
static char *field(char **at)
{
	char *start = *at, *end;

	if (!start)
		return NULL;
	end = start + strcspn(start, ",");
	*at = *end ? end + 1 : NULL;
	*end = '\0';
	return start;
}

static bool milliseconds(const char *text, uint64_t *ms)
{
	char *end;
	double seconds = text && *text ? strtod(text, &end) : 0;

	*ms = 0;
	if (!text || !*text)
		return true;
	if (*end || !isfinite(seconds) || seconds < 0 || seconds > 1e12)
		return false;
	*ms = (uint64_t)(seconds * 1000);
	return true;
}

static bool operation(const char *text, uint8_t *op)
{
	static const char *const names[] = { "get", "set", "delete" };

	*op = TRACE_GET;
	if (!text || !*text)
		return true;
	for (unsigned i = 0; i < 3; i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*op = (uint8_t)i;
		return true;
	}
	return false;
}

static bool parse_line(char *line, struct numbering *numbering, struct request *request)
{
	char *at = line, *time = field(&at), *key = field(&at), *size = field(&at), *op = field(&at),
			*ttl = field(&at), *end;
	unsigned long bytes = 0;

	if (!key || !*key || !milliseconds(time, &request->time_ms) || !milliseconds(ttl, &request->ttl_ms)
			|| !operation(op, &request->op))
		return false;
	if (size && *size) {
		errno = 0;
		bytes = strtoul(size, &end, 10);
		if (*end || errno || bytes > UINT32_MAX)
			return false;
	}
	request->size = (uint32_t)bytes;
	request->object = number_of(numbering, XXH3_64bits(key, strlen(key)));
	return true;
}

static size_t lines_of(const uint8_t *bytes, size_t count)
{
	size_t lines = 1;

	for (size_t i = 0; i < count; i++)
		lines += bytes[i] == '\n';
	return lines;
}

/* bytes[count] must be writable: the last line may lack its newline. */
static int parse_csv(struct trace *trace, struct numbering *numbering, uint8_t *bytes, size_t count)
{
	size_t lines = lines_of(bytes, count), number = 0;
	char *line = (char *)bytes, *end = line + count;

	trace->timed = true;
	trace->requests = calloc(lines, sizeof *trace->requests);
	if (!trace->requests || numbering_new(numbering, lines) < 0)
		return -1;
	for (; line < end; number++) {
		char *newline = memchr(line, '\n', (size_t)(end - line));
		char *next = newline ? newline + 1 : end;

		*(newline ? newline : end) = '\0';
		line[strcspn(line, "\r")] = '\0';
		if (*line && !(number == 0 && strncmp(line, "time", 4) == 0)) {
			if (!parse_line(line, numbering, &trace->requests[trace->count])) {
				bench_complain("line %zu makes no sense", number + 1);
				return -1;
			}
			trace->sized = trace->sized || trace->requests[trace->count].size;
			trace->count++;
		}
		line = next;
	}
	return 0;
}

/* Later sizes replace earlier ones; a request without one takes the object's. */
static int measure_objects(struct trace *trace)
{
	uint32_t *sizes = calloc(trace->objects + 1u, sizeof *sizes);
	uint64_t start = trace->count ? trace->requests[0].time_ms : 0;

	if (!sizes)
		return -1;
	for (size_t i = 0; i < trace->count; i++) {
		struct request *request = &trace->requests[i];

		trace->object_bytes += (uint64_t)(request->size ? request->size : sizes[request->object])
				- sizes[request->object];
		request->size = request->size ? request->size : sizes[request->object];
		sizes[request->object] = request->size;
	}
	for (size_t i = 0; i < trace->count; i++) {
		struct request *request = &trace->requests[i];

		request->time_ms = request->time_ms > start ? request->time_ms - start : 0;
	}
	free(sizes);
	return 0;
}

int trace_read(struct trace *trace, const char *path)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	struct numbering numbering = { 0 };
	uint8_t *bytes = NULL;
	size_t count;
	int result;

	*trace = (struct trace){ 0 };
	snprintf(trace->name, sizeof trace->name, "%.*s", (int)strcspn(base, "."), base);
	result = bytes_unpacked(path, &bytes, &count);
	if (result == 0 && (strstr(base, ".csv") != NULL)) {
		uint8_t *grown = realloc(bytes, count + 1);

		bytes = grown ? grown : bytes;
		result = grown ? parse_csv(trace, &numbering, bytes, count) : -1;
	} else if (result == 0) {
		result = parse_binary(trace, &numbering, bytes, count, strstr(base, ".idsize32") != NULL);
	}
	trace->objects = numbering.count;
	numbering_free(&numbering);
	free(bytes);
	if (result == 0)
		result = measure_objects(trace);
	if (result < 0 || trace->count == 0) {
		bench_complain("%s: no trace", path);
		trace_free(trace);
		return -1;
	}
	return 0;
}

int trace_zipf(struct trace *trace, uint32_t objects, size_t count, double exponent, uint64_t seed)
{
	struct zipf zipf;

	*trace = (struct trace){ .count = count, .objects = objects };
	snprintf(trace->name, sizeof trace->name, "zipf %.2f", exponent);
	trace->requests = calloc(count, sizeof *trace->requests);
	if (!trace->requests)
		return -1;
	zipf_init(&zipf, objects, exponent);
	for (size_t i = 0; i < count; i++)
		trace->requests[i] = (struct request){ .time_ms = i, .object = (uint32_t)zipf_next(&zipf, &seed) };
	return 0;
}

void trace_give_size(struct trace *trace, uint32_t size)
{
	if (trace->sized)
		return;
	for (size_t i = 0; i < trace->count; i++)
		trace->requests[i].size = size;
	trace->object_bytes = (uint64_t)size * trace->objects;
}

void trace_give_ttls(struct trace *trace, uint64_t seed)
{
	const uint64_t lives[] = { 0, trace->count / 50 + 1, trace->count / 10 + 1, trace->count / 2 + 1 };

	for (size_t i = 0; i < trace->count; i++) {
		uint64_t state = seed ^ trace->requests[i].object;

		trace->requests[i].time_ms = i;
		trace->requests[i].ttl_ms = lives[random_next(&state) & 3];
	}
	trace->timed = true;
}

void trace_free(struct trace *trace)
{
	free(trace->requests);
	*trace = (struct trace){ 0 };
}
