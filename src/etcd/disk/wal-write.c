/* SPDX-License-Identifier: Apache-2.0 */

/* The writing side of the log: batches, syncs, new segments, purging. Reading is in wal.c. */

#include "base/alloc.h"
#include "etcd/disk/wal-internal.h"

#include <stdio.h>

void wal_segment_name(uint64_t seq, char ret[static WAL_NAME_MAX]) {
        (void) snprintf(ret, WAL_NAME_MAX, "wal-%016" PRIx64 ".log", seq);
}

static int fail(Wal *w, int r, Err *err, const char *what) {
        w->failed = r;
        char name[WAL_NAME_MAX];
        wal_segment_name(w->head.seq, name);
        return err_errno(err, r, "cannot %s the log %s", what, name);
}

static int check_usable(const Wal *w, Err *err) {
        if (w->failed == 0)
                return 0;
        return err_errno(err, w->failed, "the log failed earlier and is not used any more");
}

/* Remembers what the head of the next segment must repeat. */
static void fold_tip(Wal *w, const Buf *b) {
        for (size_t at = 0; at < b->len;) {
                WalRecord rec;
                int r = wal_record_parse(b->data + at, b->len - at, &rec);
                assert(r == 1);
                r = wal_tip_fold(&w->tip, &rec);
                assert(r == 0);
                at += rec.size;
        }
}

static int write_segment(Wal *w, const char *name, const Buf *content, uint64_t size, DiskFile **ret) {
        _cleanup_(disk_closep) DiskFile *f = NULL;
        int r = disk_open(w->disk, WAL_TEMPORARY, DISK_OPEN_CREATE, &f);
        if (r == 0)
                r = disk_fallocate(f, size);
        if (r == 0)
                r = disk_pwrite(f, content->data, content->len, 0);
        if (r == 0)
                r = disk_fdatasync(f);
        if (r == 0)
                r = disk_rename(w->disk, WAL_TEMPORARY, name);
        if (r == 0)
                r = disk_fsyncdir(w->disk);
        if (r == 0)
                *ret = TAKE_PTR(f);
        return r;
}

int wal_cut(Wal *w, Buf *first, size_t room, Err *err) {
        int r = w->file ? wal_sync(w, err) : 0;
        if (r < 0)
                return r;
        WalSegmentHead head = w->head;
        head.seq++;
        head.first_index = w->tip.last_index + 1;
        _cleanup_(buf_done) Buf b = {};
        wal_batch_head(&b, &head, &w->tip);
        if (first)
                buf_add(&b, first->data ?: "", first->len);
        uint32_t crc = wal_records_seal(b.data, b.len, w->crc, 0);
        uint64_t size = MAX(w->segment_size, (uint64_t) b.len + room);
        char name[WAL_NAME_MAX];
        wal_segment_name(head.seq, name);
        DiskFile *f = NULL;
        r = write_segment(w, name, &b, size, &f);
        if (r == -ENOSPC) {
                /* Nothing that counts was written: the old segment is whole and still open. */
                (void) disk_unlink(w->disk, WAL_TEMPORARY);
                return err_errno(err, r, "cannot make the log %s; free some space", name);
        }
        if (r < 0)
                return fail(w, r, err, "begin the segment after");
        disk_close(w->file);
        w->file = f;
        w->head = head;
        w->crc = crc;
        w->offset = w->durable = b.len;
        w->size = size;
        fold_tip(w, &b);
        memcpy(w->synced, w->tip.marks, sizeof(w->synced));
        GROW(w->segments, w->cap_segments, w->n_segments + 1);
        w->segments[w->n_segments++] = (WalSegment){ .seq = head.seq, .first_index = head.first_index };
        return 0;
}

int wal_write(Wal *w, Buf *b, Err *err) {
        int r = check_usable(w, err);
        if (r < 0 || b->len == 0)
                return r;
        assert(b->len % WAL_ALIGN == 0);
        if (w->offset + b->len > w->size) {
                r = wal_cut(w, NULL, b->len, err);
                if (r < 0)
                        return r;
        }
        uint32_t crc = wal_records_seal(b->data, b->len, w->crc, w->durable);
        r = disk_pwrite(w->file, b->data, b->len, w->offset);
        if (r < 0)
                return fail(w, r, err, "write");
        w->crc = crc;
        w->offset += b->len;
        fold_tip(w, b);
        return 0;
}

int wal_sync(Wal *w, Err *err) {
        int r = check_usable(w, err);
        if (r < 0 || w->durable == w->offset)
                return r;
        r = disk_fdatasync(w->file);
        if (r < 0)
                return fail(w, r, err, "sync");
        w->durable = w->offset;
        memcpy(w->synced, w->tip.marks, sizeof(w->synced));
        return 0;
}

uint64_t wal_oldest_mark(const Wal *w) {
        return w->synced[WAL_MARKS - 1].index;
}

int wal_purge(Wal *w, Err *err) {
        int r = check_usable(w, err);
        uint64_t oldest = wal_oldest_mark(w);
        while (r == 0 && w->n_segments > 1 && w->segments[1].first_index <= oldest + 1 && oldest > 0) {
                char name[WAL_NAME_MAX];
                wal_segment_name(w->segments[0].seq, name);
                r = disk_unlink(w->disk, name);
                if (r < 0 && r != -ENOENT)
                        return err_errno(err, r, "cannot remove the old log %s", name);
                /* One by one: a gap in the numbers would look like a lost segment. */
                r = disk_fsyncdir(w->disk);
                if (r < 0)
                        return fail(w, r, err, "sync the folder of");
                memmove(w->segments, w->segments + 1, --w->n_segments * sizeof(WalSegment));
        }
        return r;
}

Wal *wal_free(Wal *w) {
        if (!w)
                return NULL;
        disk_close(w->file);
        free(w->segments);
        free(w);
        return NULL;
}
