/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Words that several processes share, and the only file that sees <stdatomic.h>.
 *
 * A word is wrapped in a struct, so that it cannot be read or written by accident; the memory order is in the name of
 * each call.  Orders weaker than acquire and release are called "hint": nothing may follow from what they return.
 * Every edge between a release and an acquire has a NAME, listed in lib/README.md and cited at both ends.
 */
#ifndef LARDER_BASE_SYNC_H
#define LARDER_BASE_SYNC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct word { _Atomic uint64_t v; };
struct word32 { _Atomic uint32_t v; };
struct octet { _Atomic uint8_t v; };
struct pointer { void *_Atomic v; }; /* of one process, never in the segment */

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_CHAR_LOCK_FREE == 2, "words of the segment must be lock-free everywhere");
_Static_assert(sizeof(struct word) == 8 && sizeof(struct octet) == 1, "a word is its bytes and nothing else");

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define cold __attribute__((cold, noinline))

#ifdef __SANITIZE_THREAD__
#define LARDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LARDER_TSAN 1
#endif
#endif

static inline uint64_t load_hint(const struct word *w) { return atomic_load_explicit(&((struct word *)(uintptr_t)w)->v, memory_order_relaxed); }
static inline uint64_t load_acquire(const struct word *w) { return atomic_load_explicit(&((struct word *)(uintptr_t)w)->v, memory_order_acquire); }
static inline uint64_t load_seq_cst(const struct word *w) { return atomic_load_explicit(&((struct word *)(uintptr_t)w)->v, memory_order_seq_cst); }

static inline void store_hint(struct word *w, uint64_t v) { atomic_store_explicit(&w->v, v, memory_order_relaxed); }
static inline void store_release(struct word *w, uint64_t v) { atomic_store_explicit(&w->v, v, memory_order_release); }
/* An exchange, not a store: on x86-64 it is the fence, on aarch64 the later loads stay behind it. */
static inline void store_seq_cst(struct word *w, uint64_t v) { (void)atomic_exchange_explicit(&w->v, v, memory_order_seq_cst); }

/* True if *w was `seen` and is now `next`. */
static inline bool cas_seq_cst(struct word *w, uint64_t seen, uint64_t next)
{
	return atomic_compare_exchange_strong_explicit(&w->v, &seen, next, memory_order_seq_cst, memory_order_seq_cst);
}
static inline bool cas_acq_rel(struct word *w, uint64_t seen, uint64_t next)
{
	return atomic_compare_exchange_strong_explicit(&w->v, &seen, next, memory_order_acq_rel, memory_order_acquire);
}

static inline uint64_t add_hint(struct word *w, uint64_t n) { return atomic_fetch_add_explicit(&w->v, n, memory_order_relaxed); }
static inline uint64_t add_acq_rel(struct word *w, uint64_t n) { return atomic_fetch_add_explicit(&w->v, n, memory_order_acq_rel); }
static inline void or_acq_rel(struct word *w, uint64_t bits) { (void)atomic_fetch_or_explicit(&w->v, bits, memory_order_acq_rel); }
static inline void and_acq_rel(struct word *w, uint64_t bits) { (void)atomic_fetch_and_explicit(&w->v, bits, memory_order_acq_rel); }
/* An int of one process that is changed under a mutex, and looked at without by those who verify what they see. */
static inline int int_load_hint(const int *i) { return __atomic_load_n(i, __ATOMIC_RELAXED); }
static inline void int_store_hint(int *i, int v) { __atomic_store_n(i, v, __ATOMIC_RELAXED); }
/* For a word with one writer: no bus lock. */
#if defined(__x86_64__) && !defined(LARDER_TSAN)
/* One instruction: what interrupts it, a signal handler, comes before or after. */
static inline void bump_own(struct word *w, uint64_t n) { __asm__("addq %1, %0" : "+m"(*(uint64_t *)(void *)w) : "re"(n) : "cc"); }
#else
static inline void bump_own(struct word *w, uint64_t n) { store_hint(w, load_hint(w) + n); }
#endif

static inline uint8_t octet_load_hint(const struct octet *o) { return atomic_load_explicit(&((struct octet *)(uintptr_t)o)->v, memory_order_relaxed); }
static inline uint8_t octet_load_seq_cst(const struct octet *o) { return atomic_load_explicit(&((struct octet *)(uintptr_t)o)->v, memory_order_seq_cst); }
static inline void octet_store_hint(struct octet *o, uint8_t v) { atomic_store_explicit(&o->v, v, memory_order_relaxed); }
static inline void octet_or_seq_cst(struct octet *o, uint8_t bits) { (void)atomic_fetch_or_explicit(&o->v, bits, memory_order_seq_cst); }

static inline uint32_t word32_load_hint(const struct word32 *w) { return atomic_load_explicit(&((struct word32 *)(uintptr_t)w)->v, memory_order_relaxed); }
static inline void word32_store_hint(struct word32 *w, uint32_t v) { atomic_store_explicit(&w->v, v, memory_order_relaxed); }

static inline uint32_t word32_load_seq_cst(const struct word32 *w) { return atomic_load_explicit(&((struct word32 *)(uintptr_t)w)->v, memory_order_seq_cst); }
static inline void word32_store_seq_cst(struct word32 *w, uint32_t v) { (void)atomic_exchange_explicit(&w->v, v, memory_order_seq_cst); }

static inline void *pointer_load_acquire(const struct pointer *p) { return atomic_load_explicit(&((struct pointer *)(uintptr_t)p)->v, memory_order_acquire); }
static inline void pointer_store_release(struct pointer *p, void *next) { atomic_store_explicit(&p->v, next, memory_order_release); }
static inline void *pointer_exchange_acq_rel(struct pointer *p, void *next) { return atomic_exchange_explicit(&p->v, next, memory_order_acq_rel); }
static inline bool pointer_cas_acq_rel(struct pointer *p, void *seen, void *next)
{
	return atomic_compare_exchange_strong_explicit(&p->v, &seen, next, memory_order_acq_rel, memory_order_acquire);
}

/* Orders everything before against everything after.  ThreadSanitizer does not model fences: under it the callers use
 * seq_cst stores instead (LARDER_TSAN). */
#ifndef LARDER_TSAN
static inline void fence_seq_cst(void) { atomic_thread_fence(memory_order_seq_cst); }
static inline void fence_acquire(void) { atomic_thread_fence(memory_order_acquire); }
static inline void fence_release(void) { atomic_thread_fence(memory_order_release); }
#else
static inline void fence_seq_cst(void) { }
static inline void fence_acquire(void) { }
static inline void fence_release(void) { }
#endif
static inline void compiler_barrier(void) { atomic_signal_fence(memory_order_seq_cst); }

#endif
