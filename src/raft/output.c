/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "raft/raft-internal.h"

/* What leaves a step. Messages are staged while the step runs and resolved at its end, when it is known
 * which write they depend on; those that must wait move to `held` and leave with the PERSISTED that frees
 * them. */

void raft_send(Raft *r, RaftMsg m, Wait wait, uint64_t n_entries) {
        assert(m.to != 0);
        assert(n_entries == 0 || m.type == RAFT_MSG_APP);
        m.from = r->cfg.id;
        if (m.type == RAFT_MSG_READ_INDEX || m.type == RAFT_MSG_TRANSFER) {
                m.term = 0; /* a client's wish, not part of any term's protocol: valid whoever leads */
                wait = WAIT_NOTHING;
        } else if (m.term == 0)
                m.term = r->hs.term;
        GROW(r->staged, r->staged_cap, r->n_staged + 1);
        r->staged[r->n_staged++] = (OutMsg){ .m = m, .wait = wait, .n_entries = n_entries };
}

static void emit(Raft *r, const RaftMsg *m) {
        GROW(r->out, r->out_cap, r->n_out + 1);
        r->out[r->n_out++] = *m;
}

void raft_begin(Raft *r) {
        r->n_out = r->n_reads = 0;
        r->forward = raft_entries_free(r->forward, r->n_forward);
        r->n_forward = 0;
        r->dropped = RAFT_DROP_NONE;
        r->first_index = 0;
        r->conf_changed = false;
        r->snap_pending = false;
        r->truncate_from = 0;
        assert(r->n_staged == 0);
}

/* Later truncation makes earlier, unconfirmed writes count for less. */
static void writes_clamp(Raft *r, uint64_t last) {
        for (size_t i = 0; i < r->n_writes; i++)
                r->writes[i].last = MIN(r->writes[i].last, last);
        r->stable = MIN(r->stable, last);
}

void raft_truncate(Raft *r, uint64_t from) {
        assert(from > r->hs.commit);
        if (from <= r->written) {
                r->truncate_from = r->truncate_from ? MIN(r->truncate_from, from) : from;
                r->written = from - 1;
        }
        writes_clamp(r, from - 1);
        raft_log_truncate(&r->log, from);
}

/* The log restarts empty after the snapshot. What was durable of the old log is good for nothing but the
 * part that is committed, and `stable` passes the snapshot only when PERSISTED says that it is in place. */
void raft_install_snapshot(Raft *r, const RaftSnapMeta *s) {
        assert(s->index > r->hs.commit);
        writes_clamp(r, r->hs.commit);
        raft_log_reset(&r->log, s->index, s->term);
        r->hs.commit = r->written = s->index;
        r->truncate_from = 0;
        r->handed_bytes = 0;
        r->snap = *s;
        r->snap_pending = true;
        if (!raft_conf_equal(&r->conf, &s->conf))
                r->conf_changed = true;
        r->conf = s->conf;
}

static void release_held(Raft *r) {
        size_t keep = 0, n_self = 0;
        RaftMsg self[2];
        for (size_t i = 0; i < r->n_held; i++) {
                OutMsg *o = &r->held[i];
                if (o->seq > r->seq_done) {
                        r->held[keep++] = *o;
                        continue;
                }
                if (o->m.term < r->hs.term) /* answers of an earlier term help nobody any more */
                        continue;
                if (o->m.to != r->cfg.id)
                        emit(r, &o->m);
                else if (n_self < ELEMENTSOF(self))
                        self[n_self++] = o->m;
        }
        r->n_held = keep;
        for (size_t i = 0; i < n_self; i++)
                raft_on_vote_resp(r, &self[i]);
}

void raft_persisted(Raft *r, uint64_t seq) {
        assert(seq <= r->seq_last);
        if (seq <= r->seq_done)
                return;
        r->seq_done = seq;
        size_t n = 0;
        for (; n < r->n_writes && r->writes[n].seq <= seq; n++) {
                const Write *w = &r->writes[n];
                r->stable = MAX(r->stable, w->last);
                r->commit_saved = w->commit;
                if (w->snap_index > r->applied) {
                        r->applied = r->handed = w->snap_index;
                        r->handed_bytes = 0;
                        TRACE(r, "snapshot %" PRIu64 " is installed", w->snap_index);
                }
        }
        r->n_writes -= n;
        memmove(r->writes, r->writes + n, r->n_writes * sizeof(*r->writes));
        release_held(r);
        if (r->role != RAFT_LEADER)
                return;
        Peer *self = raft_peer(r, r->cfg.id);
        if (self && self->match < r->stable) {
                self->match = r->stable;
                self->next = MAX(self->next, self->match + 1);
                if (raft_maybe_commit(r))
                        raft_broadcast_append(r);
        }
}

/* The commit index is a hint that rides along with other writes, except when a membership change became
 * committed: a member that forgot this in a crash could elect, or wait for votes, by a membership that is no
 * more. */
