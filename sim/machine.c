/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/machine.h"

#include "base/alloc.h"
#include "base/hash.h"

typedef struct State {
        uint64_t values[MACHINE_KEYS_MAX];
        uint64_t index, term, hash;
        uint64_t revision; /* counts what was applied, as the store's does: an entry applied twice must show */
} State;

struct Machine {
        State state;
        MachineWatch watch;
        void *ctx;
        Buf restore;
};

struct MachineView {
        State state;
        size_t at;
};

static const uint8_t hash_key[16] = "simulator-state";

static uint64_t hash_of(const void *p, size_t n) {
        return siphash24(p ?: "", n, hash_key);
}

Machine *machine_new(MachineWatch watch, void *ctx) {
        Machine *m = xnew(Machine, 1);
        m->watch = watch;
        m->ctx = ctx;
        return m;
}

Machine *machine_free(Machine *m) {
        if (!m)
                return NULL;
        buf_done(&m->restore);
        free(m);
        return NULL;
}

void machine_op_encode(const MachineOp *op, Buf *to) {
        buf_add_le32(to, op->code);
        buf_add_le32(to, op->key);
        buf_add_le64(to, op->value);
        buf_add_le64(to, op->expected);
        buf_add_le64(to, op->uid);
        /* Some entries are large, so that batches, segments and messages fill up. */
        if (op->uid % 16 == 0)
                for (unsigned i = 0; i < 300; i++)
                        buf_add_le64(to, op->uid * i);
}

static int op_decode(const void *p, size_t n, MachineOp *ret) {
        uint32_t code = 0;
        Rd rd = rd_new(p, n);
        if (n == 0 || rd_le32(&rd, &code) < 0 || rd_le32(&rd, &ret->key) < 0 || rd_le64(&rd, &ret->value) < 0 ||
            rd_le64(&rd, &ret->expected) < 0 || rd_le64(&rd, &ret->uid) < 0 || ret->key >= MACHINE_KEYS_MAX)
                return -EBADMSG;
        ret->code = (OpCode) code;
        return 0;
}

static void advance(Machine *m, uint64_t index, uint64_t term, const void *data, size_t n, uint64_t uid) {
        State *s = &m->state;
        s->index = index;
        s->term = term;
        s->revision++;
        s->hash = 0;
        s->hash = hash_of(s, sizeof(*s));
        m->watch(m->ctx, index, term, hash_of(data, n), uid, s->hash);
}

static void *apply(void *ctx, uint64_t index, uint64_t term, const void *data, size_t n, uint64_t request) {
        Machine *m = ctx;
        MachineOp op = {};
        MachineResult res = {};
        if (op_decode(data, n, &op) == 0) {
                uint64_t *at = &m->state.values[op.key];
                res = (MachineResult){ .seen = *at, .ok = op.code == OP_CODE_PUT || *at == op.expected };
                if (res.ok)
                        *at = op.value;
        }
        advance(m, index, term, data, n, op.uid);
        return request ? xmemdup(&res, sizeof(res)) : NULL;
}

static bool apply_conf(void *ctx, uint64_t index, uint64_t term, const RaftConfChange *change, uint64_t request,
                       void **ret_result) {
        Machine *m = ctx;
        uint64_t content[2] = { change->type, change->id };
        advance(m, index, term, content, sizeof(content), 0);
        *ret_result = request ? xnew(MachineResult, 1) : NULL;
        /* Now and then the state machine says no: raft's membership must stay as it is, everywhere. */
        return change->type != RAFT_CONF_UPDATE;
}

static void free_result(void *ctx, void *result) {
        free(result);
}

static void *snapshot(void *ctx) {
        Machine *m = ctx;
        MachineView *v = xnew(MachineView, 1);
        v->state = m->state;
        return v;
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

uint64_t machine_read(Machine *m, uint32_t key) {
        assert(key < MACHINE_KEYS_MAX);
        return m->state.values[key];
}

uint64_t machine_applied(const Machine *m) {
        return m->state.index;
}

uint64_t machine_hash(const Machine *m) {
        return m->state.hash;
}

int machine_view_next(MachineView *v, Buf *to) {
        size_t n = MIN(sizeof(State) / 3, sizeof(State) - v->at);
        buf_add(to, (const char *) &v->state + v->at, n);
        v->at += n;
        return v->at < sizeof(State);
}

MachineView *machine_view_free(MachineView *v) {
        free(v);
        return NULL;
}

void machine_restore_begin(Machine *m) {
        buf_clear(&m->restore);
}

int machine_restore_add(Machine *m, const void *p, size_t n) {
        buf_add(&m->restore, p, n);
        return m->restore.len <= sizeof(State) ? 0 : -EBADMSG;
}

int machine_restore_end(Machine *m) {
        if (m->restore.len != sizeof(State))
                return -EBADMSG;
        memcpy(&m->state, m->restore.data, sizeof(State));
        return 0;
}
