/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/disk/wal-record.h"

#include "base/hash.h"

static bool all_zero(const uint8_t *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (p[i] != 0)
                        return false;
        return true;
}

int wal_record_parse(const void *p, size_t n, WalRecord *ret) {
        const uint8_t *b = p;
        if (n < WAL_HEADER_BYTES)
                return all_zero(b, n) ? 0 : -EBADMSG;
        if (all_zero(b, WAL_HEADER_BYTES))
                return 0;
        Rd rd = rd_new(p, n);
        WalRecord rec = {};
        uint8_t type = 0, flags = 0;
        uint16_t zero = 0;
        (void) rd_le32(&rd, &rec.crc);
        (void) rd_le32(&rd, &rec.prev);
        (void) rd_le32(&rd, &rec.len);
        (void) rd_u8(&rd, &type);
        (void) rd_u8(&rd, &flags);
        (void) rd_le16(&rd, &zero);
        (void) rd_le64(&rd, &rec.synced);
        if (type == 0 || type >= _WAL_RECORD_MAX || (flags & ~WAL_LAST) != 0 || zero != 0)
                return -EBADMSG;
        if (rec.len > WAL_PAYLOAD_MAX || wal_record_size(rec.len) > n)
                return -EBADMSG;
        if (crc32c(0, b + 4, WAL_HEADER_BYTES - 4 + rec.len) != rec.crc)
                return -EBADMSG;
        rec.type = (WalRecordType) type;
        rec.last = flags & WAL_LAST;
        rec.size = wal_record_size(rec.len);
        rec.payload = b + WAL_HEADER_BYTES;
        if (!all_zero(rec.payload + rec.len, rec.size - WAL_HEADER_BYTES - rec.len))
                return -EBADMSG;
        *ret = rec;
        return 1;
}

size_t wal_record_begin(Buf *b, WalRecordType type) {
        assert(b->len % WAL_ALIGN == 0);
        assert(type > 0 && type < _WAL_RECORD_MAX);
        size_t begin = b->len;
        buf_add(b, (char[WAL_HEADER_BYTES]){}, WAL_HEADER_BYTES);
        b->data[begin + 12] = (char) type;
        return begin;
}

static void put_le32(char *p, uint32_t v) {
        for (size_t i = 0; i < 4; i++)
                p[i] = (char) (v >> (8 * i));
}

static uint32_t get_le32(const char *p) {
        uint32_t v = 0;
        for (size_t i = 0; i < 4; i++)
                v |= (uint32_t) (uint8_t) p[i] << (8 * i);
        return v;
}

void wal_record_end(Buf *b, size_t begin, bool last) {
        assert(begin + WAL_HEADER_BYTES <= b->len);
        size_t payload = b->len - begin - WAL_HEADER_BYTES;
        assert(payload <= WAL_PAYLOAD_MAX);
        put_le32(b->data + begin + 8, (uint32_t) payload);
        b->data[begin + 13] = last ? WAL_LAST : 0;
        buf_add(b, (char[WAL_ALIGN]){}, wal_record_size(payload) - WAL_HEADER_BYTES - payload);
}

uint32_t wal_records_seal(char *p, size_t n, uint32_t prev, uint64_t synced) {
        for (size_t at = 0; at < n;) {
                assert(n - at >= WAL_HEADER_BYTES);
                char *h = p + at;
                size_t payload = get_le32(h + 8), size = wal_record_size(payload);
                assert(size <= n - at);
                put_le32(h + 4, prev);
                put_le32(h + 16, (uint32_t) synced);
                put_le32(h + 20, (uint32_t) (synced >> 32));
                prev = crc32c(0, h + 4, WAL_HEADER_BYTES - 4 + payload);
                put_le32(h, prev);
                at += size;
        }
        return prev;
}
