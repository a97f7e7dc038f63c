/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/apiv2/apiv2.h"
#include "etcd/apiv3/apiv3.h"
#include "http/client.h"
#include "sys/clock.h"

#include <stdlib.h>

/* Only the leader's clock counts leases, so followers ask it: POST /leases on its peer port. A leader confirms
 * first that it still is one; an answer of a deposed leader could promise time that nobody gives. */

#define LEADER_TIMEOUT (3 * USEC_PER_SEC)
#define KEEPALIVES_OPEN_MAX 1000U /* of one stream, not answered yet */

typedef enum LeaseOp { LEASE_RENEW, LEASE_TTL, _LEASE_OP_MAX } LeaseOp;
static const char *const op_names[_LEASE_OP_MAX] = { [LEASE_RENEW] = "renew", [LEASE_TTL] = "ttl" };

/* ---- grant, revoke, list ---- */

static int64_t min_ttl(const EtcdServer *s) {
        return (int64_t) ((3 * s->config->election_ms / 2 + 999) / 1000);
}

void v3_lease_grant(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__LeaseGrantRequest *m =
                        v3_unpack(c, &etcdserverpb__lease_grant_request__descriptor, p, n);
        if (!m)
                return;
        if (m->ttl > LEASE_TTL_MAX) {
                v3_fail_store(c, STORE_LEASE_TTL_TOO_LARGE);
                return;
        }
        int64_t id = m->id;
        while (id == 0 || (m->id == 0 && lease_exists(c->server->store, id)))
                id = (int64_t) (random_u64() & INT64_MAX);
        Command cmd = { .kind = CMD_LEASE_GRANT, .grant = { .id = id, .ttl = MAX(m->ttl, min_ttl(c->server)) } };
        v3_propose(c, &cmd);
}

void v3_lease_revoke(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__LeaseRevokeRequest *m =
                        v3_unpack(c, &etcdserverpb__lease_revoke_request__descriptor, p, n);
        if (!m)
                return;
        int64_t id = m->id;
        Command cmd = { .kind = CMD_LEASE_REVOKE, .revoke = { .ids = &id, .n_ids = 1 } };
        v3_propose(c, &cmd);
}

static void list_confirmed(EtcdWait *w, int error, EtcdResult *res) {
        V3Call *c = (V3Call *) w;
        if (error < 0) {
                v3_fail_wait(c, error);
                return;
        }
        int64_t *ids;
        size_t n = lease_list(c->server->store, &c->q->arena, &ids);
        _cleanup_(buf_done) Buf b = {};
        v3_pack_header(c->server, store_revision(c->server->store), &b);
        for (size_t i = 0; i < n; i++) {
                size_t at = pb_begin(&b, 2);
                pb_int(&b, 1, ids[i]);
                pb_end(&b, at);
        }
        v3_reply(c, &b);
}

void v3_lease_list(V3Call *c, const void *p, size_t n) {
        v3_read_then(c, list_confirmed);
}

/* ---- asking whoever knows ---- */

typedef struct LeaseAsk LeaseAsk;
/* ttl: what is left in seconds; -1 (TTL) or 0 (renew) when there is no such lease. error: -EAGAIN no leader. */
typedef void (*LeaseAnswer)(LeaseAsk *a, int error, int64_t ttl);
struct LeaseAsk {
        EtcdWait wait; /* first */
        EtcdServer *server;
        LeaseOp op;
        int64_t id;
        HttpCall *call;
        LeaseAnswer answer;
        void *user;
        bool keys;
        LIST_LINK(LeaseAsk) link;
};

static int look(EtcdServer *s, LeaseOp op, int64_t id, int64_t *ret) {
        if (!lease_promoted(s->store))
                return -EAGAIN;
        if (op == LEASE_RENEW) {
                if (lease_renew(s->store, id, now_monotonic(), ret) != STORE_OK)
                        *ret = 0;
                return 0;
        }
        _cleanup_(arena_done) Arena arena = {};
        LeaseInfo info;
        *ret = lease_info(s->store, id, now_monotonic(), false, &arena, &info) == STORE_OK ? info.remaining : -1;
        return 0;
}

