/* SPDX-License-Identifier: Apache-2.0 */

/* A snapshot file from outside: fed whole, and again in pieces; both ways must see the same. First byte odd:
 * the rest is payload for a file of our own making, of which a byte is then damaged: that must be noticed.
 */

#include "base/alloc.h"
#include "etcd/disk/snap-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes of state, or negative; *ret_done: the end was seen. */
static int64_t scan(const uint8_t *data, size_t size, size_t piece, bool *ret_done) {
        SnapScan s = {};
        _cleanup_(buf_done) Buf b = {};
        for (size_t at = 0; at < size;) {
                size_t n = MIN(piece, size - at);
                buf_add(&b, data + at, n);
                at += n;
                Rd rd = rd_new(b.data, b.len);
                const void *p;
                size_t k;
                int r;
                while ((r = snap_scan_next(&s, &rd, &p, &k)) > 0)
                        if (k == 0 || k > SNAP_CHUNK_MAX)
                                abort();
                if (r < 0)
                        return r;
                buf_consume(&b, b.len - rd.left);
        }
        *ret_done = s.done;
        return (int64_t) s.total;
}

static void round_trip(const uint8_t *data, size_t size) {
        _cleanup_(buf_done) Buf b = {};
        uint32_t crc;
        RaftSnapMeta meta = { .index = 1 + size, .term = 2, .conf = { .n_voters = 1, .voters = { 5 } } };
        snap_encode_begin(&meta, &crc, &b);
        for (size_t at = 0; at < size; at += 100)
                snap_encode_chunk(data + at, MIN((size_t) 100, size - at), &crc, &b);
        snap_encode_end(size, &crc, &b);
        bool done = false;
        if (scan((const uint8_t *) b.data, b.len, 4096, &done) != (int64_t) size || !done)
                abort();
        size_t at = size > 0 ? (data[0] * 257U + data[size - 1]) % b.len : 0;
        b.data[at] ^= 0x10;
        done = false;
        int64_t r = scan((const uint8_t *) b.data, b.len, 4096, &done);
        if (r >= 0 && done)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 1 || size > 65536)
                return 0;
        if (data[0] & 1) {
                round_trip(data + 1, size - 1);
                return 0;
        }
        bool whole_done = false, pieces_done = false;
        int64_t whole = scan(data + 1, size - 1, size, &whole_done);
        int64_t pieces = scan(data + 1, size - 1, 7, &pieces_done);
        if (whole != pieces || whole_done != pieces_done)
                abort();
        return 0;
}
