/* SPDX-License-Identifier: Apache-2.0 */

/* The clients' side of a replica: what waits, what is with raft, and how each ends. */

#include "base/alloc.h"
#include "etcd/replica/replica-internal.h"

static void put_le64(uint8_t *p, uint64_t v) {
        for (unsigned i = 0; i < 8; i++)
                p[i] = (uint8_t) (v >> (8 * i));
}

static void push_done(Replica *r, ReplicaDone done) {
        GROW(r->done, r->cap_done, r->n_done + 1);
        r->done[r->n_done++] = done;
}

static void unlink_request(Replica *r, Request *q) {
        LIST_REMOVE(&r->all, q, all);
        if (q->kind == REQUEST_READ && q->state == REQUEST_WAITING)
                LIST_REMOVE(&r->reads, q, queue);
        else if (q->kind == REQUEST_READ)
                LIST_REMOVE(&r->sent_reads, q, queue);
        else if (q->state == REQUEST_WAITING)
                LIST_REMOVE(&r->waiting, q, queue);
        (void) map_delu(&r->by_id, q->id);
        if (q->kind == REQUEST_READ) {
                r->n_reads--;
                return;
        }
        (void) map_delu(&r->by_seq, q->seq);
        r->n_proposals--;
        r->pending_bytes -= q->block->size;
}

static void request_free(Replica *r, Request *q) {
        unlink_request(r, q);
        raft_block_unref(q->block);
        free(q);
}

void request_finish(Replica *r, Request *q, ReplicaDone done) {
        done.id = q->id;
        push_done(r, done);
        request_free(r, q);
}

/* Why a request cannot be taken; 0 when it can. */
static int refusal(const Replica *r, RequestKind kind, size_t len) {
        if (r->dead)
                return -EIO;
        if (kind == REQUEST_READ)
                return r->n_reads >= REPLICA_PENDING_MAX ? -EBUSY : 0;
        if (len > REPLICA_PROPOSAL_BYTES_MAX)
                return -EINVAL;
        if (r->n_proposals >= REPLICA_PENDING_MAX || r->pending_bytes + len > REPLICA_PENDING_BYTES_MAX)
                return -EBUSY;
        return 0;
}

void request_add(Replica *r, const ReplicaRequest *a, RequestKind kind) {
        assert(a->id != 0 && !map_getu(&r->by_id, a->id));
        const void *data = kind == REQUEST_CONF ? a->conf->context : a->data;
        size_t len = kind == REQUEST_CONF ? a->conf->context_len : kind == REQUEST_READ ? 0 : a->len;
        int error = refusal(r, kind, len);
        RaftBlock *block = NULL;
        if (error == 0 && kind != REQUEST_READ) {
                block = raft_block_new(REPLICA_FRAME_BYTES + len);
                error = block ? 0 : -EBUSY;
        }
        if (error < 0) {
                push_done(r, (ReplicaDone){ .id = a->id, .error = error });
                return;
        }
        Request *q = xnew(Request, 1);
        *q = (Request){ .id = a->id, .kind = kind, .deadline = a->deadline, .block = block };
        (void) map_putu(&r->by_id, q->id, q);
        LIST_APPEND(&r->all, q, all);
        r->earliest = MIN(r->earliest, q->deadline);
        if (kind == REQUEST_READ) {
                r->n_reads++;
                LIST_APPEND(&r->reads, q, queue);
                return;
        }
        q->seq = r->next_seq++;
        put_le64(block->bytes, r->session);
        put_le64(block->bytes + 8, q->seq);
        if (len > 0)
                memcpy(block->bytes + REPLICA_FRAME_BYTES, data, len);
        if (kind == REQUEST_CONF) {
                q->conf = *a->conf;
                q->conf.context = block->bytes;
                q->conf.context_len = block->size;
        }
        (void) map_putu(&r->by_seq, q->seq, q);
        LIST_APPEND(&r->waiting, q, queue);
        r->n_proposals++;
        r->pending_bytes += block->size;
}

Request *request_find_entry(Replica *r, const void *data, size_t n, RequestKind kind) {
        uint64_t session = 0, seq = 0;
        Rd rd = rd_new(data, n);
        if (rd_le64(&rd, &session) < 0 || rd_le64(&rd, &seq) < 0 || session != r->session)
                return NULL;
        Request *q = map_getu(&r->by_seq, seq);
        return q && q->kind == kind ? q : NULL;
}

