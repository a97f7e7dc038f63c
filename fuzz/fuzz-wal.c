/* SPDX-License-Identifier: Apache-2.0 */

/* A log segment from outside. First byte 0: the rest is the file as it is. Otherwise the rest describes
 * records (type, last, le16 length, payload), which get right checksums, so that the meaning of records is
 * reached too. Beyond "no crash": what is accepted has a right checksum, any flipped bit in it is noticed,
 * and what was opened can be written to and opened again with everything in it. */

#include "etcd/disk/wal-internal.h"
#include "sim/rng.c"
#include "sim/sim-disk.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENT "wal-0000000000000001.log"

static const WalConfig small = { .segment_size = 4096 };

static void add_records(const uint8_t *data, size_t size, Buf *b) {
        Rd rd = rd_new(data, size);
        uint8_t type, last;
        uint16_t len;
        while (rd_u8(&rd, &type) == 0 && rd_u8(&rd, &last) == 0 && rd_le16(&rd, &len) == 0) {
                const void *p = NULL;
                size_t n = MIN((size_t) len, rd.left);
                if (rd_mem(&rd, n, &p) < 0)
                        break;
                size_t at = wal_record_begin(b, (WalRecordType) (1 + type % (_WAL_RECORD_MAX - 1)));
                buf_add(b, p, n);
                wal_record_end(b, at, last & 1);
        }
        if (b->len > 0)
                (void) wal_records_seal(b->data, b->len, 0, 0);
}

/* One flipped bit anywhere in a good record makes it a bad one. */
static void check_flips(const uint8_t *p, const WalRecord *rec) {
        _cleanup_free_ uint8_t *copy = xmemdup(p, rec->size);
        for (size_t i = 0; i < 32; i++) {
                size_t bit = (rec->crc + i * 2654435761U) % (rec->size * 8);
                copy[bit / 8] ^= (uint8_t) (1U << bit % 8);
                WalRecord bad;
                if (wal_record_parse(copy, rec->size, &bad) == 1)
                        abort();
                copy[bit / 8] ^= (uint8_t) (1U << bit % 8);
        }
}

static void check_records(const Buf *b) {
        _cleanup_(wal_state_done) WalState s = {};
        WalTip tip = {};
        for (size_t at = 0; at < b->len;) {
                WalRecord rec;
                if (wal_record_parse(b->data + at, b->len - at, &rec) != 1)
                        break;
                if (rec.size > b->len - at)
                        abort();
                check_flips((const uint8_t *) b->data + at, &rec);
                int r = wal_state_fold(&s, &rec, NULL), k = wal_tip_fold(&tip, &rec);
                if (r < 0)
                        break;
                /* Two readings of one record agree. */
                if (k < 0 || (s.first_index > 0 && tip.last_index != wal_state_last_index(&s)) ||
                    tip.hs.term != s.hs.term)
                        abort();
                at += rec.size;
        }
}

static void check_open(const Buf *b) {
        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(1));
        Disk *disk = sim_disk_ops(d);
        DiskFile *f = NULL;
        if (disk_open(disk, SEGMENT, DISK_OPEN_CREATE, &f) < 0 || disk_pwrite(f, b->data, b->len, 0) < 0 ||
            disk_fdatasync(f) < 0 || disk_fsyncdir(disk) < 0)
                abort();
        disk_close(f);
        _cleanup_(wal_freep) Wal *w = NULL;
        _cleanup_(wal_state_done) WalState s = {};
        _cleanup_(err_done) Err err = {};
        int r = wal_open(disk, &small, &w, &s, &err);
        if (r < 0 && !err.msg)
                abort();
        if (r < 0)
                return;
        uint64_t index = wal_state_last_index(&s) + 1;
        RaftEntry e = { .index = index, .term = s.n_entries > 0 ? s.entries[s.n_entries - 1].term : 1 };
        RaftPersist p = { .hs = s.hs, .entries = &e, .n_entries = 1 };
        _cleanup_(buf_done) Buf batch = {};
        wal_batch_persist(&batch, &p);
        if (index >= UINT64_MAX / 2 || wal_write(w, &batch, NULL) < 0 || wal_sync(w, NULL) < 0)
                return;
        w = wal_free(w);
        wal_state_done(&s);
        if (wal_open(disk, &small, &w, &s, NULL) < 0 || wal_state_last_index(&s) != index)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 2 || size > 65536)
                return 0;
        _cleanup_(buf_done) Buf b = {};
        if (data[0] == 0)
                buf_add(&b, data + 1, size - 1);
        else
                add_records(data + 1, size - 1, &b);
        if (b.len == 0)
                return 0;
        check_records(&b);
        check_open(&b);
        return 0;
}
