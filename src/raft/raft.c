/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/raft.h"

#include "base/alloc.h"
#include "raft/raft-internal.h"

static const char *const role_names[_RAFT_ROLE_MAX] = { "follower", "pre-candidate", "candidate", "leader" };

const char *raft_role_name(RaftRole role) {
        return (size_t) role < ELEMENTSOF(role_names) ? role_names[role] : "?";
}

static const char *const drop_names[_RAFT_DROP_MAX] = {
        [RAFT_DROP_NONE] = "none",
        [RAFT_DROP_NO_LEADER] = "no leader",
        [RAFT_DROP_TRANSFER] = "leadership is being transferred",
        [RAFT_DROP_FULL] = "too much is uncommitted",
        [RAFT_DROP_CONF_PENDING] = "an earlier membership change is not applied",
        [RAFT_DROP_INVALID] = "invalid",
        [RAFT_DROP_STOPPED] = "storage failed",
};

const char *raft_drop_name(RaftDrop d) {
        return (size_t) d < ELEMENTSOF(drop_names) ? drop_names[d] : "?";
}

/* ---- creation ---- */

static int config_check(const RaftConfig *c, Err *err) {
        if (c->id == 0)
                return err_set(err, -EINVAL, "raft: the member id may not be 0");
        if (c->heartbeat_interval == 0 || c->election_timeout <= c->heartbeat_interval)
                return err_set(err, -EINVAL,
                               "raft: the election timeout must be above the heartbeat interval");
        if (c->max_inflight > RAFT_INFLIGHT_LIMIT)
                return err_set(err, -EINVAL, "raft: max_inflight above %u", RAFT_INFLIGHT_LIMIT);
        if (c->max_batch_bytes > RAFT_ENTRY_BYTES_MAX)
                return err_set(err, -EINVAL, "raft: max_batch_bytes above %u", RAFT_ENTRY_BYTES_MAX);
        return 0;
}

static int initial_check(const RaftInitial *i, Err *err) {
        uint64_t term = i->snap_term, last = i->snap_index + i->n_entries;
        for (size_t k = 0; k < i->n_entries; k++) {
                const RaftEntry *e = &i->entries[k];
                if (e->index != i->snap_index + 1 + k)
                        return err_set(err, -EUCLEAN,
                                       "raft: log entry %" PRIu64 " where %" PRIu64 " should be", e->index,
                                       i->snap_index + 1 + k);
                if (e->term < term || e->term == 0)
                        return err_set(err, -EUCLEAN,
                                       "raft: log entry %" PRIu64 " has term %" PRIu64 " after %" PRIu64,
                                       e->index, e->term, term);
                term = e->term;
        }
        if (term > i->hs.term)
                return err_set(err, -EUCLEAN,
                               "raft: the log reaches term %" PRIu64 ", the saved term is %" PRIu64, term,
                               i->hs.term);
        if (i->hs.commit > last)
                return err_set(err, -EUCLEAN,
                               "raft: entry %" PRIu64 " was committed, but the log ends at %" PRIu64,
                               i->hs.commit, last);
        if (i->applied < i->snap_index || i->applied > last)
                return err_set(err, -EUCLEAN,
                               "raft: the state machine is at %" PRIu64 ", the log covers %" PRIu64
                               " to %" PRIu64,
                               i->applied, i->snap_index, last);
        return 0;
}

static void load_log(Raft *r, const RaftInitial *i) {
        raft_log_reset(&r->log, i->snap_index, i->snap_term);
        r->hs = i->hs;
        r->hs.commit = MAX(r->hs.commit, i->applied);
        for (size_t k = 0; k < i->n_entries; k++) {
                if (i->entries[k].type == RAFT_ENTRY_CONF) /* see prove_commit() in follower.c */
                        r->hs.commit = MAX(r->hs.commit, r->log.last_conf);
                raft_log_append(&r->log, &i->entries[k]);
        }
        r->stable = r->written = raft_log_last(&r->log);
        r->applied = r->handed = i->applied;
        r->hs_written = r->hs;
        r->commit_saved = r->hs.commit;
        r->conf = i->conf;
}

