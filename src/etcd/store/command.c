/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/command.h"

/* Sizes of the smallest encodings, so that a count can be checked against the bytes that are left. */
#define OP_BYTES_MIN 2
#define COMPARE_BYTES_MIN 6

/* ---- writing ---- */

static void put_i64(Buf *out, int64_t v) {
        buf_add_varint(out, ((uint64_t) v << 1) ^ (uint64_t) (v >> 63));
}

static void put_bytes(Buf *out, Bytes b) {
        buf_add_bytes(out, b.p, b.n);
}

static void put_u8(Buf *out, unsigned v) {
        assert(v <= 255);
        buf_addc(out, (char) v);
}

static void encode_put(const PutReq *r, Buf *out) {
        put_u8(out, r->prev_kv | r->ignore_value << 1 | r->ignore_lease << 2);
        put_bytes(out, r->key);
        put_bytes(out, r->value);
        put_i64(out, r->lease);
}

static void encode_delete(const DeleteReq *r, Buf *out) {
        put_u8(out, r->prev_kv);
        put_bytes(out, r->key);
        put_bytes(out, r->range_end);
}

static void encode_range(const RangeReq *r, Buf *out) {
        put_u8(out, r->serializable | r->keys_only << 1 | r->count_only << 2);
        put_bytes(out, r->key);
        put_bytes(out, r->range_end);
        put_u8(out, r->order);
        put_u8(out, r->target);
        const int64_t v[] = { r->limit, r->revision, r->min_mod, r->max_mod, r->min_create, r->max_create };
        for (size_t i = 0; i < ELEMENTSOF(v); i++)
                put_i64(out, v[i]);
}

static void encode_txn(const TxnReq *t, Buf *out, unsigned depth);

static void encode_op(const OpReq *op, Buf *out, unsigned depth) {
        put_u8(out, op->kind);
        switch (op->kind) {
        case OP_RANGE:
                encode_range(&op->range, out);
                break;
        case OP_PUT:
                encode_put(&op->put, out);
                break;
        case OP_DELETE_RANGE:
                encode_delete(&op->del, out);
                break;
        case OP_TXN:
                encode_txn(&op->txn, out, depth + 1);
                break;
        default:
                assert(!"an operation of no kind");
        }
}

static void encode_txn(const TxnReq *t, Buf *out, unsigned depth) {
        assert(depth < CMD_DEPTH_MAX);
        buf_add_varint(out, t->n_compares);
        for (size_t i = 0; i < t->n_compares; i++) {
                const CompareReq *c = t->compares + i;
                put_u8(out, c->result);
                put_u8(out, c->target);
                put_bytes(out, c->key);
                put_bytes(out, c->range_end);
                put_i64(out, c->number);
                put_bytes(out, c->value);
        }
        buf_add_varint(out, t->n_success);
        for (size_t i = 0; i < t->n_success; i++)
                encode_op(t->success + i, out, depth);
        buf_add_varint(out, t->n_failure);
        for (size_t i = 0; i < t->n_failure; i++)
                encode_op(t->failure + i, out, depth);
}

static void encode_v2(const V2Req *r, Buf *out) {
        put_u8(out, r->method);
        put_u8(out, r->prev_exist);
        put_u8(out, r->dir | r->recursive << 1 | r->refresh << 2);
        put_bytes(out, r->path);
        put_bytes(out, r->value);
        put_bytes(out, r->prev_value);
        buf_add_varint(out, r->prev_index);
        put_i64(out, r->expire_nsec);
        put_i64(out, r->wall_nsec);
}

static void encode_ids(const int64_t *ids, const int64_t *more, size_t n, Buf *out) {
        assert(n <= CMD_OPS_MAX);
        buf_add_varint(out, n);
        for (size_t i = 0; i < n; i++) {
                put_i64(out, ids[i]);
                if (more)
                        put_i64(out, more[i]);
        }
}

void cmd_encode(const Command *c, Buf *out) {
        put_u8(out, CMD_VERSION);
        put_u8(out, c->kind);
        buf_add_varint(out, c->proposer);
        buf_add_varint(out, c->seq);
        switch (c->kind) {
        case CMD_NOOP:
                break;
        case CMD_PUT:
                encode_put(&c->put, out);
                break;
        case CMD_DELETE_RANGE:
                encode_delete(&c->del, out);
                break;
        case CMD_TXN:
                encode_txn(&c->txn, out, 0);
                break;
        case CMD_COMPACT:
                put_i64(out, c->compact.revision);
                break;
        case CMD_LEASE_GRANT:
                put_i64(out, c->grant.id);
                put_i64(out, c->grant.ttl);
                break;
        case CMD_LEASE_REVOKE:
                assert(c->revoke.n_ids == 1);
                encode_ids(c->revoke.ids, NULL, 1, out);
                break;
        case CMD_LEASE_EXPIRE:
                encode_ids(c->revoke.ids, NULL, c->revoke.n_ids, out);
                break;
        case CMD_LEASE_CHECKPOINT:
                encode_ids(c->checkpoint.ids, c->checkpoint.remaining, c->checkpoint.n_ids, out);
                break;
        case CMD_V2:
                encode_v2(&c->v2, out);
                break;
        case CMD_V2_SYNC:
                put_i64(out, c->v2_sync.wall_nsec);
                break;
        case CMD_ATTR:
                put_u8(out, c->attr.remove | c->attr.v2_event << 1);
                put_bytes(out, c->attr.key);
                put_bytes(out, c->attr.value);
                break;
        case CMD_ALARM:
                buf_add_varint(out, c->alarm.member);
                buf_add_varint(out, c->alarm.alarm);
                put_u8(out, c->alarm.activate);
                break;
        default:
                assert(!"a command of no kind");
        }
}

