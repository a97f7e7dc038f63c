/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "raft/raft-log.h"
#include "raft/raft.h"
#include "test.h"

#include <stdio.h>

/* The parts by themselves, and what the transcripts do not reach: hostile messages, damaged disks, limits.
 */

static RaftEntry entry(uint64_t term, uint64_t index, const char *text) {
        RaftBlock *b = *text ? raft_block_dup(text, strlen(text)) : NULL;
        return (RaftEntry){ .term = term,
                            .index = index,
                            .len = b ? (uint32_t) b->size : 0,
                            .data = b ? b->bytes : NULL,
                            .block = b };
}

static void entry_done(RaftEntry *e) {
        e->block = raft_block_unref(e->block);
}

static void log_add(RaftLog *l, uint64_t term, const char *text) {
        RaftEntry e = entry(term, raft_log_last(l) + 1, text);
        raft_log_append(l, &e);
        entry_done(&e);
}

/* ---- messages on the wire ---- */

static int decode(const void *p, size_t n, RaftMsg *ret) {
        _cleanup_(raft_block_unrefp) RaftBlock *b = raft_block_dup(p, n);
        return raft_msg_decode(b, b->bytes, b->size, ret);
}

static RaftMsg sample(RaftSnapMeta *snap, RaftEntry *e) {
        *snap = (RaftSnapMeta){
                .index = 9,
                .term = 3,
                .conf = { .n_voters = 2, .voters = { 1, 5 }, .n_learners = 1, .learners = { 3 } }
        };
        return (RaftMsg){ .type = RAFT_MSG_APP,
                          .reject = true,
                          .force = true,
                          .from = 1,
                          .to = 0xfedcba9876543210,
                          .term = 3,
                          .index = 4,
                          .log_term = 5,
                          .commit = 6,
                          .hint = 7,
                          .context = 8,
                          .entries = e,
                          .n_entries = 2,
                          .snap = snap };
}

TEST(codec_round_trip) {
        RaftEntry e[2] = { entry(3, 5, "payload"), entry(3, 6, "") };
        RaftSnapMeta snap;
        RaftMsg m = sample(&snap, e);
        _cleanup_(buf_done) Buf b = {};
        raft_msg_encode(&m, &b);
        _cleanup_(raft_msg_done) RaftMsg got = {};
        ASSERT_OK(decode(b.data, b.len, &got));
        ASSERT_EQ(got.type, RAFT_MSG_APP);
        ASSERT_TRUE(got.reject && got.force);
        ASSERT_EQ(got.to, 0xfedcba9876543210);
        ASSERT_EQ(got.context, 8);
        ASSERT_EQ(got.n_entries, 2);
        ASSERT_EQ(got.entries[0].len, 7);
        ASSERT_EQ(memcmp(got.entries[0].data, "payload", 7), 0);
        ASSERT_NULL(got.entries[1].block);
        ASSERT_TRUE(raft_conf_equal(&got.snap->conf, &snap.conf));
        _cleanup_(buf_done) Buf again = {};
        raft_msg_encode(&got, &again);
        ASSERT_EQ(again.len, b.len);
        ASSERT_EQ(memcmp(again.data, b.data, b.len), 0);
        RaftMsg copy = raft_msg_copy(&got);
        ASSERT_EQ(copy.entries[0].block->refs, 2);
        raft_msg_done(&copy);
        entry_done(&e[0]);
}

