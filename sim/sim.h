/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The deterministic simulator: a whole cluster in one process, all of it chosen by one seed. The nodes run
 * the production code (raft, replica, write-ahead log, snapshots, state machine); network, disks, clocks and
 * clients are ours, and misbehave. Two phases: first faults, in which nothing wrong may be seen; then the
 * faults end and everything must get well again. docs/simulator.md is the manual.
 *
 * Invariants: no clock, no address and no hash order decides anything, so a seed replays exactly; every draw
 * belongs to one part's own generator, so that tracing or checking does not change the run. */

#include "base/alloc.h"
#include "base/time.h"
#include "etcd/disk/recover.h"
#include "etcd/replica/replica.h"
#include "sim/checks.h"
#include "sim/history.h"
#include "sim/machine.h"
#include "sim/rng.h"
#include "sim/sim-disk.h"

#define SIM_NODES_MAX 7U
#define SIM_CLIENTS_MAX 8U

/* Planted faults of the host, beside those of raft and the replica. */
typedef enum HostFault {
        HOST_FAULT_ACK_BEFORE_SYNC = 1 << 0, /* the log's thread reports success before the sync */
        HOST_FAULT_NO_TRUNCATE = 1 << 1,     /* entries that conflict stay in the log on disk */
        HOST_FAULT_LOSE_HARD_STATE = 1 << 2, /* term and vote are not written */
} HostFault;

typedef struct SimOptions {
        uint64_t seed;
        bool verbose;
        bool hunt; /* let this seed hunt new leaders, which otherwise every fourth does */
        unsigned raft_faults, replica_faults, host_faults;
} SimOptions;

typedef struct SimReport {
        char failure[512]; /* empty: all is well */
        uint64_t events, entries, operations, open_operations, elections, crashes, snapshots, installs,
                        recoveries;
        uint64_t torn, disk_faults, conf_changes, undecided;
} SimReport;

void sim_run(const SimOptions *options, SimReport *ret);

/* ---- inside ---- */

/* Which misfortunes this seed has, and how bad they are. Chances are in a million. */
typedef struct Swarm {
        unsigned nodes, clients, keys;
        Usec heartbeat, election;
        Usec latency, jitter;
        uint32_t loss, duplicate;
        bool partitions, one_way, clogs, crashes, disk_cuts, pauses, clock_jumps, clock_drift, membership,
                        transfers;
        bool pre_vote, check_quorum;
        bool slow_disks, disk_errors, hunts;
        Usec sync_latency;
        uint32_t enospc, eio;
        uint64_t segment_size, snapshot_entries, keep_entries;
        uint32_t batch_bytes, inflight;
        Usec chaos, calm;   /* how long either phase lasts */
        Usec nemesis_pause; /* between misfortunes, on average */
        Usec think;         /* between the operations of a client */
} Swarm;

typedef enum EventKind {
        EVENT_TIMER,   /* node: its deadline */
        EVENT_MESSAGE, /* node: p is Packet */
        EVENT_SYNC,    /* node: the write that was begun is to be synced */
        EVENT_SAVE,    /* node: go on writing our own snapshot */
        EVENT_STREAM,  /* p is Stream: go on sending a snapshot */
        EVENT_START,   /* node: boot it */
        EVENT_RESUME,  /* node: end of a pause */
        EVENT_CLIENT,  /* node is the client's number */
        EVENT_NEMESIS,
        EVENT_HUNT, /* node: it has just become the leader */
        EVENT_HEAL,
} EventKind;

typedef struct SimEvent {
        Usec at;
        uint64_t order; /* ties are broken by it */
        EventKind kind;
        unsigned node;
        uint64_t epoch; /* of the node: events of an earlier life are void */
        void *p;        /* owned by the event */
} SimEvent;

typedef struct Packet {
        unsigned from;
        Buf bytes;
} Packet;

typedef struct Stream {
        unsigned from, to;
        uint64_t from_epoch, to_epoch, id;
        SnapSource *source; /* owned */
        RaftMsg head;       /* owned */
        RaftSnapMeta meta;
        uint64_t offset;
} Stream;

typedef struct WalJob {
        Buf batch;
        uint64_t seq;
        bool must_sync, purge;
} WalJob;

