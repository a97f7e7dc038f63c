/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "raft/raft-internal.h"

/* ReadIndex (thesis 6.4): a read may be served from the state machine once it has applied the commit index
 * of the moment the read arrived, provided that a quorum confirmed *after* that moment that this leader
 * still leads. Confirmation is a heartbeat round with a number; one round is under way at a time, and reads
 * that arrive meanwhile share the next one, so that any number of readers costs two rounds per round trip.
 */

static void answer(Raft *r, const PendingRead *p) {
        if (p->from != r->cfg.id) {
                RaftMsg m = { .type = RAFT_MSG_READ_INDEX_RESP,
                              .to = p->from,
                              .context = p->context,
                              .index = p->index };
                raft_send(r, m, WAIT_HARD_STATE, 0);
                return;
        }
        GROW(r->reads, r->reads_cap, r->n_reads + 1);
        r->reads[r->n_reads++] = (RaftRead){ .context = p->context, .index = p->index };
}

void raft_read_drop(Raft *r, uint64_t context) {
        GROW(r->reads, r->reads_cap, r->n_reads + 1);
        r->reads[r->n_reads++] = (RaftRead){ .context = context, .dropped = true };
}

static void refuse(Raft *r, uint64_t from, uint64_t context) {
        if (from == r->cfg.id) {
                raft_read_drop(r, context);
                return;
        }
        RaftMsg m = { .type = RAFT_MSG_READ_INDEX_RESP, .to = from, .context = context, .reject = true };
        raft_send(r, m, WAIT_HARD_STATE, 0);
}

void raft_read(Raft *r, uint64_t from, uint64_t context) {
        assert(r->role == RAFT_LEADER);
        if (HAS_FAULT(r, READ_UNCONFIRMED)) {
                answer(r, &(PendingRead){ .context = context, .from = from, .index = r->hs.commit });
                return;
        }
        if (r->n_pending >= RAFT_READS_PENDING_MAX) {
                refuse(r, from, context);
                return;
        }
        GROW(r->pending, r->pending_cap, r->n_pending + 1);
        r->pending[r->n_pending++] = (PendingRead){ .context = context, .from = from };
        raft_reads_start(r);
}

/* Starts a round for all waiting reads, unless one is under way or nothing of our term is committed yet. */
void raft_reads_start(Raft *r) {
        if (r->read_confirmed < r->read_round || !raft_committed_own_term(r))
                return;
        size_t i = 0;
        while (i < r->n_pending && r->pending[i].round != 0)
                i++;
        if (i == r->n_pending)
                return;
        r->read_round++;
        for (; i < r->n_pending; i++) {
                r->pending[i].round = r->read_round;
                r->pending[i].index = r->hs.commit;
        }
        raft_broadcast_heartbeat(r);
        raft_reads_confirm(r); /* a leader alone is its own quorum */
}

static uint64_t acked_of(const Raft *r, const Peer *p) {
        return p->id == r->cfg.id ? r->read_round : p->read_acked;
}

void raft_reads_confirm(Raft *r) {
        uint64_t round = raft_quorum_of(r, acked_of);
        if (round <= r->read_confirmed)
                return;
        r->read_confirmed = round;
        size_t n = 0;
        while (n < r->n_pending && r->pending[n].round != 0 && r->pending[n].round <= round)
                answer(r, &r->pending[n++]);
        r->n_pending -= n;
        memmove(r->pending, r->pending + n, r->n_pending * sizeof(*r->pending));
        raft_reads_start(r);
}

/* Leadership is lost: whoever still waits must ask the next leader. */
void raft_reads_abort(Raft *r) {
        for (size_t i = 0; i < r->n_pending; i++)
                refuse(r, r->pending[i].from, r->pending[i].context);
        r->n_pending = 0;
}
