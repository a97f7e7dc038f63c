/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/alloc.h"

struct ArenaBlock {
        ArenaBlock *next;
        size_t used, size;
        _Alignas(16) char data[];
};

static ArenaBlock *new_block(Arena *a, size_t n) {
        size_t size = MAX(n, a->blocks ? (size_t) 4000 : (size_t) 960); /* the first from malloc's fast bins */
        ArenaBlock *b = xmalloc(sizeof(ArenaBlock) + size);
        *b = (ArenaBlock){ .next = a->blocks, .size = size };
        a->blocks = b;
        return b;
}

void *arena_alloc(Arena *a, size_t n) {
        assert(n < SIZE_MAX / 2);
        n = (n + 15) & ~(size_t) 15;
        ArenaBlock *b = a->blocks;
        if (!b || b->size - b->used < n)
                b = new_block(a, n);
        void *p = b->data + b->used;
        b->used += n;
        a->total += n;
        return memset(p, 0, n);
}

char *arena_strndup(Arena *a, const char *s, size_t n) {
        char *p = arena_alloc(a, n + 1);
        if (n > 0)
                memcpy(p, s, n);
        return p;
}

void arena_done(Arena *a) {
        for (ArenaBlock *b = a->blocks, *next; b; b = next) {
                next = b->next;
                free(b);
        }
        *a = (Arena){};
}
