/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "raft/raft-internal.h"

/* The leader: what it knows of each peer, what it sends next, when an entry is committed. The three progress
 * states are those of etcd-io/raft: probe (one message at a time until we know where the logs part),
 * replicate (optimistic pipeline with an inflight window), snapshot (silent while the driver streams one).
 */

static const char *const progress_names[_RAFT_PROGRESS_MAX] = { "probe", "replicate", "snapshot" };

const char *raft_progress_name(RaftProgressState s) {
        return (size_t) s < ELEMENTSOF(progress_names) ? progress_names[s] : "?";
}

Peer *raft_peer(const Raft *r, uint64_t id) {
        for (size_t i = 0; i < r->n_peers; i++)
                if (r->peers[i].id == id)
                        return &r->peers[i];
        return NULL;
}

static void peer_heard(Raft *r, Peer *p, const RaftMsg *m) {
        p->heard = p->ever_heard = true;
        p->last_heard = r->now;
        p->commit = MAX(p->commit, m->commit);
}

/* ---- inflight window ---- */

static void inflight_clear(Peer *p) {
        p->ring_head = p->ring_n = 0;
        p->ring_bytes = 0;
}

static bool inflight_full(const Raft *r, const Peer *p) {
        return p->ring_n >= r->cfg.max_inflight ||
               p->ring_bytes >= (uint64_t) r->cfg.max_batch_bytes * INFLIGHT_BYTES_FACTOR;
}

static void inflight_add(const Raft *r, Peer *p, uint64_t index, uint64_t bytes) {
        assert(p->ring_n < r->cfg.max_inflight);
        if (!p->ring) {
                p->ring_cap = r->cfg.max_inflight;
                p->ring = xnew(Inflight, p->ring_cap);
        }
        p->ring[(p->ring_head + p->ring_n++) % p->ring_cap] = (Inflight){ .index = index, .bytes = bytes };
        p->ring_bytes += bytes;
}

static void inflight_free_to(Peer *p, uint64_t index) {
        while (p->ring_n > 0 && p->ring[p->ring_head].index <= index) {
                assert(p->ring_bytes >= p->ring[p->ring_head].bytes);
                p->ring_bytes -= p->ring[p->ring_head].bytes;
                p->ring_head = (p->ring_head + 1) % p->ring_cap;
                p->ring_n--;
        }
}

/* ---- progress states ---- */

static void peer_state(Raft *r, Peer *p, RaftProgressState state) {
        if (p->state != state)
                TRACE(r, "peer %" PRIu64 ": %s, match %" PRIu64 " next %" PRIu64, p->id,
                      raft_progress_name(state), p->match, p->next);
        p->state = state;
        p->paused = p->fresh = false;
        p->snap_index = p->sent_commit = 0;
        inflight_clear(p);
}

void raft_peer_probe(Raft *r, Peer *p, uint64_t next) {
        p->next = MAX(next, p->match + 1);
        peer_state(r, p, RAFT_PROBE);
}

static void peer_replicate(Raft *r, Peer *p) {
        p->next = p->match + 1;
        peer_state(r, p, RAFT_REPLICATE);
}

static void peer_done(Peer *p) {
        p->ring = xfree(p->ring);
}

void raft_leader_done(Raft *r) {
        raft_reads_abort(r);
        for (size_t i = 0; i < r->n_peers; i++)
                peer_done(&r->peers[i]);
        r->n_peers = 0;
        r->transferee = 0;
        r->uncommitted_bytes = 0;
        r->noop_index = r->leave_index = 0;
}

static void peers_keep(Raft *r, Peer *to, size_t *n, uint64_t id, bool learner) {
        Peer *old = raft_peer(r, id);
        if (old) {
                to[*n] = *old;
                old->ring = NULL; /* moved */
        } else {
                /* Counts as heard, so that a member that was added just now does not depose its leader. */
                to[*n] = (Peer){ .id = id, .next = raft_log_last(&r->log) + 1, .heard = true };
                if (id == r->cfg.id)
                        to[*n].match = r->stable;
        }
        to[(*n)++].learner = learner;
}

