/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the peer transport share: peer.c sends, receive.c receives, transfer.c moves snapshots. */

#include "base/list.h"
#include "etcd/peer/peer.h"

#define PEER_HEADERS 4
#define PEER_SCRATCH_KEEP (1U << 20)
#define PEER_SNAPSHOT_PIECE (128U << 10)

typedef struct Peer Peer;

typedef struct PeerStream {
        Peer *peer;       /* weak */
        const char *kind; /* "app", "msg" */
        HttpCall *call;
        sd_event_source *timer;
        Usec retry;
        bool up; /* the other side has answered 200 */
        bool blocked;
} PeerStream;

typedef struct SnapshotSend {
        HttpCall *call;
        SnapSource *source; /* owned */
        uint64_t index, offset;
        Usec started;
} SnapshotSend;

struct Peer {
        Peers *set; /* weak */
        uint64_t id;
        char **urls;
        size_t url_at; /* of urls; the next one after a failure */
        PeerStream app, msg;
        SnapshotSend *snapshot; /* owned; NULL when none is being sent */
        PeerInfo info;
        Usec leaving; /* not a member any more since then */
        bool keep, complained, was_connected;
        LIST_LINK(Peer) link;
};

struct Peers {
        PeersConfig config;
        HttpClient *client;
        sd_event_source *alive;
        LIST_HEAD(Peer) list;
        Buf scratch;
        struct SnapshotReceive *receiving; /* weak: at most one at a time */
};

Peer *peers_find(const Peers *s, uint64_t id);
size_t peer_headers(const Peer *p, HttpHeader *h, char (*text)[24]);
char *peer_url(const Peer *p, const char *path); /* owned; NULL when the member has no URL */
void peer_snapshot_abort(Peer *p);               /* without telling anybody */
/* Counts n bytes as heard from the member. */
void peer_heard(Peers *s, uint64_t id, size_t n);
/* transfer.c: POST /raft/snapshot */
void peers_receive_snapshot(Peers *s, HttpReq *q, uint64_t from);
