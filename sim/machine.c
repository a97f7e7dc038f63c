/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/machine.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "etcd/store/store.h"

#include <stdio.h>

#define COMPACT_KEEP 20 /* revisions */

struct Machine {
        Store *store;          /* owned */
        Store *old;            /* owned: replaced by a snapshot while a view of it was still open */
        MachineView *view;     /* weak: the open one */
        StoreRestore *restore; /* owned */
        MachineWatch watch;
        void *ctx;
};

struct MachineView {
        Machine *machine;
        StoreSnapshot *snapshot; /* owned */
};

static const uint8_t hash_key[16] = "simulator-state";

Machine *machine_new(MachineWatch watch, void *ctx) {
        Machine *m = xnew(Machine, 1);
        m->store = store_new(NULL);
        m->watch = watch;
        m->ctx = ctx;
        return m;
}

Machine *machine_free(Machine *m) {
        if (!m)
                return NULL;
        assert(!m->view);
        store_restore_free(m->restore);
        store_free(m->store);
        store_free(m->old);
        free(m);
        return NULL;
}

/* ---- commands ---- */

typedef struct KeyName {
        char text[16];
} KeyName;

static Bytes key_bytes(KeyName *name, uint32_t key) {
        int n = snprintf(name->text, sizeof(name->text), "key-%u", key);
        return (Bytes){ name->text, (size_t) n };
}

/* A value is its number in 16 hex digits; some are made long, so that batches, segments and snapshots fill
 * up. */
static void value_encode(Buf *b, uint64_t value) {
        buf_addf(b, "%016" PRIx64, value);
        if (value % 16 == 0)
                for (unsigned i = 0; i < 200; i++)
                        buf_addf(b, "%x", (unsigned) (value * i % 16));
}

static uint64_t value_decode(Bytes v) {
        uint64_t value = 0;
        for (size_t i = 0; i < 16 && i < v.n; i++)
                value = value << 4 | (uint64_t) (v.p[i] <= '9' ? v.p[i] - '0' : v.p[i] - 'a' + 10);
        return value;
}

static void encode_cas(const MachineOp *op, Bytes key, Bytes value, Command *c, Buf *to) {
        _cleanup_(buf_done) Buf expected = {};
        value_encode(&expected, op->expected);
        CompareReq compare = { .result = CMP_EQUAL,
                               .target = CMP_VALUE,
                               .key = key,
                               .value = { expected.data, expected.len } };
        if (op->expected == 0)
                compare = (CompareReq){ .result = CMP_EQUAL, .target = CMP_CREATE, .key = key };
        OpReq put = { .kind = OP_PUT, .put = { .key = key, .value = value } };
        OpReq get = { .kind = OP_RANGE, .range = { .key = key } };
        c->kind = CMD_TXN;
        c->txn = (TxnReq){ .compares = &compare,
                           .n_compares = 1,
                           .success = &put,
                           .n_success = 1,
                           .failure = &get,
                           .n_failure = 1 };
        cmd_encode(c, to);
}

void machine_op_encode(const MachineOp *op, Buf *to) {
        KeyName name;
        Bytes key = key_bytes(&name, op->key);
        _cleanup_(buf_done) Buf value = {};
        value_encode(&value, op->value);
        Command c = { .seq = op->uid };
        if (op->code == OP_CODE_CAS) {
                encode_cas(op, key, (Bytes){ value.data, value.len }, &c, to);
                return;
        }
        c.kind = CMD_PUT;
        c.put = (PutReq){ .key = key, .value = { value.data, value.len }, .prev_kv = op->uid % 2 };
        cmd_encode(&c, to);
}

bool machine_compact_encode(Machine *m, uint64_t uid, Buf *to) {
        Command c = { .kind = CMD_COMPACT,
                      .seq = uid,
                      .compact.revision = store_revision(m->store) - COMPACT_KEEP };
        if (c.compact.revision <= store_compact_revision(m->store))
                return false;
        cmd_encode(&c, to);
        return true;
}

static MachineResult read_result(const ApplyResult *r) {
        MachineResult res = { .ok = true };
        if (r->kind != CMD_TXN || r->error != STORE_OK)
                return res;
        res.ok = r->txn.succeeded;
        if (!res.ok && r->txn.n_responses == 1 && r->txn.responses[0].range.n_kvs == 1)
                res.seen = value_decode(r->txn.responses[0].range.kvs[0].value);
        return res;
}