Raft *raft_new(const RaftConfig *config, const RaftInitial *initial, Err *err) {
        if (config_check(config, err) < 0 || initial_check(initial, err) < 0)
                return NULL;
        Raft *r = xnew(Raft, 1);
        r->cfg = *config;
        if (!r->cfg.max_batch_bytes)
                r->cfg.max_batch_bytes = BATCH_BYTES_DEFAULT;
        if (!r->cfg.max_inflight)
                r->cfg.max_inflight = INFLIGHT_DEFAULT;
        if (!r->cfg.max_uncommitted_bytes)
                r->cfg.max_uncommitted_bytes = UNCOMMITTED_BYTES_DEFAULT;
        if (!r->cfg.max_hold_bytes)
                r->cfg.max_hold_bytes = HOLD_BYTES_DEFAULT;
        if (!r->cfg.max_apply_bytes)
                r->cfg.max_apply_bytes = APPLY_BYTES_DEFAULT;
        r->random = config->seed;
        r->now = r->clock = config->now;
        load_log(r, initial);
        raft_reset_election_timer(r);
        TRACE(r,
              "starts at term %" PRIu64 ", vote %" PRIu64 ", commit %" PRIu64 ", applied %" PRIu64
              ", last %" PRIu64,
              r->hs.term, r->hs.vote, r->hs.commit, r->applied, raft_log_last(&r->log));
        raft_check(r);
        return r;
}

Raft *raft_free(Raft *r) {
        if (!r)
                return NULL;
        r->n_pending = 0;
        raft_leader_done(r);
        raft_entries_free(r->forward, r->n_forward);
        raft_log_done(&r->log);
        free(r->writes);
        free(r->peers);
        free(r->pending);
        free(r->staged);
        free(r->held);
        free(r->out);
        free(r->reads);
        return xfree(r);
}

/* ---- received messages ---- */

/* What a message of a higher term does to us. False: ignore it. */
static bool newer_term(Raft *r, const RaftMsg *m) {
        bool vote = m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PRE_VOTE;
        if (vote && !m->force && raft_in_lease(r)) {
                TRACE(r, "ignores %s from %" PRIu64 " at term %" PRIu64 ": %" PRIu64 " leads",
                      raft_msg_type_name(m->type), m->from, m->term, r->leader);
                return false;
        }
        if (m->type == RAFT_MSG_PRE_VOTE)
                return true; /* only asks */
        if (m->type == RAFT_MSG_PRE_VOTE_RESP && !m->reject)
                return true; /* carries the term we asked for */
        bool leads = m->type == RAFT_MSG_APP || m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_SNAP;
        /* A candidate that we will refuse must not put off our own election: only a leader or a granted vote
         * does (thesis 3.4). Else members with short logs can keep one with a good log from ever standing.
         */
        Usec deadline = r->role == RAFT_FOLLOWER && vote ? r->election_deadline : 0;
        raft_become_follower(r, m->term, leads ? m->from : 0);
        if (deadline != 0)
                r->election_deadline = deadline;
        return true;
}

/* A message of a lower term is void; its sender may have to learn that there is a newer one. */
static void older_term(Raft *r, const RaftMsg *m) {
        if (m->type == RAFT_MSG_APP || m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_SNAP)
                /* Also frees a node whose term ran ahead in a partition: the leader then steps down and the
                 * two agree on a term. Any answer with our term does it. */
                raft_send(r, (RaftMsg){ .type = RAFT_MSG_APP_RESP, .to = m->from }, WAIT_HARD_STATE, 0);
        else if (m->type == RAFT_MSG_PRE_VOTE)
                raft_send(r, (RaftMsg){ .type = RAFT_MSG_PRE_VOTE_RESP, .to = m->from, .reject = true },
                          WAIT_HARD_STATE, 0);
}

/* A message that only a leader of this term sends. */
static void on_leader_message(Raft *r, const RaftMsg *m) {
        if (r->role == RAFT_LEADER || (r->leader != 0 && r->leader != m->from)) {
                TRACE(r, "ignores %s: %" PRIu64 " claims to lead term %" PRIu64 " as well",
                      raft_msg_type_name(m->type), m->from, m->term);
                return;
        }
        if (r->role != RAFT_FOLLOWER || r->leader != m->from)
                raft_become_follower(r, m->term, m->from);
        r->last_contact = r->now;
        raft_reset_election_timer(r);
        if (m->type == RAFT_MSG_APP)
                raft_on_append(r, m);
        else if (m->type == RAFT_MSG_HEARTBEAT)
                raft_on_heartbeat(r, m);
        else
                raft_on_snapshot(r, m);
}

