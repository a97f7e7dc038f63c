/* SPDX-License-Identifier: Apache-2.0 */

/* Reading the log: find its segments, check every record, tell a torn tail from damage, and open it for
 * writing. See wal.h for the promises and wal-record.h for how `synced` keeps them. */

#include "base/alloc.h"
#include "base/str.h"
#include "etcd/disk/wal-internal.h"

#define SEGMENT_BYTES_MAX ((uint64_t) 1 << 30)
#define SEGMENTS_MAX 65536U
#define WHAT_TO_DO                                                                                          \
        "remove this member from the cluster, empty its data folder, and add it again; or restore a backup"

int wal_segment_parse_name(const char *name, uint64_t *ret_seq) {
        const char *digits = startswith(name, "wal-");
        if (!digits || strlen(digits) != 20 || !streq(digits + 16, ".log"))
                return -EINVAL;
        char hex[17] = {};
        memcpy(hex, digits, 16);
        return parse_u64_base(hex, 16, ret_seq);
}

static int compare_u64(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
        return x < y ? -1 : x > y;
}

/* Sorted sequence numbers of the segments; owned. */
static int list_segments(Disk *d, uint64_t **ret, size_t *ret_n, Err *err) {
        _cleanup_strv_ char **names = NULL;
        int r = disk_list(d, &names);
        if (r < 0)
                return err_errno(err, r, "cannot list the data folder");
        _cleanup_free_ uint64_t *seqs = NULL;
        size_t n = 0, cap = 0;
        STRV_FOREACH(name, names) {
                uint64_t seq;
                if (wal_segment_parse_name(*name, &seq) < 0)
                        continue;
                if (n >= SEGMENTS_MAX)
                        return err_set(err, -E2BIG, "more than %u log segments", SEGMENTS_MAX);
                GROW(seqs, cap, n + 1);
                seqs[n++] = seq;
        }
        if (n > 0)
                qsort(seqs, n, sizeof(*seqs), compare_u64);
        for (size_t i = 1; i < n; i++)
                if (seqs[i] != seqs[i - 1] + 1)
                        return err_set(err, -EUCLEAN, "the log lacks segment %016" PRIx64 "; " WHAT_TO_DO,
                                       seqs[i - 1] + 1);
        *ret = TAKE_PTR(seqs);
        *ret_n = n;
        return 0;
}

int wal_exists(Disk *d, Err *err) {
        _cleanup_free_ uint64_t *seqs = NULL;
        size_t n = 0;
        int r = list_segments(d, &seqs, &n, err);
        return r < 0 ? r : n > 0;
}

static int read_segment(Disk *d, const char *name, DiskOpenFlags flags, Buf *to, DiskFile **ret, Err *err) {
        _cleanup_(disk_closep) DiskFile *f = NULL;
        int r = disk_open(d, name, flags, &f);
        if (r < 0)
                return err_errno(err, r, "cannot open the log %s", name);
        uint64_t size = 0;
        r = disk_size(f, &size);
        if (r == 0 && size > SEGMENT_BYTES_MAX)
                r = -EFBIG;
        if (r < 0)
                return err_errno(err, r, "cannot size the log %s", name);
        buf_clear(to);
        buf_reserve(to, size + 1);
        ssize_t n = disk_pread(f, to->data, size, 0);
        if (n < 0)
                return err_errno(err, (int) n, "cannot read the log %s", name);
        to->len = (size_t) n;
        to->data[n] = 0;
        *ret = TAKE_PTR(f);
        return 0;
}

/* How far a segment is good. */
typedef struct Scan {
        size_t end;  /* behind the last whole batch */
        size_t stop; /* where reading ended */
        int result; /* of the parse there: 0 nothing more, -EBADMSG bad bytes, -ESTALE the chain is broken */
        uint32_t crc; /* of the last record of the last whole batch */
} Scan;