/* Every prefix and every extension is refused, and so is each broken field. */
TEST(codec_rejects) {
        RaftEntry e[2] = { entry(3, 5, "payload"), entry(3, 6, "") };
        RaftSnapMeta snap;
        RaftMsg m = sample(&snap, e);
        _cleanup_(buf_done) Buf b = {};
        raft_msg_encode(&m, &b);
        RaftMsg got = {};
        for (size_t n = 0; n < b.len; n++)
                ASSERT_EQ(decode(b.data, n, &got), -EBADMSG);
        buf_addc(&b, 0);
        ASSERT_EQ(decode(b.data, b.len, &got), -EBADMSG);
        buf_truncate(&b, b.len - 1);
        const struct {
                size_t at;
                char value;
                int error;
        } cases[] = {
                { 0, 2, -EPROTONOSUPPORT },                     /* version */
                { 1, 0, -EBADMSG },                             /* type */
                { 1, 99, -EBADMSG },        { 2, 8, -EBADMSG }, /* flags */
                { 3, 1, -EBADMSG },                             /* zero */
                { 84, 33, -EBADMSG },                           /* voters */
                { 85, 9, -EBADMSG },                            /* not ascending */
                { 85, 0, -EBADMSG },                            /* member 0 */
                { 102, 1, -EBADMSG },                           /* a learner that is a voter */
                { 112, 1, -E2BIG },                             /* 65538 entries */
                { 113, 1, -E2BIG },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char was = b.data[cases[i].at];
                b.data[cases[i].at] = cases[i].value;
                ASSERT_EQ(decode(b.data, b.len, &got), cases[i].error);
                b.data[cases[i].at] = was;
        }
        ASSERT_OK(decode(b.data, b.len, &got));
        raft_msg_done(&got);
        entry_done(&e[0]);
}

TEST(entry_codec_limits) {
        _cleanup_(buf_done) Buf b = {};
        buf_add_le64(&b, 1);
        buf_add_le64(&b, 1);
        buf_addc(&b, 7); /* type */
        buf_add_le32(&b, 0);
        _cleanup_(raft_block_unrefp) RaftBlock *block = raft_block_dup(b.data, b.len);
        Rd rd = rd_new(block->bytes, block->size);
        RaftEntry e = {};
        ASSERT_EQ(raft_entry_decode(block, &rd, &e), -EBADMSG);
        ASSERT_EQ(rd.left, b.len); /* untouched on failure */
        block->bytes[16] = 0;
        block->bytes[20] = 0xff; /* 4 GiB */
        ASSERT_EQ(raft_entry_decode(block, &rd, &e), -E2BIG);
        block->bytes[20] = 0;
        block->bytes[17] = 1;
        ASSERT_EQ(raft_entry_decode(block, &rd, &e), -EBADMSG);
        block->bytes[17] = 0;
        ASSERT_OK(raft_entry_decode(block, &rd, &e));
        ASSERT_EQ(rd.left, 0);
        ASSERT_STREQ(raft_msg_type_name(0), "?");
        ASSERT_STREQ(raft_msg_type_name(RAFT_MSG_SNAP), "Snap");
        ASSERT_STREQ(raft_role_name(77), "?");
        ASSERT_STREQ(raft_drop_name(RAFT_DROP_FULL), "too much is uncommitted");
        ASSERT_STREQ(raft_drop_name(77), "?");
        ASSERT_STREQ(raft_progress_name(77), "?");
}

/* ---- membership ---- */

static int change(RaftConf *c, RaftConfChangeType type, uint64_t id) {
        return raft_conf_apply(c, &(RaftConfChange){ .type = type, .id = id });
}

