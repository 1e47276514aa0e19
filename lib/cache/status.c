/* SPDX-License-Identifier: BSD-2-Clause */
/* Statuses in words, and the version of the library. */
#include "larder/monitor.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

static const char *answer_text(enum larder_status status)
{
	switch (status) {
	case LARDER_OK: return "success";
	case LARDER_MISS: return "no such key";
	case LARDER_EXISTS: return "exists already";
	case LARDER_CHANGED: return "changed since its version was read";
	case LARDER_STALE: return "stale value";
	case LARDER_SHORT: return "buffer too small for the value";
	case LARDER_END: return "stopped by the callback";
	case LARDER_ABSENT: return "known to have no value";
	case LARDER_TIMEOUT: return "time is over";
	default: return "unknown status";
	}
}

static const char *failure_text(enum larder_status status)
{
	switch (status) {
	case LARDER_INVALID: return "invalid argument";
	case LARDER_KEY_SIZE: return "key of 0 bytes, or of more than 4096";
	case LARDER_TOO_LARGE: return "value larger than this cache takes";
	case LARDER_NO_ROOM: return "no room: all is pinned or held back by stopped processes";
	case LARDER_WOULD_EVICT: return "room would take an eviction";
	case LARDER_NO_PIN: return "too few pins left in this thread for this value";
	case LARDER_NO_SLOT: return "all participant slots are taken";
	case LARDER_BUSY: return "called from a signal handler inside another call";
	case LARDER_DETACHED: return "the cache was destroyed";
	case LARDER_NOT_NUMBER: return "the value is no decimal integer";
	case LARDER_RANGE: return "the sum leaves the range of a counter";
	case LARDER_NAMESPACES: return "the table of namespaces is full";
	case LARDER_READ_ONLY: return "attached read-only";
	case LARDER_SYSTEM: return "system call failed";
	case LARDER_NO_CACHE: return "no such cache";
	case LARDER_MISMATCH: return "not a cache that this library can use";
	case LARDER_NO_SPACE: return "not enough room in the file system";
	case LARDER_DAMAGED: return "damage in the segment";
	case LARDER_CONTENDED: return "limit of tries reached";
	case LARDER_UNSUPPORTED: return "the cache was created without stamps";
	case LARDER_NO_MEMORY: return "out of memory";
	case LARDER_UNREACHABLE: return "the remote store does not answer";
	case LARDER_NO_STORE: return "the manager has no store of that name";
	case LARDER_REFUSED: return "the remote store answered with an error";
	default: return "unknown status";
	}
}

const char *larder_strerror(enum larder_status status)
{
	return status >= 0 ? answer_text(status) : failure_text(status);
}

/* By number: the enumerator in small letters. */
const char *larder_reason(enum larder_status status)
{
	static const char *const failures[LARDER_REASONS] = { [-LARDER_INVALID] = "invalid", [-LARDER_KEY_SIZE] = "key_size",
		[-LARDER_TOO_LARGE] = "too_large", [-LARDER_NO_ROOM] = "no_room", [-LARDER_WOULD_EVICT] = "would_evict",
		[-LARDER_NO_PIN] = "no_pin", [-LARDER_NO_SLOT] = "no_slot", [-LARDER_BUSY] = "busy", [-LARDER_DETACHED] = "detached",
		[-LARDER_NOT_NUMBER] = "not_number", [-LARDER_RANGE] = "range", [-LARDER_NAMESPACES] = "namespaces",
		[-LARDER_READ_ONLY] = "read_only", [-LARDER_SYSTEM] = "system", [-LARDER_NO_CACHE] = "no_cache",
		[-LARDER_MISMATCH] = "mismatch", [-LARDER_NO_SPACE] = "no_space", [-LARDER_DAMAGED] = "damaged",
		[-LARDER_CONTENDED] = "contended", [-LARDER_UNSUPPORTED] = "unsupported", [-LARDER_NO_MEMORY] = "no_memory",
		[-LARDER_UNREACHABLE] = "unreachable", [-LARDER_REFUSED] = "refused", [-LARDER_NO_STORE] = "no_store" };
	int number = -(int)status;

	return number > 0 && number < (int)LARDER_REASONS && failures[number] != NULL ? failures[number] : "other";
}

const char *larder_version(void)
{
	return TEXT(LARDER_VERSION_MAJOR) "." TEXT(LARDER_VERSION_MINOR) "." TEXT(LARDER_VERSION_PATCH);
}
