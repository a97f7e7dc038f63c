/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/replica/replica.h"

#include "base/alloc.h"
#include "etcd/replica/replica-internal.h"

#define SNAPSHOT_ENTRIES_DEFAULT 100000U
#define SNAPSHOT_BYTES_DEFAULT ((uint64_t) 64 << 20)
#define KEEP_ENTRIES_DEFAULT 5000U

static uint64_t mix(uint64_t x) {
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
        return x ^ (x >> 31);
}

RaftEntry *replica_bootstrap(const RaftConfChange *members, size_t n) {
        _cleanup_free_ RaftConfChange *framed = xnew(RaftConfChange, n);
        _cleanup_free_ Buf *contexts = xnew(Buf, n);
        for (size_t i = 0; i < n; i++) {
                framed[i] = members[i];
                buf_add(&contexts[i], (char[REPLICA_FRAME_BYTES]){}, REPLICA_FRAME_BYTES);
                buf_add(&contexts[i], members[i].context ?: "", members[i].context_len);
                framed[i].context = contexts[i].data;
                framed[i].context_len = contexts[i].len;
        }
        RaftEntry *e = raft_bootstrap(framed, n);
        for (size_t i = 0; i < n; i++)
                buf_done(&contexts[i]);
        return e;
}

Replica *replica_new(const ReplicaConfig *config, const ReplicaInitial *initial,
                     const ReplicaMachine *machine, Err *err) {
        assert(initial->raft.applied == initial->snapshot.index);
        _cleanup_(replica_freep) Replica *r = xnew(Replica, 1);
        r->config = *config;
        r->config.snapshot_entries = config->snapshot_entries ?: SNAPSHOT_ENTRIES_DEFAULT;
        r->config.snapshot_bytes = config->snapshot_bytes ?: SNAPSHOT_BYTES_DEFAULT;
        r->config.keep_entries = config->keep_entries ?: KEEP_ENTRIES_DEFAULT;
        r->config.read_retry = config->read_retry ?: config->raft.election_timeout / 2;
        r->machine = *machine;
        r->now = config->raft.now;
        r->earliest = USEC_NEVER;
        r->saved = initial->snapshot;
        r->applied = initial->raft.applied;
        /* Neither may ever be met again after a restart: an answer to an earlier life would be taken for
         * ours. */
        r->session = mix(config->raft.seed ^ mix(config->raft.id));
        r->next_context = mix(r->session) | 1;
        r->next_seq = 1;
        r->raft = raft_new(&config->raft, &initial->raft, err);
        if (!r->raft)
                return NULL;
        return TAKE_PTR(r);
}

Replica *replica_free(Replica *r) {
        if (!r)
                return NULL;
        requests_done(r);
        raft_free(r->raft);
        free(r->done);
        free(r->messages);
        free(r->sends);
        free(r);
        return NULL;
}

static bool snapshot_is_due(const Replica *r, uint64_t applied) {
        if (r->saving.index > 0 || r->restore_seq > 0 || applied <= r->saved.index ||
            applied < r->next_snapshot)
                return false;
        return applied - r->saved.index >= r->config.snapshot_entries ||
               r->bytes_since >= r->config.snapshot_bytes;
}

/* ---- applying ---- */

static void apply_normal(Replica *r, const RaftEntry *e) {
        size_t frame = e->len >= REPLICA_FRAME_BYTES ? REPLICA_FRAME_BYTES : e->len;
        Request *q = request_find_entry(r, e->data, e->len, REQUEST_PROPOSAL);
        void *result = r->machine.apply(r->machine.ctx, e->index, e->term,
                                        e->data ? (const char *) e->data + frame : NULL, e->len - frame,
                                        q ? q->id : 0);
        assert(q || !result);
        if (q)
                request_finish(r, q, (ReplicaDone){ .index = e->index, .result = result });
}

