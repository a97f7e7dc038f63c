/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "raft/raft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One member against peers, a disk and a state machine that do what the input says. Peers may lie as they
 * like; disk and state machine keep the driver's contract. No assertion may fail. */

typedef struct Driver {
        Raft *raft;
        Rd rd;
        Usec now;
        uint64_t seq, saved; /* writes handed out, confirmed */
        uint64_t handed, applied;
        RaftBlock *block;
} Driver;

static uint8_t next(Driver *d) {
        uint8_t v = 0;
        (void) rd_u8(&d->rd, &v);
        return v;
}

static void step(Driver *d, RaftEvent ev) {
        RaftUpdate u;
        ev.now = d->now;
        raft_step(d->raft, &ev, &u);
        raft_check(d->raft);
        if (u.persist.seq) {
                if (u.persist.seq != ++d->seq)
                        abort();
                if (u.persist.snapshot && u.persist.snapshot->index <= d->applied)
                        abort();
        }
        uint64_t last = 0;
        for (size_t i = 0; i < u.n_committed; i++) {
                if (i > 0 && u.committed[i].index != last + 1)
                        abort();
                last = u.committed[i].index;
        }
        if (u.n_committed > 0) {
                if (u.committed[0].index <= d->handed)
                        abort(); /* twice */
                d->handed = last;
        }
        _cleanup_(buf_done) Buf b = {};
        for (size_t i = 0; i < u.n_messages; i++)
                if (u.messages[i].type != RAFT_MSG_SNAP)
                        raft_msg_encode(&u.messages[i], &b);
}

static void message(Driver *d) {
        RaftMsg m = { .type = 1 + next(d) % (_RAFT_MSG_TYPE_MAX - 1), .from = next(d) % 5, .to = 1 };
        uint8_t flags = next(d);
        m.reject = flags & 1;
        m.force = flags & 2;
        m.term = flags & 4 ? raft_term(d->raft) : next(d);
        m.index = flags & 8 ? raft_last_index(d->raft) : next(d);
        m.log_term = next(d);
        m.commit = next(d);
        m.hint = next(d);
        m.context = next(d);
        if (flags & 32) /* as far out as it goes */
                m.term = m.index = m.commit = UINT64_MAX - next(d);
        RaftSnapMeta snap = { .index = m.index,
                              .term = m.log_term,
                              .conf = { .n_voters = 2, .voters = { 1, 3 } } };
        if (flags & 16)
                m.snap = &snap;
        RaftEntry e[4] = {};
        m.n_entries = (flags >> 6) % 4;
        for (size_t i = 0; i < m.n_entries; i++) {
                uint8_t kind = next(d);
                e[i] = (RaftEntry){ .index = m.index + 1 + i, .term = kind & 1 ? m.term : next(d) };
                if (kind & 2)
                        e[i].index = next(d);
                if (kind & 4) {
                        e[i].type = kind & 8 ? RAFT_ENTRY_CONF : RAFT_ENTRY_NORMAL;
                        e[i].block = d->block;
                        e[i].data = d->block->bytes + (kind >> 4);
                        e[i].len = (uint32_t) d->block->size - (kind >> 4);
                }
        }
        m.entries = e;
        step(d, (RaftEvent){ .type = RAFT_EV_RECEIVE, .msg = &m });
}

static void request(Driver *d, uint8_t op) {
        RaftProposal items[2] = { { .block = d->block, .data = d->block->bytes, .len = 3 },
                                  { .block = d->block, .data = d->block->bytes, .len = 5 } };
        RaftConfChange change = { .type = next(d) % 6, .id = next(d) % 5 };
        switch (op) {
        case 0:
                step(d, (RaftEvent){ .type = RAFT_EV_PROPOSE, .propose = { .items = items, .n = 2 } });
                return;
        case 1:
                step(d, (RaftEvent){ .type = RAFT_EV_CONF_CHANGE, .conf = &change });
                return;
        case 2:
                step(d, (RaftEvent){ .type = RAFT_EV_READ_INDEX, .read_context = 1 + next(d) });
                return;
        case 3:
                step(d, (RaftEvent){ .type = RAFT_EV_TRANSFER, .peer = next(d) % 5 });
                return;
        case 4:
                step(d, (RaftEvent){ .type = RAFT_EV_UNREACHABLE, .peer = next(d) % 5 });
                return;
        case 5:
                step(d, (RaftEvent){ .type = RAFT_EV_SNAPSHOT_STATUS,
                                     .snapshot = { .peer = next(d) % 5,
                                                   .index = next(d),
                                                   .ok = next(d) & 1 } });
                return;
        default:
                step(d, (RaftEvent){ .type = RAFT_EV_CAMPAIGN });
        }
}

static void own(Driver *d, uint8_t op) {
        RaftStatus s;
        raft_status(d->raft, &s);
        switch (op) {
        case 0: /* some writes finish */
                if (d->saved < d->seq) {
                        d->saved += 1 + next(d) % (d->seq - d->saved);
                        step(d, (RaftEvent){ .type = RAFT_EV_PERSISTED, .seq = d->saved });
                }
                raft_status(d->raft, &s);
                d->applied = MAX(d->applied, s.applied); /* a snapshot that is in place */
                d->handed = MAX(d->handed, d->applied);
                return;
        case 1:
                if (d->applied < d->handed) {
                        d->applied = d->handed;
                        step(d, (RaftEvent){ .type = RAFT_EV_APPLIED,
                                             .applied = { .index = d->applied, .conf_veto = next(d) & 1 } });
                }
                return;
        case 2:
                if (s.applied >= s.first_index && s.applied <= s.last_index)
                        step(d, (RaftEvent){ .type = RAFT_EV_COMPACT,
                                             .index = s.first_index +
                                                      next(d) % (s.applied - s.first_index + 1) });
                return;
        default:
                d->now += (Usec) next(d) * 20;
                step(d, (RaftEvent){ .type = RAFT_EV_TICK });
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size > 4096)
                return 0;
        _cleanup_(buf_done) Buf b = {};
        raft_conf_change_encode(&(RaftConfChange){ .type = RAFT_CONF_ADD_VOTER, .id = 4 }, &b);
        _cleanup_(raft_block_unrefp) RaftBlock *block = raft_block_new(b.len + 16);
        memset(block->bytes, 1, block->size);
        memcpy(block->bytes, b.data, b.len);
        Driver d = { .rd = rd_new(data, size), .block = block, .now = 1 };
        uint8_t kind = next(&d);
        RaftConfig cfg = { .id = 1,
                           .seed = 1,
                           .election_timeout = 1000,
                           .heartbeat_interval = 100,
                           .pre_vote = kind & 1,
                           .check_quorum = kind & 2,
                           .max_inflight = 2,
                           .max_batch_bytes = kind & 4 ? 1 : 0,
                           .max_uncommitted_bytes = 1000 };
        RaftInitial init = { .conf = { .n_voters = kind & 8 ? 1 : 3, .voters = { 1, 2, 3 } } };
        if (kind & 16)
                init.snap_index = init.applied = 5, init.snap_term = init.hs.term = 2;
        d.handed = d.applied = init.applied;
        d.raft = raft_new(&cfg, &init, NULL);
        while (d.rd.left > 0) {
                uint8_t op = next(&d);
                if (op < 96)
                        message(&d);
                else if (op < 160)
                        request(&d, op % 8);
                else
                        own(&d, op % 4);
        }
        raft_free(d.raft);
        return 0;
}
