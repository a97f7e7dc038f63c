/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/raft.h"
#include "test.h"

/* A member that was added after the leader's newest snapshot was taken must accept that snapshot, though its
 * membership does not name it yet; otherwise it can never catch up (simulator, seed 113). */
TEST(snapshot_older_than_own_membership) {
        RaftConfig config = { .id = 4,
                              .seed = 1,
                              .election_timeout = 1000000,
                              .heartbeat_interval = 100000,
                              .pre_vote = true,
                              .check_quorum = true };
        RaftInitial nothing = {};
        _cleanup_(raft_freep) Raft *r = raft_new(&config, &nothing, NULL);
        ASSERT_NOT_NULL(r);
        RaftSnapMeta meta = { .index = 104, .term = 3, .conf = { .n_voters = 3, .voters = { 1, 2, 3 } } };
        RaftMsg head = { .type = RAFT_MSG_SNAP, .from = 1, .to = 4, .term = 5, .index = 104, .snap = &meta };
        ASSERT_TRUE(raft_wants_snapshot(r, &head));
        RaftEvent ev = { .type = RAFT_EV_RECEIVE, .now = 10, .msg = &head };
        RaftUpdate u;
        raft_step(r, &ev, &u);
        ASSERT_NE(u.persist.seq, 0);
        ASSERT_NOT_NULL(u.persist.snapshot);
        ASSERT_EQ(u.persist.snapshot->index, 104);
        ev = (RaftEvent){ .type = RAFT_EV_PERSISTED, .now = 20, .seq = u.persist.seq };
        raft_step(r, &ev, &u);
        ASSERT_TRUE(raft_conf_is_voter(raft_conf(r), 1));
        ASSERT_FALSE(raft_conf_is_voter(raft_conf(r), 4));
        /* It does not stand for election while it is no member. */
        ev = (RaftEvent){ .type = RAFT_EV_TICK, .now = 10000000 };
        raft_step(r, &ev, &u);
        ASSERT_EQ(raft_role(r), RAFT_FOLLOWER);
}