void raft_peers_sync(Raft *r) {
        size_t cap = (size_t) r->conf.n_voters + r->conf.n_learners, n = 0;
        Peer *to = xnew(Peer, cap);
        for (uint32_t i = 0; i < r->conf.n_voters; i++)
                peers_keep(r, to, &n, r->conf.voters[i], false);
        for (uint32_t i = 0; i < r->conf.n_learners; i++)
                peers_keep(r, to, &n, r->conf.learners[i], true);
        for (size_t i = 0; i < r->n_peers; i++)
                peer_done(&r->peers[i]);
        free(r->peers);
        r->peers = to;
        r->peers_cap = cap;
        r->n_peers = n;
}

void raft_become_leader(Raft *r) {
        assert(r->role == RAFT_CANDIDATE);
        assert(r->hs.vote == r->cfg.id);
        r->role = RAFT_LEADER;
        r->leader = r->cfg.id;
        r->n_votes = 0;
        r->heartbeat_deadline = usec_add(r->now, r->cfg.heartbeat_interval);
        r->quorum_deadline = usec_add(r->now, r->cfg.election_timeout);
        r->read_round = r->read_confirmed = 0;
        r->transferee = 0;
        assert(r->n_pending == 0 && r->n_peers == 0);
        raft_peers_sync(r);
        r->uncommitted_bytes = 0;
        for (uint64_t i = r->hs.commit + 1; i <= raft_log_last(&r->log); i++)
                r->uncommitted_bytes += raft_entry_cost(raft_log_at(&r->log, i));
        TRACE(r, "became leader at term %" PRIu64, r->hs.term);
        /* Only own-term entries are committed by counting, so one is made at once (thesis 6.4, 8). */
        if (!HAS_FAULT(r, NO_NOOP))
                raft_leader_append(r, RAFT_ENTRY_NORMAL, NULL, NULL, 0);
        r->noop_index = raft_log_last(&r->log);
        r->pending_conf_index = r->noop_index;
        raft_broadcast_append(r);
        raft_broadcast_heartbeat(r);
}

/* ---- counting ---- */

/* The highest value that a majority of the voters has reached. */
uint64_t raft_quorum_of(const Raft *r, uint64_t (*value)(const Raft *r, const Peer *p)) {
        uint64_t v[RAFT_MEMBERS_MAX];
        size_t n = 0;
        for (size_t i = 0; i < r->n_peers; i++) {
                if (r->peers[i].learner)
                        continue;
                uint64_t x = value(r, &r->peers[i]);
                size_t at = n++;
                for (; at > 0 && v[at - 1] < x; at--) /* descending */
                        v[at] = v[at - 1];
                v[at] = x;
        }
        return n == 0 ? 0 : v[n / 2];
}

static uint64_t match_of(const Raft *r, const Peer *p) {
        if (p->id == r->cfg.id && HAS_FAULT(r, COUNT_SELF_EARLY))
                return raft_log_last(&r->log);
        return p->match;
}

/* True when the commit index moved. */
bool raft_maybe_commit(Raft *r) {
        assert(r->role == RAFT_LEADER);
        uint64_t index = raft_quorum_of(r, match_of);
        if (index <= r->hs.commit)
                return false;
        /* Figure 8: an entry of an earlier term on a majority can still be overwritten. */
        if (raft_log_term(&r->log, index) != r->hs.term && !HAS_FAULT(r, COMMIT_OLD_TERM))
                return false;
        raft_commit_to(r, index);
        return true;
}

/* ---- sending ---- */

static void send_snapshot(Raft *r, Peer *p) {
        /* A stream is costly: only to somebody who is known to live. A heartbeat answer brings us back here.
         */
        if (!p->ever_heard || usec_sub(r->now, p->last_heard) > 2 * r->cfg.election_timeout)
                return;
        peer_state(r, p, RAFT_SNAPSHOT);
        p->snap_index = r->log.snap_index;
        TRACE(r, "asks for a snapshot >= %" PRIu64 " to %" PRIu64 " (next %" PRIu64 ")", p->snap_index,
              p->id, p->next);
        raft_send(r, (RaftMsg){ .type = RAFT_MSG_SNAP, .to = p->id, .index = p->snap_index },
                  WAIT_HARD_STATE, 0);
}

