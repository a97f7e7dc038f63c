/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/expand.h"
#include "base/alloc.h"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define IN_BYTES (128U << 10)
#define MAGIC_BYTES 6

struct Expander {
        ExpandSource source;
        void *userdata; /* weak */
        ExpandLimits limits;
        ExpandKind kind;
        bool started, in_ended;
        bool between; /* no member or frame is open: the input may end here */
        bool decoder; /* the union below is initialised */
        uint8_t in[IN_BYTES];
        size_t in_at, in_len;
        uint64_t bytes_in, bytes_out;
        union {
                z_stream gzip;
                ZSTD_DStream *zstd; /* owned */
                bz_stream bzip2;
                lzma_stream xz;
        };
};

Expander *expander_new(ExpandSource source, void *userdata, const ExpandLimits *limits) {
        Expander *x = xnew(Expander, 1);
        x->source = source;
        x->userdata = userdata;
        x->between = true;
        if (limits)
                x->limits = *limits;
        return x;
}

static void decoder_done(Expander *x) {
        if (!x->decoder)
                return;
        x->decoder = false;
        switch (x->kind) {
        case EXPAND_PLAIN:
                break;
        case EXPAND_GZIP:
                (void) inflateEnd(&x->gzip);
                break;
        case EXPAND_ZSTD:
                (void) ZSTD_freeDStream(x->zstd);
                break;
        case EXPAND_BZIP2:
                (void) BZ2_bzDecompressEnd(&x->bzip2);
                break;
        case EXPAND_XZ:
                lzma_end(&x->xz);
                break;
        }
}

Expander *expander_free(Expander *x) {
        if (!x)
                return NULL;
        decoder_done(x);
        return xfree(x);
}

ExpandKind expander_kind(const Expander *x) {
        return x->kind;
}

uint64_t expander_bytes_in(const Expander *x) {
        return x->bytes_in;
}

ExpandKind expand_detect(const void *p, size_t n) {
        const uint8_t *b = p;
        if (n >= 3 && memcmp(b, "\x1f\x8b\x08", 3) == 0)
                return EXPAND_GZIP;
        if (n >= 4 && memcmp(b, "\x28\xb5\x2f\xfd", 4) == 0)
                return EXPAND_ZSTD;
        if (n >= 4 && (b[0] & 0xf0) == 0x50 && memcmp(b + 1, "\x2a\x4d\x18", 3) == 0)
                return EXPAND_ZSTD; /* a skippable frame first */
        if (n >= 4 && memcmp(b, "BZh", 3) == 0 && b[3] >= '1' && b[3] <= '9')
                return EXPAND_BZIP2;
        if (n >= 6 && memcmp(b, "\xfd" "7zXZ\0", 6) == 0)
                return EXPAND_XZ;
        return EXPAND_PLAIN;
}

/* Adds to the input until `want` bytes are there or the input ends. */
static int fill(Expander *x, size_t want, Err *err) {
        assert(want <= IN_BYTES);
        if (x->in_at > 0 && x->in_len - x->in_at < want) {
                memmove(x->in, x->in + x->in_at, x->in_len - x->in_at);
                x->in_len -= x->in_at;
                x->in_at = 0;
        }
        while (x->in_len - x->in_at < want && !x->in_ended) {
                int64_t n = x->source(x->userdata, x->in + x->in_len, IN_BYTES - x->in_len, err);
                if (n < 0)
                        return (int) n;
                if (n == 0)
                        x->in_ended = true;
                x->in_len += (size_t) n;
                x->bytes_in += (uint64_t) n;
        }
        return 0;
}

static int decoder_init(Expander *x) {
        x->decoder = true;
        switch (x->kind) {
        case EXPAND_PLAIN:
                return 0;
        case EXPAND_GZIP:
                x->gzip = (z_stream){};
                return inflateInit2(&x->gzip, 15 + 16) == Z_OK ? 0 : -ENOMEM;
        case EXPAND_ZSTD:
                x->zstd = ZSTD_createDStream();
                return x->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(x->zstd, ZSTD_d_windowLogMax,
                                                                      EXPAND_WINDOW_LOG_MAX)) ? 0 : -ENOMEM;
        case EXPAND_BZIP2:
                x->bzip2 = (bz_stream){};
                return BZ2_bzDecompressInit(&x->bzip2, 0, 0) == BZ_OK ? 0 : -ENOMEM;
        case EXPAND_XZ:
                x->xz = (lzma_stream) LZMA_STREAM_INIT;
                return lzma_stream_decoder(&x->xz, EXPAND_XZ_MEMORY_MAX, 0) == LZMA_OK ? 0 : -ENOMEM;
        }
        return -EINVAL;
}

static int broken(Err *err, const char *format) {
        return err_set(err, -EBADMSG, "broken %s data", format);
}

/* One step of each decoder: consumes from in, writes up to n bytes; sets `between` when a member has ended. */
static int64_t step_gzip(Expander *x, uint8_t *out, size_t n, Err *err) {
        x->gzip.next_in = x->in + x->in_at;
        x->gzip.avail_in = (unsigned) (x->in_len - x->in_at);
        x->gzip.next_out = out;
        x->gzip.avail_out = (unsigned) n;
        int r = inflate(&x->gzip, Z_NO_FLUSH);
        x->in_at = x->in_len - x->gzip.avail_in;
        if (r == Z_STREAM_END)
                x->between = true;
        else if (r != Z_OK && r != Z_BUF_ERROR)
                return r == Z_MEM_ERROR ? -ENOMEM : broken(err, "gzip");
        return (int64_t) (n - x->gzip.avail_out);
}