TEST(conf_changes) {
        RaftConf c = {};
        ASSERT_EQ(change(&c, RAFT_CONF_ADD_VOTER, 0), -EINVAL);
        ASSERT_EQ(change(&c, RAFT_CONF_REMOVE, 4), -EALREADY);
        ASSERT_OK(change(&c, RAFT_CONF_ADD_VOTER, 5));
        ASSERT_OK(change(&c, RAFT_CONF_ADD_VOTER, 2));
        ASSERT_EQ(c.voters[0], 2);
        ASSERT_EQ(change(&c, RAFT_CONF_ADD_VOTER, 2), -EALREADY);
        ASSERT_OK(change(&c, RAFT_CONF_ADD_LEARNER, 9));
        ASSERT_EQ(change(&c, RAFT_CONF_ADD_LEARNER, 9), -EALREADY);
        ASSERT_EQ(change(&c, RAFT_CONF_ADD_LEARNER, 2), -EINVAL);
        ASSERT_OK(change(&c, RAFT_CONF_UPDATE, 9));
        ASSERT_EQ(change(&c, RAFT_CONF_UPDATE, 10), -EINVAL);
        ASSERT_EQ(change(&c, 77, 10), -EINVAL);
        ASSERT_OK(change(&c, RAFT_CONF_ADD_VOTER, 9)); /* promoted */
        ASSERT_EQ(c.n_learners, 0);
        ASSERT_EQ(c.n_voters, 3);
        ASSERT_OK(change(&c, RAFT_CONF_REMOVE, 5));
        ASSERT_OK(change(&c, RAFT_CONF_REMOVE, 2));
        ASSERT_EQ(change(&c, RAFT_CONF_REMOVE, 9), -EINVAL); /* the last voter stays */
        for (uint64_t id = 100; c.n_voters < RAFT_MEMBERS_MAX; id++)
                ASSERT_OK(change(&c, RAFT_CONF_ADD_VOTER, id));
        ASSERT_EQ(change(&c, RAFT_CONF_ADD_VOTER, 1), -E2BIG);
        for (uint64_t id = 200; c.n_learners < RAFT_MEMBERS_MAX; id++)
                ASSERT_OK(change(&c, RAFT_CONF_ADD_LEARNER, id));
        ASSERT_EQ(change(&c, RAFT_CONF_ADD_LEARNER, 1), -E2BIG);
        _cleanup_(buf_done) Buf b = {};
        raft_conf_encode(&c, &b);
        RaftConf got = {};
        Rd rd = rd_new(b.data, b.len);
        ASSERT_OK(raft_conf_decode(&rd, &got));
        ASSERT_TRUE(raft_conf_equal(&c, &got));
        RaftConfChange cc = {};
        ASSERT_EQ(raft_conf_change_decode("\x01\x01", 2, &cc), -EBADMSG);
        ASSERT_EQ(raft_conf_change_decode("\x02\x01\x01\0\0\0\0\0\0\0", 10, &cc), -EBADMSG);
        ASSERT_EQ(raft_conf_change_decode("\x01\x09\x01\0\0\0\0\0\0\0", 10, &cc), -EBADMSG);
        ASSERT_OK(raft_conf_change_decode("\x01\x03\x01\0\0\0\0\0\0\0ctx", 13, &cc));
        ASSERT_EQ(cc.context_len, 3);
}

/* ---- the log ---- */

TEST(log_operations) {
        RaftLog l = {};
        raft_log_reset(&l, 10, 2);
        ASSERT_EQ(raft_log_last_term(&l), 2);
        for (unsigned i = 0; i < 6; i++)
                log_add(&l, 2 + i / 2, "xy"); /* terms 2 2 3 3 4 4 at 11..16 */
        ASSERT_EQ(l.bytes, 12);
        ASSERT_TRUE(raft_log_matches(&l, 10, 2));
        ASSERT_TRUE(raft_log_matches(&l, 3, 1)); /* below the base: committed */
        ASSERT_TRUE(raft_log_matches(&l, 13, 3));
        ASSERT_FALSE(raft_log_matches(&l, 13, 2));
        ASSERT_FALSE(raft_log_matches(&l, 17, 4));
        ASSERT_EQ(raft_log_term(&l, 9), 0);
        ASSERT_EQ(raft_log_term(&l, 17), 0);
        ASSERT_EQ(raft_log_conflict(&l, 99, 3), 14);
        ASSERT_EQ(raft_log_conflict(&l, 16, 1), 10);
        raft_log_truncate(&l, 15);
        ASSERT_EQ(raft_log_last(&l), 14);
        raft_log_compact(&l, 13);
        ASSERT_EQ(l.snap_term, 3);
        ASSERT_EQ(l.bytes, 2);
        raft_log_compact(&l, 14);
        ASSERT_EQ(raft_log_last(&l), 14);
        for (unsigned i = 0; i < 9000; i++)
                log_add(&l, 5, "x");
        raft_log_compact(&l, 9000); /* memory goes back */
        ASSERT_TRUE(l.cap < 4096);
        ASSERT_EQ(raft_log_at(&l, 9014)->index, 9014);
        for (unsigned i = 0; i < 500; i++) { /* slides within its array */
                log_add(&l, 5, "x");
                raft_log_compact(&l, raft_log_last(&l) - 3);
        }
        ASSERT_EQ(l.n, 3);
        raft_log_reset(&l, 20000, 6);
        ASSERT_EQ(l.bytes, 0);
        raft_log_done(&l);
}

