/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/apiv3/apiv3.h"

static Bytes view(ProtobufCBinaryData d) {
        return (Bytes){ (const char *) d.data, d.len };
}

StoreError v3_range_of(const Etcdserverpb__RangeRequest *m, RangeReq *ret) {
        if ((unsigned) m->sort_order >= _SORT_ORDER_MAX || (unsigned) m->sort_target >= _SORT_TARGET_MAX)
                return STORE_INVALID_SORT;
        *ret = (RangeReq){ .key = view(m->key),
                           .range_end = view(m->range_end),
                           .limit = m->limit,
                           .revision = m->revision,
                           .order = (SortOrder) m->sort_order,
                           .target = (SortTarget) m->sort_target,
                           .serializable = m->serializable,
                           .keys_only = m->keys_only,
                           .count_only = m->count_only,
                           .min_mod = m->min_mod_revision,
                           .max_mod = m->max_mod_revision,
                           .min_create = m->min_create_revision,
                           .max_create = m->max_create_revision };
        return range_check(ret);
}

StoreError v3_put_of(const Etcdserverpb__PutRequest *m, PutReq *ret) {
        *ret = (PutReq){ .key = view(m->key),
                         .value = view(m->value),
                         .lease = m->lease,
                         .prev_kv = m->prev_kv,
                         .ignore_value = m->ignore_value,
                         .ignore_lease = m->ignore_lease };
        return put_check(ret);
}

StoreError v3_delete_of(const Etcdserverpb__DeleteRangeRequest *m, DeleteReq *ret) {
        *ret = (DeleteReq){ .key = view(m->key), .range_end = view(m->range_end), .prev_kv = m->prev_kv };
        return delete_check(ret);
}

static StoreError compare_of(const Etcdserverpb__Compare *m, CompareReq *ret) {
        if ((unsigned) m->result >= _CMP_RESULT_MAX || (unsigned) m->target >= _CMP_TARGET_MAX)
                return STORE_INVALID_ENUM;
        *ret = (CompareReq){ .result = (CompareResult) m->result,
                             .target = (CompareTarget) m->target,
                             .key = view(m->key),
                             .range_end = view(m->range_end) };
        /* Only the member of the union that belongs to the target counts; another one leaves the zero value. */
        switch (m->target_union_case) {
        case ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION:
                ret->number = ret->target == CMP_VERSION ? m->version : 0;
                break;
        case ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION:
                ret->number = ret->target == CMP_CREATE ? m->create_revision : 0;
                break;
        case ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION:
                ret->number = ret->target == CMP_MOD ? m->mod_revision : 0;
                break;
        case ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE:
                if (ret->target == CMP_VALUE)
                        ret->value = view(m->value);
                break;
        case ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE:
                ret->number = ret->target == CMP_LEASE ? m->lease : 0;
                break;
        case ETCDSERVERPB__COMPARE__TARGET_UNION__NOT_SET:
        case _ETCDSERVERPB__COMPARE__TARGET_UNION__CASE_IS_INT_SIZE:
                break;
        }
        return STORE_OK;
}

static StoreError convert_txn(const Etcdserverpb__TxnRequest *m, unsigned depth, Arena *arena, TxnReq *ret);

static StoreError op_of(const Etcdserverpb__RequestOp *m, unsigned depth, Arena *arena, OpReq *ret) {
        switch (m->request_case) {
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
                ret->kind = OP_RANGE;
                return v3_range_of(m->request_range, &ret->range);
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
                ret->kind = OP_PUT;
                return v3_put_of(m->request_put, &ret->put);
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
                ret->kind = OP_DELETE_RANGE;
                return v3_delete_of(m->request_delete_range, &ret->del);
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
                ret->kind = OP_TXN;
                return convert_txn(m->request_txn, depth + 1, arena, &ret->txn);
        case ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET:
        case _ETCDSERVERPB__REQUEST_OP__REQUEST__CASE_IS_INT_SIZE:
                break;
        }
        return STORE_KEY_NOT_FOUND; /* as etcd says of an operation without content */
}

static StoreError branch_of(Etcdserverpb__RequestOp **ops, size_t n, unsigned depth, Arena *arena, OpReq **ret,
                            size_t *ret_n) {
        if (n > CMD_OPS_MAX)
                return STORE_TOO_MANY_OPS;
        *ret = arena_new(arena, OpReq, n + 1);
        *ret_n = n;
        for (size_t i = 0; i < n; i++) {
                StoreError e = op_of(ops[i], depth, arena, &(*ret)[i]);
                if (e != STORE_OK)
                        return e;
        }
        return STORE_OK;
}

static StoreError convert_txn(const Etcdserverpb__TxnRequest *m, unsigned depth, Arena *arena, TxnReq *ret) {
        *ret = (TxnReq){};
        if (depth >= CMD_DEPTH_MAX || m->n_compare > CMD_OPS_MAX)
                return STORE_TOO_MANY_OPS;
        ret->compares = arena_new(arena, CompareReq, m->n_compare + 1);
        ret->n_compares = m->n_compare;
        for (size_t i = 0; i < m->n_compare; i++) {
                StoreError e = compare_of(m->compare[i], &ret->compares[i]);
                if (e != STORE_OK)
                        return e;
        }
        StoreError e = branch_of(m->success, m->n_success, depth, arena, &ret->success, &ret->n_success);
        if (e == STORE_OK)
                e = branch_of(m->failure, m->n_failure, depth, arena, &ret->failure, &ret->n_failure);
        return e;
}

StoreError v3_txn_of(const Etcdserverpb__TxnRequest *m, size_t max_ops, Arena *arena, TxnReq *ret) {
        /* counted first: the check inside would come after the arrays were made */
        if (m->n_compare > max_ops || m->n_success > max_ops || m->n_failure > max_ops)
                return STORE_TOO_MANY_OPS;
        StoreError e = convert_txn(m, 0, arena, ret);
        return e == STORE_OK ? txn_check(ret, max_ops) : e;
}