/* How many entries from p->next fit into one message. */
static uint64_t batch_size(const Raft *r, const Peer *p, uint64_t *ret_bytes) {
        uint64_t last = raft_log_last(&r->log), bytes = 0, n = 0;
        while (p->next + n <= last && n < BATCH_ENTRIES_MAX) {
                uint64_t cost = raft_entry_cost(raft_log_at(&r->log, p->next + n));
                if (n > 0 && bytes + cost > r->cfg.max_batch_bytes)
                        break;
                bytes += cost;
                n++;
        }
        *ret_bytes = bytes;
        return n;
}

/* One append message, if the peer can take one; true when sent. even_empty: also to carry the commit index
 * or to find out where the peer is. */
bool raft_send_append(Raft *r, Peer *p, bool even_empty) {
        assert(r->role == RAFT_LEADER);
        if (p->id == r->cfg.id || p->state == RAFT_SNAPSHOT || (p->state == RAFT_PROBE && p->paused))
                return false;
        bool full = p->state == RAFT_REPLICATE && inflight_full(r, p);
        if (full && !even_empty)
                return false;
        if (p->next <= r->log.snap_index) {
                send_snapshot(r, p);
                return false;
        }
        uint64_t bytes = 0, n = full ? 0 : batch_size(r, p, &bytes);
        if (n == 0 && !even_empty)
                return false;
        uint64_t prev = p->next - 1;
        RaftMsg m = { .type = RAFT_MSG_APP,
                      .to = p->id,
                      .index = prev,
                      .log_term = raft_log_term(&r->log, prev),
                      .commit = r->hs.commit };
        raft_send(r, m, WAIT_HARD_STATE, n);
        p->sent_commit = r->hs.commit;
        if (p->state == RAFT_PROBE)
                p->paused = true;
        else if (n > 0) {
                p->next += n;
                inflight_add(r, p, prev + n, bytes);
        }
        return true;
}

/* Everything that the peer can take now. The news of a commit alone is worth a message only when the
 * pipeline is empty: otherwise an answer will come, and bring us back here. */
static void catch_up(Raft *r, Peer *p) { /* a probe is always worth it */
        while (raft_send_append(r, p, p->state == RAFT_PROBE) && p->state == RAFT_REPLICATE)
                ;
        if (p->state == RAFT_REPLICATE && p->ring_n == 0 && p->sent_commit < r->hs.commit)
                (void) raft_send_append(r, p, true);
}

void raft_broadcast_append(Raft *r) {
        for (size_t i = 0; i < r->n_peers; i++)
                if (r->peers[i].id != r->cfg.id)
                        catch_up(r, &r->peers[i]);
}

void raft_broadcast_heartbeat(Raft *r) {
        for (size_t i = 0; i < r->n_peers; i++) {
                const Peer *p = &r->peers[i];
                if (p->id == r->cfg.id)
                        continue;
                RaftMsg m = { .type = RAFT_MSG_HEARTBEAT,
                              .to = p->id,
                              .commit = MIN(p->match, r->hs.commit),
                              .context = r->read_round };
                raft_send(r, m, WAIT_HARD_STATE, 0);
        }
}

/* ---- proposals ---- */

void raft_leader_append(Raft *r, uint32_t type, RaftBlock *block, const void *data, uint32_t len) {
        RaftEntry e = { .term = r->hs.term,
                        .index = raft_log_last(&r->log) + 1,
                        .type = type,
                        .len = len,
                        .data = len > 0 ? data : NULL,
                        .block = len > 0 ? block : NULL };
        raft_log_append(&r->log, &e);
        r->uncommitted_bytes += raft_entry_cost(&e);
}

static RaftDrop conf_allowed(const Raft *r, const RaftEntry *e) {
        RaftConfChange change;
        if (raft_conf_change_decode(e->data, e->len, &change) < 0)
                return RAFT_DROP_INVALID;
        if (r->pending_conf_index > r->applied)
                return RAFT_DROP_CONF_PENDING;
        RaftConf copy = r->conf;
        return raft_conf_apply(&copy, &change) < 0 ? RAFT_DROP_INVALID : RAFT_DROP_NONE;
}

