/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The driver around the raft core: everything between "a client wants this done" and "here is the result"
 * that needs neither a clock, nor a socket, nor a file. The server runs it with a WAL thread and
 * connections, the simulator with a disk and a network that misbehave: the same code, event by event.
 *
 *      replica_step(r, &ev, &a);
 *      do the actions, in the order in which the struct lists them;
 *      while (a.more) { replica_step(r, NULL, &a); do the actions; }
 *      arm a timer at replica_deadline(r) for REPLICA_EV_TICK
 *
 * What it owns: the raft core; proposals and their results; linearizable reads; when to take a snapshot and
 * what to compact; backpressure. The state machine is behind ReplicaMachine and is called in log order, each
 * entry exactly once per life of the process (it starts from a snapshot; the log is replayed behind it).
 *
 * Batching: PROPOSE and READ only queue, and make replica_deadline() return the present. Whatever gathers
 * until the timer fires goes to raft in one step, as one disk write and one round of messages.
 *
 * A proposal that finds no leader waits for one until its own deadline. One that went out in a term is
 * proposed again when an entry of a later term has been applied and it has not come out: then it never will
 * (requests_new_term()), so nothing is applied twice. At its deadline it ends with -ETIMEDOUT and may still
 * be applied later; only the client can know whether trying again is safe. The transport may lose, delay and
 * reorder messages, and duplicate all but RAFT_MSG_PROP (a stream connection gives this for nothing).
 *
 * Rejected: call-backs for messages and writes (order and re-entrance become the host's problem), a list of
 * copied actions per event (copies every message; `more` lets each raft update be borrowed). */

#include "raft/raft.h"

#define REPLICA_PENDING_MAX 16384U             /* proposals and reads that wait, each */
#define REPLICA_PENDING_BYTES_MAX (64U << 20)  /* payload of proposals that wait */
#define REPLICA_PROPOSAL_BYTES_MAX (16U << 20) /* one of them */
#define REPLICA_READ_ROUNDS_MAX 8U             /* ReadIndex rounds in flight */
#define REPLICA_BATCH_BYTES_MAX (1U << 20)     /* handed to raft in one step */
#define REPLICA_BATCH_ITEMS_MAX 1024U
#define REPLICA_FRAME_BYTES 16U /* in front of each entry's payload: whose request it is */

/* ---- the state machine ---- */

typedef struct ReplicaMachine {
        void *ctx;
        /* Applies a client's entry. `request`: the id of the request that waits for it here, or 0. For a
         * waiting one the result must be returned whole, since more entries are applied before it is handed
         * out in ReplicaDone; otherwise NULL. The state must not depend on `request`. n == 0: raft's empty
         * entry. */
        void *(*apply)(void *ctx, uint64_t index, uint64_t term, const void *data, size_t n,
                       uint64_t request);
        /* Applies a membership change: false refuses it (duplicate name, unknown member), which is then no
         * change of raft's membership either, on every member alike. */
        bool (*apply_conf)(void *ctx, uint64_t index, uint64_t term, const RaftConfChange *change,
                           uint64_t request, void **ret_result);
        void (*free_result)(void *ctx, void *result);
        /* A view of the state as it is now, that stays valid while later entries are applied. Given to the
         * host in ReplicaActions.snapshot, which serialises it and then returns it by its own means. NULL:
         * not now. */
        void *(*snapshot)(void *ctx);
} ReplicaMachine;

/* ---- configuration ---- */

#ifdef CORACLE_FAULTS
/* See RaftFault. */
typedef enum ReplicaFault {
        REPLICA_FAULT_READ_TOO_EARLY = 1 << 0, /* reads do not wait until their index is applied */
        REPLICA_FAULT_APPLY_TWICE = 1 << 1,    /* the first entry after a start is applied twice */
        REPLICA_FAULT_SNAPSHOT_SHORT = 1 << 2, /* a snapshot lacks the last entry it claims to hold */
} ReplicaFault;
#endif

typedef struct ReplicaConfig {
        RaftConfig raft;
        uint64_t snapshot_entries; /* take a snapshot after so many applied entries; 0: 100000 */
        uint64_t snapshot_bytes;   /* or so many bytes of them; 0: 64 MiB */
        uint64_t keep_entries;     /* of the log, behind the snapshot, for slow followers; 0: 5000 */
        Usec read_retry; /* a ReadIndex round without answer is asked again; 0: election timeout / 2 */
#ifdef CORACLE_FAULTS
        unsigned faults; /* ReplicaFault */
#endif
} ReplicaConfig;

typedef struct ReplicaInitial {
        RaftInitial raft;      /* applied, conf: as in the snapshot the machine was restored from */
        RaftSnapMeta snapshot; /* that snapshot; index 0: none */
} ReplicaInitial;

typedef struct Replica Replica;

/* raft_bootstrap() for logs that a replica reads: the contexts carry its frame. */
RaftEntry *replica_bootstrap(const RaftConfChange *members, size_t n);
Replica *replica_new(const ReplicaConfig *config, const ReplicaInitial *initial,
                     const ReplicaMachine *machine, Err *err);
Replica *replica_free(Replica *r);
DEFINE_CLEANUP(Replica *, replica_free)

/* ---- events ---- */

typedef enum ReplicaEventType {
        REPLICA_EV_TICK = 1,  /* time passed: at replica_deadline(), early or late is fine */
        REPLICA_EV_RECEIVE,   /* msg; a RAFT_MSG_SNAP only after its data is staged (snap_sink_finish()) */
        REPLICA_EV_PERSISTED, /* seq: all ReplicaActions.persist up to it are durable */
        REPLICA_EV_STORAGE_FAILED, /* everything pending fails with -EIO; the replica is dead; stop the
                                      process */
        REPLICA_EV_PROPOSE,        /* request: data */
        REPLICA_EV_CONF_CHANGE,    /* request: conf */
        REPLICA_EV_READ,           /* request: linearizable read */
        REPLICA_EV_CANCEL,         /* request.id: its client went away; no ReplicaDone will come */
        REPLICA_EV_SNAPSHOT_SAVED, /* saved: the snapshot of ReplicaActions.snapshot is durable (or failed)
                                    */
        REPLICA_EV_SNAPSHOT_SENT, /* sent: a stream of ReplicaActions.snapshot_sends has ended; always report
                                     it */
        REPLICA_EV_UNREACHABLE,   /* peer: the transport lost messages to it */
        REPLICA_EV_TRANSFER,      /* peer: make it leader; 0: any that is fit */
        REPLICA_EV_CAMPAIGN,      /* stand for election now (one-node start) */
        _REPLICA_EVENT_MAX,
} ReplicaEventType;

typedef struct ReplicaRequest {
        uint64_t id;      /* chosen by the host, unique among the pending ones, not 0 */
        Usec deadline;    /* absolute; USEC_NEVER is allowed */
        const void *data; /* PROPOSE: copied */
        size_t len;
        const RaftConfChange *conf; /* CONF_CHANGE: copied */
} ReplicaRequest;

typedef struct ReplicaEvent {
        ReplicaEventType type;
        Usec now; /* monotonic */
        union {
                const RaftMsg *msg;
                uint64_t seq;
                uint64_t peer;
                ReplicaRequest request;
                struct {
                        uint64_t index;
                        bool ok;
                } saved;
                struct {
                        uint64_t peer, index;
                        bool ok;
                } sent;
        };
} ReplicaEvent;

/* ---- actions ---- */

typedef struct ReplicaDone {
        uint64_t id;    /* of the request */
        int error;      /* 0; -EBUSY (too many requests), -ETIMEDOUT, -EIO (stopped), -EALREADY (another
                           membership      change is under way), -EINVAL (a change that makes no sense, or too large)
                         */
        uint64_t index; /* log index of the entry; for a read: what was applied when it was confirmed */
        void *result;   /* of the machine, now the host's; NULL for reads */
        bool refused;   /* membership change: the machine said no (result may say why) */
} ReplicaDone;

/* Everything is borrowed and valid until the next replica_step(). */
typedef struct ReplicaActions {
        const RaftPersist
                        *persist; /* NULL, or: wal_batch_persist(), then REPLICA_EV_PERSISTED when durable */
        const RaftMsg *messages;  /* send all now; the core has held back what must wait for the disk */
        size_t n_messages;
        const RaftMsg *snapshot_sends; /* stream the snapshot file (.snap) to .to, this message as head */
        size_t n_snapshot_sends;
        const RaftSnapMeta *restore; /* the staged snapshot is now the state: load its file into the machine,
                                        now */
        const RaftSnapMeta
                        *mark; /* write wal_batch_snapshot() of it, then purge: wal_purge(), snap_purge() */
        const RaftSnapMeta *snapshot; /* save snapshot_view under this meta, in the background */
        void *snapshot_view;          /* from machine.snapshot() */
        const ReplicaDone *done;
        size_t n_done;
        bool state_changed; /* role, term or leader: see replica_raft() */
        bool conf_changed;
        bool more; /* call replica_step(r, NULL, ...) at once, before any other event */
} ReplicaActions;

/* ev is NULL exactly when the actions of the last call said `more`. */
void replica_step(Replica *r, const ReplicaEvent *ev, ReplicaActions *ret);
/* When REPLICA_EV_TICK is due; 0 = at once. */
Usec replica_deadline(const Replica *r);

/* ---- looking inside ---- */

const Raft *replica_raft(
                const Replica *r); /* raft_role(), raft_leader(), raft_status(), raft_wants_snapshot() ... */
uint64_t replica_applied(const Replica *r);
/* The newest saved snapshot; index 0: none. */
const RaftSnapMeta *replica_snapshot(const Replica *r);
/* Proposals without result (waiting or in the log), and reads. */
void replica_pending(const Replica *r, size_t *ret_proposals, size_t *ret_reads);
/* Leader with a no-op of its own term applied: it has seen everything that was ever acknowledged. Only such
 * a leader may expire leases (issue etcd#15247: and only by a proposal). */
bool replica_is_settled_leader(const Replica *r);
void replica_check(const Replica *r); /* asserts the invariants */