/* Returns whether the machine refused the change. */
static bool apply_conf(Replica *r, const RaftEntry *e) {
        RaftConfChange change = {};
        if (raft_conf_change_decode(e->data, e->len, &change) < 0) {
                (void) r->machine.apply(r->machine.ctx, e->index, e->term, NULL, 0, 0);
                return true;
        }
        Request *q = request_find_entry(r, change.context, change.context_len, REQUEST_CONF);
        size_t frame = MIN(change.context_len, REPLICA_FRAME_BYTES);
        if (change.context_len > 0)
                change.context = (const char *) change.context + frame;
        change.context_len -= frame;
        void *result = NULL;
        bool ok = r->machine.apply_conf(r->machine.ctx, e->index, e->term, &change, q ? q->id : 0, &result);
        assert(q || !result);
        if (q)
                request_finish(r, q, (ReplicaDone){ .index = e->index, .result = result, .refused = !ok });
        return !ok;
}

/* Applies what the last update handed out, and tells raft in ev. */
static void apply_committed(Replica *r, RaftEvent *ev) {
        const RaftEntry *e = r->update.committed;
        bool veto = false;
        for (size_t i = 0; i < r->n_unapplied; i++) {
                if (e[i].index <= r->applied)
                        continue; /* a snapshot went ahead of it */
                assert(e[i].index == r->applied + 1);
#ifdef CORACLE_FAULTS
                if ((r->config.faults & REPLICA_FAULT_SNAPSHOT_SHORT) && i + 1 == r->n_unapplied &&
                    !r->early_view && snapshot_is_due(r, r->applied + 1))
                        r->early_view = r->machine.snapshot(r->machine.ctx);
                if ((r->config.faults & REPLICA_FAULT_APPLY_TWICE) && !r->applied_twice &&
                    e[i].type == RAFT_ENTRY_NORMAL)
                        apply_normal(r, &e[i]);
                r->applied_twice |= e[i].type == RAFT_ENTRY_NORMAL;
#endif
                if (e[i].type == RAFT_ENTRY_CONF)
                        veto = apply_conf(r, &e[i]);
                else
                        apply_normal(r, &e[i]);
                r->applied = e[i].index;
                requests_new_term(r, e[i].term);
                r->bytes_since += e[i].len;
        }
        *ev = (RaftEvent){ .type = RAFT_EV_APPLIED, .now = r->now };
        ev->applied.index = e[r->n_unapplied - 1].index;
        ev->applied.conf_veto = veto;
        r->n_unapplied = 0;
        r->check_snapshot = true;
}

/* ---- snapshots ---- */

static void maybe_snapshot(Replica *r, ReplicaActions *ret) {
        r->check_snapshot = false;
        if (!snapshot_is_due(r, r->applied))
                return;
        RaftSnapMeta meta = { .index = r->applied, .conf = *raft_conf(r->raft) };
        if (raft_term_at(r->raft, r->applied, &meta.term) < 0)
                return;
#ifdef CORACLE_FAULTS
        ret->snapshot_view = TAKE_PTR(r->early_view);
        if (!ret->snapshot_view)
#endif
                ret->snapshot_view = r->machine.snapshot(r->machine.ctx);
        if (!ret->snapshot_view)
                return;
        r->saving = meta;
        r->bytes_since = 0;
        ret->snapshot = &r->saving;
}

static void snapshot_saved(Replica *r, const ReplicaEvent *ev, ReplicaActions *ret) {
        if (ev->saved.index != r->saving.index || r->saving.index == 0)
                return;
        if (!ev->saved.ok) {
                r->next_snapshot = r->applied + r->config.snapshot_entries / 4 + 1;
        } else if (r->saving.index > r->saved.index) {
                r->saved = r->saving;
                ret->mark = &r->saved;
                r->next_snapshot = 0;
                if (r->saved.index > r->config.keep_entries)
                        r->compact_to = r->saved.index - r->config.keep_entries;
        }
        r->saving.index = 0;
}

