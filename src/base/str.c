/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "base/alloc.h"
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *endswith(const char *s, const char *suffix) {
        size_t n = strlen(s), m = strlen(suffix);
        return n >= m && streq(s + n - m, suffix) ? s + n - m : NULL;
}

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

char *strstrip(char *s) {
        while (is_space(*s))
                s++;
        size_t n = strlen(s);
        while (n > 0 && is_space(s[n - 1]))
                n--;
        s[n] = 0;
        return s;
}

/* One sequence at p: its length, or 0 when it is not well-formed UTF-8 (RFC 3629). */
static size_t utf8_len(const uint8_t *p, size_t n) {
        if (p[0] < 0x80)
                return 1;
        size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
        if (p[0] < 0xc2 || p[0] > 0xf4 || len > n)
                return 0;
        for (size_t i = 1; i < len; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        if (p[0] == 0xe0 && p[1] < 0xa0)
                return 0;
        if (p[0] == 0xed && p[1] > 0x9f)
                return 0;
        if (p[0] == 0xf0 && p[1] < 0x90)
                return 0;
        if (p[0] == 0xf4 && p[1] > 0x8f)
                return 0;
        return len;
}

bool str_is_utf8(const char *s, size_t n) {
        const uint8_t *p = (const uint8_t *) s;
        while (n > 0) {
                size_t k = utf8_len(p, n);
                if (k == 0)
                        return false;
                p += k;
                n -= k;
        }
        return true;
}

char *str_replace(const char *s, const char *from, const char *to) {
        assert(from[0]);
        Buf b = {};
        for (const char *hit; (hit = strstr(s, from)); s = hit + strlen(from)) {
                buf_add(&b, s, (size_t) (hit - s));
                buf_adds(&b, to);
        }
        buf_adds(&b, s);
        return buf_take(&b);
}

static int digit_of(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return 99;
}

int parse_u64_base(const char *s, unsigned base, uint64_t *ret) {
        if (isempty(s))
                return -EINVAL;
        uint64_t v = 0;
        bool over = false;
        for (; *s; s++) {
                int d = digit_of(*s);
                if (d >= (int) base)
                        return -EINVAL;
                over = over || __builtin_mul_overflow(v, (uint64_t) base, &v) ||
                       __builtin_add_overflow(v, (uint64_t) d, &v);
        }
        if (over)
                return -ERANGE;
        *ret = v;
        return 0;
}

int parse_u64(const char *s, uint64_t *ret) {
        return parse_u64_base(s, 10, ret);
}

int parse_i64(const char *s, int64_t *ret) {
        if (!s)
                return -EINVAL;
        bool neg = *s == '-';
        if (neg || *s == '+')
                s++;
        uint64_t v;
        int r = parse_u64(s, &v);
        if (r < 0)
                return r;
        if (v > (uint64_t) INT64_MAX + neg)
                return -ERANGE;
        *ret = neg ? (int64_t) (0 - v) : (int64_t) v;
        return 0;
}

int parse_u32(const char *s, uint32_t *ret) {
        uint64_t v;
        int r = parse_u64(s, &v);
        if (r < 0)
                return r;
        if (v > UINT32_MAX)
                return -ERANGE;
        *ret = (uint32_t) v;
        return 0;
}

int parse_int(const char *s, int *ret) {
        int64_t v;
        int r = parse_i64(s, &v);
        if (r < 0)
                return r;
        if (v < INT32_MIN || v > INT32_MAX)
                return -ERANGE;
        *ret = (int) v;
        return 0;
}

int parse_bool_go(const char *s, bool *ret) {
        static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" };
        static const char *const no[] = { "0", "f", "F", "FALSE", "false", "False" };
        for (size_t i = 0; s && i < ELEMENTSOF(yes); i++)
                if (streq(s, yes[i]) || streq(s, no[i])) {
                        *ret = streq(s, yes[i]);
                        return 0;
                }
        return -EINVAL;
}

static const struct {
        const char *name;
        double usec;
} duration_units[] = { { "ns", 0.001 },  { "us", 1 },         { "µs", 1 },          { "ms", 1000 },
                       { "s", 1000000 }, { "m", 60000000.0 }, { "h", 3600000000.0 } };

/* The longest unit that `s` starts with: "ms" before "m". */
static ssize_t duration_unit(const char *s, double *ret_usec) {
        ssize_t best = -EINVAL;
        for (size_t i = 0; i < ELEMENTSOF(duration_units); i++) {
                ssize_t n = (ssize_t) strlen(duration_units[i].name);
                if (startswith(s, duration_units[i].name) && n > best) {
                        best = n;
                        *ret_usec = duration_units[i].usec;
                }
        }
        return best;
}

int parse_duration_go(const char *s, int64_t *ret_usec) {
        if (isempty(s))
                return -EINVAL;
        bool neg = *s == '-';
        if (neg || *s == '+')
                s++;
        if (streq(s, "0")) {
                *ret_usec = 0;
                return 0;
        }
        double total = 0;
        do {
                if (!(*s >= '0' && *s <= '9') && *s != '.')
                        return -EINVAL;
                char *end;
                double v = strtod(s, &end);
                if (end == s || v < 0)
                        return -EINVAL;
                double unit = 0;
                ssize_t n = duration_unit(end, &unit);
                if (n < 0)
                        return -EINVAL;
                total += v * unit;
                s = end + n;
        } while (*s);
        if (total > 9.2e15)
                return -ERANGE;
        *ret_usec = (int64_t) (neg ? -(total + 0.5) : total + 0.5);
        return 0;
}

char *hex_encode(const void *p, size_t n) {
        static const char digits[] = "0123456789abcdef";
        const uint8_t *b = p;
        char *s = xmalloc(2 * n + 1);
        for (size_t i = 0; i < n; i++) {
                s[2 * i] = digits[b[i] >> 4];
                s[2 * i + 1] = digits[b[i] & 15];
        }
        s[2 * n] = 0;
        return s;
}

int hex_decode(const char *s, size_t n, void *ret) {
        uint8_t *b = ret;
        if (n % 2)
                return -EINVAL;
        for (size_t i = 0; i < n; i++)
                if (digit_of(s[i]) > 15)
                        return -EINVAL;
        for (size_t i = 0; i < n / 2; i++)
                b[i] = (uint8_t) (digit_of(s[2 * i]) << 4 | digit_of(s[2 * i + 1]));
        return 0;
}

size_t strv_len(char *const *l) {
        size_t n = 0;
        while (l && l[n])
                n++;
        return n;
}

char **strv_free(char **l) {
        for (char **i = l; i && *i; i++)
                free(*i);
        free(l);
        return NULL;
}

void strv_push(char ***l, char *s) {
        assert(s);
        size_t n = strv_len(*l);
        *l = xrealloc(*l, (n + 2) * sizeof(char *));
        (*l)[n] = s;
        (*l)[n + 1] = NULL;
}

void strv_add(char ***l, const char *s) {
        strv_push(l, xstrdup(s));
}

void strv_addf(char ***l, const char *fmt, ...) {
        char *s = NULL;
        va_list ap;
        va_start(ap, fmt);
        int r = vasprintf(&s, fmt, ap);
        va_end(ap);
        if (r < 0)
                abort();
        strv_push(l, s);
}

char **strv_copy(char *const *l) {
        char **r = NULL;
        STRV_FOREACH(i, l)
                strv_add(&r, *i);
        return r;
}

bool strv_contains(char *const *l, const char *s) {
        STRV_FOREACH(i, l)
                if (streq(*i, s))
                        return true;
        return false;
}

char **strv_split(const char *s, const char *seps, bool keep_empty) {
        char **l = NULL;
        for (;;) {
                size_t n = strcspn(s, seps);
                if (n > 0 || keep_empty)
                        strv_push(&l, xstrndup(s, n));
                if (!s[n])
                        return l;
                s += n + 1;
        }
}

char *strv_join(char *const *l, const char *sep) {
        Buf b = {};
        STRV_FOREACH(i, l) {
                if (i != l)
                        buf_adds(&b, sep);
                buf_adds(&b, *i);
        }
        return buf_take(&b);
}

static int compare(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

void strv_sort(char **l) {
        if (l)
                qsort(l, strv_len(l), sizeof(char *), compare);
}
