/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"
#include "base/str.h"
#include "etcd/disk/snap-internal.h"

#include <stdio.h>

void snap_name(uint64_t index, uint64_t term, char ret[static SNAP_NAME_MAX]) {
        (void) snprintf(ret, SNAP_NAME_MAX, "snap-%016" PRIx64 "-%016" PRIx64 ".snap", index, term);
}

int snap_parse_name(const char *name, uint64_t *ret_index, uint64_t *ret_term) {
        const char *p = startswith(name, "snap-");
        if (!p || strlen(p) != 38 || p[16] != '-' || !streq(p + 33, ".snap"))
                return -EINVAL;
        char index[17] = {}, term[17] = {};
        memcpy(index, p, 16);
        memcpy(term, p + 17, 16);
        int r = parse_u64_base(index, 16, ret_index);
        return r < 0 ? r : parse_u64_base(term, 16, ret_term);
}

static void add_frame(const void *p, size_t n, const void *covered, size_t n_covered, uint32_t *crc,
                      Buf *to) {
        _cleanup_(buf_done) Buf len = {};
        buf_add_le32(&len, (uint32_t) n);
        *crc = crc32c(*crc, len.data, len.len);
        *crc = crc32c(*crc, covered, n_covered);
        buf_add_le32(to, (uint32_t) n);
        buf_add_le32(to, *crc);
        buf_add(to, covered, n_covered);
}

void snap_encode_begin(const RaftSnapMeta *meta, uint32_t *crc, Buf *to) {
        _cleanup_(buf_done) Buf b = {};
        buf_add_le64(&b, meta->index);
        buf_add_le64(&b, meta->term);
        raft_conf_encode(&meta->conf, &b);
        assert(b.len <= SNAP_META_MAX);
        buf_add(to, SNAP_MAGIC, strlen(SNAP_MAGIC));
        *crc = 0;
        add_frame(b.data, b.len, b.data, b.len, crc, to);
}

void snap_encode_chunk(const void *p, size_t n, uint32_t *crc, Buf *to) {
        assert(n > 0 && n <= SNAP_CHUNK_MAX);
        add_frame(p, n, p, n, crc, to);
}

void snap_encode_end(uint64_t total, uint32_t *crc, Buf *to) {
        _cleanup_(buf_done) Buf b = {};
        buf_add_le64(&b, total);
        add_frame(NULL, 0, b.data, b.len, crc, to);
}

static int decode_meta(const void *p, size_t n, RaftSnapMeta *ret) {
        Rd rd = rd_new(p, n);
        RaftSnapMeta meta = {};
        int r = rd_le64(&rd, &meta.index);
        if (r == 0)
                r = rd_le64(&rd, &meta.term);
        if (r == 0)
                r = raft_conf_decode(&rd, &meta.conf);
        if (r < 0 || rd.left > 0 || meta.index == 0)
                return -EBADMSG;
        *ret = meta;
        return 0;
}

static int scan_begin(SnapScan *s, Rd *rd) {
        const void *magic;
        if (rd->left < strlen(SNAP_MAGIC))
                return 0;
        int r = rd_mem(rd, strlen(SNAP_MAGIC), &magic);
        if (r < 0 || memcmp(magic, SNAP_MAGIC, strlen(SNAP_MAGIC)) != 0)
                return -EBADMSG;
        s->begun = true;
        return 1;
}

static int scan_end(SnapScan *s, Rd *rd, uint64_t total) {
        if (!s->has_meta || total != s->total || rd->left > 0)
                return -EBADMSG;
        s->done = true;
        return 0;
}

int snap_scan_next(SnapScan *s, Rd *rd, const void **ret, size_t *ret_n) {
        if (s->done)
                return rd->left > 0 ? -EBADMSG : 0;
        int r = s->begun ? 1 : scan_begin(s, rd);
        for (; r > 0;) {
                Rd at = *rd;
                uint32_t len = 0, want = 0;
                uint64_t total = 0;
                if (rd_le32(&at, &len) < 0 || rd_le32(&at, &want) < 0)
                        return 0;
                if (len > (s->has_meta ? SNAP_CHUNK_MAX : SNAP_META_MAX))
                        return -EBADMSG;
                size_t n = len > 0 ? len : sizeof(total);
                const void *p;
                if (rd_mem(&at, n, &p) < 0)
                        return 0;
                uint32_t crc = crc32c(s->crc, rd->p, 4);
                crc = crc32c(crc, p, n);
                if (crc != want)
                        return -EBADMSG;
                s->crc = crc;
                *rd = at;
                if (len == 0) {
                        Rd count = rd_new(p, n);
                        (void) rd_le64(&count, &total);
                        return scan_end(s, rd, total);
                }
                if (s->has_meta) {
                        s->total += n;
                        *ret = p;
                        *ret_n = n;
                        return 1;
                }
                r = decode_meta(p, n, &s->meta);
                if (r < 0)
                        return r;
                s->has_meta = true;
                r = 1;
        }
        return r;
}
