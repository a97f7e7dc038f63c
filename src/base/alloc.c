/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

static void *check(void *p) {
        if (!p) {
                fputs("out of memory\n", stderr);
                abort();
        }
        return p;
}

void *xmalloc(size_t n) {
        return check(malloc(n ? n : 1));
}

void *xcalloc(size_t n, size_t size) {
        return check(calloc(n ? n : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t n) {
        return check(realloc(p, n ? n : 1));
}

char *xstrdup(const char *s) {
        assert(s);
        return check(strdup(s));
}

char *xstrndup(const char *s, size_t n) {
        assert(s || n == 0);
        char *p = xmalloc(n + 1);
        if (n > 0)
                memcpy(p, s, n);
        p[n] = 0;
        return p;
}

void *xmemdup(const void *p, size_t n) {
        void *q = xmalloc(n);
        if (n > 0)
                memcpy(q, p, n);
        return q;
}

char *xasprintf(const char *fmt, ...) {
        char *s = NULL;
        va_list ap;
        va_start(ap, fmt);
        int r = vasprintf(&s, fmt, ap);
        va_end(ap);
        return check(r < 0 ? NULL : s);
}

void *try_alloc(size_t n, size_t limit) {
        return n > limit ? NULL : malloc(n ? n : 1);
}

void *grow_array(void *p, size_t *cap, size_t need, size_t size) {
        assert(cap && size > 0);
        if (need <= *cap)
                return p;
        size_t n = *cap ? *cap : 4;
        while (n < need)
                n *= 2;
        size_t bytes;
        if (__builtin_mul_overflow(n, size, &bytes))
                check(NULL);
        p = xrealloc(p, bytes);
        *cap = n;
        return p;
}