/* The messages of the update, those that ask for a snapshot apart. */
static void sort_messages(Replica *r, ReplicaActions *ret) {
        const RaftUpdate *u = &r->update;
        ret->messages = u->messages;
        ret->n_messages = u->n_messages;
        size_t snaps = 0;
        for (size_t i = 0; i < u->n_messages; i++)
                snaps += u->messages[i].type == RAFT_MSG_SNAP;
        if (snaps == 0)
                return;
        GROW(r->messages, r->cap_messages, u->n_messages);
        GROW(r->sends, r->cap_sends, snaps);
        for (size_t i = 0; i < u->n_messages; i++) {
                const RaftMsg *m = &u->messages[i];
                if (m->type != RAFT_MSG_SNAP) {
                        r->messages[r->n_messages++] = *m;
                } else if (m->index <= r->saved.index) {
                        r->sends[r->n_sends] = *m;
                        r->sends[r->n_sends].index = r->saved.index;
                        r->sends[r->n_sends++].snap = &r->saved;
                } else {
                        /* Cannot happen while compaction stays behind saved snapshots; harmless if it does.
                         */
                        r->failed_send = m->to;
                }
        }
        ret->messages = r->messages;
        ret->n_messages = r->n_messages;
        ret->snapshot_sends = r->sends;
        ret->n_snapshot_sends = r->n_sends;
}

/* ---- stepping ---- */

static void step_raft(Replica *r, const RaftEvent *ev, ReplicaActions *ret) {
        assert(r->n_unapplied == 0);
        raft_step(r->raft, ev, &r->update);
        r->stepped = true;
        const RaftUpdate *u = &r->update;
        if (u->persist.seq > 0)
                ret->persist = &u->persist;
        if (u->persist.seq > 0 && u->persist.snapshot) {
                r->restoring = *u->persist.snapshot;
                r->restore_seq = u->persist.seq;
        }
        sort_messages(r, ret);
        r->n_unapplied = u->n_committed;
        for (size_t i = 0; i < u->n_reads; i++)
                reads_answer(r, &u->reads[i]);
        ret->state_changed = u->state_changed;
        ret->conf_changed = u->conf_changed;
        if (u->state_changed)
                r->blocked_until = 0;
}

/* The next piece of internal work; false when there is none. */
static bool work(Replica *r, ReplicaActions *ret) {
        RaftEvent ev = { .now = r->now };
        static const RaftEvent nothing;
        RaftProposal items[REPLICA_BATCH_ITEMS_MAX];
        if (r->n_unapplied > 0) {
                apply_committed(r, &ev);
        } else if (r->compact_to > 0) {
                ev.type = RAFT_EV_COMPACT;
                ev.index = r->compact_to;
                r->compact_to = 0;
        } else if (r->failed_send > 0) {
                ev.type = RAFT_EV_SNAPSHOT_STATUS;
                ev.snapshot.peer = r->failed_send;
                r->failed_send = 0;
        } else if (!r->flushing || !requests_next_event(r, &ev, items)) {
                r->flushing = false;
                return false;
        }
        assert(ev.type != nothing.type);
        step_raft(r, &ev, ret);
        requests_after_event(r, &ev, &r->update);
        return true;
}

static void persisted(Replica *r, const ReplicaEvent *ev, ReplicaActions *ret) {
        if (r->restore_seq > 0 && ev->seq >= r->restore_seq) {
                assert(r->restoring.index > r->applied);
                r->saved = r->restoring;
                r->applied = r->restoring.index;
                requests_restored(r);
                r->restore_seq = 0;
                r->bytes_since = 0;
                ret->restore = &r->saved;
        }
        RaftEvent e = { .type = RAFT_EV_PERSISTED, .now = r->now, .seq = ev->seq };
        step_raft(r, &e, ret);
}

static void transfer(Replica *r, uint64_t peer, ReplicaActions *ret) {
        if (peer == 0) {
                RaftStatus st;
                raft_status(r->raft, &st);
                uint64_t match = 0;
                for (size_t i = 0; i < st.n_peers; i++)
                        if (!st.peers[i].learner && st.peers[i].active && st.peers[i].match >= match) {
                                peer = st.peers[i].id;
                                match = st.peers[i].match;
                        }
        }
        RaftEvent e = { .type = RAFT_EV_TRANSFER, .now = r->now, .peer = peer };
        if (peer != 0)
                step_raft(r, &e, ret);
}

static void tick(Replica *r, ReplicaActions *ret) {
        r->flushing = true;
        RaftEvent e = { .type = RAFT_EV_TICK, .now = r->now };
        if (!r->stepped || raft_deadline(r->raft) <= r->now)
                step_raft(r, &e, ret);
        else
                (void) work(r, ret);
}

