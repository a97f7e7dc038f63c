/* SPDX-License-Identifier: Apache-2.0 */

/* What records mean: building batches, and folding records back into a state. Pure. */

#include "base/alloc.h"
#include "etcd/disk/wal-internal.h"

/* Entries of one batch are spread over records of about this size, so that a damaged byte costs little to
 * find. */
#define ENTRIES_RECORD_BYTES ((size_t) 1 << 20)
#define ENTRIES_HEAD_BYTES 12U

static void add_mark(Buf *b, WalRecordType type, uint64_t index, uint64_t term, bool last) {
        size_t at = wal_record_begin(b, type);
        buf_add_le64(b, index);
        buf_add_le64(b, term);
        wal_record_end(b, at, last);
}

static void add_hard(Buf *b, const RaftHardState *hs) {
        size_t at = wal_record_begin(b, WAL_HARD);
        buf_add_le64(b, hs->term);
        buf_add_le64(b, hs->vote);
        buf_add_le64(b, hs->commit);
        wal_record_end(b, at, true);
}

static void poke_le32(char *p, uint32_t v) {
        for (unsigned i = 0; i < 4; i++)
                p[i] = (char) (v >> (8 * i));
}

/* One record with as many of the entries as fit; returns how many. */
static size_t add_entries(Buf *b, uint64_t from, const RaftEntry *entries, size_t n) {
        size_t at = wal_record_begin(b, WAL_ENTRIES), begin = b->len, count = 0;
        buf_add_le64(b, from);
        buf_add_le32(b, 0);
        while (count < n && (count == 0 || b->len - begin + entries[count].len <= ENTRIES_RECORD_BYTES))
                raft_entry_encode(&entries[count++], b);
        poke_le32(b->data + begin + 8, (uint32_t) count);
        wal_record_end(b, at, false);
        return count;
}

void wal_batch_persist(Buf *b, const RaftPersist *p) {
        if (p->snapshot)
                add_mark(b, WAL_RESET, p->snapshot->index, p->snapshot->term, false);
        assert(p->n_entries == 0 || p->truncate_from == 0 || p->truncate_from == p->entries[0].index);
        if (p->n_entries == 0 && p->truncate_from > 0)
                (void) add_entries(b, p->truncate_from, NULL, 0);
        for (size_t done = 0; done < p->n_entries;)
                done += add_entries(b, p->entries[done].index, p->entries + done, p->n_entries - done);
        add_hard(b, &p->hs);
}

void wal_batch_snapshot(Buf *b, uint64_t index, uint64_t term) {
        add_mark(b, WAL_SNAPSHOT, index, term, true);
}

void wal_batch_head(Buf *b, const WalSegmentHead *head, const WalTip *tip) {
        size_t at = wal_record_begin(b, WAL_SEGMENT);
        buf_add_le32(b, WAL_VERSION);
        buf_add_le64(b, head->cluster_id);
        buf_add_le64(b, head->node_id);
        buf_add_le64(b, head->seq);
        buf_add_le64(b, head->first_index);
        wal_record_end(b, at, false);
        for (size_t i = WAL_MARKS; i-- > 0;)
                if (tip->marks[i].index > 0)
                        add_mark(b, WAL_SNAPSHOT, tip->marks[i].index, tip->marks[i].term, false);
        add_hard(b, &tip->hs);
}

/* ---- folding ---- */

static int read_hard(const WalRecord *rec, RaftHardState *ret) {
        Rd rd = rd_new(rec->payload, rec->len);
        if (rec->len != 24)
                return -EBADMSG;
        (void) rd_le64(&rd, &ret->term);
        (void) rd_le64(&rd, &ret->vote);
        (void) rd_le64(&rd, &ret->commit);
        return 0;
}

static int read_mark(const WalRecord *rec, WalMark *ret) {
        Rd rd = rd_new(rec->payload, rec->len);
        if (rec->len != 16)
                return -EBADMSG;
        (void) rd_le64(&rd, &ret->index);
        (void) rd_le64(&rd, &ret->term);
        return ret->index > 0 && ret->index < UINT64_MAX ? 0 : -EBADMSG;
}

static int read_entries_head(const WalRecord *rec, uint64_t *ret_from, uint32_t *ret_count) {
        Rd rd = rd_new(rec->payload, rec->len);
        int r = rd_le64(&rd, ret_from);
        if (r == 0)
                r = rd_le32(&rd, ret_count);
        if (r < 0)
                return r;
        return *ret_from > 0 && *ret_from < UINT64_MAX / 2 ? 0 : -EBADMSG;
}

int wal_segment_head_decode(const WalRecord *rec, WalSegmentHead *ret) {
        uint32_t version = 0;
        Rd rd = rd_new(rec->payload, rec->len);
        if (rec->type != WAL_SEGMENT || rec->len != 36)
                return -EBADMSG;
        (void) rd_le32(&rd, &version);
        (void) rd_le64(&rd, &ret->cluster_id);
        (void) rd_le64(&rd, &ret->node_id);
        (void) rd_le64(&rd, &ret->seq);
        (void) rd_le64(&rd, &ret->first_index);
        if (version != WAL_VERSION)
                return -EPROTONOSUPPORT;
        return ret->first_index > 0 && ret->first_index < UINT64_MAX ? 0 : -EBADMSG;
}

/* Newest first. A reset makes everything older useless: the log does not reach back to it. */
static void put_mark(WalMark marks[WAL_MARKS], WalMark m, bool reset) {
        if (reset) {
                marks[0] = marks[1] = m;
        } else if (m.index > marks[0].index) {
                marks[1] = marks[0];
                marks[0] = m;
        }
}

