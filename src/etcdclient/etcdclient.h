/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An asynchronous client of etcd's v3 gRPC API on sd-event. It speaks to any etcd (ours, or 3.2 and later).
 *
 * What holds:
 *  - Every request returns a handle and never calls back before it returned. Exactly one done() follows,
 * with an EtcdResult that is valid during the call only, unless the owner cancelled the handle first. The
 *    handle is invalid once done() was called.
 *  - Requests go to one endpoint, the current one. A broken or silent endpoint is left for the next in the
 *    list; which one answers makes no difference to the caller.
 *  - Reads are repeated until their deadline. Writes are repeated only while it is certain that the server
 *    did not get them, or that it refused them before proposing (no leader, not capable, stopped). Otherwise
 *    they fail with `maybe` set: the write may or may not have happened, and the caller must look.
 *  - A watch delivers every event of its range exactly once and in order of revision, over reconnects and
 *    changes of endpoint, until it is cancelled or its next revision was compacted away (on_compacted).
 *  - All events of one revision come in one on_events() call.
 *
 * Errors: EtcdResult.error is 0 or a negative errno: -ETIMEDOUT (deadline), -ENOTCONN (no endpoint was
 * reachable until the deadline), -EREMOTE (the server said no: see code and message). Messages are etcd's
 * own
 * ("etcdserver: requested lease not found"), see spec b.5.
 *
 * Rejected: threads with blocking calls (two loops in each daemon), libgrpc (C++, 10 MB). */

#include "base/err.h"
#include "base/time.h"
#include "codec/grpc.h"
#include "http/tls.h"

#include "etcd.pb-c.h"

#include <systemd/sd-event.h>

#define ETCD_CLIENT_TIMEOUT (5 * USEC_PER_SEC)      /* of a request, when none is given */
#define ETCD_CLIENT_DIAL_TIMEOUT (2 * USEC_PER_SEC) /* to connect to one endpoint */
#define ETCD_CLIENT_BACKOFF_MIN (20 * USEC_PER_MSEC)
#define ETCD_CLIENT_BACKOFF_MAX (1 * USEC_PER_SEC)
#define ETCD_CLIENT_ENDPOINTS_MAX 64U
#define ETCD_CLIENT_CALLS_MAX 65536U /* requests in flight; more are answered with -EBUSY */

typedef struct EtcdClient EtcdClient;
typedef struct EtcdCall EtcdCall;
typedef struct EtcdWatch EtcdWatch;
typedef struct EtcdKeeper EtcdKeeper;
typedef struct EtcdTxn EtcdTxn;

/* ---- the client ---- */

typedef struct EtcdClientConfig {
        sd_event *event;        /* kept by reference */
        char *const *endpoints; /* "http://10.0.0.1:2379", "https://...", or "10.0.0.1:2379"; copied */
        TlsContext *tls;        /* kept by reference; for https endpoints; may be NULL */
        Usec timeout;           /* of each request; 0 = ETCD_CLIENT_TIMEOUT */
        Usec dial_timeout;      /* 0 = ETCD_CLIENT_DIAL_TIMEOUT */
        bool require_leader;    /* watches and keep-alives fail over when their member loses its leader */
        Usec ping_interval, ping_timeout; /* of silent connections in use; 0 = as http/client.h */
} EtcdClientConfig;

int etcd_client_new(const EtcdClientConfig *config, EtcdClient **ret, Err *err);
/* Cancels everything without callbacks (watches and keepers too: their handles become invalid). Not from
 * inside a callback. */
EtcdClient *etcd_client_free(EtcdClient *c);
DEFINE_CLEANUP(EtcdClient *, etcd_client_free)
/* Replaces the list; open requests and watches stay where they are while their endpoint is in the list. */
int etcd_client_set_endpoints(EtcdClient *c, char *const *endpoints, Err *err);
char *const *etcd_client_endpoints(const EtcdClient *c);
/* The endpoint in use, or NULL before the first success and while none answers. */
const char *etcd_client_current(const EtcdClient *c);
/* Why the last attempt on an endpoint failed ("connect 10.0.0.1:2379: Connection refused"), or "". */
const char *etcd_client_problem(const EtcdClient *c);

/* ---- requests ---- */

