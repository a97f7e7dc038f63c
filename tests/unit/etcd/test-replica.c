/* SPDX-License-Identifier: Apache-2.0 */

/* The replica's own duties, on one member whose disk is the test: what waits, what is answered, and with
 * what. What several members do together is the simulator's business. */

#include "base/alloc.h"
#include "etcd/replica/replica-internal.h"
#include "test.h"

#define ELECTION (1000 * USEC_PER_MSEC)

typedef struct World {
        Replica *r;
        Usec now;
        uint64_t seq;   /* to persist */
        bool hold_disk; /* leave it there */
        uint64_t applied, views;
        bool refuse;
        char text[256]; /* payloads, as applied */
        ReplicaDone done[64];
        size_t n_done;
        RaftSnapMeta saving, marked;
        void *view;
} World;

static void *apply(void *ctx, uint64_t index, uint64_t term, const void *data, size_t n, uint64_t request) {
        World *w = ctx;
        ASSERT_EQ(index, w->applied + 1);
        w->applied = index;
        if (n > 0 && n < 8)
                strncat(w->text, data, n);
        return request ? xasprintf("result-%llu", (unsigned long long) request) : NULL;
}

static bool apply_conf(void *ctx, uint64_t index, uint64_t term, const RaftConfChange *change,
                       uint64_t request, void **ret) {
        World *w = ctx;
        ASSERT_EQ(index, w->applied + 1);
        w->applied = index;
        if (request)
                *ret = xasprintf("conf-%.*s", (int) change->context_len, (const char *) change->context);
        return !w->refuse;
}

static void free_result(void *ctx, void *result) {
        free(result);
}

static void *snapshot(void *ctx) {
        World *w = ctx;
        return &w->views;
}

static void step(World *w, const ReplicaEvent *ev) {
        ReplicaActions a = { .more = true };
        for (const ReplicaEvent *e = ev; a.more; e = NULL) {
                replica_step(w->r, e, &a);
                replica_check(w->r);
                if (a.persist)
                        w->seq = a.persist->seq;
                for (size_t i = 0; i < a.n_done; i++) {
                        ASSERT_TRUE(w->n_done < ELEMENTSOF(w->done));
                        w->done[w->n_done++] = a.done[i];
                }
                if (a.snapshot) {
                        w->saving = *a.snapshot;
                        w->view = a.snapshot_view;
                        w->views++;
                }
                if (a.mark)
                        w->marked = *a.mark;
        }
}

static void send(World *w, ReplicaEvent ev) {
        ev.now = w->now;
        step(w, &ev);
}

/* Time passes, and the disk writes, until nothing is to be done at once. */
static void settle(World *w) {
        for (unsigned i = 0; i < 100; i++) {
                if (w->seq > 0 && !w->hold_disk) {
                        uint64_t seq = w->seq;
                        w->seq = 0;
                        send(w, (ReplicaEvent){ .type = REPLICA_EV_PERSISTED, .seq = seq });
                } else if (replica_deadline(w->r) <= w->now) {
                        send(w, (ReplicaEvent){ .type = REPLICA_EV_TICK });
                } else {
                        return;
                }
        }
        test_fail(__FILE__, __LINE__, "the replica never rests");
}

static void pass(World *w, Usec t) {
        for (Usec end = w->now + t; w->now < end;) {
                w->now = MIN(end, MAX(w->now + 1, replica_deadline(w->r)));
                settle(w);
        }
}

static void start(World *w, unsigned voters) {
        static const RaftConfChange members[] = { { .type = RAFT_CONF_ADD_VOTER, .id = 1 },
                                                  { .type = RAFT_CONF_ADD_VOTER, .id = 2 } };
        *w = (World){ .now = 1000 };
        ReplicaConfig config = { .raft = { .id = 1,
                                           .seed = 5,
                                           .now = w->now,
                                           .election_timeout = ELECTION,
                                           .heartbeat_interval = ELECTION / 10,
                                           .pre_vote = true,
                                           .check_quorum = true },
                                 .snapshot_entries = 20,
                                 .keep_entries = 5 };
        RaftEntry *first = replica_bootstrap(members, voters);
        ReplicaInitial initial = {
                .raft = { .hs = { .term = 1, .commit = voters }, .entries = first, .n_entries = voters }
        };
        ReplicaMachine machine = { w, apply, apply_conf, free_result, snapshot };
        w->r = replica_new(&config, &initial, &machine, NULL);
        ASSERT_NOT_NULL(w->r);
        raft_entries_free(first, voters);
        settle(w);
        ASSERT_EQ(w->applied, voters);
}

static void end(World *w) {
        for (size_t i = 0; i < w->n_done; i++)
                free(w->done[i].result);
        replica_free(w->r);
}