void requests_cancel(Replica *r, uint64_t id) {
        Request *q = map_getu(&r->by_id, id);
        if (q)
                request_free(r, q);
}

void requests_expire(Replica *r) {
        if (r->now < r->earliest)
                return;
        r->earliest = USEC_NEVER;
        LIST_FOREACH(q, &r->all, all) {
                if (q->deadline <= r->now)
                        request_finish(r, q, (ReplicaDone){ .error = -ETIMEDOUT });
                else
                        r->earliest = MIN(r->earliest, q->deadline);
        }
}

void requests_fail_all(Replica *r, int error) {
        LIST_FOREACH(q, &r->all, all)
                request_finish(r, q, (ReplicaDone){ .error = error });
        r->earliest = USEC_NEVER;
}

void requests_done(Replica *r) {
        LIST_FOREACH(q, &r->all, all)
                request_free(r, q);
        map_done(&r->by_id);
        map_done(&r->by_seq);
}

/* ---- handing over to raft ---- */

static Round *free_round(Replica *r) {
        for (size_t i = 0; i < ELEMENTSOF(r->rounds); i++)
                if (r->rounds[i].context == 0)
                        return &r->rounds[i];
        return NULL;
}

static bool has_free_round(const Replica *r) {
        for (size_t i = 0; i < ELEMENTSOF(r->rounds); i++)
                if (r->rounds[i].context == 0)
                        return true;
        return false;
}

bool requests_can_flush(const Replica *r) {
        if (r->dead || r->now < r->blocked_until || raft_leader(r->raft) == 0)
                return false;
        return r->waiting.first || (r->reads.first && has_free_round(r));
}

static void take_proposals(Replica *r, RaftEvent *ev, RaftProposal *items) {
        size_t n = 0, bytes = 0;
        for (Request *q = r->waiting.first; q && q->kind == REQUEST_PROPOSAL; q = q->queue.next) {
                if (n == REPLICA_BATCH_ITEMS_MAX ||
                    (n > 0 && bytes + q->block->size > REPLICA_BATCH_BYTES_MAX))
                        break;
                items[n] = (RaftProposal){ .block = q->block,
                                           .data = q->block->bytes,
                                           .len = (uint32_t) q->block->size };
                r->batch[n++] = q;
                bytes += q->block->size;
        }
        assert(n > 0);
        ev->type = RAFT_EV_PROPOSE;
        ev->propose.items = items;
        ev->propose.n = n;
}

static void start_round(Replica *r, RaftEvent *ev) {
        Round *round = free_round(r);
        assert(round);
        *round = (Round){ .context = r->next_context++, .sent = r->now };
        if (r->next_context == 0)
                r->next_context = 1;
        LIST_FOREACH(q, &r->reads, queue) {
                LIST_REMOVE(&r->reads, q, queue);
                LIST_APPEND(&r->sent_reads, q, queue);
                q->state = REQUEST_SENT;
                q->round = round->context;
        }
        ev->type = RAFT_EV_READ_INDEX;
        ev->read_context = round->context;
}

bool requests_next_event(Replica *r, RaftEvent *ev, RaftProposal items[static REPLICA_BATCH_ITEMS_MAX]) {
        if (!requests_can_flush(r))
                return false;
        *ev = (RaftEvent){ .now = r->now };
        Request *q = r->waiting.first;
        if (!q) {
                start_round(r, ev);
        } else if (q->kind == REQUEST_PROPOSAL) {
                take_proposals(r, ev, items);
        } else {
                r->batch[0] = q;
                ev->type = RAFT_EV_CONF_CHANGE;
                ev->conf = &q->conf;
        }
        return true;
}

static Usec patience(const Replica *r) {
        return usec_add(r->now, r->config.raft.heartbeat_interval);
}