/* ---- reading: `d->r` keeps the first error, so the fields can be read one after the other ---- */

typedef struct Decoder {
        Rd rd;
        int r;
        size_t ops; /* seen so far, all branches */
        Arena *arena;
} Decoder;

static uint64_t get_varint(Decoder *d) {
        uint64_t v = 0;
        if (d->r >= 0)
                d->r = rd_varint(&d->rd, &v);
        return d->r >= 0 ? v : 0;
}

static int64_t get_i64(Decoder *d) {
        uint64_t v = get_varint(d);
        return (int64_t) (v >> 1) ^ -(int64_t) (v & 1);
}

static Bytes get_bytes(Decoder *d) {
        const void *p = NULL;
        size_t n = 0;
        if (d->r >= 0)
                d->r = rd_bytes(&d->rd, &p, &n);
        return d->r >= 0 && n > 0 ? (Bytes){ p, n } : (Bytes){ "", 0 };
}

/* A byte that must be below `limit`. */
static unsigned get_u8(Decoder *d, unsigned limit) {
        uint8_t v = 0;
        if (d->r >= 0)
                d->r = rd_u8(&d->rd, &v);
        if (d->r >= 0 && v >= limit)
                d->r = -EBADMSG;
        return d->r >= 0 ? v : 0;
}

/* A count of things of at least `size` bytes each. */
static size_t get_count(Decoder *d, size_t size) {
        uint64_t n = get_varint(d);
        if (d->r >= 0 && (n > CMD_OPS_MAX - d->ops || n > d->rd.left / size))
                d->r = -EBADMSG;
        if (d->r < 0)
                return 0;
        d->ops += n;
        return n;
}

static PutReq decode_put(Decoder *d) {
        unsigned flags = get_u8(d, 8);
        PutReq r = { .prev_kv = flags & 1, .ignore_value = flags & 2, .ignore_lease = flags & 4 };
        r.key = get_bytes(d);
        r.value = get_bytes(d);
        r.lease = get_i64(d);
        return r;
}

static DeleteReq decode_delete(Decoder *d) {
        DeleteReq r = { .prev_kv = get_u8(d, 2) };
        r.key = get_bytes(d);
        r.range_end = get_bytes(d);
        return r;
}

static RangeReq decode_range(Decoder *d) {
        unsigned flags = get_u8(d, 8);
        RangeReq r = { .serializable = flags & 1, .keys_only = flags & 2, .count_only = flags & 4 };
        r.key = get_bytes(d);
        r.range_end = get_bytes(d);
        r.order = get_u8(d, _SORT_ORDER_MAX);
        r.target = get_u8(d, _SORT_TARGET_MAX);
        int64_t *v[] = { &r.limit, &r.revision, &r.min_mod, &r.max_mod, &r.min_create, &r.max_create };
        for (size_t i = 0; i < ELEMENTSOF(v); i++)
                *v[i] = get_i64(d);
        return r;
}

static TxnReq decode_txn(Decoder *d, unsigned depth);

static OpReq *decode_ops(Decoder *d, unsigned depth, size_t *ret_n) {
        size_t n = get_count(d, OP_BYTES_MIN);
        OpReq *ops = n > 0 ? arena_new(d->arena, OpReq, n) : NULL;
        for (size_t i = 0; i < n && d->r >= 0; i++) {
                ops[i].kind = get_u8(d, _OP_MAX);
                switch (ops[i].kind) {
                case OP_RANGE:
                        ops[i].range = decode_range(d);
                        break;
                case OP_PUT:
                        ops[i].put = decode_put(d);
                        break;
                case OP_DELETE_RANGE:
                        ops[i].del = decode_delete(d);
                        break;
                default:
                        ops[i].txn = decode_txn(d, depth + 1);
                }
        }
        *ret_n = n;
        return ops;
}