static void on_read_index_resp(Raft *r, const RaftMsg *m) {
        if (r->leader != m->from)
                return;
        if (m->reject) {
                raft_read_drop(r, m->context);
                return;
        }
        GROW(r->reads, r->reads_cap, r->n_reads + 1);
        r->reads[r->n_reads++] = (RaftRead){ .context = m->context, .index = m->index };
}

/* Wishes that followers forward. A proposal is taken only in the very term in which it was sent: once an
 * entry of a later term is applied, whatever was proposed before and has not been applied by then never will
 * be, so that its sender may propose it again (exactly once: see requests_new_term() of the replica). */
static void on_forwarded(Raft *r, const RaftMsg *m) {
        if (r->role != RAFT_LEADER || (m->type == RAFT_MSG_PROP && m->term != r->hs.term))
                return;
        if (m->type == RAFT_MSG_PROP)
                (void) raft_leader_propose(r, m->entries, m->n_entries);
        else if (m->type == RAFT_MSG_READ_INDEX)
                raft_read(r, m->from, m->context);
        else
                (void) raft_transfer(r, m->context);
        r->first_index = 0; /* nobody here asked */
}

static void on_message(Raft *r, const RaftMsg *m) {
        if (m->to != r->cfg.id || m->from == r->cfg.id || m->from == 0 || m->term > NUMBER_MAX)
                return;
        if (m->type == RAFT_MSG_PROP || m->type == RAFT_MSG_READ_INDEX || m->type == RAFT_MSG_TRANSFER) {
                on_forwarded(r, m);
                return;
        }
        if (m->term < r->hs.term) {
                older_term(r, m);
                return;
        }
        if (m->term > r->hs.term && !newer_term(r, m))
                return;
        switch (m->type) {
        case RAFT_MSG_APP:
        case RAFT_MSG_HEARTBEAT:
        case RAFT_MSG_SNAP:
                on_leader_message(r, m);
                return;
        case RAFT_MSG_PRE_VOTE:
        case RAFT_MSG_VOTE:
                raft_on_vote(r, m);
                return;
        case RAFT_MSG_PRE_VOTE_RESP:
        case RAFT_MSG_VOTE_RESP:
                raft_on_vote_resp(r, m);
                return;
        case RAFT_MSG_APP_RESP:
                if (r->role == RAFT_LEADER)
                        raft_on_app_resp(r, m);
                return;
        case RAFT_MSG_HEARTBEAT_RESP:
                if (r->role == RAFT_LEADER)
                        raft_on_heartbeat_resp(r, m);
                return;
        case RAFT_MSG_READ_INDEX_RESP:
                on_read_index_resp(r, m);
                return;
        case RAFT_MSG_TIMEOUT_NOW:
                if (r->role == RAFT_FOLLOWER && r->leader == m->from)
                        raft_hup(r, true);
                return;
        case RAFT_MSG_PROP:
        case RAFT_MSG_READ_INDEX:
        case RAFT_MSG_TRANSFER:
        case _RAFT_MSG_TYPE_MAX:
                return;
        }
}

/* ---- requests of our own ---- */

static void submit(Raft *r, const RaftEntry *e, size_t n) {
        if (n > RAFT_MSG_ENTRIES_MAX) {
                r->dropped = RAFT_DROP_FULL;
                return;
        }
        if (r->role == RAFT_LEADER) {
                r->dropped = raft_leader_propose(r, e, n);
                return;
        }
        if (r->leader == 0 || r->cfg.no_forward) {
                r->dropped = RAFT_DROP_NO_LEADER;
                return;
        }
        r->forward = raft_entries_copy(e, n);
        r->n_forward = n;
        for (size_t from = 0, to; from < n; from = to) { /* in messages of bounded size */
                uint64_t bytes = raft_entry_cost(&e[from]);
                for (to = from + 1; to < n && bytes + raft_entry_cost(&e[to]) <= r->cfg.max_batch_bytes;
                     to++)
                        bytes += raft_entry_cost(&e[to]);
                RaftMsg m = { .type = RAFT_MSG_PROP,
                              .to = r->leader,
                              .entries = r->forward + from,
                              .n_entries = to - from };
                raft_send(r, m, WAIT_NOTHING, 0);
        }
}

