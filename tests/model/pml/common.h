/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Words that all models share.  A compare-and-swap is one step; everything between two steps can be interrupted for
 * ever, so a process that is stopped or killed needs no modelling of its own, except where its hazards end with it.
 * Memory is sequentially consistent here; what the orders in the code must do for that is in tso.pml and reorder.pml.
 */
#define CAS(word, seen, next, done) d_step { if :: word == (seen) -> word = (next); done = true :: else -> done = false fi }
#define TRY_CAS(word, seen, next) d_step { if :: word == (seen) -> word = (next) :: else fi }
#define WHEN(condition, step) if :: condition -> step :: else fi
#define MAYBE(step) if :: step :: true fi
#define JOIN (_nr_pr == 1)