typedef struct EtcdResult {
        int error;           /* 0, or a negative errno */
        GrpcCode code;       /* the server's, with -EREMOTE */
        const char *message; /* never NULL; for a reader when error != 0 */
        bool maybe;          /* a write that may have happened all the same */
        /* The answer; which member is set follows from the request. NULL when error != 0. */
        union {
                const ProtobufCMessage *any;
                const Etcdserverpb__RangeResponse *range;
                const Etcdserverpb__PutResponse *put;
                const Etcdserverpb__DeleteRangeResponse *del;
                const Etcdserverpb__TxnResponse *txn;
                const Etcdserverpb__CompactionResponse *compaction;
                const Etcdserverpb__LeaseGrantResponse *grant;
                const Etcdserverpb__LeaseRevokeResponse *revoke;
                const Etcdserverpb__LeaseTimeToLiveResponse *time_to_live;
                const Etcdserverpb__LeaseLeasesResponse *leases;
                const Etcdserverpb__MemberListResponse *members;
                const Etcdserverpb__MemberAddResponse *member_add;
                const Etcdserverpb__MemberRemoveResponse *member_remove;
                const Etcdserverpb__MemberUpdateResponse *member_update;
                const Etcdserverpb__MemberPromoteResponse *member_promote;
                const Etcdserverpb__StatusResponse *status;
                const Etcdserverpb__AlarmResponse *alarm;
                const Etcdserverpb__HashKVResponse *hash_kv;
                const Etcdserverpb__DefragmentResponse *defragment;
                const Etcdserverpb__MoveLeaderResponse *move_leader;
        };
} EtcdResult;
typedef void (*EtcdDone)(const EtcdResult *result, void *user);

typedef struct EtcdOptions {
        Usec timeout;         /* 0 = the client's */
        const char *endpoint; /* this one only, no fail-over (status, health); NULL = any */
} EtcdOptions;

/* The general forms: the request is packed at once and may be freed after the call. `options` may be NULL.
 * Never NULL: what cannot be sent is told by done(). */
EtcdCall *etcd_range(EtcdClient *c, const Etcdserverpb__RangeRequest *q, const EtcdOptions *options,
                     EtcdDone done, void *user);
EtcdCall *etcd_put(EtcdClient *c, const Etcdserverpb__PutRequest *q, const EtcdOptions *options,
                   EtcdDone done, void *user);
EtcdCall *etcd_delete(EtcdClient *c, const Etcdserverpb__DeleteRangeRequest *q, const EtcdOptions *options,
                      EtcdDone done, void *user);
EtcdCall *etcd_txn(EtcdClient *c, const Etcdserverpb__TxnRequest *q, const EtcdOptions *options,
                   EtcdDone done, void *user);
EtcdCall *etcd_compact(EtcdClient *c, int64_t revision, bool physical, const EtcdOptions *options,
                       EtcdDone done, void *user);
EtcdCall *etcd_lease_grant(EtcdClient *c, int64_t ttl_sec, int64_t id, const EtcdOptions *options,
                           EtcdDone done, void *user);
EtcdCall *etcd_lease_revoke(EtcdClient *c, int64_t id, const EtcdOptions *options, EtcdDone done,
                            void *user);
EtcdCall *etcd_lease_time_to_live(EtcdClient *c, int64_t id, bool keys, const EtcdOptions *options,
                                  EtcdDone done, void *user);
EtcdCall *etcd_lease_leases(EtcdClient *c, const EtcdOptions *options, EtcdDone done, void *user);
EtcdCall *etcd_member_list(EtcdClient *c, const EtcdOptions *options, EtcdDone done, void *user);
EtcdCall *etcd_status(EtcdClient *c, const EtcdOptions *options, EtcdDone done, void *user);

typedef enum EtcdCallKind { ETCD_CALL_READ, ETCD_CALL_WRITE } EtcdCallKind;
/* Any other unary method, e.g. "/etcdserverpb.Cluster/MemberAdd". */
EtcdCall *etcd_unary(EtcdClient *c, const char *method, EtcdCallKind kind, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *response, const EtcdOptions *options, EtcdDone done,
                     void *user);
EtcdCall *etcd_call_cancel(EtcdCall *call); /* NULL is allowed; returns NULL */

/* Short forms for text keys. `value` is any bytes. */
EtcdCall *etcd_get_key(EtcdClient *c, const char *key, EtcdDone done, void *user);
EtcdCall *etcd_get_prefix(EtcdClient *c, const char *prefix, EtcdDone done, void *user);
EtcdCall *etcd_put_key(EtcdClient *c, const char *key, const void *value, size_t n, int64_t lease,
                       EtcdDone done, void *user);
EtcdCall *etcd_delete_key(EtcdClient *c, const char *key, EtcdDone done, void *user);
EtcdCall *etcd_delete_prefix(EtcdClient *c, const char *prefix, EtcdDone done, void *user);