static void propose(World *w, uint64_t id, const char *text, Usec patience) {
        send(w, (ReplicaEvent){ .type = REPLICA_EV_PROPOSE,
                                .request = { .id = id,
                                             .deadline = w->now + patience,
                                             .data = text,
                                             .len = strlen(text) } });
}

static void ask(World *w, uint64_t id) {
        send(w, (ReplicaEvent){ .type = REPLICA_EV_READ,
                                .request = { .id = id, .deadline = w->now + ELECTION } });
}

TEST(answers_only_after_the_disk) {
        World w;
        start(&w, 1);
        pass(&w, 3 * ELECTION);
        ASSERT_EQ(raft_role(replica_raft(w.r)), RAFT_LEADER);
        ASSERT_TRUE(replica_is_settled_leader(w.r));
        w.hold_disk = true;
        propose(&w, 7, "a", ELECTION);
        propose(&w, 8, "b", ELECTION);
        settle(&w);
        ASSERT_EQ(w.n_done, 0);
        ASSERT_NE(w.seq, 0);
        w.hold_disk = false;
        settle(&w);
        ASSERT_EQ(w.n_done, 2);
        ASSERT_STREQ(w.done[0].result, "result-7");
        ASSERT_STREQ(w.done[1].result, "result-8");
        ASSERT_STREQ(w.text, "ab");
        ASSERT_EQ(w.done[1].index, w.applied);
        end(&w);
}

TEST(waits_for_a_leader_until_the_deadline) {
        World w;
        start(&w, 2); /* the other member never answers */
        propose(&w, 1, "a", ELECTION);
        propose(&w, 2, "b", 4 * ELECTION);
        ask(&w, 3);
        pass(&w, 2 * ELECTION);
        ASSERT_EQ(w.n_done, 2);
        ASSERT_EQ(w.done[0].error, -ETIMEDOUT);
        ASSERT_EQ(w.done[1].error, -ETIMEDOUT);
        size_t proposals, reads;
        replica_pending(w.r, &proposals, &reads);
        ASSERT_EQ(proposals, 1);
        ASSERT_EQ(reads, 0);
        pass(&w, 3 * ELECTION);
        ASSERT_EQ(w.n_done, 3);
        ASSERT_EQ(w.done[2].id, 2);
        end(&w);
}

TEST(a_proposal_made_early_goes_out_with_the_election) {
        World w;
        start(&w, 1);
        propose(&w, 1, "a", 10 * ELECTION);
        ask(&w, 2);
        ASSERT_EQ(w.n_done, 0);
        pass(&w, 3 * ELECTION);
        ASSERT_EQ(w.n_done, 2);
        for (size_t i = 0; i < w.n_done; i++)
                ASSERT_EQ(w.done[i].error, w.done[i].id == 2 ? w.done[i].error : 0);
        end(&w);
}

TEST(limits) {
        World w;
        start(&w, 2);
        char *big = xmalloc(REPLICA_PROPOSAL_BYTES_MAX + 1);
        ReplicaEvent ev = { .type = REPLICA_EV_PROPOSE,
                            .request = { .id = 1,
                                         .deadline = USEC_NEVER,
                                         .data = big,
                                         .len = REPLICA_PROPOSAL_BYTES_MAX + 1 } };
        memset(big, 'x', ev.request.len);
        send(&w, ev);
        ASSERT_EQ(w.n_done, 1);
        ASSERT_EQ(w.done[0].error, -EINVAL);
        ev.request.len = REPLICA_PROPOSAL_BYTES_MAX;
        for (ev.request.id = 2; ev.request.id <= 5; ev.request.id++)
                send(&w, ev);
        ASSERT_EQ(w.n_done, 2); /* four times 16 MiB and the frames do not fit into 64 MiB */
        ASSERT_EQ(w.done[1].error, -EBUSY);
        free(big);
        for (uint64_t id = 10; id < 10 + REPLICA_PENDING_MAX; id++)
                send(&w, (ReplicaEvent){ .type = REPLICA_EV_READ,
                                         .request = { .id = id, .deadline = USEC_NEVER } });
        ASSERT_EQ(w.n_done, 2);
        ask(&w, 9);
        ASSERT_EQ(w.n_done, 3);
        ASSERT_EQ(w.done[2].error, -EBUSY);
        end(&w);
}

