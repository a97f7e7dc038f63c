/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The v3 API: gRPC services KV, Watch, Lease, Cluster, Maintenance, Auth and health, and the JSON gateway over the
 * same calls (spec b). A call is one V3Call whatever the wire: methods get the packed request and answer with a
 * packed response or an error, the wire turns that into gRPC frames or JSON.
 *
 * Requests are unpacked by protobuf-c into the request's arena; responses, which carry the bulk, are written by
 * pack.c straight from the store into a buffer, without a tree of objects in between. Every enum that came from
 * outside is checked (one unauthenticated request could stop etcd 3.4). */

#include "base/arena.h"
#include "codec/grpc.h"
#include "etcd/server.h"
#include "proto/etcd.pb-c.h"

#define V3_RESPONSE_MAX (60U << 20) /* of one message; the HTTP layer queues a little more */
#define V3_FRAGMENT_BYTES ((size_t) 1536 << 10) /* of a watch response */
#define V3_WATCHES_PER_STREAM_MAX 100000U

typedef struct V3Wire {
        void (*reply)(V3Call *c, const void *p, size_t n); /* ends the call */
        void (*fail)(V3Call *c, GrpcCode code, const char *message);
        int (*send)(V3Call *c, const void *p, size_t n); /* streams; as http_write() */
        void (*finish)(V3Call *c);                       /* streams: a good end */
} V3Wire;

typedef struct V3Method {
        const char *path; /* "/etcdserverpb.KV/Range" */
        void (*run)(V3Call *c, const void *p, size_t n);
        /* Streams: `open` once, then `run` for each message, `end` when the client has said all, `cancel` when it
         * is gone, `writable` when a full queue has emptied. */
        void (*open)(V3Call *c), (*end)(V3Call *c), (*cancel)(V3Call *c), (*writable)(V3Call *c);
        const ProtobufCMessageDescriptor *request, *response; /* for the gateway */
        const char *json;                                     /* path below /v3; NULL: none */
} V3Method;
extern const V3Method v3_methods[]; /* ends with a NULL path */

struct V3Call {
        EtcdWait wait; /* first */
        EtcdServer *server;
        HttpReq *q;
        const V3Method *method;
        const V3Wire *wire;
        void *state;      /* the method's own */
        Arena scratch;    /* streams: of the message at hand; unary calls use q->arena */
        bool ended, got_message;
        bool moving, physical, forwarded; /* is in the server's list of such calls, or will be */
        LIST_LINK(V3Call) link; /* of calls that wait for something the log does not tell */
        bool needs_leader;      /* a stream that must end when there is none */
        LIST_LINK(V3Call) led;
};

/* ---- entry points ---- */
void apiv3_grpc(HttpReq *q, EtcdServer *s);
void apiv3_gateway(HttpReq *q, void *user);
/* POST /leases?op=renew|ttl&id=HEX on the peer port: what only the leader knows about leases. */
void apiv3_peer_leases(HttpReq *q, void *user);
void apiv3_watch_deliver(Watcher *w);
/* Ends the streams that asked to be told when their member has no leader. */
void apiv3_no_leader(EtcdServer *s);
/* POST /members/promote/ID on the peer port: a promotion that a follower was asked for. */
void apiv3_peer_promote(HttpReq *q, void *user);
/* Calls that wait for a change of leadership or for a physical compaction. */
void apiv3_state_changed(EtcdServer *s);
Usec apiv3_move_deadline(const EtcdServer *s); /* when a transfer of leadership is given up */
void apiv3_compacted(EtcdServer *s);

/* A call that has just come in; NULL when it was refused (and answered) at once. */
V3Call *v3_call_new(HttpReq *q, EtcdServer *s, const V3Method *m, const V3Wire *wire);
void v3_call_writable(HttpReq *q);

/* ---- for the methods ---- */
void v3_reply(V3Call *c, Buf *b);
void v3_fail(V3Call *c, GrpcCode code, const char *message);
void v3_fail_store(V3Call *c, StoreError e);
void v3_fail_wait(V3Call *c, int error);
/* The unpacked message (it depends on p no more), or NULL after the call was failed. Of a stream it lives until its
 * method returns. */
