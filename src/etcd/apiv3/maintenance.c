/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "etcd/apiv3/apiv3.h"
#include "sys/clock.h"

#include <stdio.h>

/* ---- Status, hashes ---- */

void v3_status(V3Call *c, const void *p, size_t n) {
        EtcdServer *s = c->server;
        const Raft *raft = replica_raft(s->replica);
        const Member *self = members_find(&s->members, s->id);
        size_t n_alarms;
        const StoreAlarm *alarms = store_alarms(s->store, &n_alarms);
        _cleanup_(buf_done) Buf b = {};
        v3_pack_header(s, store_revision(s->store), &b);
        pb_text(&b, 2, ETCD_VERSION);
        pb_uint(&b, 3, store_bytes(s->store));
        pb_uint(&b, 4, etcd_leader(s));
        pb_uint(&b, 5, raft_commit(raft));
        pb_uint(&b, 6, raft_term(raft));
        pb_uint(&b, 7, replica_applied(s->replica));
        if (etcd_leader(s) == 0)
                pb_text(&b, 8, "etcdserver: no leader");
        for (size_t i = 0; i < n_alarms; i++) {
                char text[64];
                snprintf(text, sizeof(text), "memberID:%" PRIu64 " alarm:%s ", alarms[i].member,
                         alarms[i].alarm == 1 ? "NOSPACE" : "CORRUPT");
                pb_text(&b, 8, text);
        }
        pb_uint(&b, 9, store_bytes_in_use(s->store));
        pb_uint(&b, 10, self && self->learner);
        v3_reply(c, &b);
}