/* ---- creation ---- */

static const RaftConfig config_ok = {
        .id = 1, .seed = 1, .election_timeout = 1000, .heartbeat_interval = 100
};

static void refused(const RaftConfig *cfg, const RaftInitial *init, int code, const char *msg) {
        _cleanup_(err_done) Err err = {};
        ASSERT_NULL(raft_new(cfg, init, &err));
        ASSERT_EQ(err.code, code);
        ASSERT_STREQ(err_msg(&err), msg);
}

TEST(start_checks) {
        RaftInitial init = {};
        RaftConfig cfg = config_ok;
        cfg.id = 0;
        refused(&cfg, &init, -EINVAL, "raft: the member id may not be 0");
        cfg = config_ok;
        cfg.election_timeout = 100;
        refused(&cfg, &init, -EINVAL, "raft: the election timeout must be above the heartbeat interval");
        cfg = config_ok;
        cfg.max_inflight = RAFT_INFLIGHT_LIMIT + 1;
        refused(&cfg, &init, -EINVAL, "raft: max_inflight above 4096");
        cfg = config_ok;
        cfg.max_batch_bytes = RAFT_ENTRY_BYTES_MAX + 1;
        refused(&cfg, &init, -EINVAL, "raft: max_batch_bytes above 67108864");
        RaftEntry e[3] = { entry(1, 5, ""), entry(2, 6, ""), entry(2, 7, "") };
        init = (RaftInitial){ .hs = { .term = 2 },
                              .snap_index = 4,
                              .snap_term = 1,
                              .applied = 4,
                              .entries = e,
                              .n_entries = 3 };
        _cleanup_(raft_freep) Raft *r = raft_new(&config_ok, &init, NULL);
        ASSERT_NOT_NULL(r);
        uint64_t term = 0;
        ASSERT_OK(raft_term_at(r, 4, &term));
        ASSERT_EQ(term, 1);
        ASSERT_EQ(raft_term_at(r, 3, &term), -ENODATA);
        ASSERT_EQ(raft_term_at(r, 8, &term), -ERANGE);
        ASSERT_NULL(raft_entry_at(r, 4));
        ASSERT_EQ(raft_entry_at(r, 7)->term, 2);
        ASSERT_EQ(raft_leader(r), 0);
        ASSERT_EQ(raft_commit(r), 4);
        ASSERT_EQ(raft_deadline(r), USEC_NEVER); /* no member */
        init.hs.term = 1;
        refused(&config_ok, &init, -EUCLEAN, "raft: the log reaches term 2, the saved term is 1");
        init.hs = (RaftHardState){ .term = 2, .commit = 8 };
        refused(&config_ok, &init, -EUCLEAN, "raft: entry 8 was committed, but the log ends at 7");
        init.hs.commit = 0;
        init.applied = 3;
        refused(&config_ok, &init, -EUCLEAN, "raft: the state machine is at 3, the log covers 4 to 7");
        init.applied = 8;
        refused(&config_ok, &init, -EUCLEAN, "raft: the state machine is at 8, the log covers 4 to 7");
        init.applied = 4;
        e[1].index = 7;
        refused(&config_ok, &init, -EUCLEAN, "raft: log entry 7 where 6 should be");
        e[1] = (RaftEntry){ .index = 6, .term = 0 };
        refused(&config_ok, &init, -EUCLEAN, "raft: log entry 6 has term 0 after 1");
}

/* ---- hostile or confused peers ---- */