void *v3_unpack(V3Call *c, const ProtobufCMessageDescriptor *d, const void *p, size_t n);
/* Proposes and answers with what machine.c packed. */
void v3_call_unlink(V3Call *c);
void v3_propose(V3Call *c, Command *cmd);
void v3_read_then(V3Call *c, EtcdDone done);

/* ---- pack.c: protobuf by hand ---- */
void pb_uint(Buf *b, unsigned field, uint64_t v);
static inline void pb_int(Buf *b, unsigned field, int64_t v) {
        pb_uint(b, field, (uint64_t) v);
}
void pb_bytes(Buf *b, unsigned field, Bytes v);
void pb_text(Buf *b, unsigned field, const char *s);
size_t pb_begin(Buf *b, unsigned field); /* a nested message */
void pb_end(Buf *b, size_t begin);
void v3_pack_header(const EtcdServer *s, int64_t revision, Buf *b); /* field 1 */
void v3_pack_kv(unsigned field, const KeyVal *kv, Buf *b);
void v3_pack_range(const EtcdServer *s, const RangeResult *r, int64_t revision, Buf *b);
void v3_pack_txn(const EtcdServer *s, const TxnResult *r, int64_t revision, Buf *b);
/* The response to a command, while its views are alive. */
void v3_pack_result(const EtcdServer *s, const ApplyResult *r, uint64_t term, Buf *b);
void v3_pack_members(const EtcdServer *s, unsigned field, Buf *b);

/* ---- convert.c: messages to the store's requests; views into the message ---- */
StoreError v3_range_of(const Etcdserverpb__RangeRequest *m, RangeReq *ret);
StoreError v3_put_of(const Etcdserverpb__PutRequest *m, PutReq *ret);
StoreError v3_delete_of(const Etcdserverpb__DeleteRangeRequest *m, DeleteReq *ret);
StoreError v3_txn_of(const Etcdserverpb__TxnRequest *m, size_t max_ops, Arena *arena, TxnReq *ret);

/* ---- the methods, by file ---- */
void v3_range(V3Call *c, const void *p, size_t n); /* kv.c */
void v3_put(V3Call *c, const void *p, size_t n);
void v3_delete(V3Call *c, const void *p, size_t n);
void v3_txn(V3Call *c, const void *p, size_t n);
void v3_compact(V3Call *c, const void *p, size_t n);
void v3_watch_open(V3Call *c); /* watch.c */
void v3_watch_message(V3Call *c, const void *p, size_t n);
void v3_watch_end(V3Call *c);
void v3_watch_cancel(V3Call *c);
void v3_watch_writable(V3Call *c);
void v3_lease_grant(V3Call *c, const void *p, size_t n); /* lease.c */
void v3_lease_revoke(V3Call *c, const void *p, size_t n);
void v3_lease_ttl(V3Call *c, const void *p, size_t n);
void v3_lease_ttl_cancel(V3Call *c);
void v3_lease_list(V3Call *c, const void *p, size_t n);
void v3_keepalive_open(V3Call *c);
void v3_keepalive_message(V3Call *c, const void *p, size_t n);
void v3_keepalive_end(V3Call *c);
void v3_keepalive_cancel(V3Call *c);
void v3_member_add(V3Call *c, const void *p, size_t n); /* cluster.c */
void v3_member_remove(V3Call *c, const void *p, size_t n);
void v3_member_update(V3Call *c, const void *p, size_t n);
void v3_member_list(V3Call *c, const void *p, size_t n);
void v3_promote_cancel(V3Call *c);
void v3_member_promote(V3Call *c, const void *p, size_t n);
void v3_status(V3Call *c, const void *p, size_t n); /* maintenance.c */
void v3_alarm(V3Call *c, const void *p, size_t n);
void v3_hash(V3Call *c, const void *p, size_t n);
void v3_hash_kv(V3Call *c, const void *p, size_t n);
void v3_move_leader(V3Call *c, const void *p, size_t n);
void v3_defragment(V3Call *c, const void *p, size_t n);
void v3_snapshot(V3Call *c, const void *p, size_t n);
void v3_health(V3Call *c, const void *p, size_t n);
void v3_auth_status(V3Call *c, const void *p, size_t n);
void v3_auth_disable(V3Call *c, const void *p, size_t n);
void v3_authenticate(V3Call *c, const void *p, size_t n);
void v3_auth_unbuilt(V3Call *c, const void *p, size_t n);
