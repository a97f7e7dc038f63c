/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "etcd/store/command.h"

/* What is wrong with a request whatever the store holds (spec/etcd.md b.3), and the words of v3's errors. */

static const struct {
        const char *message;
        int grpc;
} errors[_STORE_ERROR_MAX] = {
        [STORE_OK] = { "ok", 0 },
        [STORE_EMPTY_KEY] = { "etcdserver: key is not provided", 3 },
        [STORE_KEY_NOT_FOUND] = { "etcdserver: key not found", 3 },
        [STORE_VALUE_PROVIDED] = { "etcdserver: value is provided", 3 },
        [STORE_LEASE_PROVIDED] = { "etcdserver: lease is provided", 3 },
        [STORE_TOO_MANY_OPS] = { "etcdserver: too many operations in txn request", 3 },
        [STORE_DUPLICATE_KEY] = { "etcdserver: duplicate key given in txn request", 3 },
        [STORE_INVALID_SORT] = { "etcdserver: invalid sort option", 3 },
        [STORE_INVALID_ENUM] = { "etcdserver: invalid enum value in request", 3 },
        [STORE_COMPACTED] = { "etcdserver: mvcc: required revision has been compacted", 11 },
        [STORE_FUTURE_REV] = { "etcdserver: mvcc: required revision is a future revision", 11 },
        [STORE_LEASE_NOT_FOUND] = { "etcdserver: requested lease not found", 5 },
        [STORE_LEASE_EXISTS] = { "etcdserver: lease already exists", 9 },
        [STORE_LEASE_TTL_TOO_LARGE] = { "etcdserver: too large lease TTL", 11 },
        [STORE_NO_SPACE] = { "etcdserver: mvcc: database space exceeded", 8 },
        [STORE_BAD_COMMAND] = { "etcdserver: the command in the log is not understood by this version", 2 },
};

const char *store_error_message(StoreError e) {
        assert(e < _STORE_ERROR_MAX);
        return errors[e].message;
}

int store_error_grpc_code(StoreError e) {
        assert(e < _STORE_ERROR_MAX);
        return errors[e].grpc;
}

StoreError put_check(const PutReq *r) {
        if (r->key.n == 0)
                return STORE_EMPTY_KEY;
        if (r->ignore_value && r->value.n > 0)
                return STORE_VALUE_PROVIDED;
        if (r->ignore_lease && r->lease != 0)
                return STORE_LEASE_PROVIDED;
        return STORE_OK;
}

StoreError delete_check(const DeleteReq *r) {
        return r->key.n == 0 ? STORE_EMPTY_KEY : STORE_OK;
}

StoreError range_check(const RangeReq *r) {
        if (r->key.n == 0)
                return STORE_EMPTY_KEY;
        if ((unsigned) r->order >= _SORT_ORDER_MAX || (unsigned) r->target >= _SORT_TARGET_MAX)
                return STORE_INVALID_SORT;
        return STORE_OK;
}

/* ---- keys that one txn writes twice ---- */

/* A key put, or a range deleted, by operation `op` of the branch being looked at. Puts of one branch must
 * differ from each other, and must not lie in a range that another operation of the branch deletes. Deletes
 * may overlap. */
typedef struct Write {
        Bytes key, end; /* end.n == 0: a single key; "\0": no end */
        size_t op;
        size_t other; /* of a sorted put: the next one of another operation */
} Write;

typedef struct Writes {
        Write *puts, *dels; /* owned */
        size_t n_puts, cap_puts, n_dels, cap_dels;
} Writes;

static void writes_done(Writes *w) {
        free(w->puts);
        free(w->dels);
}

static bool is_open_end(Bytes end) {
        return end.n == 1 && end.p[0] == '\0';
}

static bool write_covers(const Write *w, Bytes key) {
        if (w->end.n == 0)
                return bytes_eq(w->key, key);
        return bytes_cmp(w->key, key) <= 0 && (is_open_end(w->end) || bytes_cmp(key, w->end) < 0);
}

static int write_compare(const void *a, const void *b) {
        const Write *x = a, *y = b;
        int c = bytes_cmp(x->key, y->key);
        return c != 0 ? c : x->op < y->op ? -1 : x->op > y->op;
}

/* Sorts the puts; true when two operations write one key. O(n log n): the request comes from outside. */
static bool writes_clash(Writes *w) {
        if (w->n_puts > 1)
                qsort(w->puts, w->n_puts, sizeof(Write), write_compare);
        for (size_t i = w->n_puts; i-- > 0;) {
                Write *p = w->puts + i, *next = i + 1 < w->n_puts ? p + 1 : NULL;
                if (next && bytes_eq(p->key, next->key) && p->op != next->op)
                        return true;
                p->other = next && next->op == p->op ? next->other : i + 1;
        }
        for (size_t i = 0; i < w->n_dels; i++) {
                const Write *d = w->dels + i;
                size_t lo = 0, hi = w->n_puts;
                while (lo < hi) {
                        size_t mid = (lo + hi) / 2;
                        if (bytes_cmp(w->puts[mid].key, d->key) < 0)
                                lo = mid + 1;
                        else
                                hi = mid;
                }
                if (lo < w->n_puts && w->puts[lo].op == d->op)
                        lo = w->puts[lo].other;
                if (lo < w->n_puts && write_covers(d, w->puts[lo].key))
                        return true;
        }
        return false;
}

