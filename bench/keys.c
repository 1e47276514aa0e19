/* SPDX-License-Identifier: BSD-2-Clause */
/* Generation of keys, values, and streams of them. */
#include "keys.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>

void key_make(uint8_t *key, unsigned key_bytes, uint64_t number)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t state = number, bits = random_next(&state);

	for (unsigned i = 0; i < key_bytes; i++) {
		if (i % 16 == 0 && i != 0)
			bits = random_next(&state);
		key[i] = (uint8_t)digits[(bits >> (i % 16 * 4)) & 15];
	}
}

void value_make(uint8_t *value, unsigned value_bytes, const uint8_t *key)
{
	unsigned copied = value_bytes < KEY_BYTES_MIN ? value_bytes : KEY_BYTES_MIN;

	memcpy(value, key, copied);
	for (unsigned i = copied; i < value_bytes; i++)
		value[i] = (uint8_t)('a' + i % 26);
}

bool value_matches(const uint8_t *value, unsigned value_bytes, const uint8_t *key)
{
	unsigned compared = value_bytes < KEY_BYTES_MIN ? value_bytes : KEY_BYTES_MIN;

	if (memcmp(value, key, compared) != 0)
		return false;
	for (unsigned i = compared; i < value_bytes; i++)
		if (value[i] != (uint8_t)('a' + i % 26))
			return false;
	return true;
}

/* The integral of x^-exponent, and its inverse; at exponent 1 both are logarithms, reached here in the limit. */
static double zipf_integral(const struct zipf *zipf, double x)
{
	double log_x = log(x), part = (1 - zipf->exponent) * log_x;

	return fabs(part) > 1e-8 ? expm1(part) / (1 - zipf->exponent) : log_x * (1 + part / 2);
}

static double zipf_integral_inverse(const struct zipf *zipf, double y)
{
	double part = fmax(y * (1 - zipf->exponent), -1);

	return fabs(part) > 1e-8 ? exp(log1p(part) / (1 - zipf->exponent)) : exp(y * (1 - part / 2));
}

void zipf_init(struct zipf *zipf, uint64_t limit, double exponent)
{
	zipf->limit = limit;
	zipf->exponent = exponent;
	zipf->low = zipf_integral(zipf, 1.5) - 1;
	zipf->high = zipf_integral(zipf, (double)limit + 0.5);
	zipf->shortcut = 2 - zipf_integral_inverse(zipf, zipf_integral(zipf, 2.5) - pow(2, -exponent));
}

uint64_t zipf_next(const struct zipf *zipf, uint64_t *state)
{
	for (;;) {
		double part = (double)(random_next(state) >> 11) * 0x1p-53;
		double y = zipf->high + part * (zipf->low - zipf->high);
		double x = zipf_integral_inverse(zipf, y);
		double rank = fmin(fmax(floor(x + 0.5), 1), (double)zipf->limit);

		if (rank - x <= zipf->shortcut || y >= zipf_integral(zipf, rank + 0.5) - pow(rank, -zipf->exponent))
			return (uint64_t)rank - 1;
	}
}

int stream_make(struct key_stream *stream, size_t count, uint64_t distinct, double exponent, unsigned key_bytes,
		unsigned write_percent, uint64_t seed)
{
	size_t bytes = count * key_bytes + (write_percent ? count : 0);
	uint64_t state = seed;
	struct zipf zipf;
	uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -1;
	*stream = (struct key_stream){ .key_bytes = key_bytes, .count = count, .keys = memory, .mapped_bytes = bytes };
	if (write_percent)
		stream->writes = memory + count * key_bytes;
	if (exponent > 0)
		zipf_init(&zipf, distinct, exponent);
	for (size_t i = 0; i < count; i++) {
		uint64_t number = exponent > 0 ? zipf_next(&zipf, &state) : random_below(&state, distinct);

		key_make(stream->keys + i * key_bytes, key_bytes, number);
		if (write_percent)
			stream->writes[i] = random_below(&state, 100) < write_percent;
	}
	return 0;
}

void stream_free(struct key_stream *stream)
{
	if (stream->keys)
		munmap(stream->keys, stream->mapped_bytes);
	*stream = (struct key_stream){ 0 };
}