static Raft *member(uint64_t id, uint64_t term) {
        RaftConfig cfg = config_ok;
        cfg.id = id;
        cfg.pre_vote = cfg.check_quorum = true;
        RaftInitial init = { .hs = { .term = term }, .conf = { .n_voters = 3, .voters = { 1, 2, 3 } } };
        return raft_new(&cfg, &init, NULL);
}

static void feed(Raft *r, RaftMsg m, Usec now, RaftUpdate *u) {
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_RECEIVE, .now = now, .msg = &m }, u);
        raft_check(r);
        if (u->persist.seq) {
                RaftUpdate u2;
                raft_step(r, &(RaftEvent){ .type = RAFT_EV_PERSISTED, .now = now, .seq = u->persist.seq },
                          &u2);
                for (size_t i = 0; i < u2.n_messages && u->n_messages == 0; i++)
                        *u = u2;
        }
}

/* Makes r the leader of its next term, with the answers of peer 2. */
static void elect(Raft *r) {
        RaftUpdate u;
        uint64_t id = raft_term(r) + 1;
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_CAMPAIGN, .now = 1 }, &u);
        feed(r, (RaftMsg){ .type = RAFT_MSG_PRE_VOTE_RESP, .from = 2, .to = 1, .term = id }, 2, &u);
        feed(r, (RaftMsg){ .type = RAFT_MSG_VOTE_RESP, .from = 2, .to = 1, .term = id }, 3, &u);
        ASSERT_EQ(raft_role(r), RAFT_LEADER);
}

TEST(nonsense_to_follower) {
        _cleanup_(raft_freep) Raft *r = member(1, 2);
        RaftUpdate u;
        feed(r, (RaftMsg){ .type = RAFT_MSG_HEARTBEAT, .from = 2, .to = 7, .term = 5 }, 1,
             &u); /* for another */
        ASSERT_EQ(raft_term(r), 2);
        feed(r, (RaftMsg){ .type = RAFT_MSG_HEARTBEAT, .from = 1, .to = 1, .term = 5 }, 1,
             &u); /* from ourselves */
        feed(r, (RaftMsg){ .type = RAFT_MSG_HEARTBEAT, .from = 0, .to = 1, .term = 5 }, 1, &u);
        ASSERT_EQ(raft_term(r), 2);
        feed(r, (RaftMsg){ .type = RAFT_MSG_HEARTBEAT, .from = 2, .to = 1, .term = 2, .commit = 99 }, 1, &u);
        ASSERT_EQ(raft_commit(r), 0);
        /* A second leader of the same term is not believed. */
        RaftEntry e[2] = { entry(2, 1, "a"), entry(2, 2, "b") };
        RaftMsg app = { .type = RAFT_MSG_APP,
                        .from = 3,
                        .to = 1,
                        .term = 2,
                        .entries = e,
                        .n_entries = 2,
                        .commit = 2 };
        feed(r, app, 2, &u);
        ASSERT_EQ(raft_last_index(r), 0);
        app.from = 2;
        e[1].index = 3; /* a gap */
        feed(r, app, 2, &u);
        ASSERT_EQ(raft_last_index(r), 0);
        e[1].index = 2;
        e[1].term = 1; /* terms go down */
        feed(r, app, 2, &u);
        e[1].term = 3; /* newer than the leader */
        feed(r, app, 2, &u);
        app.index = UINT64_MAX;
        feed(r, app, 2, &u);
        ASSERT_EQ(raft_last_index(r), 0);
        app.index = 0;
        e[1].term = 2;
        feed(r, app, 3, &u);
        ASSERT_EQ(raft_last_index(r), 2);
        ASSERT_EQ(raft_commit(r), 2);
        entry_done(&e[0]);
        entry_done(&e[1]);
}