static void handle(Replica *r, const ReplicaEvent *ev, ReplicaActions *ret) {
        RaftEvent e = { .now = r->now };
        switch (ev->type) {
        case REPLICA_EV_TICK:
                tick(r, ret);
                return;
        case REPLICA_EV_RECEIVE:
                e.type = RAFT_EV_RECEIVE;
                e.msg = ev->msg;
                break;
        case REPLICA_EV_PERSISTED:
                persisted(r, ev, ret);
                return;
        case REPLICA_EV_STORAGE_FAILED:
                r->dead = true;
                e.type = RAFT_EV_STORAGE_FAILED;
                step_raft(r, &e, ret);
                requests_fail_all(r, -EIO);
                return;
        case REPLICA_EV_PROPOSE:
                request_add(r, &ev->request, REQUEST_PROPOSAL);
                return;
        case REPLICA_EV_CONF_CHANGE:
                request_add(r, &ev->request, REQUEST_CONF);
                return;
        case REPLICA_EV_READ:
                request_add(r, &ev->request, REQUEST_READ);
                return;
        case REPLICA_EV_CANCEL:
                requests_cancel(r, ev->request.id);
                return;
        case REPLICA_EV_SNAPSHOT_SAVED:
                snapshot_saved(r, ev, ret);
                return;
        case REPLICA_EV_SNAPSHOT_SENT:
                e.type = RAFT_EV_SNAPSHOT_STATUS;
                e.snapshot.peer = ev->sent.peer;
                e.snapshot.index = ev->sent.index;
                e.snapshot.ok = ev->sent.ok;
                break;
        case REPLICA_EV_UNREACHABLE:
                e.type = RAFT_EV_UNREACHABLE;
                e.peer = ev->peer;
                break;
        case REPLICA_EV_TRANSFER:
                transfer(r, ev->peer, ret);
                return;
        case REPLICA_EV_CAMPAIGN:
                e.type = RAFT_EV_CAMPAIGN;
                break;
        case _REPLICA_EVENT_MAX:
                assert(false);
        }
        step_raft(r, &e, ret);
}

void replica_step(Replica *r, const ReplicaEvent *ev, ReplicaActions *ret) {
        *ret = (ReplicaActions){};
        r->n_done = r->n_messages = r->n_sends = 0;
        if (ev) {
                assert(r->n_unapplied == 0);
                r->now = MAX(r->now, ev->now);
                requests_expire(r);
                handle(r, ev, ret);
        } else {
                (void) work(r, ret);
        }
        if (r->n_unapplied == 0 && r->check_snapshot)
                maybe_snapshot(r, ret);
        reads_serve(r);
        ret->done = r->done;
        ret->n_done = r->n_done;
        ret->more = r->n_unapplied > 0 || r->compact_to > 0 || r->failed_send > 0 ||
                    (r->flushing && requests_can_flush(r));
        r->flushing &= ret->more;
}

Usec replica_deadline(const Replica *r) {
        /* What was committed before a restart comes out of the first step. */
        return r->stepped ? MIN(raft_deadline(r->raft), requests_deadline(r)) : 0;
}

/* ---- looking inside ---- */

const Raft *replica_raft(const Replica *r) {
        return r->raft;
}

uint64_t replica_applied(const Replica *r) {
        return r->applied;
}

const RaftSnapMeta *replica_snapshot(const Replica *r) {
        return &r->saved;
}

void replica_pending(const Replica *r, size_t *ret_proposals, size_t *ret_reads) {
        *ret_proposals = r->n_proposals;
        *ret_reads = r->n_reads;
}

bool replica_is_settled_leader(const Replica *r) {
        uint64_t term = 0;
        return !r->dead && raft_role(r->raft) == RAFT_LEADER &&
               raft_term_at(r->raft, r->applied, &term) == 0 && term == raft_term(r->raft);
}

void replica_check(const Replica *r) {
        raft_check(r->raft);
        assert(r->saved.index <= r->applied);
        assert(r->restore_seq == 0 || r->restoring.index > r->saved.index);
        assert(map_size(&r->by_seq) == r->n_proposals);
        assert(map_size(&r->by_id) == r->n_proposals + r->n_reads);
        size_t n = 0;
        for (const Request *q = r->all.first; q; q = q->all.next) {
                assert(q->deadline >= r->earliest);
                n++;
        }
        assert(n == r->n_proposals + r->n_reads);
}