static void answer_hash(V3Call *c, int64_t revision, bool kv) {
        EtcdServer *s = c->server;
        uint32_t hash;
        int64_t at, compacted;
        StoreError e = store_hash_kv(s->store, revision, &hash, &at, &compacted);
        if (e != STORE_OK) {
                v3_fail_store(c, e);
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        v3_pack_header(s, store_revision(s->store), &b);
        pb_uint(&b, 2, hash);
        if (kv)
                pb_int(&b, 3, compacted == 0 ? -1 : compacted);
        v3_reply(c, &b);
}

void v3_hash(V3Call *c, const void *p, size_t n) {
        answer_hash(c, 0, false);
}

void v3_hash_kv(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__HashKVRequest *m = v3_unpack(c, &etcdserverpb__hash_kvrequest__descriptor, p, n);
        if (m)
                answer_hash(c, m->revision, true);
}

/* ---- alarms ---- */

static void pack_alarm(Buf *b, uint64_t member, uint32_t alarm) {
        size_t at = pb_begin(b, 2);
        pb_uint(b, 1, member);
        pb_uint(b, 2, alarm);
        pb_end(b, at);
}

/* The answer names the alarm that was raised or disarmed, without a header, as etcd's. */
static void alarm_changed(EtcdWait *w, int error, EtcdResult *res) {
        V3Call *c = (V3Call *) w;
        const StoreAlarm *a = c->state;
        if (error < 0 || !res) {
                v3_fail_wait(c, error);
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        pack_alarm(&b, a->member, a->alarm);
        v3_reply(c, &b);
}

void v3_alarm(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__AlarmRequest *m = v3_unpack(c, &etcdserverpb__alarm_request__descriptor, p, n);
        if (!m)
                return;
        if (m->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET) {
                _cleanup_(buf_done) Buf b = {};
                size_t n_alarms;
                const StoreAlarm *a = store_alarms(c->server->store, &n_alarms);
                for (size_t i = 0; i < n_alarms; i++)
                        pack_alarm(&b, a[i].member, a[i].alarm);
                v3_reply(c, &b);
                return;
        }
        bool activate = m->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
        bool known = m->alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE || m->alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT;
        if ((!activate && m->action != ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE) || !known) {
                v3_fail(c, GRPC_INVALID_ARGUMENT, "etcdserver: unknown alarm or action");
                return;
        }
        Command cmd = { .kind = CMD_ALARM,
                        .alarm = { .member = m->memberid, .alarm = (uint32_t) m->alarm, .activate = activate } };
        StoreAlarm *a = arena_new(&c->q->arena, StoreAlarm, 1);
        *a = (StoreAlarm){ .member = m->memberid, .alarm = (uint32_t) m->alarm };
        c->state = a;
        etcd_propose(c->server, &c->wait, &cmd, alarm_changed);
}

/* Our store needs no defragmentation: what compaction drops is free at once. */
void v3_defragment(V3Call *c, const void *p, size_t n) {
        _cleanup_(buf_done) Buf b = {};
        v3_reply(c, &b);
}

void v3_snapshot(V3Call *c, const void *p, size_t n) {
        v3_fail(c, GRPC_UNIMPLEMENTED,
                "etcdserver: snapshots in bbolt's format are not built; copy the keys (etcdctl make-mirror), or stop "
                "the member and copy its data directory");
}

/* ---- MoveLeader ---- */

typedef struct MoveState {
        uint64_t to;
        Usec deadline;
} MoveState;

void v3_move_leader(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__MoveLeaderRequest *m =
                        v3_unpack(c, &etcdserverpb__move_leader_request__descriptor, p, n);
        if (!m)
                return;
        EtcdServer *s = c->server;
        const Member *target = members_find(&s->members, m->targetid);
        if (!etcd_is_leader(s)) {
                v3_fail(c, GRPC_FAILED_PRECONDITION, "etcdserver: not leader");
                return;
        }
        if (!target || target->learner) {
                v3_fail(c, GRPC_FAILED_PRECONDITION, "etcdserver: bad leader transferee");
                return;
        }
        MoveState *st = arena_new(&c->q->arena, MoveState, 1);
        *st = (MoveState){ .to = m->targetid, .deadline = now_monotonic() + etcd_request_timeout(s) };
        c->state = st;
        c->moving = true;
        LIST_APPEND(&s->moving_calls, c, link);
        if (st->to == s->id)
                apiv3_state_changed(s);
        else
                etcd_transfer_leader(s, st->to);
}

void v3_call_unlink(V3Call *c) {
        if (c->moving)
                LIST_REMOVE(&c->server->moving_calls, c, link);
        if (c->physical && !c->wait.id)
                LIST_REMOVE(&c->server->physical_calls, c, link);
        c->moving = c->physical = false;
}

Usec apiv3_move_deadline(const EtcdServer *s) {
        const V3Call *first = s->moving_calls.first; /* all wait equally long */
        return first ? ((const MoveState *) first->state)->deadline : USEC_NEVER;
}

void apiv3_state_changed(EtcdServer *s) {
        uint64_t leader = etcd_leader(s);
        Usec now = now_monotonic();
        LIST_FOREACH(c, &s->moving_calls, link) {
                const MoveState *st = c->state;
                bool ok = st->to == leader;
                if (!ok && now < st->deadline && (leader == 0 || leader == s->id))
                        continue;
                v3_call_unlink(c);
                if (!ok) {
                        v3_fail(c, GRPC_UNAVAILABLE, "etcdserver: request timed out, leader transfer took too long");
                        continue;
                }
                _cleanup_(buf_done) Buf b = {};
                v3_pack_header(s, store_revision(s->store), &b);
                v3_reply(c, &b);
        }
}

/* ---- health ---- */

void v3_health(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__HealthCheckRequest *m =
                        v3_unpack(c, &etcdserverpb__health_check_request__descriptor, p, n);
        if (!m)
                return;
        if (m->service && *m->service) {
                v3_fail(c, GRPC_NOT_FOUND, "unknown service");
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        pb_uint(&b, 1, ETCDSERVERPB__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
        v3_reply(c, &b);
}

/* ---- Auth: not built; what is true without it is answered ---- */

void v3_auth_status(V3Call *c, const void *p, size_t n) {
        _cleanup_(buf_done) Buf b = {};
        v3_pack_header(c->server, store_revision(c->server->store), &b); /* a header alone says: not enabled */
        v3_reply(c, &b);
}

void v3_auth_disable(V3Call *c, const void *p, size_t n) {
        v3_auth_status(c, p, n);
}

void v3_authenticate(V3Call *c, const void *p, size_t n) {
        v3_fail(c, GRPC_FAILED_PRECONDITION, "etcdserver: authentication is not enabled");
}

void v3_auth_unbuilt(V3Call *c, const void *p, size_t n) {
        v3_fail(c, GRPC_UNIMPLEMENTED, "etcdserver: users and roles are not built into this etcd; restrict access with "
                                       "--client-cert-auth");
}