/* All or nothing. */
RaftDrop raft_leader_propose(Raft *r, const RaftEntry *e, size_t n) {
        assert(r->role == RAFT_LEADER);
        if (r->leave_index != 0)
                return RAFT_DROP_NO_LEADER;
        if (r->transferee != 0)
                return RAFT_DROP_TRANSFER;
        uint64_t bytes = 0;
        for (size_t i = 0; i < n; i++) {
                if (e[i].len == 0 || e[i].len > RAFT_ENTRY_BYTES_MAX)
                        return RAFT_DROP_INVALID;
                bytes += raft_entry_cost(&e[i]);
                if (e[i].type != RAFT_ENTRY_CONF)
                        continue;
                RaftDrop drop = n > 1 ? RAFT_DROP_INVALID : conf_allowed(r, &e[i]);
                if (drop != RAFT_DROP_NONE)
                        return drop;
        }
        if (r->uncommitted_bytes > 0 && r->uncommitted_bytes + bytes > r->cfg.max_uncommitted_bytes)
                return RAFT_DROP_FULL;
        r->first_index = raft_log_last(&r->log) + 1;
        for (size_t i = 0; i < n; i++)
                raft_leader_append(r, e[i].type, e[i].block, e[i].data, e[i].len);
        if (n > 0 && e[0].type == RAFT_ENTRY_CONF) {
                r->pending_conf_index = r->first_index;
                TRACE(r, "membership change at %" PRIu64, r->first_index);
        }
        if (HAS_FAULT(r, COUNT_SELF_EARLY))
                (void) raft_maybe_commit(r);
        raft_broadcast_append(r);
        return RAFT_DROP_NONE;
}

/* ---- answers ---- */

static void maybe_timeout_now(Raft *r, const Peer *p) {
        if (r->transferee != p->id || p->match < raft_log_last(&r->log))
                return;
        TRACE(r, "tells %" PRIu64 " to campaign now", p->id);
        raft_send(r, (RaftMsg){ .type = RAFT_MSG_TIMEOUT_NOW, .to = p->id }, WAIT_HARD_STATE, 0);
}

static void append_rejected(Raft *r, Peer *p, const RaftMsg *m) {
        uint64_t hint = m->hint;
        /* Skip all our entries of terms that the peer cannot have there (thesis 5.3's optimisation). */
        if (m->log_term > 0)
                hint = raft_log_conflict(&r->log, m->hint, m->log_term);
        if (p->state == RAFT_SNAPSHOT)
                return;
        /* An old answer; or a peer that lost what it had acknowledged (its data folder was emptied): asking
         * again at once would spin at the speed of the network, so the next heartbeat has to do it. */
        if (m->index <= p->match)
                return;
        if (p->state == RAFT_REPLICATE) {
                raft_peer_probe(r, p, p->match + 1);
        } else {
                if (p->next - 1 != m->index)
                        return; /* old */
                p->next = MAX(hint < m->index ? hint + 1 : m->index, p->match + 1);
                p->paused = false;
        }
        TRACE(r, "peer %" PRIu64 " rejects append after %" PRIu64 ", next %" PRIu64, p->id, m->index,
              p->next);
        (void) raft_send_append(r, p, true);
}

static void append_accepted(Raft *r, Peer *p, uint64_t index) {
        if (index < p->match || (index == p->match && p->state != RAFT_PROBE))
                return;
        p->match = index;
        p->next = MAX(p->next, index + 1);
        switch (p->state) {
        case RAFT_PROBE:
                peer_replicate(r, p);
                break;
        case RAFT_SNAPSHOT:
                if (p->match >= r->log.snap_index)
                        peer_replicate(r, p);
                break;
        case RAFT_REPLICATE:
                inflight_free_to(p, index);
                break;
        case _RAFT_PROGRESS_MAX:
                break;
        }
        if (raft_maybe_commit(r))
                raft_broadcast_append(r);
        else
                catch_up(r, p);
        maybe_timeout_now(r, p);
}

