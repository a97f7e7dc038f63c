/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "codec/expand.h"
#include "test.h"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

typedef struct Input {
        const Buf *b;
        size_t at, step; /* at most so many bytes at once */
} Input;

static int64_t source(void *userdata, void *buf, size_t n, Err *err) {
        Input *in = userdata;
        n = MIN(n, in->step);
        n = MIN(n, in->b->len - in->at);
        memcpy(buf, in->b->data + in->at, n);
        in->at += n;
        return (int64_t) n;
}

static int expand(const Buf *b, size_t step, const ExpandLimits *limits, Buf *out, Err *err) {
        Input in = { .b = b, .step = step };
        _cleanup_(expander_freep) Expander *x = expander_new(source, &in, limits);
        char buf[3000];
        for (;;) {
                int64_t n = expander_read(x, buf, sizeof(buf), err);
                if (n <= 0)
                        return (int) n;
                buf_add(out, buf, (size_t) n);
        }
}

static void add_gzip(Buf *b, const char *p, size_t n) {
        z_stream z = {};
        ASSERT_EQ(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
        size_t cap = deflateBound(&z, n) + 64;
        buf_reserve(b, cap);
        z.next_in = (uint8_t *) p;
        z.avail_in = (unsigned) n;
        z.next_out = (uint8_t *) b->data + b->len;
        z.avail_out = (unsigned) cap;
        ASSERT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
        b->len += cap - z.avail_out;
        (void) deflateEnd(&z);
}

static void add_zstd(Buf *b, const char *p, size_t n, int window_log) {
        ZSTD_CCtx *c = ZSTD_createCCtx();
        (void) ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
        if (window_log) {
                (void) ZSTD_CCtx_setParameter(c, ZSTD_c_enableLongDistanceMatching, 1);
                (void) ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
                (void) ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
        }
        size_t cap = ZSTD_compressBound(n) + 64;
        buf_reserve(b, cap);
        ZSTD_inBuffer in = { p, n, 0 };
        ZSTD_outBuffer out = { b->data + b->len, cap, 0 };
        while (in.pos < in.size)
                ASSERT_FALSE(ZSTD_isError(ZSTD_compressStream2(c, &out, &in, ZSTD_e_continue)));
        while (ZSTD_compressStream2(c, &out, &in, ZSTD_e_end) != 0)
                ;
        b->len += out.pos;
        (void) ZSTD_freeCCtx(c);
}

static void make(Buf *b, ExpandKind kind, const char *p, size_t n) {
        unsigned len = (unsigned) n + 1000;
        size_t at = 0;
        switch (kind) {
        case EXPAND_PLAIN:
                buf_add(b, p, n);
                break;
        case EXPAND_GZIP:
                add_gzip(b, p, n);
                break;
        case EXPAND_ZSTD:
                add_zstd(b, p, n, 0);
                break;
        case EXPAND_BZIP2:
                buf_reserve(b, len);
                ASSERT_EQ(BZ2_bzBuffToBuffCompress(b->data + b->len, &len, (char *) p, (unsigned) n, 9, 0, 0), BZ_OK);
                b->len += len;
                break;
        case EXPAND_XZ:
                buf_reserve(b, len);
                ASSERT_EQ(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, (const uint8_t *) p, n,
                                                  (uint8_t *) b->data + b->len, &at, len), LZMA_OK);
                b->len += at;
                break;
        }
}

static const ExpandKind kinds[] = { EXPAND_PLAIN, EXPAND_GZIP, EXPAND_ZSTD, EXPAND_BZIP2, EXPAND_XZ };

TEST(every_kind_in_any_pieces) {
        _cleanup_(buf_done) Buf text = {};
        for (int i = 0; i < 3000; i++)
                buf_addf(&text, "line %d\n", i * 7919);
        for (size_t k = 0; k < ELEMENTSOF(kinds); k++) {
                _cleanup_(buf_done) Buf b = {};
                make(&b, kinds[k], text.data, text.len);
                ASSERT_EQ(expand_detect(b.data, b.len), kinds[k]);
                for (size_t step = 1; step < 1U << 20; step = step * 13 + 1) {
                        _cleanup_(buf_done) Buf out = {};
                        ASSERT_OK(expand(&b, step, NULL, &out, NULL));
                        ASSERT_EQ(out.len, text.len);
                        ASSERT_EQ(memcmp(out.data, text.data, text.len), 0);
                }
        }
}

