/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bounded run of the fuzzer without libFuzzer: whole samples of each form, mutated for FUZZ_MS milliseconds, or files that are named.
 * The seed is printed, and FUZZ_SEED repeats it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <larder/entry.h>

#include "dumpfile.h"

#define RUN_MS 3000

struct sample {
	uint8_t bytes[FUZZ_BYTES_MAX];
	size_t count;
};
static struct sample samples[FUZZ_PARSERS];
static uint64_t state;

static uint64_t chance(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % below;
}

/* ---- Samples ---------------------------------------------------------------------------------------------------------- */

static void sample_set(unsigned parser, const void *bytes, size_t count)
{
	samples[parser].bytes[0] = (uint8_t)parser;
	memcpy(samples[parser].bytes + 1, bytes, count);
	samples[parser].count = count + 1;
}

static void sample_text(unsigned parser, const char *text)
{
	sample_set(parser, text, strlen(text));
}

static void sample_record(unsigned parser)
{
	const struct larder_record record = { .value = "value", .value_bytes = 5, .created_at_ms = 1700000000000, .user_flags = 7 };
	struct larder_buffer bytes = { .grow = true };

	if (larder_record_pack(&record, &bytes) == LARDER_OK)
		sample_set(parser, bytes.data, bytes.length);
	free(bytes.data);
}

static void sample_dump(unsigned parser)
{
	struct dump_record record = { .kind = DUMP_ENTRY, .ns = (const unsigned char *)"users", .ns_bytes = 5,
		.key = (const unsigned char *)"7", .key_bytes = 1, .value = (const unsigned char *)"Ada", .value_bytes = 3 };
	struct dump_writer writer;
	char *bytes = NULL;
	size_t count = 0;
	FILE *out = open_memstream(&bytes, &count);

	if (out && dump_begin(&writer, out, 1700000000000)) {
		for (int i = 0; i < 3; i++)
			(void)dump_put(&writer, record);
		(void)dump_end(&writer);
	}
	if (out && fclose(out) == 0)
		sample_set(parser, bytes, count);
	free(bytes);
}

static void make_samples(void)
{
	sample_text(0, "users:10%3A30:v2%25");
	sample_text(1, "# all\n[manager]\ndefault = web ; as ever\n[store web]\nkind = shm\nname = web\n url: a,\n   b\n[store b]\nkind=memory\n");
	sample_record(2);
	sample_dump(3);
	sample_text(4, "namespace,key,value,ttl_ms,flags\nusers,7,\"Ada \"\"L\"\"\",60000,1\n,k,v,,\n");
	sample_text(5, "{\"namespace\":\"users\",\"key\":\"7\",\"value\":\"Ada\",\"ttl_ms\":60000}\n{\"key\":\"\\u0041\",\"value_hex\":\"00ff\"}\n");
}

/* ---- Mutations ---------------------------------------------------------------------------------------------------------- */

static void mutate(struct sample *s)
{
	size_t at = 1 + chance(s->count - 1), span = 1 + chance(16);

	if (span > s->count - at)
		span = s->count - at;
	switch (chance(6)) {
	case 0:
		s->bytes[at] ^= (uint8_t)(1u << chance(8));
		break;
	case 1:
		s->bytes[at] = (uint8_t)":%=[];,\"{}\n\0\xff 0"[chance(16)];
		break;
	case 2: /* take out */
		if (s->count - span < 2)
			break;
		memmove(s->bytes + at, s->bytes + at + span, s->count - at - span);
		s->count -= span;
		break;
	case 3: /* say twice */
		if (s->count + span > FUZZ_BYTES_MAX)
			break;
		memmove(s->bytes + at + span, s->bytes + at, s->count - at);
		s->count += span;
		break;
	case 4:
		s->count = at + 1;
		break;
	default:
		for (size_t i = 0; i < span; i++)
			s->bytes[at + i] = (uint8_t)chance(256);
	}
}

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int run_files(char **names)
{
	static struct sample s;

	for (; *names; names++) {
		FILE *in = fopen(*names, "rb");
		if (!in)
			return fprintf(stderr, "fuzz: cannot read %s\n", *names), 1;
		s.count = fread(s.bytes, 1, sizeof s.bytes, in);
		(void)fclose(in);
		(void)fuzz_one(s.bytes, s.count);
	}
	return 0;
}

int main(int count, char **arguments)
{
	static struct sample s;
	const char *ms = getenv("FUZZ_MS"), *seed = getenv("FUZZ_SEED");
	uint64_t runs = 0;

	if (count > 1)
		return run_files(arguments + 1);
	state = seed && *seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
	printf("FUZZ_SEED=%llu\n", (unsigned long long)state);
	(void)fflush(stdout);
	make_samples();
	for (unsigned i = 0; i < FUZZ_PARSERS; i++)
		(void)fuzz_one(samples[i].bytes, samples[i].count);
	for (int64_t end = now_ms() + (ms && *ms ? strtol(ms, NULL, 10) : RUN_MS); runs % 64 || now_ms() < end; runs++) {
		s = samples[chance(FUZZ_PARSERS)];
		for (uint64_t left = 1 + chance(8); left; left--)
			mutate(&s);
		(void)fuzz_one(s.bytes, s.count);
	}
	printf("%llu inputs\n1 passed, 0 failed\n", (unsigned long long)runs);
	return runs ? 0 : 1;
}