/* The end of the range of all keys with this prefix; owned by the caller, *ret_n bytes ("\0" = no end). */
char *etcd_prefix_end(const void *prefix, size_t n, size_t *ret_n);
/* The bytes of a protobuf field as an owned C string. */
char *etcd_text(const ProtobufCBinaryData *b);

/* ---- transactions, built step by step ---- */

EtcdTxn *etcd_txn_new(void);
EtcdTxn *etcd_txn_free(EtcdTxn *t);
DEFINE_CLEANUP(EtcdTxn *, etcd_txn_free)
/* Conditions: all must hold. A missing key has create and mod revision 0. */
void etcd_txn_if_missing(EtcdTxn *t, const char *key);
void etcd_txn_if_exists(EtcdTxn *t, const char *key);
void etcd_txn_if_mod_revision(EtcdTxn *t, const char *key, int64_t revision);
void etcd_txn_if_create_revision(EtcdTxn *t, const char *key, int64_t revision);
void etcd_txn_if_value(EtcdTxn *t, const char *key, const void *value, size_t n);
void etcd_txn_if_lease(EtcdTxn *t, const char *key, int64_t lease);
/* Everything added after this is done when the conditions do not hold. */
void etcd_txn_else(EtcdTxn *t);
void etcd_txn_put(EtcdTxn *t, const char *key, const void *value, size_t n, int64_t lease);
void etcd_txn_delete(EtcdTxn *t, const char *key);
void etcd_txn_delete_prefix(EtcdTxn *t, const char *prefix);
void etcd_txn_get(EtcdTxn *t, const char *key);
void etcd_txn_get_prefix(EtcdTxn *t, const char *prefix);
size_t etcd_txn_size(const EtcdTxn *t); /* operations of the longer branch; etcd allows 128 */
/* Sends it; t is freed. result->txn->succeeded tells which branch ran. */
EtcdCall *etcd_txn_commit(EtcdClient *c, EtcdTxn *t, EtcdDone done, void *user);

/* ---- watches ---- */

typedef struct EtcdWatchConfig {
        const void *key;
        size_t key_len;
        const void *range_end; /* NULL = the single key */
        size_t range_end_len;
        bool prefix;            /* key is a prefix; range_end is computed */
        int64_t start_revision; /* the first revision wanted; 0 = from now (from when the watch was made) */
        bool prev_kv, no_put, no_delete;
        bool progress_notify;
        /* Events in order; `revision` is that of the answer's header: everything up to it was delivered.
         * With progress_notify also called with n = 0. */
        void (*on_events)(EtcdWatch *w, Etcdserverpb__Event *const *events, size_t n, int64_t revision,
                          void *user);
        /* The next wanted revision no longer exists. The watch has ended and w is invalid after return: read
         * the range anew and watch from its revision + 1. */
        void (*on_compacted)(EtcdWatch *w, int64_t compact_revision, void *user);
        /* The server refuses for good (e.g. permission denied); w is invalid after return. May be NULL. */
        void (*on_failed)(EtcdWatch *w, GrpcCode code, const char *message, void *user);
        /* The server confirmed the watch (again after each reconnect); may be NULL. */
        void (*on_created)(EtcdWatch *w, int64_t revision, void *user);
        void *user;
} EtcdWatchConfig;

/* Key and range are copied. Lives until etcd_watch_cancel(), on_compacted() or on_failed(). */
EtcdWatch *etcd_watch(EtcdClient *c, const EtcdWatchConfig *config);
EtcdWatch *etcd_watch_cancel(EtcdWatch *w);           /* no callback follows; NULL is allowed */
int64_t etcd_watch_next_revision(const EtcdWatch *w); /* 0 while unknown */
/* The last answer to this watch, during its callbacks (etcdctl -w json); NULL otherwise. */
const Etcdserverpb__WatchResponse *etcd_watch_response(const EtcdWatch *w);

/* ---- keeping a lease ---- */

/* Renews lease `id` every ttl/3, over reconnects and endpoint changes. on_lost() is called once, and ends
 * the keeper: expired = true when the server does not know the lease any more (its keys are gone), false
 * when no renewal succeeded for `ttl_sec` (the keys may be gone or not). on_renewed may be NULL. */
typedef struct EtcdKeeperConfig {
        int64_t id, ttl_sec;
        void (*on_renewed)(EtcdKeeper *k, int64_t ttl_sec, void *user);
        void (*on_lost)(EtcdKeeper *k, bool expired, void *user);
        void *user;
} EtcdKeeperConfig;
EtcdKeeper *etcd_lease_keep(EtcdClient *c, const EtcdKeeperConfig *config);
EtcdKeeper *etcd_keeper_cancel(EtcdKeeper *k); /* stops renewing; does not revoke; NULL is allowed */