TEST(nonsense_against_committed) {
        _cleanup_(raft_freep) Raft *r = member(1, 2);
        RaftUpdate u;
        RaftEntry e[2] = { entry(2, 1, "a"), entry(2, 2, "b") };
        RaftMsg app = { .type = RAFT_MSG_APP,
                        .from = 2,
                        .to = 1,
                        .term = 2,
                        .entries = e,
                        .n_entries = 2,
                        .commit = 2 };
        feed(r, app, 3, &u);
        ASSERT_EQ(raft_commit(r), 2);
        /* Something else where entries are committed: kept as it is. */
        e[0].term = 1;
        feed(r, app, 3, &u);
        RaftEntry x = entry(2, 2, "evil");
        x.term = 3;
        feed(r,
             (RaftMsg){ .type = RAFT_MSG_APP,
                        .from = 2,
                        .to = 1,
                        .term = 3,
                        .index = 1,
                        .log_term = 2,
                        .entries = &x,
                        .n_entries = 1 },
             4, &u);
        ASSERT_EQ(raft_entry_at(r, 2)->term, 2);
        feed(r, (RaftMsg){ .type = RAFT_MSG_SNAP, .from = 2, .to = 1, .term = 3 }, 4, &u); /* no metadata */
        ASSERT_EQ(u.n_messages, 0);
        feed(r, (RaftMsg){ .type = RAFT_MSG_APP_RESP, .from = 2, .to = 1, .term = 3, .index = 7 }, 4, &u);
        feed(r, (RaftMsg){ .type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .to = 1, .term = 3, .context = 7 }, 4,
             &u);
        feed(r, (RaftMsg){ .type = RAFT_MSG_READ_INDEX_RESP, .from = 3, .to = 1, .term = 3, .context = 7 },
             4, &u);
        ASSERT_EQ(u.n_reads, 0);
        feed(r, (RaftMsg){ .type = RAFT_MSG_TIMEOUT_NOW, .from = 3, .to = 1, .term = 3 }, 4,
             &u); /* not our leader */
        ASSERT_EQ(raft_role(r), RAFT_FOLLOWER);
        feed(r, (RaftMsg){ .type = RAFT_MSG_PROP, .from = 3, .to = 1, .entries = e, .n_entries = 1 }, 4, &u);
        ASSERT_EQ(u.n_messages, 0);
        for (size_t i = 0; i < 2; i++)
                entry_done(&e[i]);
        entry_done(&x);
}

/* Votes that nobody asked for, before our own is durable, elect nobody (fuzz-raft-step). */
TEST(unasked_votes) {
        _cleanup_(raft_freep) Raft *r = member(1, 2);
        RaftUpdate u;
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_CAMPAIGN, .now = 1 }, &u);
        RaftMsg yes = { .type = RAFT_MSG_PRE_VOTE_RESP, .from = 2, .to = 1, .term = 3 };
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_RECEIVE, .now = 1, .msg = &yes }, &u);
        ASSERT_EQ(raft_role(r), RAFT_CANDIDATE);
        uint64_t seq = u.persist.seq;
        ASSERT_EQ(u.n_messages, 0); /* the requests wait for the disk as well */
        yes.type = RAFT_MSG_VOTE_RESP;
        for (yes.from = 2; yes.from <= 3; yes.from++) {
                raft_step(r, &(RaftEvent){ .type = RAFT_EV_RECEIVE, .now = 1, .msg = &yes }, &u);
                ASSERT_EQ(raft_role(r), RAFT_CANDIDATE);
        }
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_PERSISTED, .now = 1, .seq = seq }, &u);
        ASSERT_EQ(raft_role(r), RAFT_LEADER);
}