static void propose(Raft *r, const RaftProposal *items, size_t n) {
        if (n == 0)
                return;
        RaftEntry few[16], *e = n <= ELEMENTSOF(few) ? few : xnew(RaftEntry, n);
        for (size_t i = 0; i < n; i++)
                e[i] = (RaftEntry){ .len = items[i].len, .data = items[i].data, .block = items[i].block };
        submit(r, e, n);
        if (e != few)
                free(e);
}

static void propose_conf(Raft *r, const RaftConfChange *change) {
        _cleanup_(buf_done) Buf b = {};
        raft_conf_change_encode(change, &b);
        _cleanup_(raft_block_unrefp) RaftBlock *block = raft_block_dup(b.data, b.len);
        if (!block || b.len > RAFT_ENTRY_BYTES_MAX) {
                r->dropped = RAFT_DROP_FULL;
                return;
        }
        RaftEntry e = {
                .type = RAFT_ENTRY_CONF, .len = (uint32_t) b.len, .data = block->bytes, .block = block
        };
        submit(r, &e, 1);
}

static void read_index(Raft *r, uint64_t context) {
        assert(context != 0);
        if (r->role == RAFT_LEADER)
                raft_read(r, r->cfg.id, context);
        else if (r->leader != 0)
                raft_send(r, (RaftMsg){ .type = RAFT_MSG_READ_INDEX, .to = r->leader, .context = context },
                          WAIT_NOTHING, 0);
        else
                raft_read_drop(r, context);
}

static void transfer(Raft *r, uint64_t to) {
        if (r->role == RAFT_LEADER)
                r->dropped = raft_transfer(r, to);
        else if (r->leader == 0)
                r->dropped = RAFT_DROP_NO_LEADER;
        else
                raft_send(r, (RaftMsg){ .type = RAFT_MSG_TRANSFER, .to = r->leader, .context = to },
                          WAIT_NOTHING, 0);
}

/* ---- the state machine and the transport report ---- */

/* The last words to members that leave, or from a leader that does: that the removal is committed. */
static void tell_commit(Raft *r, uint64_t removed) {
        for (size_t i = 0; i < r->n_peers; i++)
                if (removed == r->cfg.id || removed == r->peers[i].id)
                        (void) raft_send_append(r, &r->peers[i], true);
}

static void conf_applied(Raft *r, const RaftEntry *e) {
        RaftConfChange change;
        RaftConf before = r->conf;
        int k = raft_conf_change_decode(e->data, e->len, &change);
        if (k >= 0)
                k = raft_conf_apply(&r->conf, &change);
        if (k < 0 || raft_conf_equal(&before, &r->conf)) {
                TRACE(r, "membership entry %" PRIu64 " changes nothing", e->index);
                return;
        }
        r->conf_changed = true;
        TRACE(r, "membership entry %" PRIu64 ": %" PRIu32 " voters, %" PRIu32 " learners", e->index,
              r->conf.n_voters, r->conf.n_learners);
        if (r->role != RAFT_LEADER) {
                if (r->role != RAFT_FOLLOWER && !raft_promotable(r)) /* removed while it campaigned */
                        raft_become_follower(r, r->hs.term, 0);
                return;
        }
        if (change.type == RAFT_CONF_REMOVE)
                tell_commit(r, change.id);
        if (!raft_conf_is_voter(&r->conf, r->cfg.id))
                r->leave_index = e->index;
        raft_peers_sync(r);
        if (r->transferee != 0 && !raft_conf_is_voter(&r->conf, r->transferee))
                r->transferee = 0;
        (void) raft_maybe_commit(r);
        raft_broadcast_append(r);
        raft_reads_confirm(r);
        raft_maybe_leave(r);
}

