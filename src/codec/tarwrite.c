/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "codec/tar.h"

#include <stdio.h>

static const char type_flags[_TAR_TYPE_MAX] = { '0', '1', '2', '3', '4', '5', '6' };

/* n-1 octal digits and a NUL; false when it does not fit (the field is then all zeros). */
static bool put_octal(char *field, size_t n, uint64_t v) {
        bool fits = n * 3 - 3 >= 64 || v < (uint64_t) 1 << (3 * (n - 1));
        field[n - 1] = 0;
        for (size_t i = n - 1; i-- > 0; v >>= 3)
                field[i] = (char) ('0' + (fits ? v & 7 : 0));
        return fits;
}

static void pax_add(Buf *b, const char *key, const char *value, size_t n) {
        size_t rest = 1 + strlen(key) + 1 + n + 1, digits = 1, total;
        for (;; digits++) {
                char tmp[24];
                total = rest + digits;
                if ((size_t) snprintf(tmp, sizeof(tmp), "%zu", total) == digits)
                        break;
        }
        buf_addf(b, "%zu %s=", total, key);
        buf_add(b, value, n);
        buf_addc(b, '\n');
}

static void pax_addf(Buf *b, const char *key, uint64_t v) {
        char tmp[24];
        int n = snprintf(tmp, sizeof(tmp), "%" PRIu64, v);
        pax_add(b, key, tmp, (size_t) n);
}

static void pax_mtime(Buf *b, const TarEntry *e) {
        int64_t sec = e->mtime_sec;
        uint32_t nsec = e->mtime_nsec;
        bool negative = sec < 0;
        if (negative && nsec > 0) {
                sec++;
                nsec = 1000000000 - nsec;
        }
        char tmp[48];
        int n = snprintf(tmp, sizeof(tmp), "%s%" PRIu64, negative ? "-" : "",
                         negative ? -(uint64_t) sec : (uint64_t) sec);
        if (nsec > 0)
                n += snprintf(tmp + n, sizeof(tmp) - (size_t) n, ".%09u", nsec);
        pax_add(b, "mtime", tmp, (size_t) n);
}

static void finish_block(Buf *b, char h[TAR_BLOCK]) {
        memcpy(h + 257, "ustar\00000", 8);
        memset(h + 148, ' ', 8);
        unsigned sum = 0;
        for (size_t i = 0; i < TAR_BLOCK; i++)
                sum += (uint8_t) h[i];
        (void) snprintf(h + 148, 8, "%06o", sum & 0777777);
        buf_add(b, h, TAR_BLOCK);
}

static void write_pax_block(Buf *b, const Buf *records) {
        char h[TAR_BLOCK] = "PaxHeaders/entry";
        (void) put_octal(h + 100, 8, 0644);
        (void) put_octal(h + 108, 8, 0);
        (void) put_octal(h + 116, 8, 0);
        (void) put_octal(h + 124, 12, records->len);
        (void) put_octal(h + 136, 12, 0);
        h[156] = 'x';
        finish_block(b, h);
        buf_add(b, records->data, records->len);
        tar_write_padding(b, records->len);
}

static void put_string(Buf *pax, const char *key, char *field, const char *s) {
        size_t n = strlen(s);
        memcpy(field, s, MIN(n, (size_t) 100));
        if (n > 100)
                pax_add(pax, key, s, n);
}

void tar_write_header(Buf *b, const TarEntry *e) {
        assert(e->path && *e->path && e->type < _TAR_TYPE_MAX);
        assert(e->type == TAR_FILE || e->size == 0);
        _cleanup_(buf_done) Buf pax = {};
        char h[TAR_BLOCK] = {};
        put_string(&pax, "path", h, e->path);
        put_string(&pax, "linkpath", h + 157, e->link ? e->link : "");
        (void) put_octal(h + 100, 8, e->mode & 07777);
        if (!put_octal(h + 108, 8, e->uid))
                pax_addf(&pax, "uid", e->uid);
        if (!put_octal(h + 116, 8, e->gid))
                pax_addf(&pax, "gid", e->gid);
        if (!put_octal(h + 124, 12, e->size))
                pax_addf(&pax, "size", e->size);
        if (!put_octal(h + 136, 12, e->mtime_sec < 0 ? UINT64_MAX : (uint64_t) e->mtime_sec) || e->mtime_nsec > 0)
                pax_mtime(&pax, e);
        (void) put_octal(h + 329, 8, e->dev_major);
        (void) put_octal(h + 337, 8, e->dev_minor);
        h[156] = type_flags[e->type];
        for (size_t i = 0; i < e->n_xattrs; i++) {
                _cleanup_free_ char *key = xasprintf("SCHILY.xattr.%s", e->xattrs[i].name);
                pax_add(&pax, key, e->xattrs[i].value, e->xattrs[i].len);
        }
        if (pax.len > 0)
                write_pax_block(b, &pax);
        finish_block(b, h);
}

void tar_write_padding(Buf *b, uint64_t size) {
        static const char zeros[TAR_BLOCK];
        buf_add(b, zeros, (size_t) (-size % TAR_BLOCK));
}

void tar_write_end(Buf *b) {
        static const char zeros[2 * TAR_BLOCK];
        buf_add(b, zeros, sizeof(zeros));
}