static TxnReq decode_txn(Decoder *d, unsigned depth) {
        TxnReq t = {};
        if (depth >= CMD_DEPTH_MAX)
                d->r = -EBADMSG;
        t.n_compares = get_count(d, COMPARE_BYTES_MIN);
        if (t.n_compares > 0)
                t.compares = arena_new(d->arena, CompareReq, t.n_compares);
        for (size_t i = 0; i < t.n_compares && d->r >= 0; i++) {
                CompareReq *c = t.compares + i;
                c->result = get_u8(d, _CMP_RESULT_MAX);
                c->target = get_u8(d, _CMP_TARGET_MAX);
                c->key = get_bytes(d);
                c->range_end = get_bytes(d);
                c->number = get_i64(d);
                c->value = get_bytes(d);
        }
        t.success = decode_ops(d, depth, &t.n_success);
        t.failure = decode_ops(d, depth, &t.n_failure);
        return t;
}

static V2Req decode_v2(Decoder *d) {
        V2Req r = { .method = get_u8(d, _V2_METHOD_MAX) };
        r.prev_exist = get_u8(d, _V2_EXIST_MAX);
        unsigned flags = get_u8(d, 8);
        r.dir = flags & 1;
        r.recursive = flags & 2;
        r.refresh = flags & 4;
        r.path = get_bytes(d);
        r.value = get_bytes(d);
        r.prev_value = get_bytes(d);
        r.prev_index = get_varint(d);
        r.expire_nsec = get_i64(d);
        r.wall_nsec = get_i64(d);
        return r;
}

static void decode_ids(Decoder *d, int64_t **ret_ids, int64_t **ret_more, size_t *ret_n) {
        size_t n = get_count(d, ret_more ? 2 : 1);
        if (n > 0) {
                *ret_ids = arena_new(d->arena, int64_t, n);
                if (ret_more)
                        *ret_more = arena_new(d->arena, int64_t, n);
        }
        for (size_t i = 0; i < n; i++) {
                (*ret_ids)[i] = get_i64(d);
                if (ret_more)
                        (*ret_more)[i] = get_i64(d);
        }
        *ret_n = n;
}

static void decode_body(Decoder *d, Command *c) {
        unsigned flags;
        switch (c->kind) {
        case CMD_PUT:
                c->put = decode_put(d);
                break;
        case CMD_DELETE_RANGE:
                c->del = decode_delete(d);
                break;
        case CMD_TXN:
                c->txn = decode_txn(d, 0);
                break;
        case CMD_COMPACT:
                c->compact.revision = get_i64(d);
                break;
        case CMD_LEASE_GRANT:
                c->grant.id = get_i64(d);
                c->grant.ttl = get_i64(d);
                break;
        case CMD_LEASE_REVOKE:
        case CMD_LEASE_EXPIRE:
                decode_ids(d, &c->revoke.ids, NULL, &c->revoke.n_ids);
                if (c->kind == CMD_LEASE_REVOKE && c->revoke.n_ids != 1 && d->r >= 0)
                        d->r = -EBADMSG;
                break;
        case CMD_LEASE_CHECKPOINT:
                decode_ids(d, &c->checkpoint.ids, &c->checkpoint.remaining, &c->checkpoint.n_ids);
                break;
        case CMD_V2:
                c->v2 = decode_v2(d);
                break;
        case CMD_V2_SYNC:
                c->v2_sync.wall_nsec = get_i64(d);
                break;
        case CMD_ATTR:
                flags = get_u8(d, 4);
                c->attr.remove = flags & 1;
                c->attr.v2_event = flags & 2;
                c->attr.key = get_bytes(d);
                c->attr.value = get_bytes(d);
                break;
        case CMD_ALARM:
                c->alarm.member = get_varint(d);
                c->alarm.alarm = (uint32_t) get_varint(d);
                c->alarm.activate = get_u8(d, 2);
                break;
        default:
                break;
        }
}

static int decode_head(Decoder *d, Command *c) {
        if (get_u8(d, 256) != CMD_VERSION)
                return d->r < 0 ? d->r : -EPROTONOSUPPORT;
        unsigned kind = get_u8(d, 256);
        if (d->r >= 0 && kind >= _CMD_MAX)
                return -EPROTONOSUPPORT;
        c->kind = kind;
        c->proposer = get_varint(d);
        c->seq = get_varint(d);
        return d->r;
}

int cmd_peek(const void *p, size_t n, CmdKind *ret_kind, uint64_t *ret_proposer, uint64_t *ret_seq) {
        Decoder d = { .rd = rd_new(p, n) };
        Command c = {};
        int r = decode_head(&d, &c);
        if (r < 0)
                return r;
        *ret_kind = c.kind;
        *ret_proposer = c.proposer;
        *ret_seq = c.seq;
        return 0;
}

int cmd_decode(const void *p, size_t n, Arena *arena, Command *ret) {
        if (n > CMD_BYTES_MAX)
                return -EBADMSG;
        Decoder d = { .rd = rd_new(p, n), .arena = arena };
        Command c = {};
        int r = decode_head(&d, &c);
        if (r < 0)
                return r;
        decode_body(&d, &c);
        if (d.r < 0)
                return d.r;
        if (d.rd.left > 0)
                return -EBADMSG;
        *ret = c;
        return 0;
}