TEST(cancelled_requests_are_forgotten) {
        World w;
        start(&w, 1);
        pass(&w, 3 * ELECTION);
        propose(&w, 1, "a", ELECTION);
        send(&w, (ReplicaEvent){ .type = REPLICA_EV_CANCEL, .request.id = 1 });
        w.hold_disk = true;
        propose(&w, 2, "b", ELECTION);
        settle(&w);
        send(&w, (ReplicaEvent){ .type = REPLICA_EV_CANCEL, .request.id = 2 });
        send(&w, (ReplicaEvent){ .type = REPLICA_EV_CANCEL, .request.id = 99 });
        w.hold_disk = false;
        pass(&w, 3 * ELECTION);
        ASSERT_EQ(w.n_done, 0);
        ASSERT_STREQ(w.text, "b");
        end(&w);
}

TEST(a_failed_disk_ends_everything) {
        World w;
        start(&w, 1);
        pass(&w, 3 * ELECTION);
        w.hold_disk = true;
        propose(&w, 1, "a", ELECTION);
        settle(&w);
        propose(&w, 2, "b", ELECTION);
        send(&w, (ReplicaEvent){ .type = REPLICA_EV_STORAGE_FAILED });
        propose(&w, 3, "c", ELECTION);
        ask(&w, 4);
        ASSERT_EQ(w.n_done, 4);
        for (size_t i = 0; i < 4; i++)
                ASSERT_EQ(w.done[i].error, -EIO);
        ASSERT_STREQ(w.text, "");
        ASSERT_TRUE(replica_deadline(w.r) == USEC_NEVER);
        end(&w);
}

static void fill(World *w, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                propose(w, 1000 + w->applied, "12345678", ELECTION);
                settle(w);
        }
        for (size_t i = 0; i < w->n_done; i++)
                free(w->done[i].result);
        w->n_done = 0;
}

TEST(snapshots) {
        World w;
        start(&w, 1);
        pass(&w, 3 * ELECTION);
        fill(&w, 30);
        ASSERT_EQ(w.views, 1);
        ASSERT_EQ(w.saving.index, 20);
        ASSERT_TRUE(raft_conf_is_voter(&w.saving.conf, 1));
        /* Only one at a time; a failed one is tried again after a while. */
        fill(&w, 30);
        ASSERT_EQ(w.views, 1);
        send(&w, (ReplicaEvent){ .type = REPLICA_EV_SNAPSHOT_SAVED, .saved = { .index = 20, .ok = false } });
        ASSERT_EQ(w.marked.index, 0);
        fill(&w, 10);
        ASSERT_EQ(w.views, 2);
        uint64_t index = w.saving.index;
        send(&w,
             (ReplicaEvent){ .type = REPLICA_EV_SNAPSHOT_SAVED, .saved = { .index = index, .ok = true } });
        ASSERT_EQ(w.marked.index, index);
        ASSERT_EQ(replica_snapshot(w.r)->index, index);
        RaftStatus st;
        raft_status(replica_raft(w.r), &st);
        ASSERT_EQ(st.first_index, index - 5 + 1);
        /* News of a snapshot that nobody asked for change nothing. */
        send(&w, (ReplicaEvent){ .type = REPLICA_EV_SNAPSHOT_SAVED, .saved = { .index = 5, .ok = true } });
        ASSERT_EQ(replica_snapshot(w.r)->index, index);
        end(&w);
}

static void change(World *w, uint64_t id, uint64_t member, const char *context) {
        RaftConfChange c = { .type = RAFT_CONF_ADD_LEARNER,
                             .id = member,
                             .context = context,
                             .context_len = strlen(context) };
        send(w, (ReplicaEvent){ .type = REPLICA_EV_CONF_CHANGE,
                                .request = { .id = id, .deadline = w->now + ELECTION, .conf = &c } });
}

TEST(membership_changes) {
        World w;
        start(&w, 1);
        pass(&w, 3 * ELECTION);
        change(&w, 1, 5, "five");
        settle(&w);
        ASSERT_EQ(w.n_done, 1);
        ASSERT_STREQ(w.done[0].result, "conf-five");
        ASSERT_FALSE(w.done[0].refused);
        ASSERT_TRUE(raft_conf_is_learner(raft_conf(replica_raft(w.r)), 5));
        w.refuse = true;
        change(&w, 2, 6, "six");
        settle(&w);
        ASSERT_TRUE(w.done[1].refused);
        ASSERT_FALSE(raft_conf_is_learner(raft_conf(replica_raft(w.r)), 6));
        w.hold_disk = true;
        change(&w, 3, 7, "seven");
        change(&w, 4, 8, "eight");
        settle(&w);
        ASSERT_EQ(w.n_done, 3);
        ASSERT_EQ(w.done[2].id, 4);
        ASSERT_EQ(w.done[2].error, -EALREADY);
        w.hold_disk = false;
        settle(&w);
        ASSERT_EQ(w.n_done, 4);
        end(&w);
}
