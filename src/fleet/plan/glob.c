/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/plan/glob.h"

/* One possibly escaped character of a class; moves *p behind it. */
static int class_char(const char **p, unsigned char *ret) {
        const char *c = *p;
        if (*c == '\\')
                c++;
        else if (*c == '-' || *c == ']')
                return -EINVAL;
        if (!*c)
                return -EINVAL;
        *ret = (unsigned char) *c;
        *p = c + 1;
        return 0;
}

/* *p stands behind '['. Returns whether c is in the class. */
static int match_class(const char **p, unsigned char c) {
        bool negated = false, hit = false;
        size_t ranges = 0;

        if (**p == '^') {
                negated = true;
                (*p)++;
        }
        while (**p != ']' || ranges == 0) {
                unsigned char lo, hi;
                if (class_char(p, &lo) < 0)
                        return -EINVAL;
                hi = lo;
                if (**p == '-') {
                        (*p)++;
                        if (class_char(p, &hi) < 0)
                                return -EINVAL;
                }
                if (lo <= c && c <= hi)
                        hit = true;
                ranges++;
        }
        (*p)++;
        return hit != negated;
}

/* Matches the single element at *p, which is no '*', against c; moves *p behind it. */
static int match_one(const char **p, unsigned char c) {
        if (**p == '[') {
                (*p)++;
                return match_class(p, c);
        }
        if (**p == '?') {
                (*p)++;
                return c != '/';
        }
        if (**p == '\\' && !*++(*p))
                return -EINVAL;
        return (unsigned char) *(*p)++ == c;
}

/* Whether the whole pattern is well formed, whatever it is compared with. */
static bool well_formed(const char *p) {
        while (*p) {
                if (*p == '*')
                        p++;
                else if (match_one(&p, 'x') < 0)
                        return false;
        }
        return true;
}

/* Greedy with one point of return: the last star seen. Linear in |pattern| * |name| at worst. */
int glob_match(const char *pattern, const char *name) {
        assert(pattern && name);
        const char *p = pattern, *n = name, *star = NULL, *star_at = NULL;

        if (!well_formed(pattern))
                return -EINVAL;
        for (;;) {
                if (*p == '*') {
                        star = ++p;
                        star_at = n;
                        continue;
                }
                if (!*n && !*p)
                        return 1;
                const char *next = p;
                if (*n && *p && match_one(&next, (unsigned char) *n) == 1) {
                        p = next;
                        n++;
                        continue;
                }
                if (!star || !*star_at || *star_at == '/')
                        return 0;
                n = ++star_at;
                p = star;
        }
}
