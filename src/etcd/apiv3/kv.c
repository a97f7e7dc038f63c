/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/apiv3/apiv3.h"

/* A request that asked for its size to be refused comes before anything else looks at it. */
static bool too_large(V3Call *c, size_t n) {
        if (n <= c->server->config->max_request_bytes)
                return false;
        v3_fail(c, GRPC_INVALID_ARGUMENT, "etcdserver: request is too large");
        return true;
}

static bool no_space(V3Call *c, size_t n) {
        if (!etcd_no_space(c->server, n))
                return false;
        v3_fail_store(c, STORE_NO_SPACE);
        return true;
}

static void range_now(V3Call *c) {
        RangeReq *req = c->state;
        EtcdServer *s = c->server;
        RangeResult res = {};
        _cleanup_(arena_done) Arena arena = {};
        StoreError e = store_range(s->store, req, &arena, &res);
        if (e != STORE_OK) {
                v3_fail_store(c, e);
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        v3_pack_range(s, &res, store_revision(s->store), &b);
        v3_reply(c, &b);
}

static void range_confirmed(EtcdWait *w, int error, EtcdResult *res) {
        V3Call *c = (V3Call *) w;
        if (error < 0)
                v3_fail_wait(c, error);
        else
                range_now(c);
}

void v3_range(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__RangeRequest *m = v3_unpack(c, &etcdserverpb__range_request__descriptor, p, n);
        if (!m)
                return;
        RangeReq *req = arena_new(&c->q->arena, RangeReq, 1);
        StoreError e = v3_range_of(m, req);
        const Member *self = members_find(&c->server->members, c->server->id);
        c->state = req;
        if (e != STORE_OK)
                v3_fail_store(c, e);
        else if (req->serializable)
                range_now(c);
        else if (self && self->learner)
                v3_fail(c, GRPC_UNAVAILABLE, "etcdserver: rpc not supported for learner");
        else
                v3_read_then(c, range_confirmed);
}

void v3_put(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__PutRequest *m = v3_unpack(c, &etcdserverpb__put_request__descriptor, p, n);
        Command cmd = { .kind = CMD_PUT };
        if (!m)
                return;
        StoreError e = v3_put_of(m, &cmd.put);
        if (e != STORE_OK)
                v3_fail_store(c, e);
        else if (!too_large(c, n) && !no_space(c, n))
                v3_propose(c, &cmd);
}

void v3_delete(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__DeleteRangeRequest *m =
                        v3_unpack(c, &etcdserverpb__delete_range_request__descriptor, p, n);
        Command cmd = { .kind = CMD_DELETE_RANGE };
        if (!m)
                return;
        StoreError e = v3_delete_of(m, &cmd.del);
        if (e != STORE_OK)
                v3_fail_store(c, e);
        else if (!too_large(c, n))
                v3_propose(c, &cmd);
}

static void txn_now(V3Call *c) {
        EtcdServer *s = c->server;
        TxnResult res = {};
        _cleanup_(arena_done) Arena arena = {};
        StoreError e = store_txn_read(s->store, c->state, &arena, &res);
        if (e != STORE_OK) {
                v3_fail_store(c, e);
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        v3_pack_txn(s, &res, store_revision(s->store), &b);
        v3_reply(c, &b);
}

static void txn_confirmed(EtcdWait *w, int error, EtcdResult *res) {
        V3Call *c = (V3Call *) w;
        if (error < 0)
                v3_fail_wait(c, error);
        else
                txn_now(c);
}

static bool has_put(const OpReq *ops, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (ops[i].kind == OP_PUT ||
                    (ops[i].kind == OP_TXN && (has_put(ops[i].txn.success, ops[i].txn.n_success) ||
                                               has_put(ops[i].txn.failure, ops[i].txn.n_failure))))
                        return true;
        return false;
}

void v3_txn(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__TxnRequest *m = v3_unpack(c, &etcdserverpb__txn_request__descriptor, p, n);
        if (!m)
                return;
        TxnReq *req = arena_new(&c->q->arena, TxnReq, 1);
        StoreError e = v3_txn_of(m, c->server->config->max_txn_ops, &c->q->arena, req);
        c->state = req;
        if (e != STORE_OK) {
                v3_fail_store(c, e);
                return;
        }
        if (txn_is_serializable(req)) {
                txn_now(c);
                return;
        }
        if (txn_is_read_only(req)) {
                v3_read_then(c, txn_confirmed);
                return;
        }
        bool puts = has_put(req->success, req->n_success) || has_put(req->failure, req->n_failure);
        Command cmd = { .kind = CMD_TXN, .txn = *req };
        if (!too_large(c, n) && !(puts && no_space(c, n)))
                v3_propose(c, &cmd);
}

/* ---- compaction ---- */

static void compaction_done(EtcdWait *w, int error, EtcdResult *res) {
        V3Call *c = (V3Call *) w;
        EtcdServer *s = c->server;
        if (error < 0 || !res)
                v3_fail_wait(c, error);
        else if (res->apply.error != STORE_OK)
                v3_fail_store(c, res->apply.error);
        else if (c->physical && s->compacting)
                LIST_APPEND(&s->physical_calls, c, link); /* physical: once nothing is left to free */
        else {
                c->physical = false;
                v3_reply(c, &res->body);
        }
}

void v3_compact(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__CompactionRequest *m =
                        v3_unpack(c, &etcdserverpb__compaction_request__descriptor, p, n);
        if (!m)
                return;
        Command cmd = { .kind = CMD_COMPACT, .compact = { .revision = m->revision } };
        c->physical = m->physical;
        etcd_propose(c->server, &c->wait, &cmd, compaction_done);
}

void apiv3_compacted(EtcdServer *s) {
        LIST_FOREACH(c, &s->physical_calls, link) {
                LIST_REMOVE(&s->physical_calls, c, link);
                c->physical = false;
                _cleanup_(buf_done) Buf b = {};
                v3_pack_header(s, store_revision(s->store), &b);
                v3_reply(c, &b);
        }
}
