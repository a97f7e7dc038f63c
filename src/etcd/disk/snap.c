/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/disk/snap-internal.h"

#include <stdio.h>

#define TEMPORARY_OWN "snap-own.tmp"
#define TEMPORARY_RECEIVED "snap-received.tmp"

/* ---- a file that gets its name at the end ---- */

typedef struct Draft {
        Disk *disk; /* weak */
        const char *temporary;
        DiskFile *file; /* owned */
        uint64_t offset;
        RaftSnapMeta meta;
        int failed; /* sticky: a file with a hole must never get a name */
} Draft;

static int draft_open(Draft *d, Disk *disk, const char *temporary, const RaftSnapMeta *meta, Err *err) {
        d->disk = disk;
        d->temporary = temporary;
        d->meta = *meta;
        int r = disk_open(disk, temporary, DISK_OPEN_CREATE, &d->file);
        return r < 0 ? err_errno(err, r, "cannot make the snapshot file %s", temporary) : 0;
}

static int draft_add(Draft *d, const void *p, size_t n, Err *err) {
        if (d->failed < 0)
                return err_errno(err, d->failed, "the snapshot file failed earlier");
        d->failed = disk_pwrite(d->file, p, n, d->offset);
        if (d->failed < 0)
                return err_errno(err, d->failed, "cannot write the snapshot file %s", d->temporary);
        d->offset += n;
        return 0;
}

static int draft_finish(Draft *d, Err *err) {
        char name[SNAP_NAME_MAX];
        snap_name(d->meta.index, d->meta.term, name);
        int r = d->failed;
        if (r == 0)
                r = disk_fdatasync(d->file);
        if (r == 0)
                r = disk_rename(d->disk, d->temporary, name);
        if (r == 0)
                d->file = disk_close(d->file);
        if (r == 0)
                r = disk_fsyncdir(d->disk);
        d->failed = r;
        return r < 0 ? err_errno(err, r, "cannot finish the snapshot file %s", name) : 0;
}

static void draft_done(Draft *d) {
        if (!d->file)
                return;
        d->file = disk_close(d->file);
        (void) disk_unlink(d->disk, d->temporary);
}

/* ---- writing our own ---- */

struct SnapWriter {
        Draft draft;
        uint32_t crc;
        uint64_t total;
        Buf chunk, frame;
};