void raft_on_app_resp(Raft *r, const RaftMsg *m) {
        Peer *p = raft_peer(r, m->from);
        if (!p || p->id == r->cfg.id)
                return;
        peer_heard(r, p, m);
        if (m->reject)
                append_rejected(r, p, m);
        else if (m->index <= raft_log_last(&r->log))
                append_accepted(r, p, m->index);
        raft_maybe_leave(r);
}

void raft_on_heartbeat_resp(Raft *r, const RaftMsg *m) {
        Peer *p = raft_peer(r, m->from);
        if (!p || p->id == r->cfg.id)
                return;
        peer_heard(r, p, m);
        p->paused = false;
        if (p->match < raft_log_last(&r->log) || p->state == RAFT_PROBE)
                (void) raft_send_append(r, p, true);
        if (m->context > p->read_acked && m->context <= r->read_round) {
                p->read_acked = m->context;
                raft_reads_confirm(r);
        }
        raft_maybe_leave(r);
}

static uint64_t commit_of(const Raft *r, const Peer *p) {
        return p->commit;
}

/* A leader that was removed goes on until a majority of those who stay knows that the removal is committed.
 * Otherwise nobody might be electable: the others still count our vote, and we may have entries that they
 * lack. */
void raft_maybe_leave(Raft *r) {
        if (r->role != RAFT_LEADER || r->leave_index == 0 || raft_quorum_of(r, commit_of) < r->leave_index)
                return;
        const Peer *best = NULL;
        for (size_t i = 0; i < r->n_peers; i++)
                if (!r->peers[i].learner && (!best || r->peers[i].match > best->match))
                        best = &r->peers[i];
        TRACE(r, "steps down: removed, and a majority knows it");
        if (best && best->commit >= r->leave_index)
                raft_send(r, (RaftMsg){ .type = RAFT_MSG_TIMEOUT_NOW, .to = best->id }, WAIT_HARD_STATE, 0);
        raft_become_follower(r, r->hs.term, 0);
}

/* How far the log may be compacted: whoever is receiving a snapshot, or has just received one, needs what
 * comes behind it. Otherwise, under load, the next snapshot would be due before the last one is in place,
 * for ever. */
uint64_t raft_compact_limit(const Raft *r, uint64_t index) {
        if (r->role != RAFT_LEADER || r->log.bytes > r->cfg.max_hold_bytes)
                return index;
        for (size_t i = 0; i < r->n_peers; i++) {
                const Peer *p = &r->peers[i];
                if (usec_sub(r->now, p->last_heard) > r->cfg.election_timeout)
                        continue;
                if (p->state == RAFT_SNAPSHOT)
                        index = MIN(index, p->snap_index);
                else if (p->fresh)
                        index = MIN(index, p->next - 1);
        }
        return index;
}

void raft_check_quorum(Raft *r) {
        uint32_t alive = 0;
        for (size_t i = 0; i < r->n_peers; i++) {
                Peer *p = &r->peers[i];
                if (!p->learner && (p->heard || p->id == r->cfg.id))
                        alive++;
                p->heard = false;
        }
        if (alive > r->conf.n_voters / 2)
                return;
        TRACE(r, "steps down: hears only %" PRIu32 " of %" PRIu32 " voters", alive, r->conf.n_voters);
        raft_become_follower(r, r->hs.term, 0);
}

RaftDrop raft_transfer(Raft *r, uint64_t to) {
        assert(r->role == RAFT_LEADER);
        Peer *p = raft_peer(r, to);
        if (!p || p->learner || to == r->cfg.id)
                return RAFT_DROP_INVALID;
        if (r->transferee == to)
                return RAFT_DROP_NONE;
        r->transferee = to;
        r->transfer_deadline = usec_add(r->now, r->cfg.election_timeout);
        TRACE(r, "transfers leadership to %" PRIu64, to);
        if (p->match == raft_log_last(&r->log))
                maybe_timeout_now(r, p);
        else
                (void) raft_send_append(r, p, true);
        return RAFT_DROP_NONE;
}
