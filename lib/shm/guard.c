/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SIGBUS handler behind LARDER_GUARD.
 *
 * Installed by the first guarded handle and left there; faults that are not ours go to the handler that was there before,
 * as if ours were not.  Everything that the handler touches is a word of a static table: it takes no lock and calls
 * nothing but mmap, sigaction and raise.
 *
 * GUARD: an entry's fields are written before its base, which the handler reads first and reads again after them; an
 * entry reused meanwhile is then passed over.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#define GUARDS_MAX 64u

struct guarded {
	struct word taken; /* 1: belongs to a guard_add that is at work or done */
	struct word base;  /* 0: not watched */
	struct word bytes;
	struct word page_bytes;
	struct word lost; /* struct octet * */
};

static struct guarded table[GUARDS_MAX];
static struct sigaction before;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Zeroed memory from the page of the fault to the end of the mapping: beyond a fault the file has no more. */
static bool cover(const struct guarded *g, uintptr_t base, uintptr_t at)
{
	uintptr_t end = base + load_hint(&g->bytes);
	uintptr_t page = at - at % load_hint(&g->page_bytes);
	struct octet *lost = (struct octet *)(uintptr_t)load_hint(&g->lost);

	/* GUARD (acquire): what was read of the entry belongs to this base. */
	if (at >= end || load_acquire(&g->base) != base)
		return false;
	/* First: whoever reads zeros from the new pages, in whichever thread, then finds the flag set. */
	octet_store_hint(lost, 1);
	void *got = mmap((void *)page, end - page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return got != MAP_FAILED;
}

static bool ours(uintptr_t at)
{
	for (unsigned i = 0; i < GUARDS_MAX; i++) {
		uintptr_t base = load_acquire(&table[i].base);

		if (base != 0 && at >= base && cover(&table[i], base, at))
			return true;
	}
	return false;
}

/* What would have happened without us.  A fault repeats itself on return, a signal that was sent must be sent again. */
static void pass_on(int number, siginfo_t *info, void *context)
{
	bool sent = info->si_code <= 0;

	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(number, info, context);
		return;
	}
	if (before.sa_handler == SIG_IGN && sent)
		return;
	if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(number);
		return;
	}
	struct sigaction fatal = { .sa_handler = SIG_DFL };
	(void)sigaction(number, &fatal, NULL);
	if (sent)
		(void)raise(number);
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	int saved = errno;

	if (info->si_code <= 0 || !ours((uintptr_t)info->si_addr))
		pass_on(number, info, context);
	errno = saved;
}

static void install(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	/* Asked for before it is replaced: a fault in between must find it. */
	(void)sigaction(SIGBUS, NULL, &before);
	(void)sigaction(SIGBUS, &action, NULL);
}

bool guard_add(void *base, size_t bytes, size_t page_bytes, struct octet *lost)
{
	(void)pthread_once(&once, install);
	for (unsigned i = 0; i < GUARDS_MAX; i++) {
		struct guarded *g = &table[i];

		if (load_hint(&g->taken) != 0 || !cas_acq_rel(&g->taken, 0, 1))
			continue;
		store_hint(&g->bytes, bytes);
		store_hint(&g->page_bytes, page_bytes);
		store_hint(&g->lost, (uint64_t)(uintptr_t)lost);
		store_release(&g->base, (uint64_t)(uintptr_t)base); /* GUARD (release) */
		return true;
	}
	return false;
}

void guard_remove(void *base)
{
	for (unsigned i = 0; i < GUARDS_MAX; i++) {
		struct guarded *g = &table[i];

		if (load_acquire(&g->base) != (uint64_t)(uintptr_t)base)
			continue;
		store_release(&g->base, 0);
		store_release(&g->taken, 0);
		return;
	}
}