int snap_writer_open(Disk *d, const RaftSnapMeta *meta, SnapWriter **ret, Err *err) {
        assert(meta->index > 0);
        _cleanup_(snap_writer_freep) SnapWriter *w = xnew(SnapWriter, 1);
        int r = draft_open(&w->draft, d, TEMPORARY_OWN, meta, err);
        if (r < 0)
                return r;
        snap_encode_begin(meta, &w->crc, &w->frame);
        r = draft_add(&w->draft, w->frame.data, w->frame.len, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(w);
        return 0;
}

static int flush_chunk(SnapWriter *w, const void *p, size_t n, Err *err) {
        if (n == 0)
                return 0;
        buf_clear(&w->frame);
        snap_encode_chunk(p, n, &w->crc, &w->frame);
        w->total += n;
        return draft_add(&w->draft, w->frame.data, w->frame.len, err);
}

int snap_writer_add(SnapWriter *w, const void *p, size_t n, Err *err) {
        const char *from = p;
        while (n > 0) {
                size_t k = MIN(n, SNAP_CHUNK_MAX - w->chunk.len);
                buf_add(&w->chunk, from, k);
                from += k;
                n -= k;
                if (w->chunk.len < SNAP_CHUNK_MAX)
                        continue;
                int r = flush_chunk(w, w->chunk.data, w->chunk.len, err);
                if (r < 0)
                        return r;
                buf_clear(&w->chunk);
        }
        return 0;
}

int snap_writer_finish(SnapWriter *w, Err *err) {
        int r = flush_chunk(w, w->chunk.data, w->chunk.len, err);
        if (r < 0)
                return r;
        buf_clear(&w->chunk);
        buf_clear(&w->frame);
        snap_encode_end(w->total, &w->crc, &w->frame);
        r = draft_add(&w->draft, w->frame.data, w->frame.len, err);
        return r < 0 ? r : draft_finish(&w->draft, err);
}

SnapWriter *snap_writer_free(SnapWriter *w) {
        if (!w)
                return NULL;
        draft_done(&w->draft);
        buf_done(&w->chunk);
        buf_done(&w->frame);
        free(w);
        return NULL;
}

/* ---- whole files ---- */

struct SnapSource {
        char name[SNAP_NAME_MAX];
        DiskFile *file; /* owned */
        uint64_t size;
};

int snap_source_open(Disk *d, uint64_t index, uint64_t term, SnapSource **ret, Err *err) {
        _cleanup_(snap_source_freep) SnapSource *s = xnew(SnapSource, 1);
        snap_name(index, term, s->name);
        int r = disk_open(d, s->name, DISK_OPEN_READONLY, &s->file);
        if (r == 0)
                r = disk_size(s->file, &s->size);
        if (r < 0)
                return err_errno(err, r, "cannot open the snapshot %s", s->name);
        *ret = TAKE_PTR(s);
        return 0;
}

uint64_t snap_source_size(const SnapSource *s) {
        return s->size;
}

ssize_t snap_source_read(SnapSource *s, uint64_t offset, void *p, size_t n, Err *err) {
        ssize_t r = disk_pread(s->file, p, n, offset);
        return r < 0 ? err_errno(err, (int) r, "cannot read the snapshot %s", s->name) : r;
}

SnapSource *snap_source_free(SnapSource *s) {
        if (!s)
                return NULL;
        disk_close(s->file);
        free(s);
        return NULL;
}

/* ---- reading ---- */

struct SnapReader {
        SnapSource *source; /* owned */
        SnapScan scan;
        uint64_t payload, offset; /* of the next read */
        Buf b;
        size_t used; /* of b */
};

/* The next frame, reading on as needed: 1, 0 at the end. */
static int reader_step(SnapReader *r, const void **ret, size_t *ret_n, Err *err) {
        for (;;) {
                Rd rd = rd_new(r->b.data + r->used, r->b.len - r->used);
                int k = snap_scan_next(&r->scan, &rd, ret, ret_n);
                r->used = r->b.len - rd.left;
                if (k < 0)
                        return err_set(err, -EUCLEAN, "the snapshot %s is damaged near offset %" PRIu64,
                                       r->source->name, r->offset - rd.left);
                if (k > 0 || (r->scan.done && r->offset == r->source->size))
                        return k;
                buf_consume(&r->b, r->used);
                r->used = 0;
                size_t n = SNAP_CHUNK_MAX / 4;
                buf_reserve(&r->b, n + 1);
                ssize_t got = snap_source_read(r->source, r->offset, r->b.data + r->b.len, n, err);
                if (got < 0)
                        return (int) got;
                if (got == 0)
                        return err_set(err, -EUCLEAN, "the snapshot %s is cut short", r->source->name);
                r->b.len += (size_t) got;
                r->offset += (uint64_t) got;
        }
}

static void reader_rewind(SnapReader *r) {
        r->scan = (SnapScan){};
        buf_clear(&r->b);
        r->used = 0;
        r->offset = 0;
}

int snap_reader_open(Disk *d, uint64_t index, uint64_t term, SnapReader **ret, Err *err) {
        _cleanup_(snap_reader_freep) SnapReader *r = xnew(SnapReader, 1);
        int k = snap_source_open(d, index, term, &r->source, err);
        if (k < 0)
                return k;
        const void *p;
        size_t n;
        while ((k = reader_step(r, &p, &n, err)) > 0)
                ;
        if (k < 0)
                return k;
        if (r->scan.meta.index != index || r->scan.meta.term != term)
                return err_set(err, -EUCLEAN, "the snapshot %s was renamed", r->source->name);
        RaftSnapMeta meta = r->scan.meta;
        r->payload = r->scan.total;
        reader_rewind(r);
        r->scan.meta = meta;
        *ret = TAKE_PTR(r);
        return 0;
}

const RaftSnapMeta *snap_reader_meta(const SnapReader *r) {
        return &r->scan.meta;
}

uint64_t snap_reader_payload_size(const SnapReader *r) {
        return r->payload;
}

int snap_reader_next(SnapReader *r, const void **ret, size_t *ret_n, Err *err) {
        return reader_step(r, ret, ret_n, err);
}

SnapReader *snap_reader_free(SnapReader *r) {
        if (!r)
                return NULL;
        snap_source_free(r->source);
        buf_done(&r->b);
        free(r);
        return NULL;
}

/* ---- receiving ---- */

struct SnapSink {
        Draft draft;
        SnapScan scan;
        Buf b; /* the incomplete frame at the end */
};

int snap_sink_open(Disk *d, const RaftSnapMeta *meta, SnapSink **ret, Err *err) {
        _cleanup_(snap_sink_freep) SnapSink *s = xnew(SnapSink, 1);
        int r = draft_open(&s->draft, d, TEMPORARY_RECEIVED, meta, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

int snap_sink_add(SnapSink *s, const void *p, size_t n, Err *err) {
        int r = draft_add(&s->draft, p, n, err);
        if (r < 0)
                return r;
        buf_add(&s->b, p, n);
        Rd rd = rd_new(s->b.data ?: "", s->b.len);
        const void *piece;
        size_t k;
        while ((r = snap_scan_next(&s->scan, &rd, &piece, &k)) > 0)
                ;
        buf_consume(&s->b, s->b.len - rd.left);
        if (r == 0)
                return 0;
        s->draft.failed = -EUCLEAN;
        return err_set(err, -EUCLEAN, "the received snapshot is damaged");
}

int snap_sink_finish(SnapSink *s, Err *err) {
        const RaftSnapMeta *want = &s->draft.meta, *got = &s->scan.meta;
        if (s->draft.failed == 0 && !s->scan.done)
                return err_set(err, -EUCLEAN, "the received snapshot is cut short");
        if (s->draft.failed == 0 && (want->index != got->index || want->term != got->term ||
                                     !raft_conf_equal(&want->conf, &got->conf)))
                return err_set(err, -EUCLEAN, "the received snapshot is not the one that was announced");
        return draft_finish(&s->draft, err);
}

SnapSink *snap_sink_free(SnapSink *s) {
        if (!s)
                return NULL;
        draft_done(&s->draft);
        buf_done(&s->b);
        free(s);
        return NULL;
}

/* ---- housekeeping ---- */

int snap_clean(Disk *d, Err *err) {
        static const char *const names[] = { TEMPORARY_OWN, TEMPORARY_RECEIVED };
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                int r = disk_unlink(d, names[i]);
                if (r < 0 && r != -ENOENT)
                        return err_errno(err, r, "cannot remove the unfinished snapshot %s", names[i]);
        }
        return 0;
}

int snap_purge(Disk *d, uint64_t oldest, Err *err) {
        _cleanup_strv_ char **names = NULL;
        int r = disk_list(d, &names);
        if (r < 0)
                return err_errno(err, r, "cannot list the data folder");
        STRV_FOREACH(name, names) {
                uint64_t index, term;
                if (snap_parse_name(*name, &index, &term) < 0 || index >= oldest)
                        continue;
                r = disk_unlink(d, *name);
                if (r < 0)
                        return err_errno(err, r, "cannot remove the old snapshot %s", *name);
        }
        return 0;
}
