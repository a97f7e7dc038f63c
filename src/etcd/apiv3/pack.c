/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/apiv3/apiv3.h"

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

static void tag(Buf *b, unsigned field, unsigned wire) {
        buf_add_varint(b, (uint64_t) field << 3 | wire);
}

void pb_uint(Buf *b, unsigned field, uint64_t v) {
        if (v == 0)
                return;
        tag(b, field, WIRE_VARINT);
        buf_add_varint(b, v);
}

void pb_bytes(Buf *b, unsigned field, Bytes v) {
        if (v.n == 0)
                return;
        tag(b, field, WIRE_BYTES);
        buf_add_bytes(b, v.p, v.n);
}

void pb_text(Buf *b, unsigned field, const char *s) {
        pb_bytes(b, field, bytes_of(s));
}

/* One byte is kept for the length, which is enough for most; longer messages are moved up when they end. */
size_t pb_begin(Buf *b, unsigned field) {
        tag(b, field, WIRE_BYTES);
        buf_addc(b, 0);
        return b->len;
}

void pb_end(Buf *b, size_t begin) {
        size_t n = b->len - begin;
        if (n < 128) {
                b->data[begin - 1] = (char) n;
                return;
        }
        Buf len = {};
        buf_add_varint(&len, n);
        size_t more = len.len - 1;
        buf_reserve(b, more);
        buf_add(b, len.data, more); /* grows by that much; the content is overwritten now */
        memmove(b->data + begin + more, b->data + begin, n);
        memcpy(b->data + begin - 1, len.data, len.len);
        buf_done(&len);
}

void v3_pack_header(const EtcdServer *s, int64_t revision, Buf *b) {
        size_t h = pb_begin(b, 1);
        pb_uint(b, 1, s->cluster_id);
        pb_uint(b, 2, s->id);
        pb_int(b, 3, revision);
        pb_uint(b, 4, raft_term(replica_raft(s->replica)));
        pb_end(b, h);
}

/* Inside the responses of a txn there is only the revision. */
static void pack_inner_header(int64_t revision, Buf *b) {
        size_t h = pb_begin(b, 1);
        pb_int(b, 3, revision);
        pb_end(b, h);
}

void v3_pack_kv(unsigned field, const KeyVal *kv, Buf *b) {
        size_t at = pb_begin(b, field);
        pb_bytes(b, 1, kv->key);
        pb_int(b, 2, kv->create_revision);
        pb_int(b, 3, kv->mod_revision);
        pb_int(b, 4, kv->version);
        pb_bytes(b, 5, kv->value);
        pb_int(b, 6, kv->lease);
        pb_end(b, at);
}

static void pack_range_body(const RangeResult *r, Buf *b) {
        for (size_t i = 0; i < r->n_kvs; i++)
                v3_pack_kv(2, &r->kvs[i], b);
        pb_uint(b, 3, r->more);
        pb_int(b, 4, r->count);
}

static void pack_delete_body(const DeleteResult *r, Buf *b) {
        pb_int(b, 2, r->deleted);
        for (size_t i = 0; i < r->n_prevs; i++)
                v3_pack_kv(3, &r->prevs[i], b);
}

void v3_pack_range(const EtcdServer *s, const RangeResult *r, int64_t revision, Buf *b) {
        v3_pack_header(s, revision, b);
        pack_range_body(r, b);
}

static void pack_txn_body(const TxnResult *r, Buf *b);

static void pack_op(const OpResult *op, Buf *b) {
        static const unsigned fields[_OP_MAX] = {
                [OP_RANGE] = 1, [OP_PUT] = 2, [OP_DELETE_RANGE] = 3, [OP_TXN] = 4
        };
        size_t outer = pb_begin(b, 3), inner = pb_begin(b, fields[op->kind]);
        if (op->kind == OP_TXN) {
                size_t h = pb_begin(b, 1); /* a nested txn's header is there, and empty */
                pb_end(b, h);
        } else
                pack_inner_header(op->revision, b);
        switch (op->kind) {
        case OP_RANGE:
                pack_range_body(&op->range, b);
                break;
        case OP_PUT:
                if (op->put.has_prev)
                        v3_pack_kv(2, &op->put.prev, b);
                break;
        case OP_DELETE_RANGE:
                pack_delete_body(&op->del, b);
                break;
        case OP_TXN:
                pack_txn_body(&op->txn, b);
                break;
        case _OP_MAX:
                break;
        }
        pb_end(b, inner);
        pb_end(b, outer);
}

static void pack_txn_body(const TxnResult *r, Buf *b) {
        pb_uint(b, 2, r->succeeded);
        for (size_t i = 0; i < r->n_responses; i++)
                pack_op(&r->responses[i], b);
}

void v3_pack_txn(const EtcdServer *s, const TxnResult *r, int64_t revision, Buf *b) {
        v3_pack_header(s, revision, b);
        pack_txn_body(r, b);
}

void v3_pack_result(const EtcdServer *s, const ApplyResult *r, uint64_t term, Buf *b) {
        if (r->error != STORE_OK)
                return;
        v3_pack_header(s, r->revision, b);
        switch (r->kind) {
        case CMD_PUT:
                if (r->put.has_prev)
                        v3_pack_kv(2, &r->put.prev, b);
                break;
        case CMD_DELETE_RANGE:
                pack_delete_body(&r->del, b);
                break;
        case CMD_TXN:
                pack_txn_body(&r->txn, b);
                break;
        case CMD_LEASE_GRANT:
                pb_int(b, 2, r->grant.id);
                pb_int(b, 3, r->grant.ttl);
                break;
        case CMD_ALARM:
        case CMD_NOOP:
        case CMD_COMPACT:
        case CMD_LEASE_REVOKE:
        case CMD_LEASE_EXPIRE:
        case CMD_LEASE_CHECKPOINT:
        case CMD_V2:
        case CMD_V2_SYNC:
        case CMD_ATTR:
        case _CMD_MAX:
                break;
        }
}

void v3_pack_members(const EtcdServer *s, unsigned field, Buf *b) {
        for (size_t i = 0; i < s->members.n; i++) {
                const Member *m = &s->members.list[i];
                size_t at = pb_begin(b, field);
                pb_uint(b, 1, m->id);
                pb_text(b, 2, m->name);
                for (char **u = m->peer_urls; u && *u; u++)
                        pb_text(b, 3, *u);
                for (char **u = m->client_urls; u && *u; u++)
                        pb_text(b, 4, *u);
                pb_uint(b, 5, m->learner);
                pb_end(b, at);
        }
}
