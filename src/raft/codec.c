/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "raft/raft.h"

/* The wire form of a message, all numbers little-endian:
 *
 *      u8 version (1) | u8 type | u8 flags (1 reject, 2 force, 4 snap) | u8 zero
 *      u64 from, to, term, index, log_term, commit, hint, context
 *      [flag 4:  u64 index, u64 term, u8 n, u64 voters[n], u8 n, u64 learners[n]]
 *      u32 entry count, then the entries
 *
 * and of an entry: u64 term | u64 index | u8 type | u32 length | payload. Framing (a length before each
 * message) belongs to the transport. */

#define CODEC_VERSION 1
#define FLAG_REJECT 1U
#define FLAG_FORCE 2U
#define FLAG_SNAP 4U
#define ENTRY_HEAD_BYTES 21U

void raft_entry_encode(const RaftEntry *e, Buf *to) {
        buf_add_le64(to, e->term);
        buf_add_le64(to, e->index);
        buf_addc(to, (char) e->type);
        buf_add_le32(to, e->len);
        if (e->len > 0)
                buf_add(to, e->data, e->len);
}

int raft_entry_decode(RaftBlock *block, Rd *rd, RaftEntry *ret) {
        Rd at = *rd;
        RaftEntry e = {};
        uint8_t type;
        const void *data;
        if (rd_le64(&at, &e.term) < 0 || rd_le64(&at, &e.index) < 0 || rd_u8(&at, &type) < 0 ||
            rd_le32(&at, &e.len) < 0)
                return -EBADMSG;
        if (type >= _RAFT_ENTRY_TYPE_MAX)
                return -EBADMSG;
        if (e.len > RAFT_ENTRY_BYTES_MAX)
                return -E2BIG;
        if (rd_mem(&at, e.len, &data) < 0)
                return -EBADMSG;
        e.type = type;
        if (e.len > 0) {
                assert((const uint8_t *) data >= block->bytes);
                assert((const uint8_t *) data + e.len <= block->bytes + block->size);
                e.data = data;
                e.block = raft_block_ref(block);
        }
        *rd = at;
        *ret = e;
        return 0;
}

static void snap_encode(const RaftSnapMeta *s, Buf *to) {
        buf_add_le64(to, s->index);
        buf_add_le64(to, s->term);
        raft_conf_encode(&s->conf, to);
}

void raft_msg_encode(const RaftMsg *m, Buf *to) {
        assert(m->type > 0 && m->type < _RAFT_MSG_TYPE_MAX);
        assert(m->n_entries <= RAFT_MSG_ENTRIES_MAX);
        unsigned flags = (m->reject ? FLAG_REJECT : 0) | (m->force ? FLAG_FORCE : 0) |
                         (m->snap ? FLAG_SNAP : 0);
        buf_addc(to, CODEC_VERSION);
        buf_addc(to, (char) m->type);
        buf_addc(to, (char) flags);
        buf_addc(to, 0);
        const uint64_t fields[] = { m->from,     m->to,     m->term, m->index,
                                    m->log_term, m->commit, m->hint, m->context };
        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                buf_add_le64(to, fields[i]);
        if (m->snap)
                snap_encode(m->snap, to);
        buf_add_le32(to, (uint32_t) m->n_entries);
        for (size_t i = 0; i < m->n_entries; i++)
                raft_entry_encode(&m->entries[i], to);
}

static int head_decode(Rd *rd, RaftMsg *m, bool *ret_snap) {
        uint8_t version, type, flags, zero;
        if (rd_u8(rd, &version) < 0)
                return -EBADMSG;
        if (version != CODEC_VERSION)
                return -EPROTONOSUPPORT;
        if (rd_u8(rd, &type) < 0 || rd_u8(rd, &flags) < 0 || rd_u8(rd, &zero) < 0)
                return -EBADMSG;
        if (type == 0 || type >= _RAFT_MSG_TYPE_MAX || zero != 0 ||
            (flags & ~(FLAG_REJECT | FLAG_FORCE | FLAG_SNAP)) != 0)
                return -EBADMSG;
        uint64_t *fields[] = { &m->from,     &m->to,     &m->term, &m->index,
                               &m->log_term, &m->commit, &m->hint, &m->context };
        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                if (rd_le64(rd, fields[i]) < 0)
                        return -EBADMSG;
        m->type = type;
        m->reject = flags & FLAG_REJECT;
        m->force = flags & FLAG_FORCE;
        *ret_snap = flags & FLAG_SNAP;
        return 0;
}

static int entries_decode(RaftBlock *block, Rd *rd, RaftMsg *m) {
        uint32_t count;
        if (rd_le32(rd, &count) < 0)
                return -EBADMSG;
        if (count > RAFT_MSG_ENTRIES_MAX)
                return -E2BIG;
        if (count > rd->left / ENTRY_HEAD_BYTES) /* before memory is taken for it */
                return -EBADMSG;
        if (count == 0)
                return 0;
        RaftEntry *e = xnew(RaftEntry, count);
        for (uint32_t i = 0; i < count; i++) {
                int r = raft_entry_decode(block, rd, &e[i]);
                if (r < 0) {
                        raft_entries_free(e, i);
                        return r;
                }
        }
        m->entries = e;
        m->n_entries = count;
        return 0;
}

int raft_msg_decode(RaftBlock *block, const void *p, size_t n, RaftMsg *ret) {
        Rd rd = rd_new(p, n);
        _cleanup_(raft_msg_done) RaftMsg m = {};
        bool has_snap = false;
        int r = head_decode(&rd, &m, &has_snap);
        if (r < 0)
                return r;
        if (has_snap) {
                RaftSnapMeta *s = xnew(RaftSnapMeta, 1);
                m.snap = s;
                if (rd_le64(&rd, &s->index) < 0 || rd_le64(&rd, &s->term) < 0 ||
                    raft_conf_decode(&rd, &s->conf) < 0)
                        return -EBADMSG;
        }
        r = entries_decode(block, &rd, &m);
        if (r < 0)
                return r;
        if (rd.left > 0)
                return -EBADMSG;
        *ret = m;
        m = (RaftMsg){};
        return 0;
}

static const char *const msg_type_names[_RAFT_MSG_TYPE_MAX] = {
        [RAFT_MSG_PROP] = "Prop",
        [RAFT_MSG_APP] = "App",
        [RAFT_MSG_APP_RESP] = "AppResp",
        [RAFT_MSG_PRE_VOTE] = "PreVote",
        [RAFT_MSG_PRE_VOTE_RESP] = "PreVoteResp",
        [RAFT_MSG_VOTE] = "Vote",
        [RAFT_MSG_VOTE_RESP] = "VoteResp",
        [RAFT_MSG_HEARTBEAT] = "Heartbeat",
        [RAFT_MSG_HEARTBEAT_RESP] = "HeartbeatResp",
        [RAFT_MSG_SNAP] = "Snap",
        [RAFT_MSG_READ_INDEX] = "ReadIndex",
        [RAFT_MSG_READ_INDEX_RESP] = "ReadIndexResp",
        [RAFT_MSG_TIMEOUT_NOW] = "TimeoutNow",
        [RAFT_MSG_TRANSFER] = "Transfer",
};

const char *raft_msg_type_name(RaftMsgType t) {
        return (size_t) t < ELEMENTSOF(msg_type_names) && msg_type_names[t] ? msg_type_names[t] : "?";
}
