/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "raft/raft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Steps a three-node member with a decoded message: whatever a peer sends, no assertion may fail. */
static void feed(const RaftMsg *m) {
        RaftConfig cfg = { .id = 1,
                           .seed = 1,
                           .election_timeout = 1000,
                           .heartbeat_interval = 100,
                           .pre_vote = true,
                           .check_quorum = true };
        RaftInitial init = { .conf = { .n_voters = 3, .voters = { 1, 2, 3 } } };
        _cleanup_(raft_freep) Raft *r = raft_new(&cfg, &init, NULL);
        RaftEvent events[] = {
                { .type = RAFT_EV_RECEIVE, .now = 1, .msg = m },    { .type = RAFT_EV_TICK, .now = 2 },
                { .type = RAFT_EV_RECEIVE, .now = 3, .msg = m },    { .type = RAFT_EV_TICK, .now = 5000 },
                { .type = RAFT_EV_RECEIVE, .now = 5001, .msg = m },
        };
        for (size_t i = 0; i < ELEMENTSOF(events); i++) {
                RaftUpdate u;
                raft_step(r, &events[i], &u);
                raft_check(r);
                if (u.persist.seq && i % 2 == 0) {
                        RaftEvent ev = { .type = RAFT_EV_PERSISTED,
                                         .now = events[i].now,
                                         .seq = u.persist.seq };
                        raft_step(r, &ev, &u);
                }
                if (u.n_committed > 0) {
                        RaftEvent ev = { .type = RAFT_EV_APPLIED,
                                         .now = events[i].now,
                                         .applied.index = u.committed[u.n_committed - 1].index };
                        raft_step(r, &ev, &u);
                }
                raft_check(r);
        }
}

/* What decodes must encode to the same bytes again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size > (1U << 20))
                return 0;
        _cleanup_(raft_block_unrefp) RaftBlock *block = raft_block_dup(data, size);
        _cleanup_(raft_msg_done) RaftMsg m = {};
        if (raft_msg_decode(block, block->bytes, block->size, &m) < 0)
                return 0;
        _cleanup_(buf_done) Buf b = {};
        raft_msg_encode(&m, &b);
        if (b.len != size || memcmp(b.data, data, size) != 0)
                abort();
        feed(&m);
        return 0;
}
