/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The etcd server: what stands between the sockets and the replicated state machine.
 *
 *   client port ──► apiv2, apiv3 ──► etcd_propose() / etcd_read() ──► Replica ──► WAL thread, peers
 *                        ▲                                              │
 *                        └────────────── EtcdResult, watchers ◄── Store ◄┘ (apply)
 *
 * One sd-event loop owns everything; the only other threads write the log (etcd/disk/wal-thread.h) and
 * snapshot files (etcd/snapshot.h).
 *
 * What holds:
 *  - A wait ends exactly once: by done(), or by etcd_wait_cancel(). done() runs from the loop, never inside
 *    the call that started the wait.
 *  - Results are rendered while the entry is being applied, since views into the store die with the next one.
 *  - Answers go out only after the entry is committed and durable here (the replica sees to it), and reads
 *    only after a quorum confirmed the leader.
 *  - An error of the disk stops the process: nothing is ever acknowledged after it.
 *
 * Rejected: a thread per API (the store would need locks, and the store is not what is slow). */

#include "base/hash.h"
#include "base/list.h"
#include "etcd/cluster/members.h"
#include "etcd/config/config.h"
#include "etcd/disk/wal-thread.h"
#include "etcd/peer/peer.h"
#include "etcd/replica/replica.h"
#include "etcd/snapshot.h"
#include "etcd/stats/stats.h"
#include "etcd/store/store.h"
#include "http/http.h"

#define ETCD_VERSION "3.4.23"         /* what clients are told: the behaviour we match */
#define ETCD_CLUSTER_VERSION "3.4.0"
#define ETCD_QUOTA_DEFAULT ((uint64_t) 2 << 30)
#define ETCD_REQUEST_OVERHEAD (512U << 10) /* gRPC framing above --max-request-bytes */
#define ETCD_V2_BODY_MAX (10U << 20)
#define ETCD_RETRY_LEASE (2 * USEC_PER_SEC) /* a lease that was found due is looked at again after this */
#define ETCD_STOP_GRACE (2 * USEC_PER_SEC)

typedef struct EtcdServer EtcdServer;
typedef struct V3Call V3Call;

/* What applying an entry came to, for the one who waits for it. */
typedef struct EtcdResult {
        ApplyResult apply;   /* its views into the store are dead by now: only scalars, v2_event and causes */
        Buf body;            /* v3: the response message, packed */
        MemberResult member; /* membership changes */
} EtcdResult;

typedef struct EtcdWait EtcdWait;
/* error: 0, -EBUSY, -ETIMEDOUT, -EIO, -EALREADY, -EINVAL (ReplicaDone). result: borrowed; NULL for reads and
 * after an error. */
typedef void (*EtcdDone)(EtcdWait *w, int error, EtcdResult *result);
struct EtcdWait {
        EtcdServer *server;
        uint64_t id; /* 0 while nothing is under way */
        EtcdDone done;
};

struct EtcdServer {
        sd_event *event;
        EtcdConfig *config; /* weak */
        uint64_t id, cluster_id;
        Disk *disk;
        WalThread *wal;
        Replica *replica;
        Store *store;
        Members members;
        Members boot_peers; /* joining an existing cluster: whom to talk to before the log says it */
        StoreOptions store_options;
        Peers *peers;
        SnapSaver *saver;
        EtcdStats stats;
        HttpServer *client_http, *peer_http, *metrics_http;
        TlsContext *client_tls, *peer_tls, *peer_client_tls;

        Map waits;        /* id to EtcdWait */
        uint64_t next_id; /* of waits; starts at a random point */
        bool stepping;    /* inside replica_step(): further events are put off */
        struct EtcdDeferred *deferred; /* owned */
        size_t n_deferred, cap_deferred;