TEST(members_one_after_the_other) {
        for (size_t k = 1; k < ELEMENTSOF(kinds); k++) {
                _cleanup_(buf_done) Buf b = {}, out = {};
                make(&b, kinds[k], "one ", 4);
                make(&b, kinds[k], "", 0);
                make(&b, kinds[k], "two", 3);
                ASSERT_OK(expand(&b, 5, NULL, &out, NULL));
                ASSERT_STREQ(buf_str(&out), "one two");
        }
        _cleanup_(buf_done) Buf b = {}, out = {};
        buf_add(&b, "\x5a\x2a\x4d\x18\x03\0\0\0xyz", 11); /* a skippable frame */
        add_zstd(&b, "text", 4, 0);
        buf_add(&b, "\x50\x2a\x4d\x18\x00\0\0\0", 8);
        ASSERT_OK(expand(&b, 3, NULL, &out, NULL));
        ASSERT_STREQ(buf_str(&out), "text");
}

TEST(cut_short_or_broken) {
        _cleanup_(buf_done) Buf text = {};
        for (int i = 0; i < 300; i++)
                buf_addf(&text, "line %d\n", i * 7919);
        for (size_t k = 1; k < ELEMENTSOF(kinds); k++) {
                _cleanup_(buf_done) Buf b = {};
                make(&b, kinds[k], text.data, text.len);
                for (size_t cut = 6; cut < b.len; cut += 1 + cut / 9) {
                        Buf part = { .data = b.data, .len = cut };
                        _cleanup_(buf_done) Buf out = {};
                        ASSERT_EQ(expand(&part, 4096, NULL, &out, NULL), -EBADMSG);
                }
                _cleanup_(buf_done) Buf out = {};
                b.data[b.len / 2] ^= 0x55;
                ASSERT_EQ(expand(&b, 4096, NULL, &out, NULL), -EBADMSG);
        }
}

TEST(behind_the_last_member) {
        _cleanup_(buf_done) Buf b = {}, out = {};
        add_gzip(&b, "text", 4);
        size_t n = b.len;
        for (int i = 0; i < 3000; i++)
                buf_addc(&b, 0);
        ASSERT_OK(expand(&b, 100, NULL, &out, NULL)); /* tape padding */
        ASSERT_STREQ(buf_str(&out), "text");
        buf_truncate(&b, n);
        buf_adds(&b, "garbage");
        _cleanup_(err_done) Err err = {};
        ASSERT_EQ(expand(&b, 100, NULL, &out, &err), -EBADMSG);
        ASSERT_TRUE(strstr(err_msg(&err), "garbage") != NULL);
}

TEST(bombs) {
        enum { N = 8 << 20 };
        _cleanup_free_ char *zeros = xcalloc(N, 1);
        for (size_t k = 1; k < ELEMENTSOF(kinds); k++) {
                _cleanup_(buf_done) Buf b = {}, out = {}, out2 = {};
                _cleanup_(err_done) Err err = {}, err2 = {};
                make(&b, kinds[k], zeros, N);
                ExpandLimits ratio = { .ratio_max = 200, .ratio_from = 1 << 20 };
                ASSERT_EQ(expand(&b, 4096, &ratio, &out, &err), -E2BIG);
                ASSERT_TRUE(strstr(err_msg(&err), "times its size") != NULL);
                ASSERT_TRUE(out.len <= (4 << 20));
                ExpandLimits bytes = { .bytes_max = 100000 };
                ASSERT_EQ(expand(&b, 4096, &bytes, &out2, &err2), -E2BIG);
                ASSERT_TRUE(out2.len <= 103000);
        }
}

TEST(zstd_window_bomb) {
        static char data[4096];
        _cleanup_(buf_done) Buf fits = {}, bomb = {}, out = {};
        _cleanup_(err_done) Err err = {};
        /* The frame header alone decides: magic, descriptor without content size, window descriptor. */
        buf_add(&bomb, "\x28\xb5\x2f\xfd\x00", 5);
        buf_addc(&bomb, (31 - 10) << 3); /* 2 GiB */
        buf_add(&bomb, "\x01\0\0", 3);
        ASSERT_EQ(expand(&bomb, 4096, NULL, &out, &err), -E2BIG);
        ASSERT_TRUE(strstr(err_msg(&err), "window") != NULL);
        add_zstd(&fits, data, sizeof(data), 27);
        ASSERT_OK(expand(&fits, 4096, NULL, &out, NULL));
}