int wal_tip_fold(WalTip *t, const WalRecord *rec) {
        WalMark mark;
        WalSegmentHead head;
        uint64_t from;
        uint32_t count;
        int r = 0;
        switch (rec->type) {
        case WAL_SEGMENT:
                r = wal_segment_head_decode(rec, &head);
                if (r == 0)
                        t->last_index = head.first_index - 1;
                return r;
        case WAL_HARD:
                return read_hard(rec, &t->hs);
        case WAL_ENTRIES:
                r = read_entries_head(rec, &from, &count);
                if (r == 0)
                        t->last_index = from - 1 + count;
                return r;
        case WAL_SNAPSHOT:
        case WAL_RESET:
                r = read_mark(rec, &mark);
                if (r == 0)
                        put_mark(t->marks, mark, rec->type == WAL_RESET);
                if (r == 0 && rec->type == WAL_RESET)
                        t->last_index = mark.index;
                return r;
        case _WAL_RECORD_MAX:
                break;
        }
        return -EBADMSG;
}

static void drop_from(WalState *s, uint64_t index) {
        assert(index >= s->first_index);
        while (s->n_entries > 0 && wal_state_last_index(s) >= index)
                raft_block_unref(s->entries[--s->n_entries].block);
}

static int fold_entries(WalState *s, const WalRecord *rec, Err *err) {
        uint64_t from = 0;
        uint32_t count = 0;
        int r = read_entries_head(rec, &from, &count);
        if (r < 0)
                return err_set(err, r, "a record of entries is malformed");
        if (s->first_index == 0 || from > wal_state_last_index(s) + 1)
                return err_set(err, -EBADMSG,
                               "entries from %" PRIu64 " do not follow the log, which is %" PRIu64
                               " to %" PRIu64,
                               from, s->first_index, s->first_index + s->n_entries - 1);
        /* A segment may begin behind entries that it soon replaces: when it was begun, they were not
         * committed. */
        if (from < s->first_index)
                drop_from(s, s->first_index);
        else
                drop_from(s, from);
        s->first_index = MIN(s->first_index, from);
        if (count == 0)
                return 0;
        /* The payload lives on in one block that the entries share. */
        _cleanup_(raft_block_unrefp) RaftBlock *block = raft_block_dup(rec->payload, rec->len);
        if (!block)
                return err_set(err, -ENOMEM, "not enough memory for a record of %u bytes", rec->len);
        Rd rd = rd_new(block->bytes + ENTRIES_HEAD_BYTES, rec->len - ENTRIES_HEAD_BYTES);
        for (uint32_t i = 0; i < count; i++) {
                RaftEntry e = {};
                r = raft_entry_decode(block, &rd, &e);
                if (r < 0)
                        return err_set(err, -EBADMSG, "the entry at %" PRIu64 " is malformed", from + i);
                uint64_t term = s->n_entries > 0 ? s->entries[s->n_entries - 1].term : 0;
                if (e.index != from + i || e.term < term) {
                        raft_block_unref(e.block);
                        return err_set(err, -EBADMSG, "the entry at %" PRIu64 " is out of order", from + i);
                }
                GROW(s->entries, s->cap_entries, s->n_entries + 1);
                s->entries[s->n_entries++] = e;
        }
        return rd.left == 0 ? 0 : err_set(err, -EBADMSG, "a record of entries has a tail");
}

static int fold_head(WalState *s, const WalRecord *rec, Err *err) {
        WalSegmentHead head = {};
        int r = wal_segment_head_decode(rec, &head);
        if (r == -EPROTONOSUPPORT)
                return err_set(err, r, "the log was written by a newer version of this program");
        if (r < 0)
                return err_set(err, r, "the head of a segment is malformed");
        if (s->first_index == 0) {
                s->cluster_id = head.cluster_id;
                s->node_id = head.node_id;
                s->first_index = head.first_index;
                return 0;
        }
        if (head.cluster_id != s->cluster_id || head.node_id != s->node_id)
                return err_set(err, -EBADMSG, "segments of different members are mixed");
        if (head.first_index != wal_state_last_index(s) + 1)
                return err_set(err, -EBADMSG,
                               "a segment begins at %" PRIu64 " where %" PRIu64 " was expected",
                               head.first_index, wal_state_last_index(s) + 1);
        return 0;
}

int wal_state_fold(WalState *s, const WalRecord *rec, Err *err) {
        WalMark mark = {};
        int r = -EBADMSG;
        switch (rec->type) {
        case WAL_SEGMENT:
                return fold_head(s, rec, err);
        case WAL_ENTRIES:
                return fold_entries(s, rec, err);
        case WAL_HARD:
                r = read_hard(rec, &s->hs);
                break;
        case WAL_SNAPSHOT:
        case WAL_RESET:
                r = read_mark(rec, &mark);
                if (r == 0)
                        put_mark(s->marks, mark, rec->type == WAL_RESET);
                if (r == 0 && rec->type == WAL_RESET) {
                        if (s->n_entries > 0)
                                drop_from(s, s->first_index);
                        s->first_index = mark.index + 1;
                }
                break;
        case _WAL_RECORD_MAX:
                break;
        }
        return r < 0 ? err_set(err, r, "a record of kind %d is malformed", (int) rec->type) : 0;
}

void wal_state_done(WalState *s) {
        raft_entries_free(s->entries, s->n_entries);
        *s = (WalState){};
}