static bool conf_committed(const Raft *r) {
        if (r->log.last_conf <= r->hs_written.commit)
                return false;
        for (uint64_t i = MAX(r->hs_written.commit, r->log.snap_index) + 1; i <= r->hs.commit; i++)
                if (raft_log_at(&r->log, i)->type == RAFT_ENTRY_CONF)
                        return true;
        return false;
}

/* Collects what this step changed into one numbered write. */
static void finish_persist(Raft *r, RaftPersist *p) {
        bool hard = r->hs.term != r->hs_written.term || r->hs.vote != r->hs_written.vote;
        uint64_t last = raft_log_last(&r->log);
        if (!hard && !conf_committed(r) && !r->snap_pending && !r->truncate_from && r->written == last) {
                *p = (RaftPersist){ .hs = r->hs };
                return;
        }
        uint64_t seq = ++r->seq_last;
        if (hard)
                r->seq_hs = seq;
        *p = (RaftPersist){ .seq = seq, .must_sync = true, .hs = r->hs, .truncate_from = r->truncate_from };
        if (HAS_FAULT(r, VOTE_NOT_SAVED))
                p->hs.vote = 0;
        if (r->snap_pending)
                p->snapshot = &r->snap;
        if (r->written < last) {
                p->entries = raft_log_at(&r->log, r->written + 1);
                p->n_entries = last - r->written;
        }
        GROW(r->writes, r->writes_cap, r->n_writes + 1);
        r->writes[r->n_writes++] = (Write){ .seq = seq,
                                            .last = last,
                                            .snap_index = r->snap_pending ? r->snap.index : 0,
                                            .commit = r->hs.commit };
        r->written = last;
        r->hs_written = r->hs;
}

static uint64_t wait_seq(const Raft *r, Wait wait) {
        switch (wait) {
        case WAIT_HARD_STATE:
                return HAS_FAULT(r, VOTE_NOT_SAVED) ? 0 : r->seq_hs;
        case WAIT_ALL:
                return r->seq_last;
        case WAIT_NOTHING:
                break;
        }
        return 0;
}

static void finish_messages(Raft *r) {
        for (size_t i = 0; i < r->n_staged; i++) {
                OutMsg *o = &r->staged[i];
                o->seq = wait_seq(r, o->wait);
                if (o->seq > r->seq_done) {
                        assert(o->n_entries == 0 && o->m.n_entries == 0);
                        if (r->n_held >= RAFT_HELD_MESSAGES_MAX)
                                continue;
                        GROW(r->held, r->held_cap, r->n_held + 1);
                        r->held[r->n_held++] = *o;
                        continue;
                }
                if (o->n_entries > 0) {
                        assert(o->m.index + o->n_entries <= raft_log_last(&r->log));
                        o->m.entries = raft_log_at(&r->log, o->m.index + 1);
                        o->m.n_entries = o->n_entries;
                }
                emit(r, &o->m);
        }
        r->n_staged = 0;
}

/* The next entries to apply: committed, durable here, and not past a membership change that still waits. */
static void finish_committed(Raft *r, RaftUpdate *u) {
        uint64_t to = HAS_FAULT(r, COUNT_SELF_EARLY) ? r->hs.commit : MIN(r->hs.commit, r->stable);
        if (r->handed < r->log.snap_index) /* the snapshot is not installed yet */
                return;
        if (r->handed > r->applied && r->handed > r->log.snap_index &&
            raft_log_at(&r->log, r->handed)->type == RAFT_ENTRY_CONF)
                return;
        uint64_t from = r->handed + 1;
#ifdef CORACLE_FAULTS
        if (HAS_FAULT(r, APPLY_TWICE) && r->handed > r->log.snap_index && from <= to &&
            raft_log_at(&r->log, r->handed)->type == RAFT_ENTRY_NORMAL && ++r->apply_twice % 16 == 0)
                from--;
#endif
        uint64_t i = r->handed;
        while (i < to) {
                const RaftEntry *e = raft_log_at(&r->log, i + 1);
                if (r->handed_bytes > 0 && r->handed_bytes + raft_entry_cost(e) > r->cfg.max_apply_bytes)
                        break;
                r->handed_bytes += raft_entry_cost(e);
                i++;
                if (e->type == RAFT_ENTRY_CONF)
                        break;
        }
        if (i == r->handed)
                return;
        u->committed = raft_log_at(&r->log, from);
        u->n_committed = i - from + 1;
        r->handed = i;
}

void raft_finish(Raft *r, RaftUpdate *u) {
        finish_persist(r, &u->persist);
        finish_messages(r);
        finish_committed(r, u);
        u->messages = r->out;
        u->n_messages = r->n_out;
        u->reads = r->reads;
        u->n_reads = r->n_reads;
        u->dropped = r->dropped;
        u->first_index = r->first_index;
        u->conf_changed = r->conf_changed;
}
