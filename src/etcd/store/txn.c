/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/state.h"

/* Transactions. All compares, those of nested txns too, look at the state before the first write; then every
 * operation on the chosen path is checked against that state; only then something changes. So a txn happens
 * whole or not at all, and its outcome is known before it starts. */

/* The branches taken, in the order in which the txns are met. */
typedef struct Path {
        bool *taken; /* owned */
        size_t n, cap, at;
} Path;

static void path_done(Path *p) {
        free(p->taken);
}

static bool holds(CompareResult result, int c) {
        switch (result) {
        case CMP_EQUAL:
                return c == 0;
        case CMP_NOT_EQUAL:
                return c != 0;
        case CMP_GREATER:
                return c > 0;
        case CMP_LESS:
                return c < 0;
        default:
                assert(!"checked by txn_check()");
        }
}

/* `v` NULL: the key is missing. Then numbers are 0, and no statement about the value holds. */
static bool compare_one(const CompareReq *c, const Ver *v) {
        int64_t have = 0;
        switch (c->target) {
        case CMP_VALUE:
                return v && holds(c->result, bytes_cmp((Bytes){ v->value, v->n }, c->value));
        case CMP_VERSION:
                have = v ? v->version : 0;
                break;
        case CMP_CREATE:
                have = v ? v->create : 0;
                break;
        case CMP_MOD:
                have = v ? v->main : 0;
                break;
        case CMP_LEASE:
                have = v ? v->lease : 0;
                break;
        default:
                assert(!"checked by txn_check()");
        }
        return holds(c->result, have < c->number ? -1 : have > c->number);
}

static const Ver *live(Key *k) {
        const Ver *v = k ? key_newest(k) : NULL;
        return v && !v->tombstone ? v : NULL;
}

/* Over a range every live key must satisfy it; with none the comparison is made as for a missing key, except
 * that nothing can be said about values. */
static bool compare(Store *s, const CompareReq *c) {
        Range range = range_of(c->key, c->range_end);
        if (range.single)
                return compare_one(c, live(mvcc_key(s, c->key)));
        IndexCursor cur;
        bool any = false;
        index_seek(&s->keys, 0, c->key, &cur);
        for (Key *k; (k = (Key *) index_next(&cur)) && range_has(&range, key_bytes(k));) {
                const Ver *v = live(k);
                if (!v)
                        continue;
                any = true;
                if (!compare_one(c, v))
                        return false;
        }
        return any || compare_one(c, NULL);
}

static void choose(Store *s, const TxnReq *t, Path *p) {
        bool ok = true;
        for (size_t i = 0; i < t->n_compares && ok; i++)
                ok = compare(s, t->compares + i);
        GROW(p->taken, p->cap, p->n + 1);
        p->taken[p->n++] = ok;
        const OpReq *ops = ok ? t->success : t->failure;
        for (size_t i = 0, n = ok ? t->n_success : t->n_failure; i < n; i++)
                if (ops[i].kind == OP_TXN)
                        choose(s, &ops[i].txn, p);
}

static StoreError check_path(Store *s, const TxnReq *t, Path *p) {
        bool ok = p->taken[p->at++];
        const OpReq *ops = ok ? t->success : t->failure;
        for (size_t i = 0, n = ok ? t->n_success : t->n_failure; i < n; i++) {
                StoreError e = STORE_OK;
                if (ops[i].kind == OP_PUT)
                        e = mvcc_put_check(s, &ops[i].put);
                else if (ops[i].kind == OP_TXN)
                        e = check_path(s, &ops[i].txn, p);
                else if (ops[i].kind == OP_RANGE && ops[i].range.revision > s->revision)
                        e = STORE_FUTURE_REV;
                else if (ops[i].kind == OP_RANGE && ops[i].range.revision > 0 &&
                         ops[i].range.revision < s->compacted)
                        e = STORE_COMPACTED;
                if (e != STORE_OK)
                        return e;
        }
        return STORE_OK;
}

static void run(Tx *tx, const TxnReq *t, Path *p, Arena *arena, TxnResult *ret) {
        Store *s = tx->s;
        bool ok = p->taken[p->at++];
        const OpReq *ops = ok ? t->success : t->failure;
        size_t n = ok ? t->n_success : t->n_failure;
        *ret = (TxnResult){ .succeeded = ok, .n_responses = n };
        if (n > 0)
                ret->responses = arena_new(arena, OpResult, n);
        for (size_t i = 0; i < n; i++) {
                OpResult *r = ret->responses + i;
                StoreError e = STORE_OK;
                r->kind = ops[i].kind;
                switch (r->kind) {
                case OP_RANGE:
                        e = mvcc_range(s, tx->subs > 0 ? tx->main : s->revision, &ops[i].range, arena,
                                       &r->range);
                        break;
                case OP_PUT:
                        e = mvcc_put(tx, &ops[i].put, &r->put);
                        break;
                case OP_DELETE_RANGE:
                        mvcc_delete(tx, &ops[i].del, arena, &r->del);
                        break;
                default:
                        run(tx, &ops[i].txn, p, arena, &r->txn);
                }
                assert(e == STORE_OK); /* check_path() saw to it */
                r->revision = tx->subs > 0 ? tx->main : s->revision;
        }
}

StoreError txn_apply(Store *s, const TxnReq *t, Arena *arena, TxnResult *ret) {
        _cleanup_(path_done) Path p = {};
        choose(s, t, &p);
        StoreError e = check_path(s, t, &p);
        if (e != STORE_OK)
                return e;
        p.at = 0;
        Tx tx = tx_begin(s);
        run(&tx, t, &p, arena, ret);
        assert(p.at == p.n);
        tx_commit(&tx);
        return STORE_OK;
}

bool ops_grow(const OpReq *ops, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (ops[i].kind == OP_PUT ||
                    (ops[i].kind == OP_TXN && (ops_grow(ops[i].txn.success, ops[i].txn.n_success) ||
                                               ops_grow(ops[i].txn.failure, ops[i].txn.n_failure))))
                        return true;
        return false;
}

StoreError store_txn_read(Store *s, const TxnReq *t, Arena *arena, TxnResult *ret) {
        assert(txn_is_read_only(t));
        StoreError e = txn_check(t, s->options.max_txn_ops);
        return e != STORE_OK ? e : txn_apply(s, t, arena, ret);
}