/* ---- what the replica calls ---- */

static void watch(Machine *m, uint64_t index, uint64_t term, const void *data, size_t n, uint64_t uid) {
        m->watch(m->ctx, index, term, siphash24(data ?: "", n, hash_key), uid, store_hash(m->store));
}

static void *apply(void *ctx, uint64_t index, uint64_t term, const void *data, size_t n, uint64_t request) {
        Machine *m = ctx;
        ApplyResult r = {};
        CmdKind kind;
        uint64_t proposer = 0, uid = 0;
        if (n > 0)
                (void) cmd_peek(data, n, &kind, &proposer, &uid);
        store_apply(m->store, index, term, data, n, &r);
        MachineResult res = read_result(&r);
        apply_result_done(&r);
        (void) store_compact_step(m->store);
        watch(m, index, term, data, n, uid);
        return request ? xmemdup(&res, sizeof(res)) : NULL;
}

static bool apply_conf(void *ctx, uint64_t index, uint64_t term, const RaftConfChange *change,
                       uint64_t request, void **ret_result) {
        Machine *m = ctx;
        uint64_t content[2] = { change->type, change->id };
        /* Every member change also takes a revision, so that an entry that is applied twice shows. */
        _cleanup_(buf_done) Buf b = {};
        KeyName name;
        Command c = { .kind = CMD_PUT, .put.key = key_bytes(&name, MACHINE_KEYS_MAX) };
        cmd_encode(&c, &b);
        store_apply(m->store, index, term, b.data, b.len, NULL);
        watch(m, index, term, content, sizeof(content), 0);
        *ret_result = request ? xnew(MachineResult, 1) : NULL;
        /* Now and then the state machine says no: raft's membership must stay as it is, everywhere. */
        return change->type != RAFT_CONF_UPDATE;
}

static void free_result(void *ctx, void *result) {
        free(result);
}

static void *snapshot(void *ctx) {
        Machine *m = ctx;
        if (m->view)
                return NULL;
        StoreSnapshot *s = NULL;
        if (store_snapshot_begin(m->store, "extra", 5, &s) < 0)
                return NULL;
        m->view = xnew(MachineView, 1);
        *m->view = (MachineView){ .machine = m, .snapshot = s };
        return m->view;
}

ReplicaMachine machine_interface(Machine *m) {
        return (ReplicaMachine){
                .ctx = m,
                .apply = apply,
                .apply_conf = apply_conf,
                .free_result = free_result,
                .snapshot = snapshot,
        };
}

/* ---- reading, snapshots ---- */

uint64_t machine_read(Machine *m, uint32_t key) {
        KeyName name;
        RangeReq q = { .key = key_bytes(&name, key) };
        _cleanup_(arena_done) Arena arena = {};
        RangeResult r = {};
        StoreError e = store_range(m->store, &q, &arena, &r);
        assert(e == STORE_OK);
        return r.n_kvs == 1 ? value_decode(r.kvs[0].value) : 0;
}

uint64_t machine_applied(const Machine *m) {
        return store_applied_index(m->store);
}

uint64_t machine_hash(const Machine *m) {
        return store_hash(m->store);
}

int machine_view_next(MachineView *v, Buf *to) {
        return store_snapshot_next(v->snapshot, to);
}

MachineView *machine_view_free(MachineView *v) {
        if (!v)
                return NULL;
        Machine *m = v->machine;
        store_snapshot_end(v->snapshot);
        m->view = NULL;
        m->old = store_free(m->old);
        free(v);
        return NULL;
}

void machine_restore_begin(Machine *m) {
        store_restore_free(m->restore);
        m->restore = store_restore_new(NULL);
}

int machine_restore_add(Machine *m, const void *p, size_t n) {
        return store_restore_add(m->restore, p, n, NULL);
}

int machine_restore_end(Machine *m) {
        Store *store = NULL;
        _cleanup_(buf_done) Buf extra = {};
        int r = store_restore_finish(m->restore, &store, &extra, NULL);
        m->restore = store_restore_free(m->restore);
        if (r < 0)
                return r;
        if (m->view) {
                assert(!m->old);
                m->old = m->store;
        } else {
                store_free(m->store);
        }
        m->store = store;
        return store_hash(store) == store_hash_slow(store) ? 0 : -EBADMSG;
}