static StoreError collect_branch(const OpReq *ops, size_t n, Writes *all);

static void add_write(Write **w, size_t *cap, size_t *n, Write one) {
        GROW(*w, *cap, *n + 1);
        (*w)[(*n)++] = one;
}

/* Adds what both branches of a nested txn may write; they exclude each other, so they are checked apart. */
static StoreError collect_txn(const TxnReq *t, size_t op, Writes *all) {
        for (int i = 0; i < 2; i++) {
                _cleanup_(writes_done) Writes w = {};
                StoreError e = i == 0 ? collect_branch(t->success, t->n_success, &w)
                                      : collect_branch(t->failure, t->n_failure, &w);
                if (e != STORE_OK)
                        return e;
                for (size_t j = 0; j < w.n_puts; j++)
                        add_write(&all->puts, &all->cap_puts, &all->n_puts,
                                  (Write){ .key = w.puts[j].key, .op = op });
                for (size_t j = 0; j < w.n_dels; j++)
                        add_write(&all->dels, &all->cap_dels, &all->n_dels,
                                  (Write){ .key = w.dels[j].key, .end = w.dels[j].end, .op = op });
        }
        return STORE_OK;
}

static StoreError collect_branch(const OpReq *ops, size_t n, Writes *all) {
        for (size_t i = 0; i < n; i++) {
                const OpReq *op = ops + i;
                StoreError e = STORE_OK;
                if (op->kind == OP_PUT)
                        add_write(&all->puts, &all->cap_puts, &all->n_puts,
                                  (Write){ .key = op->put.key, .op = i });
                else if (op->kind == OP_DELETE_RANGE)
                        add_write(&all->dels, &all->cap_dels, &all->n_dels,
                                  (Write){ .key = op->del.key, .end = op->del.range_end, .op = i });
                else if (op->kind == OP_TXN)
                        e = collect_txn(&op->txn, i, all);
                if (e != STORE_OK)
                        return e;
        }
        return writes_clash(all) ? STORE_DUPLICATE_KEY : STORE_OK;
}

/* ---- the shape of a txn ---- */

static StoreError check_shape(const TxnReq *t, size_t max_ops, unsigned depth);

static StoreError check_ops(const OpReq *ops, size_t n, size_t max_ops, unsigned depth) {
        for (size_t i = 0; i < n; i++) {
                StoreError e;
                switch (ops[i].kind) {
                case OP_RANGE:
                        e = range_check(&ops[i].range);
                        break;
                case OP_PUT:
                        e = put_check(&ops[i].put);
                        break;
                case OP_DELETE_RANGE:
                        e = delete_check(&ops[i].del);
                        break;
                case OP_TXN:
                        e = check_shape(&ops[i].txn, max_ops, depth + 1);
                        break;
                default:
                        e = STORE_INVALID_ENUM;
                }
                if (e != STORE_OK)
                        return e;
        }
        return STORE_OK;
}

static StoreError check_shape(const TxnReq *t, size_t max_ops, unsigned depth) {
        if (depth >= CMD_DEPTH_MAX || t->n_compares > max_ops || t->n_success > max_ops ||
            t->n_failure > max_ops)
                return STORE_TOO_MANY_OPS;
        for (size_t i = 0; i < t->n_compares; i++) {
                const CompareReq *c = t->compares + i;
                if (c->key.n == 0)
                        return STORE_EMPTY_KEY;
                if ((unsigned) c->result >= _CMP_RESULT_MAX || (unsigned) c->target >= _CMP_TARGET_MAX)
                        return STORE_INVALID_ENUM;
        }
        StoreError e = check_ops(t->success, t->n_success, max_ops, depth);
        return e != STORE_OK ? e : check_ops(t->failure, t->n_failure, max_ops, depth);
}

StoreError txn_check(const TxnReq *t, size_t max_ops) {
        StoreError e = check_shape(t, max_ops > 0 ? max_ops : TXN_OPS_DEFAULT, 0);
        if (e != STORE_OK)
                return e;
        _cleanup_(writes_done) Writes all = {};
        return collect_txn(t, 0, &all);
}

static bool ops_all(const OpReq *ops, size_t n, bool serializable) {
        for (size_t i = 0; i < n; i++) {
                const OpReq *op = ops + i;
                bool ok = op->kind == OP_RANGE ? !serializable || op->range.serializable
                          : op->kind == OP_TXN ? ops_all(op->txn.success, op->txn.n_success, serializable) &&
                                                                 ops_all(op->txn.failure, op->txn.n_failure,
                                                                         serializable)
                                               : false;
                if (!ok)
                        return false;
        }
        return true;
}

bool txn_is_read_only(const TxnReq *t) {
        return ops_all(t->success, t->n_success, false) && ops_all(t->failure, t->n_failure, false);
}

bool txn_is_serializable(const TxnReq *t) {
        return ops_all(t->success, t->n_success, true) && ops_all(t->failure, t->n_failure, true);
}