static Scan scan_segment(const Buf *b, uint32_t crc, bool chained) {
        Scan s = { .crc = crc };
        for (;;) {
                WalRecord rec;
                s.result = wal_record_parse(b->data + s.stop, b->len - s.stop, &rec);
                if (s.result == 1 && chained && rec.prev != crc)
                        s.result = -ESTALE;
                if (s.result <= 0)
                        return s;
                chained = true;
                crc = rec.crc;
                s.stop += rec.size;
                if (rec.last) {
                        s.end = s.stop;
                        s.crc = crc;
                }
        }
}

static bool zero_range(const Buf *b, size_t from, size_t to) {
        for (size_t i = from; i < to && i < b->len; i++)
                if (b->data[i] != 0)
                        return false;
        return true;
}

/* Whether a sector's share of [from, to) is missing, that is, all zeros as it was preallocated. */
static bool lacks_sector(const Buf *b, size_t from, size_t to) {
        to = MIN(to, b->len);
        while (from < to) {
                size_t next = MIN((from / DISK_SECTOR + 1) * DISK_SECTOR, to);
                if (zero_range(b, from, next))
                        return true;
                from = next;
        }
        return false;
}

/* A record written behind the bad place that says: what stands there had been durable. */
static bool was_durable(const Buf *b, const Scan *s) {
        for (size_t at = s->stop; at + WAL_HEADER_BYTES <= b->len; at += WAL_ALIGN) {
                WalRecord rec;
                if (b->data[at + 12] == 0)
                        continue;
                if (wal_record_parse(b->data + at, b->len - at, &rec) == 1 && rec.synced > s->end &&
                    rec.synced <= at)
                        return true;
        }
        return false;
}

/* NULL: the tail may go, it was never durable. Otherwise why not. */
static const char *judge_tail(const Buf *b, const Scan *s) {
        if (was_durable(b, s))
                return "later records show that it had been durable";
        if (s->result == -ESTALE)
                return "a record does not follow the one before it";
        if (s->result == 0) {
                size_t sector_end = (s->stop / DISK_SECTOR + 1) * DISK_SECTOR;
                return zero_range(b, s->stop, sector_end) ? NULL : "a record's head was wiped";
        }
        if (lacks_sector(b, s->stop, s->stop + WAL_HEADER_BYTES))
                return NULL;
        Rd rd = rd_new(b->data + s->stop, b->len - s->stop);
        uint32_t len = 0;
        (void) rd_skip(&rd, 8);
        if (rd_le32(&rd, &len) == 0 && len <= WAL_PAYLOAD_MAX && s->stop + wal_record_size(len) <= b->len &&
            lacks_sector(b, s->stop, s->stop + wal_record_size(len)))
                return NULL;
        return "its checksum is wrong, and not because a part was never written";
}

static int fold_segment(const Buf *b, size_t end, uint64_t seq, WalState *state, Err *err) {
        for (size_t at = 0; at < end;) {
                WalRecord rec;
                int r = wal_record_parse(b->data + at, end - at, &rec);
                assert(r == 1);
                WalSegmentHead head;
                if ((at == 0) != (rec.type == WAL_SEGMENT))
                        return err_set(err, -EBADMSG, "the head of the segment is missing or misplaced");
                if (at == 0 && wal_segment_head_decode(&rec, &head) == 0 && head.seq != seq)
                        return err_set(err, -EBADMSG, "the segment was renamed, it is number %016" PRIx64,
                                       head.seq);
                r = wal_state_fold(state, &rec, err);
                if (r < 0)
                        return r;
                at += rec.size;
        }
        return 0;
}

/* Cuts the tail off, so that no byte of it can be taken for a record later. */
static int repair_tail(Wal *w, const Buf *b, const Scan *s, Err *err) {
        if (zero_range(b, s->end, b->len))
                return 0;
        int r = disk_truncate(w->file, s->end);
        if (r == 0)
                r = disk_fallocate(w->file, b->len);
        return r < 0 ? err_errno(err, r, "cannot cut the torn tail off the log") : 0;
}

