/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A cluster in memory for tests of the core: nodes with a disk that keeps only what was written, a network
 * that is a queue of messages, and a state machine that is a hash chain. Everything it does is appended to
 * one text, which tests compare. No faults by chance here (that is sim/'s work): the script says what
 * happens. */

#include "base/alloc.h"
#include "base/hash.h"
#include "base/str.h"
#include "raft/raft.h"
#include "test.h"

#include <stdarg.h>
#include <stdio.h>

#define NODES_MAX 9
#define INDEX_MAX 100000
#define READS_MAX 4096

typedef struct Write {
        uint64_t seq;
        RaftHardState hs;
        bool has_snap;
        RaftSnapMeta snap;
        uint64_t sm_hash; /* state machine content that came with the snapshot */
        uint64_t truncate_from;
        RaftEntry *entries;
        size_t n_entries;
} Write;

typedef struct Node {
        uint64_t id;
        Raft *raft; /* NULL while crashed */
        RaftConfig cfg;
        Usec now;
        bool hold_disk, hold_apply;
        /* durable */
        RaftHardState hs;
        uint64_t base, base_term; /* the log starts after it */
        RaftEntry *log;
        size_t log_cap, n_log;
        RaftSnapMeta saved; /* state machine on disk */
        uint64_t saved_hash;
        /* in memory */
        Write *writes;
        size_t writes_cap, n_writes;
        uint64_t applied, handed, hash;
        RaftConf conf; /* as of applied */
        RaftEntry *apply;
        size_t apply_cap, n_apply;
        RaftRole role;
        uint64_t staged_hash; /* content of the snapshot that is being received */
} Node;

typedef struct Envelope {
        RaftMsg m;
        uint64_t sm_hash;
} Envelope;

typedef struct Cluster {
        Node nodes[NODES_MAX + 1]; /* by id */
        Envelope *net;
        size_t net_cap, n_net;
        bool cut[NODES_MAX + 1][NODES_MAX + 1];
        bool quiet;
        Buf *out;
        uint64_t chain[INDEX_MAX]; /* hash after each index, by whoever applied it first */
        uint64_t commit_term[INDEX_MAX];
        uint64_t leader_of[1024];       /* by term */
        uint64_t max_applied;           /* by anybody */
        uint64_t read_floor[READS_MAX]; /* by context: what was applied somewhere when the read was asked */
        unsigned violations;
        Node *tracing;
} Cluster;

static void say(Cluster *c, const char *fmt, ...) _printf_(2, 3);
static void say(Cluster *c, const char *fmt, ...) {
        if (c->quiet)
                return;
        char line[512];
        va_list ap;
        va_start(ap, fmt);
        (void) vsnprintf(line, sizeof(line), fmt, ap);
        va_end(ap);
        buf_addf(c->out, "%s\n", line);
}

static void violation(Cluster *c, const char *what, uint64_t id, uint64_t index) {
        buf_addf(c->out, "VIOLATION: %s (node %" PRIu64 ", %" PRIu64 ")\n", what, id, index);
        c->violations++;
}

static void on_trace(void *ctx, const char *line) {
        Cluster *c = ctx;
        say(c, "  %" PRIu64 " %s", c->tracing ? c->tracing->id : 0, line);
}

static const char *entry_text(const RaftEntry *e, char *buf, size_t n) {
        if (e->type == RAFT_ENTRY_CONF) {
                static const char *const names[] = { "?", "add-voter", "add-learner", "remove", "update" };
                RaftConfChange cc = {};
                (void) raft_conf_change_decode(e->data, e->len, &cc);
                (void) snprintf(buf, n, "%s %" PRIu64, names[cc.type], cc.id);
        } else
                (void) snprintf(buf, n, "\"%.*s\"", (int) MIN(e->len, 24U),
                                e->len ? (const char *) e->data : "");
        return buf;
}

static void msg_text(const RaftMsg *m, Buf *b) {
        buf_addf(b, "%" PRIu64 "->%" PRIu64 " %s", m->from, m->to, raft_msg_type_name(m->type));
        if (m->term)
                buf_addf(b, " term %" PRIu64, m->term);
        if (m->type == RAFT_MSG_APP || m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PRE_VOTE)
                buf_addf(b, " log %" PRIu64 ".%" PRIu64, m->log_term, m->index);
        else if (m->index)
                buf_addf(b, " index %" PRIu64, m->index);
        if (m->hint && m->type != RAFT_MSG_APP_RESP)
                buf_addf(b, " hint %" PRIu64, m->hint);
        if (m->type == RAFT_MSG_APP_RESP && m->reject)
                buf_addf(b, " hint %" PRIu64 ".%" PRIu64, m->log_term, m->hint);
        if (m->commit)
                buf_addf(b, " commit %" PRIu64, m->commit);
        if (m->context)
                buf_addf(b, " context %" PRIu64, m->context);
        if (m->reject)
                buf_adds(b, " rejected");
        if (m->force)
                buf_adds(b, " force");
        if (m->snap)
                buf_addf(b, " snapshot %" PRIu64 ".%" PRIu64, m->snap->term, m->snap->index);
        for (size_t i = 0; i < m->n_entries && i < 8; i++) {
                char t[64];
                buf_addf(b, " [%" PRIu64 ".%" PRIu64 " %s]", m->entries[i].term, m->entries[i].index,
                         entry_text(&m->entries[i], t, sizeof(t)));
        }
        if (m->n_entries > 8)
                buf_addf(b, " and %zu more", m->n_entries - 8);
}

static void step(Cluster *c, Node *n, const RaftEvent *event);

/* ---- disk ---- */

static void disk_append(Node *n, const RaftEntry *e, size_t count) {
        for (size_t i = 0; i < count; i++) {
                assert(e[i].index > n->base);
                while (n->n_log > 0 && n->log[n->n_log - 1].index >= e[i].index)
                        raft_block_unref(n->log[--n->n_log].block);
                assert(e[i].index == n->base + n->n_log + 1);
                GROW(n->log, n->log_cap, n->n_log + 1);
                n->log[n->n_log++] = e[i];
                raft_block_ref(e[i].block);
        }
}

static void disk_reset(Node *n, uint64_t index, uint64_t term) {
        while (n->n_log > 0)
                raft_block_unref(n->log[--n->n_log].block);
        n->base = index;
        n->base_term = term;
}

static void disk_compact(Node *n, uint64_t index) {
        size_t k = index - n->base;
        assert(k <= n->n_log);
        if (k == 0)
                return;
        n->base_term = n->log[k - 1].term;
        for (size_t i = 0; i < k; i++)
                raft_block_unref(n->log[i].block);
        memmove(n->log, n->log + k, (n->n_log - k) * sizeof(*n->log));
        n->n_log -= k;
        n->base = index;
}

static void write_done(Write *w) {
        raft_entries_free(w->entries, w->n_entries);
}

static void disk_write(Cluster *c, Node *n, const Write *w) {
        if (w->has_snap) {
                disk_reset(n, w->snap.index, w->snap.term);
                n->saved = w->snap;
                n->saved_hash = w->sm_hash;
        }
        if (w->truncate_from) {
                assert(w->truncate_from > n->base);
                while (n->n_log > 0 && n->log[n->n_log - 1].index >= w->truncate_from)
                        raft_block_unref(n->log[--n->n_log].block);
        }
        disk_append(n, w->entries, w->n_entries);
        n->hs = w->hs;
        if (w->has_snap) { /* the live state switches with the write */
                n->applied = n->handed = w->snap.index;
                n->hash = w->sm_hash;
                n->conf = w->snap.conf;
                if (w->snap.index < INDEX_MAX && c->chain[w->snap.index] != w->sm_hash)
                        violation(c, "snapshot content differs", n->id, w->snap.index);
                while (n->n_apply > 0)
                        raft_block_unref(n->apply[--n->n_apply].block);
        }
}

/* Completes the oldest `count` writes. */
static void persist(Cluster *c, Node *n, size_t count) {
        while (n->raft && count-- > 0 && n->n_writes > 0) {
                Write w = n->writes[0];
                memmove(n->writes, n->writes + 1, --n->n_writes * sizeof(w));
                disk_write(c, n, &w);
                write_done(&w);
                RaftEvent ev = { .type = RAFT_EV_PERSISTED, .seq = w.seq };
                step(c, n, &ev);
        }
}

/* ---- state machine ---- */

static void apply_one(Cluster *c, Node *n, const RaftEntry *e) {
        char t[64];
        if (e->index != n->applied + 1)
                violation(c, "applied out of order", n->id, e->index);
        const uint64_t head[2] = { e->index, e->term };
        const uint8_t key[16] = { 1 };
        n->hash = siphash24(head, sizeof(head), key) ^ (n->hash * 31) ^ siphash24(e->data, e->len, key);
        n->applied = e->index;
        c->max_applied = MAX(c->max_applied, e->index);
        say(c, "  %" PRIu64 " applies %" PRIu64 ".%" PRIu64 " %s", n->id, e->term, e->index,
            entry_text(e, t, sizeof(t)));
        if (e->index < INDEX_MAX) {
                if (c->chain[e->index] == 0)
                        c->chain[e->index] = n->hash;
                else if (c->chain[e->index] != n->hash)
                        violation(c, "state machines differ", n->id, e->index);
        }
}

static void apply(Cluster *c, Node *n) {
        while (n->raft && n->n_apply > 0) {
                RaftEntry *list = n->apply;
                size_t count = n->n_apply;
                n->apply = NULL;
                n->n_apply = n->apply_cap = 0;
                for (size_t i = 0; i < count; i++) {
                        apply_one(c, n, &list[i]);
                        RaftConfChange cc;
                        if (list[i].type == RAFT_ENTRY_CONF &&
                            raft_conf_change_decode(list[i].data, list[i].len, &cc) >= 0)
                                (void) raft_conf_apply(&n->conf, &cc);
                }
                RaftEvent ev = { .type = RAFT_EV_APPLIED, .applied.index = n->applied };
                raft_entries_free(list, count);
                step(c, n, &ev);
                if (n->raft && !raft_conf_equal(raft_conf(n->raft), &n->conf) && n->n_writes == 0)
                        violation(c, "membership differs from the state machine's", n->id, n->applied);
        }
}

/* ---- network ---- */

static void enqueue(Cluster *c, Node *n, const RaftMsg *m) {
        if (m->to == 0 || m->to > NODES_MAX)
                return;
        Envelope e = { .m = raft_msg_copy(m) };
        if (m->type == RAFT_MSG_SNAP) {
                RaftSnapMeta *s = xnew(RaftSnapMeta, 1);
                s->index = n->applied;
                s->conf = n->conf;
                ASSERT_OK(raft_term_at(n->raft, n->applied, &s->term));
                ASSERT_TRUE(s->index >= m->index);
                e.m.snap = s;
                e.sm_hash = n->hash;
        }
        GROW(c->net, c->net_cap, c->n_net + 1);
        c->net[c->n_net++] = e;
}

static void snapshot_status(Cluster *c, const RaftMsg *m, bool ok) {
        Node *from = &c->nodes[m->from];
        if (!from->raft)
                return;
        RaftEvent ev = { .type = RAFT_EV_SNAPSHOT_STATUS,
                         .snapshot = { .peer = m->to, .index = m->snap->index, .ok = ok } };
        step(c, from, &ev);
}

static void deliver_one(Cluster *c, Envelope *e) {
        Node *to = &c->nodes[e->m.to];
        _cleanup_(buf_done) Buf b = {};
        msg_text(&e->m, &b);
        bool lost = !to->raft || c->cut[e->m.from][e->m.to];
        say(c, "%s%s", b.data, lost ? " (lost)" : "");
        if (!lost) {
                /* Through the wire form, as in life. */
                _cleanup_(buf_done) Buf wire = {};
                raft_msg_encode(&e->m, &wire);
                _cleanup_(raft_block_unrefp) RaftBlock *block = raft_block_dup(wire.data, wire.len);
                _cleanup_(raft_msg_done) RaftMsg m = {};
                ASSERT_OK(raft_msg_decode(block, block->bytes, block->size, &m));
                to->staged_hash = e->sm_hash;
                bool wants = m.type == RAFT_MSG_SNAP && raft_wants_snapshot(to->raft, &m);
                RaftEvent ev = { .type = RAFT_EV_RECEIVE, .msg = &m };
                size_t writes = to->n_writes;
                step(c, to, &ev);
                if (wants && to->n_writes == writes && to->hold_disk)
                        violation(c, "a wanted snapshot was not taken", to->id, m.snap->index);
        }
        if (e->m.type == RAFT_MSG_SNAP)
                snapshot_status(c, &e->m, !lost);
        raft_msg_done(&e->m);
}

/* Delivers what is in the queue now (matching the filter; 0 means any). Returns how many. */
static size_t deliver(Cluster *c, uint64_t from, uint64_t to, int type, size_t limit, bool drop) {
        size_t n = c->n_net, done = 0, keep = 0;
        Envelope *list = c->net;
        c->net = NULL;
        c->n_net = c->net_cap = 0;
        for (size_t i = 0; i < n; i++) {
                const RaftMsg *m = &list[i].m;
                bool match = (!from || m->from == from) && (!to || m->to == to) &&
                             (!type || (int) m->type == type) && done < limit;
                if (!match) {
                        list[keep++] = list[i];
                        continue;
                }
                done++;
                if (drop) {
                        _cleanup_(buf_done) Buf b = {};
                        msg_text(m, &b);
                        say(c, "%s (dropped)", b.data);
                        if (m->type == RAFT_MSG_SNAP)
                                snapshot_status(c, m, false);
                        raft_msg_done(&list[i].m);
                } else
                        deliver_one(c, &list[i]);
        }
        /* What stayed goes before what was sent meanwhile. */
        GROW(list, n, keep + c->n_net + 1);
        if (c->n_net > 0)
                memcpy(list + keep, c->net, c->n_net * sizeof(*list));
        free(c->net);
        c->net = list;
        c->n_net += keep;
        c->net_cap = n;
        return done;
}

/* ---- one step of one node ---- */

static void take_persist(Cluster *c, Node *n, const RaftPersist *p) {
        Write w = { .seq = p->seq,
                    .hs = p->hs,
                    .truncate_from = p->truncate_from,
                    .entries = raft_entries_copy(p->entries, p->n_entries),
                    .n_entries = p->n_entries };
        if (p->snapshot) {
                w.has_snap = true;
                w.snap = *p->snapshot;
                w.sm_hash = n->staged_hash;
        }
        GROW(n->writes, n->writes_cap, n->n_writes + 1);
        n->writes[n->n_writes++] = w;
        if (n->hold_disk)
                say(c, "  %" PRIu64 " writes #%" PRIu64 ": term %" PRIu64 " vote %" PRIu64 ", %zu entries%s",
                    n->id, p->seq, p->hs.term, p->hs.vote, p->n_entries, p->snapshot ? ", snapshot" : "");
}

static void check_leader_once(Cluster *c, Node *n) {
        if (raft_role(n->raft) != RAFT_LEADER)
                return;
        uint64_t term = raft_term(n->raft);
        if (term < ELEMENTSOF(c->leader_of)) {
                if (c->leader_of[term] == 0)
                        c->leader_of[term] = n->id;
                else if (c->leader_of[term] != n->id)
                        violation(c, "two leaders in one term", n->id, term);
        }
}

static void step(Cluster *c, Node *n, const RaftEvent *event) {
        if (!n->raft)
                return;
        RaftEvent ev = *event;
        ev.now = n->now;
        RaftUpdate u;
        c->tracing = n;
        raft_step(n->raft, &ev, &u);
        c->tracing = NULL;
        raft_check(n->raft);
        check_leader_once(c, n);
        for (size_t i = 0; i < u.n_messages; i++)
                enqueue(c, n, &u.messages[i]);
        for (size_t i = 0; i < u.n_reads; i++) {
                uint64_t context = u.reads[i].context;
                if (!u.reads[i].dropped && context < READS_MAX && u.reads[i].index < c->read_floor[context])
                        violation(c, "stale read", n->id, context);
                if (u.reads[i].dropped)
                        say(c, "  %" PRIu64 " read %" PRIu64 " dropped", n->id, u.reads[i].context);
                else
                        say(c, "  %" PRIu64 " read %" PRIu64 " at index %" PRIu64, n->id, u.reads[i].context,
                            u.reads[i].index);
        }
        if (u.dropped)
                say(c, "  %" PRIu64 " refused: %s", n->id, raft_drop_name(u.dropped));
        for (size_t i = 0; i < u.n_committed; i++) {
                GROW(n->apply, n->apply_cap, n->n_apply + 1);
                n->apply[n->n_apply++] = u.committed[i];
                raft_block_ref(u.committed[i].block);
        }
        if (u.persist.seq)
                take_persist(c, n, &u.persist);
        if (!n->hold_disk)
                persist(c, n, SIZE_MAX);
        if (!n->hold_apply)
                apply(c, n);
}

/* ---- life of a node ---- */

static void node_start(Cluster *c, Node *n) {
        RaftInitial init = { .hs = n->hs,
                             .snap_index = n->base,
                             .snap_term = n->base_term,
                             .applied = n->saved.index,
                             .conf = n->saved.conf,
                             .entries = n->log,
                             .n_entries = n->n_log };
        n->cfg.now = n->now;
        n->cfg.trace = on_trace;
        n->cfg.trace_ctx = c;
        n->applied = n->handed = n->saved.index;
        n->hash = n->saved_hash;
        n->conf = n->saved.conf;
        _cleanup_(err_done) Err err = {};
        c->tracing = n;
        n->raft = raft_new(&n->cfg, &init, &err);
        c->tracing = NULL;
        if (!n->raft)
                test_fail(__FILE__, __LINE__, "%s", err_msg(&err));
        RaftEvent ev = { .type = RAFT_EV_TICK };
        step(c, n, &ev);
}

static void node_crash(Node *n) {
        n->raft = raft_free(n->raft);
        for (size_t i = 0; i < n->n_writes; i++)
                write_done(&n->writes[i]);
        n->n_writes = 0;
        while (n->n_apply > 0)
                raft_block_unref(n->apply[--n->n_apply].block);
}

/* State-machine snapshot at what is applied now; the log is dropped up to index. */
static _unused_ void node_compact(Cluster *c, Node *n, uint64_t index) {
        ASSERT_TRUE(index <= n->applied);
        n->saved = (RaftSnapMeta){ .index = n->applied, .conf = n->conf };
        n->saved_hash = n->hash;
        disk_compact(n, index);
        RaftEvent ev = { .type = RAFT_EV_COMPACT, .index = index };
        step(c, n, &ev);
}

static _unused_ void cluster_stabilize(Cluster *c, size_t rounds) {
        for (size_t i = 0; i < rounds; i++) {
                bool busy = c->n_net > 0;
                (void) deliver(c, 0, 0, 0, SIZE_MAX, false);
                for (unsigned id = 1; id <= NODES_MAX; id++) {
                        Node *n = &c->nodes[id];
                        if (!n->hold_disk && n->n_writes > 0)
                                persist(c, n, SIZE_MAX);
                        if (!n->hold_apply)
                                apply(c, n);
                }
                if (!busy)
                        return;
        }
        violation(c, "the cluster does not become quiet", 0, rounds);
}

/* Time passes for everybody, in small steps; messages take one step. */
static _unused_ void cluster_run(Cluster *c, Usec duration, Usec every) {
        for (Usec t = 0; t < duration; t += every) {
                for (unsigned id = 1; id <= NODES_MAX; id++) {
                        Node *n = &c->nodes[id];
                        n->now += every;
                        RaftEvent ev = { .type = RAFT_EV_TICK };
                        if (n->raft && n->now >= raft_deadline(n->raft))
                                step(c, n, &ev);
                }
                (void) deliver(c, 0, 0, 0, SIZE_MAX, false);
        }
}

static void cluster_free(Cluster *c) {
        for (unsigned id = 1; id <= NODES_MAX; id++) {
                Node *n = &c->nodes[id];
                node_crash(n);
                disk_reset(n, 0, 0);
                free(n->log);
                free(n->writes);
                free(n->apply);
        }
        for (size_t i = 0; i < c->n_net; i++)
                raft_msg_done(&c->net[i].m);
        free(c->net);
        free(c);
}
