/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The inside of a Raft object, shared by the files of this folder:
 *      raft.c       creation, the step function, timers, looking inside
 *      output.c     what leaves a step: writes, messages, messages held for the disk, committed entries
 *      election.c   campaigns, votes, role changes, leader transfer
 *      leader.c     progress of the peers, sending, counting, proposals
 *      follower.c   appends, heartbeats, snapshots
 *      read.c       ReadIndex
 *      check.c      invariants and trace lines */

#include "raft/raft-log.h"

/* No honest term or index comes near; beyond it a message is nonsense, and arithmetic on both stays safe. */
#define NUMBER_MAX (UINT64_MAX / 4)
#define BATCH_BYTES_DEFAULT (1U << 20)
#define BATCH_ENTRIES_MAX 8192U
#define INFLIGHT_DEFAULT 256U
#define INFLIGHT_BYTES_FACTOR 32U /* unanswered bytes per follower, in batches */
#define UNCOMMITTED_BYTES_DEFAULT (64ULL << 20)
#define HOLD_BYTES_DEFAULT (128ULL << 20)
#define APPLY_BYTES_DEFAULT (16ULL << 20)
#define ENTRY_OVERHEAD                                                                                      \
        24U /* counted per entry in every byte limit, so that tiny entries are limited too                  \
             */

#ifdef CORACLE_FAULTS
#        define HAS_FAULT(r, f) (((r)->cfg.faults & RAFT_FAULT_##f) != 0)
#else
#        define HAS_FAULT(r, f) false
#endif

typedef struct Inflight {
        uint64_t index; /* last entry of the message */
        uint64_t bytes;
} Inflight;

typedef struct Peer {
        uint64_t id;
        bool learner;
        bool heard;      /* since the last check-quorum */
        bool ever_heard; /* in this leadership */
        bool paused;     /* probe: wait for an answer or the next heartbeat answer */
        RaftProgressState state;
        Usec last_heard;
        uint64_t match, next;
        uint64_t snap_index;  /* snapshot state: the peer needs at least this */
        bool fresh;           /* probe: it has just received a snapshot */
        uint64_t sent_commit; /* commit index in the last append to it */
        uint64_t commit;      /* commit index that it reported */
        uint64_t read_acked;  /* highest ReadIndex round it confirmed */
        Inflight *ring;       /* owned, ring_cap slots, allocated on first use */
        uint32_t ring_cap, ring_head, ring_n;
        uint64_t ring_bytes;
} Peer;

/* Which write a message must wait for. */
typedef enum Wait {
        WAIT_HARD_STATE, /* the latest change of term or vote: every message, as it carries the term */
        WAIT_ALL,        /* everything written so far: it promises entries or judges our log */
        WAIT_NOTHING,
} Wait;

typedef struct OutMsg {
        RaftMsg m;
        Wait wait;
        uint64_t seq;       /* once held: goes when this write is durable */
        uint64_t n_entries; /* entries m.index + 1 ..., resolved when the step ends */
} OutMsg;

/* A write that was handed out and not confirmed. */
typedef struct Write {
        uint64_t seq;
        uint64_t last;       /* durable up to here when it completes (lowered by later truncation) */
        uint64_t snap_index; /* != 0: it installs a snapshot */
        uint64_t commit;
} Write;

typedef struct Vote {
        uint64_t id;
        bool granted;
} Vote;

typedef struct PendingRead {
        uint64_t context;
        uint64_t from; /* own id: answer in the update */
        uint64_t index;
        uint64_t round; /* 0: not started */
} PendingRead;

struct Raft {
        RaftConfig cfg;
        uint64_t random;
        Usec now;        /* clock + clock_skew: never goes back */
        Usec clock;      /* as the events tell it */
        Usec clock_skew; /* sum of its steps backwards */
        bool stopped;    /* the disk failed */

        RaftLog log;
        RaftHardState hs;
        uint64_t applied;      /* by the state machine */
        uint64_t handed;       /* last entry handed out for applying */
        uint64_t handed_bytes; /* of (applied, handed] */
        RaftConf conf;         /* as of applied */

        /* disk */
        uint64_t stable;  /* entries up to here are durable */
        uint64_t written; /* entries up to here were handed out for writing */
        RaftHardState hs_written;
        uint64_t commit_saved;               /* the commit index that is durable */
        uint64_t seq_last, seq_hs, seq_done; /* handed out; latest with a new term or vote; confirmed */
        uint64_t truncate_from;              /* in this step, 0: none */
        bool snap_pending;                   /* in this step: `snap` is to be installed */
        RaftSnapMeta snap;
        Write *writes; /* owned, FIFO */
        size_t writes_cap, n_writes;

        /* role */
        RaftRole role;
        uint64_t leader;
        Usec last_contact; /* with a live leader */
        Usec election_deadline;
        Usec campaign_at; /* the present candidacy began */
        Vote votes[RAFT_MEMBERS_MAX];
        uint32_t n_votes;

