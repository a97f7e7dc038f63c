/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How members talk: raft messages over HTTP/1.1 on the peer port. To every other member we hold two POST
 * requests that never end, one for appends (which may be large) and one for everything else, so that a
 * heartbeat does not wait behind entries; a snapshot goes as a request of its own, at the pace the other side
 * reads it. Each side opens its own requests, so a connection carries one direction only.
 *
 *   POST /raft/stream/app | /raft/stream/msg     body: { le32 length, raft_msg_encode() }*, length 0 = alive
 *   POST /raft/snapshot                          body: le32 length, head message, then the snapshot file
 *
 * Headers on each: X-Etcd-Cluster-ID, X-Server-From, X-Raft-To, X-Coracle-Raft (version of this form). The
 * receiver answers 412 to a foreign cluster or version, 410 to a member that was removed.
 *
 * Invariants: messages to one member keep their order per stream; what cannot be sent at once is dropped and
 * reported (raft sends again); memory per member is bounded by PEER_QUEUE_MAX.
 * Rejected: one connection both ways (who opens it?), HTTP/2 streams (a large append blocks the connection's
 * window), stock etcd's wire form (mixed clusters are no goal, and its messages carry no version). */

#include "base/time.h"
#include "etcd/cluster/members.h"
#include "etcd/disk/snap.h"
#include "http/client.h"
#include "http/http.h"
#include "raft/raft.h"

#define PEER_FRAME_MAX (32U << 20)  /* one message */
#define PEER_QUEUE_MAX (32U << 20)  /* bytes waiting for one member */
#define PEER_ALIVE_INTERVAL (3 * USEC_PER_SEC)
#define PEER_RETRY_MIN (50 * USEC_PER_MSEC)
#define PEER_RETRY_MAX (1 * USEC_PER_SEC)
#define PEER_CONNECT_TIMEOUT (1 * USEC_PER_SEC)
#define PEER_FORM "1"

typedef struct Peers Peers;

typedef struct PeersConfig {
        sd_event *event;
        uint64_t id, cluster_id;
        TlsContext *tls; /* for https peer URLs; may be NULL */
        Disk *disk;      /* of snapshots */
        void *user;
        /* A message came in. Borrowed. */
        void (*on_message)(void *user, const RaftMsg *m);
        /* Shall the snapshot with this head be received? */
        bool (*wants_snapshot)(void *user, const RaftMsg *head);
        /* A snapshot is staged on disk; its head is to be given to raft. */
        void (*on_snapshot)(void *user, const RaftMsg *head);
        void (*on_snapshot_sent)(void *user, uint64_t peer, uint64_t index, bool ok);
        void (*on_unreachable)(void *user, uint64_t peer);
        void (*on_removed)(void *user); /* another member says that this one was removed */
        bool (*was_removed)(void *user, uint64_t id);
} PeersConfig;

typedef struct PeerInfo {
        uint64_t id;
        bool connected;   /* both streams stand */
        Usec last_heard;  /* monotonic; 0 = never */
        Usec active_since; /* heard from without a gap since then; 0 = not active */
        uint64_t sent_bytes, received_bytes, sent_fail, sent_ok;
        uint64_t sent_app;
        double latency_ms, latency_ms_mean, latency_ms_min, latency_ms_max; /* of appends, until they are answered */
} PeerInfo;

int peers_new(const PeersConfig *config, Peers **ret, Err *err);
Peers *peers_free(Peers *p);
DEFINE_CLEANUP(Peers *, peers_free)
/* Connects to new members, forgets those that are gone; `extra` is a second list, may be NULL. */
void peers_update(Peers *p, const Members *members, const Members *extra);
/* Sends or drops. */
void peers_send(Peers *p, const RaftMsg *m);
/* Streams the snapshot file named by head->snap to head->to. on_snapshot_sent() follows, always. */
void peers_send_snapshot(Peers *p, const RaftMsg *head);
/* Serves /raft/... of the peer port; false: not ours. */
bool peers_handle(Peers *p, HttpReq *q);
bool peers_info(const Peers *p, uint64_t id, PeerInfo *ret);
/* A client for other calls to members, with the right certificates. */
HttpClient *peers_client(Peers *p);
