/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of namespaces and the escaping of canonical key text: ':' is written %3A, '%' is written %25, nothing else changes.
 */
#ifndef LARDER_STORE_NAME_H
#define LARDER_STORE_NAME_H

#include <larder/store.h>

/* Writes text[0 .. count) escaped to escaped[0 .. 3 * count) and returns its length; adds no NUL. */
size_t name_escape(const char *text, size_t count, char *escaped);

#endif