static void local_confirmed(EtcdWait *w, int error, EtcdResult *res) {
        LeaseAsk *a = (LeaseAsk *) w;
        int64_t ttl = 0;
        if (error >= 0)
                error = look(a->server, a->op, a->id, &ttl);
        a->answer(a, error, ttl);
}

static void remote_done(HttpCall *call, int r, void *user) {
        LeaseAsk *a = user;
        int64_t ttl = 0;
        a->call = NULL;
        if (r >= 0 && (call->status != 200 || parse_i64(buf_str(&call->body), &ttl) < 0))
                r = -EAGAIN;
        a->answer(a, r < 0 ? -EAGAIN : 0, ttl);
}

/* -EAGAIN when there is nobody to ask; otherwise answer() follows. */
static int ask(LeaseAsk *a) {
        EtcdServer *s = a->server;
        if (etcd_is_leader(s)) {
                etcd_read(s, &a->wait, local_confirmed);
                return 0;
        }
        const Member *leader = members_find(&s->members, etcd_leader(s));
        if (!leader || !leader->peer_urls)
                return -EAGAIN;
        _cleanup_free_ char *url = xasprintf("%s/leases?op=%s&id=%" PRIx64, leader->peer_urls[0], op_names[a->op],
                                             (uint64_t) a->id);
        HttpCallConfig config = { .method = "POST",
                                  .url = url,
                                  .timeout = LEADER_TIMEOUT,
                                  .on_done = remote_done,
                                  .user = a };
        return http_call(peers_client(s->peers), &config, &a->call, NULL) < 0 ? -EAGAIN : 0;
}

static void ask_cancel(LeaseAsk *a) {
        etcd_wait_cancel(&a->wait);
        a->call = http_call_cancel(a->call);
}

/* ---- the leader's side of it ---- */

static void peer_answer(LeaseAsk *a, int error, int64_t ttl) {
        HttpReq *q = a->user;
        if (error < 0)
                http_go_error(q, 503, "not the leader");
        else
                http_respondf(q, 200, "%" PRId64, ttl);
}

static void peer_cancelled(HttpReq *q) {
        ask_cancel(q->user);
}

void apiv3_peer_leases(HttpReq *q, void *user) {
        EtcdServer *s = user;
        const char *op = http_query(q, "op"), *id = http_query(q, "id");
        uint64_t n;
        if (!streq(q->method, "POST") || !op || !id || parse_u64_base(id, 16, &n) < 0 ||
            (!streq(op, op_names[LEASE_RENEW]) && !streq(op, op_names[LEASE_TTL]))) {
                http_go_error(q, 400, "usage: POST /leases?op=renew|ttl&id=HEX");
                return;
        }
        if (!etcd_is_leader(s)) {
                http_go_error(q, 503, "not the leader");
                return;
        }
        LeaseAsk *a = arena_new(&q->arena, LeaseAsk, 1);
        *a = (LeaseAsk){ .server = s,
                         .op = streq(op, op_names[LEASE_TTL]) ? LEASE_TTL : LEASE_RENEW,
                         .id = (int64_t) n,
                         .answer = peer_answer,
                         .user = q };
        q->user = a;
        q->on_cancel = peer_cancelled;
        (void) ask(a);
}

/* ---- TimeToLive ---- */