TEST(nonsense_to_leader) {
        _cleanup_(raft_freep) Raft *r = member(1, 2);
        elect(r);
        RaftUpdate u;
        feed(r, (RaftMsg){ .type = RAFT_MSG_APP_RESP, .from = 2, .to = 1, .term = 3, .index = 999 }, 4, &u);
        ASSERT_EQ(raft_commit(r), 0);
        feed(r, (RaftMsg){ .type = RAFT_MSG_APP_RESP, .from = 9, .to = 1, .term = 3, .index = 1 }, 4, &u);
        feed(r, (RaftMsg){ .type = RAFT_MSG_HEARTBEAT_RESP, .from = 9, .to = 1, .term = 3, .context = 1 }, 4,
             &u);
        ASSERT_EQ(raft_commit(r), 0);
        feed(r,
             (RaftMsg){ .type = RAFT_MSG_APP_RESP,
                        .from = 2,
                        .to = 1,
                        .term = 3,
                        .reject = true,
                        .index = 0,
                        .hint = UINT64_MAX,
                        .log_term = UINT64_MAX },
             4, &u);
        feed(r, (RaftMsg){ .type = RAFT_MSG_APP, .from = 2, .to = 1, .term = 3, .index = 5 }, 4, &u);
        ASSERT_EQ(raft_role(r), RAFT_LEADER);
        RaftEntry empty = { .type = RAFT_ENTRY_NORMAL };
        feed(r, (RaftMsg){ .type = RAFT_MSG_PROP, .from = 2, .to = 1, .entries = &empty, .n_entries = 1 }, 4,
             &u);
        RaftEntry bad = entry(0, 0, "not a change");
        bad.type = RAFT_ENTRY_CONF;
        feed(r, (RaftMsg){ .type = RAFT_MSG_PROP, .from = 2, .to = 1, .entries = &bad, .n_entries = 1 }, 4,
             &u);
        RaftEntry two[2] = { bad, bad };
        feed(r, (RaftMsg){ .type = RAFT_MSG_PROP, .from = 2, .to = 1, .entries = two, .n_entries = 2 }, 4,
             &u);
        ASSERT_EQ(raft_last_index(r), 1); /* the no-op only */
        /* Acked in one answer, above everything: the read round is not confirmed by a number nobody asked
         * for. */
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_READ_INDEX, .now = 5, .read_context = 77 }, &u);
        feed(r, (RaftMsg){ .type = RAFT_MSG_APP_RESP, .from = 2, .to = 1, .term = 3, .index = 1 }, 5, &u);
        ASSERT_EQ(raft_commit(r), 1);
        feed(r, (RaftMsg){ .type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .to = 1, .term = 3, .context = 500 },
             5, &u);
        ASSERT_EQ(u.n_reads, 0);
        feed(r, (RaftMsg){ .type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .to = 1, .term = 3, .context = 1 }, 5,
             &u);
        ASSERT_EQ(u.n_reads, 1);
        ASSERT_EQ(u.reads[0].index, 1);
        entry_done(&bad);
}

/* ---- limits ---- */

TEST(read_limit) {
        _cleanup_(raft_freep) Raft *r = member(1, 0);
        elect(r);
        RaftUpdate u;
        unsigned dropped = 0;
        for (uint64_t i = 1; i <= RAFT_READS_PENDING_MAX + 3; i++) {
                raft_step(r, &(RaftEvent){ .type = RAFT_EV_READ_INDEX, .now = 5, .read_context = i }, &u);
                dropped += u.n_reads == 1 && u.reads[0].dropped;
        }
        ASSERT_EQ(dropped, 3);
        /* Losing leadership gives all of them back. */
        RaftMsg newer = { .type = RAFT_MSG_HEARTBEAT, .from = 3, .to = 1, .term = 9 };
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_RECEIVE, .now = 6, .msg = &newer }, &u);
        ASSERT_EQ(u.n_reads, RAFT_READS_PENDING_MAX);
        /* And a follower that is refused by its leader gets its own back. */
        feed(r,
             (RaftMsg){ .type = RAFT_MSG_READ_INDEX_RESP,
                        .from = 3,
                        .to = 1,
                        .term = 9,
                        .context = 5,
                        .reject = true },
             7, &u);
        ASSERT_TRUE(u.n_reads == 1 && u.reads[0].dropped);
}

