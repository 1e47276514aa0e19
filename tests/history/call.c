/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs the calls of call.h.  One function for each shape of call; no clock, no allocation. */
#include "call.h"

#include <string.h>

static void run_copy(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers,
		struct lin_call *call)
{
	struct larder_meta meta;
	size_t length = 0;

	call->status = larder_get_with(cache, key->ns, key->text, key->bytes, buffers->out, buffers->out_capacity,
			&length, 0, &meta);
	call->out.length = (uint32_t)length;
	if (call->status != LARDER_OK)
		return;
	call->version = meta.version;
	call->ttl_left = meta.ttl_left_ms;
}

static void run_pin(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers,
		struct lin_call *call)
{
	struct larder_pin pin;
	char *out = buffers->out;

	call->status = larder_pin(cache, key->ns, key->text, key->bytes, 0, &pin);
	if (call->status != LARDER_OK)
		return;
	for (unsigned i = 0; i < pin.iov_count; i++) {
		if ((size_t)(out - (char *)buffers->out) + pin.iov[i].iov_len > buffers->out_capacity)
			break;
		memcpy(out, pin.iov[i].iov_base, pin.iov[i].iov_len);
		out += pin.iov[i].iov_len;
	}
	call->out.length = (uint32_t)pin.length;
	call->version = pin.meta.version;
	call->ttl_left = pin.meta.ttl_left_ms;
	larder_unpin(cache, &pin);
}

static void run_many(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers,
		struct lin_call *call)
{
	char other[64];
	struct larder_item items[2] = {
		{ .key = "no such key", .key_bytes = 11, .value = other, .value_bytes = sizeof other },
		{ .key = key->text, .key_bytes = key->bytes, .value = buffers->out, .value_bytes = buffers->out_capacity },
	};
	enum larder_status status = larder_mget(cache, key->ns, items, 2);

	call->status = status != LARDER_OK ? status : items[1].status;
	call->out.length = (uint32_t)items[1].value_bytes;
}

static void run_lease(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers,
		struct lin_call *call)
{
	struct larder_lease lease;
	size_t length = 0;

	call->status = larder_lease(cache, key->ns, key->text, key->bytes, NULL, buffers->out, buffers->out_capacity,
			&length, &lease);
	call->out.length = (uint32_t)length;
}

static void run_short(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers,
		struct lin_call *call)
{
	size_t length = 0;

	call->status = larder_get(cache, key->ns, key->text, key->bytes, buffers->out, buffers->out_capacity, &length);
	call->out.length = (uint32_t)length;
}

static void run_get(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers,
		struct lin_call *call)
{
	if (buffers->manner == CALL_PIN)
		run_pin(cache, key, buffers, call);
	else if (buffers->manner == CALL_MANY)
		run_many(cache, key, buffers, call);
	else if (buffers->manner == CALL_LEASE)
		run_lease(cache, key, buffers, call);
	else if (buffers->manner == CALL_SHORT)
		run_short(cache, key, buffers, call);
	else
		run_copy(cache, key, buffers, call);
}

static void run_set_many(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers,
		struct lin_call *call)
{
	char value[] = "a value beside the one that counts";
	struct larder_item items[2] = {
		{ .key = "beside", .key_bytes = 6, .value = value, .value_bytes = sizeof value },
		/* mset reads the value only */
		{ .key = key->text, .key_bytes = key->bytes, .value = (void *)(uintptr_t)buffers->in,
			.value_bytes = call->in.length },
	};
	enum larder_status status = larder_mset(cache, key->ns, items, 2, call->ttl_ms);

	call->status = status != LARDER_OK ? status : items[1].status;
}

static void run_write(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers,
		struct lin_call *call)
{
	struct larder_set_options options = LARDER_SET_OPTIONS_INIT;
	struct larder_result result = { 0, 0 };

	if (buffers->manner == CALL_MANY) {
		run_set_many(cache, key, buffers, call);
		return;
	}
	if (buffers->manner == CALL_SHORT && call->kind == LIN_SET) {
		call->status = larder_set(cache, key->ns, key->text, key->bytes, buffers->in, call->in.length, call->ttl_ms);
		return;
	}
	options.ttl_ms = call->ttl_ms;
	options.tags = &buffers->tag;
	options.tag_count = buffers->tag != NULL;
	options.grace_ms = buffers->grace_ms;
	if (buffers->manner == CALL_LEASE_SET) {
		call->status = larder_lease_set(cache, key->ns, key->text, key->bytes, buffers->in, call->in.length,
				&options, call->expected, &result);
		return;
	}
	options.version = call->expected;
	options.mode = call->kind == LIN_ADD ? LARDER_ADD : call->kind == LIN_REPLACE ? LARDER_REPLACE :
			call->kind == LIN_CAS ? LARDER_CAS : LARDER_SET;
	call->status = larder_set_with(cache, key->ns, key->text, key->bytes, buffers->in, call->in.length, &options,
			&result);
	if (call->status == LARDER_OK)
		call->version = result.version;
}

static void run_swap(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers,
		struct lin_call *call)
{
	size_t length = 0;

	call->status = larder_get_and_set(cache, key->ns, key->text, key->bytes, buffers->in, call->in.length,
			call->ttl_ms, buffers->out, buffers->out_capacity, &length);
	call->out.length = (uint32_t)length;
}

void call_run(struct larder *cache, const struct call_key *key, const struct call_buffers *buffers, struct lin_call *call)
{
	switch (call->kind) {
	case LIN_GET:
		run_get(cache, key, buffers, call);
		break;
	case LIN_EXISTS:
		call->status = larder_exists(cache, key->ns, key->text, key->bytes);
		break;
	case LIN_SET:
	case LIN_ADD:
	case LIN_REPLACE:
	case LIN_CAS:
		run_write(cache, key, buffers, call);
		break;
	case LIN_SWAP:
		run_swap(cache, key, buffers, call);
		break;
	case LIN_DELETE:
		call->status = larder_delete(cache, key->ns, key->text, key->bytes);
		break;
	case LIN_INCR:
		call->status = larder_incr_with(cache, key->ns, key->text, key->bytes, call->delta, call->create,
				call->initial, call->ttl_ms, &call->sum);
		break;
	case LIN_APPEND:
		call->status = larder_append(cache, key->ns, key->text, key->bytes, buffers->in, call->in.length);
		break;
	case LIN_TOUCH:
		call->status = larder_touch(cache, key->ns, key->text, key->bytes, call->ttl_ms);
		break;
	case LIN_FLUSH:
		call->status = buffers->manner == CALL_TAG ? larder_tag_invalidate(cache, CALL_TAG_NAME) :
				larder_flush(cache, key->ns);
		break;
	case LIN_NONE:
		if (buffers->manner == CALL_LEASE_RELEASE)
			call->status = larder_lease_release(cache, key->ns, key->text, key->bytes, call->expected);
		break;
	case LIN_DROP:
		break;
	}
}

void call_settle(const struct call_buffers *buffers, struct lin_call *call)
{
	if ((call->kind == LIN_GET || call->kind == LIN_SWAP) && call->status == LARDER_OK &&
			call->out.length <= buffers->out_capacity)
		call->out = lin_value_of(buffers->out, call->out.length);
	if ((buffers->manner != CALL_LEASE_SET && buffers->manner != CALL_LEASE_RELEASE) || call->status != LARDER_CHANGED)
		return;
	call->kind = LIN_NONE;
	call->status = LARDER_OK;
}