static int open_segment(Wal *w, uint64_t seq, bool last, Buf *b, WalState *state, Err *err) {
        char name[WAL_NAME_MAX];
        wal_segment_name(seq, name);
        _cleanup_(disk_closep) DiskFile *f = NULL;
        int r = read_segment(w->disk, name, last ? 0 : DISK_OPEN_READONLY, b, &f, err);
        if (r < 0)
                return r;
        Scan s = scan_segment(b, w->crc, w->n_segments > 0);
        bool whole = s.result == 0 && s.stop == s.end;
        const char *why = NULL;
        if (s.end == 0)
                why = "it has no valid head";
        else if (!last && !whole)
                why = "it is not the newest segment, so all of it had been durable";
        else if (last && !(whole && zero_range(b, s.end, b->len)))
                why = judge_tail(b, &s);
        if (why)
                return err_set(err, -EUCLEAN, "the log %s is damaged at offset %zu (%s); " WHAT_TO_DO, name,
                               s.stop, why);
        r = fold_segment(b, s.end, seq, state, err);
        if (r < 0)
                return err_wrap(err, r == -EBADMSG ? -EUCLEAN : r, "the log %s is damaged", name);
        WalRecord rec;
        r = wal_record_parse(b->data, b->len, &rec);
        assert(r == 1);
        r = wal_segment_head_decode(&rec, &w->head);
        assert(r == 0);
        GROW(w->segments, w->cap_segments, w->n_segments + 1);
        w->segments[w->n_segments++] = (WalSegment){ .seq = seq, .first_index = w->head.first_index };
        w->crc = s.crc;
        if (!last)
                return 0;
        w->file = TAKE_PTR(f);
        w->offset = s.end;
        w->size = b->len;
        return repair_tail(w, b, &s, err);
}

static Wal *wal_new(Disk *d, const WalConfig *config) {
        Wal *w = xnew(Wal, 1);
        w->disk = d;
        w->segment_size =
                        config && config->segment_size > 0 ? config->segment_size : WAL_SEGMENT_SIZE_DEFAULT;
        return w;
}

/* What was read may still be in the page cache only, when the process died and the machine did not: make it
 * durable before anybody builds on it. */
static int settle(Wal *w, Err *err) {
        int r = disk_unlink(w->disk, WAL_TEMPORARY);
        if (r == -ENOENT)
                r = 0;
        if (r == 0)
                r = disk_fdatasync(w->file);
        if (r == 0)
                r = disk_fsyncdir(w->disk);
        if (r < 0)
                return err_errno(err, r, "cannot make the log durable");
        w->durable = w->offset;
        memcpy(w->synced, w->tip.marks, sizeof(w->synced));
        return 0;
}

int wal_open(Disk *d, const WalConfig *config, Wal **ret, WalState *ret_state, Err *err) {
        _cleanup_free_ uint64_t *seqs = NULL;
        size_t n = 0;
        int r = list_segments(d, &seqs, &n, err);
        if (r < 0)
                return r;
        if (n == 0)
                return err_set(err, -ENOENT, "there is no log in the data folder");
        _cleanup_(wal_freep) Wal *w = wal_new(d, config);
        _cleanup_(wal_state_done) WalState state = {};
        _cleanup_(buf_done) Buf b = {};
        for (size_t i = 0; i < n; i++) {
                r = open_segment(w, seqs[i], i + 1 == n, &b, &state, err);
                if (r < 0)
                        return r;
        }
        w->tip = (WalTip){ .hs = state.hs, .last_index = wal_state_last_index(&state) };
        memcpy(w->tip.marks, state.marks, sizeof(w->tip.marks));
        r = settle(w, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(w);
        *ret_state = state;
        state = (WalState){};
        return 0;
}

int wal_create(Disk *d, const WalConfig *config, uint64_t cluster_id, uint64_t node_id, Buf *first,
               Wal **ret, Err *err) {
        int r = wal_exists(d, err);
        if (r < 0)
                return r;
        if (r > 0)
                return err_set(err, -EEXIST, "there is a log in the data folder already");
        _cleanup_(wal_freep) Wal *w = wal_new(d, config);
        w->head = (WalSegmentHead){ .cluster_id = cluster_id, .node_id = node_id };
        r = wal_cut(w, first, 0, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(w);
        return 0;
}
