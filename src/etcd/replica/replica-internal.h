/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/hash.h"
#include "base/list.h"
#include "etcd/replica/replica.h"

typedef enum RequestKind { REQUEST_PROPOSAL, REQUEST_CONF, REQUEST_READ } RequestKind;

typedef enum RequestState {
        REQUEST_WAITING, /* not with raft yet: no leader, or the present batch is not sent */
        REQUEST_SENT,    /* raft has it; for a read: in a round */
} RequestState;

typedef struct Request Request;
struct Request {
        uint64_t id, seq;
        RequestKind kind;
        RequestState state;
        Usec deadline;
        RaftBlock *block;    /* a reference: frame and payload; of a membership change: frame and context */
        RaftConfChange conf; /* REQUEST_CONF: context points into block */
        uint64_t sent_term;  /* of raft when it was handed over */
        bool uncertain;      /* a snapshot may hold its result: it must not be proposed again */
        uint64_t round;      /* REQUEST_READ: the context of its round */
        LIST_LINK(Request) all, queue;
};

/* One ReadIndex round and what is known of it. */
typedef struct Round {
        uint64_t context; /* 0: free */
        Usec sent;
        bool confirmed;
        uint64_t index;
} Round;

struct Replica {
        uint64_t applied_term; /* of the last entry applied here */
        Raft *raft;            /* owned */
        ReplicaConfig config;
        ReplicaMachine machine;
        Usec now;
        bool dead, stepped;

        /* what the last raft_step() gave; its committed entries wait in it for the next step */
        RaftUpdate update;
        size_t n_unapplied;
        uint64_t applied;

        /* requests */
        uint64_t session, next_seq, next_context;
        Map by_id, by_seq; /* Request; the lists own them */
        LIST_HEAD(Request) all, waiting, reads, sent_reads;
        size_t n_proposals, n_reads, pending_bytes;
        Usec earliest;      /* no deadline is before this */
        Usec blocked_until; /* raft refused: do not ask before that, unless its state changes */
        bool flushing;
        Request *batch[REPLICA_BATCH_ITEMS_MAX]; /* of the raft_step() that is under way */
        Round rounds[REPLICA_READ_ROUNDS_MAX];

        /* snapshots */
        RaftSnapMeta saved, saving, restoring;
        uint64_t restore_seq;
        uint64_t bytes_since;   /* applied since the snapshot that was begun last */
        uint64_t next_snapshot; /* not before this index: the last attempt failed */
        uint64_t compact_to;    /* raft is to be told; 0: nothing */
        uint64_t failed_send;   /* peer that needs a snapshot we do not have; raft is to be told; 0: none */
        bool check_snapshot;
#ifdef CORACLE_FAULTS
        void *early_view;
        bool applied_twice;
#endif

        /* memory behind the actions */
        ReplicaDone *done;
        size_t n_done, cap_done;
        RaftMsg *messages;
        size_t n_messages, cap_messages;
        RaftMsg *sends;
        size_t n_sends, cap_sends;
};

/* requests.c */
void request_add(Replica *r, const ReplicaRequest *q, RequestKind kind);
void request_finish(Replica *r, Request *q, ReplicaDone done);
Request *request_find_entry(Replica *r, const void *data, size_t n, RequestKind kind);
void requests_cancel(Replica *r, uint64_t id);
void requests_expire(Replica *r);
void requests_fail_all(Replica *r, int error);
void requests_new_term(Replica *r, uint64_t term);
void requests_restored(Replica *r);
void requests_done(Replica *r);
bool requests_can_flush(const Replica *r);
/* Fills in the next raft event of a flush: proposals, a membership change or a read round. */
bool requests_next_event(Replica *r, RaftEvent *ev, RaftProposal items[static REPLICA_BATCH_ITEMS_MAX]);
/* What raft said to that event. */
void requests_after_event(Replica *r, const RaftEvent *ev, const RaftUpdate *u);
void reads_answer(Replica *r, const RaftRead *read);
void reads_serve(Replica *r); /* those whose index is applied */
Usec requests_deadline(const Replica *r);
