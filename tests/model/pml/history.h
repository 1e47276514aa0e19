/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linearizability of a finished history of one key, by trying every order: for models whose assertion is G3 itself.
 * An operation notes what had returned when it began (BEGIN) and what it answered (END); CHECK_HISTORY asserts that
 * some order, in which each comes after all that had returned before it began, gives a sequential cache of one key these
 * answers.  Nothing may vanish in it.
 */
#define OPERATIONS 5
#define OP_SET 1
#define OP_GET 2        /* the value, 0: a miss */
#define OP_GET_STALE 3  /* the value, be it stale */
#define OP_ADD 4        /* 1: stored, 0: there was one */
#define OP_TOUCH 5      /* 1: there was one */
#define OP_FLUSH 6
#define OP_FLUSH_SOFT 7

byte op_kind[OPERATIONS], op_value[OPERATIONS], op_before[OPERATIONS];
byte op_count, op_returned, op_orderly;

#define BEGIN(id, kind, value) atomic { id = op_count; op_count++; op_kind[id] = kind; op_value[id] = value; op_before[id] = op_returned }
#define END(id, answer) atomic { op_value[id] = answer; op_returned = op_returned | 1 << id }
#define CHECK_HISTORY(initial) c_code { now.op_orderly = order_exists(now.op_kind, now.op_value, now.op_before, now.op_count, 0, initial, 0); }; assert(op_orderly)

c_code {
	/* done: the set of operations already in the order; value, stale: the cache after them. */
	static int order_exists(const unsigned char *kind, const unsigned char *op, const unsigned char *before, int n, int done, int value, int stale)
	{
		int i, fits, next, old;
		if (done == (1 << n) - 1)
			return 1;
		for (i = 0; i < n; i++) {
			if (done & 1 << i || (before[i] & done) != before[i])
				continue;
			next = value;
			old = stale;
			fits = 1;
			switch (kind[i]) {
			case OP_SET: next = op[i]; old = 0; break;
			case OP_GET: fits = op[i] == (stale ? 0 : value); break;
			case OP_GET_STALE: fits = op[i] == value; break;
			case OP_ADD:
				fits = (op[i] != 0) == (value == 0 || stale);
				if (op[i] != 0) { next = op[i]; old = 0; }
				break;
			case OP_TOUCH: fits = op[i] == (value != 0 && !stale); break;
			case OP_FLUSH: next = 0; old = 0; break;
			case OP_FLUSH_SOFT: old = value != 0; break;
			}
			if (fits && order_exists(kind, op, before, n, done | 1 << i, next, old))
				return 1;
		}
		return 0;
	}
}
