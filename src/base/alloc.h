/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Memory. Two families, on purpose:
 *  - x*():  small, bounded sizes that our own code chose. Out of memory aborts: the error paths this
 *           saves would never be tested, and every daemon here is crash-safe.
 *  - try_*(): any size that came from outside. Returns NULL above the limit or when memory is short. */

#include "base/macro.h"

#include <stdlib.h>

void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) _printf_(1, 2) __attribute__((malloc, returns_nonnull));

/* NULL when n > limit or memory is short; the content is not initialised. */
void *try_alloc(size_t n, size_t limit) __attribute__((malloc));

#define xnew(type, n) ((type *) xcalloc((n), sizeof(type)))
#define xnew0(type, n) xnew(type, n)

/* Makes room for at least `need` elements, doubling; `*cap` counts elements. */
void *grow_array(void *p, size_t *cap, size_t need, size_t size);
#define GROW(p, cap, need) ((p) = grow_array((p), &(cap), (need), sizeof(*(p))))

static inline void *xfree(void *p) {
        free(p);
        return NULL;
}
static inline void freep(void *p) {
        free(*(void **) p);
}
#define _cleanup_free_ _cleanup_(freep)
#define free_and_replace(a, b)                                                                              \
        do {                                                                                                \
                free(a);                                                                                    \
                (a) = TAKE_PTR(b);                                                                          \
        } while (0)