TEST(proposal_limits) {
        _cleanup_(raft_freep) Raft *r = member(1, 0);
        RaftUpdate u;
        _cleanup_(raft_block_unrefp) RaftBlock *b = raft_block_dup("x", 1);
        RaftProposal one = { .block = b, .data = b->bytes, .len = 1 };
        RaftEvent ev = { .type = RAFT_EV_PROPOSE, .now = 1, .propose = { .items = &one, .n = 1 } };
        raft_step(r, &ev, &u);
        ASSERT_EQ(u.dropped, RAFT_DROP_NO_LEADER);
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_TRANSFER, .now = 1, .peer = 2 }, &u);
        ASSERT_EQ(u.dropped, RAFT_DROP_NO_LEADER);
        elect(r);
        RaftProposal *many = xnew(RaftProposal, RAFT_MSG_ENTRIES_MAX + 1);
        for (size_t i = 0; i <= RAFT_MSG_ENTRIES_MAX; i++)
                many[i] = one;
        ev.propose.items = many;
        ev.propose.n = RAFT_MSG_ENTRIES_MAX + 1;
        raft_step(r, &ev, &u);
        ASSERT_EQ(u.dropped, RAFT_DROP_FULL);
        ev.propose.n = 0;
        raft_step(r, &ev, &u);
        ASSERT_EQ(u.dropped, RAFT_DROP_NONE);
        ev.propose.n = 20;
        raft_step(r, &ev, &u);
        ASSERT_EQ(u.first_index, 2);
        ASSERT_EQ(u.persist.n_entries, 20);
        ASSERT_EQ(b->refs, 21);
        many[3].len = 0;
        raft_step(r, &ev, &u);
        ASSERT_EQ(u.dropped, RAFT_DROP_INVALID);
        free(many);
}

/* A follower with a veto: the state machine may refuse a membership change. */
TEST(conf_veto) {
        RaftConfChange m = { .type = RAFT_CONF_ADD_VOTER, .id = 1 };
        RaftEntry *boot = raft_bootstrap(&m, 1);
        RaftInitial init = { .hs = { .term = 1, .commit = 1 }, .entries = boot, .n_entries = 1 };
        _cleanup_(raft_freep) Raft *r = raft_new(&config_ok, &init, NULL);
        raft_entries_free(boot, 1);
        RaftUpdate u;
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_TICK, .now = 1 }, &u);
        ASSERT_EQ(u.n_committed, 1);
        RaftEvent applied = { .type = RAFT_EV_APPLIED,
                              .now = 1,
                              .applied = { .index = 1, .conf_veto = true } };
        raft_step(r, &applied, &u);
        ASSERT_FALSE(u.conf_changed);
        ASSERT_EQ(raft_conf(r)->n_voters, 0);
}

/* Time that goes backwards is no time; a stopped core answers nothing. */
TEST(clock_and_stop) {
        _cleanup_(raft_freep) Raft *r = member(1, 0);
        RaftUpdate u;
        Usec deadline = raft_deadline(r);
        ASSERT_TRUE(deadline >= 1000 && deadline < 2000);
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_TICK, .now = deadline - 1 }, &u);
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_TICK, .now = 5 }, &u);
        ASSERT_EQ(raft_role(r), RAFT_FOLLOWER);
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_TICK, .now = deadline }, &u);
        ASSERT_EQ(raft_role(r), RAFT_PRE_CANDIDATE);
        ASSERT_TRUE(u.state_changed);
        raft_step(r, &(RaftEvent){ .type = RAFT_EV_STORAGE_FAILED, .now = 5 }, &u);
        ASSERT_EQ(raft_deadline(r), USEC_NEVER);
        feed(r, (RaftMsg){ .type = RAFT_MSG_VOTE, .from = 2, .to = 1, .term = 9 }, 9000, &u);
        ASSERT_EQ(u.n_messages, 0);
        ASSERT_EQ(u.persist.seq, 0);
        ASSERT_EQ(raft_term(r), 0);
        RaftMsg head = { .type = RAFT_MSG_SNAP, .from = 2, .to = 1, .term = 9 };
        ASSERT_FALSE(raft_wants_snapshot(r, &head));
        ASSERT_NULL(raft_free(NULL));
        ASSERT_NULL(raft_block_ref(NULL));
}