typedef struct Node {
        uint64_t id;
        bool member;  /* has been told to exist */
        bool retired; /* was removed for good */
        bool up, paused;
        uint64_t epoch;
        Usec paused_until;
        Rng rng;
        SimDisk *disk; /* owned, as all below; outlives crashes */
        Wal *wal;
        Replica *replica;
        Machine *machine;
        SimEvent *held; /* what arrived during a pause */
        size_t n_held, cap_held;
        /* the log's thread */
        WalJob *jobs;
        size_t n_jobs, cap_jobs;
        uint64_t writing; /* seq that is written and will be synced; 0: idle */
        bool write_must_sync, write_purges;
        bool busy;
        /* our own snapshot */
        SnapWriter *writer;
        MachineView *view;
        size_t view_at;
        RaftSnapMeta saving;
        /* the one we receive */
        SnapSink *sink;
        uint64_t sink_stream;
        /* the clock */
        Usec clock_offset;
        uint32_t clock_ppm; /* 1000000: true */
        unsigned slowness;  /* of its disk: a factor */
        Usec armed;         /* time of the latest timer event; older ones are void; 0: none */
        /* what is to happen to the process when the present step is done */
        bool storage_failed, dying;
        struct Sim *sim;      /* weak */
        uint64_t leader_term; /* for which leader completeness was checked */
} Node;

typedef struct Link {
        bool cut;
        Usec clogged_until;
        Usec last; /* delivery of the last packet, for links that keep the order */
} Link;

typedef struct SimClient {
        unsigned number;
        unsigned node;
        uint64_t request; /* 0: idle */
        size_t op;        /* in the history; otherwise the node that a membership change removes */
        bool is_read, unrecorded;
        Usec give_up;
} SimClient;

typedef struct Sim {
        SimOptions options;
        Swarm swarm;
        SimReport *report;
        Usec now;
        bool calm;
        bool stop;
        SimEvent *heap;
        size_t n_heap, cap_heap;
        uint64_t next_order, next_request, next_stream, next_value;
        Rng rng_net, rng_nemesis, rng_client, rng_boot;
        Node nodes[SIM_NODES_MAX];
        unsigned n_nodes; /* there are, or may come */
        unsigned founders;
        Link links[SIM_NODES_MAX][SIM_NODES_MAX];
        SimClient clients[SIM_CLIENTS_MAX];
        History history;
        Checks checks;
        Map requests; /* id: SimClient */
} Sim;

#define sim_trace(sim, ...)                                                                                 \
        do {                                                                                                \
                if ((sim)->options.verbose)                                                                 \
                        sim_trace_line((sim), __VA_ARGS__);                                                 \
        } while (0)
void sim_trace_line(Sim *sim, const char *fmt, ...) _printf_(2, 3);
/* Remembers the first violation and ends the run. */
void sim_fail(Sim *sim, const char *fmt, ...) _printf_(2, 3);
void sim_at(Sim *sim, Usec at, EventKind kind, unsigned node, uint64_t epoch, void *p);

/* swarm.c */
void swarm_choose(Swarm *s, Rng *rng, bool hunt);
char *swarm_describe(const Swarm *s);
/* The leader of the highest term that is up, or NULL. */
Node *sim_leader(Sim *sim);
/* net.c */
void net_send(Sim *sim, unsigned from, const RaftMsg *m);
void net_send_snapshot(Sim *sim, unsigned from, const RaftMsg *head);
void net_stream_step(Sim *sim, Stream *s);
Stream *stream_free(Stream *s);
Packet *packet_free(Packet *p);
/* node.c */
unsigned node_number(const Sim *sim, uint64_t id); /* SIM_NODES_MAX: none */
void node_start(Sim *sim, unsigned n);
/* The machine loses power (or, kill: only the process ends). */
void node_crash(Sim *sim, unsigned n, bool kill);
void node_event(Sim *sim, unsigned n, const ReplicaEvent *ev);
Usec node_clock(const Sim *sim, const Node *node);
void node_timer(Sim *sim, unsigned n);
void node_message(Sim *sim, unsigned n, Packet *p);
void node_release(Sim *sim, unsigned n); /* the process: all but the disk */
/* host.c: the log's thread and snapshots of a node */
void host_submit(Sim *sim, unsigned n, Buf *batch, uint64_t seq, bool must_sync, bool purge);
void host_sync(Sim *sim, unsigned n);
void host_save_begin(Sim *sim, unsigned n, const RaftSnapMeta *meta, void *view);
void host_save_step(Sim *sim, unsigned n);
void host_restore(Sim *sim, unsigned n, const RaftSnapMeta *meta);
int host_load(Sim *sim, unsigned n, SnapReader *reader, Err *err);
/* Notes a failed disk operation: power cut, or an error that ends the process. node_reap() acts on it, once
 * the present event is done. */
void host_disk_failed(Sim *sim, unsigned n, const char *what, int error, const Err *err);
void node_reap(Sim *sim, unsigned n);
/* client.c */
void client_act(Sim *sim, SimClient *c);
void client_done(Sim *sim, unsigned node, const ReplicaDone *done);
void clients_node_died(Sim *sim, unsigned node);
/* nemesis.c */
void nemesis_strike(Sim *sim);
void nemesis_heal(Sim *sim);
/* A new leader, just in office, may be struck down or cut off. */
void nemesis_new_leader(Sim *sim, unsigned n);
void nemesis_hunt(Sim *sim, unsigned n);
