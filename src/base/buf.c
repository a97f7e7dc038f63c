/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/alloc.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>

void buf_done(Buf *b) {
        if (!b)
                return;
        free(b->data);
        *b = (Buf){};
}

void buf_clear(Buf *b) {
        buf_truncate(b, 0);
}

char *buf_take(Buf *b) {
        char *s = b->data ? b->data : xstrdup("");
        *b = (Buf){};
        return s;
}

const char *buf_str(const Buf *b) {
        return b->data ? b->data : "";
}

void buf_reserve(Buf *b, size_t extra) {
        size_t need;
        if (__builtin_add_overflow(b->len, extra, &need) || __builtin_add_overflow(need, 1, &need))
                abort();
        if (need <= b->cap)
                return;
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need)
                cap += cap / 2 + 1;
        b->data = xrealloc(b->data, cap);
        b->cap = cap;
        b->data[b->len] = 0;
}

void buf_add(Buf *b, const void *p, size_t n) {
        buf_reserve(b, n);
        if (n > 0)
                memcpy(b->data + b->len, p, n);
        b->len += n;
        b->data[b->len] = 0;
}

void buf_adds(Buf *b, const char *s) {
        buf_add(b, s, strlen(s));
}

void buf_addc(Buf *b, char c) {
        buf_add(b, &c, 1);
}

void buf_addf(Buf *b, const char *fmt, ...) {
        va_list ap, ap2;
        va_start(ap, fmt);
        va_copy(ap2, ap);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        assert(n >= 0);
        buf_reserve(b, (size_t) n);
        (void) vsnprintf(b->data + b->len, (size_t) n + 1, fmt, ap2);
        va_end(ap2);
        b->len += (size_t) n;
}

void buf_consume(Buf *b, size_t n) {
        assert(n <= b->len);
        if (n == 0)
                return;
        memmove(b->data, b->data + n, b->len - n);
        buf_truncate(b, b->len - n);
}

void buf_truncate(Buf *b, size_t len) {
        assert(len <= b->len);
        b->len = len;
        if (b->data)
                b->data[len] = 0;
}

#define DEFINE_ADD(name, type, conv)                                                                        \
        void buf_add_##name(Buf *b, type v) {                                                               \
                v = conv(v);                                                                                \
                buf_add(b, &v, sizeof(v));                                                                  \
        }
DEFINE_ADD(le16, uint16_t, htole16)
DEFINE_ADD(le32, uint32_t, htole32)
DEFINE_ADD(le64, uint64_t, htole64)
DEFINE_ADD(be16, uint16_t, htobe16)
DEFINE_ADD(be32, uint32_t, htobe32)
DEFINE_ADD(be64, uint64_t, htobe64)

void buf_add_varint(Buf *b, uint64_t v) {
        uint8_t tmp[10];
        size_t n = 0;
        while (v >= 0x80) {
                tmp[n++] = (uint8_t) (v | 0x80);
                v >>= 7;
        }
        tmp[n++] = (uint8_t) v;
        buf_add(b, tmp, n);
}

void buf_add_bytes(Buf *b, const void *p, size_t n) {
        buf_add_varint(b, n);
        buf_add(b, p, n);
}

int rd_mem(Rd *rd, size_t n, const void **ret) {
        if (n > rd->left)
                return -EBADMSG;
        *ret = rd->p;
        rd->p += n;
        rd->left -= n;
        return 0;
}

int rd_skip(Rd *rd, size_t n) {
        const void *p;
        return rd_mem(rd, n, &p);
}

int rd_copy(Rd *rd, void *to, size_t n) {
        const void *p;
        int r = rd_mem(rd, n, &p);
        if (r < 0)
                return r;
        if (n > 0)
                memcpy(to, p, n);
        return 0;
}

int rd_u8(Rd *rd, uint8_t *ret) {
        return rd_copy(rd, ret, 1);
}

#define DEFINE_RD(name, type, conv)                                                                         \
        int rd_##name(Rd *rd, type *ret) {                                                                  \
                type v;                                                                                     \
                int r = rd_copy(rd, &v, sizeof(v));                                                         \
                if (r < 0)                                                                                  \
                        return r;                                                                           \
                *ret = conv(v);                                                                             \
                return 0;                                                                                   \
        }
DEFINE_RD(le16, uint16_t, le16toh)
DEFINE_RD(le32, uint32_t, le32toh)
DEFINE_RD(le64, uint64_t, le64toh)
DEFINE_RD(be16, uint16_t, be16toh)
DEFINE_RD(be32, uint32_t, be32toh)
DEFINE_RD(be64, uint64_t, be64toh)

int rd_varint(Rd *rd, uint64_t *ret) {
        uint64_t v = 0;
        for (size_t i = 0; i < 10; i++) {
                if (i >= rd->left)
                        return -EBADMSG;
                uint8_t c = rd->p[i];
                if (i == 9 && c > 1)
                        return -EBADMSG;
                v |= (uint64_t) (c & 0x7f) << (7 * i);
                if (c & 0x80)
                        continue;
                rd->p += i + 1;
                rd->left -= i + 1;
                *ret = v;
                return 0;
        }
        return -EBADMSG;
}

int rd_bytes(Rd *rd, const void **ret, size_t *ret_n) {
        Rd save = *rd;
        uint64_t n;
        int r = rd_varint(rd, &n);
        if (r >= 0)
                r = n > rd->left ? -EBADMSG : rd_mem(rd, (size_t) n, ret);
        if (r < 0) {
                *rd = save;
                return r;
        }
        *ret_n = (size_t) n;
        return 0;
}