static void on_applied(Raft *r, uint64_t index, bool conf_veto) {
        assert(index <= MAX(r->handed, r->applied));
        if (index <= r->applied)
                return;
        if (index <= r->log.snap_index) { /* handed out before a snapshot overtook it */
                r->applied = index;
                return;
        }
        for (uint64_t i = r->applied + 1; i <= index; i++) {
                const RaftEntry *e = raft_log_at(&r->log, i);
                assert(r->handed_bytes >= raft_entry_cost(e));
                r->handed_bytes -= raft_entry_cost(e);
                r->applied = i;
                if (e->type != RAFT_ENTRY_CONF)
                        continue;
                assert(i == r->handed);
                if (conf_veto)
                        TRACE(r, "membership entry %" PRIu64 " was refused", i);
                else
                        conf_applied(r, e);
        }
}

static void on_snapshot_status(Raft *r, uint64_t id, uint64_t index, bool ok) {
        Peer *p = r->role == RAFT_LEADER ? raft_peer(r, id) : NULL;
        if (!p || p->state != RAFT_SNAPSHOT)
                return;
        TRACE(r, "snapshot %" PRIu64 " to %" PRIu64 ": %s", index, id, ok ? "sent" : "failed");
        raft_peer_probe(r, p, ok ? MIN(index, raft_log_last(&r->log)) + 1 : p->match + 1);
        p->fresh = ok;
        p->paused = true; /* until it answers, or the next heartbeat answer */
}

static void on_unreachable(Raft *r, uint64_t id) {
        Peer *p = r->role == RAFT_LEADER ? raft_peer(r, id) : NULL;
        if (p && p->state == RAFT_REPLICATE) /* the pipeline was probably lost */
                raft_peer_probe(r, p, p->match + 1);
}

static void on_compact(Raft *r, uint64_t index) {
        assert(index <= r->applied);
        index = raft_compact_limit(r, index);
        if (index > r->log.snap_index)
                raft_log_compact(&r->log, index);
}

static void on_storage_failed(Raft *r) {
        TRACE(r, "storage failed: stops");
        raft_become_follower(r, r->hs.term, 0);
        r->stopped = true;
        r->n_held = r->n_staged = 0;
}

/* ---- time ---- */

/* A step backwards counts as no time, and from there on time goes forward again. */
static void clock_advance(Raft *r, Usec now) {
        if (now < r->clock)
                r->clock_skew += r->clock - now;
        r->clock = now;
        r->now = usec_add(now, r->clock_skew);
}

static Usec outside_time(const Raft *r, Usec at) {
        return usec_sub(at, r->clock_skew);
}

static void timers(Raft *r) {
        if (r->role != RAFT_LEADER) {
                if (r->now >= r->election_deadline)
                        raft_hup(r, false);
                return;
        }
        if (r->transferee != 0 && r->now >= r->transfer_deadline) {
                TRACE(r, "transfer to %" PRIu64 " timed out", r->transferee);
                r->transferee = 0;
        }
        if (r->now >= r->quorum_deadline) {
                r->quorum_deadline = usec_add(r->now, r->cfg.election_timeout);
                if (r->cfg.check_quorum)
                        raft_check_quorum(r);
                if (r->role != RAFT_LEADER)
                        return;
        }
        if (r->now >= r->heartbeat_deadline) {
                r->heartbeat_deadline = usec_add(r->now, r->cfg.heartbeat_interval);
                raft_broadcast_heartbeat(r);
        }
}

Usec raft_deadline(const Raft *r) {
        if (r->stopped)
                return USEC_NEVER;
        if (r->role != RAFT_LEADER)
                return raft_promotable(r) ? outside_time(r, r->election_deadline) : USEC_NEVER;
        Usec at = MIN(r->heartbeat_deadline, r->quorum_deadline);
        return outside_time(r, r->transferee != 0 ? MIN(at, r->transfer_deadline) : at);
}

/* ---- the step ---- */