void requests_after_event(Replica *r, const RaftEvent *ev, const RaftUpdate *u) {
        size_t n = ev->type == RAFT_EV_PROPOSE ? ev->propose.n : ev->type == RAFT_EV_CONF_CHANGE ? 1 : 0;
        if (n == 0)
                return;
        int error = 0;
        switch (u->dropped) {
        case RAFT_DROP_NONE:
                for (size_t i = 0; i < n; i++) {
                        LIST_REMOVE(&r->waiting, r->batch[i], queue);
                        r->batch[i]->state = REQUEST_SENT;
                        r->batch[i]->sent_term = raft_term(r->raft);
                }
                return;
        case RAFT_DROP_NO_LEADER:
        case RAFT_DROP_TRANSFER:
        case RAFT_DROP_FULL:
                /* Nothing went out, so nothing is lost by asking again. */
                r->blocked_until = patience(r);
                return;
        case RAFT_DROP_CONF_PENDING:
                error = -EALREADY;
                break;
        case RAFT_DROP_INVALID:
                error = -EINVAL;
                break;
        case RAFT_DROP_STOPPED:
        case _RAFT_DROP_MAX:
                error = -EIO;
                break;
        }
        for (size_t i = 0; i < n; i++)
                request_finish(r, r->batch[i], (ReplicaDone){ .error = error });
}

/* An entry of a new term has been applied. The log of that term's leader held every entry of earlier terms
 * that will ever be committed in front of it, and nobody takes proposals of an earlier term any more; so
 * those that have not come out by now are gone for good, and proposing them again cannot apply them twice. A
 * leader's death thus costs its clients a pause instead of an error. */
void requests_new_term(Replica *r, uint64_t term) {
        if (term <= r->applied_term)
                return;
        r->applied_term = term;
        LIST_FOREACH(q, &r->all, all) {
                if (q->kind == REQUEST_READ || q->state != REQUEST_SENT || q->uncertain ||
                    q->sent_term >= term)
                        continue;
                q->state = REQUEST_WAITING;
                LIST_APPEND(&r->waiting, q, queue);
        }
}

/* A snapshot was taken over: what it holds nobody can tell. */
void requests_restored(Replica *r) {
        LIST_FOREACH(q, &r->all, all)
                if (q->kind != REQUEST_READ && q->state == REQUEST_SENT)
                        q->uncertain = true;
}

/* ---- reads ---- */

static Round *find_round(Replica *r, uint64_t context) {
        for (size_t i = 0; i < ELEMENTSOF(r->rounds); i++)
                if (r->rounds[i].context == context)
                        return &r->rounds[i];
        return NULL;
}

/* Its reads wait for another round. */
static void give_up_round(Replica *r, Round *round) {
        LIST_FOREACH(q, &r->sent_reads, queue) {
                if (q->round != round->context)
                        continue;
                LIST_REMOVE(&r->sent_reads, q, queue);
                LIST_APPEND(&r->reads, q, queue);
                q->state = REQUEST_WAITING;
        }
        round->context = 0;
}

void reads_answer(Replica *r, const RaftRead *read) {
        Round *round = find_round(r, read->context);
        if (!round || round->confirmed)
                return; /* given up before */
        if (read->dropped) {
                give_up_round(r, round);
                r->blocked_until = patience(r);
                return;
        }
        round->confirmed = true;
        round->index = read->index;
}

void reads_serve(Replica *r) {
        for (size_t i = 0; i < ELEMENTSOF(r->rounds); i++) {
                Round *round = &r->rounds[i];
                if (round->context == 0)
                        continue;
                bool applied = round->index <= r->applied;
#ifdef CORACLE_FAULTS
                applied |= r->config.faults & REPLICA_FAULT_READ_TOO_EARLY;
#endif
                if (round->confirmed && applied) {
                        LIST_FOREACH(q, &r->sent_reads, queue)
                                if (q->round == round->context)
                                        request_finish(r, q, (ReplicaDone){ .index = r->applied });
                        round->context = 0;
                } else if (!round->confirmed && usec_add(round->sent, r->config.read_retry) <= r->now) {
                        give_up_round(r, round);
                }
        }
}

Usec requests_deadline(const Replica *r) {
        Usec at = r->earliest;
        for (size_t i = 0; i < ELEMENTSOF(r->rounds); i++)
                if (r->rounds[i].context != 0 && !r->rounds[i].confirmed)
                        at = MIN(at, usec_add(r->rounds[i].sent, r->config.read_retry));
        bool wants = r->waiting.first || (r->reads.first && has_free_round(r));
        if (!r->dead && wants && raft_leader(r->raft) != 0)
                at = MIN(at, r->blocked_until > r->now ? r->blocked_until : 0);
        return at;
}
