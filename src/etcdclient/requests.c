/* SPDX-License-Identifier: Apache-2.0 */

/* The requests by their names: typed, short, and transactions built step by step. */

#include "base/arena.h"
#include "etcdclient/internal.h"

#define UNARY(method, kind, request, type, options)                                                         \
        etcd_unary(c, "/etcdserverpb." method, kind, &(request)->base, &etcdserverpb__##type##__descriptor, \
                   options, done, user)

EtcdCall *etcd_range(EtcdClient *c, const Etcdserverpb__RangeRequest *q, const EtcdOptions *options,
                     EtcdDone done, void *user) {
        return UNARY("KV/Range", ETCD_CALL_READ, q, range_response, options);
}

EtcdCall *etcd_put(EtcdClient *c, const Etcdserverpb__PutRequest *q, const EtcdOptions *options,
                   EtcdDone done, void *user) {
        return UNARY("KV/Put", ETCD_CALL_WRITE, q, put_response, options);
}

EtcdCall *etcd_delete(EtcdClient *c, const Etcdserverpb__DeleteRangeRequest *q, const EtcdOptions *options,
                      EtcdDone done, void *user) {
        return UNARY("KV/DeleteRange", ETCD_CALL_WRITE, q, delete_range_response, options);
}

/* A transaction that only reads may be repeated like any read. */
static EtcdCallKind txn_kind(const Etcdserverpb__TxnRequest *q) {
        for (size_t i = 0; i < q->n_success; i++)
                if (q->success[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
                        return ETCD_CALL_WRITE;
        for (size_t i = 0; i < q->n_failure; i++)
                if (q->failure[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
                        return ETCD_CALL_WRITE;
        return ETCD_CALL_READ;
}

EtcdCall *etcd_txn(EtcdClient *c, const Etcdserverpb__TxnRequest *q, const EtcdOptions *options,
                   EtcdDone done, void *user) {
        return UNARY("KV/Txn", txn_kind(q), q, txn_response, options);
}

EtcdCall *etcd_compact(EtcdClient *c, int64_t revision, bool physical, const EtcdOptions *options,
                       EtcdDone done, void *user) {
        Etcdserverpb__CompactionRequest q = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
        q.revision = revision;
        q.physical = physical;
        return UNARY("KV/Compact", ETCD_CALL_WRITE, &q, compaction_response, options);
}

EtcdCall *etcd_lease_grant(EtcdClient *c, int64_t ttl_sec, int64_t id, const EtcdOptions *options,
                           EtcdDone done, void *user) {
        Etcdserverpb__LeaseGrantRequest q = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
        q.ttl = ttl_sec;
        q.id = id;
        return UNARY("Lease/LeaseGrant", ETCD_CALL_WRITE, &q, lease_grant_response, options);
}

EtcdCall *etcd_lease_revoke(EtcdClient *c, int64_t id, const EtcdOptions *options, EtcdDone done,
                            void *user) {
        Etcdserverpb__LeaseRevokeRequest q = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
        q.id = id;
        return UNARY("Lease/LeaseRevoke", ETCD_CALL_WRITE, &q, lease_revoke_response, options);
}

EtcdCall *etcd_lease_time_to_live(EtcdClient *c, int64_t id, bool keys, const EtcdOptions *options,
                                  EtcdDone done, void *user) {
        Etcdserverpb__LeaseTimeToLiveRequest q = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
        q.id = id;
        q.keys = keys;
        return UNARY("Lease/LeaseTimeToLive", ETCD_CALL_READ, &q, lease_time_to_live_response, options);
}

EtcdCall *etcd_lease_leases(EtcdClient *c, const EtcdOptions *options, EtcdDone done, void *user) {
        Etcdserverpb__LeaseLeasesRequest q = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
        return UNARY("Lease/LeaseLeases", ETCD_CALL_READ, &q, lease_leases_response, options);
}

EtcdCall *etcd_member_list(EtcdClient *c, const EtcdOptions *options, EtcdDone done, void *user) {
        Etcdserverpb__MemberListRequest q = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
        return UNARY("Cluster/MemberList", ETCD_CALL_READ, &q, member_list_response, options);
}

EtcdCall *etcd_status(EtcdClient *c, const EtcdOptions *options, EtcdDone done, void *user) {
        Etcdserverpb__StatusRequest q = ETCDSERVERPB__STATUS_REQUEST__INIT;
        return UNARY("Maintenance/Status", ETCD_CALL_READ, &q, status_response, options);
}

/* ---- text keys ---- */

static ProtobufCBinaryData bytes(const void *p, size_t n) {
        return (ProtobufCBinaryData){ .len = n, .data = (uint8_t *) p };
}

static ProtobufCBinaryData text(const char *s) {
        return bytes(s, strlen(s));
}

/* Key and end of "everything that begins with prefix"; the empty prefix is everything. */
static char *prefix_range(const char *prefix, ProtobufCBinaryData *ret_key, ProtobufCBinaryData *ret_end) {
        size_t n;
        char *end = etcd_prefix_end(prefix, strlen(prefix), &n);
        *ret_key = *prefix ? text(prefix) : bytes("", 1);
        *ret_end = bytes(end, n);
        return end;
}

EtcdCall *etcd_get_key(EtcdClient *c, const char *key, EtcdDone done, void *user) {
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
        q.key = text(key);
        return etcd_range(c, &q, NULL, done, user);
}

EtcdCall *etcd_get_prefix(EtcdClient *c, const char *prefix, EtcdDone done, void *user) {
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
        _cleanup_free_ char *end = prefix_range(prefix, &q.key, &q.range_end);
        return etcd_range(c, &q, NULL, done, user);
}

EtcdCall *etcd_put_key(EtcdClient *c, const char *key, const void *value, size_t n, int64_t lease,
                       EtcdDone done, void *user) {
        Etcdserverpb__PutRequest q = ETCDSERVERPB__PUT_REQUEST__INIT;
        q.key = text(key);
        q.value = bytes(value, n);
        q.lease = lease;
        return etcd_put(c, &q, NULL, done, user);
}

EtcdCall *etcd_delete_key(EtcdClient *c, const char *key, EtcdDone done, void *user) {
        Etcdserverpb__DeleteRangeRequest q = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
        q.key = text(key);
        return etcd_delete(c, &q, NULL, done, user);
}

EtcdCall *etcd_delete_prefix(EtcdClient *c, const char *prefix, EtcdDone done, void *user) {
        Etcdserverpb__DeleteRangeRequest q = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
        _cleanup_free_ char *end = prefix_range(prefix, &q.key, &q.range_end);
        return etcd_delete(c, &q, NULL, done, user);
}

/* ---- transactions ---- */

typedef struct OpList {
        Etcdserverpb__RequestOp **ops; /* owned array, the elements are the arena's */
        size_t n, cap;
} OpList;

struct EtcdTxn {
        Arena arena;
        Etcdserverpb__Compare **compares; /* owned array */
        size_t n_compares, cap_compares;
        OpList branch[2];
        unsigned at;
};

EtcdTxn *etcd_txn_new(void) {
        return xnew(EtcdTxn, 1);
}

EtcdTxn *etcd_txn_free(EtcdTxn *t) {
        if (!t)
                return NULL;
        free(t->compares);
        free(t->branch[0].ops);
        free(t->branch[1].ops);
        arena_done(&t->arena);
        free(t);
        return NULL;
}

static ProtobufCBinaryData keep(EtcdTxn *t, const void *p, size_t n) {
        return bytes(arena_strndup(&t->arena, p, n), n);
}

static Etcdserverpb__Compare *add_compare(EtcdTxn *t, const char *key,
                                          Etcdserverpb__Compare__CompareResult result,
                                          Etcdserverpb__Compare__CompareTarget target,
                                          Etcdserverpb__Compare__TargetUnionCase which) {
        Etcdserverpb__Compare *q = arena_new(&t->arena, Etcdserverpb__Compare, 1);
        etcdserverpb__compare__init(q);
        q->key = keep(t, key, strlen(key));
        q->result = result;
        q->target = target;
        q->target_union_case = which;
        GROW(t->compares, t->cap_compares, t->n_compares + 1);
        t->compares[t->n_compares++] = q;
        return q;
}

void etcd_txn_if_create_revision(EtcdTxn *t, const char *key, int64_t revision) {
        add_compare(t, key, ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL,
                    ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
                    ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION)
                        ->create_revision = revision;
}

void etcd_txn_if_missing(EtcdTxn *t, const char *key) {
        etcd_txn_if_create_revision(t, key, 0);
}

void etcd_txn_if_exists(EtcdTxn *t, const char *key) {
        add_compare(t, key, ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER,
                    ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
                    ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION)
                        ->create_revision = 0;
}

void etcd_txn_if_mod_revision(EtcdTxn *t, const char *key, int64_t revision) {
        add_compare(t, key, ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL,
                    ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
                    ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION)
                        ->mod_revision = revision;
}

void etcd_txn_if_value(EtcdTxn *t, const char *key, const void *value, size_t n) {
        add_compare(t, key, ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL,
                    ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE)
                        ->value = keep(t, value, n);
}

void etcd_txn_if_lease(EtcdTxn *t, const char *key, int64_t lease) {
        add_compare(t, key, ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL,
                    ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE, ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE)
                        ->lease = lease;
}

void etcd_txn_else(EtcdTxn *t) {
        assert(t->at == 0);
        t->at = 1;
}

static Etcdserverpb__RequestOp *add_op(EtcdTxn *t, Etcdserverpb__RequestOp__RequestCase which) {
        OpList *l = &t->branch[t->at];
        Etcdserverpb__RequestOp *op = arena_new(&t->arena, Etcdserverpb__RequestOp, 1);
        etcdserverpb__request_op__init(op);
        op->request_case = which;
        GROW(l->ops, l->cap, l->n + 1);
        l->ops[l->n++] = op;
        return op;
}

void etcd_txn_put(EtcdTxn *t, const char *key, const void *value, size_t n, int64_t lease) {
        Etcdserverpb__PutRequest *q = arena_new(&t->arena, Etcdserverpb__PutRequest, 1);
        etcdserverpb__put_request__init(q);
        q->key = keep(t, key, strlen(key));
        q->value = keep(t, value, n);
        q->lease = lease;
        add_op(t, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)->request_put = q;
}

static Etcdserverpb__DeleteRangeRequest *add_delete(EtcdTxn *t, const char *key) {
        Etcdserverpb__DeleteRangeRequest *q = arena_new(&t->arena, Etcdserverpb__DeleteRangeRequest, 1);
        etcdserverpb__delete_range_request__init(q);
        q->key = *key ? keep(t, key, strlen(key)) : keep(t, "", 1);
        add_op(t, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)->request_delete_range = q;
        return q;
}

static ProtobufCBinaryData keep_end(EtcdTxn *t, const char *prefix) {
        size_t n;
        _cleanup_free_ char *end = etcd_prefix_end(prefix, strlen(prefix), &n);
        return keep(t, end, n);
}

void etcd_txn_delete(EtcdTxn *t, const char *key) {
        (void) add_delete(t, key);
}

void etcd_txn_delete_prefix(EtcdTxn *t, const char *prefix) {
        add_delete(t, prefix)->range_end = keep_end(t, prefix);
}

static Etcdserverpb__RangeRequest *add_range(EtcdTxn *t, const char *key) {
        Etcdserverpb__RangeRequest *q = arena_new(&t->arena, Etcdserverpb__RangeRequest, 1);
        etcdserverpb__range_request__init(q);
        q->key = *key ? keep(t, key, strlen(key)) : keep(t, "", 1);
        add_op(t, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)->request_range = q;
        return q;
}

void etcd_txn_get(EtcdTxn *t, const char *key) {
        (void) add_range(t, key);
}

void etcd_txn_get_prefix(EtcdTxn *t, const char *prefix) {
        add_range(t, prefix)->range_end = keep_end(t, prefix);
}

size_t etcd_txn_size(const EtcdTxn *t) {
        return MAX(t->branch[0].n, t->branch[1].n);
}

EtcdCall *etcd_txn_commit(EtcdClient *c, EtcdTxn *t, EtcdDone done, void *user) {
        Etcdserverpb__TxnRequest q = ETCDSERVERPB__TXN_REQUEST__INIT;
        q.compare = t->compares;
        q.n_compare = t->n_compares;
        q.success = t->branch[0].ops;
        q.n_success = t->branch[0].n;
        q.failure = t->branch[1].ops;
        q.n_failure = t->branch[1].n;
        EtcdCall *call = etcd_txn(c, &q, NULL, done, user);
        etcd_txn_free(t);
        return call;
}