static void ttl_known(LeaseAsk *a, int error, int64_t ttl) {
        V3Call *c = a->user;
        EtcdServer *s = c->server;
        if (error < 0) {
                v3_fail(c, GRPC_UNAVAILABLE, etcd_leader(s) ? "etcdserver: leader changed" : "etcdserver: no leader");
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        LeaseInfo info = {};
        v3_pack_header(s, store_revision(s->store), &b);
        pb_int(&b, 2, a->id);
        if (ttl < 0 || lease_info(s->store, a->id, now_monotonic(), a->keys, &c->q->arena, &info) != STORE_OK)
                pb_int(&b, 3, -1);
        else {
                pb_int(&b, 3, ttl);
                pb_int(&b, 4, info.granted);
                for (size_t i = 0; i < info.n_keys; i++)
                        pb_bytes(&b, 5, info.keys[i]);
        }
        v3_reply(c, &b);
}

void v3_lease_ttl(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__LeaseTimeToLiveRequest *m =
                        v3_unpack(c, &etcdserverpb__lease_time_to_live_request__descriptor, p, n);
        if (!m)
                return;
        LeaseAsk *a = arena_new(&c->q->arena, LeaseAsk, 1);
        *a = (LeaseAsk){ .server = c->server,
                         .op = LEASE_TTL,
                         .id = m->id,
                         .keys = m->keys,
                         .answer = ttl_known,
                         .user = c };
        c->state = a;
        if (ask(a) < 0)
                v3_fail(c, GRPC_UNAVAILABLE, "etcdserver: no leader");
}

void v3_lease_ttl_cancel(V3Call *c) {
        if (c->state)
                ask_cancel(c->state);
}

/* ---- KeepAlive ---- */

typedef struct KeepAlives {
        LIST_HEAD(LeaseAsk) asks; /* owned */
        size_t n;
        bool ending;
} KeepAlives;

static void keepalive_drop(KeepAlives *k, LeaseAsk *a) {
        LIST_REMOVE(&k->asks, a, link);
        k->n--;
        free(a);
}

static void keepalive_drop_all(KeepAlives *k) {
        LIST_FOREACH(a, &k->asks, link) {
                ask_cancel(a);
                keepalive_drop(k, a);
        }
}

static void keepalive_known(LeaseAsk *a, int error, int64_t ttl) {
        V3Call *c = a->user;
        KeepAlives *k = c->state;
        int64_t id = a->id;
        keepalive_drop(k, a);
        if (error < 0) {
                keepalive_drop_all(k);
                v3_fail(c, GRPC_UNAVAILABLE,
                        etcd_leader(c->server) ? "etcdserver: leader changed" : "etcdserver: no leader");
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        v3_pack_header(c->server, store_revision(c->server->store), &b);
        pb_int(&b, 2, id);
        pb_int(&b, 3, ttl);
        (void) c->wire->send(c, b.data, b.len);
        if (k->ending && k->n == 0)
                v3_keepalive_end(c);
}

void v3_keepalive_open(V3Call *c) {
        c->state = arena_new(&c->q->arena, KeepAlives, 1);
}

void v3_keepalive_message(V3Call *c, const void *p, size_t n) {
        KeepAlives *k = c->state;
        const Etcdserverpb__LeaseKeepAliveRequest *m =
                        v3_unpack(c, &etcdserverpb__lease_keep_alive_request__descriptor, p, n);
        if (!m)
                return;
        if (k->n >= KEEPALIVES_OPEN_MAX) {
                keepalive_drop_all(k);
                v3_fail(c, GRPC_RESOURCE_EXHAUSTED, "etcdserver: too many requests");
                return;
        }
        LeaseAsk *a = xnew(LeaseAsk, 1);
        *a = (LeaseAsk){ .server = c->server, .op = LEASE_RENEW, .id = m->id, .answer = keepalive_known, .user = c };
        LIST_APPEND(&k->asks, a, link);
        k->n++;
        if (ask(a) < 0) {
                keepalive_drop_all(k);
                v3_fail(c, GRPC_UNAVAILABLE, "etcdserver: no leader");
        }
}

void v3_keepalive_end(V3Call *c) {
        KeepAlives *k = c->state;
        k->ending = true;
        if (k->n > 0)
                return;
        c->ended = true;
        c->wire->finish(c);
}

void v3_keepalive_cancel(V3Call *c) {
        if (c->state)
                keepalive_drop_all(c->state);
}