static void dispatch(Raft *r, const RaftEvent *ev) {
        switch (ev->type) {
        case RAFT_EV_TICK:
                return;
        case RAFT_EV_RECEIVE:
                on_message(r, ev->msg);
                return;
        case RAFT_EV_PERSISTED:
                raft_persisted(r, ev->seq);
                return;
        case RAFT_EV_STORAGE_FAILED:
                on_storage_failed(r);
                return;
        case RAFT_EV_APPLIED:
                on_applied(r, ev->applied.index, ev->applied.conf_veto);
                return;
        case RAFT_EV_PROPOSE:
                propose(r, ev->propose.items, ev->propose.n);
                return;
        case RAFT_EV_CONF_CHANGE:
                propose_conf(r, ev->conf);
                return;
        case RAFT_EV_READ_INDEX:
                read_index(r, ev->read_context);
                return;
        case RAFT_EV_TRANSFER:
                transfer(r, ev->peer);
                return;
        case RAFT_EV_CAMPAIGN:
                raft_hup(r, false);
                return;
        case RAFT_EV_UNREACHABLE:
                on_unreachable(r, ev->peer);
                return;
        case RAFT_EV_SNAPSHOT_STATUS:
                on_snapshot_status(r, ev->snapshot.peer, ev->snapshot.index, ev->snapshot.ok);
                return;
        case RAFT_EV_COMPACT:
                on_compact(r, ev->index);
                return;
        case _RAFT_EVENT_MAX:
                break;
        }
        assert(!"unknown raft event");
}

void raft_step(Raft *r, const RaftEvent *ev, RaftUpdate *ret) {
        assert(ev->now != USEC_NEVER);
        *ret = (RaftUpdate){};
        raft_begin(r);
        if (r->stopped) {
                ret->persist.hs = r->hs;
                ret->dropped = RAFT_DROP_STOPPED;
                if (ev->type == RAFT_EV_READ_INDEX)
                        raft_read_drop(r, ev->read_context);
                ret->reads = r->reads;
                ret->n_reads = r->n_reads;
                return;
        }
        clock_advance(r, ev->now);
        RaftRole role = r->role;
        uint64_t term = r->hs.term, leader = r->leader;
        /* The event first, then the timers: after the process was held up, the heartbeats that waited in a
         * socket should count before the election timer does. */
        dispatch(r, ev);
        if (!r->stopped)
                timers(r);
        ret->state_changed = role != r->role || term != r->hs.term || leader != r->leader;
        raft_finish(r, ret);
#if defined(__SANITIZE_ADDRESS__) || defined(RAFT_CHECK_ALWAYS)
        raft_check(r);
#endif
}

/* ---- looking inside ---- */

void raft_status(const Raft *r, RaftStatus *ret) {
        *ret = (RaftStatus){ .id = r->cfg.id,
                             .role = r->role,
                             .leader = r->leader,
                             .hs = r->hs,
                             .first_index = r->log.snap_index + 1,
                             .last_index = raft_log_last(&r->log),
                             .stable_index = r->stable,
                             .applied = r->applied,
                             .log_bytes = r->log.bytes,
                             .transferee = r->transferee };
        for (size_t i = 0; i < r->n_peers; i++) {
                const Peer *p = &r->peers[i];
                if (p->id == r->cfg.id)
                        continue;
                bool active = p->ever_heard && usec_sub(r->now, p->last_heard) < r->cfg.election_timeout;
                ret->peers[ret->n_peers++] = (RaftPeerStatus){ .id = p->id,
                                                               .learner = p->learner,
                                                               .active = active,
                                                               .state = p->state,
                                                               .match = p->match,
                                                               .next = p->next,
                                                               .inflight = p->ring_n };
        }
}

RaftRole raft_role(const Raft *r) {
        return r->role;
}

uint64_t raft_leader(const Raft *r) {
        return r->leader;
}

uint64_t raft_term(const Raft *r) {
        return r->hs.term;
}

uint64_t raft_commit(const Raft *r) {
        return r->hs.commit;
}

uint64_t raft_last_index(const Raft *r) {
        return raft_log_last(&r->log);
}

const RaftConf *raft_conf(const Raft *r) {
        return &r->conf;
}

int raft_term_at(const Raft *r, uint64_t index, uint64_t *ret) {
        if (index < r->log.snap_index)
                return -ENODATA;
        if (index > raft_log_last(&r->log))
                return -ERANGE;
        *ret = raft_log_term(&r->log, index);
        return 0;
}

const RaftEntry *raft_entry_at(const Raft *r, uint64_t index) {
        if (index <= r->log.snap_index || index > raft_log_last(&r->log))
                return NULL;
        return raft_log_at(&r->log, index);
}
