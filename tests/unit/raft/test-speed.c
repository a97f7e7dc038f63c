/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "raft/raft.h"
#include "test.h"

#include <stdio.h>
#include <time.h>

/* Three members in one thread, without disk and network: how much the core itself costs. Each proposal of
 * 128 bytes is an event of its own; CORACLE_PROPOSALS sets how many (measure with an optimised build). */

#define MEMBERS 3

typedef struct Member {
        Raft *raft;
        uint64_t applied;
} Member;

typedef struct Queue {
        RaftMsg *m;
        size_t cap, n;
} Queue;

static Member members[MEMBERS + 1];
static Queue queue;
static uint64_t steps;

static void step(Member *n, RaftEvent ev) {
        RaftUpdate u;
        uint64_t seq = 0, applied = 0;
        ev.now = 1;
        steps++;
        raft_step(n->raft, &ev, &u);
        for (size_t i = 0; i < u.n_messages; i++) {
                GROW(queue.m, queue.cap, queue.n + 1);
                queue.m[queue.n++] = raft_msg_copy(&u.messages[i]);
        }
        seq = u.persist.seq;
        if (u.n_committed > 0)
                applied = n->applied = u.committed[u.n_committed - 1].index;
        if (seq)
                step(n, (RaftEvent){ .type = RAFT_EV_PERSISTED, .seq = seq });
        if (applied) {
                step(n, (RaftEvent){ .type = RAFT_EV_APPLIED, .applied.index = applied });
                if (applied % 4096 < 64 && applied > 10000)
                        step(n, (RaftEvent){ .type = RAFT_EV_COMPACT, .index = applied - 5000 });
        }
}

static void deliver_all(void) {
        while (queue.n > 0) {
                Queue now = queue;
                queue = (Queue){};
                for (size_t i = 0; i < now.n; i++) {
                        step(&members[now.m[i].to],
                             (RaftEvent){ .type = RAFT_EV_RECEIVE, .msg = &now.m[i] });
                        raft_msg_done(&now.m[i]);
                }
                free(now.m);
        }
}

static double seconds(void) {
        struct timespec t;
        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void measure(uint64_t count, unsigned depth) {
        double start = seconds();
        steps = 0;
        uint64_t first = members[1].applied;
        for (uint64_t done = 0; done < count; done += depth) {
                for (unsigned i = 0; i < depth; i++) {
                        RaftBlock *b = raft_block_new(128);
                        memset(b->bytes, 'x', 128);
                        RaftProposal p = { .block = b, .data = b->bytes, .len = 128 };
                        step(&members[1],
                             (RaftEvent){ .type = RAFT_EV_PROPOSE, .propose = { .items = &p, .n = 1 } });
                        raft_block_unref(b);
                }
                deliver_all();
        }
        ASSERT_TRUE(members[1].applied >= first + count);
        ASSERT_EQ(members[1].applied, members[2].applied);
        double took = seconds() - start;
        printf("# depth %u: %.0f proposals/s on three members, %.2f steps each, %.0f ns per step\n", depth,
               (double) count / took, (double) steps / (double) count, took * 1e9 / (double) steps);
}

TEST(three_members_in_memory) {
        uint64_t count = 4096;
        const char *wish = getenv("CORACLE_PROPOSALS");
        if (wish)
                ASSERT_OK(parse_u64(wish, &count));
        for (unsigned id = 1; id <= MEMBERS; id++) {
                RaftConfig cfg = { .id = id,
                                   .seed = id,
                                   .election_timeout = 1000,
                                   .heartbeat_interval = 100,
                                   .pre_vote = true };
                RaftInitial init = { .conf = { .n_voters = MEMBERS, .voters = { 1, 2, 3 } } };
                members[id].raft = raft_new(&cfg, &init, NULL);
        }
        step(&members[1], (RaftEvent){ .type = RAFT_EV_CAMPAIGN });
        deliver_all();
        ASSERT_EQ(raft_role(members[1].raft), RAFT_LEADER);
        const unsigned depths[] = { 1, 64, 1024 };
        for (size_t i = 0; i < ELEMENTSOF(depths); i++)
                measure(count / depths[i] * depths[i], depths[i]);
        for (unsigned id = 1; id <= MEMBERS; id++)
                members[id].raft = raft_free(members[id].raft);
}
