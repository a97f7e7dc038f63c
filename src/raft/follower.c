/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/raft-internal.h"

/* The follower's side: appends with the log-matching check, heartbeats, snapshots. */

void raft_commit_to(Raft *r, uint64_t index) {
        assert(index <= raft_log_last(&r->log));
        if (index <= r->hs.commit)
                return;
        if (r->role == RAFT_LEADER)
                for (uint64_t i = r->hs.commit + 1; i <= index; i++) {
                        uint64_t cost = raft_entry_cost(raft_log_at(&r->log, i));
                        assert(r->uncommitted_bytes >= cost);
                        r->uncommitted_bytes -= cost;
                }
        r->hs.commit = index;
        TRACE(r, "commits %" PRIu64, index);
        if (r->role == RAFT_LEADER)
                raft_reads_start(r);
}

/* A success promises that everything up to index is durable here. */
void raft_send_app_resp(Raft *r, uint64_t to, uint64_t index) {
        Wait wait = index <= r->stable || HAS_FAULT(r, ACK_BEFORE_SYNC) ? WAIT_HARD_STATE : WAIT_ALL;
        RaftMsg m = { .type = RAFT_MSG_APP_RESP, .to = to, .index = index, .commit = r->commit_saved };
        raft_send(r, m, wait, 0);
}

static void reject_append(Raft *r, const RaftMsg *m) {
        uint64_t hint = raft_log_conflict(&r->log, m->index, m->log_term);
        TRACE(r, "rejects append after %" PRIu64 ".%" PRIu64 " from %" PRIu64 ", hint %" PRIu64, m->log_term,
              m->index, m->from, hint);
        RaftMsg resp = { .type = RAFT_MSG_APP_RESP,
                         .to = m->from,
                         .index = m->index,
                         .reject = true,
                         .hint = hint,
                         .log_term = raft_log_term(&r->log, hint) };
        raft_send(r, resp, WAIT_HARD_STATE, 0);
}

/* A membership entry proves that every earlier one is committed, as a leader proposes the next only after it
 * applied the one before. Learning this at once, rather than when the commit index arrives, closes a gap of
 * "effective at apply": a candidate may be at most one change behind the membership that commits entries,
 * and then their quorums always intersect. (Without it: {1,2,3} grows to 5; 1 has applied both changes and
 * commits with 4 and 5, while 2 has both entries but no commit index, still counts three voters and wins
 * with 3.) */
static void prove_commit(Raft *r, const RaftEntry *e) {
        if (e->type == RAFT_ENTRY_CONF && r->log.last_conf > r->hs.commit) {
                TRACE(r, "membership entry %" PRIu64 " proves that %" PRIu64 " is committed", e->index,
                      r->log.last_conf);
                raft_commit_to(r, r->log.last_conf);
        }
}

/* Entries must be consecutive and of growing terms, whatever the network brought. */
static bool entries_sane(const RaftMsg *m) {
        uint64_t index = m->index, term = m->log_term;
        if (m->index > NUMBER_MAX)
                return false;
        for (size_t i = 0; i < m->n_entries; i++) {
                const RaftEntry *e = &m->entries[i];
                if (e->index != ++index || e->term < term || e->term == 0 || e->term > m->term)
                        return false;
                term = e->term;
        }
        return true;
}

/* True when the entries are in the log now. */
static bool append_entries(Raft *r, const RaftMsg *m) {
        size_t i = 0;
        while (i < m->n_entries && raft_log_matches(&r->log, m->entries[i].index, m->entries[i].term))
                i++;
        if (i == m->n_entries)
                return true;
        uint64_t from = m->entries[i].index;
        if (from <= r->hs.commit) {
                /* Cannot happen while at most a minority lies; the log here is kept as it is. */
                TRACE(r, "entry %" PRIu64 " from %" PRIu64 " conflicts with a committed one: ignored", from,
                      m->from);
                return false;
        }
        if (from <= raft_log_last(&r->log)) {
                TRACE(r, "drops own entries from %" PRIu64 ", conflict with %" PRIu64, from, m->from);
                raft_truncate(r, from);
        }
        for (; i < m->n_entries; i++) {
                prove_commit(r, &m->entries[i]);
                raft_log_append(&r->log, &m->entries[i]);
        }
        return true;
}

void raft_on_append(Raft *r, const RaftMsg *m) {
        if (!entries_sane(m))
                return;
        if (m->index < r->hs.commit && m->index + m->n_entries <= r->hs.commit) {
                raft_send_app_resp(r, m->from, r->hs.commit);
                return;
        }
        bool matches = raft_log_matches(&r->log, m->index, m->log_term);
        if (HAS_FAULT(r, NO_LOG_MATCHING) && m->index <= raft_log_last(&r->log) &&
            m->log_term >= raft_log_term(&r->log, m->index))
                matches = true;
        if (!matches) {
                reject_append(r, m);
                return;
        }
        if (!append_entries(r, m))
                return;
        uint64_t last_new = m->index + m->n_entries;
        raft_commit_to(r, MIN(m->commit, last_new));
        raft_send_app_resp(r, m->from, last_new);
}

void raft_on_heartbeat(Raft *r, const RaftMsg *m) {
        if (m->commit <= raft_log_last(&r->log))
                raft_commit_to(r, m->commit);
        RaftMsg resp = { .type = RAFT_MSG_HEARTBEAT_RESP,
                         .to = m->from,
                         .context = m->context,
                         .commit = r->commit_saved };
        raft_send(r, resp, WAIT_HARD_STATE, 0);
}

/* The part that needs no change of state. */
static bool snapshot_useful(const Raft *r, const RaftMsg *m) {
        if (m->term < r->hs.term || !m->snap || m->snap->index <= r->hs.commit)
                return false;
        /* Its membership need not include us: when we were added after it was taken, the log behind it says
         * so. (etcd refuses such a snapshot, and takes a fresh one for every follower.) */
        return raft_log_term(&r->log, m->snap->index) != m->snap->term;
}

bool raft_wants_snapshot(const Raft *r, const RaftMsg *head) {
        if (r->stopped || head->type != RAFT_MSG_SNAP || head->to != r->cfg.id)
                return false;
        return snapshot_useful(r, head);
}

void raft_on_snapshot(Raft *r, const RaftMsg *m) {
        if (!m->snap || m->snap->term == 0 || m->snap->term > m->term || m->snap->index > NUMBER_MAX)
                return;
        const RaftSnapMeta *s = m->snap;
        if (!snapshot_useful(r, m)) {
                if (s->index > r->hs.commit && raft_log_term(&r->log, s->index) == s->term)
                        raft_commit_to(r, s->index); /* we have it all; the leader could not know */
                TRACE(r, "ignores snapshot %" PRIu64 ".%" PRIu64 " from %" PRIu64, s->term, s->index,
                      m->from);
                raft_send_app_resp(r, m->from, r->hs.commit);
                return;
        }
        TRACE(r, "accepts snapshot %" PRIu64 ".%" PRIu64 " from %" PRIu64, s->term, s->index, m->from);
        raft_install_snapshot(r, s);
        raft_send_app_resp(r, m->from, s->index);
}
