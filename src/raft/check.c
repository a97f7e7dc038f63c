/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/raft-internal.h"

#include <stdarg.h>
#include <stdio.h>

#ifdef CORACLE_FAULTS
const char *const raft_fault_names[] = {
        "commit-old-term",  "no-noop",         "vote-not-saved", "read-unconfirmed", "no-log-matching",
        "count-self-early", "ack-before-sync", "apply-twice",    "double-vote",      NULL,
};
#endif

void raft_trace(Raft *r, const char *fmt, ...) {
        char line[256];
        va_list ap;
        va_start(ap, fmt);
        (void) vsnprintf(line, sizeof(line), fmt, ap);
        va_end(ap);
        r->cfg.trace(r->cfg.trace_ctx, line);
}

static void check_log(const Raft *r) {
        const RaftLog *l = &r->log;
        uint64_t last = raft_log_last(l);
        assert(l->head + l->n <= l->cap || l->n == 0);
        assert(l->snap_index == 0 || l->snap_term > 0);
        assert(r->hs.commit >= l->snap_index && r->hs.commit <= last);
        assert(raft_log_last_term(l) <= r->hs.term);
        assert(r->stable <= last);
        assert(r->written == last); /* each step hands out everything */
        assert(l->last_conf <= last);
        if (l->n > 0) { /* the ends; the middle was checked when it was at the end */
                assert(raft_log_at(l, last)->index == last);
                assert(raft_log_at(l, l->snap_index + 1)->index == l->snap_index + 1);
                assert(raft_log_at(l, l->snap_index + 1)->term >= l->snap_term);
        }
}

static void check_disk(const Raft *r) {
        assert(r->seq_done <= r->seq_last && r->seq_hs <= r->seq_last);
        assert(r->n_writes == r->seq_last - r->seq_done);
        for (size_t i = 0; i < r->n_writes; i++) {
                assert(r->writes[i].seq == r->seq_done + 1 + i);
                assert(r->writes[i].last <= raft_log_last(&r->log));
                assert(i == 0 || r->writes[i].last >= r->writes[i - 1].last);
        }
        for (size_t i = 0; i < r->n_held; i++)
                assert(r->held[i].seq > r->seq_done && r->held[i].seq <= r->seq_last);
        assert(r->applied <= r->handed);
        assert(r->handed <= r->hs.commit);
        assert(r->handed <= r->stable || r->handed < r->log.snap_index || HAS_FAULT(r, COUNT_SELF_EARLY));
}

static void check_leader(const Raft *r) {
        const RaftLog *l = &r->log;
        assert(r->leader == r->cfg.id && r->hs.vote == r->cfg.id);
        assert(r->seq_hs <= r->seq_done || HAS_FAULT(r, VOTE_NOT_SAVED)); /* our vote is durable */
        assert(r->n_peers == r->conf.n_voters + r->conf.n_learners);
        uint64_t uncommitted = 0;
        for (uint64_t i = MAX(r->hs.commit, raft_log_last(l) - MIN(raft_log_last(l), 64U)) + 1;
             i <= raft_log_last(l); i++)
                uncommitted += raft_entry_cost(raft_log_at(l, i));
        assert(r->uncommitted_bytes >= uncommitted);
        for (size_t i = 0; i < r->n_peers; i++) {
                const Peer *p = &r->peers[i];
                assert(p->match < p->next);
                assert(p->match <= raft_log_last(l) && p->next <= raft_log_last(l) + 1);
                assert(p->learner ? raft_conf_is_learner(&r->conf, p->id)
                                  : raft_conf_is_voter(&r->conf, p->id));
                assert(p->ring_n == 0 || p->state == RAFT_REPLICATE);
                assert(p->id != r->cfg.id || p->match == r->stable);
                assert(p->read_acked <= r->read_round);
        }
        assert(r->transferee != r->cfg.id);
        assert(r->read_confirmed <= r->read_round && r->read_round <= r->read_confirmed + 1);
}

void raft_check(const Raft *r) {
        assert(r->cfg.id != 0);
        assert(r->n_staged == 0);
        check_log(r);
        check_disk(r);
        switch (r->role) {
        case RAFT_LEADER:
                check_leader(r);
                return;
        case RAFT_CANDIDATE:
                assert(r->hs.vote == r->cfg.id);
                assert(r->leader == 0);
                break;
        case RAFT_PRE_CANDIDATE:
                assert(r->leader == 0);
                break;
        case RAFT_FOLLOWER:
                assert(r->leader != r->cfg.id);
                break;
        case _RAFT_ROLE_MAX:
                assert(!"no such role");
        }
        assert(r->n_peers == 0 && r->n_pending == 0 && r->transferee == 0);
}
