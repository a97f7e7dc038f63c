/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster.h"

/* How long a cluster is without leader when its leader dies, at etcd's default timers (heartbeat 100 ms,
 * election 1 s), with 5 ms for each message and 5 ms for each write. The aim: the first write succeeds
 * within 2 s. */

#define STEP (5 * USEC_PER_MSEC)

static void pass(Cluster *c, unsigned n) {
        for (unsigned id = 1; id <= n; id++) {
                Node *node = &c->nodes[id];
                node->now += STEP;
                RaftEvent ev = { .type = RAFT_EV_TICK };
                if (node->raft && node->now >= raft_deadline(node->raft))
                        step(c, node, &ev);
        }
        (void) deliver(c, 0, 0, 0, SIZE_MAX, false);
        for (unsigned id = 1; id <= n; id++)
                persist(c, &c->nodes[id], SIZE_MAX);
}

/* A leader whose no-op is committed. */
static Node *ready(Cluster *c, unsigned n) {
        for (unsigned id = 1; id <= n; id++) {
                Node *node = &c->nodes[id];
                uint64_t term;
                if (node->raft && raft_role(node->raft) == RAFT_LEADER &&
                    raft_term_at(node->raft, raft_commit(node->raft), &term) == 0 &&
                    term == raft_term(node->raft))
                        return node;
        }
        return NULL;
}

static Usec fail_over(uint64_t seed, unsigned n) {
        _cleanup_(buf_done) Buf out = {};
        Cluster *c = xnew(Cluster, 1);
        c->out = &out;
        c->quiet = true;
        for (unsigned id = 1; id <= n; id++) {
                Node *node = &c->nodes[id];
                node->id = id;
                node->cfg = (RaftConfig){ .id = id,
                                          .seed = seed * 100 + id,
                                          .election_timeout = 1000 * USEC_PER_MSEC,
                                          .heartbeat_interval = 100 * USEC_PER_MSEC,
                                          .pre_vote = true,
                                          .check_quorum = true };
                node->hold_disk = true;
                for (unsigned k = 1; k <= n; k++)
                        node->saved.conf.voters[node->saved.conf.n_voters++] = k;
                node_start(c, node);
        }
        while (!ready(c, n))
                pass(c, n);
        for (uint64_t i = 0; i < 100 + seed % 40; i++) /* die at any moment between two heartbeats */
                pass(c, n);
        node_crash(ready(c, n));
        Usec took = 0;
        for (; !ready(c, n) && took < 20 * USEC_PER_SEC; took += STEP)
                pass(c, n);
        ASSERT_EQ(c->violations, 0);
        cluster_free(c);
        return took;
}

static void measure(unsigned n, unsigned runs) {
        unsigned late = 0;
        Usec sum = 0, most = 0;
        for (unsigned seed = 1; seed <= runs; seed++) {
                Usec took = fail_over(seed, n);
                sum += took;
                most = MAX(most, took);
                late += took > 1900 * USEC_PER_MSEC;
        }
        printf("# %u members: mean %.2f s, longest %.2f s, %u of %u above 1.9 s\n", n,
               (double) sum / runs / 1e6, (double) most / 1e6, late, runs);
        ASSERT_TRUE(late * 200 <= runs);
}

TEST(fail_over_of_three) {
        measure(3, 400);
}

TEST(fail_over_of_five) {
        measure(5, 200);
}