static int64_t step_zstd(Expander *x, uint8_t *out, size_t n, Err *err) {
        ZSTD_inBuffer in = { .src = x->in + x->in_at, .size = x->in_len - x->in_at };
        ZSTD_outBuffer o = { .dst = out, .size = n };
        size_t r = ZSTD_decompressStream(x->zstd, &o, &in);
        x->in_at += in.pos;
        if (ZSTD_isError(r)) {
                if (ZSTD_getErrorCode(r) == ZSTD_error_frameParameter_windowTooLarge)
                        return err_set(err, -E2BIG, "zstd data needs a window of more than %u MiB",
                                       1U << (EXPAND_WINDOW_LOG_MAX - 20));
                return broken(err, "zstd");
        }
        x->between = r == 0;
        return (int64_t) o.pos;
}

static int64_t step_bzip2(Expander *x, uint8_t *out, size_t n, Err *err) {
        x->bzip2.next_in = (char *) x->in + x->in_at;
        x->bzip2.avail_in = (unsigned) (x->in_len - x->in_at);
        x->bzip2.next_out = (char *) out;
        x->bzip2.avail_out = (unsigned) n;
        int r = BZ2_bzDecompress(&x->bzip2);
        x->in_at = x->in_len - x->bzip2.avail_in;
        if (r == BZ_STREAM_END)
                x->between = true;
        else if (r != BZ_OK)
                return r == BZ_MEM_ERROR ? -ENOMEM : broken(err, "bzip2");
        return (int64_t) (n - x->bzip2.avail_out);
}

static int64_t step_xz(Expander *x, uint8_t *out, size_t n, Err *err) {
        x->xz.next_in = x->in + x->in_at;
        x->xz.avail_in = x->in_len - x->in_at;
        x->xz.next_out = out;
        x->xz.avail_out = n;
        lzma_ret r = lzma_code(&x->xz, LZMA_RUN);
        x->in_at = x->in_len - x->xz.avail_in;
        if (r == LZMA_STREAM_END)
                x->between = true;
        else if (r == LZMA_MEMLIMIT_ERROR)
                return err_set(err, -E2BIG, "xz data needs more than %u MiB of memory",
                               (unsigned) (EXPAND_XZ_MEMORY_MAX >> 20));
        else if (r != LZMA_OK && r != LZMA_BUF_ERROR)
                return r == LZMA_MEM_ERROR ? -ENOMEM : broken(err, "xz");
        return (int64_t) (n - x->xz.avail_out);
}

static int64_t step(Expander *x, uint8_t *out, size_t n, Err *err) {
        switch (x->kind) {
        case EXPAND_GZIP:
                return step_gzip(x, out, n, err);
        case EXPAND_ZSTD:
                return step_zstd(x, out, n, err);
        case EXPAND_BZIP2:
                return step_bzip2(x, out, n, err);
        case EXPAND_XZ:
                return step_xz(x, out, n, err);
        case EXPAND_PLAIN:
                break;
        }
        size_t k = MIN(n, x->in_len - x->in_at);
        memcpy(out, x->in + x->in_at, k);
        x->in_at += k;
        return (int64_t) k;
}

/* At the border between members: 1 = another one follows and the decoder is ready, 0 = the end. Zeros up to
 * the end are padding (tape blocks); anything else behind the last member is an error, as in Go. */
static int next_member(Expander *x, Err *err) {
        int r = fill(x, MAGIC_BYTES, err);
        if (r < 0)
                return r;
        size_t n = x->in_len - x->in_at;
        if (n == 0)
                return 0;
        ExpandKind kind = expand_detect(x->in + x->in_at, n);
        if (x->started && kind != x->kind) {
                for (;;) {
                        for (; x->in_at < x->in_len; x->in_at++)
                                if (x->in[x->in_at])
                                        return err_set(err, -EBADMSG, "garbage behind the compressed data");
                        r = fill(x, 1, err);
                        if (r < 0 || x->in_at == x->in_len)
                                return r;
                }
        }
        decoder_done(x);
        x->started = true;
        x->kind = kind;
        r = decoder_init(x);
        if (r < 0)
                return r;
        x->between = false;
        return 1;
}

static int check_limits(const Expander *x, Err *err) {
        const ExpandLimits *l = &x->limits;
        if (l->bytes_max && x->bytes_out > l->bytes_max)
                return err_set(err, -E2BIG, "it unpacks to more than %" PRIu64 " bytes", l->bytes_max);
        if (l->ratio_max && x->bytes_out > l->ratio_from && x->bytes_out / l->ratio_max > x->bytes_in)
                return err_set(err, -E2BIG, "it unpacks to more than %" PRIu64 " times its size", l->ratio_max);
        return 0;
}

/* 1 = progress was made or output is ready, 0 = the end. */
static int prepare(Expander *x, Err *err) {
        if (x->between && x->kind != EXPAND_PLAIN && x->started)
                return next_member(x, err);
        if (!x->started)
                return next_member(x, err);
        int r = fill(x, 1, err);
        return r < 0 ? r : 1;
}

int64_t expander_read(Expander *x, void *buf, size_t n, Err *err) {
        size_t done = 0;
        while (done < n) {
                int r = prepare(x, err);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                int64_t k = step(x, (uint8_t *) buf + done, n - done, err);
                if (k < 0)
                        return k;
                done += (size_t) k;
                x->bytes_out += (uint64_t) k;
                if (k == 0 && !x->between && x->in_ended && x->in_at == x->in_len) {
                        if (x->kind == EXPAND_PLAIN)
                                break;
                        return err_set(err, -EBADMSG, "the compressed data is cut short");
                }
                r = check_limits(x, err);
                if (r < 0)
                        return r;
        }
        return (int64_t) done;
}
