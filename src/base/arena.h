/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Arena: memory for one request or one parse, freed all at once. Zeroed = empty. */

#include "base/macro.h"

typedef struct ArenaBlock ArenaBlock;
typedef struct Arena {
        ArenaBlock *blocks; /* owned */
        size_t total;       /* bytes handed out */
} Arena;

void *arena_alloc(Arena *a, size_t n); /* zeroed, aligned to 16; aborts when memory is short */
char *arena_strndup(Arena *a, const char *s, size_t n);
static inline char *arena_strdup(Arena *a, const char *s) {
        return arena_strndup(a, s, strlen(s));
}
void arena_done(Arena *a);
#define arena_new(a, type, n) ((type *) arena_alloc((a), sizeof(type) * (n)))