        /* leader */
        Peer *peers; /* owned; everybody in conf, and ourselves */
        size_t peers_cap, n_peers;
        Usec heartbeat_deadline, quorum_deadline;
        uint64_t noop_index;         /* first entry of our own term */
        uint64_t pending_conf_index; /* no membership change before this is applied */
        uint64_t leave_index;        /* our own removal, once applied: we lead until the others know of it */
        uint64_t uncommitted_bytes;
        uint64_t transferee;
        Usec transfer_deadline;
        PendingRead *pending; /* owned; started ones first */
        size_t pending_cap, n_pending;
        uint64_t read_round, read_confirmed;

        /* output of the step */
        OutMsg *staged; /* owned */
        size_t staged_cap, n_staged;
        OutMsg *held; /* owned; never has entries */
        size_t held_cap, n_held;
        RaftMsg *out; /* owned */
        size_t out_cap, n_out;
        RaftRead *reads; /* owned */
        size_t reads_cap, n_reads;
        RaftEntry *forward; /* owned copies for a forwarded proposal */
        size_t n_forward;
        RaftDrop dropped;
        uint64_t first_index;
        bool conf_changed;
#ifdef CORACLE_FAULTS
        uint64_t apply_twice; /* counter */
#endif
};

/* output.c */
void raft_send(Raft *r, RaftMsg m, Wait wait, uint64_t n_entries);
void raft_begin(Raft *r);
void raft_finish(Raft *r, RaftUpdate *u);
void raft_persisted(Raft *r, uint64_t seq);
void raft_truncate(Raft *r, uint64_t from);
void raft_install_snapshot(Raft *r, const RaftSnapMeta *s);

/* election.c */
void raft_become_follower(Raft *r, uint64_t term, uint64_t leader);
void raft_campaign(Raft *r, bool pre, bool transfer);
void raft_hup(Raft *r, bool transfer);
void raft_on_vote(Raft *r, const RaftMsg *m);
void raft_on_vote_resp(Raft *r, const RaftMsg *m);
void raft_reset_election_timer(Raft *r);
bool raft_promotable(const Raft *r);
bool raft_in_lease(const Raft *r);

/* leader.c */
Peer *raft_peer(const Raft *r, uint64_t id);
void raft_become_leader(Raft *r);
void raft_leader_done(Raft *r); /* forgets the peers and everything else of a leader */
void raft_peers_sync(Raft *r);  /* after a change of conf */
uint64_t raft_quorum_of(const Raft *r, uint64_t (*value)(const Raft *r, const Peer *p));
bool raft_maybe_commit(Raft *r);
bool raft_send_append(Raft *r, Peer *p, bool even_empty);
void raft_broadcast_append(Raft *r);
void raft_broadcast_heartbeat(Raft *r);
void raft_leader_append(Raft *r, uint32_t type, RaftBlock *block, const void *data, uint32_t len);
void raft_on_app_resp(Raft *r, const RaftMsg *m);
void raft_on_heartbeat_resp(Raft *r, const RaftMsg *m);
void raft_check_quorum(Raft *r);
void raft_maybe_leave(Raft *r);
uint64_t raft_compact_limit(const Raft *r, uint64_t index);
RaftDrop raft_leader_propose(Raft *r, const RaftEntry *e, size_t n);
RaftDrop raft_transfer(Raft *r, uint64_t to);
void raft_peer_probe(Raft *r, Peer *p, uint64_t next);

/* follower.c */
void raft_commit_to(Raft *r, uint64_t index);
void raft_on_append(Raft *r, const RaftMsg *m);
void raft_on_heartbeat(Raft *r, const RaftMsg *m);
void raft_on_snapshot(Raft *r, const RaftMsg *m);
void raft_send_app_resp(Raft *r, uint64_t to, uint64_t index);

/* read.c */
void raft_read(Raft *r, uint64_t from, uint64_t context);
void raft_read_drop(Raft *r, uint64_t context);
void raft_reads_start(Raft *r);
void raft_reads_confirm(Raft *r);
void raft_reads_abort(Raft *r);

/* check.c */
void raft_trace(Raft *r, const char *fmt, ...) _printf_(2, 3);
#define TRACE(r, ...)                                                                                       \
        do {                                                                                                \
                if ((r)->cfg.trace)                                                                         \
                        raft_trace((r), __VA_ARGS__);                                                       \
        } while (0)

static inline uint64_t raft_entry_cost(const RaftEntry *e) {
        return (uint64_t) e->len + ENTRY_OVERHEAD;
}
/* As etcd-io/raft: nothing of an earlier term may be relied on before an entry of our own is committed. */
static inline bool raft_committed_own_term(const Raft *r) {
        if (HAS_FAULT(r, NO_NOOP))
                return true;
        return raft_log_term(&r->log, r->hs.commit) == r->hs.term;
}