        sd_event_source *timer, *soon, *housekeeping, *idle, *wal_io, *sigterm, *sigint;
        bool soon_on, stopping, failed, removed;
        bool lease_check, v2_sync_sent, published, publishing, alarm_sent, members_changed,
                compacting, idle_on, campaign;
        Usec expiry_checked;
        Usec housekeeping_at; /* what its timer is set to */
        uint64_t led_term; /* the term in which leases were promoted, 0 when not leading */
        uint64_t leader;   /* as of the last state change */
        Usec leader_since, started;
        int64_t started_nsec;
        EtcdWait publish_wait, lease_wait, expire_wait, sync_wait, version_wait, compact_wait, alarm_wait;
        struct Compactor *compactor; /* owned, NULL when off */
        LIST_HEAD(V3Call) moving_calls, physical_calls, led_calls;
        Usec leader_lost; /* when the leader went; 0 while there is one */
        int exit_code;
};

/* ---- life ---- */
/* Everything up to listening. The config must outlive the server. */
int etcd_server_start(EtcdConfig *config, sd_event *event, EtcdServer **ret, Err *err);
/* Stops listening and ends the loop with exit code `code` once requests have ended or the grace is over. */
void etcd_server_stop(EtcdServer *s, int code);
EtcdServer *etcd_server_free(EtcdServer *s);
DEFINE_CLEANUP(EtcdServer *, etcd_server_free)

/* ---- for the APIs ---- */
/* Proposes; cmd->proposer and seq are filled in. */
void etcd_propose(EtcdServer *s, EtcdWait *w, Command *cmd, EtcdDone done);
/* Calls done() once everything that was acknowledged anywhere before this call is visible in the store. */
void etcd_read(EtcdServer *s, EtcdWait *w, EtcdDone done);
/* Takes the change over. w->done gets a result whose `member` says what came of it. */
void etcd_change_member(EtcdServer *s, EtcdWait *w, MemberChange *change, EtcdDone done);
void etcd_wait_cancel(EtcdWait *w);
static inline Usec etcd_request_timeout(const EtcdServer *s) {
        return 5 * USEC_PER_SEC + 2 * s->config->election_ms * USEC_PER_MSEC;
}
/* Text for a failed wait, as etcd's clients know it. */
const char *etcd_wait_error(const EtcdServer *s, int error);
void etcd_transfer_leader(EtcdServer *s, uint64_t to);
static inline bool etcd_is_leader(const EtcdServer *s) {
        return raft_role(replica_raft(s->replica)) == RAFT_LEADER;
}
static inline uint64_t etcd_leader(const EtcdServer *s) {
        return raft_leader(replica_raft(s->replica));
}
/* Are enough voters in contact with the leader, as far as this member can tell? */
bool etcd_healthy(const EtcdServer *s);
uint64_t etcd_quota(const EtcdServer *s);
/* True when puts must be refused; raises the alarm when the quota was passed just now. */
bool etcd_no_space(EtcdServer *s, size_t more);

/* ---- between the files of the server ---- */
int etcd_boot(EtcdServer *s, Err *err);                      /* boot.c: disk, membership, replica */
int etcd_tls(EtcdServer *s, Err *err);                       /* listen.c: certificates */
int etcd_listen(EtcdServer *s, Err *err);                    /* listen.c: ports */
void etcd_step(EtcdServer *s, const ReplicaEvent *ev);       /* server.c */
void etcd_fail(EtcdServer *s, const char *why);              /* a broken disk: stop at once */
void etcd_machine(EtcdServer *s, ReplicaMachine *ret);       /* machine.c: apply */
int etcd_restore(EtcdServer *s, const RaftSnapMeta *meta, Err *err); /* machine.c: load a snapshot file */
void etcd_deliver_watches(EtcdServer *s);                    /* machine.c */
int etcd_housekeeping_start(EtcdServer *s);                  /* housekeeping.c: leases, TTLs, publishing */
void etcd_housekeeping_state(EtcdServer *s);                 /* leadership may have changed */
void etcd_housekeeping_rearm(EtcdServer *s);
void etcd_housekeeping_done(EtcdServer *s);
void etcd_peers_changed(EtcdServer *s);
